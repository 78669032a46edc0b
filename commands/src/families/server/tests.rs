//! Commands about the server itself.

use crate::effect::Effect;
use crate::node::VERSION;
use crate::testkit::{START_MS, Testkit};
use core::sync::atomic::Ordering;

#[test]
fn clock_and_role() {
    let mut t = Testkit::new();
    assert_eq!(t.run("TIME"), "*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n");
    t.advance_ms(877);
    assert_eq!(t.run("TIME"), "*2\r\n$10\r\n1700000001\r\n$1\r\n0\r\n");
    assert_eq!(t.error("TIME x"), "ERR wrong number of arguments for 'time' command");
    assert_eq!(t.run("ROLE"), "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    assert_eq!(t.error("ROLE x"), "ERR wrong number of arguments for 'role' command");
    assert_eq!(t.run("LASTSAVE"), format!(":{}\r\n", START_MS / 1000));
}

#[test]
fn nothing_to_wait_for() {
    let mut t = Testkit::new();
    assert_eq!(t.run("WAIT 0 0"), ":0\r\n");
    assert_eq!(t.run("WAIT 1 5000"), ":0\r\n");
    assert_eq!(t.error("WAIT x 0"), "ERR value is not an integer or out of range");
    assert_eq!(t.error("WAIT 0 x"), "ERR timeout is not an integer or out of range");
    assert_eq!(t.error("WAIT 0 -1"), "ERR timeout is negative");
    assert_eq!(t.error("WAIT 0"), "ERR wrong number of arguments for 'wait' command");
}

#[test]
fn the_slow_log() {
    let mut t = Testkit::new();
    let live = |t: &Testkit, us| t.node.settings.live.slowlog_slower_than_us.store(us, Ordering::Relaxed);
    live(&t, 10_000);
    t.run("CLIENT SETNAME slow");
    t.run("SET quick 1");
    assert_eq!(t.run("SLOWLOG LEN"), ":0\r\n");
    t.elapsed_ns = 12_345_678;
    t.run("SET k v");
    t.run("AUTH default hush");
    t.run(&format!("SET long {}", "x".repeat(200)));
    t.run(&format!("EXISTS {}", ["k"; 40].join(" ")));
    t.elapsed_ns = 1;
    let len = t.run("SLOWLOG LEN");
    assert_eq!(len, ":4\r\n");
    let set = "*6\r\n:0\r\n:1700000000\r\n:12345\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$15\r\n127.0.0.1:50000\r\n$4\r\nslow\r\n";
    let all = t.run("SLOWLOG GET -1");
    assert!(all.starts_with("*4\r\n*6\r\n:3\r\n") && all.ends_with(set), "{all}");
    assert!(all.contains(&format!("{}... (72 more bytes)\r\n", "x".repeat(128))));
    assert!(all.contains("*32\r\n$6\r\nEXISTS\r\n") && all.contains("... (10 more arguments)\r\n"));
    assert!(all.contains("$4\r\nAUTH\r\n$10\r\n(redacted)\r\n$10\r\n(redacted)\r\n") && !all.contains("hush"));
    assert_eq!(t.run("SLOWLOG GET"), all);
    assert!(t.run("SLOWLOG GET 1").starts_with("*1\r\n*6\r\n:3\r\n"));
    assert_eq!(t.run("SLOWLOG GET 0"), "*0\r\n");
    for count in ["-2", "x"] {
        let error = "ERR count should be greater than or equal to -1";
        assert_eq!(t.error(&format!("SLOWLOG GET {count}")), error);
    }
    let form = "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.";
    assert_eq!(t.error("SLOWLOG GET 1 2"), form);
    assert_eq!(t.run("SLOWLOG RESET"), "+OK\r\n");
    assert_eq!(t.run("SLOWLOG GET"), "*0\r\n");
    live(&t, 0);
    t.run("ECHO x");
    live(&t, -1);
    assert!(t.run("SLOWLOG GET").starts_with("*1\r\n*6\r\n:4\r\n"), "numbers go on after a reset");
    assert_eq!(t.error("SLOWLOG bogus"), "ERR unknown subcommand 'bogus'. Try SLOWLOG HELP.");
    assert_eq!(t.error("SLOWLOG"), "ERR wrong number of arguments for 'slowlog' command");
}

#[test]
fn events_that_took_long() {
    let mut t = Testkit::new();
    t.node.settings.live.slowlog_slower_than_us.store(-1, Ordering::Relaxed);
    for line in ["LATENCY LATEST", "LATENCY HISTORY command", "LATENCY HISTORY nosuch"] {
        assert_eq!(t.run(line), "*0\r\n");
    }
    assert!(t.run("LATENCY DOCTOR").contains("latency-monitor-threshold"));
    t.node.settings.live.latency_threshold_ms.store(10, Ordering::Relaxed);
    assert!(t.run("LATENCY DOCTOR").contains("Nothing has taken 10 ms or longer."));
    for ms in [20, 30, 25] {
        t.elapsed_ns = ms * 1_000_000;
        t.run("SET k v");
        t.elapsed_ns = 1;
        t.advance_ms(ms * 30);
    }
    t.elapsed_ns = 11_000_000;
    t.run("GET k");
    t.elapsed_ns = 1;
    let latest = "*2\r\n*4\r\n$7\r\ncommand\r\n:1700000001\r\n:25\r\n:30\r\n*4\r\n$12\r\nfast-command\r\n:1700000002\r\n:11\r\n:11\r\n";
    assert_eq!(t.run("LATENCY LATEST"), latest);
    let history = "*2\r\n*2\r\n:1700000000\r\n:30\r\n*2\r\n:1700000001\r\n:25\r\n";
    assert_eq!(t.run("LATENCY HISTORY command"), history, "of one second the longest");
    let graph = t.run("LATENCY GRAPH command");
    assert!(graph.contains("command - high 30 ms, low 25 ms (all time high 30 ms)\n"), "{graph}");
    assert!(
        graph.contains(&format!("    2s ago {} 30 ms\n    1s ago {} 25 ms\n", "#".repeat(40), "#".repeat(33))),
        "{graph}"
    );
    assert!(t.run("LATENCY DOCTOR").contains("command: 2 samples, mean 27 ms, longest 30 ms. SLOWLOG"));
    assert!(t.resp3().run("LATENCY DOCTOR").starts_with('='));
    assert_eq!(t.run("LATENCY RESET nosuch command"), ":1\r\n");
    assert_eq!(t.run("LATENCY RESET"), ":1\r\n");
    assert_eq!(t.run("LATENCY LATEST"), "*0\r\n");
    assert_eq!(t.error("LATENCY GRAPH nosuch"), "ERR No samples available for event 'nosuch'");
    assert_eq!(t.error("LATENCY bogus"), "ERR unknown subcommand 'bogus'. Try LATENCY HELP.");
    assert_eq!(t.error("LATENCY"), "ERR wrong number of arguments for 'latency' command");
}

#[test]
fn histograms() {
    let mut t = Testkit::new();
    t.node.settings.live.latency_tracking.store(true, Ordering::Relaxed);
    t.elapsed_ns = 900;
    t.run("ECHO x");
    t.elapsed_ns = 3_000;
    t.run("ECHO x");
    t.run("CLIENT ID");
    let echo = "$4\r\necho\r\n%2\r\n$5\r\ncalls\r\n:2\r\n$14\r\nhistogram_usec\r\n%2\r\n:1\r\n:1\r\n:4\r\n:2\r\n";
    assert_eq!(t.resp3().run("LATENCY HISTOGRAM nosuch ECHO"), format!("%1\r\n{echo}"));
    let client = "$9\r\nclient|id\r\n%2\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n%1\r\n:4\r\n:1\r\n";
    assert_eq!(t.run("LATENCY HISTOGRAM client client|id"), format!("%2\r\n{client}{client}"));
    assert_eq!(t.run("LATENCY HISTOGRAM nosuch"), "%0\r\n");
    let all = t.resp2().run("LATENCY HISTOGRAM");
    assert!(all.starts_with("*6\r\n") && all.contains(&echo.replace('%', "*").replace("*2", "*4")), "{all}");
}

#[test]
fn nothing_is_loaded() {
    let mut t = Testkit::new();
    assert_eq!(t.run("MODULE LIST"), "*0\r\n");
    assert_eq!(t.error("MODULE LIST x"), "ERR wrong number of arguments for 'module|list' command");
    for line in ["FUNCTION FLUSH", "FUNCTION FLUSH async", "FUNCTION FLUSH SYNC"] {
        assert_eq!(t.run(line), "+OK\r\n");
    }
    assert_eq!(t.error("FUNCTION FLUSH x"), "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    let form = "ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.";
    assert_eq!(t.error("FUNCTION FLUSH SYNC x"), form);
    assert_eq!(t.run("FUNCTION LIST LIBRARYNAME a* WITHCODE"), "*0\r\n");
    assert_eq!(t.error("FUNCTION LIST bogus"), "ERR Unknown argument bogus");
    assert_eq!(t.error("FUNCTION LIST LIBRARYNAME"), "ERR library name argument was not given");
    assert_eq!(t.error("FUNCTION STATS"), "ERR unknown subcommand 'STATS'. Try FUNCTION HELP.");
}

#[test]
fn the_end() {
    let mut t = Testkit::new();
    for line in ["SHUTDOWN bogus", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN ABORT NOSAVE"] {
        assert_eq!(t.error(line), "ERR syntax error");
    }
    assert_eq!(t.error("SHUTDOWN ABORT"), "ERR No shutdown in progress.");
    assert!(t.error("SHUTDOWN SAVE").starts_with("ERR This server saves nothing"));
    assert!(t.effects.is_empty());
    for line in ["SHUTDOWN", "SHUTDOWN nosave now force"] {
        assert_eq!(t.run(line), "");
        assert!(matches!(t.effects[..], [Effect::Shutdown]));
    }
    t.run("MULTI");
    assert_eq!(t.error("SHUTDOWN"), "ERR Command not allowed inside a transaction");
}

#[test]
fn one_user() {
    let mut t = Testkit::new();
    assert_eq!(t.run("ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert_eq!(t.run("ACL USERS"), "*1\r\n$7\r\ndefault\r\n");
    let categories = t.run("ACL CAT");
    for category in ["read", "write", "admin", "dangerous", "fast", "slow", "connection", "string"] {
        assert!(categories.contains(&format!("\r\n{category}\r\n")), "{category}");
    }
    let connection = t.run("ACL CAT Connection");
    assert!(connection.contains("\r\nping\r\n") && connection.contains("\r\nclient|id\r\n"));
    assert!(!connection.contains("\r\nget\r\n"));
    assert_eq!(t.error("ACL CAT nosuch"), "ERR Unknown category 'nosuch'");
    let form = "ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.";
    assert_eq!(t.error("ACL CAT a b"), form);
    assert_eq!(t.error("ACL LIST"), "ERR unknown subcommand 'LIST'. Try ACL HELP.");
}

#[test]
fn who_it_is() {
    let mut t = Testkit::new();
    assert!(t.run("LOLWUT VERSION 5").ends_with(&format!("Millpond ver. {VERSION}\n\r\n")));
    assert!(t.resp3().run("LOLWUT").starts_with('='));
}
