//! Writes that go to the origin first: PUT or DELETE there, then here.
//!
//! Where a service says WRITE through, a plain write of one of its keys waits for the origin. Whatever the outcome, no old
//! value stays: the local copy is gone before the writer is told, and a value is stored only after the origin took it.

use crate::call::Call;
use crate::effect::{Effect, Wait};
use crate::error::Error;
use crate::families::{string, swr};
use crate::node::Node;
use crate::services::Service;
use core::sync::atomic::Ordering;
use protocol::ReplyWriter;
use std::sync::Arc;
use storage::{Access, Bulkhead, Cx, Db, Granted, Terms, Wake, Woken};

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
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len())
    }

    /// The key as the origin knows it.
    pub fn own_key(&self) -> &[u8] {
        self.service.key_at_origin(&self.key)
    }
}

/// How a write at an origin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was taken.
    Done,
    /// It was answered with this status.
    Status(u16),
    /// It never reached the origin.
    Unsent,
    /// Nobody knows.
    Unknown,
}

impl Written {
    /// Whether nothing has changed there. A status of the 400s refuses, apart from 408; after others it may have been made.
    fn is_refusal(self) -> bool {
        match self {
            Self::Unsent => true,
            Self::Status(status) => (400..500).contains(&status) && status != 408,
            Self::Done | Self::Unknown => false,
        }
    }

    const DONE: u32 = 0;
    const UNSENT: u32 = u32::MAX - 1;
    const UNKNOWN: u32 = u32::MAX;

    fn code(self) -> u32 {
        match self {
            Self::Done => Self::DONE,
            Self::Status(status) => u32::from(status),
            Self::Unsent => Self::UNSENT,
            Self::Unknown => Self::UNKNOWN,
        }
    }

    fn of(code: u32) -> Self {
        match code {
            Self::DONE => Self::Done,
            Self::UNSENT => Self::Unsent,
            Self::UNKNOWN => Self::Unknown,
            status => Self::Status(status as u16),
        }
    }
}

/// A command that may be written through.
struct Through {
    name: &'static str,
    /// Which argument is the value; `None` = it deletes.
    value: Option<usize>,
    /// Whether it is one without a condition on what is here, or the error that it would end with.
    is_plain: fn(&Call<'_, '_>) -> Result<bool, Error>,
}

const THROUGH: &[Through] = &[
    Through { name: "set", value: Some(2), is_plain: string::is_plain_set },
    Through { name: "setex", value: Some(3), is_plain: string::is_plain_setex },
    Through { name: "psetex", value: Some(3), is_plain: string::is_plain_psetex },
    Through { name: "swr.set", value: Some(2), is_plain: swr::is_plain_set },
    Through { name: "del", value: None, is_plain: |_| Ok(true) },
    Through { name: "unlink", value: None, is_plain: |_| Ok(true) },
];
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
    let is_one = keys.next().is_some() && keys.next().is_none();
    let is_alone = !call.session.in_exec && call.session.transaction.is_none();
    match THROUGH.iter().find(|row| row.name == call.command.name) {
        Some(row) if is_one && is_alone && (row.is_plain)(call)? => Ok(Some(Arc::clone(service))),
        _ => Err(ONLY),
    }
}

/// An error if a command that was not [judged](judge) by it writes to this key, which another database has.
pub(crate) fn check_target(call: &Call<'_, '_>, db: Db, key: &[u8]) -> Result<(), Error> {
    let services = &call.node.services;
    let is_through = services.writes_through() && services.now().resolve(db, key).policy.write_through;
    if is_through { Err(ONLY) } else { Ok(()) }
}

/// Hands the write to the shell and waits.
pub(crate) fn begin(call: &mut Call<'_, '_>, service: Arc<Service>) {
    let at = THROUGH.iter().find(|row| row.name == call.command.name).and_then(|row| row.value);
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
        // No origin may be asked.
        tell(&job, Written::Unsent, call.store, &call.cx);
    }
    call.effects.push(Effect::Park(Box::new(Writer { ticket, told: Written::Unknown, lease: None })));
}

/// How long a writer has to store what the origin took, ms.
const STORE_MS: u64 = 10_000;

/// Tells the writer how it ended. Before that nothing old is left here, unless nothing has changed there; and it holds a
/// lease, so that it stores nothing over what came after.
pub fn tell(job: &WriteJob, written: Written, store: &mut Access<'_>, cx: &Cx) {
    let kh = store.hash(&job.key);
    if !written.is_refusal() {
        store.one(job.db, kh, &job.key, cx, |slot| slot.delete());
    }
    let granted = (written == Written::Done && job.value.is_some()).then(|| {
        let bulkhead = Arc::new(Bulkhead::new(0));
        let terms = Terms { lease_ms: STORE_MS, lease_max_ms: STORE_MS, may_load: false, core: job.core, bulkhead };
        store.loading(job.db, kh, &job.key, cx, |_, loading| loading.grant(&terms, core::iter::empty()).ok())
    });
    let wake = match granted.flatten() {
        Some(Granted { token, lease_ms }) => Wake::Token { token, lease_ms, key: store.load_key(job.db, &job.key) },
        None => Wake::Code(written.code()),
    };
    store.store().wake(Woken { core: job.core, ticket: job.ticket, wake });
}

/// A writer that waits. It cannot be unblocked: what it waits for has begun.
struct Writer {
    ticket: u64,
    told: Written,
    /// By which it may store the value.
    lease: Option<u64>,
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
        match wake {
            Wake::Code(code) => self.told = Written::of(code),
            Wake::Token { token, .. } => (self.told, self.lease) = (Written::Done, Some(token)),
            _ => {}
        }
    }

    fn leave(&mut self, _: &Node, _: &mut Access<'_>, _: &Cx) -> bool {
        false
    }

    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error> {
        match self.told {
            // What was deleted there counts as one even where no copy was here.
            Written::Done if call.command.name == "del" || call.command.name == "unlink" => call.reply.integer(1),
            Written::Done => return store(call, self.lease),
            Written::Status(status) => return Err(Error::origin(status.to_string())),
            Written::Unsent => return Err(Error::origin("unreachable".to_owned())),
            Written::Unknown => return Err(Error::origin("unknown".to_owned())),
        }
        Ok(())
    }
}

/// Runs the command here, unless something else was written or deleted since the origin took it.
fn store(call: &mut Call<'_, '_>, lease: Option<u64>) -> Result<(), Error> {
    let (db, key, args, command) = (call.db(), call.args.at(1), call.args, call.command);
    let kh = call.store.hash(key);
    let Call { session, store, reply, cx, node, stats, effects, .. } = call;
    let (cx, protocol) = (*cx, session.protocol);
    store.atomically([kh], |store| {
        let holds = lease
            .is_some_and(|token| store.loading(db, kh, key, &cx, |_, loading| loading.lease_left_ms(token).is_some()));
        if !holds {
            // What made it void came later; the place it holds is for others.
            if let Some(token) = lease {
                store.release(db, kh, key, token, &cx);
            }
            reply.ok();
            return Ok(());
        }
        let reply = ReplyWriter::new(reply.output(), protocol);
        let first_hash = Some(kh);
        let done =
            (command.run)(&mut Call { command, args, first_hash, session, store, reply, cx, node, stats, effects });
        // Superseded by the write; and no load is under way any more.
        if let Some(token) = lease {
            store.release(db, kh, key, token, &cx);
        }
        done
    })
}

#[cfg(test)]
mod tests;
