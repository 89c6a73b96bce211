"""``python -m tests.bench.stages``: CPU time of each role by stage, without Kafka and Faust.

Batches as one fetch brings them go through a role in this process: unpacked from Kafka's format,
worked on, laid out as record batches again. A stage is what one function takes less the stages
within it; all threads count. What is missing to the figures of `tests.bench.run` is the network,
the event loop, Faust, and that worker and broker share the caches of a core.

A program, not a test: compare shares within a run, not times between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from aiokafka import TopicPartition
from aiokafka.record.memory_records import MemoryRecords
from rich.console import Console
from rich.table import Table

from streams.agents.catalogue import Catalogue
from streams.agents.intake import Intake
from streams.agents.role import Role
from streams.app import roles
from streams.app.roles import codecs_of
from streams.app.worker import collecting_seldom
from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.encode import ColumnEncoder
from streams.avro.nested import NestedEncoder
from streams.privacy import keys
from streams.privacy.boundary import Boundary
from streams.privacy.permission import Permissions
from streams.privacy.plan import Plan
from streams.rows import Column, array_of, listed
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.taste import codec, profile
from streams.taste.state import TasteState
from streams.topics import ANALYTICS_LISTENS, CATALOGUE, CONSENT, LISTENS, PLAYS, Topic
from streams.transport import layout
from streams.transport.batch import RecordBatch
from streams.transport.layout import LaidOut, runs
from streams.warehouse.store import Warehouse
from tests.agents.kafka import MemoryKafka
from tests.load.clock import Clock

PARTITIONS = 4
CLIENT_RECORDS = 1_000
"""In a batch that a client sent."""
Stage = tuple[Any, str, str]
"""Owner of a function, its name, what it is called in the table."""
STAGES: Mapping[str, Sequence[Stage]] = {
    "gate": (
        (wire, "split", "split"),
        (ColumnDecoder, "decode", "decode"),
        (Boundary, "_reject_unfit", "rules"),
        (Permissions, "masks", "consent"),
        (Boundary, "cross", "subjects, rest of the crossing"),
        (Plan, "treat", "treat, pseudonymize"),
        (Catalogue, "fill", "catalogue"),
        (ColumnEncoder, "column", "encode"),
    ),
    "taste": (
        (ColumnDecoder, "decode", "decode"),
        (Intake, "admit", "repeats"),
        (TasteState, "fold", "fold"),
        (TasteState, "checkpoint", "merge, prune"),
        (profile, "table", "profiles"),
        (NestedEncoder, "column", "encode profiles"),
        (codec, "encode", "states"),
        (ColumnEncoder, "column", "encode"),
    ),
    "report": (
        (ColumnDecoder, "decode", "decode"),
        (Intake, "admit", "repeats"),
        (Warehouse, "append", "insert"),
    ),
}
PRODUCE: Sequence[Stage] = (
    (layout, "_run", "lay out"),
    (layout, "_short_run", "lay out"),
    (LaidOut, "_build", "lay out"),
)
FETCH, OTHER, HARNESS = "unpack", "other", "not the role's"


class Sink(MemoryKafka):
    """Lays out what is sent, as the producer does, and keeps it for the next role."""

    def __init__(self, watch: Clock) -> None:
        super().__init__(PARTITIONS)
        self._watch = watch

    async def send_records(self, topic: str, partition: int, keys: Column, values: Column) -> int:
        """As the worker's sender."""
        for run in runs(array_of(keys), array_of(values), 900 * 1024):
            LaidOut(run, 0, transactional=False)._build()
        with self._watch.stage(HARNESS):
            return await super().send_records(topic, partition, listed(keys), listed(values))

    async def getmany(self, tp: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        """Everything at once."""
        with self._watch.stage(HARNESS):
            records = self._log[tp][self._position[tp] :]
            self._position[tp] += len(records)
            return {tp: records}


def fetched(values: Sequence[bytes | None]) -> list[bytes]:
    """Batches as a client sends them."""
    return [
        LaidOut(run, 0, transactional=False)._build()
        for at in range(0, len(values), CLIENT_RECORDS)
        for part in [values[at : at + CLIENT_RECORDS]]
        for run in runs(pa.nulls(len(part), pa.large_binary()), array_of(part), 2**30)
    ]


def unpack(topic: Topic, partition: int, first: int, data: Sequence[bytes]) -> RecordBatch:
    """One fetch."""
    records: list[Any] = []
    for each in data:
        batch = MemoryRecords(each).next_batch()
        assert batch is not None
        assert batch.validate_crc()
        records += batch
    made = RecordBatch.of(topic.name, partition, records)
    made.offsets[:] = range(first, first + len(made))
    return made


async def through(
    role: Role, name: str, topic: Topic, kafka: Sink, watch: Clock, plan: argparse.Namespace
) -> int:
    """All records of a topic through a role, a checkpoint after each batch; how many there were."""
    await role.start(kafka, kafka)
    await role.resume({(each.name, n) for each in role.inputs for n in range(PARTITIONS)}, 1)
    batches = [
        (number, first, len(some), fetched(some))
        for number in range(PARTITIONS)
        for values in [[value for part, _, value in kafka.records(topic.name) if part == number]]
        for first in range(0, len(values), plan.batch)
        for some in [values[first : first + plan.batch]]
    ]
    with ExitStack() as stack:
        for owner, attribute, stage in (*STAGES[name], *PRODUCE):
            timed = watch.timed(getattr(owner, attribute), stage)
            stack.enter_context(patch.object(owner, attribute, timed))
        due = plan.checkpoint
        for number, first, count, data in batches:
            with watch.stage(FETCH):
                batch = unpack(topic, number, first, data)
            with watch.stage(OTHER):
                await role.take(batch, lambda: None)
                due -= count
                if name == "gate" or due <= 0:
                    await role.checkpoint()
                    due = plan.checkpoint
        with watch.stage(OTHER):
            await role.checkpoint()
    await role.stop()
    return sum(count for _, _, count, _ in batches)


async def measure(plan: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """CPU microseconds a record, by role and stage."""
    keys.create(folder / "key.hex")
    settings = load(data=folder, key_file=folder / "key.hex", partitions=PARTITIONS)
    watch = Clock()
    kafka = Sink(watch)
    await fill(settings, kafka, plan)
    found = {}
    for name, topic in (("gate", PLAYS), ("taste", LISTENS), ("report", ANALYTICS_LISTENS)):
        watch.cpu.clear()
        count = await through(roles.build(settings, name), name, topic, kafka, watch, plan)
        watch.cpu.pop(HARNESS, None)
        found[name] = {stage: its / count * 1e6 for stage, its in watch.cpu.items()}
    return found


async def fill(settings: Settings, kafka: Sink, plan: argparse.Namespace) -> None:
    """Plays, the catalogue, and consent of everybody."""
    simulation = Simulation(
        end=date(2026, 1, 1), listeners=plan.listeners, plays=plan.plays, seed=1
    )
    codecs = codecs_of(settings)
    plays, users = [], set()
    encoder = await codecs.records(PLAYS)
    for chunk in simulation.chunks():
        plays += encoder.encode(chunk)
        users |= {play["user_id"] for play in chunk}
    share = -(-len(plays) // PARTITIONS)
    for number in range(PARTITIONS):
        part = plays[number * share : (number + 1) * share]
        await MemoryKafka.send_records(kafka, PLAYS.name, number, [None] * len(part), part)
    artists = simulation.catalogue()
    values = (await codecs.records(CATALOGUE)).encode(
        {"artist": artist, "genres": genres} for artist, genres in artists
    )
    named = [artist.encode() for artist, _ in artists]
    await MemoryKafka.send_records(kafka, CATALOGUE.name, 0, named, values)
    decisions = [
        {"user_id": user, "purpose": purpose, "granted": True, "decided_at": 0, "effective_from": 0}
        for user in sorted(users)
        for purpose in ("personalization", "analytics")
    ]
    agreed = [f"{each['user_id']}/{each['purpose']}".encode() for each in decisions]
    values = (await codecs.records(CONSENT)).encode(decisions)
    await MemoryKafka.send_records(kafka, CONSENT.name, 0, agreed, values)
    await codecs.close()


def shown(found: Mapping[str, Mapping[str, float]]) -> Iterator[Table]:
    """A table a role, the dearest stage first."""
    for role, stages in found.items():
        total = sum(stages.values())
        title = f"{role}, {total:.1f} us"
        table = Table("stage", "CPU us a record", "share", title=title, box=None)
        for stage, microseconds in sorted(stages.items(), key=lambda each: -each[1]):
            table.add_row(stage, f"{microseconds:.2f}", f"{microseconds / total:.0%}")
        yield table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.bench.stages")
    parser.add_argument("--plays", type=int, default=400_000)
    parser.add_argument("--listeners", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=20_000, help="records of a fetch")
    parser.add_argument("--checkpoint", type=int, default=200_000, help="records between two")
    plan = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sottovoce-stages-") as folder, collecting_seldom():
        found = asyncio.run(measure(plan, Path(folder)))
    for table in shown(found):
        Console().print(table)


if __name__ == "__main__":
    main()
