//! The rooms of the house: which crate may import which, and what must never be in the tree of the core crates.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The edges between the workspace's crates, each "importer -> imported". Nothing points upwards.
const EDGES: &[(&str, &[&str])] = &[
    ("millpond-protocol", &[]),
    ("millpond-storage", &[]),
    ("millpond-projection", &["millpond-storage"]),
    ("millpond-commands", &["millpond-protocol", "millpond-storage"]),
    ("millpond", &["millpond-commands", "millpond-projection", "millpond-protocol", "millpond-storage"]),
];

/// Members of the workspace that look at the others from outside; no edge of theirs ships.
const OUTSIDE: &[&str] = &["millpond-tests", "millpond-benches"];

/// Crates whose dependency trees hold no sockets, no runtime and no broker.
const CORE: &[&str] = &["millpond-protocol", "millpond-storage", "millpond-commands"];
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "rustix",
    "rdkafka",
    "openraft",
    "axum",
    "hyper",
    "tracing",
    "mimalloc",
    "getrandom",
    "quanta",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Dependencies of each package by name, dev-dependencies left out.
fn graph(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("a string").to_string();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let mut graph = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let normal = list(&node["deps"]).into_iter().filter(|dependency| {
            list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null() || kind["kind"] == "build")
        });
        let wanted = normal.map(|dependency| names[&text(&dependency["pkg"])].clone()).collect();
        graph.insert(names[&text(&node["id"])].clone(), wanted);
    }
    graph
}

#[test]
fn every_member_has_its_edges_listed() {
    let metadata = metadata();
    let members = metadata["workspace_members"].as_array().expect("a list");
    let packages = metadata["packages"].as_array().expect("a list").iter();
    let found: BTreeSet<&str> = packages
        .filter(|package| members.contains(&package["id"]))
        .map(|package| package["name"].as_str().expect("a string"))
        .collect();
    let listed: BTreeSet<&str> = EDGES.iter().map(|(importer, _)| *importer).chain(OUTSIDE.iter().copied()).collect();
    assert_eq!(found, listed, "members of the workspace, and those with edges listed");
}

#[test]
fn edges_between_crates_are_the_listed_ones() {
    let graph = graph(&metadata());
    for (importer, allowed) in EDGES {
        let found: Vec<&str> =
            graph[*importer].iter().map(String::as_str).filter(|name| name.starts_with("millpond")).collect();
        assert_eq!(found, *allowed, "imports of {importer}");
    }
}

#[test]
fn the_core_has_no_io_in_its_tree() {
    let graph = graph(&metadata());
    for core in CORE {
        let mut reached = BTreeSet::new();
        let mut open = vec![(*core).to_string()];
        while let Some(name) = open.pop() {
            for dependency in &graph[&name] {
                if reached.insert(dependency.clone()) {
                    open.push(dependency.clone());
                }
            }
        }
        let forbidden: Vec<&&str> = NOT_IN_CORE.iter().filter(|name| reached.contains(**name)).collect();
        assert!(forbidden.is_empty(), "{core} reaches {forbidden:?}");
    }
}
