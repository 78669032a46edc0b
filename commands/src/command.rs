//! A command is one row: what it is called, what it takes, how it is gated, and the function that runs it.

use crate::call::Call;
use crate::error::Error;
use core::ops::BitOr;
use protocol::Args;
use protocol::number::parse_i64;

/// Runs a command: parses its arguments, calls the store, writes exactly one reply. An error is the reply instead, and
/// then nothing was changed.
pub type Handler = fn(&mut Call<'_, '_>) -> Result<(), Error>;

/// One row of the command table, or of a command's subcommands.
#[derive(Debug)]
pub struct Command {
    /// Full lower-case name, `parent|sub` for subcommands.
    pub name: &'static str,
    /// Stable number of the command in logs and on peers' wires: never reused, never renumbered.
    pub wire_id: u16,
    /// Number of arguments with the name; negative: at least that many.
    pub arity: i16,
    /// Where its keys are.
    pub keys: Keys,
    /// Behaviour the gates and clients ask about.
    pub flags: Flags,
    /// Group of the command in the documentation.
    pub group: Group,
    /// Version of Redis that brought the command; of Millpond for its own.
    pub since: &'static str,
    /// Cost in terms of the arguments.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Arguments after the name in usage notation, see [`crate::usage`].
    pub usage: &'static str,
    /// Commands selected by the first argument; empty for most.
    pub subcommands: &'static [Command],
    /// Runs it.
    pub run: Handler,
}

/// Where the keys of a command are among its arguments (0 = the name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// First key; 0 = the command names no keys.
    pub first: u16,
    /// Last key; negative counts from the end.
    pub last: i16,
    /// Distance between keys.
    pub step: u16,
    /// The argument that says how many there are, instead of `last`; 0 = none does.
    pub number: u16,
}

impl Keys {
    /// No keys.
    pub const NONE: Self = Self { first: 0, last: 0, step: 0, number: 0 };
    /// The first argument.
    pub const ONE: Self = Self::range(1, 1, 1);
    /// The first two arguments.
    pub const TWO: Self = Self::range(1, 2, 1);
    /// All arguments.
    pub const ALL: Self = Self::range(1, -1, 1);
    /// Every other argument, beginning with the first.
    pub const PAIRS: Self = Self::range(1, -1, 2);
    /// The argument after a subcommand.
    pub const SECOND: Self = Self::range(2, 2, 1);

    /// As many from the second argument on as the first one says.
    pub const NUMBERED: Self = Self { first: 2, last: 0, step: 1, number: 1 };

    /// From one argument to another, every `step`th.
    pub const fn range(first: u16, last: i16, step: u16) -> Self {
        Self { first, last, step, number: 0 }
    }

    /// Indexes of the keys in a request of `len` arguments, of a command whose arguments do not say how many there are.
    pub fn indexes(self, len: usize) -> impl Iterator<Item = usize> + Clone {
        (self.first.into()..self.end(len)).step_by(self.step.max(1).into())
    }

    /// The argument behind the last key.
    fn end(self, len: usize) -> usize {
        let last = if self.last < 0 { len.saturating_sub(self.last.unsigned_abs().into()) } else { self.last as usize };
        if self.first == 0 { 0 } else { (last + 1).min(len) }
    }
}

/// A set of properties; see the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($bit:literal $constant:ident $name:literal $text:literal;)*) => {
        impl Flags {
            $(#[doc = $text] pub const $constant: Self = Self(1 << $bit);)*
            /// Each flag with the name `COMMAND INFO` uses; an empty name is internal.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$constant, $name)),*];
        }
    };
}

flags! {
    0 WRITE "write" "Changes keys.";
    1 READONLY "readonly" "Reads keys and changes none.";
    2 DENYOOM "denyoom" "May take memory: refused at the limit if nothing can be evicted.";
    3 ADMIN "admin" "For operators.";
    4 FAST "fast" "Constant time, or logarithmic.";
    5 LOADING "loading" "Allowed while data is being loaded.";
    6 STALE "stale" "Allowed on a replica without its primary.";
    7 NO_AUTH "no_auth" "Allowed before login.";
    8 NOSCRIPT "noscript" "Refused in scripts.";
    9 BLOCKING "blocking" "May make its client wait.";
    10 NO_MULTI "no_multi" "Refused in a transaction.";
    11 SKIP_SLOWLOG "skip_slowlog" "Never in the slow log.";
    12 MOVABLE_KEYS "movablekeys" "Keys are found by looking at the arguments.";
    13 ALLOW_BUSY "allow_busy" "Allowed while a script has run too long.";
    14 SKIP_MONITOR "skip_monitor" "Not shown to monitors.";
    15 PUBSUB "pubsub" "Publish/subscribe.";
    16 KEYSPACE "" "Touches keys that its arguments do not name: exclusive in a transaction.";
    17 CONTROL "" "Runs at once inside a transaction instead of being queued.";
    18 DANGEROUS "" "Costly or destructive: category @dangerous.";
}

impl Flags {
    /// No property.
    pub const NONE: Self = Self(0);

    /// Whether all properties of `other` are set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together, in constants.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

/// Group of a command in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Sessions of clients.
    Connection,
    /// Any kind of key, expiry included.
    Generic,
    /// Strings and counters.
    String,
    /// Hashes.
    Hash,
    /// MULTI and what belongs to it.
    Transactions,
    /// Operation of the server.
    Server,
    /// Functions and scripts.
    Scripting,
    /// Cluster mode, which this server refuses.
    Cluster,
    /// Groups of entries, services and events.
    Cache,
    /// Freshness of single entries.
    Swr,
    /// Kafka topics as keyspaces.
    Projection,
}

impl Group {
    /// The name `COMMAND DOCS` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
            Self::Transactions => "transactions",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::Cluster => "cluster",
            Self::Cache => "cache",
            Self::Swr => "swr",
            Self::Projection => "projection",
        }
    }
}

/// Categories of commands, with their subcommands, that neither flags nor group tell.
const MORE_CATEGORIES: &[(&str, &str)] = &[
    ("@admin", "lastsave"),
    ("@admin", "role"),
    ("@connection", "asking"),
    ("@connection", "command"),
    ("@connection", "readonly"),
    ("@connection", "readwrite"),
    ("@keyspace", "dbsize"),
    ("@keyspace", "flushall"),
    ("@keyspace", "flushdb"),
    ("@keyspace", "swapdb"),
];

impl Command {
    /// Whether a request of `len` arguments (name included) has the right number of them.
    #[inline]
    pub fn accepts(&self, len: usize) -> bool {
        if self.arity >= 0 { len == self.arity as usize } else { len >= self.arity.unsigned_abs().into() }
    }

    /// Whether this is a row below a container such as CLIENT.
    pub fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// The name without its parent's.
    pub fn own_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// The keys a request names.
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + Clone {
        let keys = self.keys;
        let end = match keys.number {
            0 => keys.end(args.len()),
            // What is no number of keys is refused by the command itself.
            number => {
                let count = args.get(number.into()).and_then(parse_i64).unwrap_or(0).max(0) as usize;
                args.len().min(count.saturating_add(keys.first.into()))
            }
        };
        (keys.first.into()..end).step_by(keys.step.max(1).into()).map(move |index| args.at(index))
    }

    /// ACL categories, with their `@`: derived from flags and group as Redis does.
    pub fn categories(&self) -> Vec<&'static str> {
        let flags = self.flags;
        let command = self.name.split('|').next().unwrap_or(self.name);
        let more = |category| MORE_CATEGORIES.contains(&(category, command));
        // A command that only groups others belongs to no group itself.
        let in_group = |group| self.group == group && self.subcommands.is_empty();
        let rules = [
            (flags.has(Flags::WRITE), "@write"),
            (flags.has(Flags::READONLY) && self.group != Group::Scripting, "@read"),
            (flags.has(Flags::ADMIN) || more("@admin"), "@admin"),
            (flags.has(Flags::ADMIN) || flags.has(Flags::DANGEROUS), "@dangerous"),
            (flags.has(Flags::PUBSUB), "@pubsub"),
            (flags.has(Flags::FAST), "@fast"),
            (!flags.has(Flags::FAST), "@slow"),
            (flags.has(Flags::BLOCKING), "@blocking"),
            (in_group(Group::Generic) || more("@keyspace"), "@keyspace"),
            (in_group(Group::String), "@string"),
            (in_group(Group::Hash), "@hash"),
            (in_group(Group::Connection) || more("@connection"), "@connection"),
            (in_group(Group::Transactions), "@transaction"),
            (in_group(Group::Scripting), "@scripting"),
            (in_group(Group::Cache), "@cache"),
            (in_group(Group::Swr), "@swr"),
            (in_group(Group::Projection), "@projection"),
        ];
        rules.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name).collect()
    }
}
