//! Tags of a key: SWR.TAG.

use crate::call::Call;
use crate::error::Error;
use crate::families::cache::{TOO_MANY_TAGS, tag_count};
use smallvec::SmallVec;
use storage::limits::MAX_TAGS;

type Tags = SmallVec<[u64; 8]>;

/// What there is to do with the tags of an entry.
enum Change {
    Add,
    Remove,
    Set,
}

pub(super) fn tag(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let count = tag_count(call, 3)?;
    if call.args.len() != 4 + count {
        return Err(Error::SYNTAX);
    }
    let mut named: Tags = (4..4 + count).map(|at| call.store.store().tag(call.args.at(at))).collect();
    named.sort_unstable();
    named.dedup();
    let change = if call.is_word(2, "HAS") {
        let has = call.first(|slot, _| {
            let held: Tags = slot.live().map(|live| live.tags().collect()).unwrap_or_default();
            named.iter().filter(|tag| held.contains(tag)).count()
        });
        call.reply.integer(has as i64);
        return Ok(());
    } else if call.is_word(2, "ADD") {
        Change::Add
    } else if call.is_word(2, "REM") {
        Change::Remove
    } else if call.is_word(2, "SET") {
        Change::Set
    } else {
        return Err(Error::SYNTAX);
    };
    let now = call.first(|slot, _| {
        let Some(mut live) = slot.live() else { return Ok(0) };
        let mut tags: Tags = live.tags().collect();
        match change {
            Change::Add => tags.extend(named.iter().copied()),
            Change::Remove => tags.retain(|tag| !named.contains(tag)),
            Change::Set => tags.clone_from(&named),
        }
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > MAX_TAGS {
            return Err(TOO_MANY_TAGS);
        }
        live.set_tags(&tags);
        Ok(tags.len())
    })?;
    call.reply.integer(now as i64);
    Ok(())
}
