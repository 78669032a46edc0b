//! Servers that follow the same topics, and topics that grow.

use crate::pond::{self, Pond, count, dump, held, info};
use millpond_tests::Reply;
use millpond_tests::kafka::{self, fields, projection, until};
use serde_json::json;
use std::collections::BTreeMap;

/// Each server has all partitions, and no consumer group is left on the broker by any of them.
#[test]
fn two_servers_are_both_complete_and_make_no_group() {
    let Some(mut kafka) = kafka::shared("two") else { return };
    let topic = kafka.topic(6);
    let sent: BTreeMap<_, _> = (0..200).map(|n| (format!("k{n}"), held(format!("v{n}")))).collect();
    kafka.send_all(&topic, (0..200).map(|n| (json!(format!("k{n}")), json!(format!("v{n}")))));
    let config = kafka.config(&projection("both", &[&topic], ""));
    let ponds = [Pond::start(&config), Pond::start(&config)];
    let mut conns = ponds.each_ref().map(|pond| pond.ready(&["both"]));
    for conn in &mut conns {
        assert_eq!(dump(conn, "both:"), sent);
    }
    let (partition, offset) = kafka.send(&topic, "k7", "new");
    for conn in &mut conns {
        // What one wrote oneself is there once its offset is waited for.
        assert_eq!(conn.cmd(&format!("PROJECTION.WAIT both OFFSET {partition} {offset} 10000")), Reply::Int(1));
        assert_eq!(conn.cmd("GET both:k7"), Reply::Bulk(b"new".into()));
    }
    // What one server has, another one can wait for.
    let token = fields(&conns[0].cmd("PROJECTION.OFFSETS both"))["token"].expect_text().to_owned();
    assert_eq!(conns[1].command(&["PROJECTION.WAIT", "both", "TOKEN", &token, "10000"]), Reply::Int(1));
    let groups = kafka.ask(json!({"op": "groups"}));
    let ours = groups["groups"].as_array().unwrap().iter().any(|group| group.as_str().unwrap().contains("both"));
    assert!(!ours, "{groups}");
}

/// Where each key came from: topic, partition, offset, time, schema.
#[test]
fn keys_tell_their_records() {
    let Some(mut kafka) = kafka::shared("origin") else { return };
    let topic = kafka.topic(3);
    kafka.send_with(&topic, "k", "old", json!({"partition": 2}));
    let (_, offset) = kafka.send_with(&topic, "k", "new", json!({"partition": 2, "timestamp": 1_700_000_000_123_i64}));
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    let told = fields(&conn.cmd("PROJECTION.KEY p:k"));
    let text = |name: &str| told[name].expect_text().to_owned();
    let number = |name: &str| told[name].expect_int();
    assert_eq!((text("projection"), text("topic")), ("p".to_owned(), topic));
    assert_eq!((number("partition"), number("offset"), number("timestamp")), (2, offset, 1_700_000_000_123));
    assert_eq!(conn.cmd("PROJECTION.KEY p:nope"), Reply::Nil);
    assert_eq!(conn.cmd("PROJECTION.KEY elsewhere"), Reply::Nil);
}

/// Partitions that are added arrive by themselves, in another server's turn as well; meanwhile the projection stays readable.
#[test]
fn partitions_added_later_arrive_and_nobody_is_refused() {
    let Some(mut kafka) = kafka::shared("grows") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "v");
    let pond = Pond::start(&kafka.config(&projection("grows", &[&topic], "")));
    let mut conn = pond.ready(&["grows"]);
    kafka.ask(json!({"op": "add_partitions", "topic": topic, "partitions": 4}));
    for partition in 1..4 {
        // With a client of its own: that of before knows one partition.
        let more = json!({"partition": partition, "config": {"client.id": "grows"}});
        kafka.send_with(&topic, format!("k{partition}"), "v", more);
    }
    until("all partitions are there", || {
        let reply = conn.cmd("GET grows:k");
        assert_eq!(reply, Reply::Bulk(b"v".into()), "it was ready: {:?}", info(&mut conn, "grows"));
        let answer = pond.get("/readyz");
        assert_eq!(answer.status, 200, "{}", answer.body);
        (count(&mut conn, "grows", "partitions_ready") == 4).then_some(())
    });
    kafka.settle(&mut conn, "grows", &topic);
    assert_eq!(dump(&mut conn, "grows:").len(), 4);
}

/// Several topics make one keyspace: partitions are named by topic and number, whatever is there yet; a topic that is still
/// missing keeps all of it from being read.
#[test]
fn several_topics_make_one_keyspace() {
    let Some(mut kafka) = kafka::shared("several") else { return };
    let (here, missing) = (kafka.topic(2), kafka.name());
    kafka.send_with(&here, "k", "1", json!({"partition": 1}));
    let key = "key: { template: 's:{topic}/{key}' }";
    let pond = Pond::start(&kafka.config(&projection("s", &[&here, &missing], key)));
    let mut conn = pond.conn();
    until("the first topic is read", || (count(&mut conn, "s", "records") == 1).then_some(()));
    let names: Vec<String> = fields(&conn.cmd("PROJECTION.OFFSETS s")).into_keys().collect();
    let Reply::Error(error) = conn.cmd(&format!("GET s:{here}/k")) else { panic!("a topic is missing") };
    assert!(error.starts_with("LOADING "), "{error}");
    kafka.ask(json!({"op": "create_topic", "topic": missing, "partitions": 1}));
    kafka.send(&missing, "k", "2");
    pond::ready(&mut conn, "s");
    kafka.settle(&mut conn, "s", &missing);
    let expected = [(format!("{here}/k"), held("1")), (format!("{missing}/k"), held("2"))];
    assert_eq!(dump(&mut conn, "s:"), expected.into());
    assert_eq!(conn.cmd(&format!("PROJECTION.WAIT s OFFSET {missing}/0 0 {here}/1 0 1000")), Reply::Int(1));
    assert_eq!(names, [format!("{here}/0"), format!("{here}/1"), "token".to_owned()], "while a topic was missing");
}

/// A rebuild changes nothing that readers can see while nothing changes in the topic: no older value comes back, and no key
/// that was deleted. What lies in the database beside the prefix is not touched.
#[test]
fn a_rebuild_brings_nothing_back() {
    let Some(mut kafka) = kafka::shared("rebuild") else { return };
    let topic = kafka.topic(2);
    let names: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let all = |value: &str| names.iter().map(|name| (json!(name), json!(value))).collect::<Vec<_>>();
    let gone = |names: &[String]| names.iter().map(|name| (json!(name), json!(null))).collect::<Vec<_>>();
    kafka.send_all(&topic, all("first"));
    kafka.ask(json!({"op": "send_many", "topic": topic, "count": 20_000, "keys": 10, "key_prefix": "other", "value_size": 20}));
    kafka.send_all(&topic, [all("second"), gone(&names[10..])].concat());
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    conn.cmd("MSET p mine other mine");
    let keys: Vec<String> =
        std::iter::once("MGET".to_owned()).chain(names.iter().map(|name| format!("p:{name}"))).collect();
    let expected: Vec<Reply> =
        (0..20).map(|n| if n < 10 { Reply::Bulk(b"second".into()) } else { Reply::Nil }).collect();
    assert_eq!(conn.command(&keys).expect_items(), expected);
    let before = dump(&mut conn, "");
    conn.cmd("PROJECTION.REBUILD p");
    let mut wrong = std::collections::BTreeSet::new();
    until("it is rebuilt", || {
        for (reply, (name, expected)) in conn.command(&keys).expect_items().iter().zip(names.iter().zip(&expected)) {
            if reply != expected {
                wrong.insert(format!("{name}: {reply}"));
            }
        }
        let told = info(&mut conn, "p");
        (told["rebuilds"] == "1" && told["state"] == "live").then_some(())
    });
    assert_eq!(dump(&mut conn, ""), before);
    assert!(wrong.is_empty(), "seen while it was rebuilt: {wrong:?}");
}

/// One key in two partitions: the last one that arrives wins, and it is counted.
#[test]
fn one_key_in_two_partitions_is_counted() {
    let Some(mut kafka) = kafka::shared("conflict") else { return };
    let topic = kafka.topic(2);
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    for (at, value) in ["a", "b", "c"].iter().enumerate() {
        kafka.send_with(&topic, "k", *value, json!({"partition": at % 2}));
        kafka.settle(&mut conn, "p", &topic);
        assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(value.as_bytes().into()));
        assert_eq!(count(&mut conn, "p", "conflicts"), at as i64);
    }
    kafka.send_with(&topic, "k", json!(null), json!({"partition": 1}));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("EXISTS p:k"), Reply::Int(0));
}
