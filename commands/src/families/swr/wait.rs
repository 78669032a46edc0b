//! Reads that wait for a load.

use super::read::{Reader, Turn, Wanted};
use crate::call::Call;
use crate::effect::{Effect, Wait};
use crate::error::Error;
use crate::node::Node;
use crate::services::Service;
use std::sync::Arc;
use storage::{Access, Cx, Db, KeyHash, Wake};

/// Its answer is on the way but not there: looked for again after this, ms.
const ON_THE_WAY_MS: u64 = 20;

/// A read that waits.
pub(super) struct Waiting {
    pub db: Db,
    pub kh: KeyHash,
    pub key: Box<[u8]>,
    pub wanted: Wanted,
    pub service: Arc<Service>,
    pub ticket: u64,
    /// By the steady clock: when it is answered with what there is, and when it looks whether somebody loads.
    pub until_ms: u64,
    pub look_ms: u64,
    /// Whether it began the load itself.
    pub began: bool,
    pub wake: Option<Wake>,
}

impl Wait for Waiting {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn due_ms(&self) -> u64 {
        self.until_ms.min(self.look_ms)
    }

    fn due(&mut self, _: &Node, store: &mut Access<'_>, cx: &Cx) -> bool {
        let Self { db, kh, ticket, .. } = *self;
        if cx.steady_ms < self.until_ms {
            self.look_ms = store.look(db, kh, &self.key, cx);
            return false;
        }
        let in_time = !store.leave(db, kh, &self.key, ticket, cx);
        if in_time {
            self.until_ms = cx.steady_ms + ON_THE_WAY_MS;
            self.look_ms = self.until_ms;
        }
        !in_time
    }

    fn tell(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn leave(&mut self, _: &Node, store: &mut Access<'_>, cx: &Cx) -> bool {
        store.leave(self.db, self.kh, &self.key, self.ticket, cx)
    }

    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error> {
        let counts = self.service.stats.of(call.session.client.core);
        match self.wake {
            Some(Wake::Token { .. }) => counts.handed_over.add(1),
            None => counts.timed_out.add(1),
            Some(_) => {}
        }
        // Whoever was not answered in time, and does not load now, is told what there is.
        let turn = match self.wake {
            Some(Wake::Look) => Turn { wake: None, may_park: true, until_ms: Some(self.until_ms), began: self.began },
            wake => Turn { wake, began: self.began, ..Turn::ONLY },
        };
        let parked = Reader::of(call).read((&self.key, self.kh), &self.wanted, turn);
        call.effects.extend(parked.map(|waiting| Effect::Park(Box::new(waiting))));
        Ok(())
    }
}
