//! Results as Markdown for people and as JSON for programs. Nothing is rounded in the JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::hist::Summary;
use crate::load::Pace;
use crate::options::Options;
use crate::scenarios::throughput::{COUNT_TOLERANCE, Cell, Workload};
use crate::scenarios::{idle, median, memory, scan, stall};
use crate::wire::Op;

/// A core in use above this share counts as saturated.
const BUSY: f64 = 0.95;

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
    let report = Report { names: options.recipes.iter().map(|recipe| recipe.name.as_str()).collect(), results };
    report.throughput(&mut out);
    report.memory(&mut out);
    report.memory_sweep(&mut out);
    report.idle(&mut out);
    report.stall(&mut out);
    report.scan(&mut out);
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
}

impl Report<'_> {
    fn throughput(&self, out: &mut String) {
        let cells = &self.results.throughput;
        if cells.is_empty() {
            return;
        }
        let mut workloads: Vec<Workload> = Vec::new();
        for cell in cells {
            if !workloads.contains(&cell.workload) {
                workloads.push(cell.workload);
            }
        }
        let mut cpu = self.server_table("workload", &["ratio to best peer"]);
        let mut user = self.server_table("workload", &["ratio to best peer"]);
        let mut ratios = Table::new(std::iter::once("workload").chain(self.names.iter().copied().skip(1)));
        let mut rate = self.server_table("workload", &[]);
        let mut busy = self.server_table("workload", &[]);
        let mut latency = self.server_table("workload", &[]);
        for workload in &workloads {
            let per_server = |value: &dyn Fn(&Cell) -> f64, server: usize| {
                median(cells.iter().filter(|cell| cell.workload == *workload && cell.server == server).map(value))
            };
            let row = |text: &dyn Fn(usize) -> String| -> Vec<String> {
                std::iter::once(workload.name()).chain((0..self.names.len()).map(text)).collect()
            };
            let ratio =
                |value: &dyn Fn(&Cell) -> f64| -> String { Spread::of(self.ratios(workload, value, None)).text() };
            let mut cpu_row = row(&|server| format!("{:.3}", per_server(&|cell| cell.cpu_us_per_op, server)));
            cpu_row.push(ratio(&|cell| cell.cpu_us_per_op));
            cpu.push(cpu_row);
            let mut user_row = row(&|server| format!("{:.3}", per_server(&|cell| cell.user_us_per_op, server)));
            user_row.push(ratio(&|cell| cell.user_us_per_op));
            user.push(user_row);
            let to_peer =
                |peer: usize| Spread::of(self.ratios(workload, &|cell| cell.cpu_us_per_op, Some(peer))).text();
            ratios.push(std::iter::once(workload.name()).chain((1..self.names.len()).map(to_peer)).collect());
            rate.push(row(&|server| format!("{:.1}", per_server(&|cell| cell.ops_per_s / 1e3, server))));
            busy.push(row(&|server| {
                let server_busy = per_server(&|cell| cell.server_busy * 100.0, server);
                format!("{server_busy:.0} / {:.0}", per_server(&|cell| cell.generator_busy * 100.0, server))
            }));
            latency.push(row(&|server| {
                let at = |pick: fn(&Summary) -> f64| us(per_server(&|cell| pick(&cell.latency), server));
                format!("{} / {} / {}", at(|all| all.p50_us), at(|all| all.p99_us), at(|all| all.p999_us))
            }));
        }
        cpu.write(out, "Server CPU, us per request (median; ratio: median [min..max] over the rounds)");
        if self.names.len() > 2 {
            ratios.write(out, &format!("Server CPU of {} over each peer's", self.names[0]));
        }
        user.write(out, "User part of it, us per request (from sampled ticks)");
        rate.write(out, "Rate, thousand requests per second");
        busy.write(out, "Core in use, server / generator, %");
        latency.write(out, "Latency of a batch, p50 / p99 / p99.9, us");
        let saturated = || cells.iter().filter(|cell| cell.workload.pace == Pace::Saturated && cell.server_busy < BUSY);
        let starved = saturated().filter(|cell| cell.generator_busy >= BUSY).count();
        let disturbed = saturated().filter(|cell| cell.generator_busy < BUSY).count();
        if starved > 0 {
            line(out, format_args!("\n**In {starved} of {} cells the generator was the limit.**", cells.len()));
        }
        if disturbed > 0 {
            line(
                out,
                format_args!("\n**In {disturbed} of {} cells other programs took part of a core.**", cells.len()),
            );
        }
        let wrong = cells.iter().filter(|cell| cell.count_mismatch() > COUNT_TOLERANCE).count();
        line(out, "");
        match wrong {
            0 => line(out, "The servers' own counts of requests agree with the generator's in every cell."),
            _ => line(
                out,
                format_args!(
                    "**The servers' counts of requests differ from the generator's by over 0.1 % in {wrong} cells.**"
                ),
            ),
        }
    }

    /// Ours over a peer's, or over the best peer's, in each round.
    fn ratios(&self, workload: &Workload, value: &dyn Fn(&Cell) -> f64, peer: Option<usize>) -> Vec<f64> {
        let cells = || self.results.throughput.iter().filter(|cell| cell.workload == *workload);
        let of_round = |ours: &Cell| -> Option<f64> {
            let peers = cells().filter(|cell| cell.round == ours.round && cell.server != 0);
            let wanted = peers.filter(|cell| peer.is_none_or(|peer| cell.server == peer));
            wanted.map(value).min_by(f64::total_cmp).map(|best| value(ours) / best)
        };
        cells().filter(|cell| cell.server == 0).filter_map(of_round).collect()
    }

    fn memory(&self, out: &mut String) {
        let rows = &self.results.memory;
        if rows.is_empty() {
            return;
        }
        let mut table = self.server_table("", &[]);
        for ttl in [false, true] {
            let text = |server: usize| {
                let row = rows.iter().find(|row| row.server == server && row.ttl == ttl);
                row.map_or("-".to_owned(), |row| {
                    format!("{:.1}{}", row.overhead, if row.settled { "" } else { " (still moving)" })
                })
            };
            let label = if ttl { "with TTL" } else { "no TTL" };
            table.push(std::iter::once(label.to_owned()).chain((0..self.names.len()).map(text)).collect());
        }
        table.write(out, &format!("Resident bytes per key beyond key and value, {} keys", rows[0].keys));
    }

    fn memory_sweep(&self, out: &mut String) {
        let rows = &self.results.memory_sweep;
        let (Some(first), Some(last)) = (rows.first(), rows.iter().map(|row| row.keys).max()) else { return };
        let mut table = self.server_table("", &[]);
        for ttl in [false, true] {
            let text = |server: usize| {
                let of_server =
                    || rows.iter().filter(|row| row.server == server && row.ttl == ttl).map(|row| row.overhead);
                let mean = of_server().sum::<f64>() / of_server().count() as f64;
                format!("{mean:.1} / {:.1}", of_server().fold(f64::MIN, f64::max))
            };
            let label = if ttl { "with TTL" } else { "no TTL" };
            table.push(std::iter::once(label.to_owned()).chain((0..self.names.len()).map(text)).collect());
        }
        table.write(out, &format!("The same, mean / maximum of 8 sizes from {} to {last} keys", first.keys));
    }

    fn idle(&self, out: &mut String) {
        let rows = &self.results.idle;
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new([
            "server",
            "workload",
            "bytes per idle connection",
            "CPU us/op alone",
            "beside idle",
            "ratio",
            "k/s alone",
            "beside idle",
        ]);
        for row in rows {
            table.push(vec![
                self.names[row.server].to_owned(),
                format!("{} P16", row.op.name()),
                format!("{:.0}", row.bytes_per_connection),
                format!("{:.3}", row.cpu_us_alone),
                format!("{:.3}", row.cpu_us_beside),
                format!("{:.3}", row.cpu_ratio),
                format!("{:.1}", row.ops_per_s_alone / 1e3),
                format!("{:.1}", row.ops_per_s_beside / 1e3),
            ]);
        }
        table.write(out, "Idle connections");
    }

    fn stall(&self, out: &mut String) {
        let rows = &self.results.stall;
        if rows.is_empty() {
            return;
        }
        let mut table =
            Table::new(["server", "phase", "command ms", "p50 us", "p99 us", "p99.9 us", "max us", "max over base"]);
        for row in rows {
            let base = rows.iter().find(|base| base.server == row.server && base.command_ms.is_none());
            table.push(vec![
                self.names[row.server].to_owned(),
                row.phase.to_owned(),
                row.command_ms.map_or("-".to_owned(), |ms| format!("{ms:.1}")),
                us(row.latency.p50_us),
                us(row.latency.p99_us),
                us(row.latency.p999_us),
                us(row.latency.max_us),
                base.map_or("-".to_owned(), |base| format!("{:.1}x", row.latency.max_us / base.latency.max_us)),
            ]);
        }
        table.write(out, "Latency of a steady client while a heavy command runs");
    }

    fn scan(&self, out: &mut String) {
        let rows = &self.results.scan;
        if rows.is_empty() {
            return;
        }
        let mut table =
            Table::new(["server", "pass", "keys are", "calls", "ms", "writes meanwhile", "repeated", "missing"]);
        for row in rows {
            table.push(vec![
                self.names[row.server].to_owned(),
                (row.pass + 1).to_string(),
                if row.growing { "added" } else { "deleted" }.to_owned(),
                row.calls.to_string(),
                format!("{:.0}", row.took_ms),
                row.writes.to_string(),
                row.repeated.to_string(),
                row.missing.to_string(),
            ]);
        }
        table.write(out, "SCAN under writes: keys present throughout");
    }

    fn server_table(&self, first: &str, last: &[&str]) -> Table {
        let last = if self.names.len() > 1 { last } else { &[] };
        Table::new(std::iter::once(first).chain(self.names.iter().copied()).chain(last.iter().copied()))
    }
}

/// Median, minimum and maximum of ratios.
struct Spread(Option<(f64, f64, f64)>);

impl Spread {
    fn of(ratios: Vec<f64>) -> Self {
        let least = ratios.iter().copied().min_by(f64::total_cmp);
        let most = ratios.iter().copied().max_by(f64::total_cmp);
        Self(least.zip(most).map(|(least, most)| (median(ratios), least, most)))
    }

    fn text(&self) -> String {
        self.0.map_or("-".to_owned(), |(median, least, most)| format!("{median:.2} [{least:.2}..{most:.2}]"))
    }
}

/// A Markdown table; rows are cut or padded to the head.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { head: head.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    fn push(&mut self, mut row: Vec<String>) {
        row.resize(self.head.len(), String::new());
        self.rows.push(row);
    }

    fn write(&self, out: &mut String, title: &str) {
        line(out, format_args!("\n### {title}\n"));
        line(out, format_args!("| {} |", self.head.join(" | ")));
        line(out, format_args!("|{}", "---|".repeat(self.head.len())));
        for row in &self.rows {
            line(out, format_args!("| {} |", row.join(" | ")));
        }
    }
}

fn line(out: &mut String, text: impl std::fmt::Display) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

fn us(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// The raw results.
pub fn raw(options: &Options, machine: &Machine, results: &Results) -> Value {
    let name = |server: usize| options.recipes[server].name.as_str();
    let latency = |all: &Summary| json!({"p50_us": all.p50_us, "p99_us": all.p99_us, "p999_us": all.p999_us, "max_us": all.max_us});
    let op = |op: Op| op.name();
    let memory_row = |row: &memory::Row| {
        json!({"server": name(row.server), "ttl": row.ttl, "keys": row.keys, "overhead_bytes_per_key": row.overhead,
            "rss_bytes": row.rss_bytes, "settled": row.settled})
    };
    let cell = |cell: &Cell| {
        json!({"server": name(cell.server), "workload": cell.workload.name(), "round": cell.round, "ops": cell.ops,
            "ops_counted_by_server": cell.ops_counted, "misses": cell.misses, "cpu_us_per_op": cell.cpu_us_per_op,
            "user_us_per_op": cell.user_us_per_op, "ops_per_s": cell.ops_per_s, "server_busy": cell.server_busy,
            "generator_busy": cell.generator_busy, "latency": latency(&cell.latency)})
    };
    let idle_row = |row: &idle::Row| {
        json!({"server": name(row.server), "op": op(row.op), "bytes_per_connection": row.bytes_per_connection,
            "cpu_us_alone": row.cpu_us_alone, "cpu_us_beside": row.cpu_us_beside, "cpu_ratio": row.cpu_ratio,
            "ops_per_s_alone": row.ops_per_s_alone, "ops_per_s_beside": row.ops_per_s_beside})
    };
    let stall_row = |row: &stall::Row| json!({"server": name(row.server), "phase": row.phase, "command_ms": row.command_ms, "latency": latency(&row.latency)});
    let scan_row = |row: &scan::Row| {
        json!({"server": name(row.server), "pass": row.pass, "growing": row.growing, "calls": row.calls, "repeated": row.repeated,
            "missing": row.missing, "writes": row.writes, "took_ms": row.took_ms})
    };
    json!({
        "machine": {"cpu": machine.cpu, "kernel": machine.kernel},
        "invocation": options.invocation,
        "seed": options.seed,
        "servers": options.recipes.iter().zip(&results.versions)
            .map(|(recipe, version)| json!({"name": recipe.name, "version": version})).collect::<Vec<_>>(),
        "throughput": results.throughput.iter().map(cell).collect::<Vec<_>>(),
        "memory": results.memory.iter().map(memory_row).collect::<Vec<_>>(),
        "memory_sweep": results.memory_sweep.iter().map(memory_row).collect::<Vec<_>>(),
        "idle": results.idle.iter().map(idle_row).collect::<Vec<_>>(),
        "stall": results.stall.iter().map(stall_row).collect::<Vec<_>>(),
        "scan": results.scan.iter().map(scan_row).collect::<Vec<_>>(),
    })
}
