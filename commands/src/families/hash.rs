//! Hashes: fields with a value each, under one key.

mod number;
mod random;
#[cfg(test)]
mod tests;

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::scan::{WalkOptions, parse_cursor};
use crate::families::string::{reply_value, text_of_value};
use protocol::ReplyWriter;
use storage::{HashEdit, HashRef, Slot};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hset",
        wire_id: 420,
        arity: -4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of pairs",
        summary: "Sets fields of a hash, which is made if there is none; returns how many of them are new.",
        usage: "key (field value) ...",
        subcommands: &[],
        run: hset,
    },
    Command {
        name: "hsetnx",
        wire_id: 421,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Sets a field of a hash unless it is there already.",
        usage: "key field value",
        subcommands: &[],
        run: hsetnx,
    },
    Command {
        name: "hmset",
        wire_id: 422,
        arity: -4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of pairs",
        summary: "Sets fields of a hash; the old form of HSET, which replies OK.",
        usage: "key (field value) ...",
        subcommands: &[],
        run: hmset,
    },
    Command {
        name: "hget",
        wire_id: 423,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Returns the value of a field of a hash.",
        usage: "key field",
        subcommands: &[],
        run: hget,
    },
    Command {
        name: "hmget",
        wire_id: 424,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of fields",
        summary: "Returns the values of several fields of a hash, null for those it lacks.",
        usage: "key field ...",
        subcommands: &[],
        run: hmget,
    },
    Command {
        name: "hdel",
        wire_id: 425,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of fields",
        summary: "Removes fields of a hash, and the key with the last of them.",
        usage: "key field ...",
        subcommands: &[],
        run: hdel,
    },
    Command {
        name: "hlen",
        wire_id: 426,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Returns the number of fields of a hash.",
        usage: "key",
        subcommands: &[],
        run: hlen,
    },
    Command {
        name: "hstrlen",
        wire_id: 427,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Hash,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Returns the length of the value of a field.",
        usage: "key field",
        subcommands: &[],
        run: hstrlen,
    },
    Command {
        name: "hexists",
        wire_id: 428,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Tells whether a hash has a field.",
        usage: "key field",
        subcommands: &[],
        run: hexists,
    },
    Command {
        name: "hgetall",
        wire_id: 429,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of fields",
        summary: "Returns all fields of a hash with their values.",
        usage: "key",
        subcommands: &[],
        run: hgetall,
    },
    Command {
        name: "hkeys",
        wire_id: 430,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of fields",
        summary: "Returns all fields of a hash.",
        usage: "key",
        subcommands: &[],
        run: hkeys,
    },
    Command {
        name: "hvals",
        wire_id: 431,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N), N being the number of fields",
        summary: "Returns the values of all fields of a hash.",
        usage: "key",
        subcommands: &[],
        run: hvals,
    },
    Command {
        name: "hincrby",
        wire_id: 432,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Adds an integer to the value of a field, 0 if there is none.",
        usage: "key field increment",
        subcommands: &[],
        run: number::hincrby,
    },
    Command {
        name: "hincrbyfloat",
        wire_id: 433,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::Hash,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Adds a decimal number to the value of a field, 0 if there is none.",
        usage: "key field increment",
        subcommands: &[],
        run: number::hincrbyfloat,
    },
    Command {
        name: "hscan",
        wire_id: 434,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::Hash,
        since: "2.8.0",
        complexity: "O(N), N being COUNT; all calls together O(N), N being the number of fields",
        summary: "Walks over the fields of a hash, some at a time, and returns the cursor to go on with.",
        usage: "key cursor [MATCH pattern] [COUNT count]",
        subcommands: &[],
        run: hscan,
    },
    Command {
        name: "hrandfield",
        wire_id: 435,
        arity: -2,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::Hash,
        since: "6.2.0",
        complexity: "O(N), N being the number of fields returned",
        summary: "Returns fields of a hash drawn at random: one, several different ones, or with a negative count as many draws.",
        usage: "key [count [WITHVALUES]]",
        subcommands: &[],
        run: random::hrandfield,
    },
];

/// Runs `act` on the hash under the first key, counting a use; a hash without fields where there is no key. Whether there
/// was one is counted as a look-up.
fn read(call: &mut Call<'_, '_>, act: impl FnOnce(Option<HashRef<'_>>, &mut ReplyWriter<'_>)) -> Result<(), Error> {
    let touch = !call.session.no_touch;
    let hit = call.first(|slot, reply| {
        let Slot::Live(mut live) = slot else {
            act(None, reply);
            return Ok(false);
        };
        let hash = live.hash()?;
        act(Some(hash), reply);
        if touch {
            live.touch();
        }
        Ok::<_, Error>(true)
    });
    call.count_lookup(hit != Ok(false));
    hit.map(|_| ())
}

/// Edits the hash under the first key in one step, counting a use.
fn edit<R>(
    call: &mut Call<'_, '_>,
    act: impl FnOnce(&mut HashEdit<'_>, &mut ReplyWriter<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let touch = !call.session.no_touch;
    call.first(|mut slot, reply| {
        if let Slot::Live(live) = &mut slot
            && touch
        {
            live.touch();
        }
        slot.edit_hash(|hash| act(hash, reply))?
    })
}

/// Sets the request's pairs; gives how many fields are new.
fn set_pairs(call: &mut Call<'_, '_>) -> Result<usize, Error> {
    if !call.args.len().is_multiple_of(2) {
        return Err(Error::arity(call.command.name));
    }
    let args = call.args;
    edit(call, |hash, _| {
        let pairs = (2..args.len()).step_by(2);
        Ok(pairs.filter(|at| hash.set(args.at(*at), args.at(at + 1))).count())
    })
}

fn hset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let new = set_pairs(call)?;
    call.reply.integer(new as i64);
    Ok(())
}

fn hmset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    set_pairs(call)?;
    call.reply.ok();
    Ok(())
}

fn hsetnx(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (field, value) = (call.args.at(2), call.args.at(3));
    edit(call, |hash, reply| {
        let is_new = hash.as_ref().get(field).is_none();
        if is_new {
            hash.set(field, value);
        }
        reply.integer(is_new.into());
        Ok(())
    })
}

fn hdel(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let fields = call.args.from(2);
    edit(call, |hash, reply| {
        let removed = fields.iter().filter(|field| hash.remove(field)).count();
        reply.integer(removed as i64);
        Ok(())
    })
}

/// Writes the value of a field, or null.
fn reply_field(reply: &mut ReplyWriter<'_>, hash: Option<HashRef<'_>>, field: &[u8]) {
    match hash.and_then(|hash| hash.get(field)) {
        Some(value) => reply_value(reply, value),
        None => reply.null(),
    }
}

fn hget(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let field = call.args.at(2);
    read(call, |hash, reply| reply_field(reply, hash, field))
}

fn hmget(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let fields = call.args.from(2);
    read(call, |hash, reply| {
        reply.array(fields.len());
        fields.iter().for_each(|field| reply_field(reply, hash, field));
    })
}

fn hlen(call: &mut Call<'_, '_>) -> Result<(), Error> {
    read(call, |hash, reply| reply.integer(hash.map_or(0, |hash| hash.len()) as i64))
}

fn hstrlen(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let field = call.args.at(2);
    read(call, |hash, reply| {
        let value = hash.and_then(|hash| hash.get(field));
        reply.integer(value.map_or(0, |value| value.len()) as i64);
    })
}

fn hexists(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let field = call.args.at(2);
    read(call, |hash, reply| reply.integer(hash.is_some_and(|hash| hash.get(field).is_some()).into()))
}

fn hgetall(call: &mut Call<'_, '_>) -> Result<(), Error> {
    read(call, |hash, reply| {
        reply.map(hash.map_or(0, |hash| hash.len()));
        hash.into_iter().for_each(|hash| {
            hash.for_each(|field, value| {
                reply.bulk(field);
                reply_value(reply, value);
            });
        });
    })
}

fn hkeys(call: &mut Call<'_, '_>) -> Result<(), Error> {
    read(call, |hash, reply| {
        reply.array(hash.map_or(0, |hash| hash.len()));
        hash.into_iter().for_each(|hash| hash.for_each(|field, _| reply.bulk(field)));
    })
}

fn hvals(call: &mut Call<'_, '_>) -> Result<(), Error> {
    read(call, |hash, reply| {
        reply.array(hash.map_or(0, |hash| hash.len()));
        hash.into_iter().for_each(|hash| hash.for_each(|_, value| reply_value(reply, value)));
    })
}

fn hscan(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let cursor = parse_cursor(call.args.at(2)).ok_or(Error::err("invalid cursor"))?;
    let options = WalkOptions::parse(call, 3, false)?;
    let (from, cx) = (call.store.open_cursor(cursor), call.cx);
    let mut next = None;
    let mut found = protocol::Output::new();
    let mut elements = ReplyWriter::new(&mut found, call.reply.protocol());
    let mut len = 0;
    read(call, |hash, _| {
        let Some(hash) = hash else { return };
        next = hash.walk(from, options.count, &cx, |field, value| {
            if options.passes(field) {
                elements.bulk(field);
                text_of_value(&value, |text| elements.bulk(text));
                len += 2;
            }
        });
    })?;
    call.reply.array(2);
    let cursor = call.store.seal_cursor(next);
    call.reply.bulk_integer(cursor as i64);
    call.reply.array(len);
    call.reply.output().append(found);
    Ok(())
}
