"""Claims on Apache Kafka: who claims last is the only one whose writes are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from streams.brokers.apache import ApacheBroker
from streams.errors import TakenOver
from streams.settings import Kafka
from streams.topics import Topic, Zone
from streams.transport.admin import create_topics
from streams.transport.claims import Claim
from streams.transport.reader import partition_reader, read_span


@asynccontextmanager
async def claimed(broker: ApacheBroker, name: str) -> AsyncIterator[Claim]:
    claim = await Claim.take(
        AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=name)
    )
    try:
        yield claim
    finally:
        await claim.release()


async def topic(broker: ApacheBroker) -> str:
    name = f"claims-{uuid4().hex}"
    await create_topics(Kafka(broker.address), [Topic(name, Zone.RAW, "", "", "")], 1, 1)
    return name


async def values(broker: ApacheBroker, name: str) -> list[bytes | None]:
    async with partition_reader(Kafka(broker.address)) as reader:
        return [value async for batch in read_span(reader, name, 0) for value in batch.values]


async def test_the_next_claim_ends_a_transaction_that_was_open(apache_broker: ApacheBroker) -> None:
    name = await topic(apache_broker)

    async def outlived(zombie: Claim) -> None:
        async with zombie.transaction():
            await zombie.send_records(name, 0, [b"k"], [b"half"])
            async with claimed(apache_broker, name) as successor:
                assert await values(apache_broker, name) == [b"whole"]
                async with successor.transaction():
                    await successor.send_records(name, 0, [b"k"], [b"next"])
            await zombie.send_records(name, 0, [b"k"], [b"late"])

    async with claimed(apache_broker, name) as zombie:
        async with zombie.transaction():
            await zombie.send_records(name, 0, [b"k"], [b"whole"])
        for _ in range(2):
            with pytest.raises(TakenOver):
                await outlived(zombie)
    assert await values(apache_broker, name) == [b"whole", b"next"]


async def test_a_fenced_worker_is_refused_before_anything_of_a_new_transaction_is_there(
    apache_broker: ApacheBroker,
) -> None:
    name = await topic(apache_broker)
    async with claimed(apache_broker, name) as zombie, claimed(apache_broker, name):
        with pytest.raises(TakenOver):
            async with zombie.transaction():
                await zombie.send_records(name, 0, [b"k"], [b"late"])
    assert await values(apache_broker, name) == []


async def test_what_a_failed_transaction_sent_is_not_there_and_the_next_one_is(
    apache_broker: ApacheBroker,
) -> None:
    name = await topic(apache_broker)
    async with claimed(apache_broker, name) as claim:
        with suppress(RuntimeError):
            async with claim.transaction():
                await claim.send_records(name, 0, [b"k"], [b"dropped"])
                raise RuntimeError
        # The log now ends in records that no reader gets: it must not wait for them.
        assert await asyncio.wait_for(values(apache_broker, name), 10) == []
        async with claim.transaction():
            await claim.send_records(name, 0, [b"k"], [b"kept"])
    assert await values(apache_broker, name) == [b"kept"]


async def test_a_commit_goes_on_when_its_worker_is_cancelled(apache_broker: ApacheBroker) -> None:
    name = await topic(apache_broker)
    async with claimed(apache_broker, name) as claim:

        async def write(value: bytes) -> None:
            async with claim.transaction():
                await claim.send_records(name, 0, [b"k"], [value])
                sent.set()

        for number in range(20):
            sent = asyncio.Event()
            writing = asyncio.create_task(write(b"maybe"))
            await sent.wait()
            await asyncio.sleep(number / 2_000)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await write(b"last")
    found = await values(apache_broker, name)
    assert found[-1] == b"last"
    assert set(found[:-1]) <= {b"maybe"}
