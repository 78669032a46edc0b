//! Answers to leases: SWR.FILL, SWR.FAIL, SWR.YIELD, SWR.RENEW.

use super::options::{Along, ms};
use super::token;
use crate::call::Call;
use crate::error::Error;
use crate::families::string::encode;
use crate::loader;
use crate::services::Service;
use crate::services::fields::{Given, Loader};
use crate::services::stats::Counts;
use std::sync::Arc;
use storage::{Failure, Fill, Filled};

/// How long a value that must not be stored is passed by, unless said otherwise, ms.
const PASS_MS: u64 = 1000;
/// And at most.
const MAX_PASS_MS: u64 = 3_600_000;

fn service(call: &Call<'_, '_>) -> Arc<Service> {
    Arc::clone(call.node.services.now().resolve(call.db(), call.args.at(1)))
}

/// Its lease is answered or given back: neither the connection nor a worker has it any more.
fn answered(call: &mut Call<'_, '_>, service: &Service, token: u64) {
    call.session.forget_lease(token);
    if service.policy.loader == Loader::Worker {
        call.node.jobs.answered(token);
    }
}

/// The options from argument `index` on that go with a value.
fn along<'a>(call: &Call<'a, '_>, mut index: usize, tagged: bool) -> Result<Along<'a>, Error> {
    let mut along = Along::default();
    while index < call.args.len() {
        index += along.take(call, index, tagged)?.ok_or(Error::SYNTAX)?;
    }
    Ok(along)
}

/// The one time that may be given behind a word, at `index`.
fn one_ms(call: &Call<'_, '_>, index: usize, word: &str) -> Result<Option<u64>, Error> {
    match call.args.len() - index {
        0 => Ok(None),
        2 if call.is_word(index, word) => ms(call, index).map(Some),
        _ => Err(Error::SYNTAX),
    }
}

pub(super) fn fill(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service(call);
    let policy = &service.policy;
    let average_ms = service.stats.average_load_ms();
    let tags;
    let fill = if call.is_word(3, "VALUE") {
        let value = call.args.get(4).ok_or(Error::SYNTAX)?;
        let along = along(call, 5, true)?;
        let lifetimes = along.lifetimes(policy, average_ms, call.cx.seed)?;
        tags = along.tags.unwrap_or_default();
        Fill::Value { value: encode(value), lifetimes, tags: &tags, validator: along.etag.unwrap_or_default() }
    } else if call.is_word(3, "NIL") {
        Fill::Absent { fresh_ms: Some(one_ms(call, 4, "FRESH")?.unwrap_or(policy.absent_ms)) }
    } else if call.is_word(3, "SAME") {
        let along = along(call, 4, false)?;
        let lifetimes = along.lifetimes(policy, average_ms, call.cx.seed)?;
        // Where nobody says how long, it counts as long as before.
        let said = along.given.is_given() || Given::of(policy).is_given();
        Fill::Same { lifetimes: said.then_some(lifetimes), validator: along.etag }
    } else if call.is_word(3, "NOSTORE") {
        Fill::NoStore { pass_ms: one_ms(call, 4, "PASS")?.unwrap_or(PASS_MS).min(MAX_PASS_MS) }
    } else {
        return Err(Error::SYNTAX);
    };
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let kind = Kind::of(&fill);
    let (filled, load_ms) = match token::parse(call.args.at(2), call.node) {
        Some(token) => {
            let kh = call.store.hash(key);
            let told = call.store.fill(db, kh, key, token, fill, &cx);
            if !matches!(told.0, Filled::Gone | Filled::NoLease) {
                answered(call, &service, token);
            }
            told
        }
        None => (Filled::NoLease, 0),
    };
    count(filled, kind, load_ms, service.stats.of(call.session.client.core));
    let word = match filled {
        Filled::Stored => "OK",
        Filled::Stale => "STALE",
        Filled::Revoked => "REVOKED",
        Filled::Superseded => "SUPERSEDED",
        Filled::NoLease => "NOLEASE",
        Filled::Gone => "GONE",
        Filled::NoRoom => return Err(Error::OOM),
    };
    call.reply.simple(word);
    Ok(())
}

/// What an answer was, for the books.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Value,
    Absent,
    NoStore,
}

impl Kind {
    pub fn of(fill: &Fill<'_>) -> Self {
        match fill {
            Fill::Value { .. } | Fill::Same { .. } => Self::Value,
            Fill::Absent { .. } => Self::Absent,
            Fill::NoStore { .. } | Fill::Unstored { .. } => Self::NoStore,
        }
    }
}

/// Enters what became of an answer in the books of its service.
pub(crate) fn count(filled: Filled, kind: Kind, load_ms: u64, counts: &Counts) {
    let counter = match filled {
        Filled::Stored => &counts.fill_ok,
        Filled::Stale => &counts.fill_stale,
        Filled::Revoked => &counts.fill_revoked,
        Filled::Superseded => &counts.fill_superseded,
        Filled::NoLease => &counts.fill_nolease,
        Filled::Gone => &counts.fill_gone,
        Filled::NoRoom => &counts.fill_oom,
    };
    counter.add(1);
    if matches!(filled, Filled::Stored | Filled::Stale) {
        match kind {
            Kind::Value => counts.loaded(load_ms),
            Kind::Absent => counts.fill_nil.add(1),
            Kind::NoStore => counts.fill_nostore.add(1),
        }
    }
}

pub(super) fn fail(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service(call);
    let (mut exactly_ms, mut has_text) = (None, false);
    let mut index = 3;
    while index < call.args.len() {
        if call.is_word(index, "BACKOFF") && exactly_ms.is_none() {
            exactly_ms = Some(ms(call, index)?);
        } else if call.is_word(index, "MSG") && !has_text {
            has_text = true;
            if index + 1 == call.args.len() {
                return Err(Error::SYNTAX);
            }
        } else {
            return Err(Error::SYNTAX);
        }
        index += 2;
    }
    let failure = match service.policy.loader {
        Loader::Lease => Failure { exactly_ms, ..service.policy.failure },
        Loader::Worker | Loader::Origin => loader::failure(&service, exactly_ms),
    };
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let told = token::parse(call.args.at(2), call.node).and_then(|token| {
        let kh = call.store.hash(key);
        let told = call.store.fail(db, kh, key, token, &failure, &cx)?;
        answered(call, &service, token);
        Some(told)
    });
    if told.is_some() {
        service.stats.of(call.session.client.core).failed.add(1);
    }
    call.reply.integer(told.unwrap_or(0) as i64);
    Ok(())
}

pub(super) fn give_back(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service(call);
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let was_there = token::parse(call.args.at(2), call.node).is_some_and(|token| {
        let kh = call.store.hash(key);
        let was_there = call.store.release(db, kh, key, token, &cx);
        if was_there {
            answered(call, &service, token);
        }
        was_there
    });
    service.stats.of(call.session.client.core).released.add(was_there.into());
    call.reply.integer(was_there.into());
    Ok(())
}

pub(super) fn renew(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let ms = ms(call, 2)?;
    let service = service(call);
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let renewed = token::parse(call.args.at(2), call.node).is_some_and(|token| {
        let kh = call.store.hash(key);
        call.store.renew(db, kh, key, token, ms, &cx)
    });
    service.stats.of(call.session.client.core).renewed.add(renewed.into());
    call.reply.integer(renewed.into());
    Ok(())
}
