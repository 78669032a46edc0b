//! The slow log: the last commands that took longer than `slowlog-log-slower-than`.

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

fn shortened(args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > MAX_ARGS { MAX_ARGS - 1 } else { args.len() };
    let mut out: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .map(|arg| {
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
