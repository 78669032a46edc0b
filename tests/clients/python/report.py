"""What every Python program here shares: the addresses to test, and the report it prints last."""

import json
import os
import traceback

HOST = os.environ["MILLPOND_HOST"]
PORT = int(os.environ["MILLPOND_PORT"])
PASSWORD = os.environ["MILLPOND_PASSWORD"]
# Where the server may load from, on 127.0.0.1; 0 = nowhere.
ORIGIN_PORT = int(os.environ.get("MILLPOND_ORIGIN_PORT") or 0)


def password_address():
    """Host and port of the server with a password; fails the check that asks when there is none."""
    assert os.environ["MILLPOND_PASSWORD_PORT"], "no server with a password: give --password-address"
    return os.environ["MILLPOND_PASSWORD_HOST"], int(os.environ["MILLPOND_PASSWORD_PORT"])


class Report:
    """Collects one verdict per check; a failing check never stops the next one."""

    def __init__(self, client, version):
        self.client, self.version, self.checks = client, version, {}

    def run(self, name, function, *arguments):
        assert name not in self.checks, f"two checks are called {name}"
        try:
            function(*arguments)
            self.checks[name] = "ok"
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/clients/" in frame.filename]
            where = next((frame for frame in reversed(frames) if frame.filename != __file__), frames[-1])
            self.checks[name] = f"{where.name}:{where.lineno}: {type(error).__name__}: {str(error)[:300]}"

    def print(self):
        print(json.dumps({"client": self.client, "version": self.version, "checks": self.checks}), flush=True)


def same(actual, wanted):
    """Fails with both values when they differ."""
    if actual != wanted:
        raise AssertionError(f"got {str(actual)[:200]!r}, wanted {str(wanted)[:200]!r}")


def between(low, actual, high):
    """Fails unless low <= actual <= high."""
    if not low <= actual <= high:
        raise AssertionError(f"got {actual}, wanted {low} to {high}")


def raises(kind, text, function, *arguments, **options):
    """Fails unless the call raises `kind` with `text` in its message; returns the exception."""
    try:
        value = function(*arguments, **options)
    except kind as error:
        if text not in str(error):
            raise AssertionError(f"got {type(error).__name__} {str(error)[:200]!r}, wanted the text {text!r}") from error
        return error
    raise AssertionError(f"got {value!r}, wanted {kind.__name__} with {text!r}")
