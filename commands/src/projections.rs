//! Projections as commands see them: which keys they own, how they stand, and what is asked of them.
//!
//! Each has a runner elsewhere, which shows how it stands on a *board* and takes what it is asked from a list. No command
//! waits for it.

use crate::call::Call;
use crate::command::Flags;
use crate::error::{Code, Error};
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::Arc;
use storage::Db;

/// The projections of a server, fixed at its start.
#[derive(Default)]
pub struct Projections {
    all: Box<[Arc<Projection>]>,
    /// The databases that hold some, a bit each.
    databases: u16,
}

/// One projection.
pub struct Projection {
    /// Its name.
    pub name: String,
    /// Its database.
    pub db: Db,
    /// What all its keys begin with.
    pub prefix: Box<[u8]>,
    /// Its configuration without secrets, as JSON.
    pub description: String,
    /// Readers of its keys are to get errors; the board says which. For a cheap look.
    refuses: AtomicBool,
    board: Mutex<Arc<Board>>,
    asked: Mutex<Vec<Asked>>,
}

/// How a projection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Its state by name; empty before its runner began.
    pub state: &'static str,
    /// All partitions have caught up once.
    pub is_ready: bool,
    /// Why readers are refused, if they are.
    pub refusal: Option<Refusal>,
    /// Partitions that have caught up once.
    pub ready: usize,
    /// Share of what was there at the start that was applied.
    pub percent: u64,
    /// Records it is behind.
    pub lag: i64,
    /// For how long it may lack something, ms.
    pub lag_ms: u64,
    /// Counts since the start, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// Words for what is not as it should be.
    pub flags: Vec<&'static str>,
    /// What went wrong last; empty = nothing.
    pub last_error: String,
    /// It has several topics: partitions are named with theirs.
    pub has_topics: bool,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionBoard>,
    /// Records that could not be read, by class.
    pub poison: Vec<(&'static str, u64)>,
    /// The last records that could not be read, latest first.
    pub errors: Arc<[ErrorLine]>,
    /// Topics by the numbers that entries name them by, with their ids.
    pub sources: Vec<(u16, String, String)>,
}

/// Why readers are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has not caught up yet.
    Loading,
    /// It is too old.
    Stale,
}

/// How a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionBoard {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// Its state by name.
    pub state: &'static str,
    /// It waits for a record to be skipped, or for a schema.
    pub is_blocked: bool,
    /// Somebody paused it.
    pub is_paused: bool,
    /// The first offset not applied.
    pub applied: i64,
    /// First offset of the log, and its end, as last seen.
    pub log: (i64, i64),
    /// Records it is behind.
    pub lag: i64,
    /// For how long it may lack something, ms; `None` before it was at its end once.
    pub lag_ms: Option<u64>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLine {
    /// Its class by name.
    pub class: &'static str,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was met, ms since the epoch.
    pub at_ms: u64,
    /// What was wrong.
    pub text: String,
}

/// What is asked of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Pause a partition by topic and number, or all.
    Pause(Option<(String, i32)>),
    /// Let it go on.
    Resume(Option<(String, i32)>),
    /// Read everything anew.
    Rebuild,
    /// Pass over a record.
    Skip(String, i32, i64),
    /// Forget the records that could not be read.
    ResetErrors,
}

/// Most requests that wait for a runner.
const MAX_ASKED: usize = 1000;

impl Projection {
    /// One that has not begun; its keys are refused if `before_ready` says so.
    pub fn new(name: String, db: Db, prefix: &[u8], description: String, refuses_before_ready: bool) -> Self {
        let refusal = refuses_before_ready.then_some(Refusal::Loading);
        let board = Board { state: "init", refusal, ..Board::default() };
        Self {
            name,
            db,
            prefix: prefix.into(),
            description,
            refuses: AtomicBool::new(refusal.is_some()),
            board: Mutex::new(Arc::new(board)),
            asked: Mutex::default(),
        }
    }

    /// How it stands.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board.lock())
    }

    /// Its runner shows how it stands.
    pub fn show(&self, board: Board) {
        let refuses = board.refusal.is_some();
        *self.board.lock() = Arc::new(board);
        self.refuses.store(refuses, Ordering::Release);
    }

    /// Asks its runner for something.
    pub fn ask(&self, asked: Asked) -> Result<(), Error> {
        let mut all = self.asked.lock();
        if all.len() >= MAX_ASKED {
            return Err(Error::err("too many requests wait for that projection"));
        }
        all.push(asked);
        Ok(())
    }

    /// What was asked since the last call.
    pub fn take_asked(&self) -> Vec<Asked> {
        core::mem::take(&mut self.asked.lock())
    }

    /// Why a reader of its keys is refused, if so.
    fn refusal(&self) -> Option<Error> {
        if !self.refuses.load(Ordering::Acquire) {
            return None;
        }
        let board = self.board();
        let (code, text) = match board.refusal? {
            Refusal::Loading => (
                Code::Loading,
                format!(
                    "projection '{}' catching up ({}/{} partitions, {}%)",
                    self.name,
                    board.ready,
                    board.partitions.len(),
                    board.percent
                ),
            ),
            Refusal::Stale => (Code::Stale, format!("projection '{}' is {} ms old", self.name, board.lag_ms)),
        };
        Some(Error { code, text: Cow::Owned(text.into_bytes()) })
    }
}

impl Projections {
    /// These.
    pub fn new(all: Vec<Arc<Projection>>) -> Self {
        let databases = all.iter().fold(0, |bits, projection| bits | 1 << projection.db.0);
        Self { all: all.into(), databases }
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Projection>] {
        &self.all
    }

    /// Whether there are any: else no command needs to be judged.
    #[inline]
    pub fn any(&self) -> bool {
        self.databases != 0
    }

    /// The one of this name.
    pub fn named(&self, name: &[u8]) -> Result<&Arc<Projection>, Error> {
        let found = self.all.iter().find(|projection| projection.name.as_bytes() == name);
        found.ok_or(Error::err("no such projection"))
    }

    /// The one that owns a key.
    pub fn owner(&self, db: Db, key: &[u8]) -> Option<&Arc<Projection>> {
        if self.databases & 1 << db.0 == 0 {
            return None;
        }
        self.all.iter().find(|projection| projection.db == db && key.starts_with(&projection.prefix))
    }

    fn in_database(&self, db: Db) -> Option<&Arc<Projection>> {
        self.all.iter().find(|projection| projection.db == db)
    }

    /// An error if a database holds a projection: it is not emptied or exchanged.
    pub fn check_whole(&self, db: Option<Db>) -> Result<(), Error> {
        let holds = match db {
            Some(db) => self.in_database(db),
            None => self.all.first(),
        };
        holds.map_or(Ok(()), |projection| {
            Err(Error::readonly(format!("the database holds projection '{}'", projection.name)))
        })
    }
}

/// Whether a command may run that writes to, or reads, keys of projections.
#[cold]
pub fn judge(call: &Call<'_, '_>) -> Result<(), Error> {
    let (projections, flags, db) = (&call.node.projections, call.command.flags, call.db());
    let owner = |db, key| projections.owner(db, key);
    let is_write = flags.has(Flags::WRITE);
    match call.command.name {
        "flushall" => return projections.check_whole(None),
        "flushdb" => return projections.check_whole(Some(db)),
        "swapdb" => {
            for index in [1, 2] {
                projections.check_whole(call.database(index).ok())?;
            }
            return Ok(());
        }
        // The key as it will be in the other database.
        "move" => check_writable(call.database(2).ok().and_then(|db| owner(db, call.args.at(1))))?,
        "copy" => {
            let to = (3..call.args.len()).find(|index| call.is_word(*index, "DB"));
            let to = to.and_then(|index| call.args.get(index + 1).and_then(|_| call.database(index + 1).ok()));
            check_readable(owner(db, call.args.at(1)))?;
            return check_writable(owner(to.unwrap_or(db), call.args.at(2)));
        }
        _ => {}
    }
    for key in call.command.keys_of(call.args) {
        let owner = owner(db, key);
        if is_write { check_writable(owner)? } else { check_readable(owner)? }
    }
    Ok(())
}

fn check_writable(owner: Option<&Arc<Projection>>) -> Result<(), Error> {
    owner.map_or(Ok(()), |owner| Err(Error::readonly(format!("key belongs to projection '{}'", owner.name))))
}

fn check_readable(owner: Option<&Arc<Projection>>) -> Result<(), Error> {
    owner.and_then(|owner| owner.refusal()).map_or(Ok(()), Err)
}
