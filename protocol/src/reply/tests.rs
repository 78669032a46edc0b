//! Golden bytes of every element in both protocols.

use super::*;
use crate::{Args, Decoder, Limits, Status};
use Protocol::{Resp2, Resp3};
use proptest::prelude::*;

fn write(protocol: Protocol, reply: impl FnOnce(&mut ReplyWriter<'_>)) -> Vec<u8> {
    let mut out = Output::new();
    reply(&mut ReplyWriter::new(&mut out, protocol));
    out.chunks().flatten().copied().collect()
}

#[track_caller]
fn golden(reply: impl Fn(&mut ReplyWriter<'_>), resp2: &str, resp3: &str) {
    for (protocol, expected) in [(Resp2, resp2), (Resp3, resp3)] {
        let bytes = write(protocol, &reply);
        assert_eq!(bytes.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string(), "{protocol:?}");
    }
}

#[track_caller]
fn same(reply: impl Fn(&mut ReplyWriter<'_>), both: &str) {
    golden(reply, both, both);
}

#[test]
fn the_same_in_both_protocols() {
    same(|w| w.simple("PONG"), "+PONG\r\n");
    same(|w| w.ok(), "+OK\r\n");
    same(|w| w.error("ERR no such key"), "-ERR no such key\r\n");
    same(|w| w.error("ERR unknown command 'a\r\nb'"), "-ERR unknown command 'a  b'\r\n");
    same(|w| w.integer(0), ":0\r\n");
    same(|w| w.integer(-1), ":-1\r\n");
    same(|w| w.integer(1000), ":1000\r\n");
    same(|w| w.integer(i64::MAX), ":9223372036854775807\r\n");
    same(|w| w.integer(i64::MIN), ":-9223372036854775808\r\n");
    same(|w| w.bulk(b""), "$0\r\n\r\n");
    same(|w| w.bulk(b"a\r\nb\0"), "$5\r\na\r\nb\0\r\n");
    same(|w| w.bulk_str("text"), "$4\r\ntext\r\n");
    same(|w| w.bulk_integer(-12), "$3\r\n-12\r\n");
    same(|w| w.shared(Arc::new(b"value".to_vec())), "$5\r\nvalue\r\n");
    same(|w| w.shared(Arc::default()), "$0\r\n\r\n");
    same(|w| w.array(0), "*0\r\n");
    same(|w| w.array(123_456), "*123456\r\n");
    same(|w| w.raw(b":7\r\n"), ":7\r\n");
    assert_eq!(write(Resp2, |w| w.error_bytes(b"ERR \xff\n")), b"-ERR \xff \r\n");
}

#[test]
fn different_by_protocol() {
    golden(|w| w.null(), "$-1\r\n", "_\r\n");
    golden(|w| w.null_array(), "*-1\r\n", "_\r\n");
    golden(|w| w.map(7), "*14\r\n", "%7\r\n");
    golden(|w| w.map(0), "*0\r\n", "%0\r\n");
    golden(|w| w.set(1001), "*1001\r\n", "~1001\r\n");
    golden(|w| w.push(3), "*3\r\n", ">3\r\n");
    golden(|w| w.double(3.0), "$1\r\n3\r\n", ",3\r\n");
    golden(|w| w.double(-1.5), "$4\r\n-1.5\r\n", ",-1.5\r\n");
    golden(|w| w.double(1e300), "$6\r\n1e+300\r\n", ",1e+300\r\n");
    golden(|w| w.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    golden(|w| w.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    golden(|w| w.double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n");
    golden(|w| w.boolean(true), ":1\r\n", "#t\r\n");
    golden(|w| w.boolean(false), ":0\r\n", "#f\r\n");
    golden(
        |w| w.big_number("-123456789012345678901"),
        "$22\r\n-123456789012345678901\r\n",
        "(-123456789012345678901\r\n",
    );
    golden(|w| w.verbatim(b"# Server\r\n"), "$10\r\n# Server\r\n\r\n", "=14\r\ntxt:# Server\r\n\r\n");
    golden(|w| w.verbatim(b""), "$0\r\n\r\n", "=4\r\ntxt:\r\n");
}

#[test]
fn lengths_known_at_the_end() {
    golden(
        |w| {
            let len = w.array_with(|w| {
                w.integer(1);
                w.map_with(|w| {
                    w.bulk(b"k");
                    w.null();
                    1
                });
                2
            });
            assert_eq!(len, 2);
            w.set_with(|_| 0);
        },
        "*2\r\n:1\r\n*2\r\n$1\r\nk\r\n$-1\r\n*0\r\n",
        "*2\r\n:1\r\n%1\r\n$1\r\nk\r\n_\r\n~0\r\n",
    );
    let long = vec![b'x'; 100_000];
    let bytes = write(Resp3, |w| {
        w.ok();
        w.array_with(|w| {
            w.bulk(&long);
            w.shared(Arc::new(long.clone()));
            2
        });
        w.ok();
    });
    let bulk = [b"$100000\r\n", &long[..], b"\r\n"].concat();
    assert!(bytes == [b"+OK\r\n*2\r\n", &bulk[..], &bulk, b"+OK\r\n"].concat());
}

#[test]
fn shared_bytes_are_not_copied() {
    let value = Arc::new(vec![b'v'; 50]);
    let mut out = Output::new();
    ReplyWriter::new(&mut out, Resp2).shared(value.clone());
    assert_eq!((out.shared_bytes(), Arc::strong_count(&value)), (50, 2));
    assert!(out.chunks().any(|piece| std::ptr::eq(piece, value.as_slice())));
}

#[test]
fn a_failed_reply_is_taken_back() {
    let mut out = Output::new();
    let mut writer = ReplyWriter::new(&mut out, Resp3);
    writer.ok();
    let mark = writer.output().mark();
    writer.array(2);
    writer.shared(Arc::new(vec![0; 10]));
    writer.output().rollback(mark);
    writer.error("ERR value is not an integer or out of range");
    assert_eq!(writer.protocol(), Resp3);
    assert_eq!(out.as_single(), Some(&b"+OK\r\n-ERR value is not an integer or out of range\r\n"[..]));
}

#[test]
fn every_short_line() {
    for n in (0..1100).chain([9_999, 10_000, usize::MAX]) {
        assert_eq!(write(Resp2, |w| w.array(n)), format!("*{n}\r\n").into_bytes());
    }
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..longest)
}

proptest! {
    #[test]
    fn requests_written_as_replies_decode(args in prop::collection::vec(bytes(200), 1..20)) {
        let mut bytes = write(Resp2, |w| {
            w.array(args.len());
            args.iter().for_each(|arg| w.bulk(arg));
        });
        let mut spans = Vec::new();
        let status = Decoder::new().decode(&mut bytes, &Limits::DEFAULT, &mut spans);
        prop_assert_eq!(status, Ok(Status::Complete { consumed: bytes.len(), args: args.len() }));
        let decoded = Args::new(&bytes, &spans);
        prop_assert!(decoded.iter().eq(args.iter().map(Vec::as_slice)));
    }

    #[test]
    fn integers_and_errors_are_one_line(value: i64, text in bytes(40)) {
        prop_assert_eq!(write(Resp3, |w| w.integer(value)), format!(":{value}\r\n").into_bytes());
        let error = write(Resp2, |w| w.error_bytes(&text));
        prop_assert_eq!(error.len(), text.len() + 3);
        prop_assert!(!error[..error.len() - 2].iter().any(|b| b"\r\n".contains(b)));
    }
}
