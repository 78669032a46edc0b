//! What the clients of a crowd ask for: the requests of each way to agree on who loads, and what the answers mean.

use std::time::Duration;

use crate::error::{Result, fail};
use crate::resp::{self, Reply};

/// Time after which a lock goes by itself.
const LOCK_MS: &[u8] = b"10000";

/// How clients agree on who loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// SWR.GET hands a token to one, the others wait or come again when told to.
    Lease,
    /// GET, then SET NX of a lock; who has lost asks again after a pause.
    Lock,
    /// GET; whoever finds nothing loads.
    Alone,
}

/// What all clients ask for.
#[derive(Debug)]
pub struct Plan {
    pub way: Way,
    pub key: Vec<u8>,
    /// What a load finds.
    pub value: Vec<u8>,
    /// What is stored and stale.
    pub stale: Option<Vec<u8>>,
    pub load: Duration,
}

/// What an answer to a read means.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// The value, and a token if its client is to load as well.
    Value(Option<Vec<u8>>),
    Load(Vec<u8>),
    AgainMs(u64),
    Absent,
}

impl Plan {
    /// The first request, and what a client asks again with.
    pub fn ask(&self) -> Vec<u8> {
        match self.way {
            Way::Lease => words(&[b"SWR.GET", &self.key, b"WAIT", b"10000"]),
            Way::Lock | Way::Alone => words(&[b"GET", &self.key]),
        }
    }

    /// Asks for the lock in the name of one client.
    pub fn take_lock(&self, client: usize) -> Vec<u8> {
        words(&[b"SET", &self.lock(), client.to_string().as_bytes(), b"NX", b"PX", LOCK_MS])
    }

    fn lock(&self) -> Vec<u8> {
        [b"lock:", &self.key[..]].concat()
    }

    /// What a loader sends, and the number of replies.
    pub fn store(&self, token: &[u8]) -> (Vec<u8>, u8) {
        match self.way {
            Way::Lease => (words(&[b"SWR.FILL", &self.key, token, b"VALUE", &self.value, b"FRESH", b"600000"]), 1),
            Way::Lock => {
                let mut both = words(&[b"SET", &self.key, &self.value, b"EX", b"600"]);
                resp::command(&mut both, &[b"DEL", &self.lock()]);
                (both, 2)
            }
            Way::Alone => (words(&[b"SET", &self.key, &self.value, b"EX", b"600"]), 1),
        }
    }

    /// Any answer but those of a healthy server, a wrong value included, is an error.
    pub fn read(&self, reply: &Reply) -> Result<Answer> {
        let is_lease = self.way == Way::Lease;
        match reply {
            Reply::Bulk(None) if !is_lease => return Ok(Answer::Absent),
            Reply::Bulk(Some(value)) if !is_lease && *value == self.value => return Ok(Answer::Value(None)),
            Reply::Array(parts) if is_lease => {
                if let [Reply::Simple(state), Reply::Bulk(value), Reply::Bulk(token), Reply::Integer(ms)] = &parts[..] {
                    match (&**state, value, token) {
                        ("HIT" | "FILLED", Some(value), token) if *value == self.value => {
                            return Ok(Answer::Value(token.clone()));
                        }
                        ("STALE", Some(value), token) if self.stale.as_ref() == Some(value) => {
                            return Ok(Answer::Value(token.clone()));
                        }
                        ("MISS", None, Some(token)) => return Ok(Answer::Load(token.clone())),
                        ("WAIT", None, None) => return Ok(Answer::AgainMs((*ms).max(1) as u64)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        fail!("a read was answered with {}", shown(reply))
    }
}

/// The beginning of an unexpected reply.
pub fn shown(reply: &Reply) -> String {
    resp::head(format!("{reply:?}").as_bytes())
}

fn words(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    resp::command(&mut out, words);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(way: Way, stale: Option<&[u8]>) -> Plan {
        let stale = stale.map(<[u8]>::to_vec);
        Plan { way, key: b"k".to_vec(), value: b"new".to_vec(), stale, load: Duration::ZERO }
    }

    fn told(state: &str, value: Option<&[u8]>, token: Option<&[u8]>, ms: i64) -> Reply {
        let bulk = |bytes: Option<&[u8]>| Reply::Bulk(bytes.map(<[u8]>::to_vec));
        Reply::Array(vec![Reply::Simple(state.to_owned()), bulk(value), bulk(token), Reply::Integer(ms)])
    }

    #[test]
    fn a_token_means_load_whatever_the_state() {
        let plan = plan(Way::Lease, Some(b"old"));
        let read = |reply| plan.read(&reply).unwrap();
        assert_eq!(read(told("STALE", Some(b"old"), Some(b"t"), 9)), Answer::Value(Some(b"t".to_vec())));
        assert_eq!(read(told("STALE", Some(b"old"), None, 9)), Answer::Value(None));
        assert_eq!(read(told("FILLED", Some(b"new"), None, 9)), Answer::Value(None));
        assert_eq!(read(told("MISS", None, Some(b"t"), 9)), Answer::Load(b"t".to_vec()));
        assert_eq!(read(told("WAIT", None, None, 50)), Answer::AgainMs(50));
    }

    #[test]
    fn wrong_values_and_other_states_are_refused() {
        for reply in [
            told("HIT", Some(b"old"), None, 9),
            told("STALE", Some(b"old"), None, 9),
            told("ERR", None, None, 9),
            Reply::Bulk(Some(b"new".to_vec())),
        ] {
            assert!(plan(Way::Lease, None).read(&reply).is_err());
        }
        assert!(plan(Way::Lock, None).read(&Reply::Bulk(Some(b"old".to_vec()))).is_err());
        assert_eq!(plan(Way::Alone, None).read(&Reply::Bulk(None)).unwrap(), Answer::Absent);
    }
}
