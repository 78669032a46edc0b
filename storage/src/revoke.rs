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
//! Who begins after a revoke has returned sees it: the record is there before the epochs that readers look at first.
//! Commands on several keys hold the log for reading meanwhile, so that all their keys are judged by one state of it.
//!
//! Locks are taken in this order: stripes, then the log for reading. The log is locked for writing without any stripe.

use crate::glob;
use crate::limits::{
    DATABASES, MAX_GLOB_BYTES, MAX_GLOB_STARS, MAX_MATCHED_KEY_BYTES, MAX_REVOKED_BYTES, MAX_REVOKED_GLOB_BYTES,
    MAX_REVOKED_GLOBS, MAX_REVOKED_LENGTHS, MAX_REVOKED_PREFIXES, MAX_REVOKED_SETS, MAX_REVOKED_TAGS,
};
use crate::record::Record;
use crate::store::{Memory, Padded};
use crate::stripe::Physical;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, RwLock, RwLockReadGuard};
use smallvec::SmallVec;
use std::collections::HashMap;

/// What a group revoke names.
#[derive(Clone, Copy, Debug)]
pub enum Selector<'a> {
    /// Keys that begin with these bytes, which are not none.
    Prefix(&'a [u8]),
    /// Keys that this glob pattern matches as a whole.
    Match(&'a [u8]),
    /// Entries with this tag, by [`Store::tag`](crate::Store::tag).
    Tag(u64),
    /// Entries with all of these tags, one at least.
    Tags(&'a [u64]),
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub is_dead: bool,
    /// The epoch as far as it was judged.
    pub epoch: u64,
    /// A live entry with a stamp should get one of that epoch: the same records are not searched again for it then.
    pub restamp: bool,
}

/// A search for the latest matching record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// The epochs looked at first show that there is none.
    Needless,
    Done(Option<u64>),
}

/// Records of one database.
#[derive(Default)]
struct Records {
    /// By length, shortest first.
    prefixes: Vec<Prefixes>,
    globs: Vec<(Glob, u64)>,
    tags: HashMap<u64, u64>,
    sets: Vec<(SmallVec<[u64; 4]>, u64)>,
}

/// Prefixes of one length.
struct Prefixes {
    length: usize,
    /// The latest epoch among them.
    latest: u64,
    epochs: HashMap<Box<[u8]>, u64>,
}

struct Glob {
    pattern: Box<[u8]>,
    /// Every match begins with these bytes,
    first: Box<[u8]>,
    /// and ends with these: most keys are told apart without the matcher.
    last: Box<[u8]>,
    has_star: bool,
}

impl Glob {
    fn new(pattern: &[u8]) -> Self {
        let is_plain = !pattern.iter().any(|byte| matches!(byte, b'[' | b'\\'));
        let star = pattern.iter().rposition(|byte| *byte == b'*');
        // What follows the last star, where nothing is a class or escaped.
        let tail = star.filter(|_| is_plain).map_or(&[][..], |star| &pattern[star + 1..]);
        let last = if tail.contains(&b'?') { &[] } else { tail };
        let first = glob::prefix(pattern).bytes.into();
        Self { pattern: pattern.into(), first, last: last.into(), has_star: star.is_some() }
    }

    /// A key so long that the product of both lengths is much is taken to match if both its ends do: it may be revoked
    /// without need, and never kept.
    fn matches(&self, key: &[u8]) -> bool {
        let is_long = self.has_star && key.len() > MAX_MATCHED_KEY_BYTES;
        key.starts_with(&self.first)
            && key.ends_with(&self.last)
            && (is_long || glob::matches(&self.pattern, key, false))
    }
}

/// What every access looks at first.
#[derive(Default)]
struct Seen {
    /// Records in the log.
    records: AtomicUsize,
    /// Epoch of the latest record that names no tag, by table.
    last_by_key: [AtomicU64; DATABASES],
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

impl RevokeLog {
    pub fn new() -> Self {
        Self {
            seen: Padded(Seen::default()),
            recent: (0..RECENT).map(|_| AtomicU64::new(0)).collect(),
            log: Padded(RwLock::default()),
            target: AtomicU64::new(0),
            stripes_left: AtomicUsize::new(0),
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
    pub fn revoke(&self, table: Physical, selectors: &[Selector<'_>], memory: &Memory) -> Result<u64, Refused> {
        if selectors.is_empty() {
            return Ok(self.epoch());
        }
        selectors.iter().try_for_each(Selector::check)?;
        let mut log = self.log.0.write();
        let log = &mut *log;
        if log.bytes + selectors.iter().map(Selector::bytes).sum::<usize>() > MAX_REVOKED_BYTES {
            return Err(Refused::Busy);
        }
        let records = log.tables.entry(table.0).or_default();
        records.has_room(selectors)?;
        let (mut epoch, before) = (self.seen.0.epoch.load(Ordering::Relaxed), log.bytes);
        for selector in selectors {
            epoch += 1;
            if records.add(*selector, epoch) {
                log.bytes += selector.bytes();
                self.seen.0.records.fetch_add(1, Ordering::Release);
            }
            let first_look = match selector {
                Selector::Prefix(_) | Selector::Match(_) => &self.seen.0.last_by_key[usize::from(table.0)],
                Selector::Tag(tag) => &self.recent[slot(*tag)],
                Selector::Tags(tags) => &self.recent[slot(tags[0])],
            };
            first_look.store(epoch, Ordering::Release);
        }
        memory.charge_outside((log.bytes - before) as i64);
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
        let since = ext.stamp().map_or(base, |stamp| self.widened(stamp));
        match self.newest_match(table, record.key(), ext.tags(), since, held) {
            Search::Needless => Verdict { is_dead: false, epoch, restamp: false },
            Search::Done(None) => Verdict { is_dead: false, epoch, restamp: ext.stamp().is_some() },
            Search::Done(Some(_)) => Verdict { is_dead: true, epoch, restamp: false },
        }
    }

    /// The stamp that a new entry without tags needs in a segment with this base.
    pub fn stamp_for(&self, table: Physical, key: &[u8], base: u64, held: bool) -> Option<u32> {
        match self.newest_match(table, key, core::iter::empty(), base, held) {
            Search::Done(newest) => newest.map(|epoch| epoch as u32),
            Search::Needless => None,
        }
    }

    /// The latest record after `since` that matches.
    fn newest_match(
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
        let Some(records) = log.tables.get(&table.0) else { return Search::Done(None) };
        let by_key = if by_key { records.newest_by_key(key, since) } else { None };
        let by_tag = if by_tag { records.newest_by_tag(tags, since) } else { None };
        Search::Done(by_key.max(by_tag))
    }

    /// Begins a pass of the sweeper over `stripes` stripes, if there is something to sweep and none is under way.
    pub fn begin_sweep(&self, stripes: usize) {
        let is_due = || !self.is_quiet() && self.sweep_target() == 0;
        if !is_due() {
            return;
        }
        let _log = self.log.0.write();
        // Another pass may have come and gone meanwhile.
        if is_due() {
            self.stripes_left.store(stripes, Ordering::Relaxed);
            self.target.store(self.epoch(), Ordering::Release);
        }
    }

    /// The epoch of the pass under way; 0 for none. To be read with the lock of the stripe to be swept, whose part keeps
    /// the pass from ending.
    #[inline]
    pub fn sweep_target(&self) -> u64 {
        self.target.load(Ordering::Acquire)
    }

    /// Notes that one more stripe was swept to `target`; the last one drops the records up to it. No stripe is locked.
    pub fn stripe_swept(&self, target: u64, memory: &Memory) {
        if self.stripes_left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut log = self.log.0.write();
        let dropped: Vec<Dropped> = log.tables.values_mut().map(|records| records.drop_until(target)).collect();
        log.tables.retain(|_, records| records.len() > 0);
        let left = log.tables.values().map(Records::bytes).sum();
        memory.charge_outside(left as i64 - log.bytes as i64);
        log.bytes = left;
        self.seen.0.records.store(log.tables.values().map(Records::len).sum(), Ordering::Release);
        self.target.store(0, Ordering::Release);
        // There may be a million of them.
        drop(log);
        drop(dropped);
    }
}

/// Records taken out of the log, to be freed with nothing locked.
type Dropped = (Vec<HashMap<Box<[u8]>, u64>>, Vec<(Glob, u64)>, HashMap<u64, u64>);

impl Records {
    fn len(&self) -> usize {
        self.prefix_count() + self.globs.len() + self.tags.len() + self.sets.len()
    }

    fn prefix_count(&self) -> usize {
        self.prefixes.iter().map(|prefixes| prefixes.epochs.len()).sum()
    }

    /// Bytes of all of them, as [`Selector::bytes`] counts them.
    fn bytes(&self) -> usize {
        let prefixes = self.prefixes.iter().map(|prefixes| prefixes.epochs.len() * prefixes.length);
        let globs = self.globs.iter().map(|(glob, _)| 2 * glob.pattern.len());
        let sets = self.sets.iter().map(|(set, _)| size_of_val(&set[..]));
        self.len() * RECORD_BYTES + prefixes.chain(globs).chain(sets).sum::<usize>()
    }

    /// Whether all these may be added; each that is not known counts as one more.
    fn has_room(&self, selectors: &[Selector<'_>]) -> Result<(), Refused> {
        let (mut prefixes, mut lengths) = (self.prefix_count(), self.prefixes.len());
        let (mut globs, mut tags, mut sets) = (self.globs.len(), self.tags.len(), self.sets.len());
        let mut glob_bytes: usize = self.globs.iter().map(|(glob, _)| glob.pattern.len()).sum();
        for selector in selectors {
            match selector {
                Selector::Prefix(prefix) => {
                    let same = self.of_length(prefix.len());
                    lengths += usize::from(same.is_none());
                    prefixes += usize::from(same.is_none_or(|same| !same.epochs.contains_key(*prefix)));
                }
                Selector::Match(pattern) if self.glob(pattern).is_some() => {}
                Selector::Match(pattern) => (globs, glob_bytes) = (globs + 1, glob_bytes + pattern.len()),
                Selector::Tag(tag) => tags += usize::from(!self.tags.contains_key(tag)),
                Selector::Tags(set) => sets += usize::from(self.set(set).is_none()),
            }
        }
        let fits = prefixes <= MAX_REVOKED_PREFIXES
            && lengths <= MAX_REVOKED_LENGTHS
            && globs <= MAX_REVOKED_GLOBS
            && glob_bytes <= MAX_REVOKED_GLOB_BYTES
            && tags <= MAX_REVOKED_TAGS
            && sets <= MAX_REVOKED_SETS;
        if fits { Ok(()) } else { Err(Refused::Busy) }
    }

    fn of_length(&self, length: usize) -> Option<&Prefixes> {
        self.prefixes.iter().find(|prefixes| prefixes.length == length)
    }

    fn glob(&self, pattern: &[u8]) -> Option<usize> {
        self.globs.iter().position(|(glob, _)| *glob.pattern == *pattern)
    }

    fn set(&self, tags: &[u64]) -> Option<usize> {
        self.sets.iter().position(|(known, _)| **known == *tags)
    }

    /// Adds a record or renews one; whether there is one more now.
    fn add(&mut self, selector: Selector<'_>, epoch: u64) -> bool {
        match selector {
            Selector::Prefix(prefix) => {
                let at = self.prefixes.binary_search_by_key(&prefix.len(), |prefixes| prefixes.length);
                let at = at.unwrap_or_else(|at| {
                    self.prefixes.insert(at, Prefixes { length: prefix.len(), latest: 0, epochs: HashMap::new() });
                    at
                });
                self.prefixes[at].latest = epoch;
                self.prefixes[at].epochs.insert(prefix.into(), epoch).is_none()
            }
            Selector::Match(pattern) => match self.glob(pattern) {
                Some(at) => {
                    self.globs[at].1 = epoch;
                    false
                }
                None => {
                    self.globs.push((Glob::new(pattern), epoch));
                    true
                }
            },
            Selector::Tag(tag) => self.tags.insert(tag, epoch).is_none(),
            Selector::Tags(tags) => match self.set(tags) {
                Some(at) => {
                    self.sets[at].1 = epoch;
                    false
                }
                None => {
                    self.sets.push((tags.into(), epoch));
                    true
                }
            },
        }
    }

    fn newest_by_key(&self, key: &[u8], since: u64) -> Option<u64> {
        let fitting = self.prefixes.iter().take_while(|prefixes| prefixes.length <= key.len());
        let by_prefix = fitting
            .filter(|prefixes| prefixes.latest > since)
            .filter_map(|prefixes| prefixes.epochs.get(&key[..prefixes.length]).copied())
            .max();
        let later = self.globs.iter().filter(|(_, epoch)| *epoch > since);
        let matching = later.filter(|(glob, _)| glob.matches(key));
        by_prefix.max(matching.map(|(_, epoch)| *epoch).max()).filter(|epoch| *epoch > since)
    }

    fn newest_by_tag(&self, tags: impl Iterator<Item = u64> + Clone, since: u64) -> Option<u64> {
        let by_tag = tags.clone().filter_map(|tag| self.tags.get(&tag).copied()).max();
        let later = self.sets.iter().filter(|(_, epoch)| *epoch > since);
        let matching = later.filter(|(set, _)| set.iter().all(|wanted| tags.clone().any(|tag| tag == *wanted)));
        by_tag.max(matching.map(|(_, epoch)| *epoch).max()).filter(|epoch| *epoch > since)
    }

    /// Takes out the records up to an epoch.
    fn drop_until(&mut self, epoch: u64) -> Dropped {
        let mut prefixes = Vec::new();
        for of_length in &mut self.prefixes {
            prefixes.push(of_length.epochs.extract_if(|_, its| *its <= epoch).collect());
            of_length.epochs.shrink_to_fit();
        }
        self.prefixes.retain(|of_length| !of_length.epochs.is_empty());
        self.sets.retain(|(_, its)| *its > epoch);
        let globs = self.globs.extract_if(.., |(_, its)| *its <= epoch).collect();
        let tags = self.tags.extract_if(|_, its| *its <= epoch).collect();
        self.tags.shrink_to_fit();
        (prefixes, globs, tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: Physical = Physical(0);

    fn revoke(log: &RevokeLog, selector: Selector<'_>) -> Result<u64, Refused> {
        log.revoke(DB, &[selector], &Memory::new(1))
    }

    fn newest(log: &RevokeLog, key: &str, tags: &[u64], since: u64) -> Option<u64> {
        match log.newest_match(DB, key.as_bytes(), tags.iter().copied(), since, false) {
            Search::Done(newest) => newest,
            Search::Needless => None,
        }
    }

    #[test]
    fn the_latest_match_counts() {
        let log = RevokeLog::new();
        let revoke = |selector| revoke(&log, selector).unwrap();
        assert_eq!(revoke(Selector::Prefix(b"user:")), 1);
        assert_eq!(revoke(Selector::Match(b"user:*:name")), 2);
        assert_eq!(revoke(Selector::Tag(7)), 3);
        assert_eq!(revoke(Selector::Tags(&[8, 9])), 4);
        assert_eq!(newest(&log, "user:1", &[], 0), Some(1));
        assert_eq!(newest(&log, "user:1", &[], 1), None);
        assert_eq!(newest(&log, "user:1:name", &[], 1), Some(2));
        assert_eq!(newest(&log, "use", &[7], 0), Some(3));
        assert_eq!(newest(&log, "user:1", &[8], 0), Some(1));
        assert_eq!(newest(&log, "user:1", &[1, 9, 8], 0), Some(4));
        assert_eq!(log.newest_match(Physical(1), b"user:1", [7].into_iter(), 0, false), Search::Done(None));
        assert_eq!(revoke(Selector::Prefix(b"user:")), 5);
        assert_eq!((newest(&log, "user:1", &[], 4), log.records()), (Some(5), 4));
    }

    #[test]
    fn records_are_dropped_once_all_stripes_were_swept() {
        let log = RevokeLog::new();
        revoke(&log, Selector::Tag(1)).unwrap();
        revoke(&log, Selector::Prefix(b"a")).unwrap();
        log.begin_sweep(2);
        assert_eq!(log.sweep_target(), 2);
        revoke(&log, Selector::Prefix(b"b")).unwrap();
        log.stripe_swept(2, &Memory::new(1));
        assert_eq!((log.records(), log.sweep_target()), (3, 2));
        log.stripe_swept(2, &Memory::new(1));
        assert_eq!((log.records(), log.sweep_target()), (1, 0));
        assert_eq!((newest(&log, "a", &[1], 0), newest(&log, "b", &[], 2)), (None, Some(3)));
    }

    #[test]
    fn records_are_used_memory_until_they_are_dropped() {
        let (log, memory) = (RevokeLog::new(), Memory::new(1));
        let selectors =
            [Selector::Prefix(&[b'p'; 500]), Selector::Match(b"a*b"), Selector::Tag(1), Selector::Tags(&[1, 2])];
        log.revoke(DB, &selectors, &memory).unwrap();
        let used = memory.used();
        assert!(used > 500 + 4 * RECORD_BYTES as u64, "{used}");
        // Renewed, they take no more.
        assert_eq!(log.revoke(DB, &selectors, &memory), Ok(8));
        assert_eq!(memory.used(), used);
        log.begin_sweep(1);
        log.stripe_swept(8, &memory);
        assert_eq!((memory.used(), log.records()), (0, 0));
    }

    /// All or nothing, by number and by bytes; long keys are judged by their ends.
    #[test]
    fn costs_are_bounded_together() {
        let (log, memory) = (RevokeLog::new(), Memory::new(1));
        let long = |n: usize| format!("{n:04}*{}", "x".repeat(MAX_GLOB_BYTES - 5));
        let fitting = MAX_REVOKED_GLOB_BYTES / MAX_GLOB_BYTES;
        for n in 0..fitting {
            log.revoke(DB, &[Selector::Match(long(n).as_bytes())], &memory).unwrap();
        }
        let both = [Selector::Prefix(b"p"), Selector::Match(b"one*more")];
        assert_eq!(log.revoke(DB, &both, &memory), Err(Refused::Busy));
        assert_eq!((newest(&log, "p", &[], 0), log.records()), (None, fitting));
        assert_eq!(log.revoke(DB, &[], &memory), Ok(fitting as u64), "nothing to do is no revoke");
        let (key, glob) = (vec![b'a'; MAX_MATCHED_KEY_BYTES + 1], Glob::new(b"a*b*a"));
        assert!(glob.matches(&key) && !glob.matches(&key[1..]));
        assert!(!Glob::new(b"a*b").matches(&key) && !Glob::new(b"a?").matches(&key));
    }

    #[test]
    fn what_would_cost_too_much_is_refused() {
        let log = RevokeLog::new();
        let stars = [b'*'; MAX_GLOB_STARS + 1];
        assert_eq!(revoke(&log, Selector::Match(&stars)), Err(Refused::TooComplex));
        assert_eq!(revoke(&log, Selector::Match(&[b'x'; MAX_GLOB_BYTES + 1])), Err(Refused::TooComplex));
        for n in 0..MAX_REVOKED_GLOBS {
            revoke(&log, Selector::Match(format!("{n}*").as_bytes())).unwrap();
        }
        assert_eq!(revoke(&log, Selector::Match(b"more*")), Err(Refused::Busy));
        // Known ones are renewed; others have room of their own.
        assert!(revoke(&log, Selector::Match(b"7*")).is_ok() && revoke(&log, Selector::Prefix(b"more")).is_ok());
        for length in 2..2 * MAX_REVOKED_LENGTHS {
            let outcome = revoke(&log, Selector::Prefix(&vec![b'p'; length]));
            assert_eq!(outcome.is_err(), length > MAX_REVOKED_LENGTHS + 1, "{length}");
        }
    }

    #[test]
    fn ends_of_patterns_are_told_apart_rightly() {
        let keys: [&[u8]; 8] = [b"", b"a", b"ab", b"abc", b"xbc", b"a*c", b"a]c", b"c"];
        for pattern in
            ["*", "a*", "*c", "a*c", "*b*", "a[*]c", "a[b]*", r"a\*c", "a?c", "*?", "[*", "abc", "**c", "*a*bc"]
        {
            let glob = Glob::new(pattern.as_bytes());
            for key in keys {
                assert_eq!(glob.matches(key), glob::matches(pattern.as_bytes(), key, false), "{pattern} {key:?}");
            }
        }
        assert_eq!((&*Glob::new(b"a*c").first, &*Glob::new(b"a*c").last), (&b"a"[..], &b"c"[..]));
    }

    #[test]
    fn stamps_are_of_the_last_epochs() {
        let log = RevokeLog::new();
        log.seen.0.epoch.store((1 << 32) + 5, Ordering::Relaxed);
        assert_eq!(log.widened(5), (1 << 32) + 5);
        assert_eq!(log.widened(3), (1 << 32) + 3);
        assert_eq!(log.widened(u32::MAX), (1 << 32) - 1);
        log.seen.0.epoch.store(2, Ordering::Relaxed);
        assert_eq!((log.widened(2), log.widened(0)), (2, 0));
    }
}
