//! The typed operations of the state machine. `strategies` draws them for proptest, `storage/fuzz` for
//! libFuzzer.

use storage::Policy;

/// Databases in play; number 3 stands for the last one there is.
pub const DBS: u8 = 4;
/// Keys a single operation picks from.
pub const KEYS: u16 = 20;
/// First key of those that bulk operations write.
pub const BULK: u16 = 1000;

/// A database and a key, by number.
pub type Name = (u8, u16);

#[derive(Clone, Debug)]
pub enum Op {
    Put { name: Name, len: usize, fill: u8, ttl_ms: Option<i64> },
    PutInt { name: Name, n: i64 },
    Append { name: Name, len: usize },
    Truncate { name: Name, len: usize },
    SetDeadline { name: Name, ttl_ms: Option<u64> },
    Remove { name: Name },
    Move { from: Name, to: Name },
    NoEvict { name: Name, on: bool },
    Touch { name: Name },
    Bulk { db: u8, first: u16, count: u16, len: usize, ttl_ms: Option<i64> },
    BulkRemove { db: u8, first: u16, count: u16 },
    Advance { ms: u64 },
    Tick { first: usize, count: usize },
    Flush { dbs: Vec<u8> },
    Swap { a: u8, b: u8 },
    Watch { name: Name },
    Check { nth: usize },
    Unwatch { nth: usize },
    Scan { db: u8, wanted: usize },
    RandomKey { db: u8, seed: u64 },
    Limit { kib: u64, policy: Policy },
    Nominate { bytes: u64 },
}
