"""Sends runs of records as whole batches: in order to one partition, or each by its key."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.partitioner import DefaultPartitioner

from streams.errors import BrokerError, TakenOver
from streams.rows import Column, array_of
from streams.settings import Kafka
from streams.transport.layout import LaidOut, runs
from streams.transport.security import allowed, client_arguments, denied, refusal

REQUEST_BYTES = 1024 * 1024
BATCH_BYTES = 900 * 1024


@asynccontextmanager
async def open_producer(kafka: Kafka, *, idempotent: bool) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer outside any worker, for commands.

    Raises:
        BrokerError: the broker cannot be reached, or (`AccessError`) refuses us.
    """
    producer = AIOKafkaProducer(
        **client_arguments(kafka),
        acks="all",
        enable_idempotence=idempotent,
        max_batch_size=BATCH_BYTES,
        max_request_size=REQUEST_BYTES,
    )
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        raise await refusal(kafka, error) from error
    try:
        yield producer
    finally:
        await producer.stop()


async def send_records(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    keys: Column,
    values: Column,
) -> int:
    """Send records in order and wait until the broker has them.

    Returns:
        The offset after the last one; -1 if there were none.

    Raises:
        TakenOver: the producer's transactional id has a new owner.
        BrokerError: the broker did not take them; none, some or all may be in the topic.
    """
    now_ms = int(time.time() * 1_000)
    transactions = producer._txn_manager
    transactional = transactions is not None and transactions.transactional_id is not None
    end = -1
    try:
        for run in runs(array_of(keys), array_of(values), BATCH_BYTES):
            batch = LaidOut(run, now_ms, transactional=transactional)
            # Each batch is awaited before the next: were a later one written and this one not, a
            # reader that goes by position would skip this one for good.
            metadata = await (await producer.send_batch(batch, topic, partition=partition))
            end = int(metadata.offset) + run.count
    except KafkaError as error:
        raise refused(error, f"records for {topic}/{partition}") from error
    return end


def refused(error: KafkaError, what: str) -> BrokerError:
    """What to say when Kafka did not take ``what``."""
    if isinstance(error, ProducerFenced | InvalidProducerEpoch):
        return TakenOver(
            f"Kafka refuses {what}: another worker has taken over.",
            "Start this one again. It was silent for longer than SOTTOVOCE_SESSION_TIMEOUT_S, or"
            " two installations share one Kafka.",
        )
    return denied(error, what) or BrokerError(
        f"Kafka did not take {what}: {type(error).__name__}.",
        "`sottovoce doctor` checks the broker and its topics.",
    )


async def send_keyed(
    producer: AIOKafkaProducer, topic: str, records: Iterable[tuple[bytes, bytes]]
) -> None:
    """Send keys with values, each to the partition where any client's partitioner puts its key, in
    order there.

    Raises:
        BrokerError: the topic is missing, or the broker does not take them.
    """
    partitions = await partitions_of(producer, topic)
    choose = DefaultPartitioner()
    runs: dict[int, tuple[list[bytes], list[bytes]]] = {}
    for key, value in records:
        keys, values = runs.setdefault(choose(key, partitions, partitions), ([], []))
        keys.append(key)
        values.append(value)
    for partition, (keys, values) in runs.items():
        await send_records(producer, topic, partition, keys, values)


async def partitions_of(producer: AIOKafkaProducer, topic: str) -> list[int]:
    """Partitions of a topic, ascending.

    Raises:
        BrokerError: there is no such topic.
    """
    with allowed(topic):
        partitions = await producer.partitions_for(topic)
    if not partitions:
        raise BrokerError(f"Topic {topic} does not exist.", "`sottovoce topics create` makes it.")
    return sorted(partitions)
