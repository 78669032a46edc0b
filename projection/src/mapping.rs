//! From a record to an entry: the key by its template, the value in the form that is asked for.

use crate::config::{ConflictBy, Envelope, FilterMode, Form, KeyDecode, Projection, TtlFrom, ValueDecode};
use crate::datum::{Datum, Flattening, Part};
use crate::errors::Class;
use crate::filter::Filter;
use crate::operand::{Operand, Scalar, Sight};
use crate::schema::uuid_text;
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
    Hole(Operand),
}

impl Template {
    /// Reads `text{hole}text`. Holes are `key`, `key.f`, `value.f`, `header.h`, `topic`; `{{` and `}}` stand for braces.
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
            match Operand::parse(hole) {
                Ok(operand) if operand != Operand::Timestamp => parts.push(Piece::Hole(operand)),
                _ => {
                    return Err(format!(
                        "{{{hole}}}: holes are {{key}}, {{key.f}}, {{value.f}}, {{header.h}}, {{topic}}"
                    ));
                }
            }
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

    /// What its holes are filled with.
    pub fn operands(&self) -> impl Iterator<Item = &Operand> {
        self.parts.iter().filter_map(|piece| match piece {
            Piece::Hole(operand) => Some(operand),
            Piece::Text(_) => None,
        })
    }

    /// Whether its holes can be filled from keys read that way. `is_indexed`: which entry a key became is remembered.
    pub fn check(&self, decode: KeyDecode, is_indexed: bool) -> Result<(), String> {
        let lacking = self.operands().find(|operand| operand.may_lack());
        if let Some(operand) = lacking.filter(|_| !is_indexed) {
            return Err(format!("tombstones have no {operand}: keys made of it need index: true"));
        }
        if lacking.is_none() && !self.operands().any(|operand| matches!(operand, Operand::Key(_))) {
            return Err("the record's {key} must be in it: else all records are one entry".to_owned());
        }
        self.operands().try_for_each(|operand| check_key_parts(operand, decode))
    }

    /// Writes the entry's key.
    pub fn write(&self, sight: &Sight<'_>, to: &mut Vec<u8>) -> Result<(), Bad> {
        let bad = |text: &str| (Class::BadKey, text.to_owned());
        for piece in &self.parts {
            match piece {
                Piece::Text(text) => to.extend_from_slice(text),
                Piece::Hole(Operand::Topic) => to.extend_from_slice(sight.topic.as_bytes()),
                Piece::Hole(Operand::Key(path)) => sight.key.write(path.as_deref(), to)?,
                Piece::Hole(Operand::Value(path)) => {
                    let part = sight.value.and_then(|value| value.at(path)).filter(|part| !part.is_null());
                    part.ok_or_else(|| bad("the part of the value that names the entry is missing"))?.write_text(to);
                }
                Piece::Hole(operand) => match operand.of(sight) {
                    Scalar::Text(text) => to.extend_from_slice(&text),
                    _ => return Err(bad("the header that names the entry is missing")),
                },
            }
        }
        Ok(())
    }
}

/// Whether keys read that way have the part that is named.
fn check_key_parts(operand: &Operand, decode: KeyDecode) -> Result<(), String> {
    let has_parts = matches!(decode, KeyDecode::Json | KeyDecode::Avro);
    match operand {
        Operand::Key(Some(path)) if !has_parts => Err(format!("key.{path}: only keys of json and avro have parts")),
        _ => Ok(()),
    }
}

/// Whether an operand can be had of records read that way.
pub(crate) fn check_operand(operand: &Operand, config: &Projection) -> Result<(), String> {
    match operand {
        Operand::Value(path) if config.value.decode == ValueDecode::Raw => {
            Err(format!("value.{path}: a value that is not decoded has no parts"))
        }
        operand => check_key_parts(operand, config.key.decode),
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
                Self::Text(uuid_text(n))
            }
            KeyDecode::Json => {
                let value =
                    serde_json::from_slice(bytes).map_err(|error| bad(&format!("the key is no JSON: {error}")))?;
                Self::Datum(Datum::Json(value))
            }
            KeyDecode::Avro => unreachable!("such a key is read with its schema"),
        })
    }

    /// The key, or a part of it, as a scalar.
    pub fn scalar(&self, path: Option<&str>) -> Scalar<'_> {
        match (self, path) {
            (Self::Bytes(bytes), None) => Scalar::Text((*bytes).into()),
            (Self::Text(text), None) => Scalar::Text(text.as_bytes().into()),
            (Self::Datum(datum), None) => Scalar::of(datum.whole()),
            (Self::Datum(datum), Some(path)) => datum.whole().at(path).map_or(Scalar::Null, Scalar::of),
            (_, Some(_)) => Scalar::Null,
        }
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
    /// Values stay the bytes they are, once they were checked.
    pub is_verbatim: bool,
    envelope: Envelope,
    include: BTreeSet<String>,
    rename: BTreeMap<String, String>,
    flattening: Flattening,
    filter: Option<(Filter, FilterMode)>,
    ttl: Option<Lifetime>,
    version: ConflictBy,
}

/// From when an entry lives, and how long.
#[derive(Clone, Debug)]
struct Lifetime {
    from: TtlFrom,
    after_ms: u64,
    /// Of numbers whose schema has none.
    unit_us: u64,
}

/// What a filter makes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// It passes.
    Passes,
    /// It is as if its key had no value.
    Gone,
    /// It is as if it were not there.
    Ignored,
}

impl Mapping {
    /// That of a checked configuration.
    pub fn new(config: &Projection) -> Self {
        let template = Template::parse(&config.key.template).expect("checked with the configuration");
        let filter = config
            .filter
            .as_ref()
            .map(|filter| (Filter::parse(&filter.condition).expect("checked with the configuration"), filter.mode));
        let ttl = config.ttl.as_ref().map(|ttl| Lifetime {
            from: ttl.from.clone(),
            after_ms: ttl.after.as_millis() as u64,
            unit_us: ttl.unit.us(),
        });
        let mut looks_inside = template.operands().any(|operand| matches!(operand, Operand::Value(_)));
        let mut look = |operand: &Operand| looks_inside |= matches!(operand, Operand::Value(_));
        filter.iter().for_each(|(filter, _)| filter.each_operand(&mut look));
        if let Some(Lifetime { from: TtlFrom::Part(operand), .. }) = &ttl {
            look(operand);
        }
        if let ConflictBy::Part(operand) = &config.conflict.by {
            look(operand);
        }
        let is_json = config.store.form == Form::Json && config.value.decode == ValueDecode::Json;
        Self {
            template,
            key: config.key.decode,
            form: config.store.form,
            is_verbatim: is_json && config.envelope == Envelope::None && !looks_inside,
            envelope: config.envelope,
            include: config.store.fields.include.iter().cloned().collect(),
            rename: config.store.fields.rename.clone(),
            flattening: Flattening { nested: config.store.nested, nulls: config.store.nulls },
            filter,
            ttl,
            version: config.conflict.by.clone(),
        }
    }

    /// What the filter makes of a record that has a value.
    pub fn filtered(&self, sight: &Sight<'_>) -> Filtered {
        match &self.filter {
            Some((filter, mode)) if !filter.passes(sight) => match mode {
                FilterMode::View => Filtered::Gone,
                FilterMode::Ignore => Filtered::Ignored,
            },
            _ => Filtered::Passes,
        }
    }

    /// When the entry of a record ends, ms since the epoch. A part that is missing, or null, ends nothing.
    pub fn deadline_ms(&self, sight: &Sight<'_>) -> Result<Option<u64>, Bad> {
        let Some(ttl) = &self.ttl else { return Ok(None) };
        let bad = || (Class::Decode, "what its entry's time to live counts from is no time".to_owned());
        let begun = match &ttl.from {
            TtlFrom::RecordTimestamp => Some(sight.time_ms.into()),
            TtlFrom::Part(Operand::Value(path)) => {
                let part = sight.value.and_then(|value| value.at(path)).filter(|part| !part.is_null());
                part.map(|part| part.time_ms(ttl.unit_us).ok_or_else(bad)).transpose()?
            }
            TtlFrom::Part(operand) => match operand.of(sight) {
                Scalar::Null => None,
                scalar => {
                    let number = scalar.whole_number().and_then(|number| number.checked_mul(ttl.unit_us.into()));
                    Some(number.ok_or_else(bad)? / 1000)
                }
            },
        };
        let begun = begun.map(|begun: i128| u64::try_from(begun.max(0)).unwrap_or(u64::MAX));
        Ok(begun.map(|begun| begun.saturating_add(ttl.after_ms)))
    }

    /// The version of a record among those of its key, if they have some.
    pub fn version(&self, sight: &Sight<'_>) -> Result<Option<u64>, Bad> {
        let operand = match &self.version {
            ConflictBy::Arrival => return Ok(None),
            ConflictBy::Timestamp => return Ok(Some(u64::try_from(sight.time_ms).unwrap_or(0))),
            ConflictBy::Part(operand) => operand,
        };
        let number = operand.of(sight).whole_number().and_then(|number| u64::try_from(number).ok());
        let bad = || (Class::Decode, "its version is no whole number of 0 to 2^64 - 1".to_owned());
        number.map(Some).ok_or_else(bad)
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
        if !some {
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
    use crate::source::Headers;
    use serde_json::json;

    fn key(template: &str, key: &DecodedKey<'_>) -> Result<String, Bad> {
        let mut to = Vec::new();
        let sight = Sight { topic: "t", time_ms: 0, headers: Headers::Known(&[("h", Some(b"x"))]), key, value: None };
        Template::parse(template).unwrap().write(&sight, &mut to)?;
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
        assert_eq!(key("{header.h}:{key.id}", &json).unwrap(), "x:7");
        assert_eq!(key("{header.none}", &json).unwrap_err().0, Class::BadKey);
        assert_eq!(key("{value.id}", &json).unwrap_err().0, Class::BadKey);
        for bad in ["{", "}", "{key", "x}", "{value}", "{timestamp}", "{key.}", "{}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        let check = |template: &str, is_indexed| Template::parse(template).unwrap().check(KeyDecode::Utf8, is_indexed);
        assert!(check("{key.id}", false).is_err() && check("const", true).is_err());
        assert!(check("{value.id}", false).unwrap_err().contains("index"));
        assert!(check("{value.id}", true).is_ok() && check("{key}", false).is_ok());
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
        let key = DecodedKey::Bytes(b"k");
        let sight = Sight { topic: "t", time_ms: 5, headers: Headers::Known(&[]), key: &key, value: None };
        assert_eq!(mapping.deadline_ms(&sight), Ok(Some(10_005)));
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
