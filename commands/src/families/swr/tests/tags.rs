//! SWR.TAG, and revokes by tag.

use crate::testkit::Testkit;

#[test]
fn tags_are_added_taken_away_and_counted() {
    let mut t = Testkit::new();
    t.run("SET k v");
    assert_eq!(t.run("SWR.TAG k ADD 2 a b"), ":2\r\n");
    assert_eq!(t.run("SWR.TAG k ADD 3 b b c"), ":3\r\n");
    assert_eq!(t.run("SWR.TAG k HAS 3 a c x"), ":2\r\n");
    assert_eq!(t.run("SWR.TAG k REM 2 a x"), ":2\r\n");
    assert_eq!(t.run("SWR.TAG k SET 1 z"), ":1\r\n");
    assert_eq!(t.run("SWR.TAG k HAS 2 z b"), ":1\r\n");
    assert_eq!(t.run("GET k"), "$1\r\nv\r\n");
    assert_eq!((t.run("SWR.TAG none ADD 1 a"), t.run("EXISTS none")), (":0\r\n".into(), ":0\r\n".into()));
}

#[test]
fn a_revoked_tag_takes_its_keys_along() {
    let mut t = Testkit::new();
    for (key, tags) in [("k1", "2 a b"), ("k2", "1 a"), ("k3", "2 b c"), ("k4", "1 d")] {
        t.run(&format!("SET {key} v"));
        t.run(&format!("SWR.TAG {key} SET {tags}"));
    }
    assert_eq!(t.run("CACHE.REVOKE TAGS 2 a b"), ":1\r\n");
    assert_eq!(t.run("EXISTS k1"), ":0\r\n");
    assert_eq!(t.run("EXISTS k2 k3 k4"), ":3\r\n");
    assert_eq!(t.run("CACHE.REVOKE TAG b TAG nobody"), ":3\r\n");
    assert_eq!(t.run("EXISTS k2 k3 k4"), ":2\r\n");
    // What is tagged after the revoke stays.
    t.run("SET k1 new");
    t.run("SWR.TAG k1 ADD 1 b");
    assert_eq!(t.run("GET k1"), "$3\r\nnew\r\n");
    t.run("CACHE.REVOKE TAG b");
    assert_eq!(t.run("EXISTS k1"), ":0\r\n");
}

#[test]
fn edits_keep_tags_and_writes_drop_them() {
    for (command, gone) in [
        ("APPEND k x", true),
        ("INCRBYFLOAT k 1.5", true),
        ("INCR k", true),
        ("EXPIRE k 100", true),
        ("SETRANGE k 0 7", true),
        ("SET k 8", false),
        ("GETSET k 8", false),
        ("MSET k 8 l 9", false),
        ("RENAME k m", false),
    ] {
        let mut t = Testkit::new();
        t.run("SET k 5");
        t.run("SWR.TAG k SET 1 a");
        t.run(command);
        t.run("CACHE.REVOKE TAG a");
        assert_eq!(t.run("EXISTS k m"), if gone { ":0\r\n" } else { ":1\r\n" }, "{command}");
    }
}

#[test]
fn misuse_is_refused() {
    let mut t = Testkit::new();
    t.run("SET k v");
    for (line, error) in [
        ("SWR.TAG k ADD 2 a", "ERR syntax error"),
        ("SWR.TAG k ADD 1 a b", "ERR syntax error"),
        ("SWR.TAG k ADD -1 a", "ERR syntax error"),
        ("SWR.TAG k PUT 1 a", "ERR syntax error"),
        ("SWR.TAG k ADD x a", "ERR value is not an integer or out of range"),
    ] {
        assert_eq!(t.error(line), error, "{line}");
    }
    let many = |from: usize, count: usize| (from..from + count).map(|n| format!(" t{n}")).collect::<String>();
    assert_eq!(t.run(&format!("SWR.TAG k ADD 64{}", many(0, 64))), ":64\r\n");
    assert_eq!(t.error(&format!("SWR.TAG k ADD 1{}", many(64, 1))), "ERR too many tags");
    assert_eq!(t.run(&format!("SWR.TAG k HAS 64{}", many(0, 64))), ":64\r\n");
}
