//! What the log says of entries, its bounds, and how it is swept.

use super::records::{Ends, Glob};
use super::*;
use crate::Windows;
use crate::glob;
use crate::limits::{
    MAX_MATCHED_KEY_BYTES, MAX_REVOKED_GLOB_BYTES, MAX_REVOKED_GLOBS, MAX_REVOKED_LENGTHS, MAX_SOFT_MARKS,
};

const DB: Physical = Physical(0);

fn revoke(log: &RevokeLog, selector: Selector<'_>) -> Result<u64, Refused> {
    log.revoke(DB, &[selector], (Mode::Hard, Overflow::Reject), &Memory::new(1))
}

fn newest(log: &RevokeLog, key: &str, tags: &[u64], since: u64) -> Option<u64> {
    let found = log.judge_since(DB, key.as_bytes(), tags.iter().copied(), since, false);
    (found.latest > 0).then_some(found.latest)
}

#[test]
fn the_latest_match_counts() {
    let log = RevokeLog::new(0);
    let revoke = |selector| revoke(&log, selector).unwrap();
    assert_eq!(revoke(Selector::Prefix(b"user:")), 1);
    assert_eq!(revoke(Selector::Match(b"user:*:name")), 2);
    assert_eq!(revoke(Selector::Tag(7)), 3);
    assert_eq!(revoke(Selector::Tags(&[8, 9])), 4);
    assert_eq!(newest(&log, "user:1", &[], 0), Some(1));
    assert_eq!(newest(&log, "user:1", &[], 1), None);
    assert_eq!(newest(&log, "user:1:name", &[], 1), Some(2));
    assert_eq!(newest(&log, "use", &[7], 0), Some(3));
    assert_eq!(newest(&log, "user:1", &[8], 0), Some(1));
    assert_eq!(newest(&log, "user:1", &[1, 9, 8], 0), Some(4));
    assert_eq!(log.judge_since(Physical(1), b"user:1", [7].into_iter(), 0, false), Found::default());
    assert_eq!(revoke(Selector::Prefix(b"user:")), 5);
    assert_eq!((newest(&log, "user:1", &[], 4), log.records()), (Some(5), 4));
}

#[test]
fn records_are_dropped_once_all_stripes_were_swept() {
    let log = RevokeLog::new(0);
    revoke(&log, Selector::Tag(1)).unwrap();
    revoke(&log, Selector::Prefix(b"a")).unwrap();
    log.begin_sweep(2);
    assert_eq!(log.pass(), Some((1, 2)));
    revoke(&log, Selector::Prefix(b"b")).unwrap();
    log.stripe_swept(2, None, &Memory::new(1));
    assert_eq!((log.records(), log.pass()), (3, Some((1, 2))));
    log.stripe_swept(2, None, &Memory::new(1));
    assert_eq!((log.records(), log.pass()), (1, None));
    assert_eq!((newest(&log, "a", &[1], 0), newest(&log, "b", &[], 2)), (None, Some(3)));
}

#[test]
fn records_are_used_memory_until_they_are_dropped() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    let selectors =
        [Selector::Prefix(&[b'p'; 500]), Selector::Match(b"a*b"), Selector::Tag(1), Selector::Tags(&[1, 2])];
    log.revoke(DB, &selectors, (Mode::Hard, Overflow::Reject), &memory).unwrap();
    let used = memory.used();
    assert!(used > 500 + 4 * RECORD_BYTES as u64, "{used}");
    // Renewed, they take no more.
    assert_eq!(log.revoke(DB, &selectors, (Mode::Hard, Overflow::Reject), &memory), Ok(8));
    assert_eq!(memory.used(), used);
    log.begin_sweep(1);
    log.stripe_swept(8, None, &memory);
    assert_eq!((memory.used(), log.records()), (0, 0));
}

/// All or nothing, by number and by bytes; long keys are judged by their ends.
#[test]
fn costs_are_bounded_together() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    let long = |n: usize| format!("{n:04}*{}", "x".repeat(MAX_GLOB_BYTES - 5));
    let fitting = MAX_REVOKED_GLOB_BYTES / MAX_GLOB_BYTES;
    for n in 0..fitting {
        log.revoke(DB, &[Selector::Match(long(n).as_bytes())], (Mode::Hard, Overflow::Reject), &memory).unwrap();
    }
    let both = [Selector::Prefix(b"p"), Selector::Match(b"one*more")];
    assert_eq!(log.revoke(DB, &both, (Mode::Hard, Overflow::Reject), &memory), Err(Refused::Busy));
    assert_eq!((newest(&log, "p", &[], 0), log.records()), (None, fitting));
    assert_eq!(
        log.revoke(DB, &[], (Mode::Hard, Overflow::Reject), &memory),
        Ok(fitting as u64),
        "nothing to do is no revoke"
    );
    let (key, glob) = (vec![b'a'; MAX_MATCHED_KEY_BYTES + 1], Glob::new(b"a*b*a"));
    let matches = |glob: &Glob, key: &[u8]| glob.matches(key, Ends::of(key));
    assert!(matches(&glob, &key) && !matches(&glob, &key[1..]));
    assert!(!matches(&Glob::new(b"a*b"), &key) && !matches(&Glob::new(b"a?"), &key));
}

#[test]
fn what_would_cost_too_much_is_refused() {
    let log = RevokeLog::new(0);
    let stars = [b'*'; MAX_GLOB_STARS + 1];
    assert_eq!(revoke(&log, Selector::Match(&stars)), Err(Refused::TooComplex));
    assert_eq!(revoke(&log, Selector::Match(&[b'x'; MAX_GLOB_BYTES + 1])), Err(Refused::TooComplex));
    for n in 0..MAX_REVOKED_GLOBS {
        revoke(&log, Selector::Match(format!("{n}*").as_bytes())).unwrap();
    }
    assert_eq!(revoke(&log, Selector::Match(b"more*")), Err(Refused::Busy));
    // Known ones are renewed; others have room of their own.
    assert!(revoke(&log, Selector::Match(b"7*")).is_ok() && revoke(&log, Selector::Prefix(b"more")).is_ok());
    for length in 2..2 * MAX_REVOKED_LENGTHS {
        let outcome = revoke(&log, Selector::Prefix(&vec![b'p'; length]));
        assert_eq!(outcome.is_err(), length > MAX_REVOKED_LENGTHS + 1, "{length}");
    }
}

#[test]
fn ends_of_patterns_are_told_apart_rightly() {
    let keys: [&[u8]; 8] = [b"", b"a", b"ab", b"abc", b"xbc", b"a*c", b"a]c", b"c"];
    let check = |pattern: &str, key: &[u8]| {
        let found = Glob::new(pattern.as_bytes()).matches(key, Ends::of(key));
        assert_eq!(found, glob::matches(pattern.as_bytes(), key, false), "{pattern} {key:?}");
    };
    for pattern in ["*", "a*", "*c", "a*c", "*b*", "a[*]c", "a[b]*", r"a\*c", "a?c", "*?", "[*", "abc", "**c", "*a*bc"]
    {
        keys.iter().for_each(|key| check(pattern, key));
    }
    // Ends of every length up to more than a word, and keys that differ from them in one byte, or have zeros in its place.
    let text: Vec<u8> = (b'a'..=b't').collect();
    for length in 0..=text.len() {
        let text = std::str::from_utf8(&text[..length]).unwrap();
        for cut in 0..=length {
            let pattern = format!("{}*{}", &text[..cut], &text[cut..]);
            check(&pattern, text.as_bytes());
            for at in 0..length {
                let mut key = text.as_bytes().to_vec();
                key[at] = [0, b'z'][at % 2];
                check(&pattern, &key);
                check(&pattern, &key[1..]);
            }
        }
    }
    assert_eq!((Glob::new(b"a*c").ends()), (&b"a"[..], &b"c"[..]));
}

#[test]
fn stamps_are_of_the_last_epochs() {
    let log = RevokeLog::new(0);
    log.seen.0.epoch.store((1 << 32) + 5, Ordering::Relaxed);
    assert_eq!(log.widened(5), (1 << 32) + 5);
    assert_eq!(log.widened(3), (1 << 32) + 3);
    assert_eq!(log.widened(u32::MAX), (1 << 32) - 1);
    log.seen.0.epoch.store(2, Ordering::Relaxed);
    assert_eq!((log.widened(2), log.widened(0)), (2, 0));
}

const SOFT: fn(u64, Option<u64>) -> Mode = |at, stale_for| Mode::Soft { at: Millis(at), stale_for };

/// An entry may be older than several soft revokes, and then all of them count; a hard one counts alone.
#[test]
fn soft_revokes_add_up_and_hard_ones_win() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    let revoke = |mode| log.revoke(DB, &[Selector::Tag(7)], (mode, Overflow::Reject), &memory).unwrap();
    let judge = |since| log.judge_since(DB, b"k", [7].into_iter(), since, false);
    assert_eq!(revoke(SOFT(100, Some(150))), 1);
    assert_eq!(revoke(SOFT(200, None)), 2);
    assert_eq!(revoke(SOFT(300, Some(900))), 3);
    // Fresh until 250, served until 5000.
    let windows = Windows { fresh_until: Some(Millis(250)), retain_until: Some(Millis(5000)), ..Windows::default() };
    let ends = |since| {
        let (deadline, windows) = judge(since).soft.apply(Some(Millis(5000)), windows);
        assert_eq!(windows.retain_until, deadline, "no copy is retained that was not before");
        (windows.fresh_until.unwrap().0, deadline.unwrap().0)
    };
    assert_eq!([ends(0), ends(1), ends(2), ends(3)], [(100, 250), (200, 1200), (250, 1200), (250, 5000)]);
    assert_eq!((judge(3), judge(0).latest, judge(0).is_hard), (Found::default(), 3, false));
    assert_eq!(revoke(Mode::Hard), 4);
    assert_eq!(revoke(SOFT(400, None)), 5);
    assert!(judge(3).is_hard && !judge(4).is_hard);
    // For as long as it would have been stale anyway; what has no end goes on.
    assert_eq!(judge(4).soft.apply(Some(Millis(5000)), windows).0, Some(Millis(5000)));
    let late = Windows { fresh_until: Some(Millis(4990)), ..windows };
    assert_eq!(judge(4).soft.apply(Some(Millis(5000)), late).0, Some(Millis(410)));
    assert_eq!(judge(4).soft.apply(None, Windows::default()).0, None);
    assert_eq!(log.records(), 1);
}

/// What is merged makes more stale, never less.
#[test]
fn the_oldest_soft_revokes_are_merged() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    let most = MAX_SOFT_MARKS as u64;
    for n in 1..=most + 3 {
        log.revoke(DB, &[Selector::Tag(7)], (SOFT(100 * n, Some(100 * n + 50)), Overflow::Reject), &memory).unwrap();
    }
    for since in 0..=most + 3 {
        let softs = log.judge_since(DB, b"k", [7].into_iter(), since, false).soft;
        let exact = (since < most + 3).then_some(100 * (since + 1));
        let fresh = softs.apply(None, Windows::default()).1.fresh_until.map(|at| at.0);
        assert_eq!(fresh.is_some(), exact.is_some());
        assert!(fresh <= exact, "{since}: {fresh:?}");
    }
}

#[test]
fn hard_revokes_within_an_interval_are_known_or_assumed() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    let revoke = |selector| assert!(log.revoke(DB, &[selector], (Mode::Hard, Overflow::Reject), &memory).is_ok());
    let marks = || log.hard_marks(DB, b"k", [7].into_iter(), false);
    assert!(!marks().within(0, 9));
    revoke(Selector::Tag(7)); // 1
    revoke(Selector::Tag(8)); // 2: another tag's
    revoke(Selector::Prefix(b"k")); // 3
    let found = |since, until| marks().within(since, until);
    assert_eq!([found(0, 1), found(1, 2), found(2, 3), found(1, 9), found(3, 9)], [true, false, true, true, false]);
    revoke(Selector::Prefix(b"k")); // 4
    revoke(Selector::Prefix(b"k")); // 5
    assert!(!found(5, 5) && found(4, 5) && found(3, 4));
    // The one of epoch 3 is forgotten: whether it lies in between is not known.
    assert!(found(2, 3) && found(1, 2));
}

/// A load that runs keeps the records it may have to be judged by.
#[test]
fn records_outlive_running_loads() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    revoke(&log, Selector::Tag(1)).unwrap();
    revoke(&log, Selector::Tag(2)).unwrap();
    log.begin_sweep(2);
    log.stripe_swept(2, Some(1), &memory);
    log.stripe_swept(2, Some(2), &memory);
    assert_eq!((newest(&log, "k", &[1], 0), newest(&log, "k", &[2], 0)), (None, Some(2)));
    // The next pass has nothing new to bring segments to, and drops what the load held.
    log.begin_sweep(1);
    assert_eq!(log.pass(), Some((2, 2)));
    log.stripe_swept(2, None, &memory);
    assert_eq!((log.records(), memory.used()), (0, 0));
}

/// What does not fit is named more widely, as much as it must be, and nothing less is revoked.
#[test]
fn an_overflow_widens() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    fn revoke_in(log: &RevokeLog, memory: &Memory, selector: Selector<'_>, overflow: Overflow) -> Result<u64, Refused> {
        log.revoke(DB, &[selector], (Mode::Hard, overflow), memory)
    }
    macro_rules! revoke {
        ($selector:expr, $overflow:expr) => {
            revoke_in(&log, &memory, $selector, $overflow)
        };
    }
    for n in 0..MAX_REVOKED_GLOBS {
        revoke!(Selector::Match(format!("{n}*x").as_bytes()), Overflow::Reject).unwrap();
    }
    let pattern = Selector::Match(b"user:*:name");
    assert_eq!(revoke!(pattern, Overflow::Reject), Err(Refused::Busy));
    let epoch = revoke!(pattern, Overflow::Widen).unwrap();
    assert_eq!((newest(&log, "user:1", &[], 0), log.widened_count()), (Some(epoch), 1));
    assert_eq!(revoke!(Selector::Match(b"*:name"), Overflow::Widen), Err(Refused::Busy));
    let epoch = revoke!(Selector::Match(b"*:name"), Overflow::WidenAll).unwrap();
    assert_eq!(newest(&log, "anything", &[], 0), Some(epoch));
    // Prefixes of too many lengths are cut to one that is there.
    for length in 10..10 + MAX_REVOKED_LENGTHS {
        let _ = revoke!(Selector::Prefix(&vec![b'p'; length]), Overflow::Reject);
    }
    let long = [b'q'; 100];
    assert_eq!(revoke!(Selector::Prefix(&long), Overflow::Reject), Err(Refused::Busy));
    let epoch = revoke!(Selector::Prefix(&long), Overflow::Widen).unwrap();
    let shorter = String::from_utf8(long[..99].to_vec()).unwrap();
    assert_eq!(newest(&log, &shorter, &[], 0), Some(epoch));
    let (used, softs) = (memory.used(), SOFT(5, None));
    log.revoke(DB, &[Selector::Prefix(&long), Selector::Tag(9)], (softs, Overflow::WidenAll), &memory).unwrap();
    assert!(memory.used() > used);
    log.begin_sweep(1);
    log.stripe_swept(log.epoch(), None, &memory);
    assert_eq!((memory.used(), log.records()), (0, 0));
}

/// Lengths are counted, not prefixes; and what names a key names it for a search as for the log.
#[test]
fn prefixes_of_one_length_take_one_place() {
    let (log, memory) = (RevokeLog::new(0), Memory::new(1));
    let names: Vec<String> = (0..2 * MAX_REVOKED_LENGTHS).map(|n| format!("p{n:03}")).collect();
    let prefixes: Vec<Selector<'_>> = names.iter().map(|name| Selector::Prefix(name.as_bytes())).collect();
    assert!(log.revoke(DB, &prefixes, (Mode::Hard, Overflow::Reject), &memory).is_ok());
    let long = vec![b'a'; MAX_MATCHED_KEY_BYTES + 1];
    for (pattern, key, is_named) in
        [(&b"a*b*a"[..], &long[..], true), (b"a*b*a", &long[1..], false), (b"a*b", &long, false), (b"a?", &long, false)]
    {
        assert_eq!(Selector::Match(pattern).names(key, &[]), is_named, "{}", pattern.escape_ascii());
    }
    assert!(Selector::Tags(&[1, 2]).names(b"k", &[2, 3, 1]) && !Selector::Tags(&[1, 2]).names(b"k", &[2, 3]));
}
