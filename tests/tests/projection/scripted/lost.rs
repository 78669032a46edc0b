//! Logs that are no longer what was read of them: cut at either end, or those of topics that were made anew.

use super::{applied, broker, config, fold, pond, settle};
use crate::pond::{self, Over, Pond, count, dump, first_error, info, rebuilt, states};
use millpond_tests::broker::{Api, Broker, Log, record};
use millpond_tests::kafka::{projection, until};
use millpond_tests::{Conn, Reply};
use std::sync::atomic::AtomicBool;

/// A log of so many records with keys of that prefix.
fn filled(prefix: &str, count: usize) -> Log {
    let mut log = Log::default();
    (0..count).for_each(|n| _ = log.append(&[record(&format!("{prefix}{n}"), prefix)]));
    log
}

/// Waits for the end of all rebuilds, one at least, and until nothing is there but what the logs mean.
fn renewed(broker: &Broker, conn: &mut Conn, name: &str, topic: &str, partitions: usize) {
    rebuilt(conn, name, 1);
    settle(broker, conn, name, topic, partitions);
}

/// A log that became shorter than what was read of it (a leader was elected that lacks its end) is read anew, and what it lost
/// goes; nobody is refused meanwhile. Also where it was refilled beyond what was read, while another partition goes on.
#[test]
fn a_log_that_became_shorter() {
    let Some(broker) = broker() else { return };
    broker.make_with("t", vec![filled("a", 5), filled("b", 5)]);
    let pond = pond(&broker, &projection("p", &["t"], ""));
    let mut conn = pond.ready(&["p"]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (reader, is_over, over) = (pond.conn(), &is_over, Over(&is_over));
        let refused = scope.spawn(move || first_error(reader, "GET p:none", is_over));
        broker.edit("t", 0, |log| {
            log.truncate(3);
            log.append(&[record("a1", "new")]);
        });
        renewed(&broker, &mut conn, "p", "t", 2);
        assert_eq!(
            conn.cmd("MGET p:a1 p:a4 p:b4").expect_items(),
            [Reply::Bulk(b"new".into()), Reply::Nil, Reply::Bulk(b"b".into())]
        );
        broker.edit("t", 1, |log| log.truncate(0));
        rebuilt(&mut conn, "p", 2);
        settle(&broker, &mut conn, "p", "t", 2);
        drop(over);
        assert_eq!(refused.join().expect("the reader ends"), None, "it was ready");
    });
    assert_eq!(count(&mut conn, "p", "rebuilds"), 2, "one for each loss");
    broker.send("t", 1, "later", "v");
    settle(&broker, &mut conn, "p", "t", 2);
}

/// Where it begins may change between the look that finds it and the first fetch, at either end.
#[test]
fn logs_that_move_before_the_first_fetch() {
    let Some(broker) = broker() else { return };
    broker.make_with("low", vec![filled("a", 5)]);
    let mut high = filled("a", 9);
    high.delete_before(7);
    broker.make_with("high", vec![high]);
    broker.hold(&[Api::Fetch]);
    let pond = pond(&broker, &[projection("low", &["low"], ""), projection("high", &["high"], "")].concat());
    let mut conn = pond.conn();
    until("both were looked at and are fetched", || {
        (broker.holds(Api::Fetch) && ["low", "high"].iter().all(|name| states(&mut conn, name) == ["catchup"]))
            .then_some(())
    });
    broker.edit("low", 0, |log| log.delete_before(3));
    // Now it ends below where reading begins.
    broker.make_with("high", vec![filled("b", 2)]);
    broker.release();
    for name in ["low", "high"] {
        pond::ready(&mut conn, name);
        renewed(&broker, &mut conn, name, name, 1);
    }
    assert_eq!(count(&mut conn, "low", "rebuilds"), 1);
}

/// Retention that passed a paused reader: all is read anew, once, and what is not in the log any more goes.
#[test]
fn retention_passes_a_paused_reader() {
    let Some(broker) = broker() else { return };
    broker.make_with("t", vec![filled("a", 5), filled("b", 5)]);
    let pond = pond(&broker, &projection("p", &["t"], ""));
    let mut conn = pond.ready(&["p"]);
    assert_eq!(conn.cmd("PROJECTION.PAUSE p"), Reply::Int(2));
    until("it is paused", || (states(&mut conn, "p") == ["paused", "paused"]).then_some(()));
    let more = |prefix: &str| [0, 1, 2, 3, 4].map(|n| record(&format!("{prefix}{n}"), "v"));
    broker.edit("t", 0, |log| {
        more("c").into_iter().for_each(|record| _ = log.append(&[record]));
        log.delete_before(8);
    });
    // This one loses nothing that was not read.
    broker.edit("t", 1, |log| {
        log.append(&more("d"));
        log.delete_before(5);
    });
    assert_eq!(conn.cmd("PROJECTION.RESUME p"), Reply::Int(2));
    renewed(&broker, &mut conn, "p", "t", 2);
    assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["c3", "c4", "d0", "d1", "d2", "d3", "d4"]);
    assert_eq!(count(&mut conn, "p", "rebuilds"), 1);
    // Retention behind a reader changes nothing, until all is read anew.
    broker.edit("t", 1, |log| log.delete_before(10));
    broker.send("t", 1, "later", "v");
    until("it is read", || (conn.cmd("GET p:later") == Reply::Bulk(b"v".into())).then_some(()));
    assert_eq!((conn.cmd("EXISTS p:d0"), count(&mut conn, "p", "rebuilds")), (Reply::Int(1), 1));
    assert_eq!(conn.cmd("PROJECTION.REBUILD p"), Reply::Status("OK".into()));
    rebuilt(&mut conn, "p", 2);
    settle(&broker, &mut conn, "p", "t", 2);
}

const MADE: [(&str, usize); 4] = [("shorter", 2), ("equal", 5), ("longer", 9), ("emptied", 0)];

fn all_made(broker: &Broker) -> Vec<&'static str> {
    MADE.iter().for_each(|(name, _)| broker.make_with(name, vec![filled("old", 5), filled("older", 1)]));
    MADE.iter().map(|(name, _)| *name).collect()
}

fn all_made_anew(broker: &Broker) {
    MADE.iter().for_each(|(name, count)| broker.make_with(name, vec![filled("new", *count), filled("newer", 1)]));
}

fn projections(names: &[&str]) -> String {
    names.iter().map(|name| projection(name, &[name], "")).collect()
}

/// Topics made anew, be they shorter, equal, longer or empty: no old key stays and the new ones are there, whether the broker
/// was there meanwhile, or was not.
#[test]
fn topics_made_anew() {
    let Some(mut broker) = broker() else { return };
    let names = all_made(&broker);
    let pond = pond(&broker, &projections(&names));
    let mut conn = pond.ready(&names);
    all_made_anew(&broker);
    for name in &names {
        renewed(&broker, &mut conn, name, name, 2);
    }
    broker.down();
    for name in &names {
        until("it says so", || (info(&mut conn, name)["state"] == "disconnected").then_some(()));
    }
    let before: Vec<i64> = names.iter().map(|name| count(&mut conn, name, "rebuilds")).collect();
    all_made(&broker);
    broker.up();
    for (name, before) in names.iter().zip(before) {
        rebuilt(&mut conn, name, before + 1);
        settle(&broker, &mut conn, name, name, 2);
    }
}

/// The same topics after an outage are the same: nothing is read anew.
#[test]
fn an_outage_loses_nothing() {
    let Some(mut broker) = broker() else { return };
    let names = all_made(&broker);
    let mut pond = pond(&broker, &projections(&names));
    let mut conn = pond.ready(&names);
    for round in 0..2 {
        broker.down();
        for name in &names {
            until("it says so", || (info(&mut conn, name)["state"] == "disconnected").then_some(()));
            assert_eq!(conn.cmd(&format!("GET {name}:old1")), Reply::Bulk(b"old".into()));
            broker.send(name, 0, "meanwhile", &round.to_string());
        }
        broker.up();
        for name in &names {
            settle(&broker, &mut conn, name, name, 2);
            let told = (count(&mut conn, name, "rebuilds"), count(&mut conn, name, "records"));
            assert_eq!(told, (0, 7 + round), "{name}: each record is read once");
        }
    }
    // Connections that are lost are made again, while records come.
    for round in 0..20 {
        names.iter().for_each(|name| _ = broker.send(name, round % 2, ["even", "odd"][round % 2], &round.to_string()));
        broker.hang_up();
    }
    names.iter().for_each(|name| settle(&broker, &mut conn, name, name, 2));
    // A server that starts without a broker lives, is not ready, and goes on by itself.
    broker.down();
    pond.crash();
    let mut conn = pond.conn();
    let reply = conn.cmd("GET equal:old1");
    assert!(matches!(&reply, Reply::Error(text) if text.starts_with("LOADING ")), "{reply}");
    assert_eq!((pond.get("/healthz").status, pond.get("/readyz").status), (200, 503));
    broker.up();
    for name in &names {
        settle(&broker, &mut conn, name, name, 2);
        assert_eq!(count(&mut conn, name, "rebuilds"), 0);
    }
}

/// Brokers without topic ids say so by a flag. What can be seen of a topic made anew there is that it is shorter; a longer one
/// goes on where the old one was, which is why there is a flag.
#[test]
fn brokers_without_topic_ids() {
    if broker().is_none() {
        return;
    }
    let broker = Broker::start_with(false);
    let names = all_made(&broker);
    let pond = Pond::start(&config(&broker, &projections(&names)));
    let mut conn = pond.ready(&names);
    for name in &names {
        assert_eq!(info(&mut conn, name)["flags"], "no_topic_id");
        assert_eq!(dump(&mut conn, &format!("{name}:")), fold(&broker, name, 2));
    }
    all_made_anew(&broker);
    for name in ["shorter", "emptied"] {
        renewed(&broker, &mut conn, name, name, 2);
    }
    broker.send("longer", 0, "more", "v");
    until("it goes on", || (applied(&mut conn, "longer")[0] == 10).then_some(()));
    assert_eq!(conn.cmd("MGET longer:old0 longer:new0").expect_items(), [Reply::Bulk(b"old".into()), Reply::Nil]);
    assert_eq!(conn.cmd("PROJECTION.REBUILD longer"), Reply::Status("OK".into()));
    renewed(&broker, &mut conn, "longer", "longer", 2);
}

/// A topic that is deleted stays readable as it was, and is followed once it was made anew.
#[test]
fn a_topic_that_is_gone_for_a_while() {
    let Some(broker) = broker() else { return };
    broker.make_with("t", vec![filled("old", 5)]);
    let pond = pond(&broker, &projection("p", &["t"], ""));
    let mut conn = pond.ready(&["p"]);
    broker.delete("t");
    until("it is told", || info(&mut conn, "p")["last_error"].contains("topic t is not there").then_some(()));
    assert_eq!(conn.cmd("GET p:old4"), Reply::Bulk(b"old".into()));
    broker.make_with("t", vec![filled("new", 3)]);
    renewed(&broker, &mut conn, "p", "t", 1);
}
