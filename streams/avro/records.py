"""Reading bodies one by one with fastavro, for schemas that `containers` cannot read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from fastavro import parse_schema, schemaless_reader
from numpy.typing import NDArray

from streams.avro.layout import Layout


class Records:
    """Reads the wanted columns of a layout, as `Containers` does. About 10 us a body."""

    def __init__(self, layout: Layout) -> None:
        """Prepare for any layout."""
        self._columns = layout.columns
        self._schema = parse_schema({"type": "record", "name": "body", "fields": layout.fields})

    def read(self, bodies: Sequence[bytes]) -> tuple[NDArray[np.int64], list[pl.Series]]:
        """Indices of the bodies that match the schema, ascending, and each wanted leaf of those."""
        decoded = [(row, self._record(body)) for row, body in enumerate(bodies)]
        good = [(row, record) for row, record in decoded if record is not None]
        leaves = [
            pl.Series(
                column.name, [_value(record, column.steps) for _, record in good], column.read
            )
            for column in self._columns
        ]
        return np.array([row for row, _ in good], np.int64), leaves

    def fits(self, body: bytes) -> bool:
        """Whether the body matches the schema."""
        return self._record(body) is not None

    def _record(self, body: bytes) -> dict[str, Any] | None:
        stream = io.BytesIO(body)
        try:
            record = schemaless_reader(stream, self._schema)
        except Exception:  # fastavro raises whatever the bytes lead it to
            return None
        if isinstance(record, dict) and stream.tell() == len(body):
            return record
        return None


def _value(record: dict[str, Any], steps: tuple[str, ...]) -> Any:
    value: Any = record if steps else None
    for step in steps:
        value = None if value is None else value[step]
    return value
