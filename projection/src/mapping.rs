//! From a record to an entry: the key by its template, the value in the form that is asked for.

use crate::config::{Envelope, Form, KeyDecode, Nulls, Projection};
use crate::datum::{Datum, Flattening, Part};
use crate::errors::Class;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with a record, and the class of that.
pub type Bad = (Class, String);

/// A key template: literal text and holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// The record's key, or the part of it at a path.
    Key(Option<String>),
    Topic,
}

impl Template {
    /// Reads `text{hole}text`. Holes are `key`, `key.path`, `topic`; `{{` and `}}` stand for braces.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let hole = (brace == "{").then(|| rest.split_once('}')).flatten();
            let (hole, after) = hole.ok_or("a hole is not closed, or a brace is not doubled")?;
            if !literal.is_empty() {
                parts.push(Piece::Text(core::mem::take(&mut literal).into_bytes()));
            }
            parts.push(match hole.split_once('.') {
                None if hole == "key" => Piece::Key(None),
                Some(("key", path)) if !path.is_empty() => Piece::Key(Some(path.to_owned())),
                None if hole == "topic" => Piece::Topic,
                Some(("value", _)) => {
                    return Err("keys made of values lose their tombstones: use the record's key".to_owned());
                }
                _ => return Err(format!("{{{hole}}}: holes are {{key}}, {{key.path}} and {{topic}}")),
            });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Piece::Text(literal.into_bytes()));
        }
        Ok(Self { parts })
    }

    /// The literal text before the first hole.
    pub fn prefix(&self) -> &[u8] {
        match self.parts.first() {
            Some(Piece::Text(text)) => text,
            _ => b"",
        }
    }

    /// Whether its holes can be filled from keys read that way.
    pub fn check(&self, decode: KeyDecode) -> Result<(), String> {
        let keys = self.parts.iter().filter_map(|piece| match piece {
            Piece::Key(path) => Some(path),
            _ => None,
        });
        if keys.clone().next().is_none() {
            return Err("the record's {key} must be in it: else all records are one entry".to_owned());
        }
        let has_parts = matches!(decode, KeyDecode::Json | KeyDecode::Avro);
        match keys.flatten().next() {
            Some(path) if !has_parts => Err(format!("{{key.{path}}}: only keys of json and avro have parts")),
            _ => Ok(()),
        }
    }

    /// Writes the entry's key.
    pub fn write(&self, topic: &str, key: &DecodedKey<'_>, to: &mut Vec<u8>) -> Result<(), Bad> {
        for piece in &self.parts {
            match piece {
                Piece::Text(text) => to.extend_from_slice(text),
                Piece::Topic => to.extend_from_slice(topic.as_bytes()),
                Piece::Key(path) => key.write(path.as_deref(), to)?,
            }
        }
        Ok(())
    }
}

/// A record's key as it was read.
#[derive(Clone, Debug)]
pub enum DecodedKey<'r> {
    /// Bytes as they are.
    Bytes(&'r [u8]),
    /// A number or another short text.
    Text(String),
    /// JSON or Avro.
    Datum(Datum),
}

impl<'r> DecodedKey<'r> {
    /// Reads a key of a form that needs no schema.
    pub fn read(bytes: &'r [u8], decode: KeyDecode) -> Result<Self, Bad> {
        let bad = |text: &str| (Class::BadKey, text.to_owned());
        Ok(match decode {
            KeyDecode::Bytes => Self::Bytes(bytes),
            KeyDecode::Utf8 => {
                core::str::from_utf8(bytes).map_err(|_| bad("the key is no UTF-8"))?;
                Self::Bytes(bytes)
            }
            KeyDecode::Int32 => {
                let n = bytes.try_into().map(i32::from_be_bytes).map_err(|_| bad("the key has not 4 bytes"))?;
                Self::Text(n.to_string())
            }
            KeyDecode::Int64 => {
                let n = bytes.try_into().map(i64::from_be_bytes).map_err(|_| bad("the key has not 8 bytes"))?;
                Self::Text(n.to_string())
            }
            KeyDecode::Uuid => {
                let n = bytes.try_into().map(u128::from_be_bytes).map_err(|_| bad("the key has not 16 bytes"))?;
                let hex = format!("{n:032x}");
                Self::Text([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
            }
            KeyDecode::Json => {
                let value =
                    serde_json::from_slice(bytes).map_err(|error| bad(&format!("the key is no JSON: {error}")))?;
                Self::Datum(Datum::Json(value))
            }
            KeyDecode::Avro => unreachable!("such a key is read with its schema"),
        })
    }

    fn write(&self, path: Option<&str>, to: &mut Vec<u8>) -> Result<(), Bad> {
        let bad = |text: String| (Class::BadKey, text);
        match (self, path) {
            (Self::Bytes(bytes), None) => to.extend_from_slice(bytes),
            (Self::Text(text), None) => to.extend_from_slice(text.as_bytes()),
            (Self::Datum(datum), path) => {
                let part = match path {
                    None => datum.whole(),
                    Some(path) => datum.whole().at(path).ok_or_else(|| bad(format!("the key has no part '{path}'")))?,
                };
                if part.is_null() {
                    return Err(bad("the key, or the part of it that names the entry, is null".to_owned()));
                }
                part.write_text(to);
            }
            (_, Some(_)) => unreachable!("checked with the configuration"),
        }
        Ok(())
    }
}

/// What a record says of its key.
#[derive(Clone, Copy, Debug)]
pub enum Said<'d> {
    /// This is its value.
    Is(Part<'d>),
    /// It is gone.
    Gone,
    /// Nothing.
    Nothing,
}

/// How records become entries; the same for all partitions.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The key's template.
    pub template: Template,
    /// How its bytes are read.
    pub key: KeyDecode,
    /// The entry's form.
    pub form: Form,
    envelope: Envelope,
    include: BTreeSet<String>,
    rename: BTreeMap<String, String>,
    flattening: Flattening,
    ttl_ms: Option<u64>,
}

impl Mapping {
    /// That of a checked configuration.
    pub fn new(config: &Projection) -> Self {
        Self {
            template: Template::parse(&config.key.template).expect("checked with the configuration"),
            key: config.key.decode,
            form: config.store.form,
            envelope: config.envelope,
            include: config.store.fields.include.iter().cloned().collect(),
            rename: config.store.fields.rename.clone(),
            flattening: Flattening { nested: config.store.nested, nulls: config.store.nulls },
            ttl_ms: config.ttl.as_ref().map(|ttl| ttl.after.as_millis() as u64),
        }
    }

    /// When an entry of a record with this time ends, ms since the epoch.
    pub fn deadline_ms(&self, record_ms: i64) -> Option<u64> {
        self.ttl_ms.map(|ttl| u64::try_from(record_ms).unwrap_or(0).saturating_add(ttl))
    }

    /// What a decoded value says: its own, or what its envelope holds.
    pub fn unwrap<'d>(&self, value: Part<'d>) -> Result<Said<'d>, Bad> {
        if self.envelope == Envelope::None {
            return Ok(Said::Is(value));
        }
        // With schemas, Debezium's JSON has the envelope under `payload`.
        let envelope = value.at("payload").filter(|_| value.at("op").is_none()).unwrap_or(value);
        if envelope.is_null() {
            return Ok(Said::Gone);
        }
        let mut op = Vec::new();
        envelope.at("op").map(|part| part.write_scalar(&mut op));
        match &*op {
            b"d" => Ok(Said::Gone),
            b"c" | b"r" | b"u" => match envelope.at("after") {
                Some(after) if !after.is_null() => Ok(Said::Is(after)),
                _ => Err((Class::Decode, "the envelope has no 'after'".to_owned())),
            },
            // Truncates, messages, heartbeats: not of this key.
            b"t" | b"m" => Ok(Said::Nothing),
            _ => Err((Class::Decode, "the value is no envelope of Debezium".to_owned())),
        }
    }

    /// Calls `each` with the fields a hash gets; the text is written to `scratch`.
    pub fn fields(
        &self,
        value: Part<'_>,
        scratch: &mut Vec<u8>,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Bad> {
        let mut some = false;
        let has_fields = value.each_field(self.flattening, &mut |name, part| {
            if !self.includes(name) {
                return;
            }
            let name = self.rename.get(name).map_or(name, String::as_str);
            scratch.clear();
            part.write_text(scratch);
            each(name.as_bytes(), scratch);
            some = true;
        });
        if !has_fields {
            return Err((Class::Decode, "the value has no fields".to_owned()));
        }
        if !some && self.flattening.nulls == Nulls::Omit {
            // An entry all the same: a key without fields would be no key.
            each(b"", b"");
        }
        Ok(())
    }

    /// Whether a field, or one that it lies in, is asked for.
    fn includes(&self, name: &str) -> bool {
        self.include.is_empty()
            || self.include.contains(name)
            || name.match_indices('.').any(|(at, _)| self.include.contains(&name[..at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(template: &str, key: &DecodedKey<'_>) -> Result<String, Bad> {
        let mut to = Vec::new();
        Template::parse(template).unwrap().write("t", key, &mut to)?;
        Ok(String::from_utf8(to).unwrap())
    }

    #[test]
    fn templates() {
        let plain = DecodedKey::read(b"42", KeyDecode::Utf8).unwrap();
        assert_eq!(key("user:{key}", &plain).unwrap(), "user:42");
        assert_eq!(key("{topic}/{{{key}}}", &plain).unwrap(), "t/{42}");
        assert_eq!(Template::parse("a{{b:{key}x").unwrap().prefix(), b"a{b:");
        let json = DecodedKey::read(br#"{"id": 7, "at": {"x": "y"}}"#, KeyDecode::Json).unwrap();
        assert_eq!(key("u:{key.id}:{key.at.x}", &json).unwrap(), "u:7:y");
        assert_eq!(key("u:{key.nope}", &json).unwrap_err().0, Class::BadKey);
        for bad in ["{", "}", "{key", "x}", "{value.id}", "{header.x}", "{key.}", "{}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse("{key.id}").unwrap().check(KeyDecode::Utf8).is_err());
        assert!(Template::parse("const").unwrap().check(KeyDecode::Utf8).is_err());
    }

    #[test]
    fn keys() {
        let read = |bytes: &[u8], decode| key("{key}", &DecodedKey::read(bytes, decode)?);
        assert_eq!(read(&(-5i32).to_be_bytes(), KeyDecode::Int32).unwrap(), "-5");
        assert_eq!(read(&i64::MAX.to_be_bytes(), KeyDecode::Int64).unwrap(), i64::MAX.to_string());
        let uuid: [u8; 16] = core::array::from_fn(|at| at as u8);
        assert_eq!(read(&uuid, KeyDecode::Uuid).unwrap(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(read(b"\"x\"", KeyDecode::Json).unwrap(), "x");
        let bad: [(&[u8], KeyDecode); 5] = [
            (b"\xff", KeyDecode::Utf8),
            (b"123", KeyDecode::Int32),
            (b"1234", KeyDecode::Int64),
            (b"", KeyDecode::Uuid),
            (b"{", KeyDecode::Json),
        ];
        for (bytes, decode) in bad {
            assert_eq!(read(bytes, decode).unwrap_err().0, Class::BadKey, "{decode:?}");
        }
        assert_eq!(read(b"null", KeyDecode::Json).unwrap_err().0, Class::BadKey);
    }

    fn mapping(store: serde_json::Value, envelope: &str) -> Mapping {
        let config = json!({
            "source": {"kafka": "k", "topics": ["t"]}, "value": {"decode": "json"}, "store": store, "envelope": envelope,
            "ttl": {"after": "10s"},
        });
        Mapping::new(&serde_json::from_value(config).unwrap())
    }

    #[test]
    fn fields_are_chosen_and_renamed() {
        let mapping = mapping(
            json!({"as": "hash", "fields": {"include": ["name", "phone", "home"], "rename": {"phone": "tel", "home.zip": "zip"}}}),
            "none",
        );
        let value =
            Datum::Json(json!({"id": 1, "name": "n", "phone": "p", "home": {"zip": 9, "no": null}, "namesake": 2}));
        let mut fields = Vec::new();
        let mut keep =
            |name: &[u8], text: &[u8]| fields.push(format!("{}={}", name.escape_ascii(), text.escape_ascii()));
        mapping.fields(value.whole(), &mut Vec::new(), &mut keep).unwrap();
        mapping.fields(Datum::Json(json!({"id": 1})).whole(), &mut Vec::new(), &mut keep).unwrap();
        assert_eq!(fields, ["zip=9", "name=n", "tel=p", "="]);
        assert_eq!(
            mapping.fields(Datum::Json(json!(5)).whole(), &mut Vec::new(), |_, _| {}).unwrap_err().0,
            Class::Decode
        );
        assert_eq!(mapping.deadline_ms(5), Some(10_005));
    }

    #[test]
    fn envelopes() {
        let mapping = mapping(json!({"as": "json"}), "debezium");
        let said = |value: serde_json::Value| {
            let datum = Datum::Json(value);
            match mapping.unwrap(datum.whole()) {
                Ok(Said::Is(part)) => {
                    let mut text = Vec::new();
                    part.write_json(&mut text);
                    String::from_utf8(text).unwrap()
                }
                Ok(Said::Gone) => "gone".to_owned(),
                Ok(Said::Nothing) => "nothing".to_owned(),
                Err((class, _)) => class.name().to_owned(),
            }
        };
        assert_eq!(said(json!({"op": "c", "after": {"a": 1}})), "{\"a\":1}");
        assert_eq!(said(json!({"payload": {"op": "u", "after": {"a": 2}}, "schema": {}})), "{\"a\":2}");
        assert_eq!(said(json!({"op": "d", "before": {"a": 1}, "after": null})), "gone");
        assert_eq!(said(json!({"op": "t"})), "nothing");
        assert_eq!(said(json!({"op": "u", "after": null})), "decode");
        assert_eq!(said(json!({"a": 1})), "decode");
    }
}
