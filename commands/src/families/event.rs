//! What applications say, in their own words: CACHE.EVENT and CACHE.ACTION.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::events::{Mapping, Sort, Template, Unfit};
use crate::families::cache;
use crate::families::help::help;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use storage::{Mode, Overflow, Selector};

const SINCE: &str = "0.1.0";
const DEFINES: Flags = Flags::ADMIN.and(Flags::WRITE);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "cache.event",
        wire_id: 400,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Cache,
        since: SINCE,
        complexity: "Depends on the subcommand",
        summary: "Maps events of applications to what is revoked then.",
        usage: "",
        subcommands: SUBCOMMANDS,
        run: help,
    },
    Command {
        name: "cache.action",
        wire_id: 406,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::KEYSPACE).and(Flags::DANGEROUS),
        group: Group::Cache,
        since: SINCE,
        complexity: "That of the mapped command",
        summary: "Clears, deletes or revokes by a path such as user/cache/clear, as the actions of a service do.",
        usage: "path [field value ... | json]",
        subcommands: &[],
        run: action,
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cache.event|map",
        wire_id: 401,
        arity: -6,
        keys: Keys::NONE,
        flags: DEFINES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(1)",
        summary: "Says what an event revokes: templates with places for its fields.",
        usage: "event id (KEY | PREFIX | MATCH | TAG) template [template ...] [SOFT | HARD]",
        subcommands: &[],
        run: map,
    },
    Command {
        name: "cache.event|unmap",
        wire_id: 402,
        arity: -3,
        keys: Keys::NONE,
        flags: DEFINES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of the event's mappings",
        summary: "Forgets what an event revokes.",
        usage: "event [id]",
        subcommands: &[],
        run: unmap,
    },
    Command {
        name: "cache.event|list",
        wire_id: 403,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::ADMIN,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of mappings",
        summary: "Lists what events revoke.",
        usage: "[event]",
        subcommands: &[],
        run: list,
    },
    Command {
        name: "cache.event|emit",
        wire_id: 404,
        arity: -3,
        keys: Keys::NONE,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::KEYSPACE),
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of the event's mappings",
        summary: "Says that an event has happened, and revokes what it is mapped to; tells how many mappings that were.",
        usage: "event [field value ... | json]",
        subcommands: &[],
        run: emit,
    },
    Command {
        name: "cache.event|help",
        wire_id: 405,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::LOADING.and(Flags::STALE),
        group: Group::Cache,
        since: SINCE,
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

/// The fields from argument `index` on: pairs, or one JSON object.
fn fields(call: &Call<'_, '_>, index: usize) -> Result<Value, Error> {
    let given = call.args.len() - index;
    if given == 1 {
        let value: Value = serde_json::from_slice(call.args.at(index)).map_err(|_| Error::err("invalid JSON"))?;
        return if value.is_object() { Ok(value) } else { Err(Error::err("the event is no JSON object")) };
    }
    if given % 2 == 1 {
        return Err(Error::SYNTAX);
    }
    let text = |at: usize| {
        let text = core::str::from_utf8(call.args.at(at)).map_err(|_| Error::err("fields and values are UTF-8"))?;
        Ok::<_, Error>(text.to_owned())
    };
    let pairs = (index..call.args.len()).step_by(2).map(|at| Ok((text(at)?, Value::String(text(at + 1)?))));
    Ok(Value::Object(pairs.collect::<Result<Map<String, Value>, Error>>()?))
}

fn map(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (event, id) = (call.args.at(2), call.args.at(3));
    let sort = Sort::NAMES.iter().find(|(_, word)| call.is_word(4, word)).ok_or(Error::SYNTAX)?.0;
    let last = call.args.len() - 1;
    let is_soft = last > 5 && call.is_word(last, "SOFT");
    let end = if is_soft || last > 5 && call.is_word(last, "HARD") { last } else { last + 1 };
    let broken = || Error::err("a template is text with {field} or {field.of.field}");
    let templates: Result<Vec<Template>, Error> =
        (5..end).map(|at| Template::parse(call.args.at(at)).ok_or_else(broken)).collect();
    let templates = templates?;
    if sort == Sort::Match && !templates.iter().all(Template::is_pattern) {
        return Err(Error::err("a pattern has up to 16 stars, and no escape before a field"));
    }
    let mapped = call.node.events.map(event, id, Mapping { sort, templates, is_soft });
    mapped.map_err(|unfit| match unfit {
        Unfit::Name => Error::err("names of events and mappings have 1 to 128 bytes"),
        Unfit::TooMany => Error::err("too many events, mappings or templates"),
    })?;
    call.reply.ok();
    Ok(())
}

fn unmap(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.args.len() > 4 {
        return Err(Error::arity(call.command.name));
    }
    let removed = call.node.events.unmap(call.args.at(2), call.args.get(3));
    call.reply.integer(removed as i64);
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.args.len() > 3 {
        return Err(Error::arity(call.command.name));
    }
    let mappings = call.node.events.list(call.args.get(2));
    let reply = &mut call.reply;
    reply.array(mappings.len());
    for (event, id, mapping) in mappings {
        reply.array(4 + mapping.templates.len());
        reply.bulk(&event);
        reply.bulk(&id);
        reply.bulk_str(if mapping.is_soft { "SOFT" } else { "HARD" });
        reply.bulk_str(mapping.sort.word());
        mapping.templates.iter().for_each(|template| reply.bulk_str(template.text()));
    }
    Ok(())
}

fn emit(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let event = fields(call, 3)?;
    let fired = fire(call, call.args.at(2), &event);
    call.reply.integer(fired as i64);
    Ok(())
}

/// Revokes what an event is mapped to; gives how many mappings fired. Nothing of it is refused: what the log has no room
/// for is named more widely. A mapping whose templates cannot all be filled is passed over.
pub(crate) fn fire(call: &mut Call<'_, '_>, name: &[u8], event: &Value) -> usize {
    let (db, cx) = (call.db(), call.cx);
    let mut fired = 0;
    for (_, _, mapping) in call.node.events.list(Some(name)) {
        let filled = mapping.templates.iter().map(|template| template.fill(event, mapping.sort));
        let Some(names) = filled.collect::<Option<Vec<Vec<u8>>>>() else {
            call.stats.events_skipped.add(1);
            continue;
        };
        fired += 1;
        let mode = if mapping.is_soft { Mode::Soft { at: cx.now, stale_for: None } } else { Mode::Hard };
        let selectors: SmallVec<[Selector<'_>; 4]> = match mapping.sort {
            Sort::Key => {
                names.iter().for_each(|key| _ = cache::revoke_key(call, key, mode));
                continue;
            }
            Sort::Prefix => names.iter().map(|prefix| Selector::Prefix(prefix)).collect(),
            Sort::Match => names.iter().map(|pattern| Selector::Match(pattern)).collect(),
            Sort::Tag => names.iter().map(|tag| Selector::Tag(call.store.store().tag(tag))).collect(),
        };
        let refused = call.store.revoke(db, &selectors, mode, Overflow::WidenAll).is_err();
        if refused {
            // A pattern with more stars than is safe to match: all keys, then.
            let all = [Selector::Prefix(b"")];
            let _ = call.store.revoke(db, &all, mode, Overflow::WidenAll);
        }
    }
    fired
}

/// `service/cache/clear`, `service/cache/delete` with `key`, `service/cache/revoke` with `pattern`.
fn action(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let unknown = || Error::err("an action is service/cache/clear, service/cache/delete or service/cache/revoke");
    let path = core::str::from_utf8(call.args.at(1)).map_err(|_| unknown())?;
    let mut parts = path.trim_start_matches('/').split('/');
    let (Some(name), Some("cache"), Some(action), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(unknown());
    };
    let service = cache::service_named(call, name.as_bytes())?;
    let given = fields(call, 2)?;
    let field = |name: &str| {
        let text = given.get(name).and_then(|value| match value {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        });
        text.ok_or_else(|| Error::because(format!("the action needs the field '{name}'")))
    };
    match action {
        "clear" => cache::clear_service(call, &service, Mode::Hard),
        "delete" => {
            let key = field("key")?;
            cache::delete_of(call, &service, &[key.as_bytes()])
        }
        "revoke" => {
            let mut pattern = Vec::new();
            storage::glob::escape(&service.prefix, &mut pattern);
            pattern.extend_from_slice(field("pattern")?.as_bytes());
            cache::revoke_pattern(call, &service, &pattern)
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests;
