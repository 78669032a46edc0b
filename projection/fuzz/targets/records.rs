//! Any bytes as keys, values and schemas of records: no panic, and no more memory than some times the input. The first byte
//! chooses how they are read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use projection::config;
use projection::engine::{Engine, Mutation};
use projection::filter::Filter;
use projection::mapping::Template;
use projection::schema::{Reader, SchemaId, SchemaText};
use projection::source::{Event, FoundTopic, Headers, RawRecord};
use serde_json::json;
use std::sync::Once;

const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "id", "type": "long"}, {"name": "text", "type": ["null", "string"]},
    {"name": "raw", "type": "bytes"}, {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 3}},
    {"name": "list", "type": {"type": "array", "items": ["int", "double", {"type": "map", "values": "R"}]}},
    {"name": "state", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

/// How keys and values are read, and what they become.
const FORMS: [(&str, &str, &str, &str); 7] = [
    ("utf8", "raw", "raw", "none"),
    ("json", "json", "hash", "none"),
    ("uuid", "json", "json", "debezium"),
    ("int32", "avro", "hash", "none"),
    ("int64", "avro", "json", "none"),
    ("avro", "avro", "hash", "debezium"),
    ("bytes", "json", "hash", "debezium"),
];

fuzz_target!(|bytes: &[u8]| {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| projection::schema::limit_allocations(1 << 20));
    let Some((how, bytes)) = bytes.split_first() else { return };
    let forms = FORMS.len();
    match *how as usize % (2 * forms + 2) {
        0 => schemas(bytes),
        1 => texts(bytes),
        form => records(FORMS[(form - 2) % forms], form - 2 >= forms, bytes),
    }
});

fn schemas(bytes: &[u8]) {
    let (schema, value) = bytes.split_at(bytes.len() * 3 / 4);
    let Ok(text) = core::str::from_utf8(schema) else { return };
    let given = SchemaText { text: text.to_owned(), ..SchemaText::default() };
    if let Ok(reader) = Reader::parse(&given)
        && let Ok(datum) = reader.read(value)
    {
        let mut json = Vec::new();
        datum.whole().write_json(&mut json);
        assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "what is written as JSON is JSON");
    }
}

/// What operators write: templates and filters.
fn texts(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let _ = Filter::parse(text);
    if let Ok(template) = Template::parse(text) {
        assert!(template.prefix().len() <= text.len());
    }
}

fn records((key, value, form, envelope): (&str, &str, &str, &str), has_rules: bool, bytes: &[u8]) {
    let mut config = json!({
        "source": {"kafka": "k", "topics": ["t"]}, "key": {"decode": key, "template": "p:{key}"},
        "value": {"decode": value}, "store": {"as": form, "nested": "dot"}, "envelope": envelope,
        "errors": {"poison_key": "delete"},
    });
    if has_rules {
        let rules = json!({
            "key": {"decode": key, "template": "p:{value.text}{header.h}", "index": true},
            "filter": {"where": "value.id != 3 and not (key.id in ('a', 1) or header.h == null)"},
            "ttl": {"from": "value.at", "after": "1h"}, "conflict": {"by": "header.h"}, "errors": {"poison_key": "error"},
        });
        config.as_object_mut().expect("a mapping").extend(rules.as_object().expect("a mapping").clone());
    }
    let config: config::Projection = serde_json::from_value(config).expect("a configuration");
    let mut engine = Engine::new(config);
    engine.found(0, &FoundTopic { id: "a".to_owned(), partitions: vec![(0, 100)], ..FoundTopic::default() });
    let schema = SchemaText { text: SCHEMA.to_owned(), ..SchemaText::default() };
    for of_key in [false, true] {
        // The id that the inputs most often have.
        engine.schema(SchemaId::Number(0), of_key, Ok(&schema), 0, 0);
    }
    let (mut rest, mut offset) = (bytes, 0);
    while let Some((cut, after)) = rest.split_first() {
        let (record, after) = after.split_at(after.len().min(usize::from(*cut)));
        rest = after;
        let (key, value) = record.split_at(record.len() / 3);
        let value = Some(value).filter(|_| cut % 16 > 0);
        let number = cut.to_string();
        let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(number.as_bytes())), ("__key_schema_id", Some(&key[key.len() / 2..]))];
        let headers = Headers::Known(&headers[..usize::from(cut % 3)]);
        let record = RawRecord { topic: 0, partition: 0, offset, time_ms: i64::from(*cut) - 3, key: Some(key), value, headers };
        engine.tell(Event::Record(record), 0, 0);
        engine.wishes();
        offset += 1;
    }
    let batch = engine.take();
    assert!(batch.bytes() <= 64 * (bytes.len() + 64), "{} bytes of {}", batch.bytes(), bytes.len());
    for op in batch.iter() {
        assert!(op.key.starts_with(b"p:"));
        if let Mutation::Fields(fields) = op.mutation {
            assert!(fields.iter().count() > 0, "a hash has a field");
        }
    }
    engine.applied(batch, 0, 0);
}
