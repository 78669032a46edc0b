//! The keyed hash of a key and how its bits are used: stripe, then order, then tag.

use ahash::RandomState;
use core::hash::{BuildHasher, Hasher as _};

/// The 64-bit keyed hash of a key. From the top: the stripe, then the *order bits* that place it inside the stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Where this hash lies in a store of `2^stripe_bits` stripes.
    #[inline]
    pub(crate) fn place(self, stripe_bits: u32) -> Place {
        Place { order: self.0 << stripe_bits }
    }

    /// The stripe of this hash in a store of `2^stripe_bits` stripes.
    #[inline]
    pub(crate) fn stripe(self, stripe_bits: u32) -> usize {
        // Two shifts: `stripe_bits` may be 0, and a shift by 64 is not defined.
        ((self.0 >> 1) >> (63 - stripe_bits)) as usize
    }
}

/// The part of a hash below the stripe bits, left-aligned: the place in a table's hash order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub order: u64,
}

/// First order bit of the short tag: with 1024 stripes, segments are this deep from some 4 million keys on.
pub(crate) const SHORT_TAG_FROM: u32 = 4;

impl Place {
    /// A place with this tag, as far as a tag tells.
    pub fn of_tag(tag: u32) -> Self {
        Self { order: u64::from(tag) << 32 }
    }

    /// The 32 bits by which side indexes (wheel, queues, ghosts) name an entry; equal tags are told apart by the entry.
    #[inline]
    pub fn tag(self) -> u32 {
        (self.order >> 32) as u32
    }

    /// The 16 order bits from [`SHORT_TAG_FROM`] on, by which an index slot names an entry. They are those that segments
    /// of usual depth split by, so that a split need not hash.
    #[inline]
    pub fn short_tag(self) -> u16 {
        (self.order << SHORT_TAG_FROM >> 48) as u16
    }

    /// A place with the first `depth` order bits of `self` and this short tag; `None` if bits between them are unknown.
    /// Its bits below [`SHORT_TAG_FROM`]` + 16` are unknown too, and 0.
    pub fn with_short_tag(self, depth: u32, short_tag: u16) -> Option<Self> {
        let head = self.order & !(u64::MAX >> SHORT_TAG_FROM);
        (depth >= SHORT_TAG_FROM).then(|| Self { order: head | u64::from(short_tag) << (48 - SHORT_TAG_FROM) })
    }

    /// Index of this place in a directory of `2^depth` entries.
    #[inline]
    pub fn directory_index(self, depth: u32) -> usize {
        ((self.order >> 1) >> (63 - depth)) as usize
    }
}

/// Turns keys into [`KeyHash`]es under a secret chosen at start (shared by the replicas of a cluster).
#[derive(Clone, Debug)]
pub enum Hasher {
    /// aHash with the given secret: AES rounds where the target has them.
    Keyed(RandomState),
    /// Any function: adversarial tests choose the hashes they want.
    Fixed(fn(&[u8]) -> u64),
}

impl Hasher {
    /// A hasher under this secret. Equal secrets give equal hashes on equal builds.
    pub fn keyed(secret: [u64; 4]) -> Self {
        Self::Keyed(RandomState::with_seeds(secret[0], secret[1], secret[2], secret[3]))
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        match self {
            Self::Keyed(state) => {
                let mut hasher = state.build_hasher();
                hasher.write(key);
                KeyHash(hasher.finish())
            }
            Self::Fixed(function) => KeyHash(function(key)),
        }
    }
}
