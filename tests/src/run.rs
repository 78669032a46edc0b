//! Runs scripts against a server and collects every difference, with its line.

use crate::conn::{Broken, Conn, Protocol};
use crate::notation::{Expect, Vars};
use crate::patience::Patience;
use crate::reply::Reply;
use crate::script::{Action, Script, Section, Slot};
use crate::server::{Kind, Options, Server};
use crate::words::{Word, request};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The version the expectations are written for; against a genuine Redis it stands for that server's own.
const VERSION: &str = "7.2.4";
/// "Nothing arrives" is believed after this long.
const SILENCE: Duration = Duration::from_millis(100);
/// A key with a deadline of milliseconds is gone by then.
const EXPIRY_DEADLINE: Duration = Duration::from_secs(10);

/// The first words an error reply may have: clients branch on them, so the set is closed.
const ERROR_WORDS: [&str; 21] = [
    "ERR",
    "NOAUTH",
    "WRONGPASS",
    "NOPROTO",
    "BUSYREVOKE",
    "NOSERVICE",
    "ORIGIN",
    "NOSCRIPT",
    "WRONGTYPE",
    "EXECABORT",
    "OOM",
    "LOADING",
    "READONLY",
    "BUSY",
    "BUSYKEY",
    "NOPERM",
    "MISCONF",
    "NOGROUP",
    "UNKILLABLE",
    "NOTBUSY",
    "UNBLOCKED",
];

/// How the bytes of a transcript reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All in one write.
    AtOnce,
    /// One write per byte.
    ByteByByte,
    /// One command, then its replies.
    PerCommand,
}

/// Reads all scripts of a folder beside this crate's manifest, sorted by name.
pub fn scripts(folder: &str) -> Vec<Script> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| script(&path)).collect()
}

fn script(path: &std::path::Path) -> Script {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Script::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs every section of a script under one protocol; the differences, empty when there are none.
pub fn run_script(script: &Script, protocol: Protocol) -> Vec<String> {
    let mut differences = Vec::new();
    let mut shared: Option<Server> = None;
    for section in &script.sections {
        if section.only.is_some_and(|only| only != protocol) {
            continue;
        }
        let mut own = None;
        let server = match &section.server {
            Some(_) => match start_for(section) {
                Some(server) => own.insert(server),
                None => continue,
            },
            None => shared.get_or_insert_with(Server::start),
        };
        let mut run = Run::new(script, section, server, protocol);
        if !run.is_skipped() {
            run.play();
            differences.extend(run.differences);
        }
    }
    differences
}

/// Replays every section of a transcript with one delivery; sections say themselves which protocol they speak.
pub fn replay(script: &Script, delivery: Delivery) -> Vec<String> {
    let mut differences = Vec::new();
    let mut shared: Option<Server> = None;
    for section in &script.sections {
        let mut own = None;
        let server = match &section.server {
            Some(_) => match start_for(section) {
                Some(server) => own.insert(server),
                None => continue,
            },
            None => shared.get_or_insert_with(Server::start),
        };
        let mut run = Run::new(script, section, server, Protocol::Resp2);
        if !run.is_skipped() {
            run.deliver(delivery);
            differences.extend(run.differences.into_iter().map(|difference| format!("{difference} ({delivery:?})")));
        }
    }
    differences
}

fn start_for(section: &Section) -> Option<Server> {
    let mut flags = section.server.clone().unwrap_or_default();
    let password = section.password().map(str::to_owned);
    if let Some(at) = flags.iter().position(|flag| flag == "--requirepass") {
        flags.drain(at..at + 2);
    }
    Server::start_with(Options { flags, password, ..Options::default() })
}

struct Run<'a> {
    script: &'a Script,
    section: &'a Section,
    server: &'a Server,
    protocol: Protocol,
    kind: Kind,
    version: String,
    admin: Conn,
    conns: BTreeMap<String, Conn>,
    vars: Vars,
    differences: Vec<String>,
}

/// The section cannot go on.
struct Stop;

impl<'a> Run<'a> {
    fn new(script: &'a Script, section: &'a Section, server: &'a Server, protocol: Protocol) -> Run<'a> {
        let mut admin = server.connect_ready();
        admin.cmd("FLUSHALL");
        Run {
            script,
            section,
            server,
            protocol,
            kind: server.kind(),
            version: server.info().version().to_owned(),
            admin,
            conns: BTreeMap::new(),
            vars: Vars::new(),
            differences: Vec::new(),
        }
    }

    fn is_skipped(&self) -> bool {
        self.section.skip.iter().any(|mark| self.kind.is_named(mark))
    }

    fn play(&mut self) {
        for step in &self.section.steps {
            let went_on = match &step.action {
                Action::Send { conn, words } => {
                    let args = self.expand(words, step.line);
                    self.send(conn, &request(&args), step.line)
                }
                Action::Raw { conn, bytes } => self.send(conn, bytes, step.line),
                Action::Expect(slot) => self.expect(slot, step.line),
                Action::Expired { key } => self.wait_expired(key, step.line),
            };
            if went_on.is_err() {
                self.report(step.line, "the section ends here");
                return;
            }
        }
        self.check_nothing_left();
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.section_conn("", true);
        let mut bytes = Vec::new();
        for step in &self.section.steps {
            match &step.action {
                Action::Send { words, .. } => bytes.extend(request(&self.expand(words, step.line))),
                Action::Raw { bytes: raw, .. } => bytes.extend_from_slice(raw),
                Action::Expect(_) | Action::Expired { .. } => {}
            }
        }
        let conn = self.conns.get_mut("").expect("opened above");
        match delivery {
            Delivery::AtOnce => drop(conn.send(&bytes)),
            // A write error shows as a missing reply below.
            Delivery::ByteByByte => drop(bytes.iter().try_for_each(|byte| conn.send(&[*byte]))),
            Delivery::PerCommand => {}
        }
        for step in &self.section.steps {
            let went_on = match &step.action {
                Action::Send { words, .. } if delivery == Delivery::PerCommand => {
                    let args = self.expand(words, step.line);
                    self.send("", &request(&args), step.line)
                }
                Action::Raw { bytes, .. } if delivery == Delivery::PerCommand => self.send("", bytes, step.line),
                Action::Expect(slot) => self.expect(slot, step.line),
                _ => Ok(()),
            };
            if went_on.is_err() {
                return;
            }
        }
        self.check_nothing_left();
    }

    /// Opens the connection if it is new, and brings it into the protocol of the run unless the section wants it bare.
    fn section_conn(&mut self, name: &str, bare: bool) -> &mut Conn {
        let protocol = self.protocol;
        let server = self.server;
        self.conns.entry(name.to_owned()).or_insert_with(|| {
            if bare {
                return server.connect();
            }
            let mut conn = server.connect_ready();
            if protocol == Protocol::Resp3 {
                conn.cmd("HELLO 3");
            }
            conn
        })
    }

    fn send(&mut self, conn: &str, bytes: &[u8], line: usize) -> Result<(), Stop> {
        let bare = self.section.bare;
        let sent = self.section_conn(conn, bare).send(bytes);
        sent.map_err(|e| {
            self.report(line, &format!("sending: {e}"));
            Stop
        })
    }

    fn expect(&mut self, slot: &Slot, line: usize) -> Result<(), Stop> {
        let bare = self.section.bare;
        let is_missing = match &slot.until {
            Some((name, _)) => {
                matches!(self.admin.command(&["COMMAND", "INFO", name]).expect_items(), [Reply::Nil | Reply::NilArray])
            }
            None => false,
        };
        let limit = if [&slot.resp2, &slot.resp3].into_iter().flatten().any(|e| *e == Expect::Silent) {
            SILENCE
        } else {
            crate::conn::REPLY_DEADLINE
        };
        let conn = self.section_conn(&slot.conn, bare);
        let read = conn.read_within(limit);
        let protocol = conn.protocol();
        let expected = match (&slot.until, protocol) {
            (Some((_, before)), _) if is_missing => before,
            (_, Protocol::Resp2) => slot.resp2.as_ref().unwrap_or(&Expect::Any),
            (_, Protocol::Resp3) => slot.resp3.as_ref().unwrap_or(&Expect::Any),
        };
        let excepted = slot.except.iter().any(|mark| self.kind.is_named(mark));
        let reply = match (expected, read) {
            (Expect::Closed, Err(Broken::Closed)) | (Expect::Silent, Err(Broken::Timeout(_))) => return Ok(()),
            (_, Ok(reply)) => reply,
            (_, Err(broken)) => {
                self.report(line, &format!("{broken:?} instead of a reply"));
                return Err(Stop);
            }
        };
        self.check_error_words(&reply, line);
        if excepted {
            return Ok(());
        }
        let expected = self.for_this_version(expected);
        if !expected.matches(&reply, protocol, &mut self.vars) {
            self.report(line, &format!("{protocol:?} got {reply}"));
        }
        Ok(())
    }

    fn for_this_version(&self, expected: &Expect) -> Expect {
        match expected {
            Expect::Bulk(text) if text == VERSION.as_bytes() => Expect::Bulk(self.version.clone().into()),
            Expect::Map(pairs, extent) => {
                let pair = |(k, v): &(Expect, Expect)| (k.clone(), self.for_this_version(v));
                Expect::Map(pairs.iter().map(pair).collect(), *extent)
            }
            Expect::Text(Some(pattern)) => {
                let pattern = String::from_utf8_lossy(pattern).replace(VERSION, &self.version);
                Expect::Text(Some(pattern.into()))
            }
            other => other.clone(),
        }
    }

    fn check_error_words(&mut self, reply: &Reply, line: usize) {
        match reply {
            Reply::Error(text) => {
                let word = text.split(' ').next().unwrap_or("");
                if !ERROR_WORDS.contains(&word) {
                    self.report(line, &format!("an error begins with the unknown word {word}: {text}"));
                }
            }
            Reply::Array(items) => items.iter().for_each(|item| self.check_error_words(item, line)),
            _ => {}
        }
    }

    fn wait_expired(&mut self, key: &str, line: usize) -> Result<(), Stop> {
        let patience = Patience::of(EXPIRY_DEADLINE);
        while self.admin.command(&["EXISTS", key]) != Reply::Int(0) {
            if !patience.is_left() {
                self.report(line, &format!("{key} is not gone after {EXPIRY_DEADLINE:?}"));
                return Err(Stop);
            }
        }
        Ok(())
    }

    /// After the last line every connection must have been read empty: one more reply than expected is a difference too.
    fn check_nothing_left(&mut self) {
        for (name, mut conn) in std::mem::take(&mut self.conns) {
            let _ = conn.finish_sending();
            match conn.read() {
                Err(Broken::Closed) => {}
                Ok(reply) => {
                    self.report(self.section.line, &format!("connection {name:?} got one reply too many: {reply}"))
                }
                Err(broken) => self.report(self.section.line, &format!("connection {name:?} at the end: {broken:?}")),
            }
        }
    }

    /// Variables (`$now`, `$nowms`, captured names, each with `+N` or `-N`) and repetitions (`{x*300}`) in unquoted words.
    fn expand(&self, words: &[Word], line: usize) -> Vec<Vec<u8>> {
        words
            .iter()
            .map(|word| if word.quoted { word.bytes.clone() } else { self.expand_word(&word.bytes, line) })
            .collect()
    }

    fn expand_word(&self, bytes: &[u8], line: usize) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
        if let Some((unit, count)) =
            text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).and_then(|t| t.rsplit_once('*'))
            && let Ok(count) = count.parse()
        {
            return unit.repeat(count).into_bytes();
        }
        let Some(variable) = text.strip_prefix('$') else { return bytes.to_vec() };
        if variable.is_empty() {
            return bytes.to_vec();
        }
        let end = variable.find(['+', '-']).unwrap_or(variable.len());
        let (name, offset) = variable.split_at(end);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
        let value = match name {
            "now" => now.as_secs().to_string().into_bytes(),
            "nowms" => now.as_millis().to_string().into_bytes(),
            name => self
                .vars
                .get(name)
                .cloned()
                .unwrap_or_else(|| panic!("{}:{line}: no value was captured as ${name}", self.script.name)),
        };
        if offset.is_empty() {
            return value;
        }
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
        match (number(&value), offset.parse::<i64>().ok()) {
            (Some(value), Some(offset)) => (value + offset).to_string().into_bytes(),
            _ => panic!("{}:{line}: cannot add in ${variable}", self.script.name),
        }
    }

    fn report(&mut self, line: usize, what: &str) {
        self.differences.push(format!("{}:{line} [{}] {what}", self.script.name, self.section.title));
    }
}
