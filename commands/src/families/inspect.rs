//! What a key costs and how it is kept: OBJECT and MEMORY.
//!
//! Encodings have Redis' names, told from the value as it is now. Uses are counted in four steps by the eviction queues:
//! FREQ is 0 to 3, and IDLETIME, which no entry keeps, always 0 seconds. Numbers of MEMORY that belong to parts this
//! server does not have are 0.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help::help;
use protocol::ReplyWriter;
use storage::limits::{DATABASES, INDEX_BYTES};
use storage::{Db, LiveRef, Policy, Value};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "object",
        wire_id: 210,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Looks at how the value under a key is kept.",
        usage: "subcommand [argument ...]",
        subcommands: OBJECT,
        run: help,
    },
    Command {
        name: "memory",
        wire_id: 216,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Looks at what memory is used for.",
        usage: "subcommand [argument ...]",
        subcommands: MEMORY,
        run: help,
    },
];

const OBJECT: &[Command] = &[
    Command {
        name: "object|encoding",
        wire_id: 211,
        arity: 3,
        keys: Keys::SECOND,
        flags: Flags::READONLY,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns how the value under a key is kept.",
        usage: "key",
        subcommands: &[],
        run: encoding,
    },
    Command {
        name: "object|freq",
        wire_id: 212,
        arity: 3,
        keys: Keys::SECOND,
        flags: Flags::READONLY,
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns how often a key was used of late, from 0 to 3; only under an LFU policy.",
        usage: "key",
        subcommands: &[],
        run: freq,
    },
    Command {
        name: "object|idletime",
        wire_id: 213,
        arity: 3,
        keys: Keys::SECOND,
        flags: Flags::READONLY,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the seconds since a key was last used; not measured here, so always 0.",
        usage: "key",
        subcommands: &[],
        run: idletime,
    },
    Command {
        name: "object|refcount",
        wire_id: 214,
        arity: 3,
        keys: Keys::SECOND,
        flags: Flags::READONLY,
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1)",
        summary: "Returns the number of references to the value under a key, which is 1.",
        usage: "key",
        subcommands: &[],
        run: refcount,
    },
    Command {
        name: "object|help",
        wire_id: 215,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::LOADING.and(Flags::STALE),
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

const MEMORY: &[Command] = &[
    Command {
        name: "memory|usage",
        wire_id: 217,
        arity: -3,
        keys: Keys::SECOND,
        flags: Flags::READONLY,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns the bytes a key and its value take.",
        usage: "key [SAMPLES count]",
        subcommands: &[],
        run: usage,
    },
    Command {
        name: "memory|stats",
        wire_id: 218,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::KEYSPACE,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns what memory is used for.",
        usage: "",
        subcommands: &[],
        run: stats,
    },
    Command {
        name: "memory|doctor",
        wire_id: 219,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Names problems with memory, and what helps.",
        usage: "",
        subcommands: &[],
        run: doctor,
    },
    Command {
        name: "memory|malloc-stats",
        wire_id: 220,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns the allocator's own statistics; it keeps none.",
        usage: "",
        subcommands: &[],
        run: malloc_stats,
    },
    Command {
        name: "memory|purge",
        wire_id: 221,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::NONE,
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Asks the allocator to give memory back; it does so by itself.",
        usage: "",
        subcommands: &[],
        run: purge,
    },
    Command {
        name: "memory|help",
        wire_id: 222,
        arity: 2,
        keys: Keys::NONE,
        flags: Flags::LOADING.and(Flags::STALE),
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

/// Longest string that Redis keeps in one piece with its header, bytes.
const EMBEDDED_BYTES: usize = 44;

/// Most fields of a hash that Redis keeps in one piece, and most bytes of each field and value, as it is usually set.
const LISTPACK_ENTRIES: usize = 512;
const LISTPACK_BYTES: usize = 64;

/// A deadline's record in the timer wheel, with its share of a chunk's header; the deadline itself is in the entry.
const DEADLINE_BYTES: u64 = 5;

/// Below this MEMORY DOCTOR has no opinion: fixed costs outweigh the data.
const DIAGNOSIS_BYTES: u64 = 5 << 20;

/// Runs `act` on the live entry under `args[2]` without counting a use; null if there is none.
fn look(
    call: &mut Call<'_, '_>,
    act: impl FnOnce(LiveRef<'_>, &mut ReplyWriter<'_>) -> Result<(), Error>,
) -> Result<bool, Error> {
    call.key(call.args.at(2), |slot, reply| match slot.live() {
        Some(live) => act(live, reply).map(|()| true),
        None => {
            reply.null();
            Ok(false)
        }
    })
}

fn look_counted(
    call: &mut Call<'_, '_>,
    act: impl FnOnce(LiveRef<'_>, &mut ReplyWriter<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let found = look(call, act);
    call.count_lookup(found != Ok(false));
    found.map(|_| ())
}

/// The name Redis has for how it would keep a live entry's value.
pub(super) fn encoding_of(live: &LiveRef<'_>) -> &'static str {
    match live.hash() {
        Ok(hash) if hash.is_within(LISTPACK_ENTRIES, LISTPACK_BYTES) => "listpack",
        Ok(_) => "hashtable",
        Err(_) => encoding_of_string(&live.value()),
    }
}

fn encoding_of_string(value: &Value<'_>) -> &'static str {
    match value {
        Value::Int(_) => "int",
        value if value.len() <= EMBEDDED_BYTES => "embstr",
        _ => "raw",
    }
}

fn encoding(call: &mut Call<'_, '_>) -> Result<(), Error> {
    look_counted(call, |live, reply| {
        reply.bulk_str(encoding_of(&live));
        Ok(())
    })
}

fn counts_frequency(call: &Call<'_, '_>) -> bool {
    matches!(call.store.store().memory().policy(), Policy::AllKeysLfu | Policy::VolatileLfu)
}

fn freq(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let counted = counts_frequency(call);
    look_counted(call, |live, reply| {
        if !counted {
            return Err(Error::err(
                "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        reply.integer(live.uses().into());
        Ok(())
    })
}

fn idletime(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let counted = counts_frequency(call);
    look_counted(call, |_, reply| {
        if counted {
            return Err(Error::err(
                "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
                 policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        reply.integer(0);
        Ok(())
    })
}

fn refcount(call: &mut Call<'_, '_>) -> Result<(), Error> {
    look_counted(call, |_, reply| {
        reply.integer(1);
        Ok(())
    })
}

fn usage(call: &mut Call<'_, '_>) -> Result<(), Error> {
    for index in (3..call.args.len()).step_by(2) {
        if !call.is_word(index, "SAMPLES") || index + 1 == call.args.len() || call.integer(index + 1)? < 0 {
            return Err(Error::SYNTAX);
        }
    }
    look(call, |live, reply| {
        let deadline = live.deadline().map_or(0, |_| DEADLINE_BYTES);
        reply.integer((live.memory() + INDEX_BYTES + deadline) as i64);
        Ok(())
    })?;
    Ok(())
}

fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to.max(1) as f64
}

fn stats(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let memory = call.store.store().memory();
    let (used, dataset, peak) = (memory.used(), memory.dataset(), memory.peak());
    let resident = call.node.host.process().resident_bytes;
    let clients = call.node.clients.memory_bytes();
    let databases = (0..DATABASES as u8).map(|number| (number, call.store.db_stats(Db(number), &call.cx)));
    let databases: Vec<_> = databases.filter(|(_, stats)| stats.keys > 0).collect();
    let keys: u64 = databases.iter().map(|(_, stats)| stats.keys as u64).sum();
    let expiring: u64 = databases.iter().map(|(_, stats)| stats.expiring as u64).sum();
    let index = keys * INDEX_BYTES + expiring * DEADLINE_BYTES;
    let data = dataset.saturating_sub(index);
    let difference = |a: u64, b: u64| (a as i64).wrapping_sub(b as i64);
    call.reply.map_with(|reply| {
        let mut pairs = 0;
        let mut integers = |reply: &mut ReplyWriter<'_>, rows: &[(&str, i64)]| {
            for (name, value) in rows {
                reply.bulk_str(name);
                reply.integer(*value);
            }
            pairs += rows.len();
        };
        integers(
            reply,
            &[
                ("peak.allocated", peak as i64),
                ("total.allocated", used as i64),
                ("startup.allocated", 0),
                ("replication.backlog", 0),
                ("clients.slaves", 0),
                ("clients.normal", clients as i64),
                ("cluster.links", 0),
                ("aof.buffer", 0),
                ("lua.caches", 0),
                ("functions.caches", 0),
            ],
        );
        for (number, stats) in &databases {
            reply.bulk_str(&format!("db.{number}"));
            reply.map(3);
            for (name, bytes) in [
                ("overhead.hashtable.main", stats.keys as u64 * INDEX_BYTES),
                ("overhead.hashtable.expires", stats.expiring as u64 * DEADLINE_BYTES),
                ("overhead.hashtable.slot-to-keys", 0),
            ] {
                reply.bulk_str(name);
                reply.integer(bytes as i64);
            }
        }
        integers(
            reply,
            &[
                ("overhead.total", used.saturating_sub(data) as i64),
                ("keys.count", keys as i64),
                ("keys.bytes-per-key", dataset.checked_div(keys).unwrap_or(0) as i64),
                ("dataset.bytes", data as i64),
            ],
        );
        let mut floats = 0;
        let mut float = |reply: &mut ReplyWriter<'_>, name: &str, value: f64| {
            reply.bulk_str(name);
            reply.double(value);
            floats += 1;
        };
        float(reply, "dataset.percentage", 100.0 * ratio(data, used));
        float(reply, "peak.percentage", 100.0 * ratio(used, peak));
        let allocator = ["allocator.allocated", "allocator.active", "allocator.resident"];
        integers(reply, &[(allocator[0], used as i64), (allocator[1], used as i64), (allocator[2], resident as i64)]);
        float(reply, "allocator-fragmentation.ratio", 1.0);
        integers(reply, &[("allocator-fragmentation.bytes", 0)]);
        float(reply, "allocator-rss.ratio", ratio(resident, used));
        integers(reply, &[("allocator-rss.bytes", difference(resident, used))]);
        float(reply, "rss-overhead.ratio", 1.0);
        integers(reply, &[("rss-overhead.bytes", 0)]);
        float(reply, "fragmentation", ratio(resident, used));
        integers(reply, &[("fragmentation.bytes", difference(resident, used))]);
        pairs + floats + databases.len()
    });
    Ok(())
}

fn doctor(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let memory = call.store.store().memory();
    let (used, dataset, peak, limit) = (memory.used(), memory.dataset(), memory.peak(), memory.limit());
    let (resident, clients) = (call.node.host.process().resident_bytes, call.node.clients.memory_bytes());
    let mut text = String::new();
    if dataset < DIAGNOSIS_BYTES {
        text.push_str("There is so little data here that nothing can be said about its memory. Ask again later.\n");
    } else {
        let mut advise = |holds: bool, advice: &str| {
            if holds {
                text.push_str("* ");
                text.push_str(advice);
                text.push('\n');
            }
        };
        advise(
            peak / 3 > used / 2,
            "The peak was more than half as high again as what is used now: memory the process still holds from then \
             is used again by new keys before more is asked of the system.",
        );
        advise(
            resident > used + used / 2 && resident - used > 2 * DIAGNOSIS_BYTES,
            "The process takes much more memory than its data: deletions have left gaps that new keys of other sizes \
             cannot fill. Leave this much room above maxmemory.",
        );
        advise(
            clients > used / 4,
            "Clients' buffers take more than a quarter of the memory: look for slow readers and large pipelines in \
             CLIENT LIST (omem, qbuf, tot-mem), and set client-output-buffer-limit.",
        );
        advise(
            limit > 0 && memory.policy() == Policy::NoEviction && used > limit / 10 * 9,
            "More than nine tenths of maxmemory are used and the policy is noeviction: writes will soon be refused. \
             Raise maxmemory or choose another maxmemory-policy.",
        );
        if text.is_empty() {
            text.push_str("No problem with memory was found.\n");
        }
    }
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

fn malloc_stats(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.bulk_str("Stats not supported for the current allocator");
    Ok(())
}

fn purge(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
