//! Services: definitions, inheritance, and the commands that go by their names.

use crate::testkit::Testkit;

/// The value behind a name in a flat reply.
fn value(reply: &str, name: &str) -> String {
    let lines: Vec<&str> = reply.split("\r\n").collect();
    let at = lines.iter().position(|line| *line == name).unwrap_or_else(|| panic!("no {name} in {reply:?}"));
    let next = lines[at + 1];
    if let Some(number) = next.strip_prefix(':') { number.to_owned() } else { lines[at + 2].to_owned() }
}

fn state(t: &mut Testkit, line: &str) -> String {
    t.run(line).split("\r\n").nth(1).unwrap().trim_start_matches('+').to_owned()
}

#[test]
fn three_levels_inherit() {
    let mut t = Testkit::new();
    assert_eq!(t.run("CACHE.SERVICE SET * FRESH 1000 NEG 700"), "+OK\r\n");
    // In any order of definition.
    assert_eq!(t.run("CACHE.SERVICE SET user.get_user PREFIX user:get_user: STALE 9000"), "+OK\r\n");
    assert_eq!(t.run("CACHE.SERVICE SET user PREFIX user: fresh 2000 lease 500"), "+OK\r\n");
    for (key, name, fresh, stale, neg, lease) in [
        ("user:get_user:7", "user.get_user", "2000", "9000", "700", "500"),
        ("user:get_user", "user", "2000", "none", "700", "500"),
        ("user:", "user", "2000", "none", "700", "500"),
        ("usr:1", "*", "1000", "none", "700", "10000"),
    ] {
        let reply = t.run(&format!("CACHE.SERVICE RESOLVE {key}"));
        let found = ["name", "fresh", "stale", "neg", "lease"].map(|field| value(&reply, field));
        assert_eq!(found, [name, fresh, stale, neg, lease], "{key}");
    }
    assert_eq!(t.run("CACHE.SERVICE LIST"), "*3\r\n$1\r\n*\r\n$4\r\nuser\r\n$13\r\nuser.get_user\r\n");
    // A change reaches those below.
    t.run("CACHE.SERVICE SET user FRESH 3000");
    assert_eq!(value(&t.run("CACHE.SERVICE RESOLVE user:get_user:7"), "fresh"), "3000");
    assert_eq!((t.run("CACHE.SERVICE DEL user"), t.run("CACHE.SERVICE DEL user")), (":1\r\n".into(), ":0\r\n".into()));
    assert_eq!(value(&t.run("CACHE.SERVICE RESOLVE user:get_user:7"), "fresh"), "1000");
    // A field that is set can be left open again; those of all keys are counted on.
    t.run("SWR.GET other");
    t.run("CACHE.SERVICE SET * FRESH inherit");
    assert_eq!(value(&t.run("CACHE.SERVICE RESOLVE user:get_user:7"), "fresh"), "none");
    assert_eq!((value(&t.run("CACHE.STATS *"), "miss"), t.run("CACHE.SERVICE DEL *")), ("1".into(), ":1\r\n".into()));
    assert_eq!(value(&t.run("CACHE.STATS *"), "miss"), "1");
    assert!(t.run("CACHE.SERVICE GET user.get_user").ends_with("$5\r\nstale\r\n$4\r\n9000\r\n"));
}

#[test]
fn wrong_definitions_change_nothing() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET user PREFIX user: FRESH 1000");
    let long = "x".repeat(65);
    let prefix = "x".repeat(513);
    for (line, error) in [
        ("CACHE.SERVICE SET new", "ERR a new service needs a PREFIX of 1 to 512 bytes"),
        (&*format!("CACHE.SERVICE SET new PREFIX {prefix}"), "ERR a new service needs a PREFIX of 1 to 512 bytes"),
        ("CACHE.SERVICE SET new PREFIX user:", "ERR another service has that prefix"),
        ("CACHE.SERVICE SET user PREFIX other:", "ERR PREFIX and DB of a service cannot be changed"),
        ("CACHE.SERVICE SET user DB 3", "ERR PREFIX and DB of a service cannot be changed"),
        ("CACHE.SERVICE SET * PREFIX x", "ERR PREFIX and DB of a service cannot be changed"),
        ("CACHE.SERVICE SET a/b PREFIX x", "ERR invalid service name"),
        (&format!("CACHE.SERVICE SET {long} PREFIX x"), "ERR invalid service name"),
        ("CACHE.SERVICE SET user NOPE 1", "ERR unknown field 'NOPE'"),
        ("CACHE.SERVICE SET user FRESH x", "ERR invalid value for field 'FRESH'"),
        ("CACHE.SERVICE SET user FRESH", "ERR syntax error"),
        ("CACHE.SERVICE SET user FRESH 1 fresh 2", "ERR syntax error"),
        ("CACHE.SERVICE SET user STALE 500", "ERR windows out of order"),
        ("CACHE.SERVICE SET user DB 99", "ERR DB index is out of range"),
        ("CACHE.SERVICE GET nobody", "NOSERVICE no such service"),
        ("CACHE.CLEAR nobody", "NOSERVICE no such service"),
        ("CACHE.DELETE nobody k", "NOSERVICE no such service"),
        ("CACHE.STATS nobody", "NOSERVICE no such service"),
        ("CACHE.REVOKE SERVICE nobody", "NOSERVICE no such service"),
        ("CACHE.CLEAR user TAG t", "ERR syntax error"),
        ("CACHE.PURGE ALL SOFT", "ERR syntax error"),
        ("CACHE.PURGE HARD", "ERR syntax error"),
    ] {
        assert_eq!(t.error(line), error, "{line}");
    }
    assert_eq!(value(&t.run("CACHE.SERVICE GET user"), "fresh"), "1000");
    // Nor is one taken away that others rest on.
    for line in [
        "CACHE.SERVICE SET * FRESH 60000 STALE 600000",
        "CACHE.SERVICE SET top PREFIX top: FRESH 10000",
        "CACHE.SERVICE SET top.low PREFIX top:low: STALE 30000",
    ] {
        assert_eq!(t.run(line), "+OK\r\n");
    }
    assert_eq!(t.error("CACHE.SERVICE DEL top"), "ERR windows out of order");
    for line in ["CACHE.SERVICE DEL top.low", "CACHE.SERVICE DEL top", "CACHE.SERVICE DEL *"] {
        assert_eq!(t.run(line), ":1\r\n");
    }
    assert_eq!(t.run("CACHE.SERVICE LIST"), "*1\r\n$4\r\nuser\r\n");
}

#[test]
fn services_are_cleared_and_their_keys_deleted() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET user PREFIX user:");
    t.run("MSET user:1 a user:2 b other c");
    assert_eq!(t.run("CACHE.DELETE user 1 3"), ":1\r\n");
    assert_eq!(t.run("MGET user:1 user:2 other"), "*3\r\n$-1\r\n$1\r\nb\r\n$1\r\nc\r\n");
    assert_eq!(t.run("CACHE.CLEAR user SOFT STALEFOR 100"), ":1\r\n");
    assert_eq!(state(&mut t, "SWR.PEEK user:2"), "STALE");
    assert_eq!(t.run("CACHE.CLEAR user"), ":2\r\n");
    assert_eq!(t.run("MGET user:2 other"), "*2\r\n$-1\r\n$1\r\nc\r\n");
    // Its keys are those of its database, whatever is selected.
    t.run("SET user:2 b");
    t.run("SELECT 1");
    t.run("SET user:2 c");
    assert_eq!(t.error("CACHE.REVOKE SERVICE user"), "ERR that service belongs to another database");
    assert_eq!(t.run("CACHE.CLEAR user"), ":3\r\n");
    assert_eq!(t.run("GET user:2"), "$1\r\nc\r\n");
    t.run("SELECT 0");
    assert_eq!(t.run("GET user:2"), "$-1\r\n");
    t.run("SELECT 1");
    assert_eq!(value(&t.run("CACHE.SERVICE RESOLVE user:2"), "name"), "*");
}

#[test]
fn purging_frees_before_it_replies() {
    let mut t = Testkit::new();
    for n in 0..3000 {
        t.run(&format!("SET a:{n} v"));
        t.run(&format!("SET b:{n} v"));
    }
    t.run("SWR.TAG b:7 ADD 1 t");
    assert_eq!(t.run("CACHE.PURGE PREFIX a: TAG t KEY b:8 KEY nobody"), ":3002\r\n");
    assert!(t.slices > 0, "others come in between");
    assert_eq!((t.run("DBSIZE"), t.store.revoke_log().1), (":2998\r\n".into(), 0));
    assert_eq!(t.run("CACHE.PURGE ALL"), ":2998\r\n");
    assert_eq!(t.run("CACHE.PURGE PREFIX a:"), ":0\r\n");
    t.run("SET a:1 v");
    t.run("MULTI");
    t.run("CACHE.PURGE PREFIX a:");
    assert_eq!(t.run("EXEC"), "*1\r\n:1\r\n");
}

#[test]
fn purges_may_be_limited_or_tried() {
    let mut t = Testkit::new();
    (0..3000).for_each(|n| drop(t.run(&format!("MSET a:{n} v b:{n} v"))));
    t.run("SWR.TAG b:7 ADD 2 t u");
    t.run("SWR.TAG b:8 ADD 1 t");
    for (selectors, count) in [
        ("PREFIX a:", 3000),
        ("MATCH *:7", 2),
        ("TAG t", 2),
        ("TAGS 2 u t", 1),
        ("KEY a:1 KEY nobody TAG u MATCH b:1?", 12),
        ("ALL", 6000),
    ] {
        assert_eq!(t.run(&format!("CACHE.PURGE {selectors} DRYRUN")), format!(":{count}\r\n"), "{selectors}");
    }
    assert_eq!(t.run("CACHE.PURGE PREFIX a: DRYRUN LIMIT 10"), ":10\r\n");
    assert_eq!((t.run("DBSIZE"), t.store.revoke_log()), (":6000\r\n".into(), (0, 0)));
    assert_eq!(t.run("CACHE.PURGE PREFIX a: LIMIT 1000"), ":1000\r\n");
    assert_eq!(t.run("CACHE.PURGE TAG t LIMIT 5"), ":2\r\n");
    assert_eq!((t.run("DBSIZE"), t.store.revoke_log()), (":4998\r\n".into(), (0, 0)));
    t.run("MULTI");
    t.run("CACHE.PURGE PREFIX a: LIMIT 5000");
    assert_eq!((t.run("EXEC"), t.run("DBSIZE")), ("*1\r\n:2000\r\n".into(), ":2998\r\n".into()));
    for (line, error) in [
        ("CACHE.PURGE ALL LIMIT 0", "ERR LIMIT should be greater than 0"),
        ("CACHE.PURGE ALL LIMIT", "ERR syntax error"),
        ("CACHE.PURGE DRYRUN", "ERR syntax error"),
        (
            &format!("CACHE.PURGE {} DRYRUN", format!("MATCH *{} ", "a".repeat(1000)).repeat(17)),
            "ERR pattern too complex",
        ),
        (&format!("CACHE.REVOKE {}", "TAG t ".repeat(1025)), "ERR too many selectors"),
        ("CACHE.PURGE ALL DRYRUN DRYRUN", "ERR syntax error"),
        ("CACHE.PURGE MATCH *a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a* DRYRUN", "ERR pattern too complex"),
    ] {
        assert_eq!(t.error(line), error, "{line}");
    }
}

#[test]
fn definitions_leave_the_books_alone() {
    let mut t = Testkit::new();
    t.run("SWR.GET m");
    for line in [
        "CACHE.SERVICE SET st PREFIX st:",
        "CACHE.SERVICE SET * NEG 100",
        "CACHE.SERVICE DEL *",
        "CACHE.SERVICE DEL st",
    ] {
        t.run(line);
        let info = t.run("INFO swr");
        assert!(info.contains("swr_miss:1\r\n") && info.contains("swr_tokens:1\r\n"), "{line}: {info}");
    }
}

#[test]
fn what_happens_is_counted() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET user PREFIX user:");
    let reply = t.run("SWR.GET user:1");
    let token = reply.split("\r\n").nth(4).unwrap().to_owned();
    t.run("SWR.GET user:1");
    t.advance_ms(300);
    t.run(&format!("SWR.FILL user:1 {token} VALUE v FRESH 100"));
    t.run("SWR.GET user:1");
    t.run("SWR.GET other");
    let reply = t.run("CACHE.STATS user");
    let counts =
        ["miss", "wait", "hit", "tokens", "coalesced", "fill-ok", "load-ms", "average-load-ms", "loads-running"];
    assert_eq!(counts.map(|name| value(&reply, name)), ["1", "1", "1", "1", "1", "1", "300", "300", "0"]);
    let reply = t.run("CACHE.STATS");
    assert_eq!(["miss", "hit", "loads-running"].map(|name| value(&reply, name)), ["2", "1", "1"]);
    assert!(t.run("INFO swr").contains("\r\nswr_miss:2\r\n"));
    t.run("CACHE.STATS user RESET");
    assert_eq!(value(&t.run("CACHE.STATS user"), "miss"), "0");
    assert_eq!(value(&t.run("CACHE.STATS"), "miss"), "1");
}

#[test]
fn policy_shapes_reads() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET off PREFIX off: ENABLED no");
    t.run("SET off:1 v");
    assert_eq!(t.run("SWR.GET off:1"), "*4\r\n+PASS\r\n$-1\r\n$-1\r\n:-1\r\n");
    t.run("CACHE.SERVICE SET few PREFIX few: MAXLOADS 1 RETRY 7");
    assert_eq!(state(&mut t, "SWR.GET few:1"), "MISS");
    assert_eq!(t.run("SWR.GET few:2"), "*4\r\n+WAIT\r\n$-1\r\n$-1\r\n:7\r\n");
    t.run("DEL few:1");
    // The place is given back when the lease has expired.
    t.advance_ms(10_000);
    t.tick();
    assert_eq!(state(&mut t, "SWR.GET few:2"), "MISS");
    t.run("CACHE.SERVICE SET eager PREFIX e: FRESH 1000 STALE 2000 EAGER 50");
    t.run("SWR.SET e:1 v");
    t.advance_ms(499);
    assert!(t.run("SWR.GET e:1").ends_with("$-1\r\n:501\r\n"));
    t.advance_ms(1);
    let reply = t.run("SWR.GET e:1");
    assert!(reply.starts_with("*4\r\n+HIT\r\n$1\r\nv\r\n$24\r\n"), "{reply}");
    // One reader refreshes.
    assert!(t.run("SWR.GET e:1").ends_with("$-1\r\n:500\r\n"));
}

#[test]
fn plain_writes_take_the_windows_of_their_service() {
    let mut t = Testkit::new();
    t.run("CACHE.SERVICE SET d PREFIX d: FRESH 1000 STALE 5000 DEFAULTS yes");
    for write in ["SET d:1 v", "MSET d:1 v x y", "GETSET d:1 v", "SETNX d:1 v"] {
        t.run("FLUSHALL");
        t.run(write);
        assert_eq!((t.run("PTTL d:1"), t.run("PTTL x")).0, ":5000\r\n", "{write}");
        assert!(t.run("SWR.PEEK d:1").ends_with(":1000\r\n"), "{write}");
    }
    // A time to live that is given is the hard end all the same.
    for write in ["SET d:1 v PX 300", "PSETEX d:1 300 v"] {
        t.run(write);
        assert_eq!(t.run("PTTL d:1"), ":300\r\n", "{write}");
        assert!(t.run("SWR.PEEK d:1").ends_with(":300\r\n"), "{write}");
    }
    t.run("MSET d:1 v x y");
    assert_eq!(t.run("PTTL x"), ":-1\r\n");
    // With jitter too, and KEEPTTL keeps what there is.
    t.run("CACHE.SERVICE SET d JITTER 50");
    t.run("SET d:1 v PX 300");
    assert_eq!(t.run("PTTL d:1"), ":300\r\n");
    t.run("PERSIST d:1");
    t.run("SET d:1 w KEEPTTL");
    assert_eq!(t.run("PTTL d:1"), ":-1\r\n");
    t.run("CACHE.SERVICE SET d DEFAULTS no");
    t.run("SET d:1 v");
    assert_eq!(t.run("PTTL d:1"), ":-1\r\n");
}
