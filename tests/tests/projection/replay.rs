//! Servers that are killed read their topics anew, and hold what these hold.

use crate::pond::{Held, Over, Pond, assert_same, dump, texts};
use millpond_tests::kafka::{self, Kafka, Random, projection, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEYS: u64 = 60;
const PARTITIONS: u32 = 4;
/// Rounds before the topics are new ones: they grow, and are read whole again and again.
const ROUNDS_PER_TOPIC: u32 = 10;

fn schema() -> Value {
    json!({"type": "record", "name": "User", "fields": [
        {"name": "id", "type": "long"}, {"name": "name", "type": "string"},
        {"name": "phone", "type": ["null", "string"], "default": null},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "OPEN", "SHUT"]}},
        {"name": "home", "type": {"type": "record", "name": "Home", "fields": [
            {"name": "zip", "type": "int"}, {"name": "is_main", "type": "boolean"}]}},
    ]})
}

/// The fields that a hash gets of a decoded record: nulls omitted, names within names with a point.
fn flat(value: &Value, prefix: &str, to: &mut BTreeMap<String, String>) {
    for (name, value) in value.as_object().expect("a record") {
        let name = format!("{prefix}{name}");
        match value {
            Value::Null => {}
            Value::Object(_) => flat(value, &format!("{name}."), to),
            Value::String(text) => drop(to.insert(name, text.clone())),
            other => drop(to.insert(name, other.to_string())),
        }
    }
}

fn hashes(fold: BTreeMap<String, Value>) -> BTreeMap<String, Held> {
    let hash = |value: Value| {
        let mut fields = BTreeMap::new();
        flat(&value, "", &mut fields);
        Held::Hash(fields)
    };
    fold.into_iter().map(|(key, value)| (key, hash(value))).collect()
}

/// Sends a random burst: updates and tombstones, at times within a transaction that is committed or aborted.
fn burst(kafka: &mut Kafka, random: &mut Random, topic: &str, schema_id: Option<i64>) {
    let tx = (random.below(3) == 0).then(|| format!("tx-{topic}"));
    if let Some(tx) = &tx {
        kafka.ask(json!({"op": "begin", "tx": tx}));
    }
    kafka.ask(json!({
        "op": "send_many", "topic": topic, "count": 20 + random.below(400), "keys": KEYS, "seed": random.below(1 << 32),
        "tombstones": 0.3, "value_size": [10, 300], "schema_id": schema_id, "tx": tx,
    }));
    if let Some(tx) = &tx {
        kafka.ask(json!({"op": if random.below(2) == 0 { "abort" } else { "commit" }, "tx": tx, "wait": false}));
    }
}

/// Replay is idempotent: whenever it is killed, a server holds after its next start what the topic holds, no key more and none
/// less, of strings and of hashes. `ROUNDS`: how many, 200 in the long form.
#[test]
fn a_server_killed_at_any_moment_holds_what_its_topics_hold() {
    let Some(mut kafka) = kafka::shared("replay") else { return };
    let rounds: u32 = std::env::var("ROUNDS").map_or(6, |rounds| rounds.parse().expect("ROUNDS is a number"));
    let mut random = Random::seeded();
    let schema_id = kafka.register("replay-users", schema());
    let mut other = kafka.another("other");
    for first in (1..=rounds).step_by(ROUNDS_PER_TOPIC as usize) {
        let last = rounds.min(first + ROUNDS_PER_TOPIC - 1);
        kill_again_and_again((&mut kafka, &mut other), &mut random, schema_id, first..=last);
        eprintln!("{last} of {rounds} rounds are done");
    }
}

/// Rounds with topics of their own.
fn kill_again_and_again(
    (kafka, other): (&mut Kafka, &mut Kafka),
    random: &mut Random,
    schema_id: i64,
    rounds: std::ops::RangeInclusive<u32>,
) {
    let (raw, avro) = (kafka.topic(PARTITIONS), kafka.topic(PARTITIONS));
    let config = kafka.config(
        &[
            projection("raw", &[&raw], ""),
            projection("avro", &[&avro], "value: { decode: avro, registry: main }, store: { as: hash }"),
        ]
        .concat(),
    );
    let mut pond = Pond::start(&config);
    for round in rounds {
        let is_over = AtomicBool::new(false);
        let mut sender = random.clone();
        let kills = 1 + random.below(3);
        let pauses: Vec<u64> = (0..kills).map(|_| random.below(400)).collect();
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            let sending = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    burst(other, &mut sender, &raw, None);
                    burst(other, &mut sender, &avro, Some(schema_id));
                }
            });
            for pause in pauses {
                // Any moment: while it begins, catches up, follows.
                let moment = Instant::now() + Duration::from_millis(pause);
                until("the moment", || (Instant::now() >= moment).then_some(()));
                pond.crash();
            }
            drop(over);
            sending.join().expect("all is sent");
        });
        *random = sender;
        let mut conn = pond.ready(&["raw", "avro"]);
        kafka.settle(&mut conn, "raw", &raw);
        kafka.settle(&mut conn, "avro", &avro);
        assert_same(&format!("round {round}, strings"), &dump(&mut conn, "raw:"), &texts(kafka.fold(&raw, false)));
        assert_same(&format!("round {round}, hashes"), &dump(&mut conn, "avro:"), &hashes(kafka.fold(&avro, true)));
    }
}
