//! Exact LRU: the object unused for longest goes.

use super::Cache;
use crate::lists::Lists;
use crate::trace::Costs;

pub struct Lru<'t> {
    capacity: u64,
    costs: Costs<'t>,
    lists: Lists<1>,
}

impl<'t> Lru<'t> {
    pub fn new(ids: u32, capacity: u64, costs: Costs<'t>) -> Self {
        Self { capacity, costs, lists: Lists::new(ids) }
    }
}

impl Cache for Lru<'_> {
    fn touch(&mut self, id: u32) -> bool {
        let hit = self.lists.list_of(id).is_some();
        if hit {
            let cost = self.costs.of(id);
            self.lists.unlink(id, cost);
            self.lists.push(0, id, cost);
        }
        hit
    }

    fn insert(&mut self, id: u32) {
        let cost = self.costs.of(id);
        if u64::from(cost) > self.capacity {
            return;
        }
        while self.lists.cost(0) + u64::from(cost) > self.capacity
            && let Some(oldest) = self.lists.oldest(0)
        {
            self.remove(oldest);
        }
        self.lists.push(0, id, cost);
    }

    fn remove(&mut self, id: u32) {
        if self.lists.list_of(id).is_some() {
            self.lists.unlink(id, self.costs.of(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hits;
    use super::*;

    #[test]
    fn the_least_recently_used_goes() {
        let mut cache = Lru::new(9, 3, Costs::One);
        // 4 takes the place of 2, since 1 was used again; then 2 takes that of 3.
        let seen = hits(&mut cache, &[1, 2, 3, 1, 4, 2, 1, 3, 4]);
        assert_eq!(seen, [false, false, false, true, false, false, true, false, false]);
        cache.remove(4);
        assert_eq!(hits(&mut cache, &[1, 3, 4]), [true, true, false]);
    }

    #[test]
    fn large_objects_push_out_several() {
        let costs = [1, 1, 1, 3, 5];
        let mut cache = Lru::new(5, 4, Costs::Each(&costs));
        // 3 needs room for three of four: 0 and 1 go. 4 never fits.
        assert_eq!(
            hits(&mut cache, &[0, 1, 2, 3, 2, 4, 4, 3, 0]),
            [false, false, false, false, true, false, false, true, false]
        );
    }
}
