//! What a setting may hold: parsing, bounds, and the text `CONFIG GET` shows.

use std::borrow::Cow;

/// Largest number a setting can hold.
pub const MAX: i64 = i64::MAX;
/// Largest number of settings that Redis keeps in 32 bits.
pub const MAX_INT: i64 = i32::MAX as i64;

/// Classes of connections that have their own output limits, in the order of [`Value::OutputLimits`].
pub const OUTPUT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// Letters of `notify-keyspace-events` for types of keys and events: `A` is all of them.
const EVENT_TYPES: &str = "g$lshzxetd";
/// The other letters: a new key, keyspace and keyevent channels, a missed key. `n` stands among the types, so like
/// Redis it is not shown beside `A`, though `A` does not mean it.
const EVENT_EXTRAS: &str = "nKEm";

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of bytes, with an optional unit: `b`, `k` = 1000, `kb` = 1024, likewise `m`, `mb`, `g`, `gb`.
    Bytes {
        /// Least allowed.
        min: i64,
        /// Most allowed.
        max: i64,
    },
    /// A whole number.
    Integer {
        /// Least allowed.
        min: i64,
        /// Most allowed.
        max: i64,
    },
    /// `yes` or `no`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// Words separated by spaces.
    Words,
    /// Permission bits in octal.
    Permissions,
    /// `class hard soft seconds`, once for each class that is to change.
    OutputLimits,
    /// Letters that select keyspace events.
    Events,
}

/// How much may wait to be sent to one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which the connection is closed at once; 0 = no limit.
    pub hard_bytes: u64,
    /// Bytes that may not be exceeded for long; 0 = no limit.
    pub soft_bytes: u64,
    /// How long is long, in seconds.
    pub soft_s: u64,
}

/// What a setting holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of `Bytes`, `Integer` and `Permissions`.
    Number(i64),
    /// Of `Switch`.
    Switch(bool),
    /// Of `Choice`.
    Choice(&'static str),
    /// Of `Text` and `Words`.
    Text(Vec<u8>),
    /// Of `OutputLimits`.
    OutputLimits([OutputLimit; 3]),
    /// Of `Events`: a bit for each letter of types, then of extras.
    Events(u32),
}

/// Why a text is no value of a kind, in Redis' words.
pub type Refusal = Cow<'static, str>;

impl Kind {
    /// The value `text` stands for. `current` is in force now: some kinds change only a part of it.
    pub fn parse(self, text: &[u8], current: Option<&Value>) -> Result<Value, Refusal> {
        match self {
            Self::Bytes { min, max } => {
                let number = parse_bytes(text).ok_or("argument must be a memory value")?;
                in_range(number, min, max)
            }
            Self::Integer { min, max } => {
                let number = protocol::number::parse_i64(text).ok_or("argument couldn't be parsed into an integer")?;
                in_range(number, min, max)
            }
            Self::Switch if text.eq_ignore_ascii_case(b"yes") => Ok(Value::Switch(true)),
            Self::Switch if text.eq_ignore_ascii_case(b"no") => Ok(Value::Switch(false)),
            Self::Switch => Err("argument must be 'yes' or 'no'".into()),
            Self::Choice(words) => match words.iter().find(|word| word.as_bytes().eq_ignore_ascii_case(text)) {
                Some(word) => Ok(Value::Choice(word)),
                None => Err(format!("argument(s) must be one of the following: {}", words.join(", ")).into()),
            },
            Self::Text => Ok(Value::Text(text.to_vec())),
            Self::Words => Ok(Value::Text(words(text).collect::<Vec<_>>().join(&b' '))),
            Self::Permissions => parse_permissions(text)
                .map(Value::Number)
                .ok_or(Cow::Borrowed("argument must be an octal number between 0 and 777")),
            Self::OutputLimits => {
                let mut limits = match current {
                    Some(Value::OutputLimits(limits)) => *limits,
                    _ => Default::default(),
                };
                change_limits(&mut limits, text)?;
                Ok(Value::OutputLimits(limits))
            }
            Self::Events => parse_events(text)
                .map(Value::Events)
                .ok_or(Cow::Borrowed("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")),
        }
    }

    /// What to write for a value in help and documentation.
    pub fn placeholder(self) -> Cow<'static, str> {
        match self {
            Self::Bytes { .. } => "bytes".into(),
            Self::Integer { .. } => "number".into(),
            Self::Switch => "yes|no".into(),
            Self::Choice(words) => words.join("|").into(),
            Self::Text => "text".into(),
            Self::Words => "words".into(),
            Self::Permissions => "octal".into(),
            Self::OutputLimits => "class hard soft seconds ..".into(),
            Self::Events => "letters".into(),
        }
    }
}

impl Value {
    /// The text `CONFIG GET` shows; reads back as this value.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Switch(on) => if *on { "yes" } else { "no" }.into(),
            Self::Choice(word) => word.as_bytes().to_vec(),
            Self::Text(text) => text.clone(),
            Self::OutputLimits(limits) => {
                let shown = |(class, limit): (&str, &OutputLimit)| {
                    format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_s)
                };
                OUTPUT_CLASSES.into_iter().zip(limits).map(shown).collect::<Vec<_>>().join(" ").into_bytes()
            }
            Self::Events(bits) => events_text(*bits).into_bytes(),
        }
    }

    /// The number of a numeric setting; 0 for others.
    pub fn number(&self) -> i64 {
        if let Self::Number(number) = self { *number } else { 0 }
    }

    /// Whether this is a switch that is on.
    pub fn is_on(&self) -> bool {
        matches!(self, Self::Switch(true))
    }
}

fn in_range(number: i64, min: i64, max: i64) -> Result<Value, Refusal> {
    if (min..=max).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(format!("argument must be between {min} and {max} inclusive").into())
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A number of bytes with an optional unit. As in Redis an empty text is 0.
pub fn parse_bytes(text: &[u8]) -> Option<i64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(digits);
    let factor: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let parsed = |digits| std::str::from_utf8(digits).ok()?.parse::<i64>().ok()?.checked_mul(factor);
    if digits.is_empty() { unit.is_empty().then_some(0) } else { parsed(digits) }
}

fn parse_permissions(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let bits = is_plain.then(|| i64::from_str_radix(text, 8).ok()).flatten()?;
    // Shown as typed: 0o700 is the text `700`.
    (bits <= 0o777).then(|| text.parse().ok()).flatten()
}

/// The permission bits that the number of a [`Kind::Permissions`] setting, read as octal digits, stands for.
pub fn permission_bits(number: i64) -> u32 {
    u32::from_str_radix(&number.to_string(), 8).unwrap_or(0)
}

fn change_limits(limits: &mut [OutputLimit; 3], text: &[u8]) -> Result<(), Refusal> {
    let words: Vec<&[u8]> = words(text).collect();
    let (groups, rest) = words.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for [class, hard, soft, seconds] in groups {
        let class = if class.eq_ignore_ascii_case(b"replica") { b"slave" } else { *class };
        let class = OUTPUT_CLASSES
            .iter()
            .position(|known| known.as_bytes().eq_ignore_ascii_case(class))
            .ok_or("Invalid client class specified in buffer limit configuration.")?;
        let bytes = |word| parse_bytes(word).and_then(|bytes| u64::try_from(bytes).ok());
        let seconds = protocol::number::parse_i64(seconds).and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_s)) = (bytes(hard), bytes(soft), seconds) else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        limits[class] = OutputLimit { hard_bytes, soft_bytes, soft_s };
    }
    Ok(())
}

fn parse_events(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |bits, byte| {
        let letter = char::from(*byte);
        let bit = EVENT_TYPES.chars().chain(EVENT_EXTRAS.chars()).position(|known| known == letter);
        match bit {
            _ if letter == 'A' => Some(bits | all_types()),
            Some(bit) => Some(bits | 1 << bit),
            None => None,
        }
    })
}

fn all_types() -> u32 {
    (1 << EVENT_TYPES.len()) - 1
}

fn events_text(bits: u32) -> String {
    let chosen = |at: usize| bits >> at & 1 == 1;
    let all = bits & all_types() == all_types();
    let types = EVENT_TYPES.chars().enumerate().filter(|(at, _)| !all && chosen(*at));
    let hidden = |letter| all && letter == 'n';
    let extras = EVENT_EXTRAS.chars().enumerate();
    let extras = extras.filter(|(at, letter)| chosen(EVENT_TYPES.len() + at) && !hidden(*letter));
    all.then_some('A').into_iter().chain(types.chain(extras).map(|(_, letter)| letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, text: &str) -> Result<String, String> {
        kind.parse(text.as_bytes(), None).map(|value| String::from_utf8(value.text()).unwrap()).map_err(Cow::into_owned)
    }

    #[test]
    fn bytes_have_units() {
        let kind = Kind::Bytes { min: 0, max: MAX };
        for (text, bytes) in [
            ("", "0"),
            ("0", "0"),
            ("12", "12"),
            ("12b", "12"),
            ("1k", "1000"),
            ("1KB", "1024"),
            ("3m", "3000000"),
            ("3Mb", "3145728"),
            ("2g", "2000000000"),
            ("2gb", "2147483648"),
        ] {
            assert_eq!(shown(kind, text).as_deref(), Ok(bytes), "{text}");
        }
        for text in ["-1", "x", "1x", "0x10", "1 mb", "mb", "99999999999999999999", "9999999999999gb"] {
            assert_eq!(shown(kind, text).unwrap_err(), "argument must be a memory value", "{text}");
        }
        let error = shown(Kind::Bytes { min: 10, max: 20 }, "9").unwrap_err();
        assert_eq!(error, "argument must be between 10 and 20 inclusive");
    }

    #[test]
    fn integers_switches_and_choices() {
        let integer = Kind::Integer { min: -1, max: 9 };
        assert_eq!(shown(integer, "-1").as_deref(), Ok("-1"));
        assert_eq!(shown(integer, "10").unwrap_err(), "argument must be between -1 and 9 inclusive");
        for text in ["", "x", "1.5", "99999999999999999999"] {
            assert_eq!(shown(integer, text).unwrap_err(), "argument couldn't be parsed into an integer", "{text}");
        }
        assert_eq!(shown(Kind::Switch, "YES").as_deref(), Ok("yes"));
        assert_eq!(shown(Kind::Switch, "true").unwrap_err(), "argument must be 'yes' or 'no'");
        let choice = Kind::Choice(&["debug", "notice"]);
        assert_eq!(shown(choice, "Debug").as_deref(), Ok("debug"));
        assert_eq!(shown(choice, "x").unwrap_err(), "argument(s) must be one of the following: debug, notice");
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(shown(Kind::Permissions, "700").as_deref(), Ok("700"));
        assert_eq!(permission_bits(700), 0o700);
        for text in ["", "8", "1777", "+7", "07777", "x"] {
            assert!(shown(Kind::Permissions, text).is_err(), "{text}");
        }
    }

    #[test]
    fn output_limits_change_class_by_class() {
        let kind = Kind::OutputLimits;
        let first = kind.parse(b"replica 1mb 1k 60", None).unwrap();
        assert_eq!(first.text(), b"normal 0 0 0 slave 1048576 1000 60 pubsub 0 0 0");
        let second = kind.parse(b" normal 1 2 3  pubsub 4 5 6 ", Some(&first)).unwrap();
        assert_eq!(second.text(), b"normal 1 2 3 slave 1048576 1000 60 pubsub 4 5 6");
        assert_eq!(kind.parse(&second.text(), None), Ok(second));
        for (text, reason) in [
            ("normal 1 2", "Wrong number of arguments"),
            ("master 1 2 3", "Invalid client class"),
            ("normal -1 2 3", "Error in hard, soft or soft_seconds"),
            ("normal 1 2 3s", "Error in hard, soft or soft_seconds"),
        ] {
            assert!(shown(kind, text).unwrap_err().starts_with(reason), "{text}");
        }
    }

    #[test]
    fn events_have_one_canonical_text() {
        for (text, canonical) in [
            ("", ""),
            ("Egx", "gxE"),
            ("KEA", "AKE"),
            ("g$lshzxetdKE", "AKE"),
            ("mKEx", "xKEm"),
            ("tdKE", "tdKE"),
            ("KnEA", "AKE"),
            ("nEg", "gnE"),
        ] {
            assert_eq!(shown(Kind::Events, text).as_deref(), Ok(canonical), "{text}");
        }
        assert!(shown(Kind::Events, "Q").unwrap_err().starts_with("Invalid event class character."));
    }

    #[test]
    fn words_are_set_one_space_apart() {
        assert_eq!(shown(Kind::Words, "  a\t-b ").as_deref(), Ok("a -b"));
        assert_eq!(shown(Kind::Text, " a b ").as_deref(), Ok(" a b "));
    }
}
