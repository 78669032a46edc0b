//! Results as Markdown for people and as JSON for programs. Nothing is rounded in the JSON.

mod bounds;
mod freshness;
mod raw;
mod table;
mod traffic;

use crate::options::Options;
use crate::scenarios::throughput::Cell;
use crate::scenarios::{churn, idle, memory, overshoot, pauses, revoke, scan, stale, stall, stampede, tag_revokes};
pub use raw::raw;
use table::{Table, line};

/// Everything a run measured; absent scenarios are empty.
#[derive(Debug, Default)]
pub struct Results {
    pub versions: Vec<String>,
    pub throughput: Vec<Cell>,
    pub memory: Vec<memory::Row>,
    pub memory_sweep: Vec<memory::Row>,
    pub idle: Vec<idle::Row>,
    pub stall: Vec<stall::Row>,
    pub scan: Vec<scan::Row>,
    pub churn: Vec<churn::Row>,
    pub overshoot: Vec<overshoot::Row>,
    pub stale: Vec<stale::Row>,
    pub big_keyspace: Vec<Cell>,
    pub pauses: Vec<pauses::Row>,
    pub stampede: Vec<stampede::Row>,
    pub revoke: Vec<revoke::Row>,
    pub tag_revokes: Vec<tag_revokes::Cell>,
    /// Scenarios that came to no figures or to wrong ones, and why.
    pub failures: Vec<(&'static str, String)>,
}

/// Where it was measured.
#[derive(Debug)]
pub struct Machine {
    pub cpu: String,
    pub kernel: String,
}

impl Machine {
    pub fn read() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().strip_prefix(':')?.trim().to_owned()))
        };
        // Not the parallelism of this process, which is bound to one core.
        let cores = info.lines().filter(|line| line.starts_with("processor")).count();
        let model = field("model name").unwrap_or_else(|| "unknown processor".to_owned());
        let uname = rustix::system::uname();
        Self {
            cpu: format!("{model}, {cores} cores"),
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
        }
    }
}

/// The whole report.
pub fn markdown(options: &Options, machine: &Machine, results: &Results) -> String {
    let mut out = String::new();
    header(&mut out, options, machine, results);
    let report = Report {
        names: options.recipes.iter().map(|recipe| recipe.name.as_str()).collect(),
        results,
        keys: options.keys,
        big_keys: options.big_keys,
        load_ms: options.stampede_load.as_millis(),
        tag_revoke_rate: options.tag_revoke_rate,
    };
    report.throughput(&mut out);
    report.memory(&mut out);
    report.memory_sweep(&mut out);
    report.idle(&mut out);
    report.stall(&mut out);
    report.stampede(&mut out);
    report.revoke(&mut out);
    report.tag_revokes(&mut out);
    report.scan(&mut out);
    report.churn(&mut out);
    report.overshoot(&mut out);
    report.stale(&mut out);
    report.big_keyspace(&mut out);
    report.pauses(&mut out);
    for (scenario, error) in &results.failures {
        line(&mut out, format_args!("\nFailed: {scenario}: {error}"));
    }
    out
}

fn header(out: &mut String, options: &Options, machine: &Machine, results: &Results) {
    line(out, format_args!("- machine: {}; {}", machine.cpu, machine.kernel));
    for (recipe, version) in options.recipes.iter().zip(&results.versions) {
        line(out, format_args!("- {}: {version}", recipe.name));
    }
    let traffic = format!(
        "{} connections over TCP loopback, {} keys of 16 B, values of {} B, seed {}",
        options.connections, options.keys, options.value_size, options.seed
    );
    line(out, format_args!("- traffic: {traffic}"));
    let (servers, generator) = (options.server_core, options.generator_core);
    line(
        out,
        format_args!(
            "- one server thread on core {servers}, generator on core {generator}, other servers stopped meanwhile"
        ),
    );
    line(
        out,
        format_args!("- {} rounds of {:.1} s per cell, interleaved", options.rounds, options.duration.as_secs_f64()),
    );
    line(out, format_args!("- `cargo run --release -p millpond-benches --bin compare -- {}`", options.invocation));
}

struct Report<'a> {
    names: Vec<&'a str>,
    results: &'a Results,
    keys: u64,
    big_keys: u64,
    load_ms: u128,
    tag_revoke_rate: u64,
}

impl Report<'_> {
    fn server_table(&self, first: &str, last: &[&str]) -> Table {
        let last = if self.names.len() > 1 { last } else { &[] };
        Table::new(std::iter::once(first).chain(self.names.iter().copied()).chain(last.iter().copied()))
    }
}
