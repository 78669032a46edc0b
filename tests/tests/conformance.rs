//! Every script of `tests/conformance/`, in RESP2 and again in RESP3, and the list of commands they must cover.

use millpond_tests::run::{run_script, scripts};
use millpond_tests::server::{Kind, is_oracle};
use millpond_tests::{Protocol, Server};
use std::collections::BTreeSet;

fn check(name: &str) {
    let script = scripts("conformance")
        .into_iter()
        .find(|script| script.name == format!("{name}.txt"))
        .expect("the script exists");
    let differences: Vec<String> =
        [Protocol::Resp2, Protocol::Resp3].into_iter().flat_map(|p| run_script(&script, p)).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

macro_rules! families {
    ($($name:ident),* $(,)?) => {
        const FAMILIES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

families![
    auth,
    connection,
    client,
    strings,
    strings_numbers,
    hashes,
    expiry,
    keyspace,
    scan,
    transactions,
    server,
    config,
    command,
    protocol,
    monitoring,
    freshness,
    projections
];

#[test]
fn every_script_is_run() {
    let files: Vec<String> = scripts("conformance").into_iter().map(|script| script.name).collect();
    let mut listed: Vec<String> = FAMILIES.iter().map(|name| format!("{name}.txt")).collect();
    listed.sort();
    assert_eq!(files, listed);
}

/// Commands no script sends, each with its reason; one that a script does send is stale.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn every_command_is_covered() {
    let server = Server::start();
    if is_oracle() && server.kind() != Kind::Millpond {
        eprintln!("left out: a genuine Redis has commands that do not exist here yet");
        return;
    }
    let sent: BTreeSet<String> =
        scripts("conformance").iter().flat_map(|script| script.command_names().collect::<Vec<_>>()).collect();
    let sent_first: BTreeSet<&str> = sent.iter().map(|name| name.split('|').next().unwrap_or(name)).collect();
    let mut missing = Vec::new();
    let mut conn = server.connect();
    for name in conn.cmd("COMMAND LIST").expect_items().iter().map(|name| name.expect_text().to_owned()) {
        if name.contains('|') {
            continue; // comes again below, with its container
        }
        if !sent_first.contains(name.as_str()) {
            missing.push(name.clone());
        }
        let info = conn.command(&["COMMAND", "INFO", &name]);
        let subcommands = info.expect_items()[0].expect_items()[9].expect_items();
        let names = subcommands.iter().map(|sub| sub.expect_items()[0].expect_text().to_owned());
        missing.extend(names.filter(|name| !sent.contains(name)));
    }
    let stale: Vec<&str> =
        EXCEPTIONS.iter().map(|(name, _)| *name).filter(|name| !missing.iter().any(|m| m == name)).collect();
    assert!(stale.is_empty(), "no exception any more: {stale:?}");
    missing.retain(|name| !EXCEPTIONS.iter().any(|(exception, _)| exception == name));
    assert!(missing.is_empty(), "no conformance script sends: {missing:?}");
}
