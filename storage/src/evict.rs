//! Which entry goes when memory is full: S3-FIFO over a small queue and a CLOCK over the rest.
//!
//! New keys enter the *small queue*, an exact FIFO of 4-byte tags that takes a tenth of the table's bytes. Leaving it,
//! a key used meanwhile joins the *main* part, others are evicted and remembered as *ghosts*; a ghost that comes
//! back joins main at once. Main has no queue: a hand sweeps the segments in hash order, counting accesses down and
//! taking the first entry it finds at zero. After Yang et al., "FIFO queues are all you need for cache eviction" (SOSP
//! 2023).

use crate::hash::Place;
use crate::limits::{HAND_STEPS, SMALL_QUEUE_SHARE, SMALL_STEPS, SOONEST_SEGMENTS, SWEEP_STEPS};
use crate::policy::Policy;
use crate::record::Record;
use crate::segment::{NEVER, due_second};
use crate::table::{At, Env, Table};
use crate::time::{Cx, Millis, draw};

/// Uses in the small queue that earn a place in main. The paper has 2; 1 is on average better on the simulator's traces.
const PROMOTE_AT: u8 = 1;
/// Heads of segments that a search for a random entry passes over at most: some 100 us, and millions of keys.
const SAMPLE_HEADS: usize = 16 * HAND_STEPS;
/// Segments searched whole for a random entry after drawing places has failed.
const RANDOM_SEGMENTS: usize = 16;
/// Heads found wrong in one search for the nearest deadline.
const SOONEST_TRIES: usize = 64;

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
            table.sweep_small(env);
            if table.queues().admit(place.tag(), bytes, entries, table_bytes) {
                table.word_mut(at).set_in_small(true);
            }
        });
    }

    /// A step of dropping the tags of the small queue that stand for no entry any more.
    fn sweep_small(&mut self, env: Env<'_>) {
        if self.queues().wants_sweep() {
            let mut small = core::mem::take(&mut self.queues().small);
            small.sweep(SWEEP_STEPS, |tag| self.find_tag(tag, env).iter().any(|at| self.word(*at).in_small()));
            self.queues().small = small;
        }
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
                let Some(end) = record.end() else { continue };
                due = due.min(due_second(end));
                if !record.is_no_evict() && first.is_none_or(|(soonest, _)| end < soonest) {
                    first = Some((end, position));
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

    /// A random live entry, or `None` after a bounded search.
    pub(crate) fn random(&self, cx: &Cx, nth: u64, env: Env<'_>) -> Option<Record<'_>> {
        for attempt in 0..64 {
            let order = draw(cx.seed ^ nth, 2 * attempt);
            let (index, _) = self.segment_from(order)?;
            let segment = self.segment(index);
            let position = draw(cx.seed ^ nth, 2 * attempt + 1).checked_rem(segment.positions() as u64);
            let Some(position) = position.map(|position| position as usize) else { continue };
            if segment.any_word(position).is_some() && self.is_live(index, segment.record(position), cx, env) {
                return Some(segment.record(position));
            }
        }
        // Few entries in much room, or few that live: the next one from a random place on, less evenly spread.
        let seed = draw(cx.seed, nth);
        self.segments_from_random(seed).take(RANDOM_SEGMENTS).find_map(|index| {
            let segment = self.segment(index);
            let positions = segment.positions();
            let start = draw(seed, u64::from(index) + 1) as usize % positions.max(1);
            (0..positions)
                .map(|step| (start + step) % positions)
                .filter(|position| segment.any_word(*position).is_some())
                .map(|position| segment.record(position))
                .find(|record| self.is_live(index, *record, cx, env))
        })
    }
}
