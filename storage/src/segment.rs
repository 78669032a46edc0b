//! One segment: the entries whose order bits share a prefix, index and records together.
//!
//! Records lie in the segment's own pages; the index leads to them. A record longer than a page takes well lies in a
//! block of its own behind a *stub*. An entry that finds no place in the index (keys of equal hashes) or in the pages
//! goes to the *stash*, a list that is searched linearly.
//!
//! Holes in the pages are closed by laying all records out anew, when they make up a twelfth of the pages, so that the
//! cost per removed record is bounded.

use crate::block::{self, Block};
use crate::ext::{Provenance, Windows};
use crate::fields::Object;
use crate::hash::{Hasher, Place, SHORT_TAG_FROM};
use crate::index::{Found, Index, Word};
use crate::limits::{REAP_PAUSE_S, SEGMENT_ENTRIES, STASH_PERCENT};
use crate::memory::{good_size, vec_bytes};
use crate::pages::{PAGE_BYTES, Pages, RECORD_BYTES, Spot, rounded};
use crate::record::{self, NewRecord, Record};
use crate::stub;
use crate::time::Millis;
use crate::value::NewValue;
use core::mem;
use smallvec::SmallVec;
use std::sync::Arc;

/// Part of the pages from which on holes are closed rather than that a segment grows or splits.
const HOLES_PART_FULL: usize = 16;

/// No deadline: later than any second.
pub(crate) const NEVER: u32 = u32::MAX;

/// An entry without a place in index or pages.
struct Stashed {
    tag: u16,
    word: Word,
    block: Block,
}

/// Nearly always empty: one word then.
#[allow(clippy::box_collection)]
type Stash = Option<Box<Vec<Stashed>>>;

/// How a segment finds the place of an entry it holds: from the key.
#[derive(Clone, Copy)]
pub(crate) struct Placing<'h> {
    pub hasher: &'h Hasher,
    pub stripe_bits: u32,
}

impl Placing<'_> {
    #[inline]
    pub fn of(self, key: &[u8]) -> Place {
        self.hasher.hash(key).place(self.stripe_bits)
    }
}

/// See the module's text. `depth` order bits are common to all its entries.
///
/// Positions are those of the index, and past the last of them the places in the stash. They stay while entries are only
/// looked at, overwritten or replaced.
///
/// The first cache line is all that a look-up needs: the addresses of index and pages.
#[repr(C, align(64))]
pub(crate) struct Segment {
    index: Index,
    pages: Pages,
    /// The epoch of the revoke log at which all entries without a stamp are known to be good.
    pub base: u64,
    stash: Stash,
    /// Records in the pages that own memory elsewhere.
    owners: u32,
    /// First whole second at which to look for dead entries: that of the first one to die, or up to [`REAP_PAUSE_S`]
    /// later.
    pub due: u32,
    pub depth: u32,
    /// Bytes of blocks and of values elsewhere.
    outside: u64,
}

const _: () = assert!(size_of::<Segment>() == 128);

/// First whole second at which this deadline has passed.
pub(crate) fn due_second(deadline: Millis) -> u32 {
    u32::try_from(deadline.seconds() + 1).unwrap_or(NEVER - 1).min(NEVER - 1)
}

/// Bytes that what begins at `stored`, a record or a stub, takes in its page.
#[inline]
fn stored_len(stored: &[u8]) -> usize {
    if stub::is_stub(stored) { stub::BYTES } else { Record::at(stored).len() }
}

/// The record of what begins at `stored`.
#[inline]
fn resolved(stored: &[u8]) -> &[u8] {
    if stub::is_stub(stored) { stub::block(stored) } else { stored }
}

fn outside_bytes(stored: &[u8]) -> u64 {
    let block = if stub::is_stub(stored) { stub::block(stored).len() as u64 } else { 0 };
    block + Record::at(resolved(stored)).owned_bytes()
}

fn is_owner(stored: &[u8]) -> bool {
    stub::is_stub(stored) || Record::at(stored).is_owner()
}

/// A block that holds `new`.
fn boxed(new: NewRecord<'_>) -> Block {
    let mut block = Block::with_room(new.len());
    new.write(&mut block);
    block
}

impl Segment {
    pub fn new(depth: u32, base: u64) -> Self {
        let (index, pages) = (Index::default(), Pages::default());
        Self { index, pages, base, stash: None, owners: 0, due: NEVER, depth, outside: 0 }
    }

    fn with_room(depth: u32, base: u64, entries: usize) -> Self {
        let mut segment = Self::new(depth, base);
        segment.index = Index::for_entries(entries);
        segment
    }

    fn stashed(&self) -> &[Stashed] {
        self.stash.as_deref().map_or(&[], Vec::as_slice)
    }

    fn stashed_mut(&mut self) -> &mut Vec<Stashed> {
        self.stash.get_or_insert_default()
    }

    pub fn len(&self) -> usize {
        self.index.len() + self.stashed().len()
    }

    /// Bytes of index, pages, stash, and of what records own elsewhere.
    pub fn memory(&self) -> u64 {
        let own = self.index.bytes() + self.pages.capacity();
        own as u64 + self.stash_bytes() + self.outside
    }

    fn stash_bytes(&self) -> u64 {
        let list =
            |list: &Vec<Stashed>| good_size(size_of::<Vec<Stashed>>()) as u64 + vec_bytes::<Stashed>(list.capacity());
        self.stash.as_deref().map_or(0, list)
    }

    /// Bytes of records in the pages.
    pub fn live_bytes(&self) -> usize {
        self.pages.live()
    }

    #[inline]
    fn at_spot(&self, spot: Spot) -> &[u8] {
        resolved(self.pages.rest(spot))
    }

    /// Position of `key`, and when it expires.
    #[inline]
    pub fn find(&self, place: Place, key: &[u8]) -> Option<(usize, Option<Millis>)> {
        let mut deadline = None;
        let end = self.index.find(place.short_tag(), |_, word| {
            let record = Record::at(self.at_spot(word.spot()));
            let is_it = record.key() == key;
            if is_it {
                deadline = record.deadline();
            }
            is_it
        });
        match end {
            Found::At(position) => Some((position, deadline)),
            Found::Nowhere { overflow: true } => self.find_stashed(key),
            Found::Nowhere { overflow: false } => None,
        }
    }

    #[cold]
    fn find_stashed(&self, key: &[u8]) -> Option<(usize, Option<Millis>)> {
        let at = self.stashed().iter().position(|stashed| Record::at(&stashed.block).key() == key)?;
        Some((self.index.positions() + at, Record::at(&self.stashed()[at].block).deadline()))
    }

    /// Positions of all entries with this 32-bit tag (two keys may share one).
    pub fn find_tag(&self, place: Place, placing: Placing<'_>) -> SmallVec<[usize; 2]> {
        let mut found = SmallVec::new();
        let is_it = |bytes: &[u8]| placing.of(Record::at(bytes).key()).tag() == place.tag();
        let end = self.index.find(place.short_tag(), |position, word| {
            if is_it(self.at_spot(word.spot())) {
                found.push(position);
            }
            false
        });
        if let Found::Nowhere { overflow: true } = end {
            let stashed = self.stashed().iter().enumerate().filter(|(_, stashed)| is_it(&stashed.block));
            found.extend(stashed.map(|(at, _)| self.index.positions() + at));
        }
        found
    }

    fn bytes(&self, position: usize) -> &[u8] {
        match position.checked_sub(self.index.positions()) {
            None => self.at_spot(self.word(position).spot()),
            Some(stashed) => &self.stashed()[stashed].block,
        }
    }

    fn bytes_mut(&mut self, position: usize) -> &mut [u8] {
        match position.checked_sub(self.index.positions()) {
            None => {
                let stored = self.pages.rest_mut(self.index.get(position).expect("an occupied position").spot());
                if stub::is_stub(stored) { stub::block_mut(stored) } else { stored }
            }
            Some(stashed) => &mut self.stashed_mut()[stashed].block,
        }
    }

    /// The record at a position that [`find`](Self::find) or an iteration gave.
    #[inline]
    pub fn record(&self, position: usize) -> Record<'_> {
        Record::at(self.bytes(position))
    }

    /// What the eviction policy knows of the entry at an occupied position.
    #[inline]
    pub fn word(&self, position: usize) -> Word {
        self.any_word(position).expect("the position is occupied: nothing was removed since it was found")
    }

    /// Like [`word`](Self::word) for any position below [`positions`](Self::positions).
    #[inline]
    pub fn any_word(&self, position: usize) -> Option<Word> {
        match position.checked_sub(self.index.positions()) {
            None => self.index.get(position),
            Some(stashed) => self.stashed().get(stashed).map(|stashed| stashed.word),
        }
    }

    pub fn word_mut(&mut self, position: usize) -> &mut Word {
        match position.checked_sub(self.index.positions()) {
            None => self.index.get_mut(position),
            Some(stashed) => &mut self.stashed_mut()[stashed].word,
        }
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.index.positions() + self.stashed().len()
    }

    /// Visits the entries whose order bits lie from `from` (a place in this segment) to before `end` (`None`: to the last
    /// there is). Where the short tags tell which those are, the others are not looked at.
    pub fn visit(&self, from: u64, end: Option<u64>, placing: Placing<'_>, mut each: impl FnMut(Record<'_>)) {
        let finest = (1 << (48 - SHORT_TAG_FROM)) - 1;
        let coarse = (from | end.unwrap_or(0)) & finest == 0;
        let lies_there = |order: u64| order >= from && end.is_none_or(|end| order < end);
        for (_, tag, word) in self.index.iter() {
            let known = Place { order: from }.with_short_tag(self.depth, tag).filter(|_| coarse);
            if known.is_some_and(|place| !lies_there(place.order)) {
                continue;
            }
            let record = Record::at(self.at_spot(word.spot()));
            if known.is_some() || lies_there(placing.of(record.key()).order) {
                each(record);
            }
        }
        for stashed in self.stashed() {
            let record = Record::at(&stashed.block);
            if lies_there(placing.of(record.key()).order) {
                each(record);
            }
        }
    }

    /// Asks for all records, before a pass over them.
    pub fn prefetch_all(&self) {
        self.pages.prefetch_all();
    }

    /// Every entry: position and record.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Record<'_>)> {
        let indexed = self.index.iter().map(|(position, _, word)| (position, Record::at(self.at_spot(word.spot()))));
        let stashed = self.stashed().iter().enumerate();
        indexed.chain(stashed.map(|(at, stashed)| (self.index.positions() + at, Record::at(&stashed.block))))
    }

    /// Bytes of memory the entry at a position takes, its share of the index not counted.
    pub fn entry_bytes(&self, position: usize) -> u64 {
        match position.checked_sub(self.index.positions()) {
            None => {
                let stored = self.pages.rest(self.word(position).spot());
                rounded(stored_len(stored)) as u64 + outside_bytes(stored)
            }
            Some(stashed) => {
                let block = &self.stashed()[stashed].block;
                block.len() as u64 + Record::at(block).owned_bytes()
            }
        }
    }

    /// Adds an entry whose key is not in the segment; gives its position, or the record back if the segment is full.
    pub fn insert<'a>(&mut self, place: Place, new: NewRecord<'a>) -> Result<usize, NewRecord<'a>> {
        if self.index.len() >= SEGMENT_ENTRIES {
            return Err(new);
        }
        let spot = self.write(new)?;
        Ok(self.enter(place.short_tag(), Word::default().moved(spot)))
    }

    /// Adds an entry to a segment that is full and cannot split.
    pub fn insert_anyway(&mut self, place: Place, new: NewRecord<'_>) -> usize {
        self.stash(place.short_tag(), Word::default(), boxed(new));
        self.positions() - 1
    }

    /// Writes a record to the pages, or its stub.
    fn write<'a>(&mut self, new: NewRecord<'a>) -> Result<Spot, NewRecord<'a>> {
        let len = new.len();
        if len <= RECORD_BYTES {
            let Some(spot) = self.room(len) else { return Err(new) };
            let stored = self.pages.rest_mut(spot);
            new.write(stored);
            let record = Record::at(stored);
            if record.is_owner() {
                self.owners += 1;
                self.outside += record.owned_bytes();
            }
            return Ok(spot);
        }
        let Some(spot) = self.room(stub::BYTES) else { return Err(new) };
        let stored = self.pages.rest_mut(spot);
        stub::write(stored, boxed(new));
        self.owners += 1;
        self.outside += outside_bytes(stored);
        Ok(spot)
    }

    fn room(&mut self, len: usize) -> Option<Spot> {
        if !self.pages.has_room(len) && self.pages.dead() * HOLES_PART_FULL >= self.pages.capacity() {
            self.close_holes();
        }
        self.pages.take(len, len)
    }

    /// Puts a slot into the index, which grows as it must.
    fn enter(&mut self, tag: u16, word: Word) -> usize {
        loop {
            if !self.index.is_full() {
                if let Some(position) = self.index.insert(tag, word) {
                    return position;
                }
                if self.index.len() * 100 < self.index.positions() * STASH_PERCENT {
                    let block = self.take_out(word.spot());
                    self.stash(tag, word, block);
                    return self.positions() - 1;
                }
            }
            self.relay(|index, left| Some(index.grown(|tag, word| left.push((tag, word)))));
        }
    }

    /// Replaces the index by another one for the same slots.
    fn relay(&mut self, lay: impl FnOnce(&Index, &mut SmallVec<[(u16, Word); 4]>) -> Option<Index>) {
        let mut left = SmallVec::new();
        let Some(index) = lay(&self.index, &mut left) else { return };
        self.index = index;
        for stashed in self.stash.iter().flat_map(|stash| stash.iter()) {
            self.index.mark_overflow(stashed.tag);
        }
        for (tag, word) in left {
            let block = self.take_out(word.spot());
            self.stash(tag, word, block);
        }
    }

    fn stash(&mut self, tag: u16, word: Word, block: Block) {
        if self.index.positions() == 0 {
            self.index = Index::for_entries(1);
        }
        self.index.mark_overflow(tag);
        self.outside += block.len() as u64 + Record::at(&block).owned_bytes();
        self.stashed_mut().push(Stashed { tag, word, block });
    }

    /// Takes a record out of the pages into a block, with what it owns.
    fn take_out(&mut self, spot: Spot) -> Block {
        let stored = self.pages.rest(spot);
        let (len, owner, outside) = (stored_len(stored), is_owner(stored), outside_bytes(stored));
        let block = if stub::is_stub(stored) { stub::take(stored) } else { Block::of(&stored[..len]) };
        self.pages.release(len);
        self.owners -= u32::from(owner);
        self.outside -= outside;
        block
    }

    /// Gives up a record in the pages and what it owns.
    fn free(&mut self, spot: Spot) {
        let stored = self.pages.rest(spot);
        let len = stored_len(stored);
        if is_owner(stored) {
            self.outside -= outside_bytes(stored);
            self.owners -= 1;
            record::release(resolved(stored));
            if stub::is_stub(stored) {
                drop(stub::take(stored));
            }
        }
        self.pages.release(len);
    }

    /// Removes an entry; [`tidy`](Self::tidy) is due afterwards.
    pub fn remove(&mut self, position: usize) {
        match position.checked_sub(self.index.positions()) {
            None => {
                self.free(self.word(position).spot());
                self.index.remove(position);
            }
            Some(stashed) => {
                self.outside -= self.entry_bytes(position);
                record::release(&self.stashed_mut().swap_remove(stashed).block);
            }
        }
    }

    /// Puts another record for the same key at a position; the record back if the segment is full.
    pub fn replace<'a>(&mut self, position: usize, new: NewRecord<'a>) -> Result<(), NewRecord<'a>> {
        if let Some(stashed) = position.checked_sub(self.index.positions()) {
            self.outside -= self.entry_bytes(position);
            let old = mem::replace(&mut self.stashed_mut()[stashed].block, boxed(new));
            record::release(&old);
            self.outside += self.entry_bytes(position);
            return Ok(());
        }
        let spot = self.write(new)?;
        let word = self.word(position);
        self.free(word.spot());
        *self.index.get_mut(position) = word.moved(spot);
        self.close_many_holes();
        Ok(())
    }

    /// Replaces value and deadline where they are, if the memory they take stays the same; else gives the value back.
    pub fn overwrite<'v>(
        &mut self,
        position: usize,
        value: NewValue<'v>,
        deadline: Option<Millis>,
    ) -> Result<(), NewValue<'v>> {
        let in_page = position < self.index.positions() && !stub::is_stub(self.pages.rest(self.word(position).spot()));
        let bytes = self.bytes_mut(position);
        let block = bytes.len();
        record::overwrite(bytes, value, deadline, |old, new| {
            if in_page { rounded(old) == rounded(new) } else { block::size_for(new) == block }
        })
    }

    /// Changes the deadline where it is; false (and no effect) if it does not fit there.
    pub fn overwrite_deadline(&mut self, position: usize, deadline: Option<Millis>) -> bool {
        record::overwrite_deadline(self.bytes_mut(position), deadline)
    }

    /// Writes over the stamp of an entry; false (and no effect) if it has none.
    pub fn restamp(&mut self, position: usize, stamp: u32) -> bool {
        record::restamp(self.bytes_mut(position), stamp)
    }

    /// Writes over the provenance of an entry that has one.
    pub fn set_provenance(&mut self, position: usize, provenance: &Provenance) {
        record::set_provenance(self.bytes_mut(position), provenance);
    }

    /// Writes over the windows of an entry that has some.
    pub fn rewindow(&mut self, position: usize, windows: &Windows) {
        record::rewindow(self.bytes_mut(position), windows);
    }

    /// Writes over an integer; false (and no effect) if the value is none.
    pub fn overwrite_int(&mut self, position: usize, n: i64) -> bool {
        record::overwrite_int(self.bytes_mut(position), n)
    }

    /// Edits a shared string in place.
    pub fn edit_shared(&mut self, position: usize, edit: impl FnOnce(&mut Vec<u8>)) {
        self.edit_owned(position, |bytes| record::edit_shared(bytes, edit));
    }

    /// Edits an object in place.
    pub fn edit_object<R>(&mut self, position: usize, edit: impl FnOnce(&mut Object) -> R) -> R {
        self.edit_owned(position, |bytes| record::edit_object(bytes, edit))
    }

    fn edit_owned<R>(&mut self, position: usize, edit: impl FnOnce(&mut [u8]) -> R) -> R {
        self.outside -= self.record(position).owned_bytes();
        let result = edit(self.bytes_mut(position));
        self.outside += self.record(position).owned_bytes();
        result
    }

    /// The objects of at least so many bytes.
    pub fn large_objects(&self, bytes: u64) -> impl Iterator<Item = Arc<Object>> {
        let records = (self.owners > 0 || !self.stashed().is_empty()).then(|| self.iter());
        records.into_iter().flatten().filter_map(move |(_, record)| record.large_object(bytes))
    }

    /// Notes that an entry may be freed from then on.
    pub fn note_end(&mut self, end: Millis) {
        self.due = self.due.min(due_second(end));
    }

    /// Asks for the cache line of the bucket a look-up will begin with.
    #[inline]
    pub fn prefetch_bucket(&self, place: Place) {
        self.index.prefetch(place.short_tag());
    }

    /// Asks for the record that a look-up will most likely compare with, as far as `bytes`.
    #[inline]
    pub fn prefetch_entry(&self, place: Place, bytes: usize) {
        if let Some(word) = self.index.likely(place.short_tag()) {
            self.pages.prefetch(word.spot(), bytes);
        }
    }

    /// Recounts everything this segment keeps count of; panics with what does not hold.
    pub fn invariants(&self) {
        let stored = || self.index.iter().map(|(_, _, word)| self.pages.rest(word.spot()));
        let live: usize = stored().map(|stored| rounded(stored_len(stored))).sum();
        assert_eq!(live, self.pages.live(), "bytes of records");
        assert!(self.pages.capacity() <= crate::pages::PAGES * PAGE_BYTES);
        let owners = stored().filter(|stored| is_owner(stored)).count();
        assert_eq!(owners, self.owners as usize, "records that own memory");
        let stashed = self.index.positions()..self.positions();
        let outside =
            stored().map(outside_bytes).sum::<u64>() + stashed.map(|position| self.entry_bytes(position)).sum::<u64>();
        assert_eq!(outside, self.outside, "bytes of blocks and of values elsewhere");
        self.iter().filter_map(|(_, record)| record.object()).for_each(Object::invariants);
        let due = self.iter().filter_map(|(_, record)| record.end()).map(due_second).min();
        assert!(
            due.is_none_or(|due| due.saturating_add(REAP_PAUSE_S) >= self.due),
            "no entry is due before its segment"
        );
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.owners > 0 {
            for (_, _, word) in self.index.iter() {
                let stored = self.pages.rest(word.spot());
                record::release(resolved(stored));
                if stub::is_stub(stored) {
                    drop(stub::take(stored));
                }
            }
        }
        for stashed in self.stashed() {
            record::release(&stashed.block);
        }
    }
}

mod moving;
#[cfg(test)]
mod tests;
