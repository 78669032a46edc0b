//! Every number of this crate that bounds something, with the argument for it.

/// Databases a store has; the range of `SELECT`. Redis' default, and what frameworks that separate uses by number expect.
pub const DATABASES: usize = 16;

/// Most stripes a store may have: a stripe is a lock and a few cache lines, 4096 of them are under 1 MiB.
pub const MAX_STRIPES: usize = 4096;

/// Stripes of a store that may grow large: some tens of threads seldom meet in one.
pub const USUAL_STRIPES: usize = 1024;

/// Bytes of a memory limit for each stripe, at least: with some hundred keys a stripe, its own eviction is as good as one
/// over all keys (within 2 % more misses by simulation, of values of 9 KB too).
pub const STRIPE_LEAST_BYTES: u64 = 2 * 1024 * 1024;
/// The same for the first [`FEW_STRIPES`]: two threads meet in one of them with every tenth step.
pub const STRIPE_TINY_BYTES: u64 = 512 * 1024;
/// See [`STRIPE_TINY_BYTES`].
pub const FEW_STRIPES: u64 = 8;

/// Entries in a segment before it splits, if its pages are not full before: a split moves that many records (15 us).
pub const SEGMENT_ENTRIES: usize = 256;

/// Two buddies merge when together they hold at most this many entries and bytes: a quarter of a segment, so that a
/// merge is never followed by a split soon.
pub const MERGE_ENTRIES: usize = SEGMENT_ENTRIES / 4;
/// See [`MERGE_ENTRIES`].
pub const MERGE_BYTES: usize = 4 * 1024;

/// A key's share of the index, for estimates: a 64-byte bucket has seven slots, of which about 88 % are taken.
pub const INDEX_BYTES: u64 = 10;

/// Fill of a segment's index, in percent, below which an entry that finds no place there goes to the stash: a larger
/// index would hardly have one.
pub const STASH_PERCENT: usize = 50;

/// Deepest directory of one (stripe, database): 2^20 segments. Past it segments simply grow; only keys with equal
/// hashes get there.
pub const MAX_DEPTH: u32 = 20;

/// Values up to this many bytes are copied into the entry and out of it; larger ones are shared by reference, so that
/// no lock is held for a long copy.
pub const INLINE_VALUE_BYTES: usize = 16 * 1024;

/// Most pairs of a hash that lie packed inside an entry: so much is searched from the front, and copied when one of them
/// changes (below 0.2 us). Larger hashes are tables.
pub const PACKED_PAIRS: usize = 128;

/// Most bytes of them, their lengths included.
pub const PACKED_BYTES: usize = 4096;

/// Bytes of a table of fields from which on it is freed in slices, after its key is gone.
pub(crate) const LARGE_OBJECT_BYTES: u64 = 256 * 1024;

/// Longest value of one string: what `proto-max-bulk-len` allows at most, and the bound of `SETRANGE` and `APPEND`.
pub const MAX_VALUE_BYTES: usize = 512 * 1024 * 1024;

/// Longest key: the length field of an entry is 32 bits; the protocol refuses more than 512 MB anyway.
pub const MAX_KEY_BYTES: usize = MAX_VALUE_BYTES;

/// How many look-ups ahead the segment of a key is asked for, then the bucket, then the entry that it leads to: far
/// enough for memory to answer, near enough that it stays in the first-level cache (12 look-ups touch some 60 lines).
pub const SEGMENT_AHEAD: usize = 36;
/// See [`SEGMENT_AHEAD`].
pub const BUCKET_AHEAD: usize = 24;
/// See [`SEGMENT_AHEAD`].
pub const ENTRY_AHEAD: usize = 12;

/// Sum over all stripes of bytes not yet flushed to the global count: the "1 MB" of the overshoot promise.
pub const FLUSH_QUANTUM_BYTES: usize = 1 << 20;

/// Victims one write evicts at least, while memory is above its limit, before it goes on: keeps a single write short.
pub const VICTIMS_PER_WRITE: usize = 8;

/// Bytes of victims beyond its own that one write evicts at most while no page was freed for them: some segments' holes,
/// about 50 small entries.
pub const UNPAID_BYTES: u64 = 4 * 1024;

/// Bytes one write frees at most beyond its own, to come back under a limit that was lowered or run over: about 150
/// small entries, 50 us.
pub const CATCH_UP_BYTES: u64 = 16 * 1024;

/// Stripes that may pass a victim search on to a neighbour because they hold less than their share.
pub const SPARING_STRIPES: usize = 16;

/// Most bytes a stripe keeps from the global count, when there are few stripes.
pub const STRIPE_QUANTUM_BYTES: usize = 64 * 1024;

/// Slots the eviction hand looks at for one victim before it takes the best so far: some 10 us.
pub const HAND_STEPS: usize = 1024;

/// Tags popped off the small queue for one victim before the hand is asked: some 30 us, each paid for by an insertion.
pub const SMALL_STEPS: usize = 256;

/// Tags of deleted entries in the small queue that start no sweep: as many bytes as a few entries.
pub const SWEEP_SLACK: usize = 64;

/// Tags a sweep of the small queue looks at with each insertion: a microsecond, and it is through before as many again
/// have come.
pub const SWEEP_STEPS: usize = 8;

/// Share of a table's bytes that the small queue may take: one part in ten, as S3-FIFO proposes.
pub const SMALL_QUEUE_SHARE: u64 = 10;

/// Tags of one entry.
pub const MAX_TAGS: usize = 64;

/// Longest validator (ETag) kept with an entry, bytes.
pub const MAX_VALIDATOR_BYTES: usize = 1024;

/// Bytes booked for the loading of a key, its name and tags not counted, and for each waiter: what maps and queues take.
pub const LOAD_BYTES: usize = 640;
/// See [`LOAD_BYTES`].
pub const WAITER_BYTES: usize = 128;

/// Bytes that all of them may take, unless set otherwise: half a million waiters.
pub const SIDE_BYTES: usize = 64 << 20;

/// Loads of one key that may run at a time: the one that counts, and one that a revoke has made useless.
pub const MAX_RUNNING_LOADS: usize = 2;

/// Soft revokes of one selector that are kept one by one.
pub const MAX_SOFT_MARKS: usize = 8;

/// Records of the revoke log by sort, of one database: each look-up of an entry older than one of them may have to search
/// them, globs and sets one by one, prefixes by length.
pub const MAX_REVOKED_GLOBS: usize = 256;
/// See [`MAX_REVOKED_GLOBS`].
pub const MAX_REVOKED_SETS: usize = 256;
/// See [`MAX_REVOKED_GLOBS`].
pub const MAX_REVOKED_LENGTHS: usize = 32;
/// Prefixes and tags are looked up at once, however many there are.
pub const MAX_REVOKED_PREFIXES: usize = 1 << 20;
/// See [`MAX_REVOKED_PREFIXES`].
pub const MAX_REVOKED_TAGS: usize = 1 << 20;
/// Bytes of all records, of all databases: a million tags are 64 MB.
pub const MAX_REVOKED_BYTES: usize = 128 << 20;
/// Longest pattern or prefix to revoke by, and the stars it may have. Matching takes the product of the lengths of pattern
/// and key at worst, so both are bounded, and all patterns together: 8 million steps for the worst key, 10 ms.
pub const MAX_GLOB_BYTES: usize = 1024;
/// See [`MAX_GLOB_BYTES`].
pub const MAX_GLOB_STARS: usize = 16;
/// See [`MAX_GLOB_BYTES`].
pub const MAX_REVOKED_GLOB_BYTES: usize = 16 * 1024;
/// Longest key that is matched whole. See [`MAX_GLOB_BYTES`].
pub const MAX_MATCHED_KEY_BYTES: usize = 512;

/// Segments the revoke sweeper judges in one stripe per tick: some 140 entries, 30 us with usual keys and few patterns.
pub const SWEEP_SEGMENTS: usize = 1;

/// Such steps of the sweeper that a write takes on itself where memory is above its limit, before anything is evicted.
pub const SWEEPS_PER_WRITE: usize = 4;

/// Of the arena's chunks, where there is one.
#[cfg(not(any(loom, plain_blocks)))]
pub mod chunks {
    /// Touched chunks kept in stock: one for so many in use, and no more than that: the next second's growth.
    pub const STOCK_PART: usize = 64;
    /// See [`STOCK_PART`].
    pub const STOCK_CHUNKS_MAX: usize = 8;

    /// Chunks are emptied when they hold so many percent of what their blocks do, and some chunks more.
    pub const SPARSE_PERCENT: u64 = 115;
    /// See [`SPARSE_PERCENT`].
    pub const SPARSE_SLACK_CHUNKS: u64 = 4;

    /// Chunks that begin to be emptied in one call, with the arena locked: 128 frames each, some 5 us.
    pub const LEAVING_CHUNKS: usize = 8;

    /// Part of all chunks that are emptied in one round, if that is more: what is free in them is out of use meanwhile.
    pub const LEAVING_PART: usize = 20;

    /// Empty chunks given back in one call: 13 us each where pages are huge, 160 us where they are not.
    pub const REMOVED_CHUNKS: usize = 8;

    /// Calls of the housekeeping after which a round of moving that has not come to its end begins anew: a minute.
    pub const ROUND_CALLS: u32 = 600;
}

/// Segments whose blocks are looked at in one stripe per tick, to be moved out of chunks that are being emptied, and
/// bytes moved from which on no more are: some 20 us, and a segment of long values (4 MiB at most, 16 KiB each) more.
pub const MOVE_SEGMENTS: usize = 64;
/// See [`MOVE_SEGMENTS`].
pub const MOVE_BYTES: usize = 64 * 1024;

/// Segments of a flushed table freed in one slice: at most 16 * 256 entries that own memory, around 100 us.
pub const DRAIN_SEGMENTS: usize = 16;

/// Entries looked at in one stripe per tick, some segments' worth: about 50 us when all are dead.
pub const REAP_ENTRIES: usize = 256;

/// Least seconds between two visits of a segment for its dead: halves the work where deadlines lie close, and what is
/// dead stays for no longer than this.
pub const REAP_PAUSE_S: u32 = 2;

/// Segments looked at for the nearest deadline (`volatile-ttl`), a header each: some 10 us.
pub const SOONEST_SEGMENTS: usize = 256;

/// Threads that may use one store at a time (serving cores, appliers, tests); models have few, and build many stores.
pub const MAX_PARTICIPANTS: usize = if cfg!(loom) { 4 } else { 1024 };

const _: () = assert!(MERGE_ENTRIES * 2 < SEGMENT_ENTRIES);
const _: () = assert!(MAX_STRIPES.is_power_of_two() && MAX_STRIPES <= 1 << 16);
const _: () = assert!(INLINE_VALUE_BYTES <= u16::MAX as usize);
