//! Changes gathered from records, in one buffer: no allocation per record.

use super::held::Hold;
use crate::mapping::Bad;
use core::ops::Range;
use storage::{Millis, Provenance};

/// Changes in the order of their records.
#[derive(Debug, Default)]
pub struct Batch {
    /// Keys, values, fields.
    bytes: Vec<u8>,
    /// Fields and values of hashes.
    pairs: Vec<[Range<usize>; 2]>,
    ops: Vec<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    key: Range<usize>,
    drawn: Drawn,
    about: About,
}

/// What goes with a change.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// When the entry ends.
    pub deadline: Option<Millis>,
    /// The record's version, where records of a key have some.
    pub version: Option<u64>,
    /// Whether it waits for the end of a rebuild.
    pub hold: Hold,
    /// Fields that it says nothing of stay.
    pub is_merge: bool,
    /// It concerns the entry only if that was made of this record.
    pub only: Option<Provenance>,
    /// The record it was made of.
    pub from: Provenance,
}

/// What becomes of a key.
#[derive(Clone, Debug)]
pub(super) enum Drawn {
    Gone,
    Text(Range<usize>),
    /// These of the pairs.
    Fields(Range<usize>),
}

/// A change as it is to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Op<'b> {
    /// The entry's key.
    pub key: &'b [u8],
    /// What it becomes.
    pub mutation: Mutation<'b>,
    /// What goes with it.
    pub about: About,
}

/// What an entry becomes.
#[derive(Clone, Copy, Debug)]
pub enum Mutation<'b> {
    /// None.
    Gone,
    /// A string.
    Text(&'b [u8]),
    /// A hash.
    Fields(Fields<'b>),
}

/// The fields of a hash.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b> {
    batch: &'b Batch,
    from: usize,
    to: usize,
}

impl<'b> Fields<'b> {
    /// Fields with their values.
    pub fn iter(self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        let part = |range: &Range<usize>| &self.batch.bytes[range.clone()];
        self.batch.pairs[self.from..self.to].iter().map(move |[field, value]| (part(field), part(value)))
    }
}

/// Where a record's part of the batch begins.
pub(super) struct Begun {
    bytes: usize,
    pairs: usize,
}

impl Batch {
    /// Number of changes.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The changes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.ops.iter().map(|op| Op {
            key: &self.bytes[op.key.clone()],
            mutation: match &op.drawn {
                Drawn::Gone => Mutation::Gone,
                Drawn::Text(text) => Mutation::Text(&self.bytes[text.clone()]),
                Drawn::Fields(pairs) => Mutation::Fields(Fields { batch: self, from: pairs.start, to: pairs.end }),
            },
            about: op.about,
        })
    }

    pub(super) fn begin(&self) -> Begun {
        Begun { bytes: self.bytes.len(), pairs: self.pairs.len() }
    }

    /// Forgets what was written of a record.
    pub(super) fn roll_back(&mut self, begun: Begun) {
        self.bytes.truncate(begun.bytes);
        self.pairs.truncate(begun.pairs);
    }

    pub(super) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Bad>) -> Result<Range<usize>, Bad> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        Ok(start..self.bytes.len())
    }

    pub(super) fn write_fields(
        &mut self,
        write: impl FnOnce(&mut dyn FnMut(&[u8], &[u8])) -> Result<(), Bad>,
    ) -> Result<Drawn, Bad> {
        let start = self.pairs.len();
        let Self { bytes, pairs, .. } = self;
        write(&mut |field, value| {
            let at = bytes.len();
            bytes.extend_from_slice(field);
            let middle = bytes.len();
            bytes.extend_from_slice(value);
            pairs.push([at..middle, middle..bytes.len()]);
        })?;
        Ok(Drawn::Fields(start..self.pairs.len()))
    }

    pub(super) fn end(&mut self, key: Range<usize>, drawn: Drawn, about: About) {
        self.ops.push(Gathered { key, drawn, about });
    }

    /// The bytes of what was written.
    pub(super) fn part(&self, written: Range<usize>) -> &[u8] {
        &self.bytes[written]
    }

    /// Forgets all; keeps the room, but for what a burst of long values took.
    pub(super) fn clear(&mut self) {
        const KEPT_BYTES: usize = 4 << 20;
        self.ops.clear();
        self.pairs.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}
