//! Filters: which records a projection takes, such as `value.status != 'TEST' and not (header.kind in ('a', 'b'))`.
//!
//! A comparison is between two of operands and literals: texts in quotes of either kind (doubled within), numbers, `true`,
//! `false`, `null`. What cannot be compared is unequal, and neither less nor greater. `not` binds closest, then `and`, `or`.

use crate::operand::{Operand, Scalar, Sight};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Longest text of a filter, bytes.
const MAX_BYTES: usize = 4 << 10;
/// Deepest nesting of parentheses and `not`.
const MAX_DEPTH: usize = 32;

/// A filter that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Either of them passes.
    Or(Box<Filter>, Box<Filter>),
    /// Both of them pass.
    And(Box<Filter>, Box<Filter>),
    /// It does not pass.
    Not(Box<Filter>),
    /// The first compares so with the second.
    Compare(Term, Comparison, Term),
    /// The first equals one of the others.
    In(Term, Vec<Term>),
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A part of the record.
    Operand(Operand),
    /// This.
    Literal(Scalar<'static>),
}

/// How it is to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`, `=`
    Equal,
    /// `!=`, `<>`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    fn holds(self, found: Option<Ordering>) -> bool {
        match self {
            Self::Equal => found == Some(Ordering::Equal),
            Self::Unequal => found != Some(Ordering::Equal),
            Self::Less => found == Some(Ordering::Less),
            Self::AtMost => found.is_some_and(Ordering::is_le),
            Self::Greater => found == Some(Ordering::Greater),
            Self::AtLeast => found.is_some_and(Ordering::is_ge),
        }
    }
}

impl Term {
    fn of<'r>(&'r self, sight: &Sight<'r>) -> Scalar<'r> {
        match self {
            Self::Operand(operand) => operand.of(sight),
            Self::Literal(scalar) => scalar.clone(),
        }
    }
}

impl Filter {
    /// Reads one. The error says what was expected, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let filter = parser.or()?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.expected("'and', 'or' or the end"));
        }
        Ok(filter)
    }

    /// Whether a record passes.
    pub fn passes(&self, sight: &Sight<'_>) -> bool {
        match self {
            Self::Or(a, b) => a.passes(sight) || b.passes(sight),
            Self::And(a, b) => a.passes(sight) && b.passes(sight),
            Self::Not(inner) => !inner.passes(sight),
            Self::Compare(a, comparison, b) => comparison.holds(a.of(sight).compare(&b.of(sight))),
            Self::In(a, others) => {
                let a = a.of(sight);
                others.iter().any(|b| a.compare(&b.of(sight)) == Some(Ordering::Equal))
            }
        }
    }

    /// Calls `each` with the parts of records that it looks at.
    pub fn each_operand(&self, each: &mut dyn FnMut(&Operand)) {
        let mut term = |term: &Term| {
            if let Term::Operand(operand) = term {
                each(operand);
            }
        };
        match self {
            Self::Or(a, b) | Self::And(a, b) => {
                a.each_operand(each);
                b.each_operand(each);
            }
            Self::Not(inner) => inner.each_operand(each),
            Self::Compare(a, _, b) => [a, b].into_iter().for_each(term),
            Self::In(a, others) => {
                term(a);
                others.iter().for_each(term);
            }
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn expected(&self, what: &str) -> String {
        format!("{what} is expected at byte {}", self.at)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes these characters if they come next.
    fn takes(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(token);
        self.at += if is_next { token.len() } else { 0 };
        is_next
    }

    /// The word that comes next: letters, digits, `.`, `_`, `-`.
    fn peek_word(&mut self) -> &'t str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "._-".contains(c))).unwrap_or(rest.len());
        &rest[..end]
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_next = self.peek_word().eq_ignore_ascii_case(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Result<Filter, String> {
        let mut filter = self.and()?;
        while self.takes_word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.and()?));
        }
        Ok(filter)
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut filter = self.one()?;
        while self.takes_word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, String> {
        if self.takes_word("not") {
            return self.deeper(|parser| Ok(Filter::Not(Box::new(parser.one()?))));
        }
        if self.takes("(") {
            let filter = self.deeper(Self::or)?;
            return if self.takes(")") { Ok(filter) } else { Err(self.expected("')'")) };
        }
        let first = self.term()?;
        if self.takes_word("in") {
            return self.list().map(|others| Filter::In(first, others));
        }
        // The longer ones first.
        let known = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<>", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("=", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = known.iter().find(|(token, _)| self.takes(token));
        let (_, comparison) = found.ok_or_else(|| self.expected("a comparison or 'in'"))?;
        Ok(Filter::Compare(first, *comparison, self.term()?))
    }

    fn list(&mut self) -> Result<Vec<Term>, String> {
        if !self.takes("(") {
            return Err(self.expected("'('"));
        }
        let mut terms = vec![self.term()?];
        while self.takes(",") {
            terms.push(self.term()?);
        }
        if self.takes(")") { Ok(terms) } else { Err(self.expected("',' or ')'")) }
    }

    fn term(&mut self) -> Result<Term, String> {
        self.skip_space();
        if let Some(quote) = self.rest().chars().next().filter(|c| "'\"".contains(*c)) {
            return self.quoted(quote).map(|text| Term::Literal(Scalar::Text(Cow::Owned(text.into_bytes()))));
        }
        let word = self.peek_word();
        let literal = match word {
            "" => return Err(self.expected("a part of the record, or a value")),
            "true" => Some(Scalar::Bool(true)),
            "false" => Some(Scalar::Bool(false)),
            "null" => Some(Scalar::Null),
            _ if !word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => None,
            _ => {
                let whole = word.parse().map(Scalar::Int);
                let number = whole.or_else(|_| word.parse().map(Scalar::Float));
                Some(number.map_err(|_| self.expected("a number"))?)
            }
        };
        let term = match literal {
            Some(scalar) => Term::Literal(scalar),
            None => Term::Operand(Operand::parse(word)?),
        };
        self.at += word.len();
        Ok(term)
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        self.at += 1;
        while let Some((before, _)) = self.rest().split_once(quote) {
            text.push_str(before);
            self.at += before.len() + 1;
            if !self.rest().starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.at += 1;
        }
        Err(self.expected("the end of a text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyDecode;
    use crate::datum::Datum;
    use crate::mapping::DecodedKey;
    use crate::source::Headers;
    use serde_json::json;

    fn passes(filter: &str) -> bool {
        let key = DecodedKey::read(b"k1", KeyDecode::Utf8).unwrap();
        let value = Datum::Json(json!({"status": "LIVE", "n": 5, "deep": {"x": -1.5}, "none": null, "it's": 1}));
        let headers: &[(&str, Option<&[u8]>)] = &[("kind", Some(b"7"))];
        let sight =
            Sight { topic: "t", time_ms: 10, headers: Headers::Known(headers), key: &key, value: Some(value.whole()) };
        Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}")).passes(&sight)
    }

    #[test]
    fn what_passes() {
        for filter in [
            "value.status == 'LIVE'",
            "value.status != 'TEST' and value.n >= 5",
            "value.n in (1, 5) AND NOT value.n in (2, 3)",
            "value.deep.x < -1 or value.nope == 1",
            "value.nope == null and value.none = null and value.nope != 'x'",
            "not value.nope > 1 and not value.nope <= 1",
            "header.kind == 7 and header.kind in ('7') and header.other == null",
            "key == \"k1\" and topic <> 'x' and timestamp > 9",
            "value.n == 5.0 and (value.n == 6 or value.n == 5)",
            "value.n == 0 and value.n == 1 or value.n == 5",
        ] {
            assert!(passes(filter), "{filter}");
            assert!(!passes(&format!("not ({filter})")), "{filter}");
        }
        assert_eq!(Filter::parse("key == 'it''s \"x\"'"), Filter::parse("key == \"it's \"\"x\"\"\""));
    }

    #[test]
    fn what_is_no_filter() {
        for bad in [
            "",
            "value.x",
            "value.x ==",
            "== 1",
            "value.x = 'y",
            "value.x == 1 value.y",
            "(value.x == 1",
            "value.x in ()",
            "value.x in (1",
            "nope == 1",
            "value.x === 1",
            "value.x == 1x",
            "not",
            "value.x & 1",
            "value.x == 1)",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
        let deep = format!("{}value.x == 1{}", "(".repeat(100), ")".repeat(100));
        assert!(Filter::parse(&deep).unwrap_err().contains("nested"));
        assert!(Filter::parse(&"not ".repeat(100)).is_err());
        assert!(Filter::parse(&format!("key == '{}'", "x".repeat(5000))).unwrap_err().contains("longer"));
    }
}
