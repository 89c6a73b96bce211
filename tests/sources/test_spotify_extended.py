"""Spotify's extended history: what is written comes back, starts follow from ends."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sources.play import Play
from streams.sources.spotify_extended import FORMAT
from streams.sources.tally import LeftOut, Tally, Unreadable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REASONS = ["trackdone", "fwdbtn", "backbtn", "endplay", "logout"]

names = st.text(min_size=1).filter(lambda name: name == name.strip())
maybe = st.none() | names
flags = st.none() | st.booleans()
streams = st.fixed_dictionaries(
    {
        "ended": st.integers(3_000_000, 4_000_000_000),
        "ms_played": st.integers(0, 2**31 - 1),
        "artist": names,
        "title": maybe,
        "album": maybe,
        "uri": maybe,
        "platform": maybe,
        "country": st.none() | st.from_regex("[A-Y][A-Y]", fullmatch=True),
        "ip": st.none() | st.ip_addresses().map(str),
        "reason": st.none() | st.sampled_from(REASONS),
        "skipped": flags,
        "incognito": flags,
    }
)


def run(document: object) -> tuple[list[Play], Tally]:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    tally = Tally()
    return list(FORMAT.plays(io.BytesIO(data), "caller", tally)), tally


def as_item(stream: dict[str, Any], old: bool = False) -> dict[str, Any]:
    form = "%Y-%m-%d %H:%M:%S" if old else "%Y-%m-%dT%H:%M:%SZ"
    return {
        "ts": (EPOCH + timedelta(seconds=stream["ended"])).strftime(form),
        "username": "somebody",
        "platform": stream["platform"],
        "ms_played": stream["ms_played"],
        "conn_country": stream["country"],
        "ip_addr_decrypted" if old else "ip_addr": stream["ip"],
        "master_metadata_track_name": stream["title"],
        "master_metadata_album_artist_name": stream["artist"],
        "master_metadata_album_album_name": stream["album"],
        "spotify_track_uri": stream["uri"],
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "reason_start": "clickrow",
        "reason_end": stream["reason"],
        "shuffle": False,
        "skipped": stream["skipped"],
        "offline": False,
        "offline_timestamp": 1_549_861_353_656,
        "incognito_mode": stream["incognito"],
    }


@given(st.lists(streams), st.booleans())
def test_what_is_written_comes_back(written: list[dict[str, Any]], old: bool) -> None:
    plays, tally = run([as_item(stream, old) for stream in written])
    assert tally == Tally()
    assert len(plays) == len(written)
    for play, stream in zip(plays, written, strict=True):
        assert play["user_id"] == "caller"
        assert play["started_at"] + stream["ms_played"] == stream["ended"] * 1_000
        assert play["ms_played"] == stream["ms_played"]
        assert play["artist"] == {"name": stream["artist"], "mbid": None}
        found = (play["track"]["title"], play["track"]["album"], play["track"]["uri"])
        assert found == (stream["title"], stream["album"], stream["uri"])
        assert play["device"] == {"serial": None, "model": stream["platform"]}
        assert play["location"]["country"] == stream["country"]
        assert play["ip"] == stream["ip"]
        assert play["end_reason"] == stream["reason"]
        assert play["skipped"] is stream["skipped"]
        assert play["private_session"] is (stream["incognito"] is True)


def item(**changes: object) -> dict[str, object]:
    return {
        "ts": "2020-04-11T00:27:53Z",
        "ms_played": 174_674,
        "master_metadata_track_name": "SECRET",
        "master_metadata_album_artist_name": "Artist",
        "spotify_track_uri": "spotify:track:1",
    } | changes


@pytest.mark.parametrize(
    ("field", "value", "path", "expected"),
    [
        ("ip_addr", "203.0.113.x", ("ip",), None),
        ("ip_addr", "", ("ip",), None),
        ("conn_country", "ZZ", ("location", "country"), None),
        ("conn_country", "se", ("location", "country"), "SE"),
        ("conn_country", "SWE", ("location", "country"), None),
        ("reason_end", "unexpected-exit-while-paused", ("end_reason",), "unknown"),
        ("reason_end", "", ("end_reason",), None),
        ("skipped", 1, ("skipped",), None),
        ("incognito_mode", "true", ("private_session",), False),
    ],
)
def test_values_that_a_play_cannot_have(
    field: str, value: object, path: tuple[str, ...], expected: object
) -> None:
    found: Any = run([item(**{field: value})])[0][0]
    for part in path:
        found = found[part]
    assert found == expected


OTHERS: list[tuple[object, LeftOut | Unreadable]] = [
    (item(spotify_track_uri=None, spotify_episode_uri="SECRET"), LeftOut.PODCAST),
    (item(episode_name="SECRET"), LeftOut.PODCAST),
    (item(audiobook_uri="SECRET"), LeftOut.AUDIOBOOK),
    (item(audiobook_title="SECRET"), LeftOut.AUDIOBOOK),
    ("SECRET", Unreadable.NOT_A_PLAY),
    ({"ts": "SECRET"}, Unreadable.NOT_A_PLAY),
    (item(ms_played=None), Unreadable.BAD_LENGTH),
    (item(ms_played=-1), Unreadable.BAD_LENGTH),
    (item(ms_played=2**31), Unreadable.BAD_LENGTH),
    (item(ms_played=True), Unreadable.BAD_LENGTH),
    (item(ts="SECRET"), Unreadable.BAD_TIME),
    (item(ts=1_586_564_873), Unreadable.BAD_TIME),
    (item(ts="1970-01-01T00:00:01Z"), Unreadable.BAD_TIME),
    (item(master_metadata_album_artist_name=None), Unreadable.NO_ARTIST),
    (item(master_metadata_album_artist_name=" "), Unreadable.NO_ARTIST),
    (item(master_metadata_track_name="SECRET\ud800"), Unreadable.NOT_UNICODE),
    (item(platform="SECRET\udfff"), Unreadable.NOT_UNICODE),
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
