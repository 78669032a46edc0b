//! Usage notation of commands, parsed for COMMAND DOCS, the generated documentation and the tests of the table.
//!
//! Lower-case words are arguments, UPPER-CASE words literal tokens, `[..]` is optional, `(..)` a group, `|` separates
//! alternatives inside either (or of the whole), `...` after an element means that it may be repeated. A token at the
//! beginning of an alternative belongs to the arguments after it, elsewhere to the one argument after it.
//!
//! ```
//! use commands::usage::{self, Kind};
//! let arguments = usage::parse("key value [NX | XX] [EX seconds]").unwrap();
//! assert_eq!(arguments[0].kind, Kind::Key);
//! assert_eq!(arguments[3].token.as_deref(), Some("EX"));
//! assert_eq!((usage::min(&arguments), usage::max(&arguments)), (2, Some(5)));
//! ```

use std::iter::Peekable;
use std::vec;

/// What an argument is, in the words of `COMMAND DOCS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Name of a key.
    Key,
    /// Any string.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A glob pattern.
    Pattern,
    /// An instant.
    UnixTime,
    /// Nothing but its token.
    PureToken,
    /// One of its arguments.
    OneOf,
    /// All of its arguments.
    Block,
}

impl Kind {
    /// The word itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }

    fn of_word(word: &str) -> Self {
        let is_one_of = |words: &[&str]| words.contains(&word);
        if is_one_of(&["key", "key1", "key2", "newkey", "source", "destination"]) {
            Self::Key
        } else if word.starts_with("unix-time") {
            Self::UnixTime
        } else if word.ends_with("pattern") {
            Self::Pattern
        } else if is_one_of(&["float", "threshold"]) {
            Self::Double
        } else if word.ends_with("seconds") || word.ends_with("-id") || is_one_of(INTEGERS) {
            Self::Integer
        } else {
            Self::String
        }
    }
}

/// Words that always stand for whole numbers.
const INTEGERS: &[&str] = &[
    "bytes",
    "count",
    "cursor",
    "db",
    "db1",
    "db2",
    "decrement",
    "end",
    "increment",
    "index",
    "index1",
    "index2",
    "length",
    "maxage",
    "numkeys",
    "numreplicas",
    "offset",
    "protover",
    "samples",
    "size",
    "start",
    "stop",
    "timeout",
];

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its word; of groups a word made of those inside.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Literal word in front of it, or that it is.
    pub token: Option<String>,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// When repeated its token is too.
    pub multiple_token: bool,
    /// What is inside of `OneOf` and `Block`.
    pub arguments: Vec<Argument>,
}

impl Argument {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        let name = name.into();
        Self { name, kind, token: None, optional: false, multiple: false, multiple_token: false, arguments: Vec::new() }
    }

    fn group(kind: Kind, arguments: Vec<Self>) -> Self {
        let name = match (kind, &arguments[..]) {
            (Kind::OneOf, [one, other]) => format!("{}-or-{}", one.name, other.name),
            (Kind::OneOf, _) => "choice".into(),
            _ => arguments.iter().map(|argument| argument.name.as_str()).collect::<Vec<_>>().join("-"),
        };
        Self { arguments, ..Self::new(name, kind) }
    }

    /// Fewest words it takes in a request.
    pub fn min(&self) -> usize {
        if self.optional {
            return 0;
        }
        let inside = match self.kind {
            Kind::PureToken => 0,
            Kind::OneOf => self.arguments.iter().map(Self::min).min().unwrap_or(0),
            Kind::Block => min(&self.arguments),
            _ => 1,
        };
        inside + usize::from(self.token.is_some())
    }

    /// Most words it takes in a request; none = there is no bound.
    pub fn max(&self) -> Option<usize> {
        let inside = match self.kind {
            _ if self.multiple => return None,
            Kind::PureToken => 0,
            Kind::OneOf => {
                let bounds: Option<Vec<usize>> = self.arguments.iter().map(Self::max).collect();
                bounds?.into_iter().max().unwrap_or(0)
            }
            Kind::Block => max(&self.arguments)?,
            _ => 1,
        };
        Some(inside + usize::from(self.token.is_some()))
    }
}

/// Fewest words these arguments take in a request.
pub fn min(arguments: &[Argument]) -> usize {
    arguments.iter().map(Argument::min).sum()
}

/// Most words these arguments take in a request; none = there is no bound.
pub fn max(arguments: &[Argument]) -> Option<usize> {
    arguments.iter().map(Argument::max).sum()
}

/// The arguments a usage text describes, in order.
pub fn parse(usage: &str) -> Result<Vec<Argument>, String> {
    let mut lexemes = lexemes(usage).into_iter().peekable();
    let mut arguments = alternatives(&mut lexemes, None)?;
    // A sequence at the top needs no group around it.
    if let [only] = &mut arguments[..]
        && only.kind == Kind::Block
        && only.token.is_none()
        && !only.optional
        && !only.multiple
    {
        arguments = std::mem::take(&mut only.arguments);
    }
    Ok(arguments)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lexeme {
    Open(char),
    Close(char),
    Or,
    Repeat,
    Token(String),
    Word(String),
}

fn lexemes(usage: &str) -> Vec<Lexeme> {
    let mut found = Vec::new();
    let mut rest = usage.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '[' | '(' | ']' | ')' | '|' => 1,
            _ if rest.starts_with("...") => 3,
            _ => {
                let ends = rest.find(|c: char| c.is_whitespace() || "[]()|".contains(c)).unwrap_or(rest.len());
                rest.find("...").map_or(ends, |dots| dots.min(ends))
            }
        };
        let (text, after) = rest.split_at(len);
        found.push(match first {
            '[' | '(' => Lexeme::Open(first),
            ']' | ')' => Lexeme::Close(first),
            '|' => Lexeme::Or,
            _ if text == "..." => Lexeme::Repeat,
            _ if text.contains(|c: char| c.is_ascii_lowercase()) => Lexeme::Word(text.into()),
            _ => Lexeme::Token(text.into()),
        });
        rest = after.trim_start();
    }
    found
}

type Lexemes = Peekable<vec::IntoIter<Lexeme>>;

/// Alternatives up to `closing`: one argument, or none if there is nothing.
fn alternatives(lexemes: &mut Lexemes, closing: Option<char>) -> Result<Vec<Argument>, String> {
    let mut found = Vec::new();
    loop {
        let sequence = sequence(lexemes)?;
        let next = lexemes.next();
        let is_end = match (&next, closing) {
            (None, None) => true,
            (Some(Lexeme::Close(close)), Some(closing)) if *close == closing => true,
            (Some(Lexeme::Or), _) => false,
            (Some(lexeme), _) => return Err(format!("{lexeme:?} is out of place")),
            (None, Some(closing)) => return Err(format!("no {closing}")),
        };
        if sequence.is_empty() && !(is_end && found.is_empty()) {
            return Err("an alternative is empty".into());
        }
        found.extend(whole(sequence));
        if is_end {
            break;
        }
    }
    Ok(if found.len() > 1 { vec![Argument::group(Kind::OneOf, found)] } else { found })
}

/// A sequence as one argument. A token at its beginning is in front of all that follows.
fn whole(mut sequence: Vec<Argument>) -> Option<Argument> {
    match sequence.len() {
        0 | 1 => sequence.pop(),
        _ => {
            let leads = sequence[0].kind == Kind::PureToken && !sequence[0].optional && !sequence[0].multiple;
            let token = if leads { sequence.remove(0).token } else { None };
            Some(match (token, sequence.len()) {
                (token @ Some(_), 1) if sequence[0].token.is_none() && !sequence[0].optional => {
                    Argument { token, ..sequence.remove(0) }
                }
                (token, _) => Argument { token, ..Argument::group(Kind::Block, sequence) },
            })
        }
    }
}

/// Elements up to `|`, a closing bracket or the end.
fn sequence(lexemes: &mut Lexemes) -> Result<Vec<Argument>, String> {
    let mut found: Vec<Argument> = Vec::new();
    while let Some(lexeme) = lexemes.peek() {
        if matches!(lexeme, Lexeme::Or | Lexeme::Close(_)) {
            break;
        }
        let Some(lexeme) = lexemes.next() else { break };
        let mut argument = match lexeme {
            Lexeme::Word(word) => {
                let kind = Kind::of_word(&word);
                Argument::new(word, kind)
            }
            Lexeme::Token(token) => {
                Argument { token: Some(token.clone()), ..Argument::new(token.to_lowercase(), Kind::PureToken) }
            }
            Lexeme::Open(bracket) => {
                let closing = if bracket == '[' { ']' } else { ')' };
                let inside = alternatives(lexemes, Some(closing))?;
                let mut argument = inside.into_iter().next().ok_or("an empty group")?;
                argument.optional |= bracket == '[';
                argument
            }
            lexeme => return Err(format!("{lexeme:?} is out of place")),
        };
        if lexemes.next_if_eq(&Lexeme::Repeat).is_some() {
            argument.multiple = true;
            argument.multiple_token = argument.token.is_some();
        }
        // The first token may belong to all that follows: that is decided at the end.
        let takes_one = found.len() > 1 && argument.token.is_none() && !argument.optional;
        match found.last_mut() {
            Some(last) if takes_one && last.kind == Kind::PureToken && !last.multiple && !last.optional => {
                argument.token = last.token.take();
                *last = argument;
            }
            _ => found.push(argument),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments in short: `name:kind`, the token in front with `=`, `?` optional, `*` multiple.
    fn short(usage: &str) -> String {
        fn one(argument: &Argument) -> String {
            let token = argument.token.as_ref().map(|token| format!("{token}=")).unwrap_or_default();
            let inside = match argument.kind {
                Kind::OneOf | Kind::Block => {
                    let inside = all(&argument.arguments);
                    if argument.kind == Kind::OneOf { format!("<{inside}>") } else { format!("({inside})") }
                }
                Kind::PureToken => String::new(),
                kind => format!("{}:{}", argument.name, kind.name()),
            };
            let optional = if argument.optional { "?" } else { "" };
            let multiple = if argument.multiple { "*" } else { "" };
            format!("{token}{inside}{optional}{multiple}")
        }
        fn all(arguments: &[Argument]) -> String {
            arguments.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        all(&parse(usage).unwrap_or_else(|error| panic!("{usage}: {error}")))
    }

    fn bounds(usage: &str) -> (usize, Option<usize>) {
        let arguments = parse(usage).unwrap();
        (min(&arguments), max(&arguments))
    }

    #[test]
    fn sequences_options_and_alternatives() {
        for (usage, expected) in [
            ("", ""),
            ("key", "key:key"),
            ("key...", "key:key*"),
            ("key ...", "key:key*"),
            ("(key value)...", "(key:key value:string)*"),
            ("key [NX | XX] [EX seconds | KEEPTTL]", "key:key <NX= XX=>? <EX=seconds:integer KEEPTTL=>?"),
            ("cursor [MATCH pattern]", "cursor:integer MATCH=pattern:pattern?"),
            ("ON | OFF", "<ON= OFF=>"),
            ("[protover [AUTH username password]]", "(protover:string AUTH=(username:string password:string)?)?"),
            ("[PREFIX prefix]...", "PREFIX=prefix:string?*"),
            ("key [key...]", "key:key key:key?*"),
            ("[ip:port | ID client-id]", "<ip:port:string ID=client-id:integer>?"),
            ("SEGFAULT", "SEGFAULT="),
            ("key FROM start [n]", "key:key FROM=start:integer n:string?"),
        ] {
            let expected = expected.replace("protover:string", "protover:integer");
            assert_eq!(short(usage), expected, "{usage}");
        }
    }

    #[test]
    fn bounds_of_word_counts() {
        for (usage, expected) in [
            ("", (0, Some(0))),
            ("key value", (2, Some(2))),
            ("key...", (1, None)),
            ("(key value)...", (2, None)),
            ("key [NX | XX] [EX seconds | KEEPTTL]", (1, Some(4))),
            ("ON | OFF", (1, Some(1))),
            ("A b | c d e", (2, Some(3))),
            ("[key...]", (0, None)),
            ("[FILTERBY (MODULE name | PATTERN pattern)]", (0, Some(3))),
        ] {
            assert_eq!(bounds(usage), expected, "{usage}");
        }
    }

    #[test]
    fn repeated_tokens_are_told_apart() {
        let arguments = parse("[PREFIX prefix]... [KEYS key...]").unwrap();
        assert!(arguments[0].multiple && arguments[0].multiple_token);
        assert!(arguments[1].multiple && !arguments[1].multiple_token);
    }

    #[test]
    fn broken_usage_is_an_error() {
        for usage in ["[key", "key]", "(a | )", "| a", "...", "()", "[a)", "a ||b"] {
            assert!(parse(usage).is_err(), "{usage}");
        }
    }
}
