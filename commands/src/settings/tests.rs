//! The settings table: sound rows, changes all or none, typed copies.

use super::kind::Kind;
use super::*;
use std::collections::HashSet;

fn shown<'p>(settings: &Settings, pattern: &'p str) -> Vec<(&'p str, String)> {
    let texts = settings.matching(&[pattern.as_bytes()]).into_iter();
    texts.map(|(name, text)| (std::str::from_utf8(name).unwrap(), String::from_utf8(text).unwrap())).collect()
}

fn refused(settings: &Settings, pairs: &[(&str, &str)]) -> (String, String) {
    let pairs: Vec<_> = pairs.iter().map(|(name, text)| (name.as_bytes(), text.as_bytes())).collect();
    let error = settings.set_all(&pairs).expect_err("refused");
    (String::from_utf8(error.name).unwrap(), error.reason.to_string())
}

#[test]
fn rows_are_sound() {
    let mut names = HashSet::new();
    let mut variables = HashSet::new();
    for row in SETTINGS {
        for name in row.names() {
            assert!(names.insert(name), "{name} twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
        for variable in row.variables() {
            assert!(variables.insert(variable.clone()), "{variable} twice");
        }
        assert!(row.doc.ends_with('.') && row.doc.len() > 10, "{}: a sentence", row.name);
        let value = row.default_value();
        assert_eq!(row.kind.parse(&value.text(), None), Ok(value), "{}: the text shown reads back", row.name);
    }
}

#[test]
fn live_copies_begin_with_the_documented_defaults() {
    let live = Settings::default().live;
    let relaxed = Ordering::Relaxed;
    assert_eq!(live.slowlog_slower_than_us.load(relaxed), 10_000);
    assert_eq!(live.slowlog_max_len.load(relaxed), 128);
    assert!(live.latency_tracking.load(relaxed) && live.protected_mode.load(relaxed));
    assert_eq!(live.latency_threshold_ms.load(relaxed), 0);
    assert_eq!((live.max_clients.load(relaxed), live.timeout_s.load(relaxed)), (10_000, 0));
    assert_eq!(live.tcp_keepalive_s.load(relaxed), 300);
    assert_eq!(live.max_bulk_bytes.load(relaxed), 512 << 20);
    assert_eq!(live.query_buffer_bytes.load(relaxed), 1 << 30);
    assert_eq!((live.output_hard_bytes.load(relaxed), live.output_soft_bytes.load(relaxed)), (0, 0));
    assert!(live.password.load().is_none());
    assert_eq!((live.max_memory_bytes.load(relaxed), live.policy()), (0, Policy::NoEviction));
}

#[test]
fn changes_reach_the_live_copies_and_the_store() {
    let settings = Settings::default();
    let store = storage::Store::new(storage::Layout::new(16, [1, 2, 3, 4]));
    for (name, policy) in Policy::NAMES {
        settings.set(b"maxmemory-policy", name.as_bytes()).unwrap();
        settings.apply_memory(&store);
        assert_eq!((store.memory().policy(), settings.effective_policy()), (policy, Policy::NoEviction));
    }
    settings.set(b"MaxMemory", b"10mb").unwrap();
    settings.apply_memory(&store);
    assert_eq!(store.memory().limit(), 10 << 20);
    assert_eq!(settings.effective_policy(), Policy::VolatileTtl);
    assert_eq!(settings.number("maxmemory"), 10 << 20);

    settings.set(b"requirepass", b"\xffsecret").unwrap();
    assert_eq!(settings.live.password.load().as_deref().map(Vec::as_slice), Some(&b"\xffsecret"[..]));
    settings.set(b"requirepass", b"").unwrap();
    assert!(settings.live.password.load().is_none());

    settings.set(b"client-output-buffer-limit", b"normal 1kb 512 7").unwrap();
    let live = &settings.live;
    let limits = (
        live.output_hard_bytes.load(Ordering::Relaxed),
        live.output_soft_bytes.load(Ordering::Relaxed),
        live.output_soft_s.load(Ordering::Relaxed),
    );
    assert_eq!(limits, (1024, 512, 7));
}

#[test]
fn every_live_number_and_switch_reaches_its_copy() {
    let settings = Settings::default();
    for row in SETTINGS.iter().filter(|row| row.class == Class::Live) {
        let other = match (row.kind, row.default_value()) {
            (Kind::Bytes { .. } | Kind::Integer { .. }, value) if value.number() == 0 => "1".into(),
            (Kind::Bytes { .. } | Kind::Integer { .. }, value) => (value.number() - 1).to_string(),
            (Kind::Switch, value) => if value.is_on() { "no" } else { "yes" }.into(),
            _ => continue,
        };
        let before = format!("{:?}", settings.live);
        settings.set(row.name.as_bytes(), other.as_bytes()).unwrap();
        assert_ne!(format!("{:?}", settings.live), before, "{}", row.name);
        assert_eq!(settings.text(row.name), other);
    }
}

#[test]
fn all_or_nothing() {
    let settings = Settings::default();
    let before = shown(&settings, "*");
    for (pairs, name, reason) in [
        (&[("timeout", "5"), ("maxmemory", "abc")][..], "maxmemory", "argument must be a memory value"),
        (&[("timeout", "5"), ("Nope", "1")], "Nope", "unknown setting"),
        (&[("timeout", "5"), ("port", "1")], "port", "can't set immutable config"),
        (&[("timeout", "5"), ("port", "x")], "port", "can't set immutable config"),
        (&[("timeout", "5"), ("save", "60 1")], "save", "can't set immutable config"),
        (&[("timeout", "5"), ("appendonly", "yes")], "appendonly", "can't set immutable config"),
        (&[("timeout", "5"), ("TIMEOUT", "6")], "timeout", "duplicate parameter"),
        (&[("timeout", "x"), ("nope", "1")], "nope", "unknown setting"),
        (&[("maxclients", "0")], "maxclients", "argument must be between 1 and 4294967295 inclusive"),
        (
            &[("proto-max-bulk-len", "1gb")],
            "proto-max-bulk-len",
            "argument must be between 1048576 and 536870912 inclusive",
        ),
    ] {
        assert_eq!(refused(&settings, pairs), (name.into(), reason.into()), "{pairs:?}");
        assert_eq!(shown(&settings, "*"), before, "{pairs:?}");
    }
    let changed = settings.set_all(&[(b"timeout", b"5"), (b"databases", b"16"), (b"hz", b"20")]).unwrap();
    assert_eq!(changed.iter().map(|row| row.name).collect::<Vec<_>>(), ["timeout", "hz"]);
}

#[test]
fn aliases_are_one_setting() {
    let settings = Settings::default();
    settings.set_all(&[(b"lua-time-limit", b"1"), (b"busy-reply-threshold", b"2")]).unwrap();
    assert_eq!(shown(&settings, "*lua-time*"), [("lua-time-limit", "2".into())]);
    assert_eq!(settings.text("busy-reply-threshold"), "2");
    assert_eq!(refused(&settings, &[("LUA-time-limit", "x")]).0, "lua-time-limit");
    assert_eq!(shown(&settings, "*-READ-only").len(), 2);
}

#[test]
fn matching_names_each_once() {
    let settings = Settings::default();
    let found = settings.matching(&[b"maxmemory*", b"MAXMEMORY", b"nope", b"databases"]);
    let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [&b"maxmemory"[..], b"maxmemory-policy", b"maxmemory-samples", b"databases"]);
    assert_eq!(shown(&settings, "DataBases"), [("DataBases", "16".into())], "spelled as asked for");
    assert_eq!(shown(&settings, "DataBase?"), [("databases", "16".into())]);
    let all: usize = SETTINGS.iter().map(|row| row.names().count()).sum();
    assert_eq!(settings.matching(&[b"*"]).len(), all);
}

#[test]
fn at_the_start_more_can_be_given() {
    let settings = Settings::default();
    settings.start("port", b"7000").unwrap();
    settings.start("io-threads", b"4").unwrap();
    settings.start("save", b"").unwrap();
    settings.start("hz", b"100").unwrap();
    assert_eq!((settings.number("port"), settings.number("threads")), (7000, 4));
    assert_eq!(settings.start("appendonly", b"yes"), Err(Reason::Immutable));
    assert_eq!(settings.start("nope", b""), Err(Reason::Unknown));
    assert!(matches!(settings.start("port", b"70000"), Err(Reason::Value(_))));
    settings.set(b"port", b"7000").expect("the value it has");
    settings.record("dir", "/srv");
    assert_eq!(settings.text("dir"), "/srv");
}

#[test]
fn each_policy_takes_effect_by_its_name() {
    let settings = Settings::default();
    for (name, policy) in Policy::NAMES {
        settings.set(b"maxmemory-policy", name.as_bytes()).unwrap();
        assert_eq!((settings.live.policy(), settings.text("maxmemory-policy").as_str()), (policy, name));
    }
    let (at, _) = table::find(b"maxmemory-policy").unwrap();
    settings.set(b"maxmemory-policy", b"allkeys-lfu").unwrap();
    (SETTINGS[at].apply)(&settings.live, &Value::Choice("no-such-policy"));
    assert_eq!(settings.live.policy(), Policy::AllKeysLfu, "what is no policy changes nothing");
}
