//! The settings, one row each: from it come CONFIG GET and SET, flags, environment variables, the configuration file,
//! and docs/CONFIG.md.

use super::Live;
use super::kind::{Kind, MAX, MAX_INT, Value};
use core::sync::atomic::Ordering::Relaxed;
use std::borrow::Cow;
use std::sync::Arc;
use storage::Policy;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name, as in redis.conf.
    pub name: &'static str,
    /// Other names it answers to.
    pub aliases: &'static [&'static str],
    /// When it may be changed.
    pub class: Class,
    /// What it may hold.
    pub kind: Kind,
    /// Its value unless something else is said.
    pub default: &'static str,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// Copies a new value to where hot paths read it.
    pub apply: fn(&Live, &Value),
}

/// When a setting may be changed, and to what effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Given at the start; later only shown.
    Start,
    /// At any time, with effect at once.
    Live,
    /// At any time, stored and returned without effect: clients and tools set it, this server has no use for it.
    Kept,
    /// Never: it has one value, which may be given again.
    Fixed,
}

impl Class {
    /// Whether `CONFIG SET` may change it.
    pub fn is_settable(self) -> bool {
        matches!(self, Self::Live | Self::Kept)
    }

    /// The word for it in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Live => "live",
            Self::Kept => "kept",
            Self::Fixed => "fixed",
        }
    }
}

impl Setting {
    /// All its names, the main one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The environment variable that gives it.
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    /// The same for each of its names, the main one first.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        self.names().map(variable)
    }

    /// Its value unless something else is said.
    ///
    /// # Panics
    /// When the default is no value of its kind; a test parses all of them.
    pub fn default_value(&self) -> Value {
        self.kind.parse(self.default.as_bytes(), None).unwrap_or_else(|refusal| panic!("{}: {refusal}", self.name))
    }

    /// Whether its value must not be shown in logs and errors.
    pub fn is_secret(&self) -> bool {
        self.name == "requirepass"
    }

    /// What it may hold, for help and documentation.
    pub fn placeholder(&self) -> Cow<'static, str> {
        self.kind.placeholder()
    }

    const fn or(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn to(mut self, apply: fn(&Live, &Value)) -> Self {
        self.apply = apply;
        self
    }
}

fn variable(name: &str) -> String {
    format!("MILLPOND_{}", name.to_uppercase().replace('-', "_"))
}

/// The row of this name or alias, in any case: its place, and the name as the table spells it.
pub fn find(name: &[u8]) -> Option<(usize, &'static str)> {
    SETTINGS.iter().enumerate().find_map(|(at, row)| {
        let spelled = row.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((at, spelled))
    })
}

const fn row(class: Class, name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting { name, aliases: &[], class, kind, default, doc, apply: |_, _| {} }
}

const fn start(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    row(Class::Start, name, kind, default, doc)
}

const fn live(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    row(Class::Live, name, kind, default, doc)
}

const fn kept(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    row(Class::Kept, name, kind, default, doc)
}

const fn fixed(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    row(Class::Fixed, name, kind, default, doc)
}

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn bytes(min: i64, max: i64) -> Kind {
    Kind::Bytes { min, max }
}

/// Least value of settings that bound what a client may send: below it nothing useful gets through.
const MEBIBYTE: i64 = 1 << 20;
/// Most bytes of one argument: what the protocol and the store can hold.
const MAX_BULK: i64 = {
    let (wire, stored) = (protocol::limits::MAX_BULK_BYTES, storage::limits::MAX_VALUE_BYTES);
    if wire < stored { wire as i64 } else { stored as i64 }
};

/// In the order of [`super::Live::overflow`].
const OVERFLOWS: [&str; 3] = ["widen", "widen-all", "reject"];

fn apply_overflow(live: &Live, value: &Value) {
    if let Value::Choice(word) = value
        && let Some(at) = OVERFLOWS.iter().position(|known| known == word)
    {
        live.revoke_overflow.store(at as u8, Relaxed);
    }
}

/// The policies' names in Redis' order, which its error text shows.
const POLICIES: [&str; Policy::NAMES.len()] = {
    let order: [Policy; Policy::NAMES.len()] = [
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
        Policy::AllKeysLru,
        Policy::AllKeysLfu,
        Policy::AllKeysRandom,
        Policy::NoEviction,
    ];
    let mut names = [""; Policy::NAMES.len()];
    let mut at = 0;
    while at < order.len() {
        names[at] = Policy::NAMES[order[at] as usize].0;
        at += 1;
    }
    names
};

/// A name that is no policy changes nothing.
fn apply_policy(live: &Live, value: &Value) {
    if let Value::Choice(name) = value
        && let Some(index) = Policy::NAMES.iter().position(|(known, _)| known == name)
    {
        live.policy.store(index as u8, Relaxed);
    }
}

fn apply_output_limits(live: &Live, value: &Value) {
    if let Value::OutputLimits([normal, ..]) = value {
        live.output_hard_bytes.store(normal.hard_bytes as usize, Relaxed);
        live.output_soft_bytes.store(normal.soft_bytes as usize, Relaxed);
        live.output_soft_s.store(normal.soft_s, Relaxed);
    }
}

fn apply_password(live: &Live, value: &Value) {
    if let Value::Text(password) = value {
        live.password.store((!password.is_empty()).then(|| Arc::new(password.clone())));
    }
}

const ENCODING: &str = "Bound of a compact encoding in Redis; values here have one encoding of each kind.";
const LAZY: &str = "Memory is always given back in small steps here.";
const DEBUG_FROM: &[&str] = &["no", "yes", "local"];

/// All settings, in the order `CONFIG GET *` and docs/CONFIG.md show them.
pub const SETTINGS: &[Setting] = &[
    start("config", Kind::Text, "", "YAML file with settings, one `name: value` a line. Given by flag or variable only."),
    start("bind", Kind::Words, "127.0.0.1 -::1", "Addresses to listen on; `*` is every IPv4 address, `::*` every IPv6 address. A `-` in front: not an error if the address does not exist."),
    start("port", integer(0, 65535), "6379", "TCP port; 0 = none."),
    start("unixsocket", Kind::Text, "", "Path of a Unix socket to listen on; empty = none."),
    start("unixsocketperm", Kind::Permissions, "0", "Permissions of the Unix socket; 0 = as the umask says."),
    start("tcp-backlog", integer(1, MAX_INT), "511", "Connections the kernel may hold before they are accepted."),
    start("threads", integer(0, 1024), "0", "Serving threads; 0 = one for each processor.").or(&["io-threads"]),
    start("logformat", Kind::Choice(&["text", "json"]), "text", "Form of the log lines on standard error."),
    start("enable-debug-command", Kind::Choice(DEBUG_FROM), "no", "Who may use DEBUG; `local` = only connections from this machine."),
    live("protected-mode", Kind::Switch, "yes", "Refuses connections from other machines while there is no password.")
        .to(|live, value| live.protected_mode.store(value.is_on(), Relaxed)),
    live("tcp-keepalive", integer(0, MAX_INT), "300", "Seconds of silence after which the kernel asks whether a peer is still there; 0 = never. For connections made from then on.")
        .to(|live, value| live.tcp_keepalive_s.store(value.number() as u64, Relaxed)),
    live("timeout", integer(0, MAX_INT), "0", "Seconds after which a connection that sends nothing is closed; 0 = never.")
        .to(|live, value| live.timeout_s.store(value.number() as u64, Relaxed)),
    live("maxclients", integer(1, u32::MAX as i64), "10000", "Connections at one time.")
        .to(|live, value| live.max_clients.store(value.number() as u64, Relaxed)),
    live("requirepass", Kind::Text, "", "Password every connection must give first; empty = none.").to(apply_password),
    live("loglevel", Kind::Choice(&["debug", "verbose", "notice", "warning", "nothing"]), "notice", "The least important lines that are logged."),
    live("maxmemory", bytes(0, MAX), "0", "Bytes that keys, values and connections may take; 0 = no limit.")
        .to(|live, value| live.max_memory_bytes.store(value.number() as u64, Relaxed)),
    live("swr-side-memory", bytes(0, MAX), "64mb", "Bytes that leases and waiting readers may take; past them new ones are refused.")
        .to(|live, value| live.side_bytes.store(value.number() as usize, Relaxed)),
    live("memo-max-payload", bytes(0, MAX_BULK), "1mb", "Longest payload of SWR.MEMO.")
        .to(|live, value| live.memo_bytes.store(value.number() as usize, Relaxed)),
    start("http-port", integer(0, 65_535), "0", "Port for HTTP on the same addresses: memoised calls, actions, health; 0 = none."),
    start("origin-allow", Kind::Text, "", "Origins that values may be loaded from, host:port each; empty = none."),
    start("origin-allow-net", Kind::Text, "", "Networks their addresses must lie in, such as 10.0.0.0/8; empty = any but those that are never allowed."),
    live("origin-max-value", bytes(1, MAX_BULK), "8mb", "Longest value that is loaded from an origin.")
        .to(|live, value| live.origin_value_bytes.store(value.number() as usize, Relaxed)),
    live("revoke-overflow", Kind::Choice(&OVERFLOWS), "widen", "What CACHE.REVOKE does where its log has no room until the sweeper has passed: revoke more than was asked for (`widen-all`: up to all keys), or reply BUSYREVOKE.")
        .to(apply_overflow),
    live("maxmemory-policy", Kind::Choice(&POLICIES), "noeviction", "What happens at `maxmemory`: writes are refused, or keys are evicted. `lru` and `lfu` select the same engine; `volatile` spares keys without expiry.")
        .to(apply_policy),
    live("proto-max-bulk-len", bytes(MEBIBYTE, MAX_BULK), "512mb", "Most bytes of one argument or value.")
        .to(|live, value| live.max_bulk_bytes.store(value.number() as usize, Relaxed)),
    live("client-query-buffer-limit", bytes(MEBIBYTE, MAX), "1gb", "Most bytes of a connection's requests that may wait to be run.")
        .to(|live, value| live.query_buffer_bytes.store(value.number() as usize, Relaxed)),
    live("client-output-buffer-limit", Kind::OutputLimits, "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60", "Most bytes of replies that may wait for a connection of class `normal`: at once, and for some seconds. 0 = no limit. Other classes are stored.")
        .to(apply_output_limits),
    live("slowlog-log-slower-than", integer(-1, MAX), "10000", "Microseconds from which on a command enters the slow log; -1 = none does.")
        .to(|live, value| live.slowlog_slower_than_us.store(value.number(), Relaxed)),
    live("slowlog-max-len", integer(0, MAX), "128", "Entries of the slow log.")
        .to(|live, value| live.slowlog_max_len.store(value.number() as usize, Relaxed)),
    live("latency-tracking", Kind::Switch, "yes", "Keeps a histogram of the latencies of each command.")
        .to(|live, value| live.latency_tracking.store(value.is_on(), Relaxed)),
    live("latency-monitor-threshold", integer(0, MAX), "0", "Milliseconds from which on LATENCY keeps an event; 0 = off.")
        .to(|live, value| live.latency_threshold_ms.store(value.number() as u64, Relaxed)),
    kept("notify-keyspace-events", Kind::Events, "", "Classes of keyspace events to publish. Stored; there is no publish/subscribe yet."),
    kept("tracking-table-max-keys", integer(0, MAX), "1000000", "Keys remembered for client-side caches. Stored; there is no tracking yet."),
    kept("busy-reply-threshold", integer(0, MAX), "5000", "Milliseconds after which a script counts as stuck. Stored; there are no scripts yet.").or(&["lua-time-limit"]),
    kept("maxmemory-samples", integer(1, 64), "5", "Keys Redis compares for one eviction; the engine here does not sample."),
    kept("lfu-log-factor", integer(0, MAX_INT), "10", "Slope of Redis' use counter; the engine here counts uses exactly, up to a few."),
    kept("lfu-decay-time", integer(0, MAX_INT), "1", "Minutes in which Redis' use counter falls; the engine here ages by itself."),
    kept("hz", integer(0, MAX_INT), "10", "Rounds a second of Redis' maintenance; the pace here follows the load."),
    kept("dynamic-hz", Kind::Switch, "yes", "Whether Redis adapts `hz`."),
    kept("active-expire-effort", integer(1, 10), "1", "How eagerly Redis looks for expired keys; they are found in order of their deadlines here."),
    kept("activedefrag", Kind::Switch, "no", "Redis' defragmentation."),
    kept("activerehashing", Kind::Switch, "yes", "Redis' rehashing in idle time; tables here grow segment by segment."),
    kept("lazyfree-lazy-eviction", Kind::Switch, "no", LAZY),
    kept("lazyfree-lazy-expire", Kind::Switch, "no", LAZY),
    kept("lazyfree-lazy-server-del", Kind::Switch, "no", LAZY),
    kept("lazyfree-lazy-user-del", Kind::Switch, "no", LAZY),
    kept("lazyfree-lazy-user-flush", Kind::Switch, "no", LAZY),
    kept("replica-lazy-flush", Kind::Switch, "no", LAZY).or(&["slave-lazy-flush"]),
    kept("hash-max-listpack-entries", integer(0, MAX), "512", ENCODING).or(&["hash-max-ziplist-entries"]),
    kept("hash-max-listpack-value", bytes(0, MAX), "64", ENCODING).or(&["hash-max-ziplist-value"]),
    kept("zset-max-listpack-entries", integer(0, MAX), "128", ENCODING).or(&["zset-max-ziplist-entries"]),
    kept("zset-max-listpack-value", bytes(0, MAX), "64", ENCODING).or(&["zset-max-ziplist-value"]),
    kept("set-max-listpack-entries", integer(0, MAX), "128", ENCODING),
    kept("set-max-listpack-value", bytes(0, MAX), "64", ENCODING),
    kept("set-max-intset-entries", integer(0, MAX), "512", ENCODING),
    kept("list-max-listpack-size", integer(-MAX_INT - 1, MAX_INT), "-2", ENCODING).or(&["list-max-ziplist-size"]),
    kept("list-compress-depth", integer(0, MAX_INT), "0", ENCODING),
    kept("replica-read-only", Kind::Switch, "yes", "Whether replicas refuse writes.").or(&["slave-read-only"]),
    kept("stop-writes-on-bgsave-error", Kind::Switch, "yes", "Nothing is saved in the background here."),
    kept("appendfsync", Kind::Choice(&["everysec", "always", "no"]), "everysec", "There is no append-only file."),
    fixed("databases", integer(1, MAX_INT), "16", "Number of databases."),
    fixed("dir", Kind::Text, ".", "Working directory; CONFIG GET shows the path."),
    fixed("cluster-enabled", Kind::Switch, "no", "Redis Cluster's protocol is not spoken."),
    fixed("save", Kind::Words, "", "No snapshots: this is a cache."),
    fixed("appendonly", Kind::Switch, "no", "No append-only file: this is a cache."),
    fixed("daemonize", Kind::Switch, "no", "The process stays in the foreground."),
    fixed("logfile", Kind::Text, "", "The log goes to standard error."),
];
