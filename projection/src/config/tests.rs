//! What is read, and what is refused.

use super::reading::{SIZES, TIMES, quantity};
use super::*;
use serde_json::json;

fn with(projection: serde_json::Value) -> Result<Document, String> {
    Document::parse(json!({
        "kafka": {"main": {"bootstrap_servers": "b:9092", "properties": {"sasl.password": "hush", "x.ms": 5}}},
        "registries": {"main": {"url": ["http://sr:8081"], "timeout": "2s"}},
        "projections": {"users": projection},
    }))
}

#[test]
fn the_least_that_is_needed() {
    let document = with(json!({"source": {"kafka": "main", "topics": ["users"]}})).unwrap();
    let users = &document.projections["users"];
    assert_eq!((users.store.form, users.store.db, users.prefix().len()), (Form::Raw, 0, 0));
    assert_eq!(document.registries["main"].timeout, Duration::from_secs(2));
    assert_eq!(document.kafka["main"].properties["x.ms"].0, "5");
    assert!(!format!("{document:?}").contains("hush"), "secrets are not shown");
}

#[test]
fn what_is_wrong_is_named() {
    let source = json!({"kafka": "main", "topics": ["users"]});
    let cases = [
        (json!({}), "missing field `source`"),
        (json!({"source": {"kafka": "other", "topics": ["t"]}}), "no cluster 'other'"),
        (json!({"source": {"kafka": "main", "topics": []}}), "one at least"),
        (json!({"source": source, "speed": 3}), "unknown field `speed`"),
        (json!({"source": source, "store": {"as": "hash"}}), "need a value that is decoded"),
        (json!({"source": source, "value": {"decode": "json"}}), "decode it as raw"),
        (json!({"source": source, "value": {"decode": "avro"}, "store": {"as": "json"}}), "avro needs a registry"),
        (json!({"source": source, "store": {"db": 16}}), "16 databases"),
        (
            json!({"source": source, "value": {"decode": "json"}, "store": {"as": "hash", "merge": true}}),
            "rebuild: shadow",
        ),
        (json!({"source": source, "value": {"reader": {"id": 1}}}), "only values of avro"),
        (json!({"source": source, "value": {"reader": {"subject": "s", "version": "last"}}}), "ReaderSchema"),
        (json!({"source": source, "key": {"template": "user:{"}}), "a hole"),
        (json!({"source": source, "key": {"template": "user:{value.id}"}}), "tombstones"),
        (json!({"source": source, "key": {"template": "{value.id}", "index": true}}), "has no parts"),
        (json!({"source": source, "filter": {"where": "value.x = 1"}}), "filter: where: value.x: a value"),
        (json!({"source": source, "filter": {"where": "key ="}}), "filter: where: a part"),
        (json!({"source": source, "filter": {"where": "key.x = 1"}}), "only keys of json and avro"),
        (json!({"source": source, "ttl": {"from": "value.x"}}), "ttl: from: value.x"),
        (json!({"source": source, "ttl": {"from": "key"}}), "none of value.f, header.h"),
        (json!({"source": source, "conflict": {"by": "luck"}}), "'luck' is none of"),
        (json!({"source": source, "conflict": {"by": "field(x)"}}), "conflict: by: value.x"),
        (json!({"source": {"kafka": "main", "topics": ["t"], "start": "middle"}}), "a start is"),
        (json!({"source": {"kafka": "main", "topics": ["t"], "start": {"0": -1}}}), "a start is"),
        (
            json!({"source": source, "value": {"decode": "avro", "wire": "none"}, "store": {"as": "json"}}),
            "schema_files",
        ),
        (json!({"source": source, "value": {"schema_files": ["x"]}}), "only avro"),
        (json!({"source": source, "key": {"template": "user:"}}), "key"),
        (json!({"source": source, "limits": {"max_record": "8 parsecs"}}), "no size"),
        (json!({"source": source, "limits": {"max_memory": "-1"}}), "no size"),
        (json!({"source": source, "limits": {"max_memory": "1023kb", "max_record": "1kb"}}), "at least 1048576 bytes"),
        (json!({"source": source, "limits": {"max_memory": "7mb"}}), "at least 8388608 bytes"),
        (json!({"source": source, "limits": {"on_oom": "panic"}}), "unknown variant `panic`"),
        (json!({"source": source, "ttl": {"after": "soon"}}), "no time"),
        (json!({"source": source, "errors": {"decode": "panic"}}), "unknown variant"),
        (json!({"source": source, "errors": {"decode": "dead_letter"}}), "needs a dead_letter_topic"),
        (json!({"source": source, "errors": {"dead_letter_topic": "users"}}), "its own"),
        (json!({"source": source, "local_writes": "overlay", "http": {"path": "/u"}}), "needs http with an id_field"),
        (json!({"source": source, "local_writes": "write_through"}), "needs http with an id_field"),
        (
            json!({"source": source, "local_writes": "write_through", "http": {"path": "/u", "id_field": "id"},
                "value": {"decode": "json"}, "store": {"as": "json"}, "key": {"template": "{topic}:{key}"}}),
            "a plain {key}",
        ),
        (
            json!({"source": source, "local_writes": "overlay", "http": {"path": "/u", "id_field": "id"}}),
            "values of json or hash",
        ),
        (json!({"source": source, "http": {"path": "users"}}), "is none such as"),
        (json!({"source": source, "http": {"path": "/u", "etag": "md5"}}), "an etag is"),
    ];
    for (projection, reason) in cases {
        let error = with(projection.clone()).unwrap_err();
        assert!(error.starts_with("projections: users: ") && error.contains(reason), "{projection}: {error}");
    }
    assert!(Document::parse(json!({"kafka": {}, "topics": {}})).unwrap_err().contains("no such section"));
}

#[test]
fn prefixes_do_not_overlap() {
    let projection = |template: &str, db: u8| json!({"source": {"kafka": "main", "topics": ["t"]}, "key": {"template": template}, "store": {"db": db}});
    let both = |a: serde_json::Value, b: serde_json::Value| {
        Document::parse(json!({
            "kafka": {"main": {"bootstrap_servers": "b:9092"}},
            "projections": {"a": a, "b": b},
        }))
    };
    assert!(both(projection("user:{key}", 0), projection("order:{key}", 0)).is_ok());
    assert!(both(projection("user:{key}", 0), projection("user:{key}", 1)).is_ok());
    assert!(both(projection("user:{key}", 0), projection("user:x:{key}", 0)).unwrap_err().contains("overlap"));
    assert!(both(projection("{key}", 0), projection("user:{key}", 0)).unwrap_err().contains("overlap"));
}

#[test]
fn starts() {
    let start = |start: serde_json::Value| {
        let document = with(json!({"source": {"kafka": "main", "topics": ["t"], "start": start}})).unwrap();
        document.projections["users"].source.start.clone()
    };
    assert_eq!((start(json!("beginning")), start(json!("end"))), (Start::Beginning, Start::End));
    assert_eq!((start(json!(-5)), start(json!("@17"))), (Start::Last(5), Start::Time(17)));
    assert_eq!(start(json!({"0": 123})), Start::Offsets([(0, 123)].into()));
}

#[test]
fn units() {
    assert_eq!(quantity("200us", TIMES), Some(200));
    assert_eq!(quantity("24H", TIMES), Some(86_400_000_000));
    assert_eq!(quantity("5", TIMES), None);
    assert_eq!(quantity("99999999999999999999s", TIMES), None);
    assert_eq!(quantity("8mb", SIZES), Some(8 << 20));
    assert_eq!(quantity("18446744073709551615gb", SIZES), None);
}
