//! The deterministic id of a memoised call: the lower-case hex SHA-256 of its canonical payload.
//!
//! Promises:
//! * Two JSON payloads that mean the same document have the same canonical bytes, which are those of RFC 8785 (JCS).
//!   White space, the order of members and the spelling of numbers and strings never change an id.
//! * Two JSON payloads that mean different documents have different canonical bytes. Strings are compared by code
//!   point, without Unicode normalisation, and numbers by their exact decimal value. Minus zero is zero.
//! * Canonicalising twice is the same as canonicalising once.
//! * The work is linear in the length of the payload, times its logarithm where members have to be sorted. Nesting is
//!   bounded, and no payload causes a panic. The canonical form is at most 5.25 times as long as the payload, as RFC
//!   8785 writes `1e20` with 21 digits. The most memory in use is about ten times the payload, for an array of nothing
//!   but tiny objects whose members are out of order.
//!
//! Refusals: a payload is refused as JSON where RFC 8259 does not allow it (invalid UTF-8, a byte order mark and
//! trailing text included), and also where it has
//! * an object with two members of one name, compared after unescaping;
//! * a `\u` escape of a lone surrogate;
//! * more than [`MAX_DEPTH`] arrays and objects inside one another;
//! * a number whose RFC 8785 form is another decimal value, such as `9007199254740993` or `1e400`. That form would give
//!   two documents one id.
//!
//! The form is not part of the id: bytes that happen to be canonical JSON have the id of that JSON.

mod jcs;
mod number;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, error::Error, fmt};

use sha2::{Digest, Sha256};

/// The most arrays and objects that may be open at once in a JSON payload.
pub const MAX_DEPTH: usize = 128;

/// How a payload is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON where the payload is an object or an array that [`Form::Json`] accepts, otherwise bytes.
    Auto,
    /// JSON of any type, or a refusal.
    Json,
    /// Bytes, taken as they are.
    Bytes,
}

/// The canonical form of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The bytes that the id is the hash of. They are borrowed where they equal the payload.
    pub bytes: Cow<'a, [u8]>,
    /// Whether the payload was read as JSON.
    pub is_json: bool,
}

/// The refusal of a payload that was to be read as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCanonical {
    /// Why the payload was refused.
    pub reason: Reason,
    /// The offset in the payload, in bytes, that reading had reached.
    pub at: usize,
}

/// Why a payload has no canonical JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not UTF-8.
    Utf8,
    /// It breaks the grammar of RFC 8259.
    Syntax,
    /// It escapes a surrogate that is not half of a pair.
    Surrogate,
    /// It has a number whose canonical form is another decimal value.
    Number,
    /// It has an object with two members of one name. The offset is the end of that object.
    Name,
    /// It nests more than [`MAX_DEPTH`] arrays and objects.
    Depth,
}

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Utf8 => "invalid UTF-8",
            Reason::Syntax => "invalid JSON",
            Reason::Surrogate => "a lone surrogate",
            Reason::Number => "a number whose canonical form is another value",
            Reason::Name => "an object with a repeated member name",
            Reason::Depth => return write!(f, "more than {MAX_DEPTH} nested values at byte {}", self.at),
        };
        write!(f, "{reason} at byte {}", self.at)
    }
}

impl Error for NotCanonical {}

/// Returns the canonical form of a payload.
///
/// # Errors
///
/// [`Form::Json`] fails where the payload is refused as JSON. The other forms never fail.
pub fn canonical(payload: &[u8], form: Form) -> Result<Canonical<'_>, NotCanonical> {
    let json = match form {
        Form::Json => Some(jcs::canonical(payload)?),
        Form::Auto if opens_container(payload) => jcs::canonical(payload).ok(),
        Form::Auto | Form::Bytes => None,
    };
    let is_json = json.is_some();
    let bytes = match json {
        Some(text) if text.as_bytes() != payload => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(payload),
    };
    Ok(Canonical { bytes, is_json })
}

/// Returns the id of canonical bytes: the 64 lower-case ASCII hex digits of their SHA-256.
pub fn id(canonical: &[u8]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 64];
    for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(Sha256::digest(canonical)) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    hex
}

/// Whether the first byte after JSON white space opens an object or an array.
fn opens_container(payload: &[u8]) -> bool {
    let first = payload.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    matches!(first, Some(b'{' | b'['))
}
