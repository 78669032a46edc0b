//! MULTI, EXEC, DISCARD, WATCH and UNWATCH, alone and against other connections.

use crate::call::Call;
use crate::clients::Client;
use crate::dispatch::dispatch;
use crate::session::Session;
use crate::stats::WorkerStats;
use crate::table;
use crate::testkit::{Testkit, draws};
use protocol::{Output, OwnedRequest, ReplyWriter};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage::{Cx, Db, Layout, Policy, Store};

const QUEUED: &str = "+QUEUED\r\n";
const OK: &str = "+OK\r\n";
const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Runs the lines and gives the last reply.
fn all(t: &mut Testkit, lines: &[&str]) -> String {
    lines.iter().map(|line| t.run(line)).last().unwrap_or_default()
}

#[test]
fn commands_are_queued_and_then_run() {
    let mut t = Testkit::new();
    assert_eq!(t.run("MULTI"), OK);
    assert_eq!(t.run("SET a 1"), QUEUED);
    assert_eq!(t.run("GET a"), QUEUED);
    assert_eq!(t.run("GET b"), QUEUED);
    assert!(t.session().queued_bytes() > 0);
    t.connect();
    assert_eq!(t.run("GET a"), "$-1\r\n", "nothing has run yet");
    assert_eq!(t.on(0).run("EXEC"), "*3\r\n+OK\r\n$1\r\n1\r\n$-1\r\n");
    assert_eq!(t.error("EXEC"), "ERR EXEC without MULTI");
    assert_eq!(all(&mut t, &["MULTI", "EXEC"]), "*0\r\n");
}

#[test]
fn errors_of_the_words_themselves() {
    let mut t = Testkit::new();
    assert_eq!(t.error("DISCARD"), "ERR DISCARD without MULTI");
    assert_eq!(t.error("EXEC"), "ERR EXEC without MULTI");
    t.run("MULTI");
    assert_eq!(t.error("MULTI"), "ERR MULTI calls can not be nested");
    assert_eq!(t.error("WATCH a"), "ERR WATCH inside MULTI is not allowed");
    t.run("SET a 1");
    assert_eq!(t.run("EXEC"), "*1\r\n+OK\r\n", "those two abort nothing");
}

#[test]
fn a_refused_command_aborts() {
    let mut t = Testkit::new();
    for bad in ["NOSUCH", "GET", "OBJECT NOSUCH k"] {
        all(&mut t, &["MULTI", "SET a 1"]);
        assert!(t.error(bad).starts_with("ERR "), "{bad}");
        assert_eq!(t.run("SET b 1"), QUEUED);
        assert_eq!(t.error("EXEC"), ABORTED);
        assert!(t.session().transaction.is_none());
        assert_eq!(t.run("EXISTS a b"), ":0\r\n");
    }
    let reason = "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    all(&mut t, &["WATCH k", "MULTI"]);
    assert_eq!(t.error("EXEC x"), reason);
    assert!(t.session().transaction.is_none() && t.session().watches.is_empty());
    assert_eq!(t.error("EXEC"), "ERR EXEC without MULTI");
}

#[test]
fn an_error_while_running_stops_nothing() {
    let mut t = Testkit::new();
    all(&mut t, &["MULTI", "SET a 1", "SET b 1 EX 0", "RENAME no x", "SET c 1"]);
    let (expire, key) = ("-ERR invalid expire time in 'set' command", "-ERR no such key");
    assert_eq!(t.run("EXEC"), format!("*4\r\n+OK\r\n{expire}\r\n{key}\r\n+OK\r\n"));
    assert_eq!(t.run("EXISTS a b c"), ":2\r\n");
    let set = &t.stats().by_command[usize::from(table::find_name(b"set").expect("a row").wire_id)];
    assert_eq!((set.calls.value(), set.failed.value()), (3, 1), "each is counted when it runs");
}

#[test]
fn discarding() {
    let mut t = Testkit::new();
    all(&mut t, &["WATCH k", "MULTI", "SET a 1"]);
    assert_eq!(t.run("DISCARD"), OK);
    assert!(t.session().transaction.is_none() && t.session().watches.is_empty());
    assert_eq!(t.run("EXISTS a"), ":0\r\n");
    all(&mut t, &["MULTI", "NOSUCH"]);
    assert_eq!(t.run("DISCARD"), OK);
    assert_eq!(all(&mut t, &["MULTI", "EXEC"]), "*0\r\n", "the error went with it");
}

/// What a second connection (or time) does between WATCH and EXEC.
fn watched(before: &[&str], meanwhile: impl FnOnce(&mut Testkit)) -> bool {
    let mut t = Testkit::new();
    all(&mut t, before);
    assert_eq!(t.run("WATCH k other"), OK);
    t.connect();
    meanwhile(&mut t);
    t.on(0);
    all(&mut t, &["MULTI", "SET done 1"]);
    let reply = t.run("EXEC");
    let ran = t.run("EXISTS done") == ":1\r\n";
    assert_eq!(reply, if ran { "*1\r\n+OK\r\n" } else { "*-1\r\n" });
    assert!(t.session().watches.is_empty(), "EXEC ends all watches");
    !ran
}

fn run(line: &'static str) -> impl FnOnce(&mut Testkit) {
    move |t| {
        t.run(line);
    }
}

#[test]
fn changes_of_a_watched_key_are_seen() {
    let there: &[&str] = &["SET k v PX 100"];
    for line in ["SET k v", "DEL k", "UNLINK k", "RENAME k x", "MOVE k 3", "FLUSHDB", "FLUSHALL ASYNC", "SWAPDB 0 1"] {
        assert!(watched(there, run(line)), "{line}");
    }
    assert!(watched(&["SET k v", "SET x v"], run("RENAME x k")));
    assert!(watched(&["SET x v"], run("RENAME x k")), "it came to be");
    assert!(watched(&["SET k v", "SET x v"], run("COPY x k REPLACE")));
    assert!(watched(&[], run("SET other v")), "any of the keys");
    assert!(watched(&[], |t| {
        all(t, &["SET k v", "DEL k"]);
    }));
    assert!(watched(&[], |t| {
        all(t, &["MULTI", "SET k v", "EXEC"]);
    }));
}

#[test]
fn what_is_no_change() {
    let there: &[&str] = &["SET k v"];
    for line in ["GET k", "EXISTS k", "SET x v", "DEL nokey", "COPY k x", "RENAMENX nokey k", "COPY nokey k REPLACE"] {
        assert!(!watched(there, run(line)), "{line}");
    }
    assert!(!watched(&[], run("FLUSHALL")), "nothing to flush");
    assert!(!watched(&[], run("DEL k")));
    assert!(!watched(there, run("SET k v NX")));
    assert!(!watched(there, |t| {
        t.session().db = Db(1);
        all(t, &["SET k v", "DEL k"]);
    }));
}

#[test]
fn expiry_of_a_watched_key() {
    let there: &[&str] = &["SET k v PX 100"];
    assert!(watched(there, |t| t.advance_ms(100)), "expired after WATCH");
    assert!(watched(there, |t| {
        t.advance_ms(100);
        t.run("DEL k");
    }));
    assert!(!watched(there, |t| t.advance_ms(99)));

    let mut t = Testkit::new();
    t.run("SET k v PX 100");
    t.advance_ms(100);
    t.run("WATCH k");
    t.run("GET k");
    t.run("DEL k");
    t.run("FLUSHDB");
    assert_eq!(all(&mut t, &["MULTI", "EXEC"]), "*0\r\n", "dead at WATCH and reclaimed later is no change");
}

#[test]
fn eviction_of_a_watched_key() {
    let mut t = Testkit::new();
    t.run("SET k v");
    t.run("WATCH k");
    t.connect();
    t.store.memory().set_policy(Policy::AllKeysRandom);
    t.store.memory().set_limit(t.store.memory().used() + 2_000);
    let mut n = 0;
    while t.run("EXISTS k") == ":1\r\n" {
        t.run_args(&[b"SET", format!("x{n}").as_bytes(), &[b'x'; 500]]);
        n += 1;
        assert!(n < 100_000, "never evicted");
    }
    t.on(0);
    assert_eq!(all(&mut t, &["MULTI", "GET k", "EXEC"]), "*-1\r\n");
}

#[test]
fn ends_of_watches() {
    let mut t = Testkit::new();
    all(&mut t, &["WATCH k k k", "WATCH k", "SET k v"]);
    assert_eq!(t.session().watches.len(), 1);
    assert_eq!(t.run("UNWATCH"), OK);
    assert_eq!(all(&mut t, &["MULTI", "EXEC"]), "*0\r\n");
    all(&mut t, &["WATCH k", "SET k v"]);
    assert_eq!(t.resp3().run("MULTI"), OK);
    assert_eq!(t.run("EXEC"), "_\r\n", "one's own change counts");
    assert_eq!(all(&mut t, &["MULTI", "EXEC"]), "*0\r\n", "and only once");
    all(&mut t, &["WATCH k", "SET k v", "MULTI"]);
    assert_eq!(t.run("UNWATCH"), QUEUED);
    assert_eq!(t.run("EXEC"), "_\r\n");
    all(&mut t, &["WATCH k", "SET k v", "MULTI", "NOSUCH"]);
    assert_eq!(t.error("EXEC"), ABORTED, "an abort comes before a change");
}

#[test]
fn watches_of_other_databases() {
    let mut t = Testkit::new();
    t.session().db = Db(2);
    t.run("WATCH k");
    t.session().db = Db(0);
    t.run("WATCH k");
    assert_eq!(t.session().watches.len(), 2);
    t.connect();
    t.session().db = Db(2);
    t.run("SET k v");
    t.on(0);
    assert_eq!(all(&mut t, &["MULTI", "GET a", "EXEC"]), "*-1\r\n");
}

#[test]
fn many_watches_stay_cheap() {
    let mut t = Testkit::new();
    let keys: Vec<Vec<u8>> = (0..100_000).map(|n| format!("k{n}").into_bytes()).collect();
    let mut args: Vec<&[u8]> = vec![b"WATCH"];
    args.extend(keys.iter().map(Vec::as_slice));
    assert_eq!(t.run_args(&args), OK);
    t.run("SET k99999 v");
    assert_eq!(all(&mut t, &["MULTI", "EXEC"]), "*-1\r\n");
}

#[test]
fn commands_on_the_whole_keyspace_run_inside() {
    let mut t = Testkit::new();
    all(&mut t, &["SET a 1", "WATCH a", "MULTI", "DBSIZE", "SET b 2", "DBSIZE", "KEYS a", "FLUSHALL", "DBSIZE"]);
    assert_eq!(t.run("SWAPDB 0 1"), QUEUED);
    assert_eq!(t.run("EXEC"), "*7\r\n:1\r\n+OK\r\n:2\r\n*1\r\n$1\r\na\r\n+OK\r\n:0\r\n+OK\r\n");
}

#[test]
fn keys_of_several_databases() {
    let mut t = Testkit::new();
    all(&mut t, &["SET a 1", "MULTI", "MOVE a 3", "SELECT 3", "GET a", "COPY a b DB 0", "DEL a"]);
    let reply = t.run("EXEC");
    assert_eq!(reply, "*5\r\n:1\r\n+OK\r\n$1\r\n1\r\n:1\r\n:1\r\n");
    assert_eq!(t.session().db, Db(3));
}

#[test]
fn no_memory_for_the_queued_commands() {
    let mut t = Testkit::new();
    all(&mut t, &["WATCH k", "MULTI", "GET a", "SET a 1"]);
    t.store.memory().charge_outside(1000);
    t.store.memory().set_limit(1);
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(t.error("EXEC"), format!("EXECABORT Transaction discarded because of: {oom}"));
    assert!(t.session().transaction.is_none() && t.session().watches.is_empty());
    all(&mut t, &["MULTI", "GET a"]);
    assert_eq!(t.run("EXEC"), "*1\r\n$-1\r\n", "reading needs none");
}

/// A plain map with the rules of WATCH, for three sessions.
#[derive(Default)]
struct Model {
    entries: BTreeMap<usize, (usize, Option<u64>)>,
    versions: BTreeMap<usize, u64>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Get(usize),
    Set(usize, usize, Option<u64>),
    BadSet(usize),
    Del(usize),
    Rename(usize, usize),
    Flush,
}

impl Op {
    fn line(self) -> String {
        match self {
            Self::Get(key) => format!("GET k{key}"),
            Self::Set(key, value, None) => format!("SET k{key} {value}"),
            Self::Set(key, value, Some(ms)) => format!("SET k{key} {value} PX {ms}"),
            Self::BadSet(key) => format!("SET k{key} v EX 0"),
            Self::Del(key) => format!("DEL k{key}"),
            Self::Rename(from, to) => format!("RENAME k{from} k{to}"),
            Self::Flush => "FLUSHDB".to_owned(),
        }
    }
}

impl Model {
    fn changed(&mut self, key: usize) {
        *self.versions.entry(key).or_default() += 1;
    }

    /// What a watch of the key compares: its changes, and whether it is there.
    fn state(&self, key: usize) -> (u64, bool) {
        (self.versions.get(&key).copied().unwrap_or_default(), self.entries.contains_key(&key))
    }

    fn apply(&mut self, op: Op, now_ms: u64) -> String {
        match op {
            Op::Get(key) => match self.entries.get(&key) {
                Some((value, _)) => format!("${}\r\n{value}\r\n", value.to_string().len()),
                None => "$-1\r\n".to_owned(),
            },
            Op::Set(key, value, ms) => {
                self.changed(key);
                self.entries.insert(key, (value, ms.map(|ms| now_ms + ms)));
                OK.to_owned()
            }
            Op::BadSet(_) => "-ERR invalid expire time in 'set' command\r\n".to_owned(),
            Op::Del(key) => {
                let found = self.entries.remove(&key).is_some();
                if found {
                    self.changed(key);
                }
                format!(":{}\r\n", u8::from(found))
            }
            Op::Rename(from, to) => {
                let Some(value) = self.entries.get(&from).copied() else {
                    return "-ERR no such key\r\n".to_owned();
                };
                if from != to {
                    self.entries.remove(&from);
                    self.entries.insert(to, value);
                    self.changed(from);
                    self.changed(to);
                }
                OK.to_owned()
            }
            Op::Flush => {
                for key in core::mem::take(&mut self.entries).into_keys() {
                    self.changed(key);
                }
                OK.to_owned()
            }
        }
    }
}

#[derive(Default)]
struct ModelSession {
    queued: Option<Vec<Op>>,
    aborted: bool,
    watches: BTreeMap<usize, (u64, bool)>,
}

#[test]
fn any_interleaving_agrees_with_a_map() {
    let (mut committed, mut refused) = (0, 0);
    for seed in 0..150 {
        let mut draw = draws(seed);
        let mut t = Testkit::new();
        t.connect();
        t.connect();
        let mut model = Model::default();
        let mut sessions: [ModelSession; 3] = Default::default();
        for step in 0..150 {
            let number = draw(3);
            t.on(number);
            let session = &mut sessions[number];
            let (key, other, value) = (draw(4), draw(4), draw(1000));
            let op = match draw(10) {
                0..=2 => Op::Get(key),
                3 | 4 => Op::Set(key, value, None),
                5 => Op::Set(key, value, Some(1 + draw(20) as u64)),
                6 => Op::BadSet(key),
                7 => Op::Del(key),
                8 => Op::Rename(key, other),
                _ if draw(4) == 0 => Op::Flush,
                _ => Op::Get(other),
            };
            let (line, expected) = match draw(12) {
                0 | 1 if session.queued.is_none() => {
                    // The first watch of a key counts.
                    session.watches.entry(key).or_insert(model.state(key));
                    (format!("WATCH k{key}"), OK.to_owned())
                }
                2 | 3 if session.queued.is_none() => {
                    session.queued = Some(Vec::new());
                    ("MULTI".to_owned(), OK.to_owned())
                }
                4..=6 if session.queued.is_some() => {
                    let queued = session.queued.take().unwrap_or_default();
                    let aborted = core::mem::take(&mut session.aborted);
                    // A key that was there and is not has changed even if nobody removed it.
                    let changed = |(key, (version, live)): (usize, (u64, bool))| {
                        let now = model.state(key);
                        now.0 != version || live && !now.1
                    };
                    let changed = core::mem::take(&mut session.watches).into_iter().any(changed);
                    let expected = if aborted {
                        format!("-{ABORTED}\r\n")
                    } else if changed {
                        refused += 1;
                        "*-1\r\n".to_owned()
                    } else {
                        committed += 1;
                        let replies: String = queued.iter().map(|op| model.apply(*op, t.cx.now.0)).collect();
                        format!("*{}\r\n{replies}", queued.len())
                    };
                    ("EXEC".to_owned(), expected)
                }
                7 if session.queued.is_some() && draw(3) == 0 => {
                    *session = ModelSession::default();
                    ("DISCARD".to_owned(), OK.to_owned())
                }
                8 if session.queued.is_some() && draw(4) == 0 => {
                    session.aborted = true;
                    ("GET".to_owned(), "-ERR wrong number of arguments for 'get' command\r\n".to_owned())
                }
                9 if session.queued.is_none() && draw(2) == 0 => {
                    session.watches.clear();
                    ("UNWATCH".to_owned(), OK.to_owned())
                }
                _ => match &mut session.queued {
                    Some(queued) => {
                        queued.push(op);
                        (op.line(), QUEUED.to_owned())
                    }
                    None => (op.line(), model.apply(op, t.cx.now.0)),
                },
            };
            assert_eq!(t.run(&line), expected, "seed {seed} step {step}: {line} of {number}");
            t.advance_ms(draw(3) as u64);
            let now = t.cx.now.0;
            model.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        }
    }
    assert!(committed > 500 && refused > 300, "both ends occur: {committed} {refused}");
}

/// A session of its own thread.
struct Peer<'n> {
    node: &'n crate::node::Node,
    participant: storage::Participant<'n>,
    session: Session,
    stats: WorkerStats,
    seed: u64,
}

impl<'n> Peer<'n> {
    fn new(node: &'n crate::node::Node, store: &'n Store, seed: u64) -> Self {
        let client = Client::new(seed, 0, "127.0.0.1:1".into(), "127.0.0.1:2".into(), 3, false, 0);
        let session = Session::new(Arc::new(client), true);
        Self { node, participant: store.join(), session, stats: WorkerStats::default(), seed }
    }

    fn run(&mut self, line: &str) -> String {
        let request = OwnedRequest::from_slices(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        let (mut output, mut effects) = (Output::new(), Vec::new());
        let mut store = self.participant.batch();
        let mut call = Call {
            command: table::find_name(b"get").expect("a row"),
            args: request.as_args(),
            first_hash: None,
            reply: ReplyWriter::new(&mut output, self.session.protocol),
            session: &mut self.session,
            store: &mut store,
            cx: Cx { seed: self.seed, ..Cx::at(1000) },
            node: self.node,
            stats: &self.stats,
            effects: &mut effects,
        };
        dispatch(&mut call, table::find(request.as_args()));
        drop(store);
        self.seed = self.seed.wrapping_add(7);
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        String::from_utf8(bytes).expect("text")
    }
}

/// Writers set several keys to one value, by stripe locks and exclusively; readers never see two different ones, and
/// of increments made by WATCH, GET, SET none is lost.
#[test]
fn threads_see_transactions_whole() {
    const ROUNDS: usize = 300;
    let kit = Testkit::new();
    let store = Store::new(Layout::new(8, [7, 7, 7, 7]));
    let done = AtomicBool::new(false);
    let (node, store, done) = (&kit.node, &store, &done);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut peer = Peer::new(node, store, 100);
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                peer.run("MULTI");
                for key in ["a", "b", "c"] {
                    peer.run(&format!("GET {key}"));
                }
                let reply = peer.run("EXEC");
                let values = reply.strip_prefix("*3\r\n").expect("three replies");
                let third = values.len() / 3;
                assert_eq!(values, values[..third].repeat(3), "a transaction was seen half done");
                seen += 1;
            }
            assert!(seen > 0);
        });
        let writers: Vec<_> = (0..3)
            .map(|number: usize| {
                scope.spawn(move || {
                    let mut peer = Peer::new(node, store, number as u64);
                    for round in 0..ROUNDS {
                        peer.run("MULTI");
                        let value = 1000 + number * ROUNDS + round;
                        for key in ["b", "c", "a"] {
                            peer.run(&format!("SET {key} {value}"));
                        }
                        if round % 10 == 0 {
                            peer.run("DBSIZE");
                        }
                        assert!(peer.run("EXEC").starts_with(['*']));
                        loop {
                            peer.run("WATCH counter");
                            let reply = peer.run("GET counter");
                            let count: usize = reply.lines().nth(1).map_or(0, |n| n.parse().expect("a number"));
                            peer.run("MULTI");
                            peer.run(&format!("SET counter {}", count + 1));
                            if peer.run("EXEC") != "*-1\r\n" {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no assertion failed");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("no assertion failed");
    });
    let total = 3 * ROUNDS;
    assert_eq!(Peer::new(node, store, 0).run("GET counter"), format!("${}\r\n{total}\r\n", total.to_string().len()));
    #[cfg(debug_assertions)]
    store.invariants();
}

#[test]
fn a_slow_exec_is_one_entry_of_the_slow_log() {
    let mut t = Testkit::new();
    assert_eq!(all(&mut t, &["MULTI", "SET k v", "INCR k", "GET k"]), QUEUED);
    t.elapsed_ns = 20_000_000;
    assert!(t.run("EXEC").starts_with("*3\r\n+OK\r\n-ERR "));
    let entries = t.node.slowlog.newest(9);
    assert_eq!(entries.len(), 1, "the commands it ran have no time of their own");
    assert_eq!((&entries[0].args, entries[0].duration_us), (&vec![b"EXEC".to_vec()], 20_000));
    let row = |name| match table::find(OwnedRequest::from_slices(&[name]).as_args()) {
        table::Lookup::Command(command) => &t.stats().by_command[usize::from(command.wire_id)],
        _ => panic!("unknown command"),
    };
    let (exec, incr) = (row(b"exec"), row(b"incr"));
    assert_eq!((exec.calls.value(), exec.ns.value()), (1, 20_000_000));
    assert_eq!((incr.calls.value(), incr.failed.value(), incr.ns.value()), (1, 1, 0));
}
