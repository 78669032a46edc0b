//! Avro schemas: found by the ids that values begin with, parsed once, and read with.
//!
//! Who fetches them is somebody else: a record of an unknown id is asked for, and read again once its schema is here.

use crate::config::Wire;
use crate::datum::Datum;
use crate::errors::Class;
use crate::mapping::Bad;
use crate::source::Headers;
use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{Name, RecordField, RecordSchema, UnionSchema};
use apache_avro::types::Value;
use self_cell::self_cell;
use std::collections::HashMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest value of a schema that contains itself, bytes: how deep such a value is, and with it the stack that reading it
/// takes, is the value's choice.
pub const MAX_RECURSIVE_BYTES: usize = 1 << 10;

/// Stack that a thread needs to read any value, bytes: a level takes over 100 KB in a build without
/// optimisation, and of the stack only what is used takes memory.
pub const STACK_BYTES: usize = 256 << 20;

/// For so long what no registry knows is not asked for again, ms, unless told otherwise.
const UNKNOWN_MS: u64 = 5000;

/// Most schemas kept at once.
pub const MAX_SCHEMAS: usize = 10_000;

/// Bounds what a length inside a value may make the reader allocate, bytes; once for the process, before any is read.
pub fn limit_allocations(bytes: usize) {
    apache_avro::util::max_allocation_bytes(bytes);
}

/// A schema as a registry gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaText {
    /// The schema.
    pub text: String,
    /// Those it refers to, in the order in which they can be parsed.
    pub references: Vec<String>,
    /// The schema that values are read as, if it is another one.
    pub reader: Option<Box<SchemaText>>,
}

/// Why a schema was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// The registry does not know it.
    Unknown,
    /// The registry cannot be asked now.
    Outage(String),
    /// What it has cannot be read with.
    Broken(String),
}

/// What names a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaId {
    /// Its number in a registry.
    Number(u64),
    /// Its number in all registries.
    Guid(u128),
    /// Its fingerprint: CRC-64-AVRO of its canonical form.
    Fingerprint(u64),
    /// Nothing: it is the only one.
    Only,
}

impl SchemaId {
    /// That of the schema in single objects.
    pub fn fingerprint(text: &SchemaText) -> Result<Self, String> {
        let (schema, _) = parsed(text)?;
        let bytes = schema.fingerprint::<Rabin>().bytes;
        let bytes = bytes.try_into().map_err(|_| "a fingerprint has 8 bytes".to_owned())?;
        Ok(Self::Fingerprint(u64::from_le_bytes(bytes)))
    }

    /// Enough of it to tell it from others, for whoever looks at an entry.
    pub fn short(self) -> u32 {
        match self {
            Self::Number(number) | Self::Fingerprint(number) => number as u32,
            Self::Guid(number) => number as u32,
            Self::Only => 0,
        }
    }
}

impl core::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Guid(number) => f.write_str(&uuid_text(*number)),
            Self::Fingerprint(number) => write!(f, "{number:016x}"),
            Self::Only => f.write_str("of the file"),
        }
    }
}

/// A UUID as it is written.
pub(crate) fn uuid_text(number: u128) -> String {
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Splits a value, or a key, into the id of its schema and its bytes.
pub fn split<'r>(bytes: &'r [u8], wire: Wire, headers: Headers<'_>, of_key: bool) -> Result<(SchemaId, &'r [u8]), Bad> {
    let bad = |text: &str| (Class::BadMagic, text.to_owned());
    let prefixed = |id_bytes: usize| match bytes.split_first() {
        Some((0, rest)) if rest.len() >= id_bytes => {
            let (id, datum) = rest.split_at(id_bytes);
            Ok((SchemaId::Number(big_endian(id) as u64), datum))
        }
        _ => Err(bad("it does not begin with a zero byte and the id of a schema")),
    };
    let name = if of_key { "__key_schema_id" } else { "__value_schema_id" };
    let header = || headers.last(name);
    match wire {
        Wire::Auto => header().map_or_else(|| prefixed(4), |id| Ok((header_id(id)?, bytes))),
        Wire::Confluent => prefixed(4),
        Wire::Apicurio => prefixed(8),
        Wire::Header => Ok((header_id(header().ok_or_else(|| bad("no header has the id of its schema"))?)?, bytes)),
        Wire::SingleObject => match bytes {
            [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
                let (id, datum) = rest.split_at(8);
                Ok((SchemaId::Fingerprint(u64::from_le_bytes(id.try_into().expect("eight bytes"))), datum))
            }
            _ => Err(bad("it is no single object of Avro")),
        },
        Wire::None => Ok((SchemaId::Only, bytes)),
    }
}

fn big_endian(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The id in a header: of 16 bytes behind a one, or of four behind a zero.
fn header_id(header: &[u8]) -> Result<SchemaId, Bad> {
    match header {
        [1, id @ ..] if id.len() == 16 => Ok(SchemaId::Guid(big_endian(id))),
        [0, id @ ..] if id.len() == 4 => Ok(SchemaId::Number(big_endian(id) as u64)),
        _ => Err((Class::BadMagic, "the header with the id of its schema is none".to_owned())),
    }
}

struct Parsed {
    schema: Schema,
    references: Vec<Schema>,
    /// What values are read as, with its references.
    reader: Option<(Schema, Vec<Schema>)>,
}

/// Parses a schema after those that it refers to.
fn parsed(given: &SchemaText) -> Result<(Schema, Vec<Schema>), String> {
    let parse = || Schema::parse_str_with_list(&given.text, &given.references);
    let parsed = catch_unwind(AssertUnwindSafe(parse)).map_err(|_| "the schema cannot be parsed".to_owned())?;
    parsed.map_err(|error| error.to_string())
}

type DatumReader<'s> = GenericDatumReader<'s>;

self_cell! {
    struct Prepared {
        owner: Parsed,
        #[not_covariant]
        dependent: DatumReader,
    }
}

/// A schema that values are read with.
pub struct Reader {
    prepared: Prepared,
    is_recursive: bool,
    /// Schemas by name, if there are decimals: these are written with their scale, which values do not know.
    decimals: Option<HashMap<Name, Schema>>,
}

impl Reader {
    /// Parses a schema.
    pub fn parse(given: &SchemaText) -> Result<Self, String> {
        let (mut schema, references) = parsed(given)?;
        let reader = given.reader.as_deref().map(parsed).transpose()?;
        let mut named = HashMap::new();
        references.iter().chain([&schema]).for_each(|schema| collect(schema, &mut named));
        let is_recursive = contains_itself(&schema, &named, &mut Vec::new());
        let shown = given.reader.as_deref().unwrap_or(given);
        let has_decimals = shown.references.iter().chain([&shown.text]).any(|text| text.contains("decimal"));
        if let Some((reader, references)) = &reader {
            // What is shown has the reader's names.
            named.clear();
            references.iter().chain([reader]).for_each(|schema| collect(schema, &mut named));
            adopt_aliases(&mut schema, reader, &named);
        }
        let prepared = Prepared::try_new(Parsed { schema, references, reader }, |parsed| {
            let all: Vec<&Schema> = parsed.references.iter().chain([&parsed.schema]).collect();
            let builder = GenericDatumReader::builder(&parsed.schema).writer_schemata(all)?;
            match &parsed.reader {
                None => builder.build(),
                Some((reader, references)) => {
                    let all: Vec<&Schema> = references.iter().chain([reader]).collect();
                    builder.reader_schema(reader).reader_schemata(all)?.build()
                }
            }
        });
        let prepared = prepared.map_err(|error: apache_avro::Error| error.to_string())?;
        Ok(Self { prepared, is_recursive, decimals: has_decimals.then_some(named) })
    }

    /// Reads a value, to its last byte.
    pub fn read(&self, bytes: &[u8]) -> Result<Datum, String> {
        if self.is_recursive && bytes.len() > MAX_RECURSIVE_BYTES {
            return Err(format!(
                "values above {MAX_RECURSIVE_BYTES} bytes of a schema that contains itself are not read"
            ));
        }
        let mut from = Exact { rest: bytes, is_short: false };
        let read = || self.prepared.with_dependent(|_, reader| reader.read_value(&mut from));
        let value = catch_unwind(AssertUnwindSafe(read)).map_err(|_| "the value cannot be read".to_owned())?;
        let mut value = value.map_err(|error| error.to_string())?;
        if from.is_short {
            return Err("the value ends early".to_owned());
        }
        if !from.rest.is_empty() {
            return Err(format!("{} bytes are left after the value", from.rest.len()));
        }
        if let Some(named) = &self.decimals {
            let parsed = self.prepared.borrow_owner();
            scale(&mut value, parsed.reader.as_ref().map_or(&parsed.schema, |(reader, _)| reader), named);
        }
        Ok(Datum::Avro(value))
    }
}

/// Bytes to read, and whether more of them were wanted: the reader takes some missing ones for null.
struct Exact<'b> {
    rest: &'b [u8],
    is_short: bool,
}

impl Read for Exact<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.is_short |= self.rest.len() < to.len();
        self.rest.read(to)
    }
}

/// Gathers the schemas that have names.
fn collect(schema: &Schema, named: &mut HashMap<Name, Schema>) {
    match schema {
        Schema::Record(RecordSchema { name, fields, .. }) => {
            named.insert(name.clone(), schema.clone());
            fields.iter().for_each(|field| collect(&field.schema, named));
        }
        Schema::Array(array) => collect(&array.items, named),
        Schema::Map(map) => collect(&map.types, named),
        Schema::Union(union) => union.variants().iter().for_each(|schema| collect(schema, named)),
        Schema::Decimal(_) | Schema::Fixed(_) | Schema::Enum(_) => {
            if let Some(name) = schema.name() {
                named.insert(name.clone(), schema.clone());
            }
        }
        _ => {}
    }
}

/// Whether a record lies within itself. `within`: the names of those around.
fn contains_itself<'s>(schema: &'s Schema, named: &'s HashMap<Name, Schema>, within: &mut Vec<&'s Name>) -> bool {
    match schema {
        Schema::Record(RecordSchema { name, fields, .. }) => {
            if within.contains(&name) {
                return true;
            }
            within.push(name);
            let found = fields.iter().any(|field| contains_itself(&field.schema, named, within));
            within.pop();
            found
        }
        Schema::Array(array) => contains_itself(&array.items, named, within),
        Schema::Map(map) => contains_itself(&map.types, named, within),
        Schema::Union(union) => union.variants().iter().any(|schema| contains_itself(schema, named, within)),
        Schema::Ref { name } => {
            within.contains(&name) || named.get(name).is_some_and(|schema| contains_itself(schema, named, within))
        }
        _ => false,
    }
}

/// Gives fields of the writer's schema the names that the reader has for them, where its aliases say so: the library resolves
/// by names alone, and what is written has none.
fn adopt_aliases(writer: &mut Schema, reader: &Schema, named: &HashMap<Name, Schema>) {
    match (writer, reader) {
        (writer, Schema::Ref { name }) => {
            // One that contains itself is met again: its fields have their names by then.
            if let Some(reader) = named.get(name).filter(|_| !matches!(writer, Schema::Ref { .. })) {
                adopt_aliases(writer, reader, named);
            }
        }
        (Schema::Record(writer), Schema::Record(reader)) => {
            for field in &mut writer.fields {
                let is_it = |known: &&RecordField| known.name == field.name;
                let bears = |known: &&RecordField| known.aliases.contains(&field.name);
                let found = reader.fields.iter().find(is_it).or_else(|| reader.fields.iter().find(bears));
                if let Some(known) = found {
                    field.name.clone_from(&known.name);
                    adopt_aliases(&mut field.schema, &known.schema, named);
                }
            }
            writer.lookup = writer.fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at)).collect();
        }
        (Schema::Array(writer), Schema::Array(reader)) => adopt_aliases(&mut writer.items, &reader.items, named),
        (Schema::Map(writer), Schema::Map(reader)) => adopt_aliases(&mut writer.types, &reader.types, named),
        (Schema::Union(writer), reader) => {
            // The branches of a union cannot be changed where they are.
            let mut branches = writer.variants().to_vec();
            let readers = match reader {
                Schema::Union(reader) => reader.variants(),
                other => core::slice::from_ref(other),
            };
            for branch in &mut branches {
                readers.iter().for_each(|reader| adopt_aliases(branch, reader, named));
            }
            if let Ok(union) = UnionSchema::new(branches) {
                *writer = union;
            }
        }
        (writer, Schema::Union(reader)) => {
            reader.variants().iter().for_each(|reader| adopt_aliases(writer, reader, named));
        }
        _ => {}
    }
}

/// Turns decimals into their text.
fn scale(value: &mut Value, schema: &Schema, named: &HashMap<Name, Schema>) {
    match (value, schema) {
        (value, Schema::Ref { name }) => {
            if let Some(schema) = named.get(name) {
                scale(value, schema, named);
            }
        }
        (Value::Union(at, inner), Schema::Union(union)) => {
            if let Some(schema) = union.variants().get(*at as usize) {
                scale(inner, schema, named);
            }
        }
        (Value::Record(values), Schema::Record(record)) => {
            for ((_, value), field) in values.iter_mut().zip(&record.fields) {
                scale(value, &field.schema, named);
            }
        }
        (Value::Array(values), Schema::Array(array)) => {
            values.iter_mut().for_each(|value| scale(value, &array.items, named));
        }
        (Value::Map(values), Schema::Map(map)) => {
            values.values_mut().for_each(|value| scale(value, &map.types, named));
        }
        (value @ Value::Decimal(_), Schema::Decimal(decimal)) => {
            if let Value::Decimal(unscaled) = value {
                let digits = num_bigint::BigInt::from(unscaled.clone()).to_string();
                *value = Value::String(with_point(&digits, decimal.scale));
            }
        }
        _ => {}
    }
}

/// Digits with so many of them behind the point.
fn with_point(digits: &str, scale: usize) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, rest) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{rest}")
}

/// What is known of an id.
enum Known {
    Ready(Reader),
    /// No registry knew it then, engine's ms.
    Unknown(u64),
    /// It is there and cannot be read with.
    Broken(String),
}

/// The schemas of one registry, or of files.
pub struct Schemas {
    by_id: HashMap<SchemaId, Known>,
    /// They come from files: there are no others.
    is_closed: bool,
    /// For so long what no registry knows is not asked for again, ms.
    pub unknown_ms: u64,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { by_id: HashMap::new(), is_closed: false, unknown_ms: UNKNOWN_MS }
    }
}

/// What came of looking for a schema.
pub enum Look<'s> {
    /// Here it is.
    Ready(&'s Reader),
    /// It must be fetched first.
    Wanted,
    /// No value of it can be read.
    Never(Bad),
}

impl Schemas {
    /// The schema of an id.
    #[inline]
    pub fn look(&self, id: SchemaId, now_ms: u64) -> Look<'_> {
        match self.by_id.get(&id) {
            Some(Known::Ready(reader)) => Look::Ready(reader),
            None if self.is_closed => Look::Never((Class::UnknownSchema, format!("no file has schema {id}"))),
            None => Look::Wanted,
            // It may have been registered since.
            Some(Known::Unknown(then)) if now_ms.saturating_sub(*then) >= self.unknown_ms => Look::Wanted,
            Some(Known::Unknown(_)) => Look::Never((Class::UnknownSchema, format!("no registry knows schema {id}"))),
            Some(Known::Broken(reason)) => Look::Never((Class::Decode, format!("schema {id}: {reason}"))),
        }
    }

    /// Takes one of a file. The error is about it.
    pub fn put_own(&mut self, id: SchemaId, text: &SchemaText) -> Result<(), String> {
        self.is_closed = true;
        self.know(id, Known::Ready(Reader::parse(text)?));
        Ok(())
    }

    /// Takes one that was fetched.
    pub fn put(&mut self, id: SchemaId, text: &SchemaText) {
        self.know(id, Reader::parse(text).map_or_else(Known::Broken, Known::Ready));
    }

    /// Takes that it cannot be read with.
    pub fn put_broken(&mut self, id: SchemaId, reason: String) {
        self.know(id, Known::Broken(reason));
    }

    /// Takes that nobody knows it, at that time.
    pub fn put_unknown(&mut self, id: SchemaId, now_ms: u64) {
        self.know(id, Known::Unknown(now_ms));
    }

    /// Whether nobody knew it when it was last asked for.
    pub fn was_unknown(&self, id: SchemaId) -> bool {
        matches!(self.by_id.get(&id), Some(Known::Unknown(_)))
    }

    fn know(&mut self, id: SchemaId, known: Known) {
        if self.by_id.len() >= MAX_SCHEMAS {
            self.by_id.clear();
        }
        self.by_id.insert(id, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Header;
    use apache_avro::writer::datum::GenericDatumWriter;

    fn text(text: &str) -> SchemaText {
        SchemaText { text: text.to_owned(), ..SchemaText::default() }
    }

    const USER: &str = r#"{"type": "record", "name": "User", "fields": [
        {"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"], "default": null}]}"#;

    #[test]
    fn values_are_read_to_their_end() {
        let schema = Schema::parse_str(USER).unwrap();
        let value = Value::Record(vec![
            ("id".to_owned(), Value::Long(5)),
            ("name".to_owned(), Value::Union(1, Box::new(Value::String("x".to_owned())))),
        ]);
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let bytes = writer.write_value_to_vec(value.clone()).unwrap();
        let reader = Reader::parse(&text(USER)).unwrap();
        assert_eq!(reader.read(&bytes), Ok(Datum::Avro(value)));
        assert!(reader.read(&[&bytes[..], b"x"].concat()).unwrap_err().contains("left"));
        for cut in 0..bytes.len() {
            assert!(reader.read(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    /// Whatever it was written with: fields dropped, added with their defaults, wider numbers, other names.
    #[test]
    fn values_are_read_as_the_reader_says() {
        let reader = r#"{"type": "record", "name": "User", "fields": [{"name": "id", "type": "double"},
            {"name": "label", "aliases": ["name"], "type": ["null", "string"], "default": null},
            {"name": "level", "type": "int", "default": 3}]}"#;
        let given = SchemaText { reader: Some(Box::new(text(reader))), ..text(USER) };
        let mut json = Vec::new();
        Reader::parse(&given).unwrap().read(&[10, 2, 2, b'x']).unwrap().whole().write_json(&mut json);
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"id":5.0,"label":"x","level":3}"#);
        let other = SchemaText { reader: Some(Box::new(text(r#""int""#))), ..text(USER) };
        assert!(Reader::parse(&other).is_err() || Reader::parse(&other).unwrap().read(&[10, 0]).is_err());
    }

    #[test]
    fn references_are_resolved() {
        let outer = r#"{"type": "record", "name": "Outer", "fields": [{"name": "user", "type": "User"}]}"#;
        let given = SchemaText { references: vec![USER.to_owned()], ..text(outer) };
        let reader = Reader::parse(&given).unwrap();
        let Ok(Datum::Avro(Value::Record(fields))) = reader.read(&[10, 0]) else { panic!("a record") };
        assert_eq!(fields[0].0, "user");
        assert!(Reader::parse(&text(outer)).is_err());
    }

    #[test]
    fn decimals_have_their_point() {
        let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "price", "type": ["null",
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]}]}"#;
        let reader = Reader::parse(&text(schema)).unwrap();
        let mut json = Vec::new();
        // Branch 1, two bytes: -12345.
        reader.read(&[2, 4, 0xCF, 0xC7]).unwrap().whole().write_json(&mut json);
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"price":"-123.45"}"#);
        assert_eq!(
            (with_point("5", 3), with_point("-5", 0), with_point("-1234", 3)),
            ("0.005".into(), "-5".into(), "-1.234".into())
        );
    }

    /// A list that is as deep as it is long cannot take the stack.
    #[test]
    fn schemas_that_contain_themselves_read_short_values_only() {
        let list = r#"{"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}"#;
        let reader = Reader::parse(&text(list)).unwrap();
        let mut deep = vec![2; MAX_RECURSIVE_BYTES];
        deep[MAX_RECURSIVE_BYTES - 1] = 0;
        std::thread::scope(|scope| {
            let read = || {
                let mut json = Vec::new();
                reader.read(&deep).expect("it is short enough").whole().write_json(&mut json);
                json.len()
            };
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, read);
            assert!(thread.unwrap().join().unwrap() > MAX_RECURSIVE_BYTES);
        });
        assert!(reader.read(&vec![2; MAX_RECURSIVE_BYTES + 1]).unwrap_err().contains("contains itself"));
        let plain = Reader::parse(&text(USER)).unwrap();
        assert!(!plain.is_recursive);
    }

    #[test]
    fn ids_stand_before_values() {
        const NONE: Headers<'_> = Headers::Known(&[]);
        let number = |id| SchemaId::Number(id);
        assert_eq!(split(&[0, 0, 0, 1, 2, 9], Wire::Auto, NONE, false), Ok((number(258), &[9][..])));
        let long = [0, 0, 0, 0, 0, 0, 0, 1, 2, 9];
        assert_eq!(split(&long, Wire::Apicurio, NONE, false), Ok((number(258), &[9][..])));
        let guid: Vec<u8> = (0..17).map(|n| if n == 0 { 1 } else { n }).collect();
        let headers: &[Header<'_>] = &[("__value_schema_id", Some(&guid)), ("__key_schema_id", Some(&[0, 0, 0, 1, 2]))];
        let headers = Headers::Known(headers);
        let found = split(b"x", Wire::Auto, headers, false).unwrap();
        assert_eq!(found, (SchemaId::Guid(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), &b"x"[..]));
        assert_eq!(found.0.to_string(), "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(split(b"x", Wire::Header, headers, true), Ok((number(258), &b"x"[..])));
        let object = [0xC3, 1, 8, 7, 6, 5, 4, 3, 2, 1, 9];
        let fingerprint = SchemaId::Fingerprint(0x0102_0304_0506_0708);
        assert_eq!(split(&object, Wire::SingleObject, NONE, false), Ok((fingerprint, &[9][..])));
        assert_eq!(split(b"x", Wire::None, NONE, false), Ok((SchemaId::Only, &b"x"[..])));
        for (bad, wire) in [(&object[..5], Wire::SingleObject), (&[1, 2], Wire::Header)] {
            assert_eq!(split(bad, wire, NONE, false).unwrap_err().0, Class::BadMagic);
        }
        for bad in [&b""[..], &[1, 0, 0, 0, 1], &[0, 0, 0]] {
            assert_eq!(split(bad, Wire::Confluent, NONE, false).unwrap_err().0, Class::BadMagic);
        }
    }

    #[test]
    fn what_is_known_of_an_id() {
        let mut schemas = Schemas::default();
        assert!(matches!(schemas.look(SchemaId::Number(1), 0), Look::Wanted));
        schemas.put(SchemaId::Number(1), &text(USER));
        schemas.put_unknown(SchemaId::Number(2), 100);
        schemas.put(SchemaId::Number(3), &text("{"));
        assert!(matches!(schemas.look(SchemaId::Number(1), 0), Look::Ready(_)));
        assert!(matches!(schemas.look(SchemaId::Number(2), 100), Look::Never((Class::UnknownSchema, _))));
        assert!(
            matches!(schemas.look(SchemaId::Number(2), 100 + UNKNOWN_MS), Look::Wanted)
                && schemas.was_unknown(SchemaId::Number(2))
        );
        assert!(matches!(schemas.look(SchemaId::Number(3), 0), Look::Never((Class::Decode, _))));
    }
}
