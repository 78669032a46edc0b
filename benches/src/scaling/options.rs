//! The command line.

use clap::{Arg, Command, value_parser};

#[derive(Debug, Clone)]
pub struct Options {
    pub keys: u64,
    pub value_size: usize,
    pub stripes: usize,
    /// Steps of one thread in a round.
    pub steps: u64,
    pub write_percent: u64,
    pub rounds: usize,
    /// Numbers of threads; the first one is what the others are compared with.
    pub threads: Vec<usize>,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self::from_matches(&command().get_matches_from(["scaling"]))
    }
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str, most: u64, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(value_parser!(u64).range(..=most))
            .help(help)
    };
    Command::new("scaling")
        .about("Reads and writes of one store by several threads in this process: throughput, CPU, contention.")
        .arg(number("keys", "3000000", 1 << 40, "Keys of 16 bytes"))
        .arg(number("value-size", "64", 500, "Bytes per value"))
        .arg(number("stripes", "1024", 4096, "Stripes of the store, a power of two"))
        .arg(number("steps", "5000000", 1 << 40, "Steps of each thread in a round"))
        .arg(number("writes", "10", 100, "Writes among the steps, in percent"))
        .arg(number("rounds", "7", 1000, "Rounds of each number of threads"))
        .arg(number("seed", "20260", u64::MAX, "Seed of keys and order"))
        .arg(
            Arg::new("threads")
                .long("threads")
                .value_name("N,N..")
                .value_delimiter(',')
                .default_value("1,2")
                .value_parser(value_parser!(u64).range(1..=1024))
                .help("Numbers of threads to compare; the first one is the base"),
        )
}

impl Options {
    pub fn from_args() -> Result<Self, String> {
        let options = Self::from_matches(&command().get_matches());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match options.threads.iter().find(|threads| **threads > cores) {
            Some(threads) => Err(format!("{threads} threads want as many cores, there are {cores}")),
            None if options.keys == 0 || options.steps == 0 || options.rounds == 0 => {
                Err("keys, steps and rounds: at least one".to_owned())
            }
            None if !options.stripes.is_power_of_two() => Err("stripes: a power of two".to_owned()),
            None => Ok(options),
        }
    }

    fn from_matches(matches: &clap::ArgMatches) -> Self {
        let number = |name: &str| *matches.get_one::<u64>(name).expect("every number has a default");
        Self {
            keys: number("keys"),
            value_size: number("value-size") as usize,
            stripes: number("stripes") as usize,
            steps: number("steps"),
            write_percent: number("writes"),
            rounds: number("rounds") as usize,
            threads: matches.get_many::<u64>("threads").expect("a default").map(|n| *n as usize).collect(),
            seed: number("seed"),
        }
    }
}
