//! What differs between the two protocols, in one place: requests to send and replies to expect.

use crate::error::{Result, fail};
use crate::keys::{KEY_LEN, Values};
use crate::{memcached, resp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Resp,
    Memcached,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Get,
    Set,
}

impl Op {
    pub fn name(self) -> &'static str {
        match self {
            Op::Get => "GET",
            Op::Set => "SET",
        }
    }
}

impl Protocol {
    /// Appends one write of `value` under `key`.
    pub fn set(self, out: &mut Vec<u8>, key: &[u8], value: &[u8], ttl_s: Option<u32>) {
        match (self, ttl_s) {
            (Protocol::Memcached, _) => memcached::set(out, key, value, ttl_s),
            (Protocol::Resp, None) => resp::command(out, &[b"SET", key, value]),
            (Protocol::Resp, Some(ttl_s)) => {
                resp::command(out, &[b"SET", key, value, b"EX", ttl_s.to_string().as_bytes()])
            }
        }
    }

    fn get(self, out: &mut Vec<u8>, key: &[u8]) {
        match self {
            Protocol::Resp => resp::command(out, &[b"GET", key]),
            Protocol::Memcached => memcached::get(out, key),
        }
    }

    /// A request without keys, and its whole answer.
    pub fn ping(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Protocol::Resp => (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
            Protocol::Memcached => (b"mn\r\n", b"MN\r\n"),
        }
    }

    /// What `op` answers on success and, for a read, on a miss.
    pub fn expect(self, op: Op, value: &[u8]) -> Expect {
        let mut hit = Vec::new();
        let miss: &[u8] = match (self, op) {
            (Protocol::Resp, Op::Set) => {
                hit.extend_from_slice(b"+OK\r\n");
                b""
            }
            (Protocol::Memcached, Op::Set) => {
                hit.extend_from_slice(b"HD\r\n");
                b""
            }
            (Protocol::Resp, Op::Get) => {
                resp::bulk(&mut hit, value);
                b"$-1\r\n"
            }
            (Protocol::Memcached, Op::Get) => {
                hit = memcached::hit(value);
                b"EN\r\n"
            }
        };
        Expect { hit, miss }
    }
}

/// A prebuilt batch of one operation; sending it costs only its keys.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    request_len: usize,
    key_at: usize,
}

impl Batch {
    pub fn new(protocol: Protocol, op: Op, depth: usize, values: &Values) -> Self {
        let marker = [b'#'; KEY_LEN];
        let mut request = Vec::new();
        match op {
            Op::Get => protocol.get(&mut request, &marker),
            Op::Set => protocol.set(&mut request, &marker, values.of(0), None),
        }
        let key_at = request.windows(KEY_LEN).position(|window| window == marker).expect("the request holds its key");
        Self { bytes: request.repeat(depth), request_len: request.len(), key_at }
    }

    /// The batch with every key written anew by `write_key`.
    #[inline]
    pub fn with_keys(&mut self, mut write_key: impl FnMut(&mut [u8])) -> &[u8] {
        for request in self.bytes.chunks_exact_mut(self.request_len) {
            write_key(&mut request[self.key_at..self.key_at + KEY_LEN]);
        }
        &self.bytes
    }
}

/// The only replies a load accepts.
#[derive(Debug, Clone)]
pub struct Expect {
    hit: Vec<u8>,
    miss: &'static [u8],
}

impl Expect {
    /// Consumes up to `left` whole replies from the front of `bytes`: lowers `left`, counts `misses`, returns the bytes used.
    /// Any other reply, a wrong value included, is an error that shows it.
    #[inline]
    pub fn scan(&self, bytes: &[u8], left: &mut usize, misses: &mut u64) -> Result<usize> {
        let mut at = 0;
        while *left > 0 {
            let rest = &bytes[at..];
            if rest.starts_with(&self.hit) {
                at += self.hit.len();
            } else if !self.miss.is_empty() && rest.starts_with(self.miss) {
                at += self.miss.len();
                *misses += 1;
            } else if self.hit.starts_with(rest) || self.miss.starts_with(rest) {
                return Ok(at);
            } else {
                fail!("wrong reply {:?}, expected {:?}", resp::head(rest), resp::head(&self.hit));
            }
            *left -= 1;
        }
        if at < bytes.len() {
            fail!("a reply that was not asked for: {:?}", resp::head(&bytes[at..]));
        }
        Ok(at)
    }

    /// Bytes of the longest reply.
    pub fn len(&self) -> usize {
        self.hit.len().max(self.miss.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_reply_waits_and_a_wrong_value_is_refused() {
        let expect = Protocol::Resp.expect(Op::Get, b"abc");
        let stream = b"$3\r\nabc\r\n$-1\r\n$3\r\nabc\r\n";
        for cut in 0..stream.len() {
            let (mut left, mut misses) = (3, 0);
            let used = expect.scan(&stream[..cut], &mut left, &mut misses).unwrap();
            expect.scan(&stream[used..], &mut left, &mut misses).unwrap();
            assert_eq!((left, misses), (0, 1), "cut at {cut}");
        }
        assert!(expect.scan(b"$3\r\nabd\r\n", &mut 1, &mut 0).is_err());
        assert!(expect.scan(b"-ERR x\r\n", &mut 1, &mut 0).unwrap_err().to_string().contains("-ERR x"));
        assert!(expect.scan(b"$-1\r\n$", &mut 1, &mut 0).is_err());
    }

    #[test]
    fn a_batch_carries_each_key_in_its_place() {
        let values = Values::fixed(1, 4);
        let mut batch = Batch::new(Protocol::Resp, Op::Get, 2, &values);
        let mut number = 0u8;
        let bytes = batch.with_keys(|key| {
            key.fill(b'a' + number);
            number += 1;
        });
        let expected = "*2\r\n$3\r\nGET\r\n$16\r\naaaaaaaaaaaaaaaa\r\n*2\r\n$3\r\nGET\r\n$16\r\nbbbbbbbbbbbbbbbb\r\n";
        assert_eq!(bytes, expected.as_bytes());
    }
}
