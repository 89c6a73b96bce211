"""Spans of a partition on real brokers."""

from __future__ import annotations

import asyncio
import secrets
from itertools import pairwise

import pytest
from aiokafka import TopicPartition

from streams.brokers.process import Broker
from streams.errors import BrokerError
from streams.settings import Kafka
from streams.topics import Topic, Zone
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import end_offsets, partition_reader, read_span

RECORDS = [f"record {number}".encode() for number in range(2_500)]


async def written(broker: Broker) -> str:
    """A topic of two partitions; the first holds the records, in three runs."""
    name = f"span-{secrets.token_hex(4)}"
    await create_topics(broker.kafka, [Topic(name, Zone.RAW, "", "", "", 1_000_000)], 2, 1)
    async with open_producer(broker.kafka, idempotent=False) as producer:
        for run in (RECORDS[:1_000], RECORDS[1_000:1_001], RECORDS[1_001:]):
            await send_records(producer, name, 0, [None] * len(run), run)
    return name


async def read(broker: Broker, name: str, start: int = 0, end: int | None = None) -> list[bytes]:
    async with partition_reader(broker.kafka) as reader:
        batches = [batch async for batch in read_span(reader, name, 0, start, end)]
    assert all(one.next_offset <= two.first_offset for one, two in pairwise(batches))
    return [value for batch in batches for value in batch.values if value is not None]


async def test_reads_everything_though_the_reported_end_may_lag(broker: Broker) -> None:
    assert await read(broker, await written(broker)) == RECORDS


@pytest.mark.parametrize(("start", "end"), [(0, 10), (990, 1_010), (1_000, 1_001), (5, 5)])
async def test_reads_exactly_the_span(broker: Broker, start: int, end: int) -> None:
    assert await read(broker, await written(broker), start, end) == RECORDS[start:end]


async def test_who_names_no_partition_gets_all(broker: Broker) -> None:
    name = await written(broker)
    partitions = [TopicPartition(name, number) for number in (0, 1)]
    async with partition_reader(broker.kafka) as reader:
        reader.assign(partitions)
        await reader.seek_to_beginning(*partitions)
        values: list[bytes] = []
        async with asyncio.timeout(10):
            while len(values) < len(RECORDS):
                for records in (await reader.getmany(timeout_ms=500)).values():
                    values += [record.value for record in records]
    assert values == RECORDS


@pytest.mark.broker("apache")  # the embedded one makes a topic when it is asked for
async def test_ends_of_a_missing_topic_are_empty(broker: Broker) -> None:
    async with partition_reader(broker.kafka) as reader:
        assert await end_offsets(reader, "no-such-topic") == {}


async def test_no_broker_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(BrokerError, match="SOTTOVOCE_BROKERS"):
        async with partition_reader(Kafka("127.0.0.1:1")):
            pass
