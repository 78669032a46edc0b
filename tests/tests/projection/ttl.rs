//! Entries that expire by the time of their records, and records as clients write them: compressed, large.

use crate::pond::{Pond, dump, rebuilt, texts};
use millpond_tests::kafka::{self, projection, until};
use millpond_tests::{Conn, Reply};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn expires(conn: &mut Conn, key: &str) -> i64 {
    conn.cmd(&format!("PEXPIRETIME {key}")).expect_int()
}

/// The time to live counts from the record's own time, to the millisecond, on every server and after every replay alike: it is
/// never extended. What has expired is absent, also when its record is read for the first time only then.
#[test]
fn entries_expire_by_the_time_of_their_records() {
    const HOUR: i64 = 3_600_000;
    let Some(mut kafka) = kafka::shared("ttl") else { return };
    let topic = kafka.topic(1);
    let now = now_ms();
    let at = |ms: i64| json!({"timestamp": ms});
    kafka.send_with(&topic, "half", "v", at(now - HOUR / 2));
    kafka.send_with(&topic, "past", "v", at(now - 2 * HOUR));
    // The last record decides, an expired one as well.
    kafka.send_with(&topic, "gone", "v", at(now));
    kafka.send_with(&topic, "gone", "w", at(now - 2 * HOUR));
    kafka.send_with(&topic, "back", "v", at(now - 2 * HOUR));
    kafka.send_with(&topic, "back", "w", at(now));
    kafka.send_with(&topic, "soon", "v", at(now - HOUR + 4000));
    let config = [
        projection("p", &[&topic], "ttl: { from: record_timestamp, after: 1h }"),
        projection("h", &[&topic], "ttl: { after: 60m }, value: { decode: raw }"),
        projection("none", &[&topic], ""),
    ];
    let mut pond = Pond::start(&kafka.config(&config.concat()));
    let mut conn = pond.ready(&["p", "h", "none"]);
    let check = |conn: &mut Conn| {
        for name in ["p", "h"] {
            assert_eq!(expires(conn, &format!("{name}:half")), now + HOUR / 2);
            assert_eq!(expires(conn, &format!("{name}:back")), now + HOUR);
            assert_eq!(conn.cmd(&format!("EXISTS {name}:past {name}:gone")), Reply::Int(0));
            assert_eq!(conn.cmd(&format!("GET {name}:back")), Reply::Bulk(b"w".into()));
        }
        assert_eq!(conn.cmd("PTTL none:past"), Reply::Int(-1));
    };
    check(&mut conn);
    assert_eq!(expires(&mut conn, "p:soon"), now + 4000);
    until("it has expired", || (conn.cmd("EXISTS p:soon h:soon") == Reply::Int(0)).then_some(()));
    assert!(now_ms() >= now + 4000);
    assert_eq!(conn.cmd("PROJECTION.REBUILD p"), Reply::Status("OK".into()));
    rebuilt(&mut conn, "p", 1);
    check(&mut conn);
    pond.crash();
    let mut conn = pond.ready(&["p", "h", "none"]);
    check(&mut conn);
    let keys: Vec<String> = dump(&mut conn, "p:").into_keys().collect();
    assert_eq!(keys, ["back", "half"]);
    // A new record counts anew.
    kafka.send_with(&topic, "half", "w", at(now + 1000));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(expires(&mut conn, "p:half"), now + HOUR + 1000);
}

/// Topics in each compression that Kafka knows, in batches, and a record almost as long as the broker takes.
#[test]
fn compressed_topics() {
    const KINDS: [&str; 4] = ["gzip", "snappy", "lz4", "zstd"];
    let Some(mut kafka) = kafka::shared("compressed") else { return };
    let topics = KINDS.map(|_| kafka.topic(1));
    for (kind, topic) in KINDS.iter().zip(&topics) {
        kafka.ask(json!({
            "op": "send_many", "topic": topic, "count": 500, "keys": 50, "value_size": 500,
            "config": {"compression.type": kind, "client.id": kind}}));
        kafka.send_with(topic, "large", "xyz".repeat(300_000), json!({"config": {"compression.type": kind}}));
    }
    let config: String = KINDS.iter().zip(&topics).map(|(kind, topic)| projection(kind, &[topic], "")).collect();
    let pond = Pond::start(&kafka.config(&config));
    let mut conn = pond.ready(&KINDS);
    for (kind, topic) in KINDS.iter().zip(&topics) {
        assert_eq!(dump(&mut conn, &format!("{kind}:")), texts(kafka.fold(topic, false)), "{kind}");
    }
}
