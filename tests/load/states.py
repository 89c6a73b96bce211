"""Listeners to restore: a few made through `TasteState` from drawn listens, then multiplied.

What is drawn: each listener has 30 to 64 artists out of 20,000, popular ones more often (Zipf),
hears them half a year long, its favourites more often (Zipf again), 300 times on average. An artist
has one to three out of 200 genres; a listener has 10 to 32 of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streams.taste.decay import BAND, DAY, MINUTE_MS
from streams.taste.state import Bounds, Dump, TasteState

ARTISTS: Final = 20_000
GENRES: Final = 200
MOST_PLAYS: Final = 900
_SYLLABLES = ("ba", "cor", "del", "fi", "gam", "ho", "jun", "ka", "lor", "mi", "nes", "or", "pe")
_END_DAY = 20_300
"""In 2025."""


@dataclass(frozen=True, slots=True)
class World:
    """Artists and genres by number."""

    artists: list[str]
    genres_of: list[list[str]]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> World:
        """A world of names of usual lengths."""
        names = [_name(rng, number) for number in range(ARTISTS)]
        genres = [_name(rng, number).lower()[:12] + f" {number}" for number in range(GENRES)]
        drawn = rng.choice(GENRES, (ARTISTS, 3), p=_zipf(GENRES))
        genres_of = [
            [genres[number] for number in dict.fromkeys(row[:count])]
            for row, count in zip(drawn.tolist(), rng.integers(1, 4, ARTISTS).tolist(), strict=True)
        ]
        return cls(names, genres_of)


def states(count: int, seed: int = 1) -> Dump:
    """What a checkpoint of ``count`` listeners writes."""
    rng = np.random.default_rng(seed)
    world = World.drawn(rng)
    state = TasteState(Bounds())
    frames = [listens(world, rng, f"{number:032x}") for number in range(count)]
    for frame in frames:
        state.fold(frame)
    return state.dump(sorted(state.checkpoint().listeners))


def listens(world: World, rng: np.random.Generator, listener: str) -> pl.DataFrame:
    """Half a year of one listener, at offsets from 0 on."""
    own = np.unique((ARTISTS ** rng.random(400)).astype(np.int64) - 1)
    own = rng.permutation(own)[: rng.integers(30, 65)]
    genres = _genres(world, rng, own)
    plays = int(np.clip(rng.lognormal(np.log(250), 0.6), len(own), MOST_PLAYS))
    heard = np.concatenate([own, rng.choice(own, plays - len(own), p=_zipf(len(own)))])
    end = _END_DAY * DAY
    minutes = np.sort(rng.integers(end - BAND, end, plays) // DAY * DAY + _evenings(rng, plays))
    return pl.DataFrame(
        {
            "offset": np.arange(plays),
            "listener": [listener] * plays,
            "epoch": pl.Series([1] * plays, dtype=pl.Int32),
            "started_at": minutes * MINUTE_MS,
            "ms_played": pl.Series(rng.integers(5, 300, plays) * 1_000, dtype=pl.Int32),
            "completion": pl.Series(rng.integers(10, 101, plays), dtype=pl.Int32),
            "counted": rng.random(plays) < 0.9,
            "skipped": rng.random(plays) < 0.1,
            "artist": [world.artists[number] for number in heard],
            "genres": [genres[number] for number in heard.tolist()],
        }
    )


def _genres(world: World, rng: np.random.Generator, own: NDArray[np.int64]) -> dict[int, list[str]]:
    """Genres of a listener's artists, without any past the first 10 to 32."""
    among = dict.fromkeys(genre for number in own.tolist() for genre in world.genres_of[number])
    kept = set(islice(among, int(rng.integers(10, 33))))
    return {
        number: [genre for genre in world.genres_of[number] if genre in kept]
        for number in own.tolist()
    }


def _evenings(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return np.clip(rng.normal(19 * 60, 150, count), 0, DAY - 1).astype(np.int64)


def _zipf(count: int) -> NDArray[np.float64]:
    share: NDArray[np.float64] = 1 / np.arange(1, count + 1)
    return share / float(share.sum())


def _name(rng: np.random.Generator, number: int) -> str:
    words = [
        "".join(rng.choice(_SYLLABLES, int(rng.integers(2, 4)))) for _ in range(rng.integers(1, 3))
    ]
    return " ".join(words).title() + (f" {number}" if number % 4 == 0 else "")
