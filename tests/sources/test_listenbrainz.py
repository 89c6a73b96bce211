"""ListenBrainz listens: what is written comes back, whatever is absent; bad lines are counted."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sources.listenbrainz import FORMAT
from streams.sources.play import Play
from streams.sources.tally import Tally, Unreadable

names = st.text(min_size=1).filter(lambda name: name == name.strip())
listens = st.fixed_dictionaries(
    {"at": st.integers(0, 4_000_000_000), "artist": names},
    optional={
        "user": names,
        "title": names,
        "album": names,
        "duration_ms": st.integers(1, 2**31 - 1),
        "duration": st.integers(1, 2**31 // 1_000),
        "recording_mbid": names,
        "artist_mbids": st.lists(names, max_size=2),
        "tags": st.lists(names, unique=True),
        "isrc": names,
        "spotify_id": names,
    },
)


def run(*documents: object) -> tuple[list[Play], Tally]:
    data = b"\n".join(
        document if isinstance(document, bytes) else json.dumps(document).encode()
        for document in documents
    )
    tally = Tally()
    return list(FORMAT.plays(io.BytesIO(data), "caller", tally)), tally


def as_document(listen: dict[str, Any], time_field: str) -> dict[str, Any]:
    info_fields = (["duration_ms"] if "duration_ms" in listen else ["duration"]) + [
        "recording_mbid",
        "artist_mbids",
        "tags",
        "isrc",
        "spotify_id",
    ]
    metadata: dict[str, Any] = {"artist_name": listen["artist"]}
    metadata["additional_info"] = {name: listen[name] for name in info_fields if name in listen}
    if "title" in listen:
        metadata["track_name"] = listen["title"]
    if "album" in listen:
        metadata["release_name"] = listen["album"]
    document = {time_field: listen["at"], "track_metadata": metadata, "recording_msid": "x"}
    return document | ({"user_name": listen["user"], "user_id": 1} if "user" in listen else {})


@given(st.lists(listens), st.sampled_from(["listened_at", "timestamp"]))
def test_what_is_written_comes_back(written: list[dict[str, Any]], time_field: str) -> None:
    plays, tally = run(*(as_document(listen, time_field) for listen in written))
    assert tally == Tally()
    assert len(plays) == len(written)
    for play, listen in zip(plays, written, strict=True):
        mbids = listen.get("artist_mbids", [])
        seconds = listen.get("duration")
        duration = listen.get("duration_ms", seconds and min(seconds, 2_147_483) * 1_000)
        assert play["started_at"] == listen["at"] * 1_000
        assert play["user_id"] == listen.get("user", "caller")
        assert play["artist"] == {
            "name": listen["artist"],
            "mbid": mbids[0] if len(mbids) == 1 else None,
        }
        assert play["track"] == {
            "title": listen.get("title"),
            "album": listen.get("album"),
            "isrc": listen.get("isrc"),
            "recording_mbid": listen.get("recording_mbid"),
            "uri": listen.get("spotify_id"),
            "file_path": None,
            "file_hash": None,
            "duration_ms": duration,
        }
        assert play["genres"] == listen.get("tags", [])
        assert (play["ms_played"], play["skipped"], play["end_reason"]) == (None, None, None)


def listen(**changes: object) -> dict[str, object]:
    metadata = {"artist_name": "SECRET", "track_name": "Title"}
    return {"listened_at": 1_443_521_965, "track_metadata": metadata} | changes


def test_an_export_falls_back_on_what_musicbrainz_maps() -> None:
    mapping = {"recording_mbid": "r", "artist_mbids": ["a"]}
    metadata = {"artist_name": "A", "additional_info": {}, "mbid_mapping": mapping}
    plays, _ = run(
        listen(listened_at=1_443_521_965.25, track_metadata=metadata),
        listen(track_metadata=metadata | {"mbid_mapping": None}),
    )
    assert [(play["track"]["recording_mbid"], play["artist"]["mbid"]) for play in plays] == [
        ("r", "a"),
        (None, None),
    ]
    assert plays[0]["started_at"] == 1_443_521_965_250


def test_a_length_of_zero_is_unknown() -> None:
    metadata = {"artist_name": "A", "additional_info": {"duration_ms": 0, "duration": 0}}
    plays, _ = run(listen(track_metadata=metadata))
    assert plays[0]["track"]["duration_ms"] is None


BAD: list[tuple[object, Unreadable]] = [
    (b'{"listened_at": 1, "track_metadata": {"artist_name": "SECRET"}', Unreadable.NOT_JSON),
    (b"SECRET", Unreadable.NOT_JSON),
    (b"[" * 100_000, Unreadable.NOT_JSON),
    (b'{"listened_at": 1%s}' % (b"0" * 5_000), Unreadable.NOT_JSON),
    (b'{"SECRET": "\xff"}', Unreadable.NOT_UNICODE),
    (["SECRET"], Unreadable.NOT_A_PLAY),
    ({"listened_at": 1, "user_name": "SECRET"}, Unreadable.NOT_A_PLAY),
    (listen(track_metadata="SECRET"), Unreadable.NOT_A_PLAY),
    (listen(listened_at=None), Unreadable.BAD_TIME),
    (listen(listened_at="1443521965"), Unreadable.BAD_TIME),
    (listen(listened_at=True), Unreadable.BAD_TIME),
    (listen(listened_at=-1), Unreadable.BAD_TIME),
    (listen(listened_at=10**300), Unreadable.BAD_TIME),
    (listen(listened_at=float("nan")), Unreadable.BAD_TIME),
    (listen(track_metadata={"track_name": "SECRET"}), Unreadable.NO_ARTIST),
    (listen(track_metadata={"artist_name": "  "}), Unreadable.NO_ARTIST),
    (listen(track_metadata={"artist_name": ["SECRET"]}), Unreadable.NO_ARTIST),
    (listen(track_metadata={"artist_name": "SECRET\ud800"}), Unreadable.NOT_UNICODE),
    (listen(track_metadata={"artist_name": "A", "release_name": "\udfff"}), Unreadable.NOT_UNICODE),
]


@pytest.mark.parametrize(("document", "reason"), BAD)
def test_a_bad_line_is_counted_by_reason_and_never_shown(
    document: object, reason: Unreadable
) -> None:
    plays, tally = run(listen(), document, listen())
    assert len(plays) == 2
    assert tally.unreadable == Counter([reason])
    assert tally.positions == [(2, reason)]
    assert "SECRET" not in repr(tally)
