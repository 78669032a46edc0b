//! Values as callers see them, and as they hand them in.

use crate::fields::Object;
use crate::packed::Pairs;
use std::sync::Arc;

/// The type of a key, as `TYPE` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes or an integer.
    String,
    /// Fields with a value each.
    Hash,
}

/// A value is of another type than a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// How a value is kept, for `OBJECT ENCODING` and the commands that edit in place.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Bytes inside the entry, at most [`INLINE_VALUE_BYTES`](crate::limits::INLINE_VALUE_BYTES).
    Raw(&'a [u8]),
    /// An integer in its canonical decimal form.
    Int(i64),
    /// Bytes outside the entry, shared with replies being sent.
    Shared(Arc<Vec<u8>>),
    /// A hash; [`LiveRef::hash`](crate::LiveRef::hash) tells what is in it.
    Hash(HashValue<'a>),
}

/// A hash as it is kept.
#[derive(Clone)]
pub struct HashValue<'a>(pub(crate) HashForm<'a>);

#[derive(Clone)]
pub(crate) enum HashForm<'a> {
    Packed(Pairs<'a>),
    Object(Arc<Object>),
}

impl core::fmt::Debug for HashValue<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashValue")
    }
}

/// A value to store. Callers pass `Int` for canonical decimal integers, so that counters are edited in place.
#[derive(Clone, Debug)]
pub enum NewValue<'a> {
    /// Bytes; long ones move out of the entry by themselves.
    Bytes(&'a [u8]),
    /// An integer.
    Int(i64),
    /// Bytes that are shared, not copied. Used as given, whatever their length.
    Shared(Arc<Vec<u8>>),
    /// A hash that was taken from the store or made by [`Store::new_hash`](crate::Store::new_hash).
    Hash(HashValue<'a>),
}

/// A value and its deadline, taken out of the store or to be put into it as they are (`RENAME`, `MOVE`, `COPY`).
#[derive(Clone, Debug)]
pub struct Detached {
    pub(crate) value: OwnedValue,
    /// When it expires; `None` = never.
    pub deadline: Option<crate::Millis>,
}

#[derive(Clone, Debug)]
pub(crate) enum OwnedValue {
    Bytes(Box<[u8]>),
    Int(i64),
    Shared(Arc<Vec<u8>>),
    Pairs(Box<[u8]>),
    Object(Arc<Object>),
}

impl core::fmt::Debug for Object {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Object")
    }
}

impl<'a> Value<'a> {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Raw(_) | Self::Int(_) | Self::Shared(_) => Kind::String,
            Self::Hash(_) => Kind::Hash,
        }
    }

    /// Length in bytes of the string a client would read; 0 for what is no string.
    pub fn len(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Int(n) => decimal_len(*n),
            Self::Hash(_) => 0,
        }
    }

    /// Whether that string is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same, to be stored.
    pub(crate) fn into_new(self) -> NewValue<'a> {
        match self {
            Self::Raw(bytes) => NewValue::Bytes(bytes),
            Self::Int(n) => NewValue::Int(n),
            Self::Shared(bytes) => NewValue::Shared(bytes),
            Self::Hash(hash) => NewValue::Hash(hash),
        }
    }

    pub(crate) fn into_owned(self) -> OwnedValue {
        match self {
            Self::Raw(bytes) => OwnedValue::Bytes(bytes.into()),
            Self::Int(n) => OwnedValue::Int(n),
            Self::Shared(bytes) => OwnedValue::Shared(bytes),
            Self::Hash(hash) => hash.into(),
        }
    }
}

impl From<HashValue<'_>> for OwnedValue {
    fn from(hash: HashValue<'_>) -> Self {
        match hash.0 {
            HashForm::Packed(pairs) => Self::Pairs(pairs.bytes().into()),
            HashForm::Object(object) => Self::Object(object),
        }
    }
}

impl NewValue<'_> {
    /// Bytes of the string, or of the integer as it is kept.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Int(_) => size_of::<i64>(),
            Self::Hash(HashValue(HashForm::Packed(pairs))) => pairs.bytes().len(),
            Self::Hash(HashValue(HashForm::Object(object))) => object.bytes() as usize,
        }
    }
}

impl From<NewValue<'_>> for OwnedValue {
    fn from(value: NewValue<'_>) -> Self {
        match value {
            NewValue::Bytes(bytes) => Self::Bytes(bytes.into()),
            NewValue::Int(n) => Self::Int(n),
            NewValue::Shared(bytes) => Self::Shared(bytes),
            NewValue::Hash(hash) => hash.into(),
        }
    }
}

impl OwnedValue {
    pub(crate) fn as_new(&self) -> NewValue<'_> {
        match self {
            Self::Bytes(bytes) => NewValue::Bytes(bytes),
            Self::Int(n) => NewValue::Int(*n),
            Self::Shared(bytes) => NewValue::Shared(Arc::clone(bytes)),
            Self::Pairs(bytes) => NewValue::Hash(HashValue(HashForm::Packed(Pairs::of(bytes)))),
            Self::Object(object) => NewValue::Hash(HashValue(HashForm::Object(Arc::clone(object)))),
        }
    }
}

fn decimal_len(n: i64) -> usize {
    let digits = n.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(n < 0)
}

#[cfg(test)]
mod tests {
    use super::decimal_len;

    #[test]
    fn decimal_lengths() {
        for n in [0, 1, 9, 10, -1, -10, 99, 100, i64::MAX, i64::MIN] {
            assert_eq!(decimal_len(n), n.to_string().len(), "{n}");
        }
    }
}
