//! Replies of reading commands: `[state, value, token, ms]`, with META a fifth element.

use crate::error::Error;
use crate::families::string::reply_value;
use crate::node::Node;
use crate::services::Service;
use crate::services::stats::Counts;
use protocol::ReplyWriter;
use storage::{Cx, Granted, Kind, Loaded, Millis, Value, View, Windows};

/// States of a key as clients are told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Hit,
    Stale,
    Filled,
    Miss,
    Wait,
    Neg,
    Err,
    Pass,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Stale => "STALE",
            Self::Filled => "FILLED",
            Self::Miss => "MISS",
            Self::Wait => "WAIT",
            Self::Neg => "NEG",
            Self::Err => "ERR",
            Self::Pass => "PASS",
        }
    }

    pub fn count(self, counts: &Counts) {
        match self {
            Self::Hit => counts.hit.add(1),
            Self::Stale => counts.stale.add(1),
            Self::Filled => counts.filled.add(1),
            Self::Miss => counts.miss.add(1),
            Self::Wait => counts.wait.add(1),
            Self::Neg => counts.neg.add(1),
            Self::Err => counts.err.add(1),
            Self::Pass => counts.pass.add(1),
        }
    }

    /// Whether a value, or the knowledge that there is none, was given.
    pub fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Filled | Self::Neg)
    }
}

/// One answer.
pub(super) struct Answer<'a> {
    pub state: State,
    pub value: Option<Value<'a>>,
    pub token: Option<Granted>,
    /// What it means depends on the state; -1 = without limit.
    pub ms: i64,
    pub about: Option<About>,
}

/// What META tells of an entry.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub windows: Windows,
    pub deadline: Option<Millis>,
    pub tags: usize,
    pub etag: Box<[u8]>,
}

impl From<View<'_>> for About {
    fn from(view: View<'_>) -> Self {
        let (windows, deadline) = (view.windows(), view.deadline());
        Self { windows, deadline, tags: view.tags().count(), etag: view.validator().into() }
    }
}

impl From<&Loaded> for About {
    fn from(loaded: &Loaded) -> Self {
        let (windows, deadline) = (loaded.windows, loaded.deadline);
        Self { windows, deadline, tags: loaded.tags, etag: loaded.validator.clone() }
    }
}

/// Ms from now to an end, 0 if that has passed; -1 = there is none.
pub(super) fn left_ms(end: Option<Millis>, cx: &Cx) -> i64 {
    end.map_or(-1, |end| i64::try_from(end.0.saturating_sub(cx.now.0)).unwrap_or(i64::MAX))
}

/// How an answer is written.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// `[state, value, token, ms]`.
    Array,
    /// The value or null: a plain GET.
    Plain,
    /// The array with the id of a memoised call before the state.
    Memo([u8; 64]),
}

/// Where an answer belongs.
pub(super) struct Asked<'a> {
    pub key: &'a [u8],
    pub service: &'a Service,
    pub meta: bool,
    pub form: &'a Form,
    pub cx: &'a Cx,
    pub node: &'a Node,
}

impl Answer<'_> {
    pub fn write(self, reply: &mut ReplyWriter<'_>, asked: &Asked<'_>) {
        if self.value.as_ref().is_some_and(|value| value.kind() != Kind::String) {
            reply.error_bytes(&Error::WRONG_TYPE.line());
            return;
        }
        let parts = if asked.meta { 5 } else { 4 };
        match asked.form {
            Form::Array => reply.array(parts),
            Form::Memo(id) => {
                reply.array(parts + 1);
                reply.bulk(id);
            }
            Form::Plain => {
                // A copy past its time to live is no value for those who do not ask for its state.
                match self.value.filter(|_| self.state != State::Err) {
                    Some(value) => reply_value(reply, value),
                    None => reply.null(),
                }
                return;
            }
        }
        reply.simple(self.state.word());
        match self.value {
            Some(value) => reply_value(reply, value),
            None => reply.null(),
        }
        match self.token {
            Some(granted) => reply.bulk_str(&super::token::format(granted.token, asked.node)),
            None => reply.null(),
        }
        reply.integer(self.ms);
        if asked.meta {
            write_meta(reply, self.about.as_ref(), asked);
        }
    }
}

fn write_meta(reply: &mut ReplyWriter<'_>, about: Option<&About>, asked: &Asked<'_>) {
    let cx = asked.cx;
    reply.map(if about.is_some() { 10 } else { 2 });
    reply.bulk_str("key");
    reply.bulk(asked.key);
    reply.bulk_str("service");
    reply.bulk_str(&asked.service.name);
    let Some(About { windows, deadline, tags, etag }) = about else { return };
    let age_ms = windows.stored_at.map_or(-1, |at| cx.now.0.saturating_sub(at.0) as i64);
    let numbers = [
        ("fresh", left_ms(windows.fresh_until, cx)),
        ("stale", left_ms(*deadline, cx)),
        ("retain", left_ms(windows.retain_until, cx)),
        ("age", age_ms),
        ("tags", *tags as i64),
        ("load-ms", windows.load_ms.into()),
        ("version", windows.version.into()),
    ];
    for (name, number) in numbers {
        reply.bulk_str(name);
        reply.integer(number);
    }
    reply.bulk_str("etag");
    if etag.is_empty() { reply.null() } else { reply.bulk(etag) }
}
