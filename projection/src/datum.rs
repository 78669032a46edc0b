//! A decoded key or value: Avro or JSON, and how it is written as text, as JSON, or as the fields of a hash.
//!
//! Symbols of enums are text, decimals are text with their point, logical times are integers. Bytes are as they are in a hash
//! and base64 in JSON. What JSON has no number for (NaN, infinities) is a string there.

use crate::config::{Nested, Nulls};
use apache_avro::types::Value as Avro;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::borrow::Cow;

/// A decoded datum.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// Of Avro.
    Avro(Avro),
    /// Of JSON.
    Json(Json),
}

/// A part of one.
#[derive(Clone, Copy, Debug)]
pub enum Part<'d> {
    /// Of Avro.
    Avro(&'d Avro),
    /// Of JSON.
    Json(&'d Json),
}

/// A part by what it is to those who compare.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain<'d> {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number; times are theirs.
    Int(i128),
    /// Another number.
    Float(f64),
    /// Text or bytes; what else is written as text.
    Text(Cow<'d, [u8]>),
    /// A record, a list, a map.
    Other,
}

impl Datum {
    /// The whole of it.
    pub fn whole(&self) -> Part<'_> {
        match self {
            Self::Avro(value) => Part::Avro(value),
            Self::Json(value) => Part::Json(value),
        }
    }
}

impl<'d> Part<'d> {
    /// What a union holds.
    fn inner(self) -> Self {
        let mut part = self;
        while let Self::Avro(Avro::Union(_, inner)) = part {
            part = Self::Avro(inner);
        }
        part
    }

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        matches!(self.inner(), Self::Avro(Avro::Null) | Self::Json(Json::Null))
    }

    /// What it is to those who compare.
    pub fn plain(self) -> Plain<'d> {
        match self.inner() {
            Self::Json(Json::Null) | Self::Avro(Avro::Null) => Plain::Null,
            Self::Json(Json::Bool(truth)) | Self::Avro(Avro::Boolean(truth)) => Plain::Bool(*truth),
            Self::Json(Json::String(text)) | Self::Avro(Avro::String(text) | Avro::Enum(_, text)) => {
                Plain::Text(text.as_bytes().into())
            }
            Self::Json(Json::Number(number)) => match number.as_i128() {
                Some(whole) => Plain::Int(whole),
                None => Plain::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Self::Json(Json::Array(_) | Json::Object(_))
            | Self::Avro(Avro::Array(_) | Avro::Map(_) | Avro::Record(_)) => Plain::Other,
            Self::Avro(Avro::Float(number)) => Plain::Float((*number).into()),
            Self::Avro(Avro::Double(number)) => Plain::Float(*number),
            Self::Avro(Avro::Bytes(bytes) | Avro::Fixed(_, bytes)) => Plain::Text(bytes.as_slice().into()),
            Self::Avro(value) => whole_number(value).map_or_else(
                || {
                    let mut text = Vec::new();
                    avro_scalar(value, &mut text);
                    Plain::Text(text.into())
                },
                |number| Plain::Int(number.into()),
            ),
        }
    }

    /// It as a time, ms since the epoch, if it is a whole number, or the text of one; its schema's unit, else `unit_us`.
    pub fn time_ms(self, unit_us: u64) -> Option<i128> {
        let (number, unit_us) = match self.inner() {
            Self::Avro(Avro::TimestampMillis(n) | Avro::LocalTimestampMillis(n)) => (i128::from(*n), 1000),
            Self::Avro(Avro::TimestampMicros(n) | Avro::LocalTimestampMicros(n)) => (i128::from(*n), 1),
            Self::Avro(Avro::TimestampNanos(n) | Avro::LocalTimestampNanos(n)) => {
                return Some(i128::from(*n) / 1_000_000);
            }
            Self::Avro(Avro::Date(days)) => (i128::from(*days), 86_400_000_000),
            other => match other.plain() {
                Plain::Int(number) => (number, unit_us),
                Plain::Text(text) => (core::str::from_utf8(&text).ok()?.trim().parse().ok()?, unit_us),
                _ => return None,
            },
        };
        Some(number.checked_mul(unit_us.into())? / 1000)
    }

    /// The part at a path of names with points between them.
    pub fn at(self, path: &str) -> Option<Self> {
        path.split('.').try_fold(self, |part, name| part.field(name))
    }

    fn field(self, name: &str) -> Option<Self> {
        match self.inner() {
            Self::Avro(Avro::Record(fields)) => {
                fields.iter().find(|(known, _)| known == name).map(|(_, value)| Self::Avro(value))
            }
            Self::Avro(Avro::Map(fields)) => fields.get(name).map(Self::Avro),
            Self::Json(Json::Object(fields)) => fields.get(name).map(Self::Json),
            _ => None,
        }
    }

    /// Writes a scalar as text; false (and nothing) if it is none.
    pub fn write_scalar(self, to: &mut Vec<u8>) -> bool {
        match self.inner() {
            Self::Avro(value) => return avro_scalar(value, to),
            Self::Json(Json::String(text)) => to.extend_from_slice(text.as_bytes()),
            Self::Json(value @ (Json::Bool(_) | Json::Number(_))) => to.extend_from_slice(value.to_string().as_bytes()),
            Self::Json(Json::Null | Json::Array(_) | Json::Object(_)) => return false,
        }
        true
    }

    /// Writes it as JSON.
    pub fn write_json(self, to: &mut Vec<u8>) {
        match self.inner() {
            Self::Avro(value) => avro_json(value, to),
            Self::Json(value) => write(value, to),
        }
    }

    /// Writes it as text: a scalar as such, anything else as JSON, null as nothing.
    pub fn write_text(self, to: &mut Vec<u8>) {
        if !self.write_scalar(to) && !self.is_null() {
            self.write_json(to);
        }
    }

    /// Calls `each` with the name and the part of every field that a hash gets. False if this has no fields.
    pub fn each_field(self, how: Flattening, each: &mut impl FnMut(&str, Part<'d>)) -> bool {
        self.flatten(&mut String::new(), how, each)
    }

    fn flatten(self, name: &mut String, how: Flattening, each: &mut impl FnMut(&str, Part<'d>)) -> bool {
        let whole = self.inner();
        match whole {
            Self::Avro(Avro::Record(fields)) => {
                for (field, value) in fields {
                    nest(name, field, Self::Avro(value), how, each);
                }
            }
            // Sorted, so that equal values make equal entries.
            Self::Avro(Avro::Map(fields)) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_unstable_by_key(|(field, _)| *field);
                for (field, value) in fields {
                    nest(name, field, Self::Avro(value), how, each);
                }
            }
            Self::Json(Json::Object(fields)) => {
                for (field, value) in fields {
                    nest(name, field, Self::Json(value), how, each);
                }
            }
            _ => return false,
        }
        true
    }
}

/// How records within records become fields.
#[derive(Clone, Copy, Debug)]
pub struct Flattening {
    /// What they become.
    pub nested: Nested,
    /// What fields without a value become.
    pub nulls: Nulls,
}

fn nest<'d>(name: &mut String, field: &str, part: Part<'d>, how: Flattening, each: &mut impl FnMut(&str, Part<'d>)) {
    let outer = name.len();
    if outer > 0 {
        name.push('.');
    }
    name.push_str(field);
    let is_flat = how.nested == Nested::Json || !part.flatten(name, how, each);
    if is_flat && !(part.is_null() && how.nulls == Nulls::Omit) {
        each(name, part);
    }
    name.truncate(outer);
}

fn write(value: &impl serde::Serialize, to: &mut Vec<u8>) {
    serde_json::to_writer(to, value).expect("writing JSON to memory cannot fail");
}

/// A whole number, or a time as the number it is.
fn whole_number(value: &Avro) -> Option<i64> {
    match value {
        Avro::Int(n) | Avro::Date(n) | Avro::TimeMillis(n) => Some((*n).into()),
        Avro::Long(n)
        | Avro::TimeMicros(n)
        | Avro::TimestampMillis(n)
        | Avro::TimestampMicros(n)
        | Avro::TimestampNanos(n)
        | Avro::LocalTimestampMillis(n)
        | Avro::LocalTimestampMicros(n)
        | Avro::LocalTimestampNanos(n) => Some(*n),
        _ => None,
    }
}

/// Writes a scalar; false (and nothing) if it is none.
fn avro_scalar(value: &Avro, to: &mut Vec<u8>) -> bool {
    let mut digits = itoa::Buffer::new();
    match value {
        Avro::Null | Avro::Array(_) | Avro::Map(_) | Avro::Record(_) | Avro::Union(..) => return false,
        Avro::Boolean(truth) => to.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Avro::String(text) | Avro::Enum(_, text) => to.extend_from_slice(text.as_bytes()),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => to.extend_from_slice(bytes),
        Avro::Float(number) => to.extend_from_slice(number.to_string().as_bytes()),
        Avro::Double(number) => to.extend_from_slice(number.to_string().as_bytes()),
        Avro::Decimal(decimal) => {
            to.extend_from_slice(num_bigint::BigInt::from(decimal.clone()).to_string().as_bytes())
        }
        Avro::BigDecimal(decimal) => to.extend_from_slice(decimal.to_string().as_bytes()),
        Avro::Uuid(uuid) => to.extend_from_slice(uuid.to_string().as_bytes()),
        Avro::Duration(duration) => {
            let parts = (u32::from(duration.months()), u32::from(duration.days()), u32::from(duration.millis()));
            to.extend_from_slice(format!("{}m{}d{}ms", parts.0, parts.1, parts.2).as_bytes());
        }
        _ => match whole_number(value) {
            Some(number) => to.extend_from_slice(digits.format(number).as_bytes()),
            None => return false,
        },
    }
    true
}

fn avro_json(value: &Avro, to: &mut Vec<u8>) {
    match value {
        Avro::Null => to.extend_from_slice(b"null"),
        Avro::Union(_, inner) => avro_json(inner, to),
        Avro::Array(items) => {
            to.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    to.push(b',');
                }
                avro_json(item, to);
            }
            to.push(b']');
        }
        Avro::Record(fields) => object(fields.iter().map(|(name, value)| (name, value)), to),
        Avro::Map(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            object(fields.into_iter(), to);
        }
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => write(&STANDARD.encode(bytes), to),
        Avro::String(text) | Avro::Enum(_, text) => write(text, to),
        Avro::Float(number) if number.is_finite() => write(number, to),
        Avro::Double(number) if number.is_finite() => write(number, to),
        Avro::Float(_)
        | Avro::Double(_)
        | Avro::Decimal(_)
        | Avro::BigDecimal(_)
        | Avro::Uuid(_)
        | Avro::Duration(_) => {
            let mut text = Vec::new();
            avro_scalar(value, &mut text);
            write(&String::from_utf8_lossy(&text), to);
        }
        _ => {
            avro_scalar(value, to);
        }
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a String, &'a Avro)>, to: &mut Vec<u8>) {
    to.push(b'{');
    for (at, (name, value)) in fields.enumerate() {
        if at > 0 {
            to.push(b',');
        }
        write(name, to);
        to.push(b':');
        avro_json(value, to);
    }
    to.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Avro {
        let union = |value| Avro::Union(1, Box::new(value));
        Avro::Record(vec![
            ("id".to_owned(), Avro::Long(-7)),
            ("name".to_owned(), union(Avro::String("Ä \"q\"".to_owned()))),
            ("none".to_owned(), union(Avro::Null)),
            ("raw".to_owned(), Avro::Bytes(vec![0, 255])),
            ("nan".to_owned(), Avro::Double(f64::NAN)),
            ("state".to_owned(), Avro::Enum(2, "OPEN".to_owned())),
            ("at".to_owned(), Avro::TimestampMillis(1_700_000_000_000)),
            ("list".to_owned(), Avro::Array(vec![Avro::Int(1), Avro::Boolean(true)])),
            (
                "inner".to_owned(),
                union(Avro::Record(vec![("x".to_owned(), Avro::Float(1.5)), ("y".to_owned(), Avro::Null)])),
            ),
        ])
    }

    fn fields(datum: &Datum, nested: Nested, nulls: Nulls) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        assert!(datum.whole().each_field(Flattening { nested, nulls }, &mut |name, part| {
            let mut text = Vec::new();
            part.write_text(&mut text);
            fields.push((name.to_owned(), text));
        }));
        fields
    }

    #[test]
    fn avro_as_json() {
        let mut text = Vec::new();
        Datum::Avro(record()).whole().write_json(&mut text);
        let back: Json = serde_json::from_slice(&text).unwrap();
        let expected = json!({
            "id": -7, "name": "Ä \"q\"", "none": null, "raw": "AP8=", "nan": "NaN", "state": "OPEN",
            "at": 1_700_000_000_000_i64, "list": [1, true], "inner": {"x": 1.5, "y": null},
        });
        assert_eq!(back, expected);
    }

    #[test]
    fn avro_as_fields() {
        let datum = Datum::Avro(record());
        let own = |pairs: &[(&str, &[u8])]| -> Vec<(String, Vec<u8>)> {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), text.to_vec())).collect()
        };
        let head: &[(&str, &[u8])] = &[
            ("id", b"-7"),
            ("name", "Ä \"q\"".as_bytes()),
            ("raw", &[0, 255]),
            ("nan", b"NaN"),
            ("state", b"OPEN"),
            ("at", b"1700000000000"),
            ("list", b"[1,true]"),
        ];
        assert_eq!(fields(&datum, Nested::Dot, Nulls::Omit), own(&[head, &[("inner.x", b"1.5")]].concat()));
        assert_eq!(
            fields(&datum, Nested::Json, Nulls::Omit),
            own(&[head, &[("inner", b"{\"x\":1.5,\"y\":null}")]].concat())
        );
        assert_eq!(fields(&datum, Nested::Dot, Nulls::Empty).len(), 10);
        let json = Datum::Json(json!({"a": {"b": 1, "c": null}, "d": "text", "e": [1, 2]}));
        assert_eq!(fields(&json, Nested::Dot, Nulls::Omit), own(&[("a.b", b"1"), ("d", b"text"), ("e", b"[1,2]")]));
    }

    #[test]
    fn parts_by_path() {
        let datum = Datum::Avro(record());
        let text = |path: &str| {
            let mut text = Vec::new();
            datum.whole().at(path).map(|part| part.write_text(&mut text)).map(|()| text)
        };
        assert_eq!(text("inner.x").as_deref(), Some(&b"1.5"[..]));
        assert_eq!(text("inner.z"), None);
        assert!(datum.whole().at("none").unwrap().is_null());
        assert!(
            !Datum::Json(json!([1]))
                .whole()
                .each_field(Flattening { nested: Nested::Dot, nulls: Nulls::Omit }, &mut |_, _| {})
        );
    }
}
