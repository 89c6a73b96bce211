"""Report: listens in, facts per listener and day in the warehouse, releases on time and on request.

The warehouse stores its positions in the transaction of the rows and is what the role resumes from;
the group's committed offsets only show others how far it is. Privacy commands are carried out the
same way, and the answers they are owed stand beside them until they are given. After an erasure the
warehouse's file is rewritten, then the next release is made, and each is answered by what it left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams import metrics
from streams.agents.codecs import Codecs
from streams.agents.commands import Held, decode_commands, decode_rekeys
from streams.agents.intake import Intake, ListenReader
from streams.agents.report_partition import RELEASE, ROLE, WAREHOUSE, Owed, Partition
from streams.agents.report_upkeep import Upkeep
from streams.agents.role import Done, Place, Sender
from streams.privacy.policy import ANALYTICS
from streams.settings import Settings
from streams.topics import (
    ANALYTICS_LISTENS,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    Topic,
)
from streams.transport.batch import RecordBatch
from streams.transport.reader import read_span
from streams.warehouse import facts
from streams.warehouse.facts import Partials
from streams.warehouse.people import Due
from streams.warehouse.store import Counter, Positions, Warehouse


class Report:
    """The role. One writer: the warehouse is a file that one process opens."""

    inputs: tuple[Topic, ...] = (ANALYTICS_LISTENS, PRIVACY_COMMANDS, PRIVACY_REKEYS)
    reads: tuple[Topic, ...] = inputs
    writes: tuple[Topic, ...] = (PRIVACY_ANSWERS,)

    def __init__(self, settings: Settings, codecs: Codecs) -> None:
        self._settings = settings
        self._codecs = codecs
        self._listens = ListenReader(codecs.registry, facts.COLUMNS, ANALYTICS_LISTENS)
        self._partitions: dict[int, Partition] = {}
        self._lock = asyncio.Lock()
        self._opened: Warehouse | None = None
        self._writing: asyncio.Task[None] | None = None

    async def start(self, sender: Sender, reader: AIOKafkaConsumer) -> None:
        """Open the warehouse.

        Raises:
            WarehouseError: another process has it, or it is from a newer version.
        """
        self._reader = reader
        encoder = await self._codecs.columns(PRIVACY_ANSWERS)
        self._opened = await asyncio.to_thread(
            Warehouse,
            self._settings.warehouse,
            self._settings.sql,
            self._settings.warehouse_mb,
        )
        self._upkeep = Upkeep(self._settings, self._opened, self._partitions, sender, encoder)

    async def resume(self, assigned: set[Place], generation: int) -> Mapping[Place, int]:
        """Read on from where the warehouse is, or what is held beyond it.

        Commands that came while nobody was there are carried out before any listen is taken.
        """
        numbers = {number for _, number in assigned}
        async with self._lock:
            if self._writing is not None:
                await asyncio.shield(self._writing)
            for gone in self._partitions.keys() - numbers:
                del self._partitions[gone]
            for new in sorted(numbers - self._partitions.keys()):
                partition = await self._restore(new)
                if partition.commanded:
                    await self._carry_out(partition)
                self._partitions[new] = partition
            await self._upkeep.resume()
            return {(topic, number): self._next(topic, number) for topic, number in assigned}

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Hold a batch; it is written and acknowledged at the next checkpoint."""
        metrics.BATCH_RECORDS.labels(batch.topic).observe(len(batch))
        if batch.topic == PRIVACY_COMMANDS.name:
            commands = await decode_commands(self._codecs, batch, ANALYTICS)
            async with self._lock:
                partition = self._partitions.get(batch.partition)
                if partition is None:
                    return  # given up while the batch was on its way
                partition.take_commands(commands, batch.next_offset)
                partition.waiting.append(done)
        elif batch.topic == PRIVACY_REKEYS.name:
            rekeys = await decode_rekeys(self._codecs, batch, ANALYTICS)
            async with self._lock:
                partition = self._partitions.get(batch.partition)
                if partition is None:
                    return
                partition.take_rekeys(rekeys, batch.next_offset)
                partition.waiting.append(done)
        else:
            await self._take_listens(batch, done)

    async def checkpoint(self) -> None:
        """Write what is held with its positions, acknowledge; rewrite and release if it is time."""
        async with self._lock:
            await self._write()
        self._upkeep.tend()

    async def stop(self) -> None:
        """Let a rewrite or release under way finish, and close the warehouse."""
        if self._opened is not None:
            await self._upkeep.stop()
            await asyncio.to_thread(self._opened.close)
        await self._codecs.close()

    @property
    def _warehouse(self) -> Warehouse:
        assert self._opened is not None
        return self._opened

    async def _restore(self, number: int) -> Partition:
        stored = self._warehouse.positions()
        carried_out = await asyncio.to_thread(self._warehouse.command_positions)
        horizon = self._settings.duplicate_horizon
        intake = Intake(horizon, stored.next_offset.get(number, 0), stored.highest.get(number))
        await self._listens.look_back(self._reader, number, intake, horizon)
        next_command = carried_out.get((PRIVACY_COMMANDS.name, number), 0)
        next_rekey = carried_out.get((PRIVACY_REKEYS.name, number), 0)
        privacy = await Held.load(
            self._reader, self._codecs, number, ANALYTICS, next_command, next_rekey
        )
        partition = Partition(number, intake, privacy, next_command, next_rekey)
        await self._restore_owed(partition)
        async for batch in read_span(self._reader, PRIVACY_REKEYS.name, number, next_rekey):
            rekeys = await decode_rekeys(self._codecs, batch, ANALYTICS)
            partition.take_rekeys(rekeys, batch.next_offset)
        async for batch in read_span(self._reader, PRIVACY_COMMANDS.name, number, next_command):
            commands = await decode_commands(self._codecs, batch, ANALYTICS)
            partition.take_commands(commands, batch.next_offset)
        return partition

    async def _restore_owed(self, partition: Partition) -> None:
        number = partition.number
        due = await asyncio.to_thread(self._warehouse.due, number)
        if not due:
            return
        start, end = min(due)[0], partition.next_command
        async for batch in read_span(self._reader, PRIVACY_COMMANDS.name, number, start, end):
            for command in await decode_commands(self._codecs, batch, ANALYTICS):
                for store in (WAREHOUSE, RELEASE):
                    if (command.offset, store) in due:
                        removed = due.pop((command.offset, store))
                        partition.owed.append(Owed(number, command, store, removed))
        # What the topic's retention has removed nobody waits for any more.
        gone = [Due(number, offset, store) for offset, store in due]
        await asyncio.to_thread(self._warehouse.answered, gone)

    def _next(self, topic: str, number: int) -> int:
        partition = self._partitions[number]
        if topic == PRIVACY_COMMANDS.name:
            return partition.next_command
        if topic == PRIVACY_REKEYS.name:
            return partition.next_rekey
        return partition.intake.next_offset

    async def _take_listens(self, batch: RecordBatch, done: Done) -> None:
        listens, unreadable = await self._listens.read(batch)
        async with self._lock:
            partition = self._partitions.get(batch.partition)
            if partition is None:
                return
            partition.admitted.append(partition.intake.admit(listens, batch.next_offset))
            partition.unreadable += unreadable
            partition.waiting.append(done)
            if sum(each.listens for each in self._partitions.values()) >= (
                self._settings.checkpoint_listens
            ):
                await self._write()

    async def _write(self) -> None:
        # A transaction in its thread goes on when whoever waits for it is cancelled. It must be
        # waited for all the same, or the next write would add the same listens again.
        if self._writing is not None:
            await asyncio.shield(self._writing)
        self._writing = asyncio.create_task(self._write_held())
        await asyncio.shield(self._writing)

    async def _write_held(self) -> None:
        writing = [each for each in self._partitions.values() if each.waiting]
        if not writing:
            return
        started = time.monotonic()
        for partition in writing:
            if partition.commanded:
                await self._carry_out(partition)
        suppressed = await asyncio.to_thread(self._append, writing)
        for partition in writing:
            self._upkeep.changed = True
            partition.appended(suppressed[partition.number])
        metrics.CHECKPOINT_SECONDS.labels(ROLE).observe(time.monotonic() - started)

    async def _carry_out(self, partition: Partition) -> None:
        """Commands and rekeys, before the listens that came with them: these are told by `Held`."""
        erased = partition.erased()
        kept: Sequence[Partials] = ()
        playing = await asyncio.to_thread(self._warehouse.playing_on, erased)
        if playing:
            end = self._warehouse.positions().next_offset.get(partition.number, 0)
            history = await self._listens.history(
                self._reader,
                partition.number,
                end,
                partition.names_of(playing),
                self._settings.duplicate_horizon,
            )
            kept = partition.kept(history.listens, playing)
        changes = partition.changes(erased, kept)
        removed = await asyncio.to_thread(self._warehouse.carry_out, changes, datetime.now(UTC))
        partition.carried_out(changes, removed)
        self._upkeep.changed = True
        self._upkeep.forgets = self._upkeep.forgets or bool(erased)
        await self._upkeep.plan_rewrite()

    def _append(self, writing: Sequence[Partition]) -> dict[int, int]:
        """Listens suppressed, by partition."""
        partials, suppressed = [], {}
        for partition in writing:
            listens = [batch.listens for batch in partition.admitted if len(batch.listens)]
            wanted = partition.privacy.admit(pl.concat(listens)) if listens else pl.DataFrame()
            suppressed[partition.number] = partition.listens - len(wanted)
            partials.append(facts.partials(wanted))
        admitted = [batch for each in writing for batch in each.admitted]
        self._warehouse.append(
            partials,
            Positions(
                {each.number: each.intake.next_offset for each in writing},
                {each.number: each.intake.highest for each in writing},
            ),
            {
                Counter.FOLDED: sum(each.listens - suppressed[each.number] for each in writing),
                Counter.REPEATED: sum(batch.repeated for batch in admitted),
                Counter.DUPLICATES: sum(batch.duplicates for batch in admitted),
                Counter.UNREADABLE: sum(each.unreadable for each in writing),
            },
            datetime.now(UTC),
        )
        self._warehouse.compact()
        return suppressed
