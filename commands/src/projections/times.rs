//! How long steps of a projection take: counts by bounds, as Prometheus' histograms have them.

/// Upper bounds, microseconds; longer ones are counted beyond the last.
pub const BOUNDS_US: [u64; 9] = [50, 100, 200, 500, 1000, 2000, 5000, 20_000, 100_000];

/// Steps by their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Steps up to each bound and above the one before, and those above all.
    counts: [u64; BOUNDS_US.len() + 1],
    sum_ns: u64,
}

impl Times {
    /// Counts one.
    pub fn note(&mut self, ns: u64) {
        let us = ns / 1000;
        let at = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        self.counts[at] += 1;
        self.sum_ns += ns;
    }

    /// Each bound, in seconds, with the steps up to it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS_US.iter().zip(&self.counts).map(move |(bound_us, count)| {
            sum += count;
            (*bound_us as f64 / 1e6, sum)
        })
    }

    /// All steps.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time of all of them, seconds.
    pub fn seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut times = Times::default();
        for us in [1, 50, 51, 300, 1_000_000] {
            times.note(us * 1000);
        }
        let buckets: Vec<_> = times.buckets().collect();
        assert_eq!(buckets[..4], [(0.00005, 2), (0.0001, 3), (0.0002, 3), (0.0005, 4)]);
        assert_eq!((buckets.last().map(|(_, count)| *count), times.count()), (Some(4), 5));
        assert!((times.seconds() - 1.000_402).abs() < 1e-9);
    }
}
