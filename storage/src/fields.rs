//! The form of a large hash: a table of its own, outside the entry. It splits, packs, walks and gives memory back as the
//! tables of keys do; its entries never expire and are never revoked, only the key they belong to is.

use crate::ext::NewExt;
use crate::hash::Hasher;
use crate::memory::good_size;
use crate::record::NewRecord;
use crate::revoke;
use crate::segment::Placing;
use crate::stripe::Physical;
use crate::table::{Env, Table};
use crate::time::Cx;
use crate::value::{NewValue, Value};

/// The lowest bits of the hash order that a walk does not tell apart, so that a cursor has room for the others.
const GRANULE_BITS: u32 = 2;

/// What lies outside an entry and has a structure of its own.
#[derive(Clone)]
pub(crate) enum Object {
    /// A hash.
    Hash(Fields),
}

/// See the module's text.
pub(crate) struct Fields {
    table: Table,
    /// That of the keys.
    hasher: Hasher,
}

impl Object {
    /// Bytes of memory, those of the allocation it lies in included.
    pub fn bytes(&self) -> u64 {
        let Self::Hash(fields) = self;
        // Two counts stand before it.
        good_size(size_of::<Self>() + 2 * size_of::<usize>()) as u64 + fields.table.bytes()
    }

    /// See [`Table::move_out`]; true once all of it has moved.
    pub fn move_out(&mut self, round: u32) -> bool {
        let Self::Hash(fields) = self;
        fields.table.move_out(round)
    }

    /// Recounts everything; panics with what does not hold.
    pub fn invariants(&self) {
        let Self::Hash(fields) = self;
        fields.table.invariants(fields.env());
    }

    /// What takes long to free.
    pub fn into_table(self) -> Table {
        let Self::Hash(fields) = self;
        fields.table
    }
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.hasher.clone());
        for segment in self.table.segments() {
            for (_, record) in segment.iter() {
                copy.put(record.key(), record.value().into_new());
            }
        }
        copy
    }
}

impl Fields {
    pub fn new(hasher: Hasher) -> Self {
        Self { table: Table::default(), hasher }
    }

    fn env(&self) -> Env<'_> {
        env(&self.hasher)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Value<'_>> {
        let (at, _) = self.table.find(self.env().placing.of(field), field)?;
        Some(self.table.record(at).value())
    }

    /// Sets the value of a field; whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.put(field, NewValue::Bytes(value))
    }

    fn put(&mut self, field: &[u8], value: NewValue<'_>) -> bool {
        let Self { table, hasher } = self;
        let env = env(hasher);
        let place = env.placing.of(field);
        let Some((at, _)) = table.find(place, field) else {
            table.insert(place, NewRecord::new(field, value, None, NewExt::default()), env);
            return true;
        };
        if let Err(value) = table.overwrite(at, value, None) {
            table.replace(at, place, NewRecord::new(field, value, None, NewExt::default()), env);
        }
        false
    }

    /// Takes a field out; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let place = self.env().placing.of(field);
        let found = self.table.find(place, field);
        if let Some((at, _)) = found {
            self.table.remove(at, place);
        }
        found.is_some()
    }

    /// All fields with their values, in hash order of segments.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Value<'_>)> {
        let records = self.table.segments().flat_map(|segment| segment.iter().map(|(_, record)| record));
        records.map(|record| (record.key(), record.value()))
    }

    /// Goes on with a walk from a place in hash order: about `wanted` fields. Gives where to go on, `None` at the end. A
    /// field present throughout is visited exactly once.
    pub fn walk(&self, from: u64, wanted: usize, cx: &Cx, mut each: impl FnMut(&[u8], Value<'_>)) -> Option<u64> {
        let (mut order, mut visited) = (Some(from), 0);
        while let Some(from) = order
            && visited < wanted
        {
            order = self.table.visit(from, wanted - visited, GRANULE_BITS, (cx, self.env()), |record, _| {
                visited += 1;
                each(record.key(), record.value());
            });
        }
        order
    }

    /// One of the fields at random, the `nth` of those drawn with the context's seed; `None` only of an empty hash.
    pub fn random(&self, cx: &Cx, nth: u64) -> Option<(&[u8], Value<'_>)> {
        self.table.random(cx, nth, self.env()).map(|record| (record.key(), record.value()))
    }
}

/// What operations on a table of fields need: nothing is revoked there.
fn env(hasher: &Hasher) -> Env<'_> {
    let placing = Placing { hasher, stripe_bits: 0 };
    Env { placing, log: revoke::quiet(), log_held: false, table: Physical(0), queueing: false }
}
