//! Changes come to the store: each in one step, or they wait for the end of a rebuild.

use crate::engine::{Fields, Held, Hold, Mutation, Op};
use storage::{Access, Applied, Change, Cx, Db, KeyHash, NewValue, Projected, Store, Value};

/// Where changes go.
pub struct Target<'t> {
    /// The store.
    pub store: &'t Store,
    /// The projection's database.
    pub db: Db,
    /// How a text is stored.
    pub encode: fn(&[u8]) -> NewValue<'_>,
    /// The moment.
    pub cx: Cx,
    /// Entries are measured before and after.
    pub measures: bool,
}

/// What came of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Changes that met an entry from elsewhere: another partition, or a client.
    pub conflicts: u64,
    /// Bytes of entries that came, less those that went, if they were to be measured.
    pub grown_bytes: i64,
}

/// Applies a change, or keeps it; `kh` is the hash of its key.
pub fn apply(access: &mut Access<'_>, to: &Target<'_>, held: &mut Held, (kh, op): (KeyHash, &Op<'_>)) -> Effect {
    let measure = |access: &mut Access<'_>| match to.measures {
        true => access.projected_bytes(to.db, kh, op.key, &to.cx) as i64,
        false => 0,
    };
    let before = measure(access);
    let conflicts = u64::from(change(access, to, held, (kh, op)));
    Effect { conflicts, grown_bytes: measure(access) - before }
}

/// The same; whether it met an entry from elsewhere.
fn change(access: &mut Access<'_>, to: &Target<'_>, held: &mut Held, (kh, op): (KeyHash, &Op<'_>)) -> bool {
    if op.about.hold == Hold::Always {
        held.keep(op);
        return false;
    }
    if !held.gives_way(op) {
        return true;
    }
    let deadline = op.about.deadline;
    let project = |access: &mut Access<'_>, change: Change<'_>| {
        let (is_held, is_last) = (op.about.hold == Hold::IfAbsent, op.about.hold == Hold::Over);
        let record =
            Projected { change, from: op.about.from, version: op.about.version, only: op.about.only, is_held, is_last };
        access.project(to.db, kh, op.key, record, &to.cx)
    };
    let applied = match op.mutation {
        Mutation::Gone => project(access, Change::Delete),
        Mutation::Text(text) => project(access, Change::Put { value: (to.encode)(text), deadline }),
        Mutation::Fields(fields) => {
            let kept = if op.about.is_merge { kept_fields(access, to, op, fields) } else { Vec::new() };
            // The field that stands for none is not needed then.
            let is_needed = |(field, _): &(&[u8], &[u8])| kept.is_empty() || !field.is_empty();
            let before = kept.iter().map(|(field, value)| (&field[..], &value[..]));
            let hash = to.store.new_hash(before.chain(fields.iter().filter(is_needed)));
            project(access, Change::Put { value: hash.as_new(), deadline })
        }
    };
    match applied {
        Applied::Held => held.keep(op),
        Applied::Written { other } => return other,
        Applied::Lower => return true,
        _ => {}
    }
    false
}

/// A field and its value.
type Pair = (Box<[u8]>, Box<[u8]>);

/// The fields of a record's entry that it says nothing of. Nobody else writes them between this and the change: a projection
/// has one thread. What was made before the rebuild that is under way is not kept: it comes again.
fn kept_fields(access: &mut Access<'_>, to: &Target<'_>, op: &Op<'_>, fields: Fields<'_>) -> Vec<Pair> {
    let kh = access.hash(op.key);
    access.one(to.db, kh, op.key, &to.cx, |slot| {
        let is_before = |known: &storage::Provenance| {
            (known.source, known.generation) == (op.about.from.source, op.about.from.generation)
        };
        let Some(live) = slot.live().filter(|live| live.provenance().as_ref().is_some_and(is_before)) else {
            return Vec::new();
        };
        let Ok(hash) = live.hash() else { return Vec::new() };
        let mut kept = Vec::new();
        hash.for_each(|field, value| {
            if fields.iter().all(|(told, _)| told != field) {
                kept.push((field.into(), text_of(&value)));
            }
        });
        kept
    })
}

fn text_of(value: &Value<'_>) -> Box<[u8]> {
    match value {
        Value::Raw(bytes) => (*bytes).into(),
        Value::Shared(bytes) => bytes.as_slice().into(),
        Value::Int(number) => itoa::Buffer::new().format(*number).as_bytes().into(),
        Value::Hash(_) => unreachable!("fields hold no hashes"),
    }
}
