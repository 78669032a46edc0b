//! Waiting for what comes at some time: it is looked for again and again until a deadline. Nothing else in the tests sleeps.

use std::time::{Duration, Instant};

/// Between two looks.
const POLL: Duration = Duration::from_millis(5);
/// Between two steps of what goes on beside a test, for the sake of others.
const BESIDE: Duration = Duration::from_millis(2);

/// A time that is waited at most.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Instant);

impl Patience {
    /// So long from now on.
    pub fn of(time: Duration) -> Patience {
        Patience(Instant::now() + time)
    }

    /// Waits until the next look is due; false, at once, after the last one.
    #[must_use]
    pub fn is_left(&self) -> bool {
        let is_left = Instant::now() < self.0;
        if is_left {
            std::thread::sleep(POLL);
        }
        is_left
    }
}

/// Lets others work: to be called by loops that ask without end while a test goes on.
pub fn stand_back() {
    std::thread::sleep(BESIDE);
}
