//! CLIENT: what connections are called, see of each other, and do to each other.

mod list;

use crate::call::Call;
use crate::clients::{Unblock, is_valid_name};
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::connection::checked_name;
use crate::families::help::{self, help};
use crate::session::Replies;
use core::sync::atomic::Ordering;
use list::{info, kill, list};
use protocol::number::parse_i64;

/// Rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "client",
    wire_id: 20,
    arity: -2,
    keys: Keys::NONE,
    flags: Flags::NONE,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on the subcommand",
    summary: "Commands about connections.",
    usage: "",
    subcommands: SUBCOMMANDS,
    run: help,
}];

const HELP: Flags = Flags::LOADING.and(Flags::STALE);
const BASE: Flags = HELP.and(Flags::NOSCRIPT);
const ADMIN: Flags = BASE.and(Flags::ADMIN);

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "client|id",
        wire_id: 21,
        arity: 2,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns the number of the connection, which no other one ever has.",
        usage: "",
        subcommands: &[],
        run: id,
    },
    Command {
        name: "client|info",
        wire_id: 22,
        arity: 2,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns what is known of the connection, on one line.",
        usage: "",
        subcommands: &[],
        run: info,
    },
    Command {
        name: "client|list",
        wire_id: 23,
        arity: -2,
        keys: Keys::NONE,
        flags: ADMIN,
        group: Group::Connection,
        since: "2.4.0",
        complexity: "O(N), N being the number of connections",
        summary: "Returns a line for each connection, or for those of a type or number.",
        usage: "[TYPE (normal | master | replica | pubsub)] [ID client-id ...]",
        subcommands: &[],
        run: list,
    },
    Command {
        name: "client|kill",
        wire_id: 24,
        arity: -3,
        keys: Keys::NONE,
        flags: ADMIN,
        group: Group::Connection,
        since: "2.4.0",
        complexity: "O(N), N being the number of connections",
        summary: "Closes the connection with an address, or all that every filter fits.",
        usage: "ip:port | (ID client-id | TYPE (normal | master | slave | replica | pubsub) | USER username | ADDR ip:port | LADDR ip:port | SKIPME (yes | no)) ...",
        subcommands: &[],
        run: kill,
    },
    Command {
        name: "client|pause",
        wire_id: 25,
        arity: -3,
        keys: Keys::NONE,
        flags: ADMIN,
        group: Group::Connection,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Holds the commands of all connections back for a time, or only those that write.",
        usage: "timeout [WRITE | ALL]",
        subcommands: &[],
        run: pause,
    },
    Command {
        name: "client|unpause",
        wire_id: 26,
        arity: 2,
        keys: Keys::NONE,
        flags: ADMIN,
        group: Group::Connection,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Ends a pause.",
        usage: "",
        subcommands: &[],
        run: unpause,
    },
    Command {
        name: "client|reply",
        wire_id: 27,
        arity: 3,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Switches the replies to this connection on or off, or skips the next one.",
        usage: "ON | OFF | SKIP",
        subcommands: &[],
        run: reply,
    },
    Command {
        name: "client|setname",
        wire_id: 28,
        arity: 3,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "2.6.9",
        complexity: "O(1)",
        summary: "Gives the connection a name, or takes it away if empty.",
        usage: "connection-name",
        subcommands: &[],
        run: set_name,
    },
    Command {
        name: "client|getname",
        wire_id: 29,
        arity: 2,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "2.6.9",
        complexity: "O(1)",
        summary: "Returns the name of the connection.",
        usage: "",
        subcommands: &[],
        run: name,
    },
    Command {
        name: "client|setinfo",
        wire_id: 30,
        arity: 4,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "7.2.0",
        complexity: "O(1)",
        summary: "Notes the name or version of the client's library.",
        usage: "(LIB-NAME libname) | (LIB-VER libver)",
        subcommands: &[],
        run: set_info,
    },
    Command {
        name: "client|no-evict",
        wire_id: 31,
        arity: 3,
        keys: Keys::NONE,
        flags: ADMIN,
        group: Group::Connection,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Protects the connection from being closed to save memory, or no longer.",
        usage: "ON | OFF",
        subcommands: &[],
        run: no_evict,
    },
    Command {
        name: "client|no-touch",
        wire_id: 32,
        arity: 3,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "7.2.0",
        complexity: "O(1)",
        summary: "Reads of this connection count as uses of keys, or not.",
        usage: "ON | OFF",
        subcommands: &[],
        run: no_touch,
    },
    Command {
        name: "client|capa",
        wire_id: 33,
        arity: -3,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "0.1.0",
        complexity: "O(1)",
        summary: "Takes note of what the client is capable of; nothing depends on it yet.",
        usage: "capability ...",
        subcommands: &[],
        run: capa,
    },
    Command {
        name: "client|getredir",
        wire_id: 34,
        arity: 2,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Returns the connection that invalidations go to, -1 while tracking is off.",
        usage: "",
        subcommands: &[],
        run: redirection,
    },
    Command {
        name: "client|trackinginfo",
        wire_id: 35,
        arity: 2,
        keys: Keys::NONE,
        flags: BASE,
        group: Group::Connection,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns how this connection tracks keys.",
        usage: "",
        subcommands: &[],
        run: tracking_info,
    },
    Command {
        name: "client|unblock",
        wire_id: 36,
        arity: -3,
        keys: Keys::NONE,
        flags: ADMIN,
        group: Group::Connection,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Ends the wait of a connection that a blocking command holds.",
        usage: "client-id [TIMEOUT | ERROR]",
        subcommands: &[],
        run: unblock,
    },
    Command {
        name: "client|help",
        wire_id: 37,
        arity: 2,
        keys: Keys::NONE,
        flags: HELP,
        group: Group::Connection,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

fn id(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.integer(call.session.client.id as i64);
    Ok(())
}

fn set_name(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let name = checked_name(call.args.at(2))?;
    call.session.client.names.lock().name = name;
    call.reply.ok();
    Ok(())
}

fn name(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let names = call.session.client.names.lock();
    if names.name.is_empty() {
        call.reply.null()
    } else {
        call.reply.bulk_str(&names.name)
    }
    Ok(())
}

fn set_info(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (attribute, value) = (call.args.at(2), call.args.at(3));
    let mut names = call.session.client.names.lock();
    let target = if attribute.eq_ignore_ascii_case(b"LIB-NAME") {
        &mut names.library
    } else if attribute.eq_ignore_ascii_case(b"LIB-VER") {
        &mut names.library_version
    } else {
        return Err(Error::quoting("Unrecognized option '", attribute, "'"));
    };
    if !is_valid_name(value) {
        return Err(Error::quoting("", attribute, " cannot contain spaces, newlines or special characters."));
    }
    *target = String::from_utf8_lossy(value).into_owned();
    call.reply.ok();
    Ok(())
}

/// The timeout of argument `index`, in ms.
pub fn timeout_ms(call: &Call<'_, '_>, index: usize) -> Result<u64, Error> {
    let timeout = parse_i64(call.args.at(index)).ok_or(Error::err("timeout is not an integer or out of range"))?;
    u64::try_from(timeout).map_err(|_| Error::err("timeout is negative"))
}

fn pause(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let writes_only = match call.args.len() {
        3 => false,
        4 if call.is_word(3, "WRITE") => true,
        4 if call.is_word(3, "ALL") => false,
        4 => return Err(Error::err("CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(help::wrong_form(call)),
    };
    let timeout_ms = timeout_ms(call, 2)?;
    let now_ms = call.cx.now.0;
    if timeout_ms > 0 {
        call.node.clients.pause(now_ms.saturating_add(timeout_ms), writes_only, now_ms);
    }
    call.reply.ok();
    Ok(())
}

fn unpause(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.node.clients.unpause();
    for core in 0..call.node.workers.len() {
        call.node.host.wake(core);
    }
    call.reply.ok();
    Ok(())
}

/// OFF and SKIP leave no reply of their own: the dispatcher drops what is written in these states.
fn reply(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.is_word(2, "ON") {
        call.session.replies = Replies::On;
        call.reply.ok();
    } else if call.is_word(2, "OFF") {
        call.session.replies = Replies::Off;
    } else if call.is_word(2, "SKIP") {
        if call.session.replies != Replies::Off {
            call.session.replies = Replies::SkipNext;
        }
    } else {
        return Err(Error::SYNTAX);
    }
    Ok(())
}

fn on_or_off(call: &Call<'_, '_>) -> Result<bool, Error> {
    match (call.is_word(2, "ON"), call.is_word(2, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(Error::SYNTAX),
    }
}

fn no_evict(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let on = on_or_off(call)?;
    call.session.client.no_evict.store(on, Ordering::Relaxed);
    call.reply.ok();
    Ok(())
}

fn no_touch(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let on = on_or_off(call)?;
    call.session.no_touch = on;
    call.session.client.no_touch.store(on, Ordering::Relaxed);
    call.reply.ok();
    Ok(())
}

fn capa(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.ok();
    Ok(())
}

fn redirection(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.integer(-1);
    Ok(())
}

fn tracking_info(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let reply = &mut call.reply;
    reply.map(3);
    reply.bulk_str("flags");
    reply.set(1);
    reply.bulk_str("off");
    reply.bulk_str("redirect");
    reply.integer(-1);
    reply.bulk_str("prefixes");
    reply.array(0);
    Ok(())
}

/// Asks the core of a client that waits to end that wait. A write that goes to its origin ends only with its answer.
fn unblock(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let how = match call.args.len() {
        3 => Unblock::Timeout,
        4 if call.is_word(3, "TIMEOUT") => Unblock::Timeout,
        4 if call.is_word(3, "ERROR") => Unblock::Error,
        4 => return Err(Error::err("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(help::wrong_form(call)),
    };
    let id = u64::try_from(call.integer(2)?).unwrap_or(0);
    let client = call.node.clients.find(id).filter(|client| client.blocked.ask(how));
    if let Some(client) = &client {
        call.node.host.wake(client.core);
    }
    call.reply.integer(client.is_some().into());
    Ok(())
}

#[cfg(test)]
mod tests;
