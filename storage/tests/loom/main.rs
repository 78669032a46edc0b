//! The store's protocols between threads under loom: every interleaving up to a bound of preemptions, with the stale
//! reads that the memory model allows. Nothing is here unless built so:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p millpond-storage --test loom
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS` changes the bound, [`PREEMPTIONS`] by default: seconds. With 4 it takes some
//! ten minutes.
//!
//! What loom does not tell: it treats SeqCst *accesses* as acquire and release (SeqCst *fences*, on which exclusive
//! access rests, it models), and it never lets a load see a store that comes later. Deadlocks are found as such, and a
//! thread that spins for ever as a model with too many branches.
//!
//! Each model says with "Fails" which change to the code under test it was seen to catch.

#![cfg(loom)]
#![allow(clippy::disallowed_methods)]

mod bytes;
mod exclusive;
mod revoke;
mod wake;

#[path = "../../../server/src/net/mailbox.rs"]
mod mailbox;

use loom::sync::Arc;
use storage::{Access, Cx, Db, Hasher, Layout, NewValue, Store};

/// Preemptions tried where `LOOM_MAX_PREEMPTIONS` says nothing.
const PREEMPTIONS: usize = 3;

/// loom's lock as [`mailbox`] uses it.
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("a panic ends the model")
    }
}

/// Tries a model in all interleavings.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(model);
}

/// A store of so many stripes; the first byte of a key chooses its stripe, from the top.
fn store(stripes: usize) -> Arc<Store> {
    let hasher = Hasher::Fixed(|key| u64::from(key[0]) << 56);
    Arc::new(Store::new(Layout { stripes, hasher, cursor_secret: 1, first_epoch: 0 }))
}

const CX: Cx = Cx::at(1000);
/// Keys that lie in different stripes of two.
const LEFT: &[u8] = &[0];
const RIGHT: &[u8] = &[255];

fn put(access: &mut Access<'_>, key: &[u8], value: NewValue<'_>) {
    access.one(Db(0), access.hash(key), key, &CX, |slot| slot.put(value, None));
}

fn is_live(access: &mut Access<'_>, key: &[u8]) -> bool {
    access.one(Db(0), access.hash(key), key, &CX, |slot| slot.is_live())
}
