//! The control connection of one server: version, counters, number of keys. Blocking, and never used while the server is stopped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Result, fail};
use crate::memcached;
use crate::resp::{self, Reply};
use crate::wire::Protocol;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Control {
    protocol: Protocol,
    stream: TcpStream,
}

impl Control {
    pub fn open(address: SocketAddr, protocol: Protocol) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        if stream.local_addr()? == address {
            fail!("nobody listens: the kernel connected the socket to itself");
        }
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { protocol, stream })
    }

    /// Fails unless the server answers a ping.
    pub fn ping(&mut self) -> Result<()> {
        let (request, answer) = self.protocol.ping();
        self.stream.write_all(request)?;
        let mut bytes = vec![0; answer.len()];
        self.stream.read_exact(&mut bytes)?;
        if bytes != answer {
            fail!("PING was answered with {:?}", resp::head(&bytes));
        }
        Ok(())
    }

    /// Name and version as the server tells them, e.g. `valkey 9.1.2`.
    pub fn version(&mut self) -> Result<String> {
        if self.protocol == Protocol::Memcached {
            let answer = self.line("version")?;
            return Ok(format!("memcached {}", answer.trim_start_matches("VERSION ")));
        }
        let info = self.command(&["INFO", "server"])?.text();
        for name in ["millpond", "valkey", "redis"] {
            if let Some(version) = field(&info, &format!("{name}_version")) {
                return Ok(format!("{name} {version}"));
            }
        }
        fail!("INFO server names no version")
    }

    /// Requests served since the start; one call of this counts as one request over RESP and as none over memcached's protocol.
    pub fn requests_served(&mut self) -> Result<u64> {
        if self.protocol == Protocol::Memcached {
            let stats = self.stats()?;
            let count = |name| memcached::stat(&stats, name);
            let Some((gets, sets)) = count("cmd_get").zip(count("cmd_set")) else {
                fail!("stats lacks cmd_get or cmd_set")
            };
            return Ok(gets + sets);
        }
        let info = self.command(&["INFO", "stats"])?.text();
        match field(&info, "total_commands_processed").and_then(|text| text.parse().ok()) {
            Some(count) => Ok(count),
            None => fail!("INFO stats lacks total_commands_processed"),
        }
    }

    /// Requests of its own that lie between two calls of `requests_served`.
    pub fn own_requests(&self) -> u64 {
        u64::from(self.protocol == Protocol::Resp)
    }

    /// Number of keys stored.
    pub fn keys_stored(&mut self) -> Result<u64> {
        if self.protocol == Protocol::Memcached {
            let stats = self.stats()?;
            return match memcached::stat(&stats, "curr_items") {
                Some(count) => Ok(count),
                None => fail!("stats lacks curr_items"),
            };
        }
        match self.command(&["DBSIZE"])? {
            Reply::Integer(count) => Ok(count as u64),
            other => fail!("DBSIZE was answered with {other:?}"),
        }
    }

    /// What a build that measures its commands tells of their times.
    pub fn pauses(&mut self) -> Result<String> {
        Ok(self.command(&["DEBUG", "PAUSES"])?.text())
    }

    /// Removes every key.
    pub fn flush(&mut self) -> Result<()> {
        match self.protocol {
            Protocol::Memcached => {
                self.line("flush_all")?;
            }
            Protocol::Resp => {
                self.command(&["FLUSHALL"])?;
            }
        }
        Ok(())
    }

    /// Records of revokes that the sweeper has not dropped yet.
    pub fn revoke_records(&mut self) -> Result<u64> {
        let info = self.command(&["INFO", "swr"])?.text();
        match field(&info, "revoke_records").and_then(|text| text.parse().ok()) {
            Some(count) => Ok(count),
            None => fail!("INFO swr lacks revoke_records"),
        }
    }

    /// The reply to one command over RESP; an error reply is an error.
    pub fn command(&mut self, args: &[&str]) -> Result<Reply> {
        let mut request = Vec::new();
        resp::command(&mut request, &args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>());
        self.stream.write_all(&request)?;
        let mut bytes = Vec::new();
        loop {
            self.read_more(&mut bytes)?;
            match resp::parse(&bytes)? {
                Some((Reply::Error(text), _)) => fail!("{} was answered with {text}", args.join(" ")),
                Some((reply, _)) => return Ok(reply),
                None => {}
            }
        }
    }

    fn stats(&mut self) -> Result<String> {
        self.text("stats", "END\r\n")
    }

    fn line(&mut self, request: &str) -> Result<String> {
        Ok(self.text(request, "\r\n")?.trim().to_owned())
    }

    fn text(&mut self, request: &str, end: &str) -> Result<String> {
        self.stream.write_all(format!("{request}\r\n").as_bytes())?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            self.read_more(&mut bytes)?;
            if bytes.starts_with(b"ERROR") || bytes.starts_with(b"CLIENT_ERROR") {
                fail!("{request} was answered with {:?}", resp::head(&bytes));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read_more(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece)? {
            0 => fail!("the server closed the control connection"),
            read => bytes.extend_from_slice(&piece[..read]),
        }
        Ok(())
    }
}

/// The text of an INFO field.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}
