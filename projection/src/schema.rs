//! Avro schemas: found by the ids that values begin with, parsed once, and read with.
//!
//! Who fetches them is somebody else: a record of an unknown id is asked for, and read again once its schema is here.

use crate::config::Wire;
use crate::datum::Datum;
use crate::errors::Class;
use crate::mapping::Bad;
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{Name, RecordSchema};
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
}

/// Why a schema was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// The registry does not know it.
    Unknown,
    /// The registry cannot be asked now.
    Outage(String),
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
        let parse = || Schema::parse_str_with_list(&given.text, &given.references);
        let parsed = catch_unwind(AssertUnwindSafe(parse)).map_err(|_| "the schema cannot be parsed".to_owned())?;
        let (schema, references) = parsed.map_err(|error| error.to_string())?;
        let mut named = HashMap::new();
        references.iter().chain([&schema]).for_each(|schema| collect(schema, &mut named));
        let is_recursive = contains_itself(&schema, &named, &mut Vec::new());
        let has_decimals = given.references.iter().chain([&given.text]).any(|text| text.contains("decimal"));
        let prepared = Prepared::try_new(Parsed { schema, references }, |parsed| {
            let all: Vec<&Schema> = parsed.references.iter().chain([&parsed.schema]).collect();
            let builder = GenericDatumReader::builder(&parsed.schema).writer_schemata(all);
            builder.and_then(|builder| builder.build()).map_err(|error| error.to_string())
        })?;
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
            scale(&mut value, &self.prepared.borrow_owner().schema, named);
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
    /// No registry knows it: so it is for good.
    Unknown,
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
    pub fn look(&self, id: u64) -> Look<'_> {
        match self.by_id.get(&id) {
            Some(Known::Ready(reader)) => Look::Ready(reader),
            None => Look::Wanted,
            Some(Known::Unknown) => Look::Never((Class::UnknownSchema, format!("no registry knows schema {id}"))),
            Some(Known::Broken(reason)) => Look::Never((Class::Decode, format!("schema {id}: {reason}"))),
        }
    }

    /// Takes one that was fetched; `None`: it is known to nobody.
    pub fn put(&mut self, id: u64, text: Option<&SchemaText>) {
        if self.by_id.len() >= MAX_SCHEMAS {
            self.by_id.clear();
        }
        let known = match text.map(Reader::parse) {
            None => Known::Unknown,
            Some(Ok(reader)) => Known::Ready(reader),
            Some(Err(reason)) => Known::Broken(reason),
        };
        self.by_id.insert(id, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::writer::datum::GenericDatumWriter;

    fn text(text: &str) -> SchemaText {
        SchemaText { text: text.to_owned(), references: Vec::new() }
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

    #[test]
    fn references_are_resolved() {
        let outer = r#"{"type": "record", "name": "Outer", "fields": [{"name": "user", "type": "User"}]}"#;
        let given = SchemaText { text: outer.to_owned(), references: vec![USER.to_owned()] };
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
        assert!(matches!(schemas.look(1), Look::Wanted));
        schemas.put(1, Some(&text(USER)));
        schemas.put(2, None);
        schemas.put(3, Some(&text("{")));
        assert!(matches!(schemas.look(1), Look::Ready(_)));
        assert!(matches!(schemas.look(2), Look::Never((Class::UnknownSchema, _))));
        assert!(matches!(schemas.look(3), Look::Never((Class::Decode, _))));
    }
}
