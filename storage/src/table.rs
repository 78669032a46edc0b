//! The keys of one (stripe, database): an extendible-hashing directory of segments in hash order, plus the eviction
//! queues, which name entries by tag.
//!
//! Every change keeps `bytes` equal to what a recount would find; `invariants` checks it.

use crate::ext::{OwnedExt, Provenance, Windows};
use crate::fields::Object;
use crate::hash::Place;
use crate::index::Word;
use crate::limits::{LARGE_OBJECT_BYTES, MAX_DEPTH, MERGE_BYTES, MERGE_ENTRIES, MOVE_BYTES, MOVE_SEGMENTS};
use crate::memory::vec_bytes;
use crate::queues::Queues;
use crate::record::{NewRecord, Record};
use crate::revoke::{RevokeLog, Softs, Verdict};
use crate::segment::{NEVER, Placing, Segment, due_second};
use crate::slot::{LONG_AGO, windows_of};
use crate::stripe::Physical;
use crate::time::{Cx, Millis};
use crate::value::NewValue;
use smallvec::SmallVec;
use std::sync::Arc;

/// Bytes of a record that a prefetch asks for before anything is known, and at most: four cache lines.
const USUAL_BYTES: u32 = 96;
const USUAL_BYTES_MAX: u32 = 256;

/// What table operations need from the store.
#[derive(Clone, Copy)]
pub(crate) struct Env<'s> {
    pub placing: Placing<'s>,
    /// What was revoked, and the table of this environment by its number there.
    pub log: &'s RevokeLog,
    /// Whether this thread holds the log.
    pub log_held: bool,
    pub table: Physical,
    /// Whether the eviction queues are kept (a memory limit and a queueing policy are set).
    pub queueing: bool,
}

/// What a prefetch asks for; each stage needs the one before to have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The segment a key belongs to.
    Segment,
    /// The bucket a look-up begins with.
    Bucket,
    /// The entry that bucket leads to.
    Entry,
}

/// Why an entry that is there must not be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its deadline has passed.
    Expired,
    /// A record of the revoke log matches it.
    Revoked,
}

/// What an access did to the value of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Done {
    /// Nothing, or it changed something beside the value.
    Nothing,
    /// It wrote one.
    Wrote,
    /// It said that there is to be none, whether there was one or not.
    Removed,
}

/// Where an entry lies; valid until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub segment: u32,
    pub position: usize,
}

/// See the module's text. An empty table owns no memory.
///
/// What a look-up needs comes first, in one cache line with the stripe's lock.
#[repr(C)]
pub(crate) struct Table {
    /// `2^depth` indexes into `segments`, in hash order; empty while there is no segment.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    depth: u32,
    /// Mean bytes of a record when a segment was last split: how much a prefetch asks for.
    usual_bytes: u32,
    /// The first of the segments' due seconds, or one before it.
    pub due: u32,
    /// Indexes of `segments` that stand empty after merges.
    vacant: Vec<u32>,
    len: usize,
    /// Entries with a deadline, and the sum of their deadlines in ms (for the average TTL), each [capped](capped_ms).
    expiring: usize,
    deadline_sum_ms: u64,
    bytes: u64,
    /// Where in hash order the next search for the dead begins.
    pub reap_from: u64,
    /// The epoch the revoke sweeper last brought all segments to, and where in hash order it goes on.
    pub swept: u64,
    pub sweep_from: u64,
    /// The last round of moving begun here, and where in hash order it goes on; `None` once done.
    moving: u32,
    move_from: Option<u64>,
    queues: Queues,
    /// Set by every change to a live entry; read and cleared by the stripe for its observers.
    pub changed: bool,
    /// What was done to the value, for loads under way; read and cleared likewise.
    pub done: Done,
    /// Entries freed because their deadline had passed, and because they were revoked; collected by the stripe.
    pub expired: u64,
    pub revoked: u64,
    /// Large objects whose entries are gone, to be freed in slices; collected likewise.
    #[allow(clippy::box_collection)] // nearly always absent: one word in the table
    pub buried: Option<Box<Vec<Arc<Object>>>>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            directory: Vec::new(),
            segments: Vec::new(),
            depth: 0,
            usual_bytes: USUAL_BYTES,
            vacant: Vec::new(),
            len: 0,
            expiring: 0,
            deadline_sum_ms: 0,
            bytes: 0,
            due: NEVER,
            reap_from: 0,
            swept: 0,
            sweep_from: 0,
            moving: 0,
            move_from: None,
            queues: Queues::default(),
            changed: false,
            done: Done::Nothing,
            expired: 0,
            revoked: 0,
            buried: None,
        }
    }
}

impl Table {
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn expiring(&self) -> usize {
        self.expiring
    }
    pub fn deadline_sum_ms(&self) -> u64 {
        self.deadline_sum_ms
    }
    /// Bytes of entries, index and side indexes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn queues(&mut self) -> &mut Queues {
        &mut self.queues
    }

    #[inline]
    fn segment_at(&self, place: Place) -> Option<u32> {
        self.directory.get(place.directory_index(self.depth)).copied()
    }

    /// Where `key` is, dead or alive, and when it expires.
    #[inline]
    pub fn find(&self, place: Place, key: &[u8]) -> Option<(At, Option<Millis>)> {
        let segment = self.segment_at(place)?;
        let (position, deadline) = self.segments[segment as usize].find(place, key)?;
        Some((At { segment, position }, deadline))
    }

    /// Why the entry with this deadline must not be seen; `None` if it is live. Changes nothing.
    #[inline]
    pub fn death(&self, at: At, deadline: Option<Millis>, cx: &Cx, env: Env<'_>) -> Option<Death> {
        if is_past(deadline, cx) {
            return Some(Death::Expired);
        }
        if env.log.is_quiet() { None } else { self.death_by_log(at.segment, self.record(at), cx, env) }
    }

    /// The same for who came for the entry, which may move: what the log says of it is written to it, so that the log is
    /// not searched for that again.
    #[inline]
    pub fn look_at(
        &mut self,
        at: &mut At,
        deadline: Option<Millis>,
        place: Place,
        cx: &Cx,
        env: Env<'_>,
    ) -> Option<Death> {
        if is_past(deadline, cx) {
            return Some(Death::Expired);
        }
        if env.log.is_quiet() { None } else { self.search_log(at, place, cx, env) }
    }

    #[cold]
    fn search_log(&mut self, at: &mut At, place: Place, cx: &Cx, env: Env<'_>) -> Option<Death> {
        let verdict = self.judge(at.segment, self.record(*at), env);
        if verdict.found.is_hard {
            return Some(Death::Revoked);
        }
        if !verdict.found.soft.is_empty() {
            *at = self.soften(*at, place, &verdict.found.soft, verdict.epoch as u32, env);
            return is_past(self.record(*at).deadline(), cx).then_some(Death::Expired);
        }
        if verdict.restamp {
            self.segments[at.segment as usize].restamp(at.position, verdict.epoch as u32);
        }
        None
    }

    /// Writes to an entry what soft revokes as far as that stamp make of it; gives where it is now.
    pub fn soften(&mut self, at: At, place: Place, softs: &Softs, stamp: u32, env: Env<'_>) -> At {
        let record = self.record(at);
        let (key, value) = (record.key().to_vec(), record.value().into_owned());
        let (deadline, windows) = softs.apply(record.deadline(), windows_of(record));
        let mut ext = OwnedExt::from(record.ext());
        (ext.stamp, ext.windows) = (Some(stamp), Some(windows));
        self.replace(at, place, NewRecord::new(&key, value.as_new(), deadline, ext.as_new()), env)
    }

    fn judge(&self, segment: u32, record: Record<'_>, env: Env<'_>) -> Verdict {
        env.log.judge(env.table, record, self.segments[segment as usize].base, env.log_held)
    }

    fn death_by_log(&self, segment: u32, record: Record<'_>, cx: &Cx, env: Env<'_>) -> Option<Death> {
        let found = self.judge(segment, record, env).found;
        let is_over = || is_past(found.soft.apply(record.deadline(), windows_of(record)).0, cx);
        if found.is_hard {
            Some(Death::Revoked)
        } else {
            (!found.soft.is_empty() && is_over()).then_some(Death::Expired)
        }
    }

    /// Whether an entry past its deadline still counts for those who load: it is no older than it may be, and no hard revoke
    /// has met it. To know of an absence is worth nothing after a soft one either.
    pub fn is_kept(&self, at: At, cx: &Cx, env: Env<'_>) -> bool {
        let record = self.record(at);
        if record.ext().windows().is_none() || is_past(record.end(), cx) {
            return false;
        }
        let found = self.judge(at.segment, record, env).found;
        !(found.is_hard || record.ext().is_absent() && found.latest > 0)
    }

    /// Whether an entry of that segment is to be seen.
    pub fn is_live(&self, segment: u32, record: Record<'_>, cx: &Cx, env: Env<'_>) -> bool {
        !is_past(record.deadline(), cx) && (env.log.is_quiet() || self.death_by_log(segment, record, cx, env).is_none())
    }

    /// The epoch that a new entry at a place counts from, if it has no stamp of its own.
    fn base_at(&self, place: Place, env: Env<'_>) -> u64 {
        self.segment_at(place).map_or_else(|| env.log.epoch(), |segment| self.segments[segment as usize].base)
    }

    /// The stamp a new entry needs.
    #[inline]
    pub fn stamp_for(&self, place: Place, key: &[u8], env: Env<'_>) -> Option<u32> {
        if env.log.is_quiet() {
            None
        } else {
            env.log.stamp_for(env.table, key, self.base_at(place, env), env.log_held)
        }
    }

    /// Asks for what a look-up of a place needs, stage by stage.
    #[inline]
    pub fn prefetch(&self, place: Place, stage: Stage) {
        if let Some(segment) = self.segment_at(place) {
            let segment = &self.segments[segment as usize];
            match stage {
                Stage::Segment => crate::prefetch::line(segment),
                Stage::Bucket => segment.prefetch_bucket(place),
                Stage::Entry => segment.prefetch_entry(place, self.usual_bytes as usize),
            }
        }
    }

    /// Entries with this tag: nearly always one at most.
    pub fn find_tag(&self, tag: u32, env: Env<'_>) -> SmallVec<[At; 2]> {
        let place = Place::of_tag(tag);
        let Some(segment) = self.segment_at(place) else {
            return SmallVec::new();
        };
        let positions = self.segments[segment as usize].find_tag(place, env.placing);
        positions.into_iter().map(|position| At { segment, position }).collect()
    }

    #[inline]
    pub fn record(&self, at: At) -> Record<'_> {
        self.segments[at.segment as usize].record(at.position)
    }

    /// What the eviction policy knows of an entry.
    #[inline]
    pub fn word(&self, at: At) -> Word {
        self.segments[at.segment as usize].word(at.position)
    }

    pub fn word_mut(&mut self, at: At) -> &mut Word {
        self.segments[at.segment as usize].word_mut(at.position)
    }

    /// Bytes of memory an entry takes, its share of the index not counted.
    pub fn entry_bytes(&self, at: At) -> u64 {
        self.segments[at.segment as usize].entry_bytes(at.position)
    }

    /// Changes a segment and books what that takes or gives.
    pub fn with_segment<R>(&mut self, index: u32, act: impl FnOnce(&mut Segment) -> R) -> R {
        let segment = &mut self.segments[index as usize];
        let before = segment.memory();
        let result = act(segment);
        self.bytes = self.bytes + segment.memory() - before;
        result
    }

    /// Adds an entry whose key is not in the table.
    pub fn insert(&mut self, place: Place, new: NewRecord<'_>, env: Env<'_>) -> At {
        let deadline = new.deadline;
        let mut new = Some(new);
        let at = loop {
            let segment = self.segment_for(place, env);
            let record = new.take().expect("handed back by the failed attempt");
            match self.with_segment(segment, |segment| segment.insert(place, record)) {
                Ok(position) => break At { segment, position },
                Err(record) if self.split(place, env) => new = Some(record),
                Err(record) => {
                    let position = self.with_segment(segment, |segment| segment.insert_anyway(place, record));
                    break At { segment, position };
                }
            }
        };
        self.len += 1;
        if env.queueing {
            self.enqueue(at, place, env);
        }
        self.deadline_changed(at, None, deadline);
        at
    }

    /// Puts another record for the same key in the place of one; gives where it is now.
    pub fn replace(&mut self, at: At, place: Place, new: NewRecord<'_>, env: Env<'_>) -> At {
        let old_deadline = self.record(at).deadline();
        let (new_deadline, old_bytes) = (new.deadline, self.entry_bytes(at));
        self.bury_object(at);
        let mut at = at;
        let mut new = Some(new);
        loop {
            let record = new.take().expect("handed back by the failed attempt");
            match self.with_segment(at.segment, |segment| segment.replace(at.position, record)) {
                Ok(()) => break,
                Err(record) => {
                    let key = record.key();
                    if self.split(place, env) {
                        (at, _) = self.find(place, key).expect("a split keeps every key");
                        new = Some(record);
                        continue;
                    }
                    at.position = self.with_segment(at.segment, |segment| {
                        let word = segment.word(at.position);
                        segment.remove(at.position);
                        let position = segment.insert_anyway(place, record);
                        *segment.word_mut(position) = word;
                        position
                    });
                    break;
                }
            }
        }
        self.resized(at, old_bytes);
        self.deadline_changed(at, old_deadline, new_deadline);
        at
    }

    /// Replaces value and deadline of an entry where it lies, if it may stay there; else gives the value back.
    pub fn overwrite<'v>(&mut self, at: At, value: NewValue<'v>, deadline: Option<Millis>) -> Result<(), NewValue<'v>> {
        let old = self.record(at).deadline();
        self.segments[at.segment as usize].overwrite(at.position, value, deadline)?;
        self.deadline_changed(at, old, deadline);
        Ok(())
    }

    /// Changes a deadline in place; false (and no effect) if it does not fit there.
    pub fn overwrite_deadline(&mut self, at: At, deadline: Option<Millis>) -> bool {
        let old = self.record(at).deadline();
        let done = self.segments[at.segment as usize].overwrite_deadline(at.position, deadline);
        if done {
            self.deadline_changed(at, old, deadline);
        }
        done
    }

    /// Writes over the provenance of an entry that has one.
    pub fn set_provenance(&mut self, at: At, provenance: &Provenance) {
        self.segments[at.segment as usize].set_provenance(at.position, provenance);
    }

    /// Writes over the windows of an entry that has some, with its deadline, which must fit where it is.
    pub fn rewindow(&mut self, at: At, windows: &Windows) {
        let deadline = self.record(at).deadline();
        self.segments[at.segment as usize].rewindow(at.position, windows);
        self.deadline_changed(at, deadline, deadline);
    }

    /// Writes over an integer; false (and no effect) if the value is none.
    pub fn overwrite_int(&mut self, at: At, n: i64) -> bool {
        self.segments[at.segment as usize].overwrite_int(at.position, n)
    }

    /// Edits a shared string in place.
    pub fn edit_shared(&mut self, at: At, edit: impl FnOnce(&mut Vec<u8>)) {
        let old_bytes = self.entry_bytes(at);
        self.with_segment(at.segment, |segment| segment.edit_shared(at.position, edit));
        self.resized(at, old_bytes);
    }

    /// Edits an object in place.
    pub fn edit_object<R>(&mut self, at: At, edit: impl FnOnce(&mut Object) -> R) -> R {
        let old_bytes = self.entry_bytes(at);
        let result = self.with_segment(at.segment, |segment| segment.edit_object(at.position, edit));
        self.resized(at, old_bytes);
        result
    }

    /// Keeps the object of an entry that is about to go, where freeing it at once would take long.
    #[inline]
    fn bury_object(&mut self, at: At) {
        if let Some(object) = self.record(at).large_object(LARGE_OBJECT_BYTES) {
            self.buried.get_or_insert_default().push(object);
        }
    }

    /// Tells the small queue that an entry took `old_bytes` before a change.
    fn resized(&mut self, at: At, old_bytes: u64) {
        if self.word(at).in_small() {
            let new_bytes = self.entry_bytes(at);
            self.queues.resized(old_bytes, new_bytes);
        }
    }

    /// Keeps counts right after the deadline of an entry went from `old` to `new`.
    fn deadline_changed(&mut self, at: At, old: Option<Millis>, new: Option<Millis>) {
        // The one of a record that says there is no value is none.
        let (old, counted) = (old.filter(|old| *old > LONG_AGO), new.filter(|new| *new > LONG_AGO));
        if let Some(old) = old {
            self.expiring -= 1;
            self.deadline_sum_ms -= capped_ms(old);
        }
        if let Some(new) = counted {
            self.expiring += 1;
            self.deadline_sum_ms += capped_ms(new);
        }
        if new.is_some()
            && let Some(end) = self.record(at).end()
        {
            self.segments[at.segment as usize].note_end(end);
            self.due = self.due.min(due_second(end));
        }
    }

    /// Frees the entry of `key` if it is dead and not kept for those who load.
    pub fn remove_dead(&mut self, place: Place, key: &[u8], cx: &Cx, env: Env<'_>) {
        if let Some((at, deadline)) = self.find(place, key)
            && let Some(death) = self.death(at, deadline, cx, env)
            && !self.is_kept(at, cx, env)
        {
            self.remove(at, place);
            self.count_death(death);
        }
    }

    pub fn count_death(&mut self, death: Death) {
        match death {
            Death::Expired => self.expired += 1,
            Death::Revoked => self.revoked += 1,
        }
    }

    /// Takes an entry out. `place` may carry the tag alone.
    pub fn remove(&mut self, at: At, place: Place) {
        self.remove_untidily(at);
        self.tidy(at.segment, place);
    }

    /// Takes an entry out; its segment is to be [tidied](Self::tidy) afterwards.
    pub fn remove_untidily(&mut self, at: At) {
        let (bytes, word, deadline) = (self.entry_bytes(at), self.word(at), self.record(at).deadline());
        self.bury_object(at);
        self.with_segment(at.segment, |segment| segment.remove(at.position));
        self.len -= 1;
        self.deadline_changed(at, deadline, None);
        if word.in_small() {
            self.queues.left_small(bytes);
        }
    }

    /// Gives back what removals left in the segment of `place`.
    pub fn tidy(&mut self, segment: u32, place: Place) {
        if self.len == 0 {
            let (changed, done, expired, revoked) = (self.changed, self.done, self.expired, self.revoked);
            let buried = self.buried.take();
            *self = Self { changed, done, expired, revoked, buried, ..Self::default() };
        } else {
            self.with_segment(segment, Segment::tidy);
            while self.try_merge(place) {}
        }
    }

    /// Gives back at once what removals left in the segment of `place`, where that frees memory.
    pub fn repay(&mut self, place: Place) {
        if let Some(segment) = self.segment_at(place) {
            self.with_segment(segment, Segment::repay);
        }
    }

    /// The segment for `place`, the first one if there is none.
    fn segment_for(&mut self, place: Place, env: Env<'_>) -> u32 {
        self.segment_at(place).unwrap_or_else(|| {
            let base = env.log.epoch();
            self.resize_index(|table| {
                table.segments.push(Segment::new(0, base));
                table.directory.push(0);
            });
            0
        })
    }

    /// Splits the segment of `place`; false if that has come to its end.
    fn split(&mut self, place: Place, env: Env<'_>) -> bool {
        let segment = self.segment_for(place, env);
        let depth = self.segments[segment as usize].depth;
        if depth >= MAX_DEPTH {
            return false;
        }
        if depth == self.depth {
            self.resize_index(|table| {
                table.directory = table.directory.iter().flat_map(|index| [*index, *index]).collect();
                table.depth += 1;
            });
        }
        let before = self.segments[segment as usize].memory();
        let full = &self.segments[segment as usize];
        self.usual_bytes = (full.live_bytes() / full.len().max(1)).clamp(1, USUAL_BYTES_MAX as usize) as u32;
        let high = self.segments[segment as usize].split(env.placing);
        let grown = self.segments[segment as usize].memory() + high.memory();
        self.bytes = self.bytes + grown - before;
        let index = match self.vacant.pop() {
            Some(index) => {
                self.segments[index as usize] = high;
                index
            }
            None => {
                self.resize_index(|table| {
                    // An eighth at a time: heads are 128 bytes, and all tables grow at the same moments.
                    if table.segments.len() == table.segments.capacity() {
                        table.segments.reserve_exact(table.segments.len() / 8 + 1);
                    }
                    table.segments.push(high);
                });
                (self.segments.len() - 1) as u32
            }
        };
        let span = self.span(place, depth);
        let middle = span.start + span.len() / 2;
        self.directory[middle..span.end].fill(index);
        true
    }

    /// The directory entries that share the first `depth` bits of `place`.
    fn span(&self, place: Place, depth: u32) -> core::ops::Range<usize> {
        let shift = self.depth - depth;
        let start = (place.directory_index(self.depth) >> shift) << shift;
        start..start + (1 << shift)
    }

    /// Joins the segment of `place` with its buddy where both are nearly empty; says whether it did.
    fn try_merge(&mut self, place: Place) -> bool {
        let Some(segment) = self.segment_at(place) else {
            return false;
        };
        let (depth, len) = {
            let segment = &self.segments[segment as usize];
            (segment.depth, segment.len())
        };
        if depth == 0 || len > MERGE_ENTRIES / 2 {
            return false;
        }
        let both = self.span(place, depth - 1);
        let middle = both.start + both.len() / 2;
        let (low, high) = (self.directory[both.start], self.directory[middle]);
        let buddies = [&self.segments[low as usize], &self.segments[high as usize]];
        let entries: usize = buddies.iter().map(|segment| segment.len()).sum();
        let bytes: usize = buddies.iter().map(|segment| segment.live_bytes()).sum();
        let alike = (buddies[0].depth, buddies[0].base) == (buddies[1].depth, buddies[1].base);
        // Of one base: an entry without a stamp must not be judged by records older than itself.
        if !alike || entries > MERGE_ENTRIES || bytes > MERGE_BYTES {
            return false;
        }
        let buddy = core::mem::replace(&mut self.segments[high as usize], Segment::new(0, 0));
        self.bytes -= buddy.memory();
        self.with_segment(low, |segment| segment.merge(buddy));
        self.directory[both].fill(low);
        self.resize_index(|table| table.vacant.push(high));
        self.shrink_directory();
        true
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

    /// Moves the next few segments out of memory that is being emptied, until this table has done its part of the round.
    /// Says whether it has.
    pub fn move_out(&mut self, round: u32) -> bool {
        if self.moving != round {
            (self.moving, self.move_from) = (round, Some(0));
        }
        let mut moved = 0;
        for _ in 0..MOVE_SEGMENTS {
            let Some(order) = self.move_from.filter(|_| moved < MOVE_BYTES) else { break };
            self.move_from = self.segment_from(order).and_then(|(index, next)| {
                let (bytes, done) = self.segments[index as usize].move_out(round);
                moved += bytes;
                if done { next } else { Some(order) }
            });
        }
        self.move_from.is_none()
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

    /// Visits, in hash order from `from`, the entries of one stretch of order bits expected to hold `wanted` entries, and
    /// says which are live; at most one segment. Returns where the next stretch begins, or `None` at the end of the table.
    pub fn visit(
        &self,
        from: u64,
        wanted: usize,
        granule_bits: u32,
        (cx, env): (&Cx, Env<'_>),
        mut each: impl FnMut(Record<'_>, bool),
    ) -> Option<u64> {
        let index = self.segment_at(Place { order: from })?;
        let segment = &self.segments[index as usize];
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
        segment.visit(from, end, env.placing, |record| each(record, self.is_live(index, record, cx, env)));
        end
    }

    /// The segment at a place in hash order, for the eviction hand: its index, and where the next one begins.
    pub fn segment_from(&self, order: u64) -> Option<(u32, Option<u64>)> {
        let index = self.segment_at(Place { order })?;
        Some((index, end_of(order, 64 - self.segments[index as usize].depth)))
    }

    /// All segments, in no order; those that merges left are empty.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
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
                    self.bytes -= segment.memory();
                    let mut large = segment.large_objects(LARGE_OBJECT_BYTES).peekable();
                    if large.peek().is_some() {
                        self.buried.get_or_insert_default().extend(large);
                    }
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
        let mut bytes = self.index_bytes() + self.queues.memory();
        let (mut len, mut expiring, mut sum, mut small) = (0, 0, 0u64, (0, 0));
        for (index, segment) in self.segments.iter().enumerate() {
            bytes += segment.memory();
            segment.invariants();
            if self.vacant.contains(&(index as u32)) {
                assert_eq!(segment.len(), 0, "a vacant segment is empty");
                continue;
            }
            assert!(segment.due >= self.due, "no segment is due before its table");
            for (position, record) in segment.iter() {
                let at = At { segment: index as u32, position };
                let place = env.placing.of(record.key());
                assert_eq!(
                    self.find(place, record.key()),
                    Some((at, record.deadline())),
                    "an entry lies where the directory leads"
                );
                len += 1;
                if self.word(at).in_small() {
                    small = (small.0 + 1, small.1 + self.entry_bytes(at));
                }
                if let Some(deadline) = record.deadline().filter(|deadline| *deadline > LONG_AGO) {
                    expiring += 1;
                    sum += capped_ms(deadline);
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

/// What a deadline counts in the sum of a table: no more than the year 2109, so that the sum of a few million fits.
fn capped_ms(deadline: Millis) -> u64 {
    deadline.0.min(1 << 42)
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
