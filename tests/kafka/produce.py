#!/usr/bin/env python3
"""An independent producer, and an independent reader to compare with: JSON lines in, JSON lines out.

    produce.py DIR/stack.json          or          produce.py --bootstrap HOST:PORT [--registry URL]

Every line on standard input is one operation, every line on standard output its answer, in order: {"ok": true, ..} or
{"ok": false, "error": text, "kind": class}. The operations and their arguments are listed in README.md. At the end of the input the
queued records are delivered; a transaction that is open then stays open on the broker until it times out.
"""

import argparse
import base64
import decimal
import inspect
import io
import itertools
import json
import random
import sys
import time
import uuid
import warnings

import fastavro
import fastavro.schema
import fastavro.utils
from confluent_kafka import (
    OFFSET_END, Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition)
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

with warnings.catch_warnings(record=True):  # authlib's, about httpx
    from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

TIMES = {"date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "local-timestamp-millis",
         "local-timestamp-micros", "uuid"}


class Refused(Exception):
    """An operation that makes no sense."""


# ---- JSON and Avro ----


def from_json(value):
    """What JSON cannot say: {"b64": text} is bytes, {"decimal": text} a number, {"union": [name, value]} one branch of a union."""
    if isinstance(value, dict):
        if set(value) == {"b64"}:
            return base64.b64decode(value["b64"])
        if set(value) == {"decimal"}:
            return decimal.Decimal(value["decimal"])
        if set(value) == {"union"}:
            return value["union"][0], from_json(value["union"][1])
        return {name: from_json(member) for name, member in value.items()}
    return [from_json(member) for member in value] if isinstance(value, list) else value


def to_json(value):
    if isinstance(value, (bytes, bytearray)):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, decimal.Decimal):
        return {"decimal": str(value)}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": str(value)}
    if isinstance(value, dict):
        return {name: to_json(member) for name, member in value.items()}
    return [to_json(member) for member in value] if isinstance(value, list) else value


def text_or_bytes(value):
    """UTF-8 as text, anything else as {"b64": ..}, null as null."""
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return to_json(value)


def plain(schema):
    """The schema without logical times and UUIDs: they are the integers and strings that are written."""
    if isinstance(schema, dict):
        return {name: plain(member) for name, member in schema.items() if not (name == "logicalType" and member in TIMES)}
    return [plain(member) for member in schema] if isinstance(schema, list) else schema


def confluent(id_, schema, datum):
    """Confluent's wire format."""
    out = io.BytesIO()
    out.write(b"\0" + id_.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, schema, datum)
    return out.getvalue()


class Registry:
    def __init__(self, url):
        self.url, self.by_id = url, {}
        self.client = self.new_client() if url else None

    def new_client(self):
        if not self.url:
            raise Refused("there is no registry")
        return SchemaRegistryClient({"url": self.url})

    def parse(self, schema, references=()):
        named = {}

        def load(references):
            for reference in references or ():
                version = self.client.get_version(reference.subject, reference.version).schema
                load(version.references)
                fastavro.parse_schema(plain(json.loads(version.schema_str)), named_schemas=named)

        load(references)
        return fastavro.parse_schema(plain(json.loads(schema) if isinstance(schema, str) else schema), named_schemas=named)

    def schema(self, id_):
        if id_ not in self.by_id:
            if not self.client:
                raise Refused("there is no registry")
            found = self.client.get_schema(id_)
            self.by_id[id_] = self.parse(found.schema_str, found.references)
        return self.by_id[id_]

    def serialize(self, spec, topic, field, headers):
        """`avro` with the latest version of `subject` (by Confluent's serializer), with `schema_id`, or with a `schema` given."""
        datum, wire = from_json(spec["avro"]), spec.get("wire", "confluent")
        if "subject" in spec:
            # A new client each time: it would never look for a later version again.
            serializer = AvroSerializer(self.new_client(), conf={
                "auto.register.schemas": False, "use.latest.version": True,
                "subject.name.strategy": lambda *_: spec["subject"]})
            return serializer(datum, SerializationContext(topic, field))
        schema = self.parse(spec["schema"]) if "schema" in spec else self.schema(spec["schema_id"])
        if wire == "confluent":
            return confluent(spec["schema_id"], schema, datum)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, datum)
        if wire == "single_object":
            canonical = fastavro.schema.to_parsing_canonical_form(spec["schema"])
            return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")) + out.getvalue()
        if wire == "header":
            headers.append((f"__{field}_schema_id", b"\1" + uuid.UUID(spec["guid"]).bytes))
        elif wire != "none":
            raise Refused(f"no wire format {wire!r}")
        return out.getvalue()

    def deserialize(self, data, reader):
        """A value of Confluent's wire format; by Avro's rules as `reader`, if there is one."""
        if data is None:
            return None
        if data[:1] != b"\0":
            raise Refused("not in Confluent's wire format")
        stream = io.BytesIO(data[5:])
        value = fastavro.schemaless_reader(stream, self.schema(int.from_bytes(data[1:5], "big")), reader)
        if stream.read(1):
            raise Refused("bytes are left after the datum")
        return to_json(value)


# ---- the operations ----


class Program:
    def __init__(self, bootstrap, registry, timeout):
        self.base, self.timeout = {"bootstrap.servers": bootstrap, "log_level": 0}, timeout
        self.admin, self.registry = AdminClient(self.base), Registry(registry)
        self.producers = {}  # (transactional id or None, settings as JSON) -> Producer
        self.transactions = {}  # transactional id -> Producer
        self.written = {}  # transactional id -> {(topic, partition): next offset} of the open transaction
        self.queued = []  # producers and answers of records sent with "wait": false, in the order of sending

    def run(self, request):
        operation = getattr(self, "do_" + str(request.pop("op", None)), None)
        if operation is None:
            raise Refused("no such operation")
        parameters = inspect.signature(operation).parameters
        if unknown := set(request) - set(parameters):
            raise Refused(f"unknown arguments: {', '.join(sorted(unknown))}")
        return operation(**request) or {}

    def done(self, futures):
        """The one result of an admin call."""
        [future] = futures.values()
        return future.result(self.timeout)

    def waited(self, what, is_so):
        """KRaft answers an admin call before every client sees its effect."""
        deadline = time.monotonic() + self.timeout
        while not is_so():
            if time.monotonic() > deadline:
                raise Refused(f"not seen after {self.timeout} s: {what}")
            time.sleep(0.02)

    def partitions(self, topic):
        """Numbers of the partitions; none while the topic is not there. Asking for one topic by name may answer from a cache."""
        found = self.admin.list_topics(timeout=self.timeout).topics.get(topic)
        return sorted(found.partitions) if found and not found.error else []

    # -- topics --

    def do_create_topic(self, topic, partitions=1, config=None):
        config = {name: str(value) for name, value in (config or {}).items()}
        self.done(self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)]))
        self.waited(f"topic {topic}", lambda: len(self.partitions(topic)) == partitions)
        return {"topic_id": self.described(topic)["topic_id"]}

    def do_delete_topic(self, topic):
        self.done(self.admin.delete_topics([topic]))
        self.waited(f"no topic {topic}", lambda: not self.partitions(topic))

    def do_add_partitions(self, topic, partitions):
        """`partitions` is the new total."""
        self.done(self.admin.create_partitions([NewPartitions(topic, partitions)]))
        self.waited(f"{partitions} partitions", lambda: len(self.partitions(topic)) == partitions)

    def do_delete_records(self, topic, partition=0, before=None):
        """All below `before`, or all."""
        offset = OFFSET_END if before is None else before
        return {"log_start": self.done(self.admin.delete_records([TopicPartition(topic, partition, offset)])).low_watermark}

    def described(self, topic):
        found = self.done(self.admin.describe_topics(TopicCollection([topic])))
        high, low = found.topic_id.get_most_significant_bits(), found.topic_id.get_least_significant_bits()
        # In hexadecimal: librdkafka prints base64 with + and /, Kafka's tools with - and _.
        return {"topic_id": f"{high % 2**64:016x}{low % 2**64:016x}", "partitions": len(found.partitions)}

    def do_describe(self, topic):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        config = self.done(self.admin.describe_configs([resource]))
        return {**self.described(topic), "config": {name: entry.value for name, entry in config.items()}}

    def offsets(self, topic, numbers, spec, level):
        futures = self.admin.list_offsets({TopicPartition(topic, number): spec for number in numbers}, isolation_level=level)
        return {found.partition: future.result(self.timeout).offset for found, future in futures.items()}

    def stable(self, topic, numbers):
        return self.offsets(topic, numbers, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)

    def do_offsets(self, topic):
        """Per partition where its log starts, its last stable offset and its high watermark."""
        numbers = self.partitions(topic)
        starts = self.offsets(topic, numbers, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
        stable = self.stable(topic, numbers)
        high = self.offsets(topic, numbers, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        return {"partitions": {number: {"start": starts[number], "lso": stable[number], "hw": high[number]} for number in numbers}}

    def do_groups(self):
        found = self.admin.list_consumer_groups(request_timeout=self.timeout).result()
        if found.errors:
            raise KafkaException(found.errors[0])
        return {"groups": sorted(group.group_id for group in found.valid)}

    # -- schemas --

    def do_register(self, subject, schema, references=(), type="AVRO"):
        """Returns the id. A new client each time: a cache would hide that the registry lost the schema."""
        schema = schema if isinstance(schema, str) else json.dumps(schema)
        references = [SchemaReference(each["name"], each["subject"], each["version"]) for each in references]
        return {"id": self.registry.new_client().register_schema(subject, Schema(schema, type, references))}

    # -- records --

    def producer(self, tx, config):
        if tx is not None:
            if tx not in self.transactions:
                raise Refused(f"no transaction {tx!r}: begin first")
            return self.transactions[tx]
        key = json.dumps(config or {}, sort_keys=True)
        if key not in self.producers:
            self.producers[key] = self.new_producer(config)
        return self.producers[key]

    def new_producer(self, config, **more):
        # Keys go to the partitions where Java's producer puts them.
        return Producer({**self.base, "partitioner": "murmur2_random", "linger.ms": 0,
                         "message.timeout.ms": int(self.timeout * 1000), **more, **(config or {})})

    def encoded(self, spec, topic, field, headers):
        if isinstance(spec, str):
            return spec.encode()
        if isinstance(spec, dict) and "avro" in spec:
            return self.registry.serialize(spec, topic, field, headers)
        data = from_json(spec)
        if data is not None and not isinstance(data, bytes):
            raise Refused(f'the {field} is none of text, {{"b64": ..}}, {{"avro": ..}} and null')
        return data

    def enqueue(self, producer, topic, callback, **record):
        while True:
            try:
                return producer.produce(topic, on_delivery=callback, **record)
            except BufferError:
                producer.poll(0.1)

    def do_send(self, topic, key=None, value=None, headers=None, partition=-1, timestamp=0, tx=None, config=None, wait=True):
        """`headers` is a list of pairs, as a name may come twice. Without `wait` the answer is flush's."""
        producer, answer = self.producer(tx, config), {"topic": topic}
        pairs = [(name, self.encoded(data, topic, "header", None)) for name, data in headers or []]

        def delivered(error, message):
            if error:
                answer.update(error=error.str(), kind=error.name())
            else:
                answer.update(partition=message.partition(), offset=message.offset(), timestamp=message.timestamp()[1])
                self.wrote(tx, topic, {message.partition(): message.offset() + 1})

        key, value = self.encoded(key, topic, MessageField.KEY, pairs), self.encoded(value, topic, MessageField.VALUE, pairs)
        self.enqueue(producer, topic, delivered, key=key, value=value, headers=pairs, partition=partition, timestamp=timestamp)
        if not wait:
            self.queued.append((producer, answer))
            return {"queued": len(self.queued)}
        while len(answer) == 1:  # message.timeout.ms ends this at the latest
            producer.poll(1)
        return {"ok": "error" not in answer, **answer}

    def do_flush(self):
        """Answers of everything sent without `wait` since the last flush, in the order of sending."""
        queued, self.queued = self.queued, []
        for producer, answer in queued:
            while len(answer) == 1:
                producer.poll(1)
        answers = [answer for _, answer in queued]
        return {"ok": not any("error" in answer for answer in answers), "delivered": answers}

    def do_send_many(self, topic, count, keys, seed=0, key_prefix="k", tombstones=0.0, value_size=100, schema_id=None, partition=-1,
                     tx=None, config=None):
        """The same arguments give the same records in the same order. Keys are PREFIX0 to PREFIX(keys-1). A value begins with
        "SEQUENCE|", so all differ, and has `value_size` bytes ([least, most] for a random size) or more; with `schema_id` it is random
        Avro. `ends` is the next offset of each partition."""
        producer, choose = self.producer(tx, {"linger.ms": 20, **(config or {})}), random.Random(seed)
        least, most = value_size if isinstance(value_size, list) else (value_size, value_size)
        random.seed(seed)  # fastavro draws from the shared generator
        schema = schema_id is not None and self.registry.schema(schema_id)
        data = fastavro.utils.generate_many(schema, count) if schema else itertools.repeat(None)
        errors, ends, nulls = [], {}, 0

        def delivered(error, message):
            if error:
                errors.append(error.str())
            else:
                ends[message.partition()] = message.offset() + 1  # in order, per partition

        def text(number, size):
            head = b"%d|" % number
            room = size - len(head)
            return head + b"%0*x" % (room, choose.getrandbits(4 * room)) if room > 0 else head

        for number, datum in zip(range(count), data):
            key, gone, size = choose.randrange(keys), choose.random() < tombstones, choose.randint(least, most)
            nulls += gone
            value = None if gone else confluent(schema_id, schema, datum) if schema else text(number, size)
            self.enqueue(producer, topic, delivered, key=f"{key_prefix}{key}".encode(), value=value, partition=partition)
            if number % 1000 == 0:
                producer.poll(0)
        producer.flush()
        self.wrote(tx, topic, ends)
        if errors:
            raise Refused(f"{len(errors)} of {count} records were not delivered; the first: {errors[0]}")
        return {"sent": count, "tombstones": nulls, "ends": ends}

    # -- transactions --

    def do_begin(self, tx, config=None):
        """The first time `tx` begins, a producer with this transactional id is made: it fences any other."""
        if tx not in self.transactions:
            limit = int((config or {}).get("transaction.timeout.ms", self.timeout * 1000))  # message.timeout.ms must not be longer
            producer = self.new_producer(config, **{"transactional.id": tx, "transaction.timeout.ms": limit,
                                                    "message.timeout.ms": limit})
            producer.init_transactions(self.timeout)
            self.transactions[tx] = producer
        self.transaction(tx, lambda producer: producer.begin_transaction())
        self.written[tx] = {}

    def do_commit(self, tx, wait=True):
        """The broker answers a commit before it writes the markers: `wait` is for the last stable offset to pass the records. It
        would wait in vain while an earlier transaction is open on a partition."""
        self.producer(tx, None).flush(self.timeout)
        self.end(tx, lambda producer: producer.commit_transaction(self.timeout), wait)

    def do_abort(self, tx, wait=True):
        self.end(tx, lambda producer: producer.abort_transaction(self.timeout), wait)

    def end(self, tx, step, wait):
        self.transaction(tx, step)
        written = self.written.pop(tx)
        for (topic, partition), end in written.items() if wait else ():
            self.waited(f"{topic}/{partition} stable at {end}", lambda: self.stable(topic, [partition])[partition] >= end)

    def wrote(self, tx, topic, ends):
        if tx in self.written:
            self.written[tx].update({(topic, partition): end for partition, end in ends.items()})

    def transaction(self, tx, step):
        producer = self.producer(tx, None)
        try:
            step(producer)
        except KafkaException as error:
            if error.args[0].fatal():
                del self.transactions[tx]  # fenced or timed out; the next begin makes a new one
            raise

    # -- an oracle --

    def records(self, topic, isolation):
        """Every record up to the end of each partition as it is now."""
        consumer = Consumer({**self.base, "group.id": "millpond-oracle", "enable.auto.commit": False, "enable.partition.eof": True,
                             "auto.offset.reset": "error", "isolation.level": isolation, "check.crcs": True,
                             "fetch.wait.max.ms": 10})
        try:
            found = self.do_offsets(topic)["partitions"]
            missing = set(found)
            consumer.assign([TopicPartition(topic, number, entry["start"]) for number, entry in found.items()])
            deadline = time.monotonic() + self.timeout
            while missing:
                for message in consumer.consume(10_000, 0.05):
                    if not message.error():
                        yield message
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        missing.discard(message.partition())
                    else:
                        raise KafkaException(message.error())
                    deadline = time.monotonic() + self.timeout
                if time.monotonic() > deadline:
                    raise Refused(f"partitions {sorted(missing)} do not come to their end")
        finally:
            consumer.close()

    def do_read(self, topic, isolation="read_committed", decode=False, reader=None):
        """Every record, by partition and offset. `decode` reads Avro values, as `reader` if given."""
        reader = reader and self.registry.parse(reader)
        records = [{
            "partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp()[1],
            "key": text_or_bytes(message.key()),
            "value": self.registry.deserialize(message.value(), reader) if decode else text_or_bytes(message.value()),
            "headers": [[name, text_or_bytes(data)] for name, data in message.headers() or []],
        } for message in self.records(topic, isolation)]
        return {"records": sorted(records, key=lambda record: (record["partition"], record["offset"]))}

    def do_fold(self, topic, decode=False, reader=None):
        """The last committed value of every key, a list of pairs; `conflicts` counts keys that came from two partitions."""
        last, conflicts, tombstones, count = {}, set(), 0, 0
        reader = reader and self.registry.parse(reader)
        for message in self.records(topic, "read_committed"):
            key, value = message.key(), message.value()
            if key in last and last[key][0] != message.partition():
                conflicts.add(key)
            last[key] = message.partition(), value
            count, tombstones = count + 1, tombstones + (value is None)
        entries = [[text_or_bytes(key), self.registry.deserialize(value, reader) if decode else text_or_bytes(value)]
                   for key, (_, value) in sorted(last.items(), key=lambda entry: entry[0] or b"") if value is not None]
        return {"entries": entries, "records": count, "tombstones": tombstones, "conflicts": len(conflicts)}

    def close(self):
        for producer in self.producers.values():
            producer.flush(self.timeout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", nargs="?", help="DIR/stack.json of `stack up DIR`")
    parser.add_argument("--bootstrap")
    parser.add_argument("--registry")
    parser.add_argument("--timeout", type=float, default=30, help="seconds after which an operation fails (default 30)")
    options = parser.parse_args()
    if options.stack:
        with open(options.stack) as file:
            described = json.load(file)
        options.bootstrap, options.registry = described["bootstrap"], described["registry"]
    if not options.bootstrap:
        parser.error("a stack.json or --bootstrap is needed")

    program = Program(options.bootstrap, options.registry, options.timeout)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            answer = {"ok": True, **program.run(json.loads(line))}
        except Exception as error:  # the other side decides what it means
            kafka = error.args[0] if error.args and isinstance(error.args[0], KafkaError) else None
            kind = kafka.name() if kafka else type(error).__name__
            answer = {"ok": False, "error": str(error), "kind": kind}
        print(json.dumps(answer), flush=True)
    program.close()


if __name__ == "__main__":
    main()
