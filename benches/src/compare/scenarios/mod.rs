//! The measurements. Each gives the time it plans to take, runs, and returns rows for the report.

pub mod big_keyspace;
pub mod churn;
pub mod idle;
pub mod memory;
pub mod overshoot;
pub mod pauses;
pub mod revoke;
pub mod scan;
pub mod stale;
pub mod stall;
pub mod stampede;
pub mod tag_revokes;
pub mod throughput;

use std::time::Duration;

use crate::error::Result;
use crate::keys::{Keys, Values};
use crate::load::fill;
use crate::options::Options;
use crate::progress::Progress;
use crate::server::{Recipe, Server};

/// What every scenario needs.
pub struct Context<'a> {
    pub options: &'a Options,
    pub keys: Keys,
    pub values: Values,
    pub progress: Progress,
}

impl Context<'_> {
    /// Starts a server and stores the first `count` keys in it, each once and all of them.
    pub fn start_filled(&mut self, recipe: &Recipe, count: u64) -> Result<Server> {
        self.progress.step(fill_time(count), format_args!("{}: start and store {count} keys", recipe.name));
        let mut server = Server::start(recipe, self.options.place())?;
        self.refill(&mut server, count).map_err(|error| server.blame(error, "filling"))?;
        Ok(server)
    }

    /// Stores the first `count` keys and waits until the server is at rest.
    pub fn refill(&self, server: &mut Server, count: u64) -> Result<()> {
        fill(server.address, server.protocol(), &self.keys, &self.values, 0..count, None)?;
        server.wait_quiet()?;
        let stored = server.control().keys_stored()?;
        if stored != count {
            crate::error::fail!("stored {count} keys, the server counts {stored}");
        }
        Ok(())
    }
}

/// Expected time to store `count` keys.
pub fn fill_time(count: u64) -> Duration {
    Duration::from_secs_f64(0.4 + count as f64 * 1.2e-6)
}

/// The middle value, the mean of the two middle ones for an even count; NaN for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(super::median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(super::median([]).is_nan());
    }
}
