//! Times of single steps, with those apart in which the system had a hand.

use std::fmt::Write;
use std::io;

use millpond_benches::hist::Histogram;

use crate::disturbance::{Counts, Watch};

/// No resize step may be longer.
pub const GOAL_NS: u64 = 20_000;
/// The longest steps are listed with the size at which they happened.
const WORST: usize = 8;

/// Times of one kind of step.
#[derive(Debug)]
pub struct Steps {
    watch: Watch,
    last: Counts,
    /// Samples above this are looked into.
    look_above_ns: u64,
    calm: Histogram,
    /// Samples with a page fault.
    faulted: Histogram,
    dropped: u64,
    /// `(ns, whether with a page fault, what the caller counts)`, the longest first.
    worst: Vec<(u64, bool, u64)>,
}

impl Steps {
    pub fn start(look_above_ns: u64) -> io::Result<Self> {
        let mut watch = Watch::open()?;
        let last = watch.read()?;
        Ok(Self {
            watch,
            last,
            look_above_ns,
            calm: Histogram::new(),
            faulted: Histogram::new(),
            dropped: 0,
            worst: Vec::new(),
        })
    }

    /// Books a step that took `ns`; `at` says when, for the list of the longest.
    #[inline]
    pub fn record(&mut self, ns: u64, at: u64) -> io::Result<()> {
        if ns <= self.look_above_ns {
            self.calm.record(ns);
            return Ok(());
        }
        self.look_into(ns, at)
    }

    /// A switch or fault since the last look is taken to lie in this sample: any earlier one was too short to hold it.
    #[cold]
    fn look_into(&mut self, ns: u64, at: u64) -> io::Result<()> {
        let now = self.watch.read()?;
        let before = std::mem::replace(&mut self.last, now);
        if now.switches != before.switches {
            self.dropped += 1;
            return Ok(());
        }
        let faulted = now.faults != before.faults;
        if faulted {
            self.faulted.record(ns)
        } else {
            self.calm.record(ns)
        }
        if self.worst.len() < WORST || self.worst.last().is_some_and(|least| least.0 < ns) {
            let place = self.worst.partition_point(|other| other.0 >= ns);
            self.worst.insert(place, (ns, faulted, at));
            self.worst.truncate(WORST);
        }
        Ok(())
    }

    /// What lies between the last step and the next belongs to no sample.
    pub fn pass_over(&mut self) -> io::Result<()> {
        self.last = self.watch.read()?;
        Ok(())
    }

    /// Figures, and the histogram if `whole`.
    pub fn report(&self, out: &mut String, title: &str, whole: bool) {
        let mut all = self.calm.clone();
        all.add(&self.faulted);
        line(out, format_args!("\n### {title}\n"));
        line(out, "| samples | count | p50 ns | p99 ns | p99.9 us | p99.99 us | max us | above 20 us |");
        line(out, "|---|---|---|---|---|---|---|---|");
        for (name, part) in [("all", &all), ("without a page fault", &self.calm), ("with one", &self.faulted)] {
            line(
                out,
                format_args!(
                    "| {name} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {} |",
                    part.total(),
                    part.quantile_ns(0.5),
                    part.quantile_ns(0.99),
                    part.quantile_ns(0.999) as f64 / 1e3,
                    part.quantile_ns(0.9999) as f64 / 1e3,
                    part.max_ns() as f64 / 1e3,
                    above(part, GOAL_NS),
                ),
            );
        }
        line(out, format_args!("\nDropped for an involuntary context switch: {}.", self.dropped));
        let told = |(ns, faulted, at): &(u64, bool, u64)| {
            format!("{:.1} us at {at}{}", *ns as f64 / 1e3, if *faulted { " (page fault)" } else { "" })
        };
        let worst: Vec<String> = self.worst.iter().map(told).collect();
        line(out, format_args!("Longest, with the keys then stored: {}.", worst.join(", ")));
        if whole {
            self.histogram(out);
        }
    }

    /// Two rows a doubling.
    fn histogram(&self, out: &mut String) {
        line(out, "\n| up to us | without a page fault | with one |");
        line(out, "|---|---|---|");
        let mut rows = std::collections::BTreeMap::<u32, (u64, u64)>::new();
        for (ns, count) in self.calm.steps() {
            rows.entry(half_doubling(ns)).or_default().0 += count;
        }
        for (ns, count) in self.faulted.steps() {
            rows.entry(half_doubling(ns)).or_default().1 += count;
        }
        for (row, (calm, faulted)) in rows {
            let upper_us = 2f64.powf(f64::from(row) / 2.0) / 1e3;
            line(out, format_args!("| {upper_us:.3} | {calm} | {faulted} |"));
        }
    }
}

/// The least power of the square root of two, by its exponent, that is not below `ns`.
fn half_doubling(ns: u64) -> u32 {
    ((ns.max(1) as f64).log2() * 2.0 - 1e-9).ceil().max(0.0) as u32
}

fn above(histogram: &Histogram, ns: u64) -> u64 {
    histogram.steps().filter(|(upper, _)| *upper > ns).map(|(_, count)| count).sum()
}

pub fn line(out: &mut String, text: impl std::fmt::Display) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_what_they_say() {
        for (ns, row) in [(1, 0), (2, 2), (3, 4), (4, 4), (5, 5), (1024, 20)] {
            assert_eq!(half_doubling(ns), row, "{ns}");
        }
    }

    #[test]
    fn the_longest_are_listed_in_order() {
        let mut steps = Steps::start(0).unwrap();
        for ns in [5, 90, 20, 70, 30, 60, 40, 50, 10, 80] {
            steps.record(ns, ns).unwrap();
        }
        let kept = steps.worst.iter().map(|(ns, ..)| *ns).collect::<Vec<_>>();
        assert!(kept.is_sorted_by(|a, b| a >= b) && kept.len() + steps.dropped as usize >= WORST);
        assert_eq!(steps.calm.total() + steps.faulted.total() + steps.dropped, 10);
    }
}
