//! CPU per request, rate and latency for SET and GET at each depth.
//!
//! All servers live through the whole run; one at a time is awake. Rounds go over the workloads, and within a workload over the
//! servers in rotating order, so that compared cells lie seconds apart and no server always follows the same other.

use std::time::Duration;

use super::{Context, fill_time};
use crate::error::Result;
use crate::hist::Summary;
use crate::load::{Load, Pace, Spec};
use crate::options::Options;
use crate::server::Server;
use crate::wire::Op;

/// One workload: an operation at a depth, saturated or at a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    pub op: Op,
    pub depth: usize,
    pub pace: Pace,
}

impl Workload {
    pub fn name(&self) -> String {
        let rate = match self.pace {
            Pace::Saturated => String::new(),
            Pace::Rate(per_second) => format!(" at {:.0} k/s", per_second / 1e3),
        };
        format!("{} P{}{rate}", self.op.name(), self.depth)
    }
}

/// One measurement of one server.
#[derive(Debug, Clone)]
pub struct Cell {
    pub workload: Workload,
    pub server: usize,
    pub round: usize,
    pub ops: u64,
    /// The server's own count of the same requests.
    pub ops_counted: u64,
    pub misses: u64,
    pub cpu_us_per_op: f64,
    pub user_us_per_op: f64,
    pub ops_per_s: f64,
    /// Share of the wall time the server's core was in use by it, and the generator's core by the generator.
    pub server_busy: f64,
    pub generator_busy: f64,
    pub latency: Summary,
}

impl Cell {
    /// Share by which the two counts of requests differ.
    pub fn count_mismatch(&self) -> f64 {
        self.ops.abs_diff(self.ops_counted) as f64 / (self.ops as f64).max(1.0)
    }
}

/// Mismatch above this is reported.
pub const COUNT_TOLERANCE: f64 = 0.001;

pub fn planned(options: &Options) -> Duration {
    let passes = if options.equal_rate.is_some() { 2 } else { 1 };
    let cells = 2 * options.depths.len() * options.rounds * passes;
    planned_for(options, options.keys, cells)
}

/// Time for this many cells a server over this many keys.
pub fn planned_for(options: &Options, keys: u64, cells: usize) -> Duration {
    (fill_time(keys) + cell_time(options) * cells as u32) * options.recipes.len() as u32
}

fn cell_time(options: &Options) -> Duration {
    options.duration + warm_up(options)
}

fn warm_up(options: &Options) -> Duration {
    (options.duration / 5).min(Duration::from_millis(500))
}

pub fn run(context: &mut Context) -> Result<Vec<Cell>> {
    let options = context.options;
    let mut servers = start_all(context, options.keys)?;
    let pace = options.rate.map_or(Pace::Saturated, Pace::Rate);
    let workloads: Vec<Workload> = [Op::Set, Op::Get]
        .into_iter()
        .flat_map(|op| options.depths.iter().map(move |&depth| Workload { op, depth, pace }))
        .collect();
    let mut cells = Vec::new();
    rounds(context, &mut servers, options.keys, &workloads, &mut cells)?;
    if let Some(share) = options.equal_rate {
        let slower: Vec<Workload> = workloads
            .iter()
            .map(|workload| Workload {
                pace: Pace::Rate(share * slowest(&cells, workload, servers.len())),
                ..*workload
            })
            .collect();
        rounds(context, &mut servers, options.keys, &slower, &mut cells)?;
    }
    Ok(cells)
}

/// Every server with this many keys, stopped.
pub fn start_all(context: &mut Context, keys: u64) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for recipe in &context.options.recipes {
        let mut server = context.start_filled(recipe, keys)?;
        server.pause()?;
        servers.push(server);
    }
    Ok(servers)
}

/// The median rate of the slowest server.
fn slowest(cells: &[Cell], workload: &Workload, servers: usize) -> f64 {
    let rate = |server| {
        let of_server = cells.iter().filter(|cell| cell.server == server && cell.workload == *workload);
        super::median(of_server.map(|cell| cell.ops_per_s))
    };
    (0..servers).map(rate).fold(f64::INFINITY, f64::min)
}

/// Measures every workload on every server in every round, over `keys` stored keys.
pub fn rounds(
    context: &mut Context,
    servers: &mut [Server],
    keys: u64,
    workloads: &[Workload],
    cells: &mut Vec<Cell>,
) -> Result<()> {
    let options = context.options;
    for round in 0..options.rounds {
        for (row, workload) in workloads.iter().enumerate() {
            for turn in 0..servers.len() {
                let index = (turn + round) % servers.len();
                let server = &mut servers[index];
                let step = format!("round {}/{}, {}", round + 1, options.rounds, workload.name());
                context.progress.step(cell_time(options), format_args!("{step}: {}", server.name()));
                // Every server sees the same requests in a round.
                let seed = options.seed ^ ((round * workloads.len() + row + 1) as u64) << 32;
                server.resume()?;
                let mut cell =
                    measure(context, server, keys, *workload, seed).map_err(|error| server.blame(error, &step))?;
                server.pause()?;
                (cell.server, cell.round) = (index, round);
                if cell.count_mismatch() > COUNT_TOLERANCE {
                    eprintln!(
                        "  warning: {} counts {} requests, the generator {}",
                        server.name(),
                        cell.ops_counted,
                        cell.ops
                    );
                }
                cells.push(cell);
            }
        }
    }
    Ok(())
}

fn measure(context: &Context, server: &mut Server, keys: u64, workload: Workload, seed: u64) -> Result<Cell> {
    let options = context.options;
    let span = match workload.op {
        Op::Get => (keys as f64 / (1.0 - options.miss_share)) as u64,
        Op::Set => keys,
    };
    let spec = Spec { op: workload.op, depth: workload.depth, connections: options.connections, span, seed };
    let mut load = Load::open(server.address, server.protocol(), spec, context.keys, &context.values)?;
    load.run(workload.pace, warm_up(options))?;
    let served = server.control().requests_served()?;
    let cpu = server.cpu()?;
    let tally = load.run(workload.pace, options.duration)?;
    let (cpu_ns, user_ns) = server.cpu()?.since(&cpu);
    let ops_counted = (server.control().requests_served()? - served).saturating_sub(server.control().own_requests());
    let (ops, wall_s) = (tally.ops as f64, tally.elapsed.as_secs_f64());
    Ok(Cell {
        workload,
        server: 0,
        round: 0,
        ops: tally.ops,
        ops_counted,
        misses: tally.misses,
        cpu_us_per_op: cpu_ns / 1e3 / ops,
        user_us_per_op: user_ns / 1e3 / ops,
        ops_per_s: ops / wall_s,
        server_busy: cpu_ns / 1e9 / wall_s,
        generator_busy: tally.generator_cpu.as_secs_f64() / wall_s,
        latency: tally.latency.summary(),
    })
}
