"""What one worker at a time may write: a claim, which the next worker's claim ends.

A worker that Kafka's group gave up (stopped for longer than its session, say) does not know it and
would write on over its successor's state. A claim is a transactional id: initialising it ends the
transaction that is open under it and fences every producer that had it before (KIP-98, KIP-360), so
what the fenced one still sends is refused. Whoever reads committed records after claiming therefore
reads all that the predecessors will ever have written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.errors import TakenOver
from streams.rows import Column
from streams.transport.producer import refused, send_records

Send = Callable[[str, int, Iterable[bytes | None], Iterable[bytes | None]], Awaitable[int]]
"""`streams.transport.producer.send_records` of some producer."""


class Claim:
    """A claim on the transactional id of ``producer``, which is its own."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._lost: TakenOver | None = None
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def take(cls, producer: AIOKafkaProducer) -> Claim:
        """Start ``producer``; when this returns, all who had its transactional id are fenced.

        Raises:
            BrokerError: Kafka does not grant it.
        """
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            raise refused(error, "a transactional id") from error
        return cls(producer)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """What is sent within is there for readers of committed records as a whole or not at all.

        Raises:
            TakenOver: another worker has the claim; nothing sent within is there.
            BrokerError: it cannot be said whether it is there; send it again.
        """
        if self._lost is not None:
            raise self._lost
        try:
            if self._ending is not None:
                await asyncio.shield(self._ending)
            await self._producer.begin_transaction()
            try:
                yield
            except BaseException:
                await self._abort()
                raise
            # It goes on when whoever waits for it is cancelled, and is waited for by the next.
            self._ending = asyncio.create_task(self._producer.commit_transaction())
            await asyncio.shield(self._ending)
        except TakenOver as loss:
            self._lost = loss
            raise
        except KafkaError as error:
            problem = refused(error, "a transaction")
            if isinstance(problem, TakenOver):
                self._lost = problem
            raise problem from error

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        """As `streams.transport.producer.send_records`, within a `transaction` only."""
        return await send_records(self._producer, topic, partition, keys, values)

    async def release(self) -> None:
        """Let go of the connection. The claim stands until another takes it."""
        await self._producer.stop()

    async def _abort(self) -> None:
        try:
            await self._producer.abort_transaction()
        except (KafkaError, AssertionError):
            # A fenced producer has nothing to end, its successor did. But asyncio would log that
            # nobody looked at the error that aiokafka has left with whatever may be waited for.
            sending = self._producer._message_accumulator._batches.values()
            waiters = [batch._drain_waiter for batches in sending for batch in batches]
            for each in (self._producer._txn_manager.wait_for_transaction_end(), *waiters):
                if each.done() and not each.cancelled():
                    each.exception()


class OpenClaim:
    """A claim where the broker has no transactions: it fences nobody and hides nothing."""

    def __init__(self, send: Send) -> None:
        self._send = send

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Nothing but a place to send within."""
        yield

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        """Send, as the worker does everything else."""
        return await self._send(topic, partition, keys, values)

    async def release(self) -> None:
        """Nothing: the connection is the worker's."""
