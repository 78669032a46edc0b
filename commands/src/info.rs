//! INFO: one table of fields, section by section.
//!
//! Promises: sections and fields in the table's order, each field once, `name:value` lines that monitoring parses by
//! position. A field is one more row of [`ROWS`].

pub mod latencies;

use crate::call::Call;
use crate::clients::Client;
use crate::host::{About, ProcessStats};
use crate::node::{Node, REDIS_VERSION, VERSION};
use crate::stats::WorkerStats;
use crate::table;
use core::cell::OnceCell;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use latencies::Latencies;
use std::sync::Arc;
use storage::limits::DATABASES;
use storage::{Db, Memory, StoreCounts};

/// A part of INFO, in the order shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Errorstats,
    Cluster,
    Swr,
    Projections,
    Keyspace,
    Commandstats,
    Latencystats,
    Cores,
}

/// Which request without its name a section belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// A bare INFO.
    Always,
    /// INFO ALL: long.
    All,
    /// INFO EVERYTHING: our own.
    Everything,
}

impl Section {
    /// Every section, in the order shown.
    pub const ALL: [Self; 15] = [
        Self::Server,
        Self::Clients,
        Self::Memory,
        Self::Persistence,
        Self::Stats,
        Self::Replication,
        Self::Cpu,
        Self::Errorstats,
        Self::Cluster,
        Self::Swr,
        Self::Projections,
        Self::Keyspace,
        Self::Commandstats,
        Self::Latencystats,
        Self::Cores,
    ];

    /// The name in its heading.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Clients => "Clients",
            Self::Memory => "Memory",
            Self::Persistence => "Persistence",
            Self::Stats => "Stats",
            Self::Replication => "Replication",
            Self::Cpu => "CPU",
            Self::Errorstats => "Errorstats",
            Self::Cluster => "Cluster",
            Self::Keyspace => "Keyspace",
            Self::Swr => "Swr",
            Self::Projections => "Projections",
            Self::Commandstats => "Commandstats",
            Self::Latencystats => "Latencystats",
            Self::Cores => "Cores",
        }
    }

    /// Which request without its name it belongs to.
    pub fn shown(self) -> Shown {
        match self {
            Self::Commandstats | Self::Latencystats => Shown::All,
            Self::Projections | Self::Cores => Shown::Everything,
            _ => Shown::Always,
        }
    }
}

/// One field, or one kind of line.
#[derive(Debug)]
pub struct Row {
    /// Where it is shown.
    pub section: Section,
    /// The word before the colon; of lines, how they begin.
    pub name: &'static str,
    /// Where its value comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug)]
pub enum Source {
    /// It is always the same.
    Fixed(&'static str),
    /// It is measured.
    Measured(fn(&mut Facts<'_, '_, '_>) -> String),
    /// Any number of lines: the rest of their name, and their value.
    Lines(fn(&mut Facts<'_, '_, '_>) -> Vec<(String, String)>),
}

/// What values are measured from.
pub struct Facts<'a, 'c, 's> {
    call: &'a mut Call<'c, 's>,
    process: OnceCell<ProcessStats>,
    about: OnceCell<About>,
    counts: OnceCell<StoreCounts>,
}

impl Facts<'_, '_, '_> {
    fn node(&self) -> &Node {
        self.call.node
    }

    fn memory(&self) -> &Memory {
        self.call.store.store().memory()
    }

    fn now_ms(&self) -> u64 {
        self.call.cx.now.0
    }

    fn process(&self) -> &ProcessStats {
        self.process.get_or_init(|| self.call.node.host.process())
    }

    fn about(&self) -> &About {
        self.about.get_or_init(|| self.call.node.host.about())
    }

    fn counts(&mut self) -> &StoreCounts {
        self.counts.get_or_init(|| {
            let (now, before) = (self.call.store.counts(), *self.call.node.counts_before.lock());
            StoreCounts {
                changes: now.changes.saturating_sub(before.changes),
                expired: now.expired.saturating_sub(before.expired),
                revoked: now.revoked.saturating_sub(before.revoked),
                evicted: now.evicted.saturating_sub(before.evicted),
            }
        })
    }

    fn sum(&self, counter: impl Fn(&WorkerStats) -> u64) -> String {
        self.node().sum(counter).to_string()
    }

    fn over_clients(&self, counter: impl Fn(&Client) -> &AtomicU64) -> impl Iterator<Item = u64> {
        self.node().clients.all().into_iter().map(move |client| counter(&client).load(Ordering::Relaxed))
    }

    fn uptime_s(&self) -> u64 {
        self.process().uptime_ms / 1000
    }
}

const fn fixed(section: Section, name: &'static str, value: &'static str) -> Row {
    Row { section, name, source: Source::Fixed(value) }
}

const fn field(section: Section, name: &'static str, value: fn(&mut Facts<'_, '_, '_>) -> String) -> Row {
    Row { section, name, source: Source::Measured(value) }
}

const fn lines(
    section: Section,
    name: &'static str,
    lines: fn(&mut Facts<'_, '_, '_>) -> Vec<(String, String)>,
) -> Row {
    Row { section, name, source: Source::Lines(lines) }
}

use Section::{
    Clients, Cluster, Commandstats, Cores, Cpu, Errorstats, Keyspace, Latencystats, Memory as Mem, Persistence,
    Projections, Replication, Server, Stats, Swr,
};

/// All fields, in the order shown.
pub const ROWS: &[Row] = &[
    fixed(Server, "redis_version", REDIS_VERSION),
    fixed(Server, "millpond_version", VERSION),
    field(Server, "redis_build_id", |f| f.about().build_id.clone()),
    fixed(Server, "redis_mode", "standalone"),
    field(Server, "os", |f| f.about().system.clone()),
    field(Server, "arch_bits", |_| usize::BITS.to_string()),
    field(Server, "multiplexing_api", |f| f.about().polling.clone()),
    field(Server, "process_id", |f| f.about().process_id.to_string()),
    field(Server, "run_id", |f| f.node().run_id.clone()),
    field(Server, "tcp_port", |f| f.node().settings.text("port")),
    field(Server, "server_time_usec", |f| (f.now_ms() * 1000).to_string()),
    field(Server, "uptime_in_seconds", |f| f.uptime_s().to_string()),
    field(Server, "uptime_in_days", |f| (f.uptime_s() / 86_400).to_string()),
    field(Server, "hz", |f| f.node().settings.text("hz")),
    field(Server, "configured_hz", |f| f.node().settings.text("hz")),
    field(Server, "lru_clock", |f| (f.now_ms() / 1000 % (1 << 24)).to_string()),
    field(Server, "executable", |f| f.about().executable.clone()),
    field(Server, "config_file", |f| f.about().config_file.clone()),
    field(Server, "io_threads_active", |f| u8::from(f.node().workers.len() > 1).to_string()),
    field(Server, "availability_zone", |f| f.about().zone.clone()),
    field(Clients, "connected_clients", |f| f.node().clients.len().to_string()),
    field(Clients, "maxclients", |f| f.node().settings.text("maxclients")),
    field(Clients, "client_recent_max_input_buffer", |f| largest(f.over_clients(|c| &c.query_bytes))),
    field(Clients, "client_recent_max_output_buffer", |f| largest(f.over_clients(|c| &c.output_bytes))),
    field(Clients, "blocked_clients", |f| f.call.node.clients.blocked().to_string()),
    fixed(Clients, "tracking_clients", "0"),
    field(Mem, "used_memory", |f| f.memory().used().to_string()),
    field(Mem, "used_memory_human", |f| human(f.memory().used())),
    field(Mem, "used_memory_rss", |f| f.process().resident_bytes.to_string()),
    field(Mem, "used_memory_peak", |f| f.memory().peak().to_string()),
    field(Mem, "used_memory_peak_perc", |f| format!("{:.2}%", ratio(f.memory().used(), f.memory().peak()) * 100.0)),
    field(Mem, "used_memory_overhead", |f| f.memory().used().saturating_sub(f.memory().dataset()).to_string()),
    field(Mem, "used_memory_dataset", |f| f.memory().dataset().to_string()),
    fixed(Mem, "used_memory_lua", "0"),
    fixed(Mem, "used_memory_scripts", "0"),
    fixed(Mem, "number_of_cached_scripts", "0"),
    field(Mem, "total_system_memory", |f| f.process().machine_bytes.to_string()),
    field(Mem, "maxmemory", |f| f.memory().limit().to_string()),
    field(Mem, "maxmemory_human", |f| human(f.memory().limit())),
    field(Mem, "maxmemory_policy", |f| f.node().settings.effective_policy().name().to_owned()),
    field(Mem, "allocator_allocated", |f| f.memory().used().to_string()),
    field(Mem, "allocator_active", |f| f.process().resident_bytes.to_string()),
    field(Mem, "allocator_resident", |f| f.process().resident_bytes.to_string()),
    field(Mem, "mem_fragmentation_ratio", |f| format!("{:.2}", ratio(f.process().resident_bytes, f.memory().used()))),
    field(Mem, "mem_clients_normal", |f| f.node().clients.memory_bytes().to_string()),
    fixed(Mem, "mem_allocator", "mimalloc"),
    field(Mem, "lazyfree_pending_objects", |f| f.call.store.store().buried().to_string()),
    fixed(Mem, "lazyfreed_objects", "0"),
    field(Mem, "table_memory_used", |_| storage::arena_memory().used.to_string()),
    field(Mem, "table_memory_held", |_| storage::arena_memory().held.to_string()),
    field(Mem, "table_memory_stocked", |_| storage::arena_memory().stocked.to_string()),
    field(Mem, "active_defrag_running", |_| u8::from(storage::arena_memory().leaving > 0).to_string()),
    fixed(Persistence, "loading", "0"),
    fixed(Persistence, "rdb_changes_since_last_save", "0"),
    fixed(Persistence, "rdb_bgsave_in_progress", "0"),
    field(Persistence, "rdb_last_save_time", |f| (f.node().started_ms / 1000).to_string()),
    fixed(Persistence, "rdb_last_bgsave_status", "ok"),
    fixed(Persistence, "rdb_last_bgsave_time_sec", "-1"),
    fixed(Persistence, "aof_enabled", "0"),
    fixed(Persistence, "aof_rewrite_in_progress", "0"),
    fixed(Persistence, "aof_last_bgrewrite_status", "ok"),
    fixed(Persistence, "aof_last_write_status", "ok"),
    field(Stats, "total_connections_received", |f| f.sum(|w| w.accepted.value())),
    field(Stats, "total_commands_processed", |f| f.sum(|w| w.commands.value())),
    field(Stats, "instantaneous_ops_per_sec", |f| f.node().rates.commands.load(Ordering::Relaxed).to_string()),
    field(Stats, "instantaneous_input_kbps", |f| kilobytes(&f.node().rates.input_bytes)),
    field(Stats, "instantaneous_output_kbps", |f| kilobytes(&f.node().rates.output_bytes)),
    field(Stats, "total_net_input_bytes", |f| f.sum(|w| w.input_bytes.value())),
    field(Stats, "total_net_output_bytes", |f| f.sum(|w| w.output_bytes.value())),
    field(Stats, "rejected_connections", |f| f.sum(|w| w.refused.value())),
    field(Stats, "expired_keys", |f| f.counts().expired.to_string()),
    field(Stats, "evicted_keys", |f| f.counts().evicted.to_string()),
    field(Stats, "keyspace_hits", |f| f.sum(|w| w.hits.value())),
    field(Stats, "keyspace_misses", |f| f.sum(|w| w.misses.value())),
    fixed(Stats, "pubsub_channels", "0"),
    fixed(Stats, "pubsub_patterns", "0"),
    fixed(Stats, "latest_fork_usec", "0"),
    fixed(Stats, "tracking_total_keys", "0"),
    fixed(Stats, "tracking_total_items", "0"),
    fixed(Stats, "tracking_total_prefixes", "0"),
    field(Stats, "total_error_replies", |f| f.sum(|w| w.errors.value())),
    fixed(Replication, "role", "master"),
    fixed(Replication, "connected_slaves", "0"),
    fixed(Replication, "master_failover_state", "no-failover"),
    field(Replication, "master_replid", |f| f.node().run_id.clone()),
    fixed(Replication, "master_repl_offset", "0"),
    field(Cpu, "used_cpu_sys", |f| seconds(f.process().system_us)),
    field(Cpu, "used_cpu_user", |f| seconds(f.process().user_us)),
    fixed(Cpu, "used_cpu_sys_children", "0"),
    fixed(Cpu, "used_cpu_user_children", "0"),
    lines(Errorstats, "errorstat_", error_lines),
    fixed(Cluster, "cluster_enabled", "0"),
    field(Swr, "revoke_epoch", |f| f.call.store.store().revoke_log().0.to_string()),
    field(Swr, "revoke_records", |f| f.call.store.store().revoke_log().1.to_string()),
    field(Swr, "revokes_widened", |f| f.call.store.store().widened_revokes().to_string()),
    field(Swr, "revoked_keys", |f| f.counts().revoked.to_string()),
    field(Swr, "events_skipped", |f| f.node().sum(|worker| worker.events_skipped.value()).to_string()),
    field(Swr, "swr_services", |f| f.call.node.services.now().all().count().to_string()),
    field(Swr, "swr_side_bytes", |f| f.call.store.store().side_bytes().to_string()),
    lines(Swr, "swr_", swr_lines),
    lines(Projections, "projection_", projection_lines),
    lines(Keyspace, "db", keyspace_lines),
    lines(Commandstats, "cmdstat_", command_lines),
    lines(Latencystats, "latency_percentiles_usec_", latency_lines),
    lines(Cores, "core_", core_lines),
];

fn swr_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let services: Vec<_> = facts.call.node.services.now().with_global().map(Arc::clone).collect();
    let sums = crate::families::cache::sums(&services);
    sums.into_iter().map(|(name, sum)| (name.to_owned(), sum.to_string())).collect()
}

fn projection_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let line = |projection: &Arc<crate::projections::Projection>| {
        let board = projection.board();
        let mut line = format!(
            "state={},partitions={},ready={},lag={},lag_ms={}",
            board.state,
            board.partitions.len(),
            board.ready,
            board.lag,
            board.lag_ms
        );
        for (name, count) in &board.counts {
            let _ = write!(line, ",{name}={count}");
        }
        // Nothing in it may look like the end of a field or line.
        let error: String =
            board.last_error.chars().map(|c| if c.is_control() || c == ',' { ' ' } else { c }).collect();
        let _ = write!(line, ",flags={},last_error={error}", board.flags.join("+"));
        (projection.name.clone(), line)
    };
    facts.call.node.projections.all().iter().map(line).collect()
}

fn largest(values: impl Iterator<Item = u64>) -> String {
    values.max().unwrap_or(0).to_string()
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn kilobytes(bytes: &AtomicU64) -> String {
    format!("{:.2}", bytes.load(Ordering::Relaxed) as f64 / 1024.0)
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Bytes for people: `512B`, `1.50K`, `2.00G`.
pub fn human(bytes: u64) -> String {
    let units = [(1u64 << 50, 'P'), (1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

fn error_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let counts = &facts.node().error_counts;
    let mut lines: Vec<_> = counts.iter().map(|e| (e.key().to_string(), format!("count={}", e.value()))).collect();
    lines.sort();
    lines
}

fn keyspace_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let cx = facts.call.cx;
    let databases = (0..DATABASES as u8).map(|db| (db, facts.call.store.db_stats(Db(db), &cx)));
    let line = |db: u8, s: storage::DbStats| {
        (db.to_string(), format!("keys={},expires={},avg_ttl={}", s.keys, s.expiring, s.average_ttl_ms))
    };
    databases.filter(|(_, stats)| stats.keys > 0).map(|(db, stats)| line(db, stats)).collect()
}

fn command_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let node = facts.node();
    let line = |row: &crate::command::Command| {
        let sum = |counter: fn(&crate::stats::CommandStats) -> u64| {
            node.sum(|worker| counter(&worker.by_command[usize::from(row.wire_id)]))
        };
        let (calls, usec) = (sum(|c| c.calls.value()), sum(|c| c.ns.value()) / 1000);
        let (rejected, failed) = (sum(|c| c.rejected.value()), sum(|c| c.failed.value()));
        let per_call = ratio(usec, calls);
        (calls + rejected + failed > 0).then(|| {
            let value = format!(
                "calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            );
            (row.name.to_owned(), value)
        })
    };
    table::all().filter_map(line).collect()
}

fn latency_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let node = facts.node();
    if !node.settings.live.latency_tracking.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let line = |row: &crate::command::Command| {
        let latencies = Latencies::of(node, row.wire_id)?;
        let us = |permille| latencies.percentile_ns(permille) as f64 / 1000.0;
        Some((row.name.to_owned(), format!("p50={:.3},p99={:.3},p99.9={:.3}", us(500), us(990), us(999))))
    };
    table::all().filter_map(line).collect()
}

fn core_lines(facts: &mut Facts<'_, '_, '_>) -> Vec<(String, String)> {
    let node = facts.node();
    let mut clients = vec![0u64; node.workers.len()];
    for client in node.clients.all() {
        if let Some(count) = clients.get_mut(client.core) {
            *count += 1;
        }
    }
    let line = |(core, worker): (usize, &std::sync::Arc<WorkerStats>)| {
        let (commands, input, output) = (&worker.commands, &worker.input_bytes, &worker.output_bytes);
        let clients = clients[core];
        let (commands, input, output) = (commands.value(), input.value(), output.value());
        (core.to_string(), format!("clients={clients},commands={commands},input_bytes={input},output_bytes={output}"))
    };
    node.workers.iter().enumerate().map(line).collect()
}

/// The text of the sections that `words` name, in any case: their names, `default`, `all` or `everything`. No words
/// mean `default`; unknown ones nothing.
pub fn text<'w>(call: &mut Call<'_, '_>, words: impl ExactSizeIterator<Item = &'w [u8]> + Clone) -> String {
    let bare = words.len() == 0;
    let asks = |word: &str| words.clone().any(|given| given.eq_ignore_ascii_case(word.as_bytes()));
    let level = match (asks("everything"), asks("all"), bare || asks("default")) {
        (true, _, _) => Some(Shown::Everything),
        (_, true, _) => Some(Shown::All),
        (_, _, true) => Some(Shown::Always),
        _ => None,
    };
    let mut facts = Facts { call, process: OnceCell::new(), about: OnceCell::new(), counts: OnceCell::new() };
    let mut text = String::new();
    for section in Section::ALL {
        if level.is_some_and(|level| section.shown() <= level) || asks(section.name()) {
            if section == Section::Memory {
                facts.call.store.settle();
            }
            write_section(&mut text, section, &mut facts);
        }
    }
    text
}

fn write_section(text: &mut String, section: Section, facts: &mut Facts<'_, '_, '_>) {
    if !text.is_empty() {
        text.push_str("\r\n");
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "# {}\r\n", section.name());
    for row in ROWS.iter().filter(|row| row.section == section) {
        let name = row.name;
        let _ = match row.source {
            Source::Fixed(value) => write!(text, "{name}:{value}\r\n"),
            Source::Measured(value) => write!(text, "{name}:{}\r\n", value(facts)),
            Source::Lines(lines) => {
                lines(facts).iter().try_for_each(|(rest, value)| write!(text, "{name}{rest}:{value}\r\n"))
            }
        };
    }
}

#[cfg(test)]
mod tests;
