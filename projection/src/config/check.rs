//! Whether what is configured can be: asked of nobody.

use super::reading::without_values;
use super::*;
use crate::filter;
use crate::mapping::{Template, check_operand};

/// Databases there are.
const DATABASES: u8 = storage::limits::DATABASES as u8;
/// Least bytes that a projection may be bounded to, beside its longest record.
const MIN_MEMORY: usize = 1 << 20;
/// Longest name of a projection.
const MAX_NAME: usize = 64;

impl Document {
    /// Reads the sections and checks all that can be checked without asking anybody. The error is one line.
    pub fn parse(sections: serde_json::Value) -> Result<Self, String> {
        let document: Self = match sections {
            serde_json::Value::Object(sections) => Self::read(sections)?,
            _ => return Err("a mapping is expected".to_owned()),
        };
        for (name, registry) in &document.registries {
            if registry.url.is_empty() {
                return Err(format!("registries: {name}: url: one at least is needed"));
            }
        }
        for (name, projection) in &document.projections {
            projection.check(name, &document).map_err(|reason| format!("projections: {name}: {reason}"))?;
        }
        document.check_overlaps()?;
        document.check_paths()?;
        Ok(document)
    }

    /// Entry by entry, so that an error names the one it is in.
    fn read(sections: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        fn entries<T: de::DeserializeOwned>(
            section: &str,
            value: serde_json::Value,
        ) -> Result<BTreeMap<String, T>, String> {
            let serde_json::Value::Object(entries) = value else {
                return Err(format!("{section}: a mapping of names is expected"));
            };
            let read = |(name, value)| match serde_json::from_value(value) {
                Ok(entry) => Ok((name, entry)),
                Err(error) => Err(format!("{section}: {name}: {}", without_values(&error.to_string()))),
            };
            entries.into_iter().map(read).collect()
        }
        let mut document = Self::default();
        for (section, value) in sections {
            match &*section {
                "kafka" => document.kafka = entries("kafka", value)?,
                "registries" => document.registries = entries("registries", value)?,
                "projections" => document.projections = entries("projections", value)?,
                _ => return Err(format!("{section}: there is no such section")),
            }
        }
        Ok(document)
    }

    /// No two projections are served under paths of which one begins the other.
    fn check_paths(&self) -> Result<(), String> {
        let paths: Vec<_> =
            self.projections.iter().filter_map(|(name, p)| Some((name, &*p.http.as_ref()?.path))).collect();
        for (at, (name, path)) in paths.iter().enumerate() {
            let well_formed =
                path.starts_with('/') && path.len() > 1 && !path.ends_with('/') && !path.contains(['?', '#', '%', ' ']);
            if !well_formed {
                return Err(format!("projections: {name}: http: path: '{path}' is none such as /api/users"));
            }
            let begins =
                |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if let Some((other, _)) = paths[..at].iter().find(|(_, other)| begins(path, other) || begins(other, path)) {
                return Err(format!("projections: {name}: http: its path overlaps that of {other}"));
            }
        }
        Ok(())
    }

    /// No two projections own the same key.
    fn check_overlaps(&self) -> Result<(), String> {
        let owned: Vec<_> = self.projections.iter().map(|(name, p)| (name, p.store.db, p.prefix())).collect();
        for (at, (name, db, prefix)) in owned.iter().enumerate() {
            for (other, other_db, other_prefix) in &owned[..at] {
                if db == other_db && (prefix.starts_with(other_prefix) || other_prefix.starts_with(prefix)) {
                    return Err(format!("projections: {name}: its keys overlap those of {other}"));
                }
            }
        }
        Ok(())
    }
}

impl Projection {
    /// The literal text that all its keys begin with.
    pub fn prefix(&self) -> Vec<u8> {
        Template::parse(&self.key.template).map(|template| template.prefix().to_vec()).unwrap_or_default()
    }

    fn check(&self, name: &str, document: &Document) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            return Err("a name is 1 to 64 letters, digits, '-', '_', '.'".to_owned());
        }
        if !document.kafka.contains_key(&self.source.kafka) {
            return Err(format!("source: there is no cluster '{}' under kafka", self.source.kafka));
        }
        if self.source.topics.is_empty() {
            return Err("source: topics: one at least is needed".to_owned());
        }
        let topics = &self.source.topics;
        if let Some(twice) = topics.iter().enumerate().find(|(at, topic)| topics[..*at].contains(topic)) {
            return Err(format!("source: topics: {} is there twice", twice.1));
        }
        if self.http.as_ref().is_some_and(|http| http.list == List::Scan) && self.key.decode == KeyDecode::Bytes {
            return Err("http: list: ids of any bytes cannot be listed: decode keys otherwise, or list: off".to_owned());
        }
        let least = MIN_MEMORY.max(self.limits.max_record);
        if self.limits.max_memory != 0 && self.limits.max_memory < least {
            return Err(format!("limits: max_memory: at least {least} bytes are needed, or 0 for no bound of its own"));
        }
        if self.store.db >= DATABASES {
            return Err(format!("store: db: there are {DATABASES} databases"));
        }
        let template = Template::parse(&self.key.template).map_err(|reason| format!("key: template: {reason}"))?;
        template.check(self.key.decode, self.key.index).map_err(|reason| format!("key: template: {reason}"))?;
        self.check_operands(&template)?;
        self.check_schemas(document)?;
        if self.store.form != Form::Raw && self.value.decode == ValueDecode::Raw {
            return Err("store: as: json and hash need a value that is decoded".to_owned());
        }
        if self.store.form == Form::Raw && self.value.decode != ValueDecode::Raw {
            return Err("store: as: raw keeps a value's bytes: decode it as raw".to_owned());
        }
        if self.store.merge && (self.store.form != Form::Hash || self.rebuild != RebuildMode::Shadow) {
            // Read anew over what is there, fields that are gone would stay.
            return Err("store: merge needs as: hash, and rebuild: shadow".to_owned());
        }
        if self.conflict.by != ConflictBy::Arrival && (self.key.index || self.store.merge) {
            return Err("conflict: by: with key: index, and with store: merge, it is arrival".to_owned());
        }
        let writes_letters = Class::ALL.iter().any(|class| self.policy(*class) == Policy::DeadLetter);
        match &self.errors.dead_letter_topic {
            None if writes_letters => return Err("errors: dead_letter needs a dead_letter_topic".to_owned()),
            Some(topic) if self.source.topics.contains(topic) => {
                return Err("errors: dead_letter_topic: a topic cannot be its own".to_owned());
            }
            _ => {}
        }
        self.check_writes()?;
        if self.envelope == Envelope::Debezium && self.value.decode == ValueDecode::Raw {
            return Err("envelope: debezium needs a value that is decoded".to_owned());
        }
        Ok(())
    }

    /// Whether all parts of records that are named can be had.
    fn check_operands(&self, template: &Template) -> Result<(), String> {
        let mut wrong = None;
        let mut check = |place: &str, operand: &Operand| {
            if let Err(reason) = check_operand(operand, self) {
                wrong.get_or_insert(format!("{place}: {reason}"));
            }
        };
        template.operands().for_each(|operand| check("key: template", operand));
        if let Some(filter) = &self.filter {
            let parsed = filter::Filter::parse(&filter.condition);
            let parsed = parsed.map_err(|reason| format!("filter: where: {reason}"))?;
            parsed.each_operand(&mut |operand| check("filter: where", operand));
        }
        if let Some(Ttl { from: TtlFrom::Part(operand), .. }) = &self.ttl {
            check("ttl: from", operand);
        }
        if let ConflictBy::Part(operand) = &self.conflict.by {
            check("conflict: by", operand);
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Whether what is written locally can be.
    fn check_writes(&self) -> Result<(), String> {
        let kind = match self.local_writes {
            LocalWrites::Deny => return Ok(()),
            LocalWrites::Overlay => "overlay",
            LocalWrites::WriteThrough => "write_through",
        };
        let needs = |what: &str| Err(format!("local_writes: {kind} needs {what}"));
        let is_through = self.local_writes == LocalWrites::WriteThrough;
        let has_id = self.http.as_ref().map(|http| http.id_field.is_some());
        if has_id == Some(false) || is_through && has_id.is_none() {
            return needs("http with an id_field");
        }
        if has_id.is_some() && self.store.form == Form::Raw {
            return needs("values of json or hash");
        }
        if !is_through {
            return Ok(());
        }
        // What is written must be read as what was asked for.
        let is_plain = self.key.template.ends_with("{key}") && self.key.template.matches('{').count() == 1;
        if !is_plain || matches!(self.key.decode, KeyDecode::Json | KeyDecode::Avro) {
            return needs("keys of a prefix and a plain {key}");
        }
        if self.source.topics.len() > 1 || self.envelope != Envelope::None {
            return needs("one topic, of values without an envelope");
        }
        if self.value.decode == ValueDecode::Avro && !matches!(self.value.wire, Wire::Auto | Wire::Confluent) {
            return needs("wire: confluent");
        }
        Ok(())
    }

    /// Where the ids of schemas stand, in keys.
    pub fn key_wire(&self) -> Wire {
        self.key.wire.unwrap_or(self.value.wire)
    }

    /// Whether schemas come from somewhere.
    fn check_schemas(&self, document: &Document) -> Result<(), String> {
        let check = |part: &str, is_avro: bool, wire: Wire, named: &Option<String>, files: &[PathBuf]| {
            let is_known = named.as_ref().is_none_or(|named| document.registries.contains_key(named));
            match named {
                Some(named) if !is_known => Err(format!("{part}: there is no registry '{named}' under registries")),
                _ if !is_avro && !files.is_empty() => Err(format!("{part}: schema_files: only avro has schemas")),
                _ if !is_avro => Ok(()),
                None if !wire.is_of_files() => Err(format!("{part}: avro needs a registry")),
                _ if !wire.is_of_files() && !files.is_empty() => {
                    Err(format!("{part}: schema_files: that wire format has ids of a registry"))
                }
                _ if wire.is_of_files() && files.is_empty() => {
                    Err(format!("{part}: schema_files: that wire format has no ids of a registry"))
                }
                _ if wire == Wire::None && files.len() > 1 => Err(format!("{part}: schema_files: one, without ids")),
                _ => Ok(()),
            }
        };
        let (key, value) = (&self.key, &self.value);
        let is_avro = value.decode == ValueDecode::Avro;
        check("key", key.decode == KeyDecode::Avro, self.key_wire(), &key.registry, &key.schema_files)?;
        check("value", is_avro, value.wire, &value.registry, &value.schema_files)?;
        match &value.reader {
            Some(_) if !is_avro => Err("value: reader: only values of avro have one".to_owned()),
            Some(ReaderSchema::File { .. }) | None => Ok(()),
            Some(_) if value.wire.is_of_files() => Err("value: reader: without a registry it is a file".to_owned()),
            Some(_) => Ok(()),
        }
    }

    /// The policy for a class of poison.
    pub fn policy(&self, class: Class) -> Policy {
        let errors = &self.errors;
        match class {
            Class::NullKey => errors.null_key,
            Class::BadKey => errors.bad_key,
            Class::BadMagic => errors.bad_magic,
            Class::UnknownSchema => errors.unknown_schema,
            Class::Decode => errors.decode,
            Class::TooLarge => errors.too_large,
            // A damaged batch is fetched again and again: passing it takes a hand.
            Class::Crc => Some(Policy::Stop),
        }
        .unwrap_or(errors.default)
    }
}
