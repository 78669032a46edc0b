//! Redis' approximated LRU: five random keys at a time, and a pool of the sixteen best victims seen so far.
//!
//! The pool keeps the idle times of the moment a key was sampled, as Redis does: a key used since then still goes. Two
//! differences: idle times are exact (Redis rounds them to seconds), and samples are independent (Redis takes neighbours
//! in the table).

use super::Cache;
use crate::random::Random;
use crate::trace::Costs;

const SAMPLES: usize = 5;
const POOL: usize = 16;
/// The key is not resident.
const ABSENT: u32 = u32::MAX;

pub struct SampledLru<'t> {
    capacity: u64,
    costs: Costs<'t>,
    held: u64,
    /// Resident keys in any order, and where each key is among them.
    resident: Vec<u32>,
    places: Vec<u32>,
    /// Number of the last request that used a key.
    used_at: Vec<u32>,
    clock: u32,
    /// Idle time and key, the best victim last.
    pool: Vec<(u32, u32)>,
    random: Random,
}

impl<'t> SampledLru<'t> {
    pub fn new(ids: u32, capacity: u64, costs: Costs<'t>, seed: u64) -> Self {
        Self {
            capacity,
            costs,
            held: 0,
            resident: Vec::new(),
            places: vec![ABSENT; ids as usize],
            used_at: vec![0; ids as usize],
            clock: 0,
            pool: Vec::with_capacity(POOL + 1),
            random: Random::new(seed),
        }
    }

    fn is_resident(&self, id: u32) -> bool {
        self.places[id as usize] != ABSENT
    }

    fn offer(&mut self, id: u32) {
        let idle = self.clock - self.used_at[id as usize];
        let place = self.pool.partition_point(|(other, _)| *other < idle);
        if self.pool.len() < POOL {
            self.pool.insert(place, (idle, id));
        } else if place > 0 {
            self.pool.remove(0);
            self.pool.insert(place - 1, (idle, id));
        }
    }

    fn victim(&mut self) -> u32 {
        loop {
            for _ in 0..SAMPLES {
                let at = self.random.below(self.resident.len() as u32);
                self.offer(self.resident[at as usize]);
            }
            while let Some((_, id)) = self.pool.pop() {
                if self.is_resident(id) {
                    return id;
                }
            }
        }
    }
}

impl Cache for SampledLru<'_> {
    fn touch(&mut self, id: u32) -> bool {
        self.clock += 1;
        let hit = self.is_resident(id);
        if hit {
            self.used_at[id as usize] = self.clock;
        }
        hit
    }

    fn insert(&mut self, id: u32) {
        let cost = u64::from(self.costs.of(id));
        if cost > self.capacity {
            return;
        }
        while self.held + cost > self.capacity {
            let victim = self.victim();
            self.remove(victim);
        }
        self.held += cost;
        self.used_at[id as usize] = self.clock;
        self.places[id as usize] = self.resident.len() as u32;
        self.resident.push(id);
    }

    fn remove(&mut self, id: u32) {
        if !self.is_resident(id) {
            return;
        }
        self.held -= u64::from(self.costs.of(id));
        let place = std::mem::replace(&mut self.places[id as usize], ABSENT);
        self.resident.swap_remove(place as usize);
        if let Some(moved) = self.resident.get(place as usize) {
            self.places[*moved as usize] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hits;
    use super::*;

    #[test]
    fn the_pool_keeps_the_idlest() {
        let mut cache = SampledLru::new(100, 100, Costs::One, 1);
        hits(&mut cache, &(0..40).collect::<Vec<u32>>());
        // Key n was used in request n + 1 of 40.
        [20, 10, 30].into_iter().for_each(|id| cache.offer(id));
        assert_eq!(cache.pool, [(9, 30), (19, 20), (29, 10)]);
        (12..25).for_each(|id| cache.offer(id));
        assert_eq!((cache.pool.len(), cache.pool[0], cache.pool[15]), (POOL, (9, 30), (29, 10)));
        // Full: one more idle than the least pushes that out, one less idle is not taken.
        cache.offer(11);
        assert_eq!((cache.pool.len(), cache.pool[0].0, cache.pool[14]), (POOL, 15, (28, 11)));
        cache.offer(38);
        assert_eq!((cache.pool.len(), cache.pool[0].0), (POOL, 15));
        // Gone since: passed over.
        cache.remove(10);
        cache.pool.retain(|(idle, _)| *idle == 29 || *idle == 28);
        let victim = cache.victim();
        assert_ne!(victim, 10);
    }

    #[test]
    fn capacity_holds_by_cost() {
        let costs: Vec<u32> = (0..50).map(|id| 1 + id % 7).collect();
        let mut cache = SampledLru::new(50, 40, Costs::Each(&costs), 2);
        for round in 0..2000 {
            hits(&mut cache, &[round * 31 % 50]);
            let held: u32 = cache.resident.iter().map(|id| costs[*id as usize]).sum();
            assert!(u64::from(held) == cache.held && held <= 40);
        }
    }

    #[test]
    fn it_comes_close_to_exact_lru() {
        let ids: Vec<u32> =
            (0..40_000u64).map(|n| (crate::random::unit(crate::random::mix(n)).powi(3) * 1000.0) as u32).collect();
        let misses = |seen: Vec<bool>| seen.into_iter().filter(|hit| !hit).count() as f64;
        let sampled = misses(hits(&mut SampledLru::new(1000, 200, Costs::One, 3), &ids));
        let exact = misses(hits(&mut super::super::Lru::new(1000, 200, Costs::One), &ids));
        assert!((0.97..1.06).contains(&(sampled / exact)), "{sampled} {exact}");
    }
}
