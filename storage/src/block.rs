//! A block of its own for a record that is too long for a page, or has no place in one.

use crate::arena;
use crate::memory::good_size;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Owned bytes, all initialised: from the arena, or from the allocator where they are longer than its blocks (keys of
/// many KiB).
pub(crate) struct Block {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its bytes as a `Box<[u8]>` does.
unsafe impl Send for Block {}
// SAFETY: as above; shared, they are only read.
unsafe impl Sync for Block {}

/// Bytes of the block for a record of `len` bytes.
pub(crate) fn size_for(len: usize) -> usize {
    arena::rounded(len.max(1)).unwrap_or_else(|| good_size(len))
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, align_of::<u64>()).expect("records are far shorter than the address space")
}

impl Block {
    /// A block with room for `len` bytes and hardly more.
    pub fn with_room(len: usize) -> Self {
        let len = size_for(len);
        if len <= arena::LONGEST_BYTES {
            return Self { at: arena::take(len), len };
        }
        // SAFETY: the layout's size is not 0.
        let at = unsafe { alloc_zeroed(layout(len)) };
        Self { at: NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout(len))), len }
    }

    /// One that begins with `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut block = Self::with_room(bytes.len());
        block[..bytes.len()].copy_from_slice(bytes);
        block
    }

    /// Gives up ownership: address and length.
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let block = core::mem::ManuallyDrop::new(self);
        (block.at, block.len)
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave up.
    ///
    /// # Safety
    /// Both came from one call of `into_raw`, and are taken back once.
    pub unsafe fn from_raw(at: NonNull<u8>, len: usize) -> Self {
        Self { at, len }
    }

    /// Whether its bytes should be copied to another block, since the memory they lie in is being emptied.
    pub fn is_leaving(&self) -> bool {
        // SAFETY: taken from the arena in `with_room`, and owned.
        self.len <= arena::LONGEST_BYTES && unsafe { arena::is_leaving(self.at) }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: owned, `len` bytes, initialised by the arena or as zeros.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.len <= arena::LONGEST_BYTES {
            // SAFETY: taken in `with_room` with this length, and not used any more.
            unsafe { arena::give(self.at, self.len) };
        } else {
            // SAFETY: allocated in `with_room` with this layout, and not used any more.
            unsafe { dealloc(self.at.as_ptr(), layout(self.len)) };
        }
    }
}
