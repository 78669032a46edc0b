//! The command line.

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource, value_parser};

#[derive(Debug, Clone)]
pub struct Options {
    pub keys: u64,
    pub value_size: usize,
    pub ttl: bool,
    pub stripes: usize,
    /// Keys read in each round of the second part.
    pub reads: u64,
    pub rounds: usize,
    /// Writes of the third part.
    pub churn: u64,
    pub seed: u64,
    pub look_above_ns: u64,
    pub core: Option<usize>,
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(value_parser!(u64).range(1..=1 << 40))
            .help(help)
    };
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("growth")
        .about("Times every step of one store in this process: growing, reading, rewriting, deleting.")
        .arg(number("keys", "50000000", "Keys of 16 bytes to grow to; about 120 bytes of memory each"))
        .arg(number("value-size", "64", "Bytes per value"))
        .arg(flag("ttl", "Give every key a deadline, a day and more away"))
        .arg(number("stripes", "1024", "Stripes of the store"))
        .arg(number("reads", "4000000", "Keys read in a round of each kind of reading"))
        .arg(number("rounds", "5", "Rounds of reading"))
        .arg(number("churn", "20000000", "Writes to random keys with sizes from 8 bytes to twice the mean"))
        .arg(number("seed", "20260", "Seed of keys and order"))
        .arg(number("look-above-ns", "2000", "Longer samples are looked into: page fault, context switch?"))
        .arg(
            Arg::new("core")
                .long("core")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Stay on this core [default: any]"),
        )
        .arg(flag("quick", "A smoke run: a million keys, 2 rounds of 200,000 reads, 500,000 writes"))
}

impl Options {
    pub fn from_args() -> Result<Self, String> {
        Self::from_matches(&command().get_matches())
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, String> {
        let quick = matches.get_flag("quick");
        let plain = |name: &str| *matches.get_one::<u64>(name).expect("every number has a default");
        let number = |name: &str, when_quick: u64| match matches.value_source(name) {
            Some(ValueSource::DefaultValue) if quick => when_quick,
            _ => plain(name),
        };
        let options = Self {
            keys: number("keys", 1_000_000),
            value_size: plain("value-size") as usize,
            ttl: matches.get_flag("ttl"),
            stripes: plain("stripes") as usize,
            reads: number("reads", 200_000),
            rounds: number("rounds", 2) as usize,
            churn: number("churn", 500_000),
            seed: plain("seed"),
            look_above_ns: plain("look-above-ns"),
            core: matches.get_one::<u64>("core").map(|core| *core as usize),
        };
        if !(8..=16 << 10).contains(&options.value_size) {
            return Err("--value-size must be 8..=16384".into());
        }
        if !options.stripes.is_power_of_two() || options.stripes > storage::limits::MAX_STRIPES {
            return Err(format!("--stripes must be a power of two up to {}", storage::limits::MAX_STRIPES));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = ["growth"].iter().chain(args);
        Options::from_matches(&command().try_get_matches_from(args).map_err(|error| error.to_string())?)
    }

    #[test]
    fn quick_changes_defaults_and_never_what_was_asked_for() {
        assert_eq!(parse(&[]).unwrap().keys, 50_000_000);
        let quick = parse(&["--quick", "--reads", "7"]).unwrap();
        assert_eq!((quick.keys, quick.reads), (1_000_000, 7));
        assert!(parse(&["--stripes", "1000"]).is_err() && parse(&["--value-size", "4"]).is_err());
    }
}
