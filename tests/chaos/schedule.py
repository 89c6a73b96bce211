"""Which fault happens when: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

EVERY_S = 3.0
"""Mean time between faults. Most last longer, so several are under way at once."""
CALM_S = 2.0
"""Nothing happens so long after the start."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. ``lasts`` are its shortest and longest duration, ``most`` how often."""

    name: str
    lasts: tuple[float, float] = (0.0, 0.0)
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: seconds from the start, what it is, how long until it heals, its own seed."""

    at_s: float
    kind: str
    lasts_s: float
    seed: int


def draw(seed: int, seconds: float, kinds: Sequence[Kind]) -> list[Fault]:
    """Faults by time, each kind at least once, all over before ``seconds`` if they are that short.

    The same for the same arguments.
    """
    random_ = random.Random(f"faults {seed}")
    often = Counter(kind.name for kind in kinds)
    drawn = list(kinds)
    for _ in range(len(kinds), int(seconds / EVERY_S)):
        kind = random_.choice(kinds)
        if kind.most is None or often[kind.name] < kind.most:
            often[kind.name] += 1
            drawn.append(kind)
    found = []
    for kind in drawn:
        lasts = random_.uniform(*kind.lasts)
        at = random_.uniform(CALM_S, max(CALM_S, seconds - lasts))
        own = random_.getrandbits(32)
        found.append(Fault(round(at, 2), kind.name, round(lasts, 2), own))
    return sorted(found, key=lambda fault: (fault.at_s, fault.kind))
