//! Connections whose commands wait: paused, asleep, or busy with a long command that is run in slices.

use super::connection::Hold;
use super::reactor::Reactor;
use super::slots::{Slots, Token};
use commands::call::Call;
use commands::dispatch::{self, Outcome};
use commands::effect::Effect;
use protocol::{Args, ReplyWriter, Span};
use std::mem;
use storage::{Cx, Millis};

/// Longest time given to long commands in one wake-up, ns, beyond the slice that passes it.
const SLICES_NS: u64 = 300_000;

/// Gives long commands the positions of their arguments: to the last one the vector itself, since a request of a
/// million arguments is not worth copying.
#[cold]
pub(super) fn hand_over_spans(slots: &mut Slots, spans: &mut Vec<Span>, long: &[Token]) {
    for (at, token) in long.iter().enumerate() {
        let Some(Hold::Job(command)) = slots.find(*token).and_then(|connection| connection.hold.as_mut()) else {
            continue;
        };
        if at + 1 == long.len() {
            command.spans = mem::take(spans);
        } else {
            command.spans = spans[command.args.clone()].to_vec();
            command.args = 0..command.spans.len();
        }
    }
}

impl Reactor {
    /// Lets paused and sleeping connections go on whose wait has ended.
    pub(super) fn tend_waiting(&mut self) {
        let now_ms = self.now_ms;
        for token in mem::take(&mut self.waiting) {
            let Some(connection) = self.slots.find(token) else { continue };
            let over = match &connection.hold {
                Some(Hold::Pause) => self.shared.node.clients.pause_end() <= now_ms,
                Some(Hold::Until(until_ms)) => *until_ms <= now_ms,
                None | Some(Hold::Job(_)) => continue,
            };
            if over { self.release(token) } else { self.waiting.push(token) }
        }
    }

    /// Gives long commands a slice each, in turn, for a bounded time.
    pub(super) fn run_slices(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let begin = self.clock.ticks();
        for _ in 0..self.jobs.len() {
            let Some(token) = self.jobs.pop_front() else { break };
            self.slice(token);
            if self.clock.ns_between(begin, self.clock.ticks()) > SLICES_NS {
                break;
            }
        }
    }

    /// Lets a connection's commands run again.
    fn release(&mut self, token: Token) {
        let Some(connection) = self.slots.find(token) else { return };
        connection.hold = None;
        if !connection.carried {
            connection.carried = true;
            self.carried.push(token);
        }
        self.settle(token, self.now_ms);
    }

    fn slice(&mut self, token: Token) {
        let Some(connection) = self.slots.find(token) else { return };
        let Some(Hold::Job(mut long)) = connection.hold.take() else { return };
        let before = self.clock.ticks();
        let mut effects = Vec::new();
        let mut access = self.participant.batch();
        let (pending, session, output) = connection.parts();
        self.draws = self.draws.wrapping_add(1);
        let mut call = Call {
            command: long.command,
            args: Args::new(&pending[..long.request_bytes], &long.spans[long.args.clone()]),
            first_hash: None,
            reply: ReplyWriter::new(output, session.protocol),
            session,
            store: &mut access,
            cx: Cx { now: Millis(self.now_ms), seed: self.seed.wrapping_add(self.draws) },
            node: &self.shared.node,
            stats: &self.stats,
            effects: &mut effects,
        };
        let outcome = dispatch::resume(&mut call, long.job);
        let slice_ns = self.clock.ns_between(before, self.clock.ticks());
        #[cfg(feature = "histogram")]
        self.pauses.record(slice_ns, &self.stats.pauses);
        long.elapsed_ns += slice_ns;
        if outcome != Outcome::Pending {
            dispatch::account(&call, outcome, long.elapsed_ns);
        }
        drop(access);
        let next =
            effects.into_iter().find_map(|effect| if let Effect::Continue(job) = effect { Some(job) } else { None });
        match next {
            Some(job) => {
                long.job = job;
                connection.hold = Some(Hold::Job(long));
                self.jobs.push_back(token);
            }
            None => {
                connection.consume(long.request_bytes);
                self.release(token);
            }
        }
    }
}
