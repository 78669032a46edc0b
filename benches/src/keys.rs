//! The key space and the random numbers of a run: everything follows from one printed seed.
//!
//! Key `i` is a bijective mix of `i` as 16 hex digits, so keys look random, never collide, and lead back to `i` without a table.

/// Bytes of every key.
pub const KEY_LEN: usize = 16;

const FIRST: u64 = 0xff51_afd7_ed55_8ccd;
const SECOND: u64 = 0xc4ce_b9fe_1a85_ec53;
const FIRST_INVERSE: u64 = inverse(FIRST);
const SECOND_INVERSE: u64 = inverse(SECOND);

/// The multiplicative inverse of an odd number modulo 2^64 (each Newton step doubles the correct low bits: 3, 6, .. 96).
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut step = 0;
    while step < 5 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(FIRST);
    x = (x ^ (x >> 33)).wrapping_mul(SECOND);
    x ^ (x >> 33)
}

fn unmix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(SECOND_INVERSE);
    x = (x ^ (x >> 33)).wrapping_mul(FIRST_INVERSE);
    x ^ (x >> 33)
}

const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// The keys of a run.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    offset: u64,
}

impl Keys {
    pub fn new(seed: u64) -> Self {
        Self { offset: mix(seed) }
    }

    /// Writes key `index` over `out`, which must be `KEY_LEN` bytes.
    #[inline]
    pub fn write(&self, index: u64, out: &mut [u8]) {
        let number = mix(index.wrapping_add(self.offset)).to_be_bytes();
        for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(number) {
            *pair = HEX[usize::from(byte)];
        }
    }

    pub fn key(&self, index: u64) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        self.write(index, &mut key);
        key
    }

    /// The index whose key this is; `None` when these are not 16 hex digits.
    pub fn index(&self, key: &[u8]) -> Option<u64> {
        if key.len() != KEY_LEN {
            return None;
        }
        let number = u64::from_str_radix(std::str::from_utf8(key).ok()?, 16).ok()?;
        Some(unmix(number).wrapping_sub(self.offset))
    }
}

/// A fast uniform generator; not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`; the bias is below `bound` / 2^64.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }
}

/// What is stored: prefixes of one random buffer, so a reply can be checked byte for byte.
#[derive(Debug, Clone)]
pub struct Values {
    bytes: Vec<u8>,
    smallest: usize,
}

impl Values {
    /// Every value has `size` bytes.
    pub fn fixed(seed: u64, size: usize) -> Self {
        Self::between(seed, size, size)
    }

    /// Sizes go round `smallest..=largest` by key index, so no allocator size class is lucky.
    pub fn between(seed: u64, smallest: usize, largest: usize) -> Self {
        let mut random = Random::new(seed ^ 0x76a1);
        let bytes = (0..largest).map(|_| random.draw() as u8).collect();
        Self { bytes, smallest }
    }

    pub fn of(&self, index: u64) -> &[u8] {
        let sizes = (self.bytes.len() - self.smallest + 1) as u64;
        &self.bytes[..self.smallest + (index % sizes) as usize]
    }

    /// Mean size in bytes over all indices.
    pub fn mean_len(&self) -> f64 {
        (self.smallest + self.bytes.len()) as f64 / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_back_to_its_index() {
        let keys = Keys::new(7);
        for index in [0, 1, 2, 999_999, 1 << 40, u64::MAX] {
            assert_eq!(keys.index(&keys.key(index)), Some(index));
        }
        assert_ne!(keys.key(1), Keys::new(8).key(1));
        assert_eq!(keys.index(b"short"), None);
        assert_eq!(keys.index(b"not sixteen hex!"), None);
    }

    #[test]
    fn values_go_round_their_sizes() {
        let values = Values::between(1, 57, 72);
        let total: usize = (0..16).map(|index| values.of(index).len()).sum();
        assert_eq!(total as f64 / 16.0, values.mean_len());
        assert_eq!(Values::fixed(1, 64).of(5).len(), 64);
    }
}
