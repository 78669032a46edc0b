//! What is followed, and how keys and values are read.

use super::reading::{duration, one_day};
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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
