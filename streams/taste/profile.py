"""Taste profiles: records of ``schemas/taste-profile.avsc`` from a snapshot, all columns at once.

Diversity is the Hill number of order 1, ``exp(-sum(p * log(p)))``: the number of equally heard
artists that would have the same entropy (Hill, "Diversity and Evenness", Ecology 54, 1973; Jost,
"Entropy and diversity", Oikos 113, 2006); 0 without a listen.

Rates divide sums of the same whole-number weights band by band, so they stay between 0 and 1
exactly. Discovery and repetition are seen on the artists kept: one that was pruned and comes back
counts as new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Final, TypedDict

import numpy as np

from streams.taste import decay
from streams.taste.decay import Floats, Ints
from streams.taste.increments import FIGURES, FIRST, HOURS, LISTENS
from streams.taste.ranking import Standings, heaviest, ratio, standings, sums
from streams.taste.rows import BAND_BITS, Block, starts
from streams.taste.snapshot import Heads, Snapshot

FIELDS: Final = (
    "plays",
    "listens",
    "minutes",
    "skip_rate",
    "completion",
    "discovery_rate",
    "repeat_share",
    "artist_diversity",
    "genre_diversity",
)
"""Decayed figures of a term."""
_TERMS = len(decay.TERMS)


class Weighted(TypedDict):
    """An artist or genre."""

    name: str
    weight: float
    share: float


class TermFigures(TypedDict):
    """Figures of one term."""

    name: str
    half_life_days: float
    plays: float
    listens: float
    minutes: float
    skip_rate: float
    completion: float | None
    discovery_rate: float
    repeat_share: float
    artist_diversity: float
    genre_diversity: float
    artists: list[Weighted]
    genres: list[Weighted]


class Profile(TypedDict):
    """A record of ``taste-profiles``; times in milliseconds."""

    listener: str
    epoch: int
    as_of: int
    first_at: int
    plays: int
    listens: int
    terms: list[TermFigures]
    rhythm: list[float]


@dataclass(frozen=True, slots=True)
class Top:
    """The heaviest artists or genres of each listener in one term, heaviest first.

    Attributes:
        size: how many each listener has.
        names: names, of which ``item`` holds positions.
        weight: decayed listens.
        share: over all that are kept, not only these.
    """

    size: Ints
    names: list[str]
    item: Ints
    weight: Floats
    share: Floats


@dataclass(frozen=True, slots=True)
class Columns:
    """Profiles as columns, a row per listener.

    Attributes:
        heads: epoch, first and last minute, counts.
        figures: by name of the field, shape (terms, listeners); completion is NaN where unknown.
        artists: for each term.
        genres: for each term.
        rhythm: shape (listeners, hours).
    """

    listeners: list[str]
    heads: Heads
    figures: dict[str, Floats]
    artists: list[Top]
    genres: list[Top]
    rhythm: Floats


def columns(snapshot: Snapshot, items: int) -> Columns:
    """Profiles of all listeners of ``snapshot`` in its order, with the top ``items`` per term.

    Nothing is rounded. The same plays give the same floats, whatever else is in the snapshot.
    """
    as_of = snapshot.heads.last
    artists = standings(snapshot.artists.block, as_of, decay.WEIGHT)
    genres = standings(snapshot.genres.block, as_of, decay.GENRE_WEIGHT)
    figures = _figures(snapshot)
    figures["artist_diversity"] = _diversity(artists)
    figures["genre_diversity"] = _diversity(genres)
    return Columns(
        snapshot.listeners,
        snapshot.heads,
        figures,
        [_top(artists, n, snapshot.artists.names, items) for n in range(_TERMS)],
        [_top(genres, n, snapshot.genres.names, items) for n in range(_TERMS)],
        _rhythm(snapshot.rhythm, as_of),
    )


def records(profiles: Columns) -> Iterator[Profile]:
    """The same as records, in order."""
    heads = profiles.heads
    rows = zip(
        profiles.listeners,
        heads.epoch.tolist(),
        (heads.last * decay.MINUTE_MS).tolist(),
        (heads.first * decay.MINUTE_MS).tolist(),
        heads.plays.tolist(),
        heads.listens.tolist(),
        zip(*(_terms(profiles, n) for n in range(_TERMS)), strict=True),
        profiles.rhythm.tolist(),
        strict=True,
    )
    for listener, epoch, as_of, first_at, plays, listens, terms, rhythm in rows:
        yield {
            "listener": listener,
            "epoch": epoch,
            "as_of": as_of,
            "first_at": first_at,
            "plays": plays,
            "listens": listens,
            "terms": list(terms),
            "rhythm": rhythm,
        }


def _terms(profiles: Columns, number: int) -> Iterator[TermFigures]:
    """Figures of one term, listener by listener."""
    term = decay.TERMS[number]
    half_life = float(term.half_life_days)
    figures = {name: values[number].tolist() for name, values in profiles.figures.items()}
    rows = zip(
        *(figures[name] for name in FIELDS),
        _weighted(profiles.artists[number]),
        _weighted(profiles.genres[number]),
        strict=True,
    )
    for row in rows:
        yield {
            "name": term.name,
            "half_life_days": half_life,
            "plays": row[0],
            "listens": row[1],
            "minutes": row[2],
            "skip_rate": row[3],
            "completion": None if isnan(row[4]) else row[4],
            "discovery_rate": row[5],
            "repeat_share": row[6],
            "artist_diversity": row[7],
            "genre_diversity": row[8],
            "artists": row[9],
            "genres": row[10],
        }


def _weighted(top: Top) -> Iterator[list[Weighted]]:
    names = np.array(top.names, np.object_)[top.item].tolist()
    weights = top.weight.tolist()
    shares = top.share.tolist()
    end = 0
    for count in top.size.tolist():
        begin, end = end, end + count
        yield [
            {"name": name, "weight": weight, "share": share}
            for name, weight, share in zip(
                names[begin:end], weights[begin:end], shares[begin:end], strict=True
            )
        ]


def _figures(snapshot: Snapshot) -> dict[str, Floats]:
    """Decayed figures and rates, each of shape (terms, listeners)."""
    totals = snapshot.totals
    aged = decay.aged(totals.band, snapshot.heads.last[totals.owner])
    first = starts(totals.owner)
    stored = totals.values.reshape(-1, _TERMS, len(FIGURES)).transpose(2, 1, 0)
    part = dict(zip(FIGURES, stored, strict=True))

    def decayed(values: Ints | Floats) -> Floats:
        return sums(values * aged, first)

    plays, listens, known = (decayed(part[name]) for name in ("plays", "listens", "known"))
    percent = decayed(decay.joined(part["percent_high"], part["percent_low"]))
    ms = decayed(decay.joined(part["ms_high"], part["ms_low"]))
    discovered, repeated = _by_band(snapshot.artists.block, totals)
    return {
        "plays": plays,
        "listens": listens,
        "minutes": ms / decay.MINUTE_MS,
        "skip_rate": ratio(decayed(part["skips"]), plays),
        "completion": np.where(known > 0, np.minimum(ratio(percent, 100 * known), 1.0), np.nan),
        "discovery_rate": ratio(decayed(discovered), listens),
        "repeat_share": ratio(decayed(repeated), listens),
    }


def _by_band(artists: Block, totals: Block) -> tuple[Ints, Ints]:
    """Stored weight of first listens and of artists heard twice, shape (terms, rows of totals)."""
    begin = starts(artists.owner, artists.item)
    size = np.diff(np.append(begin, len(artists)))
    places = totals.owner << BAND_BITS | totals.band
    discovered, repeated = np.zeros((2, _TERMS, len(totals)), np.int64)
    if len(begin):
        owner = artists.owner[begin]
        minute = np.minimum.reduceat(artists.values[:, FIRST], begin)
        place = np.searchsorted(places, owner << BAND_BITS | minute // decay.BAND)
        for into, weight in zip(discovered, decay.weights(minute), strict=True):
            np.add.at(into, place, weight)
        twice = np.add.reduceat(artists.values[:, LISTENS], begin) >= 2
        again = artists.where(np.repeat(twice, size))
        place = np.searchsorted(places, again.owner << BAND_BITS | again.band)
        for into, weight in zip(repeated, again.values.T, strict=False):
            np.add.at(into, place, weight)
    return discovered, repeated


def _diversity(standing: Standings) -> Floats:
    """Hill number of order 1 of each term and owner."""
    share = standing.share
    logarithm = np.log(share, out=np.zeros_like(share), where=share > 0)
    result = np.zeros((_TERMS, len(standing.size)))
    some = standing.size > 0
    result[:, some] = np.exp(-sums(share * logarithm, starts(standing.owner)))
    return result


def _top(standing: Standings, term: int, names: list[str], items: int) -> Top:
    weight, share = standing.weight[term], standing.share[term]
    chosen, size = heaviest(weight, standing.size, items)
    return Top(size, names, standing.item[chosen], weight[chosen], share[chosen])


def _rhythm(block: Block, as_of: Ints) -> Floats:
    """Share of each hour of the week, shape (owners, hours)."""
    weight = block.values[:, 0] * decay.aged(
        block.band, as_of[block.owner], band=decay.ERA, terms=(decay.MEDIUM,)
    )
    hours = np.zeros((len(as_of), HOURS))
    np.add.at(hours, (block.owner, block.item), weight[0])
    return ratio(hours, hours.sum(axis=1, keepdims=True))
