//! Looks at the topics of a projection, again and again: whether they are there, which they are, where they end.

use super::runner::Answer;
use projection::consumer::{Looked, Probe, Want};
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
/// Looks between two questions for how a topic is cleaned.
const LOOKS_PER_CLEANING: u32 = 30;
/// Time without any answer before another client asks, and its longest: it doubles while nobody answers that one either.
/// librdkafka forgets all brokers for good when one says that there are none, as a cluster does that takes its only broker for
/// dead, and something else goes on just then.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_PATIENCE: Duration = Duration::from_secs(80);

/// What is looked for.
pub struct Topics {
    /// Their names.
    pub names: Vec<String>,
    /// The time at which reading is to begin, ms since the epoch.
    pub start_ms: Option<i64>,
}

/// Where a time is asked for: the topic by its place, its partition, ms since the epoch, and the ticket of who asks.
#[derive(Clone, Copy, Debug)]
pub struct TimeAsked {
    /// The topic, by its place in the configuration.
    pub topic: usize,
    /// Its partition.
    pub partition: i32,
    /// Ms since the epoch.
    pub time_ms: i64,
    /// Who asks.
    pub ticket: u64,
}

/// Begins; each message asks for a look before its time, or where a time is. It ends with its sender.
pub fn start(
    name: &str,
    probe: Probe,
    topics: Topics,
    answers: Sender<Answer>,
) -> Result<Sender<Option<TimeAsked>>, String> {
    let (sender, asked) = channel();
    let thread = thread::Builder::new().name(format!("look-{name}"));
    let spawned: io::Result<_> = thread.spawn(move || run(probe, &topics, &answers, &asked));
    spawned.map(|_| sender).map_err(|error| error.to_string())
}

/// Answers where a time is.
fn find_time(probe: &mut Probe, topics: &Topics, asked: TimeAsked) -> Answer {
    let want = Want { time_ms: Some(asked.time_ms), cleaning: false };
    let found = match probe.look(&topics.names[asked.topic], want, WAIT) {
        Looked::Found(found) => {
            found.at_time.get(asked.partition as usize).copied().ok_or("no such partition".to_owned())
        }
        Looked::Missing(reason) | Looked::Down(reason) => Err(reason),
    };
    Answer::Time(asked, found)
}

fn run(mut probe: Probe, topics: &Topics, answers: &Sender<Answer>, asked: &Receiver<Option<TimeAsked>>) {
    let mut looks = vec![0_u32; topics.names.len()];
    let (mut answered, mut patience) = (Instant::now(), PATIENCE);
    loop {
        let mut all_found = true;
        for (number, topic) in topics.names.iter().enumerate() {
            let is_first = looks[number] == 0;
            let want = Want {
                time_ms: topics.start_ms.filter(|_| is_first),
                cleaning: looks[number].is_multiple_of(LOOKS_PER_CLEANING),
            };
            let answer = match probe.look(topic, want, WAIT) {
                Looked::Found(found) => {
                    looks[number] = looks[number].wrapping_add(1);
                    Answer::Found(number, found)
                }
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
            Ok(first) => {
                // However often it was asked for.
                let all = core::iter::once(first).chain(core::iter::from_fn(|| asked.try_recv().ok()));
                for time in all.flatten() {
                    if answers.send(find_time(&mut probe, topics, time)).is_err() {
                        return;
                    }
                }
                thread::sleep(SHORT_PAUSE);
            }
        }
    }
}
