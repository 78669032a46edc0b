//! Bodies of requests and answers, read whole into one buffer of bounded length: however small the pieces come.

use hyper::body::{Body, Bytes, Incoming};
use std::future::poll_fn;
use std::pin::Pin;

/// Why a body was not read.
#[derive(Debug)]
pub enum Unread {
    /// It is longer than allowed.
    TooLong,
    /// The connection, or its framing, broke.
    Broken(String),
}

impl core::fmt::Display for Unread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong => f.write_str("it is too long"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// The bytes of a body, `most` of them at most. How long it may take is the caller's to bound.
pub async fn whole(mut body: Incoming, most: usize) -> Result<Bytes, Unread> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| Unread::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(Unread::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}
