//! Layouts worth testing: keyed ones as served, and hashes no honest key would have.

use storage::{Hasher, Layout};

/// A well-spread hash that is the same in every run.
fn mixed(key: &[u8]) -> u64 {
    let folded = key
        .iter()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let folded = (folded ^ folded >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    folded ^ folded >> 29
}

fn equal(_: &[u8]) -> u64 {
    0x5555_1234_5678_9ABC
}
/// All in the first stripe of up to 16.
fn one_stripe(key: &[u8]) -> u64 {
    mixed(key) >> 4
}
/// Eight places in hash order (and up to four stripes) for all keys.
fn few_places(key: &[u8]) -> u64 {
    mixed(key) & 0xF800_0000_0000_0000
}
/// Stripes differ, tags do not, places in hash order do.
fn equal_tags(key: &[u8]) -> u64 {
    let mixed = mixed(key);
    (mixed & 0xC000_0000_0000_0000) | 0x0123_4567_8000_0000 | mixed >> 36
}
/// A handful of tags, each shared by many keys that lie apart below it.
fn few_tags(key: &[u8]) -> u64 {
    mixed(key) & 0xE000_0000_0FFF_FFFF
}

/// Number of layouts [`layout`] knows.
pub const LAYOUTS: usize = 10;

/// The layout of this number; those from [`HONEST`] on have colliding hashes.
pub fn layout(number: usize) -> Layout {
    let fixed =
        |stripes, function| Layout { stripes, hasher: Hasher::Fixed(function), cursor_secret: 77, first_epoch: 0 };
    let chosen = match number {
        0 => Layout::new(1, [1, 2, 3, 4]),
        1 => Layout::new(2, [5, 6, 7, 8]),
        2 => Layout::new(4, [9, 10, 11, 12]),
        3 => Layout::new(64, [13, 14, 15, 16]),
        4 => fixed(2, one_stripe),
        5 => fixed(1, equal),
        6 => fixed(4, equal),
        7 => fixed(4, few_places),
        8 => fixed(2, equal_tags),
        _ => fixed(1, few_tags),
    };
    from_epoch(number as u64, chosen)
}

/// The layout with a count of revokes that for odd numbers outgrows what entries keep of it (S13).
pub fn from_epoch(number: u64, layout: Layout) -> Layout {
    Layout { first_epoch: if number % 2 == 1 { (1 << 32) - 20 } else { 0 }, ..layout }
}

/// Layouts below this number give different keys different hashes.
pub const HONEST: usize = 5;
