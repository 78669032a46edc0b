//! A server without sockets or clocks, for the tests of this crate: requests in, bytes of replies out.
//!
//! Every request goes through [`dispatch`] like a real one. Time stands still until [`Testkit::advance_ms`].

#![allow(dead_code)]

use crate::call::Call;
use crate::clients::Client;
use crate::command::Command;
use crate::dispatch::{self, Outcome, dispatch};
use crate::effect::{Effect, Wait};
use crate::host::{Host, ProcessStats};
use crate::node::Node;
use crate::session::Session;
use crate::settings::Settings;
use crate::stats::WorkerStats;
use crate::table::{self, Lookup};
use crate::through::{self, WriteJob, Written};
use core::sync::atomic::Ordering;
use parking_lot::Mutex;
use protocol::{Output, OwnedRequest, Protocol, ReplyWriter};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{Cx, Layout, Participant, Store, Wake, Woken};

/// Where the clock stands at first, ms since the epoch: in November 2023, not a whole second.
pub(crate) const START_MS: u64 = 1_700_000_000_123;

/// What the fake shell was asked to do.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    /// Cores woken.
    pub woken: Mutex<Vec<usize>>,
    /// Settings changed.
    pub changed: Mutex<Vec<String>>,
    /// What `process` answers.
    pub process: Mutex<ProcessStats>,
    /// Writes to origins that were handed in; `None` = it takes none.
    pub writes: Mutex<Option<Vec<WriteJob>>>,
}

struct FakeHost(Arc<Shell>);

impl Host for FakeHost {
    fn wake(&self, core: usize) {
        self.0.woken.lock().push(core);
    }

    fn process(&self) -> ProcessStats {
        *self.0.process.lock()
    }

    fn write(&self, job: WriteJob) -> Result<(), WriteJob> {
        match &mut *self.0.writes.lock() {
            Some(writes) => writes.push(job),
            None => return Err(job),
        }
        Ok(())
    }

    fn setting_changed(&self, name: &str, _text: &str) {
        self.0.changed.lock().push(name.to_owned());
    }
}

/// A node with one core, an empty store of 16 stripes, and connections 0, 1, ..: requests are from the current one.
pub(crate) struct Testkit {
    /// The node.
    pub node: Node,
    /// What the fake shell was asked to do.
    pub shell: Arc<Shell>,
    /// Leaked: a participant borrows it, and tests are few.
    pub store: &'static Store,
    participant: Participant<'static>,
    sessions: Vec<Session>,
    current: usize,
    /// The clock of every request, and the seed of the next one.
    pub cx: Cx,
    /// What every request is said to have taken.
    pub elapsed_ns: u64,
    /// How the last request ended.
    pub outcome: Outcome,
    /// Slices the last request was cut into beyond its first.
    pub slices: usize,
    /// Effects of the last request but for `Continue` and `Park`.
    pub effects: Vec<Effect>,
    /// Requests that wait, by connection.
    parked: BTreeMap<usize, Parked>,
}

/// A request that waits.
struct Parked {
    wait: Box<dyn Wait>,
    request: OwnedRequest,
    row: &'static Command,
}

impl Testkit {
    /// A fresh server with one connection in RESP2.
    pub fn new() -> Self {
        let shell = Arc::new(Shell::default());
        let settings = Settings::default();
        let node = Node::new(settings, 1, Box::new(FakeHost(Arc::clone(&shell))), "0123456789".repeat(4), START_MS);
        let store: &'static Store = Box::leak(Box::new(Store::new(Layout::new(16, [1, 2, 3, 4]))));
        let mut kit = Self {
            node,
            shell,
            store,
            participant: store.join(),
            sessions: Vec::new(),
            current: 0,
            cx: Cx { seed: 1, ..Cx::at(START_MS) },
            elapsed_ns: 1000,
            outcome: Outcome::Done,
            slices: 0,
            effects: Vec::new(),
            parked: BTreeMap::new(),
        };
        kit.connect();
        kit
    }

    /// One more connection, which becomes the current one; returns its number.
    pub fn connect(&mut self) -> usize {
        let clients = &self.node.clients;
        assert!(clients.admit(u64::MAX));
        let (id, peer) = (clients.next_id(), format!("127.0.0.1:{}", 50_000 + self.sessions.len()));
        let client = Client::new(id, 0, peer, "127.0.0.1:6379".into(), 8, false, self.cx.now.0);
        let client = clients.register(client);
        let needs_no_login = self.node.settings.live.password.load().is_none();
        self.sessions.push(Session::new(client, needs_no_login));
        self.current = self.sessions.len() - 1;
        self.current
    }

    /// Makes a connection the current one.
    pub fn on(&mut self, connection: usize) -> &mut Self {
        assert!(connection < self.sessions.len());
        self.current = connection;
        self
    }

    /// The current connection's state.
    pub fn session(&mut self) -> &mut Session {
        &mut self.sessions[self.current]
    }

    /// The counters of the one core.
    pub fn stats(&self) -> &WorkerStats {
        &self.node.workers[0]
    }

    /// Moves the clock on.
    pub fn advance_ms(&mut self, ms: u64) {
        self.cx.now.0 += ms;
        self.cx.steady_ms += ms;
    }

    /// The current connection speaks RESP2 from now on.
    pub fn resp2(&mut self) -> &mut Self {
        self.session().protocol = Protocol::Resp2;
        self
    }

    /// The current connection speaks RESP3 from now on.
    pub fn resp3(&mut self) -> &mut Self {
        self.session().protocol = Protocol::Resp3;
        self
    }

    /// Runs an inline request, quoting as in redis-cli (`"a\r\n"`, `'a b'`), to its end. The reply is shown as it is,
    /// but for bytes other than printable ASCII, CR and LF, which become `\xNN`. Empty if there is none.
    pub fn run(&mut self, line: &str) -> String {
        let mut line = line.as_bytes().to_vec();
        let mut spans = Vec::new();
        protocol::inline::split(&mut line, &mut spans).expect("balanced quotes");
        let request = protocol::Args::new(&line, &spans).to_owned();
        printable(&self.run_request(&request))
    }

    /// Runs a request of any bytes, else as [`run`](Self::run).
    pub fn run_args(&mut self, args: &[&[u8]]) -> String {
        printable(&self.run_bytes(args))
    }

    /// Runs a request of any bytes and returns the reply's bytes.
    pub fn run_bytes(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.run_request(&OwnedRequest::from_slices(args))
    }

    /// The reply to a request; an error reply without its type byte and line end, for short assertions.
    pub fn error(&mut self, line: &str) -> String {
        let reply = self.run(line);
        let text = reply.strip_prefix('-').and_then(|text| text.strip_suffix("\r\n"));
        text.unwrap_or_else(|| panic!("{line}: no error but {reply:?}")).to_owned()
    }

    fn run_request(&mut self, request: &OwnedRequest) -> Vec<u8> {
        let mut output = Output::new();
        self.effects.clear();
        self.slices = 0;
        let mut row = table::commands().next().expect("some family has a row");
        let mut job = None;
        loop {
            let session = &mut self.sessions[self.current];
            let protocol = session.protocol;
            let mut store = self.participant.batch();
            let mut call = Call {
                command: row,
                args: request.as_args(),
                first_hash: None,
                session,
                store: &mut store,
                reply: ReplyWriter::new(&mut output, protocol),
                cx: self.cx,
                node: &self.node,
                stats: &self.node.workers[0],
                effects: &mut self.effects,
            };
            let lookup = table::find(request.as_args());
            let outcome = match job.take() {
                None => dispatch(&mut call, lookup),
                Some(job) => dispatch::resume(&mut call, job),
            };
            row = call.command;
            if outcome != Outcome::Pending && matches!(lookup, Lookup::Command(_)) {
                dispatch::account(&call, outcome, self.elapsed_ns);
            }
            drop(store);
            self.cx.seed = self.cx.seed.wrapping_add(1);
            self.outcome = outcome;
            let at = self.effects.iter().position(|effect| matches!(effect, Effect::Continue(_)));
            match at.map(|at| self.effects.remove(at)) {
                Some(Effect::Continue(next)) => job = Some(next),
                _ => {
                    let at = self.effects.iter().position(|effect| matches!(effect, Effect::Park(_)));
                    if let Some(Effect::Park(wait)) = at.map(|at| self.effects.remove(at)) {
                        let request = request.clone();
                        self.parked.insert(self.current, Parked { wait, request, row });
                    }
                    break;
                }
            }
            assert!(output.is_empty(), "a reply before the end of a command in slices");
            self.slices += 1;
        }
        output.chunks().flatten().copied().collect()
    }

    /// Ends the waits whose time has come and those that were woken, until there are no more; gives the replies by
    /// connection.
    pub fn settle(&mut self) -> Vec<(usize, String)> {
        let mut replies = Vec::new();
        loop {
            let mut ready: Vec<(usize, Option<Wake>)> = Vec::new();
            for Woken { ticket, wake, .. } in self.store.take_woken() {
                let found = self.parked.iter().find(|(_, parked)| parked.wait.ticket() == ticket);
                match (found, wake) {
                    (Some((connection, _)), wake) => ready.push((*connection, Some(wake))),
                    (None, Wake::Token { token, key, .. }) => {
                        self.participant.batch().decline(token, &key, &self.cx);
                    }
                    (None, _) => {}
                }
            }
            if ready.is_empty() {
                let mut batch = self.participant.batch();
                let mut looked = false;
                for (connection, Parked { wait, .. }) in &mut self.parked {
                    if wait.due_ms() <= self.cx.steady_ms {
                        looked = true;
                        if wait.due(&self.node, &mut batch, &self.cx) {
                            ready.push((*connection, None));
                        }
                    }
                }
                if !looked {
                    return replies;
                }
            }
            for (connection, wake) in ready {
                let reply = self.finish(connection, wake);
                replies.extend((!reply.is_empty()).then_some((connection, reply)));
            }
        }
    }

    fn finish(&mut self, connection: usize, wake: Option<Wake>) -> String {
        let Parked { mut wait, request, row } = self.parked.remove(&connection).expect("it waits");
        if let Some(wake) = wake {
            wait.tell(wake);
        }
        let mut output = Output::new();
        let mut effects = Vec::new();
        let session = &mut self.sessions[connection];
        let protocol = session.protocol;
        let mut store = self.participant.batch();
        self.cx.seed = self.cx.seed.wrapping_add(1);
        let mut call = Call {
            command: row,
            args: request.as_args(),
            first_hash: None,
            session,
            store: &mut store,
            reply: ReplyWriter::new(&mut output, protocol),
            cx: self.cx,
            node: &self.node,
            stats: &self.node.workers[0],
            effects: &mut effects,
        };
        dispatch::finish(&mut call, wait);
        for effect in effects {
            let Effect::Park(wait) = effect else { continue };
            self.parked.insert(connection, Parked { wait, request: request.clone(), row });
        }
        printable(&output.chunks().flatten().copied().collect::<Vec<u8>>())
    }

    /// Says how the oldest write that an origin was asked for ended.
    pub fn written(&mut self, written: Written) -> WriteJob {
        let job = self.shell.writes.lock().as_mut().expect("it takes writes").remove(0);
        self.cx.seed = self.cx.seed.wrapping_add(1);
        through::tell(&job, written, &mut self.participant.batch(), &self.cx);
        job
    }

    /// Ends a connection: what it holds and waits for is released.
    pub fn disconnect(&mut self, connection: usize) {
        let mut store = self.participant.batch();
        if let Some(mut parked) = self.parked.remove(&connection) {
            parked.wait.leave(&self.node, &mut store, &self.cx);
        }
        self.sessions[connection].release_leases(&self.node, &mut store, &self.cx);
    }

    /// Runs the ticks of all stripes until nothing is left to do.
    pub fn tick(&mut self) {
        let mut batch = self.participant.batch();
        let stripes = batch.stripes();
        for _ in 0..4 {
            while !batch.tick(0, stripes, &self.cx) {}
        }
    }

    /// Number of error replies so far with this first word.
    pub fn errors(&self, word: &'static str) -> u64 {
        self.node.error_counts.get(word).map_or(0, |count| *count)
    }

    /// A live setting read as the hot paths do, for `proto-max-bulk-len`.
    pub fn set_max_bulk_bytes(&self, bytes: usize) {
        self.node.settings.live.max_bulk_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Testkit {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        if !std::thread::panicking() {
            self.store.invariants();
        }
    }
}

fn printable(reply: &[u8]) -> String {
    let show = |byte: &u8| match *byte {
        b'\r' | b'\n' | b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    reply.iter().map(show).collect()
}

/// Draws below a bound, the same for the same seed (SplitMix64).
pub(crate) fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation() {
        let mut t = Testkit::new();
        assert_eq!(t.run("SET k 'a b' PX 10"), "+OK\r\n");
        assert_eq!(t.run_args(&[b"GET", b"k"]), "$3\r\na b\r\n");
        t.advance_ms(10);
        assert_eq!(t.resp3().run("GET k"), "_\r\n");
        t.connect();
        assert_eq!(t.run("GET k"), "$-1\r\n");
        t.run_args(&[b"SET", b"k", b"\xff\r\n"]);
        assert_eq!(t.on(0).run("GET k"), "$3\r\n\\xff\r\n\r\n");
        assert!(t.error("NOPE").starts_with("ERR unknown command 'NOPE'"));
        assert_eq!((t.errors("ERR"), t.stats().commands.value()), (1, 6));
    }
}
