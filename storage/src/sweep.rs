//! The revoke sweeper's part in a table: entries that the log says are dead are freed, the others need no judging again.

use crate::hash::Place;
use crate::limits::SWEEP_SEGMENTS;
use crate::revoke::Softs;
use crate::segment::Segment;
use crate::table::{At, Env, Table, is_past};
use crate::time::Cx;
use smallvec::SmallVec;

/// How sweeping a segment went.
enum Swept {
    Done,
    /// It was changed on the way and is to be judged once more.
    Again,
    /// No entry of the table is left.
    Empty,
}

impl Table {
    /// Judges the next few segments by the log as far as `target`, in hash order; true once all were.
    ///
    /// A segment that is swept has that epoch as its base. Splits hand it on, and merges wait until both have it, so a
    /// pass in hash order meets every entry that was there when it began.
    pub fn sweep(&mut self, target: u64, cx: &Cx, env: Env<'_>) -> bool {
        if self.swept == target {
            return true;
        }
        let mut judged = 0;
        while judged < SWEEP_SEGMENTS {
            let order = self.sweep_from;
            // Nothing to judge is left where the table has become empty.
            let Some((index, next)) = self.segment_from(order) else { return true };
            if self.segment(index).base < target {
                judged += 1;
                match self.sweep_segment(index, order, target, cx, env) {
                    Swept::Empty => return true,
                    Swept::Again => continue,
                    Swept::Done => {}
                }
            }
            match next {
                Some(next) => self.sweep_from = next,
                None => {
                    (self.swept, self.sweep_from) = (target, 0);
                    return true;
                }
            }
        }
        false
    }

    /// One segment, which contains the place `order`.
    fn sweep_segment(&mut self, index: u32, order: u64, target: u64, cx: &Cx, env: Env<'_>) -> Swept {
        let base = self.segment(index).base;
        let mut dead: SmallVec<[usize; 64]> = SmallVec::new();
        let mut stamped: SmallVec<[usize; 64]> = SmallVec::new();
        let mut softened: Vec<(Box<[u8]>, Softs, u32)> = Vec::new();
        self.segment(index).prefetch_all();
        // What came after the target is the next pass's: a stream of soft revokes must not keep this one from ending.
        let is_older = |stamp: Option<u32>| stamp.is_none() || env.log.is_before(stamp, target);
        for (position, record) in self.segment(index).iter() {
            let verdict = env.log.judge(env.table, record, base, env.log_held);
            let found = verdict.found;
            if found.is_hard || found.latest > 0 && record.ext().is_absent() {
                dead.push(position);
            } else if !found.soft.is_empty() && !is_past(record.end(), cx) && is_older(record.ext().stamp()) {
                softened.push((record.key().into(), found.soft, verdict.epoch as u32));
            } else if env.log.is_before(record.ext().stamp(), target) {
                stamped.push(position);
            }
        }
        if !softened.is_empty() {
            // They grow, and the segment may split: none of its parts is done with. It is met again, with nothing to soften.
            for (key, soft, stamp) in softened {
                let place = env.placing.of(&key);
                let (at, _) = self.find(place, &key).expect("nothing was removed since");
                self.soften(at, place, &soft, stamp, env);
            }
            return Swept::Again;
        }
        self.with_segment(index, |segment: &mut Segment| {
            segment.base = target;
            for position in &stamped {
                segment.restamp(*position, target as u32);
            }
        });
        // From the last on: the stash closes its gaps with its last entry.
        for position in dead.into_iter().rev() {
            self.remove_untidily(At { segment: index, position });
            self.revoked += 1;
        }
        self.tidy(index, Place { order });
        if self.len() == 0 { Swept::Empty } else { Swept::Done }
    }
}
