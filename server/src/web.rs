//! The HTTP surface: memoised calls, actions on services, projections, health and metrics.
//!
//! Each HTTP connection has a connection of its own to a serving core, over a socket pair, on which its requests are
//! commands: so that waiting, login, limits and the lists of clients are those of every client. Promises: bodies and heads
//! are bounded, a request that sends nothing is ended, and who goes away takes its
//! waits along (unless it sent more than its request before: that is seen after the answer).

mod browser;
mod client;
mod metrics;
mod probes;
pub mod projected;

use crate::body::{self, Unread};
use crate::clock::Clock;
use crate::net::listener::deal;
use crate::shared::Shared;
use client::{Client, Reply};
use commands::services::Service;
use commands::services::fields::Loader;
use core::convert::Infallible;
use core::sync::atomic::{AtomicUsize, Ordering};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use projected::Route;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::LocalSet;

/// Time for the head of a request, and for its body.
const HEAD_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(30);
/// Longest head, and longest body of an action.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_ACTION_BYTES: usize = 64 * 1024;
/// Connections at a time; further ones are closed.
const MAX_CONNECTIONS: usize = 512;
/// Descriptors that these take: the connection, and our end of its pair.
pub const MAX_FILES: u64 = 2 * MAX_CONNECTIONS as u64;
/// Time without a byte taken after which a client that was sent something is gone.
const TAKE_TIME: Duration = Duration::from_secs(30);

type Answer = Response<Full<Bytes>>;

/// Starts the thread that serves HTTP on these sockets.
pub fn start(
    listeners: Vec<std::net::TcpListener>,
    shared: &'static Shared,
    routes: Vec<Route>,
    clock: &Clock,
) -> io::Result<()> {
    // Lives as long as the process, as what is shared does.
    let served: &'static Served = Box::leak(Box::new(Served { shared, routes, clock: clock.clone() }));
    let run = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let open = Arc::new(AtomicUsize::new(0));
            let mut serving = Vec::new();
            for listener in listeners {
                let listener = TcpListener::from_std(listener)?;
                serving.push(tokio::task::spawn_local(accept(listener, served, Arc::clone(&open))));
            }
            for task in serving {
                let _ = task.await;
            }
            Ok(())
        })
    };
    thread::Builder::new().name("web".to_string()).spawn(move || {
        if let Err(error) = run() {
            tracing::error!(%error, "HTTP is not served");
        }
    })?;
    Ok(())
}

/// What requests are answered from.
pub struct Served {
    shared: &'static Shared,
    routes: Vec<Route>,
    clock: Clock,
}

async fn accept(listener: TcpListener, served: &'static Served, open: Arc<AtomicUsize>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, most likely: it is tried again once some may be free.
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
            continue;
        }
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(TAKE_TIME)) {
            tracing::debug!(%peer, %error, "an HTTP connection was lost before it was served");
            continue;
        }
        let place = Place::take(Arc::clone(&open));
        tokio::task::spawn_local(async move {
            let _place = place;
            let connection = Arc::new(Mutex::new(None));
            let serve = service_fn(move |request| {
                let connection = Arc::clone(&connection);
                async move {
                    let mut client = connection.lock().await;
                    Ok::<_, Infallible>(answer(request, served, peer, &mut client).await)
                }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), serve)
                .await;
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "an HTTP connection ended");
            }
        });
    }
}

/// One of the connections there may be; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is wrong with a request.
struct Wrong(StatusCode, String);

impl Wrong {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }
}

async fn answer(
    request: Request<Incoming>,
    served: &'static Served,
    peer: SocketAddr,
    client: &mut Option<Client>,
) -> Answer {
    match route(request, served, peer, client).await {
        Ok(answer) => answer,
        Err(Wrong(status, text)) => {
            // Its replies cannot be told from those of the next request.
            *client = None;
            let mut answer = json(status, &serde_json::json!({ "error": text }));
            if status == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"millpond\""));
            }
            if status == StatusCode::METHOD_NOT_ALLOWED {
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
            }
            answer
        }
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

async fn route(
    request: Request<Incoming>,
    served: &'static Served,
    peer: SocketAddr,
    client: &mut Option<Client>,
) -> Result<Answer, Wrong> {
    let shared = served.shared;
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
    if let Some(answer) = probes::answer(&request, &parts, &shared.node.projections) {
        return Ok(answer);
    }
    let live = &shared.node.settings.live;
    let needs_login = live.password.load().is_some();
    let is_protected = !needs_login && live.protected_mode.load(Ordering::Relaxed);
    if is_protected && !peer.ip().to_canonical().is_loopback() {
        return Err(Wrong::new(StatusCode::FORBIDDEN, "protected mode: no password is set"));
    }
    if let Some(why) = browser::refuses(request.headers(), is_protected) {
        return Err(Wrong::new(StatusCode::FORBIDDEN, why));
    }
    let client = open(client, shared, peer).await?;
    if needs_login {
        login(client, &request).await?;
    }
    if parts == ["metrics"] {
        return Ok(metrics::answer(served));
    }
    if let Some((route, id)) = projected::find(&served.routes, &path) {
        return projected::answer(served, route, id, request).await;
    }
    match (request.method(), &parts[..]) {
        (&Method::POST, ["memo", service]) => {
            let service = find(shared, service)?;
            call(client, shared, &service, request).await
        }
        (&Method::GET, ["memo", service, id]) => {
            let service = find(shared, service)?;
            result(client, &service, id).await
        }
        (&Method::POST, [service, "cache", action @ ("clear" | "delete" | "revoke")]) => {
            let service = find(shared, service)?;
            act(client, &service, action, request).await
        }
        (_, ["memo", ..] | [_, "cache", "clear" | "delete" | "revoke"]) => {
            Err(Wrong::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here"))
        }
        _ => Err(Wrong::new(StatusCode::NOT_FOUND, "no such path")),
    }
}

fn find(shared: &Shared, name: &str) -> Result<Arc<Service>, Wrong> {
    let found = shared.node.services.now().find(name.as_bytes()).cloned();
    found.ok_or_else(|| Wrong::new(StatusCode::NOT_FOUND, "no such service"))
}

/// The connection to a core, made when it is first needed.
async fn open<'c>(
    client: &'c mut Option<Client>,
    shared: &'static Shared,
    peer: SocketAddr,
) -> Result<&'c mut Client, Wrong> {
    // A core closes connections that have been idle for too long, or were killed.
    if let Some(known) = client
        && known.ask(&[b"PING"]).await.is_err()
    {
        *client = None;
    }
    if client.is_none() {
        let refused = |error: io::Error| Wrong::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(refused)?;
        theirs.set_nonblocking(true).map_err(refused)?;
        if !deal(shared, theirs.into(), peer.to_string(), "http".to_string(), false) {
            return Err(Wrong::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "as many clients are connected as maxclients allows",
            ));
        }
        *client = Some(Client::new(ours).map_err(refused)?);
    }
    client.as_mut().ok_or_else(|| Wrong::new(StatusCode::SERVICE_UNAVAILABLE, "no connection"))
}

/// Logs in with the name and password of the request.
async fn login(client: &mut Client, request: &Request<Incoming>) -> Result<(), Wrong> {
    let unknown = || Wrong::new(StatusCode::UNAUTHORIZED, "login is required");
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(unknown)?;
    let (scheme, rest) = given.split_once(' ').ok_or_else(unknown)?;
    let (name, password) = if scheme.eq_ignore_ascii_case("bearer") {
        ("default".to_owned(), rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let text = client::base64(rest.trim()).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unknown)?;
        let (name, password) = text.split_once(':').ok_or_else(unknown)?;
        (if name.is_empty() { "default" } else { name }.to_owned(), password.to_owned())
    } else {
        return Err(unknown());
    };
    match ask(client, &[b"AUTH", name.as_bytes(), password.as_bytes()]).await? {
        Reply::Error(_) => Err(unknown()),
        _ => Ok(()),
    }
}

async fn ask(client: &mut Client, words: &[&[u8]]) -> Result<Reply, Wrong> {
    client.ask(words).await.map_err(|error| Wrong::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

/// The same, an error reply being a wrong request.
async fn command(client: &mut Client, words: &[&[u8]]) -> Result<Reply, Wrong> {
    match ask(client, words).await? {
        Reply::Error(text) if text.starts_with("NOPERM") => Err(Wrong::new(StatusCode::FORBIDDEN, text)),
        Reply::Error(text) if text.starts_with("OOM") => Err(Wrong::new(StatusCode::INSUFFICIENT_STORAGE, text)),
        Reply::Error(text) => Err(Wrong::new(StatusCode::BAD_REQUEST, text)),
        reply => Ok(reply),
    }
}

async fn select(client: &mut Client, service: &Service) -> Result<(), Wrong> {
    command(client, &[b"SELECT", service.db.0.to_string().as_bytes()]).await.map(drop)
}

async fn body_of(request: Request<Incoming>, most: usize) -> Result<Bytes, Wrong> {
    let read = tokio::time::timeout(BODY_TIME, body::whole(request.into_body(), most)).await;
    match read {
        Err(_) => Err(Wrong::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        Ok(Err(Unread::TooLong)) => {
            Err(Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has up to {most} bytes")))
        }
        Ok(Err(Unread::Broken(why))) => Err(Wrong::new(StatusCode::BAD_REQUEST, why)),
        Ok(Ok(body)) => Ok(body),
    }
}

/// `POST /memo/{service}`: the id of a payload, once its result is there.
async fn call(
    client: &mut Client,
    shared: &Shared,
    service: &Service,
    request: Request<Incoming>,
) -> Result<Answer, Wrong> {
    if service.policy.loader == Loader::Lease {
        return Err(Wrong::new(StatusCode::NOT_IMPLEMENTED, "nobody loads for that service"));
    }
    let payload = body_of(request, shared.node.settings.live.memo_bytes.load(Ordering::Relaxed)).await?;
    select(client, service).await?;
    let reply = command(client, &[b"SWR.MEMO", service.name.as_bytes(), &payload]).await?;
    let Some([id, state, _, _, ms]) = reply.items().and_then(|items| items.first_chunk()) else {
        return Err(Wrong::new(StatusCode::BAD_GATEWAY, "an unknown reply"));
    };
    let (id, state) = (id.text(), state.text());
    let status = match &*state {
        "HIT" | "STALE" | "FILLED" | "NEG" => StatusCode::OK,
        "WAIT" | "MISS" => StatusCode::ACCEPTED,
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut answer = json(status, &serde_json::json!({ "id": id, "state": state }));
    if status == StatusCode::ACCEPTED {
        // In whole seconds, one at least.
        let seconds = ms.number().max(1).unsigned_abs().div_ceil(1000);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(answer)
}

/// `GET /memo/{service}/{id}`: the result itself.
async fn result(client: &mut Client, service: &Service, id: &str) -> Result<Answer, Wrong> {
    if id.len() != 64 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Wrong::new(StatusCode::BAD_REQUEST, "an id is 64 lower-case hexadecimal digits"));
    }
    select(client, service).await?;
    let key = [&service.prefix, id.as_bytes()].concat();
    let reply = command(client, &[b"SWR.PEEK", &key]).await?;
    let Some([state, value, _, _]) = reply.items().and_then(|items| items.first_chunk()) else {
        return Err(Wrong::new(StatusCode::BAD_GATEWAY, "an unknown reply"));
    };
    match (&*state.text(), value) {
        ("HIT" | "STALE", Reply::Bulk(value)) => {
            let mut answer = Response::new(Full::new(Bytes::copy_from_slice(value)));
            let kind = HeaderValue::from_str(&service.policy.content_type);
            let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            answer.headers_mut().insert(CONTENT_TYPE, kind);
            // What somebody stored must not run in a browser as something else.
            answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
            Ok(answer)
        }
        ("WAIT", _) => Ok(json(StatusCode::ACCEPTED, &serde_json::json!({ "id": id, "state": "WAIT" }))),
        ("ERR", _) => Err(Wrong::new(StatusCode::BAD_GATEWAY, "the call failed")),
        _ => Err(Wrong::new(StatusCode::NOT_FOUND, "no result of that id")),
    }
}

/// `POST /{service}/cache/{action}` with a JSON object.
async fn act(
    client: &mut Client,
    service: &Service,
    action: &str,
    request: Request<Incoming>,
) -> Result<Answer, Wrong> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // A page in a browser cannot send this to another site without asking it first.
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Wrong::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "actions take application/json"));
    }
    let body = body_of(request, MAX_ACTION_BYTES).await?;
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    select(client, service).await?;
    let path = format!("{}/cache/{action}", service.name);
    let reply = command(client, &[b"CACHE.ACTION", path.as_bytes(), &body]).await?;
    let field = if action == "delete" { "deleted" } else { "epoch" };
    Ok(json(StatusCode::OK, &serde_json::json!({ field: reply.number() })))
}
