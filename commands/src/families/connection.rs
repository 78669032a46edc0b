//! A connection's own state: login, protocol, database, and whether anybody is there.

use crate::call::Call;
use crate::clients::is_valid_name;
use crate::command::{Command, Flags, Group, Keys};
use crate::effect::Effect;
use crate::error::Error;
use crate::families::transaction::reset_transaction;
use crate::node::{Node, REDIS_VERSION};
use crate::session::{Replies, Session};
use core::hint::black_box;
use core::sync::atomic::Ordering;
use protocol::number::parse_i64;
use protocol::{Protocol, ReplyWriter};
use storage::Db;

/// Commands that a connection may send before login.
const LOGIN: Flags =
    Flags::NO_AUTH.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY);
/// Cheap commands that need no data.
const STATELESS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "hello",
        wire_id: 1,
        arity: -1,
        keys: Keys::NONE,
        flags: LOGIN,
        group: Group::Connection,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Switches the protocol, with login and name if wanted, and tells what the server is.",
        usage: "[protover [AUTH username password] [SETNAME clientname]]",
        subcommands: &[],
        run: hello,
    },
    Command {
        name: "auth",
        wire_id: 2,
        arity: -2,
        keys: Keys::NONE,
        flags: LOGIN,
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Logs the connection in.",
        usage: "[username] password",
        subcommands: &[],
        run: auth,
    },
    Command {
        name: "ping",
        wire_id: 3,
        arity: -1,
        keys: Keys::NONE,
        flags: Flags::FAST,
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the message, or PONG: the server is there.",
        usage: "[message]",
        subcommands: &[],
        run: ping,
    },
    Command {
        name: "echo",
        wire_id: 4,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the message.",
        usage: "message",
        subcommands: &[],
        run: echo,
    },
    Command {
        name: "select",
        wire_id: 5,
        arity: 2,
        keys: Keys::NONE,
        flags: STATELESS,
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Changes the database of the connection.",
        usage: "index",
        subcommands: &[],
        run: select,
    },
    Command {
        name: "quit",
        wire_id: 6,
        arity: -1,
        keys: Keys::NONE,
        flags: LOGIN.and(Flags::CONTROL),
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Closes the connection after the reply.",
        usage: "",
        subcommands: &[],
        run: quit,
    },
    Command {
        name: "reset",
        wire_id: 7,
        arity: 1,
        keys: Keys::NONE,
        flags: LOGIN.and(Flags::CONTROL),
        group: Group::Connection,
        since: "6.2.0",
        complexity: "O(N), N being the number of watched keys",
        summary: "Puts the connection back into the state of a new one: database, protocol, login, name, transaction.",
        usage: "",
        subcommands: &[],
        run: reset,
    },
];

/// The one user there is.
pub const USER: &str = "default";

const NO_PASSWORD_SET: Error = Error::err(
    "AUTH <password> called without any password configured for the default user. Are you sure your configuration is \
     correct?",
);
const BAD_PROTOCOL: Error = Error::err("Protocol version is not an integer or out of range");
const BAD_NAME: Error = Error::err("Client names cannot contain spaces, newlines or special characters.");
const DB_INT_RANGE: Error = Error::err("value is out of range, value must between -2147483648 and 2147483647");

/// Whether both are equal, in a time that depends on their lengths only.
fn equal_in_constant_time(offered: &[u8], secret: &[u8]) -> bool {
    let difference = offered.iter().zip(secret).fold(0, |bits, (a, b)| bits | black_box(a ^ b));
    (offered.len() == secret.len()) & (black_box(difference) == 0)
}

/// Whether this user may log in with this password: without one configured any will do.
fn may_log_in(node: &Node, user: &[u8], password: &[u8]) -> bool {
    let configured = node.settings.live.password.load();
    let right_password = configured.as_ref().is_none_or(|secret| equal_in_constant_time(password, secret));
    (user == USER.as_bytes()) & right_password
}

fn auth(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let (user, password) = match call.args.len() {
        2 if call.node.settings.live.password.load().is_none() => return Err(NO_PASSWORD_SET),
        2 => (USER.as_bytes(), call.args.at(1)),
        3 => (call.args.at(1), call.args.at(2)),
        _ => return Err(Error::SYNTAX),
    };
    if !may_log_in(call.node, user, password) {
        return Err(Error::WRONG_PASS);
    }
    call.session.authenticated = true;
    call.reply.ok();
    Ok(())
}

fn protocol_named(version: &[u8]) -> Result<Protocol, Error> {
    match parse_i64(version).ok_or(BAD_PROTOCOL)? {
        2 => Ok(Protocol::Resp2),
        3 => Ok(Protocol::Resp3),
        _ => Err(Error::NO_PROTO),
    }
}

fn hello(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let args = call.args;
    let protocol = args.get(1).map(protocol_named).transpose()?;
    let (mut login, mut name) = (None, None);
    let mut index = 2;
    while index < args.len() {
        if call.is_word(index, "AUTH") && index + 2 < args.len() {
            login = Some((args.at(index + 1), args.at(index + 2)));
            index += 3;
        } else if call.is_word(index, "SETNAME") && index + 1 < args.len() {
            name = Some(checked_name(args.at(index + 1))?);
            index += 2;
        } else {
            return Err(Error::quoting("Syntax error in HELLO option '", args.at(index), "'"));
        }
    }
    if let Some((user, password)) = login {
        if !may_log_in(call.node, user, password) {
            return Err(Error::WRONG_PASS);
        }
        call.session.authenticated = true;
    }
    if !call.session.authenticated {
        return Err(Error::NO_AUTH_HELLO);
    }
    if let Some(name) = name {
        call.session.client.names.lock().name = name;
    }
    if let Some(protocol) = protocol {
        call.session.protocol = protocol;
    }
    let (id, protocol) = (call.session.client.id, call.session.protocol);
    let mut reply = ReplyWriter::new(call.reply.output(), protocol);
    reply.map(7);
    for (key, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk_str(key);
        reply.bulk_str(value);
    }
    reply.bulk_str("proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk_str("id");
    reply.integer(id as i64);
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk_str(key);
        reply.bulk_str(value);
    }
    reply.bulk_str("modules");
    reply.array(0);
    Ok(())
}

/// A name a client gives itself; empty takes it away.
pub fn checked_name(name: &[u8]) -> Result<String, Error> {
    let valid = is_valid_name(name).then(|| String::from_utf8_lossy(name).into_owned());
    valid.ok_or(BAD_NAME)
}

fn ping(call: &mut Call<'_, '_>) -> Result<(), Error> {
    match call.args.len() {
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(call.args.at(1)),
        _ => return Err(Error::arity(call.command.name)),
    }
    Ok(())
}

fn echo(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.bulk(call.args.at(1));
    Ok(())
}

fn select(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if i32::try_from(call.integer(1)?).is_err() {
        return Err(DB_INT_RANGE);
    }
    call.session.db = call.database(1)?;
    call.reply.ok();
    Ok(())
}

fn quit(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.reply.ok();
    call.effects.push(Effect::Close);
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> Result<(), Error> {
    reset_transaction(call.session, call.store);
    call.session.release_leases(call.node, call.store, &call.cx);
    forget(call.session, call.node);
    call.reply.simple("RESET");
    Ok(())
}

/// Everything but the transaction that RESET puts back.
fn forget(session: &mut Session, node: &Node) {
    session.db = Db(0);
    session.protocol = Protocol::Resp2;
    session.authenticated = node.settings.live.password.load().is_none();
    session.replies = Replies::On;
    session.no_touch = false;
    session.client.no_touch.store(false, Ordering::Relaxed);
    session.client.no_evict.store(false, Ordering::Relaxed);
    session.client.names.lock().name.clear();
}

#[cfg(test)]
mod tests {
    use super::equal_in_constant_time;
    use crate::effect::Effect;
    use crate::session::Replies;
    use crate::testkit::Testkit;
    use protocol::Protocol;
    use std::sync::Arc;
    use storage::Db;

    const HELLO_3: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n\
                           $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
    const NO_AUTH: &str = "NOAUTH Authentication required.";
    const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

    fn with_password() -> Testkit {
        let mut t = Testkit::new();
        t.node.settings.live.password.store(Some(Arc::new(b"secret".to_vec())));
        t.connect();
        t
    }

    #[test]
    fn hello_switches_and_tells() {
        let mut t = Testkit::new();
        assert_eq!(t.run("HELLO 3"), HELLO_3);
        assert_eq!(t.session().protocol, Protocol::Resp3);
        assert_eq!(t.run("hello"), HELLO_3, "a bare HELLO changes nothing");
        let hello_2 = HELLO_3.replace("%7", "*14").replace(":3", ":2");
        assert_eq!(t.run("HELLO 2"), hello_2);
        assert_eq!(t.run("HELLO"), hello_2);
        assert_eq!(t.run("HELLO 2 setname a AUTH default x SETNAME b"), hello_2);
        assert_eq!(t.run("CLIENT GETNAME"), "$1\r\nb\r\n");
    }

    #[test]
    fn hello_refused_changes_nothing() {
        let mut t = Testkit::new();
        for version in ["0", "1", "4", "-1"] {
            assert_eq!(t.error(&format!("HELLO {version}")), "NOPROTO unsupported protocol version");
        }
        for version in ["x", "''", "3.0", "99999999999999999999", "SETNAME x"] {
            let error = t.error(&format!("HELLO {version}"));
            assert_eq!(error, "ERR Protocol version is not an integer or out of range");
        }
        for (options, word) in
            [("bogus", "bogus"), ("SETNAME", "SETNAME"), ("auth default", "auth"), ("SETNAME a X", "X")]
        {
            assert_eq!(t.error(&format!("HELLO 3 {options}")), format!("ERR Syntax error in HELLO option '{word}'"));
        }
        let bad_name = "ERR Client names cannot contain spaces, newlines or special characters.";
        assert_eq!(t.error("HELLO 3 SETNAME 'a b'"), bad_name);
        assert_eq!(t.error("HELLO 3 AUTH nobody x SETNAME y"), WRONG_PASS);
        assert_eq!(t.session().protocol, Protocol::Resp2);
        assert_eq!(t.run("CLIENT GETNAME"), "$-1\r\n");
    }

    #[test]
    fn login_without_a_password() {
        let mut t = Testkit::new();
        let error = "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?";
        assert_eq!(t.error("AUTH secret"), error);
        assert_eq!(t.run("AUTH default anything"), "+OK\r\n");
        assert_eq!(t.error("AUTH nobody anything"), WRONG_PASS);
        assert_eq!(t.error("AUTH"), "ERR wrong number of arguments for 'auth' command");
        assert_eq!(t.error("AUTH a b c"), "ERR syntax error");
    }

    #[test]
    fn login_with_a_password() {
        let mut t = with_password();
        for command in ["PING", "GET k", "CLIENT ID", "SELECT 0", "ECHO x"] {
            assert_eq!(t.error(command), NO_AUTH);
        }
        for wrong in
            ["AUTH wrong", "AUTH SECRET", "AUTH ''", "AUTH nobody secret", "AUTH DEFAULT secret", "AUTH default secre"]
        {
            assert_eq!(t.error(wrong), WRONG_PASS);
            assert_eq!(t.error("PING"), NO_AUTH);
        }
        assert_eq!(t.run("AUTH secret"), "+OK\r\n");
        assert_eq!(t.run("PING"), "+PONG\r\n");
        assert_eq!(t.error("AUTH wrong"), WRONG_PASS);
        assert_eq!(t.run("PING"), "+PONG\r\n", "a failed attempt does not log out");
        assert_eq!(t.run("RESET"), "+RESET\r\n");
        assert_eq!(t.error("PING"), NO_AUTH);
        assert_eq!(t.run("AUTH default secret"), "+OK\r\n");
        assert_eq!((t.errors("NOAUTH"), t.errors("WRONGPASS")), (12, 7));
    }

    #[test]
    fn login_with_hello() {
        let mut t = with_password();
        for line in ["HELLO", "HELLO 3", "HELLO 2 SETNAME x"] {
            let error = t.error(line);
            assert!(
                error.starts_with("NOAUTH HELLO must be called with the client already authenticated, otherwise"),
                "{error}"
            );
        }
        assert_eq!(t.error("HELLO 4 AUTH default secret"), "NOPROTO unsupported protocol version");
        assert_eq!(t.error("HELLO 3 AUTH default wrong"), WRONG_PASS);
        assert_eq!(t.error("HELLO 3 AUTH default secret bogus"), "ERR Syntax error in HELLO option 'bogus'");
        assert_eq!(t.error("PING"), NO_AUTH);
        assert!(t.run("HELLO 3 SETNAME it AUTH default secret").starts_with("%7\r\n"));
        assert_eq!(t.run("CLIENT GETNAME"), "$2\r\nit\r\n");
    }

    #[test]
    fn ping_and_echo() {
        let mut t = Testkit::new();
        assert_eq!(t.run("PING"), "+PONG\r\n");
        assert_eq!(t.run_args(&[b"PiNg", b"a\r\nb\0"]), "$5\r\na\r\nb\\x00\r\n");
        assert_eq!(t.resp3().run("PING"), "+PONG\r\n");
        assert_eq!(t.error("PING a b"), "ERR wrong number of arguments for 'ping' command");
        assert_eq!(t.run("ECHO ''"), "$0\r\n\r\n");
        assert_eq!(t.error("ECHO"), "ERR wrong number of arguments for 'echo' command");
    }

    #[test]
    fn databases() {
        let mut t = Testkit::new();
        assert_eq!(t.run("SELECT 15"), "+OK\r\n");
        assert_eq!(t.session().db, Db(15));
        for index in ["16", "-1", "2147483647"] {
            assert_eq!(t.error(&format!("SELECT {index}")), "ERR DB index is out of range");
        }
        for index in ["x", "1.5", "99999999999999999999"] {
            assert_eq!(t.error(&format!("SELECT {index}")), "ERR value is not an integer or out of range");
        }
        let range = "ERR value is out of range, value must between -2147483648 and 2147483647";
        assert_eq!(t.error("SELECT 4294967296"), range);
        assert_eq!(t.session().db, Db(15));
    }

    #[test]
    fn quit_answers_and_closes() {
        let mut t = with_password();
        assert_eq!(t.run("QUIT now"), "+OK\r\n");
        assert!(matches!(t.effects[..], [Effect::Close]));
        let mut t = Testkit::new();
        t.run("MULTI");
        assert_eq!(t.run("QUIT"), "+OK\r\n", "also inside a transaction");
    }

    #[test]
    fn reset_puts_everything_back() {
        let mut t = Testkit::new();
        for line in [
            "HELLO 3 SETNAME me",
            "SELECT 5",
            "CLIENT NO-EVICT on",
            "CLIENT NO-TOUCH on",
            "WATCH k",
            "MULTI",
            "SET k v",
        ] {
            t.run(line);
        }
        assert_eq!(t.run("RESET"), "+RESET\r\n");
        let session = t.session();
        assert_eq!((session.db, session.protocol, session.replies), (Db(0), Protocol::Resp2, Replies::On));
        assert!(session.transaction.is_none() && session.watches.is_empty() && !session.no_touch);
        let info = t.run("CLIENT INFO");
        assert!(info.contains(" name= ") && info.contains(" flags=N ") && info.contains(" multi=-1 "), "{info}");
        t.run("CLIENT REPLY OFF");
        assert_eq!(t.run("PING"), "");
        assert_eq!(t.run("RESET"), "+RESET\r\n");
        assert_eq!(t.run("PING"), "+PONG\r\n");
        assert_eq!(t.error("RESET x"), "ERR wrong number of arguments for 'reset' command");
    }

    #[test]
    fn passwords_are_compared_whole() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for other in [&b""[..], b"secre", b"secrets", b"Secret", b"xecret", b"secreT"] {
            assert!(!equal_in_constant_time(other, b"secret"));
        }
    }
}
