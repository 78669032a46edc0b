//! Jobs that wait for workers, and those that workers have taken.

use super::{LoadJob, terms};
use crate::services::Service;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use storage::limits::DATABASES;
use storage::{Access, Cx, Db, Phase, Store, Wake, Woken};

/// A worker that waits for jobs.
#[derive(Clone, Copy, Debug)]
struct Idle {
    ticket: u64,
    core: usize,
}

#[derive(Default)]
struct Queue {
    /// With when their leases end, steady ms: what is not taken by then is not wanted any more.
    jobs: VecDeque<(LoadJob, u64)>,
    idle: VecDeque<Idle>,
    /// Bytes of keys and payloads of its jobs.
    bytes: usize,
}

/// Jobs one service may have waiting, or all workers together may have taken, and bytes of their keys and payloads.
const MAX_JOBS: usize = 1 << 16;
const MAX_BYTES: usize = 64 << 20;

type Queues = HashMap<Box<str>, Queue>;

/// Jobs for workers, by database and service.
pub struct Jobs {
    queues: Mutex<[Queues; DATABASES]>,
    taken: Mutex<Taken>,
}

/// Jobs that workers have taken, by token, with when their leases end, steady ms, if nobody renews them. What there is no
/// room for is begun anew by its next reader only.
struct Taken {
    jobs: HashMap<u64, (LoadJob, u64)>,
    bytes: usize,
    /// No lease of them ends before this.
    due_ms: u64,
}

impl Taken {
    fn add(&mut self, job: LoadJob, until_ms: u64) {
        if self.jobs.len() < MAX_JOBS && self.bytes + job.bytes() <= MAX_BYTES {
            self.bytes += job.bytes();
            self.due_ms = self.due_ms.min(until_ms);
            self.jobs.insert(job.token, (job, until_ms));
        }
    }

    fn remove(&mut self, token: u64) -> Option<LoadJob> {
        let (job, _) = self.jobs.remove(&token)?;
        self.bytes -= job.bytes();
        Some(job)
    }

    /// Takes out those of these tokens, and those whose leases have ended.
    fn take_due(&mut self, gone: &[u64], now_ms: u64) -> Vec<LoadJob> {
        let mut due: Vec<LoadJob> = gone.iter().filter_map(|token| self.remove(*token)).collect();
        if now_ms >= self.due_ms {
            due.extend(self.jobs.extract_if(|_, (_, until_ms)| *until_ms <= now_ms).map(|(_, (job, _))| job));
            self.bytes = self.jobs.values().map(|(job, _)| job.bytes()).sum();
            self.due_ms = self.jobs.values().map(|(_, until_ms)| *until_ms).min().unwrap_or(u64::MAX);
        }
        due
    }
}

/// What became of a job that a worker took.
enum After {
    /// It is still being done, for so many ms.
    Runs(u64),
    /// It was answered, or is somebody else's by now.
    Over,
    /// It is to be done again, under this token.
    Again(u64),
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            queues: Mutex::new(core::array::from_fn(|_| Queues::new())),
            taken: Mutex::new(Taken { jobs: HashMap::new(), bytes: 0, due_ms: u64::MAX }),
        }
    }
}

impl Jobs {
    /// Notes that a worker has taken a job.
    pub fn took(&self, job: LoadJob, until_ms: u64) {
        self.taken.lock().add(job, until_ms);
    }

    /// Forgets a job that was answered or given back.
    pub fn answered(&self, token: u64) {
        self.taken.lock().remove(token);
    }

    /// Begins those anew whose workers have not answered in time, or have gone: these tokens are of leases that
    /// their connections held to the end.
    pub fn recover(&self, gone: &[u64], store: &mut Access<'_>, cx: &Cx) {
        let due = self.taken.lock().take_due(gone, cx.steady_ms);
        for mut job in due {
            let (kh, terms) = (store.hash(&job.key), terms(&job.service));
            let after = store.loading(job.db, kh, &job.key, cx, |slot, loading| {
                let view = slot.view();
                if let Some(left_ms) = loading.lease_left_ms(job.token) {
                    return After::Runs(left_ms);
                }
                // Answered, or begun anew by a reader.
                if !gone.contains(&job.token) && !loading.is_lapsed(job.token) {
                    return After::Over;
                }
                let is_there = view.is_some_and(|view| matches!(view.phase, Phase::Fresh | Phase::Absent));
                if is_there || loading.pass_left_ms().is_some() {
                    return After::Over;
                }
                let tags: Vec<u64> = view.map(|view| view.tags().collect()).unwrap_or_default();
                loading.grant(&terms, tags.into_iter()).map_or(After::Over, |granted| After::Again(granted.token))
            });
            match after {
                After::Runs(left_ms) => self.took(job, cx.steady_ms + left_ms),
                After::Over => {}
                After::Again(token) => {
                    job.token = token;
                    if let Err(job) = self.push(job, store.store(), cx) {
                        store.release(job.db, kh, &job.key, job.token, cx);
                    }
                }
            }
        }
    }

    /// Adds a job and wakes a worker for it; the job back if there are too many.
    pub fn push(&self, job: LoadJob, store: &Store, cx: &Cx) -> Result<(), LoadJob> {
        let mut queues = self.queues.lock();
        let queue = queues[usize::from(job.db.0)].entry(job.service.name.clone()).or_default();
        let until_ms = cx.steady_ms.saturating_add(terms(&job.service).lease_ms);
        // In the order they came, which is nearly that of their ends.
        while queue.jobs.front().is_some_and(|(_, until_ms)| *until_ms <= cx.steady_ms) {
            queue.take();
        }
        if queue.jobs.len() >= MAX_JOBS || queue.bytes + job.bytes() > MAX_BYTES {
            return Err(job);
        }
        queue.bytes += job.bytes();
        queue.jobs.push_back((job, until_ms));
        queue.wake_one(store);
        Ok(())
    }

    /// Takes the next job of one of these services, in their order.
    pub fn pop(&self, db: Db, services: &[Arc<Service>]) -> Option<LoadJob> {
        let queues = &mut self.queues.lock()[usize::from(db.0)];
        services.iter().find_map(|service| {
            let queue = queues.get_mut(&service.name)?;
            let job = queue.take();
            if queue.is_idle() {
                queues.remove(&service.name);
            }
            job
        })
    }

    /// Notes that a worker waits for jobs of these services. False (and it does not) if there is one by now.
    pub fn wait(&self, db: Db, services: &[Arc<Service>], ticket: u64, core: usize) -> bool {
        let queues = &mut self.queues.lock()[usize::from(db.0)];
        if services.iter().any(|service| queues.get(&service.name).is_some_and(|queue| !queue.jobs.is_empty())) {
            return false;
        }
        for service in services {
            queues.entry(service.name.clone()).or_default().idle.push_back(Idle { ticket, core });
        }
        true
    }

    /// Takes out the jobs of services that no worker may ask for any more: their leases are to be released.
    #[must_use]
    pub fn keep(&self, has_workers: impl Fn(&str) -> bool) -> Vec<LoadJob> {
        let mut dropped = Vec::new();
        for queues in self.queues.lock().iter_mut() {
            queues.iter_mut().filter(|(name, _)| !has_workers(name)).for_each(|(_, queue)| {
                dropped.extend(core::iter::from_fn(|| queue.take()));
            });
            queues.retain(|_, queue| !queue.is_idle());
        }
        dropped
    }

    /// Forgets a worker that waited; if it had been woken for a job, another one is. Whether it still waited.
    pub fn leave(&self, db: Db, services: &[Arc<Service>], ticket: u64, store: &Store) -> bool {
        let queues = &mut self.queues.lock()[usize::from(db.0)];
        let mut waited = true;
        for service in services {
            let Some(queue) = queues.get_mut(&service.name) else {
                waited = false;
                continue;
            };
            let before = queue.idle.len();
            queue.idle.retain(|idle| idle.ticket != ticket);
            waited &= queue.idle.len() < before;
            if !queue.jobs.is_empty() {
                queue.wake_one(store);
            }
            if queue.is_idle() {
                queues.remove(&service.name);
            }
        }
        waited
    }

    /// Jobs nobody has taken yet.
    pub fn waiting(&self) -> usize {
        self.queues.lock().iter().flat_map(HashMap::values).map(|queue| queue.jobs.len()).sum()
    }
}

impl LoadJob {
    fn bytes(&self) -> usize {
        self.key.len() + self.payload.as_ref().map_or(0, |(payload, _)| payload.len())
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.idle.is_empty()
    }

    fn take(&mut self) -> Option<LoadJob> {
        let (job, _) = self.jobs.pop_front()?;
        self.bytes -= job.bytes();
        Some(job)
    }

    fn wake_one(&mut self, store: &Store) {
        if let Some(Idle { ticket, core }) = self.idle.pop_front() {
            store.wake(Woken { core, ticket, wake: Wake::Look });
        }
    }
}
