//! Freshness over the wire: readers on two cores that wait for one load, what they get, and who loads when the loader has
//! gone.

use millpond_tests::server::is_oracle;
use millpond_tests::words::request;
use millpond_tests::{Conn, Options, Reply, Server};
use std::time::Duration;

/// The server under test, or nothing where another server is (it has none of these commands).
fn start() -> Option<Server> {
    if is_oracle() { None } else { Server::start_with(Options::default().flag("io-threads", "2")) }
}

fn text(reply: &Reply) -> Option<String> {
    reply.text().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// State, value and token of an answer.
fn told(reply: &Reply) -> (String, Option<String>, Option<String>) {
    let items = reply.expect_items();
    (text(&items[0]).expect("a state"), text(&items[1]), text(&items[2]))
}

fn token(conn: &mut Conn, line: &str) -> String {
    let reply = conn.cmd(line);
    told(&reply).2.unwrap_or_else(|| panic!("{line}: {reply:?}"))
}

/// Returns once so many clients wait.
fn until_blocked(server: &Server, count: i64) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server.info().number("blocked_clients") != count {
        assert!(std::time::Instant::now() < deadline, "{} wait", server.info().number("blocked_clients"));
        std::thread::yield_now();
    }
}

#[test]
fn one_load_serves_all_readers_of_all_cores() {
    let Some(server) = start() else { return };
    let mut loader = server.connect_ready();
    let token = token(&mut loader, "SWR.GET k");
    let mut readers: Vec<Conn> = (0..200).map(|_| server.connect_ready()).collect();
    for reader in &mut readers {
        // The second request runs once the first is answered.
        reader.send(&[request(&["SWR.GET", "k", "WAIT", "10000"]), request(&["GET", "k"])].concat()).unwrap();
    }
    until_blocked(&server, 200);
    let value = "v".repeat(100_000);
    let fill = loader.command(&["SWR.FILL", "k", &token, "VALUE", &value, "FRESH", "60000"]);
    assert_eq!(fill, Reply::Status("OK".into()));
    for reader in &mut readers {
        let replies = reader.read_many(2);
        assert_eq!(told(&replies[0]), ("FILLED".into(), Some(value.clone()), None));
        assert_eq!(text(&replies[1]).as_deref(), Some(&*value));
        assert_eq!(told(&reader.cmd("SWR.GET k")).0, "HIT");
    }
    let info = server.info();
    assert_eq!((info.number("blocked_clients"), info.number("swr_coalesced")), (0, 200));
    assert_eq!((info.number("swr_tokens"), info.number("swr_filled"), info.number("swr_side_bytes")), (1, 200, 0));
}

#[test]
fn a_loader_that_goes_is_followed_by_a_reader() {
    let Some(server) = start() else { return };
    let mut loader = server.connect_ready();
    token(&mut loader, "SWR.GET k LEASE 60000");
    let (mut first, mut second) = (server.connect_ready(), server.connect_ready());
    first.send(&request(&["SWR.GET", "k", "WAIT", "10000"])).unwrap();
    until_blocked(&server, 1);
    second.send(&request(&["SWR.GET", "k", "WAIT", "10000"])).unwrap();
    until_blocked(&server, 2);
    drop(loader);
    let (state, _, handed) = told(&first.read().unwrap());
    assert!(state == "MISS" && handed.is_some());
    // Gone without a word, RESET, and one that waits and is gone: the load is handed on.
    assert_eq!(first.cmd("RESET"), Reply::Status("RESET".into()));
    let (state, _, handed) = told(&second.read().unwrap());
    assert!(state == "MISS" && handed.is_some());
    let mut third = server.connect_ready();
    third.send(&request(&["SWR.GET", "k", "WAIT", "10000"])).unwrap();
    until_blocked(&server, 1);
    drop(third);
    until_blocked(&server, 0);
    let fill = second.command(&["SWR.FILL", "k", &handed.unwrap(), "VALUE", "v"]);
    assert_eq!(fill, Reply::Status("OK".into()));
    assert_eq!(server.info().number("swr_side_bytes"), 0);
}

#[test]
fn waits_end_when_they_are_told_to() {
    let Some(server) = start() else { return };
    let mut loader = server.connect_ready();
    token(&mut loader, "SWR.GET k LEASE 60000");
    let mut reader = server.connect_ready();
    let id = reader.cmd("CLIENT ID").expect_int();
    let wait = |reader: &mut Conn, ms: &str| {
        reader.send(&request(&["SWR.GET", "k", "WAIT", ms])).unwrap();
        until_blocked(&server, 1);
    };
    assert_eq!(loader.cmd(&format!("CLIENT UNBLOCK {id}")), Reply::Int(0));
    wait(&mut reader, "10000");
    assert!(text(&loader.cmd("CLIENT LIST")).unwrap().contains("flags=b"));
    assert_eq!(loader.cmd(&format!("CLIENT UNBLOCK {id}")), Reply::Int(1));
    assert_eq!(told(&reader.read().unwrap()).0, "WAIT");
    wait(&mut reader, "10000");
    assert_eq!(loader.cmd(&format!("CLIENT UNBLOCK {id} ERROR")), Reply::Int(1));
    assert_eq!(reader.read(), Ok(Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())));
    // A worker, also one that names its service twice.
    loader.cmd("CACHE.SERVICE SET w PREFIX w: LOADER worker");
    reader.send(&request(&["SWR.NEXT", "w", "w", "BLOCK", "0"])).unwrap();
    until_blocked(&server, 1);
    assert_eq!(loader.cmd(&format!("CLIENT UNBLOCK {id}")), Reply::Int(1));
    assert_eq!(reader.read(), Ok(Reply::Array(Vec::new())));
    // By itself.
    assert_eq!(told(&reader.cmd("SWR.GET k WAIT 30")).0, "WAIT");
    // A killed one takes nothing with it.
    wait(&mut reader, "10000");
    loader.cmd(&format!("CLIENT KILL ID {id}"));
    assert!(reader.is_closed());
    until_blocked(&server, 0);
}

/// A write wakes those who wait for a load, and a shutdown does not wait for them.
#[test]
fn writes_answer_waiting_readers() {
    let Some(mut server) = start() else { return };
    let mut loader = server.connect_ready();
    let token = token(&mut loader, "SWR.GET k");
    let mut reader = server.connect_ready();
    reader.send(&request(&["SWR.GET", "k", "WAIT", "10000", "META"])).unwrap();
    until_blocked(&server, 1);
    loader.cmd("SET k written");
    let reply = reader.read().unwrap();
    assert_eq!(
        (told(&reply).0, told(&reply).1, reply.expect_items().len()),
        ("FILLED".into(), Some("written".into()), 5)
    );
    let fill = loader.command(&["SWR.FILL", "k", &token, "VALUE", "old"]);
    assert_eq!(fill, Reply::Status("SUPERSEDED".into()));
    self::token(&mut loader, "SWR.GET other");
    reader.send(&request(&["SWR.GET", "other", "WAIT", "10000"])).unwrap();
    until_blocked(&server, 1);
    assert!(server.stop().success());
}
