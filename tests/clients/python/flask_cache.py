"""Flask-Caching with its Redis backend: views, memoize, and the clear that is KEYS and one DEL."""

from importlib.metadata import version

from flask import Flask
from flask_caching import Cache

from report import HOST, PASSWORD, PORT, Report, password_address, raises, same


def app_and_cache(**options):
    app = Flask("pond")
    cache = Cache(config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": HOST, "CACHE_REDIS_PORT": PORT,
                          "CACHE_KEY_PREFIX": "flask:", "CACHE_DEFAULT_TIMEOUT": 60, **options})
    cache.init_app(app)
    return app, cache


def set_get(app, cache):
    for value in (1, "text", b"\x00\xff", [1, {"a": None}], "x" * 300_000):
        same(cache.set("k", value), True)
        same(cache.get("k"), value)
    same((cache.has("k"), cache.has("none"), cache.get("none")), (True, False, None))
    same(cache.add("k", "second"), False)
    same(cache.set("forever", 1, timeout=0), True)
    same(cache.get("forever"), 1)


def delete(app, cache):
    same(cache.set_many({"a": 1, "b": 2, "c": 3}), ["a", "b", "c"])
    same(cache.get_many("a", "b", "none"), [1, 2, None])
    same(cache.delete("a"), True)
    same(sorted(cache.delete_many("b", "c")), ["b", "c"])
    same(cache.get_dict("a", "b"), {"a": None, "b": None})


def clear(app, cache):
    elsewhere, other = app_and_cache(CACHE_KEY_PREFIX="other:")
    with elsewhere.app_context():
        other.set("kept", "v")
    cache.set_many({f"k{i}": i for i in range(2000)})
    same(bool(cache.clear()), True)
    same(cache.get("k5"), None)
    with elsewhere.app_context():
        same(other.get("kept"), "v")


def cached_view(app, cache):
    calls = []

    @app.route("/view")
    @cache.cached(timeout=50)
    def view():
        calls.append(1)
        return "served"

    for _ in range(5):
        same(app.test_client().get("/view").data, b"served")
    same(len(calls), 1)


def memoize(app, cache):
    calls = []

    @cache.memoize(50)
    def square(n):
        calls.append(n)
        return n * n

    same([square(3), square(3), square(4)], [9, 9, 16])
    cache.delete_memoized(square, 3)
    same(square(3), 9)
    same(calls, [3, 4, 3])


def increment(app, cache):
    backend = cache.cache
    same((backend.inc("n"), backend.inc("n", 4), backend.dec("n", 2)), (1, 5, 3))


def password(app, cache):
    host, port = password_address()
    place = {"CACHE_REDIS_HOST": host, "CACHE_REDIS_PORT": port}
    inside, locked = app_and_cache(**place, CACHE_REDIS_PASSWORD=PASSWORD, CACHE_REDIS_DB=3)
    with inside.app_context():
        same(locked.set("k", "v"), True)
        same(locked.get("k"), "v")
    outside, guess = app_and_cache(**place, CACHE_REDIS_PASSWORD="guess", CACHE_OPTIONS={"retry": None})
    with outside.app_context():
        raises(Exception, "", guess.get, "k")


def main():
    report = Report("flask-caching", version("Flask-Caching"))
    for name, check in {"set and get": set_get, "delete": delete, "clear": clear, "cached view": cached_view,
                        "memoize": memoize, "increment": increment, "password": password}.items():
        app, cache = app_and_cache()
        with app.app_context():
            cache.clear()
            report.run(name, check, app, cache)
    report.print()


main()
