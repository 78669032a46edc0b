//! Projections seen through commands: their keys, their boards, what is asked of them.

use crate::projections::{Asked, Board, ErrorLine, PartitionBoard, Projection, Projections, Refusal, SeekTo, Terms};
use crate::testkit::Testkit;
use std::sync::Arc;
use storage::{Change, Cx, Db, NewValue, Projected, Provenance};

const READONLY: &str = "READONLY key belongs to projection 'users'";

fn partition(topic: &str, partition: i32, applied: i64) -> PartitionBoard {
    PartitionBoard {
        topic: topic.into(),
        partition,
        state: "catchup",
        blocked_at: None,
        is_paused: false,
        applied,
        log: (0, 10),
        lag: 10 - applied,
        lag_ms: None,
        stable_end: None,
    }
}

fn loading() -> Board {
    Board {
        state: "catchup",
        refusal: Some(Refusal::Loading),
        ready: 1,
        percent: 71,
        partitions: vec![partition("u", 0, 10), partition("u", 1, 4)],
        counts: vec![("records", 5)],
        sources: vec![(3, "u".to_owned(), "an-id".to_owned())],
        ..Board::default()
    }
}

const LOADING: Terms = Terms { refuses_before_ready: true, takes_writes: false, takes_flushes: false };

fn ready() -> Board {
    Board { state: "live", is_ready: true, refusal: None, ready: 2, percent: 100, ..loading() }
}

fn kit() -> (Testkit, Arc<Projection>) {
    let mut t = Testkit::new();
    let users = Arc::new(Projection::new("users".to_owned(), Db(0), b"user:", "{}".to_owned(), LOADING));
    t.node.projections = Projections::new(vec![Arc::clone(&users)]);
    (t, users)
}

fn project(t: &Testkit, key: &[u8]) {
    let from = Provenance { source: 3, partition: 1, offset: 42, schema: 7, ..Provenance::default() };
    let mut participant = t.store.join();
    let mut access = participant.batch();
    let change = Change::Put { value: NewValue::Bytes(b"v"), deadline: None };
    access.project(Db(0), access.hash(key), key, Projected::new(change, from), &Cx::at(1));
}

#[test]
fn keys_of_a_projection_are_not_written_by_others() {
    let (mut t, users) = kit();
    users.show(ready());
    project(&t, b"user:1");
    for command in [
        "SET user:1 x",
        "SETEX user:9 5 x",
        "DEL user:1",
        "UNLINK a user:1",
        "EXPIRE user:1 5",
        "PERSIST user:1",
        "INCR user:n",
        "APPEND user:1 x",
        "HSET user:h f v",
        "MSET a 1 user:1 2",
        "MSETNX a 1 user:1 2",
        "GETDEL user:1",
        "GETEX user:1 EX 5",
        "RENAME user:1 a",
        "RENAME a user:1",
        "COPY a user:2",
        "MOVE user:1 1",
        "GETSET user:1 x",
        "SWR.SET user:1 x",
        "SWR.TAG user:1 ADD 1 t",
    ] {
        assert_eq!(t.error(command), READONLY, "{command}");
    }
    assert_eq!(t.run("SET other x"), "+OK\r\n");
    assert_eq!(t.run("COPY user:1 mine"), ":1\r\n");
    assert_eq!(t.run("GET user:1"), "$1\r\nv\r\n");
    for command in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SWAPDB 1 0", "CACHE.REVOKE ALL"] {
        assert_eq!(t.error(command), "READONLY the database holds projection 'users'", "{command}");
    }
    t.run("SELECT 1");
    assert_eq!(t.run("SET user:1 mine"), "+OK\r\n", "another database");
    assert_eq!(t.error("MOVE user:1 0"), READONLY);
    assert_eq!(t.error("COPY user:1 user:2 DB 0"), READONLY);
    assert_eq!(t.run("FLUSHDB"), "+OK\r\n");
    // In a transaction each is judged when it runs.
    t.run("SELECT 0");
    t.run("MULTI");
    assert_eq!(t.run("SET user:1 x"), "+QUEUED\r\n");
    t.run("SELECT 1");
    t.run("SET user:1 x");
    t.run("SELECT 0");
    assert_eq!(t.run("EXEC"), format!("*4\r\n-{READONLY}\r\n+OK\r\n+OK\r\n+OK\r\n"));
}

#[test]
fn revokes_of_groups_pass_over_projected_entries() {
    let (mut t, users) = kit();
    users.show(ready());
    project(&t, b"user:1");
    t.run("SET mine x");
    for command in [
        "CACHE.REVOKE PREFIX user:",
        "CACHE.REVOKE MATCH ?*",
        "CACHE.REVOKE KEY user:1",
        "CACHE.REVOKE SOFT KEY user:1",
        "CACHE.PURGE PREFIX user: LIMIT 5",
        "CACHE.PURGE MATCH user:*",
    ] {
        t.run(command);
        assert_eq!(t.run("GET user:1"), "$1\r\nv\r\n", "{command}");
    }
    assert_eq!(t.run("GET mine"), "$-1\r\n");
}

#[test]
fn readers_are_refused_until_it_has_caught_up() {
    let (mut t, users) = kit();
    project(&t, b"user:1");
    assert_eq!(t.error("GET user:1"), "LOADING projection 'users' catching up (0/0 partitions, 0%)");
    users.show(loading());
    for command in
        ["GET user:1", "MGET a user:1", "EXISTS user:1", "TTL user:x", "TYPE user:1", "HGETALL user:1", "COPY user:1 a"]
    {
        assert_eq!(t.error(command), "LOADING projection 'users' catching up (1/2 partitions, 71%)", "{command}");
    }
    assert_eq!(t.run("GET other"), "$-1\r\n");
    users.show(ready());
    assert_eq!(t.run("GET user:1"), "$1\r\nv\r\n");
    users.show(Board { refusal: Some(Refusal::Stale), lag_ms: 31_000, ..ready() });
    assert_eq!(t.error("GET user:1"), "STALE projection 'users' is 31000 ms old");
}

#[test]
fn boards_are_told() {
    let (mut t, users) = kit();
    users.show(loading());
    assert_eq!(t.run("PROJECTION.LIST"), "*1\r\n*2\r\n$5\r\nusers\r\n$7\r\ncatchup\r\n");
    let info = t.resp3().run("PROJECTION.INFO users PARTITIONS");
    assert!(info.starts_with("%14\r\n$4\r\nname\r\n$5\r\nusers\r\n"), "{info}");
    assert!(info.contains("$7\r\nrecords\r\n:5\r\n") && info.contains("$7\r\napplied\r\n:4\r\n"), "{info}");
    assert_eq!(
        t.run("PROJECTION.OFFSETS users"),
        "%3\r\n$1\r\n0\r\n:10\r\n$1\r\n1\r\n:4\r\n$5\r\ntoken\r\n$8\r\n0=10,1=4\r\n"
    );
    assert_eq!(t.run("PROJECTION.DESCRIBE users"), "$2\r\n{}\r\n");
    for command in [
        "INFO nobody",
        "OFFSETS nobody",
        "PAUSE nobody",
        "REBUILD nobody",
        "ERRORS nobody",
        "WAIT nobody READY 1",
        "SKIP n 0 1",
    ] {
        assert_eq!(t.error(&format!("PROJECTION.{command}")), "ERR no such projection");
    }
    assert!(
        t.run("INFO projections")
            .contains("projection_users:state=catchup,partitions=2,ready=1,lag=0,lag_ms=0,records=5,")
    );
}

#[test]
fn keys_tell_where_they_come_from() {
    let (mut t, users) = kit();
    users.show(ready());
    project(&t, b"user:1");
    t.run("SET mine x");
    let key = t.resp3().run("PROJECTION.KEY user:1");
    for part in
        ["$5\r\nusers\r\n", "$5\r\ntopic\r\n$1\r\nu\r\n", "$6\r\noffset\r\n:42\r\n", "$9\r\nschema_id\r\n:7\r\n"]
    {
        assert!(key.contains(part), "{key}");
    }
    assert_eq!(t.run("PROJECTION.KEY mine"), "_\r\n");
    assert_eq!(t.run("PROJECTION.KEY user:nope"), "_\r\n");
}

#[test]
fn runners_are_asked() {
    let (mut t, users) = kit();
    let mut board = loading();
    board.partitions[1].blocked_at = Some(4);
    board.errors = (0..3)
        .map(|offset| ErrorLine {
            class: "decode",
            topic: "u".to_owned(),
            partition: 1,
            offset,
            at_ms: 9,
            text: "bad".to_owned(),
        })
        .collect();
    users.show(board);
    assert_eq!(t.run("PROJECTION.PAUSE users"), ":2\r\n");
    assert_eq!(t.run("PROJECTION.RESUME users PARTITION 1"), ":0\r\n");
    assert_eq!(t.error("PROJECTION.PAUSE users PARTITION 7"), "ERR no such partition");
    assert_eq!(t.run("PROJECTION.REBUILD users SWEEP"), "+OK\r\n");
    assert_eq!(t.run("PROJECTION.SKIP users 1 4"), ":1\r\n");
    assert_eq!(t.run("PROJECTION.SKIP users 1 5"), ":0\r\n");
    assert_eq!(t.run("PROJECTION.SKIP users 0 10"), ":0\r\n");
    assert!(t.run("PROJECTION.ERRORS users COUNT 2 RESET").starts_with("*2\r\n"));
    assert_eq!(
        users.take_asked(),
        [
            Asked::Pause(None),
            Asked::Resume(Some(("u".to_owned(), 1))),
            Asked::Rebuild { is_shadow: false },
            Asked::Skip("u".to_owned(), 1, 4),
            Asked::ResetErrors,
        ]
    );
    (0..1000).for_each(|_| drop(t.run("PROJECTION.REBUILD users")));
    assert_eq!(t.error("PROJECTION.REBUILD users"), "ERR too many requests wait for that projection");
}

#[test]
fn waits_that_are_over_at_once() {
    let (mut t, users) = kit();
    users.show(loading());
    assert_eq!(t.run("PROJECTION.WAIT users READY 0"), ":0\r\n");
    assert_eq!(t.run("PROJECTION.WAIT users OFFSET 0 9 1000"), ":1\r\n");
    assert_eq!(t.run("PROJECTION.WAIT users OFFSET 0 9 1 3 1000"), ":1\r\n");
    assert_eq!(t.run("PROJECTION.WAIT users OFFSET 1 4 0"), ":0\r\n");
    assert_eq!(t.run("PROJECTION.WAIT users TOKEN 0=10,1=4 1000"), ":1\r\n");
    assert_eq!(t.run("PROJECTION.WAIT users TOKEN 0=10,1=5 0"), ":0\r\n");
    users.show(ready());
    assert_eq!(t.run("PROJECTION.WAIT users READY 1000"), ":1\r\n");
    for (words, error) in [
        ("READY x", "ERR value is not an integer or out of range"),
        ("READY -1", "ERR timeout is negative"),
        ("OFFSET 0 1000", "ERR syntax error"),
        ("OFFSET 7 1 1000", "ERR no such partition"),
        ("TOKEN 0:1 1000", "ERR that is no token"),
        ("SOON 1000", "ERR syntax error"),
    ] {
        assert_eq!(t.error(&format!("PROJECTION.WAIT users {words}")), error, "{words}");
    }
}

fn of(terms: Terms) -> (Testkit, Arc<Projection>) {
    let mut t = Testkit::new();
    let users = Arc::new(Projection::new("users".to_owned(), Db(0), b"user:", "{}".to_owned(), terms));
    t.node.projections = Projections::new(vec![Arc::clone(&users)]);
    users.show(ready());
    project(&t, b"user:1");
    (t, users)
}

/// Where that is allowed, a database is emptied, and its projections are asked to read all anew; readers are refused from then on.
#[test]
fn a_flush_that_is_allowed_begins_anew() {
    let (mut t, users) = of(Terms { takes_flushes: true, ..LOADING });
    assert_eq!(t.error("SWAPDB 0 1"), "READONLY the database holds projection 'users'");
    for flush in ["FLUSHALL", "FLUSHDB ASYNC"] {
        users.show(ready());
        project(&t, b"user:1");
        assert_eq!(t.run("GET user:1"), "$1\r\nv\r\n");
        assert_eq!(t.run(flush), "+OK\r\n");
        assert!(t.error("GET user:1").starts_with("LOADING "), "{flush}");
        // What its runner shows before it knows is from before.
        users.show(ready());
        assert!(t.error("GET user:1").starts_with("LOADING ") && !users.board().is_ready, "{flush}");
        assert_eq!((users.take_reload(), users.take_reload()), (true, false));
        users.reloads();
    }
    t.run("SELECT 1");
    assert_eq!(t.run("FLUSHDB"), "+OK\r\n");
    assert!(!users.take_reload());
}

/// Overlays are written by clients too; who wrote an entry is told.
#[test]
fn overlays_take_writes() {
    let (mut t, _) = of(Terms { takes_writes: true, ..LOADING });
    assert_eq!(t.run("SET user:1 mine"), "+OK\r\n");
    assert_eq!(t.run("HSET user:2 f v"), ":1\r\n");
    let key = t.resp3().run("PROJECTION.KEY user:1");
    assert!(key.contains("$5\r\nlocal\r\n:1\r\n") && key.contains("$6\r\noffset\r\n:-1\r\n"), "{key}");
    assert_eq!(t.run("DEL user:1 user:2"), ":2\r\n");
    assert_eq!(t.error("FLUSHDB"), "READONLY the database holds projection 'users'");
}

#[test]
fn poisoned_keys_are_not_read() {
    let (mut t, users) = of(LOADING);
    users.set_poisoned(b"user:1"[..].into(), true);
    for command in ["GET user:1", "MGET a user:1", "EXISTS user:1", "COPY user:1 a"] {
        assert_eq!(
            t.error(command),
            "POISON the last record of that key in projection 'users' cannot be read",
            "{command}"
        );
    }
    assert_eq!(t.run("GET user:2"), "$-1\r\n");
    users.set_poisoned(b"user:1"[..].into(), false);
    assert_eq!(t.run("GET user:1"), "$1\r\nv\r\n");
}

#[test]
fn seeks_are_asked_for() {
    let (mut t, users) = of(LOADING);
    for (words, error) in [
        ("7 0", "ERR no such partition"),
        ("0 -1", "ERR syntax error"),
        ("0 soon", "ERR syntax error"),
        ("0 @x", "ERR syntax error"),
    ] {
        assert_eq!(t.error(&format!("PROJECTION.SEEK users {words}")), error, "{words}");
    }
    t.run("MULTI");
    t.run("PROJECTION.SEEK users 0 END");
    assert!(t.run("EXEC").contains("which a transaction cannot"));
    for (word, to) in [
        ("BEGINNING", SeekTo::Beginning),
        ("end", SeekTo::End),
        ("5", SeekTo::Offset(5)),
        ("@1700", SeekTo::Time(1700)),
    ] {
        t.run(&format!("PROJECTION.SEEK users 1 {word}"));
        let asked = users.take_asked();
        assert!(
            matches!(&asked[..], [Asked::Seek { partition, to: found, .. }] if *found == to && *partition == ("u".to_owned(), 1)),
            "{asked:?}"
        );
    }
    users.tell_sought(7, Ok(5));
    assert_eq!((users.take_sought(7), users.take_sought(7)), (Some(Ok(5)), None));
}
