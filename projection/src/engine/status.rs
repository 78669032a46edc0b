//! What is told of a projection.

use super::{At, Counts, Engine, Rebuild};
use crate::state::{Partition, State};

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Topic and partition.
    pub at: At,
    /// Its state.
    pub state: State,
    /// The first offset not applied, as readers see it.
    pub applied: i64,
    /// The first offset not read: of what blocks it, if something does.
    pub next: i64,
    /// First offset of the log, and its end, as last seen.
    pub log: (i64, i64),
    /// Records it is behind.
    pub lag: i64,
    /// For how long it may lack something, ms.
    pub lag_ms: Option<u64>,
    /// It was served before an open transaction ended.
    pub pinned: bool,
    /// The end of what open transactions do not hide.
    pub stable_end: Option<i64>,
}

/// A projection at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The worst of its partitions'.
    pub state: State,
    /// All of them have caught up once.
    pub is_ready: bool,
    /// It may lack more than `max_staleness` allows.
    pub is_stale: bool,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
    /// Partitions that have caught up once.
    pub ready: usize,
    /// Share of the records there were at the start that were applied, percent.
    pub percent: u64,
    /// Records it is behind.
    pub lag: i64,
    /// For how long it may lack something, ms: of the partition that does longest.
    pub lag_ms: u64,
    /// Counts since the start.
    pub counts: Counts,
    /// What it remembers beside its entries, by name.
    pub kept: Vec<(&'static str, u64)>,
    /// Words for what is not as it should be.
    pub flags: Vec<&'static str>,
    /// What went wrong last; empty = nothing.
    pub last_error: String,
}

impl Engine {
    fn status_of(&self, at: At, partition: &Partition, now_ms: u64) -> PartitionStatus {
        let holds_all = self.holds_all();
        let state = match partition.state(self.connected) {
            state if self.is_starved && state != State::Paused => state.max(State::BlockedMemory),
            State::Live if matches!(self.rebuild, Rebuild::Releases | Rebuild::Drops) => State::Rebuilding,
            state => state,
        };
        let shown = if holds_all { partition.applied.min(partition.was_applied) } else { partition.applied };
        PartitionStatus {
            at,
            state,
            applied: shown,
            next: partition.next,
            log: partition.log,
            lag: if holds_all { (partition.log.1 - shown).max(0) } else { partition.lag() },
            lag_ms: partition.lag_ms(now_ms, self.connected && !holds_all && !self.is_starved),
            pinned: partition.live && partition.pinned_ms.is_some(),
            stable_end: partition.stable_end,
        }
    }

    /// How it stands.
    pub fn status(&self, now_ms: u64) -> Status {
        let states = &self.partitions;
        let partitions: Vec<PartitionStatus> =
            states.iter().map(|(at, partition)| self.status_of(*at, partition, now_ms)).collect();
        let looked_at = self.topics.iter().all(|topic| topic.incarnation.is_some());
        let worst = partitions.iter().map(|partition| partition.state).max().unwrap_or_default();
        let state = if looked_at { worst } else { worst.max(State::Init) };
        // Partitions that were added later are read beside.
        let expands = self.was_complete && matches!(state, State::CatchUp | State::Init);
        let state = if expands { State::Live } else { state };
        let (mut read, mut wanted) = (0, 0);
        for partition in states.values() {
            let low = partition.log.0;
            let target = partition.target.unwrap_or(low);
            wanted += (target - low).max(0) as u64;
            read += (partition.applied.min(target) - low).max(0) as u64;
        }
        let lag_ms = partitions.iter().filter_map(|partition| partition.lag_ms).max().unwrap_or(0);
        let is_ready = self.was_complete;
        let is_stale = is_ready && lag_ms > self.config.ready.max_staleness.as_millis() as u64;
        let flags = [
            (is_stale, "stale"),
            (partitions.iter().any(|partition| partition.pinned), "pinned"),
            (is_ready && state == State::Rebuilding, "rebuilding"),
            (expands, "expanding"),
            (states.values().any(|partition| partition.is_moved), "seeked"),
            (states.values().any(|partition| partition.is_behind_horizon), "horizon"),
            (self.is_starved, "memory"),
            (
                self.topics.iter().any(|topic| topic.incarnation.as_ref().is_some_and(|(id, _)| id.is_empty())),
                "no_topic_id",
            ),
        ];
        Status {
            state,
            is_ready,
            is_stale,
            ready: states.values().filter(|partition| partition.live).count(),
            percent: (read * 100).checked_div(wanted).unwrap_or(100),
            lag: partitions.iter().map(|partition| partition.lag).sum(),
            lag_ms,
            partitions,
            counts: self.counts,
            kept: vec![
                ("held_keys", self.held.len() as u64),
                ("held_bytes", self.held.bytes() as u64),
                ("index_bytes", self.index.bytes() as u64),
                ("deleted_versions", self.graves.len() as u64),
                ("poisoned_keys", self.poisoned.len() as u64),
                ("queue_bytes", self.queued_bytes),
            ],
            flags: flags.into_iter().filter_map(|(holds, word)| holds.then_some(word)).collect(),
            last_error: self.last_error.clone(),
        }
    }
}
