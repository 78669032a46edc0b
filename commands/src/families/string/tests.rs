//! Strings, command by command.

use crate::testkit::{START_MS, Testkit};

const NULL: &str = "$-1\r\n";
const SYNTAX: &str = "ERR syntax error";

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[test]
fn get_and_set() {
    let mut t = Testkit::new();
    assert_eq!(t.run("GET k"), NULL);
    for text in ["", "v", "42", "-0", "007", "9223372036854775807", "9223372036854775808", &"long".repeat(10_000)] {
        assert_eq!(t.run_args(&[b"SET", b"k", text.as_bytes()]), "+OK\r\n");
        assert_eq!(t.run("GET k"), bulk(text));
        assert_eq!(t.run("STRLEN k"), format!(":{}\r\n", text.len()));
    }
    assert_eq!((t.stats().hits.value(), t.stats().misses.value()), (16, 1));
    assert_eq!(t.resp3().run("GET absent"), "_\r\n");
}

#[test]
fn set_conditions() {
    let mut t = Testkit::new();
    assert_eq!(t.run("SET k a XX"), NULL);
    assert_eq!(t.run("SET k a nx"), "+OK\r\n");
    assert_eq!(t.run("SET k b NX NX"), NULL);
    assert_eq!(t.run("SET k b xX"), "+OK\r\n");
    assert_eq!(t.run("SET k c GET"), bulk("b"));
    assert_eq!(t.run("SET k d NX GET GET"), bulk("c"));
    assert_eq!(t.run("SET fresh d GET NX"), NULL);
    assert_eq!(t.run("SET absent d XX GET"), NULL);
    assert_eq!(t.run("MGET k fresh absent"), "*3\r\n$1\r\nc\r\n$1\r\nd\r\n$-1\r\n");
    assert_eq!(t.resp3().run("SET k e NX"), "_\r\n");
}

#[test]
fn set_expiry() {
    let mut t = Testkit::new();
    for (option, ttl_ms) in [("EX 10", 10_000), ("px 10", 10), ("EXAT 1700000001", 877), ("PxAt 1700000000124", 1)] {
        assert_eq!(t.run(&format!("SET k v {option}")), "+OK\r\n");
        assert_eq!(t.run("PTTL k"), format!(":{ttl_ms}\r\n"), "{option}");
    }
    assert_eq!(t.run("SET k v EX 5 EX 6"), "+OK\r\n");
    assert_eq!(t.run("SET k w KEEPTTL KEEPTTL"), "+OK\r\n");
    assert_eq!(t.run("PTTL k"), ":6000\r\n");
    assert_eq!(t.run("SET k w XX"), "+OK\r\n");
    assert_eq!(t.run("TTL k"), ":-1\r\n");
    assert_eq!(t.run("SET absent w KEEPTTL"), "+OK\r\n");
    assert_eq!(t.run("TTL absent"), ":-1\r\n");
    t.run("SET k v PX 10");
    t.advance_ms(10);
    assert_eq!(t.run("SET k w NX"), "+OK\r\n");
}

#[test]
fn set_in_the_past_stores_nothing() {
    let mut t = Testkit::new();
    for option in ["EXAT 1", "PXAT 1", "PXAT 1700000000123", "XX EXAT 1"] {
        t.run("SET k old");
        assert_eq!(t.run(&format!("SET k new {option}")), "+OK\r\n");
        assert_eq!(t.run("GET k"), NULL, "{option}");
    }
    assert_eq!(t.run("SET k new EXAT 1"), "+OK\r\n");
    t.run("SET k old");
    assert_eq!(t.run("SET k new EXAT 1 GET"), bulk("old"));
    assert_eq!(t.run("EXISTS k"), ":0\r\n");
}

#[test]
fn set_errors() {
    let mut t = Testkit::new();
    t.run("SET k old EX 100");
    let invalid = |name: &str| format!("ERR invalid expire time in '{name}' command");
    let integer = "ERR value is not an integer or out of range";
    for (request, error) in [
        ("SET k v EX", SYNTAX),
        ("SET k v EX 1 PX 1", SYNTAX),
        ("SET k v KEEPTTL EX 1", SYNTAX),
        ("SET k v EX 1 KEEPTTL", SYNTAX),
        ("SET k v NX XX", SYNTAX),
        ("SET k v persist", SYNTAX),
        ("SET k v foo", SYNTAX),
        ("SET k v EX abc foo", SYNTAX),
        ("SET k v EX abc", integer),
        ("SET k v EX 0", &invalid("set")),
        ("SET k v NX GET PX -1", &invalid("set")),
        ("SET k v EXAT 9223372036854775807", &invalid("set")),
        ("SET k v PX 9223372036854775807", &invalid("set")),
        ("SETEX k 0 v", &invalid("setex")),
        ("SETEX k abc v", integer),
        ("PSETEX k -1 v", &invalid("psetex")),
        ("PSETEX k 9223372036854775807 v", &invalid("psetex")),
        ("GETEX k EX", SYNTAX),
        ("GETEX k EX 10 PERSIST", SYNTAX),
        ("GETEX k KEEPTTL", SYNTAX),
        ("GETEX absent foo", SYNTAX),
        ("GETEX k EX 0", &invalid("getex")),
        ("GETEX k PX abc", integer),
        ("MSET a", "ERR wrong number of arguments for 'mset' command"),
        ("MSET a b c", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a b c d e", "ERR wrong number of arguments for 'msetnx' command"),
    ] {
        assert_eq!(t.error(request), error, "{request}");
    }
    assert_eq!(t.run("GET k"), bulk("old"));
    assert_eq!(t.run("TTL k"), ":100\r\n");
    // Without a key the amount is never looked at.
    assert_eq!(t.run("GETEX absent EX 0"), NULL);
}

#[test]
fn old_ways_to_set_and_get() {
    let mut t = Testkit::new();
    assert_eq!(t.run("SETEX k 10 v"), "+OK\r\n");
    assert_eq!(t.run("TTL k"), ":10\r\n");
    assert_eq!(t.run("PSETEX k 1500 w"), "+OK\r\n");
    assert_eq!(t.run("PTTL k"), ":1500\r\n");
    assert_eq!(t.run("SETNX k x"), ":0\r\n");
    assert_eq!(t.run("GETSET k y"), bulk("w"));
    assert_eq!(t.run("TTL k"), ":-1\r\n");
    assert_eq!(t.run("GETDEL k"), bulk("y"));
    assert_eq!(t.run("GETDEL k"), NULL);
    assert_eq!(t.run("SETNX k x"), ":1\r\n");
    assert_eq!(t.run("GETSET absent y"), NULL);
}

#[test]
fn getex_changes_the_expiry() {
    let mut t = Testkit::new();
    assert_eq!(t.run("GETEX k EX 10"), NULL);
    t.run("SET k v");
    assert_eq!(t.run("GETEX k EX 10"), bulk("v"));
    assert_eq!(t.run("GETEX k"), bulk("v"));
    assert_eq!(t.run("TTL k"), ":10\r\n");
    assert_eq!(t.run("GETEX k PXAT 1700000000130"), bulk("v"));
    assert_eq!(t.run("PEXPIRETIME k"), ":1700000000130\r\n");
    assert_eq!(t.run("GETEX k persist PERSIST"), bulk("v"));
    assert_eq!(t.run("TTL k"), ":-1\r\n");
    assert_eq!(t.run(&format!("GETEX k PXAT {START_MS}")), bulk("v"));
    assert_eq!(t.run("EXISTS k"), ":0\r\n");
}

#[test]
fn several_keys() {
    let mut t = Testkit::new();
    assert_eq!(t.run("MSET a 1 b two a 3"), "+OK\r\n");
    assert_eq!(t.run("MGET a absent b a"), "*4\r\n$1\r\n3\r\n$-1\r\n$3\r\ntwo\r\n$1\r\n3\r\n");
    assert_eq!((t.stats().hits.value(), t.stats().misses.value()), (3, 1));
    assert_eq!(t.run("MSETNX c 1 b 2"), ":0\r\n");
    assert_eq!(t.run("MSETNX c 1 c 2"), ":1\r\n");
    assert_eq!(t.resp3().run("MGET c d"), "*2\r\n$1\r\n2\r\n_\r\n");
    t.run("EXPIRE a 10");
    t.run("MSET a 4");
    assert_eq!(t.run("TTL a"), ":-1\r\n");
    // More keys than the stack holds.
    let many: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    assert_eq!(t.run(&format!("MSET {} v", many.join(" v "))), "+OK\r\n");
    assert_eq!(t.run(&format!("MGET {}", many.join(" "))), format!("*1000\r\n{}", bulk("v").repeat(1000)));
}

#[test]
fn parts() {
    let mut t = Testkit::new();
    assert_eq!(t.run("APPEND k abc"), ":3\r\n");
    assert_eq!(t.run("APPEND k ''"), ":3\r\n");
    assert_eq!(t.run("APPEND k defgh"), ":8\r\n");
    for (start, end, part) in [
        ("0", "-1", "abcdefgh"),
        ("1", "2", "bc"),
        ("-3", "-1", "fgh"),
        ("-100", "-100", "a"),
        ("5", "100", "fgh"),
        ("3", "2", ""),
    ] {
        assert_eq!(t.run(&format!("GETRANGE k {start} {end}")), bulk(part));
        assert_eq!(t.run(&format!("SUBSTR k {start} {end}")), bulk(part));
    }
    assert_eq!(t.run("SETRANGE k 6 XYZ"), ":9\r\n");
    assert_eq!(t.run("SETRANGE k 0 A"), ":9\r\n");
    assert_eq!(t.run("GET k"), bulk("AbcdefXYZ"));
    assert_eq!(t.run("SETRANGE gap 2 x"), ":3\r\n");
    assert_eq!(t.run("GET gap"), "$3\r\n\\x00\\x00x\r\n");
    assert_eq!(t.run("SETRANGE absent 5 ''"), ":0\r\n");
    assert_eq!(t.run("SETRANGE gap 50 ''"), ":3\r\n");
    assert_eq!(t.run("GETRANGE absent 0 -1"), bulk(""));
    assert_eq!(t.run("EXISTS absent"), ":0\r\n");
    assert_eq!(t.run("APPEND empty ''"), ":0\r\n");
    assert_eq!(t.run("EXISTS empty"), ":1\r\n");
    t.run("SET n 1234 PX 100");
    assert_eq!(t.run("GETRANGE n 1 2"), bulk("23"));
    assert_eq!(t.run("APPEND n 5"), ":5\r\n");
    assert_eq!(t.run("SETRANGE n 0 9"), ":5\r\n");
    assert_eq!(t.run("GET n"), bulk("92345"));
    assert_eq!(t.run("PTTL n"), ":100\r\n");
    assert_eq!(t.error("GETRANGE absent a b"), "ERR value is not an integer or out of range");
}

#[test]
fn parts_of_long_strings() {
    let mut t = Testkit::new();
    let mut text = "0123456789".repeat(5000);
    assert_eq!(t.run_args(&[b"APPEND", b"k", text.as_bytes()]), ":50000\r\n");
    assert_eq!(t.run("GETRANGE k 0 -1"), bulk(&text));
    assert_eq!(t.run("GETRANGE k -5 -2"), bulk("5678"));
    assert_eq!(t.run("APPEND k end"), ":50003\r\n");
    assert_eq!(t.run("SETRANGE k 40000 X"), ":50003\r\n");
    text += "end";
    text.replace_range(40_000..40_001, "X");
    assert_eq!(t.run("GET k"), bulk(&text));
    assert_eq!(t.run("SETRANGE far 100000 x"), ":100001\r\n");
    assert_eq!(t.run("GETRANGE far 99999 -1"), "$2\r\n\\x00x\r\n");
}

#[test]
fn strings_have_a_longest_length() {
    let mut t = Testkit::new();
    let long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(t.error("SETRANGE k 536870911 ab"), long);
    assert_eq!(t.error("SETRANGE k 9223372036854775807 ab"), long);
    assert_eq!(t.error("SETRANGE k -1 ''"), "ERR offset is out of range");
    assert_eq!(t.error("SETRANGE k 9223372036854775808 a"), "ERR value is not an integer or out of range");
    t.set_max_bulk_bytes(10);
    assert_eq!(t.run("SETRANGE k 8 ab"), ":10\r\n");
    assert_eq!(t.error("APPEND k a"), long);
    assert_eq!(t.error("SETRANGE k 9 ab"), long);
    assert_eq!(t.run("STRLEN k"), ":10\r\n");
}

#[test]
fn a_gap_must_fit_the_memory_limit() {
    let mut t = Testkit::new();
    t.store.memory().set_limit(4 << 20);
    assert_eq!(t.error("SETRANGE k 100000000 x"), "OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(t.run("SETRANGE k 1000000 x"), ":1000001\r\n");
    // Only growth counts.
    assert_eq!(t.run("SETRANGE k 999999 yy"), ":1000001\r\n");
}

#[test]
fn lcs() {
    let mut t = Testkit::new();
    t.run("MSET a ohmytext b mynewtext");
    assert_eq!(t.run("LCS a b"), bulk("mytext"));
    assert_eq!(t.run("LCS a b WITHMATCHLEN"), bulk("mytext"));
    assert_eq!(t.run("LCS b a len"), ":6\r\n");
    let (text, my) = ("*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n", "*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n");
    let tail = "$3\r\nlen\r\n:6\r\n";
    assert_eq!(t.run("LCS a b IDX"), format!("*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n{text}*2\r\n{my}{tail}"));
    assert_eq!(
        t.run("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN"),
        format!("*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n{text}:4\r\n{tail}")
    );
    assert_eq!(
        t.run("LCS a b MINMATCHLEN -4 WITHMATCHLEN IDX"),
        format!("*4\r\n$7\r\nmatches\r\n*2\r\n*3\r\n{text}:4\r\n*3\r\n{my}:2\r\n{tail}")
    );
    assert_eq!(t.resp3().run("LCS a none IDX"), "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n");
    assert_eq!(t.resp2().run("LCS a none"), bulk(""));
    assert_eq!(t.run("LCS none a LEN"), ":0\r\n");
    assert_eq!(t.error("LCS a b IDX LEN"), "ERR If you want both the length and indexes, please just use IDX.");
    assert_eq!(t.error("LCS a b MINMATCHLEN"), SYNTAX);
    assert_eq!(t.error("LCS a b MINMATCHLEN x"), "ERR value is not an integer or out of range");
    assert_eq!(t.error("LCS a b foo"), SYNTAX);
    // Long ones run in slices, whichever string is the longer.
    let (x, y) = ("ab".repeat(1000), "b".repeat(300));
    t.run_args(&[b"MSET", b"x", x.as_bytes(), b"y", y.as_bytes()]);
    assert_eq!(t.run("LCS x y"), bulk(&y));
    assert!(t.slices > 5);
    assert_eq!(t.run("LCS y x"), bulk(&y));
    assert_eq!(t.run("LCS y x LEN"), ":300\r\n");
    let long = vec![b'x'; 20_000];
    t.run_args(&[b"MSET", b"x", &long, b"y", &long]);
    assert_eq!(t.error("LCS x y"), "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
}
