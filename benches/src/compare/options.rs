//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::error::{Error, Result, fail};
use crate::server::{Place, Recipe};

/// What can be measured, in the order it runs.
pub const SCENARIOS: [&str; 14] = [
    "throughput",
    "memory",
    "memory-sweep",
    "idle",
    "stall",
    "stampede",
    "revoke",
    "tag-revokes",
    "scan",
    "churn",
    "overshoot",
    "stale",
    "big-keyspace",
    "pauses",
];

#[derive(Debug, Clone)]
pub struct Options {
    /// The first is ours, the others are its peers.
    pub recipes: Vec<Recipe>,
    pub scenarios: Vec<&'static str>,
    pub seed: u64,
    pub keys: u64,
    pub value_size: usize,
    pub connections: usize,
    pub depths: Vec<usize>,
    pub rounds: usize,
    pub duration: Duration,
    /// Open loop at this many requests per second instead of saturation.
    pub rate: Option<f64>,
    /// A second pass at this share (0..1) of the slowest server's maximum.
    pub equal_rate: Option<f64>,
    /// Share (0..1) of reads that find nothing.
    pub miss_share: f64,
    pub memory_keys: u64,
    pub mixed_values: bool,
    pub settle: Duration,
    pub idle_connections: usize,
    pub stall_rate: f64,
    pub stampede_clients: usize,
    pub stampede_load: Duration,
    /// Per second.
    pub tag_revoke_rate: u64,
    pub churn_keys: u64,
    /// Bytes.
    pub overshoot_limit: u64,
    pub stale_rate: f64,
    pub stale_time: Duration,
    /// The longest TTL.
    pub stale_ttl: Duration,
    pub big_keys: u64,
    pub pause_keys: u64,
    pub server_core: usize,
    pub generator_core: usize,
    pub json: Option<PathBuf>,
    /// The command line as given.
    pub invocation: String,
}

fn command() -> Command {
    fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(value_parser!(u64).range(0..))
            .help(help)
    }
    fn real(name: &'static str, help: &'static str) -> Arg {
        Arg::new(name).long(name).value_name("X").value_parser(value_parser!(f64)).help(help)
    }
    fn flag(name: &'static str, help: &'static str) -> Arg {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    }
    Command::new("compare")
        .about("Measures servers side by side: CPU per request, latency, memory, stalls. The first server is ours, the others its peers.")
        .arg(
            Arg::new("server")
                .long("server")
                .value_name("NAME=COMMAND")
                .action(ArgAction::Append)
                .required(true)
                .help("A server to measure; NAME begins with millpond, valkey, redis or memcached, which tells the flags to add"),
        )
        .next_help_heading("Scenarios (default: throughput)")
        .arg(flag("throughput", "SET and GET at each depth: CPU per request, rate, latency"))
        .arg(flag("memory", "Resident bytes per key beyond key and value, with and without a TTL"))
        .arg(flag("memory-sweep", "The same at 8 sizes over one doubling: mean and maximum"))
        .arg(flag("idle", "Cost of idle connections: bytes each, and the slowdown of busy ones"))
        .arg(flag("stall", "Latency of a steady client while KEYS, SCAN, DEL of all keys and FLUSHALL run"))
        .arg(flag("stampede", "Clients that ask for one absent or stale key at once: loads, requests, time to the value"))
        .arg(flag("revoke", "Groups of keys made absent, beside a steady client: CACHE.REVOKE, or SCAN and UNLINK"))
        .arg(flag("tag-revokes", "GET beside a steady stream of CACHE.REVOKE TAG, of keys without and with tags"))
        .arg(flag("scan", "SCAN under concurrent writes: missing and repeated keys"))
        .arg(flag("churn", "Resident bytes per key after every key was written anew four times, sizes 8 to 192 B"))
        .arg(flag("overshoot", "Memory above maxmemory while new keys come at full speed, values of 64 B and 1 MiB"))
        .arg(flag("stale", "Expired keys not yet reclaimed, without and with a connection looping SCAN"))
        .arg(flag("big-keyspace", "GET at depths 16 and 64 over many keys: what prefetching saves"))
        .arg(flag("pauses", "Time of single commands inside a growing server that was built to measure it"))
        .arg(flag("all", "Every scenario"))
        .next_help_heading("Traffic")
        .arg(number("seed", "20260", "Seed of keys, values and the order of requests"))
        .arg(number("keys", "1000000", "Keys stored; requests are uniform over them"))
        .arg(number("value-size", "64", "Bytes per value"))
        .arg(number("connections", "50", "Busy connections"))
        .arg(
            Arg::new("depths")
                .long("depths")
                .value_name("N,..")
                .value_delimiter(',')
                .default_value("1,16,64")
                .value_parser(value_parser!(u64).range(1..=10_000))
                .help("Pipeline depths"),
        )
        .arg(number("rounds", "7", "Interleaved rounds"))
        .arg(real("seconds", "Seconds per measured cell [default: 3]"))
        .arg(real("rate", "Open loop at this many requests per second instead of saturation"))
        .arg(real("equal-rate", "Then measure again with all at this percentage of the slowest server's maximum"))
        .arg(real("miss-percent", "Percentage of reads that find nothing [default: 0]"))
        .next_help_heading("Other scenarios")
        .arg(number("memory-keys", "3000000", "Keys of the memory scenario; the sweep goes from here to the double"))
        .arg(flag("mixed-values", "Memory also with values of value-size -7 ..= +8 bytes in turn"))
        .arg(real("settle", "Seconds of steady memory before it is read [default: 10]"))
        .arg(number("idle-connections", "10000", "Idle connections"))
        .arg(real("stall-rate", "Requests per second of the steady client [default: 20000]"))
        .arg(number("stampede-clients", "10000", "Clients of the stampede scenario"))
        .arg(number("stampede-load-ms", "100", "Time that a load takes in it"))
        .arg(number("tag-revoke-rate", "10000", "Revokes per second in the tag-revokes scenario"))
        .arg(number("churn-keys", "3000000", "Keys of the churn scenario"))
        .arg(number("overshoot-limit", "256", "MiB of memory in the overshoot scenario"))
        .arg(real("stale-rate", "Writes per second in the stale scenario [default: 20000]"))
        .arg(real("stale-seconds", "Length of it [default: 60]"))
        .arg(real("stale-ttl", "Longest TTL in it, in seconds; the shortest is 1 [default: 30]"))
        .arg(number("big-keys", "10000000", "Keys of the big-keyspace and revoke scenarios; 50 million of them take a server 6 GB or more"))
        .arg(number("pause-keys", "50000000", "Keys of the pauses scenario"))
        .next_help_heading("Machine and output")
        .arg(number("server-core", "0", "Core of the servers"))
        .arg(number("generator-core", "1", "Core of the load generator"))
        .arg(
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write the raw results here"),
        )
        .arg(flag("quick", "A smoke run: 2 rounds of 0.5 s, 100,000 keys, 300,000 for memory, 1 s to settle, a stampede of 500"))
}

impl Options {
    pub fn from_args() -> Result<Self> {
        let invocation = std::env::args().skip(1).map(|arg| quoted(&arg)).collect::<Vec<_>>().join(" ");
        Self::from_matches(&command().get_matches(), invocation)
    }

    fn from_matches(matches: &ArgMatches, invocation: String) -> Result<Self> {
        let quick = matches.get_flag("quick");
        let number = |name: &str, when_quick: u64| match matches.value_source(name) {
            Some(ValueSource::DefaultValue) if quick => when_quick,
            _ => *matches.get_one::<u64>(name).expect("every number has a default"),
        };
        let plain = |name: &str| *matches.get_one::<u64>(name).expect("every number has a default");
        let real = |name: &str| matches.get_one::<f64>(name).copied();
        let recipes = matches
            .get_many::<String>("server")
            .into_iter()
            .flatten()
            .map(|text| Recipe::parse(text))
            .collect::<Result<Vec<_>>>()?;
        let mut scenarios: Vec<_> =
            SCENARIOS.into_iter().filter(|name| matches.get_flag("all") || matches.get_flag(name)).collect();
        if scenarios.is_empty() {
            scenarios.push("throughput");
        }
        let options = Self {
            recipes,
            scenarios,
            seed: plain("seed"),
            keys: number("keys", 100_000),
            value_size: plain("value-size") as usize,
            connections: plain("connections") as usize,
            depths: matches.get_many::<u64>("depths").into_iter().flatten().map(|&depth| depth as usize).collect(),
            rounds: number("rounds", 2) as usize,
            duration: seconds("seconds", real("seconds").unwrap_or(if quick { 0.5 } else { 3.0 }))?,
            rate: real("rate"),
            equal_rate: real("equal-rate").map(|percent| percent / 100.0),
            miss_share: real("miss-percent").unwrap_or(0.0) / 100.0,
            memory_keys: number("memory-keys", 300_000),
            mixed_values: matches.get_flag("mixed-values"),
            settle: seconds("settle", real("settle").unwrap_or(if quick { 1.0 } else { 10.0 }))?,
            idle_connections: number("idle-connections", 1000) as usize,
            stall_rate: real("stall-rate").unwrap_or(20_000.0),
            stampede_clients: number("stampede-clients", 500) as usize,
            stampede_load: Duration::from_millis(plain("stampede-load-ms")),
            tag_revoke_rate: plain("tag-revoke-rate"),
            churn_keys: number("churn-keys", 300_000),
            overshoot_limit: number("overshoot-limit", 64) << 20,
            stale_rate: real("stale-rate").unwrap_or(20_000.0),
            stale_time: seconds("stale-seconds", real("stale-seconds").unwrap_or(if quick { 10.0 } else { 60.0 }))?,
            stale_ttl: seconds("stale-ttl", real("stale-ttl").unwrap_or(if quick { 5.0 } else { 30.0 }))?,
            big_keys: number("big-keys", 1_000_000),
            pause_keys: number("pause-keys", 1_000_000),
            server_core: plain("server-core") as usize,
            generator_core: plain("generator-core") as usize,
            json: matches.get_one::<PathBuf>("json").cloned(),
            invocation,
        };
        options.check()?;
        Ok(options)
    }

    /// Where servers run, and for how many connections: idle ones and those of a stampede only when they are measured.
    pub fn place(&self) -> Place {
        /// Control, filling and heavy commands, with room.
        const OTHERS: usize = 64;
        let when = |scenario, count| if self.scenarios.contains(&scenario) { count } else { 0 };
        let many = when("idle", self.idle_connections).max(when("stampede", self.stampede_clients));
        Place { core: self.server_core, connections: many + self.connections + OTHERS, memory_limit: None }
    }

    fn check(&self) -> Result<()> {
        for (index, recipe) in self.recipes.iter().enumerate() {
            if self.recipes[..index].iter().any(|other| other.name == recipe.name) {
                fail!("two servers are named {}", recipe.name);
            }
        }
        let positive = |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value > 0.0);
        let checks = [
            (self.keys >= 1 && self.keys <= 1 << 30, "--keys must be 1..=2^30"),
            (self.memory_keys >= 2_000, "--memory-keys must be at least 2,000"),
            ((1..=1 << 20).contains(&self.value_size), "--value-size must be 1..=1048576"),
            (!self.mixed_values || self.value_size >= 8, "--mixed-values needs --value-size of at least 8"),
            ((1..=10_000).contains(&self.connections), "--connections must be 1..=10000"),
            (self.rounds >= 1, "--rounds must be at least 1"),
            ((0.0..0.99).contains(&self.miss_share), "--miss-percent must be in 0..99"),
            (positive(self.rate), "--rate must be above 0"),
            (positive(self.equal_rate), "--equal-rate must be above 0"),
            (positive(Some(self.stall_rate)), "--stall-rate must be above 0"),
            // All of one address' ports, less those that others may hold.
            ((1..=25_000).contains(&self.stampede_clients), "--stampede-clients must be 1..=25000"),
            // Leases and locks last 10 s.
            (self.stampede_load <= Duration::from_secs(5), "--stampede-load-ms must be at most 5000"),
            ((1_000..=1_000_000).contains(&self.tag_revoke_rate), "--tag-revoke-rate must be 1000..=1000000"),
            (self.churn_keys >= 2_000, "--churn-keys must be at least 2,000"),
            ((16 << 20..1 << 40).contains(&self.overshoot_limit), "--overshoot-limit must be 16..1048576"),
            ((500.0..=1e6).contains(&self.stale_rate), "--stale-rate must be 500..=1000000"),
            (self.stale_ttl >= Duration::from_secs(2), "--stale-ttl must be at least 2"),
            (self.stale_time > self.stale_ttl, "--stale-seconds must be above --stale-ttl"),
            ((1_000..=1 << 30).contains(&self.pause_keys), "--pause-keys must be 1000..=2^30"),
            ((1_000..=1 << 30).contains(&self.big_keys), "--big-keys must be 1000..=2^30"),
            (self.rate.is_none() || self.equal_rate.is_none(), "--rate and --equal-rate exclude each other"),
            (self.server_core != self.generator_core, "servers and generator need a core each"),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, text)) => Err(Error::new(text)),
            None => Ok(()),
        }
    }
}

fn seconds(name: &str, value: f64) -> Result<Duration> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if value > 0.0 => Ok(duration),
        _ => fail!("--{name} must be above 0"),
    }
}

/// The argument as a shell would take it back.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+%@".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        let args = ["compare", "--server", "millpond=a", "--server", "valkey=b"].iter().chain(args);
        Options::from_matches(
            &command().try_get_matches_from(args).map_err(|error| Error::new(error.to_string()))?,
            String::new(),
        )
    }

    #[test]
    fn quick_changes_defaults_and_never_what_was_asked_for() {
        assert_eq!(parse(&[]).unwrap().keys, 1_000_000);
        let quick = parse(&["--quick", "--keys", "5"]).unwrap();
        assert_eq!((quick.keys, quick.rounds, quick.scenarios), (5, 2, vec!["throughput"]));
        assert_eq!(parse(&["--all"]).unwrap().scenarios, SCENARIOS);
        assert_eq!(parse(&["--quick", "--stampede"]).unwrap().stampede_clients, 500);
    }

    #[test]
    fn servers_take_the_connections_of_what_is_measured() {
        let connections = |args: &[&str]| parse(args).unwrap().place().connections;
        let busy = connections(&[]);
        assert_eq!(connections(&["--stampede", "--stampede-clients", "700"]), busy + 700);
        assert_eq!(connections(&["--stampede", "--idle", "--stampede-clients", "700"]), busy + 10_000);
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            &["--keys", "0"][..],
            &["--rate", "1", "--equal-rate", "60"],
            &["--server", "valkey=c"],
            &["--seconds", "0"],
            &["--stampede-clients", "0"],
            &["--stampede-load-ms", "9000"],
            &["--tag-revoke-rate", "10"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
