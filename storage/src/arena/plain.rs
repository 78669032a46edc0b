//! Blocks straight from the allocator, so that a checker sees each of them.

use super::{ArenaMemory, Grain};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, Grain::Fine.bytes()).expect("blocks are small")
}

/// A block of `bytes`, a multiple of the granule.
pub(crate) fn take(bytes: usize) -> NonNull<u8> {
    // SAFETY: blocks are never empty.
    NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).unwrap_or_else(|| handle_alloc_error(layout(bytes)))
}

/// Takes a block back.
///
/// # Safety
/// `at` came from [`take`] with the same `bytes`, was not given back since, and is not used any more.
pub(crate) unsafe fn give(at: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(at.as_ptr(), layout(bytes)) }
}

/// Whether a block should move; here every block should, so that moving is checked as well.
///
/// # Safety
/// `at` came from [`take`] and was not given back since.
pub(crate) unsafe fn is_leaving(_: NonNull<u8>) -> bool {
    true
}

/// Counts the rounds: in each, every block moves.
static ROUND: AtomicU32 = AtomicU32::new(1);

pub(crate) fn pass() -> u32 {
    ROUND.load(Ordering::Relaxed)
}

/// Begins the next round.
pub fn tend_memory() {
    ROUND.fetch_add(1, Ordering::Relaxed);
}

/// No stock is kept.
pub fn keep_stock() {}

/// Nothing is known.
pub fn arena_memory() -> ArenaMemory {
    ArenaMemory::default()
}
