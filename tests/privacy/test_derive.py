"""Listen rules, skips and completion against plain functions of one play, at the boundaries."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.privacy import derive
from streams.settings import ListenRule


class Play(NamedTuple):
    ms_played: int | None
    duration_ms: int | None
    end_reason: str | None
    skipped: bool | None


EDGES = (0, 1, 30_000, 30_001, 60_000, 240_000, 480_000)
amounts = st.sampled_from([edge + off for edge in EDGES for off in (-1, 0, 1)]) | st.integers(
    -(2**31), 2**31 - 1
)
plays = st.builds(
    Play,
    st.none() | amounts,
    st.none() | amounts,
    st.none() | st.sampled_from(("trackdone", "fwdbtn", "backbtn", "endplay", "unknown")),
    st.none() | st.booleans(),
)
lists = st.lists(plays, max_size=100)
TYPES = {
    "ms_played": pl.Int32(),
    "duration_ms": pl.Int32(),
    "end_reason": pl.String(),
    "skipped": pl.Boolean(),
}
COLUMNS = tuple(pl.col(name) for name in TYPES)


def evaluated(found: list[Play], expression: pl.Expr) -> list[object]:
    frame = pl.DataFrame(
        {name: pl.Series([getattr(p, name) for p in found], dtype=t) for name, t in TYPES.items()}
    )
    return frame.select(expression.alias("out"))["out"].to_list()


def half_or_four_minutes(play: Play) -> bool:
    heard = max(play.ms_played or 0, 0)
    known = play.duration_ms is not None and play.duration_ms > 0
    return heard >= 240_000 or (known and heard >= (play.duration_ms or 0) / 2)


def is_skipped(play: Play) -> bool:
    if play.skipped is not None:
        return play.skipped
    return play.end_reason in ("fwdbtn", "backbtn") and not half_or_four_minutes(play)


def is_counted(rule: ListenRule, play: Play) -> bool:
    if rule is ListenRule.ALL:
        return True
    if play.ms_played is None:
        return not is_skipped(play)
    if rule is ListenRule.SPOTIFY:
        return play.ms_played > 30_000
    known = play.duration_ms is not None and play.duration_ms > 0
    played_out = not known and play.end_reason == "trackdone" and play.ms_played > 0
    enough = half_or_four_minutes(play) or played_out
    if rule is ListenRule.LISTENBRAINZ:
        return enough
    return enough and ((play.duration_ms or 0) if known else play.ms_played) > 30_000


@pytest.mark.parametrize("rule", ListenRule)
@settings(max_examples=40, deadline=None)
@given(lists)
def test_counted(rule: ListenRule, found: list[Play]) -> None:
    expression = derive.counted(rule, *COLUMNS)
    assert evaluated(found, expression) == [is_counted(rule, play) for play in found]


@settings(max_examples=40, deadline=None)
@given(lists)
def test_skipped(found: list[Play]) -> None:
    assert evaluated(found, derive.skipped(*COLUMNS)) == [is_skipped(play) for play in found]


@settings(max_examples=40, deadline=None)
@given(lists)
def test_completion(found: list[Play]) -> None:
    def percent(play: Play) -> int | None:
        if play.ms_played is None or play.duration_ms is None or play.duration_ms <= 0:
            return None
        return 100 * min(max(play.ms_played, 0), play.duration_ms) // play.duration_ms

    found_out = evaluated(found, derive.completion(*COLUMNS[:2]))
    assert found_out == [percent(play) for play in found]


SECOND = 1_000
TOLD: list[tuple[Play, dict[ListenRule, bool]]] = [
    # What the public rules say, play by play: (Last.fm, ListenBrainz, Spotify).
    (Play(15 * SECOND, 30 * SECOND, None, None), {ListenRule.LASTFM: False}),
    (Play(30 * SECOND, 30 * SECOND, None, None), {ListenRule.LASTFM: False}),
    (Play(15_500, 31 * SECOND, None, None), {ListenRule.LASTFM: True}),
    (Play(15_499, 31 * SECOND, None, None), {ListenRule.LASTFM: False}),
    (Play(240 * SECOND, 3600 * SECOND, None, None), {ListenRule.LASTFM: True}),
    (Play(239_999, 3600 * SECOND, None, None), {ListenRule.LASTFM: False}),
    (Play(5 * SECOND, 10 * SECOND, None, None), {ListenRule.LISTENBRAINZ: True}),
    (Play(4_999, 10 * SECOND, None, None), {ListenRule.LISTENBRAINZ: False}),
    (Play(30_001, 600 * SECOND, "fwdbtn", True), {ListenRule.SPOTIFY: True}),
    (Play(30_000, 600 * SECOND, None, None), {ListenRule.SPOTIFY: False}),
    # Spotify's history has no length: a song played out counts, one left early does not.
    (
        Play(180 * SECOND, None, "trackdone", None),
        {ListenRule.LASTFM: True, ListenRule.LISTENBRAINZ: True},
    ),
    (
        Play(180 * SECOND, None, "fwdbtn", None),
        {ListenRule.LASTFM: False, ListenRule.LISTENBRAINZ: False},
    ),
    (Play(0, None, "trackdone", None), {ListenRule.LISTENBRAINZ: False}),
    # Last.fm's history has neither: its client had counted it.
    (Play(None, None, None, None), dict.fromkeys(ListenRule, True)),
    (Play(None, None, None, True), {**dict.fromkeys(ListenRule, False), ListenRule.ALL: True}),
]


@pytest.mark.parametrize(("play", "expected"), TOLD)
def test_the_public_rules_at_their_boundaries(play: Play, expected: dict[ListenRule, bool]) -> None:
    for rule, counts in expected.items():
        assert evaluated([play], derive.counted(rule, *COLUMNS)) == [counts], rule


def test_leaving_in_the_last_seconds_is_no_skip() -> None:
    late, early = Play(170_000, 180_000, "fwdbtn", None), Play(9_000, 180_000, "fwdbtn", None)
    told = Play(170_000, 180_000, "fwdbtn", True)
    assert evaluated([late, early, told], derive.skipped(*COLUMNS)) == [False, True, True]


@settings(max_examples=40, deadline=None)
@given(lists)
def test_by_default_a_skip_is_never_a_listen(found: list[Play]) -> None:
    silent = [play._replace(skipped=None) for play in found]
    counted = evaluated(silent, derive.counted(ListenRule.LISTENBRAINZ, *COLUMNS))
    skipped = evaluated(silent, derive.skipped(*COLUMNS))
    assert not any(a and b for a, b in zip(counted, skipped, strict=True))


def test_every_derivation_reads_what_it_declares() -> None:
    for by, derivation in derive.DERIVATIONS.items():
        asked: list[str] = []

        def leaf(path: str, asked: list[str] = asked) -> pl.Expr:
            asked.append(path)
            return pl.lit(None, dtype=pl.Int32())

        if derivation.in_frame:
            derive.derived(by, leaf, ListenRule.LASTFM, 1)
            assert tuple(asked) == derivation.reads
            assert set(asked) <= set(derive.READ_TYPES)
        else:
            with pytest.raises(KeyError):
                derive.derived(by, leaf, ListenRule.LASTFM, 1)


def test_derived_columns_have_their_types_and_a_value_per_row() -> None:
    frame = pl.DataFrame(schema={"x": pl.Int32()}).clear(3)

    def leaf(path: str) -> pl.Expr:
        kinds: dict[str, pl.DataType] = {
            "int": pl.Int32(),
            "string": pl.String(),
            "boolean": pl.Boolean(),
        }
        return pl.repeat(None, pl.len(), dtype=kinds[derive.READ_TYPES[path]])

    found = frame.select(
        **{
            by: derive.derived(by, leaf, ListenRule.SPOTIFY, 7)
            for by, derivation in derive.DERIVATIONS.items()
            if derivation.in_frame
        }
    )
    assert found.to_dict(as_series=False) == {
        "key_epoch": [7] * 3,
        "completion": [None] * 3,
        "counted": [True] * 3,
        "skipped": [False] * 3,
    }
    assert found.schema["completion"] == found.schema["key_epoch"] == pl.Int32()
