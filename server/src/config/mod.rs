//! What the server is told before it runs: flags, then `MILLPOND_*` variables, then a YAML file, then defaults; the
//! first that names a setting wins; of a flag given twice the last one. Every name and every check comes from the table of settings.
//!
//! Refuses: settings nobody knows, values that are none, and promises the server does not keep (`--appendonly yes`).
//! Each ends the start with one line that says where it was read and what is wrong.

mod file;
mod flags;
mod sections;
mod variables;

use commands::settings::kind::Value;
use commands::settings::table::{self, Class, SETTINGS, Setting};
use commands::settings::{Reason, Settings};
use projection::config::Document;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// The setting that names the file; it may not be in the file.
const FILE_SETTING: &str = "config";

/// What the process was started for.
#[derive(Debug)]
pub enum Start {
    /// To serve, with these settings, and projections of Kafka's topics.
    Serve(Box<Settings>, Document),
    /// To print this (help or version) and end.
    Print(String),
}

/// Reads the flags, variables and file of this process. The error is one line for the operator.
pub fn load() -> Result<Start, String> {
    load_from(std::env::args_os(), std::env::vars_os())
}

/// The same for given arguments, program name first, and variables.
pub fn load_from(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Start, String> {
    let flags = match flags::read(args)? {
        flags::Flags::Print(text) => return Ok(Start::Print(text)),
        flags::Flags::Given(given) => given,
    };
    let variables = variables::read(variables)?;
    let named = |given: &[Given]| given.iter().rfind(|given| given.row.name == FILE_SETTING).map(Given::path);
    let (file, document) = match named(&flags).or_else(|| named(&variables)).filter(|path| !path.as_os_str().is_empty())
    {
        Some(path) => {
            let (given, sections) = file::read(&path)?;
            let read = Document::parse(serde_json::Value::Object(sections));
            (given, read.map_err(|reason| format!("{}: {reason}", path.display()))?)
        }
        None => (Vec::new(), Document::default()),
    };
    let settings = Settings::default();
    for layer in [&file, &variables, &flags] {
        let mut seen = HashSet::new();
        for given in layer {
            if !seen.insert(given.row.name) && !matches!(given.source, Source::Flag(_)) {
                return Err(format!("{}: {} is given twice", given.source, given.row.name));
            }
            given.apply(&settings)?;
        }
    }
    Ok(Start::Serve(Box::new(settings), document))
}

/// A value for a setting, and where it was read.
#[derive(Debug)]
struct Given {
    row: &'static Setting,
    text: Vec<u8>,
    source: Source,
}

/// Where a value was read.
#[derive(Clone, Debug)]
enum Source {
    Flag(String),
    Variable(String),
    Line(PathBuf, usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

impl Given {
    fn apply(&self, settings: &Settings) -> Result<(), String> {
        let (row, source) = (self.row, &self.source);
        let value = if row.is_secret() { "***".into() } else { self.text.escape_ascii().to_string() };
        settings.start(row.name, &self.text).map_err(|reason| match reason {
            Reason::Immutable => {
                let only = String::from_utf8_lossy(&row.default_value().text()).into_owned();
                format!("{source}: {} '{value}' is not supported, only '{only}' is", row.name)
            }
            reason => format!("{source}: {} '{value}': {reason}", row.name),
        })
    }

    fn path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(OsString::from_vec(self.text.clone()))
    }
}

/// The row of a name given by the operator.
fn row(name: &str) -> Option<&'static Setting> {
    table::find(name.as_bytes()).map(|(at, _)| &SETTINGS[at])
}

/// The text a default is shown as, none where it is empty.
fn shown_default(row: &Setting) -> Option<String> {
    let value = row.default_value();
    let text = String::from_utf8_lossy(&value.text()).into_owned();
    // Sizes are easier to read as the table writes them.
    let text = if matches!(value, Value::Number(_)) { row.default.to_owned() } else { text };
    (!text.is_empty()).then_some(text)
}

/// Whether a setting can be given a value of the operator's choice with some effect.
fn is_effective(row: &Setting) -> bool {
    matches!(row.class, Class::Start | Class::Live)
}

#[cfg(test)]
mod tests;
