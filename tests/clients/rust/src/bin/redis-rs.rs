//! redis-rs in both protocols: the shared checks over blocking connections, then the asynchronous connection manager.

use std::collections::HashSet;
use std::time::Duration;

use redis::{
    Client, Commands, Connection, ConnectionAddr, ErrorKind, ExistenceCheck, Expiry, FromRedisValue,
    IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisResult, ScanOptions, ServerErrorKind, SetExpiry,
    SetOptions, Value, cmd, pipe,
};
use report::*;

fn settings(protocol: u8) -> RedisConnectionInfo {
    let version = if protocol == 3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
    RedisConnectionInfo::default().set_protocol(version)
}

fn client_at((host, port): (String, u16), settings: RedisConnectionInfo) -> Client {
    let info = ok((host.as_str(), port).into_connection_info()).set_addr(ConnectionAddr::Tcp(host.clone(), port));
    ok(Client::open(info.set_redis_settings(settings)))
}

fn connect(settings: RedisConnectionInfo) -> Connection {
    let connection = ok(client_at(address(), settings).get_connection());
    ok(connection.set_read_timeout(Some(Duration::from_secs(15))));
    connection
}

/// Sends the words of a line as they are.
fn say<T: FromRedisValue>(c: &mut Connection, line: &str) -> RedisResult<T> {
    let mut words = line.split(' ');
    let mut command = cmd(words.next().expect("a name"));
    for word in words {
        command.arg(word);
    }
    command.query(c)
}

fn int(c: &mut Connection, line: &str) -> i64 {
    ok(say(c, line))
}

fn text(c: &mut Connection, line: &str) -> String {
    ok(say(c, line))
}

fn options(expiry: SetExpiry) -> SetOptions {
    SetOptions::default().with_expiration(expiry)
}

type Check = fn(&mut Connection, u8);

const SHARED: &[(&str, Check)] = &[
    ("connect", |c, protocol| {
        same(text(c, "PING"), "PONG");
        same(text(c, "PING hi"), "hi");
        same(text(c, "ECHO frog"), "frog");
        ok::<(), _>(c.client_setname("pond-skater"));
        same(ok(c.client_getname::<Option<String>>()), Some("pond-skater".to_owned()));
        let info = text(c, "CLIENT INFO");
        has(&info, " name=pond-skater ");
        has(&info, &format!(" resp={protocol}"));
        let id = ok(c.client_id::<i64>());
        has(&info, &format!("id={id} "));
        let server = text(c, "INFO server");
        if server.split("redis_version:").nth(1).expect("a version") >= "7.2" {
            has(&info, "lib-name=redis-rs");
        }
    }),
    ("password", |c, protocol| {
        let at = password_address();
        let locked = |settings| client_at(at.clone(), settings).get_connection();
        let mut right = ok(locked(settings(protocol).set_password(password())));
        ok::<(), _>(right.set("secret", "kept"));
        let mut user = ok(locked(settings(protocol).set_username("default").set_password(password())));
        same(ok(user.get::<_, String>("secret")), "kept");
        let refused = locked(settings(protocol).set_password("guess")).map(|_| ());
        let error = ok(refused.err().ok_or("no error"));
        assert!(error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS"), "{error:?}");
        match locked(settings(protocol)) {
            Ok(mut none) => {
                same(fails(none.get::<_, String>("secret"), "Authentication required.").code(), Some("NOAUTH"))
            }
            Err(error) => has(&error.to_string(), "HELLO must be called with the client already authenticated"),
        }
        let _ = fails(say::<Value>(c, "AUTH superfluous"), "without any password configured for the default user");
    }),
    ("database", |c, protocol| {
        let mut five = connect(settings(protocol).set_db(5));
        ok::<(), _>(c.set("where", "zero"));
        same(ok(five.get::<_, Option<String>>("where")), None::<String>);
        ok::<(), _>(five.set("where", "five"));
        same((text(c, "GET where"), int(c, "DBSIZE"), int(&mut five, "DBSIZE")), ("zero".to_owned(), 1, 1));
        ok::<(), _>(c.set("walker", 1));
        same((int(c, "MOVE walker 5"), int(c, "EXISTS walker"), int(&mut five, "EXISTS walker")), (1, 0, 1));
        same(text(c, "SWAPDB 0 5"), "OK");
        same((text(c, "GET where"), text(&mut five, "GET where")), ("five".to_owned(), "zero".to_owned()));
        ok::<(), _>(c.flushdb());
        same((int(c, "DBSIZE"), int(&mut five, "DBSIZE")), (0, 1));
        let beyond = client_at(address(), settings(protocol).set_db(16)).get_connection().map(|_| ());
        let _ = fails(beyond, "");
        let _ = fails(say::<Value>(c, "SELECT 16"), "DB index is out of range");
    }),
    ("values", |c, _| {
        for value in [vec![], b"\r\n$-1\r\n".to_vec(), every_byte(), vec![0xff; MIB]] {
            ok::<(), _>(c.set("value", &value));
            assert!(ok(c.get::<_, Vec<u8>>("value")) == value, "another value came back");
            same(ok(c.strlen::<_, usize>("value")), value.len());
        }
        ok::<(), _>(c.set(every_byte(), "binary key"));
        same(ok(c.get::<_, String>(every_byte())), "binary key");
        ok::<(), _>(c.set("", "empty key"));
        same(ok(c.get::<_, String>("")), "empty key");
        ok::<(), _>(c.set("text", "Wörter ☔"));
        same(ok(c.getset::<_, _, String>("text", "b")), "Wörter ☔");
        same(ok(c.get_del::<_, String>("text")), "b");
        same(ok(c.get::<_, Option<String>>("text")), None::<String>);
    }),
    ("mget and mset", |c, _| {
        let pairs: Vec<(String, i64)> = (0..100).map(|i| (format!("m{i}"), i)).collect();
        let keys: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
        ok::<(), _>(c.mset(&pairs));
        same(ok(c.mget::<_, Vec<i64>>(&keys)), (0..100).collect::<Vec<i64>>());
        same(ok(c.mget::<_, Vec<Option<i64>>>(&["m1", "none"])), vec![Some(1), None]);
        same(ok(c.mset_nx::<_, _, bool>(&[("m0", "x"), ("fresh", "y")])), false);
        same((int(c, "EXISTS fresh"), int(c, "MSETNX fresh y")), (0, 1));
        same(ok(c.exists::<_, i64>(&["m0", "m0", "none"])), 2);
        same(ok(c.del::<_, i64>(&keys[..50])), 50);
        same(ok(c.unlink::<_, i64>(&keys)), 50);
    }),
    ("set options", |c, _| {
        let (soon, nx, xx) = (soon(), ExistenceCheck::NX, ExistenceCheck::XX);
        let mut set =
            |key: &str, value: &str, options: SetOptions| -> Option<String> { ok(c.set_options(key, value, options)) };
        let plain = SetOptions::default;
        let good = Some("OK".to_owned());
        same(set("k", "1", plain().conditional_set(nx)), good.clone());
        same(set("k", "2", plain().conditional_set(nx)), None::<String>);
        same(set("none", "2", plain().conditional_set(xx)), None::<String>);
        same(set("k", "2", options(SetExpiry::EX(50)).conditional_set(xx)), good.clone());
        same(set("k", "3", options(SetExpiry::KEEPTTL)), good.clone());
        between(45, int(c, "TTL k"), 50);
        same((text(c, "SET k 4"), int(c, "TTL k")), ("OK".to_owned(), -1));
        ok::<(), _>(c.set_options("k", "5", options(SetExpiry::PX(50_000))));
        between(45_000, int(c, "PTTL k"), 50_000);
        ok::<(), _>(c.set_options("k", "6", options(SetExpiry::EXAT(soon as u64))));
        same(int(c, "EXPIRETIME k"), soon);
        ok::<(), _>(c.set_options("k", "7", options(SetExpiry::PXAT(soon as u64 * 1000 + 7))));
        same(int(c, "PEXPIRETIME k"), soon * 1000 + 7);
        same(ok(c.set_options::<_, _, String>("k", "8", plain().get(true))), "7");
        same(ok(c.set_options::<_, _, String>("k", "9", plain().get(true).conditional_set(nx))), "8");
        same(
            ok(c.set_options::<_, _, Option<String>>("fresh", "9", plain().get(true).conditional_set(nx))),
            None::<String>,
        );
        same((text(c, "SET k old PXAT 1"), int(c, "EXISTS k")), ("OK".to_owned(), 0));
        let _ = fails(say::<Value>(c, "SET k v EX 0"), "invalid expire time in 'set' command");
        let _ = fails(say::<Value>(c, "SET k v EX 1 PX 1"), "syntax error");
        same((ok(c.set_nx::<_, _, bool>("nx", 1)), ok(c.set_nx::<_, _, bool>("nx", 2))), (true, false));
        same(ok(c.set_ex::<_, _, String>("sx", "v", 60)), "OK");
        same(ok(c.pset_ex::<_, _, String>("sx", "v", 60_000)), "OK");
    }),
    ("expiry", |c, _| {
        let soon = soon();
        same((int(c, "TTL none"), int(c, "PTTL none")), (-2, -2));
        same(text(c, "SET k v"), "OK");
        same((int(c, "EXPIRE k 100 XX"), int(c, "EXPIRE k 100 NX")), (0, 1));
        same((int(c, "EXPIRE k 50 GT"), int(c, "EXPIRE k 50 LT")), (0, 1));
        same(ok(c.pexpire::<_, bool>("k", 90_000)), true);
        between(85_000, int(c, "PTTL k"), 90_000);
        same((ok(c.expire_at::<_, i64>("k", soon)), ok(c.expire_time::<_, i64>("k"))), (1, soon));
        same(
            (ok(c.pexpire_at::<_, i64>("k", soon * 1000 + 1)), ok(c.pexpire_time::<_, i64>("k"))),
            (1, soon * 1000 + 1),
        );
        same((ok(c.persist::<_, bool>("k")), ok(c.persist::<_, bool>("k"))), (true, false));
        same(ok(c.get_ex::<_, String>("k", Expiry::EX(40))), "v");
        between(35, int(c, "TTL k"), 40);
        same(ok(c.get_ex::<_, String>("k", Expiry::PERSIST)), "v");
        same((int(c, "TTL k"), int(c, "EXPIRE k 0"), int(c, "EXISTS k")), (-1, 1, 0));
        same(text(c, "SET short v PX 30"), "OK");
        eventually("expiry", || ok(c.get::<_, Option<String>>("short")).is_none());
        same(int(c, "TTL short"), -2);
    }),
    ("counters", |c, _| {
        same(
            (int(c, "INCR n"), ok(c.incr::<_, _, i64>("n", 41)), int(c, "DECR n"), ok(c.decr::<_, _, i64>("n", 40))),
            (1, 42, 41, 1),
        );
        ok::<(), _>(c.set("n", i64::MAX));
        let _ = fails(say::<Value>(c, "INCR n"), "increment or decrement would overflow");
        same((ok(c.incr::<_, _, f64>("f", 10.5)), ok(c.incr::<_, _, f64>("f", -10.25))), (10.5, 0.25));
        ok::<(), _>(c.set("f", "5.0e3"));
        same(text(c, "INCRBYFLOAT f 2.0e2"), "5200");
        ok::<(), _>(c.set("text", "frog"));
        let _ = fails(say::<Value>(c, "INCR text"), "value is not an integer or out of range");
        let _ = fails(say::<Value>(c, "INCRBYFLOAT text 1"), "value is not a valid float");
    }),
    ("ranges", |c, _| {
        same((ok(c.append::<_, _, i64>("s", "Hello ")), ok(c.append::<_, _, i64>("s", "World"))), (6, 11));
        same(
            (text(c, "GETRANGE s 0 4"), text(c, "GETRANGE s -5 -1"), text(c, "GETRANGE s 5 2")),
            ("Hello".into(), "World".into(), String::new()),
        );
        same(ok(c.setrange::<_, _, i64>("s", 6, "Ponds")), 11);
        same(ok(c.get::<_, String>("s")), "Hello Ponds");
        same((int(c, "SETRANGE pad 3 x"), ok(c.get::<_, Vec<u8>>("pad"))), (4, b"\0\0\0x".to_vec()));
        let _ = fails(say::<Value>(c, "SETRANGE s -1 x"), "offset is out of range");
    }),
    ("keyspace", |c, protocol| {
        same(text(c, "SET a 1 EX 100"), "OK");
        ok::<(), _>(c.rename("a", "b"));
        between(90, int(c, "TTL b"), 100);
        let _ = fails(say::<Value>(c, "RENAME a b"), "no such key");
        same(text(c, "SET c 3"), "OK");
        same((int(c, "RENAMENX b c"), int(c, "RENAMENX b d")), (0, 1));
        same((int(c, "COPY d c"), int(c, "COPY d c REPLACE"), int(c, "COPY d d DB 3")), (0, 1, 1));
        same(text(&mut connect(settings(protocol).set_db(3)), "GET d"), "1");
        same((text(c, "TYPE c"), text(c, "TYPE none"), int(c, "TOUCH c d none")), ("string".into(), "none".into(), 2));
        let random = text(c, "RANDOMKEY");
        assert!(["c", "d"].contains(&random.as_str()), "{random}");
        same(ok(c.object_encoding::<_, Option<String>>("c")), Some("int".to_owned()));
        same(ok(c.object_encoding::<_, Option<String>>("none")), None::<String>);
        ok::<i64, _>(c.object_idletime("c"));
        ok::<i64, _>(c.object_refcount("c"));
        between(1, int(c, "MEMORY USAGE c"), 1000);
        ok::<(), _>(c.flushall());
        same((ok(say::<Option<String>>(c, "RANDOMKEY")), int(c, "DBSIZE")), (None, 0));
    }),
    ("pipeline", |c, _| {
        let mut many = pipe();
        for i in 0..1000 {
            many.set(format!("p{i}"), i).ignore().get(format!("p{i}"));
        }
        same(ok(many.query::<Vec<i64>>(c)), (0..1000).collect::<Vec<_>>());
        let mut mixed = pipe();
        mixed.set("text", "frog").cmd("INCR").arg("text").cmd("NOSUCH").get("text").ignore_errors();
        let replies = ok(mixed.query::<Vec<RedisResult<String>>>(c));
        same(replies.iter().map(|reply| reply.is_ok()).collect::<Vec<_>>(), vec![true, false, false, true]);
        same(text(c, "GET text"), "frog");
    }),
    ("large pipeline", |c, _| {
        let mut many = pipe();
        for _ in 0..30_000 {
            many.incr("big", 1);
        }
        same(ok(many.query::<Vec<i64>>(c)), (1..=30_000).collect::<Vec<_>>());
        let (mut writes, mut reads) = (pipe(), pipe());
        for i in 0..16u8 {
            writes.set(format!("block{i}"), vec![i; MIB]);
            reads.get_del(format!("block{i}"));
        }
        ok::<(), _>(writes.query(c));
        let blocks: Vec<Vec<u8>> = ok(reads.query(c));
        assert!(blocks.iter().enumerate().all(|(i, block)| *block == vec![i as u8; MIB]), "another block came back");
    }),
    ("transaction", |c, _| {
        let result: (String, i64, Option<String>) = ok(pipe().atomic().set("a", 1).incr("a", 1).get("none").query(c));
        same(result, ("OK".to_owned(), 2, None));
        let partly = pipe().atomic().set("text", "frog").incr("text", 1).set("after", "done").query::<Value>(c);
        let _ = fails(partly, "value is not an integer or out of range");
        same(text(c, "GET after"), "done");
        let aborted = pipe().atomic().set("aborted", 1).cmd("NOSUCH").query::<Value>(c);
        same(ok(aborted.err().ok_or("no error")).kind(), ErrorKind::Server(ServerErrorKind::ExecAbort));
        same(int(c, "EXISTS aborted"), 0);
        same((text(c, "MULTI"), text(c, "SET dropped 1")), ("OK".to_owned(), "QUEUED".to_owned()));
        let _ = fails(say::<Value>(c, "MULTI"), "MULTI calls can not be nested");
        same((text(c, "DISCARD"), int(c, "EXISTS dropped")), ("OK".to_owned(), 0));
        let _ = fails(say::<Value>(c, "EXEC"), "EXEC without MULTI");
        let _ = fails(say::<Value>(c, "DISCARD"), "DISCARD without MULTI");
    }),
    ("watch", |c, protocol| {
        let mut other = connect(settings(protocol));
        same(
            (text(c, "SET w 1"), text(c, "WATCH w"), text(&mut other, "SET w 2")),
            ("OK".into(), "OK".into(), "OK".into()),
        );
        same(ok(pipe().atomic().set("w", 3).query::<Option<Vec<String>>>(c)), None::<Vec<String>>);
        same(
            (text(c, "WATCH w"), text(&mut other, "SET w 4"), text(c, "UNWATCH")),
            ("OK".into(), "OK".into(), "OK".into()),
        );
        same(ok(pipe().atomic().set("w", 5).query::<Option<Vec<String>>>(c)), Some(vec!["OK".to_owned()]));
        ok::<(), _>(c.set("sum", 0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut mine = connect(settings(protocol));
                    for _ in 0..25 {
                        ok(redis::transaction(&mut mine, &["sum"], |mine, steps| {
                            let value: i64 = mine.get("sum")?;
                            steps.set("sum", value + 1).query::<Option<Value>>(mine)
                        }));
                    }
                });
            }
        });
        same(int(c, "GET sum"), 200);
    }),
    ("scan", |c, _| {
        for (prefix, count) in [("scan", 5000), ("other", 500)] {
            let pairs: Vec<_> = (0..count).map(|i| (format!("{prefix}:{i}"), "v")).collect();
            ok::<(), _>(c.mset(&pairs));
        }
        let mut all =
            |options: ScanOptions| -> HashSet<String> { ok(c.scan_options::<String>(options)).map(ok).collect() };
        let plain = ScanOptions::default;
        same(all(plain().with_pattern("scan:*").with_count(100)).len(), 5000);
        same(all(plain().with_count(1000)).len(), 5500);
        same(all(plain().with_pattern("other:?").with_count(500)).len(), 10);
        same(all(plain().with_type("string").with_count(500)).len(), 5500);
        same(all(plain().with_type("list").with_count(500)).len(), 0);
        same(
            (ok(c.keys::<_, Vec<String>>("scan:*")).len(), ok(c.keys::<_, Vec<String>>("other:[12]")).len()),
            (5000, 2),
        );
        let mut cursor = 0;
        loop {
            let (next, page): (u64, Vec<String>) = ok(say(c, &format!("SCAN {cursor} MATCH scan:* COUNT 50")));
            if !page.is_empty() {
                ok::<i64, _>(c.unlink(page));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        same(int(c, "DBSIZE"), 500);
        let _ = fails(say::<Value>(c, "SCAN frog"), "invalid cursor");
    }),
    ("errors", |c, _| {
        for (line, code, text) in [
            ("GET", "ERR", "wrong number of arguments for 'get' command"),
            ("DEL", "ERR", "wrong number of arguments for 'del' command"),
            ("NOSUCH a b", "ERR", "unknown command 'NOSUCH', with args beginning with: 'a' 'b'"),
            ("CLIENT NOSUCH", "ERR", "unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
            ("EXPIRE k soon", "ERR", "value is not an integer or out of range"),
            ("SET k v SOMEHOW", "ERR", "syntax error"),
            ("HELLO 9", "NOPROTO", "unsupported protocol version"),
        ] {
            same(fails(say::<Value>(c, line), text).code(), Some(code));
        }
        same(text(c, "PING"), "PONG");
    }),
    ("server", |c, _| {
        same(text(c, "SET k v"), "OK");
        let info: redis::InfoDict = ok(say(c, "INFO"));
        same(info.get::<String>("redis_mode").as_deref(), Some("standalone"));
        same(info.get::<String>("role").as_deref(), Some("master"));
        same(info.get::<i64>("cluster_enabled"), Some(0));
        same(info.get::<String>("db0").as_deref(), Some("keys=1,expires=0,avg_ttl=0"));
        type Config = std::collections::HashMap<String, String>;
        let before = ok(say::<Config>(c, "CONFIG GET maxmemory"))["maxmemory"].clone();
        same(text(c, "CONFIG SET maxmemory 300mb"), "OK");
        same(ok(say::<Config>(c, "CONFIG GET maxmem*ry"))["maxmemory"].clone(), (300 * MIB).to_string());
        same(text(c, &format!("CONFIG SET maxmemory {before}")), "OK");
        same(ok(say::<Config>(c, "CONFIG GET nosuch*")).len(), 0);
        let _ = fails(say::<Value>(c, "CONFIG SET nosuch 1"), "CONFIG SET");
        same(ok(say::<Vec<String>>(c, "COMMAND GETKEYS MSET a 1 b 2")), vec!["a", "b"]);
        assert!(ok(say::<Vec<String>>(c, "COMMAND LIST")).contains(&"get".to_owned()), "no get in COMMAND LIST");
        between(50, int(c, "COMMAND COUNT"), 1000);
        same(ok(say::<(String, i64, Vec<Value>)>(c, "ROLE")).0, "master");
        same(ok(say::<Vec<Value>>(c, "MODULE LIST")).len(), 0);
        same(ok(say::<Vec<Value>>(c, "LATENCY LATEST")).len(), 0);
        let (seconds, _): (i64, i64) = ok(say(c, "TIME"));
        between(soon() - 105, seconds, soon() - 95);
        same(text(c, "SLOWLOG RESET"), "OK");
        between(0, ok(say::<Vec<Value>>(c, "SLOWLOG GET 10")).len() as i64, 1);
    }),
    ("clients", |c, protocol| {
        let name = format!("victim-{protocol}");
        let mut victim = connect(settings(protocol));
        ok::<(), _>(victim.client_setname(&name));
        let id = int(&mut victim, "CLIENT ID");
        same(text(c, "CLIENT LIST").matches(&format!(" name={name} ")).count(), 1);
        has(&text(c, &format!("CLIENT LIST ID {id}")), &format!("id={id} "));
        same((int(c, &format!("CLIENT KILL ID {id}")), int(c, &format!("CLIENT KILL ID {id}"))), (1, 0));
        assert!(fails(say::<Value>(&mut victim, "PING"), "").is_connection_dropped(), "another kind of error");
        let _ = fails(say::<Value>(c, "CLIENT KILL 127.0.0.1:1"), "No such client");
        same((text(c, "CLIENT NO-EVICT ON"), text(c, "CLIENT NO-EVICT OFF")), ("OK".to_owned(), "OK".to_owned()));
    }),
    ("reconnect", |c, protocol| {
        // The pool notices the dead connection when it is borrowed and makes a new one.
        let pool = ok(redis_pool(protocol, 1));
        for _ in 0..3 {
            let id: i64 = {
                let mut one = ok(pool.get());
                ok::<(), _>(one.set("before", 1));
                ok(cmd("CLIENT").arg("ID").query(&mut *one))
            };
            same(int(c, &format!("CLIENT KILL ID {id}")), 1);
            let mut again = ok(pool.get());
            same(ok(again.get::<_, i64>("before")), 1);
            assert!(ok(cmd("CLIENT").arg("ID").query::<i64>(&mut *again)) > id, "the same connection");
        }
    }),
    ("workers", |c, protocol| {
        let pool = ok(redis_pool(protocol, 20));
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        ok::<(), _>(ok(pool.get()).incr("total", 1));
                    }
                });
            }
        });
        same(int(c, "GET total"), 5000);
    }),
    ("cluster refused", |c, protocol| {
        for question in ["CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER NODES", "CLUSTER SHARDS", "READONLY"] {
            let _ = fails(say::<Value>(c, question), "This instance has cluster support disabled");
        }
        let _ = fails(say::<Value>(c, "SENTINEL MASTERS"), "unknown command");
        same(int(c, "WAIT 0 10"), 0);
        let (host, port) = address();
        let version = settings(protocol).protocol();
        let cluster = redis::cluster::ClusterClientBuilder::new([format!("redis://{host}:{port}")])
            .retries(1)
            .use_protocol(version)
            .build();
        let answer = cluster
            .and_then(|cluster| cluster.get_connection())
            .and_then(|mut found| found.get::<_, Option<String>>("k"));
        assert!(answer.is_err(), "a cluster was found: {answer:?}");
    }),
    ("timeout", |c, protocol| {
        let slow = client_at(address(), settings(protocol));
        let short = Some(Duration::from_millis(100));
        let mut first = ok(slow.get_connection());
        ok::<(), _>(first.set("t", "right"));
        ok(first.set_read_timeout(short));
        same(text(c, "CLIENT PAUSE 400"), "OK");
        assert!(fails(first.get::<_, String>("wrong answer"), "").is_timeout(), "another kind of error");
        eventually("the end of the pause", || {
            let mut next = match slow.get_connection_with_timeout(Duration::from_millis(100)) {
                Ok(next) => next,
                Err(_) => return false,
            };
            ok(next.set_read_timeout(short));
            next.get::<_, String>("t").is_ok_and(|value| value == "right")
        });
    }),
];

fn redis_pool(protocol: u8, size: u32) -> Result<r2d2::Pool<Client>, r2d2::Error> {
    r2d2::Pool::builder().max_size(size).test_on_check_out(true).build(client_at(address(), settings(protocol)))
}

/// One multiplexed connection for many tasks that replaces itself when it is killed.
async fn manager(protocol: u8) {
    use redis::AsyncCommands;
    let client = client_at(address(), settings(protocol));
    let manager = ok(client.get_connection_manager().await);
    let tasks = (0..50).map(|_| {
        let mut mine = manager.clone();
        async move {
            for _ in 0..100 {
                ok::<(), _>(mine.incr("total", 1).await);
            }
        }
    });
    futures::future::join_all(tasks).await;
    let mut one = manager.clone();
    same(ok(one.get::<_, i64>("total").await), 5000);
    let id: i64 = ok(cmd("CLIENT").arg("ID").query_async(&mut one).await);
    let mut other = ok(client.get_multiplexed_async_connection().await);
    same(ok(cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async::<i64>(&mut other).await), 1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    // The first commands may tell that the connection is gone; then it comes back by itself.
    while one.get::<_, i64>("total").await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "not back after 5 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ok(cmd("CLIENT").arg("ID").query_async::<i64>(&mut one).await) > id, "the same connection");
}

fn main() {
    let mut report = Report::new("redis-rs", "redis");
    let runtime = ok(tokio::runtime::Runtime::new());
    for protocol in [2, 3] {
        for &(name, check) in SHARED {
            report.run(format!("resp{protocol} {name}"), move || {
                let mut connection = connect(settings(protocol));
                ok::<(), _>(connection.flushall());
                check(&mut connection, protocol);
            });
        }
        runtime.block_on(async {
            report
                .run_async(format!("resp{protocol} async manager"), async move {
                    ok::<(), _>(redis::cmd("FLUSHALL").query(&mut connect(settings(protocol))));
                    manager(protocol).await;
                })
                .await;
        });
    }
    report.print()
}
