//! Avro schemas: found by the ids that values begin with, parsed once, and read with.
//!
//! Who fetches them is somebody else: a record of an unknown id is asked for, and read again once its schema is here.

use crate::config::Wire;
use crate::datum::Datum;
use crate::errors::Class;
use crate::mapping::Bad;
use apache_avro::Schema;
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

/// For so long what no registry knows is not asked for again, ms.
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

/// Splits a value into the id of its schema and its bytes.
pub fn split(bytes: &[u8], wire: Wire) -> Result<(u64, &[u8]), Bad> {
    let id_bytes = if wire == Wire::Apicurio { 8 } else { 4 };
    match bytes.split_first() {
        Some((0, rest)) if rest.len() >= id_bytes => {
            let (id, datum) = rest.split_at(id_bytes);
            Ok((id.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)), datum))
        }
        _ => Err((Class::BadMagic, "it does not begin with a zero byte and the id of a schema".to_owned())),
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

/// The schemas of one registry.
#[derive(Default)]
pub struct Schemas {
    by_id: HashMap<u64, Known>,
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
    pub fn look(&self, id: u64, now_ms: u64) -> Look<'_> {
        match self.by_id.get(&id) {
            Some(Known::Ready(reader)) => Look::Ready(reader),
            None => Look::Wanted,
            // It may have been registered since.
            Some(Known::Unknown(then)) if now_ms.saturating_sub(*then) >= UNKNOWN_MS => Look::Wanted,
            Some(Known::Unknown(_)) => Look::Never((Class::UnknownSchema, format!("no registry knows schema {id}"))),
            Some(Known::Broken(reason)) => Look::Never((Class::Decode, format!("schema {id}: {reason}"))),
        }
    }

    /// Takes one that was fetched.
    pub fn put(&mut self, id: u64, text: &SchemaText) {
        self.know(id, Reader::parse(text).map_or_else(Known::Broken, Known::Ready));
    }

    /// Takes that it cannot be read with.
    pub fn put_broken(&mut self, id: u64, reason: String) {
        self.know(id, Known::Broken(reason));
    }

    /// Takes that nobody knows it, at that time.
    pub fn put_unknown(&mut self, id: u64, now_ms: u64) {
        self.know(id, Known::Unknown(now_ms));
    }

    /// Whether nobody knew it when it was last asked for.
    pub fn was_unknown(&self, id: u64) -> bool {
        matches!(self.by_id.get(&id), Some(Known::Unknown(_)))
    }

    fn know(&mut self, id: u64, known: Known) {
        if self.by_id.len() >= MAX_SCHEMAS {
            self.by_id.clear();
        }
        self.by_id.insert(id, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(split(&[0, 0, 0, 1, 2, 9], Wire::Auto), Ok((258, &[9][..])));
        assert_eq!(split(&[0, 0, 0, 0, 0, 0, 0, 1, 2, 9], Wire::Apicurio), Ok((258, &[9][..])));
        for bad in [&b""[..], &[1, 0, 0, 0, 1], &[0, 0, 0]] {
            assert_eq!(split(bad, Wire::Confluent).unwrap_err().0, Class::BadMagic);
        }
    }

    #[test]
    fn what_is_known_of_an_id() {
        let mut schemas = Schemas::default();
        assert!(matches!(schemas.look(1, 0), Look::Wanted));
        schemas.put(1, &text(USER));
        schemas.put_unknown(2, 100);
        schemas.put(3, &text("{"));
        assert!(matches!(schemas.look(1, 0), Look::Ready(_)));
        assert!(matches!(schemas.look(2, 100), Look::Never((Class::UnknownSchema, _))));
        assert!(matches!(schemas.look(2, 100 + UNKNOWN_MS), Look::Wanted) && schemas.was_unknown(2));
        assert!(matches!(schemas.look(3, 0), Look::Never((Class::Decode, _))));
    }
}
