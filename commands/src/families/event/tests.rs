//! Events, and what actions are made of.

use crate::testkit::Testkit;

fn live(t: &mut Testkit, keys: &str) -> String {
    t.run(&format!("MGET {keys}")).matches("$1\r\nv").count().to_string()
}

#[test]
fn events_revoke_what_they_are_mapped_to() {
    let mut t = Testkit::new();
    for line in [
        "CACHE.EVENT MAP user.updated name KEY user:{id} user:{id}:name",
        "CACHE.EVENT MAP user.updated lists PREFIX list:{team.id}:",
        "CACHE.EVENT MAP user.updated pages MATCH page:*:{id} SOFT",
        "CACHE.EVENT MAP user.updated team TAG team-{team.id} HARD",
    ] {
        assert_eq!(t.run(line), "+OK\r\n", "{line}");
    }
    t.run("MSET user:7 v user:7:name v user:8 v list:3:a v list:30:a v tagged v");
    t.run("SWR.SET page:x:7 v FRESH 1000 STALE 9000");
    t.run("SWR.TAG tagged ADD 1 team-3");
    let event = br#"{"id": 7, "team": {"id": "3"}}"#;
    assert_eq!(t.run_args(&[b"CACHE.EVENT", b"EMIT", b"user.updated", event]), ":4\r\n");
    assert_eq!(live(&mut t, "user:7 user:7:name list:3:a tagged"), "0");
    assert_eq!(live(&mut t, "user:8 list:30:a page:x:7"), "3");
    assert!(t.run("SWR.PEEK page:x:7").contains("+STALE"));
    // A mapping that a field is missing for is passed over; pairs are as good as an object.
    assert_eq!(t.run("CACHE.EVENT EMIT user.updated id 8"), ":2\r\n");
    assert_eq!(live(&mut t, "user:8"), "0");
    assert!(t.run("INFO swr").contains("\r\nevents_skipped:2\r\n"));
    assert_eq!(t.run("CACHE.EVENT EMIT unknown"), ":0\r\n");
    assert_eq!(t.run("CACHE.EVENT UNMAP user.updated team"), ":1\r\n");
    let listed = t.run("CACHE.EVENT LIST user.updated");
    assert!(
        listed.starts_with("*3\r\n*5\r\n$12\r\nuser.updated\r\n$5\r\nlists\r\n$4\r\nHARD\r\n$6\r\nPREFIX\r\n"),
        "{listed}"
    );
    assert_eq!(t.run("CACHE.EVENT UNMAP user.updated"), ":3\r\n");
    assert_eq!(t.run("CACHE.EVENT LIST"), "*0\r\n");
}

/// An empty value must not revoke everything, and a star in one no more than itself.
#[test]
fn values_never_select_more_than_they_say() {
    let mut t = Testkit::new();
    t.run("CACHE.EVENT MAP e p PREFIX {id}");
    t.run("CACHE.EVENT MAP e m MATCH k:{id}");
    t.run("MSET k:1 v k:* v other v");
    assert_eq!(t.run_args(&[b"CACHE.EVENT", b"EMIT", b"e", br#"{"id":""}"#]), ":0\r\n");
    assert_eq!(t.run_args(&[b"CACHE.EVENT", b"EMIT", b"e", br#"{"id":"*"}"#]), ":2\r\n");
    assert_eq!(live(&mut t, "k:1 k:* other"), "2");
}

#[test]
fn events_are_never_refused() {
    let mut t = Testkit::new();
    t.run("CACHE.EVENT MAP e m MATCH {id}*{id}*x");
    for n in 0..storage::limits::MAX_REVOKED_GLOBS {
        t.run(&format!("CACHE.REVOKE MATCH {n}*y"));
    }
    t.run("MSET a:a:x v a:b v b v");
    assert_eq!(t.run("CACHE.EVENT EMIT e id a"), ":1\r\n");
    assert_eq!(live(&mut t, "a:a:x a:b b"), "1");
}

#[test]
fn actions_have_paths() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET user PREFIX user:");
    t.run("MSET user:1 v user:2 v user:3:a v other v");
    assert_eq!(t.run("CACHE.ACTION user/cache/delete key 1"), ":1\r\n");
    assert_eq!(t.run_args(&[b"CACHE.ACTION", b"/user/cache/revoke", br#"{"pattern":"3:*"}"#]), ":1\r\n");
    assert_eq!(live(&mut t, "user:1 user:2 user:3:a other"), "2");
    assert_eq!(t.run("CACHE.ACTION user/cache/clear"), ":2\r\n");
    assert_eq!(live(&mut t, "user:2 other"), "1");
}

#[test]
fn misuse_is_refused() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET user PREFIX user:");
    let long = "x".repeat(129);
    for (line, error) in [
        ("CACHE.EVENT MAP e i LIKE t", "ERR syntax error"),
        ("CACHE.EVENT MAP e i KEY {", "ERR a template is text with {field} or {field.of.field}"),
        (&*format!("CACHE.EVENT MAP {long} i KEY t"), "ERR names of events and mappings have 1 to 128 bytes"),
        ("CACHE.EVENT EMIT e id", "ERR invalid JSON"),
        ("CACHE.EVENT EMIT e [1]", "ERR the event is no JSON object"),
        ("CACHE.EVENT EMIT e a b c", "ERR syntax error"),
        (
            "CACHE.ACTION user/cache/nope",
            "ERR an action is service/cache/clear, service/cache/delete or service/cache/revoke",
        ),
        (
            "CACHE.ACTION user/clear",
            "ERR an action is service/cache/clear, service/cache/delete or service/cache/revoke",
        ),
        ("CACHE.ACTION nobody/cache/clear", "NOSERVICE no such service"),
        ("CACHE.ACTION user/cache/delete", "ERR the action needs the field 'key'"),
        ("CACHE.ACTION user/cache/revoke key 1", "ERR the action needs the field 'pattern'"),
    ] {
        assert_eq!(t.error(line), error, "{line}");
    }
}

#[test]
fn what_cannot_be_understood_is_refused() {
    let mut t = Testkit::new();
    for template in [r"a\{id}".to_owned(), "*".repeat(17)] {
        let error = t.error(&format!("CACHE.EVENT MAP e m MATCH {template}"));
        assert_eq!(error, "ERR a pattern has up to 16 stars, and no escape before a field");
    }
    let broken = t.run_args(&[b"CACHE.EVENT", b"EMIT", b"e", b"id", b"\xff"]);
    assert_eq!(broken, "-ERR fields and values are UTF-8\r\n");
    // A number is as good as its text.
    t.run("CACHE.SERVICE SET s PREFIX s:");
    t.run("SET s:7 v");
    assert_eq!(t.run_args(&[b"CACHE.ACTION", b"s/cache/delete", br#"{"key":7}"#]), ":1\r\n");
}
