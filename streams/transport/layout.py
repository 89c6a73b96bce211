"""Record batches as Kafka stores them, from columns; long ones without a Python object a record.

(Kafka's message format 2, https://kafka.apache.org/documentation/#recordbatch.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.rows import BINARY, Bytes, Mask, Rows, varints

_HEAD = struct.Struct(">qiibI")
"""Base offset, bytes after the length, leader epoch, magic, checksum of what follows."""
_REST = struct.Struct(">hiqqqhii")
"""Attributes, last offset delta, first and last timestamp, producer's id and epoch, first sequence
number, number of records."""
_UNCOUNTED = struct.calcsize(">qi")
_MAGIC = 2
_TRANSACTIONAL = 0x10
_NOBODY = (-1, -1, 0)
_FIXED = 2 + 1
"""Bytes of a record that are always there: attributes, time, number of headers."""
_OVERHEAD = _FIXED + 4 * 5
"""Most bytes of a record beside its key and value."""
_SHORT_BYTES = 128 * 1024
"""Up to here aiokafka's own builder is faster, as columns cost 0.5 ms before the first record; with
more it copies what it has each time that it needs room, and takes twice as long."""
_UNBOUNDED = 2**30


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one batch: how many, and their bytes."""

    count: int
    records: memoryview = field(repr=False)


def runs(keys: pa.LargeBinaryArray, values: pa.LargeBinaryArray, most_bytes: int) -> Iterator[Run]:
    """Records without headers in order, in runs of at most ``most_bytes`` or one record.

    Null is no key, or a tombstone.

    Raises:
        ValueError: there are not as many keys as values.
    """
    if len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys and {len(values)} values")
    sizes = [pc.fill_null(pc.binary_length(each), 0).to_numpy() for each in (keys, values)]
    ends = np.cumsum(sizes[0] + sizes[1] + _OVERHEAD)
    first = done = 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, done + most_bytes, side="right")))
        make = _short_run if ends[last - 1] - done <= _SHORT_BYTES else _run
        yield make(keys[first:last], values[first:last])
        first, done = last, int(ends[last - 1])


def _short_run(keys: pa.LargeBinaryArray, values: pa.LargeBinaryArray) -> Run:
    builder = DefaultRecordBatchBuilder(_MAGIC, 0, 0, *_NOBODY, batch_size=_UNBOUNDED)
    for number, (key, value) in enumerate(zip(keys.to_pylist(), values.to_pylist(), strict=True)):
        builder.append(number, 0, key, value, [])
    return Run(len(keys), memoryview(builder.build())[_HEAD.size + _REST.size :])


def _run(keys: pa.LargeBinaryArray, values: pa.LargeBinaryArray) -> Run:
    count = len(keys)
    delta = varints(np.arange(count))
    lengths = [pc.fill_null(pc.binary_length(each), -1).to_numpy() for each in (keys, values)]
    heads = [varints(each) for each in lengths]
    widths = sum(np.count_nonzero(mask, axis=1) for _, mask in (delta, *heads))
    rows = Rows()
    rows.add(*varints(_FIXED + widths + sum(np.maximum(each, 0) for each in lengths)))
    rows.add(*_zeros(count, 2))  # attributes, and no time since the batch's own
    rows.add(*delta)
    for column, head in zip((keys, values), heads, strict=True):
        rows.add(*head)
        rows.extend(column.fill_null(pa.scalar(b"", BINARY)))
    rows.add(*_zeros(count, 1))  # headers
    _, ends, data = rows.joined().buffers()
    return Run(count, memoryview(data)[: int(np.frombuffer(ends, np.int64)[count])])


def _zeros(count: int, width: int) -> tuple[Bytes, Mask]:
    """So many in each row."""
    return np.zeros((count, width), np.uint8), np.ones((count, width), bool)


class LaidOut(BatchBuilder):  # type: ignore[misc]  # aiokafka has no types
    """A run as aiokafka's producer sends it; nothing can be added."""

    def __init__(self, run: Run, now_ms: int, *, transactional: bool) -> None:
        """All records have the time ``now_ms``, in milliseconds since 1970-01-01 UTC."""
        # Not the base's, which sets aside a buffer to append to.
        self._run, self._now_ms = run, now_ms
        self._attributes = _TRANSACTIONAL if transactional else 0
        self._producer: tuple[int, int, int] = _NOBODY
        self._buffer: bytes | None = None
        self._closed = True

    def _set_producer_state(self, producer_id: int, producer_epoch: int, first: int) -> None:
        self._producer = producer_id, producer_epoch, first

    def _build(self) -> bytes:
        if self._buffer is None:
            count, now_ms = self._run.count, self._now_ms
            fields = self._attributes, count - 1, now_ms, now_ms, *self._producer, count
            rest = b"".join((_REST.pack(*fields), self._run.records))
            size = _HEAD.size - _UNCOUNTED + len(rest)
            head = _HEAD.pack(0, size, -1, _MAGIC, calc_crc32c(rest))
            self._buffer = head + rest
        return self._buffer

    def size(self) -> int:
        """Bytes."""
        return _HEAD.size + _REST.size + len(self._run.records)

    def record_count(self) -> int:
        """Records."""
        return self._run.count
