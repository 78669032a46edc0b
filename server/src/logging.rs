//! Logs: text or JSON on standard error, at the level of the `loglevel` setting.

use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Begins logging. `level` is a Redis level name, `format` is `text` or `json`.
pub fn start(level: &str, format: &str) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    if format == "json" {
        registry.with(lines.json().flatten_event(true)).init();
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(lines.with_ansi(colours)).init();
    }
    LEVEL.set(handle).expect("logging is started once");
}

/// Changes the level.
pub fn set_level(level: &str) {
    if let Some(handle) = LEVEL.get() {
        // Fails only if the subscriber has gone, and then there is nothing to filter.
        let _ = handle.modify(|current| *current = filter(level));
    }
}

fn filter(level: &str) -> LevelFilter {
    match level {
        "debug" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        // Redis' `verbose` lies between: connections come and go at debug.
        _ => LevelFilter::INFO,
    }
}
