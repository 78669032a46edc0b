//! What stands in a page for a record that is too long for it: the address of a block with the record.
//!
//! ```text
//! flags u8 = 7 | 3 unused | length of the block u32 | address u64
//! ```
//!
//! A stub owns its block until [`take`]n, once; whoever moves a stub's bytes moves that ownership.

use crate::block::Block;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

/// Bytes of a stub.
pub(crate) const BYTES: usize = 16;

/// The record kind that no record has.
const FLAGS: u8 = 7;

/// Whether what begins here is a stub, not a record.
#[inline]
pub(crate) fn is_stub(stored: &[u8]) -> bool {
    stored[0] == FLAGS
}

/// Writes a stub that owns `block`.
pub(crate) fn write(to: &mut [u8], block: Block) {
    let (at, len) = block.into_raw();
    to[0] = FLAGS;
    to[1..4].fill(0);
    to[4..8].copy_from_slice(&u32::try_from(len).expect("blocks hold a key and an inline value").to_le_bytes());
    to[8..BYTES].copy_from_slice(&(at.expose_provenance().get() as u64).to_le_bytes());
}

fn parts(stored: &[u8]) -> (NonNull<u8>, usize) {
    assert!(is_stub(stored));
    let len = u32::from_le_bytes(stored[4..8].try_into().expect("four bytes"));
    let address = u64::from_le_bytes(stored[8..BYTES].try_into().expect("eight bytes"));
    let at = core::ptr::with_exposed_provenance_mut(address as usize);
    (NonNull::new(at).expect("the address of a block"), len as usize)
}

/// The block.
pub(crate) fn block(stored: &[u8]) -> &[u8] {
    let (at, len) = parts(stored);
    // SAFETY: address and length are those of a block given up to `write`, which the stub owns; its bytes are written
    // only through `block_mut`, with the stub borrowed mutably.
    unsafe { core::slice::from_raw_parts(at.as_ptr(), len) }
}

/// The block, to be written.
pub(crate) fn block_mut(stored: &mut [u8]) -> &mut [u8] {
    let (at, len) = parts(stored);
    // SAFETY: as in `block`, and the stub is borrowed mutably.
    unsafe { core::slice::from_raw_parts_mut(at.as_ptr(), len) }
}

/// Takes the block away from a stub, whose bytes must not be read as a stub afterwards.
pub(crate) fn take(stored: &[u8]) -> Block {
    let (at, len) = parts(stored);
    // SAFETY: address and length are those of a block given up to `write`, taken back once (the caller's promise).
    unsafe { Block::from_raw(at, len) }
}

/// Moves the block of a stub out of memory that is being emptied; gives the bytes moved.
pub(crate) fn move_out(stored: &mut [u8]) -> usize {
    // The stub owns it until the copy is there.
    if !ManuallyDrop::new(take(stored)).is_leaving() {
        return 0;
    }
    let copy = Block::of(block(stored));
    let moved = copy.len();
    drop(take(stored));
    write(stored, copy);
    moved
}
