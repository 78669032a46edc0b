//! What requests mean: the one table of commands, the gates before them, and their handlers.
//!
//! Promises: one reply per request in order, or an effect that says how it goes on; time and randomness are arguments,
//! so that the same requests give the same replies on any node. Refuses: sockets, clocks, threads, files, async.
//!
//! Reading order: [`table`] (rows), [`dispatch`] (gates), any file of [`families`] (handlers).

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod call;
pub mod clients;
pub mod command;
pub mod dispatch;
pub mod effect;
pub mod error;
pub mod events;
pub mod families;
pub mod host;
pub mod info;
pub mod latency;
pub mod loader;
pub mod node;
pub mod origin;
#[cfg(feature = "histogram")]
pub mod pauses;
pub mod payload;
pub mod projections;
pub mod refusal;
pub mod services;
pub mod session;
pub mod settings;
pub mod slowlog;
pub mod stats;
pub mod table;
#[cfg(test)]
mod testkit;
pub mod through;
pub mod usage;
