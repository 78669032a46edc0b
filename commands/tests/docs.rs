//! docs/COMMANDS.md and docs/CONFIG.md say what the tables say. `UPDATE=1 cargo test -p millpond-commands --test docs`
//! rewrites them.

#![allow(clippy::disallowed_methods)]

use commands::command::{Command, Group};
use commands::settings::kind::Value;
use commands::settings::table::{Class, SETTINGS, Setting};
use commands::table;
use std::fmt::Write;
use std::path::Path;

/// Compares a file under docs/ with what it should be, or makes it so.
fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let different = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    let line = different.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    assert!(
        found == expected,
        "docs/{name} is not up to date from line {} on; UPDATE=1 rewrites it. Expected there: {:?}",
        line + 1,
        expected.lines().nth(line)
    );
}

/// Text inside a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn group_title(group: Group) -> &'static str {
    match group {
        Group::Connection => "Connection",
        Group::Generic => "Keys of any type, and expiry",
        Group::String => "Strings and counters",
        Group::Hash => "Hashes",
        Group::Transactions => "Transactions",
        Group::Server => "Server",
        Group::Scripting => "Scripting",
        Group::Cluster => "Cluster mode, which is refused",
        Group::Cache => "Groups of entries",
        Group::Swr => "Freshness",
        Group::Projection => "Projections",
    }
}

fn command_line(row: &Command) -> String {
    let name = row.name.replace('|', " ").to_uppercase();
    let usage = format!("{name} {}", row.usage);
    let categories = row.categories().join(" ");
    format!(
        "| {} | {} | {} | {} | {categories} |",
        code(usage.trim_end()),
        cell(row.summary),
        cell(row.complexity),
        row.since
    )
}

#[test]
fn commands() {
    let mut text = format!(
        "# Commands\n\n\
         {} commands, of which {} are made of subcommands. Written by a test from the command table; \
         `UPDATE=1 cargo test -p millpond-commands --test docs` rewrites it.\n\n\
         In the usage lower-case words are arguments and upper-case words literal; `[..]` may be left out, `|` separates \
         alternatives, `...` marks what may be repeated. *Since* is the version of Redis that brought a command, and \
         behaviour is that of Redis {}.\n",
        table::commands().count(),
        table::commands().filter(|row| !row.subcommands.is_empty()).count(),
        commands::node::REDIS_VERSION,
    );
    let mut groups: Vec<Group> = table::all().map(|row| row.group).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let _ = write!(text, "\n## {}\n\n", group_title(group));
        text += "| usage | what it does | cost | since | categories |\n|---|---|---|---|---|\n";
        // A container itself does nothing, except COMMAND.
        let is_shown = |row: &&Command| row.group == group && (row.subcommands.is_empty() || row.arity == -1);
        let mut rows: Vec<&Command> = table::all().filter(is_shown).collect();
        rows.sort_unstable_by_key(|row| row.name);
        for row in rows {
            text += &command_line(row);
            text.push('\n');
        }
    }
    check("COMMANDS.md", &text);
}

fn setting_line(row: &Setting) -> String {
    let default = match row.default_value() {
        // As the table writes sizes.
        Value::Number(_) => row.default.to_owned(),
        value => String::from_utf8_lossy(&value.text()).into_owned(),
    };
    let default = if default.is_empty() { "empty".into() } else { code(&default) };
    let names = row.names().map(code).collect::<Vec<_>>().join(" = ");
    format!("| {names} | {} | {default} | {} | {} |", code(&row.placeholder()), code(&row.variable()), cell(row.doc))
}

#[test]
fn config() {
    let mut text = String::from(
        "# Settings\n\n\
         Written by a test from the table of settings; \
         `UPDATE=1 cargo test -p millpond-commands --test docs` rewrites it.\n\n\
         A setting can be given as a flag (`--maxmemory 1gb`, `--maxmemory=1gb`), as a variable (`MILLPOND_MAXMEMORY=1gb`), \
         or in the YAML file that `--config` or `MILLPOND_CONFIG` names (`maxmemory: 1gb`). Flags win over variables, \
         variables over the file, the file over the default. An unknown setting or a value that is none ends the start \
         with one line that says where it was read.\n\n\
         Bytes may have a unit: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb` powers of 1024. Of the variables that \
         a service called `millpond` gets from Kubernetes (`MILLPOND_SERVICE_..`, `MILLPOND_PORT_..`, and `MILLPOND_PORT` \
         with a URL) none counts as a setting.\n",
    );
    let sections = [
        (Class::Start, "At the start", "Given at the start; `CONFIG GET` shows them."),
        (Class::Live, "Live", "Also changed by `CONFIG SET`, with effect at once."),
        (Class::Kept, "Kept", "Stored and returned for clients and tools that set them; without effect."),
        (
            Class::Fixed,
            "Fixed",
            "One value, which may be given again. Any other is refused: it would be a promise not kept.",
        ),
    ];
    for (class, title, about) in sections {
        let _ = write!(text, "\n## {title}\n\n{about}\n\n");
        text += "| name | value | default | variable | what it does |\n|---|---|---|---|---|\n";
        for row in SETTINGS.iter().filter(|row| row.class == class) {
            text += &setting_line(row);
            text.push('\n');
        }
    }
    check("CONFIG.md", &text);
}
