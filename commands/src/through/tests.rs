//! Writes that go through: what is left here, whatever the origin says and whoever else writes.

use super::Written;
use crate::testkit::Testkit;

const ONLY: &str = "ERR this key is written through";

fn kit() -> (Testkit, usize, usize) {
    let mut t = Testkit::new();
    *t.shell.writes.lock() = Some(Vec::new());
    t.run("CACHE.SERVICE SET s PREFIX s: WRITE through ORIGIN http://origin.test/{key} FRESH 1000 STALE 5000");
    t.run("SET other 1");
    let (one, two) = (t.connect(), t.connect());
    (t, one, two)
}

fn asked(t: &Testkit) -> usize {
    t.shell.writes.lock().as_ref().unwrap().len()
}

#[test]
fn a_value_is_stored_after_the_origin_took_it() {
    let (mut t, one, _) = kit();
    for (line, text, ttl_ms) in
        [("SET s:1 v", "v", -1), ("SET s:1 w PX 900", "w", 900), ("SWR.SET s:1 x FRESH 10 TAGS 1 t", "x", 5000)]
    {
        assert_eq!(t.on(one).run(line), "", "{line}");
        let job = t.written(Written::Done);
        assert_eq!((job.own_key(), job.value.as_deref()), (&b"1"[..], Some(text.as_bytes())));
        assert_eq!(t.settle(), [(one, "+OK\r\n".to_owned())]);
        assert_eq!(t.run("GET s:1"), format!("${}\r\n{text}\r\n", text.len()));
        assert_eq!(t.run("PTTL s:1"), format!(":{ttl_ms}\r\n"), "{line}");
    }
    assert_eq!(t.run("SWR.TAG s:1 HAS 1 t"), ":1\r\n");
    assert_eq!(t.on(one).run("DEL s:1"), "");
    t.written(Written::Done);
    assert_eq!((t.settle(), t.run("EXISTS s:1")), (vec![(one, ":1\r\n".to_owned())], ":0\r\n".to_owned()));
}

#[test]
fn whatever_comes_of_it_no_old_value_stays() {
    for (written, kept, told) in [
        (Written::Status(422), true, "422"),
        (Written::Unsent, true, "unreachable"),
        (Written::Status(500), false, "500"),
        (Written::Status(408), false, "408"),
        (Written::Status(302), false, "302"),
        (Written::Unknown, false, "unknown"),
    ] {
        let (mut t, one, _) = kit();
        t.run("SET s:1 old");
        t.written(Written::Done);
        t.settle();
        t.on(one).run("SET s:1 new");
        t.written(written);
        assert_eq!(t.settle(), [(one, format!("-ORIGIN {told}\r\n"))]);
        assert_eq!(t.run("EXISTS s:1"), format!(":{}\r\n", u8::from(kept)), "{written:?}");
    }
    // None takes writes: nothing was changed anywhere.
    let (mut t, one, _) = kit();
    *t.shell.writes.lock() = None;
    t.on(one).run("SET s:1 new");
    assert_eq!(t.settle(), [(one, "-ORIGIN unreachable\r\n".to_owned())]);
}

/// The origin has taken one and then two; that the first one's connection runs later changes nothing.
#[test]
fn what_the_origin_took_last_is_what_stays() {
    let (mut t, one, two) = kit();
    t.on(one).run("SET s:1 first");
    t.on(two).run("SET s:1 second");
    t.written(Written::Done);
    t.written(Written::Done);
    t.settle();
    assert_eq!(t.run("GET s:1"), "$6\r\nsecond\r\n");
    // However many there are, the last one is stored, and no place stays taken.
    let three = t.connect();
    for (connection, text) in [(one, "a"), (two, "b"), (three, "c")] {
        t.on(connection).run(&format!("SET s:1 {text}"));
    }
    (0..3).for_each(|_| drop(t.written(Written::Done)));
    t.settle();
    t.run("SWR.GET s:2");
    t.on(one).run("DEL s:1");
    t.written(Written::Done);
    t.settle();
    assert!(t.run("SWR.GET s:1").starts_with("*4\r\n+MISS\r\n$-1\r\n$24\r\n"));
    // Nor over a deletion, a revoke, or when the connection has waited for too long.
    for meanwhile in ["DEL s:1", "CACHE.REVOKE PREFIX s:", "FLUSHALL", ""] {
        t.on(one).run("SET s:1 first");
        t.written(Written::Done);
        match meanwhile {
            "DEL s:1" => {
                t.on(two).run(meanwhile);
                t.written(Written::Done);
            }
            "" => t.advance_ms(10_000),
            other => drop(t.on(two).run(other)),
        }
        t.settle();
        assert_eq!(t.run("EXISTS s:1"), ":0\r\n", "{meanwhile}");
    }
}

#[test]
fn what_is_wrong_or_conditional_is_not_sent() {
    let (mut t, one, _) = kit();
    for line in [
        "SET s:1 v NX",
        "SET s:1 v XX",
        "SET s:1 v GET",
        "SET s:1 v KEEPTTL",
        "SWR.SET s:1 v IFVER 1",
        "SWR.SET s:1 v GET",
        "INCR s:1",
        "COPY other s:1",
        "RENAME other s:1",
        "DEL s:1 s:2",
    ] {
        let error = t.on(one).error(line);
        assert!(error.starts_with(ONLY), "{line}: {error}");
    }
    for (line, error) in [
        ("SET s:1 v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET s:1 v EX", "ERR syntax error"),
        ("SETEX s:1 x v", "ERR value is not an integer or out of range"),
        ("SWR.SET s:1 v FRESH 9 STALE 8", "ERR windows out of order"),
    ] {
        assert_eq!(t.on(one).error(line), error, "{line}");
    }
    // From another database, by all ways there are.
    t.run("SELECT 1");
    t.run("SET s:1 v");
    t.run("SET other 1");
    for line in ["COPY other s:1 DB 0", "MOVE s:1 0"] {
        let error = t.error(line);
        assert!(error.starts_with(ONLY), "{line}: {error}");
    }
    assert_eq!(asked(&t), 0);
}

#[test]
fn what_was_queued_before_is_refused_when_it_runs() {
    let mut t = Testkit::new();
    *t.shell.writes.lock() = Some(Vec::new());
    let other = t.connect();
    t.on(0).run("MULTI");
    t.run("SET s:1 v");
    t.run("SET t:1 v");
    t.on(other).run("CACHE.SERVICE SET s PREFIX s: WRITE through ORIGIN http://origin.test/{key}");
    let replies = t.on(0).run("EXEC");
    assert!(replies.starts_with(&format!("*2\r\n-{ONLY}")) && replies.ends_with("+OK\r\n"), "{replies}");
    assert_eq!((asked(&t), t.run("EXISTS s:1")), (0, ":0\r\n".to_owned()));
}
