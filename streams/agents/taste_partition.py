"""What the taste role has of one partition, and how it is written.

A checkpoint writes changed profiles, then their states, then the partition's positions, in one
transaction of the partition's claim. Where the broker has none, whoever dies in between leaves
states that are ahead of the positions, each with the offset it includes: the next worker reads the
listens again, and those that a state includes are skipped.

What a privacy command or a rekey does cannot be told apart afterwards, nor done twice. So it is
only done when everything before it is written, and what came of it goes into one Kafka batch with
the positions after it: all of it is there or nothing is. Profiles go before that batch and are
written again with it; answers go after it, and stand in the positions until they are sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from streams import metrics
from streams.agents.codecs import Codecs
from streams.agents.commands import Answer, Held, send_answers
from streams.agents.intake import Intake
from streams.agents.role import Claim, Done, Sender
from streams.rows import ARROW, BINARY, Column, listed
from streams.taste.state import Dump, TasteState, Written
from streams.topics import PRIVACY_ANSWERS, PROFILES, TASTE_STATE, Topic
from streams.transport.producer import BATCH_BYTES

POSITIONS_KEY = b"@positions"
_RECORD_BYTES = 64
"""More than what a record adds to its key and value in a batch, and a batch to its records."""


class Step(NamedTuple):
    """A command or rekey that was applied: where it leads, whom to write or delete, what to say."""

    next_command: int
    next_rekey: int
    touched: frozenset[str]
    answers: tuple[Answer, ...]


@dataclass(slots=True)
class Partition:
    """State of one partition of `listens`, how far its topics are included, and what is to write.

    Attributes:
        claim: what state and profiles are sent with.
        next_command: first offset of ``privacy-commands`` that is not applied.
        next_rekey: the same of ``privacy-rekeys``.
        owed: answers to steps that are written.
        steps: what was applied and is not written. No listener is in two of them.
        waiting: batches to acknowledge.
        changed: listeners to write.
        folded: listens since the last checkpoint.
    """

    number: int
    claim: Claim
    state: TasteState
    intake: Intake
    privacy: Held
    next_command: int = 0
    next_rekey: int = 0
    owed: list[Answer] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    waiting: list[Done] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    folded: int = 0

    @property
    def due(self) -> bool:
        """Whether anything is to write or to acknowledge."""
        return bool(self.waiting or self.steps or self.owed or self.folded)

    def fold(self, listens: pl.DataFrame) -> tuple[int, int]:
        """Include admitted listens; how many were new, and how many are not to be included."""
        wanted = self.privacy.admit(listens)
        folded = self.state.fold(wanted)
        self.folded += folded
        return folded, len(listens) - len(wanted)

    def step(self, touched: Iterable[str], answers: Iterable[Answer] = ()) -> None:
        """Note what came of what was just applied."""
        asked = tuple(answer for answer in answers if answer.request)
        self.steps.append(Step(self.next_command, self.next_rekey, frozenset(touched), asked))

    def written(self) -> None:
        """Note that all is durable."""
        self.changed.clear()
        for done in self.waiting:
            done()
        self.waiting.clear()
        self.folded = 0


@dataclass(frozen=True, slots=True)
class Positions:
    """How far a partition had come: the record under `POSITIONS_KEY`."""

    next_offset: int = 0
    highest: Mapping[int, int] = field(default_factory=dict)
    next_command: int = 0
    next_rekey: int = 0
    restricted: Sequence[str] = field(default=(), repr=False)
    owed: Sequence[Answer] = field(default=(), repr=False)

    @classmethod
    def of(cls, listens_offset: int, body: bytes) -> Positions:
        """What `row` was made of, here or in a release before privacy commands."""
        stored = json.loads(body)
        highest = {int(key): value for key, value in stored.get("highest", stored).items()}
        if "highest" not in stored:
            return cls(listens_offset + 1, highest)
        return cls(
            listens_offset + 1,
            highest,
            stored["commands"],
            stored["rekeys"],
            stored["restricted"],
            [Answer(**answer) for answer in stored["owed"]],
        )

    def row(self) -> pl.DataFrame:
        """Row of ``taste-state``."""
        body = {
            "highest": self.highest,
            "commands": self.next_command,
            "rekeys": self.next_rekey,
            "restricted": self.restricted,
            "owed": [asdict(answer) for answer in self.owed],
        }
        encoded = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
        return pl.DataFrame({"listens_offset": [self.next_offset - 1], "body": [encoded]})


class Writer:
    """Writes what a partition has to write."""

    def __init__(self, sender: Sender, profile_items: int) -> None:
        self._sender = sender
        self._items = profile_items

    async def start(self, codecs: Codecs) -> None:
        """Schemas of what it writes."""
        self._states = await codecs.columns(TASTE_STATE)
        self._profiles = await codecs.nested(PROFILES)
        self._answers = await codecs.columns(PRIVACY_ANSWERS)

    async def write(self, partition: Partition) -> None:
        """Write everything and acknowledge it.

        Raises:
            TakenOver: another worker has the partition; nothing was written.
            BrokerError: not all was taken; what is to write stays noted, so that writing again
                completes it.
        """
        if partition.steps:
            await self._write_steps(partition)
        await self._answer(partition)
        partition.changed.update(partition.state.checkpoint().listeners)
        async with partition.claim.transaction():
            await self._write_changed(partition)
        partition.written()

    async def _write_changed(self, partition: Partition) -> None:
        if partition.changed:
            changed = sorted(partition.changed)
            hidden = partition.privacy.restricted(changed)
            for page in partition.state.written(changed, self._items):
                await self._send_profiles(partition, page.profiles, hidden)
                await self._send(partition, TASTE_STATE, *self._encoded(page))
        positions = self._positions(partition, partition.next_command, partition.next_rekey, ())
        await self._send(partition, TASTE_STATE, [POSITIONS_KEY], [positions])

    async def _write_steps(self, partition: Partition) -> None:
        state = partition.state
        state.checkpoint()  # whoever changed is in a step: everything before them is written
        touched = sorted(frozenset().union(*(step.touched for step in partition.steps)))
        there = [name for name in touched if name in state]
        shown = set(there) - partition.privacy.restricted(there)
        gone = [name.encode() for name in touched if name not in shown]
        async with partition.claim.transaction():
            await self._write_profiles(partition, sorted(shown))
            if gone:
                await self._send(partition, PROFILES, gone, [None] * len(gone))
        bodies = dict(zip(*map(listed, self._encoded(state.dump(there))), strict=True))
        while partition.steps:
            count, records, owed = self._batch(partition, bodies)
            async with partition.claim.transaction():
                await self._send(partition, TASTE_STATE, list(records), list(records.values()))
            partition.owed = owed
            del partition.steps[:count]
            await self._answer(partition)

    def _batch(
        self, partition: Partition, bodies: Mapping[bytes, bytes]
    ) -> tuple[int, dict[bytes, bytes | None], list[Answer]]:
        """As many steps as fit one Kafka batch with the positions after them, one at least.

        A step fits: its two states and answers come to some tens of KiB, with the default bounds.
        """
        records: dict[bytes, bytes | None] = {}
        owed = list(partition.owed)
        base = self._positions(partition, 0, 0, owed)
        count, size, last = 0, len(base) + 2 * _RECORD_BYTES, partition.steps[0]
        for step in partition.steps:
            more = {name.encode(): bodies.get(name.encode()) for name in sorted(step.touched)}
            size += sum(len(k) + len(v or b"") + _RECORD_BYTES for k, v in more.items())
            size += sum(len(json.dumps(asdict(answer)).encode()) + 2 for answer in step.answers)
            if count and size > BATCH_BYTES:
                break
            records |= more
            owed += step.answers
            count, last = count + 1, step
        records[POSITIONS_KEY] = self._positions(
            partition, last.next_command, last.next_rekey, owed
        )
        return count, records, owed

    async def _answer(self, partition: Partition) -> None:
        if partition.owed:
            now_ms = int(time.time() * 1_000)
            number = partition.number
            await send_answers(self._sender, self._answers, number, partition.owed, now_ms)
            partition.owed = []

    def _positions(
        self, partition: Partition, command: int, rekey: int, owed: Sequence[Answer]
    ) -> bytes:
        restricted = sorted(partition.privacy.all_restricted)
        intake = partition.intake
        positions = Positions(intake.next_offset, intake.highest, command, rekey, restricted, owed)
        return self._states.encode(positions.row())[0]

    async def _write_profiles(self, partition: Partition, listeners: list[str]) -> None:
        for page in partition.state.profile_tables(listeners, self._items):
            await self._send_profiles(partition, page)

    async def _send_profiles(
        self, partition: Partition, page: pa.Table, hidden: Collection[str] = ()
    ) -> None:
        if hidden:
            page = page.filter(pc.invert(pc.is_in(page["listener"], pa.array(hidden))))
        if len(page):
            keys = page["listener"].combine_chunks().cast(BINARY)
            await self._send(partition, PROFILES, keys, self._profiles.column(page))
            metrics.PROFILES_WRITTEN.inc(len(page))

    def _encoded(self, dump: Dump | Written) -> tuple[pa.LargeBinaryArray, pa.LargeBinaryArray]:
        """Keys and values of ``taste-state``."""
        rows = pl.DataFrame({"listens_offset": dump.offsets, "body": dump.bodies}, schema=_STATES)
        keys = pl.Series(dump.listeners, dtype=pl.String).cast(pl.Binary)
        return keys.to_arrow(compat_level=ARROW), self._states.column(rows)

    async def _send(
        self,
        partition: Partition,
        topic: Topic,
        keys: Column,
        values: Column,
    ) -> None:
        end = await partition.claim.send_records(topic.name, partition.number, keys, values)
        metrics.WRITTEN_OFFSET.labels(topic.name, partition.number).set(end)


_STATES = pl.Schema({"listens_offset": pl.Int64, "body": pl.Binary})
