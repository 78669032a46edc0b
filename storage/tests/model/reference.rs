//! The naive store: a map per database, whose entries vanish the moment their deadline passes.

use crate::operations::{BULK, Group, KEYS, PATTERNS, PREFIXES};
use std::collections::{BTreeMap, BTreeSet};

/// A key of that number: lengths 0 and 1, around the one-byte length field, and ordinary ones.
pub fn key(number: u16) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        1 => vec![b'x'],
        2..=5 => vec![number as u8; 252 + usize::from(number)],
        6 => vec![6; 70_000],
        _ => format!("key:{number:05}").into_bytes(),
    }
}

/// A field of a hash.
pub fn field(number: u16) -> Vec<u8> {
    format!("f{number}").into_bytes()
}

/// Numbers of all keys in play.
pub fn key_numbers() -> impl Iterator<Item = u16> {
    (0..KEYS).chain(BULK..BULK + 1000)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Val {
    Bytes(Vec<u8>),
    Int(i64),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

impl Val {
    /// The string; `None` of a hash.
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Int(n) => Some(n.to_string().into_bytes()),
            Self::Hash(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub val: Val,
    pub deadline: Option<u64>,
    pub no_evict: bool,
    pub tags: BTreeSet<u8>,
}

/// A watch as it should behave.
#[derive(Clone, Debug)]
pub struct Watched {
    pub db: u8,
    pub key: u16,
    pub dirty: bool,
    pub was_live: bool,
    /// A swap met the key where a dead entry may have lain unreclaimed: the store may report a change or not.
    pub unsure: bool,
}

#[derive(Default)]
pub struct Reference {
    pub now: u64,
    pub dbs: [BTreeMap<u16, Entry>; crate::operations::DBS as usize],
    pub watches: Vec<Watched>,
    /// Keys that ever expired or were revoked, in any database.
    pub expired: BTreeSet<u16>,
    /// The running walk.
    pub scan: Option<Scan>,
}

/// A walk and what it must and must not return.
pub struct Scan {
    pub db: u8,
    pub cursor: u64,
    /// Present since the walk began.
    pub stable: BTreeSet<u16>,
    pub seen: BTreeSet<u16>,
}

impl Reference {
    pub fn live(&self, (db, key): (u8, u16)) -> Option<&Entry> {
        self.dbs[usize::from(db)].get(&key)
    }

    fn touched(&mut self, (db, key): (u8, u16)) {
        for watch in &mut self.watches {
            watch.dirty |= watch.db == db && watch.key == key;
        }
    }

    fn gone(&mut self, (db, key): (u8, u16)) {
        if let Some(scan) = &mut self.scan
            && scan.db == db
        {
            scan.stable.remove(&key);
        }
    }

    /// What a put with this deadline leaves: the deadline may have passed.
    pub fn put(&mut self, name: (u8, u16), val: Val, deadline: Option<u64>) {
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            self.remove(name);
            return;
        }
        let no_evict = self.live(name).is_some_and(|entry| entry.no_evict);
        self.dbs[usize::from(name.0)].insert(name.1, Entry { val, deadline, no_evict, tags: BTreeSet::new() });
        self.touched(name);
    }

    pub fn edit(&mut self, name: (u8, u16), edit: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.dbs[usize::from(name.0)].get_mut(&name.1) {
            edit(entry);
            self.touched(name);
        }
    }

    pub fn set_no_evict(&mut self, name: (u8, u16), on: bool) {
        if let Some(entry) = self.dbs[usize::from(name.0)].get_mut(&name.1) {
            entry.no_evict = on;
        }
    }

    pub fn remove(&mut self, name: (u8, u16)) -> Option<Entry> {
        let entry = self.dbs[usize::from(name.0)].remove(&name.1)?;
        self.gone(name);
        self.touched(name);
        Some(entry)
    }

    /// Removes what a group names at once. The store may keep such entries for a while, as it does expired ones.
    pub fn revoke(&mut self, db: u8, group: &Group) {
        let names = |number: u16, entry: &Entry| match group {
            Group::Prefix(at) => key(number).starts_with(PREFIXES[*at]),
            Group::Match(at) => storage::glob::matches(PATTERNS[*at], &key(number), false),
            Group::Tag(tag) => entry.tags.contains(tag),
            Group::Tags(tags) => tags.iter().all(|tag| entry.tags.contains(tag)),
        };
        let entries = self.dbs[usize::from(db)].iter();
        let revoked: Vec<u16> =
            entries.filter(|(number, entry)| names(**number, entry)).map(|(number, _)| *number).collect();
        for key in revoked {
            self.expired.insert(key);
            self.remove((db, key));
        }
    }

    pub fn advance(&mut self, ms: u64) {
        self.now += ms;
        for db in 0..self.dbs.len() {
            let now = self.now;
            let due = self.dbs[db].extract_if(.., |_, entry| entry.deadline.is_some_and(|deadline| deadline <= now));
            let due: Vec<u16> = due.map(|(key, _)| key).collect();
            for key in due {
                self.expired.insert(key);
                self.gone((db as u8, key));
            }
        }
    }

    pub fn flush(&mut self, db: u8) {
        for key in self.dbs[usize::from(db)].keys().copied().collect::<Vec<_>>() {
            self.remove((db, key));
        }
    }

    pub fn swap(&mut self, a: u8, b: u8) {
        if a == b {
            return;
        }
        for at in 0..self.watches.len() {
            let Watched { db, key, .. } = self.watches[at];
            if db != a && db != b {
                continue;
            }
            let exists = self.live((a, key)).is_some() || self.live((b, key)).is_some();
            self.watches[at].dirty |= exists;
            self.watches[at].unsure |= !exists && self.expired.contains(&key);
        }
        self.dbs.swap(usize::from(a), usize::from(b));
        if self.scan.as_ref().is_some_and(|scan| scan.db == a || scan.db == b) {
            self.scan = None;
        }
    }

    pub fn watch(&mut self, (db, key): (u8, u16)) {
        let was_live = self.live((db, key)).is_some();
        self.watches.push(Watched { db, key, dirty: false, was_live, unsure: false });
    }

    /// Whether a watch must report a change.
    pub fn is_changed(&self, nth: usize) -> bool {
        let watch = &self.watches[nth];
        watch.dirty || watch.was_live && self.live((watch.db, watch.key)).is_none()
    }
}
