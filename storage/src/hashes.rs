//! Hashes as commands see them: read through a [`HashRef`], edited in one step through a [`HashEdit`].
//!
//! A hash begins packed inside its entry and becomes a table of its own when that is full; it never goes back. A hash
//! without fields is no hash: the last one to go takes the key along.

use crate::fields::{Fields, Object};
use crate::hash::Hasher;
use crate::packed::{Pairs, PairsBuf};
use crate::scan::Position;
use crate::slot::{LiveRef, Slot};
use crate::store::Store;
use crate::time::{Cx, draw_below};
use crate::value::{HashForm, HashValue, Kind, NewValue, Value, WrongType};
use std::sync::Arc;

/// A hash to read.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Packed(Pairs<'a>),
    Large(&'a Fields),
}

impl<'a> HashRef<'a> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Packed(pairs) => pairs.len(),
            Form::Large(fields) => fields.len(),
        }
    }

    /// Never so of one that is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field, which is a string.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Value<'a>> {
        match self.0 {
            Form::Packed(pairs) => pairs.get(field).map(Value::Raw),
            Form::Large(fields) => fields.get(field),
        }
    }

    /// Calls `each` with all fields and their values: in the order they came while the hash is small, in none later.
    pub fn for_each(&self, mut each: impl FnMut(&'a [u8], Value<'a>)) {
        match self.0 {
            Form::Packed(pairs) => pairs.iter().for_each(|(field, value)| each(field, Value::Raw(value))),
            Form::Large(fields) => fields.iter().for_each(|(field, value)| each(field, value)),
        }
    }

    /// Whether all fields and values have at most so many bytes, and there are at most so many.
    pub fn is_within(&self, entries: usize, bytes: usize) -> bool {
        if self.len() > entries {
            return false;
        }
        let mut within = true;
        self.for_each(|field, value| within &= field.len() <= bytes && value.len() <= bytes);
        within
    }

    /// Goes on with a walk: calls `each` with about `wanted` fields, all at once while the hash is small. Gives where to
    /// go on, `None` at the end. A field present throughout is visited exactly once, also when the hash grows meanwhile.
    pub fn walk(
        &self,
        from: Position,
        wanted: usize,
        cx: &Cx,
        mut each: impl FnMut(&[u8], Value<'_>),
    ) -> Option<Position> {
        match self.0 {
            Form::Packed(pairs) => {
                pairs.iter().for_each(|(field, value)| each(field, Value::Raw(value)));
                None
            }
            Form::Large(fields) => {
                let next = fields.walk(from.split(0).1, wanted, cx, each);
                next.map(|order| Position::new(0, order, 0))
            }
        }
    }

    /// One of the fields at random: the `nth` of those drawn with the context's seed.
    pub fn random(&self, cx: &Cx, nth: u64) -> Option<(&'a [u8], Value<'a>)> {
        match self.0 {
            Form::Packed(pairs) => {
                let at = draw_below(cx.seed, nth, pairs.len().max(1) as u64);
                pairs.iter().nth(at as usize).map(|(field, value)| (field, Value::Raw(value)))
            }
            Form::Large(fields) => fields.random(cx, nth),
        }
    }
}

/// A hash being edited: nothing of it is seen by others until the edit is over.
pub struct HashEdit<'e> {
    form: EditForm<'e>,
    hasher: &'e Hasher,
    changed: bool,
}

enum EditForm<'e> {
    Packed(PairsBuf),
    /// It has just become too large to be packed.
    Grown(Box<Fields>),
    Large(&'e mut Fields),
}

impl<'e> HashEdit<'e> {
    fn new(form: EditForm<'e>, hasher: &'e Hasher) -> Self {
        Self { form, hasher, changed: false }
    }

    /// As it is now.
    pub fn as_ref(&self) -> HashRef<'_> {
        HashRef(match &self.form {
            EditForm::Packed(packed) => Form::Packed(packed.pairs()),
            EditForm::Grown(fields) => Form::Large(fields),
            EditForm::Large(fields) => Form::Large(fields),
        })
    }

    /// Sets the value of a field; whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.changed = true;
        match &mut self.form {
            EditForm::Packed(packed) => {
                if let Ok(is_new) = packed.set(field, value) {
                    return is_new;
                }
                let mut fields = Box::new(Fields::new(self.hasher.clone()));
                packed.pairs().iter().for_each(|(field, value)| {
                    fields.set(field, value);
                });
                let is_new = fields.set(field, value);
                self.form = EditForm::Grown(fields);
                is_new
            }
            EditForm::Grown(fields) => fields.set(field, value),
            EditForm::Large(fields) => fields.set(field, value),
        }
    }

    /// Takes a field out; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let found = match &mut self.form {
            EditForm::Packed(packed) => packed.remove(field),
            EditForm::Grown(fields) => fields.remove(field),
            EditForm::Large(fields) => fields.remove(field),
        };
        self.changed |= found;
        found
    }

    fn into_new(self) -> NewHash {
        NewHash(match self.form {
            EditForm::Packed(packed) => NewForm::Packed(packed),
            EditForm::Grown(fields) => NewForm::Object(Arc::new(Object::Hash(*fields))),
            EditForm::Large(_) => unreachable!("it is where it was"),
        })
    }
}

/// A hash that is not stored yet.
pub struct NewHash(NewForm);

enum NewForm {
    Packed(PairsBuf),
    Object(Arc<Object>),
}

impl NewHash {
    /// The same, to be stored.
    pub fn as_new(&self) -> NewValue<'_> {
        NewValue::Hash(HashValue(match &self.0 {
            NewForm::Packed(packed) => HashForm::Packed(packed.pairs()),
            NewForm::Object(object) => HashForm::Object(Arc::clone(object)),
        }))
    }
}

impl Store {
    /// A hash of these pairs, of which there is at least one; where a field comes again, its last value counts.
    pub fn new_hash<'p>(&self, pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>) -> NewHash {
        let mut edit = HashEdit::new(EditForm::Packed(PairsBuf::default()), self.hasher());
        for (field, value) in pairs {
            edit.set(field, value);
        }
        assert!(!edit.as_ref().is_empty(), "a hash has a field");
        edit.into_new()
    }
}

impl LiveRef<'_> {
    /// The value, which must be a string.
    #[inline]
    pub fn string(&self) -> Result<Value<'_>, WrongType> {
        if self.kind() == Kind::String { Ok(self.value()) } else { Err(WrongType) }
    }

    /// The value, which must be a hash.
    #[inline]
    pub fn hash(&self) -> Result<HashRef<'_>, WrongType> {
        let record = self.record();
        match (record.pairs(), record.object()) {
            (Some(pairs), _) => Ok(HashRef(Form::Packed(pairs))),
            (None, Some(Object::Hash(fields))) => Ok(HashRef(Form::Large(fields))),
            (None, None) => Err(WrongType),
        }
    }
}

impl Slot<'_> {
    /// Edits the hash under the key, or a new one, in one step; all else that the entry carries stays.
    pub fn edit_hash<R>(self, act: impl FnOnce(&mut HashEdit<'_>) -> R) -> Result<R, WrongType> {
        let mut live = match self {
            Self::Live(live) => live,
            Self::Vacant(vacant) => {
                let mut edit = HashEdit::new(EditForm::Packed(PairsBuf::default()), vacant.hasher());
                let result = act(&mut edit);
                if !edit.as_ref().is_empty() {
                    vacant.insert(edit.into_new().as_new(), None);
                }
                return Ok(result);
            }
        };
        let hasher = live.hasher();
        let Some(packed) = live.hash()?.packed() else {
            let (result, changed, is_empty) = live.edit_object(|Object::Hash(fields)| {
                let mut edit = HashEdit::new(EditForm::Large(fields), hasher);
                (act(&mut edit), edit.changed, edit.as_ref().is_empty())
            });
            if is_empty {
                live.remove();
            } else if changed {
                live.edited();
            }
            return Ok(result);
        };
        let mut edit = HashEdit::new(EditForm::Packed(packed), hasher);
        let result = act(&mut edit);
        if edit.as_ref().is_empty() {
            live.remove();
        } else if edit.changed {
            live.put_edited(edit.into_new().as_new());
        }
        Ok(result)
    }
}

impl HashRef<'_> {
    fn packed(&self) -> Option<PairsBuf> {
        match self.0 {
            Form::Packed(pairs) => Some(PairsBuf::of(pairs)),
            Form::Large(_) => None,
        }
    }
}
