//! The commands of freshness as a client sees them.

use crate::testkit::Testkit;

/// The parts of an answer `[state, value, token, ms]`.
struct Told {
    state: String,
    value: Option<String>,
    token: Option<String>,
    ms: i64,
}

fn parse(reply: &str) -> Told {
    let mut lines = reply.split("\r\n");
    let mut next = || lines.next().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    assert_eq!(next(), "*4", "{reply:?}");
    let state = next().trim_start_matches('+').to_owned();
    let mut text = || match &*next() {
        "$-1" => None,
        _ => Some(next()),
    };
    let (value, token) = (text(), text());
    let ms = next().trim_start_matches(':').parse().unwrap();
    Told { state, value, token, ms }
}

fn ask(t: &mut Testkit, line: &str) -> Told {
    let reply = t.run(line);
    parse(&reply)
}

fn told(t: &mut Testkit, line: &str) -> (String, Option<String>, bool, i64) {
    let Told { state, value, token, ms } = ask(t, line);
    (state, value, token.is_some(), ms)
}

fn is(state: &str, value: Option<&str>, token: bool, ms: i64) -> (String, Option<String>, bool, i64) {
    (state.to_owned(), value.map(str::to_owned), token, ms)
}

fn token(t: &mut Testkit, line: &str) -> String {
    let told = ask(t, line);
    told.token.unwrap_or_else(|| panic!("{line}: {}", told.state))
}

mod answers;
mod loads;
mod states;
mod tags;
mod work;
