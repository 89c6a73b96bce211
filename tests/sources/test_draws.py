"""Drawn sessions and plays, against plain recounting of their columns."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources.audience import gather
from streams.sources.draws import (
    ADDRESSES,
    DAY_MS,
    END_REASONS,
    KINDS,
    NAMES,
    SKIPPED,
    Plays,
    Sessions,
    Span,
    draw_plays,
    draw_sessions,
)
from streams.sources.world import build

WORLD = build(1, None)
days = st.dates(date(1990, 1, 1), date(2090, 1, 1))


def draw(span: Span, listeners: int, count: int, seed: int) -> tuple[Sessions, Plays]:
    rng = np.random.Generator(np.random.PCG64(seed))
    audience = gather(rng, listeners, None)
    sessions = draw_sessions(rng, audience, span, count, private_share=0.1)
    return sessions, draw_plays(rng, audience, WORLD, span, sessions)


@given(days, st.integers(1, 40))
def test_hours_of_the_week_are_those_of_the_calendar(end: date, length: int) -> None:
    span = Span(end, length)
    start = datetime(end.year, end.month, end.day, tzinfo=UTC) - timedelta(days=length)
    hours = [start + timedelta(hours=hour) for hour in range(24 * length)]
    assert span.first_ms == start.timestamp() * 1_000
    assert span.end_ms == span.first_ms + length * DAY_MS
    assert span.hours_of_week().tolist() == [24 * each.weekday() + each.hour for each in hours]


@settings(max_examples=30, deadline=None)
@given(days, st.integers(1, 9), st.integers(1, 20), st.integers(1, 3_000), st.integers(0, 2**32))
def test_plays_are_as_many_as_asked_and_in_their_span(
    end: date, length: int, listeners: int, count: int, seed: int
) -> None:
    span = Span(end, length)
    sessions, plays = draw(span, listeners, count, seed)
    assert sessions.length.sum() == count
    assert (sessions.length > 0).all()
    assert all(len(column) == count for column in plays)
    assert (np.diff(plays.nominal_ms) >= 0).all()
    assert span.first_ms <= plays.nominal_ms[0]
    assert plays.nominal_ms[-1] < span.end_ms
    for column, bound in (
        (sessions.listener, listeners),
        (sessions.context, len(KINDS) * NAMES),
        (sessions.address, ADDRESSES),
        (sessions.device, 2 * listeners),
        (sessions.location, 2 * listeners),
        (plays.session, len(sessions.length)),
        (plays.end_reason, len(END_REASONS)),
        (plays.skipped, len(SKIPPED)),
    ):
        assert column.min() >= 0
        assert column.max() < bound


@pytest.fixture(scope="module")
def drawn() -> tuple[Sessions, Plays]:
    return draw(Span(date(2026, 11, 1), 28), 300, 30_000, 7)


def test_a_session_has_its_length_and_nobody_hears_two_tracks_of_it_at_once(
    drawn: tuple[Sessions, Plays],
) -> None:
    sessions, plays = drawn
    assert (np.bincount(plays.session) == sessions.length).all()
    order = np.lexsort((plays.nominal_ms, plays.session))
    same = np.diff(plays.session[order]) == 0
    ends = (plays.nominal_ms + plays.ms_played)[order]
    assert (plays.nominal_ms[order][1:][same] > ends[:-1][same]).all()


def test_tracks_are_the_artists_own_and_not_heard_beyond_their_end(
    drawn: tuple[Sessions, Plays],
) -> None:
    first = np.array(WORLD.first_track)
    plays = drawn[1]
    assert (first[plays.artist] <= plays.track).all()
    assert (plays.track < first[plays.artist + 1]).all()
    duration = np.array(WORLD.durations_ms)[plays.track]
    whole = plays.ms_played == duration
    assert (plays.ms_played <= duration).all()
    assert (whole == (plays.end_reason == END_REASONS.index("trackdone"))).all()


def test_on_an_album_or_an_artist_one_artist_is_heard(drawn: tuple[Sessions, Plays]) -> None:
    sessions, plays = drawn
    kind = sessions.context[plays.session] // NAMES
    for name, one in (("album", True), ("artist", True), ("playlist", False)):
        rows = kind == KINDS.index(name)
        pairs = np.unique(np.stack([plays.session[rows], plays.artist[rows]]), axis=1).shape[1]
        assert (pairs == len(np.unique(plays.session[rows]))) == one


def test_an_album_is_heard_in_its_order(drawn: tuple[Sessions, Plays]) -> None:
    sessions, plays = drawn
    first = np.array(WORLD.first_track)
    rows = np.flatnonzero(sessions.context[plays.session] // NAMES == KINDS.index("album"))
    rows = rows[np.lexsort((plays.nominal_ms[rows], plays.session[rows]))]
    same = np.diff(plays.session[rows]) == 0
    start = first[plays.artist[rows]]
    count = first[plays.artist[rows] + 1] - start
    following = (plays.track[rows] - start + 1) % count
    assert ((plays.track[rows] - start)[1:][same] == following[:-1][same]).all()
    assert same.sum() > 1_000
