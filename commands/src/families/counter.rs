//! Counters: integers and decimal numbers in strings, changed in place.

use super::string::{encode, text_of_value};
use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use protocol::number::{add_decimal, format_incr_float, parse_f64, parse_i64};
use storage::{NewValue, Slot, Value};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "incr",
        wire_id: 80,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Adds one to the integer stored under a key, 0 if there is none.",
        usage: "key",
        subcommands: &[],
        run: incr,
    },
    Command {
        name: "decr",
        wire_id: 81,
        arity: 2,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Subtracts one from the integer stored under a key, 0 if there is none.",
        usage: "key",
        subcommands: &[],
        run: decr,
    },
    Command {
        name: "incrby",
        wire_id: 82,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Adds to the integer stored under a key, 0 if there is none.",
        usage: "key increment",
        subcommands: &[],
        run: incrby,
    },
    Command {
        name: "decrby",
        wire_id: 83,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Subtracts from the integer stored under a key, 0 if there is none.",
        usage: "key decrement",
        subcommands: &[],
        run: decrby,
    },
    Command {
        name: "incrbyfloat",
        wire_id: 84,
        arity: 3,
        keys: Keys::ONE,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Adds to the decimal number stored under a key, 0 if there is none.",
        usage: "key float",
        subcommands: &[],
        run: incrbyfloat,
    },
];

/// The longest text INCRBYFLOAT takes for a number, as Redis does: no lock is held while a megabyte is parsed.
const MAX_FLOAT_TEXT: usize = 5 * 1024;

fn incr(call: &mut Call<'_, '_>) -> Result<(), Error> {
    add(call, 1)
}

fn decr(call: &mut Call<'_, '_>) -> Result<(), Error> {
    add(call, -1)
}

fn incrby(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let delta = call.integer(2)?;
    add(call, delta)
}

fn decrby(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let delta = call.integer(2)?.checked_neg().ok_or(Error::err("decrement would overflow"))?;
    add(call, delta)
}

fn add(call: &mut Call<'_, '_>, delta: i64) -> Result<(), Error> {
    let touch = !call.session.no_touch;
    call.first(|slot, reply| {
        let sum = match slot {
            Slot::Live(mut live) => {
                let current = match live.string()? {
                    Value::Int(n) => n,
                    text => text_of_value(&text, parse_i64).ok_or(Error::NOT_INTEGER)?,
                };
                let sum = current.checked_add(delta).ok_or(Error::err("increment or decrement would overflow"))?;
                if touch {
                    live.touch();
                }
                live.put_int(sum);
                sum
            }
            Slot::Vacant(vacant) => {
                vacant.insert(NewValue::Int(delta), None);
                delta
            }
        };
        reply.integer(sum);
        Ok(())
    })
}

/// The number that a text is for INCRBYFLOAT and HINCRBYFLOAT.
pub(super) fn parse_float(text: &[u8]) -> Option<f64> {
    (text.len() <= MAX_FLOAT_TEXT).then(|| parse_f64(text)).flatten()
}

/// The sum of two numbers as text.
pub(super) fn add_texts(current: &[u8], increment: &[u8]) -> Result<String, Error> {
    let sum = parse_float(current).ok_or(Error::NOT_FLOAT)? + parse_float(increment).ok_or(Error::NOT_FLOAT)?;
    if !sum.is_finite() {
        return Err(Error::err("increment would produce NaN or Infinity"));
    }
    Ok(add_decimal(current, increment).unwrap_or_else(|| format_incr_float(sum)))
}

fn incrbyfloat(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (increment, touch) = (call.args.at(2), !call.session.no_touch);
    call.first(|slot, reply| {
        let sum = match slot {
            Slot::Live(mut live) => {
                let sum = text_of_value(&live.string()?, |current| add_texts(current, increment))?;
                if touch {
                    live.touch();
                }
                live.put_edited(encode(sum.as_bytes()));
                sum
            }
            Slot::Vacant(vacant) => {
                let sum = add_texts(b"0", increment)?;
                vacant.insert(encode(sum.as_bytes()), None);
                sum
            }
        };
        reply.bulk_str(&sum);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use crate::testkit::Testkit;

    #[test]
    fn integers() {
        let mut t = Testkit::new();
        assert_eq!(t.run("INCR n"), ":1\r\n");
        assert_eq!(t.run("INCRBY n 41"), ":42\r\n");
        assert_eq!(t.run("DECR n"), ":41\r\n");
        assert_eq!(t.run("DECRBY n -9"), ":50\r\n");
        assert_eq!(t.run("GET n"), "$2\r\n50\r\n");
        // Edited strings are numbers all the same.
        t.run("APPEND n 1");
        assert_eq!(t.run("INCR n"), ":502\r\n");
        assert_eq!(t.run("PEXPIRE n 100"), ":1\r\n");
        assert_eq!(t.run("INCR n"), ":503\r\n");
        assert_eq!(t.run("PTTL n"), ":100\r\n");
        assert_eq!(t.run("DECRBY fresh 7"), ":-7\r\n");
        t.advance_ms(100);
        assert_eq!(t.run("INCR n"), ":1\r\n");
        assert_eq!(t.run("TTL n"), ":-1\r\n");
    }

    #[test]
    fn integers_out_of_range() {
        let mut t = Testkit::new();
        const RANGE: &str = "ERR value is not an integer or out of range";
        const OVERFLOW: &str = "ERR increment or decrement would overflow";
        for text in ["v", "''", "012", "+5", "' 1'", "1.0", "9223372036854775808", "-0"] {
            t.run(&format!("SET k {text}"));
            assert_eq!(t.error("INCR k"), RANGE, "{text}");
        }
        t.run_args(&[b"SET", b"k", &[b'1'; 20_000]]);
        assert_eq!(t.error("DECR k"), RANGE);
        for increment in ["a", "9223372036854775808", "1.5", "''"] {
            assert_eq!(t.error(&format!("INCRBY n {increment}")), RANGE, "{increment}");
            assert_eq!(t.error(&format!("DECRBY n {increment}")), RANGE, "{increment}");
        }
        t.run("SET k 9223372036854775807");
        assert_eq!(t.error("INCR k"), OVERFLOW);
        assert_eq!(t.error("DECRBY k -1"), OVERFLOW);
        assert_eq!(t.error("DECRBY k -9223372036854775808"), "ERR decrement would overflow");
        assert_eq!(t.run("GET k"), "$19\r\n9223372036854775807\r\n");
        t.run("SET k -9223372036854775808");
        assert_eq!(t.error("DECR k"), OVERFLOW);
        assert_eq!(t.run("EXISTS n"), ":0\r\n");
    }

    #[test]
    fn decimals() {
        let mut t = Testkit::new();
        assert_eq!(t.run("INCRBYFLOAT f 0.1"), "$3\r\n0.1\r\n");
        assert_eq!(t.run("INCRBYFLOAT f 0.2"), "$3\r\n0.3\r\n");
        assert_eq!(t.resp3().run("INCRBYFLOAT f -1.3"), "$2\r\n-1\r\n");
        assert_eq!(t.run("INCRBYFLOAT f 5.0e3"), "$4\r\n4999\r\n");
        assert_eq!(t.run("INCR f"), ":5000\r\n");
        assert_eq!(t.run("INCRBYFLOAT f -5000"), "$1\r\n0\r\n");
        t.run("SET f +5");
        t.run("PEXPIRE f 100");
        assert_eq!(t.run("INCRBYFLOAT f 1"), "$1\r\n6\r\n");
        assert_eq!(t.run("PTTL f"), ":100\r\n");
    }

    #[test]
    fn decimals_out_of_range() {
        let mut t = Testkit::new();
        const FLOAT: &str = "ERR value is not a valid float";
        const INFINITE: &str = "ERR increment would produce NaN or Infinity";
        t.run("SET k v");
        assert_eq!(t.error("INCRBYFLOAT k 1"), FLOAT);
        t.run("SET k ''");
        assert_eq!(t.error("INCRBYFLOAT k 1"), FLOAT);
        t.run("SET k 1");
        for increment in ["a", "nan", "''", "' 1'", "1x"] {
            assert_eq!(t.error(&format!("INCRBYFLOAT k {increment}")), FLOAT, "{increment}");
        }
        assert_eq!(t.error("INCRBYFLOAT k inf"), INFINITE);
        assert_eq!(t.error("INCRBYFLOAT fresh -inf"), INFINITE);
        t.run("SET k 1.7e308");
        assert_eq!(t.error("INCRBYFLOAT k 1.7e308"), INFINITE);
        assert_eq!(t.run("GET k"), "$7\r\n1.7e308\r\n");
        t.run_args(&[b"SET", b"k", &[b'1'; 20_000]]);
        assert_eq!(t.error("INCRBYFLOAT k 1"), FLOAT);
        assert_eq!(t.run("EXISTS fresh"), ":0\r\n");
    }
}
