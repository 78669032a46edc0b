//! Connections whose commands wait: paused, asleep, or busy with a long command that is run in slices.

use super::connection::{Hold, LongCommand};
use super::inbox::{Mail, forward};
use super::reactor::Reactor;
use super::slots::{Slots, Token};
use commands::call::Call;
use commands::clients::Unblock;
use commands::dispatch::{self, Outcome};
use commands::effect::{Effect, Wait};
use protocol::{Args, ReplyWriter, Span};
use std::mem;
use storage::{Cx, Millis, Wake, Woken};

/// Longest time given to long commands in one wake-up, ns, beyond the slice that passes it.
const SLICES_NS: u64 = 300_000;

/// Waiters told in one turn: some 200 us.
const WOKEN_PER_TURN: usize = 256;

/// Gives long commands the positions of their arguments: to the last one the vector itself, since a request of a
/// million arguments is not worth copying.
#[cold]
pub(super) fn hand_over_spans(slots: &mut Slots, spans: &mut Vec<Span>, long: &[Token]) {
    for (at, token) in long.iter().enumerate() {
        let (to, args) = match slots.find(*token).and_then(|connection| connection.hold.as_mut()) {
            Some(Hold::Job(command)) => (&mut command.spans, &mut command.args),
            Some(Hold::Parked(command)) => (&mut command.spans, &mut command.args),
            _ => continue,
        };
        if at + 1 == long.len() {
            *to = mem::take(spans);
        } else {
            *to = spans[args.clone()].to_vec();
            *args = 0..to.len();
        }
    }
}

impl Reactor {
    /// Lets connections go on that were paused, slept or waited, and whose time has come.
    pub(super) fn tend_waiting(&mut self) {
        let now_ms = self.now_ms;
        for token in mem::take(&mut self.waiting) {
            let cx = self.cx();
            let Some(connection) = self.slots.find(token) else { continue };
            connection.waiting = false;
            let over = match &mut connection.hold {
                Some(Hold::Pause) => self.shared.node.clients.pause_end() <= now_ms,
                Some(Hold::Until(until_ms)) => *until_ms <= now_ms,
                Some(Hold::Parked(parked)) => {
                    let wait = &mut parked.rest;
                    if wait.due_ms() <= cx.steady_ms && wait.due(&self.shared.node, &mut self.participant.batch(), &cx)
                    {
                        self.finish_parked(token, None);
                    } else {
                        self.wait(token);
                    }
                    continue;
                }
                None | Some(Hold::Job(_)) => continue,
            };
            if over { self.release(token) } else { self.wait(token) }
        }
    }

    /// Looks at a connection again with the next tick.
    fn wait(&mut self, token: Token) {
        if let Some(connection) = self.slots.find(token)
            && !mem::replace(&mut connection.waiting, true)
        {
            self.waiting.push(token);
        }
    }

    /// Ends the waits that CLIENT UNBLOCK has named.
    pub(super) fn unblock(&mut self) {
        for token in self.slots.tokens() {
            let cx = self.cx();
            let Some(connection) = self.slots.find(token) else { continue };
            let Some(how) = connection.session.client.blocked.asked() else { continue };
            let Some(Hold::Parked(parked)) = &mut connection.hold else { continue };
            // One whose answer is on the way gets that.
            if parked.rest.leave(&self.shared.node, &mut self.participant.batch(), &cx) {
                match how {
                    Unblock::Timeout => self.finish_parked(token, None),
                    Unblock::Error => self.end_parked(token, dispatch::unblock),
                }
            }
        }
    }

    /// Tells all cores, this one too, whom the store wants to be woken there.
    pub(super) fn forward_woken(&mut self) {
        forward(&self.shared.store, &self.shared.inboxes);
    }

    /// Tells some of those who were woken; the others have their turn after new requests.
    pub(super) fn tell_woken(&mut self) {
        for _ in 0..WOKEN_PER_TURN {
            let Some(Woken { ticket, wake, .. }) = self.woken.pop_front() else { return };
            match (self.parked.get(&ticket), wake) {
                (Some(token), wake) => self.finish_parked(*token, Some(wake)),
                // Nobody is there any more: somebody else is to load.
                (None, Wake::Token { token, key, .. }) => {
                    let cx = self.cx();
                    self.participant.batch().decline(token, &key, &cx);
                }
                (None, _) => {}
            }
        }
    }

    /// Finishes a command that waited, with what it was woken with if its time has not just come.
    fn finish_parked(&mut self, token: Token, wake: Option<Wake>) {
        self.end_parked_with(token, wake, dispatch::finish);
    }

    fn end_parked(&mut self, token: Token, end: fn(&mut Call<'_, '_>) -> Outcome) {
        self.end_parked_with(token, None, move |call, _| end(call));
    }

    fn end_parked_with(
        &mut self,
        token: Token,
        wake: Option<Wake>,
        end: impl FnOnce(&mut Call<'_, '_>, Box<dyn Wait>) -> Outcome,
    ) {
        let cx = self.cx();
        let Some(connection) = self.slots.find(token) else { return };
        let Some(Hold::Parked(mut long)) = connection.hold.take() else { return };
        self.parked.remove(&long.rest.ticket());
        if let Some(wake) = wake {
            long.rest.tell(wake);
        }
        let before = self.clock.ticks();
        let mut effects = Vec::new();
        let mut access = self.participant.batch();
        let (pending, session, output) = connection.parts();
        let LongCommand { rest, command, spans, args, request_bytes, elapsed_ns } = *long;
        let mut call = Call {
            command,
            args: Args::new(&pending[..request_bytes], &spans[args.clone()]),
            first_hash: None,
            reply: ReplyWriter::new(output, session.protocol),
            session,
            store: &mut access,
            cx,
            node: &self.shared.node,
            stats: &self.stats,
            effects: &mut effects,
        };
        let outcome = end(&mut call, rest);
        let elapsed_ns = elapsed_ns + self.clock.ns_between(before, self.clock.ticks());
        if outcome != Outcome::Pending {
            dispatch::account(&call, outcome, elapsed_ns);
        }
        drop(access);
        let again =
            effects.into_iter().find_map(|effect| if let Effect::Park(wait) = effect { Some(wait) } else { None });
        match again {
            Some(wait) => {
                self.parked.insert(wait.ticket(), token);
                let long = LongCommand { rest: wait, command, spans, args, request_bytes, elapsed_ns };
                connection.hold = Some(Hold::Parked(Box::new(long)));
                if connection.session.client.blocked.asked().is_some() {
                    // It was to be unblocked while its answer seemed to be on the way.
                    self.shared.inboxes[self.core].send(Mail::LookAround);
                }
                self.wait(token);
            }
            None => {
                connection.session.client.blocked.set(false);
                connection.consume(request_bytes);
                self.release(token);
            }
        }
    }

    /// The context of what the core does by itself.
    pub(super) fn cx(&mut self) -> Cx {
        self.draws = self.draws.wrapping_add(1);
        let now = Millis(self.now_ms).max(self.shared.store.not_before());
        Cx { now, steady_ms: self.steady_ms, seed: self.seed.wrapping_add(self.draws) }
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
        let cx = self.cx();
        let Some(connection) = self.slots.find(token) else { return };
        let Some(Hold::Job(mut long)) = connection.hold.take() else { return };
        let before = self.clock.ticks();
        let mut effects = Vec::new();
        let mut access = self.participant.batch();
        let (pending, session, output) = connection.parts();
        let mut call = Call {
            command: long.command,
            args: Args::new(&pending[..long.request_bytes], &long.spans[long.args.clone()]),
            first_hash: None,
            reply: ReplyWriter::new(output, session.protocol),
            session,
            store: &mut access,
            cx,
            node: &self.shared.node,
            stats: &self.stats,
            effects: &mut effects,
        };
        let outcome = dispatch::resume(&mut call, long.rest);
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
                long.rest = job;
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
