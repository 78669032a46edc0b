//! SCAN and KEYS, whole and in slices.

use crate::effect::SLICE_KEYS;
use crate::testkit::{Testkit, draws};
use std::collections::{BTreeMap, BTreeSet};

/// The bulk strings of a reply; ours never begin with a type byte.
fn bulks(reply: &str) -> Vec<String> {
    reply.lines().filter(|line| !line.starts_with(['*', '$', ':', '+', '-'])).map(str::to_owned).collect()
}

/// Cursor and keys of a SCAN.
fn scan(t: &mut Testkit, line: &str) -> (u64, Vec<String>) {
    let reply = t.run(line);
    assert!(reply.starts_with("*2\r\n$"), "{line}: {reply:?}");
    let mut bulks = bulks(&reply);
    let cursor = bulks.remove(0).parse().expect("a decimal cursor");
    assert!(reply.contains(&format!("\r\n*{}\r\n", bulks.len())), "{line}: {reply:?}");
    (cursor, bulks)
}

/// All keys a whole SCAN returns, in order; `meanwhile` runs between its calls.
fn scan_all(t: &mut Testkit, options: &str, mut meanwhile: impl FnMut(&mut Testkit)) -> Vec<String> {
    let (mut cursor, mut all) = (0, Vec::new());
    loop {
        let (next, keys) = scan(t, &format!("SCAN {cursor} {options}"));
        assert!(next <= 1 << 62);
        all.extend(keys);
        if next == 0 {
            return all;
        }
        cursor = next;
        meanwhile(t);
    }
}

fn fill(t: &mut Testkit, prefix: &str, keys: usize) {
    for n in 0..keys {
        t.run_args(&[b"SET", format!("{prefix}{n}").as_bytes(), b"v"]);
    }
}

#[test]
fn keys_that_stay_come_exactly_once() {
    for seed in 0..6 {
        let mut t = Testkit::new();
        let mut draw = draws(seed);
        fill(&mut t, "stay", 700);
        fill(&mut t, "go", 700);
        let (mut added, count) = (0, 1 + draw(60));
        let found = scan_all(&mut t, &format!("COUNT {count}"), |t| {
            for _ in 0..20 {
                t.run(&format!("DEL go{}", draw(700)));
                t.run(&format!("SET new{added} v"));
                added += 1;
            }
        });
        let mut times = BTreeMap::new();
        for key in &found {
            *times.entry(key.as_str()).or_insert(0) += 1;
        }
        assert!(times.values().all(|n| *n == 1), "seed {seed} count {count}: a key came twice");
        let stayed = times.keys().filter(|key| key.starts_with("stay")).count();
        assert_eq!(stayed, 700, "seed {seed} count {count}");
    }
}

#[test]
fn keys_and_scan_find_the_same() {
    let mut t = Testkit::new();
    fill(&mut t, "user:", 3_000);
    fill(&mut t, "item:", 100);
    for n in 0..500 {
        t.run(&format!("SET dead:{n} v PX 1"));
    }
    t.advance_ms(1);
    for (pattern, count) in [
        ("*", 3_100),
        ("user:1*", 1_111),
        ("*:7", 2),
        ("item:[0-4]?", 40),
        ("dead:*", 0),
        ("nothing*", 0),
        ("item:7", 1),
    ] {
        let keys = bulks(&t.run(&format!("KEYS {pattern}")));
        let unique: BTreeSet<_> = keys.iter().cloned().collect();
        assert_eq!((keys.len(), unique.len()), (count, count), "{pattern}");
        for options in ["", "COUNT 1", "COUNT 100", "COUNT 100000"] {
            let scanned = scan_all(&mut t, &format!("MATCH {pattern} {options}"), |_| ());
            assert_eq!(scanned.len(), count, "{pattern} {options}");
            assert_eq!(scanned.into_iter().collect::<BTreeSet<_>>(), unique, "{pattern} {options}");
        }
    }
}

#[test]
fn long_walks_go_in_slices() {
    let mut t = Testkit::new();
    let keys = 5 * SLICE_KEYS;
    fill(&mut t, "k", keys);
    assert_eq!(bulks(&t.run("KEYS *")).len(), keys);
    assert!((3..=8).contains(&t.slices), "{}", t.slices);
    let (cursor, found) = scan(&mut t, &format!("SCAN 0 COUNT {}", 3 * SLICE_KEYS));
    assert!(cursor != 0 && found.len() >= 3 * SLICE_KEYS && found.len() < keys, "{}", found.len());
    assert_eq!(t.slices, 2);
    let (_, found) = scan(&mut t, "SCAN 0 COUNT 100 MATCH nothing*");
    assert_eq!((found.len(), t.slices), (0, 0), "a filter does not make a call longer");

    t.run("MULTI");
    t.run("KEYS *");
    t.run("SCAN 0 COUNT 4000");
    let reply = t.run("EXEC");
    assert_eq!(t.slices, 0, "whole in a transaction");
    assert!(reply.starts_with(&format!("*2\r\n*{keys}\r\n$")), "{}", &reply[..40]);
}

#[test]
fn a_pattern_without_wildcards_is_one_look_up() {
    let mut t = Testkit::new();
    fill(&mut t, "k", 3 * SLICE_KEYS);
    t.run("SET a*b v");
    assert_eq!(t.run("KEYS k7"), "*1\r\n$2\r\nk7\r\n");
    assert_eq!(t.run(r"KEYS 'a\*b'"), "*1\r\n$3\r\na*b\r\n");
    assert_eq!(t.run("KEYS nokey"), "*0\r\n");
    assert_eq!(t.slices, 0);
    assert_eq!(t.resp3().run("KEYS nokey"), "*0\r\n");
}

#[test]
fn types_filter() {
    let mut t = Testkit::new();
    fill(&mut t, "k", 20);
    assert_eq!(scan_all(&mut t, "TYPE string", |_| ()).len(), 20);
    assert_eq!(scan_all(&mut t, "type STRING count 3", |_| ()).len(), 20);
    assert_eq!(scan_all(&mut t, "TYPE hash", |_| ()).len(), 0);
    assert_eq!(scan_all(&mut t, "TYPE nosuch", |_| ()).len(), 0);
    assert_eq!(scan_all(&mut t, "TYPE string MATCH k1? COUNT 1000", |_| ()).len(), 10);
}

#[test]
fn scans_stay_in_their_database() {
    let mut t = Testkit::new();
    fill(&mut t, "zero", 30);
    t.session().db = storage::Db(7);
    fill(&mut t, "seven", 20);
    assert_eq!(scan_all(&mut t, "", |_| ()).len(), 20);
    assert_eq!(bulks(&t.run("KEYS *")).len(), 20);
}

#[test]
fn what_scan_refuses() {
    let mut t = Testkit::new();
    for cursor in ["x", "1x", "-1x", "18446744073709551616", "''", "' 1'"] {
        assert_eq!(t.error(&format!("SCAN {cursor}")), "ERR invalid cursor", "{cursor}");
    }
    for options in ["COUNT", "MATCH", "x", "x y", "COUNT 0", "COUNT -1", "MATCH a COUNT"] {
        assert_eq!(t.error(&format!("SCAN 0 {options}")), "ERR syntax error", "{options}");
    }
    assert_eq!(t.error("SCAN 0 COUNT x"), "ERR value is not an integer or out of range");
    assert_eq!(t.error("SCAN"), "ERR wrong number of arguments for 'scan' command");
    assert_eq!(t.run("SCAN 0"), "*2\r\n$1\r\n0\r\n*0\r\n");
    assert_eq!(t.run("SCAN 18446744073709551615 COUNT 9223372036854775807"), "*2\r\n$1\r\n0\r\n*0\r\n");
}
