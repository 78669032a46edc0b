//! Loads under way in one stripe: who may load a key, who waits for it, and what failed before.
//!
//! A *lease* is the right to load a key, named by a token. It is *live* until a hard revoke or a deletion *dooms* it, or a
//! write *supersedes* it: what it loads is not stored then, and a successor may be granted at once. Doomed and superseded
//! leases keep running until they answer or expire, and a key has two running ones at most, so that a storm of revokes
//! cannot become a stampede. A live lease past its time is *lapsed*: it keeps nobody out, but is accepted until somebody
//! takes over.
//!
//! None of this is a key: it is neither persisted nor replicated, and ends by itself. Times are of the steady clock, ms.

use crate::ext::Tags;
use crate::limits::{LOAD_BYTES, MAX_RUNNING_LOADS, WAITER_BYTES};
use crate::revoke::Softs;
use crate::side::{Bulkhead, LoadKey, Permit, Side, Terms, Wake, Woken};
use crate::store::Store;
use crate::stripe::Physical;
use crate::time::Cx;
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The right to load a key.
#[derive(Debug)]
pub(crate) struct Lease {
    pub token: u64,
    /// The epoch at which it was granted: what it loads is no older than that.
    pub stamp: u64,
    pub granted_ms: u64,
    pub expires_ms: u64,
    /// It is neither accepted nor renewed beyond.
    pub ends_ms: u64,
    pub state: State,
    /// How often the key had been written or deleted when it was granted.
    changes: u64,
    /// What a soft revoke of the key alone makes of the result.
    pub soft: Softs,
    /// Tags of the entry it refreshes, for finding out early that it is doomed.
    pub tags: Tags,
    permit: Option<Permit>,
    bulkhead: Arc<Bulkhead>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    Doomed,
    Superseded,
}

impl Lease {
    /// What it loads from here on is as good as if it was granted now.
    pub fn begin_anew(&mut self, epoch: u64, load: &Load) {
        (self.state, self.stamp, self.soft, self.changes) = (State::Live, epoch, Softs::default(), load.changes);
    }

    /// Makes it last for so many ms from now on, as far as its terms allow. False if that is of no use, or there is no room
    /// for it any more.
    pub fn renew(&mut self, ms: u64, cx: &Cx) -> bool {
        if self.state != State::Live {
            return false;
        }
        if self.permit.is_none() {
            self.permit = self.bulkhead.enter();
        }
        if self.permit.is_some() {
            self.expires_ms = cx.steady_ms.saturating_add(ms).min(self.ends_ms);
        }
        self.permit.is_some()
    }

    pub fn runs(&self, now_ms: u64) -> bool {
        now_ms < self.expires_ms
    }
}

/// Somebody who waits for a load.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub ticket: u64,
    core: usize,
    /// The epoch at which it came.
    pub join: u64,
    /// How often the key had been written or deleted by then.
    changes: u64,
    terms: Terms,
}

/// Failures of the last loads of a key.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    failures: u32,
    delay_ms: u64,
    until_ms: u64,
}

/// All about loading one key.
#[derive(Debug, Default)]
pub(crate) struct Load {
    leases: SmallVec<[Lease; 2]>,
    waiters: VecDeque<Waiter>,
    backoff: Option<Backoff>,
    /// Until then it is known that its value must not be stored; 0 = not.
    pass_until_ms: u64,
    /// Times the key was written or deleted while there was anything about its loading.
    changes: u64,
    /// Bytes booked for it.
    booked: usize,
}

/// What a failed load leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFail {
    /// The next waiter loads.
    Promote,
    /// All waiters are told.
    Error,
    /// The first time in a row as `Promote`, then as `Error`.
    Auto,
}

/// How a failure counts.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// First delay before another load, ms; doubled by each failure in a row up to the maximum.
    pub backoff_ms: u64,
    /// See above.
    pub backoff_max_ms: u64,
    /// This delay instead, ms.
    pub exactly_ms: Option<u64>,
    /// What happens to those who wait.
    pub on_fail: OnFail,
}

/// Why nobody may begin a load now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Somebody loads; there is a lease to wait for.
    Loading,
    /// As many loads as may be run for this key, or for its service, or there is no memory for more.
    Full,
    /// The last ones failed: not for so many ms.
    Backoff(u64),
}

/// What of a key's name the map is keyed by: the number of its table, then the key.
type Name = SmallVec<[u8; 48]>;

fn name(table: Physical, key: &[u8]) -> Name {
    let mut name = Name::with_capacity(1 + key.len());
    name.push(table.0);
    name.extend_from_slice(key);
    name
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Loads {
    by_key: HashMap<Name, Load>,
    /// When it was last tended, steady ms.
    tended_ms: u64,
}

/// Least time between two rounds over all loads of a stripe, ms.
const TEND_MS: u64 = 100;

impl Loads {
    /// Takes out what there is about a key, to be [put back](Self::put).
    pub fn take(&mut self, table: Physical, key: &[u8]) -> Load {
        self.by_key.remove(&name(table, key)).unwrap_or_default()
    }

    /// Puts back what was taken, unless it says nothing any more.
    pub fn put(&mut self, table: Physical, key: &[u8], mut load: Load, store: &Store) {
        load.rebook(key.len(), store);
        if !load.is_idle() {
            self.by_key.insert(name(table, key), load);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The oldest stamp of a load: its result, or its waiters, are judged by it.
    pub fn oldest_stamp(&self) -> Option<u64> {
        let leases = self.by_key.values().flat_map(|load| &load.leases);
        leases.map(|lease| lease.stamp).min()
    }

    /// A whole table was emptied: nothing loaded for it before is wanted.
    pub fn doom_all(&mut self, table: Physical, store: &Store) {
        for (name, load) in &mut self.by_key {
            if name[0] == table.0 {
                load.doom();
            }
        }
        self.drop_idle(store);
    }

    /// Has all who wait for loads of these tables begin anew.
    pub fn restart_waiters(&mut self, tables: &[Physical], store: &Store) {
        for (name, load) in &mut self.by_key {
            if tables.iter().any(|table| table.0 == name[0]) {
                load.deliver_written(&Wake::Look, &store.side);
                load.rebook(name.len() - 1, store);
            }
        }
        self.drop_idle(store);
    }

    /// Ends what has come to its end, and lets waiters load whose lease has expired.
    pub fn tend(&mut self, epoch: u64, cx: &Cx, store: &Store) {
        // A tick may come by many times in a row.
        if cx.steady_ms < self.tended_ms + TEND_MS {
            return;
        }
        self.tended_ms = cx.steady_ms;
        let is_tight = store.side.is_tight();
        for (name, load) in &mut self.by_key {
            load.tend(cx);
            if is_tight {
                // Their results would still be taken, but room for others is worth more.
                load.leases.retain(|lease| lease.runs(cx.steady_ms));
            }
            load.promote(epoch, (Physical(name[0]), &name[1..]), cx, &store.side);
            load.rebook(name.len() - 1, store);
        }
        self.drop_idle(store);
    }

    fn drop_idle(&mut self, store: &Store) {
        self.by_key.retain(|_, load| {
            let idle = load.is_idle();
            if idle {
                store.side.book(-(load.booked as i64), &store.memory);
            }
            !idle
        });
        if self.by_key.capacity() > 64 && self.by_key.len() < self.by_key.capacity() / 8 {
            self.by_key.shrink_to_fit();
        }
    }

    /// Checks what must hold between operations; panics with what does not. Gives the bytes booked.
    pub fn invariants(&self) -> usize {
        for (name, load) in &self.by_key {
            let live = load.leases.iter().filter(|lease| lease.state == State::Live).count();
            assert!(live <= 1, "one live lease a key");
            assert!(!load.is_idle(), "what says nothing is dropped");
            assert_eq!(load.booked, load.bytes() + name.len() - 1, "bytes booked");
        }
        self.by_key.values().map(|load| load.booked).sum()
    }
}

impl Load {
    pub fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.waiters.is_empty() && self.backoff.is_none() && self.pass_until_ms == 0
    }

    /// Gives back what is booked for it: it is not put back.
    pub fn unbook(self, store: &Store) {
        store.side.book(-(self.booked as i64), &store.memory);
    }

    /// Books what it takes now.
    fn rebook(&mut self, key_len: usize, store: &Store) {
        let bytes = if self.is_idle() { 0 } else { self.bytes() + key_len };
        store.side.book(bytes as i64 - self.booked as i64, &store.memory);
        self.booked = bytes;
    }

    fn bytes(&self) -> usize {
        let tags: usize = self.leases.iter().map(|lease| lease.tags.len() * size_of::<u64>()).sum();
        LOAD_BYTES + tags + self.waiters.len() * WAITER_BYTES
    }

    /// Forgets what time has ended.
    pub fn tend(&mut self, cx: &Cx) {
        let now_ms = cx.steady_ms;
        for lease in &mut self.leases {
            if !lease.runs(now_ms) {
                lease.permit = None;
            }
        }
        // Of those that have expired only a live one may still be accepted.
        self.leases.retain(|lease| lease.runs(now_ms) || lease.state == State::Live && now_ms < lease.ends_ms);
        // As long again as the delay was: then failures in a row are forgotten.
        if self.backoff.is_some_and(|backoff| now_ms >= backoff.until_ms.saturating_add(backoff.delay_ms)) {
            self.backoff = None;
        }
        if now_ms >= self.pass_until_ms {
            self.pass_until_ms = 0;
        }
    }

    /// The live lease that keeps others out.
    pub fn live(&self, cx: &Cx) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.state == State::Live && lease.runs(cx.steady_ms))
    }

    /// The live lease, lapsed or not.
    pub fn live_mut(&mut self) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.state == State::Live)
    }

    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    pub fn pass_left_ms(&self, cx: &Cx) -> Option<u64> {
        self.pass_until_ms.checked_sub(cx.steady_ms).filter(|left| *left > 0)
    }

    pub fn backoff_left_ms(&self, cx: &Cx) -> Option<u64> {
        self.backoff?.until_ms.checked_sub(cx.steady_ms).filter(|left| *left > 0)
    }

    /// The key was deleted: what is being loaded is older than that.
    pub fn doom(&mut self) {
        self.changes += 1;
        self.leases.iter_mut().filter(|lease| lease.state == State::Live).for_each(|l| l.state = State::Doomed);
        self.backoff = None;
        self.pass_until_ms = 0;
    }

    /// The key was written: what is being loaded must not replace that.
    pub fn supersede(&mut self) {
        self.changes += 1;
        self.leases.iter_mut().filter(|lease| lease.state == State::Live).for_each(|l| l.state = State::Superseded);
        self.backoff = None;
        self.pass_until_ms = 0;
    }

    /// Why no lease may be granted; the ones that have expired count no more.
    pub fn denied(&self, cx: &Cx) -> Option<Denied> {
        if self.live(cx).is_some() {
            return Some(Denied::Loading);
        }
        if let Some(left_ms) = self.backoff_left_ms(cx) {
            return Some(Denied::Backoff(left_ms));
        }
        let running = self.leases.iter().filter(|lease| lease.runs(cx.steady_ms)).count();
        (running >= MAX_RUNNING_LOADS).then_some(Denied::Full)
    }

    /// Grants a lease; a lapsed one is thereby taken over.
    pub fn grant(
        &mut self,
        epoch: u64,
        key: &[u8],
        tags: Tags,
        terms: &Terms,
        cx: &Cx,
        side: &Side,
    ) -> Result<u64, Denied> {
        if let Some(denied) = self.denied(cx) {
            return Err(denied);
        }
        if self.is_idle() && !side.has_room(LOAD_BYTES + key.len()) {
            return Err(Denied::Full);
        }
        let permit = terms.permit().ok_or(Denied::Full)?;
        // A lapsed one is taken over: its token names nothing from now on.
        self.leases.retain(|lease| lease.state != State::Live);
        let token = side.token(key, cx);
        self.leases.push(Lease {
            token,
            stamp: epoch,
            granted_ms: cx.steady_ms,
            expires_ms: cx.steady_ms.saturating_add(terms.lease_ms),
            ends_ms: cx.steady_ms.saturating_add(terms.lease_max_ms.max(terms.lease_ms)),
            state: State::Live,
            soft: Softs::default(),
            changes: self.changes,
            tags,
            permit: Some(permit),
            bulkhead: Arc::clone(&terms.bulkhead),
        });
        Ok(token)
    }

    /// Queues a waiter for the live lease, or where there is none (a service may be at its limit) for the next one. Gives
    /// when it should [look](Self::promote) by itself, or `None` if there is no room for it.
    pub fn join(
        &mut self,
        (ticket, key): (u64, &[u8]),
        epoch: u64,
        terms: &Terms,
        most: usize,
        cx: &Cx,
        side: &Side,
    ) -> Option<u64> {
        let own = if self.is_idle() { LOAD_BYTES + key.len() } else { 0 };
        if self.waiters.len() >= most || !side.has_room(own + WAITER_BYTES) {
            return None;
        }
        let expires_ms = self.live(cx).map_or(0, |lease| lease.expires_ms);
        let changes = self.changes;
        let waiter = Waiter { ticket, core: terms.core, join: epoch, changes, terms: terms.clone() };
        self.waiters.push_back(waiter);
        Some(self.look_at_ms(expires_ms, cx))
    }

    fn look_at_ms(&self, expires_ms: u64, cx: &Cx) -> u64 {
        let soonest = self.leases.iter().map(|lease| lease.expires_ms).filter(|ms| *ms > cx.steady_ms).min();
        if expires_ms > cx.steady_ms { expires_ms } else { soonest.unwrap_or(cx.steady_ms + LOOK_AGAIN_MS) }
    }

    /// Takes a waiter out; false if it is not there: it was woken.
    pub fn leave(&mut self, ticket: u64) -> bool {
        let at = self.waiters.iter().position(|waiter| waiter.ticket == ticket);
        at.is_some_and(|at| self.waiters.remove(at).is_some())
    }

    /// When somebody who waits should look again.
    pub fn next_look_ms(&self, cx: &Cx) -> u64 {
        self.look_at_ms(self.live(cx).map_or(0, |lease| lease.expires_ms), cx)
    }

    /// Lets the first waiter load, if somebody waits and nobody loads.
    pub fn promote(&mut self, epoch: u64, (table, key): (Physical, &[u8]), cx: &Cx, side: &Side) {
        if self.waiters.is_empty() || self.denied(cx).is_some() {
            return;
        }
        let Some(first) = self.waiters.iter().position(|waiter| waiter.terms.may_load) else {
            // Its load is another's to make: it sees to that.
            if let Some(waiter) = self.waiters.pop_front() {
                side.wake([Woken { core: waiter.core, ticket: waiter.ticket, wake: Wake::Look }]);
            }
            return;
        };
        let Some(waiter) = self.waiters.remove(first) else { return };
        match self.grant(epoch, key, Tags::new(), &waiter.terms, cx, side) {
            Ok(token) => {
                let key = LoadKey { table, key: key.into() };
                let wake = Wake::Token { token, lease_ms: waiter.terms.lease_ms, key };
                side.wake([Woken { core: waiter.core, ticket: waiter.ticket, wake }]);
            }
            Err(_) => self.waiters.insert(first, waiter),
        }
    }

    /// The lease of this token, alive or not.
    pub fn lease(&mut self, token: u64) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.token == token)
    }

    /// Takes the lease of a token out: it is answered or given up.
    pub fn take_lease(&mut self, token: u64) -> Option<Lease> {
        let at = self.leases.iter().position(|lease| lease.token == token)?;
        Some(self.leases.remove(at))
    }

    /// Puts a lease back that was taken out.
    pub fn keep(&mut self, lease: Lease) {
        self.leases.push(lease);
    }

    /// Wakes those waiters with `wake` of whom `serves` says that the answer of `lease` may be given to them. What was begun
    /// before a deletion or a write serves those who waited already then, and nobody who came later.
    pub fn deliver(&mut self, lease: &Lease, wake: &Wake, side: &Side, serves: impl Fn(&Waiter) -> bool) {
        let counts = |waiter: &Waiter| lease.changes >= waiter.changes;
        let (served, left) =
            core::mem::take(&mut self.waiters).into_iter().partition(|waiter| counts(waiter) && serves(waiter));
        self.waiters = left;
        let served: VecDeque<Waiter> = served;
        side.wake(served.into_iter().map(|waiter| Woken {
            core: waiter.core,
            ticket: waiter.ticket,
            wake: wake.clone(),
        }));
    }

    /// Wakes everybody: the key was written.
    pub fn deliver_written(&mut self, wake: &Wake, side: &Side) {
        side.wake(self.waiters.drain(..).map(|waiter| Woken {
            core: waiter.core,
            ticket: waiter.ticket,
            wake: wake.clone(),
        }));
        self.waiters = VecDeque::new();
    }

    /// Enters a failed load in the books; whether waiters are told, else the next one loads.
    pub fn failed(&mut self, failure: &Failure, cx: &Cx) -> bool {
        let failures = self.backoff.map_or(0, |backoff| backoff.failures).saturating_add(1);
        let tell = match failure.on_fail {
            OnFail::Promote => false,
            OnFail::Error => true,
            OnFail::Auto => failures > 1,
        };
        let doubled = failure.backoff_ms.saturating_mul(1 << (failures - 1).min(20));
        let delay_ms = failure.exactly_ms.unwrap_or(doubled).min(failure.backoff_max_ms);
        self.backoff = Some(Backoff { failures, delay_ms, until_ms: cx.steady_ms.saturating_add(delay_ms) });
        tell
    }

    /// Lets the first waiter load in spite of the backoff: a failure was its predecessor's.
    pub fn hand_over(&mut self, epoch: u64, key: (Physical, &[u8]), cx: &Cx, side: &Side) {
        let backoff = self.backoff.take();
        self.promote(epoch, key, cx, side);
        self.backoff = backoff;
    }

    /// Loading went well, or the key was written.
    pub fn succeeded(&mut self) {
        self.backoff = None;
    }

    pub fn open_pass(&mut self, pass_ms: u64, cx: &Cx) {
        self.pass_until_ms = cx.steady_ms.saturating_add(pass_ms);
    }
}

/// A waiter without any lease to wait for looks again after this, ms.
const LOOK_AGAIN_MS: u64 = 100;
