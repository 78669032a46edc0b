//! Servers that follow topics, as tests see them: over RESP, over HTTP, all of their keys.

use millpond_tests::kafka::{DEADLINE, fields, until};
use millpond_tests::patience::stand_back;
use millpond_tests::{Conn, Options, Reply, Server};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// A folder that is removed in the end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new one.
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mpk-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Folder(path)
    }

    /// Writes a file in it; its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path.to_str().expect("a plain path").to_owned()
    }
}

impl Default for Folder {
    fn default() -> Folder {
        Folder::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server with a configuration file, and HTTP.
pub struct Pond {
    server: Server,
    options: Options,
    /// Its port for HTTP.
    pub http: u16,
    /// Where its configuration lies.
    _folder: Folder,
}

impl Pond {
    /// Starts one.
    pub fn start(config: &str) -> Pond {
        Pond::start_with(config, Options::default())
    }

    /// Starts one with further flags.
    pub fn start_with(config: &str, options: Options) -> Pond {
        let folder = Folder::new();
        let file = folder.write("millpond.yaml", config);
        let http = http_port();
        let options = options.flag("config", &file).flag("http-port", &http.to_string());
        let server = Server::start_with(options.clone()).expect("these tests need the binary");
        Pond { server, options, http, _folder: folder }
    }

    /// Kills it (SIGKILL) and starts it again.
    pub fn crash(&mut self) {
        self.crash_with(|| {});
    }

    /// The same; something happens while it is down.
    pub fn crash_with(&mut self, meanwhile: impl FnOnce()) {
        self.server.kill();
        meanwhile();
        self.server = Server::start_with(self.options.clone()).expect("these tests need the binary");
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.server.stop()
    }

    /// A connection.
    pub fn conn(&self) -> Conn {
        self.server.connect_ready()
    }

    /// A connection, once these projections are ready.
    pub fn ready(&self, projections: &[&str]) -> Conn {
        let mut conn = self.conn();
        projections.iter().for_each(|projection| ready(&mut conn, projection));
        conn
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[])
    }

    /// One request on a connection of its own: method and target, and headers.
    pub fn ask(&self, head: &str, headers: &[&str]) -> Answer {
        self.send(head, headers, "")
    }

    /// The same with a body.
    pub fn send(&self, head: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("HTTP is served");
        stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let request = format!("{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}{length}\r\n{body}");
        stream.write_all(request.as_bytes()).expect("HTTP is read");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("HTTP is answered");
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{head}: no answer: {}", bytes.escape_ascii()));
        let head_text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head_text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head_text, body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() }
    }
}

/// A port below those that the system gives out by itself, and below those of the stack: nobody else asks for it.
fn http_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const MANY: u32 = 6_000;
    loop {
        let next = std::process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + next % MANY) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The value of a header; `None` without it.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
        self.head.lines().skip(1).find(named).map(|line| line[name.len() + 1..].trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Asserts that a text of the configuration of projection `p` is shown nowhere: not in replies, over HTTP, nor in the log.
pub fn assert_hidden(pond: &Pond, conn: &mut Conn, secret: &str) {
    let commands = [
        "PROJECTION.DESCRIBE p",
        "PROJECTION.INFO p PARTITIONS",
        "PROJECTION.ERRORS p",
        "PROJECTION.LIST",
        "INFO everything",
        "INFO projections",
        "CONFIG GET *",
        "CLIENT LIST",
        "SLOWLOG GET",
        "COMMAND DOCS projection.info",
    ];
    for command in commands {
        let reply = conn.cmd(command);
        assert!(!matches!(reply, Reply::Error(_)), "{command}: {reply}");
        assert!(!reply.to_string().contains(secret), "{command}: {reply}");
    }
    for path in ["/metrics", "/readyz", "/healthz", "/p", "/p/k"] {
        let answer = pond.get(path);
        assert!(!format!("{answer:?}").contains(secret), "{path}: {answer:?}");
    }
    let output = pond.server().output();
    assert!(!output.contains(secret), "{output}");
}

/// Waits until a projection is ready.
pub fn ready(conn: &mut Conn, projection: &str) {
    let deadline = Instant::now() + DEADLINE;
    while conn.cmd(&format!("PROJECTION.WAIT {projection} READY 10000")) != Reply::Int(1) {
        assert!(
            Instant::now() < deadline,
            "{projection} is not ready: {}",
            conn.cmd(&format!("PROJECTION.INFO {projection} PARTITIONS"))
        );
    }
}

/// What PROJECTION.INFO tells, as text.
pub fn info(conn: &mut Conn, projection: &str) -> BTreeMap<String, String> {
    let told = fields(&conn.cmd(&format!("PROJECTION.INFO {projection}")));
    told.into_iter().map(|(name, value)| (name, shown(&value))).collect()
}

/// A number that PROJECTION.INFO tells; 0 before the projection has begun.
pub fn count(conn: &mut Conn, projection: &str, name: &str) -> i64 {
    let told = info(conn, projection);
    let found = told.get(name).and_then(|value| value.parse().ok());
    found.or_else(|| (told["state"] == "init").then_some(0)).unwrap_or_else(|| panic!("no number {name} in {told:?}"))
}

/// Says that something is over when it goes, also where a test fails: else threads that go on until then would keep it.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks the same again and again, beside a test, until that is over; the first reply that is an error.
pub fn first_error(mut conn: Conn, command: &str, is_over: &AtomicBool) -> Option<Reply> {
    while !is_over.load(Ordering::Relaxed) {
        let reply = conn.cmd(command);
        if matches!(reply, Reply::Error(_)) {
            return Some(reply);
        }
        stand_back();
    }
    None
}

/// Waits until so many rebuilds have begun since the start, and the last one has ended.
pub fn rebuilt(conn: &mut Conn, projection: &str, times: i64) {
    until(&format!("{projection} is rebuilt"), || {
        let told = info(conn, projection);
        (told["rebuilds"].parse::<i64>().is_ok_and(|n| n >= times) && told["state"] == "live").then_some(())
    });
}

/// The state of each partition, in order, as PROJECTION.INFO tells it.
pub fn states(conn: &mut Conn, projection: &str) -> Vec<String> {
    let told = fields(&conn.cmd(&format!("PROJECTION.INFO {projection} PARTITIONS")));
    told["partitions"].expect_items().iter().map(|partition| shown(&fields(partition)["state"])).collect()
}

/// The last records that could not be read, latest first: class, partition, offset, text.
pub fn errors(conn: &mut Conn, projection: &str) -> Vec<(String, i64, i64, String)> {
    let reply = conn.cmd(&format!("PROJECTION.ERRORS {projection} COUNT 100"));
    let line = |line: &Reply| {
        let line = fields(line);
        (shown(&line["class"]), line["partition"].expect_int(), line["offset"].expect_int(), shown(&line["text"]))
    };
    reply.expect_items().iter().map(line).collect()
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Int(number) => number.to_string(),
        other => text_of(other.text().unwrap_or_else(|| panic!("expected text, got {other}"))),
    }
}

/// UTF-8 as it is, other bytes quoted.
pub fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| millpond_tests::words::quote(bytes))
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A string.
    Text(String),
    /// A hash.
    Hash(BTreeMap<String, String>),
}

/// A string.
pub fn held(text: impl Into<String>) -> Held {
    Held::Text(text.into())
}

/// What strings a topic holds, as they are dumped.
pub fn texts(fold: BTreeMap<String, Value>) -> BTreeMap<String, Held> {
    fold.into_iter().map(|(key, value)| (key, held(value.as_str().expect("text")))).collect()
}

/// A hash of these fields.
pub fn hash(fields: &[(&str, &str)]) -> Held {
    Held::Hash(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// All keys that begin with a prefix, found by SCAN, with what they hold; without the prefix.
pub fn dump(conn: &mut Conn, prefix: &str) -> BTreeMap<String, Held> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let reply = conn.command(&["SCAN", &cursor, "MATCH", &format!("{prefix}*"), "COUNT", "1000"]);
        let [next, found] = reply.expect_items() else { panic!("SCAN: {reply}") };
        keys.extend(found.expect_items().iter().map(|key| key.text().expect("a key").to_vec()));
        cursor = next.expect_text().to_owned();
        if cursor == "0" {
            break;
        }
    }
    keys.sort_unstable();
    keys.dedup();
    let mut all = BTreeMap::new();
    for key in keys {
        let held = match conn.command(&[&b"TYPE"[..], &key]).expect_text() {
            "string" => match conn.command(&[&b"GET"[..], &key]) {
                // Gone since.
                Reply::Nil => continue,
                reply => Held::Text(text_of(reply.text().expect("a string"))),
            },
            "hash" => {
                let pairs = conn.command(&[&b"HGETALL"[..], &key]);
                Held::Hash(
                    pairs.pairs().expect("pairs").iter().map(|(name, value)| (shown(name), shown(value))).collect(),
                )
            }
            // Expired since.
            "none" => continue,
            other => panic!("{}: a {other}", text_of(&key)),
        };
        all.insert(text_of(&key[prefix.len()..]), held);
    }
    all
}

/// Asserts that two dumps are the same, and shows only what differs.
pub fn assert_same(what: &str, ours: &BTreeMap<String, Held>, theirs: &BTreeMap<String, Held>) {
    let keys: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differs = |key: &&&String| ours.get(**key) != theirs.get(**key);
    let wrong: Vec<String> = keys
        .iter()
        .filter(differs)
        .map(|key| format!("{key}: server {:?}, topic {:?}", ours.get(*key), theirs.get(*key)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{what}: {} keys in the server, {} in the topic, {} differ:\n{}",
        ours.len(),
        theirs.len(),
        wrong.len(),
        wrong.iter().take(20).map(|line| line.chars().take(300).collect::<String>()).collect::<Vec<_>>().join("\n")
    );
}
