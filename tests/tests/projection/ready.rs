//! When a projection may be read: after all that was there when it began, and not before.

use crate::pond::{self, Pond, count, dump, errors, held, info, states, texts};
use millpond_tests::kafka::{self, Kafka, config, projection, until};
use millpond_tests::{Conn, Reply};
use serde_json::json;

fn is_loading(reply: &Reply, name: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(&format!("LOADING projection '{name}' catching up (")))
}

/// Before it is ready: readers get -LOADING, the process lives, it is not ready.
fn assert_not_ready(pond: &Pond, conn: &mut Conn, name: &str) {
    let reply = conn.cmd(&format!("GET {name}:k"));
    assert!(is_loading(&reply, name), "{reply}: {:?}", info(conn, name));
    assert_eq!(conn.cmd(&format!("PROJECTION.WAIT {name} READY 0")), Reply::Int(0));
    assert_eq!((pond.get("/healthz").status, pond.get("/readyz").status), (200, 503));
    assert_eq!(pond.get(&format!("/readyz?projection={name}")).status, 503);
    // Other keys are nobody's.
    assert_eq!(conn.cmd("SET other x"), Reply::Status("OK".into()));
    assert_eq!(conn.cmd("GET other"), Reply::Bulk(b"x".into()));
}

fn assert_ready(pond: &Pond, conn: &mut Conn, name: &str) {
    pond::ready(conn, name);
    assert!(!matches!(conn.cmd(&format!("GET {name}:k")), Reply::Error(_)));
    assert_eq!((pond.get("/healthz").status, pond.get(&format!("/readyz?projection={name}")).status), (200, 200));
}

/// A reader that is there from the first moment gets -LOADING until everything is there, and never again. Nothing but the
/// newest value is ever seen.
#[test]
fn loading_before_and_never_after() {
    const KEYS: usize = 8;
    const RECORDS: usize = 20_000;
    let Some(mut kafka) = kafka::shared("loading") else { return };
    let topic = kafka.topic(3);
    kafka.ask(json!({"op": "send_many", "topic": topic, "count": RECORDS, "keys": KEYS, "value_size": 40}));
    let fold = kafka.fold(&topic, false);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.conn();
    let (mut refused, mut served) = (0, 0);
    until("it is read a thousand times", || {
        for key in fold.keys() {
            match conn.cmd(&format!("GET p:{key}")) {
                reply if is_loading(&reply, "p") => {
                    assert_eq!(served, 0, "it was ready: {reply}");
                    refused += 1;
                }
                reply => {
                    assert_eq!(reply, Reply::Bulk(fold[key].as_str().unwrap().into()), "{key}");
                    served += 1;
                }
            }
        }
        (served >= 1000).then_some(())
    });
    assert!(refused > 0, "it was ready at once");
    // All commands that read are refused alike before, so a fresh server is asked for the rest.
    let pond = Pond::start(&config("127.0.0.1:1", kafka.registry(), &projection("p", &[&topic], "")));
    let mut conn = pond.conn();
    let reads = ["MGET a p:k", "EXISTS p:k", "TTL p:k", "TYPE p:k", "HGETALL p:k", "STRLEN p:k", "PROJECTION.KEY p:k"];
    for command in reads {
        let reply = conn.cmd(command);
        assert!(is_loading(&reply, "p"), "{command}: {reply}");
    }
    assert_eq!(conn.cmd("MULTI"), Reply::Status("OK".into()));
    conn.cmd("GET p:k");
    let reply = conn.cmd("EXEC");
    assert!(matches!(&reply, Reply::Error(_)) || is_loading(&reply.expect_items()[0], "p"), "{reply}");
}

/// A topic that is not there is a state: it is waited for, and followed once it was created. A topic without records is ready.
#[test]
fn topics_that_are_missing_or_empty() {
    let Some(mut kafka) = kafka::shared("missing") else { return };
    let (topic, empty) = (kafka.name(), kafka.topic(2));
    let both = [projection("p", &[&topic], ""), projection("empty", &[&empty], "")].concat();
    let pond = Pond::start(&kafka.config(&both));
    let mut conn = pond.conn();
    assert_ready(&pond, &mut conn, "empty");
    assert_eq!(conn.cmd("GET empty:k"), Reply::Nil);
    until("it is told", || info(&mut conn, "p")["last_error"].contains(&topic).then_some(()));
    assert_not_ready(&pond, &mut conn, "p");
    assert_eq!(pond.get("/readyz?projection=nobody").status, 404);
    kafka.ask(json!({"op": "create_topic", "topic": topic, "partitions": 2}));
    kafka.send(&topic, "k", "v");
    assert_ready(&pond, &mut conn, "p");
    assert_eq!(pond.get("/readyz").status, 200);
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(b"v".into()));
}

fn transaction(kafka: &mut Kafka, topic: &str, tx: &str, value: &str, end: Option<&str>) {
    kafka.ask(json!({"op": "begin", "tx": tx}));
    kafka.send_with(topic, "k", value, json!({"tx": tx}));
    if let Some(end) = end {
        kafka.ask(json!({"op": end, "tx": tx}));
    }
}

/// Logs that end with the marker of a transaction, committed or aborted, or that retention emptied: no record proves the end
/// of them, and they are ready all the same. What was aborted is never seen.
#[test]
fn logs_that_do_not_end_with_a_record() {
    let Some(mut kafka) = kafka::shared("markers") else { return };
    let topics: Vec<String> = (0..4).map(|_| kafka.topic(1)).collect();
    transaction(&mut kafka, &topics[0], "markers-committed", "committed", Some("commit"));
    kafka.send(&topics[1], "k", "before");
    transaction(&mut kafka, &topics[1], "markers-aborted", "aborted", Some("abort"));
    transaction(&mut kafka, &topics[2], "markers-only", "aborted", Some("abort"));
    kafka.send(&topics[3], "k", "gone");
    kafka.ask(json!({"op": "delete_records", "topic": topics[3]}));
    let names = ["committed", "aborted", "only", "emptied"];
    let config: String = names.iter().zip(&topics).map(|(name, topic)| projection(name, &[topic], "")).collect();
    let pond = Pond::start(&kafka.config(&config));
    let mut conn = pond.ready(&names);
    let values = names.map(|name| dump(&mut conn, &format!("{name}:")).remove("k"));
    assert_eq!(values, [Some(held("committed")), Some(held("before")), None, None]);
    assert_eq!(names.map(|name| count(&mut conn, name, "lag")), [0; 4]);
    // The same while it follows.
    transaction(&mut kafka, &topics[0], "markers-committed", "aborted", Some("abort"));
    transaction(&mut kafka, &topics[1], "markers-aborted", "committed", Some("commit"));
    kafka.settle(&mut conn, "committed", &topics[0]);
    kafka.settle(&mut conn, "aborted", &topics[1]);
    assert_eq!(
        conn.cmd("MGET committed:k aborted:k").expect_items(),
        [b"committed"; 2].map(|text| Reply::Bulk(text.into()))
    );
}

/// An open transaction pins what comes after it. It is waited for as long as was asked; then the rest is served, with a flag,
/// until it ends. With `pinned: wait` it is waited for.
#[test]
fn an_open_transaction_is_waited_for() {
    let Some(mut kafka) = kafka::shared("open") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "before");
    transaction(&mut kafka, &topic, "open-tx", "within", None);
    kafka.send(&topic, "later", "v");
    let config = [
        projection("serve", &[&topic], "ready: { open_txn_wait: 700ms }"),
        projection("wait", &[&topic], "ready: { open_txn_wait: 10ms, pinned: wait }"),
        projection("long", &[&topic], "ready: { open_txn_wait: 1h }"),
    ];
    let pond = Pond::start(&kafka.config(&config.concat()));
    let begun = std::time::Instant::now();
    let mut conn = pond.conn();
    until("what comes before is read", || (count(&mut conn, "serve", "records") == 1).then_some(()));
    assert_not_ready(&pond, &mut conn, "serve");
    assert_ready(&pond, &mut conn, "serve");
    assert!(begun.elapsed().as_millis() >= 700, "ready after {:?}", begun.elapsed());
    let flags = info(&mut conn, "serve")["flags"].clone();
    assert!(flags.split(',').any(|flag| flag == "pinned"), "{flags}");
    assert_eq!(dump(&mut conn, "serve:"), [("k".to_owned(), held("before"))].into());
    assert_not_ready(&pond, &mut conn, "wait");
    assert_not_ready(&pond, &mut conn, "long");
    // Who asks what it waits for is told: the log goes on behind what is stable.
    let at = format!("{{projection=\"long\",topic=\"{topic}\",partition=\"0\"}}");
    until("the ends are told", || {
        let told = pond.get("/metrics").body;
        let is_told =
            |name: &str, value: i64| told.contains(&format!("millpond_projection_partition_{name}{at} {value}\n"));
        (is_told("stable_end", 1) && is_told("log_end", 3)).then_some(())
    });
    kafka.ask(json!({"op": "commit", "tx": "open-tx"}));
    let all = [("k".to_owned(), held("within")), ("later".to_owned(), held("v"))];
    for name in ["serve", "wait", "long"] {
        assert_ready(&pond, &mut conn, name);
        kafka.settle(&mut conn, name, &topic);
        assert_eq!(dump(&mut conn, &format!("{name}:")), all.clone().into(), "{name}");
        let told = info(&mut conn, name);
        assert_eq!((&*told["flags"], &*told["state"], &*told["lag"]), ("", "live", "0"), "{name}");
    }
    // Once it is ready an open transaction makes nobody wait.
    transaction(&mut kafka, &topic, "open-tx", "again", None);
    kafka.send(&topic, "behind", "v");
    assert_ready(&pond, &mut conn, "wait");
    assert_eq!(conn.cmd("MGET wait:k wait:behind").expect_items(), [Reply::Bulk(b"within".into()), Reply::Nil]);
    kafka.ask(json!({"op": "abort", "tx": "open-tx"}));
    kafka.settle(&mut conn, "wait", &topic);
    assert_eq!(
        conn.cmd("MGET wait:k wait:behind").expect_items(),
        [b"within".to_vec(), b"v".to_vec()].map(Reply::Bulk)
    );
}

/// `before_ready: serve` shows what is there so far; probes say that it is not all.
#[test]
fn what_is_there_so_far_is_served_if_asked_for() {
    let Some(mut kafka) = kafka::shared("sofar") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "before");
    transaction(&mut kafka, &topic, "sofar-tx", "within", None);
    let more = "ready: { before_ready: serve, pinned: wait }, http: { path: /api/p }";
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], more)));
    let mut conn = pond.conn();
    assert_eq!(conn.cmd("GET p:nope"), Reply::Nil);
    until("what comes before is served", || (conn.cmd("GET p:k") == Reply::Bulk(b"before".into())).then_some(()));
    assert_eq!((pond.get("/readyz").status, pond.get("/api/p/k").status), (503, 200));
    assert_eq!(conn.cmd("PROJECTION.WAIT p READY 0"), Reply::Int(0));
    kafka.ask(json!({"op": "abort", "tx": "sofar-tx"}));
    assert_ready(&pond, &mut conn, "p");
}

/// PROJECTION.WAIT: what it waits for may still be to come, it ends in time, and clients that wait disturb nobody.
#[test]
fn waits_end_in_time_or_with_what_they_wait_for() {
    let Some(mut kafka) = kafka::shared("wait") else { return };
    let topic = kafka.topic(1);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let (mut conn, mut waiting) = (pond.ready(&["p"]), pond.conn());
    assert_eq!(conn.cmd("PROJECTION.WAIT p OFFSET 0 0 50"), Reply::Int(0));
    waiting.send_command(&["PROJECTION.WAIT", "p", "OFFSET", "0", "1", "15000"]).unwrap();
    kafka.send(&topic, "k", "1");
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("PROJECTION.WAIT p OFFSET 0 0 0"), Reply::Int(1));
    kafka.send(&topic, "k", "2");
    assert_eq!(waiting.read(), Ok(Reply::Int(1)));
    assert_eq!(waiting.cmd("GET p:k"), Reply::Bulk(b"2".into()));
    for wrong in
        ["p READY", "p READY x", "p OFFSET 9 0 1", "p OFFSET 0 1", "p TOKEN x 1", "nobody READY 1", "p READY -1"]
    {
        let reply = conn.cmd(&format!("PROJECTION.WAIT {wrong}"));
        assert!(matches!(reply, Reply::Error(_)), "{wrong}: {reply}");
    }
}

/// A log that was compacted has gaps; what is left of it is all that there is to know. Ready all the same, and complete.
#[test]
fn logs_with_gaps() {
    let Some(mut kafka) = kafka::shared("gaps") else { return };
    let topic = kafka.topic_with(
        1,
        json!({"cleanup.policy": "compact", "segment.ms": 100, "min.cleanable.dirty.ratio": 0.01, "delete.retention.ms": 100,
            "max.compaction.lag.ms": 200}),
    );
    kafka.send(&topic, "gone", "v");
    kafka.send(&topic, "gone", serde_json::Value::Null);
    kafka.ask(json!({"op": "send_many", "topic": topic, "count": 200, "keys": 5, "value_size": 20}));
    until("it is compacted, and the tombstone is gone", || {
        // Only what comes later closes a segment.
        kafka.send(&topic, "later", "v");
        let read = kafka.ask(json!({"op": "read", "topic": topic}));
        let records = read["records"].as_array().unwrap();
        let is_gap = records.len() < 100 && records.iter().all(|record| record["key"] != "gone");
        is_gap.then_some(())
    });
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:"), texts(kafka.fold(&topic, false)));
}

/// A batch that is damaged on the broker's disk is not served: its partition stands there, and others are read. Passing it
/// takes PROJECTION.SKIP.
#[test]
fn a_damaged_batch_is_not_served() {
    let Some(mut kafka) = kafka::shared("damaged") else { return };
    let topic = kafka.topic(2);
    for (key, partition) in [("before", 0), ("damaged", 0), ("behind", 0), ("other", 1)] {
        kafka.send_with(&topic, key, format!("value of {key}"), json!({"partition": partition}));
    }
    let data = kafka.about()["data"].as_str().unwrap();
    let file = format!("{data}/{topic}-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let needle = b"value of damaged";
    let at = bytes.windows(needle.len()).position(|part| part == needle).expect("it is in the log");
    bytes[at] ^= 1;
    // In place: the broker has it open.
    std::os::unix::fs::FileExt::write_at(
        &std::fs::File::options().write(true).open(&file).unwrap(),
        &bytes[at..=at],
        at as u64,
    )
    .unwrap();
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "ready: { before_ready: serve }")));
    let mut conn = pond.conn();
    until("it stands", || (states(&mut conn, "p") == ["blocked_poison", "live"]).then_some(()));
    let (class, partition, offset, _) = errors(&mut conn, "p").remove(0);
    assert_eq!((&*class, partition, offset), ("crc", 0, 1));
    assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["before", "other"]);
    assert_eq!(conn.cmd("PROJECTION.WAIT p READY 300"), Reply::Int(0));
    assert_eq!(conn.cmd("PROJECTION.SKIP p 0 1"), Reply::Int(1));
    pond::ready(&mut conn, "p");
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["before", "behind", "other"]);
    assert_eq!(errors(&mut conn, "p").len(), 1, "it is told once");
}

/// SIGTERM ends a server in order, whatever its projections do: while they look for a broker, catch up, or follow.
#[test]
fn servers_end_in_order() {
    let Some(mut kafka) = kafka::shared("ends") else { return };
    let topic = kafka.topic(1);
    kafka.ask(json!({"op": "send_many", "topic": topic, "count": 20_000, "keys": 20_000, "value_size": 100}));
    let text = kafka.config(&projection("p", &[&topic], ""));
    let nowhere = config("127.0.0.1:1", kafka.registry(), &projection("p", &[&topic], ""));
    for (text, is_awaited) in [(&nowhere, false), (&text, false), (&text, true)] {
        let mut pond = Pond::start(text);
        if is_awaited {
            drop(pond.ready(&["p"]));
        }
        let status = pond.stop();
        assert_eq!(status.code(), Some(0), "{status}: {}", pond.server().output());
    }
}
