//! CACHE.SERVICE: definitions.

use super::{DEFINES, SINCE, service_named};
use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help::help;
use crate::services::fields::{self, FIELDS, Loader};
use crate::services::{Definition, Service};
use std::sync::Arc;

const LOOKS: Flags = Flags::ADMIN;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cache.service|set",
        wire_id: 345,
        arity: -3,
        keys: Keys::NONE,
        flags: DEFINES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of services",
        summary: "Defines a service, or changes fields of one.",
        usage: "service [PREFIX prefix] [DB db] [field value ...]",
        subcommands: &[],
        run: set,
    },
    Command {
        name: "cache.service|get",
        wire_id: 346,
        arity: 3,
        keys: Keys::NONE,
        flags: LOOKS,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(1)",
        summary: "Shows a service with the fields it sets itself.",
        usage: "service",
        subcommands: &[],
        run: get,
    },
    Command {
        name: "cache.service|del",
        wire_id: 347,
        arity: 3,
        keys: Keys::NONE,
        flags: DEFINES,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of services",
        summary: "Forgets a service; its keys stay.",
        usage: "service",
        subcommands: &[],
        run: del,
    },
    Command {
        name: "cache.service|list",
        wire_id: 348,
        arity: 2,
        keys: Keys::NONE,
        flags: LOOKS,
        group: Group::Cache,
        since: SINCE,
        complexity: "O(N), N being the number of services",
        summary: "Lists the names of all services.",
        usage: "",
        subcommands: &[],
        run: list,
    },
    Command {
        name: "cache.service|resolve",
        wire_id: 349,
        arity: 3,
        keys: Keys::SECOND,
        flags: LOOKS.and(Flags::READONLY),
        group: Group::Cache,
        since: SINCE,
        complexity: "O(1)",
        summary: "Shows the service of a key, and all that holds for it.",
        usage: "key",
        subcommands: &[],
        run: resolve,
    },
    Command {
        name: "cache.service|help",
        wire_id: 350,
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

fn set(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if call.args.len().is_multiple_of(2) {
        return Err(Error::SYNTAX);
    }
    let mut definition = Definition::default();
    for index in (3..call.args.len()).step_by(2) {
        let (name, value) = (call.args.at(index), call.args.at(index + 1));
        let known = if call.is_word(index, "PREFIX") {
            definition.prefix.replace(value.into()).is_some()
        } else if call.is_word(index, "DB") {
            definition.db.replace(call.database(index + 1)?).is_some()
        } else {
            let field = fields::find(name).ok_or_else(|| Error::quoting("unknown field '", name, "'"))?;
            let text = if value.eq_ignore_ascii_case(b"inherit") {
                None
            } else {
                let text = FIELDS[field].normal(value);
                Some(text.ok_or_else(|| Error::quoting("invalid value for field '", name, "'"))?.into())
            };
            definition.fields.insert(field, text).is_some()
        };
        if known {
            return Err(Error::SYNTAX);
        }
    }
    let defined = call.node.services.define(call.args.at(2), call.db(), definition);
    defined.map_err(|unfit| Error::err(unfit.text()))?;
    drop_jobs(call);
    call.reply.ok();
    Ok(())
}

fn del(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let removed = call.node.services.remove(call.args.at(2)).map_err(|unfit| Error::err(unfit.text()))?;
    drop_jobs(call);
    call.reply.integer(removed.into());
    Ok(())
}

/// Jobs that no worker may ask for any more are not kept for one.
fn drop_jobs(call: &mut Call<'_, '_>) {
    let services = call.node.services.now();
    let has_workers = |name: &str| services.find(name.as_bytes()).is_some_and(|s| s.policy.loader == Loader::Worker);
    for job in call.node.jobs.keep(has_workers) {
        let kh = call.store.hash(&job.key);
        call.store.release(job.db, kh, &job.key, job.token, &call.cx);
    }
}

fn list(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let services = call.node.services.now();
    call.reply.array(services.all().count());
    services.all().for_each(|service| call.reply.bulk_str(&service.name));
    Ok(())
}

fn write_head(call: &mut Call<'_, '_>, service: &Service, fields: usize) {
    let reply = &mut call.reply;
    reply.map(3 + fields);
    reply.bulk_str("name");
    reply.bulk_str(&service.name);
    reply.bulk_str("prefix");
    reply.bulk(&service.prefix);
    reply.bulk_str("db");
    reply.integer(service.db.0.into());
}

fn get(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let service = service_named(call, call.args.at(2))?;
    write_head(call, &service, service.own.len());
    for (field, text) in &service.own {
        call.reply.bulk_str(&FIELDS[*field].name.to_ascii_lowercase());
        call.reply.bulk_str(text);
    }
    Ok(())
}

fn resolve(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let services = call.node.services.now();
    let service = Arc::clone(services.resolve(call.db(), call.args.at(2)));
    let texts = services.merged(call.db(), call.args.at(2));
    write_head(call, &service, FIELDS.len());
    for (field, text) in FIELDS.iter().zip(texts) {
        call.reply.bulk_str(&field.name.to_ascii_lowercase());
        call.reply.bulk_str(&text);
    }
    Ok(())
}
