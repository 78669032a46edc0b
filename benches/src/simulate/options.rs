//! The command line.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub objects: u32,
    pub requests: usize,
    /// As the server would have them, if none.
    pub stripes: Option<usize>,
    /// Names of the traces to play; empty: all.
    pub traces: Vec<String>,
    /// How many of the Twitter-like traces there are.
    pub clusters: usize,
    pub jobs: usize,
    pub svg: Option<PathBuf>,
    /// The command line as given.
    pub invocation: String,
}

fn command() -> Command {
    fn number(name: &'static str, default: &'static str, range: std::ops::Range<u64>, help: &'static str) -> Arg {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(value_parser!(u64).range(range))
            .help(help)
    }
    Command::new("simulate")
        .about("Plays traces to the store and to reference policies at equal resident payload, and counts misses.")
        .arg(number("seed", "20260", 0..u64::MAX, "Seed of all traces"))
        .arg(number("objects", "1000000", 1000..(1 << 28), "Recurring keys of a synthetic trace"))
        .arg(number(
            "requests",
            "12000000",
            10_000..(1 << 30),
            "Its requests; a Twitter-like trace has a third of them",
        ))
        .arg(
            Arg::new("stripes")
                .long("stripes")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..4097))
                .help("Stripes of the store, a power of two [default: what the server takes for the limit]"),
        )
        .arg(number("jobs", "1", 1..257, "Cache sizes played at a time"))
        .arg(
            Arg::new("trace").long("trace").value_name("NAME").action(ArgAction::Append).help(
                "Play only this trace (zipf-0.8, zipf-1.0, zipf-1.2, mixed-sizes, twitter-19, ..); may be repeated",
            ),
        )
        .arg(
            Arg::new("svg")
                .long("svg")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Also play four more cache sizes, and write a plot of hit ratios per trace here"),
        )
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("A smoke run of seconds: 50,000 objects, 600,000 requests, three Twitter-like traces"),
        )
}

impl Options {
    pub fn from_args() -> Result<Self, String> {
        let invocation = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        Self::from_matches(&command().get_matches(), invocation)
    }

    fn from_matches(matches: &ArgMatches, invocation: String) -> Result<Self, String> {
        let quick = matches.get_flag("quick");
        let plain = |name: &str| *matches.get_one::<u64>(name).expect("every number has a default");
        let number = |name: &str, when_quick: u64| match matches.value_source(name) {
            Some(ValueSource::DefaultValue) if quick => when_quick,
            _ => plain(name),
        };
        let traces: Vec<String> = matches.get_many("trace").into_iter().flatten().cloned().collect();
        let stripes = matches.get_one::<u64>("stripes").map(|stripes| *stripes as usize);
        if stripes.is_some_and(|stripes| !stripes.is_power_of_two()) {
            return Err("--stripes must be a power of two".to_owned());
        }
        Ok(Self {
            seed: plain("seed"),
            objects: number("objects", 50_000) as u32,
            requests: number("requests", 600_000) as usize,
            stripes,
            clusters: if quick && traces.is_empty() { 3 } else { usize::MAX },
            traces,
            jobs: plain("jobs") as usize,
            svg: matches.get_one::<PathBuf>("svg").cloned(),
            invocation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = ["simulate"].iter().chain(args);
        let matches = command().try_get_matches_from(args).map_err(|error| error.to_string())?;
        Options::from_matches(&matches, String::new())
    }

    #[test]
    fn quick_changes_defaults_and_never_what_was_asked_for() {
        assert_eq!(parse(&[]).unwrap().objects, 1_000_000);
        let quick = parse(&["--quick", "--objects", "5000"]).unwrap();
        assert_eq!((quick.objects, quick.requests), (5000, 600_000));
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [&["--stripes", "3"][..], &["--objects", "1"], &["--jobs", "0"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
