//! One lock's share of the keys: a table per database, and who watches them.

use crate::hash::{KeyHash, Place};
use crate::limits::DATABASES;
use crate::loads::{Load, Loads};
use crate::segment::Placing;
use crate::side::Wake;
use crate::slot::Slot;
use crate::store::{Memory, Store};
use crate::table::{Done, Env, Table};
use crate::time::Cx;
use crate::view::View;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// The last pass of the revoke sweeper that was through with all tables here.
    pub swept: u64,
    /// Loads under way; absent where there are none.
    pub loads: Option<Box<Loads>>,
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
        if let Some(buried) = table.buried.take() {
            memory.graveyard.bury_objects(*buried, memory);
        }
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
        store: &Store,
        act: impl FnOnce(Slot<'_>) -> R,
    ) -> R {
        let place = kh.place(env.placing.stripe_bits);
        let (result, changed, done) = self.with_table(physical, &store.memory, |table| {
            table.changed = false;
            table.done = Done::Nothing;
            let result = act(Slot::find(table, place, key, cx, env));
            (result, table.changed, table.done)
        });
        if changed {
            self.changed(db, kh);
        }
        if self.loads.is_some() && done != Done::Nothing {
            self.tell_loaders(physical, place, key, done, store);
        }
        result
    }

    /// What is being loaded for a key that was written or deleted is not wanted any more.
    #[cold]
    fn tell_loaders(&mut self, physical: Physical, place: Place, key: &[u8], done: Done, store: &Store) {
        let Some(loads) = &mut self.loads else { return };
        let mut load = loads.take(physical, key);
        if done == Done::Removed {
            load.doom();
        } else {
            load.supersede();
            let found = self.table(physical).and_then(|table| Some(table.record(table.find(place, key)?.0)));
            if let Some(record) = found.filter(|_| load.waiters() > 0) {
                load.deliver_written(&Wake::Loaded(Arc::new(View::written(record).loaded())), &store.side);
            }
        }
        self.put_load(physical, key, load, store);
    }

    /// Puts back what was taken out of the loads.
    pub fn put_load(&mut self, table: Physical, key: &[u8], load: Load, store: &Store) {
        if self.loads.is_none() && load.is_idle() {
            load.unbook(store);
            return;
        }
        let loads = self.loads.get_or_insert_default();
        loads.put(table, key, load, store);
        if loads.is_empty() {
            self.loads = None;
        }
    }

    /// Ends loads and waits whose time is over.
    pub fn tend_loads(&mut self, cx: &Cx, store: &Store) {
        if let Some(loads) = &mut self.loads {
            loads.tend(store.log.epoch(), cx, store);
            if loads.is_empty() {
                self.loads = None;
            }
        }
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
    pub fn detach(&mut self, db: Db, physical: Physical, store: &Store) -> Option<Table> {
        self.touch_watched(&[db], &[physical], store.placing());
        self.settle(&store.memory);
        if let Some(loads) = &mut self.loads {
            loads.doom_all(physical, store);
            if loads.is_empty() {
                self.loads = None;
            }
        }
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
