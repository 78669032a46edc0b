//! Projections for which there is no memory: they wait, say so, and hear what they are asked.

use crate::pond::{Pond, dump, info, texts};
use millpond_tests::kafka::{self, Kafka, projection, until};
use serde_json::json;

const COUNT: u64 = 4000;

/// A topic of 4 MB.
fn fill(kafka: &mut Kafka) -> String {
    let topic = kafka.topic(2);
    kafka.ask(json!({"op": "send_many", "topic": topic, "count": COUNT, "keys": COUNT, "value_size": 1000}));
    topic
}

/// Above its own limit a projection waits and goes on by itself: here once its entries have expired.
#[test]
fn a_projection_waits_for_memory_of_its_own() {
    let Some(mut kafka) = kafka::shared("max_memory") else { return };
    let topic = fill(&mut kafka);
    let limits = "limits: { max_memory: 1mb, max_record: 10kb }, ttl: { after: 8s }, ready: { before_ready: serve }";
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], limits)));
    let mut conn = pond.conn();
    let told = until("it waits", || {
        let told = info(&mut conn, "p");
        (told["flags"] == "memory").then_some(told)
    });
    assert_eq!((&*told["state"], &*told["is_ready"]), ("blocked_memory", "0"), "{told:?}");
    assert_eq!(told["last_error"], "max_memory of 1048576 bytes is used up");
    assert_eq!((pond.get("/healthz").status, pond.get("/readyz").status), (200, 503));
    assert!(dump(&mut conn, "p:").len() < COUNT as usize / 3);
    // What the client had fetched is given up.
    until("nothing is queued", || (info(&mut conn, "p")["queue_bytes"] == "0").then_some(()));
    // It hears what it is asked.
    conn.cmd("PROJECTION.PAUSE p");
    until("it is paused", || (info(&mut conn, "p")["state"] == "paused").then_some(()));
    conn.cmd("PROJECTION.RESUME p");
    // What has expired makes room, until all was read.
    assert_eq!(conn.cmd("PROJECTION.WAIT p READY 120000").to_string(), ":1");
    let told = info(&mut conn, "p");
    assert_eq!((&*told["state"], &*told["flags"], &*told["records"]), ("live", "", &*COUNT.to_string()), "{told:?}");
}

/// With `on_oom: stop` it is paused, and tries again when it is told to.
#[test]
fn a_projection_stops_where_the_server_has_no_memory() {
    let Some(mut kafka) = kafka::shared("on_oom") else { return };
    let topic = fill(&mut kafka);
    let options = millpond_tests::Options::default().flag("maxmemory", "1mb").flag("maxmemory-policy", "noeviction");
    let stops = "limits: { on_oom: stop }";
    let pond = Pond::start_with(&kafka.config(&projection("p", &[&topic], stops)), options);
    let mut conn = pond.conn();
    let told = until("it has stopped", || {
        let told = info(&mut conn, "p");
        (told["state"] == "paused").then_some(told)
    });
    assert_eq!((&*told["flags"], &*told["last_error"]), ("memory", "the server has no memory for more"));
    assert!(conn.cmd("GET p:k0").to_string().contains("LOADING"));
    conn.cmd("CONFIG SET maxmemory 100mb");
    until("there is room", || (info(&mut conn, "p")["flags"].is_empty()).then_some(()));
    assert_eq!(info(&mut conn, "p")["state"], "paused", "nobody has told it to go on");
    conn.cmd("PROJECTION.RESUME p");
    drop(conn);
    let mut conn = pond.ready(&["p"]);
    assert_eq!(dump(&mut conn, "p:"), texts(kafka.fold(&topic, false)));
}

/// Under a limit far below what passes through it, a projection that is written over and over goes on: what it holds counts.
#[test]
fn updates_take_no_memory_for_good() {
    let Some(mut kafka) = kafka::shared("updates") else { return };
    let topic = kafka.topic(2);
    kafka.ask(json!({
        "op": "send_many", "topic": topic, "count": 5000, "keys": 100, "value_size": [10, 2000], "tombstones": 0.2, "seed": 1,
    }));
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "limits: { max_memory: 1mb, max_record: 10kb }")));
    let mut conn = pond.ready(&["p"]);
    assert_eq!(dump(&mut conn, "p:"), texts(kafka.fold(&topic, false)));
}
