//! fred in both protocols: the shared checks over one pipelined connection, and its pool.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fred::interfaces::{
    ClientInterface, ClientLike, ClusterInterface, ConfigInterface, KeysInterface, ServerInterface,
    TransactionInterface,
};
use fred::prelude::{
    Builder, Client, Config, ErrorKind, Expiration, FredResult, ReconnectPolicy, Server, ServerConfig, SetOptions,
};
use fred::types::client::ClientKillFilter;
use fred::types::config::UnresponsiveConfig;
use fred::types::scan::ScanType;
use fred::types::{ClusterHash, CustomCommand, ExpireOptions, FromValue, InfoKind, RespVersion, Value};
use futures::future::{BoxFuture, FutureExt, join_all};
use futures::stream::TryStreamExt;
use report::*;

fn config(protocol: u8, (host, port): (String, u16)) -> Config {
    Config {
        version: if protocol == 3 { RespVersion::RESP3 } else { RespVersion::RESP2 },
        server: ServerConfig::Centralized { server: Server::new(host, port) },
        fail_fast: true,
        ..Config::default()
    }
}

fn builder(config: Config) -> Builder {
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_constant(50, 5)).with_performance_config(|performance| {
        performance.default_command_timeout = Duration::from_secs(15);
    });
    builder
}

async fn try_connect(config: Config) -> FredResult<Client> {
    let client = builder(config).build()?;
    client.init().await?;
    Ok(client)
}

async fn connect(protocol: u8, change: impl FnOnce(&mut Config)) -> Client {
    let mut config = config(protocol, address());
    change(&mut config);
    ok(try_connect(config).await)
}

/// Sends the words of a line as they are.
async fn say<T: FromValue>(c: &impl ClientLike, line: &str) -> FredResult<T> {
    let mut words = line.split(' ').map(str::to_owned);
    let name = words.next().expect("a name");
    c.custom(CustomCommand::new(name, ClusterHash::Random, false), words.collect::<Vec<_>>()).await
}

async fn int(c: &Client, line: &str) -> i64 {
    ok(say(c, line).await)
}

async fn text(c: &Client, line: &str) -> String {
    ok(say(c, line).await)
}

async fn refused(c: &Client, line: &str, text: &str) {
    let _ = fails(say::<Value>(c, line).await, text);
}

async fn connect_check(c: Client, protocol: u8) {
    same((text(&c, "PING").await, text(&c, "PING hi").await), ("PONG".to_owned(), "hi".to_owned()));
    same(ok(c.echo::<String, _>("frog").await), "frog");
    ok(c.client_setname("pond-skater").await);
    same(ok(c.client_getname::<String>().await), "pond-skater");
    let info: String = ok(c.client_info().await);
    has(&info, " name=pond-skater ");
    has(&info, &format!(" resp={protocol}"));
    has(&info, &format!("id={} ", ok(c.client_id::<i64>().await)));
    same(c.server_version().map(|version| version.major >= 7), Some(true));
}

async fn password_check(c: Client, protocol: u8) {
    let locked = |user: Option<&str>, password: Option<String>| {
        let mut config = config(protocol, password_address());
        (config.username, config.password) = (user.map(str::to_owned), password);
        try_connect(config)
    };
    let right = ok(locked(None, Some(password())).await);
    ok::<(), _>(right.set("secret", "kept", None, None, false).await);
    let user = ok(locked(Some("default"), Some(password())).await);
    same(ok(user.get::<String, _>("secret").await), "kept");
    same(fails(locked(None, Some("guess".into())).await.map(|_| ()), "").kind(), &ErrorKind::Auth);
    match locked(None, None).await {
        Ok(none) => same(fails(none.get::<Value, _>("secret").await, "NOAUTH").kind(), &ErrorKind::Auth),
        Err(error) => same(error.kind(), &ErrorKind::Auth),
    }
    // The library takes the error of a server without a password for a success.
    same(text(&c, "AUTH superfluous").await, "OK");
}

async fn database_check(c: Client, protocol: u8) {
    let five = connect(protocol, |config| config.database = Some(5)).await;
    same(text(&c, "SET where zero").await, "OK");
    same(ok(five.get::<Option<String>, _>("where").await), None::<String>);
    same(text(&five, "SET where five").await, "OK");
    same((text(&c, "GET where").await, int(&c, "DBSIZE").await, int(&five, "DBSIZE").await), ("zero".to_owned(), 1, 1));
    same(text(&c, "SET walker 1").await, "OK");
    same(
        (int(&c, "MOVE walker 5").await, int(&c, "EXISTS walker").await, int(&five, "EXISTS walker").await),
        (1, 0, 1),
    );
    same(text(&c, "SWAPDB 0 5").await, "OK");
    same((text(&c, "GET where").await, text(&five, "GET where").await), ("five".to_owned(), "zero".to_owned()));
    same(text(&c, "FLUSHDB").await, "OK");
    same((int(&c, "DBSIZE").await, int(&five, "DBSIZE").await), (0, 1));
    let _ = fails(c.select(16).await, "DB index is out of range");
}

async fn values_check(c: Client, _: u8) {
    for value in [vec![], b"\r\n$-1\r\n".to_vec(), every_byte(), vec![0xff; MIB]] {
        ok::<(), _>(c.set("value", value.as_slice(), None, None, false).await);
        assert!(ok(c.get::<Vec<u8>, _>("value").await) == value, "another value came back");
        same(ok(c.strlen::<usize, _>("value").await), value.len());
    }
    let key = every_byte();
    ok::<(), _>(c.set(key.as_slice(), "binary key", None, None, false).await);
    same(ok(c.get::<String, _>(key.as_slice()).await), "binary key");
    ok::<(), _>(c.set("", "empty key", None, None, false).await);
    same(ok(c.get::<String, _>("").await), "empty key");
    ok::<(), _>(c.set("text", "Wörter ☔", None, None, false).await);
    same(ok(c.getset::<String, _, _>("text", "b").await), "Wörter ☔");
    same(ok(c.getdel::<String, _>("text").await), "b");
    same(ok(c.get::<Option<String>, _>("text").await), None::<String>);
}

async fn many_check(c: Client, _: u8) {
    let pairs: HashMap<String, i64> = (0..100).map(|i| (format!("m{i}"), i)).collect();
    let keys: Vec<String> = (0..100).map(|i| format!("m{i}")).collect();
    ok(c.mset(pairs).await);
    same(ok(c.mget::<Vec<i64>, _>(keys.clone()).await), (0..100).collect::<Vec<i64>>());
    same(ok(c.mget::<Vec<Option<i64>>, _>(vec!["m1", "none"]).await), vec![Some(1), None]);
    same(
        (int(&c, "MSETNX m0 x fresh y").await, int(&c, "EXISTS fresh").await, int(&c, "MSETNX fresh y").await),
        (0, 0, 1),
    );
    same(ok(c.exists::<i64, _>(vec!["m0", "m0", "none"]).await), 2);
    same(ok(c.del::<i64, _>(keys[..50].to_vec()).await), 50);
    same(ok(c.unlink::<i64, _>(keys).await), 50);
}

async fn set_check(c: Client, _: u8) {
    let soon = soon();
    let set = |key: &'static str,
               value: &'static str,
               expiry: Option<Expiration>,
               condition: Option<SetOptions>,
               get: bool| {
        let c = c.clone();
        async move { ok::<Option<String>, _>(c.set(key, value, expiry, condition, get).await) }
    };
    let good = Some("OK".to_owned());
    same(set("k", "1", None, Some(SetOptions::NX), false).await, good.clone());
    same(set("k", "2", None, Some(SetOptions::NX), false).await, None::<String>);
    same(set("none", "2", None, Some(SetOptions::XX), false).await, None::<String>);
    same(set("k", "2", Some(Expiration::EX(50)), Some(SetOptions::XX), false).await, good.clone());
    same(set("k", "3", Some(Expiration::KEEPTTL), None, false).await, good.clone());
    between(45, int(&c, "TTL k").await, 50);
    same((text(&c, "SET k 4").await, int(&c, "TTL k").await), ("OK".to_owned(), -1));
    same(set("k", "5", Some(Expiration::PX(50_000)), None, false).await, good.clone());
    between(45_000, int(&c, "PTTL k").await, 50_000);
    same(set("k", "6", Some(Expiration::EXAT(soon)), None, false).await, good.clone());
    same(int(&c, "EXPIRETIME k").await, soon);
    same(set("k", "7", Some(Expiration::PXAT(soon * 1000 + 7)), None, false).await, good.clone());
    same(int(&c, "PEXPIRETIME k").await, soon * 1000 + 7);
    same(set("k", "8", None, None, true).await.as_deref(), Some("7"));
    same(set("k", "9", None, Some(SetOptions::NX), true).await.as_deref(), Some("8"));
    same(set("fresh", "9", None, Some(SetOptions::NX), true).await, None::<String>);
    same(set("k", "old", Some(Expiration::PXAT(1)), None, false).await, good);
    same(int(&c, "EXISTS k").await, 0);
    refused(&c, "SET k v EX 0", "invalid expire time in 'set' command").await;
    refused(&c, "SET k v EX 1 PX 1", "syntax error").await;
    same((ok(c.setnx::<bool, _, _>("nx", 1).await), ok(c.setnx::<bool, _, _>("nx", 2).await)), (true, false));
    same((text(&c, "SETEX sx 60 v").await, text(&c, "PSETEX sx 60000 v").await), ("OK".to_owned(), "OK".to_owned()));
}

async fn expiry_check(c: Client, _: u8) {
    let soon = soon();
    same((ok(c.ttl::<i64, _>("none").await), ok(c.pttl::<i64, _>("none").await)), (-2, -2));
    same(text(&c, "SET k v").await, "OK");
    for (seconds, option, done) in [
        (100, ExpireOptions::XX, 0),
        (100, ExpireOptions::NX, 1),
        (50, ExpireOptions::GT, 0),
        (50, ExpireOptions::LT, 1),
    ] {
        same(ok(c.expire::<i64, _>("k", seconds, Some(option)).await), done);
    }
    same(ok(c.pexpire::<i64, _>("k", 90_000, None).await), 1);
    between(85_000, ok(c.pttl("k").await), 90_000);
    same((ok(c.expire_at::<i64, _>("k", soon, None).await), ok(c.expire_time::<i64, _>("k").await)), (1, soon));
    same(
        (ok(c.pexpire_at::<i64, _>("k", soon * 1000 + 1, None).await), ok(c.pexpire_time::<i64, _>("k").await)),
        (1, soon * 1000 + 1),
    );
    same((ok(c.persist::<i64, _>("k").await), ok(c.persist::<i64, _>("k").await)), (1, 0));
    same(text(&c, "GETEX k EX 40").await, "v");
    between(35, int(&c, "TTL k").await, 40);
    same(text(&c, "GETEX k PERSIST").await, "v");
    same((int(&c, "TTL k").await, int(&c, "EXPIRE k 0").await, int(&c, "EXISTS k").await), (-1, 1, 0));
    same(text(&c, "SET short v PX 30").await, "OK");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while ok(c.get::<Option<String>, _>("short").await).is_some() {
        assert!(tokio::time::Instant::now() < deadline, "a key with 30 ms to live is there after 5 s");
    }
    same(int(&c, "TTL short").await, -2);
}

async fn counters_check(c: Client, _: u8) {
    same((ok(c.incr::<i64, _>("n").await), ok(c.incr_by::<i64, _>("n", 41).await)), (1, 42));
    same((ok(c.decr::<i64, _>("n").await), ok(c.decr_by::<i64, _>("n", 40).await)), (41, 1));
    ok::<(), _>(c.set("n", i64::MAX, None, None, false).await);
    let _ = fails(c.incr::<i64, _>("n").await, "increment or decrement would overflow");
    same(
        (ok(c.incr_by_float::<f64, _>("f", 10.5).await), ok(c.incr_by_float::<f64, _>("f", -10.25).await)),
        (10.5, 0.25),
    );
    same((text(&c, "SET f 5.0e3").await, text(&c, "INCRBYFLOAT f 2.0e2").await), ("OK".to_owned(), "5200".to_owned()));
    same(text(&c, "SET text frog").await, "OK");
    refused(&c, "INCR text", "value is not an integer or out of range").await;
    refused(&c, "INCRBYFLOAT text 1", "value is not a valid float").await;
}

async fn ranges_check(c: Client, _: u8) {
    same((ok(c.append::<i64, _, _>("s", "Hello ").await), ok(c.append::<i64, _, _>("s", "World").await)), (6, 11));
    same(ok(c.getrange::<String, _>("s", 0, 4).await), "Hello");
    same((text(&c, "GETRANGE s -5 -1").await, text(&c, "GETRANGE s 5 2").await), ("World".to_owned(), String::new()));
    same(ok(c.setrange::<i64, _, _>("s", 6, "Ponds").await), 11);
    same(text(&c, "GET s").await, "Hello Ponds");
    same((int(&c, "SETRANGE pad 3 x").await, ok(c.get::<Vec<u8>, _>("pad").await)), (4, b"\0\0\0x".to_vec()));
    refused(&c, "SETRANGE s -1 x", "offset is out of range").await;
}

async fn keyspace_check(c: Client, protocol: u8) {
    same(text(&c, "SET a 1 EX 100").await, "OK");
    ok::<(), _>(c.rename("a", "b").await);
    between(90, int(&c, "TTL b").await, 100);
    let _ = fails(c.rename::<(), _, _>("a", "b").await, "no such key");
    same(text(&c, "SET c 3").await, "OK");
    same((ok(c.renamenx::<i64, _, _>("b", "c").await), ok(c.renamenx::<i64, _, _>("b", "d").await)), (0, 1));
    for (target, database, replace, done) in [("c", None, false, 0), ("c", None, true, 1), ("d", Some(3), false, 1)] {
        same(ok(c.copy::<i64, _, _>("d", target, database, replace).await), done);
    }
    same(text(&connect(protocol, |config| config.database = Some(3)).await, "GET d").await, "1");
    same(
        (ok(c.r#type::<String, _>("c").await), ok(c.r#type::<String, _>("none").await)),
        ("string".to_owned(), "none".to_owned()),
    );
    same(int(&c, "TOUCH c d none").await, 2);
    let random: String = ok(c.randomkey().await);
    assert!(["c", "d"].contains(&random.as_str()), "{random}");
    same(text(&c, "OBJECT ENCODING c").await, "int");
    same(ok(say::<Option<String>>(&c, "OBJECT ENCODING none").await), None::<String>);
    between(1, int(&c, "MEMORY USAGE c").await, 1000);
    same(text(&c, "FLUSHALL").await, "OK");
    same((ok(c.randomkey::<Option<String>>().await), ok(c.dbsize::<i64>().await)), (None, 0));
}

async fn pipeline_check(c: Client, _: u8) {
    let pipeline = c.pipeline();
    for i in 0..1000 {
        ok::<(), _>(pipeline.set(format!("p{i}"), i, None, None, false).await);
        ok::<(), _>(pipeline.get(format!("p{i}")).await);
    }
    let replies: Vec<Value> = ok(pipeline.all().await);
    same(replies.len(), 2000);
    assert!((0..1000).all(|i| replies[2 * i + 1].as_i64() == Some(i as i64)), "replies out of order");
    let mixed = c.pipeline();
    ok::<(), _>(mixed.set("text", "frog", None, None, false).await);
    ok::<(), _>(mixed.incr("text").await);
    ok::<Value, _>(say(&mixed, "NOSUCH").await);
    ok::<(), _>(mixed.get("text").await);
    let replies = mixed.try_all::<Value>().await;
    same(replies.iter().map(|reply| reply.is_ok()).collect::<Vec<_>>(), vec![true, false, false, true]);
}

async fn large_check(c: Client, _: u8) {
    let counts = join_all((0..30_000).map(|_| c.incr::<i64, _>("big"))).await;
    assert!(counts.into_iter().enumerate().all(|(i, count)| ok(count) == i as i64 + 1), "replies out of order");
    let writes = join_all((0..16u8).map(|i| {
        let c = c.clone();
        async move { c.set::<(), _, _>(format!("block{i}"), vec![i; MIB].as_slice(), None, None, false).await }
    }));
    writes.await.into_iter().for_each(ok);
    let blocks: Vec<Vec<u8>> = ok(c.mget((0..16).map(|i| format!("block{i}")).collect::<Vec<_>>()).await);
    assert!(blocks.iter().enumerate().all(|(i, block)| *block == vec![i as u8; MIB]), "another block came back");
    same(ok(c.del::<i64, _>((0..16).map(|i| format!("block{i}")).collect::<Vec<_>>()).await), 16);
}

async fn transaction_check(c: Client, _: u8) {
    let steps = c.multi();
    ok::<(), _>(steps.set("a", 1, None, None, false).await);
    ok::<(), _>(steps.incr("a").await);
    ok::<(), _>(steps.get("none").await);
    let result: (String, i64, Option<String>) = ok(steps.exec(true).await);
    same(result, ("OK".to_owned(), 2, None));
    let steps = c.multi();
    ok::<(), _>(steps.set("aborted", 1, None, None, false).await);
    ok::<Value, _>(say(&steps, "NOSUCH").await);
    let _ = fails(steps.exec::<Value>(false).await, "EXECABORT Transaction discarded because of previous errors.");
    same(int(&c, "EXISTS aborted").await, 0);
    same((text(&c, "MULTI").await, text(&c, "SET dropped 1").await), ("OK".to_owned(), "QUEUED".to_owned()));
    refused(&c, "MULTI", "MULTI calls can not be nested").await;
    same((text(&c, "DISCARD").await, int(&c, "EXISTS dropped").await), ("OK".to_owned(), 0));
    refused(&c, "EXEC", "EXEC without MULTI").await;
    refused(&c, "DISCARD", "DISCARD without MULTI").await;
}

async fn watch_check(c: Client, protocol: u8) {
    let other = connect(protocol, |_| {}).await;
    same(
        (text(&c, "SET w 1").await, ok(c.watch("w").await), text(&other, "SET w 2").await),
        ("OK".into(), (), "OK".into()),
    );
    let steps = c.multi();
    ok::<(), _>(steps.set("w", 3, None, None, false).await);
    same(ok(steps.exec::<Value>(true).await), Value::Null);
    ok(c.watch("w").await);
    same(text(&other, "SET w 4").await, "OK");
    ok(c.unwatch().await);
    let steps = c.multi();
    ok::<(), _>(steps.set("w", 5, None, None, false).await);
    same(ok(steps.exec::<Vec<String>>(true).await), vec!["OK"]);
    same(text(&c, "SET sum 0").await, "OK");
    join_all((0..8).map(|_| async {
        let mine = connect(protocol, |_| {}).await;
        let mut added = 0;
        while added < 25 {
            ok(mine.watch("sum").await);
            let next = ok(mine.get::<i64, _>("sum").await) + 1;
            let steps = mine.multi();
            ok::<(), _>(steps.set("sum", next, None, None, false).await);
            added += i32::from(ok(steps.exec::<Value>(true).await) != Value::Null);
        }
    }))
    .await;
    same(int(&c, "GET sum").await, 200);
}

async fn scan_check(c: Client, _: u8) {
    for (prefix, count) in [("scan", 5000), ("other", 500)] {
        ok(c.mset((0..count).map(|i| (format!("{prefix}:{i}"), "v")).collect::<HashMap<_, _>>()).await);
    }
    let all = |pattern: &'static str, count: u32, kind: Option<ScanType>| {
        let c = c.clone();
        async move {
            let keys: HashSet<Vec<u8>> = ok(c
                .scan_buffered(pattern, Some(count), kind)
                .map_ok(|key| key.as_bytes().to_vec())
                .try_collect()
                .await);
            keys.len()
        }
    };
    same(all("scan:*", 100, None).await, 5000);
    same(all("*", 1000, None).await, 5500);
    same(all("other:?", 500, None).await, 10);
    same(all("*", 500, Some(ScanType::String)).await, 5500);
    same(all("*", 500, Some(ScanType::List)).await, 0);
    same(
        (
            ok(say::<Vec<String>>(&c, "KEYS scan:*").await).len(),
            ok(say::<Vec<String>>(&c, "KEYS other:[12]").await).len(),
        ),
        (5000, 2),
    );
    let mut cursor = "0".to_owned();
    loop {
        let (next, page): (String, Vec<String>) = ok(c.scan_page(cursor, "scan:*", Some(50), None).await);
        if !page.is_empty() {
            ok::<i64, _>(c.unlink(page).await);
        }
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    same(int(&c, "DBSIZE").await, 500);
    refused(&c, "SCAN frog", "invalid cursor").await;
}

async fn errors_check(c: Client, _: u8) {
    for (line, text) in [
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("DEL", "ERR wrong number of arguments for 'del' command"),
        ("NOSUCH a b", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
        ("CLIENT NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
        ("EXPIRE k soon", "ERR value is not an integer or out of range"),
        ("SET k v SOMEHOW", "ERR syntax error"),
        ("HELLO 9", "NOPROTO unsupported protocol version"),
    ] {
        refused(&c, line, text).await;
    }
    same(text(&c, "PING").await, "PONG");
}

async fn server_check(c: Client, _: u8) {
    same(text(&c, "SET k v").await, "OK");
    let info: String = ok(c.info(None::<InfoKind>).await);
    for line in ["redis_mode:standalone", "role:master", "cluster_enabled:0", "db0:keys=1,expires=0,avg_ttl=0"] {
        assert!(info.split("\r\n").any(|found| found == line), "no {line} in INFO");
    }
    type Map = HashMap<String, String>;
    let before = ok(c.config_get::<Map, _>("maxmemory").await)["maxmemory"].clone();
    ok(c.config_set("maxmemory", "300mb").await);
    same(ok(c.config_get::<Map, _>("maxmem*ry").await)["maxmemory"].clone(), (300 * MIB).to_string());
    ok(c.config_set("maxmemory", before).await);
    same(ok(c.config_get::<Map, _>("nosuch*").await).len(), 0);
    let _ = fails(c.config_set("nosuch", "1").await, "CONFIG SET");
    ok(c.config_resetstat().await);
    same(ok(say::<Vec<String>>(&c, "COMMAND GETKEYS MSET a 1 b 2").await), vec!["a", "b"]);
    assert!(ok(say::<Vec<String>>(&c, "COMMAND LIST").await).contains(&"get".to_owned()), "no get in COMMAND LIST");
    between(50, int(&c, "COMMAND COUNT").await, 1000);
    same(ok(say::<(String, i64, Vec<Value>)>(&c, "ROLE").await).0, "master");
    for empty in ["MODULE LIST", "LATENCY LATEST"] {
        same(ok(say::<Vec<Value>>(&c, empty).await).len(), 0);
    }
    let (seconds, _): (i64, i64) = ok(say(&c, "TIME").await);
    between(soon() - 105, seconds, soon() - 95);
    same(text(&c, "SLOWLOG RESET").await, "OK");
    between(0, ok(say::<Vec<Value>>(&c, "SLOWLOG GET 10").await).len() as i64, 1);
}

async fn kill(c: &Client, id: i64) -> i64 {
    ok(c.client_kill(vec![ClientKillFilter::ID(id.to_string())]).await)
}

async fn clients_check(c: Client, protocol: u8) {
    let victim = connect(protocol, |_| {}).await;
    let name = format!("victim-{protocol}");
    ok(victim.client_setname(name.as_str()).await);
    let id: i64 = ok(victim.client_id().await);
    same(text(&c, "CLIENT LIST").await.matches(&format!(" name={name} ")).count(), 1);
    has(&text(&c, &format!("CLIENT LIST ID {id}")).await, &format!("id={id} "));
    same((kill(&c, id).await, kill(&c, id).await), (1, 0));
    refused(&c, "CLIENT KILL 127.0.0.1:1", "No such client").await;
    same(
        (text(&c, "CLIENT NO-EVICT ON").await, text(&c, "CLIENT NO-EVICT OFF").await),
        ("OK".to_owned(), "OK".to_owned()),
    );
}

async fn reconnect_check(c: Client, protocol: u8) {
    let victim = connect(protocol, |config| config.database = Some(2)).await;
    same(text(&victim, "SET before 1").await, "OK");
    for _ in 0..3 {
        let id: i64 = ok(victim.client_id().await);
        same(kill(&c, id).await, 1);
        // The library connects again by itself, selects its database and repeats the command.
        same(ok(victim.get::<i64, _>("before").await), 1);
        assert!(ok(victim.client_id::<i64>().await) > id, "the same connection");
    }
}

async fn workers_check(c: Client, protocol: u8) {
    let pool = ok(builder(config(protocol, address())).build_pool(20));
    ok(pool.init().await);
    join_all((0..50).map(|_| async {
        for _ in 0..100 {
            ok::<i64, _>(pool.incr("total").await);
        }
    }))
    .await;
    same(int(&c, "GET total").await, 5000);
}

async fn cluster_check(c: Client, protocol: u8) {
    for question in ["CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER NODES", "CLUSTER SHARDS", "READONLY"] {
        refused(&c, question, "ERR This instance has cluster support disabled").await;
    }
    refused(&c, "SENTINEL MASTERS", "ERR unknown command").await;
    let _ = fails(c.cluster_info::<Value>().await, "cluster support disabled");
    same(int(&c, "WAIT 0 10").await, 0);
    let (host, port) = address();
    let mut clustered = config(protocol, address());
    clustered.server = ServerConfig::Clustered { hosts: vec![Server::new(host, port)], policy: Default::default() };
    assert!(try_connect(clustered).await.is_err(), "a cluster was found");
}

async fn timeout_check(c: Client, protocol: u8) {
    let mut patient = builder(config(protocol, address()));
    patient.with_connection_config(|connection| connection.unresponsive = UnresponsiveConfig::default());
    let slow = ok(patient
        .with_performance_config(|performance| performance.default_command_timeout = Duration::from_millis(100))
        .build());
    ok(slow.init().await);
    ok::<(), _>(slow.set("t", "right", None, None, false).await);
    ok(c.client_pause(400, None).await);
    same(fails(slow.get::<Option<String>, _>("wrong answer").await, "").kind(), &ErrorKind::Timeout);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        // The late reply belongs to the question that was given up.
        match slow.get::<String, _>("t").await {
            Ok(value) => break same(value, "right"),
            Err(error) => same(error.kind(), &ErrorKind::Timeout),
        }
        assert!(tokio::time::Instant::now() < deadline, "still paused after 5 s");
    }
}

type Check = fn(Client, u8) -> BoxFuture<'static, ()>;

const SHARED: &[(&str, Check)] = &[
    ("connect", |c, protocol| connect_check(c, protocol).boxed()),
    ("password", |c, protocol| password_check(c, protocol).boxed()),
    ("database", |c, protocol| database_check(c, protocol).boxed()),
    ("values", |c, protocol| values_check(c, protocol).boxed()),
    ("mget and mset", |c, protocol| many_check(c, protocol).boxed()),
    ("set options", |c, protocol| set_check(c, protocol).boxed()),
    ("expiry", |c, protocol| expiry_check(c, protocol).boxed()),
    ("counters", |c, protocol| counters_check(c, protocol).boxed()),
    ("ranges", |c, protocol| ranges_check(c, protocol).boxed()),
    ("keyspace", |c, protocol| keyspace_check(c, protocol).boxed()),
    ("pipeline", |c, protocol| pipeline_check(c, protocol).boxed()),
    ("large pipeline", |c, protocol| large_check(c, protocol).boxed()),
    ("transaction", |c, protocol| transaction_check(c, protocol).boxed()),
    ("watch", |c, protocol| watch_check(c, protocol).boxed()),
    ("scan", |c, protocol| scan_check(c, protocol).boxed()),
    ("errors", |c, protocol| errors_check(c, protocol).boxed()),
    ("server", |c, protocol| server_check(c, protocol).boxed()),
    ("clients", |c, protocol| clients_check(c, protocol).boxed()),
    ("reconnect", |c, protocol| reconnect_check(c, protocol).boxed()),
    ("workers", |c, protocol| workers_check(c, protocol).boxed()),
    ("cluster refused", |c, protocol| cluster_check(c, protocol).boxed()),
    ("timeout", |c, protocol| timeout_check(c, protocol).boxed()),
];

#[tokio::main]
async fn main() {
    let mut report = Report::new("fred", "fred");
    for protocol in [2, 3] {
        for &(name, check) in SHARED {
            report
                .run_async(format!("resp{protocol} {name}"), async move {
                    let client = connect(protocol, |_| {}).await;
                    same(text(&client, "FLUSHALL").await, "OK");
                    check(client, protocol).await;
                })
                .await;
        }
    }
    report.print()
}
