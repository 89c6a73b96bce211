"""What the app asks of a role, so that one factory serves gate, taste and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiokafka import AIOKafkaConsumer

from streams.rows import Column
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
        keys: Column,
        values: Column,
    ) -> int:
        """Returns the offset after the last record."""


class Claim(Sender, Protocol):
    """A sender for what one worker at a time may write: see `streams.transport.claims`."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """What is sent within is there as a whole or not at all for readers of committed records.

        Raises:
            TakenOver: another worker has the claim.
        """

    async def release(self) -> None:
        """Let go of the connection."""


class Claimant(Sender, Protocol):
    """A sender that can claim what others may write, too."""

    async def claim(self, name: str) -> Claim:
        """Fence whoever claimed ``name`` before; only then read what they wrote."""


Place = tuple[str, int]
"""Topic and partition."""


class Role(Protocol):
    """A worker's task: batches of some topics in, something durable out."""

    inputs: tuple[Topic, ...]
    """The topics whose batches it takes."""
    reads: tuple[Topic, ...]
    """All topics it reads."""
    writes: tuple[Topic, ...]
    """All topics it writes."""

    async def start(self, sender: Claimant, reader: AIOKafkaConsumer) -> None:
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
