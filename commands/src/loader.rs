//! Loads that are not their readers': by a client that asks for work, or by the server from an origin.
//!
//! A load is a lease like any other, held by whoever does it. Where one is due the store grants it and a job is made of it;
//! workers take jobs from queues, one for each service, and the shell takes those for origins at once.

pub mod jobs;

use crate::families::string::encode;
use crate::families::swr::{Kind, count, drawn};
use crate::node::Node;
use crate::services::Service;
use crate::services::fields::{Given, Loader};
use std::sync::Arc;
use storage::{Access, Cx, Db, Failure, Fill, Filled, KeyHash, OnFail, Terms};

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
    /// The key as the origin knows it.
    pub fn own_key(&self) -> &[u8] {
        self.service.key_at_origin(&self.key)
    }
}

/// Terms of a lease for such a load. A load from an origin ends by itself before its lease does; the lease of a job outlives
/// the time that its worker has, so that one that was not answered is told from one that was.
pub fn terms(service: &Service) -> Terms {
    /// What ending a request and storing its answer may take beyond its time limit, and noticing a lost worker, ms.
    const SPARE_MS: u64 = 2000;
    let policy = &service.policy;
    let least_ms = if policy.loader == Loader::Origin { policy.hard_timeout_ms + SPARE_MS } else { 0 };
    let lease_ms = policy.lease_ms.max(least_ms);
    Terms {
        lease_ms,
        lease_max_ms: policy.lease_max_ms.max(lease_ms + SPARE_MS),
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
        Loader::Worker | Loader::Lease => {
            if let Err(job) = node.jobs.push(job, store.store(), cx) {
                // More than workers do: it fails at once, and not again before the backoff.
                let kh = store.hash(&job.key);
                store.fail(job.db, kh, &job.key, job.token, &failure(&job.service, None), cx);
            }
        }
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
    /// A value that must not be stored: it is for those who wait.
    NoStore {
        /// The value.
        value: &'a [u8],
    },
    /// None came.
    Failed {
        /// When to ask again, if the origin said so, ms from now.
        retry_after_ms: Option<u64>,
    },
}

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
        Outcome::NoStore { value } => Fill::Unstored { value: encode(value) },
        Outcome::Failed { retry_after_ms } => {
            counts.failed.add(1);
            // An origin may ask for more time, not for less.
            let exactly_ms = retry_after_ms.filter(|ms| *ms > policy.failure.backoff_ms);
            store.fail(job.db, kh, &job.key, job.token, &failure(service, exactly_ms), cx);
            return true;
        }
    };
    let kind = Kind::of(&fill);
    let (filled, load_ms) = store.fill(job.db, kh, &job.key, job.token, fill, cx);
    count(filled, kind, load_ms, counts);
    filled != Filled::Gone
}
