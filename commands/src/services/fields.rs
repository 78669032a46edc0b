//! The fields of a service, one row each, and the policy that a full set of them is.

use crate::origin::template::Template;
use crate::payload::Form;
use std::sync::Arc;
use storage::limits::MAX_KEY_BYTES;
use storage::{Failure, Lifetimes, OnFail};

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Milliseconds from the first number to the second, or (if that is true) `none`.
    Ms(u64, u64, bool),
    /// A whole number up to this one.
    Number(u64),
    /// A share in percent.
    Percent,
    /// A factor from 0 to 100, decimal.
    Factor,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The URL of an origin, with a place for the key, or nothing.
    Origin,
    /// `nil`, or `wait` and milliseconds.
    Cold,
    /// Printable text of at most so many bytes.
    Text(usize),
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its name in upper case.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What holds where no level sets it.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const YES_NO: Kind = Kind::Word(&["yes", "no"]);
/// A year: longer times than that are rather `none`.
const MAX_MS: u64 = 366 * 86_400_000;
const WINDOW: Kind = Kind::Ms(0, MAX_MS * 100, true);
const HOUR_MS: u64 = 3_600_000;

/// Every field.
pub const FIELDS: &[Field] = &[
    Field { name: "FRESH", kind: WINDOW, default: "none", doc: "ms for which a stored value is fresh" },
    Field { name: "STALE", kind: WINDOW, default: "none", doc: "ms for which it is served, from storing on" },
    Field { name: "RETAIN", kind: WINDOW, default: "none", doc: "ms for which a copy is kept for failed loads" },
    Field { name: "NEG", kind: Kind::Ms(0, MAX_MS, false), default: "5000", doc: "ms for which an absence is known" },
    Field { name: "JITTER", kind: Kind::Percent, default: "0", doc: "percent by which FRESH is shortened at random" },
    Field {
        name: "EAGER",
        kind: Kind::Percent,
        default: "0",
        doc: "percent of FRESH after which one reader refreshes; 0 = off",
    },
    Field { name: "XFETCH", kind: Kind::Factor, default: "0", doc: "beta of probabilistic early refresh; 0 = off" },
    Field {
        name: "LEASE",
        kind: Kind::Ms(1, HOUR_MS, false),
        default: "10000",
        doc: "ms for which a load keeps others out",
    },
    Field {
        name: "LEASEMAX",
        kind: Kind::Ms(1, HOUR_MS, false),
        default: "60000",
        doc: "ms after which its result is not taken any more",
    },
    Field {
        name: "LEASEBIND",
        kind: Kind::Word(&["conn", "none"]),
        default: "conn",
        doc: "whether the end of the connection releases its leases",
    },
    Field { name: "WAITMAX", kind: Kind::Ms(0, HOUR_MS, false), default: "10000", doc: "longest wait of a reader, ms" },
    Field {
        name: "MAXWAITERS",
        kind: Kind::Number(1 << 20),
        default: "1000",
        doc: "readers that may wait for one key",
    },
    Field {
        name: "RETRY",
        kind: Kind::Ms(0, HOUR_MS, false),
        default: "50",
        doc: "ms after which a reader told WAIT should ask again",
    },
    Field {
        name: "MAXLOADS",
        kind: Kind::Number(1 << 20),
        default: "0",
        doc: "loads running at a time; 0 = any number",
    },
    Field {
        name: "BACKOFF",
        kind: Kind::Ms(0, HOUR_MS, false),
        default: "1000",
        doc: "ms without a load after a failed one, doubled in a row",
    },
    Field { name: "BACKOFFMAX", kind: Kind::Ms(0, HOUR_MS, false), default: "30000", doc: "longest of these" },
    Field {
        name: "ONFAIL",
        kind: Kind::Word(&["auto", "promote", "error"]),
        default: "auto",
        doc: "what waiters get when a load fails",
    },
    Field {
        name: "SOFTTIMEOUT",
        kind: Kind::Ms(0, HOUR_MS, false),
        default: "0",
        doc: "ms a reader waits for a load before it takes a stale value",
    },
    Field {
        name: "LOADER",
        kind: Kind::Word(&["lease", "worker", "origin"]),
        default: "lease",
        doc: "who loads: the reader that gets a token, a client with SWR.NEXT, or the server from ORIGIN",
    },
    Field {
        name: "ORIGIN",
        kind: Kind::Origin,
        default: "",
        doc: "URL to load from; {key} is the key without the prefix of the service that says so, {+key} keeps its slashes",
    },
    Field {
        name: "WRITE",
        kind: Kind::Word(&["local", "through"]),
        default: "local",
        doc: "through: writes go to ORIGIN first, by PUT and DELETE",
    },
    Field {
        name: "HARDTIMEOUT",
        kind: Kind::Ms(1, HOUR_MS, false),
        default: "10000",
        doc: "ms a request to the origin may take",
    },
    Field {
        name: "HEADERS",
        kind: Kind::Word(&["honour", "ignore"]),
        default: "honour",
        doc: "whether the origin's caching headers set the windows",
    },
    Field {
        name: "COLD",
        kind: Kind::Cold,
        default: "nil",
        doc: "what a plain GET does where there is nothing: reply nil, or wait so many ms for the load",
    },
    Field {
        name: "PAYLOAD",
        kind: Kind::Word(&["auto", "json", "bytes"]),
        default: "auto",
        doc: "how payloads of SWR.MEMO are read",
    },
    Field {
        name: "CONTENTTYPE",
        kind: Kind::Text(100),
        default: "application/octet-stream",
        doc: "content type of its values over HTTP",
    },
    Field {
        name: "PERSIST",
        kind: YES_NO,
        default: "no",
        doc: "yes: its values survive restarts; refused as long as there are no snapshots",
    },
    Field { name: "DEFAULTS", kind: YES_NO, default: "no", doc: "whether a plain SET takes the windows" },
    Field { name: "ENABLED", kind: YES_NO, default: "yes", doc: "no: SWR.GET replies PASS" },
];

/// Index of a field by its name, in any case.
pub fn find(name: &[u8]) -> Option<usize> {
    FIELDS.iter().position(|field| field.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Field {
    /// The text of a value in its usual form, or `None` if the field cannot hold it.
    pub fn normal(&self, text: &[u8]) -> Option<String> {
        let text = core::str::from_utf8(text).ok()?;
        let number = || text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let within = |number: &u64, least: u64, most: u64| (least..=most).contains(number);
        match self.kind {
            Kind::Ms(_, _, true) if text.eq_ignore_ascii_case("none") => Some("none".into()),
            Kind::Ms(least, most, _) => number().filter(|n| within(n, least, most)).map(|n| n.to_string()),
            Kind::Number(most) => number().filter(|n| within(n, 0, most)).map(|n| n.to_string()),
            Kind::Percent => number().filter(|n| within(n, 0, 100)).map(|n| n.to_string()),
            Kind::Factor => {
                text.parse::<f64>().ok().filter(|beta| (0.0..=100.0).contains(beta)).map(|beta| beta.to_string())
            }
            Kind::Origin => (text.is_empty() || Template::parse(text).is_ok()).then(|| text.to_owned()),
            Kind::Cold if text.eq_ignore_ascii_case("nil") => Some("nil".into()),
            Kind::Cold => {
                let ms = text.split_once(' ').filter(|(word, _)| word.eq_ignore_ascii_case("wait"))?.1;
                ms.parse::<u64>().ok().filter(|ms| within(ms, 0, HOUR_MS)).map(|ms| format!("wait {ms}"))
            }
            Kind::Text(most) => {
                let is_fit = text.len() <= most && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
                is_fit.then(|| text.to_owned())
            }
            Kind::Word(words) => {
                words.iter().find(|word| text.eq_ignore_ascii_case(word)).map(|word| (*word).to_owned())
            }
        }
    }
}

/// Who loads the values of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// The reader that gets a token.
    Lease,
    /// A client that asks for work.
    Worker,
    /// The server.
    Origin,
}

/// Loads of an origin that may run at a time, unless MAXLOADS says otherwise.
const ORIGIN_LOADS: usize = 64;

/// A full set of fields, ready for use.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Policy {
    /// Windows that a level sets, ms.
    pub fresh_ms: Option<u64>,
    pub stale_ms: Option<u64>,
    pub retain_ms: Option<u64>,
    pub absent_ms: u64,
    pub jitter_percent: u64,
    pub eager_percent: u64,
    pub xfetch_beta: f64,
    pub lease_ms: u64,
    pub lease_max_ms: u64,
    pub lease_bound: bool,
    pub wait_max_ms: u64,
    pub max_waiters: usize,
    pub retry_ms: u64,
    pub max_loads: usize,
    pub failure: Failure,
    pub soft_timeout_ms: u64,
    pub loader: Loader,
    pub origin: Option<Arc<Template>>,
    /// Prefix of the service that names the origin: the origin knows its keys without it.
    pub origin_prefix: Box<[u8]>,
    pub write_through: bool,
    pub hard_timeout_ms: u64,
    pub honour_headers: bool,
    /// How long a plain GET waits for a value that is being loaded; `None` = it does not.
    pub cold_ms: Option<u64>,
    pub payload: Form,
    pub content_type: Box<str>,
    /// Values are to survive a restart, which nothing here can promise yet.
    pub persist: bool,
    pub defaults: bool,
    pub enabled: bool,
}

impl Policy {
    /// The policy of these texts, one for each of [`FIELDS`], all in their usual form.
    pub fn new<'t>(text: impl Fn(&str) -> &'t str) -> Self {
        let ms = |name: &str| text(name).parse::<u64>().ok();
        let number = |name: &str| ms(name).expect("a number in its usual form");
        let yes = |name: &str| text(name) == "yes";
        let loader = match text("LOADER") {
            "worker" => Loader::Worker,
            "origin" => Loader::Origin,
            _ => Loader::Lease,
        };
        let max_loads = match number("MAXLOADS") as usize {
            0 if loader == Loader::Origin => ORIGIN_LOADS,
            most => most,
        };
        Self {
            fresh_ms: ms("FRESH"),
            stale_ms: ms("STALE"),
            retain_ms: ms("RETAIN"),
            absent_ms: number("NEG"),
            jitter_percent: number("JITTER"),
            eager_percent: number("EAGER"),
            xfetch_beta: text("XFETCH").parse().expect("a factor in its usual form"),
            lease_ms: number("LEASE"),
            lease_max_ms: number("LEASEMAX"),
            lease_bound: text("LEASEBIND") == "conn",
            wait_max_ms: number("WAITMAX"),
            max_waiters: number("MAXWAITERS") as usize,
            retry_ms: number("RETRY"),
            max_loads,
            failure: Failure {
                backoff_ms: number("BACKOFF"),
                backoff_max_ms: number("BACKOFFMAX"),
                exactly_ms: None,
                on_fail: match text("ONFAIL") {
                    "promote" => OnFail::Promote,
                    "error" => OnFail::Error,
                    _ => OnFail::Auto,
                },
            },
            soft_timeout_ms: number("SOFTTIMEOUT"),
            loader,
            origin: Template::parse(text("ORIGIN")).ok().map(Arc::new),
            origin_prefix: Box::default(),
            write_through: text("WRITE") == "through",
            hard_timeout_ms: number("HARDTIMEOUT"),
            honour_headers: text("HEADERS") == "honour",
            cold_ms: text("COLD").strip_prefix("wait ").and_then(|ms| ms.parse().ok()),
            payload: match text("PAYLOAD") {
                "json" => Form::Json,
                "bytes" => Form::Bytes,
                _ => Form::Auto,
            },
            content_type: text("CONTENTTYPE").into(),
            persist: yes("PERSIST"),
            defaults: yes("DEFAULTS"),
            enabled: yes("ENABLED"),
        }
    }
}

/// Windows as a request gives them, ms; `None` = not given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// See the design's model: all count from the moment of storing.
    pub fresh_ms: Option<u64>,
    /// See above.
    pub stale_ms: Option<u64>,
    /// See above.
    pub retain_ms: Option<u64>,
}

impl Given {
    /// The windows that a policy sets, as if they were given.
    pub fn of(policy: &Policy) -> Self {
        Self { fresh_ms: policy.fresh_ms, stale_ms: policy.stale_ms, retain_ms: policy.retain_ms }
    }

    /// Whether any is given.
    pub fn is_given(&self) -> bool {
        self.fresh_ms.or(self.stale_ms).or(self.retain_ms).is_some()
    }

    /// What holds together with the windows of a service: what is not given comes from there, and gives way to what is;
    /// what neither says takes its neighbour. `None` if what is given is out of order.
    pub fn lifetimes(self, policy: &Policy) -> Option<Lifetimes> {
        let given = [self.fresh_ms, self.stale_ms, self.retain_ms];
        let explicit: Vec<u64> = given.into_iter().flatten().collect();
        if !explicit.is_sorted() {
            return None;
        }
        let of_service = [policy.fresh_ms, policy.stale_ms, policy.retain_ms];
        let mut ms: [Option<u64>; 3] = core::array::from_fn(|n| given[n].or(of_service[n]));
        ms[0] = ms[0].or(ms[1]);
        ms[1] = ms[1].or(ms[0]);
        ms[2] = ms[2].or(ms[1]);
        // A copy is kept for no less than it is served.
        if let (Some(retain), None) = (given[2], ms[1]) {
            ms[1] = Some(retain);
            ms[0] = Some(ms[0].map_or(retain, |fresh| fresh.min(retain)));
        }
        // Raised to the one before it, unless it was given: then those before it are lowered.
        for n in 1..3 {
            if let (Some(before), Some(own)) = (ms[n - 1], ms[n])
                && before > own
            {
                if given[n].is_some() {
                    (0..n).filter(|n| given[*n].is_none()).for_each(|n| ms[n] = ms[n].map(|ms| ms.min(own)));
                } else {
                    ms[n] = Some(before);
                }
            }
        }
        Some(Lifetimes { fresh_ms: ms[0], stale_ms: ms[1], retain_ms: ms[2], refresh: 0 })
    }
}

// A prefix leaves room for the rest of a key.
const _: () = assert!(super::MAX_PREFIX_BYTES < MAX_KEY_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(windows: [&str; 3]) -> Policy {
        Policy::new(|name| match name {
            "FRESH" => windows[0],
            "STALE" => windows[1],
            "RETAIN" => windows[2],
            name => FIELDS[find(name.as_bytes()).unwrap()].default,
        })
    }

    #[test]
    fn defaults_are_values_of_their_kind() {
        for field in FIELDS {
            assert_eq!(field.normal(field.default.as_bytes()).as_deref(), Some(field.default), "{}", field.name);
        }
        let none = policy(["none"; 3]);
        assert_eq!((none.fresh_ms, none.absent_ms, none.lease_ms, none.enabled), (None, 5000, 10_000, true));
    }

    #[test]
    fn values_have_one_form() {
        let normal = |name: &[u8], text: &[u8]| FIELDS[find(name).unwrap()].normal(text);
        assert_eq!(normal(b"fresh", b"NONE").as_deref(), Some("none"));
        assert_eq!(normal(b"fresh", b"007").as_deref(), Some("7"));
        assert_eq!(normal(b"onfail", b"Error").as_deref(), Some("error"));
        assert_eq!(normal(b"xfetch", b"1.50").as_deref(), Some("1.5"));
        for (name, text) in [
            ("fresh", "-1"),
            ("fresh", "+1"),
            ("fresh", ""),
            ("neg", "none"),
            ("jitter", "101"),
            ("xfetch", "nan"),
            ("xfetch", "-1"),
            ("enabled", "1"),
            ("lease", "0"),
        ] {
            assert_eq!(normal(name.as_bytes(), text.as_bytes()), None, "{name} {text}");
        }
        assert_eq!(find(b"nope"), None);
    }

    #[test]
    fn windows_come_from_whoever_says_them() {
        let none = ["none"; 3];
        let service = ["1000", "5000", "none"];
        type Three = [Option<u64>; 3];
        #[rustfmt::skip]
        let cases: &[([&str; 3], Three, Option<Three>)] = &[
            (none, [None, None, None], Some([None, None, None])),
            (none, [None, Some(7), None], Some([Some(7), Some(7), Some(7)])),
            (none, [Some(7), None, None], Some([Some(7), Some(7), Some(7)])),
            (none, [Some(7), Some(9), None], Some([Some(7), Some(9), Some(9)])),
            (none, [Some(7), None, Some(9)], Some([Some(7), Some(7), Some(9)])),
            (none, [None, None, Some(7)], Some([Some(7), Some(7), Some(7)])),
            (none, [Some(9), Some(7), None], None),
            (none, [None, Some(9), Some(7)], None),
            (none, [Some(9), None, Some(7)], None),
            (service, [None, None, None], Some([Some(1000), Some(5000), Some(5000)])),
            (service, [Some(8000), None, None], Some([Some(8000), Some(8000), Some(8000)])),
            (service, [None, Some(500), None], Some([Some(500), Some(500), Some(500)])),
            (service, [None, None, Some(9000)], Some([Some(1000), Some(5000), Some(9000)])),
            (service, [None, None, Some(500)], Some([Some(500), Some(500), Some(500)])),
            (["none", "5000", "none"], [Some(100), None, None], Some([Some(100), Some(5000), Some(5000)])),
        ];
        for (fields, [fresh_ms, stale_ms, retain_ms], expected) in cases {
            let given = Given { fresh_ms: *fresh_ms, stale_ms: *stale_ms, retain_ms: *retain_ms };
            let lifetimes = given.lifetimes(&policy(*fields));
            let found = lifetimes.map(|l| [l.fresh_ms, l.stale_ms, l.retain_ms]);
            assert_eq!(found, *expected, "{fields:?} {given:?}");
        }
    }
}
