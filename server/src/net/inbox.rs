//! Messages to a serving core from others: a queue, and an event counter in the core's epoll set.

use super::mailbox::{Bell, Mailbox};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use storage::{Store, Woken};

/// What one core tells another.
pub enum Mail {
    /// Serve this connection.
    Connection(Newcomer),
    /// Look at the clients: some were killed, or a pause has ended.
    LookAround,
    /// These clients of it that wait are told something.
    Woken(Vec<Woken>),
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

/// Tells those cores whom the store wants to be woken there.
pub fn forward(store: &Store, inboxes: &[Inbox]) {
    let mut by_core: Vec<Vec<Woken>> = Vec::new();
    for woken in store.take_woken() {
        by_core.resize_with(by_core.len().max(woken.core + 1), Vec::new);
        by_core[woken.core].push(woken);
    }
    for (inbox, woken) in inboxes.iter().zip(by_core).filter(|(_, woken)| !woken.is_empty()) {
        inbox.send(Mail::Woken(woken));
    }
}

/// A core's letter box.
pub struct Inbox(Mailbox<Mail, EventCounter>);

struct EventCounter(OwnedFd);

impl Bell for EventCounter {
    fn ring(&self) {
        // Fails only when the counter is full, and then the core is being woken anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl Inbox {
    /// An empty box.
    pub fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Mailbox::new(EventCounter(bell))))
    }

    /// Leaves a message and wakes the core.
    pub fn send(&self, mail: Mail) {
        self.0.send(mail);
    }

    /// Takes all messages.
    pub fn take(&self) -> Vec<Mail> {
        self.0.take()
    }

    /// What becomes readable when there is mail.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell().0.as_fd()
    }
}
