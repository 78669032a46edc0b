//! What a projection is told: the sections `kafka`, `registries` and `projections` of the configuration file.
//!
//! Checking contacts nobody: a topic or registry that is not there is a state of the projection, not a refusal.

mod check;
mod reading;
mod rules;
mod serve;
mod source;
mod store;
#[cfg(test)]
mod tests;

use crate::errors::Class;
use crate::operand::Operand;
use reading::{duration, five_seconds, text, thirty_seconds};
pub use rules::*;
use serde::{Deserialize, de};
pub use serve::*;
pub use source::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
pub use store::*;

/// The sections of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Clusters by name.
    pub kafka: BTreeMap<String, Cluster>,
    /// Schema registries by name.
    pub registries: BTreeMap<String, Registry>,
    /// Projections by name.
    pub projections: BTreeMap<String, Projection>,
}

/// A Kafka cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Where to begin: `host:port,..`.
    pub bootstrap_servers: String,
    /// Settings of librdkafka, as they are; never shown.
    #[serde(default)]
    pub properties: BTreeMap<String, Secret>,
}

/// A text that may be a secret: `Debug` does not show it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(#[serde(deserialize_with = "text")] pub String);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("***")
    }
}

/// A schema registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Its addresses, tried in order.
    pub url: Vec<String>,
    /// `user:password`.
    #[serde(default)]
    pub basic_auth: Option<Secret>,
    /// For one answer.
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Between two questions for a schema that it does not know.
    #[serde(default = "five_seconds", deserialize_with = "duration")]
    pub negative_ttl: Duration,
    /// A folder where schemas are kept, so that they are known while it is down.
    #[serde(default)]
    pub cache_dir: Option<PathBuf>,
    /// For so long records of an unknown schema are waited for; then they are poison.
    #[serde(default = "thirty_seconds", deserialize_with = "duration")]
    pub unknown_schema_grace: Duration,
}

/// One projection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// What it follows.
    pub source: Source,
    /// What its keys are made of.
    #[serde(default)]
    pub key: Key,
    /// How values are read.
    #[serde(default)]
    pub value: Value,
    /// What they become.
    #[serde(default)]
    pub store: Store,
    /// What values are wrapped in.
    #[serde(default)]
    pub envelope: Envelope,
    /// When entries expire.
    #[serde(default)]
    pub ttl: Option<Ttl>,
    /// Which records count.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Which of several records of one key wins.
    #[serde(default)]
    pub conflict: Conflict,
    /// When it may be read.
    #[serde(default)]
    pub ready: Ready,
    /// What becomes of records that cannot be read.
    #[serde(default)]
    pub errors: Errors,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// How all is read anew.
    #[serde(default)]
    pub rebuild: RebuildMode,
    /// What FLUSHDB and FLUSHALL do.
    #[serde(default)]
    pub flush: Flush,
    /// Where it is served over HTTP.
    #[serde(default)]
    pub http: Option<Http>,
    /// Whether others than its topics write to it.
    #[serde(default)]
    pub local_writes: LocalWrites,
}
