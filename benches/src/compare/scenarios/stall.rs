//! How long heavy commands hold up everybody else: latency of a steady open-loop client while another connection runs them.

use std::time::{Duration, Instant};

use super::{Context, fill_time};
use crate::error::Result;
use crate::hist::Summary;
use crate::load::{Load, Pace, Spec};
use crate::options::Options;
use crate::pipe::Pipe;
use crate::resp::{self, Reply};
use crate::server::Server;
use crate::wire::{Op, Protocol};

const CONNECTIONS: usize = 20;
/// Several servers take at most 1,048,576 arguments in a command, its name included.
const DEL_KEYS_MAX: u64 = 1_048_575;

/// The steady client's latency in one phase.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub phase: &'static str,
    /// From the first byte of the heavy command to the last of its reply; `None` in the base phase.
    pub command_ms: Option<f64>,
    pub latency: Summary,
}

/// Every phase is watched for this long, or for as long as its command runs when that is longer.
fn window(options: &Options) -> Duration {
    options.duration
}

pub fn planned(options: &Options) -> Duration {
    (fill_time(options.keys) * 2 + window(options) * 5) * options.recipes.len() as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        let mut server = context.start_filled(recipe, context.options.keys)?;
        one_server(context, &mut server, index, &mut rows).map_err(|error| server.blame(error, "stalls"))?;
    }
    Ok(rows)
}

fn one_server(context: &mut Context, server: &mut Server, index: usize, rows: &mut Vec<Row>) -> Result<()> {
    let options = context.options;
    let mut phase = |context: &mut Context, server: &Server, name, work: Option<&mut dyn Work>| -> Result<()> {
        context.progress.step(window(options), format_args!("{}: {name}", server.name()));
        let (command_ms, latency) = watch(context, server, options.keys, work)?;
        rows.push(Row { server: index, phase: name, command_ms, latency });
        Ok(())
    };
    phase(context, server, "base", None)?;
    if server.protocol() == Protocol::Resp {
        let mut keys = Vec::new();
        resp::command(&mut keys, &[b"KEYS", b"*"]);
        phase(context, server, "KEYS *", Some(&mut Commands::new(server, keys, 1)?))?;
        phase(context, server, "SCAN all, COUNT 1000", Some(&mut ScanAll::new(server)?))?;
        phase(
            context,
            server,
            "DEL all",
            Some(&mut Commands::new(server, delete_all(context), options.keys.div_ceil(DEL_KEYS_MAX))?),
        )?;
        context.progress.step(fill_time(options.keys), format_args!("{}: store the keys again", server.name()));
        server.control().flush()?;
        context.refill(server, options.keys)?;
        let mut flush = Vec::new();
        resp::command(&mut flush, &[b"FLUSHALL"]);
        phase(context, server, "FLUSHALL", Some(&mut Commands::new(server, flush, 1)?))?;
    } else {
        phase(context, server, "FLUSHALL", Some(&mut Commands::new(server, b"flush_all\r\n".to_vec(), 1)?))?;
    }
    Ok(())
}

/// Something heavy that is carried on in small turns.
pub trait Work {
    /// True once it is finished.
    fn turn(&mut self) -> Result<bool>;
}

/// Commands that need no answer from us.
struct Commands(Pipe);

impl Commands {
    fn new(server: &Server, requests: Vec<u8>, replies: u64) -> Result<Self> {
        let mut pipe = Pipe::open(server.address, server.protocol())?;
        pipe.start(&requests, replies);
        Ok(Self(pipe))
    }
}

impl Work for Commands {
    fn turn(&mut self) -> Result<bool> {
        self.0.turn()
    }
}

/// SCAN from the first cursor to the last.
struct ScanAll(Pipe);

impl ScanAll {
    fn new(server: &Server) -> Result<Self> {
        let mut pipe = Pipe::open(server.address, server.protocol())?.keeping();
        start_scan(&mut pipe, "0");
        Ok(Self(pipe))
    }
}

impl Work for ScanAll {
    fn turn(&mut self) -> Result<bool> {
        if !self.0.turn()? {
            return Ok(false);
        }
        let kept = self.0.take_kept();
        if kept.is_empty() {
            return Ok(true);
        }
        let (cursor, _) = read_scan(&kept)?;
        if cursor == "0" {
            return Ok(true);
        }
        start_scan(&mut self.0, &cursor);
        Ok(false)
    }
}

/// Queues one SCAN step.
pub fn start_scan(pipe: &mut Pipe, cursor: &str) {
    let mut request = Vec::new();
    resp::command(&mut request, &[b"SCAN", cursor.as_bytes(), b"COUNT", b"1000"]);
    pipe.start(&request, 1);
}

/// The cursor and the keys of a SCAN reply.
pub fn read_scan(bytes: &[u8]) -> Result<(String, Vec<Reply>)> {
    if let Some((Reply::Array(parts), _)) = resp::parse(bytes)?
        && let Ok([cursor, Reply::Array(keys)]) = <[Reply; 2]>::try_from(parts)
    {
        return Ok((cursor.text(), keys));
    }
    crate::error::fail!("SCAN was answered with {:?}", resp::head(bytes))
}

fn delete_all(context: &Context) -> Vec<u8> {
    let mut out = Vec::new();
    let mut next = 0;
    while next < context.options.keys {
        let end = context.options.keys.min(next + DEL_KEYS_MAX);
        out.extend_from_slice(format!("*{}\r\n", end - next + 1).as_bytes());
        resp::bulk(&mut out, b"DEL");
        for index in next..end {
            resp::bulk(&mut out, &context.keys.key(index));
        }
        next = end;
    }
    out
}

/// Latency of the steady client from the start of `work` until the window is over, the work is done and the client has sent what fell
/// due meanwhile. It reads the first `span` keys.
pub fn watch(
    context: &Context,
    server: &Server,
    span: u64,
    mut work: Option<&mut dyn Work>,
) -> Result<(Option<f64>, Summary)> {
    /// A server that cannot keep up with the steady client at all is not waited for longer than this.
    const CATCH_UP: Duration = Duration::from_secs(10);
    let options = context.options;
    let spec = Spec { op: Op::Get, depth: 1, connections: CONNECTIONS, span, seed: options.seed };
    let mut load = Load::open(server.address, server.protocol(), spec, context.keys, &context.values)?;
    load.begin(Pace::Rate(options.stall_rate))?;
    let warm_up = window(options) / 5;
    while load.elapsed() < warm_up {
        load.turn()?;
    }
    load.take_latency();
    let started = Instant::now();
    let mut command_ms = None;
    let mut latest = started + window(options);
    loop {
        load.turn()?;
        if let Some(unfinished) = &mut work
            && unfinished.turn()?
        {
            command_ms = Some(started.elapsed().as_secs_f64() * 1e3);
            latest = latest.max(Instant::now());
            work = None;
        }
        let now = Instant::now();
        if work.is_none() && now >= latest && (load.caught_up() || now >= latest + CATCH_UP) {
            return Ok((command_ms, load.finish()?.latency.summary()));
        }
    }
}
