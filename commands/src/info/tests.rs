//! The text of INFO: sections, fields, and numbers that move.

use super::{ROWS, Section, human};
use crate::testkit::Testkit;
use std::collections::HashSet;

/// The documented contract: sections in order, their fields in order, fixed values after `=`.
const CONTRACT: &[(&str, &str)] = &[
    (
        "Server",
        "redis_version=7.2.4 millpond_version redis_build_id redis_mode=standalone os arch_bits multiplexing_api process_id \
         run_id tcp_port server_time_usec uptime_in_seconds uptime_in_days hz configured_hz lru_clock executable config_file \
         io_threads_active availability_zone",
    ),
    (
        "Clients",
        "connected_clients maxclients client_recent_max_input_buffer client_recent_max_output_buffer blocked_clients \
         tracking_clients",
    ),
    (
        "Memory",
        "used_memory used_memory_human used_memory_rss used_memory_peak used_memory_peak_perc used_memory_overhead \
         used_memory_dataset used_memory_lua used_memory_scripts number_of_cached_scripts total_system_memory maxmemory \
         maxmemory_human maxmemory_policy=noeviction allocator_allocated allocator_active allocator_resident \
         mem_fragmentation_ratio mem_clients_normal mem_allocator=mimalloc lazyfree_pending_objects lazyfreed_objects \
         table_memory_used table_memory_held table_memory_stocked active_defrag_running=0",
    ),
    (
        "Persistence",
        "loading=0 rdb_changes_since_last_save=0 rdb_bgsave_in_progress=0 rdb_last_save_time rdb_last_bgsave_status=ok \
         rdb_last_bgsave_time_sec=-1 aof_enabled=0 aof_rewrite_in_progress=0 aof_last_bgrewrite_status=ok \
         aof_last_write_status=ok",
    ),
    (
        "Stats",
        "total_connections_received total_commands_processed instantaneous_ops_per_sec instantaneous_input_kbps \
         instantaneous_output_kbps total_net_input_bytes total_net_output_bytes rejected_connections expired_keys \
         evicted_keys keyspace_hits keyspace_misses pubsub_channels pubsub_patterns latest_fork_usec=0 tracking_total_keys \
         tracking_total_items tracking_total_prefixes total_error_replies",
    ),
    (
        "Replication",
        "role=master connected_slaves=0 master_failover_state=no-failover master_replid master_repl_offset=0",
    ),
    ("CPU", "used_cpu_sys used_cpu_user used_cpu_sys_children=0 used_cpu_user_children=0"),
    ("Errorstats", ""),
    ("Cluster", "cluster_enabled=0"),
    (
        "Swr",
        "revoke_epoch=0 revoke_records=0 revokes_widened=0 revoked_keys=0 events_skipped=0 swr_services=0 swr_side_bytes=0 swr_hit=0 swr_stale=0 \
         swr_filled=0 swr_miss=0 swr_wait=0 swr_neg=0 swr_err=0 swr_pass=0 swr_tokens=0 swr_handed_over=0 \
         swr_coalesced=0 swr_refreshes=0 swr_renewed=0 swr_released=0 swr_parked=0 swr_timed_out=0 \
         swr_refused_waits=0 swr_fill_ok=0 swr_fill_stale=0 swr_fill_revoked=0 swr_fill_superseded=0 \
         swr_fill_nolease=0 swr_fill_gone=0 swr_fill_oom=0 swr_fill_nil=0 swr_fill_nostore=0 swr_failed=0 swr_load_ms=0 \
         swr_set=0",
    ),
    ("Keyspace", ""),
    ("Commandstats", "cmdstat_info"),
    ("Latencystats", "latency_percentiles_usec_info"),
];

/// The sections of a reply with their fields.
fn sections(reply: &str) -> Vec<(String, Vec<(String, String)>)> {
    let (length, text) = reply.split_once("\r\n").unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    assert_eq!(length, format!("${}", text.len()));
    let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for block in text.split("\r\n\r\n").filter(|block| !block.is_empty()) {
        let mut lines = block.split("\r\n").filter(|line| !line.is_empty());
        let heading = lines.next().unwrap().strip_prefix("# ").expect("a heading after a blank line");
        let field = |line: &str| line.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
        sections.push((heading.to_owned(), lines.map(|line| field(line).expect("key:value")).collect()));
    }
    sections
}

fn headings(reply: &str) -> Vec<String> {
    sections(reply).into_iter().map(|(heading, _)| heading).collect()
}

fn value(t: &mut Testkit, section: &str, field: &str) -> Option<String> {
    let found = sections(&t.run(&format!("INFO {section}")));
    let [(_, fields)] = &found[..] else { panic!("one section: {found:?}") };
    fields.iter().find(|(key, _)| key == field).map(|(_, value)| value.clone())
}

#[test]
fn the_contract() {
    let mut t = Testkit::new();
    t.run("CONFIG SET latency-tracking yes");
    for full in [false, true] {
        if full {
            for db in [0, 7] {
                t.run(&format!("SELECT {db}"));
                t.run("SET k v EX 100");
            }
        }
        t.run("INFO");
        let found = sections(&t.run("INFO ALL"));
        assert_eq!(found.len(), CONTRACT.len());
        for ((heading, fields), (section, wanted)) in found.iter().zip(CONTRACT) {
            assert_eq!(heading, section);
            for wanted in wanted.split_whitespace() {
                let (name, fixed) = wanted.split_once('=').map_or((wanted, None), |(name, value)| (name, Some(value)));
                let (_, value) = fields.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("{name}"));
                assert!(fixed.is_none_or(|fixed| fixed == value), "{name}:{value}");
            }
            let keys = fields.iter().map(|(key, _)| key.as_str());
            if !matches!(*section, "Errorstats" | "Keyspace" | "Commandstats" | "Latencystats") {
                let wanted = wanted.split_whitespace().map(|field| field.split('=').next().unwrap());
                assert!(keys.eq(wanted), "fields of {section}");
            }
        }
    }
    let text = t.run("INFO EVERYTHING");
    for word in ["# Sentinel", "valkey_version", "dragonfly_version", "garnet_version"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn rows_are_unique_and_in_order() {
    let names: HashSet<&str> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), ROWS.len());
    assert!(ROWS.is_sorted_by_key(|row| row.section));
    assert!(Section::ALL.is_sorted());
    assert!(Section::ALL.iter().all(|section| ROWS.iter().any(|row| row.section == *section)));
}

#[test]
fn sections_by_name() {
    let mut t = Testkit::new();
    let bare = headings(&t.run("INFO"));
    assert_eq!(headings(&t.run("INFO DEFAULT nosuch")), bare);
    assert_eq!(bare.last().unwrap(), "Keyspace");
    assert_eq!(headings(&t.run("info SERVER")), ["Server"]);
    assert_eq!(headings(&t.run("INFO memory nosuch CLIENTS memory")), ["Clients", "Memory"]);
    assert_eq!(headings(&t.run("INFO latencystats default")).last().unwrap(), "Latencystats");
    assert_eq!(headings(&t.run("INFO everything")).last().unwrap(), "Cores");
    assert_eq!(headings(&t.run("INFO cores")), ["Cores"]);
    assert_eq!(t.run("INFO nosuch"), "$0\r\n\r\n");
    assert_eq!(t.run("INFO keyspace"), "$12\r\n# Keyspace\r\n\r\n");
    assert_eq!(t.resp3().run("INFO keyspace"), "=16\r\ntxt:# Keyspace\r\n\r\n");
}

#[test]
fn only_databases_with_keys_are_listed() {
    let mut t = Testkit::new();
    t.run("SET a 1");
    t.run("SET b 1 EX 100");
    t.run("SELECT 3");
    t.run("SET a 1");
    let reply = t.run("INFO keyspace");
    let databases = "# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=100000\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n";
    assert_eq!(reply, format!("${}\r\n{databases}\r\n", databases.len()));
    assert!(t.run("MULTI").starts_with('+') && t.run("INFO keyspace").starts_with('+'));
    assert_eq!(t.run("EXEC"), format!("*1\r\n{reply}"));
}

#[test]
fn books_of_commands_and_errors() {
    let mut t = Testkit::new();
    t.elapsed_ns = 2_500;
    t.run("nosuch");
    t.run("GET");
    t.run("GET k");
    t.run("GET k");
    t.run("AUTH a b");
    assert_eq!(value(&mut t, "errorstats", "errorstat_ERR").unwrap(), "count=2");
    assert_eq!(value(&mut t, "errorstats", "errorstat_WRONGPASS").unwrap(), "count=1");
    assert_eq!(value(&mut t, "stats", "total_error_replies").unwrap(), "3");
    assert_eq!(value(&mut t, "stats", "keyspace_misses").unwrap(), "2");
    let get = "calls=2,usec=5,usec_per_call=2.50,rejected_calls=1,failed_calls=0";
    assert_eq!(value(&mut t, "commandstats", "cmdstat_get").unwrap(), get);
    let auth = "calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=1";
    assert_eq!(value(&mut t, "commandstats", "cmdstat_auth").unwrap(), auth);
    let cores = value(&mut t, "cores", "core_0").unwrap();
    assert!(cores.starts_with("clients=1,commands="), "{cores}");
}

#[test]
fn percentiles_only_while_latencies_are_tracked() {
    let mut t = Testkit::new();
    t.run("CONFIG SET latency-tracking yes");
    t.elapsed_ns = 1_000_000;
    t.run("ECHO x");
    let echo = value(&mut t, "latencystats", "latency_percentiles_usec_echo").unwrap();
    assert_eq!(echo, "p50=1048.575,p99=1048.575,p99.9=1048.575");
    t.run("CONFIG SET latency-tracking no");
    assert_eq!(t.run("INFO latencystats"), "$16\r\n# Latencystats\r\n\r\n");
}

#[test]
fn measurements_of_the_process() {
    let mut t = Testkit::new();
    {
        let mut process = t.shell.process.lock();
        (process.resident_bytes, process.user_us, process.uptime_ms) = (3 << 20, 1_500_000, 2 * 86_400_000 + 5_999);
    }
    assert_eq!(value(&mut t, "memory", "used_memory_rss").unwrap(), "3145728");
    assert_eq!(value(&mut t, "cpu", "used_cpu_user").unwrap(), "1.500000");
    assert_eq!(value(&mut t, "server", "uptime_in_seconds").unwrap(), "172805");
    assert_eq!(value(&mut t, "server", "uptime_in_days").unwrap(), "2");
    assert_eq!(value(&mut t, "server", "run_id").unwrap().len(), 40);
}

#[test]
fn the_policy_counts_only_with_a_limit() {
    let mut t = Testkit::new();
    t.run("CONFIG SET maxmemory-policy allkeys-lru");
    assert_eq!(value(&mut t, "memory", "maxmemory_policy").unwrap(), "noeviction");
    t.run("CONFIG SET maxmemory 100mb");
    assert_eq!(value(&mut t, "memory", "maxmemory_policy").unwrap(), "allkeys-lru");
}

#[test]
fn memory_is_exact_at_once() {
    let mut t = Testkit::new();
    assert_eq!(value(&mut t, "memory", "used_memory_dataset").unwrap(), "0");
    t.run("SET k v");
    let used: u64 = value(&mut t, "memory", "used_memory").unwrap().parse().unwrap();
    assert!((1..100_000).contains(&used), "{used}");
    let percent = value(&mut t, "memory", "used_memory_peak_perc").unwrap();
    assert_eq!(percent, "100.00%");
}

#[test]
fn bytes_for_people() {
    for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1536, "1.50K"), (2 << 20, "2.00M"), (5 << 30, "5.00G")] {
        assert_eq!(human(bytes), text);
    }
}
