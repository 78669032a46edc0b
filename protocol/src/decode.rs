//! The request decoder: `*n` arrays of bulk strings, and inline lines, as Redis 7.2 reads them.
//!
//! A decoder keeps what it knows about a request that is not complete yet, and goes on where it
//! stopped. Like Redis it believes the lengths and does not look at the two bytes behind an
//! argument or behind the `\r` of a header line.

use memchr::memchr;

use crate::error::ProtocolError;
use crate::inline;
use crate::limits::{Limits, MAX_ARGS_UNAUTHENTICATED, MAX_BULK_BYTES_UNAUTHENTICATED, MAX_REQUEST_BYTES};
use crate::number::parse_i64;
use crate::request::Span;

/// Arguments that must have arrived before room is made for all that the count line announced (8 MiB at most): growing
/// by doubling would copy megabytes in the middle of a wake-up.
const MANY_SPANS: usize = 64 * 1024;

/// What a call of [`Decoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// One request with `args` arguments (at least one) in the first `consumed` bytes.
    Complete {
        /// Length of the request in bytes; the next one begins behind it.
        consumed: usize,
        /// Number of spans appended.
        args: usize,
    },
    /// An empty line or an array of no elements in the first `consumed` bytes: nothing to run and
    /// nothing to answer.
    Skipped {
        /// Length of what was skipped in bytes.
        consumed: usize,
    },
    /// The request goes on behind the input.
    Incomplete {
        /// Bytes that are missing at least; 1 when unknown. Announced by the peer: a hint to bound
        /// before use.
        wanted: usize,
    },
}

/// What the bytes at `Decoder::at` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of a request was seen.
    Idle,
    /// An inline request whose line end was not seen.
    Inline,
    /// The `*n` line.
    Count,
    /// A `$n` line.
    Header,
    /// The bytes of an argument.
    Body,
}

/// Decodes the requests of one connection. Owns heap memory only while an array is partly received.
///
/// After an error the connection is to be closed; what further calls return is unspecified.
#[derive(Debug)]
pub struct Decoder {
    stage: Stage,
    /// Arguments not complete yet, in `Header` and `Body`.
    left: u32,
    /// Offset of the element in progress: its line, or the first byte of its body.
    at: usize,
    /// Offset of the first byte of a line that was not searched; in `Body` the offset behind the
    /// argument.
    known: usize,
    /// Complete arguments of the request in progress.
    partial: Vec<Span>,
    /// Bytes looked at or copied and calls resumed, to show that the work is linear.
    #[cfg(test)]
    steps: u64,
}

#[cfg(not(test))]
const _: () = assert!(size_of::<Decoder>() <= 64, "one per connection");

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub const fn new() -> Decoder {
        Decoder {
            stage: Stage::Idle,
            left: 0,
            at: 0,
            known: 0,
            partial: Vec::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// True when no request is partly received.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Decodes one request and appends its spans to `spans`; nothing is appended unless the request
    /// is complete.
    ///
    /// `input` starts at the first byte of that request. After [`Status::Incomplete`] the next call
    /// must pass the same bytes again, followed by new ones; those already searched are not
    /// searched again. Inline arguments are unescaped in place, so the consumed bytes are what the
    /// request's [`Args`](crate::Args) point into and no longer what the peer sent.
    ///
    /// # Errors
    /// The peer broke the protocol or exceeds `limits`, see [`ProtocolError`].
    #[inline]
    pub fn decode(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Status, ProtocolError> {
        match self.stage {
            Stage::Idle => match input.first() {
                Some(b'*') => self.array(input, limits, spans),
                Some(_) => self.inline(input, limits, spans),
                None => Ok(Status::Incomplete { wanted: 1 }),
            },
            Stage::Inline => self.inline(input, limits, spans),
            Stage::Count => self.array(input, limits, spans),
            Stage::Header | Stage::Body => self.resume(input, limits, spans),
        }
    }

    /// An inline request from its first byte.
    #[cold]
    fn inline(&mut self, input: &mut [u8], limits: &Limits, spans: &mut Vec<Span>) -> Result<Status, ProtocolError> {
        let Some(end) = self.find(b'\n', input, 0, limits.max_inline, ProtocolError::InlineTooLong)? else {
            self.stage = Stage::Inline;
            return Ok(Status::Incomplete { wanted: 1 });
        };
        let line = &mut input[..end];
        let line = match line {
            [line @ .., b'\r'] => line,
            line => line,
        };
        let args = inline::split(line, spans)?;
        self.finish();
        let consumed = end + 1;
        Ok(if args == 0 { Status::Skipped { consumed } } else { Status::Complete { consumed, args } })
    }

    /// An array from its first byte.
    #[inline]
    fn array(&mut self, input: &[u8], limits: &Limits, spans: &mut Vec<Span>) -> Result<Status, ProtocolError> {
        let Some((count, at)) = self.count_line(input, limits)? else {
            self.stage = Stage::Count;
            return Ok(Status::Incomplete { wanted: 1 });
        };
        if count == 0 {
            self.finish();
            return Ok(Status::Skipped { consumed: at });
        }
        let base = spans.len();
        match self.arguments(input, limits, spans, at, count) {
            Ok(Some(consumed)) => Ok(Status::Complete { consumed, args: count as usize }),
            Ok(None) => {
                self.step((spans.len() - base) * size_of::<Span>());
                self.partial.extend_from_slice(&spans[base..]);
                spans.truncate(base);
                Ok(self.incomplete(input))
            }
            Err(error) => {
                spans.truncate(base);
                Err(error)
            }
        }
    }

    /// An array whose count line was seen by an earlier call.
    #[cold]
    fn resume(&mut self, input: &[u8], limits: &Limits, spans: &mut Vec<Span>) -> Result<Status, ProtocolError> {
        if self.stage == Stage::Body {
            let end = self.known;
            self.step(1);
            if end > input.len() {
                return Ok(self.incomplete(input));
            }
            self.partial.push(Span { start: self.at as u32, len: (end - 2 - self.at) as u32 });
            self.at = end;
            self.left -= 1;
        }
        self.step(1);
        let mut partial = std::mem::take(&mut self.partial);
        let Some(consumed) = self.arguments(input, limits, &mut partial, self.at, self.left)? else {
            if partial.len() >= MANY_SPANS && partial.capacity() - partial.len() < self.left as usize {
                partial.reserve_exact(self.left as usize);
            }
            self.partial = partial;
            return Ok(self.incomplete(input));
        };
        self.step(size_of_val(&*partial));
        let args = partial.len();
        if spans.is_empty() {
            // A request of a million arguments is handed over, not copied.
            *spans = partial;
        } else {
            spans.extend_from_slice(&partial);
        }
        Ok(Status::Complete { consumed, args })
    }

    /// The `left` arguments from the line at `at` on: the offset behind the last one, or `None`
    /// after noting where to go on.
    #[inline]
    fn arguments(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
        mut at: usize,
        mut left: u32,
    ) -> Result<Option<usize>, ProtocolError> {
        let reach = input.len().min(MAX_REQUEST_BYTES);
        let longest = match limits.authenticated {
            true => limits.max_bulk,
            false => limits.max_bulk.min(MAX_BULK_BYTES_UNAUTHENTICATED),
        };
        while left > 0 {
            let short = if at >= self.known { short_line(input, at, b'$') } else { None };
            self.step(SHORT_LINE);
            let (len, body) = match short {
                Some(line) => line,
                None => match self.bulk_line(input, at, limits)? {
                    Some(line) => line,
                    None => {
                        (self.stage, self.at, self.left) = (Stage::Header, at, left);
                        return Ok(None);
                    }
                },
            };
            let end = body + len + 2;
            if len > longest || end > reach {
                if len > limits.max_bulk || end > MAX_REQUEST_BYTES {
                    return Err(ProtocolError::InvalidBulkLength);
                } else if len > longest {
                    return Err(ProtocolError::UnauthenticatedBulkLength);
                }
                (self.stage, self.at, self.known, self.left) = (Stage::Body, body, end, left);
                return Ok(None);
            }
            spans.push(Span { start: body as u32, len: len as u32 });
            at = end;
            left -= 1;
        }
        self.finish();
        Ok(Some(at))
    }

    /// The number of the `*n` line at the start, zero for a negative one, and the offset behind it.
    #[inline]
    fn count_line(&mut self, input: &[u8], limits: &Limits) -> Result<Option<(u32, usize)>, ProtocolError> {
        self.step(SHORT_LINE);
        let (count, next) = match short_line(input, 0, b'*') {
            Some((count, next)) if self.known == 0 => (count, next),
            _ => {
                let Some(end) = self.find_line(input, 0, limits, ProtocolError::CountLineTooLong)? else {
                    return Ok(None);
                };
                let count = parse_i64(&input[1..end]).ok_or(ProtocolError::InvalidCount)?;
                (count.max(0) as usize, end + 2)
            }
        };
        if count > limits.max_args.min(u32::MAX as usize) {
            return Err(ProtocolError::InvalidCount);
        }
        if count > MAX_ARGS_UNAUTHENTICATED && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        Ok(Some((count as u32, next)))
    }

    /// The number of the `$n` line at `at` and the offset behind it.
    #[inline(never)]
    fn bulk_line(&mut self, input: &[u8], at: usize, limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
        if at >= self.known {
            self.step(LONG_LINE);
            if let Some(line) = long_line(input, at) {
                return Ok(Some(line));
            }
        }
        let Some(end) = self.find_line(input, at, limits, ProtocolError::BulkLineTooLong)? else {
            return Ok(None);
        };
        match input[at] {
            b'$' => {}
            other => return Err(ProtocolError::ExpectedBulk(other)),
        }
        match parse_i64(&input[at + 1..end]).map(usize::try_from) {
            Some(Ok(len)) => Ok(Some((len, end + 2))),
            _ => Err(ProtocolError::InvalidBulkLength),
        }
    }

    /// Offset of the `\r` that ends the line at `at`, once the byte behind it has arrived too.
    fn find_line(
        &mut self,
        input: &[u8],
        at: usize,
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        Ok(match self.find(b'\r', input, at, limits.max_inline, too_long)? {
            Some(end) if end + 1 == input.len() => {
                self.known = end;
                None
            }
            end => end,
        })
    }

    /// Offset of the first `delimiter` of the line at `at`, at most `longest` bytes behind it;
    /// notes what was searched.
    fn find(
        &mut self,
        delimiter: u8,
        input: &[u8],
        at: usize,
        longest: usize,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let to = input.len().min(at.saturating_add(longest).saturating_add(1));
        let from = self.known.clamp(at, to);
        self.step(to - from);
        match memchr(delimiter, &input[from..to]) {
            Some(i) => Ok(Some(from + i)),
            None if input.len() - at > longest => Err(too_long),
            None => {
                self.known = to;
                Ok(None)
            }
        }
    }

    /// Back to the start of a request. Nothing is known of the next one.
    #[inline]
    fn finish(&mut self) {
        self.stage = Stage::Idle;
        self.known = 0;
    }

    fn incomplete(&self, input: &[u8]) -> Status {
        let wanted = match self.stage {
            Stage::Body => self.known - input.len(),
            _ => 1,
        };
        Status::Incomplete { wanted }
    }

    #[inline(always)]
    fn step(&mut self, _bytes: usize) {
        #[cfg(test)]
        {
            self.steps += _bytes as u64;
        }
    }
}

/// Bytes that [`short_line`] looks at.
const SHORT_LINE: usize = 5;

/// Bytes that [`long_line`] looks at, at most: the longest number is that of `MAX_REQUEST_BYTES`.
const LONG_LINE: usize = 14;

/// A line of one or two digits at `at`: its number and the offset behind it. `None` when it is
/// anything else or cut off.
#[inline(always)]
fn short_line(input: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let &[first, tens, ones, end, _] = input.get(at..)?.first_chunk::<SHORT_LINE>()?;
    let digit = tens.wrapping_sub(b'0');
    if first != kind || digit > 9 {
        return None;
    }
    if ones == b'\r' {
        return Some((usize::from(digit), at + 4));
    }
    let unit = ones.wrapping_sub(b'0');
    (digit != 0 && unit <= 9 && end == b'\r').then(|| (usize::from(digit) * 10 + usize::from(unit), at + 5))
}

/// A `$n` line of up to ten digits at `at`, whole and well-formed: its number and the offset behind
/// it.
#[inline]
fn long_line(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = input.get(at..)?;
    let line = &line[..line.len().min(LONG_LINE)];
    let [b'$', b'1'..=b'9', ..] = line else {
        return None;
    };
    let mut number = 0;
    for (i, &byte) in line.iter().enumerate().skip(1) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let whole = byte == b'\r' && i + 1 < line.len();
            return whole.then_some((number, at + i + 2));
        }
        number = number * 10 + usize::from(digit);
    }
    None
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
