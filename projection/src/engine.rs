//! The engine of one projection: takes what a source tells, says what is to be applied, and what is to be asked for.
//!
//! No thread, clock or socket is in here: the time is an argument, schemas and topics come as data. Whoever runs it calls
//! [`Engine::tell`] with the source's events, applies what [`Engine::take`] gives, says so with [`Engine::applied`], and
//! carries out [`Engine::wishes`].
//!
//! The law: at rest the keyspace is the fold of all records below the offsets that were applied.

mod batch;
mod silence;
mod status;
#[cfg(test)]
mod tests;

use crate::config::{Form, KeyDecode, OnStale, Pinned, PoisonKey, Policy, Projection, ValueDecode};
use crate::datum::Datum;
use crate::errors::{Class, Poison, Ring};
use crate::mapping::{Bad, DecodedKey, Mapping, Said};
use crate::schema::{Look, SchemaError, SchemaText, Schemas, split};
use crate::source::{Event, FoundTopic, Letter, RawRecord, Trouble};
use crate::state::{Blocked, Partition};
use batch::Drawn;
pub use batch::{Batch, Mutation, Op};
pub use status::{PartitionStatus, Status};
use std::collections::BTreeMap;
use storage::{Millis, Provenance};

/// A topic and a partition of it.
pub type At = (usize, i32);

/// What the engine asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Begin a partition there, or go on there.
    Assign(At, i64),
    /// Tell nothing of a partition.
    Pause(At),
    /// Go on with it there.
    Resume(At, i64),
    /// Make the source anew; what is to be told is assigned after it.
    Renew,
    /// The schema of an id: of keys, or of values.
    Schema {
        /// The id.
        id: u64,
        /// Whether keys have it.
        of_key: bool,
    },
    /// Look at the topics now.
    Look,
    /// Write a record to the dead letters; [`Engine::letter_written`] is to be told.
    Letter(Box<Letter>),
    /// Entries of earlier generations are to be dropped.
    Sweep(u8),
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read that had a value.
    pub records: u64,
    /// Records read that had none.
    pub tombstones: u64,
    /// Bytes of keys and values read.
    pub bytes: u64,
    /// Records passed over since they could not be read.
    pub skipped: u64,
    /// Those of them that were written to the dead letters.
    pub dead_letters: u64,
    /// Entries written over one that came from elsewhere.
    pub conflicts: u64,
    /// Times all was read anew.
    pub rebuilds: u64,
    /// Times the source was made anew, since it had forgotten a partition.
    pub renewals: u64,
}

/// A topic as the engine knows it.
#[derive(Debug, Default)]
struct Topic {
    /// Its id, and the number that provenances have of it.
    incarnation: Option<(String, u16)>,
}

/// See the module's text.
pub struct Engine {
    config: Projection,
    mapping: Mapping,
    topics: Vec<Topic>,
    incarnations: u16,
    partitions: BTreeMap<At, Partition>,
    key_schemas: Schemas,
    value_schemas: Schemas,
    batch: Batch,
    /// Texts of fields while they are made.
    scratch: Vec<u8>,
    ring: Ring,
    counts: Counts,
    generation: u8,
    /// A rebuild is to end with a sweep.
    sweep_due: bool,
    wishes: Vec<Wish>,
    silence: silence::Silence,
    /// The brokers were reached when they were last looked for.
    connected: bool,
    last_error: String,
    /// Something of a log is gone that was not read: all is to be read anew once the topics were looked at.
    is_lost: bool,
    /// All partitions had caught up once: those that are added later do not take that back.
    was_complete: bool,
}

impl Engine {
    /// The engine of a checked configuration.
    pub fn new(config: Projection) -> Self {
        Self {
            mapping: Mapping::new(&config),
            topics: config.source.topics.iter().map(|_| Topic::default()).collect(),
            incarnations: 0,
            partitions: BTreeMap::new(),
            key_schemas: Schemas::default(),
            value_schemas: Schemas::default(),
            batch: Batch::default(),
            scratch: Vec::new(),
            ring: Ring::new(config.errors.ring),
            counts: Counts::default(),
            generation: 0,
            sweep_due: false,
            wishes: vec![Wish::Look],
            silence: silence::Silence::default(),
            connected: false,
            last_error: String::new(),
            is_lost: false,
            was_complete: false,
            config,
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &Projection {
        &self.config
    }

    /// What it asks for, in order.
    pub fn wishes(&mut self) -> Vec<Wish> {
        let wishes = core::mem::take(&mut self.wishes);
        for wish in &wishes {
            if let Wish::Assign(at, _) | Wish::Resume(at, _) = wish
                && let Some(partition) = self.partitions.get_mut(at)
            {
                partition.awaited = false;
            }
        }
        wishes
    }

    /// A topic was looked at.
    pub fn found(&mut self, topic: usize, found: &FoundTopic) {
        self.connected = true;
        let known = self.topics[topic].incarnation.as_ref().map(|(id, _)| id.clone());
        // An id that cannot be asked for at the moment says nothing, and one that comes late is the topic's.
        let is_same = known.as_ref().is_some_and(|id| found.id.is_empty() || id.is_empty() || *id == found.id);
        if let Some((id, _)) = self.topics[topic].incarnation.as_mut().filter(|_| is_same && !found.id.is_empty()) {
            id.clone_from(&found.id);
        }
        if !is_same {
            self.incarnations = self.incarnations.wrapping_add(1);
            self.topics[topic].incarnation = Some((found.id.clone(), self.incarnations));
            if known.is_some() {
                // Deleted and made anew: nothing of what was read says anything about it.
                self.last_error = format!("topic {} was made anew", self.config.source.topics[topic]);
                self.partitions.retain(|at, _| at.0 != topic || (at.1 as usize) < found.partitions.len());
                self.rebuild(Some((topic, found)));
                return;
            }
        }
        for (number, (low, high)) in found.partitions.iter().enumerate() {
            let at = (topic, number as i32);
            match self.partitions.get_mut(&at) {
                Some(partition) => {
                    partition.log = (*low, *high);
                    // More has come, which will be told.
                    partition.at_end &= *high <= partition.next;
                    // The log became shorter while it was read: what it lost will not come.
                    if !partition.live
                        && let Some(target) = &mut partition.target
                    {
                        *target = (*target).min(*high);
                    }
                }
                None => {
                    let mut partition = Partition { log: (*low, *high), ..Partition::default() };
                    partition.rewind(*low, *high);
                    self.partitions.insert(at, partition);
                    self.wishes.push(Wish::Assign(at, *low));
                }
            }
        }
    }

    /// All topics were looked at.
    pub fn looked(&mut self) {
        if core::mem::take(&mut self.is_lost) {
            self.rebuild(None);
        }
    }

    /// A topic could not be looked at: `missing` if it is not there, else nobody could be asked.
    pub fn not_found(&mut self, missing: bool, reason: String) {
        self.connected = missing;
        self.last_error = reason;
    }

    /// Reads everything anew; entries that do not come again are dropped at its end. `changed`: a topic as it is now.
    fn rebuild(&mut self, changed: Option<(usize, &FoundTopic)>) {
        self.generation = self.generation.wrapping_add(1);
        self.counts.rebuilds += 1;
        self.sweep_due = true;
        if let Some((topic, found)) = changed {
            for (number, log) in found.partitions.iter().enumerate() {
                self.partitions.entry((topic, number as i32)).or_default().log = *log;
            }
        }
        for (at, partition) in &mut self.partitions {
            let (low, high) = partition.log;
            partition.rewind(low, high);
            self.wishes.push(Wish::Assign(*at, low));
            if partition.paused {
                self.wishes.push(Wish::Pause(*at));
            }
        }
    }

    /// Reads everything anew, as told by hand.
    pub fn rebuild_all(&mut self) {
        self.rebuild(None);
        self.wishes.push(Wish::Look);
    }

    /// Pauses partitions or lets them go on; all, or one. Gives how many changed.
    pub fn set_paused(&mut self, which: Option<At>, paused: bool) -> usize {
        let mut changed = 0;
        for (at, partition) in &mut self.partitions {
            if which.is_none_or(|which| which == *at) && partition.paused != paused {
                partition.paused = paused;
                changed += 1;
                if partition.blocked.is_none() {
                    self.wishes.push(if paused { Wish::Pause(*at) } else { Wish::Resume(*at, partition.next) });
                }
            }
        }
        changed
    }

    /// Passes over the record that blocks a partition, if it is the one at that offset.
    pub fn skip(&mut self, at: At, offset: i64) -> bool {
        let Some(partition) = self.partitions.get_mut(&at) else { return false };
        if partition.blocked.is_none() || partition.next != offset {
            return false;
        }
        partition.next = offset + 1;
        self.counts.skipped += 1;
        self.unblock(at);
        true
    }

    fn unblock(&mut self, at: At) {
        let Some(partition) = self.partitions.get_mut(&at) else { return };
        partition.blocked = None;
        partition.awaited = true;
        if !partition.paused {
            self.wishes.push(Wish::Resume(at, partition.next));
        }
    }

    /// Takes what the source tells.
    pub fn tell(&mut self, event: Event<'_>, now_ms: u64, wall_ms: u64) {
        match event {
            Event::Record(record) => self.record(&record, now_ms, wall_ms),
            Event::End { topic, partition, offset } => {
                self.silence.heard((topic, partition));
                if let Some(partition) = self.partitions.get_mut(&(topic, partition))
                    && partition.blocked.is_none()
                    && !partition.awaited
                    && offset >= partition.next
                {
                    partition.next = offset;
                    partition.log.1 = partition.log.1.max(offset);
                    partition.at_end = true;
                }
            }
            Event::Trouble(trouble, text) => self.trouble(trouble, text, wall_ms),
        }
    }

    fn trouble(&mut self, trouble: Trouble, text: String, wall_ms: u64) {
        match trouble {
            Trouble::Passing => {}
            Trouble::AllDown => {
                self.connected = false;
                self.last_error = text;
                self.wishes.push(Wish::Look);
            }
            Trouble::OutOfRange { topic, partition } => {
                self.last_error = text;
                // What lies between is lost, or the log is another one: only all of it tells. Once it is known where the logs
                // begin now; what is told of one that is assigned anew is from before.
                if self.partitions.get(&(topic, partition)).is_some_and(|partition| !partition.awaited) {
                    self.is_lost = true;
                    self.wishes.push(Wish::Look);
                }
            }
            Trouble::Damaged { topic, partition } => {
                self.last_error.clone_from(&text);
                let at = (topic, partition);
                let Some(state) = self.partitions.get_mut(&at).filter(|state| state.blocked.is_none()) else { return };
                state.blocked = Some(Blocked::Poison(Class::Crc));
                let offset = state.next;
                self.wishes.push(Wish::Pause(at));
                self.note_poison(at, offset, (Class::Crc, text), wall_ms);
            }
        }
    }

    fn record(&mut self, record: &RawRecord<'_>, now_ms: u64, wall_ms: u64) {
        let at = (record.topic, record.partition);
        let Some(partition) = self.partitions.get(&at) else { return };
        // From before a pause or a rewind.
        if partition.blocked.is_some() || partition.awaited || record.offset < partition.next {
            return;
        }
        match self.read(record, now_ms) {
            Ok(Read::Done) => {}
            Ok(Read::Wanted { id, of_key }) => {
                let partition = self.partitions.get_mut(&at).expect("just found");
                partition.next = record.offset;
                partition.at_end = false;
                partition.blocked = Some(Blocked::Schema { id, of_key, since_ms: now_ms });
                self.wishes.extend([Wish::Pause(at), Wish::Schema { id, of_key }]);
                return;
            }
            Err((class, text)) => {
                self.note_poison(at, record.offset, (class, text.clone()), wall_ms);
                let policy = self.config.policy(class);
                if policy != Policy::Stop && self.config.errors.poison_key == PoisonKey::Delete {
                    self.delete_key_of(record);
                }
                if policy != Policy::Skip {
                    let is_letter = policy == Policy::DeadLetter;
                    let partition = self.partitions.get_mut(&at).expect("just found");
                    partition.next = record.offset;
                    partition.at_end = false;
                    partition.blocked = Some(if is_letter { Blocked::Letter(class) } else { Blocked::Poison(class) });
                    self.wishes.push(Wish::Pause(at));
                    if is_letter {
                        let letter = self.letter(record, (class, text));
                        self.wishes.push(Wish::Letter(Box::new(letter)));
                    }
                    return;
                }
                self.counts.skipped += 1;
            }
        }
        let partition = self.partitions.get_mut(&at).expect("just found");
        partition.next = record.offset + 1;
        partition.log.1 = partition.log.1.max(partition.next);
        partition.at_end = false;
        self.counts.bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
        if record.value.is_some() {
            self.counts.records += 1;
        } else {
            self.counts.tombstones += 1;
        }
    }

    /// The record with headers that say what was wrong.
    fn letter(&self, record: &RawRecord<'_>, (class, text): Bad) -> Letter {
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)));
        let topic = self.config.source.topics[record.topic].clone();
        let about = [
            ("topic", topic),
            ("partition", record.partition.to_string()),
            ("offset", record.offset.to_string()),
            ("stage", "VALUE_CONVERTER".to_owned()),
            ("exception.class.name", class.name().to_owned()),
            ("exception.message", text),
        ];
        let about = about.map(|(name, text)| (format!("__connect.errors.{name}"), Some(text.into_bytes())));
        Letter {
            at: (record.topic, record.partition),
            offset: record.offset,
            time_ms: record.time_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.chain(about).collect(),
        }
    }

    /// A dead letter was acknowledged: its record is passed over.
    pub fn letter_written(&mut self, at: At, offset: i64) {
        let is_it = self
            .partitions
            .get(&at)
            .is_some_and(|partition| matches!(partition.blocked, Some(Blocked::Letter(_))) && partition.next == offset);
        if is_it && self.skip(at, offset) {
            self.counts.dead_letters += 1;
        }
    }

    /// A dead letter could not be written.
    pub fn letter_refused(&mut self, reason: String) {
        self.last_error = format!("dead letter: {reason}");
    }

    fn note_poison(&mut self, at: At, offset: i64, (class, text): Bad, wall_ms: u64) {
        self.last_error = format!("{}: {text}", class.name());
        let topic = self.config.source.topics[at.0].clone();
        self.ring.push(Poison { class, topic, partition: at.1, offset, at_ms: wall_ms, text });
    }

    fn provenance(&self, record: &RawRecord<'_>, schema: u64) -> Provenance {
        let incarnation = self.topics[record.topic].incarnation.as_ref();
        Provenance {
            source: incarnation.map_or(0, |(_, number)| *number),
            partition: record.partition as u32,
            offset: record.offset as u64,
            time: Millis(u64::try_from(record.time_ms).unwrap_or(0)),
            schema: schema as u32,
            generation: self.generation,
            mapping: 0,
        }
    }

    /// Reads a record into the batch.
    fn read(&mut self, record: &RawRecord<'_>, now_ms: u64) -> Result<Read, Bad> {
        let most = self.config.limits.max_record;
        if record.value.map_or(0, <[u8]>::len) > most || record.key.map_or(0, <[u8]>::len) > most {
            return Err((Class::TooLarge, format!("it is longer than {most} bytes")));
        }
        let (batch, mapping) = (&mut self.batch, &self.mapping);
        let begun = batch.begin();
        let read = read_key(record, &self.config, mapping, (&self.key_schemas, now_ms), batch);
        let key = match read {
            Ok(Ok(key)) => key,
            Ok(Err(id)) => {
                batch.roll_back(begun);
                return Ok(Read::Wanted { id, of_key: true });
            }
            Err(bad) => {
                batch.roll_back(begun);
                return Err(bad);
            }
        };
        let deadline = self.mapping.deadline_ms(record.time_ms).map(Millis);
        let schemas = (&self.value_schemas, now_ms);
        let read = read_value(record, &self.config, mapping, schemas, batch, &mut self.scratch);
        let (drawn, schema) = match read {
            Ok(Value::Drawn(drawn, schema)) => (drawn, schema),
            Ok(Value::Nothing) => {
                batch.roll_back(begun);
                return Ok(Read::Done);
            }
            Ok(Value::Wanted(id)) => {
                batch.roll_back(begun);
                return Ok(Read::Wanted { id, of_key: false });
            }
            Err(bad) => {
                batch.roll_back(begun);
                return Err(bad);
            }
        };
        let from = self.provenance(record, schema);
        self.batch.end(key, drawn, deadline, from);
        Ok(Read::Done)
    }

    /// The key of a record that cannot be read is to have no entry, if the key can be read.
    fn delete_key_of(&mut self, record: &RawRecord<'_>) {
        let begun = self.batch.begin();
        match read_key(record, &self.config, &self.mapping, (&self.key_schemas, 0), &mut self.batch) {
            Ok(Ok(key)) => {
                let from = self.provenance(record, 0);
                self.batch.end(key, Drawn::Gone, None, from);
            }
            _ => self.batch.roll_back(begun),
        }
    }

    /// A schema that was asked for came, or did not.
    pub fn schema(
        &mut self,
        id: u64,
        of_key: bool,
        answer: Result<&SchemaText, SchemaError>,
        now_ms: u64,
        grace_ms: u64,
    ) {
        let schemas = if of_key { &mut self.key_schemas } else { &mut self.value_schemas };
        let waiting: Vec<(At, u64)> = self
            .partitions
            .iter()
            .filter_map(|(at, partition)| match partition.blocked {
                Some(Blocked::Schema { id: wanted, of_key: key, since_ms }) if (wanted, key) == (id, of_key) => {
                    Some((*at, since_ms))
                }
                _ => None,
            })
            .collect();
        match answer {
            Ok(text) => schemas.put(id, text),
            Err(SchemaError::Outage(reason)) => {
                self.last_error = reason;
                return;
            }
            // Schemas may be registered just after the first record: that one is waited for.
            Err(SchemaError::Broken(reason)) => schemas.put_broken(id, reason),
            Err(SchemaError::Unknown) => {
                if !schemas.was_unknown(id) && waiting.iter().any(|(_, since)| now_ms.saturating_sub(*since) < grace_ms)
                {
                    self.last_error = format!("unknown_schema: no registry knows schema {id}");
                    return;
                }
                schemas.put_unknown(id, now_ms);
            }
        }
        waiting.into_iter().for_each(|(at, _)| self.unblock(at));
    }

    /// Schemas that partitions wait for.
    pub fn wanted_schemas(&self) -> Vec<(u64, bool)> {
        let wanted = |partition: &Partition| match partition.blocked {
            Some(Blocked::Schema { id, of_key, .. }) => Some((id, of_key)),
            _ => None,
        };
        let mut wanted: Vec<_> = self.partitions.values().filter_map(wanted).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Changes gathered so far.
    pub fn gathered(&self) -> usize {
        self.batch.len()
    }

    /// Bytes of them.
    pub fn gathered_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// What is to be applied next; to be given back with [`applied`](Self::applied).
    pub fn take(&mut self) -> Batch {
        core::mem::take(&mut self.batch)
    }

    /// All that was told was applied. `conflicts`: entries that were written over those from elsewhere.
    pub fn applied(&mut self, mut batch: Batch, conflicts: u64, now_ms: u64) {
        debug_assert_eq!(self.batch.len(), 0, "nothing is told while a batch is applied");
        batch.clear();
        self.batch = batch;
        if !self.sweep_due {
            self.counts.conflicts += conflicts;
        }
        let ready = &self.config.ready;
        let wait = (ready.pinned == Pinned::Serve).then_some(ready.open_txn_wait.as_millis() as u64);
        let connected = self.connected;
        self.partitions.values_mut().for_each(|partition| partition.advance(now_ms, wait, connected));
        self.was_complete |= self.is_complete();
        if self.sweep_due && self.is_complete() && self.partitions.values().all(|partition| !partition.rebuilding) {
            self.sweep_due = false;
            self.wishes.push(Wish::Sweep(self.generation));
        }
    }

    /// Every partition has caught up once.
    fn is_complete(&self) -> bool {
        let looked_at = self.topics.iter().all(|topic| topic.incarnation.is_some());
        looked_at && !self.partitions.is_empty() && self.partitions.values().all(|partition| partition.live)
    }

    /// Whether readers are to get errors for its age.
    pub fn is_refused_as_stale(&self, now_ms: u64) -> bool {
        self.config.ready.on_stale == OnStale::Error && self.status(now_ms).is_stale
    }

    /// The topics that provenances name by number, with their ids.
    pub fn sources(&self) -> impl Iterator<Item = (u16, &str, &str)> {
        let topics = self.topics.iter().zip(&self.config.source.topics);
        topics.filter_map(|(topic, name)| topic.incarnation.as_ref().map(|(id, number)| (*number, &**name, &**id)))
    }

    /// The last records that could not be read.
    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }
}

/// How reading a record went.
enum Read {
    /// It is in the batch, or says nothing.
    Done,
    /// A schema is missing.
    Wanted { id: u64, of_key: bool },
}

/// How reading a value went.
enum Value {
    Drawn(Drawn, u64),
    Nothing,
    Wanted(u64),
}

/// Writes the entry's key to the batch; `Err(id)` inside: its schema is missing.
fn read_key(
    record: &RawRecord<'_>,
    config: &Projection,
    mapping: &Mapping,
    (schemas, now_ms): (&Schemas, u64),
    batch: &mut Batch,
) -> Result<Result<core::ops::Range<usize>, u64>, Bad> {
    let bytes = record.key.ok_or_else(|| (Class::NullKey, "it has no key".to_owned()))?;
    let decoded = if mapping.key == KeyDecode::Avro {
        let (id, datum) = split(bytes, config.value.wire).map_err(|(_, text)| (Class::BadKey, text))?;
        match schemas.look(id, now_ms) {
            Look::Wanted => return Ok(Err(id)),
            Look::Never(bad) => return Err(bad),
            Look::Ready(reader) => DecodedKey::Datum(reader.read(datum).map_err(|text| (Class::BadKey, text))?),
        }
    } else {
        DecodedKey::read(bytes, mapping.key)?
    };
    let topic = &config.source.topics[record.topic];
    batch.write(|to| mapping.template.write(topic, &decoded, to)).map(Ok)
}

/// Writes what the record says of its key to the batch.
fn read_value(
    record: &RawRecord<'_>,
    config: &Projection,
    mapping: &Mapping,
    (schemas, now_ms): (&Schemas, u64),
    batch: &mut Batch,
    scratch: &mut Vec<u8>,
) -> Result<Value, Bad> {
    let Some(bytes) = record.value else { return Ok(Value::Drawn(Drawn::Gone, 0)) };
    let (datum, schema) = match config.value.decode {
        ValueDecode::Raw => {
            let text = batch.write(|to| {
                to.extend_from_slice(bytes);
                Ok(())
            })?;
            return Ok(Value::Drawn(Drawn::Text(text), 0));
        }
        ValueDecode::Json => {
            let value =
                serde_json::from_slice(bytes).map_err(|error| (Class::Decode, format!("it is no JSON: {error}")))?;
            (Datum::Json(value), 0)
        }
        ValueDecode::Avro => {
            let (id, rest) = split(bytes, config.value.wire)?;
            match schemas.look(id, now_ms) {
                Look::Wanted => return Ok(Value::Wanted(id)),
                Look::Never(bad) => return Err(bad),
                Look::Ready(reader) => (reader.read(rest).map_err(|text| (Class::Decode, text))?, id),
            }
        }
    };
    let drawn = match mapping.unwrap(datum.whole())? {
        Said::Nothing => return Ok(Value::Nothing),
        Said::Gone => Drawn::Gone,
        Said::Is(part) => match mapping.form {
            Form::Hash => batch.write_fields(|each| mapping.fields(part, scratch, each))?,
            Form::Raw | Form::Json => Drawn::Text(batch.write(|to| {
                part.write_json(to);
                Ok(())
            })?),
        },
    };
    Ok(Value::Drawn(drawn, schema))
}
