//! How long single commands hold their core while a server grows: stores keys at full speed, deep pipelines, and shows what a
//! Millpond built with the feature `histogram` has measured inside.

use std::time::{Duration, Instant};

use super::{Context, fill_time};
use crate::error::Result;
use crate::load::fill;
use crate::options::Options;
use crate::server::Server;
use crate::wire::Protocol;

/// One server that tells.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub keys: u64,
    pub sets_per_s: f64,
    /// Names and figures as the server tells them.
    pub figures: Vec<(String, String)>,
}

pub fn planned(options: &Options) -> Duration {
    fill_time(options.pause_keys) * 2
}

pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        if recipe.protocol() != Protocol::Resp {
            eprintln!("  {}: skipped, it measures no commands", recipe.name);
            continue;
        }
        let mut server = Server::start(recipe, context.options.place())?;
        if let Err(error) = server.control().pauses() {
            eprintln!(
                "  {}: skipped ({error}); it takes a Millpond with the feature `histogram` that allows DEBUG",
                recipe.name
            );
            continue;
        }
        let keys = context.options.pause_keys;
        context.progress.step(fill_time(keys), format_args!("{}: pauses while growing to {keys} keys", recipe.name));
        let row = grow(context, &mut server, keys).map_err(|error| server.blame(error, "pauses"))?;
        rows.push(Row { server: index, ..row });
    }
    Ok(rows)
}

fn grow(context: &Context, server: &mut Server, keys: u64) -> Result<Row> {
    let began = Instant::now();
    fill(server.address, server.protocol(), &context.keys, &context.values, 0..keys, None)?;
    let sets_per_s = keys as f64 / began.elapsed().as_secs_f64();
    let text = server.control().pauses()?;
    let figures = text.lines().filter_map(|line| line.trim().split_once(':'));
    let figures = figures.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Row { server: 0, keys, sets_per_s, figures })
}
