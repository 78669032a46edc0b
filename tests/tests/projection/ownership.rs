//! Keys of a projection are its own: nobody else writes, removes, or drives them out.

use crate::pond::{Pond, dump, texts};
use millpond_tests::kafka::{self, projection, until};
use millpond_tests::origin::{Origin, value};
use millpond_tests::words::request;
use millpond_tests::{Conn, Options, Reply};
use serde_json::json;
use std::io::Write;

const READONLY: &str = "READONLY key belongs to projection 'p'";

fn is_refused(reply: &Reply) -> bool {
    *reply == Reply::Error(READONLY.into())
}

/// A server with three projected strings and hashes, and a connection.
fn filled(kafka: &mut kafka::Kafka, options: Options) -> (Pond, Conn, String) {
    let topic = kafka.topic(1);
    let both = "value: { decode: json }, store: { as: hash }, key: { template: 'p:h{key}' }";
    let config = [projection("p", &[&topic], ""), projection("h", &[&topic], &both.replace("p:h", "h:"))].concat();
    kafka.send_all(&topic, (1..4).map(|n| (json!(n.to_string()), json!(format!(r#"{{"f":"{n}"}}"#)))));
    let pond = Pond::start_with(&kafka.config(&config), options);
    let mut conn = pond.ready(&["p", "h"]);
    kafka.settle(&mut conn, "p", &topic);
    kafka.settle(&mut conn, "h", &topic);
    (pond, conn, topic)
}

/// The commands that the server itself says write to keys: name, fewest words, and where its keys are.
fn writers(conn: &mut Conn) -> Vec<(String, usize, usize)> {
    let reply = conn.cmd("COMMAND");
    let row = |row: &Reply| {
        let row = row.expect_items();
        let writes = row[2].expect_items().iter().any(|flag| flag.text() == Some(b"write"));
        let (arity, first) = (row[1].expect_int(), row[3].expect_int());
        (writes && first > 0).then(|| (row[0].expect_text().to_owned(), arity.unsigned_abs() as usize, first as usize))
    };
    reply.expect_items().iter().filter_map(row).collect()
}

/// Every command that writes to keys is refused under the prefix, alone, in pipelines and in transactions, in every form of
/// its key; reading is not, and keys beside it are anybody's.
#[test]
fn clients_do_not_write_projected_keys() {
    let Some(mut kafka) = kafka::shared("writes") else { return };
    let (pond, mut conn, _) = filled(&mut kafka, Options::default());
    let before = (dump(&mut conn, "p:"), dump(&mut conn, "h:"));
    let writers = writers(&mut conn);
    assert!(writers.len() > 30, "{writers:?}");
    // Copying from there reads.
    for (name, fewest, first) in writers.iter().filter(|(name, ..)| name != "copy") {
        for key in ["p:1", "p:new", "p:"] {
            let mut words = vec![name.clone()];
            words.extend(
                (1..(*fewest).max(first + 1)).map(|at| if at == *first { key.to_owned() } else { "1".to_owned() }),
            );
            let reply = conn.command(&words);
            assert!(is_refused(&reply), "{words:?}: {reply}");
        }
    }
    let both = [
        "MSET a 1 p:1 2",
        "MSETNX a 1 p:9 2",
        "DEL a p:1",
        "UNLINK p:1 a",
        "RENAME p:1 a",
        "RENAME a p:1",
        "RENAMENX a p:9",
        "COPY a p:9",
        "COPY a p:1 REPLACE",
        "MOVE p:1 1",
        "SET p:1 x GET",
        "SET p:1 x KEEPTTL",
        "GETEX p:1 PERSIST",
        "EXPIRE p:1 0",
        "HDEL p:1 f",
    ];
    conn.cmd("SET a mine");
    for command in both {
        let reply = conn.cmd(command);
        assert!(is_refused(&reply), "{command}: {reply}");
    }
    // From another database into this one.
    conn.cmd("SELECT 1");
    for command in ["SET p:1 mine", "SET a mine"] {
        assert_eq!(conn.cmd(command), Reply::Status("OK".into()));
    }
    for command in ["MOVE p:1 0", "COPY a p:9 DB 0", "COPY a p:1 DB 0 REPLACE"] {
        let reply = conn.cmd(command);
        assert!(is_refused(&reply), "{command}: {reply}");
    }
    conn.cmd("SELECT 0");
    // A pipeline goes on behind what is refused.
    let pipeline: Vec<u8> = [&["SET", "p:1", "x"][..], &["SET", "a", "x"], &["DEL", "p:1"], &["GET", "p:1"]]
        .iter()
        .flat_map(|words| request(words))
        .collect();
    conn.send(&pipeline).unwrap();
    let replies = conn.read_many(4);
    let one = Reply::Bulk(br#"{"f":"1"}"#.to_vec());
    assert!(is_refused(&replies[0]) && is_refused(&replies[2]), "{replies:?}");
    assert_eq!((&replies[1], &replies[3]), (&Reply::Status("OK".into()), &one));
    for command in ["MULTI", "SET a y", "SET p:1 x", "GET p:1"] {
        conn.cmd(command);
    }
    let replies = conn.cmd("EXEC");
    let replies = replies.expect_items();
    assert!(is_refused(&replies[1]), "{replies:?}");
    assert_eq!((&replies[0], &replies[2]), (&Reply::Status("OK".into()), &one));
    assert_eq!(conn.cmd("GET a"), Reply::Bulk(b"y".into()));
    assert_eq!(conn.cmd("COPY p:1 copied"), Reply::Int(1));
    assert_eq!(conn.cmd("GET copied"), one);
    assert_eq!((dump(&mut conn, "p:"), dump(&mut conn, "h:")), before);
    drop(pond);
}

/// A database that holds a projection is not emptied and not exchanged; group revokes, by RESP and HTTP, pass over its keys.
#[test]
fn projected_keys_are_not_flushed_or_revoked() {
    let Some(mut kafka) = kafka::shared("flush") else { return };
    let (pond, mut conn, _) = filled(&mut kafka, Options::default());
    let before = (dump(&mut conn, "p:"), dump(&mut conn, "h:"));
    for command in ["FLUSHALL", "FLUSHALL ASYNC", "FLUSHDB", "FLUSHDB SYNC", "SWAPDB 0 1", "SWAPDB 1 0"] {
        let reply = conn.cmd(command);
        assert!(matches!(&reply, Reply::Error(text) if text.starts_with("READONLY ")), "{command}: {reply}");
    }
    conn.cmd("SELECT 2");
    conn.cmd("SET a mine");
    assert_eq!(conn.cmd("FLUSHDB"), Reply::Status("OK".into()));
    conn.cmd("SELECT 0");
    conn.cmd("CACHE.SERVICE SET p PREFIX p:");
    for command in [
        "CACHE.REVOKE PREFIX p:",
        "CACHE.REVOKE MATCH *",
        "CACHE.REVOKE KEY p:1",
        "CACHE.REVOKE SOFT KEY p:1",
        "CACHE.REVOKE ALL",
        "CACHE.PURGE PREFIX p:",
        "CACHE.PURGE MATCH *:1",
        "CACHE.CLEAR",
        "CACHE.CLEAR p",
    ] {
        conn.cmd("SET mine x");
        conn.cmd(command);
        assert_eq!((dump(&mut conn, "p:"), dump(&mut conn, "h:")), before, "{command}");
    }
    let actions =
        [("p/cache/clear", "{}"), ("p/cache/revoke", r#"{"pattern":"*"}"#), ("*/cache/revoke", r#"{"pattern":"*"}"#)];
    for (path, body) in actions {
        let answer = pond.send(&format!("POST /{path}"), &["content-type: application/json"], body);
        assert_eq!((dump(&mut conn, "p:"), dump(&mut conn, "h:")), before, "{path}: {answer:?}");
    }
}

/// The same for single keys named through a service: `CACHE.DELETE`, and the action of HTTP behind it.
#[test]
fn projected_keys_are_not_deleted_through_services() {
    let Some(mut kafka) = kafka::shared("delete") else { return };
    let (pond, mut conn, _) = filled(&mut kafka, Options::default());
    let before = dump(&mut conn, "p:");
    conn.cmd("CACHE.SERVICE SET p PREFIX p:");
    conn.cmd("CACHE.SERVICE SET letter PREFIX p");
    let replies = ["CACHE.DELETE p 1 9", "CACHE.DELETE letter :2"].map(|command| conn.cmd(command));
    let answer = pond.send("POST /p/cache/delete", &["content-type: application/json"], r#"{"key":"3"}"#);
    assert_eq!(dump(&mut conn, "p:"), before, "{replies:?}, {answer:?}");
}

/// Loaders write for clients: one whose service lies under the prefix writes nothing there either, whoever sets it to work.
#[test]
fn loaders_do_not_write_projected_keys() {
    let Some(mut kafka) = kafka::shared("loaders") else { return };
    let origin = Origin::start(|_| value("loaded", &[]));
    let options = Options::default().flag("origin-allow", &origin.address.to_string());
    let (pond, mut conn, _) = filled(&mut kafka, options);
    let mut before = dump(&mut conn, "p:");
    let url = format!("http://{}/x", origin.address);
    for (name, prefix, url) in
        [("s", "p:", format!("{url}/{{key}}")), ("m", "p:m", url.clone()), ("own", "own:", format!("{url}/{{key}}"))]
    {
        let reply =
            conn.cmd(&format!("CACHE.SERVICE SET {name} PREFIX {prefix} LOADER origin ORIGIN {url} FRESH 60000"));
        assert_eq!(reply, Reply::Status("OK".into()), "{name}");
    }
    let commands = [
        "GET p:plain",
        "MGET p:many",
        "EXISTS p:is",
        "SWR.GET p:new WAIT 1000",
        "SWR.MGET 1 p:newer",
        "SWR.WARM p:warm",
        "SWR.GET p:1 FORCE",
        "SWR.REFRESH p:1",
        "SWR.SET p:set x",
        "SWR.MEMO m payload WAIT 1000",
        "POST /memo/m",
    ];
    let mut written = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        let told = match command.starts_with("POST") {
            true => format!("{:?}", pond.send(command, &["content-type: text/plain"], "other payload")),
            false => conn.cmd(command).to_string(),
        };
        // What the origin was asked for before has come once this has.
        let own = format!("SWR.GET own:{at} WAIT 5000");
        until("the loader has worked", || conn.cmd(&own).to_string().contains("loaded").then_some(()));
        let after = dump(&mut conn, "p:");
        if after != before {
            written.push(format!("{command}: {told}"));
            before = after;
        }
    }
    assert!(written.is_empty(), "{written:#?}: {before:?}");
}

/// Where memory is short, keys of clients go, projected ones never; they count, and what is left out is told.
#[test]
fn projected_keys_are_not_evicted() {
    let Some(mut kafka) = kafka::shared("evicted") else { return };
    let topic = kafka.topic(1);
    kafka.ask(json!({"op": "send_many", "topic": topic, "count": 300, "keys": 100, "value_size": 1000}));
    let pond = Pond::start(&kafka.config(&projection("p", &[&topic], "")));
    let mut conn = pond.ready(&["p"]);
    let expected = texts(kafka.fold(&topic, false));
    let used = pond.server().info().number("used_memory");
    conn.cmd("CONFIG SET maxmemory-policy allkeys-lru");
    conn.cmd(&format!("CONFIG SET maxmemory {}", used + 200_000));
    let large = "x".repeat(1000);
    let sets: Vec<u8> = (0..300).flat_map(|n| request(&["SET", &format!("mine:{n}"), &large])).collect();
    let mut writer = conn.writer().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sets).unwrap());
    assert!(conn.read_many(300).iter().all(|reply| *reply == Reply::Status("OK".into())));
    writing.join().unwrap();
    assert!(pond.server().info().number("evicted_keys") > 0);
    assert_eq!(dump(&mut conn, "p:"), expected);
    // New records drive out what can go.
    kafka.ask(
        json!({"op": "send_many", "topic": topic, "count": 50, "keys": 50, "value_size": 1000, "key_prefix": "n"}),
    );
    kafka.settle(&mut conn, "p", &topic);
    assert_eq!(dump(&mut conn, "p:"), texts(kafka.fold(&topic, false)));
}
