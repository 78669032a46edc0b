//! S3-FIFO with exact queues: the reference the store's engine is held against.
//!
//! As published by Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023): a small FIFO of a tenth
//! of the capacity, a main FIFO whose head is reinserted while it has uses left, and a ghost FIFO that remembers as much
//! as main may hold. An object leaving the small queue after two uses or more goes to main with its count cleared. What
//! alone would overfill the small queue is not admitted.

use super::Cache;
use crate::lists::Lists;
use crate::trace::Costs;

const SMALL: usize = 0;
const MAIN: usize = 1;
const GHOST: usize = 2;

/// Uses in the small queue that earn a place in main.
const PROMOTE_AT: u8 = 2;
/// Uses are counted up to here: two bits.
const USES_MAX: u8 = 3;

pub struct S3Fifo<'t> {
    capacity: u64,
    /// Capacity of the small queue, and of the ghosts.
    small: u64,
    ghosts: u64,
    costs: Costs<'t>,
    lists: Lists<3>,
}

impl<'t> S3Fifo<'t> {
    pub fn new(ids: u32, capacity: u64, costs: Costs<'t>) -> Self {
        let small = (capacity / 10).max(1);
        Self { capacity, small, ghosts: capacity - small, costs, lists: Lists::new(ids) }
    }

    fn move_to(&mut self, list: usize, id: u32) {
        let cost = self.costs.of(id);
        self.lists.unlink(id, cost);
        self.lists.push(list, id, cost);
    }

    fn evict(&mut self) {
        if self.lists.cost(SMALL) >= self.small || self.lists.objects(MAIN) == 0 {
            self.evict_from_small();
        } else {
            self.evict_from_main();
        }
    }

    /// Drops one object of the small queue, or none if all earned a place in main.
    fn evict_from_small(&mut self) {
        while let Some(id) = self.lists.oldest(SMALL) {
            let uses = std::mem::take(self.lists.uses(id));
            if uses >= PROMOTE_AT {
                self.move_to(MAIN, id);
                continue;
            }
            self.move_to(GHOST, id);
            while self.lists.cost(GHOST) > self.ghosts
                && let Some(oldest) = self.lists.oldest(GHOST)
            {
                self.lists.unlink(oldest, self.costs.of(oldest));
            }
            return;
        }
    }

    fn evict_from_main(&mut self) {
        while let Some(id) = self.lists.oldest(MAIN) {
            let uses = self.lists.uses(id);
            if *uses == 0 {
                self.lists.unlink(id, self.costs.of(id));
                return;
            }
            *uses -= 1;
            self.move_to(MAIN, id);
        }
    }
}

impl Cache for S3Fifo<'_> {
    fn touch(&mut self, id: u32) -> bool {
        let hit = matches!(self.lists.list_of(id), Some(SMALL | MAIN));
        if hit {
            let uses = self.lists.uses(id);
            *uses = (*uses + 1).min(USES_MAX);
        }
        hit
    }

    fn insert(&mut self, id: u32) {
        let cost = self.costs.of(id);
        let returns = self.lists.list_of(id) == Some(GHOST);
        if returns {
            self.lists.unlink(id, cost);
        }
        if u64::from(cost) > if returns { self.capacity } else { self.small } {
            return;
        }
        while self.lists.cost(SMALL) + self.lists.cost(MAIN) + u64::from(cost) > self.capacity {
            self.evict();
        }
        *self.lists.uses(id) = 0;
        self.lists.push(if returns { MAIN } else { SMALL }, id, cost);
    }

    fn remove(&mut self, id: u32) {
        if matches!(self.lists.list_of(id), Some(SMALL | MAIN)) {
            self.lists.unlink(id, self.costs.of(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hits;
    use super::*;

    fn queue(cache: &S3Fifo<'_>, list: usize) -> Vec<u32> {
        (0..100).filter(|id| cache.lists.list_of(*id) == Some(list)).collect()
    }

    #[test]
    fn a_worked_example() {
        // Ten objects: one in the small queue once the cache has been full, nine in main, nine ghosts.
        let mut cache = S3Fifo::new(100, 10, Costs::One);
        hits(&mut cache, &(0..10).collect::<Vec<u32>>());
        // Two uses of 0 and 1, one use of 2.
        assert_eq!(hits(&mut cache, &[0, 0, 1, 1, 2]), [true; 5]);
        // 0 and 1 earned their place in main; 2 did not and is the victim.
        hits(&mut cache, &[10]);
        assert_eq!(queue(&cache, MAIN), [0, 1]);
        assert_eq!(queue(&cache, SMALL), [3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(queue(&cache, GHOST), [2]);
        // A ghost returns to main at once; 3 goes for it.
        assert_eq!(hits(&mut cache, &[2]), [false]);
        assert_eq!(queue(&cache, MAIN), [0, 1, 2]);
        assert_eq!(queue(&cache, GHOST), [3]);
        // One new object after the other: the small queue is passed through, nobody else is troubled.
        hits(&mut cache, &(20..40).collect::<Vec<u32>>());
        assert_eq!(queue(&cache, MAIN), [0, 1, 2]);
        assert_eq!(queue(&cache, SMALL), (33..40).collect::<Vec<u32>>());
        assert_eq!(queue(&cache, GHOST), (24..33).collect::<Vec<u32>>());
    }

    #[test]
    fn main_gives_up_the_oldest_without_uses() {
        let mut cache = S3Fifo::new(100, 10, Costs::One);
        let all: Vec<u32> = (0..10).collect();
        (0..3).for_each(|_| drop(hits(&mut cache, &all)));
        // All ten earned main; the sweep then finds none with a use left, counts having been cleared: 0 goes.
        hits(&mut cache, &[10]);
        assert_eq!((queue(&cache, MAIN), queue(&cache, SMALL)), ((1..10).collect(), vec![10]));
        // The small queue has its share: 10 goes, a ghost; it returns to main, 11 going for it.
        hits(&mut cache, &[11, 10]);
        assert_eq!((queue(&cache, SMALL), queue(&cache, GHOST)), (vec![], vec![11]));
        // The small queue is empty, main gives: 1 was used and stays, 2 goes.
        assert_eq!(hits(&mut cache, &[1, 12]), [true, false]);
        assert_eq!(queue(&cache, MAIN), [1, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn sizes_count() {
        let mut costs = [5; 100];
        (costs[4], costs[5]) = (11, 10);
        let mut cache = S3Fifo::new(100, 100, Costs::Each(&costs));
        hits(&mut cache, &[4, 5, 0, 1, 2, 3]);
        assert_eq!(queue(&cache, SMALL), [0, 1, 2, 3, 5], "4 would overfill the small queue");
        cache.remove(1);
        assert_eq!((cache.lists.cost(SMALL), cache.touch(1)), (25, false));
    }
}
