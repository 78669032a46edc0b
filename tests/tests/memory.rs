//! `maxmemory` over the wire: what is refused, what is evicted, and what goes on working at the limit.

use millpond_tests::words::request;
use millpond_tests::{Conn, Options, Reply, Server};

fn ok() -> Reply {
    Reply::Status("OK".into())
}

/// Sets keys `first..` to 10 KB each until one is refused, at most `most`; how many were taken, and the refusal.
fn fill(conn: &mut Conn, first: usize, most: usize) -> (usize, Option<Reply>) {
    let value = "v".repeat(10 << 10);
    for taken in 0..most {
        match conn.command(&["SET", &format!("key:{}", first + taken), &value]) {
            reply if reply == ok() => {}
            refusal => return (taken, Some(refusal)),
        }
    }
    (most, None)
}

#[test]
fn without_eviction_writes_are_refused_and_the_rest_goes_on() {
    const LIMIT: i64 = 3 << 20;
    let options = Options::default().flag("maxmemory", "3mb").flag("maxmemory-policy", "noeviction");
    let Some(server) = Server::start_with(options) else { return };
    let mut conn = server.connect();
    let (taken, refusal) = fill(&mut conn, 0, 400);
    let Some(Reply::Error(text)) = refusal else { panic!("{taken} keys of 10 KB fit into 3 MB: {refusal:?}") };
    assert!(text.starts_with("OOM command not allowed when used memory > 'maxmemory'"), "{text}");
    assert!(taken > 50, "refused after only {taken} keys");
    // Reads work, and so do writes that only free.
    assert_eq!(conn.cmd("STRLEN key:0"), Reply::Int(10 << 10));
    assert_eq!(conn.cmd("DBSIZE"), Reply::Int(taken as i64));
    assert!(matches!(conn.cmd("INCR counter"), Reply::Error(_)), "INCR at the limit");
    assert_eq!(conn.cmd("PING"), Reply::Status("PONG".into()));
    let info = server.info();
    assert!(info.number("used_memory") <= LIMIT + (1 << 20), "{}", info.number("used_memory"));
    assert_eq!(info.number("evicted_keys"), 0);
    // A new connection may take some of what is freed.
    for n in 0..20 {
        assert_eq!(conn.cmd(&format!("DEL key:{n}")), Reply::Int(1));
    }
    assert_eq!(conn.cmd("SET counter 41"), ok());
    assert_eq!(conn.cmd("INCR counter"), Reply::Int(42));
}

#[test]
fn with_eviction_five_times_the_limit_is_taken() {
    const LIMIT: i64 = 8 << 20;
    const VALUE: usize = 1 << 10;
    const KEYS: usize = 5 * LIMIT as usize / VALUE;
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
            let used = server.info().number("used_memory");
            assert!(used <= LIMIT + LIMIT / 100 + (1 << 20), "{used} bytes after {first} keys, the limit is {LIMIT}");
        }
    }
    let info = server.info();
    let (used, evicted) = (info.number("used_memory"), info.number("evicted_keys"));
    assert!(used <= LIMIT + LIMIT / 100 + (1 << 20), "{used} bytes used, the limit is {LIMIT}");
    let Reply::Int(left) = conn.cmd("DBSIZE") else { panic!("DBSIZE is a number") };
    assert!(left > 1000, "only {left} keys are left");
    assert_eq!(evicted + left, KEYS as i64, "each key is evicted or there");
    assert_eq!(conn.command(&["STRLEN", &format!("key:{}", KEYS - 1)]), Reply::Int(VALUE as i64), "the newest key");
}
