//! Whether there is memory for what comes next: the server's, and that of the projection.
//!
//! Of the projection's own only its changes are booked as they are made: entries that expire, or that others remove, stay in
//! the books. So these tell of too much at worst, and where that is above the limit the entries are counted.

use commands::projections::Projection;
use std::time::Duration;
use storage::{Cx, Participant, Position, Store};

/// Keys looked at in one step of a count.
const COUNT_KEYS: usize = 4096;
/// Bytes of changes that are gathered before they are applied, and the share of a limit that they may take.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_SHARE: usize = 16;
/// Rest after a count, in times that it took: entries that expire free memory, and looking for it is not to take all time.
const REST: u32 = 10;

/// The books.
#[derive(Default)]
pub struct Room {
    /// Most bytes; 0 = no bound but the server's.
    limit_bytes: u64,
    /// Bytes of entries, or less.
    entry_bytes: u64,
    count: Option<Count>,
    /// The next count is not before, ms of uptime.
    counts_from_ms: u64,
}

/// A count under way.
struct Count {
    begun_ms: u64,
    at: Position,
    bytes: u64,
}

/// Where entries are counted.
pub struct Counted<'c> {
    /// The store.
    pub store: &'static Store,
    /// A thread inside it.
    pub participant: &'c mut Participant<'static>,
    /// Whose entries.
    pub projection: &'c Projection,
    /// The moment.
    pub cx: Cx,
}

/// Whether there is room.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// There is.
    Room,
    /// It is being counted: ask again at once.
    Counting,
    /// There is none: ask again after a while. Why.
    None(String),
}

impl Room {
    /// Wait where there is none.
    pub const WAIT: Duration = Duration::from_millis(20);

    /// The books of a projection that may take so many bytes; 0 = no bound but the server's.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes: limit_bytes as u64, ..Self::default() }
    }

    /// Bytes of changes to be gathered before they are applied: room is found for all of them, or for none.
    pub fn batch_bytes(&self) -> usize {
        match self.limit_bytes as usize {
            0 => BATCH_BYTES,
            limit => BATCH_BYTES.min(limit / BATCH_SHARE),
        }
    }

    /// Whether changes of entries are to be booked.
    pub fn books(&self) -> bool {
        self.limit_bytes > 0
    }

    /// Entries grew by so much.
    pub fn book(&mut self, grown_bytes: i64) {
        self.entry_bytes = self.entry_bytes.saturating_add_signed(grown_bytes);
    }

    /// Whether there is room for so many bytes more beside those that are remembered and no entries.
    pub fn find(&mut self, more_bytes: usize, beside_bytes: usize, among: Counted<'_>) -> Found {
        if more_bytes == 0 {
            return Found::Room;
        }
        let Counted { store, participant, projection, cx } = among;
        let mut access = participant.batch();
        if store.memory().limit() > 0 && !access.make_room(None, more_bytes as u64, &cx) {
            return Found::None("the server has no memory for more".to_owned());
        }
        let others = (more_bytes + beside_bytes) as u64;
        let fits = |entry_bytes: u64| !self.books() || entry_bytes + others <= self.limit_bytes;
        if fits(self.entry_bytes) {
            self.count = None;
            return Found::Room;
        }
        if self.count.is_none() && cx.steady_ms < self.counts_from_ms {
            return Found::None(format!("max_memory of {} bytes is used up", self.limit_bytes));
        }
        let new = Count { begun_ms: cx.steady_ms, at: Position::START, bytes: 0 };
        let Count { begun_ms, at, bytes } = self.count.take().unwrap_or(new);
        let (found, next) = access.count_projected(projection.db, &projection.prefix, (at, COUNT_KEYS), &cx);
        let bytes = bytes + found;
        match next {
            Some(at) => self.count = Some(Count { begun_ms, at, bytes }),
            None => {
                self.entry_bytes = bytes;
                let took_ms = cx.steady_ms.saturating_sub(begun_ms).max(Self::WAIT.as_millis() as u64);
                self.counts_from_ms = cx.steady_ms + u64::from(REST) * took_ms;
            }
        }
        Found::Counting
    }
}
