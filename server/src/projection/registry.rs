//! Fetches schemas from registries: reads only, one at a time, addresses in turn.

mod cache;

use super::runner::Answer;
use crate::body;
use commands::origin::template::{Place, encode};
use http::header::{ACCEPT, AUTHORIZATION};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use projection::config::{ReaderSchema, Registry, Version};
use projection::schema::{SchemaError, SchemaId, SchemaText};
use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// Longest answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Deepest chain of references, and most of them.
const MAX_DEPTH: usize = 16;
const MAX_REFERENCES: usize = 256;

/// A schema that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its id.
    pub id: SchemaId,
    /// Of keys, else of values.
    pub of_key: bool,
}

/// Where schemas come from.
#[derive(Clone)]
pub struct Registries {
    /// Those of keys.
    pub keys: Option<Registry>,
    /// Those of values.
    pub values: Option<Registry>,
    /// What values are read as.
    pub reader: Option<ReaderSchema>,
}

impl Registries {
    fn longest(&self, time: impl Fn(&Registry) -> Duration) -> Duration {
        self.keys.iter().chain(&self.values).map(time).max().unwrap_or_default()
    }

    /// Between two questions for a schema that is not to be had.
    pub fn pause(&self) -> Duration {
        self.longest(|registry| registry.negative_ttl)
    }

    /// For so long a schema that no registry knows is waited for.
    pub fn grace(&self) -> Duration {
        self.longest(|registry| registry.unknown_schema_grace)
    }
}

/// Begins; it ends with its sender.
pub fn start(name: &str, registries: Registries, answers: Sender<Answer>) -> Result<Sender<Wanted>, String> {
    let (sender, wanted) = channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(serve(&registries, &wanted, &answers));
    };
    let spawned = thread::Builder::new().name(format!("schemas-{name}")).spawn(run);
    spawned.map(|_| sender).map_err(|error| error.to_string())
}

async fn serve(registries: &Registries, wanted: &Receiver<Wanted>, answers: &Sender<Answer>) {
    let client = Asker::new();
    let mut reader = None;
    // Nothing else runs here: waiting for the next one may block.
    while let Ok(wanted) = wanted.recv() {
        let registry = if wanted.of_key { &registries.keys } else { &registries.values };
        let result = match registry {
            Some(registry) => client.wanted(registry, wanted, registries.reader.as_ref(), &mut reader).await,
            None => Err(SchemaError::Unknown),
        };
        if answers.send(Answer::Schema(wanted, result)).is_err() {
            return;
        }
    }
}

/// Asks registries.
pub struct Asker {
    client: Client<hyper_rustls::HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Default for Asker {
    fn default() -> Self {
        Self::new()
    }
}

impl Asker {
    /// One that has asked nobody yet.
    pub fn new() -> Self {
        let connector = HttpsConnectorBuilder::new().with_tls_config(crate::tls::client());
        let connector = connector.https_or_http().enable_http1().build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// A schema, and the one that its values are read as; that is looked up once.
    async fn wanted(
        &self,
        registry: &Registry,
        wanted: Wanted,
        reader: Option<&ReaderSchema>,
        known: &mut Option<SchemaText>,
    ) -> Result<SchemaText, SchemaError> {
        let mut found = self.schema(registry, wanted.id).await?;
        if let Some(reader) = reader.filter(|_| !wanted.of_key) {
            if known.is_none() {
                // That it is not there is no fault of the record.
                let read = self.reader(registry, reader).await;
                *known = Some(read.map_err(|error| match error {
                    SchemaError::Unknown => SchemaError::Outage("the reader's schema is not there".to_owned()),
                    outage => outage,
                })?);
            }
            found.reader = known.clone().map(Box::new);
        }
        Ok(found)
    }

    /// The latest schema of a subject, and its id.
    pub async fn latest(&self, registry: &Registry, subject: &str) -> Result<(u32, SchemaText), SchemaError> {
        let answer = self.get(registry, &format!("/subjects/{}/versions/latest", encoded(subject))).await?;
        let id = answer.get("id").and_then(|id| id.as_u64()).and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| SchemaError::Outage("the registry's answer is none".to_owned()))?;
        Ok((id, self.whole(registry, &answer).await?))
    }

    async fn reader(&self, registry: &Registry, reader: &ReaderSchema) -> Result<SchemaText, SchemaError> {
        let version = match reader {
            ReaderSchema::Id { id } => return self.schema(registry, SchemaId::Number(*id)).await,
            ReaderSchema::File { file } => {
                let read = std::fs::read_to_string(file);
                let text = read.map_err(|error| SchemaError::Outage(format!("{}: {error}", file.display())))?;
                return Ok(SchemaText { text, ..SchemaText::default() });
            }
            ReaderSchema::Version { version: Version::Number(version), .. } => version.to_string(),
            ReaderSchema::Version { .. } => "latest".to_owned(),
        };
        let ReaderSchema::Version { subject, .. } = reader else { unreachable!("taken above") };
        let answer = self.get(registry, &format!("/subjects/{}/versions/{version}", encoded(subject))).await?;
        self.whole(registry, &answer).await
    }

    /// The schema of an answer, with those it refers to.
    async fn whole(&self, registry: &Registry, answer: &serde_json::Value) -> Result<SchemaText, SchemaError> {
        let (text, references) = parts(answer)?;
        let mut found = SchemaText { text, ..SchemaText::default() };
        self.gather(registry, references, &mut found).await?;
        Ok(found)
    }

    /// The schema of an id, with those it refers to.
    async fn schema(&self, registry: &Registry, id: SchemaId) -> Result<SchemaText, SchemaError> {
        if let Some(kept) = cache::read(registry, id) {
            return Ok(kept);
        }
        let kind = if let SchemaId::Guid(_) = id { "guids" } else { "ids" };
        let answer = self.get(registry, &format!("/schemas/{kind}/{id}")).await?;
        let found = self.whole(registry, &answer).await?;
        cache::write(registry, id, &found);
        Ok(found)
    }

    /// Those referred to, each behind the ones that it refers to itself.
    async fn gather(
        &self,
        registry: &Registry,
        references: Vec<Reference>,
        to: &mut SchemaText,
    ) -> Result<(), SchemaError> {
        let mut seen = HashSet::new();
        // What is left to do: references to look up, and texts to add once those above them are there.
        let mut left: Vec<(usize, Step)> = references.into_iter().map(|reference| (1, Step::Look(reference))).collect();
        while let Some((depth, step)) = left.pop() {
            match step {
                Step::Add(text) => to.references.push(text),
                Step::Look(reference) => {
                    if !seen.insert(reference.clone()) {
                        continue;
                    }
                    if depth > MAX_DEPTH || seen.len() > MAX_REFERENCES {
                        return Err(SchemaError::Broken("its references are too many or too deep".to_owned()));
                    }
                    let path = format!("/subjects/{}/versions/{}", encoded(&reference.subject), reference.version);
                    let (text, references) = parts(&self.get(registry, &path).await?)?;
                    left.push((depth, Step::Add(text)));
                    left.extend(references.into_iter().map(|reference| (depth + 1, Step::Look(reference))));
                }
            }
        }
        Ok(())
    }

    /// What a path holds, asked of one address after the other.
    async fn get(&self, registry: &Registry, path: &str) -> Result<serde_json::Value, SchemaError> {
        let mut last = SchemaError::Outage("the registry has no address".to_owned());
        for url in &registry.url {
            match self.ask(registry, url, path).await {
                // It is no use to ask others what one knows to be unknown.
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => return Err(SchemaError::Unknown),
                Err(reason) => last = SchemaError::Outage(format!("registry {}: {reason}", shown(url))),
            }
        }
        Err(last)
    }

    async fn ask(&self, registry: &Registry, url: &str, path: &str) -> Result<Option<serde_json::Value>, String> {
        // A login in the address is sent as one, and kept out of what is logged of connections.
        let (login, url) = split_login(url);
        let login = registry.basic_auth.as_ref().map(|login| login.0.clone()).or(login);
        let mut request = Request::get(format!("{}{path}", url.trim_end_matches('/')))
            .header(ACCEPT, "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(login) = login {
            use base64::Engine;
            let login = base64::engine::general_purpose::STANDARD.encode(login);
            request = request.header(AUTHORIZATION, format!("Basic {login}"));
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| error.to_string())?;
            match response.status() {
                StatusCode::NOT_FOUND => return Ok(None),
                status if !status.is_success() => return Err(format!("answers {status}")),
                _ => {}
            }
            let bytes = body::whole(response.into_body(), MAX_ANSWER_BYTES).await;
            let bytes = bytes.map_err(|error| format!("its answer: {error}"))?;
            serde_json::from_slice(&bytes).map(Some).map_err(|_| "its answer is no JSON".to_owned())
        };
        let waited = tokio::time::timeout(registry.timeout, exchange).await;
        waited.unwrap_or_else(|_| Err("does not answer in time".to_owned()))
    }
}

enum Step {
    Look(Reference),
    Add(String),
}

/// A schema by subject and version.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Reference {
    subject: String,
    version: u64,
}

/// The text of a schema and what it refers to, out of an answer.
fn parts(answer: &serde_json::Value) -> Result<(String, Vec<Reference>), SchemaError> {
    let strange = || SchemaError::Outage("the registry's answer is none".to_owned());
    let text = answer.get("schema").and_then(|schema| schema.as_str()).ok_or_else(strange)?;
    let kind = answer.get("schemaType").and_then(|kind| kind.as_str()).unwrap_or("AVRO");
    if kind != "AVRO" {
        return Err(SchemaError::Broken(format!("it is one of {kind}, not of AVRO")));
    }
    let references = answer.get("references").and_then(|references| references.as_array());
    let read = |reference: &serde_json::Value| {
        let subject = reference.get("subject")?.as_str()?.to_owned();
        Some(Reference { subject, version: reference.get("version")?.as_u64()? })
    };
    let references: Option<Vec<_>> = references.into_iter().flatten().map(read).collect();
    Ok((text.to_owned(), references.ok_or_else(strange)?))
}

/// The login in an address, and the address without it.
fn split_login(url: &str) -> (Option<String>, String) {
    let Some((scheme, rest)) = url.split_once("://") else { return (None, url.to_owned()) };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        None => (None, url.to_owned()),
        Some((login, _)) => (Some(login.to_owned()), format!("{scheme}://{}", &rest[login.len() + 1..])),
    }
}

/// An address without what may be a login.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

/// A subject as one part of a path.
fn encoded(subject: &str) -> String {
    let mut path = String::new();
    encode(subject.as_bytes(), Place::Whole, &mut path);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_of_registries() {
        let (text, references) = parts(&json!({
            "schema": "\"string\"", "references": [{"name": "N", "subject": "s/ x", "version": 3}],
        }))
        .unwrap();
        assert_eq!((text.as_str(), references[0].version), ("\"string\"", 3));
        assert_eq!(encoded(&references[0].subject), "s%2F%20x");
        for strange in [json!({}), json!({"schema": 5}), json!({"schema": "x", "references": [{}]}), json!([])] {
            assert!(matches!(parts(&strange), Err(SchemaError::Outage(_))), "{strange}");
        }
        assert!(matches!(parts(&json!({"schema": "x", "schemaType": "PROTOBUF"})), Err(SchemaError::Broken(_))));
        assert_eq!(shown("http://user:secret@host:8081"), "host:8081");
        assert_eq!(split_login("http://u:p@h:1/a@b"), (Some("u:p".into()), "http://h:1/a@b".into()));
        assert_eq!(split_login("http://h:1/a@b"), (None, "http://h:1/a@b".into()));
    }
}
