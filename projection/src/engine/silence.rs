//! Partitions that the source has forgotten: their logs go on, and nothing is told of them.
//!
//! librdkafka can forget all brokers for good after one that hung (its issue 5430), and tells nothing any more. A partition is
//! silent while its log, as looks at the topics tell, holds more than was read of it, and a source that was asked until it had no
//! more told nothing of it at all. That proves nothing yet: an open transaction hides all behind it, and large batches take their
//! time. So it is assigned again first, which costs a fetch and makes a source that lives tell an end at least, be it that of a
//! transaction. Where that brings nothing either, the source is made anew. For a partition that does not get on all the same the
//! patience doubles.

use super::{At, Engine, Wish};
use crate::state::Partition;
use std::collections::BTreeMap;

/// Silence before something is done, ms: longer than a request that is lost takes with its timeout and a connection made anew.
const PATIENCE_MS: u64 = 10_000;
/// The same for a partition that did not get on however often something was done.
const MAX_PATIENCE_MS: u64 = 16 * PATIENCE_MS;
/// What counts of the time between two looks, ms: what passes while nobody answers, or nobody listens, is no silence.
const MAX_STEP_MS: u64 = 4_000;

/// Since when partitions are silent.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Those that something may be wrong with.
    suspects: BTreeMap<At, Suspect>,
    /// The last look.
    looked_ms: u64,
    /// The source had no more to tell, after that look.
    ran_dry: bool,
}

#[derive(Debug)]
struct Suspect {
    /// The offset that nothing comes behind.
    next: i64,
    silent_ms: u64,
    patience_ms: u64,
    /// It was assigned again, and nothing was told of it since.
    is_asked: bool,
}

impl Silence {
    /// Something that is no record was told of a partition: the source knows it. (Records are seen by where the next one is.)
    pub(super) fn heard(&mut self, at: At) {
        let Some(suspect) = self.suspects.get_mut(&at) else { return };
        suspect.silent_ms = 0;
        if core::mem::take(&mut suspect.is_asked) {
            suspect.be_patient();
        }
    }
}

impl Suspect {
    fn new(next: i64) -> Self {
        Self { next, silent_ms: 0, patience_ms: PATIENCE_MS, is_asked: false }
    }

    fn be_patient(&mut self) {
        self.patience_ms = (2 * self.patience_ms).min(MAX_PATIENCE_MS);
    }
}

/// More of it is to come.
fn is_expected(partition: &Partition) -> bool {
    partition.goes_on() && !partition.awaited && partition.target.is_some() && partition.log.1 > partition.next
}

impl Engine {
    /// The source had no more to tell.
    pub fn ran_dry(&mut self) {
        self.silence.ran_dry = true;
    }

    /// All topics were looked at just now, so their brokers answer: which partitions are to be assigned again, or whether the
    /// source is to be made anew.
    pub fn watch(&mut self, now_ms: u64) {
        let silence = &mut self.silence;
        let step_ms = now_ms.saturating_sub(core::mem::replace(&mut silence.looked_ms, now_ms)).min(MAX_STEP_MS);
        // While it tells one thing after the other, what it has of another partition may be behind that.
        let step_ms = if core::mem::take(&mut silence.ran_dry) && !self.is_starved { step_ms } else { 0 };
        let mut before = core::mem::take(&mut silence.suspects);
        let mut lost = None;
        for (at, partition) in self.partitions.iter_mut().filter(|(_, partition)| is_expected(partition)) {
            let known = before.remove(at).filter(|suspect| suspect.next == partition.next);
            let known = known.map(|suspect| Suspect { silent_ms: suspect.silent_ms + step_ms, ..suspect });
            let mut suspect = known.unwrap_or_else(|| Suspect::new(partition.next));
            if suspect.silent_ms >= suspect.patience_ms {
                suspect.silent_ms = 0;
                if core::mem::take(&mut suspect.is_asked) {
                    suspect.be_patient();
                    lost.get_or_insert(*at);
                } else {
                    suspect.is_asked = true;
                    partition.awaited = true;
                    self.wishes.push(Wish::Assign(*at, partition.next));
                }
            }
            self.silence.suspects.insert(*at, suspect);
        }
        if let Some(at) = lost {
            self.renew(at);
        }
    }

    /// Has the source made anew for a partition that it has lost, and all assigned to it where they stand.
    fn renew(&mut self, (topic, number): At) {
        self.counts.renewals += 1;
        let topic = &self.config.source.topics[topic];
        self.last_error =
            format!("nothing is told of {topic}/{number} though its log goes on: the client is made anew");
        self.wishes.retain(|wish| !matches!(wish, Wish::Assign(..) | Wish::Resume(..)));
        self.wishes.push(Wish::Renew);
        for (at, partition) in &mut self.partitions {
            // Those that do not go on now are assigned when they do.
            if partition.goes_on() {
                partition.awaited = true;
                self.wishes.push(Wish::Assign(*at, partition.next));
            }
        }
        for suspect in self.silence.suspects.values_mut() {
            (suspect.silent_ms, suspect.is_asked) = (0, false);
        }
    }
}

#[cfg(test)]
mod tests;
