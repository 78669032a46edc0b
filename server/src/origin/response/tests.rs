//! Every row of the table of answers, and its traps.

use super::*;

mod properties;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW_MS: u64 = 784_111_777_000;
const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const IN_A_MINUTE: &str = "Sun, 06 Nov 1994 08:50:37 GMT";
const A_MINUTE_AGO: &str = "Sun, 06 Nov 1994 08:48:37 GMT";
const MAX_MS: u64 = (1 << 31) * 1000;

const HONOUR: Asked<'_> = Asked { honour_headers: true, validator: None, now_ms: NOW_MS };
const IGNORE: Asked<'_> = Asked { honour_headers: false, ..HONOUR };

type Lines<'a> = &'a [(&'a str, &'a str)];

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn answer(status: u16, lines: Lines<'_>, asked: &Asked<'_>) -> Answer {
    judge(StatusCode::from_u16(status).unwrap(), &headers(lines), asked)
}

/// Windows in seconds of a 200; none if it is not stored.
fn windows(lines: Lines<'_>) -> Option<[Option<u64>; 3]> {
    match answer(200, lines, &HONOUR) {
        Answer::Value { windows, .. } => Some(in_seconds(windows)),
        Answer::NoStore => None,
        other => panic!("{other:?}"),
    }
}

fn in_seconds(windows: Windows) -> [Option<u64>; 3] {
    [windows.fresh_ms, windows.stale_ms, windows.retain_ms].map(|window| window.map(|ms| ms / 1000))
}

fn etag(value: &str) -> Validator {
    Validator::etag(value.as_bytes()).unwrap()
}

fn date(value: &str) -> Validator {
    Validator::last_modified(value.as_bytes()).unwrap()
}

#[test]
fn cache_control_gives_windows() {
    let none = [None; 3];
    let fresh = |seconds| [Some(seconds), None, None];
    let table: &[(&str, [Option<u64>; 3])] = &[
        ("", none),
        ("public, immutable, no-transform, must-understand, x=1", none),
        ("max-age=60", fresh(60)),
        ("MAX-AGE=60", fresh(60)),
        (" ,, max-age=60 ,", fresh(60)),
        ("max-age=0", fresh(0)),
        ("s-maxage=30, max-age=60", fresh(30)),
        ("max-age=30, s-maxage=60", fresh(60)),
        // Of duplicates the smallest, in either order.
        ("max-age=60, max-age=30", fresh(30)),
        ("max-age=30, max-age=60", fresh(30)),
        ("s-maxage=9, max-age=1, s-maxage=8", fresh(8)),
        ("max-age=60, max-age=x", fresh(0)),
        // Numbers that cannot be read are zero.
        ("max-age", fresh(0)),
        ("max-age=", fresh(0)),
        ("max-age=x", fresh(0)),
        ("max-age=-1", fresh(0)),
        ("max-age=+1", fresh(0)),
        ("max-age=1.5", fresh(0)),
        ("max-age=60s", fresh(0)),
        ("max-age= 60", fresh(0)),
        ("max-age=0x10", fresh(0)),
        ("s-maxage=x, max-age=60", fresh(0)),
        ("max-age=60, s-maxage", fresh(0)),
        // Large ones are 2^31.
        ("max-age=2147483647", fresh((1 << 31) - 1)),
        ("max-age=2147483648", fresh(1 << 31)),
        ("max-age=2147483649", fresh(1 << 31)),
        ("max-age=99999999999999999999999999999999999999", fresh(1 << 31)),
        ("max-age=00000000000000000000000000000000000007", fresh(7)),
        // Quoted strings: as numbers, and as what hides commas.
        ("max-age=\"60\"", fresh(60)),
        ("max-age=\"60", fresh(0)),
        ("max-age=\"60\"0", fresh(0)),
        ("max-age='60'", fresh(0)),
        ("x=\"no-store, max-age=1\", max-age=60", fresh(60)),
        ("x=\"\\\", no-store\", max-age=60", fresh(60)),
        // Errors that must not hide what comes after them.
        ("x=\"y, max-age=60", fresh(60)),
        ("x=\"y\\", none),
        ("x\"y, max-age=60", fresh(60)),
        ("public; max-age=60", fresh(60)),
        ("public max-age=60", fresh(60)),
        ("max-age 60", fresh(0)),
        // Names that only look alike.
        ("xmax-age=60, max-age-x=60, maxage=60", none),
        // RFC 5861.
        ("max-age=60, stale-while-revalidate=30", [Some(60), Some(90), None]),
        ("stale-while-revalidate=30, max-age=60", [Some(60), Some(90), None]),
        ("max-age=60, stale-if-error=30", [Some(60), None, Some(90)]),
        ("max-age=60, stale-while-revalidate=30, stale-if-error=10", [Some(60), Some(90), Some(90)]),
        ("max-age=60, stale-while-revalidate=30, stale-if-error=300", [Some(60), Some(90), Some(360)]),
        ("max-age=60, stale-while-revalidate=30, stale-while-revalidate=20", [Some(60), Some(80), None]),
        ("max-age=60, stale-while-revalidate=x, stale-if-error", [Some(60), Some(60), Some(60)]),
        ("max-age=2147483648, stale-if-error=2147483648", [Some(1 << 31), None, Some(1 << 32)]),
        ("stale-while-revalidate=30, stale-if-error=30", none),
        // No use after the end of freshness.
        ("max-age=60, must-revalidate", [Some(60); 3]),
        ("max-age=60, Proxy-Revalidate", [Some(60); 3]),
        ("must-revalidate, max-age=60, stale-while-revalidate=30, stale-if-error=30", [Some(60); 3]),
        ("must-revalidate", [None, Some(0), Some(0)]),
        // Stored, but not fresh.
        ("no-cache", [Some(0), Some(0), None]),
        ("No-Cache=\"Set-Cookie, X-Y\"", [Some(0), Some(0), None]),
        ("no-cache=set-cookie", [Some(0), Some(0), None]),
        ("max-age=60, no-cache", [Some(0), Some(0), None]),
        ("no-cache, stale-while-revalidate=30", [Some(0), Some(0), None]),
        ("no-cache, must-revalidate", [Some(0); 3]),
    ];
    for (control, expected) in table {
        assert_eq!(windows(&[("cache-control", control)]), Some(*expected), "{control}");
    }
}

#[test]
fn several_lines_are_one_list() {
    let lines = [("cache-control", "max-age=60"), ("cache-control", "max-age=50, stale-while-revalidate=1")];
    assert_eq!(windows(&lines), Some([Some(50), Some(51), None]));
    assert_eq!(windows(&[("cache-control", "max-age=60"), ("cache-control", "x"), ("cache-control", "private")]), None);
    // A quote that is never closed ends with its line.
    assert_eq!(windows(&[("cache-control", "x=\"y"), ("cache-control", "no-store, z=\"")]), None);
}

#[test]
fn what_must_not_be_stored_is_not() {
    let table: &[(&str, &str)] = &[
        ("cache-control", "no-store"),
        ("cache-control", "NO-STORE"),
        ("cache-control", "no-store=\"x\""),
        ("cache-control", "no-store="),
        ("cache-control", "max-age=60,no-store"),
        ("cache-control", "max-age=60, no-store, must-understand"),
        ("cache-control", "private"),
        ("cache-control", "private, public, s-maxage=60"),
        ("cache-control", "private=\"set-cookie\", max-age=60"),
        ("cache-control", "private = x"),
        ("cache-control", "x=\"y, no-store"),
        ("cache-control", "x\"y, no-store\""),
        ("cache-control", "x=y\"z, no-store, \""),
        ("cache-control", "\"no-store\""),
        ("cache-control", "no-store; max-age=60"),
        ("cache-control", "max-age=60; no-store"),
        ("cache-control", "no-store max-age=60"),
        ("vary", "*"),
        ("vary", "accept, * "),
    ];
    for line in table {
        assert_eq!(windows(&[*line]), None, "{line:?}");
        // A 304 says the same of the copy that is held.
        let ours = etag("\"a\"");
        assert_eq!(answer(304, &[*line], &Asked { validator: Some(&ours), ..HONOUR }), Answer::NoStore, "{line:?}");
        assert!(matches!(answer(200, &[*line], &IGNORE), Answer::Value { .. }), "{line:?}");
    }
    assert_eq!(windows(&[("vary", "accept, accept-encoding, x*")]), Some([None; 3]));
    assert_eq!(windows(&[("vary", "accept"), ("vary", "*")]), None);
}

#[test]
fn expires_and_age_give_windows() {
    let fresh = |seconds| [Some(seconds), None, None];
    let table: &[(Lines<'_>, [Option<u64>; 3])] = &[
        (&[("expires", IN_A_MINUTE), ("date", NOW)], fresh(60)),
        (&[("expires", IN_A_MINUTE), ("date", A_MINUTE_AGO)], fresh(120)),
        (&[("expires", IN_A_MINUTE)], fresh(60)),
        (&[("expires", IN_A_MINUTE), ("date", "yesterday")], fresh(60)),
        (&[("expires", IN_A_MINUTE), ("date", A_MINUTE_AGO), ("date", NOW)], fresh(60)),
        (&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT"), ("date", "Sun Nov  6 08:49:37 1994")], fresh(60)),
        (&[("expires", A_MINUTE_AGO), ("date", NOW)], fresh(0)),
        (&[("expires", NOW), ("date", NOW)], fresh(0)),
        (&[("expires", "0")], fresh(0)),
        (&[("expires", "-1")], fresh(0)),
        (&[("expires", "")], fresh(0)),
        (&[("expires", "Thu, 01 Jan 1900 00:00:00 GMT")], fresh(0)),
        (&[("expires", IN_A_MINUTE), ("expires", "0")], fresh(0)),
        (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], fresh(1 << 31)),
        (&[("date", NOW)], [None; 3]),
        // Cache-Control goes first, even when it cannot be read.
        (&[("expires", IN_A_MINUTE), ("cache-control", "max-age=5")], fresh(5)),
        (&[("expires", IN_A_MINUTE), ("cache-control", "max-age=x")], fresh(0)),
        (&[("expires", IN_A_MINUTE), ("cache-control", "public")], fresh(60)),
        (&[("expires", IN_A_MINUTE), ("cache-control", "must-revalidate")], [Some(60); 3]),
        // Age counts against all of them.
        (&[("cache-control", "max-age=60"), ("age", "10")], fresh(50)),
        (&[("cache-control", "s-maxage=60"), ("age", "60")], fresh(0)),
        (&[("cache-control", "max-age=60"), ("age", "61")], fresh(0)),
        (&[("cache-control", "max-age=60"), ("age", "99999999999999999999999")], fresh(0)),
        (&[("cache-control", "max-age=2147483648"), ("age", "99999999999999999999999")], fresh(0)),
        (&[("expires", IN_A_MINUTE), ("age", "10")], fresh(50)),
        (&[("cache-control", "max-age=60, stale-while-revalidate=30"), ("age", "10")], [Some(50), Some(80), None]),
        (&[("cache-control", "max-age=60, stale-while-revalidate=30"), ("age", "70")], [Some(0), Some(30), None]),
        (&[("cache-control", "max-age=60, must-revalidate"), ("age", "10")], [Some(50); 3]),
        // Several ages: the largest. One that cannot be read: none.
        (&[("cache-control", "max-age=60"), ("age", "10, 20"), ("age", "5")], fresh(40)),
        (&[("cache-control", "max-age=60"), ("age", "-5")], fresh(60)),
        (&[("cache-control", "max-age=60"), ("age", "x, 20")], fresh(40)),
        (&[("age", "10")], [None; 3]),
    ];
    for (lines, expected) in table {
        assert_eq!(windows(lines), Some(*expected), "{lines:?}");
    }
}

#[test]
fn headers_can_be_ignored() {
    let lines = [
        ("cache-control", "no-store, max-age=60, must-revalidate"),
        ("vary", "*"),
        ("expires", "0"),
        ("etag", "\"a\""),
        ("xkey", "t"),
    ];
    let expected = Answer::Value {
        windows: Windows::default(),
        tags: vec![b"t"[..].into()],
        validator: Some(Validator::ETag(b"\"a\""[..].into())),
    };
    assert_eq!(answer(200, &lines, &IGNORE), expected);
    assert_eq!(answer(203, &lines, &IGNORE), expected);
    let ours = etag("\"a\"");
    let expected = Answer::NotModified { windows: Windows::default(), validator: Some(ours.clone()) };
    assert_eq!(answer(304, &lines, &Asked { validator: Some(&ours), ..IGNORE }), expected);
    // Dropping a tag would leave a value that no revoke of it finds, whatever the service thinks of headers.
    let many: Vec<String> = (0..65).map(|tag| format!("t{tag}")).collect();
    assert_eq!(answer(200, &[("xkey", &many.join(" "))], &IGNORE), Answer::NoStore);
}

#[test]
fn every_status_has_a_meaning() {
    for code in 100..=999 {
        let Ok(status) = StatusCode::from_u16(code) else { continue };
        let lines = headers(&[("retry-after", "7"), ("location", "http://elsewhere/"), ("cache-control", "max-age=1")]);
        let given = judge(status, &lines, &HONOUR);
        let is_right = match code {
            200 | 203 => matches!(given, Answer::Value { .. }),
            204 | 404 | 410 => given == Answer::Nothing,
            429 | 503 => matches!(given, Answer::Failed { retry_after_ms: Some(7000), .. }),
            _ => matches!(given, Answer::Failed { retry_after_ms: None, .. }),
        };
        assert!(is_right, "{code}: {given:?}");
        if let Answer::Failed { why, .. } = given {
            assert!(why.starts_with(&format!("status {code}")), "{why}");
        }
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let table: &[(&[&str], Option<u64>)] = &[
        (&[], None),
        (&["0"], Some(0)),
        (&["120"], Some(120_000)),
        (&[" 120 "], Some(120_000)),
        (&[IN_A_MINUTE], Some(60_000)),
        (&[A_MINUTE_AGO], Some(0)),
        (&["99999999999999999999"], Some(MAX_MS)),
        (&["Fri, 31 Dec 9999 23:59:59 GMT"], Some(MAX_MS)),
        (&["-1"], None),
        (&["soon"], None),
        (&[""], None),
        (&["5", "soon", "9", "7"], Some(9000)),
    ];
    for (values, expected) in table {
        let lines: Vec<_> = values.iter().map(|value| ("retry-after", *value)).collect();
        for (status, asked) in [(429, HONOUR), (503, IGNORE)] {
            let Answer::Failed { retry_after_ms, .. } = answer(status, &lines, &asked) else { panic!("{values:?}") };
            assert_eq!(retry_after_ms, *expected, "{values:?}");
        }
    }
}

#[test]
fn a_304_needs_our_validator() {
    let (tag, weak, day) = (etag("\"a\""), etag("W/\"a\""), date(NOW));
    let minute = [("cache-control", "max-age=60")];
    assert!(matches!(answer(304, &minute, &HONOUR), Answer::Failed { retry_after_ms: None, .. }));
    // Sent, headers of the answer, kept; an error where there is none.
    type Row<'a> = (&'a Validator, Lines<'a>, Result<Option<Validator>, ()>);
    let table: &[Row<'_>] = &[
        (&tag, &[], Ok(None)),
        (&tag, &[("etag", "\"a\"")], Ok(Some(tag.clone()))),
        (&tag, &[("etag", "W/\"a\"")], Ok(Some(weak.clone()))),
        (&weak, &[("etag", "\"a\"")], Ok(Some(tag.clone()))),
        (&tag, &[("etag", "\"b\"")], Err(())),
        (&tag, &[("etag", "b")], Ok(None)),
        (&tag, &[("last-modified", NOW)], Ok(None)),
        (&tag, &[("etag", "\"a\""), ("last-modified", NOW)], Ok(Some(tag.clone()))),
        (&day, &[], Ok(None)),
        (&day, &[("last-modified", NOW)], Ok(Some(day.clone()))),
        (&day, &[("etag", "\"b\"")], Ok(Some(etag("\"b\"")))),
    ];
    for (ours, lines, expected) in table {
        let lines = [&minute[..], lines].concat();
        match (answer(304, &lines, &Asked { validator: Some(ours), ..HONOUR }), expected) {
            (Answer::NotModified { windows, validator }, Ok(expected)) => {
                assert_eq!(in_seconds(windows), [Some(60), None, None]);
                assert_eq!(validator, *expected, "{ours:?} {lines:?}");
            }
            (Answer::Failed { .. }, Err(())) => {}
            (other, _) => panic!("{ours:?} {lines:?}: {other:?}"),
        }
    }
}

#[test]
fn validators_are_kept_as_sent() {
    let long_tag = format!("\"{}\"", "x".repeat(MAX_VALIDATOR_LEN - 2));
    let longer_tag = format!("\"{}\"", "x".repeat(MAX_VALIDATOR_LEN - 1));
    let table: &[(Lines<'_>, Option<Validator>)] = &[
        (&[], None),
        (&[("etag", "\"a\"")], Some(Validator::ETag(b"\"a\""[..].into()))),
        (&[("etag", "W/\"a,b\"")], Some(Validator::ETag(b"W/\"a,b\""[..].into()))),
        (&[("etag", " \"\" ")], Some(Validator::ETag(b"\"\""[..].into()))),
        (&[("etag", &long_tag)], Some(Validator::ETag(long_tag.as_bytes().into()))),
        (&[("etag", "\"a\""), ("last-modified", NOW)], Some(etag("\"a\""))),
        (&[("last-modified", NOW)], Some(Validator::LastModified(NOW.as_bytes().into()))),
        // Kept with windows of no length too.
        (&[("etag", "\"a\""), ("cache-control", "no-cache")], Some(etag("\"a\""))),
        (&[("etag", "\"a\""), ("cache-control", "max-age=0, must-revalidate")], Some(etag("\"a\""))),
        // Dropped.
        (&[("etag", &longer_tag)], None),
        (&[("etag", &longer_tag), ("last-modified", NOW)], Some(date(NOW))),
        (&[("etag", "*"), ("last-modified", NOW)], Some(date(NOW))),
        (&[("etag", "a")], None),
        (&[("etag", "\"a\", \"b\"")], None),
        (&[("etag", "\"a\""), ("etag", "\"b\"")], None),
        (&[("etag", "\"")], None),
        (&[("etag", "w/\"a\"")], None),
        (&[("last-modified", "yesterday")], None),
    ];
    for (lines, expected) in table {
        let Answer::Value { validator, .. } = answer(200, lines, &HONOUR) else { panic!("{lines:?}") };
        assert_eq!(validator, *expected, "{lines:?}");
    }
    let header = |validator: Validator| validator.header().map(|(name, value)| (name.to_string(), value));
    assert_eq!(header(etag("\"a\"")), Some(("if-none-match".to_owned(), HeaderValue::from_static("\"a\""))));
    assert_eq!(header(date(NOW)), Some(("if-modified-since".to_owned(), HeaderValue::from_static(NOW))));
    assert_eq!(header(Validator::ETag(b"\"a\r\nx: y\""[..].into())), None);
    for kept in [etag("\"a\""), etag("W/\"a\""), date(NOW)] {
        assert_eq!(Validator::from_bytes(&kept.to_bytes()), Some(kept));
    }
    for foreign in [&b""[..], b"a", b"*", b"\"a", b"W/a", b"yesterday"] {
        assert_eq!(Validator::from_bytes(foreign), None, "{foreign:?}");
    }
}

#[test]
fn tags_are_merged_or_the_answer_is_not_stored() {
    let tags = |lines: Lines<'_>| match answer(200, lines, &HONOUR) {
        Answer::Value { tags, .. } => {
            Some(tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect::<Vec<_>>().join("|"))
        }
        Answer::NoStore => None,
        other => panic!("{other:?}"),
    };
    let numbered = |range: std::ops::Range<u32>, between: &str| {
        range.map(|tag| format!("t{tag}")).collect::<Vec<_>>().join(between)
    };
    let table: &[(Lines<'_>, Option<&str>)] = &[
        (&[], Some("")),
        (&[("surrogate-key", "a  b\tc d,e")], Some("a|b|c|d,e")),
        (&[("cache-tag", "a, b c ,,d,")], Some("a|b c|d")),
        (&[("xkey", "a, b c\t,d")], Some("a|b|c|d")),
        (&[("surrogate-key", "a b"), ("surrogate-key", "c"), ("cache-tag", "b,d"), ("xkey", "a e")], Some("a|b|c|d|e")),
        (&[("surrogate-key", "A a")], Some("A|a")),
        (&[("surrogate-key", ""), ("cache-tag", " , ,"), ("xkey", " ")], Some("")),
        (&[("surrogate-key", &numbered(0..65, " "))], None),
        (&[("surrogate-key", &numbered(0..40, " ")), ("cache-tag", &numbered(30..65, ","))], None),
        (&[("cache-tag", &"x".repeat(MAX_TAG_LEN + 1))], None),
    ];
    for (lines, expected) in table {
        assert_eq!(tags(lines).as_deref(), *expected, "{lines:?}");
    }
    let most = numbered(0..64, " ");
    let twice = [("surrogate-key", &most[..]), ("xkey", &most[..])];
    assert_eq!(tags(&twice), Some(most.replace(' ', "|")));
    let longest = "x".repeat(MAX_TAG_LEN);
    assert_eq!(tags(&[("cache-tag", &longest)]), Some(longest));
}
