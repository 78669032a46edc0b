//! What a handler asks the shell to do after its reply: the core proposes, the shell performs.

use crate::call::Call;
use crate::error::Error;

/// Something only the shell can do.
pub enum Effect {
    /// Close this connection once its replies are written.
    Close,
    /// Go on with this command later: others come first. No reply has been written yet.
    Continue(Box<dyn Job>),
    /// Run the same request again when the pause of clients ends.
    Postpone,
    /// End the server in order.
    Shutdown,
    /// Hold this connection back, its replies too, until this instant, ms since the epoch (`DEBUG SLEEP` of one client
    /// must not stop the others).
    HoldUntil(u64),
}

/// A long command in slices. Each of them sees the same request and session.
pub trait Job: Send {
    /// Does a bounded piece of work (about 200 us). Writes the reply only in the piece that ends it.
    fn step(&mut self, call: &mut Call<'_, '_>) -> Result<Progress, Error>;
}

/// Whether a [`Job`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The reply was written.
    Done,
    /// Call again.
    More,
}

/// Keys a [`Job`] touches in one piece: about 200 us of look-ups.
pub const SLICE_KEYS: usize = 1024;
