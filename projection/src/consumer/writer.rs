//! Records written to a topic for somebody who waits for what becomes of them.

use super::producer::{Lost, Producer, settings};
use crate::config::Cluster;
use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It lies there, on all replicas that are in step: partition and offset.
    Written(i32, i64),
    /// It does not, and will not.
    Refused(String),
    /// Nobody knows: it was sent, and no answer came in time.
    Unknown(String),
}

/// Is told what became of a record, once.
pub type Tell = Box<dyn FnOnce(Outcome) + Send + Sync>;

/// Writes records to a topic.
pub struct Writer {
    producer: Producer<Told>,
    topic: String,
}

#[derive(Clone)]
struct Told(Lost);

impl ClientContext for Told {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<Tell>;

    fn delivery(&self, result: &DeliveryResult<'_>, tell: Self::DeliveryOpaque) {
        if let Err((error, _)) = result {
            self.0.note(error);
        }
        tell(match result {
            Ok(message) => Outcome::Written(message.partition(), message.offset()),
            Err((error, _)) if is_open(error) => Outcome::Unknown(error.to_string()),
            Err((error, _)) => Outcome::Refused(error.to_string()),
        });
    }
}

/// Whether a record may lie in the topic although this is what was told of it.
fn is_open(error: &KafkaError) -> bool {
    let closed = [
        Code::QueueFull,
        Code::UnknownTopic,
        Code::UnknownPartition,
        Code::UnknownTopicOrPartition,
        Code::TopicAuthorizationFailed,
        Code::ClusterAuthorizationFailed,
        Code::MessageSizeTooLarge,
        Code::InvalidRecord,
        Code::InvalidRequiredAcks,
        Code::PolicyViolation,
        Code::NotEnoughReplicas,
    ];
    error.rdkafka_error_code().is_none_or(|code| !closed.contains(&code))
}

impl Writer {
    /// A writer to that topic. Contacts nobody yet.
    pub fn new(cluster: &Cluster, topic: &str) -> Result<Self, String> {
        let mut config = settings(cluster)?;
        config.set("acks", "all").set("linger.ms", "0").set("message.timeout.ms", "10000");
        // As other clients do: else a key gets into another partition than theirs, and its order is lost.
        config.set("partitioner", "murmur2_random");
        let lost = Lost::default();
        Ok(Self { producer: Producer::new(config, Told(lost.clone()), lost)?, topic: topic.to_owned() })
    }

    /// Writes a record, without a value a tombstone; what becomes of it is told within some ten seconds.
    pub fn write(&self, key: &[u8], value: Option<&[u8]>, tell: Tell) {
        let tell: Box<Tell> = Box::new(tell);
        let refused = self.producer.with(|producer| {
            let mut record: BaseRecord<'_, [u8], [u8], _> = BaseRecord::with_opaque_to(&self.topic, tell).key(key);
            if let Some(value) = value {
                record = record.payload(value);
            }
            producer.send(record).err().map(|(error, record)| (error.to_string(), record.delivery_opaque))
        });
        // Without a client `tell` is dropped, which says that nobody knows.
        if let Ok(Some((reason, tell))) = refused {
            tell(Outcome::Refused(reason));
        }
    }
}
