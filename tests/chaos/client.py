"""A client that sends a history at a steady rate, tries again until it is taken, and asks nobody
to drop what a retry sent twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.avro.encode import RecordEncoder
from streams.sources.play import Play
from streams.topics import PLAYS
from tests.chaos.history import History, play_key, poison_key, poisoned, spoilt

RETRY_S = 0.5
LATE_S = (0.2, 4.0)

Record = tuple[bytes, bytes | None]
"""Key and value."""


class Client:
    """Sends `History` chunk by chunk to one partition after another.

    Attributes:
        sent: chunks that Kafka acknowledged, a resent one again.
        often: what it did on purpose besides sending: duplicated, delayed, poison by kind.
    """

    def __init__(
        self,
        brokers: str,
        history: History,
        encoders: Sequence[RecordEncoder],
        partitions: int,
        rate: float,
    ) -> None:
        """``encoders`` are of the schema at work and of a newer one."""
        self._brokers, self._history, self._rate = brokers, history, rate
        self._encoders, self._partitions = encoders, partitions
        self._random = random.Random(f"client {history.seed}")
        self._poison: list[str] = []
        self._unreliable = 0
        self._version = 0
        self.plays = 0
        self.sent = 0
        self.often: Counter[str] = Counter()

    def poison(self, kind: str) -> None:
        """Put a record of this kind into the next chunk."""
        self._poison.append(kind)

    def upgrade(self) -> None:
        """Write with the newer schema from now on."""
        self._version = 1

    def unreliable(self, more: int) -> None:
        """+1: chunks come twice, late and in another order; -1 ends that."""
        self._unreliable += more

    async def run(self) -> None:
        """Send everything; returns when Kafka has it."""
        began = time.monotonic()
        async with _Producer(self._brokers) as producer, asyncio.TaskGroup() as underway:
            for number, chunk in enumerate(self._history.chunks()):
                due = began + chunk.start / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                records = self._records(chunk)
                for wait, to in self._ways(number % self._partitions):
                    underway.create_task(self._deliver(producer, to, records, wait))
                self.plays = chunk.stop

    def _ways(self, partition: int) -> list[tuple[float, int]]:
        """When and where a chunk goes, once for each time."""
        if not self._unreliable:
            return [(0.0, partition)]
        late = self._random.uniform(*LATE_S)
        other = self._random.randrange(self._partitions)
        match self._random.choice(("once", "late", "twice", "elsewhere")):
            case "late":
                self.often["chunks delayed and overtaken"] += 1
                return [(late, partition)]
            case "twice":
                self.often["chunks sent twice"] += 1
                return [(0.0, partition), (0.0, partition)]
            case "elsewhere":
                self.often["chunks sent again late to any partition"] += 1
                return [(0.0, partition), (late, other)]
        return [(0.0, partition)]

    def _records(self, chunk: range) -> list[Record]:
        plays = [self._history.plays[index] for index in chunk]
        values = self._encode(plays)
        records: list[Record] = [
            (play_key(index), value) for index, value in zip(chunk, values, strict=True)
        ]
        while self._poison:
            kind = self._poison.pop()
            bad = poisoned(self._random.choice(plays), kind, int(time.time() * 1_000))
            record = poison_key(kind, self.often.total()), spoilt(self._encode([bad])[0], kind)
            self.often[f"poison: {kind}"] += 1
            records.insert(self._random.randrange(len(records) + 1), record)
        return records

    def _encode(self, plays: Sequence[Play]) -> list[bytes]:
        return self._encoders[self._version].encode(plays)

    async def _deliver(
        self, producer: AIOKafkaProducer, partition: int, records: Sequence[Record], wait_s: float
    ) -> None:
        await asyncio.sleep(wait_s)
        while True:
            try:
                batch = producer.create_batch()
                for key, value in records:
                    assert batch.append(key=key, value=value, timestamp=None)
                batch.close()
                await (await producer.send_batch(batch, PLAYS.name, partition=partition))
                self.sent += 1
                return
            except KafkaError:
                self.often["chunks sent again after an error"] += 1
                await asyncio.sleep(RETRY_S)


class _Producer:
    """A producer without idempotence."""

    def __init__(self, brokers: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=brokers,
            acks="all",
            enable_idempotence=False,
            max_batch_size=900 * 1024,
            request_timeout_ms=10_000,
        )

    async def __aenter__(self) -> AIOKafkaProducer:
        await self._producer.start()
        return self._producer

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
