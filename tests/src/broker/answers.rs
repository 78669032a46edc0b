//! What the scripted broker answers to each kind of request, in the versions that it advertises.
//!
//! Answers are functions of the topics as they are at that moment; waiting, lying and closing are the connection's.

use super::log::{Fetched, Log};
use super::wire::{Answer, Asked};
use std::collections::BTreeMap;

/// The kinds of requests that are answered, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// Records from an offset on.
    Fetch = 1,
    /// Where logs begin and end.
    ListOffsets = 2,
    /// Topics, partitions, brokers.
    Metadata = 3,
    /// Who coordinates a group.
    FindCoordinator = 10,
    /// Versions of requests.
    ApiVersions = 18,
}

impl Api {
    /// All of them.
    pub const ALL: [Api; 5] = [Api::Fetch, Api::ListOffsets, Api::Metadata, Api::FindCoordinator, Api::ApiVersions];

    /// The one with that number.
    pub fn numbered(number: i16) -> Option<Api> {
        Api::ALL.into_iter().find(|api| *api as i16 == number)
    }
}

/// The only broker's number.
pub const NODE: i32 = 1;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;

/// A topic.
#[derive(Debug)]
pub struct Topic {
    /// Another one for each time it is made.
    pub id: [u8; 16],
    /// Kafka's error code in what is told of it; 0 = none.
    pub error: i16,
    /// Its partitions.
    pub partitions: Vec<Log>,
}

/// The topics, and what clients are told of the rest.
#[derive(Debug, Default)]
pub struct Topics {
    /// By name.
    pub named: BTreeMap<String, Topic>,
    /// Where the broker listens.
    pub port: u16,
    /// Topics have ids that clients are told of.
    pub has_ids: bool,
}

/// A request's head.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What is asked.
    pub api: Api,
    /// In which version.
    pub version: i16,
    /// What the answer is to be recognised by.
    pub correlation: i32,
}

impl Head {
    /// Reads it, and leaves the rest; `None` if it is nothing that was advertised.
    pub fn read(asked: &mut Asked<'_>) -> Option<Head> {
        let (number, version, correlation) = (asked.int16()?, asked.int16()?, asked.int32()?);
        let api = Api::numbered(number)?;
        let head = Head { api, version, correlation };
        asked.text()?; // The client's name, never compact.
        asked.is_flexible = head.is_flexible();
        asked.tags()?;
        Some(head)
    }

    fn is_flexible(self) -> bool {
        self.api == Api::Metadata && self.version >= 9 || self.api == Api::ApiVersions && self.version >= 3
    }
}

impl Topics {
    /// The answer, after its correlation; `None` if the request makes no sense.
    pub fn answer(&self, head: Head, asked: &mut Asked<'_>) -> Option<Answer> {
        match head.api {
            Api::Fetch => self.fetch(asked),
            Api::ListOffsets => self.list_offsets(asked),
            Api::Metadata => self.metadata(head, asked),
            Api::FindCoordinator => {
                let mut answer = Answer::new(false);
                answer.int16(0);
                self.write_broker(&mut answer);
                Some(answer)
            }
            Api::ApiVersions => Some(self.api_versions(head.version)),
        }
    }

    fn write_broker(&self, to: &mut Answer) {
        to.int32(NODE);
        to.text("127.0.0.1");
        to.int32(self.port.into());
    }

    fn api_versions(&self, version: i16) -> Answer {
        let mut answer = Answer::new(false);
        answer.int16(if version == 0 { 0 } else { UNSUPPORTED_VERSION });
        let metadata = if self.has_ids { 12 } else { 4 };
        // Nobody may produce; that it is there says that batches have format 2.
        let versions = [(0, 3, 3), (1, 4, 4), (2, 2, 2), (3, 4, metadata), (10, 0, 0), (18, 0, 0)];
        answer.count(versions.len());
        for (api, from, to) in versions {
            [api, from, to].into_iter().for_each(|number| answer.int16(number));
        }
        answer
    }

    fn metadata(&self, head: Head, asked: &mut Asked<'_>) -> Option<Answer> {
        let version = head.version;
        let mut names = Vec::new();
        match asked.count()? {
            None => names.extend(self.named.keys().cloned()),
            Some(count) => {
                for _ in 0..count {
                    if version >= 10 {
                        asked.take(16)?;
                    }
                    names.push(asked.text()?);
                    asked.tags()?;
                }
            }
        }
        let mut to = Answer::new(head.is_flexible());
        // Answers to flexible requests have tags in their heads.
        to.tags();
        to.int32(0);
        to.count(1);
        self.write_broker(&mut to);
        to.null_text();
        to.tags();
        to.text("scripted");
        to.int32(NODE);
        to.count(names.len());
        for name in &names {
            self.write_topic(name, version, &mut to);
        }
        if (8..=10).contains(&version) {
            to.int32(i32::MIN);
        }
        to.tags();
        Some(to)
    }

    fn write_topic(&self, name: &str, version: i16, to: &mut Answer) {
        let topic = self.named.get(name);
        to.int16(topic.map_or(UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error));
        to.text(name);
        if version >= 10 {
            to.raw(&topic.map_or([0; 16], |topic| topic.id));
        }
        to.bool(false);
        let partitions = topic.map_or(0, |topic| topic.partitions.len());
        to.count(partitions);
        for number in 0..partitions as i32 {
            to.int16(0);
            to.int32(number);
            to.int32(NODE);
            if version >= 7 {
                to.int32(0);
            }
            to.int32s(&[NODE]);
            to.int32s(&[NODE]);
            if version >= 5 {
                to.int32s(&[]);
            }
            to.tags();
        }
        if version >= 8 {
            to.int32(i32::MIN);
        }
        to.tags();
    }

    fn log(&self, topic: &str, partition: i32) -> Option<&Log> {
        self.named.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    fn list_offsets(&self, asked: &mut Asked<'_>) -> Option<Answer> {
        let (_, is_committed) = (asked.int32()?, asked.int8()? == 1);
        let mut to = Answer::new(false);
        to.int32(0);
        let topics = asked.count()??;
        to.count(topics);
        for _ in 0..topics {
            let topic = asked.text()?;
            to.text(&topic);
            let partitions = asked.count()??;
            to.count(partitions);
            for _ in 0..partitions {
                let (partition, time_ms) = (asked.int32()?, asked.int64()?);
                to.int32(partition);
                let log = self.log(&topic, partition);
                to.int16(if log.is_some() { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
                to.int64(-1);
                to.int64(log.and_then(|log| offset_of(log, time_ms, is_committed)).unwrap_or(-1));
            }
        }
        Some(to)
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Option<Answer> {
        let fetch = Fetch::read(asked)?;
        let mut to = Answer::new(false);
        to.int32(0);
        to.count(fetch.topics.len());
        let mut left = fetch.most;
        for (topic, partitions) in &fetch.topics {
            to.text(topic);
            to.count(partitions.len());
            for (partition, from, most) in partitions {
                to.int32(*partition);
                let got = match self.log(topic, *partition) {
                    Some(log) => log.fetch(*from, fetch.is_committed, (*most).min(left)),
                    None => Fetched { error: UNKNOWN_TOPIC_OR_PARTITION, ..Fetched::default() },
                };
                left = left.saturating_sub(got.bytes.len());
                to.int16(got.error);
                to.int64(got.end);
                to.int64(got.stable_end);
                to.count(got.aborted.len());
                for aborted in &got.aborted {
                    to.int64(aborted.producer);
                    to.int64(aborted.first);
                }
                to.int32(got.bytes.len() as i32);
                to.raw(&got.bytes);
            }
        }
        Some(to)
    }
}

/// First and last offset are asked for as times below zero.
fn offset_of(log: &Log, time_ms: i64, is_committed: bool) -> Option<i64> {
    let end = if is_committed { log.stable_end() } else { log.end };
    let (start, end) = log.claims.unwrap_or((log.start, end));
    match time_ms {
        -1 => Some(end),
        -2 => Some(start),
        time_ms => log.offset_at(time_ms),
    }
}

/// A partition, an offset of it, and most bytes.
type Place = (i32, i64, usize);

/// What is fetched.
#[derive(Debug)]
pub struct Fetch {
    /// For so long the answer may wait for records.
    pub wait_ms: u64,
    most: usize,
    is_committed: bool,
    /// By topic.
    topics: Vec<(String, Vec<Place>)>,
}

impl Fetch {
    /// Reads it; `None` if it makes no sense.
    pub fn read(asked: &mut Asked<'_>) -> Option<Fetch> {
        let [_, wait, _, most] = [asked.int32()?, asked.int32()?, asked.int32()?, asked.int32()?];
        let size = |bytes: i32| usize::try_from(bytes).ok();
        let (wait_ms, most, is_committed) = (u64::try_from(wait).ok()?, size(most)?, asked.int8()? == 1);
        let mut topics = Vec::new();
        for _ in 0..asked.count()?? {
            let (name, mut partitions) = (asked.text()?, Vec::new());
            for _ in 0..asked.count()?? {
                partitions.push((asked.int32()?, asked.int64()?, size(asked.int32()?)?));
            }
            topics.push((name, partitions));
        }
        Some(Fetch { wait_ms, most, is_committed, topics })
    }

    /// Whether there is anything to tell: records, or an error.
    pub fn finds(&self, topics: &Topics) -> bool {
        let mut asked = self.topics.iter().flat_map(|(topic, list)| list.iter().map(move |at| (topic, at)));
        asked.any(|(topic, (partition, from, _))| {
            let got = topics.log(topic, *partition).map(|log| log.fetch(*from, self.is_committed, 1));
            got.is_none_or(|got| got.error != 0 || !got.bytes.is_empty())
        })
    }
}
