"""Taste: listens in, changed profiles out; privacy commands and rekeys carried out on both.

The stores are always as of one position of each of the three topics, which stands in the state's
changelog; `taste_partition` says why no crash can come between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice

from aiokafka import AIOKafkaConsumer

from streams import metrics
from streams.agents.codecs import Codecs
from streams.agents.commands import decode_commands, decode_rekeys
from streams.agents.intake import History, ListenReader
from streams.agents.role import Claimant, Done, Place
from streams.agents.taste_commands import (
    NO_HISTORY,
    ROLE,
    apply,
    carry_out,
    needing_alignment,
    needing_history,
)
from streams.agents.taste_partition import Partition, Writer
from streams.agents.taste_recovery import Recovery, include
from streams.privacy.policy import PRODUCT
from streams.settings import Settings
from streams.topics import (
    LISTENS,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    PROFILES,
    TASTE_STATE,
    Topic,
)
from streams.transport.batch import RecordBatch

COLUMNS = (
    "listener", "epoch", "started_at", "ms_played", "completion", "counted", "skipped", "artist",
    "genres",
)  # fmt: skip
_TOGETHER = 4_096
"""Commands or rekeys applied at a time; bounds what is written at once."""


class Taste:
    """The role. One `TasteState` per assigned partition of `listens`."""

    inputs: tuple[Topic, ...] = (LISTENS, PRIVACY_COMMANDS, PRIVACY_REKEYS)
    reads: tuple[Topic, ...] = (*inputs, TASTE_STATE)
    writes: tuple[Topic, ...] = (TASTE_STATE, PROFILES, PRIVACY_ANSWERS)

    def __init__(self, settings: Settings, codecs: Codecs) -> None:
        self._settings = settings
        self._codecs = codecs
        self._listens = ListenReader(codecs.registry, COLUMNS)
        self._partitions: dict[int, Partition] = {}
        self._generation = -1
        self._lock = asyncio.Lock()

    async def start(self, sender: Claimant, reader: AIOKafkaConsumer) -> None:
        """Schemas of what it writes."""
        self._sender, self._reader = sender, reader
        self._writer = Writer(sender, self._settings.profile_items)
        await self._writer.start(self._codecs)

    async def resume(self, assigned: set[Place], generation: int) -> Mapping[Place, int]:
        """Drop what was given up, restore what is new, read on from where the state ends."""
        numbers = {number for _, number in assigned}
        async with self._lock:
            # After a generation without this worker, another may have had any of them.
            kept = numbers if generation - self._generation in (0, 1) else set()
            self._generation = generation
            await self._drop(self._partitions.keys() - kept)
            await self._take_over(sorted(numbers - self._partitions.keys()))
            self._count_listeners()
            return {(topic, number): self._next(topic, number) for topic, number in assigned}

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Include a batch; it is acknowledged at the next checkpoint."""
        metrics.BATCH_RECORDS.labels(batch.topic).observe(len(batch))
        if batch.topic == PRIVACY_COMMANDS.name:
            await self._take_commands(batch, done)
        elif batch.topic == PRIVACY_REKEYS.name:
            await self._take_rekeys(batch, done)
        else:
            await self._take_listens(batch, done)

    async def checkpoint(self) -> None:
        """Write changed profiles, state and positions, then acknowledge."""
        async with self._lock:
            await self._write()

    async def stop(self) -> None:
        """Let go of the partitions and the registry."""
        await self._drop(set(self._partitions))
        await self._codecs.close()

    async def _take_listens(self, batch: RecordBatch, done: Done) -> None:
        listens, unreadable = await self._listens.read(batch)
        async with self._lock:
            partition = self._partitions.get(batch.partition)
            if partition is None:
                return  # given up while the batch was on its way
            if partition.steps:  # a write was cut short; nothing may be folded before it is whole
                await self._writer.write(partition)
            include(partition, batch, listens, unreadable)
            partition.waiting.append(done)
            if sum(each.folded for each in self._partitions.values()) >= (
                self._settings.checkpoint_listens
            ):
                await self._write()

    async def _take_commands(self, batch: RecordBatch, done: Done) -> None:
        commands = await decode_commands(self._codecs, batch, PRODUCT)
        async with self._lock:
            partition = self._partitions.get(batch.partition)
            if partition is None:
                return
            left = [each for each in commands if each.offset >= partition.next_command]
            while left:
                count = _apart({partition.privacy.current(each.listener)} for each in left)
                part, left = left[:count], left[count:]
                history = await self._cut(partition, needing_history(partition, part))
                for command in part:
                    carry_out(partition, command, history, self._settings.profile_items)
                await self._writer.write(partition)
            partition.next_command = max(partition.next_command, batch.next_offset)
            partition.waiting.append(done)

    async def _take_rekeys(self, batch: RecordBatch, done: Done) -> None:
        rekeys = await decode_rekeys(self._codecs, batch, PRODUCT)
        async with self._lock:
            partition = self._partitions.get(batch.partition)
            if partition is None:
                return
            fresh = [each for each in rekeys if each.offset >= partition.next_rekey]
            # Gates note a listener independently of each other, so most come several times.
            left = list({(each.old, each.new): each for each in reversed(fresh)}.values())[::-1]
            while left:
                current = partition.privacy.current
                count = _apart({current(each.old), current(each.new)} for each in left)
                part, left = left[:count], left[count:]
                history = await self._cut(partition, needing_alignment(partition, part))
                apply(partition, part, history)
                await self._writer.write(partition)
            partition.next_rekey = max(partition.next_rekey, batch.next_offset)
            partition.waiting.append(done)

    async def _write(self) -> None:
        started = time.monotonic()
        written = [self._writer.write(each) for each in self._partitions.values() if each.due]
        if written:
            await asyncio.gather(*written)
            self._count_listeners()
            metrics.CHECKPOINT_SECONDS.labels(ROLE).observe(time.monotonic() - started)

    async def _cut(self, partition: Partition, listeners: set[str]) -> History:
        """Write everything, so that a step can follow; the history of ``listeners`` up to there."""
        if partition.due:
            await self._writer.write(partition)
        if not listeners:
            return NO_HISTORY
        return await self._listens.history(
            self._reader,
            partition.number,
            partition.intake.next_offset,
            partition.privacy.names_of(listeners),
            self._settings.duplicate_horizon,
        )

    async def _take_over(self, numbers: Sequence[int]) -> None:
        # Claims first: what a predecessor wrote after its state was read would be lost.
        claims = await asyncio.gather(
            *(self._sender.claim(f"{TASTE_STATE.name}-{number}") for number in numbers)
        )
        recovery = Recovery(self._settings, self._codecs, self._listens, self._reader)
        for number, claim in zip(numbers, claims, strict=True):
            self._partitions[number] = await recovery.restore(number, claim)

    async def _drop(self, numbers: Set[int]) -> None:
        for number in numbers:
            await self._partitions.pop(number).claim.release()

    def _next(self, topic: str, number: int) -> int:
        partition = self._partitions[number]
        if topic == PRIVACY_COMMANDS.name:
            return partition.next_command
        if topic == PRIVACY_REKEYS.name:
            return partition.next_rekey
        return partition.intake.next_offset

    def _count_listeners(self) -> None:
        metrics.LISTENERS.set(sum(each.state.listeners for each in self._partitions.values()))


def _apart(events: Iterable[set[str]]) -> int:
    """How many events, by the listeners each is about, come before one of them comes again."""
    seen: set[str] = set()
    count = 0
    for listeners in islice(events, _TOGETHER):
        if seen & listeners:
            break
        seen |= listeners
        count += 1
    return count
