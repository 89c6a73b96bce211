"""Made-up listens for the tests of `streams.taste`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

Record = dict[str, Any]
Listen = Record
MINUTE_MS = 60_000
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "offset": pl.Int64,
    "listener": pl.String,
    "epoch": pl.Int32,
    "started_at": pl.Int64,
    "ms_played": pl.Int32,
    "completion": pl.Int32,
    "counted": pl.Boolean,
    "skipped": pl.Boolean,
    "artist": pl.String,
    "genres": pl.List(pl.String),
}
LISTENERS = tuple(f"{number:032x}" for number in range(4))
ARTISTS = ("Aster", "Bryony", "Clover", "Dahlia", "été", "花", "")
GENRES = ("ambient", "blues", "cumbia", "dub")
FIRST_MINUTE = 15_778_080
"""2000-01-01; with the 25 years after it, what imported histories span."""
LAST_MINUTE = FIRST_MINUTE + 25 * 365 * 1_440

minutes = st.integers(FIRST_MINUTE, LAST_MINUTE) | st.integers(LAST_MINUTE - 90, LAST_MINUTE)
listens = st.fixed_dictionaries(
    {
        "listener": st.sampled_from(LISTENERS),
        "epoch": st.just(1),
        "started_at": minutes.map(lambda minute: minute * MINUTE_MS),
        "ms_played": st.none() | st.integers(0, 600_000) | st.just(2**31 - 1),
        "completion": st.none() | st.integers(0, 100),
        "counted": st.booleans(),
        "skipped": st.booleans(),
        "artist": st.sampled_from(ARTISTS),
        "genres": st.lists(st.sampled_from(GENRES), max_size=4),
    }
)
histories = st.lists(listens, min_size=1, max_size=25)


def frame(listens: Iterable[Listen], first_offset: int = 0) -> pl.DataFrame:
    """Listens as the taste role gets them, at consecutive offsets."""
    rows = [{"offset": first_offset + n, **listen} for n, listen in enumerate(listens)]
    return pl.DataFrame(rows, schema=SCHEMA)


def listen(minute: int = LAST_MINUTE, **fields: Any) -> Listen:
    """A counted listen of half a minute, but for ``fields``."""
    return {
        "listener": LISTENERS[0],
        "epoch": 1,
        "started_at": minute * MINUTE_MS,
        "ms_played": 30_000,
        "completion": 50,
        "counted": True,
        "skipped": False,
        "artist": ARTISTS[0],
        "genres": [GENRES[0]],
        **fields,
    }


def cut(rows: pl.DataFrame, cuts: Sequence[int]) -> list[pl.DataFrame]:
    """``rows`` in batches that end at ``cuts``."""
    ends = sorted({min(end, len(rows)) for end in cuts} | {len(rows)})
    begins = [0, *ends[:-1]]
    return [rows[begin:end] for begin, end in zip(begins, ends, strict=True)]
