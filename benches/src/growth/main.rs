//! Times every step of one store, in this process and without sockets: growing to many keys, reading with and without
//! prefetch, rewriting, deleting.
//!
//! Steps are timed with the processor's counter. A sample is dropped only when the kernel took the core away meanwhile;
//! samples with a page fault are kept, and shown apart as well. Memory is the store and a few histograms.

mod disturbance;
mod options;
mod phases;
mod steps;

use std::process::ExitCode;

use options::Options;

/// The server's allocator: what a step costs is partly its work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = Options::from_args().and_then(|options| {
        // As in the server; begun here, it may run on any core.
        std::thread::spawn(storage::keep_stock);
        if let Some(core) = options.core {
            stay_on(core).map_err(|error| format!("cannot run on core {core}: {error}"))?;
        }
        phases::run(&options).map_err(|error| error.to_string())
    });
    match result {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("growth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stay_on(core: usize) -> rustix::io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
}
