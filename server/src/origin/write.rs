//! Writes to origins: PUT and DELETE, one at a time for each key.

use super::{Loader, chain};
use crate::body;
use commands::origin::template::Template;
use commands::services::Service;
use commands::through::{self, WriteJob, Written};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use std::time::{Duration, Instant};

/// Most bytes of an answer that are read before the connection is used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

impl Loader {
    /// Makes a write, after those of its key that came before.
    pub(super) async fn write_in_turn(&self, job: WriteJob) {
        let name = (job.db.0, job.key.clone());
        if let Some(waiting) = self.writes.borrow_mut().get_mut(&name) {
            waiting.push_back(job);
            return;
        }
        self.writes.borrow_mut().insert(name.clone(), Default::default());
        let mut next = Some(job);
        while let Some(job) = next {
            let written = self.write(&job).await;
            self.tell(&job, written);
            self.on_their_way.done(&job);
            next = self.writes.borrow_mut().get_mut(&name).and_then(|waiting| waiting.pop_front());
        }
        self.writes.borrow_mut().remove(&name);
    }

    fn tell(&self, job: &WriteJob, written: Written) {
        let cx = self.cx();
        through::tell(job, written, &mut self.participant.borrow_mut().batch(), &cx);
        crate::net::inbox::forward(&self.shared.store, &self.shared.inboxes);
    }

    async fn write(&self, job: &WriteJob) -> Written {
        let Some(template) = job.service.policy.origin.clone() else { return unsent(&job.service, "no origin") };
        let request = match self.write_request(job, &template) {
            Ok(request) => request,
            Err(why) => return unsent(&job.service, &why),
        };
        let until = Instant::now() + Duration::from_millis(job.service.policy.hard_timeout_ms);
        let Ok(_place) = tokio::time::timeout_at(until.into(), self.requests.acquire()).await else {
            return unsent(&job.service, "too many requests are under way");
        };
        let Some(leave) = self.may_ask(&template) else { return unsent(&job.service, "the breaker is open") };
        let asking = async {
            let response = self.client.request(request).await.map_err(|error| (error.is_connect(), chain(&error)))?;
            let status = response.status();
            // Read away, so that the connection can be used again.
            let _ = body::whole(response.into_body(), MAX_ANSWER_BYTES).await;
            Ok::<_, (bool, String)>(status)
        };
        let outcome = tokio::time::timeout_at(until.into(), asking)
            .await
            .unwrap_or_else(|_| Err((false, "timed out".to_owned())));
        let is_good = outcome.as_ref().is_ok_and(|status| !status.is_server_error());
        self.asked(&template, leave, is_good);
        match outcome {
            Ok(status) if status.is_success() => Written::Done,
            // What is not there any more is as good as deleted.
            Ok(StatusCode::NOT_FOUND | StatusCode::GONE) if job.value.is_none() => Written::Done,
            Ok(status) => Written::Status(status.as_u16()),
            Err((true, why)) => unsent(&job.service, &why),
            Err((false, why)) => {
                tracing::warn!(service = &*job.service.name, why, "a write has no known outcome");
                Written::Unknown
            }
        }
    }

    fn write_request(&self, job: &WriteJob, template: &Template) -> Result<Request<Full<Bytes>>, String> {
        if !self.allow.lists(template.host(), template.port()) {
            return Err(format!("{}:{} is not in origin-allow", template.host(), template.port()));
        }
        let path = template.path(job.own_key()).map_err(|bad| bad.to_string())?;
        let uri = format!("{}://{}:{}{path}", template.scheme().as_str(), template.host(), template.port());
        let method = if job.value.is_some() { Method::PUT } else { Method::DELETE };
        let body = job.value.as_deref().map(Bytes::copy_from_slice).unwrap_or_default();
        let mut request =
            Request::builder().method(method).uri(uri).body(Full::new(body)).map_err(|e| e.to_string())?;
        *request.headers_mut() = self.headers(&job.service, job.own_key(), "write")?;
        if job.value.is_some() {
            let kind = HeaderValue::from_str(&job.service.policy.content_type);
            request
                .headers_mut()
                .insert(CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
        }
        Ok(request)
    }
}

/// The origin knows nothing of it.
fn unsent(service: &Service, why: &str) -> Written {
    tracing::warn!(service = &*service.name, why, "a write was not made");
    Written::Unsent
}
