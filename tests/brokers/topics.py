"""Topics for the tests of brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def create(
    admin: AIOKafkaAdminClient, name: str, partitions: int, settings: Mapping[str, str]
) -> None:
    """Create a topic and wait until it shows: Kafka acknowledges it a moment before that."""
    topic = NewTopic(name, partitions, 1, topic_configs=dict(settings))
    response = await admin.create_topics([topic])
    assert [code for _, code, *_ in response.topic_errors] == [0]
    while (await admin.describe_topics([name]))[0]["error_code"] != 0:
        await asyncio.sleep(0.01)
