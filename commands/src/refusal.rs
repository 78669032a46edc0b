//! What a connection is told that will not be served.

use protocol::{Output, Protocol, ReplyWriter};

fn error(text: &str) -> Vec<u8> {
    let mut output = Output::new();
    ReplyWriter::new(&mut output, Protocol::Resp2).error(text);
    output.as_single().unwrap_or_default().to_vec()
}

/// `maxclients` are connected.
pub fn too_many_clients() -> Vec<u8> {
    error("ERR max number of clients reached")
}

/// Protected mode is on, no password is set, and the peer is on another machine.
pub fn protected_mode() -> Vec<u8> {
    error(
        "DENIED Millpond runs in protected mode: no password is set, so only connections from this machine are served. \
         To serve others set a password (requirepass), or, on a network you trust, turn protected-mode off.",
    )
}
