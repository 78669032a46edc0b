//! Events: names by which applications say what happened, mapped to the keys and groups that are revoked then.

use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::limits::{MAX_GLOB_BYTES, MAX_GLOB_STARS, MAX_KEY_BYTES};

/// Events, mappings of one, templates of one, and bytes of a template.
pub const MAX_EVENTS: usize = 4096;
const MAX_MAPPINGS: usize = 64;
const MAX_TEMPLATES: usize = 16;
const MAX_TEMPLATE_BYTES: usize = 1024;
/// Longest name of an event or mapping, and longest value put into a template.
const MAX_NAME_BYTES: usize = 128;
const MAX_VALUE_BYTES: usize = 512;

/// What the templates of a mapping name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Keys.
    Key,
    /// Prefixes of keys.
    Prefix,
    /// Patterns; values are put in as they are, not as patterns.
    Match,
    /// Tags.
    Tag,
}

impl Sort {
    /// Every sort by its word.
    pub const NAMES: [(Self, &'static str); 4] =
        [(Self::Key, "KEY"), (Self::Prefix, "PREFIX"), (Self::Match, "MATCH"), (Self::Tag, "TAG")];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::NAMES.iter().find(|(sort, _)| *sort == self).map_or("", |(_, word)| word)
    }
}

/// Text with places for fields of an event: `user:{id}:*`, `{a.b}` for one inside another.
#[derive(Clone, Debug)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    /// The names that lead to a field.
    Field(Vec<Box<str>>),
}

impl Template {
    /// Reads a template; `None` if a brace is not closed, or a name is missing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(text).ok().filter(|text| (1..=MAX_TEMPLATE_BYTES).contains(&text.len()))?;
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(open) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(open);
            let inside = from.strip_prefix('{')?;
            let close = inside.find(['{', '}']).filter(|at| inside[*at..].starts_with('}'))?;
            let names: Vec<Box<str>> = inside[..close].split('.').map(Into::into).collect();
            if names.iter().any(|name| name.is_empty()) {
                return None;
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Field(names));
            rest = &inside[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Some(Self { text: text.into(), parts })
    }

    /// Whether it is a safe pattern whatever is put in: with few stars, and no escape before a field.
    pub fn is_pattern(&self) -> bool {
        let escapes = |part: &Part| matches!(part, Part::Text(text) if text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1);
        let mut pairs = self.parts.windows(2);
        let stars = self.text.bytes().filter(|byte| *byte == b'*').count();
        stars <= MAX_GLOB_STARS && !pairs.any(|two| escapes(&two[0]))
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text for an event; `None` if a field is missing, empty, too long, or no text, whole number or truth value.
    pub fn fill(&self, event: &Value, sort: Sort) -> Option<Vec<u8>> {
        let mut filled = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Part::Field(names) => {
                    let field = names.iter().try_fold(event, |value, name| value.get(&**name))?;
                    let text = match field {
                        Value::String(text) => text.clone(),
                        // Decimals have no one form.
                        Value::Number(number) if !number.is_f64() => number.to_string(),
                        Value::Bool(truth) => truth.to_string(),
                        _ => return None,
                    };
                    if text.is_empty() || text.len() > MAX_VALUE_BYTES {
                        return None;
                    }
                    if sort == Sort::Match {
                        storage::glob::escape(text.as_bytes(), &mut filled)
                    } else {
                        filled.extend_from_slice(text.as_bytes())
                    }
                }
            }
        }
        let most = if matches!(sort, Sort::Prefix | Sort::Match) { MAX_GLOB_BYTES } else { MAX_KEY_BYTES };
        (filled.len() <= most).then_some(filled)
    }
}

/// What one event revokes.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// What the templates name.
    pub sort: Sort,
    /// All of them.
    pub templates: Vec<Template>,
    /// Entries become stale instead of absent.
    pub is_soft: bool,
}

/// Why a mapping was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Names have 1 to 128 bytes.
    Name,
    /// There are as many events, mappings or templates as there may be.
    TooMany,
}

/// Event, id, and mapping.
type Listed = (Box<[u8]>, Box<[u8]>, Arc<Mapping>);
type Mappings = BTreeMap<Box<[u8]>, Arc<Mapping>>;

/// Events with their mappings by id.
#[derive(Debug, Default)]
pub struct Events(Mutex<BTreeMap<Box<[u8]>, Mappings>>);

impl Events {
    /// Adds a mapping, or replaces the one of that id.
    pub fn map(&self, event: &[u8], id: &[u8], mapping: Mapping) -> Result<(), Unfit> {
        if [event, id].iter().any(|name| !(1..=MAX_NAME_BYTES).contains(&name.len())) {
            return Err(Unfit::Name);
        }
        let mut events = self.0.lock();
        if events.len() >= MAX_EVENTS && !events.contains_key(event) || mapping.templates.len() > MAX_TEMPLATES {
            return Err(Unfit::TooMany);
        }
        let mappings = events.entry(event.into()).or_default();
        if mappings.len() >= MAX_MAPPINGS && !mappings.contains_key(id) {
            return Err(Unfit::TooMany);
        }
        mappings.insert(id.into(), Arc::new(mapping));
        Ok(())
    }

    /// Forgets one mapping of an event, or all; how many there were.
    pub fn unmap(&self, event: &[u8], id: Option<&[u8]>) -> usize {
        let mut events = self.0.lock();
        let Some(mappings) = events.get_mut(event) else { return 0 };
        let removed = match id {
            Some(id) => usize::from(mappings.remove(id).is_some()),
            None => core::mem::take(mappings).len(),
        };
        if mappings.is_empty() {
            events.remove(event);
        }
        removed
    }

    /// Event, id and mapping, of one event or of all.
    pub fn list(&self, event: Option<&[u8]>) -> Vec<Listed> {
        let events = self.0.lock();
        let mut listed = Vec::new();
        let one = event.and_then(|event| events.get_key_value(event));
        let all = events.iter().filter(|_| event.is_none());
        for (name, mappings) in one.into_iter().chain(all) {
            listed.extend(mappings.iter().map(|(id, mapping)| (name.clone(), id.clone(), Arc::clone(mapping))));
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str, event: &Value, sort: Sort) -> Option<String> {
        let filled = Template::parse(template.as_bytes()).expect("well-formed").fill(event, sort)?;
        Some(String::from_utf8(filled).unwrap())
    }

    #[test]
    fn fields_are_put_in() {
        let event = json!({"id": 7, "team": {"name": "a*[b"}, "on": true, "none": null, "list": [1], "empty": "", "price": 1.5});
        for (template, expected) in [
            ("user:{id}", Some("user:7")),
            ("{team.name}:{id}:{on}", Some("a*[b:7:true")),
            ("plain", Some("plain")),
            ("{missing}", None),
            ("{none}", None),
            ("{list}", None),
            ("{team}", None),
            ("{empty}", None),
            ("{price}", None),
            ("{id.more}", None),
        ] {
            assert_eq!(fill(template, &event, Sort::Key).as_deref(), expected, "{template}");
        }
        assert!(fill("{x}", &json!({"x": "y".repeat(513)}), Sort::Key).is_none());
    }

    /// S15: a value never makes a pattern select more than itself.
    #[test]
    fn values_are_no_patterns() {
        for text in ["*", "a*b", "[a-z]", "?", r"\", r"\*", "a]", "^", "plain", "[^x]*"] {
            let filled = fill("k:{v}:*", &json!({"v": text}), Sort::Match).unwrap();
            let matches = |key: &str| storage::glob::matches(filled.as_bytes(), key.as_bytes(), false);
            assert!(matches(&format!("k:{text}:1")), "{filled}");
            for other in ["k:a:1", "k:axb:1", "k:b:1", "k::1", "k:x*:1"] {
                assert_eq!(matches(other), other == format!("k:{text}:1"), "{filled} {other}");
            }
        }
    }

    #[test]
    fn patterns_are_safe_whatever_is_put_in() {
        let is_pattern = |text: &str| Template::parse(text.as_bytes()).unwrap().is_pattern();
        assert!(is_pattern("a:{id}:*") && is_pattern(r"a\\{id}") && is_pattern(&"*".repeat(16)));
        assert!(!is_pattern(r"a\{id}") && !is_pattern(&"*".repeat(17)));
    }

    #[test]
    fn broken_templates_are_refused() {
        for text in ["", "{", "}", "{}", "{a", "a}", "{a.}", "{.a}", "{a..b}", "{{a}}", "{a{b}}"] {
            assert!(Template::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Template::parse(&[b'x'; MAX_TEMPLATE_BYTES + 1]).is_none());
        assert!(Template::parse(b"\xff").is_none());
    }
}
