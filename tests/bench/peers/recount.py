"""A plain recount of plays in whole columns, and whether what a peer wrote is the same.

It shares nothing with the peers but what the job says.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Any

import polars as pl

from streams.sources.play import Play

_KEY = bytes([0x5A]) * 32
_HALF_LIVES_DAYS = (28, 182, 365)
_TOP = 20
_CLOSE = 1e-9
"""Largest relative difference of weights: peers add them up in other orders."""
_SHOWN = 3

Items = dict[str, dict[str, tuple[float, ...]]]
"""By listener and item: the weight in each term."""


@dataclass(slots=True)
class Columns:
    """What the job needs of plays, collected while they are sent."""

    user_id: list[str] = field(default_factory=list)
    started_at: list[int] = field(default_factory=list)
    country: list[str | None] = field(default_factory=list)
    artist: list[str] = field(default_factory=list)
    genres: list[list[str]] = field(default_factory=list)

    def add(self, plays: Iterable[Play]) -> None:
        """Collect some more."""
        for play in plays:
            self.user_id.append(play["user_id"])
            self.started_at.append(play["started_at"])
            self.country.append(play["location"]["country"])
            self.artist.append(play["artist"]["name"])
            self.genres.append(play["genres"])


@dataclass(frozen=True, slots=True)
class Recount:
    """What must come out."""

    plays: dict[str, int]
    artists: Items
    genres: Items
    cells: dict[str, int]

    @classmethod
    def of(cls, columns: Columns) -> Recount:
        """Everything from the plays themselves."""
        frame = _frame(columns)
        exploded = (
            frame.with_columns(pl.col(_TERMS) / pl.col("genres").list.len())
            .explode("genres")
            .drop_nulls("genres")
        )
        day = pl.from_epoch("minute", time_unit="s").dt.strftime("%Y-%m-%d")
        key = pl.concat_str(day, pl.lit("|"), "country", pl.lit("|"), "genres").alias("cell")
        return cls(
            dict(frame.group_by("listener").len().rows()),
            _items(frame, "artist"),
            _items(exploded, "genres"),
            dict(exploded.group_by(key).len().rows()),
        )

    def wrong(self, profiles: Mapping[str, Any], cells: Mapping[str, int]) -> list[str]:
        """What of the newest profiles and cells is not as it must be; a few of each kind."""
        problems = list(self._wrong_listeners(profiles))
        for listener in self.plays.keys() & profiles.keys():
            if len(problems) > _SHOWN:
                break
            problems += self._wrong_profile(listener, profiles[listener])
        different = {key for key in self.cells.keys() | cells.keys() if self._cell(key, cells)}
        if different:
            problems.append(f"{len(different):,} of {len(self.cells):,} cells differ")
        return problems

    def _cell(self, key: str, cells: Mapping[str, int]) -> bool:
        return self.cells.get(key) != cells.get(key)

    def _wrong_listeners(self, profiles: Mapping[str, Any]) -> Iterator[str]:
        if missing := len(self.plays.keys() - profiles.keys()):
            yield f"{missing:,} listeners have no profile"
        if unknown := len(profiles.keys() - self.plays.keys()):
            yield f"{unknown:,} profiles are of nobody"

    def _wrong_profile(self, listener: str, profile: Mapping[str, Any]) -> Iterator[str]:
        if profile["plays"] != self.plays[listener]:
            yield f"{profile['plays']} plays of a listener, not {self.plays[listener]}"
        for kind, items in (("artists", self.artists), ("genres", self.genres)):
            if len(profile[kind]) != len(_HALF_LIVES_DAYS):
                yield f"{kind} of {len(profile[kind])} terms"
                continue
            expected = items.get(listener, {})
            for term, told in enumerate(profile[kind]):
                if not _same({item: each[term] for item, each in expected.items()}, told):
                    yield f"{kind} of term {term} differ"


def _same(expected: Mapping[str, float], told: Sequence[Sequence[Any]]) -> bool:
    """Whether ``told`` are the heaviest of ``expected``, in order; equals in any order."""
    heaviest = sorted(expected.values(), reverse=True)[:_TOP]
    return (
        len(told) == len(heaviest)
        and len({item for item, _ in told}) == len(told)
        and all(
            isclose(weight, rank, rel_tol=_CLOSE)
            and isclose(weight, expected.get(item, 0.0), rel_tol=_CLOSE)
            for (item, weight), rank in zip(told, heaviest, strict=True)
        )
    )


_TERMS = [f"term{each}" for each in range(len(_HALF_LIVES_DAYS))]


def _frame(columns: Columns) -> pl.DataFrame:
    schema: dict[str, Any] = {
        "user_id": pl.String,
        "started_at": pl.Int64,
        "country": pl.String,
        "artist": pl.String,
        "genres": pl.List(pl.String),
    }
    frame = pl.DataFrame({name: getattr(columns, name) for name in schema}, schema=schema)
    users = frame["user_id"].unique()
    people = pl.DataFrame({"user_id": users, "listener": [_pseudonym(each) for each in users]})
    minute = pl.col("started_at").floordiv(60_000) * 60
    age_days = (pl.col("minute") - 1_700_000_000) / 86_400
    return (
        frame.join(people, on="user_id")
        .with_columns(minute.alias("minute"), pl.col("country").fill_null(""))
        .with_columns(
            pl.lit(2.0).pow(age_days / half_life).alias(name)
            for name, half_life in zip(_TERMS, _HALF_LIVES_DAYS, strict=True)
        )
    )


def _pseudonym(user_id: str) -> str:
    return hmac.new(_KEY, user_id.encode(), hashlib.sha256).hexdigest()[:32]


def _items(frame: pl.DataFrame, item: str) -> Items:
    found: Items = {}
    for listener, name, *weights in (
        frame.group_by("listener", item).agg(pl.col(_TERMS).sum()).rows()
    ):
        found.setdefault(listener, {})[name] = tuple(weights)
    return found
