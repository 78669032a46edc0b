//! Where connections come from: TCP and Unix listeners, and the dealing of connections to cores.

use super::inbox::{Mail, Newcomer};
use crate::shared::Shared;
use commands::refusal;
use core::sync::atomic::Ordering;
use rustix::fd::OwnedFd;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// What to listen on, from the settings.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Addresses; those beginning with `-` may be unavailable, `*` and `::*` mean all.
    pub bind: Vec<String>,
    /// TCP port; 0 = no TCP.
    pub port: u16,
    /// Path of the Unix socket, if one is wanted.
    pub unix_path: Option<PathBuf>,
    /// Its permissions, if they are not the default ones.
    pub unix_mode: Option<u32>,
    /// Length of the queue of connections not accepted yet.
    pub backlog: u32,
}

/// Opens TCP listeners for HTTP on these addresses; names as in [`Endpoints::bind`].
pub fn open_http(bind: &[String], port: u16, backlog: u32) -> Result<Vec<std::net::TcpListener>, String> {
    let endpoints = Endpoints { bind: bind.to_vec(), port, unix_path: None, unix_mode: None, backlog };
    Ok(Listeners::open(endpoints)?.tcp)
}

/// Open listeners.
pub struct Listeners {
    tcp: Vec<std::net::TcpListener>,
    unix: Option<std::os::unix::net::UnixListener>,
    endpoints: Endpoints,
}

impl Listeners {
    /// Opens all of them, or says in one line which could not be opened.
    pub fn open(endpoints: Endpoints) -> Result<Self, String> {
        let mut tcp = Vec::new();
        if endpoints.port > 0 {
            for name in &endpoints.bind {
                let (name, optional) = name.strip_prefix('-').map_or((name.as_str(), false), |name| (name, true));
                let address = parse_address(name)?;
                match open_tcp(SocketAddr::new(address, endpoints.port), endpoints.backlog) {
                    Ok(listener) => tcp.push(listener),
                    Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {
                        tracing::debug!(address = name, %error, "optional address skipped");
                    }
                    Err(error) => return Err(format!("cannot listen on {name} port {}: {error}", endpoints.port)),
                }
            }
        }
        let unix = match &endpoints.unix_path {
            None => None,
            Some(path) => {
                Some(open_unix(&endpoints).map_err(|error| format!("cannot listen on {}: {error}", path.display()))?)
            }
        };
        if tcp.is_empty() && unix.is_none() {
            return Err("nothing to listen on: port is 0 or no address is available, and unixsocket is not set".into());
        }
        Ok(Self { tcp, unix, endpoints })
    }

    /// The addresses listened on, for the banner.
    pub fn addresses(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.to_string());
        tcp.chain(self.endpoints.unix_path.iter().map(|path| path.display().to_string())).collect()
    }

    /// Starts accepting, inside a runtime. Accepting ends when the returned guard is dropped.
    pub fn serve(self, shared: &'static Shared) -> io::Result<Accepting> {
        let mut tasks = Vec::new();
        for listener in self.tcp {
            let listener = TcpListener::from_std(listener)?;
            tasks.push(tokio::spawn(accept_tcp(listener, shared)));
        }
        if let Some(listener) = self.unix {
            let listener = UnixListener::from_std(listener)?;
            let path = self.endpoints.unix_path.clone().unwrap_or_default();
            tasks.push(tokio::spawn(accept_unix(listener, shared, path.display().to_string())));
        }
        Ok(Accepting { tasks, unix_path: self.endpoints.unix_path })
    }
}

/// Accepts connections until dropped; then the listeners are closed and the Unix socket is removed.
pub struct Accepting {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    unix_path: Option<PathBuf>,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        if let Some(path) = &self.unix_path {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn parse_address(name: &str) -> Result<IpAddr, String> {
    match name {
        "*" => Ok(IpAddr::from([0, 0, 0, 0])),
        "::*" => Ok(IpAddr::from([0u16; 8])),
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        _ => name.parse().map_err(|_| format!("bind: '{name}' is not an IP address")),
    }
}

fn open_tcp(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn open_unix(endpoints: &Endpoints) -> io::Result<std::os::unix::net::UnixListener> {
    let path = endpoints.unix_path.as_deref().unwrap_or(std::path::Path::new(""));
    // A socket that nobody answers on was left by a server that is gone; any other file stays where it is.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    if std::fs::symlink_metadata(path).is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type())) {
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    if let Some(mode) = endpoints.unix_mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}

async fn accept_tcp(listener: TcpListener, shared: &'static Shared) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = take_tcp(stream, peer, shared) {
                    tracing::debug!(%peer, %error, "a connection was lost before it was served");
                }
            }
            Err(error) => pause_accepting(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, shared: &'static Shared, path: String) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let address = format!("{path}:0");
                if let Ok(stream) = stream.into_std() {
                    count(shared, deal(shared, stream.into(), address.clone(), address, true));
                }
            }
            Err(error) => pause_accepting(&error).await,
        }
    }
}

/// Out of descriptors or memory: accepting again at once would spin.
async fn pause_accepting(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn take_tcp(stream: TcpStream, peer: SocketAddr, shared: &'static Shared) -> io::Result<()> {
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    let keepalive_s = shared.node.settings.live.tcp_keepalive_s.load(Ordering::Relaxed);
    if keepalive_s > 0 {
        // As Redis does: the first probe after the interval, then three at a third of it each.
        let probes = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive_s))
            .with_interval(Duration::from_secs((keepalive_s / 3).max(1)))
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    let fd: OwnedFd = stream.into_std()?.into();
    let settings = &shared.node.settings;
    let open = settings.live.password.load().is_none() && settings.live.protected_mode.load(Ordering::Relaxed);
    if open && !peer.ip().to_canonical().is_loopback() {
        count(shared, false);
        refuse(&fd, &refusal::protected_mode());
        return Ok(());
    }
    count(shared, deal(shared, fd, peer.to_string(), local.to_string(), false));
    Ok(())
}

/// Enters a connection in the books. Accepting happens on the first core, the only writer of its counters.
fn count(shared: &Shared, is_taken: bool) {
    let stats = &shared.node.workers[0];
    let counter = if is_taken { &stats.accepted } else { &stats.refused };
    counter.add(1);
}

/// Hands a connection to the core with the fewest; false if there are as many as there may be, and it was told so.
pub(crate) fn deal(
    shared: &'static Shared,
    fd: OwnedFd,
    address: String,
    local_address: String,
    is_unix: bool,
) -> bool {
    let limit = shared.node.settings.live.max_clients.load(Ordering::Relaxed);
    if !shared.node.clients.admit(limit) {
        refuse(&fd, &refusal::too_many_clients());
        return false;
    }
    let loads = shared.loads.iter().enumerate();
    let core = loads.min_by_key(|(_, load)| load.load(Ordering::Relaxed)).map_or(0, |(core, _)| core);
    shared.loads[core].fetch_add(1, Ordering::Relaxed);
    shared.inboxes[core].send(Mail::Connection(Newcomer { fd, address, local_address, is_unix }));
    true
}

fn refuse(fd: &OwnedFd, reply: &[u8]) {
    // Best effort: the peer may be gone already.
    let _ = rustix::net::send(fd, reply, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}
