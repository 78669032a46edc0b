//! The wake of one core by others: a message left in the queue has its bell rung.
//!
//! The code is the server's (`server/src/net/mailbox.rs`), modelled here because the server's dependencies do not build
//! with `--cfg loom`. The kernel's event counter is an atomic one: its reads and writes are steps of one order, and
//! order what surrounds them as acquire and release do. Not modelled: that epoll reports a counter above 0.

use crate::explore;
use crate::mailbox::{Bell, Mailbox};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

struct Counter(AtomicU64);

impl Bell for Counter {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn clear(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }
}

/// Senders of one message each, and a receiver that takes as often, in any moment: what it has not got is announced.
fn senders(number: usize) {
    let mailbox = Arc::new(Mailbox::new(Counter(AtomicU64::new(0))));
    let threads: Vec<_> = (0..number)
        .map(|message| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.send(message))
        })
        .collect();
    let mut got: Vec<usize> = (0..number).flat_map(|_| mailbox.take()).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no assertion failed"));
    let rung = mailbox.bell().0.load(Ordering::Acquire) > 0;
    let left = mailbox.take();
    assert!(rung || left.is_empty(), "a message lies there unannounced");
    got.extend(left);
    got.sort_unstable();
    assert!(got.into_iter().eq(0..number), "each message comes once");
}

/// Fails if `take` clears the bell after it took the messages, and if `send` rings before it leaves its message.
#[test]
fn one_sender() {
    explore(|| senders(1));
}

/// Fails as above, and if `send` rings only when it found the queue empty before.
#[test]
fn two_senders() {
    explore(|| senders(2));
}
