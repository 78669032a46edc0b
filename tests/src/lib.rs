//! The harness of the tests that see the server from outside: they start the built binary, speak raw RESP to it and compare what comes
//! back, byte for byte where it matters.
//!
//! It promises that a reply is read strictly (a malformed frame is a failure, never repaired), that a second decoder, the `redis-protocol`
//! crate, agrees with every one of them, and that nothing outlives a test: children are killed, directories removed. It links no crate of
//! the server, so it cannot share a mistake with it.
//!
//! The environment chooses the server under test, see [`server`].

pub mod broker;
pub mod conn;
pub mod kafka;
pub mod notation;
pub mod origin;
pub mod patience;
pub mod reply;
pub mod run;
pub mod script;
pub mod server;
pub mod words;

pub use conn::{Conn, Protocol};
pub use reply::Reply;
pub use server::{Options, Server};
