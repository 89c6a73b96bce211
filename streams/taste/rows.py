"""Sorted rows per listener, in one growing array: the store behind every part of the state.

A `Block` is a set of rows grouped by owner. `Rows` keeps one block per slot (a slot is a listener's
number) in an arena: a changed block is written anew behind the last one, and what is still in use
moves to a new arena when the end is reached. A checkpoint so costs as much as the listeners it
touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.taste.decay import Ints

Mask = NDArray[np.bool_]

OWNER_SHIFT: Final = 40
"""Keys are below 2**40: an item of up to 32 bits over a band of 8."""
BAND_BITS: Final = 8
_LARGEST = np.iinfo(np.int64).max
_SMALL = 65_536
"""Rows that are not worth moving."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows sorted by (owner, key), each pair once.

    Attributes:
        owner: whose row it is, as a position in some list of slots; below 2**23.
        key: ``item << 8 | band``.
        values: shape (rows, columns).
    """

    owner: Ints
    key: Ints
    values: Ints

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def item(self) -> Ints:
        """Number of the artist, genre or hour."""
        return self.key >> BAND_BITS

    @property
    def band(self) -> Ints:
        """Number of the band since 1970."""
        return self.key & ((1 << BAND_BITS) - 1)

    def part(self, first: int, last: int) -> Block:
        """Rows of owners ``first`` up to ``last``, not included, counted from 0 again."""
        low, high = np.searchsorted(self.owner, (first, last))
        return Block(self.owner[low:high] - first, self.key[low:high], self.values[low:high])

    def where(self, chosen: Mask) -> Block:
        """The chosen rows."""
        return Block(self.owner[chosen], self.key[chosen], self.values[chosen])


def starts(*columns: Ints) -> Ints:
    """Where a run of equal values begins, in any of ``columns``."""
    changed = np.ones(len(columns[0]), np.bool_)
    if len(changed):
        changed[1:] = np.logical_or.reduce([each[1:] != each[:-1] for each in columns])
    return np.flatnonzero(changed)


def runs(first: Ints, counts: Ints) -> Ints:
    """As many consecutive numbers from each of ``first`` on as ``counts`` says."""
    before = np.cumsum(counts) - counts
    numbers: Ints = np.arange(int(counts.sum())) + np.repeat(first - before, counts)
    return numbers


def packed(item: Ints, band: Ints) -> Ints:
    """Key of a row."""
    return item << BAND_BITS | band


def summed(owner: Ints, key: Ints, values: Sequence[Ints], least: bool = False) -> Block:
    """One row per (owner, key): the sums of ``values`` (last column: the minimum if ``least``).

    ``values`` are columns, and each sum must stay below 2**63.
    """
    full = owner << OWNER_SHIFT | key
    order = np.argsort(full)
    full = full[order]
    first = starts(full)
    result = np.empty((len(first), len(values)), np.int64)
    for column, each in enumerate(values):
        if least and column == len(values) - 1:
            result[:, column] = np.minimum.reduceat(each[order], first) if len(first) else 0
        else:  # integers wrap around, so differences of running sums are exact
            before = np.append(0, np.cumsum(each[order]))
            result[:, column] = np.diff(before[np.append(first, len(full))])
    full = full[first]
    return Block(full >> OWNER_SHIFT, full & ((1 << OWNER_SHIFT) - 1), result)


def combine(one: Block, other: Block, least: bool = False) -> Block:
    """Both blocks in one: equal rows are added (last column: the minimum if ``least``).

    Values are never negative, so a negative sum has passed 2**63: it becomes the largest integer.
    Adding up to a ceiling is as free of order as adding.
    """
    full = np.concatenate([b.owner << OWNER_SHIFT | b.key for b in (one, other)])
    values = np.concatenate([one.values, other.values])
    order = np.argsort(full, kind="stable")  # two sorted runs: a merge, not a sort
    full = full[order]
    twin = np.flatnonzero(full[1:] == full[:-1])
    kept = np.ones(len(full), np.bool_)
    kept[twin + 1] = False
    full, merged = full[kept], values.take(order[kept], axis=0)
    place = twin - np.arange(len(twin))
    second = values[order[twin + 1]]
    total = merged[place] + second
    total[total < 0] = _LARGEST
    if least:
        total[:, -1] = np.minimum(merged[place, -1], second[:, -1])
    merged[place] = total
    return Block(full >> OWNER_SHIFT, full & ((1 << OWNER_SHIFT) - 1), merged)


def less(one: Block, other: Block, least: bool = False) -> Block:
    """``one`` without what ``other`` had added to it (last column: left as it is if ``least``).

    Rows of which nothing is left go; rows of ``other`` that ``one`` does not have are ignored.
    """
    mine, theirs = (b.owner << OWNER_SHIFT | b.key for b in (one, other))
    _, mine_at, theirs_at = np.intersect1d(mine, theirs, True, return_indices=True)
    values = one.values.copy()
    columns = slice(0, -1 if least else None)
    values[mine_at, columns] -= other.values[theirs_at, columns]
    kept = values[:, 0] > 0
    return Block(one.owner[kept], one.key[kept], values[kept])


class Rows:
    """Blocks by slot, ``columns`` values a row. A slot without rows costs 12 bytes."""

    def __init__(self, columns: int) -> None:
        self._key = np.empty(0, np.int64)
        self._values = np.empty((0, columns), np.int64)
        self._start = np.zeros(0, np.int64)
        self._size = np.zeros(0, np.int32)
        self._used = 0
        self._live = 0

    def __len__(self) -> int:
        """Rows of all slots."""
        return self._live

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        arrays = (self._key, self._values, self._start, self._size)
        return sum(array.nbytes for array in arrays)

    @property
    def used(self) -> Ints:
        """Slots with rows."""
        return np.flatnonzero(self._size)

    def items(self, slots: Ints) -> Ints:
        """Numbers of the items of all rows of ``slots``."""
        index, _ = self._index(slots)
        return self._key[index] >> BAND_BITS

    def block(self, slots: Ints) -> Block:
        """Rows of ``slots``; the owner is the position in ``slots``. Unknown slots have none."""
        index, size = self._index(slots)
        owner = np.repeat(np.arange(len(slots)), size)
        return Block(owner, self._key[index], self._values.take(index, axis=0))

    def put(self, slots: Ints, block: Block) -> None:
        """Make ``block`` the rows of ``slots`` (each named once); they lose what they had."""
        self._reach(int(slots.max(initial=-1)))
        self._live += len(block) - int(self._size[slots].sum())
        self._size[slots] = 0
        if self._used + len(block) > len(self._key):
            self._move()
        end = self._used + len(block)
        self._key[self._used : end] = block.key
        self._values[self._used : end] = block.values
        bounds = np.searchsorted(block.owner, np.arange(len(slots) + 1))
        self._start[slots] = self._used + bounds[:-1]
        self._size[slots] = np.diff(bounds)
        self._used = end

    def tidy(self) -> None:
        """Give back memory once most of it is not in use."""
        if len(self._key) > 3 * self._live + _SMALL:
            self._move()

    def _index(self, slots: Ints) -> tuple[Ints, Ints]:
        """Where the rows of ``slots`` are, and how many each has."""
        self._reach(int(slots.max(initial=-1)))
        size = self._size[slots].astype(np.int64)
        return runs(self._start[slots], size), size

    def _reach(self, slot: int) -> None:
        missing = slot + 1 - len(self._start)
        if missing > 0:
            room = missing + len(self._start) // 2
            self._start = np.append(self._start, np.zeros(room, np.int64))
            self._size = np.append(self._size, np.zeros(room, np.int32))

    def _move(self) -> None:
        slots = self.used
        block = self.block(slots)
        room = self._live + self._live // 2
        self._key = np.empty(room, np.int64)
        self._values = np.empty((room, self._values.shape[1]), np.int64)
        self._used = len(block)
        self._key[: self._used] = block.key
        self._values[: self._used] = block.values
        size = self._size[slots].astype(np.int64)
        self._start[slots] = np.cumsum(size) - size
