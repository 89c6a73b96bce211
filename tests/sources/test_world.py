"""The invented world: distinct, consistent, the same for the same seed."""

from __future__ import annotations

import re
from itertools import pairwise
from uuid import UUID

from streams.sources.world import ARTISTS, GENRES, build, playlist_names

WORLD = build(3, None)


def test_artists_are_many_and_distinct_with_known_genres() -> None:
    assert len({artist["name"] for artist in WORLD.artists}) == ARTISTS >= 300
    assert len({artist["mbid"] for artist in WORLD.artists}) == ARTISTS
    assert len(WORLD.genres) == len(WORLD.tagged) == ARTISTS
    assert {genre for genres in WORLD.genres for genre in genres} == set(GENRES)
    assert all(1 <= len(genres) == len(set(genres)) <= 3 for genres in WORLD.genres)
    assert 0.1 < WORLD.tagged.count(False) / ARTISTS < 0.5


def test_every_artist_has_tracks_and_every_track_an_artist() -> None:
    first = WORLD.first_track
    assert first[0] == 0
    assert all(6 <= after - before <= 40 for before, after in pairwise(first))
    assert first[-1] == len(WORLD.streamed) == len(WORLD.local) == len(WORLD.durations_ms)


def test_streams_and_files_are_the_same_tracks() -> None:
    for stream, file, duration in zip(WORLD.streamed, WORLD.local, WORLD.durations_ms, strict=True):
        assert (stream["title"], stream["album"]) == (file["title"], file["album"])
        assert stream["duration_ms"] == file["duration_ms"] == duration
        assert 60_000 <= duration <= 901_000
        assert stream["file_path"] is stream["file_hash"] is None
        assert file["uri"] is file["isrc"] is file["recording_mbid"] is None
        assert re.fullmatch(r"sotto:track:[0-9a-f]{22}", stream["uri"] or "")
        assert re.fullmatch(r"ZZSVO\d{7}", stream["isrc"] or "")
        assert UUID(stream["recording_mbid"])
        assert re.fullmatch(r"[0-9a-f]{64}", file["file_hash"] or "")


def test_files_lie_by_artist_and_album() -> None:
    for artist, start, end in zip(
        WORLD.artists, WORLD.first_track, WORLD.first_track[1:], strict=False
    ):
        for track in WORLD.local[start:end]:
            folder, _, file = (track["file_path"] or "").rpartition("/")
            assert folder == f"/Music/{artist['name']}/{track['album']}"
            assert file[:2].isdigit()
            assert file[2:] == f" {track['title']}.flac"


def test_what_identifies_a_track_is_its_own() -> None:
    for name in ("uri", "recording_mbid"):
        assert len({track[name] for track in WORLD.streamed}) == len(WORLD.streamed)
    assert len({track["file_hash"] for track in WORLD.local}) == len(WORLD.local)


def test_the_seed_decides() -> None:
    assert build(3, None) == WORLD
    assert build(4, None) != WORLD
    assert playlist_names(3, 9) == playlist_names(3, 9) != playlist_names(4, 9)
