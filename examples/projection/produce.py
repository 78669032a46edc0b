#!/usr/bin/env python3
"""Fills the topic `customers` with Avro records: python3 produce.py BOOTSTRAP REGISTRY [COUNT]

    python3 -m venv venv && venv/bin/pip install 'confluent-kafka[avro]'
    venv/bin/python produce.py localhost:9092 http://localhost:8081/apis/ccompat/v7

Every third customer is updated, every tenth deleted.
"""

import sys
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "customers"
SCHEMA = """
{"type": "record", "name": "Customer", "fields": [
    {"name": "accountId", "type": "string"},
    {"name": "name", "type": "string"},
    {"name": "phone", "type": ["null", "string"], "default": null},
    {"name": "address", "type": {"type": "record", "name": "Address", "fields": [
        {"name": "city", "type": "string"}, {"name": "zip", "type": "string"}]}},
    {"name": "updatedAt", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
"""


def customer(number, name):
    address = {"city": ["Berlin", "Lyon", "Oslo"][number % 3], "zip": f"{10000 + number}"}
    phone = f"+49 30 {number:06}" if number % 2 else None
    return {
        "accountId": str(number),
        "name": name,
        "phone": phone,
        "address": address,
        "updatedAt": int(time.time() * 1000),
    }


def main():
    bootstrap, registry = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic(TOPIC, num_partitions=4, replication_factor=1, config={"cleanup.policy": "compact"})
    try:
        admin.create_topics([topic])[TOPIC].result()
    except Exception as error:  # it is there already
        print(error)
    serialize = AvroSerializer(SchemaRegistryClient({"url": registry}), SCHEMA)
    context = SerializationContext(TOPIC, MessageField.VALUE)
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})

    def send(number, name):
        value = serialize(customer(number, name), context) if name else None
        producer.produce(TOPIC, key=str(number), value=value)
        producer.poll(0)

    for number in range(count):
        send(number, f"Customer {number}")
    for number in range(0, count, 3):
        send(number, f"Customer {number}, moved")
    for number in range(0, count, 10):
        send(number, None)
    producer.flush()
    print(f"{count} customers, {len(range(0, count, 3))} updates, {len(range(0, count, 10))} deletions")


if __name__ == "__main__":
    main()
