//! Measures Millpond beside Valkey, Redis and memcached: same machine, same run, same requests. `benches/README.md` says how.
//!
//! It promises that every reply is checked and every key is stored before anything is measured; it refuses to compare figures of
//! different runs, so it keeps none.

mod control;
mod crowd;
mod error;
mod load;
mod memcached;
mod options;
mod pipe;
mod progress;
mod report;
mod resp;
mod scenarios;
mod server;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use millpond_benches::{hist, keys};
use rustix::process::{Resource, Rlimit};

use error::{Error, Result, fail};
use keys::{Keys, Values};
use options::Options;
use progress::Progress;
use report::{Machine, Results};
use scenarios::{
    Context, big_keyspace, churn, idle, memory, overshoot, pauses, revoke, scan, stale, stall, stampede, tag_revokes,
    throughput,
};
use server::Server;

fn main() -> ExitCode {
    match Options::from_args().and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    /// Files a server or the generator has open beside its connections.
    const OTHER_FILES: u64 = 128;
    raise_open_files(options.place().connections as u64 + OTHER_FILES)?;
    for core in [options.server_core, options.generator_core] {
        if let Err(error) = server::pin_to(core) {
            fail!("cannot run on core {core}: {error}");
        }
    }
    let mut results = Results::default();
    for recipe in &options.recipes {
        // A server that cannot start should say so before an hour of measuring the others.
        results.versions.push(Server::start(recipe, options.place())?.version.clone());
    }
    let planned: Duration = options.scenarios.iter().map(|scenario| planned(options, scenario)).sum();
    let mut context = Context {
        options,
        keys: Keys::new(options.seed),
        values: Values::fixed(options.seed, options.value_size),
        progress: Progress::new(planned),
    };
    eprintln!("seed {}, about {:.0} s", options.seed, planned.as_secs_f64());
    let machine = Machine::read();
    for &scenario in &options.scenarios {
        // The figures of the others are worth keeping.
        if let Err(error) = run(&mut context, scenario, &mut results) {
            eprintln!("compare: {scenario}: {error}");
            results.failures.push((scenario, error.to_string()));
        }
        if let Some(path) = &options.json {
            let text = format!("{:#}\n", report::raw(options, &machine, &results));
            std::fs::write(path, text).map_err(|error| Error::from(error).during(path.display()))?;
        }
    }
    print!("{}", report::markdown(options, &machine, &results));
    match &results.failures[..] {
        [] => Ok(()),
        failures => fail!("{} of {} scenarios failed", failures.len(), options.scenarios.len()),
    }
}

fn run(context: &mut Context<'_>, scenario: &str, results: &mut Results) -> Result<()> {
    match scenario {
        "throughput" => results.throughput = throughput::run(context)?,
        "memory" => results.memory = memory::run(context, false)?,
        "memory-sweep" => results.memory_sweep = memory::run(context, true)?,
        "idle" => results.idle = idle::run(context)?,
        "stall" => results.stall = stall::run(context)?,
        "scan" => results.scan = scan::run(context)?,
        "churn" => results.churn = churn::run(context)?,
        "overshoot" => results.overshoot = overshoot::run(context)?,
        "stale" => results.stale = stale::run(context)?,
        "big-keyspace" => results.big_keyspace = big_keyspace::run(context)?,
        "pauses" => results.pauses = pauses::run(context)?,
        "stampede" => {
            results.stampede = stampede::run(context)?;
            stampede::verdict(&context.options.recipes, &results.stampede)?;
        }
        "revoke" => results.revoke = revoke::run(context)?,
        "tag-revokes" => results.tag_revokes = tag_revokes::run(context)?,
        other => unreachable!("{other} is not in the list of scenarios"),
    }
    Ok(())
}

fn planned(options: &Options, scenario: &str) -> Duration {
    match scenario {
        "throughput" => throughput::planned(options),
        "memory" => memory::planned(options, false),
        "memory-sweep" => memory::planned(options, true),
        "idle" => idle::planned(options),
        "stall" => stall::planned(options),
        "scan" => scan::planned(options),
        "churn" => churn::planned(options),
        "overshoot" => overshoot::planned(options),
        "stale" => stale::planned(options),
        "big-keyspace" => big_keyspace::planned(options),
        "pauses" => pauses::planned(options),
        "stampede" => stampede::planned(options),
        "revoke" => revoke::planned(options),
        "tag-revokes" => tag_revokes::planned(options),
        other => unreachable!("{other} is not in the list of scenarios"),
    }
}

/// Raises the limit of open files as far as allowed, for this process and the servers it starts; `needed` is an error to miss.
fn raise_open_files(needed: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(needed, |maximum| maximum.max(needed));
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|maximum| maximum.max(wanted)) };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => Ok(()),
        Err(error) => fail!("{wanted} open files are needed, the limit is {:?}: {error}", limit.maximum),
    }
}
