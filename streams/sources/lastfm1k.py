"""The columns of the Last.fm 1K data set: tab-separated, no header, no quoting, six columns.

User, time (ISO 8601, UTC), MusicBrainz artist id, artist, MusicBrainz recording id, title; every
column but the first two and the artist may be empty. It tells that a listen happened, not how long.
Source of the format: the README of the data set (O. Celma, 2010).
"""

from __future__ import annotations

from streams.sources.play import event_id, play
from streams.sources.reading import Format, Outcome, lines, utc_to_ms
from streams.sources.tally import Unreadable

NAME = "lastfm-1k"
_COLUMNS = 6


def to_play(line: bytes, _user: str) -> Outcome:
    """The play that a line tells of, or why there is none."""
    try:
        columns = line.decode().split("\t")
    except UnicodeDecodeError:
        return Unreadable.NOT_UNICODE
    if len(columns) != _COLUMNS:
        return Unreadable.WRONG_COLUMNS
    user, time, artist_mbid, artist, recording_mbid, title = columns
    started_at = utc_to_ms(time)
    if started_at is None:
        return Unreadable.BAD_TIME
    if not user:
        return Unreadable.NO_USER
    artist, title = artist.strip(), title.strip()
    if not artist:
        return Unreadable.NO_ARTIST
    return play(
        event_id=event_id(NAME, user, started_at, artist, title),
        user_id=user,
        started_at=started_at,
        artist=artist,
        artist_mbid=artist_mbid or None,
        title=title or None,
        recording_mbid=recording_mbid or None,
    )


def matches(line: bytes) -> bool:
    """Whether a line has the six columns, the second of them a time."""
    columns = line.decode(errors="replace").split("\t")
    return len(columns) == _COLUMNS and utc_to_ms(columns[1]) is not None


FORMAT = Format(NAME, "Last.fm 1K columns, tab-separated", lines, matches, to_play)
