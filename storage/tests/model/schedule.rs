//! Random schedules without shrinking, for tests that need very many of them.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The value of a variable.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number, not {text:?}")))
}

/// Runs `schedule` with the seeds 0.. as many times as `SCHEDULES` says, or with the one seed that `SEED` names.
pub fn schedules(by_default: u64, schedule: impl Fn(Random)) {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SCHEDULES").unwrap_or(by_default),
    };
    seeds.for_each(|seed| named(seed, &schedule));
}

/// Runs `act` with this seed, and names it if `act` panics.
pub fn named(seed: u64, act: impl Fn(Random)) {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with SEED={}", self.0);
            }
        }
    }
    let _named = Named(seed);
    act(Random(seed));
}
