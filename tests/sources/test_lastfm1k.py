"""Last.fm 1K columns: what is written comes back, bad lines are counted, real lines are read."""

from __future__ import annotations

import io
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sources.detect import open_history
from streams.sources.lastfm1k import FORMAT
from streams.sources.play import Play
from streams.sources.tally import Tally, Unreadable

REAL = Path(__file__).parents[2] / "../shared/data/lastfm-1k-sample/plays.tsv"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

columns = st.text(st.characters(codec="utf-8", exclude_characters="\t\n")).map(str.strip)
rows = st.tuples(
    columns.filter(bool),
    st.integers(0, 4_000_000_000),
    columns,
    columns.filter(bool),
    columns,
    columns,
)


def run(data: bytes) -> tuple[list[Play], Tally]:
    tally = Tally()
    return list(FORMAT.plays(io.BytesIO(data), "caller", tally)), tally


@given(st.lists(rows), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_comes_back(
    written: list[tuple[str, int, str, str, str, str]], ending: str
) -> None:
    data = "".join(
        f"{user}\t{EPOCH + timedelta(seconds=at):%Y-%m-%dT%H:%M:%SZ}\t"
        f"{artist_id}\t{artist}\t{track_id}\t{title}{ending}"
        for user, at, artist_id, artist, track_id, title in written
    )
    plays, tally = run(data.encode())
    assert tally == Tally()
    found = [
        (
            play["user_id"],
            play["started_at"],
            play["artist"]["mbid"],
            play["artist"]["name"],
            play["track"]["recording_mbid"],
            play["track"]["title"],
        )
        for play in plays
    ]
    assert found == [
        (user, at * 1_000, artist_id or None, artist, track_id or None, title or None)
        for user, at, artist_id, artist, track_id, title in written
    ]
    assert all(play["ms_played"] is None and play["skipped"] is None for play in plays)


GOOD = b"user\t2009-05-04T23:08:57Z\t\tArtist\t\tTitle"
BAD = [
    (b"user\t2009-05-04T23:08:57Z\t\tSECRET\t\tTi\xfftle", Unreadable.NOT_UNICODE),
    (b"user\t2009-05-04T23:08:57Z\t\tSECRET\tTitle", Unreadable.WRONG_COLUMNS),
    (b"user\t2009-05-04T23:08:57Z\t\tSECRET\t\tTi\ttle", Unreadable.WRONG_COLUMNS),
    (b"SECRET", Unreadable.WRONG_COLUMNS),
    (b"user\t2009-05-04\t\tSECRET\t\tTitle", Unreadable.BAD_TIME),
    (b"user\t\t\tSECRET\t\tTitle", Unreadable.BAD_TIME),
    (b"user\t1969-12-31T23:59:59Z\t\tSECRET\t\tTitle", Unreadable.BAD_TIME),
    (b"user\t2009-02-30T00:00:00Z\t\tSECRET\t\tTitle", Unreadable.BAD_TIME),
    (b"\t2009-05-04T23:08:57Z\t\tSECRET\t\tTitle", Unreadable.NO_USER),
    (b"SECRET\t2009-05-04T23:08:57Z\t\t \t\tTitle", Unreadable.NO_ARTIST),
]


@given(st.lists(st.none() | st.sampled_from(BAD)))
def test_bad_lines_are_counted_by_reason_and_never_shown(
    written: list[tuple[bytes, Unreadable] | None],
) -> None:
    plays, tally = run(b"\n".join(line[0] if line else GOOD for line in written))
    assert len(plays) == written.count(None)
    assert tally.unreadable == Counter(line[1] for line in written if line)
    placed = [(number, line[1]) for number, line in enumerate(written, 1) if line]
    assert tally.positions == placed[:20]
    assert "SECRET" not in repr(tally)


def test_a_separator_of_unicode_ends_no_line() -> None:
    plays, _ = run("user\t2009-05-04T23:08:57Z\t\tA\x85B\t\tC\u2028D".encode())
    assert [(play["artist"]["name"], play["track"]["title"]) for play in plays] == [
        ("A\x85B", "C\u2028D")
    ]


def test_five_thousand_real_plays() -> None:
    if not REAL.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the shared data is missing: ../shared/data/lastfm-1k-sample")
        pytest.skip("no ../shared/data/lastfm-1k-sample here")
    history = open_history([REAL])
    plays = [play for chunk in history.chunks() for play in chunk]
    assert (len(plays), len({play["event_id"] for play in plays})) == (5_000, 5_000)
    assert not history.unreadable
    rows = [line.split("\t") for line in REAL.read_text("utf-8").removesuffix("\n").split("\n")]
    assert Counter(play["artist"]["name"] for play in plays) == Counter(row[3] for row in rows)
    assert Counter(play["user_id"] for play in plays) == Counter(row[0] for row in rows)
