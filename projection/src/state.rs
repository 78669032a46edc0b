//! States of partitions and of a whole projection.

use crate::errors::Class;
use crate::schema::SchemaId;

/// How far a partition is. Worse ones come later: a projection shows its worst one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// All that was there at the start was applied; it follows.
    Live,
    /// It reads all anew, while what was there stays readable.
    Rebuilding,
    /// Somebody paused it.
    Paused,
    /// No broker can be reached.
    Disconnected,
    /// It reads what was there at the start.
    CatchUp,
    /// Nothing is known of it yet.
    #[default]
    Init,
    /// There is no memory for what comes next.
    BlockedMemory,
    /// A schema is not to be had.
    BlockedSchema,
    /// A record that cannot be read stands in the way.
    BlockedPoison,
}

impl State {
    /// Its name in replies and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rebuilding => "rebuilding",
            Self::Paused => "paused",
            Self::Disconnected => "disconnected",
            Self::CatchUp => "catchup",
            Self::Init => "init",
            Self::BlockedMemory => "blocked_memory",
            Self::BlockedSchema => "blocked_schema",
            Self::BlockedPoison => "blocked_poison",
        }
    }
}

/// What keeps a partition from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The schema of this id, of keys or of values, since then (ms of the engine's clock).
    Schema {
        /// The id.
        id: SchemaId,
        /// Of keys.
        of_key: bool,
        /// Since when.
        since_ms: u64,
    },
    /// A record of that class.
    Poison(Class),
    /// A record of that class is being written to the dead letters.
    Letter(Class),
}

/// One partition: what was read of it, and what that means.
///
/// Offsets count what lies below them: `next` is the first one not read, `applied` the first one not applied.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    /// The first offset not read.
    pub next: i64,
    /// The first offset not applied.
    pub applied: i64,
    /// The end of the log when catching up began; `None` = not known yet.
    pub target: Option<i64>,
    /// The log's first offset and its end, as last seen.
    pub log: (i64, i64),
    /// It was at the end of its log then, engine's ms.
    pub ended_ms: Option<u64>,
    /// Nothing came after that.
    pub at_end: bool,
    /// An end below the target was met first then: an open transaction.
    pub pinned_ms: Option<u64>,
    /// It has caught up once.
    pub live: bool,
    /// It is read anew, from the beginning.
    pub rebuilding: bool,
    /// What it waits for.
    pub blocked: Option<Blocked>,
    /// The record there was waited for long enough: the schema of this id is not to be had.
    pub given_up: Option<(i64, SchemaId)>,
    /// Somebody paused it.
    pub paused: bool,
    /// It is to be assigned anew: what is told of it until then comes from before.
    pub awaited: bool,
    /// Where reading it began: below that is nothing of it.
    pub start: i64,
    /// All below that offset had been applied before it was read anew.
    pub was_applied: i64,
    /// Somebody moved it: what lies between was not read, or twice.
    pub is_moved: bool,
    /// All tombstones up to then were read, engine's ms; `None` = not known yet.
    pub as_of_ms: Option<u64>,
    /// It was at the end then, and followed.
    pub followed: bool,
    /// It lagged for so long that tombstones may have gone unread.
    pub is_behind_horizon: bool,
    /// The end of what open transactions do not hide, as last told.
    pub stable_end: Option<i64>,
}

impl Partition {
    /// Its state.
    pub fn state(&self, connected: bool) -> State {
        match (self.blocked, self.live) {
            (Some(Blocked::Schema { .. }), _) => State::BlockedSchema,
            (Some(Blocked::Poison(_) | Blocked::Letter(_)), _) => State::BlockedPoison,
            _ if self.target.is_none() => State::Init,
            _ if self.paused => State::Paused,
            _ if !connected => State::Disconnected,
            (None, false) => State::CatchUp,
            (None, true) if self.rebuilding => State::Rebuilding,
            (None, true) => State::Live,
        }
    }

    /// Nothing keeps it from going on.
    pub fn goes_on(&self) -> bool {
        self.blocked.is_none() && !self.paused
    }

    /// Records it is behind, as far as that is known.
    pub fn lag(&self) -> i64 {
        if self.at_end { 0 } else { (self.log.1 - self.applied).max(0) }
    }

    /// For how long it may lack something, ms; `None` before it has been at its end once.
    pub fn lag_ms(&self, now_ms: u64, connected: bool) -> Option<u64> {
        let ended = self.ended_ms?;
        Some(if self.follows(connected) { 0 } else { now_ms.saturating_sub(ended) })
    }

    /// Reads from there on, again.
    pub fn rewind(&mut self, offset: i64, target: i64) {
        self.was_applied = self.was_applied.max(self.applied);
        self.seek(offset);
        self.target = Some(target);
        self.rebuilding = self.live;
        (self.is_moved, self.as_of_ms, self.is_behind_horizon) = (false, None, false);
    }

    /// Goes on there.
    pub fn seek(&mut self, offset: i64) {
        (self.next, self.applied) = (offset, offset);
        (self.at_end, self.pinned_ms, self.blocked) = (false, None, None);
        (self.awaited, self.is_moved) = (true, true);
    }

    /// Whether being at the end means that nothing is missing.
    pub fn follows(&self, connected: bool) -> bool {
        self.at_end && connected && !self.paused && self.blocked.is_none()
    }

    /// Notes whether it lags for longer than tombstones are kept for. One that follows all the time between two calls does not.
    pub fn watch_horizon(&mut self, now_ms: u64, retention_ms: Option<u64>, connected: bool) {
        let follows = self.follows(connected);
        let as_of_ms = self.as_of_ms.filter(|_| !(follows && self.followed)).unwrap_or(now_ms);
        // Before the time is over: what is late by a look or two is late.
        let most_ms = retention_ms.map_or(u64::MAX, |ms| ms / 10 * 8);
        self.is_behind_horizon |= now_ms.saturating_sub(as_of_ms) > most_ms;
        self.as_of_ms = Some(if follows { now_ms } else { as_of_ms });
        self.followed = follows;
    }

    /// All below `next` was applied: whether that makes it live, or ends its rebuild. `open_txn_wait_ms`: for so long an end
    /// below the target is waited at, `None` = for ever. `connected`: being at the end still means that nothing is missing.
    pub fn advance(&mut self, now_ms: u64, open_txn_wait_ms: Option<u64>, connected: bool) {
        self.applied = self.next;
        if self.follows(connected) {
            self.ended_ms = Some(now_ms);
        }
        let Some(target) = self.target else { return };
        let reached = self.applied >= target;
        if reached || self.paused || self.blocked.is_some() {
            self.pinned_ms = None;
        } else if self.at_end {
            self.pinned_ms.get_or_insert(now_ms);
        }
        let waited = |since: u64| open_txn_wait_ms.is_some_and(|wait| now_ms.saturating_sub(since) >= wait);
        if reached || self.pinned_ms.is_some_and(waited) {
            self.live = true;
            self.rebuilding = false;
            // All there was when it began is here, whatever came since.
            self.ended_ms.get_or_insert(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(target: i64) -> Partition {
        Partition { target: Some(target), log: (0, target), ..Partition::default() }
    }

    fn end(partition: &mut Partition, offset: i64, now_ms: u64) {
        (partition.next, partition.at_end) = (partition.next.max(offset), true);
        partition.advance(now_ms, Some(100), true);
    }

    /// The rows of the table of ends: only an end proves that all below it was seen.
    #[test]
    fn ends_prove_what_was_seen() {
        // A committed transaction whose marker is last; a gap that compaction left; an aborted one: the end counts.
        for last_record in [2, 4, 1] {
            let mut p = partition(10);
            p.next = last_record;
            p.advance(0, Some(100), true);
            assert_eq!(p.state(true), State::CatchUp);
            end(&mut p, 10, 5);
            assert_eq!((p.state(true), p.lag(), p.lag_ms(99, true)), (State::Live, 0, Some(0)));
        }
        // An empty partition, and one that retention emptied.
        for log in [0, 5] {
            let mut p = partition(log);
            p.next = log;
            end(&mut p, log, 0);
            assert_eq!(p.state(true), State::Live);
        }
        assert_eq!(Partition::default().state(true), State::Init);
        assert_eq!(Partition::default().lag_ms(5, true), None);
    }

    #[test]
    fn an_open_transaction_pins_until_it_was_waited_for() {
        let mut p = partition(3);
        p.next = 1;
        end(&mut p, 1, 1000);
        assert_eq!(p.state(true), State::CatchUp);
        end(&mut p, 1, 1099);
        assert_eq!(p.state(true), State::CatchUp);
        end(&mut p, 1, 1100);
        assert_eq!((p.state(true), p.pinned_ms), (State::Live, Some(1000)));
        end(&mut p, 3, 1200);
        assert_eq!((p.state(true), p.pinned_ms), (State::Live, None));
        // Without a bound it is waited for.
        let mut p = partition(3);
        (p.next, p.at_end) = (1, true);
        p.advance(0, None, true);
        p.advance(1 << 40, None, true);
        assert_eq!(p.state(true), State::CatchUp);
    }

    /// Being at the end means nothing while nobody answers: the age grows.
    #[test]
    fn an_end_does_not_age_backwards() {
        let mut p = partition(1);
        p.next = 1;
        end(&mut p, 1, 1000);
        p.advance(1500, None, true);
        for now_ms in [2000, 3000] {
            p.advance(now_ms, None, false);
            assert_eq!(p.lag_ms(now_ms, false), Some(now_ms - 1500));
        }
    }

    #[test]
    fn staleness_counts_from_the_last_end() {
        let mut p = partition(1);
        p.next = 1;
        end(&mut p, 1, 1000);
        assert_eq!((p.lag_ms(5000, true), p.lag_ms(5000, false)), (Some(0), Some(4000)));
        assert_eq!(p.state(false), State::Disconnected);
        p.at_end = false;
        assert_eq!(p.lag_ms(1500, true), Some(500));
        (p.at_end, p.paused) = (true, true);
        assert_eq!((p.lag_ms(1500, true), p.state(true)), (Some(500), State::Paused));
    }

    #[test]
    fn a_rebuild_keeps_it_readable() {
        let mut p = partition(4);
        p.next = 4;
        end(&mut p, 4, 0);
        p.rewind(0, 9);
        assert_eq!((p.state(true), p.live), (State::Rebuilding, true));
        p.next = 9;
        p.advance(1, None, true);
        assert_eq!(p.state(true), State::Live);
    }
}
