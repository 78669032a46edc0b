//! Strings: GET, SET and what is made of them.

mod edit;
mod lcs;
mod many;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::expiry::{self, Expire, ExpiryOption, OptionWords};
use crate::families::swr::{drawn, read_through};
use crate::services::fields::{Given, Loader};
use crate::services::{Service, Services};
use protocol::ReplyWriter;
use protocol::number::parse_i64;
use std::sync::Arc;
use storage::limits::INLINE_VALUE_BYTES;
use storage::{Cx, Db, LiveRef, Millis, NewValue, Slot, Value};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        wire_id: 50,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the string stored under a key.",
        usage: "key",
        subcommands: &[],
        run: get,
    },
    Command {
        name: "set",
        wire_id: 51,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Stores a string under a key, whatever was there before; can set its expiry, be conditional, and return the old string.",
        usage: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        subcommands: &[],
        run: set,
    },
    Command {
        name: "setex",
        wire_id: 52,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Stores a string that expires after a number of seconds.",
        usage: "key seconds value",
        subcommands: &[],
        run: setex,
    },
    Command {
        name: "psetex",
        wire_id: 53,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Stores a string that expires after a number of milliseconds.",
        usage: "key milliseconds value",
        subcommands: &[],
        run: psetex,
    },
    Command {
        name: "setnx",
        wire_id: 54,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Stores a string if the key does not exist.",
        usage: "key value",
        subcommands: &[],
        run: setnx,
    },
    Command {
        name: "mget",
        wire_id: 55,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Returns the strings stored under several keys, as of one instant.",
        usage: "key ...",
        subcommands: &[],
        run: many::mget,
    },
    Command {
        name: "mset",
        wire_id: 56,
        arity: -3,
        keys: Keys::PAIRS,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Stores several strings in one step.",
        usage: "(key value) ...",
        subcommands: &[],
        run: many::mset,
    },
    Command {
        name: "msetnx",
        wire_id: 57,
        arity: -3,
        keys: Keys::PAIRS,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Stores several strings in one step if none of the keys exists.",
        usage: "(key value) ...",
        subcommands: &[],
        run: many::msetnx,
    },
    Command {
        name: "getex",
        wire_id: 58,
        arity: -2,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string stored under a key and changes its expiry.",
        usage: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        subcommands: &[],
        run: getex,
    },
    Command {
        name: "getdel",
        wire_id: 59,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string stored under a key and deletes the key.",
        usage: "key",
        subcommands: &[],
        run: getdel,
    },
    Command {
        name: "getset",
        wire_id: 60,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Stores a string and returns the one that was there before.",
        usage: "key value",
        subcommands: &[],
        run: getset,
    },
    Command {
        name: "append",
        wire_id: 61,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "2.0.0",
        complexity: "O(N), N being the number of bytes appended",
        summary: "Appends to the string stored under a key, an empty one if there is none.",
        usage: "key value",
        subcommands: &[],
        run: edit::append,
    },
    Command {
        name: "strlen",
        wire_id: 62,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns the length of the string stored under a key.",
        usage: "key",
        subcommands: &[],
        run: edit::strlen,
    },
    Command {
        name: "getrange",
        wire_id: 63,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N), N being the number of bytes returned",
        summary: "Returns the part of a string between two offsets, both included; negative ones count from the end.",
        usage: "key start end",
        subcommands: &[],
        run: edit::getrange,
    },
    Command {
        name: "substr",
        wire_id: 64,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::READONLY,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N), N being the number of bytes returned",
        summary: "Returns the part of a string between two offsets; an old name of GETRANGE.",
        usage: "key start end",
        subcommands: &[],
        run: edit::getrange,
    },
    Command {
        name: "setrange",
        wire_id: 65,
        arity: 4,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        group: Group::String,
        since: "2.2.0",
        complexity: "O(N), N being the number of bytes written",
        summary: "Overwrites a string from an offset on, filling a gap with zero bytes.",
        usage: "key offset value",
        subcommands: &[],
        run: edit::setrange,
    },
    Command {
        name: "lcs",
        wire_id: 66,
        arity: -3,
        keys: Keys::TWO,
        flags: Flags::READONLY,
        group: Group::String,
        since: "7.0.0",
        complexity: "O(N*M), N and M being the lengths of the strings",
        summary: "Finds the longest common subsequence of two strings.",
        usage: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        subcommands: &[],
        run: lcs::lcs,
    },
];

/// The longest string that can be a canonical 64-bit integer: `-9223372036854775808`.
const MAX_INTEGER_TEXT: usize = 20;

/// How a string is stored: canonical integers as such, so that counters are edited in place; long strings as a copy
/// made here, before any lock is taken.
#[inline]
pub fn encode(bytes: &[u8]) -> NewValue<'_> {
    if bytes.len() <= MAX_INTEGER_TEXT {
        return parse_i64(bytes).map_or(NewValue::Bytes(bytes), NewValue::Int);
    }
    if bytes.len() > INLINE_VALUE_BYTES {
        return NewValue::Shared(Arc::new(bytes.to_vec()));
    }
    NewValue::Bytes(bytes)
}

/// Writes the string of a value; long ones are sent without being copied. Inside a longer reply, what is no string is an
/// error in its place.
#[inline]
pub fn reply_value(reply: &mut ReplyWriter<'_>, value: Value<'_>) {
    match value {
        Value::Raw(bytes) => reply.bulk(bytes),
        Value::Int(n) => reply.bulk_integer(n),
        Value::Shared(bytes) => reply.shared(bytes),
        Value::Hash(_) => reply.error_bytes(&Error::WRONG_TYPE.line()),
    }
}

/// Writes the string of a live entry, or gives the error for another type.
#[inline]
pub fn reply_string(reply: &mut ReplyWriter<'_>, live: &LiveRef<'_>) -> Result<(), Error> {
    reply_value(reply, live.string()?);
    Ok(())
}

/// Writes the string of what may be live, else null.
#[inline]
fn reply_slot(reply: &mut ReplyWriter<'_>, slot: &Slot<'_>) -> Result<(), Error> {
    match slot {
        Slot::Live(live) => reply_string(reply, live),
        Slot::Vacant(_) => {
            reply.null();
            Ok(())
        }
    }
}

/// Runs `act` on the bytes a client would read.
pub fn text_of_value<R>(value: &Value<'_>, act: impl FnOnce(&[u8]) -> R) -> R {
    match value {
        Value::Raw(bytes) => act(bytes),
        Value::Shared(bytes) => act(bytes),
        Value::Int(n) => act(itoa::Buffer::new().format(*n).as_bytes()),
        Value::Hash(_) => unreachable!("the caller asked for a string"),
    }
}

/// How a plain write to a key is made.
struct Writing {
    /// Writing to a live key is a use of it, like reading.
    touch: bool,
    /// The windows of the key's service hold for it (its field DEFAULTS).
    defaults: Option<Arc<Service>>,
    cx: Cx,
}

impl Writing {
    #[inline]
    fn to(call: &Call<'_, '_>, key: &[u8]) -> Self {
        let services = &call.node.services;
        let defaults = if services.has_defaults() { Self::defaults(services, call.db(), key) } else { None };
        Self { touch: !call.session.no_touch, defaults, cx: call.cx }
    }

    #[cold]
    fn defaults(services: &Services, db: Db, key: &[u8]) -> Option<Arc<Service>> {
        Some(services.now().resolve(db, key)).filter(|service| service.policy.defaults).map(Arc::clone)
    }

    /// Stores a string.
    #[inline]
    fn store(&self, mut slot: Slot<'_>, value: NewValue<'_>, deadline: Option<Millis>) {
        if self.touch
            && let Slot::Live(live) = &mut slot
        {
            live.touch();
        }
        match &self.defaults {
            None => slot.put(value, deadline),
            Some(service) => self.store_for(service, slot, value, deadline),
        }
    }

    #[cold]
    fn store_for(&self, service: &Service, slot: Slot<'_>, value: NewValue<'_>, deadline: Option<Millis>) {
        let stale_ms = deadline.map(|deadline| deadline.0.saturating_sub(self.cx.now.0));
        let given = Given { stale_ms, ..Given::default() };
        let lifetimes = given.lifetimes(&service.policy).expect("one window is in order");
        let mut lifetimes = drawn(lifetimes, &service.policy, service.stats.average_load_ms(), self.cx.seed);
        if deadline.is_some_and(|deadline| deadline <= self.cx.now) {
            // Nothing of it is to be kept.
            slot.put(value, deadline);
            return;
        }
        // A time to live that was given is the hard end: jitter is for the fresh time alone.
        if stale_ms.is_some() {
            lifetimes.stale_ms = stale_ms;
            lifetimes.retain_ms = lifetimes.retain_ms.map(|retain| retain.max(stale_ms.unwrap_or(0)));
        }
        slot.put_fresh(value, lifetimes, &[], b"");
    }
}

fn get(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.node.services.has_loaders()
        && let Some(service) = loaded_by_others(call)
    {
        read_through(call, &service);
        return Ok(());
    }
    let touch = !call.session.no_touch;
    let hit = call.first(|slot, reply| match slot {
        Slot::Live(mut live) => {
            if touch {
                live.touch();
            }
            reply_string(reply, &live).map(|()| true)
        }
        Slot::Vacant(_) => {
            reply.null();
            Ok(false)
        }
    })?;
    call.count_lookup(hit);
    Ok(())
}

/// The service of the first key, if its values are loaded by others than its readers.
#[cold]
fn loaded_by_others(call: &Call<'_, '_>) -> Option<Arc<Service>> {
    let services = call.node.services.now();
    if call.node.projections.owner(call.db(), call.args.at(1)).is_some() {
        return None;
    }
    Some(services.resolve(call.db(), call.args.at(1)))
        .filter(|s| s.policy.enabled && s.policy.loader != Loader::Lease)
        .map(Arc::clone)
}

/// Options of SET.
#[derive(Default)]
struct SetOptions {
    condition: Option<Condition>,
    get: bool,
    expiry: ExpiryOption,
}

/// When a conditional write happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

/// Reads the options; a repeated word is fine, one that contradicts an earlier one is not.
fn set_options(call: &Call<'_, '_>) -> Result<SetOptions, Error> {
    let mut options = SetOptions::default();
    let mut index = 3;
    while index < call.args.len() {
        let condition = match call.args.at(index) {
            [b'n' | b'N', b'x' | b'X'] => Some(Condition::IfAbsent),
            [b'x' | b'X', b'x' | b'X'] => Some(Condition::IfPresent),
            _ => None,
        };
        if let Some(condition) = condition {
            if *options.condition.get_or_insert(condition) != condition {
                return Err(Error::SYNTAX);
            }
            index += 1;
        } else if call.is_word(index, "GET") {
            options.get = true;
            index += 1;
        } else {
            index += options.expiry.take(call, index, OptionWords::SET)?;
        }
    }
    Ok(options)
}

fn set(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.args.len() == 3 {
        let (value, writing) = (encode(call.args.at(2)), Writing::to(call, call.args.at(1)));
        call.first(|slot, reply| {
            writing.store(slot, value, None);
            reply.ok();
        });
        return Ok(());
    }
    set_with_options(call)
}

/// Apart from the plain SET, whose frame stays small.
#[inline(never)]
fn set_with_options(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let options = set_options(call)?;
    let expire = options.expiry.resolve(call)?;
    let (value, writing) = (encode(call.args.at(2)), Writing::to(call, call.args.at(1)));
    let found = call.first(|slot, reply| {
        let found = slot.is_live();
        if options.get {
            reply_slot(reply, &slot)?;
        }
        let write = match options.condition {
            None => true,
            Some(Condition::IfAbsent) => !found,
            Some(Condition::IfPresent) => found,
        };
        if write {
            let deadline = match (expire, &slot) {
                (Some(Expire::At(deadline)), _) => Some(deadline),
                (Some(Expire::Keep), Slot::Live(live)) => live.deadline(),
                _ => None,
            };
            match expire {
                // Kept as it is, even where there is none.
                Some(Expire::Keep) => Writing { defaults: None, ..writing }.store(slot, value, deadline),
                _ => writing.store(slot, value, deadline),
            }
        }
        if !options.get {
            if write { reply.ok() } else { reply.null() }
        }
        Ok::<_, Error>(found)
    })?;
    if options.get {
        call.count_lookup(found);
    }
    Ok(())
}

/// Whether a SET depends on nothing that is there, or its error.
pub(crate) fn is_plain_set(call: &Call<'_, '_>) -> Result<bool, Error> {
    let options = set_options(call)?;
    let expire = options.expiry.resolve(call)?;
    Ok(options.condition.is_none() && !options.get && !matches!(expire, Some(Expire::Keep)))
}

/// The same of SETEX.
pub(crate) fn is_plain_setex(call: &Call<'_, '_>) -> Result<bool, Error> {
    deadline_in(call, 1000).map(|_| true)
}

/// The same of PSETEX.
pub(crate) fn is_plain_psetex(call: &Call<'_, '_>) -> Result<bool, Error> {
    deadline_in(call, 1).map(|_| true)
}

fn setex(call: &mut Call<'_, '_>) -> Result<(), Error> {
    set_for(call, 1000)
}

fn psetex(call: &mut Call<'_, '_>) -> Result<(), Error> {
    set_for(call, 1)
}

fn deadline_in(call: &Call<'_, '_>, unit_ms: i64) -> Result<Millis, Error> {
    expiry::positive_deadline(call.integer(2)?, unit_ms, call.cx.now.0, call.command.name)
}

fn set_for(call: &mut Call<'_, '_>, unit_ms: i64) -> Result<(), Error> {
    let deadline = deadline_in(call, unit_ms)?;
    let (value, writing) = (encode(call.args.at(3)), Writing::to(call, call.args.at(1)));
    call.first(|slot, reply| {
        writing.store(slot, value, Some(deadline));
        reply.ok();
    });
    Ok(())
}

fn setnx(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (value, writing) = (encode(call.args.at(2)), Writing::to(call, call.args.at(1)));
    call.first(|slot, reply| match slot {
        Slot::Live(mut live) => {
            if writing.touch {
                live.touch();
            }
            reply.integer(0);
        }
        vacant => {
            writing.store(vacant, value, None);
            reply.integer(1);
        }
    });
    Ok(())
}

fn getset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (value, writing) = (encode(call.args.at(2)), Writing::to(call, call.args.at(1)));
    let hit = call.first(|slot, reply| {
        reply_slot(reply, &slot)?;
        let hit = slot.is_live();
        writing.store(slot, value, None);
        Ok::<_, Error>(hit)
    })?;
    call.count_lookup(hit);
    Ok(())
}

fn getdel(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let hit = call.first(|slot, reply| {
        reply_slot(reply, &slot)?;
        Ok::<_, Error>(slot.delete())
    })?;
    call.count_lookup(hit);
    Ok(())
}

fn getex(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let mut expiry = ExpiryOption::default();
    let mut index = 2;
    while index < call.args.len() {
        index += expiry.take(call, index, OptionWords::GETEX)?;
    }
    // The amount matters only where there is a key: without one the reply is null, whatever it is.
    let expire = expiry.resolve(call);
    let (touch, now) = (!call.session.no_touch, call.cx.now);
    let hit = call.first(|slot, reply| {
        let Slot::Live(mut live) = slot else {
            reply.null();
            return Ok::<_, Error>(false);
        };
        let expire = expire?;
        reply_string(reply, &live)?;
        if touch {
            live.touch();
        }
        match expire {
            Some(Expire::At(deadline)) if deadline <= now => live.remove(),
            Some(Expire::At(deadline)) => live.set_deadline(Some(deadline)),
            Some(Expire::Never) => live.set_deadline(None),
            Some(Expire::Keep) | None => {}
        }
        Ok(true)
    })?;
    call.count_lookup(hit);
    Ok(())
}
