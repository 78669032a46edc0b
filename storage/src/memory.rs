//! What a byte costs: the size classes of the allocator, so that `used_memory` counts what is really taken.

/// Bytes the allocator takes for a block of `bytes`: mimalloc's classes (16-byte steps to 64 B, then four classes per
/// doubling), whole 4 KiB pages above 128 KiB.
#[inline]
pub fn good_size(bytes: usize) -> usize {
    if bytes <= 64 {
        return if bytes <= 8 { 8 } else { (bytes + 15) & !15 };
    }
    if bytes > 128 * 1024 {
        return (bytes + 4095) & !4095;
    }
    let shift = (usize::BITS - 1 - (bytes - 1).leading_zeros()) - 2;
    ((bytes - 1) >> shift).wrapping_add(1) << shift
}

/// Bytes taken by a vector of `capacity` elements of `T`.
pub(crate) fn vec_bytes<T>(capacity: usize) -> u64 {
    match capacity * size_of::<T>() {
        0 => 0,
        bytes => good_size(bytes) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::good_size;

    #[test]
    fn classes_are_mimallocs() {
        let cases = [
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (33, 48),
            (64, 64),
            (65, 80),
            (80, 80),
            (81, 96),
            (96, 96),
            (97, 112),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (257, 320),
            (1024, 1024),
            (1025, 1280),
            (131_073, 135_168),
        ];
        for (bytes, class) in cases {
            assert_eq!(good_size(bytes), class, "{bytes}");
        }
    }
}
