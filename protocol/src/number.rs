//! Numbers as text, by Redis' rules: what counts as an integer or a float, and how doubles are
//! printed.

use std::fmt;
use std::ops::Deref;

/// Decimals behind the point that `INCRBYFLOAT` keeps, as Redis' `%.17Lf` does.
const INCR_DECIMALS: usize = 17;

/// The integer that `text` spells in its only accepted form: no plus sign, no leading zero or
/// blank, no `-0`, inside `i64`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match *digits {
        [] => return None,
        [b'0'] => return if negative { None } else { Some(0) },
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // 19 digits stay below 2^64.
    let mut magnitude = 0_u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends `value` in decimal.
#[inline]
pub fn push_i64(text: &mut Vec<u8>, value: i64) {
    text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The double that the whole of `text` spells: decimal with optional sign, point and exponent, or
/// `inf`/`infinity` in any case.
///
/// `None` for blanks, `nan`, hexadecimal floats (which Redis accepts), and values that overflow or
/// vanish to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    if value.is_finite() && value != 0.0 {
        return Some(value);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if value.is_infinite() {
        return unsigned.starts_with(['i', 'I']).then_some(value);
    }
    let vanished = || unsigned.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'));
    (!value.is_nan() && !vanished()).then_some(value)
}

/// A printed double, on the stack.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; DoubleText::CAPACITY],
    len: u8,
}

impl DoubleText {
    /// Sign, 17 digits, and at most 7 zeros or `0.`, or a point with a 5 byte exponent: 26 at most.
    const CAPACITY: usize = 32;

    const EMPTY: DoubleText = DoubleText { bytes: [0; DoubleText::CAPACITY], len: 0 };

    fn push(&mut self, text: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
    }

    /// The text; always ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self).unwrap_or_default()
    }
}

impl Deref for DoubleText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The shortest text that reads back as `value`, laid out as Redis 7.2 prints scores: `3`, `0.1`,
/// `1e+300`, `inf`, `-inf`, `nan`, `-0`.
pub fn format_double(value: f64) -> DoubleText {
    /// Integers below this magnitude (2^52) print all their digits.
    const EXACT: f64 = 4_503_599_627_370_496.0;
    let mut text = DoubleText::EMPTY;
    if value.is_nan() {
        text.push(b"nan");
    } else if value.is_infinite() {
        text.push(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if value.abs() < EXACT && value == value.trunc() {
        text.push(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        let mut digits = [0; 17];
        let (count, exponent) = shortest_digits(value.abs(), &mut digits);
        if value < 0.0 {
            text.push(b"-");
        }
        lay_out(&mut text, &digits[..count], exponent);
    }
    text
}

/// The fewest decimal digits that identify a positive finite `value`: their number and the power of
/// ten of the last one.
fn shortest_digits(value: f64, digits: &mut [u8; 17]) -> (usize, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut exponent: i32 = exponent.parse().unwrap_or_default();
    let mut count = 0;
    let mut zeros = 0;
    let mut behind_point = false;
    for byte in mantissa.bytes() {
        match byte {
            b'.' => behind_point = true,
            b'0' => {
                zeros += 1;
                exponent -= i32::from(behind_point);
            }
            digit => {
                // Leading zeros do not count, inner ones do, trailing ones are never reached.
                if count > 0 {
                    digits[count..count + zeros].fill(b'0');
                    count += zeros;
                }
                zeros = 0;
                digits[count] = digit;
                count += 1;
                exponent -= i32::from(behind_point);
            }
        }
    }
    (count, exponent + zeros as i32)
}

/// Writes `digits` times ten to the `exponent` as an integer, a fraction or in scientific notation.
fn lay_out(text: &mut DoubleText, digits: &[u8], exponent: i32) {
    const ZEROS: &[u8] = &[b'0'; 8];
    let count = digits.len() as i32;
    let magnitude = exponent + count - 1;
    if exponent >= 0 && magnitude < count + 7 {
        text.push(digits);
        text.push(&ZEROS[..exponent as usize]);
    } else if exponent < 0 && (exponent > -7 || magnitude.abs() < 4) {
        let whole = count + exponent;
        if whole > 0 {
            let (whole, fraction) = digits.split_at(whole as usize);
            text.push(whole);
            text.push(b".");
            text.push(fraction);
        } else {
            text.push(b"0.");
            text.push(&ZEROS[..-whole as usize]);
            text.push(digits);
        }
    } else {
        text.push(&digits[..1]);
        if digits.len() > 1 {
            text.push(b".");
            text.push(&digits[1..]);
        }
        text.push(if magnitude < 0 { b"e-" } else { b"e+" });
        text.push(itoa::Buffer::new().format(magnitude.abs()).as_bytes());
    }
}

/// A finite `value` as `INCRBYFLOAT` prints it: no exponent, no trailing zeros, at most 17
/// decimals, never `-0`.
///
/// Sums of short decimals look better through [`add_decimal`].
pub fn format_incr_float(value: f64) -> String {
    let mut text = format!("{value}");
    if text.len() - text.find('.').unwrap_or(text.len()) > INCR_DECIMALS + 1 {
        text = format!("{value:.INCR_DECIMALS$}");
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" { "0".to_owned() } else { text }
}

/// The exact sum of two decimal texts as `INCRBYFLOAT` prints it, so that 0.1 + 0.2 is 0.3.
///
/// Redis adds in 80-bit floats, which shows the same digits for such numbers. `None` when a text is
/// not a finite decimal, needs more than 17 decimals, or the sum reaches 1.7e21: add the doubles
/// and use [`format_incr_float`] then.
///
/// ```
/// use protocol::number::{add_decimal, format_incr_float};
/// assert_eq!(add_decimal(b"0.1", b"0.2").as_deref(), Some("0.3"));
/// assert_eq!(add_decimal(b"1e300", b"1"), None);
/// assert_eq!(format_incr_float(1.5), "1.5");
/// ```
pub fn add_decimal(current: &[u8], increment: &[u8]) -> Option<String> {
    let sum = parse_fixed(current)?.checked_add(parse_fixed(increment)?)?;
    let scale = 10_u128.pow(INCR_DECIMALS as u32);
    let magnitude = sum.unsigned_abs();
    let sign = if sum < 0 { "-" } else { "" };
    let mut text = format!("{sign}{}", magnitude / scale);
    let fraction = magnitude % scale;
    if fraction != 0 {
        text += &format!(".{fraction:0INCR_DECIMALS$}");
        text.truncate(text.trim_end_matches('0').len());
    }
    Some(text)
}

/// A decimal text in units of 10^-17; `None` when it is none, is finer, or does not fit.
fn parse_fixed(text: &[u8]) -> Option<i128> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mantissa_len = unsigned.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(mantissa_len);
    let exponent: i32 = match exponent {
        [] => 0,
        [_, digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    let mut value = 0_i128;
    let mut decimals = 0_i32;
    let mut behind_point = false;
    let mut digits = 0;
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                decimals += i32::from(behind_point);
                digits += 1;
            }
            b'.' if !behind_point => behind_point = true,
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    let shift = exponent.checked_sub(decimals)?.checked_add(INCR_DECIMALS as i32)?;
    let power = || 10_i128.checked_pow(shift.unsigned_abs());
    let value = match shift {
        _ if value == 0 => 0,
        0.. => value.checked_mul(power()?)?,
        _ => {
            let divisor = power()?;
            (value % divisor == 0).then_some(value / divisor)?
        }
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests;
