//! M6: what ticks leave behind is never stale for long, and what deadlines cost stays bounded.

use crate::layouts::{LAYOUTS, layout};
use crate::schedule::{Random, schedules};
use storage::{Access, Cx, Db, Layout, LiveRef, Millis, NewValue, Store};

const DB: Db = Db(0);

fn put(access: &mut Access<'_>, number: u64, deadline_ms: Option<u64>, cx: &Cx) {
    let key = number.to_le_bytes();
    access.one(DB, access.hash(&key), &key, cx, |slot| slot.put(NewValue::Bytes(b"value"), deadline_ms.map(Millis)));
}

fn tick_until_done(access: &mut Access<'_>, cx: &Cx) {
    while !access.tick(0, access.stripes(), cx) {}
}

/// Deadlines from milliseconds to years, moved, dropped and taken again; the clock runs by steps of any size. After a
/// round of ticks nothing is left whose deadline passed more than two seconds ago.
#[test]
fn nothing_stays_stale_after_a_round_of_ticks() {
    schedules(40, |mut random| {
        let store = Store::new(layout(random.below(LAYOUTS as u64) as usize));
        let mut participant = store.join();
        let mut access = participant.batch();
        let mut now_ms = random.below(2_000_000_000_000);
        let mut deadlines = vec![None; 300];
        for _ in 0..40 {
            let cx = Cx::at(now_ms);
            for _ in 0..random.below(60) {
                let number = random.below(300);
                let reach = [2000, 70_000, 5_000_000, 300_000_000, 60_000_000_000][random.below(5) as usize];
                let deadline = (!random.once_in(5)).then(|| now_ms + 1 + random.below(reach));
                put(&mut access, number, deadline, &cx);
                deadlines[number as usize] = Some(deadline);
            }
            let reach = [10, 3000, 100_000, 5_000_000, 400_000_000, 20_000_000_000][random.below(6) as usize];
            now_ms += random.below(reach);
            let cx = Cx::at(now_ms);
            tick_until_done(&mut access, &cx);
            let lives = |deadline: &&Option<Option<u64>>, since: u64| match deadline {
                Some(deadline) => deadline.is_none_or(|deadline| deadline > since),
                None => false,
            };
            let live = deadlines.iter().filter(|deadline| lives(deadline, now_ms)).count();
            let fresh = deadlines.iter().filter(|deadline| lives(deadline, now_ms.saturating_sub(2000))).count();
            let kept = access.db_size(DB);
            assert!(live <= kept && kept <= fresh, "{live} live, {kept} kept, {fresh} that died less than 2 s ago");
            store.invariants();
            for deadline in &mut deadlines {
                if deadline.flatten().is_some_and(|deadline| deadline + 2000 <= now_ms) {
                    *deadline = None;
                }
            }
        }
    });
}

/// Keys deleted and written again, or given ever new deadlines, leave records in the wheel. Spread over days none of
/// them comes up during the test; still memory stays near what the live keys need.
#[test]
fn churn_of_deadlines_is_bounded_in_memory() {
    const KEYS: u64 = 2000;
    const DAY_MS: u64 = 86_400_000;
    let rewrite = |access: &mut Access<'_>, number, random: &mut Random, cx: &Cx| {
        let key = u64::to_le_bytes(number);
        access.one(DB, access.hash(&key), &key, cx, |slot| slot.live().map(|live| live.remove()));
        put(access, number, Some(cx.now.0 + DAY_MS + random.below(20 * DAY_MS)), cx);
    };
    let again = |access: &mut Access<'_>, number, random: &mut Random, cx: &Cx| {
        put(access, number, Some(cx.now.0 + DAY_MS + random.below(20 * DAY_MS)), cx);
    };
    let persist = |access: &mut Access<'_>, number, random: &mut Random, cx: &Cx| {
        put(access, number, None, cx);
        put(access, number, Some(cx.now.0 + DAY_MS + random.below(20 * DAY_MS)), cx);
    };
    type Churn<'c> = &'c dyn Fn(&mut Access<'_>, u64, &mut Random, &Cx);
    for (name, churn) in [("rewrite", &rewrite as Churn<'_>), ("again", &again), ("persist", &persist)] {
        let store = Store::new(Layout::new(1, [1; 4]));
        let (mut participant, mut random) = (store.join(), Random(5));
        let mut access = participant.batch();
        let mut cx = Cx::at(1_000_000_000);
        for number in 0..KEYS {
            put(&mut access, number, Some(cx.now.0 + 10 * DAY_MS), &cx);
        }
        tick_until_done(&mut access, &cx);
        let before = store.memory().dataset();
        for turn in 0..200_000 {
            let number = random.below(KEYS);
            churn(&mut access, number, &mut random, &cx);
            if turn % 1000 == 0 {
                cx.now.0 += 25;
                tick_until_done(&mut access, &cx);
                let grown = store.memory().dataset() as i64 - before as i64;
                // Twice the live entries and 1024 records of 4.6 bytes, the pool's slack, a tenth for the sweep.
                assert!(grown < 4 * 8 * KEYS as i64, "{name}: {grown} bytes more after {turn} turns");
            }
        }
        store.invariants();
    }
}

/// A put onto a dead entry that no tick has reached makes a fresh entry: the uses of the dead one are forgotten.
#[test]
fn the_dead_leave_nothing_to_their_successors() {
    let store = Store::new(Layout::new(1, [1; 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    put(&mut access, 1, Some(500), &Cx::at(0));
    let (key, kh) = (1u64.to_le_bytes(), access.hash(&1u64.to_le_bytes()));
    let mut with =
        |now_ms, act: fn(LiveRef<'_>) -> u8| access.one(DB, kh, &key, &Cx::at(now_ms), |slot| slot.live().map(act));
    let touched = |mut live: LiveRef<'_>| {
        live.touch();
        live.set_no_evict(true);
        live.uses()
    };
    assert_eq!(with(10, touched), Some(1));
    assert_eq!(with(600, touched), None);
    put(&mut access, 1, None, &Cx::at(600));
    let fresh = access.one(DB, kh, &key, &Cx::at(600), |slot| slot.live().map(|live| (live.uses(), live.deadline())));
    assert_eq!(fresh, Some((0, None)));
    store.invariants();
}

/// Ten thousand keys of one second are reclaimed in slices, so that no tick is long.
#[test]
fn a_second_full_of_deadlines_is_reclaimed_in_slices() {
    let store = Store::new(Layout::new(1, [1; 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    for number in 0..10_000 {
        put(&mut access, number, Some(5000), &Cx::at(0));
    }
    let cx = Cx::at(6000);
    let mut slices = 0;
    while !access.tick(0, 1, &cx) {
        slices += 1;
        let freed = access.counts().expired;
        assert!(freed <= (slices + 1) * 800, "{freed} in {slices} slices");
    }
    assert!(slices >= 12);
    assert_eq!((access.db_size(DB), access.counts().expired), (0, 10_000));
}

/// What the wheel took comes back once no deadline is left, although keys stay.
#[test]
fn a_wheel_without_records_is_freed() {
    let store = Store::new(Layout::new(1, [1; 4]));
    let mut participant = store.join();
    let mut access = participant.batch();
    put(&mut access, u64::MAX, None, &Cx::at(0));
    tick_until_done(&mut access, &Cx::at(0));
    let before = store.memory().dataset();
    for number in 0..10_000 {
        put(&mut access, number, Some(5000), &Cx::at(0));
    }
    tick_until_done(&mut access, &Cx::at(6000));
    assert_eq!(access.db_size(DB), 1);
    assert!(store.memory().dataset() <= before + 512, "only the bucket table may keep some room");
    store.invariants();
}
