//! What an origin's answer means for the cache: RFC 9111 for a shared cache, with the stale windows of RFC 5861.
//!
//! Promises: of duplicate or conflicting directives the one that keeps the value for the shortest time wins; windows
//! that are given are in order, fresh <= stale <= retain; a tag is never dropped, so an answer whose tags cannot all
//! be kept is not stored; no header, however broken, is an error or a panic.
//!
//! Refuses: to follow redirects, to use partial answers, and to take a 304 nobody asked for. A directive that cannot
//! be read counts as zero seconds, never as absent.

use http::header::{
    AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    RETRY_AFTER, VARY,
};
use http::{HeaderMap, StatusCode};
use std::borrow::Cow;
use std::time::UNIX_EPOCH;

/// Most tags of one value; the store keeps no more for an entry.
pub const MAX_TAGS: usize = 64;

/// Longest tag, in bytes; no known origin comes near it, and 64 of them bound what one answer makes us hold.
pub const MAX_TAG_LEN: usize = 1024;

/// Longest validator, in bytes: it is kept beside every value.
pub const MAX_VALIDATOR_LEN: usize = 1024;

/// Largest number of seconds (RFC 9111, 1.2.2); larger ones count as this.
const MAX_SECONDS: u64 = 1 << 31;

/// Headers that carry tags, and the bytes that part them.
const TAG_HEADERS: [(&str, &[u8]); 3] = [("surrogate-key", b" \t"), ("cache-tag", b","), ("xkey", b" \t,")];

/// What was asked, as far as the answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `HEADERS honour` of the service; otherwise windows and prohibitions of the origin are not read.
    pub honour_headers: bool,
    /// The validator that was sent.
    pub validator: Option<&'a Validator>,
    /// Wall clock at the answer, in ms since 1970.
    pub now_ms: u64,
}

/// What tells a copy from a newer one, as the origin sent it; goes back to it unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    /// An entity tag with its quotes (RFC 9110, 8.8.3), for `If-None-Match`.
    ETag(Box<[u8]>),
    /// An HTTP date (RFC 9110, 5.6.7), for `If-Modified-Since`.
    LastModified(Box<[u8]>),
}

/// What to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The body is the value.
    Value { windows: Windows, tags: Vec<Box<[u8]>>, validator: Option<Validator> },
    /// The held copy and its tags are still right. The validator replaces the held one; none leaves it.
    NotModified { windows: Windows, validator: Option<Validator> },
    /// There is no such thing.
    Nothing,
    /// Neither the body nor the held copy may be kept.
    NoStore,
    /// The load failed. `retry_after_ms`: how long the origin wants to be left alone; the caller caps it.
    Failed { retry_after_ms: Option<u64>, why: Cow<'static, str> },
}

/// Durations from now, in ms; FRESH is at most 2^31 s, the others 2^32 s. A window that is none comes from the service,
/// raised to the one before it. A window that is given and lies below one that came from the service is raised too:
/// stale 0 without fresh means "stale for no time", whatever fresh is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    pub fresh_ms: Option<u64>,
    pub stale_ms: Option<u64>,
    pub retain_ms: Option<u64>,
}

/// Judges an answer by its status and headers. The size of the body is the caller's to check.
pub fn judge(status: StatusCode, headers: &HeaderMap, asked: &Asked<'_>) -> Answer {
    let failed = |why: &str| Answer::Failed {
        retry_after_ms: retry_after_ms(status, headers, asked.now_ms),
        why: format!("status {}{why}", status.as_u16()).into(),
    };
    match status.as_u16() {
        200 | 203 => match (storable(headers, asked), tags(headers)) {
            (Some(windows), Some(tags)) => Answer::Value { windows, tags, validator: validator(headers) },
            _ => Answer::NoStore,
        },
        204 | 404 | 410 => Answer::Nothing,
        304 => not_modified(headers, asked).unwrap_or_else(failed),
        206 => failed(": a part of the value was not asked for"),
        300..=399 => failed(": redirects are not followed"),
        _ => failed(""),
    }
}

/// A 304; the error is the reason why it cannot be used.
fn not_modified(headers: &HeaderMap, asked: &Asked<'_>) -> Result<Answer, &'static str> {
    let ours = asked.validator.ok_or(": no validator was sent")?;
    let validator = match (ours, validator(headers)) {
        // RFC 9111, 4.3.4: it updates no copy of another tag. Storing that tag with our body would make the mistake
        // last for as long as the origin confirms the tag.
        (Validator::ETag(ours), Some(Validator::ETag(theirs))) if opaque(ours) != opaque(&theirs) => {
            return Err(": it names another entity tag than was sent");
        }
        // A date must not replace a tag, which is more exact.
        (Validator::ETag(_), Some(Validator::LastModified(_))) => None,
        (_, theirs) => theirs,
    };
    Ok(storable(headers, asked).map_or(Answer::NoStore, |windows| Answer::NotModified { windows, validator }))
}

/// Windows of an answer; none if it must not be stored.
fn storable(headers: &HeaderMap, asked: &Asked<'_>) -> Option<Windows> {
    if !asked.honour_headers {
        return Some(Windows::default());
    }
    let control = CacheControl::read(headers);
    let varies_by_all = members(headers, VARY).any(|member| member == b"*");
    (!control.no_store && !varies_by_all).then(|| control.windows(headers, asked.now_ms))
}

/// The directives of RFC 9111, 5.2.2, and RFC 5861 that count here; of each number the smallest.
#[derive(Default)]
struct CacheControl {
    /// `private` too: this is a shared cache.
    no_store: bool,
    no_cache: bool,
    must_revalidate: bool,
    s_maxage_ms: Option<u64>,
    max_age_ms: Option<u64>,
    stale_while_revalidate_ms: Option<u64>,
    stale_if_error_ms: Option<u64>,
}

impl CacheControl {
    fn read(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                let (name, argument, after) = directive(rest);
                // White space between directives and stray quotes are errors that must not hide one.
                for name in split(name, b" \t\"") {
                    control.add(name, argument);
                }
                rest = after;
            }
        }
        control
    }

    fn add(&mut self, name: &[u8], argument: &[u8]) {
        let number = match &name.to_ascii_lowercase()[..] {
            // With field names as argument too: leaving out single fields is not worth the risk of getting it wrong.
            b"no-store" | b"private" => return self.no_store = true,
            b"no-cache" => return self.no_cache = true,
            b"must-revalidate" | b"proxy-revalidate" => return self.must_revalidate = true,
            b"s-maxage" => &mut self.s_maxage_ms,
            b"max-age" => &mut self.max_age_ms,
            b"stale-while-revalidate" => &mut self.stale_while_revalidate_ms,
            b"stale-if-error" => &mut self.stale_if_error_ms,
            _ => return,
        };
        let given_ms = seconds(unquoted(argument)).unwrap_or(0) * 1000;
        *number = Some(number.map_or(given_ms, |known_ms| known_ms.min(given_ms)));
    }

    fn windows(&self, headers: &HeaderMap, now_ms: u64) -> Windows {
        let lifetime_ms = self.s_maxage_ms.or(self.max_age_ms).or_else(|| expires_in_ms(headers, now_ms));
        let fresh_ms =
            if self.no_cache { Some(0) } else { lifetime_ms.map(|lifetime| lifetime.saturating_sub(age_ms(headers))) };
        if self.must_revalidate {
            let end_ms = Some(fresh_ms.unwrap_or(0));
            return Windows { fresh_ms, stale_ms: end_ms, retain_ms: end_ms };
        }
        // Times past an end that only the service knows cannot be told; its own windows apply.
        let Some(fresh) = fresh_ms else { return Windows::default() };
        let stale_ms = match self.stale_while_revalidate_ms {
            // Not to be used without asking (RFC 9111, 5.2.2.4), whatever the service would allow.
            _ if self.no_cache => Some(0),
            more => more.map(|more| fresh + more),
        };
        let retain_ms = self.stale_if_error_ms.map(|more| (fresh + more).max(stale_ms.unwrap_or(0)));
        Windows { fresh_ms, stale_ms, retain_ms }
    }
}

/// First directive of a list: its name, its argument as it stands, and what follows it. A `;` ends it as `,` does:
/// origins that mistake one for the other must not lose a `no-store` by it.
fn directive(text: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let name_end = find(text, b",;=");
    let mut end = name_end;
    if text.get(name_end) == Some(&b'=') {
        end += 1;
        end += quoted_len(&text[end..]);
        end += find(&text[end..], b",;");
    }
    let argument = text.get(name_end + 1..end).unwrap_or_default();
    (&text[..name_end], argument.trim_ascii_end(), text.get(end + 1..).unwrap_or_default())
}

/// Where one of some bytes is first found, else the length.
fn find(text: &[u8], wanted: &[u8]) -> usize {
    text.iter().position(|byte| wanted.contains(byte)).unwrap_or(text.len())
}

/// Length of the quoted string (RFC 9110, 5.6.4) a text starts with, else 0. One that is never closed has none, so
/// that a stray quote hides no directive after it.
fn quoted_len(text: &[u8]) -> usize {
    if text.first() != Some(&b'"') {
        return 0;
    }
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    0
}

/// RFC 9111, 5.2: `max-age="60"` is to be read as `max-age=60`.
fn unquoted(argument: &[u8]) -> &[u8] {
    argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(argument)
}

/// Non-empty members of a comma-separated header that has no quoted strings, over all its lines.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| split(line.as_bytes(), b","))
}

/// Non-empty parts of a text between separators, without the white space around them.
fn split<'a>(text: &'a [u8], separators: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let parts = text.split(move |byte| separators.contains(byte));
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

/// Delta-seconds (RFC 9111, 1.2.2), capped at [`MAX_SECONDS`].
fn seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS);
    Some(text.iter().fold(0, add))
}

/// An HTTP date in ms since 1970; earlier ones are as unreadable as broken ones.
fn date_ms(text: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// `Expires` minus `Date`, or minus now without a readable one. An `Expires` that cannot be read is in the past (RFC
/// 9111, 5.3); of several the earliest counts, and of several dates the latest.
fn expires_in_ms(headers: &HeaderMap, now_ms: u64) -> Option<u64> {
    let expires = headers.get_all(EXPIRES).iter().map(|line| date_ms(line.as_bytes()).unwrap_or(0)).min()?;
    let date = headers.get_all(DATE).iter().filter_map(|line| date_ms(line.as_bytes())).max().unwrap_or(now_ms);
    Some(expires.saturating_sub(date).min(MAX_SECONDS * 1000))
}

/// The largest `Age`; one that cannot be read is ignored (RFC 9111, 5.1).
fn age_ms(headers: &HeaderMap) -> u64 {
    members(headers, AGE).filter_map(seconds).max().unwrap_or(0) * 1000
}

/// `Retry-After` (RFC 9110, 10.2.3) of the statuses it is for: seconds, or a date, of several the longest.
fn retry_after_ms(status: StatusCode, headers: &HeaderMap, now_ms: u64) -> Option<u64> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let until = |text: &[u8]| {
        let from_date = || date_ms(text).map(|date| date.saturating_sub(now_ms).min(MAX_SECONDS * 1000));
        seconds(text).map(|seconds| seconds * 1000).or_else(from_date)
    };
    headers.get_all(RETRY_AFTER).iter().filter_map(|line| until(line.as_bytes().trim_ascii())).max()
}

/// Tags of all headers that carry them, each once; none if there are too many or one is too long.
fn tags(headers: &HeaderMap) -> Option<Vec<Box<[u8]>>> {
    let mut tags: Vec<Box<[u8]>> = Vec::new();
    for (name, separators) in TAG_HEADERS {
        for tag in headers.get_all(name).iter().flat_map(|line| split(line.as_bytes(), separators)) {
            if tags.iter().any(|known| **known == *tag) {
                continue;
            }
            if tag.len() > MAX_TAG_LEN || tags.len() == MAX_TAGS {
                return None;
            }
            tags.push(tag.into());
        }
    }
    Some(tags)
}

/// The validator of an answer: its entity tag, else its date.
fn validator(headers: &HeaderMap) -> Option<Validator> {
    let etag = only(headers, ETAG).and_then(Validator::etag);
    etag.or_else(|| only(headers, LAST_MODIFIED).and_then(Validator::last_modified))
}

/// A header that is there once; of two different ones nobody knows which is meant.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&[u8]> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then(|| line.as_bytes().trim_ascii())
}

/// An entity tag without its mark of weakness: `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

impl Validator {
    /// An entity tag, if it is one and not too long. Others are dropped, `*` before all: `If-None-Match: *` would be
    /// answered by 304 for ever.
    pub fn etag(value: &[u8]) -> Option<Self> {
        let is_tag_byte = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        let is_tag = matches!(opaque(value), [b'"', inner @ .., b'"'] if inner.iter().all(is_tag_byte));
        (is_tag && value.len() <= MAX_VALIDATOR_LEN).then(|| Self::ETag(value.into()))
    }

    /// A date, if it is one and not too long.
    pub fn last_modified(value: &[u8]) -> Option<Self> {
        let is_date = value.len() <= MAX_VALIDATOR_LEN && date_ms(value).is_some();
        is_date.then(|| Self::LastModified(value.into()))
    }

    /// The form that is stored: the value. An entity tag has quotes, a date has none.
    pub fn to_bytes(&self) -> Box<[u8]> {
        match self {
            Self::ETag(value) | Self::LastModified(value) => value.clone(),
        }
    }

    /// Reads the stored form; none for anything else, such as an ETag that a client gave to SWR.FILL.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::etag(bytes).or_else(|| Self::last_modified(bytes))
    }

    /// The header of the request that asks whether the copy is still right; none if a header cannot hold it, which
    /// only a validator put together by hand can be.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::ETag(value) => (IF_NONE_MATCH, value),
            Self::LastModified(value) => (IF_MODIFIED_SINCE, value),
        };
        Some((name, HeaderValue::from_bytes(value).ok()?))
    }
}

#[cfg(test)]
mod tests;
