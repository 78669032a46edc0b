//! The three parts of a run. Keys, hashes and values are made outside the timed steps.

use std::hint::black_box;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use millpond_benches::keys::{KEY_LEN, Keys, Random, Values};
use quanta::Clock;
use storage::{Access, Cx, Db, KeyHash, Layout, Millis, NewValue, Slot, Stage, Store};

use crate::options::Options;
use crate::steps::{Steps, line};

const DB: Db = Db(0);
/// Steps in one batch of the store, as a server core makes them.
const BATCH: u64 = 32;
/// Batches after which one stripe is ticked: about a round of 1024 stripes in a million steps.
const BATCHES_PER_TICK: u64 = 32;
const DAY_MS: u64 = 86_400_000;

struct Run<'a> {
    options: &'a Options,
    store: &'a Store,
    clock: Clock,
    keys: Keys,
    random: Random,
}

/// Runs all parts and returns the report.
pub fn run(options: &Options) -> io::Result<String> {
    let seed = options.seed;
    let store = Store::new(Layout::new(options.stripes, [seed, seed ^ 0x5eed, !seed, seed.rotate_left(32)]));
    let mut run =
        Run { options, store: &store, clock: Clock::new(), keys: Keys::new(seed), random: Random::new(seed ^ 0x9e37) };
    let mut out = String::new();
    line(
        &mut out,
        format_args!(
            "- {} keys of {KEY_LEN} B, values of {} B, {}, {} stripes, seed {seed}",
            options.keys,
            options.value_size,
            if options.ttl { "with TTL" } else { "no TTL" },
            options.stripes
        ),
    );
    line(&mut out, format_args!("- reading the counter takes {:.1} ns, which every step includes", run.counter_ns()));
    let base = resident()?;
    run.floor(&mut out)?;
    run.grow(&mut out)?;
    let payload = (KEY_LEN + options.value_size) as f64;
    let beyond = |bytes: f64| bytes / options.keys as f64 - payload;
    let (resident, used) = (beyond((resident()? - base) as f64), beyond(store.memory().used() as f64));
    line(&mut out, format_args!("\nBytes a key beyond key and value: {resident:.1} resident, {used:.1} used."));
    run.read(&mut out);
    run.churn(&mut out)?;
    run.delete(&mut out)?;
    line(&mut out, format_args!("\nHighest resident memory: {:.2} GB.", peak()? as f64 / 1e9));
    Ok(out)
}

impl Run<'_> {
    /// The mean time of one reading of the counter.
    fn counter_ns(&self) -> f64 {
        const READINGS: u32 = 100_000;
        let began = Instant::now();
        for _ in 0..READINGS {
            black_box(self.clock.raw());
        }
        began.elapsed().as_nanos() as f64 / f64::from(READINGS)
    }

    /// Runs `count` steps in batches; `prepare` makes the key of a step, `act` is timed.
    fn timed(
        &mut self,
        what: &str,
        steps: &mut Steps,
        count: u64,
        prepare: impl Fn(&mut Random, u64) -> u64,
        mut act: impl FnMut(&mut Access<'_>, u64, KeyHash, &[u8; KEY_LEN], &Cx),
        stored: impl Fn(u64) -> u64,
    ) -> io::Result<Steps> {
        let mut ticks = Steps::start(self.options.look_above_ns)?;
        let (mut participant, mut done, mut next_stripe) = (self.store.join(), 0, 0);
        let mut progress = Progress::new(what, count);
        while done < count {
            let cx = Cx { seed: self.random.draw(), ..Cx::at(now().0) };
            let mut access = participant.batch();
            let end = count.min(done + BATCH);
            for step in done..end {
                let index = prepare(&mut self.random, step);
                let key = self.keys.key(index);
                let kh = access.hash(&key);
                let begin = self.clock.raw();
                act(&mut access, index, kh, &key, &cx);
                let ns = self.clock.delta_as_nanos(begin, self.clock.raw());
                steps.record(ns, stored(step))?;
            }
            done = end;
            if (done / BATCH).is_multiple_of(BATCHES_PER_TICK) {
                let begin = self.clock.raw();
                access.tick(next_stripe, 1, &cx);
                let ns = self.clock.delta_as_nanos(begin, self.clock.raw());
                ticks.record(ns, stored(done - 1))?;
                next_stripe = (next_stripe + 1) % self.options.stripes;
                // As often as a server would, at a million steps a second.
                if next_stripe.is_multiple_of(100) {
                    storage::tend_memory();
                }
                progress.at(done);
                steps.pass_over()?;
            }
        }
        Ok(ticks)
    }

    /// What the machine itself adds: steps that do nothing for about as long as an insert takes.
    fn floor(&mut self, out: &mut String) -> io::Result<()> {
        const WAIT_NS: u64 = 500;
        let clock = self.clock.clone();
        let mut steps = Steps::start(self.options.look_above_ns)?;
        let wait = |_: &mut Access<'_>, _, _, _: &[u8; KEY_LEN], _: &Cx| {
            let begin = clock.raw();
            while clock.delta_as_nanos(begin, clock.raw()) < WAIT_NS {}
        };
        self.timed("waiting", &mut steps, self.options.keys, |_, step| step, wait, |_| 0)?;
        steps.report(out, "Noise floor: steps that only wait 500 ns", false);
        Ok(())
    }

    /// Part one: every key is stored once.
    fn grow(&mut self, out: &mut String) -> io::Result<()> {
        let options = self.options;
        let values = Values::fixed(options.seed, options.value_size);
        let mut steps = Steps::start(options.look_above_ns)?;
        let began = Instant::now();
        let ticks = self.timed(
            "growing",
            &mut steps,
            options.keys,
            |_, step| step,
            |access, index, kh, key, cx| {
                let deadline = deadline(options, index, cx);
                access.one(DB, kh, key, cx, |slot| slot.put(NewValue::Bytes(values.of(index)), deadline));
            },
            |step| step + 1,
        )?;
        let stored = self.store.join().batch().db_size(DB) as u64;
        assert_eq!(stored, options.keys, "every key was stored");
        steps.report(out, "Growing: one insert", true);
        line(out, format_args!("\nIn all {:.1} s, the making of keys included.", began.elapsed().as_secs_f64()));
        ticks.report(out, "Ticks of one stripe meanwhile", false);
        Ok(())
    }

    /// Part two: uniform random reads, one by one and in batches without and with prefetch. Median of the rounds.
    fn read(&mut self, out: &mut String) {
        let rounds = self.options.rounds;
        let shapes = [(1, false), (16, false), (16, true), (64, false), (64, true)];
        let mut results = vec![Vec::new(); shapes.len()];
        for _ in 0..rounds {
            for ((size, prefetch), result) in shapes.into_iter().zip(&mut results) {
                result.push(self.read_round(size, prefetch));
            }
        }
        let median = |mut of: Vec<f64>| {
            of.sort_by(f64::total_cmp);
            of[of.len() / 2]
        };
        let results: Vec<f64> = results.into_iter().map(median).collect();
        line(
            out,
            format_args!("\n### Reading: ns per key, median of {rounds} rounds of {} keys\n", self.options.reads),
        );
        line(out, "| keys in a batch | no prefetch | prefetch | ratio |");
        line(out, "|---|---|---|---|");
        line(out, format_args!("| 1 | {:.1} | - | - |", results[0]));
        for (at, size) in [(1, 16), (3, 64)] {
            let (plain, ahead) = (results[at], results[at + 1]);
            line(out, format_args!("| {size} | {plain:.1} | {ahead:.1} | {:.2} |", ahead / plain));
        }
    }

    /// ns per key, the beginning of the batch and a copy of the value included.
    fn read_round(&mut self, size: usize, prefetch: bool) -> f64 {
        let mut participant = self.store.join();
        let mut keys = vec![[0; KEY_LEN]; size];
        let mut hashes = Vec::with_capacity(size);
        let mut reply = Vec::with_capacity(size * self.options.value_size);
        let (mut ns, mut read) = (0, 0);
        while read < self.options.reads {
            hashes.clear();
            for key in &mut keys {
                self.keys.write(self.random.below(self.options.keys), key);
                hashes.push(self.store.hasher().hash(key));
            }
            let cx = Cx::at(now().0);
            reply.clear();
            let begin = self.clock.raw();
            let mut access = participant.batch();
            if prefetch {
                for stage in [Stage::Bucket, Stage::Entry] {
                    hashes.iter().for_each(|kh| access.prefetch(DB, *kh, stage));
                }
            }
            for (key, kh) in keys.iter().zip(&hashes) {
                access.one(DB, *kh, key, &cx, |slot| match slot {
                    Slot::Live(live) => match live.value() {
                        storage::Value::Raw(bytes) => reply.extend_from_slice(bytes),
                        other => panic!("stored as {} B of another kind", other.len()),
                    },
                    Slot::Vacant(_) => panic!("a key is missing"),
                });
            }
            drop(access);
            ns += self.clock.delta_as_nanos(begin, self.clock.raw());
            black_box(&reply);
            read += size as u64;
        }
        ns as f64 / read as f64
    }

    /// Part three: random keys are written anew with other sizes, of the same mean.
    fn churn(&mut self, out: &mut String) -> io::Result<()> {
        let options = self.options;
        let values = Values::between(options.seed, 8, options.value_size * 2 - 8);
        let mut steps = Steps::start(options.look_above_ns)?;
        let mut sizes = Random::new(options.seed ^ 0xc4);
        let ticks = self.timed(
            "rewriting",
            &mut steps,
            options.churn,
            |random, _| random.below(options.keys),
            |access, index, kh, key, cx| {
                let value = values.of(sizes.draw() >> 8);
                access.one(DB, kh, key, cx, |slot| slot.put(NewValue::Bytes(value), deadline(options, index, cx)));
            },
            |_| options.keys,
        )?;
        steps.report(out, "Churn: one write to a random key with another size", false);
        ticks.report(out, "Ticks meanwhile", false);
        Ok(())
    }

    /// Then all keys are deleted, in another order than they came.
    fn delete(&mut self, out: &mut String) -> io::Result<()> {
        let options = self.options;
        let mut steps = Steps::start(options.look_above_ns)?;
        let stride = stride(options.keys);
        let began = Instant::now();
        let mut deleted = 0;
        self.timed(
            "deleting",
            &mut steps,
            options.keys,
            |_, step| (u128::from(step) * u128::from(stride) % u128::from(options.keys)) as u64,
            |access, _, kh, key, cx| {
                access.one(DB, kh, key, cx, |slot| {
                    if let Slot::Live(live) = slot {
                        live.remove();
                        deleted += 1;
                    }
                });
            },
            |step| options.keys - step - 1,
        )?;
        assert_eq!(deleted, options.keys, "every key was there to be deleted");
        steps.report(out, "Deleting all: one delete", false);
        let used = self.store.memory().used();
        line(
            out,
            format_args!(
                "\nIn all {:.1} s. Left: {used} B used, {:.3} GB resident.",
                began.elapsed().as_secs_f64(),
                resident()? as f64 / 1e9
            ),
        );
        Ok(())
    }
}

fn deadline(options: &Options, index: u64, cx: &Cx) -> Option<Millis> {
    options.ttl.then(|| Millis(cx.now.0 + DAY_MS + index.wrapping_mul(7919) % DAY_MS))
}

/// About 0.618 of `count`, without a common divisor: steps of this size visit everything once, neighbours far apart.
fn stride(count: u64) -> u64 {
    fn divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let first = (count as f64 * 0.618_033_988_75) as u64;
    (first.max(1)..).find(|stride| divisor(*stride, count) == 1).expect("a prime comes")
}

fn now() -> Millis {
    Millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
}

/// Resident bytes of this process, now and at most.
fn resident() -> io::Result<u64> {
    status("VmRSS:")
}

fn peak() -> io::Result<u64> {
    status("VmHWM:")
}

fn status(name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/status")))
}

/// One line on stderr a tenth.
struct Progress<'a> {
    what: &'a str,
    count: u64,
    next: u64,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str, count: u64) -> Self {
        Self { what, count, next: count / 10 }
    }

    fn at(&mut self, done: u64) {
        if done >= self.next {
            eprintln!("{}: {} of {}", self.what, done, self.count);
            self.next += (self.count / 10).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn strides_visit_everything_once() {
        for count in [1, 2, 6, 100, 997, 1000] {
            let stride = super::stride(count);
            let mut seen: Vec<u64> = (0..count).map(|step| step * stride % count).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..count), "{count}");
        }
    }
}
