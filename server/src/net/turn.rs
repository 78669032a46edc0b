//! One wake-up of a core, in phases: receive from all ready connections, parse round robin, run in order, send once.
//!
//! ```text
//! A  receive once per ready connection, into one shared buffer while nothing is pending
//! B  parse round robin, some commands per connection: row, first key's hash
//! C  ask the memory for the bucket of every first key    D  then for the entry the bucket leads to
//! E  one batch in the store: run in each connection's order, replies to its own output
//!    B and E again until no complete command is left or a connection had its share
//! F  one write per connection
//! ```

use super::connection::{Connection, Hold, LongCommand, Received};
use super::hold;
use super::reactor::Reactor;
use super::slots::Token;
use commands::call::Call;
use commands::command::Command;
use commands::dispatch::{self, Outcome};
use commands::effect::Effect;
use commands::table::{self, Lookup};
use core::ops::Range;
use core::sync::atomic::Ordering;
use protocol::{Args, Limits, Output, ProtocolError, ReplyWriter, Span, Status};
use std::mem;
use storage::{Cx, Db, KeyHash, Millis};

/// Bytes of the shared receive buffer: what stays in a core's second-level cache.
pub const ARENA_BYTES: usize = 256 * 1024;
/// Least room left in it to receive from one more connection.
const ARENA_PIECE_BYTES: usize = 16 * 1024;
/// Most bytes received from one connection into it.
const ARENA_SHARE_BYTES: usize = 64 * 1024;
/// Commands parsed of one connection before the next one's turn.
const ROUND_COMMANDS: usize = 32;
/// Commands run, and bytes of replies made, for one connection in one turn.
const TURN_COMMANDS: usize = 256;
const TURN_REPLY_BYTES: usize = 64 * 1024;

/// Buffers a core reuses from turn to turn.
pub struct Batch {
    arena: Vec<u8>,
    inputs: Vec<Input>,
    items: Vec<Item>,
    spans: Vec<Span>,
    effects: Vec<Effect>,
    /// Buffers for replies, empty.
    spare: Vec<Vec<u8>>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            arena: vec![0; ARENA_BYTES],
            inputs: Vec::new(),
            items: Vec::new(),
            spans: Vec::new(),
            effects: Vec::new(),
            spare: Vec::new(),
        }
    }
}

/// What a connection brought into this turn.
struct Input {
    token: Token,
    /// Where its bytes are: in the arena, or (`None`) pending in the connection.
    arena: Option<Range<usize>>,
    /// Offset up to which bytes were parsed, and up to which they were run.
    parsed: usize,
    run: usize,
    commands: usize,
    /// Bytes that waited to be sent when the turn began.
    unsent: usize,
    /// A request run before that is to be decoded once more, before all others.
    again: Vec<u8>,
    /// A parsed request was left out: those behind it must be as well.
    cut: bool,
    /// Nothing more to parse in this turn.
    settled: bool,
}

impl Input {
    /// Whether the connection had its share of replies in this turn.
    fn has_replied(&self, connection: &Connection) -> bool {
        connection.output.len().saturating_sub(self.unsent) >= TURN_REPLY_BYTES
    }
}

/// One parsed request.
struct Item {
    input: u32,
    bytes: Range<usize>,
    spans: Range<usize>,
    first_hash: Option<KeyHash>,
    /// The database selected when it was parsed: for the hint only, an earlier SELECT of the batch may change it.
    db: Db,
    what: What,
}

enum What {
    Request(Lookup),
    Malformed(ProtocolError),
}

/// Buffers kept for replies, and the largest one worth keeping.
const SPARE_BUFFERS: usize = 64;
const SPARE_BUFFER_BYTES: usize = 256 * 1024;

impl Reactor {
    /// Serves the connections in `ready`, in this order.
    pub(super) fn turn(&mut self, ready: &[Token]) {
        let now_ms = self.now_ms;
        self.limits.max_bulk = self.shared.node.settings.live.max_bulk_bytes.load(Ordering::Relaxed);
        let mut rest = ready;
        while !rest.is_empty() {
            let taken = self.receive(rest);
            rest = &rest[taken..];
            #[cfg(feature = "histogram")]
            self.pauses.pass_over();
            loop {
                self.parse();
                if self.batch.items.is_empty() {
                    break;
                }
                self.execute();
            }
            self.finish(now_ms);
        }
    }

    /// Phase A. Returns of how many connections it took the bytes before the buffer was full.
    fn receive(&mut self, ready: &[Token]) -> usize {
        let batch = &mut self.batch;
        batch.inputs.clear();
        let mut filled = 0;
        for (taken, token) in ready.iter().enumerate() {
            if batch.arena.len() - filled < ARENA_PIECE_BYTES {
                return taken;
            }
            let Some(connection) = self.slots.find(*token) else { continue };
            let mut input = Input {
                token: *token,
                arena: None,
                parsed: 0,
                run: 0,
                commands: 0,
                unsent: connection.output.len(),
                again: Vec::new(),
                cut: false,
                settled: false,
            };
            let carried = mem::take(&mut connection.carried);
            let received = if !connection.reading || connection.closing {
                Received::Nothing
            } else if connection.pending().is_empty() {
                let end = batch.arena.len().min(filled + ARENA_SHARE_BYTES);
                let received = connection.receive_into(&mut batch.arena[filled..end]);
                if let Received::Bytes(bytes) = received {
                    input.arena = Some(filled..filled + bytes);
                    filled += bytes;
                }
                received
            } else if carried {
                // Its buffer still holds whole requests: they come first.
                Received::Nothing
            } else {
                connection.receive_more(&mut batch.arena[filled..])
            };
            match received {
                Received::Bytes(bytes) => self.stats.input_bytes.add(bytes as u64),
                Received::Nothing => {}
                Received::End => connection.broken = true,
            }
            batch.inputs.push(input);
        }
        ready.len()
    }

    /// Phase B: up to [`ROUND_COMMANDS`] requests of each connection into `items`.
    fn parse(&mut self) {
        let Batch { arena, inputs, items, spans, .. } = &mut self.batch;
        items.clear();
        spans.clear();
        let hasher = self.shared.store.hasher();
        for (index, input) in inputs.iter_mut().enumerate() {
            if input.settled {
                continue;
            }
            let Some(connection) = self.slots.find(input.token) else { continue };
            if !connection.runs() {
                input.settled = true;
                continue;
            }
            let authenticated = connection.session.authenticated;
            let limits = Limits { authenticated, ..self.limits };
            // Before login the next request may change what the ones after it are allowed: one at a time.
            let round = if authenticated { ROUND_COMMANDS } else { 1 };
            let mut decoder = mem::take(&mut connection.decoder);
            let mut last = connection.last;
            let mut missing = 0;
            let db = connection.session.db;
            let bytes = match &input.arena {
                Some(range) => &mut arena[range.clone()],
                None => connection.pending_mut(),
            };
            for nth in 0..round {
                let first_span = spans.len();
                let start = input.parsed;
                // Decoding an inline request rewrites its bytes: it is parsed alone, so that it is never parsed twice.
                let inline = bytes.get(start).is_some_and(|byte| !matches!(byte, b'*' | b'\r' | b'\n'));
                if inline && nth > 0 {
                    break;
                }
                match decoder.decode(&mut bytes[start..], &limits, spans) {
                    Ok(Status::Complete { consumed, .. }) => {
                        input.parsed += consumed;
                        let request = Args::new(&bytes[start..input.parsed], &spans[first_span..]);
                        let lookup = look_up(request, &mut last);
                        items.push(Item {
                            input: index as u32,
                            bytes: start..input.parsed,
                            spans: first_span..spans.len(),
                            first_hash: first_key(request, lookup).map(|key| hasher.hash(key)),
                            db,
                            what: What::Request(lookup),
                        });
                        if inline {
                            break;
                        }
                    }
                    Ok(Status::Skipped { consumed }) => {
                        input.parsed += consumed;
                        items.push(Item::nothing(index, start..input.parsed));
                    }
                    Ok(Status::Incomplete { wanted }) => {
                        missing = wanted;
                        input.settled = true;
                        break;
                    }
                    Err(error) => {
                        let what = What::Malformed(error);
                        items.push(Item { what, ..Item::nothing(index, start..bytes.len()) });
                        input.settled = true;
                        break;
                    }
                }
            }
            connection.decoder = decoder;
            connection.last = last;
            connection.wanted = missing;
        }
    }

    /// Phase E: runs `items` in one batch of the store.
    fn execute(&mut self) {
        let Self {
            batch,
            slots,
            shared,
            stats,
            clock,
            participant,
            waiting,
            parked,
            jobs,
            draws,
            seed,
            now_ms,
            steady_ms,
            #[cfg(feature = "histogram")]
            pauses,
            ..
        } = self;
        let Batch { arena, inputs, items, spans, effects, spare } = batch;
        // A soft revoke that was replied to lies in the past of every command that begins after that.
        let now = Millis(*now_ms).max(shared.store.not_before());
        let mut access = participant.batch();
        let items = &*items;
        let key_at = |at: usize| items.get(at).and_then(|item| Some((item.db, item.first_hash?)));
        let mut before = clock.ticks();
        let mut long: Vec<Token> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if items.len() > 1 {
                access.prefetch_ahead(at, key_at);
            }
            let input = &mut inputs[item.input as usize];
            let Some(connection) = slots.find(input.token) else { continue };
            if !connection.runs() || input.has_replied(connection) {
                // Parsed, but not to be run in this turn: it is parsed again.
                input.settled = true;
                input.cut = true;
                continue;
            }
            if input.cut {
                continue;
            }
            let lookup = match &item.what {
                What::Request(lookup) => *lookup,
                What::Malformed(error) => {
                    let mut reply = ReplyWriter::new(&mut connection.output, connection.session.protocol);
                    dispatch::malformed(&mut reply, &shared.node, stats, error);
                    connection.closing = true;
                    input.run = item.bytes.end;
                    continue;
                }
            };
            input.commands += 1;
            input.settled |= input.commands >= TURN_COMMANDS;
            if item.spans.is_empty() {
                input.run = item.bytes.end;
                continue;
            }
            if connection.output.is_empty()
                && let Some(buffer) = spare.pop()
            {
                connection.output = Output::with_buffer(buffer);
            }
            let arena_bytes = input.arena.as_ref().map(|range| &arena[range.clone()]);
            let (pending, session, output) = connection.parts();
            let bytes = &arena_bytes.unwrap_or(pending)[item.bytes.clone()];
            *draws = draws.wrapping_add(1);
            let mut call = Call {
                command: &UNKNOWN,
                args: Args::new(bytes, &spans[item.spans.clone()]),
                first_hash: item.first_hash,
                reply: ReplyWriter::new(output, session.protocol),
                session,
                store: &mut access,
                cx: Cx { now, steady_ms: *steady_ms, seed: seed.wrapping_add(*draws) },
                node: &shared.node,
                stats,
                effects: &mut *effects,
            };
            let outcome = dispatch::dispatch(&mut call, lookup);
            let after = clock.ticks();
            let elapsed_ns = clock.ns_between(mem::replace(&mut before, after), after);
            #[cfg(feature = "histogram")]
            if pauses.record(elapsed_ns, &call.stats.pauses) {
                before = clock.ticks();
            }
            let command = call.command;
            if outcome == Outcome::Pending
                && bytes[0] != b'*'
                && call.effects.iter().any(|effect| matches!(effect, Effect::Postpone))
            {
                // It will be decoded anew, in the form that bears that.
                call.args.encode(&mut input.again);
            }
            if outcome != Outcome::Pending {
                dispatch::account(&call, outcome, elapsed_ns);
            }
            let mut advance = true;
            if !effects.is_empty() {
                for effect in effects.drain(..) {
                    match effect {
                        Effect::Close => connection.closing = true,
                        Effect::Shutdown => shared.stop.request(),
                        Effect::HoldUntil(until_ms) => connection.hold = Some(Hold::Until(until_ms)),
                        Effect::Postpone => {
                            connection.hold = Some(Hold::Pause);
                            advance = !input.again.is_empty();
                        }
                        Effect::Continue(job) => {
                            let long_command = LongCommand::new(job, command, item, elapsed_ns);
                            connection.hold = Some(Hold::Job(Box::new(long_command)));
                            long.push(input.token);
                            advance = false;
                        }
                        Effect::Park(wait) => {
                            parked.insert(wait.ticket(), input.token);
                            connection.session.client.blocked.set(true);
                            let long_command = LongCommand::new(wait, command, item, elapsed_ns);
                            connection.hold = Some(Hold::Parked(Box::new(long_command)));
                            long.push(input.token);
                            advance = false;
                        }
                    }
                }
                match &connection.hold {
                    None => {}
                    Some(Hold::Job(_)) => jobs.push_back(input.token),
                    Some(Hold::Pause | Hold::Until(_) | Hold::Parked(_)) => {
                        let known = mem::replace(&mut connection.waiting, true);
                        waiting.extend((!known).then_some(input.token));
                    }
                }
            }
            if advance {
                input.run = item.bytes.end;
            }
            input.settled |= input.has_replied(connection);
        }
        if !long.is_empty() {
            hold::hand_over_spans(slots, spans, &long);
        }
    }

    /// Phase F: keeps what was not run, sends, and closes what is to be closed.
    fn finish(&mut self, now_ms: u64) {
        for at in 0..self.batch.inputs.len() {
            let input = &mut self.batch.inputs[at];
            let (token, run) = (input.token, input.run);
            let again_from_run = input.cut || input.parsed > run;
            let (arena, again) = (input.arena.take(), mem::take(&mut input.again));
            let Some(connection) = self.slots.find(token) else { continue };
            match arena {
                Some(range) if run < range.len() => connection.keep(&self.batch.arena[range][run..]),
                Some(_) => {}
                None => connection.consume(run),
            }
            if !again.is_empty() {
                connection.put_back(again);
            }
            if again_from_run && !connection.closing {
                // What was parsed beyond the last request run, or found malformed there, is parsed again: the decoder
                // stands between requests.
                connection.decoder = protocol::Decoder::new();
            }
            // More whole requests may be waiting: those beyond this turn's share, or beyond a round.
            if connection.runs()
                && !connection.pending().is_empty()
                && connection.decoder.is_idle()
                && !connection.carried
            {
                connection.carried = true;
                self.carried.push(token);
            }
            self.settle(token, now_ms);
        }
    }

    /// Sends what a connection has to send, books its buffers, and closes it if it is at its end.
    pub(super) fn settle(&mut self, token: Token, now_ms: u64) {
        let Some(connection) = self.slots.find(token) else { return };
        if !matches!(connection.hold, Some(Hold::Until(_))) {
            let sent = connection.send();
            self.stats.output_bytes.add(sent as u64);
        }
        let done = connection.output.is_empty();
        if done {
            // Kept for another connection or freed: idle ones hold no buffer.
            let buffer = connection.output.take_buffer();
            if self.batch.spare.len() < SPARE_BUFFERS && (1..=SPARE_BUFFER_BYTES).contains(&buffer.capacity()) {
                self.batch.spare.push(buffer);
            }
        }
        if connection.broken || (connection.closing && done) {
            self.close(token);
            return;
        }
        connection.publish(now_ms);
        let booked = connection.held_bytes();
        if booked != connection.booked {
            let delta = booked as i64 - mem::replace(&mut connection.booked, booked) as i64;
            self.shared.store.memory().charge_outside(delta);
        }
        let reading = connection.runs();
        let writing = !done && !matches!(connection.hold, Some(Hold::Until(_)));
        if reading != connection.reading || writing != connection.writing {
            self.ask_for(token, reading, writing);
        }
        if !done || booked > 0 {
            self.check_limits(token, now_ms);
        }
    }

    /// Closes a connection whose unsent replies or unfinished request pass the configured limits.
    pub(super) fn check_limits(&mut self, token: Token, now_ms: u64) {
        let live = &self.shared.node.settings.live;
        let Some(connection) = self.slots.find(token) else { return };
        let output = connection.output.len();
        let exceeds = |limit: usize| limit > 0 && output > limit;
        let soft_ms = live.output_soft_s.load(Ordering::Relaxed) * 1000;
        if !exceeds(live.output_soft_bytes.load(Ordering::Relaxed)) {
            connection.above_soft_since_ms = None;
        } else if connection.above_soft_since_ms.is_none() {
            connection.above_soft_since_ms = Some(now_ms);
        }
        let too_long = connection.above_soft_since_ms.is_some_and(|since| now_ms.saturating_sub(since) > soft_ms);
        let query = connection.pending().len() + connection.session.queued_bytes();
        let client = &connection.session.client;
        if exceeds(live.output_hard_bytes.load(Ordering::Relaxed)) || too_long {
            tracing::warn!(client = client.id, address = client.address, output, "closed: replies piled up");
            self.stats.output_limit_closed.add(1);
            self.close(token);
        } else if query > live.query_buffer_bytes.load(Ordering::Relaxed) {
            tracing::warn!(client = client.id, address = client.address, query, "closed: query buffer limit");
            self.close(token);
        }
    }
}

impl<T> LongCommand<T> {
    /// A command of which `rest` is still to be done; its arguments are [handed over](hold::hand_over_spans) later.
    fn new(rest: T, command: &'static Command, item: &Item, elapsed_ns: u64) -> Self {
        let (spans, args) = (Vec::new(), item.spans.clone());
        Self { rest, command, spans, args, request_bytes: item.bytes.len(), elapsed_ns }
    }
}

impl Item {
    /// An item without arguments: bytes to pass over.
    fn nothing(input: usize, bytes: Range<usize>) -> Self {
        Self {
            input: input as u32,
            bytes,
            spans: 0..0,
            first_hash: None,
            db: Db(0),
            what: What::Request(Lookup::Unknown),
        }
    }
}

/// Stands in a [`Call`] until dispatch has found the row.
static UNKNOWN: Command = Command {
    name: "unknown",
    wire_id: 0,
    arity: -1,
    keys: commands::command::Keys::NONE,
    flags: commands::command::Flags::NONE,
    group: commands::command::Group::Server,
    since: "",
    complexity: "",
    summary: "",
    usage: "",
    subcommands: &[],
    run: |_| Ok(()),
};

/// The row of a request; the connection's last one is tried first.
#[inline]
fn look_up(request: Args<'_>, last: &mut Option<&'static Command>) -> Lookup {
    if let Some(command) = *last
        && command.subcommands.is_empty()
        && request.at(0).eq_ignore_ascii_case(command.name.as_bytes())
        && !command.is_subcommand()
    {
        return Lookup::Command(command);
    }
    let lookup = table::find(request);
    if let Lookup::Command(command) = lookup {
        *last = Some(command);
    }
    lookup
}

#[inline]
fn first_key(request: Args<'_>, lookup: Lookup) -> Option<&[u8]> {
    match lookup {
        Lookup::Command(command) if command.keys.first > 0 => request.get(usize::from(command.keys.first)),
        _ => None,
    }
}
