//! What a steady stream of tag revokes costs those who read: CPU per GET, saturated, beside nothing and beside CACHE.REVOKE TAG at a
//! fixed rate, of keys without tags and of keys with two. No revoked tag is on any key, so nothing dies and every GET finds its value.
//!
//! A cell with revokes alone tells what they, and the sweeping after them, take by themselves; a corrected figure leaves that out.
//! Untagged and tagged keys are in two servers, of which one is awake. Only for servers that have the command.

use std::time::{Duration, Instant};

use super::{Context, fill_time};
use crate::error::{Result, fail};
use crate::hist::Summary;
use crate::keys::Random;
use crate::load::{Load, Pace, Spec, thread_cpu};
use crate::options::Options;
use crate::pipe::Pipe;
use crate::resp;
use crate::server::{Kind, Recipe, Server};
use crate::wire::Op;

const DEPTH: usize = 16;
/// Tags that are revoked, and those that keys have: one of each of two kinds.
const REVOKED_TAGS: u64 = 100_000;
const KEY_TAGS: [u64; 2] = [100_000, 1000];

/// What runs in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Gets,
    GetsAndRevokes,
    Revokes,
}

impl Traffic {
    pub fn name(self) -> &'static str {
        match self {
            Traffic::Gets => "gets",
            Traffic::GetsAndRevokes => "gets and revokes",
            Traffic::Revokes => "revokes",
        }
    }

    fn has_gets(self) -> bool {
        self != Traffic::Revokes
    }

    fn has_revokes(self) -> bool {
        self != Traffic::Gets
    }
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Cell {
    pub server: usize,
    pub round: usize,
    pub tagged: bool,
    pub traffic: Traffic,
    pub gets: u64,
    pub revokes: u64,
    /// Server CPU of all of it.
    pub cpu_us: f64,
    pub wall_s: f64,
    /// Records in the log at the end.
    pub records: u64,
    pub generator_busy: f64,
    /// Of a batch of GETs.
    pub latency: Summary,
}

impl Cell {
    pub fn cpu_us_per_get(&self) -> f64 {
        self.cpu_us / self.gets as f64
    }

    /// The same without what the revokes take, by a cell that had them alone. By time, not by number: sweeping goes by time.
    pub fn corrected_us_per_get(&self, alone: &Cell) -> f64 {
        (self.cpu_us - alone.server_busy() * 1e6 * self.wall_s) / self.gets as f64
    }

    pub fn server_busy(&self) -> f64 {
        self.cpu_us / 1e6 / self.wall_s
    }

    pub fn revokes_per_s(&self) -> f64 {
        self.revokes as f64 / self.wall_s
    }
}

fn recipes(options: &Options) -> impl Iterator<Item = (usize, &Recipe)> {
    options.recipes.iter().enumerate().filter(|(_, recipe)| recipe.kind == Kind::Millpond)
}

fn warm_up(options: &Options) -> Duration {
    (options.duration / 5).min(Duration::from_millis(500))
}

pub fn planned(options: &Options) -> Duration {
    let round = (options.duration + warm_up(options)) * 6 + Duration::from_secs(2);
    (fill_time(options.keys) * 4 + round * options.rounds as u32) * recipes(options).count() as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Cell>> {
    let options = context.options;
    let mut cells = Vec::new();
    for (index, recipe) in recipes(options) {
        let mut servers = Vec::new();
        for tagged in [false, true] {
            let mut server = context.start_filled(recipe, options.keys)?;
            if tagged {
                context.progress.step(fill_time(options.keys), format_args!("{}: tag the keys", recipe.name));
                tag(context, &server).map_err(|error| server.blame(error, "tagging"))?;
            }
            server.pause()?;
            servers.push(server);
        }
        for round in 0..options.rounds {
            for turn in 0..servers.len() {
                let which = (turn + round) % servers.len();
                let (server, tagged) = (&mut servers[which], which == 1);
                server.resume()?;
                for traffic in [Traffic::Gets, Traffic::GetsAndRevokes, Traffic::Revokes] {
                    let keys = if tagged { "tagged" } else { "untagged" };
                    let step = format!("round {}/{}, {}, {keys} keys", round + 1, options.rounds, traffic.name());
                    let time = options.duration + warm_up(options);
                    context.progress.step(time, format_args!("{}: {step}", server.name()));
                    let cell = measure(context, server, traffic, round).map_err(|error| server.blame(error, &step))?;
                    cells.push(Cell { server: index, round, tagged, ..cell });
                }
                server.pause()?;
            }
        }
    }
    Ok(cells)
}

/// Two tags for each key.
fn tag(context: &Context, server: &Server) -> Result<()> {
    const BATCH: u64 = 10_000;
    let keys = context.options.keys;
    let mut pipe = Pipe::open(server.address, server.protocol())?;
    for start in (0..keys).step_by(BATCH as usize) {
        let (mut requests, end) = (Vec::new(), keys.min(start + BATCH));
        for index in start..end {
            let [first, second] = KEY_TAGS.map(|kinds| format!("of{kinds}:{}", index % kinds));
            let key = context.keys.key(index);
            resp::command(&mut requests, &[b"SWR.TAG", &key, b"ADD", b"2", first.as_bytes(), second.as_bytes()]);
        }
        pipe.start(&requests, end - start);
        while !pipe.turn()? {}
    }
    server.wait_quiet()
}

fn measure(context: &Context, server: &mut Server, traffic: Traffic, round: usize) -> Result<Cell> {
    let options = context.options;
    if traffic == Traffic::Gets {
        wait_swept(server)?;
    }
    let seed = options.seed ^ (round as u64 + 1) << 40;
    let spec = Spec { op: Op::Get, depth: DEPTH, connections: options.connections, span: options.keys, seed };
    let mut load = Load::open(server.address, server.protocol(), spec, context.keys, &context.values)?;
    // Each cell revokes other tags than the one before.
    let mut revoker = Revoker::open(server, options.tag_revoke_rate, seed ^ traffic as u64)?;
    work(&mut load, &mut revoker, traffic, warm_up(options))?;
    let served = server.control().requests_served()?;
    let cpu = server.cpu()?;
    let mut cell = work(&mut load, &mut revoker, traffic, options.duration)?;
    cell.cpu_us = server.cpu()?.since(&cpu).0 / 1e3;
    let served = server.control().requests_served()? - served;
    let counted = served.saturating_sub(server.control().own_requests());
    if counted != cell.gets + cell.revokes {
        let sent = cell.gets + cell.revokes;
        eprintln!("  warning: {} counts {counted} requests, the generator {sent}", server.name());
    }
    cell.records = server.control().revoke_records()?;
    Ok(cell)
}

/// Runs the traffic for this long, then waits for the replies still due.
fn work(load: &mut Load, revoker: &mut Revoker, traffic: Traffic, duration: Duration) -> Result<Cell> {
    /// Pause between looks where nothing else is to be done; below the interval of the revokes.
    const NAP: Duration = Duration::from_micros(200);
    let began = Instant::now();
    let cpu = thread_cpu();
    revoker.begin(began);
    let mut cell = Cell {
        server: 0,
        round: 0,
        tagged: false,
        traffic,
        gets: 0,
        revokes: 0,
        cpu_us: 0.0,
        wall_s: 0.0,
        records: 0,
        generator_busy: 0.0,
        latency: Summary::default(),
    };
    if traffic.has_gets() {
        load.begin(Pace::Saturated)?;
    }
    while began.elapsed() < duration {
        if traffic.has_gets() {
            load.turn()?;
        } else {
            std::thread::sleep(NAP);
        }
        if traffic.has_revokes() {
            revoker.turn()?;
        }
    }
    if traffic.has_gets() {
        let tally = load.finish()?;
        if tally.misses > 0 {
            fail!("{} GETs found nothing, though no key has a tag that was revoked", tally.misses);
        }
        cell.gets = tally.ops;
        cell.latency = tally.latency.summary();
    }
    revoker.finish()?;
    cell.revokes = revoker.sent;
    cell.wall_s = began.elapsed().as_secs_f64();
    cell.generator_busy = (thread_cpu() - cpu).as_secs_f64() / cell.wall_s;
    Ok(cell)
}

/// Waits until the log of revokes is empty.
fn wait_swept(server: &mut Server) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let began = Instant::now();
    loop {
        match server.control().revoke_records()? {
            0 => return server.wait_quiet(),
            records if began.elapsed() > PATIENCE => {
                fail!("{records} records of revokes are not swept {} s after the last one", PATIENCE.as_secs())
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Sends revokes of random tags at a fixed rate, in groups that fall due every millisecond, whatever has been answered.
struct Revoker {
    pipe: Pipe,
    random: Random,
    per_s: u64,
    began: Instant,
    sent: u64,
}

impl Revoker {
    fn open(server: &Server, per_s: u64, seed: u64) -> Result<Self> {
        let pipe = Pipe::open(server.address, server.protocol())?;
        Ok(Self { pipe, random: Random::new(seed), per_s, began: Instant::now(), sent: 0 })
    }

    fn begin(&mut self, now: Instant) {
        (self.began, self.sent) = (now, 0);
    }

    fn turn(&mut self) -> Result<()> {
        let due = due(self.began.elapsed(), self.per_s);
        if due > self.sent {
            let mut requests = Vec::new();
            for _ in self.sent..due {
                let tag = format!("t{}", self.random.below(REVOKED_TAGS));
                resp::command(&mut requests, &[b"CACHE.REVOKE", b"TAG", tag.as_bytes()]);
            }
            self.pipe.start(&requests, due - self.sent);
            self.sent = due;
        }
        self.pipe.turn().map(drop)
    }

    /// Waits for the replies still due.
    fn finish(&mut self) -> Result<()> {
        while !self.pipe.turn()? {}
        Ok(())
    }
}

/// Requests due by then.
fn due(elapsed: Duration, per_s: u64) -> u64 {
    elapsed.as_millis() as u64 * per_s / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revokes_fall_due_in_groups_and_none_is_lost_to_rounding() {
        assert_eq!(due(Duration::from_micros(999), 10_000), 0);
        assert_eq!(due(Duration::from_micros(1001), 10_000), 10);
        assert_eq!(due(Duration::from_millis(1000), 1001), 1001);
    }

    #[test]
    fn what_revokes_take_alone_is_left_out() {
        let cell = |gets, cpu_us, wall_s| Cell {
            server: 0,
            round: 0,
            tagged: false,
            traffic: Traffic::Gets,
            gets,
            revokes: 0,
            cpu_us,
            wall_s,
            records: 0,
            generator_busy: 0.0,
            latency: Summary::default(),
        };
        // A tenth of the core for two seconds, of a core that was in use throughout.
        let corrected = cell(1_000_000, 2e6, 2.0).corrected_us_per_get(&cell(0, 1e5, 1.0));
        assert!((corrected - 1.8).abs() < 1e-9, "{corrected}");
    }
}
