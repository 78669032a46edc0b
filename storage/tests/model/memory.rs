//! Bytes: what is counted goes back to nothing, and editing a long value costs what is edited.

use crate::layouts::{LAYOUTS, layout};
use crate::schedule::Random;
use storage::{Cx, Db, Layout, Millis, NewValue, Policy, Store, Value};

/// After deleting every key, and after flushing all databases, nothing is counted any more.
#[test]
fn an_empty_store_uses_nothing() {
    for number in 0..LAYOUTS {
        for by_flush in [false, true] {
            let store = Store::new(layout(number));
            store.memory().set_limit(1 << 30);
            store.memory().set_policy(Policy::AllKeysLfu);
            let mut participant = store.join();
            let mut access = participant.batch();
            let (cx, mut random) = (Cx::at(1000), Random(number as u64));
            let keys: Vec<(Db, [u8; 8])> =
                (0..3000u64).map(|n| (Db(random.below(16) as u8), n.to_le_bytes())).collect();
            for (db, key) in &keys {
                let value = vec![7; [0, 10, 100, 20_000][random.below(4) as usize]];
                let deadline = random.once_in(2).then(|| Millis(2000 + random.below(1_000_000_000)));
                access.one(*db, access.hash(key), key, &cx, |slot| slot.put(NewValue::Bytes(&value), deadline));
            }
            store.invariants();
            assert!(store.memory().dataset() > 3000 * 40);
            let peak = store.memory().peak();
            if by_flush {
                access.flush(&(0..16).map(Db).collect::<Vec<_>>());
                assert!(store.memory().dataset() > 3000 * 40, "flushed tables count until they are freed");
            } else {
                for (db, key) in &keys {
                    access.one(*db, access.hash(key), key, &cx, |slot| slot.live().expect("put before").remove());
                }
            }
            while !access.tick(0, access.stripes(), &cx) {}
            store.invariants();
            assert_eq!((store.memory().used(), store.memory().dataset()), (0, 0), "layout {number}");
            assert!(store.memory().peak() >= peak);
            store.memory().reset_peak();
            assert_eq!(store.memory().peak(), 0);
        }
    }
}

#[test]
fn outside_bytes_count_towards_use_and_peak() {
    let store = Store::new(Layout::new(1, [1; 4]));
    store.memory().charge_outside(5000);
    assert_eq!((store.memory().used(), store.memory().dataset()), (5000, 0));
    store.memory().charge_outside(-5000);
    assert_eq!((store.memory().used(), store.memory().peak()), (0, 5000));
}

/// Symptom: each APPEND to a long value copied all of it. Cause: the edit looked at the value through a reference of its
/// own, so it never was the only owner. It now asks for the kind first.
#[test]
fn appending_to_a_long_value_does_not_copy_it() {
    let store = Store::new(Layout::new(1, [1; 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    let (cx, kh) = (Cx::at(1), access.hash(b"long"));
    access.one(Db(0), kh, b"long", &cx, |slot| slot.put(NewValue::Bytes(&[1; 100_000]), None));
    access.one(Db(0), kh, b"long", &cx, |slot| slot.live().expect("put").edit(|bytes| bytes.reserve(1 << 20)));
    let mut at = Vec::new();
    for _ in 0..10 {
        access.one(Db(0), kh, b"long", &cx, |slot| {
            slot.live().expect("put").edit(|bytes| {
                bytes.extend([2; 1000]);
                at.push(bytes.as_ptr());
            })
        });
    }
    assert!(at.iter().all(|pointer| *pointer == at[0]), "the bytes stayed where they were");
    let held = access.one(Db(0), kh, b"long", &cx, |slot| match slot.live().expect("put").value() {
        Value::Shared(bytes) => bytes,
        _ => panic!("a long value is shared"),
    });
    access.one(Db(0), kh, b"long", &cx, |slot| slot.live().expect("put").edit(|bytes| bytes.clear()));
    assert_eq!(held.len(), 110_000, "a reply being sent keeps its bytes");
    store.invariants();
}
