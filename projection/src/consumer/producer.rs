//! A client that writes, made anew when it may have forgotten where the brokers are.

use super::{end_beside, refused, security};
use crate::config::Cluster;
use core::sync::atomic::{AtomicBool, Ordering};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::sync::{Arc, Mutex, PoisonError};

/// Settings of such a client.
pub(super) fn settings(cluster: &Cluster) -> Result<ClientConfig, String> {
    security::check(cluster)?;
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
    Ok(config)
}

/// A record found no broker for all of its time: the client may have forgotten where they are.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<AtomicBool>);

impl Lost {
    /// Notes what became of a record.
    pub fn note(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(Code::MessageTimedOut) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// See the module's text.
pub(super) struct Producer<C: ProducerContext + Clone + 'static> {
    config: ClientConfig,
    client: Mutex<ThreadedProducer<C>>,
    context: C,
    lost: Lost,
}

impl<C: ProducerContext + Clone + 'static> Producer<C> {
    /// One whose context notes in `lost` what becomes of records. Contacts nobody yet.
    pub fn new(config: ClientConfig, context: C, lost: Lost) -> Result<Self, String> {
        let client = Mutex::new(config.create_with_context(context.clone()).map_err(refused)?);
        Ok(Self { config, client, context, lost })
    }

    /// Uses the client.
    pub fn with<R>(&self, using: impl FnOnce(&ThreadedProducer<C>) -> R) -> Result<R, String> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lost.0.swap(false, Ordering::Relaxed) {
            let fresh = self.config.create_with_context(self.context.clone()).map_err(refused)?;
            end_beside(core::mem::replace(&mut *client, fresh))?;
        }
        Ok(using(&client))
    }
}
