//! The request's target, from the URL template of a service and a key.
//!
//! Promises: scheme, host and port are fixed text, so no key chooses where a request goes; a key fills one place in
//! path or query, encoded so that it cannot leave that place, and different keys give different targets.
//!
//! Refuses: schemes but http and https, user information, fragments, characters that a URL may not have, and every
//! target whose path some server may read as having a `.` or `..` segment.

use super::address::{Host, port_of};
use std::fmt;

/// Longest template, in bytes.
const MAX_TEMPLATE_LEN: usize = 1024;

/// Longest path with query, in bytes; common servers take no more (RFC 9110, 4.1 asks them for 8000).
const MAX_PATH_LEN: usize = 8 * 1024;

/// A parsed `ORIGIN`, as in `http://api:8080/users/{key}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
    /// Path and query up to the place of the key, or all of them.
    before: Box<str>,
    place: Option<Place>,
    /// Path and query after the place of the key.
    after: Box<str>,
}

/// How an origin is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Over TLS.
    Https,
}

/// How a key is written into a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `{key}`: everything but unreserved characters (RFC 3986, 2.3) encoded.
    Whole,
    /// `{+key}`: `/` stays too.
    Path,
}

/// A key that has no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It has no byte.
    Empty,
    /// It would make a segment `.` or `..`.
    DotSegment,
    /// The target would be longer than is sent.
    TooLong,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the key is empty",
            Self::DotSegment => "the key gives a path with a segment . or ..",
            Self::TooLong => "the key gives a path longer than 8 KiB",
        })
    }
}

impl std::error::Error for BadKey {}

impl Scheme {
    /// Its name in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Template {
    /// Parses a URL (RFC 3986) with `{key}` or `{+key}` at most once, in path or query. The error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parts(text).map_err(|why| format!("origin {text:?}: {why}"))
    }

    fn parts(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_TEMPLATE_LEN {
            return Err("longer than 1 KiB");
        }
        let (scheme, rest) = text.split_once("://").ok_or("http:// or https:// is expected")?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err("http:// or https:// is expected"),
        };
        if rest.contains('#') {
            return Err("a fragment is never sent");
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = authority_of(authority, scheme)?;
        // RFC 9112, 3.2.1: an empty path is sent as `/`.
        let root = if target.starts_with('/') { "" } else { "/" };
        let (before, place, after) = match target.split_once('{') {
            None => (target, None, ""),
            Some((before, rest)) => {
                let (name, after) = rest.split_once('}').ok_or("{ without }")?;
                let place = match name {
                    "key" => Place::Whole,
                    "+key" => Place::Path,
                    _ => return Err("only {key} and {+key} can be filled in"),
                };
                (before, Some(place), after)
            }
        };
        if after.contains('{') {
            return Err("the key can be filled in once only");
        }
        let before = format!("{root}{before}");
        check_characters(&before)?;
        check_characters(after)?;
        if has_dot_segment(&format!("{before}{}{after}", if place.is_some() { "key" } else { "" })) {
            return Err("a segment . or .. in the path");
        }
        Ok(Self { scheme, host, port, before: before.into(), place, after: after.into() })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Lower case, without a dot at the end; IPv6 in brackets.
    /// The host as it was given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the target depends on the key.
    pub fn has_key(&self) -> bool {
        self.place.is_some()
    }

    /// Path and query for a key (which has lost its prefix): the request's target in origin form (RFC 9112, 3.2.1).
    pub fn path(&self, key: &[u8]) -> Result<String, BadKey> {
        let fixed_len = self.before.len() + self.after.len();
        let mut path = String::with_capacity(fixed_len);
        path.push_str(&self.before);
        if let Some(place) = self.place {
            if key.is_empty() && place == Place::Whole {
                return Err(BadKey::Empty);
            }
            // Encoding shortens nothing; a key of 512 MiB must not be encoded just to be refused.
            if key.len() > MAX_PATH_LEN {
                return Err(BadKey::TooLong);
            }
            encode(key, place, &mut path);
        }
        path.push_str(&self.after);
        if path.len() > MAX_PATH_LEN {
            return Err(BadKey::TooLong);
        }
        if has_dot_segment(&path) {
            return Err(BadKey::DotSegment);
        }
        Ok(path)
    }
}

/// Appends a key, percent-encoded (RFC 3986, 2.1) with upper-case digits.
pub fn encode(key: &[u8], place: Place, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in key {
        if is_unreserved(*byte) || (*byte == b'/' && place == Place::Path) {
            to.push(char::from(*byte));
        } else {
            to.extend(['%', char::from(DIGITS[usize::from(byte >> 4)]), char::from(DIGITS[usize::from(byte & 15)])]);
        }
    }
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Host and port of `host[:port]`.
fn authority_of(text: &str, scheme: Scheme) -> Result<(Box<str>, u16), &'static str> {
    if text.contains('@') {
        return Err("user information is refused");
    }
    if text.contains(['{', '}']) {
        return Err("host and port must be fixed text");
    }
    // A colon inside the brackets of IPv6 parts nothing.
    let colon = text.rfind(':').filter(|colon| !text[*colon..].contains(']'));
    let (host, port) = match colon {
        Some(colon) => (&text[..colon], port_of(&text[colon + 1..])?),
        None => (text, scheme.default_port()),
    };
    Ok((Host::parse(host)?.to_string().into(), port))
}

/// Refuses what path and query may not hold (RFC 3986, 3.3 and 3.4), half an escape included: a key must not complete
/// it.
fn check_characters(text: &str) -> Result<(), &'static str> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_right = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'{' | b'}' => return Err("{ and } stand around key or +key only"),
            _ => is_unreserved(byte) || b"!$&'()*+,;=:@/?".contains(&byte),
        };
        if !is_right {
            return Err("a character that has to be percent-encoded");
        }
    }
    Ok(())
}

/// Whether a server may see a segment `.` or `..` in the path. Some decode all escapes before they part the segments,
/// some take `\` for `/`, some cut parameters after `;` off.
fn has_dot_segment(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let path = decoded(path.as_bytes());
    let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\'));
    segments.any(|segment| matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b"..")))
}

/// Undoes percent-encoding. Half an escape stays as it is.
fn decoded(mut text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    while let [byte, rest @ ..] = text {
        text = rest;
        let escape = match rest {
            [high, low, ..] if *byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if escape.is_some() {
            text = &rest[2..];
        }
        bytes.push(escape.map_or(*byte, |(high, low)| high << 4 | low));
    }
    bytes
}

#[cfg(test)]
mod tests;
