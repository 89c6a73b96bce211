"""Reads a span of a partition outside any consumer group: changelogs, look-backs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from streams import metrics
from streams.settings import Kafka
from streams.transport.batch import RawRecord, RecordBatch
from streams.transport.security import allowed, client_arguments, refusal
from streams.transport.stopping import insist
from streams.transport.unpacking import unpacked

_FETCH_BYTES = 4 * 1024 * 1024
_FETCH_WAIT_MS = 20
"""A broker answers one connection in order, so whoever asks for offsets waits for a fetch."""


@asynccontextmanager
async def partition_reader(
    kafka: Kafka, patience_s: float | None = None
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without a group; what it asks for waits so long for a Kafka that has gone.

    Raises:
        BrokerError: the broker cannot be reached, or (`AccessError`) refuses us.
    """
    consumer = _Consumer(
        **client_arguments(kafka),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        isolation_level="read_committed",
    )
    if patience_s is not None:
        consumer._request_timeout_ms = int(patience_s * 1_000)  # the client's own stays as it is
    try:
        try:
            await consumer.start()
            await asyncio.sleep(0)  # one stopped before its tasks have begun raises CancelledError
        except KafkaError as error:
            raise await refusal(kafka, error) from error
        yield consumer
    finally:
        await consumer.stop()


async def read_span(
    consumer: AIOKafkaConsumer, topic: str, partition: int, start: int = 0, end: int | None = None
) -> AsyncIterator[RecordBatch]:
    """Batches of ``[start, end)``; ``end`` None is the end of the partition when the call begins.

    Retention may have removed the head of the span; what is left is read. The end that a broker
    reports can lie inside the last batch written (the embedded one's does), so without ``end`` that
    batch is read whole.

    Raises:
        AccessError: access lists keep it from us.
    """
    tp = TopicPartition(topic, partition)
    with allowed(f"{topic}/{partition}"):
        beginning = (await consumer.beginning_offsets([tp]))[tp]
        stop = (await consumer.end_offsets([tp]))[tp] if end is None else end
    position = max(start, beginning)
    if position >= stop:
        return
    consumer.assign([tp])
    try:
        consumer.seek(tp, position)
        while position < stop:
            with allowed(f"{topic}/{partition}"):
                records = (await consumer.getmany(tp, timeout_ms=1_000)).get(tp, [])
                position = await consumer.position(tp)
            metrics.READ_BACK.inc(len(records))
            wanted = [record for record in records if end is None or record.offset < end]
            if wanted:
                yield RecordBatch.of(topic, partition, wanted)
    finally:
        consumer.unsubscribe()  # else it goes on fetching


class _Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """Hands out a fetch at a time, as `streams.transport.unpacking` takes it apart."""

    async def stop(self) -> None:
        await insist(super().stop(), self)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[RawRecord]]:
        fetcher = self._fetcher
        if not fetcher._records:
            waiter = fetcher._create_fetch_waiter()
            with self._subscription.fetch_context():
                done, _ = await asyncio.wait([waiter], timeout=timeout_ms / 1_000)
            if not done or fetcher._closed:
                waiter.cancel()
                return {}
            waiter.result()  # raises what keeps it from fetching
        records: dict[TopicPartition, list[RawRecord]] = {}
        for tp, result in list(fetcher._records.items()):
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
            if partitions and tp not in partitions:
                continue  # of a span that was left before its end
            if type(result) is not FetchResult:
                result.check_raise()
            records[tp] = unpacked(result)
        return records


async def end_offsets(consumer: AIOKafkaConsumer, topic: str) -> Mapping[int, int]:
    """End of each partition of ``topic``; empty if there is no such topic.

    Raises:
        AccessError: access lists keep it from us. They do not tell whether there is such a topic.
    """
    with allowed(topic):
        partitions = consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in partitions])
    return {tp.partition: offset for tp, offset in sorted(ends.items())}


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.add_topic(topic)
    if topic in consumer._client.cluster.unauthorized_topics:
        raise TopicAuthorizationFailedError(topic)
    return consumer.partitions_for_topic(topic) or set()
