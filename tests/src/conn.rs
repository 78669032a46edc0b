//! One raw connection: bytes out, replies in.
//!
//! The protocol version is followed, not assumed: a reply to HELLO or RESET switches it, and any other reply must use the types of the
//! version in force.

use crate::reply::{self, Reply};
use crate::server::Address;
use crate::words::request;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A reply that takes longer is a failure: generous, for a debug build on a busy machine.
pub const REPLY_DEADLINE: Duration = Duration::from_secs(20);

/// The two versions of RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Resp2,
    Resp3,
}

/// Why a reply could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The server closed or reset the connection.
    Closed,
    /// Nothing complete arrived in time; the bytes that did arrive, quoted.
    Timeout(String),
    /// The bytes are no reply.
    Malformed(String),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client connection that owns its receive buffer.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    buf: Vec<u8>,
    start: usize,
    protocol: Protocol,
}

impl Conn {
    /// Connects; TCP connections send small writes at once.
    pub fn open(address: &Address) -> io::Result<Conn> {
        let stream = match address {
            Address::Tcp(at) => {
                let stream = TcpStream::connect_timeout(at, REPLY_DEADLINE)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        Ok(Conn { stream, buf: Vec::new(), start: 0, protocol: Protocol::Resp2 })
    }

    /// The protocol version in force, as the replies so far established it.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    /// Sends one command as an array of bulk strings.
    pub fn send_command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send(&request(args))
    }

    /// Sends a command and reads one reply; panics when either fails.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        let shown = String::from_utf8_lossy(args[0].as_ref()).into_owned();
        self.send_command(args).unwrap_or_else(|e| panic!("sending {shown}: {e}"));
        self.read().unwrap_or_else(|e| panic!("no reply to {shown}: {e:?}"))
    }

    /// Sends a command written as blank-separated words (no quoting) and reads one reply; panics when either fails.
    pub fn cmd(&mut self, words: &str) -> Reply {
        self.command(&words.split_ascii_whitespace().collect::<Vec<_>>())
    }

    /// Reads one reply within [`REPLY_DEADLINE`].
    pub fn read(&mut self) -> Result<Reply, Broken> {
        self.read_within(REPLY_DEADLINE)
    }

    /// Reads one reply; `Timeout` when it is not complete after `limit`.
    pub fn read_within(&mut self, limit: Duration) -> Result<Reply, Broken> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(reply) = self.take_reply()? {
                return Ok(reply);
            }
            self.fill(deadline)?;
        }
    }

    /// Reads `count` replies; panics with their number so far when one does not come.
    pub fn read_many(&mut self, count: usize) -> Vec<Reply> {
        (0..count).map(|n| self.read().unwrap_or_else(|e| panic!("reply {n} of {count}: {e:?}"))).collect()
    }

    /// True when the server closes the connection, with nothing more to read, within [`REPLY_DEADLINE`].
    pub fn is_closed(&mut self) -> bool {
        matches!(self.read(), Err(Broken::Closed))
    }

    /// Reads raw bytes to the end of the stream or to `limit`; a reset counts as the end. Returns what came, and whether the end came.
    pub fn drain(&mut self, limit: Duration) -> (Vec<u8>, bool) {
        let deadline = Instant::now() + limit;
        let closed = loop {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(Broken::Closed) => break true,
                Err(_) => break false,
            }
        };
        (self.buf.split_off(self.start), closed)
    }

    /// Ends the sending direction; what the server still has to say can be read.
    pub fn finish_sending(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// A handle for writing from another thread.
    pub fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match &self.stream {
            Stream::Tcp(stream) => Box::new(stream.try_clone()?),
            Stream::Unix(stream) => Box::new(stream.try_clone()?),
        })
    }

    /// Moves already received bytes, or else newly arriving ones, into `into`; 0 at the end of the stream.
    pub fn read_raw(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start < self.buf.len() {
            let n = into.len().min(self.buf.len() - self.start);
            into[..n].copy_from_slice(&self.buf[self.start..self.start + n]);
            self.start += n;
            return Ok(n);
        }
        self.set_read_timeout(Some(REPLY_DEADLINE))?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }

    fn take_reply(&mut self) -> Result<Option<Reply>, Broken> {
        let bytes = &self.buf[self.start..];
        // The reply that switches is already in the new version.
        let tried = [self.protocol, if self.protocol == Protocol::Resp2 { Protocol::Resp3 } else { Protocol::Resp2 }];
        for (attempt, protocol) in tried.into_iter().enumerate() {
            let (reply, used) = match reply::decode(bytes, protocol) {
                Ok(Some(done)) => done,
                Ok(None) => return Ok(None),
                Err(e) => return Err(Broken::Malformed(e)),
            };
            let switches_to = switched_by(&reply);
            if attempt == 0 && switches_to.is_some_and(|to| to != self.protocol) {
                continue;
            }
            reply.check_protocol(protocol).map_err(Broken::Malformed)?;
            reply::second_opinion(&bytes[..used], &reply, protocol).map_err(Broken::Malformed)?;
            self.protocol = protocol;
            self.start += used;
            return Ok(Some(reply));
        }
        unreachable!("the second attempt always ends the loop")
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Broken> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timed_out = |conn: &Conn| {
            let bytes = &conn.buf[conn.start..];
            Broken::Timeout(crate::words::quote(&bytes[..bytes.len().min(200)]))
        };
        if left.is_zero() {
            return Err(timed_out(self));
        }
        self.set_read_timeout(Some(left)).map_err(|_| Broken::Closed)?;
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        // The chunk grows with the reply, so that decoding from its start again stays linear over all.
        let old = self.buf.len();
        self.buf.resize(old + old.max(16 << 10), 0);
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut self.buf[old..]),
            Stream::Unix(stream) => stream.read(&mut self.buf[old..]),
        };
        self.buf.truncate(old + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(Broken::Closed),
            Ok(_) => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(timed_out(self)),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Broken::Closed),
        }
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
            Stream::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The version a reply announces: HELLO's map or flat array (both begin with `server`), and RESET.
fn switched_by(reply: &Reply) -> Option<Protocol> {
    let is_server = |key: &Reply| key.text() == Some(b"server");
    match reply {
        Reply::Map(pairs) if pairs.first().is_some_and(|(key, _)| is_server(key)) => Some(Protocol::Resp3),
        Reply::Array(items) if items.len() == 14 && is_server(&items[0]) => Some(Protocol::Resp2),
        Reply::Status(text) if text == "RESET" => Some(Protocol::Resp2),
        _ => None,
    }
}
