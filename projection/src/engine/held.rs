//! Changes that wait for the end of a rebuild.
//!
//! While all is read anew readers see what there was. An old record of a key that was deleted since would bring it back until
//! its tombstone comes: it waits here, for that or for the end. A *shadow* rebuild lets everything wait.

use super::batch::{About, Batch, Drawn, Mutation, Op};
use std::collections::HashMap;
use storage::{Millis, Provenance};

/// Whether a change waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// It is applied.
    #[default]
    No,
    /// It waits if its key has no entry.
    IfAbsent,
    /// It waits.
    Always,
    /// It has waited: what was there before the rebuild counts no more.
    Over,
}

/// The last change of each key that waits.
#[derive(Debug, Default)]
pub struct Held {
    by_key: HashMap<Box<[u8]>, Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    value: Value,
    deadline: Option<Millis>,
    version: Option<u64>,
    from: Provenance,
}

#[derive(Debug)]
enum Value {
    Text(Box<[u8]>),
    /// Lengths of fields and values in turn, and all of them in one.
    Fields(Box<[u32]>, Box<[u8]>),
}

impl Waiting {
    /// Whether it stays although that change comes: it has a higher version, or was made of another record than is meant.
    fn stays(&self, op: &Op<'_>) -> bool {
        let place = |from: &Provenance| (from.source, from.partition, from.offset);
        let is_higher =
            |version: u64| self.version.is_some_and(|own| self.from.rank(own) > op.about.from.rank(version));
        op.about.version.is_some_and(is_higher) || op.about.only.is_some_and(|only| place(&only) != place(&self.from))
    }
}

impl Value {
    fn new(mutation: Mutation<'_>) -> Option<Self> {
        match mutation {
            Mutation::Gone => None,
            Mutation::Text(text) => Some(Self::Text(text.into())),
            Mutation::Fields(fields) => {
                let parts: Vec<&[u8]> = fields.iter().flat_map(|(field, value)| [field, value]).collect();
                Some(Self::Fields(parts.iter().map(|part| part.len() as u32).collect(), parts.concat().into()))
            }
        }
    }

    /// This with the fields of a later one over it.
    fn merged(self, later: Self) -> Self {
        let (Self::Fields(..), Self::Fields(..)) = (&self, &later) else { return later };
        let mut parts: Vec<&[u8]> = Vec::new();
        let known = later.pairs();
        let kept = self.pairs().into_iter().filter(|(field, _)| known.iter().all(|(told, _)| told != field));
        kept.chain(known.iter().copied()).for_each(|(field, value)| parts.extend([field, value]));
        Self::Fields(parts.iter().map(|part| part.len() as u32).collect(), parts.concat().into())
    }

    /// Fields with their values; none of what has none.
    fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let Self::Fields(lengths, bytes) = self else { return Vec::new() };
        let mut rest = &**bytes;
        let mut part = |len: &u32| {
            let (part, after) = rest.split_at(*len as usize);
            rest = after;
            part
        };
        lengths.chunks_exact(2).map(|pair| (part(&pair[0]), part(&pair[1]))).collect()
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Fields(lengths, bytes) => size_of_val(&**lengths) + bytes.len(),
        }
    }

    fn write(&self, to: &mut Batch) -> Drawn {
        let never = "writing what was read once cannot fail";
        match self {
            Self::Text(text) => Drawn::Text(
                to.write(|to| {
                    to.extend_from_slice(text);
                    Ok(())
                })
                .expect(never),
            ),
            Self::Fields(..) => to
                .write_fields(|each| {
                    self.pairs().into_iter().for_each(|(field, value)| each(field, value));
                    Ok(())
                })
                .expect(never),
        }
    }
}

impl Held {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Changes that wait.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Bytes of them, with what keeping them takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A change waits, in place of an earlier one of its key. Where there are versions, the highest one does.
    pub fn keep(&mut self, op: &Op<'_>) {
        if self.by_key.get(op.key).is_some_and(|known| known.stays(op)) {
            return;
        }
        let before = self.by_key.remove(op.key).map(|known| {
            self.bytes -= cost(op.key, &known.value);
            known.value
        });
        if let Some(value) = Value::new(op.mutation) {
            let value = match before.filter(|_| op.about.is_merge) {
                Some(before) => before.merged(value),
                None => value,
            };
            self.bytes += cost(op.key, &value);
            let waiting =
                Waiting { value, deadline: op.about.deadline, version: op.about.version, from: op.about.from };
            self.by_key.insert(op.key.into(), waiting);
        }
    }

    /// What waits for the key of a change is out of date, unless the change has nothing to say of that: whether it has.
    pub fn gives_way(&mut self, op: &Op<'_>) -> bool {
        if self.by_key.is_empty() {
            return true;
        }
        if self.by_key.get(op.key).is_some_and(|known| known.stays(op)) {
            return op.about.only.is_some();
        }
        if let Some(known) = self.by_key.remove(op.key) {
            self.bytes -= cost(op.key, &known.value);
        }
        true
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All that waits, to be applied, in batches of about so many bytes; with what keeping each of them took.
    pub fn into_batches(self, most_bytes: usize) -> impl Iterator<Item = (Batch, usize)> {
        let mut left = self.by_key.into_iter().peekable();
        core::iter::from_fn(move || {
            left.peek()?;
            let (mut batch, mut kept_bytes) = (Batch::default(), 0);
            while batch.bytes() < most_bytes
                && let Some((key, waiting)) = left.next()
            {
                kept_bytes += cost(&key, &waiting.value);
                let written = batch.write(|to| {
                    to.extend_from_slice(&key);
                    Ok(())
                });
                let Waiting { value, deadline, version, from } = waiting;
                let drawn = value.write(&mut batch);
                let about = About { deadline, version, hold: Hold::Over, is_merge: false, only: None, from };
                batch.end(written.expect("writing a key cannot fail"), drawn, about);
            }
            Some((batch, kept_bytes))
        })
    }
}

fn cost(key: &[u8], value: &Value) -> usize {
    key.len() + value.bytes() + size_of::<(Box<[u8]>, Waiting)>()
}
