"""Kafka in memory for roles under test: what they send is there to be read at once."""

from __future__ import annotations

import time
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from streams.errors import BrokerError
from streams.rows import Column, listed
from streams.topics import Topic
from streams.transport.batch import RecordBatch
from streams.transport.claims import OpenClaim


class MemoryKafka:
    """A `Sender`, and as much of a consumer as `streams.transport.reader` uses.

    ``fails_after``: so many more calls of `send_records` succeed, then they fail.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.fails_after: int | None = None
        self._log: dict[TopicPartition, list[Any]] = defaultdict(list)
        self._position: dict[TopicPartition, int] = {}

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        if self.fails_after is not None:
            if not self.fails_after:
                raise BrokerError("The broker is gone.")
            self.fails_after -= 1
        assert 0 <= partition < self.partitions
        log = self._log[TopicPartition(topic, partition)]
        for key, value in zip(listed(keys), listed(values), strict=True):
            log.append(
                SimpleNamespace(
                    offset=len(log), timestamp=_now_ms(), key=key, value=value, headers=[]
                )
            )
        return len(log)

    async def claim(self, name: str) -> OpenClaim:
        """Nobody is fenced."""
        return OpenClaim(self.send_records)

    def batch(self, topic: Topic, partition: int, start: int = 0) -> RecordBatch:
        """What a partition holds from ``start`` on."""
        records = self._log[TopicPartition(topic.name, partition)][start:]
        return RecordBatch.of(topic.name, partition, records)

    def batches(self, topic: Topic) -> list[RecordBatch]:
        """Every partition that holds something."""
        return [
            self.batch(topic, number)
            for number in range(self.partitions)
            if self._log[TopicPartition(topic.name, number)]
        ]

    def records(self, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
        """Partition, key and value of everything in a topic."""
        return [
            (number, record.key, record.value)
            for number in range(self.partitions)
            for record in self._log[TopicPartition(topic, number)]
        ]

    # What `streams.transport.reader` calls.

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self.partitions))

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: len(self._log[tp]) for tp in tps}

    def assign(self, tps: list[TopicPartition]) -> None:
        assert not self._position, "two readers share one consumer"
        self._position = dict.fromkeys(tps, 0)

    def unsubscribe(self) -> None:
        self._position = {}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._position[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._position[tp]

    async def getmany(self, tp: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        records = self._log[tp][self._position[tp] :][:3]
        self._position[tp] += len(records)
        return {tp: records}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
