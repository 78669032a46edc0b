//! What must hold for every row, whoever writes it.

use super::*;
use crate::command::{Flags, Keys};
use crate::usage::{self, Argument, Kind};
use std::collections::{HashMap, HashSet};

/// Blocks of wire ids, as dealt out in `families/mod.rs`: first id of each family, in the order of [`FAMILIES`] there.
const BLOCKS: &[(&str, u16)] = &[
    ("connection", 1),
    ("client", 20),
    ("string", 50),
    ("counter", 80),
    ("expiry", 100),
    ("keyspace", 130),
    ("scan", 160),
    ("transaction", 170),
    ("config", 180),
    ("introspect", 190),
    ("inspect", 210),
    ("server", 240),
    ("debug", 290),
    ("refused", 310),
    ("cache", 340),
    ("swr", 360),
    ("event", 400),
    ("hash", 420),
    ("projection", 450),
    ("", 480),
];

#[test]
fn names_and_wire_ids_are_unique() {
    let (mut names, mut ids) = (HashSet::new(), HashMap::new());
    for row in all() {
        assert!(names.insert(row.name), "{} twice", row.name);
        if let Some(other) = ids.insert(row.wire_id, row.name) {
            panic!("{other} and {} share the wire id {}", row.name, row.wire_id);
        }
        assert!(row.name.len() <= MAX_NAME && row.name == row.name.to_lowercase(), "{}", row.name);
    }
}

#[test]
fn wire_ids_lie_in_the_block_of_their_family() {
    assert_eq!(FAMILIES.len() + 1, BLOCKS.len());
    for (family, block) in FAMILIES.iter().zip(BLOCKS.windows(2)) {
        for row in family.iter().flat_map(|row| std::iter::once(row).chain(row.subcommands)) {
            let allowed = block[0].1..block[1].1;
            assert!(allowed.contains(&row.wire_id), "{}: {} is not in {allowed:?}", row.name, row.wire_id);
            assert_eq!(by_wire_id(row.wire_id).map(|found| found.name), Some(row.name));
        }
    }
}

#[test]
fn subcommands_belong_to_their_parent() {
    for row in commands() {
        assert!(!row.name.contains('|'), "{}", row.name);
        for sub in row.subcommands {
            assert_eq!(sub.name.split_once('|').map(|(parent, _)| parent), Some(row.name), "{}", sub.name);
            assert_eq!(sub.parent().map(|parent| parent.name), Some(row.name));
            assert!(sub.subcommands.is_empty(), "{}: one level only", sub.name);
            assert_eq!(find_full(sub.name.to_uppercase().as_bytes()).map(|found| found.name), Some(sub.name));
        }
        let has_help = row.subcommands.iter().any(|sub| sub.own_name() == "help");
        assert!(row.subcommands.is_empty() || has_help, "{} has no HELP", row.name);
    }
}

#[test]
fn flags_do_not_contradict_each_other() {
    for row in all() {
        let (name, flags) = (row.name, row.flags);
        assert!(!flags.has(Flags::WRITE.and(Flags::READONLY)), "{name} writes and only reads");
        assert!(!flags.has(Flags::DENYOOM) || flags.has(Flags::WRITE), "{name} takes memory without writing");
        // What concerns loads alone touches no data.
        let is_about_loads = ["swr.fail", "swr.yield", "swr.renew", "swr.warm"].contains(&name);
        if row.keys.first > 0 && name != "watch" && !is_about_loads {
            assert!(flags.has(Flags::WRITE) || flags.has(Flags::READONLY), "{name} does something to its keys");
        }
    }
}

#[test]
fn texts_are_there() {
    for row in all() {
        let (name, summary) = (row.name, row.summary);
        assert!(summary.len() > 10 && summary.ends_with('.'), "{name}: a sentence, not {summary:?}");
        assert!(!summary.contains('\n') && !row.complexity.is_empty(), "{name}");
        let version: Vec<_> = row.since.split('.').map(str::parse::<u8>).collect();
        assert!(version.len() == 3 && version.iter().all(Result::is_ok), "{name}: since {:?}", row.since);
    }
}

fn arguments(row: &Command) -> Vec<Argument> {
    usage::parse(row.usage).unwrap_or_else(|error| panic!("{}: {:?}: {error}", row.name, row.usage))
}

/// Words of a request before the arguments that usage describes.
fn words_of_name(row: &Command) -> usize {
    row.name.split('|').count()
}

#[test]
fn arity_agrees_with_usage() {
    for row in all() {
        let arguments = arguments(row);
        if !row.subcommands.is_empty() {
            // Asked for alone by COMMAND only; its subcommands have usages of their own.
            assert!(row.arity == -1 || row.arity == -2, "{}", row.name);
            continue;
        }
        let least = words_of_name(row) + usage::min(&arguments);
        let most = usage::max(&arguments).map(|most| words_of_name(row) + most);
        if row.arity >= 0 {
            let exactly = row.arity as usize;
            assert_eq!((least, most), (exactly, Some(exactly)), "{}: {:?}", row.name, row.usage);
        } else {
            assert_eq!(least, usize::from(row.arity.unsigned_abs()), "{}: {:?}", row.name, row.usage);
            // Redis lets a few commands without arguments take any number of them.
            let is_open = row.usage.is_empty() || most != Some(least);
            assert!(is_open, "{}: {:?} takes no more than the least", row.name, row.usage);
        }
    }
}

/// Positions of keys in a request that gives every argument once, and whether the last is repeated.
fn keys_by_usage(row: &Command) -> (Vec<usize>, bool) {
    fn walk(arguments: &[Argument], at: &mut usize, keys: &mut Vec<usize>, repeated: &mut bool, inside: bool) {
        for argument in arguments {
            *at += usize::from(argument.token.is_some());
            let many = inside || argument.multiple;
            match argument.kind {
                Kind::Key => {
                    keys.push(*at);
                    *repeated |= many;
                    *at += 1;
                }
                Kind::Block | Kind::OneOf => walk(&argument.arguments, at, keys, repeated, many),
                Kind::PureToken => {}
                _ => *at += 1,
            }
        }
    }
    let (mut keys, mut repeated) = (Vec::new(), false);
    walk(&arguments(row), &mut words_of_name(row), &mut keys, &mut repeated, false);
    (keys, repeated)
}

#[test]
fn key_positions_agree_with_usage() {
    for row in all().filter(|row| !row.flags.has(Flags::MOVABLE_KEYS)) {
        let (keys, repeated) = keys_by_usage(row);
        let first = keys.first().copied().unwrap_or(0);
        assert_eq!(usize::from(row.keys.first), first, "{}: {:?}", row.name, row.usage);
        if first == 0 {
            assert_eq!(row.keys, Keys::NONE, "{}", row.name);
        } else if repeated {
            assert_eq!(row.keys.last, -1, "{}: keys are repeated in {:?}", row.name, row.usage);
        } else {
            let last = *keys.last().expect("one at least");
            assert_eq!(row.keys.last, last as i16, "{}: {:?}", row.name, row.usage);
        }
    }
}

#[test]
fn requests_find_their_rows() {
    let found = |words: &[&[u8]]| format!("{:?}", describe(find(protocol::OwnedRequest::from_slices(words).as_args())));
    fn describe(lookup: Lookup) -> (&'static str, &'static str) {
        match lookup {
            Lookup::Command(row) => ("command", row.name),
            Lookup::Unknown => ("unknown", ""),
            Lookup::UnknownSubcommand(row) => ("unknown subcommand", row.name),
        }
    }
    assert_eq!(found(&[b"GeT", b"k"]), r#"("command", "get")"#);
    assert_eq!(found(&[b"CONFIG", b"gEt", b"x"]), r#"("command", "config|get")"#);
    assert_eq!(found(&[b"CONFIG"]), r#"("command", "config")"#);
    assert_eq!(found(&[b"CONFIG", b"nope"]), r#"("unknown subcommand", "config")"#);
    for name in [&b""[..], b"nope", b"config|get", &[b'x'; 33], &[b'x'; 1000], b"get\0", b"\xffget"] {
        assert_eq!(found(&[name]), r#"("unknown", "")"#);
    }
}

#[test]
fn costs_and_usages_are_written_in_one_way() {
    for row in all() {
        let cost = row.complexity;
        assert!(!cost.is_empty() && !cost.ends_with('.') && !cost.contains("O(n)"), "{}: {cost}", row.name);
        assert_eq!(cost.contains("O(N"), cost.contains(" being "), "{}: {cost}", row.name);
        assert!(
            row.usage.split(' ').all(|word| word.trim_end_matches(']') == "..." || !word.contains("...")),
            "{}",
            row.name
        );
    }
}
