//! The HTTP surface: memoised calls for callers without a Redis client, actions on services, login, and what is wrong.

use millpond_tests::origin::{Origin, value};
use millpond_tests::server::{free_port, is_oracle};
use millpond_tests::{Conn, Options, Reply, Server};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

struct Answer {
    status: u16,
    headers: String,
    body: String,
}

/// One request on a connection of its own.
fn ask(port: u16, head: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = connect(port);
    send(&mut stream, head, headers, body);
    read(stream)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("HTTP is served");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn send(stream: &mut TcpStream, head: &str, headers: &[&str], body: &str) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
}

fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, headers: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn start(origin: &Origin, more: &[(&str, &str)]) -> Option<(Server, u16)> {
    if is_oracle() {
        return None;
    }
    let port = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut options = Options::default()
        .flag("http-port", &port.to_string())
        .flag("io-threads", "2")
        .flag("origin-allow", &origin.address.to_string());
    for (name, value) in more {
        options = if *name == "requirepass" { options.password(value) } else { options.flag(name, value) };
    }
    Some((Server::start_with(options)?, port))
}

fn define(conn: &mut Conn, origin: &Origin) {
    let url = format!("http://{}/transform", origin.address);
    let line =
        format!("CACHE.SERVICE SET calc PREFIX calc: LOADER origin ORIGIN {url} FRESH 60000 CONTENTTYPE text/plain");
    assert_eq!(conn.cmd(&line), Reply::Status("OK".into()));
}

fn transform() -> Origin {
    Origin::start(|asked| value(&format!("result of {}", String::from_utf8_lossy(&asked.body)), &[]))
}

#[test]
fn a_payload_is_computed_once_for_all_callers() {
    let origin = transform();
    let Some((server, port)) = start(&origin, &[]) else { return };
    let mut conn = server.connect_ready();
    define(&mut conn, &origin);
    let mut callers: Vec<TcpStream> = (0..20).map(|_| connect(port)).collect();
    for (n, caller) in callers.iter_mut().enumerate() {
        let payload = if n % 2 == 0 { r#"{"a":1,"b":[2]}"# } else { r#"{ "b": [2.0], "a": 1e0 }"# };
        send(caller, "POST /memo/calc", &["content-type: application/json"], payload);
    }
    let mut ids: Vec<String> = Vec::new();
    for caller in callers {
        let answer = read(caller);
        assert_eq!(answer.status, 200, "{}", answer.body);
        ids.push(answer.body.split('"').find(|part| part.len() == 64).expect("an id").to_owned());
    }
    ids.dedup();
    assert_eq!((ids.len(), origin.count()), (1, 1));
    let answer = ask(port, &format!("GET /memo/calc/{}", ids[0]), &[], "");
    assert_eq!((answer.status, &*answer.body), (200, r#"result of {"a":1,"b":[2]}"#));
    assert!(answer.headers.contains("content-type: text/plain") && answer.headers.contains("nosniff"));
    // The same over RESP, and several requests on one connection.
    assert_eq!(conn.cmd(&format!("STRLEN calc:{}", ids[0])), Reply::Int(25));
    let mut stream = connect(port);
    stream
        .write_all(
            b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
    let mut both = String::new();
    stream.read_to_string(&mut both).unwrap();
    assert_eq!(both.matches(r#"{"status":"ok"}"#).count(), 2);
}

#[test]
fn services_are_cleared_by_path() {
    let origin = transform();
    let Some((server, port)) = start(&origin, &[]) else { return };
    let mut conn = server.connect_ready();
    conn.cmd("CACHE.SERVICE SET user PREFIX user:");
    conn.cmd("MSET user:1 a user:2 b user:3:x c other d");
    let json = ["content-type: application/json"];
    let act = |action: &str, body: &str| ask(port, &format!("POST /user/cache/{action}"), &json, body);
    let answer = act("delete", r#"{"key":"1"}"#);
    assert_eq!((answer.status, &*answer.body), (200, r#"{"deleted":1}"#));
    let answer = act("revoke", r#"{"pattern":"3:*"}"#);
    assert_eq!((answer.status, &*answer.body), (200, r#"{"epoch":1}"#));
    assert_eq!(conn.cmd("EXISTS user:1 user:2 user:3:x other"), Reply::Int(2));
    assert_eq!(act("clear", "").status, 200);
    assert_eq!(conn.cmd("EXISTS user:2 other"), Reply::Int(1));
}

#[test]
fn what_is_wrong_is_said() {
    let origin = transform();
    let Some((server, port)) = start(&origin, &[("memo-max-payload", "100")]) else { return };
    let mut conn = server.connect_ready();
    define(&mut conn, &origin);
    conn.cmd("CACHE.SERVICE SET strict PREFIX strict: LOADER worker PAYLOAD json WAITMAX 10");
    conn.cmd("CACHE.SERVICE SET user PREFIX user:");
    conn.cmd("CACHE.SERVICE SET down PREFIX down: LOADER origin ORIGIN http://127.0.0.1:1/");
    let json = &["content-type: application/json"][..];
    let long = "x".repeat(101);
    let id = "0".repeat(64);
    let cases: &[(&str, &[&str], &str, u16)] = &[
        ("GET /", &[], "", 404),
        ("GET //memo/calc", &[], "", 404),
        // From pages of other sites.
        ("POST /memo/calc", &["sec-fetch-site: cross-site"], "x", 403),
        ("POST /memo/calc", &["origin: http://evil.test"], "x", 403),
        ("POST /memo/calc", &["origin: null"], "x", 403),
        ("POST /memo/nobody", &["origin: http://localhost", "sec-fetch-site: same-origin"], "x", 404),
        ("GET /memo/calc", &[], "", 405),
        ("DELETE /user/cache/clear", json, "", 405),
        ("POST /memo/nobody", &[], "x", 404),
        ("POST /memo/user", &[], "x", 501),
        ("POST /memo/calc", &[], &long, 413),
        ("POST /memo/strict", &[], "[9007199254740993]", 400),
        ("POST /memo/strict", &[], "[1]", 202),
        ("POST /memo/down", &[], "x", 502),
        ("GET /memo/calc/abc", &[], "", 400),
        (&format!("GET /memo/calc/{}", id.replace('0', "G")), &[], "", 400),
        (&format!("GET /memo/calc/{id}"), &[], "", 404),
        ("POST /user/cache/nothing", json, "{}", 404),
        ("POST /user/cache/delete", json, "{}", 400),
        ("POST /user/cache/delete", json, "[", 400),
        // What a page of another site could send without being asked.
        ("POST /user/cache/clear", &["content-type: text/plain"], "{}", 415),
        ("POST /user/cache/clear", &[], "{}", 415),
    ];
    for (head, headers, body, status) in cases {
        let answer = ask(port, head, headers, body);
        assert_eq!(answer.status, *status, "{head} {body}: {}", answer.body);
        assert!(answer.body.starts_with('{'), "{head}: {}", answer.body);
        assert_eq!(answer.headers.contains("retry-after: 1"), *status == 202, "{}", answer.headers);
    }
    assert_eq!(conn.cmd("PING"), Reply::Status("PONG".into()));
    // A name that somebody lets point here.
    let mut stream = connect(port);
    stream.write_all(b"POST /memo/nobody HTTP/1.1\r\nhost: evil.test\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(read(stream).status, 403);
    // No room for one more client; and a connection whose core ended it is as good as new.
    let mut kept = connect(port);
    let once = |stream: &mut TcpStream| {
        stream.write_all(b"POST /memo/calc HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\ny").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
        String::from_utf8_lossy(&first[9..]).into_owned()
    };
    assert_eq!(once(&mut kept), "200");
    conn.cmd("CONFIG SET maxclients 1");
    assert_eq!(ask(port, "POST /memo/calc", &[], "x").status, 503);
    conn.cmd("CONFIG SET maxclients 100");
    conn.cmd("CLIENT KILL TYPE normal SKIPME yes");
    assert_eq!(once(&mut kept), "200");
}

#[test]
fn passwords_are_asked_for() {
    let origin = transform();
    let Some((_server, port)) = start(&origin, &[("requirepass", "sesame")]) else { return };
    let json = "content-type: application/json";
    assert_eq!(ask(port, "GET /health", &[], "").status, 200);
    for (header, status) in [
        ("x: y", 401),
        ("authorization: Bearer wrong", 401),
        ("authorization: Basic !", 401),
        ("authorization: Digest x", 401),
        ("authorization: Bearer sesame", 200),
        // :sesame, and default:sesame
        ("authorization: Basic OnNlc2FtZQ==", 200),
        ("authorization: Basic ZGVmYXVsdDpzZXNhbWU=", 200),
    ] {
        let answer = ask(port, "POST /*/cache/revoke", &[json, header], r#"{"pattern":"k*"}"#);
        assert_eq!(answer.status, status, "{header}: {}", answer.body);
        assert_eq!(answer.headers.contains("www-authenticate: basic"), status == 401);
    }
}

/// Who hangs up while waiting leaves nothing behind.
#[test]
fn callers_that_go_wait_no_more() {
    let origin = transform();
    let Some((server, port)) = start(&origin, &[]) else { return };
    let mut conn = server.connect_ready();
    conn.cmd("CACHE.SERVICE SET slow PREFIX slow: LOADER worker WAITMAX 60000");
    let mut callers: Vec<TcpStream> = (0..5).map(|_| connect(port)).collect();
    callers.iter_mut().for_each(|caller| send(caller, "POST /memo/slow", &[], "payload"));
    let until = |count: i64| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.info().number("blocked_clients") != count {
            assert!(Instant::now() < deadline, "{} wait", server.info().number("blocked_clients"));
            std::thread::yield_now();
        }
    };
    until(5);
    drop(callers);
    until(0);
    // Half a request takes nobody's place for long, and none at all of a core.
    let mut half = connect(port);
    half.write_all(b"POST /memo/slow HTTP/1.1\r\ncontent-le").unwrap();
    assert_eq!(ask(port, "GET /health", &[], "").status, 200);
}
