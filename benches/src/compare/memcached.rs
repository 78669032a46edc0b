//! memcached's text protocol as a client: meta get and set (`mg`, `ms`) for load, classic lines for control.

/// Appends a meta set; `ttl_s` of `None` never expires.
pub fn set(out: &mut Vec<u8>, key: &[u8], value: &[u8], ttl_s: Option<u32>) {
    out.extend_from_slice(b"ms ");
    out.extend_from_slice(key);
    out.extend_from_slice(format!(" {}", value.len()).as_bytes());
    if let Some(ttl_s) = ttl_s {
        out.extend_from_slice(format!(" T{ttl_s}").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a meta get that returns the value.
pub fn get(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"mg ");
    out.extend_from_slice(key);
    out.extend_from_slice(b" v\r\n");
}

/// The reply to [`get`] of a key that holds `value`.
pub fn hit(value: &[u8]) -> Vec<u8> {
    let mut out = format!("VA {}\r\n", value.len()).into_bytes();
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    out
}

/// The number after `STAT name ` in a `stats` answer.
pub fn stat(answer: &str, name: &str) -> Option<u64> {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("STAT ")?.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
