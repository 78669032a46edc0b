"""Django's cache interface over django-redis, and Django's own Redis backend."""

import time

import django
from django.conf import settings

from report import HOST, PASSWORD, PORT, Report, between, password_address, raises, same


def configure():
    open_ = f"redis://{HOST}:{PORT}/1"
    backend, own = "django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache"
    settings.configure(CACHES={
        "default": {"BACKEND": backend, "LOCATION": open_, "KEY_PREFIX": "pond"},
        "short": {"BACKEND": backend, "LOCATION": open_, "KEY_PREFIX": "short", "TIMEOUT": 50},
        "zlib": {"BACKEND": backend, "LOCATION": f"redis://{HOST}:{PORT}/2",
                 "OPTIONS": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
                             "SERIALIZER": "django_redis.serializers.json.JSONSerializer"}},
        "builtin": {"BACKEND": own, "LOCATION": f"redis://{HOST}:{PORT}/3"},
        "locked": {"BACKEND": backend, "LOCATION": "redis://%s:%d/0" % password_address(), "OPTIONS": {"PASSWORD": PASSWORD}},
        # One pool per URL: the wrong password needs an URL of its own.
        "guess": {"BACKEND": backend, "LOCATION": "redis://:guess@%s:%d/0" % password_address()},
    })
    django.setup()


def set_many(caches):
    cache = caches["default"]
    cache.set_many({f"k{i}": {"n": i} for i in range(200)}, timeout=60)
    same(cache.get_many([f"k{i}" for i in range(201)]), {f"k{i}": {"n": i} for i in range(200)})
    between(50, cache.ttl("k7"), 60)
    cache.delete_many(["k0", "k1"])
    same((cache.get("k0"), cache.get("k2"), "k1" in cache), (None, {"n": 2}, False))


def incr(caches):
    cache = caches["default"]
    cache.set("n", 1, timeout=100)
    same((cache.incr("n"), cache.incr("n", 9), cache.decr("n", 1)), (2, 11, 10))
    between(90, cache.ttl("n"), 100)
    # django-redis increments by script; where there is no EVAL, by GET and SET, which stumble over a missing key.
    has_scripts = b"eval" in cache.client.get_client().command_list()
    raises(ValueError if has_scripts else TypeError, "", cache.incr, "none")


def touch(caches):
    cache = caches["default"]
    cache.set("t", "v", timeout=10)
    same(cache.touch("t", 100), True)
    between(90, cache.ttl("t"), 100)
    same(cache.touch("none", 100), False)
    same(cache.touch("t", None), True)
    same(cache.ttl("t"), None)
    same(cache.expire("t", 30), True)
    same(cache.pexpire("t", 30_000), True)
    between(29_000, cache.pttl("t"), 30_000)
    same(cache.persist("t"), True)


def delete_pattern(caches):
    cache = caches["default"]
    cache.set_many({f"page:{i}": i for i in range(3000)} | {"kept": 1})
    same(len(cache.keys("page:*")), 3000)
    same(len(set(cache.iter_keys("page:*"))), 3000)
    same(cache.delete_pattern("page:*", itersize=100), 3000)
    same((cache.keys("*"), cache.get("kept")), (["kept"], 1))


def get_or_set(caches):
    cache, calls = caches["default"], []
    for _ in range(3):
        same(cache.get_or_set("g", lambda: calls.append(1) or "made", 60), "made")
    same(calls, [1])


def timeout_zero(caches):
    cache = caches["default"]
    cache.set("z", "v")
    cache.set("z", "gone", timeout=0)
    same((cache.get("z"), cache.ttl("z")), (None, 0))
    same(cache.add("z", "first", timeout=60), True)
    same(cache.add("z", "second", timeout=60), False)
    same(cache.get("z"), "first")


def timeout_none(caches):
    cache = caches["default"]
    cache.set("eternal", "v", timeout=None)
    same((cache.get("eternal"), cache.ttl("eternal")), ("v", None))
    caches["short"].set("default", "v")
    between(45, caches["short"].ttl("default"), 50)


def clear(caches):
    cache, other = caches["default"], caches["zlib"]
    cache.set_many({f"k{i}": i for i in range(100)})
    other.set("elsewhere", [1, 2])
    cache.clear()
    same((cache.get("k1"), cache.keys("*"), other.get("elsewhere")), (None, [], [1, 2]))


def values(caches):
    for name in ("default", "zlib", "builtin"):
        for value in (0, -5, "Weiher", None, 1.5, [1, {"a": []}], "x" * 500_000):
            caches[name].set("v", value, 30)
            same(caches[name].get("v", "missing"), value)
        caches[name].set("versioned", "two", version=2)
        same((caches[name].get("versioned"), caches[name].get("versioned", version=2)), (None, "two"))


def builtin(caches):
    cache = caches["builtin"]
    cache.set_many({"a": 1, "b": "two"}, 60)
    same(cache.get_many(["a", "b", "c"]), {"a": 1, "b": "two"})
    same((cache.incr("a", 4), cache.has_key("b"), cache.touch("b", 5), cache.delete("b")), (5, True, True, True))
    same(cache.add("a", 9), False)
    cache.set("a", "gone", 0)
    same(cache.get("a"), None)
    cache.clear()
    same(cache.get_or_set("a", "made"), "made")


def password(caches):
    caches["locked"].set("k", "v")
    same(caches["locked"].get("k"), "v")
    raises(Exception, "", caches["guess"].get, "k")


def expiry(caches):
    cache = caches["default"]
    cache.set("soon", "v", timeout=0.05)
    deadline = time.monotonic() + 5
    while cache.get("soon") is not None:
        assert time.monotonic() < deadline, "a key with 50 ms to live is there after 5 s"


def main():
    import django_redis
    configure()
    from django.core.cache import caches
    report = Report("django-redis", ".".join(map(str, django_redis.VERSION[:3])) + f" (Django {django.__version__})")
    for name, check in {
        "set_many": set_many, "incr": incr, "touch": touch, "delete_pattern": delete_pattern, "get_or_set": get_or_set,
        "timeout 0": timeout_zero, "timeout None": timeout_none, "clear": clear, "values": values, "builtin backend": builtin,
        "password": password, "expiry": expiry,
    }.items():
        caches["default"].clear()
        report.run(name, check, caches)
    report.print()


main()
