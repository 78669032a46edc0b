//! Topics as they were found: where reading begins, and when all is read anew.

use super::memory::Graves;
use super::{At, Engine, Rebuild, Wish};
use crate::config::Start;
use crate::source::FoundTopic;
use crate::state::Partition;

impl Engine {
    /// A topic was looked at.
    pub fn found(&mut self, topic: usize, found: &FoundTopic) {
        self.connected = true;
        if let Some(cleaning) = found.cleaning {
            let told = cleaning.delete_retention_ms;
            let kept = told.unwrap_or(self.config.source.delete_retention.as_millis() as u64);
            self.topics[topic].retention_ms = cleaning.compacts.then_some(kept);
        }
        let known = self.topics[topic].incarnation.as_ref().map(|(id, _)| id.clone());
        // An id that cannot be asked for at the moment says nothing, and one that comes late is the topic's.
        let is_same = known.as_ref().is_some_and(|id| found.id.is_empty() || id.is_empty() || *id == found.id);
        if let Some((id, _)) = self.topics[topic].incarnation.as_mut().filter(|_| is_same && !found.id.is_empty()) {
            id.clone_from(&found.id);
        }
        if !is_same {
            self.incarnations = self.incarnations.wrapping_add(1);
            self.topics[topic].incarnation = Some((found.id.clone(), self.incarnations));
            if known.is_some() {
                // Deleted and made anew: nothing of what was read says anything about it.
                self.last_error = format!("topic {} was made anew", self.topics[topic].name);
                self.partitions.retain(|at, _| at.0 != topic || (at.1 as usize) < found.partitions.len());
                self.made_anew(topic, found);
                return;
            }
        }
        let is_first = known.is_none();
        for (number, (low, high)) in found.partitions.iter().enumerate() {
            let at = (topic, number as i32);
            match self.partitions.get_mut(&at) {
                Some(partition) => {
                    partition.log = (*low, *high);
                    // More has come, which will be told.
                    partition.at_end &= *high <= partition.next;
                    // The log became shorter while it was read: what it lost will not come.
                    if (!partition.live || partition.rebuilding)
                        && let Some(target) = &mut partition.target
                    {
                        *target = (*target).min(*high);
                    }
                }
                None => {
                    // One that was added later is read whole: all of it came since.
                    let start = if is_first { self.start_of(found, number) } else { *low };
                    let mut partition = Partition { log: (*low, *high), start, ..Partition::default() };
                    partition.rewind(start, *high);
                    self.partitions.insert(at, partition);
                    self.assign(at, start);
                }
            }
        }
    }

    /// Where reading of a partition begins.
    fn start_of(&self, found: &FoundTopic, number: usize) -> i64 {
        let (low, high) = found.partitions[number];
        let start = match &self.config.source.start {
            Start::Beginning => low,
            Start::End => high,
            Start::Last(records) => high - records,
            Start::Time(_) => found.at_time.get(number).copied().unwrap_or(low),
            Start::Offsets(offsets) => offsets.get(&(number as i32)).copied().unwrap_or(low),
        };
        start.clamp(low, high)
    }

    /// All topics were looked at.
    pub fn looked(&mut self) {
        let lost = core::mem::take(&mut self.lost);
        if lost.is_empty() {
            return;
        }
        let is_cut = |at: &At| self.partitions.get(at).is_some_and(|partition| partition.next > partition.log.1);
        let mut cut: Vec<usize> = lost.iter().filter(|at| is_cut(at)).map(|at| at.0).collect();
        cut.dedup();
        for topic in cut {
            // Its log ends before what was read: what comes at those offsets next is something else.
            self.incarnations = self.incarnations.wrapping_add(1);
            if let Some((_, number)) = &mut self.topics[topic].incarnation {
                *number = self.incarnations;
            }
            self.forget_topic(topic);
        }
        self.rebuild();
    }

    /// What was read of a topic says nothing of what it holds now.
    fn forget_topic(&mut self, topic: usize) {
        for (_, partition) in self.partitions.iter_mut().filter(|(at, _)| at.0 == topic) {
            (partition.applied, partition.was_applied) = (0, 0);
        }
        self.graves = Graves::default();
        self.index.clear();
    }

    /// A topic could not be looked at: `missing` if it is not there, else nobody could be asked.
    pub fn not_found(&mut self, missing: bool, reason: String) {
        self.connected = missing;
        self.last_error = reason;
    }

    /// A topic is another one now: what its partitions held before says nothing of them.
    fn made_anew(&mut self, topic: usize, found: &FoundTopic) {
        for (number, log) in found.partitions.iter().enumerate() {
            let partition = self.partitions.entry((topic, number as i32)).or_default();
            (partition.log, partition.start) = (*log, log.0);
        }
        self.forget_topic(topic);
        self.rebuild();
    }

    /// Reads everything anew; entries that do not come again are dropped at its end.
    pub(super) fn rebuild(&mut self) {
        self.read_anew(self.is_shadow);
    }

    fn read_anew(&mut self, is_shadow: bool) {
        let (held_all, mut starts) = (self.holds_all(), Vec::new());
        self.is_shadow = is_shadow;
        self.generation = self.generation.wrapping_add(1);
        self.counts.rebuilds += 1;
        self.rebuild = Rebuild::Reads;
        // What waited comes again, and the end that it waited for is not this one's.
        self.held.clear();
        self.wishes.retain(|wish| !matches!(wish, Wish::Sweep(_)));
        self.rebuilt_ms = self.now_ms;
        for (at, partition) in &mut self.partitions {
            let (low, high) = partition.log;
            let start = partition.start.clamp(low, high);
            if held_all {
                // Nobody saw what was read since.
                partition.applied = partition.applied.min(partition.was_applied);
            }
            partition.rewind(start, high);
            starts.push((*at, start));
        }
        starts.into_iter().for_each(|(at, start)| self.assign(at, start));
    }

    /// Begins a partition, or goes on with it, elsewhere; not before it may.
    fn assign(&mut self, at: At, offset: i64) {
        self.wishes.push(Wish::Assign(at, offset));
        if self.is_starved || self.partitions.get(&at).is_some_and(|partition| partition.paused) {
            self.wishes.push(Wish::Pause(at));
        }
    }

    /// Reads everything anew, as told by hand. `mode`: other than configured.
    pub fn rebuild_all(&mut self, is_shadow: bool) {
        self.read_anew(is_shadow);
        self.wishes.push(Wish::Look);
    }

    /// Its entries are gone: it reads everything anew, and is not ready meanwhile.
    pub fn reload(&mut self) {
        self.was_complete = false;
        self.index.clear();
        for partition in self.partitions.values_mut() {
            (partition.live, partition.was_applied) = (false, 0);
        }
        self.rebuild();
        self.wishes.push(Wish::Look);
    }

    /// Goes on at another offset of a partition: what lies between is not read, or once more. The error says why not.
    pub fn seek(&mut self, at: At, offset: i64) -> Result<(), String> {
        let is_rebuilding = self.rebuild == Rebuild::Reads;
        let partition = self.partitions.get_mut(&at).ok_or("no such partition")?;
        if is_rebuilding {
            return Err("all is being read anew: what a seek passes over would be dropped".to_owned());
        }
        let (low, high) = partition.log;
        if !(low..=high).contains(&offset) {
            return Err(format!("the log begins at {low} and ends at {high}"));
        }
        partition.seek(offset);
        self.assign(at, offset);
        Ok(())
    }

    /// The brokers told of an offset in a partition: its log reaches it.
    pub fn reaches(&mut self, at: At, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&at) {
            partition.log.1 = partition.log.1.max(offset);
        }
    }

    /// The first offset of a partition's log, and its end, as last seen.
    pub fn log_of(&self, at: At) -> Option<(i64, i64)> {
        self.partitions.get(&at).map(|partition| partition.log)
    }

    /// Reads all anew where tombstones may have gone unread: a reader that lags for longer than a compacted topic keeps them
    /// cannot know what was deleted meanwhile. Once it is at the end, and not again and again where reading takes that long.
    pub(super) fn watch_horizon(&mut self, now_ms: u64) {
        let mut is_due = false;
        let connected = self.connected && !self.is_starved;
        for (at, partition) in &mut self.partitions {
            let retention_ms = self.topics[at.0].retention_ms;
            partition.watch_horizon(now_ms, retention_ms, connected);
            is_due |= partition.is_behind_horizon && partition.live && partition.follows(connected);
        }
        let took_ms = self.completed_ms.saturating_sub(self.rebuilt_ms);
        let rest_ms = MIN_REST_MS.max(10 * took_ms);
        if is_due && self.rebuild != Rebuild::Reads && now_ms.saturating_sub(self.completed_ms) >= rest_ms {
            self.last_error = "it lagged for longer than the topic keeps tombstones: all is read anew".to_owned();
            self.rebuild();
            self.wishes.push(Wish::Look);
        }
    }
}

/// Least time between the end of a read and one for what may have gone unread in it, ms.
const MIN_REST_MS: u64 = 1000;
