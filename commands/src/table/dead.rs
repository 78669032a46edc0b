//! S11 of freshness: every command on a dead entry answers as on a missing key, whatever the entry died of and whatever is
//! still kept of it.

use super::queued::request;
use super::*;
use crate::command::Flags;
use crate::testkit::{Testkit, draws};

/// Requests tried for each row and kind of death.
const TRIES: usize = 12;
const KEYS: usize = 40;

/// Ways for a key to be dead: what is done to it before and, once, to all.
const DEATHS: &[(&str, &str, &str)] = &[
    ("revoked by prefix", "SET {k} 5", "CACHE.REVOKE PREFIX k"),
    ("revoked by pattern", "SET {k} 5", "CACHE.REVOKE MATCH k*"),
    ("revoked by tag", "SWR.SET {k} 5 TAGS 1 t", "CACHE.REVOKE TAG t"),
    ("softly revoked to an end", "SET {k} 5", "CACHE.REVOKE PREFIX k SOFT STALEFOR 0"),
    ("past its deadline", "SET {k} 5 PX 1", "PING"),
    ("past its deadline, but retained", "SWR.SET {k} 5 FRESH 1 STALE 1 RETAIN 1000000", "PING"),
];

fn dead_keys(prepare: &str, then: &str) -> Testkit {
    let mut t = Testkit::new();
    for n in 0..KEYS {
        t.run(&prepare.replace("{k}", &format!("k{n}")));
    }
    t.run(then);
    t.advance_ms(10);
    t
}

/// The same for keys that are known not to exist.
fn absent_keys() -> Testkit {
    let mut t = Testkit::new();
    for n in 0..KEYS {
        let reply = t.run(&format!("SWR.GET k{n}"));
        let token = reply.split("\r\n").nth(4).expect("a token").to_owned();
        assert_eq!(t.run(&format!("SWR.FILL k{n} {token} NIL FRESH 1000000")), "+OK\r\n");
    }
    t.advance_ms(10);
    t
}

#[test]
fn dead_is_missing() {
    // What looks at memory, or at how fresh a key is, and what draws, is told apart elsewhere.
    let is_meant = |row: &&Command| {
        let about_inside = ["object", "memory", "debug", "swr", "cache"].iter().any(|word| row.name.starts_with(word));
        row.keys.first > 0 && !about_inside && !row.flags.has(Flags::ADMIN)
    };
    let rows: Vec<&Command> = all().filter(is_meant).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for kind in 0..=DEATHS.len() {
        for (number, row) in rows.iter().enumerate() {
            let (what, mut dead) = match DEATHS.get(kind) {
                Some((what, prepare, then)) => (*what, dead_keys(prepare, then)),
                None => ("known not to exist", absent_keys()),
            };
            let mut missing = Testkit::new();
            missing.cx = dead.cx;
            let mut draw = draws(number as u64 * 100 + kind as u64);
            for _ in 0..TRIES {
                let words = request(row, &mut draw);
                let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
                assert_eq!(
                    dead.run_args(&words),
                    missing.run_args(&words),
                    "{what}: {}",
                    words.join(&b' ').escape_ascii()
                );
                assert_eq!(dead.run("KEYS *").len(), missing.run("KEYS *").len(), "{what}: {}", row.name);
            }
        }
    }
}
