//! What all stripes share about loads: the memory they may take, tokens, and who is to be woken.

use crate::hash::Hasher;
use crate::limits::SIDE_BYTES;
use crate::store::Memory;
use crate::stripe::Physical;
use crate::sync::{AtomicBool, AtomicI64, AtomicUsize, Mutex, Ordering};
use crate::time::{Cx, Millis};
use crate::value::{OwnedValue, Value};
use crate::{Windows, value};
use std::sync::Arc;

/// Loads that may run at a time, of one service.
#[derive(Debug)]
pub struct Bulkhead {
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Bulkhead {
    /// Room for `most` loads; 0 = for any number.
    pub fn new(most: usize) -> Self {
        Self { running: AtomicUsize::new(0), most: AtomicUsize::new(most) }
    }

    /// Changes that; loads under way go on.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Loads running now.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let most = self.most.load(Ordering::Relaxed);
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(self));
        (most == 0 || before < most).then_some(permit)
    }
}

/// A running load's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Bulkhead>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a lease is granted under, and to whom.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long it keeps others out, ms.
    pub lease_ms: u64,
    /// How long its result is accepted, and how long it can be renewed for, ms from when it was granted.
    pub lease_max_ms: u64,
    /// Whether whoever asks would load; else it is only answered.
    pub may_load: bool,
    /// The core that serves whoever asks.
    pub core: usize,
    /// The service's places for loads.
    pub bulkhead: Arc<Bulkhead>,
}

impl Terms {
    pub(crate) fn permit(&self) -> Option<Permit> {
        self.bulkhead.enter()
    }
}

/// A value as it was loaded or written while somebody waited for it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub(crate) value: OwnedValue,
    /// Until when it is served; `None` = for ever.
    pub deadline: Option<Millis>,
    /// Its windows.
    pub windows: Windows,
    /// How many tags it has.
    pub tags: usize,
    /// Its validator, empty without one.
    pub validator: Box<[u8]>,
    /// Whether it is in the store. Else it must not be served to others.
    pub is_stored: bool,
}

impl Loaded {
    /// The value.
    pub fn value(&self) -> Value<'_> {
        match self.value.as_new() {
            value::NewValue::Bytes(bytes) => Value::Raw(bytes),
            value::NewValue::Int(n) => Value::Int(n),
            value::NewValue::Shared(bytes) => Value::Shared(bytes),
            value::NewValue::Hash(hash) => Value::Hash(hash),
        }
    }
}

/// The key a lease is for.
#[derive(Clone, Debug)]
pub struct LoadKey {
    pub(crate) table: Physical,
    pub(crate) key: Box<[u8]>,
}

impl LoadKey {
    /// Bytes of it.
    pub fn bytes(&self) -> usize {
        self.key.len()
    }
}

/// What a waiter is told.
#[derive(Clone, Debug)]
pub enum Wake {
    /// The value came.
    Loaded(Arc<Loaded>),
    /// It is known not to exist, until then.
    Absent(Option<Millis>),
    /// It must not be stored: everybody loads for himself, for so many ms.
    Pass(u64),
    /// Loading failed.
    Failed,
    /// Nobody loads any more, and the waiter would not: it is to begin anew.
    Look,
    /// A number that whoever wakes and the waiter understand.
    Code(u32),
    /// The waiter is to load now.
    Token {
        /// The new lease's.
        token: u64,
        /// How long it lasts, ms.
        lease_ms: u64,
        /// The key, by the number of its table. To be [declined](crate::Access::decline) if the waiter has gone.
        key: LoadKey,
    },
}

/// A waiter to be woken.
#[derive(Debug)]
pub struct Woken {
    /// The core that serves it.
    pub core: usize,
    /// Its number, as it was given when it joined.
    pub ticket: u64,
    /// What it is told.
    pub wake: Wake,
}

/// See the module's text.
pub(crate) struct Side {
    bytes: AtomicI64,
    limit: AtomicUsize,
    woken: Mutex<Vec<Woken>>,
    has_woken: AtomicBool,
    /// Makes tokens that nobody guesses from others.
    tokens: Hasher,
}

impl Side {
    pub fn new(secret: [u64; 4]) -> Self {
        Self {
            bytes: AtomicI64::new(0),
            limit: AtomicUsize::new(SIDE_BYTES),
            woken: Mutex::new(Vec::new()),
            has_woken: AtomicBool::new(false),
            tokens: Hasher::keyed(secret),
        }
    }

    /// Books bytes of loads and waiters.
    pub fn book(&self, delta: i64, memory: &Memory) {
        if delta != 0 {
            self.bytes.fetch_add(delta, Ordering::Relaxed);
            memory.charge_outside(delta);
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed).max(0) as usize
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Whether more than half of the room is taken.
    pub fn is_tight(&self) -> bool {
        self.bytes() > self.limit.load(Ordering::Relaxed) / 2
    }

    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= self.limit.load(Ordering::Relaxed)
    }

    /// A token not 0, for a load of this key.
    pub fn token(&self, key: &[u8], cx: &Cx) -> u64 {
        let mut told = cx.seed.to_le_bytes().to_vec();
        told.extend_from_slice(&cx.steady_ms.to_le_bytes());
        told.extend_from_slice(key);
        self.tokens.hash(&told).0.max(1)
    }

    pub fn wake(&self, woken: impl IntoIterator<Item = Woken>) {
        let mut queue = self.woken.lock();
        queue.extend(woken);
        if !queue.is_empty() {
            self.has_woken.store(true, Ordering::Release);
        }
    }

    /// Takes all that are to be woken.
    pub fn take_woken(&self) -> Vec<Woken> {
        if !self.has_woken.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut queue = self.woken.lock();
        self.has_woken.store(false, Ordering::Relaxed);
        core::mem::take(&mut *queue)
    }
}
