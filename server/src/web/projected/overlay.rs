//! Entries written beside the topic, over HTTP: on this server alone, until the topic's next record of their key, or a rebuild.

use super::super::{Answer, Served, Wrong, body_of, json};
use super::{Found, Route, cx, decoded, etag, look_up};
use commands::origin::template::{Place, encode};
use core::sync::atomic::Ordering;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use projection::config::Form;
use projection::datum::Datum;
use serde_json::{Map, Value, json as value};
use storage::{Millis, NewValue, Provenance, Slot};

/// Longest body.
const MAX_BODY_BYTES: usize = 8 << 20;

/// The fields of what is posted.
pub(super) async fn posted(request: Request<Incoming>) -> Result<Map<String, Value>, Wrong> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Wrong::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "entries are application/json"));
    }
    let body = body_of(request, MAX_BODY_BYTES).await?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Wrong::new(StatusCode::BAD_REQUEST, "the body is no JSON object")),
    }
}

/// The id among the fields.
pub(super) fn id_of(route: &Route, fields: &Map<String, Value>) -> Result<String, Wrong> {
    let name = route.http.id_field.as_deref().expect("checked with the configuration");
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(number @ Value::Number(_)) => Ok(number.to_string()),
        _ => Err(Wrong::new(StatusCode::UNPROCESSABLE_ENTITY, format!("'{name}' is not there, or no id"))),
    }
}

/// `POST path`: an entry of the body, whose id is one of its fields.
pub(super) async fn post(served: &Served, route: &Route, request: Request<Incoming>) -> Result<Answer, Wrong> {
    let fields = posted(request).await?;
    let id = id_of(route, &fields)?;
    let datum = Datum::Json(Value::Object(fields));
    let key = [&route.projection.prefix, id.as_bytes()].concat();
    if !store(served, route, &key, &datum)? {
        return Ok(json(StatusCode::CONFLICT, &value!({"message": "there is such an entry"})));
    }
    let found = look_up(served, route, &key).ok_or_else(|| Wrong::new(StatusCode::CONFLICT, "it is gone again"))?;
    let mut answer = sent(&found, StatusCode::CREATED);
    with_place(route, &id, Some(&found), &mut answer);
    Ok(answer)
}

/// Says where a new entry is, and which state of it was stored.
pub(super) fn with_place(route: &Route, id: &str, found: Option<&Found>, answer: &mut Answer) {
    let mut location = format!("{}/", route.http.path);
    encode(id.as_bytes(), Place::Whole, &mut location);
    let board = route.projection.board();
    let named = [(LOCATION, Some(location)), (ETAG, found.and_then(|found| etag(route, &board, found)))];
    for (name, text) in named {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            answer.headers_mut().insert(name, value);
        }
    }
}

/// Stores it if there is no such entry; whether it did.
fn store(served: &Served, route: &Route, key: &[u8], datum: &Datum) -> Result<bool, Wrong> {
    let store = &served.shared.store;
    let now_ms = served.clock.now_ms();
    let from = Provenance {
        source: Provenance::LOCAL,
        offset: route.posted.fetch_add(1, Ordering::Relaxed),
        time: Millis(now_ms),
        ..Provenance::default()
    };
    let (mut text, mut pairs) = (Vec::new(), Vec::new());
    if route.form == Form::Hash {
        let each = |field: &[u8], text: &[u8]| pairs.push((field.to_vec(), text.to_vec()));
        let read = route.posted_as.fields(datum.whole(), &mut text, each);
        read.map_err(|(_, reason)| Wrong::new(StatusCode::UNPROCESSABLE_ENTITY, reason))?;
    } else {
        datum.whole().write_json(&mut text);
    }
    let hash = (!pairs.is_empty()).then(|| store.new_hash(pairs.iter().map(|(field, text)| (&field[..], &text[..]))));
    let value = hash.as_ref().map_or(NewValue::Bytes(&text), |hash| hash.as_new());
    let (mut participant, cx) = (store.join(), cx(served));
    let mut access = participant.batch();
    let kh = access.hash(key);
    if !access.make_room(Some(kh), text.len() as u64, &cx) {
        return Err(Wrong::new(StatusCode::INSUFFICIENT_STORAGE, "there is no memory for it"));
    }
    Ok(access.project_beside(route.projection.db, kh, key, value, &from, &cx))
}

/// `DELETE path/id`: the entry as it was.
pub(super) fn delete(served: &Served, route: &Route, id: &str) -> Result<Answer, Wrong> {
    let id = decoded(id).ok_or_else(|| Wrong::new(StatusCode::BAD_REQUEST, "the id is not well encoded"))?;
    let key = [&route.projection.prefix, &id[..]].concat();
    let gone = || json(StatusCode::NOT_FOUND, &value!({"message": "no such entry"}));
    let Some(found) = look_up(served, route, &key) else { return Ok(gone()) };
    let mut participant = served.shared.store.join();
    let mut access = participant.batch();
    let kh = access.hash(&key);
    // The one that was looked up: a record may have come between.
    let removed = access.one(route.projection.db, kh, &key, &cx(served), |slot| {
        let is_it = matches!(&slot, Slot::Live(live) if live.provenance() == found.provenance);
        is_it && slot.delete()
    });
    Ok(if removed { sent(&found, StatusCode::OK) } else { gone() })
}

pub(super) fn sent(found: &Found, status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(&found.body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(found.kind));
    answer
}
