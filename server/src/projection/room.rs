//! Whether there is memory for what comes next: the server's, and that of the projection.
//!
//! Of the projection's own only its changes are booked as they are made: entries that expire, or that others remove, stay in
//! the books. So these tell of too much at worst, and where that is above the limit the entries are counted. (What clients write
//! over entries is not booked, but counted.)
//!
//! Room for a whole batch is looked for before it is read, so that whatever was read is applied at once.

use commands::projections::Projection;
use std::time::Duration;
use storage::{Cx, Participant, Position, Store};

/// Bytes of changes that are gathered before they are applied: no more, and no more than a share of a limit, since room is found for
/// all of them or for none.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_SHARE: u64 = 64;
const LEAST_BATCH_BYTES: u64 = 4096;
/// Keys looked at in one step of a count, and steps between two looks at what else there is to do.
const COUNT_KEYS: usize = 256;
const COUNT_STEPS: usize = 16;
/// Rest after a count that found no room, in times that it took: entries that expire free memory, and looking for it is not to
/// take all time.
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

    /// Bytes that an entry takes beside key and value, about.
    pub const ENTRY_BYTES: usize = 64;

    /// The books of a projection that may take so many bytes; 0 = no bound but the server's.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes: limit_bytes as u64, ..Self::default() }
    }

    /// Bytes of changes, with what entries take beside, to be gathered before they are applied.
    pub fn batch_bytes(&self, store: &Store) -> usize {
        let limits = [self.limit_bytes, store.memory().limit()].into_iter().filter(|limit| *limit > 0);
        let share = limits.min().map_or(BATCH_BYTES, |limit| limit / BATCH_SHARE);
        share.clamp(LEAST_BATCH_BYTES, BATCH_BYTES) as usize
    }

    /// Whether changes of entries are to be booked.
    pub fn books(&self) -> bool {
        self.limit_bytes > 0
    }

    /// Entries grew by so much.
    pub fn book(&mut self, grown_bytes: i64) {
        self.entry_bytes = self.entry_bytes.saturating_add_signed(grown_bytes);
        if let Some(count) = &mut self.count {
            // Where it lies the count may have been already: too much at worst.
            count.bytes += grown_bytes.max(0) as u64;
        }
    }

    /// Whether a count is under way.
    pub fn is_counting(&self) -> bool {
        self.count.is_some()
    }

    /// Whether there is room for so many batches more beside the bytes that are remembered and no entries.
    pub fn find(&mut self, batches: usize, beside_bytes: usize, mut among: Counted<'_>) -> Found {
        let more_bytes = batches * self.batch_bytes(among.store);
        let others = (more_bytes + beside_bytes) as u64;
        if !self.fits(others) {
            if self.count.is_none() && among.cx.steady_ms < self.counts_from_ms {
                return self.is_full();
            }
            if !self.count(&mut among) {
                return Found::Counting;
            }
            if !self.fits(others) {
                return self.is_full();
            }
            self.counts_from_ms = 0;
        }
        self.count = None;
        let Counted { store, participant, cx, .. } = among;
        if store.memory().limit() > 0 && !participant.batch().make_room(None, more_bytes as u64, &cx) {
            return Found::None("the server has no memory for more".to_owned());
        }
        Found::Room
    }

    fn fits(&self, others: u64) -> bool {
        !self.books() || self.entry_bytes + others <= self.limit_bytes
    }

    fn is_full(&self) -> Found {
        Found::None(format!("max_memory of {} bytes is used up", self.limit_bytes))
    }

    /// Goes on to count; whether it is done.
    fn count(&mut self, among: &mut Counted<'_>) -> bool {
        let (projection, cx) = (among.projection, &among.cx);
        let new = Count { begun_ms: cx.steady_ms, at: Position::START, bytes: 0 };
        let mut count = self.count.take().unwrap_or(new);
        for _ in 0..COUNT_STEPS {
            let mut access = among.participant.batch();
            let step = (count.at, COUNT_KEYS);
            let (bytes, next) = access.count_projected(projection.db, &projection.prefix, step, cx);
            count.bytes += bytes;
            match next {
                Some(at) => count.at = at,
                None => {
                    self.entry_bytes = count.bytes;
                    let took_ms = cx.steady_ms.saturating_sub(count.begun_ms).max(Self::WAIT.as_millis() as u64);
                    self.counts_from_ms = cx.steady_ms + u64::from(REST) * took_ms;
                    return true;
                }
            }
        }
        self.count = Some(count);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commands::projections::Terms;
    use storage::{Change, Db, Layout, NewValue, Projected, Provenance};

    const LIMIT: usize = 1 << 20;

    /// Entries are counted where the books say that there is no room, and not again and again where there is none.
    #[test]
    fn entries_are_counted_when_the_books_are_full() {
        let store: &'static Store = Box::leak(Box::new(Store::new(Layout::new(4, [1; 4]))));
        let board = Projection::new("p".to_owned(), Db(0), b"p:", String::new(), Terms::default());
        let (mut participant, mut room) = (store.join(), Room::new(LIMIT));
        let mut find = |room: &mut Room, steady_ms: u64| {
            let cx = Cx { steady_ms, ..Cx::at(1000) };
            loop {
                let among = Counted { store, participant: &mut participant, projection: &board, cx };
                match room.find(1, 0, among) {
                    Found::Counting => {}
                    found => return found,
                }
            }
        };
        assert_eq!(find(&mut room, 0), Found::Room);
        // What expired since, or was removed by others, is in the books until then.
        room.book(2 * LIMIT as i64);
        assert_eq!(find(&mut room, 0), Found::Room);
        assert_eq!((room.entry_bytes, room.is_counting()), (0, false));
        let mut writer = store.join();
        for at in 0..10_000_u32 {
            let mut access = writer.batch();
            let (key, value) = (format!("p:{at}"), [b'x'; 100]);
            let change = Change::Put { value: NewValue::Bytes(&value), deadline: None };
            let record = Projected::new(change, Provenance { source: 1, ..Provenance::default() });
            access.project(Db(0), access.hash(key.as_bytes()), key.as_bytes(), record, &Cx::at(1000));
        }
        room.book(2 * LIMIT as i64);
        let full = Found::None("max_memory of 1048576 bytes is used up".to_owned());
        assert_eq!(find(&mut room, 100), full);
        let counted = room.entry_bytes;
        assert!((10_000 * 130..10_000 * 200).contains(&counted), "{counted}");
        // Less in the books is room at once; the next count comes after a while.
        room.book(-(counted as i64));
        assert_eq!(find(&mut room, 101), Found::Room);
        room.book(2 * LIMIT as i64);
        assert_eq!((find(&mut room, 102), room.entry_bytes), (full, 2 * LIMIT as u64));
        assert_eq!((find(&mut room, 10_000) == Found::Room, room.entry_bytes), (false, counted));
        assert_eq!(room.batch_bytes(store), LIMIT / 64);
    }
}
