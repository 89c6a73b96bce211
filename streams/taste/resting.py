"""Listeners as the bodies they were loaded from, until something is asked or folded of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from streams.taste import codec
from streams.taste.snapshot import Snapshot

_PAGE: Final = 1_024
"""Listeners decoded at a time; bounds what decoding copies, and the copies fit the cache."""


class Resting(dict[str, bytes]):
    """Body by listener. A body costs 250 bytes beside itself, with name and entry."""

    def put(self, listeners: Sequence[str], bodies: Sequence[bytes]) -> int:
        """Have ``listeners`` rest; the highest offset of `listens` that they include.

        Raises:
            StateError: a body is of a version this release does not know, or cut short.
        """
        newest = max(codec.offsets(bodies))
        self.update(zip(listeners, bodies, strict=True))
        return newest

    def take(self, listeners: Iterable[str]) -> Iterator[Snapshot]:
        """Those of ``listeners`` who rest, decoded; they do not rest any more.

        Raises:
            StateError: a body is damaged.
        """
        woken = [name for name in dict.fromkeys(listeners) if name in self] if self else []
        for begin in range(0, len(woken), _PAGE):
            page = woken[begin : begin + _PAGE]
            yield codec.decode(page, [self.pop(name) for name in page])

    @property
    def nbytes(self) -> int:
        """Bytes of the bodies."""
        return sum(map(len, self.values()))
