//! The revoke log: who begins after a revoke has returned sees it, and what is written then stays.

use crate::{LEFT, explore, is_live, put, store};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use storage::{Access, Db, Mode, NewValue, Overflow, Selector, Store};

fn revoke(access: &mut Access<'_>) {
    access.revoke(Db(0), &[Selector::Prefix(LEFT)], Mode::Hard, Overflow::Reject).expect("there is room in the log");
}

/// One thread revokes, and sweeps if told to; the other comes at any time, and knows or not that the revoke has returned.
fn meet(sweep: bool) {
    explore(move || {
        let store: Arc<Store> = store(1);
        let returned = Arc::new(AtomicBool::new(false));
        let mut participant = store.join();
        put(&mut participant.batch(), LEFT, NewValue::Int(1));
        let revoker = {
            let (store, returned) = (Arc::clone(&store), Arc::clone(&returned));
            thread::spawn(move || {
                let mut participant = store.join();
                let mut access = participant.batch();
                revoke(&mut access);
                returned.store(true, Ordering::Release);
                if sweep {
                    access.tick(0, 1, &crate::CX);
                }
            })
        };
        let after = returned.load(Ordering::Acquire);
        let mut access = participant.batch();
        if after {
            assert!(!is_live(&mut access, LEFT), "revoked before");
        }
        // Before, after or beside the revoke.
        put(&mut access, LEFT, NewValue::Int(2));
        drop(access);
        revoker.join().expect("no assertion failed");
        let mut access = participant.batch();
        if after {
            assert!(is_live(&mut access, LEFT), "written after");
            access.tick(0, 1, &crate::CX);
            assert!(is_live(&mut access, LEFT), "swept after");
        }
        drop(access);
        store.invariants();
    });
}

/// Fails if `stamp_for` gives no stamp, and if `revoke` does not count its records.
#[test]
fn who_comes_after_a_revoke_sees_it() {
    meet(false);
}

/// Fails if `stamp_for` gives no stamp.
#[test]
fn the_sweeper_takes_nothing_that_was_written_later() {
    meet(true);
}

/// Tags given while a revoke comes do not bring back what it named. Fails if `set_tags` takes its stamp after the entry was
/// judged.
#[test]
fn tags_given_meanwhile_bring_nothing_back() {
    explore(|| {
        let store: Arc<Store> = store(1);
        let mut participant = store.join();
        put(&mut participant.batch(), LEFT, NewValue::Int(1));
        let revoker = {
            let store = Arc::clone(&store);
            thread::spawn(move || revoke(&mut store.join().batch()))
        };
        let mut access = participant.batch();
        access.one(Db(0), access.hash(LEFT), LEFT, &crate::CX, |slot| slot.live().map(|mut live| live.set_tags(&[7])));
        drop(access);
        revoker.join().expect("no assertion failed");
        assert!(!is_live(&mut participant.batch(), LEFT));
        store.invariants();
    });
}

/// Two threads tick the same stripe while something is revoked: in the end nothing is left in the log, and what was
/// revoked last is gone. Fails if a pass begins without a look at the log once it is locked.
#[test]
fn passes_of_the_sweeper_do_not_meet() {
    explore(|| {
        let store: Arc<Store> = store(1);
        let mut participant = store.join();
        put(&mut participant.batch(), LEFT, NewValue::Int(1));
        revoke(&mut participant.batch());
        let ticker = {
            let store = Arc::clone(&store);
            thread::spawn(move || drop(store.join().batch().tick(0, 1, &crate::CX)))
        };
        participant.batch().tick(0, 1, &crate::CX);
        put(&mut participant.batch(), LEFT, NewValue::Int(2));
        revoke(&mut participant.batch());
        ticker.join().expect("no assertion failed");
        assert!(!is_live(&mut participant.batch(), LEFT));
        (0..3).for_each(|_| drop(participant.batch().tick(0, 1, &crate::CX)));
        assert_eq!(store.revoke_log().1, 0);
        assert!(!is_live(&mut participant.batch(), LEFT));
        store.invariants();
    });
}
