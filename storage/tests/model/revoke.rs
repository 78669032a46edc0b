//! S8, S9: what is revoked is absent at once and for good, what is written later stays, whatever the sweeper, splits and
//! merges do meanwhile.

use crate::layouts::from_epoch;
use crate::schedule::{Random, schedules};
use std::collections::BTreeMap;
use storage::{Access, Cx, Db, Layout, Mode, NewValue, Overflow, Selector, Store};

const DB: Db = Db(0);
const CX: Cx = Cx::at(1000);
const KEYS: u64 = 3000;
const TAGS: u64 = 3;

fn key(number: u64) -> Vec<u8> {
    format!("{}:{number:04}", ["a", "b", "c"][number as usize % 3]).into_bytes()
}

/// The store and what should be in it: the tags of each key that is live.
struct Pair<'a, 's> {
    access: &'a mut Access<'s>,
    live: BTreeMap<u64, Vec<u64>>,
}

impl Pair<'_, '_> {
    fn put(&mut self, number: u64) {
        let key = key(number);
        self.access.one(DB, self.access.hash(&key), &key, &CX, |slot| slot.put(NewValue::Int(number as i64), None));
        self.live.insert(number, Vec::new());
    }

    fn tag(&mut self, number: u64, tags: Vec<u64>) {
        let key = key(number);
        let done = self.access.one(DB, self.access.hash(&key), &key, &CX, |slot| match slot.live() {
            Some(mut live) => {
                live.set_tags(&tags);
                true
            }
            None => false,
        });
        assert_eq!(done, self.live.contains_key(&number), "{number}");
        if done {
            self.live.insert(number, tags);
        }
    }

    fn remove(&mut self, number: u64) {
        let key = key(number);
        let there =
            self.access.one(DB, self.access.hash(&key), &key, &CX, |slot| slot.live().map(|live| live.remove()));
        assert_eq!(there.is_some(), self.live.remove(&number).is_some(), "{number}");
    }

    fn revoke(&mut self, selector: Selector<'_>) {
        self.access.revoke(DB, &[selector], Mode::Hard, Overflow::Reject).expect("there is room in the log");
        self.live.retain(|number, tags| match selector {
            Selector::Prefix(prefix) => !key(*number).starts_with(prefix),
            Selector::Match(pattern) => !storage::glob::matches(pattern, &key(*number), false),
            Selector::Tag(tag) => !tags.contains(&tag),
            Selector::Tags(wanted) => !wanted.iter().all(|tag| tags.contains(tag)),
        });
    }

    fn revoke_some(&mut self, random: &mut Random) {
        let digit = random.below(3);
        let prefix = format!("{}:{digit}", ["a", "b", "c"][random.below(3) as usize]).into_bytes();
        match random.below(5) {
            0 => self.revoke(Selector::Prefix(&prefix[..2])),
            1 => self.revoke(Selector::Prefix(&prefix)),
            2 => self.revoke(Selector::Match(format!("?:*{digit}").as_bytes())),
            3 => self.revoke(Selector::Tag(digit)),
            _ => self.revoke(Selector::Tags(&[digit, (digit + 1) % TAGS])),
        }
    }

    fn check(&mut self) {
        let mut walked = Vec::new();
        self.access.for_each(DB, &CX, |key| walked.push(key.to_vec()));
        walked.sort();
        let mut expected: Vec<Vec<u8>> = self.live.keys().map(|number| key(*number)).collect();
        expected.sort();
        assert_eq!(walked, expected);
        for number in 0..KEYS {
            let key = key(number);
            let tags = self.access.one(DB, self.access.hash(&key), &key, &CX, |slot| {
                slot.live().map(|live| live.tags().collect::<Vec<_>>())
            });
            assert_eq!(tags.as_ref(), self.live.get(&number), "{number}");
        }
    }
}

/// Many segments in one stripe, so that the sweeper's passes take many ticks, with writes, splits and merges in between.
#[test]
fn sweeps_in_slices_change_nothing_that_can_be_seen() {
    schedules(12, |mut random| {
        let store = Store::new(from_epoch(random.below(2), Layout::new(1, [random.below(100), 2, 3, 4])));
        let mut participant = store.join();
        let mut access = participant.batch();
        let mut pair = Pair { access: &mut access, live: BTreeMap::new() };
        (0..KEYS).for_each(|number| pair.put(number));
        for step in 0..150 {
            let (first, count) = (random.below(KEYS), 1 + random.below(600));
            let some = (first..first + count).map(|number| number % KEYS);
            match random.below(10) {
                0 | 1 => some.for_each(|number| pair.put(number)),
                2 => some.for_each(|number| pair.remove(number)),
                3 => some.step_by(7).for_each(|number| {
                    let tags = (0..TAGS).filter(|tag| (number + tag) % 3 > 0 || number % 5 == 0).collect();
                    pair.tag(number, tags);
                }),
                4 => pair.revoke_some(&mut random),
                5 => {
                    // What was revoked and is written again must outlive both sweeper and merges.
                    pair.revoke_some(&mut random);
                    some.step_by(11).for_each(|number| pair.put(number));
                }
                _ => drop((0..1 + random.below(4)).map(|_| pair.access.tick(0, 1, &CX)).count()),
            }
            if step % 10 == 0 {
                pair.check();
            }
        }
        pair.check();
        // A pass for what came during the last one as well.
        while !pair.access.tick(0, 1, &CX) || store.revoke_log().1 > 0 {}
        pair.check();
        let live = pair.live.len();
        assert_eq!(
            (store.revoke_log().1, access.db_size(DB)),
            (0, live),
            "what was revoked is freed, the log is empty"
        );
        drop(access);
        store.invariants();
    });
}

/// A value written after a revoke, in a segment that was swept, moves to one that was not when the two are merged.
#[test]
fn merges_wait_until_both_are_swept() {
    let store = Store::new(Layout::new(1, [5; 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    let mut pair = Pair { access: &mut access, live: BTreeMap::new() };
    (0..KEYS).for_each(|number| pair.put(number));
    // Part of a pass, ending between any two segments.
    for ticks in 1..9 {
        pair.revoke(Selector::Prefix(b"a:"));
        (0..ticks).for_each(|_| assert!(!pair.access.tick(0, 1, &CX)));
        // Some of what was revoked is written again, the rest lies dead where the pass has not come by.
        (0..KEYS).filter(|number| number % 4 > 0).for_each(|number| pair.put(number));
        for number in pair.live.keys().copied().filter(|number| number % 40 > 3).collect::<Vec<_>>() {
            pair.remove(number);
        }
        pair.check();
        while !pair.access.tick(0, 1, &CX) {}
        pair.check();
        (0..KEYS).for_each(|number| pair.put(number));
    }
}
