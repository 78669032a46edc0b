//! Memory held by the dead: keys that have expired and are still stored, under a steady stream of writes with short TTLs.
//!
//! Every key is written once. DBSIZE goes through the connection of the writes, so the keys written before it are known
//! exactly; how many of them have expired follows from their TTLs, but for the time between sending a write and its reply.
//! The figures are the middle of what is possible, and the report shows half its width.

use std::time::{Duration, Instant};

use super::Context;
use super::stall::{read_scan, start_scan};
use crate::error::{Result, fail};
use crate::keys::Random;
use crate::options::Options;
use crate::pipe::Pipe;
use crate::resp;
use crate::server::Server;
use crate::wire::Protocol;

/// Time between two batches of writes, and between two looks.
const BATCH_EVERY_MS: u64 = 2;
const LOOK_EVERY_MS: u64 = 100;
/// Before this much has passed, too little is alive for a percentage.
const SETTLE_MS: u64 = 2_000;
const TTL_LEAST_MS: u64 = 1_000;

/// One server, without or with a SCAN loop beside.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub scanning: bool,
    pub writes_per_s: f64,
    /// Of all samples: the most dead keys as a percentage of the living, in seconds of writes, and as a share of the goal,
    /// the larger of 1 % and 2 s.
    pub percent_max: f64,
    pub seconds_max: f64,
    pub of_goal_max: f64,
    pub percent_mean: f64,
    pub live_max: u64,
    /// Half the width of what is possible, in keys, at its largest.
    pub uncertain_max: f64,
    pub samples: usize,
    pub scan_calls: u64,
}

pub fn planned(options: &Options) -> Duration {
    options.stale_time * 2 * options.recipes.len() as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        if recipe.protocol() != Protocol::Resp {
            eprintln!("  {}: skipped, it has neither SCAN nor an exact count of keys", recipe.name);
            continue;
        }
        for scanning in [false, true] {
            let beside = if scanning { " beside SCAN" } else { "" };
            context.progress.step(context.options.stale_time, format_args!("{}: stale keys{beside}", recipe.name));
            let mut server = Server::start(recipe, context.options.place())?;
            let row = one_pass(context, &server, scanning).map_err(|error| server.blame(error, "stale keys"))?;
            rows.push(Row { server: index, ..row });
        }
    }
    Ok(rows)
}

fn one_pass(context: &Context, server: &Server, scanning: bool) -> Result<Row> {
    let options = context.options;
    let mut writer = Writer::open(context, server)?;
    let mut scan = if scanning { Some(ScanLoop::open(server)?) } else { None };
    let (mut sums, mut samples) = (Sums::default(), 0);
    loop {
        if let Some(scan) = &mut scan {
            scan.turn()?;
        }
        let Some(look) = writer.turn(context)? else { continue };
        if look.at_ms >= SETTLE_MS {
            sums.take(&look, options.stale_rate);
            samples += 1;
        }
        if look.at_ms >= options.stale_time.as_millis() as u64 {
            break;
        }
    }
    Ok(Row {
        server: 0,
        scanning,
        writes_per_s: writer.written as f64 / writer.began.elapsed().as_secs_f64(),
        percent_max: sums.percent_max,
        seconds_max: sums.seconds_max,
        of_goal_max: sums.of_goal_max,
        percent_mean: sums.percent / f64::from(samples.max(1)),
        live_max: sums.live_max,
        uncertain_max: sums.uncertain_max,
        samples: samples as usize,
        scan_calls: scan.map_or(0, |scan| scan.calls),
    })
}

#[derive(Default)]
struct Sums {
    percent: f64,
    percent_max: f64,
    seconds_max: f64,
    of_goal_max: f64,
    live_max: u64,
    uncertain_max: f64,
}

impl Sums {
    fn take(&mut self, look: &Look, rate: f64) {
        let live = (look.live_least + look.live_most) as f64 / 2.0;
        let dead = (look.stored as f64 - live).max(0.0);
        let percent = dead * 100.0 / live.max(1.0);
        self.percent += percent;
        self.percent_max = self.percent_max.max(percent);
        self.seconds_max = self.seconds_max.max(dead / rate);
        self.of_goal_max = self.of_goal_max.max(dead / (live / 100.0).max(rate * 2.0));
        self.live_max = self.live_max.max(look.live_most);
        self.uncertain_max = self.uncertain_max.max((look.live_most - look.live_least) as f64 / 2.0);
    }
}

/// What one DBSIZE told, and what the generator knows of that moment.
struct Look {
    at_ms: u64,
    stored: u64,
    live_least: u64,
    live_most: u64,
}

/// Writes what is due, one batch under way at a time.
struct Writer {
    pipe: Pipe,
    random: Random,
    began: Instant,
    rate: f64,
    ttl_span_ms: u64,
    written: u64,
    next_look_ms: u64,
    next_batch_ms: u64,
    /// The batch under way: when it was sent, its TTLs, and whether DBSIZE ends it.
    batch: Option<(u64, Vec<u32>, bool)>,
    /// Writes by the earliest and the latest ms in which they may have expired, and the sums up to `summed`.
    earliest: Deaths,
    latest: Deaths,
}

/// Counts by ms, summed up as time goes on.
struct Deaths {
    at: Vec<u32>,
    summed: usize,
    sum: u64,
}

impl Deaths {
    /// Those up to and including `ms`, which never goes back.
    fn until(&mut self, ms: u64) -> u64 {
        let end = self.at.len().min(ms as usize + 1);
        while self.summed < end {
            self.sum += u64::from(self.at[self.summed]);
            self.summed += 1;
        }
        self.sum
    }

    /// Adds one; a moment already summed up counts at once.
    fn add(&mut self, ms: u64) {
        let ms = ms as usize;
        if ms >= self.at.len() {
            self.at.resize(ms + 1024, 0);
        }
        if ms < self.summed {
            self.sum += 1;
        } else {
            self.at[ms] += 1;
        }
    }
}

impl Writer {
    fn open(context: &Context, server: &Server) -> Result<Self> {
        let options = context.options;
        let deaths = || Deaths { at: Vec::new(), summed: 0, sum: 0 };
        Ok(Self {
            pipe: Pipe::open(server.address, server.protocol())?.keeping(),
            random: Random::new(options.seed ^ 0x57a1e),
            began: Instant::now(),
            rate: options.stale_rate,
            ttl_span_ms: options.stale_ttl.as_millis() as u64 - TTL_LEAST_MS,
            written: 0,
            next_look_ms: LOOK_EVERY_MS,
            next_batch_ms: 0,
            batch: None,
            earliest: deaths(),
            latest: deaths(),
        })
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn turn(&mut self, context: &Context) -> Result<Option<Look>> {
        let now_ms = self.now_ms();
        if self.batch.is_none() {
            if now_ms >= self.next_batch_ms {
                self.send(context, now_ms);
            }
            return Ok(None);
        }
        if !self.pipe.turn()? {
            return Ok(None);
        }
        let (sent_ms, ttls, looking) = self.batch.take().expect("checked above");
        let got_ms = self.now_ms();
        for ttl in ttls {
            // A deadline counts from the server's clock, in whole ms, somewhere between sending and the reply.
            self.earliest.add(sent_ms + u64::from(ttl));
            self.latest.add(got_ms + 1 + u64::from(ttl));
        }
        let answer = self.pipe.take_kept();
        if !looking {
            return Ok(None);
        }
        let Some(stored) = last_integer(&answer) else {
            fail!("DBSIZE was answered with {:?}", resp::head(&answer[answer.len().saturating_sub(40)..]))
        };
        let live_least = self.written - self.earliest.until(got_ms + 1);
        let live_most = self.written - self.latest.until(sent_ms.saturating_sub(1)).min(self.written);
        Ok(Some(Look { at_ms: got_ms, stored, live_least, live_most }))
    }

    fn send(&mut self, context: &Context, now_ms: u64) {
        /// A server that fell behind is not drowned when it comes back.
        const MOST: u64 = 2_000;
        let due = ((now_ms + 1) as f64 / 1e3 * self.rate) as u64;
        let count = due.saturating_sub(self.written).min(MOST);
        let mut requests = Vec::new();
        let mut ttls = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let ttl = TTL_LEAST_MS + self.random.below(self.ttl_span_ms + 1);
            let key = context.keys.key(self.written);
            let value = context.values.of(self.written);
            resp::command(&mut requests, &[b"SET", &key, value, b"PX", ttl.to_string().as_bytes()]);
            ttls.push(ttl as u32);
            self.written += 1;
        }
        let looking = now_ms >= self.next_look_ms;
        if looking {
            self.next_look_ms = now_ms + LOOK_EVERY_MS;
            resp::command(&mut requests, &[b"DBSIZE"]);
        }
        self.next_batch_ms = now_ms + BATCH_EVERY_MS;
        if count > 0 || looking {
            self.pipe.start(&requests, count + u64::from(looking));
            self.batch = Some((now_ms, ttls, looking));
        }
    }
}

/// The integer reply at the end of a stream of replies.
fn last_integer(replies: &[u8]) -> Option<u64> {
    let line = replies.strip_suffix(b"\r\n")?.rsplit(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line.strip_prefix(b":")?).ok()?.parse().ok()
}

/// SCAN over everything, again and again.
struct ScanLoop {
    pipe: Pipe,
    calls: u64,
}

impl ScanLoop {
    fn open(server: &Server) -> Result<Self> {
        let mut pipe = Pipe::open(server.address, server.protocol())?.keeping();
        start_scan(&mut pipe, "0");
        Ok(Self { pipe, calls: 1 })
    }

    fn turn(&mut self) -> Result<()> {
        if self.pipe.turn()? {
            let (cursor, _) = read_scan(&self.pipe.take_kept())?;
            start_scan(&mut self.pipe, &cursor);
            self.calls += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_counted_once_each() {
        let mut deaths = Deaths { at: Vec::new(), summed: 0, sum: 0 };
        deaths.add(5);
        deaths.add(9);
        assert_eq!((deaths.until(4), deaths.until(5)), (0, 1));
        deaths.add(3);
        assert_eq!((deaths.until(5), deaths.until(100)), (2, 3));
    }

    #[test]
    fn the_count_is_read_behind_other_replies() {
        assert_eq!(last_integer(b"+OK\r\n:12\r\n"), Some(12));
        assert_eq!(last_integer(b"+OK\r\n"), None);
    }
}
