//! Schema registries that are down, slow, wrong: what waits for them, and that nothing is skipped.

use crate::pond::{self, Pond, count, dump, errors, info, states};
use millpond_tests::kafka::{self, Kafka, bytes, projection, until};
use millpond_tests::origin::{Origin, Told, answer};
use millpond_tests::{Conn, Reply};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A value of `{"n": long}` with the schema of this id, by hand: no registry is asked for it.
fn value(id: u8, n: u8) -> Value {
    bytes(&[0, 0, 0, 0, id, n * 2])
}

fn schema(name: &str) -> Told {
    let schema = json!({"type": "record", "name": name, "fields": [{"name": "n", "type": "long"}]}).to_string();
    ok(&json!({"schema": schema}))
}

fn ok(body: &Value) -> Told {
    answer("200 OK", &["content-type: application/vnd.schemaregistry.v1+json"], &body.to_string())
}

/// A registry that always knows schema 1 and, once it is well, all others; before, it answers for them as the first part of
/// the path says.
fn ailing() -> (Origin, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let origin = Origin::start(move |asked| {
        let mode = asked.line.trim_start_matches("GET /").split('/').next().unwrap_or_default();
        if asked.line.ends_with("/schemas/ids/1") || well.load(Ordering::SeqCst) {
            return schema("R");
        }
        match mode {
            "404" => answer("404 Not Found", &[], r#"{"error_code":40403,"message":"Schema not found"}"#),
            "garbage" => answer("200 OK", &[], "<html>please log in</html>"),
            "strange" => ok(&json!({"schema": 5, "references": "none"})),
            "large" => ok(&json!({"schema": format!("\"{}\"", "x".repeat(2 << 20))})),
            "endless" => Told::Endless(vec![b'x'; 1 << 16]),
            "cut" => Told::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"schema".to_vec()),
            "closed" => Told::Last(Vec::new()),
            "silent" => Told::Silence,
            status => answer(&format!("{status} No"), &[], "{}"),
        }
    });
    (origin, is_well)
}

fn registries(origin: &Origin, modes: &[&str], more: &str) -> String {
    let line = |mode: &&str| {
        format!(
            "  r{mode}: {{ url: ['http://{}/{mode}'], timeout: 300ms, negative_ttl: 50ms, {more} }}\n",
            origin.address
        )
    };
    format!("registries:\n{}", modes.iter().map(line).collect::<String>())
}

fn config(kafka: &Kafka, registries: &str, projections: &str) -> String {
    let bootstrap = kafka.bootstrap();
    format!("kafka:\n  main: {{ bootstrap_servers: '{bootstrap}' }}\n{registries}projections:\n{projections}")
}

fn hashes(name: &str, topic: &str, registry: &str) -> String {
    projection(name, &[topic], &format!("value: {{ decode: avro, registry: {registry} }}, store: {{ as: hash }}"))
}

fn n(conn: &mut Conn, key: &str) -> Reply {
    conn.cmd(&format!("HGET {key} n"))
}

fn number(n: u8) -> Reply {
    Reply::Bulk(n.to_string().into())
}

/// Whatever a registry answers that is no schema, or nothing: the partition that needs it is blocked, the other one goes on,
/// nothing is skipped, and once the registry is well all is read by itself. Nothing but ids is asked for, by GET alone.
#[test]
fn only_the_partition_that_needs_a_schema_waits() {
    const MODES: [&str; 11] =
        ["404", "500", "503", "401", "403", "429", "garbage", "strange", "large", "cut", "closed"];
    let Some(mut kafka) = kafka::shared("ailing") else { return };
    let topic = kafka.topic(2);
    let (origin, is_well) = ailing();
    let modes = [&MODES[..], &["silent", "endless"]].concat();
    let projections: String = modes.iter().map(|mode| hashes(mode, &topic, &format!("r{mode}"))).collect();
    let registries = registries(&origin, &modes, "unknown_schema_grace: 1h");
    kafka.send_with(&topic, "one", value(1, 1), json!({"partition": 1}));
    let pond = Pond::start(&config(&kafka, &registries, &projections));
    let mut conn = pond.ready(&modes);
    kafka.send_with(&topic, "two", value(2, 2), json!({"partition": 1}));
    kafka.send_with(&topic, "three", value(1, 3), json!({"partition": 1}));
    let (_, offset) = kafka.send_with(&topic, "other", value(1, 4), json!({"partition": 0}));
    for mode in &modes {
        until(&format!("{mode}: the partition waits"), || {
            (states(&mut conn, mode) == ["live", "blocked_schema"]).then_some(())
        });
        assert_eq!(conn.cmd(&format!("PROJECTION.WAIT {mode} OFFSET 0 {offset} 10000")), Reply::Int(1), "{mode}");
        let keys: Vec<String> = dump(&mut conn, &format!("{mode}:")).into_keys().collect();
        assert_eq!(keys, ["one", "other"], "{mode}");
        let told = info(&mut conn, mode);
        assert_eq!((&*told["state"], &*told["skipped"], &*told["is_ready"]), ("blocked_schema", "0", "1"), "{mode}");
        until(&format!("{mode}: the reason is told"), || {
            (!info(&mut conn, mode)["last_error"].is_empty()).then_some(())
        });
    }
    assert_eq!(pond.get("/healthz").status, 200);
    is_well.store(true, Ordering::SeqCst);
    for mode in &modes {
        kafka.settle(&mut conn, mode, &topic);
        assert_eq!(n(&mut conn, &format!("{mode}:two")), number(2), "{mode}");
        assert_eq!(n(&mut conn, &format!("{mode}:three")), number(3), "{mode}");
        assert_eq!((states(&mut conn, mode), errors(&mut conn, mode)), (vec!["live".to_owned(); 2], vec![]), "{mode}");
    }
    let asked = origin.asked();
    let is_plain = |line: &str| line.starts_with("GET ") && line.contains("/schemas/ids/");
    assert!(asked.iter().all(|asked| is_plain(&asked.line)), "{asked:?}");
}

/// A schema that no registry knows is waited for as long as was asked; then its record is poison. The id is not forgotten for
/// ever: when it is registered later, later records are read.
#[test]
fn a_schema_registered_too_late() {
    let Some(mut kafka) = kafka::shared("late") else { return };
    let topic = kafka.topic(1);
    let (origin, is_well) = ailing();
    let registries = registries(&origin, &["404"], "unknown_schema_grace: 400ms");
    let pond = Pond::start(&config(&kafka, &registries, &hashes("p", &topic, "r404")));
    let mut conn = pond.ready(&["p"]);
    let begun = std::time::Instant::now();
    kafka.send(&topic, "too-late", value(2, 1));
    kafka.send(&topic, "behind", value(1, 1));
    kafka.settle(&mut conn, "p", &topic);
    assert!(begun.elapsed().as_millis() >= 400, "poison after {:?}", begun.elapsed());
    assert_eq!(errors(&mut conn, "p")[0].0, "unknown_schema");
    assert_eq!((n(&mut conn, "p:too-late"), n(&mut conn, "p:behind")), (Reply::Nil, number(1)));
    is_well.store(true, Ordering::SeqCst);
    // Well past the time in which an unknown id need not be asked for again.
    until("the registry's silence has ended", || (begun.elapsed().as_millis() >= 1500).then_some(()));
    kafka.send(&topic, "in-time", value(2, 2));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(n(&mut conn, "p:in-time"), number(2), "{:?}", errors(&mut conn, "p"));
}

/// A registry that hangs is not asked for the same schema again and again behind its own back: when it is well again, what
/// was asked for meanwhile does not fall upon it.
#[test]
fn a_hanging_registry_is_not_flooded() {
    let Some(mut kafka) = kafka::shared("flood") else { return };
    let topic = kafka.topic(4);
    let (origin, is_well) = ailing();
    let registries = registries(&origin, &["silent"], "");
    let pond = Pond::start(&config(&kafka, &registries, &hashes("p", &topic, "rsilent")));
    let mut conn = pond.ready(&["p"]);
    for partition in 0..4 {
        kafka.send_with(&topic, "k", value(2 + partition, 1), json!({"partition": partition}));
    }
    // It answers a question in 300 ms with nothing, and is asked for four ids.
    until("it was asked ten times", || (origin.count() >= 10).then_some(()));
    is_well.store(true, Ordering::SeqCst);
    let before = origin.count();
    kafka.settle(&mut conn, "p", &topic);
    // Something new is asked for behind all that waits.
    kafka.send_with(&topic, "new", value(9, 1), json!({"partition": 0}));
    kafka.settle(&mut conn, "p", &topic);
    let after = origin.count() - before;
    assert!(after <= 8, "five schemas were asked for {after} times");
}

/// Schemas that are kept on disk are known while the registry is down, after a kill as well; those of another registry are not
/// taken for them, and half a file is none.
#[test]
fn schemas_are_kept_on_disk() {
    let Some(mut kafka) = kafka::shared("kept") else { return };
    let topic = kafka.topic(1);
    let origin = Origin::start(|asked| match asked.line.contains("/one/") {
        true => schema("R"),
        false => answer("500 No", &[], "{}"),
    });
    let kept = pond::Folder::new();
    let of = |path: &str| {
        let cache = kept.0.display();
        let address = origin.address;
        let registries = format!(
            "registries:\n  main: {{ url: ['http://{address}/{path}'], cache_dir: {cache}, negative_ttl: 100ms }}\n"
        );
        config(&kafka, &registries, &hashes("p", "TOPIC", "main")).replace("TOPIC", &topic)
    };
    let (one, other) = (of("one"), of("other"));
    kafka.send(&topic, "k", value(2, 5));
    let mut pond = Pond::start(&one);
    assert_eq!(n(&mut pond.ready(&["p"]), "p:k"), number(5));
    assert_eq!(origin.count(), 1);
    pond.crash();
    assert_eq!(n(&mut pond.ready(&["p"]), "p:k"), number(5));
    assert_eq!(origin.count(), 1, "it is kept");
    let pond = Pond::start(&other);
    let mut conn = pond.conn();
    until("another registry's ids are others", || (info(&mut conn, "p")["state"] == "blocked_schema").then_some(()));
    let mut files = vec![kept.0.clone()];
    while let Some(path) = files.pop() {
        match path.is_dir() {
            true => files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path())),
            false => std::fs::write(&path, "{\"schema\": \"{").unwrap(),
        }
    }
    let pond = Pond::start(&one);
    assert_eq!(n(&mut pond.ready(&["p"]), "p:k"), number(5));
}

/// Keys have schemas of their own, addresses are tried in turn, and whoever logs in says so in each request.
#[test]
fn addresses_and_logins() {
    let Some(mut kafka) = kafka::shared("login") else { return };
    let topic = kafka.topic(1);
    // user:sesame
    let origin = Origin::start(|asked| match asked.header("authorization") {
        Some("Basic dXNlcjpzZXNhbWU=") => schema("R"),
        _ => answer("401 Unauthorized", &[], "{}"),
    });
    let dead = millpond_tests::server::free_port(std::net::Ipv4Addr::LOCALHOST.into());
    let registries = format!(
        "registries:\n  main: {{ url: ['http://127.0.0.1:{dead}', 'http://{}/'], basic_auth: 'user:sesame', timeout: 1s }}\n",
        origin.address
    );
    let more = "key: { decode: avro, registry: main, template: 'p:{key.n}' }, value: { decode: avro, registry: main }, \
                store: { as: hash }";
    kafka.send(&topic, value(7, 1), value(1, 1));
    let pond = Pond::start(&config(&kafka, &registries, &projection("p", &[&topic], more)));
    let mut conn = pond.ready(&["p"]);
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(n(&mut conn, "p:1"), number(1));
}

/// A schema that is no Avro will never be one: its records cannot be read, which is no outage. What is behind them is read.
#[test]
fn a_schema_of_another_language_is_no_outage() {
    let Some(mut kafka) = kafka::shared("language") else { return };
    let topic = kafka.topic(1);
    let origin = Origin::start(|asked| match asked.line.ends_with("/2") {
        true => ok(&json!({"schemaType": "PROTOBUF", "schema": "syntax = \"proto3\"; message M { int64 n = 1; }"})),
        false => schema("R"),
    });
    let registries = registries(&origin, &["main"], "");
    let pond = Pond::start(&config(&kafka, &registries, &hashes("p", &topic, "rmain")));
    let mut conn = pond.ready(&["p"]);
    kafka.send(&topic, "other", value(2, 1));
    let (_, offset) = kafka.send(&topic, "behind", value(1, 3));
    let reply = conn.cmd(&format!("PROJECTION.WAIT p OFFSET 0 {offset} 5000"));
    assert_eq!(reply, Reply::Int(1), "{:?}", info(&mut conn, "p"));
    assert_eq!((n(&mut conn, "p:other"), n(&mut conn, "p:behind")), (Reply::Nil, number(3)));
    assert_eq!(errors(&mut conn, "p")[0].0, "decode");
}

/// The real registry: down at the start, killed while new schemas come, hung. What needs it waits, the rest goes on, and all is
/// there once it answers again.
#[test]
fn the_registry_is_killed_and_hangs() {
    let Some(mut kafka) = kafka::alone_with_registry("killed") else { return };
    let topic = kafka.topic(2);
    let other = kafka.topic(1);
    let record = |name: &str| json!({"type": "record", "name": name, "fields": [{"name": "n", "type": "long"}]});
    let ids = ["A", "B", "C"].map(|name| kafka.register(&format!("killed-{name}"), record(name)));
    let value = |at: usize, n: i64| json!({"avro": {"n": n}, "schema_id": ids[at]});
    // The producer keeps what it has once looked up.
    for at in 0..3 {
        kafka.send(&other, "k", value(at, 1));
    }
    kafka.send_with(&topic, "a", value(0, 1), json!({"partition": 0}));
    kafka.send_with(&topic, "b", value(0, 1), json!({"partition": 1}));
    let config = kafka.config(&hashes("p", &topic, "main"));
    let pond = Pond::start(&config);
    let mut conn = pond.ready(&["p"]);
    let waits = |kafka: &mut Kafka, conn: &mut Conn, at: usize| {
        kafka.send_with(&topic, "a", value(at, 10 + at as i64), json!({"partition": 0}));
        kafka.send_with(&topic, "a", value(0, 20 + at as i64), json!({"partition": 0}));
        until("it waits", || (states(conn, "p") == ["blocked_schema", "live"]).then_some(()));
        let (_, offset) = kafka.send_with(&topic, "b", value(0, 10 + at as i64), json!({"partition": 1}));
        assert_eq!(conn.cmd(&format!("PROJECTION.WAIT p OFFSET 1 {offset} 10000")), Reply::Int(1));
        assert_eq!(n(conn, "p:b"), number(10 + at as u8));
    };
    kafka.control("kill-registry");
    waits(&mut kafka, &mut conn, 1);
    let late = Pond::start(&config);
    let mut late_conn = late.conn();
    until("it waits", || (info(&mut late_conn, "p")["state"] == "blocked_schema").then_some(()));
    assert!(matches!(n(&mut late_conn, "p:b"), Reply::Error(text) if text.starts_with("LOADING ")));
    assert_eq!((late.get("/readyz").status, late.get("/healthz").status), (503, 200));
    kafka.control("start-registry");
    pond::ready(&mut late_conn, "p");
    kafka.settle(&mut conn, "p", &topic);
    kafka.control("stop-registry");
    waits(&mut kafka, &mut conn, 2);
    kafka.control("cont-registry");
    for conn in [&mut conn, &mut late_conn] {
        kafka.settle(conn, "p", &topic);
        assert_eq!(dump(conn, "p:").len(), 2);
        assert_eq!((n(conn, "p:a"), n(conn, "p:b"), count(conn, "p", "skipped")), (number(22), number(12), 0));
    }
}
