//! PROJECTION.SEEK: goes on elsewhere in a partition. What that breaks, a rebuild mends.

use super::parked::{Look, park};
use super::show::{find_partition, named};
use crate::call::Call;
use crate::error::Error;
use crate::projections::{Asked, Projection, SeekTo};
use core::sync::atomic::Ordering;
use protocol::number::parse_i64;
use std::sync::Arc;

/// Longest wait for where it went, ms: brokers are asked for times.
const LONGEST_MS: u64 = 10_000;

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
    park(call, projection, Sought { ticket, found: None }, (ticket, LONGEST_MS));
    Ok(())
}

/// Where a seek went.
struct Sought {
    ticket: u64,
    found: Option<Result<i64, String>>,
}

impl Look for Sought {
    const EVERY_MS: u64 = 2;

    fn has_come(&mut self, projection: &Projection) -> bool {
        self.found = projection.take_sought(self.ticket);
        self.found.is_some()
    }

    fn reply(self, _: &Projection, call: &mut Call<'_, '_>) -> Result<(), Error> {
        match self.found {
            Some(Ok(offset)) => call.reply.integer(offset),
            Some(Err(reason)) => return Err(Error::because(reason)),
            None => return Err(Error::err("no broker said where that is")),
        }
        Ok(())
    }
}
