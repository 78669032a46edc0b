//! Any sequence of operations equals the reference, with all bytes recounted and all structures checked now and then.
//!
//! The machine is that of the model tests (`storage/tests/model`); here an input chooses the layout, when deadlines are
//! reclaimed, and the operations.
#![no_main]

#[path = "../../tests/model/layouts.rs"]
mod layouts;
#[path = "../../tests/model/machine.rs"]
mod machine;
#[path = "../../tests/model/operations.rs"]
mod operations;
#[path = "../../tests/model/reference.rs"]
mod reference;

use layouts::{HONEST, LAYOUTS};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use machine::{Machine, Ticking};
use operations::{DBS, Group, KEYS, Name, Op, PATTERNS, PREFIXES, TAGS};
use storage::Policy;

/// Operations of one input at most, and keys that its bulk operations touch in all, fewer where hashes collide and a
/// look-up passes many: an input takes some milliseconds.
const MOST_OPS: usize = 120;
const BULK_KEYS: u16 = 800;
const BULK_KEYS_COLLIDING: u16 = 100;
/// Operations between two checks of everything.
const CHECK_EVERY: usize = 24;

#[derive(Debug)]
struct Script {
    layout: usize,
    ticking: Ticking,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let layout = bytes.choose_index(LAYOUTS)?;
        let ticking = *bytes.choose(&[Ticking::AsTold, Ticking::AsTold, Ticking::Always, Ticking::Never])?;
        let mut bulk_left = if layout < HONEST { BULK_KEYS } else { BULK_KEYS_COLLIDING };
        let mut ops = Vec::new();
        while !bytes.is_empty() && ops.len() < MOST_OPS {
            ops.push(op(bytes, &mut bulk_left)?);
        }
        Ok(Self { layout, ticking, ops })
    }
}

/// Mostly the first database, where operations meet.
fn db(bytes: &mut Unstructured<'_>) -> Result<u8> {
    Ok(bytes.int_in_range(0..=2 * DBS - 1)?.saturating_sub(DBS))
}

/// A database and a key, from one byte.
fn name(bytes: &mut Unstructured<'_>) -> Result<Name> {
    let byte = u16::from(u8::arbitrary(bytes)?);
    let (key, rest) = (byte % KEYS, byte / KEYS);
    Ok(((rest as u8).saturating_sub(8) % DBS, key))
}

/// A length from 0 to 70,000, often at an edge of a size class, a length field or a way to keep values.
fn len(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match u8::arbitrary(bytes)? {
        small @ 0..192 => usize::from(small),
        near @ 192..200 => 256 + usize::from(near) - 196,
        near @ 200..216 => 1024 + usize::from(near) - 208,
        near @ 216..232 => 16 * 1024 + usize::from(near) - 224,
        near @ 232..240 => 64 * 1024 + usize::from(near) - 236,
        240..248 => bytes.int_in_range(0..=5000)?,
        _ => bytes.int_in_range(0..=70_000)?,
    })
}

/// Milliseconds from 1 to months, spread over their magnitudes.
fn ms(bytes: &mut Unstructured<'_>) -> Result<u64> {
    let (magnitude, fraction) = (bytes.int_in_range(0..=31)?, u64::from(u8::arbitrary(bytes)?));
    Ok((1u64 << magnitude) + ((fraction << magnitude) >> 8))
}

/// None, passed, at once, later, or in a time without end.
fn ttl(bytes: &mut Unstructured<'_>) -> Result<Option<i64>> {
    Ok(match bytes.int_in_range(0..=15)? {
        0..8 => None,
        8 => Some(0),
        9 => Some(-(ms(bytes)? as i64)),
        10 => Some(i64::MAX / 2),
        _ => Some(ms(bytes)? as i64),
    })
}

/// How many keys a bulk operation touches, out of what is left to the input.
fn count(bytes: &mut Unstructured<'_>, left: &mut u16) -> Result<u16> {
    let count = bytes.int_in_range(1..=500)?.min(*left);
    *left -= count;
    Ok(count)
}

/// How many fields are set or removed at once: mostly few.
fn fields(bytes: &mut Unstructured<'_>) -> Result<u16> {
    let most = if u8::arbitrary(bytes)? < 16 { 1200 } else { 9 };
    bytes.int_in_range(1..=most)
}

/// From `least` to three.
fn tags(bytes: &mut Unstructured<'_>, least: usize) -> Result<Vec<u8>> {
    (0..bytes.int_in_range(least..=3)?).map(|_| bytes.int_in_range(0..=TAGS - 1)).collect()
}

fn group(bytes: &mut Unstructured<'_>) -> Result<Group> {
    Ok(match bytes.int_in_range(0..=3)? {
        0 => Group::Prefix(bytes.choose_index(PREFIXES.len())?),
        1 => Group::Match(bytes.choose_index(PATTERNS.len())?),
        2 => Group::Tag(bytes.int_in_range(0..=TAGS - 1)?),
        _ => Group::Tags(tags(bytes, 1)?),
    })
}

fn op(bytes: &mut Unstructured<'_>, bulk_left: &mut u16) -> Result<Op> {
    Ok(match bytes.int_in_range(0..=62)? {
        0..10 => Op::Put { name: name(bytes)?, len: len(bytes)?, fill: u8::arbitrary(bytes)?, ttl_ms: ttl(bytes)? },
        10 | 11 => Op::PutInt { name: name(bytes)?, n: i64::arbitrary(bytes)? >> bytes.int_in_range(0..=63)? },
        12..15 => Op::Append { name: name(bytes)?, len: len(bytes)? },
        15 => Op::Truncate { name: name(bytes)?, len: len(bytes)? },
        16..19 => Op::SetDeadline { name: name(bytes)?, ttl_ms: ttl(bytes)?.map(|ttl| ttl.max(1) as u64) },
        19..22 => Op::Remove { name: name(bytes)? },
        22..24 => Op::Move { from: name(bytes)?, to: name(bytes)? },
        24 => Op::NoEvict { name: name(bytes)?, on: bool::arbitrary(bytes)? },
        25 => Op::Touch { name: name(bytes)? },
        55 => Op::Copy { from: name(bytes)?, to: name(bytes)? },
        56..60 => Op::HashSet {
            name: name(bytes)?,
            first: bytes.int_in_range(0..=400)?,
            count: fields(bytes)?,
            len: bytes.int_in_range(0..=700)?,
        },
        60..62 => Op::HashRemove {
            name: name(bytes)?,
            first: bytes.int_in_range(0..=400)?,
            count: fields(bytes)?,
        },
        62 => Op::HashScan {
            name: name(bytes)?,
            wanted: bytes.int_in_range(1..=200)?,
            first: bytes.int_in_range(0..=400)?,
        },
        48..51 => Op::Tag { name: name(bytes)?, tags: tags(bytes, 0)? },
        51..=54 => Op::Revoke { db: db(bytes)?, group: group(bytes)? },
        26..28 => Op::Bulk {
            db: db(bytes)?,
            first: bytes.int_in_range(0..=600)?,
            count: count(bytes, bulk_left)?,
            len: bytes.int_in_range(0..=40)?,
            ttl_ms: ttl(bytes)?,
        },
        28 => Op::BulkRemove { db: db(bytes)?, first: bytes.int_in_range(0..=600)?, count: count(bytes, bulk_left)? },
        29..32 => Op::Advance { ms: ms(bytes)? },
        32..35 => Op::Tick { first: bytes.int_in_range(0..=63)?, count: bytes.int_in_range(1..=64)? },
        35 => Op::Flush { dbs: (0..bytes.int_in_range(1..=3)?).map(|_| db(bytes)).collect::<Result<_>>()? },
        36 => Op::Swap { a: db(bytes)?, b: db(bytes)? },
        37..39 => Op::Watch { name: name(bytes)? },
        39 | 40 => Op::Check { nth: usize::from(u8::arbitrary(bytes)?) },
        41 => Op::Unwatch { nth: usize::from(u8::arbitrary(bytes)?) },
        42..45 => Op::Scan { db: db(bytes)?, wanted: bytes.int_in_range(0..=300)? },
        45 => Op::RandomKey { db: db(bytes)?, seed: u64::from(u8::arbitrary(bytes)?) },
        46 => Op::Limit {
            kib: bytes.choose(&[0u64, 1, 4, 16, 64, 256, 1024, 4096])? * bytes.int_in_range(1..=4)?,
            policy: bytes.choose(&Policy::NAMES)?.1,
        },
        _ => Op::Nominate { bytes: bytes.int_in_range(0..=20_000)? },
    })
}

fuzz_target!(|script: Script| {
    let mut machine = Machine::new(script.layout, script.ticking);
    for (nth, op) in script.ops.iter().enumerate() {
        machine.step(op);
        if nth % CHECK_EVERY == CHECK_EVERY - 1 {
            machine.check();
        }
    }
    machine.check();
    machine.finish();
});
