"""The cluster of three: what is acknowledged outlives any node, and leaders can be moved."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from tests.brokers.cluster import LIMIT_S, Cluster

GROUP = "listeners"


async def committed(address: str) -> int:
    """What the group committed, as soon as its coordinator knows."""
    async with (
        asyncio.timeout(LIMIT_S),
        AIOKafkaConsumer(
            bootstrap_servers=address, group_id=GROUP, enable_auto_commit=False
        ) as consumer,
    ):
        while (offset := await consumer.committed(TopicPartition("kept", 0))) is None:
            await asyncio.sleep(0.2)
        return int(offset)


@pytest.mark.slow
async def test_acknowledged_records_and_offsets_outlive_a_killed_node(kafka_cache: Path) -> None:
    async with Cluster(kafka_cache) as cluster:
        async with cluster.admin() as admin:
            await admin.create_topics([NewTopic("kept", 1, 3)])
        await cluster.healed(["kept"])
        async with AIOKafkaProducer(bootstrap_servers=cluster.address, acks="all") as producer:
            await producer.send_and_wait("kept", b"before", partition=0)
            async with AIOKafkaConsumer(
                bootstrap_servers=cluster.address, group_id=GROUP, enable_auto_commit=False
            ) as consumer:
                consumer.assign([TopicPartition("kept", 0)])
                await consumer.commit({TopicPartition("kept", 0): 1})
            await cluster.healed(["kept", "__consumer_offsets"])
            coordinator = await cluster.coordinator_of(GROUP)
            await cluster.move_leader("kept", 0, coordinator)

            await cluster.kill(coordinator)

            assert coordinator not in cluster.running
            await producer.send_and_wait("kept", b"without it", partition=0)
            assert await cluster.coordinator_of(GROUP) != coordinator
            assert await cluster.leader_of("kept", 0) != coordinator
            assert await committed(cluster.address) == 1

            await cluster.restart(coordinator)
            await cluster.healed(["kept"])

        async with AIOKafkaConsumer(
            "kept", bootstrap_servers=cluster.address, auto_offset_reset="earliest"
        ) as consumer:
            assert [(await consumer.getone()).value for _ in range(2)] == [b"before", b"without it"]
