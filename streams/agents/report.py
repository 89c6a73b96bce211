"""Report: listens in, facts per listener and day in the warehouse, releases on time and on request.

The warehouse stores its positions in the transaction of the rows and is what the role resumes from;
the group's committed offsets only show others how far it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams import logs, metrics
from streams.agents.codecs import Codecs
from streams.agents.intake import Admitted, Intake, ListenReader
from streams.agents.role import Done, Sender
from streams.errors import SottoVoceError
from streams.settings import Settings
from streams.topics import LISTENS, Topic
from streams.transport.batch import RecordBatch
from streams.warehouse import facts, release
from streams.warehouse.store import Counter, Positions, Warehouse

ROLE = "report"

log = logs.get(__name__)


@dataclass(slots=True)
class _Partition:
    intake: Intake
    held: list[Done] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)
    unreadable: int = 0

    @property
    def listens(self) -> int:
        return sum(len(each.listens) for each in self.admitted)


class Report:
    """The role. One writer: the warehouse is a file that one process opens."""

    topic = LISTENS
    topics: tuple[Topic, ...] = (LISTENS,)

    def __init__(self, settings: Settings, codecs: Codecs) -> None:
        self._settings = settings
        self._codecs = codecs
        self._listens = ListenReader(codecs.registry, facts.COLUMNS)
        self._partitions: dict[int, _Partition] = {}
        self._lock = asyncio.Lock()
        self._opened: Warehouse | None = None
        self._writing: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None
        self._released_at = time.monotonic()
        self._changed = False

    async def start(self, sender: Sender, reader: AIOKafkaConsumer) -> None:
        """Open the warehouse.

        Raises:
            WarehouseError: another process has it, or it is from a newer version.
        """
        self._reader = reader
        self._opened = await asyncio.to_thread(
            Warehouse, self._settings.warehouse, self._settings.sql
        )

    async def resume(self, partitions: set[int], generation: int) -> Mapping[int, int]:
        """Read on from where the warehouse is, or what is held beyond it."""
        async with self._lock:
            for gone in self._partitions.keys() - partitions:
                del self._partitions[gone]
            stored = self._warehouse.positions()
            horizon = self._settings.duplicate_horizon
            for new in sorted(partitions - self._partitions.keys()):
                intake = Intake(horizon, stored.next_offset.get(new, 0), stored.highest.get(new))
                await self._listens.look_back(self._reader, new, intake, horizon)
                self._partitions[new] = _Partition(intake)
            return {number: each.intake.next_offset for number, each in self._partitions.items()}

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Hold a batch's listens; they are written and acknowledged at the next checkpoint."""
        metrics.BATCH_RECORDS.labels(batch.topic).observe(len(batch))
        listens, unreadable = await self._listens.read(batch)
        async with self._lock:
            partition = self._partitions.get(batch.partition)
            if partition is None:
                return  # given up while the batch was on its way
            partition.admitted.append(partition.intake.admit(listens, batch.next_offset))
            partition.unreadable += unreadable
            partition.held.append(done)
            if sum(each.listens for each in self._partitions.values()) >= (
                self._settings.checkpoint_listens
            ):
                await self._write()

    async def checkpoint(self) -> None:
        """Write what is held with its positions, acknowledge, and release if it is time."""
        async with self._lock:
            await self._write()
        if self._releasing is None and (
            release.pending_request(self._settings.data) is not None
            or (self._changed and time.monotonic() - self._released_at >= self._settings.release_s)
        ):
            self._releasing = asyncio.create_task(self._release())

    async def stop(self) -> None:
        """Let a release under way finish, and close the warehouse."""
        if self._releasing is not None:
            with suppress(Exception):
                await self._releasing
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)
        await self._codecs.close()

    @property
    def _warehouse(self) -> Warehouse:
        assert self._opened is not None
        return self._opened

    async def _write(self) -> None:
        # A transaction in its thread goes on when whoever waits for it is cancelled. It must be
        # waited for all the same, or the next write would add the same listens again.
        if self._writing is not None:
            await asyncio.shield(self._writing)
        self._writing = asyncio.create_task(self._write_held())
        await asyncio.shield(self._writing)

    async def _write_held(self) -> None:
        writing = {number: each for number, each in self._partitions.items() if each.held}
        if not writing:
            return
        started = time.monotonic()
        await asyncio.to_thread(self._append, writing)
        for each in writing.values():
            _count(each)
            for done in each.held:
                done()
            each.held, each.admitted, each.unreadable = [], [], 0
        self._changed = True
        metrics.CHECKPOINT_SECONDS.labels(ROLE).observe(time.monotonic() - started)

    def _append(self, writing: Mapping[int, _Partition]) -> None:
        admitted = [batch for each in writing.values() for batch in each.admitted]
        listens = [batch.listens for batch in admitted if len(batch.listens)]
        self._warehouse.append(
            [facts.partials(pl.concat(listens))] if listens else [],
            Positions(
                {number: each.intake.next_offset for number, each in writing.items()},
                {number: each.intake.highest for number, each in writing.items()},
            ),
            {
                Counter.FOLDED: sum(each.listens for each in writing.values()),
                Counter.REPEATED: sum(batch.repeated for batch in admitted),
                Counter.DUPLICATES: sum(batch.duplicates for batch in admitted),
                Counter.UNREADABLE: sum(each.unreadable for each in writing.values()),
            },
            datetime.now(UTC),
        )
        self._warehouse.compact()

    async def _release(self) -> None:
        settings = self._settings
        request = release.take_request(settings.data)
        self._changed = False
        try:
            manifest = await asyncio.to_thread(
                release.publish,
                self._warehouse,
                settings.sql,
                settings.released,
                settings.min_listeners,
                datetime.now(UTC),
                request,
            )
            metrics.RELEASE_SECONDS.set(manifest.seconds)
            metrics.RELEASED_AT.set(time.time())
            log.info("released", id=manifest.id, seconds=manifest.seconds, rows=manifest.rows)
        except SottoVoceError:
            # The last release stays and the next is due in its time: readers lose freshness only.
            log.exception("release failed; the last one stays")
        finally:
            self._released_at = time.monotonic()
            self._releasing = None


def _count(partition: _Partition) -> None:
    metrics.count_intake(
        ROLE,
        folded=partition.listens,
        repeated=sum(batch.repeated for batch in partition.admitted),
        duplicates=sum(batch.duplicates for batch in partition.admitted),
        unreadable=partition.unreadable,
    )
