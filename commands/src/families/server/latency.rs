//! LATENCY: what took long, and how long commands take.

use super::STATELESS;
use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help::help;
use crate::info::latencies::Latencies;
use crate::latency::Event;
use crate::table;
use core::sync::atomic::Ordering;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "latency|latest",
        wire_id: 251,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Returns the last sample and the longest of each event.",
        usage: "",
        subcommands: &[],
        run: latest,
    },
    Command {
        name: "latency|history",
        wire_id: 252,
        arity: 3,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Returns the samples of an event, oldest first.",
        usage: "event",
        subcommands: &[],
        run: history,
    },
    Command {
        name: "latency|reset",
        wire_id: 253,
        arity: -2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Forgets all events, or those named; returns how many.",
        usage: "[event ...]",
        subcommands: &[],
        run: reset,
    },
    Command {
        name: "latency|graph",
        wire_id: 254,
        arity: 3,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Draws the samples of an event.",
        usage: "event",
        subcommands: &[],
        run: graph,
    },
    Command {
        name: "latency|doctor",
        wire_id: 255,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Says in words what was slow.",
        usage: "",
        subcommands: &[],
        run: doctor,
    },
    Command {
        name: "latency|histogram",
        wire_id: 256,
        arity: -2,
        keys: Keys::NONE,
        flags: STATELESS.and(Flags::ADMIN).and(Flags::NOSCRIPT),
        group: Group::Server,
        since: "7.0.0",
        complexity: "O(N), N being the number of commands",
        summary: "Returns how the latencies of all or some commands are distributed.",
        usage: "[command ...]",
        subcommands: &[],
        run: histogram,
    },
    Command {
        name: "latency|help",
        wire_id: 257,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Explains the subcommands.",
        usage: "",
        subcommands: &[],
        run: help,
    },
];

/// Width of the longest bar in a graph, characters.
const GRAPH_WIDTH: u64 = 40;

fn event_named(call: &Call<'_, '_>, name: &[u8]) -> Option<Event> {
    call.node.latency.events().into_iter().find(|(event, _)| event.as_bytes() == name).map(|(_, event)| event)
}

fn latest(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let events = call.node.latency.events();
    call.reply.array(events.len());
    for (name, event) in events {
        let (unix_s, ms) = event.samples.back().copied().unwrap_or_default();
        call.reply.array(4);
        call.reply.bulk_str(name);
        for number in [unix_s, ms, event.max_ms] {
            call.reply.integer(number as i64);
        }
    }
    Ok(())
}

fn history(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let samples = event_named(call, call.args.at(2)).unwrap_or_default().samples;
    call.reply.array(samples.len());
    for (unix_s, ms) in samples {
        call.reply.array(2);
        call.reply.integer(unix_s as i64);
        call.reply.integer(ms as i64);
    }
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let names = call.args.from(2);
    let forgotten =
        call.node.latency.reset(|event| names.is_empty() || names.iter().any(|name| name == event.as_bytes()));
    call.reply.integer(forgotten as i64);
    Ok(())
}

fn graph(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let name = call.args.at(2);
    let Some(event) = event_named(call, name) else {
        return Err(Error::quoting("No samples available for event '", name, "'"));
    };
    let now_s = call.cx.now.seconds();
    let high = event.samples.iter().map(|(_, ms)| *ms).max().unwrap_or(0);
    let low = event.samples.iter().map(|(_, ms)| *ms).min().unwrap_or(0);
    let mut text = String::from_utf8_lossy(name).into_owned();
    text.push_str(&format!(" - high {high} ms, low {low} ms (all time high {} ms)\n", event.max_ms));
    for (unix_s, ms) in &event.samples {
        let bar = "#".repeat((ms * GRAPH_WIDTH / high.max(1)).max(1) as usize);
        text.push_str(&format!("{:>6} ago {bar} {ms} ms\n", age(now_s.saturating_sub(*unix_s))));
    }
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

/// An age for people, in its largest whole unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let threshold_ms = call.node.settings.live.latency_threshold_ms.load(Ordering::Relaxed);
    let events = call.node.latency.events();
    let mut text = match (threshold_ms, events.is_empty()) {
        (0, _) => {
            "Nothing is being watched: CONFIG SET latency-monitor-threshold <milliseconds> begins to.\n".to_owned()
        }
        (_, true) => format!("Nothing has taken {threshold_ms} ms or longer.\n"),
        (_, false) => format!("What has taken {threshold_ms} ms or longer:\n"),
    };
    for (name, event) in &events {
        let samples = event.samples.len() as u64;
        let mean_ms = event.samples.iter().map(|(_, ms)| ms).sum::<u64>() / samples.max(1);
        let advice = match *name {
            "command" => "SLOWLOG GET shows which commands, if its threshold is low enough.",
            "fast-command" => "These commands are quick by nature: the machine was busy, or the values were very long.",
            _ => "LATENCY HISTORY shows when.",
        };
        let max_ms = event.max_ms;
        text.push_str(&format!("{name}: {samples} samples, mean {mean_ms} ms, longest {max_ms} ms. {advice}\n"));
    }
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

/// The rows a name means: its own, and those of its subcommands.
fn rows_named(name: &[u8]) -> impl Iterator<Item = &'static Command> {
    let row = table::find_full(name);
    row.into_iter().flat_map(|row| std::iter::once(row).chain(row.subcommands))
}

fn histogram(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let node = call.node;
    let names = call.args.from(2);
    let rows: Vec<&Command> =
        if names.is_empty() { table::all().collect() } else { names.iter().flat_map(rows_named).collect() };
    let measured: Vec<_> =
        rows.iter().filter_map(|row| Latencies::of(node, row.wire_id).map(|latencies| (row.name, latencies))).collect();
    call.reply.map(measured.len());
    for (name, latencies) in measured {
        let steps = latencies.cumulative();
        call.reply.bulk_str(name);
        call.reply.map(2);
        call.reply.bulk_str("calls");
        call.reply.integer(latencies.total() as i64);
        call.reply.bulk_str("histogram_usec");
        call.reply.map(steps.len());
        for (us, count) in steps {
            call.reply.integer(us as i64);
            call.reply.integer(count as i64);
        }
    }
    Ok(())
}
