//! Expiry: deadlines of keys, and the expiry options other commands share.

use crate::call::Call;
use crate::command::Command;
use crate::error::Error;
use storage::Millis;

/// Rows of this family.
pub const COMMANDS: &[Command] = &[];

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

/// The expiry words a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionWords {
    keep_ttl: bool,
    persist: bool,
}

impl OptionWords {
    /// EX, PX, EXAT, PXAT, KEEPTTL.
    pub const SET: Self = Self { keep_ttl: true, persist: false };
    /// EX, PX, EXAT, PXAT, PERSIST.
    pub const GETEX: Self = Self { keep_ttl: false, persist: true };
}

/// The expiry option at argument `index`, and how many arguments it takes (1 or 2). Any other word is a syntax error.
pub fn option(call: &Call<'_, '_>, index: usize, words: OptionWords) -> Result<(Expire, usize), Error> {
    if words.keep_ttl && call.is_word(index, "KEEPTTL") {
        return Ok((Expire::Keep, 1));
    }
    if words.persist && call.is_word(index, "PERSIST") {
        return Ok((Expire::Never, 1));
    }
    let (unit_ms, base_ms) = if call.is_word(index, "EX") {
        (1000, call.cx.now.0)
    } else if call.is_word(index, "PX") {
        (1, call.cx.now.0)
    } else if call.is_word(index, "EXAT") {
        (1000, 0)
    } else if call.is_word(index, "PXAT") {
        (1, 0)
    } else {
        return Err(Error::SYNTAX);
    };
    if index + 1 >= call.args.len() {
        return Err(Error::SYNTAX);
    }
    let amount = call.integer(index + 1)?;
    let deadline = positive_deadline(amount, unit_ms, base_ms, call.command.name)?;
    Ok((Expire::At(deadline), 2))
}

/// `amount` units after `base_ms`; an amount that is not positive, or overflows, is an error of the command `name`.
pub fn positive_deadline(amount: i64, unit_ms: i64, base_ms: u64, name: &str) -> Result<Millis, Error> {
    let total = amount.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base_ms as i64));
    match total {
        Some(deadline) if amount > 0 => Ok(Millis(deadline as u64)),
        _ => Err(Error::invalid_expire(name)),
    }
}
