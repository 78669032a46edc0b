//! How jobs get to the thread that does them.

use commands::loader::LoadJob;
use commands::through::WriteJob;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Writes that may be on their way or wait, and bytes of their keys and values.
const MAX_WRITES: usize = 10_000;
const MAX_WRITE_BYTES: usize = 64 << 20;

/// Writes on their way. They go on when those who wait for them have gone.
#[derive(Default)]
pub struct Writes {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

impl Writes {
    /// One of them has been told of.
    pub fn done(&self, job: &WriteJob) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(job.bytes(), Ordering::Relaxed);
    }
}

/// Where jobs are handed in.
#[derive(Clone)]
pub struct Origins {
    jobs: UnboundedSender<Job>,
    writes: Arc<Writes>,
}

/// Where they come out.
pub struct Jobs {
    pub jobs: UnboundedReceiver<Job>,
    pub writes: Arc<Writes>,
}

/// What is to be done at an origin.
pub enum Job {
    /// A value is wanted.
    Load(LoadJob),
    /// A value is to be written.
    Write(WriteJob),
}

impl Origins {
    /// Hands in a job; it comes back if the thread has ended. As many are on their way as leases were granted.
    pub fn load(&self, job: LoadJob) -> Result<(), LoadJob> {
        self.jobs.send(Job::Load(job)).map_err(|refused| match refused.0 {
            Job::Load(job) => job,
            Job::Write(_) => unreachable!("a load was handed in"),
        })
    }

    /// The same for a write; it comes back, too, if as many are on their way as may be.
    pub fn write(&self, job: WriteJob) -> Result<(), WriteJob> {
        let (count, bytes) = (&self.writes.count, &self.writes.bytes);
        // Two cores may pass this at once: the bounds are exceeded by one write of each at most.
        let is_full = bytes.load(Ordering::Relaxed) > MAX_WRITE_BYTES || count.load(Ordering::Relaxed) >= MAX_WRITES;
        if is_full {
            return Err(job);
        }
        count.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(job.bytes(), Ordering::Relaxed);
        self.jobs.send(Job::Write(job)).map_err(|refused| match refused.0 {
            Job::Write(job) => job,
            Job::Load(_) => unreachable!("a write was handed in"),
        })
    }
}

/// A pair of ends for jobs.
pub fn channel() -> (Origins, Jobs) {
    let (sender, receiver) = unbounded_channel();
    let writes = Arc::new(Writes::default());
    (Origins { jobs: sender, writes: Arc::clone(&writes) }, Jobs { jobs: receiver, writes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use commands::services::Services;
    use storage::Db;

    #[test]
    fn writes_on_their_way_are_bounded() {
        let services = Services::new(1);
        let service = services.now().find(b"*").cloned().expect("it is always there");
        let job = |bytes: usize| {
            let (key, value) = (Box::from(&b"k"[..]), Some(vec![0; bytes - 1].into()));
            WriteJob { db: Db(0), key, service: Arc::clone(&service), value, ticket: 0, core: 0 }
        };
        let (origins, mut jobs) = channel();
        (0..MAX_WRITES).for_each(|_| assert!(origins.write(job(10)).is_ok()));
        assert!(origins.write(job(10)).is_err());
        let Ok(Job::Write(first)) = jobs.jobs.try_recv() else { panic!("a write was handed in") };
        jobs.writes.done(&first);
        // A large one is taken; more than such a one is not.
        assert!(origins.write(job(MAX_WRITE_BYTES)).is_ok());
        while let Ok(Job::Write(job)) = jobs.jobs.try_recv() {
            jobs.writes.done(&job);
        }
        assert!(origins.write(job(MAX_WRITE_BYTES + 1)).is_ok() && origins.write(job(1)).is_err());
    }
}
