//! The revoke log: groups of entries made absent at once, in constant time, and found out when they are met.
//!
//! Every revoke has an *epoch*, counted from 1. An entry was last known to be good at some epoch, its *stamp*: the one in
//! its extension, else its segment's *base*. It is dead if a record of the log with a later epoch matches its key or one
//! of its tags. The *sweeper* visits all segments in slices; when it has passed, their bases are its epoch, and the
//! records up to it are dropped.
//!
//! A stamp may be any epoch as long as no matching record lies between it and the true one. So an entry without tags
//! needs none of its own unless a record later than its segment's base matches its key: only what was revoked and
//! written again before the sweeper came carries four bytes. An entry with tags always has one.
//!
//! A *soft* revoke makes entries stale instead of absent: from its time on, whenever they are met. Records keep the last
//! soft ones one by one, since an entry may be older than several of them.
//!
//! Who begins after a revoke has returned sees it: the record is there before the epochs that readers look at first.
//! Commands on several keys hold the log for reading meanwhile, so that all their keys are judged by one state of it.
//!
//! Locks are taken in this order: stripes, then the log for reading. The log is locked for writing without any stripe.

use crate::glob;
use crate::limits::{DATABASES, MAX_GLOB_BYTES, MAX_GLOB_STARS, MAX_MATCHED_KEY_BYTES, MAX_REVOKED_BYTES};
use crate::record::Record;
use crate::store::{Memory, Padded};
use crate::stripe::Physical;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, RwLock, RwLockReadGuard};
use crate::time::Millis;
use records::{Dropped, Ends, Glob, Records};
use smallvec::SmallVec;
pub(crate) use soft::{Soft, Softs};
use std::collections::HashMap;
use std::sync::LazyLock;
use widen::Wider;

/// What a group revoke names.
#[derive(Clone, Copy, Debug)]
pub enum Selector<'a> {
    /// Keys that begin with these bytes; with none, all keys.
    Prefix(&'a [u8]),
    /// Keys that this glob pattern matches as a whole.
    Match(&'a [u8]),
    /// Entries with this tag, by [`Store::tag`](crate::Store::tag).
    Tag(u64),
    /// Entries with all of these tags, one at least.
    Tags(&'a [u64]),
}

/// What a revoke does to the entries it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are absent.
    Hard,
    /// They are stale.
    Soft {
        /// Since when: the time of the revoke.
        at: Millis,
        /// They are served for at most so many ms from then on; `None` = for as long as they would have been stale anyway,
        /// and those without an end without one.
        stale_for: Option<u64>,
    },
}

/// What happens where the log has no room for a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Nothing is revoked.
    Reject,
    /// A wider one is taken: it revokes more than was asked for.
    Widen,
    /// The same, up to all keys of the database.
    WidenAll,
}

/// Why groups were not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The log has no room for more records of a sort until the sweeper has passed.
    Busy,
    /// A pattern or prefix is longer, or has more stars, than is safe to match with every key.
    TooComplex,
}

/// Bytes of a record beyond what it names: its share of tables and boxes.
const RECORD_BYTES: usize = 64;
/// Bytes of a soft revoke that is kept.
const SOFT_BYTES: usize = 64;

impl Selector<'_> {
    /// Whether it is cheap enough to judge entries by.
    pub fn check(&self) -> Result<(), Refused> {
        let (bytes, stars) = match self {
            Self::Prefix(prefix) => (prefix.len(), 0),
            Self::Match(pattern) => (pattern.len(), pattern.iter().filter(|byte| **byte == b'*').count()),
            Self::Tag(_) | Self::Tags(_) => (0, 0),
        };
        if bytes > MAX_GLOB_BYTES || stars > MAX_GLOB_STARS { Err(Refused::TooComplex) } else { Ok(()) }
    }

    /// Whether it names the key of an entry with these tags, as the log would say.
    pub fn names(&self, key: &[u8], tags: &[u64]) -> bool {
        match self {
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Match(pattern) if key.len() <= MAX_MATCHED_KEY_BYTES => glob::matches(pattern, key, false),
            Self::Match(pattern) => Glob::new(pattern).matches(key, Ends::of(key)),
            Self::Tag(tag) => tags.contains(tag),
            Self::Tags(all) => all.iter().all(|tag| tags.contains(tag)),
        }
    }

    /// Bytes of its record.
    fn bytes(&self) -> usize {
        RECORD_BYTES
            + match self {
                Self::Prefix(prefix) => prefix.len(),
                Self::Match(pattern) => 2 * pattern.len(),
                Self::Tag(_) => 0,
                Self::Tags(tags) => size_of_val(*tags),
            }
    }
}

/// What the log says of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub found: Found,
    /// The epoch as far as it was judged.
    pub epoch: u64,
    /// A live entry with a stamp should get one of that epoch: the same records are not searched again for it then.
    pub restamp: bool,
}

/// What records later than some epoch, and matching something, say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The latest of their epochs; 0 = there are none.
    pub latest: u64,
    /// One of them is hard.
    pub is_hard: bool,
    /// The soft ones.
    pub soft: Softs,
}

/// A search for matching records.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Search {
    /// The epochs looked at first show that there is none.
    Needless,
    Done(Found),
}

/// Hard revokes that match something, for many questions about one interval's beginning.
#[derive(Debug, Default)]
pub(crate) struct HardMarks(SmallVec<[[u64; 2]; 2]>);

impl HardMarks {
    /// Whether one lies, or where that is no longer known may lie, later than `since` and not later than `until`.
    pub fn within(&self, since: u64, until: u64) -> bool {
        since < until && self.0.iter().any(|[last, before]| *last > since && (*last <= until || *before > since))
    }
}

/// What every access looks at first.
#[derive(Default)]
struct Seen {
    /// Records in the log.
    records: AtomicUsize,
    /// Epoch of the latest record that names no tag, by table.
    last_by_key: [AtomicU64; DATABASES],
    /// Time of the latest soft revoke.
    softened_ms: AtomicU64,
    /// Epoch of the latest revoke; published last.
    epoch: AtomicU64,
}

/// See the module's text.
pub(crate) struct RevokeLog {
    /// In cache lines that only revokes and the end of a sweep write.
    seen: Padded<Seen>,
    /// By the low bits of a tag: no later record names one with these.
    recent: Box<[AtomicU64]>,
    log: Padded<RwLock<Log>>,
    /// The epoch that the sweeper brings all segments to, 0 for none, and stripes it has not passed yet. A pass begins, and
    /// a target changes, only with the log locked for writing.
    target: AtomicU64,
    stripes_left: AtomicUsize,
    /// Number of the pass under way, and the first epoch whose records must outlive it: that of the oldest load met.
    pass: AtomicU64,
    floor: AtomicU64,
    /// The epoch of the last pass that has ended.
    swept: AtomicU64,
    /// Revokes that named more than was asked for.
    widened: AtomicUsize,
}

/// The log, held as it is.
pub(crate) type Still<'l> = RwLockReadGuard<'l, Log>;

/// By number of the table.
#[derive(Default)]
pub(crate) struct Log {
    tables: HashMap<u8, Records>,
    /// Bytes of all records.
    bytes: usize,
}

const RECENT: usize = if cfg!(loom) { 2 } else { 4096 };

fn slot(tag: u64) -> usize {
    tag as usize % RECENT
}

/// A log in which nothing is ever revoked, for tables whose entries are parts of another one's.
pub(crate) fn quiet() -> &'static RevokeLog {
    static QUIET: LazyLock<RevokeLog> = LazyLock::new(|| RevokeLog::new(0));
    &QUIET
}

impl RevokeLog {
    pub fn new(first_epoch: u64) -> Self {
        Self {
            seen: Padded(Seen { epoch: AtomicU64::new(first_epoch), ..Seen::default() }),
            recent: (0..RECENT).map(|_| AtomicU64::new(0)).collect(),
            log: Padded(RwLock::default()),
            target: AtomicU64::new(0),
            stripes_left: AtomicUsize::new(0),
            pass: AtomicU64::new(0),
            floor: AtomicU64::new(u64::MAX),
            swept: AtomicU64::new(first_epoch),
            widened: AtomicUsize::new(0),
        }
    }

    /// Bytes of its fixed parts.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.recent)
    }

    /// The epoch of the latest revoke.
    pub fn epoch(&self) -> u64 {
        self.seen.0.epoch.load(Ordering::Acquire)
    }

    /// Revokes that named more than was asked for.
    pub fn widened_count(&self) -> usize {
        self.widened.load(Ordering::Relaxed)
    }

    /// The time of the latest soft revoke: no command that begins after its reply may be told an earlier one, whatever its
    /// core last read from the clock, and wherever the clock was set.
    #[inline]
    pub fn softened_at(&self) -> Millis {
        Millis(self.seen.0.softened_ms.load(Ordering::Acquire))
    }

    /// Notes a soft revoke of one key.
    pub fn note_softened(&self, at: Millis) {
        self.seen.0.softened_ms.fetch_max(at.0, Ordering::AcqRel);
    }

    /// Records not yet dropped.
    pub fn records(&self) -> usize {
        self.seen.0.records.load(Ordering::Relaxed)
    }

    /// Nothing can be dead by this log.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.seen.0.records.load(Ordering::Acquire) == 0
    }

    /// Holds the log as it is. Who holds it already must say so: it may not wait for a writer then, who waits for it.
    pub fn hold(&self, again: bool) -> Still<'_> {
        if again { self.log.0.read_recursive() } else { self.log.0.read() }
    }

    /// Adds records, all of them or none; gives the epoch of the last one. Who holds the log must not call it.
    pub fn revoke(
        &self,
        table: Physical,
        selectors: &[Selector<'_>],
        (mode, overflow): (Mode, Overflow),
        memory: &Memory,
    ) -> Result<u64, Refused> {
        if selectors.is_empty() {
            return Ok(self.epoch());
        }
        selectors.iter().try_for_each(Selector::check)?;
        let mut log = self.log.0.write();
        let log = &mut *log;
        let records = log.tables.entry(table.0).or_default();
        let fits = |selectors: &[Selector<'_>]| {
            let new = selectors.iter().filter(|selector| !records.has(selector)).map(Selector::bytes);
            // Room for all keys, and for soft ones beside what is there already, is always left.
            let is_all = matches!(selectors, [Selector::Prefix([])]);
            let bytes = log.bytes + new.sum::<usize>();
            (bytes <= MAX_REVOKED_BYTES || is_all) && records.has_room(selectors).is_ok()
        };
        let wider = widen::widen(selectors, records, overflow, fits)?;
        let is_wider = wider.iter().any(|wider| !matches!(wider, Wider::As(_)));
        self.widened.fetch_add(is_wider.into(), Ordering::Relaxed);
        let (mut epoch, before) = (self.seen.0.epoch.load(Ordering::Relaxed), log.bytes);
        for selector in wider.iter().map(Wider::selector) {
            let (selector, softs) = (&selector, records.softs());
            epoch += 1;
            if records.add(*selector, epoch, mode) {
                log.bytes += selector.bytes();
                self.seen.0.records.fetch_add(1, Ordering::Release);
            }
            log.bytes = log.bytes + records.softs() * SOFT_BYTES - softs * SOFT_BYTES;
            let first_look = match selector {
                Selector::Prefix(_) | Selector::Match(_) => &self.seen.0.last_by_key[usize::from(table.0)],
                Selector::Tag(tag) => &self.recent[slot(*tag)],
                Selector::Tags(tags) => &self.recent[slot(tags[0])],
            };
            first_look.store(epoch, Ordering::Release);
        }
        memory.charge_outside(log.bytes as i64 - before as i64);
        if let Mode::Soft { at, .. } = mode {
            self.seen.0.softened_ms.fetch_max(at.0, Ordering::AcqRel);
        }
        // Last: who reads it finds the records.
        self.seen.0.epoch.store(epoch, Ordering::Release);
        Ok(epoch)
    }

    /// The whole number of a stamp, which is of the last 2^32 epochs.
    fn widened(&self, stamp: u32) -> u64 {
        let epoch = self.epoch();
        epoch.saturating_sub(u64::from((epoch as u32).wrapping_sub(stamp)))
    }

    /// Whether there is a stamp, of an earlier epoch.
    pub fn is_before(&self, stamp: Option<u32>, epoch: u64) -> bool {
        stamp.is_some_and(|stamp| self.widened(stamp) < epoch)
    }

    /// Judges an entry of a segment with this base. `held`: whether the caller holds the log.
    pub fn judge(&self, table: Physical, record: Record<'_>, base: u64, held: bool) -> Verdict {
        // Before the search: what is added meanwhile is not covered by a stamp of this epoch.
        let (epoch, ext) = (self.epoch(), record.ext());
        if ext.is_projected() {
            return Verdict { found: Found::default(), epoch, restamp: false };
        }
        let since = ext.stamp().map_or(base, |stamp| self.widened(stamp));
        match self.search(table, record.key(), ext.tags(), since, held) {
            Search::Needless => Verdict { found: Found::default(), epoch, restamp: false },
            Search::Done(found) => {
                let restamp = found.latest == 0 && ext.stamp().is_some();
                Verdict { found, epoch, restamp }
            }
        }
    }

    /// Judges what was, or would be, stored under a key with these tags and is good at the epoch `since`.
    pub fn judge_since(
        &self,
        table: Physical,
        key: &[u8],
        tags: impl Iterator<Item = u64> + Clone,
        since: u64,
        held: bool,
    ) -> Found {
        match self.search(table, key, tags, since, held) {
            Search::Needless => Found::default(),
            Search::Done(found) => found,
        }
    }

    /// The hard revokes of what has this key and these tags.
    pub fn hard_marks(
        &self,
        table: Physical,
        key: &[u8],
        tags: impl Iterator<Item = u64> + Clone,
        held: bool,
    ) -> HardMarks {
        let mut hard = HardMarks::default();
        if !self.is_quiet()
            && let Some(records) = self.hold(held).tables.get(&table.0)
        {
            records.each_match(key, tags, 0, |marks| hard.0.push(marks.hard));
        }
        hard
    }

    /// The stamp that a new entry without tags needs in a segment with this base.
    pub fn stamp_for(&self, table: Physical, key: &[u8], base: u64, held: bool) -> Option<u32> {
        match self.search(table, key, core::iter::empty(), base, held) {
            Search::Done(found) if found.latest > 0 => Some(found.latest as u32),
            _ => None,
        }
    }

    /// What the records after `since` that match say.
    fn search(
        &self,
        table: Physical,
        key: &[u8],
        tags: impl Iterator<Item = u64> + Clone,
        since: u64,
        held: bool,
    ) -> Search {
        let by_key = self.seen.0.last_by_key[usize::from(table.0)].load(Ordering::Acquire) > since;
        let by_tag = tags.clone().any(|tag| self.recent[slot(tag)].load(Ordering::Acquire) > since);
        if !by_key && !by_tag {
            return Search::Needless;
        }
        let log = self.hold(held);
        let mut found = Found::default();
        if let Some(records) = log.tables.get(&table.0) {
            records.each_match(key, tags, since, |marks| marks.judge(since, &mut found));
        }
        Search::Done(found)
    }

    /// Begins a pass of the sweeper over `stripes` stripes, if there is something to sweep and none is under way.
    pub fn begin_sweep(&self, stripes: usize) {
        let is_due = || !self.is_quiet() && self.target.load(Ordering::Acquire) == 0;
        if !is_due() {
            return;
        }
        let _log = self.log.0.write();
        // Another pass may have come and gone meanwhile.
        if is_due() {
            self.stripes_left.store(stripes, Ordering::Relaxed);
            self.floor.store(u64::MAX, Ordering::Relaxed);
            self.pass.fetch_add(1, Ordering::AcqRel);
            self.target.store(self.epoch(), Ordering::Release);
        }
    }

    /// Whether a pass for this epoch or a later one has ended.
    pub fn is_swept(&self, epoch: u64) -> bool {
        self.swept.load(Ordering::Acquire) >= epoch || self.is_quiet()
    }

    /// The pass under way: its number, and the epoch it brings all segments to. To be read with the lock of the stripe to
    /// be swept: while that has not done its part the pass does not end.
    #[inline]
    pub fn pass(&self) -> Option<(u64, u64)> {
        // Both of one pass: a stripe may be done with its part, and the next pass begin, between the two.
        let pass = self.pass.load(Ordering::Acquire);
        let target = self.target.load(Ordering::Acquire);
        (target > 0 && self.pass.load(Ordering::Acquire) == pass).then_some((pass, target))
    }

    /// Notes that one more stripe was swept to `target`; the last one drops the records up to it, but for those later than
    /// the stamp of a load that was met. `oldest`: the oldest one of a load in that stripe. No stripe is locked.
    pub fn stripe_swept(&self, target: u64, oldest: Option<u64>, memory: &Memory) {
        if let Some(oldest) = oldest {
            self.floor.fetch_min(oldest, Ordering::AcqRel);
        }
        if self.stripes_left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut log = self.log.0.write();
        let until = target.min(self.floor.load(Ordering::Acquire));
        let dropped: Vec<Dropped> = log.tables.values_mut().map(|records| records.drop_until(until)).collect();
        log.tables.retain(|_, records| records.len() > 0);
        let left = log.tables.values().map(Records::bytes).sum();
        memory.charge_outside(left as i64 - log.bytes as i64);
        log.bytes = left;
        self.seen.0.records.store(log.tables.values().map(Records::len).sum(), Ordering::Release);
        self.swept.store(target, Ordering::Release);
        self.target.store(0, Ordering::Release);
        // There may be a million of them.
        drop(log);
        drop(dropped);
    }
}

mod records;
mod soft;
#[cfg(test)]
mod tests;
mod widen;
