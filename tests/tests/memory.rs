//! `maxmemory` over the wire: what is refused, what is evicted, and what goes on working at the limit.

use millpond_tests::words::request;
use millpond_tests::{Options, Reply, Server};

fn ok() -> Reply {
    Reply::Status("OK".into())
}

/// What may be used beyond `limit`, in bytes.
const fn slack(limit: usize) -> usize {
    limit / 100 + (1 << 20)
}

#[test]
fn without_eviction_writes_are_refused_and_the_rest_goes_on() {
    const LIMIT: usize = 3 << 20;
    const SLACK: usize = slack(LIMIT);
    const VALUE: usize = 10 << 10;
    let options = Options::default().flag("maxmemory", "3mb").flag("maxmemory-policy", "noeviction");
    let Some(server) = Server::start_with(options) else { return };
    let mut conn = server.connect();
    let value = "v".repeat(VALUE);
    let mut taken = 0;
    let refusal = loop {
        assert!(taken * VALUE <= LIMIT + SLACK, "{taken} values of {VALUE} bytes were taken");
        match conn.command(&["SET", &format!("key:{taken}"), &value]) {
            reply if reply == ok() => taken += 1,
            refusal => break refusal,
        }
    };
    let Reply::Error(text) = refusal else { panic!("{refusal}") };
    assert!(text.starts_with("OOM command not allowed when used memory > 'maxmemory'"), "{text}");
    assert!(taken > 50, "refused after only {taken} keys");
    // What is left is too little for that value; shorter ones fill it.
    let mut small = 0;
    while conn.command(&["SET", &format!("small:{small}"), "v"]) == ok() {
        assert!(small * 16 <= VALUE + SLACK, "{small} small values were taken");
        small += 1;
    }
    let taken = taken + small;
    // Reads work, and so do writes that only free.
    assert_eq!(conn.cmd("STRLEN key:0"), Reply::Int(VALUE as i64));
    assert_eq!(conn.cmd("DBSIZE"), Reply::Int(taken as i64));
    assert!(matches!(conn.cmd("INCR counter"), Reply::Error(_)), "INCR at the limit");
    assert_eq!(conn.cmd("PING"), Reply::Status("PONG".into()));
    let info = server.info();
    let used = info.number("used_memory") as usize;
    assert!(used <= LIMIT + SLACK, "{used} bytes used, the limit is {LIMIT}");
    assert_eq!(info.number("evicted_keys"), 0);
    // What the store took beyond the limit is given back first.
    let mut freed = 0;
    while conn.cmd("SET counter 41") != ok() {
        assert!(freed <= SLACK, "still refused after {freed} bytes were freed");
        assert_eq!(conn.command(&["DEL", &format!("key:{}", freed / VALUE)]), Reply::Int(1));
        freed += VALUE;
    }
    assert_eq!(conn.cmd("INCR counter"), Reply::Int(42));
}

/// A limit that leaves no room for a single key, at the start and set later.
#[test]
fn a_limit_below_the_base_refuses_writes_and_says_so() {
    for policy in ["noeviction", "allkeys-lru"] {
        let options = Options::default().flag("maxmemory", "100kb").flag("maxmemory-policy", policy);
        let Some(server) = Server::start_with(options) else { return };
        let mut conn = server.connect();
        let refused = |reply: Reply| matches!(reply, Reply::Error(text) if text.starts_with("OOM "));
        assert!(refused(conn.cmd("SET k v")), "{policy}");
        assert_eq!((conn.cmd("GET k"), conn.cmd("DEL k")), (Reply::Nil, Reply::Int(0)), "{policy}");
        assert!(server.output().contains("the memory limit is below what the server takes"), "{}", server.output());
        assert_eq!(conn.cmd("CONFIG SET maxmemory 10mb"), ok());
        assert_eq!((conn.cmd("SET k v"), conn.cmd("STRLEN k")), (ok(), Reply::Int(1)), "{policy}");
    }
}

#[test]
fn with_eviction_five_times_the_limit_is_taken() {
    const LIMIT: usize = 8 << 20;
    const VALUE: usize = 1 << 10;
    const KEYS: usize = 5 * LIMIT / VALUE;
    const BATCH: usize = 64;
    let options = Options::default().flag("maxmemory", "8mb").flag("maxmemory-policy", "allkeys-lru");
    let Some(server) = Server::start_with(options) else { return };
    let mut conn = server.connect();
    let value = "v".repeat(VALUE);
    for first in (0..KEYS).step_by(BATCH) {
        let keys = first..(first + BATCH).min(KEYS);
        let bytes: Vec<u8> = keys.clone().flat_map(|n| request(&["SET", &format!("key:{n}"), &value])).collect();
        conn.send(&bytes).unwrap();
        for (n, reply) in keys.clone().zip(conn.read_many(keys.len())) {
            assert_eq!(reply, ok(), "key {n} of {KEYS}");
        }
        if first % (64 * BATCH) == 0 {
            let used = server.info().number("used_memory") as usize;
            assert!(used <= LIMIT + slack(LIMIT), "{used} bytes after {first} keys, the limit is {LIMIT}");
        }
    }
    let info = server.info();
    let used = info.number("used_memory") as usize;
    assert!(used <= LIMIT + slack(LIMIT), "{used} bytes used, the limit is {LIMIT}");
    let Reply::Int(left) = conn.cmd("DBSIZE") else { panic!("DBSIZE is a number") };
    assert!(left > 1000, "only {left} keys are left");
    // Nobody writes any more, but what is over the limit may still be going.
    let before = info.number("evicted_keys") + left;
    let after = server.info().number("evicted_keys") + left;
    assert!((before..=after).contains(&(KEYS as i64)), "{left} keys are left, {before} to {after} of {KEYS} accounted");
    assert_eq!(conn.command(&["STRLEN", &format!("key:{}", KEYS - 1)]), Reply::Int(VALUE as i64), "the newest key");
}
