//! Which parts of which chunks are free: numbers only, no memory.
//!
//! A chunk is a number of *frames*, a frame 128 *granules*, one bit each. Blocks are 1 to 32 granules of one frame: even
//! where all are of one length, a frame is filled to 91 % at least (blocks of up to 17 granules) but for what is freed. Frames stand in bins by their
//! longest free run, so a block is cut where it fits best: out of the fullest frame that has a run for it.

/// Granules of a frame.
pub(super) const GRANULES: u32 = 128;
/// Granules of the longest block.
pub(super) const LONGEST: u32 = 32;
/// Granules that a chunk's head takes, the first of its first frame.
const HEAD_GRANULES: u32 = 1;

/// No frame.
const NONE: u32 = u32::MAX;

/// A frame's free granules, and its neighbours in the list of its bin.
#[derive(Clone)]
struct Frame {
    free: u128,
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
    /// First frame of each bin, by longest free run, at most that of the longest block.
    bins: [u32; LONGEST as usize + 1],
    /// Which bins have frames, as bits.
    filled: u64,
    /// Granules in blocks.
    used: u64,
    /// Chunks there are.
    held: usize,
    /// Those of them that are leaving, and some that are not any more.
    leaving: Vec<u32>,
    /// Chunks that became empty, and may be used again since.
    emptied: Vec<u32>,
}

/// Where the runs of `length` ones begin.
fn runs(free: u128, length: u32) -> u128 {
    let (mut begins, mut known) = (free, 1);
    while known < length {
        let step = known.min(length - known);
        begins &= begins >> step;
        known += step;
    }
    begins
}

/// Length of the longest run of ones, as far as the longest block.
fn longest_run(free: u128) -> u32 {
    if runs(free, LONGEST) != 0 {
        return LONGEST;
    }
    let (mut begins, mut length) = (free, 0);
    while begins != 0 {
        begins &= begins >> 1;
        length += 1;
    }
    length
}

fn ones(length: u32) -> u128 {
    u128::MAX >> (GRANULES - length)
}

impl Ledger {
    /// Of chunks of `frames` frames.
    pub const fn new(frames: u32) -> Self {
        Self {
            frames,
            chunks: Vec::new(),
            vacant: Vec::new(),
            bins: [NONE; LONGEST as usize + 1],
            filled: 0,
            used: 0,
            held: 0,
            leaving: Vec::new(),
            emptied: Vec::new(),
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
        self.leaving.iter().filter(|number| self.is_leaving(**number)).count()
    }

    fn is_leaving(&self, number: u32) -> bool {
        self.chunks[number as usize].as_ref().is_some_and(|chunk| chunk.leaving)
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
        let empty = Frame { free: u128::MAX, next: NONE, prev: NONE };
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
        debug_assert!((1..=LONGEST).contains(&granules));
        let fitting = self.filled >> granules;
        if fitting == 0 {
            return None;
        }
        let id = self.bins[(granules + fitting.trailing_zeros()) as usize];
        self.unlink(id);
        let at = runs(self.frame(id).free, granules).trailing_zeros();
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
        self.used -= u64::from(granules);
        let chunk = self.chunk(cut.chunk);
        chunk.used -= granules;
        if chunk.used == 0 {
            self.emptied.push(cut.chunk);
        }
    }

    /// Lets a chunk that stays leave: nothing is cut from it any more. False if there is none such.
    pub fn leave(&mut self, number: u32) -> bool {
        match &mut self.chunks[number as usize] {
            Some(chunk) if !chunk.leaving => chunk.leaving = true,
            _ => return false,
        }
        self.leaving.push(number);
        (0..self.frames).for_each(|frame| self.unlink(number * self.frames + frame));
        true
    }

    /// Lets a chunk that is leaving stay after all; its number, or `None` if none is.
    pub fn stay(&mut self) -> Option<u32> {
        while let Some(number) = self.leaving.pop() {
            if self.is_leaving(number) {
                self.chunk(number).leaving = false;
                (0..self.frames).rev().for_each(|frame| self.link(number * self.frames + frame));
                return Some(number);
            }
        }
        None
    }

    /// Removes a chunk that holds no block; its number, or `None` if there is none.
    pub fn remove_empty(&mut self) -> Option<u32> {
        while let Some(number) = self.emptied.pop() {
            if self.chunks[number as usize].as_ref().is_some_and(|chunk| chunk.used == 0) {
                self.leave(number);
                self.chunks[number as usize] = None;
                self.leaving.retain(|leaving| *leaving != number);
                self.vacant.push(number);
                self.held -= 1;
                return Some(number);
            }
        }
        None
    }

    /// Chunks that stay, with the granules used in each.
    pub fn staying(&self) -> impl Iterator<Item = (u32, u32)> {
        let chunks =
            self.chunks.iter().enumerate().filter_map(|(number, chunk)| Some((number as u32, chunk.as_ref()?)));
        chunks.filter(|(_, chunk)| !chunk.leaving).map(|(number, chunk)| (number, chunk.used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const FRAMES: u32 = 16;

    #[test]
    fn runs_are_found() {
        let cases =
            [(0, 0), (1, 1), (u128::MAX, 32), (0b1011_0111, 3), (0x7FFF_FFFF << 90, 31), (u128::MAX >> 96 << 50, 32)];
        for (free, longest) in cases {
            assert_eq!(longest_run(free), longest, "{free:b}");
        }
        assert_eq!(runs(0b1011_0111, 3).trailing_zeros(), 0);
        assert_eq!(runs(0b1111_0011, 3).trailing_zeros(), 4);
        assert_eq!(runs(u128::MAX << 1, 31).trailing_zeros(), 1);
        assert_eq!(runs(0b101, 1), 0b101);
    }

    /// However long the blocks are, if all are equal: nine of a hundred parts may be lost, more of the very long.
    #[test]
    fn frames_hold_equal_blocks_well() {
        for granules in 1..=LONGEST {
            let fitting = GRANULES / granules * granules;
            assert!(fitting * 100 >= GRANULES * 75, "{granules}");
            assert!(granules > 17 || fitting * 100 >= GRANULES * 91, "{granules}");
        }
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
                        let leaving = staying.get(which.index(staying.len().max(1))).filter(|_| granules < 4);
                        if let Some((number, _)) = leaving {
                            prop_assert!(ledger.leave(*number) && !ledger.leave(*number));
                        } else if granules > 28 && let Some(number) = ledger.stay() {
                            prop_assert!(ledger.staying().any(|(staying, _)| staying == number));
                        }
                        if granules % 2 == 0 {
                            while ledger.remove_empty().is_some() {}
                        }
                        prop_assert_eq!(ledger.held(), ledger.staying().count() + ledger.leaving());
                    }
                }
                prop_assert_eq!(ledger.used(), taken.len() as u64);
            }
            // Everything given back, every frame is whole again.
            blocks.drain(..).for_each(|(cut, granules)| ledger.give(cut, granules));
            // The head leaves three longest blocks in the first frame of a chunk, four in any other.
            for _ in 0..ledger.staying().count() as u32 * (4 * FRAMES - 1) {
                prop_assert!(ledger.take(LONGEST).is_some());
            }
            prop_assert!(ledger.take(LONGEST).is_none());
        }
    }
}
