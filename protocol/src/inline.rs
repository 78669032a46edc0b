//! Quoting rules of inline requests: what a person types into a terminal, unescaped in place.
//!
//! Blanks separate arguments. `"..."` knows `\n \r \t \b \a \\ \" \xHH` (any other escaped byte
//! stands for itself), `'...'` knows `\'` only. Quotes may open inside a word, but a closing quote
//! must be followed by a blank or the end. NUL is an ordinary byte (Redis would stop there).

use crate::error::ProtocolError;
use crate::request::Span;

/// Splits `line` (without its line end) into arguments, appends their spans and returns their
/// number.
///
/// Arguments are unescaped in place, which never makes them longer; the rest of `line` is garbage
/// afterwards. Spans count from the start of `line`, which must be shorter than 4 GiB.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`]; no span is appended then.
pub fn split(line: &mut [u8], spans: &mut Vec<Span>) -> Result<usize, ProtocolError> {
    let base = spans.len();
    let mut read = 0;
    loop {
        while read < line.len() && is_blank(line[read]) {
            read += 1;
        }
        if read == line.len() {
            return Ok(spans.len() - base);
        }
        let start = read;
        match word(line, start) {
            Some((end, next)) => {
                spans.push(Span { start: start as u32, len: (end - start) as u32 });
                read = next;
            }
            None => {
                spans.truncate(base);
                return Err(ProtocolError::UnbalancedQuotes);
            }
        }
    }
}

/// What C calls a space: these separate arguments and may follow a closing quote.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Unescapes the word at `start`: the end of its bytes, and where reading goes on.
fn word(line: &mut [u8], start: usize) -> Option<(usize, usize)> {
    let mut read = start;
    let mut write = start;
    while read < line.len() {
        match line[read] {
            // A bare word runs through vertical tab and form feed, although both are skipped before
            // a word.
            b' ' | b'\t' | b'\n' | b'\r' => break,
            quote @ (b'"' | b'\'') => {
                let (end, next) = quoted(line, quote, read + 1, write)?;
                return (next == line.len() || is_blank(line[next])).then_some((end, next));
            }
            byte => {
                line[write] = byte;
                write += 1;
                read += 1;
            }
        }
    }
    Some((write, read))
}

/// Unescapes from behind an opening `quote` to the closing one, writing at `write`; `None` when it
/// never closes.
fn quoted(line: &mut [u8], quote: u8, mut read: usize, mut write: usize) -> Option<(usize, usize)> {
    loop {
        let rest = &line[read..];
        let (byte, taken) = match *rest {
            [] => return None,
            [byte, ..] if byte == quote => return Some((write, read + 1)),
            [b'\\', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(high) << 4 | hex(low), 4)
            }
            [b'\\', escaped, ..] if quote == b'"' => (unescape(escaped), 2),
            [byte, ..] => (byte, 1),
        };
        line[write] = byte;
        write += 1;
        read += taken;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// Value of an ASCII hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut line = line.to_vec();
        let mut spans = Vec::new();
        let count = split(&mut line, &mut spans).ok()?;
        assert_eq!(count, spans.len());
        Some(spans.iter().map(|s| line[s.start as usize..][..s.len as usize].to_vec()).collect())
    }

    #[track_caller]
    fn same(line: &[u8], expected: &[&[u8]]) {
        assert_eq!(words(line).expect("balanced"), expected);
    }

    #[test]
    fn blanks() {
        same(b"", &[]);
        same(b" \t\x0b\x0c\r ", &[]);
        same(b"PING", &[b"PING"]);
        same(b"  set\ta  b ", &[b"set", b"a", b"b"]);
        same(b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]);
        same(b"a\0b", &[b"a\0b"]);
        same(b"back\\slash \\n", &[b"back\\slash", b"\\n"]);
    }

    #[test]
    fn double_quotes() {
        same(br#""" "a b""#, &[b"", b"a b"]);
        same(br#""\n\r\t\b\a\\\"\q\'""#, &[b"\n\r\t\x08\x07\\\"q'"]);
        same(br#""\x00\xfF\x4g\xg\x""#, &[b"\x00\xffx4gxgx"]);
        same(br#"pre"mid dle" x"#, &[b"premid dle", b"x"]);
        same(br#""it's""#, &[b"it's"]);
    }

    #[test]
    fn single_quotes() {
        same(br"'' 'a b'", &[b"", b"a b"]);
        same(br"'\n\x41\\ '", &[br"\n\x41\\ "]);
        same(br"'it\'s' x", &[b"it's", b"x"]);
        same(br#"'say "x"'"#, &[br#"say "x""#]);
    }

    #[test]
    fn unbalanced() {
        for line in [
            &b"\""[..],
            b"'",
            b"\"a",
            b"'a",
            b"\"a\\\"",
            b"'a\\'",
            b"\"a\"b",
            b"'a'b",
            b"\"\"\"\"",
            b"\"a\\",
            b"x \"a\"'b'",
        ] {
            assert_eq!(words(line), None, "{}", line.escape_ascii());
        }
        let mut spans = vec![Span { start: 7, len: 7 }];
        assert!(split(&mut b"a b 'c".to_vec(), &mut spans).is_err());
        assert_eq!(spans.len(), 1);
    }
}
