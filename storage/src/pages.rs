//! The memory that a segment's records lie in: up to four pages of 4 KiB, filled from the front.
//!
//! Records are packed at steps of four bytes and never cross a page. Only the last page may be smaller than 4 KiB: it
//! grows in steps of 512 bytes (the first one of all by doubling, from 128 bytes), so that little is held beyond what is
//! used. Released records leave holes that only laying all of them out anew closes; the owner decides when.

use crate::arena::{self, Grain};
use core::ptr::{self, NonNull};

/// Bytes of a full page.
pub(crate) const PAGE_BYTES: usize = Grain::Fine.longest();
const GRANULE_BYTES: usize = Grain::Fine.bytes();
/// Pages of one segment: their addresses and that of the index lie in one cache line, and moving 16 KiB of records in a
/// split takes some 15 us.
pub(crate) const PAGES: usize = 4;
/// Longest record in a page: what is left over at a page's end is a small part of it.
pub(crate) const RECORD_BYTES: usize = 512;
/// Records begin at multiples of this.
const STEP: usize = 4;
/// The last page grows by this; the first one of all doubles up to it.
pub(crate) const TAIL_STEP: usize = 512;
/// Pages begin at cache lines, so that an offset tells how many lines a record touches.
const LINE_BYTES: usize = 64;

/// Bytes that a record of `len` bytes takes.
#[inline]
pub(crate) fn rounded(len: usize) -> usize {
    len.next_multiple_of(STEP)
}

/// Where a record begins: a page and a multiple of four bytes, in 13 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot(u16);

impl Spot {
    /// Bits a spot fits in.
    pub const BITS: u32 = 13;

    fn new(page: usize, offset: usize) -> Self {
        Self((page * (PAGE_BYTES / STEP) + offset / STEP) as u16)
    }
    pub fn bits(self) -> u16 {
        self.0
    }
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
    #[inline]
    fn page(self) -> usize {
        usize::from(self.0) / (PAGE_BYTES / STEP)
    }
    #[inline]
    fn offset(self) -> usize {
        usize::from(self.0) % (PAGE_BYTES / STEP) * STEP
    }
}

const _: () = assert!(PAGES * PAGE_BYTES / STEP <= 1 << Spot::BITS);
// So a page that is not full-sized never has to be left for the next one.
const _: () = assert!(PAGE_BYTES - TAIL_STEP + RECORD_BYTES <= PAGE_BYTES);

/// The address of a page with its granules in the low bits; 0 for none.
#[derive(Clone, Copy, Default)]
struct Page(u64);

const SIZE_BITS: u64 = 63;

const _: () = assert!(PAGE_BYTES / GRANULE_BYTES <= SIZE_BITS as usize && SIZE_BITS < GRANULE_BYTES as u64);

impl Page {
    fn allocate(size: usize) -> Self {
        Self(arena::take(size).expose_provenance().get() as u64 | (size / GRANULE_BYTES) as u64)
    }

    #[inline]
    fn start(self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.0 & !SIZE_BITS) as usize)
    }

    /// Bytes; 0 for none.
    #[inline]
    fn size(self) -> usize {
        (self.0 & SIZE_BITS) as usize * GRANULE_BYTES
    }

    /// A page of `size` bytes with the first `filled` of this one's, which is given back.
    fn moved(self, size: usize, filled: usize) -> Self {
        let page = Self::allocate(size);
        assert!(filled <= size.min(self.size()));
        // SAFETY: both are owned blocks of at least `filled` bytes, and distinct.
        unsafe { ptr::copy_nonoverlapping(self.start(), page.start(), filled) };
        self.free();
        page
    }

    fn free(self) {
        if let Some(start) = NonNull::new(self.start()) {
            // SAFETY: taken with this size; the owner has given it up.
            unsafe { arena::give(start, self.size()) };
        }
    }

    fn is_leaving(self) -> bool {
        // SAFETY: taken, and owned.
        NonNull::new(self.start()).is_some_and(|start| unsafe { arena::is_leaving(start) })
    }
}

/// The least size of a page for `wanted` bytes, the first one of its segment or not.
fn size_for(wanted: usize, first: bool) -> usize {
    match wanted {
        0..TAIL_STEP if first => wanted.next_power_of_two().max(GRANULE_BYTES),
        0..PAGE_BYTES => wanted.next_multiple_of(TAIL_STEP),
        _ => PAGE_BYTES,
    }
}

/// The pages of one segment.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Pages {
    /// The first `count` are owned; all but the last of them are full-sized.
    pages: [Page; PAGES],
    /// Bytes of records not released.
    live: u32,
    /// Bytes filled from the front of each page.
    filled: [u16; PAGES],
    count: u8,
}

impl Pages {
    /// Bytes of the pages.
    pub fn capacity(&self) -> usize {
        match usize::from(self.count) {
            0 => 0,
            count => (count - 1) * PAGE_BYTES + self.pages[count - 1].size(),
        }
    }

    /// Bytes of records not released.
    pub fn live(&self) -> usize {
        self.live as usize
    }

    /// Bytes of holes that released records left.
    pub fn dead(&self) -> usize {
        self.filled.iter().map(|filled| usize::from(*filled)).sum::<usize>() - self.live()
    }

    fn page_with(&self, bytes: usize) -> Option<usize> {
        // The last page first: most often it is the one with room.
        let fits = |page: &usize| self.pages[*page].size() - usize::from(self.filled[*page]) >= bytes;
        (0..usize::from(self.count)).rev().find(fits)
    }

    /// Whether a record of `len` bytes fits without another page or a larger one.
    pub fn has_room(&self, len: usize) -> bool {
        self.page_with(rounded(len)).is_some()
    }

    /// Room for a record of `len` bytes, to be written at once; `None` if the pages are full. `ahead` is how many bytes
    /// are known to be wanted, this record included, so that a page need not grow step by step.
    pub fn take(&mut self, len: usize, ahead: usize) -> Option<Spot> {
        let bytes = rounded(len);
        assert!((1..=RECORD_BYTES).contains(&bytes), "longer records lie elsewhere");
        let page = match self.page_with(bytes) {
            Some(page) => page,
            None => self.grow(bytes, ahead.max(bytes))?,
        };
        let spot = Spot::new(page, usize::from(self.filled[page]));
        self.filled[page] += bytes as u16;
        self.live += bytes as u32;
        Some(spot)
    }

    /// Makes the last page larger, or adds one; gives the page that now has room for `bytes`.
    fn grow(&mut self, bytes: usize, ahead: usize) -> Option<usize> {
        let count = usize::from(self.count);
        if let Some(last) = count.checked_sub(1) {
            let filled = usize::from(self.filled[last]);
            if filled + bytes <= PAGE_BYTES {
                self.pages[last] = self.pages[last].moved(size_for(filled + ahead, last == 0), filled);
                return Some(last);
            }
        }
        if count == PAGES {
            return None;
        }
        debug_assert!(
            count == 0 || self.pages[count - 1].size() == PAGE_BYTES,
            "a smaller page has room for any record"
        );
        self.pages[count] = Page::allocate(size_for(ahead, count == 0));
        self.count += 1;
        Some(count)
    }

    /// Notes that a record of `len` bytes is no longer there.
    pub fn release(&mut self, len: usize) {
        self.live -= rounded(len) as u32;
    }

    /// Where a spot is, and the bytes from there to the end of its page: never none.
    #[inline]
    fn locate(&self, spot: Spot) -> (*mut u8, usize) {
        let (page, offset) = (self.pages[spot.page()], spot.offset());
        assert!(offset < page.size(), "a spot lies in a page");
        // SAFETY: the page is owned (one that is not has no size), and `offset` lies inside it.
        (unsafe { page.start().add(offset) }, page.size() - offset)
    }

    /// The bytes from a spot to the end of its page. Panics if the spot is none of these pages'.
    #[inline]
    pub fn rest(&self, spot: Spot) -> &[u8] {
        let (at, len) = self.locate(spot);
        // SAFETY: the bytes lie inside an owned page and are all initialised, as the arena's are; they live and are not written while `self`
        // is borrowed.
        unsafe { core::slice::from_raw_parts(at, len) }
    }

    /// Like [`rest`](Self::rest), to be written.
    #[inline]
    pub fn rest_mut(&mut self, spot: Spot) -> &mut [u8] {
        let (at, len) = self.locate(spot);
        // SAFETY: as in `rest`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(at, len) }
    }

    /// Moves out of memory that is being emptied; gives the bytes moved.
    pub fn move_out(&mut self) -> usize {
        let mut moved = 0;
        for (page, filled) in self.pages.iter_mut().zip(self.filled) {
            if page.is_leaving() {
                *page = page.moved(page.size(), usize::from(filled));
                moved += page.size();
            }
        }
        moved
    }

    /// Asks for all records, in the order of memory: for passes over them in another order.
    pub fn prefetch_all(&self) {
        for (page, filled) in self.pages.iter().zip(self.filled) {
            let lines = usize::from(filled).div_ceil(LINE_BYTES);
            (0..lines).for_each(|line| crate::prefetch::line(page.start().wrapping_add(line * LINE_BYTES)));
        }
    }

    /// Asks for the cache lines of `bytes` bytes at a spot.
    #[inline]
    pub fn prefetch(&self, spot: Spot, bytes: usize) {
        let at = self.pages[spot.page()].start().wrapping_add(spot.offset());
        let lines = (spot.offset() % LINE_BYTES + bytes).div_ceil(LINE_BYTES);
        (0..lines).for_each(|line| crate::prefetch::line(at.wrapping_add(line * LINE_BYTES)));
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.pages.iter().for_each(|page| page.free());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of all sizes keep their bytes while pages grow and are added, until the pages are full.
    #[test]
    fn records_stay_while_pages_grow() {
        let mut pages = Pages::default();
        let mut records: Vec<(Spot, usize, u8)> = Vec::new();
        let mut live = 0;
        for turn in 0usize.. {
            let len = 1 + turn * 37 % 500;
            let Some(spot) = pages.take(len, 0) else { break };
            pages.rest_mut(spot)[..len].fill(turn as u8);
            records.push((spot, len, turn as u8));
            live += rounded(len);
            assert!(pages.capacity() <= PAGE_BYTES * PAGES && pages.live() == live && pages.dead() == 0);
        }
        assert!(live > PAGES * (PAGE_BYTES - 512), "{live} bytes were taken");
        for (spot, len, fill) in records {
            assert!(pages.rest(spot)[..len].iter().all(|byte| *byte == fill));
            pages.release(len);
        }
        assert_eq!((pages.live(), pages.dead()), (0, live));
    }

    #[test]
    fn few_bytes_take_a_small_page_and_a_hint_a_large_one() {
        let mut pages = Pages::default();
        assert_eq!(pages.capacity(), 0);
        pages.take(100, 0);
        assert_eq!(pages.capacity(), 128);
        pages.take(100, 0);
        assert_eq!(pages.capacity(), 256);
        pages.take(100, 1500);
        assert_eq!(pages.capacity(), 2048);
        let mut pages = Pages::default();
        pages.take(4, 1 << 20);
        assert_eq!(pages.capacity(), PAGE_BYTES);
    }

    #[test]
    #[should_panic(expected = "a spot lies in a page")]
    fn a_foreign_spot_is_refused() {
        let mut pages = Pages::default();
        pages.take(8, 0);
        pages.rest(Spot::from_bits(40));
    }

    #[test]
    #[should_panic(expected = "a spot lies in a page")]
    fn there_is_no_spot_without_a_page() {
        Pages::default().rest(Spot::from_bits(0));
    }
}
