//! CACHE.REVOKE: what is absent afterwards, and what is refused.

use crate::testkit::Testkit;

fn kit(keys: &[&str]) -> Testkit {
    let mut t = Testkit::new();
    for key in keys {
        t.run(&format!("SET {key} v"));
    }
    t
}

#[test]
fn groups_are_absent_at_once() {
    let keys = ["user:1", "user:2", "user:10:name", "team:1", "other"];
    let cases = [
        ("KEY user:1", ":0\r\n", vec!["user:1"]),
        ("PREFIX user:", ":1\r\n", vec!["user:1", "user:2", "user:10:name"]),
        ("MATCH *:1", ":1\r\n", vec!["user:1", "team:1"]),
        ("MATCH user:*:name HARD", ":1\r\n", vec!["user:10:name"]),
        ("PREFIX user:1 PREFIX team: KEY other", ":2\r\n", vec!["user:1", "user:10:name", "team:1", "other"]),
        ("ALL", ":0\r\n", keys.to_vec()),
        ("prefix nothing", ":1\r\n", vec![]),
    ];
    for (selectors, epoch, gone) in cases {
        let mut t = kit(&keys);
        assert_eq!(t.run(&format!("CACHE.REVOKE {selectors}")), epoch, "{selectors}");
        for key in keys {
            let expected = if gone.contains(&key) { "$-1\r\n" } else { "$1\r\nv\r\n" };
            assert_eq!(t.run(&format!("GET {key}")), expected, "{key} after {selectors}");
        }
        // Written again, it stays.
        t.run("SET user:1 again");
        assert_eq!(t.run("GET user:1"), "$5\r\nagain\r\n", "{selectors}");
    }
}

#[test]
fn every_way_to_a_revoked_key_finds_nothing() {
    for (command, reply) in [
        ("EXISTS a:1", ":0\r\n"),
        ("TYPE a:1", "+none\r\n"),
        ("TTL a:1", ":-2\r\n"),
        ("STRLEN a:1", ":0\r\n"),
        ("MGET a:1 b", "*2\r\n$-1\r\n$1\r\n1\r\n"),
        ("DEL a:1", ":0\r\n"),
        ("SET a:1 x XX", "$-1\r\n"),
        ("SET a:1 x NX", "+OK\r\n"),
        ("INCR a:1", ":1\r\n"),
        ("APPEND a:1 xy", ":2\r\n"),
        ("EXPIRE a:1 100", ":0\r\n"),
        ("PERSIST a:1", ":0\r\n"),
        ("GETDEL a:1", "$-1\r\n"),
        ("COPY a:1 c", ":0\r\n"),
        ("RENAMENX b a:1", ":1\r\n"),
        ("KEYS *", "*1\r\n$1\r\nb\r\n"),
        ("RANDOMKEY", "$1\r\nb\r\n"),
        ("TOUCH a:1", ":0\r\n"),
    ] {
        let mut t = kit(&[]);
        t.run("SET a:1 9");
        t.run("SET b 1");
        t.run("CACHE.REVOKE PREFIX a:");
        assert_eq!(t.run(command), reply, "{command}");
    }
}

#[test]
fn databases_are_apart() {
    let mut t = kit(&["a:1"]);
    t.run("SELECT 1");
    t.run("SET a:1 v");
    t.run("CACHE.REVOKE PREFIX a:");
    assert_eq!(t.run("EXISTS a:1"), ":0\r\n");
    t.run("SELECT 0");
    assert_eq!(t.run("EXISTS a:1"), ":1\r\n");
    // The record is of the table, wherever SWAPDB shows it.
    t.run("SWAPDB 0 1");
    assert_eq!(t.run("EXISTS a:1"), ":0\r\n");
}

#[test]
fn a_watched_key_that_is_revoked_has_changed() {
    let mut t = kit(&["a:1"]);
    t.run("WATCH a:1");
    t.run("CACHE.REVOKE MATCH a*");
    t.run("MULTI");
    t.run("SET b 1");
    assert_eq!(t.run("EXEC"), "*-1\r\n");
}

#[test]
fn a_transaction_revokes_in_its_order() {
    let mut t = kit(&["a:1", "a:2"]);
    t.run("MULTI");
    for command in ["SET a:3 v", "CACHE.REVOKE PREFIX a:", "EXISTS a:1 a:2 a:3", "SET a:2 new", "EXISTS a:2"] {
        assert_eq!(t.run(command), "+QUEUED\r\n");
    }
    assert_eq!(t.run("EXEC"), "*5\r\n+OK\r\n:1\r\n:0\r\n+OK\r\n:1\r\n");
    assert_eq!(t.run("MGET a:1 a:2"), "*2\r\n$-1\r\n$3\r\nnew\r\n");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_revoked() {
    let mut t = kit(&["a:1"]);
    let stars = format!("CACHE.REVOKE MATCH a{}", "*x".repeat(17));
    let long = format!("CACHE.REVOKE MATCH {}", "a".repeat(1025));
    let prefix = format!("CACHE.REVOKE ALL KEY a:1 PREFIX a PREFIX {}", "a".repeat(1025));
    let cases = [
        ("CACHE.REVOKE HARD", "ERR syntax error"),
        ("CACHE.REVOKE PREFIX", "ERR syntax error"),
        ("CACHE.REVOKE KEY a:1 SOFT STALEFOR", "ERR syntax error"),
        ("CACHE.REVOKE KEY a:1 HARD KEY b", "ERR syntax error"),
        ("CACHE.REVOKE TAGS 2 x", "ERR syntax error"),
        ("CACHE.REVOKE TAGS 0", "ERR syntax error"),
        ("CACHE.REVOKE TAGS x y", "ERR value is not an integer or out of range"),
        ("CACHE.REVOKE TAGS 65 y", "ERR too many tags"),
        ("CACHE.REVOKE MATCH *", "ERR a selector of every key is written ALL"),
        ("CACHE.REVOKE MATCH **", "ERR a selector of every key is written ALL"),
        (&stars, "ERR pattern too complex"),
        (&long, "ERR pattern too complex"),
        (&prefix, "ERR pattern too complex"),
    ];
    for (line, error) in cases {
        assert_eq!(t.error(line), error, "{line}");
    }
    assert_eq!(t.run_args(&[b"CACHE.REVOKE", b"PREFIX", b""]), "-ERR a selector of every key is written ALL\r\n");
    assert_eq!(t.run("EXISTS a:1"), ":1\r\n");
}

#[test]
fn a_full_log_says_so() {
    let mut t = kit(&["a:1"]);
    t.run("CONFIG SET revoke-overflow reject");
    for n in 0..storage::limits::MAX_REVOKED_GLOBS {
        assert!(t.run(&format!("CACHE.REVOKE MATCH {n}*")).starts_with(':'));
    }
    assert!(t.error("CACHE.REVOKE PREFIX a: MATCH a* ALL").starts_with("BUSYREVOKE"));
    assert_eq!(
        t.error("CACHE.REVOKE MATCH a*"),
        "BUSYREVOKE too many groups were revoked that are still being swept: try again soon"
    );
    assert_eq!(t.run("EXISTS a:1"), ":1\r\n");
    // By default more is revoked than was asked for, rather than nothing.
    t.run("CONFIG SET revoke-overflow widen");
    t.run("MSET a:2:x v b:2 v");
    assert!(t.run("CACHE.REVOKE MATCH a:*:x").starts_with(':'));
    assert_eq!(t.run("EXISTS a:1 a:2:x b:2"), ":1\r\n");
    assert!(t.run("INFO swr").contains("\r\nrevokes_widened:1\r\n"));
    assert!(t.error("CACHE.REVOKE MATCH *2").starts_with("BUSYREVOKE"));
}
