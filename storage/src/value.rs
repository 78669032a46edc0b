//! Values as callers see them, and as they hand them in.

use std::sync::Arc;

/// The type of a key, as `TYPE` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes or an integer.
    String,
}

/// How a value is kept, for `OBJECT ENCODING` and the commands that edit in place.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Bytes inside the entry, at most [`INLINE_VALUE_BYTES`](crate::limits::INLINE_VALUE_BYTES).
    Raw(&'a [u8]),
    /// An integer in its canonical decimal form.
    Int(i64),
    /// Bytes outside the entry, shared with replies being sent.
    Shared(Arc<Vec<u8>>),
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
}

impl Value<'_> {
    /// Length in bytes of the string a client would read.
    pub fn len(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
            Self::Int(n) => decimal_len(*n),
        }
    }

    /// Whether that string is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn into_owned(self) -> OwnedValue {
        match self {
            Self::Raw(bytes) => OwnedValue::Bytes(bytes.into()),
            Self::Int(n) => OwnedValue::Int(n),
            Self::Shared(bytes) => OwnedValue::Shared(bytes),
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
        }
    }
}

impl From<NewValue<'_>> for OwnedValue {
    fn from(value: NewValue<'_>) -> Self {
        match value {
            NewValue::Bytes(bytes) => Self::Bytes(bytes.into()),
            NewValue::Int(n) => Self::Int(n),
            NewValue::Shared(bytes) => Self::Shared(bytes),
        }
    }
}

impl OwnedValue {
    pub(crate) fn as_new(&self) -> NewValue<'_> {
        match self {
            Self::Bytes(bytes) => NewValue::Bytes(bytes),
            Self::Int(n) => NewValue::Int(*n),
            Self::Shared(bytes) => NewValue::Shared(Arc::clone(bytes)),
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
