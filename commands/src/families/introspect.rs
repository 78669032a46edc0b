//! COMMAND: the table of commands over the wire, all of it derived from the rows.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help::help;
use crate::table::{self, Lookup};
use crate::usage::{self, Argument, Kind};
use protocol::{Args, ReplyWriter};
use storage::glob;

const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "command",
    wire_id: 190,
    arity: -1,
    keys: Keys::NONE,
    flags: ANYTIME,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N), N being the number of commands",
    summary: "Describes every command; its subcommands tell more.",
    usage: "",
    subcommands: &[
        Command {
            name: "command|count",
            wire_id: 191,
            arity: 2,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns the number of commands.",
            usage: "",
            subcommands: &[],
            run: count,
        },
        Command {
            name: "command|info",
            wire_id: 192,
            arity: -2,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N), N being the number of names",
            summary: "Describes the named commands, or all.",
            usage: "[command-name ...]",
            subcommands: &[],
            run: info,
        },
        Command {
            name: "command|docs",
            wire_id: 193,
            arity: -2,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the number of names",
            summary: "Returns the documentation of the named commands, or of all.",
            usage: "[command-name ...]",
            subcommands: &[],
            run: docs,
        },
        Command {
            name: "command|list",
            wire_id: 194,
            arity: -2,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the number of commands",
            summary: "Returns the names of all commands, or of those in a category or matching a pattern.",
            usage: "[FILTERBY (MODULE module-name | ACLCAT category | PATTERN pattern)]",
            subcommands: &[],
            run: list,
        },
        Command {
            name: "command|getkeys",
            wire_id: 195,
            arity: -3,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N), N being the number of arguments",
            summary: "Returns the keys that a command with its arguments names.",
            usage: "command [arg ...]",
            subcommands: &[],
            run: getkeys,
        },
        Command {
            name: "command|getkeysandflags",
            wire_id: 196,
            arity: -3,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N), N being the number of arguments",
            summary: "Returns the keys that a command with its arguments names, and what it does to them.",
            usage: "command [arg ...]",
            subcommands: &[],
            run: getkeysandflags,
        },
        Command {
            name: "command|help",
            wire_id: 197,
            arity: 2,
            keys: Keys::NONE,
            flags: ANYTIME,
            group: Group::Server,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Lists these subcommands.",
            usage: "",
            subcommands: &[],
            run: help,
        },
    ],
    run: command,
}];

fn command(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let rows: Vec<&Command> = table::commands().collect();
    call.reply.array(rows.len());
    rows.iter().for_each(|row| write_info(&mut call.reply, row));
    Ok(())
}

fn count(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.integer(table::commands().count() as i64);
    Ok(())
}

fn info(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let names = call.args.from(2);
    if names.is_empty() {
        return command(call);
    }
    call.reply.array(names.len());
    for name in names.iter() {
        match table::find_full(name) {
            Some(row) => write_info(&mut call.reply, row),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn docs(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let names = call.args.from(2);
    let rows: Vec<&Command> = match names.len() {
        0 => table::commands().collect(),
        _ => names.iter().filter_map(table::find_full).collect(),
    };
    write_all_docs(&mut call.reply, &rows);
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let wanted: Box<dyn Fn(&Command) -> bool> = match call.args.len() {
        2 => Box::new(|_| true),
        5 if call.is_word(2, "FILTERBY") => {
            let word = call.args.at(4);
            if call.is_word(3, "MODULE") {
                Box::new(|_| false)
            } else if call.is_word(3, "ACLCAT") {
                let is_word = move |category: &&str| category.as_bytes()[1..].eq_ignore_ascii_case(word);
                Box::new(move |row| row.categories().iter().any(is_word))
            } else if call.is_word(3, "PATTERN") {
                Box::new(move |row| glob::matches(word, row.name.as_bytes(), true))
            } else {
                return Err(Error::SYNTAX);
            }
        }
        _ => return Err(Error::SYNTAX),
    };
    let names: Vec<&str> = table::all().filter(|row| wanted(row)).map(|row| row.name).collect();
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk_str(name));
    Ok(())
}

/// The row and the request that COMMAND GETKEYS is asked about.
fn asked<'a>(call: &Call<'a, '_>) -> Result<(&'static Command, Args<'a>), Error> {
    let request = call.args.from(2);
    let Lookup::Command(row) = table::find(request) else {
        return Err(Error::err("Invalid command specified"));
    };
    if row.keys.first == 0 {
        return Err(Error::err("The command has no key arguments"));
    }
    if !row.accepts(request.len()) {
        return Err(Error::err("Invalid number of arguments specified for command"));
    }
    Ok((row, request))
}

fn getkeys(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (row, request) = asked(call)?;
    let keys: Vec<&[u8]> = row.keys_of(request).collect();
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

fn getkeysandflags(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (row, request) = asked(call)?;
    let keys: Vec<&[u8]> = row.keys_of(request).collect();
    // SET only reads with its option GET: the one row whose use of a key depends on the request.
    let blind = row.name == "set" && !request.from(3).iter().any(|arg| arg.eq_ignore_ascii_case(b"GET"));
    call.reply.array(keys.len());
    for (nth, key) in keys.iter().enumerate() {
        call.reply.array(2);
        call.reply.bulk(key);
        let flags = if blind { OVERWRITE } else { key_flags(row, nth) };
        write_set(&mut call.reply, flags.iter().copied().filter(|flag| *flag != VARIABLE));
    }
    Ok(())
}

const VARIABLE: &str = "variable_flags";
const READ: &[&str] = &["RO", "access"];
const LOOK: &[&str] = &["RO"];
const OVERWRITE: &[&str] = &["OW", "update"];
const CREATE: &[&str] = &["OW", "insert"];
const REMOVE: &[&str] = &["RM", "delete"];
const TAKE: &[&str] = &["RW", "access", "delete"];
const EXCHANGE: &[&str] = &["RW", "access", "update"];
const MODIFY: &[&str] = &["RW", "update"];

/// What a command does to its `nth` key, in the words of key specifications. Readers read and writers read and write,
/// but for those named here.
fn key_flags(row: &Command, nth: usize) -> &'static [&'static str] {
    match (row.name, nth) {
        ("exists" | "touch" | "type" | "strlen" | "watch" | "memory|usage", _) => LOOK,
        (name, _) if name.starts_with("object|") => LOOK,
        ("copy", 0) => READ,
        ("rename" | "renamenx" | "getdel", 0) => TAKE,
        ("mset" | "setex" | "psetex", _) | ("rename" | "copy", 1) => OVERWRITE,
        ("setnx" | "msetnx", _) | ("renamenx", 1) => CREATE,
        ("del" | "unlink", _) => REMOVE,
        ("set", _) => &["RW", "access", "update", VARIABLE],
        ("append", _) => &["RW", "insert"],
        ("setrange" | "persist", _) => MODIFY,
        (name, _) if name.contains("expire") && row.flags.has(Flags::WRITE) => MODIFY,
        _ if row.flags.has(Flags::WRITE) => EXCHANGE,
        _ => READ,
    }
}

/// Key specifications: one for all keys, or one each where a command treats two keys differently.
fn key_specs(row: &Command) -> Vec<Keys> {
    match row.keys {
        keys if keys.first == 0 => Vec::new(),
        Keys::TWO if key_flags(row, 0) != key_flags(row, 1) => {
            (1..=2).map(|at| Keys::range(at, at as i16, 1)).collect()
        }
        keys => vec![keys],
    }
}

fn write_set<'n>(reply: &mut ReplyWriter<'_>, names: impl Iterator<Item = &'n str> + Clone) {
    reply.set(names.clone().count());
    names.for_each(|name| reply.simple(name));
}

/// One element of COMMAND INFO.
fn write_info(reply: &mut ReplyWriter<'_>, row: &Command) {
    reply.array(10);
    reply.bulk_str(row.name);
    reply.integer(row.arity.into());
    let flags = Flags::NAMES.iter().filter(|(flag, name)| row.flags.has(*flag) && !name.is_empty());
    write_set(reply, flags.map(|(_, name)| *name));
    reply.integer(row.keys.first.into());
    reply.integer(row.keys.last.into());
    reply.integer(row.keys.step.into());
    write_set(reply, row.categories().into_iter());
    reply.set(0);
    let specs = key_specs(row);
    reply.set(specs.len());
    for (nth, spec) in specs.into_iter().enumerate() {
        write_key_spec(reply, spec, key_flags(row, nth));
    }
    reply.array(row.subcommands.len());
    row.subcommands.iter().for_each(|row| write_info(reply, row));
}

fn write_key_spec(reply: &mut ReplyWriter<'_>, keys: Keys, flags: &[&str]) {
    reply.map(3);
    reply.bulk_str("flags");
    write_set(reply, flags.iter().copied());
    reply.bulk_str("begin_search");
    reply.map(2);
    reply.bulk_str("type");
    reply.bulk_str("index");
    reply.bulk_str("spec");
    reply.map(1);
    reply.bulk_str("index");
    reply.integer(if keys.number > 0 { keys.number } else { keys.first }.into());
    reply.bulk_str("find_keys");
    reply.map(2);
    reply.bulk_str("type");
    if keys.number > 0 {
        reply.bulk_str("keynum");
        reply.bulk_str("spec");
        reply.map(3);
        // Counted from where the search begins.
        for (name, at) in
            [("keynumidx", 0), ("firstkey", i64::from(keys.first) - i64::from(keys.number)), ("keystep", 1)]
        {
            reply.bulk_str(name);
            reply.integer(at);
        }
        return;
    }
    reply.bulk_str("range");
    reply.bulk_str("spec");
    reply.map(3);
    reply.bulk_str("lastkey");
    // Counted from the first key, but from the end if negative.
    let last = i64::from(keys.last);
    reply.integer(if last < 0 { last } else { last - i64::from(keys.first) });
    reply.bulk_str("keystep");
    reply.integer(keys.step.into());
    reply.bulk_str("limit");
    reply.integer(0);
}

fn write_all_docs(reply: &mut ReplyWriter<'_>, rows: &[&Command]) {
    reply.map(rows.len());
    for row in rows {
        reply.bulk_str(row.name);
        write_docs(reply, row);
    }
}

fn write_docs(reply: &mut ReplyWriter<'_>, row: &Command) {
    // A test parses every row's usage.
    let arguments = usage::parse(row.usage).unwrap_or_default();
    reply.map_with(|reply| {
        let texts = [
            ("summary", row.summary),
            ("since", row.since),
            ("group", row.group.name()),
            ("complexity", row.complexity),
        ];
        for (name, text) in texts {
            reply.bulk_str(name);
            reply.bulk_str(text);
        }
        if !arguments.is_empty() {
            reply.bulk_str("arguments");
            write_arguments(reply, &arguments, key_specs(row).len(), &mut 0);
        }
        if !row.subcommands.is_empty() {
            reply.bulk_str("subcommands");
            write_all_docs(reply, &row.subcommands.iter().collect::<Vec<_>>());
        }
        texts.len() + usize::from(!arguments.is_empty()) + usize::from(!row.subcommands.is_empty())
    });
}

/// Arguments as COMMAND DOCS describes them; `keys` counts those of type key among `specs` specifications.
fn write_arguments(reply: &mut ReplyWriter<'_>, arguments: &[Argument], specs: usize, keys: &mut usize) {
    reply.array(arguments.len());
    for argument in arguments {
        reply.map_with(|reply| write_argument(reply, argument, specs, keys));
    }
}

fn write_argument(reply: &mut ReplyWriter<'_>, argument: &Argument, specs: usize, keys: &mut usize) -> usize {
    let is_group = matches!(argument.kind, Kind::OneOf | Kind::Block);
    let mut pairs = 2;
    let text = |reply: &mut ReplyWriter<'_>, name, text: &str| {
        reply.bulk_str(name);
        reply.bulk_str(text);
    };
    text(reply, "name", &argument.name);
    text(reply, "type", argument.kind.name());
    if !is_group {
        text(reply, "display_text", &argument.name);
        pairs += 1;
    }
    if argument.kind == Kind::Key && specs > 0 {
        reply.bulk_str("key_spec_index");
        reply.integer((*keys).min(specs - 1) as i64);
        *keys += 1;
        pairs += 1;
    }
    if let Some(token) = &argument.token {
        text(reply, "token", token);
        pairs += 1;
    }
    let flags =
        [(argument.optional, "optional"), (argument.multiple, "multiple"), (argument.multiple_token, "multiple_token")];
    let flags = flags.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name);
    if flags.clone().next().is_some() {
        reply.bulk_str("flags");
        write_set(reply, flags);
        pairs += 1;
    }
    if is_group {
        reply.bulk_str("arguments");
        write_arguments(reply, &argument.arguments, specs, keys);
        pairs += 1;
    }
    pairs
}

#[cfg(test)]
mod tests;
