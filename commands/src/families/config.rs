//! CONFIG: the settings table over the wire. What a setting accepts is said in [`crate::settings`].

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;
use crate::families::help::help;
use crate::settings::{Reason, SettingError};

const OPERATORS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

/// Rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "config",
    wire_id: 180,
    arity: -2,
    keys: Keys::NONE,
    flags: Flags::NONE,
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on the subcommand",
    summary: "Groups the commands that read and change settings.",
    usage: "",
    subcommands: &[
        Command {
            name: "config|get",
            wire_id: 181,
            arity: -3,
            keys: Keys::NONE,
            flags: OPERATORS,
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N*M), N being the number of settings and M that of patterns",
            summary: "Returns the settings whose names match one of the patterns.",
            usage: "pattern ...",
            subcommands: &[],
            run: get,
        },
        Command {
            name: "config|set",
            wire_id: 182,
            arity: -4,
            keys: Keys::NONE,
            flags: OPERATORS,
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N), N being the number of settings",
            summary: "Changes settings while the server runs, all of those given or none.",
            usage: "(parameter value) ...",
            subcommands: &[],
            run: set,
        },
        Command {
            name: "config|resetstat",
            wire_id: 183,
            arity: 2,
            keys: Keys::NONE,
            flags: OPERATORS.and(Flags::KEYSPACE),
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N), N being the number of commands times that of serving threads",
            summary: "Sets the counters that INFO shows back to zero.",
            usage: "",
            subcommands: &[],
            run: resetstat,
        },
        Command {
            name: "config|rewrite",
            wire_id: 184,
            arity: 2,
            keys: Keys::NONE,
            flags: OPERATORS,
            group: Group::Server,
            since: "2.8.0",
            complexity: "O(1)",
            summary: "Always fails: the server never writes its configuration file.",
            usage: "",
            subcommands: &[],
            run: rewrite,
        },
        Command {
            name: "config|help",
            wire_id: 185,
            arity: 2,
            keys: Keys::NONE,
            flags: Flags::LOADING.and(Flags::STALE),
            group: Group::Server,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Lists these subcommands.",
            usage: "",
            subcommands: &[],
            run: help,
        },
    ],
    run: help,
}];

fn get(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let patterns: Vec<&[u8]> = call.args.iter().skip(2).collect();
    let found = call.node.settings.matching(&patterns);
    call.reply.map(found.len());
    for (name, text) in found {
        call.reply.bulk(name);
        call.reply.bulk(&text);
    }
    Ok(())
}

fn set(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let words: Vec<&[u8]> = call.args.iter().skip(2).collect();
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::SYNTAX);
    }
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|[name, text]| (*name, *text)).collect();
    let settings = &call.node.settings;
    let changed = settings.set_all(&pairs).map_err(refusal)?;
    if changed.iter().any(|row| row.name.starts_with("maxmemory") || row.name == "swr-side-memory") {
        settings.apply_memory(call.store.store());
    }
    for row in changed {
        let shown = if row.is_secret() { String::new() } else { settings.text(row.name) };
        call.node.host.setting_changed(row.name, &shown);
    }
    call.reply.ok();
    Ok(())
}

fn refusal(SettingError { name, reason }: SettingError) -> Error {
    match reason {
        Reason::Unknown => Error::quoting("Unknown option or number of arguments for CONFIG SET - '", &name, "'"),
        reason => {
            let before = "CONFIG SET failed (possibly related to argument '";
            Error::quoting(before, &name, &format!("') - {reason}"))
        }
    }
}

fn resetstat(call: &mut Call<'_, '_>) -> Result<(), Error> {
    call.node.workers.iter().for_each(|worker| worker.reset());
    call.node.error_counts.clear();
    call.node.services.now().with_global().for_each(|service| service.stats.reset());
    *call.node.counts_before.lock() = call.store.counts();
    call.reply.ok();
    Ok(())
}

fn rewrite(_: &mut Call<'_, '_>) -> Result<(), Error> {
    Err(Error::err("The server is running without a config file"))
}

#[cfg(test)]
mod tests {
    use crate::testkit::Testkit;
    use storage::Policy;

    #[test]
    fn get_takes_patterns_and_answers_a_map() {
        let mut t = Testkit::new();
        assert_eq!(t.run("CONFIG GET Databases"), "*2\r\n$9\r\nDatabases\r\n$2\r\n16\r\n");
        assert_eq!(t.run("CONFIG GET nope"), "*0\r\n");
        let both = "$9\r\nmaxmemory\r\n$1\r\n0\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n";
        assert_eq!(t.resp3().run("CONFIG GET maxmemory-p* maxmemor? MAXMEMORY"), format!("%2\r\n{both}"));
        assert_eq!(t.run("CONFIG GET nope"), "%0\r\n");
        assert_eq!(t.error("CONFIG GET"), "ERR wrong number of arguments for 'config|get' command");
    }

    #[test]
    fn asked_for_by_benchmarks_and_libraries() {
        let mut t = Testkit::new();
        for (name, text) in [
            ("save", ""),
            ("appendonly", "no"),
            ("databases", "16"),
            ("timeout", "0"),
            ("replica-read-only", "yes"),
            ("slave-read-only", "yes"),
            ("maxclients", "10000"),
            ("slowlog-max-len", "128"),
            ("cluster-enabled", "no"),
            ("proto-max-bulk-len", "536870912"),
            ("lua-time-limit", "5000"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ] {
            let expected = format!("*2\r\n${}\r\n{name}\r\n${}\r\n{text}\r\n", name.len(), text.len());
            assert_eq!(t.run(&format!("CONFIG GET {name}")), expected);
        }
    }

    #[test]
    fn set_acts_at_once_and_tells_the_shell() {
        let mut t = Testkit::new();
        assert_eq!(t.run("config set MAXMEMORY 100mb maxmemory-policy allkeys-lru hz 20"), "+OK\r\n");
        assert_eq!((t.store.memory().limit(), t.store.memory().policy()), (100 << 20, Policy::AllKeysLru));
        assert_eq!(t.run("CONFIG GET maxmemory"), "*2\r\n$9\r\nmaxmemory\r\n$9\r\n104857600\r\n");
        assert_eq!(*t.shell.changed.lock(), ["maxmemory", "maxmemory-policy", "hz"]);
        assert_eq!(t.run("CONFIG SET notify-keyspace-events Egx"), "+OK\r\n");
        assert_eq!(t.run("CONFIG SET save '' databases 16"), "+OK\r\n");
    }

    #[test]
    fn set_refuses_in_redis_words() {
        let mut t = Testkit::new();
        for (line, error) in [
            ("CONFIG SET x 1", "Unknown option or number of arguments for CONFIG SET - 'x'"),
            ("CONFIG SET timeout 1 y", "syntax error"),
            (
                "CONFIG SET maxmemory abc",
                "CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value",
            ),
            (
                "CONFIG SET timeout 1 save '60 1'",
                "CONFIG SET failed (possibly related to argument 'save') - can't set immutable config",
            ),
            (
                "CONFIG SET timeout 1 timeout 2",
                "CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter",
            ),
        ] {
            assert_eq!(t.error(line), format!("ERR {error}"), "{line}");
        }
        assert_eq!(t.error("CONFIG SET timeout"), "ERR wrong number of arguments for 'config|set' command");
        assert_eq!(t.error("CONFIG REWRITE"), "ERR The server is running without a config file");
        assert_eq!(t.error("CONFIG"), "ERR wrong number of arguments for 'config' command");
        assert_eq!(t.error("CONFIG foo"), "ERR unknown subcommand 'foo'. Try CONFIG HELP.");
        assert_eq!(t.run("CONFIG GET timeout"), "*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
    }

    #[test]
    fn a_new_password_is_not_asked_of_those_inside() {
        let mut t = Testkit::new();
        assert_eq!(t.run("CONFIG SET requirepass secret slowlog-log-slower-than 0"), "+OK\r\n");
        assert_eq!(t.run("GET k"), "$-1\r\n");
        assert!(t.node.slowlog.newest(9).iter().all(|entry| !entry.args.contains(&b"secret".to_vec())));
        t.connect();
        assert_eq!(t.error("GET k"), "NOAUTH Authentication required.");
    }

    #[test]
    fn resetstat_forgets_counts() {
        let mut t = Testkit::new();
        t.run("SET k v PX 1");
        t.advance_ms(2000);
        let mut reaper = t.store.join();
        let mut batch = reaper.batch();
        let stripes = batch.stripes();
        batch.tick(0, stripes, &t.cx);
        drop(batch);
        t.run("GET k");
        t.run("NOPE");
        assert_eq!((t.errors("ERR"), t.stats().misses.value()), (1, 1));
        assert!(t.run("INFO stats").contains("\r\nexpired_keys:1\r\n"));
        assert_eq!(t.run("CONFIG RESETSTAT"), "+OK\r\n");
        assert_eq!((t.errors("ERR"), t.stats().misses.value()), (0, 0));
        assert_eq!(t.stats().commands.value(), 1, "the command itself is counted after it ran");
        assert!(t.run("INFO stats").contains("\r\nexpired_keys:0\r\n"));
    }
}
