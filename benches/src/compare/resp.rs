//! RESP2 as a client: encodes commands, reads replies whole or only counts them. No RESP3, no inline commands.

use crate::error::{Result, fail};

/// Appends one command.
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        bulk(out, arg);
    }
}

/// Appends one bulk string.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

impl Reply {
    /// Text of a simple or bulk string; empty for anything else.
    pub fn text(&self) -> String {
        match self {
            Reply::Simple(text) => text.clone(),
            Reply::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }
}

/// The first reply in `bytes` and its length; `None` while it is incomplete.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>> {
    let Some(end) = line_end(bytes) else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[1..end]);
    let after = end + 2;
    let reply = match bytes[0] {
        b'+' => Reply::Simple(line.into_owned()),
        b'-' => Reply::Error(line.into_owned()),
        b':' => Reply::Integer(number(&line)?),
        b'$' => match number(&line)? {
            len if len < 0 => Reply::Bulk(None),
            len => {
                let len = len as usize;
                if bytes.len() < after + len + 2 {
                    return Ok(None);
                }
                return Ok(Some((Reply::Bulk(Some(bytes[after..after + len].to_vec())), after + len + 2)));
            }
        },
        b'*' => {
            let mut at = after;
            let mut items = Vec::new();
            for _ in 0..number(&line)? {
                let Some((item, used)) = parse(&bytes[at..])? else { return Ok(None) };
                items.push(item);
                at += used;
            }
            return Ok(Some((Reply::Array(items), at)));
        }
        other => fail!("a reply begins with {:?}", other as char),
    };
    Ok(Some((reply, after)))
}

/// Counts whole replies in a stream that arrives in pieces of any size, without keeping it.
#[derive(Debug, Default)]
pub struct Counter {
    values_left: u64,
    payload_left: usize,
    line: Vec<u8>,
}

impl Counter {
    /// Waits for `replies` more replies.
    pub fn expect(&mut self, replies: u64) {
        self.values_left += replies;
    }

    pub fn done(&self) -> bool {
        self.values_left == 0 && self.payload_left == 0
    }

    /// Takes the next piece; an error reply or bytes nobody asked for are errors.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len());
                self.payload_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            if self.values_left == 0 {
                fail!("a reply that was not asked for: {:?}", head(bytes));
            }
            let taken = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.line.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.line.ends_with(b"\n") {
                self.finish_line()?;
            }
        }
        Ok(())
    }

    fn finish_line(&mut self) -> Result<()> {
        let text = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        self.values_left -= 1;
        match text.as_bytes().first() {
            Some(b'+' | b':') => {}
            Some(b'$') => self.payload_left = usize::try_from(number(&text[1..])?).map_or(0, |len| len + 2),
            Some(b'*') => self.values_left += u64::try_from(number(&text[1..])?).unwrap_or(0),
            Some(b'-') => fail!("the server answered {text}"),
            _ => fail!("a reply begins with {:?}", head(text.as_bytes())),
        }
        Ok(())
    }
}

/// The beginning of unexpected bytes, for an error message.
pub fn head(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned()
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

fn number(text: &str) -> Result<i64> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => fail!("not a number in a reply: {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"+OK\r\n:12\r\n$-1\r\n$3\r\na\r\n\r\n*2\r\n$1\r\n0\r\n*2\r\n$1\r\nx\r\n$0\r\n\r\n*0\r\n";

    #[test]
    fn replies_are_counted_however_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut counter = Counter::default();
            counter.expect(6);
            let mut pieces = STREAM.chunks(size).peekable();
            while let Some(piece) = pieces.next() {
                assert!(!counter.done());
                counter.take(piece).unwrap();
                assert_eq!(counter.done(), pieces.peek().is_none(), "pieces of {size}");
            }
            assert!(counter.take(b"+OK\r\n").is_err());
        }
    }

    #[test]
    fn an_error_reply_is_an_error_with_its_text() {
        let mut counter = Counter::default();
        counter.expect(1);
        let error = counter.take(b"-ERR no\r\n").unwrap_err();
        assert!(error.to_string().contains("-ERR no"));
    }

    #[test]
    fn parse_waits_for_the_whole_reply() {
        let whole = b"*2\r\n$1\r\n5\r\n*1\r\n$2\r\nab\r\n";
        for cut in 1..whole.len() {
            assert_eq!(parse(&whole[..cut]).unwrap(), None);
        }
        let (reply, used) = parse(whole).unwrap().unwrap();
        assert_eq!(used, whole.len());
        let keys = Reply::Array(vec![Reply::Bulk(Some(b"ab".to_vec()))]);
        assert_eq!(reply, Reply::Array(vec![Reply::Bulk(Some(b"5".to_vec())), keys]));
    }
}
