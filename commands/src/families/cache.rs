//! Groups of entries: CACHE.REVOKE.
//!
//! A revoke takes the same time however many entries it names: it is a record in the store's log, and every access that
//! begins after its reply judges the entries it meets by it.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use smallvec::SmallVec;
use storage::limits::MAX_TAGS;
use storage::{Refused, Selector};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "cache.revoke",
    wire_id: 340,
    arity: -2,
    keys: Keys::NONE,
    flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::KEYSPACE).and(Flags::DANGEROUS),
    group: Group::Cache,
    since: "0.1.0",
    complexity: "O(1) for each selector, however many keys it names",
    summary: "Makes groups of keys absent at once: by key, prefix, pattern or tags.",
    usage: "(KEY name | PREFIX prefix | MATCH pattern | TAG tag | TAGS count tag [tag ...] | ALL) ... [HARD]",
    subcommands: &[],
    run: revoke,
}];

/// What one selector of a request names.
enum Named<'a> {
    Key(&'a [u8]),
    Group(Selector<'a>),
    /// All of these tags at once.
    Tags(SmallVec<[u64; 4]>),
    All,
}

impl Named<'_> {
    /// What there is to put into the log.
    fn group(&self) -> Option<Selector<'_>> {
        match self {
            Self::Group(selector) => Some(*selector),
            Self::Tags(tags) => Some(Selector::Tags(tags)),
            Self::Key(_) | Self::All => None,
        }
    }
}

/// The selectors of a request, all of them well-formed.
fn selectors<'c>(call: &Call<'c, '_>) -> Result<Vec<Named<'c>>, Error> {
    let (mut named, mut index) = (Vec::new(), 1);
    let word = |index: usize, word| call.is_word(index, word);
    while index < call.args.len() {
        let operand = || call.args.get(index + 1).ok_or(Error::SYNTAX);
        let (what, taken) = if word(index, "KEY") {
            (Named::Key(operand()?), 2)
        } else if word(index, "PREFIX") {
            let prefix = Some(operand()?).filter(|prefix| !prefix.is_empty()).ok_or(SAY_ALL)?;
            (Named::Group(Selector::Prefix(prefix)), 2)
        } else if word(index, "MATCH") {
            let pattern = operand()?;
            // Nothing but stars: every key.
            if !pattern.is_empty() && pattern.iter().all(|byte| *byte == b'*') {
                return Err(SAY_ALL);
            }
            (Named::Group(Selector::Match(pattern)), 2)
        } else if word(index, "TAG") {
            (Named::Group(Selector::Tag(call.store.store().tag(operand()?))), 2)
        } else if word(index, "TAGS") {
            let count = tag_count(call, index + 1)?;
            let tags = (index + 2..index + 2 + count).map(|at| call.store.store().tag(call.args.at(at)));
            let mut tags: SmallVec<[u64; 4]> = tags.collect();
            // One set, however it is written.
            tags.sort_unstable();
            tags.dedup();
            (Named::Tags(tags), 2 + count)
        } else if word(index, "ALL") {
            (Named::All, 1)
        } else if word(index, "HARD") && index + 1 == call.args.len() && !named.is_empty() {
            break;
        } else {
            return Err(Error::SYNTAX);
        };
        named.push(what);
        index += taken;
    }
    Ok(named)
}

const SAY_ALL: Error = Error::err("a selector of every key is written ALL");

/// The number of tags at `index`, which as many arguments follow.
pub(super) fn tag_count(call: &Call<'_, '_>, index: usize) -> Result<usize, Error> {
    let count = call.args.get(index).map(|_| call.integer(index)).transpose()?.ok_or(Error::SYNTAX)?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
    if count > MAX_TAGS {
        return Err(TOO_MANY_TAGS);
    }
    if call.args.len() < index + 1 + count { Err(Error::SYNTAX) } else { Ok(count) }
}

pub(super) const TOO_MANY_TAGS: Error = Error::err("too many tags");

fn revoke(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let db = call.db();
    let named = selectors(call)?;
    let groups: SmallVec<[Selector<'_>; 4]> = named.iter().filter_map(Named::group).collect();
    // All of them or none, before anything else is touched.
    call.store.revoke(db, &groups).map_err(|refused| match refused {
        Refused::Busy => Error::BUSY_REVOKE,
        Refused::TooComplex => Error::err("pattern too complex"),
    })?;
    for named in &named {
        match named {
            Named::Key(key) => drop(call.key(key, |slot, _| slot.live().map(|live| live.remove()))),
            Named::All => call.store.flush(&[db]),
            Named::Group(_) | Named::Tags(_) => {}
        }
    }
    call.reply.integer(call.store.store().revoke_log().0 as i64);
    Ok(())
}

#[cfg(test)]
mod tests;
