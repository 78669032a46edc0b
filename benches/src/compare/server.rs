//! A server under measurement: started on one core, observed through the kernel's accounting, stopped while others are measured,
//! killed at the end, also when this process dies first.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

use crate::control::Control;
use crate::error::{Error, Result, fail};
use crate::wire::Protocol;

const START_DEADLINE: Duration = Duration::from_secs(20);

/// What a server is given to run with.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub core: usize,
    /// Connections it must take.
    pub connections: usize,
    /// Bytes of memory it may use, the least recently used keys going first; `None` is no limit worth the name.
    pub memory_limit: Option<u64>,
}

/// What to start: a name whose prefix tells the kind, and the program with its leading arguments.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub name: String,
    pub kind: Kind,
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Millpond,
    /// Valkey and Redis share their flags.
    Redis,
    Memcached,
}

impl Recipe {
    /// Reads `NAME=COMMAND`; the command is split as a shell would, without expansions.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((name, command)) = text.split_once('=') else { fail!("--server {text:?} is not NAME=COMMAND") };
        let kind = match name {
            name if name.starts_with("millpond") => Kind::Millpond,
            name if name.starts_with("valkey") || name.starts_with("redis") => Kind::Redis,
            name if name.starts_with("memcached") => Kind::Memcached,
            _ => fail!("server name {name:?} must begin with millpond, valkey, redis or memcached"),
        };
        let command = split_words(command)?;
        if command.is_empty() {
            fail!("--server {name} has no command");
        }
        Ok(Self { name: name.to_owned(), kind, command })
    }

    pub fn protocol(&self) -> Protocol {
        if self.kind == Kind::Memcached { Protocol::Memcached } else { Protocol::Resp }
    }

    fn flags(&self, port: u16, place: Place) -> Vec<String> {
        let connections = place.connections;
        let limit = match place.memory_limit {
            Some(bytes) => format!("--maxmemory {bytes} --maxmemory-policy allkeys-lru"),
            None => String::new(),
        };
        let text = match self.kind {
            Kind::Millpond => format!("--port {port} --threads 1 --maxclients {connections} {limit}"),
            Kind::Redis => format!(
                "--save '' --appendonly no --io-threads 1 --port {port} --bind 127.0.0.1 --maxclients {connections} --loglevel warning {limit}"
            ),
            Kind::Memcached => {
                let user = if rustix::process::geteuid().is_root() { "-u root" } else { "" };
                // Its largest item must hold a value of 1 MiB and what belongs to it.
                let limit =
                    place.memory_limit.map_or("-m 8192".to_owned(), |bytes| format!("-m {} -I 4m", bytes >> 20));
                format!("-p {port} -t 1 {limit} -U 0 -l 127.0.0.1 -c {connections} {user}")
            }
        };
        split_words(&text).expect("the flags are well quoted")
    }
}

/// A running server.
pub struct Server {
    pub recipe: Recipe,
    pub address: SocketAddr,
    pub version: String,
    control: Control,
    child: Child,
    log: PathBuf,
    paused: bool,
}

/// CPU time a server has used since it started.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    total_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

impl Cpu {
    /// Total time and the part of it in user mode since `earlier`, in nanoseconds; the parts are split by sampled ticks.
    pub fn since(&self, earlier: &Cpu) -> (f64, f64) {
        let total = (self.total_ns - earlier.total_ns) as f64;
        let user = (self.user_ticks - earlier.user_ticks) as f64;
        let system = (self.system_ticks - earlier.system_ticks) as f64;
        (total, total * user / (user + system).max(1.0))
    }
}

impl Server {
    /// Starts the program and waits until it answers.
    pub fn start(recipe: &Recipe, place: Place) -> Result<Self> {
        Self::try_start(recipe, place).map_err(|error| error.during(format_args!("starting {}", recipe.name)))
    }

    fn try_start(recipe: &Recipe, place: Place) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = std::env::temp_dir().join(format!("compare-{}-{port}.log", std::process::id()));
        let output = File::create(&log)?;
        let mut child = Orphan { child: None, log: Some(log.clone()) };
        let mut command = Command::new(&recipe.command[0]);
        command.args(&recipe.command[1..]).args(recipe.flags(port, place));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: both calls are single system calls that allocate nothing and take no lock, as a forked child requires.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(pin_to(place.core)?)
            });
        }
        match command.spawn() {
            Ok(spawned) => child.child = Some(spawned),
            Err(error) => fail!("{}: {error}", recipe.command[0]),
        }
        let started = Instant::now();
        let mut control = loop {
            let refused = match Control::open(address, recipe.protocol()) {
                Ok(control) => break control,
                Err(error) => error,
            };
            if let Some(status) = child.get().try_wait()? {
                fail!("it ended with {status} before it took connections on port {port}; it said:\n{}", tail(&log));
            }
            if started.elapsed() > START_DEADLINE {
                fail!(
                    "no connection on port {port} within {} s ({refused}); it said:\n{}",
                    START_DEADLINE.as_secs(),
                    tail(&log)
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        control.ping()?;
        let version = control.version()?;
        if let Some(status) = child.get().try_wait()? {
            fail!(
                "another program answers on port {port}; the one started ended with {status} and said:\n{}",
                tail(&log)
            );
        }
        Ok(Self { recipe: recipe.clone(), address, version, control, child: child.take(), log, paused: false })
    }

    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    pub fn protocol(&self) -> Protocol {
        self.recipe.protocol()
    }

    /// Counters of a running server; it must not be paused.
    pub fn control(&mut self) -> &mut Control {
        assert!(!self.paused, "a paused server cannot answer");
        &mut self.control
    }

    /// Keeps the server off its core until `resume`.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.paused = true;
        Ok(())
    }

    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.paused = false;
        Ok(())
    }

    /// CPU time of all its threads; exact only while the server sleeps, else up to one scheduler tick behind.
    pub fn cpu(&self) -> Result<Cpu> {
        let base = format!("/proc/{}", self.child.id());
        let mut total_ns = 0;
        for task in fs::read_dir(format!("{base}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total_ns += number(text.split_whitespace().next(), "schedstat")?;
        }
        let stat = fs::read_to_string(format!("{base}/stat"))?;
        // The second field is the program name in parentheses and may hold spaces; utime and stime are fields 14 and 15.
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
        Ok(Cpu { total_ns, user_ticks: number(fields.next(), "stat")?, system_ticks: number(fields.next(), "stat")? })
    }

    /// Waits until the server has nothing left to do for itself, such as growing a table after a fill: under 2 % of its core for
    /// 200 ms. Gives up quietly after 15 s, for a server that polls.
    pub fn wait_quiet(&self) -> Result<()> {
        const WINDOW: Duration = Duration::from_millis(200);
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let before = self.cpu()?;
            std::thread::sleep(WINDOW);
            let (used_ns, _) = self.cpu()?.since(&before);
            if used_ns < WINDOW.as_nanos() as f64 * 0.02 || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        Ok(number(kib, "VmRSS")? * 1024)
    }

    /// Resident memory once it has stayed within 0.1 % for `idle`; the last reading and `false` when that took over `deadline`.
    pub fn settled_rss(&self, idle: Duration, deadline: Duration) -> Result<(u64, bool)> {
        let started = Instant::now();
        let mut reference = self.rss()?;
        let mut since = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let rss = self.rss()?;
            if rss.abs_diff(reference) > reference / 1000 {
                (reference, since) = (rss, Instant::now());
            }
            if since.elapsed() >= idle || started.elapsed() >= deadline {
                return Ok((rss, since.elapsed() >= idle));
            }
        }
    }

    /// Adds to an error what this server has to do with it.
    pub fn blame(&mut self, error: Error, step: impl std::fmt::Display) -> Error {
        // A reset arrives shortly before a dying process can be waited for.
        let deadline = Instant::now() + Duration::from_millis(300);
        let mut status = None;
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            status = self.child.try_wait().ok().flatten();
        }
        let ended = status.map_or(String::new(), |status| {
            format!("\n{} ended with {status}; it said:\n{}", self.name(), tail(&self.log))
        });
        Error::new(format!("{}, {step}: {error}{ended}", self.name()))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(Some(&mut self.child), Some(&self.log));
    }
}

/// A child and its log that go unless they become a `Server`'s.
struct Orphan {
    child: Option<Child>,
    log: Option<PathBuf>,
}

impl Orphan {
    fn get(&mut self) -> &mut Child {
        self.child.as_mut().expect("spawned and not taken yet")
    }

    fn take(mut self) -> Child {
        self.log = None;
        self.child.take().expect("spawned and taken once")
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        end(self.child.as_mut(), self.log.as_deref());
    }
}

/// Each step fails only when the thing is gone already, which is what is wanted.
fn end(child: Option<&mut Child>, log: Option<&Path>) {
    if let Some(child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
    if let Some(log) = log {
        let _ = fs::remove_file(log);
    }
}

/// Binds the calling thread, and what it spawns, to one core.
pub fn pin_to(core: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
}

fn number(text: Option<&str>, source: &str) -> Result<u64> {
    match text.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(number),
        None => fail!("cannot read {source} of the server's process"),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Splits as a shell does: blanks separate, single and double quotes group, a backslash takes the next character as it is.
fn split_words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => fail!("a backslash ends {text:?}"),
            },
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        fail!("a quote is not closed in {text:?}");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(split_words(r#" a "b c"  '' d\ e 'f"g' "#).unwrap(), ["a", "b c", "", "d e", "f\"g"]);
        assert!(split_words("'open").is_err());
        assert!(split_words("end\\").is_err());
    }

    #[test]
    fn the_name_tells_the_kind() {
        assert_eq!(Recipe::parse("memcached16=x").unwrap().kind, Kind::Memcached);
        assert_eq!(Recipe::parse("redis7=x -y").unwrap().command, ["x", "-y"]);
        assert!(Recipe::parse("other=x").is_err());
        assert!(Recipe::parse("valkey=").is_err());
        assert!(Recipe::parse("valkey").is_err());
    }
}
