//! A queue with a bell: whoever leaves a message rings, so that no message lies unannounced. The order of the four steps
//! is the whole protocol; `storage/tests/loom/wake.rs` tries their interleavings with a bell of its own.

#[cfg(loom)]
use crate::Mutex;
#[cfg(not(loom))]
use parking_lot::Mutex;

/// What wakes the receiver; it stays rung until it is cleared.
pub trait Bell {
    /// Wakes the receiver, now or when it next wants to sleep.
    fn ring(&self);
    /// Undoes all rings so far.
    fn clear(&self);
}

/// Messages from any thread to one.
pub struct Mailbox<T, B> {
    queue: Mutex<Vec<T>>,
    bell: B,
}

impl<T, B: Bell> Mailbox<T, B> {
    /// An empty one; `bell` is not rung.
    pub fn new(bell: B) -> Self {
        Self { queue: Mutex::new(Vec::new()), bell }
    }

    /// Leaves a message, then rings: by then the receiver finds it.
    pub fn send(&self, message: T) {
        self.queue.lock().push(message);
        self.bell.ring();
    }

    /// Clears the bell, then takes all messages: one that comes in between is taken, and its ring announces nothing.
    pub fn take(&self) -> Vec<T> {
        self.bell.clear();
        core::mem::take(&mut *self.queue.lock())
    }

    /// The bell, to wait for.
    pub fn bell(&self) -> &B {
        &self.bell
    }
}
