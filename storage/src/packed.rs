//! Pairs of fields and values as one run of bytes: the form of a small hash, kept inside its entry.
//!
//! ```text
//! number of pairs u8 | per pair: length | field | length | value
//! ```
//!
//! A length is one byte below 128, else two, the higher seven bits first with the top bit set. Pairs stand in the order
//! in which their fields came.

use crate::limits::{PACKED_BYTES, PACKED_PAIRS};
use core::ops::Range;

const _: () = assert!(PACKED_PAIRS <= u8::MAX as usize && PACKED_BYTES < 1 << 15);

/// Pairs to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairs<'a>(&'a [u8]);

/// Where a pair lies, and its parts.
struct Pair {
    field: Range<usize>,
    value: Range<usize>,
}

impl Pair {
    fn start(&self) -> usize {
        self.field.start - length_bytes(self.field.len())
    }
}

fn length_bytes(len: usize) -> usize {
    if len < 0x80 { 1 } else { 2 }
}

fn pair_bytes(field: &[u8], value: &[u8]) -> usize {
    length_bytes(field.len()) + field.len() + length_bytes(value.len()) + value.len()
}

/// The bytes after the length at `at`, as a range.
#[inline]
fn part(bytes: &[u8], at: usize) -> Range<usize> {
    let first = usize::from(bytes[at]);
    if first < 0x80 {
        at + 1..at + 1 + first
    } else {
        let len = (first & 0x7F) << 8 | usize::from(bytes[at + 1]);
        at + 2..at + 2 + len
    }
}

#[inline]
fn pair(bytes: &[u8], at: usize) -> Pair {
    let field = part(bytes, at);
    let value = part(bytes, field.end);
    Pair { field, value }
}

fn find(bytes: &[u8], field: &[u8]) -> Option<Pair> {
    let mut at = 1;
    while at < bytes.len() {
        let pair = pair(bytes, at);
        if bytes[pair.field.clone()] == *field {
            return Some(pair);
        }
        at = pair.value.end;
    }
    None
}

impl<'a> Pairs<'a> {
    /// What [`PairsBuf`] or an entry holds.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        debug_assert!(!bytes.is_empty());
        Self(bytes)
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Number of pairs.
    pub fn len(self) -> usize {
        usize::from(self.0[0])
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        find(self.0, field).map(|pair| &self.0[pair.value])
    }

    /// All pairs, oldest field first.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut at = 1;
        core::iter::from_fn(move || {
            let pair = (at < self.0.len()).then(|| pair(self.0, at))?;
            at = pair.value.end;
            Some((&self.0[pair.field], &self.0[pair.value]))
        })
    }
}

/// Pairs being edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairsBuf(Vec<u8>);

impl Default for PairsBuf {
    fn default() -> Self {
        Self(vec![0])
    }
}

/// There are too many pairs, or too many bytes, for this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl PairsBuf {
    pub fn of(pairs: Pairs<'_>) -> Self {
        Self(pairs.0.to_vec())
    }

    pub fn pairs(&self) -> Pairs<'_> {
        Pairs(&self.0)
    }

    /// Sets the value of a field; whether the field is new. Where that would be too much, nothing is changed.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> Result<bool, Full> {
        match find(&self.0, field) {
            Some(pair) => {
                let old = pair.value.start - length_bytes(pair.value.len())..pair.value.end;
                if self.0.len() - old.len() + length_bytes(value.len()) + value.len() > PACKED_BYTES {
                    return Err(Full);
                }
                if pair.value.len() == value.len() {
                    self.0[pair.value].copy_from_slice(value);
                } else {
                    self.0.splice(old, encoded(value.len()).chain(value.iter().copied()));
                }
                Ok(false)
            }
            None => {
                if self.pairs().len() == PACKED_PAIRS || self.0.len() + pair_bytes(field, value) > PACKED_BYTES {
                    return Err(Full);
                }
                self.0.reserve(pair_bytes(field, value));
                for part in [field, value] {
                    self.0.extend(encoded(part.len()));
                    self.0.extend_from_slice(part);
                }
                self.0[0] += 1;
                Ok(true)
            }
        }
    }

    /// Takes a field out; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(pair) = find(&self.0, field) else { return false };
        self.0.drain(pair.start()..pair.value.end);
        self.0[0] -= 1;
        true
    }
}

fn encoded(len: usize) -> impl Iterator<Item = u8> {
    let bytes = if len < 0x80 { [len as u8, 0] } else { [0x80 | (len >> 8) as u8, len as u8] };
    bytes.into_iter().take(length_bytes(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..4),
            2 => proptest::collection::vec(any::<u8>(), 120..136),
            1 => proptest::collection::vec(any::<u8>(), 250..900),
        ]
    }

    proptest! {
        /// Any edits leave what a list of pairs edited alike holds, in its order, and never more than may be.
        #[test]
        fn edits_are_those_of_a_list(edits in proptest::collection::vec((text(), proptest::option::of(text())), 0..200)) {
            let mut list: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let mut packed = PairsBuf::default();
            for (field, value) in edits {
                let known = list.iter().position(|(known, _)| *known == field);
                match value {
                    Some(value) => match packed.set(&field, &value) {
                        Ok(is_new) => {
                            prop_assert_eq!(is_new, known.is_none());
                            match known {
                                Some(at) => list[at].1 = value,
                                None => list.push((field, value)),
                            }
                        }
                        Err(Full) => prop_assert!(list.len() == PACKED_PAIRS || packed.0.len() > PACKED_BYTES / 2),
                    },
                    None => {
                        prop_assert_eq!(packed.remove(&field), known.is_some());
                        known.map(|at| list.remove(at));
                    }
                }
                prop_assert!(packed.0.len() <= PACKED_BYTES);
                prop_assert_eq!(packed.pairs().len(), list.len());
            }
            let pairs: Vec<_> = packed.pairs().iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(&pairs, &list);
            for (field, value) in &list {
                prop_assert_eq!(packed.pairs().get(field), Some(&value[..]));
            }
        }
    }

    #[test]
    fn it_is_full_at_its_bounds() {
        let mut packed = PairsBuf::default();
        for n in 0..PACKED_PAIRS {
            assert_eq!(packed.set(format!("f{n}").as_bytes(), b"v"), Ok(true));
        }
        assert_eq!(packed.set(b"more", b""), Err(Full));
        assert_eq!(packed.set(b"f7", b"another"), Ok(false));
        let mut packed = PairsBuf::default();
        // A count, a length and a field of one byte, and two bytes of length.
        let longest = vec![7; PACKED_BYTES - 1 - 2 - 2];
        assert_eq!(packed.set(b"f", &[&longest[..], b"x"].concat()), Err(Full));
        assert_eq!(packed.set(b"f", &longest), Ok(true));
        assert_eq!(packed.set(b"f", &[&longest[..], b"x"].concat()), Err(Full));
        assert_eq!(packed.pairs().get(b"f"), Some(&longest[..]));
        assert_eq!(packed.set(b"", b""), Err(Full));
        assert!(packed.remove(b"f"));
        assert!(packed.pairs().len() == 0 && packed.0.len() == 1);
    }
}
