"""What is held stays in its bound, and no bound stops a worker."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.transport.batch import RecordBatch
from streams.transport.flow import Held, footprint
from streams.transport.unpacking import unpacked

LISTENS = TopicPartition("listens", 0)


def batch(value_bytes: int, records: int = 1) -> RecordBatch:
    return RecordBatch(
        "listens",
        0,
        np.arange(records, dtype=np.int64),
        np.zeros(records, dtype=np.int64),
        [b"k" * 32 for _ in range(records)],
        [bytes(value_bytes) for _ in range(records)],
        0,
    )


def test_the_footprint_is_what_memory_says() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        # As they are read from a record batch: every key and value an object of its own.
        keys: list[bytes | None] = [b"%032d" % number for number in range(10_000)]
        values: list[bytes | None] = [b"%0150d" % number for number in range(10_000)]
        offsets, times = np.arange(10_000), np.zeros(10_000, dtype=np.int64)
        held = RecordBatch("listens", 0, offsets, times, keys, values, 0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert footprint(held) == pytest.approx(after - before, rel=0.1)


def test_a_tombstone_counts_too() -> None:
    deleted = RecordBatch("t", 0, np.arange(1), np.arange(1), [None], [None], 0)
    assert footprint(deleted) > sys.getsizeof(None)


def test_fetching_pauses_at_the_bound_and_goes_on_when_half_is_done() -> None:
    each = batch(10_000, 10)
    held = Held(4 * footprint(each))
    batches = [batch(10_000, 10) for _ in range(4)]
    for number, one in enumerate(batches):
        assert held.room == (4 - number) * footprint(each)
        held.deliver(one)
    assert (held.paused, held.room) == (True, 0)
    held.finish(batches[0])
    assert (held.paused, held.room) == (True, 0)
    held.finish(batches[1])
    assert (held.paused, held.room) == (False, 2 * footprint(each))


def test_a_role_that_holds_half_of_the_bound_is_to_write() -> None:
    held = Held(2 * footprint(batch(100)))
    waiting, taken = batch(100), batch(100)
    held.deliver(waiting)
    held.deliver(taken)
    assert not held.pressing
    held.take(taken)
    assert held.pressing
    held.finish(taken)
    assert not held.pressing


def test_what_a_rebalance_took_away_counts_no_more() -> None:
    held = Held(1)
    gone = batch(100)
    held.deliver(gone)
    held.take(gone)
    held.reset()
    assert (held.bytes, held.paused, held.pressing) == (0, False, False)
    held.take(gone)
    held.finish(gone)
    assert (held.bytes, held.paused, held.pressing) == (0, False, False)


@given(
    sizes=st.lists(st.integers(0, 2_000), min_size=1, max_size=60),
    bound=st.integers(1, 40_000),
    often=st.integers(1, 20),
)
def test_every_bound_lets_everything_through(sizes: list[int], bound: int, often: int) -> None:
    """A worker in small: fetches while there is room, takes, writes when pressed or in time."""
    held, topic = Held(bound), deque(batch(size) for size in sizes)
    queue: deque[RecordBatch] = deque()
    waiting: list[RecordBatch] = []
    largest = max(footprint(each) for each in topic)
    done = idle = 0
    while done < len(sizes):
        room = held.room
        while topic and room > 0:
            room -= footprint(topic[0])
            queue.append(topic.popleft())
            held.deliver(queue[-1])
        assert held.bytes < bound + largest
        timer = not queue  # nothing else happens until it fires
        idle += timer
        if queue:
            waiting.append(queue.popleft())
            held.take(waiting[-1])
        if held.pressing or timer or done % often == 0:
            for each in waiting:
                held.finish(each)
            done += len(waiting)
            waiting.clear()
    assert held.bytes == 0
    assert idle <= 1, "a bound that is reached is no reason to wait for the timer"


def answer(batches: int, records: int, compression: int) -> FetchResult:
    """What aiokafka has of a partition: ``batches`` of a producer with ``records`` of 1,000 B."""
    raw = b""
    for number in range(batches):
        builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 10**7)
        for offset in range(records):
            builder.append(offset, 0, None, bytes(1_000), [])
        built = builder.build()
        raw += (number * records).to_bytes(8, "big") + bytes(built[8:])
    state: Any = SimpleNamespace(paused=False, position=0)
    state.consumed_to = lambda offset: setattr(state, "position", offset)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    parsed = PartitionRecords(LISTENS, MemoryRecords(raw), [], 0, None, None, True, 0)
    return FetchResult(LISTENS, assignment=assignment, partition_records=parsed, backoff=0)


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_an_answer_is_unpacked_as_far_as_there_is_room(compression: int) -> None:
    result = answer(batches=10, records=20, compression=compression)
    first = unpacked(result, None, room=30_000)
    assert [each.offset for each in first] == list(range(40))
    assert result.has_more()
    rest = unpacked(result, None, room=10**9)
    assert [each.offset for each in rest] == list(range(40, 200))
    assert not result.has_more()


def test_a_record_larger_than_all_room_is_taken_alone() -> None:
    result = answer(batches=3, records=1, compression=0)
    assert len(unpacked(result, None, room=1)) == 1


def test_an_answer_is_gone_when_it_is_unpacked() -> None:
    result = answer(batches=3, records=1, compression=0)
    held = weakref.ref(result._partition_records)
    gc.disable()
    try:
        unpacked(result)
        assert held() is None, "or some MB a batch wait for cycles to be sought"
    finally:
        gc.enable()
