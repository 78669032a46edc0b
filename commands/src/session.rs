//! What the server remembers of one connection between its commands.

use crate::clients::Client;
use crate::command::Command;
use protocol::{OwnedRequest, Protocol};
use std::sync::Arc;
use storage::{Db, Watch};

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
}

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
        }
    }

    /// Bytes queued in a transaction.
    pub fn queued_bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |t| t.queued.iter().map(|(_, request)| request.heap_bytes()).sum())
    }
}
