//! What threads share is made of these: the usual primitives, or loom's in a build with `--cfg loom`, so that
//! `tests/loom` tries the interleavings of this very code. Everything else here is one thread's own or behind a lock.

#[cfg(not(loom))]
mod primitives {
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
    pub(crate) use std::thread::yield_now;
}

#[cfg(loom)]
mod primitives {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{MutexGuard, RwLockReadGuard};
    pub(crate) use loom::thread::yield_now;

    /// loom's lock with the interface of the one that ships.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a panic ends the model")
        }

        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// The same for the lock of many readers.
    #[derive(Default)]
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("a panic ends the model")
        }

        pub fn read_recursive(&self) -> RwLockReadGuard<'_, T> {
            self.read()
        }

        pub fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("a panic ends the model")
        }
    }
}

pub(crate) use primitives::*;
