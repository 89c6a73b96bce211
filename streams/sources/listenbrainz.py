"""ListenBrainz listens as JSON lines: a user's export, or the ``.listens`` files of a data dump.

``listened_at`` is when playback began, in Unix seconds; older dumps call it ``timestamp``. A dump
names the user of each listen, an export is of one user and does not. Almost everything else may be
absent. It tells that a listen happened, not how long. Source of the format: the ListenBrainz
documentation, "JSON Documentation" and "Data Dumps".
"""

from __future__ import annotations

import json

from streams.sources.play import event_id, play
from streams.sources.reading import Format, Outcome, lines, milliseconds, seconds_to_ms, text
from streams.sources.tally import Unreadable

NAME = "listenbrainz"


def to_play(line: bytes, user: str) -> Outcome:
    """The play that a line tells of, or why there is none. A user named in the line wins."""
    try:
        listen = json.loads(line.decode())
    except UnicodeDecodeError:
        return Unreadable.NOT_UNICODE
    except (ValueError, RecursionError):
        return Unreadable.NOT_JSON
    if not isinstance(listen, dict) or not isinstance(listen.get("track_metadata"), dict):
        return Unreadable.NOT_A_PLAY
    metadata = listen["track_metadata"]
    started_at = seconds_to_ms(listen.get("listened_at", listen.get("timestamp")))
    if started_at is None:
        return Unreadable.BAD_TIME
    artist = text(metadata.get("artist_name"))
    if artist is None:
        return Unreadable.NO_ARTIST
    title = text(metadata.get("track_name"))
    user = text(listen.get("user_name")) or user
    info = _object(metadata.get("additional_info"))
    mapped = _object(metadata.get("mbid_mapping"))
    return play(
        event_id=event_id(NAME, user, started_at, artist, title),
        user_id=user,
        started_at=started_at,
        artist=artist,
        artist_mbid=_only(info.get("artist_mbids")) or _only(mapped.get("artist_mbids")),
        title=title,
        album=text(metadata.get("release_name")),
        isrc=text(info.get("isrc")),
        recording_mbid=text(info.get("recording_mbid")) or text(mapped.get("recording_mbid")),
        uri=text(info.get("spotify_id")) or text(info.get("origin_url")),
        duration_ms=_duration(info),
        genres=_tags(info.get("tags")),
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _only(mbids: object) -> str | None:
    """The artist's id, unless several artists are credited: then no one id belongs to the name."""
    return text(mbids[0]) if isinstance(mbids, list) and len(mbids) == 1 else None


def _duration(info: dict[str, object]) -> int | None:
    """Length in milliseconds; 0 means unknown here."""
    return (
        milliseconds(info.get("duration_ms")) or milliseconds(info.get("duration"), 1_000) or None
    )


def _tags(value: object) -> list[str]:
    tags = [text(tag) for tag in value] if isinstance(value, list) else []
    return list(dict.fromkeys(tag for tag in tags if tag))


def matches(line: bytes) -> bool:
    """Whether a line is a JSON object with a listen's metadata."""
    try:
        listen = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(listen, dict) and isinstance(listen.get("track_metadata"), dict)


FORMAT = Format(NAME, "ListenBrainz listens, JSON lines", lines, matches, to_play)
