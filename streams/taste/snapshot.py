"""State of some listeners taken out of the arrays: what profiles and bodies are made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from streams.taste.decay import MINUTE_MS, Ints
from streams.taste.names import Order
from streams.taste.rows import OWNER_SHIFT, Block, packed

NOTHING: Final = -1
"""Offset of a listener that includes no listen."""
_LATEST = np.iinfo(np.int64).max


class Span(NamedTuple):
    """When the first and the last play of a listener started, ms, and how many plays there are."""

    first: int
    last: int
    plays: int


@dataclass(slots=True)
class Heads:
    """Figures that each listener has once, by slot or by position.

    Attributes:
        offset: highest offset of `listens` included.
        epoch: epoch of the key that made the pseudonym.
        first: minute of the oldest play.
        last: minute of the newest play, at which every decayed figure is taken.
        plays: plays, not decayed.
        listens: of these, the counted ones.
    """

    offset: Ints
    epoch: Ints
    first: Ints
    last: Ints
    plays: Ints
    listens: Ints

    @classmethod
    def blank(cls, slots: int) -> Heads:
        """Heads of listeners without a play."""
        return cls(
            np.full(slots, NOTHING),
            np.zeros(slots, np.int64),
            np.full(slots, _LATEST),
            np.full(slots, -1),
            np.zeros(slots, np.int64),
            np.zeros(slots, np.int64),
        )

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def reach(self, slots: int) -> None:
        """Make room for ``slots`` slots."""
        missing = slots - len(self.offset)
        if missing > 0:
            blank = Heads.blank(missing + slots // 2)
            for field in fields(self):
                name = field.name
                setattr(self, name, np.append(getattr(self, name), getattr(blank, name)))

    def take(self, slots: Ints) -> Heads:
        """Heads of ``slots``."""
        return Heads(*(getattr(self, field.name)[slots] for field in fields(self)))

    def span(self) -> Span:
        """Of the first of these listeners."""
        first, last = (int(minute[0]) * MINUTE_MS for minute in (self.first, self.last))
        return Span(first, last, int(self.plays[0]))

    def put(self, slots: Ints, heads: Heads) -> None:
        """Make ``heads`` the heads of ``slots``."""
        for field in fields(self):
            getattr(self, field.name)[slots] = getattr(heads, field.name)

    def add(self, slots: Ints, heads: Heads) -> None:
        """Add ``heads`` to those of ``slots``, of which one may be named several times."""
        np.maximum.at(self.offset, slots, heads.offset)
        np.maximum.at(self.epoch, slots, heads.epoch)
        np.minimum.at(self.first, slots, heads.first)
        np.maximum.at(self.last, slots, heads.last)
        np.add.at(self.plays, slots, heads.plays)
        np.add.at(self.listens, slots, heads.listens)


@dataclass(frozen=True, slots=True)
class Named:
    """Rows of artists or genres whose item is a position in ``names``, which ascend.

    So the rows of an owner are in the order of their names, which no arrival order changes.
    """

    block: Block
    names: pa.LargeStringArray

    @classmethod
    def of(cls, block: Block, order: Order) -> Named:
        """``block``, whose items are ids, ordered by name."""
        return cls(renumbered(block, order.rank), order.texts)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything about some listeners; the owner of a row is a position in ``listeners``."""

    listeners: list[str]
    heads: Heads
    totals: Block
    artists: Named
    genres: Named
    rhythm: Block


def renumbered(block: Block, number: Ints) -> Block:
    """``block`` with ``number[item]`` for each item, sorted again."""
    key = packed(number[block.item], block.band)
    order = np.argsort(block.owner << OWNER_SHIFT | key)
    return Block(block.owner[order], key[order], block.values.take(order, axis=0))
