//! Numbers as ECMAScript prints them, where that is their exact value.

/// The most significant digits in the shortest form of a double.
const MAX_DIGITS: usize = 17;

/// Integers with at most this many digits are doubles, and ECMAScript prints them as plain digits.
const MAX_PLAIN_DIGITS: usize = 15;

/// Writes the canonical form of a number to `out`, or returns `None` where that form is another decimal value.
/// The number is one of the JSON grammar. The work is linear in its length, whatever its exponent.
pub(super) fn write(number: &str, out: &mut String) -> Option<()> {
    if number.len() <= MAX_PLAIN_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit()) {
        out.push_str(number);
        return Some(());
    }
    let magnitude = number.strip_prefix('-').unwrap_or(number);
    let exact = Decimal::read(magnitude)?;
    // The parser of doubles sees a short text: it saturates long exponents, even where many digits outweigh them.
    let double: f64 = format!("{}e{}", exact.significand, exact.exponent).parse().ok()?;
    if !double.is_finite() {
        return None;
    }
    let mut buffer = ryu_js::Buffer::new();
    let printed = buffer.format_finite(double);
    if Decimal::read(printed)? != exact {
        return None;
    }
    if number.starts_with('-') && exact.significand != 0 {
        out.push('-');
    }
    out.push_str(printed);
    Some(())
}

/// The exact value `significand * 10^exponent` of a number without a sign. Each value has one shape: the significand
/// has no trailing zero, and zero has the exponent 0.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    /// At most `MAX_DIGITS` digits.
    significand: u64,
    /// Saturated at the ends of its type, which no count of digits in memory can bring back into the range of doubles.
    exponent: i128,
}

impl Decimal {
    /// Reads a number without a sign. Returns `None` where it has more than `MAX_DIGITS` significant digits.
    fn read(number: &str) -> Option<Self> {
        let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let tail = mantissa.bytes().rev().take_while(|byte| matches!(byte, b'0' | b'.'));
        let trailing_zeros = tail.filter(u8::is_ascii_digit).count();

        let stripped = mantissa.trim_end_matches(['0', '.']).trim_start_matches(['0', '.']);
        let mut significand = 0;
        for (count, digit) in stripped.bytes().filter(u8::is_ascii_digit).enumerate() {
            if count == MAX_DIGITS {
                return None;
            }
            significand = significand * 10 + u64::from(digit - b'0');
        }
        if significand == 0 {
            return Some(Self { significand, exponent: 0 });
        }

        let digits = power.trim_start_matches(['+', '-']).bytes().map(|digit| i128::from(digit - b'0'));
        let power_size = digits.fold(0_i128, |size, digit| size.saturating_mul(10).saturating_add(digit));
        let power = if power.starts_with('-') { -power_size } else { power_size };
        Some(Self { significand, exponent: power.saturating_add(trailing_zeros as i128 - fraction as i128) })
    }
}
