//! What the server remembers of one connection between its commands.

use crate::clients::Client;
use crate::command::Command;
use crate::node::Node;
use core::sync::atomic::Ordering;
use protocol::{OwnedRequest, Protocol};
use std::collections::VecDeque;
use std::sync::Arc;
use storage::{Access, Cx, Db, LoadKey, Watch};

/// State of one connection.
pub struct Session {
    /// What other connections may see of this one.
    pub client: Arc<Client>,
    /// The selected database.
    pub db: Db,
    /// The protocol of replies.
    pub protocol: Protocol,
    /// Whether commands other than login are allowed.
    pub authenticated: bool,
    /// `CLIENT REPLY`.
    pub replies: Replies,
    /// The transaction being queued.
    pub transaction: Option<Transaction>,
    /// Keys watched for the next EXEC.
    pub watches: Vec<Watch>,
    /// Commands are being run by EXEC (or a script): one clock reading, no waiting, no slices.
    pub in_exec: bool,
    /// Reads do not count as uses of a key.
    pub no_touch: bool,
    /// Leases granted to this connection, oldest first, that its end releases.
    pub leases: VecDeque<HeldLease>,
}

/// A lease of a connection.
pub struct HeldLease {
    /// Its key.
    pub key: LoadKey,
    /// Its number.
    pub token: u64,
    /// When it has ended by itself, steady ms.
    pub ends_ms: u64,
}

/// Leases a connection remembers, and bytes of their keys; of more the oldest are left to expire.
const MAX_HELD_LEASES: usize = 256;
const MAX_HELD_BYTES: usize = 64 * 1024;

/// Which replies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None, until switched on.
    Off,
    /// The next one not, set by the command that just ran.
    SkipNext,
    /// The one of the command now running not.
    Skip,
}

/// Commands queued since MULTI.
#[derive(Default)]
pub struct Transaction {
    /// In order of arrival.
    pub queued: Vec<(&'static Command, OwnedRequest)>,
    /// Bytes of them.
    pub bytes: usize,
    /// A command was refused: EXEC will abort.
    pub aborted: bool,
}

impl Session {
    /// A fresh connection; `authenticated` where no password is needed.
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        Self {
            client,
            db: Db(0),
            protocol: Protocol::Resp2,
            authenticated,
            replies: Replies::On,
            transaction: None,
            watches: Vec::new(),
            in_exec: false,
            no_touch: false,
            leases: VecDeque::new(),
        }
    }

    /// Shows others how the connection stands, `command` being the last it sent. Its core does so once a turn, and a
    /// command that shows the connection itself before it looks.
    pub fn publish(&self, command: Option<&Command>, now_ms: u64) {
        let client = &self.client;
        client.active_ms.store(now_ms, Ordering::Relaxed);
        client.db.store(self.db.0, Ordering::Relaxed);
        client.protocol.store(if self.protocol == Protocol::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
        client.last_command.store(command.map_or(u16::MAX, |command| command.wire_id), Ordering::Relaxed);
        client.watching.store(self.watches.len() as u32, Ordering::Relaxed);
        client.no_touch.store(self.no_touch, Ordering::Relaxed);
        // EXEC takes the queue away to run it: until it ends, the length noted when the last command was queued holds.
        if self.transaction.is_some() || !self.in_exec {
            let queued = self.transaction.as_ref().map_or(-1, |transaction| transaction.queued.len() as i64);
            client.queued.store(queued, Ordering::Relaxed);
            client.queued_bytes.store(self.queued_bytes() as u64, Ordering::Relaxed);
        }
    }

    /// Remembers a lease to be released at the end. It may be answered by another connection, which this one does not see.
    pub fn hold_lease(&mut self, lease: HeldLease, cx: &Cx) {
        self.leases.retain(|held| held.ends_ms > cx.steady_ms);
        self.leases.push_back(lease);
        while self.leases.len() > MAX_HELD_LEASES || self.held_lease_bytes() > MAX_HELD_BYTES {
            self.leases.pop_front();
        }
    }

    fn held_lease_bytes(&self) -> usize {
        self.leases.iter().map(|lease| lease.key.bytes()).sum()
    }

    /// Forgets a lease: it was answered.
    pub fn forget_lease(&mut self, token: u64) {
        if let Some(at) = self.leases.iter().rposition(|lease| lease.token == token) {
            self.leases.remove(at);
        }
        if self.leases.is_empty() {
            self.leases = VecDeque::new();
        }
    }

    /// Releases all leases that were granted to this connection: it has ended, or begins anew.
    pub fn release_leases(&mut self, node: &Node, store: &mut Access<'_>, cx: &Cx) {
        if self.leases.is_empty() {
            return;
        }
        let mut held = core::mem::take(&mut self.leases);
        held.retain(|HeldLease { key, token, .. }| store.decline(*token, key, cx));
        // Jobs among them are for other workers.
        let gone: Vec<u64> = held.into_iter().map(|lease| lease.token).collect();
        node.jobs.recover(&gone, store, cx);
    }

    /// Bytes of its transaction and of the leases it remembers.
    pub fn held_bytes(&self) -> usize {
        self.queued_bytes() + size_of::<HeldLease>() * self.leases.capacity() + self.held_lease_bytes()
    }

    /// Bytes queued in a transaction.
    pub fn queued_bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.bytes)
    }
}

impl Transaction {
    /// Adds a request.
    pub fn push(&mut self, command: &'static Command, request: OwnedRequest) {
        self.bytes += request.heap_bytes() + size_of::<(&Command, OwnedRequest)>();
        self.queued.push((command, request));
    }
}
