//! Which entry goes when memory is full: S3-FIFO over a small queue and a CLOCK over the rest.
//!
//! New keys enter the *small queue*, an exact FIFO of 4-byte tags that takes a tenth of the table's bytes. Leaving it,
//! a key used meanwhile joins the *main* part, others are evicted and remembered as *ghosts*; a ghost that comes
//! back joins main at once. Main has no queue: a hand sweeps the segments in hash order, counting accesses down and
//! taking the first entry it finds at zero. After Yang et al., "FIFO queues are all you need for cache eviction" (SOSP
//! 2023).

use crate::hash::Place;
use crate::limits::{HAND_STEPS, SMALL_QUEUE_SHARE, SMALL_STEPS, SOONEST_SEGMENTS};
use crate::memory::vec_bytes;
use crate::record::Record;
use crate::segment::{NEVER, due_second};
use crate::table::{At, Env, Table};
use crate::time::{Cx, Millis, draw};
use std::collections::VecDeque;

/// Uses in the small queue that earn a place in main. The paper has 2; 1 is on average better on the simulator's traces.
const PROMOTE_AT: u8 = 1;
/// A new entry goes to the head of the small queue, as the next to leave unless it is used first, if it takes more than
/// one part in this many of the queue's share, and more than this many times the mean entry.
const LARGE: u64 = 4;
/// Heads of segments that a search for a random entry passes over at most: some 100 us, and millions of keys.
const SAMPLE_HEADS: usize = 16 * HAND_STEPS;
/// Heads found wrong in one search for the nearest deadline.
const SOONEST_TRIES: usize = 16;

/// What to do when `maxmemory` is reached: the eight names of `maxmemory-policy`.
///
/// `lru` and `lfu` select one engine, which beats both; `volatile` narrows the victims to keys with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Policy {
    NoEviction,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Policy {
    /// All policies with the names configuration uses.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("noeviction", Self::NoEviction),
        ("allkeys-lru", Self::AllKeysLru),
        ("allkeys-lfu", Self::AllKeysLfu),
        ("allkeys-random", Self::AllKeysRandom),
        ("volatile-lru", Self::VolatileLru),
        ("volatile-lfu", Self::VolatileLfu),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
    ];

    /// The policy of this configuration name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, policy)| *policy)
    }

    /// The configuration name of this policy.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    pub(crate) fn from_index(index: u8) -> Self {
        Self::NAMES[usize::from(index)].1
    }

    /// Whether only keys with a deadline may be victims.
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }

    /// Whether this policy orders victims by use, and so needs the queues.
    pub(crate) fn queues(self) -> bool {
        matches!(self, Self::AllKeysLru | Self::AllKeysLfu | Self::VolatileLru | Self::VolatileLfu)
    }
}

/// The queues of one table.
#[derive(Default)]
pub(crate) struct Queues {
    small: VecDeque<u32>,
    small_len: usize,
    small_bytes: u64,
    ghosts: Ghosts,
    /// The hand: a place in hash order and the next position in the segment there.
    hand: u64,
    hand_position: usize,
}

impl Queues {
    /// Bytes of the queues themselves.
    pub fn memory(&self) -> u64 {
        vec_bytes::<u32>(self.small.capacity()) + self.ghosts.memory()
    }

    /// Lets a new entry of `bytes` into a table of so many entries and bytes: into main if it is a ghost come back, else into the small
    /// queue. Says whether it is the latter.
    fn admit(&mut self, tag: u32, bytes: u64, entries: u64, table_bytes: u64) -> bool {
        if self.ghosts.take(tag) {
            return false;
        }
        self.small_len += 1;
        self.small_bytes += bytes;
        if bytes * SMALL_QUEUE_SHARE * LARGE > table_bytes && bytes * entries > LARGE * table_bytes {
            self.small.push_front(tag);
        } else {
            self.small.push_back(tag);
        }
        true
    }

    /// Whether most tags of the small queue stand for entries that left it otherwise: time for its owner to drop those.
    pub fn is_crowded(&self) -> bool {
        self.small.len() > 2 * self.small_len + 64
    }

    pub fn take_small(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.small).into()
    }

    pub fn put_small(&mut self, tags: Vec<u32>) {
        self.small = tags.into();
    }

    /// Lets the entry of `tag`, named as a victim but not removed, stand in line again.
    pub fn requeue(&mut self, tag: u32) {
        self.small.push_back(tag);
    }

    /// An entry of the small queue went from `old` to `new` bytes.
    pub fn resized(&mut self, old: u64, new: u64) {
        self.small_bytes = self.small_bytes.wrapping_sub(old).wrapping_add(new);
    }

    /// An entry of `bytes` is in the small queue no more; its tag is skipped when it comes up.
    pub fn left_small(&mut self, bytes: u64) {
        self.small_len -= 1;
        self.small_bytes -= bytes;
    }

    /// Entries and bytes now in the small queue.
    pub fn small_holds(&self) -> (usize, u64) {
        (self.small_len, self.small_bytes)
    }
}

/// Remembers recently evicted tags: 16-bit fingerprints in sets of 16, oldest out first.
#[derive(Default)]
struct Ghosts {
    /// A power of two of sets, or none.
    sets: Vec<[u16; 16]>,
}

impl Ghosts {
    fn memory(&self) -> u64 {
        vec_bytes::<[u16; 16]>(self.sets.capacity())
    }

    /// A fingerprint is never 0, which marks a free place. Set and fingerprint use different bits of the tag.
    fn locate(&self, tag: u32) -> (usize, u16) {
        let mixed = tag.wrapping_mul(0x9E37_79B1);
        ((mixed as usize) & (self.sets.len() - 1), (mixed >> 16) as u16 | 1)
    }

    /// Whether `tag` was remembered; forgets it.
    fn take(&mut self, tag: u32) -> bool {
        if self.sets.is_empty() {
            return false;
        }
        let (set, print) = self.locate(tag);
        match self.sets[set].iter().position(|p| *p == print) {
            Some(at) => {
                self.sets[set].copy_within(at + 1.., at);
                self.sets[set][15] = 0;
                true
            }
            None => false,
        }
    }

    /// Remembers `tag`, in a memory of about nine tenths of `entries`. Growing forgets: it is rare.
    fn remember(&mut self, tag: u32, entries: usize) {
        let wanted = (entries * 9 / 10).div_ceil(16).max(1).next_power_of_two();
        if self.sets.len() < wanted {
            self.sets = vec![[0; 16]; wanted];
        }
        let (set, print) = self.locate(tag);
        self.sets[set].copy_within(0..15, 1);
        self.sets[set][0] = print;
    }
}

/// A victim: where it lies and its place in hash order.
pub(crate) struct Victim {
    pub at: At,
    pub place: Place,
}

impl Table {
    /// The entry to give up next under `policy`, or `None` if a bounded search finds none.
    pub(crate) fn victim(&mut self, policy: Policy, cx: &Cx, nth: u64, env: Env<'_>) -> Option<Victim> {
        if self.len() == 0 || (policy.is_volatile() && self.expiring() == 0) {
            return None;
        }
        let volatile = policy.is_volatile();
        match policy {
            Policy::NoEviction => None,
            Policy::AllKeysRandom => self.sample(false, cx, nth, env),
            Policy::VolatileRandom => self.sample(true, cx, nth, env),
            Policy::VolatileTtl => self.soonest(cx, nth, env).or_else(|| self.sample(true, cx, nth, env)),
            _ => self.with_queues(|table| {
                table
                    .small_victim(volatile, env)
                    .or_else(|| table.hand_victim(volatile, false, env))
                    .or_else(|| table.hand_victim(volatile, true, env))
                    .or_else(|| if volatile { table.sample(true, cx, nth, env) } else { None })
            }),
        }
    }

    fn may_go(record: Record<'_>, volatile: bool) -> bool {
        (!volatile || record.deadline().is_some()) && !record.is_no_evict()
    }

    /// Lets a new entry into the small queue, or into main if it is a ghost come back.
    pub(crate) fn enqueue(&mut self, at: At, place: Place, env: Env<'_>) {
        let (bytes, entries, table_bytes) = (self.entry_bytes(at), self.len() as u64, self.bytes());
        self.with_queues(|table| {
            if table.queues().is_crowded() {
                table.clean_small(env);
            }
            if table.queues().admit(place.tag(), bytes, entries, table_bytes) {
                table.word_mut(at).set_in_small(true);
            }
        });
    }

    /// Drops the tags of the small queue that stand for no entry any more. Of a tag's doubles the last one stands for
    /// the entry.
    fn clean_small(&mut self, env: Env<'_>) {
        let mut tags = self.queues().take_small();
        let mut seen = std::collections::HashSet::with_capacity(tags.len());
        tags.reverse();
        tags.retain(|tag| seen.insert(*tag) && self.find_tag(*tag, env).iter().any(|at| self.word(*at).in_small()));
        tags.reverse();
        self.queues().put_small(tags);
    }

    /// Pops the small queue while it holds more than its share.
    fn small_victim(&mut self, volatile: bool, env: Env<'_>) -> Option<Victim> {
        for _ in 0..SMALL_STEPS {
            let (bytes, len) = (self.bytes(), self.len());
            let queues = self.queues();
            if queues.small_bytes <= bytes / SMALL_QUEUE_SHARE && queues.small_len < len {
                return None;
            }
            let tag = queues.small.pop_front()?;
            let Some(at) = self.find_tag(tag, env).into_iter().find(|at| self.word(*at).in_small()) else {
                continue;
            };
            if self.word(at).freq() >= PROMOTE_AT || !Self::may_go(self.record(at), volatile) {
                let bytes = self.entry_bytes(at);
                let word = self.word_mut(at);
                word.set_in_small(false);
                word.set_freq(0);
                self.queues().left_small(bytes);
                continue;
            }
            self.queues().ghosts.remember(tag, len);
            return Some(self.victim_at(at, env));
        }
        None
    }

    /// Sweeps main (or, with `all`, every entry) in hash order for one at zero, counting the others down. Where a
    /// bounded sweep meets none at zero, the first one with the lowest count goes.
    fn hand_victim(&mut self, volatile: bool, all: bool, env: Env<'_>) -> Option<Victim> {
        let mut looked_at = 0;
        // Also bounds the sweep of a table whose segments are nearly empty.
        let mut turns = 0;
        let mut lowest: Option<(u8, At)> = None;
        while looked_at < HAND_STEPS && turns < HAND_STEPS {
            turns += 1;
            let hand = self.queues().hand;
            let (segment, next) = self.segment_from(hand)?;
            let mut position = self.queues().hand_position;
            while position < self.segment(segment).positions() {
                let at = At { segment, position };
                position += 1;
                let Some(word) = self.segment(segment).any_word(at.position) else {
                    continue;
                };
                looked_at += 1;
                let freq = word.freq();
                if word.in_small() && !all {
                    continue;
                }
                if lowest.is_none_or(|(least, _)| freq < least) && Self::may_go(self.record(at), volatile) {
                    lowest = Some((freq, at));
                    if freq == 0 {
                        self.queues().hand_position = position;
                        return Some(self.victim_at(at, env));
                    }
                }
                self.word_mut(at).set_freq(freq.saturating_sub(1));
            }
            let queues = self.queues();
            queues.hand = next.unwrap_or(0);
            queues.hand_position = 0;
        }
        lowest.map(|(_, at)| self.victim_at(at, env))
    }

    fn victim_at(&self, at: At, env: Env<'_>) -> Victim {
        Victim { at, place: env.placing.of(self.record(at).key()) }
    }

    /// Segments in hash order from a random place on, each once: index and first order bits looked for.
    fn segments_from_random(&self, seed: u64) -> impl Iterator<Item = u32> {
        let start = draw(seed, 0);
        let mut order = (self.len() > 0).then_some(start);
        let mut wrapped = false;
        core::iter::from_fn(move || {
            let (index, next) = self.segment_from(order?)?;
            order = match next {
                Some(next) if wrapped && next > start => None,
                None if wrapped => None,
                None => {
                    wrapped = true;
                    Some(0)
                }
                next => next,
            };
            Some(index)
        })
    }

    /// An entry that may go, from a random place on.
    fn sample(&self, volatile: bool, cx: &Cx, nth: u64, env: Env<'_>) -> Option<Victim> {
        let seed = draw(cx.seed, nth);
        let (mut looked_at, mut heads) = (0, 0);
        for index in self.segments_from_random(seed) {
            heads += 1;
            if looked_at >= HAND_STEPS || heads > SAMPLE_HEADS {
                return None;
            }
            let segment = self.segment(index);
            // The head tells where no entry has a deadline.
            if volatile && segment.due == NEVER {
                continue;
            }
            let positions = segment.positions();
            let start = draw(seed, u64::from(index) + 1) as usize % positions.max(1);
            looked_at += positions + 1;
            let found = (0..positions).map(|step| (start + step) % positions).find(|position| {
                segment.any_word(*position).is_some() && Self::may_go(segment.record(*position), volatile)
            });
            if let Some(position) = found {
                return Some(self.victim_at(At { segment: index, position }, env));
            }
        }
        None
    }

    /// The entry with the nearest deadline, among those of many segments.
    fn soonest(&mut self, cx: &Cx, nth: u64, env: Env<'_>) -> Option<Victim> {
        let seed = draw(cx.seed, nth);
        // A head may promise a deadline that is there no more; it is then corrected, and the search made again.
        for _ in 0..SOONEST_TRIES {
            let heads = self.segments_from_random(seed).take(SOONEST_SEGMENTS);
            let index = heads.min_by_key(|index| self.segment(*index).due)?;
            let segment = self.segment(index);
            let promised = segment.due;
            let mut first: Option<(Millis, usize)> = None;
            let mut due = NEVER;
            for (position, record) in segment.iter() {
                let Some(deadline) = record.deadline() else { continue };
                due = due.min(due_second(deadline));
                if !record.is_no_evict() && first.is_none_or(|(soonest, _)| deadline < soonest) {
                    first = Some((deadline, position));
                }
            }
            if due > promised {
                self.with_segment(index, |segment| segment.due = due);
            } else if let Some((_, position)) = first {
                return Some(self.victim_at(At { segment: index, position }, env));
            } else {
                return None;
            }
        }
        None
    }

    /// A random entry for which `fits` holds, or `None` after a bounded search.
    pub(crate) fn random(&self, cx: &Cx, nth: u64, fits: impl Fn(Record<'_>) -> bool) -> Option<Record<'_>> {
        for attempt in 0..64 {
            let order = draw(cx.seed ^ nth, 2 * attempt);
            let (segment, _) = self.segment_from(order)?;
            let segment = self.segment(segment);
            let position = draw(cx.seed ^ nth, 2 * attempt + 1).checked_rem(segment.positions() as u64);
            let Some(position) = position.map(|position| position as usize) else { continue };
            if segment.any_word(position).is_some() && fits(segment.record(position)) {
                return Some(segment.record(position));
            }
        }
        None
    }
}
