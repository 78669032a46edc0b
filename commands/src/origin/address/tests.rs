//! What is listed, what is never connected to, and that no spelling of an address gets around it.

use super::*;
use proptest::prelude::*;

fn allow(hosts: &str, nets: &str) -> Allow {
    Allow::parse(hosts, nets).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn lists_are_read() {
    assert!(allow("", "").is_off());
    assert!(allow(" , ", "10.0.0.0/8").is_off());
    let listed = allow("api:8080, Users.Example.:443\t10.0.0.1:80,[2001:DB8:0::1]:81 localhost:1,under_score:2,", "");
    assert!(!listed.is_off());
    let yes: &[(&str, u16)] = &[
        ("api", 8080),
        ("API", 8080),
        ("api.", 8080),
        ("users.example", 443),
        ("USERS.example.", 443),
        ("10.0.0.1", 80),
        ("10.0.0.1.", 80),
        ("[2001:db8::1]", 81),
        ("2001:db8::1", 81),
        ("[2001:0db8:0:0:0:0:0:1]", 81),
        ("localhost", 1),
        ("under_score", 2),
    ];
    for (host, port) in yes {
        assert!(listed.lists(host, *port), "{host}:{port}");
    }
    let no: &[(&str, u16)] = &[
        ("api", 80),
        ("api", 443),
        ("api..", 8080),
        ("api.example", 8080),
        ("example", 443),
        ("evil.users.example", 443),
        ("::ffff:10.0.0.1", 80),
        ("10.0.0.01", 80),
        ("0xa.0.0.1", 80),
        ("[10.0.0.1]", 80),
        ("2001:db8::1%1", 81),
        ("", 8080),
        ("user@api", 8080),
        ("api:8080", 8080),
        ("ａｐｉ", 8080),
    ];
    for (host, port) in no {
        assert!(!listed.lists(host, *port), "{host}:{port}");
    }
}

#[test]
fn broken_lists_are_refused() {
    let hosts = [
        "api",
        "api:",
        ":80",
        "api:0",
        "api:65536",
        "api:+80",
        "api:8o",
        "api: 80",
        "http://api:80",
        "api:80/x",
        "u@api:80",
        "::1:80",
        "[::1]",
        "[::1:80",
        "[api]:80",
        "[127.0.0.1]:80",
        "[fe80::1%eth0]:80",
        "a..b:80",
        "..:80",
        "*:80",
        "*.example:80",
        "127.1:80",
        "2130706433:80",
        "0x7f000001:80",
        "1.2.3.4.5:80",
        "256.1.1.1:80",
        "010.0.0.1:80",
        "ä:80",
        "a b:80",
    ];
    for entry in hosts {
        let error = Allow::parse(entry, "").expect_err(entry);
        assert!(error.starts_with("origin-allow: \"") && !error.contains('\n'), "{error}");
    }
    assert!(Allow::parse(&format!("{}:80", "a".repeat(64)), "").is_err());
    assert!(Allow::parse(&format!("{}:80", ["a"; 128].join(".")), "").is_err());
    let nets = [
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10.0.0.0/-1",
        "10.0.0.1/8",
        "10/8",
        "/8",
        "fd00::/129",
        "fd00::1/64",
        "[fd00::]/8",
        "api/8",
        "0.0.0.1/0",
        "10.0.0.0/255.0.0.0",
    ];
    for entry in nets {
        let error = Allow::parse("api:80", entry).expect_err(entry);
        assert!(error.starts_with("origin-allow-net: \"") && !error.contains('\n'), "{error}");
    }
    assert_eq!(Allow::parse("api:80, api", "").unwrap_err(), "origin-allow: \"api\": host:port is expected");
}

/// Address, and a part of the reason.
const NEVER: &[(&str, &str)] = &[
    ("169.254.0.1", "link-local"),
    ("169.254.255.255", "link-local"),
    ("169.254.169.254", "metadata"),
    ("169.254.170.2", "link-local"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("255.255.255.255", "broadcast"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fe80::a9fe:a9fe", "link-local"),
    ("ff02::1", "multicast"),
    ("::", "unspecified"),
    ("fd00:ec2::254", "metadata"),
    ("fd00:ec2::23", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("fd00:c1::a9fe:a9fe", "metadata"),
    ("fd00:42::42", "metadata"),
    ("fd00:a9fe:a9fe::1", "metadata"),
    ("fd00:100::100:200", "metadata"),
];

const NORMAL: &[&str] = &[
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.201",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "8.8.8.8",
    "223.255.255.255",
    "240.0.0.1",
    "1.0.0.0",
    "2001:db8::1",
    "2606:4700::1111",
    "fd12::1",
    "fec0::1",
    "fd00:ec2::255",
    "2001:1::1",
];

/// IPv6 addresses that stand for an IPv4 address.
fn disguises(ip: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = ip.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    vec![
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !high, !low),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x0808, !0x0808),
    ]
}

#[test]
fn some_addresses_are_never_permitted() {
    // Neither a net nor the literal address in the list helps.
    for (text, part) in NEVER {
        let ip = ip(text);
        let literal = Host::Ip(ip).to_string();
        let listed = allow(&format!("api:80 {literal}:80"), "");
        let inside = allow("api:80", "0.0.0.0/0 ::/0");
        for refused in [listed.permits("api", 80, ip), listed.permits(&literal, 80, ip), inside.permits("api", 80, ip)]
        {
            let refused = refused.expect_err(text).to_string();
            assert!(refused.contains(part) && refused.contains(text), "{refused}");
        }
    }
    for text in NORMAL {
        assert_eq!(allow("api:80", "").permits("api", 80, ip(text)), Ok(()), "{text}");
        assert_eq!(allow("api:80", "0.0.0.0/0,::/0").permits("api", 80, ip(text)), Ok(()), "{text}");
    }
    let refused = allow("api:80", "").permits("API", 80, ip("64:ff9b::a9fe:a9fe")).unwrap_err();
    let expected = "API:80 is at 64:ff9b::a9fe:a9fe, which stands for 169.254.169.254: the metadata service of a cloud";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn disguised_addresses_are_judged_by_what_they_stand_for() {
    let anywhere = allow("api:80 localhost:80 127.0.0.1:80", "");
    for (text, _) in NEVER {
        let Ok(v4) = text.parse() else { continue };
        for disguise in disguises(v4) {
            assert!(anywhere.permits("api", 80, disguise.into()).is_err(), "{text} as {disguise}");
        }
    }
    // A gateway's loopback is not ours, whatever the host is called.
    for disguise in disguises(Ipv4Addr::LOCALHOST).into_iter().skip(1) {
        for host in ["api", "localhost", "127.0.0.1"] {
            assert!(anywhere.permits(host, 80, disguise.into()).is_err(), "{disguise}");
        }
    }
    let ten = allow("api:80", "10.0.0.0/8 ::/0 2000::/3");
    for disguise in disguises(Ipv4Addr::new(10, 1, 2, 3)).into_iter().take(5) {
        assert_eq!(ten.permits("api", 80, disguise.into()), Ok(()), "{disguise}");
    }
    // A net of IPv6 admits no IPv4, and Teredo leads to both of its addresses.
    for disguise in disguises(Ipv4Addr::new(11, 1, 2, 3)) {
        let refused = ten.permits("api", 80, disguise.into()).expect_err("11.1.2.3").to_string();
        assert!(refused.contains("origin-allow-net"), "{refused}");
    }
    let local = ip("64:ff9b:1::a00:1");
    assert!(allow("api:80", "").permits("api", 80, local).is_err());
    assert!(allow("api:80", "10.0.0.0/8").permits("api", 80, local).is_err());
    assert_eq!(allow("api:80", "64:ff9b:1::/96").permits("api", 80, local), Ok(()));
}

#[test]
fn loopback_must_be_listed_literally() {
    // List, host, address, whether it is permitted on port 80.
    let table: &[(&str, &str, &str, bool)] = &[
        ("api:80", "api", "127.0.0.1", false),
        ("api:80", "api", "127.9.9.9", false),
        ("api:80", "api", "::1", false),
        ("api:80", "api", "::ffff:127.0.0.1", false),
        // The name asked for is not the one that is listed literally.
        ("api:80 127.0.0.1:80 localhost:80", "api", "127.0.0.1", false),
        ("127.0.0.1:81 api:80", "api", "127.0.0.1", false),
        ("127.0.0.1:81", "127.0.0.1", "127.0.0.1", false),
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1:80", "127.0.0.1", "::ffff:127.0.0.1", true),
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.2", false),
        ("127.0.0.1:80", "127.0.0.1", "::1", false),
        ("[::1]:80", "::1", "::1", true),
        ("[::1]:80", "[::1]", "::1", true),
        ("[::1]:80", "[::1]", "127.0.0.1", false),
        ("localhost:80", "localhost", "127.0.0.1", true),
        ("localhost:80", "LOCALHOST.", "127.0.0.1", true),
        ("localhost:80", "localhost", "::1", true),
        ("localhost:80", "localhost", "::ffff:127.0.0.1", true),
        ("localhost:80", "localhost", "169.254.169.254", false),
        ("a.localhost:80", "a.localhost", "127.0.0.1", false),
        // It is no other host's name.
        ("localhost:80", "127.0.0.1", "127.0.0.1", false),
    ];
    for (hosts, host, address, expected) in table {
        // Nets are for the addresses that are not listed literally.
        for nets in ["", "10.0.0.0/8", "127.0.0.0/8"] {
            let permitted = allow(hosts, nets).permits(host, 80, ip(address));
            assert_eq!(permitted.is_ok(), *expected, "{hosts:?} {nets:?} {host} {address}: {permitted:?}");
        }
    }
}

#[test]
fn nets_bound_the_rest() {
    let allowed = allow("api:80", "10.0.0.0/8, 192.168.4.0/22 192.0.2.7/32,2001:db8::/32 fd00::/127");
    let table: &[(&str, bool)] = &[
        ("10.0.0.0", true),
        ("10.255.255.255", true),
        ("9.255.255.255", false),
        ("11.0.0.0", false),
        ("192.168.4.0", true),
        ("192.168.7.255", true),
        ("192.168.8.0", false),
        ("192.0.2.7", true),
        ("192.0.2.6", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::", false),
        ("fd00::1", true),
        ("fd00::2", false),
        ("8.8.8.8", false),
    ];
    for (address, expected) in table {
        assert_eq!(allowed.permits("api", 80, ip(address)).is_ok(), *expected, "{address}");
    }
    assert!(allow("api:80", "0.0.0.0/0").permits("api", 80, ip("2001:db8::1")).is_err());
    assert!(allow("api:80", "::/0").permits("api", 80, ip("10.0.0.1")).is_err());
}

#[test]
fn a_host_that_is_not_listed_goes_nowhere() {
    for (host, port) in [("other", 80), ("api", 81), ("", 80)] {
        let refused = allow("api:80", "").permits(host, port, ip("10.0.0.1")).unwrap_err().to_string();
        assert_eq!(refused, format!("{host}:{port} is at 10.0.0.1: host and port are not listed in origin-allow"));
    }
    assert!(Allow::default().permits("api", 80, ip("10.0.0.1")).is_err());
}

proptest! {
    #[test]
    fn arbitrary_lists_are_read_or_refused(
        hosts in ".{0,40}", nets in "[0-9a-f:./, ]{0,40}", host in ".{0,20}", port: u16,
    ) {
        if let Ok(allow) = Allow::parse(&hosts, &nets) {
            allow.lists(&host, port);
        }
        if let Ok(host) = Host::parse(&host) {
            prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
        }
    }

    /// A disguise is permitted at most where the address is, and always where it is, Teredo apart.
    #[test]
    fn disguises_change_nothing(
        bits: u32, near in 0..2 * NEVER.len(),
        nets in prop::sample::select(&["", "10.0.0.0/8", "128.0.0.0/1"][..]),
    ) {
        let near = NEVER.get(near).and_then(|(text, _)| text.parse::<Ipv4Addr>().ok());
        let v4 = near.map_or(Ipv4Addr::from_bits(bits), |near| Ipv4Addr::from_bits(near.to_bits() ^ (bits & 1)));
        let allow = allow("api:80", nets);
        let permitted = allow.permits("api", 80, v4.into()).is_ok();
        for (at, disguise) in disguises(v4).into_iter().enumerate() {
            let disguised = allow.permits("api", 80, disguise.into()).is_ok();
            prop_assert!(permitted || !disguised, "{v4} as {disguise}");
            // The Teredo rows name a second address, which nets may exclude.
            prop_assert!(!permitted || disguised || at >= 5, "{v4} as {disguise}");
        }
    }

    #[test]
    fn no_arbitrary_address_gets_around_the_ranges(bits: u128, v4: u32) {
        for ip in [IpAddr::V6(Ipv6Addr::from_bits(bits)), IpAddr::V4(Ipv4Addr::from_bits(v4))] {
            if allow("api:80", "").permits("api", 80, ip).is_ok() {
                prop_assert!(!ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified());
            }
        }
    }

    #[test]
    fn nets_contain_their_prefix(base: u32, len in 0..=32_u32, other: u32) {
        let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        let net = Net::parse(&format!("{}/{len}", Ipv4Addr::from_bits(base & mask))).unwrap();
        for ip in [other, (base & mask) | (other & !mask)] {
            prop_assert_eq!(net.contains(Ipv4Addr::from_bits(ip).into()), ip & mask == base & mask);
        }
    }
}
