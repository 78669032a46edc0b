//! Projections as commands see them: which keys they own, how they stand, and what is asked of them.
//!
//! Each has a runner elsewhere, which shows how it stands on a *board* and takes what it is asked from a list. No command
//! waits for it.

mod times;

use crate::call::Call;
use crate::command::Flags;
use crate::error::{Code, Error};
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::{Mutex, RwLock};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use storage::Db;
pub use times::Times;

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
    terms: Terms,
    /// Readers of its keys are to get errors; the board says which. For a cheap look.
    refuses: AtomicBool,
    board: Mutex<Arc<Board>>,
    /// Its database is being emptied, or was and its runner does not know yet: whatever that shows, it is not ready.
    is_emptied: AtomicBool,
    /// Its runner is to read all anew.
    reload_due: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    /// Keys whose last record cannot be read, where readers are to know; and whether there are any.
    poisoned: RwLock<HashSet<Box<[u8]>>>,
    has_poison: AtomicBool,
    /// Where seeks went, by their tickets, until somebody asks.
    sought: Mutex<HashMap<u64, Result<i64, String>>>,
}

/// What others may do with a projection's keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// They are refused to readers before it has caught up.
    pub refuses_before_ready: bool,
    /// Clients may write them, until the topic says otherwise.
    pub takes_writes: bool,
    /// Its database may be emptied: it reads all anew then.
    pub takes_flushes: bool,
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
    /// What it remembers beside its entries, by name.
    pub kept: Vec<(&'static str, u64)>,
    /// How long its steps take, by name.
    pub times: [(&'static str, Times); 2],
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
    /// It waits for the record there to be skipped, or for its schema.
    pub blocked_at: Option<i64>,
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
    /// The end of what open transactions do not hide; `None` = not known.
    pub stable_end: Option<i64>,
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
    /// Read everything anew, and show nothing of it before its end if that is asked for.
    Rebuild {
        /// See there.
        is_shadow: bool,
    },
    /// Go on elsewhere in a partition; where that was is told by the ticket.
    Seek {
        /// Topic and number.
        partition: (String, i32),
        /// Where to.
        to: SeekTo,
        /// See [`Projection::take_sought`].
        ticket: u64,
    },
    /// Pass over a record.
    Skip(String, i32, i64),
    /// Forget the records that could not be read.
    ResetErrors,
}

/// Where a seek goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The first record there is.
    Beginning,
    /// Behind the last one.
    End,
    /// This offset.
    Offset(i64),
    /// The first record of that time or later, ms since the epoch.
    Time(i64),
}

/// Most requests that wait for a runner.
const MAX_ASKED: usize = 1000;

impl Projection {
    /// One that has not begun.
    pub fn new(name: String, db: Db, prefix: &[u8], description: String, terms: Terms) -> Self {
        let refusal = terms.refuses_before_ready.then_some(Refusal::Loading);
        let board = Board { state: "init", refusal, ..Board::default() };
        Self {
            name,
            db,
            prefix: prefix.into(),
            description,
            terms,
            refuses: AtomicBool::new(refusal.is_some()),
            board: Mutex::new(Arc::new(board)),
            is_emptied: AtomicBool::new(false),
            reload_due: AtomicBool::new(false),
            asked: Mutex::default(),
            poisoned: RwLock::default(),
            has_poison: AtomicBool::new(false),
            sought: Mutex::default(),
        }
    }

    /// Its runner says whether readers of a key are to get errors.
    pub fn set_poisoned(&self, key: Box<[u8]>, is_poisoned: bool) {
        let mut keys = self.poisoned.write();
        if is_poisoned {
            keys.insert(key);
        } else {
            keys.remove(&key);
        }
        self.has_poison.store(!keys.is_empty(), Ordering::Release);
    }

    /// Whether the last record of a key could not be read, and readers are to know.
    pub fn is_poisoned(&self, key: &[u8]) -> bool {
        self.has_poison.load(Ordering::Acquire) && self.poisoned.read().contains(key)
    }

    /// Its runner tells where a seek went.
    pub fn tell_sought(&self, ticket: u64, result: Result<i64, String>) {
        let mut sought = self.sought.lock();
        if sought.len() >= MAX_ASKED {
            sought.clear();
        }
        sought.insert(ticket, result);
    }

    /// Where a seek went, or why it did not, once that is known.
    pub fn take_sought(&self, ticket: u64) -> Option<Result<i64, String>> {
        self.sought.lock().remove(&ticket)
    }

    /// Its database is about to be emptied: it is not ready until it has read all anew.
    fn begin_emptying(&self) {
        let mut board = self.board.lock();
        self.is_emptied.store(true, Ordering::Release);
        *board = Arc::new(self.without_entries((**board).clone()));
        self.refuses.store(board.refusal.is_some(), Ordering::Release);
    }

    fn without_entries(&self, board: Board) -> Board {
        let refusal = if self.terms.refuses_before_ready { Some(Refusal::Loading) } else { board.refusal };
        Board { refusal, is_ready: false, percent: 0, ..board }
    }

    /// Whether its entries are gone, and it is to read all anew; said once.
    pub fn take_reload(&self) -> bool {
        self.reload_due.swap(false, Ordering::AcqRel)
    }

    /// Its runner knows that its entries are gone: what it shows from now on is so.
    pub fn reloads(&self) {
        let _board = self.board.lock();
        if !self.reload_due.load(Ordering::Acquire) {
            self.is_emptied.store(false, Ordering::Release);
        }
    }

    /// How it stands.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board.lock())
    }

    /// Its runner shows how it stands.
    pub fn show(&self, board: Board) {
        let mut shown = self.board.lock();
        let board = if self.is_emptied.load(Ordering::Acquire) { self.without_entries(board) } else { board };
        self.refuses.store(board.refusal.is_some(), Ordering::Release);
        *shown = Arc::new(board);
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

    /// An error if a database holds a projection: it is not exchanged.
    pub fn check_whole(&self, db: Option<Db>) -> Result<(), Error> {
        let holds = self.all.iter().find(|projection| db == Some(projection.db));
        holds.map_or(Ok(()), refused_whole)
    }

    /// An error if a database, or any, holds a projection that does not let it be emptied.
    pub fn check_flush(&self, db: Option<Db>) -> Result<(), Error> {
        let holds = |projection: &&Arc<Projection>| db.is_none_or(|db| db == projection.db);
        let holds = self.all.iter().find(|projection| holds(projection) && !projection.terms.takes_flushes);
        holds.map_or(Ok(()), refused_whole)
    }

    /// These databases are about to be emptied: their projections are not ready from now on.
    pub fn begin_emptying(&self, databases: &[Db]) {
        self.within(databases).for_each(|projection| projection.begin_emptying());
    }

    /// They were emptied: their projections read all anew.
    pub fn emptied(&self, databases: &[Db]) {
        self.within(databases).for_each(|projection| projection.reload_due.store(true, Ordering::Release));
    }

    fn within(&self, databases: &[Db]) -> impl Iterator<Item = &Arc<Projection>> {
        self.all.iter().filter(move |projection| databases.contains(&projection.db))
    }
}

/// Whether a command may run that writes to, or reads, keys of projections.
#[cold]
pub fn judge(call: &Call<'_, '_>) -> Result<(), Error> {
    let (projections, flags, db) = (&call.node.projections, call.command.flags, call.db());
    let owner = |db, key| projections.owner(db, key);
    let is_write = flags.has(Flags::WRITE);
    match call.command.name {
        "flushall" => return projections.check_flush(None),
        "flushdb" => return projections.check_flush(Some(db)),
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
            check_readable(owner(db, call.args.at(1)), call.args.at(1))?;
            return check_writable(owner(to.unwrap_or(db), call.args.at(2)));
        }
        _ => {}
    }
    for key in call.command.keys_of(call.args) {
        let owner = owner(db, key);
        if is_write { check_writable(owner)? } else { check_readable(owner, key)? }
    }
    Ok(())
}

fn refused_whole(projection: &Arc<Projection>) -> Result<(), Error> {
    Err(Error::readonly(format!("the database holds projection '{}'", projection.name)))
}

fn check_writable(owner: Option<&Arc<Projection>>) -> Result<(), Error> {
    let owner = owner.filter(|owner| !owner.terms.takes_writes);
    owner.map_or(Ok(()), |owner| Err(Error::readonly(format!("key belongs to projection '{}'", owner.name))))
}

fn check_readable(owner: Option<&Arc<Projection>>, key: &[u8]) -> Result<(), Error> {
    let Some(owner) = owner else { return Ok(()) };
    if owner.is_poisoned(key) {
        let text = format!("the last record of that key in projection '{}' cannot be read", owner.name);
        return Err(Error { code: Code::Poison, text: Cow::Owned(text.into_bytes()) });
    }
    owner.refusal().map_or(Ok(()), Err)
}
