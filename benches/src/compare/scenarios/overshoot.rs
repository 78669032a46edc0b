//! How far memory runs over its limit while new keys arrive as fast as the server takes them and others have to go.
//!
//! Samples are taken 100 times a second through a connection of their own, and count from the moment the limit is nearly
//! reached.

use std::time::{Duration, Instant};

use super::Context;
use crate::control::field;
use crate::error::Result;
use crate::keys::Values;
use crate::load::{Load, Pace, Spec};
use crate::options::Options;
use crate::pipe::Pipe;
use crate::resp;
use crate::server::{Place, Server};
use crate::wire::{Op, Protocol};

const SAMPLE_EVERY: Duration = Duration::from_millis(10);
/// Longest time to reach the limit.
const FILL_DEADLINE: Duration = Duration::from_secs(60);
/// Share of the limit from which it counts as reached.
const NEAR: f64 = 0.97;
/// Keys are uniform over so many that nearly all are new.
const SPAN: u64 = 1 << 48;

/// One size of values: requests per batch, and connections (`None`: as many as asked for).
struct Shape {
    value_size: usize,
    depth: usize,
    connections: Option<usize>,
}

/// What is under way belongs to the memory in use: a few connections are enough to send large values at full speed.
const SHAPES: [Shape; 2] = [
    Shape { value_size: 64, depth: 16, connections: None },
    Shape { value_size: 1 << 20, depth: 1, connections: Some(4) },
];

/// One server and one size of values.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub value_size: usize,
    pub limit: u64,
    /// The highest samples; `None` where the server does not tell.
    pub used_max: Option<u64>,
    pub rss_max: u64,
    pub rss_start: u64,
    pub samples: usize,
    pub writes_per_s: f64,
    pub reached: bool,
}

/// What may lie above the limit: 1 % and 1 MB.
pub fn allowance(limit: u64) -> u64 {
    limit / 100 + (1 << 20)
}

fn window(options: &Options) -> Duration {
    options.duration * 2
}

pub fn planned(options: &Options) -> Duration {
    (window(options) + Duration::from_secs(4)) * (SHAPES.len() * options.recipes.len()) as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        if recipe.protocol() == Protocol::Memcached {
            eprintln!(
                "  {}: left out: it counts items without their room in slabs, and may refuse a SET at its limit",
                recipe.name
            );
            continue;
        }
        for shape in &SHAPES {
            let limit = context.options.overshoot_limit;
            let expected = window(context.options) + Duration::from_secs(4);
            context.progress.step(
                expected,
                format_args!("{}: values of {} B above {} MiB", recipe.name, shape.value_size, limit >> 20),
            );
            let place = Place { memory_limit: Some(limit), ..context.options.place() };
            let mut server = Server::start(recipe, place)?;
            let row = one_size(context, &server, shape, limit).map_err(|error| server.blame(error, "overshoot"))?;
            rows.push(Row { server: index, ..row });
        }
    }
    Ok(rows)
}

fn one_size(context: &Context, server: &Server, shape: &Shape, limit: u64) -> Result<Row> {
    let options = context.options;
    let rss_start = server.rss()?;
    let connections = shape.connections.unwrap_or(options.connections);
    let spec = Spec { op: Op::Set, depth: shape.depth, connections, span: SPAN, seed: options.seed };
    let values = Values::fixed(options.seed, shape.value_size);
    let mut load = Load::open(server.address, server.protocol(), spec, context.keys, &values)?;
    let mut sampler = Sampler::open(server)?;
    let (mut used_max, mut rss_max, mut samples) = (None, 0, 0);
    let mut reached = None;
    load.begin(Pace::Saturated)?;
    loop {
        load.turn()?;
        let Some(Sample { used, rss }) = sampler.turn(server)? else { continue };
        let tells = used.unwrap_or(rss) as f64;
        if reached.is_none() && tells >= limit as f64 * NEAR {
            reached = Some(load.elapsed());
        }
        match reached {
            Some(since) if load.elapsed() > since + window(options) => break,
            Some(_) => {
                samples += 1;
                used_max = used_max.max(used);
                rss_max = rss_max.max(rss);
            }
            None if load.elapsed() > FILL_DEADLINE => break,
            None => {}
        }
    }
    let tally = load.finish()?;
    Ok(Row {
        server: 0,
        value_size: shape.value_size,
        limit,
        used_max,
        rss_max,
        rss_start,
        samples,
        writes_per_s: tally.ops as f64 / tally.elapsed.as_secs_f64(),
        reached: reached.is_some(),
    })
}

struct Sample {
    used: Option<u64>,
    rss: u64,
}

/// Asks for `used_memory` in small turns beside the load, and reads the resident memory with each answer.
struct Sampler {
    pipe: Option<Pipe>,
    asked: Option<Instant>,
    next: Instant,
}

impl Sampler {
    fn open(server: &Server) -> Result<Self> {
        let pipe = match server.protocol() {
            Protocol::Resp => Some(Pipe::open(server.address, server.protocol())?.keeping()),
            Protocol::Memcached => None,
        };
        Ok(Self { pipe, asked: None, next: Instant::now() })
    }

    fn turn(&mut self, server: &Server) -> Result<Option<Sample>> {
        let now = Instant::now();
        if self.asked.is_none() && now < self.next {
            return Ok(None);
        }
        let Some(pipe) = &mut self.pipe else {
            self.next = now + SAMPLE_EVERY;
            return Ok(Some(Sample { used: None, rss: server.rss()? }));
        };
        if self.asked.is_none() {
            self.asked = Some(now);
            let mut request = Vec::new();
            resp::command(&mut request, &[b"INFO", b"memory"]);
            pipe.start(&request, 1);
        }
        if !pipe.turn()? {
            return Ok(None);
        }
        self.next = self.asked.take().unwrap_or(now) + SAMPLE_EVERY;
        let answer = pipe.take_kept();
        let info = resp::parse(&answer)?.map_or(String::new(), |(reply, _)| reply.text());
        match field(&info, "used_memory").and_then(|text| text.parse().ok()) {
            Some(used) => Ok(Some(Sample { used: Some(used), rss: server.rss()? })),
            None => crate::error::fail!("INFO memory lacks used_memory"),
        }
    }
}
