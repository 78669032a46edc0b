//! What is shown of a projection: the engine's status as a board, and its configuration without secrets.

use commands::projections::{Board, ErrorLine, PartitionBoard, Refusal};
use projection::config::{BeforeReady, Document, OnStale, Projection};
use projection::engine::{Engine, Status};
use projection::state::State;
use serde_json::json;
use std::sync::Arc;

/// Host and port of an address: what stands before them may be a login, what stands behind a token.
fn shown(address: &str) -> String {
    let bare = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let bare = bare.rsplit_once('@').map_or(bare, |(_, rest)| rest);
    bare.split(['/', '?']).next().unwrap_or_default().to_owned()
}

/// The configuration in force, as JSON.
pub fn describe(document: &Document, config: &Projection) -> String {
    let cluster = &document.kafka[&config.source.kafka];
    let registry = |name: &Option<String>| {
        let registry = name.as_ref().map(|name| &document.registries[name]);
        registry.map(|registry| {
            let url: Vec<String> = registry.url.iter().map(|url| shown(url)).collect();
            json!({"url": url, "basic_auth": registry.basic_auth.is_some()})
        })
    };
    json!({
        "source": {
            "bootstrap_servers": cluster.bootstrap_servers.split(',').map(shown).collect::<Vec<_>>().join(","),
            "properties": cluster.properties.keys().collect::<Vec<_>>(),
            "topics": config.source.topics,
        },
        "key": {"template": config.key.template, "decode": format!("{:?}", config.key.decode).to_lowercase(), "registry": registry(&config.key.registry)},
        "value": {"decode": format!("{:?}", config.value.decode).to_lowercase(), "registry": registry(&config.value.registry)},
        "store": {"db": config.store.db, "as": format!("{:?}", config.store.form).to_lowercase()},
        "ready": {
            "before_ready": format!("{:?}", config.ready.before_ready).to_lowercase(),
            "max_staleness_ms": config.ready.max_staleness.as_millis() as u64,
            "open_txn_wait_ms": config.ready.open_txn_wait.as_millis() as u64,
        },
        "limits": {"max_record": config.limits.max_record, "apply_slice_us": config.limits.apply_slice.as_micros() as u64, "max_memory": config.limits.max_memory, "on_oom": format!("{:?}", config.limits.on_oom).to_lowercase()},
    })
    .to_string()
}

/// Errors as they were last shown, and how many there were by then: they are copied only when more came.
#[derive(Default)]
pub struct ShownErrors {
    count: u64,
    lines: Arc<[ErrorLine]>,
}

impl ShownErrors {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.lines = Arc::default();
    }

    fn of(&mut self, engine: &mut Engine) -> Arc<[ErrorLine]> {
        let ring = engine.ring();
        let count = projection::errors::Class::ALL.iter().map(|class| ring.count(*class)).sum();
        if count != self.count {
            self.count = count;
            let line = |poison: &projection::errors::Poison| ErrorLine {
                class: poison.class.name(),
                topic: poison.topic.clone(),
                partition: poison.partition,
                offset: poison.offset,
                at_ms: poison.at_ms,
                text: poison.text.clone(),
            };
            self.lines = ring.latest().map(line).collect();
        }
        Arc::clone(&self.lines)
    }
}

/// The board of an engine.
pub fn of(engine: &mut Engine, topics: &[Arc<str>], errors: &mut ShownErrors, now_ms: u64) -> Board {
    let status = engine.status(now_ms);
    let refusal = refusal(engine.config(), &status);
    let partitions = status.partitions.iter().map(|partition| PartitionBoard {
        topic: Arc::clone(&topics[partition.at.0]),
        partition: partition.at.1,
        state: partition.state.name(),
        blocked_at: matches!(partition.state, State::BlockedPoison | State::BlockedSchema).then_some(partition.next),
        is_paused: partition.state == State::Paused,
        applied: partition.applied,
        log: partition.log,
        lag: partition.lag,
        lag_ms: partition.lag_ms,
        stable_end: partition.stable_end,
    });
    let counts = &status.counts;
    let counts = vec![
        ("records", counts.records),
        ("tombstones", counts.tombstones),
        ("bytes", counts.bytes),
        ("skipped", counts.skipped),
        ("dead_letters", counts.dead_letters),
        ("conflicts", counts.conflicts),
        ("rebuilds", counts.rebuilds),
        ("renewals", counts.renewals),
    ];
    Board {
        state: status.state.name(),
        is_ready: status.is_ready,
        refusal,
        ready: status.ready,
        percent: status.percent,
        lag: status.lag,
        lag_ms: status.lag_ms,
        counts,
        has_topics: topics.len() > 1,
        partitions: partitions.collect(),
        poison: projection::errors::Class::ALL
            .iter()
            .map(|class| (class.name(), engine.ring().count(*class)))
            .collect(),
        errors: errors.of(engine),
        sources: engine.sources().map(|(number, topic, id)| (number, topic.to_owned(), id.to_owned())).collect(),
        kept: status.kept,
        times: Default::default(),
        flags: status.flags,
        last_error: status.last_error,
    }
}

fn refusal(config: &Projection, status: &Status) -> Option<Refusal> {
    if !status.is_ready {
        return (config.ready.before_ready == BeforeReady::Loading).then_some(Refusal::Loading);
    }
    (status.is_stale && config.ready.on_stale == OnStale::Error).then_some(Refusal::Stale)
}
