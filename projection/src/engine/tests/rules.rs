//! Rules beyond the plain fold: rebuilds that show nothing old, filters, times to live, versions, the index, other beginnings.

use super::*;
use crate::source::{Cleaning, Headers};

fn wish_start(start: serde_json::Value, found: &FoundTopic) -> Vec<Wish> {
    let mut run = Run::new(json!({"source": {"kafka": "k", "topics": ["t"], "start": start}}));
    run.engine.wishes();
    run.engine.found(0, found);
    run.engine.wishes()
}

#[test]
fn reading_begins_where_it_is_told() {
    let topic = FoundTopic { at_time: vec![7, 20], ..found("a", &[(2, 10), (5, 20)]) };
    let starts = |a, b| vec![Wish::Assign((0, 0), a), Wish::Assign((0, 1), b)];
    assert_eq!(wish_start(json!("beginning"), &topic), starts(2, 5));
    assert_eq!(wish_start(json!("end"), &topic), starts(10, 20));
    assert_eq!(wish_start(json!(-4), &topic), starts(6, 16));
    assert_eq!(wish_start(json!("-100"), &topic), starts(2, 5));
    assert_eq!(wish_start(json!("@1234"), &topic), starts(7, 20));
    assert_eq!(wish_start(json!({"1": 9}), &topic), starts(2, 9));
    // A rebuild begins there as well; a partition that is added later is read whole.
    let mut run = Run::new(json!({"source": {"kafka": "k", "topics": ["t"], "start": "end"}}));
    run.engine.found(0, &found("a", &[(0, 4)]));
    run.engine.wishes();
    run.engine.rebuild_all(false);
    run.engine.found(0, &found("a", &[(0, 9), (0, 3)]));
    let wishes = run.engine.wishes();
    assert_eq!(wishes, [Wish::Assign((0, 0), 4), Wish::Look, Wish::Assign((0, 1), 0)]);
}

const LOG: [(&str, Option<&str>); 6] =
    [("x", Some("1")), ("y", Some("1")), ("x", None), ("y", Some("2")), ("z", Some("1")), ("z", Some("2"))];

fn replayed() -> Run {
    let mut run = Run::new(json!({}));
    run.engine.found(0, &found("a", &[(0, 6)]));
    read_log(&mut run, 0..6, |_| {});
    run.tell(end(0, 6));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:y", "2"), ("u:z", "2")]));
    run
}

fn read_log(run: &mut Run, offsets: core::ops::Range<usize>, mut each: impl FnMut(&mut Run)) {
    for offset in offsets {
        let (key, value) = LOG[offset];
        run.tell(record(0, offset as i64, key, value));
        run.apply();
        each(run);
    }
}

/// While all is read anew nobody sees what was deleted since, nor anything older than what they saw.
#[test]
fn a_rebuild_shows_nothing_old() {
    for is_shadow in [false, true] {
        let mut run = replayed();
        run.engine.rebuild_all(is_shadow);
        read_log(&mut run, 0..6, |run| {
            assert_eq!(run.dump(), entries(&[("u:y", "2"), ("u:z", "2")]));
        });
        run.tell(end(0, 6));
        run.apply();
        assert_eq!(run.dump(), entries(&[("u:y", "2"), ("u:z", "2")]), "{is_shadow}");
        assert_eq!((run.state(), run.engine.held().len()), (State::Live, 0));
    }
}

/// What a rebuild finds that was missing comes at its end; what is new comes at once, or at the end of a shadow.
#[test]
fn a_rebuild_mends_what_was_missing() {
    for is_shadow in [false, true] {
        let mut run = replayed();
        run.with(|access, _, cx| {
            let kh = access.hash(b"u:y");
            access.one(Db(0), kh, b"u:y", cx, |slot| slot.delete());
        });
        run.engine.found(0, &found("a", &[(0, 8)]));
        run.engine.rebuild_all(is_shadow);
        read_log(&mut run, 0..6, |_| {});
        assert_eq!(run.dump(), entries(&[("u:z", "2")]));
        assert!(run.engine.held().bytes() > 0);
        run.tell(record(0, 6, "new", Some("1")));
        run.tell(record(0, 7, "z", None));
        run.tell(end(0, 8));
        run.apply();
        assert_eq!(run.dump(), entries(&[("u:new", "1"), ("u:y", "2")]), "{is_shadow}");
    }
}

/// One rebuild after the other, of either kind, while one partition keeps them from their end: nothing that was shown comes back
/// older, and no offset counts as applied whose record nobody can see.
#[test]
fn rebuilds_of_both_kinds_in_turn() {
    for kinds in [[false, true, false], [true, false, true], [true, true, false], [false, false, false]] {
        let mut run = Run::new(json!({}));
        run.engine.found(0, &found("a", &[(0, 2), (0, 1)]));
        let log = [("x", Some("1")), ("y", Some("1")), ("k", Some("1")), ("k", None), ("n", Some("1"))];
        let read = |run: &mut Run, offsets: core::ops::Range<usize>| {
            for offset in offsets {
                run.tell(record(0, offset as i64, log[offset].0, log[offset].1));
                run.apply();
                let shown = run.engine.status(0).partitions[0].applied;
                let dump = run.dump();
                assert!(shown < 4 || !dump.contains_key("u:k"), "{kinds:?}: {offset}: {shown}: {dump:?}");
                assert!(shown < 5 || dump.contains_key("u:n"), "{kinds:?}: {offset}: {shown}: {dump:?}");
            }
        };
        read(&mut run, 0..2);
        run.tell(record(1, 0, "other", Some("1")));
        run.apply();
        assert_eq!(run.state(), State::Live);
        run.engine.found(0, &found("a", &[(0, 5), (0, 1)]));
        let mut most = 0;
        for is_shadow in kinds {
            run.engine.rebuild_all(is_shadow);
            run.engine.found(0, &found("a", &[(0, 5), (0, 1)]));
            let was_there = run.dump().contains_key("u:k");
            for to in 1..=5 {
                read(&mut run, to - 1..to);
                most = most.max(run.engine.status(0).partitions[0].applied);
                assert!(most < 4 || was_there || !run.dump().contains_key("u:k"), "{kinds:?}: it came back");
            }
        }
        run.tell(end(0, 5));
        run.tell(record(1, 0, "other", Some("1")));
        run.tell(end(1, 1));
        run.apply();
        let all = [("u:n", "1"), ("u:other", "1"), ("u:x", "1"), ("u:y", "1")];
        assert_eq!((run.dump(), run.state()), (entries(&all), State::Live), "{kinds:?}");
        assert_eq!(run.engine.status(0).partitions[0].applied, 5);
    }
}

/// A rebuild that begins just when the one before has ended, before what waited was applied, loses nothing.
#[test]
fn one_rebuild_right_after_the_other() {
    let mut run = replayed();
    run.engine.rebuild_all(true);
    read_log(&mut run, 0..5, |_| {});
    run.tell(record(0, 5, LOG[5].0, LOG[5].1));
    run.tell(end(0, 6));
    let batch = run.engine.take();
    run.apply_batch(&batch);
    run.engine.applied(batch, 0, 0);
    run.engine.rebuild_all(true);
    assert!(!run.engine.wishes().iter().any(|wish| matches!(wish, Wish::Sweep(_))), "it is not this one's end");
    let all = entries(&[("u:y", "2"), ("u:z", "2")]);
    read_log(&mut run, 0..6, |run| assert_eq!(run.dump(), all));
    run.tell(end(0, 6));
    run.apply();
    assert_eq!((run.dump(), run.state()), (all, State::Live));
}

/// After its database was emptied it is not ready until all was read again.
#[test]
fn an_emptied_projection_is_loaded_anew() {
    let mut run = replayed();
    for key in ["u:y", "u:z"] {
        run.with(|access, _, cx| {
            access.one(Db(0), access.hash(key.as_bytes()), key.as_bytes(), cx, |slot| slot.delete())
        });
    }
    run.engine.reload();
    read_log(&mut run, 0..5, |run| assert!(!run.engine.status(0).is_ready));
    read_log(&mut run, 5..6, |_| {});
    run.tell(end(0, 6));
    run.apply();
    assert_eq!((run.dump(), run.state()), (entries(&[("u:y", "2"), ("u:z", "2")]), State::Live));
}

#[test]
fn a_seek_breaks_the_law_until_a_rebuild() {
    let mut run = replayed();
    let flags = |run: &Run| run.engine.status(0).flags;
    assert!(run.engine.seek((0, 1), 0).is_err() && run.engine.seek((0, 0), 7).is_err());
    run.engine.wishes();
    assert_eq!(run.engine.seek((0, 0), 1), Ok(()));
    assert_eq!(run.engine.wishes(), [Wish::Assign((0, 0), 1)]);
    assert_eq!((flags(&run), run.engine.status(0).is_ready), (vec!["seeked"], true));
    read_log(&mut run, 1..6, |_| {});
    assert_eq!(run.dump(), entries(&[("u:y", "2"), ("u:z", "2")]), "what is read twice changes nothing");
    run.engine.rebuild_all(false);
    assert_eq!(flags(&run), ["rebuilding"]);
}

/// A reader that lags for longer than tombstones are kept reads all anew, once.
#[test]
fn expired_tombstones_make_all_be_read_anew() {
    let mut run = Run::new(json!({}));
    let topic = |high| {
        let cleaning = Some(Cleaning { compacts: true, delete_retention_ms: Some(100_000) });
        FoundTopic { cleaning, ..found("a", &[(0, high)]) }
    };
    let has_flag = |run: &Run| run.engine.status(run.now_ms).flags.contains(&"horizon");
    run.engine.found(0, &topic(2));
    run.tell(record(0, 0, "x", Some("1")));
    run.tell(record(0, 1, "y", Some("1")));
    run.tell(end(0, 2));
    run.apply();
    // At the end it may stand for ever.
    for now_ms in [100_000, 300_000] {
        run.now_ms = now_ms;
        run.apply();
    }
    run.engine.set_paused(None, true);
    run.now_ms += 70_000;
    run.apply();
    assert!(!has_flag(&run));
    run.now_ms += 20_000;
    run.apply();
    assert!(has_flag(&run));
    // x was deleted meanwhile, and its tombstone is gone.
    run.engine.set_paused(None, false);
    run.engine.found(0, &topic(4));
    run.tell(record(0, 3, "y", Some("2")));
    run.tell(end(0, 4));
    assert_eq!(run.engine.status(0).counts.rebuilds, 0);
    run.apply();
    assert_eq!((run.state(), run.engine.status(0).counts.rebuilds), (State::Rebuilding, 1));
    run.tell(record(0, 3, "y", Some("2")));
    run.tell(end(0, 4));
    run.apply();
    assert_eq!((run.dump(), run.state()), (entries(&[("u:y", "2")]), State::Live));
    run.now_ms += 50_000;
    run.apply();
    assert_eq!(run.engine.status(0).counts.rebuilds, 1);
    // One that keeps all records has no such horizon.
    run.engine.found(0, &FoundTopic { cleaning: Some(Cleaning::default()), ..topic(4) });
    run.engine.set_paused(None, true);
    run.now_ms += 1_000_000;
    run.apply();
    assert!(!has_flag(&run));
}

fn of_json(more: serde_json::Value) -> Run {
    let mut all = json!({"value": {"decode": "json"}, "store": {"as": "json"}});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut run = Run::new(all);
    run.engine.found(0, &found("a", &[(0, 100), (0, 100), (0, 100)]));
    run
}

/// A record that does not pass takes its key away, or is not looked at; a tombstone counts whatever the filter says.
#[test]
fn filters() {
    for (mode, left) in [("view", vec!["u:b"]), ("ignore", vec!["u:a", "u:b"])] {
        let mut run = of_json(json!({"filter": {"where": "value.n > 1 and key != 'no'", "mode": mode}}));
        for (offset, (key, value)) in [
            ("a", Some(r#"{"n":2}"#)),
            ("b", Some(r#"{"n":3}"#)),
            ("no", Some(r#"{"n":9}"#)),
            ("a", Some(r#"{"n":1}"#)),
            ("c", Some(r#"{"n":5}"#)),
            ("c", None),
            ("d", Some(r#"{}"#)),
        ]
        .into_iter()
        .enumerate()
        {
            run.tell(record(0, offset as i64, key, value));
        }
        run.apply();
        assert_eq!(run.dump().keys().collect::<Vec<_>>(), left, "{mode}");
        assert_eq!(run.engine.status(0).counts.skipped, 0);
    }
}

/// A record with a header.
fn with_header<'r>(plain: Event<'r>, headers: &'r [(&'r str, Option<&'r [u8]>)], time_ms: i64) -> Event<'r> {
    let Event::Record(plain) = plain else { unreachable!("only records have headers") };
    Event::Record(RawRecord { headers: Headers::Known(headers), time_ms, ..plain })
}

/// The clock stands at 5 s: what ends before that leaves no entry, what has no time lives for ever.
#[test]
fn times_to_live_from_values_and_headers() {
    let mut run = of_json(json!({"ttl": {"from": "value.until", "unit": "s", "after": "1s"}}));
    let untils = [("a", "9"), ("b", "4"), ("c", "\"7\""), ("d", "null"), ("e", "\"soon\""), ("f", "3")];
    for (offset, (key, until)) in untils.into_iter().enumerate() {
        run.tell(record(0, offset as i64, key, Some(&format!("{{\"until\":{until}}}"))));
    }
    run.apply();
    assert_eq!(run.dump().keys().collect::<Vec<_>>(), ["u:a", "u:c", "u:d"]);
    assert_eq!(run.engine.ring().count(Class::Decode), 1);
    let mut run = of_json(json!({"ttl": {"from": "header.until"}}));
    for (offset, until) in [(0, &b"6000"[..]), (1, b"4000"), (2, b"x")] {
        let key = format!("k{offset}");
        run.tell(with_header(record(0, offset, &key, Some("1")), &[("until", Some(until))], 0));
    }
    run.apply();
    assert_eq!(run.dump().keys().collect::<Vec<_>>(), ["u:k0"]);
}

/// All orders in which two records each of three partitions may come.
fn orders() -> Vec<[usize; 6]> {
    let mut orders = Vec::new();
    for number in 0..3_usize.pow(6) {
        let (mut next, mut order, mut rest) = ([0, 2, 4], [0; 6], number);
        let fits = order.iter_mut().all(|slot| {
            let partition = rest % 3;
            rest /= 3;
            *slot = next[partition];
            next[partition] += 1;
            *slot < partition * 2 + 2
        });
        if fits {
            orders.push(order);
        }
    }
    assert_eq!(orders.len(), 90);
    orders
}

/// With versions every order of arrival ends the same, tombstones included.
#[test]
fn versions_end_the_same_in_every_order() {
    // Of three partitions in turn, two each: version and value.
    type Case = [(i64, Option<&'static str>); 6];
    let cases: [(Case, Option<&str>); 3] = [
        ([(5, Some("1")), (3, None), (4, Some("2")), (5, Some("3")), (1, None), (2, Some("4"))], Some("3")),
        ([(5, Some("1")), (9, None), (4, Some("2")), (8, Some("3")), (7, Some("5")), (2, Some("4"))], None),
        ([(5, None), (6, Some("1")), (6, None), (2, Some("3")), (6, Some("5")), (1, None)], Some("5")),
    ];
    for by in ["timestamp", "header.v"] {
        for (records, wanted) in &cases {
            for order in orders() {
                let mut run = of_json(json!({"conflict": {"by": by}}));
                for at in order {
                    let (version, value) = records[at];
                    let text = version.to_string();
                    let headers: &[(&str, Option<&[u8]>)] = &[("v", Some(text.as_bytes()))];
                    let plain = record((at / 2) as i32, (at % 2) as i64, "k", value);
                    run.tell(with_header(plain, headers, version));
                    run.apply();
                }
                let wanted = wanted.map_or_else(BTreeMap::new, |value| entries(&[("u:k", value)]));
                assert_eq!(run.dump(), wanted, "{by} {order:?}");
            }
        }
    }
}

/// A version in the value: a lower one loses, one that is none is poison.
#[test]
fn versions_in_values() {
    let mut run = of_json(json!({"conflict": {"by": "field(v)"}}));
    run.tell(record(0, 0, "k", Some(r#"{"v":7}"#)));
    run.tell(record(1, 0, "k", Some(r#"{"v":6}"#)));
    run.tell(record(1, 1, "k", Some(r#"{"v":-1}"#)));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:k", r#"{"v":7}"#)]));
    assert_eq!((run.engine.counts.conflicts, run.engine.ring().count(Class::Decode)), (1, 1));
    run.tell(record(2, 0, "k", None));
    run.apply();
    assert_eq!(run.dump(), entries(&[]));
}

/// Keys made of values: a new one takes the place of the old one, and a tombstone finds the last one.
#[test]
fn the_index_finds_what_a_key_was() {
    let mut run = of_json(json!({"key": {"template": "u:{value.mail}", "index": true}}));
    let log = [
        ("1", Some(r#"{"mail":"a"}"#)),
        ("2", Some(r#"{"mail":"b"}"#)),
        ("1", Some(r#"{"mail":"c"}"#)),
        ("2", None),
        ("3", None),
        ("4", Some(r#"{"no":"mail"}"#)),
    ];
    for again in 0..2 {
        for (offset, (key, value)) in log.into_iter().enumerate() {
            run.tell(record(0, offset as i64, key, value));
            run.apply();
            if again > 0 {
                assert_eq!(run.dump(), entries(&[("u:c", r#"{"mail":"c"}"#)]), "read again, {offset}");
            }
        }
        for partition in 0..3 {
            run.tell(end(partition, 100));
        }
        run.apply();
        assert_eq!(run.dump(), entries(&[("u:c", r#"{"mail":"c"}"#)]));
        run.engine.rebuild_all(false);
    }
    assert_eq!(run.engine.ring().count(Class::BadKey), 2);
}

/// Readers of a key get errors from its poison on until it is read again.
#[test]
fn poisoned_keys_heal() {
    let mut run = of_json(json!({"errors": {"default": "skip", "poison_key": "error"}}));
    run.grant();
    run.wishes.clear();
    run.tell(record(0, 0, "k", Some("1")));
    run.tell(record(0, 1, "k", Some("{")));
    run.tell(record(0, 2, "k", Some("}")));
    run.apply();
    let key: Box<[u8]> = b"u:k"[..].into();
    assert_eq!(core::mem::take(&mut run.wishes), [Wish::Poison(key.clone())]);
    run.tell(record(0, 3, "other", Some("2")));
    run.tell(record(0, 4, "k", None));
    run.apply();
    assert_eq!(core::mem::take(&mut run.wishes), [Wish::Heal(key)]);
    assert_eq!(run.dump(), entries(&[("u:other", "2")]));
    // Its poison is not in the topic any more.
    run.tell(record(0, 5, "k", Some("{")));
    run.apply();
    run.wishes.clear();
    run.engine.rebuild_all(false);
    (0..3).for_each(|partition| run.tell(end(partition, 100)));
    run.apply();
    assert!(run.wishes.contains(&Wish::Heal(b"u:k"[..].into())), "{:?}", run.wishes);
}

/// JSON that becomes JSON stays what it was, in every digit.
#[test]
fn json_stays_verbatim() {
    let mut run = of_json(json!({}));
    let text = r#" {"b" : 123456789012345678901234567890, "a":1.10} "#;
    run.tell(record(0, 0, "k", Some(text)));
    run.tell(record(0, 1, "bad", Some("{\"a\":1}}")));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:k", text.trim())]));
}

/// Schemas of files: by their fingerprints, or the only one.
#[test]
fn schemas_of_files() {
    let text = SchemaText { text: USER.to_owned(), ..SchemaText::default() };
    let SchemaId::Fingerprint(fingerprint) = SchemaId::fingerprint(&text).unwrap() else { unreachable!() };
    let datum = &user(5, "ann")[5..];
    let single = [&[0xC3, 1][..], &fingerprint.to_le_bytes(), datum].concat();
    let other = [&[0xC3, 1][..], &1_u64.to_le_bytes(), datum].concat();
    for (wire, value) in [("none", datum), ("single_object", &single)] {
        let value_config = json!({"decode": "avro", "wire": wire, "schema_files": ["x"]});
        let mut run = Run::new(json!({"value": value_config, "store": {"as": "hash"}}));
        run.engine.know(false, core::slice::from_ref(&text)).unwrap();
        run.engine.found(0, &found("a", &[(0, 2)]));
        for (offset, value) in [value, &other].into_iter().enumerate() {
            let Event::Record(plain) = record(0, offset as i64, "k", None) else { unreachable!() };
            run.tell(Event::Record(RawRecord { value: Some(value), ..plain }));
        }
        run.apply();
        assert_eq!((run.state(), run.dump()), (State::Live, entries(&[("u:k", "id=5,name=ann")])), "{wire}");
    }
    let mut run = Run::new(json!({"value": {"decode": "avro", "wire": "none", "schema_files": ["x"]}}));
    assert!(run.engine.know(false, &[SchemaText { text: "{".to_owned(), ..SchemaText::default() }]).is_err());
}

/// Merged hashes keep the fields that a record says nothing of; a rebuild makes them anew, of what the topic has.
#[test]
fn hashes_are_merged() {
    let store = json!({"as": "hash", "merge": true});
    let mut run = of_json(json!({"store": store, "rebuild": "shadow"}));
    let log = [
        ("k", Some(r#"{"a":1,"b":2}"#)),
        ("k", Some(r#"{"b":3,"c":4}"#)),
        ("gone", Some(r#"{"a":1}"#)),
        ("gone", None),
        ("gone", Some(r#"{"b":2}"#)),
    ];
    let read = |run: &mut Run| {
        for (offset, (key, value)) in log.into_iter().enumerate() {
            run.tell(record(0, offset as i64, key, value));
            run.apply();
        }
        (0..3).for_each(|partition| run.tell(end(partition, 100)));
        run.apply();
    };
    let expected = entries(&[("u:gone", "b=2"), ("u:k", "a=1,b=3,c=4")]);
    read(&mut run);
    assert_eq!(run.dump(), expected);
    run.engine.rebuild_all(false);
    run.tell(record(0, 0, "k", log[0].1));
    run.apply();
    assert_eq!(run.dump(), expected, "nothing changes before the end");
    read(&mut run);
    assert_eq!((run.dump(), run.state()), (expected, State::Live));
}

/// A record without any field that is asked for is an entry all the same.
#[test]
fn records_without_fields() {
    for nulls in ["omit", "empty"] {
        let mut run = of_json(json!({"store": {"as": "hash", "nulls": nulls, "fields": {"include": ["x"]}}}));
        run.tell(record(0, 0, "k", Some("{}")));
        run.tell(record(0, 1, "other", Some(r#"{"a":{}}"#)));
        run.apply();
        assert_eq!(run.dump(), entries(&[("u:k", "="), ("u:other", "=")]), "{nulls}");
    }
}

/// A shadow of versions in values: a tombstone has none, and counts when it comes.
#[test]
fn shadows_of_versions() {
    let mut run = of_json(json!({"conflict": {"by": "value.v"}, "rebuild": "shadow"}));
    let log = [("k", Some(r#"{"v":7}"#)), ("k", None), ("other", Some(r#"{"v":1}"#))];
    for again in 0..2 {
        for (offset, (key, value)) in log.into_iter().enumerate() {
            run.tell(record(0, offset as i64, key, value));
            run.apply();
        }
        (0..3).for_each(|partition| run.tell(end(partition, 100)));
        run.apply();
        assert_eq!(run.dump(), entries(&[("u:other", r#"{"v":1}"#)]), "{again}");
        run.engine.rebuild_all(false);
    }
}

/// In a rebuild a lower version takes the place of a higher one that the topic does not hold any more, and no sooner.
#[test]
fn versions_that_are_gone_from_the_topic() {
    let mut run = of_json(json!({"conflict": {"by": "value.v"}}));
    run.tell(record(0, 5, "k", Some(r#"{"v":10}"#)));
    run.tell(record(0, 8, "k", Some(r#"{"v":7}"#)));
    (0..3).for_each(|partition| run.tell(end(partition, 100)));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:k", r#"{"v":10}"#)]));
    run.engine.rebuild_all(false);
    run.tell(record(0, 8, "k", Some(r#"{"v":7}"#)));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:k", r#"{"v":10}"#)]), "it may still come");
    (0..3).for_each(|partition| run.tell(end(partition, 100)));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:k", r#"{"v":7}"#)]));
}

/// A log that was cut holds other records at the offsets that were read before.
#[test]
fn a_log_that_was_cut() {
    let mut run = Run::new(json!({}));
    run.engine.found(0, &found("a", &[(0, 5)]));
    for (offset, (key, value)) in [("a", "0"), ("k", "1"), ("b", "2"), ("c", "3"), ("k", "4")].into_iter().enumerate() {
        run.tell(record(0, offset as i64, key, Some(value)));
    }
    run.tell(end(0, 5));
    run.apply();
    run.tell(Event::Trouble(Trouble::OutOfRange { topic: 0, partition: 0 }, String::new()));
    run.engine.found(0, &found("a", &[(0, 4)]));
    run.engine.looked();
    for (offset, (key, value)) in [("a", "0"), ("k", "1"), ("b", "2"), ("c", "new")].into_iter().enumerate() {
        run.tell(record(0, offset as i64, key, Some(value)));
    }
    run.tell(end(0, 4));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:a", "0"), ("u:b", "2"), ("u:c", "new"), ("u:k", "1")]));
}

/// Whatever was open at the end once is not waited for, nor the reason to be ready, when more has come since.
#[test]
fn a_pin_that_is_over_makes_nothing_ready() {
    let mut run = Run::new(json!({"ready": {"open_txn_wait": "60s"}}));
    run.engine.found(0, &found("a", &[(0, 10)]));
    run.tell(end(0, 2));
    run.apply();
    run.now_ms = 50_000;
    run.tell(record(0, 3, "x", Some("1")));
    run.apply();
    run.now_ms = 70_000;
    run.apply();
    assert!(!run.engine.status(run.now_ms).is_ready);
    run.tell(end(0, 4));
    run.apply();
    run.engine.set_paused(None, true);
    run.now_ms = 200_000;
    run.apply();
    assert!(!run.engine.status(run.now_ms).is_ready, "a pause is no wait");
}

/// An entry that another key has taken over is not deleted with the one that left it.
#[test]
fn an_entry_that_changed_hands() {
    let mut run = of_json(json!({"key": {"template": "u:{value.mail}", "index": true}}));
    run.tell(record(0, 0, "1", Some(r#"{"mail":"a"}"#)));
    run.tell(record(1, 0, "2", Some(r#"{"mail":"a"}"#)));
    run.tell(record(0, 1, "1", Some(r#"{"mail":"b"}"#)));
    run.apply();
    let both = entries(&[("u:a", r#"{"mail":"a"}"#), ("u:b", r#"{"mail":"b"}"#)]);
    assert_eq!(run.dump(), both);
    run.tell(record(0, 2, "1", None));
    run.apply();
    assert_eq!(run.dump(), entries(&[("u:a", r#"{"mail":"a"}"#)]));
    assert!(run.engine.index.bytes() > 0);
    run.engine.rebuild_all(false);
    (0..3).for_each(|partition| run.tell(end(partition, 100)));
    run.apply();
    assert_eq!((run.dump(), run.engine.index.bytes()), (entries(&[]), 0), "what does not come again is forgotten");
}
