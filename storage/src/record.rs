//! One key with its value as a byte-packed record.
//!
//! ```text
//! flags u8 {kind 3, deadline form 2, ext 1, wide value length 1} | key length u8 (255: u32 follows)
//!   | value length u8 or u16 | [deadline 5 or 8] | [extension, see `ext`] | key | value
//! ```
//!
//! A record is plain bytes wherever it lies, and may be moved as bytes. One that is an [owner](Record::is_owner) holds a
//! reference to its value, which lies elsewhere: whoever gives up its bytes must [`release`] it first, once.
//!
//! Deadlines are absolute milliseconds; those of the years 2025 to 2059 take 5 bytes, any other 8.

use crate::ext::{self, Ext, NewExt, Provenance, Windows};
use crate::fields::Object;
use crate::limits::INLINE_VALUE_BYTES;
use crate::memory::good_size;
use crate::packed::Pairs;
use crate::time::Millis;
use crate::value::{HashForm, HashValue, Kind, NewValue, Value};
use core::mem::ManuallyDrop;
use std::sync::Arc;

const KIND_RAW: u8 = 0;
const KIND_INT: u8 = 1;
const KIND_SHARED: u8 = 2;
/// A reference to an object, which says itself what it is.
const KIND_OBJECT: u8 = 3;
const KIND_PAIRS: u8 = 4;
const KIND_MASK: u8 = 0x07;
const FORM_SHIFT: u32 = 3;
const FORM_MASK: u8 = 0x03 << FORM_SHIFT;
const HAS_EXT: u8 = 0x20;
const WIDE_VALUE: u8 = 0x40;

/// A key length byte that says: the length follows in four bytes.
const LONG_KEY: u8 = 255;

/// 2025-01-01 in milliseconds of the Unix epoch: what 5-byte deadlines count from.
const NEAR_BASE_MS: u64 = 1_735_689_600_000;
const NEAR_BYTES: usize = 5;
const FAR_BYTES: usize = 8;
/// Width of the deadline field by the form in the flags: none, near, far.
const FORM_BYTES: [u8; 4] = [0, NEAR_BYTES as u8, FAR_BYTES as u8, 0];

const _: () = assert!(size_of::<usize>() == 8, "records hold 64-bit references");
/// An `Arc<Vec<u8>>` allocates two counts and the vector's three words.
const ARC_BYTES: usize = 5 * size_of::<usize>();

/// How a deadline is written: its form, and the number kept.
fn deadline_form(deadline: Option<Millis>) -> (u8, u64) {
    match deadline {
        None => (0, 0),
        Some(Millis(ms)) => match ms.checked_sub(NEAR_BASE_MS) {
            Some(since) if since >> (8 * NEAR_BYTES) == 0 => (1, since),
            _ => (2, ms),
        },
    }
}

/// What a record keeps of a value.
enum Payload<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    Shared(Arc<Vec<u8>>),
    Object(Arc<Object>),
    Pairs(Pairs<'a>),
}

impl Payload<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Bytes(_) => KIND_RAW,
            Self::Int(_) => KIND_INT,
            Self::Shared(_) => KIND_SHARED,
            Self::Object(_) => KIND_OBJECT,
            Self::Pairs(_) => KIND_PAIRS,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pairs(pairs) => pairs.bytes().len(),
            Self::Int(_) | Self::Shared(_) | Self::Object(_) => 8,
        }
    }

    /// Writes it over `to`, which is as long; a shared value's reference goes along.
    fn write(self, to: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => to.copy_from_slice(bytes),
            Self::Int(n) => to.copy_from_slice(&n.to_le_bytes()),
            Self::Pairs(pairs) => to.copy_from_slice(pairs.bytes()),
            Self::Shared(bytes) => to.copy_from_slice(&Arc::into_raw(bytes).expose_provenance().to_le_bytes()),
            Self::Object(object) => to.copy_from_slice(&Arc::into_raw(object).expose_provenance().to_le_bytes()),
        }
    }
}

/// A record still to be written.
pub(crate) struct NewRecord<'a> {
    key: &'a [u8],
    payload: Payload<'a>,
    pub deadline: Option<Millis>,
    ext: NewExt<'a>,
}

impl<'a> NewRecord<'a> {
    /// A record of `key` and `value`; a long value moves out of it.
    pub fn new(key: &'a [u8], value: NewValue<'a>, deadline: Option<Millis>, ext: NewExt<'a>) -> Self {
        let payload = match value {
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_VALUE_BYTES => Payload::Bytes(bytes),
            NewValue::Bytes(bytes) => Payload::Shared(Arc::new(bytes.to_vec())),
            NewValue::Int(n) => Payload::Int(n),
            NewValue::Shared(bytes) => Payload::Shared(bytes),
            NewValue::Hash(HashValue(HashForm::Packed(pairs))) => Payload::Pairs(pairs),
            NewValue::Hash(HashValue(HashForm::Object(object))) => Payload::Object(object),
        };
        Self { key, payload, deadline, ext }
    }

    /// The key.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    fn head(&self) -> Head {
        let (form, _) = deadline_form(self.deadline);
        let wide = self.payload.len() > 0xFF;
        let mut flags = self.payload.kind() | form << FORM_SHIFT;
        let ext_len = self.ext.len();
        flags |= if ext_len > 0 { HAS_EXT } else { 0 };
        flags |= if wide { WIDE_VALUE } else { 0 };
        let length_at = if self.key.len() < usize::from(LONG_KEY) { 2 } else { 6 };
        Head::laid_out(flags, length_at, self.key.len(), self.payload.len(), ext_len)
    }

    /// Bytes of the record.
    pub fn len(&self) -> usize {
        self.head().total()
    }

    /// Writes the record to the front of `to`, which is long enough.
    pub fn write(self, to: &mut [u8]) {
        let head = self.head();
        to[0] = head.flags;
        if head.length_at() == 2 {
            to[1] = self.key.len() as u8;
        } else {
            to[1] = LONG_KEY;
            to[2..6].copy_from_slice(&(self.key.len() as u32).to_le_bytes());
        }
        head.write_value_len(to);
        head.write_deadline(to, self.deadline);
        if head.flags & HAS_EXT != 0 {
            self.ext.write(&mut to[head.ext_at()..head.key_at]);
        }
        to[head.key_at..head.value_at()].copy_from_slice(self.key);
        self.payload.write(&mut to[head.value_at()..head.total()]);
    }
}

/// Where the parts of a record lie.
#[derive(Clone, Copy)]
struct Head {
    flags: u8,
    deadline_at: usize,
    key_at: usize,
    key_len: usize,
    value_len: usize,
}

impl Head {
    #[inline(always)]
    fn laid_out(flags: u8, length_at: usize, key_len: usize, value_len: usize, ext_len: usize) -> Self {
        let mut head = Self { flags, deadline_at: 0, key_at: 0, key_len, value_len };
        head.deadline_at = length_at + 1 + usize::from(flags & WIDE_VALUE != 0);
        head.key_at = head.ext_at() + ext_len;
        head
    }

    /// Where the extension begins, or would.
    #[inline(always)]
    fn ext_at(self) -> usize {
        self.deadline_at + usize::from(FORM_BYTES[usize::from((self.flags & FORM_MASK) >> FORM_SHIFT)])
    }

    #[inline(always)]
    fn read(bytes: &[u8]) -> Self {
        let (flags, short) = (bytes[0], bytes[1]);
        let (key_len, at) = if short < LONG_KEY {
            (usize::from(short), 2)
        } else {
            (u32::from_le_bytes(bytes[2..6].try_into().expect("four bytes")) as usize, 6)
        };
        let value_len = if flags & WIDE_VALUE == 0 {
            usize::from(bytes[at])
        } else {
            usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
        };
        let mut head = Self::laid_out(flags, at, key_len, value_len, 0);
        if flags & HAS_EXT != 0 {
            head.key_at += ext_len(bytes, head.key_at);
        }
        head
    }

    fn kind(self) -> u8 {
        self.flags & KIND_MASK
    }

    fn length_at(self) -> usize {
        self.deadline_at - 1 - usize::from(self.flags & WIDE_VALUE != 0)
    }

    fn value_at(self) -> usize {
        self.key_at + self.key_len
    }

    fn total(self) -> usize {
        self.value_at() + self.value_len
    }

    fn write_value_len(self, to: &mut [u8]) {
        let at = self.length_at();
        to[at..self.deadline_at].copy_from_slice(&(self.value_len as u16).to_le_bytes()[..self.deadline_at - at]);
    }

    /// Writes a deadline of the form that the flags say.
    fn write_deadline(self, to: &mut [u8], deadline: Option<Millis>) {
        let (form, number) = deadline_form(deadline);
        debug_assert_eq!(form, (self.flags & FORM_MASK) >> FORM_SHIFT);
        let width = usize::from(FORM_BYTES[usize::from(form)]);
        to[self.deadline_at..self.deadline_at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    }
}

/// Bytes of the extension at `at`. Apart, so that the usual record is read without a detour.
#[cold]
#[inline(never)]
fn ext_len(bytes: &[u8], at: usize) -> usize {
    Ext::at(&bytes[at..]).len()
}

/// A record in memory.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    bytes: &'a [u8],
    head: Head,
}

impl<'a> Record<'a> {
    /// The record at the front of `bytes`.
    #[inline]
    pub fn at(bytes: &'a [u8]) -> Self {
        Self { bytes, head: Head::read(bytes) }
    }

    /// Bytes of the record.
    pub fn len(&self) -> usize {
        self.head.total()
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        &self.bytes[self.head.key_at..self.head.value_at()]
    }

    fn payload(&self) -> &'a [u8] {
        &self.bytes[self.head.value_at()..self.head.total()]
    }

    /// The value. A shared one is given as one more reference to it.
    #[inline]
    pub fn value(&self) -> Value<'a> {
        match self.head.kind() {
            KIND_RAW => Value::Raw(self.payload()),
            KIND_INT => Value::Int(i64::from_le_bytes(self.payload().try_into().expect("an integer takes 8 bytes"))),
            KIND_SHARED => Value::Shared(Arc::clone(&self.shared())),
            KIND_OBJECT => Value::Hash(HashValue(HashForm::Object(Arc::clone(&self.object_reference())))),
            _ => Value::Hash(HashValue(HashForm::Packed(Pairs::of(self.payload())))),
        }
    }

    /// The type of the value.
    #[inline]
    pub fn kind(&self) -> Kind {
        match self.head.kind() {
            KIND_RAW | KIND_INT | KIND_SHARED => Kind::String,
            _ => Kind::Hash,
        }
    }

    /// The pairs, if that is how the value is kept.
    #[inline]
    pub fn pairs(&self) -> Option<Pairs<'a>> {
        (self.head.kind() == KIND_PAIRS).then(|| Pairs::of(self.payload()))
    }

    /// The object, if the value is one; no reference is taken.
    #[inline]
    pub fn object(&self) -> Option<&'a Object> {
        if self.head.kind() != KIND_OBJECT {
            return None;
        }
        // SAFETY: the record owns a reference until it is released, and is not as long as its bytes are borrowed.
        Some(unsafe { &*self.address::<Object>() })
    }

    /// One more reference to the object, if there is one of at least so many bytes.
    pub fn large_object(&self, bytes: u64) -> Option<Arc<Object>> {
        self.object().filter(|object| object.bytes() >= bytes)?;
        Some(Arc::clone(&self.object_reference()))
    }

    /// When the entry expires; `None` = never.
    #[inline]
    pub fn deadline(&self) -> Option<Millis> {
        let mut number = [0; FAR_BYTES];
        let field = &self.bytes[self.head.deadline_at..];
        match (self.head.flags & FORM_MASK) >> FORM_SHIFT {
            0 => None,
            1 => {
                number[..NEAR_BYTES].copy_from_slice(&field[..NEAR_BYTES]);
                Some(Millis(NEAR_BASE_MS + u64::from_le_bytes(number)))
            }
            _ => {
                number.copy_from_slice(&field[..FAR_BYTES]);
                Some(Millis(u64::from_le_bytes(number)))
            }
        }
    }

    /// What it carries beyond value and deadline.
    #[inline]
    pub fn ext(&self) -> Ext<'a> {
        if self.head.flags & HAS_EXT == 0 { Ext::NONE } else { Ext::at(&self.bytes[self.head.ext_at()..]) }
    }

    /// When its memory may be freed; `None` = not for its age. Not before its deadline.
    #[inline]
    pub fn end(&self) -> Option<Millis> {
        let deadline = self.deadline()?;
        if self.head.flags & HAS_EXT == 0 { Some(deadline) } else { self.retained_until(deadline) }
    }

    #[cold]
    fn retained_until(&self, deadline: Millis) -> Option<Millis> {
        self.ext().windows().map_or(Some(deadline), |windows| windows.retain_until)
    }

    /// Whether eviction must leave the entry alone.
    pub fn is_no_evict(&self) -> bool {
        self.ext().is_no_evict()
    }

    /// Whether the value is a shared string; takes no reference to it.
    pub fn is_shared(&self) -> bool {
        self.head.kind() == KIND_SHARED
    }

    /// Whether the value lies elsewhere; takes no reference to it.
    #[inline]
    pub fn is_owner(&self) -> bool {
        is_owning(self.head.kind())
    }

    /// Bytes of memory that a value elsewhere takes, 0 for any other.
    #[inline]
    pub fn owned_bytes(&self) -> u64 {
        if self.is_owner() { self.bytes_elsewhere() } else { 0 }
    }

    fn bytes_elsewhere(&self) -> u64 {
        match self.object() {
            Some(object) => object.bytes(),
            None => (good_size(ARC_BYTES) + good_size(self.shared().capacity().max(1))) as u64,
        }
    }

    /// Where the value lies that the record owns a reference to.
    fn address<T>(&self) -> *const T {
        let address = u64::from_le_bytes(self.payload().try_into().expect("a reference takes 8 bytes"));
        core::ptr::with_exposed_provenance(address as usize)
    }

    /// The reference that the record of a shared string owns, borrowed: never dropped here.
    fn shared(&self) -> ManuallyDrop<Arc<Vec<u8>>> {
        assert!(self.is_shared(), "the value is a shared string");
        // SAFETY: such a record's payload is what `Arc::into_raw` gave, and the record owns that reference until it
        // is released; `ManuallyDrop` keeps its count as it is.
        unsafe { ManuallyDrop::new(Arc::from_raw(self.address())) }
    }

    /// The same of an object.
    fn object_reference(&self) -> ManuallyDrop<Arc<Object>> {
        assert!(self.head.kind() == KIND_OBJECT, "the value is an object");
        // SAFETY: as in `shared`.
        unsafe { ManuallyDrop::new(Arc::from_raw(self.address())) }
    }
}

/// Whether records of this kind own a reference.
#[inline]
fn is_owning(kind: u8) -> bool {
    matches!(kind, KIND_SHARED | KIND_OBJECT)
}

/// Gives up what the record at the front of `bytes` owns; the bytes must not be read as a record afterwards.
pub(crate) fn release(bytes: &[u8]) {
    let record = Record::at(bytes);
    match record.head.kind() {
        KIND_SHARED => drop(ManuallyDrop::into_inner(record.shared())),
        KIND_OBJECT => drop(ManuallyDrop::into_inner(record.object_reference())),
        _ => {}
    }
}

/// Replaces value and deadline of the record at the front of `bytes` if the new one has the same header shape, and
/// `fits` says that the old length may become the new one where it is. Gives the value back if not.
pub(crate) fn overwrite<'v>(
    bytes: &mut [u8],
    value: NewValue<'v>,
    deadline: Option<Millis>,
    fits: impl FnOnce(usize, usize) -> bool,
) -> Result<(), NewValue<'v>> {
    let head = Head::read(bytes);
    let payload = match &value {
        NewValue::Bytes(bytes) if bytes.len() <= INLINE_VALUE_BYTES => Payload::Bytes(bytes),
        NewValue::Int(n) => Payload::Int(*n),
        NewValue::Hash(HashValue(HashForm::Packed(pairs))) => Payload::Pairs(*pairs),
        _ => return Err(value),
    };
    let new = Head { flags: (head.flags & !KIND_MASK) | payload.kind(), value_len: payload.len(), ..head };
    let same_shape = !is_owning(head.kind())
        && deadline_form(deadline).0 == (head.flags & FORM_MASK) >> FORM_SHIFT
        && (payload.len() > 0xFF) == (head.flags & WIDE_VALUE != 0);
    if !same_shape || !fits(head.total(), new.total()) {
        return Err(value);
    }
    bytes[0] = new.flags;
    new.write_value_len(bytes);
    new.write_deadline(bytes, deadline);
    payload.write(&mut bytes[new.value_at()..new.total()]);
    Ok(())
}

/// Changes the deadline in place; false (and no effect) if its form differs from that of the old one.
pub(crate) fn overwrite_deadline(bytes: &mut [u8], deadline: Option<Millis>) -> bool {
    let head = Head::read(bytes);
    if deadline_form(deadline).0 != (head.flags & FORM_MASK) >> FORM_SHIFT {
        return false;
    }
    head.write_deadline(bytes, deadline);
    true
}

/// Writes over the stamp of the record at the front of `bytes`; false (and no effect) if it has none.
pub(crate) fn restamp(bytes: &mut [u8], stamp: u32) -> bool {
    let head = Head::read(bytes);
    head.flags & HAS_EXT != 0 && ext::restamp(&mut bytes[head.ext_at()..], stamp)
}

/// Writes over the provenance of the record at the front of `bytes`, which has one.
pub(crate) fn set_provenance(bytes: &mut [u8], provenance: &Provenance) {
    let at = Head::read(bytes).ext_at();
    ext::set_provenance(&mut bytes[at..], provenance);
}

/// Writes over the windows of the record at the front of `bytes`, which has some.
pub(crate) fn rewindow(bytes: &mut [u8], windows: &Windows) {
    let at = Head::read(bytes).ext_at();
    ext::rewindow(&mut bytes[at..], windows);
}

/// Writes `n` over an integer value; false (and no effect) if the value is not an integer.
pub(crate) fn overwrite_int(bytes: &mut [u8], n: i64) -> bool {
    let head = Head::read(bytes);
    if head.kind() != KIND_INT {
        return false;
    }
    Payload::Int(n).write(&mut bytes[head.value_at()..head.total()]);
    true
}

/// Edits the bytes of a shared string in place (of a private copy if a reply still holds them).
pub(crate) fn edit_shared(bytes: &mut [u8], edit: impl FnOnce(&mut Vec<u8>)) {
    let reference = Record::at(bytes).shared();
    edit(Arc::make_mut(&mut WriteBack::new(bytes, reference).1));
}

/// Edits an object in place (a private copy where another key has the same one).
pub(crate) fn edit_object<R>(bytes: &mut [u8], edit: impl FnOnce(&mut Object) -> R) -> R {
    let reference = Record::at(bytes).object_reference();
    edit(Arc::make_mut(&mut WriteBack::new(bytes, reference).1))
}

/// Moves an object that is nobody else's out of memory that is being emptied; false while there is more to move.
pub(crate) fn move_object(bytes: &mut [u8], round: u32) -> bool {
    let mut reference = Record::at(bytes).object_reference();
    Arc::get_mut(&mut reference).is_none_or(|object| object.move_out(round))
}

/// A reference that a record owns, while what it leads to may be exchanged: written back even if that unwinds.
struct WriteBack<'s, T>(&'s mut [u8], ManuallyDrop<Arc<T>>);

impl<'s, T> WriteBack<'s, T> {
    fn new(bytes: &'s mut [u8], reference: ManuallyDrop<Arc<T>>) -> Self {
        let head = Head::read(bytes);
        Self(&mut bytes[head.value_at()..head.total()], reference)
    }
}

impl<T> Drop for WriteBack<'_, T> {
    fn drop(&mut self) {
        self.0.copy_from_slice(&Arc::as_ptr(&self.1).expose_provenance().to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::OwnedExt;

    fn written(key: &[u8], value: NewValue<'_>, deadline: Option<Millis>, ext: NewExt<'_>) -> Vec<u8> {
        let record = NewRecord::new(key, value, deadline, ext);
        let mut bytes = vec![0xEE; record.len()];
        record.write(&mut bytes);
        bytes
    }

    const DEADLINES: [Option<Millis>; 6] = [
        None,
        Some(Millis(1)),
        Some(Millis(NEAR_BASE_MS)),
        Some(Millis(NEAR_BASE_MS + (1 << 40) - 1)),
        Some(Millis(NEAR_BASE_MS + (1 << 40))),
        Some(Millis(i64::MAX as u64)),
    ];

    fn exts() -> [OwnedExt; 4] {
        let windows = Windows { retain_until: Some(Millis(1 << 46)), version: 9, ..Windows::default() };
        [
            OwnedExt::default(),
            OwnedExt { no_evict: true, ..OwnedExt::default() },
            OwnedExt { stamp: Some(9), ..OwnedExt::default() },
            OwnedExt {
                no_evict: true,
                stamp: Some(u32::MAX),
                windows: Some(windows),
                tags: smallvec::smallvec![1, 2, u64::MAX],
                provenance: Some(Provenance { offset: 77, ..Provenance::default() }),
                is_absent: true,
                validator: (*b"an etag").into(),
            },
        ]
    }

    /// M10: every combination of header shapes reads back what was written, before and after edits in place.
    #[test]
    fn round_trip_of_all_shapes() {
        for key_len in [0, 1, 254, 255, 256, 65_536] {
            let key: Vec<u8> = (0..key_len).map(|i| i as u8).collect();
            for value_len in [0, 1, 8, 255, 256, INLINE_VALUE_BYTES, INLINE_VALUE_BYTES + 1, 70_000] {
                let value: Vec<u8> = (0..value_len).map(|i| (i * 7) as u8).collect();
                for deadline in DEADLINES {
                    for ext in &exts() {
                        let mut bytes = written(&key, NewValue::Bytes(&value), deadline, ext.as_new());
                        check(&bytes, &key, &value, deadline, ext);
                        for other in DEADLINES {
                            let done = overwrite_deadline(&mut bytes, other);
                            assert_eq!(done, deadline_form(other).0 == deadline_form(deadline).0);
                            check(&bytes, &key, &value, if done { other } else { deadline }, ext);
                            assert!(overwrite_deadline(&mut bytes, deadline));
                        }
                        release(&bytes);
                    }
                }
            }
        }
    }

    fn check(bytes: &[u8], key: &[u8], value: &[u8], deadline: Option<Millis>, ext: &OwnedExt) {
        let record = Record::at(bytes);
        assert_eq!(record.len(), bytes.len());
        assert_eq!(record.key(), key);
        match record.value() {
            Value::Raw(bytes) => assert_eq!(bytes, value),
            Value::Shared(bytes) => assert_eq!(*bytes, value),
            Value::Int(_) | Value::Hash(_) => panic!("bytes were stored"),
        }
        assert_eq!(record.deadline(), deadline);
        assert_eq!(OwnedExt::from(record.ext()), *ext);
        let end = ext.windows.filter(|_| deadline.is_some()).map_or(deadline, |windows| windows.retain_until);
        assert_eq!(record.end(), end);
    }

    #[test]
    fn the_usual_record_takes_three_bytes_more_than_key_and_value() {
        assert_eq!(written(&[1; 16], NewValue::Bytes(&[2; 64]), None, NewExt::default()).len(), 83);
        let in_2026 = Some(Millis(NEAR_BASE_MS + 365 * 86_400_000));
        assert_eq!(written(&[1; 16], NewValue::Bytes(&[2; 64]), in_2026, NewExt::default()).len(), 88);
    }

    #[test]
    fn overwriting_keeps_the_shape_or_refuses() {
        let mut bytes = written(b"key", NewValue::Bytes(&[1; 60]), None, NewExt::default());
        let room = bytes.len();
        for len in (0..=60).rev() {
            let value = vec![len as u8; len];
            overwrite(&mut bytes, NewValue::Bytes(&value), None, |_, new| new <= room).expect("it fits");
            assert!(matches!(Record::at(&bytes).value(), Value::Raw(bytes) if bytes == value));
        }
        assert!(overwrite(&mut bytes, NewValue::Bytes(&[0; 300]), None, |_, _| true).is_err());
        assert!(overwrite(&mut bytes, NewValue::Bytes(b"x"), Some(Millis(5)), |_, _| true).is_err());
        assert!(overwrite(&mut bytes, NewValue::Bytes(b"x"), None, |old, new| old == 6 && new == 7).is_ok());
        assert_eq!(Record::at(&bytes).key(), b"key");
    }

    #[test]
    fn integers_and_shared_values_are_edited_in_place() {
        let mut bytes = written(b"n", NewValue::Int(-5), Some(Millis(9)), NewExt::default());
        assert!(overwrite_int(&mut bytes, i64::MAX));
        assert!(matches!(Record::at(&bytes).value(), Value::Int(i64::MAX)));

        let mut bytes = written(b"s", NewValue::Bytes(&[7; 20_000]), None, NewExt::default());
        let Value::Shared(held) = Record::at(&bytes).value() else { panic!("long values are shared") };
        let before = Record::at(&bytes).owned_bytes();
        edit_shared(&mut bytes, |bytes| bytes.extend([8; 50_000]));
        assert!(Record::at(&bytes).owned_bytes() > before);
        assert_eq!(held.len(), 20_000, "a reply being sent keeps the bytes it began with");
        let Value::Shared(now) = Record::at(&bytes).value() else { panic!("still shared") };
        assert_eq!(now.len(), 70_000);
        assert!(!overwrite_int(&mut bytes, 1));
        drop(now);
        release(&bytes);
    }
}
