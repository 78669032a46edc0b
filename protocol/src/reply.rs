//! Replies: one call per RESP element, in RESP2 or RESP3 as the connection asked, appended to its
//! [`Output`].
//!
//! Elements are written in order and nested by hand: a header announces how many elements follow.
//! Nothing here checks that they do.

use std::sync::Arc;

use crate::number::format_double;
pub use crate::output::{Chunk, Mark, Output};

/// The protocol a connection speaks; RESP2 until `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Redis' protocol before 6.0: strings, integers, arrays.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, booleans, null, big numbers, verbatim strings and pushes.
    Resp3,
}

/// Bytes that suffice for `<type><decimal usize>\r\n` twice and a closing `\r\n`.
const HEADER_ROOM: usize = 48;

/// `$n\r\n` for n below this are copied from a table.
const LINES_LEN: usize = 1000;

/// `$n\r\n` padded to 8 bytes, the last of which holds the line's length.
static LINES: [[u8; 8]; LINES_LEN] = lines();

const fn lines() -> [[u8; 8]; LINES_LEN] {
    let mut lines = [[0; 8]; LINES_LEN];
    let mut n = 0;
    while n < LINES_LEN {
        let mut line = [0; 8];
        line[0] = b'$';
        let digits = if n < 10 {
            1
        } else if n < 100 {
            2
        } else {
            3
        };
        let mut at = digits;
        let mut rest = n;
        while at > 0 {
            line[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            at -= 1;
        }
        line[digits + 1] = b'\r';
        line[digits + 2] = b'\n';
        line[7] = digits as u8 + 3;
        lines[n] = line;
        n += 1;
    }
    lines
}

/// Appends `<kind><n>\r\n`; the caller has made room.
#[inline]
fn push_line(tail: &mut Vec<u8>, kind: u8, n: usize) {
    if let Some(line) = LINES.get(n) {
        // A copy of fixed size is one store; the padding is cut off again.
        let mut line = *line;
        line[0] = kind;
        let end = tail.len() + usize::from(line[7]);
        tail.extend_from_slice(&line);
        tail.truncate(end);
    } else {
        tail.push(kind);
        tail.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
        tail.extend_from_slice(b"\r\n");
    }
}

/// Writes the elements of replies to an [`Output`].
pub struct ReplyWriter<'o> {
    out: &'o mut Output,
    protocol: Protocol,
}

impl<'o> ReplyWriter<'o> {
    /// Writes to the end of `out` in `protocol`.
    #[inline]
    pub fn new(out: &'o mut Output, protocol: Protocol) -> ReplyWriter<'o> {
        ReplyWriter { out, protocol }
    }

    /// The protocol being written.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The output, to mark, roll back or append to.
    #[inline]
    pub fn output(&mut self) -> &mut Output {
        self.out
    }

    /// A status such as `PONG`; must hold no line end.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        let tail = self.out.room(text.len() + HEADER_ROOM);
        tail.push(b'+');
        tail.extend_from_slice(text.as_bytes());
        tail.extend_from_slice(b"\r\n");
    }

    /// The status `OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend(b"+OK\r\n");
    }

    /// An error whose `text` begins with its code word; line ends inside become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// An error whose text quotes bytes of a peer, see [`error`](Self::error).
    #[cold]
    pub fn error_bytes(&mut self, text: &[u8]) {
        let tail = self.out.room(text.len() + HEADER_ROOM);
        tail.push(b'-');
        tail.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        tail.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        let tail = self.out.room(HEADER_ROOM);
        match usize::try_from(value) {
            Ok(small) => push_line(tail, b':', small),
            Err(_) => {
                tail.push(b':');
                tail.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                tail.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A bulk string; `bytes` are copied.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let tail = self.out.room(bytes.len() + HEADER_ROOM);
        push_line(tail, b'$', bytes.len());
        tail.extend_from_slice(bytes);
        tail.extend_from_slice(b"\r\n");
    }

    /// A bulk string of text.
    #[inline]
    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// An integer in decimal as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A bulk string whose bytes are not copied but kept alive until sent; pays off from a few KiB
    /// on.
    pub fn shared(&mut self, bytes: Arc<Vec<u8>>) {
        push_line(self.out.room(HEADER_ROOM), b'$', bytes.len());
        self.out.share(bytes);
        self.out.extend(b"\r\n");
    }

    /// Nothing, where a string would be: RESP2 `$-1`, RESP3 `_`.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.extend(b"$-1\r\n"),
            Protocol::Resp3 => self.out.extend(b"_\r\n"),
        }
    }

    /// Nothing, where an array would be: RESP2 `*-1`, RESP3 `_`.
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.extend(b"*-1\r\n"),
            Protocol::Resp3 => self.out.extend(b"_\r\n"),
        }
    }

    /// Announces an array of `len` elements.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Announces a map of `pairs` keys each followed by its value; RESP2: an array of twice as many
    /// elements.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs),
        }
    }

    /// Announces a set of `len` elements; RESP2: an array.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'~', len),
        }
    }

    /// Announces an out-of-band message of `len` elements, its kind first; RESP2: an array.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'>', len),
        }
    }

    /// An array whose length is known when its elements are written: `elements` writes them and
    /// returns their number, which is returned again.
    ///
    /// The elements are gathered in an output of their own and moved behind the header, long ones
    /// without a copy.
    pub fn array_with(&mut self, elements: impl FnOnce(&mut ReplyWriter<'_>) -> usize) -> usize {
        self.deferred(elements, ReplyWriter::array)
    }

    /// A set whose length is known when its elements are written, see
    /// [`array_with`](Self::array_with).
    pub fn set_with(&mut self, elements: impl FnOnce(&mut ReplyWriter<'_>) -> usize) -> usize {
        self.deferred(elements, ReplyWriter::set)
    }

    /// A map whose length is known when its pairs are written; `pairs` returns their number, see
    /// [`array_with`](Self::array_with).
    pub fn map_with(&mut self, pairs: impl FnOnce(&mut ReplyWriter<'_>) -> usize) -> usize {
        self.deferred(pairs, ReplyWriter::map)
    }

    fn deferred(
        &mut self,
        elements: impl FnOnce(&mut ReplyWriter<'_>) -> usize,
        header: impl FnOnce(&mut ReplyWriter<'o>, usize),
    ) -> usize {
        let mut gathered = Output::new();
        let len = elements(&mut ReplyWriter::new(&mut gathered, self.protocol));
        header(self, len);
        self.out.append(gathered);
        len
    }

    /// A double, in the shortest form that reads back the same; RESP2: as a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(&text),
            Protocol::Resp3 => self.line(b',', &text),
        }
    }

    /// A boolean; RESP2: the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// An integer of any size in decimal `digits`; RESP2: as a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        debug_assert!(!digits.contains(['\r', '\n']));
        match self.protocol {
            Protocol::Resp2 => self.bulk_str(digits),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Plain text for people, such as the answer of `INFO`; RESP2: a bulk string.
    pub fn verbatim(&mut self, text: &[u8]) {
        const FORMAT: &[u8] = b"txt:";
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                let tail = self.out.room(text.len() + HEADER_ROOM);
                push_line(tail, b'=', FORMAT.len() + text.len());
                tail.extend_from_slice(FORMAT);
                tail.extend_from_slice(text);
                tail.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Bytes that are encoded already, in this writer's protocol.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend(encoded);
    }

    #[inline]
    fn header(&mut self, kind: u8, len: usize) {
        push_line(self.out.room(HEADER_ROOM), kind, len);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        let tail = self.out.room(text.len() + HEADER_ROOM);
        tail.push(kind);
        tail.extend_from_slice(text);
        tail.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
