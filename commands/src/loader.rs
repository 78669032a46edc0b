//! Loads that are not their readers': by a client that asks for work, or by the server from an origin.
//!
//! A load is a lease like any other, held by whoever does it. Where one is due the store grants it and a job is made of it;
//! workers take jobs from queues, one for each service, and the shell takes those for origins at once.

use crate::families::string::encode;
use crate::families::swr::{Kind, count, drawn};
use crate::node::Node;
use crate::services::Service;
use crate::services::fields::{Given, Loader};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use storage::{Access, Cx, Db, Failure, Fill, Filled, KeyHash, OnFail, Phase, Store, Terms, Wake, Woken};

/// Why something is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has it.
    Miss,
    /// It is stale.
    Stale,
    /// It will soon be.
    Eager,
    /// Somebody asked for it ahead of time.
    Warm,
}

impl Reason {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Eager => "eager",
            Self::Warm => "warm",
        }
    }
}

/// A load to be made.
#[derive(Clone, Debug)]
pub struct LoadJob {
    /// Where its key is.
    pub db: Db,
    /// Its key.
    pub key: Box<[u8]>,
    /// The lease.
    pub token: u64,
    /// Why it is made.
    pub reason: Reason,
    /// The service of the key when it was begun.
    pub service: Arc<Service>,
    /// The canonical payload of a memoised call, and whether that is JSON.
    pub payload: Option<(Arc<[u8]>, bool)>,
}

impl LoadJob {
    /// The key without the prefix of its service.
    pub fn own_key(&self) -> &[u8] {
        self.key.strip_prefix(&*self.service.prefix).unwrap_or(&self.key)
    }
}

/// Terms of a lease for such a load. A load from an origin ends by itself before its lease does.
pub fn terms(service: &Service) -> Terms {
    /// What ending a request and storing its answer may take beyond its time limit, ms.
    const SPARE_MS: u64 = 2000;
    let policy = &service.policy;
    let least_ms = if policy.loader == Loader::Origin { policy.hard_timeout_ms + SPARE_MS } else { 0 };
    let lease_ms = policy.lease_ms.max(least_ms);
    Terms {
        lease_ms,
        lease_max_ms: policy.lease_max_ms.max(lease_ms),
        may_load: false,
        core: 0,
        bulkhead: Arc::clone(&service.bulkhead),
    }
}

/// How a failure of such a load counts: whoever waits is told, since nobody else would load.
pub fn failure(service: &Service, exactly_ms: Option<u64>) -> Failure {
    Failure { exactly_ms, on_fail: OnFail::Error, ..service.policy.failure }
}

/// Whether the value of a key can be loaded at all by the service's loader. Results of memoised calls are loaded with their
/// payload only: that is not kept, and cannot be made from an id.
pub fn can_load(service: &Service, key: &[u8], has_payload: bool) -> bool {
    let own = key.strip_prefix(&*service.prefix).unwrap_or(key);
    let is_id = own.len() == ID_DIGITS && own.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match service.policy.loader {
        Loader::Lease => false,
        _ if has_payload => true,
        Loader::Worker => !is_id,
        Loader::Origin => !is_id && service.policy.origin.as_ref().is_some_and(|origin| origin.has_key()),
    }
}

/// Length of an id: a SHA-256 in hexadecimal.
const ID_DIGITS: usize = 64;

/// Hands a job to whoever does it. Not with a stripe locked.
pub fn hand_over(job: LoadJob, node: &Node, store: &mut Access<'_>, cx: &Cx) {
    match job.service.policy.loader {
        Loader::Origin => {
            if let Err(job) = node.host.load(job) {
                // No origin may be asked: it fails at once, and not again before the backoff.
                let kh = store.hash(&job.key);
                store.fail(job.db, kh, &job.key, job.token, &failure(&job.service, None), cx);
            }
        }
        Loader::Worker | Loader::Lease => node.jobs.push(job, store.store()),
    }
}

/// Begins to load a key, unless that is being done or must not be. Whether it did.
pub fn start(
    (db, key, kh): (Db, &[u8], KeyHash),
    service: &Arc<Service>,
    reason: Reason,
    node: &Node,
    store: &mut Access<'_>,
    cx: &Cx,
) -> bool {
    if !can_load(service, key, false) || !service.policy.enabled {
        return false;
    }
    let terms = terms(service);
    let granted = store.loading(db, kh, key, cx, |slot, loading| {
        if loading.pass_left_ms().is_some() {
            return None;
        }
        let tags: Vec<u64> = slot.view().map(|view| view.tags().collect()).unwrap_or_default();
        loading.grant(&terms, tags.into_iter()).ok()
    });
    let Some(granted) = granted else { return false };
    let (service, key) = (Arc::clone(service), key.into());
    hand_over(LoadJob { db, key, token: granted.token, reason, service, payload: None }, node, store, cx);
    true
}

/// What a load came to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A value.
    Value {
        /// The value itself.
        value: &'a [u8],
        /// How long it counts; what is not said comes from the service.
        given: Given,
        /// Names of its tags, at most [`MAX_TAGS`](storage::limits::MAX_TAGS).
        tags: &'a [Box<[u8]>],
        /// By what the origin knows it again, empty for nothing.
        validator: &'a [u8],
    },
    /// The copy at hand is still right.
    Same {
        /// How long it counts from now on.
        given: Given,
        /// A new validator, if not the old one.
        validator: Option<&'a [u8]>,
    },
    /// There is none.
    Absent,
    /// A value that must not be stored.
    NoStore,
    /// None came.
    Failed {
        /// When to ask again, if the origin said so, ms from now.
        retry_after_ms: Option<u64>,
    },
}

/// How long a value that must not be stored is passed by, ms.
const PASS_MS: u64 = 1000;

/// Answers the lease of a job that was done by no core. False if a copy was confirmed that is gone: the lease stays.
pub fn finish(job: &LoadJob, outcome: Outcome<'_>, store: &mut Access<'_>, cx: &Cx) -> bool {
    let (service, kh) = (&job.service, store.hash(&job.key));
    let (policy, counts) = (&service.policy, service.stats.of(usize::MAX));
    let lifetimes = |given: Given| {
        // An origin's windows are in order; one that was not would be as if it had not said any.
        let lifetimes = given.lifetimes(policy).or_else(|| Given::default().lifetimes(policy)).unwrap_or_default();
        drawn(lifetimes, policy, service.stats.average_load_ms(), cx.seed)
    };
    let hashes: Vec<u64>;
    let fill = match outcome {
        Outcome::Value { value, given, tags, validator } => {
            hashes = tags.iter().map(|tag| store.store().tag(tag)).collect();
            Fill::Value { value: encode(value), lifetimes: lifetimes(given), tags: &hashes, validator }
        }
        Outcome::Same { given, validator } => Fill::Same { lifetimes: Some(lifetimes(given)), validator },
        Outcome::Absent => Fill::Absent { fresh_ms: Some(policy.absent_ms) },
        Outcome::NoStore => Fill::NoStore { pass_ms: PASS_MS },
        Outcome::Failed { retry_after_ms } => {
            counts.failed.add(1);
            store.fail(job.db, kh, &job.key, job.token, &failure(service, retry_after_ms), cx);
            return true;
        }
    };
    let kind = Kind::of(&fill);
    let (filled, load_ms) = store.fill(job.db, kh, &job.key, job.token, fill, cx);
    count(filled, kind, load_ms, counts);
    filled != Filled::Gone
}

/// A worker that waits for jobs.
#[derive(Clone, Copy, Debug)]
struct Idle {
    ticket: u64,
    core: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<LoadJob>,
    idle: VecDeque<Idle>,
}

/// Jobs for workers, by service. Their number is bounded by that of leases.
#[derive(Default)]
pub struct Jobs {
    queues: Mutex<HashMap<Box<str>, Queue>>,
    /// Those that workers have taken, with when their leases end, steady ms, if nobody renews them.
    taken: Mutex<VecDeque<(LoadJob, u64)>>,
}

/// Jobs that are known to be with a worker; of more the oldest are begun anew by their next reader only.
const MAX_TAKEN: usize = 1 << 16;

/// What became of a job that a worker took.
enum After {
    /// It is still being done, for so many ms.
    Runs(u64),
    /// It was answered, or is somebody else's by now.
    Over,
    /// It is to be done again, under this token.
    Again(u64),
}

impl Jobs {
    /// Notes that a worker has taken a job.
    pub fn took(&self, job: LoadJob, until_ms: u64) {
        let mut taken = self.taken.lock();
        if taken.len() == MAX_TAKEN {
            taken.pop_front();
        }
        taken.push_back((job, until_ms));
    }

    /// Begins those anew whose workers have not answered in time, or (those of these tokens) have gone.
    pub fn recover(&self, gone: &[u64], store: &mut Access<'_>, cx: &Cx) {
        let is_due = |(job, until_ms): &(LoadJob, u64)| *until_ms <= cx.steady_ms || gone.contains(&job.token);
        let due: Vec<(LoadJob, u64)> = {
            let mut taken = self.taken.lock();
            if !taken.iter().any(is_due) {
                return;
            }
            let (due, left): (VecDeque<_>, VecDeque<_>) = core::mem::take(&mut *taken).into_iter().partition(is_due);
            *taken = left;
            due.into()
        };
        for (mut job, _) in due {
            let (kh, terms) = (store.hash(&job.key), terms(&job.service));
            let after = store.loading(job.db, kh, &job.key, cx, |slot, loading| {
                let view = slot.view();
                if let Some(left_ms) = loading.lease_left_ms(job.token) {
                    return After::Runs(left_ms);
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
                    self.push(job, store.store());
                }
            }
        }
    }

    /// Adds a job and wakes a worker for it.
    pub fn push(&self, job: LoadJob, store: &Store) {
        let mut queues = self.queues.lock();
        let queue = queues.entry(job.service.name.clone()).or_default();
        queue.jobs.push_back(job);
        queue.wake_one(store);
    }

    /// Takes the next job of one of these services, in their order.
    pub fn pop(&self, services: &[Arc<Service>]) -> Option<LoadJob> {
        let mut queues = self.queues.lock();
        services.iter().find_map(|service| {
            let queue = queues.get_mut(&service.name)?;
            let job = queue.jobs.pop_front();
            if queue.jobs.is_empty() && queue.idle.is_empty() {
                queues.remove(&service.name);
            }
            job
        })
    }

    /// Notes that a worker waits for jobs of these services. False (and it does not) if there is one by now.
    pub fn wait(&self, services: &[Arc<Service>], ticket: u64, core: usize) -> bool {
        let mut queues = self.queues.lock();
        if services.iter().any(|service| queues.get(&service.name).is_some_and(|queue| !queue.jobs.is_empty())) {
            return false;
        }
        for service in services {
            queues.entry(service.name.clone()).or_default().idle.push_back(Idle { ticket, core });
        }
        true
    }

    /// Forgets a worker that waited; if it had been woken for a job, another one is. Whether it still waited.
    pub fn leave(&self, services: &[Arc<Service>], ticket: u64, store: &Store) -> bool {
        let mut queues = self.queues.lock();
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
            if queue.jobs.is_empty() && queue.idle.is_empty() {
                queues.remove(&service.name);
            }
        }
        waited
    }

    /// Jobs nobody has taken yet.
    pub fn waiting(&self) -> usize {
        self.queues.lock().values().map(|queue| queue.jobs.len()).sum()
    }
}

impl Queue {
    fn wake_one(&mut self, store: &Store) {
        if let Some(Idle { ticket, core }) = self.idle.pop_front() {
            store.wake(Woken { core, ticket, wake: Wake::Look });
        }
    }
}
