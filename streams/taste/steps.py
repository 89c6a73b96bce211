"""Keys of rows as small numbers: how much each is above the key before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.taste.decay import BANDS, Ints
from streams.taste.rows import Block, packed, starts


@dataclass(frozen=True, slots=True)
class Bands:
    """The bands that the rows of each owner are of: the first, and how many to the last."""

    first: Ints
    size: Ints

    @classmethod
    def of(cls, count: int, *blocks: Block) -> Bands:
        """What the rows of ``count`` owners span; nothing, from band 0 on, without rows."""
        first, end = np.full(count, BANDS), np.zeros(count, np.int64)
        for block in blocks:
            np.minimum.at(first, block.owner, block.band)
            np.maximum.at(end, block.owner, block.band + 1)
        first = np.minimum(first, end)
        return cls(first, end - first)

    def steps(self, block: Block) -> Ints:
        """For each row how much its key is above that of the owner's row before it."""
        owner = block.owner
        keys = block.item * self.size[owner] + block.band - self.first[owner]
        steps = np.diff(keys, prepend=0)
        begin = starts(owner)
        steps[begin] = keys[begin]
        return steps

    def block(self, owner: Ints, steps: Ints, values: Ints, items: Ints) -> Block:
        """The block that `steps` was given, where each owner has so many ``items``.

        Raises:
            ValueError: the steps lead elsewhere.
        """
        begin = starts(owner)
        total = np.cumsum(steps)
        before = np.repeat((total - steps)[begin], np.diff(np.append(begin, len(owner))))
        size = np.maximum(self.size, 1)[owner]  # rows without a band end in the check below
        item, band = np.divmod(total - before, size)
        wrong = (item < 0) | (item >= items[owner])
        if wrong.any() or (self.first < 0).any() or (self.first + self.size > BANDS).any():
            raise ValueError("a row of no item or band")
        return Block(owner, packed(item, band + self.first[owner]), values)
