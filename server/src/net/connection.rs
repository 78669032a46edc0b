//! One connection: its session, the bytes received but not run yet, and the replies not sent yet.

use commands::command::Command;
use commands::effect::{Job, Wait};
use commands::session::Session;
use core::ops::Range;
use core::sync::atomic::Ordering;
use protocol::{Decoder, Output, Span};
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::IoSlice;

/// Most bytes one `recv` takes into a connection's own buffer, and least room made for it.
const RECV_BYTES: usize = 64 * 1024;
/// From here on no further piece of a long argument is received in the same turn.
const RECV_TURN_BYTES: usize = 1024 * 1024;
/// Most bytes received in one turn for a request of many short arguments. They go into memory never used before, as do
/// their positions: some 500 us where a hypervisor has to provide it. The other connections get a request through per
/// turn, so with longer turns theirs pile up for as long as this one arrives.
const RECV_SHORT_BYTES: usize = 128 * 1024;
/// Pieces given to one `writev`; Linux takes 1024.
const WRITE_PIECES: usize = 64;
/// Most bytes sent to one connection in one turn, so that a huge reply does not hold up the others: some 100 us.
const SEND_TURN_BYTES: usize = 512 * 1024;

/// Why a connection's next commands wait.
pub enum Hold {
    /// A pause of clients.
    Pause,
    /// Until this instant, ms since the epoch; replies wait as well.
    Until(u64),
    /// A long command is being run in slices.
    Job(Box<LongCommand<Box<dyn Job>>>),
    /// A command waits for others.
    Parked(Box<LongCommand<Box<dyn Wait>>>),
}

/// A command that goes on later: cut into slices, or waiting. Its request stands at the beginning of the connection's
/// `tail`.
pub struct LongCommand<T> {
    pub rest: T,
    pub command: &'static Command,
    /// Positions of arguments, and which of them are this request's.
    pub spans: Vec<Span>,
    pub args: Range<usize>,
    pub request_bytes: usize,
    pub elapsed_ns: u64,
}

/// See the module's text.
pub struct Connection {
    pub fd: OwnedFd,
    pub session: Session,
    pub decoder: Decoder,
    /// Received bytes from `tail_at` on; the first of them begins the current request.
    tail: Vec<u8>,
    tail_at: usize,
    /// Bytes the current request still lacks, as far as its peer announced them.
    pub wanted: usize,
    pub output: Output,
    /// The command run last: most clients send few kinds.
    pub last: Option<&'static Command>,
    pub hold: Option<Hold>,
    /// No more commands; closed once `output` is sent.
    pub closing: bool,
    /// The peer closed or failed: nothing can be sent.
    pub broken: bool,
    /// Stands in the list of connections to go on with in the next turn.
    pub carried: bool,
    /// Stands in the list of those that wait for a time.
    pub waiting: bool,
    /// Events the epoll set is asked for.
    pub reading: bool,
    pub writing: bool,
    /// Since when the output is above the soft limit, ms since the epoch.
    pub above_soft_since_ms: Option<u64>,
    /// Buffer bytes booked with the store.
    pub booked: usize,
}

/// How receiving went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many new bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer has gone.
    End,
}

impl Connection {
    pub fn new(fd: OwnedFd, session: Session) -> Self {
        Self {
            fd,
            session,
            decoder: Decoder::new(),
            tail: Vec::new(),
            tail_at: 0,
            wanted: 0,
            output: Output::new(),
            last: None,
            hold: None,
            closing: false,
            broken: false,
            carried: false,
            waiting: false,
            reading: true,
            writing: false,
            above_soft_since_ms: None,
            booked: 0,
        }
    }

    /// Whether commands may be run now.
    pub fn runs(&self) -> bool {
        self.hold.is_none() && !self.closing && !self.broken
    }

    /// Bytes received but not run.
    pub fn pending(&self) -> &[u8] {
        &self.tail[self.tail_at..]
    }

    /// The same, to be decoded in place.
    pub fn pending_mut(&mut self) -> &mut [u8] {
        &mut self.tail[self.tail_at..]
    }

    /// Pending bytes, session and output at once, for running a command.
    pub fn parts(&mut self) -> (&[u8], &mut Session, &mut Output) {
        (&self.tail[self.tail_at..], &mut self.session, &mut self.output)
    }

    /// Drops the first `bytes` pending ones: they were run.
    pub fn consume(&mut self, bytes: usize) {
        self.tail_at += bytes;
        if self.tail_at == self.tail.len() {
            // Freed, not kept: ten thousand idle connections hold no buffer.
            self.tail = Vec::new();
            self.tail_at = 0;
        }
    }

    /// Keeps bytes that could not be run yet.
    pub fn keep(&mut self, bytes: &[u8]) {
        debug_assert!(self.tail.is_empty());
        self.tail.extend_from_slice(bytes);
    }

    /// Puts bytes before the pending ones.
    pub fn put_back(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(self.pending());
        (self.tail, self.tail_at) = (bytes, 0);
    }

    /// Receives into a shared buffer; for connections with nothing pending.
    pub fn receive_into(&mut self, buffer: &mut [u8]) -> Received {
        debug_assert!(self.pending().is_empty());
        received(rustix::net::recv(&self.fd, buffer, RecvFlags::DONTWAIT).map(|(n, _)| n))
    }

    /// Receives behind the pending bytes, which the room made for more follows: nothing is reserved because a peer
    /// announced it. Short arguments come through `scratch`, so that one call takes a bounded part of what has arrived;
    /// long ones are not worth a second copy.
    pub fn receive_more(&mut self, scratch: &mut [u8]) -> Received {
        if self.tail_at > 0 && self.tail_at >= self.tail.len() / 2 {
            self.tail.drain(..self.tail_at);
            self.tail_at = 0;
            if self.tail.capacity() / 4 > self.tail.len().max(RECV_BYTES) {
                // Its pages were written to by an earlier, longer request.
                self.tail.shrink_to(self.tail.len() + RECV_BYTES);
            }
        }
        if self.tail.capacity() - self.tail.len() < RECV_BYTES {
            self.tail.reserve(room_behind(self.tail.len()));
        }
        if self.wanted < RECV_BYTES {
            let most = scratch.len().min(RECV_SHORT_BYTES).min(self.tail.capacity() - self.tail.len());
            let received =
                received(rustix::net::recv(&self.fd, &mut scratch[..most], RecvFlags::DONTWAIT).map(|(n, _)| n));
            if let Received::Bytes(bytes) = received {
                self.tail.extend_from_slice(&scratch[..bytes]);
            }
            return received;
        }
        let mut total = 0;
        loop {
            let result = rustix::net::recv(&self.fd, spare_capacity(&mut self.tail), RecvFlags::DONTWAIT);
            match received(result.map(|(n, _)| n)) {
                Received::Bytes(bytes) => total += bytes,
                // An end after some bytes comes up again with the next event.
                _ if total > 0 => return Received::Bytes(total),
                end => return end,
            }
            let full = self.tail.len() == self.tail.capacity();
            if full || total >= RECV_TURN_BYTES {
                return Received::Bytes(total);
            }
        }
    }

    /// Sends what the socket takes. Returns the bytes sent.
    pub fn send(&mut self) -> usize {
        let mut total = 0;
        while !self.output.is_empty() && !self.broken && total < SEND_TURN_BYTES {
            let mut left = SEND_TURN_BYTES - total;
            let result = match self.output.as_single() {
                Some(bytes) => {
                    let bytes = &bytes[..bytes.len().min(left)];
                    rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
                }
                None => {
                    let mut pieces: Vec<IoSlice<'_>> = Vec::with_capacity(WRITE_PIECES);
                    for bytes in self.output.chunks().take(WRITE_PIECES) {
                        let bytes = &bytes[..bytes.len().min(left)];
                        left -= bytes.len();
                        pieces.push(IoSlice::new(bytes));
                        if left == 0 {
                            break;
                        }
                    }
                    rustix::io::writev(&self.fd, &pieces)
                }
            };
            match result {
                Ok(bytes) => {
                    self.output.advance(bytes);
                    total += bytes;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.broken = true,
            }
        }
        total
    }

    /// Bytes this connection keeps in memory: what it received, queued in a transaction, and has not been sent. Room that
    /// nothing was written to yet counts no memory.
    pub fn held_bytes(&self) -> usize {
        let received = self.tail.len().max(self.tail.capacity().min(RECV_BYTES));
        received + self.session.held_bytes() + self.output.len()
    }

    /// Shows others how this connection stands.
    pub fn publish(&self, now_ms: u64) {
        let client = &self.session.client;
        self.session.publish(self.last, now_ms);
        client.query_bytes.store(self.pending().len() as u64, Ordering::Relaxed);
        client.query_room.store((self.tail.capacity() - self.tail.len()) as u64, Ordering::Relaxed);
        client.output_bytes.store(self.output.len() as u64, Ordering::Relaxed);
    }
}

/// Room made behind `pending` bytes. In few large steps: a copy of megabytes would hold up the other connections, while
/// room that nothing has been written to yet takes no memory, only addresses.
fn room_behind(pending: usize) -> usize {
    match pending {
        0..0x1_0000 => RECV_BYTES,
        0x1_0000..0x10_0000 => 2 << 20,
        0x10_0000..0x400_0000 => 128 << 20,
        _ => 1 << 30,
    }
}

fn received(result: rustix::io::Result<usize>) -> Received {
    match result {
        Ok(0) => Received::End,
        Ok(bytes) => Received::Bytes(bytes),
        Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
        Err(_) => Received::End,
    }
}
