//! The decoder against fixed cases, each also fed byte by byte.

use super::*;

/// What a stream decodes to: its requests, and how it ended.
#[derive(Debug, PartialEq)]
pub(super) struct Decoded {
    pub(super) requests: Vec<Vec<Vec<u8>>>,
    /// The error, or the number of bytes left over that belong to no complete request.
    pub(super) end: Result<usize, ProtocolError>,
}

/// Feeds `stream` in pieces that end at the sorted `cuts`, as a connection with a receive buffer
/// would.
pub(super) fn feed(stream: &[u8], cuts: &[usize], limits: &Limits) -> Decoded {
    let mut decoder = Decoder::new();
    let (mut buffer, mut spans, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let mut fed = 0;
    for cut in cuts.iter().copied().chain([stream.len()]) {
        buffer.extend_from_slice(&stream[fed..cut]);
        fed = cut;
        loop {
            // Spans of earlier requests of a batch must stay as they are.
            spans.clear();
            spans.push(Span { start: 77, len: 77 });
            let status = match decoder.decode(&mut buffer, limits, &mut spans) {
                Ok(status) => status,
                Err(error) => {
                    assert_eq!(spans.len(), 1, "an error appends nothing");
                    let end = Err(error);
                    return Decoded { requests, end };
                }
            };
            assert_eq!(spans[0], Span { start: 77, len: 77 });
            match status {
                Status::Complete { consumed, args } => {
                    assert!(args > 0 && args + 1 == spans.len() && decoder.is_idle());
                    let args = crate::Args::new(&buffer[..consumed], &spans[1..]);
                    requests.push(args.iter().map(<[u8]>::to_vec).collect());
                    buffer.drain(..consumed);
                }
                Status::Skipped { consumed } => {
                    assert!(consumed > 0 && spans.len() == 1 && decoder.is_idle());
                    buffer.drain(..consumed);
                }
                Status::Incomplete { wanted } => {
                    assert!(wanted > 0 && spans.len() == 1);
                    assert_eq!(decoder.is_idle(), buffer.is_empty());
                    break;
                }
            }
            assert_eq!(decoder.partial.capacity(), 0, "nothing is kept between requests");
        }
    }
    let end = Ok(buffer.len());
    Decoded { requests, end }
}

pub(super) fn whole(stream: &[u8], limits: &Limits) -> Decoded {
    feed(stream, &[], limits)
}

pub(super) fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

pub(super) const AUTHENTICATED: Limits = Limits::DEFAULT;
const BEFORE_LOGIN: Limits = Limits { authenticated: false, ..Limits::DEFAULT };

#[track_caller]
fn decodes(stream: &[u8], requests: &[&[&[u8]]], left: usize) {
    let requests = requests.iter().map(|r| r.iter().map(|a| a.to_vec()).collect()).collect();
    let expected = Decoded { requests, end: Ok(left) };
    assert_eq!(whole(stream, &AUTHENTICATED), expected);
    let every_byte: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(feed(stream, &every_byte, &AUTHENTICATED), expected);
}

#[track_caller]
fn fails(stream: &[u8], limits: &Limits, error: ProtocolError) {
    assert_eq!(whole(stream, limits).end, Err(error));
    let every_byte: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(feed(stream, &every_byte, limits).end, Err(error));
}

#[track_caller]
fn waits(stream: &[u8], limits: &Limits, wanted: usize) {
    let mut spans = Vec::new();
    let status = Decoder::new().decode(&mut stream.to_vec(), limits, &mut spans);
    assert_eq!((status, spans.len()), (Ok(Status::Incomplete { wanted }), 0));
}

#[test]
fn idle_decoder_is_small() {
    // The counter exists in tests only.
    assert!(size_of::<Decoder>() - size_of::<u64>() <= 64);
    assert!(Decoder::new().is_idle());
}

#[test]
fn arrays() {
    decodes(b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]], 0);
    decodes(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16\r\n0123456789abcdef\r\n", &[&[b"SET", b"k", b"0123456789abcdef"]], 0);
    decodes(b"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", &[&[b"", b"\r\n"]], 0);
    decodes(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", &[&[b"PING"]], 10);
    let long = [vec![b'a'; 100], vec![b'b'; 12_345]];
    decodes(&encode(&long), &[&[&long[0], &long[1]]], 0);
    let many: Vec<Vec<u8>> = (0..345).map(|i| format!("{i}").into_bytes()).collect();
    assert_eq!(whole(&encode(&many), &AUTHENTICATED).requests, [many]);
}

#[test]
fn line_ends_are_believed() {
    // Redis skips two bytes behind an argument and the byte behind '\r' without looking.
    decodes(b"*1\rX$4\rYPINGZZ", &[&[b"PING"]], 0);
}

#[test]
fn nothing_to_run() {
    decodes(b"\r\n\n  \r\n*0\r\n*-1\r\n*-10\r\nPING\r\n", &[&[b"PING"]], 0);
    let mut spans = Vec::new();
    for (stream, consumed) in
        [(&b"\nX"[..], 1), (b"\r\nX", 2), (b" \t\r\nX", 4), (b"*0\r\nX", 4), (b"*-9223372036854775808\r\n", 23)]
    {
        let status = Decoder::new().decode(&mut stream.to_vec(), &AUTHENTICATED, &mut spans);
        assert_eq!(status, Ok(Status::Skipped { consumed }));
    }
}

#[test]
fn inline_requests() {
    decodes(b"PING\r\nset a \"b c\"\nget 'it\\'s'\r\n", &[&[b"PING"], &[b"set", b"a", b"b c"], &[b"get", b"it's"]], 0);
    decodes(b"PING\r\r\nPI\rNG\n", &[&[b"PING"], &[b"PI", b"NG"]], 0);
    decodes(b"$4\r\n\0x\n", &[&[b"$4"], &[b"\0x"]], 0);
    decodes(b"HELLO 3", &[], 7);
}

#[test]
fn missing_bytes_are_counted() {
    waits(b"", &AUTHENTICATED, 1);
    waits(b"*1", &AUTHENTICATED, 1);
    waits(b"*1\r\n$1", &AUTHENTICATED, 1);
    waits(b"*1\r\n$10\r\nabc", &AUTHENTICATED, 9);
    waits(b"*2\r\n$1\r\na\r\n$100\r\n", &AUTHENTICATED, 102);
    waits(b"*1\r\n$536870912\r\n", &AUTHENTICATED, 536_870_914);
    waits(b"PING", &AUTHENTICATED, 1);
}

#[test]
fn count_limits() {
    use ProtocolError::{InvalidCount, UnauthenticatedCount};
    for text in [
        "",
        "+3",
        " 3",
        "3 ",
        "03",
        "-0",
        "-",
        "abc",
        "1048577",
        "2147483648",
        "9223372036854775808",
        "1.0",
        "0x1",
        "\0",
    ] {
        fails(format!("*{text}\r\n").as_bytes(), &AUTHENTICATED, InvalidCount);
    }
    waits(b"*1048576\r\n", &AUTHENTICATED, 1);
    waits(b"*10\r\n", &BEFORE_LOGIN, 1);
    fails(b"*11\r\n", &BEFORE_LOGIN, UnauthenticatedCount);
    fails(b"*100\r\n", &BEFORE_LOGIN, UnauthenticatedCount);
    fails(b"*1048577\r\n", &BEFORE_LOGIN, InvalidCount);
    let few = Limits { max_args: 2, ..AUTHENTICATED };
    waits(b"*2\r\n", &few, 1);
    fails(b"*3\r\n$1\r\n", &few, InvalidCount);
}

#[test]
fn bulk_limits() {
    use ProtocolError::{ExpectedBulk, InvalidBulkLength, UnauthenticatedBulkLength};
    for text in [
        "",
        "+3",
        " 3",
        "03",
        "00",
        "-0",
        "-1",
        "-10",
        "-",
        "blabla",
        "1x",
        "536870913",
        "2000000000",
        "99999999999999",
        "9223372036854775807",
        "9223372036854775808",
    ] {
        fails(format!("*1\r\n${text}\r\n").as_bytes(), &AUTHENTICATED, InvalidBulkLength);
        fails(format!("*2\r\n$1\r\nx\r\n${text}\r\nabcdefgh").as_bytes(), &AUTHENTICATED, InvalidBulkLength);
    }
    fails(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", &AUTHENTICATED, ExpectedBulk(b'f'));
    fails(b"*1\r\n\r\n", &AUTHENTICATED, ExpectedBulk(b'\r'));
    fails(b"*1\r\n*1\r\n", &AUTHENTICATED, ExpectedBulk(b'*'));
    waits(b"*1\r\nfooz", &AUTHENTICATED, 1);
    waits(b"*1\r\n$16384\r\n", &BEFORE_LOGIN, 16_386);
    fails(b"*1\r\n$16385\r\n", &BEFORE_LOGIN, UnauthenticatedBulkLength);
    fails(b"*1\r\n$536870913\r\n", &BEFORE_LOGIN, InvalidBulkLength);
    let short = Limits { max_bulk: 7, ..AUTHENTICATED };
    waits(b"*1\r\n$7\r\n", &short, 9);
    fails(b"*1\r\n$8\r\n12345678\r\n", &short, InvalidBulkLength);
    let short_before_login = Limits { authenticated: false, ..short };
    fails(b"*1\r\n$8\r\n12345678\r\n", &short_before_login, InvalidBulkLength);
}

#[test]
fn requests_end_below_4_gib() {
    let long = Limits { max_bulk: usize::MAX, ..AUTHENTICATED };
    // 17 bytes of lines and 2 bytes behind the argument.
    waits(b"*1\r\n$4294967276\r\n", &long, 4_294_967_278);
    fails(b"*1\r\n$4294967277\r\n", &long, ProtocolError::InvalidBulkLength);
    fails(b"*1\r\n$9223372036854775807\r\n", &long, ProtocolError::InvalidBulkLength);
}

#[test]
fn line_length_limits() {
    use ProtocolError::{
        BulkLineTooLong, CountLineTooLong, InlineTooLong, InvalidBulkLength, InvalidCount, UnbalancedQuotes,
    };
    let line = |start: &[u8], len: usize, end: &[u8]| [start, &vec![b'A'; len][..], end].concat();
    let inline = line(b"", MAX, b"\n");
    const MAX: usize = 64 * 1024;
    assert_eq!(whole(&inline, &AUTHENTICATED).requests, [[inline[..MAX].to_vec()]]);
    waits(&inline[..MAX], &AUTHENTICATED, 1);
    for (start, too_long, invalid) in
        [(&b"*"[..], CountLineTooLong, InvalidCount), (b"*1\r\n$", BulkLineTooLong, InvalidBulkLength)]
    {
        fails(&line(start, MAX, b""), &AUTHENTICATED, too_long);
        fails(&line(start, MAX, b"\r\n"), &AUTHENTICATED, too_long);
        waits(&line(start, MAX - 1, b""), &AUTHENTICATED, 1);
        waits(&line(start, MAX - 1, b"\r"), &AUTHENTICATED, 1);
        fails(&line(start, MAX - 1, b"\r\n"), &AUTHENTICATED, invalid);
    }
    fails(&line(b"", MAX + 1, b""), &AUTHENTICATED, InlineTooLong);
    fails(&line(b"", MAX + 1, b"\n"), &AUTHENTICATED, InlineTooLong);
    fails(b"*1\r\nset", &Limits { max_inline: 2, ..AUTHENTICATED }, BulkLineTooLong);
    fails(b"set \"\"\"test-key\"\"\" test-value\r\n", &AUTHENTICATED, UnbalancedQuotes);
    fails(b"a 'b\r\n", &AUTHENTICATED, UnbalancedQuotes);
    fails(b"\0payload", &TIGHT_INLINE, InlineTooLong);
}

const TIGHT_INLINE: Limits = Limits { max_inline: 7, ..Limits::DEFAULT };

#[test]
fn limits_may_change_inside_a_request() {
    let mut decoder = Decoder::new();
    let mut spans = Vec::new();
    let mut decode = |input: &[u8], limits: &Limits| decoder.decode(&mut input.to_vec(), limits, &mut spans);
    assert_eq!(decode(b"*2\r\n$8\r\n1234", &AUTHENTICATED), Ok(Status::Incomplete { wanted: 6 }));
    // The argument that was begun may end; the line of the next one was searched further than the
    // new limit allows.
    let short = Limits { max_bulk: 7, max_inline: 2, ..AUTHENTICATED };
    assert_eq!(decode(b"*2\r\n$8\r\n12345678\r\n$800", &AUTHENTICATED), Ok(Status::Incomplete { wanted: 1 }));
    assert_eq!(decode(b"*2\r\n$8\r\n12345678\r\n$800\r\n", &short), Err(ProtocolError::BulkLineTooLong));
}

#[test]
fn announced_counts_reserve_nothing() {
    let mut decoder = Decoder::new();
    let mut spans = Vec::new();
    let mut input = b"*1048576\r\n$1\r\na\r\n$536870912\r\n".to_vec();
    assert!(matches!(decoder.decode(&mut input, &AUTHENTICATED, &mut spans), Ok(Status::Incomplete { .. })));
    assert!(spans.capacity() <= 8 && decoder.partial.capacity() <= 8);
}

#[test]
fn work_is_linear_however_a_request_arrives() {
    let args: Vec<Vec<u8>> = (0..100_000_u32).map(|i| vec![b'x'; i as usize % 14]).collect();
    let stream = encode(&args);
    let inline = [vec![b'y'; 60_000], b"\r\n".to_vec()].concat();
    let header = [b"*1\r\n$".to_vec(), vec![b'9'; 60_000], b"\r\n".to_vec()].concat();
    for stream in [&stream, &inline, &header] {
        for piece in [1, 7, 4096, stream.len()] {
            let cuts: Vec<usize> = (0..stream.len()).step_by(piece).collect();
            // The driver of the other tests would copy the request once per piece.
            let (mut decoder, mut spans, mut input) = (Decoder::new(), Vec::new(), stream.clone());
            for cut in cuts.into_iter().skip(1) {
                let status = decoder.decode(&mut input[..cut], &AUTHENTICATED, &mut spans);
                assert!(matches!(status, Ok(Status::Incomplete { .. })));
            }
            let status = decoder.decode(&mut input, &AUTHENTICATED, &mut spans);
            assert_eq!(status.is_err(), std::ptr::eq(stream, &header));
            let bound = 8 * stream.len() as u64 + 100;
            assert!(decoder.steps <= bound, "{} steps for {} bytes in pieces of {piece}", decoder.steps, stream.len());
        }
    }
}
