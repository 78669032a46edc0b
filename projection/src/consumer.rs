//! The consumer: a [`Source`] over librdkafka, and a [`Probe`] that looks at topics. Here and below alone librdkafka is known.
//!
//! Events are taken from the consumer's queue one by one, past the client's own `poll`: that tells neither the topic nor the
//! offset of an end of partition. No group is joined and nothing is committed; every assignment names its offset.

mod coded;
mod letters;
mod probe;
mod producer;
mod security;
mod writer;

pub use letters::{Letters, Written};
pub use probe::{Looked, Probe, Want};
pub use writer::{Outcome, Tell, Writer};

use crate::config::Cluster;
use crate::source::{Event, Gather, Header, Headers, RawRecord, Source, Trouble};
use core::cell::OnceCell;
use core::ffi::{CStr, c_void};
use core::marker::PhantomData;
use core::ptr::{NonNull, null};
use rdkafka::bindings as sys;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, Statistics, TopicPartitionList};
use std::collections::HashSet;
use std::time::Duration;

/// Longest wait for a seek to be carried out; no broker is asked.
const SEEK_WAIT: Duration = Duration::from_secs(2);

/// Settings that hold whatever the operator says.
const FORCED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("allow.auto.create.topics", "false"),
    ("statistics.interval.ms", "1000"),
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

fn client_config(cluster: &Cluster) -> Result<ClientConfig, String> {
    security::check(cluster)?;
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
    Ok(config)
}

/// An error of the client about its settings, without their values: they may be secrets.
fn refused(error: KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => format!("kafka: properties: {name}: the client refuses it"),
        other => other.to_string(),
    }
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
    config: ClientConfig,
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
        // SAFETY: got where it was made, and given back once.
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

impl Taken {
    /// The error it tells, and its text.
    fn error(&self) -> (Code, String) {
        let event = self.0.as_ptr();
        // SAFETY: the event is alive; its text lives as long.
        unsafe {
            let text = sys::rd_kafka_event_error_string(event);
            let text = if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
            (coded::code_of(coded::rd_kafka_event_error(event)), text)
        }
    }
}

impl Kafka {
    /// A consumer for these topics; the error is the client's about its settings. Contacts nobody yet.
    pub fn new(name: &str, cluster: &Cluster, topics: &[String]) -> Result<Self, String> {
        let mut config = client_config(cluster)?;
        for (name, value) in FORCED {
            config.set(*name, *value);
        }
        // No group is made: without a name nothing can be assigned.
        config.set("group.id", format!("millpond-{name}"));
        Self::with(config, topics.to_vec())
    }

    fn with(config: ClientConfig, topics: Vec<String>) -> Result<Self, String> {
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(refused)?;
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).ok_or("the client has no queue")?;
        Ok(Self { config, topics, queue: Queue(queue), consumer, assigned: HashSet::new() })
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
            let headers = OfMessage { message, found: OnceCell::new(), event: PhantomData };
            tell(Event::Record(RawRecord {
                topic,
                partition: told.partition,
                offset: told.offset,
                time_ms,
                key: bytes(told.key, told.key_len),
                value: bytes(told.payload, told.len),
                headers: Headers::Lazy(&headers),
            }));
        }
    }

    /// Tells an error event, which the end of a partition is as well.
    fn tell_error(&self, event: &Taken, tell: &mut dyn FnMut(Event<'_>)) {
        let (code, text) = event.error();
        let at = self.place_of(event.0.as_ptr());
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
                Some((topic, partition, offset)),
            ) => Trouble::Damaged { topic, partition, offset },
            _ => Trouble::Passing,
        };
        tell(Event::Trouble(trouble, text));
    }

    /// Tells how it stands with its partitions.
    fn tell_statistics(&self, event: &Taken, tell: &mut dyn FnMut(Event<'_>)) {
        // SAFETY: the event is alive; its text lives as long.
        let text = unsafe { CStr::from_ptr(sys::rd_kafka_event_stats(event.0.as_ptr())) };
        let Ok(told) = serde_json::from_slice::<Statistics>(text.to_bytes()) else { return };
        let mut queued_bytes = 0;
        for (topic, name) in self.topics.iter().enumerate() {
            let Some(found) = told.topics.get(name) else { continue };
            for (partition, found) in found.partitions.iter().filter(|(partition, _)| **partition >= 0) {
                // There is one queue for all partitions, and each tells the size of that.
                queued_bytes = found.fetchq_size.max(queued_bytes);
                if found.ls_offset >= 0 {
                    tell(Event::StableEnd { topic, partition: *partition, offset: found.ls_offset });
                }
            }
        }
        tell(Event::Queued(queued_bytes));
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

/// The headers of a message.
struct OfMessage<'e> {
    message: NonNull<sys::rd_kafka_message_t>,
    found: OnceCell<Vec<Header<'e>>>,
    /// What the message belongs to.
    event: PhantomData<&'e Taken>,
}

impl<'e> OfMessage<'e> {
    fn find(&self) -> Vec<Header<'e>> {
        let mut all = Vec::new();
        let done = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: the message lives as long as its event; librdkafka gives texts and bytes that belong to the message.
        unsafe {
            let mut headers = core::ptr::null_mut();
            if sys::rd_kafka_message_headers(self.message.as_ptr(), &mut headers) != done {
                return all;
            }
            for at in 0.. {
                let (mut name, mut value, mut len) = (null(), null(), 0);
                if sys::rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut len) != done {
                    break;
                }
                let value = (!value.is_null()).then(|| core::slice::from_raw_parts(value.cast::<u8>(), len));
                // A name that is no text is nobody's that we look for.
                all.push((CStr::from_ptr(name).to_str().unwrap_or("?"), value));
            }
        }
        all
    }
}

impl Gather for OfMessage<'_> {
    fn gathered(&self) -> &[Header<'_>] {
        self.found.get_or_init(|| self.find())
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
            sys::RD_KAFKA_EVENT_STATS => self.tell_statistics(&event, tell),
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

    fn renew(&mut self) -> Result<(), String> {
        let fresh = Self::with(self.config.clone(), self.topics.clone())?;
        end_beside(core::mem::replace(self, fresh))
    }
}

/// Ends a client in a thread of its own: one that has lost something may take long, or never come to its end.
fn end_beside(client: impl Send + 'static) -> Result<(), String> {
    let end = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(client));
    end.map(drop).map_err(|error| error.to_string())
}
