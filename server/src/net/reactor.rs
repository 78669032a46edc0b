//! A core's loop: a private epoll set, watched through one registration with the runtime.
//!
//! The outer registration is edge-triggered and the inner set level-triggered, so readiness of the set is cleared only
//! after a wait on it gave nothing.

use super::connection::{Connection, Hold};
use super::inbox::{Mail, Newcomer};
use super::slots::{Slots, Token};
use super::turn::Batch;
use crate::clock::{Clock, Ticks};
use crate::shared::Shared;
use commands::clients::Client;
use commands::families::transaction;
use commands::session::Session;
use commands::stats::WorkerStats;
use core::sync::atomic::Ordering;
use protocol::Limits;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, Shutdown};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Cx, Millis, Participant, Woken};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events taken from the set at once.
const EVENTS: usize = 256;
/// Time between two ticks, and between two slices of reclaiming while work is left undone.
const TICK_MS: u64 = 25;
const LATE_TICK_MS: u64 = 1;
/// Ticks in which every stripe is visited once: a second, the grain of the expiry wheel.
const TICKS_PER_ROUND: usize = 40;
/// Time one slice of reclaiming may take, ns: for so long requests may have to wait for it.
const RECLAIM_NS: u64 = 25_000;
/// The longest time one is taken to have used: a process that was stopped meanwhile has not used it.
const MAX_SLICE_NS: u64 = 5_000_000;
/// While work is left undone, this many times what a slice took lies between it and the next one.
const RECLAIM_SHARE: u64 = 5;
/// Ticks of one stripe in a row that leave something to do, before the next one has its turn: some 0.3 ms.
const TRIES_PER_STRIPE: usize = 8;
/// Longest time without letting the runtime's other tasks run, ns.
const YIELD_AFTER_NS: u64 = 500_000;
/// Time in which requests already on their way are still answered at the end, ms.
const STOP_GRACE_MS: u64 = 200;
/// Reads of a connection that is being closed: a peer that keeps sending is not read for ever.
const PARTING_READS: usize = 64;
/// Longest time spent on sending what is left at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Events of the set that are not connections.
const MAIL: u64 = u64::MAX;
const TICK: u64 = u64::MAX - 1;

/// One serving core.
pub struct Reactor {
    pub(super) core: usize,
    pub(super) shared: &'static Shared,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) participant: Participant<'static>,
    pub(super) clock: Clock,
    /// Wall time of this turn, ms since the epoch.
    pub(super) now_ms: u64,
    /// The steady clock at the same moment.
    pub(super) steady_ms: u64,
    /// Base of the seeds handed to commands, and how many were.
    pub(super) seed: u64,
    pub(super) draws: u64,
    pub(super) limits: Limits,
    pub(super) slots: Slots,
    pub(super) batch: Batch,
    /// Connections with whole requests left over from the last turn.
    pub(super) carried: Vec<Token>,
    /// Connections that are paused or asleep, and those with a long command to go on with.
    pub(super) waiting: Vec<Token>,
    pub(super) jobs: VecDeque<Token>,
    /// Connections with a command that waits for others, by its ticket; they stand in `waiting` too. And who was woken.
    pub(super) parked: HashMap<u64, Token>,
    pub(super) woken: VecDeque<Woken>,
    epoll: AsyncFd<OwnedFd>,
    timer: OwnedFd,
    /// Where reclaiming goes on among the stripes, and how many are still to be visited: more than 0 = it is late.
    next_stripe: usize,
    /// Times in a row that one left something to do.
    tries: usize,
    unvisited: usize,
    /// When the last slice ended, and what it took, ns: a single stripe may take longer than a slice should.
    reclaimed: Ticks,
    slice_ns: u64,
    /// When the next tick is due, steady ms, and whether the timer comes more often than that.
    next_tick_ms: u64,
    ticks_late: bool,
    ticks_done: u64,
    /// What disturbs the times of commands.
    #[cfg(feature = "histogram")]
    pub(super) pauses: super::pauses::Watch,
    /// Until when requests already on their way are still answered; set once the end was asked for.
    stop_by_ms: Option<u64>,
}

/// Has the timer come after `first_ms` and then every `period_ms`, both less than a second.
fn set_timer(timer: &OwnedFd, first_ms: u64, period_ms: u64) -> io::Result<()> {
    let after = |ms: u64| rustix::time::Timespec { tv_sec: 0, tv_nsec: ms as i64 * 1_000_000 };
    let spec = Itimerspec { it_interval: after(period_ms), it_value: after(first_ms) };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &spec)?;
    Ok(())
}

impl Reactor {
    /// A core's reactor; must be called on the thread (and inside the runtime) that will run it.
    pub fn new(core: usize, shared: &'static Shared, clock: Clock, seed: u64) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        set_timer(&timer, TICK_MS, TICK_MS)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TICK), EventFlags::IN)?;
        epoll::add(&epoll, shared.inboxes[core].bell(), EventData::new_u64(MAIL), EventFlags::IN)?;
        Ok(Self {
            core,
            shared,
            stats: Arc::clone(&shared.node.workers[core]),
            participant: shared.store.join(),
            now_ms: clock.now_ms(),
            steady_ms: clock.uptime_ms(),
            seed,
            draws: 0,
            limits: Limits::DEFAULT,
            slots: Slots::default(),
            batch: Batch::default(),
            carried: Vec::new(),
            waiting: Vec::new(),
            jobs: VecDeque::new(),
            parked: HashMap::new(),
            woken: VecDeque::new(),
            // SAFETY: the descriptor is owned by this `AsyncFd` alone and never closed or replaced before it.
            epoll: unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }.map_err(io::Error::from)?,
            timer,
            next_stripe: 0,
            tries: 0,
            unvisited: 0,
            reclaimed: clock.ticks(),
            slice_ns: RECLAIM_NS,
            next_tick_ms: 0,
            ticks_late: false,
            ticks_done: 0,
            #[cfg(feature = "histogram")]
            pauses: super::pauses::Watch::open()?,
            stop_by_ms: None,
            clock,
        })
    }

    /// Serves until told to stop.
    pub async fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut ready: Vec<Token> = Vec::with_capacity(EVENTS);
        let mut yielded = self.clock.ticks();
        loop {
            events.clear();
            // A core with work left over looks for more without waiting.
            rustix::io::retry_on_intr(|| {
                epoll::wait(
                    self.epoll.get_ref(),
                    spare_capacity(&mut events),
                    Some(&Timespec { tv_sec: 0, tv_nsec: 0 }),
                )
            })?;
            let idle = events.is_empty() && self.carried.is_empty() && self.jobs.is_empty() && self.woken.is_empty();
            if self.stop_by_ms.is_some_and(|stop_by_ms| idle || self.now_ms > stop_by_ms) {
                return self.drain();
            }
            if idle {
                let mut guard = self.epoll.readable().await?;
                yielded = self.clock.ticks();
                // Cleared now and not after the next wait: what becomes ready from here on sets it again.
                guard.clear_ready();
                continue;
            }
            self.now_ms = self.clock.now_ms();
            self.steady_ms = self.clock.uptime_ms();
            // Mail and ticks first: they may carry a connection over that an event names as well, and no connection
            // may stand twice in one turn.
            for event in &events {
                match event.data.u64() {
                    MAIL => self.read_mail(),
                    TICK => self.tick(),
                    _ => {}
                }
            }
            ready.clear();
            ready.append(&mut self.carried);
            for event in events.iter().filter(|event| event.data.u64() < TICK) {
                self.take_event(Token(event.data.u64()), event.flags, &mut ready);
            }
            self.turn(&ready);
            self.run_slices();
            self.tell_woken();
            self.forward_woken();
            let now = self.clock.ticks();
            if self.is_reclaim_due(now) {
                self.reclaim();
                self.forward_woken();
            }
            if self.clock.ns_between(yielded, now) > YIELD_AFTER_NS {
                tokio::task::yield_now().await;
                yielded = now;
            }
        }
    }

    fn take_event(&mut self, token: Token, flags: EventFlags, ready: &mut Vec<Token>) {
        let Some(connection) = self.slots.find(token) else { return };
        if flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) && !connection.reading {
            // Nobody will read it: without this the set would report it for ever.
            connection.broken = true;
        }
        if !connection.carried {
            ready.push(token);
        }
    }

    fn read_mail(&mut self) {
        let mut look_around = false;
        for mail in self.shared.inboxes[self.core].take() {
            match mail {
                Mail::Connection(newcomer) => self.welcome(newcomer),
                Mail::LookAround => look_around = true,
                Mail::Woken(woken) => self.woken.extend(woken),
                Mail::Stop => self.stop_by_ms = Some(self.now_ms + STOP_GRACE_MS),
            }
        }
        if look_around {
            self.look_around();
        }
    }

    fn welcome(&mut self, newcomer: Newcomer) {
        use rustix::fd::AsRawFd;
        let node = &self.shared.node;
        let Newcomer { fd, address, local_address, is_unix } = newcomer;
        let id = node.clients.next_id();
        let client = Client::new(id, self.core, address, local_address, fd.as_raw_fd(), is_unix, self.now_ms);
        let client = node.clients.register(client);
        let authenticated = node.settings.live.password.load().is_none();
        let token = self.slots.insert(Connection::new(fd, Session::new(client, authenticated)));
        let Some(connection) = self.slots.find(token) else { return };
        let added = epoll::add(self.epoll.get_ref(), &connection.fd, EventData::new_u64(token.0), EventFlags::IN);
        if let Err(error) = added {
            tracing::warn!(%error, "a connection could not be watched");
            self.close(token);
        }
    }

    /// Changes what the set reports of a connection.
    pub(super) fn ask_for(&mut self, token: Token, reading: bool, writing: bool) {
        let Some(connection) = self.slots.find(token) else { return };
        connection.reading = reading;
        connection.writing = writing;
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, reading);
        flags.set(EventFlags::OUT, writing);
        // Who waits is not read; that nobody is there any more must show all the same.
        flags.set(EventFlags::RDHUP, matches!(connection.hold, Some(Hold::Parked(_))));
        if epoll::modify(self.epoll.get_ref(), &connection.fd, EventData::new_u64(token.0), flags).is_err() {
            connection.broken = true;
        }
    }

    /// Ends a connection and all it held.
    pub(super) fn close(&mut self, token: Token) {
        let Some(mut connection) = self.slots.remove(token) else { return };
        self.shared.store.memory().charge_outside(-(connection.booked as i64));
        let cx = self.cx();
        let mut access = self.participant.batch();
        transaction::reset_transaction(&mut connection.session, &mut access);
        if let Some(Hold::Parked(parked)) = &mut connection.hold {
            self.parked.remove(&parked.rest.ticket());
            // Woken already: who finds it gone tells the store.
            let _ = parked.rest.leave(&self.shared.node, &mut access, &cx);
        }
        connection.session.release_leases(&self.shared.node, &mut access, &cx);
        drop(access);
        self.shared.node.clients.unregister(connection.session.client.id);
        self.shared.loads[self.core].fetch_sub(1, Ordering::Relaxed);
        if !connection.broken {
            part(&connection.fd);
        }
        // Closing the descriptor takes it out of the epoll set.
    }

    /// Closes clients that were killed, and lets those go on whose pause has ended.
    fn look_around(&mut self) {
        for token in self.slots.tokens() {
            if self.slots.find(token).is_some_and(|c| c.session.client.killed.load(Ordering::Relaxed)) {
                self.close(token);
            }
        }
        self.unblock();
        self.tend_waiting();
    }

    /// Housekeeping, every [`TICK_MS`]; while reclaiming is late only that, every [`LATE_TICK_MS`].
    fn tick(&mut self) {
        let mut expirations = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut expirations);
        // The timer is not aligned with the clock's milliseconds.
        let is_whole = self.steady_ms + 1 >= self.next_tick_ms;
        if is_whole {
            let share = self.share();
            self.unvisited = (self.unvisited + share.div_ceil(TICKS_PER_ROUND)).min(share);
            // One that comes late does not put off the next.
            self.next_tick_ms = (self.next_tick_ms + TICK_MS).max(self.steady_ms + TICK_MS / 2);
        }
        if is_whole && !self.ticks_late || self.is_reclaim_due(self.clock.ticks()) {
            self.reclaim();
        }
        let is_late = self.unvisited > 0;
        if is_late != self.ticks_late {
            let left_ms = self.next_tick_ms.saturating_sub(self.steady_ms).clamp(1, TICK_MS);
            let (first_ms, period_ms) = if is_late { (LATE_TICK_MS, LATE_TICK_MS) } else { (left_ms, TICK_MS) };
            if set_timer(&self.timer, first_ms, period_ms).is_ok() {
                self.ticks_late = is_late;
            }
        }
        if !is_whole {
            return;
        }
        self.ticks_done += 1;
        if self.ticks_done.is_multiple_of(4) {
            if self.core == 0 {
                self.shared.refresh_rates(self.now_ms);
                self.shared.watch_limit();
                storage::tend_memory();
            }
            self.check_connections();
        }
        self.tend_waiting();
    }

    /// Stripes that this core looks after.
    fn share(&self) -> usize {
        self.shared.store.stripes().div_ceil(self.shared.inboxes.len())
    }

    /// Whether a slice of reclaiming may be fitted in between.
    fn is_reclaim_due(&self, now: Ticks) -> bool {
        self.unvisited > 0 && self.clock.ns_between(self.reclaimed, now) > self.slice_ns * RECLAIM_SHARE
    }

    /// Frees what has expired or was revoked in this core's share of the stripes, for the time of a slice: each tick adds
    /// the next part of a round to what is to be visited.
    fn reclaim(&mut self) {
        if !self.shared.node.active_expire.load(Ordering::Relaxed) {
            self.unvisited = 0;
            return;
        }
        let (begin, share) = (self.clock.ticks(), self.share());
        let mut access = self.participant.batch();
        let cx = Cx { now: Millis(self.now_ms), steady_ms: self.steady_ms, seed: self.seed };
        while self.unvisited > 0 {
            let done = access.tick(self.core * share + self.next_stripe, 1, &cx);
            self.tries += 1;
            // A stripe with much to free must not keep the others waiting for a round: it is visited again.
            if done || self.tries >= TRIES_PER_STRIPE {
                self.unvisited -= usize::from(done);
                self.next_stripe = (self.next_stripe + 1) % share;
                self.tries = 0;
            }
            if self.clock.ns_between(begin, self.clock.ticks()) > RECLAIM_NS {
                break;
            }
        }
        drop(access);
        self.reclaimed = self.clock.ticks();
        self.slice_ns = self.clock.ns_between(begin, self.reclaimed).clamp(RECLAIM_NS, MAX_SLICE_NS);
    }

    /// Idle clients, and output above its soft limit. Looks at every connection, every 100 ms, only where one of these
    /// limits is set.
    fn check_connections(&mut self) {
        let live = &self.shared.node.settings.live;
        let timeout_ms = live.timeout_s.load(Ordering::Relaxed) * 1000;
        let soft = live.output_soft_bytes.load(Ordering::Relaxed) > 0;
        if timeout_ms == 0 && !soft {
            return;
        }
        for token in self.slots.tokens() {
            let Some(connection) = self.slots.find(token) else { continue };
            let active_ms = connection.session.client.active_ms.load(Ordering::Relaxed);
            let idle = timeout_ms > 0 && self.now_ms.saturating_sub(active_ms) > timeout_ms;
            if idle && connection.hold.is_none() {
                self.close(token);
            } else if soft {
                self.check_limits(token, self.now_ms);
            }
        }
    }

    /// The end: everything read was answered; sends what is still unsent, for a bounded time.
    fn drain(mut self) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN;
        // Only sockets are waited for from here on, and nobody sleeps any longer.
        epoll::delete(self.epoll.get_ref(), &self.timer)?;
        epoll::delete(self.epoll.get_ref(), self.shared.inboxes[self.core].bell())?;
        for token in self.slots.tokens() {
            if let Some(connection) = self.slots.find(token) {
                connection.hold = None;
                connection.closing = true;
            }
        }
        loop {
            self.now_ms = self.clock.now_ms();
            for token in self.slots.tokens() {
                self.settle(token, self.now_ms);
                if self.slots.find(token).is_some_and(|connection| connection.output.is_empty()) {
                    self.close(token);
                }
            }
            let left = self.slots.tokens();
            if left.is_empty() || Instant::now() > deadline {
                left.into_iter().for_each(|token| self.close(token));
                return Ok(());
            }
            let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
            let wait = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            rustix::io::retry_on_intr(|| epoll::wait(self.epoll.get_ref(), spare_capacity(&mut events), Some(&wait)))?;
        }
    }
}

/// Tells the peer that nothing more comes, and reads away what it has sent: closing with unread bytes would reset the
/// connection, which can destroy replies on their way and looks like a failure of the network.
fn part(fd: &OwnedFd) {
    let mut unread = [0; 4096];
    let _ = rustix::net::shutdown(fd, Shutdown::Write);
    for _ in 0..PARTING_READS {
        match rustix::net::recv(fd, &mut unread, RecvFlags::DONTWAIT) {
            Ok((bytes, _)) if bytes > 0 => {}
            _ => break,
        }
    }
}
