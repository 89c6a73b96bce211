"""The peer written by hand with aiokafka: `getmany`, fastavro, dicts, no framework."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.bench.peers.job import Job, Memory, Meter, arguments

GUARANTEE = "at least once, state in memory only"
FETCH_BYTES = 4 * 2**20
BATCH_BYTES = 256 * 2**10
POLL_MS = 200


async def run(job: Job) -> None:
    """Until everything is folded, sent and committed."""
    consumer = AIOKafkaConsumer(
        job.input,
        bootstrap_servers=job.brokers,
        group_id=job.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=job.brokers, acks="all", linger_ms=5, max_batch_size=BATCH_BYTES
    )
    async with consumer, producer:
        await drain(job, consumer, producer)


async def drain(job: Job, consumer: Any, producer: Any) -> None:
    """Fold everything; profiles go out when they are due."""
    meter, memory = Meter(job), Memory()
    due = time.monotonic() + job.emit_every_s
    while memory.folded < job.events:
        fetched = await consumer.getmany(timeout_ms=POLL_MS)
        if fetched:
            meter.begin()
        for records in fetched.values():
            for record in records:
                memory.add(record.value)
        if time.monotonic() >= due:
            await send(producer, job.profiles, memory.take_changed())
            await consumer.commit()
            due = time.monotonic() + job.emit_every_s
    await send(producer, job.profiles, memory.take_changed())
    await send(producer, job.cells, memory.cells.items())
    await consumer.commit()
    meter.write(GUARANTEE)


async def send(producer: Any, topic: str, records: Iterable[tuple[str, Any]]) -> None:
    """Send keys with values as JSON and wait until the broker has them."""
    pending = [
        await producer.send(topic, key=key.encode(), value=orjson.dumps(value))
        for key, value in records
    ]
    await asyncio.gather(*pending)


if __name__ == "__main__":
    asyncio.run(run(arguments()))
