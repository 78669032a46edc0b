//! Time as a number: the store never reads a clock.

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The whole second this instant lies in.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// What every call into the store is told: the clock reading and the random seed of the batch it belongs to.
///
/// Equal calls with an equal context have equal effects on any node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cx {
    /// Deadlines at or before this instant have passed.
    pub now: Millis,
    /// The steady clock, ms since any beginning: what leases and waits are measured by.
    pub steady_ms: u64,
    /// Source of every random choice (victims, `RANDOMKEY`).
    pub seed: u64,
}

impl Cx {
    /// A context at `now_ms` by both clocks, with seed 0.
    pub const fn at(now_ms: u64) -> Self {
        Self { now: Millis(now_ms), steady_ms: now_ms, seed: 0 }
    }
}

/// One step of SplitMix64: a well-mixed 64-bit draw from a seed and a counter.
pub(crate) fn draw(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A draw below `bound`, which is not 0: even enough for choices, not for secrets.
pub fn draw_below(seed: u64, n: u64, bound: u64) -> u64 {
    ((u128::from(draw(seed, n)) * u128::from(bound)) >> 64) as u64
}
