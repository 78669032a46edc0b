//! Latencies of one command over all cores, as INFO and LATENCY HISTOGRAM show them.

use crate::node::Node;
use crate::stats::{HISTOGRAM_BUCKETS, Histogram};

/// Buckets a doubling.
const QUARTERS: usize = 4;
/// Doublings below this one are shown as one: it ends at 1,023 ns.
const FIRST_DOUBLING: usize = 7;

/// Counts of latencies, summed over the cores; never empty.
#[derive(Debug)]
pub struct Latencies {
    counts: [u64; HISTOGRAM_BUCKETS],
    total: u64,
}

impl Latencies {
    /// Those of the command with this wire id; none if none was noted.
    pub fn of(node: &Node, wire_id: u16) -> Option<Self> {
        let mut counts = [0; HISTOGRAM_BUCKETS];
        for worker in &node.workers {
            if let Some(histogram) = worker.by_command[usize::from(wire_id)].latencies.get() {
                for (sum, count) in counts.iter_mut().zip(histogram.counts()) {
                    *sum += count;
                }
            }
        }
        let total = counts.iter().sum();
        (total > 0).then_some(Self { counts, total })
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What `permille` of 1,000 commands did not exceed, in ns; at most 25 % too high.
    pub fn percentile_ns(&self, permille: u64) -> u64 {
        let rank = (self.total * permille).div_ceil(1000);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Histogram::upper_ns(bucket.unwrap_or(HISTOGRAM_BUCKETS - 1))
    }

    /// Upper bounds in whole microseconds, one a doubling, each with the number of latencies up to it; bounds that add
    /// none are left out.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let (mut seen, mut shown) = (0, 0);
        for (doubling, counts) in self.counts.chunks(QUARTERS).enumerate() {
            seen += counts.iter().sum::<u64>();
            if doubling >= FIRST_DOUBLING && seen > shown {
                steps.push((Histogram::upper_ns(doubling * QUARTERS + QUARTERS - 1) / 1000, seen));
                shown = seen;
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::Latencies;
    use crate::table;
    use crate::testkit::Testkit;

    #[test]
    fn summed_ranked_and_doubled() {
        let mut t = Testkit::new();
        let id = table::find_name(b"ping").unwrap().wire_id;
        t.node.settings.live.latency_tracking.store(false, core::sync::atomic::Ordering::Relaxed);
        t.run("PING");
        assert!(Latencies::of(&t.node, id).is_none());
        let histogram = t.stats().by_command[usize::from(id)].latencies.get_or_init(Default::default);
        for ns in [100, 900, 1500, 1600, 9_000_000] {
            histogram.record(ns);
        }
        let latencies = Latencies::of(&t.node, id).unwrap();
        assert_eq!(latencies.total(), 5);
        assert_eq!(latencies.cumulative(), [(1, 2), (2, 4), (16_777, 5)]);
        let within = |permille: u64, ns: u64| (ns..=ns + ns / 4).contains(&latencies.percentile_ns(permille));
        assert!(within(200, 100) && within(400, 900) && within(500, 1500) && within(999, 9_000_000));
    }
}
