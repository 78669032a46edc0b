//! Where origin loading may connect to: the guard against requests forged through the server.
//!
//! Promises: a connection is permitted only for a host and port that the operator listed, and only to an address that
//! was judged after the name was resolved. The caller connects to that very address and judges anew after every
//! resolution, so that a name that changes its mind gains nothing.
//!
//! Refuses, listed or not: link-local, multicast, broadcast and unspecified addresses and the metadata services of
//! clouds. Loopback is refused unless the host is listed by that address or as `localhost`. An IPv6 address that stands
//! for an IPv4 address is judged by the latter.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services and whose they are. They hand out credentials to whoever can connect; all but the first are
/// outside the ranges that are refused anyway.
const METADATA: [IpAddr; 11] = [
    // most clouds
    v4(169, 254, 169, 254),
    // Azure
    v4(168, 63, 129, 16),
    // Alibaba
    v4(100, 100, 100, 200),
    // Oracle, classic
    v4(192, 0, 0, 192),
    // AWS
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
    // AWS, for pods
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
    // Google
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    // Oracle
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
    // Scaleway
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
    // Akamai
    v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]),
    // Alibaba
    v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200]),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

/// What `origin-allow` and `origin-allow-net` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    hosts: Vec<HostPort>,
    nets: Vec<Net>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HostPort {
    host: Host,
    port: u16,
}

/// A host in the one form that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Lower case, without the dot at the end.
    Name(Box<str>),
    /// An address.
    Ip(IpAddr),
}

/// The addresses that share their first `len` bits with `base`; the other bits of `base` are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Net {
    base: IpAddr,
    len: u32,
}

/// An address that must not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Host and port that were asked for.
    target: Box<str>,
    ip: IpAddr,
    /// The address that `ip` stands for, if that is what was judged.
    inner: Option<Ipv4Addr>,
    why: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is at {}", self.target, self.ip)?;
        if let Some(inner) = self.inner {
            write!(f, ", which stands for {inner}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for Refused {}

impl Allow {
    /// `hosts`: `host:port`, IPv6 in brackets; `nets`: CIDR. Both parted by commas or white space. The error names the
    /// setting and the entry. A net of IPv6 addresses that stand for IPv4 addresses admits nothing: the net of the
    /// latter is to be listed.
    pub fn parse(hosts: &str, nets: &str) -> Result<Self, String> {
        let hosts = entries(hosts).map(|entry| HostPort::parse(entry).map_err(|why| error("origin-allow", entry, why)));
        let nets = entries(nets).map(|entry| Net::parse(entry).map_err(|why| error("origin-allow-net", entry, why)));
        Ok(Self { hosts: hosts.collect::<Result<_, _>>()?, nets: nets.collect::<Result<_, _>>()? })
    }

    /// No host is listed: origin loading is off.
    pub fn is_off(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether host and port of a URL are listed. Upper case and a dot at the end make no difference; IPv6 may come
    /// with brackets or without. A name and the address it resolves to are different hosts.
    pub fn lists(&self, host: &str, port: u16) -> bool {
        self.listed(host, port).is_some()
    }

    fn listed(&self, host: &str, port: u16) -> Option<&Host> {
        let host = host.parse().map(|ip| Host::Ip(IpAddr::V6(ip))).or_else(|_| Host::parse(host)).ok()?;
        self.hosts.iter().find(|entry| entry.host == host && entry.port == port).map(|entry| &entry.host)
    }

    /// Whether a connection for this host and port may go to `ip`, one of the addresses the host resolved to.
    pub fn permits(&self, host: &str, port: u16, ip: IpAddr) -> Result<(), Refused> {
        let refused = |inner, why| Err(Refused { target: format!("{host}:{port}").into(), ip, inner, why });
        let Some(listed) = self.listed(host, port) else {
            return refused(None, "host and port are not listed in origin-allow");
        };
        // The form ::ffff:a.b.c.d is the same destination as a.b.c.d, down to the packets.
        let plain = ip.to_canonical();
        if let Some(why) = never(plain) {
            return refused(None, why);
        }
        if plain.is_loopback() {
            return if listed.names_loopback(plain) {
                Ok(())
            } else {
                refused(None, "a loopback address, and the host is not listed by it or as localhost")
            };
        }
        let inner = embedded(plain);
        if inner == [None; 2] {
            let hidden = (self.nets.is_empty() && is_local_translation(plain))
                .then_some("it hides an IPv4 address (RFC 8215), and origin-allow-net is not set");
            return self.outside(plain).or(hidden).map_or(Ok(()), |why| refused(None, why));
        }
        for inner in inner.into_iter().flatten() {
            let ip = IpAddr::V4(inner);
            let loopback = ip.is_loopback().then_some("a loopback address");
            if let Some(why) = never(ip).or(loopback).or_else(|| self.outside(ip)) {
                return refused(Some(inner), why);
            }
        }
        Ok(())
    }

    /// Why an address is outside the nets, if there are any.
    fn outside(&self, ip: IpAddr) -> Option<&'static str> {
        let is_inside = self.nets.is_empty() || self.nets.iter().any(|net| net.contains(ip));
        (!is_inside).then_some("outside the nets of origin-allow-net")
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|entry| !entry.is_empty())
}

fn error(setting: &str, entry: &str, why: &str) -> String {
    format!("{setting}: {entry:?}: {why}")
}

/// Why an address is refused whatever is listed.
fn never(ip: IpAddr) -> Option<&'static str> {
    let (is_unspecified, is_link_local) = match ip {
        // All of 0.0.0.0/8 is "this host on this network" (RFC 1122, 3.2.1.3).
        IpAddr::V4(ip) => (ip.octets()[0] == 0, ip.is_link_local()),
        IpAddr::V6(ip) => (ip.is_unspecified(), ip.is_unicast_link_local()),
    };
    if METADATA.contains(&ip) {
        Some("the metadata service of a cloud")
    } else if is_link_local {
        Some("a link-local address")
    } else if ip.is_multicast() {
        Some("a multicast address")
    } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the broadcast address")
    } else {
        is_unspecified.then_some("an unspecified address")
    }
}

/// The IPv4 addresses that packets to an IPv6 address may end at.
fn embedded(ip: IpAddr) -> [Option<Ipv4Addr>; 2] {
    let IpAddr::V6(ip) = ip else { return [None; 2] };
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 2],
        // IPv4-compatible (RFC 4291, 2.5.5.1), mapped (2.5.5.2) and translated (RFC 2765, 2.1).
        [0, 0, 0, 0, 0, 0, high, low] => [v4(high, low), None],
        [0, 0, 0, 0, 0, 0xffff, high, low] => [v4(high, low), None],
        [0, 0, 0, 0, 0xffff, 0, high, low] => [v4(high, low), None],
        // NAT64 (RFC 6052, 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [v4(high, low), None],
        // 6to4 (RFC 3056, 2).
        [0x2002, high, low, ..] => [v4(high, low), None],
        // Teredo (RFC 4380, 4): a server, and a client with all bits flipped.
        [0x2001, 0, high, low, _, _, client_high, client_low] => [v4(!client_high, !client_low), v4(high, low)],
        _ => [None; 2],
    }
}

/// 64:ff9b:1::/48: NAT64 of one site, where the site alone knows which bits are the IPv4 address (RFC 8215).
fn is_local_translation(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if matches!(ip.segments(), [0x64, 0xff9b, 1, ..]))
}

impl HostPort {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, port) = text.rsplit_once(':').ok_or("host:port is expected")?;
        Ok(Self { host: Host::parse(host)?, port: port_of(port)? })
    }
}

/// A port as digits, 1 to 65535.
pub fn port_of(text: &str) -> Result<u16, &'static str> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port > 0);
    port.ok_or("a port from 1 to 65535 is expected after the host")
}

impl Host {
    /// A name, an IPv4 address, or an IPv6 address in brackets. Names are ASCII letters, digits, `-` and `_`. Other
    /// spellings of IPv4 addresses (`127.1`, `0x7f000001`) are refused: resolvers disagree about them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(text) = text.strip_prefix('[') {
            let ip = text.strip_suffix(']').and_then(|text| text.parse::<Ipv6Addr>().ok());
            return ip.map(|ip| Self::Ip(ip.into())).ok_or("an IPv6 address is expected in the brackets");
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        if text.contains(':') {
            return Err("an IPv6 address needs brackets");
        }
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        // RFC 1035, 2.3.4.
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
        if text.len() > 253 || !text.split('.').all(is_label) {
            return Err("a host name or address is expected");
        }
        let last = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
            return Err("an IPv4 address is four decimal numbers");
        }
        Ok(Self::Name(text.to_ascii_lowercase().into()))
    }

    /// Whether this names a loopback address literally: as itself, or as `localhost`.
    fn names_loopback(&self, ip: IpAddr) -> bool {
        match self {
            Self::Name(name) => &**name == "localhost",
            Self::Ip(own) => own.to_canonical() == ip,
        }
    }
}

/// As in a URL.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl Net {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (base, len) = text.split_once('/').ok_or("a net as in 10.0.0.0/8 is expected")?;
        let base: IpAddr = base.parse().map_err(|_| "an IP address is expected before the slash")?;
        let (bits, width) = bits(base);
        let is_number = len.bytes().all(|byte| byte.is_ascii_digit());
        let len = len.parse().ok().filter(|len| is_number && *len <= width);
        let len = len.ok_or("a number of bits is expected after the slash")?;
        if bits != 0 && bits.trailing_zeros() < width - len {
            return Err("the address has bits after the length of the net");
        }
        Ok(Self { base, len })
    }

    /// IPv4 and IPv6 never contain each other.
    fn contains(&self, ip: IpAddr) -> bool {
        let ((base, base_width), (ip, width)) = (bits(self.base), bits(ip));
        base_width == width && (base ^ ip).checked_shr(width - self.len).unwrap_or(0) == 0
    }
}

/// An address as a number, and how many bits it has.
fn bits(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (ip.to_bits().into(), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests;
