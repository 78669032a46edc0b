//! One extra connection that works in small turns beside a running load: each turn moves at most 64 KiB either way, so that
//! feeding or draining a huge command does not itself delay the load that is being measured.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};

use crate::error::{Result, fail};
use crate::load::write_some;
use crate::resp::Counter;
use crate::wire::Protocol;

const TURN_BYTES: usize = 64 << 10;

pub struct Pipe {
    stream: TcpStream,
    protocol: Protocol,
    out: Vec<u8>,
    sent: usize,
    counter: Counter,
    lines_left: u64,
    keep: bool,
    kept: Vec<u8>,
    input: Vec<u8>,
}

impl Pipe {
    pub fn open(address: SocketAddr, protocol: Protocol) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            protocol,
            out: Vec::new(),
            sent: 0,
            counter: Counter::default(),
            lines_left: 0,
            keep: false,
            kept: Vec::new(),
            input: vec![0; TURN_BYTES],
        })
    }

    /// Keeps the bytes of replies for `take_kept`.
    pub fn keeping(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Queues requests that have `replies` replies in all; over memcached's protocol every reply must be one line.
    pub fn start(&mut self, requests: &[u8], replies: u64) {
        self.out.extend_from_slice(requests);
        match self.protocol {
            Protocol::Resp => self.counter.expect(replies),
            Protocol::Memcached => self.lines_left += replies,
        }
    }

    /// Moves bytes; true once every reply has arrived.
    pub fn turn(&mut self) -> Result<bool> {
        if self.sent < self.out.len() {
            let end = self.out.len().min(self.sent + TURN_BYTES);
            self.sent += write_some(&self.stream, &self.out[self.sent..end])?;
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
            }
        }
        match (&self.stream).read(&mut self.input) {
            Ok(0) => fail!("the server closed a connection"),
            Ok(read) => self.take(read)?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.out.is_empty() && self.counter.done() && self.lines_left == 0)
    }

    /// Everything kept since the last call.
    pub fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    fn take(&mut self, read: usize) -> Result<()> {
        let bytes = &self.input[..read];
        if self.keep {
            self.kept.extend_from_slice(bytes);
        }
        match self.protocol {
            Protocol::Resp => self.counter.take(bytes),
            Protocol::Memcached => {
                let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
                match self.lines_left.checked_sub(lines) {
                    Some(left) => self.lines_left = left,
                    None => fail!("a reply that was not asked for: {:?}", crate::resp::head(bytes)),
                }
                Ok(())
            }
        }
    }
}
