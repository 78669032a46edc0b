//! Configurations that cannot be meant, and secrets.

use crate::pond::{self, Folder, Pond};
use millpond_tests::kafka::{self, config, projection, until};
use millpond_tests::server::{server_command, wait_for};
use millpond_tests::{Options, Reply};
use std::io::Read;
use std::process::Stdio;

const KAFKA: &str = "kafka: { main: { bootstrap_servers: '127.0.0.1:1' } }\n";
const REGISTRIES: &str = "registries: { main: { url: ['http://127.0.0.1:1'] } }\n";

/// Starts the server with this file; its exit code and what it wrote to standard error.
fn refusal(folder: &Folder, text: &str) -> (Option<i32>, String) {
    let file = folder.write("millpond.yaml", text);
    let mut command = server_command();
    command.args(["--port", "0", "--unixsocket"]).arg(folder.0.join("socket")).args(["--config", &file]);
    let child = command
        .env("MILLPOND_LOGLEVEL", "warning")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the binary");
    let mut stderr = child.stderr.take().expect("piped");
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
    });
    // One that starts is to be found out quickly: it makes its socket.
    let socket = folder.0.join("socket");
    let status = until("it ends or starts", || {
        if socket.exists() && std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            return Some(None);
        }
        child.try_wait().expect("the child is ours").map(Some)
    });
    let status = status.or_else(|| wait_briefly(&mut child));
    let _ = child.kill();
    let _ = wait_for(&mut child);
    let _ = std::fs::remove_file(socket);
    (status.and_then(|status| status.code()), reading.join().expect("it is read"))
}

/// Its socket is there before projections begin: a refusal may come a moment later.
fn wait_briefly(child: &mut std::process::Child) -> Option<std::process::ExitStatus> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    until("a moment has passed", || {
        let status = child.try_wait().expect("the child is ours");
        (status.is_some() || std::time::Instant::now() > deadline).then_some(status)
    })
}

/// A configuration of one projection with these settings.
fn one(settings: &str) -> String {
    format!("{KAFKA}{REGISTRIES}projections:\n  p: {{ source: {{ kafka: main, topics: [t] }}, {settings} }}\n")
}

/// What is wrong inside the file ends the start with a code and one line that names the place; nobody outside is asked.
#[test]
fn what_cannot_be_meant_is_refused_in_one_line() {
    if kafka::shared("settings").is_none() {
        return;
    }
    let two =
        |a: &str, b: &str| format!("{KAFKA}projections:\n{}{}", projection("a", &["t"], a), projection("b", &["t"], b));
    let key = |template: &str| format!("key: {{ template: '{template}' }}");
    let cases: &[(String, &[&str])] = &[
        // Names that are not known, at every depth.
        (one("speed: 3"), &["p", "speed"]),
        (one("store: { as: hash, color: red }"), &["p", "color"]),
        (one("ready: { max_stalenes: 1s }"), &["p", "max_stalenes"]),
        (one("errors: { crc: skip }"), &["p", "crc"]),
        (one("http: { path: /x, cache: 1s }"), &["p", "cache"]),
        ("kafka: { main: { servers: x } }\n".to_owned(), &["main", "servers"]),
        (format!("{KAFKA}registries: {{ main: {{ urls: [x] }} }}\n"), &["main", "urls"]),
        (format!("{KAFKA}projection: {{}}\n"), &["projection"]),
        // Values that are none.
        (one("store: { as: list }"), &["p", "list"]),
        (one("key: { decode: int16 }"), &["p", "int16"]),
        (one("value: { decode: protobuf }"), &["p", "protobuf"]),
        (one("ttl: { after: soon }"), &["p", "soon"]),
        (one("ttl: { after: 30 }"), &["p", "30"]),
        (one("ttl: { from: field, after: 1s }"), &["p", "field"]),
        (one("ready: { max_staleness: -1s }"), &["p", "-1s"]),
        (one("limits: { max_record: 99999999999gb }"), &["p", "99999999999gb"]),
        (one("store: { db: 16 }"), &["p", "db"]),
        (one("store: { db: -1 }"), &["p", "-1"]),
        (one("errors: { default: ignore }"), &["p", "ignore"]),
        (one("http: { path: users }"), &["p", "path"]),
        (one("http: { path: / }"), &["p", "path"]),
        (one("http: { path: '/x?y' }"), &["p", "path"]),
        (one("http: { path: /x, etag: md5 }"), &["p", "etag"]),
        // Things that do not go together.
        (one("store: { as: hash }"), &["p", "store"]),
        (one("value: { decode: json }"), &["p", "store"]),
        (one("value: { decode: avro }, store: { as: hash }"), &["p", "registry"]),
        (one("value: { decode: avro, registry: other }, store: { as: hash }"), &["p", "other"]),
        (one("key: { decode: avro, template: 'p:{key.id}' }"), &["p", "registry"]),
        (one("envelope: debezium"), &["p", "envelope"]),
        // Keys: what is not closed, what has no key in it, what loses tombstones.
        (one(&key("p:{key")), &["p", "template"]),
        (one(&key("p:}")), &["p", "template"]),
        (one(&key("p:")), &["p", "key"]),
        (one(&key("p:{topic}")), &["p", "key"]),
        (one(&key("p:{value.id}")), &["p", "tombstones"]),
        (one(&key("p:{header.x}")), &["p", "header.x"]),
        (one(&key("p:{key.id}")), &["p", "key.id"]),
        // The same keys, paths, names.
        (two(&key("user:{key}"), &key("user:{key}")), &["overlap"]),
        (two(&key("user:{key}"), &key("user:x:{key}")), &["overlap"]),
        (two(&key("{key}"), &key("user:{key}")), &["overlap"]),
        (two("http: { path: /x }", "http: { path: /x }"), &["overlap"]),
        (two("http: { path: /x }", "http: { path: /x/y }"), &["overlap"]),
        (format!("{KAFKA}projections:\n{0}{0}", projection("a", &["t"], "")), &["a", "twice"]),
        // Who is not there.
        (format!("projections:\n{}", projection("a", &["t"], "")), &["a", "main"]),
        (format!("{KAFKA}projections:\n  a: {{ source: {{ kafka: other, topics: [t] }} }}\n"), &["a", "other"]),
        (format!("{KAFKA}projections:\n  a: {{ source: {{ kafka: main, topics: [] }} }}\n"), &["a", "topics"]),
        (format!("{KAFKA}projections:\n  a: {{ source: {{ kafka: main }} }}\n"), &["a", "topics"]),
        (format!("{KAFKA}projections:\n  a: {{}}\n"), &["a", "source"]),
        (format!("{KAFKA}projections:\n  'a b': {{ source: {{ kafka: main, topics: [t] }} }}\n"), &["a b", "name"]),
        // What stands for other texts.
        (KAFKA.replace("127.0.0.1:1", "${env:NO_SUCH_VARIABLE}"), &["NO_SUCH_VARIABLE"]),
        (KAFKA.replace("127.0.0.1:1", "${file:/no/such/file}"), &["/no/such/file"]),
        (KAFKA.replace("127.0.0.1:1", "${vault:x}"), &["vault"]),
        (KAFKA.replace("127.0.0.1:1", "${env:X"), &["${"]),
        // No YAML, or none that is meant.
        ("kafka: [".to_owned(), &["millpond.yaml:2"]),
        ("kafka: 5\n".to_owned(), &["kafka"]),
        (format!("{KAFKA}{KAFKA}"), &["twice"]),
    ];
    let folder = Folder::new();
    let mut wrong = Vec::new();
    for (text, culprits) in cases {
        let (code, stderr) = refusal(&folder, text);
        let is_one_line = stderr.trim_end().lines().count() == 1;
        if code != Some(1) || !is_one_line || !culprits.iter().all(|culprit| stderr.contains(culprit)) {
            wrong.push(format!("{code:?} {stderr:?}, of {culprits:?}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Combinations that the design refuses, and such that can never work.
#[test]
fn what_can_never_work_is_refused() {
    if kafka::shared("never").is_none() {
        return;
    }
    let bytes = "key: { decode: bytes, template: 'p:{key}' }, http: { path: /x, list: scan }";
    let cases = [
        // Ids are listed as text: bytes cannot be.
        one(bytes),
        // A topic twice: the second one is never read, so it is never ready.
        format!("{KAFKA}projections:\n{}", projection("a", &["t", "t"], "")),
        // Nobody to ask.
        format!("{KAFKA}registries: {{ main: {{ url: [] }} }}\nprojections:\n{}", projection("a", &["t"], "")),
    ];
    let folder = Folder::new();
    let started: Vec<&String> = cases.iter().filter(|text| refusal(&folder, text).0 != Some(1)).collect();
    assert!(started.is_empty(), "{} start:\n{started:#?}", started.len());
}

/// Errors name what is wrong with a secret, never the secret.
#[test]
fn refusals_do_not_show_secrets() {
    if kafka::shared("hush").is_none() {
        return;
    }
    let cases = [
        // Not a list.
        "registries: { main: { url: 'http://user:hushhush@sr' } }\n".to_owned(),
        "registries: { main: { url: ['http://sr'], basic_auth: ['user:hushhush'] } }\n".to_owned(),
        "registries: { main: { url: ['http://sr'], basic_auth: { user: hushhush } } }\n".to_owned(),
        "kafka: { main: { bootstrap_servers: 'x', properties: 'sasl.password=hushhush' } }\n".to_owned(),
        "kafka: { main: { bootstrap_servers: 'x', properties: { sasl.password: [hushhush] } } }\n".to_owned(),
        "kafka: { main: 'sasl.password=hushhush' }\n".to_owned(),
        // Known to nobody, or no value of it: what librdkafka says.
        one("").replace(
            "bootstrap_servers: '127.0.0.1:1'",
            "bootstrap_servers: 'x:1', properties: { sasl.pasword: hushhush }",
        ),
        one("").replace(
            "bootstrap_servers: '127.0.0.1:1'",
            "bootstrap_servers: 'x:1', properties: { security.protocol: SSL, ssl.key.pem: hushhush }",
        ),
        one("").replace(
            "bootstrap_servers: '127.0.0.1:1'",
            "bootstrap_servers: 'x:1', properties: { security.protocol: hushhush }",
        ),
    ];
    let folder = Folder::new();
    let mut wrong = Vec::new();
    for text in &cases {
        let (code, stderr) = refusal(&folder, text);
        if code != Some(1) || stderr.contains("hushhush") {
            wrong.push(format!("{code:?} {stderr:?}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A running server shows no secret of its configuration: not in replies, metrics, logs, nor where something fails.
#[test]
fn secrets_are_shown_nowhere() {
    let Some(mut kafka) = kafka::shared("secrets") else { return };
    let topic = kafka.topic(1);
    let id = kafka.register("secrets", serde_json::json!({"type": "record", "name": "R", "fields": []}));
    kafka.send(&topic, "k", serde_json::json!({"avro": {}, "schema_id": id}));
    let address = kafka.registry().trim_start_matches("http://");
    let settings = "value: { decode: avro, registry: main }, store: { as: hash }, http: { path: /p }";
    let text = config(kafka.bootstrap(), "REGISTRY", &projection("p", &[&topic], settings));
    let works =
        text.replace("url: ['REGISTRY']", &format!("url: ['http://u:hushhush@{address}'], basic_auth: 'u:hushhush'"));
    let broken = text
        .replace(
            "url: ['REGISTRY']",
            "url: ['http://u:hushhush@127.0.0.1:1/hush', 'nonsense://u:hushhush@x'], basic_auth: 'u:hushhush'",
        )
        .replace("127.0.0.1:", "u:hushhush@127.0.0.1:");
    let with_secrets = |text: &str| {
        text.replacen("bootstrap_servers:", "properties: { client.rack: hushhush, sasl.username: hushhush, sasl.password: hushhush }, bootstrap_servers:", 1)
    };
    for (text, is_well) in [
        (with_secrets(&works), true),
        (
            with_secrets(
                &text.replace("url: ['REGISTRY']", "url: ['http://u:hushhush@127.0.0.1:1'], basic_auth: 'u:hushhush'"),
            ),
            false,
        ),
        (broken, false),
    ] {
        let pond = Pond::start_with(&text, Options::default().flag("loglevel", "debug"));
        let mut conn = pond.conn();
        if is_well {
            pond::ready(&mut conn, "p");
        } else {
            until("it says what is wrong", || (!pond::info(&mut conn, "p")["last_error"].is_empty()).then_some(()));
        }
        pond::assert_hidden(&pond, &mut conn, "hushhush");
    }
}

/// Settings that a projection relies on hold whatever the file says, and a warning says so.
#[test]
fn settings_that_it_relies_on_hold() {
    let Some(mut kafka) = kafka::shared("forced") else { return };
    let topic = kafka.topic(1);
    kafka.send(&topic, "k", "v");
    let forced = "properties: { enable.auto.commit: true, isolation.level: read_uncommitted, group.id: mine, \
                  auto.offset.reset: latest, enable.partition.eof: false }, bootstrap_servers:";
    let text = kafka.config(&projection("p", &[&topic], "")).replacen("bootstrap_servers:", forced, 1);
    let pond = Pond::start(&text);
    let mut conn = pond.ready(&["p"]);
    assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(b"v".into()));
    kafka.ask(serde_json::json!({"op": "begin", "tx": "forced-tx"}));
    kafka.send_with(&topic, "k", "w", serde_json::json!({"tx": "forced-tx"}));
    kafka.ask(serde_json::json!({"op": "abort", "tx": "forced-tx"}));
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(conn.cmd("GET p:k"), Reply::Bulk(b"v".into()));
    let output = pond.server().output();
    for setting in ["enable.auto.commit", "isolation.level", "group.id", "auto.offset.reset", "enable.partition.eof"] {
        assert!(output.lines().any(|line| line.contains("WARN") && line.contains(setting)), "{setting}: {output}");
    }
}
