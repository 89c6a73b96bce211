"""Rows of bytes that are put together column by column, without a Python object a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
BINARY = pa.large_binary()
ARROW = pl.CompatLevel.oldest()
"""Columns of Polars become arrays with offsets and data, as `cut` makes them, not views."""

Column: TypeAlias = "pa.LargeBinaryArray | Iterable[bytes | None]"
"""Keys or values of records. What is an array already needs no Python object a record."""


def array_of(column: Column) -> pa.LargeBinaryArray:
    """The column as an array."""
    return column if isinstance(column, pa.Array) else pa.array(list(column), BINARY)


def listed(column: Column) -> list[bytes | None]:
    """The column as Python objects."""
    found: list[bytes | None] = array_of(column).to_pylist()
    return found


def cut(ends: NDArray[np.int64], data: pa.Buffer | bytes | Bytes) -> pa.LargeBinaryArray:
    """``data`` as values: the first from ``ends[0]`` to ``ends[1]``, and so on."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(ends)), pa.py_buffer(data)]
    return pa.Array.from_buffers(BINARY, len(ends) - 1, buffers)


def bounds(column: pa.Array) -> NDArray[np.int64]:
    """Where values of bytes or lists begin in what they are cut from, and where the last ends."""
    ends = np.frombuffer(column.buffers()[1], np.int64)
    return ends[column.offset : column.offset + len(column) + 1]


def chosen(matrix: Bytes, mask: Mask) -> pa.LargeBinaryArray:
    """Of each row of ``matrix`` the bytes where ``mask`` is set."""
    return cut(np.append(0, np.cumsum(np.count_nonzero(mask, axis=1))), matrix[mask])


def joined(*pieces: pa.Array | pa.Scalar) -> pa.LargeBinaryArray:
    """The pieces of each row, one after the other; a scalar is in every row."""
    if len(pieces) == 1:
        return pieces[0]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", BINARY))


class Rows:
    """They grow to the right. All have the same first bytes."""

    def __init__(self, *first: pa.Scalar) -> None:
        """Begin with ``first``, of type `BINARY`."""
        self._parts: list[pa.Array | pa.Scalar] = list(first)
        self._short: list[tuple[Bytes, Mask]] = []

    def add(self, matrix: Bytes, mask: Mask) -> None:
        """Append to each row the bytes of its row in ``matrix`` where ``mask`` is set."""
        self._short.append((matrix, mask))

    def extend(self, values: pa.Array) -> None:
        """Append to each row its binary value."""
        self._flush()
        self._parts.append(values)

    def joined(self) -> pa.Array:
        """The rows."""
        self._flush()
        return joined(*self._parts)

    def _flush(self) -> None:
        if self._short:
            matrix = np.hstack([matrix for matrix, _ in self._short])
            mask = np.hstack([mask for _, mask in self._short])
            self._parts.append(chosen(matrix, mask))
            self._short.clear()


def varints(numbers: NDArray[np.int64]) -> tuple[Bytes, Mask]:
    """Numbers of variable length, one a row, as Avro and Kafka write them: groups of seven bits of
    the zigzag form, the lowest first; all but the last have the high bit set.

    (Avro specification, "Binary Encoding"; Kafka's protocol, "Record Batch".)

    Returns:
        A matrix of bytes with a row for each number, and which of them there are.
    """
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    width = max(1, -(-int(zigzag.max(initial=0)).bit_length() // 7))
    if width == 1:
        return zigzag.astype(np.uint8)[:, None], np.ones((len(numbers), 1), np.bool_)
    # A row for each group, not for each number: numpy fills long rows in a tenth of the time.
    groups = zigzag >> np.arange(0, 7 * width, 7, dtype=np.uint64)[:, None]
    mask = groups > 0
    mask[0] = True
    matrix = groups.astype(np.uint8) & np.uint8(0x7F)
    matrix[:-1] |= mask[1:].view(np.uint8) << 7
    return matrix.T, mask.T
