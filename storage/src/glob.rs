//! Glob patterns as KEYS, SCAN and CONFIG GET use them.
//!
//! `*` is any bytes, `?` any byte, `[abc]` one of these, `[a-z]` a range (either end first), `[^a]` none of these, `\x`
//! the byte x itself; an unclosed `[` reaches to the end of the pattern. Bytes, not characters. Time is at most the
//! product of both lengths, memory none, whatever the pattern.

use std::borrow::Cow;

/// Whether the whole of `text` matches `pattern`; `ignore_case` makes ASCII letters of either case equal.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last `*`: where the pattern goes on, and the text that star has not taken. Earlier stars never need
    // to take more: the last one can.
    let mut retry = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        let Some(&byte) = text.get(t) else { return p == pattern.len() };
        match element(pattern, p, byte, ignore_case) {
            Some(next) => (p, t) = (next, t + 1),
            None => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
        }
    }
}

/// Where the pattern goes on behind its element at `at` (not a `*`), if that matches `byte`.
#[inline]
fn element(pattern: &[u8], at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let (matched, next) = match *pattern.get(at)? {
        b'?' => (true, at + 1),
        b'[' => class(pattern, at + 1, byte, ignore_case),
        b'\\' if at + 1 < pattern.len() => (equal(pattern[at + 1], byte, ignore_case), at + 2),
        literal => (equal(literal, byte, ignore_case), at + 1),
    };
    matched.then_some(next)
}

#[inline]
fn equal(a: u8, b: u8, ignore_case: bool) -> bool {
    a == b || ignore_case && a.eq_ignore_ascii_case(&b)
}

/// Whether `byte` is in the class whose first byte behind `[` is at `at`, and where the pattern goes on.
fn class(pattern: &[u8], mut at: usize, byte: u8, ignore_case: bool) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        at += match &pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                // Redis compares escaped bytes of a class exactly, in any case.
                found |= *escaped == byte;
                2
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                let (low, high) = (*from.min(to), *from.max(to));
                found |= if ignore_case {
                    let (low, high) = (low.to_ascii_lowercase(), high.to_ascii_lowercase());
                    (low..=high).contains(&byte.to_ascii_lowercase())
                } else {
                    (low..=high).contains(&byte)
                };
                3
            }
            [literal, ..] => {
                found |= equal(*literal, byte, ignore_case);
                1
            }
        };
    }
    (found != negated, at)
}

/// What every match of a pattern begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix<'p> {
    /// The bytes before the first wildcard, escapes resolved.
    pub bytes: Cow<'p, [u8]>,
    /// The pattern has no wildcard: `bytes` are its only match (case taken seriously).
    pub is_whole: bool,
}

/// Appends a pattern that matches this text and nothing else.
pub fn escape(text: &[u8], to: &mut Vec<u8>) {
    for byte in text {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
            to.push(b'\\');
        }
        to.push(*byte);
    }
}

/// The literal prefix of a pattern.
pub fn prefix(pattern: &[u8]) -> Prefix<'_> {
    let plain = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')).unwrap_or(pattern.len());
    if plain == pattern.len() || pattern[plain] != b'\\' {
        return Prefix { bytes: Cow::Borrowed(&pattern[..plain]), is_whole: plain == pattern.len() };
    }
    let mut bytes = pattern[..plain].to_vec();
    let mut rest = &pattern[plain..];
    loop {
        rest = match rest {
            [] | [b'*' | b'?' | b'[', ..] => break,
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
    Prefix { bytes: Cow::Owned(bytes), is_whole: rest.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::draw;

    /// Numbers below a bound, from a seed.
    fn draws(seed: u64) -> impl FnMut(usize) -> usize {
        let mut count = 0;
        move |below| {
            count += 1;
            draw(seed, count) as usize % below
        }
    }

    fn is_match(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    /// Observed on Redis.
    #[test]
    fn known_cases() {
        let hits = [
            ("*", ""),
            ("a*", "a"),
            ("a**b", "ab"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            (r"\*", "*"),
            (r"a\", r"a\"),
            (r"[\]]", "]"),
            (r"[\-]", "-"),
            ("[ab", "b"),
            ("[^", "x"),
            ("[^]", "x"),
            ("[a-", "-"),
            ("[a-]x", "_"),
            ("[a-]x", "x"),
            ("]", "]"),
            ("-", "-"),
            ("[[]", "["),
            ("[*]", "*"),
            ("*a*b", "xaxaxb"),
            ("", ""),
        ];
        for (pattern, text) in hits {
            assert!(is_match(pattern, text), "{pattern} {text}");
        }
        let misses = [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("[]", "]"),
            ("[", "["),
            ("h[^e]llo", "hello"),
            (r"\*", "a"),
            ("a*b", "abc"),
            ("[^", ""),
            ("[a-c]", "d"),
            ("A", "a"),
            ("*ab", "aba"),
        ];
        for (pattern, text) in misses {
            assert!(!is_match(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn case_is_ignored_on_request() {
        for (pattern, text, hit) in [
            ("MaxMem*", "maxmemory", true),
            ("[A-C]x", "bX", true),
            ("[a]", "A", true),
            (r"\A", "a", true),
            (r"[\A]", "a", false),
            ("[^A]", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), true), hit, "{pattern} {text}");
        }
    }

    #[test]
    fn prefixes() {
        for (pattern, bytes, is_whole) in [
            ("user:*", "user:", false),
            ("user:1", "user:1", true),
            ("", "", true),
            (r"a\*b*", "a*b", false),
            (r"a\*b", "a*b", true),
            (r"a\", r"a\", true),
            ("a[b", "a", false),
            (r"\\\[?", r"\[", false),
        ] {
            assert_eq!(prefix(pattern.as_bytes()), Prefix { bytes: bytes.as_bytes().into(), is_whole }, "{pattern}");
        }
    }

    /// One place of a pattern as the set of bytes it takes; none for `*`.
    type Element = Option<[bool; 256]>;

    /// The pattern by definition: each element spelled out.
    fn elements(mut pattern: &[u8], fold: bool) -> Vec<Element> {
        let fold = |byte: u8| if fold { byte.to_ascii_lowercase() } else { byte };
        let set = |takes: &dyn Fn(u8) -> bool| Some(core::array::from_fn(|byte| takes(byte as u8)));
        let mut elements = Vec::new();
        while let [first, rest @ ..] = pattern {
            pattern = rest;
            elements.push(match (first, rest) {
                (b'*', _) => None,
                (b'?', _) => set(&|_| true),
                (b'\\', [literal, rest @ ..]) => {
                    pattern = rest;
                    set(&|byte| fold(byte) == fold(*literal))
                }
                (b'[', _) => {
                    let negated = rest.first() == Some(&b'^');
                    let mut items: Vec<(u8, u8, bool)> = Vec::new();
                    pattern = &rest[usize::from(negated)..];
                    loop {
                        (items, pattern) = match pattern {
                            [] => break,
                            [b'\\', x, rest @ ..] => ([&items[..], &[(*x, *x, true)]].concat(), rest),
                            [b']', rest @ ..] => {
                                pattern = rest;
                                break;
                            }
                            [x, b'-', y, rest @ ..] => ([&items[..], &[(*x.min(y), *x.max(y), false)]].concat(), rest),
                            [x, rest @ ..] => ([&items[..], &[(*x, *x, false)]].concat(), rest),
                        };
                    }
                    set(&|byte| {
                        let takes = |(low, high, exact): &(u8, u8, bool)| match exact {
                            true => byte == *low,
                            false => fold(*low) <= fold(byte) && fold(byte) <= fold(*high),
                        };
                        items.iter().any(takes) != negated
                    })
                }
                (literal, _) => set(&|byte| fold(byte) == fold(*literal)),
            });
        }
        elements
    }

    fn naive(elements: &[Element], text: &[u8]) -> bool {
        match (elements, text) {
            ([], text) => text.is_empty(),
            ([None, rest @ ..], text) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            ([Some(set), rest @ ..], [byte, text @ ..]) => set[usize::from(*byte)] && naive(rest, text),
            ([Some(_), ..], []) => false,
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut hits = 0;
        for seed in 0..60_000 {
            let mut draw = draws(seed);
            let (in_pattern, in_text) = (b"aAb*?[]^-\\c*", b"aAbc]-\\^");
            let pattern: Vec<u8> = (0..draw(9)).map(|_| in_pattern[draw(in_pattern.len())]).collect();
            let text: Vec<u8> = (0..draw(7)).map(|_| in_text[draw(in_text.len())]).collect();
            let ignore_case = draw(2) == 1;
            let expected = naive(&elements(&pattern, ignore_case), &text);
            let shown = (pattern.escape_ascii().to_string(), text.escape_ascii().to_string());
            assert_eq!(matches(&pattern, &text, ignore_case), expected, "seed {seed}: {shown:?} {ignore_case}");
            if !ignore_case {
                let prefix = prefix(&pattern);
                assert!(!expected || text.starts_with(&prefix.bytes), "seed {seed}: {shown:?}");
                assert!(!prefix.is_whole || expected == (text == *prefix.bytes), "seed {seed}: {shown:?}");
            }
            hits += usize::from(expected);
        }
        assert!(hits > 2_000, "both answers occur: {hits}");
    }

    /// Backtracking over every star would take 2^20 steps and more here.
    #[test]
    fn many_stars_are_cheap() {
        let pattern = b"a*".repeat(2_000);
        let mut text = b"a".repeat(20_000);
        assert!(matches(&pattern, &text, false));
        text[0] = b'b';
        assert!(!matches(&pattern, &text, false));
        let pattern = [b"*a".repeat(1_000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(2_000), false));
    }
}
