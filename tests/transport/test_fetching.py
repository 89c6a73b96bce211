"""Batches as they are fetched from Apache Kafka, transactions of clients among them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.brokers.apache import ApacheBroker
from streams.topics import Topic, Zone
from streams.transport.admin import create_topics
from streams.transport.unpacking import unpacked


async def test_what_a_client_took_back_is_not_fetched(apache_broker: ApacheBroker) -> None:
    name = f"fetched-{uuid4().hex}"
    await create_topics(apache_broker.kafka, [Topic(name, Zone.RAW, "", "", "", 60_000)], 1, 1)
    async with (
        AIOKafkaProducer(
            bootstrap_servers=apache_broker.address, transactional_id=name
        ) as producer,
        AIOKafkaProducer(bootstrap_servers=apache_broker.address) as other,
    ):
        for number in range(6):
            await producer.begin_transaction()
            await producer.send_and_wait(name, b"%d" % number, partition=0)
            await other.send_and_wait(name, b"other %d" % number, partition=0)
            await producer.send_and_wait(name, b"%d again" % number, partition=0)
            await (producer.commit_transaction() if number % 2 else producer.abort_transaction())
    expected = [
        value
        for number in range(6)
        for value in (b"%d" % number, b"other %d" % number, b"%d again" % number)
        if number % 2 or value.startswith(b"other")
    ]
    assert await fetched(apache_broker, name) == expected


async def fetched(broker: ApacheBroker, topic: str) -> list[bytes | None]:
    tp = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.address, isolation_level="read_committed"
    ) as consumer:
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.assign([tp])
        consumer.seek(tp, 0)
        found: list[bytes | None] = []
        while await consumer.position(tp) < end:
            result = consumer._fetcher._records.pop(tp, None)
            if result is None:
                await asyncio.sleep(0.01)
                continue
            while result.has_more():
                found += [record.value for record in unpacked(result, 1, 1_000)]
            consumer._fetcher._notify(consumer._fetcher._wait_consume_future)
        return found
