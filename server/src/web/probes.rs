//! Probes: whether the process lives, and whether it is ready. Both need no login and say nothing of the keys.

use super::{Answer, json};
use commands::projections::{Board, Projection, Projections};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json as value;
use std::sync::Arc;

/// The answer of a probe, if the request is one.
pub(super) fn answer(request: &Request<Incoming>, parts: &[&str], projections: &Projections) -> Option<Answer> {
    match parts {
        ["health" | "healthz"] => Some(json(StatusCode::OK, &value!({ "status": "ok" }))),
        ["readyz"] if matches!(*request.method(), Method::GET | Method::HEAD) => {
            Some(readiness(projections, request.uri().query().unwrap_or_default()))
        }
        _ => None,
    }
}

/// Ready: every projection, or the one that is named, has caught up, and none refuses readers.
fn readiness(projections: &Projections, query: &str) -> Answer {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("projection="));
    let asked: Vec<&Arc<Projection>> = match named {
        None => projections.all().iter().collect(),
        Some(name) => match projections.named(name.as_bytes()) {
            Ok(projection) => vec![projection],
            Err(_) => return json(StatusCode::NOT_FOUND, &value!({ "error": "no such projection" })),
        },
    };
    let boards: Vec<(&str, Arc<Board>)> =
        asked.iter().map(|projection| (&*projection.name, projection.board())).collect();
    let is_ready = boards.iter().all(|(_, board)| board.is_ready && board.refusal.is_none());
    let shown = |(name, board): &(&str, Arc<Board>)| {
        let total = board.partitions.len();
        value!({"name": name, "state": board.state, "ready": board.is_ready, "partitions": total, "partitions_ready": board.ready, "percent": board.percent, "lag_ms": board.lag_ms})
    };
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &value!({ "ready": is_ready, "projections": boards.iter().map(shown).collect::<Vec<_>>() }))
}
