from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste import decay
from streams.taste.increments import FIGURES, FIRST, LISTENS, increments
from streams.taste.names import Names
from tests.taste.histories import LAST_MINUTE, frame, listen

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, decay.BANDS * decay.BAND - 1))
@settings(deadline=None)
def test_a_listen_goes_to_its_hour_of_the_week(minute: int) -> None:
    added = increments(frame([listen(minute)]), np.zeros(1, np.int64), Names(), Names())
    begin = EPOCH + timedelta(minutes=minute)
    assert added.rhythm.item.tolist() == [begin.weekday() * 24 + begin.hour]


def test_a_genre_named_twice_counts_once() -> None:
    genres = Names()
    frames = frame([listen(genres=["dub", "blues", "dub"]), listen(genres=[])])
    added = increments(frames, np.zeros(2, np.int64), Names(), genres)
    assert sorted(genres.texts(added.genres.item.tolist())) == ["blues", "dub"]
    whole = decay.weights(np.array([LAST_MINUTE]))[:, 0] / decay.WEIGHT
    for values in added.genres.values / decay.GENRE_WEIGHT:
        assert values == pytest.approx(whole / 2)


def test_a_play_that_does_not_count_is_in_the_totals_only() -> None:
    play = listen(counted=False, skipped=True, completion=None, ms_played=None)
    artists, genres = Names(), Names()
    added = increments(frame([play]), np.zeros(1, np.int64), artists, genres)
    assert not len(added.artists) + len(added.genres) + len(added.rhythm)
    assert not artists
    assert not genres
    figures = dict(zip(FIGURES, added.totals.values.reshape(-1, len(FIGURES)).T, strict=True))
    assert (figures["plays"] == decay.weights(np.array([LAST_MINUTE]))[:, 0]).all()
    assert (figures["skips"] == figures["plays"]).all()
    for name in set(FIGURES) - {"plays", "skips"}:
        assert not figures[name].any()


def test_an_artist_keeps_the_first_listen_and_their_number() -> None:
    minutes = [LAST_MINUTE, LAST_MINUTE - 7, LAST_MINUTE - 3]
    added = increments(frame(map(listen, minutes)), np.zeros(3, np.int64), Names(), Names())
    assert added.artists.values[:, [LISTENS, FIRST]].tolist() == [[3, LAST_MINUTE - 7]]
