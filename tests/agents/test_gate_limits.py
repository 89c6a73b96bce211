"""The gate's limits: when it stops, how it waits for the registry, what a rejection carries."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from streams.agents import reading, writers
from streams.agents.reading import LARGEST_KEY, RowReader, rejection
from streams.agents.rejecting import RejectedShare
from streams.agents.writers import Writers
from streams.errors import (
    Reason,
    RegistryError,
    SchemaError,
    TooManyRejected,
    UnknownSchemaId,
)
from streams.privacy.boundary import Rejection
from streams.transport.batch import RecordBatch


def bad(*rows: int, reason: Reason = Reason.UNDECODABLE) -> list[Rejection]:
    return [Rejection(row, reason, "for a test") for row in rows]


def test_more_than_the_share_of_a_window_stops_and_names_setting_and_reason() -> None:
    share = RejectedShare(0.5, 10)
    share.check(0, 100, bad(*range(5)))
    mixed = [*bad(0, 1, 2, 3), *bad(4, 5, reason=Reason.UNKNOWN_SCHEMA)]
    with pytest.raises(TooManyRejected, match="SOTTOVOCE_REJECTED_SHARE") as raised:
        share.check(0, 100, mixed)
    assert "6 of 10" in raised.value.problem
    assert "undecodable" in raised.value.problem


def test_the_window_slides_over_batches_and_within_them() -> None:
    share = RejectedShare(0.5, 10)
    share.check(0, 6, bad(3, 4, 5))
    share.check(0, 4, bad(0, 1))
    with pytest.raises(TooManyRejected):
        share.check(0, 1, bad(0))
    share.check(0, 20, [])
    share.check(0, 5, bad(0, 1, 2, 3, 4))
    spread = RejectedShare(0.5, 10)
    spread.check(0, 1_000, bad(*range(0, 1_000, 2)))


def test_a_batch_that_stops_it_is_not_noted_so_it_stops_again() -> None:
    share = RejectedShare(0.5, 10)
    for _ in range(3):
        with pytest.raises(TooManyRejected):
            share.check(0, 10, bad(*range(6)))
    share.check(0, 10, bad(*range(5)))


def test_partitions_are_watched_apart_and_few_records_stop_nothing() -> None:
    share = RejectedShare(0.5, 1_000)
    for partition in range(4):
        share.check(partition, 500, bad(*range(500)))
    with pytest.raises(TooManyRejected):
        share.check(3, 1, bad(0))
    share.forget()
    share.check(3, 1, bad(0))


def test_one_never_stops_and_zero_always_does() -> None:
    RejectedShare(1.0, 5).check(0, 50, bad(*range(50)))
    with pytest.raises(TooManyRejected):
        RejectedShare(0.0, 5).check(0, 50, bad(49))


class Opened:
    """A boundary that notes what it is told."""

    def __init__(self) -> None:
        self.said: dict[int, Any] = {}

    def missing(self, schema_ids: Any) -> set[int]:
        return set(schema_ids)

    def open(self, schema_id: int, schema: Any) -> None:
        self.said[schema_id] = schema

    def close(self, schema_id: int, reason: Reason, detail: str) -> None:
        self.said[schema_id] = reason

    def unknown(self, schema_id: int) -> bool:
        return self.said[schema_id] is Reason.UNKNOWN_SCHEMA


class Answers:
    """A registry of which each answer is prepared."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.at_once = self.most = 0

    async def get(self, schema_id: int) -> Any:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_PAUSE_S", 0.001)


GONE = RegistryError("It cannot be reached.")


@pytest.mark.usefixtures("_no_pause")
async def test_a_registry_that_comes_back_is_waited_for() -> None:
    boundary: Any = Opened()
    registry: Any = Answers(GONE, GONE, GONE, {"type": "record"})
    await Writers(registry, wait_s=1.0).open(boundary, [5])
    assert boundary.said == {5: {"type": "record"}}


@pytest.mark.usefixtures("_no_pause")
async def test_a_registry_that_stays_away_rejects_nothing() -> None:
    boundary: Any = Opened()
    registry: Any = Answers(GONE)
    with pytest.raises(RegistryError):
        await Writers(registry, wait_s=0.02).open(boundary, [5])
    assert boundary.said == {}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (UnknownSchemaId("There is none."), Reason.UNKNOWN_SCHEMA),
        (SchemaError("It is too large."), Reason.UNPLANNABLE_SCHEMA),
    ],
)
async def test_what_the_registry_lacks_or_nobody_can_read_is_closed(
    answer: Exception, reason: Reason
) -> None:
    boundary: Any = Opened()
    registry: Any = Answers(answer)
    await Writers(registry).open(boundary, [5])
    assert boundary.said == {5: reason}


async def test_many_ids_are_asked_for_a_few_at_a_time() -> None:
    boundary: Any = Opened()
    registry: Any = Answers(UnknownSchemaId("There is none."))
    await Writers(registry).open(boundary, range(1_000))
    assert len(boundary.said) == 1_000
    assert registry.most == writers._AT_ONCE


def one_record(key: bytes | None, value: bytes | None) -> RecordBatch:
    rows = np.zeros(1, np.int64)
    return RecordBatch("plays", 0, rows, rows, [key], [value], 0)


def test_a_rejection_leaves_out_a_key_and_a_value_too_large_for_a_record() -> None:
    fault = Rejection(0, Reason.MALFORMED, "for a test")
    _, small = rejection(one_record(b"key", b"value"), fault, 0)
    assert (small["key"], small["value"]) == (b"key", b"value")
    large = one_record(bytes(LARGEST_KEY + 1), bytes(reading.LARGEST_PAYLOAD + 1))
    assert (rejection(large, fault, 0)[1]["key"], rejection(large, fault, 0)[1]["value"]) == (
        None,
        None,
    )


async def test_rows_of_other_topics_have_a_largest_size_too() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    registry: Any = Answers(schema)
    sound = b"\x00\x00\x00\x00\x01\x02a"
    large = b"\x00\x00\x00\x00\x01" + bytes(reading.LARGEST_RECORD + 1)
    rows, faults = await RowReader(registry, ["a"]).read([sound, large, sound])
    assert rows == [(0, {"a": "a"}), (2, {"a": "a"})]
    assert [(each.row, each.reason) for each in faults] == [(1, Reason.OVERSIZED)]
