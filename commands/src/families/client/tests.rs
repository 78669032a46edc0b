//! What CLIENT subcommands answer, and what they do to connections.

use crate::effect::Effect;
use crate::testkit::Testkit;
use core::sync::atomic::Ordering;

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

#[test]
fn names() {
    let mut t = Testkit::new();
    assert_eq!(t.run("CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(t.run("client setname Me2"), "+OK\r\n");
    assert_eq!(t.run("CLIENT GETNAME"), "$3\r\nMe2\r\n");
    for bad in [&b"a b"[..], b"a\nb", b"\xc3\xa9", b"\x7f"] {
        assert_eq!(t.run_args(&[b"CLIENT", b"SETNAME", bad]), format!("-{BAD_NAME}\r\n"));
    }
    assert_eq!(t.run("CLIENT GETNAME"), "$3\r\nMe2\r\n");
    assert_eq!(t.run("CLIENT SETNAME ''"), "+OK\r\n");
    assert_eq!(t.resp3().run("CLIENT GETNAME"), "_\r\n");
    assert_eq!(t.error("CLIENT SETNAME"), "ERR wrong number of arguments for 'client|setname' command");
    assert_eq!(t.error("CLIENT GETNAME x"), "ERR wrong number of arguments for 'client|getname' command");
}

#[test]
fn libraries() {
    let mut t = Testkit::new();
    assert_eq!(t.run("CLIENT SETINFO LIB-NAME my(lib_v1)"), "+OK\r\n");
    assert_eq!(t.run("CLIENT SETINFO lib-ver 8.1.0"), "+OK\r\n");
    assert!(t.run("CLIENT INFO").ends_with(" lib-name=my(lib_v1) lib-ver=8.1.0\n\r\n"));
    let special = "cannot contain spaces, newlines or special characters.";
    assert_eq!(t.error("CLIENT SETINFO LIB-NAME 'a b'"), format!("ERR LIB-NAME {special}"));
    assert_eq!(t.error("CLIENT SETINFO lib-ver 'a b'"), format!("ERR lib-ver {special}"));
    assert_eq!(t.error("CLIENT SETINFO bogus x"), "ERR Unrecognized option 'bogus'");
    assert_eq!(t.error("CLIENT SETINFO LIB-NAME"), "ERR wrong number of arguments for 'client|setinfo' command");
    assert_eq!(t.run("CLIENT SETINFO LIB-NAME ''"), "+OK\r\n");
    assert!(t.run("CLIENT INFO").ends_with(" lib-name= lib-ver=8.1.0\n\r\n"));
}

#[test]
fn the_line_of_a_client() {
    let mut t = Testkit::new();
    t.run("SELECT 3");
    t.run("CLIENT SETNAME me");
    t.advance_ms(2500);
    let line = "id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=me age=2 idle=0 flags=N db=3 sub=0 psub=0 ssub=0 \
                multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
                cmd=client|info user=default redir=-1 resp=2 lib-name= lib-ver=\n";
    assert_eq!(t.run("CLIENT INFO"), format!("${}\r\n{line}\r\n", line.len()));
    let list = line.replace("client|info", "client|list").replace("resp=2", "resp=3");
    assert_eq!(t.resp3().run("CLIENT LIST"), format!("={}\r\ntxt:{list}\r\n", list.len() + 4));
    t.run("CLIENT NO-EVICT on");
    t.run("CLIENT NO-TOUCH on");
    assert!(t.run("CLIENT INFO").contains(" flags=eT "));
    assert!(t.session().no_touch);
    t.run("CLIENT NO-EVICT OFF");
    t.run("CLIENT NO-TOUCH off");
    assert!(t.run("CLIENT INFO").contains(" flags=N "));
    assert!(!t.session().no_touch);
    t.run("MULTI");
    t.run("SET k v");
    t.session().publish(None, 0);
    t.connect();
    let seen = t.run("CLIENT LIST ID 1");
    assert!(seen.contains(" flags=x ") && seen.contains(" multi=1 ") && !seen.contains(" multi-mem=0 "), "{seen}");
    assert!(seen.contains(" cmd=NULL "), "{seen}");
    assert_eq!(t.error("CLIENT NO-EVICT bogus"), "ERR syntax error");
    assert_eq!(t.error("CLIENT NO-TOUCH bogus"), "ERR syntax error");
    assert_eq!(t.error("CLIENT NO-EVICT"), "ERR wrong number of arguments for 'client|no-evict' command");
}

#[test]
fn a_transaction_sees_its_own_length() {
    let mut t = Testkit::new();
    t.run("MULTI");
    t.run("CLIENT INFO");
    t.run("PING");
    let reply = t.run("EXEC");
    assert!(reply.contains(" multi=2 "), "{reply}");
    assert!(t.run("CLIENT INFO").contains(" multi=-1 "));
}

#[test]
fn lists_of_some() {
    let mut t = Testkit::new();
    for name in ["a", "b", "c"] {
        t.run(&format!("CLIENT SETNAME {name}"));
        t.connect();
    }
    let names = |reply: String| -> Vec<String> {
        let of = |line: &str| line.split(" name=").nth(1).map(|rest| rest.split(' ').next().unwrap_or("").to_owned());
        reply.lines().filter_map(of).collect()
    };
    assert_eq!(names(t.run("CLIENT LIST")), ["a", "b", "c", ""]);
    assert_eq!(names(t.run("CLIENT LIST TYPE Normal")), ["a", "b", "c", ""]);
    for other in ["pubsub", "replica", "slave", "master"] {
        assert_eq!(t.run(&format!("CLIENT LIST TYPE {other}")), "$0\r\n\r\n");
    }
    assert_eq!(names(t.run("CLIENT LIST ID 3 999 -1 0 1")), ["c", "a"]);
    assert_eq!(t.error("CLIENT LIST type bogus"), "ERR Unknown client type 'bogus'");
    assert_eq!(t.error("CLIENT LIST ID 1 x"), "ERR Invalid client ID");
    for line in ["CLIENT LIST ID", "CLIENT LIST TYPE", "CLIENT LIST bogus", "CLIENT LIST TYPE normal x"] {
        assert_eq!(t.error(line), "ERR syntax error");
    }
    assert_eq!(t.run("CLIENT ID"), ":4\r\n");
}

#[test]
fn kill_by_filters() {
    let mut t = Testkit::new();
    t.advance_ms(5000);
    for _ in 0..3 {
        t.connect();
    }
    t.on(0);
    assert_eq!(t.run("CLIENT KILL ID 2 TYPE pubsub"), ":0\r\n");
    assert_eq!(t.run("CLIENT KILL ID 2 USER default SKIPME yes"), ":1\r\n");
    assert_eq!(*t.shell.woken.lock(), [0]);
    assert!(t.node.clients.find(2).unwrap().killed.load(Ordering::Relaxed));
    assert_eq!(t.run("CLIENT KILL ID 2"), ":0\r\n", "killed already");
    assert_eq!(t.run("CLIENT KILL LADDR 127.0.0.1:1"), ":0\r\n");
    assert!(!t.run("CLIENT LIST").contains("id=2 "));
    assert_eq!(t.run("CLIENT KILL ID 1 SKIPME yes"), ":0\r\n");
    assert!(t.effects.is_empty());
    assert_eq!(t.run("CLIENT KILL ID 1 SKIPME no"), ":1\r\n");
    assert!(matches!(t.effects[..], [Effect::Close]));
    assert_eq!(t.run("CLIENT KILL ADDR 127.0.0.1:50002"), ":1\r\n");
    assert_eq!(t.run("CLIENT KILL TYPE normal"), ":1\r\n");
    assert_eq!(t.shell.woken.lock().len(), 3);
}

#[test]
fn kill_refused() {
    let mut t = Testkit::new();
    for id in ["x", "0", "-1"] {
        assert_eq!(t.error(&format!("CLIENT KILL ID {id} SKIPME yes")), "ERR client-id should be greater than 0");
    }
    assert_eq!(t.error("CLIENT KILL TYPE bogus ID 1"), "ERR Unknown client type 'bogus'");
    assert_eq!(t.error("CLIENT KILL ID 9 USER nobody"), "ERR No such user 'nobody'");
    for line in ["SKIPME maybe ID 1", "bogus x", "MAXAGE 5", "ID 1 TYPE"] {
        assert_eq!(t.error(&format!("CLIENT KILL {line}")), "ERR syntax error");
    }
    for address in ["127.0.0.1:1", "bogus", "ID"] {
        assert_eq!(t.error(&format!("CLIENT KILL {address}")), "ERR No such client");
    }
    assert_eq!(t.error("CLIENT KILL"), "ERR wrong number of arguments for 'client|kill' command");
}

#[test]
fn kill_by_address_spares_nobody() {
    let mut t = Testkit::new();
    t.connect();
    assert_eq!(t.run("CLIENT KILL 127.0.0.1:50000"), "+OK\r\n");
    assert!(t.node.clients.find(1).unwrap().killed.load(Ordering::Relaxed));
    assert_eq!(t.run("CLIENT KILL 127.0.0.1:50001"), "+OK\r\n");
    assert!(matches!(t.effects[..], [Effect::Close]), "the caller gets its reply first");
}

#[test]
fn pause_and_its_end() {
    let mut t = Testkit::new();
    let now_ms = t.cx.now.0;
    assert_eq!(t.run("CLIENT PAUSE 0"), "+OK\r\n");
    assert_eq!(t.node.clients.pause_end(), 0);
    assert_eq!(t.run("CLIENT PAUSE 100 write"), "+OK\r\n");
    assert_eq!(t.run("GET k"), "$-1\r\n");
    assert_eq!(t.run("SET k v"), "");
    assert!(matches!(t.effects[..], [Effect::Postpone]));
    assert_eq!(t.run("CLIENT PAUSE 50 ALL"), "+OK\r\n");
    assert_eq!(t.node.clients.pause_end(), now_ms + 100, "never shortened");
    assert_eq!(t.run("GET k"), "");
    assert_eq!(t.run("CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(*t.shell.woken.lock(), [0]);
    assert_eq!(t.run("SET k v"), "+OK\r\n");
    t.run("CLIENT PAUSE 10");
    t.advance_ms(10);
    assert_eq!(t.run("SET k v"), "+OK\r\n");
    assert_eq!(t.run("CLIENT PAUSE 9223372036854775807"), "+OK\r\n");
}

#[test]
fn pause_refused() {
    let mut t = Testkit::new();
    for timeout in ["x", "99999999999999999999"] {
        assert_eq!(t.error(&format!("CLIENT PAUSE {timeout}")), "ERR timeout is not an integer or out of range");
    }
    assert_eq!(t.error("CLIENT PAUSE -1"), "ERR timeout is negative");
    assert_eq!(t.error("CLIENT PAUSE x bogus"), "ERR CLIENT PAUSE mode must be WRITE or ALL");
    let form = "ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT HELP.";
    assert_eq!(t.error("CLIENT pause 1 WRITE x"), form);
    assert_eq!(t.error("CLIENT UNPAUSE x"), "ERR wrong number of arguments for 'client|unpause' command");
}

#[test]
fn replies() {
    let mut t = Testkit::new();
    for line in ["CLIENT REPLY OFF", "SET k v", "nosuch", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY bogus"] {
        assert_eq!(t.run(line), "", "{line}");
    }
    assert_eq!(t.run("CLIENT REPLY ON"), "+OK\r\n");
    assert_eq!(t.run("GET k"), "$1\r\nv\r\n");
    for line in ["CLIENT REPLY SKIP", "PING", "CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "nosuch"] {
        assert_eq!(t.run(line), "", "{line}");
    }
    assert_eq!(t.run("PING"), "+PONG\r\n");
    assert_eq!(t.error("CLIENT REPLY bogus"), "ERR syntax error");
    assert_eq!(t.error("CLIENT REPLY"), "ERR wrong number of arguments for 'client|reply' command");
}

#[test]
fn tracking_is_off() {
    let mut t = Testkit::new();
    assert_eq!(t.run("CLIENT GETREDIR"), ":-1\r\n");
    assert_eq!(
        t.run("CLIENT TRACKINGINFO"),
        "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n"
    );
    assert!(t.resp3().run("CLIENT TRACKINGINFO").starts_with("%3\r\n$5\r\nflags\r\n~1\r\n"));
    for word in ["TRACKING", "CACHING", "MAINT_NOTIFICATIONS", "bogus"] {
        let error = format!("ERR unknown subcommand '{word}'. Try CLIENT HELP.");
        assert_eq!(t.error(&format!("CLIENT {word} on")), error);
    }
}

#[test]
fn the_rest() {
    let mut t = Testkit::new();
    assert_eq!(t.run("CLIENT CAPA redirect more"), "+OK\r\n");
    assert_eq!(t.error("CLIENT CAPA"), "ERR wrong number of arguments for 'client|capa' command");
    assert_eq!(t.run("CLIENT UNBLOCK 1 TIMEOUT"), ":0\r\n");
    assert_eq!(t.error("CLIENT UNBLOCK x"), "ERR value is not an integer or out of range");
    assert_eq!(t.error("CLIENT UNBLOCK 1 FOO"), "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    assert_eq!(t.error("CLIENT"), "ERR wrong number of arguments for 'client' command");
    let form = "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.";
    assert_eq!(t.error("CLIENT UNBLOCK 1 ERROR x"), form);
}
