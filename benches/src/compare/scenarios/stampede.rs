//! A stampede: clients that all ask for one key at the same moment, when it is absent (cold) and when it is stale. How often it is
//! loaded, how many requests that takes, and when each client has its value.
//!
//! Millpond hands one of them a token. On the peers clients do what is built by hand: a lock beside the key, or nothing at all, so that
//! everyone loads. Connections are open and the requests of all are sent before the server may run; each round takes a key of its own.

use std::time::Duration;

use super::Context;
use crate::crowd::{Crowd, Plan, Way};
use crate::error::{Result, fail};
use crate::hist::Summary;
use crate::options::Options;
use crate::server::{Kind, Recipe, Server};
use crate::wire::Protocol;

/// Prefix of keys on which every client may wait; on others as many as a service has by default, and the rest come again.
const ROOMY: &str = "roomy:";
/// What a socket takes, and a client reads, at once.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// A core in use above this share counts as saturated.
pub const SATURATED: f64 = 0.95;

/// One server and one way to agree on who loads.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub phase: &'static str,
    pub way: &'static str,
    pub clients: usize,
    /// The most of any round.
    pub loads: u64,
    /// Medians of the rounds, as is all below.
    pub requests: f64,
    /// From the moment at which all have asked to each client's value.
    pub latency: Summary,
    pub server_cpu_ms: f64,
    pub generator_busy: f64,
    /// Rounds in which the generator was the limit while values arrived.
    pub saturated_rounds: usize,
    pub rounds: usize,
}

/// A row to be measured.
struct Task {
    phase: &'static str,
    way: &'static str,
    how: Way,
    prefix: &'static str,
    is_stale: bool,
}

impl Task {
    /// All of this kind of server.
    fn all(kind: Kind) -> Vec<Self> {
        let task = |phase, way, how, prefix| Self { phase, way, how, prefix, is_stale: phase == "stale" };
        match kind {
            Kind::Millpond => vec![
                task("cold", "lease", Way::Lease, ""),
                task("cold", "lease, all may wait", Way::Lease, ROOMY),
                task("stale", "lease", Way::Lease, ""),
            ],
            Kind::Redis => vec![task("cold", "lock", Way::Lock, ""), task("cold", "no lock", Way::Alone, "")],
            Kind::Memcached => Vec::new(),
        }
    }
}

pub fn planned(options: &Options) -> Duration {
    let connect = Duration::from_secs_f64(1.0 + options.stampede_clients as f64 * 1e-4);
    let of_recipe = |kind: Kind| match Task::all(kind).len() {
        0 => Duration::ZERO,
        tasks => connect + round_time(options) * (options.rounds * tasks) as u32,
    };
    options.recipes.iter().map(|recipe| of_recipe(recipe.kind)).sum()
}

fn round_time(options: &Options) -> Duration {
    options.stampede_load * 2 + Duration::from_secs_f64(0.1 + options.stampede_clients as f64 * 3e-5)
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    if context.options.value_size > VALUE_BYTES_MAX {
        fail!("a stampede takes values of up to {VALUE_BYTES_MAX} bytes");
    }
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        if recipe.protocol() == Protocol::Resp {
            let mut server = Server::start(recipe, context.options.place())?;
            one_server(context, &mut server, index, &mut rows).map_err(|error| server.blame(error, "stampede"))?;
        }
    }
    Ok(rows)
}

/// An error unless every lease came to one load.
pub fn verdict(recipes: &[Recipe], rows: &[Row]) -> Result<()> {
    let is_ours = |row: &&Row| recipes[row.server].kind == Kind::Millpond;
    match rows.iter().filter(is_ours).find(|row| row.loads != 1) {
        Some(row) => {
            let name = &recipes[row.server].name;
            fail!("{name}, {}, by {}: {} loads in a round, not 1", row.phase, row.way, row.loads)
        }
        None => Ok(()),
    }
}

fn one_server(context: &mut Context, server: &mut Server, index: usize, rows: &mut Vec<Row>) -> Result<()> {
    let options = context.options;
    let kind = server.recipe.kind;
    let clients = options.stampede_clients;
    if kind == Kind::Millpond {
        let waiters = clients.to_string();
        server.control().command(&["CACHE.SERVICE", "SET", "roomy", "PREFIX", ROOMY, "MAXWAITERS", &waiters])?;
    }
    context.progress.step(Duration::from_secs(1), format_args!("{}: connect {clients} clients", server.name()));
    let mut crowd = Crowd::new(super::idle::open_idle(server, clients)?)?;
    for task in Task::all(kind) {
        rows.push(measure(context, server, index, &mut crowd, &task)?);
    }
    Ok(())
}

fn measure(context: &mut Context, server: &mut Server, index: usize, crowd: &mut Crowd, task: &Task) -> Result<Row> {
    /// For a server to fall asleep, so that its CPU time is exact.
    const REST: Duration = Duration::from_millis(30);
    let options = context.options;
    let (mut outcomes, mut server_cpu_ms) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let step = format!("{}, {}, round {}/{}", task.phase, task.way, round + 1, options.rounds);
        context.progress.step(round_time(options), format_args!("{}: stampede {step}", server.name()));
        let plan = plan(context, task, round);
        if let Some(stale) = &plan.stale {
            let (key, stale) = (String::from_utf8_lossy(&plan.key), String::from_utf8_lossy(stale));
            server.control().command(&["SWR.SET", &key, &stale, "FRESH", "0", "STALE", "600000"])?;
        }
        let served = server.control().requests_served()?;
        std::thread::sleep(REST);
        let cpu = server.cpu()?;
        server.pause()?;
        let outcome = crowd.rush(&plan, || server.resume()).map_err(|error| error.during(&step))?;
        std::thread::sleep(REST);
        server_cpu_ms.push(server.cpu()?.since(&cpu).0 / 1e6);
        let counted = (server.control().requests_served()? - served).saturating_sub(server.control().own_requests());
        if counted != outcome.requests {
            eprintln!("  warning: {} counts {counted} requests, the generator {}", server.name(), outcome.requests);
        }
        outcomes.push(outcome);
    }
    let summaries: Vec<Summary> = outcomes.iter().map(|outcome| outcome.latency.summary()).collect();
    let of_latency = |pick: fn(&Summary) -> f64| super::median(summaries.iter().map(pick));
    let busy = || outcomes.iter().map(|outcome| outcome.generator_busy);
    Ok(Row {
        server: index,
        phase: task.phase,
        way: task.way,
        clients: options.stampede_clients,
        loads: outcomes.iter().map(|outcome| outcome.loads).max().unwrap_or(0),
        requests: super::median(outcomes.iter().map(|outcome| outcome.requests as f64)),
        latency: Summary {
            p50_us: of_latency(|all| all.p50_us),
            p99_us: of_latency(|all| all.p99_us),
            p999_us: of_latency(|all| all.p999_us),
            max_us: of_latency(|all| all.max_us),
        },
        server_cpu_ms: super::median(server_cpu_ms),
        generator_busy: super::median(busy()),
        saturated_rounds: busy().filter(|busy| *busy >= SATURATED).count(),
        rounds: options.rounds,
    })
}

/// A key that no other round has; the stale value differs from the one that is loaded.
fn plan(context: &Context, task: &Task, round: usize) -> Plan {
    let value = hex(context.values.of(0));
    Plan {
        way: task.how,
        key: format!("{}{}:{}:{round}", task.prefix, task.phase, task.way.replace([' ', ','], "")).into_bytes(),
        stale: task.is_stale.then(|| value.iter().rev().copied().chain(*b".").collect()),
        value,
        load: context.options.stampede_load,
    }
}

/// As many printable bytes.
fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| b"0123456789abcdef"[usize::from(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_load_is_an_error_where_there_are_leases() {
        let recipes = ["millpond=a", "valkey=b"].map(|text| Recipe::parse(text).unwrap());
        let row = |server, loads| Row {
            server,
            phase: "cold",
            way: "lease",
            clients: 10,
            loads,
            requests: 0.0,
            latency: Summary::default(),
            server_cpu_ms: 0.0,
            generator_busy: 0.0,
            saturated_rounds: 0,
            rounds: 1,
        };
        assert!(verdict(&recipes, &[row(0, 1), row(1, 10)]).is_ok());
        for loads in [0, 2] {
            assert!(verdict(&recipes, &[row(0, 1), row(0, loads)]).is_err());
        }
    }
}
