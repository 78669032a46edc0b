//! What is printed: a table in Markdown, with the goals judged row by row. Figures are shown; a goal missed is no error.

use crate::options::Options;
use std::fmt::Write as _;

/// A policy of the table and the plots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    Millpond,
    S3Fifo,
    Lru,
    SampledLru,
    Random,
}

impl Player {
    pub const ALL: [Self; 5] = [Self::Millpond, Self::S3Fifo, Self::Lru, Self::SampledLru, Self::Random];

    pub fn name(self) -> &'static str {
        match self {
            Self::Millpond => "Millpond",
            Self::S3Fifo => "S3-FIFO reference",
            Self::Lru => "LRU",
            Self::SampledLru => "sampled LRU",
            Self::Random => "random",
        }
    }
}

/// Misses at one cache size of one trace.
#[derive(Debug, Clone)]
pub struct Cell {
    pub trace: String,
    /// Cache size wanted, in percent of the keys.
    pub percent: f64,
    /// What the store held on average, which is the capacity of the reference policies: objects, or bytes of payload.
    pub resident: f64,
    pub by_bytes: bool,
    /// Whether the store evicted anything; if not, all policies are alike.
    pub was_full: bool,
    /// Share of reads that missed, in the order of [`Player::ALL`].
    pub misses: [f64; Player::ALL.len()],
}

/// Fewest misses to save against LRU, and most to add to the reference, in percent.
const FEWER_THAN_LRU: f64 = 5.0;
const MORE_THAN_REFERENCE: f64 = 2.0;

impl Cell {
    pub fn misses_of(&self, player: Player) -> f64 {
        self.misses[player as usize]
    }

    /// Misses saved against LRU, and added to the reference, in percent.
    fn verdict(&self) -> (f64, f64) {
        let against =
            |other: Player| 100.0 * (self.misses_of(Player::Millpond) / self.misses_of(other).max(1e-9) - 1.0);
        (-against(Player::Lru), against(Player::S3Fifo))
    }

    fn goal(&self) -> &'static str {
        let (fewer, more) = self.verdict();
        match (fewer >= FEWER_THAN_LRU, more <= MORE_THAN_REFERENCE) {
            _ if !self.was_full => "never full",
            (true, true) => "met",
            (false, true) => "missed (LRU)",
            (true, false) => "missed (reference)",
            (false, false) => "missed (both)",
        }
    }
}

/// The size of a cache in the fewest digits that tell it.
fn size(cell: &Cell) -> String {
    let (value, unit) = match (cell.by_bytes, cell.resident) {
        (false, objects) => return format!("{objects:.0} objects"),
        (true, bytes) if bytes < 1e6 => (bytes / 1e3, "kB"),
        (true, bytes) => (bytes / 1e6, "MB"),
    };
    format!("{value:.*} {unit}", if value < 100.0 { 1 } else { 0 })
}

/// The report over the cells of the table.
pub fn markdown(options: &Options, cells: &[Cell]) -> String {
    let mut text = String::new();
    let stripes = options.stripes.map_or("as many as a server with such a limit has".to_owned(), |n| n.to_string());
    let _ = writeln!(text, "`simulate {}`, seed {}; stripes: {stripes}\n", options.invocation, options.seed);
    let _ = writeln!(
        text,
        "Share of reads that miss, at equal resident payload. Goal: at least {FEWER_THAN_LRU:.0} % fewer misses than LRU, \
         at most {MORE_THAN_REFERENCE:.0} % more than the S3-FIFO reference.\n"
    );
    let names = Player::ALL.map(Player::name).join(" | ");
    let _ = writeln!(
        text,
        "| trace | cache | holds | {names} | fewer misses than LRU, % | against S3-FIFO reference, % | goal |"
    );
    let _ = writeln!(text, "|---|---:|---:|{}---:|---:|---|", "---:|".repeat(Player::ALL.len()));
    for cell in cells {
        let (fewer, more) = cell.verdict();
        let misses = cell.misses.map(|ratio| format!("{ratio:.4}")).join(" | ");
        let _ = writeln!(
            text,
            "| {} | {} % | {} | {misses} | {fewer:.1} | {more:+.1} | {} |",
            cell.trace,
            cell.percent,
            size(cell),
            cell.goal()
        );
    }
    let met = cells.iter().filter(|cell| cell.goal() == "met").count();
    let _ = writeln!(text, "\nGoal met in {met} of {} rows.", cells.iter().filter(|cell| cell.was_full).count());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(millpond: f64, reference: f64, lru: f64) -> Cell {
        Cell {
            trace: "t".to_owned(),
            percent: 1.0,
            resident: 1234.0,
            by_bytes: true,
            was_full: true,
            misses: [millpond, reference, lru, lru, lru],
        }
    }

    #[test]
    fn goals_are_judged_by_both_figures() {
        let cases = [
            (cell(0.94, 0.94, 1.0), "met"),
            (cell(0.96, 0.96, 1.0), "missed (LRU)"),
            (cell(0.9, 0.88, 1.0), "missed (reference)"),
            (cell(0.99, 0.9, 1.0), "missed (both)"),
        ];
        for (cell, goal) in cases {
            assert_eq!(cell.goal(), goal, "{cell:?}");
        }
        assert_eq!(Cell { was_full: false, ..cell(1.0, 1.0, 1.0) }.goal(), "never full");
        assert_eq!(size(&cell(1.0, 1.0, 1.0)), "1.2 kB");
    }
}
