//! Projections of a scripted broker: what a real one cannot be steered into. They need no Kafka, and run without it.

#[path = "scripted/damaged.rs"]
mod damaged;
#[path = "scripted/ends.rs"]
mod ends;
#[path = "scripted/hostile.rs"]
mod hostile;
#[path = "scripted/lost.rs"]
mod lost;

use crate::pond::{Held, Pond, dump, held, info};
use millpond_tests::broker::Broker;
use millpond_tests::kafka::{self, fields, until};
use millpond_tests::{Conn, Reply};
use std::collections::BTreeMap;

/// A broker, unless the server under test has no projections.
fn broker() -> Option<Broker> {
    (!millpond_tests::server::is_oracle()).then(Broker::start)
}

/// A server with these projections of a broker.
fn pond(broker: &Broker, projections: &str) -> Pond {
    Pond::start(&config(broker, projections))
}

/// An impatient one: a question that is not answered within a second is a broker that hangs, and errors are soon over.
fn config(broker: &Broker, projections: &str) -> String {
    let quick = "properties: { socket.timeout.ms: 1000, reconnect.backoff.ms: 20, reconnect.backoff.max.ms: 100, \
                 fetch.error.backoff.ms: 20, retry.backoff.ms: 20 }, bootstrap_servers:";
    kafka::config(&broker.bootstrap(), "http://127.0.0.1:1", projections).replacen("bootstrap_servers:", quick, 1)
}

/// Does all at the same time, since most of it is waiting.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| cases.into_iter().for_each(|case| _ = scope.spawn(|| test(case))));
}

/// What the logs of a topic mean.
fn fold(broker: &Broker, topic: &str, partitions: usize) -> BTreeMap<String, Held> {
    let logs = (0..partitions).flat_map(|number| broker.log(topic, number).fold());
    logs.map(|(key, value)| (key, held(value))).collect()
}

/// The first offset of each partition that was not applied.
fn applied(conn: &mut Conn, projection: &str) -> Vec<i64> {
    let offsets = fields(&conn.cmd(&format!("PROJECTION.OFFSETS {projection}")));
    (0..).map_while(|number: u32| offsets.get(&number.to_string())).map(Reply::expect_int).collect()
}

/// Waits until all that is committed is applied and live, and what is there is what the logs mean.
fn settle(broker: &Broker, conn: &mut Conn, projection: &str, topic: &str, partitions: usize) {
    let ends: Vec<i64> = (0..partitions).map(|number| broker.log(topic, number).stable_end()).collect();
    let expected = fold(broker, topic, partitions);
    let mut last = None;
    until(&format!("{projection} applies all of {topic}, up to {ends:?}"), || {
        let told = info(conn, projection);
        // Before it is ready nothing can be read.
        let found =
            (told["state"] == "live").then(|| (applied(conn, projection), dump(conn, &format!("{projection}:"))));
        if found.as_ref().is_some_and(|found| found.0 == ends && found.1 == expected) {
            return Some(());
        }
        if last.as_ref() != Some(&found) {
            eprintln!("{projection}: {found:?} instead of {expected:?}, {told:?}");
            last = Some(found);
        }
        None
    });
}
