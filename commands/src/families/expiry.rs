//! Expiry: deadlines of keys, and the expiry options other commands share.

#[cfg(test)]
mod tests;

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use smallvec::SmallVec;
use storage::{KeyHash, Millis, Slot};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        wire_id: 100,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Makes a key expire after a number of seconds.",
        usage: "key seconds [NX | XX | GT | LT]",
        subcommands: &[],
        run: expire,
    },
    Command {
        name: "pexpire",
        wire_id: 101,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Makes a key expire after a number of milliseconds.",
        usage: "key milliseconds [NX | XX | GT | LT]",
        subcommands: &[],
        run: pexpire,
    },
    Command {
        name: "expireat",
        wire_id: 102,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Makes a key expire at a Unix time in seconds.",
        usage: "key unix-time-seconds [NX | XX | GT | LT]",
        subcommands: &[],
        run: expireat,
    },
    Command {
        name: "pexpireat",
        wire_id: 103,
        arity: -3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Makes a key expire at a Unix time in milliseconds.",
        usage: "key unix-time-milliseconds [NX | XX | GT | LT]",
        subcommands: &[],
        run: pexpireat,
    },
    Command {
        name: "ttl",
        wire_id: 104,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns after how many seconds a key expires.",
        usage: "key",
        subcommands: &[],
        run: ttl,
    },
    Command {
        name: "pttl",
        wire_id: 105,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns after how many milliseconds a key expires.",
        usage: "key",
        subcommands: &[],
        run: pttl,
    },
    Command {
        name: "expiretime",
        wire_id: 106,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns when a key expires, as a Unix time in seconds.",
        usage: "key",
        subcommands: &[],
        run: expiretime,
    },
    Command {
        name: "pexpiretime",
        wire_id: 107,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns when a key expires, as a Unix time in milliseconds.",
        usage: "key",
        subcommands: &[],
        run: pexpiretime,
    },
    Command {
        name: "persist",
        wire_id: 108,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::FAST),
        group: Group::Generic,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Takes the expiry of a key away.",
        usage: "key",
        subcommands: &[],
        run: persist,
    },
    Command {
        name: "touch",
        wire_id: 109,
        arity: -2,
        keys: Keys::ALL,
        flags: Flags::READONLY.and(Flags::FAST),
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N), N being the number of keys",
        summary: "Counts a use of several keys and returns how many of them exist.",
        usage: "key ...",
        subcommands: &[],
        run: touch,
    },
];

/// What an expiry option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// A deadline, possibly already past.
    At(Millis),
    /// The deadline the key has.
    Keep,
    /// None.
    Never,
}

/// The expiry words a command takes besides EX, PX, EXAT and PXAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionWords(Word);

impl OptionWords {
    /// KEEPTTL.
    pub const SET: Self = Self(Word::KeepTtl);
    /// PERSIST.
    pub const GETEX: Self = Self(Word::Persist);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Ex,
    Px,
    ExAt,
    PxAt,
    KeepTtl,
    Persist,
}

impl Word {
    fn of(text: &[u8]) -> Option<Self> {
        match text {
            [b'e' | b'E', b'x' | b'X'] => Some(Self::Ex),
            [b'p' | b'P', b'x' | b'X'] => Some(Self::Px),
            _ if text.eq_ignore_ascii_case(b"EXAT") => Some(Self::ExAt),
            _ if text.eq_ignore_ascii_case(b"PXAT") => Some(Self::PxAt),
            _ if text.eq_ignore_ascii_case(b"KEEPTTL") => Some(Self::KeepTtl),
            _ if text.eq_ignore_ascii_case(b"PERSIST") => Some(Self::Persist),
            _ => None,
        }
    }
}

/// The expiry option of one request, gathered while its words are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiryOption {
    /// The word, and where its amount is.
    asked: Option<(Word, usize)>,
}

impl ExpiryOption {
    /// Takes the option at argument `index` and returns how many arguments it has (1 or 2). Any other word, and one
    /// that contradicts what was taken before, is a syntax error.
    pub fn take(&mut self, call: &Call<'_, '_>, index: usize, words: OptionWords) -> Result<usize, Error> {
        let word = Word::of(call.args.at(index)).ok_or(Error::SYNTAX)?;
        let used = match word {
            Word::KeepTtl | Word::Persist if word != words.0 => return Err(Error::SYNTAX),
            Word::KeepTtl | Word::Persist => 1,
            Word::Ex | Word::Px | Word::ExAt | Word::PxAt => 2,
        };
        let fits = index + used <= call.args.len() && self.asked.is_none_or(|(before, _)| before == word);
        if !fits {
            return Err(Error::SYNTAX);
        }
        self.asked = Some((word, index + 1));
        Ok(used)
    }

    /// What the option means now; none if there was none. An amount that is no positive number is an error.
    pub fn resolve(self, call: &Call<'_, '_>) -> Result<Option<Expire>, Error> {
        let Some((word, amount_at)) = self.asked else { return Ok(None) };
        let now_ms = call.cx.now.0;
        let (unit_ms, base_ms) = match word {
            Word::KeepTtl => return Ok(Some(Expire::Keep)),
            Word::Persist => return Ok(Some(Expire::Never)),
            Word::Ex => (1000, now_ms),
            Word::Px => (1, now_ms),
            Word::ExAt => (1000, 0),
            Word::PxAt => (1, 0),
        };
        let amount = call.integer(amount_at)?;
        positive_deadline(amount, unit_ms, base_ms, call.command.name).map(|deadline| Some(Expire::At(deadline)))
    }
}

/// `amount` units after `base_ms`, if that fits.
fn deadline_ms(amount: i64, unit_ms: i64, base_ms: u64) -> Option<i64> {
    amount.checked_mul(unit_ms)?.checked_add_unsigned(base_ms)
}

/// `amount` units after `base_ms`; an amount that is not positive, or overflows, is an error of the command `name`.
pub fn positive_deadline(amount: i64, unit_ms: i64, base_ms: u64, name: &str) -> Result<Millis, Error> {
    match deadline_ms(amount, unit_ms, base_ms) {
        Some(deadline) if amount > 0 => Ok(Millis(deadline as u64)),
        _ => Err(Error::invalid_expire(name)),
    }
}

fn expire(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let now_ms = call.cx.now.0;
    change_deadline(call, 1000, now_ms)
}

fn pexpire(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let now_ms = call.cx.now.0;
    change_deadline(call, 1, now_ms)
}

fn expireat(call: &mut Call<'_, '_>) -> Result<(), Error> {
    change_deadline(call, 1000, 0)
}

fn pexpireat(call: &mut Call<'_, '_>) -> Result<(), Error> {
    change_deadline(call, 1, 0)
}

/// When EXPIRE changes a deadline; all that are set must hold.
#[derive(Clone, Copy, Default)]
struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Conditions {
    fn parse(call: &Call<'_, '_>) -> Result<Self, Error> {
        let mut conditions = Self::default();
        for word in call.args.from(3).iter() {
            let condition = match word {
                [b'n' | b'N', b'x' | b'X'] => &mut conditions.if_none,
                [b'x' | b'X', b'x' | b'X'] => &mut conditions.if_some,
                [b'g' | b'G', b't' | b'T'] => &mut conditions.if_later,
                [b'l' | b'L', b't' | b'T'] => &mut conditions.if_earlier,
                _ => return Err(Error::quoting("Unsupported option ", word, "")),
            };
            *condition = true;
        }
        let Self { if_none, if_some, if_later, if_earlier } = conditions;
        if if_none && (if_some || if_later || if_earlier) {
            return Err(Error::err("NX and XX, GT or LT options at the same time are not compatible"));
        }
        if if_later && if_earlier {
            return Err(Error::err("GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether a deadline may replace `current`; none counts as later than any.
    fn allow(self, current: Option<Millis>, deadline_ms: i64) -> bool {
        let current_ms = current.map_or(i64::MAX, |current| current.0 as i64);
        !(self.if_none && current.is_some()
            || self.if_some && current.is_none()
            || self.if_later && deadline_ms <= current_ms
            || self.if_earlier && current.is_some() && deadline_ms >= current_ms)
    }
}

fn change_deadline(call: &mut Call<'_, '_>, unit_ms: i64, base_ms: u64) -> Result<(), Error> {
    let conditions = Conditions::parse(call)?;
    let deadline_ms = deadline_ms(call.integer(2)?, unit_ms, base_ms);
    let deadline_ms = deadline_ms.ok_or_else(|| Error::invalid_expire(call.command.name))?;
    let (touch, now) = (!call.session.no_touch, call.cx.now);
    call.first(|slot, reply| {
        let Slot::Live(mut live) = slot else { return reply.integer(0) };
        if touch {
            live.touch();
        }
        if !conditions.allow(live.deadline(), deadline_ms) {
            return reply.integer(0);
        }
        match u64::try_from(deadline_ms) {
            Ok(deadline) if deadline > now.0 => live.set_deadline(Some(Millis(deadline))),
            _ => live.remove(),
        }
        reply.integer(1);
    });
    Ok(())
}

/// Replies `show` of the first key's deadline; -1 without one, -2 without the key.
fn reply_deadline(call: &mut Call<'_, '_>, show: impl FnOnce(u64) -> u64) -> Result<(), Error> {
    let hit = call.first(|slot, reply| {
        let Slot::Live(live) = slot else {
            reply.integer(-2);
            return false;
        };
        reply.integer(live.deadline().map_or(-1, |deadline| show(deadline.0) as i64));
        true
    });
    call.count_lookup(hit);
    Ok(())
}

/// Milliseconds as whole seconds, to the nearest.
fn rounded_seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

fn ttl(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let now_ms = call.cx.now.0;
    reply_deadline(call, |deadline_ms| rounded_seconds(deadline_ms - now_ms))
}

fn pttl(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let now_ms = call.cx.now.0;
    reply_deadline(call, |deadline_ms| deadline_ms - now_ms)
}

fn expiretime(call: &mut Call<'_, '_>) -> Result<(), Error> {
    reply_deadline(call, rounded_seconds)
}

fn pexpiretime(call: &mut Call<'_, '_>) -> Result<(), Error> {
    reply_deadline(call, |deadline_ms| deadline_ms)
}

fn persist(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let touch = !call.session.no_touch;
    call.first(|slot, reply| {
        let Slot::Live(mut live) = slot else { return reply.integer(0) };
        if touch {
            live.touch();
        }
        let had_deadline = live.deadline().is_some();
        if had_deadline {
            live.set_deadline(None);
        }
        reply.integer(had_deadline.into());
    });
    Ok(())
}

/// TOUCH counts a use even for clients whose other commands do not (`CLIENT NO-TOUCH`).
fn touch(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (keys, db, cx) = (call.args.from(1), call.session.db, call.cx);
    let hashes: SmallVec<[KeyHash; 32]> = keys.iter().map(|key| call.store.hash(key)).collect();
    let hits = call.store.atomically(hashes.iter().copied(), |store| {
        let touch_one = |(key, kh): (&[u8], &KeyHash)| {
            store.one(db, *kh, key, &cx, |slot| slot.live().map(|mut live| live.touch()).is_some())
        };
        keys.iter().zip(&hashes).map(touch_one).filter(|hit| *hit).count()
    });
    call.stats.hits.add(hits as u64);
    call.stats.misses.add((keys.len() - hits) as u64);
    call.reply.integer(hits as i64);
    Ok(())
}
