//! The promises of the module, against random documents, payloads and numbers.

use proptest::{collection::vec, prelude::*};

use super::{
    super::{Canonical, Form, Reason, canonical, id},
    json,
    model::{Choices, Document, Number, change, documents, doubles, reference, spell},
};

proptest! {
    #[test]
    fn every_spelling_of_a_document_has_its_reference_form(document in documents(), seed: u64) {
        let mut choices = Choices(seed);
        let expected = reference(&document);
        for _ in 0..3 {
            let spelled = spell(&document, &mut choices);
            prop_assert_eq!(json(&spelled), &*expected, "{}", spelled);
            let is_container = matches!(document, Document::Array(_) | Document::Object(_));
            let auto = canonical(spelled.as_bytes(), Form::Auto).unwrap();
            let auto_expected = if is_container { &expected } else { &spelled };
            prop_assert_eq!(auto.is_json, is_container);
            prop_assert_eq!(id(&auto.bytes), id(auto_expected.as_bytes()));
        }
        prop_assert_eq!(json(&expected), expected);
    }

    #[test]
    fn different_documents_differ_in_form_and_id(document in documents(), seed: u64) {
        let mut choices = Choices(seed);
        let mut other = document.clone();
        change(&mut other, &mut choices);
        let form = json(&spell(&document, &mut choices));
        let other_form = json(&spell(&other, &mut choices));
        prop_assert_eq!(form == other_form, document == other, "{} {}", form, other_form);
        prop_assert_eq!(id(form.as_bytes()) == id(other_form.as_bytes()), document == other);
    }

    #[test]
    fn random_bytes_are_read_as_serde_json_does(payload in vec(any::<u8>(), 0..64)) {
        check_any(&payload)?;
    }

    #[test]
    fn random_tokens_are_read_as_serde_json_does(
        payload in concat!(
            "([\\[\\]{},: ]|\"a\"|\"\"|[-+.eE0-9]{1,4}|null|true",
            "|\"|\\\\|\\\\u|d8|dc|00|\u{20ac}|\u{feff}|\n){0,24}",
        ),
    ) {
        check_any(payload.as_bytes())?;
    }

    #[test]
    fn random_strings_are_read_as_serde_json_does(
        content in concat!(
            "(\\\\[\"\\\\/bfnrtuxU]|\\\\u[dD][89abcdefABCDEF][0-9a-f]{2}",
            "|\\\\u00[0-9A-F]{2}|[ -~]|\u{1f}|\u{1f600}){0,8}",
        ),
    ) {
        check_any(format!("\"{content}\"").as_bytes())?;
        check_any(format!("{{\"{content}\":0,\"\\ud83d\\ude00\":1}}").as_bytes())?;
    }

    #[test]
    fn damaged_documents_are_read_as_serde_json_does(document in documents(), seed: u64) {
        let mut choices = Choices(seed);
        let mut payload = spell(&document, &mut choices).into_bytes();
        for _ in 0..=choices.below(4) {
            damage(&mut payload, &mut choices);
        }
        check_any(&payload)?;
    }

    #[test]
    fn numbers_are_accepted_where_their_shortest_double_is_equal(
        text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][-+]?[0-9]{1,3})?",
        double in doubles(),
        digits in 0_usize..30,
    ) {
        check_number(&text)?;
        check_number(&format!("{double:.digits$e}"))?;
        check_number(&format!("{double:e}"))?;
        if double.abs() < 1e60 {
            check_number(&format!("{double:.digits$}"))?;
        }
    }
}

/// Checks what holds for every payload: nothing panics, the refusals are those of serde_json and the listed ones, and
/// each form keeps its promise.
fn check_any(payload: &[u8]) -> Result<(), TestCaseError> {
    let is_valid = serde_json::from_slice::<serde_json::Value>(payload).is_ok();
    let found = canonical(payload, Form::Json);
    match &found {
        Ok(Canonical { bytes, is_json }) => {
            prop_assert!(is_valid && *is_json);
            prop_assert!(bytes.len() * 4 <= payload.len() * 21);
            let again = canonical(bytes, Form::Json).unwrap();
            prop_assert_eq!(&again.bytes, bytes);
            prop_assert!(matches!(again.bytes, std::borrow::Cow::Borrowed(_)));
        }
        Err(refusal) => {
            prop_assert!(refusal.at <= payload.len());
            let is_extra = matches!(refusal.reason, Reason::Name | Reason::Number | Reason::Depth);
            prop_assert!(is_extra || !is_valid, "{}", refusal);
        }
    }
    let auto = canonical(payload, Form::Auto).unwrap();
    // A form feed is white space here but not in JSON, which refuses it.
    let is_container = matches!(payload.trim_ascii_start().first(), Some(b'[' | b'{'));
    prop_assert_eq!(auto.is_json, is_container && found.is_ok());
    prop_assert_eq!(&*auto.bytes, if auto.is_json { &found.as_ref().unwrap().bytes } else { payload });
    prop_assert_eq!(&*canonical(payload, Form::Bytes).unwrap().bytes, payload);
    Ok(())
}

/// Changes, removes, inserts or repeats a few bytes.
fn damage(payload: &mut Vec<u8>, choices: &mut Choices) {
    const BYTES: &[u8] = b"[]{},:\"\\u0d8eE-+. \n\0\x80\xed\xa0\xf0\xff";
    let at = choices.below(payload.len() + 1);
    let end = (at + choices.below(8)).min(payload.len());
    let byte = BYTES[choices.below(BYTES.len())];
    match choices.below(4) {
        0 if at < payload.len() => payload[at] = byte,
        1 => payload.insert(at, byte),
        2 => drop(payload.drain(at..end)),
        _ => {
            let repeated = payload[at..end].to_vec();
            payload.splice(at..at, repeated);
        }
    }
}

/// Checks one number of the JSON grammar by writing out all its digits.
fn check_number(text: &str) -> Result<(), TestCaseError> {
    let double: f64 = text.parse().unwrap();
    let found = canonical(text.as_bytes(), Form::Json);
    let printed = if double.is_finite() { Number::shortest(double).printed() } else { "0".to_owned() };
    if written_out(text) == written_out(&printed) {
        prop_assert_eq!(&*found.unwrap().bytes, printed.as_bytes());
    } else {
        prop_assert_eq!(found.unwrap_err().reason, Reason::Number, "{}", text);
    }
    Ok(())
}

/// The digits of a number on both sides of the point, without needless zeros, and `-` before them where it is negative.
fn written_out(text: &str) -> String {
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = "0".repeat(1000);
    let digits = format!("{zeros}{}{fraction}{zeros}", whole.trim_start_matches('-'));
    let power: isize = power.parse().unwrap();
    let point = (digits.len() - zeros.len() - fraction.len()).strict_add_signed(power);
    let (whole, fraction) = digits.split_at(point);
    let written = format!("{}.{}", whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if text.starts_with('-') && written != "." { format!("-{written}") } else { written }
}
