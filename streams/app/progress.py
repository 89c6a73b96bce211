"""Progress: a worker is well when its positions move, not when its process lives.

Somebody looks at regular times (`Progress.look`): where the partitions end, how far each is, what
is committed. Standing still counts from look to look, so time in which Kafka did not answer, or the
whole process was stopped, counts for nothing: starting anew would not help there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streams import metrics
from streams.agents.role import Place
from streams.transport.driver import Seen

LONGEST_LOOK_S = 10.0
"""More than this between two looks counts as this much."""
_UNSEEN = Seen(None, 0, None)


@dataclass(slots=True)
class _Partition:
    committed: int = 0
    end: int = 0
    seen: Seen = _UNSEEN
    still_s: float = 0.0

    @property
    def lag(self) -> int:
        """Records that are not done. What is no record, as the mark of a transaction, is not."""
        _, in_flight, finished = self.seen
        read = self.seen.position
        idle = not in_flight and (finished is None or finished <= self.committed)
        if idle and read is not None and read >= self.end:
            return 0
        return max(0, self.end - self.committed)

    @property
    def hangs(self) -> str:
        """What does not go on."""
        if self.seen.finished is not None and self.seen.finished > self.committed:
            return "what is finished is not committed"
        if self.seen.in_flight:
            return "a batch was fetched and is not finished"
        return "nothing is fetched"


@dataclass(slots=True)
class Progress:
    """Positions of the assigned partitions. ``clock`` gives seconds, rising."""

    stall_s: float
    """Standing still for longer than this is trouble: not ready."""
    exit_s: float
    """Standing still for longer than this is a fault: exit."""
    clock: Callable[[], float]
    assigned: bool = False
    _partitions: dict[Place, _Partition] = field(default_factory=dict)
    _joining_s: float = 0.0
    _restored: float = 0.0
    _looked_at: float | None = None
    _silent: str | None = None

    def assign(self, places: set[Place]) -> None:
        """Watch ``places`` and no others."""
        self.assigned = True
        self._joining_s = 0.0
        self._partitions = {
            place: self._partitions.get(place) or _Partition() for place in sorted(places)
        }

    def unassign(self) -> None:
        """A rebalance began: nothing is known until it ends."""
        self.assigned = False

    def committed(self, topic: str, partition: int, offset: int) -> None:
        """Note that everything before ``offset`` is durable."""
        metrics.COMMITTED_OFFSET.labels(topic, partition).set(offset)
        state = self._partitions.get((topic, partition))
        if state is not None and offset > state.committed:
            state.committed, state.still_s = offset, 0.0

    def unreachable(self, why: str) -> None:
        """Kafka did not answer when somebody wanted to look; ``why`` in a word."""
        self._silent = why
        self._looked_at = None

    def look(
        self, ends: Mapping[Place, int], seen: Mapping[Place, Seen], restored: float = 0.0
    ) -> None:
        """Take in where partitions end, how far they are in this worker, and how much was read
        back until now, which is what goes on while partitions are being taken over."""
        now = self.clock()
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, LONGEST_LOOK_S)
        self._looked_at, self._silent = now, None
        if self.assigned or restored != self._restored:
            self._joining_s = 0.0
        else:
            self._joining_s += passed
        self._restored = restored
        for (topic, partition), end in ends.items():
            metrics.END_OFFSET.labels(topic, partition).set(end)
        for place, state in self._partitions.items():
            state.end = ends.get(place, state.end)
            state.seen = seen.get(place, _UNSEEN)
            state.still_s = state.still_s + passed if self.assigned and state.lag else 0.0

    def troubles(self) -> list[str]:
        """Why the worker is not ready, a sentence each; empty when it is."""
        if self._silent is not None:
            return [f"Kafka does not answer: {self._silent}."]
        if not self.assigned:
            return [f"No partitions: the group is joining or rebalancing, {self._joining_s:.0f} s."]
        return self._standing(self.stall_s)

    def fault(self) -> str | None:
        """Why the worker must exit; None while it need not."""
        if self._silent is not None:
            return None
        if not self.assigned and self._joining_s > self.exit_s:
            return f"No partitions for {self._joining_s:.0f} s: a rebalance does not end."
        return next(iter(self._standing(self.exit_s)), None)

    def _standing(self, bound_s: float) -> list[str]:
        return [
            f"{topic}/{number}: {state.lag} records of lag and no commit for {state.still_s:.0f} s;"
            f" {state.hangs}."
            for (topic, number), state in self._partitions.items()
            if state.lag and state.still_s > bound_s
        ]
