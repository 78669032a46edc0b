//! A client of a serving core, over a socket pair: one request at a time, replies in RESP2.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple string.
    Simple(String),
    /// An error.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Nothing.
    Null,
    /// Several.
    Array(Vec<Reply>),
}

impl Reply {
    /// What is in an array.
    pub fn items(&self) -> Option<&[Reply]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// Its text, empty for others.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    /// Its number, 0 for others.
    pub fn number(&self) -> i64 {
        if let Self::Integer(number) = self { *number } else { 0 }
    }
}

/// Room that is kept for the next reply.
const KEPT_BYTES: usize = 64 * 1024;

/// See the module's text.
pub struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Client {
    /// A client on one end of a pair, the other end of which a core has.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, received: Vec::new() })
    }

    /// Sends a request and gives its reply. Dropped before that, the client is of no use any more.
    pub async fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).await?;
        loop {
            if let Some((reply, taken)) = parse(&self.received)? {
                self.received.drain(..taken);
                // A large reply does not keep its room for as long as the connection lasts.
                self.received.shrink_to(KEPT_BYTES);
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }
}

/// The reply at the front of `bytes` and its length, or `None` if more is to come.
fn parse(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    let unknown = || io::Error::other("a reply that is not known");
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let (line, mut at) = (&bytes[..end], end + 2);
    let text = || String::from_utf8_lossy(&line[1..]).into_owned();
    let number = || text().parse::<i64>().map_err(|_| unknown());
    let reply = match line.first().ok_or_else(unknown)? {
        b'+' => Reply::Simple(text()),
        b'-' => Reply::Error(text()),
        b':' => Reply::Integer(number()?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Reply::Null,
            Ok(length) => {
                let Some(bulk) = bytes.get(at..at + length + 2) else { return Ok(None) };
                at += length + 2;
                Reply::Bulk(bulk[..length].to_vec())
            }
        },
        b'*' => match usize::try_from(number()?) {
            Err(_) => Reply::Null,
            Ok(length) => {
                let mut items = Vec::new();
                for _ in 0..length {
                    let Some((item, taken)) = parse(&bytes[at..])? else { return Ok(None) };
                    items.push(item);
                    at += taken;
                }
                Reply::Array(items)
            }
        },
        _ => return Err(unknown()),
    };
    Ok(Some((reply, at)))
}

/// The bytes of a text in base 64 (RFC 4648), with or without padding.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(value(byte)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0 && held < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let bytes = b"*4\r\n+HIT\r\n$3\r\na\r\n\r\n$-1\r\n:-7\r\n-ERR x\r\n";
        let items = vec![Reply::Simple("HIT".into()), Reply::Bulk(b"a\r\n".to_vec()), Reply::Null, Reply::Integer(-7)];
        let whole = bytes.len() - b"-ERR x\r\n".len();
        assert_eq!(parse(bytes).unwrap(), Some((Reply::Array(items), whole)));
        (0..whole).for_each(|cut| assert_eq!(parse(&bytes[..cut]).unwrap(), None, "{cut}"));
        assert_eq!(parse(&bytes[whole..]).unwrap(), Some((Reply::Error("ERR x".into()), 8)));
        assert!(parse(b"!1\r\n").is_err() && parse(b":x\r\n").is_err());
    }

    #[test]
    fn base_64_is_read_strictly() {
        let text = |given| base64(given).map(|bytes| String::from_utf8(bytes).unwrap());
        for (given, expected) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm8", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(text(given).as_deref(), Some(expected), "{given}");
        }
        for given in ["Z", "Zh==", "Zm9v!", "Zm=v"] {
            assert_eq!(base64(given), None, "{given}");
        }
    }
}
