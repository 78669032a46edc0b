//! Records that cannot be read: what becomes of them, and of the entry of their key.

use super::batch::{About, Drawn};
use super::held::Hold;
use super::{At, Engine, Wish};
use crate::config::PoisonKey;
use crate::errors::Poison;
use crate::mapping::Bad;
use crate::operand::Sight;
use crate::source::{Letter, RawRecord};
use crate::state::Blocked;
use core::ops::Range;

/// Most keys whose readers get errors; those of further records that cannot be read keep their old value.
pub(super) const MAX_POISONED: usize = 1 << 20;

impl Engine {
    pub(super) fn note_poison(&mut self, at: At, offset: i64, (class, text): Bad, wall_ms: u64) {
        self.last_error = format!("{}: {text}", class.name());
        let topic = self.topics[at.0].name.to_string();
        self.ring.push(Poison { class, topic, partition: at.1, offset, at_ms: wall_ms, text });
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

    /// The record with headers that say what was wrong.
    pub(super) fn letter(&self, record: &RawRecord<'_>, (class, text): Bad) -> Letter {
        let headers = record.headers.all().iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)));
        let about = [
            ("topic", self.topics[record.topic].name.to_string()),
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

    /// What becomes of the key of a record that cannot be read, if the key can be.
    pub(super) fn poison_key_of(&mut self, record: &RawRecord<'_>) {
        let what = self.config.errors.poison_key;
        if what == PoisonKey::KeepOld {
            return;
        }
        let begun = self.batch.begin();
        let Some(key) = self.known_entry_of(record) else { return self.batch.roll_back(begun) };
        if what == PoisonKey::Error {
            let key: Box<[u8]> = self.batch.part(key).into();
            self.batch.roll_back(begun);
            let hold = self.hold_of(record);
            self.poison(key, hold);
            return;
        }
        let from = self.provenance(record, None);
        let hold = self.hold_of(record);
        self.batch.end(
            key,
            Drawn::Gone,
            About { deadline: None, version: None, hold, is_merge: false, only: None, from },
        );
    }

    /// The entry's key of a record of which the value is not known.
    fn known_entry_of(&mut self, record: &RawRecord<'_>) -> Option<Range<usize>> {
        if self.config.key.index {
            let entry: Box<[u8]> = self.index.entry(record.topic, record.key?)?.into();
            return self.write(&entry).ok();
        }
        let key = self.key_of(record, 0).ok()?.ok()?;
        let topic = &self.topics[record.topic].name;
        let sight = Sight { topic, time_ms: record.time_ms, headers: record.headers, key: &key, value: None };
        self.batch.write(|to| self.mapping.template.write(&sight, to)).ok()
    }

    /// Readers of a key are to get errors; of what is read anew, from the end of that on.
    pub(super) fn poison(&mut self, key: Box<[u8]>, hold: Hold) {
        if self.poisoned.len() + self.poisoned_next.len() >= MAX_POISONED {
            return;
        }
        if hold != Hold::No {
            self.poisoned_next.insert(key);
        } else if self.poisoned.insert(key.clone(), self.generation).is_none() {
            self.wishes.push(Wish::Poison(key));
        }
    }

    /// A key is read again.
    pub(super) fn heal(&mut self, key: Range<usize>, hold: Hold) {
        let key = self.batch.part(key);
        if !self.poisoned_next.is_empty() {
            self.poisoned_next.remove(key);
        }
        if hold == Hold::No
            && !self.poisoned.is_empty()
            && let Some((key, _)) = self.poisoned.remove_entry(key)
        {
            self.wishes.push(Wish::Heal(key));
        }
    }

    /// All was read anew: what that found holds from now on.
    pub(super) fn heal_others(&mut self) {
        let (generation, next) = (self.generation, core::mem::take(&mut self.poisoned_next));
        let healed = self.poisoned.extract_if(|key, known| *known != generation && !next.contains(key));
        self.wishes.extend(healed.map(|(key, _)| Wish::Heal(key)));
        for key in next {
            if self.poisoned.insert(key.clone(), generation).is_none() {
                self.wishes.push(Wish::Poison(key));
            }
        }
    }
}
