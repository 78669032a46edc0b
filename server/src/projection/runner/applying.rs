//! From the engine to the store, in slices.

use super::{Runner, cx};
use projection::apply::{Target, apply};
use projection::engine::Batch;
use projection::source::Source;
use storage::Position;

/// Changes applied between two looks at the clock.
const OPS_PER_LOOK: usize = 16;
/// Keys looked at in one step of a sweep.
const SWEEP_KEYS: usize = 256;

impl<S: Source> Runner<S> {
    /// Applies what was gathered, and carries out what comes of it before anybody is shown how it stands.
    pub(super) fn apply(&mut self) {
        let batch = self.engine.take();
        let conflicts = self.apply_batch(&batch);
        let now_ms = self.now_ms();
        self.engine.applied(batch, conflicts, now_ms);
        self.grant();
    }

    /// Applies what waited for the end of a rebuild. What that took is the store's then, batch by batch.
    pub(super) fn release(&mut self) {
        self.charge();
        let held = core::mem::take(self.engine.held());
        for (batch, kept_bytes) in held.into_batches(self.room.batch_bytes(&self.parts.shared.store)) {
            self.apply_batch(&batch);
            self.parts.shared.store.memory().charge_outside(-(kept_bytes as i64));
            self.charged_bytes -= kept_bytes as i64;
            // It goes on growing old meanwhile.
            self.is_dirty = true;
            self.show_if_due(false);
        }
        self.engine.released();
        self.charge();
    }

    /// Applies a batch in slices. Gives how many entries were written over those from elsewhere.
    fn apply_batch(&mut self, batch: &Batch) -> u64 {
        let (store, db, measures) = (&self.parts.shared.store, self.parts.board.db, self.room.books());
        let slice = self.engine.config().limits.apply_slice;
        let slice_ns = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
        self.hashes.clear();
        let access = self.participant.batch();
        self.hashes.extend(batch.iter().map(|op| access.hash(op.key)));
        drop(access);
        let (hashes, mut ops) = (&self.hashes, batch.iter().enumerate().peekable());
        let mut conflicts = 0;
        while ops.peek().is_some() {
            let encode = commands::families::string::encode;
            let target = Target { store, db, encode, cx: cx(&self.parts), measures };
            let begun = self.parts.clock.ticks();
            let mut access = self.participant.batch();
            loop {
                for (at, op) in ops.by_ref().take(OPS_PER_LOOK) {
                    access.prefetch_ahead(at, |at| Some((db, *hashes.get(at)?)));
                    let effect = apply(&mut access, &target, self.engine.held(), (hashes[at], &op));
                    conflicts += effect.conflicts;
                    self.room.book(effect.grown_bytes);
                }
                let spent = self.parts.clock.ns_between(begun, self.parts.clock.ticks());
                if ops.peek().is_none() || spent >= slice_ns {
                    self.apply_times.note(spent);
                    break;
                }
            }
        }
        conflicts
    }

    /// Drops the next entries of earlier generations.
    pub(super) fn sweep_on(&mut self, generation: u8, from: Position) {
        let cx = cx(&self.parts);
        let (db, prefix) = (self.parts.board.db, &self.parts.board.prefix);
        let mut access = self.participant.batch();
        let (_, next) = access.drop_projected(db, prefix, Some(generation), (from, SWEEP_KEYS), &cx);
        self.sweep = next.map(|next| (generation, next));
        if self.sweep.is_none() {
            self.engine.swept();
        }
        self.is_dirty = true;
    }
}
