//! What must hold for arbitrary headers.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: [&str; 13] = [
    "cache-control",
    "cache-control",
    "expires",
    "date",
    "age",
    "vary",
    "etag",
    "last-modified",
    "retry-after",
    "surrogate-key",
    "cache-tag",
    "xkey",
    "x-other",
];

/// Pieces that parsers stumble over, so that most lines are nearly right.
const PIECES: [&str; 30] = [
    "max-age",
    "s-maxage",
    "stale-while-revalidate",
    "stale-if-error",
    "must-revalidate",
    "no-cache",
    "x",
    "=",
    "=",
    "=60",
    "=7",
    ",",
    ",",
    ", ",
    ";",
    "\"",
    "\"",
    "\\",
    " ",
    "\t",
    "*",
    "W/",
    "\"a\"",
    "é",
    "2147483648",
    "99999999999999999999",
    NOW,
    IN_A_MINUTE,
    "-1",
    "0",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let near = vec(select(&PIECES[..]), 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![near, vec(any::<u8>(), 0..64)]
}

fn lines() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    vec((select(&NAMES[..]), value()), 0..8)
}

fn header_map(lines: &[(&'static str, Vec<u8>)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(*name, value);
        }
    }
    headers
}

fn in_order(windows: Windows) -> bool {
    let given: Vec<u64> = [windows.fresh_ms, windows.stale_ms, windows.retain_ms].into_iter().flatten().collect();
    given.is_sorted() && given.iter().all(|ms| *ms <= 2 * MAX_MS)
}

proptest! {
    #[test]
    fn arbitrary_headers_are_judged(
        lines in lines(), code in 100..1000_u16, honour_headers: bool, sent in 0..3_usize, now_ms: u64,
    ) {
        let sent = [None, Some(etag("\"a\"")), Some(date(NOW))][sent].clone();
        let asked = Asked { honour_headers, validator: sent.as_ref(), now_ms };
        let headers = header_map(&lines);
        for code in [code, 200, 304, 429] {
            match judge(StatusCode::from_u16(code).unwrap(), &headers, &asked) {
                Answer::Value { windows, tags, validator } => {
                    prop_assert!(in_order(windows), "{windows:?}");
                    prop_assert!(honour_headers || windows == Windows::default());
                    prop_assert!(tags.len() <= MAX_TAGS);
                    prop_assert!(tags.iter().all(|tag| (1..=MAX_TAG_LEN).contains(&tag.len())));
                    if let Some(validator) = validator {
                        prop_assert!(validator.header().is_some());
                        prop_assert_eq!(Validator::from_bytes(&validator.to_bytes()), Some(validator));
                    }
                }
                Answer::NotModified { windows, .. } => {
                    prop_assert!(in_order(windows), "{windows:?}");
                    prop_assert!(code == 304 && sent.is_some());
                }
                Answer::Failed { retry_after_ms, .. } => prop_assert!(retry_after_ms.is_none_or(|ms| ms <= MAX_MS)),
                Answer::Nothing | Answer::NoStore => {}
            }
        }
    }

    /// Of windows only: which tags come first, and which ETag is the second, does depend on the order.
    #[test]
    fn the_order_of_lines_does_not_matter((lines, shuffled) in lines().prop_flat_map(|lines| {
        (Just(lines.clone()), Just(lines).prop_shuffle())
    })) {
        let windows = |lines: &[_]| storable(&header_map(lines), &HONOUR);
        prop_assert_eq!(windows(&lines), windows(&shuffled));
    }

    #[test]
    fn no_line_hides_a_prohibition(
        mut lines in lines(), at: prop::sample::Index, word in select(&["no-store", "private"][..]),
    ) {
        lines.insert(at.index(lines.len() + 1), ("cache-control", word.into()));
        prop_assert_eq!(judge(StatusCode::OK, &header_map(&lines), &HONOUR), Answer::NoStore);
    }

    /// A line more of the same directive never makes a window longer.
    #[test]
    fn duplicates_only_shorten(
        lines in lines(), word in select(&["max-age", "s-maxage", "stale-if-error"][..]), n: u32,
    ) {
        let with = |n: u32, lines: &[(&'static str, Vec<u8>)]| {
            let more = ("cache-control", format!("{word}={n}").into_bytes());
            header_map(&[lines, &[more]].concat())
        };
        let once = with(n, &lines);
        let lines = [&lines[..], &[("cache-control", format!("{word}={n}").into_bytes())]].concat();
        for more in [0, n / 2, n, u32::MAX] {
            let (Some(one), Some(two)) = (storable(&once, &HONOUR), storable(&with(more, &lines), &HONOUR)) else {
                continue;
            };
            prop_assert!(two.fresh_ms <= one.fresh_ms, "{one:?} {two:?}");
            prop_assert!(two.stale_ms <= one.stale_ms, "{one:?} {two:?}");
            prop_assert!(two.retain_ms <= one.retain_ms, "{one:?} {two:?}");
        }
    }

    #[test]
    fn stored_validators_come_back(bytes in vec(any::<u8>(), 0..64), kind in 0..4_u8) {
        for bytes in [bytes.clone(), [&[kind, b'"'], &bytes[..], b"\""].concat()] {
            if let Some(validator) = Validator::from_bytes(&bytes) {
                prop_assert_eq!(&*validator.to_bytes(), &bytes[..]);
                prop_assert!(validator.header().is_some());
            }
        }
    }
}
