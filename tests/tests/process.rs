//! The process: where it listens, how it ends, how it refuses to start.

use millpond_tests::server::{Kind, binary, free_port, is_oracle, server_command, wait_for};
use millpond_tests::words::request;
use millpond_tests::{Options, Reply, Server};
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::{Command, Stdio};

fn ok() -> Reply {
    Reply::Status("OK".into())
}

#[test]
fn a_unix_socket() {
    let Some(server) = Server::start_with(Options { unix_socket: true, ..Options::default() }) else { return };
    let mut conn = server.connect();
    assert_eq!(conn.cmd("SET k v"), ok());
    assert_eq!(conn.cmd("GET k"), Reply::Bulk(b"v".into()));
    assert!(
        conn.cmd("CLIENT INFO").expect_text().contains(" flags=U"),
        "a connection over a socket file has the flag U"
    );
}

#[test]
fn ipv6() {
    let Some(server) = Server::start_with(Options { bind: Some(Ipv6Addr::LOCALHOST.into()), ..Options::default() })
    else {
        return;
    };
    let mut conn = server.connect();
    assert_eq!(conn.cmd("PING"), Reply::Status("PONG".into()));
    assert!(conn.cmd("CLIENT INFO").expect_text().contains(" addr=[::1]:"), "IPv6 addresses stand in brackets");
}

/// Started without `--bind`, it can be reached over loopback, and nothing but the port decides where.
#[test]
fn several_at_once() {
    let (Some(a), Some(b)) = (
        Server::start_with(Options::default().flag("maxclients", "50")),
        Server::start_with(Options::default().flag("maxclients", "60")),
    ) else {
        return;
    };
    assert_ne!(a.port(), b.port());
    assert_eq!(a.connect().cmd("SET k a"), ok());
    assert_eq!(b.connect().cmd("GET k"), Reply::Nil);
}

#[test]
fn sigterm_answers_what_was_read_and_exits_with_0() {
    const COMMANDS: usize = 2000;
    let Some(mut server) = Server::start_with(Options::default().flag("maxclients", "100")) else { return };
    let mut conn = server.connect();
    let mut idle = server.connect();
    idle.cmd("PING");
    let bytes: Vec<u8> = (0..COMMANDS).flat_map(|n| request(&["INCRBY", "n", &n.to_string()])).collect();
    conn.send(&bytes).unwrap();
    // The first answer proves that the stream is being read.
    let mut sum = match conn.read() {
        Ok(Reply::Int(first)) => first,
        other => panic!("{other:?}"),
    };
    server.terminate();
    let mut answered = 1;
    // Every answer is whole and in order, up to a clean end between two of them.
    while let Ok(reply) = conn.read() {
        sum += answered as i64;
        assert_eq!(reply, Reply::Int(sum), "answer {answered}");
        answered += 1;
    }
    assert!(idle.is_closed());
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.output());
}

#[test]
fn sigterm_without_clients_exits_with_0() {
    let Some(mut server) = Server::start_with(Options::default().flag("maxclients", "100")) else { return };
    let status = server.stop();
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.output());
}

#[test]
fn sigint_exits_with_0() {
    let Some(mut server) = Server::start_with(Options::default().flag("maxclients", "100")) else { return };
    let mut conn = server.connect();
    assert_eq!(conn.cmd("SET k v"), ok());
    server.interrupt();
    assert!(conn.is_closed());
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.output());
}

/// A program that collects the lines meets one JSON object on each, from the start to the end of the process.
#[test]
fn json_logs_are_an_object_a_line() {
    if is_oracle() {
        eprintln!("left out: a genuine Redis has no JSON logs");
        return;
    }
    let options = Options::default().flag("logformat", "json").flag("loglevel", "debug");
    let Some(mut server) = Server::start_with(options) else { return };
    let mut conn = server.connect();
    // Whatever a peer says, a line stays a line.
    conn.send(b"*1\r\n$\"x\n\r\n").unwrap();
    assert!(matches!(conn.read(), Ok(Reply::Error(_))));
    assert!(conn.is_closed());
    let status = server.stop();
    let output = server.output();
    assert_eq!(status.code(), Some(0), "{status}\n{output}");
    assert!(output.lines().count() >= 2, "the start and the end are logged:\n{output}");
    for line in output.lines() {
        let parsed: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert!(parsed.is_object() && parsed["level"].is_string(), "{line}");
    }
}

/// Loopback is never refused, so what a start without protected mode changes is seen in the setting.
#[test]
fn protected_mode_can_be_off_from_the_start() {
    let Some(server) = Server::start_with(Options::default().flag("protected-mode", "no")) else { return };
    let mut conn = server.connect();
    let pair = |value: &str| Reply::Array(vec![Reply::Bulk(b"protected-mode".into()), Reply::Bulk(value.into())]);
    assert_eq!(conn.cmd("CONFIG GET protected-mode"), pair("no"));
    assert_eq!(conn.cmd("CONFIG SET protected-mode yes"), ok());
    assert_eq!(conn.cmd("CONFIG GET protected-mode"), pair("yes"));
}

#[test]
fn shutdown_closes_without_an_answer_and_exits_with_0() {
    for words in ["SHUTDOWN", "shutdown nosave", "SHUTDOWN NOSAVE NOW FORCE"] {
        let Some(mut server) = Server::start_with(Options::default().flag("maxclients", "100")) else { return };
        let mut conn = server.connect();
        conn.send_command(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(conn.is_closed(), "{words} was answered");
        let status = server.wait();
        assert_eq!(status.code(), Some(0), "{words}: {status}\n{}", server.output());
    }
}

/// True, with a line on stderr, when a running server is tested: there is no binary to start.
fn has_no_binary() -> bool {
    let running = std::env::var_os("MILLPOND_ORACLE").is_some();
    if running {
        eprintln!("left out: needs the binary, MILLPOND_ORACLE names a running server");
    }
    running
}

/// Runs the command until it ends by itself; its exit code, stdout and stderr.
fn outcome(mut command: Command, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut child =
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = wait_for(&mut child);
    let _ = child.kill();
    let _ = child.wait();
    let text = |stream: &mut dyn Read| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let out = text(&mut child.stdout.take().unwrap());
    let err = text(&mut child.stderr.take().unwrap());
    let status = status.unwrap_or_else(|| panic!("{flags:?}: it started instead of refusing\n{out}{err}"));
    (status.code(), out, err)
}

/// Each way not to start: exit code 1 and one line on stderr that names the culprit.
#[test]
fn what_it_cannot_do_it_says_in_one_line() {
    if has_no_binary() {
        return;
    }
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let port = free_port(Ipv4Addr::LOCALHOST.into()).to_string();
    let missing = std::env::temp_dir().join(format!("no-such-{}.conf", std::process::id()));
    let missing = missing.to_str().unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["--port", &taken, "--bind", "127.0.0.1"], &taken),
        (&["--port", &port, "--no-such-flag", "1"], "no-such-flag"),
        (&["--port", &port, "--maxmemory", "lots"], "maxmemory"),
        (&["--port", &port, "--maxmemory-policy", "bogus"], "maxmemory-policy"),
        (&["--port", &port, "--maxclients", "0"], "maxclients"),
        (&["--port", "70000"], "port"),
        (&["--port", "x"], "port"),
        (&["--port", &port, "--bind", "256.1.1.1"], "256.1.1.1"),
        (&["--port", &port, "--config", missing], missing),
    ];
    for (flags, culprit) in cases {
        // A genuine Redis takes its config file as the first word, and logs to stdout.
        let oracle = is_oracle();
        if oracle && flags.contains(&"--config") {
            continue;
        }
        let (code, out, err) = outcome(server_command(), flags);
        assert_eq!(code, Some(1), "{flags:?}\n{out}{err}");
        if oracle {
            continue;
        }
        assert_eq!(err.trim_end().lines().count(), 1, "{flags:?} wants one line on stderr, got:\n{err}");
        assert!(err.contains(culprit), "{flags:?}: the line does not name {culprit}: {err}");
    }
}

#[test]
fn version_and_help_start_nothing() {
    if has_no_binary() {
        return;
    }
    let (code, out, _) = outcome(Command::new(binary()), &["--version"]);
    assert_eq!(code, Some(0));
    assert!(out.chars().any(|c| c.is_ascii_digit()), "no version in: {out}");
    let (code, out, err) = outcome(Command::new(binary()), &["--help"]);
    if !is_oracle() {
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("--port"), "{out}");
    }
}

#[test]
fn it_claims_redis_7_2_4() {
    let server = Server::start();
    if server.kind() != Kind::Millpond {
        eprintln!("left out: not Millpond");
        return;
    }
    assert_eq!(server.info().version(), "7.2.4");
    let hello = server.connect().cmd("HELLO 3");
    let version = hello
        .pairs()
        .unwrap()
        .into_iter()
        .find(|(key, _)| key.text() == Some(b"version"))
        .map(|(_, value)| value.clone());
    assert_eq!(version, Some(Reply::Bulk(b"7.2.4".into())));
}
