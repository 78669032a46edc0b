//! Loading from origins over HTTP: jobs in, answers of leases out.
//!
//! One thread with its own runtime does all of it. Promises: only hosts on the operator's list are connected to, at an
//! address that was checked; a request ends within its service's HARDTIMEOUT, and its answer holds no more memory than
//! `origin-max-value`; every job's lease is answered, whatever the origin does. Redirects are not followed. Requests under way
//! and writes that wait for others of their key are bounded.

mod breaker;
mod connect;
mod jobs;
mod response;
mod write;

use crate::body;
use crate::clock::Clock;
use crate::net::inbox::forward;
use crate::shared::Shared;
use breaker::{Breaker, Leave};
use commands::loader::{self, LoadJob, Outcome};
use commands::node::VERSION;
use commands::origin::address::Allow;
use commands::origin::template::{Place, Template, encode};
use commands::services::Service;
use commands::services::fields::Given;
use commands::through::WriteJob;
use connect::Connector;
use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jobs::Writes;
pub use jobs::{Job, Jobs, Origins, channel};
use response::{Answer, Asked, Validator, Windows};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};
use storage::{Cx, Millis, Participant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;

/// Most bytes of an answer's head, and headers in it.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// Bytes of a key that are logged.
const LOGGED_KEY_BYTES: usize = 128;
/// Connections kept open to one origin, and for how long without a request.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Requests under way at a time, to all origins together, and descriptors that are put by for these and idle connections.
const REQUESTS: usize = 384;
/// See above.
pub const FILES: u64 = 512;

/// Starts the thread that loads.
pub fn start(jobs: Jobs, allow: Allow, shared: &'static Shared, clock: Clock, seed: u64) -> io::Result<()> {
    let allow = Arc::new(allow);
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(crate::tls::client())
        .https_or_http()
        .enable_http1()
        .wrap_connector(Connector::new(Arc::clone(&allow)));
    let run = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let loader = Rc::new(Loader {
            client: client(https),
            allow,
            breakers: RefCell::default(),
            writes: RefCell::default(),
            on_their_way: jobs.writes,
            requests: Semaphore::new(REQUESTS),
            participant: RefCell::new(shared.store.join()),
            shared,
            clock,
            seed,
            draws: Cell::new(0),
        });
        LocalSet::new().block_on(&runtime, serve(jobs.jobs, loader));
        Ok(())
    };
    thread::Builder::new().name("origin".to_string()).spawn(move || {
        if let Err(error) = run() {
            tracing::error!(%error, "origins cannot be loaded from");
        }
    })?;
    Ok(())
}

type Https = HttpsConnector<Connector>;

fn client(https: Https) -> Client<Https, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .http1_max_headers(MAX_HEADERS)
        .build(https)
}

async fn serve(mut jobs: UnboundedReceiver<Job>, loader: Rc<Loader>) {
    while let Some(job) = jobs.recv().await {
        let loader = Rc::clone(&loader);
        tokio::task::spawn_local(async move {
            match job {
                Job::Load(job) => loader.load(job).await,
                Job::Write(job) => loader.write_in_turn(job).await,
            }
        });
    }
}

struct Loader {
    client: Client<Https, Full<Bytes>>,
    allow: Arc<Allow>,
    /// By host and port.
    breakers: RefCell<HashMap<(Box<str>, u16), Breaker>>,
    /// Writes that wait for another one of their key, which is under way.
    writes: RefCell<Waiting>,
    on_their_way: Arc<Writes>,
    /// Places for requests: a descriptor each.
    requests: Semaphore,
    participant: RefCell<Participant<'static>>,
    shared: &'static Shared,
    clock: Clock,
    seed: u64,
    draws: Cell<u64>,
}

/// By database and key.
type Waiting = HashMap<(u8, Box<[u8]>), VecDeque<WriteJob>>;

/// What came back from an origin.
struct Fetched {
    answer: Answer,
    /// Of an answer that has a value.
    body: Option<Bytes>,
}

impl Fetched {
    fn failed(why: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { answer: Answer::Failed { retry_after_ms: None, why: why.into() }, body: None }
    }
}

impl Loader {
    async fn load(&self, job: LoadJob) {
        let Some(template) = job.service.policy.origin.clone() else {
            return self.finish(&job, Fetched::failed("no origin"));
        };
        let until = Instant::now() + Duration::from_millis(job.service.policy.hard_timeout_ms);
        let copy = self.validator(&job);
        let mut fetched = self.fetch(&job, &template, copy.as_ref(), until).await;
        let is_confirmed = match fetched.answer {
            Answer::NotModified { .. } => {
                if self.answer(&job, &fetched) {
                    return;
                }
                true
            }
            // By a 304 that forbids to keep it.
            Answer::NoStore => fetched.body.is_none(),
            _ => false,
        };
        if is_confirmed {
            // The copy it confirms is gone: the value itself, then.
            fetched = self.fetch(&job, &template, None, until).await;
        }
        self.finish(&job, fetched);
    }

    /// Asks the origin, until the time is over.
    async fn fetch(&self, job: &LoadJob, template: &Template, copy: Option<&Validator>, until: Instant) -> Fetched {
        let request = match self.request(job, template, copy) {
            Ok(request) => request,
            Err(why) => return Fetched::failed(why),
        };
        let Ok(_place) = tokio::time::timeout_at(until.into(), self.requests.acquire()).await else {
            return Fetched::failed("too many requests are under way");
        };
        let Some(leave) = self.may_ask(template) else { return Fetched::failed("the breaker is open") };
        let asking = async {
            match self.client.request(request).await {
                Ok(response) => (!response.status().is_server_error(), self.read(response, job, copy).await),
                Err(error) => (false, Fetched::failed(chain(&error))),
            }
        };
        let asked = tokio::time::timeout_at(until.into(), asking).await;
        let (is_good, fetched) = asked.unwrap_or_else(|_| (false, Fetched::failed("timed out")));
        self.asked(template, leave, is_good);
        fetched
    }

    /// Leave of the breaker to make a request that is ready to be sent.
    fn may_ask(&self, template: &Template) -> Option<Leave> {
        let place = (Box::from(template.host()), template.port());
        self.breakers.borrow_mut().entry(place).or_default().ask(self.clock.uptime_ms())
    }

    /// Tells the breaker how it ended.
    fn asked(&self, template: &Template, leave: Leave, is_good: bool) {
        let place = (Box::from(template.host()), template.port());
        self.breakers.borrow_mut().entry(place).or_default().note(leave, is_good, self.clock.uptime_ms());
    }

    fn request(
        &self,
        job: &LoadJob,
        template: &Template,
        copy: Option<&Validator>,
    ) -> Result<Request<Full<Bytes>>, String> {
        if !self.allow.lists(template.host(), template.port()) {
            return Err(format!("{}:{} is not in origin-allow", template.host(), template.port()));
        }
        let (path, method) = match &job.payload {
            Some(_) if !template.has_key() => (template.path(b"").map_err(|bad| bad.to_string())?, Method::POST),
            payload => {
                let path = template.path(job.own_key()).map_err(|bad| bad.to_string())?;
                (path, if payload.is_some() { Method::POST } else { Method::GET })
            }
        };
        let uri = format!("{}://{}:{}{path}", template.scheme().as_str(), template.host(), template.port());
        let mut headers = self.headers(&job.service, job.own_key(), job.reason.word())?;
        headers.extend(copy.and_then(Validator::header).map(|(name, value)| (Some(name), value)));
        let body = match &job.payload {
            Some((payload, is_json)) => {
                let kind = if *is_json { "application/json" } else { "application/octet-stream" };
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                Bytes::copy_from_slice(payload)
            }
            None => Bytes::new(),
        };
        let mut request =
            Request::builder().method(method).uri(uri).body(Full::new(body)).map_err(|e| e.to_string())?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// What every request says of itself.
    fn headers(&self, service: &Service, own_key: &[u8], reason: &'static str) -> Result<HeaderMap, String> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "a header that cannot be sent".to_owned());
        let mut key = String::new();
        encode(own_key, Place::Whole, &mut key);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, value(&format!("millpond/{VERSION}"))?);
        headers.insert("x-cache-service", value(&service.name)?);
        headers.insert("x-cache-reason", HeaderValue::from_static(reason));
        headers.insert("traceparent", value(&self.trace_parent())?);
        // A long key is in the path already.
        if key.len() <= MAX_HEAD_BYTES / 8 {
            headers.insert("x-cache-key", value(&key)?);
        }
        Ok(headers)
    }

    async fn read(&self, response: Response<Incoming>, job: &LoadJob, copy: Option<&Validator>) -> Fetched {
        let (head, body) = response.into_parts();
        let honour_headers = job.service.policy.honour_headers;
        let asked = Asked { honour_headers, validator: copy, now_ms: self.clock.now_ms() };
        let answer = response::judge(head.status, &head.headers, &asked);
        let has_value = matches!(answer, Answer::Value { .. } | Answer::NoStore);
        if !has_value || head.status == StatusCode::NOT_MODIFIED {
            return Fetched { answer, body: None };
        }
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Fetched::failed("an encoded body, which was not asked for");
        }
        let most = self.shared.node.settings.live.origin_value_bytes.load(Ordering::Relaxed);
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > most as u64) {
            return Fetched::failed("a body above origin-max-value");
        }
        match body::whole(body, most).await {
            Ok(body) => Fetched { answer, body: Some(body) },
            Err(error) => Fetched::failed(format!("the body: {error}")),
        }
    }

    /// What the copy at hand is known by. What a call results in is no resource that could be unchanged.
    fn validator(&self, job: &LoadJob) -> Option<Validator> {
        if job.payload.is_some() {
            return None;
        }
        let cx = self.cx();
        let mut participant = self.participant.borrow_mut();
        let mut access = participant.batch();
        let kh = access.hash(&job.key);
        access.one(job.db, kh, &job.key, &cx, |slot| Validator::from_bytes(slot.view()?.validator()))
    }

    /// Answers the lease; false if there was no copy to be confirmed.
    fn answer(&self, job: &LoadJob, fetched: &Fetched) -> bool {
        let policy = &job.service.policy;
        let given = |windows: &Windows| match *windows {
            // Stale for no time, however long it is fresh.
            Windows { fresh_ms: None, stale_ms: Some(_), .. } => {
                Given { fresh_ms: policy.fresh_ms, stale_ms: policy.fresh_ms, retain_ms: policy.fresh_ms }
            }
            Windows { fresh_ms, stale_ms, retain_ms } => Given { fresh_ms, stale_ms, retain_ms },
        };
        let kept = |validator: &Option<Validator>| validator.as_ref().map(Validator::to_bytes);
        let value = fetched.body.as_deref().unwrap_or_default();
        let (validator, outcome);
        outcome = match &fetched.answer {
            Answer::Value { windows, tags, validator: new } => {
                validator = kept(new);
                let etag = validator.as_deref().unwrap_or_default();
                Outcome::Value { value, given: given(windows), tags, validator: etag }
            }
            Answer::NotModified { windows, validator: new } => {
                validator = kept(new);
                Outcome::Same { given: given(windows), validator: validator.as_deref() }
            }
            Answer::Nothing => Outcome::Absent,
            Answer::NoStore => Outcome::NoStore { value },
            Answer::Failed { retry_after_ms, why } => {
                let shown = &job.key[..job.key.len().min(LOGGED_KEY_BYTES)];
                let key = String::from_utf8_lossy(shown).into_owned();
                tracing::warn!(service = &*job.service.name, key, %why, "a load failed");
                Outcome::Failed { retry_after_ms: *retry_after_ms }
            }
        };
        let cx = self.cx();
        let mut participant = self.participant.borrow_mut();
        let done = loader::finish(job, outcome, &mut participant.batch(), &cx);
        drop(participant);
        forward(&self.shared.store, &self.shared.inboxes);
        done
    }

    fn finish(&self, job: &LoadJob, fetched: Fetched) {
        if !self.answer(job, &fetched) {
            self.answer(job, &Fetched::failed("a copy was confirmed that is not there"));
        }
    }

    fn cx(&self) -> Cx {
        let seed = self.seed.wrapping_add(self.draws.replace(self.draws.get().wrapping_add(1)));
        let now = Millis(self.clock.now_ms()).max(self.shared.store.not_before());
        Cx { now, steady_ms: self.clock.uptime_ms(), seed }
    }

    /// A trace of its own for each request (W3C Trace Context), not sampled.
    fn trace_parent(&self) -> String {
        let cx = self.cx();
        let draw = |n| storage::draw_below(cx.seed, n, u64::MAX) + 1;
        format!("00-{:016x}{:016x}-{:016x}-00", draw(11), draw(12), draw(13))
    }
}

/// An error with what led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
