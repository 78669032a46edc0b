//! Where logs end, and what proves it: the rows of the table of ends, one by one.

use super::{applied, broker, fold, pond, settle};
use crate::pond::{self, Pond, count, dump, held, info, states};
use millpond_tests::broker::log::place;
use millpond_tests::broker::{Api, Broker, Log, record, tombstone};
use millpond_tests::kafka::{self, Kafka, projection, until};
use millpond_tests::{Conn, Reply};
use serde_json::json;
use std::collections::BTreeMap;

/// A log of one record in each batch, with keys and values of their offsets.
fn singles(count: i64) -> Log {
    let mut log = Log::default();
    (0..count).for_each(|n| _ = log.append(&[record(&format!("k{n}"), &n.to_string())]));
    log
}

/// A log of one batch.
fn batch(count: i64) -> Log {
    let records: Vec<_> = (0..count).map(|n| record(&format!("k{n}"), &n.to_string())).collect();
    let mut log = Log::default();
    log.append(&records);
    log
}

fn edited(mut log: Log, edit: impl FnOnce(&mut Log)) -> Log {
    edit(&mut log);
    log
}

/// Each way in which a log can end is an end: it is ready, lacks nothing, is at the end of the log, and follows.
#[test]
fn logs_end_in_many_ways() {
    let Some(broker) = broker() else { return };
    let within = |log: &mut Log| _ = log.append_within(7, &[record("k0", "within"), record("t", "within")]);
    let logs = [
        ("plain", singles(3)),
        ("empty", Log::default()),
        ("emptied", edited(singles(5), |log| log.delete_before(5))),
        ("begun", edited(singles(5), |log| log.delete_before(2))),
        ("within", edited(batch(5), |log| log.delete_before(2))),
        (
            "committed",
            edited(singles(1), |log| {
                within(log);
                log.commit(7);
            }),
        ),
        (
            "aborted",
            edited(singles(1), |log| {
                within(log);
                log.abort(7);
            }),
        ),
        (
            "only",
            edited(Log::default(), |log| {
                within(log);
                log.abort(7);
            }),
        ),
        ("marker", edited(singles(1), |log| _ = log.commit(7))),
        // Compaction: the last record is far from the end.
        ("gap", edited(batch(10), |log| log.compact(|offset, _| offset <= 3))),
        ("gaps", edited(singles(10), |log| log.compact(|offset, _| offset <= 3))),
        (
            "middle",
            edited(singles(10), |log| {
                log.compact(|offset, _| [2, 9].contains(&offset));
                log.drop_empty();
            }),
        ),
        ("holes", edited(batch(10), |log| log.compact(|offset, _| [2, 6].contains(&offset)))),
        ("nothing", edited(batch(10), |log| log.compact(|_, _| false))),
        ("deleted", edited(singles(2), |log| _ = log.append(&[tombstone("k0"), tombstone("none")]))),
    ];
    let names: Vec<&str> = logs.iter().map(|(name, _)| *name).collect();
    let config: String = names.iter().map(|name| projection(name, &[name], "")).collect();
    for (name, log) in logs {
        broker.make_with(name, vec![log]);
    }
    let pond = pond(&broker, &config);
    let mut conn = pond.ready(&names);
    for name in &names {
        // An end proves all below it, at once.
        let end = broker.log(name, 0).end;
        assert_eq!((applied(&mut conn, name), count(&mut conn, name, "lag")), (vec![end], 0), "{name}");
        assert_eq!(dump(&mut conn, &format!("{name}:")), fold(&broker, name, 1), "{name}");
    }
    for name in &names {
        broker.send(name, 0, "later", "v");
        broker.edit(name, 0, |log| log.append_within(7, &[record("later", "aborted")]));
        broker.edit(name, 0, |log| log.abort(7));
    }
    for name in &names {
        settle(&broker, &mut conn, name, name, 1);
        let told = info(&mut conn, name);
        assert_eq!((&*told["flags"], &*told["lag"], &*told["rebuilds"]), ("", "0", "0"), "{name}");
    }
}

/// Where compaction took the last batches as well, nothing at all lies before the end. (Kafka's own leaves the newest segment
/// alone, which is empty only after a leader was elected that lacked all of it.)
#[test]
#[ignore = "known gap: librdkafka tells no end where its position lies below it for good, so it is never ready; run it: cargo test -p millpond-tests --test projection -- --ignored a_log_that_ends_with_no_batch"]
fn a_log_that_ends_with_no_batch() {
    let Some(broker) = broker() else { return };
    let tail = edited(singles(10), |log| {
        log.compact(|offset, _| offset <= 3);
        log.drop_empty();
    });
    broker.make_with("tail", vec![tail]);
    let pond = pond(&broker, &projection("p", &["tail"], ""));
    let mut conn = pond.ready(&["p"]);
    assert_eq!(dump(&mut conn, "p:"), fold(&broker, "tail", 1));
    broker.send("tail", 0, "later", "v");
    settle(&broker, &mut conn, "p", "tail", 1);
}

/// What is open holds up all that comes after it, of others too; what was aborted is never seen, whatever lies between.
#[test]
fn open_transactions_pin() {
    let Some(broker) = broker() else { return };
    broker.make_with("t", vec![singles(1)]);
    broker.edit("t", 0, |log| {
        log.append_within(7, &[record("seven", "1")]);
        log.append_within(8, &[record("eight", "1"), record("k0", "eight")]);
        log.append(&[record("plain", "v")]);
    });
    let config = [
        projection("wait", &["t"], "ready: { open_txn_wait: 1ms, pinned: wait }"),
        projection("serve", &["t"], "ready: { open_txn_wait: 1ms }"),
    ];
    let pond = pond(&broker, &config.concat());
    let mut conn = pond.ready(&["serve"]);
    assert_eq!((applied(&mut conn, "serve"), &*info(&mut conn, "serve")["flags"]), (vec![1], "pinned"));
    until("what comes before is read", || (applied(&mut conn, "wait") == [1]).then_some(()));
    // The aborted one ends first; the other one still pins.
    broker.edit("t", 0, |log| log.abort(7));
    until("the next one pins", || (applied(&mut conn, "wait") == [2]).then_some(()));
    let reply = conn.cmd("GET wait:k0");
    assert!(matches!(&reply, Reply::Error(text) if text.starts_with("LOADING ")), "{reply}");
    assert_eq!(states(&mut conn, "wait"), ["catchup"]);
    assert_eq!(dump(&mut conn, "serve:"), [("k0".to_owned(), held("0"))].into());
    broker.edit("t", 0, |log| log.commit(8));
    pond::ready(&mut conn, "wait");
    for name in ["wait", "serve"] {
        settle(&broker, &mut conn, name, "t", 1);
        assert_eq!(conn.cmd(&format!("EXISTS {name}:seven")), Reply::Int(0));
        assert_eq!(info(&mut conn, name)["flags"], "");
    }
}

/// Partitions and topics that come later are read from their beginning; nobody who was let in is refused for them.
#[test]
fn partitions_and_topics_that_come_later() {
    let Some(broker) = broker() else { return };
    broker.make_with("a", vec![singles(2)]);
    let pond = pond(&broker, &projection("p", &["a", "b"], "key: { template: 'p:{topic}:{key}' }"));
    let mut conn = pond.conn();
    until("it is told", || info(&mut conn, "p")["last_error"].contains("topic b is not there").then_some(()));
    assert_eq!(conn.cmd("PROJECTION.WAIT p READY 0"), Reply::Int(0));
    broker.make_with("b", vec![singles(1)]);
    pond::ready(&mut conn, "p");
    broker.edit("a", 0, |log| log.delete_before(1));
    broker.widen("a", edited(singles(3), |log| log.delete_before(1)));
    until("its new partition is read", || {
        let reply = conn.cmd("MGET p:a:k1 p:a:k2 p:b:k0");
        let values = reply.expect_items();
        (!values.contains(&Reply::Nil)).then_some(())
    });
}

/// What was let in by its last record, without having seen an end, grows old as well when nothing comes any more.
#[test]
fn what_was_never_at_an_end_grows_old() {
    let Some(broker) = broker() else { return };
    broker.make_with("t", vec![singles(2)]);
    broker.edit("t", 0, |log| {
        log.damage(1, place::LENGTH, 0x7f);
        // It comes while the first one is read.
        log.claims = Some((0, 1));
    });
    let pond = pond(&broker, &projection("p", &["t"], "ready: { max_staleness: 100ms }"));
    let mut conn = pond.ready(&["p"]);
    broker.edit("t", 0, |log| log.claims = None);
    until("it lacks something", || (count(&mut conn, "p", "lag") == 1).then_some(()));
    until("it is stale", || (info(&mut conn, "p")["flags"] == "stale").then_some(()));
    broker.edit("t", 0, |log| log.damage(1, place::LENGTH, 0x7f));
    settle(&broker, &mut conn, "p", "t", 1);
}

// ---- the same against a real broker ----

/// Who keeps a log of one partition: scripted, or real.
trait Keeper {
    fn send(&mut self, key: &str, value: Option<&str>);
    fn within(&mut self, key: &str, value: &str);
    fn end(&mut self, is_commit: bool);
    fn delete_before(&mut self, offset: i64);
    fn make_anew(&mut self);
}

impl Keeper for &Broker {
    fn send(&mut self, key: &str, value: Option<&str>) {
        let record = value.map_or_else(|| tombstone(key), |value| record(key, value));
        self.edit("t", 0, |log| log.append(&[record]));
    }

    fn within(&mut self, key: &str, value: &str) {
        self.edit("t", 0, |log| log.append_within(7, &[record(key, value)]));
    }

    fn end(&mut self, is_commit: bool) {
        self.edit("t", 0, |log| if is_commit { log.commit(7) } else { log.abort(7) });
    }

    fn delete_before(&mut self, offset: i64) {
        self.edit("t", 0, |log| log.delete_before(offset));
    }

    fn make_anew(&mut self) {
        self.make("t", 1);
    }
}

struct Real {
    kafka: Kafka,
    topic: String,
    is_open: bool,
}

impl Keeper for Real {
    fn send(&mut self, key: &str, value: Option<&str>) {
        // With a client of its own: another one may have the old topic in mind.
        self.kafka.send_with(&self.topic, key, json!(value), json!({"config": {"client.id": "new"}}));
    }

    fn within(&mut self, key: &str, value: &str) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.kafka.ask(json!({"op": "begin", "tx": "both"}));
        }
        self.kafka.send_with(&self.topic, key, value, json!({"tx": "both"}));
    }

    fn end(&mut self, is_commit: bool) {
        self.is_open = false;
        self.kafka.ask(json!({"op": if is_commit { "commit" } else { "abort" }, "tx": "both"}));
    }

    fn delete_before(&mut self, offset: i64) {
        self.kafka.ask(json!({"op": "delete_records", "topic": self.topic, "partition": 0, "before": offset}));
    }

    fn make_anew(&mut self) {
        self.kafka.ask(json!({"op": "delete_topic", "topic": self.topic}));
        self.kafka.ask(json!({"op": "create_topic", "topic": self.topic, "partitions": 1}));
    }
}

/// What is seen of a projection at rest.
type Seen = (&'static str, String, Vec<i64>, BTreeMap<String, pond::Held>);

/// The same few steps against whoever keeps the log; what is seen after each.
fn story(keeper: &mut dyn Keeper, start: impl FnOnce() -> Pond) -> Vec<Seen> {
    let mut seen = Vec::new();
    keeper.send("a", Some("1"));
    keeper.within("a", "open");
    keeper.send("b", Some("1"));
    let pond = start();
    let mut conn = pond.conn();
    let mut see = |conn: &mut Conn, what: &'static str, state: &str, offset: i64, rebuilds: i64| {
        until(what, || {
            let told = info(conn, "p");
            let is_it = told["state"] == state && told["rebuilds"] == rebuilds.to_string();
            (is_it && applied(conn, "p") == [offset]).then_some(())
        });
        // What goes with a rebuild goes soon after it.
        let count = |conn: &mut Conn| dump(conn, "p:").len();
        until(what, || (rebuilds == 0 || count(conn) <= 1).then_some(()));
        seen.push((what, info(conn, "p")["flags"].clone(), applied(conn, "p"), dump(conn, "p:")));
    };
    see(&mut conn, "an open transaction pins", "catchup", 1, 0);
    keeper.end(true);
    see(&mut conn, "it commits", "live", 4, 0);
    keeper.within("b", "aborted");
    keeper.within("c", "aborted");
    see(&mut conn, "another one is open", "live", 4, 0);
    keeper.end(false);
    see(&mut conn, "it aborts", "live", 7, 0);
    keeper.send("a", None);
    keeper.send("d", Some("1"));
    see(&mut conn, "a tombstone", "live", 9, 0);
    assert_eq!(conn.cmd("PROJECTION.PAUSE p"), Reply::Int(1));
    until("it is paused", || (states(&mut conn, "p") == ["paused"]).then_some(()));
    keeper.send("e", Some("1"));
    keeper.send("f", Some("1"));
    keeper.delete_before(10);
    assert_eq!(conn.cmd("PROJECTION.RESUME p"), Reply::Int(1));
    see(&mut conn, "retention passed it", "live", 11, 1);
    keeper.make_anew();
    keeper.send("g", Some("1"));
    until("it is made anew", || (count(&mut conn, "p", "rebuilds") > 1).then_some(()));
    until("its only record is read", || {
        (dump(&mut conn, "p:").into_keys().eq(["g".to_owned()]) && applied(&mut conn, "p") == [1]).then_some(())
    });
    seen.push(("made anew", info(&mut conn, "p")["state"].clone(), applied(&mut conn, "p"), dump(&mut conn, "p:")));
    seen
}

/// Its readers see the scripted broker and a real one do the same.
#[test]
fn a_real_broker_does_the_same() {
    let Some(broker) = broker() else { return };
    let more = "ready: { pinned: wait, before_ready: serve }";
    broker.make("t", 1);
    let scripted = story(&mut &broker, || pond(&broker, &projection("p", &["t"], more)));
    let values = |at: usize| scripted[at].3.keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        [0, 1, 3, 4, 5, 6].map(values),
        [vec!["a"], vec!["a", "b"], vec!["a", "b"], vec!["b", "d"], vec!["f"], vec!["g"]]
    );
    assert!(broker.answered(Api::ListOffsets) > 0);
    let Some(mut kafka) = kafka::shared("both") else { return };
    let topic = kafka.topic(1);
    let config = kafka.config(&projection("p", &[&topic], more));
    let real = story(&mut Real { kafka, topic, is_open: false }, || Pond::start(&config));
    assert_eq!(real, scripted);
}
