//! Entries made of the records of a log: written by who follows the log alone, in the log's order, whatever is replayed.

use crate::access::Access;
use crate::ext::{OwnedExt, Provenance};
use crate::hash::KeyHash;
use crate::record::{NewRecord, Record};
use crate::scan::Position;
use crate::slot::{LiveRef, Slot};
use crate::stripe::Db;
use crate::table::{Done, is_past};
use crate::time::{Cx, Millis};
use crate::value::NewValue;

/// What a record of the log makes of its key.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// The entry holds this, whatever it held.
    Put {
        /// The value.
        value: NewValue<'a>,
        /// `None` = for ever. One already passed leaves no entry.
        deadline: Option<Millis>,
    },
    /// There is no entry.
    Delete,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// An entry was written; `other`: over one that came from elsewhere, another partition or a client.
    Written {
        /// See there.
        other: bool,
    },
    /// The entry was made of this very record, and stays.
    Same,
    /// The entry was made of a later record, and stays.
    Older,
    /// The entry is gone.
    Deleted,
    /// There was none, and is none.
    Absent,
}

impl Access<'_> {
    /// Applies a change that a record of a log makes, in one step. Of one partition of one source, later offsets win, so
    /// that what is read again changes nothing.
    pub fn project(
        &mut self,
        db: Db,
        kh: KeyHash,
        key: &[u8],
        change: Change<'_>,
        from: &Provenance,
        cx: &Cx,
    ) -> Applied {
        self.one(db, kh, key, cx, |slot| slot.project(change, from))
    }

    /// Writes an entry beside the log, if there is none; the log's next record of its key replaces it. Whether it was written.
    pub fn project_beside(
        &mut self,
        db: Db,
        kh: KeyHash,
        key: &[u8],
        value: NewValue<'_>,
        from: &Provenance,
        cx: &Cx,
    ) -> bool {
        debug_assert!(from.is_local());
        self.one(db, kh, key, cx, |slot| {
            let is_free = !slot.is_live();
            if is_free {
                slot.project(Change::Put { value, deadline: None }, from);
            }
            is_free
        })
    }

    /// Goes on with a walk over the keys with this prefix: removes those that were projected before the generation, or
    /// written beside the log; all that were projected if there is none. Looks at about `wanted` keys; gives how many it removed, and where to go on.
    pub fn drop_projected(
        &mut self,
        db: Db,
        prefix: &[u8],
        generation: Option<u8>,
        (from, wanted): (Position, usize),
        cx: &Cx,
    ) -> (usize, Option<Position>) {
        // Later generations stay: another rebuild may have begun meanwhile. They are far fewer than half of those there are.
        let is_older = |of: u8, now: u8| (now.wrapping_sub(of) as i8) > 0;
        let is_past = |record: Record<'_>| {
            let past =
                |from: Provenance| from.is_local() || generation.is_none_or(|now| is_older(from.generation, now));
            record.ext().provenance().is_some_and(past)
        };
        let mut past: Vec<Box<[u8]>> = Vec::new();
        let next = self.walk_records(db, from, wanted, cx, |record| {
            if record.key().starts_with(prefix) && is_past(record) {
                past.push(record.key().into());
            }
        });
        let removed = past.iter().filter(|key| {
            let kh = self.hash(key);
            self.one(db, kh, key, cx, |slot| match slot {
                Slot::Live(live) if is_past(live.record()) => {
                    live.remove();
                    true
                }
                _ => false,
            })
        });
        (removed.count(), next)
    }
}

impl LiveRef<'_> {
    /// Which record of a log it was made of, if one.
    pub fn provenance(&self) -> Option<Provenance> {
        self.record().ext().provenance()
    }
}

impl Slot<'_> {
    fn project(self, change: Change<'_>, from: &Provenance) -> Applied {
        let (cx, known) = match &self {
            Self::Live(live) => (live.target.cx, live.provenance()),
            Self::Vacant(vacant) => (vacant.target.cx, None),
        };
        let same_log = |known: &Provenance| (known.source, known.partition) == (from.source, from.partition);
        match (&self, known.filter(same_log)) {
            (Self::Live(_), Some(known)) if from.offset < known.offset => return Applied::Older,
            (Self::Live(_), Some(known)) if (from.offset, from.mapping) == (known.offset, known.mapping) => {
                self.confirm(from);
                return Applied::Same;
            }
            _ => {}
        }
        let (value, deadline) = match change {
            Change::Put { value, deadline } if !is_past(deadline, cx) => (value, deadline),
            _ => return if self.delete() { Applied::Deleted } else { Applied::Absent },
        };
        let other = self.is_live() && !known.is_some_and(|known| same_log(&known));
        self.put_projected(value, deadline, from);
        Applied::Written { other }
    }

    /// Seen again: as good as new.
    fn confirm(self, from: &Provenance) {
        if let Self::Live(live) = self {
            live.target.table.set_provenance(live.at, from);
        }
    }

    fn put_projected(self, value: NewValue<'_>, deadline: Option<Millis>, from: &Provenance) {
        let ext = OwnedExt { provenance: Some(*from), ..OwnedExt::default() };
        match self {
            Self::Live(live) if live.provenance().is_some() => live.overwrite_projected(value, deadline, from, &ext),
            slot => slot.put_whole(value, deadline, ext),
        }
    }
}

impl LiveRef<'_> {
    /// Where it lies if it fits there, else anew.
    fn overwrite_projected(mut self, value: NewValue<'_>, deadline: Option<Millis>, from: &Provenance, ext: &OwnedExt) {
        let table = &mut *self.target.table;
        table.changed = true;
        match table.overwrite(self.at, value, deadline) {
            Ok(()) => table.set_provenance(self.at, from),
            Err(value) => {
                let new = NewRecord::new(self.target.key, value, deadline, ext.as_new());
                self.at = table.replace(self.at, self.target.place, new, self.target.env);
            }
        }
        self.target.table.done = Done::Wrote;
    }
}
