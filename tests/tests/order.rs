//! The order of replies when a request of a pipeline takes its time, and several threads at once.

use millpond_tests::conn::{Broken, REPLY_DEADLINE};
use millpond_tests::words::request;
use millpond_tests::{Conn, Options, Reply, Server};
use std::collections::HashSet;
use std::time::{Duration, Instant};

fn ok() -> Reply {
    Reply::Status("OK".into())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

/// What waited behind the pause is answered without another byte from the peer, also what stood in quotes; the half
/// request behind it waits for its rest.
#[test]
fn a_pause_in_the_middle_of_a_pipeline() {
    const PAUSE: Duration = Duration::from_millis(300);
    let server = Server::start();
    let mut conn = server.connect();
    let half = request(&["ECHO", "complete"]);
    let (head, rest) = half.split_at(half.len() - 6);
    let bytes = [
        request(&["SET", "before", "1"]).as_slice(),
        b"CLIENT PAUSE 300 ALL\r\n",
        b"ECHO \"one 'two' \\x41\"\r\n",
        b"SET 'a key' \"a \\\"value\\\"\"\r\n",
        &request(&["GET", "a key"]),
        b"  ECHO 'it\\'s'  \r\n",
        head,
    ]
    .concat();
    let started = Instant::now();
    conn.send(&bytes).unwrap();
    assert_eq!(conn.read_many(2), [ok(), ok()]);
    assert_eq!(conn.read(), Ok(bulk("one 'two' A")));
    let paused = started.elapsed();
    assert!(paused >= PAUSE - Duration::from_millis(20), "answered after {paused:?} of {PAUSE:?}");
    assert!(paused < PAUSE + Duration::from_secs(5), "answered only after {paused:?}");
    assert_eq!(conn.read_many(3), [ok(), bulk("a \"value\""), bulk("it's")]);
    assert!(matches!(conn.read_within(Duration::from_millis(20)), Err(Broken::Timeout(_))), "half a request");
    conn.send(rest).unwrap();
    assert_eq!(conn.read(), Ok(bulk("complete")));
}

/// A malformed frame behind a request that ends the connection's turn (its reply is large, or it sleeps) was already
/// parsed and left out; parsed again, it must still give the error and the close.
#[test]
fn a_malformed_frame_behind_the_end_of_a_turn() {
    let server = Server::start();
    let large = "v".repeat(100_000);
    server.connect().command(&["SET", "large", &large]);
    for (first, reply) in [(vec!["GET", "large"], bulk(&large)), (vec!["DEBUG", "SLEEP", "0.1"], ok())] {
        let mut conn = server.connect();
        conn.send(&[request(&first).as_slice(), b"*1\r\n!oops\r\n"].concat()).unwrap();
        assert_eq!(conn.read(), Ok(reply), "{first:?}");
        assert_eq!(conn.read(), Ok(Reply::Error("ERR Protocol error: expected '$', got '!'".into())), "{first:?}");
        assert_eq!(conn.read(), Err(Broken::Closed), "{first:?}");
    }
}

/// Requests over thousands of keys take turns with other connections; their own connection still sees one order.
#[test]
fn long_requests_keep_their_place_in_a_pipeline() {
    const KEYS: usize = 5000;
    let server = Server::start();
    let mut conn = server.connect();
    let mut other = server.connect();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key:{n}")).collect();
    let all =
        |name: &'static str| request(&std::iter::once(name).chain(keys.iter().map(String::as_str)).collect::<Vec<_>>());
    let mset: Vec<&str> = std::iter::once("MSET").chain(keys.iter().flat_map(|key| [key.as_str(), "v"])).collect();
    for round in 0..3 {
        let mut bytes = request(&mset);
        for step in [request(&["KEYS", "*"]), all("EXISTS"), all("DEL"), request(&["KEYS", "key:*"]), all("UNLINK")] {
            bytes.extend(request(&["INCR", "step"]));
            bytes.extend(step);
        }
        bytes.extend(request(&["DBSIZE"]));
        bytes.extend(request(&["GETDEL", "step"]));
        // From another thread: the replies may fill the socket before the last request is written.
        let mut writer = conn.writer().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&bytes));
        assert_eq!(other.cmd("PING"), Reply::Status("PONG".into()));
        assert_eq!(conn.read(), Ok(ok()), "MSET of round {round}");
        let listed = |reply: Reply| reply.expect_items().iter().map(|key| key.expect_text().to_owned()).collect();
        assert_eq!(conn.read(), Ok(Reply::Int(1)));
        let found: HashSet<String> = listed(conn.read().unwrap());
        let expected: HashSet<String> = keys.iter().cloned().chain(["step".into()]).collect();
        assert!(found == expected, "KEYS of round {round} finds {} keys", found.len());
        assert_eq!(conn.read_many(2), [Reply::Int(2), Reply::Int(KEYS as i64)], "EXISTS of round {round}");
        assert_eq!(conn.read_many(2), [Reply::Int(3), Reply::Int(KEYS as i64)], "DEL of round {round}");
        assert_eq!(conn.read_many(2), [Reply::Int(4), Reply::Array(Vec::new())], "KEYS after DEL of round {round}");
        assert_eq!(conn.read_many(2), [Reply::Int(5), Reply::Int(0)], "UNLINK of round {round}");
        assert_eq!(conn.read_many(2), [Reply::Int(1), bulk("5")], "the end of round {round}");
        sender.join().unwrap().unwrap();
    }
}

#[test]
fn increments_on_two_threads_are_exact() {
    const CONNECTIONS: usize = 50;
    const EACH: usize = 200;
    let Some(server) = Server::start_with(Options::default().flag("threads", "2")) else { return };
    let mut conns: Vec<Conn> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    let bytes = request(&["INCR", "n"]).repeat(EACH);
    for conn in &mut conns {
        conn.send(&bytes).unwrap();
    }
    let mut seen = HashSet::new();
    for (index, conn) in conns.iter_mut().enumerate() {
        let mut last = 0;
        for reply in conn.read_many(EACH) {
            let Reply::Int(n) = reply else { panic!("connection {index}: {reply}") };
            assert!(n > last, "connection {index} sees {n} after {last}");
            assert!(seen.insert(n), "{n} was answered twice");
            last = n;
        }
    }
    assert_eq!(conns[0].cmd("GET n"), bulk(&(CONNECTIONS * EACH).to_string()));
}

/// Steps over all stripes meet steps over all stripes; each round trip has the deadline of a reply.
#[test]
fn transactions_and_flushes_on_two_threads_end() {
    const CONNECTIONS: usize = 6;
    const ROUNDS: usize = 150;
    let Some(server) = Server::start_with(Options::default().flag("threads", "2")) else { return };
    let started = Instant::now();
    std::thread::scope(|scope| {
        for index in 0..CONNECTIONS {
            let mut conn = server.connect();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mine = format!("{index}:{round}");
                    if round % 3 == index % 3 {
                        assert_eq!(conn.cmd(if round % 2 == 0 { "FLUSHALL" } else { "FLUSHALL ASYNC" }), ok());
                    }
                    let transaction: [&[&str]; 7] = [
                        &["MULTI"],
                        &["MSET", "a", &mine, "b", &mine, "c", &mine],
                        &["DEL", "c"],
                        &["MGET", "a", "b", "c"],
                        &["FLUSHDB"],
                        &["DBSIZE"],
                        &["EXEC"],
                    ];
                    conn.send(&transaction.iter().flat_map(|words| request(words)).collect::<Vec<u8>>()).unwrap();
                    let replies = conn.read_many(transaction.len());
                    assert_eq!(replies[0], ok());
                    let both = Reply::Array(vec![bulk(&mine), bulk(&mine), Reply::Nil]);
                    let expected = Reply::Array(vec![ok(), Reply::Int(1), both, ok(), Reply::Int(0)]);
                    assert_eq!(replies[6], expected, "connection {index}, round {round}");
                    assert_eq!(conn.cmd("MSET a 1 d 2 e 3 f 4"), ok());
                }
            });
        }
    });
    assert!(started.elapsed() < 3 * REPLY_DEADLINE, "it took {:?}", started.elapsed());
}
