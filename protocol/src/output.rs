//! The bytes one connection still has to be sent: one growing buffer in the common case, a queue of
//! chunks when large values are shared or a reply is long. Sent bytes leave from the front; what
//! was written last can be taken back.

use std::collections::VecDeque;
use std::sync::Arc;

/// A tail above this many bytes becomes a chunk of its own instead of growing, so that growing
/// never copies more than this.
const TAIL_BYTES: usize = 128 * 1024;

/// First allocation of a tail in bytes: most replies of a batch fit.
const FIRST_TAIL_BYTES: usize = 256;

/// A finished run of output bytes.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Bytes owned by the output.
    Bytes(Vec<u8>),
    /// Bytes of a stored value, kept alive by the output and never copied.
    Shared(Arc<Vec<u8>>),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Bytes(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// A place in an [`Output`] to go back to with [`Output::rollback`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// Pending output of one connection. An empty one without a buffer owns no heap memory.
#[derive(Debug, Default)]
pub struct Output {
    /// Finished chunks, oldest first; none is empty.
    chunks: VecDeque<Chunk>,
    /// Sum of the lengths of `chunks`.
    chunked: usize,
    /// What was written after the last finished chunk.
    tail: Vec<u8>,
    /// Bytes already sent of the oldest chunk, or of the tail when there is no chunk.
    sent: usize,
    /// Bytes that were sent, or moved out, before the ones counted by `sent`.
    base: u64,
}

impl Output {
    /// An empty output that allocates with its first byte.
    pub const fn new() -> Output {
        Output { chunks: VecDeque::new(), chunked: 0, tail: Vec::new(), sent: 0, base: 0 }
    }

    /// An empty output that writes into a recycled `buffer`, whose old bytes are dropped.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Output {
        buffer.clear();
        Output { tail: buffer, ..Output::new() }
    }

    /// Bytes still to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunked + self.tail.len() - self.sent
    }

    /// True when everything was sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All pending bytes when they lie in one piece (also when there are none), for a plain write.
    #[inline]
    pub fn as_single(&self) -> Option<&[u8]> {
        match (self.chunks.len(), self.tail.is_empty()) {
            (0, _) => Some(&self.tail[self.sent..]),
            (1, true) => Some(&self.chunks[0].as_slice()[self.sent..]),
            _ => None,
        }
    }

    /// The pending bytes in order, piece by piece and without empty pieces, for a gathering write.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let pieces = self.chunks.iter().map(Chunk::as_slice).chain([self.tail.as_slice()]);
        pieces
            .enumerate()
            .map(|(i, piece)| if i == 0 { &piece[self.sent..] } else { piece })
            .filter(|piece| !piece.is_empty())
    }

    /// Drops the first `n` pending bytes: they were sent.
    ///
    /// # Panics
    /// When fewer than `n` bytes are pending.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "{n} bytes sent of {}", self.len());
        self.sent += n;
        while let Some(first) = self.chunks.front() {
            let len = first.as_slice().len();
            if self.sent < len {
                return;
            }
            self.chunks.pop_front();
            self.chunked -= len;
            self.pass(len);
        }
        if self.sent == self.tail.len() {
            self.tail.clear();
            self.pass(self.sent);
        }
    }

    /// Forgets `n` bytes that were sent and are gone.
    fn pass(&mut self, n: usize) {
        self.sent -= n;
        self.base += n as u64;
    }

    /// The place behind the last byte written so far. Valid until a [`clear`](Self::clear).
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark(self.base + (self.chunked + self.tail.len()) as u64)
    }

    /// Drops everything written since `mark`, as far as it was not sent yet.
    pub fn rollback(&mut self, mark: Mark) {
        let sent = self.base + self.sent as u64;
        debug_assert!(mark.0 >= sent, "rolled back behind bytes already sent");
        let mut excess = self.mark().0.saturating_sub(mark.0.max(sent)) as usize;
        while excess > self.tail.len() {
            excess -= self.tail.len();
            let chunk = self.chunks.pop_back().expect("bytes before the tail lie in chunks");
            self.chunked -= chunk.as_slice().len();
            match chunk {
                Chunk::Bytes(bytes) => self.tail = bytes,
                Chunk::Shared(bytes) if excess >= bytes.len() => {
                    excess -= bytes.len();
                    self.tail.clear();
                }
                // Only a mark set by advance or append inside a shared value ends here; the rest is
                // kept as a copy.
                Chunk::Shared(bytes) => self.tail = bytes.to_vec(),
            }
        }
        self.tail.truncate(self.tail.len() - excess);
        // Reclaims what was sent when nothing is left behind it.
        self.advance(0);
    }

    /// Moves everything pending in `other` behind what is pending here; short or first content is
    /// taken as it is, without queueing.
    pub fn append(&mut self, mut other: Output) {
        if other.is_empty() {
            return;
        }
        if let Some(bytes) = other.as_single()
            && bytes.len() <= TAIL_BYTES / 32
            && other.chunks.is_empty()
        {
            self.extend(bytes);
            return;
        }
        other.drop_sent();
        self.finish_tail();
        self.chunked += other.chunked;
        if self.chunks.is_empty() {
            self.chunks = other.chunks;
        } else {
            self.chunks.append(&mut other.chunks);
        }
        // A tail that held nothing keeps its buffer when the other one has nothing to offer.
        if !other.tail.is_empty() || self.tail.capacity() == 0 {
            self.tail = other.tail;
        }
    }

    /// Makes `sent` zero, by copying what is left of a partly sent first piece.
    fn drop_sent(&mut self) {
        if self.sent == 0 {
            return;
        }
        match self.chunks.front_mut() {
            None => drop(self.tail.drain(..self.sent)),
            Some(first) => {
                let rest = first.as_slice()[self.sent..].to_vec();
                *first = Chunk::Bytes(rest);
                self.chunked -= self.sent;
            }
        }
        self.base += self.sent as u64;
        self.sent = 0;
    }

    /// Copies `bytes` to the end.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).extend_from_slice(bytes);
    }

    /// Puts `bytes` at the end without copying them; they stay alive until sent or dropped.
    pub fn share(&mut self, bytes: Arc<Vec<u8>>) {
        if bytes.is_empty() {
            return;
        }
        self.finish_tail();
        self.chunked += bytes.len();
        self.chunks.push_back(Chunk::Shared(bytes));
    }

    /// Bytes of shared values that this output keeps alive, sent parts of them included.
    pub fn shared_bytes(&self) -> usize {
        let shared = |chunk: &Chunk| match chunk {
            Chunk::Bytes(_) => 0,
            Chunk::Shared(bytes) => bytes.len(),
        };
        self.chunks.iter().map(shared).sum()
    }

    /// Heap bytes of the output's own buffers: the tail's capacity and the owned chunks.
    pub fn buffer_bytes(&self) -> usize {
        let owned = |chunk: &Chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.capacity(),
            Chunk::Shared(_) => 0,
        };
        self.tail.capacity() + self.chunks.iter().map(owned).sum::<usize>()
    }

    /// Takes the empty buffer for another output, leaving this one without heap memory.
    ///
    /// Pending bytes stay, and an empty vector is returned then.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        if !self.is_empty() {
            return Vec::new();
        }
        self.chunks = VecDeque::new();
        std::mem::take(&mut self.tail)
    }

    /// Drops everything pending and every mark; the buffer stays.
    pub fn clear(&mut self) {
        self.base += (self.chunked + self.tail.len()) as u64;
        self.chunks.clear();
        self.chunked = 0;
        self.tail.clear();
        self.sent = 0;
    }

    /// The tail with space for `n` more bytes, so that the caller's copies need not grow it.
    #[inline]
    pub(crate) fn room(&mut self, n: usize) -> &mut Vec<u8> {
        if self.tail.capacity() - self.tail.len() < n {
            self.grow(n);
        }
        &mut self.tail
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, n: usize) {
        if self.tail.len() > TAIL_BYTES {
            self.finish_tail();
            self.tail.reserve_exact(n.max(TAIL_BYTES));
        } else {
            self.tail.reserve(n.max(FIRST_TAIL_BYTES));
        }
    }

    /// Moves a non-empty tail behind the finished chunks.
    fn finish_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.chunked += tail.len();
            self.chunks.push_back(Chunk::Bytes(tail));
        }
    }
}

#[cfg(test)]
mod tests;
