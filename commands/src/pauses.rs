//! How long single commands hold their core, in builds that measure it (feature `histogram`): one histogram a core, told
//! by `DEBUG PAUSES`.
//!
//! The shell takes the times and says which samples the system disturbed; those are counted and left out.

use crate::stats::{Counter, HISTOGRAM_BUCKETS, Histogram, WorkerStats};
use core::fmt::Write;

/// No step of the store may be longer, ns.
const STEP_NS: u64 = 20_000;
/// Shares shown, in parts of 10,000.
const SHARES: [(&str, u64); 4] = [("p50", 5_000), ("p99", 9_900), ("p99.9", 9_990), ("p99.99", 9_999)];

/// Times of commands, and of slices of long ones, on one core.
#[derive(Debug, Default)]
pub struct Pauses {
    times: Histogram,
    max_ns: Counter,
    above: Counter,
    dropped: Counter,
}

impl Pauses {
    /// Counts one.
    #[inline]
    pub fn record(&self, ns: u64) {
        self.times.record(ns);
        if ns > STEP_NS {
            self.above.add(1);
            self.max_ns.add(ns.saturating_sub(self.max_ns.value()));
        }
    }

    /// Counts one that tells nothing: the system had taken the core away.
    pub fn drop_one(&self) {
        self.dropped.add(1);
    }

    pub(crate) fn reset(&self) {
        self.times.reset();
        [&self.max_ns, &self.above, &self.dropped].into_iter().for_each(Counter::reset);
    }
}

/// All cores together, a figure a line, then the histogram: what each bucket holds, by its upper bound in microseconds.
pub fn report<'w>(workers: impl Iterator<Item = &'w WorkerStats> + Clone) -> String {
    let mut counts = [0; HISTOGRAM_BUCKETS];
    for worker in workers.clone() {
        counts.iter_mut().zip(worker.pauses.times.counts()).for_each(|(sum, count)| *sum += count);
    }
    let sum = |counter: fn(&Pauses) -> &Counter| workers.clone().map(|w| counter(&w.pauses).value()).sum::<u64>();
    let max_ns = workers.clone().map(|worker| worker.pauses.max_ns.value()).max().unwrap_or(0);
    let total: u64 = counts.iter().sum();
    let mut out = String::new();
    let mut line = |name: &str, value: &dyn core::fmt::Display| {
        writeln!(out, "{name}:{value}\r").expect("writing to a string cannot fail");
    };
    line("samples", &total);
    line("dropped", &sum(|pauses| &pauses.dropped));
    for (name, share) in SHARES {
        line(&format!("{name}_us"), &micros(quantile_ns(&counts, total, share)));
    }
    // Below the length of a step the exact maximum is not kept.
    let max_ns = if max_ns > 0 { max_ns } else { quantile_ns(&counts, total, 10_000) };
    line("max_us", &micros(max_ns));
    line("above_20_us", &sum(|pauses| &pauses.above));
    for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        line(&format!("up_to_{}_us", micros(Histogram::upper_ns(bucket))), count);
    }
    out
}

/// Upper bound of the bucket that holds this share, at most 25 % above the truth.
fn quantile_ns(counts: &[u64], total: u64, share: u64) -> u64 {
    let rank = (u128::from(total) * u128::from(share)).div_ceil(10_000).max(1) as u64;
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    bucket.map_or(0, Histogram::upper_ns)
}

fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_added_up() {
        let workers = [WorkerStats::default(), WorkerStats::default()];
        for ns in 1..=9_999 {
            workers[0].pauses.record(ns % 900);
        }
        workers[1].pauses.record(70_000);
        workers[1].pauses.record(50_000);
        workers[1].pauses.drop_one();
        let text = report(workers.iter());
        for wanted in ["samples:10001\r\n", "dropped:1\r\n", "max_us:70.000\r\n", "above_20_us:2\r\n"] {
            assert!(text.contains(wanted), "{text}");
        }
        assert!(text.contains("p99.9_us:0.895\r\n") || text.contains("p99.9_us:1.023\r\n"), "{text}");
        workers.iter().for_each(WorkerStats::reset);
        assert!(report(workers.iter()).starts_with("samples:0\r\n"));
    }
}
