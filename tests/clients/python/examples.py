"""The worked examples of docs/examples.md, and checks that each of them does what it promises.

Threads stand for the fleet, Python's own HTTP server for the origin. Only Millpond has the commands that are used here.
The four parts between "Example" and "End of example" stand in the document as they stand here, imports included; the last
check compares them.
"""

import pathlib
import re
import threading
from http.server import ThreadingHTTPServer

import redis

from report import HOST, ORIGIN_PORT, PORT, Report, raises, same

# Example 1. It is also in docs/examples.md: change both.
import json
import time
from concurrent.futures import ThreadPoolExecutor


class Users:
    """Users as an API serves them. `load(uid)` is slow; it gives a dict, or None where there is no such user."""

    def __init__(self, r, load):
        self.r, self.load, self.refreshers = r, load, ThreadPoolExecutor(4)
        # By default a lease ends with the connection that SWR.GET was sent on. A pool lends that connection to others while
        # this thread loads, and may close it; so the lease is bound to none. LEASE ends it should this process die.
        r.execute_command("CACHE.SERVICE", "SET", "user", "PREFIX", "user:", "FRESH", 60_000, "STALE", 3_600_000,
                          "LEASE", 10_000, "LEASEBIND", "none")

    def get_user(self, uid):
        key = f"user:{uid}"
        for _ in range(5):
            state, value, token, ms = self.r.execute_command("SWR.GET", key, "WAIT", 2_000)
            if token and value is None:  # MISS: nothing to serve, and nobody else loads.
                return self.refresh(uid, key, token)
            if token:  # STALE: this reader refreshes it, behind its answer.
                self.refreshers.submit(self.refresh, uid, key, token)
            if value is not None or state == "NEG":
                return value and json.loads(value)
            if state == "PASS":  # Caching is switched off, or must not be done.
                return self.load(uid)
            if state == "ERR":  # Loading failed; nobody tries again for the next `ms`.
                break
            time.sleep(ms / 1_000)  # WAIT: somebody loads, for longer than we waited.
        raise TimeoutError(f"user {uid} cannot be loaded now")

    def refresh(self, uid, key, token):
        try:
            user = self.load(uid)
        except Exception as error:
            self.r.execute_command("SWR.FAIL", key, token, "MSG", str(error))
            raise
        if user is None:
            self.r.execute_command("SWR.FILL", key, token, "NIL")
        else:
            tags = (f"user-{uid}", f"team-{user['team']}")
            self.r.execute_command("SWR.FILL", key, token, "VALUE", json.dumps(user), "TAGS", len(tags), *tags)
        return user

    def revoke(self, tag, how="HARD"):
        """HARD: as if never cached. SOFT: stale, so that readers are served while it is loaded again."""
        self.r.execute_command("CACHE.REVOKE", "TAG", tag, how)
# End of example 1.


# Example 2. It is also in docs/examples.md: change both.
import hashlib
from http.server import BaseHTTPRequestHandler


def define_pages(r, origin):
    """Once. The server was started with `--origin-allow` and the same host:port as `origin`, else it asks nobody."""
    r.execute_command("CACHE.SERVICE", "SET", "page", "PREFIX", "page:", "LOADER", "origin",
                      "ORIGIN", f"http://{origin}/products/{{key}}", "COLD", "wait 2000")


def product_page(r, product):
    page = r.get(f"page:{product}")  # Any client, any library: the server loads what it does not have.
    if page is None:  # No such page, or the origin fails: then a copy kept for stale-if-error will do.
        state, page, _, _ = r.execute_command("SWR.GET", f"page:{product}", "WAIT", 2_000)
    return page


class ProductPages(BaseHTTPRequestHandler):
    """The origin. It says how long a page is good, how it is known again, and by which tags it can be revoked."""

    caching = "max-age=60, stale-while-revalidate=600, stale-if-error=86400"

    def do_GET(self):
        product = self.server.products.get(self.path.rpartition("/")[2])  # The database of the origin.
        if product is None:
            return self.send_error(404)  # The server remembers that too, for NEG ms.
        page = product["page"].encode()
        etag = f'"{hashlib.sha256(page).hexdigest()[:16]}"'
        is_known = self.headers["If-None-Match"] == etag
        self.send_response(304 if is_known else 200)
        self.send_header("Cache-Control", self.caching)
        self.send_header("ETag", etag)
        self.send_header("Surrogate-Key", f"product-{product['id']} category-{product['category']}")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if not is_known:
            self.wfile.write(page)
# End of example 2.


# Example 3. It is also in docs/examples.md: change both.
import json


def define_reports(r):
    r.execute_command("CACHE.SERVICE", "SET", "report", "PREFIX", "report:", "LOADER", "worker", "PAYLOAD", "json",
                      "STALE", 86_400_000, "LEASE", 30_000, "LEASEMAX", 600_000)


def report(r, payload):
    """Id and report for a payload, the JSON text as it came in. It is computed unless it is known."""
    id, state, value, _, _ = r.execute_command("SWR.MEMO", "report", payload, "WAIT", 10_000)
    if value is None:  # ERR: it failed. WAIT: it takes longer; ask again, or for the key report:<id>.
        raise TimeoutError(f"report {id}: {state}")
    return id, value


def work(r, compute, stop):
    """One worker. `r` has a single connection: should the worker die, its lease ends with it and another gets the job."""
    while not stop.is_set():
        for key, token, _, _, _, _, payload in r.execute_command("SWR.NEXT", "report", "BLOCK", 1_000):
            if payload is None:  # Somebody asked by key. Only those who have the payload can have it computed.
                r.execute_command("SWR.YIELD", key, token)
                continue
            try:
                result = compute(json.loads(payload))
            except Exception as error:
                r.execute_command("SWR.FAIL", key, token, "MSG", str(error))
            else:
                r.execute_command("SWR.FILL", key, token, "VALUE", result)
# End of example 3.


# Example 4. It is also in docs/examples.md: change both.
def define_services(r):
    for name, fields in {
        "*": {"FRESH": 60_000, "STALE": 600_000, "RETAIN": 3_600_000},  # For every key,
        "user": {"PREFIX": "user:", "FRESH": 10_000, "DEFAULTS": "yes"},  # for those of a service,
        "user.get_user": {"PREFIX": "user:get_user:", "STALE": 30_000},  # and for those of one of its actions.
    }.items():
        r.execute_command("CACHE.SERVICE", "SET", name, *(word for field in fields.items() for word in field))


class ServiceCache:
    """The cache of a service or of an action: its name, with `:` for `.`, is what its keys begin with."""

    def __init__(self, r, name):
        self.r, self.name, self.prefix = r, name, name.replace(".", ":") + ":"

    def get(self, id):
        """State and value. A plain GET gives the value as well, but CACHE.STATS does not count it."""
        return self.r.execute_command("SWR.GET", self.prefix + id, "NOLEASE")[:2]

    def set(self, id, value):
        self.r.set(self.prefix + id, value)  # DEFAULTS yes: with the windows of the service.

    def delete(self, *ids):
        return self.r.execute_command("CACHE.DELETE", self.name, *ids)

    def clear(self, how="HARD"):
        self.r.execute_command("CACHE.CLEAR", self.name, how)

    def revoke(self, start, how="HARD"):
        self.r.execute_command("CACHE.REVOKE", "PREFIX", self.prefix + start, how)

    def revoke_matching(self, pattern, how="HARD"):
        self.r.execute_command("CACHE.REVOKE", "MATCH", self.prefix + pattern, how)

    def stats(self):
        return self.r.execute_command("CACHE.STATS", self.name)
# End of example 4.


# ---- what the checks share ----

# For whatever is waited for, s; nothing takes nearly as long on a sound server.
DEADLINE = 10


def connect(**options):
    return redis.Redis(host=HOST, port=PORT, protocol=3, decode_responses=True, socket_timeout=20, **options)


def until(look, wanted):
    """Returns once `look()` gives what is wanted."""
    deadline = time.monotonic() + DEADLINE
    while (seen := look()) != wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"after {DEADLINE} s still {str(seen)[:200]!r}, wanted {str(wanted)[:200]!r}")
        time.sleep(0.002)


def at_once(count, function):
    """Futures of `count` threads that call `function(n)`, all from the same moment on."""
    barrier = threading.Barrier(count)

    def begin(n):
        barrier.wait(DEADLINE)
        return function(n)

    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(begin, n) for n in range(count)]
    pool.shutdown(wait=False)
    return futures


def results(futures):
    return [future.result(DEADLINE) for future in futures]


class Gate:
    """What passes here is noted, and held while the gate is shut. What was held is let go by the event that `hold` gave."""

    def __init__(self):
        self.passed, self.event = [], threading.Event()
        self.flow()

    def hold(self):
        self.event = threading.Event()
        return self.event

    def flow(self):
        """Lets pass what comes from now on."""
        self.event = threading.Event()
        self.event.set()

    def enter(self, what):
        event = self.event
        self.passed.append(what)
        assert event.wait(DEADLINE), f"{what} was never let go"


class Check:
    """Server without data and services, and a connection of its own."""

    def __init__(self):
        self.r = connect()
        self.r.flushall()
        for name in self.r.execute_command("CACHE.SERVICE", "LIST"):
            self.r.execute_command("CACHE.SERVICE", "DEL", name)

    def end(self):
        """Ends what the check has started."""

    def service(self, name, *fields):
        self.r.execute_command("CACHE.SERVICE", "SET", name, *fields)

    def stats(self, name, field):
        return self.r.execute_command("CACHE.STATS", name)[field]

    def meta(self, key, field):
        return (self.r.execute_command("SWR.META", key) or {}).get(field)

    def peek(self, key):
        return tuple(self.r.execute_command("SWR.PEEK", key)[:2])


# ---- 1: an API with leases ----


class LeaseCheck(Check):
    """Five processes of the API, each with its connections, over one database."""

    def __init__(self):
        super().__init__()
        self.rows, self.gate, self.is_broken = {}, Gate(), False
        self.fleet = [Users(connect(client_name=f"api-{n}"), self.load) for n in range(5)]

    def end(self):
        for users in self.fleet:
            users.refreshers.shutdown()
            users.r.close()

    def load(self, uid):
        # What is read is as old as the begin of the load, however long the rest takes.
        row = self.rows.get(uid)
        self.gate.enter(uid)
        if self.is_broken:
            raise ConnectionError("the database is gone")
        return row

    def name(self, uid, name, team="red"):
        self.rows[uid] = {"name": name, "team": team}

    def read(self, count, uid):
        """Futures of the names that so many threads of the fleet are given."""
        return at_once(count, lambda n: self.fleet[n % 5].get_user(uid)["name"])

    def read_one(self, uid):
        return self.read(1, uid)[0].result(DEADLINE)

    def stored(self, uid):
        state, value = self.peek(f"user:{uid}")
        return state, value and json.loads(value)["name"]

    def cold(self):
        self.name(7, "Ann")
        let_go = self.gate.hold()
        readers = self.read(50, 7)
        until(lambda: self.meta("user:7", "waiters"), 49)
        same(self.gate.passed, [7])
        let_go.set()
        same(results(readers), ["Ann"] * 50)
        same(results(self.read(50, 7)), ["Ann"] * 50)
        same(self.gate.passed, [7])
        same((self.stats("user", "tokens"), self.stats("user", "hit"), self.stats("user", "fill-ok")), (1, 50, 1))

    def stale(self):
        self.name(7, "Ann")
        self.service("user", "FRESH", 1)
        same(self.read_one(7), "Ann")
        until(lambda: self.stored(7), ("STALE", "Ann"))
        self.service("user", "FRESH", 60_000)
        self.name(7, "Anne")
        let_go = self.gate.hold()
        # Everybody has an answer while the load is held.
        same(results(self.read(50, 7)), ["Ann"] * 50)
        until(lambda: self.gate.passed, [7, 7])
        same(results(self.read(50, 7)), ["Ann"] * 50)
        let_go.set()
        until(lambda: self.stored(7), ("HIT", "Anne"))
        same(results(self.read(50, 7)), ["Anne"] * 50)
        same((len(self.gate.passed), self.stats("user", "tokens")), (2, 2))

    def revoked(self):
        # Cold: that the tag is its own is known only when the old load answers.
        self.name(7, "old")
        let_go = self.gate.hold()
        first = self.read(1, 7)
        until(lambda: self.gate.passed, [7])
        self.name(7, "new")
        self.gate.flow()
        self.fleet[3].revoke("team-red")
        later = self.read(20, 7)
        until(lambda: self.meta("user:7", "waiters"), 20)
        let_go.set()
        # Who asked before the revoke may have what was true then; who asks after it never sees that.
        same(results(first), ["old"])
        same(results(later), ["new"] * 20)
        same((self.stored(7), len(self.gate.passed), self.stats("user", "fill-revoked")), (("HIT", "new"), 2, 1))
        # Stale: the tags of the copy tell at once that the load has become useless. Nobody waits for it.
        self.fleet[0].revoke("user-7", "SOFT")
        self.name(7, "newer")
        let_go = self.gate.hold()
        same(self.read_one(7), "new")
        until(lambda: len(self.gate.passed), 3)
        self.name(7, "newest")
        self.gate.flow()
        self.fleet[1].revoke("team-red")
        same(self.peek("user:7"), ("MISS", None))
        same(results(self.read(20, 7)), ["newest"] * 20)
        let_go.set()
        until(lambda: self.stats("user", "fill-revoked"), 2)
        same(results(self.read(20, 7)), ["newest"] * 20)
        same((self.stored(7), len(self.gate.passed)), (("HIT", "newest"), 4))

    def softly_revoked(self):
        for uid, team in ((1, "red"), (2, "red"), (3, "blue")):
            self.name(uid, "old", team)
            same(self.read_one(uid), "old")
            self.name(uid, "new", team)
        let_go = self.gate.hold()
        self.fleet[0].revoke("team-red", "SOFT")
        same([self.stored(uid)[0] for uid in (1, 2, 3)], ["STALE", "STALE", "HIT"])
        for uid in (1, 2, 3):
            same(results(self.read(50, uid)), ["old"] * 50)
        until(lambda: sorted(self.gate.passed[3:]), [1, 2])
        let_go.set()
        for uid in (1, 2):
            until(lambda: self.stored(uid), ("HIT", "new"))
        same([self.read_one(uid) for uid in (1, 2, 3)], ["new", "new", "old"])
        same(len(self.gate.passed), 5)

    def failing(self):
        self.service("user", "BACKOFF", 60_000, "BACKOFFMAX", 60_000)
        users = self.fleet[0]
        self.name(1, "Ann")
        same(self.read_one(1), "Ann")
        self.is_broken = True
        # Stale: served on, and tried once. Cold: whoever loads has the reason, and nobody tries before the backoff has passed.
        users.revoke("user-1", "SOFT")
        same(results(self.read(20, 1)), ["Ann"] * 20)
        until(lambda: self.stats("user", "failed"), 1)
        same(results(self.read(20, 1)), ["Ann"] * 20)
        raises(ConnectionError, "the database is gone", users.get_user, 2)
        raises(TimeoutError, "user 2 cannot be loaded now", users.get_user, 2)
        same(self.gate.passed, [1, 1, 2])
        # Nobody: known as such.
        self.is_broken = False
        same([self.fleet[n].get_user(3) for n in range(5)], [None] * 5)
        same((self.gate.passed[3:], self.stored(3)[0]), ([3], "NEG"))
        self.name(3, "Cem")
        self.r.execute_command("CACHE.REVOKE", "KEY", "user:3")
        same(self.read_one(3), "Cem")
        # DEL ends the backoff.
        same((self.r.delete("user:1"), self.read_one(1)), (1, "Ann"))

    def connection_lost(self):
        """The connection of the lease is closed while its holder loads: that ends a bound lease, not the example's."""
        self.name(7, "Ann")
        for loads in (1, 2):
            if loads == 2:
                self.service("user", "LEASEBIND", "conn")
            self.r.delete("user:7")
            self.gate.passed.clear()
            let_go = self.gate.hold()
            first = at_once(1, lambda _: self.fleet[0].get_user(7))
            until(lambda: self.gate.passed, [7])
            other = at_once(1, lambda _: self.fleet[1].get_user(7))
            until(lambda: self.meta("user:7", "waiters"), 1)
            self.fleet[0].r.connection_pool.disconnect()
            until(lambda: [one for one in self.r.client_list() if one["name"] == "api-0"], [])
            until(lambda: self.meta("user:7", "waiters"), 2 - loads)
            until(lambda: len(self.gate.passed), loads)
            let_go.set()
            same(results(first + other), [self.rows[7]] * 2)
            same((len(self.gate.passed), self.stored(7)), (loads, ("HIT", "Ann")))


# ---- 2: pages that the server loads ----


class Origin:
    """The shop's own server. It can be shut down and started again; what it was asked is noted."""

    def __init__(self):
        assert ORIGIN_PORT, "no port for an origin: give --origin-port"
        self.products, self.caching, self.gate, self.answered = {}, ProductPages.caching, Gate(), []
        self.up()

    def up(self):
        origin = self

        class Noted(ProductPages):
            caching = property(lambda self: origin.caching)

            def send_response(self, code, message=None):
                # What it is about to send was looked up before the gate.
                origin.gate.enter((self.path, self.headers["If-None-Match"]))
                origin.answered.append(code)
                super().send_response(code, message)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", ORIGIN_PORT), Noted)
        self.server.products = self.products
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def down(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, id, page, category="tea"):
        self.products[id] = {"id": id, "page": page, "category": category}

    def asked(self):
        """The last part of the paths, and the ETags that came along."""
        return [(path.rpartition("/")[2], etag) for path, etag in self.gate.passed]


class OriginCheck(Check):
    def __init__(self):
        super().__init__()
        self.origin = Origin()
        define_pages(self.r, f"127.0.0.1:{ORIGIN_PORT}")
        self.clients = [connect() for _ in range(50)]
        for client in self.clients:
            client.ping()

    def end(self):
        self.origin.down()

    def read(self, product):
        return at_once(len(self.clients), lambda n: self.clients[n].get(f"page:{product}"))

    def cold(self):
        self.origin.put("7", "Assam")
        let_go = self.origin.gate.hold()
        readers = self.read("7")
        until(lambda: self.meta("page:7", "waiters"), 50)
        let_go.set()
        same(results(readers), ["Assam"] * 50)
        same(results(self.read("7")), ["Assam"] * 50)
        same(self.origin.asked(), [("7", None)])
        same(600 < self.r.ttl("page:7") <= 660, True)
        # What is not there is asked for once, too.
        same((self.r.get("page:none"), product_page(self.r, "none"), self.r.get("page:none")), (None, None, None))
        same((self.peek("page:none"), self.origin.answered), (("NEG", None), [200, 404]))
        # Too late for the reader, not for the cache.
        self.origin.put("8", "Darjeeling")
        self.service("page", "COLD", "wait 10")
        let_go = self.origin.gate.hold()
        same(self.r.get("page:8"), None)
        let_go.set()
        until(lambda: self.peek("page:8"), ("HIT", "Darjeeling"))

    def confirmed(self):
        self.origin.put("7", "Assam")
        self.origin.caching = "max-age=0, stale-while-revalidate=600"
        same(self.r.get("page:7"), "Assam")
        same(self.peek("page:7"), ("STALE", "Assam"))
        self.origin.caching = ProductPages.caching
        etag = self.meta("page:7", "etag")
        let_go = self.origin.gate.hold()
        same(results(self.read("7")), ["Assam"] * 50)
        until(self.origin.asked, [("7", None), ("7", etag)])
        same(results(self.read("7")), ["Assam"] * 50)
        let_go.set()
        until(lambda: self.peek("page:7"), ("HIT", "Assam"))
        same(results(self.read("7")), ["Assam"] * 50)
        same((self.origin.answered, etag[0]), ([200, 304], '"'))
        # One that has changed since is sent anew.
        self.origin.put("7", "Assam, now first flush")
        self.r.execute_command("CACHE.REVOKE", "TAG", "product-7", "SOFT")
        same(self.r.get("page:7"), "Assam")
        until(lambda: self.peek("page:7"), ("HIT", "Assam, now first flush"))
        same((self.origin.answered, self.origin.asked()[2]), ([200, 304, 200], ("7", etag)))

    def revoked(self):
        for id, category in (("7", "tea"), ("8", "tea"), ("9", "coffee")):
            self.origin.put(id, "old", category)
            same(self.r.get(f"page:{id}"), "old")
            self.origin.put(id, "new", category)
        self.r.execute_command("CACHE.REVOKE", "TAG", "category-tea")
        same(self.r.exists("page:7", "page:8", "page:9"), 1)
        same([product_page(self.r, id) for id in "789"], ["new", "new", "old"])
        # They must not ask with the ETag of what was revoked.
        same(self.origin.asked()[3:], [("7", None), ("8", None)])
        # What was asked for before the revoke is not shown to those who come after it.
        same(self.r.delete("page:9"), 1)
        let_go = self.origin.gate.hold()
        first = at_once(1, lambda _: self.r.get("page:9"))
        until(lambda: len(self.origin.asked()), 6)
        self.origin.put("9", "newest", "coffee")
        self.origin.gate.flow()
        self.r.execute_command("CACHE.REVOKE", "TAG", "category-coffee")
        later = self.read("9")
        until(lambda: self.meta("page:9", "waiters"), 51)
        let_go.set()
        same((results(first), results(later)), (["new"], ["newest"] * 50))
        same((self.stats("page", "fill-revoked"), len(self.origin.asked())), (1, 7))

    def down(self):
        self.service("page", "BACKOFF", 100, "BACKOFFMAX", 200)
        self.origin.put("7", "Assam")
        self.origin.put("8", "Darjeeling")
        self.origin.caching = "max-age=0, stale-while-revalidate=600"
        same(self.r.get("page:8"), "Darjeeling")
        self.origin.caching = "max-age=0, stale-while-revalidate=0, stale-if-error=86400"
        same(self.r.get("page:7"), "Assam")
        self.origin.down()
        # Within stale-while-revalidate nobody notices. Past it GET has nothing; who asks for the copy is given it, with ERR.
        same(self.r.get("page:8"), "Darjeeling")
        same(self.r.get("page:7"), None)
        same(product_page(self.r, "7"), "Assam")
        same(self.r.execute_command("SWR.GET", "page:7", "WAIT", 2_000)[:3], ["ERR", "Assam", None])
        same(self.r.execute_command("SWR.GET", "page:7", "WAIT", 2_000, "NOSIE")[:3], ["ERR", None, None])
        same(product_page(self.r, "9"), None)
        self.origin.put("7", "Assam, again")
        self.origin.up()
        until(lambda: product_page(self.r, "7"), "Assam, again")


# ---- 3: memoised transforms ----


class MemoCheck(Check):
    """Two workers on the service, and what they computed."""

    def __init__(self):
        super().__init__()
        define_reports(self.r)
        self.computed, self.gate, self.stop, self.workers = [], Gate(), threading.Event(), []

    def start_workers(self):
        for _ in range(2):
            client = connect(single_connection_client=True)
            number = client.client_id()
            thread = threading.Thread(target=work, args=(client, self.compute, self.stop), daemon=True)
            thread.start()
            self.workers.append((thread, number))

    def end(self):
        self.stop.set()
        for thread, number in self.workers:
            while thread.is_alive():
                self.r.client_unblock(number)
                thread.join(0.01)
        self.workers.clear()
        self.stop.clear()

    def key(self, canonical):
        return "report:" + hashlib.sha256(canonical.encode()).hexdigest()

    def compute(self, payload):
        self.gate.enter(payload)
        if "fail" in payload:
            raise ValueError("no such report")
        return f"sum {sum(payload.get('numbers', []))}"

    def spellings(self):
        self.start_workers()
        same_payloads = ('{"numbers": [1, 20], "name": "n\\u00e9"}', '{"name":"n\u00e9","numbers":[1.0,2e1]}',
                         '\n{ "numbers" : [ 1 , 20 ], "name" : "n\\u00E9" } ')
        answers = [report(self.r, payload) for payload in same_payloads]
        canonical = '{"name":"n\u00e9","numbers":[1,20]}'
        id = self.key(canonical).removeprefix("report:")
        same(answers, [(id, "sum 21")] * 3)
        same(self.gate.passed, [{"name": "n\u00e9", "numbers": [1, 20]}])
        # Another payload is another call. Both are keys like any other.
        other, value = report(self.r, '{"numbers": [20, 1], "name": "n\\u00e9"}')
        same((other != id, value, len(self.gate.passed)), (True, "sum 21", 2))
        same((self.r.get(f"report:{id}"), self.r.exists(f"report:{id}", f"report:{other}")), ("sum 21", 2))
        same(86_000 < self.r.ttl(f"report:{id}") <= 86_400, True)
        for payload in ('{"numbers": [1], "numbers": [2]}', '{"numbers": [9007199254740993]}', "numbers"):
            raises(redis.ResponseError, "payload is not canonical JSON", report, self.r, payload)

    def waiting(self):
        self.start_workers()
        let_go = self.gate.hold()
        payloads = ('{"numbers": [3]}', '{ "numbers": [3.0] }')
        callers = at_once(20, lambda n: report(connect(), payloads[n % 2]))
        until(lambda: self.meta(self.key('{"numbers":[3]}'), "waiters"), 20)
        let_go.set()
        same({value for _, value in results(callers)}, {"sum 3"})
        same(self.gate.passed, [{"numbers": [3]}])

    def worker_lost(self):
        """A worker takes a job and its connection ends, with a lease that would last for long; or it just never answers."""
        for number, lease_ms in ((4, 60_000), (5, 50)):
            self.service("report", "LEASE", lease_ms)
            payload = f'{{"numbers":[{number}]}}'
            callers = at_once(2, lambda _: report(connect(), payload))
            lost = connect(single_connection_client=True)
            job, = lost.execute_command("SWR.NEXT", "report", "BLOCK", 10_000)
            same((job[2:5], job[6]), (["miss", None, None], payload))
            self.service("report", "LEASE", 60_000)
            self.start_workers()
            if lease_ms == 60_000:
                until(lambda: self.meta(job[0], "waiters"), 2)
                same(self.gate.passed, [])
                lost.connection_pool.disconnect()
            same({value for _, value in results(callers)}, {f"sum {number}"})
            same(self.gate.passed.pop(), {"numbers": [number]})
            # Its answer would come too late.
            same(self.r.execute_command("SWR.FILL", job[0], job[1], "VALUE", "late"), "NOLEASE")
            same((self.r.get(job[0]), self.gate.passed), (f"sum {number}", []))
            self.end()

    def renewed(self):
        """Of two jobs that are taken and not answered the one that is not renewed goes to another worker."""
        self.service("report", "LEASE", 500)
        slow = connect(single_connection_client=True)

        def take(payload):
            caller = at_once(1, lambda _: report(connect(), payload))
            (key, token, *_), = slow.execute_command("SWR.NEXT", "report", "BLOCK", 10_000)
            return caller, key, token

        kept, key, token = take('{"numbers":[6]}')
        same(slow.execute_command("SWR.RENEW", key, token, 60_000), 1)
        lost, _, _ = take('{"numbers":[7]}')
        self.start_workers()
        same(results(lost)[0][1], "sum 7")
        same(self.gate.passed, [{"numbers": [7]}])
        same(slow.execute_command("SWR.FILL", key, token, "VALUE", "sum of six"), "OK")
        same((results(kept)[0][1], self.gate.passed), ("sum of six", [{"numbers": [7]}]))

    def failing(self):
        self.service("report", "BACKOFF", 60_000, "BACKOFFMAX", 60_000)
        self.start_workers()
        for _ in range(2):
            raises(TimeoutError, ": ERR", report, self.r, '{"fail": true}')
        same(self.gate.passed, [{"fail": True}])

    def asked_by_key(self):
        """GET cannot begin a load without a payload. The call that brings it is computed."""
        key = self.key("{}")
        same(self.r.get(key), None)
        caller = at_once(1, lambda _: report(self.r, "{}"))
        until(lambda: self.meta(key, "waiters"), 1)
        self.start_workers()
        same(results(caller), [(key.removeprefix("report:"), "sum 0")])
        same((self.gate.passed, self.stats("report", "released"), self.r.get(key)), ([{}], 0, "sum 0"))


# ---- 4: services and actions ----


class ServiceCheck(Check):
    def __init__(self):
        super().__init__()
        define_services(self.r)
        self.user, self.get_user = ServiceCache(self.r, "user"), ServiceCache(self.r, "user.get_user")
        self.r.set("other", "kept")
        self.user.set("list", "Ann, Bob")
        for id, name in (("1", "Ann"), ("12", "Bob"), ("2", "Cem")):
            self.get_user.set(id, name)

    def states(self):
        """The states of all keys, in the order they were set."""
        return [self.peek(key)[0] for key in ("other", "user:list", "user:get_user:1", "user:get_user:12", "user:get_user:2")]

    def windows(self):
        def told(key):
            fields = self.r.execute_command("CACHE.SERVICE", "RESOLVE", key)
            return [fields[name] for name in ("name", "fresh", "stale", "retain")]

        def lasts(key):
            return [self.meta(key, end) - self.meta(key, "stored-at") for end in ("fresh-until", "stale-until", "retain-until")]

        same(told("user:get_user:1"), ["user.get_user", "10000", "30000", "3600000"])
        same(told("user:list"), ["user", "10000", "600000", "3600000"])
        same(told("other"), ["*", "60000", "600000", "3600000"])
        same(lasts("user:get_user:1"), [10_000, 30_000, 3_600_000])
        same(lasts("user:list"), [10_000, 600_000, 3_600_000])
        # Without DEFAULTS a plain SET is what it always was; SWR.SET takes the windows anyway. EX stays the time to live.
        same((self.r.ttl("other"), self.meta("other", "stored-at")), (-1, -1))
        self.r.execute_command("SWR.SET", "another", "v")
        same(lasts("another"), [60_000, 600_000, 3_600_000])
        self.r.set("user:get_user:1", "Ann", ex=5)
        same((4 <= self.r.ttl("user:get_user:1") <= 5, self.r.get("user:get_user:1")), (True, "Ann"))
        # A change of one level is inherited at once, unless a level below it could not live with it.
        self.service("*", "RETAIN", 7_200_000)
        same([told(key)[3] for key in ("user:get_user:1", "user:list", "other")], ["7200000"] * 3)
        raises(redis.ResponseError, "windows out of order", self.service, "user", "FRESH", "inherit")

    def delete(self):
        same(self.get_user.delete("1", "2", "3"), 2)
        same(self.states(), ["HIT", "HIT", "MISS", "HIT", "MISS"])
        same((self.r.get("user:get_user:1"), self.r.get("user:get_user:12")), (None, "Bob"))

    def clear(self):
        self.get_user.clear()
        same(self.states(), ["HIT", "HIT", "MISS", "MISS", "MISS"])
        self.get_user.set("1", "Ann")
        same(self.get_user.get("1"), ["HIT", "Ann"])
        # A service covers its actions.
        self.user.clear()
        same(self.states(), ["HIT", "MISS", "MISS", "MISS", "MISS"])
        same(self.r.keys(), ["other"])
        raises(redis.ResponseError, "no such service", ServiceCache(self.r, "nobody").clear)

    def clear_softly(self):
        self.get_user.clear("SOFT")
        same(self.states(), ["HIT", "HIT", "STALE", "STALE", "STALE"])
        same((self.get_user.get("2"), self.r.get("user:get_user:2")), (["STALE", "Cem"], "Cem"))
        # Stale from now on for as long as it would have been: 30 s - 10 s.
        same(15 < self.r.ttl("user:get_user:2") <= 20, True)
        self.get_user.set("2", "Cemre")
        same(self.states(), ["HIT", "HIT", "STALE", "STALE", "HIT"])

    def revoke(self):
        self.get_user.revoke_matching("1?", "SOFT")
        same(self.states(), ["HIT", "HIT", "HIT", "STALE", "HIT"])
        self.get_user.revoke_matching("?")
        same(self.states(), ["HIT", "HIT", "MISS", "STALE", "MISS"])
        self.get_user.revoke("1")
        same(self.states(), ["HIT", "HIT", "MISS", "MISS", "MISS"])
        self.user.revoke("", "SOFT")
        same(self.states(), ["HIT", "STALE", "MISS", "MISS", "MISS"])
        for id in ("*", "3"):
            self.get_user.set(id, "Dora")
        self.get_user.revoke_matching(r"\*")
        same(self.r.keys("user:get_user:*"), ["user:get_user:3"])

    def stats(self):
        same([self.get_user.get(id) for id in ("1", "2", "3")], [["HIT", "Ann"], ["HIT", "Cem"], ["MISS", None]])
        self.get_user.clear("SOFT")
        same(self.get_user.get("1"), ["STALE", "Ann"])
        # Counted by action; a plain GET has no state to count.
        same(self.r.get("user:get_user:1"), "Ann")
        counts = self.get_user.stats()
        same([counts[name] for name in ("hit", "stale", "miss", "tokens", "loads-running")], [2, 1, 1, 0, 0])
        same(self.user.stats()["hit"], 0)
        same(self.user.get("list"), ["HIT", "Ann, Bob"])
        self.r.execute_command("CACHE.STATS", "user.get_user", "RESET")
        same(self.get_user.stats()["hit"], 0)


def documented():
    """The examples stand in the document as they stand here."""
    here = pathlib.Path(__file__)
    parts = re.findall(r"^# Example \d\.[^\n]*\n(.*?)^# End of example", here.read_text(), re.MULTILINE | re.DOTALL)
    document = (here.parents[3] / "docs/examples.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    same(len(parts), 4)
    same([block.strip() for block in blocks], [part.strip() for part in parts])


CHECKS = {
    "lease": (LeaseCheck, {
        "cold key": LeaseCheck.cold, "stale key": LeaseCheck.stale, "revoke during a load": LeaseCheck.revoked,
        "soft revoke": LeaseCheck.softly_revoked, "failing loads": LeaseCheck.failing,
        "connection lost": LeaseCheck.connection_lost,
    }),
    "origin": (OriginCheck, {
        "cold page": OriginCheck.cold, "confirmed page": OriginCheck.confirmed, "revoke by surrogate key": OriginCheck.revoked,
        "origin down": OriginCheck.down,
    }),
    "memo": (MemoCheck, {
        "spellings": MemoCheck.spellings, "second caller": MemoCheck.waiting, "worker lost": MemoCheck.worker_lost,
        "lease renewed": MemoCheck.renewed, "failing work": MemoCheck.failing, "asked by key": MemoCheck.asked_by_key,
    }),
    "service": (ServiceCheck, {
        "windows": ServiceCheck.windows, "delete": ServiceCheck.delete, "clear": ServiceCheck.clear,
        "soft clear": ServiceCheck.clear_softly, "revoke": ServiceCheck.revoke, "stats": ServiceCheck.stats,
    }),
}


def on_new(kind, function):
    check = kind()
    try:
        function(check)
    finally:
        check.end()


def main():
    told = Report("examples", redis.__version__)
    for example, (kind, checks) in CHECKS.items():
        for name, function in checks.items():
            told.run(f"{example}: {name}", on_new, kind, function)
    told.run("documented", documented)
    told.print()


main()
