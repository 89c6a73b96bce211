"""What clients pack, with whatever codec the broker knows, is there unpacked or refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from streams.brokers.apache import ApacheBroker
from streams.topics import PLAYS
from streams.transport.admin import create_topics
from streams.transport.reader import partition_reader, read_span

HUGE = 50_000_000


async def test_a_packed_batch_is_read_and_one_that_unpacks_to_a_huge_one_is_refused(
    apache_broker: ApacheBroker,
) -> None:
    topic = replace(PLAYS, name=f"plays-{uuid4().hex}")
    await create_topics(apache_broker.kafka, [topic], 1, 1)
    async with AIOKafkaProducer(
        bootstrap_servers=apache_broker.address,
        compression_type="gzip",
        max_batch_size=2 * HUGE,
        max_request_size=2 * HUGE,
    ) as producer:
        await producer.send_and_wait(topic.name, b"small", partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic.name, bytes(HUGE), partition=0)
    async with partition_reader(apache_broker.kafka) as reader:
        batches = [batch async for batch in read_span(reader, topic.name, 0)]
    assert [value for batch in batches for value in batch.values] == [b"small"]
