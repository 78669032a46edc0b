//! The latency monitor: events that took at least `latency-monitor-threshold` milliseconds, by name.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// Samples kept of an event, one a second at most.
const HISTORY: usize = 160;

/// One sample: when (seconds since the epoch) and how long (ms).
pub type Sample = (u64, u64);

/// Samples of every event.
#[derive(Debug, Default)]
pub struct Latency(Mutex<BTreeMap<&'static str, Event>>);

/// What is known of one event.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Oldest first.
    pub samples: VecDeque<Sample>,
    /// The longest ever, ms.
    pub max_ms: u64,
}

impl Latency {
    /// Notes that `event` took `ms`; of one second only the longest is kept.
    #[cold]
    pub fn record(&self, event: &'static str, unix_s: u64, ms: u64) {
        let mut events = self.0.lock();
        let event = events.entry(event).or_default();
        event.max_ms = event.max_ms.max(ms);
        match event.samples.back_mut() {
            Some(last) if last.0 == unix_s => last.1 = last.1.max(ms),
            _ => {
                event.samples.push_back((unix_s, ms));
                if event.samples.len() > HISTORY {
                    event.samples.pop_front();
                }
            }
        }
    }

    /// All events by name.
    pub fn events(&self) -> BTreeMap<&'static str, Event> {
        self.0.lock().clone()
    }

    /// Forgets the events `named` selects; how many there were.
    pub fn reset(&self, named: impl Fn(&str) -> bool) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| !named(name));
        before - events.len()
    }
}
