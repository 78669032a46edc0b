//! Dead letters on their way: a record is passed over once its letter was acknowledged, not before.

use projection::engine::At;
use projection::source::Letter;
use std::collections::HashMap;

/// Between two tries to write one, ms.
const PAUSE_MS: u64 = 1000;

/// Sends a dead letter; refused at once, or answered later.
pub type SendLetter = Box<dyn Fn(&Letter) -> Result<(), String> + Send>;

/// Those that are not acknowledged.
pub struct Outbox {
    send: SendLetter,
    /// At most one of a partition, which waits for it; whether it was refused.
    letters: HashMap<At, (Letter, bool)>,
    /// When those that were refused were sent again.
    sent_ms: u64,
}

impl Outbox {
    /// None yet.
    pub fn new(send: SendLetter) -> Self {
        Self { send, letters: HashMap::new(), sent_ms: 0 }
    }

    /// Sends one, in place of an earlier one of its partition; the error is why it was refused: it is sent again.
    pub fn send(&mut self, letter: Letter) -> Result<(), String> {
        let sent = (self.send)(&letter);
        self.letters.insert(letter.at, (letter, sent.is_err()));
        sent
    }

    /// One was acknowledged, or was not: whether it is the one that is waited for, and not one of a record that is read anew.
    pub fn answered(&mut self, at: At, offset: i64, is_written: bool) -> bool {
        let Some((_, is_refused)) = self.letters.get_mut(&at).filter(|(letter, _)| letter.offset == offset) else {
            return false;
        };
        *is_refused = !is_written;
        if is_written {
            self.letters.remove(&at);
        }
        true
    }

    /// Sends those that were refused again, from time to time; why one was refused once more.
    pub fn send_again(&mut self, now_ms: u64) -> Option<String> {
        if self.letters.is_empty() || now_ms.saturating_sub(self.sent_ms) < PAUSE_MS {
            return None;
        }
        self.sent_ms = now_ms;
        let mut refused = None;
        for (letter, is_refused) in self.letters.values_mut().filter(|(_, is_refused)| *is_refused) {
            match (self.send)(letter) {
                Ok(()) => *is_refused = false,
                Err(reason) => refused = Some(reason),
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn letter(offset: i64) -> Letter {
        Letter { at: (0, 1), offset, time_ms: 0, key: None, value: None, headers: Vec::new() }
    }

    #[test]
    fn a_letter_is_sent_until_it_is_acknowledged() {
        let (sent, refuses) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
        let send = {
            let (sent, refuses) = (Arc::clone(&sent), Arc::clone(&refuses));
            move |_: &Letter| {
                sent.fetch_add(1, Ordering::Relaxed);
                if refuses.load(Ordering::Relaxed) { Err("full".to_owned()) } else { Ok(()) }
            }
        };
        let mut outbox = Outbox::new(Box::new(send));
        assert_eq!(outbox.send(letter(5)), Err("full".to_owned()));
        assert_eq!(outbox.send_again(1000).as_deref(), Some("full"));
        assert_eq!(outbox.send_again(1999), None, "it is too early");
        refuses.store(false, Ordering::Relaxed);
        assert_eq!(outbox.send_again(2000), None);
        assert_eq!(outbox.send_again(3000), None, "it is on its way");
        assert_eq!(sent.load(Ordering::Relaxed), 3);
        assert!(!outbox.answered((0, 1), 4, true), "of another record");
        assert!(outbox.answered((0, 1), 5, false));
        assert_eq!(outbox.send_again(4000), None);
        assert_eq!(sent.load(Ordering::Relaxed), 4);
        assert!(outbox.answered((0, 1), 5, true));
        assert!(!outbox.answered((0, 1), 5, true), "it was acknowledged");
    }
}
