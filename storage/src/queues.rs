//! The side lists of eviction, per table: the small queue, and the ghosts of what was evicted from it.

use crate::limits::{SMALL_QUEUE_SHARE, SWEEP_SLACK};
use crate::memory::vec_bytes;
use std::collections::{HashSet, VecDeque};

/// A new entry goes to the head of the small queue, as the next to leave unless it is used first, if it takes more than
/// one part in this many of the queue's share, and more than this many times the mean entry.
const LARGE: u64 = 4;

/// The queues of one table.
#[derive(Default)]
pub(crate) struct Queues {
    pub small: Fifo,
    pub small_len: usize,
    pub small_bytes: u64,
    pub ghosts: Ghosts,
    /// The hand: a place in hash order and the next position in the segment there.
    pub hand: u64,
    pub hand_position: usize,
}

impl Queues {
    /// Bytes of the queues themselves.
    pub fn memory(&self) -> u64 {
        self.small.memory() + self.ghosts.memory()
    }

    /// Lets a new entry of `bytes` into a table of so many entries and bytes: into main if it is a ghost come back, else
    /// into the small queue. Says whether it is the latter.
    pub fn admit(&mut self, tag: u32, bytes: u64, entries: u64, table_bytes: u64) -> bool {
        if self.ghosts.take(tag) {
            return false;
        }
        self.small_len += 1;
        self.small_bytes += bytes;
        if bytes * SMALL_QUEUE_SHARE * LARGE > table_bytes && bytes * entries > LARGE * table_bytes {
            self.small.push_front(tag);
        } else {
            self.small.push_back(tag);
        }
        true
    }

    /// Whether most tags of the small queue stand for entries that left it otherwise, or a sweep of those is under way.
    pub fn wants_sweep(&self) -> bool {
        self.small.sweep.is_some() || self.small.tags.len() > 2 * self.small_len + SWEEP_SLACK
    }

    /// Lets the entry of `tag`, named as a victim but not removed, stand in line again.
    pub fn requeue(&mut self, tag: u32) {
        self.small.push_back(tag);
    }

    /// An entry of the small queue went from `old` to `new` bytes.
    pub fn resized(&mut self, old: u64, new: u64) {
        self.small_bytes = self.small_bytes.wrapping_sub(old).wrapping_add(new);
    }

    /// An entry of `bytes` is in the small queue no more; its tag is skipped when it comes up.
    pub fn left_small(&mut self, bytes: u64) {
        self.small_len -= 1;
        self.small_bytes -= bytes;
    }

    /// Entries and bytes now in the small queue.
    pub fn small_holds(&self) -> (usize, u64) {
        (self.small_len, self.small_bytes)
    }
}

/// Remembers recently evicted tags: 16-bit fingerprints in sets of 16, oldest out first.
#[derive(Default)]
pub(crate) struct Ghosts {
    /// A power of two of sets, or none.
    sets: Vec<[u16; 16]>,
}

impl Ghosts {
    fn memory(&self) -> u64 {
        vec_bytes::<[u16; 16]>(self.sets.capacity())
    }

    /// A fingerprint is never 0, which marks a free place. Set and fingerprint use different bits of the tag.
    fn locate(&self, tag: u32) -> (usize, u16) {
        let mixed = tag.wrapping_mul(0x9E37_79B1);
        ((mixed as usize) & (self.sets.len() - 1), (mixed >> 16) as u16 | 1)
    }

    /// Whether `tag` was remembered; forgets it.
    fn take(&mut self, tag: u32) -> bool {
        if self.sets.is_empty() {
            return false;
        }
        let (set, print) = self.locate(tag);
        match self.sets[set].iter().position(|p| *p == print) {
            Some(at) => {
                self.sets[set].copy_within(at + 1.., at);
                self.sets[set][15] = 0;
                true
            }
            None => false,
        }
    }

    /// Remembers `tag`, in a memory of about nine tenths of `entries`. Growing forgets: it is rare.
    pub fn remember(&mut self, tag: u32, entries: usize) {
        let wanted = (entries * 9 / 10).div_ceil(16).max(1).next_power_of_two();
        if self.sets.len() < wanted {
            self.sets = vec![[0; 16]; wanted];
        }
        let (set, print) = self.locate(tag);
        self.sets[set].copy_within(0..15, 1);
        self.sets[set][0] = print;
    }
}

/// The tags of the small queue, oldest first.
///
/// Tags of entries that were deleted stay until they come up or a *sweep* drops them. A sweep goes from the back to the
/// front, in steps, and closes the gaps as it goes; of a tag's doubles the last one stands for the entry.
#[derive(Default)]
pub(crate) struct Fifo {
    tags: VecDeque<u32>,
    sweep: Option<Box<Sweep>>,
}

/// Tags before `read` were not looked at, those from `write` on were kept or are newer; between lies what was moved or
/// dropped.
struct Sweep {
    read: usize,
    write: usize,
    seen: HashSet<u32>,
}

impl Fifo {
    /// Bytes of the tags; a sweep's own notes live only as long as it does, and are not counted.
    fn memory(&self) -> u64 {
        vec_bytes::<u32>(self.tags.capacity())
    }

    fn push_back(&mut self, tag: u32) {
        self.tags.push_back(tag);
    }

    fn push_front(&mut self, tag: u32) {
        self.tags.push_front(tag);
        if let Some(sweep) = &mut self.sweep {
            sweep.read += 1;
            sweep.write += 1;
        }
    }

    /// The oldest tag, which leaves.
    pub fn pop_front(&mut self) -> Option<u32> {
        match &mut self.sweep {
            Some(sweep) if sweep.read > 0 => {
                sweep.read -= 1;
                sweep.write -= 1;
            }
            Some(_) => self.end_sweep(),
            None => {}
        }
        self.tags.pop_front()
    }

    /// Begins a sweep or goes on with it: looks at up to `steps` tags and keeps those that are `live`.
    pub fn sweep(&mut self, steps: usize, live: impl Fn(u32) -> bool) {
        let len = self.tags.len();
        let sweep = self.sweep.get_or_insert_with(|| Box::new(Sweep { read: len, write: len, seen: HashSet::new() }));
        for _ in 0..steps {
            if sweep.read == 0 {
                self.end_sweep();
                return;
            }
            sweep.read -= 1;
            let tag = self.tags[sweep.read];
            if sweep.seen.insert(tag) && live(tag) {
                sweep.write -= 1;
                self.tags[sweep.write] = tag;
            }
        }
    }

    fn end_sweep(&mut self) {
        if let Some(sweep) = self.sweep.take() {
            self.tags.drain(..sweep.write);
            self.tags.shrink_to(2 * self.tags.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::draw;

    /// Whatever is pushed, popped and swept in whatever order: live tags come out once, in the order of their last push.
    #[test]
    fn sweeps_keep_the_order_of_what_lives() {
        for seed in 0..200 {
            let mut fifo = Fifo::default();
            let mut model: Vec<u32> = Vec::new();
            let mut dead: HashSet<u32> = HashSet::new();
            let mut next = 0;
            for turn in 0..600u64 {
                let random = draw(seed, turn);
                match random % 8 {
                    0..=2 => {
                        next += 1;
                        fifo.push_back(next);
                        model.push(next);
                    }
                    3 if random >> 8 & 3 == 0 => {
                        next += 1;
                        fifo.push_front(next);
                        model.insert(0, next);
                    }
                    4 if !model.is_empty() => {
                        let gone = model.remove((random >> 16) as usize % model.len());
                        dead.insert(gone);
                    }
                    5 => {
                        let popped = core::iter::from_fn(|| fifo.pop_front()).find(|tag| !dead.contains(tag));
                        assert_eq!(popped, (!model.is_empty()).then(|| model.remove(0)), "seed {seed}, turn {turn}");
                    }
                    _ => fifo.sweep((random >> 32) as usize % 9, |tag| !dead.contains(&tag)),
                }
            }
            while fifo.sweep.is_some() {
                fifo.sweep(16, |tag| !dead.contains(&tag));
            }
            let rest: Vec<u32> = fifo.tags.iter().copied().filter(|tag| !dead.contains(tag)).collect();
            assert_eq!(rest, model, "seed {seed}");
        }
    }

    /// A key set and deleted again and again leaves its tag many times; a sweep leaves one.
    #[test]
    fn doubles_are_dropped() {
        let mut fifo = Fifo::default();
        [1, 7, 7, 2, 7, 7].iter().for_each(|tag| fifo.push_back(*tag));
        fifo.sweep(3, |_| true);
        fifo.push_back(3);
        while fifo.sweep.is_some() {
            fifo.sweep(3, |_| true);
        }
        assert_eq!(core::iter::from_fn(|| fifo.pop_front()).collect::<Vec<_>>(), [1, 2, 7, 3]);
    }
}
