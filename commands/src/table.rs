//! All commands, and how a request finds its row.

use crate::command::Command;
use crate::families;
use protocol::Args;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

/// Every family's rows. A new family is one more line.
pub const FAMILIES: &[&[Command]] = &[
    families::connection::COMMANDS,
    families::client::COMMANDS,
    families::string::COMMANDS,
    families::counter::COMMANDS,
    families::expiry::COMMANDS,
    families::keyspace::COMMANDS,
    families::scan::COMMANDS,
    families::transaction::COMMANDS,
    families::config::COMMANDS,
    families::introspect::COMMANDS,
    families::inspect::COMMANDS,
    families::server::COMMANDS,
    families::debug::COMMANDS,
    families::refused::COMMANDS,
    families::cache::COMMANDS,
    families::swr::COMMANDS,
    families::event::COMMANDS,
    families::hash::COMMANDS,
    families::projection::COMMANDS,
];

/// Longest command name there may be, in bytes.
const MAX_NAME: usize = 32;

/// What a request's name leads to.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// This row.
    Command(&'static Command),
    /// No such command.
    Unknown,
    /// A command with subcommands, but not this one.
    UnknownSubcommand(&'static Command),
}

/// Names are short and ours: a multiplicative hash of their bytes does; peers cannot add any.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

type Names = HashMap<&'static [u8], &'static Command, BuildHasherDefault<NameHasher>>;

static NAMES: LazyLock<Names> =
    LazyLock::new(|| FAMILIES.iter().flat_map(|family| family.iter()).map(|row| (row.name.as_bytes(), row)).collect());

static BY_WIRE_ID: LazyLock<Vec<Option<&'static Command>>> = LazyLock::new(|| {
    let mut rows = vec![None; usize::from(max_wire_id()) + 1];
    for row in all() {
        rows[usize::from(row.wire_id)] = Some(row);
    }
    rows
});

/// Top-level commands, family by family.
pub fn commands() -> impl Iterator<Item = &'static Command> + Clone {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// All rows, each command followed by its subcommands.
pub fn all() -> impl Iterator<Item = &'static Command> {
    commands().flat_map(|row| std::iter::once(row).chain(row.subcommands.iter()))
}

/// The highest wire id in use.
pub fn max_wire_id() -> u16 {
    all().map(|row| row.wire_id).max().unwrap_or(0)
}

/// The row with this wire id.
pub fn by_wire_id(id: u16) -> Option<&'static Command> {
    BY_WIRE_ID.get(usize::from(id)).copied().flatten()
}

/// The top-level command of this name, in any case.
#[inline]
pub fn find_name(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; MAX_NAME];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    NAMES.get(&*lower).copied()
}

/// The row of a full name, `parent|sub` included.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        None => find_name(name),
        Some(at) => find_name(&name[..at])?.subcommand(&name[at + 1..]),
    }
}

/// The row a request is about. `args` is not empty.
#[inline]
pub fn find(args: Args<'_>) -> Lookup {
    let Some(row) = find_name(args.at(0)) else { return Lookup::Unknown };
    if row.subcommands.is_empty() || args.len() < 2 {
        return Lookup::Command(row);
    }
    match row.subcommand(args.at(1)) {
        Some(sub) => Lookup::Command(sub),
        None => Lookup::UnknownSubcommand(row),
    }
}

impl Command {
    /// The subcommand of this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands.iter().find(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The command a subcommand belongs to; itself for others.
    pub fn parent(&self) -> Option<&'static Command> {
        let (parent, _) = self.name.split_once('|')?;
        find_name(parent.as_bytes())
    }
}

#[cfg(test)]
mod dead;
#[cfg(test)]
mod queued;
#[cfg(test)]
mod tests;
