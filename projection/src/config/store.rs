//! What entries become.

use super::reading::number;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What an entry holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Its database.
    #[serde(deserialize_with = "number")]
    pub db: u8,
    /// Its form.
    #[serde(rename = "as")]
    pub form: Form,
    /// Which fields a hash gets.
    pub fields: Fields,
    /// What fields within fields become.
    pub nested: Nested,
    /// What a field without a value becomes.
    pub nulls: Nulls,
    /// Fields of a hash that a record says nothing of stay.
    pub merge: bool,
}

/// The form of an entry.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A string of the value's bytes.
    #[default]
    Raw,
    /// A string of JSON.
    Json,
    /// A hash of its fields.
    Hash,
}

/// Which fields of a record become fields of a hash.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// These alone; all if there are none.
    pub include: Vec<String>,
    /// New names by old ones.
    pub rename: BTreeMap<String, String>,
}

/// What a record within a record becomes in a hash.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Nested {
    /// Fields of their own, `outer.inner`.
    #[default]
    Dot,
    /// One field of JSON.
    Json,
}

/// What a field of a hash without a value becomes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Nulls {
    /// None.
    #[default]
    Omit,
    /// An empty string.
    Empty,
}

/// What values are wrapped in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Envelope {
    /// Nothing.
    #[default]
    None,
    /// Debezium's `op`, `before`, `after`.
    Debezium,
}
