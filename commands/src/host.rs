//! What commands may ask of the process around them.

/// Measurements of the process that only the shell can take.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessStats {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// User CPU time, microseconds.
    pub user_us: u64,
    /// System CPU time, microseconds.
    pub system_us: u64,
    /// Memory of the machine (or of its container), bytes.
    pub machine_bytes: u64,
    /// Monotonic time since the start, ms.
    pub uptime_ms: u64,
}

/// The shell, as seen from a handler. Calls return at once.
pub trait Host: Send + Sync {
    /// Makes a serving core look at its clients (killed ones, pauses that ended).
    fn wake(&self, core: usize);

    /// Current measurements.
    fn process(&self) -> ProcessStats;

    /// A live setting changed, by this configuration name; the shell acts on those it keeps copies of.
    fn setting_changed(&self, name: &str);
}
