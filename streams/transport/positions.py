"""What a consumer of ``listens`` has seen: source positions and recent event ids.

Both answer from the log alone, so a worker that reads the same records again, after a crash or in
another process, decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


class SourcePositions:
    """Highest source offset per source partition, for one partition of ``listens``.

    The gate writes the listens of a source partition in the order of their plays, so a position
    that is not higher than the highest seen has been seen: the gate produced it twice.
    """

    def __init__(self, highest: Mapping[int, int] | None = None) -> None:
        self.highest: dict[int, int] = dict(highest or {})

    def admit(self, partitions: Int64s, offsets: Int64s) -> Mask:
        """Which rows, in log order, bring a higher position; those are remembered."""
        fresh = np.zeros(len(partitions), dtype=np.bool_)
        for partition in np.unique(partitions).tolist():
            rows = np.flatnonzero(partitions == partition)
            seen = np.maximum.accumulate(
                np.concatenate(([self.highest.get(partition, -1)], offsets[rows]))
            )
            fresh[rows] = offsets[rows] > seen[:-1]
            self.highest[partition] = int(seen[-1])
        return fresh


class RecentEvents:
    """Event ids among the last ``horizon`` records of one partition of ``listens``.

    A row is a duplicate if the same id stands less than ``horizon`` offsets before it. Memory: 16
    bytes a record within the horizon, up to a quarter more between clean-ups.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._ids = np.empty(0, dtype=np.uint64)
        self._offsets = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def admit(self, ids: npt.NDArray[np.uint64], offsets: Int64s) -> Mask:
        """Which rows, in log order, are no duplicates; all rows are remembered."""
        if self._horizon == 0 or len(ids) == 0:
            return np.ones(len(ids), dtype=np.bool_)
        order = np.lexsort((offsets, ids))
        sorted_ids, sorted_offsets = ids[order], offsets[order]
        previous = np.empty(len(ids), dtype=np.int64)
        previous[0] = np.iinfo(np.int64).min // 2
        previous[1:] = np.where(
            sorted_ids[1:] == sorted_ids[:-1], sorted_offsets[:-1], np.iinfo(np.int64).min // 2
        )
        previous = np.maximum(previous, self._last_seen(sorted_ids))
        fresh = np.empty(len(ids), dtype=np.bool_)
        fresh[order] = sorted_offsets - previous >= self._horizon
        self._remember(sorted_ids, sorted_offsets)
        return fresh

    def _last_seen(self, ids: npt.NDArray[np.uint64]) -> Int64s:
        never = np.iinfo(np.int64).min // 2
        if len(self._ids) == 0:
            return np.full(len(ids), never, dtype=np.int64)
        # The right-most entry of an id is its newest: entries are sorted by id, then offset.
        at = np.searchsorted(self._ids, ids, side="right") - 1
        found = (at >= 0) & (self._ids[at] == ids)
        return np.where(found, self._offsets[at], never)

    def _remember(self, ids: npt.NDArray[np.uint64], offsets: Int64s) -> None:
        at = np.searchsorted(self._ids, ids, side="right")
        self._ids = np.insert(self._ids, at, ids)
        self._offsets = np.insert(self._offsets, at, offsets)
        if len(self._ids) > self._horizon + self._horizon // 4:
            keep = self._offsets > offsets.max() - self._horizon
            self._ids, self._offsets = self._ids[keep], self._offsets[keep]
