//! CACHE.PURGE: a hard revoke whose memory is free when it replies.

use super::revoke_named;
use super::selectors::Request;
use crate::call::Call;
use crate::effect::{Job, Progress};
use crate::error::Error;
use storage::Mode;

/// Stripes swept in one slice.
const SLICE_STRIPES: usize = 16;

pub(super) fn purge(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let request = Request::parse(call, 1)?;
    if request.mode != Mode::Hard || request.named.is_empty() {
        return Err(Error::SYNTAX);
    }
    let before = call.store.counts().revoked;
    let removed = revoke_named(call, &request)?;
    let until = call.store.store().revoke_log().0;
    call.run_job(Box::new(Sweep { until, next: 0, before, removed: removed as u64 }))
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
