//! All that a handler can reach: its arguments, its session, the store, the reply, time, and a list for effects.

use crate::command::Command;
use crate::effect::{Effect, Job, Progress};
use crate::error::Error;
use crate::node::Node;
use crate::session::Session;
use crate::stats::WorkerStats;
use protocol::number::parse_i64;
use protocol::{Args, ReplyWriter};
use storage::{Access, Cx, Db, KeyHash, Slot};

/// One command being run.
pub struct Call<'c, 's> {
    /// The row (of the subcommand, if there is one).
    pub command: &'static Command,
    /// The request, name included.
    pub args: Args<'c>,
    /// Hash of the first key, if the shell computed it already.
    pub first_hash: Option<KeyHash>,
    /// The connection's state.
    pub session: &'c mut Session,
    /// The store.
    pub store: &'c mut Access<'s>,
    /// Where the reply goes.
    pub reply: ReplyWriter<'c>,
    /// Clock reading and random seed of this batch.
    pub cx: Cx,
    /// What all cores share.
    pub node: &'c Node,
    /// Counters of this core.
    pub stats: &'c WorkerStats,
    /// What the shell is to do afterwards.
    pub effects: &'c mut Vec<Effect>,
}

impl<'c> Call<'c, '_> {
    /// The selected database.
    pub fn db(&self) -> Db {
        self.session.db
    }

    /// Hash of a key of this request.
    #[inline]
    pub fn hash_of(&self, key: &[u8]) -> KeyHash {
        self.store.hash(key)
    }

    /// Runs `act` on what there is under the first key (`args[1]`), atomically.
    #[inline]
    pub fn first<R>(&mut self, act: impl FnOnce(Slot<'_>, &mut ReplyWriter<'c>) -> R) -> R {
        let key = self.args.at(1);
        let kh = self.first_hash.unwrap_or_else(|| self.store.hash(key));
        let reply = &mut self.reply;
        self.store.one(self.session.db, kh, key, &self.cx, |slot| act(slot, reply))
    }

    /// Runs `act` on what there is under any key, atomically.
    #[inline]
    pub fn key<R>(&mut self, key: &[u8], act: impl FnOnce(Slot<'_>, &mut ReplyWriter<'c>) -> R) -> R {
        let kh = self.store.hash(key);
        let reply = &mut self.reply;
        self.store.one(self.session.db, kh, key, &self.cx, |slot| act(slot, reply))
    }

    /// Argument `index` as a signed 64-bit integer.
    pub fn integer(&self, index: usize) -> Result<i64, Error> {
        parse_i64(self.args.at(index)).ok_or(Error::NOT_INTEGER)
    }

    /// Argument `index` as a database number.
    pub fn database(&self, index: usize) -> Result<Db, Error> {
        let number = self.integer(index)?;
        u8::try_from(number)
            .ok()
            .filter(|n| usize::from(*n) < storage::limits::DATABASES)
            .map(Db)
            .ok_or(Error::DB_RANGE)
    }

    /// Whether argument `index` is this word, in any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Counts a look-up of a key by a reading command.
    #[inline]
    pub fn count_lookup(&self, hit: bool) {
        if hit { self.stats.hits.add(1) } else { self.stats.misses.add(1) }
    }

    /// Runs a long command: to its end inside a transaction, else a piece now and the rest as an effect.
    pub fn run_job(&mut self, mut job: Box<dyn Job>) -> Result<(), Error> {
        while job.step(self)? == Progress::More {
            if !self.session.in_exec {
                self.effects.push(Effect::Continue(job));
                break;
            }
        }
        Ok(())
    }
}
