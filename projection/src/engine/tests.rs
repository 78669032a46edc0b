//! The engine fed with lists of events, against a fold of the log.

mod rules;

use super::*;
use crate::apply::{Target, apply};
use crate::schema::{SchemaError, SchemaText};
use crate::source::{FoundTopic, Headers};
use crate::state::State;
use serde_json::json;
use std::collections::BTreeMap;
use storage::{Access, Cx, Db, Layout, NewValue, Store};

/// An engine and the store it writes to, applied as the server does.
struct Run {
    engine: Engine,
    store: Store,
    now_ms: u64,
    wishes: Vec<Wish>,
    /// What changes of entries were measured to take.
    entry_bytes: i64,
}

fn config(more: serde_json::Value) -> Projection {
    let mut config = json!({
        "source": {"kafka": "k", "topics": ["t"]},
        "key": {"template": "u:{key}"},
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn found(id: &str, partitions: &[(i64, i64)]) -> FoundTopic {
    FoundTopic { id: id.to_owned(), partitions: partitions.to_vec(), ..FoundTopic::default() }
}

fn record<'r>(partition: i32, offset: i64, key: &'r str, value: Option<&'r str>) -> Event<'r> {
    let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
    Event::Record(RawRecord {
        topic: 0,
        partition,
        offset,
        time_ms: 1000 + offset,
        key,
        value,
        headers: Headers::Known(&[]),
    })
}

fn end(partition: i32, offset: i64) -> Event<'static> {
    Event::End { topic: 0, partition, offset }
}

impl Run {
    fn new(more: serde_json::Value) -> Self {
        let store = Store::new(Layout::new(4, [1, 2, 3, 4]));
        Self { engine: Engine::new(config(more)), store, now_ms: 0, wishes: Vec::new(), entry_bytes: 0 }
    }

    fn tell(&mut self, event: Event<'_>) {
        self.grant();
        self.engine.tell(event, self.now_ms, self.now_ms);
    }

    /// What was wished is done, as the runner does before it reads on.
    fn grant(&mut self) {
        self.wishes.extend(self.engine.wishes());
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Access<'_>, &Store, &Cx) -> R) -> R {
        act(&mut self.store.join().batch(), &self.store, &Cx::at(5000))
    }

    fn apply(&mut self) {
        let batch = self.engine.take();
        let conflicts = self.apply_batch(&batch);
        self.engine.applied(batch, conflicts, self.now_ms);
        for wish in self.engine.wishes() {
            if let Wish::Sweep(generation) = wish {
                for (batch, _) in core::mem::take(self.engine.held()).into_batches(64) {
                    self.apply_batch(&batch);
                }
                self.with(|access, _, cx| {
                    let mut from = Some(storage::Position::START);
                    while let Some(at) = from {
                        (_, from) = access.drop_projected(Db(0), b"u:", Some(generation), (at, 100), cx);
                    }
                });
                self.engine.released();
                self.engine.swept();
            }
            self.wishes.push(wish);
        }
    }

    /// Applies a batch as the server does. Gives how many entries were written over those from elsewhere.
    fn apply_batch(&mut self, batch: &Batch) -> u64 {
        let mut conflicts = 0;
        for op in batch.iter() {
            let mut held = core::mem::take(self.engine.held());
            let effect = self.with(|access, store, cx| {
                let encode: fn(&[u8]) -> NewValue<'_> = |text| NewValue::Bytes(text);
                let target = Target { store, db: Db(0), encode, cx: *cx, measures: true };
                let kh = access.hash(op.key);
                apply(access, &target, &mut held, (kh, &op))
            });
            conflicts += effect.conflicts;
            self.entry_bytes += effect.grown_bytes;
            *self.engine.held() = held;
        }
        // Entries that are dropped, or expire, are not booked.
        assert!(self.counted_bytes() <= self.entry_bytes);
        conflicts
    }

    /// Bytes of all entries.
    fn counted_bytes(&mut self) -> i64 {
        let (bytes, next) =
            self.with(|access, _, cx| access.count_projected(Db(0), b"u:", (storage::Position::START, 10_000), cx));
        assert_eq!(next, None);
        bytes as i64
    }

    fn dump(&mut self) -> BTreeMap<String, String> {
        let mut keys = Vec::new();
        self.with(|access, _, cx| access.for_each(Db(0), cx, |key| keys.push(key.to_vec())));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut dump = BTreeMap::new();
        for key in keys {
            let value = self.with(|access, _, cx| {
                access.one(Db(0), access.hash(&key), &key, cx, |slot| {
                    let live = slot.live().expect("just listed");
                    assert!(live.provenance().is_some());
                    if let Ok(hash) = live.hash() {
                        let mut fields = Vec::new();
                        hash.for_each(|field, value| match value {
                            storage::Value::Raw(value) => fields.push(format!("{}={}", text(field), text(value))),
                            _ => unreachable!("short values"),
                        });
                        return fields.join(",");
                    }
                    match live.value() {
                        storage::Value::Raw(value) => text(value),
                        other => format!("{other:?}"),
                    }
                })
            });
            dump.insert(text(&key), value);
        }
        dump
    }

    fn state(&self) -> crate::state::State {
        self.engine.status(self.now_ms).state
    }
}

fn entries(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn from_nothing_to_live() {
    let mut run = Run::new(json!({}));
    assert_eq!(run.engine.wishes(), [Wish::Look]);
    assert_eq!(run.state(), State::Init);
    run.engine.not_found(true, "no such topic".to_owned());
    assert!(!run.engine.status(0).is_ready);
    run.engine.found(0, &found("a", &[(0, 3), (5, 5)]));
    assert_eq!(run.engine.wishes(), [Wish::Assign((0, 0), 0), Wish::Assign((0, 1), 5)]);
    run.tell(record(0, 0, "x", Some("1")));
    run.tell(record(0, 1, "y", Some("2")));
    run.tell(end(1, 5));
    run.apply();
    let status = run.engine.status(0);
    assert_eq!((status.state, status.ready, status.percent, status.is_ready), (State::CatchUp, 1, 66, false));
    run.tell(record(0, 2, "x", None));
    run.apply();
    assert_eq!(run.state(), State::Live);
    run.tell(end(0, 3));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:y", "2")]));
    let status = run.engine.status(0);
    assert_eq!((status.counts.records, status.counts.tombstones, status.lag, status.lag_ms), (2, 1, 0, 0));
}

/// Where there is no memory for more nothing is read, and what was read grows old; what is asked meanwhile holds once there is.
#[test]
fn what_waits_for_memory_grows_old() {
    let mut run = Run::new(json!({"ready": {"max_staleness": "30s"}}));
    run.engine.found(0, &found("a", &[(0, 1), (0, 0), (0, 0)]));
    run.tell(record(0, 0, "x", Some("1")));
    (0..3).for_each(|partition| run.tell(end(partition, i64::from(partition == 0))));
    run.apply();
    assert_eq!(run.state(), State::Live);
    run.engine.set_paused(Some((0, 2)), true);
    run.grant();
    run.wishes.clear();
    run.now_ms = 1000;
    run.engine.set_starved(Some("full".to_owned()), 1000);
    run.tell(record(0, 1, "y", Some("2")));
    assert_eq!((run.engine.gathered(), &run.wishes[..]), (0, &[Wish::Pause((0, 0)), Wish::Pause((0, 1))][..]));
    run.engine.found(0, &found("a", &[(0, 2), (0, 0), (0, 0)]));
    run.now_ms = 32_000;
    run.apply();
    let status = run.engine.status(32_000);
    assert_eq!((status.state, status.lag, status.lag_ms), (State::BlockedMemory, 1, 32_000));
    assert!(status.is_stale && status.flags == ["stale", "memory"] && status.last_error == "full", "{status:?}");
    // It is told of no partition to go on with, whatever is asked.
    run.wishes.clear();
    run.engine.set_paused(Some((0, 1)), true);
    run.engine.set_paused(Some((0, 2)), false);
    run.engine.seek((0, 2), 0).unwrap();
    run.tell(record(0, 1, "y", Some("2")));
    assert_eq!((run.engine.gathered(), &run.wishes[..]), (0, &[Wish::Assign((0, 2), 0), Wish::Pause((0, 2))][..]));
    run.wishes.clear();
    run.engine.set_starved(None, 32_000);
    // As the runner does: what was asked for is done afterwards.
    let none = run.engine.take();
    run.engine.applied(none, 0, 32_000);
    assert_eq!(run.engine.status(32_000).lag_ms, 32_000, "being at the end was long ago");
    run.grant();
    assert_eq!(run.wishes, [Wish::Resume((0, 0), 1), Wish::Resume((0, 2), 0)]);
    assert_eq!(run.engine.status(32_000).lag_ms, 32_000, "what came meanwhile is not known yet");
    run.engine.set_paused(Some((0, 1)), false);
    run.tell(record(0, 1, "y", Some("2")));
    (0..3).for_each(|partition| run.tell(end(partition, if partition == 0 { 2 } else { 0 })));
    run.apply();
    let status = run.engine.status(32_000);
    assert_eq!((status.state, status.lag, status.lag_ms, status.flags), (State::Live, 0, 0, vec!["seeked"]));
    assert_eq!(run.dump(), entries(&[("u:x", "1"), ("u:y", "2")]));
}

/// What the source tells of itself is shown.
#[test]
fn how_the_source_stands_is_told() {
    let mut run = Run::new(json!({}));
    run.engine.found(0, &found("a", &[(0, 3)]));
    assert_eq!(run.engine.status(0).partitions[0].stable_end, None);
    run.tell(Event::StableEnd { topic: 0, partition: 0, offset: 2 });
    run.tell(Event::StableEnd { topic: 0, partition: 9, offset: 2 });
    run.tell(Event::Queued(70));
    let status = run.engine.status(0);
    assert_eq!(status.partitions[0].stable_end, Some(2));
    assert!(status.kept.contains(&("queue_bytes", 70)), "{:?}", status.kept);
}

/// What is read again changes nothing; an older record than the entry's is passed over.
#[test]
fn replay_changes_nothing() {
    let mut run = Run::new(json!({}));
    run.engine.found(0, &found("a", &[(0, 4)]));
    let log = [("x", Some("1")), ("x", Some("2")), ("y", Some("3")), ("x", None)];
    for again in 0..3 {
        for (offset, (key, value)) in log.iter().enumerate() {
            run.tell(record(0, offset as i64, key, *value));
            run.apply();
        }
        assert_eq!(run.dump(), entries(&[("u:y", "3")]), "{again}");
        assert_eq!(run.counted_bytes(), run.entry_bytes, "{again}");
        let partition = run.engine.partitions.get_mut(&(0, 0)).unwrap();
        partition.rewind(0, 4);
        partition.awaited = false;
    }
}

#[test]
fn a_topic_made_anew_leaves_nothing_of_the_old_one() {
    for high in [1, 3, 9] {
        let mut run = Run::new(json!({}));
        run.engine.found(0, &found("a", &[(0, 3)]));
        for (offset, key) in ["x", "y", "z"].iter().enumerate() {
            run.tell(record(0, offset as i64, key, Some("old")));
        }
        run.apply();
        run.wishes.clear();
        run.engine.found(0, &found("b", &[(0, high)]));
        run.apply();
        assert_eq!(run.wishes, [Wish::Assign((0, 0), 0)]);
        assert_eq!((run.state(), run.dump().len()), (State::Rebuilding, 3), "what was there stays readable");
        run.tell(record(0, 0, "y", Some("new")));
        run.tell(end(0, high));
        run.apply();
        assert_eq!(run.dump(), entries(&[("u:y", "new")]), "{high}");
        assert_eq!((run.state(), run.engine.status(0).counts.rebuilds), (State::Live, 1));
    }
}

/// What was on its way when a partition was to be read anew, or went on after it was blocked, is not taken for what comes then:
/// else all before it would be passed over.
#[test]
fn what_was_on_its_way_is_not_taken() {
    let mut run =
        Run::new(json!({"value": {"decode": "json"}, "store": {"as": "json"}, "errors": {"default": "stop"}}));
    run.engine.found(0, &found("a", &[(0, 4)]));
    run.tell(record(0, 0, "x", Some("1")));
    run.tell(record(0, 1, "y", Some("{")));
    run.apply();
    assert!(run.engine.skip((0, 0), 1));
    run.engine.tell(record(0, 3, "z", Some("3")), 0, 0);
    run.engine.tell(end(0, 4), 0, 0);
    assert_eq!(run.engine.wishes(), [Wish::Resume((0, 0), 2)]);
    run.tell(record(0, 2, "y", Some("2")));
    run.tell(record(0, 3, "z", Some("3")));
    run.apply();
    let all = entries(&[("u:x", "1"), ("u:y", "2"), ("u:z", "3")]);
    assert_eq!((run.dump(), run.state()), (all.clone(), State::Live));
    run.engine.rebuild_all(false);
    run.engine.tell(record(0, 3, "z", Some("3")), 0, 0);
    for offset in [0, 2, 3] {
        let (key, value) = [("x", "1"), ("y", "{"), ("y", "2"), ("z", "3")][offset];
        run.tell(record(0, offset as i64, key, Some(value)));
    }
    run.apply();
    assert_eq!((run.dump(), run.state()), (all, State::Live));
    // However often it is told that something is lost, all is read anew once, when the topics were looked at.
    let lost = || Event::Trouble(Trouble::OutOfRange { topic: 0, partition: 0 }, String::new());
    (0..3).for_each(|_| run.tell(lost()));
    run.engine.looked();
    run.engine.looked();
    run.engine.tell(lost(), 0, 0);
    run.engine.looked();
    assert_eq!(run.engine.status(0).counts.rebuilds, 2);
}

/// A rebuild that begins while the sweep of the one before goes on loses nothing.
#[test]
fn sweeps_leave_later_generations_alone() {
    let mut run = Run::new(json!({}));
    run.engine.found(0, &found("a", &[(0, 1)]));
    run.tell(record(0, 0, "x", Some("1")));
    run.apply();
    run.engine.rebuild_all(false);
    run.tell(record(0, 0, "x", Some("1")));
    run.apply();
    assert_eq!(run.engine.generation, 1);
    // The sweep of generation 0 comes late.
    run.with(|access, _, cx| access.drop_projected(Db(0), b"u:", Some(0), (storage::Position::START, 1000), cx));
    assert_eq!(run.dump(), entries(&[("u:x", "1")]));
    run.engine.set_paused(None, true);
    run.engine.wishes();
    run.engine.rebuild_all(false);
    let wishes = run.engine.wishes();
    assert_eq!(wishes[..2], [Wish::Assign((0, 0), 0), Wish::Pause((0, 0))], "what is paused stays so");
}

/// The id of a topic is not always to be had: without one it is the same topic.
#[test]
fn a_missing_id_makes_no_topic_anew() {
    let mut run = Run::new(json!({}));
    for id in ["", "a", "", "a"] {
        run.engine.found(0, &found(id, &[(0, 0)]));
        run.engine.looked();
    }
    assert_eq!(run.engine.status(0).counts.rebuilds, 0);
    run.engine.found(0, &found("b", &[(0, 0)]));
    assert_eq!(run.engine.status(0).counts.rebuilds, 1);
}

#[test]
fn new_partitions_are_read_from_their_beginning_while_it_stays_live() {
    let mut run = Run::new(json!({}));
    run.engine.found(0, &found("a", &[(0, 0)]));
    run.tell(end(0, 0));
    run.apply();
    run.engine.found(0, &found("a", &[(0, 0), (0, 1)]));
    assert_eq!(run.engine.wishes(), [Wish::Assign((0, 1), 0)]);
    run.tell(record(1, 0, "x", Some("1")));
    run.apply();
    assert_eq!((run.state(), run.dump()), (State::Live, entries(&[("u:x", "1")])));
}

#[test]
fn poison_is_counted_and_passed_over_or_stops_its_partition() {
    let mut run = Run::new(json!({
        "value": {"decode": "json"}, "store": {"as": "json"},
        "errors": {"decode": "stop", "poison_key": "delete"},
    }));
    run.engine.found(0, &found("a", &[(0, 9)]));
    run.engine.wishes();
    run.tell(record(0, 0, "x", Some("{\"a\":1}")));
    run.tell(Event::Record(RawRecord {
        topic: 0,
        partition: 0,
        offset: 1,
        time_ms: 0,
        key: None,
        value: Some(b"{}"),
        headers: Headers::Known(&[]),
    }));
    run.tell(record(0, 2, "x", Some("{")));
    run.tell(record(0, 3, "y", Some("2")));
    run.apply();
    assert_eq!((run.state(), run.dump()), (State::BlockedPoison, entries(&[("u:x", "{\"a\":1}")])));
    assert_eq!(run.wishes, [Wish::Pause((0, 0))]);
    let classes: Vec<_> = run.engine.ring().latest().map(|poison| (poison.class, poison.offset)).collect();
    assert_eq!(classes, [(Class::Decode, 2), (Class::NullKey, 1)]);
    assert!(!run.engine.skip((0, 0), 3));
    assert!(run.engine.skip((0, 0), 2));
    assert_eq!(run.engine.wishes(), [Wish::Resume((0, 0), 3)]);
    run.tell(record(0, 3, "y", Some("2")));
    run.tell(record(0, 4, "z", Some("3")));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:x", "{\"a\":1}"), ("u:y", "2"), ("u:z", "3")]));
    // Passed over with its old value removed.
    run.engine.config.errors.decode = Some(Policy::Skip);
    run.tell(record(0, 5, "y", Some("nope")));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:x", "{\"a\":1}"), ("u:z", "3")]));
    assert_eq!(run.engine.status(0).counts.skipped, 3);
}

/// A dead letter carries all of the record, and its record is passed over only once it was acknowledged.
#[test]
fn dead_letters_are_acknowledged_first() {
    let mut run = Run::new(json!({
        "value": {"decode": "json"}, "store": {"as": "json"},
        "errors": {"default": "dead_letter", "dead_letter_topic": "dead"},
    }));
    run.engine.found(0, &found("a", &[(0, 3)]));
    run.engine.wishes();
    let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"1")), ("h", None)];
    run.tell(Event::Record(RawRecord {
        topic: 0,
        partition: 0,
        offset: 0,
        time_ms: 7,
        key: Some(b"x"),
        value: Some(b"{"),
        headers: Headers::Known(headers),
    }));
    run.tell(record(0, 1, "y", Some("2")));
    run.apply();
    assert_eq!((run.state(), run.dump().len()), (State::BlockedPoison, 0));
    let [Wish::Pause((0, 0)), Wish::Letter(letter)] = &run.wishes[..] else { panic!("{:?}", run.wishes) };
    assert_eq!((letter.at, letter.offset, letter.time_ms), ((0, 0), 0, 7));
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"x"[..]), Some(&b"{"[..])));
    assert_eq!(letter.headers[..2], [("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None)]);
    let said = |name: &str| {
        let found = letter.headers.iter().find(|(known, _)| known == &format!("__connect.errors.{name}"));
        String::from_utf8(found.unwrap().1.clone().unwrap()).unwrap()
    };
    assert_eq!((said("topic"), said("partition"), said("offset")), ("t".into(), "0".into(), "0".into()));
    assert_eq!(said("exception.class.name"), "decode");
    run.engine.letter_refused("down".to_owned());
    run.engine.letter_written((0, 0), 5);
    assert_eq!(run.state(), State::BlockedPoison);
    run.engine.letter_written((0, 0), 0);
    assert_eq!(run.engine.wishes(), [Wish::Resume((0, 0), 1)]);
    run.tell(record(0, 1, "y", Some("2")));
    run.tell(end(0, 3));
    run.apply();
    assert_eq!((run.state(), run.dump()), (State::Live, entries(&[("u:y", "2")])));
    assert_eq!((run.engine.status(0).counts.dead_letters, run.engine.status(0).counts.skipped), (1, 1));
}

fn user(id: i64, name: &str) -> Vec<u8> {
    // A zero byte, schema 7, a long below 64, a string.
    let mut bytes = vec![0, 0, 0, 0, 7, (id * 2) as u8, (name.len() * 2) as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

const USER: &str = r#"{"type": "record", "name": "U", "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]}"#;

#[test]
fn a_missing_schema_holds_its_partition_back_and_nothing_is_lost() {
    let mut run = Run::new(json!({"value": {"decode": "avro", "registry": "r"}, "store": {"as": "hash"}}));
    run.engine.found(0, &found("a", &[(0, 2), (0, 1)]));
    run.engine.wishes();
    let value = user(5, "ann");
    let avro = |partition, offset, value| {
        Event::Record(RawRecord {
            topic: 0,
            partition,
            offset,
            time_ms: 0,
            key: Some(b"k"),
            value: Some(value),
            headers: Headers::Known(&[]),
        })
    };
    run.tell(avro(0, 0, &value[..]));
    run.tell(avro(0, 1, &value[..]));
    run.tell(end(0, 2));
    run.grant();
    assert_eq!(
        core::mem::take(&mut run.wishes),
        [Wish::Pause((0, 0)), Wish::Schema { id: SchemaId::Number(7), of_key: false }]
    );
    run.apply();
    assert_eq!((run.state(), run.engine.wanted_schemas()), (State::BlockedSchema, vec![(SchemaId::Number(7), false)]));
    run.engine.schema(SchemaId::Number(7), false, Err(SchemaError::Outage("down".to_owned())), 10, 1000);
    run.engine.schema(SchemaId::Number(7), false, Err(SchemaError::Unknown), 20, 1000);
    assert_eq!((run.state(), run.engine.wishes()), (State::BlockedSchema, vec![]));
    let text = SchemaText { text: USER.to_owned(), ..SchemaText::default() };
    run.engine.schema(SchemaId::Number(7), false, Ok(&text), 30, 1000);
    assert_eq!(run.engine.wishes(), [Wish::Resume((0, 0), 0)]);
    run.tell(avro(0, 0, &value[..]));
    run.tell(avro(0, 1, &value[..]));
    run.tell(end(0, 2));
    run.tell(avro(1, 0, &[&value[..], b"x"].concat()));
    run.apply();
    assert_eq!((run.state(), run.dump()), (State::Live, entries(&[("u:k", "id=5,name=ann")])));
    assert_eq!(run.engine.ring().latest().next().map(|poison| poison.class), Some(Class::Decode));
}

#[test]
fn a_schema_that_stays_unknown_is_poison_after_a_while() {
    let mut run = Run::new(json!({"value": {"decode": "avro", "registry": "r"}, "store": {"as": "hash"}}));
    run.engine.found(0, &found("a", &[(0, 1)]));
    run.engine.wishes();
    let value = user(1, "x");
    let event = || {
        Event::Record(RawRecord {
            topic: 0,
            partition: 0,
            offset: 0,
            time_ms: 0,
            key: Some(b"k"),
            value: Some(&value),
            headers: Headers::Known(&[]),
        })
    };
    run.tell(event());
    run.engine.wishes();
    run.engine.schema(SchemaId::Number(7), false, Err(SchemaError::Unknown), 1000, 1000);
    assert_eq!(run.engine.wishes(), [Wish::Resume((0, 0), 0)]);
    // However long it takes until it comes again.
    run.now_ms = 1_000_000;
    run.tell(event());
    run.apply();
    assert_eq!((run.state(), run.engine.ring().count(Class::UnknownSchema)), (State::Live, 1));
}

/// The clock of the store stands at 5,000.
#[test]
fn deadlines_count_from_the_record() {
    let mut run = Run::new(json!({"ttl": {"after": "3s"}}));
    run.engine.found(0, &found("a", &[(0, 2)]));
    let at = |offset, time_ms, value| {
        Event::Record(RawRecord {
            topic: 0,
            partition: 0,
            offset,
            time_ms,
            key: Some(b"x"),
            value: Some(value),
            headers: Headers::Known(&[]),
        })
    };
    run.tell(at(0, 2001, b"1"));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:x", "1")]));
    // Over before it was read.
    run.tell(at(1, 2000, b"2"));
    run.apply();
    assert_eq!(run.dump(), entries(&[]));
}

/// Any log in any partitions, cut into batches anywhere, read again from anywhere: the fold.
#[test]
fn the_keyspace_is_the_fold_of_the_log() {
    for seed in 0..300 {
        let draw = |n: u64, below: u64| storage::draw_below(seed, n, below);
        let partitions = 1 + draw(1, 3) as i32;
        let mut logs: Vec<Vec<(String, Option<String>)>> = vec![Vec::new(); partitions as usize];
        for n in 0..draw(2, 60) {
            let partition = draw(100 + n, partitions as u64) as usize;
            // A key belongs to one partition, as producers see to.
            let key = format!("{partition}-{}", draw(200 + n, 5));
            let value = (draw(300 + n, 4) > 0).then(|| format!("v{n}"));
            logs[partition].push((key, value));
        }
        let mut fold = BTreeMap::new();
        for (key, value) in logs.iter().flatten() {
            match value {
                Some(value) => fold.insert(format!("u:{key}"), value.clone()),
                None => fold.remove(&format!("u:{key}")),
            };
        }
        let mut run = Run::new(json!({}));
        let ends: Vec<_> = logs.iter().map(|log| (0, log.len() as i64)).collect();
        run.engine.found(0, &found("a", &ends));
        for pass in 0..3 {
            for (partition, log) in logs.iter().enumerate() {
                for (offset, (key, value)) in log.iter().enumerate() {
                    run.tell(record(partition as i32, offset as i64, key, value.as_deref()));
                    if draw(1000 * pass + offset as u64, 3) == 0 {
                        run.apply();
                    }
                }
                run.tell(end(partition as i32, log.len() as i64));
            }
            run.apply();
            assert_eq!((run.dump(), run.state()), (fold.clone(), State::Live), "seed {seed}, pass {pass}");
            match pass {
                0 => run.engine.rebuild_all(false),
                _ => run.engine.partitions.values_mut().for_each(|p| {
                    p.rewind(draw(7, 1 + p.log.1 as u64) as i64, p.log.1);
                    p.awaited = false;
                }),
            }
        }
    }
}
