//! A crowd: many clients, each on a connection of its own, that ask for one key at the same moment and go on until each has its
//! value. One thread, one epoll; loads and pauses are timers, so a reply never waits for one.
//!
//! The server is held while the first requests are sent and let go when all of them lie in its sockets: a generator cannot send
//! thousands of requests in less time than a load takes, and the moment of the stampede should not depend on it.
//!
//! It promises that a client ends with the value that was loaded, or with the stale one where there was one, and that silence is an
//! error which tells what the clients were doing.

mod plan;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;

use crate::error::{Result, fail};
use crate::hist::Histogram;
use crate::load::{thread_cpu, write_some};
use crate::resp::{self, Reply};
use plan::{Answer, shown};
pub use plan::{Plan, Way};

/// Time beyond the load after which a client without a value is an error: more than any wait or lock lasts.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause of a client that found the key locked.
const PAUSE_MS: u64 = 50;
const READ_BYTES: usize = 64 << 10;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub loads: u64,
    pub requests: u64,
    /// From the moment of the stampede to each client's value; a loader has its value once it is stored.
    pub latency: Histogram,
    /// Share of the time from the first value to the last that the generator's core was in use.
    pub generator_busy: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Asking,
    Locking,
    Loading,
    /// Replies that are due.
    Storing(u8),
    Pausing,
    AskingAgain,
}

struct Client {
    stream: TcpStream,
    doing: Doing,
    has_value: bool,
    token: Vec<u8>,
    /// The beginning of a reply whose end has not arrived.
    partial: Vec<u8>,
}

/// Connected clients.
pub struct Crowd {
    clients: Vec<Client>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    input: Vec<u8>,
}

impl Crowd {
    /// Takes connections that owe no reply.
    pub fn new(streams: Vec<TcpStream>) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(streams.len());
        for (index, stream) in streams.into_iter().enumerate() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            // Closed with a reset, no connection stays behind in TIME_WAIT, where it would hold its port.
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            let (token, partial) = (Vec::new(), Vec::new());
            clients.push(Client { stream, doing: Doing::Nothing, has_value: false, token, partial });
        }
        let idle = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Ok(Self { clients, epoll, events: vec![idle; 1024], input: vec![0; READ_BYTES] })
    }

    /// All clients ask, then `release` lets the server go; returns once each has its value and nobody loads any more.
    pub fn rush(&mut self, plan: &Plan, release: impl FnOnce() -> Result<()>) -> Result<Outcome> {
        for client in &mut self.clients {
            client.has_value = false;
        }
        let mut rush = Rush {
            ask: plan.ask(),
            plan,
            left: self.clients.len(),
            active: 0,
            crowd: self,
            timers: BinaryHeap::new(),
            origin: Instant::now(),
            now_ns: 0,
            first_value: None,
            outcome: Outcome { loads: 0, requests: 0, latency: Histogram::new(), generator_busy: 0.0 },
        };
        for index in 0..rush.left {
            rush.begin(index, Doing::Asking)?;
        }
        rush.origin = Instant::now();
        release()?;
        rush.run()?;
        Ok(rush.outcome)
    }
}

/// One run.
struct Rush<'c> {
    plan: &'c Plan,
    crowd: &'c mut Crowd,
    ask: Vec<u8>,
    /// Clients without a value, and clients that do something.
    left: usize,
    active: usize,
    /// When a load or a pause ends, and whose.
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    origin: Instant,
    now_ns: u64,
    /// When the first value came, and the CPU time of this thread then.
    first_value: Option<(u64, Duration)>,
    outcome: Outcome,
}

impl Rush<'_> {
    fn run(&mut self) -> Result<()> {
        let deadline = self.plan.load + PATIENCE;
        while self.active > 0 {
            self.tick();
            if self.now_ns > deadline.as_nanos() as u64 {
                return self.give_up();
            }
            let next_ns = self.timers.peek().map_or(u64::MAX, |Reverse((due_ns, _))| *due_ns);
            self.turn(Duration::from_nanos(next_ns.saturating_sub(self.now_ns)).min(Duration::from_secs(1)))?;
        }
        Ok(())
    }

    fn give_up(&self) -> Result<()> {
        let clients = &self.crowd.clients;
        let doing = |wanted: &[Doing]| clients.iter().filter(|client| wanted.contains(&client.doing)).count();
        fail!(
            "{} of {} clients have no value after {:.1} s and {} loads: {} wait for a read, {} for a lock, {} load, {} wait for a store, {} pause",
            self.left,
            clients.len(),
            self.now_ns as f64 / 1e9,
            self.outcome.loads,
            doing(&[Doing::Asking, Doing::AskingAgain]),
            doing(&[Doing::Locking]),
            doing(&[Doing::Loading]),
            doing(&[Doing::Storing(1), Doing::Storing(2)]),
            doing(&[Doing::Pausing])
        )
    }

    /// Ends what is due and reads what is there, or arrives within `wait`.
    fn turn(&mut self, wait: Duration) -> Result<()> {
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let ready = match epoll::wait(&self.crowd.epoll, self.crowd.events.as_mut_slice(), Some(&wait)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for at in 0..ready {
            let index = self.crowd.events[at].data.u64() as usize;
            self.receive(index)?;
        }
        self.tick();
        while let Some(&Reverse((due_ns, index))) = self.timers.peek()
            && due_ns <= self.now_ns
        {
            self.timers.pop();
            let next =
                if self.crowd.clients[index].doing == Doing::Loading { Doing::Storing(0) } else { Doing::AskingAgain };
            self.begin(index, next)?;
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.now_ns = self.origin.elapsed().as_nanos() as u64;
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let Crowd { clients, input, .. } = &mut *self.crowd;
        let client = &mut clients[index];
        let kept = client.partial.len();
        if kept == input.len() {
            fail!("a reply is longer than {READ_BYTES} bytes");
        }
        input[..kept].copy_from_slice(&client.partial);
        let filled = match (&client.stream).read(&mut input[kept..]) {
            Ok(0) => fail!("the server closed a connection"),
            Ok(read) => kept + read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.tick();
        let mut at = 0;
        while at < filled
            && let Some((reply, used)) = resp::parse(&self.crowd.input[at..filled])?
        {
            at += used;
            self.take(index, reply)?;
        }
        let Crowd { clients, input, .. } = &mut *self.crowd;
        clients[index].partial.clear();
        clients[index].partial.extend_from_slice(&input[at..filled]);
        Ok(())
    }

    fn take(&mut self, index: usize, reply: Reply) -> Result<()> {
        let doing = self.crowd.clients[index].doing;
        match (doing, reply) {
            (_, Reply::Error(text)) => fail!("the server answered {text}"),
            (Doing::Asking | Doing::AskingAgain, reply) => match self.plan.read(&reply)? {
                Answer::Value(None) => self.end(index),
                Answer::Value(Some(token)) => {
                    self.note_value(index);
                    self.load(index, token);
                }
                Answer::Load(token) => self.load(index, token),
                Answer::AgainMs(ms) => self.set_timer(index, Doing::Pausing, Duration::from_millis(ms)),
                Answer::Absent if self.plan.way == Way::Alone => self.load(index, Vec::new()),
                Answer::Absent if doing == Doing::Asking => return self.begin(index, Doing::Locking),
                Answer::Absent => self.set_timer(index, Doing::Pausing, Duration::from_millis(PAUSE_MS)),
            },
            (Doing::Locking, Reply::Simple(_)) => self.load(index, Vec::new()),
            (Doing::Locking, Reply::Bulk(None)) => {
                self.set_timer(index, Doing::Pausing, Duration::from_millis(PAUSE_MS));
            }
            (Doing::Storing(1), Reply::Integer(_)) => self.end(index),
            (Doing::Storing(left), Reply::Simple(text)) if text == "OK" => match left {
                1 => self.end(index),
                _ => self.crowd.clients[index].doing = Doing::Storing(left - 1),
            },
            (doing, reply) => fail!("{doing:?} was answered with {} after {} loads", shown(&reply), self.outcome.loads),
        }
        Ok(())
    }

    /// Sends what `doing` begins with.
    fn begin(&mut self, index: usize, doing: Doing) -> Result<()> {
        let Self { plan, crowd, ask, .. } = self;
        let client = &mut crowd.clients[index];
        self.active += usize::from(client.doing == Doing::Nothing);
        client.doing = doing;
        let built;
        let request = match doing {
            Doing::Locking => {
                built = plan.take_lock(index);
                &built
            }
            Doing::Storing(_) => {
                let replies;
                (built, replies) = plan.store(&client.token);
                client.doing = Doing::Storing(replies);
                self.outcome.requests += u64::from(replies) - 1;
                &built
            }
            _ => &*ask,
        };
        self.outcome.requests += 1;
        if write_some(&client.stream, request)? < request.len() {
            fail!("a socket took only part of a request");
        }
        Ok(())
    }

    fn load(&mut self, index: usize, token: Vec<u8>) {
        self.outcome.loads += 1;
        self.crowd.clients[index].token = token;
        self.set_timer(index, Doing::Loading, self.plan.load);
    }

    fn set_timer(&mut self, index: usize, doing: Doing, after: Duration) {
        self.crowd.clients[index].doing = doing;
        self.timers.push(Reverse((self.now_ns + after.as_nanos() as u64, index)));
    }

    fn end(&mut self, index: usize) {
        self.note_value(index);
        self.crowd.clients[index].doing = Doing::Nothing;
        self.active -= 1;
    }

    /// Notes the time of a client's value, once.
    fn note_value(&mut self, index: usize) {
        if std::mem::replace(&mut self.crowd.clients[index].has_value, true) {
            return;
        }
        self.outcome.latency.record(self.now_ns);
        self.left -= 1;
        let (began_ns, cpu) = *self.first_value.get_or_insert_with(|| (self.now_ns, thread_cpu()));
        if self.left == 0 {
            let wall_ns = self.now_ns - began_ns;
            self.outcome.generator_busy = (thread_cpu() - cpu).as_nanos() as f64 / wall_ns.max(1) as f64;
        }
    }
}
