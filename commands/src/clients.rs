//! The clients connected now: what `CLIENT LIST` shows and `CLIENT KILL` reaches.
//!
//! A connection's own core updates its record with plain relaxed stores once per turn; everybody may read it.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use dashmap::DashMap;
use parking_lot::Mutex;
use std::sync::Arc;

/// Most bytes of a receive buffer's free room that are taken for memory: what lies beyond is address space that was
/// reserved for a large request and never touched.
const TOUCHED_ROOM_BYTES: u64 = 64 << 10;

/// One connection as others see it.
#[derive(Debug)]
pub struct Client {
    /// Unique for the life of the server, ascending.
    pub id: u64,
    /// The serving core that owns it.
    pub core: usize,
    /// Address of the peer, or the path of the Unix socket with `:0`.
    pub address: String,
    /// Address it connected to.
    pub local_address: String,
    /// File descriptor, for display.
    pub fd: i32,
    /// Came in by the Unix socket.
    pub is_unix: bool,
    /// When it connected, ms since the epoch.
    pub connected_ms: u64,
    /// When it sent last, ms since the epoch.
    pub active_ms: AtomicU64,
    /// Selected database.
    pub db: AtomicU8,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// Wire id of the last command, or `u16::MAX`.
    pub last_command: AtomicU16,
    /// Commands queued since MULTI, -1 outside.
    pub queued: AtomicI64,
    /// Keys watched.
    pub watching: AtomicU32,
    /// Bytes of its queued transaction.
    pub queued_bytes: AtomicU64,
    /// Bytes received but not run yet.
    pub query_bytes: AtomicU64,
    /// Room left in the receive buffer: address space, not all of it memory.
    pub query_room: AtomicU64,
    /// Bytes of replies waiting to be sent.
    pub output_bytes: AtomicU64,
    /// `CLIENT NO-EVICT`.
    pub no_evict: AtomicBool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: AtomicBool,
    /// Set by others; its core closes it when woken.
    pub killed: AtomicBool,
    /// Whether a command of it waits, and whether others want that to end.
    pub blocked: Blocked,
    /// What it calls itself.
    pub names: Mutex<Names>,
}

/// Whether a client waits in a blocking command.
#[derive(Debug, Default)]
pub struct Blocked(AtomicU8);

/// How the wait of a client is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time had come.
    Timeout,
    /// With an error.
    Error,
}

impl Blocked {
    const NO: u8 = 0;
    const YES: u8 = 1;
    const TIMEOUT: u8 = 2;
    const ERROR: u8 = 3;

    /// Its core notes that it waits, or does so no more.
    pub fn set(&self, waits: bool) {
        self.0.store(if waits { Self::YES } else { Self::NO }, Ordering::Release);
    }

    /// Whether it waits.
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Acquire) != Self::NO
    }

    /// Asks for the end of the wait; true for the first who asks while it waits.
    pub fn ask(&self, how: Unblock) -> bool {
        let wanted = if how == Unblock::Error { Self::ERROR } else { Self::TIMEOUT };
        self.0.compare_exchange(Self::YES, wanted, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// What was asked for.
    pub fn asked(&self) -> Option<Unblock> {
        match self.0.load(Ordering::Acquire) {
            Self::TIMEOUT => Some(Unblock::Timeout),
            Self::ERROR => Some(Unblock::Error),
            _ => None,
        }
    }
}

/// Names a client gives itself; no spaces or control characters.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `CLIENT SETNAME`.
    pub name: String,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library: String,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: String,
}

impl Client {
    /// A client that just connected.
    pub fn new(
        id: u64,
        core: usize,
        address: String,
        local_address: String,
        fd: i32,
        is_unix: bool,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            core,
            address,
            local_address,
            fd,
            is_unix,
            connected_ms: now_ms,
            active_ms: AtomicU64::new(now_ms),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            last_command: AtomicU16::new(u16::MAX),
            queued: AtomicI64::new(-1),
            watching: AtomicU32::new(0),
            queued_bytes: AtomicU64::new(0),
            query_bytes: AtomicU64::new(0),
            query_room: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            blocked: Blocked::default(),
            names: Mutex::default(),
        }
    }
}

impl Client {
    /// Whether the peer is on this machine.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: &str| {
            address.parse().is_ok_and(|address: core::net::SocketAddr| address.ip().to_canonical().is_loopback())
        };
        self.is_unix || is_loopback(&self.address)
    }

    /// Bytes of memory its receive buffer holds beyond what waits in it, at most 64 KiB.
    pub fn query_free_bytes(&self) -> u64 {
        self.query_room.load(Ordering::Relaxed).min(TOUCHED_ROOM_BYTES)
    }

    /// Bytes of memory its buffers and its queued transaction take.
    pub fn memory_bytes(&self) -> u64 {
        let parts = [&self.query_bytes, &self.output_bytes, &self.queued_bytes];
        self.query_free_bytes() + parts.iter().map(|part| part.load(Ordering::Relaxed)).sum::<u64>()
    }

    /// Asks its core to close the connection; false if somebody did before.
    pub fn kill(&self) -> bool {
        !self.killed.swap(true, Ordering::Relaxed)
    }
}

/// Whether a client may call itself, or its library, this: printable ASCII without spaces.
pub fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// All clients of the server, and the pause they may be under.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: DashMap<u64, Arc<Client>>,
    next_id: AtomicU64,
    /// Connections open, kept apart so that the limit is exact while cores accept side by side.
    open: AtomicU64,
    pause: Pause,
}

/// `CLIENT PAUSE`: until when, and whether reads go on.
#[derive(Debug, Default)]
struct Pause {
    until_ms: AtomicU64,
    writes_only: AtomicBool,
}

impl Clients {
    /// Takes a place for a new connection, unless `limit` are open.
    pub fn admit(&self, limit: u64) -> bool {
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < limit).then_some(open + 1)).is_ok()
    }

    /// Gives back a place that [`admit`](Self::admit) took for a connection that was never registered.
    pub fn give_back(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// An id no client had before.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes an admitted client known.
    pub fn register(&self, client: Client) -> Arc<Client> {
        let client = Arc::new(client);
        self.by_id.insert(client.id, Arc::clone(&client));
        client
    }

    /// Forgets a client that has gone.
    pub fn unregister(&self, id: u64) {
        if self.by_id.remove(&id).is_some() {
            self.give_back();
        }
    }

    /// The client of this id.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.get(&id).map(|entry| Arc::clone(entry.value()))
    }

    /// All clients, by ascending id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// Bytes of memory that the buffers and queued transactions of all clients take.
    pub fn memory_bytes(&self) -> u64 {
        self.by_id.iter().map(|entry| entry.value().memory_bytes()).sum()
    }

    /// How many wait in a blocking command.
    pub fn blocked(&self) -> usize {
        self.by_id.iter().filter(|entry| entry.value().blocked.is()).count()
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Holds commands back until `until_ms`; a pause in force is never shortened, and stays the stricter of both.
    pub fn pause(&self, until_ms: u64, writes_only: bool, now_ms: u64) {
        let paused = self.pause.until_ms.load(Ordering::Relaxed) > now_ms;
        let strict = paused && !self.pause.writes_only.load(Ordering::Relaxed);
        self.pause.writes_only.store(writes_only && !strict, Ordering::Relaxed);
        self.pause.until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Ends the pause.
    pub fn unpause(&self) {
        self.pause.until_ms.store(0, Ordering::Relaxed);
    }

    /// Until when a command that may or may not write is held back, ms since the epoch.
    #[inline]
    pub fn paused_until(&self, may_write: bool, now_ms: u64) -> Option<u64> {
        let until = self.pause.until_ms.load(Ordering::Relaxed);
        (until > now_ms && (may_write || !self.pause.writes_only.load(Ordering::Relaxed))).then_some(until)
    }

    /// Until when any pause lasts, ms since the epoch; 0 = none was ever.
    pub fn pause_end(&self) -> u64 {
        self.pause.until_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Clients, is_valid_name};
    use core::sync::atomic::Ordering;

    fn client(id: u64, address: &str, is_unix: bool) -> Client {
        Client::new(id, 0, address.into(), "127.0.0.1:6379".into(), 9, is_unix, 0)
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let clients = Clients::default();
        assert!(clients.admit(2) && clients.admit(2) && !clients.admit(2));
        clients.give_back();
        assert!(clients.admit(2));
        let id = clients.register(client(clients.next_id(), "127.0.0.1:1", false)).id;
        clients.unregister(id);
        clients.unregister(id);
        assert!(clients.is_empty() && clients.admit(2) && !clients.admit(2), "one place for one client");
    }

    #[test]
    fn a_pause_is_never_shortened_or_weakened() {
        let clients = Clients::default();
        assert_eq!(clients.paused_until(true, 5), None);
        clients.pause(100, true, 0);
        assert_eq!((clients.paused_until(true, 50), clients.paused_until(false, 50)), (Some(100), None));
        clients.pause(70, false, 50);
        assert_eq!(clients.paused_until(false, 60), Some(100));
        clients.pause(80, true, 60);
        assert_eq!(clients.paused_until(false, 60), Some(100), "the stricter of both");
        assert_eq!(clients.paused_until(true, 100), None);
        clients.pause(300, true, 200);
        assert_eq!(clients.paused_until(false, 250), None, "an ended pause counts no more");
        clients.unpause();
        assert_eq!(clients.paused_until(true, 250), None);
    }

    #[test]
    fn who_is_on_this_machine() {
        for (address, is_unix) in
            [("127.0.0.1:1", false), ("[::1]:1", false), ("[::ffff:127.0.0.1]:1", false), ("s:0", true)]
        {
            assert!(client(1, address, is_unix).is_local(), "{address}");
        }
        for address in ["10.0.0.1:1", "[2001:db8::1]:1", "localhost:1"] {
            assert!(!client(1, address, false).is_local(), "{address}");
        }
    }

    #[test]
    fn reserved_room_is_no_memory() {
        let clients = Clients::default();
        for (id, room) in [(1, 100), (2, 1 << 30)] {
            let client = clients.register(client(id, "127.0.0.1:1", false));
            client.query_room.store(room, Ordering::Relaxed);
            client.query_bytes.store(7, Ordering::Relaxed);
            client.output_bytes.store(20, Ordering::Relaxed);
            client.queued_bytes.store(3000, Ordering::Relaxed);
            assert_eq!(client.memory_bytes(), room.min(65_536) + 3027);
        }
        assert_eq!(clients.memory_bytes(), 100 + 65_536 + 2 * 3027);
    }

    #[test]
    fn a_client_is_killed_once() {
        let client = client(1, "127.0.0.1:1", false);
        assert!(client.kill() && !client.kill());
    }

    #[test]
    fn names_are_printable() {
        assert!(is_valid_name(b"") && is_valid_name(b"a!~"));
        assert!([&b"a b"[..], b"\n", b"\x7f", b"\xc3\xa9"].iter().all(|name| !is_valid_name(name)));
    }
}
