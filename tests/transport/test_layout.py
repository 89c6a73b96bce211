"""Batches from columns against those that aiokafka makes record by record."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.rows import BINARY, array_of
from streams.transport import layout
from streams.transport.layout import LaidOut, runs

NOW_MS = 1_767_225_600_123
PRODUCER = (4_711, 3, 17)
blobs = st.one_of(st.none(), st.binary(max_size=9), st.just(b"x" * 300))
records = st.lists(st.tuples(blobs, blobs), min_size=1, max_size=300)


def built(its: list[tuple[bytes | None, bytes | None]], transactional: bool) -> bytes:
    """The same by aiokafka."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=transactional, producer_id=-1, producer_epoch=-1, base_sequence=0,
        batch_size=2**30,
    )  # fmt: skip
    for number, (key, value) in enumerate(its):
        builder.append(number, NOW_MS, key, value, [])
    builder.set_producer_state(*PRODUCER)
    return bytes(builder.build())


def laid_out(
    its: list[tuple[bytes | None, bytes | None]], most_bytes: int, transactional: bool = False
) -> list[LaidOut]:
    keys, values = (array_of(each) for each in zip(*its, strict=True))
    batches = []
    for run in runs(keys, values, most_bytes):
        batch = LaidOut(run, NOW_MS, transactional=transactional)
        batch._set_producer_state(*PRODUCER)
        assert batch.size() == len(batch._build())
        batches.append(batch)
    return batches


@pytest.fixture(params=[0, 30_000, 2**30], ids=["columns", "either", "aiokafka's"])
def short_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to how many bytes aiokafka's builder is used."""
    monkeypatch.setattr(layout, "_SHORT_BYTES", request.param)


@pytest.mark.usefixtures("short_bytes")
@given(records, st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_bytes_are_those_of_aiokafka(its: list[Any], transactional: bool) -> None:
    (batch,) = laid_out(its, 2**30, transactional)
    assert batch._build() == built(its, transactional)


@pytest.mark.usefixtures("short_bytes")
@given(records, st.integers(1, 3_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_hold_every_record_once_and_no_more_than_they_may(its: list[Any], most: int) -> None:
    found = []
    for batch in laid_out(its, most):
        read = [(each.key, each.value) for each in next_batch(batch._build())]
        assert len(read) == batch.record_count()
        assert len(read) == 1 or len(batch._run.records) <= most
        found += read
    assert found == its


def next_batch(data: bytes) -> list[Any]:
    batch = MemoryRecords(data).next_batch()
    assert batch is not None
    assert batch.validate_crc()
    return list(batch)


@pytest.mark.usefixtures("short_bytes")
def test_slices_of_arrays_are_laid_out_as_they_are() -> None:
    whole = pa.array([b"left out", b"a", None, b"", b"left out"], BINARY)
    (run,) = runs(whole[1:4], whole[1:4], 1_000)
    found = next_batch(LaidOut(run, NOW_MS, transactional=False)._build())
    assert [(each.key, each.value) for each in found] == [(b"a",) * 2, (None,) * 2, (b"",) * 2]


def test_nothing_makes_no_batch() -> None:
    assert list(runs(array_of([]), array_of([]), 1_000)) == []


def test_keys_and_values_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="1 keys and 2 values"):
        list(runs(array_of([b"k"]), array_of([b"v"] * 2), 1_000))
