//! What a projection is fed by, and what it asks of that: the seam between the engine and a broker, real or scripted.

use std::time::Duration;

/// A record as it lies in the log.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'r> {
    /// The topic, by its place in the configuration.
    pub topic: usize,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its own time, ms since the epoch; negative if it has none.
    pub time_ms: i64,
    /// Its key.
    pub key: Option<&'r [u8]>,
    /// Its value; without one it is a tombstone.
    pub value: Option<&'r [u8]>,
    /// Its headers.
    pub headers: Headers<'r>,
}

/// A header: its name, and its value.
pub type Header<'r> = (&'r str, Option<&'r [u8]>);

/// The headers of a record. Most are never asked for, and finding out that there are none takes a sixth of all work on a record.
#[derive(Clone, Copy)]
pub enum Headers<'r> {
    /// These.
    Known(&'r [Header<'r>]),
    /// Those that are gathered when somebody asks.
    Lazy(&'r dyn Gather),
}

/// Gathers the headers of a record.
pub trait Gather {
    /// All of them, in order.
    fn gathered(&self) -> &[Header<'_>];
}

impl<'r> Headers<'r> {
    /// All of them, in order.
    pub fn all(self) -> &'r [Header<'r>] {
        match self {
            Self::Known(all) => all,
            Self::Lazy(headers) => headers.gathered(),
        }
    }

    /// The value of the last one of that name, if it has one.
    pub fn last(self, name: &str) -> Option<&'r [u8]> {
        self.all().iter().rev().find(|(known, _)| *known == name).and_then(|(_, value)| *value)
    }
}

impl core::fmt::Debug for Headers<'_> {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        to.debug_list().entries(self.all()).finish()
    }
}

/// A record that cannot be read, as it is written to the topic of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its topic, by its place in the configuration, and its partition.
    pub at: (usize, i32),
    /// Its offset.
    pub offset: i64,
    /// Its time, ms since the epoch.
    pub time_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, and those that say what was wrong.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No broker can be reached.
    AllDown,
    /// The offset asked for lies outside the log.
    OutOfRange {
        /// The topic.
        topic: usize,
        /// Its partition.
        partition: i32,
    },
    /// A batch came damaged.
    Damaged {
        /// The topic.
        topic: usize,
        /// Its partition.
        partition: i32,
        /// Where it lies.
        offset: i64,
    },
    /// Something that passes by itself, or that concerns nobody here.
    Passing,
}

/// What a source tells.
#[derive(Debug)]
pub enum Event<'e> {
    /// A record.
    Record(RawRecord<'e>),
    /// Everything below that offset was told.
    End {
        /// The topic.
        topic: usize,
        /// Its partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// The end of what open transactions do not hide, told from time to time.
    StableEnd {
        /// The topic.
        topic: usize,
        /// Its partition.
        partition: i32,
        /// The end.
        offset: i64,
    },
    /// Bytes that were fetched and are not told yet, told from time to time.
    Queued(u64),
    /// Something went wrong.
    Trouble(Trouble, String),
}

/// Who tells what lies in the partitions assigned to it.
pub trait Source {
    /// Waits so long for an event and tells it; whether there was one.
    fn poll(&mut self, wait: Duration, tell: &mut dyn FnMut(Event<'_>)) -> bool;

    /// Begins a partition at an offset, or goes on there. Refused, nothing of it is told: it is to be tried again.
    fn assign(&mut self, topic: usize, partition: i32, offset: i64) -> Result<(), String>;

    /// Tells nothing of a partition from now on.
    fn pause(&mut self, topic: usize, partition: i32);

    /// Goes on with a paused partition at an offset; see [`assign`](Self::assign).
    fn resume(&mut self, topic: usize, partition: i32, offset: i64) -> Result<(), String>;

    /// Begins as at first: nothing is assigned, and nothing comes of what was. Refused, it goes on as before.
    fn renew(&mut self) -> Result<(), String>;
}

/// A topic as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTopic {
    /// Another one after it was deleted and made anew; empty where the brokers have no ids.
    pub id: String,
    /// Its partitions from 0 on: first offset, and the one after the last.
    pub partitions: Vec<(i64, i64)>,
    /// The first offset of the time asked for, by partition; empty if none was.
    pub at_time: Vec<i64>,
    /// How it is cleaned, if that was asked.
    pub cleaning: Option<Cleaning>,
}

/// How a topic is cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// It keeps the last record of each key alone.
    pub compacts: bool,
    /// For so long it keeps tombstones then, ms; `None` where the brokers do not tell.
    pub delete_retention_ms: Option<u64>,
}
