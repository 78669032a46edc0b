//! Dead letters: a producer beside the consumer, with the same brokers and logins.

use super::{end_beside, refused, security};
use crate::config::Cluster;
use crate::source::Letter;
use core::sync::atomic::{AtomicBool, Ordering};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::{Arc, Mutex, PoisonError};

/// Writes dead letters.
pub struct Letters<F: Fn(Written) + Send + Sync + 'static> {
    config: ClientConfig,
    producer: Mutex<ThreadedProducer<Acknowledged<F>>>,
    told: Acknowledged<F>,
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

struct Acknowledged<F> {
    tell: Arc<F>,
    /// A letter found no broker for all of its time: the client may have forgotten where they are.
    is_lost: Arc<AtomicBool>,
}

impl<F> Clone for Acknowledged<F> {
    fn clone(&self) -> Self {
        Self { tell: Arc::clone(&self.tell), is_lost: Arc::clone(&self.is_lost) }
    }
}

impl<F: Fn(Written) + Send + Sync + 'static> ClientContext for Acknowledged<F> {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl<F: Fn(Written) + Send + Sync + 'static> ProducerContext for Acknowledged<F> {
    type DeliveryOpaque = Box<((usize, i32), i64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        let (at, offset) = *place;
        if result.as_ref().is_err_and(|(error, _)| error.rdkafka_error_code() == Some(Code::MessageTimedOut)) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.to_string());
        (self.tell)(Written { at, offset, result });
    }
}

impl<F: Fn(Written) + Send + Sync + 'static> Letters<F> {
    /// A writer to that topic, which tells what became of each letter. Contacts nobody yet.
    pub fn new(cluster: &Cluster, topic: &str, tell: F) -> Result<Self, String> {
        security::check(cluster)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &cluster.bootstrap_servers);
        config.set("client.id", "millpond").set("message.timeout.ms", "30000").set("enable.metrics.push", "false");
        // What concerns the connection alone: the others are the consumer's.
        let shared = ["security.", "sasl.", "ssl.", "socket.", "broker.address", "client.id", "message.max"];
        for (name, value) in &cluster.properties {
            if shared.iter().any(|prefix| name.starts_with(prefix)) {
                config.set(name, &value.0);
            }
        }
        config.set("enable.idempotence", "true").set_log_level(RDKafkaLogLevel::Critical);
        let told = Acknowledged { tell: Arc::new(tell), is_lost: Arc::default() };
        let producer = Mutex::new(config.create_with_context(told.clone()).map_err(refused)?);
        Ok(Self { config, producer, told, topic: topic.to_owned() })
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
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.told.is_lost.swap(false, Ordering::Relaxed) {
            let fresh = self.config.create_with_context(self.told.clone()).map_err(refused)?;
            end_beside(core::mem::replace(&mut *producer, fresh))?;
        }
        producer.send(record).map_err(|(error, _)| error.to_string())
    }
}
