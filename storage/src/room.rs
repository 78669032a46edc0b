//! Room for writes: how memory is brought below its limit before a command, and which keys it would cost.

use crate::access::{Access, Held};
use crate::hash::KeyHash;
use crate::limits::{
    CATCH_UP_BYTES, DATABASES, REAP_ENTRIES, SPARING_STRIPES, SWEEPS_PER_WRITE, UNPAID_BYTES, VICTIMS_PER_WRITE,
};
use crate::policy::Policy;
use crate::store::Store;
use crate::stripe::{Db, Physical, Stripe};
use crate::table::{Env, Table};
use crate::time::{Cx, draw};
use smallvec::SmallVec;

impl Access<'_> {
    /// Makes sure that a write of about `need` bytes near `kh` may go on: evicts by the policy while memory is above
    /// its limit, a few victims at a time. False if the limit is exceeded and nothing can be evicted.
    #[inline]
    pub fn make_room(&mut self, kh: Option<KeyHash>, need: u64, cx: &Cx) -> bool {
        let memory = &self.store.memory;
        let limit = memory.limit();
        if limit == 0 || memory.used() + need <= limit {
            return true;
        }
        self.evict_for(kh, need, cx)
    }

    #[cold]
    fn evict_for(&mut self, kh: Option<KeyHash>, need: u64, cx: &Cx) -> bool {
        let store = self.store;
        let memory = &store.memory;
        // A stripe in hand knows of bytes that the global count does not.
        let fits = |unflushed: i64| memory.used().saturating_add_signed(unflushed) + need <= memory.limit();
        while !fits(0) && store.memory.free_buried() {}
        if need > memory.limit() {
            return false;
        }
        let stripes = store.stripes.len();
        let first = kh.map_or(draw(cx.seed, 1) as usize % stripes, |kh| kh.stripe(store.stripe_bits));
        // A stripe below its share, give or take what evens out, spares its keys while a near one has more: else overwrites
        // of a few hot keys, which need no room, would empty their own stripes.
        let share = memory.dataset() / stripes as u64 * 15 / 16;
        let over = memory.used().saturating_sub(memory.limit());
        let mut hunt = Hunt {
            store,
            cx,
            log_held: matches!(self.held, Held::Stripes { .. }),
            spare_below: 0,
            victims: 0,
            evicted: 0,
            freed: 0,
            goal: need + over.min(CATCH_UP_BYTES),
        };
        // A search that may find nothing (few or no keys may go) looks only where the key would lie.
        let reach = if memory.policy() == Policy::NoEviction { 1 } else { stripes };
        let passes = (0..reach.min(SPARING_STRIPES)).map(|step| (step, share)).chain((0..reach).map(|step| (step, 0)));
        for (step, spare_below) in passes {
            if fits(0) || hunt.is_done() {
                return true;
            }
            hunt.spare_below = spare_below;
            let index = (first + step) % stripes;
            match &mut self.held {
                Held::Stripes { locked: held, .. } => {
                    match held.binary_search_by_key(&(index as u32), |(stripe, _)| *stripe) {
                        Ok(at) => hunt.evict_in(&mut held[at].1, &fits),
                        // Waiting for it could be waiting for each other.
                        Err(_) => {
                            if let Some(mut stripe) = store.stripes[index].0.try_lock() {
                                hunt.evict_in(&mut stripe, &fits);
                            }
                        }
                    }
                }
                _ => hunt.evict_in(&mut store.stripes[index].0.lock(), &fits),
            }
        }
        // Whatever was evicted makes room for as much: the limit is not run over any further.
        fits(0) || hunt.evicted >= need && hunt.victims > 0
    }

    /// Keys that eviction would take to free about `bytes`; nothing is removed.
    pub fn nominate(&mut self, bytes: u64, cx: &Cx) -> Vec<(Db, Box<[u8]>)> {
        let store = self.store;
        let policy = store.memory.policy();
        let mut nominated: Vec<(Db, Box<[u8]>)> = Vec::new();
        let mut gathered = 0;
        let first = draw(cx.seed, 2) as usize % store.stripes.len();
        for step in 0..store.stripes.len() {
            self.with_stripe((first + step) % store.stripes.len(), |stripe| {
                for physical in stripe.occupied() {
                    let db = store.logical(physical);
                    stripe.with_table(physical, &store.memory, |table| {
                        let Some(victim) = table.victim(policy, cx, step as u64, store.env(physical)) else {
                            return;
                        };
                        let key = table.record(victim.at).key().into();
                        let memory = table.entry_bytes(victim.at);
                        if table.word(victim.at).in_small() {
                            table.with_queues(|table| table.queues().requeue(victim.place.tag()));
                        }
                        gathered += memory;
                        nominated.push((db, key));
                    });
                }
            });
            if gathered >= bytes {
                break;
            }
        }
        nominated
    }
}

/// A search for victims on behalf of one write.
struct Hunt<'h> {
    store: &'h Store,
    cx: &'h Cx,
    /// Whether this thread holds the revoke log.
    log_held: bool,
    /// Stripes with fewer bytes are left alone.
    spare_below: u64,
    victims: usize,
    /// Bytes that the victims took, and by how much tables shrank: a page goes back when enough of it is empty.
    evicted: u64,
    freed: u64,
    /// Bytes to free before the write goes on, fit or not.
    goal: u64,
}

impl Hunt<'_> {
    fn is_done(&self) -> bool {
        self.victims >= VICTIMS_PER_WRITE && (self.freed >= self.goal || self.evicted >= self.goal + UNPAID_BYTES)
    }

    fn env(&self, table: Physical) -> Env<'_> {
        Env { log_held: self.log_held, ..self.store.env(table) }
    }

    /// Frees what was revoked in the next few segments, if the sweeper is under way.
    fn sweep(&self, table: &mut Table, physical: Physical) {
        if let Some((_, target)) = self.store.log.pass() {
            (0..SWEEPS_PER_WRITE).find(|_| table.sweep(target, self.cx, self.env(physical)));
        }
    }

    /// Evicts entries of one stripe while `fits` says no, those expired or revoked first. The table of a victim is drawn by
    /// bytes, so that no small database pays for a large one.
    fn evict_in(&mut self, stripe: &mut Stripe, fits: &impl Fn(i64) -> bool) {
        let (store, cx) = (self.store, self.cx);
        let policy = store.memory.policy();
        for physical in stripe.occupied() {
            stripe.with_table(physical, &store.memory, |table| {
                table.reap(REAP_ENTRIES, cx);
                self.sweep(table, physical);
            });
        }
        // Tables where a search found nothing, as a set of bits.
        let mut barren = 0u16;
        while !self.is_done() && !fits(stripe.unflushed()) && stripe.bytes() >= self.spare_below {
            let nth = stripe.counts.evicted;
            let Some(physical) = heaviest_draw(stripe, cx, nth, barren) else {
                break;
            };
            let before = stripe.bytes();
            let gone = stripe.with_table(physical, &store.memory, |table| {
                let env = self.env(physical);
                let victim = table.victim(policy, cx, nth, env)?;
                let record = table.record(victim.at);
                // Dead, but nobody has come by yet.
                let death = table.death(victim.at, record.deadline(), cx, env);
                let kh = store.hasher().hash(record.key());
                let bytes = table.entry_bytes(victim.at);
                if let Some(death) = death {
                    table.count_death(death);
                }
                table.remove(victim.at, victim.place);
                table.repay(victim.place);
                Some((bytes, death.is_none().then_some(kh)))
            });
            let Some((bytes, evicted)) = gone else {
                barren |= 1 << physical.0;
                continue;
            };
            if let Some(kh) = evicted {
                stripe.changed(store.logical(physical), kh);
                stripe.counts.evicted += 1;
            }
            self.victims += 1;
            self.evicted += bytes;
            self.freed += before.saturating_sub(stripe.bytes());
        }
        stripe.settle(&store.memory);
    }
}

/// A table drawn by the bytes it takes, of those not in `barren`.
fn heaviest_draw(stripe: &Stripe, cx: &Cx, nth: u64, barren: u16) -> Option<Physical> {
    let weigh = |physical: Physical| (physical, stripe.table(physical).map_or(0, |table| table.bytes()));
    let fertile = stripe.occupied().filter(|physical| barren >> physical.0 & 1 == 0);
    let tables: SmallVec<[(Physical, u64); DATABASES]> = fertile.map(weigh).collect();
    let total: u64 = tables.iter().map(|(_, bytes)| bytes).sum();
    let mut point = draw(cx.seed ^ 0xE71C, nth).checked_rem(total)?;
    for (physical, bytes) in &tables {
        if point < *bytes {
            return Some(*physical);
        }
        point -= bytes;
    }
    None
}
