"""Reads a span of a partition outside any consumer group: changelogs, look-backs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.errors import BrokerError
from streams.transport.batch import RecordBatch

_FETCH_BYTES = 4 * 1024 * 1024
_FETCH_WAIT_MS = 20
"""A broker answers one connection in order, so whoever asks for offsets waits for a fetch."""


@asynccontextmanager
async def partition_reader(brokers: str, **security: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without a group.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        **security,
    )
    try:
        await consumer.start()
    except KafkaError as error:
        await consumer.stop()
        raise BrokerError(
            f"Kafka at {brokers} does not answer: {type(error).__name__}.",
            "Start it or set SOTTOVOCE_BROKERS.",
        ) from error
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_span(
    consumer: AIOKafkaConsumer, topic: str, partition: int, start: int = 0, end: int | None = None
) -> AsyncIterator[RecordBatch]:
    """Batches of ``[start, end)``; ``end`` None is the end of the partition when the call begins.

    Retention may have removed the head of the span; what is left is read. The end that a broker
    reports can lie inside the last batch written (the embedded one's does), so without ``end`` that
    batch is read whole.
    """
    tp = TopicPartition(topic, partition)
    beginning = (await consumer.beginning_offsets([tp]))[tp]
    stop = (await consumer.end_offsets([tp]))[tp] if end is None else end
    position = max(start, beginning)
    if position >= stop:
        return
    consumer.assign([tp])
    try:
        consumer.seek(tp, position)
        while position < stop:
            records = (await consumer.getmany(tp, timeout_ms=1_000)).get(tp, [])
            position = await consumer.position(tp)
            wanted = [record for record in records if end is None or record.offset < end]
            if wanted:
                yield RecordBatch.of(topic, partition, wanted)
    finally:
        consumer.unsubscribe()  # else it goes on fetching


async def end_offsets(consumer: AIOKafkaConsumer, topic: str) -> Mapping[int, int]:
    """End of each partition of ``topic``; empty if there is no such topic."""
    partitions = consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
    ends = await consumer.end_offsets([TopicPartition(topic, number) for number in partitions])
    return {tp.partition: offset for tp, offset in sorted(ends.items())}


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.add_topic(topic)
    return consumer.partitions_for_topic(topic) or set()
