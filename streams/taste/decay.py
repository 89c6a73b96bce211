"""Forward decay in whole numbers: what a play weighs, such that sums do not depend on order.

Cormode, Shkapenyuk, Srivastava, Xu, "Forward Decay: A Practical Time Decay Model for Streaming
Systems", ICDE 2009: a play at time t gets the fixed weight ``2 ** ((t - L) / h)`` relative to a
landmark L before it, with half-life h. Sums of these weights are the state. As of any later time
T a sum is worth ``sum * 2 ** ((L - T) / h)``: nothing has to be aged, a late play is just added.

Instead of one landmark that moves, time since 1970 is cut into *bands* of 182 days, and every band
keeps its own sums relative to its own start. A weight then lies between 1 and 2**6.5 (the short
half-life fits 6.5 times into a band) and is stored as a whole number of 2**-30:

- **Sums are exact** integers: the same plays in any order, any batches and any merge give the same
  64 bits, however many years apart they are. One entry of one band overflows after 2**63 / 2**36.5,
  about 94 million plays, of a genre (finer grid, below) after 2.9 million; `rows.combine` then
  leaves it at the largest integer, which is order-free too.
- **Error**: a rounded weight is off by at most 2**-31 of itself (4.7e-10), and so is any sum.
- **No landmark moves**, hence no rescaling, and no exponent overflows: band 255 ends in 2097.

A listen of n genres gives each ``weight / n`` rounded to 2**-35: off by at most
``2**-31 + n * 2**-36`` of itself, below 1e-9 up to n = 36.

All times here are whole minutes since 1970-01-01 UTC. `power` uses nothing but IEEE additions,
multiplications and divisions, so every processor gives the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import factorial, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINUTE_MS: Final = 60_000
DAY: Final = 1_440
"""Minutes of a day."""


@dataclass(frozen=True, slots=True)
class Term:
    """How long a memory is. ``half_life`` is in minutes."""

    name: str
    half_life_days: int

    @property
    def half_life(self) -> int:
        """Age in minutes at which a play weighs half."""
        return self.half_life_days * DAY


TERMS: Final = (Term("short", 28), Term("medium", 182), Term("long", 365))
MEDIUM: Final = TERMS[1]
BAND: Final = 182 * DAY
"""Minutes of a band."""
ERA: Final = 8 * BAND
"""Minutes of a band of the rhythm, which has the medium term only: weights from 1 to 2**8."""
BANDS: Final = 256
"""Bands from 1970 on; a band number fits a byte."""
WEIGHT: Final = 2**30
"""Whole numbers that make a weight of 1."""
GENRE_WEIGHT: Final = 2**35
"""The same for genres, whose weights are divided."""

_FEW = 8
"""Bands that are worth asking for of every owner; within so few no power overflows."""
_HALF = 18
_LOW = (1 << _HALF) - 1
_LN2 = log(2.0)
_TAYLOR = tuple(1.0 / factorial(k) for k in range(13, -1, -1))


def power(minutes: Ints, half_life: int) -> Floats:
    """``2 ** (minutes / half_life)``, at most 1e-15 of itself off; exact at whole half-lives.

    The nearest whole number of half-lives only moves the exponent; what is left, at most a half,
    goes through the Taylor series of exp, whose first term left out is below 1e-17.
    """
    whole = (minutes + half_life // 2) // half_life
    exponent = (minutes - whole * half_life) / half_life * _LN2
    result = np.full_like(exponent, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        result *= exponent
        result += coefficient
    return np.ldexp(result, whole.astype(np.int32))


def weights(minutes: Ints, band: int = BAND, terms: tuple[Term, ...] = TERMS) -> Ints:
    """Weights of plays at ``minutes``, each relative to the start of its band of ``band`` minutes.

    Shape (terms, plays), in units of 1 / `WEIGHT`.
    """
    inside = minutes % band
    if (band, terms) == (BAND, TERMS):
        return _every_weight().take(inside, axis=1)
    return _weights(inside, terms)


def divided(weight: Ints, parts: Ints) -> Ints:
    """``weight / parts`` in units of 1 / `GENRE_WEIGHT`, rounded half to even."""
    finer = weight.astype(np.float64) * (GENRE_WEIGHT // WEIGHT)
    return np.rint(finer / parts).astype(np.int64)


def aged(
    bands: Ints,
    owner: Ints,
    as_of: Ints,
    unit: int = WEIGHT,
    band: int = BAND,
    terms: tuple[Term, ...] = TERMS,
) -> Floats:
    """What one stored unit of each of ``bands`` is worth at its owner's ``as_of``.

    Shape (terms, bands); ``owner`` is a position in ``as_of``.
    """
    if not len(bands):
        return np.empty((len(terms), 0))
    first = int(bands.min())
    count = int(bands.max()) - first + 1
    if count > _FEW or len(as_of) * count > len(bands):
        return _aged(bands, as_of[owner], unit, band, terms)
    every = np.tile(np.arange(first, first + count), len(as_of))
    worth = _aged(every, np.repeat(as_of, count), unit, band, terms)
    return worth.take(owner * count + bands - first, axis=1)


def times(weight: Ints, amount: Ints) -> tuple[Ints, Ints]:
    """``weight * amount`` as (high, low) with ``high * 2**32 + low``; nothing overflows.

    For weights of a band and amounts below 2**31. Sums of each part are exact for 94 million plays,
    whatever the amounts.
    """
    upper = (weight >> _HALF) * amount
    lower = (weight & _LOW) * amount
    upper += lower >> _HALF
    shift = 32 - _HALF
    return upper >> shift, ((upper & ((1 << shift) - 1)) << _HALF) | (lower & _LOW)


def joined(high: Ints, low: Ints) -> Floats:
    """The product that sums of `times` stand for, rounded once."""
    return np.ldexp(high.astype(np.float64), 32) + low


@cache
def _every_weight() -> Ints:
    """Weights of all minutes of a band: 6 MB, and three times as fast as to calculate them."""
    return _weights(np.arange(BAND), TERMS)


def _weights(inside: Ints, terms: tuple[Term, ...]) -> Ints:
    powers = [power(inside, term.half_life) for term in terms]
    return np.rint(np.stack(powers) * WEIGHT).astype(np.int64)


def _aged(bands: Ints, as_of: Ints, unit: int, band: int, terms: tuple[Term, ...]) -> Floats:
    return np.stack([power(bands * band - as_of, term.half_life) for term in terms]) / unit
