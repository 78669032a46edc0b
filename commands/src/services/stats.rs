//! What happened to the keys of a service, counted by each core for itself.

use crate::stats::Counter;

macro_rules! counters {
    ($($field:ident $doc:literal;)*) => {
        /// Counters of one service on one core.
        #[derive(Debug, Default)]
        pub struct Counts {
            $(#[doc = $doc] pub $field: Counter,)*
            /// Load times since the start, of the average, ms in 1024ths; 0 = none yet.
            average: Counter,
        }

        impl Counts {
            /// Every counter with its name, in the order shown.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($field), self.$field.value())),*].into_iter()
            }

            fn reset(&self) {
                $(self.$field.reset();)*
            }
        }
    };
}

counters! {
    hit "Reads answered fresh.";
    stale "Reads answered stale.";
    filled "Reads answered by the load they waited for.";
    miss "Reads told to load.";
    wait "Reads told to ask again.";
    neg "Reads told that there is no value.";
    err "Reads told that loading fails.";
    pass "Reads told to load for themselves.";
    tokens "Leases granted to readers.";
    handed_over "Leases handed to a reader that waited.";
    coalesced "Loads avoided: reads that found somebody else loading.";
    refreshes "Leases granted before a value was stale.";
    renewed "Leases renewed.";
    released "Leases given back unanswered by SWR.YIELD.";
    parked "Reads that waited.";
    timed_out "Of these, those that were not answered in time, or unblocked.";
    refused_waits "Reads that found no room to wait.";
    fill_ok "Answers stored.";
    fill_stale "Answers stored as stale.";
    fill_revoked "Answers refused since their key was revoked meanwhile.";
    fill_superseded "Answers refused since their key was written meanwhile.";
    fill_nolease "Answers without a lease.";
    fill_gone "Confirmations of a copy that was gone.";
    fill_oom "Answers for which there was no memory.";
    fill_nil "Answers that there is no value.";
    fill_nostore "Answers that must not be stored.";
    failed "Failed loads.";
    load_ms "Time that stored answers took to load, ms in all.";
    set "Values stored without a lease.";
}

impl Counts {
    /// Counts the time of a load.
    pub fn loaded(&self, ms: u64) {
        self.load_ms.add(ms);
        let (old, new) = (self.average.value(), ms.saturating_mul(1024));
        // An eighth of the way to the new one.
        let next = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.average.reset();
        self.average.add(next.max(1));
    }
}

/// Counters of one service: one set for each core, and one for loaders that are no core.
#[derive(Debug)]
pub struct ServiceStats(Box<[Counts]>);

impl ServiceStats {
    /// None counted yet.
    pub fn new(cores: usize) -> Self {
        Self((0..=cores).map(|_| Counts::default()).collect())
    }

    /// Those of a core.
    pub fn of(&self, core: usize) -> &Counts {
        &self.0[core.min(self.0.len() - 1)]
    }

    /// All counters added up, by name.
    pub fn sums(&self) -> Vec<(&'static str, u64)> {
        let mut sums: Vec<(&'static str, u64)> = self.0[0].all().collect();
        for counts in &self.0[1..] {
            sums.iter_mut().zip(counts.all()).for_each(|(sum, (_, count))| sum.1 += count);
        }
        sums
    }

    /// Moving average of what a load takes, ms; 0 = none ended yet.
    pub fn average_load_ms(&self) -> u64 {
        let known: Vec<u64> = self.0.iter().map(|counts| counts.average.value()).filter(|ms| *ms > 0).collect();
        known.iter().sum::<u64>() / 1024 / known.len().max(1) as u64
    }

    /// Back to 0.
    pub fn reset(&self) {
        self.0.iter().for_each(Counts::reset);
    }
}
