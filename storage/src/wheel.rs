//! A hierarchical timing wheel of 4-byte tags: which entries may be due, by second.
//!
//! Three rings of 64 chains (1 s, 64 s, about 1.1 h each) and two overflow chains, taken in turn every three days. A
//! record is a tag, not a deadline: when its chain comes up the owner looks the entry up and reaps it or files it again.
//! The entry keeps the [`Mark`] of the chain that holds its record, so a record left behind by a deletion or a nearer
//! deadline is known for what it is and dropped; a *sweep* finds such records early and bounds their number. Chains are
//! made of 64-byte chunks from one pool: 4.6 bytes a record.

use crate::memory::vec_bytes;
use smallvec::SmallVec;

const RING: usize = 64;
const RINGS: usize = 4;
const OVERFLOW: usize = 3 * RING;
const CHAINS: usize = OVERFLOW + 2;
const CHUNK_TAGS: usize = 14;
const NIL: u32 = u32::MAX;
/// Seconds the third ring reaches: about three days. Later deadlines wait in the overflow chains.
const HORIZON_S: u64 = (RING * RING * RING) as u64;
/// Left-behind records that start no sweep: 4.6 KiB.
const SWEEP_SLACK: usize = 1024;

/// Names a chain, and whether a record in it was filed before or after the latest sweep of it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark(u16);

impl Mark {
    /// Bits a mark fits in; 0 is none.
    pub const BITS: u32 = 9;

    fn new(chain: usize, color: bool) -> Self {
        Self(2 * chain as u16 + u16::from(color) + 1)
    }
    pub fn bits(mark: Option<Self>) -> usize {
        mark.map_or(0, |mark| usize::from(mark.0))
    }
    pub fn from_bits(bits: usize) -> Option<Self> {
        (bits != 0).then_some(Self(bits as u16))
    }
}

const _: () = assert!(2 * CHAINS < 1 << Mark::BITS);

/// A record taken from the wheel: it stands for the entries of this tag that bear this mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Filing {
    pub tag: u32,
    pub mark: Mark,
}

struct Chunk {
    tags: [u32; CHUNK_TAGS],
    len: u32,
    next: u32,
}

/// The wheel of one table.
pub(crate) struct Wheel {
    /// The second whose chains were taken last, or are being taken.
    now_s: u64,
    /// Whether chains of `now_s` may still hold records. Nothing is ever filed into a chain that is being taken.
    entering: bool,
    heads: [u32; CHAINS],
    /// One bit a chain, flipped when a sweep takes the chain aside.
    colors: [u64; CHAINS.div_ceil(64)],
    /// Records by ring, the overflow being the fourth.
    held: [usize; RINGS],
    /// The chain taken aside by the sweep: what is left of it, and the mark its records bear.
    aside: u32,
    aside_chain: usize,
    /// Where the sweep looks for its next chain.
    sweep_at: usize,
    chunks: Vec<Chunk>,
    free: u32,
}

impl Wheel {
    pub fn new(now_s: u64) -> Box<Self> {
        Box::new(Self {
            now_s,
            entering: false,
            heads: [NIL; CHAINS],
            colors: [0; CHAINS.div_ceil(64)],
            held: [0; RINGS],
            aside: NIL,
            aside_chain: 0,
            sweep_at: 0,
            chunks: Vec::new(),
            free: NIL,
        })
    }

    /// Bytes this wheel takes.
    pub fn memory(&self) -> u64 {
        crate::memory::good_size(size_of::<Self>()) as u64 + vec_bytes::<Chunk>(self.chunks.capacity())
    }

    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }

    fn records(&self) -> usize {
        self.held.iter().sum()
    }

    /// The mark that records filed into a chain bear now.
    fn mark(&self, chain: usize) -> Mark {
        Mark::new(chain, self.colors[chain / 64] >> (chain % 64) & 1 == 1)
    }

    /// The mark of the records taken aside.
    fn aside_mark(&self) -> Mark {
        let chain = self.aside_chain;
        Mark::new(chain, self.colors[chain / 64] >> (chain % 64) & 1 == 0)
    }

    /// The chain for something due in second `due_s`; due seconds not after `now_s` take the next chain.
    fn chain(&self, due_s: u64) -> usize {
        let due_s = due_s.max(self.now_s + 1);
        let ahead = due_s - self.now_s;
        match ahead {
            0..=63 => due_s as usize % RING,
            64..4096 => RING + (due_s >> 6) as usize % RING,
            4096..HORIZON_S => 2 * RING + (due_s >> 12) as usize % RING,
            _ => OVERFLOW + (self.now_s / HORIZON_S + 1) as usize % 2,
        }
    }

    /// Files `tag` to come up once second `due_s` has passed, or earlier. The entry must bear the mark from now on.
    pub fn file(&mut self, tag: u32, due_s: u64) -> Mark {
        let chain = self.chain(due_s);
        let head = self.heads[chain];
        if head != NIL && (self.chunks[head as usize].len as usize) < CHUNK_TAGS {
            let chunk = &mut self.chunks[head as usize];
            chunk.tags[chunk.len as usize] = tag;
            chunk.len += 1;
        } else {
            self.heads[chain] = self.chunk(tag, head);
        }
        self.held[chain / RING] += 1;
        self.mark(chain)
    }

    fn chunk(&mut self, tag: u32, next: u32) -> u32 {
        let mut chunk = Chunk { tags: [0; CHUNK_TAGS], len: 1, next };
        chunk.tags[0] = tag;
        if self.free != NIL {
            let at = self.free;
            self.free = self.chunks[at as usize].next;
            self.chunks[at as usize] = chunk;
            return at;
        }
        if self.chunks.len() == self.chunks.capacity() {
            // A quarter more at a time: the pool's slack stays below a fifth of it.
            self.chunks.reserve_exact(8 + self.chunks.len() / 4);
        }
        self.chunks.push(chunk);
        (self.chunks.len() - 1) as u32
    }

    /// Moves at most `limit` records whose time has come at `now_s` into `due`, a chunk more at most. Returns whether
    /// the wheel has caught up with `now_s`; if not, call again. Seconds without records cost nothing.
    pub fn advance(&mut self, now_s: u64, limit: usize, due: &mut Vec<Filing>) -> bool {
        loop {
            if !self.entering {
                let Some(second) = self.next_second().filter(|second| *second <= now_s) else {
                    self.now_s = self.now_s.max(now_s);
                    return true;
                };
                self.now_s = second;
                self.entering = true;
            }
            // Coarser chains come up when their span begins; the caller files their records again, finer.
            let second = self.now_s;
            for ring in 0..RINGS {
                let span = RING.pow(ring as u32) as u64;
                let ring_chains = if ring < 3 { RING } else { CHAINS - OVERFLOW };
                let chain = ring * RING + (second / span) as usize % ring_chains;
                if second.is_multiple_of(span) && !self.drain(chain, limit, due) {
                    return false;
                }
            }
            self.entering = false;
        }
    }

    /// The first second after `now_s` in which a chain comes up that may hold records.
    fn next_second(&self) -> Option<u64> {
        let ring = self.held.iter().position(|held| *held > 0)?;
        let span = RING.pow(ring as u32) as u64;
        Some((self.now_s / span + 1) * span)
    }

    /// Empties a chain into `due` until that holds `limit` records; true when the chain is empty.
    fn drain(&mut self, chain: usize, limit: usize, due: &mut Vec<Filing>) -> bool {
        while self.aside_chain == chain && self.aside != NIL {
            if due.len() >= limit {
                return false;
            }
            let mark = self.aside_mark();
            self.aside = self.pop(self.aside, chain, |tag| due.push(Filing { tag, mark }));
        }
        while self.heads[chain] != NIL {
            if due.len() >= limit {
                return false;
            }
            let mark = self.mark(chain);
            self.heads[chain] = self.pop(self.heads[chain], chain, |tag| due.push(Filing { tag, mark }));
        }
        true
    }

    /// Takes the records of one chunk of a chain and frees the chunk; gives the chunk after it.
    fn pop(&mut self, at: u32, chain: usize, mut take: impl FnMut(u32)) -> u32 {
        let chunk = &mut self.chunks[at as usize];
        chunk.tags[..chunk.len as usize].iter().for_each(|tag| take(*tag));
        self.held[chain / RING] -= chunk.len as usize;
        let next = core::mem::replace(&mut chunk.next, self.free);
        self.free = at;
        next
    }

    /// A step of the sweep, to be called after each filing: where far more records than `live` entries are filed, takes
    /// some out for the caller to file again or to drop.
    ///
    /// It starts when more than half of the records (and [`SWEEP_SLACK`]) must be left-behind ones, and looks at up to
    /// 14 for one filed, so it is through all of them before they grow by a tenth.
    pub fn sweep(&mut self, live: usize) -> SmallVec<[Filing; CHUNK_TAGS]> {
        let mut taken = SmallVec::new();
        if self.aside == NIL {
            if self.records() <= 2 * live + SWEEP_SLACK {
                return taken;
            }
            let chain = (0..CHAINS).map(|step| (self.sweep_at + step) % CHAINS).find(|chain| self.heads[*chain] != NIL);
            let chain = chain.expect("records are filed and none is aside");
            self.sweep_at = (chain + 1) % CHAINS;
            self.aside = core::mem::replace(&mut self.heads[chain], NIL);
            self.aside_chain = chain;
            self.colors[chain / 64] ^= 1 << (chain % 64);
        }
        let mark = self.aside_mark();
        self.aside = self.pop(self.aside, self.aside_chain, |tag| taken.push(Filing { tag, mark }));
        taken
    }

    /// Takes some records of the chain that comes up next, for the caller to file again or to drop.
    pub fn take_soonest(&mut self) -> SmallVec<[Filing; CHUNK_TAGS]> {
        let mut taken = SmallVec::new();
        let Some(ring) = self.held.iter().position(|held| *held > 0) else {
            return taken;
        };
        let ring_chains = if ring < 3 { RING } else { CHAINS - OVERFLOW };
        let span_now = (self.now_s / RING.pow(ring as u32) as u64) as usize;
        // The chain of this very span came up when the span began: what is in it now comes up last.
        let mut soonest_first = (1..=ring_chains).map(|ahead| ring * RING + (span_now + ahead) % ring_chains);
        if let Some(chain) = soonest_first.find(|chain| self.heads[*chain] != NIL) {
            let mark = self.mark(chain);
            self.heads[chain] = self.pop(self.heads[chain], chain, |tag| taken.push(Filing { tag, mark }));
        } else {
            let mark = self.aside_mark();
            self.aside = self.pop(self.aside, self.aside_chain, |tag| taken.push(Filing { tag, mark }));
        }
        taken
    }

    /// The tags of some chunk, filed or left behind.
    pub fn chunk_tags(&self, random: u64) -> &[u32] {
        match self.chunks.len() as u64 {
            0 => &[],
            len => {
                let chunk = &self.chunks[(random % len) as usize];
                &chunk.tags[..chunk.len as usize]
            }
        }
    }

    /// Every filed record, for `invariants`.
    pub fn filed(&self) -> Vec<Filing> {
        let mut filed = Vec::new();
        let chains = (0..CHAINS).map(|chain| (self.heads[chain], self.mark(chain)));
        for (mut at, mark) in chains.chain([(self.aside, self.aside_mark())]) {
            while at != NIL {
                let chunk = &self.chunks[at as usize];
                filed.extend(chunk.tags[..chunk.len as usize].iter().map(|tag| Filing { tag: *tag, mark }));
                at = chunk.next;
            }
        }
        assert_eq!(filed.len(), self.records(), "count of records");
        filed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes up early is filed again, as the owner does; everything comes up in its second, not before.
    #[test]
    fn every_record_comes_up_at_its_second() {
        let start = 1_000_003;
        let mut wheel = Wheel::new(start);
        let dues: Vec<u64> = [1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8191, 262_143, 262_144, 600_000, 1_000_000]
            .iter()
            .map(|ahead| start + ahead)
            .collect();
        for (tag, due) in dues.iter().enumerate() {
            wheel.file(tag as u32, *due);
        }
        let mut seen = vec![0; dues.len()];
        for now in start..=start + 1_000_001 {
            loop {
                let mut due = Vec::new();
                let caught_up = wheel.advance(now, 4, &mut due);
                for Filing { tag, .. } in due {
                    let second = dues[tag as usize];
                    if second <= now {
                        seen[tag as usize] = now;
                    } else {
                        wheel.file(tag, second);
                    }
                }
                if caught_up {
                    break;
                }
            }
        }
        assert_eq!(seen, dues);
        assert_eq!(wheel.records(), 0);
    }

    /// A clock that jumps by decades costs the records that are due, not the seconds that passed.
    #[test]
    fn a_jump_of_the_clock_is_cheap() {
        let mut wheel = Wheel::new(0);
        wheel.file(1, 100);
        wheel.file(2, 40_000_000_000);
        let (mut due, mut calls) = (Vec::new(), 0);
        while !wheel.advance(30_000_000_000, 64, &mut due) {
            calls += 1;
        }
        assert_eq!(calls, 0);
        assert_eq!(due.iter().map(|record| record.tag).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(wheel.records(), 0);
    }

    /// Records of the chain taken aside come up in time although the sweep has not got to them.
    #[test]
    fn a_chain_taken_aside_comes_up_with_its_second() {
        let mut wheel = Wheel::new(0);
        for tag in 0..SWEEP_SLACK as u32 + 1 {
            wheel.file(tag, 50);
        }
        let swept = wheel.sweep(0).len();
        wheel.file(7, 50);
        let mut due = Vec::new();
        assert!(wheel.advance(49, usize::MAX, &mut due) && due.is_empty());
        assert!(wheel.advance(50, usize::MAX, &mut due));
        assert_eq!(due.len() + swept, SWEEP_SLACK + 2);
        let marks: std::collections::HashSet<Mark> = due.iter().map(|record| record.mark).collect();
        assert_eq!(marks.len(), 2, "records from before and after the sweep began differ in their mark");
        assert!(wheel.sweep(0).is_empty());
    }

    /// Records left behind never pass twice the live entries, the slack and a tenth, wherever they were filed.
    #[test]
    fn the_sweep_bounds_what_is_left_behind() {
        const LIVE: usize = 2000;
        let mut wheel = Wheel::new(0);
        let mut marks: Vec<Option<Mark>> = vec![None; LIVE];
        let mut dues = vec![0; LIVE];
        for turn in 0..300_000u64 {
            let random = crate::time::draw(1, turn);
            let entry = random as usize % LIVE;
            dues[entry] = 1 + (random >> 32) % 1_000_000;
            marks[entry] = Some(wheel.file(entry as u32, dues[entry]));
            for Filing { tag, mark } in wheel.sweep(LIVE) {
                if marks[tag as usize] == Some(mark) {
                    marks[tag as usize] = Some(wheel.file(tag, dues[tag as usize]));
                }
            }
            assert!(wheel.records() <= (2 * LIVE + SWEEP_SLACK) * 11 / 10, "turn {turn}: {}", wheel.records());
        }
        let filed: std::collections::HashSet<Filing> = wheel.filed().into_iter().collect();
        for (tag, mark) in marks.into_iter().enumerate() {
            let lost = mark.is_some_and(|mark| !filed.contains(&Filing { tag: tag as u32, mark }));
            assert!(!lost, "every entry keeps the record it bears the mark of");
        }
    }
}
