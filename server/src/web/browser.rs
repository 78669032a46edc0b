//! What pages of other sites must not do through a browser.
//!
//! A page of any site can have a browser send requests here, with what the browser is logged in with. Browsers say so, in
//! headers that pages cannot change. And a name that its owner lets point to this machine makes a page one of this server's
//! own (DNS rebinding): where nobody logs in, a host must not be a name.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use std::net::IpAddr;

/// Why a request is refused, if it is. `is_protected`: whoever connects from this machine may do everything.
pub fn refuses(headers: &HeaderMap, is_protected: bool) -> Option<&'static str> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let host = headers.get(HOST).map(text).unwrap_or_default();
    let site = headers.get("sec-fetch-site").map(text);
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Some("a page of another site asks");
    }
    let is_foreign = |origin: String| origin.split_once("://").is_none_or(|(_, authority)| authority != host);
    if headers.get(ORIGIN).map(text).is_some_and(is_foreign) {
        return Some("a page of another site asks");
    }
    (is_protected && !is_local(&host)).then_some("without a password the host must be localhost or an address")
}

fn is_local(host: &str) -> bool {
    // The port is behind the last colon, unless that belongs to an IPv6 address in brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_localhost() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "evil.test", "evil.test:80", "localhost.evil.test", "127.0.0.1.evil.test", "localhost:x"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
