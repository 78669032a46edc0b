//! The only way to an entry: a live one, or the place where one could be.
//!
//! Whoever holds a [`LiveRef`] knows that the deadline has not passed, and that no revoke has met the entry; a dead entry
//! looks [`Vacant`](Slot::Vacant).

use crate::Detached;
use crate::ext::{NewExt, OwnedExt, Tags};
use crate::hash::Place;
use crate::index::FREQ_MAX;
use crate::limits::{INLINE_VALUE_BYTES, MAX_KEY_BYTES, MAX_TAGS};
use crate::record::{NewRecord, Record};
use crate::table::{At, Death, Env, Table, is_past};
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
    dead: Option<(At, Death)>,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(crate) fn find(table: &'a mut Table, place: Place, key: &'a [u8], cx: &'a Cx, env: Env<'a>) -> Self {
        debug_assert!(key.len() <= MAX_KEY_BYTES);
        let mut dead = None;
        if let Some((at, deadline)) = table.find(place, key) {
            match table.look_at(at, deadline, cx, env) {
                None => return Self::Live(LiveRef { target: Target { table, place, key, cx, env }, at }),
                Some(death) => dead = Some((at, death)),
            }
        }
        Self::Vacant(VacantRef { target: Target { table, place, key, cx, env }, dead })
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

    /// Replaces value and deadline (which lies ahead; [`Slot::put`] takes any). Tags go with the old value.
    pub fn put(&mut self, value: NewValue<'_>, deadline: Option<Millis>) {
        let ext = self.record().ext();
        if ext.has_tags() {
            // The stamp stays: by it the new value is judged as the old one was.
            let ext = OwnedExt { tags: Tags::new(), ..ext.into() };
            self.rewrite(value, deadline, &ext);
        } else {
            self.put_in_place(value, deadline);
        }
    }

    /// Replaces value and deadline and keeps what else the entry carries.
    fn put_in_place(&mut self, value: NewValue<'_>, deadline: Option<Millis>) {
        self.target.table.changed = true;
        if let Err(value) = self.target.table.overwrite(self.at, value, deadline) {
            let ext = self.record().ext().into();
            self.rewrite(value, deadline, &ext);
        }
    }

    /// Puts a record of another shape in the place of this one.
    fn rewrite(&mut self, value: NewValue<'_>, deadline: Option<Millis>, ext: &OwnedExt) {
        let Target { place, key, env, .. } = self.target;
        let new = NewRecord::new(key, value, deadline, ext.as_new());
        self.target.table.changed = true;
        self.at = self.target.table.replace(self.at, place, new, env);
    }

    /// Its tags by hash, in ascending order.
    pub fn tags(&self) -> impl Iterator<Item = u64> {
        self.record().ext().tags()
    }

    /// Gives it exactly these tags, at most [`MAX_TAGS`]. A revoke of one of them kills it from now on, not one before. Does
    /// nothing if the entry was revoked since it was found.
    pub fn set_tags(&mut self, tags: &[u64]) {
        assert!(tags.len() <= MAX_TAGS, "the caller counts them");
        let mut tags: Tags = tags.into();
        tags.sort_unstable();
        tags.dedup();
        if self.tags().eq(tags.iter().copied()) {
            return;
        }
        let mut ext: OwnedExt = self.record().ext().into();
        if !tags.is_empty() {
            // Judged anew: a revoke that came since the entry was found must not be older than its new stamp.
            let Some(stamp) = self.target.table.stamp_now(self.at, self.target.env) else { return };
            ext.stamp = Some(stamp);
        }
        ext.tags = tags;
        let (value, deadline) = (self.value().into_owned(), self.deadline());
        self.rewrite(value.as_new(), deadline, &ext);
    }

    /// Changes the deadline alone, to one that lies ahead.
    pub fn set_deadline(&mut self, deadline: Option<Millis>) {
        if self.deadline() == deadline {
            return;
        }
        self.target.table.changed = true;
        if !self.target.table.overwrite_deadline(self.at, deadline) {
            let (value, ext) = (self.value().into_owned(), self.record().ext().into());
            self.rewrite(value.as_new(), deadline, &ext);
        }
    }

    /// Writes an integer, in place if the entry holds one; the deadline stays.
    pub fn put_int(&mut self, n: i64) {
        self.target.table.changed = true;
        if !self.target.table.overwrite_int(self.at, n) {
            let deadline = self.deadline();
            self.put_in_place(NewValue::Int(n), deadline);
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
            self.put_in_place(NewValue::Bytes(&bytes), deadline);
        } else {
            self.put_in_place(NewValue::Shared(Arc::new(bytes)), deadline);
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
        let (changed, ext) = (self.target.table.changed, OwnedExt { no_evict, ..self.record().ext().into() });
        self.rewrite(value.as_new(), deadline, &ext);
        // Nothing that an observer could see.
        self.target.table.changed = changed;
    }
}

impl<'a> VacantRef<'a> {
    /// Stores `value` with this deadline; `None` back if that has already passed (nothing is stored then).
    pub fn insert(self, value: NewValue<'_>, deadline: Option<Millis>) -> Option<LiveRef<'a>> {
        let Self { target, dead } = self;
        let Target { place, key, cx, env, .. } = target;
        if let Some((_, death)) = dead {
            target.table.count_death(death);
        }
        if is_past(deadline, cx) {
            if let Some((at, _)) = dead {
                target.table.remove(at, place);
            }
            return None;
        }
        target.table.changed = true;
        let stamp = target.table.stamp_for(place, key, env);
        let new = NewRecord::new(key, value, deadline, NewExt { stamp, ..NewExt::default() });
        let at = match dead {
            Some((at, _)) => {
                target.table.word_mut(at).set_freq(0);
                target.table.replace(at, place, new, env)
            }
            None => target.table.insert(place, new, env),
        };
        Some(LiveRef { target, at })
    }
}
