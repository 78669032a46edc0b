//! The store: stripes, the memory limit, and the participants that use it.

use crate::access::Participant;
use crate::exclusive::Exclusion;
use crate::graveyard::Graveyard;
use crate::hash::Hasher;
use crate::limits::{
    DATABASES, FEW_STRIPES, FLUSH_QUANTUM_BYTES, MAX_STRIPES, STRIPE_LEAST_BYTES, STRIPE_QUANTUM_BYTES,
    STRIPE_TINY_BYTES, USUAL_STRIPES,
};
use crate::policy::Policy;
use crate::revoke::RevokeLog;
use crate::scan::CursorKey;
use crate::segment::Placing;
use crate::side::Side;
use crate::stripe::{Db, Physical, Stripe};
use crate::sync::{AtomicI64, AtomicU8, AtomicU64, Mutex, Ordering};
use crate::table::Env;
use crate::time::{Millis, draw};

/// How to lay out a store; fixed for its life.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Locks, a power of two up to [`MAX_STRIPES`]. See [`Layout::stripes_for`].
    pub stripes: usize,
    /// How keys are hashed.
    pub hasher: Hasher,
    /// Secret of the SCAN cursors.
    pub cursor_secret: u64,
    /// Where the count of revokes begins. Entries keep its lower half only: tests begin shortly before that is full.
    pub first_epoch: u64,
}

impl Layout {
    /// The usual layout under a random 256-bit secret.
    pub fn new(stripes: usize, secret: [u64; 4]) -> Self {
        let cursor_secret = draw(secret[0] ^ secret[3], 62);
        Self { stripes, hasher: Hasher::keyed(secret), cursor_secret, first_epoch: 0 }
    }

    /// Stripes for a memory limit in bytes (0 = none): fewer for small caches, since each stripe evicts for itself, and
    /// among too few keys it chooses badly.
    pub fn stripes_for(limit_bytes: u64) -> usize {
        if limit_bytes == 0 {
            return USUAL_STRIPES;
        }
        let few = (limit_bytes / STRIPE_TINY_BYTES).clamp(1, FEW_STRIPES);
        let most = few.max(limit_bytes / STRIPE_LEAST_BYTES).min(USUAL_STRIPES as u64);
        1 << most.ilog2()
    }
}

#[repr(align(64))]
pub(crate) struct Padded<T>(pub T);

/// All keys of a server.
pub struct Store {
    pub(crate) stripes: Box<[Padded<Mutex<Stripe>>]>,
    pub(crate) stripe_bits: u32,
    hasher: Hasher,
    /// Apart from the one of keys, which tests choose.
    tag_hasher: Hasher,
    /// The table behind each database number.
    databases: [AtomicU8; DATABASES],
    pub(crate) exclusion: Exclusion,
    pub(crate) memory: Memory,
    pub(crate) log: RevokeLog,
    pub(crate) side: Side,
    pub(crate) cursors: CursorKey,
}

impl Store {
    /// An empty store. Panics if the number of stripes is not a power of two within bounds.
    pub fn new(layout: Layout) -> Self {
        assert!(layout.stripes.is_power_of_two() && layout.stripes <= MAX_STRIPES, "stripes: a power of two");
        Self {
            stripes: (0..layout.stripes).map(|_| Padded(Mutex::default())).collect(),
            stripe_bits: layout.stripes.ilog2(),
            hasher: layout.hasher,
            tag_hasher: Hasher::keyed([1, 2, 3, 4].map(|n| draw(layout.cursor_secret, n))),
            databases: core::array::from_fn(|n| AtomicU8::new(n as u8)),
            exclusion: Exclusion::new(),
            memory: Memory::new(layout.stripes),
            log: RevokeLog::new(layout.first_epoch),
            side: Side::new([5, 6, 7, 8].map(|n| draw(layout.cursor_secret, n))),
            cursors: CursorKey::new(layout.cursor_secret),
        }
    }

    /// Registers the calling thread as one that will use the store.
    pub fn join(&self) -> Participant<'_> {
        Participant::new(self)
    }

    /// Bytes of the empty store itself: stripes and participants' words. Not part of [`Memory::used`] by itself.
    pub fn base_bytes(&self) -> usize {
        size_of_val(&*self.stripes) + self.exclusion.bytes() + self.log.bytes()
    }

    /// Memory counts and limit.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Hashes keys.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    pub(crate) fn physical(&self, db: Db) -> Physical {
        Physical(self.databases[usize::from(db.0)].load(Ordering::Relaxed))
    }

    /// The database number that shows this table.
    pub(crate) fn logical(&self, table: Physical) -> Db {
        let shows = |n: &usize| self.databases[*n].load(Ordering::Relaxed) == table.0;
        Db((0..DATABASES).find(shows).expect("the numbers are a permutation of the tables") as u8)
    }

    pub(crate) fn swap_databases(&self, a: Db, b: Db) {
        let (x, y) = (&self.databases[usize::from(a.0)], &self.databases[usize::from(b.0)]);
        let old = x.load(Ordering::Relaxed);
        x.store(y.load(Ordering::Relaxed), Ordering::Relaxed);
        y.store(old, Ordering::Relaxed);
    }

    pub(crate) fn placing(&self) -> Placing<'_> {
        Placing { hasher: &self.hasher, stripe_bits: self.stripe_bits }
    }

    /// What operations on this table need.
    #[inline]
    pub(crate) fn env(&self, table: Physical) -> Env<'_> {
        Env { placing: self.placing(), log: &self.log, log_held: false, table, queueing: self.memory.queueing() }
    }

    /// A tag by its name, as entries and the revoke log keep it. Two names may share one: then both are revoked at once.
    pub fn tag(&self, name: &[u8]) -> u64 {
        self.tag_hasher.hash(name).0
    }

    /// Stripes it has, as the layout says.
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// The epoch of the latest revoke, and the records that the sweeper has not dropped yet.
    pub fn revoke_log(&self) -> (u64, usize) {
        (self.log.epoch(), self.log.records())
    }

    /// Revokes that named more than was asked for, since the log had no room.
    pub fn widened_revokes(&self) -> usize {
        self.log.widened_count()
    }

    /// Whether the sweeper has passed everything since the revoke of that epoch.
    pub fn is_swept(&self, epoch: u64) -> bool {
        self.log.is_swept(epoch)
    }

    /// No command may be told a time before this one: that of the latest soft revoke.
    #[inline]
    pub fn not_before(&self) -> Millis {
        self.log.softened_at()
    }

    /// Tables, and large objects, that are still being freed.
    pub fn buried(&self) -> usize {
        self.memory.graveyard.len()
    }

    /// Checks every invariant and recounts all bytes; panics with what does not hold. For tests, between batches.
    pub fn invariants(&self) {
        let (mut bytes, mut side): (i64, usize) = (0, 0);
        for stripe in &self.stripes {
            let stripe = stripe.0.lock();
            for physical in stripe.occupied() {
                stripe.table(physical).expect("occupied").invariants(self.env(physical));
            }
            bytes += stripe.bytes() as i64 - stripe.unflushed();
            side += stripe.loads.as_ref().map_or(0, |loads| loads.invariants());
        }
        bytes += self.memory.graveyard.bytes();
        assert_eq!(bytes, self.memory.tables_flushed(), "global count of table bytes");
        assert_eq!(side, self.side.bytes(), "bytes of loads and waiters");
    }
}

/// What is used, and how much may be.
pub struct Memory {
    used: AtomicI64,
    /// Bytes charged from outside the tables (connections' buffers).
    outside: AtomicI64,
    peak: AtomicI64,
    /// 0 = no limit.
    limit: AtomicU64,
    policy: AtomicU8,
    quantum: u64,
    pub(crate) graveyard: Graveyard,
}

impl Memory {
    pub(crate) fn new(stripes: usize) -> Self {
        Self {
            used: AtomicI64::new(0),
            outside: AtomicI64::new(0),
            peak: AtomicI64::new(0),
            limit: AtomicU64::new(0),
            policy: AtomicU8::new(Policy::NoEviction as u8),
            quantum: (FLUSH_QUANTUM_BYTES / stripes).min(STRIPE_QUANTUM_BYTES) as u64,
            graveyard: Graveyard::default(),
        }
    }

    /// Bytes a stripe may keep to itself before it flushes them into the global count: none near the limit, where a late
    /// charge would be paid for by a burst of victims in whichever stripe is written next.
    pub(crate) fn quantum(&self) -> u64 {
        let limit = self.limit();
        let near = limit > 0 && self.used() + FLUSH_QUANTUM_BYTES as u64 > limit;
        if near { 1 } else { self.quantum }
    }

    pub(crate) fn charge(&self, delta: i64) {
        // SeqCst here and in `charge_outside`: of two charges at once, one at least sees the other's bytes.
        let used = self.used.fetch_add(delta, Ordering::SeqCst) + delta;
        self.note_peak(used + self.outside.load(Ordering::SeqCst));
    }

    fn note_peak(&self, used: i64) {
        if used > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(used, Ordering::Relaxed);
        }
    }

    fn tables_flushed(&self) -> i64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Books bytes that are not in tables, such as connections' buffers; a negative number gives them back.
    pub fn charge_outside(&self, delta: i64) {
        let outside = self.outside.fetch_add(delta, Ordering::SeqCst) + delta;
        self.note_peak(outside + self.used.load(Ordering::SeqCst));
    }

    /// Bytes used now, exact but for what stripes have not flushed (1 MiB in all; nothing after a tick of each).
    #[inline]
    pub fn used(&self) -> u64 {
        (self.used.load(Ordering::Relaxed) + self.outside.load(Ordering::Relaxed)).max(0) as u64
    }

    /// Bytes used by keys, values and their indexes.
    pub fn dataset(&self) -> u64 {
        self.used.load(Ordering::Relaxed).max(0) as u64
    }

    /// The highest number of bytes used so far; a charge under way may show in [`used`](Self::used) just before.
    pub fn peak(&self) -> u64 {
        (self.peak.load(Ordering::Relaxed).max(0) as u64).max(self.used())
    }

    /// Forgets earlier peaks.
    pub fn reset_peak(&self) {
        self.peak.store(0, Ordering::Relaxed);
    }

    /// The limit in bytes; 0 = none.
    #[inline]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Frees a slice of what is buried; true if there was something to free. About 100 us at most.
    pub(crate) fn free_buried(&self) -> bool {
        self.graveyard.free_some(self)
    }

    /// Changes the limit; takes effect with the next write.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// What happens at the limit.
    pub fn policy(&self) -> Policy {
        Policy::from_index(self.policy.load(Ordering::Relaxed))
    }

    /// Changes that.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    fn queueing(&self) -> bool {
        self.limit() > 0 && self.policy().queues()
    }
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn stripes_follow_the_limit() {
        let mib = 1 << 20;
        let cases = [(0, 1024), (1, 1), (mib, 2), (7 * mib, 8), (31 * mib, 8), (128 * mib, 64), (1 << 40, 1024)];
        for (limit, stripes) in cases {
            assert_eq!(Layout::stripes_for(limit), stripes, "{limit}");
        }
    }
}
