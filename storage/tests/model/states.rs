//! M1 and M5: any sequence of operations equals the reference, with all bytes recounted after every step. M2: when dead
//! entries are reclaimed changes nothing a caller can see. M9: hostile hashes only slow things down.

use crate::layouts::LAYOUTS;
use crate::machine::{Machine, Ticking};
use crate::operations::Op;
use crate::strategies::{limited, unlimited};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

/// Failing seeds are kept beside this file; `PROPTEST_CASES` overrides `cases`.
fn config(cases: u32) -> Config {
    let persistence = FileFailurePersistence::WithSource("regressions");
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    Config { cases, failure_persistence: Some(Box::new(persistence)), max_shrink_iters: 4000, ..Config::default() }
}

fn run(layout: usize, ticking: Ticking, ops: &[Op]) -> Vec<u64> {
    let mut machine = Machine::new(layout, ticking);
    for op in ops {
        machine.step(op);
        machine.check();
    }
    let seen = core::mem::take(&mut machine.seen);
    machine.finish();
    seen
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn any_sequence_equals_the_reference(layout in 0..LAYOUTS, ops in proptest::collection::vec(limited(), 1..70)) {
        run(layout, Ticking::AsTold, &ops);
    }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn lazy_expiry_equals_eager(layout in 0..LAYOUTS, ops in proptest::collection::vec(unlimited(), 1..60)) {
        let (eager, lazy) = (run(layout, Ticking::Always, &ops), run(layout, Ticking::Never, &ops));
        prop_assert_eq!(eager, lazy);
    }
}
