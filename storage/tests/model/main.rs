//! The store against a naive map, in virtual time: everything a caller can see, after every step, on layouts from one
//! stripe with equal hashes to many stripes with keyed ones.
//!
//! The default run is short. The long form is a matter of two variables:
//!
//! ```text
//! PROPTEST_CASES=20000 SCHEDULES=1000000 cargo test --release -p millpond-storage --test model
//! ```
//!
//! `SCHEDULES` counts the random schedules of the hand-rolled tests, which print their seed when they fail and replay it
//! from `SEED`. Proptest shrinks and prints the failing operations.
//!
//! `storage/sanitize` runs this under the sanitizers, `storage/fuzz` drives the same machine by coverage.

#![allow(clippy::disallowed_methods)]

mod concurrent;
mod eviction;
mod expiry;
mod freshness;
mod layouts;
mod loads;
mod machine;
mod memory;
mod operations;
mod reference;
mod revoke;
mod scan;
mod schedule;
mod states;
mod strategies;
mod watches;
