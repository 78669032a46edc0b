//! Freshness of single entries: reading with leases, answering them, storing with windows.
//!
//! A reader that gets a token must load: it answers with SWR.FILL, SWR.FAIL or SWR.YIELD. All others meanwhile get what
//! there is, or wait. Outcomes are status words in the reply; errors mean misuse.

use crate::command::{Command, Flags, Group, Keys};

mod answer;
mod fill;
mod options;
mod read;
mod set;
mod tag;
mod token;
mod wait;
mod work;

pub(crate) use fill::{Kind, count};
pub(crate) use options::drawn;
pub(crate) use read::read_through;
pub(crate) use set::is_plain_set;

const SINCE: &str = "0.1.0";

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "swr.tag",
        wire_id: 360,
        arity: -5,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of tags, 64 at most",
        summary: "Adds tags to a key, takes some away, sets them all, or tells how many of some it has.",
        usage: "key (ADD | REM | SET | HAS) count tag [tag ...]",
        subcommands: &[],
        run: tag::tag,
    },
    Command {
        name: "swr.get",
        wire_id: 361,
        arity: -2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::BLOCKING),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(1)",
        summary: "Reads a key with its state, and tells one reader to load it where that is due.",
        usage: "key [WAIT milliseconds] [SOFT milliseconds] [NOLEASE] [LEASE milliseconds] \
                [MINFRESH milliseconds | FORCE] [MAXSTALE milliseconds] [NOSIE] [META]",
        subcommands: &[],
        run: read::get,
    },
    Command {
        name: "swr.mget",
        wire_id: 362,
        arity: -3,
        keys: Keys::NUMBERED,
        flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of keys",
        summary: "Reads several keys like SWR.GET, without waiting.",
        usage: "numkeys key [key ...] [NOLEASE] [LEASE milliseconds] [MINFRESH milliseconds | FORCE] \
                [MAXSTALE milliseconds] [NOSIE] [META]",
        subcommands: &[],
        run: read::mget,
    },
    Command {
        name: "swr.peek",
        wire_id: 363,
        arity: -2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(1)",
        summary: "Reads a key with its state: never a token, no waiting, no use counted.",
        usage: "key [META]",
        subcommands: &[],
        run: read::peek,
    },
    Command {
        name: "swr.meta",
        wire_id: 364,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(1)",
        summary: "Tells all that is known of a key's freshness.",
        usage: "key",
        subcommands: &[],
        run: read::meta,
    },
    Command {
        name: "swr.fill",
        wire_id: 365,
        arity: -4,
        keys: Keys::ONE,
        // Room is made by the store: where there is none, those who wait get the value all the same.
        flags: Flags::WRITE,
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of tags and of readers that wait",
        summary: "Answers a lease with what was loaded.",
        usage: "key token (VALUE value [FRESH milliseconds] [STALE milliseconds] [RETAIN milliseconds] \
                [TAGS count tag [tag ...]] [ETAG etag] | NIL [FRESH milliseconds] | SAME [FRESH milliseconds] \
                [STALE milliseconds] [RETAIN milliseconds] [ETAG etag] | NOSTORE [PASS milliseconds])",
        subcommands: &[],
        run: fill::fill,
    },
    Command {
        name: "swr.fail",
        wire_id: 366,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::FAST,
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of readers that wait",
        summary: "Gives a lease up: loading failed.",
        usage: "key token [BACKOFF milliseconds] [MSG text]",
        subcommands: &[],
        run: fill::fail,
    },
    Command {
        name: "swr.yield",
        wire_id: 367,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::FAST,
        group: Group::Swr,
        since: SINCE,
        complexity: "O(1)",
        summary: "Gives a lease back unused: the next reader that waits loads.",
        usage: "key token",
        subcommands: &[],
        run: fill::give_back,
    },
    Command {
        name: "swr.renew",
        wire_id: 368,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::FAST,
        group: Group::Swr,
        since: SINCE,
        complexity: "O(1)",
        summary: "Makes a lease last longer.",
        usage: "key token milliseconds",
        subcommands: &[],
        run: fill::renew,
    },
    Command {
        name: "swr.set",
        wire_id: 369,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of tags",
        summary: "Stores a value with windows, tags and an ETag.",
        usage: "key value [FRESH milliseconds] [STALE milliseconds] [RETAIN milliseconds] \
                [TAGS count tag [tag ...]] [ETAG etag] [NX | XX | IFVER version] [GET]",
        subcommands: &[],
        run: set::set,
    },
    Command {
        name: "swr.memo",
        wire_id: 370,
        arity: -3,
        keys: Keys::NONE,
        flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::KEYSPACE),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N log N), N being the length of the payload",
        summary: "Reads what a call with this payload results in: one id for one payload, loaded once.",
        usage: "service payload [WAIT milliseconds] [SOFT milliseconds] [NOLEASE] [LEASE milliseconds] \
                [MINFRESH milliseconds | FORCE] [MAXSTALE milliseconds] [NOSIE] [META]",
        subcommands: &[],
        run: read::memo,
    },
    Command {
        name: "swr.refresh",
        wire_id: 371,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::WRITE,
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of keys",
        summary: "Makes keys stale and begins to load them where others than readers do that; tells how many were there.",
        usage: "key ...",
        subcommands: &[],
        run: work::refresh,
    },
    Command {
        name: "swr.warm",
        wire_id: 372,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::FAST,
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of keys",
        summary: "Begins to load keys that are not fresh, where others than readers do that; tells how many loads that are.",
        usage: "key ...",
        subcommands: &[],
        run: work::warm,
    },
    Command {
        name: "swr.next",
        wire_id: 373,
        arity: -2,
        keys: Keys::NONE,
        // Jobs are of any key of these services.
        flags: Flags::BLOCKING.and(Flags::NOSCRIPT).and(Flags::KEYSPACE),
        group: Group::Swr,
        since: SINCE,
        complexity: "O(N), N being the number of jobs taken",
        summary: "Takes loads that are due in services whose loader is a worker.",
        usage: "service ... [COUNT count] [BLOCK milliseconds]",
        subcommands: &[],
        run: work::next,
    },
];

#[cfg(test)]
mod tests;
