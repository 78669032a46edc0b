//! What a connection is told that will not be served.

use crate::error::Error;
use protocol::{Output, Protocol, ReplyWriter};

fn reply(error: &Error) -> Vec<u8> {
    let mut output = Output::new();
    ReplyWriter::new(&mut output, Protocol::Resp2).error_bytes(&error.line());
    output.as_single().unwrap_or_default().to_vec()
}

/// `maxclients` are connected.
pub fn too_many_clients() -> Vec<u8> {
    reply(&Error::TOO_MANY_CLIENTS)
}

/// Protected mode is on, no password is set, and the peer is on another machine.
pub fn protected_mode() -> Vec<u8> {
    reply(&Error::PROTECTED)
}

#[cfg(test)]
mod tests {
    use super::{protected_mode, too_many_clients};

    #[test]
    fn each_is_one_error_reply() {
        assert_eq!(too_many_clients(), b"-ERR max number of clients reached\r\n");
        let text = String::from_utf8(protected_mode()).unwrap();
        assert!(text.starts_with("-DENIED Millpond runs in protected mode: ") && text.ends_with(" off.\r\n"), "{text}");
    }
}
