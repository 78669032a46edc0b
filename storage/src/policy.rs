//! The policies of `maxmemory-policy` and their names.

/// What to do when `maxmemory` is reached: the eight names of `maxmemory-policy`.
///
/// `lru` and `lfu` select one engine, which beats both; `volatile` narrows the victims to keys with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Policy {
    NoEviction,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Policy {
    /// All policies with the names configuration uses.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("noeviction", Self::NoEviction),
        ("allkeys-lru", Self::AllKeysLru),
        ("allkeys-lfu", Self::AllKeysLfu),
        ("allkeys-random", Self::AllKeysRandom),
        ("volatile-lru", Self::VolatileLru),
        ("volatile-lfu", Self::VolatileLfu),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
    ];

    /// The policy of this configuration name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, policy)| *policy)
    }

    /// The configuration name of this policy.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    pub(crate) fn from_index(index: u8) -> Self {
        Self::NAMES[usize::from(index)].1
    }

    /// Whether only keys with a deadline may be victims.
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }

    /// Whether this policy orders victims by use, and so needs the queues.
    pub(crate) fn queues(self) -> bool {
        matches!(self, Self::AllKeysLru | Self::AllKeysLfu | Self::VolatileLru | Self::VolatileLfu)
    }
}
