//! Loads on demand and for workers: SWR.WARM, SWR.REFRESH, SWR.NEXT.

use crate::call::Call;
use crate::effect::{Effect, Wait};
use crate::error::Error;
use crate::families::string::reply_value;
use crate::loader::{self, LoadJob, Reason};
use crate::node::Node;
use crate::services::Service;
use crate::services::fields::Loader;
use crate::session::HeldLease;
use core::sync::atomic::Ordering;
use std::sync::Arc;
use storage::{Access, Cx, Db, Phase, Wake};

/// Jobs one SWR.NEXT takes at most.
const MAX_COUNT: i64 = 1000;
/// Services one SWR.NEXT names at most.
const MAX_SERVICES: usize = 64;

pub(super) fn warm(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let keys: Vec<&[u8]> = call.args.iter().skip(1).collect();
    let (db, cx) = (call.db(), call.cx);
    let mut started = 0;
    for key in keys {
        let service = Arc::clone(call.node.services.now().resolve(db, key));
        // Keys of projections follow their topics alone.
        if !loader::can_load(&service, key, false) || call.node.projections.owner(db, key).is_some() {
            continue;
        }
        let kh = call.store.hash(key);
        let is_fresh = |phase| matches!(phase, Phase::Fresh | Phase::Absent);
        let fresh = call.store.one(db, kh, key, &cx, |slot| slot.view().is_some_and(|view| is_fresh(view.phase)));
        if !fresh && loader::start((db, key, kh), &service, Reason::Warm, call.node, call.store, &cx) {
            started += 1;
        }
    }
    call.reply.integer(started);
    Ok(())
}

pub(super) fn refresh(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let keys: Vec<&[u8]> = call.args.iter().skip(1).collect();
    let (db, cx) = (call.db(), call.cx);
    let mut softened = 0;
    for key in keys {
        let service = Arc::clone(call.node.services.now().resolve(db, key));
        let kh = call.store.hash(key);
        let was_there = call.store.loading(db, kh, key, &cx, |slot, loading| {
            let was_there = slot.is_live();
            loading.soften(slot, None);
            was_there
        });
        if was_there {
            softened += 1;
            loader::start((db, key, kh), &service, Reason::Stale, call.node, call.store, &cx);
        }
    }
    call.reply.integer(softened);
    Ok(())
}

pub(super) fn next(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let mut end = call.args.len();
    let (mut count, mut block_ms) = (None, None);
    while end >= 4 {
        let word = end - 2;
        if call.is_word(word, "COUNT") && count.is_none() {
            let number = call.integer(end - 1)?;
            if !(1..=MAX_COUNT).contains(&number) {
                return Err(Error::err("count should be between 1 and 1000"));
            }
            count = Some(number as usize);
        } else if call.is_word(word, "BLOCK") && block_ms.is_none() {
            block_ms = Some(super::options::ms(call, word)?);
        } else {
            break;
        }
        end -= 2;
    }
    if end - 1 > MAX_SERVICES {
        return Err(Error::err("too many services"));
    }
    let registry = call.node.services.now();
    let mut services: Vec<Arc<Service>> = Vec::new();
    for at in 1..end {
        let service = registry.find(call.args.at(at)).ok_or(Error::NO_SERVICE)?;
        // Named twice it is one queue: a worker stands in each once.
        if services.iter().all(|known| known.name != service.name) {
            services.push(Arc::clone(service));
        }
    }
    let db = call.db();
    if services.iter().any(|service| service.db != db && !service.prefix.is_empty()) {
        return Err(Error::OTHER_DATABASE);
    }
    if services.iter().any(|service| service.policy.loader != Loader::Worker) {
        return Err(Error::err("LOADER of that service is not worker"));
    }
    // 0 = as long as it takes, as with BLPOP.
    let until_ms = block_ms.map(|ms| if ms == 0 { u64::MAX } else { call.cx.steady_ms.saturating_add(ms) });
    let until_ms = until_ms.filter(|_| !call.session.in_exec);
    take(call, &services, count.unwrap_or(1), until_ms);
    Ok(())
}

/// Replies with jobs, or waits for one.
fn take(call: &mut Call<'_, '_>, services: &[Arc<Service>], count: usize, until_ms: Option<u64>) {
    call.node.jobs.recover(&[], call.store, &call.cx);
    loop {
        let mut jobs = Vec::new();
        while jobs.len() < count {
            let Some(job) = call.node.jobs.pop(call.db(), services) else { break };
            let (kh, cx) = (call.store.hash(&job.key), call.cx);
            // From now on it has the whole time of its lease, unless it is not wanted any more.
            let lease_ms = loader::terms(&job.service).lease_ms;
            if call.store.renew(job.db, kh, &job.key, job.token, lease_ms, &cx) {
                call.node.jobs.took(job.clone(), cx.steady_ms.saturating_add(lease_ms));
                jobs.push((job, lease_ms));
            } else {
                // Its key was written or deleted: the place it holds is for others.
                call.store.release(job.db, kh, &job.key, job.token, &cx);
            }
        }
        let until_ms = until_ms.filter(|until_ms| jobs.is_empty() && *until_ms > call.cx.steady_ms);
        let Some(until_ms) = until_ms else {
            write(call, &jobs);
            return;
        };
        let ticket = call.node.tickets.fetch_add(1, Ordering::Relaxed);
        let core = call.session.client.core;
        if call.node.jobs.wait(call.db(), services, ticket, core) {
            let services = services.to_vec();
            let look_ms = call.cx.steady_ms + RECOVER_MS;
            let worker = Worker { db: call.db(), services, count, ticket, until_ms, look_ms, woken: false };
            call.effects.push(Effect::Park(Box::new(worker)));
            return;
        }
    }
}

fn write(call: &mut Call<'_, '_>, jobs: &[(LoadJob, u64)]) {
    call.reply.array(jobs.len());
    for (job, lease_ms) in jobs {
        let (kh, cx) = (call.store.hash(&job.key), call.cx);
        if job.service.policy.lease_bound {
            let ends_ms = cx.steady_ms.saturating_add(loader::terms(&job.service).lease_max_ms);
            let key = call.store.load_key(job.db, &job.key);
            call.session.hold_lease(HeldLease { key, token: job.token, ends_ms }, &cx);
        }
        let reply = &mut call.reply;
        reply.array(7);
        reply.bulk(&job.key);
        reply.bulk_str(&super::token::format(job.token, call.node));
        reply.bulk_str(job.reason.word());
        call.store.one(job.db, kh, &job.key, &cx, |slot| {
            let copy = slot.view().filter(|view| view.phase != Phase::Absent);
            match copy {
                Some(view) => reply_value(reply, view.value()),
                None => reply.null(),
            }
            match copy.map(|view| view.validator()).filter(|etag| !etag.is_empty()) {
                Some(etag) => reply.bulk(etag),
                None => reply.null(),
            }
        });
        reply.integer(*lease_ms as i64);
        match &job.payload {
            Some((payload, _)) => reply.bulk(payload),
            None => reply.null(),
        }
    }
}

/// A worker that waits.
struct Worker {
    db: Db,
    services: Vec<Arc<Service>>,
    count: usize,
    ticket: u64,
    until_ms: u64,
    /// When it looks after jobs that were taken and not answered, steady ms.
    look_ms: u64,
    woken: bool,
}

/// Time between two such looks, ms.
const RECOVER_MS: u64 = 500;

impl Wait for Worker {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn due_ms(&self) -> u64 {
        self.until_ms.min(self.look_ms)
    }

    fn due(&mut self, node: &Node, store: &mut Access<'_>, cx: &Cx) -> bool {
        if cx.steady_ms < self.until_ms {
            node.jobs.recover(&[], store, cx);
            self.look_ms = cx.steady_ms + RECOVER_MS;
            return false;
        }
        // Whether it was woken or not: it looks for a job once more, and what it does not take others will.
        true
    }

    fn tell(&mut self, _: Wake) {
        self.woken = true;
    }

    fn leave(&mut self, node: &Node, store: &mut Access<'_>, _: &Cx) -> bool {
        node.jobs.leave(self.db, &self.services, self.ticket, store.store())
    }

    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error> {
        call.node.jobs.leave(self.db, &self.services, self.ticket, call.store.store());
        let until_ms = Some(self.until_ms).filter(|_| self.woken);
        take(call, &self.services, self.count, until_ms);
        Ok(())
    }
}
