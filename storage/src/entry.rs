//! One key with its value as a byte-packed record behind one word.
//!
//! ```text
//! flags u8 {kind 4, ttl 1, ext 1, value-length width 2} | key length u8 (255: u32 follows) | value length 1/2/4/8
//!   | stamp u32 | [deadline 8] | [ext bitmap u8] | key | value
//! ```
//!
//! A [`Slot`] owns its record: dropping it frees the record. The word's top 16 bits are not address bits on the
//! targets served (user addresses lie below 2^47), they hold what the eviction policy and the expiry wheel need
//! without touching the record. All `unsafe` of the record layout is in this file.
//!
//! Deadlines are absolute milliseconds, kept whole: two bytes less would save nothing at the sizes that matter.

use crate::limits::INLINE_VALUE_BYTES;
use crate::memory::good_size;
use crate::time::Millis;
use crate::value::{NewValue, Value};
use crate::wheel::Mark;
use core::mem::ManuallyDrop;
use core::num::NonZero;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::sync::Arc;

const KIND_RAW: u8 = 0;
const KIND_INT: u8 = 1;
const KIND_SHARED: u8 = 2;
const KIND_MASK: u8 = 0x0F;
const HAS_DEADLINE: u8 = 0x10;
const HAS_EXT: u8 = 0x20;
const WIDTH_SHIFT: u32 = 6;

const EXT_NO_EVICT: u8 = 0x01;

const _: () = assert!(size_of::<usize>() == 8, "records hold 64-bit references");

const DEADLINE_BYTES: usize = 8;
const STAMP_BYTES: usize = 4;
/// An `Arc<Vec<u8>>` allocates two counts and the vector's three words.
const ARC_BYTES: usize = 5 * size_of::<usize>();
const ALIGN: usize = 8;

const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;
const FREQ_SHIFT: u32 = ADDRESS_BITS;
const FREQ_MASK: usize = 3 << FREQ_SHIFT;
const SMALL: usize = 1 << 50;
const MARK_SHIFT: u32 = 51;
const MARK_MASK: usize = ((1 << Mark::BITS) - 1) << MARK_SHIFT;

/// The highest value of the access counter.
pub(crate) const FREQ_MAX: u8 = 3;

/// Owner of one record.
pub(crate) struct Slot(NonNull<u8>);

// SAFETY: a slot is the only owner of its record, and what a record can own (`Arc<Vec<u8>>`) is `Send`.
unsafe impl Send for Slot {}

/// Where the parts of a record lie, read from its header.
#[derive(Clone, Copy)]
struct Header {
    flags: u8,
    key_at: usize,
    key_len: usize,
    value_len: usize,
}

impl Header {
    fn kind(self) -> u8 {
        self.flags & KIND_MASK
    }
    fn value_at(self) -> usize {
        self.key_at + self.key_len
    }
    fn total(self) -> usize {
        self.value_at() + self.value_len
    }
    fn ext_at(self) -> usize {
        self.key_at - 1
    }
    fn deadline_at(self) -> usize {
        self.key_at - usize::from(self.flags & HAS_EXT != 0) - DEADLINE_BYTES
    }
    fn stamp_at(self) -> usize {
        let deadline = if self.flags & HAS_DEADLINE != 0 { DEADLINE_BYTES } else { 0 };
        self.key_at - usize::from(self.flags & HAS_EXT != 0) - deadline - STAMP_BYTES
    }
}

/// The code of the narrowest value-length field: its width is `1 << code` bytes.
fn width_code(value_len: usize) -> u8 {
    match value_len {
        0..=0xFF => 0,
        0x100..=0xFFFF => 1,
        0x1_0000..=0xFFFF_FFFF => 2,
        _ => 3,
    }
}

/// What a record keeps inline for a value.
enum Payload<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    Shared(Arc<Vec<u8>>),
}

impl<'a> From<NewValue<'a>> for Payload<'a> {
    fn from(value: NewValue<'a>) -> Self {
        match value {
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_VALUE_BYTES => Self::Bytes(bytes),
            NewValue::Bytes(bytes) => Self::Shared(Arc::new(bytes.to_vec())),
            NewValue::Int(n) => Self::Int(n),
            NewValue::Shared(bytes) => Self::Shared(bytes),
        }
    }
}

impl Payload<'_> {
    fn kind(&self) -> u8 {
        match self {
            Self::Bytes(_) => KIND_RAW,
            Self::Int(_) => KIND_INT,
            Self::Shared(_) => KIND_SHARED,
        }
    }
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(_) | Self::Shared(_) => 8,
        }
    }
}

fn layout(total: usize) -> Layout {
    Layout::from_size_align(good_size(total), ALIGN).expect("an entry's size fits isize: keys are at most 512 MB")
}

impl Slot {
    /// A record of `key` and `value`, with an access count of 0.
    pub fn new(key: &[u8], value: NewValue<'_>, deadline: Option<Millis>, stamp: u32, no_evict: bool) -> Self {
        let payload = Payload::from(value);
        let width = width_code(payload.len());
        let mut flags = payload.kind() | (width << WIDTH_SHIFT);
        flags |= if deadline.is_some() { HAS_DEADLINE } else { 0 };
        flags |= if no_evict { HAS_EXT } else { 0 };
        let key_len_bytes = if key.len() < 255 { 1 } else { 5 };
        let key_at = 1
            + key_len_bytes
            + (1 << width)
            + STAMP_BYTES
            + if deadline.is_some() { DEADLINE_BYTES } else { 0 }
            + usize::from(no_evict);
        let header = Header { flags, key_at, key_len: key.len(), value_len: payload.len() };
        let layout = layout(header.total());
        // SAFETY: the layout's size is at least 8, never zero.
        let base = unsafe { alloc(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        assert!(base.as_ptr().addr() <= ADDRESS_MASK, "heap addresses fit 48 bits on every target served");
        let slot = Self(base);
        // SAFETY: all offsets below lie inside the `header.total()` bytes just allocated, which nobody else sees.
        unsafe {
            let p = base.as_ptr();
            p.write(flags);
            if key.len() < 255 {
                p.add(1).write(key.len() as u8);
            } else {
                p.add(1).write(255);
                copy(p.add(2), &(key.len() as u32).to_le_bytes());
            }
            copy(p.add(1 + key_len_bytes), &(payload.len() as u64).to_le_bytes()[..1 << width]);
            copy(p.add(header.stamp_at()), &stamp.to_le_bytes());
            if let Some(deadline) = deadline {
                copy(p.add(header.deadline_at()), &deadline.0.to_le_bytes());
            }
            if no_evict {
                p.add(header.ext_at()).write(EXT_NO_EVICT);
            }
            copy(p.add(key_at), key);
            slot.write_payload(header, payload);
        }
        slot
    }

    /// # Safety
    /// `header` describes this record, whose value bytes own nothing, and `payload.len() == header.value_len`.
    unsafe fn write_payload(&self, header: Header, payload: Payload<'_>) {
        // SAFETY: `value_at..total` lies inside the record (precondition).
        unsafe {
            let at = self.base().add(header.value_at());
            match payload {
                Payload::Bytes(bytes) => copy(at, bytes),
                Payload::Int(n) => copy(at, &n.to_le_bytes()),
                Payload::Shared(bytes) => at.cast::<*const Vec<u8>>().write_unaligned(Arc::into_raw(bytes)),
            }
        }
    }

    #[inline]
    fn base(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)
    }

    #[inline]
    fn header(&self) -> Header {
        let p = self.base();
        // SAFETY: a slot owns a record written by `new`, whose header fields all lie inside it.
        unsafe {
            let flags = p.read();
            let short = p.add(1).read();
            let (key_len, at) = if short < 255 {
                (usize::from(short), 2)
            } else {
                (p.add(2).cast::<u32>().read_unaligned().to_le() as usize, 6)
            };
            let width = flags >> WIDTH_SHIFT;
            let value_len = match width {
                0 => usize::from(p.add(at).read()),
                1 => usize::from(p.add(at).cast::<u16>().read_unaligned().to_le()),
                2 => p.add(at).cast::<u32>().read_unaligned().to_le() as usize,
                _ => p.add(at).cast::<u64>().read_unaligned().to_le() as usize,
            };
            let deadline = if flags & HAS_DEADLINE != 0 { DEADLINE_BYTES } else { 0 };
            let key_at = at + (1 << width) + STAMP_BYTES + deadline + usize::from(flags & HAS_EXT != 0);
            Header { flags, key_at, key_len, value_len }
        }
    }

    fn bytes(&self, at: usize, len: usize) -> &[u8] {
        debug_assert!(at + len <= self.header().total());
        // SAFETY: `at..at + len` lies inside the record, which lives as long as `self` is borrowed and is written only
        // through `&mut self`.
        unsafe { core::slice::from_raw_parts(self.base().add(at), len) }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let header = self.header();
        self.bytes(header.key_at, header.key_len)
    }

    /// The value. A shared one is given as one more reference to it.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        let header = self.header();
        let bytes = self.bytes(header.value_at(), header.value_len);
        match header.kind() {
            KIND_RAW => Value::Raw(bytes),
            KIND_INT => Value::Int(i64::from_le_bytes(bytes.try_into().expect("an integer takes 8 bytes"))),
            _ => Value::Shared(Arc::clone(&self.shared(header))),
        }
    }

    /// The reference a shared record owns, borrowed: never dropped here.
    fn shared(&self, header: Header) -> ManuallyDrop<Arc<Vec<u8>>> {
        assert_eq!(header.kind(), KIND_SHARED, "only a shared record owns a reference");
        // SAFETY: the value bytes of a shared record hold what `Arc::into_raw` gave, and the record still owns that
        // reference; `ManuallyDrop` keeps its count as it is.
        unsafe {
            let at = self.base().add(header.value_at()).cast::<*const Vec<u8>>();
            ManuallyDrop::new(Arc::from_raw(at.read_unaligned()))
        }
    }

    /// Edits the bytes of a shared value in place (of a private copy if a reply still holds them). Returns by how many
    /// bytes of memory the value grew or shrank, or `None` if the value is not shared.
    pub fn edit_shared(&mut self, edit: impl FnOnce(&mut Vec<u8>)) -> Option<i64> {
        /// Writes the reference back even if the edit unwinds.
        struct WriteBack<'s>(&'s mut Slot, Header, ManuallyDrop<Arc<Vec<u8>>>);
        impl Drop for WriteBack<'_> {
            fn drop(&mut self) {
                let raw = Arc::as_ptr(&self.2);
                // SAFETY: `value_at` lies inside the record; the pointer stands for the reference in the `ManuallyDrop`.
                unsafe {
                    self.0.base().add(self.1.value_at()).cast::<*const Vec<u8>>().write_unaligned(raw);
                }
            }
        }
        let header = self.header();
        if header.kind() != KIND_SHARED {
            return None;
        }
        let before = self.memory();
        let reference = self.shared(header);
        let mut guard = WriteBack(self, header, reference);
        edit(Arc::make_mut(&mut guard.2));
        drop(guard);
        Some(self.memory() as i64 - before as i64)
    }

    /// Whether the value is a shared one; takes no reference to it.
    pub fn is_shared(&self) -> bool {
        self.header().kind() == KIND_SHARED
    }

    /// Writes `n` over an integer value; false (and no effect) if the value is not an integer.
    pub fn overwrite_int(&mut self, n: i64) -> bool {
        let header = self.header();
        if header.kind() != KIND_INT {
            return false;
        }
        // SAFETY: an integer's value bytes are 8 inside the record and own nothing.
        unsafe { copy(self.base().add(header.value_at()), &n.to_le_bytes()) };
        true
    }

    /// Replaces value and deadline without moving the record if the new one has the same header shape and size class.
    /// Gives the value back if it does not.
    pub fn overwrite<'v>(&mut self, value: NewValue<'v>, deadline: Option<Millis>) -> Result<(), NewValue<'v>> {
        let header = self.header();
        let (len, kind) = match &value {
            NewValue::Bytes(bytes) if bytes.len() <= INLINE_VALUE_BYTES => (bytes.len(), KIND_RAW),
            NewValue::Int(_) => (8, KIND_INT),
            _ => return Err(value),
        };
        let fits = header.kind() != KIND_SHARED
            && deadline.is_some() == (header.flags & HAS_DEADLINE != 0)
            && width_code(len) == header.flags >> WIDTH_SHIFT
            && good_size(header.value_at() + len) == good_size(header.total());
        if !fits {
            return Err(value);
        }
        let new = Header { value_len: len, ..header };
        // SAFETY: the block has room for its whole size class; header, deadline and value stay inside it, and the old
        // value (not shared) owns nothing.
        unsafe {
            let p = self.base();
            p.write((header.flags & !KIND_MASK) | kind);
            let length_at = if header.key_len < 255 { 2 } else { 6 };
            copy(p.add(length_at), &(len as u64).to_le_bytes()[..1 << (header.flags >> WIDTH_SHIFT)]);
            if let Some(deadline) = deadline {
                copy(p.add(header.deadline_at()), &deadline.0.to_le_bytes());
            }
            self.write_payload(new, Payload::from(value));
        }
        Ok(())
    }

    /// When the entry expires; `None` = never.
    #[inline]
    pub fn deadline(&self) -> Option<Millis> {
        let header = self.header();
        (header.flags & HAS_DEADLINE != 0).then(|| {
            let bytes = self.bytes(header.deadline_at(), DEADLINE_BYTES);
            Millis(u64::from_le_bytes(bytes.try_into().expect("a deadline takes 8 bytes")))
        })
    }

    /// Changes the deadline in place; false (and no effect) if the record has no room for one or one too much.
    pub fn overwrite_deadline(&mut self, deadline: Option<Millis>) -> bool {
        let header = self.header();
        match deadline {
            None => header.flags & HAS_DEADLINE == 0,
            Some(_) if header.flags & HAS_DEADLINE == 0 => false,
            Some(deadline) => {
                // SAFETY: the record has a deadline field (flag checked), `DEADLINE_BYTES` inside it.
                unsafe { copy(self.base().add(header.deadline_at()), &deadline.0.to_le_bytes()) };
                true
            }
        }
    }

    /// The revoke epoch the entry was last validated at.
    pub fn stamp(&self) -> u32 {
        let header = self.header();
        u32::from_le_bytes(self.bytes(header.stamp_at(), STAMP_BYTES).try_into().expect("four bytes"))
    }

    /// Whether eviction must leave the entry alone.
    pub fn is_no_evict(&self) -> bool {
        let header = self.header();
        header.flags & HAS_EXT != 0 && self.bytes(header.ext_at(), 1)[0] & EXT_NO_EVICT != 0
    }

    /// Bytes this entry takes from the allocator, a shared value included.
    pub fn memory(&self) -> u64 {
        let header = self.header();
        let mut bytes = good_size(header.total());
        if header.kind() == KIND_SHARED {
            bytes += good_size(ARC_BYTES) + good_size(self.shared(header).capacity().max(1));
        }
        bytes as u64
    }

    /// Asks for the first two cache lines of the record: header and key, and the value of most.
    #[inline]
    pub fn prefetch(&self) {
        let base = self.base();
        crate::prefetch::line(base);
        crate::prefetch::line(base.wrapping_add(64));
    }

    #[inline]
    fn bits(&self) -> usize {
        self.0.as_ptr().addr() & !ADDRESS_MASK
    }

    fn set_bits(&mut self, mask: usize, bits: usize) {
        self.0 = self.0.map_addr(|address| NonZero::new((address.get() & !mask) | bits).expect("the address is not 0"));
    }

    /// Takes over the side bits (access count, queue, wheel mark) of the slot this one replaces.
    pub fn inherit_bits(&mut self, of: &Self) {
        self.set_bits(!ADDRESS_MASK, of.bits());
    }

    /// How often the entry was used since the eviction hand passed, up to [`FREQ_MAX`].
    #[inline]
    pub fn freq(&self) -> u8 {
        ((self.bits() & FREQ_MASK) >> FREQ_SHIFT) as u8
    }

    /// Sets that count.
    pub fn set_freq(&mut self, freq: u8) {
        self.set_bits(FREQ_MASK, usize::from(freq.min(FREQ_MAX)) << FREQ_SHIFT);
    }

    /// Counts a use; writes nothing once the count is at its end.
    #[inline]
    pub fn touch(&mut self) {
        let freq = self.freq();
        if freq < FREQ_MAX {
            self.set_freq(freq + 1);
        }
    }

    /// Whether the entry stands in the small queue (else in the main one).
    #[inline]
    pub fn in_small(&self) -> bool {
        self.bits() & SMALL != 0
    }

    /// Moves the entry's mark to the small or the main queue.
    pub fn set_in_small(&mut self, small: bool) {
        self.set_bits(SMALL, if small { SMALL } else { 0 });
    }

    /// Which of the expiry wheel's records stands for this entry; one does if and only if it has a deadline.
    pub fn mark(&self) -> Option<Mark> {
        Mark::from_bits((self.bits() & MARK_MASK) >> MARK_SHIFT)
    }

    /// Notes that.
    pub fn set_mark(&mut self, mark: Option<Mark>) {
        self.set_bits(MARK_MASK, Mark::bits(mark) << MARK_SHIFT);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let header = self.header();
        if header.kind() == KIND_SHARED {
            drop(ManuallyDrop::into_inner(self.shared(header)));
        }
        // SAFETY: the record was allocated with this layout: `overwrite` keeps the size class of its total.
        unsafe { dealloc(self.base(), layout(header.total())) }
    }
}

/// # Safety
/// `to` is valid for writes of `from.len()` bytes that do not overlap `from`.
unsafe fn copy(to: *mut u8, from: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M10: every combination of header shapes reads back what was written, before and after edits in place.
    #[test]
    fn round_trip_of_all_shapes() {
        for key_len in [0, 1, 254, 255, 256, 65_536] {
            let key: Vec<u8> = (0..key_len).map(|i| i as u8).collect();
            for value_len in [0, 1, 8, 255, 256, INLINE_VALUE_BYTES, INLINE_VALUE_BYTES + 1, 70_000] {
                let value: Vec<u8> = (0..value_len).map(|i| (i * 7) as u8).collect();
                for deadline in [None, Some(Millis(1)), Some(Millis(i64::MAX as u64))] {
                    for no_evict in [false, true] {
                        let mut slot = Slot::new(&key, NewValue::Bytes(&value), deadline, 0xDEAD_BEEF, no_evict);
                        check(&slot, &key, &value, deadline, no_evict);
                        slot.touch();
                        slot.set_in_small(true);
                        let mark = Mark::from_bits((1 << Mark::BITS) - 1);
                        slot.set_mark(mark);
                        check(&slot, &key, &value, deadline, no_evict);
                        assert_eq!((slot.freq(), slot.in_small(), slot.mark()), (1, true, mark));
                        assert_eq!(slot.overwrite_deadline(Some(Millis(77))), deadline.is_some());
                        if deadline.is_some() {
                            check(&slot, &key, &value, Some(Millis(77)), no_evict);
                        }
                    }
                }
            }
        }
    }

    fn check(slot: &Slot, key: &[u8], value: &[u8], deadline: Option<Millis>, no_evict: bool) {
        assert_eq!(slot.key(), key);
        match slot.value() {
            Value::Raw(bytes) => assert_eq!(bytes, value),
            Value::Shared(bytes) => assert_eq!(*bytes, value),
            Value::Int(_) => panic!("bytes were stored"),
        }
        assert_eq!(slot.deadline(), deadline);
        assert_eq!(slot.stamp(), 0xDEAD_BEEF);
        assert_eq!(slot.is_no_evict(), no_evict);
    }

    #[test]
    fn overwrite_stays_in_its_size_class_or_refuses() {
        let mut slot = Slot::new(b"key", NewValue::Bytes(&[1; 60]), None, 0, false);
        let memory = slot.memory();
        for len in 0..300 {
            let value = vec![len as u8; len];
            if slot.overwrite(NewValue::Bytes(&value), None).is_ok() {
                assert_eq!(slot.memory(), memory);
                assert!(matches!(slot.value(), Value::Raw(bytes) if bytes == value));
            }
        }
        assert!(slot.overwrite(NewValue::Bytes(b"x"), Some(Millis(5))).is_err());
        assert!(slot.overwrite(NewValue::Bytes(&[0; 62]), None).is_ok());
        assert_eq!(slot.key(), b"key");
    }

    #[test]
    fn integers_and_shared_values_are_edited_in_place() {
        let mut slot = Slot::new(b"n", NewValue::Int(-5), Some(Millis(9)), 0, false);
        assert!(slot.overwrite_int(i64::MAX));
        assert!(matches!(slot.value(), Value::Int(i64::MAX)));
        assert!(slot.edit_shared(|_| ()).is_none());

        let mut slot = Slot::new(b"s", NewValue::Bytes(&[7; 20_000]), None, 0, false);
        let Value::Shared(held) = slot.value() else { panic!("long values are shared") };
        let grown = slot.edit_shared(|bytes| bytes.extend([8; 50_000])).expect("shared");
        assert!(grown > 0);
        assert_eq!(held.len(), 20_000, "a reply being sent keeps the bytes it began with");
        let Value::Shared(now) = slot.value() else { panic!("still shared") };
        assert_eq!(now.len(), 70_000);
        assert!(!slot.overwrite_int(1));
    }
}
