//! Memory that holds little is emptied and given back while the store goes on.

#![allow(clippy::disallowed_methods)]

use storage::{Access, Cx, Db, Layout, NewValue, Slot, Store, Value, arena_memory, tend_memory};

const STRIPES: usize = 16;
/// One key in so many stays.
const KEPT: u64 = 8;

/// Keys with values of one size.
struct Load<'a, 's> {
    access: &'a mut Access<'s>,
    keys: u64,
    size: usize,
}

impl Load<'_, '_> {
    fn value(&self, number: u64) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(self.size).collect()
    }

    fn on<R>(&mut self, number: u64, act: impl FnOnce(Slot<'_>) -> R) -> R {
        let key = number.to_le_bytes();
        let kh = self.access.hash(&key);
        self.access.one(Db(0), kh, &key, &Cx::at(1), act)
    }

    fn put(&mut self, number: u64) {
        let value = self.value(number);
        self.on(number, |slot| slot.put(NewValue::Bytes(&value), None));
    }

    fn remove(&mut self, number: u64) {
        self.on(number, |slot| slot.live().expect("the key is there").remove());
    }

    fn check(&mut self, number: u64) {
        let value = self.value(number);
        self.on(number, |slot| match slot.live().expect("the key is there").value() {
            Value::Raw(bytes) => assert!(bytes == value, "key {number}"),
            other => panic!("{other:?}"),
        });
    }

    fn tick(&mut self) -> bool {
        tend_memory();
        self.access.tick(0, STRIPES, &Cx::at(1))
    }

    fn what_deletes_leave_is_given_back(mut self) {
        let (keys, slack) = (self.keys, 10 << 20);
        (0..keys).for_each(|number| self.put(number));
        let full = arena_memory();
        assert!(full.used > keys * self.size as u64 && full.held < full.used + full.used / 8 + slack, "{full:?}");
        (0..keys).filter(|number| number % KEPT != 0).for_each(|number| self.remove(number));
        // As long as rounds of moving take, with writes in between.
        for round in 0..400 {
            self.tick();
            self.put((round * KEPT) % keys);
        }
        let sparse = arena_memory();
        assert!(sparse.used < full.used / 4, "{sparse:?} after {full:?}");
        assert!(sparse.held < sparse.used * 115 / 100 + slack, "{sparse:?} after {full:?}");
        (0..keys).step_by(KEPT as usize).for_each(|number| self.check(number));
        let mut walked = 0;
        self.access.for_each(Db(0), &Cx::at(1), |_| walked += 1);
        assert_eq!(walked, keys / KEPT);
        // Filled again, what was given up is taken anew.
        (0..keys).for_each(|number| self.put(number));
        (0..keys).for_each(|number| self.check(number));
        self.access.flush(&[Db(0)]);
        while !self.tick() {}
        // A few chunks at a time.
        (0..20).for_each(|_| assert!(self.tick()));
        let empty = arena_memory();
        assert_eq!((empty.used, empty.held, empty.leaving), (0, 0, 0));
    }
}

/// One test, since the arena is the process's. Where blocks come straight from the allocator there is nothing to see.
#[test]
#[cfg_attr(plain_blocks, ignore = "needs the arena")]
fn what_deletes_leave_is_given_back() {
    let store = Store::new(Layout::new(STRIPES, [1, 2, 3, 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    for (keys, size) in [(240_000, 60), (30_000, 1000), (4_000, 6000), (3_000, 11_000), (2_400, 16_384)] {
        Load { access: &mut access, keys, size }.what_deletes_leave_is_given_back();
    }
    drop(access);
    store.invariants();
}
