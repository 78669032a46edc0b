//! Groups of keys made absent: CACHE.REVOKE beside what peers offer for it, SCAN MATCH and UNLINK of what it finds, while a
//! steady client reads. How long one revoke takes, and what the client notices.

use std::time::{Duration, Instant};

use super::stall::{Work, watch};
use super::{Context, fill_time};
use crate::error::{Result, fail};
use crate::hist::{Histogram, Summary};
use crate::options::Options;
use crate::pipe::Pipe;
use crate::resp::{self, Reply};
use crate::server::Server;
use crate::wire::Protocol;

/// Revokes one after another, each of another group of one key in 4096; patterns are fewer, since the log holds 256.
const REVOKES: usize = 1000;
const PATTERN_REVOKES: usize = 200;
/// The same on a server that walks over all keys for each.
const WALKS: usize = 3;
/// Keys that are tagged, with one of as many tags as there are other groups.
const TAGGED: u64 = 1_000_000;
const GROUPS: u64 = 4096;

/// One way to name groups on one server.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub way: &'static str,
    pub revokes: u64,
    /// Time of each revoke, from the request to its reply, or to that of the last UNLINK; empty in the base phase.
    pub revoke: Summary,
    /// What the steady client noticed.
    pub latency: Summary,
}

pub fn planned(options: &Options) -> Duration {
    (fill_time(options.big_keys) + options.duration * 4) * options.recipes.len() as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        let mut server = context.start_filled(recipe, context.options.big_keys)?;
        if server.protocol() == Protocol::Resp {
            one_server(context, &mut server, index, &mut rows).map_err(|error| server.blame(error, "revoke"))?;
        }
    }
    Ok(rows)
}

fn one_server(context: &mut Context, server: &mut Server, index: usize, rows: &mut Vec<Row>) -> Result<()> {
    let mut phase = |context: &mut Context, way, mut work: Option<Revokes>| -> Result<()> {
        context.progress.step(context.options.duration, format_args!("{}: revoke by {way}", server.name()));
        let span = context.options.big_keys;
        let (_, latency) = watch(context, server, span, work.as_mut().map(|work| work as &mut dyn Work))?;
        let times = work.map_or_else(Histogram::new, |work| work.times);
        rows.push(Row { server: index, way, revokes: times.total(), revoke: times.summary(), latency });
        Ok(())
    };
    phase(context, "nothing", None)?;
    let group = |number: usize| format!("{:03x}", number as u64 % GROUPS);
    if server.name().starts_with("millpond") {
        let each = |number, words: &[&str], operand: String| {
            let mut request = Vec::new();
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).chain([operand.as_bytes()]).collect();
            resp::command(&mut request, &words);
            (number, request)
        };
        let requests = |count, make: &dyn Fn(usize) -> (usize, Vec<u8>)| -> Vec<Vec<u8>> {
            (0..count).map(|number| make(number).1).collect()
        };
        let prefixes = requests(REVOKES, &|n| each(n, &["CACHE.REVOKE", "PREFIX"], group(n)));
        phase(context, "prefix", Some(Revokes::at_once(server, prefixes)?))?;
        let patterns = requests(PATTERN_REVOKES, &|n| each(n, &["CACHE.REVOKE", "MATCH"], format!("*{}", group(n))));
        phase(context, "pattern", Some(Revokes::at_once(server, patterns)?))?;
        tag(context, server, &group)?;
        let tags = requests(REVOKES, &|n| each(n, &["CACHE.REVOKE", "TAG"], group(n)));
        phase(context, "tag", Some(Revokes::at_once(server, tags)?))?;
    } else {
        let prefixes = (0..WALKS).map(|number| format!("{}*", group(number))).collect();
        phase(context, "prefix", Some(Revokes::by_walk(server, prefixes)?))?;
        let patterns = (0..WALKS).map(|number| format!("*{}", group(number))).collect();
        phase(context, "pattern", Some(Revokes::by_walk(server, patterns)?))?;
    }
    Ok(())
}

/// Tags the last keys, most of which are still there.
fn tag(context: &Context, server: &Server, group: &impl Fn(usize) -> String) -> Result<()> {
    const BATCH: u64 = 10_000;
    let keys = context.options.big_keys;
    let mut pipe = Pipe::open(server.address, server.protocol())?;
    let first = keys.saturating_sub(TAGGED);
    for start in (first..keys).step_by(BATCH as usize) {
        let (mut requests, end) = (Vec::new(), keys.min(start + BATCH));
        for index in start..end {
            let tag = group(index as usize);
            resp::command(&mut requests, &[b"SWR.TAG", &context.keys.key(index), b"ADD", b"1", tag.as_bytes()]);
        }
        pipe.start(&requests, end - start);
        while !pipe.turn()? {}
    }
    Ok(())
}

/// Revokes one after another, each timed.
struct Revokes {
    pipe: Pipe,
    /// Requests, or patterns to walk by; the next one last.
    left: Vec<Vec<u8>>,
    walk: Option<Walk>,
    by_walk: bool,
    /// When the current one began; `None` before the first.
    began: Option<Instant>,
    times: Histogram,
}

/// A walk under way.
struct Walk {
    pattern: Vec<u8>,
    /// The replies that are due: that of an UNLINK, then that of a SCAN.
    unlinks: bool,
    scans: bool,
}

impl Revokes {
    fn new(server: &Server, mut left: Vec<Vec<u8>>, by_walk: bool) -> Result<Self> {
        left.reverse();
        let pipe = Pipe::open(server.address, server.protocol())?.keeping();
        Ok(Self { pipe, left, walk: None, by_walk, began: None, times: Histogram::new() })
    }

    fn at_once(server: &Server, requests: Vec<Vec<u8>>) -> Result<Self> {
        Self::new(server, requests, false)
    }

    fn by_walk(server: &Server, patterns: Vec<String>) -> Result<Self> {
        Self::new(server, patterns.into_iter().map(String::into_bytes).collect(), true)
    }

    /// Starts the next one; false if there is none.
    fn begin(&mut self) -> bool {
        let Some(next) = self.left.pop() else { return false };
        self.began = Some(Instant::now());
        if self.by_walk {
            self.scan(next, &[], b"0");
        } else {
            self.pipe.start(&next, 1);
        }
        true
    }

    /// Removes what the last step found, and goes on; with cursor 0 only the former.
    fn scan(&mut self, pattern: Vec<u8>, found: &[Vec<u8>], cursor: &[u8]) {
        let (mut requests, first) = (Vec::new(), self.walk.is_none());
        let (unlinks, scans) = (!found.is_empty(), first || cursor != b"0");
        if unlinks {
            let words: Vec<&[u8]> = std::iter::once(&b"UNLINK"[..]).chain(found.iter().map(Vec::as_slice)).collect();
            resp::command(&mut requests, &words);
        }
        if scans {
            resp::command(&mut requests, &[b"SCAN", cursor, b"MATCH", &pattern, b"COUNT", b"1000"]);
        }
        self.pipe.start(&requests, u64::from(unlinks) + u64::from(scans));
        self.walk = Some(Walk { pattern, unlinks, scans });
    }

    /// Takes the replies of a step; true if that was the last one of this revoke.
    fn step(&mut self) -> Result<bool> {
        let kept = self.pipe.take_kept();
        let Some(walk) = self.walk.take() else {
            return match resp::parse(&kept)? {
                Some((Reply::Integer(_), _)) => Ok(true),
                other => fail!("CACHE.REVOKE was answered with {other:?}"),
            };
        };
        let mut rest = &kept[..];
        if walk.unlinks {
            match resp::parse(rest)? {
                Some((Reply::Integer(_), used)) => rest = &rest[used..],
                other => fail!("UNLINK was answered with {other:?}"),
            }
        }
        if !walk.scans {
            return Ok(true);
        }
        let (cursor, keys) = super::stall::read_scan(rest)?;
        let found: Vec<Vec<u8>> =
            keys.into_iter().filter_map(|key| if let Reply::Bulk(key) = key { key } else { None }).collect();
        if cursor == "0" && found.is_empty() {
            return Ok(true);
        }
        self.walk = Some(Walk { pattern: Vec::new(), unlinks: false, scans: false });
        self.scan(walk.pattern, &found, cursor.as_bytes());
        Ok(false)
    }
}

impl Work for Revokes {
    fn turn(&mut self) -> Result<bool> {
        let Some(began) = self.began else { return Ok(!self.begin()) };
        if !self.pipe.turn()? || !self.step()? {
            return Ok(false);
        }
        self.times.record(began.elapsed().as_nanos() as u64);
        self.walk = None;
        Ok(!self.begin())
    }
}
