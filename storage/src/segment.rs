//! One segment: the entries whose order bits share a prefix, in a bucket table of at most a few hundred slots.

use crate::entry::Slot;
use crate::hash::{Hasher, Place};
use hashbrown::HashTable;
use smallvec::SmallVec;

/// A segment of a directory. `depth` order bits are common to all its entries.
pub(crate) struct Segment {
    slots: HashTable<Slot>,
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

impl Segment {
    pub fn new(depth: u32, capacity: usize) -> Self {
        Self { slots: HashTable::with_capacity(capacity), depth }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the bucket table.
    pub fn memory(&self) -> u64 {
        match self.slots.allocation_size() {
            0 => 0,
            bytes => crate::memory::good_size(bytes) as u64,
        }
    }

    /// Bucket of `key`.
    #[inline]
    pub fn find(&self, place: Place, key: &[u8]) -> Option<usize> {
        self.slots.find_bucket_index(place.bucket_hash(), |slot| slot.key() == key)
    }

    /// Buckets of all entries with this tag (two keys may share one).
    pub fn find_tag(&self, tag: u32, placing: Placing<'_>) -> SmallVec<[usize; 2]> {
        self.slots
            .iter_hash_buckets(crate::hash::bucket_hash(tag))
            .filter(|bucket| self.slots.get_bucket(*bucket).is_some_and(|slot| placing.of(slot).tag() == tag))
            .collect()
    }

    /// The slot in a bucket that [`find`](Self::find) or an iteration gave.
    #[inline]
    pub fn slot(&self, bucket: usize) -> &Slot {
        self.slots.get_bucket(bucket).expect("the bucket is occupied: nothing was removed since it was found")
    }

    #[inline]
    pub fn slot_mut(&mut self, bucket: usize) -> &mut Slot {
        self.slots.get_bucket_mut(bucket).expect("the bucket is occupied: nothing was removed since it was found")
    }

    /// Like [`slot`](Self::slot) for any bucket index.
    pub fn any_slot(&self, bucket: usize) -> Option<&Slot> {
        if bucket < self.slots.num_buckets() { self.slots.get_bucket(bucket) } else { None }
    }

    pub fn buckets(&self) -> usize {
        self.slots.num_buckets()
    }

    /// Adds a slot whose key is not in the segment; gives its bucket.
    pub fn insert(&mut self, place: Place, slot: Slot, placing: Placing<'_>) -> usize {
        self.slots.insert_unique(place.bucket_hash(), slot, |slot| placing.of(slot).bucket_hash()).bucket_index()
    }

    pub fn remove(&mut self, bucket: usize) -> Slot {
        let (slot, _) =
            self.slots.get_bucket_entry(bucket).ok().expect("the bucket is occupied: it was just found").remove();
        slot
    }

    /// Gives back room where less than a quarter is used.
    pub fn shrink(&mut self, placing: Placing<'_>) {
        if self.slots.len() * 4 < self.slots.capacity() && self.slots.capacity() > 28 {
            let room = self.slots.len() * 2;
            self.slots.shrink_to(room, |slot| placing.of(slot).bucket_hash());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Splits by the next order bit: keeps the entries with 0, returns those with 1.
    pub fn split(&mut self, placing: Placing<'_>) -> Self {
        let bit = 63 - self.depth;
        let depth = self.depth + 1;
        let places: Vec<Place> = self.slots.iter().map(|slot| placing.of(slot)).collect();
        let ones = places.iter().filter(|place| place.order >> bit & 1 == 1).count();
        let mut low = HashTable::with_capacity(places.len() - ones);
        let mut high = HashTable::with_capacity(ones);
        for (slot, place) in self.slots.drain().zip(places) {
            let half = if place.order >> bit & 1 == 1 { &mut high } else { &mut low };
            half.insert_unique(place.bucket_hash(), slot, |slot| placing.of(slot).bucket_hash());
        }
        self.slots = low;
        self.depth = depth;
        Self { slots: high, depth }
    }

    /// Takes in the entries of its buddy.
    pub fn merge(&mut self, mut buddy: Self, placing: Placing<'_>) {
        debug_assert_eq!(self.depth, buddy.depth);
        self.depth -= 1;
        for slot in buddy.slots.drain() {
            let place = placing.of(&slot);
            self.slots.insert_unique(place.bucket_hash(), slot, |slot| placing.of(slot).bucket_hash());
        }
    }
}
