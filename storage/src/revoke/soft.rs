//! Soft revokes: what they make of an entry, one after the other, whenever it is met.

use crate::ext::Windows;
use crate::limits::MAX_SOFT_MARKS;
use crate::time::Millis;
use smallvec::SmallVec;

/// One soft revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Soft {
    pub epoch: u64,
    /// Its time: entries are stale from then on.
    pub at: Millis,
    /// They are served for at most so many ms from then on.
    pub stale_for: Option<u64>,
    /// And for no longer than they would have been stale anyway.
    pub own_span: bool,
}

/// Soft revokes in the order of their epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Softs(SmallVec<[Soft; 2]>);

/// The earlier of two ends, of which `None` = never.
pub(crate) fn earlier(a: Option<Millis>, b: Option<Millis>) -> Option<Millis> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Soft {
    pub fn new(epoch: u64, at: Millis, stale_for: Option<u64>) -> Self {
        Self { epoch, at, stale_for, own_span: stale_for.is_none() }
    }

    /// Both as one, later in epochs and earlier in time: it makes more stale, never less.
    fn merged(self, later: Self) -> Self {
        let stale_for = match (self.stale_for, later.stale_for) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let own_span = self.own_span || later.own_span;
        Self { epoch: later.epoch, at: self.at.min(later.at), stale_for, own_span }
    }

    /// Deadline and windows of an entry after it.
    fn apply(self, deadline: Option<Millis>, windows: Windows) -> (Option<Millis>, Windows) {
        let after = |ms: u64| Some(Millis(self.at.0.saturating_add(ms)));
        let mut end = earlier(deadline, self.stale_for.and_then(after));
        // Without an end of its own it has no span either, and goes on to be served.
        if self.own_span
            && let (Some(stale), Some(fresh)) = (deadline, windows.fresh_until)
        {
            end = earlier(end, after(stale.0.saturating_sub(fresh.0)));
        }
        let fresh_until = earlier(windows.fresh_until, Some(self.at));
        (end, Windows { fresh_until, ..windows }.with_deadline(deadline, end))
    }
}

impl Softs {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The epoch of the last one; 0 = there is none.
    pub fn latest(&self) -> u64 {
        self.0.last().map_or(0, |soft| soft.epoch)
    }

    /// Adds one. Past [`MAX_SOFT_MARKS`] the two oldest become one.
    pub fn push(&mut self, soft: Soft) {
        if self.0.len() == MAX_SOFT_MARKS {
            let oldest = self.0.remove(0);
            self.0[0] = oldest.merged(self.0[0]);
        }
        self.0.push(soft);
    }

    /// Adds those of another selector that are later than `since`.
    pub fn add(&mut self, others: &Self, since: u64) {
        self.0.extend(others.0.iter().filter(|soft| soft.epoch > since).copied());
        self.0.sort_by_key(|soft| (soft.epoch, soft.at));
    }

    /// Adds all of others.
    pub fn add_all(&mut self, others: &Self) {
        self.0.extend(others.0.iter().copied());
        self.0.sort_by_key(|soft| (soft.epoch, soft.at));
    }

    /// Deadline and windows of an entry after all of them.
    pub fn apply(&self, deadline: Option<Millis>, windows: Windows) -> (Option<Millis>, Windows) {
        self.0.iter().fold((deadline, windows), |(deadline, windows), soft| soft.apply(deadline, windows))
    }
}
