"""What the warehouse keeps: sums per listener and UTC day, never a single play.

Every sum is an exact integer and addition is its only operation, so the same listens give the same
facts in any order, in any batches, and rows of the same key may be added up at any time. Kept is
what a mart needs and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

HOUR_MS = 3_600_000
_DAY_MS = 24 * HOUR_MS

Partials = Mapping[str, pl.DataFrame]
"""Rows to append, by fact table."""

COLUMNS = (
    "listener",
    "started_at",
    "ms_played",
    "completion",
    "counted",
    "skipped",
    "artist",
    "genres",
    "country",
    "device_class",
)
"""Columns of a listen that facts are made of."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact table: one row per key once compacted, several partial sums before."""

    table: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]


_MEASURES = ("plays", "listens", "skips", "ms_played")

FACTS = (
    Fact(
        "listener_day",
        ("listener", "day", "country", "device_class"),
        (*_MEASURES, "timed_plays", "completion_sum", "completion_plays"),
    ),
    Fact("listener_day_artist", ("listener", "day", "artist", "genres"), _MEASURES),
    Fact("listener_day_hour", ("listener", "day", "hour"), _MEASURES),
)
"""``genres`` is part of the artist's key: the list that the plays came with, each genre once.
In marts a play of n genres counts once for each of them."""


def partials(listens: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Partial sums of a frame of listens, by fact table; empty for a frame without rows.

    Args:
        listens: at least `COLUMNS`, one row per play, free of what was folded before.
            ``started_at`` in milliseconds since 1970-01-01 UTC.
    """
    if listens.is_empty():
        return {}
    plays = listens.select(
        "listener",
        "country",
        "device_class",
        "artist",
        pl.col("genres").list.unique(maintain_order=True),
        day=(pl.col("started_at") // _DAY_MS).cast(pl.Int32).cast(pl.Date),
        hour=(pl.col("started_at") // HOUR_MS % 24).cast(pl.Int8),
        plays=pl.lit(1, pl.Int64),
        listens=pl.col("counted").cast(pl.Int64),
        skips=pl.col("skipped").cast(pl.Int64),
        ms_played=pl.col("ms_played").cast(pl.Int64).fill_null(0),
        timed_plays=pl.col("ms_played").is_not_null().cast(pl.Int64),
        completion_sum=pl.col("completion").cast(pl.Int64).fill_null(0),
        completion_plays=pl.col("completion").is_not_null().cast(pl.Int64),
    )
    return {fact.table: _summed(plays, fact) for fact in FACTS}


def merged(parts: Iterable[Partials]) -> dict[str, pl.DataFrame]:
    """One partial sum per key of what several frames gave."""
    collected = list(parts)
    merged_tables = {}
    for fact in FACTS:
        frames = [part[fact.table] for part in collected if fact.table in part]
        if len(frames) == 1:
            merged_tables[fact.table] = frames[0]
        elif frames:
            merged_tables[fact.table] = _summed(pl.concat(frames), fact)
    return merged_tables


def _summed(rows: pl.DataFrame, fact: Fact) -> pl.DataFrame:
    return rows.group_by(fact.keys).agg(pl.col(fact.sums).sum())
