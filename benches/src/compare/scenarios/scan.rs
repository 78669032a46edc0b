//! SCAN while another client writes: a key present throughout must appear, and should appear once.
//!
//! The stable keys are never deleted, only overwritten. Beside them the writer adds keys in the first half of the passes (the table
//! grows) and deletes them in the second (it shrinks).

use std::time::{Duration, Instant};

use super::stall::{read_scan, start_scan};
use super::{Context, fill_time};
use crate::error::{Result, fail};
use crate::keys::Random;
use crate::options::Options;
use crate::pipe::Pipe;
use crate::resp::{self, Reply};
use crate::server::Server;
use crate::wire::Protocol;

const PASSES: usize = 6;
/// A server answers about one batch per SCAN call, so this many writes per call: half the keys again within a pass.
const WRITES_PER_BATCH: u64 = 512;

/// One full SCAN.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: usize,
    pub pass: usize,
    pub growing: bool,
    pub calls: u64,
    /// Stable keys seen more than once, and never.
    pub repeated: u64,
    pub missing: u64,
    /// Requests of the writer meanwhile.
    pub writes: u64,
    pub took_ms: f64,
}

pub fn planned(options: &Options) -> Duration {
    fill_time(options.keys) * (1 + 2 * PASSES as u32) * options.recipes.len() as u32
}

/// Measures every server that has SCAN.
pub fn run(context: &mut Context) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, recipe) in context.options.recipes.iter().enumerate() {
        if recipe.protocol() != Protocol::Resp {
            continue;
        }
        let mut server = context.start_filled(recipe, context.options.keys)?;
        let mut writer = Writer::new(context, &server)?;
        for pass in 0..PASSES {
            writer.growing = pass < PASSES / 2;
            context.progress.step(
                fill_time(context.options.keys),
                format_args!("{}: SCAN pass {}/{PASSES}", server.name(), pass + 1),
            );
            let row =
                one_pass(context, &server, &mut writer).map_err(|error| server.blame(error, "SCAN under writes"))?;
            rows.push(Row { server: index, pass, growing: writer.growing, ..row });
        }
    }
    Ok(rows)
}

fn one_pass(context: &Context, server: &Server, writer: &mut Writer) -> Result<Row> {
    let stable = context.options.keys;
    let mut seen = vec![0u8; stable as usize];
    let mut pipe = Pipe::open(server.address, server.protocol())?.keeping();
    let started = Instant::now();
    let writes_before = writer.writes;
    let mut calls = 1;
    start_scan(&mut pipe, "0");
    loop {
        writer.turn(context)?;
        if !pipe.turn()? {
            continue;
        }
        let (cursor, keys) = read_scan(&pipe.take_kept())?;
        for key in keys {
            let Reply::Bulk(Some(key)) = key else { fail!("SCAN returned something that is not a key: {key:?}") };
            let Some(index) = context.keys.index(&key) else {
                fail!("SCAN returned a key nobody stored: {:?}", resp::head(&key))
            };
            if index < stable {
                seen[index as usize] = seen[index as usize].saturating_add(1);
            } else if index >= writer.next {
                fail!("SCAN returned a key nobody stored: {:?}", resp::head(&key));
            }
        }
        if cursor == "0" {
            break;
        }
        calls += 1;
        start_scan(&mut pipe, &cursor);
    }
    Ok(Row {
        server: 0,
        pass: 0,
        growing: writer.growing,
        calls,
        repeated: seen.iter().filter(|&&times| times > 1).count() as u64,
        missing: seen.iter().filter(|&&times| times == 0).count() as u64,
        writes: writer.writes - writes_before,
        took_ms: started.elapsed().as_secs_f64() * 1e3,
    })
}

/// Writes as fast as the server lets it, one batch at a time.
struct Writer {
    pipe: Pipe,
    random: Random,
    growing: bool,
    /// Extra keys `oldest..next` exist.
    oldest: u64,
    next: u64,
    writes: u64,
    batch: Vec<u8>,
}

impl Writer {
    fn new(context: &Context, server: &Server) -> Result<Self> {
        Ok(Self {
            pipe: Pipe::open(server.address, server.protocol())?,
            random: Random::new(context.options.seed ^ 0x5ca1),
            growing: true,
            oldest: context.options.keys,
            next: context.options.keys,
            writes: 0,
            batch: Vec::new(),
        })
    }

    fn turn(&mut self, context: &Context) -> Result<()> {
        if !self.pipe.turn()? {
            return Ok(());
        }
        self.batch.clear();
        // Of eight writes, five add (or delete) an extra key, one does the opposite, two overwrite a stable key.
        for write in 0..WRITES_PER_BATCH {
            let with_the_tide = match write % 8 {
                0..5 => true,
                5 => false,
                _ => {
                    let index = self.random.below(context.options.keys);
                    self.set(context, index);
                    continue;
                }
            };
            if with_the_tide == self.growing {
                self.set(context, self.next);
                self.next += 1;
            } else if self.oldest < self.next {
                resp::command(&mut self.batch, &[b"DEL", &context.keys.key(self.oldest)]);
                self.oldest += 1;
            } else {
                let index = self.random.below(context.options.keys);
                self.set(context, index);
            }
        }
        self.writes += WRITES_PER_BATCH;
        self.pipe.start(&self.batch, WRITES_PER_BATCH);
        Ok(())
    }

    fn set(&mut self, context: &Context, index: u64) {
        Protocol::Resp.set(&mut self.batch, &context.keys.key(index), context.values.of(index), None);
    }
}
