//! The sections of the file that are not settings: nested mappings, read into the JSON that their owners take.
//!
//! In texts `${env:NAME}` stands for a variable and `${file:PATH}` for what a file holds, without the newline at its end.

use super::file::Reader;
use saphyr_parser::{Event, ScalarStyle};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Names of the sections.
pub(super) const SECTIONS: [&str; 3] = ["kafka", "registries", "projections"];

/// Deepest nesting there may be.
const MAX_DEPTH: usize = 32;

impl Reader<'_> {
    /// The value that comes next, whatever it is.
    pub(super) fn nested(&mut self, depth: usize) -> Result<Value, String> {
        let (event, line) = self.next()?;
        if depth > MAX_DEPTH {
            return Err(self.error(line, "nested too deep"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                substituted(&text).map(|text| typed(text, style)).map_err(|reason| self.error(line, reason))
            }
            Event::SequenceStart(..) => {
                let mut values = Vec::new();
                while !self.is_at_end()? {
                    values.push(self.nested(depth + 1)?);
                }
                Ok(Value::Array(values))
            }
            Event::MappingStart(..) => {
                let (mut values, mut seen) = (Map::new(), HashSet::new());
                while !self.is_at_end()? {
                    let (Event::Scalar(name, ..), line) = self.next()? else {
                        return Err(self.error(line, "a name is expected"));
                    };
                    if !seen.insert(name.to_string()) {
                        return Err(self.error(line, format_args!("{name} is given twice")));
                    }
                    values.insert(name.to_string(), self.nested(depth + 1)?);
                }
                Ok(Value::Object(values))
            }
            _ => Err(self.error(line, "a value is expected; names for parts of the file (&, *) are not known here")),
        }
    }
}

/// A scalar as YAML means it.
fn typed(text: String, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text);
    }
    match &*text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number => match number.parse::<i64>() {
            Ok(n) if n.to_string() == *number => Value::Number(n.into()),
            _ => Value::String(text),
        },
    }
}

fn substituted(text: &str) -> Result<String, String> {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (what, behind) = after.split_once('}').ok_or("'${' without '}'")?;
        whole.push_str(before);
        match what.split_once(':') {
            Some(("env", name)) => {
                whole.push_str(&std::env::var(name).map_err(|_| format!("there is no variable {name}"))?);
            }
            Some(("file", path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                whole.push_str(text.strip_suffix('\n').unwrap_or(&text));
            }
            _ => return Err(format!("${{{what}}}: only ${{env:NAME}} and ${{file:PATH}} are known")),
        }
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}
