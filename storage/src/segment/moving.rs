//! Records on the move: holes closed, segments split and merged. What a record owns moves with its bytes.

use super::{Placing, Segment, Stashed, is_owner, outside_bytes, resolved, stored_len};
use crate::block::Block;
use crate::hash::Place;
use crate::index::Word;
use crate::limits::SEGMENT_ENTRIES;
use crate::pages::{Pages, RECORD_BYTES, Spot, TAIL_STEP, rounded};
use crate::record::{self, Record};
use crate::stub;
use core::mem;
use smallvec::SmallVec;

/// Part of the pages that holes may make up before they are closed.
pub(super) const HOLES_PART: usize = 12;
/// Bytes of holes and free room that closing the holes turns into freed memory: a step of the last page, and what is
/// lost at the ends of pages.
const REPAYING_BYTES: usize = TAIL_STEP + 256;
const REPAYING_HOLES: usize = 256;

impl Segment {
    /// Gives back what removals left: holes in the pages, and an index far too large.
    pub fn tidy(&mut self) {
        self.close_many_holes();
        self.relay(|index, left| index.shrunk(|tag, word| left.push((tag, word))));
        if self.stashed().is_empty() {
            self.stash = None;
        }
    }

    /// Gives memory back at once where closing the holes frees some; for a store at its limit.
    pub fn repay(&mut self) {
        let holes = self.pages.dead();
        if holes >= REPAYING_HOLES && self.pages.capacity() - self.pages.live() >= REPAYING_BYTES {
            self.close_holes();
        }
    }

    /// Moves all it owns out of memory that is being emptied, but for shared strings; gives the bytes moved, and whether
    /// that was all: large objects move in several calls. Positions stay.
    pub fn move_out(&mut self, round: u32) -> (usize, bool) {
        let mut moved = self.index.move_out() + self.pages.move_out();
        let mut done = true;
        let mut move_object = |record: &mut [u8]| {
            done &= Record::at(record).object().is_none() || record::move_object(record, round);
        };
        if self.owners > 0 {
            for (_, _, word) in self.index.iter() {
                let stored = self.pages.rest_mut(word.spot());
                if stub::is_stub(stored) {
                    moved += stub::move_out(stored);
                    move_object(stub::block_mut(stored));
                } else {
                    move_object(stored);
                }
            }
        }
        for stashed in self.stash.iter_mut().flat_map(|stash| stash.iter_mut()) {
            if stashed.block.is_leaving() {
                stashed.block = Block::of(&stashed.block);
                moved += stashed.block.len();
            }
            move_object(&mut stashed.block);
        }
        (moved, done)
    }

    pub(super) fn close_many_holes(&mut self) {
        if self.pages.dead() * HOLES_PART >= self.pages.capacity() {
            self.close_holes();
        }
    }

    /// Lays all records out anew. Does nothing if they would not fit in this order, which packs page ends differently.
    pub(super) fn close_holes(&mut self) {
        self.pages.prefetch_all();
        let mut pages = Pages::default();
        let mut ahead = self.pages.live();
        let mut spots: SmallVec<[Spot; SEGMENT_ENTRIES]> = SmallVec::new();
        for (_, _, word) in self.index.iter() {
            let stored = self.pages.rest(word.spot());
            let len = stored_len(stored);
            let Some(spot) = pages.take(len, ahead) else { return };
            pages.rest_mut(spot)[..len].copy_from_slice(&stored[..len]);
            ahead -= rounded(len);
            spots.push(spot);
        }
        for (word, spot) in self.index.words_mut().zip(spots) {
            *word = word.moved(spot);
        }
        self.pages = pages;
    }

    /// Moves in an entry as it is stored in another segment's pages; that one must forget what it owns.
    fn adopt(&mut self, tag: u16, word: Word, stored: &[u8], ahead: usize) {
        let len = stored_len(stored);
        if let Some(spot) = self.pages.take(len, ahead) {
            self.pages.rest_mut(spot)[..len].copy_from_slice(&stored[..len]);
            if is_owner(stored) {
                self.owners += 1;
                self.outside += outside_bytes(stored);
            }
            self.enter(tag, word.moved(spot));
        } else if stub::is_stub(stored) {
            self.stash(tag, word, stub::take(stored));
        } else {
            self.stash(tag, word, Block::of(&stored[..len]));
        }
    }

    /// Moves in an entry that had no place in another segment.
    fn adopt_stashed(&mut self, stashed: Stashed) {
        let Stashed { tag, word, block } = stashed;
        let record = Record::at(&block);
        let len = record.len();
        if self.index.len() >= SEGMENT_ENTRIES || self.index.is_full() {
            self.stash(tag, word, block);
        } else if len <= RECORD_BYTES {
            // The block's bytes are moved; what the record owns moves along.
            self.adopt(tag, word, &block[..len], len);
        } else if let Some(spot) = self.pages.take(stub::BYTES, stub::BYTES) {
            let stored = self.pages.rest_mut(spot);
            stub::write(stored, block);
            self.owners += 1;
            self.outside += outside_bytes(stored);
            self.enter(tag, word.moved(spot));
        } else {
            self.stash(tag, word, block);
        }
    }

    /// Splits by the next order bit: keeps the entries with 0, returns those with 1. Both may look for the dead as early
    /// as this one.
    pub fn split(&mut self, placing: Placing<'_>) -> Self {
        self.pages.prefetch_all();
        let (depth, bit) = (self.depth + 1, 63 - self.depth);
        let is_high = |tag: u16, stored: &[u8]| {
            let known = Place { order: 0 }.with_short_tag(self.depth, tag);
            let place = known.unwrap_or_else(|| placing.of(Record::at(resolved(stored)).key()));
            place.order >> bit & 1 == 1
        };
        // Halves, but for chance: pages and indexes are made as large at once.
        let entries = self.len() / 2;
        let mut halves = [0, 1].map(|_| Self::with_room(depth, self.base, entries + entries / 8 + 1));
        let mut ahead = [self.pages.live() / 2; 2];
        let due = self.due;
        let (index, pages, stash) = (mem::take(&mut self.index), mem::take(&mut self.pages), self.stash.take());
        for (_, tag, word) in index.iter() {
            let stored = pages.rest(word.spot());
            let side = usize::from(is_high(tag, stored));
            halves[side].adopt(tag, word, stored, ahead[side]);
            ahead[side] = ahead[side].saturating_sub(rounded(stored_len(stored)));
        }
        for stashed in stash.into_iter().flat_map(|stash| *stash) {
            let side = usize::from(is_high(stashed.tag, &stashed.block));
            halves[side].adopt_stashed(stashed);
        }
        // What it owned was moved.
        (self.owners, self.outside) = (0, 0);
        let [mut low, mut high] = halves;
        (low.due, high.due) = (due, due);
        *self = low;
        high
    }

    /// Takes in the entries of its buddy.
    pub fn merge(&mut self, mut buddy: Self) {
        debug_assert_eq!((self.depth, self.base), (buddy.depth, buddy.base));
        self.depth -= 1;
        self.due = self.due.min(buddy.due);
        buddy.pages.prefetch_all();
        let mut ahead = buddy.pages.live();
        // What the buddy owned is moved.
        (buddy.owners, buddy.outside) = (0, 0);
        for (_, tag, word) in buddy.index.iter() {
            let stored = buddy.pages.rest(word.spot());
            self.adopt(tag, word, stored, ahead);
            ahead -= rounded(stored_len(stored));
        }
        for stashed in buddy.stash.take().into_iter().flat_map(|stash| *stash) {
            self.adopt_stashed(stashed);
        }
    }
}
