//! The slow log: the last commands that took longer than `slowlog-log-slower-than`. Passwords are never in it.

use crate::settings;
use parking_lot::Mutex;
use protocol::Args;
use std::collections::VecDeque;

/// Arguments kept of an entry; one more says how many are missing.
const MAX_ARGS: usize = 32;
/// Bytes kept of an argument; a note says how many are missing.
const MAX_ARG_BYTES: usize = 128;

/// One slow command.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Ascending, unique since the start.
    pub id: i64,
    /// When it ran, seconds since the epoch.
    pub unix_s: u64,
    /// How long, microseconds.
    pub duration_us: u64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// Address of the client.
    pub address: String,
    /// Name of the client.
    pub client_name: String,
}

/// The log; a lock is fine, slow commands are rare by definition.
#[derive(Debug, Default)]
pub struct Slowlog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next_id: i64,
    entries: VecDeque<Entry>,
}

impl Slowlog {
    /// Adds an entry and drops the oldest beyond `max_len`.
    #[cold]
    pub fn record(
        &self,
        args: Args<'_>,
        duration_us: u64,
        unix_s: u64,
        address: &str,
        client_name: &str,
        max_len: usize,
    ) {
        let mut log = self.0.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Entry {
            id,
            unix_s,
            duration_us,
            args: shortened(args),
            address: address.into(),
            client_name: client_name.into(),
        });
        log.entries.truncate(max_len);
    }

    /// The newest `count` entries, newest first.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all entries; ids go on.
    pub fn reset(&self) {
        self.0.lock().entries.clear();
    }
}

/// Whether an argument may be a password, which must not be readable later.
fn is_secret(args: Args<'_>, index: usize) -> bool {
    let is = |index: usize, word: &str| args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    if is(0, "auth") {
        index > 0
    } else if is(0, "hello") {
        index > 2 && (is(index - 1, "auth") || is(index - 2, "auth"))
    } else if is(0, "config") && is(1, "set") {
        let setting = (index > 2 && index % 2 == 1).then(|| settings::table::find(args.at(index - 1))).flatten();
        setting.is_some_and(|(row, _)| settings::table::SETTINGS[row].is_secret())
    } else {
        false
    }
}

fn shortened(args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > MAX_ARGS { MAX_ARGS - 1 } else { args.len() };
    let mut out: Vec<Vec<u8>> = args
        .iter()
        .enumerate()
        .take(kept)
        .map(|(index, arg)| {
            if is_secret(args, index) {
                return b"(redacted)".to_vec();
            }
            let mut text = arg[..arg.len().min(MAX_ARG_BYTES)].to_vec();
            if arg.len() > MAX_ARG_BYTES {
                text.extend_from_slice(format!("... ({} more bytes)", arg.len() - MAX_ARG_BYTES).as_bytes());
            }
            text
        })
        .collect();
    if kept < args.len() {
        out.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::shortened;
    use protocol::OwnedRequest;

    fn kept(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let kept = shortened(OwnedRequest::from_slices(&words).as_args());
        kept.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_are_replaced() {
        assert_eq!(kept("AUTH pw"), "AUTH (redacted)");
        assert_eq!(kept("auth user pw"), "auth (redacted) (redacted)");
        assert_eq!(kept("HELLO 3 SETNAME n AUTH user pw"), "HELLO 3 SETNAME n AUTH (redacted) (redacted)");
        assert_eq!(kept("HELLO 3 auth user pw SETNAME n"), "HELLO 3 auth (redacted) (redacted) SETNAME n");
        assert_eq!(kept("CONFIG SET timeout 5 RequirePass pw"), "CONFIG SET timeout 5 RequirePass (redacted)");
        assert_eq!(kept("CONFIG GET requirepass"), "CONFIG GET requirepass");
        assert_eq!(kept("SET auth pw"), "SET auth pw");
    }
}
