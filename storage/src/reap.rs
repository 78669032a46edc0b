//! Freeing the dead: entries at their end: past their deadline, or where a copy is retained beyond that, past that time.
//!
//! No index of deadlines: each segment knows the first second at which one of its entries may be dead, each table the
//! first of those. A search passes over the segments' heads in hash order and visits those that are due, which looks at
//! all their entries and finds the next such second.

use crate::hash::Place;
use crate::limits::REAP_PAUSE_S;
use crate::segment::{NEVER, due_second};
use crate::table::{At, Table, is_past};
use crate::time::Cx;
use smallvec::SmallVec;

impl Table {
    /// Frees dead entries, looking at about `limit` entries, one segment's more at most. Returns whether all that is due
    /// was looked at.
    pub fn reap(&mut self, limit: usize, cx: &Cx) -> bool {
        let now_s = u32::try_from(cx.now.seconds()).unwrap_or(NEVER - 1).min(NEVER - 1);
        if now_s < self.due {
            return true;
        }
        let (mut looked_at, mut soonest) = (0, NEVER);
        let start = self.reap_from;
        // From where the last search ended to the end, then from the beginning to there.
        for (from, to) in [(start, None), (0, Some(start))] {
            let mut order = Some(from);
            while let Some(at) = order.filter(|order| to.is_none_or(|to| *order < to)) {
                let Some((index, next)) = self.segment_from(at) else { return true };
                if self.segment(index).due <= now_s {
                    if looked_at >= limit {
                        self.reap_from = at;
                        return false;
                    }
                    looked_at += self.segment(index).len().max(1);
                    if self.reap_segment(index, at, now_s, cx) {
                        return true;
                    }
                }
                // A merge may have moved it: by its place it is found.
                let due = self.segment_from(at).map_or(NEVER, |(index, _)| self.segment(index).due);
                soonest = soonest.min(due);
                order = next;
            }
        }
        self.reap_from = 0;
        self.due = soonest;
        true
    }

    /// Frees the dead of one segment, which contains the place `order`; true if the table is empty now.
    fn reap_segment(&mut self, segment: u32, order: u64, now_s: u32, cx: &Cx) -> bool {
        let mut dead: SmallVec<[usize; 64]> = SmallVec::new();
        let mut due = NEVER;
        self.segment(segment).prefetch_all();
        for (position, record) in self.segment(segment).iter() {
            let Some(end) = record.end() else { continue };
            if is_past(Some(end), cx) {
                dead.push(position);
            } else {
                due = due.min(due_second(end));
            }
        }
        let due = due.max(now_s.saturating_add(REAP_PAUSE_S));
        self.with_segment(segment, |segment| segment.due = due);
        // From the last on: the stash closes its gaps with its last entry.
        for position in dead.into_iter().rev() {
            self.remove_untidily(At { segment, position });
            self.expired += 1;
        }
        self.tidy(segment, Place { order });
        self.len() == 0
    }
}
