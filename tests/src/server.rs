//! The server under test: found, started on a free port, waited for, and gone with the test.
//!
//! | variable | effect |
//! |---|---|
//! | (none) | `millpond` beside the test executable's folder (`target/<profile>/millpond`) |
//! | `MILLPOND_BIN` | this binary; a genuine `redis-server` or `valkey-server` (or a script that becomes one) works too |
//! | `MILLPOND_ORACLE=HOST:PORT` | a server that already runs; tests that need flags of their own are left out, and say so |

use crate::conn::Conn;
use crate::patience::Patience;
use crate::reply::Reply;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// From the start of the process to the first PONG.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// From a signal to the end of the process.
const EXIT_DEADLINE: Duration = Duration::from_secs(30);
/// A chosen port can be taken by somebody else before the server binds it.
const PORT_ATTEMPTS: u32 = 5;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Who answers, as far as expectations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Millpond,
    /// A genuine Redis of this major and minor version.
    Redis(u32, u32),
    Valkey,
}

impl Kind {
    /// Whether a mark of a script names this server: `redis` (any but Millpond), `r7.0`, `r8` or `valkey`.
    pub fn is_named(&self, mark: &str) -> bool {
        match self {
            Kind::Millpond => false,
            Kind::Valkey => matches!(mark, "redis" | "valkey"),
            Kind::Redis(major, minor) => {
                mark == "redis" || mark == format!("r{major}") || mark == format!("r{major}.{minor}")
            }
        }
    }
}

/// What to start, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Flags by their redis.conf names, values included.
    pub flags: Vec<String>,
    /// Given as `--requirepass`, and used by the harness's own connections.
    pub password: Option<String>,
    /// Listen on a Unix socket instead of TCP.
    pub unix_socket: bool,
    /// Listen on this address instead of 127.0.0.1.
    pub bind: Option<IpAddr>,
}

impl Options {
    /// Adds one flag with its value.
    pub fn flag(mut self, name: &str, value: &str) -> Options {
        self.flags.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Sets the password of the default user.
    pub fn password(mut self, password: &str) -> Options {
        self.password = Some(password.to_owned());
        self
    }

    fn is_plain(&self) -> bool {
        self.flags.is_empty() && self.password.is_none() && !self.unix_socket && self.bind.is_none()
    }
}

/// A running server. Dropping it kills the child, and shows its output when the test is failing.
pub struct Server {
    address: Address,
    password: Option<String>,
    child: Option<Child>,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    home: Option<Home>,
    _exclusive: Option<MutexGuard<'static, ()>>,
}

impl Server {
    /// Starts a server with plain options, or takes the running one of `MILLPOND_ORACLE`.
    pub fn start() -> Server {
        Server::start_with(Options::default()).expect("plain options always start")
    }

    /// Starts a server; `None`, with a line on stderr, when the environment names a running server and the options need a new one.
    pub fn start_with(options: Options) -> Option<Server> {
        if let Some(mut running) = Server::running() {
            if !options.is_plain() {
                eprintln!("left out: needs a server of its own, MILLPOND_ORACLE names a running one");
                return None;
            }
            static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
            let guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            running._exclusive = Some(guard);
            return Some(running);
        }
        for attempt in 1..=PORT_ATTEMPTS {
            match Server::try_start(&options) {
                Ok(server) => return Some(server),
                Err(report) if attempt == PORT_ATTEMPTS || !report.to_lowercase().contains("in use") => {
                    panic!("{report}")
                }
                Err(_) => {}
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    /// The server of `MILLPOND_ORACLE`, shared with whoever else uses it.
    fn running() -> Option<Server> {
        let at = std::env::var("MILLPOND_ORACLE").ok()?;
        let at = at.to_socket_addrs().expect("MILLPOND_ORACLE is HOST:PORT").next().expect("MILLPOND_ORACLE resolves");
        let address = Address::Tcp(at);
        Some(Server {
            address,
            password: None,
            child: None,
            output: Arc::default(),
            readers: Vec::new(),
            home: None,
            _exclusive: None,
        })
    }

    fn try_start(options: &Options) -> Result<Server, String> {
        let home = Home::new();
        let ip = options.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut command = server_command();
        command.current_dir(&home.0);
        let address = if options.unix_socket {
            let path = home.0.join("s");
            command.args(["--port", "0", "--unixsocket"]).arg(&path);
            Address::Unix(path)
        } else {
            let port = free_port(ip);
            command.args(["--port", &port.to_string()]);
            Address::Tcp(SocketAddr::new(ip, port))
        };
        if let Some(ip) = options.bind {
            command.args(["--bind", &ip.to_string()]);
        }
        if let Some(password) = &options.password {
            command.args(["--requirepass", password]);
        }
        command.args(["--enable-debug-command", "yes"]).args(&options.flags);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![capture(child.stdout.take(), &output), capture(child.stderr.take(), &output)];
        let mut server = Server {
            address,
            password: options.password.clone(),
            child: Some(child),
            output,
            readers,
            home: Some(home),
            _exclusive: None,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let patience = Patience::of(READY_DEADLINE);
        let pid = self.pid();
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(format!("the server ended at once with {status}:\n{}", self.output()));
            }
            if let Ok(mut conn) = Conn::open(&self.address)
                && self.log_in(&mut conn).is_ok()
                && conn.send_command(&["PING"]).is_ok()
                && conn.read() == Ok(Reply::Status("PONG".into()))
            {
                // Another test's server could have won the port.
                let answered = info_of(&mut conn).get("process_id").and_then(|id| id.parse::<u32>().ok());
                return if answered == pid {
                    Ok(())
                } else {
                    Err(format!("the port is in use by process {answered:?}"))
                };
            }
            if !patience.is_left() {
                return Err(format!("the server is not ready after {READY_DEADLINE:?}:\n{}", self.output()));
            }
        }
    }

    fn log_in(&self, conn: &mut Conn) -> Result<(), String> {
        let Some(password) = &self.password else { return Ok(()) };
        conn.send_command(&["AUTH", password]).map_err(|e| e.to_string())?;
        match conn.read() {
            Ok(Reply::Status(_)) => Ok(()),
            other => Err(format!("AUTH: {other:?}")),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The TCP port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        match &self.address {
            Address::Tcp(at) => at.port(),
            Address::Unix(_) => 0,
        }
    }

    /// The process id of the child, `None` for a server that was already running.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A new connection, not logged in.
    pub fn connect(&self) -> Conn {
        Conn::open(&self.address).unwrap_or_else(|e| panic!("connecting to {:?}: {e}", self.address))
    }

    /// A new connection, logged in when there is a password.
    pub fn connect_ready(&self) -> Conn {
        let mut conn = self.connect();
        self.log_in(&mut conn).unwrap_or_else(|e| panic!("{e}"));
        conn
    }

    /// Who answers.
    pub fn kind(&self) -> Kind {
        self.info().kind()
    }

    /// All fields of a bare INFO.
    pub fn info(&self) -> Info {
        info_of(&mut self.connect_ready())
    }

    /// What the server wrote to stdout and stderr so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// Asks the process to end (SIGTERM) without waiting for it.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks the process to end as Ctrl-C does (SIGINT) without waiting for it.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().expect("only a child can be ended");
        let pid = rustix::process::Pid::from_raw(pid as i32).expect("a child has a positive id");
        rustix::process::kill_process(pid, signal).expect("the child is ours");
    }

    /// Waits for the process to end by itself; then [`Server::output`] is complete.
    pub fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("only a child can be waited for");
        let status = wait_for(child);
        let status =
            status.unwrap_or_else(|| panic!("the server still runs after {EXIT_DEADLINE:?}:\n{}", self.output()));
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }

    /// [`Server::terminate`], then [`Server::wait`].
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Ends the process at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() && self.child.is_some() {
            eprintln!("--- output of the server ---\n{}---", self.output());
        }
        drop(self.home.take());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

/// The fields of an INFO reply, by name.
#[derive(Clone, Debug, Default)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    /// Reads the text of an INFO reply leniently; the INFO tests read it strictly.
    pub fn parse(text: &str) -> Info {
        Info(
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(k, v)| (k.to_owned(), v.trim_end().to_owned()))
                .collect(),
        )
    }

    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// The field as a number, with a panic that names it.
    pub fn number(&self, field: &str) -> i64 {
        self.get(field)
            .and_then(|v| v.parse().ok())
            .unwrap_or_else(|| panic!("INFO has no number {field}: {:?}", self.get(field)))
    }

    /// The `redis_version` it claims.
    pub fn version(&self) -> &str {
        self.get("redis_version").unwrap_or("0.0.0")
    }

    fn kind(&self) -> Kind {
        if self.get("millpond_version").is_some() {
            return Kind::Millpond;
        }
        if self.get("valkey_version").is_some() {
            return Kind::Valkey;
        }
        let mut parts = self.version().split('.').map(|part| part.parse().unwrap_or(0));
        Kind::Redis(parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

fn info_of(conn: &mut Conn) -> Info {
    Info::parse(conn.command(&["INFO"]).expect_text())
}

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Ok(path) = std::env::var("MILLPOND_BIN") {
        return std::path::absolute(path).expect("MILLPOND_BIN is a path");
    }
    let test = std::env::current_exe().expect("a running test has an executable");
    let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let path = profile.join("millpond");
    assert!(
        path.exists(),
        "{} does not exist: build the server first (cargo build), or set MILLPOND_BIN",
        path.display()
    );
    path
}

/// True when the binary under test is not Millpond, judged by its `--version` line.
pub fn is_oracle() -> bool {
    static ORACLE: OnceLock<bool> = OnceLock::new();
    *ORACLE.get_or_init(|| {
        if let Some(running) = Server::running() {
            return running.kind() != Kind::Millpond;
        }
        let said = Command::new(binary()).arg("--version").output().map(|out| out.stdout).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        said.starts_with("Redis server") || said.starts_with("Valkey server")
    })
}

/// The command that starts the binary under test; a genuine Redis is told to keep off the disk. The harness's own
/// variables are kept from it: Millpond takes every `MILLPOND_*` for a setting.
pub fn server_command() -> Command {
    let mut command = Command::new(binary());
    for name in ["MILLPOND_BIN", "MILLPOND_ORACLE", "MILLPOND_SKIP_KAFKA"] {
        command.env_remove(name);
    }
    if is_oracle() {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command
}

/// Waits for a process to end by itself; `None` when it does not within the deadline.
pub fn wait_for(child: &mut Child) -> Option<ExitStatus> {
    let patience = Patience::of(EXIT_DEADLINE);
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        if !patience.is_left() {
            return None;
        }
    }
}

/// A port nobody listens on at this moment.
pub fn free_port(ip: IpAddr) -> u16 {
    TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr()).expect("a loopback port").port()
}

fn capture<R: Read + Send + 'static>(from: Option<R>, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    let mut from = from.expect("the stream is piped");
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..n]);
        }
    })
}

/// A private empty folder, removed with the server. Its path is short: a socket path has at most 107 bytes.
struct Home(PathBuf);

impl Home {
    fn new() -> Home {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Home(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
