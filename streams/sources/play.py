"""The shape of a play, as ``schemas/play.avsc`` has it, and ids that follow from content."""

from __future__ import annotations

from hashlib import sha256
from typing import TypedDict


class Device(TypedDict):
    """What played it."""

    serial: str | None
    model: str | None


class Location(TypedDict):
    """Where it was played: degrees (WGS 84) and an ISO 3166-1 alpha-2 code."""

    latitude: float | None
    longitude: float | None
    country: str | None


class Track(TypedDict):
    """The recording, down to the file."""

    title: str | None
    album: str | None
    isrc: str | None
    recording_mbid: str | None
    uri: str | None
    file_path: str | None
    file_hash: str | None
    duration_ms: int | None


class Artist(TypedDict):
    """Who performs it."""

    name: str
    mbid: str | None


class Context(TypedDict):
    """What the track was played from."""

    type: str | None
    name: str | None


class Play(TypedDict):
    """One play. Times are milliseconds, ``started_at`` since 1970-01-01 UTC."""

    event_id: str
    user_id: str
    started_at: int
    ms_played: int | None
    device: Device
    ip: str | None
    location: Location
    track: Track
    artist: Artist
    genres: list[str]
    context: Context
    end_reason: str | None
    skipped: bool | None
    private_session: bool


# Shared by all plays that say nothing there: most histories know no device, place or context, and
# building these parts anew for every play would take half of the time.
NO_DEVICE: Device = {"serial": None, "model": None}
NO_LOCATION: Location = {"latitude": None, "longitude": None, "country": None}
NO_CONTEXT: Context = {"type": None, "name": None}
NO_GENRES: list[str] = []


def play(
    *,
    event_id: str,
    user_id: str,
    started_at: int,
    artist: str,
    title: str | None,
    ms_played: int | None = None,
    artist_mbid: str | None = None,
    album: str | None = None,
    isrc: str | None = None,
    recording_mbid: str | None = None,
    uri: str | None = None,
    duration_ms: int | None = None,
    model: str | None = None,
    ip: str | None = None,
    country: str | None = None,
    genres: list[str] = NO_GENRES,
    end_reason: str | None = None,
    skipped: bool | None = None,
    private_session: bool = False,
) -> Play:
    """A play from what listening histories know; everything else is null.

    A play is for reading: parts without content are one object shared by all plays, so whoever
    wants to change one copies it first.
    """
    return {
        "event_id": event_id,
        "user_id": user_id,
        "started_at": started_at,
        "ms_played": ms_played,
        "device": NO_DEVICE if model is None else {"serial": None, "model": model},
        "ip": ip,
        "location": NO_LOCATION
        if country is None
        else {"latitude": None, "longitude": None, "country": country},
        "track": {
            "title": title,
            "album": album,
            "isrc": isrc,
            "recording_mbid": recording_mbid,
            "uri": uri,
            "file_path": None,
            "file_hash": None,
            "duration_ms": duration_ms,
        },
        "artist": {"name": artist, "mbid": artist_mbid},
        "genres": genres,
        "context": NO_CONTEXT,
        "end_reason": end_reason,
        "skipped": skipped,
        "private_session": private_session,
    }


def event_id(source: str, user: str, started_at: int, artist: str, title: str | None) -> str:
    """The id of an event that brings none: the same content always gets the same id.

    So a history that is imported twice, or whose files overlap, counts once. ``source`` is the name
    of a format and has no colon; the lengths keep ``("ab", "c")`` apart from ``("a", "bc")``. An
    absent title is as an empty one. The form is that of a UUID of version 8 (RFC 9562, section
    5.8), with 118 bits of SHA-256.

    Raises:
        UnicodeEncodeError: a text has half of a surrogate pair, which no UTF-8 can carry.
    """
    content = f"{source}:{len(user)}:{user}:{started_at}:{len(artist)}:{artist}:{title or ''}"
    return uuid8(content)


def uuid8(content: str) -> str:
    """``content`` digested into the text of a UUID of version 8. Raises as :func:`event_id`."""
    digest = sha256(content.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-a{digest[15:18]}-{digest[18:30]}"
