//! Glob patterns as KEYS, SCAN and CONFIG GET use them: `*`, `?`, `[a-z]`, `[^a]`, `\x`.

/// Placeholder, replaced by the keyspace family's author.
pub fn matches(_pattern: &[u8], _text: &[u8], _ignore_case: bool) -> bool {
    false
}
