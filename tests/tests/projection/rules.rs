//! Rules of a mapping: which records count, from where, for how long, which of two wins, and what their keys are made of.

use crate::pond::{self, Pond, count, dump, held, info, rebuilt};
use millpond_tests::Reply;
use millpond_tests::kafka::{self, Kafka, bytes, projection, until};
use millpond_tests::origin::{Origin, answer};
use serde_json::json;
use std::collections::BTreeMap;

const GUID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const JSON: &str = "value: { decode: json }, store: { as: json }";

fn keys(conn: &mut millpond_tests::Conn, prefix: &str) -> Vec<String> {
    dump(conn, prefix).into_keys().collect()
}

/// Filters by values, keys and headers; a record that stops matching takes its key along, or is not looked at.
#[test]
fn filters() {
    let Some(mut kafka) = kafka::shared("filter") else { return };
    let topic = kafka.topic(1);
    let filter = |mode: &str| {
        format!("{JSON}, filter: {{ where: \"value.status != 'TEST' and header.from != 'x'\", mode: {mode} }}")
    };
    let config = [projection("view", &[&topic], &filter("view")), projection("ignore", &[&topic], &filter("ignore"))];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["view", "ignore"]);
    for (key, value) in [
        ("stays", json!({"status": "LIVE"})),
        ("turns", json!({"status": "LIVE"})),
        ("turns", json!({"status": "TEST"})),
        ("goes", json!({"status": "LIVE"})),
        ("never", json!({"status": "TEST"})),
    ] {
        kafka.send(&topic, key, value.to_string());
    }
    kafka.send_with(&topic, "header", r#"{"status":"LIVE"}"#, json!({"headers": [["from", "x"]]}));
    kafka.send(&topic, "goes", json!(null));
    kafka.settle(&mut conn, "view", &topic);
    kafka.settle(&mut conn, "ignore", &topic);
    assert_eq!(
        (keys(&mut conn, "view:"), keys(&mut conn, "ignore:")),
        (vec!["stays".into()], vec!["stays".into(), "turns".into()])
    );
    assert_eq!(conn.cmd("GET ignore:turns"), Reply::Bulk(br#"{"status":"LIVE"}"#.into()));
    assert_eq!(count(&mut conn, "view", "skipped"), 0);
}

/// Reading begins at the end, some records before it, at a time, at offsets; what comes later is read from each.
#[test]
fn beginnings() {
    let Some(mut kafka) = kafka::shared("start") else { return };
    let topic = kafka.topic(1);
    for n in 0..6 {
        kafka.send_with(&topic, format!("k{n}"), n.to_string(), json!({"timestamp": 1_000_000 + n * 1000}));
    }
    let starts = [
        ("end", "end", 6),
        ("last", "-2", 4),
        ("time", "'@1002500'", 3),
        ("at", "{ 0: 5 }", 5),
        ("all", "beginning", 0),
    ];
    let of = |(name, start, _): &(&str, &str, usize)| {
        let text = projection(name, &[&topic], "");
        text.replacen("source: {", &format!("source: {{ start: {start},"), 1)
    };
    let pond = Pond::start(&kafka.config(&starts.iter().map(of).collect::<String>()));
    let names = starts.map(|(name, ..)| name);
    let mut conn = pond.ready(&names);
    for (name, _, first) in starts {
        let expected: Vec<String> = (first..6).map(|n| format!("k{n}")).collect();
        assert_eq!(keys(&mut conn, &format!("{name}:")), expected, "{name}");
    }
    kafka.send(&topic, "new", "1");
    for (name, _, first) in starts {
        kafka.settle(&mut conn, name, &topic);
        assert_eq!(dump(&mut conn, &format!("{name}:")).len(), 7 - first, "{name}");
    }
    // All is read anew from there.
    conn.cmd("PROJECTION.REBUILD last");
    rebuilt(&mut conn, "last", 1);
    assert_eq!(keys(&mut conn, "last:"), ["k4", "k5", "new"]);
}

/// PROJECTION.SEEK by offset, time, beginning and end; the flag stays until a rebuild.
#[test]
fn seeks() {
    let Some(mut kafka) = kafka::shared("seek") else { return };
    let topic = kafka.topic(1);
    for n in 0..4 {
        kafka.send_with(&topic, format!("k{n}"), n.to_string(), json!({"timestamp": 1_000_000 + n * 1000}));
    }
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    let all = dump(&mut conn, "p:");
    for (to, offset) in [("2", 2), ("BEGINNING", 0), ("END", 4), ("@1001500", 2), ("@9999999999999", 4)] {
        assert_eq!(conn.cmd(&format!("PROJECTION.SEEK p 0 {to}")), Reply::Int(offset), "{to}");
        kafka.settle(&mut conn, "p", &topic);
        assert_eq!((dump(&mut conn, "p:"), &*info(&mut conn, "p")["flags"]), (all.clone(), "seeked"), "{to}");
    }
    for wrong in ["5", "-1", "soon"] {
        assert!(matches!(conn.cmd(&format!("PROJECTION.SEEK p 0 {wrong}")), Reply::Error(_)), "{wrong}");
    }
    // What is passed over while it is paused is not there, until all is read anew.
    conn.cmd("PROJECTION.PAUSE p");
    until("it is paused", || (info(&mut conn, "p")["state"] == "paused").then_some(()));
    kafka.send(&topic, "lost", "1");
    until("it is known", || (count(&mut conn, "p", "lag") == 1).then_some(()));
    assert_eq!(conn.cmd("PROJECTION.SEEK p 0 END"), Reply::Int(5));
    conn.cmd("PROJECTION.RESUME p");
    kafka.send(&topic, "found", "2");
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("EXISTS p:lost p:found"), Reply::Int(1));
    conn.cmd("PROJECTION.REBUILD p SHADOW");
    rebuilt(&mut conn, "p", 1);
    assert_eq!((conn.cmd("EXISTS p:lost p:found"), &*info(&mut conn, "p")["flags"]), (Reply::Int(2), ""));
}

/// Times to live from a field and from a header.
#[test]
fn times_in_records() {
    let Some(mut kafka) = kafka::shared("ttl-field") else { return };
    let topic = kafka.topic(1);
    let config = [
        projection("field", &[&topic], &format!("{JSON}, ttl: {{ from: value.until, unit: s }}")),
        projection("header", &[&topic], &format!("{JSON}, ttl: {{ from: header.until, after: 1h }}")),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["field", "header"]);
    let (far, past) = (4_000_000_000_i64, 1_000_000_000);
    let until = |seconds: i64| json!({"headers": [["until", (seconds * 1000).to_string()]]});
    kafka.send_with(&topic, "far", json!({ "until": far }).to_string(), until(far));
    kafka.send_with(&topic, "past", json!({ "until": past }).to_string(), until(past));
    kafka.send(&topic, "never", "{}");
    for (name, after) in [("field", 0), ("header", 3600)] {
        kafka.settle(&mut conn, name, &topic);
        assert_eq!(keys(&mut conn, &format!("{name}:")), ["far", "never"]);
        assert_eq!(conn.cmd(&format!("EXPIRETIME {name}:far")), Reply::Int(far + after));
        assert_eq!(conn.cmd(&format!("TTL {name}:never")), Reply::Int(-1));
    }
}

/// One key in two partitions, judged by a field: the highest version stays, in whatever order they are read; a restart ends
/// the same.
#[test]
fn versions() {
    let Some(mut kafka) = kafka::shared("versions") else { return };
    let topic = kafka.topic(2);
    let config = projection("p", &[&topic], &format!("{JSON}, conflict: {{ by: field(v) }}"));
    let time = projection("t", &[&topic], &format!("{JSON}, conflict: {{ by: timestamp }}"));
    let mut pond = Pond::start(&kafka.config(&[config, time].concat()));
    let mut conn = pond.ready(&["p", "t"]);
    for (partition, v) in [(0, 5), (1, 3), (0, 2), (1, 9), (0, 8)] {
        let about = json!({"partition": partition, "timestamp": 1_000_000 + v});
        kafka.send_with(&topic, "k", json!({ "v": v }).to_string(), about);
    }
    // A tombstone of an earlier time.
    kafka.send_with(&topic, "k", json!(null), json!({"partition": 1, "timestamp": 1_000_008}));
    let expected = Reply::Bulk(br#"{"v":9}"#.into());
    for again in 0..2 {
        kafka.settle(&mut conn, "t", &topic);
        kafka.settle(&mut conn, "p", &topic);
        assert_eq!(conn.cmd("GET t:k"), expected, "{again}");
        // Where versions are in values, a tombstone counts when it comes.
        assert_eq!(conn.cmd("EXISTS p:k"), Reply::Int(0));
        pond.crash();
        conn = pond.ready(&["p", "t"]);
    }
    assert!(count(&mut conn, "t", "conflicts") > 0);
}

/// Keys made of values: they move with them, and tombstones find them.
#[test]
fn keys_of_values() {
    let Some(mut kafka) = kafka::shared("index") else { return };
    let topic = kafka.topic(1);
    let key = "key: { template: 'p:{value.mail}', index: true }";
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], &format!("{JSON}, {key}"))));
    let mut conn = pond.ready(&["p"]);
    for (key, value) in [("1", json!({"mail": "a@x"})), ("2", json!({"mail": "b@x"})), ("1", json!({"mail": "c@x"}))] {
        kafka.send(&topic, key, value.to_string());
    }
    kafka.send(&topic, "2", json!(null));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(keys(&mut conn, "p:"), ["c@x"]);
    assert!(count(&mut conn, "p", "index_bytes") > 0);
    conn.cmd("PROJECTION.REBUILD p");
    rebuilt(&mut conn, "p", 1);
    assert_eq!(keys(&mut conn, "p:"), ["c@x"]);
}

/// The key of a record that cannot be read is refused to readers until it is read again.
#[test]
fn poisoned_keys() {
    let Some(mut kafka) = kafka::shared("poison-key") else { return };
    let topic = kafka.topic(1);
    let more = format!("{JSON}, errors: {{ default: skip, poison_key: error }}, http: {{ path: /p }}");
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], &more)));
    let mut conn = pond.ready(&["p"]);
    kafka.send(&topic, "k", "1");
    kafka.send(&topic, "other", "1");
    kafka.send(&topic, "k", "{");
    kafka.settle(&mut conn, "p", &topic);
    until("it is refused", || {
        matches!(conn.cmd("GET p:k"), Reply::Error(text) if text.starts_with("POISON ")).then_some(())
    });
    assert_eq!((pond.get("/p/k").status, pond.get("/p/other").status), (503, 200));
    assert_eq!((conn.cmd("GET p:other"), count(&mut conn, "p", "poisoned_keys")), (Reply::Bulk(b"1".into()), 1));
    kafka.send(&topic, "k", "2");
    kafka.settle(&mut conn, "p", &topic);
    until("it is read again", || (conn.cmd("GET p:k") == Reply::Bulk(b"2".into())).then_some(()));
}

/// A database that may be emptied: all is read anew, and nobody takes the gap for the truth.
#[test]
fn flushes() {
    let Some(mut kafka) = kafka::shared("flushes") else { return };
    let topic = kafka.topic(1);
    kafka.send_all(&topic, (0..500).map(|n| (json!(format!("k{n}")), json!("v"))));
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "flush: rebuild")));
    let mut conn = pond.ready(&["p"]);
    for flush in ["FLUSHALL", "FLUSHDB"] {
        conn.cmd("SET mine 1");
        assert_eq!(conn.cmd(flush), Reply::Status("OK".into()));
        // Refused, or there: never missing.
        until("it is there again", || match conn.cmd("GET p:k7") {
            Reply::Error(text) => {
                assert!(text.starts_with("LOADING "), "{text}");
                None
            }
            reply => {
                assert_eq!(reply, Reply::Bulk(b"v".into()));
                Some(())
            }
        });
        assert_eq!((dump(&mut conn, "p:").len(), conn.cmd("EXISTS mine")), (500, Reply::Int(0)));
    }
    assert!(matches!(conn.cmd("SWAPDB 0 1"), Reply::Error(text) if text.starts_with("READONLY ")));
}

/// A reader that was held up for longer than tombstones are kept reads all anew: what was deleted meanwhile is gone, although
/// nothing in the topic says so any more.
#[test]
fn tombstones_that_expired_meanwhile() {
    let Some(mut kafka) = kafka::shared("horizon") else { return };
    let compacted = json!({
        "cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "100",
        "max.compaction.lag.ms": "200"});
    let topic = kafka.topic_with(1, compacted);
    kafka.send(&topic, "gone", "1");
    kafka.send(&topic, "stays", "1");
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    assert_eq!(keys(&mut conn, "p:"), ["gone", "stays"]);
    conn.cmd("PROJECTION.PAUSE p");
    until("it is paused", || (info(&mut conn, "p")["state"] == "paused").then_some(()));
    kafka.send(&topic, "gone", json!(null));
    until("the tombstone is gone too", || {
        // The segment that is written to is not cleaned.
        kafka.send(&topic, "stays", "2");
        let all = kafka.ask(json!({"op": "read", "topic": topic}));
        let records = all["records"].as_array().expect("records");
        records.iter().all(|record| record["key"] != json!("gone")).then_some(())
    });
    conn.cmd("PROJECTION.RESUME p");
    until("it is gone here", || (conn.cmd("EXISTS p:gone") == Reply::Int(0)).then_some(()));
    assert_eq!(conn.cmd("GET p:stays"), Reply::Bulk(b"2".into()));
    assert!(count(&mut conn, "p", "rebuilds") >= 1);
}

/// Schemas named in headers, by number and by their number in all registries; single objects and bare values with schemas of
/// files.
#[test]
fn wire_formats() {
    let Some(mut kafka) = kafka::shared("wire") else { return };
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#;
    let origin = Origin::start(move |asked| {
        let known = ["/schemas/ids/9".to_owned(), format!("/schemas/guids/{GUID}")];
        match known.iter().any(|path| asked.line.contains(&**path)) {
            true => answer("200 OK", &["content-type: application/json"], &json!({ "schema": schema }).to_string()),
            false => answer("404 Not Found", &[], "{}"),
        }
    });
    let folder = pond::Folder::new();
    let file = folder.write("r.avsc", schema);
    let topics: BTreeMap<&str, String> =
        ["header", "auto", "single_object", "none"].into_iter().map(|wire| (wire, kafka.topic(1))).collect();
    let value = |wire: &str| match wire {
        "header" | "auto" => format!("value: {{ decode: avro, registry: main, wire: {wire} }}, store: {{ as: hash }}"),
        _ => format!("value: {{ decode: avro, wire: {wire}, schema_files: ['{file}'] }}, store: {{ as: hash }}"),
    };
    let projections: String = topics.iter().map(|(wire, topic)| projection(wire, &[topic], &value(wire))).collect();
    let config = kafka::config(kafka.bootstrap(), &format!("http://{}", origin.address), &projections);
    let pond = Pond::start(&config);
    let mut conn = pond.ready(&["header", "auto", "single_object", "none"]);
    let parsed: serde_json::Value = serde_json::from_str(schema).expect("JSON");
    let avro = |n: i64, wire: &str| json!({"avro": {"n": n}, "schema": parsed, "wire": wire, "guid": GUID});
    for wire in ["header", "auto"] {
        kafka.send(&topics[wire], "guid", avro(5, "header"));
        let id = json!({"headers": [["__value_schema_id", bytes(&[0, 0, 0, 0, 9])]]});
        kafka.send_with(&topics[wire], "id", avro(6, "none"), id);
        kafka.send(&topics[wire], "plain", bytes(&[0, 0, 0, 0, 9, 14]));
    }
    kafka.send(&topics["single_object"], "k", avro(8, "single_object"));
    kafka.send(&topics["none"], "k", avro(9, "none"));
    let n = |wire: &str, pairs: &[(&str, &str)]| {
        let all = pairs.iter().map(|(key, n)| ((*key).to_owned(), pond::hash(&[("n", n)])));
        (wire.to_owned(), all.collect::<BTreeMap<_, _>>())
    };
    for (wire, expected) in [
        n("header", &[("guid", "5"), ("id", "6")]),
        n("auto", &[("guid", "5"), ("id", "6"), ("plain", "7")]),
        n("single_object", &[("k", "8")]),
        n("none", &[("k", "9")]),
    ] {
        kafka.settle(&mut conn, &wire, &topics[&*wire]);
        assert_eq!(dump(&mut conn, &format!("{wire}:")), expected, "{wire}");
    }
    assert_eq!(count(&mut conn, "header", "skipped"), 1);
}

/// Merged hashes keep the fields that a record says nothing of: over a restart and a rebuild as well.
#[test]
fn hashes_are_merged() {
    let Some(mut kafka) = kafka::shared("merge") else { return };
    let topic = kafka.topic(2);
    let merged = "value: { decode: json }, store: { as: hash, merge: true }, rebuild: shadow";
    let mut pond = Pond::start(&kafka.config(&projection("p", &[&topic], merged)));
    let mut conn = pond.ready(&["p"]);
    for (key, value) in [
        ("k", json!({"a": 1, "b": 2})),
        ("k", json!({"b": 3, "c": 4})),
        ("gone", json!({"a": 1})),
        ("gone", json!(null)),
        ("gone", json!({"b": 2})),
    ] {
        kafka.send(&topic, key, if value.is_null() { value } else { json!(value.to_string()) });
    }
    let expected: BTreeMap<_, _> =
        [("k".into(), pond::hash(&[("a", "1"), ("b", "3"), ("c", "4")])), ("gone".into(), pond::hash(&[("b", "2")]))]
            .into();
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:"), expected);
    conn.cmd("PROJECTION.REBUILD p");
    rebuilt(&mut conn, "p", 1);
    assert_eq!(dump(&mut conn, "p:"), expected);
    pond.crash();
    let mut conn = pond.ready(&["p"]);
    assert_eq!(dump(&mut conn, "p:"), expected);
}

fn writable(kafka: &Kafka, topic: &str, more: &str) -> String {
    kafka.config(&projection("u", &[topic], &format!("http: {{ path: /u, id_field: id }}, {more}")))
}

/// What is posted becomes a record of the topic, and is answered once it can be read; what is deleted becomes a tombstone.
/// The record lies where other clients would put it.
#[test]
fn writes_through() {
    let Some(mut kafka) = kafka::shared("through") else { return };
    let topic = kafka.topic(8);
    let pond = Pond::start(&writable(&kafka, &topic, &format!("{JSON}, local_writes: write_through")));
    let mut conn = pond.ready(&["u"]);
    let kind = ["content-type: application/json"];
    for n in 0..10 {
        let body = json!({"id": format!("a{n}"), "n": n}).to_string();
        let answer = pond.send("POST /u", &kind, &body);
        assert_eq!((answer.status, answer.json()), (201, json!({"id": format!("a{n}"), "n": n})), "{answer:?}");
        assert_eq!(answer.header("location"), Some(&*format!("/u/a{n}")));
        let etag = answer.header("etag").expect("an etag").to_owned();
        let got = pond.get(&format!("/u/a{n}"));
        assert_eq!((got.status, got.header("etag")), (200, Some(&*etag)), "it can be read at once");
        // The producer of others puts it into the same partition.
        let (partition, offset) =
            kafka.send(&topic, format!("a{n}"), json!({"id": format!("a{n}"), "n": -n}).to_string());
        assert!(etag.contains(&format!("-{partition}-")) && offset > 0, "{etag} {partition}");
        assert_eq!(conn.cmd(&format!("PROJECTION.WAIT u OFFSET {partition} {offset} 10000")), Reply::Int(1));
    }
    for (body, kind, status) in [
        (r#"{"id":"a1"}"#, &kind[..], 409),
        (r#"{"n":1}"#, &kind, 422),
        ("[1]", &kind, 400),
        (r#"{"id":"x"}"#, &["content-type: text/plain"], 415),
    ] {
        assert_eq!(pond.send("POST /u", kind, body).status, status, "{body}");
    }
    let deleted = pond.send("DELETE /u/a1", &[], "");
    assert_eq!((deleted.status, deleted.json()["n"].clone()), (200, json!(-1)));
    assert_eq!((pond.get("/u/a1").status, pond.send("DELETE /u/a1", &[], "").status), (404, 404));
    assert!(matches!(conn.cmd("SET u:a2 x"), Reply::Error(text) if text.starts_with("READONLY ")));
    // Another server has all of it.
    let other = Pond::start(&writable(&kafka, &topic, JSON));
    let mut second = other.ready(&["u"]);
    assert_eq!(dump(&mut second, "u:"), dump(&mut conn, "u:"));
    assert_eq!(dump(&mut conn, "u:").len(), 9);
}

/// The same with Avro: the body has to fit the topic's latest schema.
#[test]
fn writes_through_in_avro() {
    let Some(mut kafka) = kafka::shared("through-avro") else { return };
    let topic = kafka.topic(1);
    let schema = json!({"type": "record", "name": "U", "fields": [
        {"name": "id", "type": "string"}, {"name": "n", "type": ["null", "int"], "default": null}]});
    let avro = "value: { decode: avro, registry: main }, store: { as: json }, local_writes: write_through";
    let pond = Pond::start(&writable(&kafka, &topic, avro));
    let mut conn = pond.ready(&["u"]);
    let kind = ["content-type: application/json"];
    let early = pond.send("POST /u", &kind, r#"{"id":"a","n":1}"#);
    assert_eq!(early.status, 502, "no schema is registered: {early:?}");
    kafka.register(&format!("{topic}-value"), schema);
    assert_eq!(pond.send("POST /u", &kind, r#"{"id":"a","n":1}"#).status, 201);
    for bad in [r#"{"id":"b","n":"many"}"#, r#"{"id":7}"#, r#"{"id":"b","n":5000000000}"#] {
        assert_eq!(pond.send("POST /u", &kind, bad).status, 422, "{bad}");
    }
    assert_eq!(pond.get("/u/a").json(), json!({"id": "a", "n": 1}));
    let topic_has = kafka.fold(&topic, true);
    assert_eq!(topic_has["a"]["n"], json!(1), "an independent reader reads it: {topic_has:?}");
    assert_eq!(keys(&mut conn, "u:"), ["a"]);
}

/// Overlays by clients: theirs until the next record of the key, or a rebuild.
#[test]
fn overlays_by_clients() {
    let Some(mut kafka) = kafka::shared("overlay-resp") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "1");
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "local_writes: overlay")));
    let mut conn = pond.ready(&["p"]);
    conn.cmd("MSET p:k mine p:other mine");
    conn.cmd("DEL p:none");
    assert_eq!(dump(&mut conn, "p:"), [("k".into(), held("mine")), ("other".into(), held("mine"))].into());
    let told = kafka::fields(&conn.cmd("PROJECTION.KEY p:k"));
    assert_eq!(told["local"], Reply::Int(1));
    kafka.send(&topic, "k", "2");
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(b"2".into()));
    conn.cmd("SET p:k mine");
    conn.cmd("PROJECTION.REBUILD p");
    rebuilt(&mut conn, "p", 1);
    until("theirs is gone", || (dump(&mut conn, "p:") == [("k".into(), held("2"))].into()).then_some(()));
}
