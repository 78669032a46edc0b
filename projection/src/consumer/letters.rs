//! Dead letters: a producer beside the consumer, with the same brokers and logins.

use super::producer::{Lost, Producer, settings};
use crate::config::Cluster;
use crate::source::Letter;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext};
use std::sync::Arc;

/// Writes dead letters.
pub struct Letters<F: Fn(Written) + Send + Sync + 'static> {
    producer: Producer<Acknowledged<F>>,
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
    lost: Lost,
}

impl<F> Clone for Acknowledged<F> {
    fn clone(&self) -> Self {
        Self { tell: Arc::clone(&self.tell), lost: self.lost.clone() }
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
        if let Err((error, _)) = result {
            self.lost.note(error);
        }
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.to_string());
        (self.tell)(Written { at, offset, result });
    }
}

impl<F: Fn(Written) + Send + Sync + 'static> Letters<F> {
    /// A writer to that topic, which tells what became of each letter. Contacts nobody yet.
    pub fn new(cluster: &Cluster, topic: &str, tell: F) -> Result<Self, String> {
        let mut config = settings(cluster)?;
        config.set("message.timeout.ms", "30000");
        let lost = Lost::default();
        let told = Acknowledged { tell: Arc::new(tell), lost: lost.clone() };
        Ok(Self { producer: Producer::new(config, told, lost)?, topic: topic.to_owned() })
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
        self.producer.with(|producer| producer.send(record).map_err(|(error, _)| error.to_string()))?
    }
}
