//! Memory after churn: every key is written anew several times with other sizes, which is what fragments an allocator.
//!
//! The first fill has the same mix of sizes, so that its figure beside the last one shows what churn alone costs.

use std::time::Duration;

use super::{Context, fill_time};
use crate::error::Result;
use crate::keys::{KEY_LEN, Random, Values};
use crate::load;
use crate::options::Options;
use crate::server::Server;

const WARM_KEYS: u64 = 1_000;
/// Times every key is written after it was stored.
const REWRITES: u64 = 4;
/// Sizes of values, uniform.
const SMALLEST: usize = 8;
const LARGEST: usize = 192;

/// One server.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub keys: u64,
    /// Resident bytes per key beyond the mean of key and value, before and after the rewriting.
    pub fresh: f64,
    pub churned: f64,
    /// Server CPU per write while rewriting, in us.
    pub cpu_us_per_write: f64,
    /// False when memory still moved at the deadline.
    pub settled: bool,
}

pub fn planned(options: &Options) -> Duration {
    let one = options.settle * 3 + fill_time(options.churn_keys) * (1 + REWRITES as u32);
    one * options.recipes.len() as u32
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        let mut server = Server::start(recipe, context.options.place())?;
        let row = one_server(context, &server, index).map_err(|error| server.blame(error, "churn"))?;
        rows.push(row);
    }
    Ok(rows)
}

fn one_server(context: &mut Context, server: &Server, index: usize) -> Result<Row> {
    let options = context.options;
    let keys = options.churn_keys;
    let values = Values::between(options.seed, SMALLEST, LARGEST);
    let (settle, deadline) = (options.settle, options.settle * 6);
    context.progress.step(settle, format_args!("{} churn: warm with {WARM_KEYS} keys", server.name()));
    write(context, server, &values, 0, 0..WARM_KEYS)?;
    let (warm, _) = server.settled_rss(settle, deadline)?;
    context.progress.step(settle + fill_time(keys), format_args!("{} churn: {keys} keys", server.name()));
    let mut payload = write(context, server, &values, 0, WARM_KEYS..keys)?;
    let count = keys - WARM_KEYS;
    let beyond = |rss: u64, payload: u64| (rss.saturating_sub(warm) as f64 - payload as f64) / count as f64;
    let fresh = beyond(server.settled_rss(settle, deadline)?.0, payload);
    let cpu = server.cpu()?;
    for round in 1..=REWRITES {
        context.progress.step(fill_time(keys), format_args!("{} churn: write {round}/{REWRITES}", server.name()));
        payload = write(context, server, &values, round, WARM_KEYS..keys)?;
    }
    let (cpu_ns, _) = server.cpu()?.since(&cpu);
    context.progress.step(settle, format_args!("{} churn: settle", server.name()));
    let (rss, settled) = server.settled_rss(settle, deadline)?;
    Ok(Row {
        server: index,
        keys,
        fresh,
        churned: beyond(rss, payload),
        cpu_us_per_write: cpu_ns / 1e3 / (count * REWRITES) as f64,
        settled,
    })
}

/// Writes every key of a range once, in an order and with sizes that follow from the round; returns the bytes of keys and
/// values.
fn write(context: &Context, server: &Server, values: &Values, round: u64, range: std::ops::Range<u64>) -> Result<u64> {
    let mut sizes = Random::new(context.options.seed ^ (round + 1) << 48);
    let count = range.end - range.start;
    let stride = coprime(count, round);
    let mut payload = 0;
    let entries = (0..count).map(|step| {
        let index = range.start + (u128::from(step) * u128::from(stride) % u128::from(count)) as u64;
        let value = values.of(sizes.draw() >> 8);
        payload += (KEY_LEN + value.len()) as u64;
        (index, value)
    });
    load::store(server.address, server.protocol(), &context.keys, entries, None)?;
    Ok(payload)
}

/// A step that visits all of `count` before it repeats one: 1 in round 0, a large one of its own in every other.
fn coprime(count: u64, round: u64) -> u64 {
    fn divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let first = if round == 0 { 1 } else { (count as f64 * (0.6 + 0.07 * round as f64)) as u64 };
    (first.max(1)..).find(|step| divisor(*step, count) == 1).expect("a prime comes")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_round_writes_every_key() {
        for (count, round) in [(1000, 0), (1000, 1), (997, 4), (1, 2)] {
            let stride = super::coprime(count, round);
            let mut seen: Vec<u64> = (0..count).map(|step| step * stride % count).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..count), "{count} in round {round}");
        }
    }
}
