//! COMMAND and its subcommands.

use crate::table;
use crate::testkit::Testkit;

/// A RESP3 reply as nested values, so that shapes can be compared with the table.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Status(String),
    Integer(i64),
    Null,
    Array(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    fn parse(reply: &str) -> Self {
        let mut rest = reply;
        let value = Self::next(&mut rest);
        assert_eq!(rest, "", "more than one reply");
        value
    }

    fn next(rest: &mut &str) -> Self {
        let (line, after) = rest.split_once("\r\n").expect("a line");
        *rest = after;
        let (kind, text) = line.split_at(1);
        let mut many = |count: usize| (0..count).map(|_| Self::next(rest)).collect::<Vec<_>>();
        match kind {
            "+" => Self::Status(text.into()),
            ":" => Self::Integer(text.parse().unwrap()),
            "_" => Self::Null,
            "*" => Self::Array(many(text.parse().unwrap())),
            "~" => Self::Set(many(text.parse().unwrap())),
            "%" => {
                let flat = many(2 * text.parse::<usize>().unwrap());
                Self::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
            }
            "$" => {
                let (bulk, after) = rest.split_at(text.parse().unwrap());
                *rest = after.strip_prefix("\r\n").expect("a line end");
                Self::Text(bulk.into())
            }
            _ => panic!("{line}"),
        }
    }

    fn at(&self, index: usize) -> &Self {
        let (Self::Array(items) | Self::Set(items)) = self else { panic!("{self:?}") };
        &items[index]
    }

    fn field(&self, name: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { panic!("{self:?}") };
        pairs.iter().find(|(key, _)| *key == Self::Text(name.into())).map(|(_, value)| value)
    }

    fn len(&self) -> usize {
        match self {
            Self::Array(items) | Self::Set(items) => items.len(),
            Self::Map(pairs) => pairs.len(),
            _ => panic!("{self:?}"),
        }
    }

    /// Statuses of a set, sorted.
    fn statuses(&self) -> Vec<&str> {
        let Self::Set(items) = self else { panic!("{self:?}") };
        let mut statuses = Vec::new();
        for item in items {
            let Self::Status(text) = item else { panic!("{self:?}") };
            statuses.push(text.as_str());
        }
        statuses.sort_unstable();
        statuses
    }
}

fn ask(line: &str) -> Value {
    Value::parse(&Testkit::new().resp3_kit().run(line))
}

impl Testkit {
    fn resp3_kit(mut self) -> Self {
        self.resp3();
        self
    }
}

#[test]
fn info_of_get_as_redis_answers_it() {
    let head = "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n";
    let resp3 = "~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n+@read\r\n+@fast\r\n+@string\r\n~0\r\n~1\r\n%3\r\n\
        $5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
        %1\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n\
        $7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n";
    let mut t = Testkit::new();
    let resp2 = resp3
        .replace(['~', '%'], "*")
        .replace("*3\r\n$5\r\nflags", "*6\r\n$5\r\nflags")
        .replace("*2\r\n$4\r\ntype", "*4\r\n$4\r\ntype")
        .replace("*1\r\n$5\r\nindex", "*2\r\n$5\r\nindex")
        .replace("*3\r\n$7\r\nlastkey", "*6\r\n$7\r\nlastkey");
    assert_eq!(t.run("COMMAND INFO get"), format!("{head}{resp2}"));
    assert_eq!(t.resp3().run("command info GET"), format!("{head}{resp3}"));
}

#[test]
fn info_knows_every_row() {
    let all = ask("COMMAND");
    assert_eq!(all, ask("COMMAND INFO"));
    assert_eq!(all.len(), table::commands().count());
    assert_eq!(ask("COMMAND COUNT"), Value::Integer(all.len() as i64));
    for (nth, row) in table::commands().enumerate() {
        let info = all.at(nth);
        assert_eq!((info.len(), info.at(0)), (10, &Value::Text(row.name.into())));
        assert_eq!(info.at(9).len(), row.subcommands.len());
        for (nth, sub) in row.subcommands.iter().enumerate() {
            assert_eq!(ask(&format!("COMMAND INFO {}", sub.name)).at(0), info.at(9).at(nth));
        }
    }
    let some = ask("COMMAND INFO nope config|get get|x config|nope");
    assert_eq!([some.at(0), some.at(2), some.at(3)], [&Value::Null; 3]);
    assert_eq!(some.at(1).at(2).statuses(), ["admin", "loading", "noscript", "stale"]);
    assert_eq!(Testkit::new().run("COMMAND INFO nope"), "*1\r\n$-1\r\n");
}

#[test]
fn docs_describe_the_arguments() {
    let docs = ask("COMMAND DOCS set nope");
    assert_eq!(docs.len(), 1);
    let set = docs.field("set").unwrap();
    assert_eq!(set.field("group"), Some(&Value::Text("string".into())));
    let arguments = set.field("arguments").unwrap();
    let key = arguments.at(0);
    assert_eq!(key.field("type"), Some(&Value::Text("key".into())));
    assert_eq!(key.field("key_spec_index"), Some(&Value::Integer(0)));
    let condition = arguments.at(2);
    assert_eq!(condition.field("type"), Some(&Value::Text("oneof".into())));
    assert_eq!(condition.field("flags").unwrap().statuses(), ["optional"]);
    assert_eq!(condition.field("display_text"), None);
    assert_eq!(condition.field("arguments").unwrap().at(0).field("token"), Some(&Value::Text("NX".into())));
    assert_eq!(ask("COMMAND DOCS nope").len(), 0);
}

#[test]
fn docs_know_every_row() {
    let all = ask("COMMAND DOCS");
    assert_eq!(all.len(), table::commands().count());
    for row in table::commands() {
        let docs = all.field(row.name).unwrap();
        assert_eq!(docs.field("arguments").is_none(), row.usage.is_empty(), "{}", row.name);
        for sub in row.subcommands {
            assert!(docs.field("subcommands").unwrap().field(sub.name).is_some(), "{}", sub.name);
        }
    }
    assert!(ask("COMMAND DOCS config|get").field("config|get").is_some());
}

#[test]
fn list_filters() {
    assert_eq!(ask("COMMAND LIST").len(), table::all().count());
    let get = Value::Text("get".into());
    assert_eq!(ask("COMMAND LIST filterby pattern GE?"), Value::Array(vec![get]));
    let admin = ask("COMMAND LIST FILTERBY ACLCAT Admin");
    assert!(admin.len() > 0 && admin.len() < table::all().count());
    for empty in ["ACLCAT @admin", "ACLCAT nope", "MODULE x"] {
        assert_eq!(ask(&format!("COMMAND LIST FILTERBY {empty}")).len(), 0, "{empty}");
    }
    let mut t = Testkit::new();
    for wrong in ["x", "FILTERBY", "FILTERBY foo bar", "FILTERBY PATTERN a b", "FILTERX PATTERN a"] {
        assert_eq!(t.error(&format!("COMMAND LIST {wrong}")), "ERR syntax error", "{wrong}");
    }
}

#[test]
fn getkeys() {
    let mut t = Testkit::new();
    assert_eq!(t.run("COMMAND GETKEYS get k"), "*1\r\n$1\r\nk\r\n");
    assert_eq!(t.run("COMMAND GETKEYS SET k v EX 10"), "*1\r\n$1\r\nk\r\n");
    for (request, error) in [
        ("nope a", "Invalid command specified"),
        ("config nope k", "Invalid command specified"),
        ("config", "The command has no key arguments"),
        ("config get x", "The command has no key arguments"),
        ("get", "Invalid number of arguments specified for command"),
        ("set k", "Invalid number of arguments specified for command"),
    ] {
        assert_eq!(t.error(&format!("COMMAND GETKEYS {request}")), format!("ERR {error}"), "{request}");
        assert_eq!(t.error(&format!("COMMAND GETKEYSANDFLAGS {request}")), format!("ERR {error}"), "{request}");
    }
    assert_eq!(t.error("COMMAND GETKEYS"), "ERR wrong number of arguments for 'command|getkeys' command");
}

#[test]
fn getkeysandflags() {
    let flags = |request: &str| {
        let keys = ask(&format!("COMMAND GETKEYSANDFLAGS {request}"));
        assert_eq!((keys.len(), keys.at(0).at(0)), (1, &Value::Text("k".into())));
        keys.at(0).at(1).statuses().join(" ")
    };
    assert_eq!(flags("get k"), "RO access");
    assert_eq!(flags("set k v"), "OW update");
    assert_eq!(flags("set k v EX 10 get"), "RW access update");
}

#[test]
fn errors_name_the_subcommand() {
    let mut t = Testkit::new();
    assert_eq!(t.error("COMMAND foo"), "ERR unknown subcommand 'foo'. Try COMMAND HELP.");
    assert_eq!(t.error("COMMAND COUNT x"), "ERR wrong number of arguments for 'command|count' command");
}
