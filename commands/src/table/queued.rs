//! Every command of the table inside MULTI and EXEC, rightly and wrongly asked: each gets exactly one reply, and none
//! touches a key that EXEC did not declare.
//!
//! A row that looks at the whole store without [`Flags::KEYSPACE`] panics here.

use super::*;
use crate::command::Flags;
use crate::testkit::{Testkit, draws};
use crate::usage::{self, Argument, Kind};

/// Requests tried for each row.
const TRIES: usize = 60;
/// Words that fit nowhere, or only just.
const ODD: &[&str] = &["", "-1", "x", "*", "a b", "\u{ff}", "1e400", "9223372036854775808", "-9223372036854775808"];
/// Forms that usages do not spell out.
const MORE: &[&str] = &[
    "DEBUG OBJECT k1",
    "DEBUG SLEEP 0",
    "DEBUG SET-ACTIVE-EXPIRE 1",
    "DEBUG HELP",
    "DEBUG RELOAD",
    "DEBUG ERROR 'ERR x'",
    "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lfu",
    "CONFIG GET *",
    "INFO everything",
    "INFO keyspace",
    "INFO commandstats",
    "COPY k1 k2 DB 5 REPLACE",
    "MOVE k1 5",
    "SCAN 0 COUNT 1000 TYPE string",
    "KEYS *",
    "CLIENT KILL TYPE normal SKIPME no",
    "CLIENT REPLY OFF",
];

struct Words<'d, D> {
    draw: &'d mut D,
    words: Vec<String>,
}

impl<D: FnMut(usize) -> usize> Words<'_, D> {
    fn all(&mut self, arguments: &[Argument]) {
        arguments.iter().for_each(|argument| self.one(argument));
    }

    fn one(&mut self, argument: &Argument) {
        if argument.optional && (self.draw)(2) == 0 {
            return;
        }
        let times = if argument.multiple { 1 + (self.draw)(3) } else { 1 };
        for time in 0..times {
            if let Some(token) = &argument.token
                && (time == 0 || argument.multiple_token)
            {
                self.words.push(token.clone());
            }
            match argument.kind {
                Kind::PureToken => {}
                Kind::OneOf => {
                    let choice = (self.draw)(argument.arguments.len());
                    self.one(&argument.arguments[choice]);
                }
                Kind::Block => self.all(&argument.arguments),
                kind => {
                    let word = self.word(kind);
                    self.words.push(word);
                }
            }
        }
    }

    fn word(&mut self, kind: Kind) -> String {
        let n = (self.draw)(40);
        match kind {
            Kind::Key => format!("k{n}"),
            Kind::Integer | Kind::UnixTime => (n % 12).to_string(),
            Kind::Double => format!("{n}.5"),
            Kind::Pattern => "*".into(),
            _ => format!("v{n}"),
        }
    }
}

/// A request of a row: as its usage says, then perhaps cut short, or with words that do not fit.
pub(super) fn request(row: &Command, draw: &mut impl FnMut(usize) -> usize) -> Vec<String> {
    let arguments = usage::parse(row.usage).expect("checked by another test");
    let name: Vec<String> = row.name.split('|').map(str::to_owned).collect();
    let mut words = Words { draw, words: name.clone() };
    words.all(&arguments);
    let Words { draw, mut words } = words;
    match draw(4) {
        0 => words.truncate(name.len() + draw(words.len() - name.len() + 1)),
        1 => {
            for word in &mut words[name.len()..] {
                if draw(2) == 0 {
                    *word = ODD[draw(ODD.len())].to_owned();
                }
            }
        }
        2 => (0..draw(4)).for_each(|_| words.push(ODD[draw(ODD.len())].to_owned())),
        _ => {}
    }
    words
}

/// Keys in several databases, and a connection that may do everything.
fn kit() -> Testkit {
    let mut t = Testkit::new();
    t.node.settings.start("enable-debug-command", b"yes").unwrap();
    for db in ["1", "5", "0"] {
        t.run(&format!("SELECT {db}"));
        (0..40).for_each(|n| drop(t.run(&format!("SET k{n} {n} PX {}", 1 + n * 100))));
    }
    t
}

/// Bytes of the first reply in `bytes`.
fn reply_len(bytes: &[u8]) -> usize {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a whole reply") + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).unwrap().parse::<i64>().unwrap();
    let inside = |count: i64| (0..count).fold(line, |at, _| at + reply_len(&bytes[at..]));
    match bytes[0] {
        b'+' | b'-' | b':' | b',' | b'_' | b'#' => line,
        b'$' | b'=' => line + usize::try_from(number()).map_or(0, |length| length + 2),
        b'*' | b'~' => inside(number()),
        b'%' => inside(2 * number()),
        other => panic!("a reply begins with {other}"),
    }
}

/// Runs the request in a transaction and says whether EXEC ran it.
fn check(t: &mut Testkit, words: &[&[u8]], label: &str) -> bool {
    t.run("MULTI");
    let queued = t.run_args(words);
    let reply = t.run_bytes(&[b"EXEC"]);
    let text = String::from_utf8_lossy(&reply);
    if t.session().replies != crate::session::Replies::On {
        assert!(reply.is_empty(), "{label}: {text}");
    } else if queued == "+QUEUED\r\n" {
        assert!(reply.starts_with(b"*1\r\n"), "{label}: {text}");
        assert_eq!(reply_len(&reply), reply.len(), "{label}: not one reply: {text}");
        return true;
    } else {
        assert!(text.starts_with('-') || text == "*0\r\n", "{label}: refused with {queued}, then {text}");
    }
    false
}

#[test]
fn every_command_runs_in_a_transaction() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("SEED={seed}");
    let mut draw = draws(seed);
    for row in all().filter(|row| row.subcommands.is_empty()) {
        let mut t = kit();
        let mut ran = 0;
        for attempt in 0..TRIES {
            t.connect();
            if attempt % 2 == 1 {
                t.resp3();
            }
            let words = request(row, &mut draw);
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            ran += usize::from(check(&mut t, &words, &shown(&words)));
            t.node.clients.unpause();
            if row.name == "config|set" {
                t.node.settings.set(b"requirepass", b"").unwrap();
            }
        }
        let never = [Flags::CONTROL, Flags::NO_MULTI].iter().any(|flag| row.flags.has(*flag));
        assert_eq!(ran == 0, never, "{}: EXEC ran {ran} of {TRIES} requests", row.name);
    }
}

fn shown(words: &[&[u8]]) -> String {
    words.iter().map(|word| format!("'{}' ", word.escape_ascii())).collect()
}

#[test]
fn forms_that_usages_do_not_spell_out() {
    for line in MORE {
        let mut t = kit();
        t.run("MULTI");
        assert_eq!(t.run(line), "+QUEUED\r\n", "{line}");
        let reply = t.run("EXEC");
        assert!(reply.starts_with("*1\r\n") || line.starts_with("CLIENT REPLY"), "{line}: {reply}");
    }
}

/// What commands of one transaction do to databases is seen by the next ones.
#[test]
fn a_transaction_over_several_databases() {
    let mut t = Testkit::new();
    let lines = [
        ("SET a 0", "+OK\r\n"),
        ("SELECT 1", "+OK\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("COPY a b DB 0", ":1\r\n"),
        ("MSETNX c 1 d 2", ":1\r\n"),
        ("MSETNX d 3 e 4", ":0\r\n"),
        ("MOVE c 2", ":1\r\n"),
        ("RENAME d c", "+OK\r\n"),
        ("DEL nothing c a", ":2\r\n"),
        ("SELECT 2", "+OK\r\n"),
        ("GET c", "$1\r\n1\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("MGET a b c", "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$-1\r\n"),
        ("SELECT 99", "-ERR DB index is out of range\r\n"),
    ];
    for more in [&[][..], &[("SWAPDB 0 2", "+OK\r\n"), ("GET c", "$1\r\n1\r\n"), ("DBSIZE", ":1\r\n")]] {
        t.run("FLUSHALL");
        t.run("MULTI");
        let all = || lines.iter().chain(more);
        all().for_each(|(line, _)| assert_eq!(t.run(line), "+QUEUED\r\n", "{line}"));
        let replies: String = all().map(|(_, reply)| *reply).collect();
        assert_eq!(t.run("EXEC"), format!("*{}\r\n{replies}", all().count()));
        assert_eq!(t.session().db.0, 0);
    }
}
