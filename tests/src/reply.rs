//! One reply as the wire carried it, read strictly, printed canonically.
//!
//! Kept on purpose, because clients see it and owned decoders drop it: which null it was (`$-1`, `*-1`, `_`), the order of map entries, the
//! text of a double. Refused: bare CR or LF, numbers in any but their shortest form, types a protocol version does not have.

use crate::conn::Protocol;
use crate::words::quote;
use redis_protocol::{resp2, resp3};
use std::fmt;

/// Larger frames are not decoded a second time; the check is quadratic in the size of maps.
const SECOND_OPINION_MAX_BYTES: usize = 1 << 20;

/// A decoded reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1` in RESP2, `_` in RESP3.
    Nil,
    /// `*-1`, RESP2 only.
    NilArray,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    /// The digits as they were sent.
    Double(String),
    Bool(bool),
    Big(String),
    /// A verbatim string: its three-letter format and its text.
    Verbatim(String, Vec<u8>),
}

/// What is wrong with a frame, in words.
pub type Malformed = String;

impl Reply {
    /// The text of a string reply of any kind; `None` for numbers, nulls, errors and aggregates.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Reply::Status(text) | Reply::Double(text) | Reply::Big(text) => Some(text.as_bytes()),
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// [`Reply::text`] as UTF-8, with a panic that shows the reply when it is anything else.
    pub fn expect_text(&self) -> &str {
        self.text()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_else(|| panic!("expected text, got {self}"))
    }

    /// The integer, with a panic that shows the reply when it is anything else.
    pub fn expect_int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            other => panic!("expected an integer, got {other}"),
        }
    }

    /// The elements of an array, set or push, with a panic that shows the reply when it is anything else.
    pub fn expect_items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            other => panic!("expected an array, got {other}"),
        }
    }

    /// The pairs of a map, or of the flat array that stands for it in RESP2; `None` for anything else.
    pub fn pairs(&self) -> Option<Vec<(&Reply, &Reply)>> {
        match self {
            Reply::Map(pairs) => Some(pairs.iter().map(|(k, v)| (k, v)).collect()),
            Reply::Array(items) if items.len() % 2 == 0 => {
                Some(items.chunks(2).map(|pair| (&pair[0], &pair[1])).collect())
            }
            _ => None,
        }
    }

    fn has_aggregate_in_set(&self) -> bool {
        let is_aggregate = |r: &Reply| matches!(r, Reply::Array(_) | Reply::Map(_) | Reply::Set(_));
        match self {
            Reply::Set(items) => items.iter().any(is_aggregate),
            Reply::Array(items) | Reply::Push(items) => items.iter().any(Reply::has_aggregate_in_set),
            Reply::Map(pairs) => pairs.iter().any(|(_, value)| value.has_aggregate_in_set()),
            _ => false,
        }
    }

    /// Checks that the reply uses only types its protocol version has.
    pub fn check_protocol(&self, protocol: Protocol) -> Result<(), Malformed> {
        let resp3_only = matches!(
            self,
            Reply::Map(_)
                | Reply::Set(_)
                | Reply::Push(_)
                | Reply::Double(_)
                | Reply::Bool(_)
                | Reply::Big(_)
                | Reply::Verbatim(..)
        );
        if protocol == Protocol::Resp2 && resp3_only {
            return Err(format!("a RESP3 type on a RESP2 connection: {self}"));
        }
        if protocol == Protocol::Resp3 && *self == Reply::NilArray {
            return Err("a RESP2 null array on a RESP3 connection".into());
        }
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                items.iter().try_for_each(|item| item.check_protocol(protocol))
            }
            Reply::Map(pairs) => {
                pairs.iter().try_for_each(|(k, v)| k.check_protocol(protocol).and_then(|()| v.check_protocol(protocol)))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Reply]) -> fmt::Result {
            f.write_str(open)?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                match item {
                    Reply::Error(text) => write!(f, "-{}", quote(text.as_bytes()))?,
                    item => write!(f, "{item}")?,
                }
            }
            f.write_str("]")
        }
        match self {
            Reply::Status(text) => write!(f, "+{text}"),
            // Quoted where a blank at the end would be lost.
            Reply::Error(text) if text.ends_with(' ') => write!(f, "-{}", quote(text.as_bytes())),
            Reply::Error(text) => write!(f, "-{text}"),
            Reply::Int(n) => write!(f, ":{n}"),
            Reply::Bulk(bytes) => f.write_str(&quote(bytes)),
            Reply::Nil => f.write_str("(nil)"),
            Reply::NilArray => f.write_str("(nil-array)"),
            Reply::Array(items) => list(f, "[", items),
            Reply::Set(items) => list(f, "~[", items),
            Reply::Push(items) => list(f, ">[", items),
            Reply::Map(pairs) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
            Reply::Double(text) => write!(f, ",{text}"),
            Reply::Bool(value) => f.write_str(if *value { "#t" } else { "#f" }),
            Reply::Big(text) => write!(f, "({text}"),
            Reply::Verbatim(_, text) => write!(f, "={}", quote(text)),
        }
    }
}

/// Decodes the reply at the start of `buf`: the reply and its length in bytes, or `None` while it is incomplete.
pub fn decode(buf: &[u8], protocol: Protocol) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut at = 0;
    Ok(frame(buf, &mut at, protocol, 0)?.map(|reply| (reply, at)))
}

/// Asks the `redis-protocol` crate to read the same bytes; an error when it refuses or understands something else. It cannot hold an array
/// or a map in a set (COMMAND INFO and DOCS answer such), and is not asked then.
pub fn second_opinion(buf: &[u8], reply: &Reply, protocol: Protocol) -> Result<(), Malformed> {
    if buf.len() > SECOND_OPINION_MAX_BYTES || reply.has_aggregate_in_set() {
        return Ok(());
    }
    let agreed = match protocol {
        Protocol::Resp2 => {
            let (frame, used) = resp2::decode::decode(buf)
                .map_err(|e| format!("redis-protocol refuses {reply}: {e}"))?
                .ok_or("redis-protocol wants more bytes")?;
            used == buf.len() && same_as_resp2(reply, &frame)
        }
        Protocol::Resp3 => {
            let (frame, used) = resp3::decode::complete::decode(buf)
                .map_err(|e| format!("redis-protocol refuses {reply}: {e}"))?
                .ok_or("redis-protocol wants more bytes")?;
            used == buf.len() && same_as_resp3(reply, &frame)
        }
    };
    if agreed { Ok(()) } else { Err(format!("redis-protocol reads something else than {reply}")) }
}

fn same_as_resp2(reply: &Reply, frame: &resp2::types::OwnedFrame) -> bool {
    use resp2::types::OwnedFrame as F;
    match (reply, frame) {
        (Reply::Status(a), F::SimpleString(b)) => a.as_bytes() == b,
        (Reply::Error(a), F::Error(b)) => a == b,
        (Reply::Int(a), F::Integer(b)) => a == b,
        (Reply::Bulk(a), F::BulkString(b)) => a == b,
        (Reply::Nil | Reply::NilArray, F::Null) => true,
        (Reply::Array(a), F::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_as_resp2(a, b)),
        _ => false,
    }
}

fn same_as_resp3(reply: &Reply, frame: &resp3::types::OwnedFrame) -> bool {
    use resp3::types::OwnedFrame as F;
    let all = |a: &[Reply], b: &[F]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_as_resp3(a, b));
    match (reply, frame) {
        (Reply::Status(a), F::SimpleString { data, .. }) => a.as_bytes() == data,
        (Reply::Error(a), F::SimpleError { data, .. }) => a == data,
        (Reply::Int(a), F::Number { data, .. }) => a == data,
        (Reply::Bulk(a), F::BlobString { data, .. }) => a == data,
        (Reply::Nil, F::Null) => true,
        (Reply::Array(a), F::Array { data, .. }) => all(a, data),
        (Reply::Push(a), F::Push { data, .. }) => all(a, data),
        // An unordered collection there: equal length means that no key or member came twice.
        (Reply::Set(a), F::Set { data, .. }) => {
            a.len() == data.len() && a.iter().all(|a| data.iter().any(|b| same_as_resp3(a, b)))
        }
        (Reply::Map(a), F::Map { data, .. }) => {
            a.len() == data.len()
                && a.iter().all(|(k, v)| data.iter().any(|(bk, bv)| same_as_resp3(k, bk) && same_as_resp3(v, bv)))
        }
        (Reply::Double(a), F::Double { data, .. }) => {
            a.parse::<f64>().is_ok_and(|a| a == *data || (a.is_nan() && data.is_nan()))
        }
        (Reply::Bool(a), F::Boolean { data, .. }) => a == data,
        (Reply::Big(a), F::BigNumber { data, .. }) => a.as_bytes() == data,
        (Reply::Verbatim(_, a), F::VerbatimString { data, .. }) => a == data,
        _ => false,
    }
}

/// The deepest nesting a reply of any command has is 5 (COMMAND DOCS); more is a runaway.
const MAX_DEPTH: usize = 16;

fn frame(buf: &[u8], at: &mut usize, protocol: Protocol, depth: usize) -> Result<Option<Reply>, Malformed> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".into());
    }
    let Some(&kind) = buf.get(*at) else { return Ok(None) };
    let Some(line) = line(buf, at)? else { return Ok(None) };
    let text = || String::from_utf8(line.to_vec()).map_err(|_| format!("not UTF-8: {}", quote(line)));
    let reply = match kind {
        b'+' => Reply::Status(text()?),
        b'-' => Reply::Error(text()?),
        b':' => Reply::Int(integer(line)?),
        b',' => Reply::Double(text()?),
        b'(' => Reply::Big(text()?),
        b'#' => match line {
            b"t" => Reply::Bool(true),
            b"f" => Reply::Bool(false),
            _ => return Err(format!("bad boolean {}", quote(line))),
        },
        b'_' if line.is_empty() => Reply::Nil,
        b'$' if line == b"-1" && protocol == Protocol::Resp2 => Reply::Nil,
        b'*' if line == b"-1" && protocol == Protocol::Resp2 => Reply::NilArray,
        b'$' | b'=' => {
            let len = length(line)?;
            let Some(body) = buf.get(*at..*at + len + 2) else { return Ok(None) };
            if &body[len..] != b"\r\n" {
                return Err(format!("{len} bytes not followed by CRLF but {}", quote(&body[len..])));
            }
            *at += len + 2;
            match kind {
                b'$' => Reply::Bulk(body[..len].to_vec()),
                _ if len >= 4 && body[3] == b':' => {
                    Reply::Verbatim(String::from_utf8_lossy(&body[..3]).into_owned(), body[4..len].to_vec())
                }
                _ => return Err(format!("verbatim string without a format: {}", quote(body))),
            }
        }
        b'*' | b'~' | b'>' | b'%' => {
            let count = length(line)? * if kind == b'%' { 2 } else { 1 };
            let mut items = Vec::with_capacity(count.min(1024));
            for _ in 0..count {
                let Some(item) = frame(buf, at, protocol, depth + 1)? else { return Ok(None) };
                items.push(item);
            }
            match kind {
                b'*' => Reply::Array(items),
                b'~' => Reply::Set(items),
                b'>' => Reply::Push(items),
                _ => {
                    let mut items = items.into_iter();
                    Reply::Map(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
                }
            }
        }
        _ => return Err(format!("no reply starts with {}", quote(&[kind]))),
    };
    Ok(Some(reply))
}

/// The rest of the line after its type byte, without CRLF; `None` while the line is incomplete.
fn line<'a>(buf: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, Malformed> {
    let rest = &buf[*at + 1..];
    let Some(end) = rest.iter().position(|&b| b == b'\r' || b == b'\n') else { return Ok(None) };
    match (rest[end], rest.get(end + 1)) {
        (b'\r', Some(b'\n')) => {
            *at += 1 + end + 2;
            Ok(Some(&rest[..end]))
        }
        (b'\r', None) => Ok(None),
        _ => Err(format!("bare CR or LF in {}", quote(&rest[..(end + 2).min(rest.len())]))),
    }
}

fn integer(line: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(line).unwrap_or("");
    match text.parse::<i64>() {
        Ok(n) if n.to_string() == text => Ok(n),
        _ => Err(format!("bad integer {}", quote(line))),
    }
}

fn length(line: &[u8]) -> Result<usize, Malformed> {
    usize::try_from(integer(line)?).map_err(|_| format!("bad length {}", quote(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict() {
        for bad in ["+a\nb\r\n", ":01\r\n", ":+1\r\n", "$2\r\nabc\r\n", "?\r\n", "*-2\r\n", "#x\r\n", "=2\r\nab\r\n"] {
            assert!(decode(bad.as_bytes(), Protocol::Resp2).is_err(), "{bad:?}");
        }
        assert!(decode(b"$-1\r\n", Protocol::Resp3).is_err());
        assert!(decode(b"*-1\r\n", Protocol::Resp3).is_err());
        for partial in ["", "+O", "+OK\r", "*2\r\n:1\r\n", "$3\r\nabc\r", "%1\r\n+a\r\n"] {
            assert_eq!(decode(partial.as_bytes(), Protocol::Resp3), Ok(None), "{partial:?}");
        }
    }

    #[test]
    fn agrees_with_the_other_decoder() {
        let wire = b"*3\r\n%1\r\n$1\r\na\r\n:1\r\n~2\r\n+x\r\n+y\r\n=8\r\ntxt:text\r\n";
        let (reply, used) = decode(wire, Protocol::Resp3).unwrap().unwrap();
        assert_eq!(used, wire.len());
        assert_eq!(reply.to_string(), r#"[{"a": :1}, ~[+x, +y], ="text"]"#);
        second_opinion(wire, &reply, Protocol::Resp3).unwrap();
        assert!(second_opinion(wire, &Reply::Array(vec![]), Protocol::Resp3).is_err());
        second_opinion(b"*-1\r\n", &Reply::NilArray, Protocol::Resp2).unwrap();
        assert!(reply.check_protocol(Protocol::Resp2).is_err());
    }
}
