//! Connections of the scripted broker: a thread each, which reads a request, waits as it is told to, answers, or lies.

use super::answers::{Api, Fetch, Head, Topics};
use super::wire::Asked;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest request that is read.
const MAX_REQUEST: usize = 1 << 20;

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The length that is announced; what it is unless something else is said.
    pub length: Option<i32>,
    /// The number of the request that it answers.
    pub correlation: i32,
    /// The rest.
    pub body: Vec<u8>,
    /// The connection is closed after it.
    pub is_last: bool,
}

/// What changes answers.
pub type Lie = Box<dyn FnMut(&mut Frame) + Send>;

/// All that connections share.
pub struct Shared {
    state: Mutex<State>,
    /// Something of the state changed.
    pub changed: Condvar,
}

/// What the script says at this moment.
pub struct State {
    /// Topics and their logs.
    pub topics: Topics,
    /// Connections are taken.
    pub is_up: bool,
    /// Connections of earlier ones are to end.
    pub era: u64,
    /// Topics made so far.
    pub made: u64,
    /// Open connections.
    pub streams: Vec<TcpStream>,
    /// Answers so far.
    pub answered: BTreeMap<Api, u64>,
    /// How much later answers come.
    pub delays: BTreeMap<Api, Duration>,
    /// Answers that are held back.
    pub held: BTreeSet<Api>,
    /// Requests whose answers are held back now.
    pub waiting: BTreeMap<Api, u64>,
    /// What changes answers.
    pub lies: BTreeMap<Api, Lie>,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    /// A broker with these topics, to be listened for.
    pub fn new(topics: Topics) -> Shared {
        let state = State {
            topics,
            is_up: true,
            era: 0,
            made: 0,
            streams: Vec::new(),
            answered: BTreeMap::new(),
            delays: BTreeMap::new(),
            held: BTreeSet::new(),
            waiting: BTreeMap::new(),
            lies: BTreeMap::new(),
            threads: Vec::new(),
        };
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The state, as long as nobody else needs it.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A test that fails while it edits is told of by itself.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for the threads of all connections; they were hung up on.
    pub fn finish(&self) {
        let threads = std::mem::take(&mut self.lock().threads);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Takes connections, until the broker is down.
pub fn listen(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut state = shared.lock();
            if !state.is_up {
                return;
            }
            let Ok(other) = stream.try_clone() else { continue };
            state.streams.push(other);
            let (era, shared) = (state.era, Arc::clone(&shared));
            state.threads.push(thread::spawn(move || drop(serve(stream, &shared, era))));
        }
    })
}

/// Serves one connection; ends when either side has enough.
fn serve(mut stream: TcpStream, shared: &Shared, era: u64) -> std::io::Result<()> {
    let close = |stream: &TcpStream| stream.shutdown(std::net::Shutdown::Both);
    stream.set_nodelay(true)?;
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > MAX_REQUEST {
            return close(&stream);
        }
        let mut request = vec![0; len];
        stream.read_exact(&mut request)?;
        let Some(frame) = answer(&request, shared, era) else { return close(&stream) };
        let len = frame.length.unwrap_or(frame.body.len() as i32 + 4);
        let bytes = [&len.to_be_bytes()[..], &frame.correlation.to_be_bytes(), &frame.body].concat();
        stream.write_all(&bytes)?;
        if frame.is_last {
            return close(&stream);
        }
    }
}

/// The answer to a request, at the time it is due; `None`: there is none, and the connection is to end.
fn answer(request: &[u8], shared: &Shared, era: u64) -> Option<Frame> {
    let mut asked = Asked::new(request);
    let head = Head::read(&mut asked)?;
    let mut state = shared.lock();
    if head.api == Api::Fetch {
        let fetch = Fetch::read(&mut { asked })?;
        let until = Instant::now() + Duration::from_millis(fetch.wait_ms);
        state = wait(shared, state, until, |state| state.era != era || fetch.finds(&state.topics));
    }
    if let Some(by) = state.delays.get(&head.api) {
        let until = Instant::now() + *by;
        state = wait(shared, state, until, |state| state.era != era);
    }
    *state.waiting.entry(head.api).or_default() += 1;
    while state.held.contains(&head.api) && state.era == era {
        state = shared.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
    }
    *state.waiting.entry(head.api).or_default() -= 1;
    if state.era != era {
        return None;
    }
    let body = state.topics.answer(head, &mut asked)?.bytes;
    *state.answered.entry(head.api).or_default() += 1;
    let mut frame = Frame { length: None, correlation: head.correlation, body, is_last: false };
    if let Some(lie) = state.lies.get_mut(&head.api) {
        lie(&mut frame);
    }
    Some(frame)
}

/// Waits until then, or until something holds.
fn wait<'s>(
    shared: &'s Shared,
    mut state: MutexGuard<'s, State>,
    until: Instant,
    holds: impl Fn(&State) -> bool,
) -> MutexGuard<'s, State> {
    while !holds(&state) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let waited = shared.changed.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner());
        state = waited.0;
    }
    state
}
