"""Reading many bodies at once: as the one block of an Avro object container in memory.

Polars' reader builds the wanted columns and skips the others. Two things make that safe:

* Boundaries. A damaged body would shift its neighbours, and a raw value could surface in another
  column of another record. So every body is followed by a nonce drawn for the batch and declared
  as the last field, and a read counts only if every row ends in it. A reader that goes forward
  only and returns n rows ending in n unguessable nonces has read each body from end to end.
* Isolation. A batch that does not read is taken apart until what does not read stands alone.

Within one body Avro has no check of its own. Bytes altered so that the body still fits the schema
to the last byte decode to other values; and Polars is lenient, taking every union index but 0 for
1.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streams.avro.layout import Column, Layout
from streams.avro.quiet import panics_silenced
from streams.avro.records import Fit, Records

NONCE_BYTES = 16
_END = "end"
_SYNC = bytes(16)  # would part one block from the next; this container has one
_HALVED_DOWN_TO = 500
"""In fewer bodies that do not read together, fastavro points out which are worth trying alone."""
_RESERVED = 64 * 1024 * 1024
"""Bytes that Polars may set aside for fixed types of rows that it is about to read."""


class Containers:
    """Reads the wanted columns of a layout."""

    def __init__(self, layout: Layout) -> None:
        """Prepare for a layout that is ``columnar``."""
        self._columns = layout.columns
        self._fields = [*layout.read_fields, _END]
        self._header = _header(layout)
        self._records = Records(layout)
        self._leaps = layout.leaps
        self._together = max(1, _RESERVED // max(1, layout.reserved))

    def read(self, bodies: Sequence[bytes]) -> tuple[NDArray[np.int64], list[pl.Series]]:
        """Indices of the bodies that match the schema, ascending, and each wanted leaf of those."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        with panics_silenced():
            parts = [
                part
                for first in range(0, len(bodies), self._together)
                for part in self._parts(
                    bodies, range(len(bodies))[first : first + self._together], nonce
                )
            ]
        if not parts:
            empty = [pl.Series(column.name, [], column.read) for column in self._columns]
            return np.empty(0, np.int64), empty
        rows = np.concatenate([np.array(part, np.int64) for part, _ in parts])
        frame = pl.concat([frame for _, frame in parts])
        if len(parts) > 1:
            order = np.argsort(rows)
            rows, frame = rows[order], frame[order]
        return rows, [_leaf(frame, column) for column in self._columns]

    def _parts(
        self, bodies: Sequence[bytes], rows: Sequence[int], nonce: bytes, guess: bool = True
    ) -> Iterator[tuple[Sequence[int], pl.DataFrame]]:
        """Every row that reads, in as few groups as it takes, with what the group reads as.

        fastavro is no judge here, as it is stricter. That a body is `Fit.ODD` is a good guess only,
        so it is tried alone, which takes as long as 20 with fastavro. One of another length is
        bad: both read up to there alike, unless Polars leaps over what fastavro reads.
        """
        frame = self._read([bodies[row] for row in rows], nonce)
        if frame is not None:
            yield rows, frame
        elif guess and 1 < len(rows) <= _HALVED_DOWN_TO:
            fits = {row: self._records.fit(bodies[row]) for row in rows}
            likely = [row for row in rows if fits[row] is Fit.WHOLE]
            yield from self._parts(bodies, likely, nonce, guess=False)
            for row, fit in fits.items():
                if fit is Fit.ODD or (fit is Fit.OTHER_LENGTH and self._leaps):
                    yield from self._parts(bodies, [row], nonce)
        elif len(rows) > 1:
            middle = len(rows) // 2
            yield from self._parts(bodies, rows[:middle], nonce, guess)
            yield from self._parts(bodies, rows[middle:], nonce, guess)

    def _read(self, bodies: Sequence[bytes], nonce: bytes) -> pl.DataFrame | None:
        if not bodies:
            return None
        block = nonce.join(bodies)
        sizes = _varint(len(bodies)) + _varint(len(block) + len(nonce))
        container = b"".join((self._header, sizes, block, nonce, _SYNC))
        try:
            frame = pl.read_avro(io.BytesIO(container), columns=self._fields)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return None
        whole = len(frame) == len(bodies) and (frame[_END] == pl.Series([nonce])).all()
        return frame if whole else None


def _leaf(frame: pl.DataFrame, column: Column) -> pl.Series:
    if not column.steps:
        return pl.Series(column.name, [None], column.read).new_from_index(0, len(frame))
    leaf = frame[column.steps[0]]
    for step in column.steps[1:]:
        leaf = leaf.struct.field(step)
    return leaf.alias(column.name)


def _header(layout: Layout) -> bytes:
    """A container up to its first block."""
    end = {"name": _END, "type": {"type": "fixed", "name": "nonce", "size": NONCE_BYTES}}
    schema = {"type": "record", "name": "body", "fields": [*layout.fields, end]}
    metadata = {"avro.schema": json.dumps(schema), "avro.codec": "null"}
    entries = b"".join(_text(key) + _text(value) for key, value in metadata.items())
    return b"Obj\x01" + _varint(len(metadata)) + entries + _varint(0) + _SYNC


def _text(value: str) -> bytes:
    return _varint(len(value.encode())) + value.encode()


def _varint(number: int) -> bytes:
    """A long that is not negative, as Avro writes it."""
    number *= 2
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
