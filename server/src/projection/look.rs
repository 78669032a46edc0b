//! Looks at the topics of a projection, again and again: whether they are there, which they are, where they end.

use super::runner::Answer;
use projection::consumer::{Looked, Probe};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Between looks that were asked for, and after one that found nobody.
const SHORT_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(5);
/// Time without any answer before another client asks, and its longest: it doubles while nobody answers that one either.
/// librdkafka forgets all brokers for good when one says that there are none, as a cluster does that takes its only broker for
/// dead, and something else goes on just then.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_PATIENCE: Duration = Duration::from_secs(80);

/// Begins; each message asks for a look before its time. It ends with its sender.
pub fn start(name: &str, probe: Probe, topics: Vec<String>, answers: Sender<Answer>) -> Result<Sender<()>, String> {
    let (sender, asked) = channel();
    let thread = thread::Builder::new().name(format!("look-{name}"));
    let spawned: io::Result<_> = thread.spawn(move || run(probe, &topics, &answers, &asked));
    spawned.map(|_| sender).map_err(|error| error.to_string())
}

fn run(mut probe: Probe, topics: &[String], answers: &Sender<Answer>, asked: &Receiver<()>) {
    let (mut answered, mut patience) = (Instant::now(), PATIENCE);
    loop {
        let mut all_found = true;
        for (number, topic) in topics.iter().enumerate() {
            let answer = match probe.look(topic, WAIT) {
                Looked::Found(found) => Answer::Found(number, found),
                Looked::Missing(reason) => Answer::NotFound { missing: true, reason },
                Looked::Down(reason) => Answer::NotFound { missing: false, reason },
            };
            all_found &= matches!(answer, Answer::Found(..));
            if !matches!(answer, Answer::NotFound { missing: false, .. }) {
                (answered, patience) = (Instant::now(), PATIENCE);
            } else if answered.elapsed() >= patience {
                (answered, patience) = (Instant::now(), (2 * patience).min(MAX_PATIENCE));
                if let Err(reason) = probe.renew() {
                    tracing::warn!(reason, "another client for looks at topics cannot be made");
                }
            }
            if answers.send(answer).is_err() {
                return;
            }
        }
        if all_found && answers.send(Answer::Looked).is_err() {
            return;
        }
        match asked.recv_timeout(if all_found { PAUSE } else { SHORT_PAUSE }) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) => {
                // However often it was asked for.
                while asked.try_recv().is_ok() {}
                thread::sleep(SHORT_PAUSE);
            }
        }
    }
}
