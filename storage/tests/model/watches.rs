//! Watches: what counts as a change of a watched key, and what does not.

use crate::layouts::layout;
use storage::{Access, Cx, Db, Layout, Millis, NewValue, Policy, Store, Watch};

const NOW_MS: u64 = 1000;

fn put(access: &mut Access<'_>, db: u8, key: &[u8], deadline_ms: Option<u64>) {
    let value = NewValue::Bytes(b"value");
    access.one(Db(db), access.hash(key), key, &Cx::at(NOW_MS), |slot| slot.put(value, deadline_ms.map(Millis)));
}

fn remove(access: &mut Access<'_>, db: u8, key: &[u8]) {
    access.one(Db(db), access.hash(key), key, &Cx::at(NOW_MS), |slot| slot.live().map(|live| live.remove()));
}

/// Sets a store up by `before`, watches `key` in database 0, runs `act`, and tells whether the watch saw a change.
fn changed_by(before: impl FnOnce(&mut Access<'_>), act: impl FnOnce(&mut Access<'_>), at_ms: u64) -> bool {
    let store = Store::new(Layout::new(4, [7; 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    before(&mut access);
    let watch = access.watch(Db(0), b"key", &Cx::at(NOW_MS));
    act(&mut access);
    let changed = access.is_changed(&watch, &Cx::at(at_ms));
    access.unwatch(&watch);
    store.invariants();
    changed
}

#[test]
fn what_changes_a_watched_key() {
    let there = |access: &mut Access<'_>| put(access, 0, b"key", None);
    let absent = |_: &mut Access<'_>| {};
    let elsewhere = |access: &mut Access<'_>| put(access, 1, b"key", None);
    let both = |access: &mut Access<'_>| (0..2).for_each(|db| put(access, db, b"key", None));
    let mortal = |access: &mut Access<'_>| put(access, 0, b"key", Some(NOW_MS + 500));
    let now = NOW_MS;

    assert!(changed_by(there, |access| put(access, 0, b"key", None), now), "a write, even of the same value");
    assert!(changed_by(absent, |access| put(access, 0, b"key", None), now), "coming to be");
    assert!(changed_by(there, |access| remove(access, 0, b"key"), now), "removal");
    let come_and_gone = |access: &mut Access<'_>| {
        put(access, 0, b"key", None);
        remove(access, 0, b"key");
    };
    assert!(changed_by(absent, come_and_gone, now), "coming to be and removal");
    assert!(changed_by(there, |access| access.flush(&[Db(0)]), now), "a flush");
    let flushed_and_back = |access: &mut Access<'_>| {
        access.flush(&[Db(0)]);
        put(access, 0, b"key", None);
    };
    assert!(changed_by(there, flushed_and_back, now), "a flush and a write");
    assert!(changed_by(there, |access| access.swap(Db(0), Db(1)), now), "swapped away");
    assert!(changed_by(elsewhere, |access| access.swap(Db(0), Db(1)), now), "swapped in");
    assert!(changed_by(both, |access| access.swap(Db(1), Db(0)), now), "another in its place");
    assert!(changed_by(mortal, |_| {}, now + 500), "its deadline");

    assert!(!changed_by(there, |_| {}, now), "nothing at all");
    assert!(!changed_by(there, |access| put(access, 0, b"other", None), now), "another key");
    assert!(!changed_by(there, |access| put(access, 1, b"key", None), now), "another database");
    assert!(!changed_by(there, |access| access.flush(&[Db(1)]), now), "a flush of another database");
    assert!(!changed_by(absent, |access| access.flush(&[Db(0)]), now), "a flush that did not find it");
    assert!(!changed_by(absent, |access| access.swap(Db(0), Db(1)), now), "a swap of what is not there");
    assert!(!changed_by(there, |access| access.swap(Db(1), Db(2)), now), "a swap of other databases");
    assert!(!changed_by(mortal, |_| {}, now + 499), "a deadline ahead");
    let touch = |access: &mut Access<'_>| {
        let kh = access.hash(b"key");
        access.one(Db(0), kh, b"key", &Cx::at(NOW_MS), |slot| slot.live().expect("put before").touch());
    };
    assert!(!changed_by(there, touch, now), "a read");
}

/// A key dead when the watch began is absent for it, reclaimed or not: neither a tick nor a flush changes it.
#[test]
fn reclaiming_a_dead_key_changes_nothing() {
    let flush = |access: &mut Access<'_>| access.flush(&[Db(0)]);
    let tick = |access: &mut Access<'_>| assert!(access.tick(0, 4, &Cx::at(NOW_MS + 5000)));
    for act in [flush as fn(&mut Access<'_>), tick] {
        let dead = |access: &mut Access<'_>| {
            let kh = access.hash(b"key");
            let value = NewValue::Bytes(b"value");
            access.one(Db(0), kh, b"key", &Cx::at(10), |slot| slot.put(value, Some(Millis(500))));
        };
        assert!(!changed_by(dead, act, NOW_MS + 5000));
    }
}

#[test]
fn eviction_changes_a_watched_key() {
    let evict = |access: &mut Access<'_>| {
        let memory = access.store().memory();
        memory.set_policy(Policy::AllKeysRandom);
        memory.set_limit(1);
        // Brings the count of bytes up to date.
        access.tick(0, 4, &Cx::at(NOW_MS));
        access.make_room(None, 0, &Cx::at(NOW_MS));
        assert_eq!(access.db_size(Db(0)), 0);
    };
    assert!(changed_by(|access| put(access, 0, b"key", None), evict, NOW_MS));
}

/// Keys of equal hashes share a version: a change of one may be seen by the other, but none is ever missed, and the last
/// watch to end leaves nothing behind.
#[test]
fn equal_hashes_miss_no_change() {
    let store = Store::new(layout(5));
    let mut participant = store.join();
    let mut access = participant.batch();
    let cx = Cx::at(NOW_MS);
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    put(&mut access, 0, keys[1], None);
    put(&mut access, 1, keys[1], None);
    let watches: Vec<Watch> = keys.iter().map(|key| access.watch(Db(0), key, &cx)).collect();
    access.swap(Db(0), Db(1));
    assert!(access.is_changed(&watches[1], &cx), "another entry has come in the place of the second key's");
    watches.iter().for_each(|watch| access.unwatch(watch));
    let again = access.watch(Db(0), keys[0], &cx);
    assert!(!access.is_changed(&again, &cx));
}
