//! What a record carries beyond value and deadline, where it carries anything: marks, the stamp of the revoke log, tags.
//!
//! ```text
//! marks u8 {no evict 1, stamp 1, tags 1} | [stamp u32] | [number of tags u8 | 8 bytes each]
//! ```

use crate::limits::MAX_TAGS;
use smallvec::SmallVec;

const NO_EVICT: u8 = 0x01;
const HAS_STAMP: u8 = 0x02;
const HAS_TAGS: u8 = 0x04;

const STAMP_BYTES: usize = 4;
const TAG_BYTES: usize = size_of::<u64>();

/// Tags by their hash.
pub(crate) type Tags = SmallVec<[u64; 4]>;

/// An extension to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewExt<'a> {
    pub no_evict: bool,
    /// See [`crate::revoke`]; an entry without one has its segment's.
    pub stamp: Option<u32>,
    /// At most [`MAX_TAGS`].
    pub tags: &'a [u64],
}

impl NewExt<'_> {
    /// Bytes it takes, 0 where there is nothing to say.
    #[inline]
    pub fn len(&self) -> usize {
        if !self.no_evict && self.stamp.is_none() && self.tags.is_empty() {
            return 0;
        }
        let tags = if self.tags.is_empty() { 0 } else { 1 + TAG_BYTES * self.tags.len() };
        1 + if self.stamp.is_some() { STAMP_BYTES } else { 0 } + tags
    }

    /// Writes it to `to`, which has exactly its length, not 0.
    pub fn write(&self, to: &mut [u8]) {
        debug_assert!(self.tags.len() <= MAX_TAGS);
        let mark = |has: bool, mark: u8| if has { mark } else { 0 };
        to[0] = mark(self.no_evict, NO_EVICT)
            | mark(self.stamp.is_some(), HAS_STAMP)
            | mark(!self.tags.is_empty(), HAS_TAGS);
        let mut rest = &mut to[1..];
        if let Some(stamp) = self.stamp {
            let (field, after) = rest.split_at_mut(STAMP_BYTES);
            field.copy_from_slice(&stamp.to_le_bytes());
            rest = after;
        }
        if let Some((count, tags)) = rest.split_first_mut() {
            *count = self.tags.len() as u8;
            tags.chunks_exact_mut(TAG_BYTES)
                .zip(self.tags)
                .for_each(|(to, tag)| to.copy_from_slice(&tag.to_le_bytes()));
        }
    }
}

/// An extension in a record; empty for a record without one.
#[derive(Clone, Copy)]
pub(crate) struct Ext<'a>(&'a [u8]);

impl<'a> Ext<'a> {
    pub const NONE: Ext<'static> = Ext(&[]);

    /// The extension at the front of `bytes`.
    #[inline]
    pub fn at(bytes: &'a [u8]) -> Self {
        let marks = bytes[0];
        let mut len = 1 + if marks & HAS_STAMP != 0 { STAMP_BYTES } else { 0 };
        if marks & HAS_TAGS != 0 {
            len += 1 + TAG_BYTES * usize::from(bytes[len]);
        }
        Self(&bytes[..len])
    }

    pub fn len(self) -> usize {
        self.0.len()
    }

    fn has(self, mark: u8) -> bool {
        self.0.first().is_some_and(|marks| marks & mark != 0)
    }

    pub fn is_no_evict(self) -> bool {
        self.has(NO_EVICT)
    }

    pub fn stamp(self) -> Option<u32> {
        let field = self.has(HAS_STAMP).then(|| self.0[1..1 + STAMP_BYTES].try_into().expect("four bytes"))?;
        Some(u32::from_le_bytes(field))
    }

    pub fn has_tags(self) -> bool {
        self.has(HAS_TAGS)
    }

    pub fn tags(self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let from = 2 + if self.has(HAS_STAMP) { STAMP_BYTES } else { 0 };
        let tags = if self.has_tags() { &self.0[from..] } else { &[] };
        tags.chunks_exact(TAG_BYTES).map(|tag| u64::from_le_bytes(tag.try_into().expect("eight bytes")))
    }
}

/// An extension apart from its record.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnedExt {
    pub no_evict: bool,
    pub stamp: Option<u32>,
    pub tags: Tags,
}

impl OwnedExt {
    pub fn as_new(&self) -> NewExt<'_> {
        NewExt { no_evict: self.no_evict, stamp: self.stamp, tags: &self.tags }
    }
}

impl From<Ext<'_>> for OwnedExt {
    fn from(ext: Ext<'_>) -> Self {
        Self { no_evict: ext.is_no_evict(), stamp: ext.stamp(), tags: ext.tags().collect() }
    }
}

/// Writes over the stamp of the extension at the front of `bytes`; false (and no effect) if it has none.
pub(crate) fn restamp(bytes: &mut [u8], stamp: u32) -> bool {
    let has = bytes[0] & HAS_STAMP != 0;
    if has {
        bytes[1..1 + STAMP_BYTES].copy_from_slice(&stamp.to_le_bytes());
    }
    has
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all: Vec<u64> = (0..MAX_TAGS as u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        for no_evict in [false, true] {
            for stamp in [None, Some(0), Some(u32::MAX)] {
                for tags in [0, 1, 5, MAX_TAGS] {
                    let new = NewExt { no_evict, stamp, tags: &all[..tags] };
                    let mut bytes = vec![0xEE; new.len() + 3];
                    if new.len() == 0 {
                        assert_eq!(new, NewExt::default());
                        continue;
                    }
                    let len = new.len();
                    new.write(&mut bytes[..len]);
                    let ext = Ext::at(&bytes);
                    assert_eq!((ext.len(), ext.is_no_evict(), ext.stamp()), (len, no_evict, stamp));
                    assert_eq!(ext.tags().collect::<Vec<_>>(), new.tags);
                    assert_eq!(restamp(&mut bytes, 77), stamp.is_some());
                    assert_eq!(Ext::at(&bytes).stamp(), stamp.map(|_| 77));
                    assert_eq!(Ext::at(&bytes).tags().collect::<Vec<_>>(), new.tags);
                }
            }
        }
        assert_eq!((Ext::NONE.len(), Ext::NONE.stamp(), Ext::NONE.tags().count()), (0, None, 0));
    }
}
