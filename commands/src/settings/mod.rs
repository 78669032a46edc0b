//! Settings: one table ([`table`]), the values in force, and the typed copies that hot paths read ([`Live`]).
//!
//! Promises: a value in force always passed its row's checks; several changes happen together or not at all. Refuses:
//! files, environment, flags (the shell reads those and calls [`Settings::start`]).

pub mod kind;
pub mod table;

use arc_swap::ArcSwapOption;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use kind::{Refusal, Value};
use parking_lot::RwLock;
use std::fmt;
use storage::{Overflow, Policy, Store, glob};
use table::{Class, SETTINGS, Setting};

/// Settings in force.
#[derive(Debug)]
pub struct Settings {
    /// Typed copies of live settings.
    pub live: Live,
    /// By row.
    values: RwLock<Box<[Value]>>,
}

/// Typed copies of the live settings, read with relaxed loads by hot paths.
#[derive(Debug, Default)]
pub struct Live {
    /// `maxmemory`, bytes; 0 = no limit.
    pub max_memory_bytes: AtomicU64,
    /// `revoke-overflow`, by index of its choices.
    pub revoke_overflow: AtomicU8,
    /// `origin-max-value`, bytes.
    pub origin_value_bytes: AtomicUsize,
    /// `memo-max-payload`, bytes.
    pub memo_bytes: AtomicUsize,
    /// `swr-side-memory`, bytes.
    pub side_bytes: AtomicUsize,
    /// `maxmemory-policy`: index in [`Policy::NAMES`].
    pub policy: AtomicU8,
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
    /// `tcp-keepalive`, seconds; 0 = off.
    pub tcp_keepalive_s: AtomicU64,
    /// `protected-mode`.
    pub protected_mode: AtomicBool,
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

/// Why a setting was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The name that was given.
    pub name: Vec<u8>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such setting.
    Unknown,
    /// It cannot take another value (now).
    Immutable,
    /// The same setting twice in one change.
    Duplicate,
    /// The text is no value of it.
    Value(Refusal),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown setting",
            Self::Immutable => "can't set immutable config",
            Self::Duplicate => "duplicate parameter",
            Self::Value(refusal) => refusal,
        })
    }
}

impl Default for Settings {
    /// Every setting at its default.
    fn default() -> Self {
        let values = SETTINGS.iter().map(Setting::default_value).collect();
        let settings = Self { live: Live::default(), values: RwLock::new(values) };
        for (row, value) in SETTINGS.iter().zip(&*settings.values.read()) {
            (row.apply)(&settings.live, value);
        }
        settings
    }
}

impl Settings {
    /// The value of a setting as `CONFIG GET` shows it. Bytes that are no UTF-8 are replaced.
    ///
    /// # Panics
    /// When the table has no such setting: names are constants of the caller.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.value(name).text()).into_owned()
    }

    /// The value of a numeric setting.
    ///
    /// # Panics
    /// As [`text`](Self::text).
    pub fn number(&self, name: &str) -> i64 {
        self.value(name).number()
    }

    /// Whether a `yes`/`no` setting is on.
    ///
    /// # Panics
    /// As [`text`](Self::text).
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name).is_on()
    }

    fn value(&self, name: &str) -> Value {
        let (at, _) = table::find(name.as_bytes()).unwrap_or_else(|| panic!("no setting is called {name}"));
        self.values.read()[at].clone()
    }

    /// Changes one setting while the server runs.
    pub fn set(&self, name: &[u8], text: &[u8]) -> Result<(), SettingError> {
        self.set_all(&[(name, text)]).map(drop)
    }

    /// Changes several settings while the server runs, all or none: the rows that changed or were set again. Errors
    /// are found in Redis' order: names first, then values.
    pub fn set_all(&self, pairs: &[(&[u8], &[u8])]) -> Result<Vec<&'static Setting>, SettingError> {
        let mut values = self.values.write();
        let error = |name: &[u8], reason| Err(SettingError { name: name.to_vec(), reason });
        let mut named: Vec<(usize, &str)> = Vec::with_capacity(pairs.len());
        for (name, text) in pairs {
            let Some((at, known_as)) = table::find(name) else { return error(name, Reason::Unknown) };
            let row = &SETTINGS[at];
            if !row.class.is_settable() && row.kind.parse(text, None).as_ref() != Ok(&values[at]) {
                return error(known_as.as_bytes(), Reason::Immutable);
            }
            if named.contains(&(at, known_as)) {
                return error(known_as.as_bytes(), Reason::Duplicate);
            }
            named.push((at, known_as));
        }
        let mut parsed: Vec<(usize, Value)> = Vec::with_capacity(pairs.len());
        for ((at, known_as), (_, text)) in named.into_iter().zip(pairs) {
            match SETTINGS[at].kind.parse(text, Some(&values[at])) {
                Ok(value) => parsed.push((at, value)),
                Err(refusal) => return error(known_as.as_bytes(), Reason::Value(refusal)),
            }
        }
        let mut changed = Vec::with_capacity(parsed.len());
        for (at, value) in parsed {
            self.put(&mut values, at, value);
            if SETTINGS[at].class.is_settable() {
                changed.push(&SETTINGS[at]);
            }
        }
        Ok(changed)
    }

    /// Gives a setting its value before the server runs: also those that cannot be changed later, but a fixed one only
    /// the value it has.
    pub fn start(&self, name: &str, text: &[u8]) -> Result<(), Reason> {
        let (at, _) = table::find(name.as_bytes()).ok_or(Reason::Unknown)?;
        let mut values = self.values.write();
        let value = SETTINGS[at].kind.parse(text, Some(&values[at])).map_err(Reason::Value)?;
        if SETTINGS[at].class == Class::Fixed && value != values[at] {
            return Err(Reason::Immutable);
        }
        self.put(&mut values, at, value);
        Ok(())
    }

    /// Notes what the shell made of a setting (the path of its directory), so that `CONFIG GET` tells.
    ///
    /// # Panics
    /// When there is no such setting or the text is no value of it: both come from the caller's own code.
    pub fn record(&self, name: &str, text: &str) {
        let (at, _) = table::find(name.as_bytes()).unwrap_or_else(|| panic!("no setting is called {name}"));
        let mut values = self.values.write();
        let value = SETTINGS[at].kind.parse(text.as_bytes(), Some(&values[at]));
        self.put(&mut values, at, value.unwrap_or_else(|refusal| panic!("{name} {text}: {refusal}")));
    }

    fn put(&self, values: &mut [Value], at: usize, value: Value) {
        (SETTINGS[at].apply)(&self.live, &value);
        values[at] = value;
    }

    /// Names (aliases too) that match one of the patterns, with the texts in force: each once, in the table's order,
    /// all of one instant. A name asked for without a glob is spelled as it was asked for.
    pub fn matching<'p>(&self, patterns: &[&'p [u8]]) -> Vec<(&'p [u8], Vec<u8>)> {
        let values = self.values.read();
        let mut found: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (row, value) in SETTINGS.iter().zip(&**values) {
            for name in row.names().map(str::as_bytes) {
                if let Some(pattern) = patterns.iter().find(|pattern| glob::matches(pattern, name, true)) {
                    let literal = pattern.eq_ignore_ascii_case(name);
                    found.push((if literal { *pattern } else { name }, value.text()));
                }
            }
        }
        found
    }

    /// Tells the store the memory limits and the policy in force. At start, and after one of them changed.
    pub fn apply_memory(&self, store: &Store) {
        store.set_side_limit(self.live.side_bytes.load(Ordering::Relaxed));
        let memory = store.memory();
        memory.set_policy(self.live.policy());
        memory.set_limit(self.live.max_memory_bytes.load(Ordering::Relaxed));
    }

    /// `maxmemory_policy` as INFO shows it: without a limit nothing is evicted, whatever the setting says.
    pub fn effective_policy(&self) -> Policy {
        match self.live.max_memory_bytes.load(Ordering::Relaxed) {
            0 => Policy::NoEviction,
            _ => self.live.policy(),
        }
    }
}

impl Live {
    /// `revoke-overflow`.
    pub fn overflow(&self) -> Overflow {
        match self.revoke_overflow.load(Ordering::Relaxed) {
            0 => Overflow::Widen,
            1 => Overflow::WidenAll,
            _ => Overflow::Reject,
        }
    }

    /// `maxmemory-policy`.
    pub fn policy(&self) -> Policy {
        Policy::NAMES[usize::from(self.policy.load(Ordering::Relaxed))].1
    }
}

#[cfg(test)]
mod tests;
