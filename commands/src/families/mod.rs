//! The command families: one file each, rows first, then handlers.
//!
//! Wire ids are dealt out in blocks: connection 1, client 20, string 50, counter 80, expiry 100, keyspace 130, scan 160,
//! transaction 170, config 180, introspect 190, inspect 210, server 240, debug 290, refused 310, cache 340, swr 360,
//! event 400, hash 420, projection 450; the next family begins at 480.

pub mod cache;
pub mod client;
pub mod config;
pub mod connection;
pub mod counter;
pub mod debug;
pub mod event;
pub mod expiry;
pub mod hash;
pub mod help;
pub mod inspect;
pub mod introspect;
pub mod keyspace;
pub mod projection;
pub mod refused;
pub mod scan;
pub mod server;
pub mod string;
pub mod swr;
pub mod transaction;
