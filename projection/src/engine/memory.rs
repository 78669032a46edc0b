//! What the engine remembers of keys beside their entries: which entry a record's key became, and versions of deleted keys.

use std::collections::{HashMap, VecDeque};
use storage::{Provenance, Rank};

/// Which entry each key of a topic's records became last: a tombstone has no value to tell.
#[derive(Debug, Default)]
pub struct Index {
    entries: HashMap<Box<[u8]>, Became>,
    bytes: usize,
}

#[derive(Debug)]
struct Became {
    entry: Box<[u8]>,
    from: Provenance,
}

/// What a record changes, by the index.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    /// A later record of its partition was read before: it says nothing.
    Older,
    /// The entry that its key was before is to go, if there was another one, and if it is still made of that record.
    From(Option<(Box<[u8]>, Provenance)>),
}

/// A record's key in the index: keys of several topics are several.
fn name(topic: usize, key: &[u8]) -> Box<[u8]> {
    [&(topic as u32).to_le_bytes(), key].concat().into()
}

impl Index {
    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_older(known: &Became, from: &Provenance) -> bool {
        (known.from.source, known.from.partition) == (from.source, from.partition) && from.offset < known.from.offset
    }

    /// A record's key is that entry now.
    pub fn becomes(&mut self, topic: usize, key: &[u8], entry: &[u8], from: Provenance) -> Moved {
        let name = name(topic, key);
        if let Some(known) = self.entries.get_mut(&name) {
            if Self::is_older(known, &from) {
                return Moved::Older;
            }
            let made_of = core::mem::replace(&mut known.from, from);
            if *known.entry == *entry {
                return Moved::From(None);
            }
            self.bytes = self.bytes - known.entry.len() + entry.len();
            return Moved::From(Some((core::mem::replace(&mut known.entry, entry.into()), made_of)));
        }
        self.bytes += cost(&name, entry);
        self.entries.insert(name, Became { entry: entry.into(), from });
        Moved::From(None)
    }

    /// A record's key has no entry any more; what it was before.
    pub fn ends(&mut self, topic: usize, key: &[u8], from: &Provenance) -> Moved {
        let name = name(topic, key);
        match self.entries.get(&name) {
            Some(known) if Self::is_older(known, from) => Moved::Older,
            Some(_) => {
                let known = self.entries.remove(&name).expect("just found");
                self.bytes -= cost(&name, &known.entry);
                Moved::From(Some((known.entry, known.from)))
            }
            None => Moved::From(None),
        }
    }

    /// The entry of a record's key.
    pub fn entry(&self, topic: usize, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(&name(topic, key)).map(|known| &*known.entry)
    }

    /// All was read anew: what did not come again is not in the topics any more.
    pub fn forget_others(&mut self, generation: u8) {
        let gone = self.entries.extract_if(|_, known| known.from.generation != generation);
        self.bytes -= gone.map(|(name, known)| cost(&name, &known.entry)).sum::<usize>();
    }

    /// Nothing is known.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn cost(name: &[u8], entry: &[u8]) -> usize {
    name.len() + entry.len() + size_of::<(Box<[u8]>, Became)>()
}

/// Most deleted keys whose versions are remembered; beyond, the oldest are forgotten.
const MAX_GRAVES: usize = 1 << 20;

/// Versions of deleted keys, for some time: a record of a lower version that comes late does not bring its key back.
#[derive(Debug, Default)]
pub struct Graves {
    /// Each with when it was dug last, ms of the engine's clock.
    ranks: HashMap<Box<[u8]>, (Rank, u64)>,
    /// In the order in which they were dug.
    order: VecDeque<(u64, Box<[u8]>)>,
    /// Of keys in that order, each of which is among the ranks too.
    bytes: usize,
}

impl Graves {
    /// A key was deleted by a record of that rank.
    pub fn dig(&mut self, key: &[u8], rank: Rank, now_ms: u64) {
        let known = self.ranks.entry(key.into()).or_insert((rank, now_ms));
        *known = (rank.max(known.0), now_ms);
        self.order.push_back((now_ms, key.into()));
        self.bytes += grave_cost(key);
        while self.order.len() > MAX_GRAVES {
            self.forget_first();
        }
    }

    /// Whether a record of that rank comes too late.
    pub fn bars(&self, key: &[u8], rank: Rank) -> bool {
        !self.ranks.is_empty() && self.ranks.get(key).is_some_and(|(known, _)| *known >= rank)
    }

    /// Forgets what was deleted longer ago than that.
    pub fn expire(&mut self, now_ms: u64, grace_ms: u64) {
        while self.order.front().is_some_and(|(then, _)| now_ms.saturating_sub(*then) > grace_ms) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((then, key)) = self.order.pop_front() else { return };
        self.bytes -= grave_cost(&key);
        if self.ranks.get(&key).is_some_and(|(_, last)| *last == then) {
            self.ranks.remove(&key);
        }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deleted keys that are remembered.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }
}

fn grave_cost(key: &[u8]) -> usize {
    2 * key.len() + size_of::<(Box<[u8]>, (Rank, u64))>() + size_of::<(u64, Box<[u8]>)>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(offset: u64) -> Provenance {
        Provenance { source: 1, offset, ..Provenance::default() }
    }

    #[test]
    fn the_index_follows_the_latest_record() {
        let mut index = Index::default();
        assert_eq!(index.becomes(0, b"k", b"a", from(0)), Moved::From(None));
        assert_eq!(index.becomes(0, b"k", b"b", from(3)), Moved::From(Some((b"a"[..].into(), from(0)))));
        // Read again, from the beginning.
        assert_eq!(index.becomes(0, b"k", b"a", from(0)), Moved::Older);
        assert_eq!(index.ends(0, b"k", &from(2)), Moved::Older);
        assert_eq!(index.becomes(0, b"k", b"b", from(3)), Moved::From(None));
        assert_eq!((index.entry(0, b"k"), index.entry(1, b"k")), (Some(&b"b"[..]), None));
        assert_eq!(index.ends(0, b"k", &from(4)), Moved::From(Some((b"b"[..].into(), from(3)))));
        assert_eq!(index.ends(0, b"k", &from(5)), Moved::From(None));
        assert_eq!(index.bytes(), 0);
    }

    #[test]
    fn graves_bar_lower_versions_for_a_time() {
        let mut graves = Graves::default();
        graves.dig(b"k", (5, 1, 0, 0), 100);
        graves.dig(b"k", (3, 1, 0, 1), 200);
        assert!(graves.bars(b"k", (5, 1, 0, 0)) && graves.bars(b"k", (4, 9, 9, 9)));
        assert!(!graves.bars(b"k", (5, 1, 0, 1)) && !graves.bars(b"other", (0, 0, 0, 0)));
        graves.expire(1150, 1000);
        assert!(graves.bars(b"k", (1, 0, 0, 0)), "it was deleted again since");
        graves.expire(1300, 1000);
        assert_eq!(graves.len(), 0);
    }
}
