//! Deadlines: setting, asking, taking away, and the moment they pass.

use crate::testkit::{START_MS, Testkit};

#[test]
fn deadlines_are_set_shown_and_taken_away() {
    let mut t = Testkit::new();
    t.run("SET k v");
    for (request, ttl_ms) in [
        ("EXPIRE k 10", 10_000),
        ("PEXPIRE k 1500", 1500),
        ("EXPIREAT k 1700000009", 8877),
        ("PEXPIREAT k 1700000000523", 400),
    ] {
        assert_eq!(t.run(request), ":1\r\n");
        assert_eq!(t.run("PTTL k"), format!(":{ttl_ms}\r\n"), "{request}");
        assert_eq!(t.run("TTL k"), format!(":{}\r\n", (ttl_ms + 500) / 1000), "{request}");
        assert_eq!(t.run("PEXPIRETIME k"), format!(":{}\r\n", START_MS + ttl_ms), "{request}");
        assert_eq!(t.run("EXPIRETIME k"), format!(":{}\r\n", (START_MS + ttl_ms + 500) / 1000), "{request}");
    }
    assert_eq!(t.run("PERSIST k"), ":1\r\n");
    assert_eq!(t.run("PERSIST k"), ":0\r\n");
    for request in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
        assert_eq!(t.run(&format!("{request} k")), ":-1\r\n");
        assert_eq!(t.run(&format!("{request} absent")), ":-2\r\n");
    }
    assert_eq!(t.run("PERSIST absent"), ":0\r\n");
    assert_eq!(t.run("EXPIRE absent 10"), ":0\r\n");
    t.run("PEXPIRE k 1");
    t.advance_ms(1);
    assert_eq!(t.run("TTL k"), ":-2\r\n");
    assert_eq!(t.run("PERSIST k"), ":0\r\n");
}

#[test]
fn conditions() {
    let mut t = Testkit::new();
    t.run("SET k v");
    for (request, reply) in [
        ("EXPIRE k 10 GT", 0),
        ("EXPIRE k 10 XX", 0),
        ("EXPIRE k -1 XX GT", 0),
        ("EXPIRE k 10 lt", 1),
        ("EXPIRE k 10 LT", 0),
        ("EXPIRE k 20 LT", 0),
        ("EXPIRE k 20 gt XX GT", 1),
        ("EXPIRE k 20 GT", 0),
        ("EXPIRE k 15 XX LT", 1),
        ("EXPIRE k 30 NX", 0),
        ("EXPIRE k 25 xx", 1),
        ("EXPIRE k -1 GT", 0),
        ("EXPIRE k -1 NX", 0),
    ] {
        assert_eq!(t.run(request), format!(":{reply}\r\n"), "{request}");
    }
    assert_eq!(t.run("TTL k"), ":25\r\n");
    t.run("PERSIST k");
    assert_eq!(t.run("EXPIRE k 30 NX"), ":1\r\n");
    assert_eq!(t.run("TTL k"), ":30\r\n");
}

#[test]
fn deadlines_in_the_past_delete() {
    let mut t = Testkit::new();
    for request in [
        "EXPIRE k 0",
        "EXPIRE k -1",
        "PEXPIRE k 0",
        "PEXPIRE k -9223372036854775808",
        "EXPIREAT k 0",
        "EXPIREAT k 1700000000",
        "PEXPIREAT k -9223372036854775808",
        "PEXPIREAT k 1700000000123",
        "EXPIRE k -1 LT",
    ] {
        t.run("SET k v EX 100");
        assert_eq!(t.run(request), ":1\r\n", "{request}");
        assert_eq!(t.run("GET k"), "$-1\r\n", "{request}");
        assert_eq!(t.run(request), ":0\r\n", "{request}");
    }
}

#[test]
fn errors() {
    let mut t = Testkit::new();
    const NX: &str = "ERR NX and XX, GT or LT options at the same time are not compatible";
    const INTEGER: &str = "ERR value is not an integer or out of range";
    for (request, error) in [
        ("EXPIRE k", "ERR wrong number of arguments for 'expire' command"),
        ("EXPIRE k abc", INTEGER),
        ("EXPIRE k abc foo", "ERR Unsupported option foo"),
        ("EXPIRE k 10 NX XX", NX),
        ("EXPIRE k 10 NX GT", NX),
        ("EXPIRE k 10 LT NX", NX),
        ("EXPIRE k 10 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 10 XX GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("EXPIRE k -9223372036854775808", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT k 9223372036854775807", "ERR invalid expire time in 'expireat' command"),
        ("PEXPIREAT k 9223372036854775808", INTEGER),
        ("TTL", "ERR wrong number of arguments for 'ttl' command"),
        ("TOUCH", "ERR wrong number of arguments for 'touch' command"),
    ] {
        assert_eq!(t.error(request), error, "{request}");
    }
    t.run("SET k v");
    assert_eq!(t.run("PEXPIREAT k 9223372036854775807"), ":1\r\n");
    assert_eq!(t.run("PEXPIRETIME k"), ":9223372036854775807\r\n");
}

#[test]
fn touch_counts_keys_that_exist() {
    let mut t = Testkit::new();
    t.run("MSET a 1 b 2");
    assert_eq!(t.run("TOUCH a b absent a"), ":3\r\n");
    assert_eq!((t.stats().hits.value(), t.stats().misses.value()), (3, 1));
    t.run("TTL a");
    t.run("EXPIRETIME absent");
    assert_eq!((t.stats().hits.value(), t.stats().misses.value()), (4, 2));
}
