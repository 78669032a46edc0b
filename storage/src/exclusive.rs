//! Exclusive access: one thread in the store, all others between their batches.
//!
//! Every thread that uses the store is a *participant* with a word of its own. It says "in a batch" before it touches
//! the store and "out" after; no lock is held in between calls. A taker raises `taken` and waits until every word says
//! out. One store and one fence a batch, nothing a command.

use crate::limits::MAX_PARTICIPANTS;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering, fence, spin_loop, yield_now};

#[repr(align(128))]
struct Word(AtomicBool);

/// The protocol's shared state.
pub(crate) struct Exclusion {
    taken: AtomicBool,
    /// Held by the taker; entrants wait on it.
    taker: Mutex<()>,
    words: Box<[Word]>,
    /// Words ever given out; those past it are "out".
    joined: AtomicUsize,
    /// Numbers given back.
    parted: Mutex<Vec<usize>>,
}

/// A participant's number; one thread uses it at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member(usize);

impl Exclusion {
    pub fn new() -> Self {
        let words = (0..MAX_PARTICIPANTS).map(|_| Word(AtomicBool::new(false))).collect();
        Self {
            taken: AtomicBool::new(false),
            taker: Mutex::new(()),
            words,
            joined: AtomicUsize::new(0),
            parted: Mutex::default(),
        }
    }

    /// Bytes of the participants' words.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// A new participant. Panics beyond `MAX_PARTICIPANTS`: threads are started by the operator's settings, not by peers.
    pub fn join(&self) -> Member {
        if let Some(number) = self.parted.lock().pop() {
            return Member(number);
        }
        let number = self.joined.fetch_add(1, Ordering::Relaxed);
        assert!(number < self.words.len(), "at most {MAX_PARTICIPANTS} threads may use one store");
        Member(number)
    }

    /// Gives up a participant's number, between batches.
    pub fn part(&self, member: Member) {
        self.parted.lock().push(member.0);
    }

    /// Begins a batch; waits while another participant has exclusive access.
    #[inline]
    pub fn enter(&self, member: Member) {
        let word = &self.words[member.0].0;
        loop {
            word.store(true, Ordering::Relaxed);
            // Orders the store above (and our `join`) before the load below; pairs with the fence in `take`. Either the
            // taker sees our word, or we see `taken`.
            fence(Ordering::SeqCst);
            if !self.taken.load(Ordering::Acquire) {
                return;
            }
            word.store(false, Ordering::Release);
            drop(self.taker.lock());
        }
    }

    /// Ends a batch.
    #[inline]
    pub fn leave(&self, member: Member) {
        self.words[member.0].0.store(false, Ordering::Release);
    }

    /// Waits until every other participant is between batches, and keeps them there until the guard is dropped.
    /// `member` must be out of its own batch.
    pub fn take(&self, member: Member) -> Exclusive<'_> {
        debug_assert!(!self.words[member.0].0.load(Ordering::Relaxed), "a taker has left its batch");
        let guard = self.taker.lock();
        self.taken.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let joined = self.joined.load(Ordering::Relaxed).min(self.words.len());
        for word in &self.words[..joined] {
            let mut spins = 0u32;
            while word.0.load(Ordering::Acquire) {
                spins += 1;
                if spins < 64 { spin_loop() } else { yield_now() }
            }
        }
        Exclusive { exclusion: self, _guard: guard }
    }
}

/// Exclusive access, until dropped.
pub(crate) struct Exclusive<'e> {
    exclusion: &'e Exclusion,
    _guard: MutexGuard<'e, ()>,
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.exclusion.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Batches of four threads and takers exclude each other: a plain counter guarded by the protocol alone loses no
    /// update made under exclusive access, and no batch ever sees a taker inside.
    #[test]
    fn takers_are_alone() {
        let exclusion = Arc::new(Exclusion::new());
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (exclusion, inside) = (Arc::clone(&exclusion), Arc::clone(&inside));
                std::thread::spawn(move || {
                    let member = exclusion.join();
                    for turn in 0..2000 {
                        if turn % 10 == 0 {
                            let exclusive = exclusion.take(member);
                            assert_eq!(inside.load(Ordering::Relaxed), 0);
                            inside.store(1000, Ordering::Relaxed);
                            std::hint::black_box(&inside);
                            inside.store(0, Ordering::Relaxed);
                            drop(exclusive);
                        } else {
                            exclusion.enter(member);
                            assert!(inside.fetch_add(1, Ordering::Relaxed) < 4);
                            inside.fetch_sub(1, Ordering::Relaxed);
                            exclusion.leave(member);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no assertion failed");
        }
    }
}
