//! PROJECTION.WAIT: read your own writes, and start when it is ready.

use super::parked::{Look, park};
use super::show::{find_partition, named, partition_name};
use crate::call::Call;
use crate::error::Error;
use crate::projections::{Board, Projection};
use core::sync::atomic::Ordering;
use protocol::number::parse_i64;
use std::sync::Arc;

/// What is waited for.
enum Until {
    Ready,
    /// Partitions by name, and offsets below which all is to be applied.
    Offsets(Vec<(Vec<u8>, i64)>),
}

impl Until {
    fn is_reached(&self, board: &Board) -> bool {
        match self {
            Self::Ready => board.is_ready,
            Self::Offsets(wanted) => wanted.iter().all(|(name, offset)| {
                let mut partitions = board.partitions.iter();
                let found = partitions.find(|partition| partition_name(board, partition).as_bytes() == *name);
                found.is_some_and(|partition| partition.applied >= *offset)
            }),
        }
    }
}

impl Look for Until {
    const EVERY_MS: u64 = 5;

    fn has_come(&mut self, projection: &Projection) -> bool {
        self.is_reached(&projection.board())
    }

    fn reply(mut self, projection: &Projection, call: &mut Call<'_, '_>) -> Result<(), Error> {
        call.reply.integer(self.has_come(projection).into());
        Ok(())
    }
}

pub(super) fn wait(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = Arc::clone(named(call)?);
    let board = projection.board();
    let last = call.args.len() - 1;
    let until = if call.is_word(2, "READY") && last == 3 {
        Until::Ready
    } else if call.is_word(2, "TOKEN") && last == 4 {
        Until::Offsets(read_token(&board, call.args.at(3))?)
    } else if call.is_word(2, "OFFSET") && last >= 5 && last % 2 == 1 {
        let pairs = (3..last).step_by(2).map(|index| {
            let (name, offset) = (call.args.at(index), call.integer(index + 1)?);
            find_partition(&board, name)?;
            // All below an offset that was acknowledged, and itself.
            Ok((name.to_vec(), offset.saturating_add(1)))
        });
        Until::Offsets(pairs.collect::<Result<_, Error>>()?)
    } else {
        return Err(Error::SYNTAX);
    };
    let timeout_ms = u64::try_from(call.integer(last)?).map_err(|_| Error::err("timeout is negative"))?;
    if until.is_reached(&board) || timeout_ms == 0 || call.session.in_exec {
        call.reply.integer(until.is_reached(&board).into());
        return Ok(());
    }
    let ticket = call.node.tickets.fetch_add(1, Ordering::Relaxed);
    park(call, projection, until, (ticket, timeout_ms));
    Ok(())
}

fn read_token(board: &Board, token: &[u8]) -> Result<Vec<(Vec<u8>, i64)>, Error> {
    let parts = token.split(|byte| *byte == b',').filter(|part| !part.is_empty());
    let read = |part: &[u8]| {
        let at = part.iter().rposition(|byte| *byte == b'=').ok_or(Error::err("that is no token"))?;
        find_partition(board, &part[..at])?;
        Ok((part[..at].to_vec(), parse_i64(&part[at + 1..]).ok_or(Error::err("that is no token"))?))
    };
    parts.map(read).collect()
}
