//! What every file of the tree must keep to: lengths, openings, and words that have no place here.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines, tests and benches left out.
const MAX_LINES: usize = 900;
/// Files that may be longer, with their length now (it may only shrink) and the reason.
const LONGER: &[(&str, usize, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_path_buf()
}

/// All Rust files below `folder`, without build outputs and installed packages.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", ".work", ".git"].contains(&&*name) {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for room in ["protocol", "storage", "projection", "commands", "server", "tests", "benches"] {
        rust_files(&root().join(room), &mut files);
    }
    assert!(files.len() > 50, "the rooms were found");
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            (name, fs::read_to_string(&path).expect("a readable file"))
        })
        .collect()
}

#[test]
fn files_are_short() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        let limit = LONGER.iter().find(|(file, ..)| *file == name).map_or(MAX_LINES, |(_, lines, _)| *lines);
        let beside = name.contains("/tests/") || name.ends_with("/tests.rs") || name.contains("/benches/");
        assert!(beside || lines <= limit, "{name} has {lines} lines, more than {limit}: split it");
    }
}

#[test]
fn modules_open_with_what_they_promise() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} opens with //! and what it promises");
    }
}

#[test]
fn nothing_is_left_undone() {
    // Spelled apart, so that this file does not find itself.
    let words = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("XX", "X:")];
    for (name, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{name} holds {word}");
        }
    }
}

#[test]
fn unsafe_code_stands_only_where_it_may() {
    for (name, text) in sources() {
        let room = name.split('/').next().unwrap_or_default();
        let has_block = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(concat!("unsafe", " {")) || code.contains(concat!("unsafe", " impl"))
        });
        let allowed = room == "storage"
            || ["server/src/net/reactor.rs", "server/src/zeroed.rs"].contains(&&*name)
            || name.starts_with("projection/src/consumer")
            || room == "benches";
        assert!(!has_block || allowed, "{name} holds unsafe code; only storage and the foreign-function edges may");
    }
}
