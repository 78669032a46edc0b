//! Records that cannot be read: counted and passed over, or in the way until somebody decides.

use crate::pond::{self, Pond, count, dump, errors, held, info, states};
use millpond_tests::Reply;
use millpond_tests::kafka::{self, Kafka, bytes, projection, until};
use serde_json::{Value, json};

const CLASSES: [&str; 6] = ["null_key", "bad_key", "bad_magic", "unknown_schema", "decode", "too_large"];
const MAX_RECORD: usize = 300;

/// A record of each class, in this order, for Avro values and text keys; the secret is what must not be shown of them.
fn poison(kafka: &mut Kafka, subject: &str) -> Vec<(Value, Value)> {
    let schema = json!({"type": "record", "name": "P", "fields": [{"name": "text", "type": "string"}]});
    let id = kafka.register(subject, schema);
    let good = |text: &str| json!({"avro": {"text": text}, "schema_id": id});
    let mut cut = vec![0, 0, 0];
    cut.extend((id as u16).to_be_bytes());
    cut.extend(b"\x7esecret");
    let unknown = [&[0, 0x7f, 0xff, 0xff, 0xf0], &b"secret"[..]].concat();
    vec![
        (Value::Null, good("x")),
        (bytes(b"\xff\xfesecret"), good("x")),
        (json!("magic"), json!("secret")),
        (json!("unknown"), bytes(&unknown)),
        (json!("decode"), bytes(&cut)),
        (json!("large"), json!("secret".repeat(MAX_RECORD))),
        (json!("good"), good("y")),
    ]
}

fn config(kafka: &Kafka, topic: &str, more: &str) -> String {
    let value = "value: { decode: avro, registry: main }, store: { as: hash }";
    kafka.config(&projection("p", &[topic], &format!("{value}, limits: {{ max_record: {MAX_RECORD}b }}, {more}")))
}

/// With `skip` every class is counted once, named with its place in PROJECTION.ERRORS (never with its contents), and what
/// comes after is read. It does not keep the projection from being ready.
#[test]
fn each_class_is_counted_and_passed_over() {
    let Some(mut kafka) = kafka::shared("skip") else { return };
    let topic = kafka.topic(1);
    let records = poison(&mut kafka, "skip");
    kafka.send_all(&topic, records);
    let pond = Pond::start(&config(&kafka, &topic, "errors: { default: skip, ring: 4 }"));
    let mut conn = pond.ready(&["p"]);
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!((count(&mut conn, "p", "skipped"), count(&mut conn, "p", "lag")), (6, 0));
    let told = errors(&mut conn, "p");
    let found: Vec<(&str, i64, i64)> =
        told.iter().map(|(class, partition, at, _)| (&**class, *partition, *at)).collect();
    assert_eq!(found, [("too_large", 0, 5), ("decode", 0, 4), ("unknown_schema", 0, 3), ("bad_magic", 0, 2)]);
    let section = conn.cmd("INFO projections").expect_text().to_owned();
    assert!(section.contains(",skipped=6,"), "{section}");
    let metrics = pond.get("/metrics").body;
    assert!(metrics.contains("millpond_projection_skipped_total{projection=\"p\"} 6\n"), "{metrics}");
    let all = format!("{told:?}{section}{metrics}{:?}{}", info(&mut conn, "p"), pond.server().output());
    assert!(!all.contains("secret"), "what records hold is shown: {all}");
    assert_eq!(conn.cmd("PROJECTION.ERRORS p COUNT 1").expect_items().len(), 1);
    assert_eq!(conn.cmd("PROJECTION.ERRORS p COUNT 1 RESET").expect_items().len(), 1);
    until("they are forgotten", || errors(&mut conn, "p").is_empty().then_some(()));
    assert_eq!(count(&mut conn, "p", "skipped"), 6, "the count stays");
}

/// Metrics tell how many of each class were passed over.
#[test]
fn metrics_tell_classes_apart() {
    let Some(mut kafka) = kafka::shared("metrics") else { return };
    let topic = kafka.topic(1);
    let records = poison(&mut kafka, "metrics");
    kafka.send_all(&topic, records);
    let pond = Pond::start(&config(&kafka, &topic, ""));
    let mut conn = pond.ready(&["p"]);
    kafka.settle(&mut conn, "p", &topic);
    let metrics = pond.get("/metrics").body;
    for class in CLASSES {
        let line = metrics.lines().find(|line| line.contains(class) && line.starts_with("millpond_projection_"));
        assert!(line.is_some_and(|line| line.ends_with(" 1")), "{class}: {line:?}");
    }
}

/// With `stop` each class blocks its partition at that very record, others go on, and PROJECTION.SKIP passes exactly it.
#[test]
fn stopped_partitions_wait_for_a_hand() {
    let Some(mut kafka) = kafka::shared("stop") else { return };
    let topic = kafka.topic(2);
    let records = poison(&mut kafka, "stop");
    let pond = Pond::start(&config(&kafka, &topic, "errors: { default: stop }"));
    let mut conn = pond.ready(&["p"]);
    let good = records.last().expect("some").1.clone();
    for ((key, value), class) in records.into_iter().zip(CLASSES) {
        let (_, offset) = kafka.send_with(&topic, key, value, json!({"partition": 0}));
        kafka.send_with(&topic, "after", good.clone(), json!({"partition": 0}));
        until(class, || (states(&mut conn, "p")[0] == "blocked_poison").then_some(()));
        assert_eq!(info(&mut conn, "p")["state"], "blocked_poison");
        let (found, _, at, _) = errors(&mut conn, "p").remove(0);
        assert_eq!((&*found, at), (class, offset));
        // The other partition goes on, and all is readable: it was ready.
        let (_, other) = kafka.send_with(&topic, class, good.clone(), json!({"partition": 1}));
        assert_eq!(conn.cmd(&format!("PROJECTION.WAIT p OFFSET 1 {other} 10000")), Reply::Int(1), "{class}");
        assert_eq!(conn.cmd(&format!("HGET p:{class} text")), Reply::Bulk(b"y".into()));
        assert_eq!(states(&mut conn, "p"), ["blocked_poison", "live"]);
        assert_eq!(conn.cmd(&format!("PROJECTION.WAIT p OFFSET 0 {offset} 0")), Reply::Int(0));
        for (wrong, reply) in [((0, offset + 1), 0), ((0, offset - 1), 0), ((1, other + 1), 0), ((0, offset), 1)] {
            assert_eq!(
                conn.cmd(&format!("PROJECTION.SKIP p {} {}", wrong.0, wrong.1)),
                Reply::Int(reply),
                "{class} {wrong:?}"
            );
        }
        kafka.settle(&mut conn, "p", &topic);
        assert_eq!(states(&mut conn, "p"), ["live", "live"]);
        assert_eq!(conn.cmd(&format!("PROJECTION.SKIP p 0 {offset}")), Reply::Int(0), "it is passed");
    }
    assert_eq!(count(&mut conn, "p", "skipped"), 6);
    assert!(matches!(conn.cmd("PROJECTION.SKIP p 7 0"), Reply::Error(_)));
}

/// A partition that stands before it was ever ready keeps readers out; skipping lets them in. A restart stands there again.
#[test]
fn what_stands_before_it_is_ready() {
    let Some(mut kafka) = kafka::shared("stands") else { return };
    let topic = kafka.topic(1);
    let records = poison(&mut kafka, "stands");
    kafka.send_all(&topic, records.into_iter().skip(5));
    let mut pond = Pond::start(&config(&kafka, &topic, "errors: { too_large: stop }"));
    for _ in 0..2 {
        let mut conn = pond.conn();
        until("it stands", || (info(&mut conn, "p")["state"] == "blocked_poison").then_some(()));
        assert!(matches!(conn.cmd("HGET p:good text"), Reply::Error(text) if text.starts_with("LOADING ")));
        assert_eq!((pond.get("/readyz").status, pond.get("/healthz").status), (503, 200));
        assert_eq!(conn.cmd("PROJECTION.SKIP p 0 0"), Reply::Int(1));
        pond::ready(&mut conn, "p");
        assert_eq!(conn.cmd("HGET p:good text"), Reply::Bulk(b"y".into()));
        pond.crash();
    }
}

/// The old value of a key whose new record cannot be read stays, or goes, as asked; the next good record heals it. Where the
/// key cannot be read nothing goes.
#[test]
fn the_old_value_of_a_poisoned_key() {
    let Some(mut kafka) = kafka::shared("old") else { return };
    let topic = kafka.topic(1);
    let more = |form: &str, key: &str| {
        format!("value: {{ decode: json }}, store: {{ as: {form} }}, errors: {{ poison_key: {key} }}")
    };
    let config = [
        projection("keep", &[&topic], &more("json", "keep_old")),
        projection("gone", &[&topic], &more("json", "delete")),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["keep", "gone"]);
    let settle = |kafka: &mut Kafka, conn: &mut _| ["keep", "gone"].map(|name| kafka.settle(conn, name, &topic));
    kafka.send_all(&topic, [(json!("k"), json!("1")), (json!("j"), json!("1")), (json!("k"), json!("{"))]);
    kafka.send(&topic, bytes(b"\xff"), "1");
    settle(&mut kafka, &mut conn);
    let one = |key: &str| (key.to_owned(), held("1"));
    assert_eq!(dump(&mut conn, "keep:"), [one("j"), one("k")].into());
    assert_eq!(dump(&mut conn, "gone:"), [one("j")].into());
    kafka.send(&topic, "k", "2");
    settle(&mut kafka, &mut conn);
    for name in ["keep", "gone"] {
        assert_eq!(conn.cmd(&format!("GET {name}:k")), Reply::Bulk(b"2".into()));
        assert_eq!(count(&mut conn, name, "skipped"), 2);
    }
}

/// A record as long as the limit is read, one byte more is not; the limit is that of key and value each.
#[test]
fn the_limit_of_a_record() {
    let Some(mut kafka) = kafka::shared("limit") else { return };
    let topic = kafka.topic(1);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "limits: { max_record: 1kb }")));
    let mut conn = pond.ready(&["p"]);
    for (key, value) in [(5, 1024), (5, 1025), (1024, 5), (1025, 5)] {
        kafka.send(&topic, "k".repeat(key), "v".repeat(value));
    }
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:").into_keys().map(|key| key.len()).collect::<Vec<_>>(), [5, 1024]);
    assert_eq!(errors(&mut conn, "p").into_iter().map(|error| error.0).collect::<Vec<_>>(), ["too_large", "too_large"]);
}

/// Dead letters: the record as it was, with headers that say what was wrong and where; written before the record is passed
/// over, so that while there is no topic for them the partition waits. Other partitions go on.
#[test]
fn dead_letters_are_complete_and_come_first() {
    let Some(mut kafka) = kafka::shared("letters") else { return };
    let (topic, letters) = (kafka.topic(2), kafka.name());
    let more = format!(
        "value: {{ decode: json }}, store: {{ as: json }}, errors: {{ default: dead_letter, dead_letter_topic: {letters}, \
         poison_key: delete }}"
    );
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], &more)));
    let mut conn = pond.ready(&["p"]);
    kafka.send_with(&topic, "k", "1", json!({"partition": 0}));
    let headers = json!([["h", "x"], ["h", bytes(b"\xff")], ["none", null]]);
    let (_, offset) = kafka.send_with(
        &topic,
        "k",
        bytes(b"{\xff"),
        json!({"partition": 0, "headers": headers, "timestamp": 1_700_000_000_000_i64}),
    );
    kafka.send_with(&topic, "behind", "2", json!({"partition": 0}));
    let (_, other) = kafka.send_with(&topic, "other", "3", json!({"partition": 1}));
    until("it waits for its dead letter", || (states(&mut conn, "p")[0] == "blocked_poison").then_some(()));
    assert_eq!(conn.cmd(&format!("PROJECTION.WAIT p OFFSET 1 {other} 10000")), Reply::Int(1));
    assert_eq!(conn.cmd(&format!("PROJECTION.WAIT p OFFSET 0 {offset} 1000")), Reply::Int(0), "nothing takes it yet");
    assert_eq!((count(&mut conn, "p", "dead_letters"), conn.cmd("EXISTS p:behind")), (0, Reply::Int(0)));
    kafka.ask(json!({"op": "create_topic", "topic": letters}));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:"), [("behind".to_owned(), held("2")), ("other".to_owned(), held("3"))].into());
    assert_eq!((count(&mut conn, "p", "dead_letters"), states(&mut conn, "p")[0].as_str()), (1, "live"));
    let read = kafka.ask(json!({"op": "read", "topic": letters}));
    let [letter] = &read["records"].as_array().unwrap()[..] else { panic!("one letter: {read}") };
    assert_eq!((&letter["key"], &letter["value"]), (&json!("k"), &bytes(b"{\xff")));
    let found = letter["headers"].as_array().unwrap();
    assert_eq!(found[..3], *headers.as_array().unwrap(), "its own headers, in order");
    let about = |name: &str| {
        let name = format!("__connect.errors.{name}");
        found.iter().find(|header| header[0] == *name).map(|header| header[1].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(
        (about("topic"), about("partition"), about("offset")),
        (Some(topic), Some("0".into()), Some(offset.to_string()))
    );
    assert!(about("exception.message").is_some_and(|text| !text.is_empty()), "{found:?}");
}
