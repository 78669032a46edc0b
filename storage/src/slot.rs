//! The only way to an entry: a live one, or the place where one could be.
//!
//! Whoever holds a [`LiveRef`] knows that the deadline has not passed, and that no revoke has met the entry; a dead entry
//! looks [`Vacant`](Slot::Vacant). What is kept past its deadline, and what is known to be absent, shows in a
//! [`View`](crate::View) alone.

use crate::Detached;
use crate::ext::{NewExt, OwnedExt, Tags, Windows};
use crate::fields::Object;
use crate::hash::{Hasher, Place};
use crate::index::FREQ_MAX;
use crate::limits::{INLINE_VALUE_BYTES, MAX_KEY_BYTES, MAX_TAGS};
use crate::record::{NewRecord, Record};
use crate::revoke::Softs;
use crate::table::{At, Death, Done, Env, Table, is_past};
use crate::time::{Cx, Millis, draw};
use crate::value::{Kind, NewValue, Value};
use std::sync::Arc;

/// What there is under a key.
pub enum Slot<'a> {
    /// An entry every command may see.
    Live(LiveRef<'a>),
    /// Nothing, or only a dead entry.
    Vacant(VacantRef<'a>),
}

/// The deadline of a record that says there is no value.
pub(crate) const LONG_AGO: Millis = Millis(0);

/// The key a slot is about, with all that changing it needs.
pub(crate) struct Target<'a> {
    pub table: &'a mut Table,
    pub place: Place,
    pub key: &'a [u8],
    pub cx: &'a Cx,
    pub env: Env<'a>,
}

/// A live entry.
pub struct LiveRef<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) at: At,
}

/// The place of a key that has no live entry.
pub struct VacantRef<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) dead: Option<(At, Death)>,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(crate) fn find(table: &'a mut Table, place: Place, key: &'a [u8], cx: &'a Cx, env: Env<'a>) -> Self {
        debug_assert!(key.len() <= MAX_KEY_BYTES);
        let mut dead = None;
        if let Some((mut at, deadline)) = table.find(place, key) {
            match table.look_at(&mut at, deadline, place, cx, env) {
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

    /// Leaves nothing under the key, not even what is kept for failed loads; whether there was a live entry. To be used
    /// also where that is not the case: a value being loaded is not wanted any more either.
    pub fn delete(self) -> bool {
        match self {
            Self::Live(live) => {
                live.remove();
                true
            }
            Self::Vacant(VacantRef { target, dead }) => {
                target.table.done = Done::Removed;
                if let Some((at, death)) = dead {
                    target.table.count_death(death);
                    target.table.remove(at, target.place);
                }
                false
            }
        }
    }

    /// Stores `value` under the key, whatever was there, with exactly this deadline. A deadline already passed leaves
    /// nothing there.
    pub fn put(self, value: NewValue<'_>, deadline: Option<Millis>) {
        match self {
            Self::Live(live) if is_past(deadline, live.target.cx) => live.remove(),
            Self::Live(mut live) => live.put(value, deadline),
            Self::Vacant(vacant) if is_past(deadline, vacant.target.cx) => {
                Self::Vacant(vacant).delete();
            }
            Self::Vacant(vacant) => {
                vacant.insert(value, deadline);
            }
        }
    }

    /// Leaves nothing under the key, as if it had come to its end.
    pub(crate) fn remove(self) {
        let done = match &self {
            Self::Live(live) => live.target.table.done,
            Self::Vacant(vacant) => vacant.target.table.done,
        };
        let (target, found) = match self {
            Self::Live(LiveRef { target, at }) => {
                target.table.changed = true;
                (target, Some(at))
            }
            Self::Vacant(VacantRef { target, dead }) => (target, dead.map(|(at, _)| at)),
        };
        if let Some(at) = found {
            target.table.remove(at, target.place);
        }
        target.table.done = done;
    }

    /// Stores a value with all that its record carries beside it, whatever was there; nothing that is past its end.
    pub(crate) fn put_whole(self, value: NewValue<'_>, deadline: Option<Millis>, mut ext: OwnedExt) {
        let retain_until = ext.windows.map_or(deadline, |windows| windows.retain_until);
        let cx = match &self {
            Self::Live(live) => live.target.cx,
            Self::Vacant(vacant) => vacant.target.cx,
        };
        if is_past(deadline, cx) && is_past(retain_until, cx) {
            // Nothing of it is to be kept: the key is deleted.
            self.delete();
            return;
        }
        match self {
            Self::Live(mut live) => {
                ext.no_evict = live.record().is_no_evict();
                live.rewrite(value, deadline, &ext);
                live.target.table.done = Done::Wrote;
            }
            Self::Vacant(VacantRef { target, dead }) => {
                let Target { table, place, key, env, .. } = target;
                table.changed |= !is_past(deadline, cx);
                table.done = Done::Wrote;
                let new = NewRecord::new(key, value, deadline, ext.as_new());
                match dead {
                    Some((at, death)) => {
                        table.count_death(death);
                        table.word_mut(at).set_freq(0);
                        table.replace(at, place, new, env);
                    }
                    None => {
                        table.insert(place, new, env);
                    }
                }
            }
        }
    }

    /// Notes that there is no value, until then, as known at the epoch of the stamp. Gives that end back.
    pub(crate) fn put_absent(self, until: Option<Millis>, tags: &Tags, stamp: u32) -> Option<Millis> {
        let windows = Windows { fresh_until: until, retain_until: until, ..Windows::default() };
        let ext = OwnedExt {
            stamp: Some(stamp),
            windows: Some(windows),
            tags: tags.clone(),
            is_absent: true,
            ..OwnedExt::default()
        };
        let mut this = self;
        if let Self::Live(live) = &mut this {
            live.target.table.changed = true;
        }
        this.put_whole(NewValue::Bytes(b""), Some(LONG_AGO), ext);
        until
    }

    /// Stores what was taken elsewhere, with the deadline it has.
    pub fn put_detached(self, detached: &Detached) {
        self.put(detached.value.as_new(), detached.deadline);
    }
}

impl<'a> LiveRef<'a> {
    pub(crate) fn record(&self) -> Record<'_> {
        self.target.table.record(self.at)
    }

    /// The type of the key.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.record().kind()
    }

    /// The value, as it is kept. Commands that need one type ask for that: [`string`](Self::string), [`hash`](Self::hash).
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

    /// Replaces value and deadline (which lies ahead; [`Slot::put`] takes any). Windows, tags and validator go with the old
    /// value.
    pub fn put(&mut self, value: NewValue<'_>, deadline: Option<Millis>) {
        self.target.table.done = Done::Wrote;
        let ext = self.record().ext();
        if ext.is_of_value() {
            // The stamp stays: by it the new value is judged as the old one was.
            let ext = OwnedExt::from(ext).without_value();
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

    /// Gives the edited value another version, if it has one.
    pub(crate) fn edited(&mut self) {
        self.target.table.changed = true;
        self.target.table.done = Done::Wrote;
        if let Some(windows) = self.record().ext().windows() {
            let version = new_version(self.target.cx);
            self.target.table.rewindow(self.at, &Windows { version, ..windows });
        }
    }

    /// Puts a record of another shape in the place of this one.
    fn rewrite(&mut self, value: NewValue<'_>, deadline: Option<Millis>, ext: &OwnedExt) {
        let Target { place, key, env, .. } = self.target;
        let new = NewRecord::new(key, value, deadline, ext.as_new());
        self.target.table.changed = true;
        self.at = self.target.table.replace(self.at, place, new, env);
    }

    /// Its windows; those of an entry stored without any are its deadline.
    pub fn windows(&self) -> Windows {
        windows_of(self.record())
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
        let Some(stamp) = self.judged_again() else { return };
        let mut ext: OwnedExt = self.record().ext().into();
        if !tags.is_empty() {
            ext.stamp = Some(stamp);
        }
        ext.tags = tags;
        let (value, deadline) = (self.value().into_owned(), self.deadline());
        self.rewrite(value.as_new(), deadline, &ext);
    }

    /// Makes it stale, as a soft revoke does.
    pub(crate) fn soften(mut self, softs: &Softs) {
        if let Some(stamp) = self.judged_again() {
            let Target { table, place, env, .. } = self.target;
            table.changed = true;
            table.soften(self.at, place, softs, stamp, env);
        }
    }

    /// Judges it by what was revoked since it was found: its new stamp must not hide that. `None` if it is dead by now.
    fn judged_again(&mut self) -> Option<u32> {
        let Target { place, cx, env, .. } = self.target;
        // Read before: what comes meanwhile is not covered.
        let stamp = env.log.epoch();
        let deadline = self.deadline();
        let death = self.target.table.look_at(&mut self.at, deadline, place, cx, env);
        death.is_none().then_some(stamp as u32)
    }

    /// Changes the deadline alone, to one that lies ahead.
    pub fn set_deadline(&mut self, deadline: Option<Millis>) {
        if self.deadline() == deadline {
            return;
        }
        self.target.table.changed = true;
        if let Some(windows) = self.record().ext().windows() {
            let (value, mut ext) = (self.value().into_owned(), OwnedExt::from(self.record().ext()));
            ext.windows = Some(windows.with_deadline(self.deadline(), deadline));
            self.rewrite(value.as_new(), deadline, &ext);
        } else if !self.target.table.overwrite_deadline(self.at, deadline) {
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
        self.edited();
    }

    /// Replaces the value by what it was edited to; all that the entry carries stays.
    pub fn put_edited(&mut self, value: NewValue<'_>) {
        let deadline = self.deadline();
        self.put_in_place(value, deadline);
        self.edited();
    }

    /// Edits the object, which is seen by nobody until this returns; nothing else is changed.
    pub(crate) fn edit_object<R>(&mut self, edit: impl FnOnce(&mut Object) -> R) -> R {
        self.target.table.edit_object(self.at, edit)
    }

    /// How keys are hashed.
    pub(crate) fn hasher(&self) -> &'a Hasher {
        self.target.env.placing.hasher
    }

    /// Edits the string's bytes; the deadline stays. Long values are edited in place, so that appending to them costs
    /// what is appended.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        self.target.table.changed = true;
        let deadline = self.deadline();
        // `value` would take a reference, and make the edit one of a copy.
        if self.record().is_shared() {
            self.target.table.edit_shared(self.at, edit);
            self.edited();
            return;
        }
        let mut bytes = match self.value() {
            Value::Raw(bytes) => bytes.to_vec(),
            Value::Int(n) => n.to_string().into_bytes(),
            Value::Shared(_) => unreachable!("shared values are edited in place"),
            Value::Hash(_) => unreachable!("only strings are edited so"),
        };
        edit(&mut bytes);
        if bytes.len() <= INLINE_VALUE_BYTES {
            self.put_in_place(NewValue::Bytes(&bytes), deadline);
        } else {
            self.put_in_place(NewValue::Shared(Arc::new(bytes)), deadline);
        }
        self.edited();
    }

    /// Removes the entry.
    pub fn remove(self) {
        let Target { table, place, .. } = self.target;
        table.changed = true;
        table.done = Done::Removed;
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
        let changed = self.target.table.changed;
        let ext = OwnedExt { no_evict, ..self.record().ext().into() };
        self.rewrite(value.as_new(), deadline, &ext);
        // Nothing that an observer could see.
        self.target.table.changed = changed;
    }
}

impl<'a> VacantRef<'a> {
    /// How keys are hashed.
    pub(crate) fn hasher(&self) -> &'a Hasher {
        self.target.env.placing.hasher
    }

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
        target.table.done = Done::Wrote;
        let stamp = target.table.stamp_for(place, key, env);
        let new = NewRecord::new(key, value, deadline, NewExt::stamped(stamp));
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

/// The windows of a record; those of one stored without any are its deadline.
pub(crate) fn windows_of(record: Record<'_>) -> Windows {
    let deadline = record.deadline();
    let plain = Windows { fresh_until: deadline, retain_until: deadline, ..Windows::default() };
    record.ext().windows().unwrap_or(plain)
}

/// A version unlike the one before, with all but certainty; never 0.
pub(crate) fn new_version(cx: &Cx) -> u32 {
    (draw(cx.seed, 3) as u32).max(1)
}
