//! What both Rust programs share: the addresses to test, small assertions, and the report printed last.

use std::env;
use std::fmt::{Debug, Display};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Size of the large values, in bytes.
pub const MIB: usize = 1 << 20;
/// Longer than any healthy check: a lost reply must become a failure, not a hang.
pub const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// Where and why the check that runs now panicked.
static REASON: Mutex<String> = Mutex::new(String::new());

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Host and port of the server without a password.
pub fn address() -> (String, u16) {
    (variable("MILLPOND_HOST"), variable("MILLPOND_PORT").parse().expect("MILLPOND_PORT"))
}

/// Host and port of the server with a password; a check that asks fails when there is none.
pub fn password_address() -> (String, u16) {
    let port = variable("MILLPOND_PASSWORD_PORT").parse().expect("no server with a password: give --password-address");
    (variable("MILLPOND_PASSWORD_HOST"), port)
}

/// The password of that server.
pub fn password() -> String {
    variable("MILLPOND_PASSWORD")
}

/// Verdicts by check name.
pub struct Report {
    client: &'static str,
    version: String,
    checks: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    /// An empty report; `package` names the library in this package's manifest, whose pinned version is reported.
    pub fn new(client: &'static str, package: &str) -> Self {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.payload_as_str().unwrap_or("?");
            let place = panic.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
            let mut reason = REASON.lock().expect("one writer");
            if reason.is_empty() {
                *reason = format!("{place}: {}", text.chars().take(400).collect::<String>());
            }
        }));
        let manifest = include_str!("../Cargo.toml");
        let line = manifest.lines().find(|line| line.starts_with(&format!("{package} = "))).expect("a dependency");
        let version =
            line.split("\"=").nth(1).and_then(|rest| rest.split('"').next()).expect("a pinned version").to_owned();
        Self { client, version, checks: Default::default() }
    }

    /// Stores the outcome of one check; `finished` is false for a check that ran out of time.
    pub fn add(&mut self, name: String, passed: bool, finished: bool) {
        let reason = std::mem::take(&mut *REASON.lock().expect("one reader"));
        let verdict = match (passed, finished) {
            (true, _) => "ok".to_owned(),
            (false, false) => format!("not finished after {CHECK_LIMIT:?}"),
            (false, true) => reason,
        };
        assert!(self.checks.insert(name.clone(), verdict.into()).is_none(), "two checks are called {name}");
    }

    /// Runs a blocking check in a thread of its own.
    pub fn run(&mut self, name: String, check: impl FnOnce() + Send + 'static) {
        let (done, verdict) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_ok();
            let _ = done.send(passed);
        });
        let verdict = verdict.recv_timeout(CHECK_LIMIT);
        self.add(name, verdict.unwrap_or(false), verdict.is_ok());
    }

    /// Runs an asynchronous check in a task of its own.
    pub async fn run_async(&mut self, name: String, check: impl Future<Output = ()> + Send + 'static) {
        let verdict = tokio::time::timeout(CHECK_LIMIT, tokio::spawn(check)).await;
        self.add(name, matches!(verdict, Ok(Ok(()))), verdict.is_ok());
    }

    /// Prints the report and ends the process: a client that still reconnects must not keep it alive.
    pub fn print(self) -> ! {
        println!("{}", serde_json::json!({"client": self.client, "version": self.version, "checks": self.checks}));
        std::process::exit(0)
    }
}

/// Fails unless both are equal.
#[track_caller]
pub fn same<A: PartialEq<B> + Debug, B: Debug>(actual: A, wanted: B) {
    assert!(actual == wanted, "got {actual:.200?}, wanted {wanted:.200?}");
}

/// Fails unless `low <= actual <= high`.
#[track_caller]
pub fn between(low: i64, actual: i64, high: i64) {
    assert!(low <= actual && actual <= high, "got {actual}, wanted {low} to {high}");
}

/// Fails unless the text has the part.
#[track_caller]
pub fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {:?}", text.chars().take(300).collect::<String>());
}

/// The value; fails on an error.
#[track_caller]
pub fn ok<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("unexpected error: {error}"),
    }
}

/// Fails unless it is an error with the text in it; gives the error.
#[track_caller]
pub fn fails<T: Debug, E: Display>(result: Result<T, E>, text: &str) -> E {
    match result {
        Ok(value) => panic!("got {value:?}, wanted an error with {text:?}"),
        Err(error) => {
            assert!(error.to_string().contains(text), "got {error}, wanted an error with {text:?}");
            error
        }
    }
}

/// Asks until it is so, at most for five seconds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} is not so after 5 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every byte value, five times.
pub fn every_byte() -> Vec<u8> {
    (0..=255).cycle().take(1280).collect()
}

/// Seconds since 1970 plus a hundred.
pub fn soon() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_secs() as i64 + 100
}
