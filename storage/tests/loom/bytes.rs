//! Counts of bytes: nothing is lost between threads, and the peak knows every count that was shown.

use crate::{LEFT, RIGHT, explore, put, store};
use loom::thread;
use storage::NewValue;

/// More than a stripe keeps to itself, so that every write of it reaches the global count.
static LONG: [u8; 70_000] = [1; 70_000];

/// Two threads write to one stripe or to two, short and long: once both have settled, the global count is what a recount
/// finds. Fails if `charge` loads and stores instead of adding.
#[test]
fn settled_counts_equal_a_recount() {
    for keys in [[LEFT, RIGHT], [LEFT, LEFT]] {
        explore(move || {
            let store = store(2);
            let writer = {
                let store = store.clone();
                thread::spawn(move || {
                    let mut participant = store.join();
                    let mut access = participant.batch();
                    put(&mut access, keys[0], NewValue::Bytes(&LONG));
                    put(&mut access, keys[0], NewValue::Bytes(b"short"));
                })
            };
            let mut participant = store.join();
            let mut access = participant.batch();
            put(&mut access, keys[1], NewValue::Bytes(&LONG));
            access.settle();
            drop(access);
            writer.join().expect("no assertion failed");
            store.invariants();
            participant.batch().settle();
            store.invariants();
            assert!(store.memory().dataset() > 0);
        });
    }
}

/// Once all charges have returned, the peak is not below any count that was shown meanwhile. (While a charge is under
/// way its count may show before the peak knows of it.) Fails if `note_peak` stores instead of raising, and without it.
///
/// One of the two counts changes here. That charges of both at once see each other rests on SeqCst accesses, which loom
/// takes for weaker ones; and a reader who loads one count after the other may show a sum that never was.
#[test]
fn the_peak_knows_what_was_shown() {
    explore(|| {
        let store = store(1);
        store.memory().charge_outside(50);
        let threads = [100, 30].map(|bytes| {
            let store = store.clone();
            thread::spawn(move || {
                store.memory().charge_outside(bytes);
                store.memory().charge_outside(-bytes);
            })
        });
        let shown = store.memory().used();
        threads.into_iter().for_each(|thread| thread.join().expect("no assertion failed"));
        assert_eq!(store.memory().used(), 50);
        assert!(store.memory().peak() >= shown, "{shown} was shown");
    });
}
