//! The thread of one projection: source to engine to store, in slices, and back.

mod applying;
mod reading;

use super::board::{self, ShownErrors};
use super::letters::{Outbox, SendLetter};
use super::look::TimeAsked;
use super::registry::Wanted;
use super::room::Room;
use crate::clock::Clock;
use crate::shared::Shared;
use commands::projections::{Asked, Board, Projection, SeekTo, Times};
use projection::engine::{At, Engine, Wish};
use projection::schema::{STACK_BYTES, SchemaError, SchemaId, SchemaText};
use projection::source::{FoundTopic, Source};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;
use storage::{Cx, KeyHash, Millis, Participant, Position};

/// Time between two showings of the board while there is always more to read, and while there is nothing, ms.
const SHOW_MS: u64 = 20;
const SHOW_IDLE_MS: u64 = 1000;
/// Between two tries to assign a partition, ms.
const ASSIGN_PAUSE_MS: u64 = 500;

/// What others tell the runner.
pub enum Answer {
    /// A topic as it was found.
    Found(usize, FoundTopic),
    /// All were found.
    Looked,
    /// One was not.
    NotFound {
        /// It is not there; else nobody could be asked.
        missing: bool,
        /// Why.
        reason: String,
    },
    /// A schema, or why it is not here.
    Schema(Wanted, Result<SchemaText, SchemaError>),
    /// Where a time is in a partition, or why that is not known.
    Time(TimeAsked, Result<i64, String>),
    /// A dead letter was acknowledged, or why not.
    Letter(At, i64, Result<(), String>),
}

/// What a runner works with.
pub struct Parts<S> {
    /// Where records come from.
    pub source: S,
    /// Answers of others.
    pub inbox: Receiver<Answer>,
    /// Asks for a look at the topics, or where a time is.
    pub looks: Sender<Option<TimeAsked>>,
    /// Asks for schemas.
    pub schemas: Sender<Wanted>,
    /// Where it shows how it stands, and is asked.
    pub board: Arc<Projection>,
    /// The store, and settings.
    pub shared: &'static Shared,
    /// Time.
    pub clock: Clock,
    /// Of what is drawn.
    pub seed: u64,
    /// Between two questions for a schema that is not to be had.
    pub schema_pause: Duration,
    /// For so long a record waits for a schema that no registry knows.
    pub schema_grace: Duration,
}

/// Begins a projection; it runs as long as the process.
pub fn start<S: Source + Send + 'static>(
    name: &str,
    engine: Engine,
    send_letter: SendLetter,
    parts: Parts<S>,
) -> Result<(), String> {
    let thread = thread::Builder::new().name(format!("projection-{name}")).stack_size(STACK_BYTES);
    let topics = engine.config().source.topics.iter().map(|topic| Arc::from(&**topic)).collect();
    let room = Room::new(engine.config().limits.max_memory);
    let runner = move || {
        let runner = Runner {
            engine,
            topics,
            participant: parts.shared.store.join(),
            sweep: None,
            room,
            hashes: Vec::new(),
            errors: ShownErrors::default(),
            shown_ms: 0,
            is_dirty: true,
            schemas_asked_ms: 0,
            schemas_asked: HashSet::new(),
            outbox: Outbox::new(send_letter),
            unassigned: HashMap::new(),
            assigned_ms: 0,
            read_times: Times::default(),
            apply_times: Times::default(),
            charged_bytes: 0,
            parts,
        };
        runner.run();
    };
    thread.spawn(runner).map(|_| ()).map_err(|error| error.to_string())
}

struct Runner<S> {
    engine: Engine,
    topics: Vec<Arc<str>>,
    participant: Participant<'static>,
    /// The generation that stays, and where the sweep of the others goes on.
    sweep: Option<(u8, Position)>,
    room: Room,
    /// Hashes of the keys of the batch that is applied.
    hashes: Vec<KeyHash>,
    errors: ShownErrors,
    shown_ms: u64,
    /// Something happened since the board was shown.
    is_dirty: bool,
    schemas_asked_ms: u64,
    /// Schemas that were asked for and not answered.
    schemas_asked: HashSet<(SchemaId, bool)>,
    outbox: Outbox,
    /// Partitions that could not be assigned, with their offsets; and when that was last tried again.
    unassigned: HashMap<At, i64>,
    assigned_ms: u64,
    /// How long it takes to read a batch, and to apply a slice of one.
    read_times: Times,
    apply_times: Times,
    /// Bytes of what the engine remembers that are in the store's books.
    charged_bytes: i64,
    parts: Parts<S>,
}

impl<S: Source> Runner<S> {
    fn run(mut self) {
        loop {
            self.hear();
            self.grant();
            let read = self.may_read() && self.read();
            if read || self.is_dirty {
                self.apply();
            }
            if let Some((generation, from)) = self.sweep {
                self.sweep_on(generation, from);
            }
            if self.show_if_due(self.is_dirty && !read) {
                self.charge();
            }
        }
    }

    /// Shows how it stands, at once or from time to time; whether it did.
    fn show_if_due(&mut self, is_due: bool) -> bool {
        let now_ms = self.now_ms();
        let pause_ms = if self.is_dirty { SHOW_MS } else { SHOW_IDLE_MS };
        let is_due = is_due || now_ms.saturating_sub(self.shown_ms) >= pause_ms;
        if is_due {
            let board = self.board(now_ms);
            self.parts.board.show(board);
            (self.shown_ms, self.is_dirty) = (now_ms, false);
        }
        is_due
    }

    fn now_ms(&self) -> u64 {
        self.parts.clock.uptime_ms()
    }

    fn board(&mut self, now_ms: u64) -> Board {
        let times = [("read_batch", self.read_times), ("apply_slice", self.apply_times)];
        Board { times, ..board::of(&mut self.engine, &self.topics, &mut self.errors, now_ms) }
    }

    /// What is remembered beside the store counts as memory used.
    fn charge(&mut self) {
        let bytes = self.engine.remembered_bytes() as i64;
        if bytes != self.charged_bytes {
            self.parts.shared.store.memory().charge_outside(bytes - self.charged_bytes);
            self.charged_bytes = bytes;
        }
    }

    /// Takes what others have to say.
    fn hear(&mut self) {
        let now_ms = self.now_ms();
        while let Ok(answer) = self.parts.inbox.try_recv() {
            self.is_dirty = true;
            match answer {
                Answer::Letter(at, offset, result) => self.letter_answered(at, offset, result),
                Answer::Found(topic, found) => self.engine.found(topic, &found),
                Answer::Time(TimeAsked { topic, partition, ticket, .. }, found) => {
                    let found = found.and_then(|offset| {
                        self.engine.reaches((topic, partition), offset);
                        self.seek((topic, partition), offset)
                    });
                    self.parts.board.tell_sought(ticket, found);
                }
                Answer::Looked => {
                    self.engine.looked();
                    self.engine.watch(now_ms);
                }
                Answer::NotFound { missing, reason } => self.engine.not_found(missing, reason),
                Answer::Schema(Wanted { id, of_key }, result) => {
                    self.schemas_asked.remove(&(id, of_key));
                    let grace_ms = self.parts.schema_grace.as_millis() as u64;
                    self.engine.schema(id, of_key, result.as_ref().map_err(Clone::clone), now_ms, grace_ms);
                }
            }
        }
        if let Some(reason) = self.outbox.send_again(now_ms) {
            self.engine.letter_refused(reason);
        }
        self.assign_again(now_ms);
        if self.parts.board.take_reload() {
            self.is_dirty = true;
            self.engine.reload();
            self.parts.board.reloads();
        }
        for asked in self.parts.board.take_asked() {
            self.is_dirty = true;
            self.obey(asked);
        }
        // Whoever waits for a schema asks again from time to time.
        if now_ms.saturating_sub(self.schemas_asked_ms) >= self.parts.schema_pause.as_millis() as u64 {
            self.schemas_asked_ms = now_ms;
            for (id, of_key) in self.engine.wanted_schemas() {
                self.ask_for_schema(id, of_key);
            }
        }
    }

    /// Asks for a schema, unless that was asked for and not answered yet.
    fn ask_for_schema(&mut self, id: SchemaId, of_key: bool) {
        if self.schemas_asked.insert((id, of_key)) {
            let _ = self.parts.schemas.send(Wanted { id, of_key });
        }
    }

    /// What was refused is tried again.
    fn note_assigned(&mut self, at: At, offset: i64, result: Result<(), String>) {
        match result {
            Ok(()) => drop(self.unassigned.remove(&at)),
            Err(reason) => {
                self.engine.not_found(false, reason);
                self.unassigned.insert(at, offset);
            }
        }
    }

    fn assign_again(&mut self, now_ms: u64) {
        if self.unassigned.is_empty() || now_ms.saturating_sub(self.assigned_ms) < ASSIGN_PAUSE_MS {
            return;
        }
        self.assigned_ms = now_ms;
        for (at, offset) in core::mem::take(&mut self.unassigned) {
            let assigned = self.parts.source.assign(at.0, at.1, offset);
            self.note_assigned(at, offset, assigned);
        }
    }

    fn letter_answered(&mut self, at: At, offset: i64, result: Result<(), String>) {
        if !self.outbox.answered(at, offset, result.is_ok()) {
            return;
        }
        match result {
            Ok(()) => self.engine.letter_written(at, offset),
            Err(reason) => self.engine.letter_refused(reason),
        }
    }

    fn obey(&mut self, asked: Asked) {
        let place = |topics: &[Arc<str>], topic: &str, partition: i32| -> Option<At> {
            topics.iter().position(|known| **known == *topic).map(|topic| (topic, partition))
        };
        match asked {
            Asked::Pause(None) => _ = self.engine.set_paused(None, true),
            Asked::Resume(None) => _ = self.engine.set_paused(None, false),
            Asked::Pause(Some((topic, partition))) => {
                self.engine.set_paused(place(&self.topics, &topic, partition), true);
            }
            Asked::Resume(Some((topic, partition))) => {
                self.engine.set_paused(place(&self.topics, &topic, partition), false);
            }
            Asked::Rebuild { is_shadow } => self.engine.rebuild_all(is_shadow),
            Asked::Seek { partition: (topic, partition), to, ticket } => match place(&self.topics, &topic, partition) {
                Some(at) => self.begin_seek(at, to, ticket),
                None => self.parts.board.tell_sought(ticket, Err("no such partition".to_owned())),
            },
            Asked::Skip(topic, partition, offset) => {
                if let Some(at) = place(&self.topics, &topic, partition) {
                    self.engine.skip(at, offset);
                }
            }
            Asked::ResetErrors => {
                self.engine.ring().clear();
                self.errors.clear();
            }
        }
    }

    /// Goes to a place in a partition; where a time is, the brokers are asked first.
    fn begin_seek(&mut self, (topic, partition): At, to: SeekTo, ticket: u64) {
        let log = self.engine.log_of((topic, partition));
        let offset = match (to, log) {
            (SeekTo::Time(time_ms), _) => {
                // Answered with `Answer::Time`.
                let _ = self.parts.looks.send(Some(TimeAsked { topic, partition, time_ms, ticket }));
                return;
            }
            (SeekTo::Offset(offset), _) => Ok(offset),
            (SeekTo::Beginning, Some((low, _))) => Ok(low),
            (SeekTo::End, Some((_, high))) => Ok(high),
            (_, None) => Err("no such partition".to_owned()),
        };
        let sought = offset.and_then(|offset| self.seek((topic, partition), offset));
        self.parts.board.tell_sought(ticket, sought);
    }

    fn seek(&mut self, at: At, offset: i64) -> Result<i64, String> {
        self.engine.seek(at, offset).map(|()| offset)
    }

    /// Carries out what the engine asks for.
    fn grant(&mut self) {
        for wish in self.engine.wishes() {
            self.is_dirty = true;
            let source = &mut self.parts.source;
            match wish {
                Wish::Assign(at, offset) => {
                    let assigned = source.assign(at.0, at.1, offset);
                    self.note_assigned(at, offset, assigned);
                }
                Wish::Pause((topic, partition)) => {
                    // It is assigned when it goes on.
                    self.unassigned.remove(&(topic, partition));
                    source.pause(topic, partition);
                }
                Wish::Resume(at, offset) => {
                    let resumed = source.resume(at.0, at.1, offset);
                    self.note_assigned(at, offset, resumed);
                }
                Wish::Renew => self.renew(),
                Wish::Schema { id, of_key } => self.ask_for_schema(id, of_key),
                Wish::Look => _ = self.parts.looks.send(None),
                Wish::Letter(letter) => {
                    if let Err(reason) = self.outbox.send(*letter) {
                        self.engine.letter_refused(reason);
                    }
                }
                Wish::Sweep(generation) => {
                    self.release();
                    self.sweep = Some((generation, Position::START));
                }
                Wish::Poison(key) => self.parts.board.set_poisoned(key, true),
                Wish::Heal(key) => self.parts.board.set_poisoned(key, false),
            }
        }
    }

    /// Makes the source anew.
    fn renew(&mut self) {
        let (name, renewed) = (&self.parts.board.name, self.parts.source.renew());
        tracing::warn!(
            projection = name,
            "nothing was told of a partition though its log goes on: the client is made anew"
        );
        match renewed {
            // All that is wanted of it is assigned next.
            Ok(()) => self.unassigned.clear(),
            Err(reason) => self.engine.not_found(false, reason),
        }
    }
}

fn cx<S>(parts: &Parts<S>) -> Cx {
    Cx { now: Millis(parts.clock.now_ms()), steady_ms: parts.clock.uptime_ms(), seed: parts.seed }
}
