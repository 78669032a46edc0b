//! One segment: the entries whose order bits share a prefix, in 64-byte buckets of seven slots.
//!
//! An entry lies in one of two buckets that its tag names: the first if it had room, else the second (the first then
//! carries the *overflow* mark, so that a look-up knows to go on), else a resident of either is moved to its own other
//! bucket. Buckets fill to about 88 % on the mean; a full segment is rebuilt one size larger. Entries that fit nowhere
//! although the segment is far from full (keys of equal hashes) go to a stash that is searched linearly.

use crate::entry::Slot;
use crate::hash::{Hasher, Place};
use crate::memory::{good_size, vec_bytes};
use smallvec::SmallVec;

/// Slots of a bucket: with their seven check bytes and the mark they fill one cache line.
const SLOTS: usize = 7;
/// Fill at which a segment grows even if there still were room, in percent.
const FULL_PERCENT: usize = 94;
/// Below this fill a segment does not grow for an entry that fits nowhere: it is stashed.
const STASH_PERCENT: usize = 50;

/// A cache line of seven slots.
#[repr(C, align(64))]
#[derive(Default)]
struct Bucket {
    /// Byte `i` checks slot `i` (any value while the slot is empty); the top byte is the overflow mark.
    word: u64,
    slots: [Option<Slot>; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const OVERFLOW: u64 = 1 << 56;

impl Bucket {
    /// Slots whose check byte may equal `check`, lowest first: all that do, and rarely one that does not.
    #[inline]
    fn candidates(&self, check: u8) -> impl Iterator<Item = usize> + use<> {
        let unequal = self.word ^ (LOW_BITS * u64::from(check));
        let mut hits = unequal.wrapping_sub(LOW_BITS) & !unequal & (HIGH_BITS >> 8);
        core::iter::from_fn(move || {
            let slot = hits.trailing_zeros() as usize / 8;
            hits &= hits.wrapping_sub(1);
            (slot < SLOTS).then_some(slot)
        })
    }

    fn has_overflow(&self) -> bool {
        self.word & OVERFLOW != 0
    }

    fn vacancy(&self) -> Option<usize> {
        self.slots.iter().position(Option::is_none)
    }

    fn put(&mut self, at: usize, check: u8, slot: Slot) {
        self.word = (self.word & !(0xFF << (8 * at))) | u64::from(check) << (8 * at);
        self.slots[at] = Some(slot);
    }
}

/// Where an entry may lie in a segment of a certain size.
#[derive(Clone, Copy)]
struct Choice {
    first: usize,
    second: usize,
    check: u8,
}

impl Choice {
    #[inline]
    fn of(tag: u32, buckets: usize) -> Self {
        let mixed = crate::hash::bucket_hash(tag);
        let scaled = |bits: u64| ((bits & 0xFFFF) as usize * buckets) >> 16;
        let first = scaled(mixed >> 16);
        let second = scaled(mixed >> 36);
        // The two differ wherever there are two.
        let second = if second != first {
            second
        } else if first + 1 < buckets {
            first + 1
        } else {
            0
        };
        Self { first, second, check: (mixed >> 56) as u8 }
    }

    fn other(self, bucket: usize) -> usize {
        if bucket == self.first { self.second } else { self.first }
    }
}

/// A segment of a directory. `depth` order bits are common to all its entries.
///
/// Positions are `bucket * 7 + slot`, and past the last bucket the index in the stash.
pub(crate) struct Segment {
    buckets: Box<[Bucket]>,
    stash: Vec<Slot>,
    len: usize,
    pub depth: u32,
}

/// How a segment finds the place of an entry it holds: from the key.
#[derive(Clone, Copy)]
pub(crate) struct Placing<'h> {
    pub hasher: &'h Hasher,
    pub stripe_bits: u32,
}

impl Placing<'_> {
    #[inline]
    pub fn of(self, slot: &Slot) -> Place {
        self.hasher.hash(slot.key()).place(self.stripe_bits)
    }
}

/// Sizes in buckets: steps of an eighth to a quarter, each of them a size class of the allocator.
fn size_for(buckets: usize) -> usize {
    match buckets {
        0 => 0,
        1..=4 => buckets.next_power_of_two(),
        5..=8 => 8,
        _ => {
            let step = buckets.next_power_of_two() / 8;
            buckets.div_ceil(step) * step
        }
    }
}

impl Segment {
    pub fn new(depth: u32, capacity: usize) -> Self {
        let mut segment = Self { buckets: Box::default(), stash: Vec::new(), len: 0, depth };
        segment.buckets = Self::empty_buckets(Self::buckets_for(capacity));
        segment
    }

    fn empty_buckets(count: usize) -> Box<[Bucket]> {
        (0..count).map(|_| Bucket::default()).collect()
    }

    /// Buckets in which `entries` find room.
    fn buckets_for(entries: usize) -> usize {
        size_for((entries * 100).div_ceil(SLOTS * FULL_PERCENT))
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the buckets and the stash.
    pub fn memory(&self) -> u64 {
        let buckets = self.buckets.len() * size_of::<Bucket>();
        let buckets = if buckets == 0 { 0 } else { good_size(buckets) as u64 };
        buckets + vec_bytes::<Slot>(self.stash.capacity())
    }

    /// Position of `key`.
    #[inline]
    pub fn find(&self, place: Place, key: &[u8]) -> Option<usize> {
        self.search(place.tag(), |slot| slot.key() == key)
    }

    #[inline]
    fn search(&self, tag: u32, is_it: impl Fn(&Slot) -> bool) -> Option<usize> {
        if self.buckets.is_empty() {
            return None;
        }
        let choice = Choice::of(tag, self.buckets.len());
        let within = |bucket: usize| {
            let lines = &self.buckets[bucket];
            lines
                .candidates(choice.check)
                .find(|at| lines.slots[*at].as_ref().is_some_and(&is_it))
                .map(|at| bucket * SLOTS + at)
        };
        if let Some(position) = within(choice.first) {
            return Some(position);
        }
        if !self.buckets[choice.first].has_overflow() {
            return None;
        }
        within(choice.second).or_else(|| {
            let at = self.stash.iter().position(&is_it)?;
            Some(self.buckets.len() * SLOTS + at)
        })
    }

    /// Positions of all entries with this tag (two keys may share one).
    pub fn find_tag(&self, tag: u32, placing: Placing<'_>) -> SmallVec<[usize; 2]> {
        let mut found = SmallVec::new();
        if self.buckets.is_empty() {
            return found;
        }
        let choice = Choice::of(tag, self.buckets.len());
        let is_it = |slot: &Slot| placing.of(slot).tag() == tag;
        let both = [choice.first, choice.second];
        for bucket in &both[..if choice.first == choice.second { 1 } else { 2 }] {
            let lines = &self.buckets[*bucket];
            let hits = lines.candidates(choice.check).filter(|at| lines.slots[*at].as_ref().is_some_and(is_it));
            found.extend(hits.map(|at| bucket * SLOTS + at));
        }
        let stashed = self.stash.iter().enumerate().filter(|(_, slot)| is_it(slot));
        found.extend(stashed.map(|(at, _)| self.buckets.len() * SLOTS + at));
        found
    }

    /// The slot at a position that [`find`](Self::find) or an iteration gave.
    #[inline]
    pub fn slot(&self, position: usize) -> &Slot {
        self.any_slot(position).expect("the position is occupied: nothing was removed since it was found")
    }

    #[inline]
    pub fn slot_mut(&mut self, position: usize) -> &mut Slot {
        let in_buckets = self.buckets.len() * SLOTS;
        let slot = match position.checked_sub(in_buckets) {
            None => self.buckets[position / SLOTS].slots[position % SLOTS].as_mut(),
            Some(stashed) => self.stash.get_mut(stashed),
        };
        slot.expect("the position is occupied: nothing was removed since it was found")
    }

    /// Like [`slot`](Self::slot) for any position.
    #[inline]
    pub fn any_slot(&self, position: usize) -> Option<&Slot> {
        match self.buckets.get(position / SLOTS) {
            Some(bucket) => bucket.slots[position % SLOTS].as_ref(),
            None => self.stash.get(position - self.buckets.len() * SLOTS),
        }
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.buckets.len() * SLOTS + self.stash.len()
    }

    /// Adds a slot whose key is not in the segment; gives its position.
    pub fn insert(&mut self, place: Place, slot: Slot, placing: Placing<'_>) -> usize {
        if (self.len + 1) * 100 > self.buckets.len() * SLOTS * FULL_PERCENT {
            self.rebuild(Self::buckets_for(self.len + 1).max(size_for(self.buckets.len() + 1)), placing);
        }
        let tag = place.tag();
        let mut slot = slot;
        loop {
            slot = match self.place(tag, slot, placing) {
                Ok(position) => break self.counted(position),
                Err(slot) => slot,
            };
            if (self.len + 1) * 100 < self.buckets.len() * SLOTS * STASH_PERCENT {
                break self.stash(tag, slot);
            }
            self.rebuild(size_for(self.buckets.len() + 1), placing);
        }
    }

    fn counted(&mut self, position: usize) -> usize {
        self.len += 1;
        position
    }

    fn stash(&mut self, tag: u32, slot: Slot) -> usize {
        let choice = Choice::of(tag, self.buckets.len());
        self.buckets[choice.first].word |= OVERFLOW;
        self.stash.push(slot);
        self.counted(self.positions() - 1)
    }

    /// Puts a slot into one of its two buckets, moving one resident if need be; the slot back if there is no room.
    fn place(&mut self, tag: u32, slot: Slot, placing: Placing<'_>) -> Result<usize, Slot> {
        let choice = Choice::of(tag, self.buckets.len());
        for bucket in [choice.first, choice.second] {
            if let Some(at) = self.buckets[bucket].vacancy() {
                return Ok(self.settle(choice, bucket, at, slot));
            }
        }
        for bucket in [choice.first, choice.second] {
            for at in 0..SLOTS {
                let resident = self.buckets[bucket].slots[at].as_ref().expect("a bucket without vacancy is full");
                let its = Choice::of(placing.of(resident).tag(), self.buckets.len());
                let other = its.other(bucket);
                if other == bucket {
                    continue;
                }
                let Some(free) = self.buckets[other].vacancy() else { continue };
                let moved = self.buckets[bucket].slots[at].take().expect("just seen");
                self.settle(its, other, free, moved);
                return Ok(self.settle(choice, bucket, at, slot));
            }
        }
        Err(slot)
    }

    fn settle(&mut self, choice: Choice, bucket: usize, at: usize, slot: Slot) -> usize {
        self.buckets[bucket].put(at, choice.check, slot);
        if bucket != choice.first {
            self.buckets[choice.first].word |= OVERFLOW;
        }
        bucket * SLOTS + at
    }

    /// Lays all entries out anew in `buckets` buckets or more.
    fn rebuild(&mut self, buckets: usize, placing: Placing<'_>) {
        let slots: Vec<Slot> = self.drain().collect();
        self.fill(slots, buckets, placing);
    }

    fn fill(&mut self, slots: Vec<Slot>, buckets: usize, placing: Placing<'_>) {
        self.buckets = Self::empty_buckets(buckets);
        self.stash = Vec::new();
        self.len = 0;
        for slot in slots {
            let tag = placing.of(&slot).tag();
            match self.place(tag, slot, placing) {
                Ok(position) => self.counted(position),
                // Rare: a later rebuild finds it a bucket again.
                Err(slot) => self.stash(tag, slot),
            };
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = Slot> + use<> {
        let buckets = core::mem::take(&mut self.buckets);
        let stash = core::mem::take(&mut self.stash);
        self.len = 0;
        buckets.into_iter().flat_map(|bucket| bucket.slots.into_iter().flatten()).chain(stash)
    }

    pub fn remove(&mut self, position: usize) -> Slot {
        self.len -= 1;
        match position.checked_sub(self.buckets.len() * SLOTS) {
            None => {
                let slot = self.buckets[position / SLOTS].slots[position % SLOTS].take();
                slot.expect("the position is occupied: it was just found")
            }
            Some(stashed) => self.stash.swap_remove(stashed),
        }
    }

    /// Gives back room where less than a quarter is used.
    pub fn shrink(&mut self, placing: Placing<'_>) {
        if self.buckets.len() > 4 && self.len * 4 < self.buckets.len() * SLOTS {
            self.rebuild(Self::buckets_for(self.len * 2), placing);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.buckets.iter().flat_map(|bucket| bucket.slots.iter().flatten()).chain(&self.stash)
    }

    /// Splits by the next order bit: keeps the entries with 0, returns those with 1.
    pub fn split(&mut self, placing: Placing<'_>) -> Self {
        let bit = 63 - self.depth;
        self.depth += 1;
        let (high, low): (Vec<Slot>, Vec<Slot>) = self.drain().partition(|slot| placing.of(slot).order >> bit & 1 == 1);
        let mut other = Self { buckets: Box::default(), stash: Vec::new(), len: 0, depth: self.depth };
        let room = |entries: usize| Self::buckets_for(entries + entries / 8 + 1);
        let (low_room, high_room) = (room(low.len()), room(high.len()));
        self.fill(low, low_room, placing);
        other.fill(high, high_room, placing);
        other
    }

    /// Takes in the entries of its buddy.
    pub fn merge(&mut self, mut buddy: Self, placing: Placing<'_>) {
        debug_assert_eq!(self.depth, buddy.depth);
        self.depth -= 1;
        for slot in buddy.drain() {
            let place = placing.of(&slot);
            self.insert(place, slot, placing);
        }
    }

    /// Asks for the cache line of the bucket a look-up will begin with.
    #[inline]
    pub fn prefetch_bucket(&self, place: Place) {
        if !self.buckets.is_empty() {
            let choice = Choice::of(place.tag(), self.buckets.len());
            crate::prefetch::line(&raw const self.buckets[choice.first]);
        }
    }

    /// Asks for the record that a look-up will most likely compare with.
    #[inline]
    pub fn prefetch_entry(&self, place: Place) {
        if self.buckets.is_empty() {
            return;
        }
        let choice = Choice::of(place.tag(), self.buckets.len());
        let bucket = &self.buckets[choice.first];
        if let Some(slot) = bucket.candidates(choice.check).find_map(|at| bucket.slots[at].as_ref()) {
            slot.prefetch();
        } else if bucket.has_overflow() {
            let bucket = &self.buckets[choice.second];
            if let Some(slot) = bucket.candidates(choice.check).find_map(|at| bucket.slots[at].as_ref()) {
                slot.prefetch();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::NewValue;

    /// Keys are tags.
    fn tag_of(key: &[u8]) -> u64 {
        u64::from(u32::from_le_bytes(key.try_into().expect("a tag"))) << 32
    }

    /// Two buckets filled by keys that have them as first choice bear no overflow mark; one more key goes to the stash
    /// and must be found there, by key and by tag, and survive a rebuild.
    #[test]
    fn a_stashed_entry_is_found() {
        let hasher = Hasher::Fixed(tag_of);
        let placing = Placing { hasher: &hasher, stripe_bits: 0 };
        let mut segment = Segment::new(0, 40);
        let buckets = segment.buckets.len();
        let is = |tag: &u32, first, second| {
            let choice = Choice::of(*tag, buckets);
            (choice.first, choice.second) == (first, second)
        };
        let tags: Vec<u32> = (0..u32::MAX)
            .filter(|tag| is(tag, 2, 5))
            .take(SLOTS + 1)
            .chain((0..u32::MAX).filter(|tag| is(tag, 5, 2)).take(SLOTS))
            .collect();
        let (extra, tags) = tags.split_first().expect("fifteen");
        let place = |tag: &u32| Place::of_tag(*tag);
        let insert = |segment: &mut Segment, tag: &u32| {
            segment.insert(place(tag), Slot::new(&tag.to_le_bytes(), NewValue::Int(1), None, 0, false), placing)
        };
        tags.iter().for_each(|tag| {
            insert(&mut segment, tag);
        });
        assert!(segment.stash.is_empty() && segment.buckets.iter().all(|bucket| !bucket.has_overflow()));
        let at = insert(&mut segment, extra);
        assert_eq!((segment.stash.len(), segment.len()), (1, 2 * SLOTS + 1));
        assert_eq!(segment.find(place(extra), &extra.to_le_bytes()), Some(at));
        assert_eq!(segment.find_tag(*extra, placing)[..], [at]);
        segment.rebuild(2 * buckets, placing);
        for tag in tags.iter().chain([extra]) {
            let at = segment.find(place(tag), &tag.to_le_bytes()).expect("kept");
            assert_eq!(segment.slot(at).key(), tag.to_le_bytes());
        }
        assert_eq!(segment.iter().count(), segment.len());
    }
}
