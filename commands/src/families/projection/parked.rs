//! Clients that wait for something of a projection: they look again and again, since no runner waits for a client.

use crate::call::Call;
use crate::effect::{Effect, Wait};
use crate::error::Error;
use crate::node::Node;
use crate::projections::Projection;
use std::sync::Arc;
use storage::{Access, Cx, Wake};

/// What is waited for.
pub(super) trait Look: Send + 'static {
    /// Time between two looks, ms.
    const EVERY_MS: u64;

    /// Whether it has come.
    fn has_come(&mut self, projection: &Projection) -> bool;

    /// Replies, whether it has come or not.
    fn reply(self, projection: &Projection, call: &mut Call<'_, '_>) -> Result<(), Error>;
}

/// Lets the client of a call wait, for so long at most. `ticket`: what its wait is known by.
pub(super) fn park(
    call: &mut Call<'_, '_>,
    projection: Arc<Projection>,
    look: impl Look,
    (ticket, most_ms): (u64, u64),
) {
    let until_ms = call.cx.steady_ms.saturating_add(most_ms);
    call.effects.push(Effect::Park(Box::new(Parked {
        projection,
        look,
        ticket,
        until_ms,
        look_ms: call.cx.steady_ms,
    })));
}

struct Parked<L> {
    projection: Arc<Projection>,
    look: L,
    ticket: u64,
    until_ms: u64,
    look_ms: u64,
}

impl<L: Look> Wait for Parked<L> {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn due_ms(&self) -> u64 {
        self.until_ms.min(self.look_ms)
    }

    fn due(&mut self, _: &Node, _: &mut Access<'_>, cx: &Cx) -> bool {
        self.look_ms = cx.steady_ms + L::EVERY_MS;
        self.look.has_come(&self.projection) || cx.steady_ms >= self.until_ms
    }

    fn tell(&mut self, _: Wake) {}

    fn leave(&mut self, _: &Node, _: &mut Access<'_>, _: &Cx) -> bool {
        true
    }

    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error> {
        self.look.reply(&self.projection, call)
    }
}
