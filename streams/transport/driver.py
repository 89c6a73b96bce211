"""Faust transport that delivers batches: one message per partition and fetch.

Faust's cost is its bookkeeping per message (measured: 12,000 events/s with no work done at all), so
a message here is a whole `RecordBatch`. It is the stock aiokafka driver but for four things:
records of the batched topics reach the agent as one message; offsets are committed from the
`OffsetLedger`; before partitions are given up, or the worker stops, the roles are asked to write
what they hold; and the producer sends whole batches to an explicit partition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage, Message
from mode.utils.futures import notify

from streams import logs, metrics
from streams.errors import BrokerError, SottoVoceError
from streams.rows import Column
from streams.transport.batch import RecordBatch
from streams.transport.claims import Claim, OpenClaim
from streams.transport.fetching import BatchConsumerThread
from streams.transport.flow import Held
from streams.transport.ledger import OffsetLedger
from streams.transport.producer import send_records

log = logs.get(__name__)

_HELD_BYTES = 128 * 1024 * 1024
RESTORE_S = 86_400.0
"""Faust's name for it is the time of a request, but it also ends recovery for good, without a word,
when seeking and with it `Transport.resume` takes longer."""

Drain = Callable[[], Awaitable[None]]
Resume = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]


async def nothing_held() -> None:
    """The drain of a role without state."""


async def _as_committed(_assigned: set[TP]) -> Mapping[TP, int]:
    """The resume of a role that reads on from the group's committed offsets."""
    return {}


class Seen(NamedTuple):
    """How far a partition is in this worker."""

    position: int | None
    """Next offset to be fetched; None while that is looked up."""
    in_flight: int
    """Batches delivered and not finished."""
    finished: int | None
    """Offset after what is finished; None if nothing was delivered since the assignment."""


class BatchSchema(Schema[None, RecordBatch]):
    """Hands a batch to the agent untouched; decoding is the agent's business."""

    def loads_key(self, app: Any, message: Message, **_: Any) -> None:
        """Batches have no key of their own."""

    def loads_value(self, app: Any, message: Message, **_: Any) -> Any:
        """The batch itself."""
        return message.value


class BatchConsumer(stock.Consumer):
    """Commits by ledger and drains the roles before partitions are given up."""

    transport: Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ledger = OffsetLedger()
        super().__init__(*args, **kwargs)
        held = self.transport.held
        metrics.HELD_BYTES.set_function(lambda: held.bytes)
        metrics.FETCHING_PAUSED.set_function(lambda: held.paused)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, RecordBatch):
            return super()._to_message(tp, record)
        message = ConsumerMessage(
            record.topic,
            record.partition,
            record.first_offset,
            record.timestamps[-1] / 1000.0,
            0,
            None,
            None,
            record,  # type: ignore[arg-type]  # Faust's bytes are ours column by column
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        end = record.end if record.end >= 0 else None
        self.ledger.deliver(tp, record, record.next_offset, end)
        self.transport.held.deliver(record)
        self.transport.on_end_offset(tp.topic, tp.partition, self.highwater(tp))
        return message

    def ack(self, message: Message) -> bool:
        """Note the batch of ``message`` as done."""
        if not isinstance(message.value, RecordBatch):
            return bool(super().ack(message))
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        finished = self.ledger.finish(message.tp, message.value)
        self.transport.held.finish(message.value)
        notify(self._waiting_for_ack)
        return finished

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.ledger:
            assert isinstance(tp, TP)
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.transport.batched:
            return self.ledger.committable(tp)
        offset: int | None = super()._new_offset(tp)
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self.transport.batched:
            await super()._add_gap(tp, offset_from, offset_to)

    async def _wait_next_records(
        self,
        timeout: float,  # noqa: ASYNC109 - the stock driver's parameter
    ) -> tuple[Any, Any]:
        # Without flow the stock driver would seek, and our roles restore, in the middle of a
        # rebalance; what ends the rebalance does it again.
        records, active = await super()._wait_next_records(timeout)
        if records:
            records = {tp: its for tp, its in records.items() if await self._follows(tp, its)}
        return (records if self.flow_active else None), active

    async def _follows(self, tp: TP, records: list[Any]) -> bool:
        """Whether what was fetched starts where the last delivery ended; else it is read again.

        The stock driver drops what it has fetched in several places when a rebalance comes, and
        reads on behind it; and a broker that has just become a leader may not know yet how far it
        is, so that aiokafka begins anew. What is finished then would be committed, and the rest
        never be read.

        Raises:
            BrokerError: the partition ends before that place.
        """
        first = records[0] if records else None
        if not isinstance(first, RecordBatch) or first.start < 0 or not self.flow_active:
            return True
        expected = self.ledger.expected(tp)
        if expected is None or first.start == expected:
            return True
        begin = (await self.earliest_offsets(tp))[tp]
        end = (await self.highwaters(tp))[tp]
        if end < expected:
            raise BrokerError(
                f"{tp.topic}/{tp.partition} ends at {end}, but was read up to {expected}: Kafka has"
                " lost records, or its new leader does not know them yet.",
                'The next worker looks again. If it stays so, see the handbook, "Kafka has lost'
                ' records".',
            )
        if first.start == begin > expected:
            log.error("records left Kafka before they were read", topic=tp.topic,
                      partition=tp.partition, records=begin - expected)  # fmt: skip
            return True
        log.warning("reading again what was fetched and not delivered", topic=tp.topic,
                    partition=tp.partition, start=first.start, expected=expected)  # fmt: skip
        await self.seek(tp, expected)
        return False

    async def seek(self, partition: TP, offset: int) -> None:
        """Read on at ``offset``."""
        if partition.topic in self.transport.batched:
            self.ledger.seek(partition, offset)
        await super().seek(partition, offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = bool(await super()._commit(offsets))
        if committed:
            for tp, offset in offsets.items():
                self.transport.on_committed(tp.topic, tp.partition, offset)
        return committed

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        # The stock driver notes as committed what was not, and would not try again (issue 611).
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not committed:
            for tp, offset in before.items():
                if self._committed_offset[tp] == offsets[tp]:
                    self._committed_offset[tp] = offset
        return committed

    @property
    def alive(self) -> bool:
        """Whether the thread that consumes runs."""
        thread = self._thread._thread
        return thread is None or thread.is_alive()

    def seen(self) -> dict[TP, Seen]:
        """How far the assigned partitions of batched topics are; empty during a rebalance."""
        assert isinstance(self._thread, BatchConsumerThread)
        subscription = self._thread._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription else None
        if assignment is None:
            return {}
        return {
            tp: Seen(
                assignment.state_value(each)._position,
                self.ledger.in_flight(tp),
                self.ledger.committable(tp),
            )
            for each in assignment.tps
            if (tp := TP(*each)).topic in self.transport.batched
        }

    async def perform_seek(self) -> None:
        """Back to the committed offsets: what was delivered since comes again."""
        self.ledger.reset()
        self.transport.held.reset()
        await super().perform_seek()
        for tp in self.assignment():
            if tp.topic not in self.transport.batched:
                continue
            if committed := self._committed_offset.get(tp):
                self.ledger.seek(tp, committed)
            else:
                await self.seek(tp, 0)  # the stock driver leaves it where it has been read to
        for tp, offset in (await self.transport.resume(self.assignment())).items():
            if tp not in self.assignment():
                continue  # taken away meanwhile; the next rebalance seeks again
            await self.seek(tp, offset)
            if offset > (self._committed_offset.get(tp) or 0):
                self.ledger.resume(tp, offset)  # else others see lag where nothing is left to do
        for tp, committed in self._committed_offset.items():
            if tp.topic in self.transport.batched and committed is not None:
                self.transport.on_committed(tp.topic, tp.partition, committed)

    async def wait_empty(self) -> None:
        """Have the roles write what they hold, so that their batches can be acknowledged."""
        if not self.transport.failed:
            await self.transport.drain()
        if not self.transport.failed:  # else what is held is never acknowledged
            await super().wait_empty()


class BatchProducer(stock.Producer):
    """Sends whole batches to an explicit partition."""

    transport: Transport

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self.transport.idempotent}

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        """As `streams.transport.producer.send_records`."""
        return await send_records(self._ensure_producer(), topic, partition, keys, values)

    async def claim(self, name: str) -> Claim | OpenClaim:
        """Fence whoever claimed ``name`` in this app before, if the broker can.

        Raises:
            BrokerError: Kafka does not grant it.
        """
        if not self.transport.idempotent:
            return OpenClaim(self.send_records)
        return await Claim.take(self._new_producer(transactional_id=f"{self.app.conf.id}-{name}"))


class Transport(stock.Transport):
    """The driver. `create_app` fills in the attributes before the app starts."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer
    Producer: ClassVar[type[BatchProducer]] = BatchProducer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batched: frozenset[str] = frozenset()
        """Topics whose records arrive as batches; all others one by one."""
        self.held = Held(_HELD_BYTES)
        """What is delivered and not finished; its bound is the settings'."""
        self.idempotent = True
        """Whether the producer asks the broker to drop what a retry sent twice."""
        self.failed = False
        """Whether the worker stops on a fault: it writes nothing more and waits for nothing."""
        self.drain: Drain = nothing_held
        """Called before partitions are given up: write what is held, acknowledge it."""
        self.resume: Resume = _as_committed
        """Called with the assigned partitions: restores their state and says where to read on."""
        self.on_end_offset: Callable[[str, int, int | None], None] = lambda *_: None
        self.on_committed: Callable[[str, int, int], None] = lambda *_: None
        self.on_fault: Callable[[SottoVoceError], None] = lambda _: None
        """Called when the consumer cannot go on; the worker must stop."""
