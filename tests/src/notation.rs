//! Expected replies: the notation of the script files, and whether a reply meets it.
//!
//! The grammar is in `tests/conformance/README.md`. One expectation holds for both protocol versions; the mapping (map to flat array, set to
//! array, double to bulk, verbatim to bulk, every null to `_`) is applied here, so a script states a value once.

use crate::conn::Protocol;
use crate::reply::Reply;
use crate::words::{glob, quoted_string};
use std::collections::HashMap;

/// Values captured from replies, by name.
pub type Vars = HashMap<String, Vec<u8>>;

/// What a reply must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    Any,
    Status(String),
    Error(String),
    ErrorGlob(Vec<u8>),
    Int(i64),
    /// An integer in this closed range, or any.
    IntIn(Option<(i64, i64)>, Option<String>),
    IntVar(String),
    Bulk(Vec<u8>),
    BulkVar(String),
    /// A bulk string that matches the glob, or any.
    Str(Option<Vec<u8>>, Option<String>),
    /// A verbatim string in RESP3, a bulk string in RESP2.
    Text(Option<Vec<u8>>),
    Double(String),
    Bool(bool),
    Nil,
    NilArray,
    List(Shape, Vec<Expect>, Extent),
    Map(Vec<(Expect, Expect)>, Extent),
    /// The server closes the connection.
    Closed,
    /// Nothing arrives for a tenth of a second.
    Silent,
}

/// Which list type is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Array,
    Set,
    Push,
}

/// How the listed elements relate to the elements of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// In this order; otherwise in any.
    pub ordered: bool,
    /// Others may follow (ordered) or be among them.
    pub open: bool,
}

/// Parses an expectation. The whole text must be used.
pub fn parse(text: &str) -> Result<Expect, String> {
    let text = text.trim();
    if let Some(error) = text.strip_prefix('-')
        && !error.starts_with('"')
    {
        return Ok(Expect::Error(error.to_owned()));
    }
    if let Some(status) = text.strip_prefix('+') {
        return Ok(Expect::Status(status.to_owned()));
    }
    let mut parser = Parser { text, at: 0 };
    let expect = parser.value()?;
    parser.blanks();
    if parser.at < text.len() { Err(format!("left over: {}", &text[parser.at..])) } else { Ok(expect) }
}

/// True when the brackets outside quotes balance: the expectation is complete.
pub fn is_complete(text: &str) -> bool {
    if text.starts_with(['+', '-']) {
        return true;
    }
    let mut depth = 0i32;
    let mut quoted = false;
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth <= 0
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// The characters up to a delimiter.
    fn token(&mut self) -> String {
        let end = self.rest().find(|c: char| c.is_whitespace() || ",]}:=".contains(c)).unwrap_or(self.rest().len());
        let token = self.rest()[..end].to_owned();
        self.at += end;
        token
    }

    fn quoted(&mut self) -> Result<Option<Vec<u8>>, String> {
        if !self.rest().starts_with('"') {
            return Ok(None);
        }
        let (bytes, used) = quoted_string(self.rest(), '"')?;
        self.at += used;
        Ok(Some(bytes))
    }

    fn capture(&mut self) -> Option<String> {
        self.eat("=").then(|| self.token())
    }

    fn value(&mut self) -> Result<Expect, String> {
        self.blanks();
        let ordered = Extent { ordered: true, open: false };
        let any_order = Extent { ordered: false, open: false };
        if let Some(bytes) = self.quoted()? {
            return Ok(Expect::Bulk(bytes));
        }
        if self.eat("(nil-array)") {
            return Ok(Expect::NilArray);
        }
        if self.eat("(nil)") {
            return Ok(Expect::Nil);
        }
        if self.eat("~[") {
            return self.list(Shape::Set, any_order);
        }
        if self.eat(">[") {
            return self.list(Shape::Push, ordered);
        }
        if self.eat("@bag[") {
            return self.list(Shape::Array, any_order);
        }
        if self.eat("[") {
            return self.list(Shape::Array, ordered);
        }
        if self.eat("@bag{") {
            return self.map(any_order);
        }
        if self.eat("{") {
            return self.map(ordered);
        }
        if self.eat("-") {
            let text = self.quoted()?.ok_or("an error inside an aggregate is -\"text\"")?;
            return Ok(Expect::Error(String::from_utf8_lossy(&text).into_owned()));
        }
        if self.eat("+") {
            return Ok(Expect::Status(self.token()));
        }
        if self.eat(":") {
            if self.eat("$") {
                return Ok(Expect::IntVar(self.token()));
            }
            let digits = self.token();
            return digits.parse().map(Expect::Int).map_err(|_| format!("bad integer :{digits}"));
        }
        if self.eat("$") {
            return Ok(Expect::BulkVar(self.token()));
        }
        if self.eat(",") {
            return Ok(Expect::Double(self.token()));
        }
        if self.eat("#") {
            return Ok(Expect::Bool(self.token() == "t"));
        }
        if self.eat("@err") {
            return self.quoted()?.map(Expect::ErrorGlob).ok_or_else(|| "@err needs a \"glob\"".into());
        }
        if self.eat("@str") {
            let pattern = self.quoted()?;
            return Ok(Expect::Str(pattern, self.capture()));
        }
        if self.eat("@text") {
            return Ok(Expect::Text(self.quoted()?));
        }
        if self.eat("@int") {
            let range = if self.eat("(") {
                let end = self.rest().find(')').ok_or("@int( without )")?;
                let inner = self.rest()[..end].to_owned();
                self.at += end + 1;
                let (low, high) = inner.split_once("..").ok_or("@int(low..high)")?;
                let number = |text: &str| text.parse::<i64>().map_err(|_| format!("bad bound {text}"));
                Some((number(low)?, number(high)?))
            } else {
                None
            };
            return Ok(Expect::IntIn(range, self.capture()));
        }
        for (name, expect) in [("@any", Expect::Any), ("@closed", Expect::Closed), ("@silent", Expect::Silent)] {
            if self.eat(name) {
                return Ok(expect);
            }
        }
        Err(format!("no expectation starts with: {}", self.rest()))
    }

    fn list(&mut self, shape: Shape, extent: Extent) -> Result<Expect, String> {
        let mut items = Vec::new();
        let open = self.elements("]", |parser| {
            items.push(parser.value()?);
            Ok(())
        })?;
        Ok(Expect::List(shape, items, Extent { open, ..extent }))
    }

    fn map(&mut self, extent: Extent) -> Result<Expect, String> {
        let mut pairs = Vec::new();
        let open = self.elements("}", |parser| {
            let key = parser.value()?;
            if !parser.eat(":") {
                return Err(format!("a map wants key: value, at {}", parser.rest()));
            }
            pairs.push((key, parser.value()?));
            Ok(())
        })?;
        Ok(Expect::Map(pairs, Extent { open, ..extent }))
    }

    /// Comma-separated elements up to `close`; true when they end with `...`.
    fn elements(&mut self, close: &str, mut one: impl FnMut(&mut Self) -> Result<(), String>) -> Result<bool, String> {
        loop {
            self.blanks();
            if self.eat(close) {
                return Ok(false);
            }
            if self.eat("...") {
                self.blanks();
                return if self.eat(close) { Ok(true) } else { Err("... comes last".into()) };
            }
            one(self)?;
            self.blanks();
            if !self.eat(",") && !self.rest().starts_with(close) {
                return Err(format!("expected , or {close} at: {}", self.rest()));
            }
        }
    }
}

impl Expect {
    /// Whether the reply meets the expectation under the protocol version; captures on the way.
    pub fn matches(&self, reply: &Reply, protocol: Protocol, vars: &mut Vars) -> bool {
        let resp3 = protocol == Protocol::Resp3;
        match (self, reply) {
            (Expect::Any, _) => true,
            (Expect::Status(a), Reply::Status(b)) | (Expect::Error(a), Reply::Error(b)) => a == b,
            (Expect::ErrorGlob(pattern), Reply::Error(text)) => glob(pattern, text.as_bytes()),
            (Expect::Int(a), Reply::Int(b)) => a == b,
            (Expect::IntIn(range, name), Reply::Int(n)) => {
                capture(vars, name, n.to_string().as_bytes());
                range.is_none_or(|(low, high)| (low..=high).contains(n))
            }
            (Expect::IntVar(name), Reply::Int(n)) => vars.get(name).is_some_and(|v| *v == n.to_string().as_bytes()),
            (Expect::Bulk(a), Reply::Bulk(b)) => a == b,
            (Expect::BulkVar(name), Reply::Bulk(b)) => vars.get(name) == Some(b),
            (Expect::Str(pattern, name), Reply::Bulk(text)) => {
                capture(vars, name, text);
                pattern.as_ref().is_none_or(|pattern| glob(pattern, text))
            }
            (Expect::Text(pattern), Reply::Bulk(text)) if !resp3 => {
                pattern.as_ref().is_none_or(|pattern| glob(pattern, text))
            }
            (Expect::Text(pattern), Reply::Verbatim(format, text)) => {
                format == "txt" && pattern.as_ref().is_none_or(|pattern| glob(pattern, text))
            }
            (Expect::Double(a), Reply::Double(b)) => a == b,
            (Expect::Double(a), Reply::Bulk(b)) if !resp3 => a.as_bytes() == b,
            (Expect::Bool(a), Reply::Bool(b)) => a == b,
            (Expect::Nil, Reply::Nil) => true,
            (Expect::NilArray, Reply::NilArray) => true,
            (Expect::NilArray, Reply::Nil) => resp3,
            (Expect::List(shape, items, extent), reply) => {
                let actual = match (shape, reply) {
                    (Shape::Array, Reply::Array(actual))
                    | (Shape::Push, Reply::Push(actual))
                    | (Shape::Set, Reply::Set(actual)) => actual,
                    (Shape::Push | Shape::Set, Reply::Array(actual)) if !resp3 => actual,
                    _ => return false,
                };
                let actual: Vec<&Reply> = actual.iter().collect();
                arrange(items, &actual, *extent, |expect, reply| expect.matches(reply, protocol, vars))
            }
            (Expect::Map(pairs, extent), reply) => {
                if matches!(reply, Reply::Array(_)) && resp3 {
                    return false;
                }
                let Some(actual) = reply.pairs() else { return false };
                arrange(pairs, &actual, *extent, |(key, value), (k, v)| {
                    key.matches(k, protocol, vars) && value.matches(v, protocol, vars)
                })
            }
            _ => false,
        }
    }
}

/// Pairs expected with actual elements as the extent says; the first that fits is taken in a bag.
fn arrange<E, A: Copy>(expected: &[E], actual: &[A], extent: Extent, mut fits: impl FnMut(&E, A) -> bool) -> bool {
    if expected.len() > actual.len() || (!extent.open && expected.len() != actual.len()) {
        return false;
    }
    if extent.ordered {
        return expected.iter().zip(actual).all(|(e, a)| fits(e, *a));
    }
    let mut left: Vec<A> = actual.to_vec();
    expected.iter().all(|e| match left.iter().position(|a| fits(e, *a)) {
        Some(at) => {
            left.swap_remove(at);
            true
        }
        None => false,
    })
}

fn capture(vars: &mut Vars, name: &Option<String>, value: &[u8]) {
    if let Some(name) = name {
        vars.insert(name.clone(), value.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(expect: &str, reply: &Reply, protocol: Protocol) -> bool {
        parse(expect).unwrap().matches(reply, protocol, &mut Vars::new())
    }

    #[test]
    fn one_value_for_both_protocols() {
        let bulk = |text: &str| Reply::Bulk(text.into());
        let map = Reply::Map(vec![(bulk("a"), Reply::Int(1)), (bulk("b"), Reply::Nil)]);
        let flat = Reply::Array(vec![bulk("a"), Reply::Int(1), bulk("b"), Reply::Nil]);
        for expect in [r#"{"a": :1, "b": (nil)}"#, r#"@bag{"b": (nil), "a": @int}"#, r#"{"a": :1, ...}"#] {
            assert!(meets(expect, &map, Protocol::Resp3));
            assert!(meets(expect, &flat, Protocol::Resp2));
            assert!(!meets(expect, &flat, Protocol::Resp3));
        }
        assert!(!meets(r#"{"b": (nil), "a": :1}"#, &map, Protocol::Resp3));
        assert!(!meets(r#"{"a": :1}"#, &map, Protocol::Resp3));
        assert!(meets("(nil-array)", &Reply::Nil, Protocol::Resp3));
        assert!(!meets("(nil-array)", &Reply::Nil, Protocol::Resp2));
        assert!(meets(
            "~[+y, +x]",
            &Reply::Set(vec![Reply::Status("x".into()), Reply::Status("y".into())]),
            Protocol::Resp3
        ));
        assert!(meets(
            "[-\"ERR a, b\", ...]",
            &Reply::Array(vec![Reply::Error("ERR a, b".into()), Reply::Int(1)]),
            Protocol::Resp2
        ));
        assert!(!meets("@int(1..3)", &Reply::Int(4), Protocol::Resp2));
        assert!(meets("-ERR 'x', [y", &Reply::Error("ERR 'x', [y".into()), Protocol::Resp2));
    }

    #[test]
    fn captures() {
        let mut vars = Vars::new();
        assert!(parse("@int=id").unwrap().matches(&Reply::Int(7), Protocol::Resp2, &mut vars));
        assert!(parse("[:$id]").unwrap().matches(&Reply::Array(vec![Reply::Int(7)]), Protocol::Resp2, &mut vars));
        assert!(parse("[1]").is_err());
        assert!(parse(":1 x").is_err());
        assert!(!is_complete("[\"]\", "));
    }
}
