//! Fixed cases: the samples of RFC 8785, and one payload or more for each promise and refusal.

mod model;
mod properties;

use std::borrow::Cow;

use model::{Choices, Document, Number, spell};

use super::{Canonical, Form, MAX_DEPTH, NotCanonical, Reason, canonical, id};

/// The canonical text of a payload that has to be accepted as JSON.
fn json(payload: &str) -> String {
    let found = canonical(payload.as_bytes(), Form::Json).unwrap_or_else(|e| panic!("{e}: {payload:.200}"));
    assert!(found.is_json);
    String::from_utf8(found.bytes.into_owned()).unwrap()
}

/// Why a payload is refused as JSON.
fn refusal(payload: impl AsRef<[u8]>) -> Reason {
    let payload = payload.as_ref();
    let refusal = canonical(payload, Form::Json).unwrap_err();
    assert!(refusal.at <= payload.len());
    refusal.reason
}

#[test]
fn numbers_of_appendix_b() {
    let samples = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, expected) in samples {
        assert_eq!(json(expected), expected);
        assert_eq!(expected.parse(), Ok(f64::from_bits(bits)));
        let number = Number::shortest(f64::from_bits(bits));
        assert_eq!(number.printed(), expected, "{bits:016x}");
        for seed in 0..20 {
            assert_eq!(json(&spell(&Document::Number(number.clone()), &mut Choices(seed))), expected);
        }
    }
    for absent in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(refusal(absent), Reason::Syntax);
    }
}

#[test]
fn document_of_section_3_2() {
    let sample = r#"{
        "numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    );
    assert_eq!(json(sample), expected);
    // The sample of the RFC has a number that a double does not hold exactly.
    assert_eq!(refusal(sample.replace("333333333.3333333", "333333333.33333329")), Reason::Number);
}

#[test]
fn members_of_section_3_2_3() {
    let sample = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = concat!(
        r#"{"\r":"Carriage Return","1":"One","#,
        "\"\u{80}\":\"Control\",\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",",
        "\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
    assert_eq!(json(sample), expected);
}

#[test]
fn members_are_in_the_order_of_their_unescaped_names() {
    assert_eq!(json(r#"{"b":2,"a":1,"":0}"#), r#"{"":0,"a":1,"b":2}"#);
    assert_eq!(json(r#"{"aa":1,"a":0}"#), r#"{"a":0,"aa":1}"#);
    // A quote is before a digit, and a backslash after a capital letter, although both are written with a backslash.
    assert_eq!(json(r#"{"0":0,"\"":1,"a":2,"\\":3,"A":4}"#), r#"{"\"":1,"0":0,"A":4,"\\":3,"a":2}"#);
    assert_eq!(json(r#"{"\u001f":0,"\n":1,"\u0000":2}"#), r#"{"\u0000":2,"\n":1,"\u001f":0}"#);
    assert_eq!(
        json(r#"[{"b":{"d":[{"f":0,"e":1}],"c":2},"a":{"h":3,"g":4}},{"j":5,"i":6}]"#),
        r#"[{"a":{"g":4,"h":3},"b":{"c":2,"d":[{"e":1,"f":0}]}},{"i":6,"j":5}]"#,
    );
    // Members out of order may hold members in order, and the other way round.
    assert_eq!(json(r#"{"b":{"c":0,"d":0},"a":0}"#), r#"{"a":0,"b":{"c":0,"d":0}}"#);
    assert_eq!(json(r#"{"a":{"d":0,"c":0},"b":0}"#), r#"{"a":{"c":0,"d":0},"b":0}"#);
}

#[test]
fn strings_have_one_spelling() {
    assert_eq!(json(r#""\u0008\u0009\u000a\u000c\u000d\u0022\u005c\u002f""#), r#""\b\t\n\f\r\"\\/""#);
    assert_eq!(json(r#""\u0000\u000B\u001F\u007f\u0061""#), "\"\\u0000\\u000b\\u001f\u{7f}a\"");
    assert_eq!(json(r#""\uD83D\ude00\u2028\uffff\u00e9""#), "\"\u{1f600}\u{2028}\u{ffff}\u{e9}\"");
    // There is no Unicode normalisation.
    assert_ne!(json("\"\u{e9}\""), json("\"e\u{301}\""));
}

#[test]
fn numbers_have_one_spelling() {
    for one in ["1", "1.0", "1e0", "1E+00", "100e-2", "0.01e2", "0.1e+1", "1.000000000000000000000000000"] {
        assert_eq!(json(one), "1", "{one}");
    }
    for zero in ["0", "-0", "0.0", "-0.0", "0e5", "-0E-7", "0e99999999999", "0.000e-99999999999999999999999"] {
        assert_eq!(json(zero), "0", "{zero}");
    }
    assert_eq!(json("[-1,-1.50,999999999999999,1000000000000000]"), "[-1,-1.5,999999999999999,1000000000000000]");
    assert_eq!(json("[1e20,1e21,123e-8,0.000001]"), "[100000000000000000000,1e+21,0.00000123,0.000001]");
    assert_eq!(json("9007199254740992"), "9007199254740992");
    assert_eq!(json("5e-324"), "5e-324");
}

#[test]
fn numbers_that_a_double_would_change_are_refused() {
    let changed = [
        "9007199254740993",
        "-9007199254740993",
        "0.10000000000000001",
        "0.1000000000000000055511151231257827021181583404541015625",
        "295147905179352825856",
        "4.9406564584124654e-324",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1e400",
        "5e-400",
        "1e999999999999999999999",
        "-1e-999999999999999999999",
    ];
    for number in changed {
        assert_eq!(refusal(number), Reason::Number, "{number}");
    }
}

#[test]
fn long_numbers_are_exact() {
    let zeros = "0".repeat(700_000);
    assert_eq!(json(&format!("0.{zeros}1e700001")), "1");
    assert_eq!(json(&format!("1{zeros}e-700000")), "1");
    assert_eq!(json(&format!("12.5{zeros}")), "12.5");
    assert_eq!(json(&format!("3e{zeros}2")), "300");
    assert_eq!(json(&format!("-0.{zeros}e9{zeros}")), "0");
    assert_eq!(refusal(format!("1{zeros}1e-700001")), Reason::Number);
    assert_eq!(refusal(format!("0.{zeros}1e-9{zeros}")), Reason::Number);
    assert_eq!(refusal(format!("1{zeros}e9{zeros}")), Reason::Number);
    assert_eq!(refusal("7".repeat(1_000_000)), Reason::Number);
}

#[test]
fn what_rfc_8259_does_not_allow_is_refused() {
    let syntax = concat!(
        " | \t\r\n|{|[|]|}|[1|[1,|[1,]|[,1]|[1 2]|{}{}|[]x|1 2",
        "|nul|nulll|True|'a'|// c\n1|\u{feff}1|\u{a0}1|[1]\0|\u{c}1",
        r#"|{"a"}|{"a":}|{"a":1,}|{a:1}|{1:1}|{"a" 1}|{"a":1 "b":2}|{,}|{"a":1]|[1}|{"a":1|{"#,
        r#"|"|"a|"\|"\"|"\a"|"\U0041"|"\x41"|"\u"|"\u12"|"\u12g4"|"\u+123"|"\u 123"|"\ud83d\u+e00"|"\u123€""#,
        "|\"\n\"|\"\t\"|\"\0\"|\"\u{1f}\"",
        "|01|-01|00|-|+1|.5|1.|1.e1|-.5|1e|1e+|1E-|1e1.5|1.2.3|0x10|1_000|--1|- 1|1e 5|١|½",
    );
    for payload in syntax.split('|') {
        assert_eq!(refusal(payload), Reason::Syntax, "{payload}");
    }
    for payload in [&b"\xff"[..], b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"[\"\xf4\x90\x80\x80\"]", b"\xef\xbb"] {
        assert_eq!(refusal(payload), Reason::Utf8, "{payload:?}");
    }
    assert_eq!(canonical(b"", Form::Json), Err(NotCanonical { reason: Reason::Syntax, at: 0 }));
    assert_eq!(canonical(b"[1, x]", Form::Json), Err(NotCanonical { reason: Reason::Syntax, at: 4 }));
}

#[test]
fn repeated_names_are_refused() {
    let repeated = [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\n":1,"\u000A":2}"#,
        r#"{"/":1,"\/":2}"#,
        r#"{"😀":1,"\uD83D\uDE00":2}"#,
        r#"[{"":{"":0,"":0}}]"#,
    ];
    for payload in repeated {
        assert_eq!(refusal(payload), Reason::Name, "{payload}");
    }
    assert_eq!(json(r#"{"a":{"a":[{"a":0}]},"A":0}"#), r#"{"A":0,"a":{"a":[{"a":0}]}}"#);
}

#[test]
fn lone_surrogates_are_refused() {
    let lone =
        [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\ud83d\ude00""#, r#""\ud83dx""#, r#""\ude00\ud83d""#, r#""\uDBFF\n""#];
    for payload in lone {
        assert_eq!(refusal(payload), Reason::Surrogate, "{payload}");
    }
}

#[test]
fn depth_is_bounded() {
    let arrays = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth| r#"{"b":0,"a":"#.repeat(depth) + "0" + &"}".repeat(depth);
    assert_eq!(json(&arrays(MAX_DEPTH)), arrays(MAX_DEPTH));
    assert_eq!(refusal(arrays(MAX_DEPTH + 1)), Reason::Depth);
    assert_eq!(json(&objects(MAX_DEPTH)), r#"{"a":"#.repeat(MAX_DEPTH) + "0" + &r#","b":0}"#.repeat(MAX_DEPTH));
    assert_eq!(refusal(objects(MAX_DEPTH + 1)), Reason::Depth);
    assert_eq!(refusal("[".repeat(1_000_000)), Reason::Depth);
    assert_eq!(refusal(r#"{"":"#.repeat(1_000_000)), Reason::Depth);
    // Values beside one another are not nested.
    let wide = format!("[{}{{}}]", "[],{},".repeat(1_000));
    assert_eq!(json(&wide), wide);
}

#[test]
fn forms() {
    let bytes = |payload| Ok(Canonical { bytes: Cow::Borrowed(payload), is_json: false });
    for payload in [&b"{\"b\":1, \"a\":2}"[..], b"", b"\xff\x00", b"[1]", b"[9007199254740993]"] {
        assert_eq!(canonical(payload, Form::Bytes), bytes(payload));
    }
    for payload in [&b"1.0"[..], b" \"a\"", b"", b"  ", b"{", b"[1]]", b"\xef\xbb\xbf[]", b"\x0c[]", b"[\"\xff\"]"] {
        assert_eq!(canonical(payload, Form::Auto), bytes(payload));
    }
    for refused in [&b"[9007199254740993]"[..], br#"{"a":1,"a":1}"#, br#"["\ud800"]"#] {
        assert_eq!(canonical(refused, Form::Auto), bytes(refused));
    }
    let owned = |text: &[u8]| Ok(Canonical { bytes: Cow::Owned(text.to_vec()), is_json: true });
    assert_eq!(canonical(b" \t\r\n[ 1.0 ]", Form::Auto), owned(b"[1]"));
    assert_eq!(canonical(b" 1.0 ", Form::Json), owned(b"1"));
    for form in [Form::Auto, Form::Json] {
        let found = canonical(b"{\"a\":1}", form).unwrap();
        assert!(found.is_json && matches!(found.bytes, Cow::Borrowed(_)));
        assert!(matches!(canonical(b"{ \"a\":1}", form).unwrap().bytes, Cow::Owned(_)));
    }
}

#[test]
fn ids_are_lower_case_hex_sha_256() {
    assert_eq!(&id(b""), b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(&id(b"abc"), b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(&id(b"{}"), b"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

#[test]
fn refusals_are_printed() {
    let printed = |payload: &str| canonical(payload.as_bytes(), Form::Json).unwrap_err().to_string();
    assert_eq!(printed("[1,]"), "invalid JSON at byte 3");
    assert_eq!(printed(r#"{"a":1,"a":1}"#), "an object with a repeated member name at byte 12");
    assert_eq!(printed(&"[".repeat(200)), "more than 128 nested values at byte 128");
}
