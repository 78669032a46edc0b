//! What the system did to the measuring thread: involuntary context switches and page faults, from `/proc`.
//!
//! A reading costs some microseconds, so it is made only after a sample that was long enough to be worth a question.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Counts since the thread began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times the kernel took the core away.
    pub switches: u64,
    /// Page faults served without a disk.
    pub faults: u64,
}

/// The counts of the thread that opened it.
#[derive(Debug)]
pub struct Watch {
    status: File,
    stat: File,
    text: Vec<u8>,
}

impl Watch {
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            status: File::open("/proc/thread-self/status")?,
            stat: File::open("/proc/thread-self/stat")?,
            text: vec![0; 4096],
        })
    }

    pub fn read(&mut self) -> io::Result<Counts> {
        let length = self.status.read_at(&mut self.text, 0)?;
        let switches = switches(&self.text[..length]);
        let length = self.stat.read_at(&mut self.text, 0)?;
        let faults = faults(&self.text[..length]);
        switches
            .zip(faults)
            .map(|(switches, faults)| Counts { switches, faults })
            .ok_or_else(|| io::Error::other("cannot read the thread's counts in /proc"))
    }
}

/// From `/proc/../status`; the line is its last.
fn switches(status: &[u8]) -> Option<u64> {
    let name = b"nonvoluntary_ctxt_switches:";
    let at = status.windows(name.len()).rposition(|window| window == name)?;
    std::str::from_utf8(&status[at + name.len()..]).ok()?.split_whitespace().next()?.parse().ok()
}

/// From `/proc/../stat`: the tenth field, the eighth behind the name in parentheses.
fn faults(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        assert_eq!(switches(b"voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t12\n"), Some(12));
        assert_eq!(faults(b"1 (a) b) R 2 3 4 5 6 4194304 97 0 0"), Some(97));
        assert_eq!(switches(b"nothing"), None);
    }

    #[test]
    fn touching_fresh_memory_is_counted() {
        let mut watch = Watch::open().unwrap();
        let before = watch.read().unwrap();
        let mut fresh = vec![0u8; 8 << 20];
        fresh.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::hint::black_box(&fresh);
        assert!(watch.read().unwrap().faults > before.faults);
    }
}
