//! The engine of one projection: takes what a source tells, says what is to be applied, and what is to be asked for.
//!
//! No thread, clock or socket is in here: the time is an argument, schemas and topics come as data. Whoever runs it calls
//! [`Engine::tell`] with the source's events, applies what [`Engine::take`] gives, says so with [`Engine::applied`], and
//! carries out [`Engine::wishes`].
//!
//! The law: at rest the keyspace is the fold of all records below the offsets that were applied.

mod batch;
mod held;
mod memory;
mod poison;
mod reading;
mod schemas;
mod silence;
mod status;
mod stops;
#[cfg(test)]
mod tests;
mod topics;

use crate::config::{OnStale, Pinned, Policy, Projection, RebuildMode};
use crate::errors::{Class, Ring};
use crate::mapping::Mapping;
use crate::schema::{SchemaId, Schemas};
use crate::source::{Event, Letter, RawRecord, Trouble};
use crate::state::{Blocked, Partition};
pub use batch::{About, Batch, Fields, Mutation, Op};
pub use held::{Held, Hold};
use memory::{Graves, Index};
use reading::Read;
pub use status::{PartitionStatus, Status};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

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
        id: SchemaId,
        /// Whether keys have it.
        of_key: bool,
    },
    /// Look at the topics now.
    Look,
    /// Write a record to the dead letters; [`Engine::letter_written`] is to be told.
    Letter(Box<Letter>),
    /// What [waited](Held) for the end of a rebuild is to be applied ([`Engine::released`]), and entries of earlier generations
    /// are to be dropped ([`Engine::swept`]).
    Sweep(u8),
    /// Readers of a key are to get errors: its last record cannot be read.
    Poison(Box<[u8]>),
    /// They are not any more.
    Heal(Box<[u8]>),
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
#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// Its id, and the number that provenances have of it.
    incarnation: Option<(String, u16)>,
    /// For so long it keeps tombstones, ms; `None` where it keeps all records.
    retention_ms: Option<u64>,
}

/// How far reading all anew is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rebuild {
    /// None is under way.
    None,
    /// What is in the logs is read.
    Reads,
    /// All was read: what waited for that is applied.
    Releases,
    /// Entries that did not come again are dropped.
    Drops,
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
    rebuild: Rebuild,
    /// It was asked for as a shadow.
    is_shadow: bool,
    held: Held,
    index: Index,
    graves: Graves,
    /// Keys whose readers get errors, with the generation in which that was read last.
    poisoned: HashMap<Box<[u8]>, u8>,
    /// Those of which a rebuild found the same so far, and that are not shown before its end.
    poisoned_next: HashSet<Box<[u8]>>,
    /// The time of the last call that told it, engine's ms; when reading from the beginning began and was complete last.
    now_ms: u64,
    rebuilt_ms: u64,
    completed_ms: u64,
    wishes: Vec<Wish>,
    silence: silence::Silence,
    /// The brokers were reached when they were last looked for.
    connected: bool,
    /// There is no memory for more.
    is_starved: bool,
    /// Bytes that the source had fetched and not told when it last said so.
    queued_bytes: u64,
    last_error: String,
    /// Something of a log is gone that was not read: all is to be read anew once the topics were looked at.
    lost: Vec<At>,
    /// All partitions had caught up once: those that are added later do not take that back.
    was_complete: bool,
}

impl Engine {
    /// The engine of a checked configuration.
    pub fn new(config: Projection) -> Self {
        // Until the brokers tell: what is taken for compacted is read anew once too often at worst.
        let retention_ms = config.source.delete_retention.as_millis() as u64;
        Self {
            mapping: Mapping::new(&config),
            topics: config
                .source
                .topics
                .iter()
                .map(|name| Topic { name: Arc::from(&**name), incarnation: None, retention_ms: Some(retention_ms) })
                .collect(),
            incarnations: 0,
            partitions: BTreeMap::new(),
            key_schemas: Schemas::default(),
            value_schemas: Schemas::default(),
            batch: Batch::default(),
            scratch: Vec::new(),
            ring: Ring::new(config.errors.ring),
            counts: Counts::default(),
            generation: 0,
            rebuild: Rebuild::None,
            is_shadow: false,
            held: Held::default(),
            index: Index::default(),
            graves: Graves::default(),
            poisoned: HashMap::new(),
            poisoned_next: HashSet::new(),
            now_ms: 0,
            rebuilt_ms: 0,
            completed_ms: 0,
            wishes: vec![Wish::Look],
            silence: silence::Silence::default(),
            connected: false,
            is_starved: false,
            queued_bytes: 0,
            last_error: String::new(),
            lost: Vec::new(),
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
                // What came meanwhile is told first. While there is no memory it is only paused again.
                (partition.awaited, partition.at_end) = (self.is_starved, false);
            }
        }
        wishes
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
                    if offset > partition.next {
                        partition.pinned_ms = None;
                    }
                    partition.next = offset;
                    partition.log.1 = partition.log.1.max(offset);
                    partition.at_end = true;
                }
            }
            Event::StableEnd { topic, partition, offset } => {
                if let Some(partition) = self.partitions.get_mut(&(topic, partition)) {
                    partition.stable_end = Some(offset);
                }
            }
            Event::Queued(bytes) => self.queued_bytes = bytes,
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
                    self.lost.push((topic, partition));
                    self.wishes.push(Wish::Look);
                }
            }
            Trouble::Damaged { topic, partition, offset } => {
                self.last_error.clone_from(&text);
                let at = (topic, partition);
                let Some(state) = self.partitions.get_mut(&at).filter(|state| state.blocked.is_none()) else { return };
                state.blocked = Some(Blocked::Poison(Class::Crc));
                // Nothing lies between what was read and it; but what it says of itself may be damaged too.
                state.next = offset.clamp(state.next, state.next.max(state.log.1 - 1));
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
        let given_up = partition.given_up;
        let read = match self.read(record, now_ms) {
            // It may have been registered since, but later records tell: this one is not waited for again and again.
            Ok(Read::Wanted { id, .. }) if given_up == Some((record.offset, id)) => {
                Err((Class::UnknownSchema, format!("no registry knows schema {id}")))
            }
            read => read,
        };
        match read {
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
                if policy != Policy::Stop {
                    self.poison_key_of(record);
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
        // Whatever was open at the end is not any more.
        (partition.at_end, partition.pinned_ms) = (false, None);
        self.counts.bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
        if record.value.is_some() {
            self.counts.records += 1;
        } else {
            self.counts.tombstones += 1;
        }
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

    /// What waits for the end of a rebuild.
    pub fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// Bytes of what it remembers beside entries: changes that wait, the index, versions of deleted keys.
    pub fn remembered_bytes(&self) -> usize {
        self.held.bytes() + self.index.bytes() + self.graves.bytes()
    }

    /// What waited for the end of a rebuild was applied.
    pub fn released(&mut self) {
        if self.rebuild == Rebuild::Releases {
            (self.rebuild, self.is_shadow) = (Rebuild::Drops, false);
        }
    }

    /// Entries of earlier generations were dropped.
    pub fn swept(&mut self) {
        if self.rebuild == Rebuild::Drops {
            self.rebuild = Rebuild::None;
        }
    }

    /// All that was told was applied. `conflicts`: entries that were written over those from elsewhere.
    pub fn applied(&mut self, mut batch: Batch, conflicts: u64, now_ms: u64) {
        debug_assert_eq!(self.batch.len(), 0, "nothing is told while a batch is applied");
        batch.clear();
        self.batch = batch;
        self.now_ms = now_ms;
        let is_rebuilding = self.rebuild == Rebuild::Reads;
        if !is_rebuilding {
            self.counts.conflicts += conflicts;
        }
        let ready = &self.config.ready;
        let wait = (ready.pinned == Pinned::Serve).then_some(ready.open_txn_wait.as_millis() as u64);
        // What waits is not seen yet: it goes on growing old.
        let connected = self.connected && !self.holds_all() && !self.is_starved;
        self.partitions.values_mut().for_each(|partition| partition.advance(now_ms, wait, connected));
        self.graves.expire(now_ms, self.config.conflict.tombstone_grace.as_millis() as u64);
        let is_complete = self.is_complete();
        let is_read = is_complete && self.partitions.values().all(|partition| !partition.rebuilding);
        if is_read && (is_rebuilding || !self.was_complete) {
            self.completed_ms = now_ms;
        }
        self.was_complete |= is_complete;
        if is_rebuilding && is_read {
            self.rebuild = Rebuild::Releases;
            self.index.forget_others(self.generation);
            self.wishes.push(Wish::Sweep(self.generation));
            // Once what waited is there to be read.
            self.heal_others();
        }
        self.watch_horizon(now_ms);
    }

    /// A shadow is made: readers see nothing of what is read.
    fn holds_all(&self) -> bool {
        let is_shadow = self.is_shadow || self.config.rebuild == RebuildMode::Shadow;
        matches!(self.rebuild, Rebuild::Reads | Rebuild::Releases) && self.was_complete && is_shadow
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
        let named = |topic: &'_ Topic| topic.incarnation.as_ref().map(|(_, number)| *number);
        let known = self.topics.iter().filter_map(move |topic| Some((named(topic)?, topic)));
        known.map(|(number, topic)| (number, &*topic.name, topic.incarnation.as_ref().map_or("", |(id, _)| id)))
    }

    /// The last records that could not be read.
    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }
}
