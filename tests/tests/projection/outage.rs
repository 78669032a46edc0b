//! Brokers that are killed, hang, or are not there yet.

use crate::pond::{self, Over, Pond, assert_same, count, dump, info, texts};
use millpond_tests::kafka::{self, DEADLINE, Kafka, Random, projection, until};
use millpond_tests::patience::{Patience, stand_back};
use millpond_tests::{Conn, Reply};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEYS: u64 = 64;

/// Sends values that only ever grow, each key's in order, until it is told to end.
fn grow(kafka: &mut Kafka, topic: &str, sent: &AtomicU64, is_over: &AtomicBool) {
    let config = json!({"enable.idempotence": true, "reconnect.backoff.max.ms": 500, "message.timeout.ms": 120_000});
    while !is_over.load(Ordering::Relaxed) {
        let from = sent.load(Ordering::Relaxed);
        let record = |n: u64| (json!(format!("k{}", n % KEYS)), json!(n.to_string()));
        kafka.send_all_with(topic, (from..from + 500).map(record), &config);
        sent.store(from + 500, Ordering::Relaxed);
    }
}

/// Reads all keys again and again until that is over, or a value is older than the one before. How often.
fn watch(conn: &mut Conn, is_over: &AtomicBool) -> Result<u64, String> {
    let words = std::iter::once("MGET".to_owned()).chain((0..KEYS).map(|n| format!("p:k{n}"))).collect::<Vec<_>>();
    let (mut seen, mut rounds) = (vec![None; KEYS as usize], 0);
    while !is_over.load(Ordering::Relaxed) {
        let reply = conn.command(&words);
        let Reply::Array(values) = &reply else { return Err(format!("it was ready: {reply}")) };
        for (at, value) in values.iter().enumerate() {
            let value = value.text().map(|text| std::str::from_utf8(text).unwrap().parse::<u64>().unwrap());
            if value < seen[at] {
                return Err(format!("k{at}: {value:?} after {:?}", seen[at]));
            }
            seen[at] = value;
        }
        rounds += 1;
        // Others have work to do: the broker that starts, first of all.
        stand_back();
    }
    Ok(rounds)
}

/// Whether the values of each key grow in the topic itself.
fn is_growing(kafka: &mut Kafka, topic: &str) -> bool {
    let read = kafka.ask(json!({"op": "read", "topic": topic}));
    let mut last = BTreeMap::new();
    read["records"].as_array().expect("records").iter().all(|record| {
        let value: u64 = record["value"].as_str().expect("text").parse().expect("a number");
        let before = last.insert(record["key"].as_str().expect("text").to_owned(), value);
        before.is_none_or(|before| before < value)
    })
}

/// The broker is killed while records are written and read: no reader ever sees an older value than before, or an error. What
/// is there stays readable, and the server says that it is cut off. A server that starts meanwhile lives and is not ready.
/// Once the broker is back both go on by themselves, and nothing is missing.
#[test]
fn the_broker_is_killed_and_comes_back() {
    let Some(mut kafka) = kafka::alone("outage") else { return };
    let topic = kafka.topic(16);
    let config = kafka.config(&projection("p", &[&topic], ""));
    let pond = Pond::start(&config);
    let mut conn = pond.ready(&["p"]);
    let mut other = kafka.another("grow");
    let (sent, all_sent, all_read) = (AtomicU64::new(1), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sends, reads) = (Over(&all_sent), Over(&all_read));
        let sending = scope.spawn(|| grow(&mut other, &topic, &sent, &all_sent));
        let mut reader = pond.conn();
        let until_told = &all_read;
        let reading = scope.spawn(move || watch(&mut reader, until_told));
        until("a thousand are there", || (count(&mut conn, "p", "records") > 1000).then_some(()));
        kafka.control("kill-broker");
        until("it says so", || (info(&mut conn, "p")["state"] == "disconnected").then_some(()));
        assert_eq!(pond.get("/healthz").status, 200);
        let late = Pond::start(&config);
        let mut late_conn = late.conn();
        let reply = late_conn.cmd("GET p:k1");
        assert!(matches!(&reply, Reply::Error(text) if text.starts_with("LOADING ")), "{reply}");
        assert_eq!((late.get("/healthz").status, late.get("/readyz").status), (200, 503));
        assert_eq!(late_conn.cmd("SET mine x"), Reply::Status("OK".into()));
        let before = sent.load(Ordering::Relaxed);
        kafka.control("start-broker");
        until("it goes on", || (sent.load(Ordering::Relaxed) > before + 1000).then_some(()));
        pond::ready(&mut late_conn, "p");
        drop(sends);
        sending.join().expect("all is sent");
        kafka.settle(&mut conn, "p", &topic);
        assert!(is_growing(&mut kafka, &topic), "the producer did not keep its order");
        drop(reads);
        let read = reading.join().expect("the reader ends");
        assert!(read.as_ref().is_ok_and(|rounds| *rounds > 100), "{read:?}: {:?}", info(&mut conn, "p"));
        kafka.settle(&mut late_conn, "p", &topic);
        let expected = texts(kafka.fold(&topic, false));
        assert_same("the one that ran", &dump(&mut conn, "p:"), &expected);
        assert_same("the late one", &dump(&mut late_conn, "p:"), &expected);
        assert_eq!((count(&mut conn, "p", "rebuilds"), info(&mut conn, "p")["state"].clone()), (0, "live".to_owned()));
    });
}

/// A broker that hangs: after `max_staleness` readers are told, as was asked for, by an error, by a flag, or not at all. The
/// age only grows until the broker answers again; then it is over by itself.
#[test]
fn a_hung_broker_makes_it_stale() {
    let Some(mut kafka) = kafka::alone("stale") else { return };
    let topic = kafka.topic(2);
    kafka.send(&topic, "k", "v");
    let of = |name: &str| {
        let more =
            format!("ready: {{ max_staleness: 1s, on_stale: {name} }}, http: {{ path: /{name}, cache_max_age: 60s }}");
        projection(name, &[&topic], &more)
    };
    let names = ["error", "flag", "serve"];
    // A question that is not answered within a second is a broker that hangs.
    let quick = "properties: { socket.timeout.ms: 1000 }, bootstrap_servers:";
    let config = kafka.config(&names.map(of).concat()).replacen("bootstrap_servers:", quick, 1);
    let pond = Pond::start(&config);
    let mut conn = pond.ready(&names);
    // On a busy machine it may be a second old for a moment.
    let fresh = |conn: &mut Conn, name: &str, text: &str| {
        until(&format!("{name} is fresh"), || {
            let answer = pond.get(&format!("/{name}/k"));
            let is_fresh = answer.header("cache-control") == Some("public, max-age=60")
                && answer.header("x-millpond-stale-ms").is_none()
                && conn.cmd(&format!("GET {name}:k")) == Reply::Bulk(text.into())
                && info(conn, name)["flags"].is_empty();
            (answer.status == 200 && is_fresh).then_some(())
        });
    };
    names.iter().for_each(|name| fresh(&mut conn, name, "v"));
    kafka.control("stop-broker");
    until("it is stale", || {
        matches!(conn.cmd("GET error:k"), Reply::Error(text) if text.starts_with("STALE ")).then_some(())
    });
    for name in names {
        until("all are", || info(&mut conn, name)["flags"].contains("stale").then_some(()));
    }
    assert_eq!(conn.cmd("MGET flag:k serve:k").expect_items(), [b"v"; 2].map(|text| Reply::Bulk(text.into())));
    let answer = pond.get("/error/k");
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}");
    let answer = pond.get("/flag/k");
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("public, max-age=0")), "{answer:?}");
    let age: i64 = answer.header("x-millpond-stale-ms").expect("its age").parse().expect("a number");
    assert!(age > 1000, "{age}");
    assert_eq!(pond.get("/serve/k").status, 200);
    assert_eq!((pond.get("/readyz?projection=error").status, pond.get("/healthz").status), (503, 200));
    // For longer than any question to the broker waits for its answer.
    let (mut last, begun) = (0, Instant::now());
    until("its age is told for some seconds", || {
        let age = count(&mut conn, "flag", "lag_ms");
        assert!(age >= last, "it was {last} ms old and is {age} ms old now: {:?}", info(&mut conn, "flag"));
        last = age;
        (begun.elapsed().as_secs() >= 6).then_some(())
    });
    assert!(last >= 6000, "{last} ms");
    kafka.control("cont-broker");
    names.iter().for_each(|name| fresh(&mut conn, name, "v"));
    kafka.send(&topic, "k", "w");
    names.iter().for_each(|name| fresh(&mut conn, name, "w"));
}

/// A broker that restarts at any moment of what it is asked is the same broker: no topic is taken for one that was made anew,
/// which would show all its old values again, the server lives (librdkafka's #5280 is kept off), and new records arrive. A round;
/// `ROUNDS / 6` in the long form.
#[test]
fn brokers_restart_again_and_again() {
    again("again", ["kill-broker", "start-broker"], 0);
}

/// The same for a broker that hangs for so long that the cluster takes it for dead. Often librdkafka forgets all brokers then
/// (#5430); that is noticed and heals by itself, which is told.
#[test]
fn brokers_hang_again_and_again() {
    again("hang", ["stop-broker", "cont-broker"], 4500);
}

fn again(test: &str, [stop, start]: [&'static str; 2], stopped_ms: u64) {
    const MANY: usize = 8;
    const TOPICS: usize = 20;
    const PARTITIONS: u32 = 16;
    let rounds = std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse::<u32>().expect("a number").div_ceil(6));
    let Some(mut kafka) = kafka::alone(test) else { return };
    let mut random = Random::seeded();
    // Many topics, so that something is always being asked; and many partitions that lose their leader at once.
    let topics: Vec<String> = (0..TOPICS).map(|_| kafka.topic(1)).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let wide = kafka.topic(PARTITIONS);
    let names: Vec<String> = (0..2 * MANY).map(|at| format!("p{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let of = |(at, name): (usize, &&str)| match at < MANY {
        true => projection(name, &topics, &format!("key: {{ template: '{name}:{{topic}}:{{key}}' }}")),
        false => projection(name, &[&wide], ""),
    };
    let config = kafka.config(&names.iter().enumerate().map(of).collect::<String>());
    for round in 1..=rounds {
        let pond = Pond::start(&config);
        let mut conn = pond.ready(&names);
        let wait = |milliseconds: u64| {
            let moment = Instant::now() + Duration::from_millis(milliseconds);
            until("the moment", || (Instant::now() >= moment).then_some(()));
        };
        wait(random.below(500));
        kafka.control(stop);
        wait(stopped_ms + random.below(1500));
        kafka.control(start);
        let mut is_anew = Vec::new();
        let patience = Patience::of(DEADLINE);
        loop {
            let told: Vec<_> = names.iter().map(|name| info(&mut conn, name)).collect();
            is_anew.extend(told.iter().filter(|told| told["last_error"].contains("made anew")).cloned());
            let stuck: Vec<_> = told.iter().filter(|told| told["state"] != "live").collect();
            if stuck.is_empty() {
                break;
            }
            assert!(patience.is_left(), "round {round}: these do not go on: {stuck:#?}");
        }
        let rebuilds: Vec<i64> = names.iter().map(|name| count(&mut conn, name, "rebuilds")).collect();
        assert!(
            is_anew.is_empty() && rebuilds.iter().all(|count| *count == 0),
            "round {round}: {rebuilds:?} {is_anew:?}"
        );
        // By a client that was not there meanwhile: those of others forget their brokers as well, and so may this one.
        let mut attempt = 0;
        let mut send = |topic: &str, partition: u32| {
            loop {
                let answer = kafka.try_ask(json!({
                    "op": "send", "topic": topic, "partition": partition, "key": "k", "value": "v",
                    "config": {"client.id": format!("round-{round}-{attempt}")}}));
                match answer["offset"].as_i64() {
                    Some(offset) if answer["ok"] == true => break offset,
                    _ => assert!(attempt < 3, "{answer}"),
                }
                attempt += 1;
            }
        };
        let narrow: Vec<_> = topics.iter().map(|topic| (format!("{topic}/0"), send(topic, 0))).collect();
        let wide: Vec<_> = (0..PARTITIONS).map(|partition| (partition.to_string(), send(&wide, partition))).collect();
        for (at, name) in names.iter().enumerate() {
            let sent = if at < MANY { &narrow } else { &wide };
            let sent: String = sent.iter().map(|(partition, offset)| format!("{partition} {offset} ")).collect();
            // What was forgotten comes after two silences of ten seconds and more, and a look before and behind each.
            let wait = format!("PROJECTION.WAIT {name} OFFSET {sent} 10000");
            let is_there = (0..9).any(|_| conn.cmd(&wait) == Reply::Int(1));
            let told = |conn: &mut Conn| conn.cmd(&format!("PROJECTION.INFO {name} PARTITIONS"));
            assert!(is_there, "round {round}: nothing new arrives: {}", told(&mut conn));
            let renewals = count(&mut conn, name, "renewals");
            if renewals > 0 {
                eprintln!("round {round}: {name}: {renewals} renewals");
            }
        }
    }
}
