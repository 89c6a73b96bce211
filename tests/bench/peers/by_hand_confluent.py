"""The peer written by hand with confluent-kafka: `consume`, fastavro, dicts, no framework."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer

from tests.bench.peers.job import Job, Memory, Meter, arguments

GUARANTEE = "at least once, state in memory only"
BATCH = 10_000
POLL_S = 0.2
QUEUE = 1_000_000


def run(job: Job) -> None:
    """Until everything is folded, sent and committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": job.brokers,
            "group.id": job.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([job.input])
    producer = open_producer(job)
    drain(job, consumer, producer)
    consumer.close()


def open_producer(job: Job) -> Producer:
    """One that waits for all replicas and fails when a record is not taken."""
    return Producer(
        {
            "bootstrap.servers": job.brokers,
            "acks": "all",
            "linger.ms": 5,
            "queue.buffering.max.messages": QUEUE,
            "on_delivery": taken,
        }
    )


def taken(error: Any, _: Any) -> None:
    """Raise out of `flush` what kept a record from being written."""
    if error is not None:
        raise KafkaException(error)


def drain(job: Job, consumer: Consumer, producer: Producer) -> None:
    """Fold everything; profiles go out when they are due."""
    meter, memory = Meter(job), Memory()
    due = time.monotonic() + job.emit_every_s
    while memory.folded < job.events:
        records = consumer.consume(BATCH, POLL_S)
        if records:
            meter.begin()
        for record in records:
            if record.error() is not None:
                raise KafkaException(record.error())
            memory.add(record.value())
        if time.monotonic() >= due:
            send(producer, job.profiles, memory.take_changed())
            consumer.commit(asynchronous=False)
            due = time.monotonic() + job.emit_every_s
    send(producer, job.profiles, memory.take_changed())
    send(producer, job.cells, memory.cells.items())
    consumer.commit(asynchronous=False)
    meter.write(GUARANTEE)


def send(producer: Producer, topic: str, records: Iterable[tuple[str, Any]]) -> None:
    """Send keys with values as JSON and wait until the broker has them."""
    for key, value in records:
        while True:
            try:
                producer.produce(topic, key=key, value=orjson.dumps(value))
                break
            except BufferError:
                producer.poll(POLL_S)
    producer.flush()


if __name__ == "__main__":
    run(arguments())
