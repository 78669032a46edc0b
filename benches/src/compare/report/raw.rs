//! The results as JSON, nothing rounded.

use serde_json::{Value, json};

use super::{Machine, Results};
use crate::hist::Summary;
use crate::options::Options;
use crate::scenarios::throughput::Cell;
use crate::scenarios::{churn, idle, memory, overshoot, pauses, revoke, scan, stale, stall, stampede, tag_revokes};
use crate::wire::Op;

/// The raw results.
pub fn raw(options: &Options, machine: &Machine, results: &Results) -> Value {
    let name = |server: usize| options.recipes[server].name.as_str();
    let latency = |all: &Summary| json!({"p50_us": all.p50_us, "p99_us": all.p99_us, "p999_us": all.p999_us, "max_us": all.max_us});
    let op = |op: Op| op.name();
    let memory_row = |row: &memory::Row| {
        json!({"server": name(row.server), "ttl": row.ttl, "mixed_values": row.mixed, "keys": row.keys, "overhead_bytes_per_key": row.overhead,
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
    let revoke_row = |row: &revoke::Row| json!({"server": name(row.server), "way": row.way, "revokes": row.revokes, "revoke": latency(&row.revoke), "latency": latency(&row.latency)});
    let stampede_row = |row: &stampede::Row| {
        json!({"server": name(row.server), "phase": row.phase, "way": row.way, "clients": row.clients, "rounds": row.rounds,
            "loads_max": row.loads, "requests": row.requests, "latency": latency(&row.latency), "server_cpu_ms": row.server_cpu_ms,
            "generator_busy": row.generator_busy, "saturated_rounds": row.saturated_rounds})
    };
    let tag_revokes_cell = |cell: &tag_revokes::Cell| {
        json!({"server": name(cell.server), "round": cell.round, "tagged": cell.tagged, "traffic": cell.traffic.name(),
            "gets": cell.gets, "revokes": cell.revokes, "cpu_us": cell.cpu_us, "wall_s": cell.wall_s,
            "records": cell.records, "generator_busy": cell.generator_busy, "latency": latency(&cell.latency)})
    };
    let stall_row = |row: &stall::Row| json!({"server": name(row.server), "phase": row.phase, "command_ms": row.command_ms, "latency": latency(&row.latency)});
    let scan_row = |row: &scan::Row| {
        json!({"server": name(row.server), "pass": row.pass, "growing": row.growing, "calls": row.calls, "repeated": row.repeated,
            "missing": row.missing, "writes": row.writes, "took_ms": row.took_ms})
    };
    let churn_row = |row: &churn::Row| {
        json!({"server": name(row.server), "keys": row.keys, "fresh_bytes_per_key": row.fresh,
            "churned_bytes_per_key": row.churned, "cpu_us_per_write": row.cpu_us_per_write, "settled": row.settled})
    };
    let overshoot_row = |row: &overshoot::Row| {
        json!({"server": name(row.server), "value_size": row.value_size, "limit_bytes": row.limit,
            "used_max_bytes": row.used_max, "rss_max_bytes": row.rss_max, "rss_start_bytes": row.rss_start,
            "samples": row.samples, "writes_per_s": row.writes_per_s, "reached": row.reached})
    };
    let stale_row = |row: &stale::Row| {
        json!({"server": name(row.server), "scanning": row.scanning, "writes_per_s": row.writes_per_s,
            "percent_mean": row.percent_mean, "percent_max": row.percent_max, "seconds_max": row.seconds_max,
            "of_goal_max": row.of_goal_max, "live_max": row.live_max, "uncertain_max": row.uncertain_max,
            "samples": row.samples, "scan_calls": row.scan_calls})
    };
    let pauses_row = |row: &pauses::Row| {
        let figures: serde_json::Map<_, _> =
            row.figures.iter().map(|(name, value)| (name.clone(), json!(value.parse::<f64>().ok()))).collect();
        json!({"server": name(row.server), "keys": row.keys, "sets_per_s": row.sets_per_s, "figures": figures})
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
        "revoke": results.revoke.iter().map(revoke_row).collect::<Vec<_>>(),
        "stampede": results.stampede.iter().map(stampede_row).collect::<Vec<_>>(),
        "tag_revokes": results.tag_revokes.iter().map(tag_revokes_cell).collect::<Vec<_>>(),
        "stall": results.stall.iter().map(stall_row).collect::<Vec<_>>(),
        "scan": results.scan.iter().map(scan_row).collect::<Vec<_>>(),
        "churn": results.churn.iter().map(churn_row).collect::<Vec<_>>(),
        "overshoot": results.overshoot.iter().map(overshoot_row).collect::<Vec<_>>(),
        "stale": results.stale.iter().map(stale_row).collect::<Vec<_>>(),
        "pauses": results.pauses.iter().map(pauses_row).collect::<Vec<_>>(),
        "big_keyspace": results.big_keyspace.iter().map(cell).collect::<Vec<_>>(),
    })
}
