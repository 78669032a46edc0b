//! What all serving cores share besides the keys.

use crate::clients::Clients;
use crate::events::Events;
use crate::host::Host;
use crate::latency::Latency;
use crate::loader::jobs::Jobs;
use crate::projections::Projections;
use crate::services::Services;
use crate::settings::Settings;
use crate::slowlog::Slowlog;
use crate::stats::WorkerStats;
use core::sync::atomic::{AtomicBool, AtomicU64};
use dashmap::DashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use storage::StoreCounts;

/// Version of Redis that clients are shown. Raised only when every command behind the next threshold exists.
pub const REDIS_VERSION: &str = "7.2.4";
/// Version of Millpond.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The server as commands see it.
pub struct Node {
    /// Settings in force.
    pub settings: Settings,
    /// Clients connected.
    pub clients: Clients,
    /// Commands that took long.
    pub slowlog: Slowlog,
    /// Events that took long.
    pub latency: Latency,
    /// Error replies by their first word.
    pub error_counts: DashMap<&'static str, u64>,
    /// Counters of each core.
    pub workers: Box<[Arc<WorkerStats>]>,
    /// The process around.
    pub host: Box<dyn Host>,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// When the server started, ms since the epoch.
    pub started_ms: u64,
    /// Rates over the last seconds; see [`Rates`].
    pub rates: Rates,
    /// Counts of the store at the last `CONFIG RESETSTAT`: INFO shows what was added since.
    pub counts_before: Mutex<StoreCounts>,
    /// Groups of keys with their policies.
    pub services: Services,
    /// What events of applications revoke.
    pub events: Events,
    /// Kafka topics as keyspaces.
    pub projections: Projections,
    /// Loads for workers.
    pub jobs: Jobs,
    /// The next number of a reader that waits.
    pub tickets: AtomicU64,
    /// Whether the shell's ticks free keys past their deadline; off only for tests (`DEBUG SET-ACTIVE-EXPIRE`).
    pub active_expire: AtomicBool,
}

/// Rates for INFO, refreshed by the shell's 100 ms tick from the counters.
#[derive(Debug, Default)]
pub struct Rates {
    /// Commands a second.
    pub commands: AtomicU64,
    /// Bytes received a second.
    pub input_bytes: AtomicU64,
    /// Bytes sent a second.
    pub output_bytes: AtomicU64,
}

impl Node {
    /// A server with `cores` serving cores.
    pub fn new(settings: Settings, cores: usize, host: Box<dyn Host>, run_id: String, started_ms: u64) -> Self {
        Self {
            settings,
            clients: Clients::default(),
            slowlog: Slowlog::default(),
            latency: Latency::default(),
            error_counts: DashMap::new(),
            workers: (0..cores).map(|_| Arc::new(WorkerStats::default())).collect(),
            host,
            run_id,
            started_ms,
            rates: Rates::default(),
            counts_before: Mutex::default(),
            services: Services::new(cores),
            events: Events::default(),
            projections: Projections::default(),
            jobs: Jobs::default(),
            tickets: AtomicU64::new(1),
            active_expire: AtomicBool::new(true),
        }
    }

    /// A counter summed over all cores.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.workers.iter().map(|worker| counter(worker)).sum()
    }

    /// Counts an error reply.
    #[cold]
    pub fn count_error(&self, word: &'static str) {
        *self.error_counts.entry(word).or_insert(0) += 1;
    }
}
