//! What keeps partitions from going on, and what lets them: somebody, a record, want of memory.

use super::{At, Engine, Wish};

impl Engine {
    /// Pauses partitions or lets them go on; all, or one. Gives how many changed.
    pub fn set_paused(&mut self, which: Option<At>, paused: bool) -> usize {
        let mut changed = 0;
        for (at, partition) in &mut self.partitions {
            if which.is_none_or(|which| which == *at) && partition.paused != paused {
                partition.paused = paused;
                changed += 1;
                if partition.blocked.is_none() && !self.is_starved {
                    self.wishes.push(if paused { Wish::Pause(*at) } else { Wish::Resume(*at, partition.next) });
                }
            }
        }
        changed
    }

    /// Passes over the record that blocks a partition, if it is the one at that offset.
    pub fn skip(&mut self, at: At, offset: i64) -> bool {
        let Some(partition) = self.partitions.get_mut(&at) else { return false };
        if partition.blocked.is_none() || partition.next != offset {
            return false;
        }
        partition.next = offset + 1;
        self.counts.skipped += 1;
        self.unblock(at);
        true
    }

    pub(super) fn unblock(&mut self, at: At) {
        let Some(partition) = self.partitions.get_mut(&at) else { return };
        partition.blocked = None;
        partition.awaited = true;
        if !partition.paused && !self.is_starved {
            self.wishes.push(Wish::Resume(at, partition.next));
        }
    }

    /// There is no memory for more, or is again: nothing is read meanwhile, and what was read grows old. To be told again and
    /// again while there is none; `reason` is why.
    pub fn set_starved(&mut self, reason: Option<String>, now_ms: u64) {
        let was_starved = core::mem::replace(&mut self.is_starved, reason.is_some());
        if was_starved != self.is_starved {
            for (at, partition) in self.partitions.iter_mut().filter(|(_, partition)| partition.goes_on()) {
                // It is assigned where it stands: what comes until then comes from before, and being at the end means nothing.
                (partition.awaited, partition.at_end, partition.pinned_ms) = (true, false, None);
                self.wishes.push(if was_starved { Wish::Resume(*at, partition.next) } else { Wish::Pause(*at) });
            }
        }
        if let Some(reason) = reason {
            self.last_error = reason;
            self.watch_horizon(now_ms);
            self.graves.expire(now_ms, self.config.conflict.tombstone_grace.as_millis() as u64);
        }
    }

    /// Whether nothing is read for want of memory.
    pub fn is_starved(&self) -> bool {
        self.is_starved
    }
}
