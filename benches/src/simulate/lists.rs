//! Doubly linked lists over key numbers: a key is in at most one of them, and leaves it in constant time.

/// No key.
const NONE: u32 = u32::MAX;
/// The key is in no list.
const NOWHERE: u8 = u8::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
    list: u8,
    /// Free for the owner: uses counted.
    uses: u8,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    newest: u32,
    oldest: u32,
    objects: usize,
    cost: u64,
}

/// `N` lists over the keys `0..ids`.
#[derive(Debug)]
pub struct Lists<const N: usize> {
    links: Vec<Link>,
    ends: [Ends; N],
}

impl<const N: usize> Lists<N> {
    pub fn new(ids: u32) -> Self {
        Self {
            links: vec![Link { newer: NONE, older: NONE, list: NOWHERE, uses: 0 }; ids as usize],
            ends: [Ends { newest: NONE, oldest: NONE, objects: 0, cost: 0 }; N],
        }
    }

    /// The list this key is in.
    #[inline]
    pub fn list_of(&self, id: u32) -> Option<usize> {
        let list = self.links[id as usize].list;
        (list != NOWHERE).then_some(usize::from(list))
    }

    #[inline]
    pub fn uses(&mut self, id: u32) -> &mut u8 {
        &mut self.links[id as usize].uses
    }

    pub fn objects(&self, list: usize) -> usize {
        self.ends[list].objects
    }

    /// Sum of the costs given when the keys were put in.
    pub fn cost(&self, list: usize) -> u64 {
        self.ends[list].cost
    }

    pub fn oldest(&self, list: usize) -> Option<u32> {
        let oldest = self.ends[list].oldest;
        (oldest != NONE).then_some(oldest)
    }

    /// Puts a key that is in no list at the new end of one.
    pub fn push(&mut self, list: usize, id: u32, cost: u32) {
        let ends = &mut self.ends[list];
        let before = std::mem::replace(&mut ends.newest, id);
        ends.objects += 1;
        ends.cost += u64::from(cost);
        match before {
            NONE => ends.oldest = id,
            _ => self.links[before as usize].newer = id,
        }
        let link = &mut self.links[id as usize];
        debug_assert_eq!(link.list, NOWHERE);
        (link.newer, link.older, link.list) = (NONE, before, list as u8);
    }

    /// Takes a key out of its list, at the cost it was put in with.
    pub fn unlink(&mut self, id: u32, cost: u32) {
        let Link { newer, older, list, .. } = self.links[id as usize];
        let ends = &mut self.ends[usize::from(list)];
        ends.objects -= 1;
        ends.cost -= u64::from(cost);
        match newer {
            NONE => ends.newest = older,
            _ => self.links[newer as usize].older = older,
        }
        match older {
            NONE => self.ends[usize::from(list)].oldest = newer,
            _ => self.links[older as usize].newer = newer,
        }
        self.links[id as usize].list = NOWHERE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_leave_from_the_ends_and_the_middle() {
        let mut lists = Lists::<2>::new(5);
        (0..5).for_each(|id| lists.push(0, id, 10 + id));
        assert_eq!((lists.objects(0), lists.cost(0), lists.oldest(0)), (5, 60, Some(0)));
        for (gone, oldest) in [(2, Some(0)), (0, Some(1)), (4, Some(1)), (1, Some(3)), (3, None)] {
            lists.unlink(gone, 10 + gone);
            lists.push(1, gone, 1);
            assert_eq!((lists.oldest(0), lists.list_of(gone)), (oldest, Some(1)));
        }
        assert_eq!((lists.objects(0), lists.cost(0), lists.cost(1), lists.oldest(1)), (0, 0, 5, Some(2)));
    }
}
