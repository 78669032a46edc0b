//! The memory that tables are made of: blocks of 128 bytes to 32 KiB, cut from chunks of 2 MiB.
//!
//! Why not straight from the allocator: chunks can be touched before they are needed, by a thread that has time for it
//! ([`keep_stock`]), so that growing waits for no page of the system; a chunk that holds little can be emptied, since
//! whoever owns a block can ask whether it should [move](is_leaving); and blocks of all sizes
//! share frames: blocks of up to 4 KiB frames of 16 KiB, longer ones frames of 128 KiB.
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

pub use chunks::{arena_memory, keep_stock, tend_memory};
pub(crate) use chunks::{give, is_leaving, pass, take};

/// What blocks are cut in multiples of; each in chunks of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// 128 bytes, for blocks up to 4 KiB.
    Fine,
    /// 1 KiB, for longer ones up to 32 KiB.
    Coarse,
}

impl Grain {
    /// That of a block of `bytes`.
    const fn of(bytes: usize) -> Self {
        if bytes <= Self::Fine.longest() { Self::Fine } else { Self::Coarse }
    }

    /// Bytes of a granule.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Fine => 128,
            Self::Coarse => 1024,
        }
    }

    /// Bytes of the longest block.
    pub const fn longest(self) -> usize {
        32 * self.bytes()
    }
}

/// The longest block of all.
pub(crate) const LONGEST_BYTES: usize = Grain::Coarse.longest();

/// Bytes of the smallest block with room for `bytes`, which are more than 0; `None` if none is as long.
pub(crate) const fn rounded(bytes: usize) -> Option<usize> {
    if bytes <= LONGEST_BYTES { Some(bytes.next_multiple_of(Grain::of(bytes).bytes())) } else { None }
}

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
    /// Of lists that say what of the chunks is free.
    pub lists: u64,
}
