"""What Kafka says of an installation at one moment: brokers, topics, groups, how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    for_code,
)

from streams.agents.gate import Gate
from streams.agents.report import Report
from streams.agents.role import Place
from streams.agents.taste import Taste
from streams.errors import BrokerError
from streams.settings import Kafka
from streams.topics import Topic
from streams.transport.admin import admin_client
from streams.transport.reader import partition_reader
from streams.transport.security import denied

INPUTS: Mapping[str, tuple[Topic, ...]] = {
    "gate": Gate.inputs,
    "taste": Taste.inputs,
    "report": Report.inputs,
}
"""The topics that each role's group reads."""

_LONGEST_S = 30.0
_COORDINATOR_S = 5.0
_POLL_S = 0.2
_UNSETTLED = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


@dataclass(frozen=True, slots=True)
class Partition:
    """Who keeps a partition. ``leader`` is -1 while it has none."""

    leader: int
    replicas: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the cluster has it. ``config`` is None where we may not read it."""

    partitions: Mapping[int, Partition]
    config: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of the oldest record and after the newest."""

    beginning: int
    end: int


@dataclass(frozen=True, slots=True)
class Group:
    """A role's consumer group. ``members`` are the addresses of its workers."""

    state: str
    members: tuple[str, ...]
    committed: Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Survey:
    """One moment. ``spans`` lacks partitions without a leader; ``groups`` is by role; ``hidden``
    are topics that access lists keep from us."""

    brokers: int
    topics: Mapping[str, Found]
    spans: Mapping[Place, Span]
    groups: Mapping[str, Group]
    hidden: frozenset[str] = frozenset()

    def places(self, topic: str) -> list[Place]:
        """The partitions of a topic that have a leader."""
        return sorted(place for place in self.spans if place[0] == topic)

    def lag(self, role: str, place: Place) -> int:
        """Records that a role has not done and Kafka still holds."""
        span = self.spans[place]
        done = max(span.beginning, self.groups[role].committed.get(place, 0))
        return max(0, span.end - done)

    def lags(self, role: str) -> dict[str, int]:
        """`lag` by topic, where there is any."""
        found = {
            topic.name: sum(self.lag(role, place) for place in self.places(topic.name))
            for topic in INPUTS[role]
        }
        return {topic: lag for topic, lag in found.items() if lag > 0}


def group_of(role: str) -> str:
    """Name of a role's consumer group."""
    return f"sottovoce-{role}"


async def survey(
    kafka: Kafka, topics: Iterable[Topic], roles: Iterable[str] = tuple(INPUTS)
) -> Survey:
    """Ask Kafka. Within 30 s.

    Raises:
        BrokerError: it does not answer, or (`AccessError`) refuses us.
    """
    names = [topic.name for topic in topics]
    try:
        async with (
            asyncio.timeout(_LONGEST_S),
            admin_client(kafka) as admin,
            partition_reader(kafka) as reader,
        ):
            cluster = await admin.describe_cluster()
            described = await admin.describe_topics(names) if names else []
            found = await _topics(admin, described)
            # Groups first, so that what comes meanwhile does not put one ahead of the end.
            groups = {role: await _group(admin, role, found) for role in roles}
            spans = await _spans(reader, found)
    except TimeoutError:
        raise BrokerError(
            f"Kafka at {kafka.brokers} did not answer within {_LONGEST_S:.0f} s.",
            "Look at its brokers and their logs; more of them may be down than its topics survive.",
        ) from None
    except KafkaError as error:
        raise denied(error, "to describe topics and groups") or BrokerError(
            f"Kafka cannot say how its topics and groups are: {type(error).__name__}.",
            "Look at its brokers and their logs.",
        ) from error
    denying = TopicAuthorizationFailedError.errno
    hidden = frozenset(each["topic"] for each in described if each["error_code"] == denying)
    return Survey(len(cluster["brokers"]), found, spans, groups, hidden)


async def _topics(admin: AIOKafkaAdminClient, described: list[dict[str, Any]]) -> dict[str, Found]:
    there = [topic for topic in described if not topic["error_code"]]
    configs = await _configs(admin, [topic["topic"] for topic in there])
    return {
        topic["topic"]: Found(
            {
                each["partition"]: Partition(
                    each["leader"], len(each["replicas"]), len(each["isr"])
                )
                for each in topic["partitions"]
            },
            configs.get(topic["topic"]),
        )
        for topic in there
    }


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Settings of each topic that we may see."""
    if not names:
        return {}
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answers = await admin.describe_configs(wanted)
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for code, _, _, name, entries in answer.resources
        if not code
    }


async def _spans(reader: AIOKafkaConsumer, topics: Mapping[str, Found]) -> dict[Place, Span]:
    led = [
        TopicPartition(name, number)
        for name, topic in topics.items()
        for number, partition in topic.partitions.items()
        if partition.leader >= 0
    ]
    if not led:
        return {}
    beginnings = await reader.beginning_offsets(led)
    ends = await reader.end_offsets(led)
    return {(tp.topic, tp.partition): Span(beginnings[tp], ends[tp]) for tp in led}


async def _group(admin: AIOKafkaAdminClient, role: str, topics: Mapping[str, Found]) -> Group:
    name = group_of(role)
    names = {topic.name for topic in INPUTS[role]} & topics.keys()
    # Named, as the embedded broker cannot tell of all.
    places = [TopicPartition(each, number) for each in names for number in topics[each].partitions]
    patience = _COORDINATOR_S
    while True:
        try:
            # One at a time: aiokafka 0.14 takes the answer's version 3 for 2 and misreads the next.
            code, _, state, _, _, members = await _described(admin, name)
            if code:
                raise for_code(code)
            committed = (
                await admin.list_consumer_group_offsets(name, partitions=places) if places else {}
            )
            break
        except _UNSETTLED as error:
            patience -= _POLL_S
            if patience < 0:
                raise BrokerError(
                    f"No broker coordinates the group {name}: {type(error).__name__}.",
                    "The topic __consumer_offsets has partitions without a leader: start the"
                    " brokers that hold them.",
                ) from error
            await asyncio.sleep(_POLL_S)
    offsets = {(tp.topic, tp.partition): each.offset for tp, each in committed.items()}
    return Group(
        state,
        tuple(member[2].lstrip("/") for member in members),
        {place: offset for place, offset in offsets.items() if offset >= 0},
    )


async def _described(admin: AIOKafkaAdminClient, name: str) -> Any:
    (answer,) = await admin.describe_consumer_groups([name])
    (group,) = answer.groups
    return group
