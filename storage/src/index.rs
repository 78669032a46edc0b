//! Which slot leads to which record: 64-byte buckets of fourteen slots.
//!
//! A slot is a 16-bit tag and a 16-bit [`Word`]. It lies in one of two buckets that its tag names: the first if that had
//! room, else the second (the first then carries the *overflow* mark, so that a look-up knows to go on), else a resident
//! of either is moved to its own other bucket. As the tag is all that placing needs, slots move without a look at the
//! record. Buckets fill to about 88 % on the mean.

use crate::arena::{self, Grain};
use crate::pages::Spot;
use core::ptr::NonNull;

/// Slots of a bucket.
pub(crate) const SLOTS: usize = 14;
/// Fill at which an index grows even if there still were room, in percent.
const FULL_PERCENT: usize = 94;

/// Lanes of `tags` past the slots: which of the slots are used, and the overflow mark.
const USED: usize = SLOTS;
const MARKS: usize = SLOTS + 1;
const ALL_USED: u16 = (1 << SLOTS) - 1;

/// The highest value of the access counter.
pub(crate) const FREQ_MAX: u8 = 3;

/// What a slot holds beside the tag: where the record lies, and what the eviction policy knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word(u16);

const FREQ_MASK: u16 = 3;
const SMALL: u16 = 4;
const SPOT_SHIFT: u32 = 3;

const _: () = assert!(SPOT_SHIFT + Spot::BITS == 16);

impl Word {
    /// The same policy bits at another spot.
    pub fn moved(self, spot: Spot) -> Self {
        Self((self.0 & (FREQ_MASK | SMALL)) | spot.bits() << SPOT_SHIFT)
    }

    #[inline]
    pub fn spot(self) -> Spot {
        Spot::from_bits(self.0 >> SPOT_SHIFT)
    }

    /// How often the entry was used since the eviction hand passed, up to [`FREQ_MAX`].
    #[inline]
    pub fn freq(self) -> u8 {
        (self.0 & FREQ_MASK) as u8
    }

    /// Sets that count.
    pub fn set_freq(&mut self, freq: u8) {
        self.0 = (self.0 & !FREQ_MASK) | u16::from(freq.min(FREQ_MAX));
    }

    /// Whether the entry stands in the small queue (else in the main one).
    #[inline]
    pub fn in_small(self) -> bool {
        self.0 & SMALL != 0
    }

    /// Moves the entry's mark to the small or the main queue.
    pub fn set_in_small(&mut self, small: bool) {
        self.0 = (self.0 & !SMALL) | if small { SMALL } else { 0 };
    }
}

/// A cache line of slots.
#[repr(C, align(64))]
#[derive(Clone, Default)]
struct Bucket {
    tags: [u16; SLOTS + 2],
    words: [Word; SLOTS],
    _spare: [u16; 2],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// The slots that bear `tag`, as bits.
    #[inline]
    fn matches(&self, tag: u16) -> u16 {
        // All sixteen lanes at once; the last two are no tags, and masked away as unused slots are.
        lanes_equal(&self.tags, tag) & self.tags[USED]
    }

    fn vacancy(&self) -> Option<usize> {
        let free = !self.tags[USED] & ALL_USED;
        (free != 0).then(|| free.trailing_zeros() as usize)
    }

    fn has_overflow(&self) -> bool {
        self.tags[MARKS] != 0
    }

    fn is_used(&self, at: usize) -> bool {
        self.tags[USED] >> at & 1 != 0
    }

    fn put(&mut self, at: usize, tag: u16, word: Word) {
        self.tags[USED] |= 1 << at;
        self.tags[at] = tag;
        self.words[at] = word;
    }
}

/// Which lanes equal `tag`, as bits.
#[inline]
#[cfg(target_arch = "x86_64")]
fn lanes_equal(lanes: &[u16; 16], tag: u16) -> u16 {
    use core::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16};
    // SAFETY: every x86-64 processor has SSE2, and both loads of 16 bytes lie inside the 32 of `lanes`.
    unsafe {
        let (wanted, at) = (_mm_set1_epi16(tag as i16), lanes.as_ptr());
        let low = _mm_cmpeq_epi16(_mm_loadu_si128(at.cast()), wanted);
        let high = _mm_cmpeq_epi16(_mm_loadu_si128(at.add(8).cast()), wanted);
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u16
    }
}

/// Which lanes equal `tag`, as bits.
#[cfg(not(target_arch = "x86_64"))]
fn lanes_equal(lanes: &[u16; 16], tag: u16) -> u16 {
    lanes.iter().enumerate().fold(0, |bits, (at, lane)| bits | u16::from(*lane == tag) << at)
}

fn bits(mut set: u16) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let at = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (at < 16).then_some(at)
    })
}

/// The two buckets where a slot with a tag may lie, in an index of a certain size.
#[derive(Clone, Copy)]
struct Choice {
    first: usize,
    second: usize,
}

impl Choice {
    #[inline]
    fn of(tag: u16, buckets: usize) -> Self {
        let mixed = u32::from(tag).wrapping_mul(0x9E37_79B1);
        let scaled = |bits: u32| ((bits & 0xFFFF) as usize * buckets) >> 16;
        let first = scaled(mixed >> 16);
        let second = scaled(mixed.wrapping_mul(0x85EB_CA6B) >> 13);
        // The two differ wherever there are two.
        let second = if second != first {
            second
        } else if first + 1 < buckets {
            first + 1
        } else {
            0
        };
        Self { first, second }
    }

    fn other(self, bucket: usize) -> usize {
        if bucket == self.first { self.second } else { self.first }
    }
}

/// Outcome of a look-up.
pub(crate) enum Found {
    At(usize),
    /// Not in the buckets; `overflow` says that a slot of this tag may have found no bucket.
    Nowhere {
        overflow: bool,
    },
}

/// The buckets of one segment. Positions are `bucket * 14 + slot`.
///
/// One word, so that it shares a cache line with the addresses of the pages: the address of the buckets in its middle (a
/// multiple of 64 below 2^48), their number in the low 6 bits, the number of slots used in the top 16.
#[derive(Default)]
pub(crate) struct Index(u64);

const COUNT_BITS: u32 = 6;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const LEN_SHIFT: u32 = 48;
const ADDRESS_MASK: u64 = ((1 << LEN_SHIFT) - 1) & !COUNT_MASK;

const _: () = assert!(align_of::<Bucket>() == 1 << COUNT_BITS);

/// As many as its length field tells, in whole granules.
const BUCKETS_MAX: usize = COUNT_MASK as usize & !1;
const BUCKETS_PER_GRANULE: usize = Grain::Fine.bytes() / size_of::<Bucket>();

/// Sizes in buckets: whole granules, in steps of an eighth to a quarter.
fn size_for(buckets: usize) -> usize {
    let step = (buckets.next_power_of_two() / 8).max(BUCKETS_PER_GRANULE);
    buckets.next_multiple_of(step)
}

impl Index {
    /// An empty index with room for `entries`, or as many as an index may have room for.
    pub fn for_entries(entries: usize) -> Self {
        Self::with_buckets(size_for((entries * 100).div_ceil(SLOTS * FULL_PERCENT)).min(BUCKETS_MAX))
    }

    fn with_buckets(count: usize) -> Self {
        if count == 0 {
            return Self(0);
        }
        assert!(count as u64 <= COUNT_MASK, "a segment holds a few hundred entries");
        let buckets = arena::take(count * size_of::<Bucket>()).cast::<Bucket>();
        for number in 0..count {
            // SAFETY: the block has room for that many buckets, and blocks begin at cache lines.
            unsafe { buckets.add(number).write(Bucket::default()) };
        }
        let address = buckets.expose_provenance().get() as u64;
        assert!(address & !ADDRESS_MASK == 0, "addresses of memory fit 48 bits on every target served");
        Self(address | count as u64)
    }

    fn count(&self) -> usize {
        (self.0 & COUNT_MASK) as usize
    }

    fn first(&self) -> *mut Bucket {
        match self.0 & ADDRESS_MASK {
            0 => core::ptr::NonNull::dangling().as_ptr(),
            address => core::ptr::with_exposed_provenance_mut(address as usize),
        }
    }

    fn block(&self) -> NonNull<u8> {
        NonNull::new(self.first().cast()).expect("an address, dangling or not, is not 0")
    }

    #[inline]
    fn buckets(&self) -> &[Bucket] {
        // SAFETY: address and number are those of the block taken in `with_buckets`, which this index owns (dangling and
        // 0 for none); the buckets are written only through `buckets_mut`.
        unsafe { core::slice::from_raw_parts(self.first(), self.count()) }
    }

    #[inline]
    fn buckets_mut(&mut self) -> &mut [Bucket] {
        // SAFETY: as in `buckets`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.first(), self.count()) }
    }

    /// Number of slots used.
    #[inline]
    pub fn len(&self) -> usize {
        (self.0 >> LEN_SHIFT) as usize
    }

    /// Number of positions.
    #[inline]
    pub fn positions(&self) -> usize {
        self.count() * SLOTS
    }

    /// Bytes of the buckets.
    pub fn bytes(&self) -> usize {
        size_of_val(self.buckets())
    }

    /// Whether one more slot would fill the index beyond what it should.
    pub fn is_full(&self) -> bool {
        (self.len() + 1) * 100 > self.positions() * FULL_PERCENT
    }

    /// The position of the slot with this tag for which `is_it` holds.
    #[inline]
    pub fn find(&self, tag: u16, mut is_it: impl FnMut(usize, Word) -> bool) -> Found {
        let buckets = self.buckets();
        if buckets.is_empty() {
            return Found::Nowhere { overflow: false };
        }
        let choice = Choice::of(tag, buckets.len());
        let mut number = choice.first;
        loop {
            let bucket = &buckets[number];
            let mut set = bucket.matches(tag);
            while set != 0 {
                let at = set.trailing_zeros() as usize;
                if is_it(number * SLOTS + at, bucket.words[at % SLOTS]) {
                    return Found::At(number * SLOTS + at);
                }
                set &= set - 1;
            }
            if number != choice.first || choice.second == choice.first || !bucket.has_overflow() {
                return Found::Nowhere { overflow: buckets[choice.first].has_overflow() };
            }
            number = choice.second;
        }
    }

    /// The word at a position; `None` where the slot is free.
    #[inline]
    pub fn get(&self, position: usize) -> Option<Word> {
        let bucket = &self.buckets()[position / SLOTS];
        bucket.is_used(position % SLOTS).then(|| bucket.words[position % SLOTS])
    }

    /// The word at a used position, to be changed.
    pub fn get_mut(&mut self, position: usize) -> &mut Word {
        let bucket = &mut self.buckets_mut()[position / SLOTS];
        debug_assert!(bucket.is_used(position % SLOTS));
        &mut bucket.words[position % SLOTS]
    }

    /// Every slot: position, tag, word.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u16, Word)> {
        self.buckets().iter().enumerate().flat_map(|(number, bucket)| {
            bits(bucket.tags[USED]).map(move |at| (number * SLOTS + at, bucket.tags[at], bucket.words[at]))
        })
    }

    /// Every word, to be changed.
    pub fn words_mut(&mut self) -> impl Iterator<Item = &mut Word> {
        self.buckets_mut().iter_mut().flat_map(|bucket| {
            let used = bucket.tags[USED];
            bucket.words.iter_mut().enumerate().filter(move |(at, _)| used >> at & 1 != 0).map(|(_, word)| word)
        })
    }

    /// Puts a slot into one of its two buckets, moving one resident if need be; its position, or `None` if there is no
    /// room.
    pub fn insert(&mut self, tag: u16, word: Word) -> Option<usize> {
        if self.count() == 0 {
            return None;
        }
        let choice = Choice::of(tag, self.count());
        for bucket in [choice.first, choice.second] {
            if let Some(at) = self.buckets()[bucket].vacancy() {
                self.0 += 1 << LEN_SHIFT;
                return Some(self.settle(choice, bucket, at, tag, word));
            }
        }
        for bucket in [choice.first, choice.second] {
            for at in 0..SLOTS {
                let (its_tag, its_word) = (self.buckets()[bucket].tags[at], self.buckets()[bucket].words[at]);
                let its = Choice::of(its_tag, self.count());
                let other = its.other(bucket);
                let Some(free) = self.buckets()[other].vacancy().filter(|_| other != bucket) else { continue };
                self.settle(its, other, free, its_tag, its_word);
                self.0 += 1 << LEN_SHIFT;
                return Some(self.settle(choice, bucket, at, tag, word));
            }
        }
        None
    }

    fn settle(&mut self, choice: Choice, bucket: usize, at: usize, tag: u16, word: Word) -> usize {
        self.buckets_mut()[bucket].put(at, tag, word);
        if bucket != choice.first {
            self.buckets_mut()[choice.first].tags[MARKS] = 1;
        }
        bucket * SLOTS + at
    }

    /// Marks that a slot with this tag has found no bucket.
    pub fn mark_overflow(&mut self, tag: u16) {
        let choice = Choice::of(tag, self.count());
        self.buckets_mut()[choice.first].tags[MARKS] = 1;
    }

    /// Frees the slot at a used position.
    pub fn remove(&mut self, position: usize) {
        let bucket = &mut self.buckets_mut()[position / SLOTS];
        debug_assert!(bucket.is_used(position % SLOTS));
        bucket.tags[USED] &= !(1 << (position % SLOTS));
        self.0 -= 1 << LEN_SHIFT;
    }

    /// An index one size larger with the same slots; those that find no room there are handed to `left_over`.
    pub fn grown(&self, left_over: impl FnMut(u16, Word)) -> Self {
        self.laid_out(size_for(self.count() + 1), left_over)
    }

    /// An index for about twice the slots there are; `None` unless this one is less than a quarter full. It has a bucket
    /// even where no slot is used, to bear the marks of entries that are stashed.
    pub fn shrunk(&self, left_over: impl FnMut(u16, Word)) -> Option<Self> {
        (self.count() > 4 && self.len() * 4 < self.positions())
            .then(|| self.laid_out(size_for((self.len() * 200).div_ceil(SLOTS * FULL_PERCENT).max(1)), left_over))
    }

    fn laid_out(&self, buckets: usize, mut left_over: impl FnMut(u16, Word)) -> Self {
        let mut index = Self::with_buckets(buckets);
        for (_, tag, word) in self.iter() {
            if index.insert(tag, word).is_none() {
                left_over(tag, word);
            }
        }
        index
    }

    /// Moves out of memory that is being emptied; gives the bytes moved. Positions stay.
    pub fn move_out(&mut self) -> usize {
        // SAFETY: the block taken in `with_buckets`.
        if self.count() == 0 || !unsafe { arena::is_leaving(self.block()) } {
            return 0;
        }
        let mut index = Self::with_buckets(self.count());
        index.buckets_mut().clone_from_slice(self.buckets());
        index.0 |= self.0 & !(ADDRESS_MASK | COUNT_MASK);
        *self = index;
        self.bytes()
    }

    /// Asks for the cache line of the bucket a look-up will begin with.
    #[inline]
    pub fn prefetch(&self, tag: u16) {
        let buckets = self.buckets();
        if !buckets.is_empty() {
            crate::prefetch::line(&raw const buckets[Choice::of(tag, buckets.len()).first]);
        }
    }

    /// The word that a look-up will most likely end at.
    #[inline]
    pub fn likely(&self, tag: u16) -> Option<Word> {
        let mut likely = None;
        self.find(tag, |_, word| {
            likely = Some(word);
            true
        });
        likely
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if self.count() > 0 {
            // SAFETY: the block taken in `with_buckets`, given back once.
            unsafe { arena::give(self.block(), self.bytes()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(number: u16) -> Word {
        Word::default().moved(Spot::from_bits(number % (1 << Spot::BITS)))
    }

    #[test]
    fn words_keep_their_parts_apart() {
        let mut w = word(0x1ABC);
        w.set_freq(9);
        w.set_in_small(true);
        assert_eq!((w.spot(), w.freq(), w.in_small()), (Spot::from_bits(0x1ABC), FREQ_MAX, true));
        w = w.moved(Spot::from_bits(5));
        w.set_in_small(false);
        w.set_freq(1);
        assert_eq!((w.spot(), w.freq(), w.in_small()), (Spot::from_bits(5), 1, false));
    }

    /// Slots go in, move to larger indexes and out again; each is found as long as it is there.
    #[test]
    fn every_slot_is_found_until_removed() {
        let mut index = Index::default();
        let tags: Vec<u16> = (0..380u16).map(|n| n.wrapping_mul(24_593) ^ n >> 3).collect();
        for (number, tag) in tags.iter().enumerate() {
            while index.is_full() || index.insert(*tag, word(number as u16)).is_none() {
                index = index.grown(|_, _| panic!("a larger index has room"));
            }
        }
        assert_eq!(index.len(), 380);
        assert!(index.bytes() <= 32 * 64, "{} bytes", index.bytes());
        for (number, tag) in tags.iter().enumerate() {
            let Found::At(position) = index.find(*tag, |_, w| w == word(number as u16)) else { panic!("{number}") };
            assert_eq!(index.get(position), Some(word(number as u16)));
            index.remove(position);
            assert_eq!(index.get(position), None);
            assert!(matches!(index.find(*tag, |_, w| w == word(number as u16)), Found::Nowhere { .. }));
        }
        assert_eq!((index.len(), index.iter().count()), (0, 0));
    }

    #[test]
    fn fills_to_the_mark_before_it_grows() {
        let mut grown = 0;
        for salt in 0..50u16 {
            let mut index = Index::for_entries(300);
            let before = index.positions();
            for n in 0..300u16 {
                let tag = n.wrapping_mul(40_503).wrapping_add(salt.wrapping_mul(7919)) ^ n << 7;
                if index.insert(tag, word(n)).is_none() {
                    grown += 1;
                    index = index.grown(|_, _| ());
                    index.insert(tag, word(n));
                }
            }
            assert!(before >= 300);
        }
        assert!(grown <= 5, "{grown} of 50 indexes had to grow early");
    }

    #[test]
    fn sizes_are_those_of_blocks() {
        for buckets in 1..=64 {
            let bytes = size_for(buckets) * 64;
            assert!(size_for(buckets) >= buckets && size_for(buckets) <= buckets * 5 / 4 + 1);
            assert_eq!(crate::arena::rounded(bytes), Some(bytes), "{buckets}");
        }
        assert_eq!(size_for(0), 0);
    }
}
