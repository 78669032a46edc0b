//! States of a key, and what readers and writers choose.

use super::*;

#[test]
fn windows_of_a_value() {
    let mut t = Testkit::new();
    assert_eq!(t.run("SWR.SET k v FRESH 100 STALE 300 RETAIN 900"), "+OK\r\n");
    assert_eq!(told(&mut t, "SWR.GET k"), is("HIT", Some("v"), false, 100));
    assert_eq!(t.run("PTTL k"), ":300\r\n");
    t.advance_ms(100);
    assert_eq!(told(&mut t, "SWR.PEEK k"), is("STALE", Some("v"), false, 200));
    assert_eq!(told(&mut t, "SWR.GET k NOLEASE"), is("STALE", Some("v"), false, 200));
    assert_eq!(told(&mut t, "SWR.GET k MAXSTALE 0"), is("STALE", Some("v"), true, 200));
    assert_eq!(told(&mut t, "SWR.GET k"), is("STALE", Some("v"), false, 200));
    assert_eq!(t.run("GET k"), "$1\r\nv\r\n");
    t.advance_ms(200);
    assert_eq!(t.run("GET k"), "$-1\r\n");
    assert_eq!(t.run("EXISTS k"), ":0\r\n");
    assert_eq!(t.run("TTL k"), ":-2\r\n");
    assert_eq!(t.run("KEYS *"), "*0\r\n");
    assert_eq!(told(&mut t, "SWR.GET k"), is("WAIT", None, false, 50));
    t.tick();
    assert!(t.run("SWR.META k").contains("retained"));
    t.advance_ms(600);
    assert_eq!(t.run("SWR.META k").matches("lease").count(), 1);
    // The memory of what has come to its end is freed some seconds later.
    t.advance_ms(3000);
    t.tick();
    assert_eq!(t.run("DBSIZE"), ":0\r\n");
}

#[test]
fn windows_out_of_order_and_wrong_words() {
    let mut t = Testkit::new();
    for (line, error) in [
        ("SWR.SET k v FRESH 10 STALE 5", "ERR windows out of order"),
        ("SWR.SET k v STALE 10 RETAIN 5", "ERR windows out of order"),
        ("SWR.SET k v FRESH -1", "ERR value is not an integer or out of range"),
        ("SWR.SET k v FRESH x", "ERR value is not an integer or out of range"),
        ("SWR.SET k v FRESH", "ERR syntax error"),
        ("SWR.SET k v FRESH 1 FRESH 1", "ERR syntax error"),
        ("SWR.SET k v NX XX", "ERR syntax error"),
        ("SWR.SET k v NOPE", "ERR syntax error"),
        ("SWR.SET k v TAGS 0", "ERR syntax error"),
        ("SWR.SET k v TAGS 65 a", "ERR too many tags"),
        ("SWR.GET k WAIT", "ERR syntax error"),
        ("SWR.GET k FORCE MINFRESH 1", "ERR syntax error"),
        ("SWR.GET k LEASE 0", "ERR syntax error"),
        ("SWR.PEEK k WAIT 1", "ERR syntax error"),
        ("SWR.MGET 0 k", "ERR numkeys should be greater than 0"),
        ("SWR.MGET 2 k", "ERR Number of keys can't be greater than number of args"),
        ("SWR.MGET 1 k WAIT 5", "ERR syntax error"),
        ("SWR.FILL k t NOPE", "ERR syntax error"),
        ("SWR.FILL k t VALUE", "ERR syntax error"),
        ("SWR.FILL k t VALUE v FRESH 9 STALE 1", "ERR windows out of order"),
        ("SWR.FILL k t NIL STALE 1", "ERR syntax error"),
        ("SWR.FAIL k t NOPE", "ERR syntax error"),
        ("SWR.FAIL k t MSG", "ERR syntax error"),
        ("SWR.RENEW k t x", "ERR value is not an integer or out of range"),
    ] {
        assert_eq!(t.error(line), error, "{line}");
    }
    assert_eq!(t.run("DBSIZE"), ":0\r\n");
}

#[test]
fn transactions_never_wait() {
    let mut t = Testkit::new();
    token(&mut t, "SWR.GET k");
    let other = t.connect();
    t.on(other).run("MULTI");
    t.run("SWR.GET k WAIT 1000");
    t.run("SWR.MGET 2 k l");
    let reply = t.run("EXEC");
    assert!(reply.starts_with("*2\r\n*4\r\n+WAIT\r\n$-1\r\n$-1\r\n:50\r\n*2\r\n*4\r\n+WAIT"), "{reply}");
    assert!(reply.contains("+MISS"));
}

#[test]
fn a_key_named_twice_gets_one_token() {
    let mut t = Testkit::new();
    let reply = t.run("SWR.MGET 3 k l k");
    assert_eq!((reply.matches("+MISS").count(), reply.matches("+WAIT").count()), (2, 1), "{reply}");
    assert_eq!(t.run("COMMAND GETKEYS SWR.MGET 2 a b META"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
}

#[test]
fn versions_change_with_the_value() {
    let mut t = Testkit::new();
    let version = |t: &mut Testkit| -> i64 {
        let meta = t.run("SWR.META k");
        let at = meta.find("version\r\n:").unwrap() + 10;
        meta[at..].split('\r').next().unwrap().parse().unwrap()
    };
    t.run("SWR.SET k 1");
    let first = version(&mut t);
    assert_eq!(t.run(&format!("SWR.SET k 2 IFVER {first} GET")), "$1\r\n1\r\n");
    let second = version(&mut t);
    assert_eq!(t.run(&format!("SWR.SET k 3 IFVER {first}")), "$-1\r\n");
    t.run("INCR k");
    assert_ne!(version(&mut t), second);
    t.run("EXPIRE k 100");
    let third = version(&mut t);
    assert_eq!(t.run(&format!("SWR.SET k 9 IFVER {third}")), "+OK\r\n");
    t.run("SET k plain");
    assert_eq!(t.run("SWR.SET k 9 IFVER 0"), "$-1\r\n");
    assert_eq!((t.run("SWR.SET k 9 NX"), t.run("SWR.SET k 9 XX")), ("$-1\r\n".into(), "+OK\r\n".into()));
}

/// `fresh` goes down with a shorter time to live and never up with a longer one.
#[test]
fn expiry_commands_and_windows() {
    let mut t = Testkit::new();
    t.run("SWR.SET k v FRESH 1000 STALE 5000 RETAIN 9000");
    t.run("PEXPIRE k 500");
    assert_eq!(told(&mut t, "SWR.PEEK k"), is("HIT", Some("v"), false, 500));
    t.run("PEXPIRE k 20000");
    assert_eq!(told(&mut t, "SWR.PEEK k"), is("HIT", Some("v"), false, 500));
    let left = |t: &mut Testkit| {
        t.run("SWR.PEEK k META").split("retain\r\n:").nth(1).unwrap().split('\r').next().unwrap().to_owned()
    };
    assert_eq!(left(&mut t), "20000");
    t.run("PERSIST k");
    assert_eq!((t.run("TTL k"), left(&mut t)), (":-1\r\n".into(), "-1".into()));
    assert_eq!(told(&mut t, "SWR.PEEK k"), is("HIT", Some("v"), false, 500));
    t.run("SET k w EX 60");
    assert_eq!(told(&mut t, "SWR.PEEK k"), is("HIT", Some("w"), false, 60_000));
}

#[test]
fn readers_choose_how_fresh() {
    let mut t = Testkit::new();
    t.run("SWR.SET k v FRESH 1000 STALE 5000");
    assert_eq!(told(&mut t, "SWR.GET k MINFRESH 1000"), is("HIT", Some("v"), false, 1000));
    assert_eq!(told(&mut t, "SWR.GET k MINFRESH 1001"), is("STALE", Some("v"), true, 5000));
    assert_eq!(told(&mut t, "SWR.GET k FORCE"), is("STALE", Some("v"), false, 5000));
    t.advance_ms(2000);
    assert_eq!(told(&mut t, "SWR.GET k MAXSTALE 1000").0, "STALE");
    assert_eq!(told(&mut t, "SWR.GET k MAXSTALE 999"), is("WAIT", None, false, 50));
}
