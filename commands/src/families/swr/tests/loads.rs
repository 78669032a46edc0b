//! Who loads, who waits, and what failures lead to.

use super::*;

#[test]
fn one_reader_loads() {
    let mut t = Testkit::new();
    let other = t.connect();
    let told_first = ask(t.on(0), "SWR.GET k");
    assert_eq!((&*told_first.state, told_first.value, told_first.ms), ("MISS", None, 10_000));
    let token = told_first.token.unwrap();
    assert_eq!(told(t.on(other), "SWR.GET k"), is("WAIT", None, false, 50));
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE v FRESH 100 TAGS 2 a b ETAG e1")), "+OK\r\n");
    assert_eq!(told(&mut t, "SWR.GET k"), is("HIT", Some("v"), false, 100));
    assert_eq!(t.run("SWR.TAG k HAS 3 a b c"), ":2\r\n");
    let meta = t.run("SWR.GET k META");
    assert!(meta.starts_with("*5\r\n+HIT") && meta.contains("etag\r\n$2\r\ne1\r\n"), "{meta}");
    // Answered once.
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE w")), "+NOLEASE\r\n");
    assert_eq!(told(&mut t, "SWR.GET k"), is("HIT", Some("v"), false, 100));
}

#[test]
fn tokens_of_others_change_nothing() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k");
    for forged in ["x", "0123456789abcdef01234567", &token.to_uppercase(), &token[..23], &format!("{token}0")] {
        assert_eq!(t.run(&format!("SWR.FILL k {forged} VALUE v")), "+NOLEASE\r\n", "{forged}");
        assert_eq!(t.run(&format!("SWR.FAIL k {forged}")), ":0\r\n");
        assert_eq!(t.run(&format!("SWR.YIELD k {forged}")), ":0\r\n");
        assert_eq!(t.run(&format!("SWR.RENEW k {forged} 5")), ":0\r\n");
    }
    assert_eq!(t.run(&format!("SWR.FILL other {token} VALUE v")), "+NOLEASE\r\n");
    assert_eq!(t.run("EXISTS k other"), ":0\r\n");
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE v")), "+OK\r\n");
}

#[test]
fn waiters_get_what_the_loader_brings() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k");
    let waiters: Vec<usize> = (0..3).map(|_| t.connect()).collect();
    for waiter in &waiters {
        assert_eq!(t.on(*waiter).run("SWR.GET k WAIT 1000"), "");
    }
    assert!(t.settle().is_empty());
    assert_eq!(t.on(0).run(&format!("SWR.FILL k {token} VALUE v FRESH 100")), "+OK\r\n");
    let replies = t.settle();
    assert_eq!(replies.len(), 3);
    for (_, reply) in replies {
        assert_eq!(reply, "*4\r\n+FILLED\r\n$1\r\nv\r\n$-1\r\n:100\r\n");
    }
}

#[test]
fn nobody_waits_longer_than_asked() {
    let mut t = Testkit::new();
    token(&mut t, "SWR.GET k LEASE 60000");
    let (short, long) = (t.connect(), t.connect());
    t.on(short).run("SWR.GET k WAIT 100");
    // WAITMAX is ten seconds.
    t.on(long).run("SWR.GET k WAIT 600000");
    t.advance_ms(99);
    assert!(t.settle().is_empty());
    t.advance_ms(1);
    assert_eq!(t.settle(), [(short, "*4\r\n+WAIT\r\n$-1\r\n$-1\r\n:50\r\n".to_owned())]);
    t.advance_ms(9900);
    assert_eq!(t.settle(), [(long, "*4\r\n+WAIT\r\n$-1\r\n$-1\r\n:50\r\n".to_owned())]);
}

#[test]
fn a_lost_loader_is_followed_by_the_next() {
    let mut t = Testkit::new();
    let loader = t.connect();
    let first = token(t.on(loader), "SWR.GET k LEASE 100");
    let (a, b) = (t.connect(), t.connect());
    t.on(a).run("SWR.GET k WAIT 5000");
    t.on(b).run("SWR.GET k WAIT 5000");
    t.advance_ms(100);
    let replies = t.settle();
    assert_eq!(replies.len(), 1);
    let second = parse(&replies[0].1);
    assert_eq!((replies[0].0, &*second.state, second.ms), (a, "MISS", 10_000));
    // The first one was taken over.
    assert_eq!(t.on(loader).run(&format!("SWR.FILL k {first} VALUE old")), "+NOLEASE\r\n");
    // The end of a connection releases its leases: the next one loads.
    t.disconnect(a);
    let replies = t.settle();
    assert_eq!((replies.len(), replies[0].0), (1, b));
    let third = parse(&replies[0].1).token.unwrap();
    assert_eq!(t.on(b).run(&format!("SWR.FILL k {third} VALUE new")), "+OK\r\n");
}

#[test]
fn a_slow_load_is_still_cached() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k LEASE 100");
    t.advance_ms(30_000);
    t.tick();
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE v")), "+OK\r\n");
    let mut t = Testkit::new();
    let token = self::token(&mut t, "SWR.GET k LEASE 100");
    t.advance_ms(60_000);
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE v")), "+NOLEASE\r\n");
}

#[test]
fn leases_can_be_renewed_up_to_their_end() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k LEASE 100");
    t.advance_ms(90);
    assert_eq!(t.run(&format!("SWR.RENEW k {token} 1000")), ":1\r\n");
    t.advance_ms(900);
    assert_eq!(told(&mut t, "SWR.GET k").0, "WAIT");
    assert_eq!(t.run(&format!("SWR.RENEW k {token} 600000")), ":1\r\n");
    t.advance_ms(59_009);
    assert_eq!(told(&mut t, "SWR.GET k").0, "WAIT");
    t.advance_ms(1);
    assert_eq!(told(&mut t, "SWR.GET k").0, "MISS");
}

#[test]
fn two_loads_of_a_key_run_at_most() {
    let mut t = Testkit::new();
    token(&mut t, "SWR.GET k LEASE 100");
    t.run("DEL k");
    let second = token(&mut t, "SWR.GET k");
    t.run("DEL k");
    assert_eq!(told(&mut t, "SWR.GET k"), is("WAIT", None, false, 50));
    t.advance_ms(100);
    token(&mut t, "SWR.GET k");
    assert_eq!(t.run(&format!("SWR.FILL k {second} VALUE v")), "+REVOKED\r\n");
}

#[test]
fn failures_back_off() {
    let mut t = Testkit::new();
    t.run("SWR.SET k v FRESH 0 STALE 100 RETAIN 100000");
    let token = token(&mut t, "SWR.GET k");
    assert_eq!(t.run(&format!("SWR.FAIL k {token} MSG down")), ":0\r\n");
    assert_eq!(told(&mut t, "SWR.GET k"), is("STALE", Some("v"), false, 100));
    t.advance_ms(100);
    assert_eq!(told(&mut t, "SWR.GET k"), is("ERR", Some("v"), false, 900));
    assert_eq!(told(&mut t, "SWR.GET k NOSIE"), is("ERR", None, false, 900));
    t.advance_ms(900);
    // Doubled in a row, reset by a success.
    for delay in [2000, 4000, 8000, 16_000, 30_000, 30_000] {
        let token = self::token(&mut t, "SWR.GET k");
        t.run(&format!("SWR.FAIL k {token}"));
        assert_eq!(told(&mut t, "SWR.GET k NOSIE"), is("ERR", None, false, delay));
        t.advance_ms(delay as u64);
    }
    let token = self::token(&mut t, "SWR.GET k");
    t.run(&format!("SWR.FAIL k {token} BACKOFF 70"));
    t.advance_ms(70);
    let token = self::token(&mut t, "SWR.GET k");
    assert_eq!(t.run(&format!("SWR.FILL k {token} VALUE w FRESH 10")), "+OK\r\n");
    t.advance_ms(10);
    let token = self::token(&mut t, "SWR.GET k");
    t.run(&format!("SWR.FAIL k {token}"));
    assert_eq!(told(&mut t, "SWR.GET k"), is("ERR", None, false, 1000));
    t.advance_ms(100_000);
    t.tick();
    assert_eq!(t.store.side_bytes(), 0);
}

/// The first failure in a row hands the load over, from the second on all are told.
#[test]
fn waiters_of_a_failed_load() {
    let mut t = Testkit::new();
    let token = token(&mut t, "SWR.GET k");
    let (a, b, c) = (t.connect(), t.connect(), t.connect());
    for waiter in [a, b, c] {
        t.on(waiter).run("SWR.GET k WAIT 5000");
    }
    assert_eq!(t.on(0).run(&format!("SWR.FAIL k {token}")), ":1\r\n");
    let replies = t.settle();
    assert_eq!((replies.len(), replies[0].0), (1, a));
    let token = parse(&replies[0].1).token.unwrap();
    assert_eq!(t.on(a).run(&format!("SWR.FAIL k {token}")), ":2\r\n");
    let replies = t.settle();
    assert_eq!(replies.len(), 2);
    replies.iter().for_each(|(_, reply)| assert!(reply.starts_with("*4\r\n+ERR\r\n$-1\r\n$-1\r\n:"), "{reply}"));
}

#[test]
fn exchanged_databases_restart_those_who_wait() {
    let mut t = Testkit::new();
    let loader = t.connect();
    let first = token(t.on(loader), "SWR.GET k");
    let (reader, watcher) = (t.connect(), t.connect());
    t.on(reader).run("SWR.GET k WAIT 1000");
    t.on(watcher).run("SWR.GET k NOLEASE WAIT 1000");
    t.on(0).run("SWAPDB 0 1");
    // In what is database 0 now nobody loads.
    let replies = t.settle();
    assert!(replies.iter().any(|(connection, reply)| *connection == reader && reply.contains("+MISS")), "{replies:?}");
    t.advance_ms(1000);
    t.settle();
    t.on(0).run("SELECT 1");
    assert_eq!(t.run(&format!("SWR.FILL k {first} VALUE v")), "+OK\r\n");
    t.disconnect(reader);
    t.disconnect(watcher);
    t.advance_ms(100_000);
    t.tick();
    assert_eq!(t.store.side_bytes(), 0);
}

/// What a tick does to loads is booked as well.
#[test]
fn ticks_hand_loads_over() {
    let mut t = Testkit::new();
    token(&mut t, "SWR.GET k LEASE 100");
    let (a, b) = (t.connect(), t.connect());
    t.on(a).run("SWR.GET k WAIT 5000");
    t.on(b).run("SWR.GET k WAIT 5000");
    t.advance_ms(100);
    t.tick();
    t.store.invariants();
    assert_eq!(t.settle().len(), 1);
}

#[test]
fn a_load_handed_over_in_vain_is_given_back() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET s PREFIX s: MAXLOADS 1");
    let loader = t.connect();
    token(t.on(loader), "SWR.GET s:k");
    let reader = t.connect();
    t.on(reader).run("SWR.GET s:k WAIT 5000");
    t.disconnect(loader);
    t.on(0).run("CACHE.SERVICE SET s ENABLED no");
    assert_eq!(t.settle(), [(reader, "*4\r\n+PASS\r\n$-1\r\n$-1\r\n:-1\r\n".to_owned())]);
    assert_eq!(t.store.side_bytes(), 0);
}

#[test]
fn a_lapsed_lease_needs_its_place_again() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET s PREFIX s: MAXLOADS 1 LEASE 100");
    let first = token(&mut t, "SWR.GET s:1");
    t.advance_ms(100);
    t.tick();
    token(&mut t, "SWR.GET s:2");
    assert_eq!(t.run(&format!("SWR.RENEW s:1 {first} 100")), ":0\r\n");
    t.advance_ms(100);
    t.tick();
    assert_eq!(t.run(&format!("SWR.RENEW s:1 {first} 100")), ":1\r\n");
}

#[test]
fn a_wrong_key_changes_nothing() {
    let mut t = Testkit::new();
    let loader = t.connect();
    let token = token(t.on(loader), "SWR.GET k");
    for line in ["SWR.FAIL other", "SWR.YIELD other"] {
        assert_eq!(t.run(&format!("{line} {token}")), ":0\r\n");
    }
    assert_eq!(t.run(&format!("SWR.FILL other {token} VALUE v")), "+NOLEASE\r\n");
    // The lease is still the connection's.
    t.disconnect(loader);
    assert_eq!(told(t.on(0), "SWR.GET k").0, "MISS");
}
