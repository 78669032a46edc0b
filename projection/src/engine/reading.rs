//! From a record to changes in the batch.

use super::Engine;
use super::batch::{About, Drawn};
use super::held::Hold;
use super::memory::Moved;
use crate::config::{Form, KeyDecode, ValueDecode};
use crate::datum::Datum;
use crate::errors::Class;
use crate::mapping::{Bad, DecodedKey, Filtered, Said};
use crate::operand::Sight;
use crate::schema::{Look, SchemaId, Schemas, split};
use crate::source::RawRecord;
use core::ops::Range;
use std::sync::Arc;
use storage::{Millis, Provenance};

/// How reading a record went.
pub(super) enum Read {
    /// It is in the batch, or says nothing.
    Done,
    /// A schema is missing.
    Wanted { id: SchemaId, of_key: bool },
}

/// What a value is, before it is written.
enum Value<'r> {
    Gone,
    /// Bytes as they are.
    Bytes(&'r [u8]),
    Datum(Datum, Option<SchemaId>),
}

/// What reading a part of a record gives, if its schema is here.
type Found<T> = Result<Result<T, SchemaId>, Bad>;

impl Engine {
    /// Reads a record into the batch.
    pub(super) fn read(&mut self, record: &RawRecord<'_>, now_ms: u64) -> Result<Read, Bad> {
        let most = self.config.limits.max_record;
        if record.value.map_or(0, <[u8]>::len) > most || record.key.map_or(0, <[u8]>::len) > most {
            return Err((Class::TooLarge, format!("it is longer than {most} bytes")));
        }
        let key = match self.key_of(record, now_ms)? {
            Ok(key) => key,
            Err(id) => return Ok(Read::Wanted { id, of_key: true }),
        };
        let value = match self.value_of(record, now_ms)? {
            Ok(value) => value,
            Err(id) => return Ok(Read::Wanted { id, of_key: false }),
        };
        let begun = self.batch.begin();
        let drawn = self.draw(record, &key, &value, now_ms);
        if drawn.is_err() {
            self.batch.roll_back(begun);
        }
        drawn.map(|()| Read::Done)
    }

    /// A record's key.
    pub(super) fn key_of<'r>(&self, record: &RawRecord<'r>, now_ms: u64) -> Found<DecodedKey<'r>> {
        let bytes = record.key.ok_or_else(|| (Class::NullKey, "it has no key".to_owned()))?;
        if self.mapping.key != KeyDecode::Avro {
            return DecodedKey::read(bytes, self.mapping.key).map(Ok);
        }
        let wire = self.config.key_wire();
        let (id, rest) = split(bytes, wire, record.headers, true).map_err(|(_, text)| (Class::BadKey, text))?;
        let datum = datum_of(&self.key_schemas, id, rest, (Class::BadKey, now_ms))?;
        Ok(datum.map(DecodedKey::Datum))
    }

    /// A record's value.
    fn value_of<'r>(&self, record: &RawRecord<'r>, now_ms: u64) -> Found<Value<'r>> {
        let Some(bytes) = record.value else { return Ok(Ok(Value::Gone)) };
        let no_json = |error: &dyn core::fmt::Display| (Class::Decode, format!("it is no JSON: {error}"));
        Ok(Ok(match self.config.value.decode {
            ValueDecode::Raw => Value::Bytes(bytes),
            ValueDecode::Json if self.mapping.is_verbatim => {
                let text = core::str::from_utf8(bytes).map_err(|error| no_json(&error))?;
                serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| no_json(&error))?;
                Value::Bytes(text.trim_ascii().as_bytes())
            }
            ValueDecode::Json => {
                let value = serde_json::from_slice(bytes).map_err(|error| no_json(&error))?;
                Value::Datum(Datum::Json(value), None)
            }
            ValueDecode::Avro => {
                let (id, rest) = split(bytes, self.config.value.wire, record.headers, false)?;
                match datum_of(&self.value_schemas, id, rest, (Class::Decode, now_ms))? {
                    Ok(datum) => Value::Datum(datum, Some(id)),
                    Err(id) => return Ok(Err(id)),
                }
            }
        }))
    }

    /// Writes what a record says to the batch.
    fn draw(
        &mut self,
        record: &RawRecord<'_>,
        key: &DecodedKey<'_>,
        value: &Value<'_>,
        now_ms: u64,
    ) -> Result<(), Bad> {
        let (said, schema) = match value {
            Value::Datum(datum, schema) => (Some(self.mapping.unwrap(datum.whole())?), *schema),
            Value::Gone => (Some(Said::Gone), None),
            Value::Bytes(_) => (None, None),
        };
        let part = match said {
            Some(Said::Nothing) => return Ok(()),
            Some(Said::Is(part)) => Some(part),
            Some(Said::Gone) | None => None,
        };
        let is_gone = matches!(said, Some(Said::Gone));
        let topic = Arc::clone(&self.topics[record.topic].name);
        let sight = Sight { topic: &topic, time_ms: record.time_ms, headers: record.headers, key, value: part };
        self.draw_sight(record, &sight, (value, is_gone), schema, now_ms)
    }

    fn draw_sight(
        &mut self,
        record: &RawRecord<'_>,
        sight: &Sight<'_>,
        (value, is_gone): (&Value<'_>, bool),
        schema: Option<SchemaId>,
        now_ms: u64,
    ) -> Result<(), Bad> {
        // What has no value is deleted whatever the filter looks at: it may have been there.
        let filtered = if is_gone { Filtered::Passes } else { self.mapping.filtered(sight) };
        if filtered == Filtered::Ignored {
            return Ok(());
        }
        let is_gone = is_gone || filtered == Filtered::Gone;
        let version = match self.mapping.version(sight) {
            // Where versions are parts of values, a tombstone has none: it counts when it comes.
            Err(_) if is_gone => None,
            version => version?,
        };
        let deadline = if is_gone { None } else { self.mapping.deadline_ms(sight)?.map(Millis) };
        let from = self.provenance(record, schema);
        let is_merge = self.config.store.merge;
        let mut about = About { deadline, version, hold: self.hold_of(record), is_merge, only: None, from };
        // First what may be wrong, then what is remembered of it.
        let drawn = if is_gone { Drawn::Gone } else { self.draw_value(value, sight)? };
        let Some(key) = self.entry_of(record, sight, is_gone, &mut about)? else { return Ok(()) };
        if !self.is_barred(key.clone(), is_gone, &about, now_ms) {
            self.heal(key.clone(), about.hold);
            self.batch.end(key, drawn, about);
        }
        Ok(())
    }

    /// Writes the key of a record's entry; `None` if the record says nothing of any. The entry that its key was before goes.
    fn entry_of(
        &mut self,
        record: &RawRecord<'_>,
        sight: &Sight<'_>,
        is_gone: bool,
        about: &mut About,
    ) -> Result<Option<Range<usize>>, Bad> {
        if !self.config.key.index {
            return self.batch.write(|to| self.mapping.template.write(sight, to)).map(Some);
        }
        let name = record.key.unwrap_or_default();
        if is_gone {
            let Moved::From(Some((entry, made_of))) = self.index.ends(record.topic, name, &about.from) else {
                return Ok(None);
            };
            about.only = Some(made_of);
            return self.write(&entry).map(Some);
        }
        let key = self.batch.write(|to| self.mapping.template.write(sight, to))?;
        match self.index.becomes(record.topic, name, self.batch.part(key.clone()), about.from) {
            Moved::Older => Ok(None),
            Moved::From(None) => Ok(Some(key)),
            Moved::From(Some((entry, made_of))) => {
                let before = self.write(&entry)?;
                self.batch.end(before, Drawn::Gone, About { deadline: None, only: Some(made_of), ..*about });
                Ok(Some(key))
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<Range<usize>, Bad> {
        self.batch.write(|to| {
            to.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn draw_value(&mut self, value: &Value<'_>, sight: &Sight<'_>) -> Result<Drawn, Bad> {
        let (mapping, scratch) = (&self.mapping, &mut self.scratch);
        match (value, sight.value) {
            (Value::Bytes(bytes), _) => self.write(bytes).map(Drawn::Text),
            (_, Some(part)) if mapping.form == Form::Hash => {
                self.batch.write_fields(|each| mapping.fields(part, scratch, each))
            }
            (_, Some(part)) => {
                let text = self.batch.write(|to| {
                    part.write_json(to);
                    Ok(())
                });
                text.map(Drawn::Text)
            }
            (_, None) => Ok(Drawn::Gone),
        }
    }

    /// Whether a change waits for the end of a rebuild.
    pub(super) fn hold_of(&self, record: &RawRecord<'_>) -> Hold {
        if self.holds_all() {
            return Hold::Always;
        }
        if self.rebuild != super::Rebuild::Reads || !self.was_complete {
            return Hold::No;
        }
        let known = self.partitions.get(&(record.topic, record.partition));
        match known.is_some_and(|partition| partition.rebuilding && record.offset < partition.was_applied) {
            true => Hold::IfAbsent,
            false => Hold::No,
        }
    }

    /// Whether a record comes too late for its key, which a record of a higher version deleted.
    fn is_barred(&mut self, key: Range<usize>, is_gone: bool, about: &About, now_ms: u64) -> bool {
        let Some(version) = about.version else { return false };
        let (key, rank) = (self.batch.part(key), about.from.rank(version));
        if is_gone {
            self.graves.dig(key, rank, now_ms);
            return false;
        }
        let barred = self.graves.bars(key, rank);
        self.counts.conflicts += u64::from(barred);
        barred
    }

    pub(super) fn provenance(&self, record: &RawRecord<'_>, schema: Option<SchemaId>) -> Provenance {
        let incarnation = self.topics[record.topic].incarnation.as_ref();
        Provenance {
            source: incarnation.map_or(0, |(_, number)| *number),
            partition: record.partition as u32,
            offset: record.offset as u64,
            time: Millis(u64::try_from(record.time_ms).unwrap_or(0)),
            schema: schema.map_or(0, SchemaId::short),
            generation: self.generation,
            mapping: 0,
        }
    }
}

/// Reads a datum with its schema.
fn datum_of(schemas: &Schemas, id: SchemaId, bytes: &[u8], (class, now_ms): (Class, u64)) -> Found<Datum> {
    match schemas.look(id, now_ms) {
        Look::Wanted => Ok(Err(id)),
        Look::Never(bad) => Err(bad),
        Look::Ready(reader) => reader.read(bytes).map(Ok).map_err(|text| (class, text)),
    }
}
