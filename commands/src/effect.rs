//! What a handler asks the shell to do after its reply: the core proposes, the shell performs.

use crate::call::Call;
use crate::error::Error;
use crate::node::Node;
use storage::{Access, Cx, Wake};

/// Something only the shell can do.
pub enum Effect {
    /// Close this connection once its replies are written.
    Close,
    /// Go on with this command later: others come first. No reply has been written yet.
    Continue(Box<dyn Job>),
    /// Run the same request again when the pause of clients ends.
    Postpone,
    /// Hold this connection back until it is woken or its time has come. No reply has been written yet.
    Park(Box<dyn Wait>),
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

/// A command that waits for others. Times are of the steady clock, ms.
pub trait Wait: Send {
    /// By what number the store's [`Woken`](storage::Woken) names it.
    fn ticket(&self) -> u64;

    /// When [`due`](Self::due) is to be called.
    fn due_ms(&self) -> u64;

    /// Its time has come: whether it is to be finished now.
    fn due(&mut self, node: &Node, store: &mut Access<'_>, cx: &Cx) -> bool;

    /// It was woken, and is to be finished with this.
    fn tell(&mut self, wake: Wake);

    /// Nobody is there any more to be told, or it is told otherwise. False if it was woken already: a [`Wake::Token`] on its
    /// way is to be [declined](Access::decline) then.
    fn leave(&mut self, node: &Node, store: &mut Access<'_>, cx: &Cx) -> bool;

    /// Writes the reply (or waits again, by an effect).
    fn finish(self: Box<Self>, call: &mut Call<'_, '_>) -> Result<(), Error>;
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
