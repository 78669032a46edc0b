//! Plays traces to the store and to reference policies, and counts misses. `benches/README.md` says how.
//!
//! It drives the store's own eviction through its public API in virtual time, and gives every other policy the capacity
//! that the store was measured to hold. It refuses to judge: goals are shown beside the figures, and missing one is not
//! an error.

mod lists;
mod live;
mod options;
mod policy;
mod random;
mod report;
mod svg;
mod trace;
mod twitter;

use options::Options;
use policy::{Lru, S3Fifo, SampledLru, play};
use report::{Cell, Player};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use storage::Policy;
use trace::{Shape, Trace};

/// Cache sizes of the table, and those of the plots, in percent of the keys.
const TABLE: [f64; 2] = [1.0, 10.0];
const PLOTS: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// How far the store may be from the size wanted, and the random policy from the store, as a share.
const TOLERANCE: f64 = 0.03;
const EQUAL: f64 = 0.005;

fn main() -> ExitCode {
    let result = Options::from_args().and_then(|options| {
        let cells = simulate(&options)?;
        let rows: Vec<Cell> = cells.into_iter().filter(|cell| TABLE.contains(&cell.percent)).collect();
        print!("{}", report::markdown(&options, &rows));
        Ok(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The shapes to draw traces by.
fn shapes(options: &Options) -> Result<Vec<Shape>, String> {
    let mut shapes = Shape::synthetic(options.objects, options.requests);
    shapes.extend(twitter::shapes(options.requests / 3, options.clusters));
    for name in &options.traces {
        if !shapes.iter().any(|shape| shape.name == *name) {
            let known: Vec<&str> = shapes.iter().map(|shape| &*shape.name).collect();
            return Err(format!("there is no trace {name}, but {}", known.join(", ")));
        }
    }
    shapes.retain(|shape| options.traces.is_empty() || options.traces.contains(&shape.name));
    Ok(shapes)
}

/// Plays everything, writing the plots asked for; the cells in order of traces and sizes.
fn simulate(options: &Options) -> Result<Vec<Cell>, String> {
    let shapes = shapes(options)?;
    let sizes: &[f64] = if options.svg.is_some() { &PLOTS } else { &TABLE };
    if let Some(folder) = &options.svg {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let progress = Progress {
        started: Instant::now(),
        planned: shapes.iter().map(|shape| shape.requests).sum::<usize>() * sizes.len(),
        done: AtomicUsize::new(0),
    };
    eprintln!("seed {}, {} traces, {} cache sizes", options.seed, shapes.len(), sizes.len());
    let mut cells = Vec::new();
    for shape in shapes {
        let trace = Trace::new(shape, options.seed);
        let of_trace = play_sizes(&trace, sizes, options, &progress);
        if let Some(folder) = &options.svg {
            let path = folder.join(format!("hits-{}.svg", trace.shape.name));
            std::fs::write(&path, svg::plot(&of_trace)).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        cells.extend(of_trace);
    }
    Ok(cells)
}

/// All sizes of one trace, several at a time if asked for.
fn play_sizes(trace: &Trace, sizes: &[f64], options: &Options, progress: &Progress) -> Vec<Cell> {
    let (next, cells) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.min(sizes.len()) {
            scope.spawn(|| {
                while let Some(percent) = sizes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cell = cell(trace, *percent, options);
                    progress.tell(&cell, trace);
                    cells.lock().expect("no holder panics").push(cell);
                }
            });
        }
    });
    let mut cells = cells.into_inner().expect("no holder panics");
    cells.sort_by(|a, b| a.percent.total_cmp(&b.percent));
    cells
}

/// Every policy at one size of one trace.
fn cell(trace: &Trace, percent: f64, options: &Options) -> Cell {
    let wanted = trace.capacity(percent);
    let ours = live::run(trace, Policy::AllKeysLru, wanted, TOLERANCE, options.stripes);
    // A store that never fills has no size to give the others: they get the one wanted.
    let capacity = if ours.was_full { ours.resident } else { wanted.max(ours.resident) };
    let random = live::run(trace, Policy::AllKeysRandom, capacity, EQUAL, options.stripes);
    let (ids, exact, costs) = (trace.ids(), capacity.round() as u64, trace.costs());
    let misses = Player::ALL.map(|player| {
        let outcome = match player {
            Player::Millpond => ours.outcome,
            Player::Random => random.outcome,
            Player::S3Fifo => play(trace, &mut S3Fifo::new(ids, exact, costs)),
            Player::Lru => play(trace, &mut Lru::new(ids, exact, costs)),
            Player::SampledLru => play(trace, &mut SampledLru::new(ids, exact, costs, options.seed)),
        };
        outcome.miss_ratio()
    });
    let (name, by_bytes) = (trace.shape.name.clone(), trace.is_by_bytes());
    Cell { trace: name, percent, resident: ours.resident, by_bytes, was_full: ours.was_full, misses }
}

/// Lines on stderr; work is measured in requests of the traces.
struct Progress {
    started: Instant,
    planned: usize,
    done: AtomicUsize,
}

impl Progress {
    fn tell(&self, cell: &Cell, trace: &Trace) {
        let done = self.done.fetch_add(trace.len(), Ordering::Relaxed) + trace.len();
        let share = done as f64 / self.planned as f64;
        let left_s = (self.started.elapsed().as_secs_f64() * (1.0 / share - 1.0)).round();
        let misses = Player::ALL.map(|player| format!("{} {:.4}", player.name(), cell.misses_of(player))).join(", ");
        eprintln!(
            "[{:3.0}%, {:.0}:{:02.0} left] {} at {} %: {misses}",
            100.0 * share,
            (left_s / 60.0).floor(),
            left_s % 60.0,
            cell.trace,
            cell.percent
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small enough for an unoptimised build.
    fn tiny(traces: &[&str]) -> Options {
        Options {
            seed: 7,
            objects: 4000,
            requests: 48_000,
            stripes: Some(4),
            traces: traces.iter().map(|name| (*name).to_owned()).collect(),
            clusters: 2,
            jobs: 2,
            svg: None,
            invocation: String::new(),
        }
    }

    #[test]
    fn policies_keep_their_order_on_a_skewed_trace() {
        let options = tiny(&["zipf-1.0"]);
        println!("seed {}", options.seed);
        let cells = simulate(&options).unwrap();
        assert_eq!(cells.iter().map(|cell| cell.percent).collect::<Vec<_>>(), TABLE);
        let large = &cells[1];
        assert!(large.was_full && (large.resident / 400.0 - 1.0).abs() < 0.1, "{large:?}");
        let of = |player| large.misses_of(player);
        assert!(of(Player::Millpond) < of(Player::Lru) && of(Player::Lru) < of(Player::Random), "{large:?}");
        assert!((of(Player::SampledLru) / of(Player::Lru) - 1.0).abs() < 0.05, "{large:?}");
    }

    #[test]
    fn equal_runs_have_equal_figures() {
        let options = tiny(&["mixed-sizes", "twitter-19"]);
        let misses = || simulate(&options).unwrap().into_iter().map(|cell| cell.misses).collect::<Vec<_>>();
        assert_eq!(misses(), misses());
    }

    #[test]
    fn unknown_traces_are_named_with_the_known_ones() {
        let error = simulate(&tiny(&["zipf-9"])).unwrap_err();
        assert!(error.contains("zipf-9") && error.contains("twitter-19"), "{error}");
    }
}
