//! Answers to leases: SWR.FILL, SWR.FAIL, SWR.YIELD, SWR.RENEW.

use super::options::{Along, ms};
use super::token;
use crate::call::Call;
use crate::error::Error;
use crate::families::string::encode;
use crate::services::Service;
use std::sync::Arc;
use storage::{Failure, Fill, Filled};

/// How long a value that must not be stored is passed by, unless said otherwise, ms.
const PASS_MS: u64 = 1000;

fn service(call: &Call<'_, '_>) -> Arc<Service> {
    Arc::clone(call.node.services.now().resolve(call.db(), call.args.at(1)))
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
        Fill::Same { lifetimes: along.lifetimes(policy, average_ms, call.cx.seed)?, validator: along.etag }
    } else if call.is_word(3, "NOSTORE") {
        Fill::NoStore { pass_ms: one_ms(call, 4, "PASS")?.unwrap_or(PASS_MS) }
    } else {
        return Err(Error::SYNTAX);
    };
    let word = answer(call, &service, fill);
    call.reply.simple(word);
    Ok(())
}

/// Answers the lease of the request's token; gives the word for what became of that.
fn answer(call: &mut Call<'_, '_>, service: &Service, fill: Fill<'_>) -> &'static str {
    let counts = service.stats.of(call.session.client.core);
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let (is_nil, is_no_store) = (matches!(fill, Fill::Absent { .. }), matches!(fill, Fill::NoStore { .. }));
    let (filled, load_ms) = match token::parse(call.args.at(2), call.node) {
        Some(token) => {
            let kh = call.store.hash(key);
            let told = call.store.fill(db, kh, key, token, fill, &cx);
            if told.0 != Filled::Gone {
                call.session.forget_lease(token);
            }
            told
        }
        None => (Filled::NoLease, 0),
    };
    let (word, counter) = match filled {
        Filled::Stored => ("OK", &counts.fill_ok),
        Filled::Stale => ("STALE", &counts.fill_stale),
        Filled::Revoked => ("REVOKED", &counts.fill_revoked),
        Filled::Superseded => ("SUPERSEDED", &counts.fill_superseded),
        Filled::NoLease => ("NOLEASE", &counts.fill_nolease),
        Filled::Gone => ("GONE", &counts.fill_gone),
    };
    counter.add(1);
    if matches!(filled, Filled::Stored | Filled::Stale) {
        counts.loaded(load_ms);
        counts.fill_nil.add(is_nil.into());
        counts.fill_nostore.add(is_no_store.into());
    }
    word
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
    let failure = Failure { exactly_ms, ..service.policy.failure };
    let (key, db, cx) = (call.args.at(1), call.db(), call.cx);
    let told = token::parse(call.args.at(2), call.node).and_then(|token| {
        let kh = call.store.hash(key);
        call.session.forget_lease(token);
        call.store.fail(db, kh, key, token, &failure, &cx)
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
        call.session.forget_lease(token);
        call.store.release(db, kh, key, token, &cx)
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
