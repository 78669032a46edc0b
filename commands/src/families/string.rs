//! Strings: GET, SET and what is made of them.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::expiry::{self, Expire};
use protocol::ReplyWriter;
use protocol::number::parse_i64;
use storage::{Kind, LiveRef, NewValue, Slot, Value};

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
];

/// The longest string that can be a canonical 64-bit integer: `-9223372036854775808`.
const MAX_INTEGER_TEXT: usize = 20;

/// How a string is stored: canonical integers as such, so that counters are edited in place.
#[inline]
pub fn encode(bytes: &[u8]) -> NewValue<'_> {
    if bytes.len() <= MAX_INTEGER_TEXT
        && let Some(n) = parse_i64(bytes)
    {
        return NewValue::Int(n);
    }
    NewValue::Bytes(bytes)
}

/// Writes the string of a value; long ones are sent without being copied.
#[inline]
pub fn reply_value(reply: &mut ReplyWriter<'_>, value: Value<'_>) {
    match value {
        Value::Raw(bytes) => reply.bulk(bytes),
        Value::Int(n) => reply.bulk_integer(n),
        Value::Shared(bytes) => reply.shared(bytes),
    }
}

/// Writes the string of a live entry, or the error for another type.
#[inline]
pub fn reply_string(reply: &mut ReplyWriter<'_>, live: &LiveRef<'_>) -> Result<(), Error> {
    match live.kind() {
        Kind::String => reply_value(reply, live.value()),
    }
    Ok(())
}

fn get(call: &mut Call<'_, '_>) -> Result<(), Error> {
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

/// Options of SET.
#[derive(Default)]
struct SetOptions {
    condition: Option<Condition>,
    get: bool,
    expire: Option<Expire>,
}

/// When a conditional write happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

fn set_options(call: &Call<'_, '_>) -> Result<SetOptions, Error> {
    let mut options = SetOptions::default();
    let mut index = 3;
    while index < call.args.len() {
        let unconditional = options.condition.is_none();
        if call.is_word(index, "NX") && unconditional {
            options.condition = Some(Condition::IfAbsent);
        } else if call.is_word(index, "XX") && unconditional {
            options.condition = Some(Condition::IfPresent);
        } else if call.is_word(index, "GET") {
            options.get = true;
        } else if options.expire.is_none() {
            let (expire, used) = expiry::option(call, index, expiry::OptionWords::SET)?;
            options.expire = Some(expire);
            index += used - 1;
        } else {
            return Err(Error::SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

fn set(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let value = encode(call.args.at(2));
    if call.args.len() == 3 {
        call.first(|slot, reply| {
            slot.put(value, None);
            reply.ok();
        });
        return Ok(());
    }
    let options = set_options(call)?;
    let lookup = call.first(|slot, reply| {
        let found = slot.is_live();
        if options.get {
            match &slot {
                Slot::Live(live) => reply_string(reply, live)?,
                Slot::Vacant(_) => reply.null(),
            }
        }
        let write = match options.condition {
            None => true,
            Some(Condition::IfAbsent) => !found,
            Some(Condition::IfPresent) => found,
        };
        if write {
            let deadline = match options.expire {
                None => None,
                Some(Expire::Keep) => if let Slot::Live(live) = &slot { live.deadline() } else { None },
                Some(Expire::Never) => None,
                Some(Expire::At(deadline)) => Some(deadline),
            };
            slot.put(value, deadline);
        }
        if !options.get {
            if write { reply.ok() } else { reply.null() }
        }
        Ok(found)
    })?;
    if options.get {
        call.count_lookup(lookup);
    }
    Ok(())
}
