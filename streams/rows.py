"""Rows of bytes that are put together column by column, without a Python object a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
BINARY = pa.large_binary()

Column: TypeAlias = "pa.LargeBinaryArray | Iterable[bytes | None]"
"""Keys or values of records. What is an array already needs no Python object a record."""


def array_of(column: Column) -> pa.LargeBinaryArray:
    """The column as an array."""
    return column if isinstance(column, pa.Array) else pa.array(list(column), BINARY)


def listed(column: Column) -> list[bytes | None]:
    """The column as Python objects."""
    found: list[bytes | None] = array_of(column).to_pylist()
    return found


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
        return pc.binary_join_element_wise(*self._parts, pa.scalar(b"", BINARY))

    def _flush(self) -> None:
        if self._short:
            matrix = np.hstack([matrix for matrix, _ in self._short])
            mask = np.hstack([mask for _, mask in self._short])
            ends = np.concatenate([[0], np.cumsum(np.count_nonzero(mask, axis=1))])
            data = pa.py_buffer(matrix[mask])
            values = pa.Array.from_buffers(BINARY, len(mask), [None, pa.py_buffer(ends), data])
            self._parts.append(values)
            self._short.clear()


def varints(numbers: NDArray[np.int64]) -> tuple[Bytes, Mask]:
    """Numbers of variable length, one a row, as Avro and Kafka write them: groups of seven bits of
    the zigzag form, the lowest first; all but the last have the high bit set.

    (Avro specification, "Binary Encoding"; Kafka's protocol, "Record Batch".)

    Returns:
        A matrix of bytes with a row for each number, and which of them there are.
    """
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    width = max(1, -(-int(zigzag.max()).bit_length() // 7))
    # A row for each group, not for each number: numpy fills long rows in a tenth of the time.
    groups = zigzag >> np.arange(0, 7 * width, 7, dtype=np.uint64)[:, None]
    mask = groups > 0
    mask[0] = True
    matrix = groups.astype(np.uint8) & np.uint8(0x7F)
    matrix[:-1] |= mask[1:].view(np.uint8) << 7
    return matrix.T, mask.T
