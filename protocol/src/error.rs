//! What a peer can do wrong on the wire. Every case is the peer's fault and ends its connection.

use std::fmt;

/// A request that breaks the protocol; `Display` is the exact text after `-ERR `, as Redis 7.2
/// words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline request without line end inside the limit.
    InlineTooLong,
    /// Quotes of an inline request that do not close, or a closing quote followed by something else
    /// than a space.
    UnbalancedQuotes,
    /// A `*n` line without line end inside the limit.
    CountLineTooLong,
    /// A `*n` line whose number is malformed or above the limit.
    InvalidCount,
    /// More arguments than a connection may send before login.
    UnauthenticatedCount,
    /// A `$n` line without line end inside the limit.
    BulkLineTooLong,
    /// A line that had to start with `$`; the byte it starts with.
    ExpectedBulk(u8),
    /// A `$n` line whose number is malformed, negative, above the limit, or would make the request
    /// reach 4 GiB.
    InvalidBulkLength,
    /// An argument longer than a connection may send before login.
    UnauthenticatedBulkLength,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match *self {
            ProtocolError::InlineTooLong => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::CountLineTooLong => "too big mbulk count string",
            ProtocolError::InvalidCount => "invalid multibulk length",
            ProtocolError::UnauthenticatedCount => "unauthenticated multibulk length",
            ProtocolError::BulkLineTooLong => "too big bulk count string",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::ExpectedBulk(got) => {
                // Line ends become spaces as in every error reply; other unprintable bytes stay
                // readable and valid UTF-8.
                return match got {
                    b'\r' | b'\n' => f.write_str("expected '$', got ' '"),
                    b' '..=b'~' => write!(f, "expected '$', got '{}'", char::from(got)),
                    _ => write!(f, "expected '$', got '\\x{got:02x}'"),
                };
            }
        })
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::ProtocolError::{self, *};

    #[test]
    fn texts_are_those_of_redis() {
        let rows: [(ProtocolError, &str); 13] = [
            (InlineTooLong, "Protocol error: too big inline request"),
            (UnbalancedQuotes, "Protocol error: unbalanced quotes in request"),
            (CountLineTooLong, "Protocol error: too big mbulk count string"),
            (InvalidCount, "Protocol error: invalid multibulk length"),
            (UnauthenticatedCount, "Protocol error: unauthenticated multibulk length"),
            (BulkLineTooLong, "Protocol error: too big bulk count string"),
            (InvalidBulkLength, "Protocol error: invalid bulk length"),
            (UnauthenticatedBulkLength, "Protocol error: unauthenticated bulk length"),
            (ExpectedBulk(b'x'), "Protocol error: expected '$', got 'x'"),
            (ExpectedBulk(b'\''), "Protocol error: expected '$', got '''"),
            (ExpectedBulk(b'\r'), "Protocol error: expected '$', got ' '"),
            (ExpectedBulk(0), "Protocol error: expected '$', got '\\x00'"),
            (ExpectedBulk(0xff), "Protocol error: expected '$', got '\\xff'"),
        ];
        for (error, text) in rows {
            assert_eq!(error.to_string(), text);
        }
    }
}
