"""The way into taste and report: listens decoded, what was seen before left out.

Everything here follows from the log alone, so a worker that reads the same records again, after a
crash or in another process, admits the same listens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from aiokafka import AIOKafkaConsumer

from streams import metrics
from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.registry import Registry
from streams.topics import LISTENS, Topic
from streams.transport.batch import RecordBatch
from streams.transport.positions import RecentEvents, SourcePositions
from streams.transport.reader import read_span

IDENTITY = ("listener", "event", "source_partition", "source_offset")


@dataclass(frozen=True, slots=True)
class History:
    """Listens of some listeners as far as their topic still holds them, in log order.

    Attributes:
        listens: as `Intake` admitted them when they came; without columns if there are none.
        since: when the oldest record came, ms: what started later is here, clocks of players
            permitting. 0 if nothing has left the topic; None if it holds nothing.
    """

    listens: pl.DataFrame
    since: int | None


class ListenReader:
    """Decodes batches of ``topic``, a topic of listens, into columns."""

    def __init__(self, registry: Registry, columns: Sequence[str], topic: Topic = LISTENS) -> None:
        self._registry = registry
        self._from, self._topic = topic, topic.name
        self._columns = tuple(dict.fromkeys((*IDENTITY, *columns)))
        self._decoders: dict[int, ColumnDecoder] = {}

    async def read(self, batch: RecordBatch) -> tuple[pl.DataFrame, int]:
        """Listens with their ``offset``, in log order, and how many records do not decode.

        Raises:
            RegistryError: a schema cannot be had; the batch must be tried again later.
        """
        split = wire.split(batch.values)
        frames, unreadable = [], len(split.malformed)
        for schema_id, group in split.groups.items():
            decoded = (await self._decoder(schema_id)).decode(group.bodies)
            unreadable += len(decoded.bad)
            offsets = batch.offsets[group.rows[decoded.rows]]
            frames.append(decoded.frame.with_columns(offset=pl.Series(offsets, dtype=pl.Int64)))
            if decoded.fallback:
                metrics.FALLBACK_BATCHES.labels(batch.topic).inc()
        if not frames:
            return pl.DataFrame(), unreadable
        frame = frames[0] if len(frames) == 1 else pl.concat(frames).sort("offset")
        return frame, unreadable

    async def look_back(
        self, consumer: AIOKafkaConsumer, partition: int, intake: Intake, horizon: int
    ) -> None:
        """Have ``intake`` remember the events of the ``horizon`` records before its position."""
        start = max(0, intake.next_offset - horizon)
        lean = ListenReader(self._registry, (), self._from)
        async for batch in read_span(consumer, self._topic, partition, start, intake.next_offset):
            listens, _ = await lean.read(batch)
            intake.look_back(listens)

    async def history(
        self, consumer: AIOKafkaConsumer, partition: int, end: int, keys: set[str], horizon: int
    ) -> History:
        """Read the topic from its beginning to ``end`` for the listens of ``keys``.

        Reads everything there is, so it takes seconds per million records; decodes what is asked
        for only. What was admitted follows from the listener's own records: a repeated position is
        not above the original, which has the same key, and so has a duplicate event.
        """
        wanted = {key.encode() for key in keys}
        intake, since = Intake(horizon), None
        frames: list[pl.DataFrame] = []
        async for batch in read_span(consumer, self._topic, partition, 0, end):
            if since is None:
                since = int(batch.timestamps[0]) if batch.first_offset else 0
            part = _chosen(batch, [row for row, key in enumerate(batch.keys) if key in wanted])
            if part is not None:
                listens, _ = await self.read(part)
                frames.append(intake.admit(listens, part.next_offset).listens)
        frames = [frame for frame in frames if len(frame)]
        return History(pl.concat(frames) if frames else pl.DataFrame(), since)

    async def _decoder(self, schema_id: int) -> ColumnDecoder:
        decoder = self._decoders.get(schema_id)
        if decoder is None:
            decoder = ColumnDecoder(await self._registry.get(schema_id), self._columns)
            self._decoders[schema_id] = decoder
        return decoder


@dataclass(frozen=True, slots=True)
class Admitted:
    """What `Intake.admit` let through, and how many rows it left out for which cause."""

    listens: pl.DataFrame
    repeated: int
    duplicates: int


class Intake:
    """How far a role has come in one partition of ``listens``."""

    def __init__(
        self, horizon: int, next_offset: int = 0, highest: Mapping[int, int] | None = None
    ) -> None:
        self.next_offset = next_offset
        self._positions = SourcePositions(highest)
        self._events = RecentEvents(horizon)

    @property
    def highest(self) -> dict[int, int]:
        """Highest source offset seen per source partition."""
        return self._positions.highest

    def look_back(self, listens: pl.DataFrame) -> None:
        """Remember the events of listens that precede ``next_offset``."""
        if len(listens):
            self._events.admit(_event_ids(listens), listens["offset"].to_numpy())

    def admit(self, listens: pl.DataFrame, next_offset: int) -> Admitted:
        """Leave out what was included before; go forward to ``next_offset``."""
        if len(listens):
            listens = listens.filter(pl.col("offset") >= self.next_offset)
        self.next_offset = max(self.next_offset, next_offset)
        if not len(listens):
            return Admitted(listens, 0, 0)
        fresh = self._positions.admit(
            listens["source_partition"].cast(pl.Int64).to_numpy(),
            listens["source_offset"].to_numpy(),
        )
        first = self._events.admit(_event_ids(listens), listens["offset"].to_numpy())
        return Admitted(
            listens.filter(pl.Series(fresh & first)),
            repeated=int((~fresh).sum()),
            duplicates=int((fresh & ~first).sum()),
        )


def _chosen(batch: RecordBatch, rows: list[int]) -> RecordBatch | None:
    if not rows:
        return None
    return RecordBatch(
        batch.topic,
        batch.partition,
        batch.offsets[rows],
        batch.timestamps[rows],
        [batch.keys[row] for row in rows],
        [batch.values[row] for row in rows],
        batch.with_headers,
    )


def _event_ids(listens: pl.DataFrame) -> npt.NDArray[np.uint64]:
    # With the listener: event ids are the client's, and two clients may both count from one.
    return listens.select(pl.struct("listener", "event").hash()).to_series().to_numpy()
