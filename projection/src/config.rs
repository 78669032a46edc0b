//! What a projection is told: the sections `kafka`, `registries` and `projections` of the configuration file.
//!
//! Checking contacts nobody: a topic or registry that is not there is a state of the projection, not a refusal.

use crate::errors::Class;
use crate::filter;
use crate::mapping::{Template, check_operand};
use crate::operand::Operand;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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

/// Topics of a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The cluster's name.
    pub kafka: String,
    /// All of their partitions are followed.
    pub topics: Vec<String>,
    /// Where reading begins.
    #[serde(default)]
    pub start: Start,
    /// For so long a compacted topic keeps tombstones, where the brokers do not tell.
    #[serde(default = "one_day", deserialize_with = "duration")]
    pub delete_retention: Duration,
}

/// Where reading begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first record there is.
    #[default]
    Beginning,
    /// With the next one that comes.
    End,
    /// So many records before the end of each partition.
    Last(i64),
    /// With the first record of that time or later, ms since the epoch.
    Time(i64),
    /// At these offsets, by partition; at the beginning of others.
    Offsets(BTreeMap<i32, i64>),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("a start is beginning, end, -N, @MS, or a mapping of partitions to offsets");
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(wrong);
        let given = serde_json::Value::deserialize(from)?;
        if let serde_json::Value::Object(offsets) = &given {
            let pair = |(partition, offset): (&String, &serde_json::Value)| {
                let partition = partition.parse().ok().filter(|partition: &i32| *partition >= 0);
                Some((partition?, offset.as_i64().filter(|offset| *offset >= 0)?))
            };
            return offsets.iter().map(pair).collect::<Option<_>>().map(Self::Offsets).ok_or_else(wrong);
        }
        let text = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
        match text.as_bytes() {
            b"beginning" => Ok(Self::Beginning),
            b"end" => Ok(Self::End),
            [b'-', ..] => number(&text[1..]).map(Self::Last),
            [b'@', ..] => number(&text[1..]).map(Self::Time),
            _ => Err(wrong()),
        }
    }
}

/// How a key is read, and what the entry's key is made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Key {
    /// How its bytes are read.
    pub decode: KeyDecode,
    /// Literal text with holes; the text before the first hole is the prefix that the projection owns.
    pub template: String,
    /// Which entry each key became is remembered, so that a tombstone finds it: for keys made of values or headers.
    pub index: bool,
    /// The registry of its schemas, for `avro`.
    pub registry: Option<String>,
    /// Where the id of its schema stands; as for values, if nothing is said.
    pub wire: Option<Wire>,
    /// Files with its schemas, where no registry has them.
    pub schema_files: Vec<PathBuf>,
}

impl Default for Key {
    fn default() -> Self {
        let template = "{key}".to_owned();
        Self { decode: KeyDecode::Utf8, template, index: false, registry: None, wire: None, schema_files: Vec::new() }
    }
}

/// How the bytes of a record's key are read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum KeyDecode {
    /// Text.
    Utf8,
    /// Any bytes, as they are.
    Bytes,
    /// Four bytes, big-endian.
    Int32,
    /// Eight bytes, big-endian.
    Int64,
    /// Sixteen bytes.
    Uuid,
    /// JSON.
    Json,
    /// Avro with the id of a schema in a registry.
    Avro,
}

/// How a value is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Value {
    /// How its bytes are read.
    pub decode: ValueDecode,
    /// The registry of its schemas, for `avro`.
    pub registry: Option<String>,
    /// Where the id of its schema stands.
    pub wire: Wire,
    /// Files with its schemas, where no registry has them.
    pub schema_files: Vec<PathBuf>,
    /// The schema it is read as, whichever it was written with; that one if there is none.
    pub reader: Option<ReaderSchema>,
}

/// A schema that values are read as.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged, deny_unknown_fields)]
pub enum ReaderSchema {
    /// A version of a subject.
    Version {
        /// The subject.
        subject: String,
        /// Its version; `latest` is looked up once per start.
        version: Version,
    },
    /// By id.
    Id {
        /// The id.
        id: u64,
    },
    /// From a file.
    File {
        /// Its path.
        file: PathBuf,
    },
}

/// A version of a subject.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Version {
    /// This one.
    Number(u64),
    /// The last one.
    Latest(Latest),
}

/// The word `latest`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Latest {
    /// The last version.
    Latest,
}

/// How the bytes of a record's value are read.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ValueDecode {
    /// Not at all.
    #[default]
    Raw,
    /// JSON.
    Json,
    /// Avro with the id of a schema in a registry.
    Avro,
}

/// Where the id of a schema stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// As Confluent's serializers write it: in a header if there is one, else before the value.
    #[default]
    Auto,
    /// A zero byte, and four bytes of id.
    Confluent,
    /// A zero byte, and eight bytes of id.
    Apicurio,
    /// A header `__value_schema_id`, or `__key_schema_id`.
    Header,
    /// Avro's single objects: `C3 01` and the schema's fingerprint.
    SingleObject,
    /// Nowhere: all have the schema of the one file.
    None,
}

impl Wire {
    /// Whether schemas come from files.
    pub fn is_of_files(self) -> bool {
        matches!(self, Self::SingleObject | Self::None)
    }
}

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { apply_slice: Duration::from_micros(200), max_record: 8 << 20 }
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

fn etag<'de, D: Deserializer<'de>>(from: D) -> Result<Etag, D::Error> {
    let text = text(from)?;
    match text.split_once(':') {
        None if text == "version" => Ok(Etag::Version),
        Some(("field", name)) if !name.is_empty() => Ok(Etag::Field(name.to_owned())),
        _ => Err(de::Error::custom("an etag is `version` or `field:NAME`")),
    }
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn one_day() -> Duration {
    Duration::from_secs(86_400)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

/// A text, also where YAML reads a number or a truth value.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Ok(text),
        other @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => Ok(other.to_string()),
        _ => Err(de::Error::custom("a text is expected")),
    }
}

/// A whole number that is not negative; the error names what is there instead.
fn number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    let given = serde_json::Value::deserialize(from)?;
    let number = given.as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| de::Error::custom(format!("{given} is no number that can stand there")))
}

/// A number and its unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

const TIMES: &[(&str, u64)] =
    &[("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const SIZES: &[(&str, u64)] = &[("", 1), ("b", 1), ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = text(from)?;
    let us = quantity(&text, TIMES)
        .ok_or_else(|| de::Error::custom(format!("'{text}' is no time such as 200us, 5s, 30d")))?;
    Ok(Duration::from_micros(us))
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let text = text(from)?;
    let bytes = quantity(&text, SIZES).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| de::Error::custom(format!("'{text}' is no size such as 512kb, 8mb")))
}

/// An error of reading without the values that were read: they may be secrets.
fn without_values(error: &str) -> String {
    let (mut safe, mut rest) = (String::new(), error);
    while let Some((before, after)) = rest.split_once("string \"") {
        safe.push_str(before);
        safe.push_str("a text");
        // Quotes within are escaped.
        let mut escaped = false;
        let end = after.find(|c: char| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    safe + rest
}

/// Databases there are.
const DATABASES: u8 = storage::limits::DATABASES as u8;
/// Longest name of a projection.
const MAX_NAME: usize = 64;

impl Document {
    /// Reads the sections and checks all that can be checked without asking anybody. The error is one line.
    pub fn parse(sections: serde_json::Value) -> Result<Self, String> {
        let document: Self = match sections {
            serde_json::Value::Object(sections) => Self::read(sections)?,
            _ => return Err("a mapping is expected".to_owned()),
        };
        for (name, registry) in &document.registries {
            if registry.url.is_empty() {
                return Err(format!("registries: {name}: url: one at least is needed"));
            }
        }
        for (name, projection) in &document.projections {
            projection.check(name, &document).map_err(|reason| format!("projections: {name}: {reason}"))?;
        }
        document.check_overlaps()?;
        document.check_paths()?;
        Ok(document)
    }

    /// Entry by entry, so that an error names the one it is in.
    fn read(sections: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        fn entries<T: de::DeserializeOwned>(
            section: &str,
            value: serde_json::Value,
        ) -> Result<BTreeMap<String, T>, String> {
            let serde_json::Value::Object(entries) = value else {
                return Err(format!("{section}: a mapping of names is expected"));
            };
            let read = |(name, value)| match serde_json::from_value(value) {
                Ok(entry) => Ok((name, entry)),
                Err(error) => Err(format!("{section}: {name}: {}", without_values(&error.to_string()))),
            };
            entries.into_iter().map(read).collect()
        }
        let mut document = Self::default();
        for (section, value) in sections {
            match &*section {
                "kafka" => document.kafka = entries("kafka", value)?,
                "registries" => document.registries = entries("registries", value)?,
                "projections" => document.projections = entries("projections", value)?,
                _ => return Err(format!("{section}: there is no such section")),
            }
        }
        Ok(document)
    }

    /// No two projections are served under paths of which one begins the other.
    fn check_paths(&self) -> Result<(), String> {
        let paths: Vec<_> =
            self.projections.iter().filter_map(|(name, p)| Some((name, &*p.http.as_ref()?.path))).collect();
        for (at, (name, path)) in paths.iter().enumerate() {
            let well_formed =
                path.starts_with('/') && path.len() > 1 && !path.ends_with('/') && !path.contains(['?', '#', '%', ' ']);
            if !well_formed {
                return Err(format!("projections: {name}: http: path: '{path}' is none such as /api/users"));
            }
            let begins =
                |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if let Some((other, _)) = paths[..at].iter().find(|(_, other)| begins(path, other) || begins(other, path)) {
                return Err(format!("projections: {name}: http: its path overlaps that of {other}"));
            }
        }
        Ok(())
    }

    /// No two projections own the same key.
    fn check_overlaps(&self) -> Result<(), String> {
        let owned: Vec<_> = self.projections.iter().map(|(name, p)| (name, p.store.db, p.prefix())).collect();
        for (at, (name, db, prefix)) in owned.iter().enumerate() {
            for (other, other_db, other_prefix) in &owned[..at] {
                if db == other_db && (prefix.starts_with(other_prefix) || other_prefix.starts_with(prefix)) {
                    return Err(format!("projections: {name}: its keys overlap those of {other}"));
                }
            }
        }
        Ok(())
    }
}

impl Projection {
    /// The literal text that all its keys begin with.
    pub fn prefix(&self) -> Vec<u8> {
        Template::parse(&self.key.template).map(|template| template.prefix().to_vec()).unwrap_or_default()
    }

    fn check(&self, name: &str, document: &Document) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            return Err("a name is 1 to 64 letters, digits, '-', '_', '.'".to_owned());
        }
        if !document.kafka.contains_key(&self.source.kafka) {
            return Err(format!("source: there is no cluster '{}' under kafka", self.source.kafka));
        }
        if self.source.topics.is_empty() {
            return Err("source: topics: one at least is needed".to_owned());
        }
        let topics = &self.source.topics;
        if let Some(twice) = topics.iter().enumerate().find(|(at, topic)| topics[..*at].contains(topic)) {
            return Err(format!("source: topics: {} is there twice", twice.1));
        }
        if self.http.as_ref().is_some_and(|http| http.list == List::Scan) && self.key.decode == KeyDecode::Bytes {
            return Err("http: list: ids of any bytes cannot be listed: decode keys otherwise, or list: off".to_owned());
        }
        if self.store.db >= DATABASES {
            return Err(format!("store: db: there are {DATABASES} databases"));
        }
        let template = Template::parse(&self.key.template).map_err(|reason| format!("key: template: {reason}"))?;
        template.check(self.key.decode, self.key.index).map_err(|reason| format!("key: template: {reason}"))?;
        self.check_operands(&template)?;
        self.check_schemas(document)?;
        if self.store.form != Form::Raw && self.value.decode == ValueDecode::Raw {
            return Err("store: as: json and hash need a value that is decoded".to_owned());
        }
        if self.store.form == Form::Raw && self.value.decode != ValueDecode::Raw {
            return Err("store: as: raw keeps a value's bytes: decode it as raw".to_owned());
        }
        let writes_letters = Class::ALL.iter().any(|class| self.policy(*class) == Policy::DeadLetter);
        match &self.errors.dead_letter_topic {
            None if writes_letters => return Err("errors: dead_letter needs a dead_letter_topic".to_owned()),
            Some(topic) if self.source.topics.contains(topic) => {
                return Err("errors: dead_letter_topic: a topic cannot be its own".to_owned());
            }
            _ => {}
        }
        self.check_writes()?;
        if self.envelope == Envelope::Debezium && self.value.decode == ValueDecode::Raw {
            return Err("envelope: debezium needs a value that is decoded".to_owned());
        }
        Ok(())
    }

    /// Whether all parts of records that are named can be had.
    fn check_operands(&self, template: &Template) -> Result<(), String> {
        let mut wrong = None;
        let mut check = |place: &str, operand: &Operand| {
            if let Err(reason) = check_operand(operand, self) {
                wrong.get_or_insert(format!("{place}: {reason}"));
            }
        };
        template.operands().for_each(|operand| check("key: template", operand));
        if let Some(filter) = &self.filter {
            let parsed = filter::Filter::parse(&filter.condition);
            let parsed = parsed.map_err(|reason| format!("filter: where: {reason}"))?;
            parsed.each_operand(&mut |operand| check("filter: where", operand));
        }
        if let Some(Ttl { from: TtlFrom::Part(operand), .. }) = &self.ttl {
            check("ttl: from", operand);
        }
        if let ConflictBy::Part(operand) = &self.conflict.by {
            check("conflict: by", operand);
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Whether what is written locally can be.
    fn check_writes(&self) -> Result<(), String> {
        let kind = match self.local_writes {
            LocalWrites::Deny => return Ok(()),
            LocalWrites::Overlay => "overlay",
            LocalWrites::WriteThrough => "write_through",
        };
        let needs = |what: &str| Err(format!("local_writes: {kind} needs {what}"));
        let is_through = self.local_writes == LocalWrites::WriteThrough;
        let has_id = self.http.as_ref().map(|http| http.id_field.is_some());
        if has_id == Some(false) || is_through && has_id.is_none() {
            return needs("http with an id_field");
        }
        if has_id.is_some() && self.store.form == Form::Raw {
            return needs("values of json or hash");
        }
        if !is_through {
            return Ok(());
        }
        // What is written must be read as what was asked for.
        let is_plain = self.key.template.ends_with("{key}") && self.key.template.matches('{').count() == 1;
        if !is_plain || matches!(self.key.decode, KeyDecode::Json | KeyDecode::Avro) {
            return needs("keys of a prefix and a plain {key}");
        }
        if self.source.topics.len() > 1 || self.envelope != Envelope::None {
            return needs("one topic, of values without an envelope");
        }
        if self.value.decode == ValueDecode::Avro && !matches!(self.value.wire, Wire::Auto | Wire::Confluent) {
            return needs("wire: confluent");
        }
        Ok(())
    }

    /// Where the ids of schemas stand, in keys.
    pub fn key_wire(&self) -> Wire {
        self.key.wire.unwrap_or(self.value.wire)
    }

    /// Whether schemas come from somewhere.
    fn check_schemas(&self, document: &Document) -> Result<(), String> {
        let check = |part: &str, is_avro: bool, wire: Wire, named: &Option<String>, files: &[PathBuf]| {
            let is_known = named.as_ref().is_none_or(|named| document.registries.contains_key(named));
            match named {
                Some(named) if !is_known => Err(format!("{part}: there is no registry '{named}' under registries")),
                _ if !is_avro && !files.is_empty() => Err(format!("{part}: schema_files: only avro has schemas")),
                _ if !is_avro => Ok(()),
                None if !wire.is_of_files() => Err(format!("{part}: avro needs a registry")),
                _ if !wire.is_of_files() && !files.is_empty() => {
                    Err(format!("{part}: schema_files: that wire format has ids of a registry"))
                }
                _ if wire.is_of_files() && files.is_empty() => {
                    Err(format!("{part}: schema_files: that wire format has no ids of a registry"))
                }
                _ if wire == Wire::None && files.len() > 1 => Err(format!("{part}: schema_files: one, without ids")),
                _ => Ok(()),
            }
        };
        let (key, value) = (&self.key, &self.value);
        let is_avro = value.decode == ValueDecode::Avro;
        check("key", key.decode == KeyDecode::Avro, self.key_wire(), &key.registry, &key.schema_files)?;
        check("value", is_avro, value.wire, &value.registry, &value.schema_files)?;
        match &value.reader {
            Some(_) if !is_avro => Err("value: reader: only values of avro have one".to_owned()),
            Some(ReaderSchema::File { .. }) | None => Ok(()),
            Some(_) if value.wire.is_of_files() => Err("value: reader: without a registry it is a file".to_owned()),
            Some(_) => Ok(()),
        }
    }

    /// The policy for a class of poison.
    pub fn policy(&self, class: Class) -> Policy {
        let errors = &self.errors;
        match class {
            Class::NullKey => errors.null_key,
            Class::BadKey => errors.bad_key,
            Class::BadMagic => errors.bad_magic,
            Class::UnknownSchema => errors.unknown_schema,
            Class::Decode => errors.decode,
            Class::TooLarge => errors.too_large,
            // A damaged batch is fetched again and again: passing it takes a hand.
            Class::Crc => Some(Policy::Stop),
        }
        .unwrap_or(errors.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(projection: serde_json::Value) -> Result<Document, String> {
        Document::parse(json!({
            "kafka": {"main": {"bootstrap_servers": "b:9092", "properties": {"sasl.password": "hush", "x.ms": 5}}},
            "registries": {"main": {"url": ["http://sr:8081"], "timeout": "2s"}},
            "projections": {"users": projection},
        }))
    }

    #[test]
    fn the_least_that_is_needed() {
        let document = with(json!({"source": {"kafka": "main", "topics": ["users"]}})).unwrap();
        let users = &document.projections["users"];
        assert_eq!((users.store.form, users.store.db, users.prefix().len()), (Form::Raw, 0, 0));
        assert_eq!(document.registries["main"].timeout, Duration::from_secs(2));
        assert_eq!(document.kafka["main"].properties["x.ms"].0, "5");
        assert!(!format!("{document:?}").contains("hush"), "secrets are not shown");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let source = json!({"kafka": "main", "topics": ["users"]});
        let cases = [
            (json!({}), "missing field `source`"),
            (json!({"source": {"kafka": "other", "topics": ["t"]}}), "no cluster 'other'"),
            (json!({"source": {"kafka": "main", "topics": []}}), "one at least"),
            (json!({"source": source, "speed": 3}), "unknown field `speed`"),
            (json!({"source": source, "store": {"as": "hash"}}), "need a value that is decoded"),
            (json!({"source": source, "value": {"decode": "json"}}), "decode it as raw"),
            (json!({"source": source, "value": {"decode": "avro"}, "store": {"as": "json"}}), "avro needs a registry"),
            (json!({"source": source, "store": {"db": 16}}), "16 databases"),
            (json!({"source": source, "value": {"reader": {"id": 1}}}), "only values of avro"),
            (json!({"source": source, "value": {"reader": {"subject": "s", "version": "last"}}}), "ReaderSchema"),
            (json!({"source": source, "key": {"template": "user:{"}}), "a hole"),
            (json!({"source": source, "key": {"template": "user:{value.id}"}}), "tombstones"),
            (json!({"source": source, "key": {"template": "{value.id}", "index": true}}), "has no parts"),
            (json!({"source": source, "filter": {"where": "value.x = 1"}}), "filter: where: value.x: a value"),
            (json!({"source": source, "filter": {"where": "key ="}}), "filter: where: a part"),
            (json!({"source": source, "filter": {"where": "key.x = 1"}}), "only keys of json and avro"),
            (json!({"source": source, "ttl": {"from": "value.x"}}), "ttl: from: value.x"),
            (json!({"source": source, "ttl": {"from": "key"}}), "none of value.f, header.h"),
            (json!({"source": source, "conflict": {"by": "luck"}}), "'luck' is none of"),
            (json!({"source": source, "conflict": {"by": "field(x)"}}), "conflict: by: value.x"),
            (json!({"source": {"kafka": "main", "topics": ["t"], "start": "middle"}}), "a start is"),
            (json!({"source": {"kafka": "main", "topics": ["t"], "start": {"0": -1}}}), "a start is"),
            (
                json!({"source": source, "value": {"decode": "avro", "wire": "none"}, "store": {"as": "json"}}),
                "schema_files",
            ),
            (json!({"source": source, "value": {"schema_files": ["x"]}}), "only avro"),
            (json!({"source": source, "key": {"template": "user:"}}), "key"),
            (json!({"source": source, "limits": {"max_record": "8 parsecs"}}), "no size"),
            (json!({"source": source, "ttl": {"after": "soon"}}), "no time"),
            (json!({"source": source, "errors": {"decode": "panic"}}), "unknown variant"),
            (json!({"source": source, "errors": {"decode": "dead_letter"}}), "needs a dead_letter_topic"),
            (json!({"source": source, "errors": {"dead_letter_topic": "users"}}), "its own"),
            (
                json!({"source": source, "local_writes": "overlay", "http": {"path": "/u"}}),
                "needs http with an id_field",
            ),
            (json!({"source": source, "local_writes": "write_through"}), "needs http with an id_field"),
            (
                json!({"source": source, "local_writes": "write_through", "http": {"path": "/u", "id_field": "id"},
                    "value": {"decode": "json"}, "store": {"as": "json"}, "key": {"template": "{topic}:{key}"}}),
                "a plain {key}",
            ),
            (
                json!({"source": source, "local_writes": "overlay", "http": {"path": "/u", "id_field": "id"}}),
                "values of json or hash",
            ),
            (json!({"source": source, "http": {"path": "users"}}), "is none such as"),
            (json!({"source": source, "http": {"path": "/u", "etag": "md5"}}), "an etag is"),
        ];
        for (projection, reason) in cases {
            let error = with(projection.clone()).unwrap_err();
            assert!(error.starts_with("projections: users: ") && error.contains(reason), "{projection}: {error}");
        }
        assert!(Document::parse(json!({"kafka": {}, "topics": {}})).unwrap_err().contains("no such section"));
    }

    #[test]
    fn prefixes_do_not_overlap() {
        let projection = |template: &str, db: u8| json!({"source": {"kafka": "main", "topics": ["t"]}, "key": {"template": template}, "store": {"db": db}});
        let both = |a: serde_json::Value, b: serde_json::Value| {
            Document::parse(json!({
                "kafka": {"main": {"bootstrap_servers": "b:9092"}},
                "projections": {"a": a, "b": b},
            }))
        };
        assert!(both(projection("user:{key}", 0), projection("order:{key}", 0)).is_ok());
        assert!(both(projection("user:{key}", 0), projection("user:{key}", 1)).is_ok());
        assert!(both(projection("user:{key}", 0), projection("user:x:{key}", 0)).unwrap_err().contains("overlap"));
        assert!(both(projection("{key}", 0), projection("user:{key}", 0)).unwrap_err().contains("overlap"));
    }

    #[test]
    fn starts() {
        let start = |start: serde_json::Value| {
            let document = with(json!({"source": {"kafka": "main", "topics": ["t"], "start": start}})).unwrap();
            document.projections["users"].source.start.clone()
        };
        assert_eq!((start(json!("beginning")), start(json!("end"))), (Start::Beginning, Start::End));
        assert_eq!((start(json!(-5)), start(json!("@17"))), (Start::Last(5), Start::Time(17)));
        assert_eq!(start(json!({"0": 123})), Start::Offsets([(0, 123)].into()));
    }

    #[test]
    fn units() {
        assert_eq!(quantity("200us", TIMES), Some(200));
        assert_eq!(quantity("24H", TIMES), Some(86_400_000_000));
        assert_eq!(quantity("5", TIMES), None);
        assert_eq!(quantity("99999999999999999999s", TIMES), None);
        assert_eq!(quantity("8mb", SIZES), Some(8 << 20));
        assert_eq!(quantity("18446744073709551615gb", SIZES), None);
    }
}
