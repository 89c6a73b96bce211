"""Topics in memory, written a Kafka batch at a time; retention, and a broker that dies on time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.errors import BrokerError
from streams.rows import Column, listed
from streams.topics import Topic
from streams.transport.batch import RecordBatch
from streams.transport.claims import OpenClaim

RECORD_BYTES = 40
"""About what a record adds to its key and value in a Kafka batch."""
FETCH_RECORDS = 7


@dataclass(slots=True)
class Record:
    """A record as aiokafka's parser yields it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


class Topics:
    """Partition 0 of every topic: a sender, and what a reader reads.

    ``batch_bytes``: how much is written at once, whole or not at all. ``last_write``: how many
    batches are written before the broker dies.
    """

    def __init__(self, batch_bytes: int = 900 * 1024) -> None:
        self._batch_bytes = batch_bytes
        self.log: dict[str, list[Record]] = defaultdict(list)
        self.begin: dict[str, int] = defaultdict(int)
        self.writes = 0
        self.last_write: int | None = None

    def records(self, topic: Topic) -> list[Record]:
        """What retention has left."""
        return self.log[topic.name][self.begin[topic.name] :]

    def newest(self, topic: Topic) -> dict[str, bytes | None]:
        """The newest value of each key."""
        return {(each.key or b"").decode(): each.value for each in self.records(topic)}

    def batch(self, topic: Topic, start: int, size: int) -> RecordBatch | None:
        """Up to ``size`` records from ``start`` on."""
        found = [each for each in self.records(topic) if each.offset >= start][:size]
        return RecordBatch.of(topic.name, 0, found) if found else None

    def add(
        self,
        topic: Topic,
        keys: Iterable[bytes | None],
        values: Iterable[bytes | None],
        timestamp: int = 0,
    ) -> None:
        """Append records, whatever became of the broker."""
        log = self.log[topic.name]
        for key, value in zip(keys, values, strict=True):
            log.append(Record(len(log), timestamp, key, value))

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        """As `streams.agents.role.Sender`."""
        assert partition == 0
        log, waiting = self.log[topic], list(zip(listed(keys), listed(values), strict=True))
        while waiting:
            if self.writes == self.last_write:
                raise BrokerError("The broker is gone.")
            self.writes += 1
            taken = self._fitting(waiting)
            for key, value in waiting[:taken]:
                log.append(Record(len(log), 0, key, value))
            waiting = waiting[taken:]
        return len(log)

    async def claim(self, name: str) -> OpenClaim:
        """Nobody is fenced."""
        return OpenClaim(self.send_records)

    def reader(self) -> AIOKafkaConsumer:
        """A consumer without a group."""
        return cast("AIOKafkaConsumer", _Reader(self))

    def _fitting(self, records: list[tuple[bytes | None, bytes | None]]) -> int:
        size = 0
        for number, (key, value) in enumerate(records):
            size += len(key or b"") + len(value or b"") + RECORD_BYTES
            if number and size > self._batch_bytes:
                return number
        return len(records)


class Positioned:
    """Where a reader without a group is in each partition."""

    def __init__(self) -> None:
        self._position: dict[TopicPartition, int] = {}

    def assign(self, tps: list[TopicPartition]) -> None:
        self._position = dict.fromkeys(tps, 0)

    def unsubscribe(self) -> None:
        self._position.clear()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._position[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._position[tp]


class _Reader(Positioned):
    """What `streams.transport.reader` calls."""

    def __init__(self, topics: Topics) -> None:
        super().__init__()
        self._topics = topics

    async def beginning_offsets(self, tps: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {tp: self._topics.begin[tp.topic] for tp in tps}

    async def end_offsets(self, tps: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {tp: len(self._topics.log[tp.topic]) for tp in tps}

    async def getmany(self, tp: TopicPartition, **_: Any) -> Mapping[TopicPartition, list[Record]]:
        begin = self._position[tp]
        found = list(islice(self._topics.log[tp.topic], begin, begin + FETCH_RECORDS))
        self._position[tp] += len(found)
        return {tp: found}
