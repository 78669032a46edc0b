//! What the threads of the server share: the store, the node, and ways to reach each other.

use crate::clock::Clock;
use crate::net::inbox::{Inbox, Mail};
use crate::origin::Origins;
use commands::host::{About, Host, ProcessStats};
use commands::loader::LoadJob;
use commands::node::Node;
use commands::through::WriteJob;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::sync::Arc;
use storage::Store;
use tokio::sync::Notify;

/// Lives as long as the process.
pub struct Shared {
    /// All keys.
    pub store: Store,
    /// What commands share.
    pub node: Node,
    /// One letter box per serving core.
    pub inboxes: Arc<[Inbox]>,
    /// Connections of each core.
    pub loads: Box<[AtomicUsize]>,
    /// The request to end.
    pub stop: Stop,
    rates: Mutex<Option<RateSample>>,
    /// Whether the memory limit was found below what the server takes without any key.
    limit_too_low: AtomicBool,
}

/// Totals at an instant, for rates.
struct RateSample {
    at_ms: u64,
    commands: u64,
    input_bytes: u64,
    output_bytes: u64,
}

impl Shared {
    /// All parts together.
    pub fn new(store: Store, node: Node, inboxes: Arc<[Inbox]>) -> Self {
        let loads = inboxes.iter().map(|_| AtomicUsize::new(0)).collect();
        Self {
            store,
            node,
            inboxes,
            loads,
            stop: Stop::default(),
            rates: Mutex::new(None),
            limit_too_low: AtomicBool::new(false),
        }
    }

    /// Recomputes the rates INFO shows over at least the last second.
    pub fn refresh_rates(&self, now_ms: u64) {
        let mut last = self.rates.lock();
        if last.as_ref().is_some_and(|last| now_ms.saturating_sub(last.at_ms) < 1000) {
            return;
        }
        let node = &self.node;
        let sample = RateSample {
            at_ms: now_ms,
            commands: node.sum(|worker| worker.commands.value()),
            input_bytes: node.sum(|worker| worker.input_bytes.value()),
            output_bytes: node.sum(|worker| worker.output_bytes.value()),
        };
        if let Some(last) = &*last {
            let ms = now_ms.saturating_sub(last.at_ms).max(1);
            let rate = |new: u64, old: u64| new.saturating_sub(old) * 1000 / ms;
            node.rates.commands.store(rate(sample.commands, last.commands), Ordering::Relaxed);
            node.rates.input_bytes.store(rate(sample.input_bytes, last.input_bytes), Ordering::Relaxed);
            node.rates.output_bytes.store(rate(sample.output_bytes, last.output_bytes), Ordering::Relaxed);
        }
        *last = Some(sample);
    }

    /// Says in the log when no key could be stored under the memory limit, and when that is over.
    pub fn watch_limit(&self) {
        let memory = self.store.memory();
        let (limit, base) = (memory.limit(), memory.used().saturating_sub(memory.dataset()));
        let too_low = limit > 0 && limit <= base;
        if too_low == self.limit_too_low.swap(too_low, Ordering::Relaxed) {
            return;
        }
        if too_low {
            tracing::warn!(
                maxmemory = limit,
                base,
                "the memory limit is below what the server takes without any key: writes are refused (OOM)"
            );
        } else {
            tracing::info!(maxmemory = limit, base, "the memory limit has room for keys again");
        }
    }

    /// Tells every core to answer what it has read and end.
    pub fn stop_cores(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.send(Mail::Stop));
    }
}

/// A request to end the server, made by a signal or by SHUTDOWN.
#[derive(Default)]
pub struct Stop {
    requested: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Asks for the end.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Returns once the end was asked for.
    pub async fn requested(&self) {
        while !self.requested.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }
}

/// Wakes cores and measures the process, for commands.
pub struct ProcessHost {
    inboxes: Arc<[Inbox]>,
    clock: Clock,
    about: About,
    /// Descriptors the server needs besides those of its clients.
    own_files: u64,
    /// Who loads from origins, if any may be asked.
    origins: Option<Origins>,
}

impl ProcessHost {
    /// The host of the cores behind these letter boxes.
    pub fn new(inboxes: Arc<[Inbox]>, clock: Clock, about: About, own_files: u64, origins: Option<Origins>) -> Self {
        Self { inboxes, clock, about, own_files, origins }
    }
}

impl Host for ProcessHost {
    fn wake(&self, core: usize) {
        if let Some(inbox) = self.inboxes.get(core) {
            inbox.send(Mail::LookAround);
        }
    }

    fn load(&self, job: LoadJob) -> Result<(), LoadJob> {
        match &self.origins {
            Some(origins) => origins.load(job),
            None => Err(job),
        }
    }

    fn write(&self, job: WriteJob) -> Result<(), WriteJob> {
        match &self.origins {
            Some(origins) => origins.write(job),
            None => Err(job),
        }
    }

    fn process(&self) -> ProcessStats {
        crate::process::measure(self.clock.uptime_ms())
    }

    fn about(&self) -> About {
        self.about.clone()
    }

    fn setting_changed(&self, name: &str, text: &str) {
        if name == "loglevel" {
            crate::logging::set_level(text);
        }
        if name == "maxclients"
            && let Ok(clients) = text.parse::<u64>()
        {
            let files = crate::process::raise_open_files(clients.saturating_add(self.own_files));
            if files < clients.saturating_add(self.own_files) {
                tracing::warn!(maxclients = clients, files, "more clients than files may be open");
            }
        }
        let text = if name == "requirepass" { "(not shown)" } else { text };
        tracing::info!(setting = name, value = text, "changed");
    }
}
