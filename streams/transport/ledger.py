"""The offset ledger: which prefix of each partition is done.

Faust's own bookkeeping can commit past a record that is still being processed (faust-streaming
issue 606). Here a partition's batches stand in a queue in the order they were delivered, and only
the contiguous run of finished ones at its head moves the offset to commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Entry:
    token: object
    next_offset: int
    finished: bool = False


@dataclass(slots=True)
class _Partition:
    entries: deque[_Entry] = field(default_factory=deque)
    committable: int | None = None
    expected: int | None = None


class OffsetLedger:
    """Deliveries of batches and what may be committed, by partition. Not thread-safe."""

    def __init__(self) -> None:
        self._partitions: dict[Hashable, _Partition] = {}

    def deliver(
        self, partition: Hashable, token: object, next_offset: int, end: int | None = None
    ) -> None:
        """Note a batch as under way; ``token`` is the object that `finish` will be called with.

        ``end`` is where its successor starts, ``next_offset`` if not given.
        """
        state = self._partitions.setdefault(partition, _Partition())
        state.entries.append(_Entry(token, next_offset))
        state.expected = next_offset if end is None else end

    def seek(self, partition: Hashable, offset: int) -> None:
        """Note that the next batch starts at ``offset``."""
        self._partitions.setdefault(partition, _Partition()).expected = offset

    def expected(self, partition: Hashable) -> int | None:
        """Where the next batch must start, or records between are lost; None if not known."""
        state = self._partitions.get(partition)
        return state.expected if state else None

    def resume(self, partition: Hashable, offset: int) -> None:
        """Note that everything before ``offset`` is done, by whoever had the partition before."""
        self._partitions.setdefault(partition, _Partition()).committable = offset

    def finish(self, partition: Hashable, token: object) -> bool:
        """Note a batch as done. False if it is not under way: its partition was taken away."""
        state = self._partitions.get(partition)
        if state is None:
            return False
        for entry in state.entries:
            if entry.token is token and not entry.finished:
                entry.finished = True
                break
        else:
            return False
        while state.entries and state.entries[0].finished:
            state.committable = state.entries.popleft().next_offset
        return True

    def committable(self, partition: Hashable) -> int | None:
        """Offset after the contiguous prefix of finished batches; None before the first."""
        state = self._partitions.get(partition)
        return state.committable if state else None

    def in_flight(self, partition: Hashable) -> int:
        """Batches delivered and not yet part of the finished prefix."""
        state = self._partitions.get(partition)
        return len(state.entries) if state else 0

    def __iter__(self) -> Iterator[Hashable]:
        return iter(list(self._partitions))

    def reset(self) -> None:
        """Forget everything: a rebalance delivers anew from the committed offsets."""
        self._partitions.clear()
