//! Records without a value, whatever the key is made of.

use crate::pond::{Pond, count, dump, hash, held, rebuilt};
use millpond_tests::kafka::{self, bytes, projection};
use millpond_tests::{Conn, Reply};
use serde_json::{Value, json};

fn sorted(conn: &mut Conn, prefix: &str) -> Vec<String> {
    dump(conn, prefix).into_keys().collect()
}

/// The last record of a key decides, in one fetch or in several, before the server started or after; of a key that nobody
/// knows there is nothing to delete. Empty bytes are a value.
#[test]
fn the_last_record_of_a_key_decides() {
    let Some(mut kafka) = kafka::shared("last") else { return };
    let topic = kafka.topic(2);
    let set = |key: &str, value: &str| (json!(key), json!(value));
    let del = |key: &str| (json!(key), Value::Null);
    let before = |n: u32| {
        vec![
            set(&format!("set-del{n}"), "1"),
            del(&format!("set-del{n}")),
            del(&format!("del-set{n}")),
            set(&format!("del-set{n}"), "2"),
            set(&format!("set-del-set{n}"), "3"),
            del(&format!("set-del-set{n}")),
            set(&format!("set-del-set{n}"), "4"),
            del(&format!("nobody{n}")),
            del(&format!("del-del{n}")),
            del(&format!("del-del{n}")),
            set(&format!("empty{n}"), ""),
            set(&format!("later{n}"), "5"),
        ]
    };
    let left = |n: u32| [format!("del-set{n}"), format!("empty{n}"), format!("later{n}"), format!("set-del-set{n}")];
    kafka.send_all(&topic, before(1));
    let pond = Pond::start(&kafka.config(&projection("t", &[&topic], "")));
    let mut conn = pond.ready(&["t"]);
    let mut expected = left(1).to_vec();
    assert_eq!(sorted(&mut conn, "t:"), expected);
    assert_eq!(conn.cmd("GET t:set-del-set1"), Reply::Bulk(b"4".into()));
    assert_eq!(conn.cmd("GET t:empty1"), Reply::Bulk(b"".into()));
    // The same while it follows, all at once and one by one.
    kafka.send_all(&topic, before(2));
    for record in before(3) {
        kafka.send(&topic, record.0, record.1);
    }
    kafka.send_all(&topic, [del("later1"), del("later2")]);
    kafka.settle(&mut conn, "t", &topic);
    expected =
        [left(1), left(2), left(3)].concat().into_iter().filter(|key| key != "later1" && key != "later2").collect();
    expected.sort_unstable();
    assert_eq!(sorted(&mut conn, "t:"), expected);
    assert_eq!((count(&mut conn, "t", "tombstones"), count(&mut conn, "t", "skipped")), (6 * 3 + 2, 0));
    // And again from the beginning.
    assert_eq!(conn.cmd("PROJECTION.REBUILD t"), Reply::Status("OK".into()));
    rebuilt(&mut conn, "t", 1);
    assert_eq!(sorted(&mut conn, "t:"), expected);
}

/// A tombstone meets the entry of its key whatever the key is decoded as: Avro and JSON with a part of it in the template,
/// numbers, UUIDs, any bytes.
#[test]
fn tombstones_meet_decoded_keys() {
    let Some(mut kafka) = kafka::shared("decoded") else { return };
    let key_schema = json!({"type": "record", "name": "Key", "fields": [
        {"name": "id", "type": "long"}, {"name": "tenant", "type": "string"}]});
    let id = kafka.register("decoded-key", key_schema);
    let topics: Vec<String> = (0..6).map(|_| kafka.topic(1)).collect();
    let avro = |n: i64, tenant: &str| json!({"avro": {"id": n, "tenant": tenant}, "schema_id": id});
    let keys = [
        [avro(1, "a"), avro(2, "a")],
        // The same parts, written otherwise.
        [json!(r#"{"id": 1, "t": {"n": "x y"}}"#), json!(r#"{"t":{"n":"x y"},"id":2}"#)],
        [bytes(&(-7_i32).to_be_bytes()), bytes(&8_i32.to_be_bytes())],
        [bytes(&i64::MIN.to_be_bytes()), bytes(&8_i64.to_be_bytes())],
        [bytes(&[0xab; 16]), bytes(&[1; 16])],
        [bytes(b"\0\xff\r\n"), bytes(b"plain")],
    ];
    for (topic, [gone, stays]) in topics.iter().zip(&keys) {
        kafka.send_all(topic, [(gone.clone(), json!("v")), (stays.clone(), json!("w"))]);
    }
    let of = |name: &str, at: usize, decode: &str, hole: &str| {
        let key =
            format!("key: {{ decode: {decode}, template: '{name}:{hole}', registry: main }}, value: {{ decode: raw }}");
        projection(name, &[&topics[at]], &key)
    };
    let config = [
        of("avro", 0, "avro", "{key.tenant}/{key.id}"),
        of("json", 1, "json", "{key.id}:{key.t.n}"),
        of("i32", 2, "int32", "{key}"),
        of("i64", 3, "int64", "{key}"),
        of("uuid", 4, "uuid", "{key}"),
        of("raw", 5, "bytes", "{key}"),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let names = ["avro", "json", "i32", "i64", "uuid", "raw"];
    let mut conn = pond.ready(&names);
    let both = [
        ["a/1", "a/2"],
        ["1:x y", "2:x y"],
        ["-7", "8"],
        ["-9223372036854775808", "8"],
        ["abababab-abab-abab-abab-abababababab", "01010101-0101-0101-0101-010101010101"],
        [r#""\x00\xff\r\n""#, "plain"],
    ];
    for (name, both) in names.iter().zip(&both) {
        let mut both = both.map(str::to_owned);
        both.sort_unstable();
        assert_eq!(sorted(&mut conn, &format!("{name}:")), both, "{name}");
    }
    for (at, topic) in topics.iter().enumerate() {
        // Written otherwise, it is the same key.
        let key = if at == 1 { json!(r#"{"more":5,"t":{"n":"x\u0020y"},"id":1}"#) } else { keys[at][0].clone() };
        kafka.send(topic, key, Value::Null);
    }
    for ((name, topic), [_, stays]) in names.iter().zip(&topics).zip(&both) {
        kafka.settle(&mut conn, name, topic);
        assert_eq!(sorted(&mut conn, &format!("{name}:")), [stays.to_string()], "{name}");
        assert_eq!(count(&mut conn, name, "skipped"), 0, "{name}");
    }
}

/// A hash is what its last record says, nothing of earlier ones: fields that a later schema or record does not have are gone.
#[test]
fn fields_that_the_last_record_lacks_are_gone() {
    let Some(mut kafka) = kafka::shared("fields") else { return };
    let record = |fields: Value| json!({"type": "record", "name": "U", "fields": fields});
    let text = |name: &str| json!({"name": name, "type": "string"});
    let optional = |name: &str| json!({"name": name, "type": ["null", "string"], "default": null});
    let first = kafka.register("fields-1", record(json!([text("name"), text("phone"), optional("note")])));
    let second = kafka.register("fields-2", record(json!([text("name"), text("mail")])));
    let topic = kafka.topic(1);
    let value = |id: i64, datum: Value| json!({"avro": datum, "schema_id": id});
    let config = projection("u", &[&topic], "value: { decode: avro, registry: main }, store: { as: hash }");
    let pond = Pond::start(&kafka.config(&config));
    let mut conn = pond.ready(&["u"]);
    let steps = [
        (
            value(first, json!({"name": "a", "phone": "1", "note": "n"})),
            hash(&[("name", "a"), ("phone", "1"), ("note", "n")]),
        ),
        (value(first, json!({"name": "a", "phone": "2", "note": null})), hash(&[("name", "a"), ("phone", "2")])),
        (value(second, json!({"name": "b", "mail": "m"})), hash(&[("name", "b"), ("mail", "m")])),
        (
            value(first, json!({"name": "", "phone": "3", "note": ""})),
            hash(&[("name", ""), ("phone", "3"), ("note", "")]),
        ),
    ];
    for (value, expected) in steps {
        kafka.send(&topic, "k", value.clone());
        kafka.settle(&mut conn, "u", &topic);
        assert_eq!(dump(&mut conn, "u:")["k"], expected, "{value}");
    }
    // As large as it gets, and small again.
    let many: Vec<Value> = (0..300).map(|n| text(&format!("f{n}"))).collect();
    let large = kafka.register("fields-3", record(json!(many)));
    let datum: serde_json::Map<String, Value> = (0..300).map(|n| (format!("f{n}"), json!("x".repeat(n)))).collect();
    kafka.send(&topic, "k", value(large, Value::Object(datum)));
    kafka.settle(&mut conn, "u", &topic);
    assert_eq!(conn.cmd("HLEN u:k"), Reply::Int(300));
    assert_eq!(conn.cmd("HSTRLEN u:k f299"), Reply::Int(299));
    kafka.send(&topic, "k", value(second, json!({"name": "c", "mail": "n"})));
    kafka.settle(&mut conn, "u", &topic);
    assert_eq!(dump(&mut conn, "u:")["k"], hash(&[("name", "c"), ("mail", "n")]));
    kafka.send(&topic, "k", Value::Null);
    kafka.settle(&mut conn, "u", &topic);
    assert_eq!(conn.cmd("EXISTS u:k"), Reply::Int(0));
}

/// Debezium: `d` deletes and the tombstone behind it does nothing more, `c` `r` `u` are what is after.
#[test]
fn debezium_says_what_is_after() {
    let Some(mut kafka) = kafka::shared("debezium") else { return };
    let topic = kafka.topic(1);
    let said = |key: &str, op: &str, after: Value| {
        (json!(key), json!(json!({"op": op, "before": {"x": 0}, "after": after}).to_string()))
    };
    let config = projection("d", &[&topic], "value: { decode: json }, store: { as: json }, envelope: debezium");
    let pond = Pond::start(&kafka.config(&config));
    let mut conn = pond.ready(&["d"]);
    kafka.send_all(
        &topic,
        [
            said("a", "c", json!({"x": 1})),
            said("a", "u", json!({"x": 2})),
            said("b", "r", json!({"x": 3})),
            said("b", "d", Value::Null),
            (json!("b"), Value::Null),
            said("c", "c", json!({"x": 4})),
            said("c", "d", Value::Null),
            (json!("c"), Value::Null),
            said("c", "c", json!({"x": 5})),
        ],
    );
    kafka.settle(&mut conn, "d", &topic);
    let expected = [("a".to_owned(), held(r#"{"x":2}"#)), ("c".to_owned(), held(r#"{"x":5}"#))];
    assert_eq!(dump(&mut conn, "d:"), expected.into());
}
