//! LCS: the longest common subsequence, in slices and with one bit a cell.

use super::text_of_value;
use crate::call::Call;
use crate::effect::{Job, Progress};
use crate::error::Error;
use core::sync::atomic::Ordering;
use protocol::number::parse_i64;
use storage::{Slot, Value, WrongType};

/// Cells filled, or steps walked back, in one slice: about 200 us.
const SLICE_STEPS: usize = 64 * 1024;

/// Bytes a cell takes in Redis, whose bound on the table (`proto-max-bulk-len`) we share.
const REDIS_CELL_BYTES: usize = 4;

/// What is asked for.
#[derive(Clone, Copy, Default)]
struct Options {
    len: bool,
    indexes: bool,
    min_match: usize,
    match_lens: bool,
}

fn options(call: &Call<'_, '_>) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut index = 3;
    while index < call.args.len() {
        if call.is_word(index, "IDX") {
            options.indexes = true;
        } else if call.is_word(index, "LEN") {
            options.len = true;
        } else if call.is_word(index, "WITHMATCHLEN") {
            options.match_lens = true;
        } else if call.is_word(index, "MINMATCHLEN") && index + 1 < call.args.len() {
            index += 1;
            let min = parse_i64(call.args.at(index)).ok_or(Error::NOT_INTEGER)?;
            options.min_match = usize::try_from(min).unwrap_or(0);
        } else {
            return Err(Error::SYNTAX);
        }
        index += 1;
    }
    if options.len && options.indexes {
        return Err(Error::err("If you want both the length and indexes, please just use IDX."));
    }
    Ok(options)
}

/// A copy of the string under a key, empty if there is none.
fn text_of(slot: Slot<'_>, touch: bool) -> Result<(bool, Text), WrongType> {
    Ok(match slot {
        Slot::Vacant(_) => (false, Text::Short(Box::default())),
        Slot::Live(mut live) => {
            if touch {
                live.touch();
            }
            match live.string()? {
                Value::Shared(bytes) => (true, Text::Long(bytes)),
                short => (true, Text::Short(text_of_value(&short, |text| text.into()))),
            }
        }
    })
}

/// A string that outlives its lock.
enum Text {
    Short(Box<[u8]>),
    Long(std::sync::Arc<Vec<u8>>),
}

impl core::ops::Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

pub(super) fn lcs(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let options = options(call)?;
    let (keys, db, touch, cx) = ([call.args.at(1), call.args.at(2)], call.session.db, !call.session.no_touch, call.cx);
    let hashes = keys.map(|key| call.store.hash(key));
    let [a, b] = call.store.atomically(hashes, |store| {
        [0, 1].map(|n| store.one(db, hashes[n], keys[n], &cx, |slot| text_of(slot, touch)))
    });
    let wrong = |_| Error::err("The specified keys must contain string values");
    let ((hit_a, a), (hit_b, b)) = (a.map_err(wrong)?, b.map_err(wrong)?);
    call.count_lookup(hit_a);
    call.count_lookup(hit_b);
    let cells = (a.len() + 1).saturating_mul(b.len() + 1);
    let limit = call.node.settings.live.max_bulk_bytes.load(Ordering::Relaxed);
    if cells.saturating_mul(REDIS_CELL_BYTES) > limit {
        return Err(Error::err("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    call.run_job(Box::new(Search::new(options, a, b)))
}

/// A stretch common to both strings.
#[derive(Clone, Copy)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The search: fills the table of lengths row by row, then walks back through it.
///
/// Of the lengths only one row is kept, along the shorter string; what the way back needs of a cell is one bit.
struct Search {
    options: Options,
    a: Text,
    b: Text,
    /// Whether a row belongs to a byte of `a`, which is then the longer one.
    rows_of_a: bool,
    /// Lengths for the bytes of the rows so far and each beginning of the shorter string.
    row: Vec<u32>,
    /// Length at the cell diagonally before the next one.
    diagonal: u32,
    /// The next cell: row and column, both from 0.
    at: (usize, usize),
    /// Per cell: leaving out the byte of `a` is strictly better than leaving out that of `b`.
    drop_a: Vec<u64>,
    /// How much of each string lies ahead on the way back.
    left: (usize, usize),
    /// The common subsequence, last byte first.
    common: Vec<u8>,
    matches: Vec<Match>,
}

impl Search {
    fn new(options: Options, a: Text, b: Text) -> Self {
        let rows_of_a = a.len() >= b.len();
        let shorter = a.len().min(b.len());
        let left = (a.len(), b.len());
        let bits = if options.len { 0 } else { a.len() * b.len() };
        Self {
            options,
            a,
            b,
            rows_of_a,
            row: vec![0; shorter + 1],
            diagonal: 0,
            at: (0, 0),
            drop_a: vec![0; bits.div_ceil(64)],
            left,
            common: Vec::new(),
            matches: Vec::new(),
        }
    }

    /// Fills up to `budget` cells; true when the table is complete.
    fn fill(&mut self, budget: usize) -> bool {
        let (long, short): (&[u8], &[u8]) = if self.rows_of_a { (&self.a, &self.b) } else { (&self.b, &self.a) };
        let (rows, columns) = (long.len(), short.len());
        if columns == 0 {
            return true;
        }
        let (mut i, mut j) = self.at;
        let mut left = budget;
        while i < rows && left > 0 {
            let stop = columns.min(j + left);
            left -= stop - j;
            for (j, byte) in short.iter().enumerate().take(stop).skip(j) {
                let (above, beside) = (self.row[j + 1], self.row[j]);
                let (without_a, without_b) = if self.rows_of_a { (above, beside) } else { (beside, above) };
                if without_a > without_b && !self.drop_a.is_empty() {
                    let cell = i * columns + j;
                    self.drop_a[cell / 64] |= 1 << (cell % 64);
                }
                self.row[j + 1] = if long[i] == *byte { self.diagonal + 1 } else { above.max(beside) };
                self.diagonal = above;
            }
            (i, j) = if stop == columns { (i + 1, 0) } else { (i, stop) };
            if j == 0 {
                self.diagonal = 0;
            }
        }
        self.at = (i, j);
        i == rows
    }

    /// Walks back up to `budget` steps; true at the end.
    fn walk_back(&mut self, budget: usize) -> bool {
        let (mut i, mut j) = self.left;
        let columns = self.a.len().min(self.b.len());
        for _ in 0..budget {
            if i == 0 || j == 0 {
                break;
            }
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                self.common.push(self.a[i]);
                match self.matches.last_mut() {
                    Some(last) if last.a == i + 1 && last.b == j + 1 => *last = Match { a: i, b: j, len: last.len + 1 },
                    _ => self.matches.push(Match { a: i, b: j, len: 1 }),
                }
                continue;
            }
            let (row, column) = if self.rows_of_a { (i - 1, j - 1) } else { (j - 1, i - 1) };
            let cell = row * columns + column;
            if self.drop_a[cell / 64] >> (cell % 64) & 1 == 1 { i -= 1 } else { j -= 1 }
        }
        self.left = (i, j);
        i == 0 || j == 0
    }

    fn reply(&mut self, call: &mut Call<'_, '_>) {
        let (reply, options) = (&mut call.reply, self.options);
        if !options.indexes {
            self.common.reverse();
            return reply.bulk(&self.common);
        }
        reply.map(2);
        reply.bulk_str("matches");
        self.matches.retain(|found| found.len >= options.min_match);
        reply.array(self.matches.len());
        for found in &self.matches {
            reply.array(if options.match_lens { 3 } else { 2 });
            for start in [found.a, found.b] {
                reply.array(2);
                reply.integer(start as i64);
                reply.integer((start + found.len - 1) as i64);
            }
            if options.match_lens {
                reply.integer(found.len as i64);
            }
        }
        reply.bulk_str("len");
        reply.integer(self.common.len() as i64);
    }
}

impl Job for Search {
    fn step(&mut self, call: &mut Call<'_, '_>) -> Result<Progress, Error> {
        if !self.fill(SLICE_STEPS) {
            return Ok(Progress::More);
        }
        if self.options.len {
            call.reply.integer(self.row.last().copied().unwrap_or(0).into());
            return Ok(Progress::Done);
        }
        if !self.walk_back(SLICE_STEPS) {
            return Ok(Progress::More);
        }
        self.reply(call);
        Ok(Progress::Done)
    }
}
