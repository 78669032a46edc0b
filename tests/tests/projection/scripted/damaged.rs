//! Batches that are damaged: what they held is not served, and nothing is passed over in silence.

use super::{applied, at_once, broker, pond, settle};
use crate::pond::{self, Pond, count, dump, errors, info, states};
use millpond_tests::broker::log::place;
use millpond_tests::broker::{Api, Broker, Log, record};
use millpond_tests::kafka::{projection, until};
use millpond_tests::{Conn, Reply};

/// A projection that has read `k = old` of partition 0 up to its end, 2, and stands at what comes after: a batch that is
/// appended damaged, then `behind`.
fn damaged(append: impl FnOnce(&mut Log)) -> Option<(Broker, Pond, Conn)> {
    let broker = broker()?;
    broker.make("t", 2);
    broker.send("t", 0, "k", "old");
    let pond = pond(&broker, &projection("p", &["t"], ""));
    let mut conn = pond.ready(&["p"]);
    // That a marker was passed is told by nothing but the end.
    broker.edit("t", 0, |log| log.commit(7));
    settle(&broker, &mut conn, "p", "t", 2);
    broker.edit("t", 0, |log| {
        append(log);
        log.append(&[record("behind", "v")]);
    });
    Some((broker, pond, conn))
}

fn flipped(at: isize, bits: u8) -> impl Fn(&mut Log) {
    move |log| {
        let offset = log.append(&[record("k", "new")]);
        log.damage(offset, at, bits);
    }
}

fn assert_stands(conn: &mut Conn) {
    until("it stands", || (states(conn, "p") == ["blocked_poison", "live"]).then_some(()));
    assert_eq!(conn.cmd("MGET p:k p:behind").expect_items(), [Reply::Bulk(b"old".into()), Reply::Nil]);
    assert_eq!(applied(conn, "p"), [2, 0]);
}

/// The old value stays and the partition stands at the damaged batch, with others going on. Only PROJECTION.SKIP passes it.
fn stands_until_skipped(append: impl FnOnce(&mut Log)) {
    let Some((broker, _pond, mut conn)) = damaged(append) else { return };
    assert_stands(&mut conn);
    assert_eq!(info(&mut conn, "p")["state"], "blocked_poison");
    let (class, partition, offset, text) = errors(&mut conn, "p").remove(0);
    assert_eq!((&*class, partition, offset), ("crc", 0, 2), "{text}");
    broker.send("t", 1, "other", "v");
    until("the other one goes on", || (conn.cmd("GET p:other") == Reply::Bulk(b"v".into())).then_some(()));
    broker.until_answered(Api::Fetch, 5);
    assert_stands_still(&mut conn);
    for (wrong, reply) in [("0 1", 0), ("0 3", 0), ("1 2", 0), ("0 2", 1)] {
        assert_eq!(conn.cmd(&format!("PROJECTION.SKIP p {wrong}")), Reply::Int(reply), "{wrong}");
    }
    until("what is behind it comes", || (applied(&mut conn, "p")[0] == 4).then_some(()));
    assert_eq!(conn.cmd("MGET p:k p:behind").expect_items(), [b"old", &b"v"[..]].map(|text| Reply::Bulk(text.into())));
    assert_eq!((count(&mut conn, "p", "skipped"), errors(&mut conn, "p").len()), (1, 1), "it is told once");
    broker.send("t", 0, "k", "newest");
    until("the next record heals it", || (conn.cmd("GET p:k") == Reply::Bulk(b"newest".into())).then_some(()));
    assert_eq!(states(&mut conn, "p"), ["live", "live"]);
}

fn assert_stands_still(conn: &mut Conn) {
    assert_eq!((applied(conn, "p")[0], states(conn, "p")[0].as_str()), (2, "blocked_poison"));
}

/// A byte of the value, or of the checksum. And the version of the batch's format, which is not part of what is summed: of one
/// that nobody knows, which the client passes over by itself, and of one that has another checksum.
#[test]
fn a_damaged_batch_is_in_the_way_until_it_is_skipped() {
    let flips = [(place::VALUE, 1), (place::CRC, 0x80), (place::MAGIC, 1), (place::MAGIC, 3)];
    at_once(flips, |(at, bits)| stands_until_skipped(flipped(at, bits)));
}

/// Batches that are not compressed as they say they are, or in a way that nobody knows.
#[test]
fn a_batch_that_cannot_be_unpacked_is_in_the_way_until_it_is_skipped() {
    at_once([1, 2, 3, 4, 7], |codec| stands_until_skipped(|log| _ = log.append_coded(codec, &[record("k", "new")])));
}

/// What was damaged on one broker may be whole on another: a rebuild reads it.
#[test]
fn a_damaged_batch_that_is_repaired() {
    let Some((broker, _pond, mut conn)) = damaged(flipped(place::VALUE, 1)) else { return };
    assert_stands(&mut conn);
    broker.edit("t", 0, |log| log.damage(2, place::VALUE, 1));
    assert_eq!(conn.cmd("PROJECTION.REBUILD p"), Reply::Status("OK".into()));
    settle(&broker, &mut conn, "p", "t", 2);
    assert_eq!(conn.cmd("MGET p:k p:behind").expect_items(), [b"new", &b"v"[..]].map(|text| Reply::Bulk(text.into())));
}

/// A batch whose length is not what it was cannot be told from one that is not there yet: nothing comes of it or after it, the
/// partition ages, and goes on when it is whole.
#[test]
fn a_batch_with_a_wrong_length() {
    let Some((broker, _pond, mut conn)) = damaged(flipped(place::LENGTH, 0x7f)) else { return };
    until("it lacks something", || {
        (count(&mut conn, "p", "lag") == 2 && count(&mut conn, "p", "lag_ms") > 0).then_some(())
    });
    broker.until_answered(Api::Fetch, 5);
    assert_eq!(conn.cmd("MGET p:k p:behind").expect_items(), [Reply::Bulk(b"old".into()), Reply::Nil]);
    broker.edit("t", 0, |log| log.damage(2, place::LENGTH, 0x7f));
    settle(&broker, &mut conn, "p", "t", 2);
}

/// How many records a damaged batch holds cannot be believed: each offset of it is skipped by itself, and not more.
#[test]
fn a_damaged_batch_of_many_records() {
    let Some(broker) = broker() else { return };
    let mut log = Log::default();
    log.append(&[record("a", "1"), record("b", "1")]);
    log.append(&[record("a", "2"), record("b", "2"), record("c", "2")]);
    log.append(&[record("behind", "3")]);
    log.damage(2, place::VALUE, 1);
    broker.make_with("t", vec![log]);
    let pond = pond(&broker, &projection("p", &["t"], "ready: { before_ready: serve }"));
    let mut conn = pond.conn();
    for offset in 2..5 {
        until("it stands", || {
            let at = errors(&mut conn, "p").first().map(|error| error.2);
            (states(&mut conn, "p") == ["blocked_poison"] && at == Some(offset)).then_some(())
        });
        assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(conn.cmd("PROJECTION.WAIT p READY 0"), Reply::Int(0));
        assert_eq!(conn.cmd(&format!("PROJECTION.SKIP p 0 {offset}")), Reply::Int(1));
    }
    pond::ready(&mut conn, "p");
    assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["a", "b", "behind"]);
    assert_eq!(conn.cmd("MGET p:a p:b").expect_items(), [b"1", b"1"].map(|text| Reply::Bulk(text.into())));
}

/// A gap before the damaged batch: one skip is enough to pass what is not there.
#[test]
fn a_damaged_batch_behind_a_gap() {
    let Some(broker) = broker() else { return };
    let mut log = Log::default();
    (0..9).for_each(|n| _ = log.append(&[record(&n.to_string(), "v")]));
    log.compact(|offset, _| offset == 0 || offset >= 7);
    log.drop_empty();
    log.damage(7, place::VALUE, 1);
    broker.make_with("t", vec![log]);
    let pond = pond(&broker, &projection("p", &["t"], "ready: { before_ready: serve }"));
    let mut conn = pond.conn();
    until("it stands", || (states(&mut conn, "p") == ["blocked_poison"]).then_some(()));
    let (class, _, offset, text) = errors(&mut conn, "p").remove(0);
    assert_eq!((&*class, offset), ("crc", 7), "it is told where the batch is: {text}");
    assert_eq!(conn.cmd("PROJECTION.SKIP p 0 7"), Reply::Int(1));
    pond::ready(&mut conn, "p");
    assert_eq!(dump(&mut conn, "p:").into_keys().collect::<Vec<_>>(), ["0", "8"]);
}
