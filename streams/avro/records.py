"""Reading bodies one by one with fastavro, for schemas that `containers` cannot read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

import numpy as np
import polars as pl
from fastavro import parse_schema, schemaless_reader
from numpy.typing import NDArray

from streams.avro.layout import Layout


class Fit(Enum):
    """How a body matches a schema."""

    WHOLE = auto()
    """From end to end."""
    OTHER_LENGTH = auto()
    """The schema leads beyond its end, or ends before it."""
    ODD = auto()
    """It has, or may have, what fastavro and Polars judge differently: text that is not UTF-8, a
    branch that a union does not have."""


_MINUS_TWO = b"\x03", b"\x83"
"""How -2 begins. As a union's branch it is the first to fastavro, counting from the end."""


class Records:
    """Reads the wanted columns of a layout, as `Containers` does. About 10 us a body."""

    def __init__(self, layout: Layout) -> None:
        """Prepare for any layout."""
        self._columns = layout.columns
        self._schema = parse_schema({"type": "record", "name": "body", "fields": layout.fields})

    def read(self, bodies: Sequence[bytes]) -> tuple[NDArray[np.int64], list[pl.Series]]:
        """Indices of the bodies that match the schema, ascending, and each wanted leaf of those."""
        rows: list[int] = []
        values: list[list[Any]] = [[] for _ in self._columns]
        for row, body in enumerate(bodies):
            record, fit = self._record(body)
            if fit is not Fit.WHOLE:
                continue
            rows.append(row)
            # Leaf by leaf at once: a record of small items is 200 times as large as its body.
            for column, found in zip(self._columns, values, strict=True):
                found.append(_value(record, column.steps))
        leaves = [
            pl.Series(column.name, found, column.read)
            for column, found in zip(self._columns, values, strict=True)
        ]
        return np.array(rows, np.int64), leaves

    def fit(self, body: bytes) -> Fit:
        """How the body matches the schema."""
        fit = self._record(body)[1]
        if fit is Fit.OTHER_LENGTH and any(byte in body for byte in _MINUS_TWO):
            return Fit.ODD
        return fit

    def _record(self, body: bytes) -> tuple[dict[str, Any], Fit]:
        stream = io.BytesIO(body)
        try:
            record = schemaless_reader(stream, self._schema)
        except EOFError:
            return {}, Fit.OTHER_LENGTH
        except Exception:  # fastavro raises whatever the bytes lead it to
            return {}, Fit.ODD
        if not isinstance(record, dict):
            return {}, Fit.ODD
        return record, Fit.WHOLE if stream.tell() == len(body) else Fit.OTHER_LENGTH


def _value(record: dict[str, Any], steps: tuple[str, ...]) -> Any:
    value: Any = record if steps else None
    for step in steps:
        value = None if value is None else value[step]
    return value
