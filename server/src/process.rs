//! This process as the operating system sees it: measurements, limits, random secrets.

use commands::host::{About, ProcessStats};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io;

/// Current measurements; what the system does not tell is 0.
pub fn measure(uptime_ms: u64) -> ProcessStats {
    let (user_us, system_us) = cpu_us().unwrap_or((0, 0));
    ProcessStats {
        resident_bytes: resident_bytes().unwrap_or(0),
        user_us,
        system_us,
        machine_bytes: machine_bytes(),
        uptime_ms,
    }
}

/// What the process is.
pub fn about(config_file: String) -> About {
    let system = rustix::system::uname();
    let words = [system.sysname(), system.release(), system.machine()];
    About {
        system: words.map(|word| word.to_string_lossy().into_owned()).join(" "),
        polling: "epoll".into(),
        executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
        config_file,
        zone: String::new(),
        build_id: format!("{}-{}", env!("CARGO_PKG_VERSION"), if cfg!(debug_assertions) { "debug" } else { "release" }),
        process_id: std::process::id(),
    }
}

/// User and system time in microseconds, from clock ticks (10 ms each on Linux).
fn cpu_us() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may hold spaces and brackets: count from its closing bracket.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let mut next = || Some(fields.next()?.parse::<u64>().ok()? * tick_us);
    Some((next()?, next()?))
}

fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Memory of the machine, or of the container if that is less.
pub fn machine_bytes() -> u64 {
    let machine = {
        let info = rustix::system::sysinfo();
        info.totalram as u64 * u64::from(info.mem_unit)
    };
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    container.map_or(machine, |container: u64| container.min(machine))
}

/// Raises the limit of open files to at least `wanted`; gives the limit now in force.
pub fn raise_open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let current = now.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let maximum = now.maximum.map_or(wanted, |maximum| maximum.max(wanted));
    // Root may raise both limits, others only up to the hard one.
    for maximum in [maximum, now.maximum.unwrap_or(wanted)] {
        let limit = Rlimit { current: Some(wanted.min(maximum)), maximum: Some(maximum) };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return wanted.min(maximum);
        }
    }
    current
}

/// Random bytes from the system, as words.
pub fn random_words<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        let mut bytes = [0; 8];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}

/// Lets other threads go first, on this thread and on those it starts: by ten steps of niceness.
pub fn stand_back() {
    // Refused only where somebody has taken the right to be nicer away: then it is as it was.
    let _ = rustix::process::nice(10);
}
