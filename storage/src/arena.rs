//! The memory that tables are made of: blocks of 128 bytes to 4 KiB, cut from chunks of 2 MiB.
//!
//! Why not straight from the allocator: chunks can be touched before they are needed, by a thread that has time for it
//! ([`keep_stock`]), so that growing waits for no page of the system; a chunk that holds little can be emptied, since
//! whoever owns a block can ask whether it should [move](is_leaving); and blocks of all sizes share frames of 4 KiB.
//!
//! One arena per process, as the allocator behind it. All bytes of a block are initialised, though not to anything.
//!
//! Builds for loom and the sanitizers (`--cfg plain_blocks`) take each block from the allocator instead.

#[cfg(not(any(loom, plain_blocks)))]
mod chunks;
#[cfg(any(loom, plain_blocks))]
#[path = "arena/plain.rs"]
mod chunks;
#[cfg(not(any(loom, plain_blocks)))]
mod ledger;

pub use chunks::{arena_memory, keep_stock};
pub(crate) use chunks::{begin_or_end_moving, give, is_leaving, pass, take};

/// Every block is a multiple of this many bytes, and begins at one.
pub(crate) const GRANULE_BYTES: usize = 128;
/// The longest block.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Memory of all stores' tables in this process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaMemory {
    /// In blocks.
    pub used: u64,
    /// In chunks that blocks are cut from, those in use and what is free between them.
    pub held: u64,
    /// In chunks that wait for use.
    pub stocked: u64,
    /// In chunks that are being emptied to be given back; part of `held`.
    pub leaving: u64,
}
