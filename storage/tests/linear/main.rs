//! Threads against one store, judged per key: whatever they saw, one order of all calls explains it.
//!
//! A round is one store and many *bursts*. In a burst three threads make calls about four keys, each with a ticket
//! drawn before and after it, while a fourth makes room, ticks ahead of time, walks, and splits and merges segments;
//! then [`history`] searches an order for each key. Two of the keys are only ever written together, and must be seen
//! equal by whoever reads them together.
//!
//! The default is short; the long form is
//!
//! ```text
//! ROUNDS=5000 cargo test --release -p millpond-storage --test linear
//! ```
//!
//! A failure prints its `SEED`: the calls of the round are the same with it, the timing is not, so give `ROUNDS` too.
//!
//! Seen to fail, within 20 rounds each: with a `take` that does not wait for batches, with a flush or a swap that does
//! not take exclusive access, and with an `atomically` that lets its locks go before it acts.

#![allow(clippy::disallowed_methods)]

mod history;
#[path = "../model/layouts.rs"]
#[allow(dead_code)]
mod layouts;
#[path = "../model/schedule.rs"]
#[allow(dead_code)]
mod schedule;

use history::{Answer, Call, DBS, Event, Val, is_linearizable};
use layouts::{LAYOUTS, layout};
use parking_lot::{Condvar, Mutex};
use schedule::{Random, named, number};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use storage::{Access, Cx, Db, Millis, NewValue, Policy, Slot, Stage, Store, Value};

const WORKERS: usize = 3;
const CALLS: usize = 14;
const BURSTS: usize = 25;

/// Keys called one by one, and those called together.
const SINGLE: [&[u8]; 2] = [b"one", b"another"];
const PAIR: [&[u8]; 2] = [b"left", b"right"];
const KEYS: [&[u8]; 4] = [SINGLE[0], SINGLE[1], PAIR[0], PAIR[1]];

const CX: Cx = Cx { seed: 1, ..Cx::at(1_000_000) };
/// When mortal entries die, and when the ticks believe it to be.
const DEADLINE: Millis = Millis(2_000_000);
const LATER: Millis = Millis(3_000_000);

type Histories = [Vec<Event>; KEYS.len()];

/// What the threads of a round share.
struct Round {
    store: Store,
    evicting: bool,
    tickets: AtomicU64,
    /// Workers that have ended the burst.
    ended: AtomicUsize,
    meeting: Meeting,
    histories: Mutex<Histories>,
}

/// Where the threads of a round wait for each other; one that panics lets none wait for ever.
#[derive(Default)]
struct Meeting {
    /// Arrivals so far, and whether a thread has failed.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Meeting {
    fn wait(&self) {
        const ALL: usize = WORKERS + 1;
        let mut state = self.state.lock();
        state.0 += 1;
        let complete = state.0.next_multiple_of(ALL);
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |(arrived, failed)| *arrived < complete && !*failed);
        assert!(!state.1, "another thread has failed");
    }
}

/// Held by a thread of a round while it runs.
struct Leaving<'r>(&'r Round);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.meeting.state.lock().1 = true;
            self.0.meeting.changed.notify_all();
            self.0.ended.store(WORKERS, Ordering::Relaxed);
        }
    }
}

/// A worker in a burst.
struct Worker<'r> {
    round: &'r Round,
    random: Random,
    histories: Histories,
}

/// Lets others in between, now and then: interleavings that timing alone would hardly make.
fn jostle(random: &mut Random) {
    match random.below(40) {
        0 => std::thread::yield_now(),
        1..16 => (0..random.below(300)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}

/// Carries a call about one key out on the store.
fn carry_out(access: &mut Access<'_>, key: &[u8], call: &Call, random: &mut Random) -> Answer {
    let mut on = |db: &usize, act: &mut dyn FnMut(Slot<'_>) -> Answer| {
        access.one(Db(*db as u8), access.hash(key), key, &CX, |slot| {
            let answer = act(slot);
            jostle(random);
            answer
        })
    };
    match call {
        Call::Get { db } => on(db, &mut |slot| {
            Answer::Value(slot.live().map(|live| match live.value() {
                Value::Int(n) => Val::Int(n),
                Value::Raw(bytes) => Val::Bytes(bytes.to_vec()),
                Value::Shared(bytes) => Val::Bytes(bytes.to_vec()),
                Value::Hash(_) => unreachable!("only strings are stored here"),
            }))
        }),
        Call::Set { db, val, mortal } => on(db, &mut |slot| {
            let val = match val {
                Val::Int(n) => NewValue::Int(*n),
                Val::Bytes(bytes) => NewValue::Bytes(bytes),
            };
            slot.put(val, mortal.then_some(DEADLINE));
            Answer::Done
        }),
        Call::Increment { db } => on(db, &mut |slot| {
            let next = match &slot {
                Slot::Live(live) => match live.value() {
                    Value::Int(n) => Some(n + 1),
                    _ => None,
                },
                Slot::Vacant(_) => Some(1),
            };
            match (slot, next) {
                (Slot::Live(mut live), Some(n)) => live.put_int(n),
                (slot @ Slot::Vacant(_), Some(n)) => slot.put(NewValue::Int(n), None),
                (_, None) => {}
            }
            Answer::Number(next)
        }),
        Call::Append { db, bytes } => on(db, &mut |slot| match slot {
            Slot::Live(mut live) => {
                let mut len = 0;
                live.edit(|all| {
                    all.extend(bytes);
                    len = all.len();
                });
                Answer::Length(len)
            }
            slot @ Slot::Vacant(_) => {
                slot.put(NewValue::Bytes(bytes), None);
                Answer::Length(bytes.len())
            }
        }),
        Call::Remove { db } => on(db, &mut |slot| {
            let live = slot.live();
            let was_there = live.is_some();
            if let Some(live) = live {
                live.remove();
            }
            Answer::WasThere(was_there)
        }),
        Call::Flush { db } => {
            access.flush(&[Db(*db as u8)]);
            Answer::Done
        }
        Call::Swap => {
            access.swap(Db(0), Db(1));
            Answer::Done
        }
    }
}

impl Worker<'_> {
    fn ticket(&self) -> u64 {
        self.round.tickets.fetch_add(1, Ordering::SeqCst)
    }

    fn value(&mut self) -> Val {
        match self.random.below(12) {
            0..6 => Val::Int(self.random.below(1000) as i64),
            6..11 => Val::Bytes(vec![self.random.next() as u8; self.random.below(80) as usize]),
            _ => Val::Bytes(vec![self.random.next() as u8; 17_000]),
        }
    }

    /// Makes room as the dispatcher does before a write; a refusal changes nothing here.
    fn make_room(&self, access: &mut Access<'_>, key: &[u8]) {
        if self.round.evicting {
            access.make_room(Some(access.hash(key)), 100, &CX);
        }
    }

    fn record(&mut self, keys: &[usize], called: u64, call: &Call, answers: &[Answer]) {
        let returned = self.ticket();
        for (nth, key) in keys.iter().enumerate() {
            let answer = answers[nth % answers.len()].clone();
            self.histories[*key].push(Event { called, returned, call: call.clone(), answer });
        }
    }

    /// One call about one key, or about all.
    fn call_one(&mut self, access: &mut Access<'_>) {
        let (nth, db) = (self.random.below(SINGLE.len() as u64) as usize, self.random.below(4) as usize / 3);
        let call = match self.random.below(24) {
            0..8 => Call::Get { db },
            8..12 => Call::Set { db, val: self.value(), mortal: self.random.once_in(4) },
            12..16 => Call::Increment { db },
            16..19 => Call::Append { db, bytes: b"tail"[self.random.below(4) as usize..].to_vec() },
            19..22 => Call::Remove { db },
            22 => Call::Flush { db },
            _ => Call::Swap,
        };
        let all = matches!(call, Call::Flush { .. } | Call::Swap);
        self.make_room(access, SINGLE[nth]);
        let called = self.ticket();
        let answer = carry_out(access, SINGLE[nth], &call, &mut self.random);
        self.record(if all { &[0, 1, 2, 3] } else { std::slice::from_ref(&nth) }, called, &call, &[answer]);
    }

    /// One call about the pair.
    fn call_pair(&mut self, access: &mut Access<'_>) {
        let db = self.random.below(4) as usize / 3;
        let call = match self.random.below(8) {
            0..4 => Call::Get { db },
            4..7 => Call::Set { db, val: self.value(), mortal: false },
            _ => Call::Remove { db },
        };
        self.make_room(access, PAIR[0]);
        let hashes = PAIR.map(|key| access.hash(key));
        let called = self.ticket();
        let random = &mut self.random;
        let everything = random.once_in(4);
        let both = |access: &mut Access<'_>| PAIR.map(|key| carry_out(access, key, &call, random));
        let answers = if everything { access.exclusively(both) } else { access.atomically(hashes, both) };
        self.record(&[2, 3], called, &call, &answers);
        let lost = |answer: &Answer| matches!(answer, Answer::Value(None) | Answer::WasThere(false));
        let may_differ = self.round.evicting && answers.iter().any(lost);
        assert!(may_differ || answers[0] == answers[1], "written together, seen apart: {answers:?}");
    }
}

impl Round {
    fn new(random: &mut Random) -> Self {
        let store = Store::new(layout(random.below(LAYOUTS as u64) as usize));
        let evicting = random.once_in(3);
        if evicting {
            let policies = [Policy::AllKeysLru, Policy::AllKeysRandom, Policy::AllKeysLfu];
            store.memory().set_policy(policies[random.below(3) as usize]);
            store.memory().set_limit(20_000);
        }
        Self {
            store,
            evicting,
            tickets: AtomicU64::new(0),
            ended: AtomicUsize::new(0),
            meeting: Meeting::default(),
            histories: Mutex::default(),
        }
    }

    /// A worker's part of a burst.
    fn work(&self, random: Random) {
        let mut participant = self.store.join();
        let mut worker = Worker { round: self, random, histories: Histories::default() };
        let mut left = CALLS;
        while left > 0 {
            let mut access = participant.batch();
            for stage in [Stage::Bucket, Stage::Entry] {
                KEYS.iter().for_each(|key| access.prefetch(Db(0), access.hash(key), stage));
            }
            for _ in 0..left.min(1 + worker.random.below(3) as usize) {
                jostle(&mut worker.random);
                if worker.random.once_in(3) {
                    worker.call_pair(&mut access)
                } else {
                    worker.call_one(&mut access)
                }
                left -= 1;
            }
        }
        let mut all = self.histories.lock();
        all.iter_mut().zip(worker.histories).for_each(|(all, history)| all.extend(history));
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// What goes on beside the workers and may change nothing they see but what is mortal or may be evicted.
    fn disturb(&self, random: &mut Random) {
        let mut participant = self.store.join();
        while self.ended.load(Ordering::Relaxed) < WORKERS {
            let mut access = participant.batch();
            let (stripe, stripes) = (random.below(64) as usize, access.stripes());
            match random.below(6) {
                0 => drop(access.tick(stripe, 1, &Cx { now: LATER, ..CX })),
                1 => access.for_each(Db(0), &CX, |_| {}),
                2 => access.settle(),
                3 => drop(access.exclusively(|access| access.tick(0, stripes, &CX))),
                // Enough keys for segments to split, and removed again for them to merge.
                n => {
                    for number in 0..random.below(300) {
                        let (db, key) = (Db(random.below(3) as u8), (number as u16).to_le_bytes());
                        let kh = access.hash(&key);
                        access.make_room(Some(kh), 50, &CX);
                        access.one(db, kh, &key, &CX, |slot| match slot {
                            Slot::Live(live) if n == 4 => live.remove(),
                            slot => slot.put(NewValue::Bytes(&[0; 30]), None),
                        });
                    }
                }
            }
        }
    }

    /// The end of a burst, by one thread while the others wait: a last look at every key, and the verdict.
    fn judge(&self) {
        let (mut participant, mut random) = (self.store.join(), Random(0));
        let mut access = participant.batch();
        let mut histories = std::mem::take(&mut *self.histories.lock());
        for (key, history) in KEYS.iter().zip(&mut histories) {
            for db in 0..DBS {
                let (called, returned, call) = (u64::MAX - 1, u64::MAX, Call::Get { db });
                let answer = carry_out(&mut access, key, &call, &mut random);
                history.push(Event { called, returned, call, answer });
            }
        }
        drop(access);
        self.store.invariants();
        participant.batch().flush(&[Db(0), Db(1), Db(2)]);
        for (key, mut history) in KEYS.iter().zip(histories) {
            history.sort_by_key(|event| event.called);
            assert!(
                is_linearizable(&history, self.evicting),
                "no order explains what was seen of {} (evicting: {}): {history:#?}",
                String::from_utf8_lossy(key),
                self.evicting
            );
        }
        self.ended.store(0, Ordering::Relaxed);
    }
}

#[test]
fn every_key_has_one_history() {
    let (seed, rounds) = (number("SEED"), number("ROUNDS").unwrap_or(20));
    (0..rounds).for_each(|nth| named(seed.unwrap_or(nth), one_round));
}

fn one_round(mut random: Random) {
    let round = Round::new(&mut random);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..=WORKERS as u64)
            .map(|thread| {
                let (round, mut random) = (&round, Random(random.next() ^ thread));
                scope.spawn(move || {
                    let _leaving = Leaving(round);
                    for _ in 0..BURSTS {
                        round.meeting.wait();
                        if thread == 0 {
                            round.disturb(&mut random)
                        } else {
                            round.work(Random(random.next()))
                        }
                        round.meeting.wait();
                        if thread == 0 {
                            round.judge();
                        }
                    }
                })
            })
            .collect();
        // Joined one by one, which ThreadSanitizer sees; it does not see what the end of a scope waits for.
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        assert!(ends.iter().all(Result::is_ok), "a thread has failed");
    });
}
