//! Sockets: one acceptor deals connections to the serving cores; each core runs one reactor over its own epoll set.
//!
//! Reading order: [`listener`] (where connections come from), [`reactor`] (a core's loop), [`turn`] (what one wake-up
//! does), [`connection`] (bytes in, bytes out).

pub mod connection;
pub mod hold;
pub mod inbox;
pub mod listener;
pub mod mailbox;
#[cfg(feature = "histogram")]
mod pauses;
pub mod reactor;
pub mod slots;
pub mod turn;
