//! One lock's share of the keys: a table per database, and who watches them.

use crate::hash::KeyHash;
use crate::limits::DATABASES;
use crate::segment::Placing;
use crate::slot::Slot;
use crate::store::Memory;
use crate::table::{Env, Table};
use crate::time::Cx;
use smallvec::SmallVec;
use std::collections::HashMap;

/// A database number as clients select it, below [`DATABASES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Db(pub u8);

/// The table behind a database number; `SWAPDB` exchanges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Physical(pub u8);

#[derive(Default)]
struct Watched {
    /// One, unless hashes collide.
    keys: SmallVec<[Box<[u8]>; 1]>,
    version: u64,
    watchers: u32,
}

/// See the module's text. The table that most look-ups go to comes first, beside the lock.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Stripe {
    first: Table,
    /// Databases 1 to 15; a table is boxed once it has a key.
    others: [Option<Box<Table>>; DATABASES - 1],
    /// Bytes not yet flushed to the global count.
    unflushed: i64,
    #[allow(clippy::box_collection)] // nearly always absent: one word in the stripe
    watched: Option<Box<HashMap<(Db, KeyHash), Watched>>>,
    pub counts: Counts,
    /// The epoch the revoke sweeper last brought all tables here to.
    pub swept: u64,
}

/// What happened in a stripe since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub changes: u64,
    pub expired: u64,
    pub revoked: u64,
    pub evicted: u64,
}

impl Stripe {
    pub fn table(&self, db: Physical) -> Option<&Table> {
        match db.0 {
            0 => Some(&self.first),
            n => self.others[usize::from(n) - 1].as_deref(),
        }
    }

    /// Runs `act` on a table and books what it changed. All changes to tables go through here.
    #[inline]
    pub fn with_table<R>(&mut self, db: Physical, memory: &Memory, act: impl FnOnce(&mut Table) -> R) -> R {
        let table = match db.0 {
            0 => &mut self.first,
            n => self.others[usize::from(n) - 1].get_or_insert_default(),
        };
        let before = table.bytes();
        let result = act(table);
        let delta = table.bytes() as i64 - before as i64;
        self.counts.expired += core::mem::take(&mut table.expired);
        self.counts.revoked += core::mem::take(&mut table.revoked);
        if db.0 > 0 && table.len() == 0 {
            self.others[usize::from(db.0) - 1] = None;
        }
        if delta != 0 {
            self.unflushed += delta;
            if self.unflushed.unsigned_abs() >= memory.quantum() {
                self.settle(memory);
            }
        }
        result
    }

    /// Brings the global count up to date with this stripe.
    pub fn settle(&mut self, memory: &Memory) {
        if self.unflushed != 0 {
            memory.charge(core::mem::take(&mut self.unflushed));
        }
    }

    /// Runs `act` on the slot of one key and tells the observers if it changed anything.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub fn one<R>(
        &mut self,
        (db, physical): (Db, Physical),
        kh: KeyHash,
        key: &[u8],
        cx: &Cx,
        env: Env<'_>,
        memory: &Memory,
        act: impl FnOnce(Slot<'_>) -> R,
    ) -> R {
        let place = kh.place(env.placing.stripe_bits);
        let (result, changed) = self.with_table(physical, memory, |table| {
            table.changed = false;
            let result = act(Slot::find(table, place, key, cx, env));
            (result, table.changed)
        });
        if changed {
            self.changed(db, kh);
        }
        result
    }

    /// Notes that a key's entry changed, was removed or evicted (not: that its deadline passed).
    pub fn changed(&mut self, db: Db, kh: KeyHash) {
        self.counts.changes += 1;
        if let Some(watched) = &mut self.watched
            && let Some(watched) = watched.get_mut(&(db, kh))
        {
            watched.version += 1;
        }
    }

    /// Detaches a whole table, for `FLUSHDB`; its bytes stay counted until it is freed.
    pub fn detach(&mut self, db: Db, physical: Physical, placing: Placing<'_>, memory: &Memory) -> Option<Table> {
        self.touch_watched(&[db], &[physical], placing);
        self.settle(memory);
        let table = match physical.0 {
            0 => core::mem::take(&mut self.first),
            n => *self.others[usize::from(n) - 1].take()?,
        };
        (table.len() > 0).then(|| {
            self.counts.changes += 1;
            table
        })
    }

    /// Counts as changed every watched key of `dbs` that lies in one of `tables`.
    pub fn touch_watched(&mut self, dbs: &[Db], tables: &[Physical], placing: Placing<'_>) {
        let Some(mut watched) = self.watched.take() else {
            return;
        };
        for ((db, kh), watched) in watched.iter_mut() {
            let place = kh.place(placing.stripe_bits);
            let mut keys = watched.keys.iter();
            let tables = || tables.iter().filter_map(|table| self.table(*table));
            if dbs.contains(db) && keys.any(|key| tables().any(|table| table.find(place, key).is_some())) {
                watched.version += 1;
            }
        }
        self.watched = Some(watched);
    }

    /// Begins to watch a key; gives its version and whether it is live now.
    pub fn watch(
        &mut self,
        db: (Db, Physical),
        kh: KeyHash,
        key: &[u8],
        cx: &Cx,
        env: Env<'_>,
        memory: &Memory,
    ) -> (u64, bool) {
        let live = self.is_live(db.1, kh, key, cx, env);
        if !live {
            // A dead entry must not count as one that a later flush takes away.
            self.with_table(db.1, memory, |table| table.remove_dead(kh.place(env.placing.stripe_bits), key, cx, env));
        }
        let watched = self.watched.get_or_insert_default().entry((db.0, kh)).or_default();
        if !watched.keys.iter().any(|known| **known == *key) {
            watched.keys.push(key.into());
        }
        watched.watchers += 1;
        (watched.version, live)
    }

    pub fn unwatch(&mut self, db: Db, kh: KeyHash) {
        let Some(all) = &mut self.watched else { return };
        if let Some(watched) = all.get_mut(&(db, kh)) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                all.remove(&(db, kh));
            }
        }
        if all.is_empty() {
            self.watched = None;
        }
    }

    pub fn watched_version(&self, db: Db, kh: KeyHash) -> Option<u64> {
        Some(self.watched.as_ref()?.get(&(db, kh))?.version)
    }

    pub fn is_live(&self, db: Physical, kh: KeyHash, key: &[u8], cx: &Cx, env: Env<'_>) -> bool {
        self.table(db).is_some_and(|table| {
            let found = table.find(kh.place(env.placing.stripe_bits), key);
            found.is_some_and(|(at, deadline)| table.death(at, deadline, cx, env).is_none())
        })
    }

    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.first.bytes() + self.others.iter().flatten().map(|table| table.bytes()).sum::<u64>()
    }

    /// Bytes not yet in the global count.
    pub fn unflushed(&self) -> i64 {
        self.unflushed
    }

    /// The tables that hold keys, by number.
    pub fn occupied(&self) -> impl Iterator<Item = Physical> + use<> {
        let mut occupied = [false; DATABASES];
        occupied[0] = self.first.len() > 0;
        for (n, table) in self.others.iter().enumerate() {
            occupied[n + 1] = table.is_some();
        }
        (0..DATABASES as u8).filter(move |n| occupied[usize::from(*n)]).map(Physical)
    }
}
