//! The records of the revoke log: what was revoked by each selector, and which of them match an entry.

use super::{Found, Mode, RECORD_BYTES, Refused, SOFT_BYTES, Selector, Soft, Softs};
use crate::glob;
use crate::limits::{
    MAX_MATCHED_KEY_BYTES, MAX_REVOKED_GLOB_BYTES, MAX_REVOKED_GLOBS, MAX_REVOKED_LENGTHS, MAX_REVOKED_PREFIXES,
    MAX_REVOKED_SETS, MAX_REVOKED_TAGS,
};
use core::hash::{BuildHasherDefault, Hasher};
use smallvec::SmallVec;
use std::collections::HashMap;

/// By tag. Tags are hashes under a secret key already, and are looked up by every reader of a tagged entry.
type ByTag = HashMap<u64, Marks, BuildHasherDefault<Itself>>;

/// A tag is its own hash.
#[derive(Default)]
pub(super) struct Itself(u64);

impl Hasher for Itself {
    fn write_u64(&mut self, tag: u64) {
        self.0 = tag;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only tags are hashed so");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The revokes of one selector.
#[derive(Default)]
pub(super) struct Marks {
    /// Epochs of the last hard one and the one before it, 0 = none.
    pub hard: [u64; 2],
    /// Soft ones later than the last hard one; most selectors have none.
    soft: Option<Box<Softs>>,
}

impl Marks {
    fn latest(&self) -> u64 {
        self.hard[0].max(self.soft.as_ref().map_or(0, |soft| soft.latest()))
    }

    fn add(&mut self, epoch: u64, mode: Mode) {
        match mode {
            Mode::Hard => {
                self.hard = [epoch, self.hard[0]];
                // What they made stale is dead.
                self.soft = None;
            }
            Mode::Soft { at, stale_for } => self.soft.get_or_insert_default().push(Soft::new(epoch, at, stale_for)),
        }
    }

    /// Adds to `found` what of this is later than `since`.
    pub fn judge(&self, since: u64, found: &mut Found) {
        if self.latest() <= since {
            return;
        }
        found.latest = found.latest.max(self.latest());
        found.is_hard |= self.hard[0] > since;
        if let Some(soft) = &self.soft {
            found.soft.add(soft, since);
        }
    }

    /// Soft ones that are kept.
    fn softs(&self) -> usize {
        self.soft.as_ref().map_or(0, |soft| soft.len())
    }
}

/// Records of one database.
#[derive(Default)]
pub(super) struct Records {
    /// By length, shortest first.
    prefixes: Vec<Prefixes>,
    globs: Vec<(Glob, Marks)>,
    tags: ByTag,
    sets: Vec<(SmallVec<[u64; 4]>, Marks)>,
    /// Soft revokes kept for all of them.
    softs: usize,
}

/// Prefixes of one length.
pub(super) struct Prefixes {
    length: usize,
    /// The latest epoch among them.
    latest: u64,
    marks: HashMap<Box<[u8]>, Marks>,
}

pub(super) struct Glob {
    pub pattern: Box<[u8]>,
    /// Every match begins with these bytes,
    first: Box<[u8]>,
    /// and ends with these: most keys are told apart without the matcher.
    last: Box<[u8]>,
    has_star: bool,
    /// Up to eight bytes of each, and which bits of the word they are: one look for a key that matches neither.
    first_word: [u64; 2],
    last_word: [u64; 2],
}

/// The ends of a key as words.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    first: u64,
    last: u64,
}

impl Ends {
    pub fn of(key: &[u8]) -> Self {
        let length = key.len().min(8);
        let (mut first, mut last) = ([0; 8], [0; 8]);
        first[..length].copy_from_slice(&key[..length]);
        last[8 - length..].copy_from_slice(&key[key.len() - length..]);
        Self { first: u64::from_le_bytes(first), last: u64::from_le_bytes(last) }
    }
}

/// The lowest so many bytes of a word, at most all eight.
fn low_bytes(count: usize) -> u64 {
    if count == 0 { 0 } else { u64::MAX >> (64 - 8 * count.min(8)) }
}

impl Glob {
    pub fn new(pattern: &[u8]) -> Self {
        let is_plain = !pattern.iter().any(|byte| matches!(byte, b'[' | b'\\'));
        let star = pattern.iter().rposition(|byte| *byte == b'*');
        // What follows the last star, where nothing is a class or escaped.
        let tail = star.filter(|_| is_plain).map_or(&[][..], |star| &pattern[star + 1..]);
        let last = if tail.contains(&b'?') { &[] } else { tail };
        let first: Box<[u8]> = glob::prefix(pattern).bytes.into();
        let first_word = [Ends::of(&first).first, low_bytes(first.len())];
        let last_word = [Ends::of(last).last, low_bytes(last.len()).reverse_bits()];
        let has_star = star.is_some();
        Self { pattern: pattern.into(), first, last: last.into(), has_star, first_word, last_word }
    }

    #[cfg(test)]
    pub fn ends(&self) -> (&[u8], &[u8]) {
        (&self.first, &self.last)
    }

    /// A key so long that the product of both lengths is much is taken to match if both its ends do: it may be revoked
    /// without need, and never kept.
    pub fn matches(&self, key: &[u8], ends: Ends) -> bool {
        let differs = |[word, mask]: [u64; 2], of_key: u64| (word ^ of_key) & mask != 0;
        if differs(self.first_word, ends.first) || differs(self.last_word, ends.last) {
            return false;
        }
        let is_long = self.has_star && key.len() > MAX_MATCHED_KEY_BYTES;
        key.starts_with(&self.first)
            && key.ends_with(&self.last)
            && (is_long || glob::matches(&self.pattern, key, false))
    }
}

/// Records taken out of the log, to be freed with nothing locked.
pub(super) type Dropped = (Vec<HashMap<Box<[u8]>, Marks>>, Vec<(Glob, Marks)>, ByTag);

impl Records {
    pub fn len(&self) -> usize {
        self.prefix_count() + self.globs.len() + self.tags.len() + self.sets.len()
    }

    fn prefix_count(&self) -> usize {
        self.prefixes.iter().map(|prefixes| prefixes.marks.len()).sum()
    }

    /// Bytes of all of them, as [`Selector::bytes`] counts them.
    pub fn bytes(&self) -> usize {
        let prefixes = self.prefixes.iter().map(|prefixes| prefixes.marks.len() * prefixes.length);
        let globs = self.globs.iter().map(|(glob, _)| 2 * glob.pattern.len());
        let sets = self.sets.iter().map(|(set, _)| size_of_val(&set[..]));
        self.len() * RECORD_BYTES + self.softs * SOFT_BYTES + prefixes.chain(globs).chain(sets).sum::<usize>()
    }

    /// Whether all these may be added; each that is not known counts as one more.
    pub fn has_room(&self, selectors: &[Selector<'_>]) -> Result<(), Refused> {
        let (mut prefixes, mut lengths) = (self.prefix_count(), self.lengths().filter(|length| *length > 0).count());
        let (mut globs, mut tags, mut sets) = (self.globs.len(), self.tags.len(), self.sets.len());
        let mut glob_bytes: usize = self.globs.iter().map(|(glob, _)| glob.pattern.len()).sum();
        let mut new_lengths: SmallVec<[usize; 32]> = SmallVec::new();
        for selector in selectors {
            match selector {
                Selector::Prefix(prefix) => {
                    let same = self.of_length(prefix.len());
                    // The empty one, all keys, has its place.
                    if same.is_none() && !prefix.is_empty() && !new_lengths.contains(&prefix.len()) {
                        new_lengths.push(prefix.len());
                    }
                    prefixes += usize::from(same.is_none_or(|same| !same.marks.contains_key(*prefix)));
                }
                Selector::Match(pattern) if self.glob(pattern).is_some() => {}
                Selector::Match(pattern) => (globs, glob_bytes) = (globs + 1, glob_bytes + pattern.len()),
                Selector::Tag(tag) => tags += usize::from(!self.tags.contains_key(tag)),
                Selector::Tags(set) => sets += usize::from(self.set(set).is_none()),
            }
        }
        lengths += new_lengths.len();
        let fits = prefixes <= MAX_REVOKED_PREFIXES + 1
            && lengths <= MAX_REVOKED_LENGTHS
            && globs <= MAX_REVOKED_GLOBS
            && glob_bytes <= MAX_REVOKED_GLOB_BYTES
            && tags <= MAX_REVOKED_TAGS
            && sets <= MAX_REVOKED_SETS;
        if fits { Ok(()) } else { Err(Refused::Busy) }
    }

    fn of_length(&self, length: usize) -> Option<&Prefixes> {
        self.prefixes.iter().find(|prefixes| prefixes.length == length)
    }

    fn glob(&self, pattern: &[u8]) -> Option<usize> {
        self.globs.iter().position(|(glob, _)| *glob.pattern == *pattern)
    }

    fn set(&self, tags: &[u64]) -> Option<usize> {
        self.sets.iter().position(|(known, _)| **known == *tags)
    }

    /// Adds a record or renews one; whether there is one more now.
    pub fn add(&mut self, selector: Selector<'_>, epoch: u64, mode: Mode) -> bool {
        let before = self.len();
        let marks = match selector {
            Selector::Prefix(prefix) => {
                let at = self.prefixes.binary_search_by_key(&prefix.len(), |prefixes| prefixes.length);
                let at = at.unwrap_or_else(|at| {
                    self.prefixes.insert(at, Prefixes { length: prefix.len(), latest: 0, marks: HashMap::new() });
                    at
                });
                self.prefixes[at].latest = epoch;
                self.prefixes[at].marks.entry(prefix.into()).or_default()
            }
            Selector::Match(pattern) => {
                let at = self.glob(pattern).unwrap_or_else(|| {
                    self.globs.push((Glob::new(pattern), Marks::default()));
                    self.globs.len() - 1
                });
                &mut self.globs[at].1
            }
            Selector::Tag(tag) => self.tags.entry(tag).or_default(),
            Selector::Tags(tags) => {
                let at = self.set(tags).unwrap_or_else(|| {
                    self.sets.push((tags.into(), Marks::default()));
                    self.sets.len() - 1
                });
                &mut self.sets[at].1
            }
        };
        let softs = marks.softs();
        marks.add(epoch, mode);
        let added = marks.softs();
        self.softs = self.softs + added - softs;
        self.len() > before
    }

    /// Soft revokes that are kept.
    pub fn softs(&self) -> usize {
        self.softs
    }

    /// Whether there is a record of this selector.
    pub fn has(&self, selector: &Selector<'_>) -> bool {
        match selector {
            Selector::Prefix(prefix) => {
                self.of_length(prefix.len()).is_some_and(|same| same.marks.contains_key(*prefix))
            }
            Selector::Match(pattern) => self.glob(pattern).is_some(),
            Selector::Tag(tag) => self.tags.contains_key(tag),
            Selector::Tags(tags) => self.set(tags).is_some(),
        }
    }

    /// Lengths of the prefixes, shortest first.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.prefixes.iter().map(|prefixes| prefixes.length)
    }

    /// Calls `each` with the marks of every selector that matches; those without any later than `since` may be left out.
    pub fn each_match(
        &self,
        key: &[u8],
        tags: impl Iterator<Item = u64> + Clone,
        since: u64,
        mut each: impl FnMut(&Marks),
    ) {
        let fitting = self.prefixes.iter().take_while(|prefixes| prefixes.length <= key.len());
        for prefixes in fitting.filter(|prefixes| prefixes.latest > since) {
            if let Some(marks) = prefixes.marks.get(&key[..prefixes.length]) {
                each(marks);
            }
        }
        let ends = Ends::of(key);
        for (glob, marks) in self.globs.iter().filter(|(_, marks)| marks.latest() > since) {
            if glob.matches(key, ends) {
                each(marks);
            }
        }
        tags.clone().filter_map(|tag| self.tags.get(&tag)).for_each(&mut each);
        for (set, marks) in self.sets.iter().filter(|(_, marks)| marks.latest() > since) {
            if set.iter().all(|wanted| tags.clone().any(|tag| tag == *wanted)) {
                each(marks);
            }
        }
    }

    fn all_marks(&self) -> impl Iterator<Item = &Marks> {
        let prefixes = self.prefixes.iter().flat_map(|prefixes| prefixes.marks.values());
        let globs = self.globs.iter().map(|(_, marks)| marks);
        let sets = self.sets.iter().map(|(_, marks)| marks);
        prefixes.chain(globs).chain(self.tags.values()).chain(sets)
    }

    /// Takes out the records up to an epoch.
    pub fn drop_until(&mut self, epoch: u64) -> Dropped {
        let is_past = |marks: &Marks| marks.latest() <= epoch;
        let mut prefixes = Vec::new();
        for of_length in &mut self.prefixes {
            prefixes.push(of_length.marks.extract_if(|_, marks| is_past(marks)).collect());
            of_length.marks.shrink_to_fit();
        }
        self.prefixes.retain(|of_length| !of_length.marks.is_empty());
        self.sets.retain(|(_, marks)| !is_past(marks));
        let globs = self.globs.extract_if(.., |(_, marks)| is_past(marks)).collect();
        let tags = self.tags.extract_if(|_, marks| is_past(marks)).collect();
        self.tags.shrink_to_fit();
        self.softs = self.all_marks().map(Marks::softs).sum();
        (prefixes, globs, tags)
    }
}
