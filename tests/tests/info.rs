//! INFO as monitoring reads it: strict lines, the sections in their order, every field with a value of its kind.

use millpond_tests::server::Kind;
use millpond_tests::{Conn, Server};
use std::collections::BTreeMap;

/// Fields by section, in the order of the reply; panics on any line that is not `# Section`, `key:value` or the blank between sections.
fn parse(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut sections: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    if text.is_empty() {
        return sections;
    }
    assert!(text.ends_with("\r\n"), "the last line has no CRLF");
    let mut blank_before = true;
    for line in text[..text.len() - 2].split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "a bare CR or LF in {line:?}");
        if let Some(name) = line.strip_prefix("# ") {
            assert!(blank_before, "no blank line before # {name}");
            assert!(sections.iter().all(|(other, _)| other != name), "# {name} comes twice");
            sections.push((name.to_owned(), BTreeMap::new()));
        } else if !line.is_empty() {
            let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-|".contains(&b)), "odd key in {line:?}");
            let (section, fields) = sections.last_mut().unwrap_or_else(|| panic!("{line:?} before any section"));
            assert!(fields.insert(key.to_owned(), value.to_owned()).is_none(), "{key} comes twice in # {section}");
        }
        blank_before = line.is_empty();
    }
    sections
}

fn info(conn: &mut Conn, words: &str) -> Vec<(String, BTreeMap<String, String>)> {
    parse(conn.cmd(&format!("INFO {words}")).expect_text())
}

/// Sections of a bare INFO with the fields each must have; a value after `=` is fixed.
const CONTRACT: &[(&str, &str)] = &[
    (
        "Server",
        "redis_version=7.2.4 millpond_version redis_build_id redis_mode=standalone os arch_bits=64 multiplexing_api process_id run_id tcp_port \
         server_time_usec uptime_in_seconds uptime_in_days hz configured_hz lru_clock executable config_file io_threads_active \
         availability_zone",
    ),
    (
        "Clients",
        "connected_clients maxclients client_recent_max_input_buffer client_recent_max_output_buffer blocked_clients tracking_clients",
    ),
    (
        "Memory",
        "used_memory used_memory_human used_memory_rss used_memory_peak used_memory_peak_perc used_memory_overhead used_memory_dataset \
         used_memory_lua used_memory_scripts number_of_cached_scripts total_system_memory maxmemory maxmemory_human maxmemory_policy \
         allocator_allocated allocator_active allocator_resident mem_fragmentation_ratio mem_clients_normal mem_allocator=mimalloc \
         lazyfree_pending_objects lazyfreed_objects table_memory_used table_memory_held table_memory_stocked active_defrag_running=0",
    ),
    (
        "Persistence",
        "loading=0 rdb_changes_since_last_save=0 rdb_bgsave_in_progress=0 rdb_last_save_time rdb_last_bgsave_status=ok \
         rdb_last_bgsave_time_sec=-1 aof_enabled=0 aof_rewrite_in_progress=0 aof_last_bgrewrite_status=ok aof_last_write_status=ok",
    ),
    (
        "Stats",
        "total_connections_received total_commands_processed instantaneous_ops_per_sec instantaneous_input_kbps instantaneous_output_kbps \
         total_net_input_bytes total_net_output_bytes rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses \
         pubsub_channels pubsub_patterns latest_fork_usec=0 tracking_total_keys tracking_total_items tracking_total_prefixes \
         total_error_replies",
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
];

/// Fields whose value is text; every other one is a number.
const TEXT: &[&str] = &[
    "redis_version",
    "millpond_version",
    "redis_build_id",
    "redis_mode",
    "os",
    "multiplexing_api",
    "run_id",
    "executable",
    "config_file",
    "availability_zone",
    "mem_allocator",
    "maxmemory_policy",
    "rdb_last_bgsave_status",
    "aof_last_bgrewrite_status",
    "aof_last_write_status",
    "role",
    "master_failover_state",
    "master_replid",
    "used_memory_human",
    "maxmemory_human",
    "used_memory_peak_perc",
];

/// Words that make a client take the server for another product.
const FORBIDDEN: &[&str] = &["# Sentinel", "valkey_version", "dragonfly_version", "garnet_version"];

fn check_contract(conn: &mut Conn) {
    let text = conn.cmd("INFO").expect_text().to_owned();
    for word in FORBIDDEN {
        assert!(!text.contains(word), "{word} switches client behaviour");
    }
    let sections = parse(&text);
    let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
    let wanted: Vec<&str> = CONTRACT.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, wanted, "the sections of a bare INFO");
    for ((name, fields), (_, wanted)) in sections.iter().zip(CONTRACT) {
        for field in wanted.split_ascii_whitespace() {
            let (field, fixed) = field.split_once('=').map_or((field, None), |(field, value)| (field, Some(value)));
            let value = fields.get(field).unwrap_or_else(|| panic!("# {name} has no {field}"));
            if let Some(fixed) = fixed {
                assert_eq!(value, fixed, "{field}");
            }
            assert!(TEXT.contains(&field) || value.parse::<f64>().is_ok(), "{field} is no number: {value:?}");
        }
    }
}

fn check_all(conn: &mut Conn) {
    let all = info(conn, "ALL");
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["Server", "Keyspace", "Commandstats", "Latencystats"] {
        assert!(names.contains(&name), "INFO ALL has no # {name}");
    }
    for (name, fields) in &all {
        for (key, value) in fields {
            let parts = |wanted: &[&str]| {
                let keys: Vec<&str> = value
                    .split(',')
                    .map(|part| part.split_once('=').unwrap_or_else(|| panic!("{key}:{value}")).0)
                    .collect();
                assert_eq!(keys, wanted, "{key}:{value}");
                for part in value.split(',') {
                    let number = part.split_once('=').map_or("", |(_, number)| number);
                    assert!(number.parse::<f64>().is_ok(), "{key}: {part} is no number");
                }
            };
            match name.as_str() {
                "Commandstats" => {
                    assert!(key.starts_with("cmdstat_"), "{key}");
                    parts(&["calls", "usec", "usec_per_call", "rejected_calls", "failed_calls"]);
                }
                "Latencystats" => {
                    assert!(key.starts_with("latency_percentiles_usec_"), "{key}");
                    parts(&["p50", "p99", "p99.9"]);
                }
                "Errorstats" => {
                    assert!(key.starts_with("errorstat_"), "{key}");
                    parts(&["count"]);
                }
                "Keyspace" => {
                    let (keys, _) = value.split_once(',').expect("several parts");
                    assert_ne!(keys, "keys=0", "an empty database is not listed");
                    let position: Vec<&str> =
                        value.split(',').take(3).map(|part| part.split_once('=').map_or("", |p| p.0)).collect();
                    assert_eq!(position, ["keys", "expires", "avg_ttl"], "{key}:{value}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn strict_on_an_empty_and_a_full_server() {
    let server = Server::start();
    let millpond = server.kind() == Kind::Millpond;
    let mut conn = server.connect();
    conn.cmd("FLUSHALL");
    check_all(&mut conn);
    if millpond {
        check_contract(&mut conn);
    }
    for db in [0, 3, 15] {
        conn.cmd(&format!("SELECT {db}"));
        for n in 0..100 {
            conn.cmd(&format!("SET key:{n} value EX {}", 1000 + n));
        }
    }
    conn.cmd("nosuch");
    conn.cmd("INCR key:1");
    conn.cmd("HELLO 9");
    check_all(&mut conn);
    if millpond {
        check_contract(&mut conn);
    }
    let keyspace = info(&mut conn, "keyspace");
    let databases: Vec<&String> = keyspace[0].1.keys().collect();
    assert_eq!(databases, ["db0", "db15", "db3"]);
    let avg_ttl: f64 =
        keyspace[0].1["db3"].split("avg_ttl=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!((0.0..=1_100_000.0).contains(&avg_ttl), "avg_ttl is in milliseconds: {avg_ttl}");
}

#[test]
fn sections_by_name() {
    let server = Server::start();
    let mut conn = server.connect();
    let names = |sections: Vec<(String, BTreeMap<String, String>)>| {
        sections.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(names(info(&mut conn, "server")), ["Server"]);
    assert_eq!(sorted(names(info(&mut conn, "CPU MEMORY cpu"))), ["CPU", "Memory"]);
    assert!(info(&mut conn, "nosuch").is_empty());
    assert_eq!(names(info(&mut conn, "nosuch Replication")), ["Replication"]);
    assert_eq!(names(info(&mut conn, "commandstats")), ["Commandstats"]);
    assert_eq!(names(info(&mut conn, "latencystats")), ["Latencystats"]);
    let bare = names(parse(conn.cmd("INFO").expect_text()));
    assert_eq!(names(info(&mut conn, "default")), bare);
    assert!(!bare.contains(&"Commandstats".to_owned()));
}

#[test]
fn numbers_move_with_what_happens() {
    let server = Server::start();
    let mut conn = server.connect();
    conn.cmd("CONFIG RESETSTAT");
    let before = server.info();
    let mut others: Vec<Conn> = (0..3).map(|_| server.connect()).collect();
    for other in &mut others {
        other.cmd("PING");
    }
    conn.cmd("SET k v");
    conn.cmd("GET k");
    conn.cmd("GET nope");
    conn.cmd("SET gone v PXAT 1");
    let after = server.info();
    let moved = |field: &str| after.number(field) - before.number(field);
    assert_eq!(moved("connected_clients"), 3);
    assert!(moved("total_connections_received") >= 4);
    assert!(moved("total_commands_processed") >= 7);
    assert!(moved("total_net_input_bytes") > 100);
    assert!(moved("total_net_output_bytes") > 100);
    assert_eq!(moved("keyspace_hits"), 1);
    assert_eq!(moved("keyspace_misses"), 1);
    assert!(after.number("used_memory") > 0);
    assert_eq!(after.get("maxmemory_policy"), Some("noeviction"));
    assert!(after.get("run_id").is_some_and(|id| id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit())));
}
