package clients;

import static clients.Report.*;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import redis.clients.jedis.AbstractTransaction;
import redis.clients.jedis.ConnectionPoolConfig;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisClient;
import redis.clients.jedis.RedisClusterClient;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.args.ExpiryOption;
import redis.clients.jedis.exceptions.JedisAccessControlException;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.exceptions.JedisException;
import redis.clients.jedis.params.ClientKillParams;
import redis.clients.jedis.params.GetExParams;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.resps.ScanResult;

/** Jedis in both protocols: one connection, and the pooled client. */
public final class JedisProgram {
    private interface Shared {
        void run(Jedis jedis, int protocol) throws Exception;
    }

    private static DefaultJedisClientConfig.Builder config(int protocol) {
        return DefaultJedisClientConfig.builder().timeoutMillis(15_000)
            .protocol(protocol == 3 ? RedisProtocol.RESP3 : RedisProtocol.RESP2);
    }

    private static Jedis connect(int protocol, Consumer<DefaultJedisClientConfig.Builder> change) {
        DefaultJedisClientConfig.Builder builder = config(protocol);
        change.accept(builder);
        return new Jedis(new HostAndPort(HOST, PORT), builder.build());
    }

    private static Jedis locked(int protocol, Consumer<DefaultJedisClientConfig.Builder> change) {
        DefaultJedisClientConfig.Builder builder = config(protocol);
        change.accept(builder);
        return new Jedis(new HostAndPort(passwordAddress().getKey(), passwordAddress().getValue()), builder.build());
    }

    /** Sends the words as they are. */
    private static Object say(Jedis jedis, String name, String... words) {
        return jedis.sendCommand(() -> name.getBytes(StandardCharsets.UTF_8), words);
    }

    private static void fails(Jedis jedis, String text, String name, String... words) {
        raises(JedisDataException.class, text, () -> say(jedis, name, words));
    }

    private static String text(Object reply) {
        return new String((byte[]) reply, StandardCharsets.UTF_8);
    }

    private static final Map<String, Shared> SHARED = new LinkedHashMap<>();

    static {
        SHARED.put("connect", (jedis, protocol) -> {
            try (Jedis named = connect(protocol, c -> c.clientName("pond-skater"))) {
                same(List.of(named.ping(), named.ping("hi"), named.echo("frog"), named.clientGetname()), List.of("PONG", "hi", "frog", "pond-skater"));
                has(named.clientInfo(), " name=pond-skater ", " resp=" + protocol);
                String version = jedis.info("server").split("redis_version:")[1];
                if (version.compareTo("7.2") >= 0) {
                    has(named.clientInfo(), "lib-name=jedis");
                }
            }
        });
        SHARED.put("password", (jedis, protocol) -> {
            same(locked(protocol, c -> c.password(PASSWORD)).set("secret", "kept"), "OK");
            same(locked(protocol, c -> c.user("default").password(PASSWORD)).get("secret"), "kept");
            raises(JedisAccessControlException.class, "WRONGPASS invalid username-password pair or user is disabled.",
                () -> locked(protocol, c -> c.password("guess")).ping());
            raises(JedisDataException.class, "NOAUTH ", () -> locked(protocol, c -> { }).get("secret"));
            fails(jedis, "without any password configured for the default user", "AUTH", "superfluous");
        });
        SHARED.put("database", (jedis, protocol) -> {
            Jedis five = connect(protocol, c -> c.database(5));
            jedis.set("where", "zero");
            same(five.get("where"), null);
            five.set("where", "five");
            same(List.of(jedis.get("where"), jedis.dbSize(), five.dbSize()), List.of("zero", 1L, 1L));
            jedis.set("walker", "1");
            same(List.of(jedis.move("walker", 5), jedis.exists("walker"), five.exists("walker")), List.of(1L, false, true));
            same(jedis.swapDB(0, 5), "OK");
            same(List.of(jedis.get("where"), five.get("where")), List.of("five", "zero"));
            same(jedis.flushDB(), "OK");
            same(List.of(jedis.dbSize(), five.dbSize()), List.of(0L, 1L));
            raises(JedisDataException.class, "ERR DB index is out of range", () -> jedis.select(16));
        });
        SHARED.put("values", (jedis, protocol) -> {
            byte[] key = "value".getBytes();
            for (byte[] value : List.of(new byte[0], "\r\n$-1\r\n".getBytes(), everyByte(), block(255))) {
                same(jedis.set(key, value), "OK");
                same(Arrays.equals(jedis.get(key), value), true);
                same(jedis.strlen(key), (long) value.length);
            }
            jedis.set(everyByte(), "binary key".getBytes());
            same(new String(jedis.get(everyByte())), "binary key");
            jedis.set("", "empty key");
            same(jedis.get(""), "empty key");
            jedis.set("text", "W\u00f6rter \u2614");
            same(List.of(jedis.getSet("text", "b"), jedis.getDel("text"), jedis.exists("text")), List.of("W\u00f6rter \u2614", "b", false));
        });
        SHARED.put("mget and mset", (jedis, protocol) -> {
            List<String> pairs = new ArrayList<>(), keys = new ArrayList<>(), values = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                keys.add("m" + i);
                values.add("" + i);
                pairs.addAll(List.of("m" + i, "" + i));
            }
            same(jedis.mset(pairs.toArray(String[]::new)), "OK");
            same(jedis.mget(keys.toArray(String[]::new)), values);
            same(jedis.mget("m1", "none"), Arrays.asList("1", null));
            same(List.of(jedis.msetnx("m0", "x", "fresh", "y"), jedis.exists("fresh"), jedis.msetnx("fresh", "y")), List.of(0L, false, 1L));
            same(jedis.exists("m0", "m0", "none"), 2L);
            same(jedis.del(keys.subList(0, 50).toArray(String[]::new)), 50L);
            same(jedis.unlink(keys.toArray(String[]::new)), 50L);
        });
        SHARED.put("set options", (jedis, protocol) -> {
            long soon = System.currentTimeMillis() / 1000 + 100;
            same(jedis.set("k", "1", new SetParams().nx()), "OK");
            same(jedis.set("k", "2", new SetParams().nx()), null);
            same(jedis.set("none", "2", new SetParams().xx()), null);
            same(jedis.set("k", "2", new SetParams().xx().ex(50)), "OK");
            same(jedis.set("k", "3", new SetParams().keepTtl()), "OK");
            between(45, jedis.ttl("k"), 50);
            jedis.set("k", "4");
            same(jedis.ttl("k"), -1L);
            same(jedis.set("k", "5", new SetParams().px(50_000)), "OK");
            between(45_000, jedis.pttl("k"), 50_000);
            same(jedis.set("k", "6", new SetParams().exAt(soon)), "OK");
            same(jedis.expireTime("k"), soon);
            same(jedis.set("k", "7", new SetParams().pxAt(soon * 1000 + 7)), "OK");
            same(jedis.pexpireTime("k"), soon * 1000 + 7);
            same(jedis.setGet("k", "8"), "7");
            same(jedis.setGet("k", "9", new SetParams().nx()), "8");
            same(jedis.setGet("fresh", "9", new SetParams().nx()), null);
            same(jedis.set("k", "old", new SetParams().pxAt(1)), "OK");
            same(jedis.exists("k"), false);
            raises(JedisDataException.class, "ERR invalid expire time in 'set' command", () -> jedis.set("k", "v", new SetParams().ex(0)));
            fails(jedis, "ERR syntax error", "SET", "k", "v", "EX", "1", "PX", "1");
            same(List.of(jedis.setnx("nx", "1"), jedis.setnx("nx", "2")), List.of(1L, 0L));
            same(List.of(jedis.setex("sx", 60, "v"), jedis.psetex("sx", 60_000, "v")), List.of("OK", "OK"));
        });
        SHARED.put("expiry", (jedis, protocol) -> {
            long soon = System.currentTimeMillis() / 1000 + 100;
            same(List.of(jedis.ttl("none"), jedis.pttl("none")), List.of(-2L, -2L));
            jedis.set("k", "v");
            same(List.of(jedis.expire("k", 100, ExpiryOption.XX), jedis.expire("k", 100, ExpiryOption.NX)), List.of(0L, 1L));
            same(List.of(jedis.expire("k", 50, ExpiryOption.GT), jedis.expire("k", 50, ExpiryOption.LT)), List.of(0L, 1L));
            same(jedis.pexpire("k", 90_000), 1L);
            between(85_000, jedis.pttl("k"), 90_000);
            same(List.of(jedis.expireAt("k", soon), jedis.expireTime("k")), List.of(1L, soon));
            same(List.of(jedis.pexpireAt("k", soon * 1000 + 1), jedis.pexpireTime("k")), List.of(1L, soon * 1000 + 1));
            same(List.of(jedis.persist("k"), jedis.persist("k")), List.of(1L, 0L));
            same(jedis.getEx("k", new GetExParams().ex(40)), "v");
            between(35, jedis.ttl("k"), 40);
            same(jedis.getEx("k", new GetExParams().persist()), "v");
            same(List.of(jedis.ttl("k"), jedis.expire("k", 0), jedis.exists("k")), List.of(-1L, 1L, false));
            jedis.psetex("short", 30, "v");
            eventually("expiry", () -> jedis.get("short") == null);
            same(jedis.ttl("short"), -2L);
        });
        SHARED.put("counters", (jedis, protocol) -> {
            same(List.of(jedis.incr("n"), jedis.incrBy("n", 41), jedis.decr("n"), jedis.decrBy("n", 40)), List.of(1L, 42L, 41L, 1L));
            jedis.set("n", "" + Long.MAX_VALUE);
            raises(JedisDataException.class, "ERR increment or decrement would overflow", () -> jedis.incr("n"));
            same(List.of(jedis.incrByFloat("f", 10.5), jedis.incrByFloat("f", -10.25)), List.of(10.5, 0.25));
            jedis.set("f", "5.0e3");
            same(List.of(jedis.incrByFloat("f", 200), jedis.get("f")), List.of(5200.0, "5200"));
            jedis.set("text", "frog");
            raises(JedisDataException.class, "ERR value is not an integer or out of range", () -> jedis.incr("text"));
            raises(JedisDataException.class, "ERR value is not a valid float", () -> jedis.incrByFloat("text", 1));
        });
        SHARED.put("ranges", (jedis, protocol) -> {
            same(List.of(jedis.append("s", "Hello "), jedis.append("s", "World")), List.of(6L, 11L));
            same(List.of(jedis.getrange("s", 0, 4), jedis.getrange("s", -5, -1), jedis.getrange("s", 5, 2)), List.of("Hello", "World", ""));
            same(List.of(jedis.setrange("s", 6, "Ponds"), jedis.get("s")), List.of(11L, "Hello Ponds"));
            same(List.of(jedis.setrange("pad", 3, "x"), jedis.get("pad")), List.of(4L, "\0\0\0x"));
            raises(JedisDataException.class, "ERR offset is out of range", () -> jedis.setrange("s", -1, "x"));
        });
        SHARED.put("keyspace", (jedis, protocol) -> {
            jedis.setex("a", 100, "1");
            same(jedis.rename("a", "b"), "OK");
            between(90, jedis.ttl("b"), 100);
            raises(JedisDataException.class, "ERR no such key", () -> jedis.rename("a", "b"));
            jedis.set("c", "3");
            same(List.of(jedis.renamenx("b", "c"), jedis.renamenx("b", "d")), List.of(0L, 1L));
            same(List.of(jedis.copy("d", "c", false), jedis.copy("d", "c", true), jedis.copy("d", "d", 3, false)), List.of(false, true, true));
            same(connect(protocol, c -> c.database(3)).get("d"), "1");
            same(List.of(jedis.type("c"), jedis.type("none"), jedis.touch("c", "d", "none")), List.of("string", "none", 2L));
            same(Set.of("c", "d").contains(jedis.randomKey()), true);
            same(jedis.objectEncoding("c"), "int");
            same(jedis.objectEncoding("none"), null);
            same(List.of(jedis.objectRefcount("c") > 0, jedis.objectIdletime("c") >= 0), List.of(true, true));
            between(1, jedis.memoryUsage("c"), 1000);
            same(jedis.flushAll(), "OK");
            same(jedis.randomKey(), null);
            same(jedis.dbSize(), 0L);
        });
        SHARED.put("pipeline", (jedis, protocol) -> {
            Pipeline pipe = jedis.pipelined();
            List<Response<String>> replies = new ArrayList<>();
            for (int i = 0; i < 1000; i++) {
                pipe.set("p" + i, "" + i);
                replies.add(pipe.get("p" + i));
            }
            pipe.sync();
            for (int i = 0; i < 1000; i++) {
                same(replies.get(i).get(), "" + i);
            }
            pipe.set("text", "frog");
            pipe.incr("text");
            pipe.sendCommand(() -> "NOSUCH".getBytes(), new String[0]);
            pipe.get("text");
            List<Object> mixed = pipe.syncAndReturnAll();
            same(List.of(mixed.get(0), mixed.get(1) instanceof JedisDataException, mixed.get(2) instanceof JedisDataException, mixed.get(3)),
                List.of("OK", true, true, "frog"));
        });
        SHARED.put("large pipeline", (jedis, protocol) -> {
            Pipeline pipe = jedis.pipelined();
            for (int i = 0; i < 30_000; i++) {
                pipe.incr("big");
            }
            List<Object> replies = pipe.syncAndReturnAll();
            for (int i = 0; i < 30_000; i++) {
                same(replies.get(i), i + 1L);
            }
            byte[][] keys = new byte[16][];
            for (int i = 0; i < 16; i++) {
                keys[i] = ("block" + i).getBytes();
                pipe.set(keys[i], block(i));
            }
            pipe.sync();
            List<byte[]> blocks = jedis.mget(keys);
            for (int i = 0; i < 16; i++) {
                same(Arrays.equals(blocks.get(i), block(i)), true);
            }
            same(jedis.del(keys), 16L);
        });
        SHARED.put("transaction", (jedis, protocol) -> {
            Transaction tx = jedis.multi();
            tx.set("a", "1");
            tx.incr("a");
            tx.get("none");
            same(tx.exec(), Arrays.asList("OK", 2L, null));
            tx = jedis.multi();
            tx.set("text", "frog");
            tx.incr("text");
            tx.set("after", "done");
            List<Object> partly = tx.exec();
            same(((Exception) partly.get(1)).getMessage(), "ERR value is not an integer or out of range");
            same(jedis.get("after"), "done");
            tx = jedis.multi();
            tx.set("dropped", "1");
            same(tx.discard(), "OK");
            same(jedis.exists("dropped"), false);
            same(List.of(text(say(jedis, "MULTI")), text(say(jedis, "SET", "aborted", "1"))), List.of("OK", "QUEUED"));
            fails(jedis, "ERR MULTI calls can not be nested", "MULTI");
            fails(jedis, "ERR unknown command", "NOSUCH");
            fails(jedis, "EXECABORT Transaction discarded because of previous errors.", "EXEC");
            same(jedis.exists("aborted"), false);
            fails(jedis, "ERR EXEC without MULTI", "EXEC");
            fails(jedis, "ERR DISCARD without MULTI", "DISCARD");
        });
        SHARED.put("watch", (jedis, protocol) -> {
            Jedis other = connect(protocol, c -> { });
            jedis.set("w", "1");
            same(jedis.watch("w"), "OK");
            other.set("w", "2");
            Transaction tx = jedis.multi();
            tx.set("w", "3");
            same(tx.exec(), null);
            jedis.watch("w");
            other.set("w", "4");
            same(jedis.unwatch(), "OK");
            tx = jedis.multi();
            tx.set("w", "5");
            same(tx.exec(), List.of("OK"));
            jedis.set("sum", "0");
            together(8, () -> {
                try (Jedis mine = connect(protocol, c -> { })) {
                    for (int added = 0; added < 25; ) {
                        mine.watch("sum");
                        int next = Integer.parseInt(mine.get("sum")) + 1;
                        Transaction step = mine.multi();
                        step.set("sum", "" + next);
                        added += step.exec() == null ? 0 : 1;
                    }
                }
            });
            same(jedis.get("sum"), "200");
        });
        SHARED.put("scan", (jedis, protocol) -> {
            for (String prefix : List.of("scan", "other")) {
                List<String> pairs = new ArrayList<>();
                for (int i = 0; i < (prefix.equals("scan") ? 5000 : 500); i++) {
                    pairs.addAll(List.of(prefix + ":" + i, "v"));
                }
                jedis.mset(pairs.toArray(String[]::new));
            }
            same(scan(jedis, new ScanParams().match("scan:*").count(100), null).size(), 5000);
            same(scan(jedis, new ScanParams().count(1000), null).size(), 5500);
            same(scan(jedis, new ScanParams().match("other:?").count(500), null).size(), 10);
            same(scan(jedis, new ScanParams().count(500), "string").size(), 5500);
            same(scan(jedis, new ScanParams().count(500), "list").size(), 0);
            same(List.of(jedis.keys("scan:*").size(), jedis.keys("other:[12]")), List.of(5000, Set.of("other:1", "other:2")));
            String cursor = "0";
            do {
                ScanResult<String> page = jedis.scan(cursor, new ScanParams().match("scan:*").count(50));
                if (!page.getResult().isEmpty()) {
                    jedis.unlink(page.getResult().toArray(String[]::new));
                }
                cursor = page.getCursor();
            } while (!cursor.equals("0"));
            same(jedis.dbSize(), 500L);
            raises(JedisDataException.class, "ERR invalid cursor", () -> jedis.scan("frog"));
        });
        SHARED.put("errors", (jedis, protocol) -> {
            fails(jedis, "ERR wrong number of arguments for 'get' command", "GET");
            fails(jedis, "ERR wrong number of arguments for 'del' command", "DEL");
            fails(jedis, "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH", "a", "b");
            fails(jedis, "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.", "CLIENT", "NOSUCH");
            fails(jedis, "ERR value is not an integer or out of range", "EXPIRE", "k", "soon");
            fails(jedis, "ERR syntax error", "SET", "k", "v", "SOMEHOW");
            fails(jedis, "NOPROTO unsupported protocol version", "HELLO", "9");
            same(jedis.ping(), "PONG");
        });
        SHARED.put("server", (jedis, protocol) -> {
            jedis.set("k", "v");
            List<String> lines = List.of(jedis.info().split("\r\n"));
            for (String line : List.of("redis_mode:standalone", "role:master", "cluster_enabled:0", "db0:keys=1,expires=0,avg_ttl=0")) {
                same(lines.contains(line) ? line : null, line);
            }
            String before = jedis.configGet("maxmemory").get("maxmemory");
            same(jedis.configSet("maxmemory", "300mb"), "OK");
            same(jedis.configGet("maxmem*ry", "databases"), Map.of("maxmemory", "" + 300 * MIB, "databases", "16"));
            same(jedis.configSet(Map.of("maxmemory", before)), "OK");
            same(jedis.configGet("nosuch*"), Map.of());
            raises(JedisDataException.class, "CONFIG SET", () -> jedis.configSet("nosuch", "1"));
            same(jedis.configResetStat(), "OK");
            between(50, jedis.commandCount(), 1000);
            same(jedis.commandInfo("get").get("get").getArity(), 2L);
            same(jedis.commandGetKeys("MSET", "a", "1", "b", "2"), List.of("a", "b"));
            same(jedis.commandList().contains("get"), true);
            same(jedis.commandDocs("get").containsKey("get"), true);
            same(jedis.role().get(0), "master");
            same(jedis.moduleList(), List.of());
            between(System.currentTimeMillis() / 1000 - 5, Long.parseLong(jedis.time().get(0)), System.currentTimeMillis() / 1000 + 5);
            same(jedis.slowlogReset(), "OK");
            between(0, jedis.slowlogGet(10).size(), 1);
            same(jedis.memoryStats().get("keys.count"), 1L);
        });
        SHARED.put("clients", (jedis, protocol) -> {
            String name = "victim-" + protocol;
            Jedis victim = connect(protocol, c -> c.clientName(name));
            long id = victim.clientId();
            same(jedis.clientList().split(" name=" + name + " ", -1).length, 2);
            has(jedis.clientList(id), "id=" + id + " ");
            same(List.of(jedis.clientKill(new ClientKillParams().id("" + id)), jedis.clientKill(new ClientKillParams().id("" + id))), List.of(1L, 0L));
            raises(JedisConnectionException.class, "", victim::ping);
            raises(JedisDataException.class, "ERR No such client", () -> jedis.clientKill("127.0.0.1:1"));
            same(List.of(jedis.clientNoEvictOn(), jedis.clientNoEvictOff(), jedis.clientSetname("renamed"), jedis.clientGetname()),
                List.of("OK", "OK", "OK", "renamed"));
        });
        SHARED.put("reconnect", (jedis, protocol) -> {
            String name = "again-" + protocol;
            ConnectionPoolConfig pool = new ConnectionPoolConfig();
            pool.setMaxTotal(1);
            pool.setTestOnBorrow(true);
            try (RedisClient client = RedisClient.builder().hostAndPort(HOST, PORT).clientConfig(config(protocol).clientName(name).database(2).build())
                .poolConfig(pool).build()) {
                client.set("before", "1");
                for (int round = 0; round < 3; round++) {
                    String line = Arrays.stream(jedis.clientList().split("\n")).filter(l -> l.contains(" name=" + name + " ")).findFirst().orElseThrow();
                    String id = line.split("id=")[1].split(" ")[0];
                    same(jedis.clientKill(new ClientKillParams().id(id)), 1L);
                    same(client.get("before"), "1");
                    has(jedis.clientList(), " name=" + name + " ");
                }
            }
        });
        SHARED.put("workers", (jedis, protocol) -> {
            ConnectionPoolConfig pool = new ConnectionPoolConfig();
            pool.setMaxTotal(20);
            try (RedisClient client = RedisClient.builder().hostAndPort(HOST, PORT).clientConfig(config(protocol).build()).poolConfig(pool).build()) {
                together(50, () -> {
                    for (int i = 0; i < 100; i++) {
                        client.incr("total");
                    }
                });
                AtomicInteger seen = new AtomicInteger();
                try (AbstractTransaction tx = client.multi()) {
                    Response<String> total = tx.get("total");
                    tx.exec();
                    seen.set(Integer.parseInt(total.get()));
                }
                same(seen.get(), 5000);
            }
            same(jedis.get("total"), "5000");
        });
        SHARED.put("cluster refused", (jedis, protocol) -> {
            for (String question : List.of("INFO", "SLOTS", "NODES", "SHARDS")) {
                fails(jedis, "ERR This instance has cluster support disabled", "CLUSTER", question);
            }
            fails(jedis, "ERR This instance has cluster support disabled", "READONLY");
            fails(jedis, "ERR unknown command", "SENTINEL", "MASTERS");
            raises(JedisException.class, "", () -> RedisClusterClient.builder().nodes(Set.of(new HostAndPort(HOST, PORT)))
                .clientConfig(config(protocol).build()).build().get("k"));
            same(jedis.waitReplicas(0, 10), 0L);
        });
        SHARED.put("timeout", (jedis, protocol) -> {
            ConnectionPoolConfig pool = new ConnectionPoolConfig();
            pool.setMaxTotal(1);
            try (RedisClient slow = RedisClient.builder().hostAndPort(HOST, PORT).clientConfig(config(protocol).timeoutMillis(100).build())
                .poolConfig(pool).build()) {
                slow.set("t", "right");
                same(jedis.clientPause(400), "OK");
                raises(JedisConnectionException.class, "", () -> slow.get("wrong answer"));
                eventually("the end of the pause", () -> {
                    try {
                        same(slow.get("t"), "right");
                        return true;
                    } catch (JedisConnectionException late) {
                        return false;
                    }
                });
            }
        });
    }

    private static Set<String> scan(Jedis jedis, ScanParams params, String type) {
        Set<String> seen = new HashSet<>();
        String cursor = "0";
        do {
            ScanResult<String> page = type == null ? jedis.scan(cursor, params) : jedis.scan(cursor, params, type);
            seen.addAll(page.getResult());
            cursor = page.getCursor();
        } while (!cursor.equals("0"));
        return seen;
    }

    public static void main(String[] arguments) throws Exception {
        Report report = new Report("jedis", Report.versionOf(Jedis.class));
        for (int protocol : new int[] {2, 3}) {
            for (Map.Entry<String, Shared> check : SHARED.entrySet()) {
                report.run("resp" + protocol + " " + check.getKey(), () -> {
                    try (Jedis jedis = connect(protocol, c -> { })) {
                        jedis.flushAll();
                        check.getValue().run(jedis, protocol);
                    }
                });
            }
        }
        report.run("resp3 hello refused", () -> {
            DefaultJedisClientConfig config = DefaultJedisClientConfig.builder().autoNegotiateProtocol(true).clientName("fallback").database(4).build();
            try (Jedis jedis = new Jedis(new HostAndPort("127.0.0.1", NO_HELLO_PORT), config)) {
                same(List.of(jedis.set("old", "way"), jedis.get("old")), List.of("OK", "way"));
                has(jedis.clientInfo(), " resp=2", " db=4 ", " name=fallback ");
            }
        });
        report.print();
    }
}
