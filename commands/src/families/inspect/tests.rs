//! OBJECT and MEMORY.

use crate::host::ProcessStats;
use crate::testkit::Testkit;
use storage::Policy;

#[test]
fn encodings() {
    let mut t = Testkit::new();
    for (value, encoding) in
        [("12", "int"), ("-9223372036854775808", "int"), ("012", "embstr"), ("", "embstr"), (&"x".repeat(44), "embstr")]
    {
        t.run_args(&[b"SET", b"k", value.as_bytes()]);
        assert_eq!(t.run("OBJECT ENCODING k"), format!("${}\r\n{encoding}\r\n", encoding.len()), "{value}");
    }
    for length in [45, 16_384, 16_385] {
        t.run_args(&[b"SET", b"k", &vec![b'x'; length]]);
        assert_eq!(t.run("object encoding k"), "$3\r\nraw\r\n", "{length}");
    }
}

#[test]
fn missing_keys_are_null() {
    let mut t = Testkit::new();
    t.run("SET dead v PX 1");
    t.advance_ms(1);
    for line in ["OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "OBJECT REFCOUNT", "MEMORY USAGE"] {
        assert_eq!(t.resp2().run(&format!("{line} dead")), "$-1\r\n", "{line}");
        assert_eq!(t.resp3().run(&format!("{line} nokey")), "_\r\n", "{line}");
    }
}

#[test]
fn frequency_or_idle_time_by_the_policy() {
    let mut t = Testkit::new();
    t.run("SET k v");
    t.run("GET k");
    t.run("GET k");
    assert_eq!(t.run("OBJECT IDLETIME k"), ":0\r\n");
    assert_eq!(t.run("OBJECT REFCOUNT k"), ":1\r\n");
    assert!(t.error("OBJECT FREQ k").starts_with("ERR An LFU maxmemory policy is not selected, access frequency not"));
    for policy in [Policy::AllKeysLfu, Policy::VolatileLfu] {
        t.store.memory().set_policy(policy);
        assert_eq!(t.run("OBJECT FREQ k"), ":2\r\n", "looking is no use");
        assert!(t.error("OBJECT IDLETIME k").starts_with("ERR An LFU maxmemory policy is selected, idle time not"));
    }
}

#[test]
fn bytes_of_a_key() {
    let mut t = Testkit::new();
    let usage = |t: &mut Testkit, length: usize| -> u64 {
        t.run_args(&[b"SET", b"k", &vec![b'x'; length]]);
        let reply = t.run("MEMORY USAGE k");
        reply.trim_start_matches(':').trim_end().parse().expect("an integer")
    };
    for length in [1, 100, 10_000, 100_000] {
        let bytes = usage(&mut t, length);
        assert!(bytes > length as u64 && bytes < 2 * length as u64 + 120, "{length}: {bytes}");
    }
    for samples in ["SAMPLES 0", "samples 5", "SAMPLES 1 SAMPLES 2"] {
        assert!(t.run(&format!("MEMORY USAGE k {samples}")).starts_with(':'), "{samples}");
    }
    for samples in ["SAMPLES", "SAMPLES -1", "x 1", "SAMPLES 1 x"] {
        assert_eq!(t.error(&format!("MEMORY USAGE k {samples}")), "ERR syntax error", "{samples}");
    }
    assert_eq!(t.error("MEMORY USAGE k SAMPLES x"), "ERR value is not an integer or out of range");
}

/// Names and values of a RESP3 map without nested ones.
fn pairs(reply: &str) -> Vec<(String, f64)> {
    let mut lines = reply.lines().skip(1);
    let mut pairs = Vec::new();
    while let Some(header) = lines.next() {
        assert!(header.starts_with('$'), "{header} in {reply}");
        let (name, value) = (lines.next().expect("a name"), lines.next().expect("a value"));
        if value.starts_with('%') {
            assert_eq!(value, "%3", "the tables of a database");
            pairs.push((name.to_owned(), f64::NAN));
            for _ in 0..9 {
                lines.next();
            }
        } else {
            pairs.push((name.to_owned(), value[1..].parse().expect("a number")));
        }
    }
    pairs
}

#[test]
fn statistics() {
    let mut t = Testkit::new();
    *t.shell.process.lock() = ProcessStats { resident_bytes: 64 << 20, ..ProcessStats::default() };
    for n in 0..5_000 {
        t.run_args(&[b"SET", format!("k{n}").as_bytes(), &[b'x'; 2_000]]);
    }
    t.session().db = storage::Db(4);
    t.run("SET k v PX 1000");
    let reply = t.resp3().run("MEMORY STATS");
    let stats = pairs(&reply);
    assert!(reply.starts_with(&format!("%{}\r\n", stats.len())));
    let value = |name: &str| stats.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1;
    assert!(value("total.allocated") > 8e6 && value("peak.allocated") >= value("total.allocated"));
    assert_eq!(value("keys.count"), 5_001.0);
    assert!(value("dataset.bytes") > 8e6 && value("dataset.percentage") <= 100.0);
    assert!(value("keys.bytes-per-key") > 1_700.0 && value("fragmentation") > 1.0);
    assert!(value("db.0").is_nan() && value("db.4").is_nan());
    let flat = t.resp2().run("MEMORY STATS");
    assert!(flat.starts_with(&format!("*{}\r\n", 2 * stats.len())));
    t.run("MULTI");
    t.run("MEMORY STATS");
    t.run("MEMORY DOCTOR");
    assert!(t.run("EXEC").starts_with("*2\r\n*"), "also in a transaction");
}

#[test]
fn the_doctor_names_problems() {
    let mut t = Testkit::new();
    assert!(t.run("MEMORY DOCTOR").contains("so little data"));
    let mut process = ProcessStats { resident_bytes: 12 << 20, ..ProcessStats::default() };
    *t.shell.process.lock() = process;
    for n in 0..4_000 {
        t.run_args(&[b"SET", format!("k{n}").as_bytes(), &[b'x'; 2_000]]);
    }
    assert_eq!(t.run("MEMORY DOCTOR"), "$34\r\nNo problem with memory was found.\n\r\n");
    assert!(t.resp3().run("MEMORY DOCTOR").starts_with("=38\r\ntxt:No problem"));
    process.resident_bytes = 64 << 20;
    *t.shell.process.lock() = process;
    t.store.memory().set_limit(t.store.memory().used() + 1000);
    let advice = t.run("MEMORY DOCTOR");
    assert_eq!(advice.matches("\n* ").count() + usize::from(advice.contains("txt:* ")), 2, "{advice}");
    assert!(advice.contains("gaps") && advice.contains("noeviction"), "{advice}");
}

#[test]
fn small_answers() {
    let mut t = Testkit::new();
    assert_eq!(t.run("MEMORY PURGE"), "+OK\r\n");
    assert!(t.run("MEMORY MALLOC-STATS").starts_with("$45\r\nStats not supported"));
    assert_eq!(t.error("OBJECT"), "ERR wrong number of arguments for 'object' command");
    assert_eq!(t.error("OBJECT ENCODING"), "ERR wrong number of arguments for 'object|encoding' command");
    assert_eq!(t.error("OBJECT NOSUCH k"), "ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP.");
    assert_eq!(t.error("MEMORY nosuch"), "ERR unknown subcommand 'nosuch'. Try MEMORY HELP.");
    assert!(t.run("OBJECT HELP").contains("\r\n+ENCODING key\r\n+    Returns"));
}
