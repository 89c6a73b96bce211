"""A batch: consecutive records of one partition, as one Faust message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


class RawRecord(Protocol):
    """A record as aiokafka's record parser yields it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RecordBatch:
    """Records of one partition in offset order, column by column, all of one length >= 1.

    Offsets rise but need not be adjacent: compaction and transaction markers leave gaps.
    """

    topic: str
    partition: int
    offsets: npt.NDArray[np.int64]
    timestamps: npt.NDArray[np.int64]
    keys: list[bytes | None]
    values: list[bytes | None]
    with_headers: int
    """How many of the records carry headers."""
    start: int = -1
    """Where it was read from: between there and the first record there is none. -1: not known."""
    end: int = -1
    """Where to read on, beyond what follows the last record and is none."""

    @classmethod
    def of(
        cls,
        topic: str,
        partition: int,
        records: Iterable[RawRecord],
        start: int = -1,
        end: int = -1,
    ) -> RecordBatch:
        """Columns of ``records``; one pass a column costs less than one object a record."""
        records = list(records)
        return cls(
            topic,
            partition,
            np.array([record.offset for record in records], dtype=np.int64),
            np.array([record.timestamp for record in records], dtype=np.int64),
            [record.key for record in records],
            [record.value for record in records],
            sum(1 for record in records if record.headers),
            start,
            end,
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        return int(self.offsets[0])

    @property
    def next_offset(self) -> int:
        """Offset to resume from once the whole batch is done."""
        return int(self.offsets[-1]) + 1

    def __repr__(self) -> str:
        return (
            f"<RecordBatch {self.topic}/{self.partition} "
            f"{self.first_offset}..{self.next_offset - 1}, {len(self)} records>"
        )
