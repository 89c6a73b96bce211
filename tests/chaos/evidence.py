"""What a run left behind: topics, changelog, warehouse, release and positions, as they stand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.agents.codecs import Codecs
from streams.agents.gate import Gate
from streams.agents.report import Report
from streams.agents.taste import Taste
from streams.settings import Settings
from streams.taste.state import Bounds, TasteState
from streams.topics import (
    ANALYTICS_LISTENS,
    LISTENS,
    PLAYS,
    PRIVACY_RECEIPTS,
    PROFILES,
    REJECTED,
    TASTE_STATE,
)
from tests.warehouse import released
from tests.warehouse.recount import Marts

Position = tuple[int, int]
"""Partition and offset."""
INPUTS = {
    f"sottovoce-{name}": tuple(topic.name for topic in role.inputs)
    for name, role in (("gate", Gate), ("taste", Taste), ("report", Report))
}
"""Topics that each consumer group reads."""
POSITIONS_KEY = b"@positions"
_FEW = 16
"""Records by which a group may seem behind: markers of transactions, which nobody takes."""


class Record(NamedTuple):
    """A record of a topic, committed."""

    at: Position
    key: bytes | None
    value: bytes | None


class Written(NamedTuple):
    """A record of ``listens``: where it stands, and the play it came of."""

    at: Position
    source: Position


class Reached(NamedTuple):
    """How far a role is in a partition: next offset, highest play by partition of plays."""

    next_offset: int
    highest: dict[int, int]


@dataclass
class Evidence:
    """Everything the verdict is made from.

    Attributes:
        plays: key of each record of ``plays``.
        listens: records of each topic of listens.
        rejected: reason of each record of ``plays`` that was rejected.
        profiles: newest profile of each listener.
        restored: profile of each listener as the state says that the changelog restores.
        states: key and included offset of each record of the changelog, in order.
        taste: positions of taste by partition, as its changelog has them.
        warehouse: positions of report by partition, as the warehouse has them.
        facts: sums by fact table and key.
        counters: records by what the warehouse says became of them.
        marts: rows of the release.
        receipts: identifiers of the requests that have one.
        behind: what groups have not taken of their topics.
    """

    plays: dict[Position, bytes]
    listens: dict[str, list[Written]]
    rejected: dict[Position, str]
    profiles: dict[str, dict[str, Any]]
    restored: dict[str, dict[str, Any]]
    states: list[tuple[int, bytes, int | None]]
    taste: dict[int, Reached]
    warehouse: dict[int, Reached]
    facts: dict[str, dict[tuple[Any, ...], dict[str, int]]]
    counters: dict[str, int]
    marts: Marts
    receipts: set[str]
    behind: list[str]


async def gather(settings: Settings, codecs: Codecs, brokers: str) -> Evidence:
    """Read everything. The workers must be gone: the warehouse is opened."""
    states = await read(brokers, TASTE_STATE.name)
    profiles = newest(await read(brokers, PROFILES.name))
    facts, counters, warehouse = _warehouse(settings)
    restored, taste = await _restored(settings, codecs, states)
    return Evidence(
        plays={record.at: record.key or b"" for record in await read(brokers, PLAYS.name)},
        listens={
            topic.name: await _listens(codecs, await read(brokers, topic.name))
            for topic in (LISTENS, ANALYTICS_LISTENS)
        },
        rejected=await _rejected(codecs, await read(brokers, REJECTED.name)),
        profiles=dict(
            zip(
                (key.decode() for key in profiles),
                await codecs.decode_records(list(profiles.values())),
                strict=True,
            )
        ),
        restored=restored,
        states=await _offsets(codecs, states),
        taste=taste,
        warehouse=warehouse,
        facts=facts,
        counters=counters,
        marts=released.read(settings.released),
        receipts={
            (record.key or b"").decode() for record in await read(brokers, PRIVACY_RECEIPTS.name)
        },
        behind=await behind(brokers),
    )


def newest(records: Iterable[Record]) -> dict[bytes, bytes]:
    """The last value of each key that is not deleted."""
    found: dict[bytes, bytes] = {}
    for record in records:
        assert record.key is not None
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record.value
    return found


async def read(brokers: str, topic: str) -> list[Record]:
    """All committed records of a topic, partition by partition in order."""
    async with reader(brokers) as consumer:
        tps = await _partitions(consumer, topic)
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        found: dict[TopicPartition, list[Record]] = {tp: [] for tp in tps}
        while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp] += (Record((tp.partition, r.offset), r.key, r.value) for r in records)
        return [record for tp in tps for record in found[tp]]


@asynccontextmanager
async def reader(brokers: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of committed records without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def behind(brokers: str) -> list[str]:
    """Where a group has not committed all there is, with how many records are left."""
    found = []
    async with reader(brokers) as consumer:
        admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        await admin.start()
        try:
            for group, topics in INPUTS.items():
                committed = await admin.list_consumer_group_offsets(group)
                for topic in topics:
                    tps = await _partitions(consumer, topic)
                    for tp, end in (await consumer.end_offsets(tps)).items():
                        at = committed[tp].offset if tp in committed else 0
                        left = end - max(at, 0)
                        if left > _FEW or (left > 0 and await _holds(consumer, tp, at, end)):
                            found.append(f"{group}: {left} of {topic}/{tp.partition}")
        finally:
            await admin.close()
    return found


async def _holds(consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int) -> bool:
    """Whether there is a record in that span, and not only markers."""
    consumer.assign([tp])
    consumer.seek(tp, max(start, 0))
    try:
        while await consumer.position(tp) < end:
            if await consumer.getmany(timeout_ms=200):
                return True
        return False
    finally:
        consumer.unsubscribe()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    await consumer._client.add_topic(topic)
    numbers = sorted(consumer.partitions_for_topic(topic) or ())
    return [TopicPartition(topic, number) for number in numbers]


async def _listens(codecs: Codecs, records: Sequence[Record]) -> list[Written]:
    values = [record.value for record in records if record.value is not None]
    if not values:
        return []
    columns = await codecs.decode(values, ("source_partition", "source_offset"))
    return [
        Written(record.at, source)
        for record, source in zip(records, columns.iter_rows(), strict=True)
    ]


async def _rejected(codecs: Codecs, records: Sequence[Record]) -> dict[Position, str]:
    values = [record.value for record in records if record.value is not None]
    if not values:
        return {}
    rows = await codecs.decode(values, ("topic", "partition", "offset", "reason"))
    return {
        (partition, offset): reason
        for topic, partition, offset, reason in rows.iter_rows()
        if topic == PLAYS.name
    }


async def _offsets(
    codecs: Codecs, records: Sequence[Record]
) -> list[tuple[int, bytes, int | None]]:
    values = [record.value for record in records if record.value is not None]
    if not values:
        return []
    offsets = iter((await codecs.decode(values, ("listens_offset",)))["listens_offset"].to_list())
    return [
        (record.at[0], record.key or b"", None if record.value is None else next(offsets))
        for record in records
    ]


async def _restored(
    settings: Settings, codecs: Codecs, records: Sequence[Record]
) -> tuple[dict[str, dict[str, Any]], dict[int, Reached]]:
    """Profiles that the changelog alone gives, and the positions in it."""
    profiles: dict[str, dict[str, Any]] = {}
    positions: dict[int, Reached] = {}
    for number in range(settings.partitions):
        held = newest(record for record in records if record.at[0] == number)
        stored = held.pop(POSITIONS_KEY, None)
        if stored is not None:
            (row,) = await codecs.decode_records([stored])
            highest = json.loads(row["body"])["highest"]
            positions[number] = Reached(
                row["listens_offset"] + 1, {int(key): value for key, value in highest.items()}
            )
        if held:
            state = TasteState(Bounds(settings.top_artists, settings.top_genres))
            names = [key.decode() for key in held]
            bodies = (await codecs.decode(list(held.values()), ("body",)))["body"].to_list()
            state.load_many(names, bodies)
            profiles |= zip(names, state.profiles(names, settings.profile_items), strict=True)
    return profiles, positions


def _warehouse(
    settings: Settings,
) -> tuple[dict[str, dict[tuple[Any, ...], dict[str, int]]], dict[str, int], dict[int, Reached]]:
    from streams.warehouse.store import Warehouse

    with Warehouse(settings.warehouse, settings.sql) as opened:
        facts: Any = released.added_up(opened)
        positions = opened.positions()
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        counters = dict(
            connection.execute("SELECT counter, sum(records)::BIGINT FROM counters GROUP BY ALL")
            .fetchall()
        )  # fmt: skip
    reached = {
        number: Reached(offset, dict(positions.highest.get(number, {})))
        for number, offset in positions.next_offset.items()
    }
    return facts, counters, reached
