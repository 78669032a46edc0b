//! Options of this family's requests: words in any order, each once.

use crate::call::Call;
use crate::error::Error;
use crate::families::cache::tag_count;
use crate::services::fields::{Given, Policy};
use smallvec::SmallVec;
use storage::limits::MAX_VALIDATOR_BYTES;
use storage::{Lifetimes, draw_below};

/// Longest time an option takes, ms: ten years.
const MAX_MS: i64 = 10 * 366 * 86_400_000;

/// The argument after `index` as a number of ms.
pub(super) fn ms(call: &Call<'_, '_>, index: usize) -> Result<u64, Error> {
    let text = call.args.get(index + 1).ok_or(Error::SYNTAX)?;
    let ms = protocol::number::parse_i64(text).ok_or(Error::NOT_INTEGER)?;
    if (0..=MAX_MS).contains(&ms) { Ok(ms as u64) } else { Err(Error::NOT_INTEGER) }
}

/// Sets an option that may be given once.
fn once<T>(option: &mut Option<T>, value: T) -> Result<(), Error> {
    if option.replace(value).is_some() { Err(Error::SYNTAX) } else { Ok(()) }
}

/// Which options a reading command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Waits,
    AtOnce,
    Peeks,
}

/// Options of a read.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadOptions {
    pub wait_ms: Option<u64>,
    pub soft_ms: Option<u64>,
    pub lease_ms: Option<u64>,
    pub no_lease: bool,
    pub min_fresh_ms: Option<u64>,
    pub force: bool,
    pub max_stale_ms: Option<u64>,
    pub no_stale_if_error: bool,
    pub meta: bool,
    /// Changes nothing and does not count.
    pub peek: bool,
}

impl ReadOptions {
    /// Those from argument `index` on.
    pub fn parse(call: &Call<'_, '_>, mut index: usize, reading: Reading) -> Result<Self, Error> {
        let mut options = Self { peek: reading == Reading::Peeks, ..Self::default() };
        let flag = |option: &mut bool| if core::mem::replace(option, true) { Err(Error::SYNTAX) } else { Ok(()) };
        while index < call.args.len() {
            let word = |word| call.is_word(index, word);
            let takes_ms = if word("META") {
                flag(&mut options.meta)?;
                false
            } else if reading == Reading::Peeks {
                return Err(Error::SYNTAX);
            } else if word("NOLEASE") {
                flag(&mut options.no_lease)?;
                false
            } else if word("FORCE") {
                flag(&mut options.force)?;
                false
            } else if word("NOSIE") {
                flag(&mut options.no_stale_if_error)?;
                false
            } else {
                let option = if word("LEASE") {
                    &mut options.lease_ms
                } else if word("MINFRESH") {
                    &mut options.min_fresh_ms
                } else if word("MAXSTALE") {
                    &mut options.max_stale_ms
                } else if word("WAIT") && reading == Reading::Waits {
                    &mut options.wait_ms
                } else if word("SOFT") && reading == Reading::Waits {
                    &mut options.soft_ms
                } else {
                    return Err(Error::SYNTAX);
                };
                once(option, ms(call, index)?)?;
                true
            };
            index += 1 + usize::from(takes_ms);
        }
        if options.force && options.min_fresh_ms.is_some() || options.lease_ms == Some(0) {
            return Err(Error::SYNTAX);
        }
        Ok(options)
    }
}

/// What goes with a value that is stored.
#[derive(Debug, Default)]
pub(super) struct Along<'a> {
    pub given: Given,
    pub tags: Option<SmallVec<[u64; 4]>>,
    pub etag: Option<&'a [u8]>,
}

impl<'a> Along<'a> {
    /// Takes the option at `index`, if it is one of these; gives how many arguments it has. `tagged`: TAGS is allowed.
    pub fn take(&mut self, call: &Call<'a, '_>, index: usize, tagged: bool) -> Result<Option<usize>, Error> {
        let word = |word| call.is_word(index, word);
        let window = if word("FRESH") {
            &mut self.given.fresh_ms
        } else if word("STALE") {
            &mut self.given.stale_ms
        } else if word("RETAIN") {
            &mut self.given.retain_ms
        } else if word("TAGS") && tagged {
            let count = tag_count(call, index + 1)?;
            let names = index + 2..index + 2 + count;
            once(&mut self.tags, names.map(|at| call.store.store().tag(call.args.at(at))).collect())?;
            return Ok(Some(2 + count));
        } else if word("ETAG") {
            let etag = call.args.get(index + 1).ok_or(Error::SYNTAX)?;
            if etag.len() > MAX_VALIDATOR_BYTES {
                return Err(Error::err("etag too long"));
            }
            once(&mut self.etag, etag)?;
            return Ok(Some(2));
        } else {
            return Ok(None);
        };
        once(window, ms(call, index)?)?;
        Ok(Some(2))
    }

    /// How long a value stored now counts: with the service's jitter, and the time of its early refresh drawn.
    pub fn lifetimes(&self, policy: &Policy, average_load_ms: u64, seed: u64) -> Result<Lifetimes, Error> {
        let lifetimes = self.given.lifetimes(policy).ok_or(WINDOWS)?;
        Ok(drawn(lifetimes, policy, average_load_ms, seed))
    }
}

const WINDOWS: Error = Error::err("windows out of order");

/// Shortens the fresh time by the jitter, and draws when an early refresh is due.
pub(crate) fn drawn(mut lifetimes: Lifetimes, policy: &Policy, average_load_ms: u64, seed: u64) -> Lifetimes {
    let Some(fresh_ms) = lifetimes.fresh_ms else { return lifetimes };
    if policy.jitter_percent > 0 {
        let most = (u128::from(fresh_ms) * u128::from(policy.jitter_percent) / 100) as u64;
        let shorter = fresh_ms - draw_below(seed, 7, most.saturating_add(1));
        if lifetimes.stale_ms == lifetimes.fresh_ms {
            if lifetimes.retain_ms == lifetimes.stale_ms {
                lifetimes.retain_ms = Some(shorter);
            }
            lifetimes.stale_ms = Some(shorter);
        }
        lifetimes.fresh_ms = Some(shorter);
    }
    let fresh_ms = lifetimes.fresh_ms.unwrap_or(0);
    let share = if policy.xfetch_beta > 0.0 && fresh_ms > 0 {
        // 1 to 2^20, so that its logarithm is finite.
        let u = (draw_below(seed, 8, 1 << 20) + 1) as f64 / f64::from(1 << 20);
        let ahead = policy.xfetch_beta * average_load_ms as f64 * -u.ln() / fresh_ms as f64;
        ((1.0 - ahead) * 256.0).clamp(128.0, 256.0) as u64
    } else {
        policy.eager_percent * 256 / 100
    };
    // The whole of it is no share: then it is stale anyway.
    lifetimes.refresh = u8::try_from(share).unwrap_or(0);
    lifetimes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::fields::{FIELDS, find};

    fn policy(set: &[(&str, &'static str)]) -> Policy {
        Policy::new(|name| {
            let own = set.iter().find(|(field, _)| *field == name).map(|(_, text)| *text);
            own.unwrap_or(FIELDS[find(name.as_bytes()).unwrap()].default)
        })
    }

    #[test]
    fn jitter_shortens_and_never_lengthens() {
        let policy = policy(&[("JITTER", "20")]);
        let plain = Lifetimes { fresh_ms: Some(1000), stale_ms: Some(1000), retain_ms: Some(1000), refresh: 0 };
        let apart = Lifetimes { stale_ms: Some(5000), retain_ms: None, ..plain };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..1000 {
            let drawn_plain = drawn(plain, &policy, 0, seed);
            let fresh = drawn_plain.fresh_ms.unwrap();
            assert!((800..=1000).contains(&fresh));
            assert_eq!((drawn_plain.stale_ms, drawn_plain.retain_ms), (Some(fresh), Some(fresh)));
            let drawn_apart = drawn(apart, &policy, 0, seed);
            assert_eq!((drawn_apart.stale_ms, drawn_apart.retain_ms), (Some(5000), None));
            seen.insert(fresh);
        }
        assert!(seen.len() > 100 && seen.first() < Some(&805) && seen.last() > Some(&995));
    }

    #[test]
    fn early_refresh_lies_in_the_second_half() {
        let lifetimes = Lifetimes { fresh_ms: Some(1000), stale_ms: None, retain_ms: None, refresh: 0 };
        assert_eq!(drawn(lifetimes, &policy(&[("EAGER", "75")]), 0, 1).refresh, 192);
        assert_eq!(drawn(lifetimes, &policy(&[("EAGER", "100")]), 0, 1).refresh, 0);
        let policy = policy(&[("XFETCH", "1")]);
        let shares: Vec<u8> = (0..1000).map(|seed| drawn(lifetimes, &policy, 100, seed).refresh).collect();
        assert!(shares.iter().all(|share| *share == 0 || *share >= 128));
        // Of an exponential draw with a mean of a tenth.
        let early = shares.iter().filter(|share| (1..230).contains(*share)).count();
        assert!((200..550).contains(&early), "{early}");
    }
}
