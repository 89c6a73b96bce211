"""Taste profiles the slow way: every figure straight from its definition, play by play.

The oracle for `streams.taste`. It knows nothing of bands, integers, batches or state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import exp, exp2, fsum, log
from typing import Any

DAY_MS = 86_400_000
HALF_LIVES = {"short": 28, "medium": 182, "long": 365}
Listen = Mapping[str, Any]


def recount(
    listens: Iterable[Listen], half_lives: Mapping[str, float] = HALF_LIVES, items: int = 20
) -> dict[str, dict[str, Any]]:
    """Profiles by listener, as records of ``schemas/taste-profile.avsc``.

    A listen is a mapping with the fields of ``schemas/listen.avsc`` that profiles are made of;
    ``half_lives`` are in days, ``items`` is how many artists and genres a term lists.
    """
    by_listener: dict[str, list[Listen]] = defaultdict(list)
    for listen in listens:
        by_listener[listen["listener"]].append(listen)
    return {
        listener: _profile(listener, plays, half_lives, items)
        for listener, plays in by_listener.items()
    }


def _profile(
    listener: str, plays: Sequence[Listen], half_lives: Mapping[str, float], items: int
) -> dict[str, Any]:
    as_of = max(play["started_at"] for play in plays)
    return {
        "listener": listener,
        "epoch": max(play["epoch"] for play in plays),
        "as_of": as_of,
        "first_at": min(play["started_at"] for play in plays),
        "plays": len(plays),
        "listens": sum(play["counted"] for play in plays),
        "terms": [
            {"name": name, "half_life_days": float(days), **_term(plays, as_of, days, items)}
            for name, days in half_lives.items()
        ],
        "rhythm": _rhythm(plays, as_of, half_lives["medium"]),
    }


def _term(plays: Sequence[Listen], as_of: int, days: float, items: int) -> dict[str, Any]:
    def weight(play: Listen) -> float:
        return exp2((play["started_at"] - as_of) / DAY_MS / days)

    counted = [play for play in plays if play["counted"]]
    known = [play for play in plays if play["completion"] is not None]
    by_artist: dict[str, list[Listen]] = defaultdict(list)
    by_genre: dict[str, list[float]] = defaultdict(list)
    for play in counted:
        by_artist[play["artist"]].append(play)
        for genre in set(play["genres"]):
            by_genre[genre].append(weight(play) / len(set(play["genres"])))
    listens = fsum(map(weight, counted))
    first = [min(heard, key=lambda play: play["started_at"]) for heard in by_artist.values()]
    again = [play for heard in by_artist.values() if len(heard) >= 2 for play in heard]
    artists = {artist: fsum(map(weight, heard)) for artist, heard in by_artist.items()}
    genres = {genre: fsum(weights) for genre, weights in by_genre.items()}
    return {
        "plays": fsum(map(weight, plays)),
        "listens": listens,
        "minutes": fsum(weight(play) * (play["ms_played"] or 0) / 60_000 for play in plays),
        "skip_rate": fsum(weight(play) for play in plays if play["skipped"])
        / fsum(map(weight, plays)),
        "completion": fsum(weight(play) * play["completion"] / 100 for play in known)
        / fsum(map(weight, known))
        if known
        else None,
        "discovery_rate": fsum(map(weight, first)) / listens if counted else 0.0,
        "repeat_share": fsum(map(weight, again)) / listens if counted else 0.0,
        "artist_diversity": _effective_number(artists.values()),
        "genre_diversity": _effective_number(genres.values()),
        "artists": _top(artists, items),
        "genres": _top(genres, items),
    }


def _effective_number(weights: Iterable[float]) -> float:
    kept = list(weights)
    total = fsum(kept)
    return exp(-fsum(w / total * log(w / total) for w in kept)) if kept else 0.0


def _top(weights: Mapping[str, float], items: int) -> list[dict[str, Any]]:
    total = fsum(weights.values())
    ordered = sorted(weights.items(), key=lambda entry: (-entry[1], entry[0]))
    return [{"name": name, "weight": w, "share": w / total} for name, w in ordered[:items]]


def _rhythm(plays: Sequence[Listen], as_of: int, days: float) -> list[float]:
    hours: list[list[float]] = [[] for _ in range(168)]
    for play in plays:
        if play["counted"]:
            begin = datetime.fromtimestamp(play["started_at"] / 1000, UTC)
            hours[begin.weekday() * 24 + begin.hour].append(
                exp2((play["started_at"] - as_of) / DAY_MS / days)
            )
    total = fsum(weight for hour in hours for weight in hour)
    return [fsum(hour) / total if total else 0.0 for hour in hours]
