"""Creates topics and tells what a cluster has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.errors import BrokerError
from streams.topics import Topic


@dataclass(frozen=True, slots=True)
class Created:
    """A topic, and whether this call made it."""

    name: str
    new: bool


@asynccontextmanager
async def admin_client(brokers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    client = AIOKafkaAdminClient(bootstrap_servers=brokers)
    try:
        await client.start()
    except KafkaError as error:
        await client.close()
        raise BrokerError(
            f"Kafka at {brokers} does not answer: {type(error).__name__}.",
            "Start it (`sottovoce broker` runs one for trying out) or set SOTTOVOCE_BROKERS.",
        ) from error
    try:
        yield client
    finally:
        await client.close()


async def create_topics(
    brokers: str, topics: Iterable[Topic], partitions: int, replication: int
) -> list[Created]:
    """Create the topics that are missing, with their settings; leave the others alone.

    Raises:
        BrokerError: the broker cannot be reached or refuses one.
    """
    created = []
    async with admin_client(brokers) as client:
        for topic in topics:
            wanted = NewTopic(topic.name, partitions, replication, topic_configs=topic.config())
            try:
                response = await client.create_topics([wanted])
                code = response.topic_errors[0][1]
                if code:
                    raise for_code(code)
                created.append(Created(topic.name, new=True))
            except TopicAlreadyExistsError:
                created.append(Created(topic.name, new=False))
            except KafkaError as error:
                raise BrokerError(
                    f"Kafka refuses to create {topic.name}: {type(error).__name__}.",
                    "Check SOTTOVOCE_PARTITIONS, SOTTOVOCE_REPLICATION and the broker's log.",
                ) from error
    return created


async def partition_counts(brokers: str) -> dict[str, int]:
    """Partitions by topic, as the cluster has them."""
    async with admin_client(brokers) as client:
        described = await client.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}
