//! Logs that are no longer what was read of them: topics deleted and made anew, records deleted before they were read.

use crate::pond::{Over, Pond, assert_same, count, dump, first_error, info, rebuilt, states, texts};
use millpond_tests::Reply;
use millpond_tests::kafka::{self, Kafka, projection, until};
use serde_json::json;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn fill(kafka: &mut Kafka, topic: &str, prefix: &str, count: usize) {
    // With a client of its own: another one may have the old topic in mind.
    let config = json!({"client.id": prefix});
    kafka.ask(json!({
        "op": "send_many", "topic": topic, "count": count, "keys": count, "seed": count, "key_prefix": prefix,
        "value_size": 20, "config": config}));
}

/// A topic that is deleted and made anew is another one, be it shorter, of equal length or longer than what was read, with more
/// partitions or fewer: no old key stays, and the new content is complete. While it is read anew nobody is refused.
#[test]
fn a_topic_made_anew() {
    let cases =
        [("shorter", 2, 2, 10), ("equal", 2, 2, 60), ("longer", 2, 2, 200), ("more", 1, 4, 100), ("fewer", 4, 1, 30)];
    std::thread::scope(|scope| {
        for (test, before, after, count) in cases {
            let run = move || made_anew(test, [before, after], count);
            std::thread::Builder::new().name(test.to_owned()).spawn_scoped(scope, run).expect("a thread");
        }
    });
}

fn made_anew(test: &str, partitions: [u32; 2], new_count: usize) {
    const COUNT: usize = 60;
    let Some(mut kafka) = kafka::shared(test) else { return };
    let topic = kafka.topic(partitions[0]);
    fill(&mut kafka, &topic, "old", COUNT);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:"), texts(kafka.fold(&topic, false)));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (reader, is_over, over) = (pond.conn(), &is_over, Over(&is_over));
        let refused = scope.spawn(move || first_error(reader, "GET p:none", is_over));
        kafka.ask(json!({"op": "delete_topic", "topic": topic}));
        kafka.ask(json!({"op": "create_topic", "topic": topic, "partitions": partitions[1]}));
        fill(&mut kafka, &topic, "new", new_count);
        let expected = texts(kafka.fold(&topic, false));
        until("the old keys are gone and the new ones there", || {
            let is_done = count(&mut conn, "p", "rebuilds") > 0 && info(&mut conn, "p")["state"] == "live";
            (is_done && dump(&mut conn, "p:") == expected).then_some(())
        });
        drop(over);
        let refused = refused.join().expect("the reader ends");
        assert!(refused.is_none(), "{test}: it was ready: {}", refused.expect("some"));
    });
    assert_eq!(states(&mut conn, "p").len(), partitions[1] as usize, "{test}");
    // And it is followed on.
    kafka.send_with(&topic, "more", "v", json!({"config": {"client.id": "new"}}));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("GET p:more"), Reply::Bulk(b"v".into()));
    assert_same(test, &dump(&mut conn, "p:"), &texts(kafka.fold(&topic, false)));
}

/// The same while the server is down.
#[test]
fn a_topic_made_anew_while_the_server_was_down() {
    let Some(mut kafka) = kafka::shared("down") else { return };
    let topics: Vec<String> = (0..3).map(|_| kafka.topic(1)).collect();
    topics.iter().for_each(|topic| fill(&mut kafka, topic, "old", 30));
    let names = ["shorter", "equal", "longer"];
    let config: String = names.iter().zip(&topics).map(|(name, topic)| projection(name, &[topic], "")).collect();
    let mut pond = Pond::start(&kafka.config(&config));
    drop(pond.ready(&names));
    pond.crash_with(|| {
        for (topic, count) in topics.iter().zip([10, 30, 50]) {
            kafka.ask(json!({"op": "delete_topic", "topic": topic}));
            kafka.ask(json!({"op": "create_topic", "topic": topic}));
            fill(&mut kafka, topic, "new", count);
        }
    });
    let mut conn = pond.ready(&names);
    for (name, topic) in names.iter().zip(&topics) {
        assert_same(name, &dump(&mut conn, &format!("{name}:")), &texts(kafka.fold(topic, false)));
    }
}

/// Records that were deleted while a partition was paused will not come: all is read anew, and what is not in the log any more
/// goes. Once, not again and again.
#[test]
fn records_deleted_before_they_were_read() {
    let Some(mut kafka) = kafka::shared("deleted") else { return };
    let topic = kafka.topic(2);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    fill(&mut kafka, &topic, "read", 100);
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("PROJECTION.PAUSE p"), Reply::Int(2));
    until("it is paused", || (info(&mut conn, "p")["state"] == "paused").then_some(()));
    fill(&mut kafka, &topic, "unread", 100);
    let ends = kafka.ends(&topic);
    kafka.ask(json!({"op": "delete_records", "topic": topic, "partition": 1, "before": ends[1].1 - 5}));
    assert_eq!(conn.cmd("PROJECTION.RESUME p"), Reply::Int(2));
    rebuilt(&mut conn, "p", 1);
    kafka.settle(&mut conn, "p", &topic);
    let expected = texts(kafka.fold(&topic, false));
    until("what was deleted is gone", || (dump(&mut conn, "p:").len() <= expected.len()).then_some(()));
    assert_same("in the end", &dump(&mut conn, "p:"), &expected);
    assert_eq!(count(&mut conn, "p", "rebuilds"), 1, "for one deletion");
}

/// The same for one partition while another one has much to read: nothing of the other one is lost.
#[test]
fn records_deleted_in_one_partition_while_another_is_busy() {
    const ROUNDS: u32 = 3;
    let Some(mut kafka) = kafka::shared("busy") else { return };
    for round in 1..=ROUNDS {
        let topic = kafka.topic(2);
        let send = |kafka: &mut Kafka, partition: u32, prefix: &str, count: u32, keys: u32| {
            kafka.ask(json!({
                "op": "send_many", "topic": topic, "count": count, "keys": keys, "key_prefix": prefix, "value_size": 20,
                "partition": partition}));
        };
        let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
        let mut conn = pond.ready(&["p"]);
        send(&mut kafka, 0, "a", 500, 500);
        send(&mut kafka, 1, "b", 500, 500);
        kafka.settle(&mut conn, "p", &topic);
        assert_eq!(conn.cmd("PROJECTION.PAUSE p"), Reply::Int(2));
        until("it is paused", || (info(&mut conn, "p")["state"] == "paused").then_some(()));
        send(&mut kafka, 0, "c", 100, 100);
        send(&mut kafka, 1, "d", 60_000, 100);
        kafka.ask(json!({"op": "delete_records", "topic": topic, "partition": 0, "before": 590}));
        let before = count(&mut conn, "p", "records");
        assert_eq!(conn.cmd("PROJECTION.RESUME p PARTITION 1"), Reply::Int(1));
        until("the other one is read", || (count(&mut conn, "p", "records") > before).then_some(()));
        assert_eq!(conn.cmd("PROJECTION.RESUME p PARTITION 0"), Reply::Int(1));
        rebuilt(&mut conn, "p", 1);
        kafka.settle(&mut conn, "p", &topic);
        rebuilt(&mut conn, "p", 1);
        let expected = texts(kafka.fold(&topic, false));
        until("what was deleted is gone", || (dump(&mut conn, "p:").len() <= expected.len()).then_some(()));
        assert_same(&format!("round {round}"), &dump(&mut conn, "p:"), &expected);
    }
}

/// What is paused stays paused, whatever happens: nothing is read and the board says so, until it is resumed.
#[test]
fn what_is_paused_stays_paused() {
    let Some(mut kafka) = kafka::shared("paused") else { return };
    let topic = kafka.topic(2);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    kafka.send_with(&topic, "a", "1", json!({"partition": 0}));
    kafka.send_with(&topic, "b", "1", json!({"partition": 1}));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("PROJECTION.PAUSE p PARTITION 1"), Reply::Int(1));
    until("it is paused", || (states(&mut conn, "p") == ["live", "paused"]).then_some(()));
    assert_eq!(conn.cmd("PROJECTION.PAUSE p PARTITION 1"), Reply::Int(0));
    kafka.send_with(&topic, "b", "2", json!({"partition": 1}));
    let (_, offset) = kafka.send_with(&topic, "a", "2", json!({"partition": 0}));
    assert_eq!(conn.cmd(&format!("PROJECTION.WAIT p OFFSET 0 {offset} 10000")), Reply::Int(1));
    assert_eq!(conn.cmd("MGET p:a p:b").expect_items(), [Reply::Bulk(b"2".into()), Reply::Bulk(b"1".into())]);
    assert_eq!(conn.cmd("PROJECTION.REBUILD p"), Reply::Status("OK".into()));
    until("a rebuild has begun", || (count(&mut conn, "p", "rebuilds") == 1).then_some(()));
    until("the other partition is read", || {
        (conn.cmd(&format!("PROJECTION.WAIT p OFFSET 0 {offset} 10000")) == Reply::Int(1)).then_some(())
    });
    // Long enough for what is paused to come if it comes.
    assert_eq!(conn.cmd("PROJECTION.WAIT p OFFSET 1 1 1000"), Reply::Int(0), "{:?}", states(&mut conn, "p"));
    assert_eq!(conn.cmd("GET p:b"), Reply::Bulk(b"1".into()));
    assert_eq!(conn.cmd("PROJECTION.RESUME p"), Reply::Int(1));
    kafka.settle(&mut conn, "p", &topic);
    rebuilt(&mut conn, "p", 1);
    assert_eq!(conn.cmd("MGET p:a p:b").expect_items(), [Reply::Bulk(b"2".into()), Reply::Bulk(b"2".into())]);
}

/// What is paused, even at its end, grows old: it may lack something. Its age only grows, and readers are told when it is stale.
#[test]
fn what_is_paused_grows_old() {
    let Some(mut kafka) = kafka::shared("old-paused") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "v");
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "ready: { max_staleness: 2s, on_stale: error }")));
    let mut conn = pond.ready(&["p"]);
    conn.cmd("PROJECTION.PAUSE p");
    until("it is paused", || (info(&mut conn, "p")["state"] == "paused").then_some(()));
    let (mut last, begun) = (0, Instant::now());
    until("three seconds have passed", || {
        let age = count(&mut conn, "p", "lag_ms");
        assert!(age >= last, "it was {last} ms old and is {age} ms old now");
        last = age;
        (begun.elapsed().as_secs() >= 3).then_some(())
    });
    assert!(matches!(conn.cmd("GET p:k"), Reply::Error(text) if text.starts_with("STALE ")), "{last} ms");
    assert_eq!(conn.cmd("PROJECTION.RESUME p"), Reply::Int(1));
    until("it is over", || (conn.cmd("GET p:k") == Reply::Bulk(b"v".into())).then_some(()));
}
