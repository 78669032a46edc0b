//! The only way to an entry: a live one, or the place where one could be.
//!
//! Whoever holds a [`LiveRef`] knows that the deadline has not passed; a dead entry looks [`Vacant`](Slot::Vacant).

use crate::Detached;
use crate::hash::Place;
use crate::index::FREQ_MAX;
use crate::limits::{INLINE_VALUE_BYTES, MAX_KEY_BYTES};
use crate::record::{NewRecord, Record};
use crate::table::{At, Env, Table, is_past};
use crate::time::{Cx, Millis};
use crate::value::{Kind, NewValue, Value};
use std::sync::Arc;

/// What there is under a key.
pub enum Slot<'a> {
    /// An entry every command may see.
    Live(LiveRef<'a>),
    /// Nothing, or only a dead entry.
    Vacant(VacantRef<'a>),
}

/// The key a slot is about, with all that changing it needs.
struct Target<'a> {
    table: &'a mut Table,
    place: Place,
    key: &'a [u8],
    cx: &'a Cx,
    env: Env<'a>,
}

/// A live entry.
pub struct LiveRef<'a> {
    target: Target<'a>,
    at: At,
}

/// The place of a key that has no live entry.
pub struct VacantRef<'a> {
    target: Target<'a>,
    dead: Option<At>,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(crate) fn find(table: &'a mut Table, place: Place, key: &'a [u8], cx: &'a Cx, env: Env<'a>) -> Self {
        debug_assert!(key.len() <= MAX_KEY_BYTES);
        let found = table.find(place, key);
        let target = Target { table, place, key, cx, env };
        match found {
            Some((at, deadline)) if !is_past(deadline, cx) => Self::Live(LiveRef { target, at }),
            dead => Self::Vacant(VacantRef { target, dead: dead.map(|(at, _)| at) }),
        }
    }

    /// The live entry, if there is one.
    pub fn live(self) -> Option<LiveRef<'a>> {
        match self {
            Self::Live(live) => Some(live),
            Self::Vacant(_) => None,
        }
    }

    /// Whether there is a live entry.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Stores `value` under the key, whatever was there, with exactly this deadline. A deadline already passed leaves
    /// nothing there.
    pub fn put(self, value: NewValue<'_>, deadline: Option<Millis>) {
        match self {
            Self::Live(live) if is_past(deadline, live.target.cx) => live.remove(),
            Self::Live(mut live) => live.put(value, deadline),
            Self::Vacant(vacant) => {
                vacant.insert(value, deadline);
            }
        }
    }

    /// Stores what was taken elsewhere, with the deadline it has.
    pub fn put_detached(self, detached: &Detached) {
        self.put(detached.value.as_new(), detached.deadline);
    }
}

impl LiveRef<'_> {
    fn record(&self) -> Record<'_> {
        self.target.table.record(self.at)
    }

    /// The type of the key.
    pub fn kind(&self) -> Kind {
        Kind::String
    }

    /// The value, as it is kept.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        self.record().value()
    }

    /// When it expires; `None` = never. Always later than now.
    pub fn deadline(&self) -> Option<Millis> {
        self.record().deadline()
    }

    /// Bytes the entry takes, its share of the index not counted.
    pub fn memory(&self) -> u64 {
        self.target.table.entry_bytes(self.at)
    }

    /// Counts a use for the eviction policy; writes nothing once the count is at its end.
    #[inline]
    pub fn touch(&mut self) {
        let freq = self.uses();
        if freq < FREQ_MAX {
            self.target.table.word_mut(self.at).set_freq(freq + 1);
        }
    }

    /// Uses since the eviction hand passed, 0 to 3.
    #[inline]
    pub fn uses(&self) -> u8 {
        self.target.table.word(self.at).freq()
    }

    /// Replaces value and deadline (which lies ahead; [`Slot::put`] takes any).
    pub fn put(&mut self, value: NewValue<'_>, deadline: Option<Millis>) {
        self.target.table.changed = true;
        if let Err(value) = self.target.table.overwrite(self.at, value, deadline) {
            self.rewrite(value, deadline, self.record().is_no_evict());
        }
    }

    /// Puts a record of another shape in the place of this one.
    fn rewrite(&mut self, value: NewValue<'_>, deadline: Option<Millis>, no_evict: bool) {
        let Target { place, key, env, .. } = self.target;
        let new = NewRecord::new(key, value, deadline, no_evict);
        self.at = self.target.table.replace(self.at, place, new, env);
    }

    /// Changes the deadline alone, to one that lies ahead.
    pub fn set_deadline(&mut self, deadline: Option<Millis>) {
        if self.deadline() == deadline {
            return;
        }
        self.target.table.changed = true;
        if !self.target.table.overwrite_deadline(self.at, deadline) {
            let value = self.value().into_owned();
            self.rewrite(value.as_new(), deadline, self.record().is_no_evict());
        }
    }

    /// Writes an integer, in place if the entry holds one; the deadline stays.
    pub fn put_int(&mut self, n: i64) {
        self.target.table.changed = true;
        if !self.target.table.overwrite_int(self.at, n) {
            let deadline = self.deadline();
            self.put(NewValue::Int(n), deadline);
        }
    }

    /// Edits the string's bytes; the deadline stays. Long values are edited in place, so that appending to them costs
    /// what is appended.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        self.target.table.changed = true;
        let deadline = self.deadline();
        // `value` would take a reference, and make the edit one of a copy.
        if self.record().is_shared() {
            self.target.table.edit_shared(self.at, edit);
            return;
        }
        let mut bytes = match self.value() {
            Value::Raw(bytes) => bytes.to_vec(),
            Value::Int(n) => n.to_string().into_bytes(),
            Value::Shared(_) => unreachable!("shared values are edited in place"),
        };
        edit(&mut bytes);
        if bytes.len() <= INLINE_VALUE_BYTES {
            self.put(NewValue::Bytes(&bytes), deadline);
        } else {
            self.put(NewValue::Shared(Arc::new(bytes)), deadline);
        }
    }

    /// Removes the entry.
    pub fn remove(self) {
        let Target { table, place, .. } = self.target;
        table.changed = true;
        table.remove(self.at, place);
    }

    /// A copy of value and deadline, to store elsewhere.
    pub fn detached(&self) -> Detached {
        Detached { value: self.value().into_owned(), deadline: self.deadline() }
    }

    /// Keeps the entry from eviction from now on, or lets it go again.
    pub fn set_no_evict(&mut self, no_evict: bool) {
        if self.record().is_no_evict() == no_evict {
            return;
        }
        let (value, deadline) = (self.value().into_owned(), self.deadline());
        self.rewrite(value.as_new(), deadline, no_evict);
    }
}

impl<'a> VacantRef<'a> {
    /// Stores `value` with this deadline; `None` back if that has already passed (nothing is stored then).
    pub fn insert(self, value: NewValue<'_>, deadline: Option<Millis>) -> Option<LiveRef<'a>> {
        let Self { target, dead } = self;
        let Target { place, key, cx, env, .. } = target;
        if dead.is_some() {
            target.table.expired += 1;
        }
        if is_past(deadline, cx) {
            if let Some(at) = dead {
                target.table.remove(at, place);
            }
            return None;
        }
        target.table.changed = true;
        let new = NewRecord::new(key, value, deadline, false);
        let at = match dead {
            Some(at) => {
                target.table.word_mut(at).set_freq(0);
                target.table.replace(at, place, new, env)
            }
            None => target.table.insert(place, new, env),
        };
        Some(LiveRef { target, at })
    }
}
