//! What a record carries beyond value and deadline, where it carries anything.
//!
//! ```text
//! marks u8 {no evict 1, stamp 2, tags 4, windows 8, absent 16, validator 32, provenance 64}
//!   | [stamp u32] | [windows 25] | [provenance 26] | [number of tags u8 | 8 bytes each] | [length u16 | validator]
//! windows: stored, fresh until, retain until 6 bytes each | refresh u8 | load ms u16 | version u32
//! provenance: source u16 | partition u32 | offset u64 | time 6 bytes | schema u32 | generation u8 | mapping u8
//! ```
//!
//! An *absent* record stands for the knowledge that there is no value: its deadline has passed when it is written, so that
//! every ordinary command finds nothing, and it is kept until `retain`. A record with a *provenance* is a projected one: it is
//! never evicted, and revokes of groups do not meet it, since nobody could load it again.

use crate::limits::{MAX_TAGS, MAX_VALIDATOR_BYTES};
use crate::time::Millis;
use smallvec::SmallVec;

const NO_EVICT: u8 = 0x01;
const HAS_STAMP: u8 = 0x02;
const HAS_TAGS: u8 = 0x04;
const HAS_WINDOWS: u8 = 0x08;
const ABSENT: u8 = 0x10;
const HAS_VALIDATOR: u8 = 0x20;
const HAS_PROVENANCE: u8 = 0x40;

const STAMP_BYTES: usize = 4;
const TAG_BYTES: usize = size_of::<u64>();
const TIME_BYTES: usize = 6;
const WINDOWS_BYTES: usize = 3 * TIME_BYTES + 1 + 2 + 4;
const PROVENANCE_BYTES: usize = 2 + 4 + 8 + TIME_BYTES + 4 + 1 + 1;

/// Tags by their hash.
pub(crate) type Tags = SmallVec<[u64; 4]>;

/// How long an entry counts as fresh, and how long a copy is kept; until when it is *served* is its deadline.
///
/// `fresh_until <= deadline <= retain_until`, where `None` = unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// When the value was stored; `None` if that is not known (a revoke found it without windows).
    pub stored_at: Option<Millis>,
    /// From then on it is stale.
    pub fresh_until: Option<Millis>,
    /// From the deadline until then a copy is kept for failed loads and unchanged answers.
    pub retain_until: Option<Millis>,
    /// From this share of the fresh time on, in 256ths, a reader is asked to refresh; 0 = not before it is stale.
    pub refresh: u8,
    /// What loading it took, ms, 65535 at most; 0 = not loaded under a lease.
    pub load_ms: u16,
    /// Another number after each change of the value; 0 = unknown.
    pub version: u32,
}

impl Windows {
    /// From when on a reader is asked to refresh although it is fresh.
    pub fn refresh_at(&self) -> Option<Millis> {
        let (from, to) = (self.stored_at?, self.fresh_until?);
        let share = to.0.saturating_sub(from.0) * u64::from(self.refresh) / 256;
        (self.refresh > 0).then_some(Millis(from.0 + share))
    }

    /// The windows of an entry whose deadline went from `old` to `new`: fresh ends no later, and a copy is retained beyond
    /// it only if that was so before.
    pub(crate) fn with_deadline(self, old: Option<Millis>, new: Option<Millis>) -> Self {
        let is_later = |a: Option<Millis>, b: Option<Millis>| b.is_some_and(|b| a.is_none_or(|a| a > b));
        let fresh_until = if is_later(self.fresh_until, new) { new } else { self.fresh_until };
        let follows = self.retain_until == old || is_later(new, self.retain_until);
        Self { fresh_until, retain_until: if follows { new } else { self.retain_until }, ..self }
    }

    fn write(&self, to: &mut [u8]) {
        let times = [self.stored_at, self.fresh_until, self.retain_until];
        for (to, time) in to.chunks_exact_mut(TIME_BYTES).zip(times) {
            to.copy_from_slice(&time.map_or(UNLIMITED, |time| time.0.min(UNLIMITED - 1)).to_le_bytes()[..TIME_BYTES]);
        }
        let rest = &mut to[3 * TIME_BYTES..];
        rest[0] = self.refresh;
        rest[1..3].copy_from_slice(&self.load_ms.to_le_bytes());
        rest[3..7].copy_from_slice(&self.version.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let time = |nth: usize| {
            let mut number = [0; 8];
            number[..TIME_BYTES].copy_from_slice(&bytes[nth * TIME_BYTES..(nth + 1) * TIME_BYTES]);
            Some(u64::from_le_bytes(number)).filter(|ms| *ms != UNLIMITED).map(Millis)
        };
        let rest = &bytes[3 * TIME_BYTES..];
        Self {
            stored_at: time(0),
            fresh_until: time(1),
            retain_until: time(2),
            refresh: rest[0],
            load_ms: u16::from_le_bytes([rest[1], rest[2]]),
            version: u32::from_le_bytes(rest[3..7].try_into().expect("four bytes")),
        }
    }
}

/// Which record of a log a projected entry was made of, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The log, by the number that its projection gave to this incarnation of it.
    pub source: u16,
    /// Its partition.
    pub partition: u32,
    /// The record's offset there.
    pub offset: u64,
    /// The record's own time; six bytes of ms are kept.
    pub time: Millis,
    /// The schema it was written with, 0 = none.
    pub schema: u32,
    /// Counts rebuilds, modulo 256.
    pub generation: u8,
    /// Tells apart mappings that make different entries of one record.
    pub mapping: u8,
}

impl Provenance {
    /// The source of entries that no log has: somebody wrote them beside it.
    pub const LOCAL: u16 = u16::MAX;

    /// Whether it was written beside the log.
    pub fn is_local(&self) -> bool {
        self.source == Self::LOCAL
    }

    fn write(&self, to: &mut [u8]) {
        to[..2].copy_from_slice(&self.source.to_le_bytes());
        to[2..6].copy_from_slice(&self.partition.to_le_bytes());
        to[6..14].copy_from_slice(&self.offset.to_le_bytes());
        to[14..20].copy_from_slice(&self.time.0.min(UNLIMITED).to_le_bytes()[..TIME_BYTES]);
        to[20..24].copy_from_slice(&self.schema.to_le_bytes());
        to[24..].copy_from_slice(&[self.generation, self.mapping]);
    }

    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize, len: usize| {
            let mut number = [0; 8];
            number[..len].copy_from_slice(&bytes[at..at + len]);
            u64::from_le_bytes(number)
        };
        Self {
            source: number(0, 2) as u16,
            partition: number(2, 4) as u32,
            offset: number(6, 8),
            time: Millis(number(14, TIME_BYTES)),
            schema: number(20, 4) as u32,
            generation: bytes[24],
            mapping: bytes[25],
        }
    }
}

/// The six-byte time that says: unlimited. As milliseconds it lies in the year 10889.
const UNLIMITED: u64 = (1 << (8 * TIME_BYTES)) - 1;

/// An extension to write; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewExt<'a> {
    marks: u8,
    stamp: u32,
    windows: Option<&'a Windows>,
    provenance: Option<&'a Provenance>,
    tags: &'a [u64],
    validator: &'a [u8],
}

impl<'a> NewExt<'a> {
    /// One with a stamp alone, see [`crate::revoke`]; an entry without one has its segment's.
    #[inline]
    pub fn stamped(stamp: Option<u32>) -> Self {
        match stamp {
            Some(stamp) => Self { marks: HAS_STAMP, stamp, ..Self::default() },
            None => Self::default(),
        }
    }

    /// Bytes it takes, 0 where there is nothing to say.
    #[inline]
    pub fn len(&self) -> usize {
        if self.marks == 0 { 0 } else { self.marked_len() }
    }

    #[cold]
    fn marked_len(&self) -> usize {
        let when = |mark: u8, bytes: usize| if self.marks & mark != 0 { bytes } else { 0 };
        1 + when(HAS_STAMP, STAMP_BYTES)
            + when(HAS_WINDOWS, WINDOWS_BYTES)
            + when(HAS_PROVENANCE, PROVENANCE_BYTES)
            + when(HAS_TAGS, 1 + TAG_BYTES * self.tags.len())
            + when(HAS_VALIDATOR, 2 + self.validator.len())
    }

    /// Writes it to `to`, which has exactly its length, not 0.
    pub fn write(&self, to: &mut [u8]) {
        let (marks, mut rest) = to.split_first_mut().expect("an extension has its marks");
        *marks = self.marks;
        let mut field = |len: usize| -> &'_ mut [u8] {
            let (field, after) = core::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            field
        };
        if self.marks & HAS_STAMP != 0 {
            field(STAMP_BYTES).copy_from_slice(&self.stamp.to_le_bytes());
        }
        if let Some(windows) = self.windows {
            windows.write(field(WINDOWS_BYTES));
        }
        if let Some(provenance) = self.provenance {
            provenance.write(field(PROVENANCE_BYTES));
        }
        if self.marks & HAS_TAGS != 0 {
            field(1)[0] = self.tags.len() as u8;
            self.tags.iter().for_each(|tag| field(TAG_BYTES).copy_from_slice(&tag.to_le_bytes()));
        }
        if self.marks & HAS_VALIDATOR != 0 {
            field(2).copy_from_slice(&(self.validator.len() as u16).to_le_bytes());
            field(self.validator.len()).copy_from_slice(self.validator);
        }
    }
}

/// An extension in a record; empty for a record without one.
#[derive(Clone, Copy)]
pub(crate) struct Ext<'a>(&'a [u8]);

/// Where the part behind those of `before` begins.
#[inline]
fn behind(marks: u8, before: u8) -> usize {
    /// By marks: where what follows the parts of a fixed length begins.
    const FIXED: [u8; 256] = {
        let mut ends = [1; 256];
        let mut marks = 0;
        while marks < ends.len() {
            let parts = [(HAS_STAMP, STAMP_BYTES), (HAS_WINDOWS, WINDOWS_BYTES), (HAS_PROVENANCE, PROVENANCE_BYTES)];
            let mut at = 0;
            while at < parts.len() {
                if marks as u8 & parts[at].0 != 0 {
                    ends[marks] += parts[at].1 as u8;
                }
                at += 1;
            }
            marks += 1;
        }
        ends
    };
    usize::from(FIXED[usize::from(marks & before)])
}

impl<'a> Ext<'a> {
    pub const NONE: Ext<'static> = Ext(&[]);

    /// The extension at the front of `bytes`.
    #[inline]
    pub fn at(bytes: &'a [u8]) -> Self {
        let marks = bytes[0];
        let mut len = behind(marks, HAS_STAMP | HAS_WINDOWS | HAS_PROVENANCE);
        if marks & HAS_TAGS != 0 {
            len += 1 + TAG_BYTES * usize::from(bytes[len]);
        }
        if marks & HAS_VALIDATOR != 0 {
            len += 2 + usize::from(u16::from_le_bytes([bytes[len], bytes[len + 1]]));
        }
        Self(&bytes[..len])
    }

    pub fn len(self) -> usize {
        self.0.len()
    }

    fn marks(self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    fn has(self, mark: u8) -> bool {
        self.marks() & mark != 0
    }

    pub fn is_no_evict(self) -> bool {
        self.has(NO_EVICT)
    }

    /// Whether it carries what goes with its value: windows, tags, a validator, a provenance.
    pub fn is_of_value(self) -> bool {
        self.has(HAS_WINDOWS | HAS_TAGS | HAS_VALIDATOR | HAS_PROVENANCE)
    }

    pub fn is_projected(self) -> bool {
        self.has(HAS_PROVENANCE)
    }

    pub fn provenance(self) -> Option<Provenance> {
        let at = behind(self.marks(), HAS_STAMP | HAS_WINDOWS);
        self.is_projected().then(|| Provenance::read(&self.0[at..at + PROVENANCE_BYTES]))
    }

    pub fn is_absent(self) -> bool {
        self.has(ABSENT)
    }

    pub fn stamp(self) -> Option<u32> {
        let field = self.has(HAS_STAMP).then(|| self.0[1..1 + STAMP_BYTES].try_into().expect("four bytes"))?;
        Some(u32::from_le_bytes(field))
    }

    pub fn windows(self) -> Option<Windows> {
        self.has(HAS_WINDOWS).then(|| Windows::read(&self.0[behind(self.marks(), HAS_STAMP)..]))
    }

    fn tags_at(self) -> usize {
        behind(self.marks(), HAS_STAMP | HAS_WINDOWS | HAS_PROVENANCE)
    }

    pub fn tags(self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let tags = if self.has(HAS_TAGS) {
            let at = self.tags_at();
            &self.0[at + 1..at + 1 + TAG_BYTES * usize::from(self.0[at])]
        } else {
            &[]
        };
        tags.chunks_exact(TAG_BYTES).map(|tag| u64::from_le_bytes(tag.try_into().expect("eight bytes")))
    }

    pub fn validator(self) -> &'a [u8] {
        if !self.has(HAS_VALIDATOR) {
            return &[];
        }
        let at = self.tags_at();
        let tags = if self.has(HAS_TAGS) { 1 + TAG_BYTES * usize::from(self.0[at]) } else { 0 };
        &self.0[at + tags + 2..]
    }
}

/// An extension apart from its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnedExt {
    pub no_evict: bool,
    /// See [`crate::revoke`].
    pub stamp: Option<u32>,
    pub windows: Option<Windows>,
    /// Implies `no_evict`.
    pub provenance: Option<Provenance>,
    /// At most [`MAX_TAGS`].
    pub tags: Tags,
    /// The value is known not to exist; only with windows.
    pub is_absent: bool,
    /// At most [`MAX_VALIDATOR_BYTES`]; empty = none.
    pub validator: Box<[u8]>,
}

impl OwnedExt {
    pub fn as_new(&self) -> NewExt<'_> {
        debug_assert!(self.tags.len() <= MAX_TAGS && self.validator.len() <= MAX_VALIDATOR_BYTES);
        debug_assert!(!self.is_absent || self.windows.is_some());
        let mark = |has: bool, mark: u8| if has { mark } else { 0 };
        NewExt {
            marks: mark(self.no_evict || self.provenance.is_some(), NO_EVICT)
                | mark(self.stamp.is_some(), HAS_STAMP)
                | mark(self.windows.is_some(), HAS_WINDOWS)
                | mark(self.provenance.is_some(), HAS_PROVENANCE)
                | mark(!self.tags.is_empty(), HAS_TAGS)
                | mark(self.is_absent, ABSENT)
                | mark(!self.validator.is_empty(), HAS_VALIDATOR),
            stamp: self.stamp.unwrap_or(0),
            windows: self.windows.as_ref(),
            provenance: self.provenance.as_ref(),
            tags: &self.tags,
            validator: &self.validator,
        }
    }

    /// What stays when the value is replaced.
    pub fn without_value(&self) -> Self {
        // That a projected entry is not evicted goes with its value.
        let no_evict = self.no_evict && self.provenance.is_none();
        Self { no_evict, stamp: self.stamp, ..Self::default() }
    }
}

impl From<Ext<'_>> for OwnedExt {
    fn from(ext: Ext<'_>) -> Self {
        Self {
            no_evict: ext.is_no_evict(),
            stamp: ext.stamp(),
            windows: ext.windows(),
            provenance: ext.provenance(),
            tags: ext.tags().collect(),
            is_absent: ext.is_absent(),
            validator: ext.validator().into(),
        }
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

/// Writes over the provenance of the extension at the front of `bytes`, which has one.
pub(crate) fn set_provenance(bytes: &mut [u8], provenance: &Provenance) {
    debug_assert!(bytes[0] & HAS_PROVENANCE != 0);
    let at = behind(bytes[0], HAS_STAMP | HAS_WINDOWS);
    provenance.write(&mut bytes[at..at + PROVENANCE_BYTES]);
}

/// Writes over the windows of the extension at the front of `bytes`, which has some.
pub(crate) fn rewindow(bytes: &mut [u8], windows: &Windows) {
    debug_assert!(bytes[0] & HAS_WINDOWS != 0);
    let at = behind(bytes[0], HAS_STAMP);
    windows.write(&mut bytes[at..at + WINDOWS_BYTES]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> Vec<OwnedExt> {
        let all: Vec<u64> = (0..MAX_TAGS as u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let some = Windows { stored_at: Some(Millis(5)), refresh: 9, load_ms: 513, version: 7, ..Windows::default() };
        let full = Windows { fresh_until: Some(Millis(1 << 40)), retain_until: Some(Millis(1 << 47)), ..some };
        let mut shapes = Vec::new();
        for no_evict in [false, true] {
            for stamp in [None, Some(0), Some(u32::MAX)] {
                for tags in [0, 1, 5, MAX_TAGS] {
                    for windows in [None, Some(Windows::default()), Some(some), Some(full)] {
                        for validator in [0, 1, MAX_VALIDATOR_BYTES] {
                            let (tags, validator) = (all[..tags].into(), vec![7; validator].into());
                            let is_absent = windows == Some(full);
                            let provenance = (windows.is_none() && no_evict).then_some(Provenance {
                                source: 0xFEDC,
                                partition: u32::MAX - 1,
                                offset: u64::MAX / 3,
                                time: Millis(1 << 47),
                                schema: 0x1234_5678,
                                generation: 255,
                                mapping: 7,
                            });
                            shapes.push(OwnedExt { no_evict, stamp, windows, provenance, tags, is_absent, validator });
                        }
                    }
                }
            }
        }
        shapes
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in shapes() {
            let new = shape.as_new();
            let len = new.len();
            if len == 0 {
                assert_eq!(shape, OwnedExt::default());
                continue;
            }
            let mut bytes = vec![0xEE; len + 3];
            new.write(&mut bytes[..len]);
            assert_eq!((Ext::at(&bytes).len(), OwnedExt::from(Ext::at(&bytes))), (len, shape.clone()));
            assert_eq!(restamp(&mut bytes, 77), shape.stamp.is_some());
            let mut expected = OwnedExt { stamp: shape.stamp.map(|_| 77), ..shape };
            assert_eq!(OwnedExt::from(Ext::at(&bytes)), expected);
            if let Some(provenance) = &mut expected.provenance {
                *provenance = Provenance { offset: 5, generation: 1, ..*provenance };
                set_provenance(&mut bytes, provenance);
                assert_eq!(OwnedExt::from(Ext::at(&bytes)), expected);
            }
            if let Some(windows) = &mut expected.windows {
                *windows = Windows { version: 99, fresh_until: Some(Millis(1)), ..*windows };
                rewindow(&mut bytes, windows);
                assert_eq!(OwnedExt::from(Ext::at(&bytes)), expected);
            }
        }
        assert_eq!(OwnedExt::from(Ext::NONE), OwnedExt::default());
    }

    #[test]
    fn refreshing_begins_within_the_fresh_time() {
        let windows = Windows { stored_at: Some(Millis(1000)), fresh_until: Some(Millis(2000)), ..Windows::default() };
        assert_eq!(windows.refresh_at(), None);
        assert_eq!(Windows { refresh: 128, ..windows }.refresh_at(), Some(Millis(1500)));
        assert_eq!(Windows { refresh: 128, fresh_until: None, ..windows }.refresh_at(), None);
        assert_eq!(Windows { refresh: 128, fresh_until: Some(Millis(3)), ..windows }.refresh_at(), Some(Millis(1000)));
    }
}
