//! What idle connections cost: resident bytes each, and the CPU and rate of busy connections beside them.
//!
//! Each idle connection has made one request. Kernel memory of the sockets is not part of a server's resident memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;

use super::{Context, fill_time};
use crate::error::{Result, fail};
use crate::load::{Load, Pace, Spec};
use crate::options::Options;
use crate::server::Server;
use crate::wire::Op;

const DEPTH: usize = 16;
/// Pairs of runs without and with the idle connections.
const ROUNDS: u32 = 3;

/// One server and one operation.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub op: Op,
    pub bytes_per_connection: f64,
    pub cpu_us_alone: f64,
    pub cpu_us_beside: f64,
    pub ops_per_s_alone: f64,
    pub ops_per_s_beside: f64,
    /// With the idle connections over without, median of the rounds.
    pub cpu_ratio: f64,
}

pub fn planned(options: &Options) -> Duration {
    (fill_time(options.keys) + (options.duration * 4 + options.settle / 2) * ROUNDS) * options.recipes.len() as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        let mut server = context.start_filled(recipe, context.options.keys)?;
        rows.extend(one_server(context, &mut server, index).map_err(|error| server.blame(error, "idle connections"))?);
    }
    Ok(rows)
}

fn one_server(context: &mut Context, server: &mut Server, index: usize) -> Result<Vec<Row>> {
    let options = context.options;
    let count = options.idle_connections;
    let mut bytes_each = Vec::new();
    // Per operation: (CPU us, requests/s) without and with, one entry per round.
    let mut alone = [Vec::new(), Vec::new()];
    let mut beside = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        context
            .progress
            .step(options.duration * 2, format_args!("{}: idle round {}/{ROUNDS}, without", server.name(), round + 1));
        for (op, results) in [Op::Set, Op::Get].into_iter().zip(&mut alone) {
            results.push(busy(context, server, op, round)?);
        }
        let step = format!("{}: idle round {}/{ROUNDS}, beside {count}", server.name(), round + 1);
        context.progress.step(options.duration * 2 + options.settle / 2, step);
        let (before, _) = server.settled_rss(options.settle / 4, options.settle)?;
        let idle = open_idle(server, count)?;
        let (after, _) = server.settled_rss(options.settle / 4, options.settle)?;
        bytes_each.push((after as f64 - before as f64) / count as f64);
        for (op, results) in [Op::Set, Op::Get].into_iter().zip(&mut beside) {
            results.push(busy(context, server, op, round)?);
        }
        close_idle(idle)?;
    }
    let rows = [Op::Set, Op::Get].into_iter().zip(alone.iter().zip(&beside)).map(|(op, (alone, beside))| Row {
        server: index,
        op,
        // Later rounds reuse what the first one left, so the first is the cost.
        bytes_per_connection: bytes_each[0],
        cpu_us_alone: super::median(alone.iter().map(|run| run.0)),
        cpu_us_beside: super::median(beside.iter().map(|run| run.0)),
        ops_per_s_alone: super::median(alone.iter().map(|run| run.1)),
        ops_per_s_beside: super::median(beside.iter().map(|run| run.1)),
        cpu_ratio: super::median(alone.iter().zip(beside).map(|(alone, beside)| beside.0 / alone.0)),
    });
    Ok(rows.collect())
}

/// CPU microseconds per request and requests per second of saturating connections.
fn busy(context: &Context, server: &Server, op: Op, round: u32) -> Result<(f64, f64)> {
    let options = context.options;
    let seed = options.seed ^ u64::from(round + 1) << 40;
    let spec = Spec { op, depth: DEPTH, connections: options.connections, span: options.keys, seed };
    let mut load = Load::open(server.address, server.protocol(), spec, context.keys, &context.values)?;
    load.run(Pace::Saturated, options.duration / 10)?;
    let cpu = server.cpu()?;
    let tally = load.run(Pace::Saturated, options.duration)?;
    let (cpu_ns, _) = server.cpu()?.since(&cpu);
    let ops = tally.ops as f64;
    Ok((cpu_ns / 1e3 / ops, ops / tally.elapsed.as_secs_f64()))
}

/// Opens connections and makes one request on each, so that all are known to be accepted.
pub fn open_idle(server: &Server, count: usize) -> Result<Vec<TcpStream>> {
    /// Connections opened between two rounds of requests; below every server's accept queue.
    const BURST: usize = 100;
    let (request, answer) = server.protocol().ping();
    let mut idle: Vec<TcpStream> = Vec::with_capacity(count);
    while idle.len() < count {
        let opened = idle.len();
        for _ in opened..count.min(opened + BURST) {
            let mut stream = TcpStream::connect(server.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.write_all(request)?;
            idle.push(stream);
        }
        for (at, stream) in idle.iter_mut().enumerate().skip(opened) {
            let mut bytes = vec![0; answer.len()];
            let read = stream.read_exact(&mut bytes);
            if read.is_err() || bytes != answer {
                fail!("connection {} of {count} was refused: {:?}", at + 1, crate::resp::head(&bytes));
            }
        }
    }
    Ok(idle)
}

/// Closes with a reset: no connection stays behind in TIME_WAIT, where it would hold its port.
fn close_idle(idle: Vec<TcpStream>) -> Result<()> {
    for stream in &idle {
        sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    }
    Ok(())
}
