//! Texts that are and are not numbers, and what numbers print as.

use super::*;
use proptest::prelude::*;

#[test]
fn integers() {
    let good = [0, 1, -1, 9, 10, 99, -10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 1_000_000_000_000_000_000];
    for value in good {
        assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
    }
    let bad = [
        "",
        "-",
        "+",
        "+3",
        " 3",
        "3 ",
        "03",
        "00",
        "-0",
        "-03",
        "--1",
        "1-",
        "a",
        "0x1",
        "1.0",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999",
        "3\0",
        "3\n",
        "1e3",
        "/",
        ":",
    ];
    for text in bad {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
    }
    let mut text = b"n=".to_vec();
    push_i64(&mut text, i64::MIN);
    assert_eq!(text, b"n=-9223372036854775808");
}

#[test]
fn floats() {
    let good = [
        ("3", 3.0),
        ("-3.5", -3.5),
        ("+1", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("007", 7.0),
        ("0e999", 0.0),
        ("0.000", 0.0),
        ("1.7976931348623157e308", f64::MAX),
        ("5e-324", 5e-324),
        ("inf", f64::INFINITY),
        ("+Inf", f64::INFINITY),
        ("-INF", f64::NEG_INFINITY),
        ("Infinity", f64::INFINITY),
    ];
    for (text, value) in good {
        assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
    }
    assert!(parse_f64(b"-0").unwrap().is_sign_negative());
    let bad = [
        "", " 1", "1 ", "1\n", "nan", "-NaN", "1e400", "-1e400", "1e-400", "0.1e-400", "e5", "1e", ".", "-", "1,5",
        "0x10", "1.5.", "infi", "1f", "1_000", "3\0",
    ];
    for text in bad {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(parse_f64(b"\xff"), None);
}

#[test]
fn doubles() {
    let rows = [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (-3.0, "-3"),
        (0.1, "0.1"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (123456.789, "123456.789"),
        (1e8, "100000000"),
        (4503599627370495.0, "4503599627370495"),
        (4503599627370496.0, "4503599627370496"),
        (9007199254740993.0, "9007199254740992"),
        (1e16, "1e+16"),
        (-1e300, "-1e+300"),
        (12345678901234567890.0, "12345678901234567000"),
        (12345678910000000.0, "12345678910000000"),
        (123456789100000000.0, "1.234567891e+17"),
        (1.5e-5, "0.000015"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-10, "1.25e-10"),
        (0.001234567890123, "0.001234567890123"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (-f64::NAN, "nan"),
    ];
    for (value, text) in rows {
        assert_eq!(format_double(value).as_str(), text);
    }
    assert_eq!(format!("{:?}", format_double(1.5)), "1.5");
}

#[test]
fn incremented_floats() {
    let rows = [
        (10.6, "10.6"),
        (3.0, "3"),
        (5.0e3, "5000"),
        (1e21, "1000000000000000000000"),
        (-0.0, "0"),
        (-1e-20, "0"),
        (0.25, "0.25"),
        (1e-17, "0.00000000000000001"),
        (1.5e-17, "0.00000000000000002"),
        (0.012345678901234567, "0.01234567890123457"),
        (-2.5, "-2.5"),
    ];
    for (value, text) in rows {
        assert_eq!(format_incr_float(value), text);
    }
    assert_eq!(format_incr_float(f64::MAX).len(), 309);
}

#[test]
fn decimal_sums() {
    let rows = [
        ("10.5", "0.1", "10.6"),
        ("3.0", "0", "3"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("1", "-1", "0"),
        ("-0.5", "0.25", "-0.25"),
        ("-0", "-0.0", "0"),
        ("1e21", "0", "1000000000000000000000"),
        ("+1.", ".5", "1.5"),
        ("0e-999", "1", "1"),
        ("100e-1", "0", "10"),
        ("3", "1.000000000000000005", "4.00000000000000001"),
        ("0.00000000000000001", "0", "0.00000000000000001"),
        ("123456789012345678", "0.1", "123456789012345678.1"),
    ];
    for (a, b, sum) in rows {
        let exact = add_decimal(a.as_bytes(), b.as_bytes());
        if b.len() > 19 {
            assert_eq!(exact, None, "finer than 17 decimals");
        } else {
            assert_eq!(exact.as_deref(), Some(sum), "{a} + {b}");
        }
    }
    for bad in [
        "",
        "-",
        ".",
        "+-1",
        "inf",
        "nan",
        "1e",
        "1 ",
        "0x1",
        "1..2",
        "1e30",
        "1e-18",
        "1e99999999999",
        "0.1e2147483647",
    ] {
        assert_eq!(add_decimal(bad.as_bytes(), b"1"), None, "{bad:?}");
    }
    assert_eq!(add_decimal(b"1.7e21", b"1.7e21"), None);
}

const DECIMALS: std::ops::Range<i64> = -10_i64.pow(15)..10_i64.pow(15);

proptest! {
    #[test]
    fn integers_round_trip(value: i64, text in "[-+ 0-9]{0,21}") {
        prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        let canonical = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(parse_i64(text.as_bytes()), canonical);
    }

    #[test]
    fn doubles_round_trip(bits: u64) {
        let value = f64::from_bits(bits);
        let text = format_double(value);
        if value.is_nan() {
            prop_assert_eq!(text.as_str(), "nan");
        } else {
            prop_assert_eq!(parse_f64(&text).map(f64::to_bits), Some(bits), "{:?}", text);
        }
    }

    #[test]
    fn plain_doubles_round_trip(whole in -1_000_000_i64..1_000_000, scale in 0..12) {
        let value = whole as f64 / 10_f64.powi(scale);
        prop_assert_eq!(parse_f64(&format_double(value)), Some(value));
        prop_assert_eq!(parse_f64(format_incr_float(value).as_bytes()), Some(value));
    }

    #[test]
    fn decimal_sums_are_exact(a in DECIMALS, b in DECIMALS, decimals in 1..9_usize) {
        let scale = 10_i64.pow(decimals as u32);
        let spell = |n: i64| {
            let sign = if n < 0 { "-" } else { "" };
            format!("{sign}{}.{:0decimals$}", n.abs() / scale, n.abs() % scale)
        };
        let sum = add_decimal(spell(a).as_bytes(), spell(b).as_bytes()).unwrap();
        let plain = spell(a + b);
        prop_assert_eq!(sum, plain.trim_end_matches('0').trim_end_matches('.'));
    }

    #[test]
    fn parsers_take_any_bytes(text in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = (parse_i64(&text), parse_f64(&text), add_decimal(&text, &text));
    }
}
