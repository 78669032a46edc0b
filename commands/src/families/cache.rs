//! Groups of entries: CACHE.REVOKE, CACHE.CLEAR, CACHE.DELETE, CACHE.PURGE, and the services they are named by.
//!
//! A revoke takes the same time however many entries it names: it is a record in the store's log, and every access that
//! begins after its reply judges the entries it meets by it.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help;
use crate::services::Service;
use selectors::{Named, Request};
use smallvec::SmallVec;
use std::sync::Arc;
use storage::{Mode, Refused, Selector};

mod purge;
mod selectors;
mod service;
mod stats;

pub(super) use selectors::{TOO_MANY_TAGS, tag_count};
pub(crate) use stats::sums;

const SINCE: &str = "0.1.0";
const REVOKES: Flags = Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::KEYSPACE).and(Flags::DANGEROUS);
const DEFINES: Flags = Flags::ADMIN.and(Flags::WRITE);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "cache.revoke",
        wire_id: 340,
        arity: -2,
        keys: Keys::NONE,
        flags: REVOKES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(1) for each selector, however many keys it names",
        summary: "Makes groups of keys absent or stale at once: by key, prefix, pattern, tags or service.",
        usage: "(KEY name | PREFIX prefix | MATCH pattern | TAG tag | TAGS count tag [tag ...] | SERVICE service | ALL) \
                ... [HARD | SOFT [STALEFOR milliseconds]]",
        subcommands: &[],
        run: revoke,
    },
    Command {
        name: "cache.clear",
        wire_id: 341,
        arity: -2,
        keys: Keys::NONE,
        flags: REVOKES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(1)",
        summary: "Makes all keys of a service absent or stale at once.",
        usage: "service [HARD | SOFT [STALEFOR milliseconds]]",
        subcommands: &[],
        run: clear,
    },
    Command {
        name: "cache.delete",
        wire_id: 342,
        arity: -3,
        keys: Keys::NONE,
        flags: Flags::WRITE.and(Flags::KEYSPACE),
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of keys",
        summary: "Deletes keys of a service, named without its prefix.",
        usage: "service name [name ...]",
        subcommands: &[],
        run: delete,
    },
    Command {
        name: "cache.purge",
        wire_id: 343,
        arity: -2,
        keys: Keys::NONE,
        flags: REVOKES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of keys in the database",
        summary: "Revokes groups of keys and frees their memory before it replies, or frees up to so many of them one by one, \
                  or only looks; tells how many entries.",
        usage: "(KEY name | PREFIX prefix | MATCH pattern | TAG tag | TAGS count tag [tag ...] | SERVICE service | ALL) ... \
                [LIMIT count] [DRYRUN]",
        subcommands: &[],
        run: purge::purge,
    },
    Command {
        name: "cache.service",
        wire_id: 344,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Cache,
        since: SINCE,
        complexity: "Depends on the subcommand",
        summary: "Names groups of keys that share a prefix, and sets the policy of their freshness.",
        usage: "",
        subcommands: service::SUBCOMMANDS,
        run: help::help,
    },
    Command {
        name: "cache.stats",
        wire_id: 351,
        arity: -1,
        keys: Keys::NONE,
        flags: Flags::READONLY,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of services",
        summary: "Tells what happened to the keys of a service, or of all.",
        usage: "[service] [RESET]",
        subcommands: &[],
        run: stats::stats,
    },
];

/// The service of this name.
pub(super) fn service_named(call: &Call<'_, '_>, name: &[u8]) -> Result<Arc<Service>, Error> {
    call.node.services.now().find(name).cloned().ok_or(Error::NO_SERVICE)
}

fn revoke(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let request = Request::parse(call, 1)?;
    if request.named.is_empty() {
        return Err(Error::SYNTAX);
    }
    revoke_named(call, &request)?;
    reply_epoch(call);
    Ok(())
}

fn reply_epoch(call: &mut Call<'_, '_>) {
    call.reply.integer(call.store.store().revoke_log().0 as i64);
}

/// Revokes what a request names: all groups of it or none, before anything else is touched. Gives how many entries were
/// removed at once.
fn revoke_named(call: &mut Call<'_, '_>, request: &Request<'_>) -> Result<usize, Error> {
    let (db, mode) = (call.db(), request.mode);
    if mode == Mode::Hard && request.named.iter().any(|named| matches!(named, Named::All)) {
        call.node.projections.check_whole(Some(db))?;
    }
    let groups: SmallVec<[Selector<'_>; 4]> = request.named.iter().filter_map(|named| named.group(mode)).collect();
    let overflow = call.node.settings.live.overflow();
    call.store.revoke(db, &groups, mode, overflow).map_err(refusal)?;
    let mut removed = 0;
    for named in &request.named {
        match (named, mode) {
            (Named::Key(key), mode) => removed += usize::from(revoke_key(call, key, mode)),
            (Named::All, Mode::Hard) => {
                removed += call.store.db_size(db);
                call.store.flush(&[db]);
            }
            _ => {}
        }
    }
    Ok(removed)
}

fn refusal(refused: Refused) -> Error {
    match refused {
        Refused::Busy => Error::BUSY_REVOKE,
        Refused::TooComplex => Error::err("pattern too complex"),
    }
}

/// Revokes one key; whether an entry was removed.
pub(super) fn revoke_key(call: &mut Call<'_, '_>, key: &[u8], mode: Mode) -> bool {
    let (db, cx) = (call.db(), call.cx);
    match mode {
        // A projected one stays: nobody could load it again.
        _ if call.key(key, |slot, _| slot.live().is_some_and(|live| live.provenance().is_some())) => false,
        Mode::Hard => call.key(key, |slot, _| slot.delete()),
        Mode::Soft { stale_for, .. } => {
            let kh = call.store.hash(key);
            call.store.loading(db, kh, key, &cx, |slot, loading| loading.soften(slot, stale_for));
            false
        }
    }
}

/// Revokes keys of a service by a pattern of whole keys, and replies the epoch.
pub(super) fn revoke_pattern(call: &mut Call<'_, '_>, service: &Service, pattern: &[u8]) -> Result<(), Error> {
    in_its_database(call, service, |call| {
        let named = vec![Named::Group(Selector::Match(pattern))];
        revoke_named(call, &Request { named, mode: Mode::Hard })
    })?;
    reply_epoch(call);
    Ok(())
}

fn clear(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service_named(call, call.args.at(1))?;
    let request = Request::parse(call, 2)?;
    if !request.named.is_empty() {
        return Err(Error::SYNTAX);
    }
    clear_service(call, &service, request.mode)
}

/// Revokes all keys of a service, and replies the epoch.
pub(super) fn clear_service(call: &mut Call<'_, '_>, service: &Service, mode: Mode) -> Result<(), Error> {
    in_its_database(call, service, |call| {
        let named = vec![Named::of(service, call)?];
        revoke_named(call, &Request { named, mode })
    })?;
    reply_epoch(call);
    Ok(())
}

/// Runs `act` with the database of a service selected; all keys are those of the selected one.
fn in_its_database<R>(call: &mut Call<'_, '_>, service: &Service, act: impl FnOnce(&mut Call<'_, '_>) -> R) -> R {
    let selected = call.session.db;
    if !service.prefix.is_empty() {
        call.session.db = service.db;
    }
    let result = act(call);
    call.session.db = selected;
    result
}

fn delete(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service_named(call, call.args.at(1))?;
    let names: Vec<&[u8]> = call.args.iter().skip(2).collect();
    delete_of(call, &service, &names)
}

/// Deletes keys of a service, and replies how many there were.
pub(super) fn delete_of(call: &mut Call<'_, '_>, service: &Service, names: &[&[u8]]) -> Result<(), Error> {
    let db = if service.prefix.is_empty() { call.db() } else { service.db };
    let keys: Vec<Vec<u8>> = names.iter().map(|name| [&service.prefix, *name].concat()).collect();
    if keys.iter().any(|key| key.len() > storage::limits::MAX_KEY_BYTES) {
        return Err(Error::err("key too long"));
    }
    // Those of projections stay.
    let projections = &call.node.projections;
    let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| projections.owner(db, key).is_none()).collect();
    let cx = call.cx;
    let hashes: Vec<_> = keys.iter().map(|key| call.store.hash(key)).collect();
    let deleted = call.store.atomically(hashes.iter().copied(), |store| {
        keys.iter().zip(&hashes).filter(|(key, kh)| store.one(db, **kh, key, &cx, |slot| slot.delete())).count()
    });
    call.reply.integer(deleted as i64);
    Ok(())
}

#[cfg(test)]
mod tests;
