//! What commands may ask of the process around them.

use crate::loader::LoadJob;
use crate::through::WriteJob;

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

/// What the process is, fixed at its start.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Kernel name, release and machine, such as `Linux 6.1.0 x86_64`.
    pub system: String,
    /// What it waits for sockets with, such as `epoll`.
    pub polling: String,
    /// Path of the running program.
    pub executable: String,
    /// Path of the configuration file, empty without one.
    pub config_file: String,
    /// Zone of the data centre, empty if unknown.
    pub zone: String,
    /// Identifies the build.
    pub build_id: String,
    /// Process number.
    pub process_id: u32,
}

/// The shell, as seen from a handler. Calls return at once.
pub trait Host: Send + Sync {
    /// Makes a serving core look at its clients (killed ones, pauses that ended).
    fn wake(&self, core: usize);

    /// Loads from an origin; the job back if the server asks none.
    fn load(&self, job: LoadJob) -> Result<(), LoadJob> {
        Err(job)
    }

    /// Writes to an origin, and [tells](crate::through::tell) how it ended; the job back if the server asks none.
    fn write(&self, job: WriteJob) -> Result<(), WriteJob> {
        Err(job)
    }

    /// Current measurements.
    fn process(&self) -> ProcessStats;

    /// What the process is; unknown parts stay empty.
    fn about(&self) -> About {
        About::default()
    }

    /// A live setting changed to this text; the shell acts on those it keeps copies of.
    fn setting_changed(&self, name: &str, text: &str);
}
