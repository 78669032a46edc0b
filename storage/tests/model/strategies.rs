//! How proptest draws operations.

use crate::operations::{DBS, Group, KEYS, Name, Op, PATTERNS, PREFIXES, TAGS};
use proptest::prelude::*;
use storage::Policy;

/// Value lengths at the edges: of size classes, of length fields, of what is kept inline.
pub fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => Just(0usize),
        4 => Just(1usize),
        8 => 2usize..60,
        8 => 60usize..=64,
        4 => 254usize..=257,
        2 => 1000usize..5000,
        1 => 16_380usize..=16_390,
        1 => Just(70_000usize),
    ]
}

/// Times to live from the past to centuries.
fn ttls() -> impl Strategy<Value = i64> {
    prop_oneof![
        1 => -5i64..=0,
        4 => 1i64..3000,
        3 => 3000i64..200_000,
        2 => 200_000i64..20_000_000,
        1 => 20_000_000i64..3_000_000_000,
        1 => Just(i64::MAX / 2),
    ]
}

fn names() -> impl Strategy<Value = Name> {
    // Often the same few, so that operations meet.
    (prop_oneof![4 => Just(0u8), 1 => 1..DBS], prop_oneof![2 => 7u16..11, 3 => 0..KEYS])
}

fn advances() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1u64..100, 4 => 100u64..5000, 3 => 5000u64..200_000, 2 => 200_000u64..20_000_000, 1 => 20_000_000u64..800_000_000]
}

/// How many fields are set or removed at once: packed hashes, and tables of a few segments.
fn fields() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 1u16..6, 3 => 6u16..140, 1 => 140u16..1200]
}

fn groups() -> impl Strategy<Value = Group> {
    prop_oneof![
        3 => (0..PREFIXES.len()).prop_map(Group::Prefix),
        3 => (0..PATTERNS.len()).prop_map(Group::Match),
        4 => (0..TAGS).prop_map(Group::Tag),
        2 => proptest::collection::vec(0..TAGS, 1..4).prop_map(Group::Tags),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    (0..Policy::NAMES.len()).prop_map(|at| Policy::NAMES[at].1)
}

/// Everything but the memory limit.
pub fn unlimited() -> BoxedStrategy<Op> {
    let ttl = || proptest::option::of(ttls());
    prop_oneof![
        12 => (names(), lengths(), any::<u8>(), ttl())
            .prop_map(|(name, len, fill, ttl_ms)| Op::Put { name, len, fill, ttl_ms }),
        3 => (names(), any::<i64>()).prop_map(|(name, n)| Op::PutInt { name, n }),
        4 => (names(), lengths()).prop_map(|(name, len)| Op::Append { name, len }),
        1 => (names(), lengths()).prop_map(|(name, len)| Op::Truncate { name, len }),
        4 => (names(), proptest::option::of(ttls().prop_map(|ttl| ttl.max(1) as u64)))
            .prop_map(|(name, ttl_ms)| Op::SetDeadline { name, ttl_ms }),
        4 => names().prop_map(|name| Op::Remove { name }),
        3 => (names(), names()).prop_map(|(from, to)| Op::Move { from, to }),
        1 => (names(), names()).prop_map(|(from, to)| Op::Copy { from, to }),
        6 => (names(), 0u16..400, fields(), prop_oneof![4 => 0usize..40, 1 => 200usize..700])
            .prop_map(|(name, first, count, len)| Op::HashSet { name, first, count, len }),
        3 => (names(), 0u16..400, fields()).prop_map(|(name, first, count)| Op::HashRemove { name, first, count }),
        1 => (names(), 1usize..200, 0u16..400).prop_map(|(name, wanted, first)| Op::HashScan { name, wanted, first }),
        2 => (names(), any::<bool>()).prop_map(|(name, on)| Op::NoEvict { name, on }),
        2 => names().prop_map(|name| Op::Touch { name }),
        8 => (names(), proptest::collection::vec(0..TAGS, 0..4)).prop_map(|(name, tags)| Op::Tag { name, tags }),
        5 => (prop_oneof![3 => Just(0u8), 1 => 1..DBS], groups()).prop_map(|(db, group)| Op::Revoke { db, group }),
        2 => (0..DBS, 0u16..600, 1u16..400, 0usize..40, ttl())
            .prop_map(|(db, first, count, len, ttl_ms)| Op::Bulk { db, first, count, len, ttl_ms }),
        2 => (0..DBS, 0u16..600, 1u16..600).prop_map(|(db, first, count)| Op::BulkRemove { db, first, count }),
        6 => advances().prop_map(|ms| Op::Advance { ms }),
        4 => (0usize..8, 1usize..70).prop_map(|(first, count)| Op::Tick { first, count }),
        2 => proptest::collection::vec(0..DBS, 1..4).prop_map(|dbs| Op::Flush { dbs }),
        2 => (0..DBS, 0..DBS).prop_map(|(a, b)| Op::Swap { a, b }),
        5 => names().prop_map(|name| Op::Watch { name }),
        5 => any::<usize>().prop_map(|nth| Op::Check { nth }),
        1 => any::<usize>().prop_map(|nth| Op::Unwatch { nth }),
        8 => (0..DBS, prop_oneof![Just(0usize), 1usize..20, 20usize..500]).prop_map(|(db, wanted)| Op::Scan { db, wanted }),
        1 => (0..DBS, any::<u64>()).prop_map(|(db, seed)| Op::RandomKey { db, seed }),
    ]
    .boxed()
}

/// Those and changes of limit and policy.
pub fn limited() -> BoxedStrategy<Op> {
    prop_oneof![
        30 => unlimited(),
        4 => (prop_oneof![Just(0u64), 1u64..40, 40u64..4000], policies()).prop_map(|(kib, policy)| Op::Limit { kib, policy }),
        1 => (0u64..20_000).prop_map(|bytes| Op::Nominate { bytes }),
    ]
    .boxed()
}
