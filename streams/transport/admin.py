"""Creates topics and tells what a cluster has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.errors import BrokerError
from streams.settings import Kafka
from streams.topics import Topic
from streams.transport.security import client_arguments, denied, refusal


@dataclass(frozen=True, slots=True)
class Created:
    """A topic, and whether this call made it."""

    name: str
    new: bool


@asynccontextmanager
async def admin_client(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client.

    Raises:
        BrokerError: the broker cannot be reached, or (`AccessError`) refuses us.
    """
    client = AIOKafkaAdminClient(**client_arguments(kafka))
    try:
        await client.start()
    except KafkaError as error:
        await client.close()
        raise await refusal(kafka, error) from error
    try:
        yield client
    finally:
        await client.close()


async def create_topics(
    kafka: Kafka, topics: Iterable[Topic], partitions: int, replication: int
) -> list[Created]:
    """Create the topics that are missing, with their settings; leave the others alone.

    Raises:
        BrokerError: the broker cannot be reached or refuses one.
    """
    created = []
    async with admin_client(kafka) as client:
        for topic in topics:
            config = topic.config(replication)
            wanted = NewTopic(topic.name, partitions, replication, topic_configs=config)
            try:
                response = await client.create_topics([wanted])
                code = response.topic_errors[0][1]
                if code:
                    raise for_code(code)
                created.append(Created(topic.name, new=True))
            except TopicAlreadyExistsError:
                created.append(Created(topic.name, new=False))
            except KafkaError as error:
                raise denied(error, f"creating {topic.name}") or BrokerError(
                    f"Kafka refuses to create {topic.name}: {type(error).__name__}.",
                    "Check SOTTOVOCE_PARTITIONS, SOTTOVOCE_REPLICATION and the broker's log.",
                ) from error
    return created


async def partition_counts(kafka: Kafka) -> dict[str, int]:
    """Partitions by topic, as the cluster has them."""
    async with admin_client(kafka) as client:
        described = await client.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}
