//! Which measured times the system disturbed (feature `histogram`): the thread's involuntary context switches, read from
//! `/proc` after a long sample only.

use commands::pauses::Pauses;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Samples up to this long are believed: a context switch takes longer, with what runs meanwhile.
const LOOK_ABOVE_NS: u64 = 5_000;

/// The count of one thread.
pub struct Watch {
    status: File,
    switches: u64,
}

impl Watch {
    /// Of the calling thread.
    pub fn open() -> std::io::Result<Self> {
        let mut watch = Self { status: File::open("/proc/thread-self/status")?, switches: 0 };
        watch.switches = watch.read().unwrap_or(0);
        Ok(watch)
    }

    /// Books a sample. True if it was looked into, which takes some 20 us that belong to no command.
    #[inline]
    pub fn record(&mut self, ns: u64, pauses: &Pauses) -> bool {
        if ns <= LOOK_ABOVE_NS {
            pauses.record(ns);
            return false;
        }
        self.look_into(ns, pauses);
        true
    }

    #[cold]
    fn look_into(&mut self, ns: u64, pauses: &Pauses) {
        match self.read() {
            Some(switches) if switches == self.switches => pauses.record(ns),
            switches => {
                self.switches = switches.unwrap_or(self.switches);
                pauses.drop_one();
            }
        }
    }

    /// What happened between commands is nobody's.
    pub fn pass_over(&mut self) {
        self.switches = self.read().unwrap_or(self.switches);
    }

    /// From the last line of the file.
    fn read(&self) -> Option<u64> {
        let mut text = [0; 4096];
        let length = self.status.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.rsplit_once("nonvoluntary_ctxt_switches:")?.1.trim().parse().ok()
    }
}
