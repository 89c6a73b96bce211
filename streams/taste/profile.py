"""Taste profiles: rows of ``schemas/taste-profile.avsc`` from a snapshot, all listeners at once.

Diversity is the Hill number of order 1, ``exp(-sum(p * log(p)))``: the number of equally heard
artists that would have the same entropy (Hill, "Diversity and Evenness", Ecology 54, 1973; Jost,
"Entropy and diversity", Oikos 113, 2006); 0 without a listen.

Rates divide sums of the same whole-number weights band by band, so they stay between 0 and 1
exactly. Discovery and repetition are seen on the artists kept: one that was pruned and comes back
counts as new.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from streams.taste import decay
from streams.taste.decay import Floats, Ints
from streams.taste.increments import FIGURES, FIRST, HOURS, LISTENS
from streams.taste.ranking import Standings, heaviest, ratio, standings, sums
from streams.taste.rows import BAND_BITS, Block, starts
from streams.taste.snapshot import Heads, Snapshot

_TERMS = len(decay.TERMS)


def table(snapshot: Snapshot, items: int) -> pa.Table:
    """Profiles of all listeners of ``snapshot`` in its order, with the top ``items`` per term.

    A row per listener with the fields of the schema, nested as they are there; times are whole
    milliseconds. Nothing is rounded. The same plays give the same floats, whatever else is in the
    snapshot.
    """
    heads = snapshot.heads
    rhythm = _rhythm(snapshot.rhythm, heads.last)
    fields = {
        "listener": pa.array(snapshot.listeners, pa.large_string()),
        "epoch": pa.array(heads.epoch),
        "as_of": pa.array(heads.last * decay.MINUTE_MS),
        "first_at": pa.array(heads.first * decay.MINUTE_MS),
        "plays": pa.array(heads.plays),
        "listens": pa.array(heads.listens),
        "terms": _lists(np.full(len(heads.last), _TERMS), _terms(snapshot, items)),
        "rhythm": _lists(np.full(len(rhythm), HOURS), pa.array(rhythm.ravel())),
    }
    return pa.table(fields)


def described(snapshot: Snapshot) -> dict[str, Any]:
    """What is held of the first listener of ``snapshot``, for them to read; times in ms."""
    artists = snapshot.artists.block.part(0, 1)
    genres, rhythm = snapshot.genres.block.part(0, 1), snapshot.rhythm.part(0, 1)
    heads = {field.name: int(getattr(snapshot.heads, field.name)[0]) for field in fields(Heads)}
    first = starts(artists.item)
    names = snapshot.artists.names.take(pa.array(artists.item[first])).to_pylist()
    listens = np.add.reduceat(artists.values[:, LISTENS], first).tolist() if names else []
    minutes = np.minimum.reduceat(artists.values[:, FIRST], first).tolist() if names else []
    return {
        "epoch": heads["epoch"],
        "first_at": heads["first"] * decay.MINUTE_MS,
        "as_of": heads["last"] * decay.MINUTE_MS,
        "plays": heads["plays"],
        "listens": heads["listens"],
        "listens_offset": heads["offset"],
        "artists": [
            {"name": name, "listens": listens, "first_at": minute * decay.MINUTE_MS}
            for name, listens, minute in zip(names, listens, minutes, strict=True)
        ],
        "genres": snapshot.genres.names.take(pa.array(np.unique(genres.item))).to_pylist(),
        "hours_of_week": np.unique(rhythm.item).tolist(),
    }


def _terms(snapshot: Snapshot, items: int) -> pa.StructArray:
    """All terms of the first listener, then of the next."""
    as_of = snapshot.heads.last
    artists = standings(snapshot.artists.block, as_of, decay.WEIGHT)
    genres = standings(snapshot.genres.block, as_of, decay.GENRE_WEIGHT)
    names = [term.name for term in decay.TERMS] * len(as_of)
    half_lives = [float(term.half_life_days) for term in decay.TERMS] * len(as_of)
    figures = {
        **_figures(snapshot),
        "artist_diversity": _diversity(artists),
        "genre_diversity": _diversity(genres),
    }
    fields = {
        "name": pa.array(names, pa.large_string()),
        "half_life_days": pa.array(half_lives),
        **{name: pa.array(each.T.ravel(), from_pandas=True) for name, each in figures.items()},
        "artists": _top(artists, snapshot.artists.names, items),
        "genres": _top(genres, snapshot.genres.names, items),
    }
    return pa.StructArray.from_arrays(list(fields.values()), list(fields))


def _lists(size: Ints, items: pa.Array) -> pa.LargeListArray:
    """``items`` cut into lists of these sizes."""
    return pa.LargeListArray.from_arrays(pa.array(np.append(0, np.cumsum(size))), items)


def _top(standing: Standings, names: pa.LargeStringArray, items: int) -> pa.LargeListArray:
    """The heaviest items of each listener and term."""
    chosen, taken = heaviest(standing.weight, standing.size, items)
    size = taken.repeat(_TERMS)
    term = np.tile(np.arange(_TERMS), len(taken)).repeat(size)
    fields = {
        "name": pa.DictionaryArray.from_arrays(standing.item[chosen], names),
        "weight": pa.array(standing.weight[term, chosen]),
        "share": pa.array(standing.share[term, chosen]),
    }
    return _lists(size, pa.StructArray.from_arrays(list(fields.values()), list(fields)))


def _figures(snapshot: Snapshot) -> dict[str, Floats]:
    """Decayed figures and rates, each of shape (terms, listeners); NaN where unknown."""
    totals = snapshot.totals
    aged = decay.aged(totals.band, totals.owner, snapshot.heads.last)
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


def _rhythm(block: Block, as_of: Ints) -> Floats:
    """Share of each hour of the week, shape (owners, hours)."""
    weight = block.values[:, 0] * decay.aged(
        block.band, block.owner, as_of, band=decay.ERA, terms=(decay.MEDIUM,)
    )
    hours = np.zeros((len(as_of), HOURS))
    np.add.at(hours, (block.owner, block.item), weight[0])
    return ratio(hours, hours.sum(axis=1, keepdims=True))
