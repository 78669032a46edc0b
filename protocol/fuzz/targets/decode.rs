//! Any bytes, cut anywhere, decode to the requests and the error that the whole stream gives.
//!
//! Input: a byte of settings, a byte with the number of cuts, one byte per cut (the length of the
//! piece before it), the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Args, Decoder, Limits, ProtocolError, Status};

#[derive(Debug, PartialEq)]
struct Decoded {
    requests: Vec<Vec<Vec<u8>>>,
    end: Result<usize, ProtocolError>,
}

fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Decoded {
    let mut decoder = Decoder::new();
    let (mut buffer, mut spans, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            spans.clear();
            match decoder.decode(&mut buffer, limits, &mut spans) {
                Ok(Status::Complete { consumed, args }) => {
                    assert_eq!(spans.len(), args);
                    let args = Args::new(&buffer[..consumed], &spans);
                    requests.push(args.iter().map(<[u8]>::to_vec).collect());
                    buffer.drain(..consumed);
                }
                Ok(Status::Skipped { consumed }) => {
                    assert!(spans.is_empty() && consumed > 0);
                    buffer.drain(..consumed);
                }
                Ok(Status::Incomplete { wanted }) => {
                    assert!(spans.is_empty() && wanted > 0);
                    assert_eq!(decoder.is_idle(), buffer.is_empty());
                    break;
                }
                Err(error) => {
                    let end = Err(error);
                    return Decoded { requests, end };
                }
            }
        }
    }
    let end = Ok(buffer.len());
    Decoded { requests, end }
}

fuzz_target!(|data: &[u8]| {
    let [settings, cuts, rest @ ..] = data else {
        return;
    };
    let (cuts, stream) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let limits = match settings & 2 {
        0 => Limits::DEFAULT,
        _ => Limits { max_args: 12, max_bulk: 40, max_inline: 20, ..Limits::DEFAULT },
    };
    let limits = Limits { authenticated: settings & 1 == 0, ..limits };
    let mut rest = stream;
    let mut pieces = Vec::new();
    for &len in cuts {
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(len)));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(feed(pieces.into_iter(), &limits), feed(std::iter::once(stream), &limits));
});
