"""What listens add to each part of the state.

========  ==================  =========================================================
part      key                 values
========  ==================  =========================================================
totals    band                `FIGURES` for each term, term by term
artists   artist, band        weight for each term, listens, minute of the first listen
genres    genre, band         weight for each term, finer (`decay.GENRE_WEIGHT`)
rhythm    hour of week, era   medium weight
========  ==================  =========================================================
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from streams.taste import decay
from streams.taste.decay import Ints
from streams.taste.names import Names
from streams.taste.rows import Block, packed, starts, summed
from streams.taste.snapshot import Heads

COLUMNS: Final = (
    "offset",
    "listener",
    "epoch",
    "started_at",
    "ms_played",
    "completion",
    "counted",
    "skipped",
    "artist",
    "genres",
)
"""Columns of a frame of listens that are read."""
FIGURES: Final = (
    "plays",
    "listens",
    "skips",
    "known",
    "percent_high",
    "percent_low",
    "ms_high",
    "ms_low",
)
"""Weighted counts; ``known`` of plays with a completion. High and low as `decay.times` splits."""
TOTALS_COLUMNS: Final = len(decay.TERMS) * len(FIGURES)
LISTENS: Final = len(decay.TERMS)
"""Column of artists: listens, not decayed."""
FIRST: Final = LISTENS + 1
"""Column of artists: minute of the first listen."""
ARTIST_COLUMNS: Final = FIRST + 1
GENRE_COLUMNS: Final = len(decay.TERMS)
RHYTHM_COLUMNS: Final = 1

HOURS: Final = 168
_THURSDAY = 72
"""Hours from Monday 00:00 to the weekday that 1970 began with."""


class Increments(NamedTuple):
    """Rows to add, by owner."""

    totals: Block
    artists: Block
    genres: Block
    rhythm: Block


def increments(frame: pl.DataFrame, owner: Ints, artists: Names, genres: Names) -> Increments:
    """What the listens of ``frame``, which belong to ``owner``, add up to.

    Plays that do not count go into the totals only.
    """
    minute = minutes(frame)
    weights = decay.weights(minute)
    counted = frame["counted"].to_numpy()
    listens = frame.filter("counted").select("artist", "genres")
    whose, when, weighing = owner[counted], minute[counted], weights[:, counted]
    return Increments(
        _totals(frame, owner, minute, weights),
        _artists(artists.ids_of(listens["artist"]), whose, when, weighing),
        _genres(listens["genres"], genres, whose, when, weighing),
        _rhythm(whose, when),
    )


def heads(frame: pl.DataFrame) -> Heads:
    """What each listen of ``frame`` adds to the head of its listener."""
    minute = minutes(frame)
    return Heads(
        _whole(frame["offset"]),
        _whole(frame["epoch"]),
        minute,
        minute,
        np.ones_like(minute),
        _whole(frame["counted"]),
    )


def minutes(frame: pl.DataFrame) -> Ints:
    """Starts in minutes since 1970."""
    return _whole(frame["started_at"]) // decay.MINUTE_MS


def _whole(column: pl.Series) -> Ints:
    return column.fill_null(0).cast(pl.Int64).to_numpy()


def _totals(frame: pl.DataFrame, owner: Ints, minute: Ints, weights: Ints) -> Block:
    counted, skipped = _whole(frame["counted"]), _whole(frame["skipped"])
    known = _whole(frame["completion"].is_not_null())
    percent, ms = _whole(frame["completion"]), _whole(frame["ms_played"])
    columns: list[Ints] = []
    for weight in weights:
        columns += (weight, weight * counted, weight * skipped, weight * known)
        columns += decay.times(weight, percent)
        columns += decay.times(weight, ms)
    return summed(owner, minute // decay.BAND, columns)


def _artists(artist: Ints, owner: Ints, minute: Ints, weights: Ints) -> Block:
    columns = [*weights, np.ones_like(minute), minute]
    return summed(owner, packed(artist, minute // decay.BAND), columns, least=True)


def _genres(column: pl.Series, names: Names, owner: Ints, minute: Ints, weights: Ints) -> Block:
    """A listen that names a genre twice has it once."""
    size = _whole(column.list.len())
    number = names.ids_of(column.explode(empty_as_null=False))
    pair = np.sort(np.repeat(np.arange(len(size)), size) << 32 | number)
    pair = pair[starts(pair)]
    listen, genre = pair >> 32, pair & 0xFFFF_FFFF
    parts = np.bincount(listen, minlength=len(size))[listen]
    columns = [decay.divided(weight[listen], parts) for weight in weights]
    return summed(owner[listen], packed(genre, minute[listen] // decay.BAND), columns)


def _rhythm(owner: Ints, minute: Ints) -> Block:
    hour = (minute // 60 + _THURSDAY) % HOURS
    weight = decay.weights(minute, decay.ERA, (decay.MEDIUM,))
    return summed(owner, packed(hour, minute // decay.ERA), list(weight))
