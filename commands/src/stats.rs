//! Counters. Each serving core has its own, written by it alone; whoever asks adds them up.

use core::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning core may call this: it is no atomic addition.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to 0; racing additions may survive or get lost.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Buckets of a [`Histogram`]: four a doubling from 1 us to about 8.6 s.
pub const HISTOGRAM_BUCKETS: usize = 4 * 33;

/// Latencies of one command on one core, in nanoseconds: four buckets a doubling, so a percentile is at most 25 % off.
#[derive(Debug)]
pub struct Histogram([Counter; HISTOGRAM_BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Counter::default()))
    }
}

impl Histogram {
    /// Counts one latency.
    #[inline]
    pub fn record(&self, ns: u64) {
        self.0[Self::bucket(ns)].add(1);
    }

    fn bucket(ns: u64) -> usize {
        let ns = ns.max(4);
        let log = 63 - ns.leading_zeros();
        let quarter = (ns >> (log - 2)) & 3;
        (((log as usize - 2) * 4) + quarter as usize).min(HISTOGRAM_BUCKETS - 1)
    }

    /// Largest latency a bucket holds, in ns.
    pub fn upper_ns(bucket: usize) -> u64 {
        let (log, quarter) = (bucket as u32 / 4 + 2, bucket as u64 % 4);
        ((4 + quarter + 1) << (log - 2)) - 1
    }

    /// Count in each bucket.
    pub fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().map(Counter::value)
    }

    pub(crate) fn reset(&self) {
        self.0.iter().for_each(Counter::reset);
    }
}

/// What one command did on one core.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Runs.
    pub calls: Counter,
    /// Nanoseconds spent in them.
    pub ns: Counter,
    /// Refused before they ran.
    pub rejected: Counter,
    /// Ran and replied an error.
    pub failed: Counter,
    /// Latencies, if `latency-tracking` is on.
    pub latencies: std::sync::OnceLock<Box<Histogram>>,
}

impl CommandStats {
    fn reset(&self) {
        for counter in [&self.calls, &self.ns, &self.rejected, &self.failed] {
            counter.reset();
        }
        if let Some(latencies) = self.latencies.get() {
            latencies.reset();
        }
    }
}

/// All counters of one core.
#[derive(Debug)]
pub struct WorkerStats {
    /// Commands run.
    pub commands: Counter,
    /// Look-ups by reading commands that found a key.
    pub hits: Counter,
    /// Look-ups that found none.
    pub misses: Counter,
    /// Mappings of events passed over, since a field was missing.
    pub events_skipped: Counter,
    /// Bytes received.
    pub input_bytes: Counter,
    /// Bytes sent.
    pub output_bytes: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections refused: too many clients, or protected mode.
    pub refused: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Connections closed because their replies piled up.
    pub output_limit_closed: Counter,
    /// By wire id of the command.
    pub by_command: Box<[CommandStats]>,
    /// How long commands held the core.
    #[cfg(feature = "histogram")]
    pub pauses: crate::pauses::Pauses,
}

impl Default for WorkerStats {
    fn default() -> Self {
        let commands = usize::from(crate::table::max_wire_id()) + 1;
        Self {
            commands: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            events_skipped: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            errors: Counter::default(),
            output_limit_closed: Counter::default(),
            by_command: (0..commands).map(|_| CommandStats::default()).collect(),
            #[cfg(feature = "histogram")]
            pauses: crate::pauses::Pauses::default(),
        }
    }
}

impl WorkerStats {
    /// `CONFIG RESETSTAT`.
    pub fn reset(&self) {
        for counter in [
            &self.commands,
            &self.hits,
            &self.misses,
            &self.events_skipped,
            &self.input_bytes,
            &self.output_bytes,
            &self.accepted,
            &self.refused,
            &self.errors,
            &self.output_limit_closed,
        ] {
            counter.reset();
        }
        self.by_command.iter().for_each(CommandStats::reset);
        #[cfg(feature = "histogram")]
        self.pauses.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn every_latency_lies_in_its_bucket() {
        for ns in (0..4096).chain([1 << 20, (1 << 20) + 12345, u64::MAX >> 31]) {
            let bucket = Histogram::bucket(ns);
            assert!(ns <= Histogram::upper_ns(bucket), "{ns}");
            assert!(bucket == 0 || ns > Histogram::upper_ns(bucket - 1), "{ns}");
        }
    }
}
