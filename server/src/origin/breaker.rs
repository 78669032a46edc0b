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
    /// Times it has opened or closed: what was asked before that says nothing about now.
    turns: u64,
}

/// The right to make one request, to be given back with how it ended.
#[derive(Debug)]
#[must_use = "a probe that is never noted keeps the breaker open"]
pub struct Leave {
    turns: u64,
}

impl Breaker {
    /// Leave to make a request now, which must then be made. One that is made while it is open is a probe.
    pub fn ask(&mut self, now_ms: u64) -> Option<Leave> {
        let is_open = self.open_ms > 0;
        if is_open && (self.probes || now_ms < self.until_ms) {
            return None;
        }
        self.probes = is_open;
        Some(Leave { turns: self.turns })
    }

    /// Notes how a request ended: whether the origin answered, and not with an error of its own.
    pub fn note(&mut self, leave: Leave, is_good: bool, now_ms: u64) {
        if leave.turns != self.turns {
            return;
        }
        if self.open_ms > 0 {
            self.probes = false;
            if is_good {
                *self = Self { turns: self.turns + 1, ..Self::default() };
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
            let turns = self.turns + 1;
            *self = Self { open_ms: OPEN_MS, until_ms: now_ms + OPEN_MS, turns, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(breaker: &mut Breaker, is_good: bool, now_ms: u64) {
        let leave = breaker.ask(now_ms).expect("leave to ask");
        breaker.note(leave, is_good, now_ms);
    }

    #[test]
    fn five_in_a_row_open_it_and_a_good_probe_closes_it() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| answers(&mut breaker, false, 100));
        assert!(breaker.ask(100).is_none() && breaker.ask(1099).is_none());
        // One probe at a time.
        let probe = breaker.ask(1100).unwrap();
        assert!(breaker.ask(1100).is_none() && breaker.ask(9999).is_none());
        breaker.note(probe, false, 1200);
        assert!(breaker.ask(3199).is_none());
        answers(&mut breaker, true, 3200);
        assert!(breaker.ask(3200).is_some() && breaker.ask(3200).is_some());
    }

    #[test]
    fn what_was_asked_before_it_opened_or_closed_does_not_count() {
        let mut breaker = Breaker::default();
        let mut early: Vec<Leave> = (0..8).map(|_| breaker.ask(0).unwrap()).collect();
        let mut next = || early.pop().unwrap();
        (0..5).for_each(|_| breaker.note(next(), false, 0));
        // A late answer of either kind is no probe's.
        breaker.note(next(), true, 10);
        assert!(breaker.ask(999).is_none());
        breaker.note(next(), false, 20);
        let probe = breaker.ask(1000).expect("not put off by late failures");
        breaker.note(next(), true, 1001);
        assert!(breaker.ask(1002).is_none(), "the probe is still under way");
        breaker.note(probe, true, 1003);
        assert!(breaker.ask(1003).is_some() && breaker.ask(1003).is_some());
    }

    #[test]
    fn half_of_twenty_open_it() {
        let mut breaker = Breaker::default();
        (0..19).for_each(|n| answers(&mut breaker, n % 2 == 1, 0));
        answers(&mut breaker, true, 0);
        assert!(breaker.ask(0).is_none());
        let mut breaker = Breaker::default();
        (0..1000).for_each(|n| answers(&mut breaker, n % 3 > 0, 0));
        assert!(breaker.ask(0).is_some(), "a third is borne");
    }

    #[test]
    fn it_stays_open_for_half_a_minute_at_most() {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| answers(&mut breaker, false, 0));
        let mut now = 0;
        for _ in 0..10 {
            now += 40_000;
            answers(&mut breaker, false, now);
        }
        assert!(breaker.ask(now + 29_999).is_none() && breaker.ask(now + 30_000).is_some());
    }
}
