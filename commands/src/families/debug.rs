//! DEBUG: what tests of clients and of this server need. Only where `enable-debug-command` allows it.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::effect::Effect;
use crate::error::Error;
use crate::families::help;
use crate::families::inspect::encoding_of;
use core::sync::atomic::Ordering;
use protocol::number::parse_f64;
use storage::{LiveRef, Slot, Value};

/// Rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    wire_id: 290,
    arity: -2,
    keys: Keys::NONE,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::KEYSPACE),
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on the subcommand",
    summary: "Looks inside the server or disturbs it, for tests.",
    usage: "subcommand [argument ...]",
    subcommands: &[],
    run: debug,
}];

const NOT_ALLOWED: Error = Error::err(
    "DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// Forms and what they do.
const HELP: &[(&str, &str)] = &[
    ("CHANGE-REPL-ID", "Does nothing: there is no replication."),
    ("ERROR <text>", "Replies this error."),
    ("OBJECT <key>", "Tells how a key is kept."),
    #[cfg(feature = "histogram")]
    ("PAUSES", "Tells how long single commands held their core."),
    ("RELOAD", "Does nothing: there is no file to reload from."),
    ("SET-ACTIVE-EXPIRE <0|1>", "Stops or resumes freeing expired keys that nobody asks for."),
    ("SLEEP <seconds>", "Holds this connection back, not the others; decimals are allowed."),
    ("HELP", "Explains the subcommands."),
];

fn is_allowed(call: &Call<'_, '_>) -> bool {
    match call.node.settings.text("enable-debug-command").as_str() {
        "yes" => true,
        "local" => call.session.client.is_local(),
        _ => false,
    }
}

fn debug(call: &mut Call<'_, '_>) -> Result<(), Error> {
    if !is_allowed(call) {
        return Err(NOT_ALLOWED);
    }
    match (call.args.at(1).to_ascii_uppercase().as_slice(), call.args.len()) {
        (b"SLEEP", 3) => sleep(call),
        (b"SET-ACTIVE-EXPIRE", 3) => {
            call.node.active_expire.store(call.args.at(2) != b"0", Ordering::Relaxed);
            call.reply.ok();
        }
        (b"OBJECT", 3) => return object(call),
        (b"ERROR", 3) => call.reply.error_bytes(call.args.at(2)),
        #[cfg(feature = "histogram")]
        (b"PAUSES", 2) => {
            let workers = call.node.workers.iter().map(|worker| &**worker);
            call.reply.verbatim(crate::pauses::report(workers).as_bytes());
        }
        (b"RELOAD", _) | (b"CHANGE-REPL-ID", 2) => call.reply.ok(),
        (b"HELP", 2) => help::write(call, "DEBUG", HELP),
        _ => return Err(help::wrong_form(call)),
    }
    Ok(())
}

/// What is no positive number of seconds is none, as in Redis.
fn sleep(call: &mut Call<'_, '_>) {
    let ms = (parse_f64(call.args.at(2)).unwrap_or(0.0).max(0.0) * 1000.0) as u64;
    if ms > 0 {
        call.effects.push(Effect::HoldUntil(call.cx.now.0.saturating_add(ms)));
    }
    call.reply.ok();
}

fn object(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.key(call.args.at(2), |slot, reply| match slot {
        Slot::Live(live) => {
            reply.simple(&description(&live));
            Ok(())
        }
        Slot::Vacant(_) => Err(Error::NO_SUCH_KEY),
    })
}

/// How an entry is kept. Addresses and clocks do not exist here and are 0; the length is that of Redis' own format
/// without compression.
fn description(live: &LiveRef<'_>) -> String {
    let value = live.value();
    let refcount = match &value {
        Value::Int(_) | Value::Raw(_) | Value::Hash(_) => 1,
        Value::Shared(bytes) => std::sync::Arc::strong_count(bytes),
    };
    let (encoding, length) = (encoding_of(live), serialized_length(live));
    let (memory, uses) = (live.memory(), live.uses());
    format!(
        "Value at:0x0 refcount:{refcount} encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:0 \
         memory:{memory} uses:{uses}"
    )
}

fn serialized_length(live: &LiveRef<'_>) -> usize {
    if let Ok(hash) = live.hash() {
        let mut length = 1;
        hash.for_each(|field, value| length += 2 + field.len() + value.len());
        return length;
    }
    let value = live.value();
    match value {
        Value::Int(n) if i8::try_from(n).is_ok() => 2,
        Value::Int(n) if i16::try_from(n).is_ok() => 3,
        Value::Int(n) if i32::try_from(n).is_ok() => 5,
        _ => match value.len() {
            length @ 0..64 => 1 + length,
            length @ 64..16_384 => 2 + length,
            length => 5 + length,
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::effect::Effect;
    use crate::testkit::{START_MS, Testkit};
    use core::sync::atomic::Ordering;

    fn allowed() -> Testkit {
        let t = Testkit::new();
        t.node.settings.start("enable-debug-command", b"yes").unwrap();
        t
    }

    #[test]
    fn refused_unless_allowed() {
        let mut t = Testkit::new();
        let error = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
                     from a local connection, otherwise you need to set this option in the configuration file, and then \
                     restart the server.";
        for line in ["DEBUG SLEEP 0", "DEBUG HELP", "DEBUG nosuch"] {
            assert_eq!(t.error(line), error);
        }
        t.node.settings.start("enable-debug-command", b"local").unwrap();
        assert_eq!(t.run("DEBUG SLEEP 0"), "+OK\r\n", "the test's client is on this machine");
        assert_eq!(t.error("DEBUG"), "ERR wrong number of arguments for 'debug' command");
    }

    #[test]
    fn sleep_holds_one_connection() {
        let mut t = allowed();
        assert_eq!(t.run("DEBUG SLEEP 0.25"), "+OK\r\n");
        assert!(matches!(t.effects[..], [Effect::HoldUntil(until)] if until == START_MS + 250));
        for none in ["0", "-1", "x"] {
            assert_eq!(t.run(&format!("DEBUG SLEEP {none}")), "+OK\r\n");
            assert!(t.effects.is_empty());
        }
    }

    #[test]
    fn switches_and_what_does_nothing() {
        let mut t = allowed();
        assert_eq!(t.run("DEBUG SET-ACTIVE-EXPIRE 0"), "+OK\r\n");
        assert!(!t.node.active_expire.load(Ordering::Relaxed));
        assert_eq!(t.run("debug set-active-expire 1"), "+OK\r\n");
        assert!(t.node.active_expire.load(Ordering::Relaxed));
        assert_eq!(t.run("DEBUG RELOAD NOSAVE"), "+OK\r\n");
        assert_eq!(t.run("DEBUG CHANGE-REPL-ID"), "+OK\r\n");
        assert_eq!(t.error("DEBUG ERROR 'MY own'"), "MY own");
        assert!(t.run("DEBUG HELP").contains("+SLEEP <seconds>\r\n+    "));
        for line in ["SLEEP", "bogus", "JMAP", "OBJECT"] {
            let error = format!("ERR unknown subcommand or wrong number of arguments for '{line}'. Try DEBUG HELP.");
            assert_eq!(t.error(&format!("DEBUG {line}")), error);
        }
    }

    #[test]
    fn objects() {
        let mut t = allowed();
        t.run("SET n 12");
        t.run("SET s hello");
        t.run(&format!("SET long {}", "x".repeat(100)));
        for (key, text) in [
            ("n", "encoding:int serializedlength:2 "),
            ("s", "encoding:embstr serializedlength:6 "),
            ("long", "encoding:raw serializedlength:102 "),
        ] {
            let reply = t.run(&format!("DEBUG OBJECT {key}"));
            assert!(reply.starts_with("+Value at:0x0 refcount:1 ") && reply.contains(text), "{reply}");
        }
        assert_eq!(t.error("DEBUG OBJECT none"), "ERR no such key");
    }
}
