//! Bytes on the wire: bad frames, every way to cut a pipeline, very many arguments, half-finished commands, scans of a changing keyspace.

use millpond_tests::conn::Broken;
use millpond_tests::server::{Kind, is_oracle};
use millpond_tests::words::{quote, request};
use millpond_tests::{Conn, Options, Reply, Server};
use std::collections::HashSet;
use std::time::Duration;

fn error(text: &str) -> Reply {
    Reply::Error(text.into())
}

/// Each bad frame, sent after a good command, and the last words of the server.
#[test]
fn bad_frames_close_their_connection_only() {
    let server = Server::start();
    let mut bystander = server.connect();
    let long_line = vec![b'x'; 65 * 1024 + 1];
    let long_count = [b"*".as_slice(), &[b'1'; 65 * 1024 + 1]].concat();
    let long_length = [b"*1\r\n$".as_slice(), &[b'1'; 65 * 1024 + 1]].concat();
    let cases: [(&[u8], &str); 21] = [
        (b"*a\r\n", "invalid multibulk length"),
        (b"*1x\r\n", "invalid multibulk length"),
        (b"* 1\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$-2\r\n", "invalid bulk length"),
        (b"*1\r\n$4x\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n:4\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"GET 'a\r\n", "unbalanced quotes in request"),
        (b"GET \"a\\\"\r\n", "unbalanced quotes in request"),
        (&long_line, "too big inline request"),
        (&long_count, "too big mbulk count string"),
        (&long_length, "too big bulk count string"),
    ];
    let is_valkey = server.kind() == Kind::Valkey;
    for (bytes, text) in cases {
        if is_valkey && bytes.contains(&b'\\') {
            continue; // takes a backslash before the last quote for itself
        }
        let shown = quote(&bytes[..bytes.len().min(40)]);
        let mut conn = server.connect();
        conn.send(&request(&["PING"])).unwrap();
        conn.send(bytes).unwrap();
        assert_eq!(conn.read(), Ok(Reply::Status("PONG".into())), "before {shown}");
        assert_eq!(conn.read(), Ok(error(&format!("ERR Protocol error: {text}"))), "{shown}");
        assert!(conn.is_closed(), "{shown} leaves the connection open");
        assert_eq!(bystander.cmd("PING"), Reply::Status("PONG".into()), "after {shown}");
    }
}

/// One byte of a frame that is not there yet is no error: nothing is answered, and the connection lives.
#[test]
fn half_a_command_harms_nobody() {
    let server = Server::start();
    let mut other = server.connect();
    other.cmd("SET k before");
    let whole = request(&["SET", "k", "after"]);
    let mut silent = Vec::new();
    for cut in 1..whole.len() {
        let mut conn = server.connect();
        conn.send(&whole[..cut]).unwrap();
        silent.push(conn);
        assert_eq!(other.cmd("GET k"), Reply::Bulk(b"before".into()), "a command cut at {cut} took effect");
    }
    // Half of them close the sending side, half of them just go.
    for (index, mut conn) in silent.into_iter().enumerate() {
        if index % 2 == 0 {
            conn.finish_sending().unwrap();
            assert!(conn.is_closed(), "a half-closed connection with half a command stays open");
        }
    }
    assert_eq!(other.cmd("GET k"), Reply::Bulk(b"before".into()));
    // What was complete is answered even when the sender has already finished.
    let mut conn = server.connect();
    conn.send(&[whole.as_slice(), &whole[..5]].concat()).unwrap();
    conn.finish_sending().unwrap();
    assert_eq!(conn.read(), Ok(Reply::Status("OK".into())));
    assert!(conn.is_closed());
    assert_eq!(other.cmd("GET k"), Reply::Bulk(b"after".into()));
}

/// The commands of one block: they leave nothing of earlier blocks, so that a block can run again and answer the same.
const BLOCK: usize = 40;

fn block(number: usize) -> Vec<Vec<u8>> {
    let (a, b) = (format!("a{number}"), format!("b{number}"));
    let value = "v".repeat(number * 7 % 60);
    let mut commands: Vec<Vec<u8>> = vec![request(&["DEL", &a, &b, "n", "none"])];
    let mut step = 0;
    while commands.len() < BLOCK {
        let n = step.to_string();
        commands.push(match step % 13 {
            0 => request(&["SET", &a, &value]),
            1 => request(&["get", &a]),
            2 => request(&["INCRBY", "n", &n]),
            3 => request(&["MGET", &a, "none", &b]),
            4 => b"PING inline\r\n".to_vec(),
            5 => request(&["APPEND", &b, "\r\n$3\r\n"]),
            6 => request(&["nosuch", &n]),
            7 => request(&["GET"]),
            8 => b"  ECHO \"a b\\x00\"  \n".to_vec(),
            9 => request(&["EXPIRE", &a, "1000"]),
            10 => request(&["SETRANGE", &b, &n, "x"]),
            11 => b"*0\r\n\r\nEXISTS n none n\r\n".to_vec(),
            _ => request(&["STRLEN", &b]),
        });
        step += 1;
    }
    commands
}

/// A thousand mixed commands in blocks; every byte boundary of the whole stream is the place of one cut.
#[test]
fn a_pipeline_cut_anywhere_answers_the_same() {
    let server = Server::start();
    let mut conn = server.connect();
    let blocks: Vec<Vec<Vec<u8>>> = (0..1000 / BLOCK).map(block).collect();
    let whole: Vec<u8> = blocks.iter().flatten().flatten().copied().collect();
    let count = blocks.len() * BLOCK;
    conn.send(&whole).unwrap();
    let unsplit = conn.read_many(count);
    let repeated = |reply: &Reply| matches!(reply, Reply::Int(_));
    // The first answer of a block counts what an earlier run left.
    let same = |a: &[Reply], b: &[Reply]| a.len() == b.len() && repeated(&a[0]) && repeated(&b[0]) && a[1..] == b[1..];
    for (number, commands) in blocks.iter().enumerate() {
        let bytes = commands.concat();
        let expected = &unsplit[number * BLOCK..(number + 1) * BLOCK];
        let mut ends = commands.iter().scan(0, |end, command| {
            *end += command.len();
            Some(*end)
        });
        let ends: Vec<usize> = ends.by_ref().collect();
        for cut in 1..bytes.len() {
            conn.send(&bytes[..cut]).unwrap();
            // Reading the answers of the first part makes sure that the server saw the cut.
            let complete = ends.iter().filter(|end| **end <= cut).count();
            let mut replies = conn.read_many(complete);
            conn.send(&bytes[cut..]).unwrap();
            replies.extend(conn.read_many(BLOCK - complete));
            assert!(same(expected, &replies), "block {number} cut at byte {cut}: {}", difference(expected, &replies));
        }
    }
    // The whole stream in pieces of a few awkward sizes.
    for size in [1, 2, 3, 7, 1000, 4096, 16 * 1024 - 1] {
        for piece in whole.chunks(size) {
            conn.send(piece).unwrap();
        }
        let replies = conn.read_many(count);
        for number in 0..blocks.len() {
            let range = number * BLOCK..(number + 1) * BLOCK;
            assert!(same(&unsplit[range.clone()], &replies[range]), "block {number} in pieces of {size} bytes");
        }
    }
}

fn difference(expected: &[Reply], actual: &[Reply]) -> String {
    let pair = expected.iter().zip(actual).enumerate().skip(1).find(|(_, (a, b))| a != b);
    pair.map_or("another first answer".into(), |(index, (a, b))| format!("answer {index} is {b} instead of {a}"))
}

#[test]
fn a_hundred_thousand_arguments() {
    const KEYS: usize = 50_000;
    let server = Server::start();
    let mut conn = server.connect();
    let keys: Vec<String> = (0..2 * KEYS).map(|n| format!("key:{n}")).collect();
    for half in keys.chunks(KEYS) {
        let pairs = half.iter().flat_map(|key| [key.as_str(), &key[4..]]);
        let mset: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
        assert_eq!(conn.command(&mset), Reply::Status("OK".into()));
    }
    assert_eq!(conn.cmd("DBSIZE"), Reply::Int(2 * KEYS as i64));
    let all = |name: &'static str| std::iter::once(name).chain(keys.iter().map(String::as_str)).collect::<Vec<&str>>();
    let values = conn.command(&all("MGET"));
    assert_eq!(values.expect_items().len(), keys.len());
    for (key, value) in keys.iter().zip(values.expect_items()) {
        assert_eq!(value.text(), Some(&key.as_bytes()[4..]), "{key}");
    }
    assert_eq!(conn.command(&all("EXISTS")), Reply::Int(keys.len() as i64));
    assert_eq!(conn.command(&all("DEL")), Reply::Int(keys.len() as i64));
    assert_eq!(conn.command(&all("UNLINK")), Reply::Int(0));
    assert_eq!(conn.cmd("DBSIZE"), Reply::Int(0));
}

/// Before login each command of a pipeline gets exactly one answer, whatever it is, and a failed AUTH changes nothing.
#[test]
fn every_command_is_answered_before_login() {
    let Some(server) = Server::start_with(Options::default().password("secret")) else { return };
    if server.kind() == Kind::Redis(8, 0) {
        eprintln!("left out: Redis 8.0 leaves out replies before login");
        return;
    }
    let mut ready = server.connect_ready();
    let list = ready.cmd("COMMAND LIST");
    let mut names: Vec<&str> = list.expect_items().iter().map(Reply::expect_text).collect();
    names.sort_unstable();
    const OPEN: [&str; 4] = ["auth", "hello", "quit", "reset"];
    let mut conn = server.connect();
    let mut refused = 0;
    for name in names {
        // A subcommand has its turn with its container. A genuine Redis keeps MODULE for itself before it asks who calls.
        if OPEN.contains(&name) || name.contains('|') || (is_oracle() && name == "module") {
            continue;
        }
        let info = ready.command(&["COMMAND", "INFO", name]);
        let row = info.expect_items()[0].expect_items();
        let arity = row[1].expect_int().unsigned_abs() as usize;
        // A container wants a subcommand that exists.
        let sub = row.get(9).and_then(|subs| subs.expect_items().first().map(|sub| sub.expect_items()));
        let (words, name) = match sub {
            Some(sub) => {
                let (_, short) = sub[0].expect_text().split_once('|').expect("container|subcommand");
                let arity = sub[1].expect_int().unsigned_abs() as usize;
                ([vec![name, short], vec!["x"; arity.saturating_sub(2)]].concat(), sub[0].expect_text())
            }
            None => ([vec![name], vec!["x"; arity.saturating_sub(1)]].concat(), name),
        };
        conn.send_command(&words).unwrap();
        conn.send_command(&["AUTH", "wrong"]).unwrap();
        // Only the text after the first words differs, for EXEC.
        match conn.read() {
            Ok(Reply::Error(text)) => assert!(text.ends_with("NOAUTH Authentication required."), "{name}: {text}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(
            conn.read(),
            Ok(error("WRONGPASS invalid username-password pair or user is disabled.")),
            "after {name}"
        );
        refused += 1;
    }
    assert!(refused > 50, "only {refused} commands were tried");
    // A whole pipeline, half of it after the right password.
    let mut conn = server.connect();
    let before = ["PING", "GET k", "SET k v", "INFO", "AUTH wrong", "CLIENT SETNAME x", "SELECT 1", "RESET", "MULTI"];
    let after = ["PING", "GET k", "CLIENT GETNAME"];
    let bytes: Vec<u8> = before
        .iter()
        .chain(&["AUTH secret"])
        .chain(&after)
        .flat_map(|c| request(&c.split(' ').collect::<Vec<_>>()))
        .collect();
    conn.send(&bytes).unwrap();
    for command in before {
        let expected = match command {
            "AUTH wrong" => error("WRONGPASS invalid username-password pair or user is disabled."),
            "RESET" => Reply::Status("RESET".into()),
            _ => error("NOAUTH Authentication required."),
        };
        assert_eq!(conn.read(), Ok(expected), "{command}");
    }
    assert_eq!(conn.read_many(4), [Reply::Status("OK".into()), Reply::Status("PONG".into()), Reply::Nil, Reply::Nil]);
}

/// A key that stays is seen at least once by a full SCAN, also while others come and go; an expired one never.
#[test]
fn scan_sees_every_key_that_stays() {
    let server = Server::start();
    let mut conn = server.connect();
    let mut writer = server.connect();
    let stays: HashSet<String> = (0..3000).map(|n| format!("stay:{n}")).collect();
    for key in &stays {
        conn.command(&["SET", key, "v"]);
    }
    for n in 0..3000 {
        conn.command(&["SET", &format!("go:{n}"), "v"]);
    }
    conn.command(&["SET", "expired", "v", "PXAT", "1"]);
    let mut seen = HashSet::new();
    let mut cursor = "0".to_owned();
    let mut step = 0;
    loop {
        let reply = conn.command(&["SCAN", &cursor, "COUNT", "20"]);
        let [next, keys] = reply.expect_items() else { panic!("SCAN answers a cursor and keys, not {reply}") };
        for key in keys.expect_items() {
            let key = key.expect_text().to_owned();
            assert_ne!(key, "expired");
            // The caller deletes what it finds, and somebody else makes the keyspace grow.
            if key.starts_with("go:") {
                writer.command(&["UNLINK", &key]);
            } else {
                seen.insert(key);
            }
            writer.command(&["SET", &format!("new:{step}"), "v"]);
            step += 1;
        }
        cursor = next.expect_text().to_owned();
        cursor.parse::<i64>().expect("a cursor fits a signed 64-bit integer");
        if cursor == "0" {
            break;
        }
    }
    let missed: Vec<&String> = stays.iter().filter(|key| !seen.contains(*key)).collect();
    assert!(missed.is_empty(), "{} keys that stayed were never returned, {:?} among them", missed.len(), missed[0]);
}

/// Many connections at once, each with its own pipeline: no answer goes to the wrong one.
#[test]
fn answers_stay_with_their_connection() {
    let server = Server::start();
    let mut conns: Vec<Conn> = (0..64).map(|_| server.connect()).collect();
    for round in 0..20 {
        for (index, conn) in conns.iter_mut().enumerate() {
            let mine = format!("{round}:{index}");
            let bytes: Vec<u8> = (0..10).flat_map(|n| request(&["ECHO", &format!("{mine}:{n}")])).collect();
            conn.send(&bytes).unwrap();
        }
        for (index, conn) in conns.iter_mut().enumerate() {
            for n in 0..10 {
                assert_eq!(conn.read(), Ok(Reply::Bulk(format!("{round}:{index}:{n}").into_bytes())));
            }
        }
    }
    assert_eq!(conns[0].read_within(Duration::from_millis(20)), Err(Broken::Timeout("\"\"".into())));
}

/// Whatever the server has not read, a connection it closes ends like any other: replies arrive, then the end.
#[test]
fn a_closed_connection_ends_without_a_reset() {
    let server = Server::start();
    if server.kind() != Kind::Millpond {
        eprintln!("left out: a genuine Redis resets");
        return;
    }
    let rest = request(&["PING"]).repeat(9000);
    let end = |conn: &mut Conn, why: &str| {
        let mut byte = [0];
        assert_eq!(conn.read_raw(&mut byte).map_err(|e| e.to_string()), Ok(0), "{why}");
    };
    let cases: [(&[u8], Reply); 2] = [
        (b"QUIT\r\n", Reply::Status("OK".into())),
        (b"*1\r\n$x\r\n", error("ERR Protocol error: invalid bulk length")),
    ];
    let mut admin = server.connect();
    for round in 0..50 {
        for (last, reply) in &cases {
            let mut conn = server.connect();
            // An error: the server was quicker.
            let _ = conn.send(&[last, rest.as_slice()].concat());
            assert_eq!(conn.read().as_ref(), Ok(reply), "round {round}");
            end(&mut conn, "after the last reply");
        }
        // While clients are paused nothing of the victim is read.
        let mut victim = server.connect();
        let id = victim.cmd("CLIENT ID").expect_int();
        assert_eq!(admin.cmd("CLIENT PAUSE 100000"), Reply::Status("OK".into()));
        victim.send(&request(&["PING"])).unwrap();
        victim.send(&rest).unwrap();
        assert_eq!(admin.cmd(&format!("CLIENT KILL ID {id}")), Reply::Int(1));
        end(&mut victim, "killed");
        assert_eq!(admin.cmd("CLIENT UNPAUSE"), Reply::Status("OK".into()));
    }
}
