//! Projections over HTTP: one entry, with what caches need to know of it, and lists of ids.

mod overlay;
#[cfg(feature = "kafka")]
pub mod through;

use super::{Answer, Served, Wrong, json};
use commands::families::string::text_of_value;
use commands::projections::{Board, Projection, Refusal};
use core::sync::atomic::AtomicU64;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    RETRY_AFTER,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use projection::config::{self, Etag, Form, Http, List, LocalWrites};
use projection::mapping::Mapping;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use storage::{Cx, Millis, Position, Provenance, Slot};

/// Keys looked at in one slice of a list.
const SLICE_KEYS: usize = 1024;

/// A projection and where it is served.
pub struct Route {
    http: Http,
    form: Form,
    projection: Arc<Projection>,
    /// Tells apart mappings that make other entries of the same records.
    mapping: u16,
    writes: LocalWrites,
    /// Where writes go that are the topic's.
    #[cfg(feature = "kafka")]
    through: Option<through::Through>,
    /// How values become entries, for what is posted; and how many were.
    posted_as: Mapping,
    posted: AtomicU64,
}

impl Route {
    /// That of a configuration.
    pub fn new(http: Http, config: &config::Projection, projection: Arc<Projection>) -> Self {
        let made_of = format!("{:?}{:?}{:?}{:?}", config.key, config.value, config.store, config.envelope);
        // FNV-1a: the same on every machine.
        let hash = made_of
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        Self {
            http,
            form: config.store.form,
            projection,
            mapping: (hash ^ hash >> 32) as u16,
            writes: config.local_writes,
            #[cfg(feature = "kafka")]
            through: None,
            posted_as: Mapping::new(config),
            posted: AtomicU64::new(0),
        }
    }
}

#[cfg(feature = "kafka")]
impl Route {
    /// The same, with writes that go through to the topic.
    pub fn writing(self, through: through::Through) -> Self {
        Self { through: Some(through), ..self }
    }
}

/// The route that a path belongs to, and the id behind it; without one it is the list.
pub(super) fn find<'r, 'p>(routes: &'r [Route], path: &'p str) -> Option<(&'r Route, Option<&'p str>)> {
    routes.iter().find_map(|route| match path.strip_prefix(&*route.http.path)? {
        "" | "/" => Some((route, None)),
        rest => rest.strip_prefix('/').map(|id| (route, Some(id))),
    })
}

/// Answers a request for one entry, or for a list.
pub(super) async fn answer(
    served: &'static Served,
    route: &Route,
    id: Option<&str>,
    request: Request<Incoming>,
) -> Result<Answer, Wrong> {
    let writable = route.writes != LocalWrites::Deny;
    match *request.method() {
        Method::GET | Method::HEAD => {}
        #[cfg(feature = "kafka")]
        Method::POST if id.is_none() && route.through.is_some() => {
            let through = route.through.as_ref().expect("just looked at");
            return through::post(served, route, through, request).await;
        }
        #[cfg(feature = "kafka")]
        Method::DELETE if id.is_some() && route.through.is_some() => {
            let through = route.through.as_ref().expect("just looked at");
            return through::delete(served, route, through, id.unwrap_or_default()).await;
        }
        Method::POST if writable && id.is_none() => return overlay::post(served, route, request).await,
        Method::DELETE if writable && id.is_some() => return overlay::delete(served, route, id.unwrap_or_default()),
        _ => {
            let allow = match (writable, id) {
                (false, _) => "GET, HEAD",
                (true, None) => "GET, HEAD, POST",
                (true, Some(_)) => "GET, HEAD, DELETE",
            };
            let mut answer = json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({"error": "no such method here"}));
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            return Ok(answer);
        }
    }
    let request = &request;
    let board = route.projection.board();
    if let Some(refusal) = board.refusal {
        return Ok(not_now(&board, refusal));
    }
    let mut answer = match id {
        Some(id) => one(served, route, &board, id, request.headers())?,
        None => list(served, route, request.uri().query().unwrap_or_default()).await?,
    };
    if board.flags.contains(&"stale") {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        answer.headers_mut().insert("x-millpond-stale-ms", HeaderValue::from(board.lag_ms));
    }
    Ok(answer)
}

fn not_now(board: &Board, refusal: Refusal) -> Answer {
    let message = match refusal {
        Refusal::Loading => format!("catching up: {}%", board.percent),
        Refusal::Stale => format!("{} ms old", board.lag_ms),
    };
    let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "message": message }));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// An entry as it is sent.
struct Found {
    body: Vec<u8>,
    kind: &'static str,
    provenance: Option<Provenance>,
    /// The field that the ETag is made of.
    field: Option<String>,
}

fn one(served: &Served, route: &Route, board: &Board, id: &str, headers: &HeaderMap) -> Result<Answer, Wrong> {
    let id = decoded(id).ok_or_else(|| Wrong::new(StatusCode::BAD_REQUEST, "the id is not well encoded"))?;
    let key = [&route.projection.prefix, &id[..]].concat();
    if route.projection.is_poisoned(&key) {
        let message = "the last record of that entry cannot be read";
        return Ok(json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "message": message })));
    }
    let Some(found) = look_up(served, route, &key) else {
        return Ok(json(StatusCode::NOT_FOUND, &serde_json::json!({ "message": "no such entry" })));
    };
    let etag = etag(route, board, &found);
    let modified = found.provenance.map(|provenance| UNIX_EPOCH + Duration::from_millis(provenance.time.0));
    let is_known = match headers.contains_key(IF_NONE_MATCH) {
        true => {
            let mut known = headers.get_all(IF_NONE_MATCH).iter();
            etag.as_deref().is_some_and(|etag| known.any(|known| matches_any(known, etag)))
        }
        false => {
            let since =
                headers.get(IF_MODIFIED_SINCE).and_then(|since| httpdate::parse_http_date(since.to_str().ok()?).ok());
            since.zip(modified).is_some_and(|(since, modified)| {
                let seconds =
                    |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                seconds(modified) <= seconds(since)
            })
        }
    };
    let body = if is_known { Vec::new() } else { found.body };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    if is_known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(found.kind));
        answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    }
    let value = |text: String| HeaderValue::from_str(&text).ok();
    let age = value(format!("public, max-age={}", route.http.cache_max_age.as_secs()));
    let modified = modified.and_then(|modified| value(httpdate::fmt_http_date(modified)));
    let named = [(CACHE_CONTROL, age), (ETAG, etag.and_then(value)), (LAST_MODIFIED, modified)];
    for (name, value) in named {
        if let Some(value) = value {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

fn look_up(served: &Served, route: &Route, key: &[u8]) -> Option<Found> {
    let store = &served.shared.store;
    let mut participant = store.join();
    let mut access = participant.batch();
    let kh = access.hash(key);
    let field = match &route.http.etag {
        Etag::Field(name) => Some(name.as_str()),
        Etag::Version => None,
    };
    access.one(route.projection.db, kh, key, &cx(served), |slot| {
        let Slot::Live(live) = slot else { return None };
        let provenance = live.provenance();
        if let Ok(hash) = live.hash() {
            let mut fields = serde_json::Map::new();
            hash.for_each(|field, value| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                fields.insert(text(field), text_of_value(&value, |bytes| text(bytes)).into());
            });
            let field = field.and_then(|name| Some(fields.get(name)?.as_str()?.to_owned()));
            let body = serde_json::Value::Object(fields).to_string().into_bytes();
            return Some(Found { body, kind: "application/json", provenance, field });
        }
        let body = live.string().ok().map(|value| text_of_value(&value, <[u8]>::to_vec))?;
        let kind = if route.form == Form::Json { "application/json" } else { "application/octet-stream" };
        let field = field.and_then(|name| {
            let value: serde_json::Value = serde_json::from_slice(&body).ok()?;
            let value = value.get(name)?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        });
        Some(Found { body, kind, provenance, field })
    })
}

fn cx(served: &Served) -> Cx {
    Cx { now: Millis(served.clock.now_ms()), steady_ms: served.clock.uptime_ms(), seed: 0 }
}

/// The entry's ETag. By version it is another one for every state that was ever stored, and the same on all servers.
fn etag(route: &Route, board: &Board, found: &Found) -> Option<String> {
    if let Etag::Field(_) = route.http.etag {
        let is_plain = |c: char| c.is_ascii_graphic() && c != '"' || c == ' ';
        return found.field.as_ref().filter(|field| field.chars().all(is_plain)).map(|field| format!("\"{field}\""));
    }
    let provenance = found.provenance?;
    if provenance.is_local() {
        return Some(format!("\"local-{}\"", provenance.offset));
    }
    let (_, _, id) = board.sources.iter().find(|(number, ..)| *number == provenance.source)?;
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    Some(format!("\"{id}-{}-{}-{:04x}\"", provenance.partition, provenance.offset, route.mapping))
}

/// Whether one of the ETags of `If-None-Match` is this one; weak ones count.
fn matches_any(known: &HeaderValue, etag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    // Commas may stand within the quotes.
    let (mut rest, mut found) = (known, known.trim() == "*");
    while let Some((_, after)) = rest.split_once('"') {
        let Some((text, behind)) = after.split_once('"') else { break };
        found |= etag.len() == text.len() + 2 && &etag[1..etag.len() - 1] == text;
        rest = behind;
    }
    found
}

/// Bytes that are percent-encoded in a path or query.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = core::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

/// What a list is asked for.
#[derive(Default)]
struct Page {
    limit: Option<usize>,
    offset: usize,
    filter: Vec<u8>,
    after: Option<Vec<u8>>,
}

impl Page {
    fn parse(query: &str, most: usize) -> Result<Self, Wrong> {
        let wrong = |name: &str| Wrong::new(StatusCode::BAD_REQUEST, format!("{name} is not what it should be"));
        let mut page = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let text = decoded(&text.replace('+', " ")).ok_or_else(|| wrong(name))?;
            let number =
                || core::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| wrong(name));
            match name {
                "limit" => page.limit = Some(number()?),
                "offset" => page.offset = number()?,
                "filter" => page.filter = text,
                "after" => page.after = Some(text),
                _ => {}
            }
        }
        if most > 0 {
            page.limit = Some(page.limit.unwrap_or(most).min(most));
        }
        Ok(page)
    }
}

/// The ids, sorted by their bytes. In slices, between which others are served; what is kept is bounded by the page.
async fn list(served: &'static Served, route: &Route, query: &str) -> Result<Answer, Wrong> {
    if route.http.list == List::Off {
        return Err(Wrong::new(StatusCode::NOT_FOUND, "no such path"));
    }
    let page = Page::parse(query, route.http.list_max)?;
    let most = page.limit.map_or(usize::MAX, |limit| limit.saturating_add(page.offset));
    let prefix = &route.projection.prefix;
    // The largest one first: it goes when a smaller one comes.
    let mut first: BinaryHeap<Box<[u8]>> = BinaryHeap::new();
    let mut from = Some(Position::START);
    while let Some(position) = from.filter(|_| most > 0) {
        {
            let mut participant = served.shared.store.join();
            let mut access = participant.batch();
            from = access.walk(route.projection.db, position, SLICE_KEYS, &cx(served), |key, _| {
                let Some(id) = key.strip_prefix(&**prefix) else { return };
                let is_after = page.after.as_ref().is_none_or(|after| id > &after[..]);
                let passes = page.filter.is_empty() || id.windows(page.filter.len()).any(|part| part == page.filter);
                if is_after && passes && (first.len() < most || first.peek().is_some_and(|last| id < &**last)) {
                    if first.len() == most {
                        first.pop();
                    }
                    first.push(id.into());
                }
            });
        }
        tokio::task::yield_now().await;
    }
    let ids: Vec<serde_json::Value> = first
        .into_sorted_vec()
        .iter()
        .skip(page.offset)
        .map(|id| String::from_utf8_lossy(id).into_owned().into())
        .collect();
    Ok(json(StatusCode::OK, &ids.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_decoded() {
        assert_eq!(decoded("a%2Fb%00+").as_deref(), Some(&b"a/b\0+"[..]));
        for bad in ["%", "%2", "%zz"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn etags_are_compared_weakly() {
        let known = |text: &'static str| matches_any(&HeaderValue::from_static(text), "\"a-0-5-0001\"");
        assert!(known("*") && known("\"x\", W/\"a-0-5-0001\"") && known("\"a-0-5-0001\""));
        assert!(!known("\"a-0-6-0001\"") && !known("a-0-5-0001"));
        let dated = HeaderValue::from_static("\"x\", \"Wed, 21 Oct\"");
        assert!(matches_any(&dated, "\"Wed, 21 Oct\"") && !matches_any(&dated, "\"Wed\""));
    }

    #[test]
    fn pages() {
        let page = Page::parse("limit=5&offset=2&filter=a%20b&after=x&other=1", 3).ok().unwrap();
        assert_eq!(
            (page.limit, page.offset, &page.filter[..], page.after.as_deref()),
            (Some(3), 2, &b"a b"[..], Some(&b"x"[..]))
        );
        assert!(Page::parse("limit=x", 0).is_err() && Page::parse("offset=-1", 0).is_err());
        assert_eq!(Page::parse("", 0).ok().unwrap().limit, None);
    }
}
