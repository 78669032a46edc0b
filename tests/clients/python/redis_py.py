"""redis-py, synchronous and asyncio; the same program runs with version 8 and version 5."""

import asyncio
import socket
import threading
import time

import redis
import redis.asyncio

from report import HOST, PASSWORD, PORT, Report, between, password_address, raises, same

ResponseError = redis.ResponseError
MIB = 1 << 20


def connect(protocol, **options):
    return redis.Redis(**{"host": HOST, "port": PORT, "protocol": protocol, "socket_timeout": 20, **options})


def version_of(client):
    return tuple(int(part) for part in client.info("server")["redis_version"].split("."))


class Checks:
    """One method per shared check, run once per protocol on an empty server."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.client = connect(protocol)

    def connect(self):
        client = connect(self.protocol, client_name="pond-skater")
        same(client.ping(), True)
        same(client.echo("frog"), b"frog")
        same(client.client_getname() in ("pond-skater", b"pond-skater"), True)
        info = client.client_info()
        same(info["name"], "pond-skater")
        same(info["resp"], str(self.protocol))
        same(int(info["id"]), client.client_id())
        if version_of(client) >= (7, 2):
            same(info["lib-name"].startswith("redis-py"), True)
            same(info["lib-ver"], redis.__version__)
        hello = client.execute_command("HELLO", self.protocol)
        hello = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2]))
        hello = {key.decode() if isinstance(key, bytes) else key: value for key, value in hello.items()}
        same(list(hello), ["server", "version", "proto", "id", "mode", "role", "modules"])
        same((hello["proto"], hello["mode"], hello["role"]), (self.protocol, b"standalone", b"master"))

    def password(self):
        host, port = password_address()
        # A refused login counts as a lost connection here, which this library tries ten times by default.
        at = {"host": host, "port": port, "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0)}
        client = connect(self.protocol, **at, password=PASSWORD)
        same(client.set("secret", "kept"), True)
        same(client.get("secret"), b"kept")
        same(connect(self.protocol, **at, username="default", password=PASSWORD).get("secret"), b"kept")
        raises(redis.AuthenticationError, "", connect(self.protocol, **at, password="guess").ping)
        raises(redis.AuthenticationError, "", connect(self.protocol, **at).get, "secret")
        # Without HELLO in the way the code itself arrives.
        bare = redis.Redis(**at, protocol=2)
        raises(redis.AuthenticationError, "Authentication required", bare.get, "secret")
        raises(redis.AuthenticationError, "invalid username-password pair",
               redis.Redis(**at, protocol=2, password="guess").ping)
        # A password where none is configured is an error of its own.
        error = raises(redis.RedisError, "", redis.Redis(HOST, PORT, protocol=2, password="superfluous", retry=at["retry"]).ping)
        same("without any password configured" in str(error), True)

    def database(self):
        five = connect(self.protocol, db=5)
        self.client.set("where", "zero")
        same(five.get("where"), None)
        five.set("where", "five")
        same(self.client.get("where"), b"zero")
        same((self.client.dbsize(), five.dbsize()), (1, 1))
        self.client.set("walker", 1, ex=100)
        same(self.client.move("walker", 5), True)
        same((self.client.exists("walker"), five.exists("walker")), (0, 1))
        between(90, five.ttl("walker"), 100)
        same(self.client.swapdb(0, 5), True)
        same((self.client.get("where"), five.get("where")), (b"five", b"zero"))
        same(self.client.flushdb(), True)
        same((self.client.dbsize(), five.dbsize()), (0, 1))
        raises(ResponseError, "DB index is out of range", self.client.execute_command, "SELECT", 16)
        same(five.flushall(), True)

    def values(self):
        every_byte = bytes(range(256)) * 5
        for value in (b"", b"\r\n", b"$-1\r\n", every_byte, "Weiher".encode(), b"\xff" * MIB):
            same(self.client.set("value", value), True)
            same(self.client.get("value") == value, True)
            same(self.client.strlen("value"), len(value))
        same(self.client.set(every_byte, "under a binary key"), True)
        same(self.client.get(every_byte), b"under a binary key")
        same(self.client.set("", "under the empty key"), True)
        same(self.client.get(""), b"under the empty key")
        same(self.client.get("nothing"), None)
        same(self.client.getdel("value"), b"\xff" * MIB)
        same(self.client.getset("value", "a"), None)
        same(self.client.getset("value", "b"), b"a")
        same(connect(self.protocol, decode_responses=True).get("value"), "b")

    def many(self):
        same(self.client.mset({f"m{i}": i for i in range(100)}), True)
        same(self.client.mget([f"m{i}" for i in range(100)] + ["none"]), [b"%d" % i for i in range(100)] + [None])
        same(self.client.msetnx({"m0": "x", "new": "y"}), False)
        same(self.client.get("new"), None)
        same(self.client.msetnx({"new": "y", "newer": "z"}), True)
        same(self.client.exists("m0", "m0", "none", "new"), 3)
        same(self.client.delete(*[f"m{i}" for i in range(50)], "none"), 50)
        same(self.client.unlink(*[f"m{i}" for i in range(50, 100)]), 50)

    def set_options(self):
        client, soon = self.client, int(time.time()) + 100
        same(client.set("k", "1", nx=True), True)
        same(client.set("k", "2", nx=True), None)
        same(client.set("none", "2", xx=True), None)
        same(client.set("k", "2", xx=True, ex=50), True)
        between(45, client.ttl("k"), 50)
        same(client.set("k", "3", keepttl=True), True)
        between(45, client.ttl("k"), 50)
        same(client.set("k", "4"), True)
        same(client.ttl("k"), -1)
        same(client.set("k", "5", px=50_000), True)
        between(45_000, client.pttl("k"), 50_000)
        same(client.set("k", "6", exat=soon), True)
        same(client.expiretime("k"), soon)
        same(client.set("k", "7", pxat=soon * 1000 + 7), True)
        same(client.pexpiretime("k"), soon * 1000 + 7)
        same(client.set("k", "8", get=True), b"7")
        same(client.set("fresh", "1", get=True), None)
        same(client.set("k", "9", nx=True, get=True), b"8")
        same(client.get("k"), b"8")
        # A deadline in the past stores nothing and removes the old value.
        same(client.set("k", "old", pxat=1), True)
        same(client.exists("k"), 0)
        for options in ({"ex": 0}, {"px": -5}):
            raises(ResponseError, "invalid expire time in 'set' command", client.set, "k", "v", **options)
        raises(ResponseError, "syntax error", client.execute_command, "SET", "k", "v", "EX", 1, "PX", 1)
        raises(ResponseError, "syntax error", client.execute_command, "SET", "k", "v", "NX", "XX")
        same(client.setnx("nx", 1), True)
        same(client.setnx("nx", 2), False)
        same(client.setex("sx", 60, "v"), True)
        same(client.psetex("sx", 60_000, "v"), True)
        between(59_000, client.pttl("sx"), 60_000)

    def expiry(self):
        client, soon = self.client, int(time.time()) + 100
        same((client.ttl("none"), client.pttl("none")), (-2, -2))
        client.set("k", "v")
        same(client.expire("k", 100, xx=True), False)
        same(client.expire("k", 100, nx=True), True)
        same(client.expire("k", 50, gt=True), False)
        same(client.expire("k", 50, lt=True), True)
        same(client.pexpire("k", 90_000), True)
        between(85_000, client.pttl("k"), 90_000)
        same(client.expireat("k", soon), True)
        same(client.expiretime("k"), soon)
        same(client.pexpireat("k", soon * 1000 + 1), True)
        same(client.pexpiretime("k"), soon * 1000 + 1)
        same(client.persist("k"), True)
        same(client.persist("k"), False)
        same(client.getex("k", ex=40), b"v")
        between(35, client.ttl("k"), 40)
        same(client.getex("k", persist=True), b"v")
        same(client.ttl("k"), -1)
        same(client.expire("k", 0), True)
        same(client.exists("k"), 0)
        same(client.expire("none", 10), False)
        client.set("short", "v", px=30)
        deadline = time.monotonic() + 5
        while client.get("short") is not None:
            assert time.monotonic() < deadline, "a key with 30 ms to live is there after 5 s"
        same(client.exists("short"), 0)
        same(client.ttl("short"), -2)

    def counters(self):
        client = self.client
        same((client.incr("n"), client.incr("n", 41), client.decr("n"), client.decr("n", 40)), (1, 42, 41, 1))
        client.set("n", (1 << 63) - 2)
        same(client.incr("n"), (1 << 63) - 1)
        raises(ResponseError, "increment or decrement would overflow", client.incr, "n")
        same(client.incrbyfloat("f", 10.5), 10.5)
        same(client.incrbyfloat("f", -10.25), 0.25)
        same(client.get("f"), b"0.25")
        client.set("f", "5.0e3")
        same(client.incrbyfloat("f", 200), 5200.0)
        same(client.get("f"), b"5200")
        client.set("text", "frog")
        raises(ResponseError, "value is not an integer or out of range", client.incr, "text")
        raises(ResponseError, "value is not a valid float", client.incrbyfloat, "text", 1)
        client.set("kept", 1, ex=100)
        client.incr("kept")
        between(90, client.ttl("kept"), 100)

    def ranges(self):
        client = self.client
        same(client.append("s", "Hello "), 6)
        same(client.append("s", b"W\x00rld"), 11)
        same(client.getrange("s", 0, 4), b"Hello")
        same(client.getrange("s", -5, -1), b"W\x00rld")
        same(client.getrange("s", 5, 2), b"")
        same(client.setrange("s", 6, "World"), 11)
        same(client.get("s"), b"Hello World")
        same(client.setrange("pad", 5, "x"), 6)
        same(client.get("pad"), b"\0\0\0\0\0x")
        same(client.substr("s", 0, 1), b"He")
        raises(ResponseError, "offset is out of range", client.setrange, "s", -1, "x")

    def keyspace(self):
        client = self.client
        client.set("a", 1, ex=100)
        same(client.rename("a", "b"), True)
        between(90, client.ttl("b"), 100)
        raises(ResponseError, "no such key", client.rename, "a", "b")
        client.set("c", 3)
        same(client.renamenx("b", "c"), False)
        same(client.renamenx("b", "d"), True)
        same(client.copy("d", "c"), False)
        same(client.copy("d", "c", replace=True), True)
        between(90, client.ttl("c"), 100)
        same(client.copy("d", "d", destination_db=3), True)
        same(connect(self.protocol, db=3).get("d"), b"1")
        same((client.type("c"), client.type("none")), (b"string", b"none"))
        same(client.randomkey() in (b"c", b"d"), True)
        same(client.touch("c", "d", "none"), 2)
        same(client.object("encoding", "c"), b"int")
        client.set("long", "x" * 100)
        same(client.object("encoding", "long"), b"raw")
        same(isinstance(client.object("idletime", "c"), int), True)
        same(client.object("refcount", "c") >= 1, True)
        between(1, client.memory_usage("c"), 1000)
        same(client.memory_usage("long") > 100, True)
        same(client.memory_usage("none"), None)
        same(client.flushall(), True)
        same((client.randomkey(), client.dbsize()), (None, 0))

    def pipeline(self):
        pipe = self.client.pipeline(transaction=False)
        for i in range(1000):
            pipe.set(f"p{i}", i)
            pipe.get(f"p{i}")
        same(pipe.execute(), [item for i in range(1000) for item in (True, b"%d" % i)])
        pipe.set("text", "frog").incr("text").execute_command("NOSUCH").get("text")
        first, second, third, fourth = pipe.execute(raise_on_error=False)
        same((first, fourth), (True, b"frog"))
        same(isinstance(second, ResponseError) and isinstance(third, ResponseError), True)

    def large_pipeline(self):
        pipe = self.client.pipeline(transaction=False)
        for i in range(30_000):
            pipe.incr("big")
        same(pipe.execute(), list(range(1, 30_001)))
        for i in range(16):
            pipe.set(f"block{i}", bytes([i]) * MIB)
        pipe.mget([f"block{i}" for i in range(16)])
        replies = pipe.execute()
        same(replies[:16], [True] * 16)
        same(all(block == bytes([i]) * MIB for i, block in enumerate(replies[16])), True)
        same(self.client.delete(*[f"block{i}" for i in range(16)]), 16)

    def transaction(self):
        client = self.client
        pipe = client.pipeline()
        same(pipe.set("a", 1).incr("a").get("a").get("none").execute(), [True, 2, b"2", None])
        # An error at run time stays inside the result; the rest is done.
        pipe.set("text", "frog").incr("text").set("after", "done")
        result = pipe.execute(raise_on_error=False)
        same(isinstance(result[1], ResponseError), True)
        same(client.get("after"), b"done")
        # An error while queueing aborts all of it.
        pipe.set("aborted", 1).execute_command("NOSUCH", "x")
        raises(ResponseError, "unknown command", pipe.execute)
        same(client.exists("aborted"), 0)
        with client.client() as one:
            same(one.execute_command("MULTI") in (b"OK", True), True)
            same(one.execute_command("APPEND", "dropped", 1), b"QUEUED")
            raises(ResponseError, "MULTI calls can not be nested", one.execute_command, "MULTI")
            raises(ResponseError, "WATCH inside MULTI is not allowed", one.execute_command, "WATCH", "k")
            same(one.execute_command("DISCARD") in (b"OK", True), True)
            same(one.execute_command("EXISTS", "dropped"), 0)
            raises(ResponseError, "DISCARD without MULTI", one.execute_command, "DISCARD")
            raises(ResponseError, "EXEC without MULTI", one.execute_command, "EXEC")
            one.execute_command("MULTI")
            raises(ResponseError, "wrong number of arguments for 'get' command", one.execute_command, "GET")
            raises(redis.exceptions.ExecAbortError, "Transaction discarded because of previous errors", one.execute_command, "EXEC")

    def watch(self):
        client, other = self.client, connect(self.protocol)
        client.set("w", 1)
        with client.pipeline() as pipe:
            pipe.watch("w")
            other.set("w", 2)
            pipe.multi()
            pipe.set("w", 3)
            raises(redis.WatchError, "", pipe.execute)
        same(client.get("w"), b"2")
        with client.pipeline() as pipe:
            pipe.watch("w")
            other.set("w", 4)
            pipe.unwatch()
            pipe.multi()
            same(pipe.set("w", 5).execute(), [True])
        client.set("sum", 0)
        retries = []

        def add():
            mine = connect(self.protocol)

            def step(pipe):
                retries.append(1)
                value = int(pipe.get("sum"))
                pipe.multi()
                pipe.set("sum", value + 1)

            for _ in range(25):
                mine.transaction(step, "sum")
            mine.close()

        in_threads(8, add)
        same(client.get("sum"), b"200")
        assert len(retries) >= 200

    def scan(self):
        client = self.client
        client.flushall()
        for part in range(5):
            client.mset({f"scan:{part * 1000 + i}": "v" for i in range(1000)})
        client.mset({f"other:{i}": "v" for i in range(500)})
        # Without changes in between every key comes once: redis promises at least once, a still table gives exactly once.
        seen = list(client.scan_iter(match="scan:*", count=100))
        same(len(set(seen)), 5000)
        same(len(list(client.scan_iter(count=1000))) >= 5500, True)
        same(len(set(client.scan_iter(match="other:?"))), 10)
        same(len(set(client.scan_iter(_type="string", count=500))), 5500)
        same(list(client.scan_iter(_type="list")), [])
        same(len(client.keys("scan:*")), 5000)
        same(sorted(client.keys("other:[12]")), [b"other:1", b"other:2"])
        same(client.keys(r"scan:\*"), [])
        # Deleting while scanning misses nothing.
        for key in client.scan_iter(match="scan:*", count=50):
            client.unlink(key)
        same((client.dbsize(), client.keys("scan:*")), (500, []))
        raises(ResponseError, "invalid cursor", client.execute_command, "SCAN", "frog")

    def errors(self):
        client = self.client
        command = client.execute_command
        raises(ResponseError, "wrong number of arguments for 'get' command", command, "GET")
        raises(ResponseError, "wrong number of arguments for 'del' command", command, "DEL")
        raises(ResponseError, "wrong number of arguments for 'client|kill' command", command, "CLIENT", "KILL")
        raises(ResponseError, "unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", command, "NOSUCH", "a", "b")
        raises(ResponseError, "unknown subcommand 'NOSUCH'. Try CLIENT HELP.", command, "CLIENT", "NOSUCH")
        raises(ResponseError, "value is not an integer or out of range", command, "EXPIRE", "k", "soon")
        raises(ResponseError, "syntax error", command, "SET", "k", "v", "SOMEHOW")
        raises(ResponseError, "unsupported protocol version", command, "HELLO", 9)
        same(client.ping(), True)
        # A broken frame gets one error and the connection ends.
        for frame, text in ((b"*1\r\n+PING\r\n", b"-ERR Protocol error: expected '$', got '+'\r\n"),
                            (b"*99999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
                            (b"*1\r\n$frog\r\n", b"-ERR Protocol error: invalid bulk length\r\n")):
            with socket.create_connection((HOST, PORT), timeout=10) as raw:
                raw.sendall(frame)
                answer = b""
                while data := raw.recv(1000):
                    answer += data
                same(answer, text)

    def server(self):
        client = self.client
        client.set("k", "v", ex=100)
        info = client.info()
        same(info["redis_mode"], "standalone")
        same(info["role"], "master")
        same(info["cluster_enabled"], 0)
        same((info["db0"]["keys"], info["db0"]["expires"]), (1, 1))
        same({"used_memory", "connected_clients", "total_commands_processed", "uptime_in_seconds", "maxmemory_policy"} - set(info), set())
        same(set(client.info("keyspace")), {"db0"})
        same(client.config_get("databases"), {"databases": "16"})
        same(client.config_get("nosuch*"), {})
        before = client.config_get("maxmemory", "maxmemory-policy")
        same(client.config_set("maxmemory", "256mb", "maxmemory-policy", "allkeys-lru"), True)
        same(client.config_get("maxmemory*")["maxmemory"], str(256 * MIB))
        same(client.config_set(*[item for pair in before.items() for item in pair]), True)
        same(client.config_get("maxmemory", "maxmemory-policy"), before)
        raises(ResponseError, "CONFIG SET", client.config_set, "nosuch", "1")
        same(client.config_resetstat(), True)
        same(client.command_count() > 50, True)
        same(client.command_getkeys("MSET", "a", 1, "b", 2) in ([b"a", b"b"], ["a", "b"]), True)
        same(client.command()["get"]["arity"], 2)
        same(sum(name in (b"get", "get") for name in client.command_list()), 1)
        same(client.role()[0] in ("master", b"master"), True)
        same(client.module_list(), [])
        between(time.time() - 5, client.time()[0], time.time() + 5)
        client.slowlog_reset()
        before = client.config_get("slowlog-log-slower-than")
        client.config_set("slowlog-log-slower-than", 0)
        client.get("slow one")
        client.config_set("slowlog-log-slower-than", before["slowlog-log-slower-than"])
        same(any(b"slow one" in entry["command"] for entry in client.slowlog_get(10)), True)
        same(client.slowlog_len() >= 1, True)
        same(client.slowlog_reset(), True)
        same(isinstance(client.latency_latest(), list), True)
        same(client.memory_stats()["keys.count"], 1)

    def clients(self):
        client, name = self.client, f"victim-{self.protocol}"
        victim = connect(self.protocol, client_name=name, single_connection_client=True)
        same(victim.ping(), True)
        same([entry["name"] for entry in client.client_list() if entry["name"].startswith("victim")], [name])
        number = victim.client_id()
        same([entry["id"] for entry in client.client_list(client_id=[str(number)])], [str(number)])
        if version_of(client) >= (7, 2):
            same(victim.client_setinfo("LIB-NAME", "skipper"), True)
            same(victim.client_info()["lib-name"], "skipper")
        same(client.client_no_evict("ON") in (b"OK", True, "OK"), True)
        same(client.client_kill_filter(_id=str(number)), 1)
        same([entry for entry in client.client_list() if entry["name"] == name], [])
        same(client.client_kill_filter(_id=str(number)), 0)
        raises(ResponseError, "No such client", client.client_kill, "127.0.0.1:1")

    def reconnect(self):
        name = f"again-{self.protocol}"
        victim = connect(self.protocol, client_name=name, db=2, single_connection_client=True,
                         retry=redis.retry.Retry(redis.backoff.NoBackoff(), 3),
                         retry_on_error=[redis.ConnectionError])
        victim.set("before", 1)
        for _ in range(3):
            number = victim.client_id()
            same(self.client.client_kill_filter(_id=str(number)), 1)
            # The library connects again by itself, with its name and its database.
            same(victim.get("before"), b"1")
            same(victim.client_id() > number, True)
            same(victim.client_info()["name"], name)

    def workers(self):
        client = connect(self.protocol, connection_pool=redis.BlockingConnectionPool(
            host=HOST, port=PORT, protocol=self.protocol, max_connections=20, timeout=60))

        def work():
            for _ in range(100):
                client.incr("total")

        in_threads(50, work)
        same(self.client.get("total"), b"5000")
        client.connection_pool.disconnect()

    def cluster(self):
        for question in (("INFO",), ("SLOTS",), ("NODES",), ("SHARDS",)):
            raises(ResponseError, "cluster support disabled", self.client.execute_command, "CLUSTER", *question)
        raises(redis.exceptions.RedisClusterException, "luster", redis.RedisCluster, host=HOST, port=PORT, protocol=self.protocol)
        raises(ResponseError, "cluster support disabled", self.client.readonly)
        raises(ResponseError, "unknown command", self.client.execute_command, "SENTINEL", "MASTERS")
        same(self.client.wait(0, 100), 0)

    def timeout(self):
        slow = connect(self.protocol, socket_timeout=0.1, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
        same(slow.set("t", "right"), True)
        same(self.client.client_pause(400), True)
        raises(redis.TimeoutError, "", slow.get, "wrong answer")
        deadline = time.monotonic() + 10
        while True:
            try:
                # A late reply must not be taken for the reply to this question.
                same(slow.get("t"), b"right")
                break
            except redis.TimeoutError:
                assert time.monotonic() < deadline, "still paused after 10 s"


def in_threads(count, function):
    """Runs the function in `count` threads and raises the first exception any of them met."""
    met = []

    def guarded():
        try:
            function()
        except Exception as error:
            met.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if met:
        raise met[0]


SHARED = {
    "connect": Checks.connect, "password": Checks.password, "database": Checks.database, "values": Checks.values,
    "mget and mset": Checks.many, "set options": Checks.set_options, "expiry": Checks.expiry,
    "counters": Checks.counters, "ranges": Checks.ranges, "keyspace": Checks.keyspace, "pipeline": Checks.pipeline,
    "large pipeline": Checks.large_pipeline, "transaction": Checks.transaction, "watch": Checks.watch,
    "scan": Checks.scan, "errors": Checks.errors, "server": Checks.server, "clients": Checks.clients,
    "reconnect": Checks.reconnect, "workers": Checks.workers, "cluster refused": Checks.cluster,
    "timeout": Checks.timeout,
}


def asyncio_check(protocol):
    async def work():
        client = redis.asyncio.Redis(host=HOST, port=PORT, protocol=protocol, max_connections=50)
        await client.flushall()
        same(await client.set("a", "b", px=50_000), True)
        same(await client.get("a"), b"b")
        async with client.pipeline(transaction=True) as pipe:
            same(await pipe.incr("n").incr("n").execute(), [1, 2])
        await asyncio.gather(*(client.incr("total") for _ in range(40)))
        same(await client.get("total"), b"40")
        same(sorted([key async for key in client.scan_iter(match="*")]), [b"a", b"n", b"total"])
        try:
            await client.incr("a")
        except redis.ResponseError as error:
            same("not an integer" in str(error), True)
        else:
            raise AssertionError("INCR of text gave no error")
        await client.aclose()

    asyncio.run(work())


def on_empty_server(function, checks):
    checks.client.flushall()
    function(checks)


def main():
    name = "redis-py-5" if redis.__version__.startswith("5.") else "redis-py"
    report = Report(name, redis.__version__)
    for protocol in (2, 3):
        for check, function in SHARED.items():
            # A connection of its own, so that a failing check leaves no open transaction to the next one.
            report.run(f"resp{protocol} {check}", on_empty_server, function, Checks(protocol))
        report.run(f"resp{protocol} asyncio", asyncio_check, protocol)
    report.print()


main()
