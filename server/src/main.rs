//! Millpond: a Redis-protocol cache server. This file is the parts list: it reads the settings, builds the parts, starts
//! the cores and waits for the end.

mod body;
mod clock;
mod config;
mod logging;
mod net;
mod origin;
mod process;
mod projection;
mod shared;
mod tls;
mod web;
#[cfg(all(feature = "kafka", target_os = "linux"))]
mod zeroed;

use ::projection::config::Document;
use clock::Clock;
use commands::node::{Node, VERSION};
use commands::origin::address::Allow;
use commands::settings::Settings;
use net::inbox::Inbox;
use net::listener::{Endpoints, Listeners, open_http};
use net::reactor::Reactor;
use shared::{ProcessHost, Shared};
use std::process::ExitCode;
use std::sync::Arc;
use std::{io, thread};
use storage::{Layout, Store};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Descriptors beyond those of clients: listeners and logs, and for each core epoll sets, timers and a bell.
const OWN_FILES: u64 = 64;
const OWN_FILES_PER_CORE: u64 = 8;

fn main() -> ExitCode {
    let (settings, document) = match config::load() {
        Ok(config::Start::Serve(settings, document)) => (*settings, document),
        Ok(config::Start::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(message) => return fail(&message),
    };
    logging::start(&settings.text("loglevel"), &settings.text("logformat"));
    match serve(settings, document) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("millpond: {message}");
    ExitCode::FAILURE
}

fn serve(settings: Settings, document: Document) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let listeners = Listeners::open(endpoints(&settings))?;
    let web = match count(&settings, "http-port") as u16 {
        0 => Vec::new(),
        port => {
            let Endpoints { bind, backlog, .. } = endpoints(&settings);
            open_http(&bind, port, backlog)?
        }
    };
    let cores = match count(&settings, "threads") {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads as usize,
    };
    let mut own_files = OWN_FILES + OWN_FILES_PER_CORE * cores as u64;
    own_files += if web.is_empty() { 0 } else { web::MAX_FILES };
    own_files += if settings.text("origin-allow").is_empty() { 0 } else { origin::FILES };
    limit_clients(&settings, own_files);
    settings.record("threads", &cores.to_string());
    settings.record("dir", &std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default());

    let clock = Clock::start();
    let secret = process::random_words::<4>().map_err(told)?;
    let [run_high, run_mid, run_low, seed] = process::random_words::<4>().map_err(told)?;
    let run_id = format!("{run_high:016x}{run_mid:016x}{:08x}", run_low as u32);
    let store = Store::new(Layout::new(Layout::stripes_for(count(&settings, "maxmemory")), secret));
    settings.apply_memory(&store);
    let inboxes = (0..cores).map(|_| Inbox::new()).collect::<io::Result<Arc<[Inbox]>>>().map_err(told)?;
    let about = process::about(settings.text("config"));
    let allow = Allow::parse(&settings.text("origin-allow"), &settings.text("origin-allow-net"))?;
    let (origins, jobs) = origin::channel();
    let origins = (!allow.is_off()).then_some(origins);
    let loads = origins.is_some();
    let host = ProcessHost::new(Arc::clone(&inboxes), clock.clone(), about, own_files, origins);
    let mut node = Node::new(settings, cores, Box::new(host), run_id, clock.now_ms());
    node.projections = projection::boards(&document);
    // Shared by every thread to the end of the process: leaking it is its lifetime.
    let shared: &'static Shared = Box::leak(Box::new(Shared::new(store, node, inboxes)));
    // What is there before any key or client counts as well.
    let base = shared.store.base_bytes() + cores * net::turn::ARENA_BYTES;
    shared.store.memory().charge_outside(base as i64);
    shared.watch_limit();
    banner(shared, &listeners, cores);

    // Not waited for: it holds nothing that an end in order would have to save.
    thread::Builder::new().name("stock".to_string()).spawn(storage::keep_stock).map_err(told)?;
    if loads {
        origin::start(jobs, allow, shared, clock.clone(), seed ^ u64::MAX).map_err(told)?;
    }
    let routes = projection::routes(&document, &shared.node.projections)?;
    projection::start(document, shared, &clock, seed ^ 1 << 63)?;
    if !web.is_empty() {
        web::start(web, shared, routes, &clock).map_err(told)?;
    }
    let others: Vec<_> = (1..cores)
        .map(|core| {
            let clock = clock.clone();
            let name = format!("core-{core}");
            thread::Builder::new().name(name).spawn(move || run_core(core, shared, clock, seed, None))
        })
        .collect::<io::Result<_>>()
        .map_err(told)?;
    run_core(0, shared, clock, seed, Some(listeners)).map_err(told)?;
    for other in others {
        other.join().map_err(|_| "a serving core failed".to_string())?.map_err(told)?;
    }
    tracing::info!("ended in order");
    Ok(())
}

/// Runs one core to its end; the first one also accepts connections and listens to signals.
fn run_core(
    core: usize,
    shared: &'static Shared,
    clock: Clock,
    seed: u64,
    listeners: Option<Listeners>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let reactor = Reactor::new(core, shared, clock, seed ^ (core as u64) << 48)?;
        if let Some(listeners) = listeners {
            let accepting = listeners.serve(shared)?;
            tokio::spawn(end_on_request(shared, accepting)?);
        }
        reactor.run().await
    })
}

/// Waits for SIGTERM, SIGINT or SHUTDOWN, then stops accepting and tells the cores.
fn end_on_request(
    shared: &'static Shared,
    accepting: net::listener::Accepting,
) -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
            _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
            () = shared.stop.requested() => tracing::info!("SHUTDOWN: ending"),
        }
        drop(accepting);
        shared.stop_cores();
    })
}

/// A setting that is a number and never negative.
fn count(settings: &Settings, name: &str) -> u64 {
    settings.number(name).unsigned_abs()
}

fn endpoints(settings: &Settings) -> Endpoints {
    let text = |name| Some(settings.text(name)).filter(|text| !text.is_empty());
    Endpoints {
        bind: settings.text("bind").split_whitespace().map(str::to_owned).collect(),
        port: count(settings, "port") as u16,
        unix_path: text("unixsocket").map(Into::into),
        unix_mode: text("unixsocketperm").and_then(|mode| u32::from_str_radix(&mode, 8).ok()).filter(|mode| *mode > 0),
        backlog: count(settings, "tcp-backlog") as u32,
    }
}

/// Makes sure that `maxclients` descriptors can be open, or lowers it and says so.
fn limit_clients(settings: &Settings, own_files: u64) {
    let wanted = count(settings, "maxclients");
    let files = process::raise_open_files(wanted + own_files);
    if files < wanted + own_files {
        let possible = files.saturating_sub(own_files).max(1);
        tracing::warn!(maxclients = wanted, now = possible, "lowered: the limit of open files is {files}");
        settings.record("maxclients", &possible.to_string());
    }
}

fn banner(shared: &Shared, listeners: &Listeners, cores: usize) {
    let memory = &shared.store.memory();
    let limit = match memory.limit() {
        0 => format!("none (the machine has {} MiB)", process::machine_bytes() >> 20),
        bytes => format!("{} MiB, {}", bytes >> 20, memory.policy().name()),
    };
    if cfg!(target_arch = "x86_64") && !cfg!(target_feature = "aes") {
        tracing::warn!("built without AES instructions: keys are hashed more slowly");
    }
    tracing::info!(cores, memory = limit, "Millpond {VERSION} is ready on {}", listeners.addresses().join(", "));
}
