//! Quoting, globs and the encoding of requests: the text side of the script files.
//!
//! The quoting is the one of the inline protocol and redis-cli: words separated by blanks, `"..."` with `\n \r \t \b \a \\ \" \xHH`,
//! `'...'` taken as it stands apart from `\'`.

/// One word of a command line, and whether it was written in quotes (quoted words are never variables).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The bytes the word stands for.
    pub bytes: Vec<u8>,
    /// True when any part of the word was quoted.
    pub quoted: bool,
}

/// Splits a line into words; an unbalanced quote is an error that quotes the rest of the line.
pub fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut bytes = Vec::new();
        let mut quoted = false;
        loop {
            match rest.chars().next() {
                None => break,
                Some(c) if c.is_ascii_whitespace() => break,
                Some(quote @ ('"' | '\'')) => {
                    let (content, used) = quoted_string(rest, quote)?;
                    bytes.extend_from_slice(&content);
                    quoted = true;
                    rest = &rest[used..];
                }
                Some(c) => {
                    let (head, tail) = rest.split_at(c.len_utf8());
                    bytes.extend_from_slice(head.as_bytes());
                    rest = tail;
                }
            }
        }
        words.push(Word { bytes, quoted });
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Reads one quoted string at the start of `text`; returns its bytes and the length of its source including both quotes.
pub fn quoted_string(text: &str, quote: char) -> Result<(Vec<u8>, usize), String> {
    let source = text.as_bytes();
    let unbalanced = || format!("unbalanced quote in: {text}");
    let mut bytes = Vec::new();
    let mut at = 1;
    loop {
        match *source.get(at).ok_or_else(unbalanced)? {
            c if c == quote as u8 => return Ok((bytes, at + 1)),
            b'\\' if quote == '\'' => {
                if source.get(at + 1) == Some(&b'\'') {
                    bytes.push(b'\'');
                    at += 2;
                } else {
                    bytes.push(b'\\');
                    at += 1;
                }
            }
            b'\\' => {
                let escape = *source.get(at + 1).ok_or_else(unbalanced)?;
                at += 2;
                match escape {
                    b'n' => bytes.push(b'\n'),
                    b'r' => bytes.push(b'\r'),
                    b't' => bytes.push(b'\t'),
                    b'b' => bytes.push(8),
                    b'a' => bytes.push(7),
                    b'x' => {
                        let digits = text.get(at..at + 2).ok_or_else(unbalanced)?;
                        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("bad \\x escape in: {text}"))?);
                        at += 2;
                    }
                    other => bytes.push(other),
                }
            }
            c => {
                bytes.push(c);
                at += 1;
            }
        }
    }
}

/// The bytes as a quoted string that [`quoted_string`] reads back.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &b in bytes {
        match b {
            b'\\' | b'"' => {
                out.push('\\');
                out.push(b as char);
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(b as char),
            _ => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push('"');
    out
}

/// A request frame: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Glob with `*` (any run of bytes, also none) and `?` (one byte); everything else stands for itself. Linear in time for one star.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let words = split(r#"SET "a\x00b \"q\"" 'it\'s' plain"#).unwrap();
        let bytes: Vec<&[u8]> = words.iter().map(|w| w.bytes.as_slice()).collect();
        assert_eq!(bytes, [&b"SET"[..], b"a\0b \"q\"", b"it's", b"plain"]);
        assert_eq!(words.iter().map(|w| w.quoted).collect::<Vec<_>>(), [false, true, true, false]);
        assert!(split("GET \"open").is_err());
        for sample in [&b""[..], b"\0\xff\r\n\"\\", b"plain"] {
            assert_eq!(quoted_string(&quote(sample), '"').unwrap().0, sample);
        }
    }

    #[test]
    fn globs() {
        assert!(glob(b"a*c?", b"abbbcd"));
        assert!(glob(b"*", b""));
        assert!(glob(b"*x*y", b"xxaxy"));
        assert!(!glob(b"a?", b"a"));
        assert!(!glob(b"a", b"ab"));
    }
}
