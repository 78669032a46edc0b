//! Messages to a serving core from others: a queue, and an event counter in the core's epoll set.

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// What one core tells another.
pub enum Mail {
    /// Serve this connection.
    Connection(Newcomer),
    /// Look at the clients: some were killed, or a pause has ended.
    LookAround,
    /// Answer what was read, then end.
    Stop,
}

/// An accepted connection on its way to its core; its place under `maxclients` is taken.
pub struct Newcomer {
    /// The socket, non-blocking.
    pub fd: OwnedFd,
    /// Address of the peer as clients are shown it.
    pub address: String,
    /// The address it connected to.
    pub local_address: String,
    /// Came by the Unix socket.
    pub is_unix: bool,
}

/// A core's letter box.
pub struct Inbox {
    queue: Mutex<Vec<Mail>>,
    bell: OwnedFd,
}

impl Inbox {
    /// An empty box.
    pub fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { queue: Mutex::default(), bell })
    }

    /// Leaves a message and wakes the core.
    pub fn send(&self, mail: Mail) {
        self.queue.lock().push(mail);
        // Fails only when the counter is full, and then the core is being woken anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Takes all messages; clears the bell first, so that none is missed.
    pub fn take(&self) -> Vec<Mail> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.bell, &mut count);
        std::mem::take(&mut *self.queue.lock())
    }

    /// What becomes readable when there is mail.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
