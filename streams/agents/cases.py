"""Requests under way, as the topics tell it: what was commanded, answered and receipted.

All of it is read from the topics and nothing is kept elsewhere, so a worker that takes a partition
over comes to the same conclusions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer

from streams import logs
from streams.agents.following import Following
from streams.agents.reading import Row, RowReader
from streams.avro.registry import Registry
from streams.privacy.receipts import Answer, Issued, outstanding
from streams.privacy.requests import NOT_ANSWERED, Command, Request
from streams.topics import PRIVACY_ANSWERS, PRIVACY_COMMANDS, PRIVACY_RECEIPTS
from streams.transport.batch import RecordBatch

ANSWER_FIELDS = (
    "request", "audience", "store", "removed", "remaining", "check", "finished_at",
)  # fmt: skip

log = logs.get(__name__)


@dataclass(slots=True)
class _Log:
    """What stands in a partition of commands."""

    issued: dict[str, Issued] = field(default_factory=dict)
    """By digest."""
    unanswered: set[tuple[str, int]] = field(default_factory=set)
    """Listener and ``before`` of the commands that carry none."""


class CommandLog:
    """The commands that were issued, by partition, read on as far as somebody asks."""

    def __init__(self, registry: Registry) -> None:
        fields = ("request", "audience", "action", "issued_at", "listener", "before")
        self._rows = RowReader(registry, fields)
        self._follower = Following(PRIVACY_COMMANDS)
        self._logs: dict[int, _Log] = {}

    async def follow(self, reader: AIOKafkaConsumer, partition: int) -> None:
        """Take in what was added to the partition."""
        its = self._logs.setdefault(partition, _Log())
        async for batch in self._follower.news(reader, partition):
            rows, faults = await self._rows.read(batch.values)
            _alarm(batch, len(faults))
            for _, row in rows:
                if row["request"] == NOT_ANSWERED:
                    its.unanswered.add((row["listener"], row["before"]))
                else:
                    first = Issued(row["audience"], row["action"], row["issued_at"])
                    its.issued.setdefault(row["request"], first)

    def has(self, partition: int, command: Command) -> bool:
        """Whether this command stands in the partition, as far as it was followed."""
        its = self._logs[partition]
        if command.request == NOT_ANSWERED:
            return (command.listener, command.before) in its.unanswered
        return command.request in its.issued

    def issued(self, partition: int, digests: Iterable[str]) -> dict[str, Issued]:
        """Those of ``digests`` that stand there."""
        its = self._logs[partition].issued
        return {digest: its[digest] for digest in digests if digest in its}


@dataclass(frozen=True, slots=True, repr=False)
class Due:
    """A request whose stores have all answered and that has no receipt."""

    request: Request
    issued: Mapping[str, Issued]
    answers: list[Answer]


class Cases:
    """The answers of one partition that wait for others, and the receipts written there."""

    def __init__(self, partition: int, registry: Registry) -> None:
        self.partition = partition
        self._rows = RowReader(registry, ANSWER_FIELDS)
        self._answers = Following(PRIVACY_ANSWERS)
        self._receipts = Following(PRIVACY_RECEIPTS)
        self._receipted: set[str] = set()
        self._open: dict[str, dict[str, Answer]] = {}
        """By digest and store."""

    async def catch_up(self, reader: AIOKafkaConsumer) -> None:
        """Take in the answers and receipts that were added."""
        async for batch in self._answers.news(reader, self.partition):
            await self.take(batch)
        await self.follow_receipts(reader)

    async def follow_receipts(self, reader: AIOKafkaConsumer) -> None:
        """Take in the receipts that were added, another worker's too."""
        async for batch in self._receipts.news(reader, self.partition):
            self._receipted |= {key.decode(errors="replace") for key in batch.keys if key}

    async def take(self, batch: RecordBatch) -> None:
        """Take in answers; those it has had change nothing."""
        rows, faults = await self._rows.read(batch.values)
        _alarm(batch, len(faults))
        for _, row in rows:
            if row["request"] != NOT_ANSWERED:
                answer = _answer(row)
                stores = self._open.setdefault(answer.request, {})
                earlier = stores.get(answer.store)
                stores[answer.store] = answer if earlier is None else earlier.combined(answer)

    @property
    def waiting(self) -> bool:
        """Whether there are answers that no receipt holds yet."""
        return bool(self._open)

    def unknown(self, known: Mapping[str, Request]) -> bool:
        """Whether there are answers to a request that is not among ``known``."""
        return not self._open.keys() <= known.keys()

    def due(self, digests: Mapping[str, Request], commands: CommandLog) -> list[Due]:
        """What a receipt can be written for. ``digests`` are those of all requests there are."""
        answered = {digests[each] for each in self._open if each in digests}
        by_request: dict[Request, list[str]] = {request: [] for request in answered}
        for digest, request in digests.items():
            if request in answered:
                by_request[request].append(digest)
        found = []
        for request, its in by_request.items():
            issued = commands.issued(self.partition, its)
            given = [(each, store) for each in its for store in self._open.get(each, ())]
            if request.request_id in self._receipted:
                self._drop(its)
            elif issued and not outstanding(issued, given):
                answers = [self._open[each][store] for each, store in given if each in issued]
                found.append(Due(request, issued, answers))
        return found

    def close(self, due: Due) -> None:
        """Note that the receipt is written."""
        self._receipted.add(due.request.request_id)
        self._drop(due.issued)

    def _drop(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._open.pop(digest, None)


def _answer(row: Row) -> Answer:
    return Answer(*(row[name] for name in ANSWER_FIELDS))


def _alarm(batch: RecordBatch, faulty: int) -> None:
    """Only this package writes there: someone else did, or a schema is gone."""
    if faulty:
        log.error(
            "records that do not decode", topic=batch.topic, partition=batch.partition, count=faulty
        )
