//! Requests: which keys, in which order, how large and how long-lived.
//!
//! A trace is drawn once and played to every policy. Keys are numbers: those below `Shape::keys` come again, those from
//! there on are asked for once. The order of popularity drifts by exchanging the ranks of two keys now and then.

use crate::random::{Random, Zipf, mix, normal, unit};

/// Marks a request that writes.
const WRITE: u32 = 1 << 31;

/// Virtual time between two requests where no key has a deadline.
const STEP_US: u64 = 10;

/// Ticks in a trace.
const TICKS: usize = 4800;

/// How large values are.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// All of these many bytes: caches are then measured in objects.
    Fixed(u32),
    /// Log-normal about a median within bounds, but for a share of `large.0` that have `large.1` bytes.
    LogNormal { median: f64, sigma: f64, least: u32, most: u32, large: (f64, u32) },
}

/// What percentages of cache size refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The keys that come again, asked for or not.
    Recurring,
    /// All keys asked for.
    Distinct,
}

/// The law a trace is drawn by.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Names the trace in tables, options and file names.
    pub name: String,
    pub requests: usize,
    /// Keys that come again, by a Zipf law with this exponent.
    pub keys: u32,
    pub alpha: f64,
    /// Share of requests for keys never seen again.
    pub one_hit: f64,
    /// How often a key changes its rank during the trace, on average.
    pub drift: f64,
    /// Share of requests that write, whether the key is there or not.
    pub writes: f64,
    pub key_bytes: u32,
    pub values: Values,
    /// Lifetimes in seconds, each with its share of the keys; none: no deadlines.
    pub ttls: &'static [(u64, f64)],
    /// Virtual length of the trace in seconds, where there are deadlines.
    pub span_s: u64,
    pub base: Base,
}

/// A drawn trace.
pub struct Trace {
    pub shape: Shape,
    seed: u64,
    requests: Vec<u32>,
    /// Keys are numbers below this.
    ids: u32,
    /// Bytes of key and value per key, where values differ in size.
    payloads: Vec<u32>,
    /// Sum of costs of what percentages refer to.
    whole: f64,
}

impl Shape {
    /// The synthetic traces for this many keys and requests.
    pub fn synthetic(keys: u32, requests: usize) -> Vec<Self> {
        let plain = |name: &str, alpha: f64, one_hit: f64, drift: f64| Self {
            name: name.to_owned(),
            requests,
            keys,
            alpha,
            one_hit,
            drift,
            writes: 0.0,
            key_bytes: 16,
            values: Values::Fixed(64),
            ttls: &[],
            span_s: 0,
            base: Base::Recurring,
        };
        let mixed =
            Values::LogNormal { median: 300.0, sigma: 1.3, least: 20, most: 16 << 10, large: (0.005, 100 << 10) };
        vec![
            plain("zipf-0.8", 0.8, 0.0, 0.0),
            plain("zipf-1.0", 1.0, 0.2, 2.0),
            plain("zipf-1.2", 1.2, 0.3, 2.0),
            // A quarter of the others: its values take a kilobyte on average.
            Self { values: mixed, keys: keys / 4, requests: requests / 4, ..plain("mixed-sizes", 0.9, 0.1, 1.0) },
        ]
    }
}

impl Trace {
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut random = Random::new(seed ^ mix(shape.name.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)))));
        let zipf = Zipf::new(shape.keys, shape.alpha);
        // Keys by rank: numbers tell nothing of popularity.
        let mut ranked: Vec<u32> = (0..shape.keys).collect();
        for at in (1..shape.keys).rev() {
            ranked.swap(at as usize, random.below(at + 1) as usize);
        }
        // An exchange moves two keys.
        let exchange = shape.drift * f64::from(shape.keys) / 2.0 / shape.requests as f64;
        let mut ids = shape.keys;
        let draw = |_| {
            for _ in 0..exchange as u32 + u32::from(random.chance(exchange.fract())) {
                ranked.swap(random.below(shape.keys) as usize, random.below(shape.keys) as usize);
            }
            let id = if random.chance(shape.one_hit) {
                ids += 1;
                ids - 1
            } else {
                ranked[zipf.draw(&mut random) as usize]
            };
            if random.chance(shape.writes) { id | WRITE } else { id }
        };
        let requests: Vec<u32> = (0..shape.requests).map(draw).collect();
        assert!(ids < WRITE, "keys are numbers below 2^31");
        let mut trace = Self { seed, requests, ids, payloads: Vec::new(), whole: 0.0, shape };
        if let Values::LogNormal { .. } = trace.shape.values {
            trace.payloads = (0..ids).map(|id| trace.shape.key_bytes + trace.draw_value_bytes(id)).collect();
        }
        trace.whole = trace.base_cost();
        trace
    }

    fn base_cost(&self) -> f64 {
        let cost = |id: u32| f64::from(self.costs().of(id));
        match self.shape.base {
            Base::Recurring => (0..self.shape.keys).map(cost).sum(),
            Base::Distinct => {
                let mut seen = vec![false; self.ids as usize];
                self.requests.iter().for_each(|request| seen[(request & !WRITE) as usize] = true);
                (0..self.ids).filter(|id| seen[*id as usize]).map(cost).sum()
            }
        }
    }

    /// Random bits that belong to a key.
    fn bits(&self, id: u32, purpose: u64) -> u64 {
        mix(mix(self.seed ^ purpose) ^ u64::from(id))
    }

    fn draw_value_bytes(&self, id: u32) -> u32 {
        match self.shape.values {
            Values::Fixed(bytes) => bytes,
            Values::LogNormal { large: (share, bytes), .. } if unit(self.bits(id, 1)) < share => bytes,
            Values::LogNormal { median, sigma, least, most, .. } => {
                let deviate = normal(unit(self.bits(id, 2)), unit(self.bits(id, 3)));
                ((median * (sigma * deviate).exp()) as u32).clamp(least, most)
            }
        }
    }

    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Keys are numbers below this.
    pub fn ids(&self) -> u32 {
        self.ids
    }

    /// Key of a request, and whether it writes.
    #[inline]
    pub fn request(&self, at: usize) -> (u32, bool) {
        (self.requests[at] & !WRITE, self.requests[at] & WRITE != 0)
    }

    /// Requests between two ticks: in a full run 25 ms at 100,000 requests/s, in shorter ones of smaller caches as much
    /// of the whole.
    pub fn tick_requests(&self) -> usize {
        (self.requests.len() / TICKS).max(1)
    }

    /// Virtual time of a request in ms.
    #[inline]
    pub fn now_ms(&self, at: usize) -> u64 {
        const START_MS: u64 = 1_700_000_000_000;
        match self.shape.ttls {
            [] => START_MS + at as u64 * STEP_US / 1000,
            _ => START_MS + (at as u128 * u128::from(self.shape.span_s) * 1000 / self.requests.len() as u128) as u64,
        }
    }

    /// How long this key lives after a write, in ms; `None` = for ever.
    pub fn ttl_ms(&self, id: u32) -> Option<u64> {
        let (last, _) = self.shape.ttls.last()?;
        let mut point = unit(self.bits(id, 4)) * self.shape.ttls.iter().map(|(_, share)| share).sum::<f64>();
        for (ttl_s, share) in self.shape.ttls {
            point -= share;
            if point < 0.0 {
                return Some(ttl_s * 1000);
            }
        }
        Some(last * 1000)
    }

    #[inline]
    pub fn value_bytes(&self, id: u32) -> u32 {
        match self.shape.values {
            Values::Fixed(bytes) => bytes,
            Values::LogNormal { .. } => self.payloads[id as usize] - self.shape.key_bytes,
        }
    }

    /// Bytes of the longest value.
    pub fn longest_value(&self) -> u32 {
        match self.shape.values {
            Values::Fixed(bytes) => bytes,
            Values::LogNormal { most, large: (_, bytes), .. } => most.max(bytes),
        }
    }

    /// What keys take of a cache's capacity.
    pub fn costs(&self) -> Costs<'_> {
        if self.payloads.is_empty() { Costs::One } else { Costs::Each(&self.payloads) }
    }

    /// Whether capacity is bytes of payload; else it is objects.
    pub fn is_by_bytes(&self) -> bool {
        !self.payloads.is_empty()
    }

    /// The capacity of a cache that holds this percentage of the keys.
    pub fn capacity(&self, percent: f64) -> f64 {
        (self.whole * percent / 100.0).max(1.0)
    }
}

/// What a key takes of a cache's capacity: one object, or its bytes of payload.
#[derive(Debug, Clone, Copy)]
pub enum Costs<'t> {
    One,
    Each(&'t [u32]),
}

impl Costs<'_> {
    #[inline]
    pub fn of(self, id: u32) -> u32 {
        match self {
            Self::One => 1,
            Self::Each(costs) => costs[id as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_keeps_to_its_shape() {
        for shape in Shape::synthetic(2000, 40_000) {
            let trace = Trace::new(shape.clone(), 3);
            let once = (0..trace.len()).filter(|at| trace.request(*at).0 >= shape.keys).count();
            assert!((once as f64 / trace.len() as f64 - shape.one_hit).abs() < 0.03, "{}", shape.name);
            assert_eq!(once, (trace.ids() - shape.keys) as usize);
            let again = Trace::new(shape, 3);
            assert!((0..trace.len()).all(|at| trace.request(at) == again.request(at)));
        }
    }

    #[test]
    fn drift_moves_the_popular_keys() {
        let shape = Shape::synthetic(2000, 40_000).swap_remove(1);
        for (drift, stays) in [(0.0, true), (20.0, false)] {
            let trace = Trace::new(Shape { drift, ..shape.clone() }, 3);
            let most_popular = |range: std::ops::Range<usize>| {
                let mut counts = vec![0; trace.ids() as usize];
                range.for_each(|at| counts[trace.request(at).0 as usize] += 1);
                (0..counts.len()).max_by_key(|id| counts[*id])
            };
            assert_eq!(most_popular(0..10_000) == most_popular(30_000..40_000), stays);
        }
    }

    #[test]
    fn sizes_are_within_bounds_and_some_are_large() {
        let shape = Shape::synthetic(20_000, 1000).swap_remove(3);
        let trace = Trace::new(shape, 3);
        let sizes: Vec<u32> = (0..trace.shape.keys).map(|id| trace.value_bytes(id)).collect();
        let large = sizes.iter().filter(|size| **size == 100 << 10).count();
        assert!(sizes.iter().all(|size| (20..=16 << 10).contains(size) || *size == 100 << 10));
        assert!((5..60).contains(&large), "{large}");
        let all: f64 = sizes.iter().map(|size| f64::from(size + 16)).sum();
        assert_eq!(trace.capacity(10.0), all / 10.0);
    }
}
