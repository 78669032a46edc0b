//! Progress on stderr: one line per step with the share done and an estimate of the time left.

use std::time::{Duration, Instant};

/// Steps weighted by the time they are expected to take.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    planned_s: f64,
    done_s: f64,
    current_s: f64,
}

impl Progress {
    pub fn new(planned: Duration) -> Self {
        Self { started: Instant::now(), planned_s: planned.as_secs_f64().max(0.001), done_s: 0.0, current_s: 0.0 }
    }

    /// Announces the next step and counts the one before as done.
    pub fn step(&mut self, expected: Duration, what: impl std::fmt::Display) {
        self.done_s += self.current_s;
        self.current_s = expected.as_secs_f64();
        let share = (self.done_s / self.planned_s).min(0.99);
        // Real time per planned time so far, once there is enough of it to tell.
        let pace = if self.done_s > 2.0 { self.started.elapsed().as_secs_f64() / self.done_s } else { 1.0 };
        let left_s = ((self.planned_s - self.done_s) * pace).max(0.0);
        eprintln!(
            "[{:3.0}%, {:.0}:{:02.0} left] {what}",
            share * 100.0,
            (left_s / 60.0).floor(),
            (left_s % 60.0).floor()
        );
    }
}
