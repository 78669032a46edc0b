//! What becomes of answers, and what revokes and writes meanwhile make of them.

use super::*;

#[test]
fn writes_beat_loads() {
    let mut t = Testkit::new();
    // SET A, SET B, SET A: the value is the same, the load is older all the same.
    t.run("SET k A");
    let token = token(&mut t, "SWR.GET k FORCE");
    let waiter = t.connect();
    t.on(waiter).run("SWR.GET k FORCE MAXSTALE 0 SOFT 500");
    t.on(0).run("SET k B");
    assert_eq!(t.settle(), [(waiter, "*4\r\n+FILLED\r\n$1\r\nB\r\n$-1\r\n:-1\r\n".to_owned())]);
    t.run("SET k A");
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE old")), "+SUPERSEDED\r\n");
    assert_eq!(t.run("GET k"), "$1\r\nA\r\n");
    for write in ["INCR n", "APPEND n x", "GETSET n 1", "MSET n 1", "SETRANGE n 0 x", "SWR.SET n 1", "COPY k n"] {
        let mut t = Testkit::new();
        t.run("SET k 5");
        let token = self::token(&mut t, "SWR.GET n");
        t.run(write);
        let value = t.run("GET n");
        assert_eq!(t.run(&format!("SWR.FILL n {token} VALUE old")), "+SUPERSEDED\r\n", "{write}");
        assert_eq!(t.run("GET n"), value);
    }
    for keeps in ["EXPIRE n 100", "PERSIST n", "SWR.TAG n ADD 1 t", "TOUCH n", "GET n"] {
        let mut t = Testkit::new();
        t.run("SWR.SET n 1 FRESH 0 STALE 1000");
        let token = self::token(&mut t, "SWR.GET n");
        t.run(keeps);
        assert_eq!(t.run(&format!("SWR.FILL n {token} VALUE new")), "+OK\r\n", "{keeps}");
    }
}

#[test]
fn deletions_doom_loads_even_of_absent_keys() {
    for delete in ["DEL k", "UNLINK k", "GETDEL k", "FLUSHDB", "FLUSHALL", "CACHE.REVOKE KEY k", "CACHE.REVOKE ALL"] {
        let mut t = Testkit::new();
        let token = token(&mut t, "SWR.GET k");
        let (early, late) = (t.connect(), t.connect());
        t.on(early).run("SWR.GET k WAIT 1000");
        t.on(0).run(delete);
        // Who comes afterwards never joins that load.
        let second = self::token(t.on(0), "SWR.GET k");
        t.on(late).run("SWR.GET k WAIT 1000");
        // Two run already.
        assert_eq!(t.on(0).run(&format!("SWR.FILL k {token} VALUE old")), "+REVOKED\r\n", "{delete}");
        assert_eq!(t.settle(), [(early, "*4\r\n+FILLED\r\n$3\r\nold\r\n$-1\r\n:0\r\n".to_owned())], "{delete}");
        assert_eq!(t.run("GET k"), "$-1\r\n");
        assert_eq!(t.on(0).run(&format!("SWR.FILL k {second} VALUE new")), "+OK\r\n");
        assert_eq!(t.settle(), [(late, "*4\r\n+FILLED\r\n$3\r\nnew\r\n$-1\r\n:-1\r\n".to_owned())], "{delete}");
    }
}

/// By tag, prefix and pattern: the tags that count are those of the answer.
#[test]
fn group_revokes_during_a_load() {
    for (revoke, word) in [
        ("CACHE.REVOKE TAG t", "REVOKED"),
        ("CACHE.REVOKE TAGS 2 t u", "REVOKED"),
        ("CACHE.REVOKE TAG other", "OK"),
        ("CACHE.REVOKE PREFIX ke", "REVOKED"),
        ("CACHE.REVOKE MATCH k*y", "REVOKED"),
        ("CACHE.REVOKE MATCH kez", "OK"),
        ("CACHE.REVOKE TAG t SOFT", "STALE"),
        ("CACHE.REVOKE PREFIX ke SOFT STALEFOR 50", "STALE"),
        ("CACHE.REVOKE KEY key SOFT", "STALE"),
        ("CACHE.REVOKE ALL SOFT", "STALE"),
    ] {
        for sweep in [false, true] {
            let mut t = Testkit::new();
            let token = token(&mut t, "SWR.GET key");
            t.run(revoke);
            if sweep {
                t.tick();
            }
            let fill = format!("SWR.FILL key {token} VALUE v FRESH 1000 STALE 5000 TAGS 2 t u");
            assert_eq!(t.run(&fill), format!("+{word}\r\n"), "{revoke}");
            let state = ask(&mut t, "SWR.PEEK key").state;
            let expected = match word {
                "OK" => "HIT",
                "STALE" => "STALE",
                _ => "MISS",
            };
            assert_eq!(state, expected, "{revoke}");
        }
    }
}

#[test]
fn soft_revokes_make_stale() {
    for revoke in ["TAG t", "PREFIX ke", "MATCH k?y", "KEY key", "ALL", "TAGS 1 t"] {
        for sweep in [false, true] {
            let mut t = Testkit::new();
            t.run("SWR.SET key v FRESH 1000 STALE 5000 TAGS 1 t");
            t.run("SET keys plain");
            t.run(&format!("CACHE.REVOKE {revoke} SOFT STALEFOR 300"));
            if sweep {
                t.tick();
            }
            t.advance_ms(100);
            assert_eq!(told(&mut t, "SWR.PEEK key"), is("STALE", Some("v"), false, 200), "{revoke} {sweep}");
            assert_eq!(t.run("PTTL key"), ":200\r\n");
            let token = token(&mut t, "SWR.GET key");
            assert_eq!(t.run(&format!("SWR.FILL key {token} VALUE w FRESH 1000 TAGS 1 t")), "+OK\r\n");
            t.tick();
            assert_eq!(told(&mut t, "SWR.PEEK key"), is("HIT", Some("w"), false, 1000));
            t.advance_ms(200);
            assert_eq!(
                t.run("EXISTS keys"),
                if revoke == "PREFIX ke" || revoke == "ALL" { ":0\r\n" } else { ":1\r\n" }
            );
        }
    }
}

#[test]
fn answers_that_there_is_nothing() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k");
    let waiter = t.connect();
    t.on(waiter).run("SWR.GET k WAIT 1000");
    assert_eq!(t.on(0).run(&format!("SWR.FILL k {token} NIL FRESH 100")), "+OK\r\n");
    assert_eq!(t.settle(), [(waiter, "*4\r\n+NEG\r\n$-1\r\n$-1\r\n:100\r\n".to_owned())]);
    assert_eq!(told(&mut t, "SWR.GET k"), is("NEG", None, false, 100));
    assert_eq!(t.run("EXISTS k"), ":0\r\n");
    assert_eq!(t.run("SET k v NX"), "+OK\r\n");
    assert_eq!(told(&mut t, "SWR.GET k").0, "HIT");
    let mut t = Testkit::new();
    let token = self::token(&mut t, "SWR.GET k");
    t.run(&format!("SWR.FILL k {token} NIL"));
    t.advance_ms(4999);
    t.tick();
    assert_eq!(told(&mut t, "SWR.GET k"), is("NEG", None, false, 1));
    // A revoke of any kind ends it.
    t.run("CACHE.REVOKE KEY k SOFT");
    assert_eq!(told(&mut t, "SWR.GET k").0, "MISS");
}

#[test]
fn values_that_must_not_be_stored() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k");
    let waiters: Vec<usize> = (0..3).map(|_| t.connect()).collect();
    waiters.iter().for_each(|waiter| assert_eq!(t.on(*waiter).run("SWR.GET k WAIT 1000"), ""));
    assert_eq!(t.on(0).run(&format!("SWR.FILL k {token} NOSTORE PASS 200")), "+OK\r\n");
    let replies = t.settle();
    assert_eq!(replies.len(), 3);
    replies.iter().for_each(|(_, reply)| assert_eq!(reply, "*4\r\n+PASS\r\n$-1\r\n$-1\r\n:200\r\n"));
    assert_eq!(told(&mut t, "SWR.GET k"), is("PASS", None, false, 200));
    t.advance_ms(200);
    assert_eq!(told(&mut t, "SWR.GET k").0, "MISS");
}

#[test]
fn unchanged_copies_are_confirmed() {
    let mut t = Testkit::new();
    t.run("SWR.SET k v FRESH 100 STALE 200 RETAIN 1000 TAGS 1 t ETAG e");
    t.advance_ms(500);
    let token = token(&mut t, "SWR.GET k");
    assert_eq!(t.run(&format!("SWR.FILL k {token} SAME FRESH 100 STALE 1000")), "+OK\r\n");
    assert_eq!(told(&mut t, "SWR.GET k"), is("HIT", Some("v"), false, 100));
    assert_eq!(t.run("SWR.TAG k HAS 1 t"), ":1\r\n");
    assert!(t.run("SWR.META k").contains("etag\r\n$1\r\ne\r\n"));
    // A hard revoke during the load: the copy must not come back, its body is to be loaded.
    t.advance_ms(100);
    let token = self::token(&mut t, "SWR.GET k");
    t.run("CACHE.REVOKE TAG t");
    assert_eq!(t.run(&format!("SWR.FILL k {token} SAME")), "+GONE\r\n");
    assert_eq!(t.run("EXISTS k"), ":0\r\n");
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE w TAGS 1 t")), "+OK\r\n");
    assert_eq!(told(&mut t, "SWR.GET k").1.as_deref(), Some("w"));
}

#[test]
fn what_has_no_room_is_given_to_those_who_wait() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k");
    let waiter = t.connect();
    t.on(waiter).run("SWR.GET k WAIT 1000");
    t.store.memory().set_limit(1);
    let reply = t.on(0).run(&format!("SWR.FILL k {token} VALUE v"));
    assert_eq!(reply, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_eq!(t.settle(), [(waiter, "*4\r\n+FILLED\r\n$1\r\nv\r\n$-1\r\n:0\r\n".to_owned())]);
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE v")), "+NOLEASE\r\n");
    t.store.memory().set_limit(0);
}

/// A value that is not to be kept at all is a deletion: what is being loaded meanwhile is older.
#[test]
fn writes_without_a_life_beat_loads_too() {
    for write in ["SWR.SET k new STALE 0", "SET k new PXAT 1", "PEXPIRE k -1"] {
        let mut t = Testkit::new();
        t.run("SET k v");
        let token = token(&mut t, "SWR.GET k FORCE");
        t.run(write);
        assert_eq!(t.run("EXISTS k"), ":0\r\n", "{write}");
        assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE old")), "+REVOKED\r\n", "{write}");
        assert_eq!(t.run("EXISTS k"), ":0\r\n", "{write}");
    }
}

/// By default an entry is served for as long as it would have been stale anyway.
#[test]
fn soft_revokes_end_what_was_never_to_be_stale() {
    let mut t = Testkit::new();
    for (write, left) in [
        ("SWR.SET k v FRESH 1000 STALE 5000", ":4000\r\n"),
        ("SET k v PX 5000", ":-2\r\n"),
        ("SET k v", ":-1\r\n"),
        ("SWR.SET k v FRESH 1000", ":-2\r\n"),
    ] {
        t.run(write);
        t.run("CACHE.REVOKE PREFIX k SOFT");
        assert_eq!(t.run("PTTL k"), left, "{write}");
    }
}

#[test]
fn confirmed_copies_count_as_long_as_before() {
    let mut t = Testkit::new();
    t.run("SWR.SET k v FRESH 100 STALE 200 RETAIN 1000");
    t.advance_ms(300);
    let token = token(&mut t, "SWR.GET k");
    t.run(&format!("SWR.FILL k {token} SAME"));
    assert_eq!(told(&mut t, "SWR.PEEK k"), is("HIT", Some("v"), false, 100));
    assert_eq!(t.run("PTTL k"), ":200\r\n");
}
