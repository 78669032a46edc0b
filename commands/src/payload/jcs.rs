//! The RFC 8785 form of a JSON text.
//!
//! One pass checks the text and writes it in canonical form, but leaves the members of each object in the order in
//! which they came. It notes the objects whose members are out of order. A second pass copies the text once, with those
//! members in order. Moving members at the end of each object instead would copy a deep text once for each level.

use std::{cmp::Ordering, iter, ops::Range};

use super::{MAX_DEPTH, NotCanonical, Reason, number};

/// Returns the canonical form of a payload, or the first refusal met while reading it from left to right.
pub(super) fn canonical(payload: &[u8]) -> Result<String, NotCanonical> {
    let source = str::from_utf8(payload).map_err(|e| NotCanonical { reason: Reason::Utf8, at: e.valid_up_to() })?;
    let text = String::with_capacity(source.len());
    let mut reader = Reader { rest: source, depth: 0, text, disorder: Vec::new() };
    let read = reader.document();
    let at = source.len() - reader.rest.len();
    read.map_err(|reason| NotCanonical { reason, at })?;
    Ok(reader.into_ordered())
}

/// A reader that checks a JSON text and writes it in canonical form but for the order of members.
struct Reader<'a> {
    /// What is still to be read.
    rest: &'a str,
    /// How many arrays and objects are open, at most `MAX_DEPTH`.
    depth: usize,
    /// What has been written.
    text: String,
    /// The closed objects whose members are out of order.
    disorder: Vec<Object>,
}

/// An object whose members are out of order.
struct Object {
    /// The place of the members in the text, without the braces. No two objects start at the same place.
    span: Range<usize>,
    /// The place of each member in the text, from its name to its value, by ascending name.
    members: Box<[Range<usize>]>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Reason> {
        self.value()?;
        if self.rest.is_empty() { Ok(()) } else { Err(Reason::Syntax) }
    }

    /// Reads a value and the white space on both sides of it.
    fn value(&mut self) -> Result<(), Reason> {
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.copy("true").or_else(|_| self.copy("false")).or_else(|_| self.copy("null"))?,
        }
        self.skip_space();
        Ok(())
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<(), Reason>) -> Result<(), Reason> {
        if self.depth == MAX_DEPTH {
            return Err(Reason::Depth);
        }
        self.depth += 1;
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Reason> {
        self.copy("[")?;
        self.skip_space();
        if self.copy("]").is_ok() {
            return Ok(());
        }
        loop {
            self.value()?;
            if self.copy("]").is_ok() {
                return Ok(());
            }
            self.copy(",")?;
        }
    }

    fn object(&mut self) -> Result<(), Reason> {
        self.copy("{")?;
        self.skip_space();
        if self.copy("}").is_ok() {
            return Ok(());
        }
        let mut members = Vec::new();
        loop {
            self.skip_space();
            let start = self.text.len();
            self.string()?;
            self.skip_space();
            self.copy(":")?;
            self.value()?;
            members.push(start..self.text.len());
            if self.rest.starts_with('}') {
                self.order(members)?;
                return self.copy("}");
            }
            self.copy(",")?;
        }
    }

    /// Checks that the names of the members of an object differ, and notes the object where they are out of order.
    /// The members are one or more, and the last of them has just been written.
    fn order(&mut self, mut members: Vec<Range<usize>>) -> Result<(), Reason> {
        let order = |a: &Range<usize>, b: &Range<usize>| compare_names(&self.text[a.clone()], &self.text[b.clone()]);
        if members.is_sorted_by(|a, b| order(a, b).is_lt()) {
            return Ok(());
        }
        let span = members[0].start..self.text.len();
        members.sort_unstable_by(order);
        if !members.is_sorted_by(|a, b| order(a, b).is_lt()) {
            return Err(Reason::Name);
        }
        self.disorder.push(Object { span, members: members.into_boxed_slice() });
        Ok(())
    }

    fn string(&mut self) -> Result<(), Reason> {
        self.copy("\"")?;
        loop {
            let plain = |byte| !matches!(byte, b'"' | b'\\' | 0..0x20);
            let run = self.rest.bytes().take_while(|byte| plain(*byte)).count();
            let (run, rest) = self.rest.split_at(run);
            self.text.push_str(run);
            self.rest = rest;
            if self.copy("\"").is_ok() {
                return Ok(());
            }
            if !self.skip("\\") {
                return Err(Reason::Syntax);
            }
            let char = unescape(&mut self.rest)?;
            self.push_escaped(char);
        }
    }

    /// Writes a character of a string as RFC 8785 does.
    fn push_escaped(&mut self, char: char) {
        match char {
            '"' => self.text.push_str("\\\""),
            '\\' => self.text.push_str("\\\\"),
            '\u{8}' => self.text.push_str("\\b"),
            '\t' => self.text.push_str("\\t"),
            '\n' => self.text.push_str("\\n"),
            '\u{c}' => self.text.push_str("\\f"),
            '\r' => self.text.push_str("\\r"),
            '\0'..' ' => self.text.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => self.text.push(char),
        }
    }

    fn number(&mut self) -> Result<(), Reason> {
        let start = self.rest;
        self.skip("-");
        if !self.skip("0") {
            self.skip_digits()?;
        }
        if self.skip(".") {
            self.skip_digits()?;
        }
        if self.skip("e") || self.skip("E") {
            let _has_sign = self.skip("+") || self.skip("-");
            self.skip_digits()?;
        }
        let number = &start[..start.len() - self.rest.len()];
        number::write(number, &mut self.text).ok_or(Reason::Number)
    }

    /// Skips one or more digits.
    fn skip_digits(&mut self) -> Result<(), Reason> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == self.rest.len() {
            return Err(Reason::Syntax);
        }
        self.rest = rest;
        Ok(())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Skips a token where the rest starts with it, and returns whether it does.
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads a token and writes it. Nothing changes where the rest does not start with it.
    fn copy(&mut self, token: &str) -> Result<(), Reason> {
        if !self.skip(token) {
            return Err(Reason::Syntax);
        }
        self.text.push_str(token);
        Ok(())
    }

    /// Returns what has been written, with the members of every object in order.
    fn into_ordered(mut self) -> String {
        if self.disorder.is_empty() {
            return self.text;
        }
        self.disorder.sort_unstable_by_key(|object| object.span.start);
        let mut ordered = String::with_capacity(self.text.len());
        push_ordered(&mut ordered, &self.text, 0..self.text.len(), &self.disorder);
        ordered
    }
}

/// Writes a span of the text with the members of every object in it in order. The objects are those of the whole text
/// that are out of order, by ascending start. The recursion is as deep as the text, at most `MAX_DEPTH`.
fn push_ordered(ordered: &mut String, text: &str, span: Range<usize>, objects: &[Object]) {
    // No member starts with an object, so one that starts where the span does is the one that the span is a member of.
    let next = |at| objects.get(objects.partition_point(|object| object.span.start <= at));
    let mut at = span.start;
    while let Some(object) = next(at).filter(|object| object.span.end <= span.end) {
        ordered.push_str(&text[at..object.span.start]);
        for (index, member) in object.members.iter().enumerate() {
            if index > 0 {
                ordered.push(',');
            }
            push_ordered(ordered, text, member.clone(), objects);
        }
        at = object.span.end;
    }
    ordered.push_str(&text[at..span.end]);
}

/// Compares the names of two canonical members by their UTF-16 code units.
fn compare_names(a: &str, b: &str) -> Ordering {
    name(a).cmp(name(b))
}

/// The UTF-16 code units of the name of a canonical member.
fn name(member: &str) -> impl Iterator<Item = u16> {
    let mut rest = &member[1..];
    let chars = iter::from_fn(move || {
        let mut chars = rest.chars();
        let char = chars.next().filter(|char| *char != '"')?;
        rest = chars.as_str();
        if char == '\\' { unescape(&mut rest).ok() } else { Some(char) }
    });
    chars.flat_map(|char| {
        let mut units = [0; 2];
        let len = char.encode_utf16(&mut units).len();
        units.into_iter().take(len)
    })
}

/// Reads what follows the backslash of an escape: one character, which may take two `\u` escapes.
fn unescape(rest: &mut &str) -> Result<char, Reason> {
    let mut chars = rest.chars();
    let kind = chars.next().ok_or(Reason::Syntax)?;
    let plain = match kind {
        '"' | '\\' | '/' => Some(kind),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => None,
        _ => return Err(Reason::Syntax),
    };
    *rest = chars.as_str();
    if let Some(char) = plain {
        return Ok(char);
    }
    let first = code_unit(rest)?;
    let second = match rest.strip_prefix("\\u") {
        Some(tail) if (0xD800..0xDC00).contains(&first) => {
            *rest = tail;
            Some(code_unit(rest)?)
        }
        _ => None,
    };
    let char = char::decode_utf16(iter::once(first).chain(second)).next();
    char.and_then(Result::ok).ok_or(Reason::Surrogate)
}

/// Reads the four hex digits of a `\u` escape.
fn code_unit(rest: &mut &str) -> Result<u16, Reason> {
    let (digits, tail) = rest.split_at_checked(4).ok_or(Reason::Syntax)?;
    *rest = tail;
    // The parser of integers would also take a sign.
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(Reason::Syntax)
}
