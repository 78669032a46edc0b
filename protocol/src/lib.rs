//! RESP2, RESP3 and inline requests in, replies out: bytes to [`Args`], values to [`Output`].
//!
//! Promises: a request decodes to the same arguments however the network cuts it, no byte is
//! searched twice, and nothing is allocated because a peer announced it. Refuses: sockets, clocks,
//! the meaning of commands, `unsafe`.
//!
//! Reading order: [`decode`] (requests), [`request`] (their arguments), [`reply`] (answers),
//! [`number`] (text of numbers).
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod decode;
pub mod error;
pub mod inline;
pub mod limits;
pub mod number;
mod output;
pub mod reply;
pub mod request;

pub use decode::{Decoder, Status};
pub use error::ProtocolError;
pub use limits::Limits;

pub use reply::{Chunk, Mark, Output, Protocol, ReplyWriter};
pub use request::{Args, OwnedRequest, Span};
