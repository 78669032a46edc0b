//! Chunks: mapped, touched ahead, emptied and given back.

use super::ledger::{Cut, GRANULES, LONGEST, Ledger};
use super::{ArenaMemory, Grain};
use crate::limits::chunks::{
    LEAVING_CHUNKS, LEAVING_PART, REMOVED_CHUNKS, ROUND_CALLS, SPARSE_PERCENT, SPARSE_SLACK_CHUNKS, STOCK_CHUNKS_MAX,
    STOCK_PART,
};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use memmap2::{Advice, MmapMut, MmapOptions};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io;
use std::time::Duration;

/// A huge page of most systems.
const CHUNK_BYTES: usize = 2 << 20;
/// Least size of a page of the system.
const SYSTEM_PAGE_BYTES: usize = 4096;

const _: () = assert!(size_of::<Head>() <= Grain::Fine.bytes());
const _: () = assert!(Grain::Fine.longest() == LONGEST as usize * Grain::Fine.bytes());
const _: () = assert!(Grain::Coarse.longest() == LONGEST as usize * Grain::Coarse.bytes());

/// What the first granule of a chunk holds. A chunk begins at a multiple of its size, so any block leads to it.
struct Head {
    number: u32,
    /// Whether the chunk is being emptied.
    leaving: AtomicBool,
}

/// A chunk's memory.
struct Chunk {
    start: NonNull<Head>,
    _map: MmapMut,
}

// SAFETY: it is memory that nobody else owns; what is shared of it, the head, is atomic or constant.
unsafe impl Send for Chunk {}

impl Chunk {
    /// All bytes are 0.
    fn map(huge: bool) -> io::Result<Self> {
        let map = |bytes| MmapOptions::new().len(bytes).map_anon();
        // Most often a mapping lies beside another one. Where it does not begin at a multiple of its size, one twice as
        // long has a part that does; what is not touched takes no memory.
        let mut area = map(CHUNK_BYTES)?;
        if !area.as_ptr().addr().is_multiple_of(CHUNK_BYTES) {
            drop(area);
            area = map(2 * CHUNK_BYTES)?;
        }
        if huge {
            // A hint: without it pages are small. For the whole mapping, so that it stays one.
            let _ = area.advise(Advice::HugePage);
        }
        let start = area.as_mut_ptr();
        let start = start.wrapping_add(start.align_offset(CHUNK_BYTES)).cast();
        Ok(Self { start: NonNull::new(start).expect("no memory begins at 0"), _map: area })
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
    grain: Grain,
    ledger: Ledger,
    /// By number.
    chunks: Vec<Option<Chunk>>,
    /// Chunks chosen to leave, the sparsest last; they begin to a few at a time.
    chosen: Vec<u32>,
    /// Chunks there were when some were last chosen, and how many those were.
    chosen_of: (usize, usize),
    /// Percent of what is used that the chunks must hold before some are chosen: more once that has not helped.
    sparse_percent: u64,
}

/// Locked one by one, or in this order.
static FINE: Mutex<Arena> = Mutex::new(Arena::new(Grain::Fine));
static COARSE: Mutex<Arena> = Mutex::new(Arena::new(Grain::Coarse));
/// Touched chunks that wait for use by either; locked last.
static STOCK: Mutex<Vec<Chunk>> = Mutex::new(Vec::new());
static STOCKED: AtomicUsize = AtomicUsize::new(0);
/// Signalled when the stock runs low.
static DEMAND: Condvar = Condvar::new();
/// The number of the last round of moving, and whether it goes on.
static ROUND: AtomicU32 = AtomicU32::new(0);
static MOVING: AtomicBool = AtomicBool::new(false);
/// Calls of [`tend_memory`] since it began.
static CALLS: AtomicU32 = AtomicU32::new(0);

fn arena(grain: Grain) -> &'static Mutex<Arena> {
    match grain {
        Grain::Fine => &FINE,
        Grain::Coarse => &COARSE,
    }
}

fn with_stock<R>(act: impl FnOnce(&mut Vec<Chunk>) -> R) -> R {
    let mut stock = STOCK.lock();
    let result = act(&mut stock);
    STOCKED.store(stock.len(), Ordering::Relaxed);
    result
}

impl Arena {
    const fn new(grain: Grain) -> Self {
        let frames = CHUNK_BYTES / (GRANULES as usize * grain.bytes());
        Self {
            grain,
            ledger: Ledger::new(frames as u32),
            chunks: Vec::new(),
            chosen: Vec::new(),
            chosen_of: (0, 0),
            sparse_percent: SPARSE_PERCENT,
        }
    }

    /// Makes room for another block: with a chunk that was leaving, or a new one. Panics where the system has no memory
    /// left, as an allocation would.
    fn add(&mut self) {
        if let Some(number) = self.ledger.stay() {
            self.mark(number, false);
            return;
        }
        // The first one of a process that may never need much is touched page by page.
        let huge = self.ledger.held() > 0;
        let mut chunk =
            with_stock(Vec::pop).unwrap_or_else(|| Chunk::map(huge).expect("the system gives memory to tables"));
        let number = self.ledger.add();
        chunk.begin(number);
        if self.chunks.len() <= number as usize {
            self.chunks.resize_with(number as usize + 1, || None);
        }
        self.chunks[number as usize] = Some(chunk);
    }

    /// Chunks to have in stock: none while the first one is hardly used, then a part of those there are.
    fn stock_wanted(&self) -> usize {
        match self.ledger.used() {
            used if used < self.ledger.granules_of_chunk() / 2 => 0,
            _ => (self.ledger.held() / STOCK_PART).clamp(1, STOCK_CHUNKS_MAX),
        }
    }

    /// Says to the owners of a chunk's blocks whether it is leaving.
    fn mark(&self, number: u32, leaving: bool) {
        let chunk = self.chunks[number as usize].as_ref().expect("a chunk there is");
        // SAFETY: the head was written when the chunk was added.
        unsafe { chunk.start.as_ref() }.leaving.store(leaving, Ordering::Relaxed);
    }

    /// Takes out some chunks without a block, but for those that growth will want.
    fn remove_empty(&mut self, removed: &mut Vec<Chunk>) {
        while removed.len() < REMOVED_CHUNKS
            && let Some(number) = self.ledger.remove_empty()
        {
            let chunk = self.chunks[number as usize].take().expect("a chunk there is");
            if STOCKED.load(Ordering::Relaxed) < self.stock_wanted() {
                with_stock(|stock| stock.push(chunk));
            } else {
                removed.push(chunk);
            }
        }
    }

    /// Chooses the sparsest chunks to leave, if too much is free: as many as the others can take in, with some to spare,
    /// and a small part of all at a time.
    fn choose(&mut self) {
        let (used, held) = (self.ledger.used(), self.ledger.held());
        let per_chunk = self.ledger.granules_of_chunk();
        let percent = |used: u64| held as u64 * per_chunk * 100 / used.max(1);
        let (before, chosen) = core::mem::take(&mut self.chosen_of);
        if chosen > 0 {
            // Blocks may fit no better elsewhere: then it is not tried again before much more is free.
            let helped = held + chosen / 2 <= before;
            self.sparse_percent = if helped { SPARSE_PERCENT } else { percent(used).max(SPARSE_PERCENT) + 10 };
        }
        if percent(used + SPARSE_SLACK_CHUNKS * per_chunk) <= self.sparse_percent {
            return;
        }
        let most = (held / LEAVING_PART).max(LEAVING_CHUNKS);
        let mut sparsest: Vec<(u32, u32)> = self.ledger.staying().map(|(number, used)| (used, number)).collect();
        if sparsest.len() > most {
            sparsest.select_nth_unstable(most);
            sparsest.truncate(most);
        }
        sparsest.sort_unstable();
        // Half of what is free elsewhere may be unfit for what moves.
        let mut room = (held as u64 * per_chunk - used) / 2;
        for (used, number) in sparsest {
            let takes = u64::from(used) + (per_chunk - u64::from(used)) / 2;
            if takes > room || u64::from(used) * 100 > per_chunk * 90 {
                break;
            }
            room -= takes;
            self.chosen.push(number);
        }
        self.chosen.reverse();
        self.chosen_of = (held, self.chosen.len());
    }

    /// Lets the next few of the chosen chunks leave.
    fn begin_to_leave(&mut self) {
        for number in self.chosen.split_off(self.chosen.len().saturating_sub(LEAVING_CHUNKS)) {
            // Chosen in an earlier call, it may be empty and gone since, or another one under its number.
            if self.ledger.leave(number) {
                self.mark(number, true);
            }
        }
    }
}

/// A block of `bytes`, which is one of the [rounded](super::rounded) sizes; aligned to the fine grain.
pub(crate) fn take(bytes: usize) -> NonNull<u8> {
    let grain = Grain::of(bytes);
    debug_assert!(bytes.is_multiple_of(grain.bytes()));
    let granules = (bytes / grain.bytes()) as u32;
    let mut arena = arena(grain).lock();
    let cut = loop {
        match arena.ledger.take(granules) {
            Some(cut) => break cut,
            None => arena.add(),
        }
    };
    if STOCKED.load(Ordering::Relaxed) < arena.stock_wanted() {
        DEMAND.notify_one();
    }
    let chunk = arena.chunks[cut.chunk as usize].as_ref().expect("a chunk there is");
    // SAFETY: the ledger cuts blocks inside the chunk.
    unsafe { chunk.start.cast::<u8>().add(cut.granule as usize * grain.bytes()) }
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
    let grain = Grain::of(bytes);
    let granule = (at.addr().get() % CHUNK_BYTES / grain.bytes()) as u32;
    arena(grain).lock().ledger.give(Cut { chunk, granule }, (bytes / grain.bytes()) as u32);
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
    // Acquire: who sees the round sees which chunks are leaving.
    if MOVING.load(Ordering::Acquire) { ROUND.load(Ordering::Acquire) } else { 0 }
}

/// Begins a round of moving, or the same anew.
fn begin_round() {
    ROUND.store(ROUND.load(Ordering::Relaxed).wrapping_add(1).max(1), Ordering::Release);
    CALLS.store(0, Ordering::Relaxed);
    MOVING.store(true, Ordering::Release);
}

/// Housekeeping of the tables' memory, to be called some ten times a second by one thread: gives a few empty chunks back,
/// and begins rounds of moving when too much of the chunks is free. Some 100 us, for chunks in the thousands.
pub fn tend_memory() {
    // Unmapped once the locks are open.
    let mut removed = Vec::new();
    let (Some(mut fine), Some(mut coarse)) = (FINE.try_lock(), COARSE.try_lock()) else { return };
    let mut arenas: [&mut Arena; 2] = [&mut fine, &mut coarse];
    arenas.iter_mut().for_each(|arena| arena.remove_empty(&mut removed));
    let wanted = arenas.iter().map(|arena| arena.stock_wanted()).max().unwrap_or(0);
    if STOCKED.load(Ordering::Relaxed) > wanted {
        removed.extend(with_stock(Vec::pop));
    }
    let is_chosen = |arenas: &[&mut Arena]| arenas.iter().any(|arena| !arena.chosen.is_empty());
    let is_leaving = arenas.iter().any(|arena| arena.ledger.leaving() > 0);
    if !is_chosen(&arenas) && !is_leaving {
        MOVING.store(false, Ordering::Relaxed);
        arenas.iter_mut().for_each(|arena| arena.choose());
    }
    if is_chosen(&arenas) {
        arenas.iter_mut().for_each(|arena| arena.begin_to_leave());
        if !is_chosen(&arenas) {
            begin_round();
        }
    } else if is_leaving && CALLS.fetch_add(1, Ordering::Relaxed) >= ROUND_CALLS {
        // Longer than a round takes, unless a core is stopped.
        begin_round();
    }
    drop((fine, coarse));
    drop(removed);
}

/// Keeps chunks in stock, for ever: to be run by a thread of its own.
pub fn keep_stock() {
    const RETRY: Duration = Duration::from_secs(1);
    loop {
        let wanted = [&FINE, &COARSE].map(|arena| arena.lock().stock_wanted());
        let mut stock = STOCK.lock();
        if stock.len() >= wanted[0].max(wanted[1]) {
            // A signal given just before was in vain; the next block taken gives another.
            DEMAND.wait(&mut stock);
            continue;
        }
        drop(stock);
        match Chunk::map(true) {
            Ok(mut chunk) => {
                chunk.touch();
                with_stock(|stock| stock.push(chunk));
            }
            // Nobody needs it yet.
            Err(_) => drop(DEMAND.wait_for(&mut STOCK.lock(), RETRY)),
        }
    }
}

/// What the tables of all stores in this process take.
pub fn arena_memory() -> ArenaMemory {
    let chunks = |count: usize| (count * CHUNK_BYTES) as u64;
    let of = |arena: MutexGuard<'_, Arena>| ArenaMemory {
        used: arena.ledger.used() * arena.grain.bytes() as u64,
        held: chunks(arena.ledger.held()),
        stocked: 0,
        leaving: chunks(arena.ledger.leaving()),
        lists: arena.ledger.bytes() as u64,
    };
    let (fine, coarse) = (of(FINE.lock()), of(COARSE.lock()));
    ArenaMemory {
        used: fine.used + coarse.used,
        held: fine.held + coarse.held,
        stocked: chunks(STOCKED.load(Ordering::Relaxed)),
        leaving: fine.leaving + coarse.leaving,
        lists: fine.lists + coarse.lists,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LONGEST_BYTES, rounded};
    use super::*;

    /// Blocks can be written whole, lie where they should, and keep their bytes while others come and go.
    #[test]
    fn blocks_keep_their_bytes() {
        let mut blocks = Vec::new();
        for turn in 0usize..6000 {
            let bytes = rounded(1 + turn * 97 % LONGEST_BYTES).expect("not too long");
            let at = take(bytes);
            assert!(at.addr().get().is_multiple_of(Grain::Fine.bytes()));
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
