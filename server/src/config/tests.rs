//! Where settings come from, who wins, and how the start is refused.

use super::*;
use std::path::Path;

fn start(args: &[&str], variables: &[(&str, &str)]) -> Result<Start, String> {
    let args = std::iter::once("millpond").chain(args.iter().copied()).map(OsString::from);
    load_from(args, variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text))))
}

fn settings(args: &[&str], variables: &[(&str, &str)]) -> Settings {
    match start(args, variables) {
        Ok(Start::Serve(settings, _)) => *settings,
        other => panic!("{other:?}"),
    }
}

fn error(args: &[&str], variables: &[(&str, &str)]) -> String {
    let message = start(args, variables).expect_err("an error");
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

fn printed(arg: &str) -> String {
    match start(&[arg], &[]) {
        Ok(Start::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A file that is removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millpond-config-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).expect("a writable directory for temporary files");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn yaml(text: &str) -> Result<Vec<(&'static str, String)>, String> {
    let (given, _) = file::parse(text, Path::new("pond.yaml"))?;
    let settings = Settings::default();
    for given in &given {
        given.apply(&settings)?;
    }
    Ok(given.iter().map(|given| (given.row.name, settings.text(given.row.name))).collect())
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = File::new("precedence", "port: 1\ntimeout: 1\nmaxclients: 1\n");
    let variables = [("MILLPOND_PORT", "2"), ("MILLPOND_TIMEOUT", "2"), ("MILLPOND_CONFIG", file.path())];
    let all = settings(&["--port", "3"], &variables);
    let shown = ["port", "timeout", "maxclients", "tcp-backlog"].map(|name| all.number(name));
    assert_eq!(shown, [3, 2, 1, 511]);
    assert_eq!(all.text("config"), file.path());
    let other = File::new("other", "port: 4");
    assert_eq!(settings(&["--config", other.path()], &variables[2..]).number("port"), 4);
    assert_eq!(settings(&[], &[]).number("port"), 6379);
}

#[test]
fn flags_read_as_in_redis_server() {
    let given = settings(
        &["--port=7000", "--bind", "127.0.0.1", "-::1", "--save", "", "--maxmemory", "1gb", "--io-threads", "4"],
        &[],
    );
    assert_eq!((given.number("port"), given.text("bind")), (7000, "127.0.0.1 -::1".into()));
    assert_eq!((given.number("maxmemory"), given.number("threads")), (1 << 30, 4));
    let given = settings(&["--requirepass", "a=b", "--client-output-buffer-limit", "normal", "1mb", "0", "0"], &[]);
    assert_eq!(given.text("requirepass"), "a=b");
    assert!(given.text("client-output-buffer-limit").starts_with("normal 1048576 0 0 slave 268435456 "));
    assert_eq!(settings(&["--save=", "--appendonly", "no", "--hz", "100"], &[]).text("hz"), "100");
}

#[test]
fn of_a_flag_given_twice_the_last_wins() {
    assert_eq!(settings(&["--port", "1", "--timeout", "3", "--port", "2"], &[]).number("port"), 2);
    assert_eq!(settings(&["--threads", "1", "--io-threads", "2"], &[]).number("threads"), 2);
    let (first, last) = (File::new("first", "port: 1"), File::new("last", "port: 2"));
    assert_eq!(settings(&["--config", first.path(), "--config", last.path()], &[]).number("port"), 2);
    let limits = ["--client-output-buffer-limit", "normal 1 0 0", "--client-output-buffer-limit", "pubsub 2 0 0"];
    assert_eq!(
        settings(&limits, &[]).text("client-output-buffer-limit"),
        "normal 1 0 0 slave 268435456 67108864 60 pubsub 2 0 0"
    );
}

#[test]
fn wrong_flags_end_the_start() {
    for (args, message) in [
        (&["--prot", "1"][..], "flag --prot: there is no such setting"),
        (&["--port"], "flag --port: a value is missing"),
        (&["--port", "--timeout", "1"], "flag --port: a value is missing"),
        (&["--port", "x"], "flag --port: port 'x': argument couldn't be parsed into an integer"),
        (&["--port", "1", "2"], "flag --port: port '1 2': argument couldn't be parsed into an integer"),
        (&["--port", "1", "--port", "x"], "flag --port: port 'x': argument couldn't be parsed into an integer"),
        (&["--appendonly", "yes"], "flag --appendonly: appendonly 'yes' is not supported, only 'no' is"),
        (&["--save", "60", "1"], "flag --save: save '60 1' is not supported, only '' is"),
        (&["pond.conf"], "argument pond.conf: settings are given as --name value, a file as --config FILE"),
        (&["-p", "1"], "argument -p: settings are given as --name value, a file as --config FILE"),
        (&["--config", "/nonexistent/x"], "/nonexistent/x: No such file or directory (os error 2)"),
    ] {
        assert_eq!(error(args, &[]), message, "{args:?}");
    }
}

#[test]
fn wrong_variables_end_the_start() {
    for (name, text, message) in [
        ("MILLPOND_PROT", "1", "variable MILLPOND_PROT: there is no such setting"),
        ("MILLPOND_PORT", "", "variable MILLPOND_PORT: port '': argument couldn't be parsed into an integer"),
        (
            "MILLPOND_MAXMEMORY_POLICY",
            "lru",
            "variable MILLPOND_MAXMEMORY_POLICY: maxmemory-policy 'lru': argument(s) must",
        ),
    ] {
        assert!(error(&[], &[(name, text)]).starts_with(message), "{name}");
    }
    let twice = [("MILLPOND_THREADS", "1"), ("MILLPOND_IO_THREADS", "1")];
    assert_eq!(error(&[], &twice), "variable MILLPOND_IO_THREADS: threads is given twice");
}

#[test]
fn variables_of_a_service_called_millpond_are_no_settings() {
    let variables = [
        ("MILLPOND_PORT", "tcp://10.0.0.7:6379"),
        ("MILLPOND_PORT_6379_TCP_ADDR", "10.0.0.7"),
        ("MILLPOND_SERVICE_HOST", "10.0.0.7"),
        ("MILLPOND_SERVICE_PORT", "6379"),
        ("MILLPONDS", "x"),
        ("PATH", "/bin"),
    ];
    assert_eq!(settings(&[], &variables).number("port"), 6379);
}

#[test]
fn files_are_flat_mappings() {
    let text = "# a pond\n---\nport: 7000\nmaxmemory: 1gb\nprotected-mode: false\nlatency-tracking: yes\nsave: \"\"\n\
                requirepass: '1234'\nbind:\n  - 127.0.0.1\n  - -::1\nunixsocketperm: 0700\nio-threads: 2\n";
    let expected = [
        ("port", "7000"),
        ("maxmemory", "1073741824"),
        ("protected-mode", "no"),
        ("latency-tracking", "yes"),
        ("save", ""),
        ("requirepass", "1234"),
        ("bind", "127.0.0.1 -::1"),
        ("unixsocketperm", "700"),
        ("threads", "2"),
    ];
    let found = yaml(text).unwrap();
    let found: Vec<_> = found.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(found, expected);
    for empty in ["", "\n", "# nothing\n", "---\n", "{}\n"] {
        assert_eq!(yaml(empty).unwrap(), [], "{empty:?}");
    }
}

#[test]
fn wrong_files_end_the_start_and_name_the_line() {
    for (text, message) in [
        ("port: 1\nprot: 2\n", "pond.yaml:2: prot: there is no such setting"),
        ("port: x\n", "pond.yaml:1: port 'x': argument couldn't be parsed into an integer"),
        ("\nport: [1, 2]\n", "pond.yaml:2: port: a single value is expected"),
        ("port:\n  first: 1\n", "pond.yaml:2: port: a single value is expected"),
        ("timeout: 1\nport:\n", "pond.yaml:2: port: a value is missing; an empty one is \"\""),
        ("port: true\n", "pond.yaml:1: port 'true': argument couldn't be parsed into an integer"),
        ("port: &a 1\ntimeout: *a\n", "pond.yaml:2: timeout: a single value is expected"),
        ("port: !!int 1\n", "pond.yaml:1: port: a value without a tag is expected"),
        ("bind: [[a]]\n", "pond.yaml:1: bind: a list of words is expected"),
        ("config: x\n", "pond.yaml:1: config: a file cannot name another"),
        ("[port]\n", "pond.yaml:1: one mapping of names to values is expected"),
        ("port\n", "pond.yaml:1: one mapping of names to values is expected"),
        ("port: 1\n---\ntimeout: 1\n", "pond.yaml:3: one mapping of names to values is expected"),
        ("? [a]\n: 1\n", "pond.yaml:1: a name is expected"),
        ("daemonize: yes\n", "pond.yaml:1: daemonize 'yes' is not supported, only 'no' is"),
    ] {
        assert_eq!(yaml(text).expect_err(text), message, "{text}");
    }
    assert!(yaml("port: 1\nbind: \"a\n").unwrap_err().starts_with("pond.yaml:"), "an open quote");
    let file = File::new("twice", "threads: 1\ntimeout: 1\nio-threads: 1\n");
    let twice = error(&["--config", file.path()], &[]);
    assert_eq!(twice, format!("{}:3: threads is given twice", file.path()));
}

#[test]
fn a_password_is_never_repeated() {
    let file = File::new("secret", "requirepass: [hunter2]\n");
    assert!(!error(&["--config", file.path()], &[]).contains("hunter2"));
    assert!(!error(&["--requirepass", "hunter2", "--prot", "1"], &[]).contains("hunter2"));
}

#[test]
fn help_and_version() {
    let help = printed("--help");
    assert_eq!(help, printed("-h"));
    for row in SETTINGS {
        let flag = format!("--{}=", row.name);
        assert_eq!(help.contains(&flag), is_effective(row), "{flag}");
    }
    assert_eq!(printed("--version"), format!("millpond {}\n", commands::node::VERSION));
    assert_eq!(printed("-V"), printed("--version"));
}
