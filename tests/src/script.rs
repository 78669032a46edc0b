//! The script files: sections of sent lines, expected replies and directives. The format is in `tests/conformance/README.md`.

use crate::conn::Protocol;
use crate::notation::{self, Expect};
use crate::words::{self, Word};

/// A parsed file.
#[derive(Debug)]
pub struct Script {
    /// The file's name without its folder.
    pub name: String,
    /// In the order of the file.
    pub sections: Vec<Section>,
}

/// One independent case: fresh connections, an empty server.
#[derive(Debug, Default)]
pub struct Section {
    pub title: String,
    pub line: usize,
    /// Flags that need a server of its own.
    pub server: Option<Vec<String>>,
    /// Runs under this protocol only.
    pub only: Option<Protocol>,
    /// Connections do not switch to the protocol of the run by themselves.
    pub bare: bool,
    /// Servers it does not hold for.
    pub skip: Vec<String>,
    pub steps: Vec<Step>,
}

impl Section {
    /// The value of `--requirepass` among its flags.
    pub fn password(&self) -> Option<&str> {
        let flags = self.server.as_ref()?;
        flags.windows(2).find(|pair| pair[0] == "--requirepass").map(|pair| pair[1].as_str())
    }
}

/// One line, with its number.
#[derive(Debug)]
pub struct Step {
    pub line: usize,
    pub action: Action,
}

/// What a line does.
#[derive(Debug)]
pub enum Action {
    /// Sends a command on the named connection ("" is the main one).
    Send { conn: String, words: Vec<Word> },
    /// Sends bytes as they are.
    Raw { conn: String, bytes: Vec<u8> },
    /// Reads one reply.
    Expect(Box<Slot>),
    /// Waits until the key of database 0 is gone by its own expiry.
    Expired { key: String },
}

/// The expectations for one reply.
#[derive(Debug)]
pub struct Slot {
    pub conn: String,
    pub resp2: Option<Expect>,
    pub resp3: Option<Expect>,
    /// Holds while COMMAND INFO of this name is null.
    pub until: Option<(String, Expect)>,
    /// Servers whose reply is read and not compared.
    pub except: Vec<String>,
}

impl Script {
    /// Parses a file; the error names the line.
    pub fn parse(name: &str, text: &str) -> Result<Script, String> {
        let mut parser = Parser { sections: Vec::new(), except: Vec::new() };
        let mut lines = text.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let mut line = line.trim_end().to_owned();
            // An expectation goes on over indented lines.
            while let Some((_, more)) =
                lines.next_if(|(_, more)| more.starts_with([' ', '\t']) && !more.trim().is_empty())
            {
                line.push(' ');
                line.push_str(more.trim());
            }
            parser.line(index + 1, &line).map_err(|e| format!("{name}:{}: {e}", index + 1))?;
        }
        Ok(Script { name: name.to_owned(), sections: parser.sections })
    }

    /// Every word sent that could be the name of a command, in lower case, with `|` between a command and its subcommand.
    pub fn command_names(&self) -> impl Iterator<Item = String> {
        self.sections.iter().flat_map(|section| &section.steps).filter_map(|step| match &step.action {
            Action::Send { words, .. } => {
                let lower = |word: &Word| String::from_utf8_lossy(&word.bytes).to_lowercase();
                Some(words.iter().take(2).map(lower).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        })
    }
}

struct Parser {
    sections: Vec<Section>,
    except: Vec<String>,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(title) = line.strip_prefix("== ") {
            self.sections.push(Section { title: title.to_owned(), line: number, ..Section::default() });
            return Ok(());
        }
        if self.sections.is_empty() {
            return Err("a file begins with a section: == title".into());
        }
        if let Some(directive) = line.strip_prefix('@') {
            return self.directive(number, directive);
        }
        let at = line.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(line.len());
        let (conn, rest) = line.split_at(at);
        let conn = conn.to_owned();
        let section = self.sections.last_mut().expect("checked above");
        if let Some(raw) = rest.strip_prefix(">>") {
            let words = words::split(raw)?;
            let [Word { bytes, .. }] = words.as_slice() else { return Err("raw bytes are one quoted string".into()) };
            section.steps.push(Step { line: number, action: Action::Raw { conn, bytes: bytes.clone() } });
        } else if let Some(command) = rest.strip_prefix('>') {
            let words = words::split(command)?;
            section.steps.push(Step { line: number, action: Action::Send { conn, words } });
        } else if let Some(expected) = rest.strip_prefix('<') {
            let except = std::mem::take(&mut self.except);
            expectation(section, number, conn, expected, except)?;
        } else {
            return Err(format!("neither > nor < nor a directive: {line}"));
        }
        Ok(())
    }

    fn directive(&mut self, number: usize, directive: &str) -> Result<(), String> {
        // The reason after a colon is for the reader; it is required where something is left out.
        let reasoned = |rest: &str| -> Result<Vec<String>, String> {
            let (marks, reason) = rest.split_once(':').ok_or("a reason is required: @skip MARKS: reason")?;
            if reason.trim().is_empty() {
                Err("the reason is empty".into())
            } else {
                Ok(marks.split_whitespace().map(str::to_owned).collect())
            }
        };
        let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        let section = self.sections.last_mut().expect("the caller checked");
        match name {
            "server" => {
                let flags = words::split(rest)?;
                section.server =
                    Some(flags.into_iter().map(|word| String::from_utf8_lossy(&word.bytes).into_owned()).collect());
            }
            "only" => {
                section.only = Some(match rest.trim() {
                    "resp2" => Protocol::Resp2,
                    "resp3" => Protocol::Resp3,
                    other => return Err(format!("@only resp2|resp3, not {other}")),
                });
            }
            "bare" => section.bare = true,
            "skip" => section.skip = reasoned(rest)?,
            "except" => self.except = reasoned(rest)?,
            "expired" => {
                section.steps.push(Step { line: number, action: Action::Expired { key: rest.trim().to_owned() } })
            }
            other => return Err(format!("unknown directive @{other}")),
        }
        Ok(())
    }
}

/// Adds an expectation: to the slot before it when that is still missing this variant, else as a slot of its own.
fn expectation(
    section: &mut Section,
    line: usize,
    conn: String,
    text: &str,
    except: Vec<String>,
) -> Result<(), String> {
    let (variant, value) = text.split_once(' ').ok_or("an expectation is < value")?;
    let value = value.trim();
    if !notation::is_complete(value) {
        return Err(format!("brackets do not balance: {value}"));
    }
    let expect = notation::parse(value)?;
    let previous = match section.steps.last_mut() {
        Some(Step { action: Action::Expect(slot), .. }) if slot.conn == conn => Some(slot),
        _ => None,
    };
    let fresh =
        |resp2, resp3, until| Box::new(Slot { conn: conn.clone(), resp2, resp3, until, except: except.clone() });
    let slot = match variant {
        "" => match previous {
            Some(slot) if slot.until.is_some() && slot.resp2.is_none() && slot.resp3.is_none() => {
                slot.resp2 = Some(expect.clone());
                slot.resp3 = Some(expect);
                slot.except.extend(except);
                return Ok(());
            }
            _ => fresh(Some(expect.clone()), Some(expect), None),
        },
        "2" => match previous {
            Some(slot) if slot.resp2.is_none() => {
                slot.resp2 = Some(expect);
                slot.except.extend(except);
                return Ok(());
            }
            _ => fresh(Some(expect), None, None),
        },
        "3" => match previous {
            Some(slot) if slot.resp3.is_none() => {
                slot.resp3 = Some(expect);
                slot.except.extend(except);
                return Ok(());
            }
            _ => fresh(None, Some(expect), None),
        },
        other => match other.strip_prefix("until:") {
            Some(name) => fresh(None, None, Some((name.to_owned(), expect))),
            None => return Err(format!("unknown variant <{other}")),
        },
    };
    section.steps.push(Step { line, action: Action::Expect(slot) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots() {
        let text = "== a\n> PING\n< +PONG\nb>> \"x\\r\\n\"\nb<2 :1\nb<3 ,1\n@except r7.0: why\n<until:nope -ERR\n< [\n  :1,\n  :2]\n";
        let script = Script::parse("t", text).unwrap();
        let slots: Vec<&Slot> = script.sections[0]
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Expect(slot) => Some(slot.as_ref()),
                _ => None,
            })
            .collect();
        assert_eq!(slots.len(), 3);
        assert_eq!(
            (slots[1].resp2.clone(), slots[1].resp3.clone()),
            (Some(Expect::Int(1)), Some(Expect::Double("1".into())))
        );
        assert!(slots[2].until.is_some() && slots[2].resp2 == slots[2].resp3);
        assert_eq!(slots[2].except, ["r7.0"]);
        assert_eq!(script.command_names().collect::<Vec<_>>(), ["ping"]);
        assert!(Script::parse("t", "== a\n@except r7.0\n").is_err());
        assert!(Script::parse("t", "== a\n< [:1\n").is_err());
    }
}
