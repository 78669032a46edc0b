//! A hierarchical timing wheel of 4-byte tags: which entries may be due, by second.
//!
//! Three rings of 64 slots (1 s, 64 s, about 1.1 h a slot) and two overflow lists, taken in turn every three days. A record is a tag, not a deadline: when
//! its slot comes up the owner looks the entry up and either reaps it or files it again, so a record may be early,
//! stale or double without harm. Slots are chains of 64-byte chunks from one pool: 4.6 bytes a record.

use crate::memory::vec_bytes;

const RING: usize = 64;
const OVERFLOW: usize = 3 * RING;
const SLOTS: usize = OVERFLOW + 2;
const CHUNK_TAGS: usize = 14;
const NIL: u32 = u32::MAX;
/// Seconds the third ring reaches: about three days. Later deadlines wait in the overflow list.
const HORIZON_S: u64 = (RING * RING * RING) as u64;

struct Chunk {
    tags: [u32; CHUNK_TAGS],
    len: u32,
    next: u32,
}

/// The wheel of one table.
pub(crate) struct Wheel {
    /// The second whose slots were taken last, or are being taken.
    now_s: u64,
    /// Whether slots of `now_s` may still hold tags. Nothing is ever filed into a slot that is being taken.
    entering: bool,
    heads: [u32; SLOTS],
    lens: [u32; SLOTS],
    chunks: Vec<Chunk>,
    free: u32,
    records: usize,
    /// Record count at which a slot may be thinned next; see [`Wheel::thin_slot`].
    thin_at: usize,
}

impl Wheel {
    pub fn new(now_s: u64) -> Box<Self> {
        Box::new(Self {
            now_s,
            entering: false,
            heads: [NIL; SLOTS],
            lens: [0; SLOTS],
            chunks: Vec::new(),
            free: NIL,
            records: 0,
            thin_at: 1024,
        })
    }

    /// Bytes this wheel takes.
    pub fn memory(&self) -> u64 {
        crate::memory::good_size(size_of::<Self>()) as u64
            + vec_bytes::<Chunk>(self.chunks.capacity())
    }

    pub fn records(&self) -> usize {
        self.records
    }

    /// The slot for something due in second `due_s`; due seconds not after `now_s` take the next slot.
    fn slot(&self, due_s: u64) -> usize {
        let due_s = due_s.max(self.now_s + 1);
        let ahead = due_s - self.now_s;
        match ahead {
            0..=63 => due_s as usize % RING,
            64..4096 => RING + (due_s >> 6) as usize % RING,
            4096..HORIZON_S => 2 * RING + (due_s >> 12) as usize % RING,
            _ => OVERFLOW + (self.now_s / HORIZON_S + 1) as usize % 2,
        }
    }

    /// Files `tag` to come up once second `due_s` has passed, or earlier.
    pub fn file(&mut self, tag: u32, due_s: u64) {
        let slot = self.slot(due_s);
        let head = self.heads[slot];
        if head != NIL && (self.chunks[head as usize].len as usize) < CHUNK_TAGS {
            let chunk = &mut self.chunks[head as usize];
            chunk.tags[chunk.len as usize] = tag;
            chunk.len += 1;
        } else {
            self.heads[slot] = self.chunk(tag, head);
        }
        self.lens[slot] += 1;
        self.records += 1;
    }

    fn chunk(&mut self, tag: u32, next: u32) -> u32 {
        let mut chunk = Chunk {
            tags: [0; CHUNK_TAGS],
            len: 1,
            next,
        };
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

    /// Moves at most `limit` tags whose time has come at `now_s` into `due`. Returns whether the wheel has caught up
    /// with `now_s`; if not, call again.
    pub fn advance(&mut self, now_s: u64, limit: usize, due: &mut Vec<u32>) -> bool {
        if self.records == 0 {
            self.now_s = self.now_s.max(now_s);
            self.entering = false;
            return true;
        }
        while self.entering || self.now_s < now_s {
            if !self.entering {
                self.now_s += 1;
                self.entering = true;
            }
            // Coarser slots come up when their span begins; the caller files their tags again, finer.
            let second = self.now_s;
            let coarse = [
                (1, second as usize % RING),
                (RING, RING + (second >> 6) as usize % RING),
                (RING * RING, 2 * RING + (second >> 12) as usize % RING),
                (
                    RING * RING * RING,
                    OVERFLOW + (second / HORIZON_S) as usize % 2,
                ),
            ];
            for (span, slot) in coarse {
                if second.is_multiple_of(span as u64) && !self.drain(slot, limit, due) {
                    return false;
                }
            }
            self.entering = false;
        }
        true
    }

    /// Empties a slot into `due` until that holds `limit` tags; true when the slot is empty.
    fn drain(&mut self, slot: usize, limit: usize, due: &mut Vec<u32>) -> bool {
        while self.heads[slot] != NIL {
            if due.len() >= limit {
                return false;
            }
            let at = self.heads[slot] as usize;
            let chunk = &mut self.chunks[at];
            due.extend_from_slice(&chunk.tags[..chunk.len as usize]);
            self.records -= chunk.len as usize;
            self.lens[slot] -= chunk.len;
            self.heads[slot] = chunk.next;
            chunk.next = self.free;
            self.free = at as u32;
        }
        true
    }

    /// If far more records than `live` entries are filed, takes out the slot that `due_s` falls into, without doubles,
    /// for the caller to check and file again (with [`Wheel::thinned`] after that).
    ///
    /// Keys deleted and written again leave records behind; this bounds them: a slot is thinned only once the total
    /// has passed twice the live entries and, where thinning did not help, has grown by a quarter since.
    pub fn thin_slot(&mut self, due_s: u64, live: usize) -> Option<Vec<u32>> {
        let slot = self.slot(due_s);
        if self.records <= (2 * live + 1024).max(self.thin_at) || self.lens[slot] < 64 {
            return None;
        }
        let mut tags = Vec::new();
        self.drain(slot, usize::MAX, &mut tags);
        tags.sort_unstable();
        tags.dedup();
        Some(tags)
    }

    /// Ends a thinning that found `before` records in the wheel.
    pub fn thinned(&mut self, before: usize) {
        self.thin_at = if self.records * 8 <= before * 7 {
            1024
        } else {
            before + before / 4
        };
    }

    /// Every filed tag, for `invariants`.
    #[cfg(any(test, debug_assertions))]
    pub fn tags(&self) -> Vec<u32> {
        let mut tags = Vec::new();
        for head in self.heads {
            let mut at = head;
            while at != NIL {
                let chunk = &self.chunks[at as usize];
                tags.extend_from_slice(&chunk.tags[..chunk.len as usize]);
                at = chunk.next;
            }
        }
        assert_eq!(tags.len(), self.records);
        assert_eq!(self.lens.iter().sum::<u32>() as usize, self.records);
        tags
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
        let dues: Vec<u64> = [
            1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8191, 262_143, 262_144, 600_000,
            1_000_000,
        ]
        .iter()
        .map(|ahead| start + ahead)
        .collect();
        for (tag, due) in dues.iter().enumerate() {
            wheel.file(tag as u32, *due);
        }
        let mut seen = vec![0; dues.len()];
        for now in start..=start + 1_000_001 {
            let mut due = Vec::new();
            while !wheel.advance(now, 4, &mut due) {
                for tag in core::mem::take(&mut due) {
                    settle(&mut wheel, tag, now, &dues, &mut seen);
                }
            }
            for tag in due {
                settle(&mut wheel, tag, now, &dues, &mut seen);
            }
        }
        assert_eq!(seen, dues);
        assert_eq!(wheel.records(), 0);
    }

    fn settle(wheel: &mut Wheel, tag: u32, now: u64, dues: &[u64], seen: &mut [u64]) {
        let due = dues[tag as usize];
        if due <= now {
            seen[tag as usize] = now
        } else {
            wheel.file(tag, due)
        }
    }

    #[test]
    fn thinning_drops_doubles() {
        let mut wheel = Wheel::new(0);
        for _ in 0..3000 {
            wheel.file(7, 50);
        }
        assert!(wheel.thin_slot(50, 5000).is_none());
        assert_eq!(wheel.thin_slot(50, 1).expect("crowded"), [7]);
        assert_eq!(wheel.records(), 0);
    }
}
