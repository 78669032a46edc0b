//! What is gone for everybody but takes long to free: flushed tables, large objects. Ticks free it in slices; until then it
//! counts as used.

use crate::fields::Object;
use crate::limits::DRAIN_SEGMENTS;
use crate::store::Memory;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::table::Table;
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Graveyard {
    tables: Mutex<VecDeque<Table>>,
    /// Their number, for a cheap look.
    len: AtomicUsize,
}

impl Graveyard {
    /// Tables not yet freed.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> i64 {
        self.tables.lock().iter().map(|table| table.bytes() as i64).sum()
    }

    /// Takes tables whose bytes are counted as used.
    pub fn bury(&self, tables: Vec<Table>) {
        let mut all = self.tables.lock();
        self.len.fetch_add(tables.len(), Ordering::Relaxed);
        all.extend(tables);
    }

    /// Takes objects whose entries are gone, and whose bytes went with them; those that another entry has as well live on.
    #[cold]
    pub fn bury_objects(&self, objects: Vec<Arc<Object>>, memory: &Memory) {
        let tables: Vec<Table> = objects.into_iter().filter_map(Arc::into_inner).map(Object::into_table).collect();
        memory.charge(tables.iter().map(|table| table.bytes() as i64).sum());
        self.bury(tables);
    }

    /// Frees a slice; true if there was something to free.
    pub fn free_some(&self, memory: &Memory) -> bool {
        if self.len() == 0 {
            return false;
        }
        let Some(mut table) = self.tables.lock().pop_front() else {
            return false;
        };
        let (freed, empty) = table.drain_segments(DRAIN_SEGMENTS);
        memory.charge(-(freed as i64));
        if let Some(objects) = table.buried.take() {
            self.bury_objects(*objects, memory);
        }
        let mut tables = self.tables.lock();
        if !empty {
            tables.push_front(table);
            return true;
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        if tables.is_empty() {
            // The queue itself can be large after a flush of all databases.
            *tables = VecDeque::new();
        }
        true
    }
}
