"""redis-cli as people use it: one-shot commands, exit codes, both protocols, scans, pipe mode, and an interactive start."""

import fcntl
import os
import pathlib
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))
from report import HOST, PASSWORD, PORT, Report, password_address, same  # noqa: E402

# The reports of redis-cli that never end by themselves are stopped after this many seconds.
WATCH_SECONDS = 1.3


def call(*arguments, at=(HOST, PORT), status=0, **options):
    """Standard output of one redis-cli run; fails on another exit status or on anything on standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "REDISCLI_AUTH"}
    environment.update(options.pop("environment", {}))
    done = subprocess.run(["redis-cli", "-h", at[0], "-p", str(at[1]), *arguments], env=environment, timeout=60,
                          stdin=None if "input" in options else subprocess.DEVNULL, capture_output=True, **options)
    same((done.returncode, done.stderr if status == 0 else b""), (status, b""))
    return done.stdout


def fill(prefix, count, size=3):
    lines = b"".join(b"SET %s:%d %s\r\n" % (prefix, i, b"v" * size) for i in range(count))
    same(call(input=lines), b"OK\n" * count)


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text[-600:]!r}")


def ping():
    same(call("ping"), b"PONG\n")
    same(call("PING", "a b"), b"a b\n")


def commands():
    same(call("set", "k", "v"), b"OK\n")
    same(call("get", "k"), b"v\n")
    same(call("get", "none"), b"\n")
    same(call("incr", "n"), b"1\n")
    same(call("--no-raw", "get", "none"), b"(nil)\n")
    same(call("--no-raw", "mget", "k", "none", "n"), b'1) "v"\n2) (nil)\n3) "1"\n')
    same(call("--no-raw", "incrby", "n", "4"), b"(integer) 5\n")
    same(call("-r", "3", "incr", "n"), b"6\n7\n8\n")
    same(call("--csv", "mget", "k", "none"), b'"v",NULL\n')
    same(call("-d", "|", "mget", "k", "n"), b"v|8\n")


def protocols():
    for flag, proto in (("-2", b"2"), ("-3", b"3")):
        contains(call(flag, "client", "info"), b" resp=" + proto)
        same(call(flag, "set", "k", "v"), b"OK\n")
    answer = call("-3", "--no-raw", "hello", "3")
    contains(answer, b'1# "server" => "redis"', b'"version" =>', b'"proto" => (integer) 3', b'"mode" => "standalone"', b'"role" => "master"')
    contains(call("-3", "--no-raw", "config", "get", "maxmemory"), b'1# "maxmemory" => "')
    contains(call("-2", "--no-raw", "config", "get", "maxmemory"), b'1) "maxmemory"\n2) "')
    same(call("-3", "--no-raw", "get", "none"), b"(nil)\n")
    same(call("--json", "mget", "k", "none"), b'["v",null]\n')
    contains(call("-3", "info", "server"), b"# Server\r\n", b"redis_version:")


def database():
    same(call("-n", "5", "set", "k", "five"), b"OK\n")
    same((call("get", "k"), call("-n", "5", "get", "k"), call("-u", f"redis://{HOST}:{PORT}/5", "get", "k")), (b"\n", b"five\n", b"five\n"))
    same(call("-n", "5", "dbsize"), b"1\n")


def password():
    at = password_address()
    same(call("--no-auth-warning", "-a", PASSWORD, "set", "k", "v", at=at), b"OK\n")
    same(call("get", "k", at=at, environment={"REDISCLI_AUTH": PASSWORD}), b"v\n")
    same(call("--no-auth-warning", "-3", "--user", "default", "--pass", PASSWORD, "get", "k", at=at), b"v\n")
    contains(call("get", "k", at=at), b"NOAUTH Authentication required.")
    contains(call("-e", "get", "k", at=at, status=1), b"")
    refused = subprocess.run(["redis-cli", "-h", at[0], "-p", str(at[1]), "-a", "guess", "--no-auth-warning", "get", "k"],
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    contains(refused.stdout + refused.stderr, b"WRONGPASS invalid username-password pair or user is disabled.", b"NOAUTH")


def scan():
    fill(b"scan", 5000)
    fill(b"other", 100)
    keys = call("--scan", "--pattern", "scan:*").split()
    same((len(keys), len(set(keys))), (5000, 5000))
    same(len(call("--scan").split()), 5100)
    same(sorted(call("--scan", "--pattern", "other:1?").split()), [b"other:%d" % i for i in range(10, 20)])


def bigkeys():
    fill(b"key", 300)
    same(call("set", "largest", "x" * 5000), b"OK\n")
    contains(call("--bigkeys", "-i", "0"), b"Sampled 301 keys in the keyspace!", b"'\"largest\"' has 5000 bytes", b"301 strings with 5900 bytes")


def memkeys():
    fill(b"key", 300)
    same(call("set", "largest", "x" * 5000), b"OK\n")
    contains(call("--memkeys", "-i", "0"), b"Sampled 301 keys in the keyspace!", b"Biggest string found '\"largest\"' has")


def watched(*arguments):
    """What an endless report printed to a terminal until it was stopped."""
    near, far = pty.openpty()
    process = subprocess.Popen(["redis-cli", "-h", HOST, "-p", str(PORT), *arguments], stdin=subprocess.DEVNULL, stdout=far, stderr=far)
    os.close(far)
    output, end = b"", time.monotonic() + WATCH_SECONDS
    try:
        while (left := end - time.monotonic()) > 0 and process.poll() is None:
            if select.select([near], [], [], left)[0]:
                output += os.read(near, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(near)
    return output


def stat():
    lines = watched("--stat", "-i", "0.2").decode().replace("\r", "").splitlines()
    contains(lines[0], "data"), contains(lines[1], "keys", "mem", "clients", "requests")
    rows = [line for line in lines if re.match(r"\d+\s+[\d.]+[BKMG]\s+\d+\s+\d+\s+\d+", line)]
    same(len(rows) >= 3, True)


def latency():
    # Without a terminal one line comes after the interval, then the program ends: min max avg samples.
    done = subprocess.run(["redis-cli", "-h", HOST, "-p", str(PORT), "--latency", "-i", "1", "--raw"], timeout=20,
                          stdin=subprocess.DEVNULL, capture_output=True)
    same((done.returncode, done.stderr), (0, b""))
    low, high, mean, count = done.stdout.split()
    same(int(count) > 10 and float(low) <= float(mean) <= float(high), True)
    contains(watched("--latency-history", "-i", "1"), b"min:", b"samples")


def from_stdin():
    same(call("-x", "set", "k", input=b"line one\nline two"), b"OK\n")
    same(call("get", "k"), b"line one\nline two\n")
    same(call("-X", "tag", "set", "k", "tag", input=b"tagged"), b"OK\n")
    same(call("get", "k"), b"tagged\n")


def pipe():
    requests = b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\npipe:%d\r\n$%d\r\n%d\r\n" % (5 + len(str(i)), i, len(str(i)), i) for i in range(10_000))
    contains(call("--pipe", input=requests), b"errors: 0, replies: 10000")
    same(call("dbsize"), b"10000\n")
    bad = b"".join(b"SET k %d\r\n" % i for i in range(50)) + b"NOSUCH\r\n"
    contains(call("--pipe", input=bad, status=1), b"errors: 1, replies: 51")


def interactive():
    """Keys typed into a terminal: the start asks for COMMAND DOCS and INFO, then the prompt shows address and database."""
    process, terminal = pty.fork()
    if process == 0:
        # Without a size the line editor would ask the terminal where its cursor is.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.environ.update(TERM="xterm", HOME="/nonexistent")
        os.execvp("redis-cli", ["redis-cli", "-h", HOST, "-p", str(PORT)])
    seen = b""

    def until(text):
        nonlocal seen
        deadline = time.monotonic() + 15
        while text not in seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {seen[-500:]!r}"
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
        seen = seen[seen.index(text) + len(text):]

    try:
        # The line editor drops what is typed before its prompt stands.
        prompt = f"{HOST}:{PORT}".encode()
        until(prompt + b"> ")
        for typed, answer, after in (
                (b"set k v", b"OK\r\n", b"> "), (b"get k", b'"v"\r\n', b"> "),
                (b"incr k", b"(error) ERR value is not an integer or out of range\r\n", b"> "),
                (b"multi", b"OK\r\n", b"(TX)> "), (b"ping", b"QUEUED\r\n", b"(TX)> "), (b"exec", b"1) PONG\r\n", b"> "),
                (b"select 5", b"OK\r\n", b"[5]> "), (b"hello 3", b'3# "proto" => (integer) 3\r\n', b"[5]> "),
                (b"help get", b"group:", b"[5]> ")):
            os.write(terminal, typed + b"\r")
            until(answer)
            until(prompt + after)
        os.write(terminal, b"quit\r")
    finally:
        os.close(terminal)
        ended = os.waitpid(process, 0)[1]
    same(os.WIFEXITED(ended) or os.WIFSIGNALED(ended), True)


def raw():
    value = bytes(range(256))
    same(call("-x", "set", "k", input=value), b"OK\n")
    same(call("--raw", "get", "k"), value + b"\n")
    contains(call("--no-raw", "get", "k"), b'"\\x00\\x01', b'\\xfe\\xff"\n')


def exit_codes():
    same(call("-e", "ping"), b"PONG\n")
    call("-e", "incr", "n", "too", "many", status=1)
    contains(call("nosuch"), b"ERR unknown command 'nosuch'")
    with socket.socket() as closed:
        closed.bind((HOST if HOST != "localhost" else "127.0.0.1", 0))
        call("ping", at=("127.0.0.1", closed.getsockname()[1]), status=1)


def inline():
    """A plain socket with commands as a person types them into a terminal program."""
    with socket.create_connection((HOST, PORT), timeout=10) as connection, connection.makefile("rb") as replies:
        def ask(line, *wanted):
            connection.sendall(line)
            same([replies.readline() for _ in wanted], list(wanted))

        ask(b"PING\r\n", b"+PONG\r\n")
        ask(b"ping\n", b"+PONG\r\n")
        ask(b"\r\n\r\nPING\r\n", b"+PONG\r\n")
        ask(b'SET "a key" \'single quoted\'\r\n', b"+OK\r\n")
        ask(b'GET "a\\x20key"\r\n', b"$13\r\n", b"single quoted\r\n")
        ask(b"SET k v\r\nGET k\r\nGET none\r\n", b"+OK\r\n", b"$1\r\n", b"v\r\n", b"$-1\r\n")
        ask(b"HELLO 3\r\n", b"%7\r\n")
        # The seven pairs: names and texts are bulk strings of two lines, numbers one line, modules an empty array.
        for _ in range(4 + 4 + 3 + 3 + 4 + 4 + 3):
            replies.readline()
        ask(b"GET none\r\n", b"_\r\n")
        ask(b'SET "open\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n", b"")


def transactions():
    same(call(input=b"MULTI\nSET k 1\nINCR k\nEXEC\n"), b"OK\nQUEUED\nQUEUED\nOK\n2\n")
    contains(call(input=b"MULTI\nSET k\nEXEC\n"), b"ERR wrong number of arguments for 'set' command", b"EXECABORT Transaction discarded")


def main():
    version = subprocess.run(["redis-cli", "--version"], capture_output=True, text=True).stdout.split()[1]
    report = Report("redis-cli", version)
    for name, check in {"ping": ping, "commands": commands, "protocols": protocols, "database": database, "password": password,
                        "scan": scan, "bigkeys": bigkeys, "memkeys": memkeys, "stat": stat, "latency": latency, "from stdin": from_stdin,
                        "pipe": pipe, "interactive": interactive, "raw": raw, "exit codes": exit_codes, "inline": inline,
                        "transactions": transactions}.items():
        call("flushall")
        report.run(name, check)
    report.print()


main()
