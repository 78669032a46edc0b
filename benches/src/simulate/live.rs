//! The real store under a trace: looked up, filled and limited through its public API in virtual time, as the server
//! does for a cache-aside client.

use crate::policy::{Outcome, WARM_UP};
use crate::random::mix;
use crate::trace::Trace;
use storage::{Access, Cx, Db, Layout, Millis, NewValue, Policy, Slot, Store};

const DB: Db = Db(0);

/// Readings of what is resident, per run.
const READINGS: usize = 1000;
/// The same where each is a walk over all keys.
const WALKS: usize = 40;

/// Bytes of a SET beyond key and value that the server asks room for.
const COMMAND_BYTES: u64 = 3;

/// What came of a run of the store.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub outcome: Outcome,
    /// Mean of what was resident while the store was full, in the unit of the trace's costs.
    pub resident: f64,
    /// Whether anything was evicted after the warm-up.
    pub was_full: bool,
}

/// A store with its client.
struct Client<'t> {
    trace: &'t Trace,
    store: Store,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'t> Client<'t> {
    fn new(trace: &'t Trace, policy: Policy, limit: u64, stripes: usize) -> Self {
        let store = Store::new(Layout::new(stripes, [0x51, 0x3a, 0xf0, 0x11]));
        store.memory().set_policy(policy);
        store.memory().set_limit(limit);
        let key = vec![b'k'; (trace.shape.key_bytes as usize).max(size_of::<u32>())];
        Self { trace, store, key, value: vec![b'v'; trace.longest_value() as usize] }
    }

    fn name(key: &mut [u8], id: u32) {
        key[..4].copy_from_slice(&id.to_le_bytes());
    }

    /// One request; whether it found its key.
    #[inline]
    fn request(&mut self, access: &mut Access<'_>, (id, writes): (u32, bool), cx: &Cx) -> bool {
        Self::name(&mut self.key, id);
        let (key, kh) = (&self.key[..], access.hash(&self.key));
        if !writes {
            let hit = access.one(DB, kh, key, cx, |slot| match slot {
                Slot::Live(mut live) => {
                    live.touch();
                    std::hint::black_box(live.value());
                    true
                }
                Slot::Vacant(_) => false,
            });
            if hit {
                return true;
            }
        }
        let value = &self.value[..self.trace.value_bytes(id) as usize];
        let need = (key.len() + value.len()) as u64 + COMMAND_BYTES;
        // Refused only if nothing may go: the reply is an error then, and the client lives without.
        if access.make_room(Some(kh), need, cx) {
            let deadline = self.trace.ttl_ms(id).map(|ttl_ms| Millis(cx.now.0 + ttl_ms));
            access.one(DB, kh, key, cx, |mut slot| {
                if let Slot::Live(live) = &mut slot {
                    live.touch();
                }
                slot.put(NewValue::Bytes(value), deadline);
            });
        }
        false
    }

    fn cx(&self, at: usize) -> Cx {
        Cx { seed: mix(at as u64), ..Cx::at(self.trace.now_ms(at)) }
    }

    /// What is resident now, in the unit of the trace's costs.
    fn resident(&self, access: &mut Access<'_>, cx: &Cx) -> f64 {
        if !self.trace.is_by_bytes() {
            return access.db_size(DB) as f64;
        }
        let (costs, mut sum) = (self.trace.costs(), 0);
        access.for_each(DB, cx, |key| {
            let id = u32::from_le_bytes(*key.first_chunk().expect("keys begin with their number"));
            sum += u64::from(costs.of(id));
        });
        sum as f64
    }

    /// Bytes used once the first keys of the trace are in, as many as `capacity` has room for.
    fn bytes_of(&mut self, capacity: f64) -> u64 {
        let store = std::mem::replace(&mut self.store, Store::new(Layout::new(1, [0; 4])));
        let mut participant = store.join();
        let (mut access, cx) = (participant.batch(), self.cx(0));
        let (mut seen, mut sum) = (vec![false; self.trace.ids() as usize], 0.0);
        for at in 0..self.trace.len() {
            let (id, writes) = self.trace.request(at);
            if std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            sum += f64::from(self.trace.costs().of(id));
            if sum > capacity {
                break;
            }
            self.request(&mut access, (id, writes), &cx);
        }
        access.settle();
        // Where the trace has fewer keys than that, a limit nobody reaches.
        (store.memory().used() as f64 * (capacity / sum).max(1.0)) as u64
    }

    /// Plays the first `requests` of the trace; the warm-up is their first quarter.
    fn play(mut self, requests: usize) -> Run {
        // Taken out, so that the client stays free to be borrowed.
        let store = std::mem::replace(&mut self.store, Store::new(Layout::new(1, [0; 4])));
        let mut participant = store.join();
        let (warm, tick) = (requests / WARM_UP, self.trace.tick_requests());
        let readings = if self.trace.is_by_bytes() { WALKS } else { READINGS };
        let gap = ((requests - warm) / readings / tick).max(1);
        let mut outcome = Outcome::default();
        let (mut sum, mut readings, mut evicted) = (0.0, 0u32, u64::MAX);
        for first in (0..requests).step_by(tick) {
            let mut access = participant.batch();
            let cx = self.cx(first);
            // Bounded work a call: as often as it takes for all that is due.
            while !access.tick(0, access.stripes(), &cx) {}
            if first >= warm && (first / tick).is_multiple_of(gap) {
                let before = std::mem::replace(&mut evicted, access.counts().evicted);
                if evicted > before {
                    sum += self.resident(&mut access, &cx);
                    readings += 1;
                }
            }
            for at in first..(first + tick).min(requests) {
                let request = self.trace.request(at);
                let cx = self.cx(at);
                let hit = self.request(&mut access, request, &cx);
                if !request.1 && at >= warm {
                    outcome.reads += 1;
                    outcome.misses += u64::from(!hit);
                }
            }
        }
        let was_full = readings > 0;
        if !was_full {
            let mut access = participant.batch();
            (sum, readings) = (self.resident(&mut access, &self.cx(requests - 1)), 1);
        }
        Run { outcome, resident: sum / f64::from(readings), was_full }
    }
}

/// Plays `trace` to a store whose limit makes it hold `capacity` on average, within `tolerance` (a share of it).
///
/// The limit counts the store's own overhead, so it is searched for: first the bytes of a store filled with so much,
/// then runs over part of the trace, then the whole, again if that went astray. Without a number of stripes it has those
/// of a server with that limit.
pub fn run(trace: &Trace, policy: Policy, capacity: f64, tolerance: f64, stripes: Option<usize>) -> Run {
    let bytes = |stripes| Client::new(trace, policy, u64::MAX >> 1, stripes).bytes_of(capacity);
    let stripes = stripes.unwrap_or_else(|| Layout::stripes_for(bytes(1)));
    let mut limit = bytes(stripes) as f64;
    let play = |limit: f64, requests: usize| Client::new(trace, policy, (limit as u64).max(1), stripes).play(requests);
    for _ in 0..2 {
        let run = play(limit, trace.len() / 4);
        if !run.was_full {
            break;
        }
        limit *= (capacity / run.resident).clamp(0.5, 2.0);
    }
    let mut closest: Option<Run> = None;
    for _ in 0..3 {
        let run = play(limit, trace.len());
        let off = |run: &Run| (run.resident / capacity - 1.0).abs();
        if !run.was_full || off(&run) <= tolerance {
            return run;
        }
        closest = closest.filter(|other| off(other) <= off(&run)).or(Some(run));
        limit *= (capacity / run.resident).clamp(0.5, 2.0);
    }
    closest.expect("a run went before")
}
