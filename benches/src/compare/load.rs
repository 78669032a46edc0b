//! The load generator: one thread, one epoll, closed loop at a pipeline depth or open loop at a fixed rate.
//!
//! Closed loop: every connection sends a batch, waits for all its replies, sends the next. Open loop: batches fall due at even
//! intervals and wait for a free connection; latency counts from the due time, so a stalled server is charged for the requests it
//! kept from being sent. Every reply is compared byte for byte.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::error::{Result, fail};
use crate::hist::Histogram;
use crate::keys::{Keys, Random, Values};
use crate::wire::{Batch, Expect, Op, Protocol};

/// A silence this long is an error: no measured command takes longer on a healthy server.
const SILENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 << 10;

/// One shape of traffic.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub op: Op,
    /// Requests per batch.
    pub depth: usize,
    pub connections: usize,
    /// Keys are uniform over `0..span`.
    pub span: u64,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    Saturated,
    /// Requests per second over all connections.
    Rate(f64),
}

/// What one run did.
#[derive(Debug)]
pub struct Tally {
    pub ops: u64,
    pub misses: u64,
    /// One entry per batch.
    pub latency: Histogram,
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// CPU time of the generator thread.
    pub generator_cpu: Duration,
}

struct Connection {
    stream: TcpStream,
    replies_left: usize,
    /// When the batch was sent (closed loop) or due (open loop), since the run began.
    begun_ns: u64,
    /// The beginning of a reply whose end has not arrived.
    partial: Vec<u8>,
    /// The end of a batch the socket would not take, and how much of that has been sent since.
    unsent: Vec<u8>,
    unsent_at: usize,
}

/// Open connections and the traffic they carry.
pub struct Load {
    spec: Spec,
    keys: Keys,
    random: Random,
    batch: Batch,
    expect: Expect,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// First in, first out, so that an open loop goes round all connections.
    free: VecDeque<usize>,
    events: Vec<epoll::Event>,
    input: Vec<u8>,
    stuck: usize,
    pace: Pace,
    sending: bool,
    origin: Instant,
    now_ns: u64,
    due_ns: f64,
    heard_ns: u64,
    cpu_at_start: Duration,
    tally: Tally,
}

impl Load {
    /// Connects; sends nothing yet.
    pub fn open(address: SocketAddr, protocol: Protocol, spec: Spec, keys: Keys, values: &Values) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(spec.connections);
        for index in 0..spec.connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            connections.push(Connection {
                stream,
                replies_left: 0,
                begun_ns: 0,
                partial: Vec::new(),
                unsent: Vec::new(),
                unsent_at: 0,
            });
        }
        let expect = protocol.expect(spec.op, values.of(0));
        let idle = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Ok(Self {
            free: (0..spec.connections).collect(),
            events: vec![idle; spec.connections],
            input: vec![0; READ_BYTES.max(2 * spec.depth * expect.len())],
            batch: Batch::new(protocol, spec.op, spec.depth, values),
            random: Random::new(spec.seed),
            spec,
            keys,
            expect,
            epoll,
            connections,
            stuck: 0,
            pace: Pace::Saturated,
            sending: false,
            origin: Instant::now(),
            now_ns: 0,
            due_ns: 0.0,
            heard_ns: 0,
            cpu_at_start: Duration::ZERO,
            tally: Tally::new(),
        })
    }

    /// Runs for `duration`, then waits for the replies still due.
    pub fn run(&mut self, pace: Pace, duration: Duration) -> Result<Tally> {
        self.begin(pace)?;
        while self.elapsed() < duration {
            self.turn()?;
        }
        self.finish()
    }

    /// Starts a run; `turn` carries it on and `finish` ends it.
    pub fn begin(&mut self, pace: Pace) -> Result<()> {
        self.tally = Tally::new();
        self.pace = pace;
        self.sending = true;
        self.cpu_at_start = thread_cpu();
        self.origin = Instant::now();
        self.now_ns = 0;
        self.due_ns = 0.0;
        self.heard_ns = 0;
        if pace == Pace::Saturated {
            while let Some(index) = self.free.pop_front() {
                self.send(index, self.now_ns)?;
            }
        }
        Ok(())
    }

    /// Time since `begin`, as of the last turn.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns)
    }

    /// Open loop: true when every request that fell due has been sent.
    pub fn caught_up(&self) -> bool {
        self.due_ns > self.now_ns as f64
    }

    /// One pass: sends what is due, reads what is there. Waits only in the closed loop; the open loop spins to keep its times.
    pub fn turn(&mut self) -> Result<()> {
        self.tick();
        self.send_due()?;
        let wait = match self.pace {
            Pace::Rate(_) => Timespec { tv_sec: 0, tv_nsec: 0 },
            Pace::Saturated if self.stuck > 0 => Timespec { tv_sec: 0, tv_nsec: 1_000_000 },
            Pace::Saturated => Timespec { tv_sec: 1, tv_nsec: 0 },
        };
        let ready = match epoll::wait(&self.epoll, self.events.as_mut_slice(), Some(&wait)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        self.tick();
        if ready > 0 {
            self.heard_ns = self.now_ns;
        } else if self.free.len() < self.connections.len() && self.now_ns - self.heard_ns > SILENCE.as_nanos() as u64 {
            fail!("no reply for {} s", SILENCE.as_secs());
        }
        for at in 0..ready {
            let index = self.events[at].data.u64() as usize;
            self.receive(index)?;
        }
        if self.stuck > 0 {
            self.flush_stuck()?;
        }
        Ok(())
    }

    /// Sends no more, waits for every outstanding reply and returns what the run did.
    pub fn finish(&mut self) -> Result<Tally> {
        self.sending = false;
        while self.free.len() < self.connections.len() {
            self.turn()?;
        }
        self.tick();
        self.tally.elapsed = self.elapsed();
        self.tally.generator_cpu = thread_cpu() - self.cpu_at_start;
        Ok(std::mem::replace(&mut self.tally, Tally::new()))
    }

    /// The latencies recorded since `begin` or the last call; the run goes on.
    pub fn take_latency(&mut self) -> Histogram {
        std::mem::replace(&mut self.tally.latency, Histogram::new())
    }

    fn tick(&mut self) {
        self.now_ns = self.origin.elapsed().as_nanos() as u64;
    }

    fn send_due(&mut self) -> Result<()> {
        let Pace::Rate(per_second) = self.pace else { return Ok(()) };
        let interval_ns = 1e9 * self.spec.depth as f64 / per_second;
        while self.sending && self.due_ns <= self.now_ns as f64 {
            let Some(index) = self.free.pop_front() else { break };
            self.send(index, self.due_ns as u64)?;
            self.due_ns += interval_ns;
        }
        Ok(())
    }

    #[inline]
    fn send(&mut self, index: usize, begun_ns: u64) -> Result<()> {
        let Self { keys, random, batch, spec, connections, .. } = self;
        let bytes = batch.with_keys(|key| keys.write(random.below(spec.span), key));
        let connection = &mut connections[index];
        connection.begun_ns = begun_ns;
        connection.replies_left = spec.depth;
        let sent = write_some(&connection.stream, bytes)?;
        if sent < bytes.len() {
            connection.unsent.extend_from_slice(&bytes[sent..]);
            self.stuck += 1;
        }
        Ok(())
    }

    fn flush_stuck(&mut self) -> Result<()> {
        for connection in self.connections.iter_mut().filter(|connection| !connection.unsent.is_empty()) {
            connection.unsent_at += write_some(&connection.stream, &connection.unsent[connection.unsent_at..])?;
            if connection.unsent_at == connection.unsent.len() {
                connection.unsent.clear();
                connection.unsent_at = 0;
                self.stuck -= 1;
            }
        }
        Ok(())
    }

    #[inline]
    fn receive(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let kept = connection.partial.len();
        self.input[..kept].copy_from_slice(&connection.partial);
        let filled = match (&connection.stream).read(&mut self.input[kept..]) {
            Ok(0) => fail!("the server closed a connection"),
            Ok(read) => kept + read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let before = connection.replies_left;
        let bytes = &self.input[..filled];
        let used = self.expect.scan(bytes, &mut connection.replies_left, &mut self.tally.misses)?;
        connection.partial.clear();
        connection.partial.extend_from_slice(&bytes[used..]);
        self.tally.ops += (before - connection.replies_left) as u64;
        if connection.replies_left > 0 {
            return Ok(());
        }
        let begun_ns = connection.begun_ns;
        self.tick();
        self.tally.latency.record(self.now_ns.saturating_sub(begun_ns));
        if self.sending && self.pace == Pace::Saturated {
            return self.send(index, self.now_ns);
        }
        self.free.push_back(index);
        self.send_due()
    }
}

impl Tally {
    fn new() -> Self {
        Self { ops: 0, misses: 0, latency: Histogram::new(), elapsed: Duration::ZERO, generator_cpu: Duration::ZERO }
    }
}

/// Stores every key of `indices` once over one connection, and checks every answer.
pub fn fill(
    address: SocketAddr,
    protocol: Protocol,
    keys: &Keys,
    values: &Values,
    indices: std::ops::Range<u64>,
    ttl_s: Option<u32>,
) -> Result<()> {
    store(address, protocol, keys, indices.map(|index| (index, values.of(index))), ttl_s)
}

/// Stores these keys, by index, with these values over one connection, and checks every answer.
pub fn store<'v>(
    address: SocketAddr,
    protocol: Protocol,
    keys: &Keys,
    entries: impl Iterator<Item = (u64, &'v [u8])>,
    ttl_s: Option<u32>,
) -> Result<()> {
    /// Two batches are under way at a time, so that neither side waits for the other.
    const BATCH: usize = 256;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let expect = protocol.expect(Op::Set, b"");
    let mut input = vec![0; READ_BYTES];
    let mut filled = 0;
    let mut requests = Vec::new();
    let (mut entries, mut outstanding) = (entries.peekable(), 0);
    while entries.peek().is_some() || outstanding > 0 {
        requests.clear();
        for (index, value) in entries.by_ref().take(BATCH) {
            protocol.set(&mut requests, &keys.key(index), value, ttl_s);
            outstanding += 1;
        }
        stream.write_all(&requests)?;
        let allowed = if entries.peek().is_some() { BATCH } else { 0 };
        while outstanding > allowed {
            let read = stream.read(&mut input[filled..])?;
            if read == 0 {
                fail!("the server closed the connection");
            }
            filled += read;
            let used = expect.scan(&input[..filled], &mut outstanding, &mut 0)?;
            input.copy_within(used..filled, 0);
            filled -= used;
        }
    }
    Ok(())
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes a non-blocking socket took, 0 when it is full.
pub fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> Result<usize> {
    match stream.write(bytes) {
        Ok(sent) => Ok(sent),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
