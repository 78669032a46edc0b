//! Hashes, command by command, in both forms.

use crate::testkit::Testkit;
use std::collections::{BTreeMap, BTreeSet};

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NULL: &str = "$-1\r\n";

/// The bulk strings of a flat RESP2 array.
fn strings(reply: &str) -> Vec<String> {
    let lines: Vec<&str> = reply.split("\r\n").collect();
    assert!(lines[0].starts_with('*'), "{reply}");
    lines[1..].chunks(2).filter_map(|pair| pair.get(1)).map(|text| (*text).to_owned()).collect()
}

fn filled(t: &mut Testkit, key: &str, fields: usize) {
    for n in 0..fields {
        t.run(&format!("HSET {key} f{n} v{n}"));
    }
}

#[test]
fn fields_are_set_read_and_removed() {
    let mut t = Testkit::new();
    assert_eq!(t.run("HSET h a 1 b 2 a 3"), ":2\r\n");
    assert_eq!(t.run("HMSET h c ''"), "+OK\r\n");
    assert_eq!(t.run("HGET h a"), "$1\r\n3\r\n");
    assert_eq!(t.run("HGET h nope"), NULL);
    assert_eq!(t.run("HGET nope a"), NULL);
    assert_eq!(t.run("HMGET h a nope c"), "*3\r\n$1\r\n3\r\n$-1\r\n$0\r\n\r\n");
    assert_eq!(t.run("HMGET nope a b"), "*2\r\n$-1\r\n$-1\r\n");
    assert_eq!(t.run("HLEN h"), ":3\r\n");
    assert_eq!(t.run("HSTRLEN h a"), ":1\r\n");
    assert_eq!(t.run("HSTRLEN h nope"), ":0\r\n");
    assert_eq!(t.run("HEXISTS h c"), ":1\r\n");
    assert_eq!(t.run("HEXISTS h d"), ":0\r\n");
    assert_eq!(t.run("HSETNX h a 9"), ":0\r\n");
    assert_eq!(t.run("HSETNX h d 9"), ":1\r\n");
    assert_eq!(
        t.resp3().run("HGETALL h"),
        "%4\r\n$1\r\na\r\n$1\r\n3\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$0\r\n\r\n$1\r\nd\r\n$1\r\n9\r\n"
    );
    assert_eq!(t.run("HKEYS h"), "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
    assert_eq!(t.run("TYPE h"), "+hash\r\n");
    assert_eq!(t.run("HDEL h a nope a c"), ":2\r\n");
    assert_eq!(t.run("HVALS h"), "*2\r\n$1\r\n2\r\n$1\r\n9\r\n");
    assert_eq!(t.run("HDEL h b d"), ":2\r\n");
    assert_eq!(t.run("EXISTS h"), ":0\r\n");
    assert_eq!(t.run("HDEL h b"), ":0\r\n");
    assert_eq!(t.run("HGETALL h"), "%0\r\n");
    assert_eq!(t.error("HSET h a"), "ERR wrong number of arguments for 'hset' command");
    assert_eq!(t.error("HMSET h a 1 b"), "ERR wrong number of arguments for 'hmset' command");
}

/// Everything reads alike before and after the hash has outgrown its entry, and the deadline stays.
#[test]
fn large_hashes_are_hashes() {
    let mut t = Testkit::new();
    t.run("HSET h f0 v0");
    t.run("PEXPIRE h 5000");
    filled(&mut t, "h", 1000);
    assert_eq!(t.run("HLEN h"), ":1000\r\n");
    assert_eq!(t.run("PTTL h"), ":5000\r\n");
    let pairs = strings(&t.run("HGETALL h"));
    let pairs: BTreeMap<_, _> = pairs.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    assert_eq!(pairs.len(), 1000);
    assert!(pairs.iter().all(|(field, value)| field[1..] == value[1..]));
    assert_eq!(t.run("HGET h f999"), "$4\r\nv999\r\n");
    assert_eq!(t.run("OBJECT ENCODING h"), "$9\r\nhashtable\r\n");
    // What is shared by a copy is not written through it.
    assert_eq!(t.run("COPY h other"), ":1\r\n");
    assert_eq!(t.run("HSET other f5 x g 1"), ":1\r\n");
    assert_eq!(t.run("HGET h f5"), "$2\r\nv5\r\n");
    assert_eq!(t.run("RENAME h third"), "+OK\r\n");
    assert_eq!(t.run("HLEN third"), ":1000\r\n");
    assert_eq!(t.run("HLEN other"), ":1001\r\n");
    for n in 0..1000 {
        assert_eq!(t.run(&format!("HDEL third f{n}")), ":1\r\n");
    }
    assert_eq!(t.run("EXISTS third"), ":0\r\n");
    // One long value is enough to outgrow the entry.
    let long = vec![b'x'; 20_000];
    t.run_args(&[b"HSET", b"long", b"f", &long]);
    assert_eq!(t.run("HSTRLEN long f"), ":20000\r\n");
    assert_eq!(t.run("HSET long f short"), ":0\r\n");
    assert_eq!(t.run("HGETALL long"), "*2\r\n$1\r\nf\r\n$5\r\nshort\r\n");
}

#[test]
fn encodings_are_told_as_redis_would() {
    let mut t = Testkit::new();
    filled(&mut t, "h", 512);
    assert_eq!(t.run("OBJECT ENCODING h"), "$8\r\nlistpack\r\n");
    t.run("HSET h one more");
    assert_eq!(t.run("OBJECT ENCODING h"), "$9\r\nhashtable\r\n");
    t.run_args(&[b"HSET", b"wide", b"f", &[b'x'; 64]]);
    assert_eq!(t.run("OBJECT ENCODING wide"), "$8\r\nlistpack\r\n");
    t.run_args(&[b"HSET", b"wide", b"f", &[b'x'; 65]]);
    assert_eq!(t.run("OBJECT ENCODING wide"), "$9\r\nhashtable\r\n");
}

#[test]
fn numbers_in_fields() {
    let mut t = Testkit::new();
    assert_eq!(t.run("HINCRBY h n 5"), ":5\r\n");
    assert_eq!(t.run("HINCRBY h n -7"), ":-2\r\n");
    assert_eq!(t.run("HINCRBYFLOAT h n 0.5"), "$4\r\n-1.5\r\n");
    assert_eq!(t.error("HINCRBY h n 1"), "ERR hash value is not an integer");
    assert_eq!(t.error("HINCRBY h n x"), "ERR value is not an integer or out of range");
    t.run("HSET h big 9223372036854775807 text words");
    assert_eq!(t.error("HINCRBY h big 1"), "ERR increment or decrement would overflow");
    assert_eq!(t.error("HINCRBYFLOAT h text 1"), "ERR hash value is not a float");
    assert_eq!(t.error("HINCRBYFLOAT h n x"), "ERR value is not a valid float");
    assert_eq!(t.error("HINCRBYFLOAT h n inf"), "ERR value is NaN or Infinity");
    t.run("HSET h f 1.7e308");
    assert_eq!(t.error("HINCRBYFLOAT h f 1.7e308"), "ERR increment would produce NaN or Infinity");
    assert_eq!(t.run("HGET h f"), "$7\r\n1.7e308\r\n");
    // A failed edit of an absent key leaves none.
    assert_eq!(t.error("HINCRBYFLOAT fresh f x"), "ERR value is not a valid float");
    assert_eq!(t.run("EXISTS fresh"), ":0\r\n");
}

/// Each field that stays is returned once, whatever comes and goes meanwhile; the cursor ends.
#[test]
fn walks() {
    let mut t = Testkit::new();
    assert_eq!(t.run("HSCAN nope 0"), "*2\r\n$1\r\n0\r\n*0\r\n");
    t.run("HSET small a 1 b 2");
    assert_eq!(t.run("HSCAN small 0"), "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n");
    assert_eq!(t.run("HSCAN small 0 MATCH b* COUNT 1"), "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n");
    filled(&mut t, "h", 3000);
    let (mut cursor, mut met, mut steps) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let reply = t.run(&format!("HSCAN h {cursor} COUNT 50"));
        let (head, rest) = reply.strip_prefix("*2\r\n").unwrap().split_once("\r\n*").unwrap();
        cursor = head.split("\r\n").nth(1).unwrap().to_owned();
        for pair in strings(&format!("*{rest}")).chunks(2) {
            assert_eq!(pair[0][1..], pair[1][1..]);
            assert!(met.insert(pair[0].clone()), "{} came twice", pair[0]);
        }
        t.run(&format!("HSET h f{} v{}", 10_000 + steps, 10_000 + steps));
        t.run(&format!("HDEL h f{}", 2999 - steps));
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!(steps > 30, "{steps}");
    assert!((0..2999 - steps).all(|n| met.contains(&format!("f{n}"))));
    assert_eq!(t.error("HSCAN h x"), "ERR invalid cursor");
    assert_eq!(t.error("HSCAN h 0 COUNT 0"), "ERR syntax error");
    assert_eq!(t.error("HSCAN h 0 TYPE hash"), "ERR syntax error");
}

#[test]
fn draws() {
    let mut t = Testkit::new();
    assert_eq!(t.run("HRANDFIELD nope"), NULL);
    assert_eq!(t.run("HRANDFIELD nope 3"), "*0\r\n");
    for fields in [4, 400] {
        filled(&mut t, "h", fields);
        let drawn: BTreeSet<String> = (0..400).map(|_| t.run("HRANDFIELD h")).collect();
        assert!(drawn.len() > fields / 3, "{} of {fields}", drawn.len());
        for count in [1, 3, fields / 2, fields - 1, fields, fields + 5] {
            let drawn = strings(&t.run(&format!("HRANDFIELD h {count}")));
            let different: BTreeSet<_> = drawn.iter().collect();
            assert_eq!((drawn.len(), different.len()), (count.min(fields), count.min(fields)));
        }
        assert_eq!(strings(&t.run("HRANDFIELD h -1000")).len(), 1000);
        let pairs = strings(&t.run("HRANDFIELD h -5 WITHVALUES"));
        assert!(pairs.chunks(2).all(|pair| pair[0][1..] == pair[1][1..]) && pairs.len() == 10);
    }
    assert_eq!(t.resp3().run("HRANDFIELD one 1 WITHVALUES"), "*0\r\n");
    t.run("HSET one f v");
    assert_eq!(t.run("HRANDFIELD one 1 WITHVALUES"), "*1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    assert_eq!(t.error("HRANDFIELD h 1 VALUES"), "ERR syntax error");
    assert_eq!(t.error("HRANDFIELD h x"), "ERR value is not an integer or out of range");
    assert_eq!(t.error("HRANDFIELD h -9223372036854775808 WITHVALUES"), "ERR value is out of range");
}

/// No command of one type touches a key of another.
#[test]
fn wrong_types() {
    let mut t = Testkit::new();
    t.run("SET s text");
    t.run("HSET h f v");
    for command in [
        "HSET s f v",
        "HSETNX s f v",
        "HMSET s f v",
        "HGET s f",
        "HMGET s f",
        "HDEL s f",
        "HLEN s",
        "HSTRLEN s f",
        "HEXISTS s f",
        "HGETALL s",
        "HKEYS s",
        "HVALS s",
        "HINCRBY s f 1",
        "HINCRBYFLOAT s f 1",
        "HSCAN s 0",
        "HRANDFIELD s",
        "HRANDFIELD s 1",
        "GET h",
        "SET h v GET",
        "GETSET h v",
        "GETDEL h",
        "GETEX h",
        "GETEX h EX 5",
        "APPEND h x",
        "STRLEN h",
        "GETRANGE h 0 1",
        "SUBSTR h 0 1",
        "SETRANGE h 0 x",
        "SETRANGE h 0 ''",
        "INCR h",
        "INCRBY h 1",
        "DECR h",
        "DECRBY h 1",
        "INCRBYFLOAT h 1",
        "SWR.GET h",
        "SWR.SET h v GET",
    ] {
        assert_eq!(t.error(command), WRONG_TYPE, "{command}");
    }
    assert_eq!(t.error("LCS h s"), "ERR The specified keys must contain string values");
    assert_eq!(t.run("MGET h s"), "*2\r\n$-1\r\n$4\r\ntext\r\n");
    assert_eq!(t.run("HGET h f"), "$1\r\nv\r\n");
    assert_eq!(t.run("SET h now-a-string"), "+OK\r\n");
    assert_eq!(t.run("TYPE h"), "+string\r\n");
}
