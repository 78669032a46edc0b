//! Writes through to the topic: produced, acknowledged by the brokers, and answered once they were applied here.
//!
//! Whether there is such an entry is judged on what this server has: two servers may both accept one, and the later record
//! stays. An answer of 504 means that nobody knows what became of the write.

use super::super::{Answer, Served, Wrong, json};
use super::overlay::{id_of, posted, with_place};
use super::{Route, decoded, look_up, not_now};
use crate::projection::registry::Asker;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use projection::config::{Cluster, Projection, Registry, ValueDecode};
use projection::consumer::{Outcome, Writer};
use projection::datum::Datum;
use projection::encode;
use projection::mapping::{Bad, DecodedKey};
use projection::operand::Sight;
use projection::schema::{SchemaError, SchemaText};
use projection::source::Headers;
use serde_json::{Value, json as value};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, oneshot};

/// For so long an acknowledged write is waited for until it is applied here.
const APPLY_TIME: Duration = Duration::from_secs(5);
/// Between two looks whether it is.
const LOOK: Duration = Duration::from_millis(2);
/// For so long the schema of what is written is taken for the latest one.
const SCHEMA_TIME: Duration = Duration::from_secs(30);

/// Where writes go.
pub struct Through {
    writer: Writer,
    topic: String,
    key: projection::config::KeyDecode,
    /// Longer keys and values would not be read.
    max_record: usize,
    /// Of values of Avro.
    schemas: Option<Schemas>,
}

/// The schema that values are written with: the latest one of the topic, or the one they are read as.
struct Schemas {
    registry: Registry,
    subject: String,
    asker: Asker,
    latest: Mutex<Option<(Instant, u32, SchemaText)>>,
}

impl Through {
    /// To the topic of a checked configuration. Contacts nobody yet.
    pub fn new(cluster: &Cluster, registry: Option<&Registry>, config: &Projection) -> Result<Self, String> {
        let topic = config.source.topics[0].clone();
        let schemas = (config.value.decode == ValueDecode::Avro).then(|| Schemas {
            registry: registry.expect("checked with the configuration").clone(),
            subject: format!("{topic}-value"),
            asker: Asker::new(),
            latest: Mutex::new(None),
        });
        Ok(Self {
            writer: Writer::new(cluster, &topic)?,
            topic,
            key: config.key.decode,
            max_record: config.limits.max_record,
            schemas,
        })
    }

    /// Whether a value has what the projection wants to read in it.
    fn check(&self, route: &Route, key: &[u8], whole: &Value) -> Result<(), Wrong> {
        let wrong = |(_, reason): Bad| Wrong::new(StatusCode::UNPROCESSABLE_ENTITY, reason);
        let (key, datum) = (DecodedKey::read(key, self.key).map_err(wrong)?, Datum::Json(whole.clone()));
        let sight = Sight {
            topic: &self.topic,
            time_ms: 0,
            headers: Headers::Known(&[]),
            key: &key,
            value: Some(datum.whole()),
        };
        route.posted_as.version(&sight).map_err(wrong)?;
        route.posted_as.deadline_ms(&sight).map_err(wrong)?;
        Ok(())
    }

    /// A value as the topic's records hold it.
    async fn encoded(&self, whole: Value) -> Result<Vec<u8>, Wrong> {
        let Some(schemas) = &self.schemas else { return Ok(whole.to_string().into_bytes()) };
        let (id, text) = schemas.latest().await?;
        encode::avro(id, &text, whole).map_err(|reason| Wrong::new(StatusCode::UNPROCESSABLE_ENTITY, reason))
    }

    /// Writes a record and waits until it is applied here.
    async fn write(&self, route: &Route, key: &[u8], value: Option<&[u8]>) -> Result<(), Wrong> {
        let (tell, told) = oneshot::channel();
        self.writer.write(key, value, Box::new(move |outcome| drop(tell.send(outcome))));
        let unknown = |reason: String| Wrong::new(StatusCode::GATEWAY_TIMEOUT, reason);
        let (partition, offset) = match told.await {
            Ok(Outcome::Written(partition, offset)) => (partition, offset),
            Ok(Outcome::Refused(reason)) => {
                return Err(Wrong::new(StatusCode::BAD_GATEWAY, format!("it was not written: {reason}")));
            }
            Ok(Outcome::Unknown(reason)) => {
                return Err(unknown(format!("nobody knows whether it was written: {reason}")));
            }
            Err(_) => return Err(unknown("nobody knows whether it was written".to_owned())),
        };
        let begun = Instant::now();
        while begun.elapsed() < APPLY_TIME {
            let board = route.projection.board();
            let mut partitions = board.partitions.iter();
            if partitions.any(|known| known.partition == partition && known.applied > offset) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(unknown(format!("it was written to {} {partition} at {offset}, and is not applied here yet", self.topic)))
    }
}

impl Schemas {
    async fn latest(&self) -> Result<(u32, SchemaText), Wrong> {
        let mut latest = self.latest.lock().await;
        if let Some((then, id, text)) = &*latest
            && then.elapsed() < SCHEMA_TIME
        {
            return Ok((*id, text.clone()));
        }
        let found = self.asker.latest(&self.registry, &self.subject).await.map_err(|error| {
            let reason = match error {
                SchemaError::Unknown => format!("no schema of {} is registered", self.subject),
                SchemaError::Outage(reason) | SchemaError::Broken(reason) => reason,
            };
            Wrong::new(StatusCode::BAD_GATEWAY, format!("it was not written: {reason}"))
        })?;
        *latest = Some((Instant::now(), found.0, found.1.clone()));
        Ok(found)
    }
}

/// `POST path`: a record of the body, whose key is one of its fields.
pub(super) async fn post(
    served: &Served,
    route: &Route,
    through: &Through,
    request: Request<Incoming>,
) -> Result<Answer, Wrong> {
    let fields = posted(request).await?;
    let id = id_of(route, &fields)?;
    let entry = [&route.projection.prefix, id.as_bytes()].concat();
    if let Some(refusal) = route.projection.board().refusal {
        return Ok(not_now(&route.projection.board(), refusal));
    }
    if look_up(served, route, &entry).is_some() {
        return Ok(json(StatusCode::CONFLICT, &value!({"message": "there is such an entry"})));
    }
    let key = encode::key(&id, through.key)
        .ok_or_else(|| Wrong::new(StatusCode::UNPROCESSABLE_ENTITY, "the id is no key of the topic"))?;
    let whole = Value::Object(fields);
    through.check(route, &key, &whole)?;
    let bytes = through.encoded(whole.clone()).await?;
    if bytes.len().max(key.len()) > through.max_record {
        return Err(Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "it is longer than records of the topic may be"));
    }
    through.write(route, &key, Some(&bytes)).await?;
    // A filter may pass it over, and others may have deleted it since.
    let found = look_up(served, route, &entry);
    let mut answer = match &found {
        Some(found) => super::overlay::sent(found, StatusCode::CREATED),
        None => json(StatusCode::CREATED, &whole),
    };
    with_place(route, &id, found.as_ref(), &mut answer);
    Ok(answer)
}

/// `DELETE path/id`: a record without a value; the entry as it was.
pub(super) async fn delete(served: &Served, route: &Route, through: &Through, id: &str) -> Result<Answer, Wrong> {
    let bad = || Wrong::new(StatusCode::BAD_REQUEST, "the id is not well encoded");
    let id = String::from_utf8(decoded(id).ok_or_else(bad)?).map_err(|_| bad())?;
    let entry = [&route.projection.prefix, id.as_bytes()].concat();
    if let Some(refusal) = route.projection.board().refusal {
        return Ok(not_now(&route.projection.board(), refusal));
    }
    let found = look_up(served, route, &entry);
    let (Some(found), Some(key)) = (found, encode::key(&id, through.key)) else {
        return Ok(json(StatusCode::NOT_FOUND, &value!({"message": "no such entry"})));
    };
    through.write(route, &key, None).await?;
    Ok(super::overlay::sent(&found, StatusCode::OK))
}
