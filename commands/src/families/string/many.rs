//! Several strings in one step: MGET, MSET, MSETNX.

use super::{Writing, encode, reply_slot};
use crate::call::Call;
use crate::error::Error;
use smallvec::SmallVec;
use storage::{KeyHash, Slot};

/// Hashes of the request's keys, in their order; on the stack for the usual batches.
fn hashes(call: &Call<'_, '_>) -> SmallVec<[KeyHash; 32]> {
    call.command.keys_of(call.args).map(|key| call.store.hash(key)).collect()
}

pub(super) fn mget(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let hashes = hashes(call);
    let (db, touch, cx) = (call.session.db, !call.session.no_touch, call.cx);
    let (keys, reply) = (call.args.from(1), &mut call.reply);
    reply.array(keys.len());
    let hits = call.store.atomically(hashes.iter().copied(), |store| {
        let mut hits = 0;
        for (at, (key, kh)) in keys.iter().zip(&hashes).enumerate() {
            store.prefetch_ahead(at, |at| Some((db, *hashes.get(at)?)));
            store.one(db, *kh, key, &cx, |mut slot| {
                if let Slot::Live(live) = &mut slot {
                    hits += 1;
                    if touch {
                        live.touch();
                    }
                }
                // A key of another type reads as null here.
                if reply_slot(reply, &slot).is_err() {
                    reply.null();
                }
            });
        }
        hits
    });
    call.stats.hits.add(hits);
    call.stats.misses.add(keys.len() as u64 - hits);
    Ok(())
}

/// Stores all pairs; with `if_absent` only if none of the keys exists. Whether it did.
fn set_pairs(call: &mut Call<'_, '_>, if_absent: bool) -> Result<bool, Error> {
    if call.args.len().is_multiple_of(2) {
        return Err(Error::arity(call.command.name));
    }
    let hashes = hashes(call);
    let (db, cx, args) = (call.session.db, call.cx, call.args);
    let writing: Vec<Writing> = if call.node.services.has_defaults() {
        call.command.keys_of(args).map(|key| Writing::to(call, key)).collect()
    } else {
        vec![Writing::to(call, call.args.at(1))]
    };
    let keys = call.command.keys_of(args).zip(&hashes);
    let written = call.store.atomically(hashes.iter().copied(), |access| {
        if if_absent && keys.clone().any(|(key, kh)| access.one(db, *kh, key, &cx, |slot| slot.is_live())) {
            return false;
        }
        for (at, ((key, kh), value)) in keys.zip(args.iter().skip(2).step_by(2)).enumerate() {
            access.prefetch_ahead(at, |at| Some((db, *hashes.get(at)?)));
            let writing = writing.get(at).unwrap_or(&writing[0]);
            access.one(db, *kh, key, &cx, |slot| writing.store(slot, encode(value), None));
        }
        true
    });
    Ok(written)
}

pub(super) fn mset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    set_pairs(call, false)?;
    call.reply.ok();
    Ok(())
}

pub(super) fn msetnx(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let written = set_pairs(call, true)?;
    call.reply.integer(written.into());
    Ok(())
}
