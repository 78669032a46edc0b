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

/// Prefixes and patterns to revoke by: some match nothing, some everything but the odd keys.
pub const PREFIXES: [&[u8]; 6] = [b"key:", b"key:0000", b"key:0001", b"key:010", b"x", &[3; 200]];
/// See [`PREFIXES`].
pub const PATTERNS: [&[u8]; 6] = [b"*", b"key:*1", b"key:0000?", b"key:[0-1]*5", b"x", b"?*9"];
/// Tags that entries bear, by number.
pub const TAGS: u8 = 6;

/// What a revoke names.
#[derive(Clone, Debug)]
pub enum Group {
    Prefix(usize),
    Match(usize),
    Tag(u8),
    Tags(Vec<u8>),
}

#[derive(Clone, Debug)]
pub enum Op {
    Put {
        name: Name,
        len: usize,
        fill: u8,
        ttl_ms: Option<i64>,
    },
    PutInt {
        name: Name,
        n: i64,
    },
    Append {
        name: Name,
        len: usize,
    },
    Truncate {
        name: Name,
        len: usize,
    },
    SetDeadline {
        name: Name,
        ttl_ms: Option<u64>,
    },
    Remove {
        name: Name,
    },
    Move {
        from: Name,
        to: Name,
    },
    Copy {
        from: Name,
        to: Name,
    },
    /// Sets fields `first` to `first + count` of a hash.
    HashSet {
        name: Name,
        first: u16,
        count: u16,
        len: usize,
    },
    HashRemove {
        name: Name,
        first: u16,
        count: u16,
    },
    /// Walks over a whole hash, which is edited between the steps: removes and adds fields of numbers from `first` on.
    HashScan {
        name: Name,
        wanted: usize,
        first: u16,
    },
    NoEvict {
        name: Name,
        on: bool,
    },
    Touch {
        name: Name,
    },
    Tag {
        name: Name,
        tags: Vec<u8>,
    },
    Revoke {
        db: u8,
        group: Group,
    },
    Bulk {
        db: u8,
        first: u16,
        count: u16,
        len: usize,
        ttl_ms: Option<i64>,
    },
    BulkRemove {
        db: u8,
        first: u16,
        count: u16,
    },
    Advance {
        ms: u64,
    },
    Tick {
        first: usize,
        count: usize,
    },
    Flush {
        dbs: Vec<u8>,
    },
    Swap {
        a: u8,
        b: u8,
    },
    Watch {
        name: Name,
    },
    Check {
        nth: usize,
    },
    Unwatch {
        nth: usize,
    },
    Scan {
        db: u8,
        wanted: usize,
    },
    RandomKey {
        db: u8,
        seed: u64,
    },
    Limit {
        kib: u64,
        policy: Policy,
    },
    Nominate {
        bytes: u64,
    },
}
