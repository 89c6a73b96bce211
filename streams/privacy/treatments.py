"""The treatments there are: a closed list, each with what it takes and when it is the coarser.

`streams.privacy.policy` reads them from the policy, `streams.privacy.expressions` carries them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

UNIT_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done with a value. ``kind`` is the policy's ``do``; the fields are its other keys."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        """Raise ValueError with the rule that does not hold."""
        for holds, rule in self._rules():
            if not holds:
                raise ValueError(rule)

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield from ()

    def covers(self, other: Treatment) -> bool:
        """Whether this one shows no more of a value than ``other``, which is of the same kind."""
        return self == other


@dataclass(frozen=True, slots=True)
class Drop(Treatment):
    """The value goes no further; it is not even decoded, unless a derivation reads it."""

    kind = "drop"


@dataclass(frozen=True, slots=True)
class Pseudonymize(Treatment):
    """Keyed digest: ``hex`` is 32 hexadecimal digits of HMAC-SHA256, ``int64`` a signed 64-bit
    number by BLAKE2b."""

    kind = "pseudonymize"
    form: str

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield self.form in ("hex", "int64"), "form is hex or int64"


@dataclass(frozen=True, slots=True)
class Generalize(Treatment):
    """The first label of ``lookup`` with a word found in the text, else ``otherwise``."""

    kind = "generalize"
    lookup: str
    otherwise: str

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield isinstance(self.lookup, str), "lookup is the name of a lookup"
        yield isinstance(self.otherwise, str) and bool(self.otherwise), "otherwise is a label"


@dataclass(frozen=True, slots=True)
class BucketEdges(Treatment):
    """The half-open range between two edges that a number falls in, as text."""

    kind = "bucket"
    edges: tuple[int | float, ...]

    def _rules(self) -> Iterator[tuple[bool, str]]:
        rule = "edges is a list of numbers within 2^53 of zero, in ascending order"
        yield isinstance(self.edges, tuple) and len(self.edges) > 0, rule
        yield all(type(edge) in (int, float) and abs(edge) <= 2**53 for edge in self.edges), rule
        yield all(low < high for low, high in pairwise(self.edges)), rule

    def covers(self, other: Treatment) -> bool:
        """Fewer of the same edges show less."""
        return isinstance(other, BucketEdges) and set(self.edges) <= set(other.edges)


@dataclass(frozen=True, slots=True)
class BucketWidth(Treatment):
    """The largest multiple of ``width`` that is not above the number."""

    kind = "bucket"
    width: int

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield _whole(self.width, 1, 2**31 - 1), "width is a whole number from 1 to 2147483647"

    def covers(self, other: Treatment) -> bool:
        """A multiple of the other width shows less."""
        return isinstance(other, BucketWidth) and self.width % other.width == 0


@dataclass(frozen=True, slots=True)
class TruncateTime(Treatment):
    """Milliseconds, of a point in time or an amount, cut to whole units of ``to``."""

    kind = "truncate"
    to: str

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield self.to in tuple(UNIT_MS), f"to is one of {', '.join(UNIT_MS)}"

    def covers(self, other: Treatment) -> bool:
        """A larger unit shows less: each is a multiple of the smaller ones."""
        return isinstance(other, TruncateTime) and UNIT_MS[self.to] >= UNIT_MS[other.to]


@dataclass(frozen=True, slots=True)
class TruncateAddress(Treatment):
    """The network that an IP address is in, by the length of its prefix in bits."""

    kind = "truncate"
    prefix4: int
    prefix6: int

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield _whole(self.prefix4, 0, 32), "prefix4 is a number of bits from 0 to 32"
        yield _whole(self.prefix6, 0, 128), "prefix6 is a number of bits from 0 to 128"

    def covers(self, other: Treatment) -> bool:
        """Shorter prefixes show less."""
        return (
            isinstance(other, TruncateAddress)
            and self.prefix4 <= other.prefix4
            and self.prefix6 <= other.prefix6
        )


@dataclass(frozen=True, slots=True)
class TruncatePoint(Treatment):
    """Degrees cut down to so many decimals; one decimal of latitude is about 11 km."""

    kind = "truncate"
    decimals: int

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield _whole(self.decimals, 0, 6), "decimals is a number from 0 to 6"

    def covers(self, other: Treatment) -> bool:
        """Fewer decimals show less."""
        return isinstance(other, TruncatePoint) and self.decimals <= other.decimals


@dataclass(frozen=True, slots=True)
class Keep(Treatment):
    """The value passes as it is."""

    kind = "keep"


VARIANTS: tuple[type[Treatment], ...] = (
    Drop,
    Pseudonymize,
    Generalize,
    BucketEdges,
    BucketWidth,
    TruncateTime,
    TruncateAddress,
    TruncatePoint,
    Keep,
)
STRICTEST_FIRST = tuple(dict.fromkeys(variant.kind for variant in VARIANTS))
"""drop, pseudonymize, generalize, bucket, truncate, keep."""


def _whole(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high
