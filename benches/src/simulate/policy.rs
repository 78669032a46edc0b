//! The reference policies, and a player that shows them a trace as a cache-aside client would.
//!
//! Deadlines count here as in the store: a dead object is a miss, and frees its place within a tick.

mod lru;
mod s3fifo;
mod sampled;

pub use lru::Lru;
pub use s3fifo::S3Fifo;
pub use sampled::SampledLru;

use crate::trace::Trace;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Share of the requests (one in so many) that only warms caches up.
pub const WARM_UP: usize = 4;

/// A cache of bounded capacity. Keys are numbers below the one it was made for.
pub trait Cache {
    /// Whether the key is resident; counts a use if so.
    fn touch(&mut self, id: u32) -> bool;
    /// Lets a key in that is not resident, evicting others as needed. It may be refused.
    fn insert(&mut self, id: u32);
    /// Drops a key, if it is resident.
    fn remove(&mut self, id: u32);
}

/// What came of playing a trace, warm-up left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    pub reads: u64,
    pub misses: u64,
}

impl Outcome {
    pub fn miss_ratio(&self) -> f64 {
        self.misses as f64 / self.reads.max(1) as f64
    }
}

/// Shows every request of `trace` to `cache`.
pub fn play(trace: &Trace, cache: &mut impl Cache) -> Outcome {
    let mut outcome = Outcome::default();
    let mut deadlines = Deadlines::new(trace);
    for at in 0..trace.len() {
        let (id, writes) = trace.request(at);
        let now_ms = trace.now_ms(at);
        if at.is_multiple_of(trace.tick_requests()) {
            deadlines.reap(now_ms, |dead| cache.remove(dead));
        }
        if deadlines.is_past(id, now_ms) {
            cache.remove(id);
        }
        let hit = cache.touch(id);
        if !writes && at >= trace.len() / WARM_UP {
            outcome.reads += 1;
            outcome.misses += u64::from(!hit);
        }
        if !hit {
            cache.insert(id);
        }
        if !hit || writes {
            deadlines.set(id, trace.ttl_ms(id).map(|ttl_ms| now_ms + ttl_ms));
        }
    }
    outcome
}

/// When keys die.
struct Deadlines {
    /// By key; empty if the trace has no deadlines.
    of: Vec<u64>,
    /// What was filed, sooner first; filings that `of` contradicts are void.
    filed: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Deadlines {
    fn new(trace: &Trace) -> Self {
        let keys = if trace.shape.ttls.is_empty() { 0 } else { trace.ids() as usize };
        Self { of: vec![u64::MAX; keys], filed: BinaryHeap::new() }
    }

    fn is_past(&self, id: u32, now_ms: u64) -> bool {
        self.of.get(id as usize).is_some_and(|deadline_ms| *deadline_ms <= now_ms)
    }

    fn set(&mut self, id: u32, deadline_ms: Option<u64>) {
        if let Some(deadline_ms) = deadline_ms {
            self.of[id as usize] = deadline_ms;
            self.filed.push(Reverse((deadline_ms, id)));
        }
    }

    fn reap(&mut self, now_ms: u64, mut remove: impl FnMut(u32)) {
        while let Some(Reverse((deadline_ms, id))) = self.filed.peek().copied()
            && deadline_ms <= now_ms
        {
            self.filed.pop();
            if self.of[id as usize] == deadline_ms {
                remove(id);
            }
        }
    }
}

/// Plays keys to a cache by hand: for each, whether it was there.
#[cfg(test)]
fn hits(cache: &mut impl Cache, ids: &[u32]) -> Vec<bool> {
    ids.iter()
        .map(|&id| {
            let hit = cache.touch(id);
            if !hit {
                cache.insert(id);
            }
            hit
        })
        .collect()
}
