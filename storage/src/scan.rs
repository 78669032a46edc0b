//! `SCAN`: a walk in hash order whose cursor gives nothing away.
//!
//! A position is the top 62 bits of a key hash. A step visits the keys of one stretch of positions under one stripe
//! lock, so a key that stays is returned exactly once whatever splits, merges or moves meanwhile, and no key twice.
//! Clients see positions through a keyed bijection of 62-bit numbers: hash bits never leak, cursors fit a signed 64-bit
//! integer, and 0 is both start and end.

use crate::time::draw;

const POSITION_BITS: u32 = 62;
const HALF_BITS: u32 = POSITION_BITS / 2;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const ROUNDS: u64 = 4;

/// A place in hash order that a walk stands at, 62 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(crate) u64);

impl Position {
    /// Before the first key.
    pub const START: Self = Self(0);

    pub(crate) fn new(stripe: usize, order: u64, stripe_bits: u32) -> Self {
        let stripe = if stripe_bits == 0 { 0 } else { (stripe as u64) << (POSITION_BITS - stripe_bits) };
        Self(stripe | order >> (stripe_bits + 2))
    }

    /// Stripe and order bits of this position.
    pub(crate) fn split(self, stripe_bits: u32) -> (usize, u64) {
        let order = self.0 << (stripe_bits + 2);
        (((self.0 << 1) >> (63 - stripe_bits)) as usize, order)
    }
}

/// The bijection between positions and the cursors clients hold.
pub(crate) struct CursorKey(u64);

impl CursorKey {
    pub fn new(secret: u64) -> Self {
        Self(secret)
    }

    /// The cursor of a position that is not the start; never 0.
    pub fn seal(&self, position: Position) -> u64 {
        match self.forward(position.0) {
            // 0 is taken by the start: walk on along its cycle.
            0 => self.forward(0),
            cursor => cursor,
        }
    }

    /// The position of a cursor. Any number below 2^62 is some position; larger ones are reduced.
    pub fn open(&self, cursor: u64) -> Position {
        let cursor = cursor & ((1 << POSITION_BITS) - 1);
        if cursor == 0 {
            return Position::START;
        }
        match self.backward(cursor) {
            0 => Position(self.backward(0)),
            position => Position(position),
        }
    }

    fn round(&self, half: u64, round: u64) -> u64 {
        draw(self.0 ^ half, round) & HALF_MASK
    }

    fn forward(&self, x: u64) -> u64 {
        let (mut left, mut right) = (x >> HALF_BITS, x & HALF_MASK);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(right, round));
        }
        left << HALF_BITS | right
    }

    fn backward(&self, x: u64) -> u64 {
        let (mut left, mut right) = (x >> HALF_BITS, x & HALF_MASK);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(left, round), left);
        }
        left << HALF_BITS | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_a_bijection_off_zero() {
        for secret in 0..50 {
            let key = CursorKey::new(secret);
            let preimage_of_zero = key.backward(0);
            for x in (1..2000).chain([preimage_of_zero, (1 << 62) - 1]) {
                if x == 0 {
                    continue;
                }
                let cursor = key.seal(Position(x));
                assert!(cursor != 0 && cursor < 1 << 62);
                assert_eq!(key.open(cursor), Position(x), "secret {secret} x {x}");
            }
            assert_eq!(key.open(0), Position::START);
        }
    }

    #[test]
    fn positions_split_into_stripe_and_order() {
        for bits in [0, 1, 6, 10, 12] {
            for hash in [0u64, 1 << 63, !3, 0x1234_5678_9ABC_DEF0] {
                let kh = crate::hash::KeyHash(hash);
                let (stripe, order) = (kh.stripe(bits), kh.place(bits).order);
                let position = Position::new(stripe, order, bits);
                assert_eq!(
                    position.split(bits),
                    (stripe, order & (u64::MAX << (bits + 2))),
                    "bits {bits} hash {hash:x}"
                );
            }
        }
    }
}
