//! Settings from a YAML file: one mapping of names to values. Lists of words are allowed where a setting takes several,
//! `true` and `false` where it takes `yes` and `no`. Nested is only what stands in the [`sections`](super::sections).

use super::sections::SECTIONS;
use super::{FILE_SETTING, Given, Source, row};
use commands::settings::kind::Kind;
use commands::settings::table::Setting;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Value};
use std::path::Path;

/// What a file gives: values of settings, and sections.
pub(super) type Contents = (Vec<Given>, Map<String, Value>);

/// What a file gives.
pub(super) fn read(path: &Path) -> Result<Contents, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text, path)
}

/// What a text gives; `path` is for errors.
pub(super) fn parse(text: &str, path: &Path) -> Result<Contents, String> {
    Reader { events: Parser::new_from_str(text), path }.document()
}

pub(super) struct Reader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    path: &'t Path,
}

impl<'t> Reader<'t> {
    pub(super) fn next(&mut self) -> Result<(Event<'t>, usize), String> {
        let line = |span: Span| span.start.line();
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, line(span))),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// Whether a mapping or list ends here; its end is taken then.
    pub(super) fn is_at_end(&mut self) -> Result<bool, String> {
        let ends = |event: &Event<'_>| matches!(event, Event::MappingEnd | Event::SequenceEnd | Event::StreamEnd);
        let is_end = match self.events.peek() {
            Some(Ok((event, _))) => ends(event),
            Some(Err(error)) => return Err(self.error(error.marker().line(), error.info())),
            None => true,
        };
        if is_end {
            self.next()?;
        }
        Ok(is_end)
    }

    fn broken(&self, error: &ScanError) -> String {
        self.error(error.marker().line(), format_args!("this is no YAML: {}", error.info()))
    }

    pub(super) fn error(&self, line: usize, reason: impl std::fmt::Display) -> String {
        format!("{}: {reason}", Source::Line(self.path.into(), line))
    }

    fn document(&mut self) -> Result<Contents, String> {
        let (mut given, mut sections) = (Vec::new(), Map::new());
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (Event::StreamEnd, _) => return Ok((given, sections)),
                (Event::MappingStart(..), _) if given.is_empty() && sections.is_empty() => {
                    self.mapping(&mut given, &mut sections)?;
                }
                // A file of nothing but comments is one empty scalar.
                (Event::Scalar(text, ScalarStyle::Plain, ..), _) if is_null(&text) => {}
                (_, line) => return Err(self.error(line, "one mapping of names to values is expected")),
            }
        }
    }

    fn mapping(&mut self, given: &mut Vec<Given>, sections: &mut Map<String, Value>) -> Result<(), String> {
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(()),
                (Event::Scalar(name, ..), line) => (name, line),
                (_, line) => return Err(self.error(line, "a name is expected")),
            };
            if SECTIONS.contains(&&*name) {
                if sections.contains_key(&*name) {
                    return Err(self.error(line, format_args!("{name} is given twice")));
                }
                let section = self.nested(0)?;
                sections.insert(name.into_owned(), section);
                continue;
            }
            let Some(row) = row(&name) else {
                return Err(self.error(line, format_args!("{name}: there is no such setting")));
            };
            if row.name == FILE_SETTING {
                return Err(self.error(line, "config: a file cannot name another"));
            }
            let text = self.value(row)?;
            given.push(Given { row, text: text.into_bytes(), source: Source::Line(self.path.into(), line) });
        }
    }

    fn value(&mut self, row: &Setting) -> Result<String, String> {
        match self.next()? {
            (Event::Scalar(text, style, _, tag), line) => {
                self.untagged(row, line, tag.is_some())?;
                self.scalar(row, &text, style, line)
            }
            (Event::SequenceStart(_, None), _) if matches!(row.kind, Kind::Words | Kind::OutputLimits) => {
                let mut words = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(words.join(" ")),
                        (Event::Scalar(text, style, _, None), line) => {
                            words.push(self.scalar(row, &text, style, line)?)
                        }
                        (_, line) => {
                            return Err(self.error(line, format_args!("{}: a list of words is expected", row.name)));
                        }
                    }
                }
            }
            (_, line) => Err(self.error(line, format_args!("{}: a single value is expected", row.name))),
        }
    }

    fn untagged(&self, row: &Setting, line: usize, tagged: bool) -> Result<(), String> {
        if tagged {
            Err(self.error(line, format_args!("{}: a value without a tag is expected", row.name)))
        } else {
            Ok(())
        }
    }

    fn scalar(&self, row: &Setting, text: &str, style: ScalarStyle, line: usize) -> Result<String, String> {
        let is_plain = style == ScalarStyle::Plain;
        if is_plain && is_null(text) {
            return Err(self.error(line, format_args!("{}: a value is missing; an empty one is \"\"", row.name)));
        }
        Ok(match text {
            "true" if is_plain && row.kind == Kind::Switch => "yes",
            "false" if is_plain && row.kind == Kind::Switch => "no",
            text => text,
        }
        .to_owned())
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
