//! Records that cannot be read: their classes, and the last of them.

use std::collections::VecDeque;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It has no key.
    NullKey,
    /// Its key is not what it should be.
    BadKey,
    /// Its value does not begin as its wire format says.
    BadMagic,
    /// No registry knows its schema.
    UnknownSchema,
    /// Its schema does not fit it.
    Decode,
    /// It is longer than allowed.
    TooLarge,
    /// It came damaged.
    Crc,
}

/// Number of classes.
pub const CLASSES: usize = 7;

impl Class {
    /// All of them.
    pub const ALL: [Self; CLASSES] =
        [Self::NullKey, Self::BadKey, Self::BadMagic, Self::UnknownSchema, Self::Decode, Self::TooLarge, Self::Crc];

    /// Its name in settings, replies and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NullKey => "null_key",
            Self::BadKey => "bad_key",
            Self::BadMagic => "bad_magic",
            Self::UnknownSchema => "unknown_schema",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Crc => "crc",
        }
    }
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Why.
    pub class: Class,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was met, ms since the epoch.
    pub at_ms: u64,
    /// What was wrong; never its contents.
    pub text: String,
}

/// Longest text of one of them.
const MAX_TEXT: usize = 256;

/// The last ones, and how many there were of each class.
#[derive(Debug, Default)]
pub struct Ring {
    last: VecDeque<Poison>,
    most: usize,
    counts: [u64; CLASSES],
}

impl Ring {
    /// One that keeps so many.
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Notes one.
    pub fn push(&mut self, mut poison: Poison) {
        self.counts[poison.class as usize] += 1;
        let mut end = poison.text.len().min(MAX_TEXT);
        while !poison.text.is_char_boundary(end) {
            end -= 1;
        }
        poison.text.truncate(end);
        if self.most == 0 {
            return;
        }
        if self.last.len() == self.most {
            self.last.pop_front();
        }
        self.last.push_back(poison);
    }

    /// The last ones, latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Poison> {
        self.last.iter().rev()
    }

    /// How many of a class there were.
    pub fn count(&self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    /// Forgets the records, not the counts.
    pub fn clear(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let mut ring = Ring::new(3);
        for offset in 0..10 {
            let text = "é".repeat(200);
            let (topic, at_ms) = ("t".to_owned(), 5);
            ring.push(Poison {
                class: Class::ALL[offset as usize % CLASSES],
                topic,
                partition: 0,
                offset,
                at_ms,
                text,
            });
        }
        assert_eq!(ring.latest().map(|poison| poison.offset).collect::<Vec<_>>(), [9, 8, 7]);
        assert!(ring.latest().all(|poison| poison.text.len() == MAX_TEXT));
        assert_eq!((ring.count(Class::NullKey), ring.count(Class::Crc)), (2, 1));
        ring.clear();
        assert_eq!((ring.latest().count(), ring.count(Class::NullKey)), (0, 2));
    }
}
