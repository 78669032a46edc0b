//! SWR.SET: a value with windows, tags and an ETag.

use super::options::Along;
use crate::call::Call;
use crate::error::Error;
use crate::families::string::{encode, reply_value};
use std::sync::Arc;
use storage::Slot;

#[derive(Clone, Copy)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
    IfVersion(i64),
}

struct Options<'a> {
    along: Along<'a>,
    condition: Condition,
    get: bool,
}

fn options<'a>(call: &Call<'a, '_>) -> Result<Options<'a>, Error> {
    let (mut along, mut condition, mut get) = (Along::default(), Condition::Always, false);
    let mut index = 3;
    while index < call.args.len() {
        if let Some(taken) = along.take(call, index, true)? {
            index += taken;
            continue;
        }
        let (new, taken) = if call.is_word(index, "NX") {
            (Condition::IfAbsent, 1)
        } else if call.is_word(index, "XX") {
            (Condition::IfPresent, 1)
        } else if call.is_word(index, "IFVER") && index + 1 < call.args.len() {
            (Condition::IfVersion(call.integer(index + 1)?), 2)
        } else if call.is_word(index, "GET") && !get {
            get = true;
            index += 1;
            continue;
        } else {
            return Err(Error::SYNTAX);
        };
        if !matches!(condition, Condition::Always) {
            return Err(Error::SYNTAX);
        }
        condition = new;
        index += taken;
    }
    Ok(Options { along, condition, get })
}

/// Whether it depends on nothing that is there, or its error.
pub(crate) fn is_plain_set(call: &Call<'_, '_>) -> Result<bool, Error> {
    let Options { along, condition, get } = options(call)?;
    let service = Arc::clone(call.node.services.now().resolve(call.db(), call.args.at(1)));
    along.lifetimes(&service.policy, 0, call.cx.seed)?;
    Ok(matches!(condition, Condition::Always) && !get)
}

pub(super) fn set(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let Options { along, condition, get } = options(call)?;
    let service = Arc::clone(call.node.services.now().resolve(call.db(), call.args.at(1)));
    let lifetimes = along.lifetimes(&service.policy, service.stats.average_load_ms(), call.cx.seed)?;
    let (value, tags) = (encode(call.args.at(2)), along.tags.unwrap_or_default());
    let touch = !call.session.no_touch;
    let written = call.first(|mut slot, reply| {
        let write = match (&condition, &slot) {
            (Condition::Always, _) => true,
            (Condition::IfAbsent, slot) => !slot.is_live(),
            (Condition::IfPresent, slot) => slot.is_live(),
            // An entry without windows has no version.
            (Condition::IfVersion(_), Slot::Vacant(_)) => false,
            (Condition::IfVersion(version), Slot::Live(live)) => {
                let known = live.windows().version;
                known != 0 && i64::from(known) == *version
            }
        };
        match &mut slot {
            Slot::Live(live) => {
                if get {
                    reply_value(reply, live.string()?);
                }
                if touch && write {
                    live.touch();
                }
            }
            Slot::Vacant(_) if get => reply.null(),
            Slot::Vacant(_) => {}
        }
        if write {
            slot.put_fresh(value, lifetimes, &tags, along.etag.unwrap_or_default());
        }
        match (get, write) {
            (true, _) => {}
            (false, true) => reply.ok(),
            (false, false) => reply.null(),
        }
        Ok::<_, Error>(write)
    })?;
    service.stats.of(call.session.client.core).set.add(written.into());
    Ok(())
}
