//! Projections seen from outside: a real broker and registry, an independent producer, and servers that follow them.
//!
//! One stack (`tests/kafka/stack`) serves a whole test program and ends with its process. A test takes a [`Kafka`]: `shared` beside
//! other tests, or `alone` when it stops the broker or the registry. Whatever it stopped runs again when it ends.
//!
//! | variable | effect |
//! |---|---|
//! | `MILLPOND_SKIP_KAFKA=1` | the tests are left out, and say so |
//! | `SEED=n` | what is drawn at random; printed, another one each run |
//! | `ROUNDS=n` | how often servers are killed, where a test says so |

use crate::conn::Conn;
use crate::patience::Patience;
use crate::reply::Reply;
use crate::server::is_oracle;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// Whatever is to happen by itself happens within this time: generous, for a debug build on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Waits until there is something; panics with `what` after [`DEADLINE`].
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::of(DEADLINE);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(patience.is_left(), "not within {DEADLINE:?}: {what}");
    }
}

/// A generator for what tests draw at random: splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `SEED`, else by the clock; the seed is printed.
    pub fn seeded() -> Random {
        let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
        let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos().into());
        let seed: u64 = given.unwrap_or_else(now);
        eprintln!("SEED={seed}");
        Random(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

// ---- the stack ----

struct Stack {
    folder: PathBuf,
    about: Value,
}

fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/stack")
}

/// Runs `tests/kafka/stack`; its JSON, or what is wrong.
fn run_stack(words: &[&str]) -> Result<Value, String> {
    let shown = format!("tests/kafka/stack {}", words.join(" "));
    let output = Command::new(tool()).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{shown}: {error} (it needs Python 3.11 or later)"))?;
    if !output.status.success() {
        return Err(format!("{shown}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{shown}: {error}"))
}

fn stack() -> &'static Stack {
    static STACK: OnceLock<Result<Stack, String>> = OnceLock::new();
    let start = || {
        let id = std::process::id().to_string();
        run_stack(&["install"])?;
        let work = Path::new(env!("CARGO_MANIFEST_DIR")).join(".work/kafka");
        remove_old(&work);
        let folder = work.join(format!("projection-{id}"));
        // A broker that gets no processor for long is taken for dead, and all partitions are without a leader.
        let patient = "broker.session.timeout.ms=3000";
        let about = run_stack(&["up", folder.to_str().expect("a plain path"), "--tied-to", &id, "--set", patient])?;
        Ok(Stack { folder, about })
    };
    STACK.get_or_init(start).as_ref().unwrap_or_else(|reason| panic!("no Kafka for tests: {reason}"))
}

/// Removes the folders of programs that are gone.
fn remove_old(work: &Path) {
    for entry in std::fs::read_dir(work).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(id) = name.strip_prefix("projection-").and_then(|id| id.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{id}")).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// True, with a line on stderr, when these tests are to be left out.
fn is_left_out(test: &str) -> bool {
    let why = match std::env::var("MILLPOND_SKIP_KAFKA") {
        Ok(value) if !value.is_empty() && value != "0" => "MILLPOND_SKIP_KAFKA is set",
        _ if is_oracle() => "a genuine Redis has no projections",
        _ => return false,
    };
    // Past the test runner, which shows what is printed only when a test fails.
    let _ = writeln!(std::io::stderr(), "left out: {test}: {why}");
    true
}

// ---- the producer ----

/// A running `produce.py`.
struct Producer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// Those that no test uses at the moment: starting one takes longer than most tests.
static IDLE: Mutex<Vec<Producer>> = Mutex::new(Vec::new());

impl Producer {
    fn take() -> Producer {
        let idle = IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        idle.unwrap_or_else(Producer::start)
    }

    fn start() -> Producer {
        let words: Vec<String> = list(&stack().about["produce"]).iter().map(|word| text(word).to_owned()).collect();
        let mut command = Command::new(&words[0]);
        let child = command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        Producer { child, to, from }
    }

    fn ask_all(&mut self, questions: &[Value]) -> Vec<Value> {
        let mut lines = String::new();
        for question in questions {
            lines.push_str(&question.to_string());
            lines.push('\n');
        }
        std::thread::scope(|scope| {
            // The pipes are short: what is asked and what is answered pass each other.
            let to = &mut self.to;
            scope.spawn(move || to.write_all(lines.as_bytes()).expect("produce.py runs"));
            let answer = |_| {
                let mut line = String::new();
                self.from.read_line(&mut line).expect("produce.py answers");
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("produce.py: {error}: {line:?}"))
            };
            questions.iter().map(answer).collect()
        })
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Errors of a broker that is without leaders for a moment.
const PASSING: [&str; 6] = [
    "_NOENT",
    "INVALID_REPLICATION_FACTOR",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "UNKNOWN_LEADER_EPOCH",
    "FENCED_LEADER_EPOCH",
];

// ---- what a test has of both ----

/// Lets in any number of tests that share something, or one that has it alone. (A lock's guard could not go to other threads.)
struct Gate {
    inside: Mutex<Inside>,
    left: Condvar,
}

struct Inside {
    sharing: u32,
    is_one_alone: bool,
    /// Those who want to be alone go first: else they would wait for all others.
    wanting: u32,
}

/// A place inside a gate.
struct Place {
    gate: &'static Gate,
    is_alone: bool,
}

static BROKER: Gate = Gate::new();
static REGISTRY: Gate = Gate::new();

impl Gate {
    const fn new() -> Gate {
        Gate { inside: Mutex::new(Inside { sharing: 0, is_one_alone: false, wanting: 0 }), left: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn enter(&'static self, is_alone: bool) -> Place {
        let mut inside = self.lock();
        let wait = |inside| self.left.wait(inside).unwrap_or_else(|poisoned| poisoned.into_inner());
        if is_alone {
            inside.wanting += 1;
            while inside.is_one_alone || inside.sharing > 0 {
                inside = wait(inside);
            }
            inside.wanting -= 1;
            inside.is_one_alone = true;
        } else {
            while inside.is_one_alone || inside.wanting > 0 {
                inside = wait(inside);
            }
            inside.sharing += 1;
        }
        Place { gate: self, is_alone }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        if self.is_alone {
            inside.is_one_alone = false;
        } else {
            inside.sharing -= 1;
        }
        self.gate.left.notify_all();
    }
}

/// The stack for one test, and a producer of its own.
pub struct Kafka {
    test: String,
    topics: u32,
    producer: Option<Producer>,
    /// Commands that undo what was done to broker and registry.
    undo: Vec<&'static str>,
    /// None of another's producer: that one has a place for both.
    broker: Option<Place>,
    /// Taken when a schema is registered.
    registry: Option<Place>,
}

/// A test whose broker and registry run all the time; `None`, with a line, where Kafka is left out.
pub fn shared(test: &str) -> Option<Kafka> {
    (!is_left_out(test)).then(|| Kafka::new(test, Some(BROKER.enter(false))))
}

/// A test that may stop the broker: no other one runs meanwhile.
pub fn alone(test: &str) -> Option<Kafka> {
    (!is_left_out(test)).then(|| Kafka::new(test, Some(BROKER.enter(true))))
}

/// A test that may stop the registry: no other one that registers schemas runs meanwhile.
pub fn alone_with_registry(test: &str) -> Option<Kafka> {
    let mut kafka = shared(test)?;
    kafka.registry = Some(REGISTRY.enter(true));
    Some(kafka)
}

impl Kafka {
    fn new(test: &str, broker: Option<Place>) -> Kafka {
        stack();
        let (test, producer) = (test.to_owned(), Some(Producer::take()));
        Kafka { test, topics: 0, producer, undo: Vec::new(), broker, registry: None }
    }

    /// The same stack with another producer, for a thread of the same test.
    pub fn another(&self, name: &str) -> Kafka {
        Kafka::new(&format!("{}-{name}", self.test), None)
    }

    /// Does one operation of produce.py; its answer, good or bad.
    pub fn try_ask(&mut self, question: Value) -> Value {
        if question["op"] == "register" && self.registry.is_none() {
            self.registry = Some(REGISTRY.enter(false));
        }
        self.producer.as_mut().expect("there until the end").ask_all(&[question]).remove(0)
    }

    /// Does one operation of produce.py; panics when it fails. On a busy machine the broker may be without a leader for a moment:
    /// what changes nothing then is done again.
    pub fn ask(&mut self, question: Value) -> Value {
        let patience = Patience::of(DEADLINE);
        loop {
            let answer = self.try_ask(question.clone());
            if answer["ok"] == true {
                return answer;
            }
            let is_passing = PASSING.contains(&answer["kind"].as_str().unwrap_or_default());
            let changes_nothing = ["create_topic", "offsets", "fold", "read"].contains(&text(&question["op"]));
            assert!(is_passing && changes_nothing && patience.is_left(), "{question}: {answer}");
        }
    }

    /// A new topic.
    pub fn topic(&mut self, partitions: u32) -> String {
        self.topic_with(partitions, json!({}))
    }

    /// A new topic with settings.
    pub fn topic_with(&mut self, partitions: u32, config: Value) -> String {
        let topic = self.name();
        self.ask(json!({"op": "create_topic", "topic": topic, "partitions": partitions, "config": config}));
        topic
    }

    /// A name that nobody else has.
    pub fn name(&mut self) -> String {
        self.topics += 1;
        format!("{}-{}", self.test, self.topics)
    }

    /// Sends one record; where it is. Keys and values are as produce.py takes them: text, null, `{"b64": ..}`, `{"avro": ..}`.
    pub fn send(&mut self, topic: &str, key: impl Into<Value>, value: impl Into<Value>) -> (i64, i64) {
        self.send_with(topic, key, value, json!({}))
    }

    /// The same with further arguments of `send`, such as `{"partition": 1}`.
    pub fn send_with(
        &mut self,
        topic: &str,
        key: impl Into<Value>,
        value: impl Into<Value>,
        more: Value,
    ) -> (i64, i64) {
        let mut question = json!({"op": "send", "topic": topic, "key": key.into(), "value": value.into()});
        question.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = self.ask(question);
        (number(&answer["partition"]), number(&answer["offset"]))
    }

    /// Sends many records, in order and without waiting for each; where they are.
    pub fn send_all(&mut self, topic: &str, records: impl IntoIterator<Item = (Value, Value)>) -> Vec<(i64, i64)> {
        self.send_all_with(topic, records, &json!({}))
    }

    /// The same with settings of the client.
    pub fn send_all_with(
        &mut self,
        topic: &str,
        records: impl IntoIterator<Item = (Value, Value)>,
        config: &Value,
    ) -> Vec<(i64, i64)> {
        let question = |(key, value)| json!({"op": "send", "topic": topic, "key": key, "value": value, "config": config, "wait": false});
        let mut questions: Vec<Value> = records.into_iter().map(question).collect();
        questions.push(json!({"op": "flush"}));
        let answers = self.producer.as_mut().expect("there until the end").ask_all(&questions);
        let failed = answers.iter().find(|answer| answer["ok"] != true);
        assert!(failed.is_none(), "{}", failed.expect("some"));
        let delivered = list(&answers.last().expect("flush's")["delivered"]);
        delivered.iter().map(|record| (number(&record["partition"]), number(&record["offset"]))).collect()
    }

    /// Registers a schema; its id.
    pub fn register(&mut self, subject: &str, schema: Value) -> i64 {
        number(&self.ask(json!({"op": "register", "subject": subject, "schema": schema}))["id"])
    }

    /// The last committed value of every key, by the independent reader: text or Avro decoded.
    pub fn fold(&mut self, topic: &str, decode: bool) -> BTreeMap<String, Value> {
        let answer = self.ask(json!({"op": "fold", "topic": topic, "decode": decode}));
        let entry = |entry: &Value| (text(&entry[0]).to_owned(), entry[1].clone());
        list(&answer["entries"]).iter().map(entry).collect()
    }

    /// Log start and end of each partition.
    pub fn ends(&mut self, topic: &str) -> Vec<(i64, i64)> {
        let answer = self.ask(json!({"op": "offsets", "topic": topic}));
        let partitions = answer["partitions"].as_object().expect("partitions");
        let of = |at: usize| &partitions[&at.to_string()];
        (0..partitions.len()).map(|at| (number(&of(at)["start"]), number(&of(at)["hw"]))).collect()
    }

    /// Waits until a projection has applied all that a topic holds at this moment (open transactions aside).
    pub fn settle(&mut self, conn: &mut Conn, projection: &str, topic: &str) {
        let ends = self.ends(topic);
        let patience = Patience::of(DEADLINE);
        let is_settled = |conn: &mut Conn| {
            let offsets = fields(&conn.cmd(&format!("PROJECTION.OFFSETS {projection}")));
            let at = |number: usize| {
                let plain = offsets.get(&number.to_string());
                plain.or_else(|| offsets.get(&format!("{topic}/{number}"))).map(Reply::expect_int)
            };
            ends.iter().enumerate().all(|(number, (_, end))| at(number).is_some_and(|at| at >= *end))
        };
        while !is_settled(conn) {
            let told = |conn: &mut Conn| conn.cmd(&format!("PROJECTION.INFO {projection} PARTITIONS"));
            assert!(patience.is_left(), "{topic} ends at {ends:?}, and after {DEADLINE:?}: {}", told(conn));
        }
    }

    /// Where plain clients connect.
    pub fn bootstrap(&self) -> &'static str {
        text(&stack().about["bootstrap"])
    }

    /// What `stack up` told.
    pub fn about(&self) -> &'static Value {
        &stack().about
    }

    /// The registry's address.
    pub fn registry(&self) -> &'static str {
        text(&stack().about["registry"])
    }

    /// A configuration file with this cluster, this registry (impatient) and these projections, each indented by two.
    pub fn config(&self, projections: &str) -> String {
        config(self.bootstrap(), self.registry(), projections)
    }

    /// `kill-`, `start-`, `stop-`, `cont-` with `broker` or `registry`. Only for tests that have it alone.
    pub fn control(&mut self, what: &'static str) {
        let place = if what.ends_with("broker") { &self.broker } else { &self.registry };
        assert!(place.as_ref().is_some_and(|place| place.is_alone), "{what}: other tests need it");
        let folder = stack().folder.to_str().expect("a plain path");
        let undo = match what {
            "kill-broker" => Some("start-broker"),
            "stop-broker" => Some("cont-broker"),
            "kill-registry" => Some("start-registry"),
            "stop-registry" => Some("cont-registry"),
            _ => None,
        };
        self.undo.retain(|undo| *undo != what);
        self.undo.extend(undo);
        run_stack(&[what, folder]).unwrap_or_else(|reason| panic!("{reason}"));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for what in std::mem::take(&mut self.undo) {
            if let Err(reason) = run_stack(&[what, stack().folder.to_str().expect("a plain path")]) {
                eprintln!("{reason}");
            }
        }
        if !std::thread::panicking()
            && let Some(producer) = self.producer.take()
        {
            IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(producer);
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected text, got {value}"))
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("expected a number, got {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected a list, got {value}"))
}

/// A configuration file: one cluster and one registry, both called `main`, and projections, each indented by two.
pub fn config(bootstrap: &str, registry: &str, projections: &str) -> String {
    format!(
        "kafka:\n  main: {{ bootstrap_servers: '{bootstrap}' }}\n\
         registries:\n  main: {{ url: ['{registry}'], timeout: 2s, negative_ttl: 200ms, unknown_schema_grace: 1s }}\n\
         projections:\n{projections}\n"
    )
}

/// One projection of a configuration: its topics, and further settings as YAML without braces. Its keys are `NAME:{key}` unless
/// the settings say something else.
pub fn projection(name: &str, topics: &[&str], more: &str) -> String {
    let source = format!("source: {{ kafka: main, topics: [{}] }}", topics.join(", "));
    let key = if more.contains("key: {") { String::new() } else { format!(", key: {{ template: '{name}:{{key}}' }}") };
    format!("  {name}: {{ {source}{key}, {more} }}\n")
}

/// Bytes as produce.py takes them.
pub fn bytes(bytes: &[u8]) -> Value {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let is_there = digit <= part.len();
            text.push(if is_there { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    json!({ "b64": text })
}

/// Pairs of a reply, by name.
pub fn fields(reply: &Reply) -> BTreeMap<String, Reply> {
    let pairs = reply.pairs().unwrap_or_else(|| panic!("expected pairs, got {reply}"));
    pairs.into_iter().map(|(name, value)| (name.expect_text().to_owned(), value.clone())).collect()
}
