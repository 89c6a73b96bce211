"""Reads a partition of the taste role back from Kafka: states, positions, commands, events.

The changelog is read once, and of each key the newest record kept as it came, so memory is bounded
by what the partition's listeners take anyway. Their states are not decoded here but when they are
needed (`TasteState`): what a takeover costs is little more than reading.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams import logs, metrics
from streams.agents.codecs import Codecs
from streams.agents.commands import Held
from streams.agents.intake import Intake, ListenReader
from streams.agents.role import Claim
from streams.agents.taste_commands import ROLE
from streams.agents.taste_partition import POSITIONS_KEY, Partition, Positions
from streams.errors import StateError
from streams.privacy.policy import PRODUCT
from streams.settings import Settings
from streams.taste.state import Bounds, TasteState
from streams.topics import LISTENS, TASTE_STATE
from streams.transport.batch import RecordBatch
from streams.transport.reader import read_span

_PAGE = 256
"""Records unpacked at a time; bounds what is there twice."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What partitions are read back with."""

    settings: Settings
    codecs: Codecs
    listens: ListenReader
    reader: AIOKafkaConsumer

    async def restore(self, number: int, claim: Claim) -> Partition:
        """The partition as of its newest state. Nobody else may write to it any more.

        Raises:
            StateError: the changelog holds what the taste role did not write, or commands do.
            RegistryError: a schema cannot be had.
        """
        started = time.monotonic()
        newest = await newest_records(self.reader, number)
        positions = await self._positions(newest.pop(POSITIONS_KEY, None))
        state = await self._state(newest)
        horizon = self.settings.duplicate_horizon
        intake = Intake(horizon, positions.next_offset, positions.highest)
        await self.listens.look_back(self.reader, number, intake, horizon)
        commands, rekeys = positions.next_command, positions.next_rekey
        privacy = await Held.load(
            self.reader, self.codecs, number, PRODUCT, commands, rekeys, positions.restricted
        )
        partition = Partition(
            number, claim, state, intake, privacy, commands, rekeys, owed=list(positions.owed)
        )
        await self._catch_up(partition)
        log.info(
            "state restored",
            partition=number,
            listeners=state.listeners,
            next_offset=intake.next_offset,
            seconds=round(time.monotonic() - started, 3),
        )
        return partition

    async def _positions(self, record: bytes | None) -> Positions:
        if record is None:
            return Positions()
        row = await self.codecs.decode([record], ("listens_offset", "body"))
        return Positions.of(row["listens_offset"][0], row["body"][0])

    async def _state(self, newest: dict[bytes, bytes]) -> TasteState:
        """Empties ``newest`` page by page, so that little is there twice."""
        state = TasteState(Bounds(self.settings.top_artists, self.settings.top_genres))
        while newest:
            page = [newest.popitem() for _ in range(min(_PAGE, len(newest)))]
            bodies = await self.codecs.tails([value for _, value in page])
            state.load_many([key.decode() for key, _ in page], bodies)
        return state

    async def _catch_up(self, partition: Partition) -> None:
        """Read on to where the newest state is: a flush may have been cut short."""
        start, end = partition.intake.next_offset, partition.state.next_offset
        async for batch in read_span(self.reader, LISTENS.name, partition.number, start, end):
            include(partition, batch, *await self.listens.read(batch))


async def newest_records(reader: AIOKafkaConsumer, number: int) -> dict[bytes, bytes]:
    """The newest record of each key in a partition of ``taste-state``, as it came.

    Raises:
        StateError: a record has no key: the taste role did not write it.
    """
    newest: dict[bytes, bytes] = {}
    async for batch in read_span(reader, TASTE_STATE.name, number):
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
    return newest


def include(
    partition: Partition, batch: RecordBatch, listens: pl.DataFrame, unreadable: int
) -> None:
    """Fold what is new in a decoded batch, of which ``unreadable`` records could not be read."""
    admitted = partition.intake.admit(listens, batch.next_offset)
    folded, suppressed = partition.fold(admitted.listens)
    metrics.count_intake(ROLE, folded, admitted.repeated, admitted.duplicates, unreadable)
    metrics.SUPPRESSED.labels(ROLE).inc(suppressed)
