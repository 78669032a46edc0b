//! Memory that holds little is emptied and given back while the store goes on.

#![allow(clippy::disallowed_methods)]

use storage::{Access, Cx, Db, Layout, NewValue, Store, Value, arena_memory};

const STRIPES: usize = 16;
const KEYS: u64 = 300_000;
const KEPT: u64 = 8;

fn value(number: u64) -> [u8; 60] {
    let mut value = [0; 60];
    value.chunks_mut(4).for_each(|chunk| chunk.copy_from_slice(&(number as u32).to_le_bytes()));
    value
}

fn put(access: &mut Access<'_>, number: u64) {
    let key = number.to_le_bytes();
    let kh = access.hash(&key);
    access.one(Db(0), kh, &key, &Cx::at(1), |slot| slot.put(NewValue::Bytes(&value(number)), None));
}

fn remove(access: &mut Access<'_>, number: u64) {
    let key = number.to_le_bytes();
    let kh = access.hash(&key);
    access.one(Db(0), kh, &key, &Cx::at(1), |slot| slot.live().map(|live| live.remove()));
}

fn check(access: &mut Access<'_>, number: u64) {
    let key = number.to_le_bytes();
    let kh = access.hash(&key);
    let held = access.one(Db(0), kh, &key, &Cx::at(1), |slot| {
        slot.live().map(|live| match live.value() {
            Value::Raw(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        })
    });
    assert_eq!(held.as_deref(), Some(&value(number)[..]), "key {number}");
}

/// Where blocks come straight from the allocator there is nothing to give back.
#[test]
#[cfg_attr(plain_blocks, ignore = "needs the arena")]
fn what_deletes_leave_is_given_back() {
    let store = Store::new(Layout::new(STRIPES, [1, 2, 3, 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    (0..KEYS).for_each(|number| put(&mut access, number));
    let full = arena_memory();
    assert!(full.held > KEYS * 70 && full.held < full.used + full.used / 8 + (8 << 20), "{full:?}");
    (0..KEYS).filter(|number| number % KEPT != 0).for_each(|number| remove(&mut access, number));
    // As long as rounds of moving take, with writes in between.
    for round in 0..400 {
        access.tick(0, STRIPES, &Cx::at(1));
        put(&mut access, (round * KEPT) % KEYS);
    }
    let sparse = arena_memory();
    assert!(sparse.used < full.used / 4, "{sparse:?} after {full:?}");
    assert!(sparse.held < sparse.used * 115 / 100 + (10 << 20), "{sparse:?} after {full:?}");
    (0..KEYS).step_by(KEPT as usize).for_each(|number| check(&mut access, number));
    let mut walked = 0;
    access.for_each(Db(0), &Cx::at(1), |_| walked += 1);
    assert_eq!(walked, KEYS / KEPT);
    // Filled again, what was given up is taken anew.
    (0..KEYS).for_each(|number| put(&mut access, number));
    (0..KEYS).for_each(|number| check(&mut access, number));
    access.flush(&[Db(0)]);
    while !access.tick(0, STRIPES, &Cx::at(1)) {}
    (0..4).for_each(|_| assert!(access.tick(0, STRIPES, &Cx::at(1))));
    let empty = arena_memory();
    assert_eq!((empty.used, empty.held, empty.leaving), (0, 0, 0));
    drop(access);
    store.invariants();
}
