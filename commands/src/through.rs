//! Writes that go to the origin first: PUT or DELETE there, then here.
//!
//! Where a service says WRITE through, a plain write of one of its keys waits for the origin. Whatever the outcome, no old
//! value stays: the local copy is gone before the writer is told, and a value is stored only after the origin took it.

use crate::call::Call;
use crate::effect::{Effect, Wait};
use crate::error::Error;
use crate::node::Node;
use crate::services::Service;
use core::sync::atomic::Ordering;
use std::sync::Arc;
use storage::{Access, Cx, Db, Wake, Woken};

/// A write to be made at an origin.
#[derive(Clone, Debug)]
pub struct WriteJob {
    /// Where its key is.
    pub db: Db,
    /// Its key.
    pub key: Box<[u8]>,
    /// Its service.
    pub service: Arc<Service>,
    /// The value; `None` = it is deleted.
    pub value: Option<Box<[u8]>>,
    /// Who waits for it.
    pub ticket: u64,
    /// The core that serves him.
    pub core: usize,
}

impl WriteJob {
    /// The key without the prefix of its service.
    pub fn own_key(&self) -> &[u8] {
        self.key.strip_prefix(&*self.service.prefix).unwrap_or(&self.key)
    }
}

/// How a write at an origin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was taken.
    Done,
    /// It was refused with this status; nothing has changed.
    Refused(u16),
    /// Nobody knows.
    Unknown,
}

impl Written {
    const DONE: u32 = 0;
    const UNKNOWN: u32 = u32::MAX;

    fn code(self) -> u32 {
        match self {
            Self::Done => Self::DONE,
            Self::Refused(status) => u32::from(status),
            Self::Unknown => Self::UNKNOWN,
        }
    }

    fn of(code: u32) -> Self {
        match code {
            Self::DONE => Self::Done,
            Self::UNKNOWN => Self::Unknown,
            status => Self::Refused(status as u16),
        }
    }
}

/// Commands that may be written through: name, and the argument with the value.
const THROUGH: &[(&str, Option<usize>)] =
    &[("set", Some(2)), ("setex", Some(3)), ("psetex", Some(3)), ("swr.set", Some(2)), ("del", None), ("unlink", None)];
/// Commands that load or describe what is there, or is loaded.
const ABOUT_LOADS: &[&str] = &["swr.fill", "swr.tag", "swr.refresh"];

const ONLY: Error = Error::err(
    "this key is written through to its origin: only SET, SETEX, PSETEX, SWR.SET, DEL and UNLINK of one key, without a \
     condition, outside of transactions",
);

/// Whether a writing command goes to an origin first, or an error if it may not write to these keys.
#[cold]
pub(crate) fn judge(call: &Call<'_, '_>) -> Result<Option<Arc<Service>>, Error> {
    let db = call.db();
    let services = call.node.services.now();
    let mut keys = call.command.keys_of(call.args);
    let through = keys.clone().map(|key| services.resolve(db, key)).find(|service| service.policy.write_through);
    let Some(service) = through.filter(|_| !ABOUT_LOADS.contains(&call.command.name)) else { return Ok(None) };
    let is_known = THROUGH.iter().any(|(name, _)| *name == call.command.name);
    let is_one = keys.next().is_some() && keys.next().is_none();
    let conditions = ["NX", "XX", "IFVER"];
    let has_value = call.command.name.contains("set");
    let is_conditional =
        has_value && (3..call.args.len()).any(|at| conditions.iter().any(|word| call.is_word(at, word)));
    if !is_known || !is_one || is_conditional || call.session.in_exec || call.session.transaction.is_some() {
        return Err(ONLY);
    }
    Ok(Some(Arc::clone(service)))
}

/// Hands the write to the shell and waits.
pub(crate) fn begin(call: &mut Call<'_, '_>, service: Arc<Service>) {
    let at = THROUGH.iter().find(|(name, _)| *name == call.command.name).and_then(|(_, at)| *at);
    let ticket = call.node.tickets.fetch_add(1, Ordering::Relaxed);
    let job = WriteJob {
        db: call.db(),
        key: call.args.at(1).into(),
        service,
        value: at.and_then(|at| call.args.get(at)).map(Into::into),
        ticket,
        core: call.session.client.core,
    };
    if let Err(job) = call.node.host.write(job) {
        // No origin may be asked: nothing was changed there.
        tell(&job, Written::Refused(503), call.store, &call.cx);
    }
    call.effects.push(Effect::Park(Box::new(Writer { ticket, told: Written::Unknown })));
}

/// Tells the writer how it ended. Before that nothing old is left here, unless nothing has changed there.
pub fn tell(job: &WriteJob, written: Written, store: &mut Access<'_>, cx: &Cx) {
    if !matches!(written, Written::Refused(_)) {
        let kh = store.hash(&job.key);
        store.one(job.db, kh, &job.key, cx, |slot| slot.delete());
    }
    store.store().wake(Woken { core: job.core, ticket: job.ticket, wake: Wake::Code(written.code()) });
}

/// A writer that waits. It cannot be unblocked: what it waits for has begun.
struct Writer {
    ticket: u64,
    told: Written,
}

impl Wait for Writer {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn due_ms(&self) -> u64 {
        u64::MAX
    }

    fn due(&mut self, _: &Node, _: &mut Access<'_>, _: &Cx) -> bool {
        false
    }

    fn tell(&mut self, wake: Wake) {
        if let Wake::Code(code) = wake {
            self.told = Written::of(code);
        }
    }

    fn leave(&mut self, _: &Node, _: &mut Access<'_>, _: &Cx) -> bool {
        false
    }

    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error> {
        match self.told {
            // What was deleted there counts as one even where no copy was here.
            Written::Done if call.command.name.ends_with("del") || call.command.name == "unlink" => {
                call.reply.integer(1);
                Ok(())
            }
            Written::Done => (call.command.run)(call),
            Written::Refused(status) => Err(Error::origin(status.to_string())),
            Written::Unknown => Err(Error::origin("unknown".to_owned())),
        }
    }
}
