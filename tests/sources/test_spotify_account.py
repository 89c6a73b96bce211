"""Spotify's account data: what is written comes back, starts follow from ends."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from streams.sources.play import Play
from streams.sources.spotify_account import FORMAT
from streams.sources.tally import LeftOut, Tally, Unreadable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

names = st.text(min_size=1).filter(lambda name: name == name.strip())
streams = st.tuples(
    st.integers(50_000, 60_000_000), names, st.just("") | names, st.integers(0, 2**31 - 1)
)


def run(document: object) -> tuple[list[Play], Tally]:
    tally = Tally()
    data = io.BytesIO(json.dumps(document, indent=2).encode())
    return list(FORMAT.plays(data, "caller", tally)), tally


@given(st.lists(streams))
def test_what_is_written_comes_back(written: list[tuple[int, str, str, int]]) -> None:
    plays, tally = run(
        [
            {
                "endTime": f"{EPOCH + timedelta(minutes=minute):%Y-%m-%d %H:%M}",
                "artistName": artist,
                "trackName": title,
                "msPlayed": ms_played,
            }
            for minute, artist, title, ms_played in written
        ]
    )
    assert tally == Tally()
    assert [
        (
            (play["started_at"] + (play["ms_played"] or 0)) / 60_000,
            play["artist"]["name"],
            play["track"]["title"],
            play["ms_played"],
            play["user_id"],
        )
        for play in plays
    ] == [
        (minute, artist, title or None, ms_played, "caller")
        for minute, artist, title, ms_played in written
    ]


def item(**changes: object) -> dict[str, object]:
    return {
        "endTime": "2024-05-06 18:43",
        "artistName": "Artist",
        "trackName": "SECRET",
        "msPlayed": 216_783,
    } | changes


PODCAST = {"endTime": "x", "podcastName": "SECRET", "episodeName": "SECRET", "msPlayed": 1}
AUDIOBOOK = {"endTime": "x", "audiobookName": "SECRET", "chapterName": "SECRET", "msPlayed": 1}
OTHERS: list[tuple[object, LeftOut | Unreadable]] = [
    (PODCAST, LeftOut.PODCAST),
    (AUDIOBOOK, LeftOut.AUDIOBOOK),
    (None, Unreadable.NOT_A_PLAY),
    ({"endTime": "SECRET"}, Unreadable.NOT_A_PLAY),
    (item(msPlayed="SECRET"), Unreadable.BAD_LENGTH),
    (item(msPlayed=2**31), Unreadable.BAD_LENGTH),
    (item(endTime="2024-05-06"), Unreadable.BAD_TIME),
    (item(endTime="1970-01-01 00:01"), Unreadable.BAD_TIME),
    (item(artistName=""), Unreadable.NO_ARTIST),
    (item(artistName="SECRET\ud800"), Unreadable.NOT_UNICODE),
]


@given(st.lists(st.none() | st.sampled_from(OTHERS)))
def test_other_items_are_counted_by_reason_and_never_shown(
    written: list[tuple[object, LeftOut | Unreadable] | None],
) -> None:
    plays, tally = run([other[0] if other else item() for other in written])
    assert len(plays) == written.count(None)
    left_out = Counter(o[1] for o in written if o and isinstance(o[1], LeftOut))
    unreadable = Counter(o[1] for o in written if o and isinstance(o[1], Unreadable))
    assert (tally.left_out, tally.unreadable) == (left_out, unreadable)
    assert "SECRET" not in repr(tally)
