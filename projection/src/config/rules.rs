//! Which records count, for how long, and which of two wins.

use super::reading::{duration, one_day, text};
use crate::operand::Operand;
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;

/// When entries expire.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ttl {
    /// From when it counts.
    #[serde(default)]
    pub from: TtlFrom,
    /// How long.
    #[serde(default, deserialize_with = "duration")]
    pub after: Duration,
    /// What numbers count, where their schema does not say.
    #[serde(default)]
    pub unit: Unit,
}

/// From when a time to live counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TtlFrom {
    /// The record's own time.
    #[default]
    RecordTimestamp,
    /// A time in the record; without it the entry lives for ever.
    Part(Operand),
}

impl<'de> Deserialize<'de> for TtlFrom {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match &*text(from)? {
            "record_timestamp" | "timestamp" => Ok(Self::RecordTimestamp),
            other => part(other).map(Self::Part).map_err(de::Error::custom),
        }
    }
}

/// What numbers that are times count, from 1970 on.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
}

impl Unit {
    /// Microseconds in one.
    pub fn us(self) -> u64 {
        match self {
            Self::Microseconds => 1,
            Self::Milliseconds => 1000,
            Self::Seconds => 1_000_000,
        }
    }
}

/// Which records count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The condition; see [`crate::filter`].
    #[serde(rename = "where")]
    pub condition: String,
    /// What becomes of the others. Records without a value pass always.
    #[serde(default)]
    pub mode: FilterMode,
}

/// What becomes of records that do not pass a filter.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FilterMode {
    /// Their key has no entry.
    #[default]
    View,
    /// Nothing.
    Ignore,
}

/// Which of several records of one key wins: from partitions that were added, of several topics, or of keys that fold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conflict {
    /// What they are judged by.
    pub by: ConflictBy,
    /// For so long it is remembered that a key was deleted, and by which version.
    #[serde(deserialize_with = "duration")]
    pub tombstone_grace: Duration,
}

impl Default for Conflict {
    fn default() -> Self {
        Self { by: ConflictBy::Arrival, tombstone_grace: one_day() }
    }
}

/// What records of one key are judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConflictBy {
    /// The last one that comes wins.
    #[default]
    Arrival,
    /// The one with the latest time of its own.
    Timestamp,
    /// The one with the highest number there.
    Part(Operand),
}

impl<'de> Deserialize<'de> for ConflictBy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match &*text(from)? {
            "arrival" => Ok(Self::Arrival),
            "timestamp" => Ok(Self::Timestamp),
            other => part(other).map(Self::Part).map_err(de::Error::custom),
        }
    }
}

/// A part of records that holds a number: `value.f` or `header.h`, also written `field(f)`.
fn part(text: &str) -> Result<Operand, String> {
    let field = text.strip_prefix("field(").and_then(|rest| rest.strip_suffix(')'));
    match field.map_or_else(|| Operand::parse(text), |field| Operand::parse(&format!("value.{field}")))? {
        operand @ (Operand::Value(_) | Operand::Header(_)) => Ok(operand),
        _ => Err(format!("'{text}' is none of value.f, header.h")),
    }
}
