"""Confluent wire format: a zero byte, the schema id in four bytes big-endian, the Avro body."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x00"
HEADER = 5
"""Bytes before the body."""


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one schema: ``bodies[i]`` is the body of row ``rows[i]``; rows ascend."""

    rows: NDArray[np.int64]
    bodies: list[bytes] = field(repr=False)

    def parts(self, size: int) -> Iterator[Group]:
        """The same in order, in parts of at most ``size`` bytes or one record."""
        ends = np.cumsum([len(body) for body in self.bodies])
        first = done = 0
        while first < len(ends):
            last = max(first + 1, int(np.searchsorted(ends, done + size, side="right")))
            yield Group(self.rows[first:last], self.bodies[first:last])
            first, done = last, int(ends[last - 1])

    def without(self, left_out: NDArray[np.bool_]) -> Group:
        """The records at which ``left_out`` is false."""
        kept = np.flatnonzero(~left_out)
        return Group(self.rows[kept], [self.bodies[each] for each in kept])


@dataclass(frozen=True, slots=True)
class Split:
    """A batch by schema id. ``malformed`` holds the rows without a whole header, ascending."""

    groups: dict[int, Group]
    malformed: list[int]


def header(schema_id: int) -> bytes:
    """The five bytes in front of every body of that schema. The id has 32 bits, unsigned."""
    return MAGIC + schema_id.to_bytes(4, "big")


def frame(schema_id: int, body: bytes) -> bytes:
    """One record in wire format."""
    return header(schema_id) + body


def schema_ids(values: Sequence[bytes]) -> dict[bytes, int]:
    """Which schema each head means that occurs, without those that are none."""
    return {head: _id(head) for head in {value[:HEADER] for value in values} if _whole(head)}


def split(values: Sequence[bytes | None]) -> Split:
    """Take record values apart, grouped by schema id in order of first appearance.

    A value that is None, shorter than a header or begins with another byte is malformed. An empty
    body is not: a schema whose fields take no bytes has one.
    """
    heads = [value[:HEADER] if value is not None else b"" for value in values]
    rows_by_head: dict[bytes, Sequence[int]] = {head: range(len(heads)) for head in set(heads)}
    if len(rows_by_head) > 1:
        rows_by_head = _grouped(heads)
    groups: dict[int, Group] = {}
    malformed: list[int] = []
    for head, rows in rows_by_head.items():
        if _whole(head):
            bodies = [value[HEADER:] for row in rows if (value := values[row]) is not None]
            groups[_id(head)] = Group(np.array(rows, np.int64), bodies)
        else:
            malformed += rows
    return Split(groups, sorted(malformed))


def _grouped(heads: Sequence[bytes]) -> dict[bytes, Sequence[int]]:
    """Rows of each head, heads in order of first appearance."""
    rows: dict[bytes, list[int]] = {}
    for row, head in enumerate(heads):
        rows.setdefault(head, []).append(row)
    return dict(rows)


def _whole(head: bytes) -> bool:
    return len(head) == HEADER and head[:1] == MAGIC


def _id(head: bytes) -> int:
    return int.from_bytes(head[1:], "big")
