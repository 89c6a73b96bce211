"""Readiness by progress: a worker is well when its positions move, not when its process lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streams import metrics
from streams.agents.role import Place


@dataclass(slots=True)
class _Partition:
    committed: int = 0
    end: int | None = None
    moved_at: float = 0.0


@dataclass(slots=True)
class Progress:
    """Positions of the assigned partitions. ``clock`` gives seconds, rising."""

    stall_s: float
    clock: Callable[[], float]
    assigned: bool = False
    _partitions: dict[Place, _Partition] = field(default_factory=dict)

    def assign(self, places: set[Place]) -> None:
        """Watch ``places`` and no others."""
        self.assigned = True
        self._partitions = {
            place: self._partitions.get(place) or _Partition(moved_at=self.clock())
            for place in sorted(places)
        }

    def unassign(self) -> None:
        """A rebalance began: nothing is known until it ends."""
        self.assigned = False

    def committed(self, topic: str, partition: int, offset: int) -> None:
        """Note that everything before ``offset`` is durable."""
        metrics.COMMITTED_OFFSET.labels(topic, partition).set(offset)
        state = self._partitions.get((topic, partition))
        if state is not None and offset > state.committed:
            state.committed, state.moved_at = offset, self.clock()

    def ends(self, topic: str, ends: Mapping[int, int]) -> None:
        """Note where the partitions of ``topic`` end; one without lag counts as moving."""
        for partition, end in ends.items():
            metrics.END_OFFSET.labels(topic, partition).set(end)
            state = self._partitions.get((topic, partition))
            if state is not None:
                state.end = end
                if state.committed >= end:
                    state.moved_at = self.clock()

    def troubles(self) -> list[str]:
        """Why the worker is not ready, a sentence each; empty when it is."""
        if not self.assigned:
            return ["No partitions assigned yet: the consumer group is joining or rebalancing."]
        now = self.clock()
        return [
            f"{topic}/{number}: {state.end - state.committed} records of lag and no commit "
            f"for {now - state.moved_at:.0f} s."
            for (topic, number), state in self._partitions.items()
            if state.end is not None
            and state.committed < state.end
            and now - state.moved_at > self.stall_s
        ]
