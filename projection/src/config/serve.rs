//! When a projection is read and rebuilt, what is done with what cannot be read, and how it is served over HTTP.

use super::reading::{duration, etag, number, size};
use serde::Deserialize;
use std::time::Duration;

/// How all is read anew while readers go on.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RebuildMode {
    /// Entries are replaced one by one; those that did not come again go at the end.
    #[default]
    Sweep,
    /// Nothing changes until all was read.
    Shadow,
}

/// What FLUSHDB and FLUSHALL do to a database with a projection.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Flush {
    /// Nothing: they are refused.
    #[default]
    Refuse,
    /// They empty it; the projection reads all anew, and its keys are refused meanwhile.
    Rebuild,
}

/// When a projection may be read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ready {
    /// What readers get before it has caught up.
    pub before_ready: BeforeReady,
    /// For so long an open transaction at the end of a partition is waited for.
    #[serde(deserialize_with = "duration")]
    pub open_txn_wait: Duration,
    /// What happens then.
    pub pinned: Pinned,
    /// Older than that it counts as stale.
    #[serde(deserialize_with = "duration")]
    pub max_staleness: Duration,
    /// What readers get of a stale one.
    pub on_stale: OnStale,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            before_ready: BeforeReady::Loading,
            open_txn_wait: Duration::from_secs(60),
            pinned: Pinned::Serve,
            max_staleness: Duration::from_secs(30),
            on_stale: OnStale::Flag,
        }
    }
}

/// What readers get before a projection has caught up.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BeforeReady {
    /// An error.
    #[default]
    Loading,
    /// What is there so far.
    Serve,
}

/// What happens when an open transaction keeps a partition from its end.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Pinned {
    /// It is served without what comes after, and says so.
    #[default]
    Serve,
    /// It is waited for.
    Wait,
}

/// What readers get of a stale projection.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnStale {
    /// What is there.
    Serve,
    /// The same; INFO and HTTP say so.
    #[default]
    Flag,
    /// An error.
    Error,
}

/// What becomes of records that cannot be read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Errors {
    /// For classes that are not named.
    pub default: Policy,
    /// A record without a key.
    pub null_key: Option<Policy>,
    /// A key that is not what it should be.
    pub bad_key: Option<Policy>,
    /// A value that does not begin as its wire format says.
    pub bad_magic: Option<Policy>,
    /// A schema that no registry knows.
    pub unknown_schema: Option<Policy>,
    /// A value that its schema does not fit.
    pub decode: Option<Policy>,
    /// A record above the limit.
    pub too_large: Option<Policy>,
    /// The topic of dead letters.
    pub dead_letter_topic: Option<String>,
    /// What the old value of its key becomes.
    pub poison_key: PoisonKey,
    /// How many of the last ones are kept.
    #[serde(deserialize_with = "number")]
    pub ring: usize,
}

impl Default for Errors {
    fn default() -> Self {
        Self {
            default: Policy::Skip,
            null_key: None,
            bad_key: None,
            bad_magic: None,
            unknown_schema: None,
            decode: None,
            too_large: None,
            dead_letter_topic: None,
            poison_key: PoisonKey::KeepOld,
            ring: 1000,
        }
    }
}

/// What happens to a record that cannot be read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is counted and passed over.
    Skip,
    /// It is written to the topic of dead letters, then passed over.
    DeadLetter,
    /// Its partition stands until it is skipped by hand.
    Stop,
}

/// What becomes of the old value of a key whose new record cannot be read.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum PoisonKey {
    /// It stays.
    #[default]
    KeepOld,
    /// It is removed.
    Delete,
    /// It is not shown: readers get an error, until a record of the key is read again.
    Error,
}

/// Bounds of one projection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// For so long others wait while records are applied.
    #[serde(deserialize_with = "duration")]
    pub apply_slice: Duration,
    /// Longer records are poison.
    #[serde(deserialize_with = "size")]
    pub max_record: usize,
    /// Most bytes of its entries, and of what it remembers beside them; 0 = no bound but the server's.
    #[serde(deserialize_with = "size")]
    pub max_memory: usize,
    /// What it does where there is no memory for more, its own or the server's.
    pub on_oom: OnOom,
}

/// What a projection does where there is no memory for more.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnOom {
    /// It waits, and goes on by itself.
    #[default]
    Pause,
    /// It is paused, as if by hand.
    Stop,
}

impl Default for Limits {
    fn default() -> Self {
        Self { apply_slice: Duration::from_micros(200), max_record: 8 << 20, max_memory: 0, on_oom: OnOom::Pause }
    }
}

/// Where and how a projection is served over HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Its path, such as `/api/users`.
    pub path: String,
    /// For how long caches may keep an answer.
    #[serde(default, deserialize_with = "duration")]
    pub cache_max_age: Duration,
    /// What its ETags are made of: `version`, or `field:NAME`.
    #[serde(default, deserialize_with = "etag")]
    pub etag: Etag,
    /// Whether its ids are listed.
    #[serde(default)]
    pub list: List,
    /// Most ids on one page; 0 = no bound.
    #[serde(default, deserialize_with = "number")]
    pub list_max: usize,
    /// The field of a value that is its id, for what is posted.
    #[serde(default)]
    pub id_field: Option<String>,
}

/// Whether others than its topics write to a projection.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LocalWrites {
    /// No.
    #[default]
    Deny,
    /// Over HTTP and by clients, to this server alone, until the topic says otherwise.
    Overlay,
    /// Over HTTP, to the topic.
    WriteThrough,
}

/// What an ETag is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Etag {
    /// The record that the entry was made of: another one after each change.
    #[default]
    Version,
    /// A field of the value.
    Field(String),
}

/// Whether ids are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// By a walk over all keys of the database.
    #[default]
    Scan,
    /// Not at all.
    Off,
}
