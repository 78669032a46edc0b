//! What a revoke names, and how it is meant.

use crate::call::Call;
use crate::error::Error;
use crate::services::Service;
use smallvec::SmallVec;
use storage::limits::MAX_TAGS;
use storage::{Mode, Selector};

/// What one selector of a request names.
pub(super) enum Named<'a> {
    Key(&'a [u8]),
    Group(Selector<'a>),
    /// All of these tags at once.
    Tags(SmallVec<[u64; 4]>),
    /// Keys that begin with this.
    Prefix(Box<[u8]>),
    All,
}

impl Named<'_> {
    /// What there is to put into the log.
    pub fn group(&self, mode: Mode) -> Option<Selector<'_>> {
        match self {
            Self::Group(selector) => Some(*selector),
            Self::Tags(tags) => Some(Selector::Tags(tags)),
            Self::Prefix(prefix) => Some(Selector::Prefix(prefix)),
            // Nothing has to be judged where nothing is left.
            Self::All if mode == Mode::Hard => None,
            Self::All => Some(Selector::Prefix(b"")),
            Self::Key(_) => None,
        }
    }

    /// Whether the key of an entry with these tags is named.
    pub fn names(&self, key: &[u8], tags: &[u64]) -> bool {
        match self {
            Self::Key(name) => key == *name,
            Self::All => true,
            group => group.group(Mode::Hard).is_some_and(|group| group.names(key, tags)),
        }
    }

    /// Whether the tags of an entry matter.
    pub fn has_tags(&self) -> bool {
        matches!(self, Self::Tags(_) | Self::Group(Selector::Tag(_) | Selector::Tags(_)))
    }

    /// All keys of a service.
    pub fn of(service: &Service, call: &Call<'_, '_>) -> Result<Self, Error> {
        if service.prefix.is_empty() {
            return Ok(Self::All);
        }
        if service.db != call.db() {
            return Err(Error::OTHER_DATABASE);
        }
        Ok(Self::Prefix(service.prefix.clone()))
    }
}

/// A request to revoke.
pub(super) struct Request<'a> {
    pub named: Vec<Named<'a>>,
    pub mode: Mode,
}

/// Selectors of one request. Each may have to be compared with all patterns of the log, and with each other, while that is
/// held.
const MAX_SELECTORS: usize = 1024;

const SAY_ALL: Error = Error::err("a selector of every key is written ALL");

impl<'c> Request<'c> {
    /// The selectors from argument `index` on, all of them well-formed, and the mode behind them.
    pub fn parse(call: &Call<'c, '_>, index: usize) -> Result<Self, Error> {
        let (request, index) = Self::selectors(call, index)?;
        Ok(Self { mode: mode(call, index)?, ..request })
    }

    /// The selectors alone, for a hard revoke, and where they end.
    pub fn selectors(call: &Call<'c, '_>, mut index: usize) -> Result<(Self, usize), Error> {
        let mut named = Vec::new();
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
            } else if word(index, "SERVICE") {
                let service = super::service_named(call, operand()?)?;
                (Named::of(&service, call)?, 2)
            } else if word(index, "ALL") {
                (Named::All, 1)
            } else {
                break;
            };
            named.push(what);
            index += taken;
            if named.len() > MAX_SELECTORS {
                return Err(Error::err("too many selectors"));
            }
        }
        Ok((Self { named, mode: Mode::Hard }, index))
    }
}

/// The mode that the arguments from `index` on say: hard where there are none.
fn mode(call: &Call<'_, '_>, index: usize) -> Result<Mode, Error> {
    let left = call.args.len() - index;
    let soft = |stale_for| Mode::Soft { at: call.cx.now, stale_for };
    if left == 0 || left == 1 && call.is_word(index, "HARD") {
        Ok(Mode::Hard)
    } else if left == 1 && call.is_word(index, "SOFT") {
        Ok(soft(None))
    } else if left == 3 && call.is_word(index, "SOFT") && call.is_word(index + 1, "STALEFOR") {
        let ms = u64::try_from(call.integer(index + 2)?).map_err(|_| Error::NOT_INTEGER)?;
        Ok(soft(Some(ms)))
    } else {
        Err(Error::SYNTAX)
    }
}

/// The number of tags at `index`, which as many arguments follow.
pub(in crate::families) fn tag_count(call: &Call<'_, '_>, index: usize) -> Result<usize, Error> {
    let count = call.args.get(index).map(|_| call.integer(index)).transpose()?.ok_or(Error::SYNTAX)?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
    if count > MAX_TAGS {
        return Err(TOO_MANY_TAGS);
    }
    if call.args.len() < index + 1 + count { Err(Error::SYNTAX) } else { Ok(count) }
}

pub(in crate::families) const TOO_MANY_TAGS: Error = Error::err("too many tags");
