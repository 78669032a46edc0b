//! Chunks: mapped, touched ahead, emptied and given back.

use super::ledger::{Cut, FRAMES, GRANULES, Ledger};
use super::{ArenaMemory, BLOCK_BYTES, GRANULE_BYTES};
use crate::limits::{LEAVING_CHUNKS, SPARSE_PERCENT, SPARSE_SLACK_CHUNKS, STOCK_CHUNKS_MAX, STOCK_PART};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use memmap2::{Advice, MmapMut, MmapOptions};
use parking_lot::{Condvar, Mutex};

/// A huge page of most systems.
const CHUNK_BYTES: usize = FRAMES as usize * BLOCK_BYTES;
/// Least size of a page of the system.
const SYSTEM_PAGE_BYTES: usize = 4096;

const _: () = assert!(GRANULES as usize * GRANULE_BYTES == BLOCK_BYTES);
const _: () = assert!(size_of::<Head>() <= GRANULE_BYTES);

/// What the first granule of a chunk holds. A chunk begins at a multiple of its size, so any block leads to it.
struct Head {
    number: u32,
    /// Whether the chunk is being emptied.
    leaving: AtomicBool,
}

/// A chunk's memory.
struct Chunk {
    start: NonNull<Head>,
    /// Twice the chunk's size of addresses, so that a multiple of it lies inside; what is not touched takes no memory.
    _map: MmapMut,
}

// SAFETY: it is memory that nobody else owns; what is shared of it, the head, is atomic or constant.
unsafe impl Send for Chunk {}

impl Chunk {
    /// All bytes are 0. Panics where the system has no more addresses, as an allocation would.
    fn map(huge: bool) -> Self {
        let mut map = MmapOptions::new().len(2 * CHUNK_BYTES).map_anon().expect("the system gives memory to tables");
        let start = map.as_mut_ptr();
        let skipped = start.align_offset(CHUNK_BYTES);
        if huge {
            // A hint: without it pages are small.
            let _ = map.advise_range(Advice::HugePage, skipped, CHUNK_BYTES);
        }
        let start = NonNull::new(start.wrapping_add(skipped).cast()).expect("no memory begins at 0");
        Self { start, _map: map }
    }

    /// Makes the system back all of it with memory, which may take milliseconds.
    fn touch(&mut self) {
        for offset in (0..CHUNK_BYTES).step_by(SYSTEM_PAGE_BYTES) {
            // SAFETY: inside the chunk, which nobody else has yet. Volatile: the bytes are 0 already.
            unsafe { self.start.cast::<u8>().add(offset).write_volatile(0) };
        }
    }

    fn begin(&mut self, number: u32) {
        // SAFETY: the first granule is the head's, and nobody else has the chunk yet.
        unsafe { self.start.write(Head { number, leaving: AtomicBool::new(false) }) };
    }
}

struct Arena {
    ledger: Ledger,
    /// By number.
    chunks: Vec<Option<Chunk>>,
    /// Touched, and waiting for use.
    stock: Vec<Chunk>,
    /// Chunks chosen to leave, the sparsest last; they begin to a few at a time.
    chosen: Vec<u32>,
}

static ARENA: Mutex<Arena> =
    Mutex::new(Arena { ledger: Ledger::new(), chunks: Vec::new(), stock: Vec::new(), chosen: Vec::new() });
/// Signalled when the stock runs low.
static DEMAND: Condvar = Condvar::new();
/// The number of the last round of moving, and whether it goes on.
static ROUND: AtomicU32 = AtomicU32::new(0);
static MOVING: AtomicBool = AtomicBool::new(false);

impl Arena {
    fn add(&mut self) {
        // The first one of a process that may never need much is touched page by page.
        let mut chunk = self.stock.pop().unwrap_or_else(|| Chunk::map(self.ledger.held() > 0));
        let number = self.ledger.add();
        chunk.begin(number);
        if self.chunks.len() <= number as usize {
            self.chunks.resize_with(number as usize + 1, || None);
        }
        self.chunks[number as usize] = Some(chunk);
    }

    /// Chunks to have in stock: none while the first one is hardly used, then a part of those there are.
    fn stock_wanted(&self) -> usize {
        match self.ledger.used() as usize * GRANULE_BYTES {
            used if used < CHUNK_BYTES / 2 => 0,
            _ => (self.ledger.held() / STOCK_PART).clamp(1, STOCK_CHUNKS_MAX),
        }
    }

    /// Gives chunks without a block back, but for those that growth will want.
    fn remove_empty(&mut self) {
        let empty: Vec<u32> = self.ledger.empty().collect();
        for number in empty {
            self.ledger.remove(number);
            let chunk = self.chunks[number as usize].take().expect("a chunk there is");
            if self.stock.len() < self.stock_wanted() {
                self.stock.push(chunk);
            }
        }
    }

    /// Chooses the sparsest chunks to leave, if too much is free: as many as the others can take in, with some to spare.
    fn choose(&mut self) {
        let (used, held) = (self.ledger.used(), self.ledger.held() as u64);
        let per_chunk = u64::from(FRAMES * GRANULES);
        if held * per_chunk * 100 < used * SPARSE_PERCENT + SPARSE_SLACK_CHUNKS * per_chunk * 100 {
            return;
        }
        let mut sparsest: Vec<(u32, u32)> = self.ledger.staying().map(|(number, used)| (used, number)).collect();
        sparsest.sort_unstable();
        // Half of what is free elsewhere may be unfit for what moves.
        let mut room = (held * per_chunk - used) / 2;
        for (used, number) in sparsest {
            let takes = u64::from(used) + (per_chunk - u64::from(used)) / 2;
            if takes > room || u64::from(used) * 100 > per_chunk * 90 {
                break;
            }
            room -= takes;
            self.chosen.push(number);
        }
        self.chosen.reverse();
    }
}

/// A block of `bytes`, a multiple of the granule up to the longest block; aligned to the granule.
pub(crate) fn take(bytes: usize) -> NonNull<u8> {
    debug_assert!(bytes.is_multiple_of(GRANULE_BYTES));
    let granules = (bytes / GRANULE_BYTES) as u32;
    let mut arena = ARENA.lock();
    let cut = loop {
        match arena.ledger.take(granules) {
            Some(cut) => break cut,
            None => arena.add(),
        }
    };
    if arena.stock.len() < arena.stock_wanted() {
        DEMAND.notify_one();
    }
    let chunk = arena.chunks[cut.chunk as usize].as_ref().expect("a chunk there is");
    // SAFETY: the ledger cuts blocks inside the chunk.
    unsafe { chunk.start.cast::<u8>().add(cut.granule as usize * GRANULE_BYTES) }
}

/// The head of a block's chunk.
///
/// # Safety
/// `at` came from [`take`] and was not given back since.
unsafe fn head<'a>(at: NonNull<u8>) -> &'a Head {
    let head = at.as_ptr().map_addr(|address| address & !(CHUNK_BYTES - 1)).cast::<Head>();
    // SAFETY: a chunk stays while it has a block, begins at a multiple of its size, and its head is only read (or atomic).
    unsafe { &*head }
}

/// Takes a block back.
///
/// # Safety
/// `at` came from [`take`] with the same `bytes`, was not given back since, and is not used any more.
pub(crate) unsafe fn give(at: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise.
    let chunk = unsafe { head(at) }.number;
    let granule = (at.addr().get() % CHUNK_BYTES / GRANULE_BYTES) as u32;
    ARENA.lock().ledger.give(Cut { chunk, granule }, (bytes / GRANULE_BYTES) as u32);
}

/// Whether a block lies in a chunk that is being emptied: its owner should copy it to a new block and give it back.
///
/// # Safety
/// `at` came from [`take`] and was not given back since.
pub(crate) unsafe fn is_leaving(at: NonNull<u8>) -> bool {
    // SAFETY: the caller's promise.
    unsafe { head(at) }.leaving.load(Ordering::Relaxed)
}

/// The number of the round of moving that goes on; 0 for none. In each, every table looks at all its blocks once.
#[inline]
pub(crate) fn pass() -> u32 {
    if MOVING.load(Ordering::Relaxed) { ROUND.load(Ordering::Relaxed) } else { 0 }
}

/// Housekeeping, to be called some ten times a second: gives empty chunks back, and begins a round of moving when too
/// much of the chunks is free. Some 100 us at most.
pub(crate) fn begin_or_end_moving() {
    let Some(mut arena) = ARENA.try_lock() else { return };
    let arena = &mut *arena;
    arena.remove_empty();
    if arena.chosen.is_empty() && arena.ledger.leaving() == 0 {
        MOVING.store(false, Ordering::Relaxed);
        arena.choose();
    }
    if arena.chosen.is_empty() || MOVING.load(Ordering::Relaxed) {
        return;
    }
    for number in arena.chosen.split_off(arena.chosen.len().saturating_sub(LEAVING_CHUNKS)) {
        // Chosen in an earlier call, it may be empty and gone since, or another one under its number.
        let Some(chunk) = &arena.chunks[number as usize] else { continue };
        // SAFETY: the head was written when the chunk was added.
        unsafe { chunk.start.as_ref() }.leaving.store(true, Ordering::Relaxed);
        arena.ledger.leave(number);
    }
    if arena.chosen.is_empty() {
        ROUND.store(ROUND.load(Ordering::Relaxed).wrapping_add(1).max(1), Ordering::Relaxed);
        MOVING.store(true, Ordering::Relaxed);
    }
}

/// Keeps chunks in stock, for ever: to be run by a thread of its own.
pub fn keep_stock() {
    loop {
        let mut arena = ARENA.lock();
        while arena.stock.len() >= arena.stock_wanted() {
            DEMAND.wait(&mut arena);
        }
        drop(arena);
        let mut chunk = Chunk::map(true);
        chunk.touch();
        ARENA.lock().stock.push(chunk);
    }
}

/// What the tables of all stores in this process take.
pub fn arena_memory() -> ArenaMemory {
    let arena = ARENA.lock();
    let chunks = |count: usize| (count * CHUNK_BYTES) as u64;
    ArenaMemory {
        used: arena.ledger.used() * GRANULE_BYTES as u64,
        held: chunks(arena.ledger.held()),
        stocked: chunks(arena.stock.len()),
        leaving: chunks(arena.ledger.leaving()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks can be written whole, lie where they should, and keep their bytes while others come and go.
    #[test]
    fn blocks_keep_their_bytes() {
        let mut blocks = Vec::new();
        for turn in 0usize..6000 {
            let bytes = (1 + turn * 7 % 32) * GRANULE_BYTES;
            let at = take(bytes);
            assert!(at.addr().get().is_multiple_of(GRANULE_BYTES));
            // SAFETY: a block of that many bytes.
            unsafe { at.write_bytes(turn as u8, bytes) };
            blocks.push((at, bytes, turn as u8));
            if turn % 3 == 0 {
                let (at, bytes, fill) = blocks.swap_remove(turn * 31 % blocks.len());
                // SAFETY: still this test's block.
                let held = unsafe { core::slice::from_raw_parts(at.as_ptr(), bytes) };
                assert!(held.iter().all(|byte| *byte == fill));
                // SAFETY: taken above with these bytes, and forgotten now.
                unsafe { give(at, bytes) };
            }
        }
        for (at, bytes, fill) in blocks {
            // SAFETY: as above.
            let held = unsafe { core::slice::from_raw_parts(at.as_ptr(), bytes) };
            assert!(held.iter().all(|byte| *byte == fill));
            // SAFETY: as above.
            unsafe { give(at, bytes) };
        }
    }
}
