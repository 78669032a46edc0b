//! Resident memory per key beyond the key's and the value's own bytes: VmRSS minus that of the same server with 1,000 keys.

use std::time::Duration;

use super::{Context, fill_time};
use crate::error::Result;
use crate::keys::{KEY_LEN, Values};
use crate::load::fill;
use crate::options::Options;
use crate::server::{Recipe, Server};

const WARM_KEYS: u64 = 1_000;
const TTL_S: u32 = 100_000;
/// Sizes of a sweep, evenly spaced in the logarithm over one doubling: no table can hide its worst moment.
const SWEEP_SIZES: u32 = 8;

/// Overhead of one server at one number of keys.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub ttl: bool,
    pub keys: u64,
    /// Bytes per key beyond key and value.
    pub overhead: f64,
    pub rss_bytes: u64,
    /// False when memory still moved at the deadline.
    pub settled: bool,
}

/// Longest wait for memory to stand still.
fn deadline(options: &Options) -> Duration {
    options.settle * 6
}

pub fn planned(options: &Options, sweep: bool) -> Duration {
    let sizes = sizes(options, sweep);
    let one = options.settle * (sizes.len() as u32 + 1) + fill_time(*sizes.last().expect("at least one size"));
    one * 2 * options.recipes.len() as u32
}

fn sizes(options: &Options, sweep: bool) -> Vec<u64> {
    let count = if sweep { SWEEP_SIZES } else { 1 };
    let at = |step| (options.memory_keys as f64 * 2f64.powf(f64::from(step) / f64::from(SWEEP_SIZES))) as u64;
    (0..count).map(at).collect()
}

/// Measures every server without and with a TTL in a fresh process each; `sweep` grows it over one doubling.
pub fn run(context: &mut Context, sweep: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        for ttl in [false, true] {
            let mut server = Server::start(recipe, context.options.place())?;
            let result = grow(context, recipe, &server, index, ttl, sweep, &mut rows);
            result.map_err(|error| server.blame(error, "measuring memory"))?;
        }
    }
    Ok(rows)
}

fn grow(
    context: &mut Context,
    recipe: &Recipe,
    server: &Server,
    index: usize,
    ttl: bool,
    sweep: bool,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let options = context.options;
    let (seed, size) = (options.seed, options.value_size);
    let values =
        if options.mixed_values { Values::between(seed, size - 7, size + 8) } else { Values::fixed(seed, size) };
    let ttl_s = ttl.then_some(TTL_S);
    let label = if ttl { "with TTL" } else { "no TTL" };
    let store = |range| fill(server.address, server.protocol(), &context.keys, &values, range, ttl_s);
    context.progress.step(options.settle, format_args!("{} memory, {label}: warm with {WARM_KEYS} keys", recipe.name));
    store(0..WARM_KEYS)?;
    let (warm, _) = server.settled_rss(options.settle, deadline(options))?;
    let mut stored = WARM_KEYS;
    for keys in sizes(options, sweep) {
        let expected = options.settle + fill_time(keys - stored);
        context.progress.step(expected, format_args!("{} memory, {label}: {keys} keys", recipe.name));
        store(stored..keys)?;
        stored = keys;
        let (rss_bytes, settled) = server.settled_rss(options.settle, deadline(options))?;
        let payload = KEY_LEN as f64 + values.mean_len();
        let overhead = rss_bytes.saturating_sub(warm) as f64 / (keys - WARM_KEYS) as f64 - payload;
        rows.push(Row { server: index, ttl, keys, overhead, rss_bytes, settled });
    }
    Ok(())
}
