//! Which parts of which chunks are free: numbers only, no memory.
//!
//! A chunk is a number of *frames*, a frame 32 *granules*, one bit each. Blocks are 1 to 32 granules of one frame. Frames
//! stand in bins by their longest free run, so a block is cut where it fits best: out of the fullest frame that has a run
//! for it.

/// Granules of a frame, and the longest block.
pub(super) const GRANULES: u32 = 32;
/// Granules that a chunk's head takes, the first of its first frame.
const HEAD_GRANULES: u32 = 1;

/// No frame.
const NONE: u32 = u32::MAX;

/// A frame's free granules, and its neighbours in the list of its bin.
#[derive(Clone)]
struct Frame {
    free: u32,
    next: u32,
    prev: u32,
}

struct Chunk {
    frames: Box<[Frame]>,
    /// Granules in blocks.
    used: u32,
    /// Whether nothing is cut from it any more: what it holds is to move elsewhere.
    leaving: bool,
}

/// Where a block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    pub chunk: u32,
    /// Granules from the chunk's start.
    pub granule: u32,
}

/// See the module's text. Frames are numbered through all chunks.
pub(super) struct Ledger {
    /// Frames of a chunk.
    frames: u32,
    chunks: Vec<Option<Chunk>>,
    vacant: Vec<u32>,
    /// First frame of each bin, by longest free run.
    bins: [u32; GRANULES as usize + 1],
    /// Which bins have frames, as bits.
    filled: u64,
    /// Granules in blocks.
    used: u64,
    /// Chunks there are, and those of them that are leaving.
    held: usize,
    leaving: usize,
}

/// Length of the longest run of ones.
fn longest_run(free: u32) -> u32 {
    if free == u32::MAX {
        return GRANULES;
    }
    let (mut runs, mut length) = (free, 0);
    while runs != 0 {
        runs &= runs << 1;
        length += 1;
    }
    length
}

/// Where the first run of at least `length` ones begins; there is one.
fn first_run(free: u32, length: u32) -> u32 {
    let (mut begins, mut known) = (free, 1);
    while known < length {
        let step = known.min(length - known);
        begins &= begins >> step;
        known += step;
    }
    begins.trailing_zeros()
}

fn ones(length: u32) -> u32 {
    u32::MAX >> (GRANULES - length)
}

impl Ledger {
    /// Of chunks of `frames` frames.
    pub const fn new(frames: u32) -> Self {
        Self {
            frames,
            chunks: Vec::new(),
            vacant: Vec::new(),
            bins: [NONE; GRANULES as usize + 1],
            filled: 0,
            used: 0,
            held: 0,
            leaving: 0,
        }
    }

    /// Granules in blocks.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Chunks there are.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Chunks that are leaving.
    pub fn leaving(&self) -> usize {
        self.leaving
    }

    /// Granules of a chunk.
    pub fn granules_of_chunk(&self) -> u64 {
        u64::from(self.frames * GRANULES)
    }

    /// Bytes of the lists of frames.
    pub fn bytes(&self) -> usize {
        self.held * self.frames as usize * size_of::<Frame>()
    }

    /// Adds a chunk; gives its number, which may be that of one removed.
    pub fn add(&mut self) -> u32 {
        let empty = Frame { free: u32::MAX, next: NONE, prev: NONE };
        let mut frames = vec![empty; self.frames as usize].into_boxed_slice();
        frames[0].free &= !ones(HEAD_GRANULES);
        let chunk = Some(Chunk { frames, used: 0, leaving: false });
        let number = match self.vacant.pop() {
            Some(number) => {
                self.chunks[number as usize] = chunk;
                number
            }
            None => {
                self.chunks.push(chunk);
                (self.chunks.len() - 1) as u32
            }
        };
        self.held += 1;
        // The first frames end up at the head of the list: memory is used from the chunk's start.
        (0..self.frames).rev().for_each(|frame| self.link(number * self.frames + frame));
        number
    }

    fn chunk(&mut self, number: u32) -> &mut Chunk {
        self.chunks[number as usize].as_mut().expect("a chunk there is")
    }

    fn frame(&mut self, id: u32) -> &mut Frame {
        let frames = self.frames;
        &mut self.chunk(id / frames).frames[(id % frames) as usize]
    }

    fn link(&mut self, id: u32) {
        let bin = longest_run(self.frame(id).free) as usize;
        if bin == 0 {
            return;
        }
        let next = core::mem::replace(&mut self.bins[bin], id);
        (self.frame(id).next, self.frame(id).prev) = (next, NONE);
        if next != NONE {
            self.frame(next).prev = id;
        }
        self.filled |= 1 << bin;
    }

    fn unlink(&mut self, id: u32) {
        let Frame { free, next, prev } = *self.frame(id);
        let bin = longest_run(free) as usize;
        if bin == 0 {
            return;
        }
        match prev {
            NONE => self.bins[bin] = next,
            prev => self.frame(prev).next = next,
        }
        if next != NONE {
            self.frame(next).prev = prev;
        }
        if self.bins[bin] == NONE {
            self.filled &= !(1 << bin);
        }
    }

    /// Cuts a block of `granules`; `None` where no chunk has room.
    pub fn take(&mut self, granules: u32) -> Option<Cut> {
        debug_assert!((1..=GRANULES).contains(&granules));
        let fitting = self.filled >> granules;
        if fitting == 0 {
            return None;
        }
        let id = self.bins[(granules + fitting.trailing_zeros()) as usize];
        self.unlink(id);
        let at = first_run(self.frame(id).free, granules);
        self.frame(id).free &= !(ones(granules) << at);
        self.link(id);
        let (chunk, frame) = (id / self.frames, id % self.frames);
        self.chunk(chunk).used += granules;
        self.used += u64::from(granules);
        Some(Cut { chunk, granule: frame * GRANULES + at })
    }

    /// Takes a block back.
    pub fn give(&mut self, cut: Cut, granules: u32) {
        let id = cut.chunk * self.frames + cut.granule / GRANULES;
        let bits = ones(granules) << (cut.granule % GRANULES);
        assert!(self.frame(id).free & bits == 0, "a block is given back once");
        let leaving = self.chunk(cut.chunk).leaving;
        if !leaving {
            self.unlink(id);
        }
        self.frame(id).free |= bits;
        if !leaving {
            self.link(id);
        }
        self.chunk(cut.chunk).used -= granules;
        self.used -= u64::from(granules);
    }

    /// Lets a chunk leave: nothing is cut from it any more.
    pub fn leave(&mut self, number: u32) {
        assert!(!core::mem::replace(&mut self.chunk(number).leaving, true), "a chunk leaves once");
        self.leaving += 1;
        (0..self.frames).for_each(|frame| self.unlink(number * self.frames + frame));
    }

    /// Removes a chunk that holds no block.
    pub fn remove(&mut self, number: u32) {
        if !self.chunk(number).leaving {
            self.leave(number);
        }
        let chunk = self.chunks[number as usize].take().expect("a chunk there is");
        assert_eq!(chunk.used, 0, "a chunk leaves when it is empty");
        self.vacant.push(number);
        self.held -= 1;
        self.leaving -= 1;
    }

    /// Chunks without a block.
    pub fn empty(&self) -> impl Iterator<Item = u32> {
        self.by_number().filter(|(_, chunk)| chunk.used == 0).map(|(number, _)| number)
    }

    /// Chunks that stay, with the granules used in each.
    pub fn staying(&self) -> impl Iterator<Item = (u32, u32)> {
        self.by_number().filter(|(_, chunk)| !chunk.leaving).map(|(number, chunk)| (number, chunk.used))
    }

    fn by_number(&self) -> impl Iterator<Item = (u32, &Chunk)> {
        self.chunks.iter().enumerate().filter_map(|(number, chunk)| Some((number as u32, chunk.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const FRAMES: u32 = 16;

    #[test]
    fn runs() {
        let cases = [(0, 0), (1, 1), (u32::MAX, 32), (0b1011_0111, 3), (0x7FFF_FFFF, 31), (0xF000_000F, 4)];
        for (free, longest) in cases {
            assert_eq!(longest_run(free), longest, "{free:b}");
        }
        assert_eq!(first_run(0b1011_0111, 3), 0);
        assert_eq!(first_run(0b1111_0011, 3), 4);
        assert_eq!(first_run(u32::MAX, 32), 0);
        assert_eq!(first_run(0xFFFF_FFFE, 31), 1);
        assert_eq!(first_run(0b101, 1), 0);
    }

    proptest! {
        /// Blocks never overlap, and free granules are never lost: against a set of granules.
        #[test]
        fn blocks_are_apart(steps in proptest::collection::vec((0u8..8, 1u32..=32, any::<prop::sample::Index>()), 1..2000)) {
            let mut ledger = Ledger::new(FRAMES);
            let mut blocks: Vec<(Cut, u32)> = Vec::new();
            let mut taken: BTreeSet<(u32, u32)> = BTreeSet::new();
            for (what, granules, which) in steps {
                match what {
                    0..=3 => {
                        let cut = ledger.take(granules).unwrap_or_else(|| {
                            ledger.add();
                            ledger.take(granules).expect("an empty chunk has room")
                        });
                        prop_assert!(cut.granule % GRANULES + granules <= GRANULES);
                        for granule in cut.granule..cut.granule + granules {
                            prop_assert!(granule >= HEAD_GRANULES && taken.insert((cut.chunk, granule)));
                        }
                        blocks.push((cut, granules));
                    }
                    4..=6 if !blocks.is_empty() => {
                        let (cut, granules) = blocks.swap_remove(which.index(blocks.len()));
                        (cut.granule..cut.granule + granules).for_each(|granule| { taken.remove(&(cut.chunk, granule)); });
                        ledger.give(cut, granules);
                    }
                    _ => {
                        let staying: Vec<_> = ledger.staying().collect();
                        if let Some((number, _)) = staying.get(which.index(staying.len().max(1))).filter(|_| granules == 1) {
                            ledger.leave(*number);
                        }
                        let empty: Vec<u32> = ledger.empty().collect();
                        empty.into_iter().for_each(|number| ledger.remove(number));
                    }
                }
                prop_assert_eq!(ledger.used(), taken.len() as u64);
            }
            // Everything given back, every frame is whole again.
            blocks.drain(..).for_each(|(cut, granules)| ledger.give(cut, granules));
            let whole = ledger.staying().count() * FRAMES as usize;
            for _ in ledger.staying().map(|_| 1).collect::<Vec<_>>() {
                prop_assert!(ledger.take(GRANULES - 1).is_some());
            }
            prop_assert!(whole == 0 || ledger.take(GRANULES).is_some());
        }
    }
}
