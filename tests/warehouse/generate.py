"""Synthetic listens: seeded, dense enough that cells of all sizes occur."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from tests.warehouse.recount import Listen

DAY_MS = 86_400_000
SUNDAY = int(datetime(2026, 1, 4, tzinfo=UTC).timestamp() * 1_000)
"""The first day of most worlds: its week has one day, the hardest case for retention."""

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "listener": pl.String,
    "started_at": pl.Int64,
    "ms_played": pl.Int32,
    "completion": pl.Int32,
    "counted": pl.Boolean,
    "skipped": pl.Boolean,
    "artist": pl.String,
    "genres": pl.List(pl.String),
    "country": pl.String,
    "device_class": pl.String,
}


@dataclass(frozen=True)
class World:
    """A population; `listens` draws what it played."""

    seed: int
    listeners: int = 60
    plays: int = 600
    days: int = 9
    artists: int = 30
    genres: int = 6
    countries: int = 6
    single_genre: bool = False

    def listens(self) -> list[Listen]:
        draw = random.Random(self.seed)
        homes = [_skewed(draw, self.countries) for _ in range(self.listeners)]
        joined = [draw.choice((0, 0, 0, _skewed(draw, self.days))) for _ in range(self.listeners)]
        styles = [self._style(draw) for _ in range(self.artists)]
        return [self._play(draw, homes, joined, styles) for _ in range(self.plays)]

    def _style(self, draw: random.Random) -> list[str]:
        several = 1 if self.single_genre else draw.choice((0, 1, 1, 2, 3))
        return [f"genre {_skewed(draw, self.genres)}" for _ in range(several)]

    def _play(
        self,
        draw: random.Random,
        homes: Sequence[int],
        joined: Sequence[int],
        styles: Sequence[list[str]],
    ) -> Listen:
        listener = _skewed(draw, self.listeners, 1.3)
        artist = _skewed(draw, self.artists)
        country = homes[listener] if draw.random() < 0.97 else _skewed(draw, self.countries)
        ms = draw.choice((None, draw.randrange(0, 400) * 1_000))
        day = min(joined[listener] + _skewed(draw, self.days, 1.2), self.days - 1)
        minute = draw.choice((540, draw.randrange(1_440)))
        return {
            "listener": pseudonym(self.seed, listener),
            "started_at": SUNDAY + day * DAY_MS + minute * 60_000,
            "ms_played": ms,
            "completion": None if ms is None else draw.choice((None, draw.randrange(101))),
            "counted": draw.random() < 0.8,
            "skipped": draw.random() < 0.2,
            "artist": f"Artist {artist}",
            "genres": styles[artist],
            "country": None if country == 0 else f"C{country}",
            "device_class": draw.choice((None, "phone", "speaker")),
        }


def pseudonym(seed: int, number: int) -> str:
    """32 hexadecimal digits, different for every world and listener."""
    return random.Random(f"{seed}/{number}").randbytes(16).hex()


def frame(listens: Sequence[Listen]) -> pl.DataFrame:
    """Listens as the reader gives them to the warehouse."""
    return pl.DataFrame(list(listens), schema=SCHEMA, orient="row")


def _skewed(draw: random.Random, values: int, power: float = 2.0) -> int:
    return int(values * draw.random() ** power)
