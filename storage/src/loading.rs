//! How commands load: leases, answers and waiting, each under the lock of the key's stripe.

use crate::access::Access;
use crate::ext::{OwnedExt, Tags, Windows};
use crate::hash::KeyHash;
use crate::limits::{INLINE_VALUE_BYTES, MAX_TAGS};
use crate::loads::{Denied, Failure, Load, State};
use crate::revoke::{Found, Soft, Softs};
use crate::side::{LoadKey, Loaded, Terms, Wake, Woken};
use crate::slot::{Slot, new_version};
use crate::store::Store;
use crate::stripe::{Db, Physical};
use crate::time::{Cx, Millis};
use crate::value::{NewValue, OwnedValue};
use crate::view::Phase;
use std::sync::Arc;

/// The loading of one key, beside its slot.
pub struct Loading<'a> {
    load: &'a mut Load,
    store: &'a Store,
    table: Physical,
    key: &'a [u8],
    cx: &'a Cx,
    log_held: bool,
}

/// How long a value counts, each from the moment it is stored, ms; `None` = without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// As fresh.
    pub fresh_ms: Option<u64>,
    /// As servable; not less.
    pub stale_ms: Option<u64>,
    /// As a copy for failed loads; not less.
    pub retain_ms: Option<u64>,
    /// From this share of the fresh time on a reader is asked to refresh, in 256ths; 0 = not before it is stale.
    pub refresh: u8,
}

impl Lifetimes {
    /// Those with which a value was stored; without limit where that is not known.
    fn of(deadline: Option<Millis>, windows: &Windows) -> Self {
        let ms = |end: Option<Millis>| Some(end?.0.saturating_sub(windows.stored_at?.0));
        Self {
            fresh_ms: ms(windows.fresh_until),
            stale_ms: ms(deadline),
            retain_ms: ms(windows.retain_until),
            refresh: windows.refresh,
        }
    }

    /// Deadline and windows of a value stored now.
    fn from(self, cx: &Cx, load_ms: u64) -> (Option<Millis>, Windows) {
        let end = |ms: Option<u64>| ms.map(|ms| Millis(cx.now.0.saturating_add(ms)));
        let windows = Windows {
            stored_at: Some(cx.now),
            fresh_until: end(self.fresh_ms),
            retain_until: end(self.retain_ms),
            refresh: self.refresh,
            load_ms: load_ms.min(u64::from(u16::MAX)) as u16,
            version: new_version(cx),
        };
        (end(self.stale_ms), windows)
    }
}

/// What a load came to.
#[derive(Debug)]
pub enum Fill<'a> {
    /// A value.
    Value {
        /// The value itself.
        value: NewValue<'a>,
        /// How long it counts.
        lifetimes: Lifetimes,
        /// Its tags by hash, at most [`MAX_TAGS`].
        tags: &'a [u64],
        /// By what the origin knows it again, empty for nothing.
        validator: &'a [u8],
    },
    /// There is none; known for so many ms.
    Absent {
        /// `None` = without limit.
        fresh_ms: Option<u64>,
    },
    /// The copy at hand is still right.
    Same {
        /// How long it counts from now on; `None` = as long as it did when it was stored.
        lifetimes: Option<Lifetimes>,
        /// A new validator, if not the old one.
        validator: Option<&'a [u8]>,
    },
    /// A value that must not be stored, nor any copy be kept; everybody loads for himself for so many ms.
    NoStore {
        /// See above.
        pass_ms: u64,
    },
    /// A value that must not be stored, nor any copy be kept: those who waited get it.
    Unstored {
        /// See above.
        value: NewValue<'a>,
    },
}

/// What became of a [`Fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It is stored.
    Stored,
    /// It is stored as stale: a soft revoke came during the load.
    Stale,
    /// It is not: a hard revoke or a deletion came during the load.
    Revoked,
    /// It is not: the key was written during the load.
    Superseded,
    /// The token names no lease of this key. Nothing changed.
    NoLease,
    /// It is not: there is no memory for it.
    NoRoom,
    /// There is no copy to be confirmed any more. The lease stays, unless somebody else loads by now: the value itself is to
    /// be loaded.
    Gone,
}

/// A granted lease.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// Names it.
    pub token: u64,
    /// How long it lasts, ms.
    pub lease_ms: u64,
}

impl Access<'_> {
    /// Runs `act` on what there is under `key` and on its loading, atomically for that key.
    pub fn loading<R>(
        &mut self,
        db: Db,
        kh: KeyHash,
        key: &[u8],
        cx: &Cx,
        act: impl FnOnce(Slot<'_>, &mut Loading<'_>) -> R,
    ) -> R {
        let store = self.store();
        let table = store.physical(db);
        let env = self.env(table);
        self.with_stripe(kh.stripe(store.stripe_bits), |stripe| {
            let mut load = stripe.loads.as_mut().map(|loads| loads.take(table, key)).unwrap_or_default();
            load.tend(cx);
            // While it is taken out, what `act` does to the key does not concern it.
            let result = stripe.one((db, table), kh, key, cx, env, store, |slot| {
                let mut loading = Loading { load: &mut load, store, table, key, cx, log_held: env.log_held };
                loading.notice_revoke();
                act(slot, &mut loading)
            });
            stripe.put_load(table, key, load, store);
            result
        })
    }

    /// Answers the lease of `token`; gives what became of it, and how long the load took, ms.
    pub fn fill(&mut self, db: Db, kh: KeyHash, key: &[u8], token: u64, fill: Fill<'_>, cx: &Cx) -> (Filled, u64) {
        // Whoever waits gets the value even where it cannot be kept.
        let has_room = match &fill {
            Fill::Value { value, .. } => self.make_room(Some(kh), value.len() as u64, cx),
            _ => true,
        };
        self.loading(db, kh, key, cx, |slot, loading| loading.fill(slot, token, fill, has_room))
    }

    /// Gives the lease of `token` up after a failure. Gives how many waiters were told or handed the load, or `None` if
    /// there is no such lease.
    pub fn fail(&mut self, db: Db, kh: KeyHash, key: &[u8], token: u64, failure: &Failure, cx: &Cx) -> Option<usize> {
        self.loading(db, kh, key, cx, |_, loading| {
            let before = loading.load.waiters();
            let lease = loading.load.take_lease(token)?;
            let (epoch, side) = (loading.store.log.epoch(), &loading.store.side);
            if lease.state != State::Live {
                // Its failure says nothing of what would be loaded now.
                loading.promote();
            } else if loading.load.failed(failure, cx) {
                loading.load.deliver(&lease, &Wake::Failed, side, |_| true);
            } else {
                loading.load.hand_over(epoch, (loading.table, key), cx, side);
            }
            Some(before - loading.load.waiters())
        })
    }

    /// Gives the lease of `token` back without an answer: the next waiter loads. Whether there was such a lease.
    pub fn release(&mut self, db: Db, kh: KeyHash, key: &[u8], token: u64, cx: &Cx) -> bool {
        self.loading(db, kh, key, cx, |_, loading| {
            let was_there = loading.load.take_lease(token).is_some();
            loading.promote();
            was_there
        })
    }

    /// Gives a lease back whose holder has gone; false if it is not there any more.
    pub fn decline(&mut self, token: u64, key: &LoadKey, cx: &Cx) -> bool {
        let kh = self.hash(&key.key);
        self.release(self.store().logical(key.table), kh, &key.key, token, cx)
    }

    /// Makes a lease last for so many ms from now on, as far as its terms allow; false if its result would not be stored.
    pub fn renew(&mut self, db: Db, kh: KeyHash, key: &[u8], token: u64, ms: u64, cx: &Cx) -> bool {
        self.loading(db, kh, key, cx, |_, loading| loading.load.lease(token).is_some_and(|lease| lease.renew(ms, cx)))
    }

    /// Takes a waiter out of its queue; false if it was woken already.
    pub fn leave(&mut self, db: Db, kh: KeyHash, key: &[u8], ticket: u64, cx: &Cx) -> bool {
        self.loading(db, kh, key, cx, |_, loading| loading.load.leave(ticket))
    }

    /// To be called by a waiter at the time it was given: lets the first one load if nobody does any more. Gives when to
    /// look again.
    pub fn look(&mut self, db: Db, kh: KeyHash, key: &[u8], cx: &Cx) -> u64 {
        self.loading(db, kh, key, cx, |_, loading| {
            loading.promote();
            loading.load.next_look_ms(cx)
        })
    }

    /// The key as it is now, whatever its database is exchanged with later.
    pub fn load_key(&self, db: Db, key: &[u8]) -> LoadKey {
        LoadKey { table: self.store().physical(db), key: key.into() }
    }
}

impl Loading<'_> {
    /// Why no load may begin now; `None` if one may.
    pub fn denied(&self) -> Option<Denied> {
        self.load.denied(self.cx)
    }

    /// Ms for which everybody loads for himself.
    pub fn pass_left_ms(&self) -> Option<u64> {
        self.load.pass_left_ms(self.cx)
    }

    /// Ms for which nobody loads after failures.
    pub fn backoff_left_ms(&self) -> Option<u64> {
        self.load.backoff_left_ms(self.cx)
    }

    /// Ms that the lease of this token still keeps others out; `None` if it does not.
    pub fn lease_left_ms(&self, token: u64) -> Option<u64> {
        let live = self.load.live(self.cx).filter(|lease| lease.token == token)?;
        Some(live.expires_ms - self.cx.steady_ms)
    }

    /// Whether the lease of this token has lapsed, and was neither answered nor taken over nor made void since.
    pub fn is_lapsed(&mut self, token: u64) -> bool {
        let now_ms = self.cx.steady_ms;
        self.load.lease(token).is_some_and(|lease| lease.state == State::Live && !lease.runs(now_ms))
    }

    /// Leases of this key, and those who wait.
    pub fn counts(&self) -> (usize, usize) {
        (self.load.leases(), self.load.waiters())
    }

    /// Makes the key stale, and what is being loaded for it: served for at most so many ms from now on, or without that
    /// for as long as it would have been stale anyway.
    pub fn soften(&mut self, slot: Slot<'_>, stale_for: Option<u64>) {
        let soft = Soft::new(self.store.log.epoch(), self.cx.now, stale_for);
        self.store.log.note_softened(self.cx.now);
        if let Some(lease) = self.load.live_mut() {
            lease.soft.push(soft);
        }
        match slot {
            Slot::Live(live) => {
                let mut softs = Softs::default();
                softs.push(soft);
                live.soften(&softs);
            }
            // A known absence is not fresh any more either.
            slot => {
                if slot.view().is_some_and(|view| view.phase == Phase::Absent) {
                    slot.remove();
                }
            }
        }
    }

    /// Begins a load. `tags`: those of the entry it refreshes.
    pub fn grant(&mut self, terms: &Terms, tags: impl Iterator<Item = u64>) -> Result<Granted, Denied> {
        let epoch = self.store.log.epoch();
        let token = self.load.grant(epoch, self.key, tags.collect(), terms, self.cx, &self.store.side)?;
        Ok(Granted { token, lease_ms: terms.lease_ms })
    }

    /// Waits for the load under way, or where none may begin for the next one: at most `most` do. Gives when to
    /// [look](Access::look), steady ms; `None` if there is no room.
    pub fn join(&mut self, ticket: u64, terms: &Terms, most: usize) -> Option<u64> {
        let epoch = self.store.log.epoch();
        self.load.join((ticket, self.key), epoch, terms, most, self.cx, &self.store.side)
    }

    /// A lease that a hard revoke of its key, or of the tags known of it, has met is doomed.
    fn notice_revoke(&mut self) {
        if self.store.log.is_quiet() {
            return;
        }
        let (log, table, key, held) = (&self.store.log, self.table, self.key, self.log_held);
        if let Some(lease) = self.load.live_mut()
            && log.judge_since(table, key, lease.tags.iter().copied(), lease.stamp, held).is_hard
        {
            lease.state = State::Doomed;
        }
    }

    fn promote(&mut self) {
        self.load.promote(self.store.log.epoch(), (self.table, self.key), self.cx, &self.store.side);
    }

    fn fill(&mut self, slot: Slot<'_>, token: u64, fill: Fill<'_>, has_room: bool) -> (Filled, u64) {
        let Some(mut lease) = self.load.take_lease(token) else { return (Filled::NoLease, 0) };
        let load_ms = self.cx.steady_ms.saturating_sub(lease.granted_ms);
        // Read before anything is matched: what comes meanwhile is not covered by a stamp of this epoch.
        let epoch = self.store.log.epoch();
        let tags: Tags = match &fill {
            Fill::Value { tags, .. } => sorted(tags),
            Fill::Same { .. } => slot.view().map(|view| view.tags().collect()).unwrap_or_default(),
            Fill::Absent { .. } | Fill::NoStore { .. } | Fill::Unstored { .. } => lease.tags.clone(),
        };
        let log = &self.store.log;
        let mut found = log.judge_since(self.table, self.key, tags.iter().copied(), lease.stamp, self.log_held);
        found.soft.add_all(&lease.soft);
        let state = match lease.state {
            State::Live if found.is_hard => State::Doomed,
            state => state,
        };
        if let Fill::Same { .. } = fill {
            let has_copy = slot.view().is_some_and(|view| view.phase != Phase::Absent);
            if state == State::Doomed || !has_copy && state == State::Live {
                // It begins anew from here, unless somebody else does so already.
                if self.load.live_mut().is_none() {
                    lease.begin_anew(epoch, self.load);
                    self.load.keep(lease);
                }
                return (Filled::Gone, load_ms);
            }
        }
        let (filled, wake) = match state {
            State::Superseded => (Filled::Superseded, None),
            State::Doomed => (Filled::Revoked, Some(self.unstored(fill, load_ms))),
            State::Live if !has_room => (Filled::NoRoom, Some(self.unstored(fill, load_ms))),
            State::Live => self.store(slot, fill, &tags, &found, epoch, load_ms),
        };
        if let Some(wake) = wake {
            let marks = log.hard_marks(self.table, self.key, tags.iter().copied(), self.log_held);
            let goes_to_all = matches!(wake, Wake::Pass(_));
            let serves = |join: u64| goes_to_all || !marks.within(lease.stamp, join);
            self.load.deliver(&lease, &wake, &self.store.side, |waiter| serves(waiter.join));
        }
        self.promote();
        (filled, load_ms)
    }

    /// What those who waited for it get of an answer that is not stored.
    fn unstored(&self, fill: Fill<'_>, load_ms: u64) -> Wake {
        match fill {
            Fill::Value { value, lifetimes, tags, validator } => {
                let (deadline, windows) = lifetimes.from(self.cx, load_ms);
                Wake::Loaded(Arc::new(Loaded {
                    value: OwnedValue::from(value),
                    deadline,
                    windows,
                    tags: tags.len(),
                    validator: validator.into(),
                    is_stored: false,
                }))
            }
            Fill::Absent { .. } => Wake::Absent(Some(self.cx.now)),
            Fill::Same { .. } => Wake::Failed,
            Fill::NoStore { pass_ms } => Wake::Pass(pass_ms),
            Fill::Unstored { value } => {
                let ended = Some(0);
                let lifetimes = Lifetimes { fresh_ms: ended, stale_ms: ended, retain_ms: ended, refresh: 0 };
                self.unstored(Fill::Value { value, lifetimes, tags: &[], validator: b"" }, load_ms)
            }
        }
    }

    /// Stores an answer and says what waiters get.
    fn store(
        &mut self,
        slot: Slot<'_>,
        fill: Fill<'_>,
        tags: &Tags,
        found: &Found,
        epoch: u64,
        load_ms: u64,
    ) -> (Filled, Option<Wake>) {
        let filled = if found.soft.is_empty() { Filled::Stored } else { Filled::Stale };
        let (value, lifetimes, validator) = match fill {
            Fill::NoStore { pass_ms } => {
                self.load.succeeded();
                slot.remove();
                self.load.open_pass(pass_ms, self.cx);
                return (Filled::Stored, Some(Wake::Pass(pass_ms)));
            }
            Fill::Unstored { .. } => {
                self.load.succeeded();
                slot.remove();
                return (Filled::Stored, Some(self.unstored(fill, load_ms)));
            }
            Fill::Absent { fresh_ms } => {
                self.load.succeeded();
                let until = if !found.soft.is_empty() {
                    slot.remove();
                    Some(self.cx.now)
                } else {
                    slot.put_absent(fresh_ms.map(|ms| Millis(self.cx.now.0.saturating_add(ms))), tags, epoch as u32)
                };
                return (filled, Some(Wake::Absent(until)));
            }
            Fill::Value { value, lifetimes, validator, .. } => (value, lifetimes, Box::from(validator)),
            Fill::Same { lifetimes, validator } => {
                let view = slot.view().expect("a copy was found");
                let lifetimes = lifetimes.unwrap_or_else(|| Lifetimes::of(view.deadline(), &view.windows()));
                let validator = validator.unwrap_or(view.validator()).into();
                let copy = view.value().into_owned();
                let stored = self.store_value(slot, copy.as_new(), lifetimes, tags, validator, found, epoch, load_ms);
                return (filled, Some(stored));
            }
        };
        let stored = self.store_value(slot, value, lifetimes, tags, validator, found, epoch, load_ms);
        (filled, Some(stored))
    }

    #[allow(clippy::too_many_arguments)]
    fn store_value(
        &mut self,
        slot: Slot<'_>,
        value: NewValue<'_>,
        lifetimes: Lifetimes,
        tags: &Tags,
        validator: Box<[u8]>,
        found: &Found,
        epoch: u64,
        load_ms: u64,
    ) -> Wake {
        self.load.succeeded();
        let (deadline, windows) = lifetimes.from(self.cx, load_ms);
        let (deadline, windows) = found.soft.apply(deadline, windows);
        let ext = OwnedExt {
            stamp: Some(epoch as u32),
            windows: Some(windows),
            tags: tags.clone(),
            validator,
            ..OwnedExt::default()
        };
        // Copied only where somebody waits for it, and then once for all.
        let value = match value {
            NewValue::Bytes(bytes) if bytes.len() > INLINE_VALUE_BYTES && self.load.waiters() > 0 => {
                NewValue::Shared(Arc::new(bytes.to_vec()))
            }
            value => value,
        };
        let loaded = (self.load.waiters() > 0).then(|| Loaded {
            value: OwnedValue::from(value.clone()),
            deadline,
            windows,
            tags: tags.len(),
            validator: ext.validator.clone(),
            is_stored: true,
        });
        slot.put_whole(value, deadline, ext);
        match loaded {
            Some(loaded) => Wake::Loaded(Arc::new(loaded)),
            None => Wake::Failed,
        }
    }
}

fn sorted(tags: &[u64]) -> Tags {
    assert!(tags.len() <= MAX_TAGS, "the caller counts them");
    let mut tags = Tags::from_slice(tags);
    tags.sort_unstable();
    tags.dedup();
    tags
}

impl Slot<'_> {
    /// Stores a value with windows, tags and a validator, whatever was there. Stamped with the present epoch.
    pub fn put_fresh(self, value: NewValue<'_>, lifetimes: Lifetimes, tags: &[u64], validator: &[u8]) {
        let target = match &self {
            Slot::Live(live) => &live.target,
            Slot::Vacant(vacant) => &vacant.target,
        };
        let (deadline, windows) = lifetimes.from(target.cx, 0);
        let stamp = Some(target.env.log.epoch() as u32);
        let tags = sorted(tags);
        let ext = OwnedExt { stamp, windows: Some(windows), tags, validator: validator.into(), ..OwnedExt::default() };
        self.put_whole(value, deadline, ext);
    }
}

/// For the shell: who is to be woken after a batch.
impl Store {
    /// Takes those who are to be woken since the last call. Cheap where there are none.
    #[inline]
    pub fn take_woken(&self) -> Vec<Woken> {
        self.side.take_woken()
    }

    /// Has somebody woken who waits for something else than a load.
    pub fn wake(&self, woken: Woken) {
        self.side.wake([woken]);
    }

    /// Bytes that leases and waiters take.
    pub fn side_bytes(&self) -> usize {
        self.side.bytes()
    }

    /// Bytes that leases and waiters may take.
    pub fn set_side_limit(&self, bytes: usize) {
        self.side.set_limit(bytes);
    }
}
