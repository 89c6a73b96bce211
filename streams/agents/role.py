"""What the app asks of a role, so that one factory serves gate, taste and report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer

from streams.topics import Topic
from streams.transport.batch import RecordBatch

Done = Callable[[], None]
"""Acknowledges a batch: its offsets may be committed once all before it are acknowledged too."""


class Sender(Protocol):
    """Writes records to an explicit partition, in order, and waits until the broker has them."""

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Iterable[bytes | None],
        values: Iterable[bytes | None],
    ) -> int:
        """Returns the offset after the last record."""


Place = tuple[str, int]
"""Topic and partition."""


class Role(Protocol):
    """A worker's task: batches of some topics in, something durable out."""

    inputs: tuple[Topic, ...]
    """The topics whose batches it takes."""
    topics: tuple[Topic, ...]
    """All topics it reads or writes."""

    async def start(self, sender: Sender, reader: AIOKafkaConsumer) -> None:
        """Prepare, before any partition is assigned. ``reader`` stays open until after `stop`."""

    async def resume(self, assigned: set[Place], generation: int) -> Mapping[Place, int]:
        """Restore what ``assigned`` needs; the offsets to read on from where not the committed.

        Partitions of the same number are assigned together where topics have equally many.
        """

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Process a batch and call ``done`` when it is durable, at once or at a checkpoint."""

    async def checkpoint(self) -> None:
        """Make durable what is held and acknowledge its batches."""

    async def stop(self) -> None:
        """Release what is held open; state is written by then."""
