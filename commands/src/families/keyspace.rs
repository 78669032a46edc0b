//! Keys of any type: deletion, existence, renaming, copies, and whole databases.
//!
//! A command is one step for everybody else, whatever keys and databases it touches; only DEL and UNLINK of more than
//! [`SLICE_KEYS`] keys go key by key, so that nobody waits long for them.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::effect::{Job, Progress, SLICE_KEYS};
use crate::error::Error;
use crate::through;
use smallvec::SmallVec;
use storage::limits::DATABASES;
use storage::{Db, KeyHash, Kind, Slot};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        wire_id: 130,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::WRITE,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Deletes keys and returns how many there were.",
        usage: "key ...",
        subcommands: &[],
        run: del,
    },
    Command {
        name: "unlink",
        wire_id: 131,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Deletes keys and returns how many there were; the same as DEL here.",
        usage: "key ...",
        subcommands: &[],
        run: del,
    },
    Command {
        name: "exists",
        wire_id: 132,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Returns how many of the keys exist; a key named twice counts twice.",
        usage: "key ...",
        subcommands: &[],
        run: exists,
    },
    Command {
        name: "type",
        wire_id: 133,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the type of the value under a key, or none.",
        usage: "key",
        subcommands: &[],
        run: type_of,
    },
    Command {
        name: "rename",
        wire_id: 134,
        arity: 3,
        keys: Keys::TWO,
        flags: Flags::WRITE,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Gives a value another key, with its expiry; what was under that key is gone.",
        usage: "key newkey",
        subcommands: &[],
        run: rename,
    },
    Command {
        name: "renamenx",
        wire_id: 135,
        arity: 3,
        keys: Keys::TWO,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Gives a value another key, with its expiry, unless that key exists.",
        usage: "key newkey",
        subcommands: &[],
        run: renamenx,
    },
    Command {
        name: "copy",
        wire_id: 136,
        arity: -3,
        keys: Keys::TWO,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Copies a value with its expiry to another key, perhaps of another database.",
        usage: "source destination [DB destination-db] [REPLACE]",
        subcommands: &[],
        run: copy,
    },
    Command {
        name: "move",
        wire_id: 137,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Moves a key to another database, unless it exists there.",
        usage: "key db",
        subcommands: &[],
        run: move_key,
    },
    Command {
        name: "randomkey",
        wire_id: 138,
        arity: 1,
        keys: Keys::NONE,
        flags: Flags::READONLY.and(Flags::KEYSPACE),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns some key of the database.",
        usage: "",
        subcommands: &[],
        run: randomkey,
    },
    Command {
        name: "dbsize",
        wire_id: 139,
        arity: 1,
        keys: Keys::NONE,
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::KEYSPACE),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of keys in the database, dead ones not yet reclaimed included.",
        usage: "",
        subcommands: &[],
        run: dbsize,
    },
    Command {
        name: "flushdb",
        wire_id: 140,
        arity: -1,
        keys: Keys::NONE,
        flags: Flags::WRITE.and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1); memory is reclaimed in the background",
        summary: "Deletes all keys of the database.",
        usage: "[ASYNC | SYNC]",
        subcommands: &[],
        run: flushdb,
    },
    Command {
        name: "flushall",
        wire_id: 141,
        arity: -1,
        keys: Keys::NONE,
        flags: Flags::WRITE.and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1); memory is reclaimed in the background",
        summary: "Deletes all keys of all databases.",
        usage: "[ASYNC | SYNC]",
        subcommands: &[],
        run: flushall,
    },
    Command {
        name: "swapdb",
        wire_id: 142,
        arity: 3,
        keys: Keys::NONE,
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N), N being the number of keys watched in either database",
        summary: "Exchanges two databases.",
        usage: "index1 index2",
        subcommands: &[],
        run: swapdb,
    },
];

/// The name TYPE answers.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Hash => "hash",
    }
}

/// Removes what is in a slot; whether there was anything.
fn remove(slot: Slot<'_>) -> bool {
    slot.delete()
}

/// Runs `act` on every key of the request in one step, and counts how often it said yes.
fn count(call: &mut Call<'_, '_>, act: impl Fn(Slot<'_>) -> bool) -> usize {
    if call.args.len() == 2 {
        return usize::from(call.first(|slot, _| act(slot)));
    }
    let (db, cx, keys) = (call.db(), call.cx, call.args.from(1));
    let hashes: SmallVec<[KeyHash; 16]> = keys.iter().map(|key| call.hash_of(key)).collect();
    call.store.atomically(hashes.iter().copied(), |store| {
        let said_yes = |(at, (key, kh)): &(usize, (&[u8], &KeyHash))| {
            store.prefetch_ahead(*at, |at| Some((db, *hashes.get(at)?)));
            store.one(db, **kh, key, &cx, &act)
        };
        keys.iter().zip(&hashes).enumerate().filter(said_yes).count()
    })
}

fn del(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.args.len() - 1 > SLICE_KEYS {
        return call.run_job(Box::new(Removal { next: 1, removed: 0 }));
    }
    let removed = count(call, remove);
    call.reply.integer(removed as i64);
    Ok(())
}

/// A DEL of many keys, one by one.
struct Removal {
    /// Argument to go on with.
    next: usize,
    removed: i64,
}

impl Job for Removal {
    fn step(&mut self, call: &mut Call<'_, '_>) -> Result<Progress, Error> {
        let (args, db) = (call.args, call.db());
        let end = args.len().min(self.next + SLICE_KEYS);
        let hashes: Vec<KeyHash> = (self.next..end).map(|at| call.hash_of(args.at(at))).collect();
        for (at, kh) in hashes.iter().copied().enumerate() {
            call.store.prefetch_ahead(at, |at| Some((db, *hashes.get(at)?)));
            let key = args.at(self.next + at);
            self.removed += i64::from(call.store.one(db, kh, key, &call.cx, remove));
        }
        self.next = end;
        if end < args.len() {
            return Ok(Progress::More);
        }
        call.reply.integer(self.removed);
        Ok(Progress::Done)
    }
}

fn exists(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let found = count(call, |slot| slot.is_live());
    call.stats.hits.add(found as u64);
    call.stats.misses.add((call.args.len() - 1 - found) as u64);
    call.reply.integer(found as i64);
    Ok(())
}

fn type_of(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let kind = call.first(|slot, _| slot.live().map(|live| live.kind()));
    call.reply.simple(kind.map_or("none", kind_name));
    call.count_lookup(kind.is_some());
    Ok(())
}

/// How a value got to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// It is there.
    Done,
    /// There was none.
    Missing,
    /// Something is there already and was to stay.
    Occupied,
}

/// A key of a database.
type Location<'k> = (Db, &'k [u8]);

/// Puts the value of `from` under `to` in one step, with its deadline; `replace` what is there, `keep` the source.
/// The two differ.
fn transfer(call: &mut Call<'_, '_>, from: Location<'_>, to: Location<'_>, replace: bool, keep: bool) -> Transfer {
    let (cx, touch) = (call.cx, keep && !call.session.no_touch);
    let (source, target) = (call.hash_of(from.1), call.hash_of(to.1));
    call.store.atomically([source, target], |store| {
        let value = store.one(from.0, source, from.1, &cx, |slot| {
            let mut live = slot.live()?;
            if touch {
                live.touch();
            }
            Some(live.detached())
        });
        let Some(value) = value else { return Transfer::Missing };
        let stored = store.one(to.0, target, to.1, &cx, |slot| {
            let free = replace || !slot.is_live();
            if free {
                slot.put_detached(&value);
            }
            free
        });
        if !stored {
            return Transfer::Occupied;
        }
        if !keep {
            store.one(from.0, source, from.1, &cx, remove);
        }
        Transfer::Done
    })
}

fn rename_to(call: &mut Call<'_, '_>, replace: bool) -> Result<Transfer, Error> {
    let (db, from, to) = (call.db(), call.args.at(1), call.args.at(2));
    let outcome = if from == to {
        if call.first(|slot, _| slot.is_live()) { Transfer::Occupied } else { Transfer::Missing }
    } else {
        transfer(call, (db, from), (db, to), replace, false)
    };
    if outcome == Transfer::Missing { Err(Error::NO_SUCH_KEY) } else { Ok(outcome) }
}

fn rename(call: &mut Call<'_, '_>) -> Result<(), Error> {
    rename_to(call, true)?;
    call.reply.ok();
    Ok(())
}

fn renamenx(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let outcome = rename_to(call, false)?;
    call.reply.integer(i64::from(outcome == Transfer::Done));
    Ok(())
}

/// Argument `index` as the database a key goes to.
fn destination(call: &Call<'_, '_>, index: usize) -> Result<Db, Error> {
    if i32::try_from(call.integer(index)?).is_err() {
        return Err(Error::err("value is out of range, value must between -2147483648 and 2147483647"));
    }
    call.database(index)
}

fn copy(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (source, mut target, mut replace) = (call.db(), call.db(), false);
    let mut index = 3;
    while index < call.args.len() {
        if call.is_word(index, "REPLACE") {
            replace = true;
        } else if call.is_word(index, "DB") && index + 1 < call.args.len() {
            index += 1;
            target = destination(call, index)?;
        } else {
            return Err(Error::SYNTAX);
        }
        index += 1;
    }
    let (from, to) = (call.args.at(1), call.args.at(2));
    if source == target && from == to {
        return Err(Error::SAME_OBJECT);
    }
    through::check_target(call, target, to)?;
    let outcome = transfer(call, (source, from), (target, to), replace, true);
    call.count_lookup(outcome != Transfer::Missing);
    call.reply.integer(i64::from(outcome == Transfer::Done));
    Ok(())
}

fn move_key(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (source, key) = (call.db(), call.args.at(1));
    let target = destination(call, 2)?;
    if source == target {
        return Err(Error::SAME_OBJECT);
    }
    through::check_target(call, target, key)?;
    let outcome = transfer(call, (source, key), (target, key), false, false);
    call.reply.integer(i64::from(outcome == Transfer::Done));
    Ok(())
}

fn randomkey(call: &mut Call<'_, '_>) -> Result<(), Error> {
    match call.store.random_key(call.session.db, &call.cx) {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(())
}

fn dbsize(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let keys = call.store.db_size(call.session.db);
    call.reply.integer(keys as i64);
    Ok(())
}

/// Both words mean the same: keys are gone at once, their memory comes back with the ticks.
fn flush(call: &mut Call<'_, '_>, databases: &[Db]) -> Result<(), Error> {
    let known = match call.args.len() {
        1 => true,
        2 => call.is_word(1, "ASYNC") || call.is_word(1, "SYNC"),
        _ => false,
    };
    if !known {
        return Err(Error::SYNTAX);
    }
    call.node.projections.begin_emptying(databases);
    call.store.flush(databases);
    call.node.projections.emptied(databases);
    call.reply.ok();
    Ok(())
}

fn flushdb(call: &mut Call<'_, '_>) -> Result<(), Error> {
    flush(call, &[call.db()])
}

fn flushall(call: &mut Call<'_, '_>) -> Result<(), Error> {
    flush(call, &core::array::from_fn::<_, DATABASES, _>(|n| Db(n as u8)))
}

fn swapdb(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let number = |index, error| call.integer(index).ok().filter(|n| i32::try_from(*n).is_ok()).ok_or(error);
    number(1, Error::err("invalid first DB index"))?;
    number(2, Error::err("invalid second DB index"))?;
    let (a, b) = (call.database(1)?, call.database(2)?);
    call.store.swap(a, b);
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
