//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! EXEC is one step for everybody else. It holds the stripes of all keys that the queued commands name and of all
//! watched keys, or the whole store where a queued command may touch other keys; the watches are judged inside. Errors
//! of single commands stop nothing and undo nothing.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::dispatch;
use crate::error::{Code, Error};
use crate::session::{Session, Transaction};
use protocol::ReplyWriter;
use storage::{Access, Cx, KeyHash, Watch};

const CONTROL_FLAGS: Flags =
    Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        wire_id: 170,
        arity: 1,
        keys: Keys::NONE,
        flags: CONTROL_FLAGS.and(Flags::CONTROL),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Begins a transaction: commands are queued until EXEC.",
        usage: "",
        subcommands: &[],
        run: multi,
    },
    Command {
        name: "exec",
        wire_id: 171,
        arity: 1,
        keys: Keys::NONE,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::SKIP_SLOWLOG).and(Flags::CONTROL),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "That of the queued commands",
        summary: "Runs the queued commands in one step, unless a watched key has changed.",
        usage: "",
        subcommands: &[],
        run: exec,
    },
    Command {
        name: "discard",
        wire_id: 172,
        arity: 1,
        keys: Keys::NONE,
        flags: CONTROL_FLAGS.and(Flags::CONTROL),
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), N being the number of watched keys and queued commands",
        summary: "Drops the queued commands and all watches.",
        usage: "",
        subcommands: &[],
        run: discard,
    },
    Command {
        name: "watch",
        wire_id: 173,
        arity: -2,
        keys: Keys::ALL,
        flags: CONTROL_FLAGS.and(Flags::CONTROL),
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(N), N being the number of keys",
        summary: "Makes the next EXEC run only if these keys have not changed until then.",
        usage: "key ...",
        subcommands: &[],
        run: watch,
    },
    Command {
        name: "unwatch",
        wire_id: 174,
        arity: 1,
        keys: Keys::NONE,
        flags: CONTROL_FLAGS,
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(N), N being the number of watched keys",
        summary: "Ends all watches of the connection.",
        usage: "",
        subcommands: &[],
        run: unwatch,
    },
];

/// Watches a new key is compared with. Watching a key twice is harmless: this only keeps clients that watch the same
/// few keys over and over from piling them up.
const COMPARED_WATCHES: usize = 128;

/// Forgets the queued commands and all watches: for RESET, and for connections that end.
pub fn reset_transaction(session: &mut Session, store: &mut Access<'_>) {
    session.transaction = None;
    for watch in session.watches.drain(..) {
        store.unwatch(&watch);
    }
}

/// Ends the transaction because EXEC itself was refused with `error`; returns what EXEC answers then.
#[cold]
pub(crate) fn abort_exec(call: &mut Call<'_, '_>, error: &Error) -> Error {
    reset_transaction(call.session, call.store);
    let mut text = b"Transaction discarded because of: ".to_vec();
    match error.code {
        Code::Err => text.extend_from_slice(&error.text),
        _ => text.extend_from_slice(&error.line()),
    }
    Error { code: Code::ExecAbort, text: text.into() }
}

fn multi(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.session.transaction.is_some() {
        return Err(Error::err("MULTI calls can not be nested"));
    }
    call.session.transaction = Some(Transaction::default());
    call.reply.ok();
    Ok(())
}

fn discard(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.session.transaction.is_none() {
        return Err(Error::err("DISCARD without MULTI"));
    }
    reset_transaction(call.session, call.store);
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let session = &mut *call.session;
    if session.transaction.is_some() {
        return Err(Error::err("WATCH inside MULTI is not allowed"));
    }
    for key in call.args.iter().skip(1) {
        let mut known = session.watches.iter().rev().take(COMPARED_WATCHES);
        if !known.any(|watch| watch.is_of(session.db, key)) {
            session.watches.push(call.store.watch(session.db, key, &call.cx));
        }
    }
    call.reply.ok();
    Ok(())
}

fn unwatch(call: &mut Call<'_, '_>) -> Result<(), Error> {
    for watch in call.session.watches.drain(..) {
        call.store.unwatch(&watch);
    }
    call.reply.ok();
    Ok(())
}

fn exec(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let Some(transaction) = call.session.transaction.take() else {
        return Err(Error::err("EXEC without MULTI"));
    };
    let watches = core::mem::take(&mut call.session.watches);
    let result = exec_queued(call, &transaction, &watches);
    for watch in &watches {
        call.store.unwatch(watch);
    }
    result
}

fn exec_queued(call: &mut Call<'_, '_>, transaction: &Transaction, watches: &[Watch]) -> Result<(), Error> {
    if transaction.aborted {
        return Err(Error::EXEC_ABORT);
    }
    let growing = transaction.queued.iter().filter(|(command, _)| command.flags.has(Flags::DENYOOM));
    let need: usize = growing.map(|(_, request)| request.as_args().byte_len()).sum();
    if need > 0 && !call.store.make_room(None, need as u64, &call.cx) {
        return Err(abort_exec(call, &Error::OOM));
    }
    let reaches_beyond =
        |(command, _): &(&Command, _)| [Flags::KEYSPACE, Flags::MOVABLE_KEYS].iter().any(|f| command.flags.has(*f));
    if transaction.queued.iter().any(reaches_beyond) {
        let Call { session, store, reply, cx, node, stats, effects, .. } = call;
        store.exclusively(|store| {
            Running { session, reply, cx: *cx, node, stats, effects }.run(store, transaction, watches);
        });
    } else {
        let queued = transaction.queued.iter().flat_map(|(command, request)| command.keys_of(request.as_args()));
        let named: Vec<KeyHash> = queued
            .map(|key| call.store.hash(key))
            .chain(watches.iter().map(|watch| call.store.watch_hash(watch)))
            .collect();
        let Call { session, store, reply, cx, node, stats, effects, .. } = call;
        store.atomically(named, |store| {
            Running { session, reply, cx: *cx, node, stats, effects }.run(store, transaction, watches);
        });
    }
    Ok(())
}

/// A call but for the store, which is handed in once it is held.
struct Running<'r, 'c> {
    session: &'r mut Session,
    reply: &'r mut ReplyWriter<'c>,
    cx: Cx,
    node: &'r crate::node::Node,
    stats: &'r crate::stats::WorkerStats,
    effects: &'r mut Vec<crate::effect::Effect>,
}

impl Running<'_, '_> {
    /// Runs the commands one after the other, unless a watched key has changed.
    fn run(self, store: &mut Access<'_>, transaction: &Transaction, watches: &[Watch]) {
        let Self { session, reply, cx, node, stats, effects } = self;
        if watches.iter().any(|watch| store.is_changed(watch, &cx)) {
            reply.null_array();
            return;
        }
        reply.array(transaction.queued.len());
        let nested = core::mem::replace(&mut session.in_exec, true);
        for (number, (command, request)) in transaction.queued.iter().enumerate() {
            // HELLO may change the protocol on the way.
            let protocol = session.protocol;
            let mut call = Call {
                command,
                args: request.as_args(),
                first_hash: None,
                session,
                store,
                reply: ReplyWriter::new(reply.output(), protocol),
                cx: Cx { seed: cx.seed.wrapping_add((number as u64 + 1) << 32), ..cx },
                node,
                stats,
                effects,
            };
            let outcome = dispatch::run_queued(&mut call);
            dispatch::account_queued(&call, outcome);
        }
        session.in_exec = nested;
    }
}

#[cfg(test)]
mod tests;
