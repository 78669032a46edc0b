//! The consumer: a [`Source`] over librdkafka, and a [`Probe`] that looks at topics.
//!
//! Events are taken from the consumer's queue one by one, past the client's own `poll`: that tells neither the topic nor the
//! offset of an end of partition. No group is joined and nothing is committed; every assignment names its offset.

use crate::config::Cluster;
use crate::source::{Cleaning, Event, FoundTopic, Letter, RawRecord, Source, Trouble};
use core::ffi::{CStr, c_int, c_void};
use core::ptr::{NonNull, null};
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashSet;
use std::ffi::CString;
use std::time::Duration;

/// Longest wait for a seek to be carried out; no broker is asked.
const SEEK_WAIT: Duration = Duration::from_secs(2);

/// Longest log that is believed: sums of them do not overflow.
const MAX_OFFSET: i64 = 1 << 48;

/// Settings that hold whatever the operator says.
const FORCED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("allow.auto.create.topics", "false"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// Settings that the operator may change.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "millpond"),
    ("fetch.queue.backoff.ms", "10"),
    // An end is told only after it.
    ("fetch.wait.max.ms", "100"),
    ("queued.max.messages.kbytes", "32768"),
    ("queued.min.messages", "20000"),
    ("socket.timeout.ms", "5000"),
    ("reconnect.backoff.max.ms", "1000"),
    ("enable.metrics.push", "false"),
];

/// Those of the operator's settings that are overridden.
pub fn overridden(cluster: &Cluster) -> Vec<&'static str> {
    let given = |name: &&str| cluster.properties.contains_key(*name);
    FORCED.iter().map(|(name, _)| *name).chain(["group.id"]).filter(given).collect()
}

fn client_config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &cluster.bootstrap_servers);
    for (name, value) in DEFAULTS {
        config.set(*name, *value);
    }
    for (name, value) in &cluster.properties {
        config.set(name, &value.0);
    }
    // What it has to say comes as errors and states.
    config.set_log_level(RDKafkaLogLevel::Critical);
    config
}

/// An error of the client about its settings, without their values: they may be secrets.
pub(crate) fn refused(error: KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => format!("kafka: properties: {name}: the client refuses it"),
        other => other.to_string(),
    }
}

/// Settings of a client that writes.
pub(crate) fn producer_config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &cluster.bootstrap_servers);
    config.set("client.id", "millpond").set("enable.metrics.push", "false");
    // What concerns the connection alone: the others are the consumer's.
    let shared = ["security.", "sasl.", "ssl.", "socket.", "broker.address", "client.id", "message.max"];
    for (name, value) in &cluster.properties {
        if shared.iter().any(|prefix| name.starts_with(prefix)) {
            config.set(name, &value.0);
        }
    }
    config.set("enable.idempotence", "true").set_log_level(RDKafkaLogLevel::Critical);
    config
}

/// Functions that give error codes of brokers, declared as giving numbers: brokers may have codes that the bindings'
/// enumeration lacks, and no such value may come to be.
mod coded {
    use super::sys;
    use core::ffi::{c_char, c_int};

    unsafe extern "C" {
        pub fn rd_kafka_err2str(code: c_int) -> *const c_char;
        pub fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
        pub fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
        pub fn rd_kafka_ConfigResource_error(resource: *const sys::rd_kafka_ConfigResource_t) -> c_int;
        pub fn rd_kafka_offsets_for_times(
            client: *mut sys::rd_kafka_t,
            times: *mut sys::rd_kafka_topic_partition_list_t,
            timeout_ms: c_int,
        ) -> c_int;
        pub fn rd_kafka_metadata(
            client: *mut sys::rd_kafka_t,
            all_topics: c_int,
            only: *mut sys::rd_kafka_topic_t,
            found: *mut *const sys::rd_kafka_metadata,
            timeout_ms: c_int,
        ) -> c_int;
        pub fn rd_kafka_query_watermark_offsets(
            client: *mut sys::rd_kafka_t,
            topic: *const c_char,
            partition: i32,
            low: *mut i64,
            high: *mut i64,
            timeout_ms: c_int,
        ) -> c_int;
    }
}

/// The code with that number.
fn code_of(number: c_int) -> Code {
    sys::rd_kafka_resp_err_t::try_from(number).map_or(Code::Unknown, Code::from)
}

/// What a number means, as text.
fn meaning(number: c_int) -> String {
    // SAFETY: any number has a text, which lives until this thread asks for the next one.
    unsafe { CStr::from_ptr(coded::rd_kafka_err2str(number)) }.to_string_lossy().into_owned()
}

/// Says nothing by itself.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, _: &str, _: &str) {
        let _ = level;
    }
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

/// The partitions of one projection.
pub struct Kafka {
    topics: Vec<String>,
    // Before the consumer it belongs to.
    queue: Queue,
    consumer: BaseConsumer<Quiet>,
    assigned: HashSet<(usize, i32)>,
}

/// The consumer's queue.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: got in `Kafka::new`, and given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// An event taken from the queue.
struct Taken(NonNull<sys::rd_kafka_event_t>);

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: given by `rd_kafka_queue_poll`, and given back once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

impl Kafka {
    /// A consumer for these topics; the error is the client's about its settings. Contacts nobody yet.
    pub fn new(name: &str, cluster: &Cluster, topics: &[String]) -> Result<Self, String> {
        let mut config = client_config(cluster);
        for (name, value) in FORCED {
            config.set(*name, *value);
        }
        // No group is made: without a name nothing can be assigned.
        config.set("group.id", format!("millpond-{name}"));
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(refused)?;
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).ok_or("the client has no queue")?;
        Ok(Self { topics: topics.to_vec(), queue: Queue(queue), consumer, assigned: HashSet::new() })
    }

    fn topic_number(&self, name: &CStr) -> Option<usize> {
        self.topics.iter().position(|topic| topic.as_bytes() == name.to_bytes())
    }

    fn one(&self, topic: usize, partition: i32, offset: Option<i64>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        match offset {
            Some(offset) => {
                list.add_partition_offset(&self.topics[topic], partition, Offset::Offset(offset))
                    .expect("a plain offset");
            }
            None => drop(list.add_partition(&self.topics[topic], partition)),
        }
        list
    }

    /// Tells the records of a fetch event.
    fn tell_records(&self, event: &Taken, tell: &mut dyn FnMut(Event<'_>)) {
        loop {
            // SAFETY: the event is alive; messages belong to it and live as long.
            let message = unsafe { sys::rd_kafka_event_message_next(event.0.as_ptr()) };
            let Some(message) = NonNull::new(message.cast_mut()) else { return };
            // SAFETY: as above; nobody writes it.
            let told = unsafe { message.as_ref() };
            // SAFETY: the topic of a message has a name that lives as long.
            let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(told.rkt)) };
            let Some(topic) = self.topic_number(name) else { continue };
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: as above.
            let time_ms = unsafe { sys::rd_kafka_message_timestamp(message.as_ptr(), &mut kind) };
            let bytes = |at: *const c_void, len: usize| {
                // SAFETY: a message's key and value are so many bytes that live as long as it; null where there is none.
                (!at.is_null()).then(|| unsafe { core::slice::from_raw_parts(at.cast::<u8>(), len) })
            };
            let mut headers = Vec::new();
            // SAFETY: as above; what is pushed lives as long as the message.
            unsafe { gather_headers(message, &mut headers) };
            tell(Event::Record(RawRecord {
                topic,
                partition: told.partition,
                offset: told.offset,
                time_ms,
                key: bytes(told.key, told.key_len),
                value: bytes(told.payload, told.len),
                headers: &headers,
            }));
        }
    }

    /// Tells an error event, which the end of a partition is as well.
    fn tell_error(&self, event: &Taken, tell: &mut dyn FnMut(Event<'_>)) {
        let event = event.0.as_ptr();
        // SAFETY: the event is alive; its text lives as long.
        let (code, text) = unsafe {
            let text = sys::rd_kafka_event_error_string(event);
            let text = if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
            (code_of(coded::rd_kafka_event_error(event)), text)
        };
        let at = self.place_of(event);
        let trouble = match (code, at) {
            (Code::PartitionEOF, Some((topic, partition, offset))) => {
                return tell(Event::End { topic, partition, offset });
            }
            (Code::AllBrokersDown, _) => Trouble::AllDown,
            (Code::AutoOffsetReset | Code::OffsetOutOfRange, Some((topic, partition, _))) => {
                Trouble::OutOfRange { topic, partition }
            }
            // A format or a compression that it does not know as well: it passes over such a batch, or stands there.
            (
                Code::BadMessage | Code::InvalidMessage | Code::NotImplemented | Code::BadCompression,
                Some((topic, partition, _)),
            ) => Trouble::Damaged { topic, partition },
            _ => Trouble::Passing,
        };
        tell(Event::Trouble(trouble, text));
    }

    /// Topic, partition and offset of an error event, if it is about one.
    fn place_of(&self, event: *mut sys::rd_kafka_event_t) -> Option<(usize, i32, i64)> {
        // SAFETY: the event is alive; what is given is ours to free.
        let place = NonNull::new(unsafe { sys::rd_kafka_event_topic_partition(event) })?;
        // SAFETY: given above; its topic is a text that lives as long.
        let (name, partition, offset) = unsafe {
            let place = place.as_ref();
            (CStr::from_ptr(place.topic).to_owned(), place.partition, place.offset)
        };
        // SAFETY: given above, and freed once.
        unsafe { sys::rd_kafka_topic_partition_destroy(place.as_ptr()) };
        Some((self.topic_number(&name)?, partition, offset))
    }
}

/// Gathers the headers of a message; most have none.
///
/// # Safety
/// The message is alive, and outlives what is gathered.
unsafe fn gather_headers<'m>(message: NonNull<sys::rd_kafka_message_t>, to: &mut Vec<(&'m str, Option<&'m [u8]>)>) {
    // SAFETY: the caller's promise; librdkafka gives texts and bytes that belong to the message.
    unsafe {
        let mut headers = core::ptr::null_mut();
        if sys::rd_kafka_message_headers(message.as_ptr(), &mut headers)
            != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return;
        }
        for at in 0.. {
            let (mut name, mut value, mut len) = (null(), null(), 0);
            if sys::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut len)
                != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                return;
            }
            let value = (!value.is_null()).then(|| core::slice::from_raw_parts(value.cast::<u8>(), len));
            // A name that is no text is nobody's that we look for.
            to.push((CStr::from_ptr(name).to_str().unwrap_or("?"), value));
        }
    }
}

impl Source for Kafka {
    fn poll(&mut self, wait: Duration, tell: &mut dyn FnMut(Event<'_>)) -> bool {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), wait_ms) };
        let Some(event) = NonNull::new(event).map(Taken) else { return false };
        // SAFETY: the event is alive.
        match unsafe { sys::rd_kafka_event_type(event.0.as_ptr()) } {
            sys::RD_KAFKA_EVENT_FETCH => self.tell_records(&event, tell),
            sys::RD_KAFKA_EVENT_ERROR => self.tell_error(&event, tell),
            _ => {}
        }
        true
    }

    fn assign(&mut self, topic: usize, partition: i32, offset: i64) -> Result<(), String> {
        let bare = self.one(topic, partition, None);
        if !self.assigned.insert((topic, partition)) {
            // What is queued of it from before must not be told afterwards: a seek puts up a barrier at once, assigning
            // anew does so at some time later.
            let _ = self.consumer.resume(&bare);
            if self.consumer.seek(&self.topics[topic], partition, Offset::Offset(offset), SEEK_WAIT).is_ok() {
                return Ok(());
            }
            let _ = self.consumer.incremental_unassign(&bare);
        }
        let _ = self.consumer.resume(&bare);
        let list = self.one(topic, partition, Some(offset));
        self.consumer.incremental_assign(&list).map_err(|error| error.to_string())
    }

    fn pause(&mut self, topic: usize, partition: i32) {
        let _ = self.consumer.pause(&self.one(topic, partition, None));
    }

    fn resume(&mut self, topic: usize, partition: i32, offset: i64) -> Result<(), String> {
        // Its own position is not trusted: ends of partitions move it past records.
        self.assign(topic, partition, offset)
    }
}

/// Writes dead letters.
pub struct Letters<F: Fn(Written) + Send + Sync + 'static> {
    producer: ThreadedProducer<Acknowledged<F>>,
    topic: String,
}

/// What became of a letter: its place, and why it was not written.
pub struct Written {
    /// Topic and partition of the record.
    pub at: (usize, i32),
    /// Its offset.
    pub offset: i64,
    /// Why it was refused.
    pub result: Result<(), String>,
}

struct Acknowledged<F>(F);

impl<F: Fn(Written) + Send + Sync + 'static> ClientContext for Acknowledged<F> {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl<F: Fn(Written) + Send + Sync + 'static> ProducerContext for Acknowledged<F> {
    type DeliveryOpaque = Box<((usize, i32), i64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        let (at, offset) = *place;
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.to_string());
        (self.0)(Written { at, offset, result });
    }
}

impl<F: Fn(Written) + Send + Sync + 'static> Letters<F> {
    /// A writer to that topic, which tells what became of each letter. Contacts nobody yet.
    pub fn new(cluster: &Cluster, topic: &str, tell: F) -> Result<Self, String> {
        let mut config = producer_config(cluster);
        config.set("message.timeout.ms", "30000");
        let producer = config.create_with_context(Acknowledged(tell)).map_err(refused)?;
        Ok(Self { producer, topic: topic.to_owned() })
    }

    /// Sends a letter; what becomes of it is told later, unless it is refused at once.
    pub fn send(&self, letter: &Letter) -> Result<(), String> {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &letter.headers {
            headers = headers.insert(Header { key: name, value: value.as_deref() });
        }
        let place = Box::new((letter.at, letter.offset));
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(&self.topic, place).headers(headers).timestamp(letter.time_ms);
        if let Some(key) = &letter.key {
            record = record.key(&key[..]);
        }
        if let Some(value) = &letter.value {
            record = record.payload(&value[..]);
        }
        self.producer.send(record).map_err(|(error, _)| error.to_string())
    }
}

/// Looks at topics with a client of its own, which sees uncommitted records: ends are those of the log.
pub struct Probe {
    consumer: BaseConsumer<Quiet>,
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
        let mut config = client_config(cluster);
        config.remove("group.id");
        config.set("isolation.level", "read_uncommitted").set("allow.auto.create.topics", "false");
        Ok(Self { consumer: config.create_with_context(Quiet).map_err(refused)? })
    }

    /// Looks at a topic; waits for each answer so long at most.
    pub fn look(&self, topic: &str, want: Want, wait: Duration) -> Looked {
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
        let client = self.consumer.client().native_ptr();
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: all handles are made here and given back below, in the order that librdkafka asks for; the event's parts are
        // read before it is destroyed.
        unsafe {
            let queue = sys::rd_kafka_queue_new(client);
            let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let mut resources = [sys::rd_kafka_ConfigResource_new(kind, name.as_ptr())];
            let options =
                sys::rd_kafka_AdminOptions_new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
            let mut why = [0; 128];
            sys::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, why.as_mut_ptr(), why.len());
            sys::rd_kafka_DescribeConfigs(client, resources.as_mut_ptr(), 1, options, queue);
            let event = sys::rd_kafka_queue_poll(queue, wait_ms);
            let cleaning = cleaning_in(event);
            if !event.is_null() {
                sys::rd_kafka_event_destroy(event);
            }
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_ConfigResource_destroy(resources[0]);
            sys::rd_kafka_queue_destroy(queue);
            cleaning
        }
    }

    /// The id of a topic.
    fn topic_id(&self, topic: &str, wait: Duration) -> Option<String> {
        let name = CString::new(topic).ok()?;
        let client = self.consumer.client().native_ptr();
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: all handles are made here and given back below, in the order that librdkafka asks for; the event's parts are
        // read before it is destroyed.
        unsafe {
            let queue = sys::rd_kafka_queue_new(client);
            let mut names = [name.as_ptr()];
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            let options =
                sys::rd_kafka_AdminOptions_new(client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            let mut why = [0; 128];
            sys::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, why.as_mut_ptr(), why.len());
            sys::rd_kafka_DescribeTopics(client, topics, options, queue);
            let event = sys::rd_kafka_queue_poll(queue, wait_ms);
            let id = id_in(event);
            if !event.is_null() {
                sys::rd_kafka_event_destroy(event);
            }
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_TopicCollection_destroy(topics);
            sys::rd_kafka_queue_destroy(queue);
            id
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
