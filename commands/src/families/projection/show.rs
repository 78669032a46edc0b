//! How projections stand, and what is asked of their runners.

use crate::call::Call;
use crate::error::Error;
use crate::projections::{Asked, Board, PartitionBoard, Projection};
use protocol::ReplyWriter;
use protocol::number::parse_i64;
use std::sync::Arc;
use storage::Provenance;

/// Errors returned unless asked for another number.
const DEFAULT_ERRORS: usize = 10;

/// The projection that the first argument names.
pub(super) fn named<'c>(call: &Call<'c, '_>) -> Result<&'c Arc<Projection>, Error> {
    call.node.projections.named(call.args.at(1))
}

/// The name of a partition: its number, behind its topic where there are several.
pub(super) fn partition_name(board: &Board, partition: &PartitionBoard) -> String {
    if board.has_topics {
        format!("{}/{}", partition.topic, partition.partition)
    } else {
        partition.partition.to_string()
    }
}

/// The partition that a word names.
pub(super) fn find_partition<'b>(board: &'b Board, word: &[u8]) -> Result<&'b PartitionBoard, Error> {
    let found = board.partitions.iter().find(|partition| partition_name(board, partition).as_bytes() == word);
    found.ok_or(Error::err("no such partition"))
}

/// What stands for the offsets of all partitions.
pub(super) fn token(board: &Board) -> String {
    let part = |partition: &PartitionBoard| format!("{}={}", partition_name(board, partition), partition.applied);
    board.partitions.iter().map(part).collect::<Vec<_>>().join(",")
}

pub(super) fn list(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let all = call.node.projections.all();
    call.reply.array(all.len());
    for projection in all {
        call.reply.array(2);
        call.reply.bulk_str(&projection.name);
        call.reply.bulk_str(projection.board().state);
    }
    Ok(())
}

fn pair(reply: &mut ReplyWriter<'_>, name: &str, text: &str) {
    reply.bulk_str(name);
    reply.bulk_str(text);
}

fn number(reply: &mut ReplyWriter<'_>, name: &str, value: i64) {
    reply.bulk_str(name);
    reply.integer(value);
}

pub(super) fn info(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = named(call)?;
    let with_partitions = match call.args.len() {
        2 => false,
        3 if call.is_word(2, "PARTITIONS") => true,
        _ => return Err(Error::SYNTAX),
    };
    let board = projection.board();
    let reply = &mut call.reply;
    reply.map(12 + board.counts.len() + board.kept.len() + usize::from(with_partitions));
    pair(reply, "name", &projection.name);
    pair(reply, "state", board.state);
    number(reply, "db", projection.db.0.into());
    reply.bulk_str("prefix");
    reply.bulk(&projection.prefix);
    number(reply, "is_ready", board.is_ready.into());
    number(reply, "partitions_ready", board.ready as i64);
    number(reply, "partitions_total", board.partitions.len() as i64);
    number(reply, "percent", board.percent as i64);
    number(reply, "lag", board.lag);
    number(reply, "lag_ms", board.lag_ms as i64);
    pair(reply, "flags", &board.flags.join(","));
    pair(reply, "last_error", &board.last_error);
    for (name, count) in board.counts.iter().chain(&board.kept) {
        number(reply, name, *count as i64);
    }
    if with_partitions {
        reply.bulk_str("partitions");
        reply.array(board.partitions.len());
        for partition in &board.partitions {
            reply.map(9);
            pair(reply, "topic", &partition.topic);
            number(reply, "partition", partition.partition.into());
            pair(reply, "state", partition.state);
            number(reply, "applied", partition.applied);
            number(reply, "log_start", partition.log.0);
            number(reply, "log_end", partition.log.1);
            number(reply, "lag", partition.lag);
            number(reply, "lag_ms", partition.lag_ms.map_or(-1, |ms| ms as i64));
            number(reply, "stable_end", partition.stable_end.unwrap_or(-1));
        }
    }
    Ok(())
}

pub(super) fn offsets(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let board = named(call)?.board();
    call.reply.map(board.partitions.len() + 1);
    for partition in &board.partitions {
        number(&mut call.reply, &partition_name(&board, partition), partition.applied);
    }
    pair(&mut call.reply, "token", &token(&board));
    Ok(())
}

/// Which partition is meant: by topic and number, or all.
fn which(call: &Call<'_, '_>, board: &Board) -> Result<Option<(String, i32)>, Error> {
    match call.args.len() {
        2 => Ok(None),
        4 if call.is_word(2, "PARTITION") => {
            let partition = find_partition(board, call.args.at(3))?;
            Ok(Some((partition.topic.to_string(), partition.partition)))
        }
        _ => Err(Error::SYNTAX),
    }
}

fn set_paused(call: &mut Call<'_, '_>, paused: bool) -> Result<(), Error> {
    let projection = named(call)?;
    let board = projection.board();
    let which = which(call, &board)?;
    let is_meant = |partition: &&PartitionBoard| {
        let names = |(topic, number): &(String, i32)| **topic == *partition.topic && *number == partition.partition;
        which.as_ref().is_none_or(names) && partition.is_paused != paused
    };
    let changed = board.partitions.iter().filter(is_meant).count();
    projection.ask(if paused { Asked::Pause(which) } else { Asked::Resume(which) })?;
    call.reply.integer(changed as i64);
    Ok(())
}

pub(super) fn pause(call: &mut Call<'_, '_>) -> Result<(), Error> {
    set_paused(call, true)
}

pub(super) fn resume(call: &mut Call<'_, '_>) -> Result<(), Error> {
    set_paused(call, false)
}

pub(super) fn rebuild(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = named(call)?;
    let is_shadow = match call.args.len() {
        2 => false,
        3 if call.is_word(2, "SWEEP") => false,
        3 if call.is_word(2, "SHADOW") => true,
        _ => return Err(Error::SYNTAX),
    };
    projection.ask(Asked::Rebuild { is_shadow })?;
    call.reply.ok();
    Ok(())
}

pub(super) fn skip(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = named(call)?;
    let board = projection.board();
    let (partition, offset) = (find_partition(&board, call.args.at(2))?, call.integer(3)?);
    let is_it = partition.blocked_at == Some(offset);
    if is_it {
        projection.ask(Asked::Skip(partition.topic.to_string(), partition.partition, offset))?;
    }
    call.reply.integer(is_it.into());
    Ok(())
}

pub(super) fn errors(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = named(call)?;
    let (mut count, mut reset, mut index) = (DEFAULT_ERRORS, false, 2);
    while index < call.args.len() {
        if call.is_word(index, "COUNT") {
            let asked = call.args.get(index + 1).and_then(parse_i64).ok_or(Error::NOT_INTEGER)?;
            count = usize::try_from(asked).map_err(|_| Error::err("count should be 0 or more"))?;
            index += 2;
        } else if call.is_word(index, "RESET") {
            reset = true;
            index += 1;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    let board = projection.board();
    let lines = &board.errors[..board.errors.len().min(count)];
    let reply = &mut call.reply;
    reply.array(lines.len());
    for line in lines {
        reply.map(6);
        pair(reply, "class", line.class);
        pair(reply, "topic", &line.topic);
        number(reply, "partition", line.partition.into());
        number(reply, "offset", line.offset);
        number(reply, "time", line.at_ms as i64);
        pair(reply, "text", &line.text);
    }
    if reset {
        projection.ask(Asked::ResetErrors)?;
    }
    Ok(())
}

pub(super) fn key(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let owner = call.node.projections.owner(call.db(), call.args.at(1));
    // An entry of its keys that was made of no record is one that somebody wrote.
    let written = Provenance { source: Provenance::LOCAL, offset: u64::MAX, ..Provenance::default() };
    let provenance = call.first(|slot, _| slot.live().map(|live| live.provenance().unwrap_or(written)));
    let (Some(owner), Some(provenance)) = (owner, provenance) else {
        call.reply.null();
        return Ok(());
    };
    let board = owner.board();
    let topic = board.sources.iter().find(|(number, ..)| *number == provenance.source);
    let reply = &mut call.reply;
    reply.map(7);
    pair(reply, "projection", &owner.name);
    pair(reply, "topic", topic.map_or("", |(_, topic, _)| topic));
    number(reply, "partition", provenance.partition.into());
    number(reply, "offset", provenance.offset as i64);
    number(reply, "timestamp", provenance.time.0 as i64);
    number(reply, "schema_id", provenance.schema.into());
    number(reply, "local", provenance.is_local().into());
    Ok(())
}

pub(super) fn describe(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let projection = named(call)?;
    call.reply.bulk_str(&projection.description);
    Ok(())
}
