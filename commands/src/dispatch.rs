//! From a request to its reply: the gates in Redis' order, then the handler, then the books.

use crate::call::Call;
use crate::command::{Command, Flags};
use crate::effect::{Effect, Job, Progress, Wait};
use crate::error::{Error, QUOTED_BYTES, quoted};
use crate::families::{help, transaction};
use crate::node::Node;
use crate::projections;
use crate::services::Service;
use crate::session::{Replies, Transaction};
use crate::stats::WorkerStats;
use crate::table::Lookup;
use crate::through;
use core::sync::atomic::Ordering;
use protocol::{Args, Mark, ProtocolError, ReplyWriter};
use std::sync::Arc;

/// How a command ended, for the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and replied.
    Done,
    /// It ran and replied an error.
    Failed,
    /// A gate refused it.
    Rejected,
    /// It waits for EXEC: not run yet.
    Queued,
    /// It has not replied yet: an effect says how it goes on.
    Pending,
}

/// Runs one request: exactly one reply is written, or none and an effect tells why.
#[inline]
pub fn dispatch(call: &mut Call<'_, '_>, lookup: Lookup) -> Outcome {
    let mark = call.reply.output().mark();
    let outcome = match gates(call, lookup) {
        Gate::Run => run(call),
        Gate::Queue => {
            queue(call);
            Outcome::Queued
        }
        Gate::Reject(error) if is_exec(lookup) && call.session.authenticated => {
            let error = transaction::abort_exec(call, &error);
            refuse(call, &error);
            Outcome::Rejected
        }
        Gate::Reject(error) => {
            if let Some(transaction) = &mut call.session.transaction {
                transaction.aborted = true;
            }
            refuse(call, &error);
            Outcome::Rejected
        }
        Gate::Through(service) => {
            through::begin(call, service);
            Outcome::Pending
        }
        Gate::Postpone => {
            call.effects.push(Effect::Postpone);
            return Outcome::Pending;
        }
    };
    replied(call, mark, outcome)
}

/// Goes on with a command that was cut into slices.
pub fn resume(call: &mut Call<'_, '_>, mut job: Box<dyn Job>) -> Outcome {
    let mark = call.reply.output().mark();
    let outcome = match job.step(call) {
        Ok(Progress::More) => {
            call.effects.push(Effect::Continue(job));
            return Outcome::Pending;
        }
        Ok(Progress::Done) => Outcome::Done,
        Err(error) => {
            refuse(call, &error);
            Outcome::Failed
        }
    };
    replied(call, mark, outcome)
}

/// Goes on with a command that waited.
pub fn finish(call: &mut Call<'_, '_>, wait: Box<dyn Wait>) -> Outcome {
    let mark = call.reply.output().mark();
    let before = call.effects.len();
    let outcome = match wait.finish(call) {
        Ok(()) if call.effects[before..].iter().any(|effect| matches!(effect, Effect::Park(_))) => {
            return Outcome::Pending;
        }
        Ok(()) => Outcome::Done,
        Err(error) => {
            refuse(call, &error);
            Outcome::Failed
        }
    };
    replied(call, mark, outcome)
}

/// Ends the wait of a command with an error.
pub fn unblock(call: &mut Call<'_, '_>) -> Outcome {
    let mark = call.reply.output().mark();
    refuse(call, &Error::UNBLOCKED);
    replied(call, mark, Outcome::Failed)
}

/// A refused EXEC ends its transaction.
fn is_exec(lookup: Lookup) -> bool {
    matches!(lookup, Lookup::Command(command) if command.name == "exec")
}

enum Gate {
    Run,
    Queue,
    Reject(Error),
    Postpone,
    /// To an origin first.
    Through(Arc<Service>),
}

#[inline]
fn gates(call: &mut Call<'_, '_>, lookup: Lookup) -> Gate {
    let command = match lookup {
        Lookup::Command(command) => command,
        Lookup::Unknown => return Gate::Reject(unknown_command(call.args)),
        Lookup::UnknownSubcommand(parent) => return Gate::Reject(unknown_subcommand(parent, call.args.at(1))),
    };
    call.command = command;
    let flags = command.flags;
    if !command.accepts(call.args.len()) {
        return Gate::Reject(Error::arity(command.name));
    }
    if !call.session.authenticated && !flags.has(Flags::NO_AUTH) {
        return Gate::Reject(Error::NO_AUTH);
    }
    let in_transaction = call.session.transaction.is_some();
    if flags.has(Flags::DENYOOM) && call.store.store().memory().limit() > 0 {
        let need = call.args.byte_len() as u64;
        if !call.store.make_room(call.first_hash, need, &call.cx) {
            return Gate::Reject(Error::OOM);
        }
    }
    let now_ms = call.cx.now.0;
    if now_ms < call.node.clients.pause_end() && !flags.has(Flags::ADMIN) && !in_transaction_control(command) {
        let may_write = flags.has(Flags::WRITE) || queued_writes(call, command);
        if call.node.clients.paused_until(may_write, now_ms).is_some() {
            return Gate::Postpone;
        }
    }
    // What is queued is judged when it runs: in the database of that time.
    if call.node.projections.any()
        && !in_transaction
        && let Err(error) = projections::judge(call)
    {
        return Gate::Reject(error);
    }
    if flags.has(Flags::WRITE) && call.node.services.writes_through() {
        match through::judge(call) {
            Err(error) => return Gate::Reject(error),
            Ok(Some(service)) => return Gate::Through(service),
            Ok(None) => {}
        }
    }
    if in_transaction && !flags.has(Flags::CONTROL) {
        if flags.has(Flags::NO_MULTI) {
            return Gate::Reject(Error::err("Command not allowed inside a transaction"));
        }
        return Gate::Queue;
    }
    Gate::Run
}

/// A pause lets transactions be queued; EXEC itself is judged by what it would run.
fn in_transaction_control(command: &Command) -> bool {
    command.flags.has(Flags::CONTROL) && command.name != "exec"
}

fn queued_writes(call: &Call<'_, '_>, command: &Command) -> bool {
    command.name == "exec"
        && call.session.transaction.as_ref().is_some_and(|t| t.queued.iter().any(|(c, _)| c.flags.has(Flags::WRITE)))
}

/// Runs the command's handler, past all gates.
#[inline]
pub(crate) fn run(call: &mut Call<'_, '_>) -> Outcome {
    let effects = call.effects.len();
    match (call.command.run)(call) {
        Ok(()) => {
            let pending = |effect: &Effect| matches!(effect, Effect::Continue(_) | Effect::Postpone | Effect::Park(_));
            if call.effects[effects..].iter().any(pending) { Outcome::Pending } else { Outcome::Done }
        }
        Err(error) => {
            refuse(call, &error);
            Outcome::Failed
        }
    }
}

/// Runs a command of a transaction. What was queued before its key's service wrote through is refused here.
pub(crate) fn run_queued(call: &mut Call<'_, '_>) -> Outcome {
    let judged = if call.command.flags.has(Flags::WRITE) && call.node.services.writes_through() {
        through::judge(call).map(|_| ())
    } else {
        Ok(())
    };
    let judged = judged.and_then(|()| if call.node.projections.any() { projections::judge(call) } else { Ok(()) });
    if let Err(error) = judged {
        refuse(call, &error);
        return Outcome::Failed;
    }
    run(call)
}

#[cold]
fn refuse(call: &mut Call<'_, '_>, error: &Error) {
    answer(&mut call.reply, call.node, call.stats, error);
}

/// Writes an error reply and counts it.
fn answer(reply: &mut ReplyWriter<'_>, node: &Node, stats: &WorkerStats, error: &Error) {
    stats.errors.add(1);
    node.count_error(error.code.word());
    reply.error_bytes(&error.line());
}

/// Answers bytes that are no request, and counts the error. Nothing the peer sent after them can be understood: the
/// connection is to be closed.
#[cold]
pub fn malformed(reply: &mut ReplyWriter<'_>, node: &Node, stats: &WorkerStats, error: &ProtocolError) {
    answer(reply, node, stats, &Error::because(error.to_string()));
}

fn queue(call: &mut Call<'_, '_>) {
    let transaction = call.session.transaction.get_or_insert_with(Transaction::default);
    transaction.push(call.command, call.args.to_owned());
    call.session.client.queued.store(transaction.queued.len() as i64, Ordering::Relaxed);
    call.reply.simple("QUEUED");
}

/// What every way to a reply ends with: `CLIENT REPLY` may drop it.
#[inline]
fn replied(call: &mut Call<'_, '_>, mark: Mark, outcome: Outcome) -> Outcome {
    if outcome != Outcome::Pending && call.session.replies != Replies::On {
        mute(call, mark);
    }
    outcome
}

/// Drops the reply where `CLIENT REPLY` says so.
#[cold]
fn mute(call: &mut Call<'_, '_>, mark: Mark) {
    match call.session.replies {
        Replies::On => {}
        Replies::Off => call.reply.output().rollback(mark),
        // `CLIENT REPLY SKIP` itself replies nothing; the next command is the one skipped.
        Replies::SkipNext => {
            call.reply.output().rollback(mark);
            call.session.replies = Replies::Skip;
        }
        Replies::Skip => {
            call.reply.output().rollback(mark);
            call.session.replies = Replies::On;
        }
    }
}

/// Enters a finished command in the books: `elapsed_ns` is what it took.
#[inline]
pub fn account(call: &Call<'_, '_>, outcome: Outcome, elapsed_ns: u64) {
    let (node, stats) = (call.node, call.stats);
    let row = &stats.by_command[usize::from(call.command.wire_id)];
    match outcome {
        Outcome::Rejected => return row.rejected.add(1),
        // Counted when EXEC runs it.
        Outcome::Queued => return,
        Outcome::Done | Outcome::Failed | Outcome::Pending => {}
    }
    stats.commands.add(1);
    row.calls.add(1);
    row.ns.add(elapsed_ns);
    if outcome == Outcome::Failed {
        row.failed.add(1);
    }
    let live = &node.settings.live;
    if live.latency_tracking.load(Ordering::Relaxed) {
        row.latencies.get_or_init(Default::default).record(elapsed_ns);
    }
    let slower_than_us = live.slowlog_slower_than_us.load(Ordering::Relaxed);
    if slower_than_us >= 0 && elapsed_ns >= (slower_than_us as u64).saturating_mul(1000) {
        note_slow(call, elapsed_ns / 1000);
    }
    let threshold_ms = live.latency_threshold_ms.load(Ordering::Relaxed);
    if threshold_ms > 0 && elapsed_ns >= threshold_ms.saturating_mul(1_000_000) {
        let event = if call.command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        node.latency.record(event, call.cx.now.seconds(), elapsed_ns / 1_000_000);
    }
}

/// Enters a command that EXEC ran in the books: its time is in EXEC's.
pub(crate) fn account_queued(call: &Call<'_, '_>, outcome: Outcome) {
    let row = &call.stats.by_command[usize::from(call.command.wire_id)];
    call.stats.commands.add(1);
    row.calls.add(1);
    if outcome == Outcome::Failed {
        row.failed.add(1);
    }
}

#[cold]
fn note_slow(call: &Call<'_, '_>, duration_us: u64) {
    // EXEC shows the flag as in Redis, where the commands it runs are logged one by one. Here they have no times of
    // their own, so EXEC itself is the entry.
    if call.command.flags.has(Flags::SKIP_SLOWLOG) && call.command.name != "exec" {
        return;
    }
    let client = &call.session.client;
    let max_len = call.node.settings.live.slowlog_max_len.load(Ordering::Relaxed);
    let name = client.names.lock().name.clone();
    call.node.slowlog.record(call.args, duration_us, call.cx.now.seconds(), &client.address, &name, max_len);
}

#[cold]
fn unknown_command(args: Args<'_>) -> Error {
    let mut listed = Vec::new();
    for arg in args.iter().skip(1) {
        if listed.len() >= QUOTED_BYTES {
            break;
        }
        let room = QUOTED_BYTES - listed.len();
        listed.push(b'\'');
        listed.extend_from_slice(quoted(arg, room));
        listed.extend_from_slice(b"' ");
    }
    let mut error = Error::quoting("unknown command '", args.at(0), "', with args beginning with: ");
    error.text.to_mut().append(&mut listed);
    error
}

#[cold]
fn unknown_subcommand(parent: &Command, name: &[u8]) -> Error {
    help::unfit("unknown subcommand", parent, name)
}

#[cfg(test)]
mod tests {
    use super::malformed;
    use crate::testkit::Testkit;
    use protocol::{Output, Protocol, ProtocolError, ReplyWriter};

    #[test]
    fn what_is_no_request_is_in_the_books() {
        let t = Testkit::new();
        let mut output = Output::new();
        let mut reply = ReplyWriter::new(&mut output, Protocol::Resp2);
        malformed(&mut reply, &t.node, t.stats(), &ProtocolError::ExpectedBulk(b'x'));
        assert_eq!(output.as_single(), Some(&b"-ERR Protocol error: expected '$', got 'x'\r\n"[..]));
        assert_eq!((t.errors("ERR"), t.stats().errors.value(), t.stats().commands.value()), (1, 1, 0));
    }

    #[test]
    fn quotes_are_short() {
        let mut t = Testkit::new();
        let (long, quoted) = ("x".repeat(200), "x".repeat(128));
        let listed = |text: &str| format!("ERR unknown command '{quoted}', with args beginning with: {text}");
        assert_eq!(t.error(&long), listed(""));
        assert_eq!(t.error(&format!("{long} a {long} b")), listed(&format!("'a' '{}' ", "x".repeat(124))));
        assert_eq!(t.error(&format!("CONFIG {long}")), format!("ERR unknown subcommand '{quoted}'. Try CONFIG HELP."));
        assert_eq!(t.error(&format!("CLIENT KILL USER {long}")), format!("ERR No such user '{quoted}'"));
    }
}
