"""redis-benchmark: every test of the families served, without a warning, an error or a missing result."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))
from report import HOST, PASSWORD, PORT, Report, password_address, same  # noqa: E402

TESTS = "ping_inline,ping_mbulk,set,get,incr,mset"
TITLES = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]
# Requests per test: enough that every connection works, few enough for a small machine.
REQUESTS = "20000"


def bench(*arguments, at=(HOST, PORT), tests=TESTS, titles=TITLES, requests=REQUESTS):
    """Runs quietly and fails unless each title has one positive rate."""
    done = subprocess.run(["redis-benchmark", "-h", at[0], "-p", str(at[1]), "-t", tests, "-n", requests, "-q", *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    # The tool warns about its own option -k 0; that is no word of the server.
    everything = re.sub("WARNING: Keepalive disabled.*", "", done.stdout + done.stderr)
    same(done.returncode, 0)
    for word in ("WARN", "rror", "NOAUTH", "refused"):
        if word in everything:
            raise AssertionError(f"{word} in {everything[-500:]!r}")
    rates = re.findall(r"(?:^|[\r\n])([^:\r\n]+): ([\d.]+) requests per second", everything)
    same(sorted(title.strip() for title, _ in rates), sorted(titles))
    same([title for title, rate in rates if float(rate) <= 0], [])
    return done.stdout


def default():
    bench()


def keys_written():
    bench("-r", "10000", "-d", "1024", tests="set,get", titles=["SET", "GET"])
    size, length = (subprocess.run(["redis-cli", "-h", HOST, "-p", str(PORT), *words], capture_output=True, text=True, timeout=30).stdout.strip()
                    for words in (["dbsize"], ["strlen", "key:000000000001"]))
    # 20,000 random draws from 10,000 keys leave about 13.5 % of them out.
    same(8000 <= int(size) <= 10_000, True)
    same(length in ("0", "1024"), True)


def many_clients():
    bench("-c", "2000", tests="ping_mbulk,set,get", titles=["PING_MBULK", "SET", "GET"])


def password():
    at = password_address()
    bench("-a", PASSWORD, at=at, tests="set,get", titles=["SET", "GET"])
    refused = subprocess.run(["redis-benchmark", "-h", at[0], "-p", str(at[1]), "-t", "set", "-n", "100", "-q"], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=30)
    same(refused.returncode, 1)
    same("NOAUTH Authentication required." in refused.stdout + refused.stderr, True)


def full_report():
    done = subprocess.run(["redis-benchmark", "-h", HOST, "-p", str(PORT), "-t", "get", "-n", "5000"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    same((done.returncode, done.stderr), (0, ""))
    for part in ("5000 requests completed", 'host configuration "save":', "throughput summary:", "latency summary (msec):"):
        same((part, part in done.stdout), (part, True))
    same("WARN" in done.stdout, False)


def own_command():
    done = subprocess.run(["redis-benchmark", "-h", HOST, "-p", str(PORT), "-n", "5000", "-q", "-r", "100", "setex", "key:__rand_int__", "100", "v"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    same((done.returncode, done.stderr, "requests per second" in done.stdout), (0, "", True))


def main():
    version = subprocess.run(["redis-benchmark", "--version"], capture_output=True, text=True).stdout.split()[1]
    report = Report("redis-benchmark", version)
    for name, check in {
        "default": default,
        "pipelined": lambda: bench("-P", "16"),
        "resp3": lambda: bench("-3"),
        "resp3 pipelined": lambda: bench("-3", "-P", "16"),
        "threads": lambda: bench("--threads", "2"),
        "threads pipelined": lambda: bench("--threads", "2", "-P", "16", requests="100000"),
        "many clients": many_clients,
        "random keys of 1 KiB": keys_written,
        "database": lambda: bench("--dbnum", "5", tests="set,get", titles=["SET", "GET"]),
        "connection per request": lambda: bench("-k", "0", tests="ping_mbulk,get", titles=["PING_MBULK", "GET"], requests="3000"),
        "password": password,
        "full report": full_report,
        "own command": own_command,
    }.items():
        subprocess.run(["redis-cli", "-h", HOST, "-p", str(PORT), "flushall"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        report.run(name, check)
    report.print()


main()
