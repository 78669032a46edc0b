//! The keys of one (stripe, database): an extendible-hashing directory of segments in hash order, plus the side
//! indexes (expiry wheel, eviction queues) that name entries by tag.
//!
//! Every change keeps `bytes` equal to what a recount would find; `invariants` checks it.

use crate::entry::Slot;
use crate::evict::Queues;
use crate::hash::Place;
use crate::limits::{MAX_DEPTH, MERGE_ENTRIES, SEGMENT_ENTRIES};
use crate::memory::vec_bytes;
use crate::segment::{Placing, Segment};
use crate::time::{Cx, Millis};
use crate::wheel::{Filing, Wheel};
use smallvec::SmallVec;

/// What table operations need from the store.
#[derive(Clone, Copy)]
pub(crate) struct Env<'s> {
    pub placing: Placing<'s>,
    /// Whether the eviction queues are kept (a memory limit and a queueing policy are set).
    pub queueing: bool,
}

/// What a prefetch asks for; each stage needs the one before to have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The bucket a look-up begins with.
    Bucket,
    /// The entry that bucket leads to.
    Entry,
}

/// Where an entry lies; valid until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub segment: u32,
    pub bucket: usize,
}

/// See the module's text. An empty table owns no memory.
#[derive(Default)]
pub(crate) struct Table {
    /// `2^depth` indexes into `segments`, in hash order; empty while there is no segment.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
    /// Indexes of `segments` that stand empty after merges.
    vacant: Vec<u32>,
    len: usize,
    /// Entries with a deadline, and the sum of their deadlines in ms (for the average TTL).
    expiring: usize,
    deadline_sum_ms: u128,
    bytes: u64,
    wheel: Option<Box<Wheel>>,
    queues: Queues,
    /// Set by every change to a live entry; read and cleared by the stripe for its observers.
    pub changed: bool,
    /// Entries freed because their deadline had passed; collected by the stripe.
    pub expired: u64,
}

impl Table {
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn expiring(&self) -> usize {
        self.expiring
    }
    pub fn deadline_sum_ms(&self) -> u128 {
        self.deadline_sum_ms
    }
    /// Bytes of entries, index and side indexes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn wheel(&self) -> Option<&Wheel> {
        self.wheel.as_deref()
    }
    pub fn queues(&mut self) -> &mut Queues {
        &mut self.queues
    }

    #[inline]
    fn segment_at(&self, place: Place) -> Option<u32> {
        self.directory.get(place.directory_index(self.depth)).copied()
    }

    /// Where `key` is, dead or alive.
    #[inline]
    pub fn find(&self, place: Place, key: &[u8]) -> Option<At> {
        let segment = self.segment_at(place)?;
        let bucket = self.segments[segment as usize].find(place, key)?;
        Some(At { segment, bucket })
    }

    /// Asks for the bucket of a place, then (second stage) for the entry in it.
    #[inline]
    pub fn prefetch(&self, place: Place, stage: Stage) {
        if let Some(segment) = self.segment_at(place) {
            let segment = &self.segments[segment as usize];
            match stage {
                Stage::Bucket => segment.prefetch_bucket(place),
                Stage::Entry => segment.prefetch_entry(place),
            }
        }
    }

    /// Entries with this tag: nearly always one at most.
    pub fn find_tag(&self, tag: u32, env: Env<'_>) -> SmallVec<[At; 2]> {
        let Some(segment) = self.segment_at(Place::of_tag(tag)) else {
            return SmallVec::new();
        };
        let buckets = self.segments[segment as usize].find_tag(tag, env.placing);
        buckets.into_iter().map(|bucket| At { segment, bucket }).collect()
    }

    #[inline]
    pub fn slot(&self, at: At) -> &Slot {
        self.segments[at.segment as usize].slot(at.bucket)
    }

    #[inline]
    pub fn slot_mut(&mut self, at: At) -> &mut Slot {
        self.segments[at.segment as usize].slot_mut(at.bucket)
    }

    /// Adds an entry whose key is not in the table.
    pub fn insert(&mut self, place: Place, mut slot: Slot, cx: &Cx, env: Env<'_>) -> At {
        let segment = self.room_for(place, env);
        self.len += 1;
        let bytes = slot.memory();
        self.bytes += bytes;
        if env.queueing {
            let before = self.queues.memory();
            if self.queues.is_crowded() {
                let mut tags = self.queues.take_small();
                let mut seen = std::collections::HashSet::with_capacity(tags.len());
                // Of a tag's doubles the last one stands for the entry.
                tags.reverse();
                tags.retain(|tag| {
                    seen.insert(*tag) && self.find_tag(*tag, env).iter().any(|at| self.slot(*at).in_small())
                });
                tags.reverse();
                self.queues.put_small(tags);
            }
            self.queues.admit(place.tag(), &mut slot, bytes);
            self.bytes = self.bytes + self.queues.memory() - before;
        }
        let deadline = slot.deadline();
        let before = self.segments[segment as usize].memory();
        let bucket = self.segments[segment as usize].insert(place, slot, env.placing);
        self.bytes = self.bytes + self.segments[segment as usize].memory() - before;
        let at = At { segment, bucket };
        if let Some(deadline) = deadline {
            self.expiring += 1;
            self.deadline_sum_ms += u128::from(deadline.0);
            self.file(at, place, None, deadline, cx, env);
        }
        at
    }

    /// Puts another slot for the same key in the place of one.
    pub fn replace(&mut self, at: At, place: Place, mut slot: Slot, cx: &Cx, env: Env<'_>) {
        let new_bytes = slot.memory();
        let new_deadline = slot.deadline();
        let old = self.slot_mut(at);
        slot.inherit_bits(old);
        let old = core::mem::replace(old, slot);
        let old_bytes = old.memory();
        self.bytes = self.bytes + new_bytes - old_bytes;
        if old.in_small() {
            self.queues.resized(old_bytes, new_bytes);
        }
        self.deadline_changed(at, place, old.deadline(), new_deadline, cx, env);
    }

    /// Notes that an entry's own memory changed by `delta` bytes in place.
    pub fn resized(&mut self, at: At, delta: i64) {
        self.bytes = self.bytes.wrapping_add_signed(delta);
        if self.slot(at).in_small() {
            self.queues.resized(0, 0u64.wrapping_add_signed(delta));
        }
    }

    /// Keeps counts and wheel right after the deadline of an entry went from `old` to `new`.
    pub fn deadline_changed(
        &mut self,
        at: At,
        place: Place,
        old: Option<Millis>,
        new: Option<Millis>,
        cx: &Cx,
        env: Env<'_>,
    ) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.expiring -= 1;
            self.deadline_sum_ms -= u128::from(old.0);
        }
        match new {
            Some(new) => {
                self.expiring += 1;
                self.deadline_sum_ms += u128::from(new.0);
                self.file(at, place, old, new, cx, env);
            }
            None => self.slot_mut(at).set_mark(None),
        }
    }

    /// Files an entry's deadline in the wheel, unless the record filed for an earlier one will find it anyway.
    fn file(&mut self, at: At, place: Place, old: Option<Millis>, new: Millis, cx: &Cx, env: Env<'_>) {
        if old.is_some_and(|old| old <= new) {
            return;
        }
        let (tag, live) = (place.tag(), self.expiring);
        let (mark, swept) = self.with_wheel(cx, |wheel| (wheel.file(tag, due_second(new)), wheel.sweep(live)));
        self.slot_mut(at).set_mark(Some(mark));
        for filing in swept {
            self.file_again(filing, cx, env);
        }
    }

    pub fn with_wheel<R>(&mut self, cx: &Cx, act: impl FnOnce(&mut Wheel) -> R) -> R {
        let mut wheel = match self.wheel.take() {
            Some(wheel) => wheel,
            None => {
                let wheel = Wheel::new(cx.now.seconds());
                self.bytes += wheel.memory();
                wheel
            }
        };
        let before = wheel.memory();
        let result = act(&mut wheel);
        self.bytes = self.bytes + wheel.memory() - before;
        self.wheel = Some(wheel);
        result
    }

    /// Files the entries again that a record taken from the wheel stands for; there may be none left.
    pub fn file_again(&mut self, filing: Filing, cx: &Cx, env: Env<'_>) {
        for at in self.find_tag(filing.tag, env) {
            let slot = self.slot(at);
            if slot.mark() == Some(filing.mark)
                && let Some(deadline) = slot.deadline()
            {
                let mark = self.with_wheel(cx, |wheel| wheel.file(filing.tag, due_second(deadline)));
                self.slot_mut(at).set_mark(Some(mark));
            }
        }
    }

    /// Frees entries whose deadline has passed, looking at no more than about `limit` wheel records. Returns whether all
    /// that is due was looked at.
    pub fn reap(&mut self, limit: usize, cx: &Cx, env: Env<'_>) -> bool {
        let Some(wheel) = &mut self.wheel else {
            return true;
        };
        let mut due = Vec::new();
        let caught_up = wheel.advance(cx.now.seconds(), limit, &mut due);
        for filing in due {
            let place = Place::of_tag(filing.tag);
            while let Some(at) =
                self.find_tag(filing.tag, env).into_iter().find(|at| is_past(self.slot(*at).deadline(), cx))
            {
                self.remove(at, place, env);
                self.expired += 1;
            }
            self.file_again(filing, cx, env);
        }
        if let Some(wheel) = self.wheel.take_if(|wheel| wheel.is_empty()) {
            self.bytes -= wheel.memory();
        }
        caught_up
    }

    /// Frees the entry of `key` if its deadline has passed.
    pub fn remove_dead(&mut self, place: Place, key: &[u8], cx: &Cx, env: Env<'_>) {
        if let Some(at) = self.find(place, key)
            && is_past(self.slot(at).deadline(), cx)
        {
            self.remove(at, place, env);
            self.expired += 1;
        }
    }

    /// Takes an entry out. `place` may carry the tag alone.
    pub fn remove(&mut self, at: At, place: Place, env: Env<'_>) -> Slot {
        let segment = &mut self.segments[at.segment as usize];
        let before = segment.memory();
        let slot = segment.remove(at.bucket);
        segment.shrink(env.placing);
        self.bytes = self.bytes + segment.memory() - before;
        let bytes = slot.memory();
        self.bytes -= bytes;
        self.len -= 1;
        if let Some(deadline) = slot.deadline() {
            self.expiring -= 1;
            self.deadline_sum_ms -= u128::from(deadline.0);
        }
        if slot.in_small() {
            self.queues.left_small(bytes);
        }
        if self.len == 0 {
            *self = Self { changed: self.changed, expired: self.expired, ..Self::default() };
        } else {
            self.try_merge(place, env);
        }
        slot
    }

    /// The segment for `place`, with room for one more entry.
    fn room_for(&mut self, place: Place, env: Env<'_>) -> u32 {
        let Some(segment) = self.segment_at(place) else {
            self.resize_index(|table| {
                table.segments.push(Segment::new(0, 0));
                table.directory.push(0);
            });
            return 0;
        };
        let full = &self.segments[segment as usize];
        if full.len() < SEGMENT_ENTRIES || full.depth >= MAX_DEPTH {
            return segment;
        }
        self.split(segment, place, env);
        self.segment_at(place).expect("a table with a segment has a directory")
    }

    fn split(&mut self, segment: u32, place: Place, env: Env<'_>) {
        let depth = self.segments[segment as usize].depth;
        if depth == self.depth {
            self.resize_index(|table| {
                table.directory = table.directory.iter().flat_map(|index| [*index, *index]).collect();
                table.depth += 1;
            });
        }
        let before = self.segments[segment as usize].memory();
        let high = self.segments[segment as usize].split(env.placing);
        let grown = self.segments[segment as usize].memory() + high.memory();
        self.bytes = self.bytes + grown - before;
        let index = match self.vacant.pop() {
            Some(index) => {
                self.segments[index as usize] = high;
                index
            }
            None => {
                self.resize_index(|table| table.segments.push(high));
                (self.segments.len() - 1) as u32
            }
        };
        let span = self.span(place, depth);
        let middle = span.start + span.len() / 2;
        self.directory[middle..span.end].fill(index);
    }

    /// The directory entries that share the first `depth` bits of `place`.
    fn span(&self, place: Place, depth: u32) -> core::ops::Range<usize> {
        let shift = self.depth - depth;
        let start = (place.directory_index(self.depth) >> shift) << shift;
        start..start + (1 << shift)
    }

    /// Joins the segment of `place` with its buddy where both are nearly empty.
    fn try_merge(&mut self, place: Place, env: Env<'_>) {
        let Some(segment) = self.segment_at(place) else {
            return;
        };
        let (depth, len) = {
            let segment = &self.segments[segment as usize];
            (segment.depth, segment.len())
        };
        if depth == 0 || len > MERGE_ENTRIES / 2 {
            return;
        }
        let both = self.span(place, depth - 1);
        let middle = both.start + both.len() / 2;
        let (low, high) = (self.directory[both.start], self.directory[middle]);
        let (low_len, high_len) = (self.segments[low as usize].len(), self.segments[high as usize].len());
        let same_depth = self.segments[low as usize].depth == self.segments[high as usize].depth;
        if !same_depth || low_len + high_len > MERGE_ENTRIES {
            return;
        }
        let buddy = core::mem::replace(&mut self.segments[high as usize], Segment::new(0, 0));
        let before = buddy.memory() + self.segments[low as usize].memory();
        self.segments[low as usize].merge(buddy, env.placing);
        self.bytes = self.bytes + self.segments[low as usize].memory() - before;
        self.directory[both].fill(low);
        self.resize_index(|table| table.vacant.push(high));
        self.shrink_directory();
    }

    /// Halves the directory while no segment needs its last bit and the directory is far larger than the segments.
    fn shrink_directory(&mut self) {
        let live = self.segments.len() - self.vacant.len();
        if self.directory.len() < 8 * live || self.directory.len() < 8 {
            return;
        }
        let deepest = self.directory.iter().map(|index| self.segments[*index as usize].depth).max().unwrap_or(0);
        if deepest >= self.depth {
            return;
        }
        self.resize_index(|table| {
            table.directory = table.directory.iter().step_by(1 << (table.depth - deepest)).copied().collect();
            table.depth = deepest;
            table.pack();
        });
    }

    /// Closes the gaps that merges left in `segments`.
    fn pack(&mut self) {
        let mut moved = vec![0; self.segments.len()];
        let vacant: std::collections::HashSet<u32> = self.vacant.drain(..).collect();
        let mut packed = Vec::with_capacity(self.segments.len() - vacant.len());
        for (index, segment) in self.segments.drain(..).enumerate() {
            if !vacant.contains(&(index as u32)) {
                moved[index] = packed.len() as u32;
                packed.push(segment);
            }
        }
        self.segments = packed;
        self.vacant = Vec::new();
        for index in &mut self.directory {
            *index = moved[*index as usize];
        }
    }

    fn resize_index(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.index_bytes();
        act(self);
        self.bytes = self.bytes + self.index_bytes() - before;
    }

    fn index_bytes(&self) -> u64 {
        vec_bytes::<u32>(self.directory.capacity())
            + vec_bytes::<Segment>(self.segments.capacity())
            + vec_bytes::<u32>(self.vacant.capacity())
    }

    /// Visits, in hash order from `from`, the entries of one stretch of order bits expected to hold `wanted` entries;
    /// at most one segment. Returns where the next stretch begins, or `None` at the end of the table.
    pub fn visit(
        &self,
        from: u64,
        wanted: usize,
        granule_bits: u32,
        env: Env<'_>,
        mut each: impl FnMut(Place, &Slot),
    ) -> Option<u64> {
        let segment = &self.segments[self.segment_at(Place { order: from })? as usize];
        let span_bits = 64 - segment.depth;
        let parts = segment.len().div_ceil(wanted.max(1)).max(1).next_power_of_two().ilog2();
        let stretch_bits = span_bits.saturating_sub(parts).max(granule_bits);
        let segment_end = end_of(from, span_bits);
        let end = if stretch_bits >= span_bits {
            segment_end
        } else {
            let end = from.checked_add(1 << stretch_bits);
            match (end, segment_end) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        };
        for slot in segment.iter() {
            let place = env.placing.of(slot);
            if place.order >= from && end.is_none_or(|end| place.order < end) {
                each(place, slot);
            }
        }
        end
    }

    /// The segment at a place in hash order, for the eviction hand: its index, and where the next one begins.
    pub fn segment_from(&self, order: u64) -> Option<(u32, Option<u64>)> {
        let index = self.segment_at(Place { order })?;
        Some((index, end_of(order, 64 - self.segments[index as usize].depth)))
    }

    pub fn segment(&self, index: u32) -> &Segment {
        &self.segments[index as usize]
    }

    /// Bytes to add after a change of the queues' own memory.
    pub fn with_queues<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.queues.memory();
        let result = act(self);
        self.bytes = self.bytes + self.queues.memory() - before;
        result
    }

    /// Frees up to `count` segments from the end of a detached table; gives the bytes freed, and true when it is empty.
    pub fn drain_segments(&mut self, count: usize) -> (u64, bool) {
        let before = self.bytes;
        for _ in 0..count {
            match self.segments.pop() {
                Some(segment) => {
                    self.bytes -= segment.memory() + segment.iter().map(Slot::memory).sum::<u64>();
                }
                None => {
                    self.bytes = 0;
                    return (before, true);
                }
            }
        }
        (before - self.bytes, false)
    }

    /// Checks everything that must hold between operations; panics with what does not.
    pub fn invariants(&self, env: Env<'_>) {
        let mut bytes = self.index_bytes() + self.queues.memory() + self.wheel.as_ref().map_or(0, |w| w.memory());
        let (mut len, mut expiring, mut sum, mut small) = (0, 0, 0u128, (0, 0));
        let filed: std::collections::HashSet<Filing> =
            self.wheel.as_ref().map_or_else(Default::default, |wheel| wheel.filed().into_iter().collect());
        for (index, segment) in self.segments.iter().enumerate() {
            bytes += segment.memory();
            if self.vacant.contains(&(index as u32)) {
                assert_eq!(segment.len(), 0, "a vacant segment is empty");
                continue;
            }
            for slot in segment.iter() {
                let place = env.placing.of(slot);
                assert_eq!(self.segment_at(place), Some(index as u32), "an entry lies where the directory leads");
                bytes += slot.memory();
                len += 1;
                if slot.in_small() {
                    small = (small.0 + 1, small.1 + slot.memory());
                }
                let filing = slot.mark().map(|mark| Filing { tag: place.tag(), mark });
                assert_eq!(slot.mark().is_some(), slot.deadline().is_some(), "a mark if and only if a deadline");
                assert!(filing.is_none_or(|filing| filed.contains(&filing)), "an expiring entry is in the wheel");
                if let Some(deadline) = slot.deadline() {
                    expiring += 1;
                    sum += u128::from(deadline.0);
                }
            }
        }
        assert_eq!(len, self.len, "count of entries");
        assert_eq!(expiring, self.expiring, "count of deadlines");
        assert_eq!(sum, self.deadline_sum_ms, "sum of deadlines");
        assert_eq!(small, self.queues.small_holds(), "entries and bytes of the small queue");
        assert_eq!(bytes, self.bytes, "bytes recounted");
        assert!(self.directory.is_empty() || self.directory.len() == 1 << self.depth);
    }
}

/// First place after the aligned stretch of `2^bits` that holds `order`; `None` if it is the last one.
fn end_of(order: u64, bits: u32) -> Option<u64> {
    if bits >= 64 {
        return None;
    }
    ((order >> bits) + 1).checked_shl(bits).filter(|end| end >> bits == (order >> bits) + 1 && *end != 0)
}

/// First whole second at which this deadline has passed.
fn due_second(deadline: Millis) -> u64 {
    deadline.seconds() + 1
}

/// Whether a deadline has passed.
#[inline]
pub(crate) fn is_past(deadline: Option<Millis>, cx: &Cx) -> bool {
    deadline.is_some_and(|deadline| deadline <= cx.now)
}

// A table stands inside its stripe: a few cache lines.
const _: () = assert!(size_of::<Table>() <= 384);

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn ends_of_stretches() {
        assert_eq!(end_of(0, 64), None);
        assert_eq!(end_of(5, 63), Some(1 << 63));
        assert_eq!(end_of(u64::MAX, 63), None);
        assert_eq!(end_of(0x10, 4), Some(0x20));
        assert_eq!(end_of(u64::MAX - 3, 2), None);
    }
}
