//! Reads over many more keys than any cache holds: what is left of the wait for memory when a server asks for it ahead.

use std::time::Duration;

use super::Context;
use super::throughput::{self, Cell, Workload};
use crate::error::Result;
use crate::load::Pace;
use crate::options::Options;
use crate::wire::Op;

const DEPTHS: [usize; 2] = [16, 64];

pub fn planned(options: &Options) -> Duration {
    throughput::planned_for(options, options.big_keys, DEPTHS.len() * options.rounds)
}

pub fn run(context: &mut Context) -> Result<Vec<Cell>> {
    let workloads = DEPTHS.map(|depth| Workload { op: Op::Get, depth, pace: Pace::Saturated });
    let keys = context.options.big_keys;
    let mut servers = throughput::start_all(context, keys)?;
    let mut cells = Vec::new();
    throughput::rounds(context, &mut servers, keys, &workloads, &mut cells)?;
    Ok(cells)
}
