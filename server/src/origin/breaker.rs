//! The breaker of one origin: after failures nothing is asked for a while, then one request probes.

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// Or this many among so many answers, as many as there must be.
const AMONG: u32 = 20;
/// First time it stays open, ms, doubled by each failed probe up to the second.
const OPEN_MS: u64 = 1000;
const OPEN_MAX_MS: u64 = 30_000;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Breaker {
    /// The last answers, the newest in the lowest bit; set = failed. And how many there are.
    last: u32,
    answers: u32,
    /// For how long it is open, and until when; 0 = closed.
    open_ms: u64,
    until_ms: u64,
    /// A probe is under way.
    probes: bool,
}

impl Breaker {
    /// Whether a request must not be made now. One that may be made while it is open is a probe.
    pub fn refuses(&mut self, now_ms: u64) -> bool {
        if self.open_ms == 0 {
            return false;
        }
        if self.probes || now_ms < self.until_ms {
            return true;
        }
        self.probes = true;
        false
    }

    /// Notes how a request ended.
    pub fn note(&mut self, is_good: bool, now_ms: u64) {
        if self.open_ms > 0 {
            self.probes = false;
            if is_good {
                *self = Self::default();
            } else {
                self.open_ms = (self.open_ms * 2).min(OPEN_MAX_MS);
                self.until_ms = now_ms + self.open_ms;
            }
            return;
        }
        self.last = self.last << 1 | u32::from(!is_good);
        self.answers = (self.answers + 1).min(AMONG);
        let in_a_row = self.last.trailing_ones() >= IN_A_ROW;
        let among = self.answers == AMONG && (self.last & ((1 << AMONG) - 1)).count_ones() * 2 >= AMONG;
        if in_a_row || among {
            *self = Self { open_ms: OPEN_MS, until_ms: now_ms + OPEN_MS, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_row_open_it_and_a_good_probe_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            assert!(!breaker.refuses(0));
            breaker.note(false, 0);
        }
        assert!(!breaker.refuses(0));
        breaker.note(false, 100);
        assert!(breaker.refuses(100) && breaker.refuses(1099));
        // One probe at a time.
        assert!(!breaker.refuses(1100) && breaker.refuses(1100));
        breaker.note(false, 1200);
        assert!(breaker.refuses(3199) && !breaker.refuses(3200));
        breaker.note(true, 3200);
        assert!(!breaker.refuses(3200) && !breaker.refuses(3200));
    }

    #[test]
    fn half_of_twenty_open_it() {
        let mut breaker = Breaker::default();
        for n in 0..19 {
            breaker.note(n % 2 == 1, 0);
            assert!(!breaker.refuses(0), "{n}");
        }
        breaker.note(true, 0);
        assert!(breaker.refuses(0));
        let mut breaker = Breaker::default();
        (0..1000).for_each(|n| breaker.note(n % 3 > 0, 0));
        assert!(!breaker.refuses(0), "a third is borne");
    }

    #[test]
    fn it_stays_open_for_half_a_minute_at_most() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| breaker.note(false, 0));
        let mut now = 0;
        for _ in 0..10 {
            now += 40_000;
            assert!(!breaker.refuses(now));
            breaker.note(false, now);
        }
        assert!(breaker.refuses(now + 29_999) && !breaker.refuses(now + 30_000));
    }
}
