//! Values loaded from an origin over HTTP, by plain GET and by SWR.GET: what its headers mean, what its failures lead to,
//! and that it is asked once.

use millpond_tests::origin::{Asked, Origin, Told, answer, value};
use millpond_tests::server::is_oracle;
use millpond_tests::words::request;
use millpond_tests::{Conn, Options, Reply, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A server that may ask this origin, and a connection on which the service `user` is defined.
fn start(origin: &Origin, fields: &str) -> Option<(Server, Conn)> {
    let options = Options::default().flag("io-threads", "2").flag("origin-allow", &origin.address.to_string());
    let server = if is_oracle() { None } else { Server::start_with(options) }?;
    let mut conn = server.connect_ready();
    let url = format!("http://{}/users/{{key}}", origin.address);
    let line = format!("CACHE.SERVICE SET user PREFIX user: LOADER origin ORIGIN {url} {fields}");
    assert_eq!(conn.cmd(&line), Reply::Status("OK".into()));
    Some((server, conn))
}

/// Plain reads of cold keys wait for their load.
fn wait_for_cold(conn: &mut Conn) {
    let reply = conn.command(&["CACHE.SERVICE", "SET", "user", "COLD", "wait 20000", "WAITMAX", "20000"]);
    assert_eq!(reply, Reply::Status("OK".into()));
}

fn text(reply: &Reply) -> Option<String> {
    reply.text().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// State and value of an answer.
fn told(reply: &Reply) -> (String, Option<String>) {
    let items = reply.expect_items();
    assert_eq!(text(&items[2]), None, "readers get no tokens: {reply:?}");
    (text(&items[0]).expect("a state"), text(&items[1]))
}

fn is(state: &str, value: Option<&str>) -> (String, Option<String>) {
    (state.to_owned(), value.map(str::to_owned))
}

/// Asks until the answer is this one.
fn until(conn: &mut Conn, line: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = conn.cmd(line);
        if wanted(&reply) {
            return reply;
        }
        assert!(Instant::now() < deadline, "{line}: {reply:?}");
        std::thread::yield_now();
    }
}

#[test]
fn plain_reads_load_through() {
    let origin = Origin::start(|asked| value(&format!("of {}", asked.line), &[]));
    let Some((_server, mut conn)) = start(&origin, "FRESH 60000") else { return };
    // Cold: nothing now, the value once it has come.
    assert_eq!(conn.cmd("GET user:7"), Reply::Nil);
    let reply = until(&mut conn, "GET user:7", |reply| *reply != Reply::Nil);
    assert_eq!(text(&reply).as_deref(), Some("of GET /users/7"));
    wait_for_cold(&mut conn);
    assert_eq!(text(&conn.cmd("GET user:a/b%c")).as_deref(), Some("of GET /users/a%2Fb%25c"));
    let asked = origin.asked();
    assert_eq!(asked[1].header("x-cache-key"), Some("a%2Fb%25c"));
    assert_eq!((asked[1].header("x-cache-service"), asked[1].header("x-cache-reason")), (Some("user"), Some("miss")));
    assert!(asked[1].header("traceparent").is_some_and(|trace| trace.len() == 55 && trace.starts_with("00-")));
    assert_eq!((asked[1].header("accept-encoding"), asked[1].header("if-none-match")), (None, None));
    // A path that could leave its place is not asked for, and what is not the service's is as ever.
    assert_eq!(told(&conn.cmd("SWR.GET user:.. WAIT 5000")), is("ERR", None));
    assert_eq!(conn.cmd("GET other"), Reply::Nil);
    assert_eq!(origin.count(), 2);
}

#[test]
fn two_hundred_readers_are_one_load() {
    let gate = Arc::new(AtomicUsize::new(0));
    let open = Arc::clone(&gate);
    let origin = Origin::start(move |_| {
        while open.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        value("v", &["cache-control: max-age=0, stale-while-revalidate=600"])
    });
    let Some((server, mut conn)) = start(&origin, "") else { return };
    wait_for_cold(&mut conn);
    let mut readers: Vec<Conn> = (0..200).map(|_| server.connect_ready()).collect();
    for reader in &mut readers {
        reader.send(&request(&["GET", "user:1"])).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.info().number("blocked_clients") < 200 {
        assert!(Instant::now() < deadline);
    }
    gate.store(1, Ordering::Release);
    for reader in &mut readers {
        assert_eq!(reader.read(), Ok(Reply::Bulk(b"v".to_vec())));
    }
    assert_eq!(origin.count(), 1);
    // Stale at once: all are served, one load more at a time.
    gate.store(0, Ordering::Release);
    for reader in &mut readers {
        assert_eq!(reader.cmd("GET user:1"), Reply::Bulk(b"v".to_vec()));
    }
    until(&mut conn, "PING", |_| origin.count() == 2);
    gate.store(1, Ordering::Release);
    assert_eq!(told(&conn.cmd("SWR.GET user:1")).1.as_deref(), Some("v"));
    assert_eq!(origin.count(), 2);
}

/// What the headers say, by the state of the key and its ends.
#[test]
fn headers_set_the_windows() {
    let origin = Origin::start(|asked: &Asked| {
        let control = match asked.line.rsplit('/').next().unwrap() {
            "plain" => return value("v", &[]),
            "max" => "max-age=100",
            "shared" => "max-age=1, s-maxage=200",
            "swr" => "max-age=100, stale-while-revalidate=50",
            "sie" => "max-age=0, stale-if-error=70",
            "must" => "max-age=100, must-revalidate, stale-while-revalidate=50",
            "no-cache" => "no-cache",
            "age" => return value("v", &["cache-control: max-age=100", "age: 40"]),
            "tags" => return value("v", &["surrogate-key: a b", "cache-tag: c"]),
            "no-store" => "no-store",
            "private" => "private, max-age=100",
            "vary" => return value("v", &["vary: *"]),
            "many" => {
                let tags: Vec<String> = (0..65).map(|n| format!("t{n}")).collect();
                return value("v", &[&format!("surrogate-key: {}", tags.join(" "))]);
            }
            "none" => return answer("404 Not Found", &[], "nothing"),
            "gone" => return answer("410 Gone", &[], ""),
            "empty" => return answer("204 No Content", &[], ""),
            other => panic!("{other}"),
        };
        value("v", &[&format!("cache-control: {control}")])
    });
    let Some((_server, mut conn)) = start(&origin, "FRESH 7000 STALE 9000 RETAIN 9000") else { return };
    let mut ends = |key: &str| -> [i64; 3] {
        conn.cmd(&format!("SWR.GET user:{key} WAIT 10000"));
        let meta = conn.cmd(&format!("SWR.META user:{key}"));
        let field = |name: &str| {
            let pairs = meta.pairs().unwrap_or_else(|| panic!("{key}: {meta:?}"));
            pairs.iter().find(|(field, _)| text(field).as_deref() == Some(name)).map(|(_, value)| value.expect_int())
        };
        let stored = field("stored-at").expect("it was stored");
        ["fresh-until", "stale-until", "retain-until"].map(|name| field(name).expect("an end") - stored)
    };
    for (key, expected) in [
        ("plain", [7000, 9000, 9000]),
        ("max", [100_000, 100_000, 100_000]),
        ("shared", [200_000, 200_000, 200_000]),
        ("swr", [100_000, 150_000, 150_000]),
        ("sie", [0, 9000, 70_000]),
        ("must", [100_000, 100_000, 100_000]),
        ("age", [60_000, 60_000, 60_000]),
        ("tags", [7000, 9000, 9000]),
        ("no-cache", [0, 0, 9000]),
    ] {
        assert_eq!(ends(key), expected, "{key}");
    }
    for key in ["no-store", "private", "vary", "many"] {
        // Whoever waits gets it, and nobody later.
        let mut waits = || told(&conn.cmd(&format!("SWR.GET user:{key} WAIT 10000")));
        assert_eq!((waits(), waits()), (is("FILLED", Some("v")), is("FILLED", Some("v"))), "{key}");
        assert_eq!(conn.cmd(&format!("EXISTS user:{key}")), Reply::Int(0));
    }
    for key in ["none", "gone", "empty"] {
        assert_eq!(told(&conn.cmd(&format!("SWR.GET user:{key} WAIT 10000"))), is("NEG", None), "{key}");
    }
    // Revoked by the tags that came with it.
    assert_eq!(conn.cmd("SWR.TAG user:tags HAS 4 a b c d"), Reply::Int(3));
    conn.cmd("CACHE.REVOKE TAG b");
    assert_eq!(conn.cmd("EXISTS user:tags user:plain"), Reply::Int(1));
    // A service may know better.
    conn.cmd("CACHE.SERVICE SET user HEADERS ignore");
    assert_eq!(told(&conn.cmd("SWR.GET user:no-store WAIT 10000")), is("FILLED", Some("v")));
}

#[test]
fn copies_are_confirmed() {
    let origin = Origin::start(|asked| match asked.header("if-none-match") {
        Some("\"e1\"") if asked.line.ends_with("/same") => {
            answer("304 Not Modified", &["cache-control: max-age=0, stale-while-revalidate=60"], "")
        }
        Some(_) => value("new", &["etag: \"e2\"", "cache-control: max-age=0, stale-while-revalidate=60"]),
        None => value("old", &["etag: \"e1\"", "cache-control: max-age=0, stale-while-revalidate=60"]),
    });
    let Some((_server, mut conn)) = start(&origin, "") else { return };
    for (key, after) in [("same", "old"), ("other", "new")] {
        assert_eq!(told(&conn.cmd(&format!("SWR.GET user:{key} WAIT 10000"))), is("FILLED", Some("old")));
        let before = origin.count();
        assert_eq!(told(&conn.cmd(&format!("SWR.GET user:{key}"))), is("STALE", Some("old")));
        let line = format!("SWR.PEEK user:{key}");
        until(&mut conn, &line, |reply| {
            origin.count() > before && text(&reply.expect_items()[1]).as_deref() == Some(after)
        });
        assert_eq!(origin.asked().last().unwrap().header("if-none-match"), Some("\"e1\""));
    }
}

#[test]
fn failures_are_bounded_and_told() {
    let origin = Origin::start(|asked: &Asked| match asked.line.rsplit('/').next().unwrap() {
        "error" => answer("500 Internal Server Error", &[], "oops"),
        "moved" => answer("302 Found", &["location: http://127.0.0.1:1/"], ""),
        "part" => answer("206 Partial Content", &[], "v"),
        "slow" => Told::Silence,
        "cut" => Told::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec()),
        "large" => Told::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec()),
        "endless" => Told::Endless(b"x-more: of this\r\n".to_vec()),
        "endless-body" => Told::Endless(b"10\r\n0123456789abcdef\r\n".to_vec()),
        "junk" => Told::Last(b"\x00\x01\x02\r\n\r\n".to_vec()),
        "coded" => value("v", &["content-encoding: gzip"]),
        other => panic!("{other}"),
    });
    let fields = "HARDTIMEOUT 300 BACKOFF 60000 BACKOFFMAX 60000";
    let Some((_server, mut conn)) = start(&origin, fields) else { return };
    conn.cmd("CONFIG SET origin-max-value 1mb");
    for key in ["error", "moved", "part", "slow", "cut", "large", "endless", "endless-body", "junk", "coded"] {
        // The breaker must not have opened: every one of them is seen.
        let before = origin.count();
        let reply = conn.cmd(&format!("SWR.GET user:{key} WAIT 10000"));
        assert_eq!((told(&reply), origin.count()), (is("ERR", None), before + 1), "{key}");
        assert_eq!(conn.cmd(&format!("EXISTS user:{key}")), Reply::Int(0));
    }
    let before = origin.count();
    assert_eq!(told(&conn.cmd("SWR.GET user:error WAIT 5000")), is("ERR", None));
    assert_eq!(conn.cmd("GET user:error"), Reply::Nil);
    assert_eq!(origin.count(), before, "not again before the backoff");
}

/// How long it wants to be left alone counts if it is longer than the service would wait.
#[test]
fn origins_may_ask_for_time() {
    let origin = Origin::start(|asked: &Asked| {
        let seconds = asked.line.rsplit('/').next().unwrap().parse::<u64>().expect("a key of digits");
        answer("429 Too Many Requests", &[&format!("retry-after: {seconds}")], "")
    });
    let Some((_server, mut conn)) = start(&origin, "BACKOFF 20000 BACKOFFMAX 60000") else { return };
    for (seconds, ms) in [(0, 20_000), (7, 20_000), (40, 40_000), (1000, 60_000)] {
        let reply = conn.cmd(&format!("SWR.GET user:{seconds} WAIT 10000"));
        let left_ms = reply.expect_items()[3].expect_int();
        assert!((ms - 5000..=ms).contains(&left_ms), "{seconds}: {left_ms}");
    }
}

/// After five failures it is left alone, whatever key is asked for; one request tries, and opens the way again.
#[test]
fn failures_open_the_breaker_and_a_good_answer_closes_it() {
    let is_up = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&is_up);
    let origin = Origin::start(move |_| match seen.load(Ordering::Acquire) {
        0 => answer("500 Internal Server Error", &[], ""),
        _ => value("v", &[]),
    });
    let Some((_server, mut conn)) = start(&origin, "BACKOFF 50 BACKOFFMAX 50 FRESH 60000") else { return };
    for n in 0..20 {
        assert_eq!(told(&conn.cmd(&format!("SWR.GET user:{n} WAIT 10000"))), is("ERR", None));
    }
    // Should this take more than a second, some of them were trials.
    assert!((5..20).contains(&origin.count()), "{}", origin.count());
    is_up.store(1, Ordering::Release);
    until(&mut conn, "SWR.GET user:x WAIT 5000", |reply| told(reply) == is("FILLED", Some("v")));
    let before = origin.count();
    for n in 0..20 {
        assert_eq!(told(&conn.cmd(&format!("SWR.GET user:{n} WAIT 10000"))), is("FILLED", Some("v")));
    }
    assert_eq!(origin.count(), before + 20);
}

#[test]
fn an_origin_that_is_down_serves_retained_copies() {
    let up = Arc::new(AtomicUsize::new(1));
    let seen = Arc::clone(&up);
    let origin = Origin::start(move |_| {
        if seen.load(Ordering::Acquire) == 1 {
            value("v", &["cache-control: max-age=0, stale-if-error=600"])
        } else {
            answer("503 Service Unavailable", &["retry-after: 1"], "")
        }
    });
    let fields = "STALE 0 BACKOFF 50 BACKOFFMAX 100";
    let Some((_server, mut conn)) = start(&origin, fields) else { return };
    assert_eq!(told(&conn.cmd("SWR.GET user:1 WAIT 10000")), is("FILLED", Some("v")));
    assert_eq!(conn.cmd("GET user:1"), Reply::Nil, "nothing ordinary sees it");
    up.store(0, Ordering::Release);
    until(&mut conn, "SWR.GET user:1 WAIT 5000", |reply| told(reply) == is("ERR", Some("v")));
    assert_eq!(told(&conn.cmd("SWR.GET user:1 NOSIE")).1, None);
    up.store(1, Ordering::Release);
    // After the backoff, and the breaker's pause if it has opened, it is asked again.
    until(&mut conn, "SWR.GET user:1 WAIT 5000", |reply| told(reply).0 == "FILLED");
}

#[test]
fn only_listed_origins_are_asked() {
    let origin = Origin::start(|_| value("v", &[]));
    let Some((server, mut conn)) = start(&origin, "BACKOFF 60000 BACKOFFMAX 60000") else { return };
    let elsewhere = Origin::start(|_| value("stolen", &[]));
    for (name, url) in [
        ("port", format!("http://{}/{{key}}", elsewhere.address)),
        ("name", format!("http://localhost:{}/{{key}}", origin.address.port())),
        ("meta", "http://169.254.169.254/latest/{key}".to_owned()),
    ] {
        conn.cmd(&format!("CACHE.SERVICE SET {name} PREFIX {name}: LOADER origin ORIGIN {url}"));
        assert_eq!(told(&conn.cmd(&format!("SWR.GET {name}:1 WAIT 5000"))), is("ERR", None), "{name}");
    }
    assert_eq!((elsewhere.count(), origin.count()), (0, 0));
    drop(server);
    // Without a list nothing is ever asked.
    let server = Server::start();
    let mut conn = server.connect_ready();
    let url = format!("http://{}/{{key}}", origin.address);
    conn.cmd(&format!("CACHE.SERVICE SET user PREFIX user: LOADER origin ORIGIN {url}"));
    assert_eq!(told(&conn.cmd("SWR.GET user:1 WAIT 5000")), is("ERR", None));
    assert_eq!(origin.count(), 0);
}

/// A call is made once for a payload, however it is written, and whoever asks meanwhile waits for it.
#[test]
fn memoised_calls_are_made_once() {
    let origin = Origin::start(|asked| {
        let body = String::from_utf8(asked.body.clone()).unwrap();
        value(&format!("{} of {body}", asked.header("content-type").unwrap()), &[])
    });
    let Some((server, mut conn)) = start(&origin, "") else { return };
    let url = format!("http://{}/transform", origin.address);
    conn.cmd(&format!("CACHE.SERVICE SET calc PREFIX calc: LOADER origin ORIGIN {url} FRESH 60000"));
    let mut others: Vec<Conn> = (0..20).map(|_| server.connect_ready()).collect();
    for (n, other) in others.iter_mut().enumerate() {
        let payload = if n % 2 == 0 { r#"{"a":1,"b":2}"# } else { r#"{ "b": 2.0, "a": 1 }"# };
        other.send(&request(&["SWR.MEMO", "calc", payload])).unwrap();
    }
    for other in &mut others {
        let reply = other.read().unwrap();
        let items = reply.expect_items();
        assert_eq!(text(&items[0]).unwrap().len(), 64);
        assert_eq!(text(&items[2]).as_deref(), Some(r#"application/json of {"a":1,"b":2}"#));
    }
    assert_eq!(origin.count(), 1);
    assert_eq!(origin.asked()[0].line, "POST /transform");
    let reply = conn.command(&["SWR.MEMO", "calc", "not json"]);
    assert_eq!(text(&reply.expect_items()[2]).as_deref(), Some("application/octet-stream of not json"));
    // A key without its payload cannot be loaded.
    assert_eq!(told(&conn.cmd("SWR.GET calc:unknown")).0, "MISS");
    assert_eq!(origin.count(), 2);
}

/// Writes go to the origin first; nothing old is left, whatever comes of them.
#[test]
fn writes_go_through() {
    let origin = Origin::start(|asked: &Asked| {
        match (asked.line.split(' ').next().unwrap(), asked.line.rsplit('/').next().unwrap()) {
            ("GET", _) => value("from the origin", &[]),
            (_, "refused") => answer("422 Unprocessable Content", &[], "no"),
            (_, "hangs") => Told::Silence,
            ("DELETE", "absent") => answer("404 Not Found", &[], ""),
            ("PUT" | "DELETE", _) => answer("200 OK", &[], ""),
            other => panic!("{other:?}"),
        }
    });
    let Some((server, mut conn)) = start(&origin, "WRITE through HARDTIMEOUT 1500 FRESH 60000") else { return };
    let writes = || -> Vec<String> {
        origin.asked().into_iter().filter(|asked| !asked.line.starts_with("GET")).map(|asked| asked.line).collect()
    };
    assert_eq!(conn.cmd("SET user:1 value EX 100"), Reply::Status("OK".into()));
    assert_eq!(origin.asked()[0].body, b"value");
    assert_eq!(conn.cmd("GET user:1"), Reply::Bulk(b"value".to_vec()));
    assert_eq!(conn.cmd("TTL user:1"), Reply::Int(100));
    assert_eq!(conn.cmd("PSETEX user:1 100000 other"), Reply::Status("OK".into()));
    assert_eq!(conn.cmd("SWR.SET user:1 third TAGS 1 t"), Reply::Status("OK".into()));
    assert_eq!(conn.cmd("DEL user:1"), Reply::Int(1));
    assert_eq!(conn.cmd("UNLINK user:absent"), Reply::Int(1));
    assert_eq!(
        writes(),
        ["PUT /users/1", "PUT /users/1", "PUT /users/1", "DELETE /users/1", "DELETE /users/absent"].map(str::to_owned)
    );
    // Refused: nothing has changed. No answer: nobody knows, and no copy is left.
    assert_eq!(told(&conn.cmd("SWR.GET user:refused WAIT 5000")).1.as_deref(), Some("from the origin"));
    assert_eq!(conn.cmd("SET user:refused x"), Reply::Error("ORIGIN 422".into()));
    assert_eq!(conn.cmd("EXISTS user:refused"), Reply::Int(1));
    assert_eq!(told(&conn.cmd("SWR.GET user:hangs WAIT 5000")).1.as_deref(), Some("from the origin"));
    assert_eq!(conn.cmd("SET user:hangs x"), Reply::Error("ORIGIN unknown".into()));
    assert_eq!(conn.cmd("EXISTS user:hangs"), Reply::Int(0));
    // What cannot be written through is not written at all.
    let before = origin.count();
    for line in [
        "INCR user:n",
        "MSET user:a 1 user:b 2",
        "DEL user:a user:b",
        "SET user:a 1 NX",
        "EXPIRE user:1 5",
        "RENAME other user:a",
        "SWR.SET user:a 1 IFVER 5",
    ] {
        let Reply::Error(text) = conn.cmd(line) else { panic!("{line}") };
        assert!(text.starts_with("ERR this key is written through"), "{line}: {text}");
    }
    conn.cmd("MULTI");
    assert!(matches!(conn.cmd("SET user:a 1"), Reply::Error(_)));
    assert!(matches!(conn.cmd("EXEC"), Reply::Error(_)));
    assert_eq!((origin.count(), conn.cmd("SET other 1")), (before, Reply::Status("OK".into())));
    // In order for one key, and a writer that has gone leaves no old value.
    let mut writers: Vec<Conn> = (0..10).map(|_| server.connect_ready()).collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.send(&request(&["SET", "user:race", &n.to_string()])).unwrap();
    }
    writers.iter_mut().for_each(|writer| assert_eq!(writer.read(), Ok(Reply::Status("OK".into()))));
    let last = origin.asked().into_iter().rfind(|asked| asked.line == "PUT /users/race").unwrap();
    assert_eq!(text(&conn.cmd("GET user:race")).unwrap().as_bytes(), last.body);
}
