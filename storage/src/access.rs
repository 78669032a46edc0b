//! How threads use the store: a [`Participant`] begins batches, an [`Access`] is one batch.

use crate::arena;
use crate::exclusive::{Exclusive, Member};
use crate::hash::KeyHash;
use crate::limits::{BUCKET_AHEAD, ENTRY_AHEAD, REAP_ENTRIES, SEGMENT_AHEAD};
use crate::record::Record;
use crate::revoke::{Mode, Overflow, Refused, Selector, Still};
use crate::scan::Position;
use crate::slot::Slot;
use crate::store::Store;
use crate::stripe::{Db, Physical, Stripe};
use crate::sync::MutexGuard;
use crate::table::{Env, Stage};
use crate::time::{Cx, draw};
use crate::value::Kind;
use smallvec::SmallVec;

/// A thread's right to use the store.
pub struct Participant<'s> {
    store: &'s Store,
    member: Member,
    contention: Contention,
}

/// How often a participant met another one in a stripe, since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contention {
    /// Accesses that had to wait for the stripe.
    pub waits: u64,
    /// Prefetch hints left out because the stripe was locked.
    pub hints_skipped: u64,
}

impl<'s> Participant<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store, member: store.exclusion.join(), contention: Contention::default() }
    }

    /// Begins a batch. While it lives nobody gets exclusive access, so it should be short (some 100 us).
    #[inline]
    pub fn batch(&mut self) -> Access<'_> {
        self.store.exclusion.enter(self.member);
        Access { store: self.store, member: self.member, held: Held::Nothing, contention: &mut self.contention }
    }

    /// How often it met others.
    pub fn contention(&self) -> Contention {
        self.contention
    }
}

impl Drop for Participant<'_> {
    fn drop(&mut self) {
        self.store.exclusion.part(self.member);
    }
}

/// What a batch holds beyond its right to be in the store.
pub(crate) enum Held<'s> {
    /// Each call locks the stripe it needs.
    Nothing,
    /// These stripes, ascending; no others may be touched.
    /// The revoke log stays as it is meanwhile, so that all keys are judged alike.
    Stripes { locked: SmallVec<[(u32, MutexGuard<'s, Stripe>); 8]>, _log: Still<'s> },
    /// Everything: nobody else is in the store.
    All { _exclusive: Exclusive<'s> },
}

/// One thread inside the store. Calls lock for themselves, unless made inside [`Access::atomically`] or
/// [`Access::exclusively`].
pub struct Access<'s> {
    pub(crate) store: &'s Store,
    member: Member,
    pub(crate) held: Held<'s>,
    contention: &'s mut Contention,
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        // Locks first: a taker must find the stripes free once this thread is out.
        if !matches!(core::mem::replace(&mut self.held, Held::Nothing), Held::All { .. }) {
            self.store.exclusion.leave(self.member);
        }
    }
}

/// Keys of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbStats {
    /// Keys, those past their deadline but not yet freed included.
    pub keys: usize,
    /// Keys with a deadline.
    pub expiring: usize,
    /// Mean time to live of those, in ms.
    pub average_ttl_ms: u64,
}

/// Counts since the start of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Changes to live entries.
    pub changes: u64,
    /// Entries freed because their deadline had passed.
    pub expired: u64,
    /// Entries freed because they were revoked.
    pub revoked: u64,
    /// Entries evicted.
    pub evicted: u64,
}

/// What a watched key looked like when the watch began.
#[derive(Clone, Debug)]
pub struct Watch {
    db: Db,
    kh: KeyHash,
    key: Box<[u8]>,
    version: u64,
    live: bool,
}

impl Watch {
    /// Whether this is a watch of that key.
    pub fn is_of(&self, db: Db, key: &[u8]) -> bool {
        self.db == db && *self.key == *key
    }
}

impl<'s> Access<'s> {
    /// The store this batch is in.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.store.hasher().hash(key)
    }

    #[inline(always)]
    pub(crate) fn with_stripe<R>(&mut self, index: usize, act: impl FnOnce(&mut Stripe) -> R) -> R {
        match &mut self.held {
            Held::Nothing | Held::All { .. } => {
                let stripe = &self.store.stripes[index].0;
                let mut stripe = stripe.try_lock().unwrap_or_else(|| {
                    self.contention.waits += 1;
                    stripe.lock()
                });
                act(&mut stripe)
            }
            Held::Stripes { locked: held, .. } => {
                let at = held
                    .binary_search_by_key(&(index as u32), |(stripe, _)| *stripe)
                    .expect("inside `atomically` only the declared keys are touched");
                act(&mut held[at].1)
            }
        }
    }

    /// Hints that a look-up of this key comes soon; worth it where many are known ahead. Skipped where the stripe is busy.
    #[inline]
    pub fn prefetch(&mut self, db: Db, kh: KeyHash, stage: Stage) {
        let store = self.store;
        let index = kh.stripe(store.stripe_bits);
        let hint = |stripe: &Stripe| {
            if let Some(table) = stripe.table(store.physical(db)) {
                table.prefetch(kh.place(store.stripe_bits), stage);
            }
        };
        if let Held::Stripes { locked: held, .. } = &self.held {
            if let Ok(at) = held.binary_search_by_key(&(index as u32), |(stripe, _)| *stripe) {
                hint(&held[at].1);
            }
        } else if let Some(stripe) = store.stripes[index].0.try_lock() {
            hint(&stripe);
        } else {
            self.contention.hints_skipped += 1;
        }
    }

    /// Hints for a run over many keys, to be given before each look-up: `at` counts the look-ups from 0, `key` names the
    /// key of one of them. Asks for what a few look-ups further on will need, near enough that it is still at hand then.
    #[inline]
    pub fn prefetch_ahead(&mut self, at: usize, key: impl Fn(usize) -> Option<(Db, KeyHash)>) {
        let mut ask = |at, stage| {
            if let Some((db, kh)) = key(at) {
                self.prefetch(db, kh, stage);
            }
        };
        if at == 0 {
            (0..SEGMENT_AHEAD).for_each(|at| ask(at, Stage::Segment));
            (0..BUCKET_AHEAD).for_each(|at| ask(at, Stage::Bucket));
            (0..ENTRY_AHEAD).for_each(|at| ask(at, Stage::Entry));
        }
        ask(at + SEGMENT_AHEAD, Stage::Segment);
        ask(at + BUCKET_AHEAD, Stage::Bucket);
        ask(at + ENTRY_AHEAD, Stage::Entry);
    }

    /// Runs `act` on what there is under `key`, atomically for that key.
    #[inline]
    pub fn one<R>(&mut self, db: Db, kh: KeyHash, key: &[u8], cx: &Cx, act: impl FnOnce(Slot<'_>) -> R) -> R {
        let store = self.store;
        let physical = store.physical(db);
        let env = self.env(physical);
        self.with_stripe(kh.stripe(store.stripe_bits), |stripe| {
            stripe.one((db, physical), kh, key, cx, env, store, act)
        })
    }

    /// Runs `act` with the stripes of all these keys locked, so that it is one step for everybody else. Inside, only
    /// these keys may be touched. Nested calls are part of the outer one, whose keys must contain theirs.
    pub fn atomically<R>(&mut self, keys: impl IntoIterator<Item = KeyHash>, act: impl FnOnce(&mut Self) -> R) -> R {
        if !matches!(self.held, Held::Nothing) {
            return act(self);
        }
        let mut stripes: SmallVec<[u32; 16]> =
            keys.into_iter().map(|kh| kh.stripe(self.store.stripe_bits) as u32).collect();
        stripes.sort_unstable();
        stripes.dedup();
        // Ascending order everywhere: no two threads can wait for each other.
        let guards = stripes.iter().map(|index| (*index, self.store.stripes[*index as usize].0.lock())).collect();
        self.held = Held::Stripes { locked: guards, _log: self.store.log.hold(false) };
        let result = act(self);
        self.held = Held::Nothing;
        result
    }

    /// Runs `act` while nobody else is in the store, so that it is one step whatever it touches. Must not be called
    /// inside [`atomically`](Self::atomically).
    pub fn exclusively<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> R {
        match self.held {
            Held::All { .. } => return act(self),
            Held::Stripes { .. } => {
                unreachable!("exclusive access inside `atomically` could wait for itself")
            }
            Held::Nothing => {}
        }
        self.store.exclusion.leave(self.member);
        self.held = Held::All { _exclusive: self.store.exclusion.take(self.member) };
        let result = act(self);
        self.held = Held::Nothing;
        self.store.exclusion.enter(self.member);
        result
    }

    /// Begins to watch a key; end it with [`unwatch`](Self::unwatch).
    pub fn watch(&mut self, db: Db, key: &[u8], cx: &Cx) -> Watch {
        let (store, kh) = (self.store, self.hash(key));
        let physical = store.physical(db);
        let env = self.env(physical);
        let (version, live) = self.with_stripe(kh.stripe(store.stripe_bits), |stripe| {
            stripe.watch((db, physical), kh, key, cx, env, &store.memory)
        });
        Watch { db, kh, key: key.into(), version, live }
    }

    /// Whether a watched key was changed, flushed, evicted, or has expired since the watch began.
    pub fn is_changed(&mut self, watch: &Watch, cx: &Cx) -> bool {
        let store = self.store;
        let physical = store.physical(watch.db);
        let env = self.env(physical);
        self.with_stripe(watch.kh.stripe(store.stripe_bits), |stripe| {
            stripe.watched_version(watch.db, watch.kh) != Some(watch.version)
                || (watch.live && !stripe.is_live(physical, watch.kh, &watch.key, cx, env))
        })
    }

    /// The hash of a watched key, to name it in [`atomically`](Self::atomically).
    pub fn watch_hash(&self, watch: &Watch) -> KeyHash {
        watch.kh
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: &Watch) {
        let stripe = watch.kh.stripe(self.store.stripe_bits);
        self.with_stripe(stripe, |stripe| stripe.unwatch(watch.db, watch.kh));
    }

    fn fold_stripes<T>(&mut self, mut state: T, mut act: impl FnMut(&mut T, &mut Stripe)) -> T {
        for index in 0..self.store.stripes.len() {
            self.with_stripe(index, |stripe| act(&mut state, stripe));
        }
        state
    }

    /// Number of keys in a database, dead ones not yet freed included.
    pub fn db_size(&mut self, db: Db) -> usize {
        let physical = self.store.physical(db);
        self.fold_stripes(0, |sum, stripe| *sum += stripe.table(physical).map_or(0, |table| table.len()))
    }

    /// Keys, keys with a deadline, and their average time to live.
    pub fn db_stats(&mut self, db: Db, cx: &Cx) -> DbStats {
        let physical = self.store.physical(db);
        let (keys, expiring, sum) = self.fold_stripes((0, 0, 0u128), |sum, stripe| {
            if let Some(table) = stripe.table(physical) {
                *sum = (sum.0 + table.len(), sum.1 + table.expiring(), sum.2 + u128::from(table.deadline_sum_ms()));
            }
        });
        let mean = if expiring == 0 { 0 } else { (sum / expiring as u128) as u64 };
        DbStats { keys, expiring, average_ttl_ms: mean.saturating_sub(cx.now.0) }
    }

    /// Makes what [`Memory`](crate::Memory) tells exact for this moment, by adding what stripes have kept to themselves.
    pub fn settle(&mut self) {
        let memory = self.store.memory();
        self.fold_stripes((), |(), stripe| stripe.settle(memory));
    }

    /// Counts over all stripes.
    pub fn counts(&mut self) -> StoreCounts {
        self.fold_stripes(StoreCounts::default(), |sum, stripe| {
            sum.changes += stripe.counts.changes;
            sum.expired += stripe.counts.expired;
            sum.revoked += stripe.counts.revoked;
            sum.evicted += stripe.counts.evicted;
        })
    }

    /// Continues a walk over a database: calls `each` with about `wanted` live keys, and never frees anything. Returns
    /// the position to go on from, or `None` when the walk is complete.
    ///
    /// A key present throughout is visited exactly once, any key at most once. More than `wanted` keys come only from
    /// one stretch of hash order; at most a full round of empty stripes is passed in one call.
    pub fn walk(
        &mut self,
        db: Db,
        from: Position,
        wanted: usize,
        cx: &Cx,
        mut each: impl FnMut(&[u8], Kind),
    ) -> Option<Position> {
        self.walk_records(db, from, wanted, cx, |record| each(record.key(), record.kind()))
    }

    /// The same, with all there is to an entry.
    pub(crate) fn walk_records(
        &mut self,
        db: Db,
        from: Position,
        wanted: usize,
        cx: &Cx,
        mut each: impl FnMut(Record<'_>),
    ) -> Option<Position> {
        let store = self.store;
        let (bits, physical) = (store.stripe_bits, store.physical(db));
        let env = self.env(physical);
        let (mut index, mut order) = from.split(bits);
        let (mut visited, wanted) = (0, wanted.max(1));
        while index < store.stripes.len() {
            let next = self.with_stripe(index, |stripe| {
                let table = stripe.table(physical)?;
                let mut order = Some(order);
                while let Some(from) = order
                    && visited < wanted
                {
                    order = table.visit(from, wanted - visited, bits + 2, (cx, env), |record, is_live| {
                        visited += 1;
                        if is_live {
                            each(record);
                        }
                    });
                }
                order
            });
            match next {
                Some(order) => return Some(Position::new(index, order, bits)),
                None => (index, order) = (index + 1, 0),
            }
            if visited >= wanted && index < store.stripes.len() {
                return Some(Position::new(index, 0, bits));
            }
        }
        None
    }

    /// [`walk`](Self::walk) by the cursors clients hold: 0 begins, and 0 is returned at the end.
    pub fn scan(&mut self, db: Db, cursor: u64, wanted: usize, cx: &Cx, each: impl FnMut(&[u8], Kind)) -> u64 {
        let from = self.store.cursors.open(cursor);
        match self.walk(db, from, wanted, cx, each) {
            Some(position) => self.store.cursors.seal(position),
            None => 0,
        }
    }

    /// The position of a cursor that a client holds, for walks inside a value; 0 is the beginning.
    pub fn open_cursor(&self, cursor: u64) -> Position {
        self.store.cursors.open(cursor)
    }

    /// The cursor of a position; 0 of the end.
    pub fn seal_cursor(&self, position: Option<Position>) -> u64 {
        position.map_or(0, |position| self.store.cursors.seal(position))
    }

    /// A random live key of a database, or `None` if none was found in a bounded search.
    pub fn random_key(&mut self, db: Db, cx: &Cx) -> Option<Box<[u8]>> {
        let (store, physical) = (self.store, self.store.physical(db));
        let env = self.env(physical);
        let stripes = store.stripes.len();
        let first = draw(cx.seed, 0) as usize % stripes;
        (0..stripes).find_map(|step| {
            self.with_stripe((first + step) % stripes, |stripe| {
                let table = stripe.table(physical).filter(|table| table.len() > 0)?;
                let found = table.random(cx, step as u64, env);
                found.map(|record| record.key().into())
            })
        })
    }

    /// Removes all keys of these databases in one step for everybody else; memory comes back in slices with the ticks.
    pub fn flush(&mut self, databases: &[Db]) {
        self.exclusively(|access| {
            let store = access.store;
            let mut detached = Vec::new();
            access.fold_stripes((), |(), stripe| {
                for db in databases {
                    detached.extend(stripe.detach(*db, store.physical(*db), store));
                }
            });
            store.memory.graveyard.bury(detached);
        });
    }

    /// Exchanges two databases in one step for everybody else.
    pub fn swap(&mut self, a: Db, b: Db) {
        if a == b {
            return;
        }
        self.exclusively(|access| {
            let store = access.store;
            let tables = [store.physical(a), store.physical(b)];
            access.fold_stripes((), |(), stripe| {
                stripe.touch_watched(&[a, b], &tables, store.placing());
                // Who waits for a load of one of them waits for the other from now on.
                if let Some(loads) = &mut stripe.loads {
                    loads.restart_waiters(&tables, store);
                }
            });
            store.swap_databases(a, b);
        });
    }

    /// Reclaims expired entries in `count` stripes from `first` on (wrapping), and a slice of what was flushed, and moves
    /// what lies in memory that [`tend_memory`](crate::tend_memory) wants back. Returns
    /// whether everything due in those stripes was reclaimed.
    pub fn tick(&mut self, first: usize, count: usize, cx: &Cx) -> bool {
        let store = self.store;
        let stripes = store.stripes.len();
        let mut done = !store.memory.free_buried();
        for index in (0..count.min(stripes)).map(|step| (first % stripes + step) % stripes) {
            if index == 0 {
                store.log.begin_sweep(stripes);
            }
            let (round, mut swept) = (arena::pass(), None);
            self.with_stripe(index, |stripe| {
                for physical in stripe.occupied() {
                    done &= stripe.with_table(physical, &store.memory, |table| {
                        if round != 0 {
                            table.move_out(round);
                        }
                        table.reap(REAP_ENTRIES, cx)
                    });
                }
                stripe.tend_loads(cx, store);
                if let Some((pass, target)) = store.log.pass()
                    && stripe.swept != pass
                {
                    if sweep(stripe, (pass, target), cx, store) {
                        swept = Some((target, stripe.loads.as_ref().and_then(|loads| loads.oldest_stamp())));
                    } else {
                        done = false;
                    }
                }
                stripe.settle(&store.memory);
            });
            if let Some((target, oldest)) = swept {
                store.log.stripe_swept(target, oldest, &store.memory);
            }
        }
        done
    }

    /// Makes all entries of a database that the selectors name absent or stale, in constant time: for every access that
    /// begins after this returns. Gives the epoch of the last one; refused, none is revoked. Not inside
    /// [`atomically`](Self::atomically).
    pub fn revoke(
        &mut self,
        db: Db,
        selectors: &[Selector<'_>],
        mode: Mode,
        overflow: Overflow,
    ) -> Result<u64, Refused> {
        assert!(!matches!(self.held, Held::Stripes { .. }), "the log is held");
        self.store.log.revoke(self.store.physical(db), selectors, (mode, overflow), &self.store.memory)
    }

    /// What operations on this table need.
    #[inline]
    pub(crate) fn env(&self, table: Physical) -> Env<'s> {
        Env { log_held: matches!(self.held, Held::Stripes { .. }), ..self.store.env(table) }
    }

    /// Stripes of the store, for dealing ticks out.
    pub fn stripes(&self) -> usize {
        self.store.stripes.len()
    }

    /// Runs `act` on every live entry of a database in hash order; for tests and `DEBUG`.
    pub fn for_each(&mut self, db: Db, cx: &Cx, mut act: impl FnMut(&[u8])) {
        let mut position = Some(Position::START);
        while let Some(from) = position {
            position = self.walk(db, from, 1024, cx, |key, _| act(key));
        }
    }
}

/// A step of the revoke sweeper in one stripe; whether all is swept there, which is then to be noted in the log.
pub(crate) fn sweep(stripe: &mut Stripe, (pass, target): (u64, u64), cx: &Cx, store: &Store) -> bool {
    let mut swept = true;
    for physical in stripe.occupied() {
        swept &= stripe.with_table(physical, &store.memory, |table| table.sweep(target, cx, store.env(physical)));
    }
    if swept {
        stripe.swept = pass;
    }
    swept
}
