//! Parts of a record that a configuration names: `key`, `key.f`, `value.f.g`, `header.h`, `topic`, `timestamp`.

use crate::datum::{Part, Plain};
use crate::mapping::DecodedKey;
use crate::source::Headers;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A part of a record, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The key, or the part of it at a path.
    Key(Option<String>),
    /// The part of the value at a path.
    Value(String),
    /// The last header of that name.
    Header(String),
    /// The topic's name.
    Topic,
    /// The record's own time, ms since the epoch.
    Timestamp,
}

impl core::fmt::Display for Operand {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Key(None) => f.write_str("key"),
            Self::Key(Some(path)) => write!(f, "key.{path}"),
            Self::Value(path) => write!(f, "value.{path}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Topic => f.write_str("topic"),
            Self::Timestamp => f.write_str("timestamp"),
        }
    }
}

/// A record that was read, as operands see it.
#[derive(Clone, Copy)]
pub struct Sight<'r> {
    /// Its topic's name.
    pub topic: &'r str,
    /// Its own time, ms since the epoch; negative if it has none.
    pub time_ms: i64,
    /// Its headers.
    pub headers: Headers<'r>,
    /// Its key.
    pub key: &'r DecodedKey<'r>,
    /// Its value, as it was decoded and unwrapped; `None` for what has no parts.
    pub value: Option<Part<'r>>,
}

/// What an operand stands for. Anything that is no scalar is `Other`.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'r> {
    /// Nothing, or null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Another number.
    Float(f64),
    /// Text, or bytes.
    Text(Cow<'r, [u8]>),
    /// A record, a list, a map.
    Other,
}

impl Operand {
    /// Reads the name of one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = match text.split_once('.') {
            None if text == "key" => Some(Self::Key(None)),
            None if text == "topic" => Some(Self::Topic),
            None if text == "timestamp" => Some(Self::Timestamp),
            Some(("key", path)) if !path.is_empty() => Some(Self::Key(Some(path.to_owned()))),
            Some(("value", path)) if !path.is_empty() => Some(Self::Value(path.to_owned())),
            Some(("header", name)) if !name.is_empty() => Some(Self::Header(name.to_owned())),
            _ => None,
        };
        known.ok_or_else(|| format!("'{text}' is none of key, key.f, value.f, header.h, topic, timestamp"))
    }

    /// Whether a record without a value may lack it.
    pub fn may_lack(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Header(_))
    }

    /// What it stands for in a record.
    pub fn of<'r>(&self, sight: &Sight<'r>) -> Scalar<'r> {
        match self {
            Self::Key(path) => sight.key.scalar(path.as_deref()),
            Self::Value(path) => sight.value.and_then(|value| value.at(path)).map_or(Scalar::Null, Scalar::of),
            Self::Header(name) => sight.headers.last(name).map_or(Scalar::Null, |text| Scalar::Text(text.into())),
            Self::Topic => Scalar::Text(sight.topic.as_bytes().into()),
            Self::Timestamp => Scalar::Int(sight.time_ms.into()),
        }
    }
}

impl<'r> Scalar<'r> {
    /// That of a part.
    pub fn of(part: Part<'r>) -> Self {
        match part.plain() {
            Plain::Null => Self::Null,
            Plain::Bool(truth) => Self::Bool(truth),
            Plain::Int(number) => Self::Int(number),
            Plain::Float(number) => Self::Float(number),
            Plain::Text(text) => Self::Text(text),
            Plain::Other => Self::Other,
        }
    }

    /// As a whole number, if it is one, or the text of one.
    pub fn whole_number(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => core::str::from_utf8(text).ok()?.trim().parse().ok(),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => core::str::from_utf8(text).ok()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// How two compare, if they can be: numbers as such, with text that is a number too; text by its bytes. Null equals null.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Text(text), Self::Bool(truth)) | (Self::Bool(truth), Self::Text(text)) => {
                let word: &[u8] = if *truth { b"true" } else { b"false" };
                (**text == *word).then_some(Ordering::Equal)
            }
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyDecode;
    use crate::datum::Datum;
    use serde_json::json;

    #[test]
    fn operands_of_a_record() {
        let key = DecodedKey::read(br#"{"id": 7}"#, KeyDecode::Json).unwrap();
        let value = Datum::Json(json!({"a": {"b": 1.5}, "n": null, "s": "x", "l": [1]}));
        let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"1")), ("h", Some(b"2")), ("none", None)];
        let sight =
            Sight { topic: "t", time_ms: 5, headers: Headers::Known(headers), key: &key, value: Some(value.whole()) };
        let of = |name: &str| Operand::parse(name).unwrap().of(&sight);
        assert_eq!(of("key.id"), Scalar::Int(7));
        assert_eq!((of("value.a.b"), of("value.s")), (Scalar::Float(1.5), Scalar::Text(b"x"[..].into())));
        assert_eq!((of("value.n"), of("value.no.such"), of("value.l")), (Scalar::Null, Scalar::Null, Scalar::Other));
        assert_eq!((of("header.h"), of("header.none")), (Scalar::Text(b"2"[..].into()), Scalar::Null));
        assert_eq!((of("topic"), of("timestamp")), (Scalar::Text(b"t"[..].into()), Scalar::Int(5)));
        for bad in ["", "value", "value.", "header", "keys", "offset"] {
            assert!(Operand::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scalars_compare_by_what_they_are() {
        let text = |text: &'static str| Scalar::Text(text.as_bytes().into());
        assert_eq!(Scalar::Int(9).compare(&Scalar::Int(10)), Some(Ordering::Less));
        assert_eq!(text("9").compare(&text("10")), Some(Ordering::Greater));
        assert_eq!(text("9").compare(&Scalar::Int(10)), Some(Ordering::Less));
        assert_eq!(Scalar::Float(0.5).compare(&Scalar::Int(1)), Some(Ordering::Less));
        assert_eq!(text("true").compare(&Scalar::Bool(true)), Some(Ordering::Equal));
        assert_eq!(Scalar::Null.compare(&Scalar::Null), Some(Ordering::Equal));
        for (a, b) in [(Scalar::Null, Scalar::Int(0)), (text("x"), Scalar::Int(1)), (Scalar::Other, Scalar::Other)] {
            assert_eq!(a.compare(&b), None, "{a:?} {b:?}");
        }
    }
}
