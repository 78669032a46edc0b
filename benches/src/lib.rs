//! What the measuring programs share: the key space of a run, and a histogram of durations.

pub mod hist;
pub mod keys;
