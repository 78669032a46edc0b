//! The decoder against a naive reading of whole streams, and against every way to cut one.

use proptest::prelude::*;

use super::tests::{AUTHENTICATED, Decoded, encode, feed, whole};
use crate::error::ProtocolError;
use crate::inline;
use crate::limits::Limits;

/// Small enough for random bytes to pass every limit.
const TIGHT: Limits = Limits { max_args: 12, max_bulk: 40, max_inline: 20, authenticated: true };

/// A second decoder, naive and for whole streams only.
fn reference(mut rest: &[u8], limits: &Limits) -> Decoded {
    let mut requests = Vec::new();
    let end = loop {
        match reference_one(&mut rest, limits) {
            Ok(Some(args)) if args.is_empty() => {}
            Ok(Some(args)) => requests.push(args),
            Ok(None) => break Ok(rest.len()),
            Err(error) => break Err(error),
        }
    };
    Decoded { requests, end }
}

/// Takes one request off the front of `rest`, unless it is incomplete.
fn reference_one(rest: &mut &[u8], limits: &Limits) -> Result<Option<Vec<Vec<u8>>>, ProtocolError> {
    let line = |from: &[u8], end: u8, too_long| match from.iter().position(|&b| b == end) {
        Some(i) if i <= limits.max_inline => Ok(Some(i)),
        None if from.len() <= limits.max_inline => Ok(None),
        _ => Err(too_long),
    };
    let mut input = *rest;
    if input.is_empty() {
        return Ok(None);
    }
    if input[0] != b'*' {
        let Some(end) = line(input, b'\n', ProtocolError::InlineTooLong)? else {
            return Ok(None);
        };
        let mut text = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]).to_vec();
        let mut spans = Vec::new();
        inline::split(&mut text, &mut spans)?;
        *rest = &input[end + 1..];
        return Ok(Some(spans.iter().map(|s| text[s.start as usize..][..s.len as usize].to_vec()).collect()));
    }
    let number = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        text.parse::<i64>().ok().filter(|n| n.to_string() == text)
    };
    let Some(end) = line(input, b'\r', ProtocolError::CountLineTooLong)? else {
        return Ok(None);
    };
    if input.len() < end + 2 {
        return Ok(None);
    }
    let count = number(&input[1..end]).filter(|&n| n <= limits.max_args as i64).ok_or(ProtocolError::InvalidCount)?;
    if count > 10 && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    input = &input[end + 2..];
    let mut args = Vec::new();
    for _ in 0..count {
        let Some(end) = line(input, b'\r', ProtocolError::BulkLineTooLong)? else {
            return Ok(None);
        };
        if input.len() < end + 2 {
            return Ok(None);
        }
        if input[0] != b'$' {
            return Err(ProtocolError::ExpectedBulk(input[0]));
        }
        let len = number(&input[1..end]).filter(|&n| (0..=limits.max_bulk as i64).contains(&n));
        let len = len.ok_or(ProtocolError::InvalidBulkLength)? as usize;
        if len > 16384 && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        input = &input[end + 2..];
        if input.len() < len + 2 {
            return Ok(None);
        }
        args.push(input[..len].to_vec());
        input = &input[len + 2..];
    }
    *rest = input;
    Ok(Some(args))
}

/// The request as a line that decodes to it: every argument in double quotes.
fn encode_inline(args: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        line.push(b'"');
        for &byte in arg {
            match byte {
                b'"' | b'\\' => line.extend([b'\\', byte]),
                b' '..=b'~' => line.push(byte),
                _ => line.extend(format!("\\x{byte:02X}").bytes()),
            }
        }
        line.extend(b"\" ");
    }
    line
}

fn arg() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n$*\"'\\ 0\0".to_vec())];
    prop_oneof![
        8 => prop::collection::vec(bytes, 0..12),
        1 => (95..130_usize).prop_map(|n| vec![b'v'; n]),
        1 => (995..1030_usize).prop_map(|n| vec![b'w'; n]),
    ]
}

/// Encoded requests, each with what it decodes to; nothing for those that are skipped.
fn request() -> impl Strategy<Value = (Vec<u8>, Option<Vec<Vec<u8>>>)> {
    let args = || prop::collection::vec(arg(), 1..14);
    prop_oneof![
        6 => args().prop_map(|args| (encode(&args), Some(args))),
        2 => (args(), prop::sample::select(vec!["\n", "\r\n", " \t\r\n"]))
            .prop_map(|(args, end)| ([&encode_inline(&args), end.as_bytes()].concat(), Some(args))),
        1 => prop::sample::select(vec!["\n", "\r\n", " \r\n", "*0\r\n", "*-1\r\n"])
            .prop_map(|skipped| (skipped.as_bytes().to_vec(), None)),
    ]
}

fn line_byte() -> impl Strategy<Value = u8> {
    prop::sample::select(b"ab \t\"'\\x4\x0b\0".to_vec())
}

fn cuts(len: usize, places: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = places.iter().map(|place| place.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// Pieces of requests, right and wrong, on both sides of the tight limits.
const TOKENS: &[&str] = &[
    "*1\r\n",
    "*2\r\n",
    "*11\r\n",
    "*13\r\n",
    "*",
    "$0\r\n",
    "$1\r\n",
    "$12\r\n",
    "$40\r\n",
    "$041\r\n",
    "$-1\r\n",
    "$",
    "\r",
    "\n",
    "\r\n",
    "a",
    "ab\r\n",
    "\"",
    "'",
    " ",
    "\\x41",
    "123456789",
    "-1",
];

/// Bytes that often look like requests.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => prop::sample::select(TOKENS).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => request().prop_map(|(bytes, _)| bytes),
    ];
    prop::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_decodes_alike(
        requests in prop::collection::vec(request(), 0..12),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let requests = requests.into_iter().filter_map(|(_, args)| args).collect();
        let expected = Decoded { requests, end: Ok(0) };
        prop_assert_eq!(&whole(&stream, &AUTHENTICATED), &expected);
        prop_assert_eq!(&reference(&stream, &AUTHENTICATED), &expected);
        prop_assert_eq!(&feed(&stream, &cuts(stream.len(), &places), &AUTHENTICATED), &expected);
    }

    #[test]
    fn any_bytes_decode_as_the_reference_says(
        stream in noise(),
        authenticated: bool,
        tight: bool,
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let limits = Limits { authenticated, ..if tight { TIGHT } else { AUTHENTICATED } };
        let expected = reference(&stream, &limits);
        prop_assert_eq!(&whole(&stream, &limits), &expected);
        prop_assert_eq!(&feed(&stream, &cuts(stream.len(), &places), &limits), &expected);
    }

    #[test]
    fn inline_spans_are_in_order(line in prop::collection::vec(line_byte(), 0..40)) {
        let mut spans = Vec::new();
        let mut text = line.clone();
        if inline::split(&mut text, &mut spans).is_ok() {
            let end = spans.iter().fold(0, |end, span| {
                assert!(span.start >= end);
                span.start + span.len
            });
            prop_assert!(end as usize <= line.len());
        }
    }
}
