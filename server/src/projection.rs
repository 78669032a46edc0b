//! Runs the projections of Kafka's topics: a thread each that reads, applies and shows how it stands, one that looks at the
//! topics, and one that fetches schemas.

mod board;
mod letters;
#[cfg(feature = "kafka")]
mod look;
pub mod registry;
mod room;
mod runner;

use crate::clock::Clock;
use crate::shared::Shared;
use crate::web::projected::Route;
use commands::projections::{Projection, Projections, Terms};
use projection::config::{self, BeforeReady, Document, Flush, LocalWrites, ReaderSchema};
use projection::engine::Engine;
use projection::schema::SchemaText;
use std::sync::Arc;
use storage::Db;

/// What commands see of these projections; none has begun.
pub fn boards(document: &Document) -> Projections {
    let board = |(name, config): (&String, &config::Projection)| {
        let terms = Terms {
            refuses_before_ready: config.ready.before_ready == BeforeReady::Loading,
            takes_writes: config.local_writes == LocalWrites::Overlay,
            takes_flushes: config.flush == Flush::Rebuild,
        };
        let description = board::describe(document, config);
        Arc::new(Projection::new(name.clone(), Db(config.store.db), &config.prefix(), description, terms))
    };
    Projections::new(document.projections.iter().map(board).collect())
}

/// Where projections are served over HTTP. The error is about their configuration.
pub fn routes(document: &Document, boards: &Projections) -> Result<Vec<Route>, String> {
    let mut routes = Vec::new();
    for (name, config) in &document.projections {
        let Some(http) = config.http.clone() else { continue };
        let projection = Arc::clone(boards.named(name.as_bytes()).expect("a board for each"));
        let route = Route::new(http, config, projection);
        let route = through(document, config, route).map_err(|reason| format!("projections: {name}: {reason}"))?;
        routes.push(route);
    }
    Ok(routes)
}

/// A route with writes through to its topic, where that is configured.
#[cfg(feature = "kafka")]
fn through(document: &Document, config: &config::Projection, route: Route) -> Result<Route, String> {
    use crate::web::projected::through::Through;
    if config.local_writes != LocalWrites::WriteThrough {
        return Ok(route);
    }
    let registry = config.value.registry.as_ref().map(|name| &document.registries[name]);
    Ok(route.writing(Through::new(&document.kafka[&config.source.kafka], registry, config)?))
}

#[cfg(not(feature = "kafka"))]
fn through(_: &Document, _: &config::Projection, route: Route) -> Result<Route, String> {
    Ok(route)
}

/// Begins them. The error is about their configuration.
pub fn start(document: Document, shared: &'static Shared, clock: &Clock, seed: u64) -> Result<(), String> {
    if document.projections.is_empty() {
        return Ok(());
    }
    let most = document.projections.values().map(|config| config.limits.max_record).max().unwrap_or(0);
    projection::schema::limit_allocations(most.max(1 << 20));
    // Threads inherit it, librdkafka's too: readers come first where cores are few.
    let clock = clock.clone();
    let begun = std::thread::Builder::new().name("projections".to_owned()).spawn(move || {
        crate::process::stand_back();
        begin(document, shared, &clock, seed)
    });
    let begun = begun.map_err(|error| error.to_string())?.join();
    begun.map_err(|_| "projections could not be started".to_owned())?
}

/// The engine of a configuration, with the schemas of its files.
#[cfg(feature = "kafka")]
fn engine(config: config::Projection) -> Result<Engine, String> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|error| format!("schema_files: {}: {error}", path.display()))
    };
    let texts = |paths: &[std::path::PathBuf], reader: Option<SchemaText>| {
        let text = |path| {
            let reader = reader.clone().map(Box::new);
            Ok(SchemaText { text: read(path)?, references: Vec::new(), reader })
        };
        paths.iter().map(text).collect::<Result<Vec<_>, String>>()
    };
    let reader = match &config.value.reader {
        Some(ReaderSchema::File { file }) => Some(SchemaText { text: read(file)?, ..SchemaText::default() }),
        _ => None,
    };
    let (keys, values) = (texts(&config.key.schema_files, None)?, texts(&config.value.schema_files, reader)?);
    let mut engine = Engine::new(config);
    engine
        .know(true, &keys)
        .and_then(|()| engine.know(false, &values))
        .map_err(|error| format!("schema_files: {error}"))?;
    Ok(engine)
}

#[cfg(not(feature = "kafka"))]
fn begin(_: Document, _: &'static Shared, _: &Clock, _: u64) -> Result<(), String> {
    Err("projections: this build has no client for Kafka (feature `kafka`)".to_owned())
}

#[cfg(feature = "kafka")]
fn begin(document: Document, shared: &'static Shared, clock: &Clock, seed: u64) -> Result<(), String> {
    use projection::consumer::{Kafka, Letters, Probe, Written, overridden};
    use std::sync::mpsc;

    for (name, cluster) in &document.kafka {
        for setting in overridden(cluster) {
            tracing::warn!(cluster = name, setting, "this property is set by projections themselves");
        }
    }
    for (at, (name, config)) in document.projections.into_iter().enumerate() {
        let told = |reason: String| format!("projections: {name}: {reason}");
        let cluster = &document.kafka[&config.source.kafka];
        let source = Kafka::new(&name, cluster, &config.source.topics).map_err(told)?;
        let probe = Probe::new(cluster).map_err(told)?;
        let (answers, inbox) = mpsc::channel();
        let start_ms = match config.source.start {
            config::Start::Time(time_ms) => Some(time_ms),
            _ => None,
        };
        let topics = look::Topics { names: config.source.topics.clone(), start_ms };
        let looks = look::start(&name, probe, topics, answers.clone()).map_err(told)?;
        let registry = |name: &Option<String>| name.as_ref().map(|name| document.registries[name].clone());
        let registries = registry::Registries {
            keys: registry(&config.key.registry),
            values: registry(&config.value.registry),
            reader: config.value.reader.clone(),
        };
        let send_letter: letters::SendLetter = match &config.errors.dead_letter_topic {
            None => Box::new(|_| Err("there is no topic for them".to_owned())),
            Some(topic) => {
                let answers = answers.clone();
                let tell = move |written: Written| {
                    let _ = answers.send(runner::Answer::Letter(written.at, written.offset, written.result));
                };
                let letters = Letters::new(cluster, topic, tell).map_err(told)?;
                Box::new(move |letter| letters.send(letter))
            }
        };
        let schema_pause = registries.pause();
        let schema_grace = registries.grace();
        let schemas = registry::start(&name, registries, answers).map_err(told)?;
        let board = Arc::clone(shared.node.projections.named(name.as_bytes()).expect("a board for each"));
        let (clock, seed) = (clock.clone(), seed ^ at as u64);
        let parts =
            runner::Parts { source, inbox, looks, schemas, board, shared, clock, seed, schema_pause, schema_grace };
        let mut engine = engine(config).map_err(told)?;
        engine.set_unknown_ms(schema_pause.as_millis() as u64);
        runner::start(&name, engine, send_letter, parts).map_err(told)?;
    }
    Ok(())
}
