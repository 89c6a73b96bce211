"""Decoding a batch of Avro bodies of one writer schema into columns, as few as are wanted.

`containers` reads most schemas in one go, `records` the rest body by body. In both, what becomes of
a body depends on the schema, the wanted leaves and the body, never on what shares a batch with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streams.avro.containers import Containers
from streams.avro.layout import Column, lay_out
from streams.avro.records import Records
from streams.avro.schemas import AvroType

_FALSE, _TRUE = (pl.lit(byte, pl.Binary) for byte in (b"\x00", b"\x01"))
"""To Polars' own reader any other byte would be false, a private session's too."""
MISMATCH = "the body does not match its writer schema"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a batch: every body is either a row of ``frame`` or in ``bad``."""

    frame: pl.DataFrame = field(repr=False)
    """One column per wanted leaf, in that order, by its path."""
    rows: NDArray[np.int64] = field(repr=False)
    """For each row of ``frame`` the index of its body, ascending."""
    bad: list[tuple[int, str]]
    """Index and what is wrong, ascending. Names a leaf or rule, never a value."""
    fallback: bool
    """Whether the batch could not be read in one go."""


class ColumnDecoder:
    """Decodes bodies of one writer schema. Keeps nothing between batches; make one per schema id.

    Columns have the physical type of their leaf, whatever its logical type: boolean Boolean, int
    Int32, long Int64, float Float32, double Float64, string and enum String, bytes and fixed
    Binary, an array of these List. A leaf that is null or in a record that is null is null. Text
    must be UTF-8, a boolean 0 or 1, an int fit 32 bits and an enum have a symbol, else the row is
    bad; in leaves that are not wanted none of this is looked at.
    """

    def __init__(self, writer_schema: AvroType, wanted: Sequence[str]) -> None:
        """Plan for ``writer_schema`` and ``wanted``, distinct paths as `schemas.leaves` names them.

        A wanted leaf that the writer lacks is listed in `absent` and gives a column of type Null.

        Raises:
            SchemaError: see `layout.lay_out`.
        """
        layout = lay_out(writer_schema, wanted)
        self.absent: tuple[str, ...] = layout.absent
        self._columns = layout.columns
        self._reader = Containers(layout) if layout.columnar else Records(layout)

    def decode(self, bodies: Sequence[bytes]) -> Decoded:
        """Decode a batch, about 1 us a body. Nothing that a body holds makes it raise."""
        rows, leaves = self._reader.read(bodies)
        bad = [(row, MISMATCH) for row in sorted(set(range(len(bodies))).difference(rows.tolist()))]
        fallback = bool(bad) or isinstance(self._reader, Records)
        kept = np.ones(len(rows), bool)
        for column, leaf in zip(self._columns, leaves, strict=True):
            outside = _outside(leaf, column)
            if outside is not None:
                bad += [(row, f"{column.name} is {column.fault}") for row in rows[outside & kept]]
                kept &= ~outside
        if not kept.all():
            rows, leaves = rows[kept], [leaf.filter(kept) for leaf in leaves]
        frame = pl.DataFrame(list(map(_narrow, leaves, self._columns)))
        return Decoded(frame, rows, sorted((int(row), detail) for row, detail in bad), fallback)


def _outside(leaf: pl.Series, column: Column) -> NDArray[np.bool_] | None:
    """Which rows hold a value that the leaf's type does not allow; None where none does."""
    if column.flag:
        strange = _each(leaf, lambda each: (each != _FALSE) & (each != _TRUE))
        if isinstance(leaf.dtype, pl.List):
            strange = strange.list.any()
        return strange.fill_null(False).to_numpy() if strange.any() else None
    if column.limits is None:
        return None
    smallest, largest = column.limits
    listed = isinstance(leaf.dtype, pl.List)
    low, high = (leaf.list.min(), leaf.list.max()) if listed else (leaf, leaf)
    outside = (low < smallest) | (high > largest)
    return outside.fill_null(False).to_numpy() if outside.any() else None


def _each(leaf: pl.Series, change: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """The leaf with every value changed, or every item where it holds arrays."""
    if isinstance(leaf.dtype, pl.List):
        return leaf.list.eval(change(pl.element()))
    return leaf.to_frame().select(change(pl.col(leaf.name))).to_series()


def _narrow(leaf: pl.Series, column: Column) -> pl.Series:
    if column.dtype == column.read:
        return leaf
    if column.flag:
        return _each(leaf, lambda each: each == _TRUE)
    if column.symbols is None:
        return leaf.cast(column.dtype)
    indices = range(len(column.symbols))
    if isinstance(leaf.dtype, pl.List):
        symbol = pl.element().replace_strict(indices, column.symbols, return_dtype=pl.String)
        return leaf.list.eval(symbol)
    return leaf.replace_strict(indices, column.symbols, return_dtype=pl.String)
