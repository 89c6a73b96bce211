"""Fetching: what aiokafka has fetched, taken a batch at a time and as much as may be held.

In the thread that consumes. Whatever makes fetching or the membership in the group end is told to
the transport, because Faust looks at neither.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from streams import metrics
from streams.transport.batch import RecordBatch
from streams.transport.flow import footprint
from streams.transport.member import Member, told
from streams.transport.security import allowed
from streams.transport.stopping import insist
from streams.transport.unpacking import unpacked

if TYPE_CHECKING:
    from streams.transport.driver import Transport

_FETCHES = 8
"""A broker's answer may have this part of what may be held, so that fetching goes on evenly."""
_LEAST_FETCH_BYTES = 1024 * 1024
_AHEAD_S = 3_600.0
"""aiokafka fetches again from a broker when all of its last answer was taken, or this is over; its
own 0.1 s let as many answers pile up as there are partitions."""
_REQUEST_MS = 90_000
"""Kafka answers in this time, a request to join too: longer than a group waits for its members."""
_PAUSED_S = 0.02
"""How often to look whether fetching may go on."""


class BatchConsumerThread(stock.AIOKafkaConsumerThread):
    """Fetches: a list of records becomes one `RecordBatch` for the topics that are batched."""

    transport: Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._passed: dict[Any, tuple[int, int]] = {}

    def _create_worker_consumer(self, transport: stock.Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # Faust's own only within its transactions
        for each in (consumer, consumer._client):
            each._request_timeout_ms = _REQUEST_MS
        share = max(_LEAST_FETCH_BYTES, self.transport.held.bound // _FETCHES)
        consumer._fetch_max_bytes = share
        consumer._max_partition_fetch_bytes = min(share, consumer._max_partition_fetch_bytes)
        return consumer

    async def on_start(self) -> None:
        """Connect, and have one answer of each broker at a time fetched ahead, no more."""
        await super().on_start()
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        fetcher._prefetch_backoff = _AHEAD_S
        metrics.PREFETCHED_BYTES.set_function(lambda: _ahead(fetcher))
        Member.of(consumer._coordinator, self._fault)
        fetcher._fetch_task.add_done_callback(self._fetching_ended)

    async def on_thread_stop(self) -> None:
        """Stop consuming."""
        await insist(super().on_thread_stop(), self._consumer)

    def _fetching_ended(self, task: asyncio.Task[None]) -> None:
        if not self._ensure_consumer()._closed:  # it only ends by itself when something is wrong
            self._fault(None if task.cancelled() else task.exception())

    def _fault(self, error: BaseException | None) -> None:
        problem = told(error or ConsumerStoppedError())
        self.parent_loop.call_soon_threadsafe(self.transport.on_fault, problem)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - the stock driver's parameter
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            try:
                return await self._fetched(fetcher, active_partitions, timeout or 0.0, max_records)
            except ConsumerStoppedError:
                raise
            except KafkaError as error:
                raise told(error) from error

    async def _fetched(
        self, fetcher: Any, partitions: set[TP], patience_s: float, max_records: int | None
    ) -> dict[TP, list[Any]]:
        # Fetcher.fetched_records, but bounded per partition and without ConsumerRecord objects.
        deadline = time.monotonic() + patience_s
        while self.consumer.flow_active:  # else nobody takes what is fetched
            if fetcher._subscriptions.reassignment_in_progress:
                await fetcher._subscriptions.wait_for_assignment()
            room = self.transport.held.room
            drained = self._drain(fetcher, partitions, max_records, room)
            left = deadline - time.monotonic()
            if drained or left <= 0:
                return drained
            if not room:
                await asyncio.sleep(min(left, _PAUSED_S))
                continue
            waiter = fetcher._create_fetch_waiter()
            done, _ = await asyncio.wait([waiter], timeout=left)
            if not done or fetcher._closed:
                waiter.cancel()
                return {}
            waiter.result()
        return {}

    def _drain(
        self, fetcher: Any, partitions: set[TP], max_records: int | None, room: int
    ) -> dict[TP, list[Any]]:
        drained: dict[TP, list[Any]] = {}
        for tp in list(fetcher._records):
            if partitions and tp not in partitions:
                if not fetcher._subscriptions.is_assigned(tp):
                    del fetcher._records[tp]
                continue
            result = fetcher._records[tp]
            if type(result) is FetchResult:
                if room <= 0:
                    continue
                records = self._take(result, max_records, room)
                if not result.has_more():
                    del fetcher._records[tp]
                    fetcher._notify(fetcher._wait_consume_future)
                if records:
                    drained[TP(tp.topic, tp.partition)] = records
                    room -= sum(footprint(x) for x in records if isinstance(x, RecordBatch))
            elif not drained:  # an error; it is raised once what came before it is delivered
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
                with allowed(f"{tp.topic}/{tp.partition}"):
                    result.check_raise()
        return drained

    def _take(self, result: FetchResult, max_records: int | None, room: int) -> list[Any]:
        tp = result._topic_partition
        if tp.topic not in self.transport.batched:
            return list(result.getall(max_records))
        parsed = result._partition_records
        if parsed is None:
            return []
        start = parsed.next_fetch_offset
        records = unpacked(result, max_records, room)
        end = parsed.next_fetch_offset
        # What holds no record for us (taken back, or a marker) belongs to the next batch.
        before = self._passed.pop(tp, None)
        if before is not None and before[1] == start:
            start = before[0]
        if not records:
            self._passed[tp] = start, end
            return []
        return [RecordBatch.of(tp.topic, tp.partition, records, start, end)]


def _ahead(fetcher: Any) -> int:
    """Bytes that aiokafka has fetched and nobody has asked for."""
    waiting = [each for each in list(fetcher._records.values()) if type(each) is FetchResult]
    parsed = [each._partition_records for each in waiting]
    return sum(each._records.size_in_bytes() for each in parsed if each is not None)
