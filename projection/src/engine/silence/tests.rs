//! A source that falls silent, under a clock of its own.

use super::*;
use crate::source::{Event, FoundTopic, Headers, RawRecord, Source, Trouble};
use serde_json::json;
use std::time::Duration;

/// Between two looks, as they are made.
const LOOK_MS: u64 = 2_000;

/// For how long a partition is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lost {
    #[default]
    No,
    UntilAssigned,
    UntilRenewed,
    ForEver,
}

/// A partition of a scripted source.
#[derive(Clone, Copy, Debug, Default)]
struct Log {
    /// Its end, and that of what no open transaction hides.
    ends: (i64, i64),
    lost: Lost,
    position: Option<i64>,
    told_end: Option<i64>,
}

#[derive(Default)]
struct Scripted {
    logs: Vec<Log>,
    /// What was assigned: partition and offset.
    assigned: Vec<(usize, i64)>,
    renewals: u64,
    /// It always has more to tell of the first partition.
    is_endless: bool,
}

impl Source for Scripted {
    fn poll(&mut self, _: Duration, tell: &mut dyn FnMut(Event<'_>)) -> bool {
        if self.is_endless {
            self.logs[0].ends = (self.logs[0].ends.0 + 1, self.logs[0].ends.1 + 1);
        }
        for (number, log) in self.logs.iter_mut().enumerate() {
            let Some(position) = log.position.filter(|_| log.lost == Lost::No) else { continue };
            let partition = number as i32;
            if position < log.ends.1 {
                log.position = Some(position + 1);
                let (key, value) = (Some(&b"k"[..]), Some(&b"v"[..]));
                let record = RawRecord {
                    topic: 0,
                    partition,
                    offset: position,
                    time_ms: 0,
                    key,
                    value,
                    headers: Headers::Known(&[]),
                };
                tell(Event::Record(record));
                return true;
            }
            if log.told_end != Some(position) {
                log.told_end = Some(position);
                tell(Event::End { topic: 0, partition, offset: position });
                return true;
            }
        }
        false
    }

    fn assign(&mut self, _: usize, partition: i32, offset: i64) -> Result<(), String> {
        let log = &mut self.logs[partition as usize];
        (log.position, log.told_end) = (Some(offset), None);
        if log.lost == Lost::UntilAssigned {
            log.lost = Lost::No;
        }
        self.assigned.push((partition as usize, offset));
        Ok(())
    }

    fn pause(&mut self, _: usize, partition: i32) {
        self.logs[partition as usize].position = None;
    }

    fn resume(&mut self, topic: usize, partition: i32, offset: i64) -> Result<(), String> {
        self.assign(topic, partition, offset)
    }

    fn renew(&mut self) -> Result<(), String> {
        self.renewals += 1;
        for log in &mut self.logs {
            let lost = if log.lost == Lost::ForEver { Lost::ForEver } else { Lost::No };
            *log = Log { ends: log.ends, lost, ..Log::default() };
        }
        Ok(())
    }
}

struct Run {
    engine: Engine,
    source: Scripted,
    now_ms: u64,
}

impl Run {
    /// Partitions of four records each, all read.
    fn new(partitions: usize) -> Self {
        let config = json!({"source": {"kafka": "k", "topics": ["t"]}, "key": {"template": "u:{key}"}});
        let engine = Engine::new(serde_json::from_value(config).unwrap());
        let logs = vec![Log { ends: (4, 4), ..Log::default() }; partitions];
        let mut run = Self { engine, source: Scripted { logs, ..Scripted::default() }, now_ms: 0 };
        run.pass(LOOK_MS);
        assert_eq!(run.behind(), Vec::<usize>::new());
        run.source.assigned.clear();
        run
    }

    /// What the runner does, for so long, with a look every two seconds; the brokers answer.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms += LOOK_MS;
            let partitions = self.source.logs.iter().map(|log| (0, log.ends.0)).collect();
            self.engine.found(0, &FoundTopic { id: "a".to_owned(), partitions, ..FoundTopic::default() });
            self.engine.looked();
            self.engine.watch(self.now_ms);
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        for wish in self.engine.wishes() {
            match wish {
                Wish::Assign(at, offset) | Wish::Resume(at, offset) => {
                    self.source.assign(at.0, at.1, offset).unwrap();
                }
                Wish::Pause(at) => self.source.pause(at.0, at.1),
                Wish::Renew => self.source.renew().unwrap(),
                _ => {}
            }
        }
        let mut is_dry = false;
        // One that is endless fills a batch.
        for _ in 0..10_000 {
            let (engine, now_ms) = (&mut self.engine, self.now_ms);
            is_dry = !self.source.poll(Duration::ZERO, &mut |event| engine.tell(event, now_ms, now_ms));
            if is_dry {
                break;
            }
        }
        if is_dry {
            self.engine.ran_dry();
        }
        let batch = self.engine.take();
        self.engine.applied(batch, 0, self.now_ms);
    }

    /// Partitions that not all was read of.
    fn behind(&self) -> Vec<usize> {
        let applied = |number: usize| self.engine.partitions[&(0, number as i32)].applied;
        let logs = self.source.logs.iter().enumerate();
        logs.filter(|(number, log)| applied(*number) < log.ends.1).map(|(number, _)| number).collect()
    }

    fn write(&mut self, partition: usize) {
        let ends = &mut self.source.logs[partition].ends;
        *ends = (ends.0 + 1, ends.1 + 1);
    }

    fn renewals(&self) -> u64 {
        assert_eq!(self.source.renewals, self.engine.status(self.now_ms).counts.renewals);
        self.source.renewals
    }
}

#[test]
fn what_is_forgotten_is_assigned_again() {
    let mut run = Run::new(3);
    run.source.logs[1].lost = Lost::UntilAssigned;
    // Nobody misses anything.
    run.pass(100 * PATIENCE_MS);
    assert_eq!(run.source.assigned, []);
    (0..3).for_each(|partition| run.write(partition));
    run.pass(PATIENCE_MS - LOOK_MS);
    assert_eq!((run.behind(), run.source.assigned.len()), (vec![1], 0));
    run.pass(3 * LOOK_MS);
    assert_eq!((run.behind(), &*run.source.assigned, run.renewals()), (vec![], &[(1, 4)][..], 0));
}

#[test]
fn where_that_does_not_help_the_source_is_made_anew() {
    let mut run = Run::new(3);
    run.source.logs[1].lost = Lost::UntilRenewed;
    (0..3).for_each(|partition| run.write(partition));
    run.engine.set_paused(Some((0, 2)), true);
    run.pass(2 * PATIENCE_MS + 2 * LOOK_MS);
    assert_eq!((run.behind(), run.renewals()), (vec![2], 1), "what is paused is not read");
    assert_eq!(run.source.assigned, [(1, 4), (0, 5), (1, 4)], "where they stood, but what is paused");
    assert!(run.engine.status(run.now_ms).last_error.contains("t/1"));
    run.engine.set_paused(None, false);
    run.go_on();
    assert_eq!((run.behind(), run.source.assigned.last()), (vec![], Some(&(2, 4))));
    // From then on it is as patient as with any other.
    run.source.logs[1].lost = Lost::UntilAssigned;
    run.write(1);
    run.pass(PATIENCE_MS + 2 * LOOK_MS);
    assert_eq!((run.behind(), run.renewals()), (vec![], 1));
}

/// What an open transaction hides does not come, however long its log becomes: the end of what can be read is proof enough.
#[test]
fn an_open_transaction_is_not_taken_for_silence() {
    for grows in [false, true] {
        let mut run = Run::new(2);
        run.source.logs[0].ends.0 = 9;
        for _ in 0..60 * 60_000 / LOOK_MS {
            run.source.logs[0].ends.0 += i64::from(grows);
            run.pass(LOOK_MS);
        }
        assert_eq!(run.renewals(), 0);
        let asked = run.source.assigned.len();
        assert!(asked > 0 && asked < 60 * 60 / 120, "asked {asked} times in an hour");
        assert!(run.source.assigned.iter().all(|at| *at == (0, 4)));
        // Its end is read at once.
        run.source.logs[0].ends.1 = run.source.logs[0].ends.0;
        run.pass(LOOK_MS);
        assert_eq!(run.behind(), Vec::<usize>::new());
    }
}

#[test]
fn patience_grows_with_what_does_not_help() {
    let mut run = Run::new(1);
    run.source.logs[0].lost = Lost::ForEver;
    run.write(0);
    run.pass(60 * 60_000);
    let many = run.renewals();
    assert!((5..60 * 60_000 / (2 * MAX_PATIENCE_MS) + 5).contains(&many), "{many} in an hour");
    assert_eq!(run.source.assigned.len() as u64, 2 * many + u64::from(run.engine.silence.suspects[&(0, 0)].is_asked));
}

/// Where nothing is to be told, or nobody listens, there is no silence.
#[test]
fn silence_has_to_be_heard() {
    // Paused, or blocked.
    let mut run = Run::new(2);
    run.engine.set_paused(Some((0, 0)), true);
    run.go_on();
    run.write(0);
    run.engine.tell(Event::Trouble(Trouble::Damaged { topic: 0, partition: 1, offset: 0 }, String::new()), 0, 0);
    run.write(1);
    run.pass(100 * PATIENCE_MS);
    assert_eq!((run.source.assigned.len(), run.renewals()), (0, 0));
    // The source always has something to tell: it may have more of the other one behind that.
    let mut run = Run::new(2);
    run.source.is_endless = true;
    run.source.logs[1].lost = Lost::UntilAssigned;
    run.write(1);
    run.pass(5 * PATIENCE_MS);
    assert_eq!(run.source.assigned, []);
    run.source.is_endless = false;
    run.pass(2 * PATIENCE_MS);
    assert_eq!((run.behind(), &*run.source.assigned), (vec![], &[(1, 4)][..]));
    // Nobody looked for long: that is one step.
    let mut run = Run::new(1);
    run.source.logs[0].lost = Lost::UntilAssigned;
    run.write(0);
    run.pass(LOOK_MS);
    for _ in 0..2 {
        run.now_ms += 100 * PATIENCE_MS;
        run.pass(LOOK_MS);
    }
    assert_eq!(run.source.assigned, []);
}
