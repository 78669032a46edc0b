//! An independent model of JSON documents: random documents, random spellings and a second writer of RFC 8785.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

/// A document. Two documents are the same where they are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Document>),
    Object(BTreeMap<String, Document>),
}

/// The value `digits * 10^exponent`. The digits neither start nor end with a zero, and zero has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Number {
    /// The shortest decimal that rounds to a finite double: of those the nearest, and of two as near the even one.
    pub fn shortest(double: f64) -> Self {
        let shortest = format!("{:e}", double.abs());
        let count = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
        // The standard library takes the odd one of two in its shortest form, and the even one for a given count.
        let nearest = format!("{:.*e}", count - 1, double.abs());
        let text = if nearest.parse() == Ok(double.abs()) { nearest } else { shortest };
        let (mantissa, power) = text.split_once('e').unwrap();
        let digits = mantissa.replace('.', "");
        if digits == "0" {
            return Self { negative: false, digits: String::new(), exponent: 0 };
        }
        let exponent = power.parse::<i32>().unwrap() - (count as i32 - 1);
        Self { negative: double < 0.0, digits, exponent }.stripped()
    }

    fn stripped(mut self) -> Self {
        while self.digits.ends_with('0') {
            self.digits.pop();
            self.exponent += 1;
        }
        self
    }

    fn double(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}0{}e{}", self.digits, self.exponent).parse().unwrap()
    }

    /// The text that ECMAScript prints.
    pub fn printed(&self) -> String {
        let (digits, count) = (self.digits.as_str(), self.digits.len() as i32);
        let point = self.exponent + count;
        let zeros = |count: i32| "0".repeat(count as usize);
        let magnitude = match point {
            _ if count == 0 => "0".to_owned(),
            point if count <= point && point <= 21 => digits.to_owned() + &zeros(point - count),
            1..=21 => format!("{}.{}", &digits[..point as usize], &digits[point as usize..]),
            -5..=0 => format!("0.{}{digits}", zeros(-point)),
            _ if count == 1 => format!("{digits}e{:+}", point - 1),
            _ => format!("{}.{}e{:+}", &digits[..1], &digits[1..], point - 1),
        };
        if self.negative { format!("-{magnitude}") } else { magnitude }
    }
}

/// A source of small choices.
pub struct Choices(pub u64);

impl Choices {
    /// The next choice, less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn zeros(&mut self, bound: usize) -> String {
        "0".repeat(self.below(bound))
    }
}

/// Writes a document in one of its many spellings.
pub fn spell(document: &Document, choices: &mut Choices) -> String {
    let mut text = space(choices);
    match document {
        Document::Null => text.push_str("null"),
        Document::Bool(value) => text.push_str(&value.to_string()),
        Document::Number(number) => text.push_str(&spell_number(number, choices)),
        Document::String(value) => text.push_str(&spell_string(value, choices)),
        Document::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| spell(item, choices)).collect();
            text.push_str(&enclose('[', &items, ']', choices));
        }
        Document::Object(members) => {
            let mut spelled = Vec::new();
            for (name, value) in members {
                let member =
                    [space(choices), spell_string(name, choices), space(choices), ":".into(), spell(value, choices)];
                spelled.insert(choices.below(spelled.len() + 1), member.concat());
            }
            text.push_str(&enclose('{', &spelled, '}', choices));
        }
    }
    text + &space(choices)
}

fn enclose(open: char, items: &[String], close: char, choices: &mut Choices) -> String {
    let inner = if items.is_empty() { space(choices) } else { items.join(",") };
    format!("{open}{inner}{close}")
}

fn space(choices: &mut Choices) -> String {
    (0..choices.below(3)).map(|_| choices.of(&[' ', '\t', '\n', '\r'])).collect()
}

fn spell_number(number: &Number, choices: &mut Choices) -> String {
    if number.digits.is_empty() {
        return choices.of(&["0", "-0", "0.0", "-0.00", "0e7", "-0E-07", "0.0e+99999999999999999999"]).to_owned();
    }
    let mut digits = number.digits.clone();
    // How many digits follow the point: any count, or the one that needs no exponent.
    let mut fraction = choices.below(digits.len() + 4);
    if choices.below(2) == 0 && (-40..=40).contains(&number.exponent) {
        digits.push_str(&"0".repeat(number.exponent.max(0) as usize));
        fraction = (-number.exponent).max(0) as usize;
    }
    let extra = choices.zeros(3);
    if fraction > 0 || choices.below(2) == 0 {
        digits.push_str(&extra);
        fraction += extra.len();
    }
    let power = number.exponent + fraction as i32 - (digits.len() - number.digits.len()) as i32;
    let digits = format!("{digits:0>width$}", width = fraction + 1);
    let (whole, fraction) = digits.split_at(digits.len() - fraction);
    let mut text = if number.negative { format!("-{whole}") } else { whole.to_owned() };
    if !fraction.is_empty() {
        text = format!("{text}.{fraction}");
    }
    if power != 0 || choices.below(4) == 0 {
        let sign = if power < 0 { "-" } else { choices.of(&["", "+"]) };
        text = format!("{text}{}{sign}{}{}", choices.of(&['e', 'E']), choices.zeros(3), power.abs());
    }
    text
}

fn spell_string(value: &str, choices: &mut Choices) -> String {
    let mut text = "\"".to_owned();
    for char in value.chars() {
        let short = "\"\"\\\\//\u{8}b\tt\nn\u{c}f\rr".as_bytes().chunks(2).find(|pair| char == char::from(pair[0]));
        match short {
            Some(pair) if choices.below(2) == 0 => text.extend(['\\', char::from(pair[1])]),
            _ if char < ' ' || "\"\\".contains(char) || choices.below(3) == 0 => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    text.push_str("\\u");
                    for digit in format!("{unit:04x}").chars() {
                        text.push(if choices.below(2) == 0 { digit.to_ascii_uppercase() } else { digit });
                    }
                }
            }
            _ => text.push(char),
        }
    }
    text + "\""
}

/// Writes a document as RFC 8785 does.
pub fn reference(document: &Document) -> String {
    let string = |value: &String| serde_json::to_string(value).unwrap();
    match document {
        Document::Null => "null".to_owned(),
        Document::Bool(value) => value.to_string(),
        Document::Number(number) => number.printed(),
        Document::String(value) => string(value),
        Document::Array(items) => format!("[{}]", items.iter().map(reference).collect::<Vec<_>>().join(",")),
        Document::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            let members: Vec<_> = members.iter().map(|(k, v)| string(k) + ":" + &reference(v)).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Changes one place of a document a little. The result may equal the document.
pub fn change(document: &mut Document, choices: &mut Choices) {
    match document {
        Document::Null => *document = Document::Bool(false),
        Document::Bool(value) => *value = !*value,
        Document::Number(number) => {
            let double = number.double();
            let near = choices.of(&[double.next_up(), double.next_down(), -double, double / 10.0]);
            *number = Number::shortest(if near.is_finite() { near } else { 0.0 });
        }
        Document::String(value) => change_string(value, choices),
        Document::Array(items) if !items.is_empty() && choices.below(4) > 0 => {
            let index = choices.below(items.len());
            match choices.below(4) {
                0 => items.swap(0, index),
                1 => drop(items.remove(index)),
                _ => change(&mut items[index], choices),
            }
        }
        Document::Array(items) => items.push(Document::Null),
        Document::Object(members) => {
            let name = members.keys().nth(choices.below(members.len() + 1)).cloned();
            let Some((mut name, mut value)) = name.and_then(|name| members.remove_entry(&name)) else {
                members.insert("new".to_owned(), Document::Array(Vec::new()));
                return;
            };
            match choices.below(4) {
                0 => return,
                1 => change_string(&mut name, choices),
                _ => change(&mut value, choices),
            }
            members.insert(name, value);
        }
    }
}

fn change_string(value: &mut String, choices: &mut Choices) {
    match choices.below(3) {
        0 => drop(value.pop()),
        1 => value.push(choices.of(&['\0', '\\', 'u', '\u{301}', '\u{1f600}'])),
        _ => *value = value.chars().rev().collect(),
    }
}

/// Numbers that have a canonical form.
pub fn numbers() -> impl Strategy<Value = Number> {
    // A decimal of at most 15 digits in the range of normal doubles survives the way through a double.
    let decimals = (any::<bool>(), 1_u64..1_000_000_000_000_000, -300..290)
        .prop_map(|(negative, digits, exponent)| Number { negative, digits: digits.to_string(), exponent }.stripped());
    prop_oneof![
        (-1000..1000).prop_map(|integer: i32| Number::shortest(integer.into())),
        (-40..40).prop_map(|power| Number::shortest(format!("1e{power}").parse().unwrap())),
        decimals,
        doubles().prop_map(Number::shortest),
    ]
}

/// Finite doubles, with the ends of their range and the neighbourhood of powers of two among them.
pub fn doubles() -> impl Strategy<Value = f64> {
    let bits = prop_oneof![
        4 => any::<u64>(),
        1 => (0_u64..0x800, -3_i64..4).prop_map(|(power, step)| (power << 52).wrapping_add_signed(step)),
    ];
    bits.prop_map(f64::from_bits).prop_filter("finite", |double| double.is_finite())
}

/// Strings of few different characters, so that names often share a start, with every kind of escape among them.
pub fn strings() -> impl Strategy<Value = String> {
    let chars = prop_oneof![
        4 => "[ab/\"\\\\]",
        2 => "[\u{0}-\u{1f}\u{7f}-\u{a0}]",
        2 => "[\u{e9}\u{301}\u{2028}\u{d7ff}\u{e000}\u{fb33}\u{feff}\u{ffff}\u{10000}\u{1f600}\u{10ffff}]",
        1 => any::<char>().prop_map(String::from),
    ];
    vec(chars, 0..6).prop_map(|chars| chars.concat())
}

/// Documents that have a canonical form.
pub fn documents() -> impl Strategy<Value = Document> {
    let leaf = prop_oneof![
        1 => Just(Document::Null),
        1 => any::<bool>().prop_map(Document::Bool),
        4 => numbers().prop_map(Document::Number),
        4 => strings().prop_map(Document::String),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..6).prop_map(Document::Array),
            2 => vec((strings(), inner), 0..6).prop_map(|members| Document::Object(members.into_iter().collect())),
        ]
    })
}
