//! ACL: there is one user, who may do everything.

use super::STATELESS;
use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::connection::USER;
use crate::families::help::{self, help};
use crate::table;
use std::collections::BTreeSet;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "acl|whoami",
        wire_id: 268,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Returns the user of the connection.",
        usage: "",
        subcommands: &[],
        run: who_am_i,
    },
    Command {
        name: "acl|users",
        wire_id: 269,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::NOSCRIPT).and(Flags::ADMIN),
        group: Group::Server,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Returns the names of all users.",
        usage: "",
        subcommands: &[],
        run: users,
    },
    Command {
        name: "acl|cat",
        wire_id: 270,
        arity: -2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "6.0.0",
        complexity: "O(N), N being the number of commands",
        summary: "Returns the categories of commands, or the commands of one.",
        usage: "[category]",
        subcommands: &[],
        run: categories,
    },
    Command {
        name: "acl|help",
        wire_id: 271,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Server,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

fn who_am_i(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.bulk_str(USER);
    Ok(())
}

fn users(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.array(1);
    call.reply.bulk_str(USER);
    Ok(())
}

fn categories(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let names = match call.args.len() {
        2 => {
            let categories: BTreeSet<&str> = table::all().flat_map(Command::categories).collect();
            categories.into_iter().map(|category| category.trim_start_matches('@')).collect()
        }
        3 => {
            let wanted = [b"@", call.args.at(2)].concat();
            let is_wanted = |category: &&str| category.as_bytes().eq_ignore_ascii_case(&wanted);
            let rows = table::all().filter(|row| row.categories().iter().any(is_wanted));
            rows.map(|row| row.name).collect::<Vec<_>>()
        }
        _ => return Err(help::wrong_form(call)),
    };
    if names.is_empty() {
        return Err(Error::quoting("Unknown category '", call.args.at(2), "'"));
    }
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk_str(name));
    Ok(())
}
