//! Resident memory per key beyond the key's and the value's own bytes: VmRSS minus that of the same server with 1,000 keys.

use std::time::Duration;

use super::{Context, fill_time};
use crate::error::Result;
use crate::keys::{KEY_LEN, Values};
use crate::load::fill;
use crate::options::Options;
use crate::server::Server;

const WARM_KEYS: u64 = 1_000;
const TTL_S: u32 = 100_000;
/// Sizes of a sweep, evenly spaced in the logarithm over one doubling: no table can hide its worst moment.
const SWEEP_SIZES: u32 = 8;

/// Overhead of one server at one number of keys.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub ttl: bool,
    /// Whether values had 16 sizes in turn.
    pub mixed: bool,
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
    one * 2 * mixes(options).len() as u32 * options.recipes.len() as u32
}

/// Values of one size, and then of mixed sizes if asked for.
fn mixes(options: &Options) -> &'static [bool] {
    if options.mixed_values { &[false, true] } else { &[false] }
}

fn sizes(options: &Options, sweep: bool) -> Vec<u64> {
    let count = if sweep { SWEEP_SIZES } else { 1 };
    let at = |step| (options.memory_keys as f64 * 2f64.powf(f64::from(step) / f64::from(SWEEP_SIZES))) as u64;
    (0..count).map(at).collect()
}

/// Measures every server without and with a TTL, and each mix of values, in a fresh process each; `sweep` grows it over one doubling.
pub fn run(context: &mut Context, sweep: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        for (mixed, ttl) in mixes(context.options).iter().flat_map(|mixed| [(*mixed, false), (*mixed, true)]) {
            let mut server = Server::start(recipe, context.options.place())?;
            let grown = grow(context, &server, ttl, mixed, sweep);
            let grown = grown.map_err(|error| server.blame(error, "measuring memory"))?;
            rows.extend(grown.into_iter().map(|row| Row { server: index, ..row }));
        }
    }
    Ok(rows)
}

fn grow(context: &mut Context, server: &Server, ttl: bool, mixed: bool, sweep: bool) -> Result<Vec<Row>> {
    let options = context.options;
    let (seed, size) = (options.seed, options.value_size);
    let values = if mixed { Values::between(seed, size - 7, size + 8) } else { Values::fixed(seed, size) };
    let ttl_s = ttl.then_some(TTL_S);
    let label = format!("{}{}", if ttl { "with TTL" } else { "no TTL" }, if mixed { ", mixed values" } else { "" });
    let store = |range| fill(server.address, server.protocol(), &context.keys, &values, range, ttl_s);
    context
        .progress
        .step(options.settle, format_args!("{} memory, {label}: warm with {WARM_KEYS} keys", server.name()));
    store(0..WARM_KEYS)?;
    let (warm, _) = server.settled_rss(options.settle, deadline(options))?;
    let mut stored = WARM_KEYS;
    let mut rows = Vec::new();
    for keys in sizes(options, sweep) {
        let expected = options.settle + fill_time(keys - stored);
        context.progress.step(expected, format_args!("{} memory, {label}: {keys} keys", server.name()));
        store(stored..keys)?;
        stored = keys;
        let (rss_bytes, settled) = server.settled_rss(options.settle, deadline(options))?;
        let payload = KEY_LEN as f64 + values.mean_len();
        let overhead = rss_bytes.saturating_sub(warm) as f64 / (keys - WARM_KEYS) as f64 - payload;
        rows.push(Row { server: 0, ttl, mixed, keys, overhead, rss_bytes, settled });
    }
    Ok(rows)
}
