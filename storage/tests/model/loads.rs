//! Loads: S1 to S3, S6, S7, L1, L3, L7 of freshness, judged by the history of what happened.
//!
//! Every value is the number of the load (or write) that brought it, so that what is seen tells since when it is known.

use crate::layouts::from_epoch;
use crate::schedule::{Random, schedules};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::{
    Access, Bulkhead, Cx, Db, Denied, Failure, Fill, Filled, Layout, Lifetimes, Millis, Mode, NewValue, OnFail,
    Overflow, Phase, Selector, Store, Terms, Value, Wake,
};

const DB: Db = Db(0);
const KEYS: u64 = 3;
const TAGS: u64 = 3;
const LEASE_MS: u64 = 100;
const LEASE_MAX_MS: u64 = 1000;

fn key(number: u64) -> Vec<u8> {
    format!("k:{number}").into_bytes()
}

/// What happened, in order.
#[derive(Clone, Debug)]
enum Event {
    Revoked { hard: bool, key: Option<u64>, tags: Vec<u64> },
    Deleted(u64),
    Written(u64),
}

#[derive(Clone, Debug)]
struct LoadFacts {
    key: u64,
    /// Position in the history at which it was granted.
    granted: usize,
    expires_ms: u64,
    /// Tags of the entry it refreshes.
    hints: Vec<u64>,
    is_open: bool,
    /// Tags its value came with.
    tags: Vec<u64>,
}

struct Waiter {
    key: u64,
    join: usize,
    look_ms: u64,
}

struct World<'a, 's> {
    store: &'s Store,
    access: &'a mut Access<'s>,
    history: Vec<Event>,
    /// By token.
    loads: BTreeMap<u64, LoadFacts>,
    /// The load, or for writes the position in the history, that a value stands for.
    values: BTreeMap<i64, Result<u64, usize>>,
    waiters: BTreeMap<u64, Waiter>,
    /// Keys whose loads failed, until then.
    now: u64,
    seed: u64,
    next: u64,
    bulkhead: Arc<Bulkhead>,
}

impl World<'_, '_> {
    fn cx(&mut self) -> Cx {
        self.seed += 1;
        Cx { seed: self.seed, ..Cx::at(self.now) }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn terms(&self) -> Terms {
        Terms {
            lease_ms: LEASE_MS,
            lease_max_ms: LEASE_MAX_MS,
            may_load: true,
            core: 0,
            bulkhead: Arc::clone(&self.bulkhead),
        }
    }

    fn happened(&self, since: usize, until: usize, wanted: impl Fn(&Event) -> bool) -> bool {
        self.history[since..until].iter().any(wanted)
    }

    fn hits(event: &Event, number: u64, tags: &[u64], wanted_hard: bool) -> bool {
        matches!(event, Event::Revoked { hard, key, tags: revoked } if *hard == wanted_hard
            && (*key == Some(number) || key.is_none() && revoked.is_empty()
                || !revoked.is_empty() && revoked.iter().all(|tag| tags.contains(tag))))
    }

    fn granted(&mut self, number: u64, token: u64, hints: Vec<u64>) {
        let runs = |facts: &&LoadFacts| facts.key == number && facts.is_open && facts.expires_ms > self.now;
        for facts in self.loads.values().filter(runs) {
            let over = self.happened(facts.granted, self.history.len(), |event| {
                Self::hits(event, number, &facts.hints, true)
                    || matches!(event, Event::Deleted(k) | Event::Written(k) if *k == number)
            });
            assert!(over, "S1: two live loads of {number}");
        }
        let facts = LoadFacts {
            key: number,
            granted: self.history.len(),
            expires_ms: self.now + LEASE_MS,
            hints,
            is_open: true,
            tags: Vec::new(),
        };
        // A lapsed one is taken over.
        for facts in self.loads.values_mut().filter(|facts| facts.key == number && facts.expires_ms <= self.now) {
            facts.is_open = false;
        }
        assert!(self.loads.insert(token, facts).is_none(), "tokens are never given twice");
        let running = self.loads.values().filter(|f| f.key == number && f.is_open && f.expires_ms > self.now).count();
        assert!(running <= 2, "S1: {running} loads of a key run");
    }

    fn read(&mut self, number: u64, waits: bool) {
        let (key, cx, ticket) = (key(number), self.cx(), self.next());
        let terms = self.terms();
        let (mut token, mut hints, mut look) = (None, Vec::new(), None);
        self.access.loading(DB, self.access.hash(&key), &key, &cx, |slot, loading| {
            hints = slot.view().map(|view| view.tags().collect()).unwrap_or_default();
            match loading.grant(&terms, hints.iter().copied()) {
                Ok(granted) => token = Some(granted.token),
                Err(Denied::Loading | Denied::Full) if waits => look = loading.join(ticket, &terms, 5),
                Err(_) => {}
            }
        });
        if let Some(token) = token {
            self.granted(number, token, hints);
        }
        if let Some(look_ms) = look {
            self.waiters.insert(ticket, Waiter { key: number, join: self.history.len(), look_ms });
        }
    }

    fn fill(&mut self, token: u64, random: &mut Random) {
        let Some(facts) = self.loads.get(&token).cloned() else { return };
        let (key, cx, number) = (key(facts.key), self.cx(), self.next() as i64);
        let tags: Vec<u64> = (0..TAGS).filter(|_| random.below(2) == 0).collect();
        let ms = |random: &mut Random| Some(random.below(400));
        let mut ends = [ms(random), ms(random), ms(random)];
        ends.sort_unstable();
        let lifetimes = Lifetimes { fresh_ms: ends[0], stale_ms: ends[1], retain_ms: ends[2], refresh: 0 };
        let value = NewValue::Int(number);
        let fill = match random.below(8) {
            0 => Fill::Absent { fresh_ms: Some(random.below(300)) },
            1 => Fill::NoStore { pass_ms: random.below(50) },
            _ => Fill::Value { value, lifetimes, tags: &tags, validator: b"" },
        };
        let is_value = matches!(fill, Fill::Value { .. });
        let is_stored = !matches!(fill, Fill::NoStore { .. });
        let (filled, _) = self.access.fill(DB, self.access.hash(&key), &key, token, fill, &cx);
        let now = self.history.len();
        let between = |wanted: &dyn Fn(&Event) -> bool| self.happened(facts.granted, now, wanted);
        let judged = if is_value { &tags } else { &facts.hints };
        let hard = between(&|event| Self::hits(event, facts.key, judged, true));
        let hint = between(&|event| Self::hits(event, facts.key, &facts.hints, true));
        let deleted = between(&|event| matches!(event, Event::Deleted(k) if *k == facts.key));
        let written = between(&|event| matches!(event, Event::Written(k) if *k == facts.key));
        let soft = between(&|event| Self::hits(event, facts.key, judged, false));
        match filled {
            Filled::Stored => assert!(!(hard || deleted || written || soft && is_stored), "S2, S7: {facts:?}"),
            Filled::Stale => assert!(!hard && !deleted && !written && soft, "S3: {facts:?}"),
            Filled::Revoked => assert!(hard || hint || deleted, "S10: {facts:?}"),
            Filled::Superseded => assert!(written, "S10: {facts:?}"),
            Filled::NoLease => {
                let ended = self.now >= facts.expires_ms && (deleted || written || hint)
                    || self.now >= facts.expires_ms + LEASE_MAX_MS - LEASE_MS;
                assert!(!facts.is_open || ended, "L3, S6: {facts:?} at {}", self.now);
            }
            Filled::Gone | Filled::NoRoom => panic!("nothing was confirmed, and there is room"),
        }
        if filled != Filled::NoLease {
            let facts = self.loads.get_mut(&token).expect("it was found");
            facts.is_open = false;
            facts.tags = tags;
            self.values.insert(number, Ok(token));
        }
        // Once answered, a token is worth nothing.
        let fill = Fill::NoStore { pass_ms: 1000 };
        let again = self.access.fill(DB, self.access.hash(&key), &key, token, fill, &cx).0;
        assert_eq!(again, Filled::NoLease, "S6");
    }

    fn write(&mut self, number: u64) {
        let (key, cx, value) = (key(number), self.cx(), self.next() as i64);
        self.history.push(Event::Written(number));
        self.values.insert(value, Err(self.history.len()));
        self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| slot.put(NewValue::Int(value), None));
    }

    fn delete(&mut self, number: u64) {
        let (key, cx) = (key(number), self.cx());
        self.history.push(Event::Deleted(number));
        self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| slot.delete());
    }

    fn flush(&mut self) {
        self.access.flush(&[DB]);
        (0..KEYS).for_each(|number| self.history.push(Event::Deleted(number)));
    }

    fn revoke(&mut self, random: &mut Random) {
        let hard = random.below(2) == 0;
        let mode = if hard { Mode::Hard } else { Mode::Soft { at: Millis(self.now), stale_for: None } };
        let (number, tag) = (random.below(KEYS), random.below(TAGS));
        let name = key(number);
        let tags = [tag, (tag + 1) % TAGS];
        let (selector, key, tags) = match random.below(4) {
            0 => (Selector::Prefix(&name), Some(number), Vec::new()),
            1 => (Selector::Prefix(b"k:"), None, Vec::new()),
            2 => (Selector::Tag(tag), None, vec![tag]),
            _ => (Selector::Tags(&tags), None, tags.to_vec()),
        };
        self.access.revoke(DB, &[selector], mode, Overflow::Reject).expect("there is room in the log");
        self.history.push(Event::Revoked { hard, key, tags });
    }

    /// Since when a value is known, and with which tags.
    fn known(&self, value: i64) -> (usize, Vec<u64>, Option<u64>) {
        match self.values.get(&value) {
            Some(Ok(token)) => {
                let facts = &self.loads[token];
                (facts.granted, facts.tags.clone(), Some(facts.key))
            }
            Some(Err(position)) => (*position, Vec::new(), None),
            None => panic!("{value} was never stored"),
        }
    }

    fn check(&mut self) {
        for number in 0..KEYS {
            let (key, cx) = (key(number), self.cx());
            let seen = self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| {
                slot.view().map(|view| {
                    let value = if let Value::Int(value) = view.value() { Some(value) } else { None };
                    (view.phase, value)
                })
            });
            let Some((phase, Some(value))) = seen else { continue };
            let (since, tags, _) = self.known(value);
            let now = self.history.len();
            let after = |wanted: &dyn Fn(&Event) -> bool| self.happened(since, now, wanted);
            assert!(!after(&|event| Self::hits(event, number, &tags, true)), "S2: {phase:?} of {number}");
            assert!(!after(&|event| matches!(event, Event::Deleted(k) if *k == number)), "S2, DEL: {number}");
            assert!(!after(&|event| matches!(event, Event::Written(k) if *k == number)), "S7: {number}");
            let soft = after(&|event| Self::hits(event, number, &tags, false));
            assert!(!(soft && phase == Phase::Fresh), "S3: {number} is fresh after a soft revoke");
        }
    }

    fn tell(&mut self) {
        for woken in self.store.take_woken() {
            let Some(waiter) = self.waiters.remove(&woken.ticket) else {
                panic!("a waiter is woken once, and not after it has left: {woken:?}")
            };
            match woken.wake {
                Wake::Loaded(loaded) => {
                    let Value::Int(value) = loaded.value() else { panic!("integers were stored") };
                    let (since, tags, _) = self.known(value);
                    let number = waiter.key;
                    let before = |wanted: &dyn Fn(&Event) -> bool| {
                        since < waiter.join && self.happened(since, waiter.join, wanted)
                    };
                    assert!(!before(&|e| Self::hits(e, number, &tags, true)), "S2: delivered in spite of a revoke");
                    assert!(!before(&|e| matches!(e, Event::Deleted(k) if *k == number)), "S2: delivered after DEL");
                }
                Wake::Token { token, .. } => self.granted(waiter.key, token, Vec::new()),
                Wake::Absent(_) | Wake::Pass(_) | Wake::Failed | Wake::Look | Wake::Code(_) => {}
            }
        }
    }

    fn leave(&mut self, ticket: u64) {
        let Some(waiter) = self.waiters.get(&ticket) else { return };
        let (key, cx) = (key(waiter.key), self.cx());
        assert!(self.access.leave(DB, self.access.hash(&key), &key, ticket, &cx), "it was not woken");
        self.waiters.remove(&ticket);
    }

    fn look(&mut self) {
        let due: Vec<u64> = self.waiters.iter().filter(|(_, w)| w.look_ms <= self.now).map(|(t, _)| *t).collect();
        for ticket in due {
            let (key, cx) = (key(self.waiters[&ticket].key), self.cx());
            let look_ms = self.access.look(DB, self.access.hash(&key), &key, &cx);
            assert!(look_ms > self.now);
            self.waiters.get_mut(&ticket).expect("it waits").look_ms = look_ms;
        }
    }
}

#[test]
fn loads_are_judged_by_what_happened_meanwhile() {
    schedules(300, |mut random| {
        let store = Store::new(from_epoch(random.below(2), Layout::new(2, [random.below(100), 2, 3, 4])));
        let mut participant = store.join();
        let mut access = participant.batch();
        let mut world = World {
            store: &store,
            access: &mut access,
            history: Vec::new(),
            loads: BTreeMap::new(),
            values: BTreeMap::new(),
            waiters: BTreeMap::new(),
            now: 1000,
            seed: 0,
            next: 0,
            bulkhead: Arc::new(Bulkhead::new(if random.below(2) == 0 { 0 } else { 2 })),
        };
        let mut seen = BTreeSet::new();
        for _ in 0..400 {
            let number = random.below(KEYS);
            let open: Vec<u64> = world.loads.iter().filter(|(_, f)| f.is_open).map(|(t, _)| *t).collect();
            let some = (!open.is_empty()).then(|| open[random.below(open.len() as u64) as usize]);
            let what = random.below(16);
            seen.insert(what);
            match what {
                0..=3 => {
                    let waits = random.below(3) > 0;
                    world.read(number, waits);
                }
                4 | 5 => some.into_iter().for_each(|token| world.fill(token, &mut random)),
                6 => world.write(number),
                7 => world.delete(number),
                8 if random.below(8) == 0 => world.flush(),
                8 | 9 => world.revoke(&mut random),
                10 => {
                    if let Some(token) = some {
                        let (key, cx) = (key(world.loads[&token].key), world.cx());
                        let kh = world.access.hash(&key);
                        if random.below(2) == 0 {
                            world.access.release(DB, kh, &key, token, &cx);
                        } else {
                            let on_fail = [OnFail::Promote, OnFail::Error, OnFail::Auto][random.below(3) as usize];
                            let failure = Failure { backoff_ms: 20, backoff_max_ms: 60, exactly_ms: None, on_fail };
                            world.access.fail(DB, kh, &key, token, &failure, &cx);
                        }
                        world.loads.get_mut(&token).expect("it is open").is_open = false;
                    }
                }
                11 => {
                    let tickets: Vec<u64> = world.waiters.keys().copied().collect();
                    if !tickets.is_empty() {
                        world.tell();
                        world.leave(tickets[random.below(tickets.len() as u64) as usize]);
                    }
                }
                12 | 13 => {
                    world.now += random.below(60);
                    world.look();
                }
                _ => {
                    let cx = world.cx();
                    world.access.tick(random.below(2) as usize, 1, &cx);
                }
            }
            world.tell();
            world.check();
        }
        assert_eq!(seen.len(), 16);
        // Nobody is forgotten: whoever still waits is handed the load once the others are out of the way (L3).
        for _ in 0..100 {
            world.now += 50;
            let cx = world.cx();
            world.access.tick(0, 2, &cx);
            world.look();
            world.tell();
        }
        let handed: BTreeSet<u64> =
            world.loads.values().filter(|f| f.expires_ms + 5000 > world.now).map(|f| f.key).collect();
        for waiter in world.waiters.values() {
            assert!(handed.contains(&waiter.key), "L3: nobody loads {} any more", waiter.key);
        }
        // And nothing of all that stays (L6, L7).
        world.waiters.keys().copied().collect::<Vec<_>>().into_iter().for_each(|ticket| world.leave(ticket));
        world.now += 200_000;
        for _ in 0..40 {
            let cx = world.cx();
            world.access.tick(0, 2, &cx);
        }
        let running = world.bulkhead.running();
        assert_eq!((store.side_bytes(), store.revoke_log().1, running), (0, 0, 0));
        drop(access);
        store.invariants();
    });
}

/// L2: a loader that answers in D serves every waiter within 2 D, whatever is revoked meanwhile.
#[test]
fn no_waiter_waits_for_more_than_two_loads() {
    schedules(100, |mut random| {
        let store = Store::new(Layout::new(1, [1, 2, 3, 4]));
        let mut participant = store.join();
        let mut access = participant.batch();
        let bulkhead = Arc::new(Bulkhead::new(0));
        let terms = Terms { lease_ms: 10_000, lease_max_ms: 60_000, may_load: true, core: 0, bulkhead };
        let (key, d) = (key(1), 100);
        let kh = access.hash(&key);
        let (mut now, mut seed, mut ticket) = (1000, 0, 0);
        // Loads under way with the time they are answered; waiters with the time they came.
        let (mut loading, mut waiting): (Vec<(u64, u64)>, BTreeMap<u64, u64>) = (Vec::new(), BTreeMap::new());
        let (mut served, mut longest) = (0, 0);
        for _ in 0..2000 {
            now += 1 + random.below(10);
            let mut cx = || {
                seed += 1;
                Cx { seed, ..Cx::at(now) }
            };
            if random.below(3) == 0 {
                access.revoke(DB, &[Selector::Prefix(b"k")], Mode::Hard, Overflow::Reject).expect("room");
            }
            if random.below(2) == 0 {
                ticket += 1;
                let at = cx();
                access.loading(DB, kh, &key, &at, |slot, l| match l.grant(&terms, [].into_iter()) {
                    _ if slot.view().is_some() => {}
                    Ok(granted) => loading.push((granted.token, now + d)),
                    Err(_) => {
                        l.join(ticket, &terms, usize::MAX).expect("room");
                        waiting.insert(ticket, now);
                    }
                });
            }
            if random.below(20) == 0 {
                (0..3).for_each(|_| _ = access.tick(0, 1, &cx()));
            }
            for (token, _) in loading.extract_if(.., |(_, end)| *end <= now).collect::<Vec<_>>() {
                let value = NewValue::Int(1);
                let lifetimes = Lifetimes { fresh_ms: Some(0), stale_ms: Some(0), retain_ms: Some(0), refresh: 0 };
                let fill = Fill::Value { value, lifetimes, tags: &[], validator: b"" };
                access.fill(DB, kh, &key, token, fill, &cx());
            }
            for woken in store.take_woken() {
                let came = waiting.remove(&woken.ticket).expect("it waits");
                match woken.wake {
                    Wake::Token { token, .. } => loading.push((token, now + d)),
                    _ => {
                        served += 1;
                        longest = longest.max(now - came);
                    }
                }
            }
            // Ten ms a step: the loads end late by so much.
            let oldest = waiting.values().min().map_or(0, |came| now - came);
            assert!(oldest <= 2 * d + 30, "L2: one waits for {oldest} ms");
        }
        assert!(served > 50 && longest > d / 2, "{served} served, the longest after {longest} ms");
    });
}
