//! Settings: one table, the texts in force, and the typed copies that hot paths read.

use arc_swap::ArcSwapOption;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};

/// Settings in force.
#[derive(Debug, Default)]
pub struct Settings {
    /// Typed copies of live settings.
    pub live: Live,
}

/// Typed copies of the live settings, read with relaxed loads by hot paths.
#[derive(Debug, Default)]
pub struct Live {
    /// `slowlog-log-slower-than`, microseconds; negative = off.
    pub slowlog_slower_than_us: AtomicI64,
    /// `slowlog-max-len`, entries.
    pub slowlog_max_len: AtomicUsize,
    /// `latency-tracking`.
    pub latency_tracking: AtomicBool,
    /// `latency-monitor-threshold`, ms; 0 = off.
    pub latency_threshold_ms: AtomicU64,
    /// `maxclients`.
    pub max_clients: AtomicU64,
    /// `timeout`, seconds; 0 = never.
    pub timeout_s: AtomicU64,
    /// `proto-max-bulk-len`, bytes.
    pub max_bulk_bytes: AtomicUsize,
    /// `client-query-buffer-limit`, bytes.
    pub query_buffer_bytes: AtomicUsize,
    /// `client-output-buffer-limit normal`: hard limit, bytes; 0 = none.
    pub output_hard_bytes: AtomicUsize,
    /// The same: soft limit, bytes; 0 = none.
    pub output_soft_bytes: AtomicUsize,
    /// The same: seconds above the soft limit.
    pub output_soft_s: AtomicU64,
    /// `requirepass`; none = no login needed.
    pub password: ArcSwapOption<Vec<u8>>,
}
