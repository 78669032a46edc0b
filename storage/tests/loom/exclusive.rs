//! Exclusive access: no batch inside an exclusive section, nobody waits for ever, and what multi-key steps promise.
//!
//! [`Room`] is touched by everybody and guarded by nothing but the protocol: loom fails the model if a change in an
//! exclusive section is not ordered against every look from a batch.

use crate::{LEFT, RIGHT, explore, is_live, put, store};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use storage::{Access, Db, NewValue, Store};

struct Room(UnsafeCell<u32>);

// SAFETY: loom watches all access to the cell and fails the model on one that is not ordered.
unsafe impl Sync for Room {}

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn look(&self) {
        self.0.with(|_| ());
    }

    fn change(&self) {
        self.0.with_mut(|_| ());
    }
}

/// Runs `acts` on a thread each, the last one on this thread, all with a store of `stripes` and a room to share.
fn together<const N: usize>(stripes: usize, acts: [fn(&Store, &Room); N]) {
    let (store, room) = (store(stripes), Room::new());
    let (last, others) = acts.split_last().expect("somebody acts");
    let threads: Vec<_> = others
        .iter()
        .map(|act| {
            let (store, room, act) = (Arc::clone(&store), Arc::clone(&room), *act);
            thread::spawn(move || act(&store, &room))
        })
        .collect();
    last(&store, &room);
    threads.into_iter().for_each(|thread| thread.join().expect("no assertion failed"));
    store.invariants();
}

/// Joins, which races with takers of other threads, and looks at the room from a batch.
fn batch(store: &Store, room: &Room) {
    let mut participant = store.join();
    let _batch = participant.batch();
    room.look();
}

/// Two batches, the second one begun while a taker may wait for the first.
fn batches(store: &Store, room: &Room) {
    let mut participant = store.join();
    for _ in 0..2 {
        let _batch = participant.batch();
        room.look();
    }
}

/// A batch that takes exclusive access in its middle, and goes on after.
fn take(store: &Store, room: &Room) {
    let mut participant = store.join();
    let mut access = participant.batch();
    access.exclusively(|_| room.change());
    room.look();
}

/// Fails without either fence, if `take` does not wait for the words, and with a relaxed store in `leave` or in the drop
/// of `Exclusive`, or a relaxed load of what they store.
#[test]
fn a_batch_and_a_taker() {
    explore(|| together(1, [batches, take]));
}

/// Fails as above, and if `take` looks at the words of those only that had joined before it raised `taken`.
#[test]
fn two_batches_and_a_taker() {
    explore(|| together(1, [batch, batch, take]));
}

/// Fails (as a deadlock or a thread that spins for ever) if a taker keeps its own word up, or if an entrant that saw
/// `taken` leaves its word up while it waits.
#[test]
fn a_batch_and_two_takers() {
    explore(|| together(1, [take, take, batch]));
}

/// A number given back goes to the next who joins, and its word with it. Fails if `join` gives one number to two, as by a
/// load and a store.
#[test]
fn a_number_changes_hands() {
    fn twice(store: &Store, room: &Room) {
        batch(store, room);
        batch(store, room);
    }
    explore(|| together(1, [batch, twice, take]));
}

/// Two keys in two stripes, flushed together, are there both or not at all. Fails if `flush` does not take exclusive
/// access.
#[test]
fn a_flush_is_one_step() {
    fn look(store: &Store, _: &Room) {
        let mut participant = store.join();
        let mut access = participant.batch();
        let keys = [LEFT, RIGHT].map(|key| access.hash(key));
        let (left, right) = access.atomically(keys, |access| (is_live(access, LEFT), is_live(access, RIGHT)));
        assert_eq!(left, right, "flushed together");
    }
    fn write_and_flush(store: &Store, _: &Room) {
        let mut participant = store.join();
        let mut access = participant.batch();
        access.exclusively(|access| [LEFT, RIGHT].map(|key| put(access, key, NewValue::Int(1))));
        access.flush(&[Db(0)]);
    }
    explore(|| together(2, [look, write_and_flush]));
}

/// Steps over two stripes, named in either order, wait for each other only one way. Fails as a deadlock if `atomically`
/// locks in the order named.
#[test]
fn steps_over_many_stripes_do_not_wait_in_a_ring() {
    fn step(access: &mut Access<'_>, keys: [&[u8]; 2]) {
        let hashes = keys.map(|key| access.hash(key));
        access.atomically(hashes, |access| keys.map(|key| put(access, key, NewValue::Int(1))));
    }
    fn one_way(store: &Store, _: &Room) {
        step(&mut store.join().batch(), [LEFT, RIGHT]);
    }
    fn other_way(store: &Store, _: &Room) {
        step(&mut store.join().batch(), [RIGHT, LEFT]);
    }
    explore(|| together(2, [one_way, other_way]));
}
