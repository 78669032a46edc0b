//! M7: memory never exceeds its limit by more than one operation and what stripes have not flushed; victims are those
//! the policy allows, and a write is refused only if there are none. Quality: the engine beats random on a skewed trace.

use crate::layouts::layout;
use crate::schedule::Random;
use storage::{Access, Cx, Db, Layout, Millis, NewValue, Participant, Policy, Slot, Store};

const DB: Db = Db(0);
const MIB: u64 = 1 << 20;
const NOW_MS: u64 = 1_000_000;

fn limited(stripes: usize, limit: u64, policy: Policy) -> Store {
    let store = Store::new(Layout::new(stripes, [stripes as u64, 2, 3, 4]));
    store.memory().set_limit(limit);
    store.memory().set_policy(policy);
    store
}

fn cx(seed: u64) -> Cx {
    Cx { seed, ..Cx::at(NOW_MS) }
}

fn name(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

/// A write as the dispatcher makes it; false if it was refused.
fn write(access: &mut Access<'_>, db: Db, number: u64, value: &[u8], ttl_ms: Option<u64>) -> bool {
    let (key, cx) = (name(number), cx(number));
    let kh = access.hash(&key);
    let granted = access.make_room(Some(kh), value.len() as u64, &cx);
    if granted {
        let deadline = ttl_ms.map(|ttl| Millis(NOW_MS + ttl));
        access.one(db, kh, &key, &cx, |slot| slot.put(NewValue::Bytes(value), deadline));
    }
    granted
}

fn live(access: &mut Access<'_>, db: Db, number: u64) -> bool {
    let key = name(number);
    access.one(db, access.hash(&key), &key, &cx(0), |slot| slot.is_live())
}

fn batch<R>(store: &Store, act: impl FnOnce(&mut Access<'_>) -> R) -> R {
    let mut participant: Participant<'_> = store.join();
    act(&mut participant.batch())
}

/// Full rate, sizes that change from small to large and back, under every evicting policy.
#[test]
fn the_limit_holds_at_full_rate() {
    const LIMIT: u64 = 6 * MIB;
    for (policy_name, policy) in Policy::NAMES {
        for stripes in [1, 4, 64] {
            if policy == Policy::NoEviction {
                continue;
            }
            let store = limited(stripes, LIMIT, policy);
            batch(&store, |access| {
                // These must survive: some may not be evicted, some have no deadline.
                for number in 0..200 {
                    assert!(write(access, DB, number, &[0; 100], None));
                    let (key, kh) = (name(number), access.hash(&name(number)));
                    if !policy.is_volatile() {
                        access.one(DB, kh, &key, &cx(0), |slot| slot.live().expect("put").set_no_evict(true));
                    }
                }
                let mut random = Random(7);
                let mut number = 1000;
                let phases = [(100, 30_000), (60_000, 300), (300_000, 60), (20, 15_000), (5000, 2000)];
                for (len, writes) in phases {
                    let value = vec![1; len];
                    for _ in 0..writes {
                        number += 1;
                        let ttl = (policy.is_volatile() || random.once_in(3)).then(|| 1000 + random.below(1 << 30));
                        let db = Db(random.below(3) as u8);
                        assert!(write(access, db, number, &value, ttl), "{policy_name}: there is always a victim");
                        let used = store.memory().used();
                        let bound = LIMIT + len as u64 + 512 + MIB;
                        assert!(used <= bound, "{policy_name}, {stripes} stripes: {used} after writes of {len} bytes");
                    }
                }
                assert!(store.memory().used() > LIMIT / 2, "{policy_name}: no more than needed was evicted");
                assert!((0..200).all(|number| live(access, DB, number)), "{policy_name}: a protected key is gone");
            });
            store.invariants();
        }
    }
}

#[test]
fn noeviction_refuses_and_recovers() {
    let store = limited(4, MIB, Policy::NoEviction);
    batch(&store, |access| {
        let refused = (0..).find(|number| !write(access, DB, *number, &[1; 1000], None)).expect("it fills up");
        assert!(refused > 500);
        assert!((0..refused).all(|number| live(access, DB, number)));
        assert_eq!(access.counts().evicted, 0);
        assert!(access.make_room(None, 0, &cx(0)) || store.memory().used() > store.memory().limit());
        for number in 0..refused / 2 {
            let key = name(number);
            access.one(DB, access.hash(&key), &key, &cx(0), |slot| slot.live().expect("kept").remove());
        }
        while !access.tick(0, access.stripes(), &cx(0)) {}
        assert!(write(access, DB, refused, &[1; 1000], None));
    });
}

/// A flushed database is freed before anything is evicted or refused.
#[test]
fn flushed_memory_makes_room_first() {
    for policy in [Policy::NoEviction, Policy::AllKeysLru] {
        let store = limited(4, MIB, policy);
        batch(&store, |access| {
            (0..500).for_each(|number| assert!(write(access, Db(1), number, &[1; 1500], None)));
            access.flush(&[Db(1)]);
            (0..500).for_each(|number| assert!(write(access, DB, number, &[1; 1500], None)));
            assert_eq!(access.counts().evicted, 0);
        });
    }
}

/// Expired entries go before any live one.
#[test]
fn the_dead_go_first() {
    let store = limited(1, 800 * 1024, Policy::AllKeysLru);
    batch(&store, |access| {
        (0..400).for_each(|number| assert!(write(access, DB, number, &[1; 1000], Some(500))));
        (400..600).for_each(|number| assert!(write(access, DB, number, &[1; 1000], None)));
        let later = Cx::at(NOW_MS + 5000);
        for number in 600..850 {
            let (key, kh) = (name(number), access.hash(&name(number)));
            assert!(access.make_room(Some(kh), 1000, &later));
            access.one(DB, kh, &key, &later, |slot| slot.put(NewValue::Bytes(&[1; 1000]), None));
        }
        assert_eq!(access.counts().evicted, 0);
        assert!(access.counts().expired >= 100, "{}", access.counts().expired);
    });
}

/// Symptom: a write was refused although keys could go. Causes: the hand gave up where its bounded sweep met no key at
/// zero; the search met few keys with a deadline among many without; one database without candidates ended the search
/// in a stripe.
#[test]
fn a_write_is_refused_only_without_candidates() {
    for policy in [Policy::AllKeysLru, Policy::AllKeysLfu] {
        // Written under a policy without queues, all keys belong to the hand.
        let store = limited(1, 4 * MIB, Policy::NoEviction);
        batch(&store, |access| {
            (0..20_000).for_each(|number| assert!(write(access, DB, number, &[1; 60], None)));
            for number in (0..20_000).cycle().take(80_000) {
                let key = name(number);
                access.one(DB, access.hash(&key), &key, &cx(0), |slot| slot.live().map(|mut live| live.touch()));
            }
            store.memory().set_policy(policy);
            store.memory().set_limit(store.memory().used());
            assert!(write(access, DB, 1 << 40, &[1; 1000], None), "{policy:?}: all keys are hot, one must go");
        });
    }
    for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom, Policy::VolatileTtl] {
        let store = limited(1, 64 * MIB, policy);
        batch(&store, |access| {
            (0..30_000).for_each(|number| assert!(write(access, DB, number, &[1; 60], None)));
            let doomed = [(Db(0), 99_999), (Db(1), 77), (Db(2), 78)];
            doomed.iter().for_each(|(db, number)| assert!(write(access, *db, *number, &[1; 60], Some(1 << 30))));
            store.memory().set_limit(store.memory().used() - 100);
            assert!(write(access, DB, 5, &[1; 60], None), "{policy:?}: three keys among 30,000 may go");
            assert!(doomed.iter().any(|(db, number)| !live(access, *db, *number)));
            store.memory().set_limit(store.memory().used() / 2);
            while access.counts().evicted < 3 {
                assert!(write(access, DB, 5, &[1; 60], None));
            }
            assert!(!write(access, DB, 5, &[1; 60], None), "{policy:?}: none is left that may go");
            assert!((0..30_000).all(|number| live(access, DB, number)));
        });
    }
}

#[test]
fn volatile_ttl_takes_the_nearest_deadlines() {
    let store = limited(4, 64 * MIB, Policy::VolatileTtl);
    batch(&store, |access| {
        for number in 0..20_000 {
            let ttl = if number % 2 == 0 { 5000 + number * 20 } else { 86_400_000 + number * 1000 };
            assert!(write(access, DB, number, &[1; 100], Some(ttl)));
        }
        access.settle();
        store.memory().set_limit(store.memory().used());
        (20_000..26_000).for_each(|number| assert!(write(access, DB, number, &[1; 100], None)));
        let near = (0..20_000).filter(|number| number % 2 == 0 && !live(access, DB, *number)).count();
        let far = (0..20_000).filter(|number| number % 2 == 1 && !live(access, DB, *number)).count();
        assert!(near >= 3000 && far == 0, "{near} near and {far} far deadlines went");
    });
}

/// After the limit was lowered each write gives back some of what is over, so that none takes long and all together
/// come back under it.
#[test]
fn a_lowered_limit_is_reached_in_small_steps() {
    let store = limited(16, 64 * MIB, Policy::AllKeysLru);
    batch(&store, |access| {
        (0..100_000).for_each(|number| assert!(write(access, DB, number, &[1; 100], None)));
        store.memory().set_limit(store.memory().used() / 4);
        let mut writes = 0;
        while store.memory().used() > store.memory().limit() {
            let before = access.counts().evicted;
            assert!(write(access, DB, 200_000 + writes, &[1; 100], None));
            assert!(access.counts().evicted - before < 300, "one write, many victims");
            writes += 1;
            assert!(writes < 5000);
        }
    });
    store.invariants();
}

#[test]
fn nominating_removes_nothing() {
    for (_, policy) in Policy::NAMES {
        let store = limited(4, 64 * MIB, policy);
        batch(&store, |access| {
            (0..500)
                .for_each(|number| assert!(write(access, DB, number, &[1; 100], (number % 2 == 0).then_some(9000))));
            for _ in 0..50 {
                for (db, key) in access.nominate(500, &cx(0)) {
                    assert_eq!(db, DB);
                    let number = u64::from_le_bytes((*key).try_into().expect("a key of this test"));
                    assert!(live(access, DB, number));
                    assert!(!policy.is_volatile() || number % 2 == 0);
                }
            }
            assert_eq!((access.db_size(DB), access.counts().evicted), (500, 0));
        });
        store.invariants();
    }
}

/// Hits of a cache-aside client that asks for keys by a Zipf law, with a tenth of the requests for keys never seen
/// again.
fn hits_on_a_skewed_trace(policy: Policy) -> u32 {
    const KEYS: usize = 20_000;
    let weights: Vec<f64> = (1..=KEYS).map(|rank| 1.0 / rank as f64).collect();
    let total: f64 = weights.iter().sum();
    let mut reach = 0.0;
    let cumulated: Vec<f64> = weights
        .iter()
        .map(|weight| {
            reach += weight / total;
            reach
        })
        .collect();
    let store = limited(4, 350_000, policy);
    batch(&store, |access| {
        let (mut random, mut hits) = (Random(11), 0);
        for request in 0..120_000u64 {
            let point = random.below(1 << 53) as f64 / (1u64 << 53) as f64;
            let number = if random.once_in(10) {
                1_000_000 + request
            } else {
                cumulated.partition_point(|reach| *reach < point) as u64
            };
            let (key, cx) = (name(number), cx(request));
            let kh = access.hash(&key);
            let hit = access.one(DB, kh, &key, &cx, |slot| match slot {
                Slot::Live(mut live) => {
                    live.touch();
                    true
                }
                Slot::Vacant(_) => false,
            });
            hits += u32::from(hit && request >= 40_000);
            if !hit {
                access.make_room(Some(kh), 64, &cx);
                access.one(DB, kh, &key, &cx, |slot| slot.put(NewValue::Bytes(&[1; 64]), None));
            }
        }
        hits
    })
}

#[test]
fn the_engine_beats_random_on_a_skewed_trace() {
    let (engine, random) = (hits_on_a_skewed_trace(Policy::AllKeysLru), hits_on_a_skewed_trace(Policy::AllKeysRandom));
    // 8,000 of 80,000 requests cannot hit.
    let (engine, random) = (72_000 - engine, 72_000 - random);
    println!("avoidable misses: {engine} with the engine, {random} at random");
    assert!(engine * 10 < random * 9, "{engine} avoidable misses, {random} at random");
}

/// Hostile hashes: the limit holds, and the queues stay consistent when many keys share a tag.
#[test]
fn equal_tags_do_not_confuse_the_queues() {
    for number in 5..10 {
        let store = Store::new(layout(number));
        store.memory().set_limit(200_000);
        store.memory().set_policy(Policy::AllKeysLfu);
        batch(&store, |access| {
            for number in 0..3000 {
                assert!(write(access, DB, number % 900, &[1; 400], (number % 3 == 0).then_some(100 + number)));
                assert!(store.memory().used() <= 200_000 + 4000 + MIB);
            }
        });
        store.invariants();
    }
}

/// Values of new keys that grow and shrink in place, inside the entry or outside, are booked where the entry stands.
#[test]
fn edits_of_queued_entries_are_booked() {
    let store = limited(1, 64 * MIB, Policy::AllKeysLru);
    batch(&store, |access| {
        for number in 0..50 {
            assert!(write(access, DB, number, &vec![1; 700 * number as usize], None));
            for grown in [10, 5000, 40_000] {
                let (key, kh) = (name(number), access.hash(&name(number)));
                let edit = |bytes: &mut Vec<u8>| bytes.resize(bytes.len() + grown, 2);
                access.one(DB, kh, &key, &cx(0), |slot| slot.live().expect("put").edit(edit));
                access.one(DB, kh, &key, &cx(0), |slot| slot.live().expect("put").edit(Vec::shrink_to_fit));
                store.invariants();
            }
        }
        (0..50).for_each(|number| assert!(live(access, DB, number)));
    });
}
