"""Static members on Apache Kafka: a successor takes over, and who was before gives way."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    UnknownMemberIdError,
)

from streams.brokers.apache import ApacheBroker
from streams.errors import AccessError, TakenOver
from streams.transport.member import InstanceFenced, Member, told
from tests.brokers import topics

LIMIT_S = 20
PARTITIONS = 2


@dataclass
class Joined:
    """A consumer whose coordinator is a `Member`."""

    consumer: AIOKafkaConsumer
    faults: list[KafkaError] = field(default_factory=list)

    @property
    def generation(self) -> int:
        return int(self.consumer._coordinator.generation)


@asynccontextmanager
async def joined(broker: ApacheBroker, topic: str, instance: str | None) -> AsyncIterator[Joined]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.address,
        group_id=f"group-{topic}",
        group_instance_id=instance,
        session_timeout_ms=3_000,
        heartbeat_interval_ms=200,
        enable_auto_commit=False,
    )
    one = Joined(consumer)
    await consumer.start()
    try:
        Member.of(consumer._coordinator, one.faults.append)
        consumer.subscribe([topic])
        await until(lambda: bool(consumer.assignment()))
        yield one
    finally:
        await consumer.stop()


async def until(happens: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not happens():
            await asyncio.sleep(0.02)


async def fresh_topic(broker: ApacheBroker) -> str:
    name = f"members-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await topics.create(admin, name, PARTITIONS, {})
    await admin.close()
    return name


async def test_a_member_that_is_back_has_its_partitions_without_a_rebalance(
    apache_broker: ApacheBroker,
) -> None:
    topic = await fresh_topic(apache_broker)
    async with joined(apache_broker, topic, "b") as stays:
        async with joined(apache_broker, topic, "a") as leaves:
            await until(lambda: len(stays.consumer.assignment()) == 1)
            before, had = stays.generation, leaves.consumer.assignment()
        async with joined(apache_broker, topic, "a") as back:
            assert back.consumer.assignment() == had
            await asyncio.sleep(1)
            assert stays.generation == back.generation == before
            assert stays.faults == back.faults == []


async def test_the_older_of_two_with_one_instance_stops_and_the_newer_stays(
    apache_broker: ApacheBroker,
) -> None:
    topic = await fresh_topic(apache_broker)
    async with (
        joined(apache_broker, topic, "a") as older,
        joined(apache_broker, topic, "a") as newer,
    ):
        await until(lambda: bool(older.faults))
        assert isinstance(older.faults[0], InstanceFenced)
        await asyncio.sleep(1)
        assert newer.faults == []
        assert len(newer.consumer.assignment()) == PARTITIONS
        await newer.consumer.commit({TopicPartition(topic, 0): 0})


async def test_a_member_whose_session_ran_out_joins_again_if_nobody_has_its_place(
    apache_broker: ApacheBroker,
) -> None:
    topic = await fresh_topic(apache_broker)
    async with joined(apache_broker, topic, "a") as one:
        before = one.generation
        one.consumer._coordinator._heartbeat_interval_ms = 6_000
        await one.consumer._coordinator._stop_heartbeat_task()
        await asyncio.sleep(4.5)  # the session is over, and the group has forgotten it
        one.consumer._coordinator._heartbeat_interval_ms = 200
        one.consumer._coordinator.request_rejoin()
        await until(lambda: one.generation > before and bool(one.consumer.assignment()))
        assert one.faults == []


async def test_what_the_group_refuses_is_heard_though_nobody_fetches(
    apache_broker: ApacheBroker,
) -> None:
    topic = await fresh_topic(apache_broker)
    async with joined(apache_broker, topic, None) as one:

        async def refuse() -> bool:
            raise GroupAuthorizationFailedError(topic)

        one.consumer._coordinator._do_heartbeat = refuse
        await until(lambda: bool(one.faults))
        assert isinstance(one.faults[0], GroupAuthorizationFailedError)


async def test_a_coordination_that_ends_is_heard(apache_broker: ApacheBroker) -> None:
    topic = await fresh_topic(apache_broker)
    async with joined(apache_broker, topic, None) as one:

        async def fail(*_: object) -> Awaitable[None]:
            raise RuntimeError

        one.consumer._coordinator.ensure_active_group = fail
        one.consumer._coordinator.request_rejoin()
        await until(lambda: bool(one.faults))
        one.consumer._coordinator._coordination_task = asyncio.get_running_loop().create_future()
        one.consumer._coordinator._coordination_task.set_result(None)  # else stopping raises it


def test_an_operator_is_told_what_to_do() -> None:
    assert isinstance(told(InstanceFenced()), TakenOver)
    assert "SOTTOVOCE_INSTANCE" in str(told(InstanceFenced()))
    assert isinstance(told(GroupAuthorizationFailedError("group")), AccessError)
    assert "UNKNOWN_MEMBER_ID" in str(told(UnknownMemberIdError()))
    assert "KafkaError" in str(told(KafkaError()))
