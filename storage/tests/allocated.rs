//! What the store says it uses against what it took from the allocator, in the allocator's size classes, and from the
//! arena.

#![allow(clippy::disallowed_methods)]

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::cell::Cell;
use storage::{Access, Cx, Db, Layout, Millis, NewValue, Policy, Store, arena_memory, good_size};

struct Counting;

thread_local! {
    /// By thread: the test runner's own allocates whenever it likes.
    static ALLOCATED: Cell<i64> = const { Cell::new(0) };
}

fn allocated() -> i64 {
    ALLOCATED.get()
}

/// What tables took: allocations and blocks of the arena. Its lists of what is free are not counted.
fn taken() -> i64 {
    let arena = arena_memory();
    allocated() + arena.used as i64 - arena.lists as i64
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATED.set(allocated() + good_size(block.size()) as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, at: *mut u8, block: Block) {
        ALLOCATED.set(allocated() - good_size(block.size()) as i64);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn put(access: &mut Access<'_>, number: u64, len: usize, deadline: Option<Millis>) {
    let (key, cx) = (number.to_le_bytes(), Cx::at(1000));
    let kh = access.hash(&key);
    access.make_room(Some(kh), len as u64, &cx);
    access.one(Db(0), kh, &key, &cx, |slot| slot.put(NewValue::Bytes(&[1; 70_000][..len]), deadline));
}

#[test]
fn used_is_what_was_allocated() {
    for hostile in [false, true] {
        let mut layout = Layout::new(4, [1, 2, 3, 4]);
        if hostile {
            layout.hasher = storage::Hasher::Fixed(|key| u64::from(key[0] % 8) << 61);
        }
        let store = Store::new(layout);
        store.memory().set_policy(Policy::AllKeysLru);
        store.memory().set_limit(4 << 20);
        let mut participant = store.join();
        let mut access = participant.batch();
        let (before, keys) = (taken(), if hostile { 600 } else { 12_000 });
        let check = |access: &mut Access<'_>, what: &str| {
            while !access.tick(0, 4, &Cx::at(1000)) {}
            let taken = taken() - before;
            let used = store.memory().dataset() as i64;
            assert!((used - taken).abs() <= 256, "{what}, hostile {hostile}: {used} used, {taken} taken");
        };
        let mortal = |number: u64| number.is_multiple_of(2).then(|| Millis(1_000_000 + number * 7919));
        (0..keys).for_each(|number| put(&mut access, number, number as usize % 200, mortal(number)));
        check(&mut access, "written");
        (0..keys).for_each(|number| put(&mut access, number * 3, number as usize % 300, mortal(number / 3)));
        check(&mut access, "written again");
        (0..40).for_each(|number| put(&mut access, number, 70_000, None));
        check(&mut access, "long values");
        for number in 0..keys * 5 / 2 {
            let key = number.to_le_bytes();
            access.one(Db(0), access.hash(&key), &key, &Cx::at(1000), |slot| slot.live().map(|live| live.remove()));
        }
        check(&mut access, "mostly deleted");
        access.flush(&[Db(0)]);
        check(&mut access, "flushed");
        assert_eq!(store.memory().dataset(), 0);
    }
}
