//! Walks over a database: SCAN and KEYS.
//!
//! Both return each key that stays throughout exactly once and dead keys never, whatever happens meanwhile. Long walks
//! go in slices: nobody waits for them.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::effect::{Job, Progress, SLICE_KEYS};
use crate::error::Error;
use crate::families::keyspace::kind_name;
use protocol::{Output, ReplyWriter};
use storage::{Db, Kind, glob};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "scan",
        wire_id: 160,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::READONLY.and(Flags::KEYSPACE),
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(N), N being COUNT; all calls together O(N), N being the number of keys in the database",
        summary: "Walks over the keys of the database, some at a time, and returns the cursor to go on with.",
        usage: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        subcommands: &[],
        run: scan,
    },
    Command {
        name: "keys",
        wire_id: 161,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::READONLY.and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys in the database; O(1) for a pattern without wildcards",
        summary: "Returns all keys of the database that match a pattern.",
        usage: "pattern",
        subcommands: &[],
        run: keys,
    },
];

/// Keys a SCAN looks at if it is not told.
const DEFAULT_COUNT: usize = 10;

/// Most keys or fields one walk looks at, however many it was asked for: bounds its time (some 0.2 s) and its reply.
const MAX_COUNT: usize = 1_000_000;

/// Options of SCAN and of the walks inside one value.
pub(super) struct WalkOptions<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    /// Keys or fields to look at.
    pub count: usize,
}

impl<'a> WalkOptions<'a> {
    /// Reads the options from argument `first` on.
    pub fn parse(call: &Call<'a, '_>, first: usize, with_type: bool) -> Result<Self, Error> {
        let mut options = Self { pattern: None, kind: None, count: DEFAULT_COUNT };
        for index in (first..call.args.len()).step_by(2) {
            let value = call.args.get(index + 1).ok_or(Error::SYNTAX)?;
            if call.is_word(index, "COUNT") {
                let asked = call.integer(index + 1)?;
                options.count = usize::try_from(asked).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
            } else if call.is_word(index, "MATCH") {
                options.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if with_type && call.is_word(index, "TYPE") {
                options.kind = Some(value);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        options.count = options.count.min(MAX_COUNT);
        Ok(options)
    }

    /// Whether MATCH lets it pass.
    pub fn passes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

/// Which keys of a walk are returned.
struct Filter {
    /// `None`: any.
    pattern: Option<Box<[u8]>>,
    /// `None`: any. A name no type has lets none pass.
    kind: Option<Box<[u8]>>,
}

impl Filter {
    fn new(pattern: Option<&[u8]>, kind: Option<&[u8]>) -> Self {
        Self { pattern: pattern.filter(|pattern| *pattern != b"*").map(Into::into), kind: kind.map(Into::into) }
    }

    fn passes(&self, key: &[u8], kind: Kind) -> bool {
        self.kind.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(kind_name(kind).as_bytes()))
            && self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key, false))
    }
}

/// A walk in slices that gathers its reply.
struct Walk {
    db: Db,
    /// Where to go on; 0 = at the start.
    cursor: u64,
    /// Keys still to be looked at, passed on or not.
    left: usize,
    filter: Filter,
    /// The keys found, as elements of the reply.
    found: Output,
    len: usize,
    /// The reply begins with the cursor (SCAN).
    with_cursor: bool,
}

impl Walk {
    fn new(call: &Call<'_, '_>, cursor: u64, left: usize, filter: Filter, with_cursor: bool) -> Self {
        Self { db: call.db(), cursor, left, filter, found: Output::new(), len: 0, with_cursor }
    }

    /// The first slice at once, the others as a job.
    fn begin(mut self, call: &mut Call<'_, '_>) -> Result<(), Error> {
        match self.step(call)? {
            Progress::Done => Ok(()),
            Progress::More if call.session.in_exec => call.run_job(Box::new(self)),
            Progress::More => {
                call.effects.push(crate::effect::Effect::Continue(Box::new(self)));
                Ok(())
            }
        }
    }
}

impl Job for Walk {
    fn step(&mut self, call: &mut Call<'_, '_>) -> Result<Progress, Error> {
        let wanted = self.left.min(SLICE_KEYS);
        let mut elements = ReplyWriter::new(&mut self.found, call.reply.protocol());
        self.cursor = call.store.scan(self.db, self.cursor, wanted, &call.cx, |key, kind| {
            if self.filter.passes(key, kind) {
                elements.bulk(key);
                self.len += 1;
            }
        });
        self.left -= wanted;
        if self.cursor != 0 && self.left > 0 {
            return Ok(Progress::More);
        }
        if self.with_cursor {
            call.reply.array(2);
            call.reply.bulk_integer(self.cursor as i64);
        }
        call.reply.array(self.len);
        call.reply.output().append(core::mem::take(&mut self.found));
        Ok(Progress::Done)
    }
}

/// A cursor as clients send it back.
pub(super) fn parse_cursor(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

fn scan(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let cursor = parse_cursor(call.args.at(1)).ok_or(Error::err("invalid cursor"))?;
    let options = WalkOptions::parse(call, 2, true)?;
    Walk::new(call, cursor, options.count, Filter::new(options.pattern, options.kind), true).begin(call)
}

fn keys(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let pattern = call.args.at(1);
    let prefix = glob::prefix(pattern);
    if prefix.is_whole {
        let found = call.key(&prefix.bytes, |slot, _| slot.is_live());
        call.reply.array(usize::from(found));
        if found {
            call.reply.bulk(&prefix.bytes);
        }
        return Ok(());
    }
    Walk::new(call, 0, usize::MAX, Filter::new(Some(pattern), None), false).begin(call)
}

#[cfg(test)]
mod tests;
