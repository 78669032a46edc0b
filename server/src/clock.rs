//! The clocks of the process: wall time for deadlines, a cheap tick counter for durations.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads time. Cheap to clone; calibrated once at start.
#[derive(Clone)]
pub struct Clock {
    ticks: quanta::Clock,
    started: Instant,
}

/// A reading of the tick counter.
#[derive(Clone, Copy)]
pub struct Ticks(u64);

impl Clock {
    /// Calibrates the tick counter (some milliseconds).
    pub fn start() -> Self {
        Self { ticks: quanta::Clock::new(), started: Instant::now() }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_millis() as u64
    }

    /// Milliseconds since the start of the process, never going back.
    pub fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The tick counter: some 10 ns to read.
    #[inline]
    pub fn ticks(&self) -> Ticks {
        Ticks(self.ticks.raw())
    }

    /// Nanoseconds from one reading to a later one.
    #[inline]
    pub fn ns_between(&self, from: Ticks, to: Ticks) -> u64 {
        self.ticks.delta_as_nanos(from.0, to.0)
    }
}
