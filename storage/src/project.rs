//! Entries made of the records of a log: written by who follows the log alone, in the log's order, whatever is replayed.

use crate::access::Access;
use crate::ext::{OwnedExt, Provenance};
use crate::hash::KeyHash;
use crate::limits::INDEX_BYTES;
use crate::pages;
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

/// A change, and the record that makes it.
#[derive(Clone, Debug)]
pub struct Projected<'a> {
    /// What it makes of its key.
    pub change: Change<'a>,
    /// The record.
    pub from: Provenance,
    /// Of records of one key the highest version wins, whichever comes last; `None` = the last one does.
    pub version: Option<u64>,
    /// It concerns the entry only if that was made of this record.
    pub only: Option<Provenance>,
    /// Nothing is written where there is no entry.
    pub is_held: bool,
    /// Versions of entries of earlier generations count no more; else a lower one waits until it is known whether they stay.
    pub is_last: bool,
}

impl<'a> Projected<'a> {
    /// One that is ordered by its offset alone.
    pub fn new(change: Change<'a>, from: Provenance) -> Self {
        Self { change, from, version: None, only: None, is_held: false, is_last: false }
    }
}

/// The place of a record among those of one key that have versions: the same on every server and in every order of arrival.
pub type Rank = (u64, u16, u32, u64);

impl Provenance {
    /// Its record's place among those of its key.
    pub fn rank(&self, version: u64) -> Rank {
        (version, self.source, self.partition, self.offset)
    }
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
    /// The entry was made of a record of a higher version, and stays.
    Lower,
    /// It is not to be written yet: there is no entry, or one of a higher version of which it is not known whether it stays.
    Held,
    /// The entry is gone.
    Deleted,
    /// There was none, and is none.
    Absent,
}

impl Access<'_> {
    /// Applies a change that a record of a log makes, in one step. Of one partition of one source, later offsets win, so
    /// that what is read again changes nothing.
    pub fn project(&mut self, db: Db, kh: KeyHash, key: &[u8], record: Projected<'_>, cx: &Cx) -> Applied {
        self.one(db, kh, key, cx, |slot| slot.project(record))
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
                slot.project(Projected::new(Change::Put { value, deadline: None }, *from));
            }
            is_free
        })
    }

    /// Bytes that the entry of a key takes, with its share of the index; 0 without one, and for one that no log made.
    pub fn projected_bytes(&mut self, db: Db, kh: KeyHash, key: &[u8], cx: &Cx) -> u64 {
        self.one(db, kh, key, cx, |slot| {
            let logged = slot.live().filter(|live| live.provenance().is_some_and(|from| !from.is_local()));
            logged.map_or(0, |live| bytes_of(live.record()))
        })
    }

    /// Goes on with a walk over the keys with this prefix: looks at about `wanted` keys; gives the bytes that their entries
    /// take, and where to go on.
    pub fn count_projected(
        &mut self,
        db: Db,
        prefix: &[u8],
        (from, wanted): (Position, usize),
        cx: &Cx,
    ) -> (u64, Option<Position>) {
        let mut bytes = 0;
        let next = self.walk_records(db, from, wanted, cx, |record| {
            if record.key().starts_with(prefix) {
                bytes += bytes_of(record);
            }
        });
        (bytes, next)
    }

    /// Goes on with a walk over the keys with this prefix, which are a projection's: removes those that were projected before
    /// the generation, or written beside the log; all of them if there is none. Looks at about `wanted` keys; gives how many it removed, and where to go on.
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
            record.ext().provenance().is_none_or(past)
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

fn bytes_of(record: Record<'_>) -> u64 {
    pages::rounded(record.len()) as u64 + record.owned_bytes() + INDEX_BYTES
}

impl LiveRef<'_> {
    /// Which record of a log it was made of, if one.
    pub fn provenance(&self) -> Option<Provenance> {
        self.record().ext().provenance()
    }
}

impl Slot<'_> {
    fn project(self, record: Projected<'_>) -> Applied {
        let Projected { change, from, version, only, is_held, is_last } = record;
        let (cx, known) = match &self {
            Self::Live(live) => (live.target.cx, live.provenance()),
            Self::Vacant(vacant) => (vacant.target.cx, None),
        };
        let place = |of: &Provenance| (of.source, of.partition, of.offset);
        if only.is_some_and(|only| known.is_none_or(|known| place(&known) != place(&only))) {
            return Applied::Absent;
        }
        let same_log = |known: &Provenance| (known.source, known.partition) == (from.source, from.partition);
        match (&self, known.filter(same_log)) {
            (Self::Live(_), Some(known)) if from.offset < known.offset => return Applied::Older,
            (Self::Live(_), Some(known)) if (from.offset, from.mapping) == (known.offset, known.mapping) => {
                self.confirm(&from);
                return Applied::Same;
            }
            _ => {}
        }
        if let (Some(version), Self::Live(live)) = (version, &self)
            && known.zip(live.version()).is_some_and(|(known, other)| known.rank(other) > from.rank(version))
            && !(is_last && known.is_some_and(|known| known.generation != from.generation))
        {
            let is_earlier = known.is_some_and(|known| known.generation != from.generation);
            return if is_earlier && matches!(change, Change::Put { .. }) { Applied::Held } else { Applied::Lower };
        }
        let (value, deadline) = match change {
            Change::Put { value, deadline } if !is_past(deadline, cx) => (value, deadline),
            _ => return if self.delete() { Applied::Deleted } else { Applied::Absent },
        };
        if is_held && !self.is_live() {
            return Applied::Held;
        }
        let other = self.is_live() && !known.is_some_and(|known| same_log(&known));
        self.put_projected(value, deadline, &from, version);
        Applied::Written { other }
    }

    /// Seen again: as good as new.
    fn confirm(self, from: &Provenance) {
        if let Self::Live(live) = self {
            live.target.table.set_provenance(live.at, from);
        }
    }

    fn put_projected(self, value: NewValue<'_>, deadline: Option<Millis>, from: &Provenance, version: Option<u64>) {
        let validator = version.map_or_else(Box::default, |version| Box::from(version.to_le_bytes()));
        let ext = OwnedExt { provenance: Some(*from), validator, ..OwnedExt::default() };
        match self {
            // A version may lie where there was none.
            Self::Live(live) if live.provenance().is_some() && version.is_none() && live.version().is_none() => {
                live.overwrite_projected(value, deadline, from, &ext);
            }
            slot => slot.put_whole(value, deadline, ext),
        }
    }
}

impl LiveRef<'_> {
    /// The version of the record that it was made of, if records have some; it lies where others have their validator.
    fn version(&self) -> Option<u64> {
        self.record().ext().validator().try_into().ok().map(u64::from_le_bytes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::store::{Layout, Store};
    use crate::value::Value;

    fn from(partition: u32, offset: u64, generation: u8) -> Provenance {
        Provenance { source: 1, partition, offset, generation, ..Provenance::default() }
    }

    fn put(access: &mut Access<'_>, key: &[u8], text: &[u8], deadline: Option<u64>, from: &Provenance) -> Applied {
        let change = Change::Put { value: NewValue::Bytes(text), deadline: deadline.map(Millis) };
        access.project(Db(0), access.hash(key), key, Projected::new(change, *from), &Cx::at(100))
    }

    fn value(access: &mut Access<'_>, key: &[u8]) -> Option<Vec<u8>> {
        access.one(Db(0), access.hash(key), key, &Cx::at(100), |slot| match slot.live()?.value() {
            Value::Raw(text) => Some(text.to_vec()),
            _ => unreachable!("short texts"),
        })
    }

    #[test]
    fn later_offsets_of_a_partition_win() {
        let store = Store::new(Layout::new(4, [1; 4]));
        let mut participant = store.join();
        let mut access = participant.batch();
        assert_eq!(put(&mut access, b"k", b"5", None, &from(0, 5, 0)), Applied::Written { other: false });
        assert_eq!(put(&mut access, b"k", b"4", None, &from(0, 4, 0)), Applied::Older);
        assert_eq!(put(&mut access, b"k", b"5 again", None, &from(0, 5, 1)), Applied::Same);
        let delete = |access: &mut Access<'_>, offset| {
            let record = Projected::new(Change::Delete, from(0, offset, 0));
            access.project(Db(0), access.hash(b"k"), b"k", record, &Cx::at(100))
        };
        assert_eq!(delete(&mut access, 3), Applied::Older);
        assert_eq!(value(&mut access, b"k").as_deref(), Some(&b"5"[..]));
        assert_eq!(put(&mut access, b"k", b"a longer one", None, &from(1, 0, 0)), Applied::Written { other: true });
        assert_eq!(delete(&mut access, 6), Applied::Deleted);
        assert_eq!(delete(&mut access, 7), Applied::Absent);
        // Over before it came: there is none.
        assert_eq!(put(&mut access, b"k", b"old", Some(100), &from(0, 8, 0)), Applied::Absent);
        assert_eq!(value(&mut access, b"k"), None);
        drop(access);
        store.invariants();
    }

    /// With versions the highest one wins, whatever the order; equal ones are told apart by their places.
    #[test]
    fn higher_versions_win() {
        // Two partitions, and versions that do not follow their offsets.
        let records: [(u32, u64, u64); 4] = [(0, 0, 5), (0, 1, 1), (1, 0, 3), (1, 1, 5)];
        for order in [[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3], [2, 0, 3, 1], [0, 2, 3, 1], [2, 0, 1, 3]] {
            let store = Store::new(Layout::new(4, [1; 4]));
            let mut participant = store.join();
            let mut access = participant.batch();
            for at in order {
                let (partition, offset, version) = records[at];
                let text = format!("{partition}-{offset}");
                let change = Change::Put { value: NewValue::Bytes(text.as_bytes()), deadline: None };
                let record = Projected { version: Some(version), ..Projected::new(change, from(partition, offset, 0)) };
                access.project(Db(0), access.hash(b"k"), b"k", record, &Cx::at(100));
            }
            assert_eq!(value(&mut access, b"k").as_deref(), Some(&b"1-1"[..]), "{order:?}");
            let late = Projected { version: Some(4), ..Projected::new(Change::Delete, from(0, 9, 0)) };
            let applied = access.project(Db(0), access.hash(b"k"), b"k", late, &Cx::at(100));
            assert_eq!((applied, value(&mut access, b"k").is_some()), (Applied::Lower, true));
            drop(access);
            store.invariants();
        }
    }

    /// What is held back is written where there is an entry only.
    #[test]
    fn held_changes_make_no_entry() {
        let store = Store::new(Layout::new(4, [1; 4]));
        let mut participant = store.join();
        let mut access = participant.batch();
        let held = |access: &mut Access<'_>, text: &'static [u8], offset| {
            let change = Change::Put { value: NewValue::Bytes(text), deadline: None };
            let record = Projected { is_held: true, ..Projected::new(change, from(0, offset, 0)) };
            access.project(Db(0), access.hash(b"k"), b"k", record, &Cx::at(100))
        };
        assert_eq!((held(&mut access, b"a", 1), value(&mut access, b"k")), (Applied::Held, None));
        put(&mut access, b"k", b"b", None, &from(0, 2, 0));
        assert_eq!(held(&mut access, b"c", 3), Applied::Written { other: false });
        assert_eq!(value(&mut access, b"k").as_deref(), Some(&b"c"[..]));
    }

    #[test]
    fn what_is_written_beside_the_log_is_replaced_by_it() {
        let store = Store::new(Layout::new(4, [1; 4]));
        let mut participant = store.join();
        let mut access = participant.batch();
        let local = Provenance { source: Provenance::LOCAL, offset: 9, ..Provenance::default() };
        let beside = |access: &mut Access<'_>| {
            access.project_beside(Db(0), access.hash(b"k"), b"k", NewValue::Bytes(b"mine"), &local, &Cx::at(100))
        };
        assert!(beside(&mut access));
        assert!(!beside(&mut access));
        assert_eq!(put(&mut access, b"k", b"theirs", None, &from(0, 0, 0)), Applied::Written { other: true });
        assert!(!beside(&mut access));
        assert_eq!(value(&mut access, b"k").as_deref(), Some(&b"theirs"[..]));
    }

    /// Neither eviction nor a revoke of a group takes a projected entry; a sweep takes those of earlier generations.
    #[test]
    fn nobody_takes_them_but_a_sweep() {
        let store = Store::new(Layout::new(2, [1; 4]));
        let mut participant = store.join();
        let mut access = participant.batch();
        store.memory().set_policy(Policy::AllKeysLru);
        store.memory().set_limit(store.memory().used() + 200_000);
        for n in 0..200u64 {
            put(&mut access, format!("p:{n}").as_bytes(), &[b'x'; 100], None, &from(0, n, (n % 2) as u8));
        }
        let cx = Cx::at(100);
        for n in 0..5000 {
            let key = format!("plain:{n}");
            let kh = access.hash(key.as_bytes());
            access.make_room(Some(kh), 100, &cx);
            access.one(Db(0), kh, key.as_bytes(), &cx, |slot| slot.put(NewValue::Bytes(&[b'y'; 100]), None));
        }
        assert!(access.counts().evicted > 1000);
        let all = crate::revoke::Selector::Prefix(b"p");
        access
            .revoke(Db(0), &[all], crate::revoke::Mode::Hard, crate::revoke::Overflow::Reject)
            .expect("there is room");
        while !access.tick(0, access.stripes(), &cx) {}
        let left = |access: &mut Access<'_>| {
            (0..200).filter(|n| value(access, format!("p:{n}").as_bytes()).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(left(&mut access).len(), 200);
        let mut at = Some(Position::START);
        let mut dropped = 0;
        while let Some(from) = at {
            let (count, next) = access.drop_projected(Db(0), b"p:", Some(1), (from, 16), &cx);
            (dropped, at) = (dropped + count, next);
        }
        assert_eq!((dropped, left(&mut access)), (100, (0..200).filter(|n| n % 2 == 1).collect()));
        drop(access);
        store.invariants();
    }
}
