//! Settings from flags: redis.conf names, `--name value` or `--name=value`. The words up to the next flag are one
//! value, so `--bind 127.0.0.1 -::1` and `--save 60 1` read as in redis-server.

use super::{Given, Source, is_effective, row, shown_default};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, value_parser};
use commands::node::VERSION;
use commands::settings::table::{Class, SETTINGS, Setting};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What the flags ask for.
pub(super) enum Flags {
    /// To print this and end.
    Print(String),
    /// These settings.
    Given(Vec<Given>),
}

const AFTER_HELP: &str = "\
Every setting can also come from a variable, MILLPOND_ and its name in upper case with _ for -, \
such as MILLPOND_MAXMEMORY=1gb, or from the YAML file that --config names, one `name: value` a line. \
Flags win over variables, variables over the file. Further settings of redis.conf are accepted so that \
existing start scripts work; docs/CONFIG.md lists all of them.";

/// Reads arguments, program name first.
pub(super) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Flags, String> {
    let matches = match command().try_get_matches_from(joined(args)?) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Flags::Print(error.to_string()));
        }
        Err(error) => return Err(one_line(&error)),
    };
    let mut given = Vec::new();
    for setting in SETTINGS {
        for text in matches.get_many::<OsString>(setting.name).into_iter().flatten() {
            let source = Source::Flag(setting.name.into());
            given.push(Given { row: setting, text: text.clone().into_vec(), source });
        }
    }
    Ok(Flags::Given(given))
}

/// Arguments with each flag and its words as one `--name=words`.
fn joined(args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = vec![args.next().unwrap_or_default()];
    let mut takes_words = false;
    for arg in args {
        let bytes = arg.as_bytes();
        if bytes.starts_with(b"--") || matches!(bytes, b"-h" | b"-V") {
            takes_words = bytes.starts_with(b"--");
            out.push(arg);
        } else if let Some(flag) = out.last_mut().filter(|_| takes_words) {
            // The first word follows `=` directly; an empty word is a value too.
            flag.push(OsStr::new(if flag.as_bytes().contains(&b'=') { " " } else { "=" }));
            flag.push(arg);
        } else {
            let word = bytes.escape_ascii();
            return Err(format!("argument {word}: settings are given as --name value, a file as --config FILE"));
        }
    }
    Ok(out)
}

fn command() -> Command {
    let about = "A cache server for clients of Redis and Valkey.";
    let command = Command::new("millpond").version(VERSION).about(about).after_help(AFTER_HELP).next_line_help(true);
    let command = command.override_usage("millpond [--name value]..");
    SETTINGS.iter().fold(command, |command, setting| command.arg(argument(setting)))
}

fn argument(setting: &'static Setting) -> Arg {
    let mut help = setting.doc.to_owned();
    if let Some(default) = shown_default(setting) {
        help = format!("{help} [default: {default}]");
    }
    Arg::new(setting.name)
        .long(setting.name)
        .aliases(setting.aliases.iter().copied())
        .value_name(setting.placeholder().into_owned())
        .help(help)
        .help_heading(if setting.class == Class::Start { "At the start" } else { "Also later, by CONFIG SET" })
        .hide(!is_effective(setting))
        .action(ArgAction::Append)
        .num_args(1)
        .require_equals(true)
        .value_parser(value_parser!(OsString))
}

/// What clap has against the arguments, in one line.
fn one_line(error: &clap::Error) -> String {
    let about = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg.as_str(),
        _ => "",
    };
    let flag = about.split(['=', ' ']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => format!("flag {flag}: there is no such setting"),
        _ if row(flag.trim_start_matches('-')).is_some() => format!("flag {flag}: a value is missing"),
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
