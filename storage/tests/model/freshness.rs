//! Windows and soft revokes: S4, S5, S8, S9 of freshness. A soft revoke that is found out late makes of an entry what an
//! eager one would have made of it, whatever the sweeper, splits, deadlines and the clock do meanwhile.

use crate::layouts::from_epoch;
use crate::schedule::{Random, schedules};
use std::collections::BTreeMap;
use storage::{Access, Cx, Db, Layout, Lifetimes, Millis, Mode, NewValue, Overflow, Phase, Selector, Store};

const DB: Db = Db(0);
const KEYS: u64 = 1500;
const TAGS: u64 = 3;

fn key(number: u64) -> Vec<u8> {
    format!("{}:{number:04}", ["a", "b"][number as usize % 2]).into_bytes()
}

/// An entry as an eager store would have it. Ends in ms; `None` = never.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: i64,
    fresh: Option<u64>,
    stale: Option<u64>,
    retain: Option<u64>,
    tags: Vec<u64>,
    /// Written with windows, or given some by a soft revoke.
    windows: bool,
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn is_past(end: Option<u64>, now: u64) -> bool {
    end.is_some_and(|end| end <= now)
}

impl Entry {
    fn is_live(&self, now: u64) -> bool {
        !is_past(self.stale, now)
    }

    fn set_stale(&mut self, new: Option<u64>) {
        if self.retain == self.stale || new.is_none() || self.retain.is_some_and(|retain| Some(retain) < new) {
            self.retain = new;
        }
        self.fresh = earlier(self.fresh, new);
        self.stale = new;
    }

    fn soften(&mut self, at: u64, stale_for: Option<u64>) {
        let end = match (stale_for, self.stale, self.fresh) {
            (Some(ms), ..) => Some(at + ms),
            (None, Some(stale), Some(fresh)) => Some(at + stale.saturating_sub(fresh)),
            _ => None,
        };
        self.windows = true;
        self.fresh = earlier(self.fresh, Some(at));
        self.set_stale(earlier(self.stale, end));
    }

    /// Phase, value, fresh and stale ends; of a retained copy only that it is there.
    fn seen(&self, now: u64) -> Option<(Phase, i64, Option<u64>, Option<u64>)> {
        if self.is_live(now) {
            let phase = if is_past(self.fresh, now) { Phase::Stale } else { Phase::Fresh };
            Some((phase, self.value, self.fresh, self.stale))
        } else {
            (self.windows && !is_past(self.retain, now)).then_some((Phase::Retained, self.value, None, None))
        }
    }
}

struct Pair<'a, 's> {
    access: &'a mut Access<'s>,
    entries: BTreeMap<u64, Entry>,
    now: u64,
    seed: u64,
    written: i64,
}

impl Pair<'_, '_> {
    fn cx(&mut self) -> Cx {
        self.seed += 1;
        Cx { seed: self.seed, ..Cx::at(self.now) }
    }

    fn put(&mut self, number: u64, lifetimes: Option<[Option<u64>; 3]>, tags: Vec<u64>) {
        let (key, cx, now) = (key(number), self.cx(), self.now);
        self.written += 1;
        let value = NewValue::Int(self.written);
        let end = |ms: Option<u64>| ms.map(|ms| now + ms);
        let [fresh, stale, retain] = lifetimes.unwrap_or_default().map(end);
        self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| match lifetimes {
            None => slot.put(value, None),
            Some([fresh_ms, stale_ms, retain_ms]) => {
                let lifetimes = Lifetimes { fresh_ms, stale_ms, retain_ms, refresh: 0 };
                slot.put_fresh(value, lifetimes, &tags, b"e");
            }
        });
        let windows = lifetimes.is_some();
        let tags = if windows { tags } else { Vec::new() };
        self.entries.insert(number, Entry { value: self.written, fresh, stale, retain, tags, windows });
    }

    fn deadline(&mut self, number: u64, ms: Option<u64>) {
        let (key, cx, now) = (key(number), self.cx(), self.now);
        let new = ms.map(|ms| now + ms);
        let done = self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| {
            slot.live().map(|mut live| live.set_deadline(new.map(Millis))).is_some()
        });
        let entry = self.entries.get_mut(&number).filter(|entry| entry.is_live(now));
        assert_eq!(done, entry.is_some(), "{number}");
        if let Some(entry) = entry {
            if entry.windows {
                entry.set_stale(new);
            } else {
                (entry.fresh, entry.stale, entry.retain) = (new, new, new);
            }
        }
    }

    fn edit(&mut self, number: u64) {
        let (key, cx, now) = (key(number), self.cx(), self.now);
        self.written += 1;
        let value = self.written;
        let done = self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| {
            slot.live().map(|mut live| live.put_int(value)).is_some()
        });
        let entry = self.entries.get_mut(&number).filter(|entry| entry.is_live(now));
        assert_eq!(done, entry.is_some(), "{number}");
        if let Some(entry) = entry {
            entry.value = value;
        }
    }

    fn delete(&mut self, number: u64) {
        let (key, cx, now) = (key(number), self.cx(), self.now);
        let done = self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| slot.delete());
        let was_live = self.entries.remove(&number).is_some_and(|entry| entry.is_live(now));
        assert_eq!(done, was_live, "{number}");
    }

    fn revoke(&mut self, selector: Selector<'_>, mode: Mode) {
        self.access.revoke(DB, &[selector], mode, Overflow::Reject).expect("there is room in the log");
        let matches = |number: u64, tags: &[u64]| match selector {
            Selector::Prefix(prefix) => key(number).starts_with(prefix),
            Selector::Match(pattern) => storage::glob::matches(pattern, &key(number), false),
            Selector::Tag(tag) => tags.contains(&tag),
            Selector::Tags(wanted) => wanted.iter().all(|tag| tags.contains(tag)),
        };
        match mode {
            Mode::Hard => self.entries.retain(|number, entry| !matches(*number, &entry.tags)),
            Mode::Soft { at, stale_for } => {
                for (number, entry) in &mut self.entries {
                    if matches(*number, &entry.tags) {
                        entry.soften(at.0, stale_for);
                    }
                }
            }
        }
    }

    fn revoke_some(&mut self, random: &mut Random) {
        let digit = random.below(3);
        let stale_for = (random.below(3) == 0).then(|| 500 * random.below(20));
        let soft = Mode::Soft { at: Millis(self.now), stale_for };
        let mode = if random.below(4) == 0 { Mode::Hard } else { soft };
        let prefix = format!("{}:{digit}", ["a", "b"][random.below(2) as usize]).into_bytes();
        match random.below(6) {
            0 => self.revoke(Selector::Prefix(&prefix[..2]), mode),
            1 => self.revoke(Selector::Prefix(&prefix), mode),
            2 => self.revoke(Selector::Match(format!("?:*{digit}").as_bytes()), mode),
            3 => self.revoke(Selector::Prefix(b""), soft),
            4 => self.revoke(Selector::Tag(digit), mode),
            _ => self.revoke(Selector::Tags(&[digit, (digit + 1) % TAGS]), mode),
        }
    }

    fn look(&mut self, number: u64) {
        let (key, cx) = (key(number), self.cx());
        let (seen, deadline) = self.access.one(DB, self.access.hash(&key), &key, &cx, |slot| {
            let seen = slot.view().map(|view| {
                let storage::Value::Int(value) = view.value() else { panic!("integers were stored") };
                let (fresh, stale) = (view.windows().fresh_until, view.deadline());
                let ends = if view.phase == Phase::Retained { (None, None) } else { (fresh, stale) };
                (view.phase, value, ends.0.map(|ms| ms.0), ends.1.map(|ms| ms.0))
            });
            (seen, slot.live().map(|live| live.deadline()))
        });
        let expected = self.entries.get(&number).and_then(|entry| entry.seen(self.now));
        assert_eq!(seen, expected, "{number} at {}: {:?}", self.now, self.entries.get(&number));
        // What ordinary commands see agrees.
        let is_live = expected.is_some_and(|seen| seen.0 != Phase::Retained);
        assert_eq!(deadline.is_some(), is_live, "{number}");
    }

    fn check(&mut self) {
        let (mut walked, cx) = (Vec::new(), self.cx());
        self.access.for_each(DB, &cx, |key| walked.push(key.to_vec()));
        walked.sort();
        let live = self.entries.iter().filter(|(_, entry)| entry.is_live(self.now));
        let mut expected: Vec<Vec<u8>> = live.map(|(number, _)| key(*number)).collect();
        expected.sort();
        assert_eq!(walked, expected);
        (0..KEYS).for_each(|number| self.look(number));
    }
}

#[test]
fn late_softening_equals_eager() {
    schedules(10, |mut random| {
        let store = Store::new(from_epoch(random.below(2), Layout::new(1, [random.below(100), 2, 3, 4])));
        let mut participant = store.join();
        let mut access = participant.batch();
        let mut pair = Pair { access: &mut access, entries: BTreeMap::new(), now: 1000, seed: 0, written: 0 };
        for step in 0..200 {
            let (first, count) = (random.below(KEYS), 1 + random.below(300));
            let some = (first..first + count).map(|number| number % KEYS);
            match random.below(14) {
                0 | 1 => some.for_each(|number| pair.put(number, None, Vec::new())),
                2..=4 => some.for_each(|number| {
                    let mut end = || (number % 5 > 0).then(|| 1000 * random.below(8));
                    let mut ends = [end(), end(), end()];
                    ends.sort_by_key(|end| end.unwrap_or(u64::MAX));
                    if number % 3 == 0 {
                        ends[2] = ends[1];
                    }
                    let tags = (0..TAGS).filter(|tag| (number + tag) % 3 > 0).collect();
                    pair.put(number, Some(ends), tags);
                }),
                5 => some.step_by(3).for_each(|number| pair.deadline(number, Some(1 + 100 * (number % 90)))),
                6 => some.step_by(5).for_each(|number| pair.deadline(number, None)),
                7 => some.step_by(5).for_each(|number| pair.edit(number)),
                8 => some.step_by(3).for_each(|number| pair.delete(number)),
                9 | 10 => pair.revoke_some(&mut random),
                11 => {
                    pair.now += random.below(700);
                    // The same selector again, before anybody has looked: the first one may have been the stricter.
                    if random.below(2) == 0 {
                        for stale_for in [random.below(2000), random.below(2000)] {
                            let soft = Mode::Soft { at: Millis(pair.now), stale_for: Some(stale_for) };
                            pair.revoke(Selector::Prefix(b"a:"), soft);
                            pair.now += random.below(50);
                        }
                    }
                }
                _ => {
                    let cx = pair.cx();
                    (0..1 + random.below(6)).for_each(|_| _ = pair.access.tick(0, 1, &cx));
                }
            }
            if step % 10 == 0 {
                pair.check();
            }
        }
        pair.check();
        for _ in 0..10_000 {
            let cx = pair.cx();
            if pair.access.tick(0, 1, &cx) && store.revoke_log().1 == 0 {
                break;
            }
        }
        pair.check();
        assert_eq!(store.revoke_log().1, 0);
        // Everything that has come to its end is freed, copies included.
        pair.now += 1 << 30;
        for _ in 0..1000 {
            let cx = pair.cx();
            pair.access.tick(0, 1, &cx);
        }
        let kept = pair.entries.values().filter(|entry| entry.retain.is_none()).count();
        assert_eq!(pair.access.db_size(DB), kept);
        drop(access);
        store.invariants();
    });
}
