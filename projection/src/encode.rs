//! The way back: a value, and an id, as a topic's records hold them.

use crate::config::KeyDecode;
use crate::mapping::DecodedKey;
use crate::operand::Scalar;
use crate::schema::SchemaText;
use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::Value as Json;

/// The bytes of a record's key that is read that way, and as that very text; `None` if there are none.
pub fn key(id: &str, decode: KeyDecode) -> Option<Vec<u8>> {
    let bytes = key_bytes(id, decode)?;
    let read = DecodedKey::read(&bytes, decode).ok()?;
    (read.scalar(None) == Scalar::Text(id.as_bytes().into())).then_some(bytes)
}

fn key_bytes(id: &str, decode: KeyDecode) -> Option<Vec<u8>> {
    match decode {
        KeyDecode::Utf8 | KeyDecode::Bytes => Some(id.as_bytes().to_vec()),
        KeyDecode::Int32 => id.parse::<i32>().ok().map(|number| number.to_be_bytes().to_vec()),
        KeyDecode::Int64 => id.parse::<i64>().ok().map(|number| number.to_be_bytes().to_vec()),
        KeyDecode::Uuid => {
            let hex: String = id.split('-').collect();
            let number = u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)?;
            Some(number.to_be_bytes().to_vec())
        }
        KeyDecode::Json | KeyDecode::Avro => None,
    }
}

/// A value of JSON in Avro, with the id of its schema before it, as Confluent's serializers write it. The error says why it
/// does not fit the schema.
pub fn avro(id: u32, given: &SchemaText, value: Json) -> Result<Vec<u8>, String> {
    let parsed = Schema::parse_str_with_list(&given.text, &given.references).map_err(|error| error.to_string())?;
    let (schema, references) = parsed;
    let all: Vec<&Schema> = references.iter().chain([&schema]).collect();
    let fits = |error: apache_avro::Error| format!("it does not fit its schema: {error}");
    let value = of_json(value).resolve_schemata(&schema, all.clone()).map_err(fits)?;
    let writer =
        GenericDatumWriter::builder(&schema).schemata(all).and_then(|builder| builder.build()).map_err(fits)?;
    let mut bytes = vec![0];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&writer.write_value_to_vec(value).map_err(fits)?);
    Ok(bytes)
}

/// A value of JSON as Avro has it, before its schema says more.
fn of_json(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Boolean(truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(Value::Long(whole), Value::Int),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::Array(items.into_iter().map(of_json).collect()),
        Json::Object(fields) => Value::Map(fields.into_iter().map(|(name, value)| (name, of_json(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Reader;
    use serde_json::json;

    #[test]
    fn keys_are_read_as_they_were_written() {
        for (id, decode) in [
            ("a b", KeyDecode::Utf8),
            ("-5", KeyDecode::Int32),
            ("9223372036854775807", KeyDecode::Int64),
            ("00010203-0405-0607-0809-0a0b0c0d0e0f", KeyDecode::Uuid),
        ] {
            let bytes = key(id, decode).unwrap();
            let read = DecodedKey::read(&bytes, decode).unwrap();
            assert_eq!(read.scalar(None), Scalar::Text(id.as_bytes().into()));
        }
        for (bad, decode) in [
            ("x", KeyDecode::Int32),
            ("007", KeyDecode::Int32),
            ("+7", KeyDecode::Int64),
            ("5000000000", KeyDecode::Int32),
            ("1-2", KeyDecode::Uuid),
        ] {
            assert_eq!(key(bad, decode), None, "{bad}");
        }
    }

    #[test]
    fn values_fit_their_schema_or_not() {
        let schema = r#"{"type": "record", "name": "U", "fields": [
            {"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"], "default": null},
            {"name": "at", "type": "A"}, {"name": "state", "type": {"type": "enum", "name": "E", "symbols": ["ON", "OFF"]}}]}"#;
        let inner = r#"{"type": "record", "name": "A", "fields": [{"name": "zip", "type": "string"}]}"#;
        let given = SchemaText { text: schema.to_owned(), references: vec![inner.to_owned()], reader: None };
        let whole = json!({"id": 7, "name": "ann", "at": {"zip": "1"}, "state": "ON"});
        let bytes = avro(258, &given, whole.clone()).unwrap();
        assert_eq!(bytes[..5], [0, 0, 0, 1, 2]);
        let mut text = Vec::new();
        Reader::parse(&given).unwrap().read(&bytes[5..]).unwrap().whole().write_json(&mut text);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), whole);
        assert!(avro(1, &given, json!({"id": 7, "at": {"zip": "1"}, "state": "ON"})).is_ok(), "a default");
        for bad in [
            json!({"id": "x", "at": {"zip": "1"}, "state": "ON"}),
            json!({"id": 7, "at": {}, "state": "ON"}),
            json!({"id": 7, "at": {"zip": "1"}, "state": "HALF"}),
            json!([]),
        ] {
            assert!(avro(1, &given, bad.clone()).unwrap_err().contains("does not fit"), "{bad}");
        }
    }
}
