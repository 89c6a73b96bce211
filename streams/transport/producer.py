"""Sends runs of records to one partition, in order, as whole batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.errors import BrokerError

REQUEST_BYTES = 1024 * 1024
BATCH_BYTES = 900 * 1024


@asynccontextmanager
async def open_producer(brokers: str, *, idempotent: bool) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer outside any worker, for commands.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers,
        acks="all",
        enable_idempotence=idempotent,
        max_batch_size=BATCH_BYTES,
        max_request_size=REQUEST_BYTES,
    )
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise BrokerError(
            f"Kafka at {brokers} does not answer: {type(error).__name__}.",
            "Start it or set SOTTOVOCE_BROKERS.",
        ) from error
    try:
        yield producer
    finally:
        await producer.stop()


async def send_records(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    keys: Iterable[bytes | None],
    values: Iterable[bytes | None],
) -> int:
    """Send records in order and wait until the broker has them.

    Returns:
        The offset after the last one; -1 if there were none.

    Raises:
        BrokerError: the broker did not take them; none, some or all may be in the topic.
    """
    batch = producer.create_batch()
    end = -1
    try:
        for key, value in zip(keys, values, strict=True):
            if batch.append(key=key, value=value, timestamp=None) is None:
                # Each batch is awaited before the next: were a later one written and this one
                # not, a reader that goes by position would skip this one for good.
                end = await _send(producer, batch, topic, partition)
                batch = producer.create_batch()
                if batch.append(key=key, value=value, timestamp=None) is None:
                    raise BrokerError(
                        f"A record for {topic} is larger than {BATCH_BYTES} bytes.",
                        "Send smaller records.",
                    )
        if batch.record_count():
            end = await _send(producer, batch, topic, partition)
    except KafkaError as error:
        raise BrokerError(
            f"Kafka did not take records for {topic}/{partition}: {type(error).__name__}.",
            "`sottovoce doctor` checks the broker and its topics.",
        ) from error
    return end


async def _send(producer: AIOKafkaProducer, batch: Any, topic: str, partition: int) -> int:
    count: int = batch.record_count()
    batch.close()
    metadata = await (await producer.send_batch(batch, topic, partition=partition))
    return int(metadata.offset) + count
