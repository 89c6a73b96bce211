"""What both brokers must do alike, asked through aiokafka as this package asks it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.brokers.process import Broker
from tests.brokers import topics

RECORDS = 200
PARTITIONS = 3
COMPACTED = {"cleanup.policy": "compact", "max.compaction.lag.ms": "86400000"}


@pytest.fixture
async def admin(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def topic(admin: AIOKafkaAdminClient) -> str:
    name = f"contract-{secrets.token_hex(4)}"
    await topics.create(admin, name, PARTITIONS, COMPACTED)
    return name


async def produce(broker: Broker, topic: str) -> list[tuple[int, int]]:
    """Send ``RECORDS`` records round the partitions; the (partition, offset) of each."""
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        sent = [
            await producer.send(
                topic, f"value {i}".encode(), key=f"key {i}".encode(), partition=i % PARTITIONS
            )
            for i in range(RECORDS)
        ]
        written = [await future for future in sent]
    return [(record.partition, record.offset) for record in written]


async def read(consumer: AIOKafkaConsumer, count: int) -> dict[tuple[int, int], bytes]:
    """Values by (partition, offset) of the next ``count`` records."""
    found: dict[tuple[int, int], bytes] = {}
    while len(found) < count:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            found |= {(record.partition, record.offset): record.value for record in records}
    return found


def everything(broker: Broker, topic: str, group: str | None = None) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.address,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=2_000,
        heartbeat_interval_ms=500,
    )


async def test_what_is_produced_is_consumed(broker: Broker, topic: str) -> None:
    positions = await produce(broker, topic)
    async with everything(broker, topic) as consumer:
        found = await read(consumer, RECORDS)
    assert found == {position: f"value {i}".encode() for i, position in enumerate(positions)}
    ends = {p: sum(1 for q, _ in positions if q == p) for p in range(PARTITIONS)}
    assert positions == [(i % PARTITIONS, i // PARTITIONS) for i in range(RECORDS)]
    assert {p: 1 + max(o for q, o in found if q == p) for p in range(PARTITIONS)} == ends


async def test_a_group_goes_on_where_it_committed(broker: Broker, topic: str) -> None:
    await produce(broker, topic)
    group = f"group-{secrets.token_hex(4)}"
    halfway = {TopicPartition(topic, p): 30 for p in range(PARTITIONS)}
    async with everything(broker, topic, group) as consumer:
        await read(consumer, RECORDS)
        await consumer.commit(halfway)
    async with everything(broker, topic, group) as consumer:
        rest = await read(consumer, RECORDS - 30 * PARTITIONS)
        assert {tp: await consumer.committed(tp) for tp in halfway} == halfway
    assert min(offset for _, offset in rest) == 30
    assert len(rest) == RECORDS - 30 * PARTITIONS


async def test_topic_settings_can_be_read_back(admin: AIOKafkaAdminClient, topic: str) -> None:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (resource,) = response.resources
    entries = {name: value for name, value, *_ in resource[4]}
    assert entries.items() >= COMPACTED.items()


async def test_the_partitions_of_a_topic_can_be_counted(
    admin: AIOKafkaAdminClient, topic: str
) -> None:
    (description,) = await admin.describe_topics([topic])
    assert len(description["partitions"]) == PARTITIONS


async def test_a_topic_is_not_created_twice(admin: AIOKafkaAdminClient, topic: str) -> None:
    response = await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    assert [code for _, code, *_ in response.topic_errors] == [36]  # TOPIC_ALREADY_EXISTS


@pytest.mark.broker("apache")
async def test_a_topic_is_not_created_by_asking_for_it(admin: AIOKafkaAdminClient) -> None:
    (description,) = await admin.describe_topics(["nobody-created-this"])
    assert description["error_code"] == 3  # UNKNOWN_TOPIC_OR_PARTITION
    assert "nobody-created-this" not in await admin.list_topics()
