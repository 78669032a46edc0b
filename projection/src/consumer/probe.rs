//! Looks at topics: whether they are there, which they are, where their logs end.

use super::coded::{self, code_of, meaning};
use super::{Queue, Quiet, Taken, client_config, end_beside, refused};
use crate::config::Cluster;
use crate::source::{Cleaning, FoundTopic};
use core::ffi::{CStr, c_int};
use core::ptr::{NonNull, null};
use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use std::ffi::CString;
use std::time::Duration;

/// Longest log that is believed: sums of them do not overflow.
const MAX_OFFSET: i64 = 1 << 48;

/// Of a refusal's text: a broker says some of it.
const MAX_REFUSAL_CHARS: usize = 400;

/// Looks at topics with a client of its own, which sees uncommitted records: ends are those of the log.
pub struct Probe {
    config: ClientConfig,
    // Before the client it belongs to.
    queue: Queue,
    consumer: BaseConsumer<Quiet>,
    /// Why brokers do not let it in, or it does not trust them; empty = nothing of that kind.
    refusal: String,
}

/// What is asked beside a topic's partitions and id.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// Where this time is, ms since the epoch.
    pub time_ms: Option<i64>,
    /// How it is cleaned.
    pub cleaning: bool,
}

/// What a look found.
pub enum Looked {
    /// It is there.
    Found(FoundTopic),
    /// It is not.
    Missing(String),
    /// Nobody could be asked.
    Down(String),
}

impl Probe {
    /// A probe of a cluster; contacts nobody yet.
    pub fn new(cluster: &Cluster) -> Result<Self, String> {
        let mut config = client_config(cluster)?;
        config.remove("group.id");
        config.set("isolation.level", "read_uncommitted").set("allow.auto.create.topics", "false");
        Self::with(config)
    }

    fn with(config: ClientConfig) -> Result<Self, String> {
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(refused)?;
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_get_main(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).ok_or("the client has no queue")?;
        Ok(Self { config, queue: Queue(queue), consumer, refusal: String::new() })
    }

    /// Goes on with another client: one that no broker answers may have forgotten where they are.
    pub fn renew(&mut self) -> Result<(), String> {
        let mut fresh = Self::with(self.config.clone())?;
        fresh.refusal.clone_from(&self.refusal);
        end_beside(core::mem::replace(self, fresh))
    }

    /// Hears what the client told since it was last asked. Kept is what no repetition heals: a login or a certificate that is
    /// refused, TLS towards who has none. Answers say no more than that nobody could be asked, and the client tells it only from time
    /// to time.
    fn hear(&mut self) {
        loop {
            // SAFETY: the queue is alive.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), 0) };
            let Some(event) = NonNull::new(event).map(Taken) else { return };
            match event.error() {
                (Code::Authentication | Code::SSL, text) => {
                    self.refusal = text.chars().take(MAX_REFUSAL_CHARS).collect()
                }
                (Code::BrokerTransportFailure, text) if text.contains("PLAINTEXT broker listener") => {
                    self.refusal = text
                }
                (Code::BrokerTransportFailure, _) => self.refusal.clear(),
                _ => {}
            }
        }
    }

    /// Looks at a topic; waits for each answer so long at most.
    pub fn look(&mut self, topic: &str, want: Want, wait: Duration) -> Looked {
        let looked = self.ask(topic, want, wait);
        self.hear();
        match looked {
            Looked::Down(reason) if !self.refusal.is_empty() => Looked::Down(format!("{reason}; {}", self.refusal)),
            Looked::Down(_) => looked,
            _ => {
                self.refusal.clear();
                looked
            }
        }
    }

    fn ask(&self, topic: &str, want: Want, wait: Duration) -> Looked {
        let down = |reason: &str| Looked::Down(format!("topic {topic}: {reason}"));
        let missing = || Looked::Missing(format!("topic {topic} is not there"));
        let Ok(name) = CString::new(topic) else { return missing() };
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        let count = match self.partition_count(&name, wait_ms) {
            Ok(count) => count,
            Err((Code::UnknownTopicOrPartition | Code::UnknownTopic, _)) => return missing(),
            Err((_, reason)) => return down(&reason),
        };
        let mut partitions = Vec::new();
        for partition in 0..count {
            match self.ends(&name, partition, wait_ms) {
                Ok((low, high)) if (0..=high).contains(&low) && high <= MAX_OFFSET => partitions.push((low, high)),
                Ok((low, high)) => {
                    return down(&format!("partition {partition} cannot begin at {low} and end at {high}"));
                }
                Err(reason) => return down(&reason),
            }
        }
        if partitions.is_empty() {
            return Looked::Missing(format!("topic {topic} has no partitions yet"));
        }
        let at_time = match want.time_ms {
            None => Vec::new(),
            Some(time_ms) => match self.at_time(topic, &partitions, time_ms, wait) {
                Ok(offsets) => offsets,
                Err(reason) => return down(&reason),
            },
        };
        let cleaning = if want.cleaning { self.cleaning(topic, wait) } else { None };
        // Brokers that have no ids, or tell none.
        let id = self.topic_id(topic, wait).unwrap_or_default();
        Looked::Found(FoundTopic { id, partitions, at_time, cleaning })
    }

    /// How many partitions a topic has.
    fn partition_count(&self, topic: &CStr, wait_ms: c_int) -> Result<c_int, (Code, String)> {
        let client = self.consumer.client().native_ptr();
        let failed = |number| Err((code_of(number), meaning(number)));
        // SAFETY: what is made here is given back below, after it was read; the topic's error is read as the number it is, and
        // its name, which may be no text, is not: only one was asked for.
        unsafe {
            let only = sys::rd_kafka_topic_new(client, topic.as_ptr(), core::ptr::null_mut());
            if only.is_null() {
                return Err((Code::InvalidTopic, "the client refuses its name".to_owned()));
            }
            let mut found = null();
            let error = coded::rd_kafka_metadata(client, 0, only, &mut found, wait_ms);
            sys::rd_kafka_topic_destroy(only);
            if error != 0 || found.is_null() {
                return failed(error);
            }
            let told = match (*found).topic_cnt {
                1 => match (&raw const (*(*found).topics).err).cast::<c_int>().read() {
                    0 => Ok((*(*found).topics).partition_cnt),
                    error => failed(error),
                },
                count => Err((Code::Unknown, format!("a broker told of {count} topics"))),
            };
            sys::rd_kafka_metadata_destroy(found);
            told
        }
    }

    /// Where a partition begins and ends.
    fn ends(&self, topic: &CStr, partition: i32, wait_ms: c_int) -> Result<(i64, i64), String> {
        let client = self.consumer.client().native_ptr();
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, and both places are.
        let error = unsafe {
            let topic = topic.as_ptr();
            coded::rd_kafka_query_watermark_offsets(client, topic, partition, &mut low, &mut high, wait_ms)
        };
        if error == 0 { Ok((low, high)) } else { Err(meaning(error)) }
    }

    /// The first offset of a time or later, by partition; its end where all is older.
    fn at_time(
        &self,
        topic: &str,
        partitions: &[(i64, i64)],
        time_ms: i64,
        wait: Duration,
    ) -> Result<Vec<i64>, String> {
        let mut times = TopicPartitionList::new();
        for partition in 0..partitions.len() as i32 {
            let added = times.add_partition_offset(topic, partition, Offset::Offset(time_ms));
            added.map_err(|error| error.to_string())?;
        }
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client and the list are alive; what is found is written to the list.
        let error =
            unsafe { coded::rd_kafka_offsets_for_times(self.consumer.client().native_ptr(), times.ptr(), wait_ms) };
        if error != 0 {
            return Err(meaning(error));
        }
        let offset = |(partition, (_, high)): (usize, &(i64, i64))| match times
            .find_partition(topic, partition as i32)
            .map(|found| found.offset())
        {
            Some(Offset::Offset(offset)) => offset,
            _ => *high,
        };
        Ok(partitions.iter().enumerate().map(offset).collect())
    }

    /// How a topic is cleaned; `None` where that may not be asked.
    fn cleaning(&self, topic: &str, wait: Duration) -> Option<Cleaning> {
        let name = CString::new(topic).ok()?;
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
        // SAFETY: the resource is made here and given back after it was asked for; the answer is one to this question.
        unsafe {
            let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let mut resources = [sys::rd_kafka_ConfigResource_new(kind, name.as_ptr())];
            let client = self.consumer.client().native_ptr();
            let ask = |options, queue| sys::rd_kafka_DescribeConfigs(client, resources.as_mut_ptr(), 1, options, queue);
            let cleaning = self.administer(op, wait, ask, |event| cleaning_in(event));
            sys::rd_kafka_ConfigResource_destroy(resources[0]);
            cleaning
        }
    }

    /// The id of a topic.
    fn topic_id(&self, topic: &str, wait: Duration) -> Option<String> {
        let name = CString::new(topic).ok()?;
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        // SAFETY: the collection is made here and given back after it was asked for; the answer is one to this question.
        unsafe {
            let mut names = [name.as_ptr()];
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            let client = self.consumer.client().native_ptr();
            let ask = |options, queue| sys::rd_kafka_DescribeTopics(client, topics, options, queue);
            let id = self.administer(op, wait, ask, |event| id_in(event));
            sys::rd_kafka_TopicCollection_destroy(topics);
            id
        }
    }

    /// Asks the brokers what administrators ask: sends a question with these options, whose answer comes to that queue; reads
    /// the answer, null if none came. The event lives no longer than the call that reads it.
    fn administer<T>(
        &self,
        op: sys::rd_kafka_admin_op_t,
        wait: Duration,
        ask: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
        read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Option<T>,
    ) -> Option<T> {
        let client = self.consumer.client().native_ptr();
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: all handles are made here and given back below, in the order that librdkafka asks for; the event's parts are
        // read before it is destroyed.
        unsafe {
            let queue = sys::rd_kafka_queue_new(client);
            let options = sys::rd_kafka_AdminOptions_new(client, op);
            let mut why = [0; 128];
            sys::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, why.as_mut_ptr(), why.len());
            ask(options, queue);
            let event = sys::rd_kafka_queue_poll(queue, wait_ms);
            let told = read(event);
            if !event.is_null() {
                sys::rd_kafka_event_destroy(event);
            }
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_queue_destroy(queue);
            told
        }
    }
}

/// The settings in the result of DescribeConfigs.
///
/// # Safety
/// `event` is null or such a result, and alive.
unsafe fn cleaning_in(event: *mut sys::rd_kafka_event_t) -> Option<Cleaning> {
    // SAFETY: the caller's promise; all that is read belongs to the event.
    unsafe {
        if event.is_null() {
            return None;
        }
        let result = sys::rd_kafka_event_DescribeConfigs_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        if resources.is_null() || count == 0 {
            return None;
        }
        if coded::rd_kafka_ConfigResource_error(*resources) != 0 {
            return None;
        }
        let mut entries = 0;
        let configs = sys::rd_kafka_ConfigResource_configs(*resources, &mut entries);
        let text = |text: *const core::ffi::c_char| (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy());
        let mut cleaning = None;
        for at in 0..entries {
            let entry = *configs.add(at);
            let value = text(sys::rd_kafka_ConfigEntry_value(entry));
            match (text(sys::rd_kafka_ConfigEntry_name(entry)).as_deref(), value) {
                (Some("cleanup.policy"), Some(policy)) => {
                    cleaning.get_or_insert_with(Cleaning::default).compacts = policy.contains("compact");
                }
                (Some("delete.retention.ms"), Some(kept)) => {
                    cleaning.get_or_insert_with(Cleaning::default).delete_retention_ms = kept.parse().ok();
                }
                _ => {}
            }
        }
        cleaning
    }
}

/// The topic id in the result of DescribeTopics.
///
/// # Safety
/// `event` is null or such a result, and alive.
unsafe fn id_in(event: *mut sys::rd_kafka_event_t) -> Option<String> {
    // SAFETY: the caller's promise; all that is read belongs to the event.
    unsafe {
        if event.is_null() {
            return None;
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return None;
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if coded::rd_kafka_error_code(error) != 0 {
            return None;
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        // All zero: the broker has none.
        let is_one = !id.is_null()
            && (sys::rd_kafka_Uuid_most_significant_bits(id) != 0
                || sys::rd_kafka_Uuid_least_significant_bits(id) != 0);
        let text = if is_one { sys::rd_kafka_Uuid_base64str(id) } else { null() };
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned()).filter(|id| !id.is_empty())
    }
}
