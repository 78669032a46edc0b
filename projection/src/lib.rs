//! Kafka topics as keyspaces.
//!
//! A projection follows all partitions of its topics and keeps, under a key prefix that it owns, what their records say:
//! the keyspace equals the fold of all records below the offsets it has applied. This crate holds what of it needs no
//! socket: [`config`], [`mapping`] of records to entries, [`schema`]s, the [`engine`] with its partitions' states; and
//! [`consumer`], the one module that speaks to librdkafka.

#![warn(missing_docs)]

pub mod apply;
pub mod config;
#[cfg(feature = "kafka")]
pub mod consumer;
pub mod datum;
pub mod encode;
pub mod engine;
pub mod errors;
pub mod filter;
pub mod mapping;
pub mod operand;
pub mod schema;
pub mod source;
pub mod state;
