//! What stands in a page for a record that is too long for it: the address of a block with the record.
//!
//! ```text
//! flags u8 = 7 | 3 unused | length of the block u32 | address u64
//! ```
//!
//! A stub owns its block until [`take`]n, once; whoever moves a stub's bytes moves that ownership.

use core::ptr;

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
pub(crate) fn write(to: &mut [u8], block: Box<[u8]>) {
    let len = u32::try_from(block.len()).expect("blocks hold a key and an inline value, below 4 GiB");
    to[0] = FLAGS;
    to[1..4].fill(0);
    to[4..8].copy_from_slice(&len.to_le_bytes());
    to[8..BYTES].copy_from_slice(&Box::into_raw(block).cast::<u8>().expose_provenance().to_le_bytes());
}

fn parts(stored: &[u8]) -> (*mut u8, usize) {
    assert!(is_stub(stored));
    let len = u32::from_le_bytes(stored[4..8].try_into().expect("four bytes"));
    let address = u64::from_le_bytes(stored[8..BYTES].try_into().expect("eight bytes"));
    (ptr::with_exposed_provenance_mut(address as usize), len as usize)
}

/// The block.
pub(crate) fn block(stored: &[u8]) -> &[u8] {
    let (at, len) = parts(stored);
    // SAFETY: address and length are those of a box given up to `write`, which the stub owns; its bytes are written only
    // through `block_mut`, with the stub borrowed mutably.
    unsafe { core::slice::from_raw_parts(at, len) }
}

/// The block, to be written.
pub(crate) fn block_mut(stored: &mut [u8]) -> &mut [u8] {
    let (at, len) = parts(stored);
    // SAFETY: as in `block`, and the stub is borrowed mutably.
    unsafe { core::slice::from_raw_parts_mut(at, len) }
}

/// Takes the block away from a stub, whose bytes must not be read as a stub afterwards.
pub(crate) fn take(stored: &[u8]) -> Box<[u8]> {
    let (at, len) = parts(stored);
    // SAFETY: address and length are those of a box given up to `write`, taken back once (the caller's promise).
    unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(at, len)) }
}
