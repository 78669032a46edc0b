//! `/metrics`: what Prometheus scrapes.

use super::{Answer, Served};
use commands::projections::{Board, PartitionBoard, Projection};
use core::fmt::Write;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use hyper::body::Bytes;
use std::sync::Arc;

/// All metrics, in Prometheus' text form.
pub(super) fn answer(served: &Served) -> Answer {
    let mut text = Text(String::new());
    server(served, &mut text);
    projections(served.shared.node.projections.all(), &mut text);
    let mut answer = Response::new(Full::new(Bytes::from(text.0)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    answer
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP millpond_{name} {help}\n# TYPE millpond_{name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "millpond_{name} {value}");
    }

    fn of(&mut self, name: &str, labels: &str, value: impl core::fmt::Display) {
        let _ = writeln!(self.0, "millpond_{name}{{{labels}}} {value}");
    }
}

fn server(served: &Served, text: &mut Text) {
    let (node, memory) = (&served.shared.node, served.shared.store.memory());
    let process = node.host.process();
    text.one("uptime_seconds", "gauge", "Time since the start.", process.uptime_ms / 1000);
    text.one("clients", "gauge", "Clients connected.", node.clients.len() as u64);
    text.one("commands_total", "counter", "Commands processed.", node.sum(|worker| worker.commands.value()));
    text.one("errors_total", "counter", "Error replies.", node.sum(|worker| worker.errors.value()));
    text.one("keyspace_hits_total", "counter", "Look-ups that found a key.", node.sum(|worker| worker.hits.value()));
    text.one("keyspace_misses_total", "counter", "Look-ups that found none.", node.sum(|worker| worker.misses.value()));
    text.one("memory_used_bytes", "gauge", "Memory used, as INFO tells it.", memory.used());
    text.one("memory_limit_bytes", "gauge", "The setting maxmemory; 0 = none.", memory.limit());
    text.one("memory_resident_bytes", "gauge", "Resident memory of the process.", process.resident_bytes);
}

/// A gauge: its name, what it is, and its value.
type Gauge<T, V> = (&'static str, &'static str, fn(&T) -> V);

/// A label's text.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn projections(all: &[Arc<Projection>], text: &mut Text) {
    let boards: Vec<_> = all.iter().map(|projection| (escaped(&projection.name), projection.board())).collect();
    if boards.is_empty() {
        return;
    }
    let gauges: [Gauge<Board, u64>; 4] = [
        ("projection_ready", "Whether all partitions have caught up once.", |board| board.is_ready.into()),
        ("projection_refusing", "Whether readers get errors.", |board| board.refusal.is_some().into()),
        ("projection_lag_records", "Records it is behind.", |board| board.lag.max(0) as u64),
        ("projection_lag_milliseconds", "For how long it may lack something.", |board| board.lag_ms),
    ];
    for (name, help, value) in gauges {
        text.head(name, "gauge", help);
        for (projection, board) in &boards {
            text.of(name, &format!("projection=\"{projection}\""), value(board));
        }
    }
    let counts: Vec<&'static str> = boards
        .iter()
        .find_map(|(_, board)| (!board.counts.is_empty()).then_some(&board.counts))
        .map_or(Vec::new(), |counts| counts.iter().map(|(name, _)| *name).collect());
    for count in counts {
        let name = format!("projection_{count}_total");
        text.head(&name, "counter", "As PROJECTION.INFO tells it.");
        for (projection, board) in &boards {
            let value = board.counts.iter().find(|(name, _)| *name == count).map_or(0, |(_, value)| *value);
            text.of(&name, &format!("projection=\"{projection}\""), value);
        }
    }
    let kept =
        boards.iter().find_map(|(_, board)| (!board.kept.is_empty()).then(|| board.kept.clone())).unwrap_or_default();
    for (name, _) in kept {
        text.head(&format!("projection_{name}"), "gauge", "As PROJECTION.INFO tells it.");
        for (projection, board) in &boards {
            let value = board.kept.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value);
            text.of(&format!("projection_{name}"), &format!("projection=\"{projection}\""), value);
        }
    }
    text.head("projection_state", "gauge", "Its state, of which one is 1.");
    for (projection, board) in &boards {
        text.of("projection_state", &format!("projection=\"{projection}\",state=\"{}\"", board.state), 1);
    }
    for (at, name, help) in [
        (0, "projection_read_batch_seconds", "Time to take the records of a batch and to decode them."),
        (1, "projection_apply_slice_seconds", "Time for which others may wait while records are applied."),
    ] {
        text.head(name, "histogram", help);
        for (projection, board) in &boards {
            let times = &board.times[at].1;
            let labels = format!("projection=\"{projection}\"");
            for (bound, count) in times.buckets() {
                text.of(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
            }
            text.of(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), times.count());
            text.of(&format!("{name}_sum"), &labels, times.seconds());
            text.of(&format!("{name}_count"), &labels, times.count());
        }
    }
    text.head("projection_poison_total", "counter", "Records that could not be read, by class.");
    for (projection, board) in &boards {
        for (class, count) in &board.poison {
            text.of("projection_poison_total", &format!("projection=\"{projection}\",class=\"{class}\""), count);
        }
    }
    let of_partitions: [Gauge<PartitionBoard, i64>; 7] = [
        ("projection_partition_lag_milliseconds", "For how long it may lack something; -1 = not known.", |partition| {
            partition.lag_ms.map_or(-1, |ms| ms as i64)
        }),
        ("projection_partition_applied", "The first offset not applied.", |partition| partition.applied),
        ("projection_partition_log_start", "The first offset of the log.", |partition| partition.log.0),
        ("projection_partition_log_end", "The end of the log.", |partition| partition.log.1),
        (
            "projection_partition_stable_end",
            "The end of what open transactions do not hide; -1 = not known.",
            |partition| partition.stable_end.unwrap_or(-1),
        ),
        ("projection_partition_lag_records", "Records it is behind.", |partition| partition.lag),
        ("projection_partition_blocked", "Whether it waits for a schema or for a record to be skipped.", |partition| {
            partition.blocked_at.is_some().into()
        }),
    ];
    for (name, help, value) in of_partitions {
        text.head(name, "gauge", help);
        for (projection, board) in &boards {
            for partition in &board.partitions {
                let topic = escaped(&partition.topic);
                let labels =
                    format!("projection=\"{projection}\",topic=\"{topic}\",partition=\"{}\"", partition.partition);
                text.of(name, &labels, value(partition));
            }
        }
    }
}
