package clients;

import static clients.Report.*;

import io.lettuce.core.AbstractRedisClient;
import io.lettuce.core.ClientListArgs;
import io.lettuce.core.ClientOptions;
import io.lettuce.core.CopyArgs;
import io.lettuce.core.ExpireArgs;
import io.lettuce.core.GetExArgs;
import io.lettuce.core.KeyScanArgs;
import io.lettuce.core.KeyValue;
import io.lettuce.core.KillArgs;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisCommandExecutionException;
import io.lettuce.core.RedisCommandTimeoutException;
import io.lettuce.core.RedisException;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScanIterator;
import io.lettuce.core.SetArgs;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.cluster.RedisClusterClient;
import io.lettuce.core.codec.ByteArrayCodec;
import io.lettuce.core.codec.StringCodec;
import io.lettuce.core.output.ArrayOutput;
import io.lettuce.core.output.NestedMultiOutput;
import io.lettuce.core.output.StatusOutput;
import io.lettuce.core.protocol.CommandArgs;
import io.lettuce.core.protocol.ProtocolKeyword;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.support.ConnectionPoolSupport;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.commons.pool2.impl.GenericObjectPool;
import org.apache.commons.pool2.impl.GenericObjectPoolConfig;

/** Lettuce in both protocols: shared connections, synchronous and asynchronous, and its pool. */
public final class LettuceProgram {
    private interface Shared {
        void run(RedisCommands<String, String> redis, int protocol) throws Exception;
    }

    private static final List<AbstractRedisClient> OPENED = new ArrayList<>();
    private static final io.lettuce.core.resource.ClientResources RESOURCES = io.lettuce.core.resource.DefaultClientResources.builder()
        .reconnectDelay(io.lettuce.core.resource.Delay.constant(Duration.ofMillis(5))).build();

    private static RedisURI uri(String host, int port) {
        return RedisURI.builder().withHost(host).withPort(port).withTimeout(Duration.ofSeconds(15)).build();
    }

    private static ClientOptions options(int protocol) {
        return ClientOptions.builder().protocolVersion(protocol == 3 ? ProtocolVersion.RESP3 : ProtocolVersion.RESP2).build();
    }

    private static RedisClient client(int protocol, RedisURI uri, Consumer<RedisURI> change) {
        change.accept(uri);
        RedisClient client = RedisClient.create(RESOURCES, uri);
        client.setOptions(options(protocol));
        synchronized (OPENED) {
            OPENED.add(client);
        }
        return client;
    }

    private static RedisCommands<String, String> connect(int protocol, Consumer<RedisURI> change) {
        return client(protocol, uri(HOST, PORT), change).connect().sync();
    }

    private static RedisCommands<String, String> locked(int protocol, Consumer<RedisURI> change) {
        return client(protocol, uri(passwordAddress().getKey(), passwordAddress().getValue()), change).connect().sync();
    }

    private static CommandArgs<String, String> words(String... words) {
        CommandArgs<String, String> args = new CommandArgs<>(StringCodec.UTF8);
        for (String word : words) {
            args.add(word);
        }
        return args;
    }

    private record Name(String text) implements ProtocolKeyword {
        @Override
        public byte[] getBytes() {
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }

    /** Sends the words as they are, for a status or a bulk string. */
    private static String say(RedisCommands<String, String> redis, String name, String... words) {
        return redis.dispatch(new Name(name), new StatusOutput<>(StringCodec.UTF8), words(words));
    }

    private static List<Object> list(RedisCommands<String, String> redis, String name, String... words) {
        return redis.dispatch(new Name(name), new ArrayOutput<>(StringCodec.UTF8), words(words));
    }

    private static void fails(RedisCommands<String, String> redis, String text, String name, String... words) {
        raises(RedisCommandExecutionException.class, text, () -> say(redis, name, words));
    }

    /** What Lettuce now and then reports of its own tidying up after a refusal, instead of the refusal. */
    private static final List<String> TIDYING = List.of("Connection closed prematurely", "RedisHandshakeHandler not registered");

    /** Fails unless connecting is refused with the text. A round that says nothing about the server is repeated. */
    private static void refused(String text, Check check) {
        for (int round = 0; ; round++) {
            try {
                raises(RedisException.class, text, check);
                return;
            } catch (AssertionError error) {
                if (round == 20 || TIDYING.stream().noneMatch(error.getMessage()::contains)) {
                    throw error;
                }
            }
        }
    }

    private static final Map<String, Shared> SHARED = new LinkedHashMap<>();

    static {
        SHARED.put("connect", (redis, protocol) -> {
            RedisCommands<String, String> named = connect(protocol, u -> u.setClientName("pond-skater"));
            same(List.of(named.ping(), named.echo("frog"), named.clientGetname()), List.of("PONG", "frog", "pond-skater"));
            has(named.clientInfo(), " name=pond-skater ", " resp=" + protocol, "id=" + named.clientId() + " ");
            if (redis.info("server").split("redis_version:")[1].compareTo("7.2") >= 0) {
                eventually("the library name", () -> named.clientInfo().contains("lib-name=Lettuce") || named.clientInfo().contains("lib-name=lettuce"));
            }
        });
        SHARED.put("password", (redis, protocol) -> {
            same(locked(protocol, u -> u.setAuthentication(PASSWORD)).set("secret", "kept"), "OK");
            same(locked(protocol, u -> u.setAuthentication("default", PASSWORD)).get("secret"), "kept");
            refused("WRONGPASS invalid username-password pair or user is disabled.",
                () -> locked(protocol, u -> u.setAuthentication("guess")).ping());
            refused("NOAUTH ", () -> locked(protocol, u -> { }).get("secret"));
            fails(redis, "without any password configured for the default user", "AUTH", "superfluous");
        });
        SHARED.put("database", (redis, protocol) -> {
            RedisCommands<String, String> five = connect(protocol, u -> u.setDatabase(5));
            redis.set("where", "zero");
            same(five.get("where"), null);
            five.set("where", "five");
            same(List.of(redis.get("where"), redis.dbsize(), five.dbsize()), List.of("zero", 1L, 1L));
            redis.set("walker", "1");
            same(List.of(redis.move("walker", 5), redis.exists("walker"), five.exists("walker")), List.of(true, 0L, 1L));
            same(redis.swapdb(0, 5), "OK");
            same(List.of(redis.get("where"), five.get("where")), List.of("five", "zero"));
            same(redis.flushdb(), "OK");
            same(List.of(redis.dbsize(), five.dbsize()), List.of(0L, 1L));
            raises(RedisCommandExecutionException.class, "ERR DB index is out of range", () -> redis.select(16));
        });
        SHARED.put("values", (redis, protocol) -> {
            RedisCommands<byte[], byte[]> binary = client(protocol, uri(HOST, PORT), u -> { }).connect(ByteArrayCodec.INSTANCE).sync();
            byte[] key = "value".getBytes();
            for (byte[] value : List.of(new byte[0], "\r\n$-1\r\n".getBytes(), everyByte(), block(255))) {
                same(binary.set(key, value), "OK");
                same(Arrays.equals(binary.get(key), value), true);
                same(binary.strlen(key), (long) value.length);
            }
            binary.set(everyByte(), "binary key".getBytes());
            same(new String(binary.get(everyByte())), "binary key");
            binary.set(new byte[0], "empty key".getBytes());
            same(new String(binary.get(new byte[0])), "empty key");
            redis.set("text", "W\u00f6rter \u2614");
            same(List.of(redis.getset("text", "b"), redis.getdel("text"), redis.exists("text")), List.of("W\u00f6rter \u2614", "b", 0L));
        });
        SHARED.put("mget and mset", (redis, protocol) -> {
            Map<String, String> pairs = new LinkedHashMap<>();
            for (int i = 0; i < 100; i++) {
                pairs.put("m" + i, "" + i);
            }
            String[] keys = pairs.keySet().toArray(String[]::new);
            same(redis.mset(pairs), "OK");
            List<KeyValue<String, String>> back = redis.mget(keys);
            for (KeyValue<String, String> pair : back) {
                same(pair.getValue(), pairs.get(pair.getKey()));
            }
            same(redis.mget("m1", "none").get(1).hasValue(), false);
            same(List.of(redis.msetnx(Map.of("m0", "x", "fresh", "y")), redis.exists("fresh"), redis.msetnx(Map.of("fresh", "y"))), List.of(false, 0L, true));
            same(redis.exists("m0", "m0", "none"), 2L);
            same(redis.del(Arrays.copyOf(keys, 50)), 50L);
            same(redis.unlink(keys), 50L);
        });
        SHARED.put("set options", (redis, protocol) -> {
            long soon = System.currentTimeMillis() / 1000 + 100;
            same(redis.set("k", "1", SetArgs.Builder.nx()), "OK");
            same(redis.set("k", "2", SetArgs.Builder.nx()), null);
            same(redis.set("none", "2", SetArgs.Builder.xx()), null);
            same(redis.set("k", "2", SetArgs.Builder.xx().ex(50)), "OK");
            same(redis.set("k", "3", SetArgs.Builder.keepttl()), "OK");
            between(45, redis.ttl("k"), 50);
            redis.set("k", "4");
            same(redis.ttl("k"), -1L);
            same(redis.set("k", "5", SetArgs.Builder.px(50_000)), "OK");
            between(45_000, redis.pttl("k"), 50_000);
            same(redis.set("k", "6", SetArgs.Builder.exAt(soon)), "OK");
            same(redis.expiretime("k"), soon);
            same(redis.set("k", "7", SetArgs.Builder.pxAt(soon * 1000 + 7)), "OK");
            same(redis.pexpiretime("k"), soon * 1000 + 7);
            same(redis.setGet("k", "8"), "7");
            same(redis.setGet("k", "9", SetArgs.Builder.nx()), "8");
            same(redis.setGet("fresh", "9", SetArgs.Builder.nx()), null);
            same(redis.set("k", "old", SetArgs.Builder.pxAt(1)), "OK");
            same(redis.exists("k"), 0L);
            raises(RedisCommandExecutionException.class, "ERR invalid expire time in 'set' command", () -> redis.set("k", "v", SetArgs.Builder.ex(0)));
            fails(redis, "ERR syntax error", "SET", "k", "v", "EX", "1", "PX", "1");
            same(List.of(redis.setnx("nx", "1"), redis.setnx("nx", "2")), List.of(true, false));
            same(List.of(redis.setex("sx", 60, "v"), redis.psetex("sx", 60_000, "v")), List.of("OK", "OK"));
        });
        SHARED.put("expiry", (redis, protocol) -> {
            long soon = System.currentTimeMillis() / 1000 + 100;
            same(List.of(redis.ttl("none"), redis.pttl("none")), List.of(-2L, -2L));
            redis.set("k", "v");
            same(List.of(redis.expire("k", 100, ExpireArgs.Builder.xx()), redis.expire("k", 100, ExpireArgs.Builder.nx())), List.of(false, true));
            same(List.of(redis.expire("k", 50, ExpireArgs.Builder.gt()), redis.expire("k", 50, ExpireArgs.Builder.lt())), List.of(false, true));
            same(redis.pexpire("k", Duration.ofSeconds(90)), true);
            between(85_000, redis.pttl("k"), 90_000);
            same(List.of(redis.expireat("k", Instant.ofEpochSecond(soon)), redis.expiretime("k")), List.of(true, soon));
            same(List.of(redis.pexpireat("k", soon * 1000 + 1), redis.pexpiretime("k")), List.of(true, soon * 1000 + 1));
            same(List.of(redis.persist("k"), redis.persist("k")), List.of(true, false));
            same(redis.getex("k", GetExArgs.Builder.ex(40)), "v");
            between(35, redis.ttl("k"), 40);
            same(redis.getex("k", GetExArgs.Builder.persist()), "v");
            same(List.of(redis.ttl("k"), redis.expire("k", 0), redis.exists("k")), List.of(-1L, true, 0L));
            redis.psetex("short", 30, "v");
            eventually("expiry", () -> redis.get("short") == null);
            same(redis.ttl("short"), -2L);
        });
        SHARED.put("counters", (redis, protocol) -> {
            same(List.of(redis.incr("n"), redis.incrby("n", 41), redis.decr("n"), redis.decrby("n", 40)), List.of(1L, 42L, 41L, 1L));
            redis.set("n", "" + Long.MAX_VALUE);
            raises(RedisCommandExecutionException.class, "ERR increment or decrement would overflow", () -> redis.incr("n"));
            same(List.of(redis.incrbyfloat("f", 10.5), redis.incrbyfloat("f", -10.25)), List.of(10.5, 0.25));
            redis.set("f", "5.0e3");
            same(List.of(redis.incrbyfloat("f", 200), redis.get("f")), List.of(5200.0, "5200"));
            redis.set("text", "frog");
            raises(RedisCommandExecutionException.class, "ERR value is not an integer or out of range", () -> redis.incr("text"));
            raises(RedisCommandExecutionException.class, "ERR value is not a valid float", () -> redis.incrbyfloat("text", 1));
        });
        SHARED.put("ranges", (redis, protocol) -> {
            same(List.of(redis.append("s", "Hello "), redis.append("s", "World")), List.of(6L, 11L));
            same(List.of(redis.getrange("s", 0, 4), redis.getrange("s", -5, -1), redis.getrange("s", 5, 2)), List.of("Hello", "World", ""));
            same(List.of(redis.setrange("s", 6, "Ponds"), redis.get("s")), List.of(11L, "Hello Ponds"));
            same(List.of(redis.setrange("pad", 3, "x"), redis.get("pad")), List.of(4L, "\0\0\0x"));
            raises(RedisCommandExecutionException.class, "ERR offset is out of range", () -> redis.setrange("s", -1, "x"));
        });
        SHARED.put("keyspace", (redis, protocol) -> {
            redis.setex("a", 100, "1");
            same(redis.rename("a", "b"), "OK");
            between(90, redis.ttl("b"), 100);
            raises(RedisCommandExecutionException.class, "ERR no such key", () -> redis.rename("a", "b"));
            redis.set("c", "3");
            same(List.of(redis.renamenx("b", "c"), redis.renamenx("b", "d")), List.of(false, true));
            same(List.of(redis.copy("d", "c"), redis.copy("d", "c", CopyArgs.Builder.replace(true)), redis.copy("d", "d", CopyArgs.Builder.destinationDb(3))),
                List.of(false, true, true));
            same(connect(protocol, u -> u.setDatabase(3)).get("d"), "1");
            same(List.of(redis.type("c"), redis.type("none"), redis.touch("c", "d", "none")), List.of("string", "none", 2L));
            same(Set.of("c", "d").contains(redis.randomkey()), true);
            same(redis.objectEncoding("c"), "int");
            same(redis.objectEncoding("none"), null);
            same(List.of(redis.objectRefcount("c") > 0, redis.objectIdletime("c") >= 0), List.of(true, true));
            between(1, redis.memoryUsage("c"), 1000);
            same(redis.flushall(), "OK");
            same(redis.randomkey(), null);
            same(redis.dbsize(), 0L);
        });
        SHARED.put("pipeline", (redis, protocol) -> {
            StatefulRedisConnection<String, String> connection = redis.getStatefulConnection();
            RedisAsyncCommands<String, String> async = connection.async();
            // Without automatic flushing the commands leave in one write.
            connection.setAutoFlushCommands(false);
            List<RedisFuture<String>> replies = new ArrayList<>();
            for (int i = 0; i < 1000; i++) {
                async.set("p" + i, "" + i);
                replies.add(async.get("p" + i));
            }
            RedisFuture<String> text = async.set("text", "frog");
            RedisFuture<Long> number = async.incr("text");
            RedisFuture<String> after = async.get("text");
            connection.flushCommands();
            connection.setAutoFlushCommands(true);
            for (int i = 0; i < 1000; i++) {
                same(replies.get(i).get(10, TimeUnit.SECONDS), "" + i);
            }
            same(text.get(10, TimeUnit.SECONDS), "OK");
            raises(Exception.class, "value is not an integer", () -> number.get(10, TimeUnit.SECONDS));
            same(after.get(10, TimeUnit.SECONDS), "frog");
        });
        SHARED.put("large pipeline", (redis, protocol) -> {
            RedisAsyncCommands<String, String> async = redis.getStatefulConnection().async();
            List<RedisFuture<Long>> replies = new ArrayList<>();
            for (int i = 0; i < 30_000; i++) {
                replies.add(async.incr("big"));
            }
            for (int i = 0; i < 30_000; i++) {
                same(replies.get(i).get(15, TimeUnit.SECONDS), i + 1L);
            }
            RedisCommands<byte[], byte[]> binary = client(protocol, uri(HOST, PORT), u -> { }).connect(ByteArrayCodec.INSTANCE).sync();
            Map<byte[], byte[]> blocks = new LinkedHashMap<>();
            for (int i = 0; i < 16; i++) {
                blocks.put(("block" + (char) ('a' + i)).getBytes(), block(i));
            }
            byte[][] keys = blocks.keySet().toArray(byte[][]::new);
            same(binary.mset(blocks), "OK");
            List<KeyValue<byte[], byte[]>> back = binary.mget(keys);
            for (int i = 0; i < 16; i++) {
                same(Arrays.equals(back.get(i).getValue(), block(i)), true);
            }
            same(binary.del(keys), 16L);
        });
        SHARED.put("transaction", (redis, protocol) -> {
            same(redis.multi(), "OK");
            redis.set("a", "1");
            redis.incr("a");
            redis.get("none");
            TransactionResult result = redis.exec();
            same(result.stream().toList(), Arrays.asList("OK", 2L, null));
            redis.multi();
            redis.set("text", "frog");
            redis.incr("text");
            redis.set("after", "done");
            result = redis.exec();
            has(((Throwable) result.get(1)).getMessage(), "ERR value is not an integer or out of range");
            same(redis.get("after"), "done");
            redis.multi();
            redis.set("dropped", "1");
            same(List.of(redis.discard(), redis.exists("dropped")), List.of("OK", 0L));
            redis.multi();
            redis.set("aborted", "1");
            try {
                say(redis, "NOSUCH");
            } catch (RedisCommandExecutionException refused) {
                has(refused.getMessage(), "unknown command");
            }
            raises(RedisCommandExecutionException.class, "EXECABORT Transaction discarded because of previous errors.", redis::exec);
            same(redis.exists("aborted"), 0L);
            fails(redis, "ERR EXEC without MULTI", "EXEC");
            fails(redis, "ERR DISCARD without MULTI", "DISCARD");
        });
        SHARED.put("watch", (redis, protocol) -> {
            RedisCommands<String, String> other = connect(protocol, u -> { });
            redis.set("w", "1");
            same(redis.watch("w"), "OK");
            other.set("w", "2");
            redis.multi();
            redis.set("w", "3");
            same(redis.exec().wasDiscarded(), true);
            redis.watch("w");
            other.set("w", "4");
            same(redis.unwatch(), "OK");
            redis.multi();
            redis.set("w", "5");
            same(redis.exec().wasDiscarded(), false);
            redis.set("sum", "0");
            RedisClient shared = client(protocol, uri(HOST, PORT), u -> { });
            together(8, () -> {
                RedisCommands<String, String> mine = shared.connect().sync();
                for (int added = 0; added < 25; ) {
                    mine.watch("sum");
                    int next = Integer.parseInt(mine.get("sum")) + 1;
                    mine.multi();
                    mine.set("sum", "" + next);
                    added += mine.exec().wasDiscarded() ? 0 : 1;
                }
            });
            same(redis.get("sum"), "200");
        });
        SHARED.put("scan", (redis, protocol) -> {
            for (String prefix : List.of("scan", "other")) {
                Map<String, String> pairs = new HashMap<>();
                for (int i = 0; i < (prefix.equals("scan") ? 5000 : 500); i++) {
                    pairs.put(prefix + ":" + i, "v");
                }
                redis.mset(pairs);
            }
            same(scan(redis, new ScanArgs().match("scan:*").limit(100)), 5000);
            same(scan(redis, new ScanArgs().limit(1000)), 5500);
            same(scan(redis, new ScanArgs().match("other:?").limit(500)), 10);
            same(scan(redis, new KeyScanArgs().type("string").limit(500)), 5500);
            same(scan(redis, new KeyScanArgs().type("list").limit(500)), 0);
            same(List.of(redis.keys("scan:*").size(), new HashSet<>(redis.keys("other:[12]"))), List.of(5000, Set.of("other:1", "other:2")));
            ScanIterator.scan(redis, new ScanArgs().match("scan:*").limit(50)).forEachRemaining(redis::unlink);
            same(redis.dbsize(), 500L);
            fails(redis, "ERR invalid cursor", "SCAN", "frog");
        });
        SHARED.put("errors", (redis, protocol) -> {
            fails(redis, "ERR wrong number of arguments for 'get' command", "GET");
            fails(redis, "ERR wrong number of arguments for 'del' command", "DEL");
            fails(redis, "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH", "a", "b");
            fails(redis, "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.", "CLIENT", "NOSUCH");
            fails(redis, "ERR value is not an integer or out of range", "EXPIRE", "k", "soon");
            fails(redis, "ERR syntax error", "SET", "k", "v", "SOMEHOW");
            fails(redis, "NOPROTO unsupported protocol version", "HELLO", "9");
            same(redis.ping(), "PONG");
        });
        SHARED.put("server", (redis, protocol) -> {
            redis.set("k", "v");
            List<String> lines = List.of(redis.info().split("\r\n"));
            for (String line : List.of("redis_mode:standalone", "role:master", "cluster_enabled:0", "db0:keys=1,expires=0,avg_ttl=0")) {
                same(lines.contains(line) ? line : null, line);
            }
            String before = redis.configGet("maxmemory").get("maxmemory");
            same(redis.configSet("maxmemory", "300mb"), "OK");
            same(redis.configGet("maxmem*ry", "databases"), Map.of("maxmemory", "" + 300 * MIB, "databases", "16"));
            same(redis.configSet(Map.of("maxmemory", before)), "OK");
            same(redis.configGet("nosuch*"), Map.of());
            raises(RedisCommandExecutionException.class, "CONFIG SET", () -> redis.configSet("nosuch", "1"));
            same(redis.configResetstat(), "OK");
            between(50, redis.commandCount(), 1000);
            same(((List<?>) redis.commandInfo("get").get(0)).subList(0, 2), List.of("get", 2L));
            same(redis.command().size() > 50, true);
            same(list(redis, "COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"), List.of("a", "b"));
            same(redis.role().get(0), "master");
            same(redis.dispatch(new Name("MODULE"), new NestedMultiOutput<>(StringCodec.UTF8), words("LIST")), List.of());
            between(System.currentTimeMillis() / 1000 - 5, Long.parseLong(redis.time().get(0)), System.currentTimeMillis() / 1000 + 5);
            same(redis.slowlogReset(), "OK");
            between(0, redis.slowlogGet(10).size(), 1);
        });
        SHARED.put("clients", (redis, protocol) -> {
            String name = "victim-" + protocol;
            RedisCommands<String, String> victim = connect(protocol, u -> u.setClientName(name));
            long id = victim.clientId();
            same(redis.clientList().split(" name=" + name + " ", -1).length, 2);
            has(redis.clientList(ClientListArgs.Builder.ids(id)), "id=" + id + " ");
            same(List.of(redis.clientKill(KillArgs.Builder.id(id)), redis.clientKill(KillArgs.Builder.id(id))), List.of(1L, 0L));
            raises(RedisCommandExecutionException.class, "ERR No such client", () -> redis.clientKill("127.0.0.1:1"));
            same(List.of(redis.clientNoEvict(true), redis.clientNoEvict(false), redis.clientSetname("renamed"), redis.clientGetname()),
                List.of("OK", "OK", "OK", "renamed"));
        });
        SHARED.put("reconnect", (redis, protocol) -> {
            String name = "again-" + protocol;
            RedisCommands<String, String> victim = connect(protocol, u -> {
                u.setClientName(name);
                u.setDatabase(2);
            });
            victim.set("before", "1");
            for (int round = 0; round < 3; round++) {
                long id = victim.clientId();
                same(redis.clientKill(KillArgs.Builder.id(id)), 1L);
                // The library connects again by itself and repeats what it had not yet got an answer to.
                same(victim.get("before"), "1");
                same(List.of(victim.clientId() > id, victim.clientGetname()), List.of(true, name));
            }
        });
        SHARED.put("workers", (redis, protocol) -> {
            RedisClient client = client(protocol, uri(HOST, PORT), u -> { });
            GenericObjectPoolConfig<StatefulRedisConnection<String, String>> limits = new GenericObjectPoolConfig<>();
            limits.setMaxTotal(20);
            try (GenericObjectPool<StatefulRedisConnection<String, String>> pool = ConnectionPoolSupport.createGenericObjectPool(client::connect, limits)) {
                together(50, () -> {
                    for (int i = 0; i < 100; i++) {
                        try (StatefulRedisConnection<String, String> connection = pool.borrowObject()) {
                            connection.sync().incr("total");
                        }
                    }
                });
            }
            same(redis.get("total"), "5000");
        });
        SHARED.put("cluster refused", (redis, protocol) -> {
            for (String question : List.of("INFO", "SLOTS", "NODES", "SHARDS")) {
                fails(redis, "ERR This instance has cluster support disabled", "CLUSTER", question);
            }
            fails(redis, "ERR This instance has cluster support disabled", "READONLY");
            fails(redis, "ERR unknown command", "SENTINEL", "MASTERS");
            RedisClusterClient cluster = RedisClusterClient.create(RESOURCES, uri(HOST, PORT));
            raises(RedisException.class, "", cluster::connect);
            cluster.shutdown(0, 1, TimeUnit.SECONDS);
            same(redis.waitForReplication(0, 10), 0L);
        });
        SHARED.put("timeout", (redis, protocol) -> {
            RedisCommands<String, String> slow = connect(protocol, u -> { });
            slow.set("t", "right");
            slow.setTimeout(Duration.ofMillis(100));
            same(redis.clientPause(400), "OK");
            raises(RedisCommandTimeoutException.class, "", () -> slow.get("wrong answer"));
            // The late reply belongs to the question that was given up.
            eventually("the end of the pause", () -> {
                try {
                    same(slow.get("t"), "right");
                    return true;
                } catch (RedisCommandTimeoutException late) {
                    return false;
                }
            });
        });
    }

    private static int scan(RedisCommands<String, String> redis, ScanArgs args) {
        Set<String> seen = new HashSet<>();
        ScanIterator.scan(redis, args).forEachRemaining(seen::add);
        return seen.size();
    }

    /** Many threads, one connection, answers in the order of the questions. */
    private static void sharedConnection(int protocol) throws Exception {
        RedisCommands<String, String> redis = connect(protocol, u -> { });
        redis.flushall();
        RedisAsyncCommands<String, String> async = redis.getStatefulConnection().async();
        together(50, () -> {
            String own = "own:" + Thread.currentThread().getId();
            List<RedisFuture<Long>> counts = new ArrayList<>();
            for (int i = 0; i < 100; i++) {
                counts.add(async.incr(own));
                async.incr("total");
            }
            for (int i = 0; i < 100; i++) {
                same(counts.get(i).get(10, TimeUnit.SECONDS), i + 1L);
            }
        });
        same(redis.get("total"), "5000");
    }

    private static void closeAll() {
        synchronized (OPENED) {
            OPENED.forEach(client -> client.shutdownAsync(0, 1, TimeUnit.SECONDS));
            OPENED.clear();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Report report = new Report("lettuce", Report.versionOf(RedisClient.class));
        for (int protocol : new int[] {2, 3}) {
            for (Map.Entry<String, Shared> check : SHARED.entrySet()) {
                report.run("resp" + protocol + " " + check.getKey(), () -> {
                    RedisCommands<String, String> redis = connect(protocol, u -> { });
                    redis.flushall();
                    check.getValue().run(redis, protocol);
                });
                closeAll();
            }
            report.run("resp" + protocol + " shared connection", () -> sharedConnection(protocol));
            closeAll();
        }
        report.run("resp3 hello refused", () -> {
            RedisClient client = RedisClient.create(RESOURCES, uri("127.0.0.1", NO_HELLO_PORT));
            StatefulRedisConnection<String, String> connection = client.connect();
            same(List.of(connection.sync().set("old", "way"), connection.sync().get("old")), List.of("OK", "way"));
            has(connection.sync().clientInfo(), " resp=2");
        });
        report.print();
    }
}
