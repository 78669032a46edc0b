//! Threads: one key is one step, `atomically` and `exclusively` are one step over many keys, nothing waits for itself.

use crate::schedule::Random;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use storage::{Access, Cx, Db, Layout, Mode, NewValue, Overflow, Policy, Selector, Slot, Store, Value};

const THREADS: u64 = 4;
const CX: fn() -> Cx = || Cx::at(1000);

/// Fails instead of hanging if `act` is not done in a minute.
fn without_deadlock(act: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        act();
        // The receiver may have given up: then its panic is the one to see.
        let _ = done.send(());
    });
    match wait.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock: not done in a minute"),
        _ => thread.join().expect("no assertion failed"),
    }
}

/// Joins threads one by one: ThreadSanitizer does not see what the end of a scope waits for.
fn join(threads: Vec<ScopedJoinHandle<'_, ()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("no assertion failed"));
}

fn read(access: &mut Access<'_>, db: Db, key: &[u8]) -> Option<i64> {
    access.one(db, access.hash(key), key, &CX(), |slot| match slot.live()?.value() {
        Value::Int(n) => Some(n),
        _ => panic!("only integers here"),
    })
}

fn write(access: &mut Access<'_>, db: Db, key: &[u8], n: i64) {
    access.one(db, access.hash(key), key, &CX(), |slot| slot.put(NewValue::Int(n), None));
}

fn increment(access: &mut Access<'_>, db: Db, key: &[u8]) -> i64 {
    access.one(db, access.hash(key), key, &CX(), |slot| match slot {
        Slot::Live(mut live) => {
            let Value::Int(n) = live.value() else { panic!("only integers here") };
            live.put_int(n + 1);
            n + 1
        }
        Slot::Vacant(vacant) => {
            vacant.insert(NewValue::Int(1), None);
            1
        }
    })
}

/// Per key, the increments of all threads form one order: every value is handed out exactly once.
#[test]
fn increments_of_a_key_are_in_one_order() {
    const TURNS: u64 = 20_000;
    const KEYS: usize = 8;
    without_deadlock(|| {
        let store = Store::new(Layout::new(2, [1; 4]));
        let mut handed_out: Vec<Vec<i64>> = vec![Vec::new(); KEYS];
        std::thread::scope(|scope| {
            let store = &store;
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn(move || {
                        let (mut participant, mut random) = (store.join(), Random(thread));
                        let mut got: Vec<Vec<i64>> = vec![Vec::new(); KEYS];
                        for _ in 0..TURNS / 16 {
                            let mut access = participant.batch();
                            for _ in 0..16 {
                                let key = random.below(KEYS as u64) as u8;
                                got[usize::from(key)].push(increment(&mut access, Db(0), &[key]));
                            }
                        }
                        got
                    })
                })
                .collect();
            for thread in threads {
                for (all, got) in handed_out.iter_mut().zip(thread.join().expect("no assertion failed")) {
                    assert!(got.is_sorted(), "what one thread sees only grows");
                    all.extend(got);
                }
            }
        });
        for mut values in handed_out {
            values.sort_unstable();
            let last = values.len() as i64;
            assert!(values.into_iter().eq(1..=last));
        }
        store.invariants();
    });
}

/// Transfers between accounts keep their sum, seen by readers of all accounts at once, by takers of the whole store and
/// at the end, while other databases are flushed and swapped, ticks run and walks pass.
#[test]
fn transfers_keep_the_sum() {
    const ACCOUNTS: u8 = 24;
    const SUM: i64 = ACCOUNTS as i64 * 100;
    without_deadlock(|| {
        let store = Store::new(Layout::new(8, [2; 4]));
        {
            let mut participant = store.join();
            let mut access = participant.batch();
            (0..ACCOUNTS).for_each(|account| write(&mut access, Db(0), &[account], 100));
        }
        let running = AtomicUsize::new(THREADS as usize);
        std::thread::scope(|scope| {
            let (store, running) = (&store, &running);
            let mut threads = Vec::new();
            for thread in 0..THREADS {
                threads.push(scope.spawn(move || {
                    let (mut participant, mut random) = (store.join(), Random(thread));
                    for _ in 0..3000 {
                        let (from, to) = (random.below(ACCOUNTS.into()) as u8, random.below(ACCOUNTS.into()) as u8);
                        let mut access = participant.batch();
                        let keys = [access.hash(&[from]), access.hash(&[to])];
                        access.atomically(keys, |access| {
                            let amount = random.below(50) as i64;
                            let left = read(access, Db(0), &[from]).expect("accounts stay");
                            write(access, Db(0), &[from], left - amount);
                            let left = read(access, Db(0), &[to]).expect("accounts stay");
                            write(access, Db(0), &[to], left + amount);
                        });
                        write(&mut access, Db(1), &random.next().to_le_bytes(), 1);
                    }
                    running.fetch_sub(1, Ordering::Relaxed);
                }));
            }
            let sum = |access: &mut Access<'_>| -> i64 {
                (0..ACCOUNTS).map(|account| read(access, Db(0), &[account]).expect("accounts stay")).sum()
            };
            threads.push(scope.spawn(move || {
                let mut participant = store.join();
                while running.load(Ordering::Relaxed) > 0 {
                    let mut access = participant.batch();
                    let keys: Vec<_> = (0..ACCOUNTS).map(|account| access.hash(&[account])).collect();
                    assert_eq!(access.atomically(keys, sum), SUM);
                    assert_eq!(access.exclusively(sum), SUM);
                }
            }));
            threads.push(scope.spawn(move || {
                let mut participant = store.join();
                while running.load(Ordering::Relaxed) > 0 {
                    let mut access = participant.batch();
                    access.flush(&[Db(1), Db(2)]);
                    access.swap(Db(1), Db(2));
                    access.tick(0, 8, &CX());
                    let mut accounts = 0;
                    access.for_each(Db(0), &CX(), |_| accounts += 1);
                    assert_eq!(accounts, ACCOUNTS);
                }
            }));
            join(threads);
        });
        let mut participant = store.join();
        let mut access = participant.batch();
        assert_eq!(
            access.exclusively(|access| (0..ACCOUNTS).filter_map(|a| read(access, Db(0), &[a])).sum::<i64>()),
            SUM
        );
        drop(access);
        store.invariants();
    });
}

/// Two keys always written together are seen together or not at all, whenever the database is flushed; and two
/// databases swapped are never seen half swapped.
#[test]
fn flush_and_swap_are_one_step() {
    without_deadlock(|| {
        let store = Store::new(Layout::new(4, [3; 4]));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (store, done) = (&store, &done);
            let sides = [b"left".as_slice(), b"right"];
            let mut threads = Vec::new();
            threads.push(scope.spawn(move || {
                let mut participant = store.join();
                for n in 0..8000 {
                    let mut access = participant.batch();
                    let keys = sides.map(|side| access.hash(side));
                    access.atomically(keys, |access| sides.iter().for_each(|side| write(access, Db(0), side, n)));
                }
                done.store(true, Ordering::Relaxed);
            }));
            threads.push(scope.spawn(move || {
                let mut participant = store.join();
                while !done.load(Ordering::Relaxed) {
                    let mut access = participant.batch();
                    access.flush(&[Db(0)]);
                    access.exclusively(|access| {
                        write(access, Db(4), b"side", 4);
                        write(access, Db(5), b"side", 5);
                    });
                    access.swap(Db(4), Db(5));
                    access.tick(0, 4, &CX());
                    drop(access);
                    std::thread::yield_now();
                }
            }));
            threads.push(scope.spawn(move || {
                let mut participant = store.join();
                while !done.load(Ordering::Relaxed) {
                    let mut access = participant.batch();
                    let keys = sides.map(|side| access.hash(side));
                    let [left, right] = access.atomically(keys, |access| sides.map(|side| read(access, Db(0), side)));
                    assert_eq!(left, right, "written together, flushed together");
                    let key = access.hash(b"side");
                    let pair = access
                        .atomically([key], |access| [Db(4), Db(5)].map(|db| read(access, db, b"side").unwrap_or(0)));
                    assert!(matches!(pair, [0, 0] | [4, 5] | [5, 4]), "{pair:?}");
                }
            }));
            join(threads);
        });
        store.invariants();
    });
}

/// Writers over the limit, alone and with stripes locked, evict from each other's stripes: no deadlock, exact bytes.
#[test]
fn eviction_from_many_threads_stays_exact() {
    const LIMIT: u64 = 3 << 20;
    without_deadlock(|| {
        let store = Store::new(Layout::new(8, [4; 4]));
        store.memory().set_limit(LIMIT);
        store.memory().set_policy(Policy::AllKeysLru);
        std::thread::scope(|scope| {
            let store = &store;
            let mut threads = Vec::new();
            for thread in 0..THREADS {
                threads.push(scope.spawn(move || {
                    let (mut participant, mut random) = (store.join(), Random(thread));
                    for turn in 0..10_000 {
                        let mut access = participant.batch();
                        let (a, b) = (random.below(50_000).to_le_bytes(), random.below(50_000).to_le_bytes());
                        let hashes = [access.hash(&a), access.hash(&b)];
                        let put = |access: &mut Access<'_>, at: usize| {
                            let key = [&a, &b][at];
                            access.make_room(Some(hashes[at]), 400, &CX());
                            let value = vec![0; 100 + turn % 300];
                            access.one(Db(0), hashes[at], key, &CX(), |slot| slot.put(NewValue::Bytes(&value), None));
                        };
                        if turn % 3 == 0 {
                            access.atomically(hashes, |access| (0..2).for_each(|at| put(access, at)));
                        } else {
                            put(&mut access, 0);
                        }
                        if turn % 500 == 0 {
                            access.exclusively(|access| access.counts());
                        }
                        // Each other thread may be in the middle of one write.
                        assert!(store.memory().used() < LIMIT + (1 << 20) + THREADS * 1000);
                    }
                }));
            }
            join(threads);
        });
        store.invariants();
        let mut participant = store.join();
        let mut access = participant.batch();
        assert!(access.counts().evicted > 1000);
        access.flush(&[Db(0)]);
        while !access.tick(0, 8, &CX()) {}
        assert_eq!(store.memory().used(), 0);
    });
}

/// Threads come and go: only those in the store at one time count.
#[test]
fn more_threads_than_the_limit_in_turn() {
    let store = Store::new(Layout::new(1, [5; 4]));
    for _ in 0..3 * storage::limits::MAX_PARTICIPANTS {
        store.join().batch().exclusively(|access| increment(access, Db(0), b"visits"));
    }
    let visits = read(&mut store.join().batch(), Db(0), b"visits");
    assert_eq!(visits, Some(3 * storage::limits::MAX_PARTICIPANTS as i64));
}

/// Groups of keys written together and revoked together: readers of a whole group see it whole or not at all, and each
/// thread sees its own revokes and writes in their order, whatever others revoke and whoever sweeps.
#[test]
fn groups_are_revoked_as_one() {
    const TURNS: i64 = 3000;
    const GROUP: [&[u8]; 4] = [b"group:a", b"group:b", b"group:c", b"group:d"];
    without_deadlock(|| {
        let store = Store::new(Layout::new(4, [9; 4]));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (store, stop) = (&store, &stop);
            let whole = |access: &mut Access<'_>| {
                let hashes = GROUP.map(|key| access.hash(key));
                access.atomically(hashes, |access| GROUP.map(|key| read(access, Db(0), key)))
            };
            let write_all = |access: &mut Access<'_>, n| {
                let hashes = GROUP.map(|key| access.hash(key));
                access.atomically(hashes, |access| GROUP.iter().for_each(|key| write(access, Db(0), key, n)));
            };
            let others: Vec<_> = (0..2)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut participant = store.join();
                        while !stop.load(Ordering::Relaxed) {
                            let mut access = participant.batch();
                            // Both tick every stripe, so that they meet.
                            access.tick(thread, 4, &CX());
                            let seen = whole(&mut access);
                            assert!(seen.iter().all(|value| *value == seen[0]), "{seen:?}");
                        }
                    })
                })
                .collect();
            let workers: Vec<_> = (0..2)
                .map(|thread| {
                    scope.spawn(move || {
                        let (mut participant, mut random) = (store.join(), Random(thread));
                        let own = [format!("own:{thread}:a").into_bytes(), format!("own:{thread}:b").into_bytes()];
                        let prefix = own[0][..6].to_vec();
                        for turn in 0..TURNS {
                            let mut access = participant.batch();
                            own.iter().for_each(|key| write(&mut access, Db(0), key, turn));
                            match random.below(4) {
                                0 => drop(
                                    access
                                        .revoke(Db(0), &[Selector::Prefix(b"group:")], Mode::Hard, Overflow::Reject)
                                        .expect("room"),
                                ),
                                1 => write_all(&mut access, turn),
                                2 => {
                                    access
                                        .revoke(Db(0), &[Selector::Prefix(&prefix)], Mode::Hard, Overflow::Reject)
                                        .expect("room");
                                    assert!(own.iter().all(|key| read(&mut access, Db(0), key).is_none()));
                                }
                                _ => assert!(own.iter().all(|key| read(&mut access, Db(0), key) == Some(turn))),
                            }
                        }
                    })
                })
                .collect();
            join(workers);
            stop.store(true, Ordering::Relaxed);
            join(others);
        });
        let mut participant = store.join();
        let mut access = participant.batch();
        while !access.tick(0, 4, &CX()) || store.revoke_log().1 > 0 {}
        drop(access);
        store.invariants();
    });
}
