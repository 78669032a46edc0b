//! Loads that are not their readers': workers, memoised calls, plain reads, loads ahead of time.

use super::*;

/// Lines of a reply that are text.
fn texts(reply: &str) -> Vec<String> {
    let mut lines = reply.split("\r\n");
    let mut texts = Vec::new();
    while let Some(line) = lines.next() {
        match line.as_bytes().first() {
            Some(b'$') if line == "$-1" => texts.push("nil".into()),
            Some(b'$') => texts.push(lines.next().unwrap().to_owned()),
            Some(b':' | b'+') => texts.push(line[1..].to_owned()),
            _ => {}
        }
    }
    texts
}

fn worker_kit() -> (Testkit, usize, usize) {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET w PREFIX w: LOADER worker FRESH 100 STALE 1000");
    let (reader, worker) = (t.connect(), t.connect());
    (t, reader, worker)
}

#[test]
fn a_worker_loads_for_plain_readers() {
    let (mut t, reader, worker) = worker_kit();
    assert_eq!(t.on(worker).run("SWR.NEXT w BLOCK 60000"), "");
    assert_eq!(t.on(reader).run("GET w:1"), "$-1\r\n");
    let replies = t.settle();
    assert_eq!((replies.len(), replies[0].0), (1, worker));
    let job = texts(&replies[0].1);
    assert_eq!(
        [&*job[0], &*job[2], &*job[3], &*job[4], &*job[5], &*job[6]],
        ["w:1", "miss", "nil", "nil", "10000", "nil"]
    );
    // One load, whoever asks meanwhile.
    assert_eq!(t.on(reader).run("GET w:1"), "$-1\r\n");
    assert_eq!(t.on(worker).run("SWR.NEXT w"), "*0\r\n");
    assert_eq!(t.run(&format!("SWR.FILL w:1 {} VALUE v ETAG e", job[1])), "+OK\r\n");
    assert_eq!(t.on(reader).run("GET w:1"), "$1\r\nv\r\n");
    t.advance_ms(100);
    // Stale: served, and one more load.
    assert_eq!(t.on(reader).run("GET w:1"), "$1\r\nv\r\n");
    assert_eq!(t.on(reader).run("GET w:1"), "$1\r\nv\r\n");
    let jobs = texts(&t.on(worker).run("SWR.NEXT w COUNT 5"));
    assert_eq!([&*jobs[0], &*jobs[2], &*jobs[3], &*jobs[4]], ["w:1", "stale", "v", "e"]);
    assert_eq!(jobs.len(), 7);
}

#[test]
fn readers_of_cold_keys_may_wait() {
    let (mut t, reader, worker) = worker_kit();
    t.run("CACHE.SERVICE SET w COLD 'wait 500'");
    assert_eq!(t.on(reader).run("GET w:1"), "");
    let other = t.connect();
    assert_eq!(t.run("SWR.GET w:1 WAIT 500"), "");
    let job = texts(&t.on(worker).run("SWR.NEXT w"));
    t.run(&format!("SWR.FILL w:1 {} VALUE v", job[1]));
    let mut replies = t.settle();
    replies.sort();
    assert_eq!(
        replies,
        [(reader, "$1\r\nv\r\n".into()), (other, "*4\r\n+FILLED\r\n$1\r\nv\r\n$-1\r\n:100\r\n".into())]
    );
    // Not for ever, and not in a transaction.
    assert_eq!(t.on(reader).run("GET w:2"), "");
    t.advance_ms(500);
    assert_eq!(t.settle(), [(reader, "$-1\r\n".to_owned())]);
    t.run("MULTI");
    t.run("GET w:3");
    assert_eq!(t.run("EXEC"), "*1\r\n$-1\r\n");
    assert_eq!(texts(&t.on(worker).run("SWR.NEXT w COUNT 9")).iter().filter(|text| **text == "miss").count(), 2);
}

#[test]
fn a_lost_worker_is_replaced() {
    let (mut t, reader, worker) = worker_kit();
    t.on(reader).run("SWR.GET w:1 WAIT 60000");
    texts(&t.on(worker).run("SWR.NEXT w"));
    // The end of its connection releases the load; whoever waits begins it anew.
    t.disconnect(worker);
    assert!(t.settle().is_empty());
    let second = t.connect();
    let job = texts(&t.run("SWR.NEXT w"));
    assert_eq!(job[0], "w:1");
    // And so does the end of its lease.
    t.advance_ms(10_000);
    t.on(reader);
    let replies = t.settle();
    assert_eq!(replies.len(), 1, "WAITMAX has passed: {replies:?}");
    let third = t.connect();
    t.on(reader).run("SWR.GET w:1 WAIT 60000");
    let job = texts(&t.on(third).run("SWR.NEXT w"));
    assert_eq!(t.on(third).run(&format!("SWR.FILL w:1 {} VALUE v", job[1])), "+OK\r\n");
    assert_eq!(t.settle().len(), 1);
    let _ = second;
}

#[test]
fn workers_that_go_leave_their_jobs_to_others() {
    let (mut t, reader, worker) = worker_kit();
    let other = t.connect();
    t.on(worker).run("SWR.NEXT w BLOCK 60000");
    t.on(other).run("SWR.NEXT w BLOCK 60000");
    t.on(reader).run("GET w:1");
    // The first one is woken, and gone before it is told.
    t.disconnect(worker);
    let replies = t.settle();
    assert_eq!((replies.len(), replies[0].0), (1, other));
    // A worker's time ends too.
    let idle = t.connect();
    t.on(idle).run("SWR.NEXT w BLOCK 100");
    t.advance_ms(100);
    assert_eq!(t.settle(), [(idle, "*0\r\n".to_owned())]);
}

#[test]
fn failures_of_others_are_told_to_all() {
    let (mut t, reader, worker) = worker_kit();
    t.on(reader).run("SWR.GET w:1 WAIT 5000");
    let job = texts(&t.on(worker).run("SWR.NEXT w"));
    t.run("CACHE.SERVICE SET w ONFAIL error");
    assert_eq!(t.run(&format!("SWR.FAIL w:1 {}", job[1])), ":1\r\n");
    assert_eq!(t.settle(), [(reader, "*4\r\n+ERR\r\n$-1\r\n$-1\r\n:1000\r\n".to_owned())]);
    assert_eq!(t.on(reader).run("GET w:1"), "$-1\r\n");
    assert_eq!(t.on(worker).run("SWR.NEXT w"), "*0\r\n");
}

#[test]
fn loads_ahead_of_time() {
    let (mut t, _, worker) = worker_kit();
    assert_eq!(t.run("SWR.WARM w:1 w:2 w:1 other"), ":2\r\n");
    let jobs = texts(&t.on(worker).run("SWR.NEXT w COUNT 9"));
    assert_eq!(jobs.iter().filter(|text| **text == "warm").count(), 2);
    t.run(&format!("SWR.FILL w:1 {} VALUE v", jobs[1]));
    assert_eq!((t.run("SWR.WARM w:1"), t.run("SWR.REFRESH w:1 w:9 other")), (":0\r\n".into(), ":1\r\n".into()));
    assert_eq!(ask(&mut t, "SWR.PEEK w:1").state, "STALE");
    assert_eq!(texts(&t.on(worker).run("SWR.NEXT w"))[2], "stale");
    t.run("SET other v");
    assert_eq!(t.run("SWR.REFRESH other"), ":1\r\n");
    assert_eq!(told(&mut t, "SWR.GET other"), is("STALE", Some("v"), true, -1));
}

#[test]
fn misuse_of_workers() {
    let (mut t, ..) = worker_kit();
    for (line, error) in [
        ("SWR.NEXT nobody", "NOSERVICE no such service"),
        ("SWR.NEXT *", "ERR LOADER of that service is not worker"),
        ("SWR.NEXT w COUNT 0", "ERR count should be between 1 and 1000"),
        ("SWR.NEXT w COUNT x", "ERR value is not an integer or out of range"),
        ("SWR.NEXT w BLOCK -1", "ERR value is not an integer or out of range"),
        ("SWR.NEXT w COUNT", "NOSERVICE no such service"),
        ("SWR.MEMO nobody x", "NOSERVICE no such service"),
        ("SWR.MEMO w x NOPE", "ERR syntax error"),
        (
            "CACHE.SERVICE SET w LOADER origin",
            "ERR LOADER origin and WRITE through need an ORIGIN; for writes it has a place for the key",
        ),
        ("CACHE.SERVICE SET w PERSIST yes", "ERR PERSIST needs snapshots, and there are none yet"),
        ("CACHE.SERVICE SET w ORIGIN ftp://x/", "ERR invalid value for field 'ORIGIN'"),
        ("CACHE.SERVICE SET w COLD wait", "ERR invalid value for field 'COLD'"),
    ] {
        assert_eq!(t.error(line), error, "{line}");
    }
}

#[test]
fn one_payload_has_one_id_and_is_computed_once() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET calc PREFIX calc: FRESH 60000");
    let first = t.run_args(&[b"SWR.MEMO", b"calc", br#"{"a": 1, "b": [2.50, "x"]}"#]);
    let parts = texts(&first);
    assert_eq!((parts[0].len(), &*parts[1], parts[3].len()), (64, "MISS", 24), "{first}");
    let second = t.connect();
    // The same document in another spelling: this caller waits without asking to.
    assert_eq!(t.run_args(&[b"SWR.MEMO", b"calc", br#"{ "b":[25e-1,"\u0078"], "a":1.0 }"#]), "");
    t.on(0).run(&format!("SWR.FILL calc:{} {} VALUE result", parts[0], parts[3]));
    let replies = t.settle();
    assert_eq!(replies.len(), 1);
    assert_eq!(texts(&replies[0].1)[..3], [parts[0].clone(), "FILLED".into(), "result".into()]);
    assert_eq!(texts(&t.on(second).run_args(&[b"SWR.MEMO", b"calc", br#"{"b":[2.5,"x"],"a":1}"#]))[1], "HIT");
    assert_eq!(t.run(&format!("GET calc:{}", parts[0])), "$6\r\nresult\r\n");
    // Numbers that would become one number, and the limit.
    t.run("CACHE.SERVICE SET calc PAYLOAD json");
    let error = t.run_args(&[b"SWR.MEMO", b"calc", b"[9007199254740993]"]);
    assert!(error.starts_with("-ERR payload is not canonical JSON: a number"), "{error}");
    t.run("CONFIG SET memo-max-payload 4");
    assert_eq!(t.run("SWR.MEMO calc [1,2]"), "-ERR payload is longer than memo-max-payload\r\n");
    // Bytes are taken as they are.
    t.run("CACHE.SERVICE SET calc PAYLOAD bytes");
    let (a, b) = (t.run("SWR.MEMO calc [1] WAIT 0"), t.run_args(&[b"SWR.MEMO", b"calc", b"[1 ]"]));
    assert_ne!(texts(&a)[0], texts(&b)[0]);
}

#[test]
fn workers_get_canonical_payloads() {
    let (mut t, reader, worker) = worker_kit();
    t.on(reader).run_args(&[b"SWR.MEMO", b"w", br#"{"b":1,"a":2}"#]);
    let job = texts(&t.on(worker).run("SWR.NEXT w"));
    assert_eq!(job[6], r#"{"a":2,"b":1}"#);
    assert_eq!(t.run(&format!("SWR.FILL {} {} VALUE v", job[0], job[1])), "+OK\r\n");
    assert_eq!(texts(&t.settle()[0].1)[1..3], ["FILLED", "v"]);
}

/// Nobody has to wait for a job to be done again: it is another worker's once its own has gone or hangs.
/// One that was given back waits for the next reader.
#[test]
fn jobs_of_lost_workers_are_done_by_others() {
    let (mut t, _, worker) = worker_kit();
    let other = t.connect();
    assert_eq!(t.run("SWR.WARM w:1"), ":1\r\n");
    assert_eq!(texts(&t.on(worker).run("SWR.NEXT w"))[0], "w:1");
    assert_eq!(t.on(other).run("SWR.NEXT w BLOCK 0"), "");
    t.disconnect(worker);
    let replies = t.settle();
    assert_eq!((replies.len(), &*texts(&replies[0].1)[0]), (1, "w:1"));
    // It hangs.
    let third = t.connect();
    t.on(third).run("SWR.NEXT w BLOCK 0");
    t.advance_ms(9_999);
    assert!(t.settle().is_empty());
    t.advance_ms(600);
    let replies = t.settle();
    assert_eq!((replies.len(), replies[0].0), (1, third));
    let token = texts(&replies[0].1)[1].clone();
    // It gives it back.
    assert_eq!(t.on(third).run(&format!("SWR.YIELD w:1 {token}")), ":1\r\n");
    t.advance_ms(10_000);
    assert_eq!(t.on(other).run("SWR.NEXT w"), "*0\r\n");
    t.run("GET w:1");
    let job = texts(&t.on(other).run("SWR.NEXT w"));
    assert_eq!(job[0], "w:1");
    // It answers: no more of that.
    t.run(&format!("SWR.FILL w:1 {} VALUE v FRESH 100000 STALE 100000", job[1]));
    t.advance_ms(20_000);
    assert_eq!(t.on(other).run("SWR.NEXT w"), "*0\r\n");
}

/// An id says nothing about its payload: a read without it begins no load.
#[test]
fn results_are_not_loaded_by_their_ids() {
    let (mut t, reader, worker) = worker_kit();
    let id = "0123456789abcdef".repeat(4);
    assert_eq!(t.on(reader).run(&format!("GET w:{id}")), "$-1\r\n");
    assert_eq!(t.run(&format!("SWR.WARM w:{id}")), ":0\r\n");
    assert_eq!(t.on(worker).run("SWR.NEXT w"), "*0\r\n");
}

#[test]
fn jobs_are_of_one_database_and_not_without_bound() {
    let (mut t, _, _) = worker_kit();
    // A service of all keys has jobs of every database: each worker gets those of its own.
    t.run("CACHE.SERVICE SET * LOADER worker BACKOFF 1000");
    t.run("GET a");
    t.run("SELECT 1");
    t.run("GET b");
    assert_eq!(t.error("SWR.NEXT w"), "ERR that service belongs to another database");
    assert_eq!(texts(&t.run("SWR.NEXT * COUNT 9"))[0], "b");
    t.run("SELECT 0");
    assert_eq!(texts(&t.run("SWR.NEXT * COUNT 9"))[0], "a");
    // Nobody works: jobs are dropped with their leases, and beyond their bound refused.
    (0..70_000).for_each(|n| drop(t.run(&format!("GET n{n}"))));
    assert_eq!(t.node.jobs.waiting(), 65_536);
    assert_eq!(told(&mut t, "SWR.GET n69999 NOLEASE").0, "ERR");
    t.advance_ms(10_000);
    t.run("GET one-more");
    assert_eq!(t.node.jobs.waiting(), 1);
    // In a transaction too; and none are kept for a service without workers.
    t.run("MULTI");
    t.run("SWR.NEXT * COUNT 9 BLOCK 0");
    let replies = t.run("EXEC");
    assert!(replies.contains("one-more"), "{replies}");
    t.run("GET another");
    t.run("CACHE.SERVICE SET * LOADER lease");
    assert_eq!(t.node.jobs.waiting(), 0);
}

/// What a worker fails nobody else loads: whoever waits is told.
#[test]
fn those_who_wait_for_a_worker_that_fails_are_told() {
    let (mut t, reader, worker) = worker_kit();
    t.on(reader).run("SWR.GET w:1 WAIT 5000");
    let job = texts(&t.on(worker).run("SWR.NEXT w"));
    assert_eq!(t.run(&format!("SWR.FAIL w:1 {} MSG no", job[1])), ":1\r\n");
    let replies = t.settle();
    assert!(replies.len() == 1 && replies[0].1.contains("+ERR"), "{replies:?}");
}

/// What was answered is not begun anew, whatever becomes of the key.
#[test]
fn answered_jobs_are_over() {
    let (mut t, reader, worker) = worker_kit();
    for forget in ["DEL w:1", "FLUSHALL", "CACHE.REVOKE ALL"] {
        t.on(reader).run("GET w:1");
        let job = texts(&t.on(worker).run("SWR.NEXT w"));
        // From another connection than the worker's, which goes on to hold it.
        assert_eq!(t.on(reader).run(&format!("SWR.FILL w:1 {} VALUE v", job[1])), "+OK\r\n");
        t.run(forget);
        t.advance_ms(20_000);
        assert_eq!(t.on(worker).run("SWR.NEXT w"), "*0\r\n", "{forget}");
    }
    t.disconnect(worker);
    let other = t.connect();
    assert_eq!(t.on(other).run("SWR.NEXT w"), "*0\r\n");
}

#[test]
fn a_service_named_twice_is_one_queue() {
    let (mut t, reader, worker) = worker_kit();
    t.on(worker).run("SWR.NEXT w w BLOCK 0");
    t.on(reader).run("GET w:1");
    assert_eq!(texts(&t.settle()[0].1)[0], "w:1");
}

/// A job that is dropped gives the place of its lease back at once.
#[test]
fn dropped_jobs_hold_no_places() {
    let (mut t, reader, worker) = worker_kit();
    t.run("CACHE.SERVICE SET w MAXLOADS 1");
    t.on(reader).run("GET w:1");
    t.run("DEL w:1");
    assert_eq!(t.on(worker).run("SWR.NEXT w"), "*0\r\n");
    t.on(reader).run("GET w:2");
    assert_eq!(texts(&t.on(worker).run("SWR.NEXT w"))[0], "w:2");
    let job = texts(&t.run("SWR.NEXT w"));
    assert!(job.is_empty(), "one at a time: {job:?}");
    // Readers load from now on: nobody waits for a job that no worker will do.
    t.run("CACHE.SERVICE SET w MAXLOADS 0");
    t.on(reader).run("GET w:3");
    t.run("CACHE.SERVICE SET w LOADER lease");
    assert_eq!(ask(&mut t, "SWR.GET w:3").state, "MISS");
    assert!(ask(&mut t, "SWR.GET w:4").token.is_some());
}

/// A load that a reader began himself is none that he was spared.
#[test]
fn who_begins_a_load_is_not_spared_it() {
    let (mut t, reader, worker) = worker_kit();
    let other = t.connect();
    t.on(reader).run("SWR.GET w:1 WAIT 5000");
    t.on(other).run("SWR.GET w:1 WAIT 5000");
    let job = texts(&t.on(worker).run("SWR.NEXT w"));
    t.run(&format!("SWR.FILL w:1 {} VALUE v", job[1]));
    assert_eq!(t.settle().len(), 2);
    assert!(t.run("INFO swr").contains("swr_coalesced:1\r\n"));
}
