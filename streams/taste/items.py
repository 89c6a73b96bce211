"""Artists or genres of all listeners: rows, and the names that they count."""

from __future__ import annotations

from typing import Final

from streams.taste import decay
from streams.taste.decay import Ints
from streams.taste.names import Names, Order
from streams.taste.ranking import pruned
from streams.taste.rows import Block, Mask, Rows, combine
from streams.taste.snapshot import Named, renumbered

_SPARE_NAMES: Final = 1_024


class Items:
    """Artists or genres: rows, the names of their items, and how many a listener keeps."""

    def __init__(self, columns: int, unit: int, most: int, least: bool = False) -> None:
        self.rows = Rows(columns)
        self.names = Names()
        self._unit, self._most, self._least = unit, most, least
        self._spare = _SPARE_NAMES

    def add(self, slots: Ints, block: Block, as_of: Ints) -> None:
        """Add ``block`` to the rows of ``slots`` and prune those that have too many."""
        block = combine(self.rows.block(slots), block, self._least)
        self.rows.put(slots, pruned(block, self.names, as_of, self._unit, self._most))

    def order(self, slots: Ints) -> Order:
        """The order of the names that the rows of ``slots`` have."""
        return self.names.order(self.rows.items(slots))

    def named(self, slots: Ints, order: Order) -> Named:
        """Rows of ``slots`` in the order of the names."""
        return Named.of(self.rows.block(slots), order)

    def put(self, slots: Ints, named: Named) -> None:
        """Make ``named`` the rows of ``slots``."""
        self.rows.put(slots, renumbered(named.block, self.names.ids(named.names.to_pylist())))

    def touched(self, block: Block, name: str | None, start: int, until: int) -> Mask:
        """Which rows are of ``name`` (None: any), in half years that ``[start, until)``, ms,
        touches."""
        unit = decay.BAND * decay.MINUTE_MS
        touched: Mask = ((block.band + 1) * unit > start) & (block.band * unit < until)
        if name is not None:
            touched &= block.item == self.names.get(name, -1)
        return touched

    def forget_names(self) -> None:
        """Give back the names that no row uses, once they may be as many as those in use."""
        if len(self.names) > self._spare:
            self.names.keep(self.rows.items(self.rows.used))
            self._spare = 2 * len(self.names) + _SPARE_NAMES
