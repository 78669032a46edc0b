//! Wider selectors, for when the log has no room for the one that was asked for: they name more entries, never fewer.

use super::records::Records;
use super::{Overflow, Refused, Selector};
use crate::glob;
use smallvec::SmallVec;

/// A selector that may have been widened.
#[derive(Debug)]
pub(super) enum Wider<'a> {
    As(Selector<'a>),
    Prefix(Box<[u8]>),
    Tag(u64),
}

impl<'a> Wider<'a> {
    pub fn selector(&self) -> Selector<'_> {
        match self {
            Self::As(selector) => *selector,
            Self::Prefix(prefix) => Selector::Prefix(prefix),
            Self::Tag(tag) => Selector::Tag(*tag),
        }
    }

    /// The next wider one that there is room for as far as its own sort goes: a pattern becomes the prefix it begins with, a
    /// prefix the next shorter one of a length that is in the log, a set of tags its first one; all keys at the end.
    fn widened(&self, records: &Records, overflow: Overflow) -> Option<Wider<'a>> {
        let all = || (overflow == Overflow::WidenAll).then(|| Wider::Prefix([].into()));
        let shorter = |prefix: &[u8]| {
            let length = records.lengths().filter(|length| (1..prefix.len()).contains(length)).max();
            length.map(|length| Wider::Prefix(prefix[..length].into()))
        };
        match self.selector() {
            Selector::Match(pattern) => {
                let prefix = glob::prefix(pattern).bytes;
                if prefix.is_empty() { all() } else { Some(Wider::Prefix(prefix.as_ref().into())) }
            }
            Selector::Prefix([]) => None,
            Selector::Prefix(prefix) => shorter(prefix).or_else(all),
            Selector::Tags(tags) => Some(Wider::Tag(tags[0])),
            Selector::Tag(_) => all(),
        }
    }
}

/// These selectors, as wide as they must be for `fits`.
pub(super) fn widen<'a>(
    selectors: &[Selector<'a>],
    records: &Records,
    overflow: Overflow,
    fits: impl Fn(&[Selector<'_>]) -> bool,
) -> Result<SmallVec<[Wider<'a>; 4]>, Refused> {
    let mut wider: SmallVec<[Wider<'a>; 4]> = selectors.iter().map(|selector| Wider::As(*selector)).collect();
    loop {
        let step = {
            let now: SmallVec<[Selector<'_>; 4]> = wider.iter().map(Wider::selector).collect();
            if fits(&now) {
                None
            } else if overflow == Overflow::Reject {
                return Err(Refused::Busy);
            } else {
                // Those that are there already are not the trouble.
                let mut new = now.iter().enumerate().filter(|(_, selector)| !records.has(selector));
                let next = new.find_map(|(at, _)| Some((at, wider[at].widened(records, overflow)?)));
                Some(next.ok_or(Refused::Busy)?)
            }
        };
        match step {
            None => return Ok(wider),
            Some((at, one)) => wider[at] = one,
        }
    }
}
