"""Names of artists or genres as bytes, owner by owner: what bodies hold instead of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from streams.rows import ARROW, bounds, cut
from streams.taste.decay import Ints
from streams.taste.rows import Block, packed, starts
from streams.taste.snapshot import Named

_TEXT = pa.large_string()


@dataclass(frozen=True, slots=True)
class Spelled:
    """Names, those of an owner together and ascending.

    Attributes:
        owner: whose name it is.
        texts: the names.
    """

    owner: Ints
    texts: pa.LargeStringArray

    @classmethod
    def of(cls, named: Named) -> tuple[Block, Spelled]:
        """Rows of ``named`` by the position of their item among its owner's names, and these."""
        block = named.block
        first = starts(block.owner, block.item)
        owner = block.owner[first]
        own = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(block))))
        own -= np.searchsorted(owner, block.owner)
        texts = named.names.take(pa.array(block.item[first]))
        return replace(block, key=packed(own, block.band)), cls(owner, texts)

    @property
    def lengths(self) -> Ints:
        """Bytes of each name."""
        return np.diff(bounds(self.texts))

    def runs(self, count: int) -> pa.LargeBinaryArray:
        """Names of each of ``count`` owners in one run."""
        ends = bounds(self.texts)[np.searchsorted(self.owner, np.arange(count + 1))]
        return cut(ends, self.texts.buffers()[2] or b"")

    def named(self, block: Block) -> Named:
        """What `of` was given."""
        texts = pl.Series(self.texts, dtype=pl.String)
        ordered = texts.unique().sort()
        number = texts.cast(pl.Enum(ordered)).to_physical().to_numpy().astype(np.int64)
        before = np.searchsorted(self.owner, block.owner)
        key = packed(number[before + block.item], block.band)
        return Named(replace(block, key=key), ordered.to_arrow(compat_level=ARROW))


def spelled(runs: Sequence[bytes], lengths: Ints, owner: Ints) -> pa.LargeStringArray:
    """Names from the runs of all owners, which have names of these ``lengths`` in bytes.

    Raises:
        ValueError: a run is shorter or longer than its names, or is no text.
    """
    ends = np.append(0, np.cumsum(lengths))
    due = np.diff(ends[np.searchsorted(owner, np.arange(len(runs) + 1))])
    if lengths.min(initial=0) < 0 or due.tolist() != [len(run) for run in runs]:
        raise ValueError("names are cut short or something follows them")
    data = b"".join(runs)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    texts = pa.Array.from_buffers(_TEXT, len(lengths), buffers)
    texts.validate(full=True)
    return texts
