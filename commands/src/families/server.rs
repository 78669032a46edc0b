//! The server itself: what it is doing, and its end.

mod acl;
mod latency;
mod slowlog;

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::effect::Effect;
use crate::error::Error;
use crate::families::client::timeout_ms;
use crate::families::help::{self, help};
use crate::info;
use crate::node::VERSION;

const STATELESS: Flags = Flags::LOADING.and(Flags::STALE);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "info",
        wire_id: 240,
        arity: -1,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::DANGEROUS).and(Flags::KEYSPACE),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N), N being the number of fields and connections",
        summary: "Returns the state of the server, or the sections named.",
        usage: "[section ...]",
        subcommands: &[],
        run: info,
    },
    Command {
        name: "time",
        wire_id: 241,
        arity: 1,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::FAST),
        group: Group::Server,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the time: seconds since the epoch, and microseconds in the second.",
        usage: "",
        subcommands: &[],
        run: time,
    },
    Command {
        name: "role",
        wire_id: 242,
        arity: 1,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::NOSCRIPT).and(Flags::FAST).and(Flags::DANGEROUS),
        group: Group::Server,
        since: "2.8.12",
        complexity: "O(1)",
        summary: "Returns the part the server plays in replication.",
        usage: "",
        subcommands: &[],
        run: role,
    },
    Command {
        name: "lastsave",
        wire_id: 243,
        arity: 1,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::FAST).and(Flags::DANGEROUS),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns when data was last saved: as nothing is, when the server started.",
        usage: "",
        subcommands: &[],
        run: last_save,
    },
    Command {
        name: "wait",
        wire_id: 244,
        arity: 3,
        keys: Keys::NONE,
        flags: Flags::NOSCRIPT,
        group: Group::Connection,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Returns how many replicas have the writes so far; there are none.",
        usage: "numreplicas timeout",
        subcommands: &[],
        run: wait,
    },
    Command {
        name: "slowlog",
        wire_id: 245,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "2.2.12",
        complexity: "Depends on the subcommand",
        summary: "Commands about the log of slow commands.",
        usage: "",
        subcommands: slowlog::SUBCOMMANDS,
        run: help,
    },
    Command {
        name: "latency",
        wire_id: 250,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "2.8.13",
        complexity: "Depends on the subcommand",
        summary: "Commands about latencies.",
        usage: "",
        subcommands: latency::SUBCOMMANDS,
        run: help,
    },
    Command {
        name: "module",
        wire_id: 258,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "4.0.0",
        complexity: "Depends on the subcommand",
        summary: "Commands about modules.",
        usage: "",
        subcommands: MODULE,
        run: help,
    },
    Command {
        name: "shutdown",
        wire_id: 261,
        arity: -1,
        keys: Keys::NONE,
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Ends the server; what it holds is gone.",
        usage: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        subcommands: &[],
        run: shutdown,
    },
    Command {
        name: "function",
        wire_id: 262,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on the subcommand",
        summary: "Commands about functions.",
        usage: "",
        subcommands: FUNCTION,
        run: help,
    },
    Command {
        name: "lolwut",
        wire_id: 266,
        arity: -1,
        keys: Keys::NONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Server,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns the version, and a pond.",
        usage: "[VERSION version]",
        subcommands: &[],
        run: lolwut,
    },
    Command {
        name: "acl",
        wire_id: 267,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "6.0.0",
        complexity: "Depends on the subcommand",
        summary: "Commands about users.",
        usage: "",
        subcommands: acl::SUBCOMMANDS,
        run: help,
    },
];

const MODULE: &[Command] = &[
    Command {
        name: "module|list",
        wire_id: 259,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::ADMIN.and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns the modules loaded: none.",
        usage: "",
        subcommands: &[],
        run: nothing,
    },
    Command {
        name: "module|help",
        wire_id: 260,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Server,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

const FUNCTION: &[Command] = &[
    Command {
        name: "function|flush",
        wire_id: 263,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NOSCRIPT.and(Flags::WRITE),
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Deletes all functions: there are none.",
        usage: "[ASYNC | SYNC]",
        subcommands: &[],
        run: function_flush,
    },
    Command {
        name: "function|list",
        wire_id: 264,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NOSCRIPT,
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the functions: none.",
        usage: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        subcommands: &[],
        run: function_list,
    },
    Command {
        name: "function|help",
        wire_id: 265,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

fn info(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let args = call.args;
    let text = info::text(call, args.iter().skip(1));
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

fn time(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let now_ms = call.cx.now.0;
    call.reply.array(2);
    call.reply.bulk_integer((now_ms / 1000) as i64);
    call.reply.bulk_integer((now_ms % 1000 * 1000) as i64);
    Ok(())
}

fn role(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.array(3);
    call.reply.bulk_str("master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}

fn last_save(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.integer((call.node.started_ms / 1000) as i64);
    Ok(())
}

/// Without replicas there is nothing to wait for.
fn wait(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.integer(1)?;
    timeout_ms(call, 2)?;
    call.reply.integer(0);
    Ok(())
}

/// An empty list.
fn nothing(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.array(0);
    Ok(())
}

fn shutdown(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (mut save, mut no_save, mut hurry, mut abort) = (false, false, false, false);
    for index in 1..call.args.len() {
        match call.args.at(index).to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => no_save = true,
            b"NOW" | b"FORCE" => hurry = true,
            b"ABORT" => abort = true,
            _ => return Err(Error::SYNTAX),
        }
    }
    if (save && no_save) || (abort && (save || no_save || hurry)) {
        return Err(Error::SYNTAX);
    }
    if abort {
        return Err(Error::err("No shutdown in progress."));
    }
    if save {
        return Err(Error::err("This server saves nothing, so SHUTDOWN SAVE is refused: use SHUTDOWN NOSAVE"));
    }
    call.effects.push(Effect::Shutdown);
    Ok(())
}

fn function_flush(call: &mut Call<'_, '_>) -> Result<(), Error> {
    match call.args.len() {
        2 => {}
        3 if call.is_word(2, "SYNC") || call.is_word(2, "ASYNC") => {}
        3 => return Err(Error::err("FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => return Err(help::wrong_form(call)),
    }
    call.reply.ok();
    Ok(())
}

fn function_list(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let mut index = 2;
    while index < call.args.len() {
        if call.is_word(index, "WITHCODE") {
            index += 1;
        } else if call.is_word(index, "LIBRARYNAME") {
            if index + 1 == call.args.len() {
                return Err(Error::err("library name argument was not given"));
            }
            index += 2;
        } else {
            return Err(Error::quoting("Unknown argument ", call.args.at(index), ""));
        }
    }
    nothing(call)
}

fn lolwut(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let pond = "\n      ~  .  o   ~\n   ~ ( ( ( O ) ) ) ~\n      ~  '  o   ~\n\n";
    call.reply.verbatim(format!("{pond}Millpond ver. {VERSION}\n").as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
