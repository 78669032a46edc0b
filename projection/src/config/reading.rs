//! How values of settings are read: times, sizes, numbers, texts.

use super::Etag;
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;

pub(super) fn etag<'de, D: Deserializer<'de>>(from: D) -> Result<Etag, D::Error> {
    let text = text(from)?;
    match text.split_once(':') {
        None if text == "version" => Ok(Etag::Version),
        Some(("field", name)) if !name.is_empty() => Ok(Etag::Field(name.to_owned())),
        _ => Err(de::Error::custom("an etag is `version` or `field:NAME`")),
    }
}

pub(super) fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

pub(super) fn one_day() -> Duration {
    Duration::from_secs(86_400)
}

pub(super) fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

/// A text, also where YAML reads a number or a truth value.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Ok(text),
        other @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => Ok(other.to_string()),
        _ => Err(de::Error::custom("a text is expected")),
    }
}

/// A whole number that is not negative; the error names what is there instead.
pub(super) fn number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    let given = serde_json::Value::deserialize(from)?;
    let number = given.as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| de::Error::custom(format!("{given} is no number that can stand there")))
}

/// A number and its unit.
pub(super) fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

pub(super) const TIMES: &[(&str, u64)] =
    &[("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
pub(super) const SIZES: &[(&str, u64)] = &[("", 1), ("b", 1), ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = text(from)?;
    let us = quantity(&text, TIMES)
        .ok_or_else(|| de::Error::custom(format!("'{text}' is no time such as 200us, 5s, 30d")))?;
    Ok(Duration::from_micros(us))
}

pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let text = text(from)?;
    let bytes = quantity(&text, SIZES).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| de::Error::custom(format!("'{text}' is no size such as 512kb, 8mb")))
}

/// An error of reading without the values that were read: they may be secrets.
pub(super) fn without_values(error: &str) -> String {
    let (mut safe, mut rest) = (String::new(), error);
    while let Some((before, after)) = rest.split_once("string \"") {
        safe.push_str(before);
        safe.push_str("a text");
        // Quotes within are escaped.
        let mut escaped = false;
        let end = after.find(|c: char| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    safe + rest
}
