//! How the store scales with threads: reads and writes in batches, as server cores make them, without sockets or clients.
//!
//! Every thread does the same number of steps at the same time as the others; rounds of different thread counts alternate.
//! It refuses to judge: a machine whose cores share hardware shows in the figures, and the report says how many there are.

mod options;

use std::fmt::Write;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use millpond_benches::keys::{KEY_LEN, Keys, Random, Values};
use options::Options;
use rustix::time::{ClockId, clock_gettime};
use storage::{Contention, Cx, Db, KeyHash, Layout, NewValue, Slot, Store};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DB: Db = Db(0);
/// Steps of one batch: what a wake-up of a busy core runs.
const BATCH: usize = 256;

fn main() -> ExitCode {
    match Options::from_args().and_then(|options| run(&options)) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("scaling: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One round of one thread count.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Steps of all threads together per second, from the common start to the last one's end.
    per_second: f64,
    cpu_ns_per_step: f64,
    contention: Contention,
}

fn run(options: &Options) -> Result<String, String> {
    let seed = options.seed;
    let store = Store::new(Layout::new(options.stripes, [seed, seed ^ 0x5eed, !seed, seed.rotate_left(32)]));
    fill(&store, options);
    let mut rounds = vec![Vec::new(); options.threads.len()];
    for round in 0..options.rounds {
        for (threads, results) in options.threads.iter().zip(&mut rounds) {
            eprintln!("round {} of {}: {threads} threads", round + 1, options.rounds);
            results.push(play(&store, options, *threads, round as u64)?);
        }
    }
    Ok(report(options, &rounds))
}

fn fill(store: &Store, options: &Options) {
    let (keys, values) = (Keys::new(options.seed), Values::fixed(options.seed, options.value_size));
    let mut participant = store.join();
    let mut access = participant.batch();
    for index in 0..options.keys {
        let key = keys.key(index);
        let kh = access.hash(&key);
        access.one(DB, kh, &key, &Cx::at(1), |slot| slot.put(NewValue::Bytes(values.of(index)), None));
    }
}

fn play(store: &Store, options: &Options, threads: usize, round: u64) -> Result<Round, String> {
    let barrier = Barrier::new(threads);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    stay_on(thread)?;
                    let random = Random::new(options.seed ^ round << 32 ^ (thread as u64) << 48);
                    barrier.wait();
                    let began = Instant::now();
                    let (cpu, contention) = work(store, options, random);
                    Ok::<_, String>((began.elapsed(), cpu, contention))
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    let (mut longest, mut cpu, mut contention) = (Duration::ZERO, Duration::ZERO, Contention::default());
    for outcome in outcomes {
        let (took, its_cpu, its) = outcome?;
        (longest, cpu) = (longest.max(took), cpu + its_cpu);
        contention.waits += its.waits;
        contention.hints_skipped += its.hints_skipped;
    }
    let steps = (threads as u64 * options.steps) as f64;
    Ok(Round { per_second: steps / longest.as_secs_f64(), cpu_ns_per_step: cpu.as_nanos() as f64 / steps, contention })
}

/// One thread's steps; the CPU time they took.
fn work(store: &Store, options: &Options, mut random: Random) -> (Duration, Contention) {
    let (keys, values) = (Keys::new(options.seed), Values::fixed(options.seed, options.value_size));
    let mut participant = store.join();
    let mut batch: Vec<([u8; KEY_LEN], KeyHash, u64)> = Vec::with_capacity(BATCH);
    let mut reply = Vec::with_capacity(BATCH * options.value_size);
    let began = thread_cpu();
    let mut done = 0;
    while done < options.steps {
        batch.clear();
        for _ in 0..BATCH.min((options.steps - done) as usize) {
            let index = random.below(options.keys);
            let key = keys.key(index);
            batch.push((key, store.hasher().hash(&key), index));
        }
        reply.clear();
        let cx = Cx::at(1);
        let mut access = participant.batch();
        for (at, (key, kh, index)) in batch.iter().enumerate() {
            access.prefetch_ahead(at, |at| Some((DB, batch.get(at)?.1)));
            let writes = (at as u64) % 100 < options.write_percent;
            access.one(DB, *kh, key, &cx, |slot| match slot {
                slot if writes => slot.put(NewValue::Bytes(values.of(*index)), None),
                Slot::Live(live) => match live.value() {
                    storage::Value::Raw(bytes) => reply.extend_from_slice(bytes),
                    other => panic!("stored as {} B of another kind", other.len()),
                },
                Slot::Vacant(_) => panic!("a key is missing"),
            });
        }
        drop(access);
        black_box(&reply);
        done += batch.len() as u64;
    }
    (thread_cpu() - began, participant.contention())
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn stay_on(core: usize) -> Result<(), String> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).map_err(|error| format!("cannot run on core {core}: {error}"))
}

fn report(options: &Options, rounds: &[Vec<Round>]) -> String {
    let mut out = format!(
        "- {} keys of {KEY_LEN} B, values of {} B, {} stripes, {} % writes, batches of {BATCH}, seed {}\n\
         - {} rounds of {} steps a thread; thread n on core n of {}\n\n\
         | threads | M steps/s | over one thread (min..max) | CPU ns/step | waits per M steps | hints skipped per M steps |\n\
         |---|---|---|---|---|---|\n",
        options.keys,
        options.value_size,
        options.stripes,
        options.write_percent,
        options.seed,
        options.rounds,
        options.steps,
        std::thread::available_parallelism().map_or(0, usize::from),
    );
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for (threads, results) in options.threads.iter().zip(rounds) {
        let mut rates: Vec<f64> = results.iter().map(|round| round.per_second / 1e6).collect();
        // Within a round, so that what the machine does besides meets both.
        let mut ratios: Vec<f64> =
            results.iter().zip(&rounds[0]).map(|(many, one)| many.per_second / one.per_second).collect();
        let mut cpu: Vec<f64> = results.iter().map(|round| round.cpu_ns_per_step).collect();
        let per_million = |count: fn(&Contention) -> u64| {
            let all: u64 = results.iter().map(|round| count(&round.contention)).sum();
            all as f64 * 1e6 / (results.len() as u64 * *threads as u64 * options.steps) as f64
        };
        let (waits, skipped) = (per_million(|c| c.waits), per_million(|c| c.hints_skipped));
        let ratio = median(&mut ratios);
        let _ = writeln!(
            out,
            "| {threads} | {:.2} | {ratio:.2} ({:.2}..{:.2}) | {:.0} | {waits:.0} | {skipped:.0} |",
            median(&mut rates),
            ratios[0],
            ratios[ratios.len() - 1],
            median(&mut cpu),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_counts_every_step() {
        let options = Options { keys: 500, steps: 3000, rounds: 2, threads: vec![1], ..Options::default() };
        println!("seed {}", options.seed);
        let report = run(&options).unwrap();
        assert!(report.lines().last().unwrap().starts_with("| 1 | "), "{report}");
    }
}
