//! Traces in the likeness of Twitter's caches, drawn from the statistics published for each cluster.
//!
//! The statistics are of one week. A trace is a sample of its keys with all their requests, so lifetimes keep their
//! proportion to the gaps between requests. What they do not tell is assumed: sizes are log-normal about the mean, and
//! each key changes its rank once a week.

use crate::trace::{Base, Shape, Values};

const WEEK_S: u64 = 7 * 24 * 3600;
const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;

/// Deviation of the logarithm of value sizes: two thirds lie within a factor of 2.2 of the median.
const SIGMA: f64 = 0.8;

/// Published figures of a cluster.
struct Cluster {
    number: u32,
    /// Share of reads that missed in production.
    miss_ratio: f64,
    /// Mean bytes of keys and values.
    key_bytes: u32,
    value_bytes: u32,
    /// Requests per key.
    mean_freq: f64,
    /// Percentage of keys asked for once.
    one_hit_percent: f64,
    /// Common lifetimes in seconds, with their shares.
    ttls: &'static [(u64, f64)],
    /// Share of requests that read.
    gets: f64,
    alpha: f64,
}

impl Cluster {
    #[allow(clippy::too_many_arguments)] // one row of the table
    const fn new(
        number: u32,
        miss_ratio: f64,
        key_bytes: u32,
        value_bytes: u32,
        mean_freq: f64,
        one_hit_percent: f64,
        ttls: &'static [(u64, f64)],
        gets: f64,
        alpha: f64,
    ) -> Self {
        Self { number, miss_ratio, key_bytes, value_bytes, mean_freq, one_hit_percent, ttls, gets, alpha }
    }
}

/// From the table `stat/2020Mar.md` of github.com/twitter/cache-trace (Yang et al., "A large scale analysis of hundreds
/// of in-memory cache clusters at Twitter", OSDI 2020). Chosen for lifetimes that let a cache fill and for requests per
/// key that leave enough keys; lifetimes of nearly equal length are put together.
const CLUSTERS: [Cluster; 10] = [
    Cluster::new(19, 0.4549, 42, 101, 4.7, 7.46, &[(7 * HOUR_S, 1.0)], 0.75, 0.735),
    Cluster::new(20, 0.0079, 26, 55, 29.7, 61.54, &[(5 * DAY_S, 1.0)], 0.96, 1.3699),
    Cluster::new(22, 0.875, 54, 4, 4.3, 41.48, &[(DAY_S, 0.85), (HOUR_S, 0.11), (1800, 0.03)], 0.72, 0.7624),
    Cluster::new(34, 0.0819, 33, 322, 49.4, 0.26, &[(38_000, 1.0)], 0.94, 1.1401),
    Cluster::new(36, 0.0375, 23, 78, 46.8, 2.4, &[(30 * DAY_S, 1.0)], 0.94, 1.2169),
    Cluster::new(40, 0.1843, 44, 155, 11.8, 0.1, &[(8 * HOUR_S, 0.95), (DAY_S, 0.05)], 0.5, 0.8551),
    Cluster::new(45, 0.3685, 10, 120, 2.9, 48.74, &[(15 * DAY_S, 1.0)], 0.85, 0.6372),
    Cluster::new(48, 0.2253, 44, 70, 3.5, 44.28, &[(DAY_S, 1.0)], 0.65, 0.8191),
    Cluster::new(
        52,
        0.0189,
        20,
        273,
        32.6,
        19.36,
        &[(DAY_S, 0.65), (14 * DAY_S, 0.27), (DAY_S / 2, 0.07)],
        0.93,
        1.2117,
    ),
    Cluster::new(53, 0.0788, 36, 9213, 27.6, 13.19, &[(30 * DAY_S, 0.66), (21 * DAY_S, 0.34)], 0.89, 1.2061),
];

/// Shapes of the first `most` clusters, with this many requests each.
pub fn shapes(requests: usize, most: usize) -> impl Iterator<Item = Shape> {
    CLUSTERS.iter().take(most).map(move |cluster| cluster.shape(requests))
}

impl Cluster {
    fn shape(&self, requests: usize) -> Shape {
        let distinct = requests as f64 / self.mean_freq;
        let (keys, one_hit) = fit(requests as f64, distinct, self.one_hit_percent / 100.0, self.alpha);
        let mean = f64::from(self.value_bytes);
        Shape {
            name: format!("twitter-{}", self.number),
            requests,
            keys,
            alpha: self.alpha,
            one_hit,
            drift: 1.0,
            // Of the writes those that fill a miss are the client's, and made in play.
            writes: (1.0 - self.gets * (1.0 + self.miss_ratio)).max(0.0),
            key_bytes: self.key_bytes,
            values: Values::LogNormal {
                median: mean * (-SIGMA * SIGMA / 2.0).exp(),
                sigma: SIGMA,
                least: 1,
                most: 1 << 20,
                large: (0.0, 0),
            },
            ttls: self.ttls,
            span_s: WEEK_S,
            base: Base::Distinct,
        }
    }
}

/// Recurring keys, and the share of requests for one-hit keys, that give `distinct` keys of which a share of `one_hit`
/// is asked for once. A Zipf law leaves some of its own keys with one request, and now and then more than wanted: then
/// the number of keys is right and one-hit keys are too many.
fn fit(requests: f64, distinct: f64, one_hit: f64, alpha: f64) -> (u32, f64) {
    let most = bisect(16.0 * distinct, |keys| expected(keys, requests, alpha).0 < distinct);
    let once = expected(most, requests, alpha).1;
    if once >= one_hit * distinct {
        return (most.round() as u32, 0.0);
    }
    // The more keys are drawn apart, the fewer requests and keys are left to the law.
    let mut apart = 0.0;
    let mut keys = most;
    for _ in 0..20 {
        let draws = requests - apart;
        keys = bisect(most, |keys| {
            let (seen, once) = expected(keys, draws, alpha);
            seen - once < (1.0 - one_hit) * distinct
        });
        apart = (distinct - expected(keys, draws, alpha).0).clamp(0.0, one_hit * distinct);
    }
    (keys.round() as u32, apart / requests)
}

/// The number of keys in 1..`most` where `are_few` turns false.
fn bisect(most: f64, are_few: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (1.0, most);
    for _ in 0..40 {
        let keys = (low * high).sqrt();
        *(if are_few(keys) { &mut low } else { &mut high }) = keys;
    }
    high
}

/// How many of `keys` are drawn at all, and how many once, in `draws` by a Zipf law.
fn expected(keys: f64, draws: f64, alpha: f64) -> (f64, f64) {
    // Ranks in blocks of a 64th of their number are as good as alike.
    let mut blocks = Vec::new();
    let (mut rank, mut weight) = (1.0f64, 0.0);
    while rank <= keys {
        let width = (rank / 64.0).floor().max(1.0).min(keys - rank + 1.0);
        let each = (rank + (width - 1.0) / 2.0).powf(-alpha);
        weight += width * each;
        blocks.push((width, each));
        rank += width;
    }
    blocks.into_iter().fold((0.0, 0.0), |(seen, once), (width, each)| {
        let mean = draws * each / weight;
        (seen + width * -(-mean).exp_m1(), once + width * mean * (-mean).exp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    #[test]
    fn traces_have_the_published_figures() {
        const REQUESTS: usize = 200_000;
        for cluster in &CLUSTERS {
            // Drift spreads requests over more keys than the fit knows of.
            let trace = Trace::new(Shape { drift: 0.0, ..cluster.shape(REQUESTS) }, 1);
            let mut counts = vec![0u32; trace.ids() as usize];
            let mut writes = 0;
            for at in 0..trace.len() {
                let (id, write) = trace.request(at);
                counts[id as usize] += 1;
                writes += usize::from(write);
            }
            let seen = counts.iter().filter(|count| **count > 0).count() as f64;
            let once = counts.iter().filter(|count| **count == 1).count() as f64;
            let (freq, percent) = (REQUESTS as f64 / seen, 100.0 * once / seen);
            println!(
                "cluster {}: {freq:.1} requests a key, {percent:.1} % once, {} recurring",
                cluster.number, trace.shape.keys
            );
            assert!((freq / cluster.mean_freq - 1.0).abs() < 0.1, "cluster {}", cluster.number);
            assert!(percent > 0.9 * cluster.one_hit_percent - 0.1, "cluster {}", cluster.number);
            assert!((writes as f64 / REQUESTS as f64 - trace.shape.writes).abs() < 0.01);
        }
    }
}
