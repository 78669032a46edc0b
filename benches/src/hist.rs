//! Latency histogram, log-linear: 64 steps per doubling, so a reported value is at most 1.6 % above the true one. Unit: nanoseconds.

const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// Counts of durations.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

/// The figures a report shows, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }

    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The smallest bucket bound that `share` (0..=1) of the durations do not exceed; 0 when nothing was recorded.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index).min(self.max_ns);
            }
        }
        0
    }

    /// Durations recorded.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest one; 0 when nothing was recorded.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// Adds what another one holds.
    pub fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Largest duration and count of every step that is not empty, ascending.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, count)| (upper_bound(index), *count))
    }

    pub fn summary(&self) -> Summary {
        let us = |ns: u64| ns as f64 / 1e3;
        Summary {
            p50_us: us(self.quantile_ns(0.5)),
            p99_us: us(self.quantile_ns(0.99)),
            p999_us: us(self.quantile_ns(0.999)),
            max_us: us(self.max_ns),
        }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - STEP_BITS;
    (shift as usize + 1) * STEPS + ((ns >> shift) as usize - STEPS)
}

fn upper_bound(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let shift = (index / STEPS - 1) as u32;
    let first = ((index % STEPS + STEPS) as u64) << shift;
    first + ((1u64 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_its_bound_and_the_next_begins_after_it() {
        for index in 0..BUCKETS - 1 {
            let bound = upper_bound(index);
            assert_eq!(bucket(bound), index);
            assert_eq!(bucket(bound + 1), index + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_the_promised_error() {
        let mut histogram = Histogram::new();
        for ns in 1..=100_000u64 {
            histogram.record(ns);
        }
        for share in [0.5, 0.99, 0.999] {
            let truth = 100_000.0 * share;
            let told = histogram.quantile_ns(share) as f64;
            assert!(told >= truth && told <= truth * 1.016, "{share}: {told} for {truth}");
        }
        assert_eq!(histogram.quantile_ns(1.0), 100_000);
        let mut double = histogram.clone();
        double.add(&histogram);
        assert_eq!(double.quantile_ns(0.5), histogram.quantile_ns(0.5));
        assert_eq!(double.steps().map(|(_, count)| count).sum::<u64>(), double.total());
    }
}
