//! CACHE.PURGE: a hard revoke whose memory is free when it replies; or a search for what one would free.

use super::selectors::{Named, Request};
use super::{refusal, revoke_named};
use crate::call::Call;
use crate::effect::{Job, Progress, SLICE_KEYS};
use crate::error::Error;
use storage::limits::MAX_REVOKED_GLOB_BYTES;
use storage::{Mode, Position, Refused, Selector, Slot};

/// Stripes swept in one slice.
const SLICE_STRIPES: usize = 16;

pub(super) fn purge(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (request, mut index) = Request::selectors(call, 1)?;
    let (mut limit, mut is_dry) = (None, false);
    while index < call.args.len() {
        if call.is_word(index, "LIMIT") && limit.is_none() && index + 1 < call.args.len() {
            let most = u64::try_from(call.integer(index + 1)?).ok().filter(|most| *most > 0);
            limit = Some(most.ok_or(Error::err("LIMIT should be greater than 0"))?);
            index += 2;
        } else if call.is_word(index, "DRYRUN") && !is_dry {
            is_dry = true;
            index += 1;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if request.named.is_empty() {
        return Err(Error::SYNTAX);
    }
    if is_dry || limit.is_some() {
        let groups = request.named.iter().filter_map(|named| named.group(Mode::Hard));
        let mut pattern_bytes = 0;
        for group in groups {
            group.check().map_err(refusal)?;
            pattern_bytes += if let Selector::Match(pattern) = group { pattern.len() } else { 0 };
        }
        // The bound of the log: so much is compared with every key.
        if pattern_bytes > MAX_REVOKED_GLOB_BYTES {
            return Err(refusal(Refused::TooComplex));
        }
        let search = Search { from: Position::START, left: limit.unwrap_or(u64::MAX), is_dry, found: 0 };
        return call.run_job(Box::new(search));
    }
    let before = call.store.counts().revoked;
    let removed = revoke_named(call, &request)?;
    let until = call.store.store().revoke_log().0;
    call.run_job(Box::new(Sweep { until, next: 0, before, removed: removed as u64 }))
}

/// A walk over the database for what the selectors name: up to so many are deleted one by one, or only counted. Nothing is
/// revoked: what is written meanwhile may be found or not.
struct Search {
    from: Position,
    left: u64,
    is_dry: bool,
    found: u64,
}

impl Job for Search {
    fn step(&mut self, call: &mut Call<'_, '_>) -> Result<Progress, Error> {
        let (named, (db, cx)) = (Request::selectors(call, 1)?.0.named, (call.db(), call.cx));
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        let next = call.store.walk(db, self.from, SLICE_KEYS, &cx, |key, _| keys.push(key.into()));
        let by_tags = named.iter().any(Named::has_tags);
        // Told apart with nothing locked, as far as their names tell.
        keys.retain(|key| by_tags || named.iter().any(|named| named.names(key, &[])));
        for key in keys {
            if self.left == 0 {
                break;
            }
            let (kh, is_dry) = (call.store.hash(&key), self.is_dry);
            let is_named = call.store.one(db, kh, &key, &cx, |slot| {
                // What is projected stays.
                let can_go = matches!(&slot, Slot::Live(live) if live.provenance().is_none());
                let tags: Option<Vec<u64>> = slot.view().filter(|_| can_go).map(|view| view.tags().collect());
                let is_named = tags.is_some_and(|tags| named.iter().any(|named| named.names(&key, &tags)));
                if is_named && !is_dry {
                    slot.delete();
                }
                is_named
            });
            self.found += u64::from(is_named);
            self.left -= u64::from(is_named);
        }
        if let Some(next) = next.filter(|_| self.left > 0) {
            self.from = next;
            return Ok(Progress::More);
        }
        call.reply.integer(self.found as i64);
        Ok(Progress::Done)
    }
}

/// The sweeper's work, done here and now.
struct Sweep {
    /// The epoch whose records are to be gone.
    until: u64,
    next: usize,
    /// Entries freed by the sweeper before, and by this command otherwise.
    before: u64,
    removed: u64,
}

impl Job for Sweep {
    fn step(&mut self, call: &mut Call<'_, '_>) -> Result<Progress, Error> {
        if !call.store.store().is_swept(self.until) {
            call.store.tick(self.next, SLICE_STRIPES, &call.cx);
            self.next = (self.next + SLICE_STRIPES) % call.store.stripes();
            return Ok(Progress::More);
        }
        let freed = call.store.counts().revoked - self.before + self.removed;
        call.reply.integer(freed as i64);
        Ok(Progress::Done)
    }
}
