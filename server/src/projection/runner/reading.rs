//! From the source to the engine, as far as there is memory.

use super::{Runner, cx};
use crate::projection::room::{Counted, Found, Room};
use projection::config::OnOom;
use projection::engine::Engine;
use projection::source::{Event, Source};
use std::thread;
use std::time::Duration;

/// Longest wait for something to read, while others may ask.
const IDLE: Duration = Duration::from_millis(10);
/// Events told before what they change is applied: events, not changes, of which filters may leave few.
const BATCH_EVENTS: usize = 4096;
/// Batches that there is to be room for before reading goes on where there was none: each end of such a wait has what was
/// queued fetched anew.
const BATCHES_AFTER_WAIT: usize = 4;

impl<S: Source> Runner<S> {
    /// Reads what there is, up to a batch; whether there was anything.
    pub(super) fn read(&mut self) -> bool {
        let (now_ms, wall_ms) = (self.now_ms(), self.parts.clock.now_ms());
        let (engine, source) = (&mut self.engine, &mut self.parts.source);
        let mut tell = |event: Event<'_>| engine.tell(event, now_ms, wall_ms);
        let wait = if self.is_dirty || self.sweep.is_some() { Duration::ZERO } else { IDLE };
        if !source.poll(wait, &mut tell) {
            self.engine.ran_dry();
            return false;
        }
        self.is_dirty = true;
        let begun = self.parts.clock.ticks();
        let batch_bytes = self.room.batch_bytes(&self.parts.shared.store);
        let bytes = |engine: &Engine| engine.gathered_bytes() + engine.gathered() * Room::ENTRY_BYTES;
        let mut is_room_asked = false;
        for _ in 0..BATCH_EVENTS {
            // Not for ends alone.
            if !is_room_asked && self.engine.gathered() > 0 {
                is_room_asked = true;
                if !self.has_room(1) {
                    break;
                }
            }
            if bytes(&self.engine) >= batch_bytes {
                break;
            }
            let engine = &mut self.engine;
            let mut tell = |event: Event<'_>| engine.tell(event, now_ms, wall_ms);
            if !self.parts.source.poll(Duration::ZERO, &mut tell) {
                self.engine.ran_dry();
                break;
            }
        }
        self.read_times.note(self.parts.clock.ns_between(begun, self.parts.clock.ticks()));
        true
    }

    /// Whether there is memory to read on; else hears what the source tells beside records, which would pile up, and waits a
    /// little. What is not read meanwhile waits at the brokers.
    pub(super) fn may_read(&mut self) -> bool {
        if !self.engine.is_starved() && !self.room.is_counting() {
            return true;
        }
        let (now_ms, wall_ms) = (self.now_ms(), self.parts.clock.now_ms());
        let heard = if self.engine.is_starved() { BATCH_EVENTS } else { 0 };
        for _ in 0..heard {
            let engine = &mut self.engine;
            if !self.parts.source.poll(Duration::ZERO, &mut |event| engine.tell(event, now_ms, wall_ms)) {
                break;
            }
        }
        let has_room = self.has_room(BATCHES_AFTER_WAIT);
        if self.engine.is_starved() && !self.room.is_counting() && self.sweep.is_none() {
            thread::sleep(Room::WAIT);
        }
        has_room
    }

    /// Whether there is memory for so many batches.
    fn has_room(&mut self, batches: usize) -> bool {
        let (cx, now_ms) = (cx(&self.parts), self.now_ms());
        let (store, projection) = (&self.parts.shared.store, &*self.parts.board);
        let among = Counted { store, participant: &mut self.participant, projection, cx };
        let was_starved = self.engine.is_starved();
        match self.room.find(batches, self.engine.remembered_bytes(), among) {
            Found::Room => self.engine.set_starved(None, now_ms),
            Found::Counting => return false,
            Found::None(reason) => {
                self.engine.set_starved(Some(reason), now_ms);
                if self.engine.config().limits.on_oom == OnOom::Stop {
                    self.engine.set_paused(None, true);
                }
            }
        }
        self.is_dirty |= self.engine.is_starved() != was_starved;
        !self.engine.is_starved()
    }
}
