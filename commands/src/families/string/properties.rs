//! Random programs of the string, counter and expiry commands: both protocols say the same, and errors stay in their
//! closed list.

use crate::error::Code;
use crate::testkit::Testkit;
use crate::{families, node};

/// SplitMix64, printed seed first.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const KEYS: &[&str] = &["a", "b", "c", "longer:key:{tag}:with:parts", ""];
const WORDS: &[&str] = &[
    "EX",
    "px",
    "EXAT",
    "PXAT",
    "NX",
    "XX",
    "GT",
    "LT",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "LEN",
    "IDX",
    "MINMATCHLEN",
    "WITHMATCHLEN",
];
const TEXTS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "100",
    "1500",
    "-0",
    "007",
    "1.5",
    "-0.25",
    "1e3",
    "inf",
    "nan",
    "abc",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1700000000",
    "1700000002",
    "1700000000500",
    "mynewtext",
    "ohmytext\r\n",
    "\u{e4}\0",
];

/// A request that often is well-formed: keys where keys belong, else words and texts.
fn request(draw: &mut Draw) -> Vec<Vec<u8>> {
    let families = [families::string::COMMANDS, families::counter::COMMANDS, families::expiry::COMMANDS];
    let rows = families[draw.below(3)];
    let row = &rows[draw.below(rows.len())];
    let least = usize::from(row.arity.unsigned_abs());
    let spare = match draw.below(8) {
        0 => draw.below(3),
        _ if row.arity < 0 => draw.below(4),
        _ => 0,
    };
    let len = (least + spare).saturating_sub(usize::from(draw.below(32) == 0)).max(1);
    let mut args = vec![row.name.as_bytes().to_vec()];
    for index in 1..len {
        let is_key = row.keys.indexes(len).any(|key| key == index);
        let arg = match draw.below(16) {
            _ if is_key => draw.pick(KEYS).into(),
            0 => "x".repeat(draw.below(40_000)),
            1..6 if index > 1 => draw.pick(WORDS).into(),
            _ => draw.pick(TEXTS).into(),
        };
        args.push(arg.into_bytes());
    }
    args
}

/// The RESP2 bytes that mean what a RESP3 reply of these families means: only null and map differ.
fn as_resp2(reply: &[u8]) -> Vec<u8> {
    fn line(rest: &[u8]) -> (&[u8], &[u8]) {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line end");
        (&rest[..end], &rest[end + 2..])
    }
    fn number(text: &[u8]) -> usize {
        std::str::from_utf8(text).unwrap().parse().unwrap()
    }
    let (mut rest, mut out) = (reply, Vec::new());
    while let [kind, ..] = *rest {
        let (head, tail) = line(rest);
        rest = tail;
        match kind {
            b'_' => out.extend_from_slice(b"$-1"),
            b'%' => out.extend_from_slice(format!("*{}", 2 * number(&head[1..])).as_bytes()),
            b'+' | b'-' | b':' | b'*' => out.extend_from_slice(head),
            b'$' => {
                let body = number(&head[1..]);
                out.extend_from_slice(head);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&rest[..body]);
                assert_eq!(&rest[body..body + 2], b"\r\n");
                rest = &rest[body + 2..];
            }
            _ => panic!("{:?} in {}", char::from(kind), reply.escape_ascii()),
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn run_program(seed: u64) {
    let draw = &mut Draw(seed);
    let (mut resp2, mut resp3) = (Testkit::new(), Testkit::new());
    resp3.resp3();
    let mut errors = 0;
    for _ in 0..300 {
        let request = request(draw);
        let args: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let shown =
            || request.iter().map(|arg| arg[..arg.len().min(40)].escape_ascii().to_string()).collect::<Vec<_>>();
        let (old, new) = (resp2.run_bytes(&args), resp3.run_bytes(&args));
        assert!(!old.is_empty(), "seed {seed}: no reply to {:?}", shown());
        let escaped = |reply: &[u8]| reply.escape_ascii().to_string();
        assert_eq!(escaped(&old), escaped(&as_resp2(&new)), "seed {seed}: {:?}", shown());
        if let [b'-', text @ ..] = &*old {
            let word = text.split(|byte| *byte == b' ').next().unwrap();
            let known = Code::ALL.iter().any(|code| code.word().as_bytes() == word);
            assert!(known, "seed {seed}: {:?}: {}", shown(), old.escape_ascii());
            errors += 1;
        }
        if draw.below(4) == 0 {
            let ms = [1, 10, 700, 2000][draw.below(4)];
            resp2.advance_ms(ms);
            resp3.advance_ms(ms);
        }
        if draw.below(50) == 0 {
            resp2.store.invariants();
        }
    }
    assert_eq!(resp2.stats().errors.value(), errors, "seed {seed}: every error is counted");
    assert!(errors < 250, "seed {seed}: the program did hardly anything");
}

#[test]
fn both_protocols_say_the_same() {
    let base = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), node::VERSION);
    println!("seeds {base} and the 40 after it");
    (0..40).for_each(|n| run_program(base.wrapping_add(n)));
}

/// Programs that failed once, and one that is the same everywhere.
#[test]
fn both_protocols_say_the_same_as_ever() {
    [1, 2, 3].into_iter().for_each(run_program);
}
