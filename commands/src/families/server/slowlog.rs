//! SLOWLOG: the commands that took long.

use super::STATELESS;
use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help::{self, help};
use protocol::number::parse_i64;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "slowlog|get",
        wire_id: 246,
        arity: -2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN),
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N), N being the number of entries",
        summary: "Returns the newest entries (10 unless told, -1 = all): number, time, microseconds, arguments, address and name of the client.",
        usage: "[count]",
        subcommands: &[],
        run: entries,
    },
    Command {
        name: "slowlog|len",
        wire_id: 247,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN),
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(1)",
        summary: "Returns the number of entries.",
        usage: "",
        subcommands: &[],
        run: len,
    },
    Command {
        name: "slowlog|reset",
        wire_id: 248,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN),
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N), N being the number of entries",
        summary: "Drops all entries.",
        usage: "",
        subcommands: &[],
        run: reset,
    },
    Command {
        name: "slowlog|help",
        wire_id: 249,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Server,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

/// Entries returned unless a number is given.
const DEFAULT_COUNT: usize = 10;
const BAD_COUNT: Error = Error::err("count should be greater than or equal to -1");

fn entries(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let count = match call.args.len() {
        2 => DEFAULT_COUNT,
        3 => match parse_i64(call.args.at(2)).ok_or(BAD_COUNT)? {
            -1 => usize::MAX,
            count => usize::try_from(count).map_err(|_| BAD_COUNT)?,
        },
        _ => return Err(help::wrong_form(call)),
    };
    let entries = call.node.slowlog.newest(count);
    let reply = &mut call.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id);
        reply.integer(entry.unix_s as i64);
        reply.integer(entry.duration_us as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk_str(&entry.address);
        reply.bulk_str(&entry.client_name);
    }
    Ok(())
}

fn len(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.integer(call.node.slowlog.len() as i64);
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.node.slowlog.reset();
    call.reply.ok();
    Ok(())
}
