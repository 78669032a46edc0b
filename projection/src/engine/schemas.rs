//! Schemas that records are read with: those that are wanted, and those that came.

use super::{At, Engine};
use crate::config::Wire;
use crate::schema::{SchemaError, SchemaId, SchemaText};
use crate::state::{Blocked, Partition};

impl Engine {
    /// Takes schemas from files, of keys or of values. The error is about one of them.
    pub fn know(&mut self, of_key: bool, texts: &[SchemaText]) -> Result<(), String> {
        let wire = if of_key { self.config.key_wire() } else { self.config.value.wire };
        let schemas = if of_key { &mut self.key_schemas } else { &mut self.value_schemas };
        for text in texts {
            let id = if wire == Wire::None { SchemaId::Only } else { SchemaId::fingerprint(text)? };
            schemas.put_own(id, text)?;
        }
        Ok(())
    }

    /// For so long what no registry knows is not asked for again, ms.
    pub fn set_unknown_ms(&mut self, unknown_ms: u64) {
        (self.key_schemas.unknown_ms, self.value_schemas.unknown_ms) = (unknown_ms, unknown_ms);
    }

    /// A schema that was asked for came, or did not.
    pub fn schema(
        &mut self,
        id: SchemaId,
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
            Err(SchemaError::Broken(reason)) => schemas.put_broken(id, reason),
            // Schemas may be registered just after the first record: that one is waited for.
            Err(SchemaError::Unknown) => {
                if !schemas.was_unknown(id) && waiting.iter().any(|(_, since)| now_ms.saturating_sub(*since) < grace_ms)
                {
                    self.last_error = format!("unknown_schema: no registry knows schema {id}");
                    return;
                }
                schemas.put_unknown(id, now_ms);
                for (at, _) in &waiting {
                    let partition = self.partitions.get_mut(at).expect("it waits");
                    partition.given_up = Some((partition.next, id));
                }
            }
        }
        waiting.into_iter().for_each(|(at, _)| self.unblock(at));
    }

    /// Schemas that partitions wait for.
    pub fn wanted_schemas(&self) -> Vec<(SchemaId, bool)> {
        let wanted = |partition: &Partition| match partition.blocked {
            Some(Blocked::Schema { id, of_key, .. }) => Some((id, of_key)),
            _ => None,
        };
        let mut wanted: Vec<_> = self.partitions.values().filter_map(wanted).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}
