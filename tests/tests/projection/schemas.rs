//! Avro with schemas that change, and JSON: what becomes of every kind of value.

use crate::pond::{Held, Pond, count, dump, errors, hash, held};
use millpond_tests::kafka::{self, Kafka, bytes, projection};
use millpond_tests::{Conn, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Two projections of a topic: `h` of hashes and `j` of JSON.
fn both(topic: &str, registry: &str) -> String {
    let value = format!("value: {{ decode: avro, registry: {registry} }}");
    [
        projection("h", &[topic], &format!("{value}, store: {{ as: hash }}")),
        projection("j", &[topic], &format!("{value}, store: {{ as: json }}")),
    ]
    .concat()
}

fn json_of(conn: &mut Conn, key: &str) -> Value {
    let reply = conn.cmd(&format!("GET {key}"));
    serde_json::from_slice(reply.text().unwrap_or_else(|| panic!("{key}: {reply}"))).unwrap()
}

fn settle_all(kafka: &mut Kafka, conn: &mut Conn, names: &[&str], topic: &str) {
    for name in names {
        kafka.settle(conn, name, topic);
        assert_eq!(errors(conn, name), [], "{name}");
    }
}

/// Records of three schemas that alternate in one topic are each read by their own: later ones add fields, drop some, widen a
/// type, rename.
#[test]
fn three_schemas_alternate() {
    let Some(mut kafka) = kafka::shared("three") else { return };
    let topic = kafka.topic(2);
    let record = |fields: Value| json!({"type": "record", "name": "User", "namespace": "x.y", "fields": fields});
    let ids = [
        kafka.register("three", record(json!([{"name": "id", "type": "int"}, {"name": "name", "type": "string"}]))),
        kafka.register(
            "three",
            record(json!([{"name": "id", "type": "long"}, {"name": "name", "type": "string"},
                {"name": "mail", "type": ["null", "string"], "default": null}])),
        ),
        kafka.register(
            "three",
            record(
                json!([{"name": "id", "type": "double"}, {"name": "full_name", "aliases": ["name"], "type": "string"}]),
            ),
        ),
    ];
    let value = |n: usize, datum: Value| json!({"avro": datum, "schema_id": ids[n]});
    let of = |n: usize| match n % 3 {
        0 => value(0, json!({"id": n, "name": format!("n{n}")})),
        1 => value(
            1,
            json!({"id": n as i64 + (1 << 40), "name": format!("n{n}"), "mail": if n.is_multiple_of(2) { json!("m") } else { Value::Null }}),
        ),
        _ => value(2, json!({"id": n as f64 + 0.5, "full_name": format!("n{n}")})),
    };
    kafka.send_all(&topic, (0..60).map(|n| (json!(format!("k{}", n % 12)), of(n))));
    let pond = Pond::start(&kafka.config(&both(&topic, "main")));
    let mut conn = pond.ready(&["h", "j"]);
    settle_all(&mut kafka, &mut conn, &["h", "j"], &topic);
    // Records 48 to 59 are the last ones of the twelve keys.
    for n in 48..60 {
        let (name, long) = (format!("n{n}"), (n as i64 + (1 << 40)).to_string());
        let (fields, whole) = match n % 3 {
            0 => (hash(&[("id", &n.to_string()), ("name", &name)]), json!({"id": n, "name": name})),
            1 if n % 2 == 0 => (
                hash(&[("id", &long), ("name", &name), ("mail", "m")]),
                json!({"id": n as i64 + (1 << 40), "name": name, "mail": "m"}),
            ),
            1 => (
                hash(&[("id", &long), ("name", &name)]),
                json!({"id": n as i64 + (1 << 40), "name": name, "mail": null}),
            ),
            _ => (
                hash(&[("id", &format!("{n}.5")), ("full_name", &name)]),
                json!({"id": n as f64 + 0.5, "full_name": name}),
            ),
        };
        let key = format!("k{}", n % 12);
        assert_eq!(dump(&mut conn, &format!("h:{key}"))[""], fields, "{key}");
        assert_eq!(json_of(&mut conn, &format!("j:{key}")), whole, "{key}");
    }
    let schema_id = kafka::fields(&conn.cmd("PROJECTION.KEY h:k0"))["schema_id"].expect_int();
    assert_eq!(schema_id, ids[0]);
}

/// With a schema to read by, all records have its fields, whichever they were written with: added ones by default, dropped
/// ones not at all, renamed ones by their aliases.
#[test]
fn all_are_read_as_one_schema_says() {
    let Some(mut kafka) = kafka::shared("reader") else { return };
    let topic = kafka.topic(1);
    let record = |fields: Value| json!({"type": "record", "name": "User", "fields": fields});
    let first = kafka.register(
        "reader",
        record(json!([{"name": "id", "type": "int"}, {"name": "name", "type": "string"}, {"name": "old", "type": "string"}])),
    );
    let second = kafka.register(
        "reader",
        record(json!([{"name": "id", "type": "long"}, {"name": "label", "type": "string", "aliases": ["name"]},
            {"name": "level", "type": "int", "default": 3}])),
    );
    kafka.send(&topic, "a", json!({"avro": {"id": 1, "name": "x", "old": "o"}, "schema_id": first}));
    kafka.send(&topic, "b", json!({"avro": {"id": 2, "label": "y", "level": 5}, "schema_id": second}));
    let of = |name: &str, reader: &str| {
        let value = format!("value: {{ decode: avro, registry: main, reader: {reader} }}");
        projection(name, &[&topic], &format!("{value}, store: {{ as: json }}"))
    };
    let config = [
        of("second", "{ subject: reader, version: 2 }"),
        of("latest", "{ subject: reader, version: latest }"),
        of("id", &format!("{{ id: {second} }}")),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["second", "latest", "id"]);
    for name in ["second", "latest", "id"] {
        kafka.settle(&mut conn, name, &topic);
        assert_eq!(json_of(&mut conn, &format!("{name}:a")), json!({"id": 1, "label": "x", "level": 3}), "{name}");
        assert_eq!(json_of(&mut conn, &format!("{name}:b")), json!({"id": 2, "label": "y", "level": 5}), "{name}");
    }
}

/// Every kind of value, in both forms: numbers, texts, bytes, enums, decimals, logical times, UUIDs, unions, arrays, maps,
/// records within records, and a record of another subject.
#[test]
fn every_kind_of_value() {
    let Some(mut kafka) = kafka::shared("kinds") else { return };
    let topic = kafka.topic(1);
    let address = json!({"type": "record", "name": "Address", "namespace": "t", "fields": [
        {"name": "street", "type": "string"}, {"name": "no", "type": ["null", "int"]}]});
    kafka.register("kinds-address", address);
    let logical = |kind: &str, of: &str| json!({"type": of, "logicalType": kind});
    let field = |name: &str, kind: Value| json!({"name": name, "type": kind});
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3});
    let fixed_decimal =
        json!({"type": "fixed", "name": "D8", "size": 8, "logicalType": "decimal", "precision": 12, "scale": 2});
    let schema = json!({"type": "record", "name": "All", "namespace": "t", "fields": [
        field("bool", json!("boolean")),
        field("int", json!("int")),
        field("long", json!("long")),
        field("float", json!("float")),
        field("double", json!("double")),
        field("text", json!("string")),
        field("bytes", json!("bytes")),
        field("fixed", json!({"type": "fixed", "name": "F4", "size": 4})),
        field("enum", json!({"type": "enum", "name": "Suit", "symbols": ["CLUBS", "HEARTS"]})),
        field("decimal", decimal.clone()),
        field("decimal8", fixed_decimal),
        field("date", logical("date", "int")),
        field("time", logical("time-millis", "int")),
        field("time_us", logical("time-micros", "long")),
        field("at", logical("timestamp-millis", "long")),
        field("at_us", logical("timestamp-micros", "long")),
        field("local", logical("local-timestamp-millis", "long")),
        field("uuid", logical("uuid", "string")),
        field("maybe", json!(["null", "string"])),
        field("nothing", json!(["null", "string"])),
        field("either", json!(["null", "long", "string", "t.Address"])),
        field("other", json!(["null", "long", "string", "t.Address"])),
        field("paid", json!(["null", decimal])),
        field("list", json!({"type": "array", "items": ["null", "int"]})),
        field("records", json!({"type": "array", "items": "t.Address"})),
        field("map", json!({"type": "map", "values": "long"})),
        field("home", json!("t.Address")),
    ]});
    let reference = json!([{"name": "t.Address", "subject": "kinds-address", "version": 1}]);
    let id = kafka.ask(json!({"op": "register", "subject": "kinds", "schema": schema, "references": reference}))["id"]
        .clone();
    let uuid = "123e4567-e89b-12d3-a456-426614174000";
    let datum = json!({
        "bool": true, "int": -7, "long": i64::MIN, "float": 1.5, "double": -0.1, "text": "Ä \"q\"\n\u{1F600}",
        "bytes": bytes(&[0, 255, 10]), "fixed": bytes(b"\x01\x02\x03\xff"), "enum": "HEARTS",
        "decimal": {"decimal": "-12345.678"}, "decimal8": {"decimal": "0.05"},
        "date": 20000, "time": 1, "time_us": 86_399_999_999_i64, "at": 1_700_000_000_123_i64, "at_us": -1, "local": 5,
        "uuid": uuid, "maybe": "x", "nothing": null, "either": 5, "other": {"union": ["t.Address", {"street": "s", "no": null}]},
        "paid": {"decimal": "1.500"}, "list": [1, null, -3], "records": [{"street": "a", "no": 1}],
        "map": {"b": 2, "a.c": 1}, "home": {"street": "h", "no": 12},
    });
    kafka.send(&topic, "k", json!({"avro": datum, "schema_id": id}));
    let config = [
        both(&topic, "main"),
        projection(
            "n",
            &[&topic],
            "value: { decode: avro, registry: main }, store: { as: hash, nested: json, nulls: empty, fields: { include: [home, \
             other, nothing, map, text], rename: { text: words } } }",
        ),
        projection(
            "d",
            &[&topic],
            "value: { decode: avro, registry: main }, store: { as: hash, db: 3, fields: { include: [home, other.street, \
             nothing], rename: { home.no: number } } }",
        ),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["h", "j", "n", "d"]);
    settle_all(&mut kafka, &mut conn, &["h", "j", "n", "d"], &topic);
    let expected = json!({
        "bool": true, "int": -7, "long": i64::MIN, "float": 1.5, "double": -0.1, "text": "Ä \"q\"\n\u{1F600}",
        "bytes": "AP8K", "fixed": "AQID/w==", "enum": "HEARTS", "decimal": "-12345.678", "decimal8": "0.05",
        "date": 20000, "time": 1, "time_us": 86_399_999_999_i64, "at": 1_700_000_000_123_i64, "at_us": -1, "local": 5,
        "uuid": uuid, "maybe": "x", "nothing": null, "either": 5, "other": {"street": "s", "no": null},
        "paid": "1.500", "list": [1, null, -3], "records": [{"street": "a", "no": 1}],
        "map": {"b": 2, "a.c": 1}, "home": {"street": "h", "no": 12},
    });
    assert_eq!(json_of(&mut conn, "j:k"), expected);
    let Held::Hash(fields) = dump(&mut conn, "h:").remove("k").unwrap() else { panic!("a hash") };
    let text = i64::MIN.to_string();
    let hash_of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let wanted = hash_of(&[
        ("bool", "true"),
        ("int", "-7"),
        ("long", &text),
        ("float", "1.5"),
        ("double", "-0.1"),
        ("text", "Ä \"q\"\n\u{1F600}"),
        ("bytes", r#""\x00\xff\n""#),
        ("fixed", r#""\x01\x02\x03\xff""#),
        ("enum", "HEARTS"),
        ("decimal", "-12345.678"),
        ("decimal8", "0.05"),
        ("date", "20000"),
        ("time", "1"),
        ("time_us", "86399999999"),
        ("at", "1700000000123"),
        ("at_us", "-1"),
        ("local", "5"),
        ("uuid", uuid),
        ("maybe", "x"),
        ("either", "5"),
        ("other.street", "s"),
        ("paid", "1.500"),
        ("list", "[1,null,-3]"),
        ("records", r#"[{"street":"a","no":1}]"#),
        ("map.b", "2"),
        ("map.a.c", "1"),
        ("home.street", "h"),
        ("home.no", "12"),
    ]);
    let differing: Vec<_> =
        wanted.keys().chain(fields.keys()).filter(|name| wanted.get(*name) != fields.get(*name)).collect();
    assert_eq!(fields, wanted, "{differing:?}");
    let nested = hash(&[
        ("home", r#"{"street":"h","no":12}"#),
        ("other", r#"{"street":"s","no":null}"#),
        ("nothing", ""),
        ("map", r#"{"a.c":1,"b":2}"#),
        ("words", "Ä \"q\"\n\u{1F600}"),
    ]);
    assert_eq!(dump(&mut conn, "n:")["k"], nested);
    conn.cmd("SELECT 3");
    assert_eq!(dump(&mut conn, "d:")["k"], hash(&[("home.street", "h"), ("number", "12"), ("other.street", "s")]));
}

/// What JSON has no number for is a string there; of numbers nothing is lost. A value may be no record at all.
#[test]
fn numbers_that_json_does_not_have_and_values_that_are_no_records() {
    let Some(mut kafka) = kafka::shared("numbers") else { return };
    let (topic, other) = (kafka.topic(1), kafka.topic(1));
    let record = json!({"type": "record", "name": "N", "fields": [
        {"name": "d", "type": {"type": "array", "items": "double"}}, {"name": "f", "type": "float"}]});
    let id = kafka.register("numbers", record);
    // Two of it: a positive count, then 8 bytes each; the float behind.
    let datum = |doubles: &[f64], float: f32| {
        let mut all = vec![0, 0, 0];
        all.extend((id as u16).to_be_bytes());
        all.push(2 * doubles.len() as u8);
        doubles.iter().for_each(|double| all.extend(double.to_le_bytes()));
        all.push(0);
        all.extend(float.to_le_bytes());
        bytes(&all)
    };
    kafka.send(&topic, "odd", datum(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY], f32::NEG_INFINITY));
    kafka.send(&topic, "far", datum(&[1e308, -5e-324, 0.1 + 0.2], 3.4e38));
    let plain = kafka.register("numbers-plain", json!({"type": "string"}));
    kafka.send(&other, "k", json!({"avro": "just text", "schema_id": plain}));
    let config = [
        both(&topic, "main"),
        projection("plain", &[&other], "value: { decode: avro, registry: main }, store: { as: json }"),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["h", "j", "plain"]);
    settle_all(&mut kafka, &mut conn, &["h", "j"], &topic);
    assert_eq!(json_of(&mut conn, "j:odd"), json!({"d": ["NaN", "inf", "-inf"], "f": "-inf"}));
    let far = json_of(&mut conn, "j:far");
    let doubles: Vec<f64> = far["d"].as_array().unwrap().iter().map(|double| double.as_f64().unwrap()).collect();
    assert_eq!(doubles, [1e308, -5e-324, 0.1 + 0.2]);
    assert_eq!(far["f"].as_f64().unwrap() as f32, 3.4e38);
    let fields = dump(&mut conn, "h:");
    let Held::Hash(far) = &fields["far"] else { panic!("a hash") };
    assert_eq!(far["f"].parse::<f32>(), Ok(3.4e38));
    assert_eq!(dump(&mut conn, "plain:")["k"], held(r#""just text""#));
}

/// JSON in, JSON and hashes out: no number loses a digit, whatever its size; texts keep every character.
#[test]
fn json_keeps_its_numbers() {
    let Some(mut kafka) = kafka::shared("json") else { return };
    let topic = kafka.topic(1);
    let config = [
        projection("j", &[&topic], "value: { decode: json }, store: { as: json }"),
        projection("h", &[&topic], "value: { decode: json }, store: { as: hash }"),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["j", "h"]);
    kafka.send(
        &topic,
        "plain",
        r#" {"b": [1, null, true, {"x": "\u00e4\ud83d\ude00"}], "a": {"c": -1.5, "d": null}, "e": ""} "#,
    );
    kafka.send(&topic, "scalar", "7");
    settle_all(&mut kafka, &mut conn, &["j"], &topic);
    kafka.settle(&mut conn, "h", &topic);
    let whole = json!({"a": {"c": -1.5, "d": null}, "b": [1, null, true, {"x": "ä😀"}], "e": ""});
    assert_eq!(json_of(&mut conn, "j:plain"), whole);
    assert_eq!(json_of(&mut conn, "j:scalar"), json!(7));
    assert_eq!(
        dump(&mut conn, "h:")["plain"],
        hash(&[("a.c", "-1.5"), ("b", r#"[1,null,true,{"x":"ä😀"}]"#), ("e", "")])
    );
    // A hash needs fields.
    assert_eq!((count(&mut conn, "h", "skipped"), conn.cmd("EXISTS h:scalar")), (1, Reply::Int(0)));
    kafka.send(
        &topic,
        "numbers",
        r#"{"id":12345678901234567890123,"price":0.1234567890123456789,"max":18446744073709551615}"#,
    );
    kafka.settle(&mut conn, "j", &topic);
    kafka.settle(&mut conn, "h", &topic);
    let digits =
        [("id", "12345678901234567890123"), ("price", "0.1234567890123456789"), ("max", "18446744073709551615")];
    assert_eq!(dump(&mut conn, "h:")["numbers"], hash(&digits));
    let text = conn.cmd("GET j:numbers").expect_text().to_owned();
    assert!(digits.iter().all(|(_, digits)| text.contains(digits)), "{text}");
}
