"""What the driver does other than Faust's: commits that failed, and rebalances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import faust
import numpy as np
import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from streams.errors import AccessError, BrokerError, SottoVoceError
from streams.transport.batch import RecordBatch
from streams.transport.driver import BatchConsumer, Transport
from streams.transport.fetching import BatchConsumerThread

PLAYS = TP("plays", 0)


async def _ignored(_message: object) -> None:
    """Nobody reads."""


@pytest.fixture
async def consumer() -> AsyncIterator[BatchConsumer]:
    """A consumer that is not started, as if it had `PLAYS`."""
    app = faust.App("driver-test", broker="kafka://127.0.0.1:1", store="memory://")
    transport = Transport(url=app.conf.broker_consumer, app=app)
    transport.batched = frozenset({PLAYS.topic})
    app.transport = app.producer_transport = transport
    made = transport.create_consumer(
        callback=_ignored,
        on_partitions_revoked=lambda *_: None,
        on_partitions_assigned=lambda *_: None,
    )
    assert isinstance(made, BatchConsumer)
    yield made
    made._thread.thread_loop.close()


async def test_a_commit_that_failed_is_tried_again(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Mapping[TP, int]] = []
    succeeds = False

    async def commit(_self: Any, offsets: Mapping[TP, int]) -> bool:
        tried.append(dict(offsets))
        return succeeds

    async def flushed() -> None:
        return None

    monkeypatch.setattr(stock.Consumer, "_commit", commit)
    monkeypatch.setattr(BatchConsumer, "assignment", lambda _: {PLAYS})
    monkeypatch.setattr(consumer.app.producer, "flush", flushed)
    told: list[int] = []
    consumer.transport.on_committed = lambda _topic, _partition, offset: told.append(offset)
    batch = object()
    consumer.ledger.deliver(PLAYS, batch, 10)
    consumer.ledger.finish(PLAYS, batch)

    assert not await consumer.commit()
    assert told == []
    succeeds = True
    assert await consumer.commit()
    assert tried == [{PLAYS: 10}, {PLAYS: 10}]
    assert told == [10]
    await consumer.commit()
    assert len(tried) == 2


async def test_nothing_is_restored_in_the_middle_of_a_rebalance(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetched(self: Any, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's
        self.flow_active = False  # the rebalance begins while the fetch is under way
        return {PLAYS: []}, {PLAYS}

    async def seek() -> None:
        pytest.fail("the partitions are not ours to seek")

    monkeypatch.setattr(FaustConsumer, "_wait_next_records", fetched)
    monkeypatch.setattr(consumer, "perform_seek", seek)
    assert [each async for each in consumer.getmany(0.0)] == []


def _batch(start: int, end: int) -> RecordBatch:
    offsets = np.arange(start, end)
    nothing: list[bytes | None] = [None] * len(offsets)
    return RecordBatch(
        PLAYS.topic, PLAYS.partition, offsets, offsets, nothing, nothing, 0, start, end
    )


def _spans(consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch, begin: int, end: int) -> None:
    """Have Kafka hold those offsets of `PLAYS`."""

    async def first(*_: TP) -> Mapping[TP, int]:
        return {PLAYS: begin}

    async def last(*_: TP) -> Mapping[TP, int]:
        return {PLAYS: end}

    monkeypatch.setattr(consumer, "earliest_offsets", first)
    monkeypatch.setattr(consumer, "highwaters", last)


async def test_what_was_fetched_and_dropped_is_read_again(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [_batch(10, 20), _batch(20, 30), _batch(30, 40), _batch(20, 30)]
    sought: list[int] = []

    async def fetched(self: Any, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's
        batch = answers.pop(0)
        self.flow_active = batch.start != 20 or bool(sought)  # a rebalance that drops 20 to 30
        return {PLAYS: [batch]}, {PLAYS}

    async def seek(_: TP, offset: int) -> None:
        sought.append(offset)

    monkeypatch.setattr(FaustConsumer, "_wait_next_records", fetched)
    monkeypatch.setattr(consumer, "_seek", seek)
    _spans(consumer, monkeypatch, 0, 40)
    consumer.ledger.seek(PLAYS, 10)
    delivered = []
    while answers:
        records, _ = await consumer._wait_next_records(0.0)
        for batch in (records or {}).get(PLAYS, []):
            consumer.ledger.deliver(PLAYS, batch, batch.next_offset, batch.end)
            delivered.append(batch.start)
    assert delivered == [10, 20]
    assert sought == [20]


async def test_what_has_left_kafka_is_not_sought_for_ever(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetched(_: Any, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's
        return {PLAYS: [_batch(20, 30)]}, {PLAYS}

    monkeypatch.setattr(FaustConsumer, "_wait_next_records", fetched)
    _spans(consumer, monkeypatch, 20, 30)
    consumer.flow_active = True
    consumer.ledger.seek(PLAYS, 10)
    records, _ = await consumer._wait_next_records(0.0)
    assert PLAYS in records


async def test_what_kafka_has_lost_is_said_and_not_sought_for_ever(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def from_the_beginning(_: Any, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109
        return {PLAYS: [_batch(0, 10)]}, {PLAYS}

    monkeypatch.setattr(FaustConsumer, "_wait_next_records", from_the_beginning)
    _spans(consumer, monkeypatch, 0, 30)
    consumer.flow_active = True
    consumer.ledger.seek(PLAYS, 40)
    with pytest.raises(BrokerError, match="plays/0 ends at 30, but was read up to 40"):
        await consumer._wait_next_records(0.0)


async def test_what_kafka_refuses_to_a_fetch_says_what_to_do(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = cast("BatchConsumerThread", consumer._thread)

    async def refused(*_: object) -> None:
        raise GroupAuthorizationFailedError("group")

    monkeypatch.setattr(thread, "_fetched", refused)
    context = SimpleNamespace(fetch_context=_Context)
    fetcher = SimpleNamespace(_closed=False, _subscriptions=context)
    with pytest.raises(AccessError, match="consumer group"):
        await thread._fetch_records(SimpleNamespace(_closed=False, _fetcher=fetcher), {PLAYS})


async def test_a_fetch_task_that_ends_is_a_fault(consumer: BatchConsumer) -> None:
    faults: list[SottoVoceError] = []
    consumer.transport.on_fault = faults.append
    thread = cast("BatchConsumerThread", consumer._thread)
    thread._consumer = cast("Any", SimpleNamespace(_closed=False))
    ended = asyncio.get_running_loop().create_future()
    ended.set_exception(RuntimeError())
    thread._fetching_ended(cast("Any", ended))
    await asyncio.sleep(0)
    (fault,) = faults
    assert "RuntimeError" in str(fault)


class _Context:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
