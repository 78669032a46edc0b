//! Drives the store and the reference through the same operations and compares all that can be seen.

use crate::layouts::{HONEST, layout};
use crate::operations::{BULK, DBS, Group, Name, Op, PATTERNS, PREFIXES};
use crate::reference::{Reference, Scan, Val, field, key, key_numbers};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use storage::{
    Access, Cx, Db, LiveRef, Millis, Mode, NewValue, Overflow, Policy, Position, Selector, Slot, Store, Value, Watch,
    WrongType,
};

/// When deadlines are reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticking {
    /// When an operation says so.
    AsTold,
    /// After every operation, everywhere, until done.
    Always,
    Never,
}

pub struct Machine {
    pub store: Store,
    pub reference: Reference,
    ticking: Ticking,
    honest: bool,
    watches: Vec<Watch>,
    names: HashMap<Vec<u8>, u16>,
    steps: u64,
    /// What callers saw beyond what the reference knows: access counts and what watches said.
    pub seen: Vec<u64>,
}

fn db(number: u8) -> Db {
    Db(if number + 1 == DBS { 15 } else { number })
}

impl Machine {
    pub fn new(layout_number: usize, ticking: Ticking) -> Self {
        let reference = Reference { now: 1_700_000_000_000, ..Reference::default() };
        Self {
            store: Store::new(layout(layout_number)),
            reference,
            ticking,
            honest: layout_number < HONEST,
            watches: Vec::new(),
            names: key_numbers().map(|number| (key(number), number)).collect(),
            steps: 0,
            seen: Vec::new(),
        }
    }

    fn cx(&self) -> Cx {
        Cx { seed: self.steps, ..Cx::at(self.reference.now) }
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Access<'_>, &Cx) -> R) -> R {
        let cx = self.cx();
        act(&mut self.store.join().batch(), &cx)
    }

    fn one<R>(&mut self, name: Name, act: impl FnOnce(Slot<'_>) -> R) -> R {
        let key = key(name.1);
        self.with(|access, cx| {
            let kh = access.hash(&key);
            access.one(db(name.0), kh, &key, cx, act)
        })
    }

    /// Makes room as the dispatcher does before a write, and learns what was evicted. False: the write is refused.
    fn make_room(&mut self, name: Name, need: usize) -> bool {
        if self.store.memory().limit() == 0 {
            return true;
        }
        let key = key(name.1);
        let before = self.with(|access, _| access.counts().evicted);
        let granted = self.with(|access, cx| access.make_room(Some(access.hash(&key)), need as u64, cx));
        let evicted = self.with(|access, _| access.counts().evicted) - before;
        let policy = self.store.memory().policy();
        let mut gone = 0;
        for number in 0..DBS {
            for key in self.reference.dbs[usize::from(number)].keys().copied().collect::<Vec<_>>() {
                if self.one((number, key), |slot| slot.is_live()) {
                    continue;
                }
                let entry = self.reference.remove((number, key)).expect("just listed");
                assert!(!entry.no_evict, "a no-evict entry was evicted");
                assert!(!policy.is_volatile() || entry.deadline.is_some(), "{policy:?} took a key without deadline");
                gone += 1;
            }
        }
        assert_eq!(gone, evicted, "entries that vanished, and those counted as evicted");
        assert!(policy != Policy::NoEviction || evicted == 0);
        granted
    }

    fn tag(&self, number: u8) -> u64 {
        self.store.tag(&[b't', number])
    }

    fn deadline(&self, ttl_ms: Option<i64>) -> Option<u64> {
        ttl_ms.map(|ttl| self.reference.now.saturating_add_signed(ttl))
    }

    fn put(&mut self, name: Name, bytes: Vec<u8>, ttl_ms: Option<i64>) {
        if !self.make_room(name, bytes.len()) {
            return;
        }
        let deadline = self.deadline(ttl_ms);
        self.one(name, |slot| slot.put(NewValue::Bytes(&bytes), deadline.map(Millis)));
        self.reference.put(name, Val::Bytes(bytes), deadline);
    }

    pub fn step(&mut self, op: &Op) {
        self.steps += 1;
        match op.clone() {
            Op::Put { name, len, fill, ttl_ms } => self.put(name, vec![fill; len], ttl_ms),
            Op::PutInt { name, n } => {
                self.one(name, |slot| match slot {
                    Slot::Live(mut live) => live.put_int(n),
                    Slot::Vacant(vacant) => assert!(vacant.insert(NewValue::Int(n), None).is_some()),
                });
                // An edit, as INCR is: tags stay.
                if self.reference.live(name).is_some() {
                    self.reference.edit(name, |entry| entry.val = Val::Int(n));
                } else {
                    self.reference.put(name, Val::Int(n), None);
                }
            }
            Op::Append { name, len } => {
                if self.make_room(name, len) {
                    self.edit(name, |bytes| bytes.extend((0..len).map(|at| at as u8)));
                }
            }
            Op::Truncate { name, len } => self.edit(name, |bytes| bytes.truncate(len)),
            Op::SetDeadline { name, ttl_ms } => {
                let deadline = ttl_ms.map(|ttl| self.reference.now + ttl);
                if let Some(entry) = self.reference.live(name).cloned() {
                    self.one(name, |slot| slot.live().expect("live").set_deadline(deadline.map(Millis)));
                    if entry.deadline != deadline {
                        self.reference.edit(name, |entry| entry.deadline = deadline);
                    }
                }
            }
            Op::Remove { name } => {
                self.one(name, |slot| slot.live().map(|live| live.remove()));
                self.reference.remove(name);
            }
            Op::Move { from, to } => self.carry(from, to, true),
            Op::Copy { from, to } => self.carry(from, to, false),
            Op::HashSet { name, first, count, len } => self.set_fields(name, first..first + count, len),
            Op::HashRemove { name, first, count } => self.remove_fields(name, first..first + count),
            Op::HashScan { name, wanted, first } => self.scan_fields(name, wanted, first),
            Op::NoEvict { name, on } => {
                self.one(name, |slot| slot.live().map(|mut live| live.set_no_evict(on)));
                self.reference.set_no_evict(name, on);
            }
            Op::Touch { name } => {
                self.one(name, |slot| slot.live().map(|mut live| live.touch()));
            }
            Op::Tag { name, tags } => {
                let hashes: Vec<u64> = tags.iter().map(|tag| self.tag(*tag)).collect();
                self.one(name, |slot| slot.live().map(|mut live| live.set_tags(&hashes)));
                let tags: BTreeSet<u8> = tags.into_iter().collect();
                if self.reference.live(name).is_some_and(|entry| entry.tags != tags) {
                    self.reference.edit(name, |entry| entry.tags = tags);
                }
            }
            Op::Revoke { db: number, group } => {
                let set: Vec<u64> = match &group {
                    Group::Tags(tags) => tags.iter().map(|tag| self.tag(*tag)).collect(),
                    _ => Vec::new(),
                };
                let selector = match &group {
                    Group::Prefix(at) => Selector::Prefix(PREFIXES[*at]),
                    Group::Match(at) => Selector::Match(PATTERNS[*at]),
                    Group::Tag(tag) => Selector::Tag(self.tag(*tag)),
                    Group::Tags(_) => Selector::Tags(&set),
                };
                let before = self.store.revoke_log().0;
                let epoch = self
                    .with(|access, _| access.revoke(db(number), &[selector], Mode::Hard, Overflow::Reject))
                    .expect("there is room in the log");
                assert_eq!(epoch, before + 1, "epochs count revokes");
                self.reference.revoke(number, &group);
            }
            Op::Bulk { db, first, count, len, ttl_ms } => {
                for number in first..first + count {
                    self.put((db, BULK + number % 1000), vec![number as u8; len], ttl_ms);
                }
            }
            Op::BulkRemove { db, first, count } => {
                for number in first..first + count {
                    self.step(&Op::Remove { name: (db, BULK + number % 1000) });
                }
            }
            Op::Advance { ms } => self.reference.advance(ms),
            Op::Tick { first, count } => {
                if self.ticking == Ticking::AsTold {
                    storage::tend_memory();
                    self.with(|access, cx| access.tick(first, count, cx));
                }
            }
            Op::Flush { dbs } => {
                self.with(|access, _| access.flush(&dbs.iter().map(|number| db(*number)).collect::<Vec<_>>()));
                dbs.iter().for_each(|db| self.reference.flush(*db));
            }
            Op::Swap { a, b } => {
                self.with(|access, _| access.swap(db(a), db(b)));
                self.reference.swap(a, b);
            }
            Op::Watch { name } => {
                let watch = self.with(|access, cx| access.watch(db(name.0), &key(name.1), cx));
                assert!(watch.is_of(db(name.0), &key(name.1)));
                self.watches.push(watch);
                self.reference.watch(name);
            }
            Op::Check { nth } => self.check_watch(nth),
            Op::Unwatch { nth } => {
                if let Some(nth) = nth.checked_rem(self.watches.len()) {
                    self.check_watch(nth);
                    let watch = self.watches.swap_remove(nth);
                    self.reference.watches.swap_remove(nth);
                    self.with(|access, _| access.unwatch(&watch));
                }
            }
            Op::Scan { db, wanted } => self.scan(db, wanted),
            Op::RandomKey { db: number, seed } => {
                let found = self.with(|access, cx| access.random_key(db(number), &Cx { seed, ..*cx }));
                if let Some(found) = found {
                    let known = self.names[&*found];
                    assert!(self.reference.live((number, known)).is_some(), "a random key is a live one");
                }
            }
            Op::Limit { kib, policy } => {
                self.store.memory().set_limit(kib * 1024);
                self.store.memory().set_policy(policy);
            }
            Op::Nominate { bytes } => {
                for (found, key) in self.with(|access, cx| access.nominate(bytes, cx)) {
                    let number = (0..DBS).find(|number| db(*number) == found).expect("a database in play");
                    let live = self.reference.live((number, self.names[&*key]));
                    assert!(live.is_none_or(|entry| !entry.no_evict), "a no-evict entry was nominated");
                }
            }
        }
        if self.ticking == Ticking::Always {
            self.tick_until_done();
        }
    }

    pub fn tick_until_done(&mut self) {
        self.with(|access, cx| while !access.tick(0, access.stripes(), cx) {});
    }

    /// The hash under a key: its fields, none where there is no key, or `None` where there is a string.
    fn known_fields(&self, name: Name) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
        match self.reference.live(name).map(|entry| &entry.val) {
            None => Some(BTreeMap::new()),
            Some(Val::Hash(fields)) => Some(fields.clone()),
            Some(_) => None,
        }
    }

    fn set_fields(&mut self, name: Name, numbers: core::ops::Range<u16>, len: usize) {
        if !self.make_room(name, numbers.len() * (len + 8)) {
            return;
        }
        let value = vec![self.steps as u8; len];
        let new = self.one(name, |slot| {
            slot.edit_hash(|hash| numbers.clone().filter(|number| hash.set(&field(*number), &value)).count())
        });
        let Some(mut fields) = self.known_fields(name) else {
            assert_eq!(new, Err(WrongType));
            return;
        };
        let before = fields.len();
        fields.extend(numbers.map(|number| (field(number), value.clone())));
        assert_eq!(new, Ok(fields.len() - before), "fields that are new");
        self.put_fields(name, fields);
    }

    fn remove_fields(&mut self, name: Name, numbers: core::ops::Range<u16>) {
        let gone = self.one(name, |slot| {
            slot.edit_hash(|hash| numbers.clone().filter(|number| hash.remove(&field(*number))).count())
        });
        let Some(mut fields) = self.known_fields(name) else {
            assert_eq!(gone, Err(WrongType));
            return;
        };
        let before = fields.len();
        fields.retain(|known, _| !numbers.clone().any(|number| field(number) == *known));
        assert_eq!(gone, Ok(before - fields.len()), "fields that were there");
        if before > fields.len() {
            self.put_fields(name, fields);
        }
    }

    /// Notes what an edit made of a hash.
    fn put_fields(&mut self, name: Name, fields: BTreeMap<Vec<u8>, Vec<u8>>) {
        if fields.is_empty() {
            self.reference.remove(name);
        } else if self.reference.live(name).is_some() {
            self.reference.edit(name, |entry| entry.val = Val::Hash(fields));
        } else {
            self.reference.put(name, Val::Hash(fields), None);
        }
    }

    /// Fields present throughout are met once, whatever becomes of the others meanwhile.
    fn scan_fields(&mut self, name: Name, wanted: usize, first: u16) {
        let Some(mut stable) = self.known_fields(name).filter(|fields| !fields.is_empty()) else { return };
        let (mut position, mut met) = (Some(Position::START), BTreeMap::new());
        let mut number = first;
        while let Some(from) = position {
            let cx = self.cx();
            position = self.one(name, |slot| {
                let live = slot.live()?;
                let hash = live.hash().expect("it was a hash");
                let drawn = hash.random(&cx, 0).map(|(field, _)| field.to_vec());
                assert!(hash.get(&drawn.expect("it has fields")).is_some());
                hash.walk(from, wanted, &cx, |field, _| *met.entry(field.to_vec()).or_insert(0) += 1)
            });
            self.remove_fields(name, number..number + 3);
            (number..number + 3).for_each(|number| drop(stable.remove(&field(number))));
            self.set_fields(name, number + 300..number + 306, 5);
            number = number.wrapping_add(3) % 1000;
        }
        for field in stable.keys().filter(|_| self.reference.live(name).is_some()) {
            assert_eq!(met.get(field), Some(&1), "{}", String::from_utf8_lossy(field));
        }
    }

    fn edit(&mut self, name: Name, edit: impl Fn(&mut Vec<u8>)) {
        if self.reference.live(name).is_some_and(|entry| entry.val.as_bytes().is_none()) {
            return;
        }
        self.one(name, |slot| slot.live().map(|mut live| live.edit(&edit)));
        self.reference.edit(name, |entry| {
            let mut bytes = entry.val.as_bytes().expect("a string");
            edit(&mut bytes);
            entry.val = Val::Bytes(bytes);
        });
    }

    /// Moves or copies an entry.
    fn carry(&mut self, from: Name, to: Name, moves: bool) {
        if from == to {
            return;
        }
        let (from_key, to_key) = (key(from.1), key(to.1));
        self.with(|access, cx| {
            let (from_kh, to_kh) = (access.hash(&from_key), access.hash(&to_key));
            access.atomically([to_kh, from_kh], |access| {
                let detached = access.one(db(from.0), from_kh, &from_key, cx, |slot| {
                    let live = slot.live()?;
                    let detached = live.detached();
                    if moves {
                        live.remove();
                    }
                    Some(detached)
                });
                if let Some(detached) = detached {
                    access.one(db(to.0), to_kh, &to_key, cx, |slot| slot.put_detached(&detached));
                }
            });
        });
        let entry = if moves { self.reference.remove(from) } else { self.reference.live(from).cloned() };
        if let Some(entry) = entry {
            self.reference.put(to, entry.val, entry.deadline);
        }
    }

    fn check_watch(&mut self, nth: usize) {
        let Some(nth) = nth.checked_rem(self.watches.len()) else { return };
        let watch = self.watches[nth].clone();
        let said = self.with(|access, cx| access.is_changed(&watch, cx));
        let expected = self.reference.is_changed(nth);
        assert!(said || !expected, "a change was missed: {:?}", self.reference.watches[nth]);
        // Watches tell keys apart by their hash, so equal hashes may report each other's changes.
        if self.honest && !self.reference.watches[nth].unsure {
            assert_eq!(said, expected, "{:?}", self.reference.watches[nth]);
            self.seen.push(u64::from(said));
        }
    }

    /// One step of the running walk (or the first of a new one over `of`), checked against what was there.
    fn scan(&mut self, of: u8, wanted: usize) {
        let mut scan = self.reference.scan.take().unwrap_or_else(|| Scan {
            db: of,
            cursor: 0,
            stable: self.reference.dbs[usize::from(of)].keys().copied().collect(),
            seen: BTreeSet::new(),
        });
        let mut got = Vec::new();
        scan.cursor =
            self.with(|access, cx| access.scan(db(scan.db), scan.cursor, wanted, cx, |key, _| got.push(key.to_vec())));
        for key in got {
            let known = self.names[&key];
            assert!(self.reference.live((scan.db, known)).is_some(), "a walk returns live keys: {known}");
            assert!(scan.seen.insert(known), "no key twice: {known}");
        }
        if scan.cursor == 0 {
            let missed: Vec<_> = scan.stable.difference(&scan.seen).collect();
            assert!(missed.is_empty(), "keys present throughout: {missed:?}");
        } else {
            self.reference.scan = Some(scan);
        }
    }

    /// Compares everything, key by key and by a whole walk, and recounts the store's bytes.
    pub fn check(&mut self) {
        for number in 0..DBS {
            let expected: Vec<u16> = self.reference.dbs[usize::from(number)].keys().copied().collect();
            let mut walked = Vec::new();
            self.with(|access, cx| access.for_each(db(number), cx, |key| walked.push(key.to_vec())));
            let mut walked: Vec<u16> = walked.iter().map(|key| self.names[key]).collect();
            walked.sort_unstable();
            assert_eq!(walked, expected, "the keys of database {number}");
            let stats = self.with(|access, cx| access.db_stats(db(number), cx));
            assert!(stats.keys >= expected.len(), "dead keys may be counted, live ones must");
            for key in expected {
                let entry = self.reference.live((number, key)).expect("just listed").clone();
                let (value, deadline, uses, tags) = self.one((number, key), |slot| {
                    let live = slot.live().expect("listed by the walk");
                    (owned(&live), live.deadline(), live.uses(), live.tags().collect::<BTreeSet<_>>())
                });
                assert!(tags.into_iter().eq(entry.tags.iter().map(|tag| self.tag(*tag)).collect::<BTreeSet<_>>()));
                assert!(value == entry.val, "the value of {key} in {number}");
                assert_eq!(deadline, entry.deadline.map(Millis), "the deadline of {key} in {number}");
                self.seen.push(u64::from(uses));
            }
        }
        self.store.invariants();
    }

    /// Empties the store and gives everything back.
    pub fn finish(mut self) {
        let everything: Vec<Db> = (0..16).map(Db).collect();
        self.with(|access, _| access.flush(&everything));
        self.tick_until_done();
        assert_eq!(self.store.buried(), 0);
        // A pass for what was revoked during the last one.
        self.tick_until_done();
        assert_eq!(self.store.revoke_log().1, 0, "the sweeper has dropped every record");
        self.store.invariants();
        assert_eq!((self.store.memory().used(), self.store.memory().dataset()), (0, 0), "nothing is kept");
    }
}

fn owned(live: &LiveRef<'_>) -> Val {
    if let Ok(hash) = live.hash() {
        let mut fields = BTreeMap::new();
        hash.for_each(|field, value| {
            let Value::Raw(value) = value else { panic!("values here are short") };
            assert_eq!(hash.get(field).map(|value| value.len()), Some(value.len()));
            fields.insert(field.to_vec(), value.to_vec());
        });
        assert_eq!(fields.len(), hash.len());
        return Val::Hash(fields);
    }
    match live.value() {
        Value::Raw(bytes) => Val::Bytes(bytes.to_vec()),
        Value::Shared(bytes) => Val::Bytes(Arc::unwrap_or_clone(bytes)),
        Value::Int(n) => Val::Int(n),
        Value::Hash(_) => unreachable!("shown above"),
    }
}
