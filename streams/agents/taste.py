"""Taste: listens in, changed profiles out.

What makes a crash harmless is the order of a checkpoint. Profiles are written first, then the state
of each changed listener with the `listens` offset it includes, then the partition's positions, then
the offset is committed. A worker that dies in between leaves a prefix of that: the next one reads
the same listens again, skips them listener by listener where the state has them, and comes out the
same.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams import logs, metrics
from streams.agents.codecs import Codecs
from streams.agents.intake import Intake, ListenReader
from streams.agents.role import Done, Sender
from streams.errors import StateError
from streams.settings import Settings
from streams.taste.state import Bounds, TasteState
from streams.topics import LISTENS, PROFILES, TASTE_STATE, Topic
from streams.transport.batch import RecordBatch
from streams.transport.reader import read_span

POSITIONS_KEY = b"@positions"
COLUMNS = (
    "listener", "epoch", "started_at", "ms_played", "completion", "counted", "skipped", "artist",
    "genres",
)  # fmt: skip
ROLE = "taste"

log = logs.get(__name__)


@dataclass(slots=True)
class _Partition:
    state: TasteState
    intake: Intake
    held: list[Done] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    folded: int = 0


class Taste:
    """The role. One `TasteState` per assigned partition of `listens`."""

    topic = LISTENS
    topics: tuple[Topic, ...] = (LISTENS, TASTE_STATE, PROFILES)

    def __init__(self, settings: Settings, codecs: Codecs) -> None:
        self._settings = settings
        self._bounds = Bounds(settings.top_artists, settings.top_genres)
        self._codecs = codecs
        self._listens = ListenReader(codecs.registry, COLUMNS)
        self._partitions: dict[int, _Partition] = {}
        self._generation = -1
        self._lock = asyncio.Lock()

    async def start(self, sender: Sender, reader: AIOKafkaConsumer) -> None:
        """Schemas of what it writes."""
        self._sender, self._reader = sender, reader
        self._states = await self._codecs.columns(TASTE_STATE)
        self._profiles = await self._codecs.nested(PROFILES)

    async def resume(self, partitions: set[int], generation: int) -> Mapping[int, int]:
        """Drop what was given up, restore what is new, read on from where the state ends."""
        async with self._lock:
            if generation != self._generation + 1:
                self._partitions.clear()  # another worker may have had them in between
            self._generation = generation
            for gone in self._partitions.keys() - partitions:
                del self._partitions[gone]
            for new in sorted(partitions - self._partitions.keys()):
                self._partitions[new] = await self._restore(new)
            self._count_listeners()
            return {number: each.intake.next_offset for number, each in self._partitions.items()}

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Fold a batch; it is acknowledged at the next checkpoint."""
        metrics.BATCH_RECORDS.labels(batch.topic).observe(len(batch))
        listens, unreadable = await self._listens.read(batch)
        async with self._lock:
            partition = self._partitions.get(batch.partition)
            if partition is None:
                return  # given up while the batch was on its way
            admitted = partition.intake.admit(listens, batch.next_offset)
            folded = partition.state.fold(admitted.listens) if len(admitted.listens) else 0
            partition.folded += folded
            partition.held.append(done)
            metrics.count_intake(ROLE, folded, admitted.repeated, admitted.duplicates, unreadable)
            if sum(each.folded for each in self._partitions.values()) >= (
                self._settings.checkpoint_listens
            ):
                await self._write()

    async def checkpoint(self) -> None:
        """Write changed profiles, state and positions, then acknowledge."""
        async with self._lock:
            await self._write()

    async def stop(self) -> None:
        """Let go of the registry."""
        await self._codecs.close()

    async def _write(self) -> None:
        started = time.monotonic()
        written = [
            self._write_partition(number, each)
            for number, each in self._partitions.items()
            if each.held
        ]
        if written:
            await asyncio.gather(*written)
            self._count_listeners()
            metrics.CHECKPOINT_SECONDS.labels(ROLE).observe(time.monotonic() - started)

    async def _write_partition(self, number: int, partition: _Partition) -> None:
        # What changed stays noted until all of it is written: a checkpoint may be cut short.
        # Nothing takes listeners away here, so none is among `gone`.
        partition.changed.update(partition.state.checkpoint().listeners)
        if partition.changed:
            changed = sorted(partition.changed)
            for page in partition.state.profile_frames(changed, self._settings.profile_items):
                keys = [listener.encode() for listener in page["listener"].to_list()]
                await self._send(PROFILES, number, keys, self._profiles.encode(page))
                metrics.PROFILES_WRITTEN.inc(len(page))
            states = partition.state.dump(changed)
            await self._send(
                TASTE_STATE,
                number,
                [listener.encode() for listener in states.listeners],
                self._states.encode(
                    pl.DataFrame({"listens_offset": states.offsets, "body": states.bodies})
                ),
            )
            partition.changed.clear()
        await self._send(
            TASTE_STATE, number, [POSITIONS_KEY], self._states.encode(_positions(partition.intake))
        )
        for done in partition.held:
            done()
        partition.held.clear()
        partition.folded = 0

    async def _send(
        self, topic: Topic, partition: int, keys: Sequence[bytes], values: Sequence[bytes]
    ) -> None:
        end = await self._sender.send_records(topic.name, partition, keys, values)
        metrics.WRITTEN_OFFSET.labels(topic.name, partition).set(end)

    async def _restore(self, number: int) -> _Partition:
        started = time.monotonic()
        newest: dict[bytes, bytes] = {}
        async for batch in read_span(self._reader, TASTE_STATE.name, number):
            for key, value in zip(batch.keys, batch.values, strict=True):
                if key is None:
                    raise StateError(
                        f"{TASTE_STATE.name}/{number} holds a record without a key.",
                        "Only the taste role may write there; correct its access rules.",
                    )
                if value is None:
                    newest.pop(key, None)
                else:
                    newest[key] = value
        positions = newest.pop(POSITIONS_KEY, None)
        state = TasteState(self._bounds)
        if newest:
            bodies = (await self._codecs.decode(list(newest.values()), ("body",)))["body"]
            state.load_many([key.decode() for key in newest], bodies.to_list())
        intake = await self._restored_intake(number, positions)
        log.info(
            "state restored",
            partition=number,
            listeners=len(newest),
            next_offset=intake.next_offset,
            seconds=round(time.monotonic() - started, 3),
        )
        return _Partition(state, intake)

    async def _restored_intake(self, number: int, positions: bytes | None) -> Intake:
        horizon = self._settings.duplicate_horizon
        if positions is None:
            return Intake(horizon)
        row = await self._codecs.decode([positions], ("listens_offset", "body"))
        highest = {int(key): value for key, value in json.loads(row["body"][0]).items()}
        intake = Intake(horizon, row["listens_offset"][0] + 1, highest)
        await self._listens.look_back(self._reader, number, intake, horizon)
        return intake

    def _count_listeners(self) -> None:
        metrics.LISTENERS.set(sum(each.state.listeners for each in self._partitions.values()))


def _positions(intake: Intake) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "listens_offset": [intake.next_offset - 1],
            "body": [json.dumps(intake.highest, sort_keys=True).encode()],
        }
    )
