"""One secured Apache Kafka with the topics and the access lists of `deploy/kafka/acls.sh`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.app import access
from streams.privacy import policy
from streams.settings import load
from streams.transport.admin import create_topics
from tests.access import granting
from tests.access.secured import SecuredBroker

PARTITIONS = 2


@pytest.fixture(scope="session")
def secured(kafka_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """The broker; a user by the name ``stranger`` has no rights at all."""
    rules = policy.load(load().policy)
    users = tuple(user.name for user in access.users(rules))
    keys = tmp_path_factory.mktemp("keys")

    async def prepare() -> None:
        await create_topics(broker.kafka, policy.topics(rules), PARTITIONS, 1)
        await granting.grant(broker.kafka, granting.rules(granting.asked(keys)))

    with SecuredBroker(kafka_cache, keys, (*users, "stranger")) as broker:
        asyncio.run(prepare())
        yield broker
