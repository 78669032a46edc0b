#!/usr/bin/env python3
"""Checks the stack, produce.py, and what the tests of projections take for granted about Kafka, librdkafka and the registry.

Run by `stack selftest`, with the Python of the virtual environment. Prints every check with its time; ends with 1 if any failed.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

import confluent_kafka
import fastavro
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

HERE = pathlib.Path(__file__).resolve().parent
STACK = HERE / "stack"
FOLDER = pathlib.Path(sys.argv[1]).resolve()
SECONDS = 30  # for anything that has to happen by itself
# What makes compaction happen within seconds. The active segment is never cleaned: a record must come after 100 ms to roll it.
COMPACT = {"cleanup.policy": "compact", "segment.ms": 100, "min.cleanable.dirty.ratio": 0.01, "delete.retention.ms": 100,
           "max.compaction.lag.ms": 200}
USER = {"type": "record", "name": "User", "namespace": "t", "fields": [
    {"name": "name", "type": "string"},
    {"name": "home", "type": "t.Address"},
    {"name": "balance", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "born", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None}]}
ADDRESS = {"type": "record", "name": "Address", "namespace": "t", "fields": [{"name": "street", "type": "string"}]}
EOF = "_PARTITION_EOF"


def stack(*arguments):
    result = subprocess.run([STACK, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    assert result.returncode == 0, f"stack {' '.join(map(str, arguments))}: {result.stderr}"
    return json.loads(result.stdout)


def until(what, is_so):
    """Returns what `is_so` returns once that is true, and the seconds it took."""
    begin = time.monotonic()
    while not (value := is_so()):
        assert time.monotonic() - begin < SECONDS, f"not within {SECONDS} s: {what}"
        time.sleep(0.02)
    return value, time.monotonic() - begin


def resident(pid):
    kilobytes = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]
    return f"{int(kilobytes) // 1024} MiB"


def java_processes(folder):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"-Dmillpond.stack={folder}#".encode() in entry.read_bytes():
                found.append(entry.parent.name)
    return found


class Produce:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, op, **arguments):
        self.process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __getattr__(self, op):
        def ask(**arguments):
            answer = self.ask(op, **arguments)
            assert answer.pop("ok"), f"{op} {arguments}: {answer}"
            return answer

        return ask

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0


class Reader:
    """A consumer that is assigned to partition 0 and no member of a group, as the server's is. Events: (offset, key, value), or
    (name of the error, offset); errors that concern no partition have no offset."""

    def __init__(self, bootstrap, topic, offset=0, isolation="read_committed", **more):
        self.topic, self.events = topic, []
        self.consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": "millpond-selftest", "enable.auto.commit": False,
            "enable.auto.offset.store": False, "enable.partition.eof": True, "auto.offset.reset": "error", "check.crcs": True,
            "isolation.level": isolation, "fetch.wait.max.ms": 50, "topic.metadata.refresh.interval.ms": 1000, "log_level": 0,
            "error_cb": lambda error: self.events.append((error.name(),)), **more})
        self.consumer.assign([TopicPartition(topic, 0, offset)])

    def poll(self, seconds):
        message = self.consumer.poll(seconds)
        if message is not None:
            error = message.error()
            self.events.append((error.name(), message.offset()) if error else (message.offset(), message.key(), message.value()))

    def to(self, *wanted):
        """All events up to one that begins with one of `wanted`."""
        begin, first, seen = time.monotonic(), len(self.events), len(self.events)
        while time.monotonic() - begin < SECONDS:
            self.poll(0.1)
            while seen < len(self.events):
                seen += 1
                if any(self.events[seen - 1][:len(each)] == each for each in wanted):
                    return self.events[first:seen]
        raise AssertionError(f"none of {wanted} after {SECONDS} s; events: {self.events[first:][-20:]}")

    def quiet(self, seconds):
        """All events of the next seconds."""
        begin, first = time.monotonic(), len(self.events)
        while time.monotonic() - begin < seconds:
            self.poll(0.1)
        return self.events[first:]

    def position(self):
        return self.consumer.position([TopicPartition(self.topic, 0)])[0].offset

    def close(self):
        self.consumer.close()


def keys(events):
    return [event[1] for event in events if len(event) == 3]


class Checks:
    def __init__(self):
        self.opened = []

    def reader(self, topic, *arguments, **more):
        reader = Reader(self.described["bootstrap"], topic, *arguments, **more)
        self.opened.append(reader)
        return reader

    def read(self, topic, *arguments, **more):
        """Everything up to the first EOF."""
        reader = self.reader(topic, *arguments, **more)
        return reader.to((EOF,))

    def get(self, path):
        try:
            with urllib.request.urlopen(self.described["registry"] + path, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text else None

    # ---- the six checks of the recipe ----

    def check_1_install_is_there_and_quick(self):
        seconds = stack("install")["seconds"]
        assert seconds < 5, seconds
        return f"{seconds} s"

    def check_2_format_accepts_the_file(self):
        meta = (HERE.parent / ".work/kafka/template/meta.properties").read_text()
        assert "node.id=1" in meta and "cluster.id=" in meta, meta

    def check_3_up_and_in_metadata(self):
        begin = time.monotonic()
        self.described = stack("up", FOLDER)
        seconds = time.monotonic() - begin
        assert json.loads((FOLDER / "stack.json").read_text()) == self.described
        self.produce = Produce(self.described["produce"])
        self.admin = AdminClient({"bootstrap.servers": self.described["bootstrap"], "log_level": 0})
        assert list(self.admin.list_topics(timeout=10).brokers) == [1]
        pids = self.described["pids"]
        return f"up in {seconds:.1f} s; resident: broker {resident(pids['broker'])}, registry {resident(pids['registry'])}"

    def check_4_librdkafka(self):
        version = confluent_kafka.libversion()[0]
        lock = HERE.parent.parent / "Cargo.lock"
        if built := lock.exists() and re.search(r'name = "rdkafka-sys"\nversion = "[^"+]+\+([^"]+)"', lock.read_text()):
            assert version == built[1], f"requirements.txt brings librdkafka {version}, Cargo.lock {built[1]}"
        self.produce.create_topic(topic="plain")
        self.produce.send(topic="plain", key="a", value="1", headers=[["h", "x"], ["h", {"b64": "/w=="}]], timestamp=1_000_000)
        assert self.read("plain") == [(0, b"a", b"1"), (EOF, 1)]
        [record] = self.produce.read(topic="plain")["records"]
        assert record["headers"] == [["h", "x"], ["h", {"b64": "/w=="}]] and record["timestamp"] == 1_000_000, record
        self.produce.begin(tx="first")
        self.produce.send(topic="plain", key="a", value="2", tx="first")
        self.produce.commit(tx="first")
        assert self.read("plain") == [(0, b"a", b"1"), (1, b"a", b"2"), (EOF, 3)]
        described = self.produce.describe(topic="plain")
        assert re.fullmatch("[0-9a-f]{32}", described["topic_id"]) and described["partitions"] == 1, described
        assert described["config"]["delete.retention.ms"] == "86400000", described
        return f"librdkafka {version}"

    def check_5_compaction_within_seconds(self):
        self.produce.create_topic(topic="compacted", config=COMPACT)
        config = self.produce.describe(topic="compacted")["config"]
        assert config["delete.retention.ms"] == "100" and config["cleanup.policy"] == "compact", config
        for number in range(10):
            self.produce.send(topic="compacted", key=f"k{number % 2}", value=str(number))

        def rolled():
            self.produce.send(topic="compacted", key="roll", value="")
            return len([key for key in keys(self.read("compacted")) if key != b"roll"]) == 2

        _, values = until("two keys have one record each", rolled)
        self.produce.send(topic="compacted", key="k0", value=None)

        def gone():
            self.produce.send(topic="compacted", key="roll", value="")
            return b"k0" not in keys(self.read("compacted"))

        _, tombstones = until("the tombstone is gone", gone)
        return f"old values gone after {values:.1f} s, the tombstone after {tombstones:.1f} s"

    def check_6_schema_is_found_by_id(self):
        address = self.produce.register(subject="address", schema=ADDRESS)["id"]
        references = [{"name": "t.Address", "subject": "address", "version": 1}]
        user = self.produce.register(subject="user-value", schema=USER, references=references)["id"]
        assert self.produce.register(subject="other-value", schema=USER, references=references)["id"] == user, "an id per content"
        status, found = self.get(f"/schemas/ids/{user}")
        assert status == 200 and json.loads(found["schema"]) == USER and found["references"] == references, found
        assert "guid" not in found, "this registry gives GUIDs: test header ids against it, too"
        status, found = self.get(f"/schemas/ids/{address}")
        assert status == 200 and "references" not in found and "schemaType" not in found, found
        for path, subject, version in (("versions/1", "user-value", 1), ("versions/latest", "user-value", 1)):
            status, found = self.get(f"/subjects/{subject}/{path}")
            assert status == 200 and (found["id"], found["version"]) == (user, version), found
        assert self.get("/schemas/ids/999999") == (404, {"error_code": 40403, "message": "Schema 999999 not found."})
        assert self.get("/subjects/none/versions/latest")[1]["error_code"] == 40401
        # No GUIDs here: neither this path nor ids in headers can be tested against this registry.
        assert self.get("/schemas/guids/89791762-2336-4186-9674-299b90a802e2") == (404, None)

        self.produce.create_topic(topic="avro")
        datum = {"name": "a", "home": {"street": "s"}, "balance": {"decimal": "-12.30"}, "born": 5}
        self.produce.send(topic="avro", key="by subject", value={"avro": datum, "subject": "user-value"})
        self.produce.send(topic="avro", key="by id", value={"avro": datum, "schema_id": user})
        self.produce.send(topic="avro", key="by header", value={
            "avro": datum["home"], "schema": ADDRESS, "wire": "header", "guid": "89791762-2336-4186-9674-299b90a802e2"})
        self.produce.send(topic="avro", key="single", value={"avro": datum["home"], "schema": ADDRESS, "wire": "single_object"})
        events = self.read("avro")
        assert events[0][2] == events[1][2] and events[0][2][:5] == b"\0" + user.to_bytes(4, "big"), events
        assert events[2][2] == b"\x02s" and events[3][2][:2] == b"\xc3\x01" and events[3][2][10:] == b"\x02s", events
        headers = self.produce.read(topic="avro")["records"][2]["headers"]
        assert headers == [["__value_schema_id", {"b64": "AYl5F2IjNkGGlnQpm5CoAuI="}]], headers
        self.produce.create_topic(topic="decoded")
        self.produce.send(topic="decoded", key="a", value={"avro": datum, "schema_id": user})
        assert self.produce.read(topic="decoded", decode=True)["records"][0]["value"] == datum
        narrow = {"type": "record", "name": "User", "namespace": "t", "fields": [
            {"name": "name", "type": "string"}, {"name": "more", "type": "int", "default": 7}]}
        assert self.produce.fold(topic="decoded", decode=True, reader=narrow)["entries"] == [["a", {"name": "a", "more": 7}]]
        return f"ids {address} and {user}; no GUIDs"

    # ---- what tests take for granted ----

    def check_transactions_and_eof(self):
        topic = "transactions"
        self.produce.create_topic(topic=topic)
        assert self.read(topic) == [(EOF, 0)]
        self.produce.send(topic=topic, key="a", value="0")
        self.produce.begin(tx="t")
        self.produce.send(topic=topic, key="a", value="1", tx="t")
        live = self.reader(topic)
        assert live.to((EOF,)) == [(0, b"a", b"0"), (EOF, 1)], "EOF is at the last stable offset"
        offsets = self.produce.offsets(topic=topic)["partitions"]["0"]
        assert offsets == {"start": 0, "lso": 1, "hw": 2}, offsets
        low, high = live.consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        assert (low, high) == (0, 1), "under read_committed the query answers the last stable offset"
        assert self.read(topic, 0, "read_uncommitted") == [(0, b"a", b"0"), (1, b"a", b"1"), (EOF, 2)]
        self.produce.commit(tx="t")
        assert live.to((EOF, 3)) == [(1, b"a", b"1"), (EOF, 3)]
        self.produce.begin(tx="t")
        self.produce.send(topic=topic, key="a", value="aborted", tx="t")
        self.produce.abort(tx="t")
        events = live.to((EOF, 5))
        assert keys(events) == [], events
        assert live.position() == 5, live.position()
        assert self.read(topic, 0, "read_uncommitted")[-2:] == [(3, b"a", b"aborted"), (EOF, 5)]
        # A producer that is gone: the broker aborts for it.
        other = Produce([*self.described["produce"], "--timeout", "5"])
        other.begin(tx="lost", config={"transaction.timeout.ms": 1000})
        other.send(topic=topic, key="a", value="lost", tx="lost")
        other.close()
        begin = time.monotonic()
        assert keys(live.to((EOF, 7))) == []
        return f"a lost transaction of 1 s is aborted after {time.monotonic() - begin:.1f} s"

    def check_compacted_and_an_aborted_end(self):
        topic = "gap"
        self.produce.create_topic(topic=topic, config=COMPACT)
        self.produce.send(topic=topic, key="a", value="kept")
        for _ in range(3):
            self.produce.send(topic=topic, key="b", value=None)

        def clean():
            self.produce.begin(tx="gap")
            self.produce.send(topic=topic, key="c", value="aborted", tx="gap")
            self.produce.abort(tx="gap")
            reader = self.reader(topic)
            events = reader.to((EOF,))
            return keys(events) == [b"a"] and (events[-1][1], reader.position())

        (end, position), seconds = until("only one record is left", clean)
        high = self.produce.offsets(topic=topic)["partitions"]["0"]["hw"]
        assert end == high, (end, high)
        return f"last record 0, EOF@{end} = high watermark, position {position}, after {seconds:.1f} s"

    def check_delete_records(self):
        self.produce.create_topic(topic="deleted")
        for number in range(5):
            self.produce.send(topic="deleted", key="a", value=str(number))
        live = self.reader("deleted")
        live.to((EOF, 5))
        assert self.produce.delete_records(topic="deleted", before=3) == {"log_start": 3}
        assert self.read("deleted", 3)[0] == (3, b"a", b"3")
        assert self.reader("deleted", 2).to(("_AUTO_OFFSET_RESET",)), "a start below the log start"
        assert self.produce.delete_records(topic="deleted") == {"log_start": 5}
        assert self.read("deleted", 5) == [(EOF, 5)]
        assert [event for event in live.quiet(0.5) if event[0] != EOF] == [], "who is past them does not notice"
        refused = self.produce.ask("delete_records", topic="compacted")
        assert refused["kind"] == "POLICY_VIOLATION", refused
        return "refused for cleanup.policy=compact alone"

    def check_recreated_topic(self):
        """A live consumer at offset 3 of a topic that is deleted and made anew, with the same name and other ids."""
        told = []
        for length in (2, 3, 5):
            topic = f"again{length}"
            first = self.produce.create_topic(topic=topic)["topic_id"]
            for number in range(3):
                self.produce.send(topic=topic, key="old", value=str(number))
            live = self.reader(topic)
            live.to((EOF, 3))
            self.produce.delete_topic(topic=topic)
            second = self.produce.create_topic(topic=topic)["topic_id"]
            assert second != first
            for number in range(length):
                self.produce.send(topic=topic, key="new", value=str(number))
            events = live.quiet(3)
            self.produce.send(topic=topic, key="new", value="last")
            events += live.quiet(1)
            records = [event for event in events if len(event) == 3]
            assert all(event[0] >= 3 for event in records), "the new beginning is never delivered"
            assert length == 2 or records[-1] == (length, b"new", b"last"), events
            told.append(f"new length {length}: {events}")
        return "\n       " + "\n       ".join(told)

    def check_deleted_and_missing_topics_are_silent(self):
        """Who is assigned to a topic that is deleted, or not there yet, gets no event at all: only DescribeTopics tells."""
        self.produce.create_topic(topic="lost")
        self.produce.send(topic="lost", key="a", value="1")
        live, early = self.reader("lost"), self.reader("late")
        live.to((EOF, 1))
        self.produce.delete_topic(topic="lost")
        assert self.produce.ask("describe", topic="lost")["kind"] == "UNKNOWN_TOPIC_OR_PART"
        assert live.quiet(3) == [] and early.quiet(0.1) == []
        self.produce.create_topic(topic="late")
        self.produce.send(topic="late", key="a", value="1")
        begin = time.monotonic()
        assert early.to((EOF,)) == [(0, b"a", b"1"), (EOF, 1)]
        return f"seen {time.monotonic() - begin:.1f} s after its creation, with a refresh every 1 s"

    def check_eof_comes_after_the_fetch_wait(self):
        """The broker holds an empty fetch for fetch.wait.max.ms, and every later request on that connection with it."""
        told = []
        for wait in (50, 500):
            reader = self.reader("plain", **{"fetch.wait.max.ms": wait})
            reader.poll(SECONDS)
            begin = time.monotonic()
            reader.to((EOF,))
            told.append(round(time.monotonic() - begin, 3))
        assert told[0] < 0.3 < told[1], told
        return f"{told[0]} s with 50 ms, {told[1]} s with 500 ms (the default)"

    def check_added_partitions(self):
        self.produce.create_topic(topic="grows", partitions=2)
        self.produce.add_partitions(topic="grows", partitions=4)
        ends = self.produce.send_many(topic="grows", count=1000, keys=100)["ends"]
        assert set(ends) == {"0", "1", "2", "3"} and sum(ends.values()) == 1000, ends

    def check_workload_and_fold(self):
        arguments = {"count": 20_000, "keys": 500, "tombstones": 0.2, "value_size": [0, 300], "seed": 5}
        for topic in ("load1", "load2"):
            self.produce.create_topic(topic=topic, partitions=3)
        begin = time.monotonic()
        sent = self.produce.send_many(topic="load1", **arguments)
        seconds = time.monotonic() - begin
        self.produce.send_many(topic="load2", config={"compression.type": "zstd"}, **arguments)
        first, second = self.produce.fold(topic="load1"), self.produce.fold(topic="load2")
        assert first == second and first["records"] == 20_000 and first["conflicts"] == 0, "same seed, same records"
        assert first["tombstones"] == sent["tombstones"] and 300 < len(first["entries"]) < 500, sent
        user = self.produce.register(subject="address", schema=ADDRESS)["id"]
        self.produce.create_topic(topic="load3")
        self.produce.send_many(topic="load3", count=100, keys=10, schema_id=user)
        decoded = self.produce.fold(topic="load3", decode=True)["entries"]
        assert decoded and all(set(value) == {"street"} for _, value in decoded), decoded
        return f"{20_000 / seconds:.0f} records/s"

    def check_queued_sends_and_errors(self):
        self.produce.create_topic(topic="queued")
        for number in range(3):
            assert self.produce.send(topic="queued", key="a", value=str(number), wait=False) == {"queued": number + 1}
        assert [each["offset"] for each in self.produce.flush()["delivered"]] == [0, 1, 2]
        self.produce.begin(tx="queued")
        self.produce.send(topic="queued", key="a", value="3", tx="queued", wait=False)
        self.produce.commit(tx="queued")
        assert self.produce.flush()["delivered"][0]["offset"] == 3
        assert self.produce.offsets(topic="queued")["partitions"]["0"] == {"start": 0, "lso": 5, "hw": 5}, "the markers are there"
        for request, kind in (({"op": "none"}, "Refused"), ({"op": "send", "topik": "a"}, "Refused"),
                              ({"op": "create_topic", "topic": "queued"}, "TOPIC_ALREADY_EXISTS"),
                              ({"op": "commit", "tx": "none"}, "Refused"),
                              ({"op": "send", "topic": "queued", "key": "a", "value": 7}, "Refused"),
                              ({"op": "send", "topic": "queued", "value": "x" * 2_000_000}, "MSG_SIZE_TOO_LARGE")):
            answer = self.produce.ask(**request)
            assert not answer["ok"] and answer["kind"] == kind and answer["error"], answer

    def check_no_group_on_the_broker(self):
        assert self.produce.groups() == {"groups": []}, "consumers that only assign make no group"
        assert "__consumer_offsets" in self.admin.list_topics(timeout=10).topics, "but their question for a coordinator makes this"

    def check_scram_listener(self):
        self.produce.create_topic(topic="scram", config={"compression.type": "zstd"})
        self.produce.send(topic="scram", key="a", value="1")
        at = self.described["sasl_bootstrap"]
        secured = Reader(f"127.0.0.1:1,{at}", "scram", **self.described["sasl"])
        self.opened.append(secured)
        assert [event for event in secured.to((EOF,)) if event[0] not in ("_TRANSPORT", "_ALL_BROKERS_DOWN")] == [(0, b"a", b"1"), (EOF, 1)]
        wrong = Reader(at, "scram", **{**self.described["sasl"], "sasl.password": "no"})
        self.opened.append(wrong)
        wrong.to(("_AUTHENTICATION",))

    def check_tls_listeners(self):
        self.produce.create_topic(topic="tls")
        self.produce.send(topic="tls", key="a", value="1")
        for listener in ("ssl", "sasl_ssl"):
            at = self.described[f"{listener}_bootstrap"]
            secured = Reader(at, "tls", **self.described[listener])
            self.opened.append(secured)
            assert secured.to((EOF,)) == [(0, b"a", b"1"), (EOF, 1)]
            stranger = Reader(at, "tls", **{**self.described[listener], "ssl.ca.location": self.described["stranger"]})
            self.opened.append(stranger)
            stranger.to(("_SSL",))

    def check_kcat(self):
        if shutil.which("kcat") is None and os.geteuid() == 0 and shutil.which("apt-get"):
            for command in (["update", "-qq"], ["install", "-y", "-qq", "kcat"]):
                subprocess.run(["apt-get", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert shutil.which("kcat"), "kcat is missing: Debian kcat"
        found = subprocess.run(["kcat", "-b", self.described["bootstrap"], "-C", "-t", "plain", "-o", "beginning", "-e", "-q", "-f",
                                "%o %k %s\\n"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=SECONDS)
        assert found.stdout == "0 a 1\n1 a 2\n", found.stdout

    def check_killed_broker_keeps_data_and_ports(self):
        reader = self.reader("plain")
        reader.to((EOF, 3))
        first = self.produce.describe(topic="plain")["topic_id"]
        stack("kill-broker", FOLDER)
        told = [event[0] for event in reader.to(("_ALL_BROKERS_DOWN",))]  # _TRANSPORT, too, in either order
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.described["ports"]["BROKER"])).close()
            raise AssertionError("somebody listens on the port")
        seconds = stack("start-broker", FOLDER)["seconds"]
        after = json.loads((FOLDER / "stack.json").read_text())
        assert after["ports"] == self.described["ports"] and after["pids"]["broker"] != self.described["pids"]["broker"]
        offset = self.produce.send(topic="plain", key="a", value="after")["offset"]
        assert offset == 3 and self.produce.describe(topic="plain")["topic_id"] == first
        events = reader.to((EOF, 4))
        assert keys(events) == [b"a"] and keys(self.read("plain")) == [b"a"] * 3, events
        return f"ready again in {seconds} s; events {told}, then {events}"

    def check_stopped_broker(self):
        reader = self.reader("plain")
        reader.to((EOF, 4))
        stack("stop-broker", FOLDER)
        events = reader.quiet(3)
        seconds = stack("cont-broker", FOLDER)["seconds"]
        self.produce.send(topic="plain", key="a", value="resumed")
        assert keys(reader.to((EOF, 5))) == [b"a"]
        return f"{sorted({event[0] for event in events})} in 3 s; ready {seconds} s after SIGCONT"

    def check_killed_registry_keeps_ids(self):
        user = self.produce.register(subject="user-value", schema=USER, references=[
            {"name": "t.Address", "subject": "address", "version": 1}])["id"]
        stack("kill-registry", FOLDER)
        answer = self.produce.ask("register", subject="more", schema=ADDRESS)
        assert not answer["ok"], answer
        seconds = stack("start-registry", FOLDER)["seconds"]
        assert self.get(f"/schemas/ids/{user}")[0] == 200 and self.get("/subjects/user-value/versions/1")[1]["id"] == user
        return f"ready again in {seconds} s"

    def check_tied_to_its_starter(self):
        folder = FOLDER.with_name(FOLDER.name + "-tied")
        starter = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        try:
            described = stack("up", folder, "--no-registry", "--tied-to", starter.pid, "--set", "num.partitions=3")
            assert described["registry"] is None and java_processes(folder)
            assert described["bootstrap"] != self.described["bootstrap"]
            starter.kill()
            starter.wait()
            _, seconds = until("the stack is gone", lambda: not java_processes(folder))
        finally:
            stack("down", folder)
        assert java_processes(FOLDER), "the other stack runs"
        shutil.rmtree(folder)
        return f"gone after {seconds:.2f} s"

    def check_resident_memory(self):
        pids = json.loads((FOLDER / "stack.json").read_text())["pids"]
        return ", ".join(f"{part} {resident(pid)}" for part, pid in pids.items())

    def check_down_leaves_nothing(self):
        self.produce.close()
        stack("down", FOLDER)
        assert java_processes(FOLDER) == []

    # ---- the run ----

    def run(self):
        failed = 0
        names = [name for name in vars(Checks) if name.startswith("check_")]
        stack("down", FOLDER)
        shutil.rmtree(FOLDER, ignore_errors=True)
        begin = time.monotonic()
        try:
            for name in names:
                started, title = time.monotonic(), name.removeprefix("check_").replace("_", " ")
                try:
                    note = getattr(self, name)()
                    print(f"ok   {time.monotonic() - started:6.2f} s  {title}{': ' + note if note else ''}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAIL {time.monotonic() - started:6.2f} s  {title}\n{traceback.format_exc()}", flush=True)
                    if not hasattr(self, "produce"):
                        break  # nothing else can work
                finally:
                    for reader in self.opened:
                        reader.close()
                    self.opened.clear()
        finally:
            if failed:
                for log in sorted(FOLDER.glob("*.log")):
                    print(f"---- {log} ends with:\n{log.read_text(errors='replace')[-3000:]}")
            stack("down", FOLDER)
        print(f"{time.monotonic() - begin:.1f} s")
        print(f"{len(names) - failed} passed, {failed} failed")
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(Checks().run())
