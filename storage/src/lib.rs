//! Keys, values and time as numbers: the striped store of Millpond.
//!
//! Promises: every access sees deadlines as they are, SCAN returns a key that stays exactly once, `used` equals what a
//! recount finds, multi-key steps are atomic. Refuses: sockets, clocks, randomness, threads, logging and everything
//! about RESP; time and seeds are arguments ([`Cx`]).
//!
//! Start reading at [`Access::one`]; an entry is reached only through a [`LiveRef`].

#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod access;
mod arena;
mod block;
mod evict;
mod exclusive;
mod ext;
mod fields;
pub mod glob;
mod graveyard;
mod hash;
mod hashes;
mod index;
pub mod limits;
mod loading;
mod loads;
mod memory;
mod packed;
mod pages;
mod policy;
mod prefetch;
mod project;
mod queues;
mod reap;
mod record;
mod revoke;
mod room;
mod scan;
mod segment;
mod side;
mod slot;
mod store;
mod stripe;
mod stub;
mod sweep;
mod sync;
mod table;
mod time;
mod value;
mod view;

pub use access::{Access, Contention, DbStats, Participant, StoreCounts, Watch};
pub use arena::{ArenaMemory, arena_memory, keep_stock, tend_memory};
pub use ext::{Provenance, Windows};
pub use hash::{Hasher, KeyHash};
pub use hashes::{HashEdit, HashRef, NewHash};
pub use loading::{Fill, Filled, Granted, Lifetimes, Loading};
pub use loads::{Denied, Failure, OnFail};
pub use memory::good_size;
pub use policy::Policy;
pub use project::{Applied, Change, Projected, Rank};
pub use revoke::{Mode, Overflow, Refused, Selector};
pub use scan::Position;
pub use side::{Bulkhead, LoadKey, Loaded, Terms, Wake, Woken};
pub use slot::{LiveRef, Slot, VacantRef};
pub use store::{Layout, Memory, Store};
pub use stripe::Db;
pub use table::Stage;
pub use time::{Cx, Millis, draw_below};
pub use value::{Detached, HashValue, Kind, NewValue, Value, WrongType};
pub use view::{Phase, View};
