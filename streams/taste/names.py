"""Texts as small whole numbers, so that rows hold four bytes where a name would be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from streams.rows import ARROW


class Order(NamedTuple):
    """Names in ascending order: ``rank`` of each id, and the ``texts``."""

    rank: NDArray[np.int64]
    texts: pa.LargeStringArray


class Names(dict[str, int]):
    """Text to id. A text that is looked up and missing gets the lowest id that was given back,
    or the next one: ``names[text]`` never fails."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str | None] = []
        self._free: list[int] = []

    def __missing__(self, text: str) -> int:
        if self._free:
            number = self._free.pop()
            self._texts[number] = text
        else:
            number = len(self._texts)
            self._texts.append(text)
        self[text] = number
        return number

    @property
    def capacity(self) -> int:
        """Ids ever given out are below this."""
        return len(self._texts)

    def ids(self, texts: list[str]) -> NDArray[np.int64]:
        """Ids of ``texts``, new ones where needed."""
        return np.fromiter(map(self.__getitem__, texts), np.int64, len(texts))

    def ids_of(self, column: pl.Series) -> NDArray[np.int64]:
        """Ids of a column without nulls; each distinct text is looked up once."""
        distinct = column.unique(maintain_order=True)
        position = column.cast(pl.Enum(distinct)).to_physical().to_numpy()
        return self.ids(distinct.to_list()).take(position)

    def texts(self, ids: Iterable[int]) -> list[str]:
        """Texts of ids that are in use."""
        return [text for i in ids if (text := self._texts[i]) is not None]

    def order(self, ids: NDArray[np.int64]) -> Order:
        """Of ``ids`` that are in use; the rank of any other means nothing."""
        used = np.zeros(self.capacity, np.bool_)
        used[ids] = True
        numbers = np.flatnonzero(used)
        texts = pl.Series(self.texts(numbers.tolist()), dtype=pl.String)
        ascending = texts.arg_sort().to_numpy()
        rank = np.zeros(self.capacity, np.int64)
        rank[numbers[ascending]] = np.arange(len(numbers))
        return Order(rank, texts.gather(ascending).to_arrow(compat_level=ARROW))

    def release(self, text: str) -> int:
        """Give the id of ``text`` back and return it."""
        number = self.pop(text)
        self._texts[number] = None
        self._free.append(number)
        return number

    def keep(self, used: NDArray[np.int64]) -> None:
        """Give back every id that is not in ``used``."""
        kept = np.zeros(self.capacity, np.bool_)
        kept[used] = True
        for text in [text for text, number in self.items() if not kept[number]]:
            self.release(text)
