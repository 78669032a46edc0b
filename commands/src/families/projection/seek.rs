//! PROJECTION.SEEK: goes on elsewhere in a partition. What that breaks, a rebuild mends.

use super::show::{find_partition, named};
use crate::call::Call;
use crate::effect::{Effect, Wait};
use crate::error::Error;
use crate::node::Node;
use crate::projections::{Asked, Projection, SeekTo};
use core::sync::atomic::Ordering;
use protocol::number::parse_i64;
use std::sync::Arc;
use storage::{Access, Cx, Wake};

/// Longest wait for where it went, ms: brokers are asked for times.
const LONGEST_MS: u64 = 10_000;
/// Time between two looks, ms.
const LOOK_MS: u64 = 2;

pub(super) fn seek(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = Arc::clone(named(call)?);
    let partition = {
        let board = projection.board();
        let partition = find_partition(&board, call.args.at(2))?;
        (partition.topic.to_string(), partition.partition)
    };
    let word = call.args.at(3);
    let number = |text: &[u8]| parse_i64(text).filter(|number| *number >= 0);
    let to = match word {
        _ if call.is_word(3, "BEGINNING") => SeekTo::Beginning,
        _ if call.is_word(3, "END") => SeekTo::End,
        [b'@', time @ ..] => SeekTo::Time(number(time).ok_or(Error::SYNTAX)?),
        offset => SeekTo::Offset(number(offset).ok_or(Error::SYNTAX)?),
    };
    if call.session.in_exec {
        return Err(Error::err("PROJECTION.SEEK waits for its answer, which a transaction cannot"));
    }
    let ticket = call.node.tickets.fetch_add(1, Ordering::Relaxed);
    projection.ask(Asked::Seek { partition, to, ticket })?;
    let now_ms = call.cx.steady_ms;
    let waiting = Seeking { projection, ticket, found: None, until_ms: now_ms + LONGEST_MS, look_ms: now_ms + LOOK_MS };
    call.effects.push(Effect::Park(Box::new(waiting)));
    Ok(())
}

/// A client that waits for where a seek went.
struct Seeking {
    projection: Arc<Projection>,
    ticket: u64,
    found: Option<Result<i64, String>>,
    until_ms: u64,
    look_ms: u64,
}

impl Wait for Seeking {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn due_ms(&self) -> u64 {
        self.until_ms.min(self.look_ms)
    }

    fn due(&mut self, _: &Node, _: &mut Access<'_>, cx: &Cx) -> bool {
        self.look_ms = cx.steady_ms + LOOK_MS;
        self.found = self.projection.take_sought(self.ticket);
        self.found.is_some() || cx.steady_ms >= self.until_ms
    }

    fn tell(&mut self, _: Wake) {}

    fn leave(&mut self, _: &Node, _: &mut Access<'_>, _: &Cx) -> bool {
        true
    }

    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error> {
        match self.found {
            Some(Ok(offset)) => call.reply.integer(offset),
            Some(Err(reason)) => return Err(Error::because(reason)),
            None => return Err(Error::err("no broker said where that is")),
        }
        Ok(())
    }
}
