//! Parts of strings: APPEND, STRLEN, GETRANGE, SETRANGE.

use super::{encode, text_of_value};
use crate::call::Call;
use crate::error::Error;
use core::sync::atomic::Ordering;
use std::sync::Arc;
use storage::limits::{INLINE_VALUE_BYTES, MAX_VALUE_BYTES};
use storage::{NewValue, Slot, Value};

/// Growth beyond this asks for room first: the gate before the command counted only the bytes of its arguments.
const UNSEEN_GROWTH_BYTES: usize = 64 * 1024;

/// The longest string there may be now, in bytes.
fn longest(call: &Call<'_, '_>) -> usize {
    call.node.settings.live.max_bulk_bytes.load(Ordering::Relaxed).min(MAX_VALUE_BYTES)
}

pub(super) fn append(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (tail, longest, touch) = (call.args.at(2), longest(call), !call.session.no_touch);
    call.first(|slot, reply| {
        let total = match slot {
            Slot::Live(mut live) => {
                let total = live.string()?.len() + tail.len();
                if total > longest {
                    return Err(Error::TOO_LONG);
                }
                if touch {
                    live.touch();
                }
                live.edit(|bytes| bytes.extend_from_slice(tail));
                total
            }
            Slot::Vacant(vacant) => {
                vacant.insert(encode(tail), None);
                tail.len()
            }
        };
        reply.integer(total as i64);
        Ok(())
    })
}

pub(super) fn strlen(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let touch = !call.session.no_touch;
    let hit = call.first(|slot, reply| match slot {
        Slot::Live(mut live) => {
            if touch {
                live.touch();
            }
            reply.integer(live.string()?.len() as i64);
            Ok::<_, Error>(true)
        }
        Slot::Vacant(_) => {
            reply.integer(0);
            Ok(false)
        }
    })?;
    call.count_lookup(hit);
    Ok(())
}

/// The bytes from `start` to `end`, both included, of a string of `len` bytes; negative ones count from its end.
fn range(start: i64, end: i64, len: usize) -> core::ops::Range<usize> {
    let len = len as i64;
    if len == 0 || start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_start = |offset: i64| if offset < 0 { len.saturating_add(offset).max(0) } else { offset };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

pub(super) fn getrange(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (start, end, touch) = (call.integer(2)?, call.integer(3)?, !call.session.no_touch);
    let mut long = None;
    let hit = call.first(|slot, reply| {
        let Slot::Live(mut live) = slot else {
            reply.bulk(b"");
            return Ok::<_, Error>(false);
        };
        if touch {
            live.touch();
        }
        match live.string()? {
            Value::Shared(bytes) => long = Some(bytes),
            short => text_of_value(&short, |text| reply.bulk(&text[range(start, end, text.len())])),
        }
        Ok(true)
    })?;
    // Copied after the lock was given back.
    if let Some(bytes) = long {
        let part = range(start, end, bytes.len());
        if part.len() == bytes.len() { call.reply.shared(bytes) } else { call.reply.bulk(&bytes[part]) }
    }
    call.count_lookup(hit);
    Ok(())
}

pub(super) fn setrange(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let offset = call.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| Error::err("offset is out of range"))?;
    let part = call.args.at(3);
    if part.is_empty() {
        return strlen_of_write(call);
    }
    let end = offset.checked_add(part.len()).filter(|end| *end <= longest(call)).ok_or(Error::TOO_LONG)?;
    if offset > UNSEEN_GROWTH_BYTES && call.store.store().memory().limit() > 0 {
        make_room(call, end)?;
    }
    let touch = !call.session.no_touch;
    call.first(|slot, reply| {
        let total = match slot {
            Slot::Live(mut live) => {
                live.string()?;
                if touch {
                    live.touch();
                }
                let mut total = 0;
                live.edit(|bytes| {
                    if bytes.len() < end {
                        bytes.resize(end, 0);
                    }
                    bytes[offset..end].copy_from_slice(part);
                    total = bytes.len();
                });
                total
            }
            Slot::Vacant(vacant) => {
                let mut bytes = vec![0; end];
                bytes[offset..].copy_from_slice(part);
                if end > INLINE_VALUE_BYTES {
                    vacant.insert(NewValue::Shared(Arc::new(bytes)), None);
                } else {
                    vacant.insert(NewValue::Bytes(&bytes), None);
                }
                end
            }
        };
        reply.integer(total as i64);
        Ok(())
    })
}

/// SETRANGE with nothing to write: the length, and no key comes into being.
fn strlen_of_write(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.first(|slot, reply| {
        let len = slot.live().map_or(Ok(0), |live| live.string().map(|text| text.len()))?;
        reply.integer(len as i64);
        Ok(())
    })
}

/// Makes room for the first key's string to grow to `end` bytes.
#[cold]
fn make_room(call: &mut Call<'_, '_>, end: usize) -> Result<(), Error> {
    let len = call.first(|slot, _| slot.live().map_or(0, |live| live.value().len()));
    let kh = call.hash_of(call.args.at(1));
    let need = end.saturating_sub(len) as u64;
    if call.store.make_room(Some(kh), need, &call.cx) { Ok(()) } else { Err(Error::OOM) }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_stay_inside_the_string() {
        for len in 0..5 {
            for start in [i64::MIN, -6, -5, -4, -1, 0, 1, 4, 5, i64::MAX] {
                for end in [i64::MIN, -6, -5, -4, -1, 0, 1, 4, 5, i64::MAX] {
                    let part = range(start, end, len);
                    assert!(part.start <= part.end && part.end <= len, "{start} {end} {len}");
                }
            }
        }
        assert_eq!(range(0, -1, 3), 0..3);
        assert_eq!(range(-2, 1, 3), 1..2);
        // As in Redis: an end before the string is its first byte.
        assert_eq!(range(-100, -100, 3), 0..1);
        assert_eq!(range(-1, -3, 3), 0..0);
    }
}
