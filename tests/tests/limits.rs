//! Limits on connections, buffers, values and time.

use millpond_tests::conn::{Broken, REPLY_DEADLINE};
use millpond_tests::server::Kind;
use millpond_tests::{Options, Reply, Server};
use std::io::Write;
use std::time::{Duration, Instant};

fn pong() -> Reply {
    Reply::Status("PONG".into())
}

#[test]
fn too_many_clients_are_told_and_closed() {
    const LIMIT: usize = 5;
    let Some(server) = Server::start_with(Options::default().flag("maxclients", &LIMIT.to_string())) else { return };
    // The connections of the readiness check may still be closing.
    let deadline = Instant::now() + REPLY_DEADLINE;
    let mut inside = Vec::new();
    while inside.len() < LIMIT {
        let mut conn = server.connect();
        let _ = conn.send_command(&["PING"]);
        match conn.read() {
            Ok(reply) if reply == pong() => inside.push(conn),
            refused => assert!(Instant::now() < deadline, "only {} of {LIMIT} got in: {refused:?}", inside.len()),
        }
    }
    for _ in 0..3 {
        let mut outside = server.connect();
        assert_eq!(outside.read(), Ok(Reply::Error("ERR max number of clients reached".into())));
        assert!(outside.is_closed());
    }
    for conn in &mut inside {
        assert_eq!(conn.cmd("PING"), pong());
    }
    // A place that is given back can be taken.
    inside.pop();
    loop {
        let mut conn = server.connect();
        let _ = conn.send_command(&["PING"]);
        if conn.read() == Ok(pong()) {
            break;
        }
        assert!(Instant::now() < deadline, "the free place is never given");
    }
}

#[test]
fn a_slow_reader_is_cut_off_and_others_go_on() {
    let options = Options::default().flag("client-output-buffer-limit", "normal 1mb 0 0");
    let Some(server) = Server::start_with(options) else { return };
    let mut other = server.connect();
    let value = "v".repeat(100_000);
    other.command(&["SET", "big", &value]);
    let mut slow = server.connect();
    // Far more than the limit and the buffers of the kernel hold.
    let requests = millpond_tests::words::request(&["GET", "big"]).repeat(1000);
    let _ = slow.send(&requests);
    let deadline = Instant::now() + REPLY_DEADLINE;
    while connections(&mut other) > 1 {
        assert!(Instant::now() < deadline, "the slow reader is still connected");
        assert_eq!(other.command(&["GET", "big"]).text().map(<[u8]>::len), Some(value.len()));
    }
    let (received, closed) = slow.drain(REPLY_DEADLINE);
    assert!(closed, "the slow reader is not cut off");
    assert!(received.len() < 1000 * value.len(), "everything was delivered: {} bytes", received.len());
}

/// How many connections CLIENT LIST shows.
fn connections(conn: &mut millpond_tests::Conn) -> usize {
    conn.cmd("CLIENT LIST").expect_text().lines().filter(|line| !line.is_empty()).count()
}

/// Above the soft limit a connection is cut off when its time is over, not before.
#[test]
fn a_slow_reader_has_the_seconds_of_the_soft_limit() {
    let options = Options::default().flag("client-output-buffer-limit", "normal 0 64kb 1");
    let Some(server) = Server::start_with(options) else { return };
    let mut other = server.connect();
    other.command(&["SET", "big", &"v".repeat(100_000)]);
    let mut slow = server.connect();
    assert_eq!(slow.cmd("PING"), pong());
    let started = Instant::now();
    // More than the buffers of the kernel hold, so that replies wait in the server.
    let _ = slow.send(&millpond_tests::words::request(&["GET", "big"]).repeat(300));
    // The connections of the readiness check are gone too.
    while connections(&mut other) > 1 {
        assert!(started.elapsed() < REPLY_DEADLINE, "the slow reader is still connected");
    }
    let lived = started.elapsed();
    assert!(lived >= Duration::from_millis(900), "cut off after only {lived:?}");
    let (_, closed) = slow.drain(REPLY_DEADLINE);
    assert!(closed, "the slow reader is not cut off");
    assert_eq!(other.cmd("STRLEN big"), Reply::Int(100_000));
}

/// A request that outgrows the limit before it is complete ends its connection; one below it is served.
#[test]
fn a_request_larger_than_the_query_buffer_is_cut_off() {
    const LIMIT: usize = 1 << 20;
    let Some(server) = Server::start_with(Options::default().flag("client-query-buffer-limit", "1mb")) else { return };
    let mut other = server.connect();
    assert_eq!(other.command(&["SET", "k", &"v".repeat(LIMIT / 2)]), Reply::Status("OK".into()));
    let mut greedy = server.connect();
    // Many arguments, none of them large, and no end.
    let argument = b"$1000\r\n".iter().copied().chain([b'x'; 1000]).chain(*b"\r\n").collect::<Vec<u8>>();
    // An error: the server was quicker.
    let _ = greedy.send(&[b"*100000\r\n$4\r\nMGET\r\n".as_slice(), &argument.repeat(4 * LIMIT / 1000)].concat());
    let (said, closed) = greedy.drain(REPLY_DEADLINE);
    assert!(closed, "it may go on sending; it was told {:?}", String::from_utf8_lossy(&said));
    assert_eq!(other.cmd("STRLEN k"), Reply::Int(LIMIT as i64 / 2));
    assert_eq!(other.command(&["SET", "k", &"w".repeat(LIMIT / 2)]), Reply::Status("OK".into()));
}

#[test]
fn a_request_has_at_most_1048576_arguments() {
    const MOST: usize = 1 << 20;
    let server = Server::start();
    if server.kind() != Kind::Millpond {
        eprintln!("left out: others take more arguments");
        return;
    }
    let mut conn = server.connect();
    let bytes = |count: usize| {
        let mut bytes = format!("*{count}\r\n$6\r\nEXISTS\r\n").into_bytes();
        bytes.extend(b"$1\r\nk\r\n".repeat(count - 1));
        bytes
    };
    assert_eq!(conn.cmd("SET k v"), Reply::Status("OK".into()));
    conn.send(&bytes(MOST)).unwrap();
    assert_eq!(conn.read(), Ok(Reply::Int(MOST as i64 - 1)));
    assert_eq!(conn.cmd("PING"), pong());
    // An error: the server was quicker.
    let _ = conn.send(&bytes(MOST + 1));
    assert_eq!(conn.read(), Ok(Reply::Error("ERR Protocol error: invalid multibulk length".into())));
    assert!(conn.is_closed());
    assert_eq!(server.connect().cmd("PING"), pong());
}

#[test]
fn idle_connections_are_closed_and_busy_ones_stay() {
    let Some(server) = Server::start_with(Options::default().flag("timeout", "1")) else { return };
    let mut idle = server.connect();
    assert_eq!(idle.cmd("PING"), pong());
    let mut busy = server.connect();
    let started = Instant::now();
    loop {
        assert_eq!(busy.cmd("PING"), pong());
        match idle.read_within(Duration::from_millis(100)) {
            Err(Broken::Timeout(_)) => {
                assert!(started.elapsed() < REPLY_DEADLINE, "the idle connection is never closed")
            }
            Err(Broken::Closed) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(started.elapsed() >= Duration::from_millis(900), "closed after only {:?}", started.elapsed());
    assert_eq!(busy.cmd("PING"), pong());
}

/// A stream of bytes that never repeats at a period of a power of two, the same for writer and reader.
struct Stream(u64);

impl Stream {
    fn fill(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            chunk.copy_from_slice(&(self.0 >> 1).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[test]
fn a_value_of_512_megabytes_in_and_out() {
    const LEN: usize = 512 << 20;
    const CHUNK: usize = 1 << 20;
    let server = Server::start();
    let mut other = server.connect();
    let mut conn = server.connect();
    conn.send(format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${LEN}\r\n").as_bytes()).unwrap();
    let mut chunk = vec![0; CHUNK];
    let mut stream = Stream(7);
    for _ in 0..LEN / CHUNK {
        stream.fill(&mut chunk);
        conn.write_all(&chunk).unwrap();
    }
    conn.send(b"\r\n").unwrap();
    assert_eq!(conn.read_within(Duration::from_secs(120)), Ok(Reply::Status("OK".into())));
    assert_eq!(other.cmd("STRLEN big"), Reply::Int(LEN as i64));
    assert_eq!(other.cmd("GETRANGE big 0 7").text().map(<[u8]>::len), Some(8));

    conn.send_command(&["GET", "big"]).unwrap();
    let mut received = vec![0; CHUNK];
    let mut read_exact = |into: &mut [u8]| {
        let mut at = 0;
        while at < into.len() {
            let n = conn.read_raw(&mut into[at..]).unwrap();
            assert!(n > 0, "closed in the middle of the value");
            at += n;
        }
    };
    let header = format!("${LEN}\r\n");
    read_exact(&mut received[..header.len()]);
    assert_eq!(&received[..header.len()], header.as_bytes());
    let mut stream = Stream(7);
    for number in 0..LEN / CHUNK {
        read_exact(&mut received);
        stream.fill(&mut chunk);
        assert!(received == chunk, "megabyte {number} differs");
    }
    read_exact(&mut received[..2]);
    assert_eq!(&received[..2], b"\r\n");
    assert_eq!(conn.cmd("PING"), pong());
    assert_eq!(other.cmd("DEL big"), Reply::Int(1));
}
