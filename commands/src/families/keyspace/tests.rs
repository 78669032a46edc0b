//! Commands on keys of any type and on whole databases.

use crate::effect::SLICE_KEYS;
use crate::testkit::{Testkit, draws};
use std::collections::BTreeMap;
use storage::Db;

fn request(name: &str, keys: usize) -> Vec<Vec<u8>> {
    let keys = (0..keys).map(|n| format!("k{n}").into_bytes());
    std::iter::once(name.as_bytes().to_vec()).chain(keys).collect()
}

fn run_owned(t: &mut Testkit, request: &[Vec<u8>]) -> String {
    t.run_args(&request.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn select(t: &mut Testkit, db: u8) {
    t.session().db = Db(db);
}

#[test]
fn deletion_and_existence() {
    let mut t = Testkit::new();
    for key in ["a", "b", "c"] {
        t.run(&format!("SET {key} v"));
    }
    t.run("SET dead v PX 5");
    t.advance_ms(5);
    assert_eq!(t.run("EXISTS a a b dead nokey"), ":3\r\n");
    assert_eq!((t.stats().hits.value(), t.stats().misses.value()), (3, 2));
    assert_eq!(t.run("DEL a a dead"), ":1\r\n");
    assert_eq!(t.run("UNLINK b c d"), ":2\r\n");
    assert_eq!(t.run("EXISTS b"), ":0\r\n");
    assert_eq!(t.run("DEL b"), ":0\r\n");
    assert_eq!(t.error("DEL"), "ERR wrong number of arguments for 'del' command");
}

#[test]
fn many_keys_are_deleted_in_slices() {
    let mut t = Testkit::new();
    let keys = 5_000;
    for name in ["DEL", "UNLINK"] {
        for n in (0..keys).step_by(2) {
            t.run_args(&[b"SET", format!("k{n}").as_bytes(), b"v"]);
        }
        t.run("SET other v");
        assert_eq!(run_owned(&mut t, &request(name, keys)), format!(":{}\r\n", keys / 2));
        assert_eq!(t.slices, keys.div_ceil(SLICE_KEYS) - 1);
        assert_eq!(t.run("DBSIZE"), ":1\r\n");
    }
    run_owned(&mut t, &request("DEL", SLICE_KEYS));
    assert_eq!(t.slices, 0, "up to this many keys at once");
}

#[test]
fn many_keys_are_deleted_at_once_in_a_transaction() {
    let mut t = Testkit::new();
    for n in 0..3_000 {
        t.run_args(&[b"SET", format!("k{n}").as_bytes(), b"v"]);
    }
    t.run("MULTI");
    run_owned(&mut t, &request("DEL", 3_000));
    assert_eq!(t.run("EXEC"), "*1\r\n:3000\r\n");
    assert_eq!(t.slices, 0);
    assert_eq!(t.run("DBSIZE"), ":0\r\n");
}

#[test]
fn types() {
    let mut t = Testkit::new();
    t.run("SET k v PX 5");
    assert_eq!(t.run("TYPE k"), "+string\r\n");
    t.advance_ms(5);
    assert_eq!(t.run("TYPE k"), "+none\r\n");
}

#[test]
fn renaming_takes_the_deadline_along() {
    let mut t = Testkit::new();
    t.run("SET a 1 PX 10");
    t.run("SET b 2");
    assert_eq!(t.run("RENAME a b"), "+OK\r\n");
    assert_eq!((t.run("GET a").as_str(), t.run("GET b").as_str()), ("$-1\r\n", "$1\r\n1\r\n"));
    t.advance_ms(9);
    assert_eq!(t.run("EXISTS b"), ":1\r\n");
    t.advance_ms(1);
    assert_eq!(t.run("EXISTS b"), ":0\r\n");
    assert_eq!(t.error("RENAME b c"), "ERR no such key", "a dead key");

    t.run("SET old 1 PX 10");
    t.run("SET new 2");
    t.run("RENAME new old");
    t.advance_ms(10);
    assert_eq!(t.run("GET old"), "$1\r\n2\r\n", "the deadline of what was replaced is gone");
}

#[test]
fn renaming_onto_itself_and_onto_others() {
    let mut t = Testkit::new();
    t.run("SET a 1");
    t.run("SET b 2");
    assert_eq!(t.run("RENAME a a"), "+OK\r\n");
    assert_eq!(t.run("RENAMENX a a"), ":0\r\n");
    assert_eq!(t.run("RENAMENX a b"), ":0\r\n");
    assert_eq!(t.run("RENAMENX a c"), ":1\r\n");
    assert_eq!(t.run("GET c"), "$1\r\n1\r\n");
    for line in ["RENAME no no", "RENAME no x", "RENAMENX no no", "RENAMENX no b"] {
        assert_eq!(t.error(line), "ERR no such key", "{line}");
    }
}

#[test]
fn copies() {
    let mut t = Testkit::new();
    t.run("SET a 1 PX 10");
    assert_eq!(t.run("COPY a b"), ":1\r\n");
    assert_eq!(t.run("COPY a b"), ":0\r\n");
    assert_eq!(t.run("COPY a b replace"), ":1\r\n");
    assert_eq!(t.run("COPY a a DB 3"), ":1\r\n");
    assert_eq!(t.run("COPY a c DB 3 REPLACE DB 4"), ":1\r\n");
    assert_eq!(t.run("COPY no x"), ":0\r\n");
    assert_eq!((t.stats().hits.value(), t.stats().misses.value()), (5, 1));
    t.advance_ms(9);
    for (db, key) in [(0, "a"), (0, "b"), (3, "a"), (4, "c")] {
        select(&mut t, db);
        assert_eq!(t.run(&format!("GET {key}")), "$1\r\n1\r\n", "{db} {key}");
    }
    t.advance_ms(1);
    for (db, key) in [(0, "a"), (0, "b"), (3, "a"), (4, "c")] {
        select(&mut t, db);
        assert_eq!(t.run(&format!("GET {key}")), "$-1\r\n", "{db} {key}");
    }
    select(&mut t, 0);
    for line in ["COPY a a", "COPY a a DB 0", "COPY no no"] {
        assert_eq!(t.error(line), "ERR source and destination objects are the same", "{line}");
    }
    for line in ["COPY a b x", "COPY a b DB", "COPY a b REPLACE x"] {
        assert_eq!(t.error(line), "ERR syntax error", "{line}");
    }
    assert_eq!(t.error("COPY a b DB 16"), "ERR DB index is out of range");
    assert_eq!(t.error("COPY a b DB x"), "ERR value is not an integer or out of range");
    assert!(t.error("COPY a b DB 9999999999").starts_with("ERR value is out of range, value must between -21474"));
}

#[test]
fn long_values_are_copied_and_then_apart() {
    let mut t = Testkit::new();
    let long = vec![b'x'; 100_000];
    t.run_args(&[b"SET", b"a", &long]);
    t.run("COPY a b");
    t.run("SET a short");
    assert_eq!(t.run_bytes(&[b"GET", b"b"]).len(), "$100000\r\n\r\n".len() + long.len());
}

#[test]
fn moves_between_databases() {
    let mut t = Testkit::new();
    t.run("SET a 1 PX 10");
    assert_eq!(t.run("MOVE a 5"), ":1\r\n");
    assert_eq!(t.run("MOVE a 5"), ":0\r\n", "gone");
    t.run("SET a 2");
    assert_eq!(t.run("MOVE a 5"), ":0\r\n", "there is one already");
    t.advance_ms(10);
    assert_eq!(t.run("MOVE a 5"), ":1\r\n", "that one is dead");
    select(&mut t, 5);
    assert_eq!(t.run("GET a"), "$1\r\n2\r\n");
    assert_eq!(t.error("MOVE a 5"), "ERR source and destination objects are the same");
    assert_eq!(t.error("MOVE a 16"), "ERR DB index is out of range");
    assert_eq!(t.error("MOVE a -1"), "ERR DB index is out of range");
    assert_eq!(t.error("MOVE a x"), "ERR value is not an integer or out of range");
}

#[test]
fn random_keys() {
    let mut t = Testkit::new();
    assert_eq!(t.run("RANDOMKEY"), "$-1\r\n");
    assert_eq!(t.resp3().run("RANDOMKEY"), "_\r\n");
    t.run("SET dead v PX 1");
    t.run("SET a v");
    t.run("SET b v");
    t.advance_ms(1);
    let mut seen = BTreeMap::new();
    for _ in 0..200 {
        *seen.entry(t.run("RANDOMKEY")).or_insert(0) += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["$1\r\na\r\n", "$1\r\nb\r\n"]);

    t.run("MULTI");
    for _ in 0..40 {
        t.run("RANDOMKEY");
    }
    let reply = t.run("EXEC");
    assert!(reply.contains("\r\na\r\n") && reply.contains("\r\nb\r\n"), "each draw is a new one: {reply}");
}

#[test]
fn flushes() {
    let mut t = Testkit::new();
    let fill = |t: &mut Testkit| {
        for db in [0, 1, 15] {
            select(t, db);
            t.run("SET k v");
        }
    };
    fill(&mut t);
    assert_eq!(t.run("FLUSHDB"), "+OK\r\n");
    assert_eq!(t.run("DBSIZE"), ":0\r\n");
    select(&mut t, 1);
    assert_eq!(t.run("DBSIZE"), ":1\r\n");
    for line in ["FLUSHALL", "FLUSHALL SYNC", "FLUSHALL async"] {
        fill(&mut t);
        assert_eq!(t.run(line), "+OK\r\n");
        for db in [0, 1, 15] {
            select(&mut t, db);
            assert_eq!(t.run("DBSIZE"), ":0\r\n");
        }
    }
    for line in ["FLUSHDB x", "FLUSHALL SYNC SYNC"] {
        assert_eq!(t.error(line), "ERR syntax error", "{line}");
    }
}

#[test]
fn swapped_databases() {
    let mut t = Testkit::new();
    t.run("SET k v");
    assert_eq!(t.run("SWAPDB 0 9"), "+OK\r\n");
    assert_eq!(t.run("GET k"), "$-1\r\n");
    select(&mut t, 9);
    assert_eq!(t.run("GET k"), "$1\r\nv\r\n");
    assert_eq!(t.run("SWAPDB 9 9"), "+OK\r\n");
    assert_eq!(t.error("SWAPDB x y"), "ERR invalid first DB index");
    assert_eq!(t.error("SWAPDB 0 9999999999"), "ERR invalid second DB index");
    assert_eq!(t.error("SWAPDB 0 16"), "ERR DB index is out of range");
}

/// Values with their deadlines by database and key: what the commands should do to three databases.
#[derive(Default)]
struct Model {
    entries: BTreeMap<(u8, usize), (usize, Option<u64>)>,
}

impl Model {
    fn take(&mut self, from: (u8, usize), to: (u8, usize), replace: bool, keep: bool) -> Option<bool> {
        let value = *self.entries.get(&from)?;
        if self.entries.contains_key(&to) && !replace {
            return Some(false);
        }
        if !keep {
            self.entries.remove(&from);
        }
        self.entries.insert(to, value);
        Some(true)
    }
}

#[test]
fn any_sequence_agrees_with_a_map() {
    const SAME: &str = "-ERR source and destination objects are the same\r\n";
    const NO_KEY: &str = "-ERR no such key\r\n";
    for seed in 0..60 {
        let mut draw = draws(seed);
        let mut t = Testkit::new();
        let mut model = Model::default();
        for step in 0..200 {
            let (db, other) = (draw(3) as u8, draw(3) as u8);
            let (a, b, value) = (draw(5), draw(5), draw(1000));
            select(&mut t, db);
            let integer = |n: Option<bool>| format!(":{}\r\n", u8::from(n == Some(true)));
            let now = t.cx.now.0;
            let (line, expected) = match draw(12) {
                0 | 1 => {
                    let ms = draw(20) as u64 + 1;
                    model.entries.insert((db, a), (value, Some(now + ms)));
                    (format!("SET k{a} v{value} PX {ms}"), "+OK\r\n".to_owned())
                }
                2 => {
                    model.entries.insert((db, a), (value, None));
                    (format!("SET k{a} v{value}"), "+OK\r\n".to_owned())
                }
                3 => {
                    let removed = [a, b].iter().filter(|key| model.entries.remove(&(db, **key)).is_some()).count();
                    (format!("DEL k{a} k{b}"), format!(":{removed}\r\n"))
                }
                4 => {
                    let found = [a, b].iter().filter(|key| model.entries.contains_key(&(db, **key))).count();
                    (format!("EXISTS k{a} k{b}"), format!(":{found}\r\n"))
                }
                5 if a == b => {
                    let found = model.entries.contains_key(&(db, a));
                    (format!("RENAME k{a} k{b}"), if found { "+OK\r\n" } else { NO_KEY }.to_owned())
                }
                5 => {
                    let done = model.take((db, a), (db, b), true, false);
                    (format!("RENAME k{a} k{b}"), if done.is_some() { "+OK\r\n" } else { NO_KEY }.to_owned())
                }
                6 => {
                    let found = model.entries.contains_key(&(db, a));
                    let done = if a == b { found.then_some(false) } else { model.take((db, a), (db, b), false, false) };
                    let expected = if done.is_none() { NO_KEY.to_owned() } else { integer(done) };
                    (format!("RENAMENX k{a} k{b}"), expected)
                }
                7 | 8 => {
                    let replace = draw(2) == 1;
                    let line = format!("COPY k{a} k{b} DB {other}{}", if replace { " REPLACE" } else { "" });
                    let same = (db, a) == (other, b);
                    let expected =
                        if same { SAME.to_owned() } else { integer(model.take((db, a), (other, b), replace, true)) };
                    (line, expected)
                }
                9 => {
                    let expected = if db == other {
                        SAME.to_owned()
                    } else {
                        integer(model.take((db, a), (other, a), false, false))
                    };
                    (format!("MOVE k{a} {other}"), expected)
                }
                10 if step % 5 == 0 => {
                    model.entries = core::mem::take(&mut model.entries)
                        .into_iter()
                        .map(|((at, key), entry)| {
                            let at = if at == db {
                                other
                            } else if at == other {
                                db
                            } else {
                                at
                            };
                            ((at, key), entry)
                        })
                        .collect();
                    (format!("SWAPDB {db} {other}"), "+OK\r\n".to_owned())
                }
                10 if step % 17 == 0 => {
                    model.entries.retain(|(at, _), _| *at != db);
                    ("FLUSHDB".to_owned(), "+OK\r\n".to_owned())
                }
                _ => {
                    let expected = match model.entries.get(&(db, a)) {
                        Some((value, _)) => format!("${}\r\nv{value}\r\n", format!("v{value}").len()),
                        None => "$-1\r\n".to_owned(),
                    };
                    (format!("GET k{a}"), expected)
                }
            };
            assert_eq!(t.run(&line), expected, "seed {seed} step {step}: {line} in {db}");
            t.advance_ms(draw(4) as u64);
            let now = t.cx.now.0;
            model.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        }
    }
}
